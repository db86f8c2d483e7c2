//! Which resource or condition limited a run, with the measurement that shows it. Pure.

use super::model::{GeneratorHost, RunReport, TestOutcome};
use crate::load::target::TargetOutcome;

/// A server that uses at least this share of its CPUs has no CPU left.
const CPU_EXHAUSTED_SHARE: f64 = 0.85;
/// From this share of its limit on, a resource counts as exhausted.
const EXHAUSTED_SHARE: f64 = 0.95;
/// A server keeps descriptors for other purposes than connections; this one keeps about eighty.
/// A server that refuses connections with at most this many descriptors left, or with
/// [`REFUSING_SHARE`] of them in use, refuses them for lack of descriptors.
const RESERVED_DESCRIPTORS: f64 = 100.0;
const REFUSING_SHARE: f64 = 0.9;

/// What limited a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LimitingFactor {
    /// The resource or condition.
    pub(super) cause: String,
    /// The measurement that shows it.
    pub(super) evidence: String,
    /// Whether a specific cause was found. `false` means that a target was missed although none
    /// of the observed resources was exhausted.
    pub(super) is_known: bool,
}

/// The figure of this name; 0 if the run has none.
pub(super) fn figure(run: &RunReport, name: &str) -> f64 {
    run.figures.get(name).copied().unwrap_or(0.0)
}

/// The number of CPUs that the server may use, if known: those of this machine if the server runs
/// here, and at most those to which its shards are pinned if `/stats` reports that.
fn server_cpus(run: &RunReport, host: &GeneratorHost) -> Option<f64> {
    let of_host = host.server_is_here.then_some(host.cpus.max(1) as f64);
    let pinned = run.figures.get("server_cpus").copied();
    of_host.into_iter().chain(pinned).reduce(f64::min)
}

/// The evidence that the server used at least this share of its CPUs, or one of its shards this
/// share of one CPU.
pub(super) fn high_cpu_use(run: &RunReport, host: &GeneratorHost, share: f64) -> Option<String> {
    let used = figure(run, "server_cpu_percent");
    let cpus = server_cpus(run, host).filter(|cpus| used >= 100.0 * cpus * share);
    if let Some(cpus) = cpus {
        return Some(format!("the server uses {used:.0} % of {cpus:.0} CPUs"));
    }
    // A shard is one thread, so its limit is one CPU however many the server has.
    let shard = figure(run, "server_busiest_shard_percent");
    let evidence = || format!("the server's busiest shard uses {shard:.0} % of one CPU");
    (shard >= 100.0 * share).then(evidence)
}

/// The remark that the CPU cannot be excluded as a cause, because the server's number of CPUs is
/// unknown.
pub(super) fn unknown_cpus_remark(run: &RunReport, host: &GeneratorHost) -> &'static str {
    match server_cpus(run, host) {
        Some(_) => "",
        None => "; the number of CPUs of the server is unknown",
    }
}

/// Whether the server refused connections because it is full. A server that shuts down answers
/// with 503 too, but sends `draining` to the sessions that are open.
pub(super) fn is_full(run: &RunReport) -> bool {
    figure(run, "upgrade_503") > 0.0 && figure(run, "draining") == 0.0
}

/// The evidence that the server has no descriptors left for another connection.
pub(super) fn exhausted_descriptors(run: &RunReport) -> Option<String> {
    let (used, limit) = (figure(run, "server_descriptors"), figure(run, "server_descriptor_limit"));
    let nearly_all = used >= limit * EXHAUSTED_SHARE;
    let all_but_reserved = used >= limit * REFUSING_SHARE || limit - used <= RESERVED_DESCRIPTORS;
    if limit == 0.0 || used == 0.0 || !(nearly_all || is_full(run) && all_but_reserved) {
        return None;
    }
    let refused = figure(run, "upgrade_503");
    let refused = match refused > 0.0 {
        true => format!(", and answered {refused:.0} upgrades with 503"),
        false => String::new(),
    };
    Some(format!("the server has {used:.0} of {limit:.0} descriptors open{refused}"))
}

/// What limited a run that did not pass.
pub(super) fn limiting_factor(run: &RunReport, host: &GeneratorHost) -> LimitingFactor {
    let factor = |cause: &str, evidence| LimitingFactor {
        cause: cause.to_owned(),
        evidence,
        is_known: true,
    };
    if run.is_shut_down() {
        return factor("a shutdown of the server", run.reason.clone());
    }
    if run.outcome == TestOutcome::Void {
        return factor("the generator", run.reason.clone());
    }
    if let Some(evidence) = exhausted_descriptors(run) {
        return factor("the server's descriptor limit", evidence);
    }
    if figure(run, "draining") > 0.0 {
        let evidence = format!("{:.0} errors `draining`", figure(run, "draining"));
        return factor("the server was shutting down", evidence);
    }
    if is_full(run) {
        let evidence = format!("{:.0} upgrades answered with 503", figure(run, "upgrade_503"));
        return factor("the server's connection limit", evidence);
    }
    if let Some(evidence) = limits_of_address(run) {
        return factor("the server's limits for one address", evidence);
    }
    if figure(run, "refusals") > 0.0 {
        let evidence = format!("it refused {:.0} messages", figure(run, "refusals"));
        return factor("the server's limits on messages", evidence);
    }
    if figure(run, "accept_queue_drops") > 0.0 && figure(run, "connect_failed") > 0.0 {
        let drops = figure(run, "accept_queue_drops");
        return factor("the accept queue", format!("the kernel dropped {drops:.0} connections"));
    }
    let mut missed = run.targets.iter().filter(|target| target.reached == TargetOutcome::Missed);
    if missed.any(|target| target.figure == "server_memory_mb") {
        let evidence = format!("{:.0} MiB resident", figure(run, "server_memory_mb"));
        return factor("the server's memory", evidence);
    }
    if let Some(evidence) = high_cpu_use(run, host, CPU_EXHAUSTED_SHARE) {
        return factor("the server's CPU", evidence);
    }
    if let Some(evidence) = exhausted_shared_cpus(run, host) {
        return factor("the CPU of this machine", evidence);
    }
    if run.faults.iter().any(|fault| fault.is_server_fault || fault.kind.starts_with("connect")) {
        return factor("errors", run.reason.clone());
    }
    let cause = match run.reason.contains("_ms ") {
        true => "latency, although no observed resource is exhausted",
        false => "unknown: no observed resource is exhausted",
    };
    let evidence = format!("{}{}", run.reason, unknown_cpus_remark(run, host));
    LimitingFactor { is_known: false, ..factor(cause, evidence) }
}

/// The evidence that the server admits no further connection from the generator's address.
fn limits_of_address(run: &RunReport) -> Option<String> {
    let refused = figure(run, "upgrade_429");
    (refused > 0.0).then(|| format!("it answered {refused:.0} upgrades with 429"))
}

/// The evidence that server and generator together exhausted the CPUs of this machine.
fn exhausted_shared_cpus(run: &RunReport, host: &GeneratorHost) -> Option<String> {
    let server = figure(run, "server_cpu_percent");
    let generator = figure(run, "generator_cpu_percent");
    let cpus = host.cpus.max(1) as f64;
    let exhausted = server + generator >= 100.0 * cpus * CPU_EXHAUSTED_SHARE;
    (host.server_is_here && exhausted).then(|| {
        format!(
            "server ({server:.0} %) and generator ({generator:.0} %) share {cpus:.0} CPUs; with the \
             generator on another machine the server would reach a higher level"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::recommendations::tests::{actions, run};
    use super::*;

    fn host(cpus: u64, server_is_here: bool) -> GeneratorHost {
        GeneratorHost { cpus, server_is_here, ..GeneratorHost::default() }
    }

    #[test]
    fn names_each_resource_by_its_own_evidence() {
        let cause = |figures: &[(&str, f64)]| {
            limiting_factor(&run(figures, TestOutcome::Failed), &host(2, true)).cause
        };
        let limits = [("server_descriptors", 990.0), ("server_descriptor_limit", 1000.0)];
        assert_eq!(cause(&limits), "the server's descriptor limit");
        assert_eq!(cause(&[("upgrade_503", 3.0)]), "the server's connection limit");
        assert_eq!(cause(&[("upgrade_429", 3.0)]), "the server's limits for one address");
        assert_eq!(cause(&[("refusals", 3.0)]), "the server's limits on messages");
        let queue = [("accept_queue_drops", 5.0), ("connect_failed", 5.0)];
        assert_eq!(cause(&queue), "the accept queue");
        assert_eq!(cause(&[("server_cpu_percent", 190.0)]), "the server's CPU");
        let shared = [("server_cpu_percent", 90.0), ("generator_cpu_percent", 95.0)];
        assert_eq!(cause(&shared), "the CPU of this machine");
        assert_eq!(cause(&[]), "unknown: no observed resource is exhausted");
        let draining = [("upgrade_503", 3.0), ("draining", 2.0)];
        assert_eq!(cause(&draining), "the server was shutting down");
        let reason = "missed: relay_p99_ms < 50".to_owned();
        let slow = RunReport { reason, ..run(&[], TestOutcome::Failed) };
        let factor = limiting_factor(&slow, &host(2, true));
        assert_eq!(factor.cause, "latency, although no observed resource is exhausted");
        let void = run(&[], TestOutcome::Void);
        assert_eq!(limiting_factor(&void, &host(2, true)).cause, "the generator");
    }

    #[test]
    fn judges_a_remote_server_by_its_own_cpus_and_not_by_the_generators() {
        let judged = |figures: &[(&str, f64)], host: GeneratorHost| {
            let run = run(figures, TestOutcome::Failed);
            let short = actions(&run, &host).contains("short of CPU");
            (limiting_factor(&run, &host), short)
        };
        let used = |percent| [("server_cpu_percent", percent), ("generator_cpu_percent", 95.0)];
        // 190 % may be little for the server, although the generator has only two CPUs.
        let (factor, short) = judged(&used(190.0), host(2, false));
        assert_eq!((factor.is_known, short), (false, false));
        assert!(factor.evidence.contains("number of CPUs of the server is unknown"), "{factor:?}");
        // The server reports to how many CPUs its shards are pinned.
        for (percent, cpus, exhausted) in [(190.0, 16.0, false), (190.0, 2.0, true)] {
            let pinned = [used(percent)[0], ("server_cpus", cpus)];
            let (factor, short) = judged(&pinned, host(64, false));
            assert_eq!((factor.cause == "the server's CPU", short), (exhausted, exhausted));
            assert!(!factor.evidence.contains("unknown"), "{factor:?}");
        }
        // A shard that uses a whole CPU limits the server, whatever the other shards do.
        for here in [true, false] {
            let shard = [used(110.0)[0], ("server_busiest_shard_percent", 97.0)];
            let (factor, short) = judged(&shard, host(16, here));
            assert_eq!((factor.cause.as_str(), short), ("the server's CPU", true));
            assert_eq!(factor.evidence, "the server's busiest shard uses 97 % of one CPU");
        }
        // Server and generator share CPUs only on the same machine.
        let cause = |here| judged(&used(90.0), host(2, here)).0.cause;
        assert_eq!(cause(true), "the CPU of this machine");
        assert_eq!(cause(false), "unknown: no observed resource is exhausted");
    }

    #[test]
    fn a_connection_limit_that_follows_from_the_descriptor_limit_is_a_descriptor_limit() {
        let judged = |used: f64, limit: f64| {
            let figures = [
                ("upgrade_503", 400.0),
                ("server_descriptors", used),
                ("server_descriptor_limit", limit),
            ];
            let run = run(&figures, TestOutcome::Failed);
            let actions = actions(&run, &host(2, true));
            let raise =
                ["Raise the server's `--max-connections`", "Raise the server's limit of open"];
            (limiting_factor(&run, &host(2, true)), raise.map(|text| actions.contains(text)))
        };
        // With 1,024 descriptors the server accepts 943 connections; with 200, 119.
        for (used, limit) in [(956.0, 1024.0), (127.0, 200.0), (18_100.0, 20_000.0)] {
            let (factor, raise) = judged(used, limit);
            assert_eq!(
                (factor.cause.as_str(), raise),
                ("the server's descriptor limit", [false, true])
            );
            let text = format!("{used} of {limit} descriptors open, and answered 400 upgrades");
            assert!(factor.evidence.contains(&text), "{factor:?}");
        }
        let (factor, raise) = judged(956.0, 20_000.0);
        assert_eq!(
            (factor.cause.as_str(), raise),
            ("the server's connection limit", [true, false])
        );
        // 0 descriptors in use means that the figure is missing.
        assert_eq!(judged(0.0, 64.0).0.cause, "the server's connection limit");
    }
}
