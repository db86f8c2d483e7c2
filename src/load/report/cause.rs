//! What gave out, and what should be done about it: each said only with its evidence. Pure.

use super::model::{
    BreakingPoint, FaultReport, GeneratorHost, LoadReport, Recommendation, RunReport, TestOutcome,
};
use super::text::number;
use crate::load::search::SearchResult;
use crate::load::target::TargetOutcome;

/// With fewer messages for each session that is opened, it is opening them that costs.
const MESSAGES_PER_SESSION: f64 = 50.0;
/// With fewer a second the generator wakes twice for each, for what it sends and what it receives,
/// and the server once: up to twice its CPU is then no more than is due. README says the same.
const DEAR_FROM: f64 = 3000.0;
/// A server process that uses this share of the CPUs has none left.
const BUSY_SHARE: f64 = 0.85;
/// One that uses this share will soon have none left.
const SHORT_SHARE: f64 = 0.8;
/// Descriptors or memory above this share of their limit are used up.
const FULL_SHARE: f64 = 0.95;
/// A server keeps some descriptors for other things than connections, ours about eighty: where
/// it refuses any more with so many left, or with this share used, it is they that it lacks.
const DESCRIPTORS_KEPT: f64 = 100.0;
const REFUSING_SHARE: f64 = 0.9;

fn figure(run: &RunReport, name: &str) -> f64 {
    run.figures.get(name).copied().unwrap_or(0.0)
}

/// CPUs that the server may use, where that can be told: ours if its process is here, and those
/// that its shards are pinned to if it says so.
fn server_cpus(run: &RunReport, machine: &GeneratorHost) -> Option<f64> {
    let here = machine.server_is_here.then_some(machine.cpus.max(1) as f64);
    let told = run.figures.get("server_cpus").copied();
    here.into_iter().chain(told).reduce(f64::min)
}

/// What says that the server has used this share of the CPU that it may, if anything does.
fn cpu_used_up(run: &RunReport, machine: &GeneratorHost, share: f64) -> Option<String> {
    let used = figure(run, "server_cpu_percent");
    let cpus = server_cpus(run, machine).filter(|cpus| used >= 100.0 * cpus * share);
    if let Some(cpus) = cpus {
        return Some(format!("the server uses {used:.0} % of {cpus:.0} CPUs"));
    }
    // A shard is a thread: what is one CPU's worth to it does not depend on how many there are.
    let shard = figure(run, "server_busiest_shard_percent");
    let evidence = || format!("the server's busiest shard uses {shard:.0} % of one CPU");
    (shard >= 100.0 * share).then(evidence)
}

/// What must be said where the server's CPU is not named, and might be it all the same.
fn unless_cpu(run: &RunReport, machine: &GeneratorHost) -> &'static str {
    match server_cpus(run, machine) {
        Some(_) => "",
        None => "; how many CPUs the server has is not known",
    }
}

/// Whether the server has as many connections as it takes. One that shuts down refuses more with
/// the same status, and tells those who are there why.
fn is_full(run: &RunReport) -> bool {
    figure(run, "upgrade_503") > 0.0 && figure(run, "draining") == 0.0
}

/// What says that the server has no descriptors left for another connection, if anything does.
fn descriptors_used_up(run: &RunReport) -> Option<String> {
    let (used, limit) = (figure(run, "server_descriptors"), figure(run, "server_descriptor_limit"));
    let all = used >= limit * FULL_SHARE;
    let all_but_its_own = used >= limit * REFUSING_SHARE || limit - used <= DESCRIPTORS_KEPT;
    if limit == 0.0 || used == 0.0 || !(all || is_full(run) && all_but_its_own) {
        return None;
    }
    let refused = figure(run, "upgrade_503");
    let refused = match refused > 0.0 {
        true => format!(", and answered {refused:.0} upgrades with 503"),
        false => String::new(),
    };
    Some(format!("the server has {used:.0} of {limit:.0} descriptors open{refused}"))
}

/// What gave out in a trial that did not hold, and the evidence.
fn give_out(run: &RunReport, machine: &GeneratorHost) -> (String, String) {
    let server = figure(run, "server_cpu_percent");
    let generator = figure(run, "generator_cpu_percent");
    let answer = |cause: &str, evidence: String| (cause.to_owned(), evidence);
    if run.outcome == TestOutcome::Void {
        return answer("the generator", run.reason.clone());
    }
    if let Some(evidence) = descriptors_used_up(run) {
        return answer("the server's descriptor limit", evidence);
    }
    if figure(run, "draining") > 0.0 {
        let evidence = format!("{:.0} errors `draining`", figure(run, "draining"));
        return answer("the server was shutting down", evidence);
    }
    if is_full(run) {
        let evidence = format!("{:.0} upgrades answered with 503", figure(run, "upgrade_503"));
        return answer("the server's connection limit", evidence);
    }
    if figure(run, "accept_queue_drops") > 0.0 && figure(run, "connect_failed") > 0.0 {
        let drops = figure(run, "accept_queue_drops");
        return answer("the accept queue", format!("{drops:.0} connections dropped by the kernel"));
    }
    let missed_memory = run
        .targets
        .iter()
        .any(|target| target.figure == "server_memory_mb" && target.reached == TargetOutcome::No);
    if missed_memory {
        let evidence = format!("{:.0} MiB resident", figure(run, "server_memory_mb"));
        return answer("the server's memory", evidence);
    }
    if let Some(evidence) = cpu_used_up(run, machine, BUSY_SHARE) {
        return answer("the server's CPU", evidence);
    }
    let cpus = machine.cpus.max(1) as f64;
    if machine.server_is_here && server + generator >= 100.0 * cpus * BUSY_SHARE {
        let evidence = format!(
            "server {server:.0} % and generator {generator:.0} % share {cpus:.0} CPUs; on a machine \
             of its own the server would go further"
        );
        return answer("the CPU of this machine", evidence);
    }
    if run.faults.iter().any(|fault| fault.convicts || fault.kind.starts_with("connect")) {
        return answer("errors", run.reason.clone());
    }
    let evidence = format!("{}{}", run.reason, unless_cpu(run, machine));
    match run.reason.contains("_ms ") {
        true => answer("latency, with no resource used up", evidence),
        false => answer("none of the resources that are watched", evidence),
    }
}

/// Puts the result of a search together. `found` is `None` if it was cut short; `broken` is the
/// last trial that did not hold, `machine` where the generator runs.
pub fn breaking_point(
    raised: &str,
    found: Option<SearchResult>,
    broken: Option<&RunReport>,
    trials: Vec<(String, f64, String)>,
    machine: &GeneratorHost,
) -> BreakingPoint {
    let (cause, evidence) = broken.map_or_else(Default::default, |run| give_out(run, machine));
    let mut point = BreakingPoint {
        raised: raised.to_owned(),
        holds: None,
        breaks: None,
        cause,
        evidence,
        void: false,
        trials,
    };
    match found {
        Some(SearchResult::Point { holds, breaks }) => {
            (point.holds, point.breaks) = (Some(holds), Some(breaks));
        }
        Some(SearchResult::AboveCeiling { holds }) => {
            point.holds = Some(holds);
            point.cause = "nothing: it held at the highest level that was tried".to_owned();
        }
        Some(SearchResult::BelowStart { breaks }) => point.breaks = Some(breaks),
        Some(SearchResult::GeneratorLimited { holds, at }) => {
            (point.holds, point.breaks, point.void) = (holds, Some(at), true);
        }
        Some(SearchResult::Crashed { holds, at }) => {
            (point.holds, point.breaks) = (holds, Some(at));
            point.cause = "the server crashed".to_owned();
            point.evidence = broken.map(|run| run.reason.clone()).unwrap_or_default();
        }
        None => {
            let held = point.trials.iter().filter(|(.., showed)| showed == "held");
            point.holds = held.map(|(_, level, _)| *level).reduce(f64::max);
            point.void = true;
            point.cause = "nothing yet: the search was cut short".to_owned();
        }
    }
    point
}

/// A search's result in one line.
pub fn headline(point: &BreakingPoint) -> String {
    let raised = &point.raised;
    match (point.holds, point.breaks) {
        (holds, _) if point.void => {
            let (cause, evidence) = (&point.cause, &point.evidence);
            let held = holds.map_or("no level held".to_owned(), |holds| {
                format!("the server held at {holds:.0} {raised}")
            });
            match evidence.is_empty() {
                true => format!("void: {cause}; {held}"),
                false => format!("void: {cause} gave out first ({evidence}); {held}"),
            }
        }
        (Some(holds), Some(breaks)) => format!(
            "holds at {holds:.0} {raised}, breaks at {breaks:.0}: {} ({})",
            point.cause, point.evidence
        ),
        (Some(holds), None) => format!("holds at {holds:.0} {raised}, the highest tried"),
        (None, Some(breaks)) => {
            format!("breaks at {breaks:.0} {raised} already: {} ({})", point.cause, point.evidence)
        }
        (None, None) => "nothing was found out".to_owned(),
    }
}

/// What should be done, each with the measurement that led to it.
pub fn advice(report: &LoadReport) -> Vec<Recommendation> {
    let mut advice = Vec::new();
    let mut say = |text: &str, evidence: String| {
        if !advice.iter().any(|known: &Recommendation| known.advice == text) {
            advice.push(Recommendation { advice: text.to_owned(), evidence });
        }
    };
    for run in &report.runs {
        advise_on(run, &report.machine, &mut say);
    }
    if let Some(point) = &report.breaking_point
        && let Some(holds) = point.holds
        && !point.void
    {
        let text =
            format!("Plan for at most 70 % of what holds: {:.0} {}.", holds * 0.7, point.raised);
        say(&text, headline(point));
    }
    if let Some(why) = &report.machine.figures_missing {
        say(
            "Say where the server tells its figures (--stats-url): they are missing here.",
            why.clone(),
        );
    }
    if report.machine.server_is_here && report.breaking_point.is_some() {
        say(
            "Run the generator on a machine of its own before quoting a capacity.",
            "server and generator shared the CPUs of one machine".to_owned(),
        );
    }
    advice
}

fn advise_on(run: &RunReport, machine: &GeneratorHost, say: &mut impl FnMut(&str, String)) {
    let name = &run.name;
    for fault in run.faults.iter().filter(|fault| fault.convicts) {
        let text = format!("Repair the server: {}.", fault.meaning);
        say(&text, format!("{name}: {}", occurrence(fault)));
    }
    let descriptors = descriptors_used_up(run);
    if is_full(run) && descriptors.is_none() {
        let evidence =
            format!("{name}: {:.0} upgrades answered with 503", figure(run, "upgrade_503"));
        say("Raise the server's connection limit, or add servers.", evidence);
    }
    if figure(run, "rate_limited") > 0.0 {
        let evidence = format!("{name}: {:.0} errors `rate_limited`", figure(run, "rate_limited"));
        say(
            "The server's message rate limit is below this load: raise it, or lower the load.",
            evidence,
        );
    }
    let (used, limit) = (figure(run, "server_descriptors"), figure(run, "server_descriptor_limit"));
    let many = || format!("{used:.0} of {limit:.0} descriptors");
    let many = (limit > 0.0 && used > limit * 0.8).then(many);
    if let Some(evidence) = descriptors.or(many) {
        let evidence = format!("{name}: {evidence}");
        say("Raise the server's limit of open files (ulimit -n, LimitNOFILE).", evidence);
    }
    if figure(run, "accept_queue_drops") > 0.0 {
        let evidence = format!("{name}: {:.0} dropped", figure(run, "accept_queue_drops"));
        say(
            "Raise net.core.somaxconn and the listen backlog: the accept queue was full.",
            evidence,
        );
    }
    if let Some(evidence) = cpu_used_up(run, machine, SHORT_SHARE) {
        let evidence = format!("{name}: {evidence}");
        say("The server is short of CPU: add shards on more CPUs, or servers.", evidence);
    }
    for (name_of, text) in [
        ("draining", "Run again: the server was shutting down, which is no ordinary service."),
        ("closed_by_server", "Find out why the server closed sessions; its log should say."),
        ("connection_lost", "Find out what broke connections: the server, or what lies between."),
    ] {
        let seen = run.faults.iter().find(|fault| fault.kind == name_of && !run.trial);
        if let Some(fault) = seen.filter(|_| figure(run, "crashed") == 0.0) {
            say(text, format!("{name}: {}", occurrence(fault)));
        }
    }
    if run.nobody_came_in() {
        say(
            "Look at the URL: what answers there lets nobody in, or is no such server.",
            format!("{name}: {}", run.reason),
        );
    }
    advise_on_missed(run, machine, say);
    if run.outcome == TestOutcome::Void && !run.trial {
        say(
            "Give the generator more CPU, or another machine, and run again: this run says nothing.",
            format!("{name}: {}", run.reason),
        );
    }
    // CPU time in /proc comes in steps of 10 ms: a ratio of a few of them is noise.
    let steps = figure(run, "server_cpu_percent") * run.seconds;
    let busy = figure(run, "messages_per_s") >= DEAR_FROM && steps >= 50.0;
    // Nor where sessions are opened for every few messages: that costs either side much more.
    let messages = figure(run, "messages_per_s") * run.seconds;
    let talks = messages >= MESSAGES_PER_SESSION * figure(run, "connected");
    let busy = busy && talks && run.outcome != TestOutcome::Void;
    if figure(run, "generator_cpu_ratio") > 1.5 && busy {
        let ratio = figure(run, "generator_cpu_ratio");
        let evidence = format!("{name}: {ratio:.2} times the server's CPU for each message");
        say("The generator is dearer than it should be; do not let it share CPUs.", evidence);
    }
    for trend in run.trends.iter().filter(|trend| trend.convicted) {
        let text = format!("Look for what grows: {} does.", trend.figure);
        say(&text, format!("{name}: {} {}", trend.figure, trend.verdict));
    }
}

/// How often, and when.
fn occurrence(fault: &FaultReport) -> String {
    match fault.count {
        1 => format!("once, {:.1} s into the run", fault.first_s),
        count => format!(
            "{count} times, first {:.1} s and last {:.1} s into the run",
            fault.first_s, fault.last_s
        ),
    }
}

/// What a judged run missed, and what gave out meanwhile.
fn advise_on_missed(run: &RunReport, machine: &GeneratorHost, say: &mut impl FnMut(&str, String)) {
    // What a convicted server misses is a consequence.
    let convicted = run.faults.iter().any(|fault| fault.convicts);
    if run.trial || run.outcome != TestOutcome::Failed || run.nobody_came_in() || convicted {
        return;
    }
    let (cause, evidence) = give_out(run, machine);
    let used_up = !(cause.starts_with("latency") || cause.starts_with("none"));
    for target in run.targets.iter().filter(|target| target.reached == TargetOutcome::No) {
        let (missed, value) = (&target.target, target.value.unwrap_or(0.0));
        let (text, seen) = match used_up {
            false => (
                format!(
                    "{missed} was missed with nothing used up: look at the server's own times \
                     (/metrics), the network, and what else ran."
                ),
                format!(
                    "server CPU {:.0} %, generator CPU {:.0} %, {:.1} % of its starts late{}",
                    figure(run, "server_cpu_percent"),
                    figure(run, "generator_cpu_percent"),
                    figure(run, "late_percent"),
                    unless_cpu(run, machine)
                ),
            ),
            true => (format!("{missed} was missed; what gave out: {cause}."), evidence.clone()),
        };
        say(&text, format!("{}: it is {}; {seen}", run.name, number(value)));
    }
}

#[cfg(test)]
mod tests;
