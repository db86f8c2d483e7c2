//! What to do about the findings of a test; each recommendation with the measurement behind it.
//! Pure.

use super::breaking_point::headline;
use super::cause_advice::{advise_causes, is_explained};
use super::limiting_factor::{
    exhausted_descriptors, figure, high_cpu_use, is_full, limiting_factor, unknown_cpus_remark,
};
use super::model::{
    FaultReport, GeneratorHost, LoadReport, Recommendation, RunReport, TestOutcome,
};
use super::text::number;
use crate::load::measure::LoadFault;
use crate::load::target::{TargetOutcome, TargetVerdict};

/// From this share of its CPUs on, a server is short of CPU.
const SHORT_CPU_SHARE: f64 = 0.8;
/// From this share of its descriptors on, a server is short of descriptors.
const SHORT_DESCRIPTORS_SHARE: f64 = 0.8;
/// The cost of a message for the generator is judged from this many messages per second on. Below,
/// the generator wakes twice for each message (to send and to receive it) and the server once, so
/// up to twice the server's CPU is normal. `src/load/README.md` states the same figure.
const JUDGE_COST_FROM_PER_S: f64 = 3000.0;
/// With fewer messages for each opened session, opening sessions dominates the CPU time.
const MIN_MESSAGES_PER_SESSION: f64 = 50.0;
/// CPU time in /proc advances in steps of 10 ms; a ratio of fewer steps than this is noise.
const MIN_CPU_STEPS: f64 = 50.0;
/// From this much CPU time on, in percent of one CPU, other processes or a hypervisor explain a
/// generator that was late. A process that needs a CPU for 10 ms at a time uses half of one CPU when
/// every second start meets it.
const MUCH_OTHER_CPU_PERCENT: f64 = 50.0;
const MUCH_STEAL_PERCENT: f64 = 10.0;
/// If the server's longest iteration was shorter, a silence of the server was not in its event loops.
const SHORT_LOOP_MS: f64 = 200.0;
/// A message may cost the generator this many times the CPU that it costs the server.
const MAX_COST_RATIO: f64 = 1.5;

/// All recommendations, each once.
pub fn recommend(report: &LoadReport) -> Vec<Recommendation> {
    let mut recommendations = Vec::new();
    let mut add = |action: &str, evidence: String| {
        if !recommendations.iter().any(|known: &Recommendation| known.action == action) {
            recommendations.push(Recommendation { action: action.to_owned(), evidence });
        }
    };
    for run in &report.runs {
        recommend_for_run(run, &report.machine, &mut add);
    }
    if let Some(point) = &report.breaking_point
        && let Some(holds) = point.holds
        && !point.void
    {
        let action = format!(
            "Plan for at most 70 % of the level that holds: {:.0} {}.",
            holds * 0.7,
            point.raised
        );
        add(&action, headline(point));
    }
    if let Some(reason) = &report.machine.figures_missing {
        add(
            "Give the URL of the server's figures (--stats-url); they are missing here.",
            reason.clone(),
        );
    }
    if report.machine.server_is_here && report.breaking_point.is_some() {
        add(
            "Run the generator on another machine before you quote a capacity.",
            "server and generator shared the CPUs of one machine".to_owned(),
        );
    }
    recommendations
}

fn recommend_for_run(run: &RunReport, host: &GeneratorHost, add: &mut impl FnMut(&str, String)) {
    let name = &run.name;
    for fault in run.faults.iter().filter(|fault| fault.is_server_fault) {
        add(&server_fault_action(run, fault), format!("{name}: {}", occurrences(fault)));
    }
    recommend_for_resources(run, host, add);
    recommend_for_faults(run, add);
    advise_causes(run, add);
    let has_other_cause =
        run.faults.is_empty() || run.faults.iter().any(|fault| !is_explained(run, fault));
    if run.no_session_opened() && has_other_cause {
        add(
            "Check the URL: the server there refuses every session, or is not a Switchboard server.",
            format!("{name}: {}", run.reason),
        );
    }
    recommend_for_missed_targets(run, host, add);
    if run.is_shut_down() {
        add(
            "Keep the server running and repeat the test: the server was shut down, for example by \
             SIGTERM, a deployment or a supervisor.",
            format!("{name}: {}", run.reason),
        );
    } else if run.is_unreachable() {
        add(
            "Find out why the server ended between two runs: its log and its supervisor say whether it \
             crashed or was stopped.",
            format!("{name}: {}", run.reason),
        );
    } else if run.outcome == TestOutcome::Void && !run.trial {
        add(void_action(run), format!("{name}: {}", run.reason));
    }
    if let Some(ratio) = excessive_cost_ratio(run) {
        let evidence = format!("{name}: {ratio:.2} times the server's CPU for each message");
        add(
            "The generator uses too much CPU per message; run it on CPUs that no other process uses.",
            evidence,
        );
    }
    for trend in run.trends.iter().filter(|trend| trend.is_growing) {
        let action = format!("Find out why this figure grows: {}.", trend.figure);
        add(&action, format!("{name}: {} {}", trend.figure, trend.verdict));
    }
}

/// What to do about a fault that proves that the server is its cause.
fn server_fault_action(run: &RunReport, fault: &FaultReport) -> String {
    let longest_loop_ms = run.figures.get("server_latency_loop_max_ms");
    match LoadFault::from_name(&fault.kind) {
        Some(LoadFault::Crashed) => {
            "Find out why the server ended: see its log, its exit status, and the kernel's log (dmesg) \
             for the out-of-memory killer."
                .to_owned()
        }
        Some(LoadFault::Stalled) => match longest_loop_ms {
            Some(ms) if *ms < SHORT_LOOP_MS => format!(
                "Find out what kept the server from running, such as a stopped process, a debugger, a \
                 CPU quota or a paused virtual machine: its own event loops took {} ms at most.",
                number(*ms)
            ),
            _ => "Find out what blocked the server's event loops: its log names the time of a stall, \
                  and `perf` the function."
                .to_owned(),
        },
        _ => format!("Repair the server: {}.", fault.meaning),
    }
}

fn recommend_for_resources(
    run: &RunReport,
    host: &GeneratorHost,
    add: &mut impl FnMut(&str, String),
) {
    let name = &run.name;
    let exhausted = exhausted_descriptors(run);
    if is_full(run) && exhausted.is_none() {
        let evidence =
            format!("{name}: {:.0} upgrades answered with 503", figure(run, "upgrade_503"));
        add("Raise the server's `--max-connections`, or add servers.", evidence);
    }
    let (used, limit) = (figure(run, "server_descriptors"), figure(run, "server_descriptor_limit"));
    let is_short = limit > 0.0 && used > limit * SHORT_DESCRIPTORS_SHARE;
    let short = is_short.then(|| format!("{used:.0} of {limit:.0} descriptors"));
    if let Some(evidence) = exhausted.or(short) {
        let evidence = format!("{name}: {evidence}");
        add("Raise the server's limit of open files (ulimit -n, LimitNOFILE).", evidence);
    }
    if figure(run, "accept_queue_drops") > 0.0 {
        let drops = figure(run, "accept_queue_drops");
        let evidence = format!("{name}: the kernel dropped {drops:.0} connections");
        add(
            "Raise net.core.somaxconn and the listen backlog: the accept queue was full.",
            evidence,
        );
    }
    if let Some(evidence) = high_cpu_use(run, host, SHORT_CPU_SHARE) {
        let evidence = format!("{name}: {evidence}");
        add("The server is short of CPU: add shards on more CPUs, or servers.", evidence);
    }
}

/// For faults that are not server faults but need an explanation.
fn recommend_for_faults(run: &RunReport, add: &mut impl FnMut(&str, String)) {
    if run.trial || figure(run, "crashed") > 0.0 {
        return;
    }
    if let Some(fault) = run.faults.iter().find(|fault| fault.kind == "connection_lost")
        && !run.is_shut_down()
    {
        add(
            "Find out what interrupted connections: the server, or the network between.",
            format!("{}: {}", run.name, occurrences(fault)),
        );
    }
}

/// What to do about a void run: what took the CPU time that the generator needed.
fn void_action(run: &RunReport) -> &'static str {
    if figure(run, "late_percent") > 0.0 {
        if figure(run, "steal_percent") >= MUCH_STEAL_PERCENT {
            return "Repeat the test on a machine with CPUs of its own: the hypervisor took CPU time \
                    away, so the generator was late.";
        }
        if figure(run, "others_cpu_percent") >= MUCH_OTHER_CPU_PERCENT {
            return "Stop the other processes on the generator's machine, or use another machine, and \
                    repeat the test: they used the CPU while the generator was late.";
        }
    }
    "Give the generator more CPU, or another machine, and repeat the test: this run gives no \
     information about the server."
}

/// The generator's CPU time per message as a multiple of the server's, if that is too high and the
/// run allows a judgement.
fn excessive_cost_ratio(run: &RunReport) -> Option<f64> {
    let rate = figure(run, "messages_per_s");
    // Percent times seconds is the CPU time in steps of 10 ms.
    let cpu_steps = figure(run, "server_cpu_percent") * run.seconds;
    let messages = rate * run.seconds;
    let messages_dominate = messages >= MIN_MESSAGES_PER_SESSION * figure(run, "connected");
    let can_judge = rate >= JUDGE_COST_FROM_PER_S
        && cpu_steps >= MIN_CPU_STEPS
        && messages_dominate
        && run.outcome != TestOutcome::Void;
    Some(figure(run, "generator_cpu_ratio")).filter(|ratio| can_judge && *ratio > MAX_COST_RATIO)
}

/// How often a fault occurred, and when.
fn occurrences(fault: &FaultReport) -> String {
    match fault.count {
        1 => format!("once, {:.1} s into the run", fault.first_s),
        count => format!(
            "{count} times, first {:.1} s and last {:.1} s into the run",
            fault.first_s, fault.last_s
        ),
    }
}

/// The latencies that the server measured itself, as the end of a sentence.
fn server_latencies(run: &RunReport) -> String {
    let named = [
        ("server_latency_relay_p99_ms", "relays"),
        ("server_latency_loop_p99_ms", "iterations of its event loops"),
    ];
    let known = named.iter().filter_map(|(name, what)| {
        let ms = run.figures.get(*name)?;
        Some(format!("; by the server's own figures 99 % of its {what} take at most {ms} ms"))
    });
    known.collect()
}

/// For each missed target of a run that failed: what limited the run.
fn recommend_for_missed_targets(
    run: &RunReport,
    host: &GeneratorHost,
    add: &mut impl FnMut(&str, String),
) {
    // After a server fault, missed targets are a consequence.
    let server_fault = run.faults.iter().any(|fault| fault.is_server_fault);
    let failed = run.outcome == TestOutcome::Failed && !run.no_session_opened();
    if run.trial || !failed || server_fault {
        return;
    }
    let factor = limiting_factor(run, host);
    // The faults behind a target on counts have advice of their own.
    let is_latency = |target: &&TargetVerdict| target.figure.ends_with("_ms");
    let has_cause = run.faults.iter().any(|fault| is_explained(run, fault));
    let missed = run.targets.iter().filter(|target| target.reached == TargetOutcome::Missed);
    for target in missed.filter(|target| is_latency(target) || factor.is_known || !has_cause) {
        let (missed, value) = (&target.target, target.value.unwrap_or(0.0));
        let (action, evidence) = match factor.is_known {
            true => (
                format!("{missed} was missed; limited by: {}.", factor.cause),
                factor.evidence.clone(),
            ),
            false => (
                format!(
                    "{missed} was missed although no observed resource is exhausted: compare with the \
                     server's own latencies, check the network and other processes."
                ),
                format!(
                    "server CPU {:.0} %, generator CPU {:.0} %, {:.1} % of its starts late{}{}",
                    figure(run, "server_cpu_percent"),
                    figure(run, "generator_cpu_percent"),
                    figure(run, "late_percent"),
                    server_latencies(run),
                    unknown_cpus_remark(run, host)
                ),
            ),
        };
        add(&action, format!("{}: measured {}; {evidence}", run.name, number(value)));
    }
}

#[cfg(test)]
pub(super) mod tests;
