//! The names of all figures and their meanings. Pure.

use crate::load::measure::{CountMetric, LoadFault, TimeMetric};

/// Figures that are neither latencies nor counters nor faults.
const DERIVED: &[(&str, &str)] = &[
    ("success_percent", "share of all connects, matches, messages and requests that succeeded"),
    ("connected_percent", "share of arrivals that became sessions"),
    ("alive_percent", "share of sessions that answered every ping (connections)"),
    ("kept_percent", "share of sessions that were not dropped"),
    ("matched_percent", "share of completed match requests that ended in a match"),
    (
        "delivered_percent",
        "share of messages that arrived unchanged at the right partner, of all that were sent while \
         both were in the room",
    ),
    (
        "refusals",
        "messages that the server refused: rate_limited, peer_busy, too_many_matches, not_in_room \
         and refused",
    ),
    ("undelivered", "messages sent that did not arrive at their receiver, for whatever reason"),
    ("http_ok_percent", "share of HTTP requests answered with 200"),
    (
        "http_per_s",
        "HTTP answers with status 200 per second, in the time in which requests were due (http)",
    ),
    ("users_peak", "most sessions open at the same time"),
    ("users_peak_at_s", "seconds until that number was reached, to one interval"),
    (
        "waiting_peak",
        "most users waiting for a match at the same time; with several threads an upper bound",
    ),
    ("messages_per_s", "relayed messages per second while measuring"),
    ("plain_message_bytes", "size of a plain message"),
    ("offer_bytes", "size of an offer, which is the largest other message"),
    ("late_percent", "share of starts that the generator was late for"),
    ("server_cpu_percent", "CPU of the server while measuring, in percent of one CPU"),
    ("server_cpu_peak_percent", "peak CPU of the server in one interval, in percent of one CPU"),
    ("server_cpus", "CPUs to which the server's shards are pinned, if /stats reports them"),
    (
        "server_busiest_shard_percent",
        "CPU of the server's busiest shard while measuring, in percent of one CPU",
    ),
    ("server_cpu_us_per_message", "CPU of the server per relayed message, in microseconds"),
    ("server_memory_mb", "peak resident memory of the server, in MiB"),
    ("server_memory_per_user_kb", "memory that the server added per session, in KiB"),
    ("server_descriptors", "peak number of descriptors of the server"),
    (
        "server_connect_cpu_us",
        "CPU of the server per opened session, in microseconds (connections)",
    ),
    ("generator_cpu_percent", "CPU of the generator while measuring, in percent of one CPU"),
    ("generator_cpu_us_per_message", "CPU of the generator per relayed message, in microseconds"),
    ("generator_cpu_ratio", "CPU of the generator per message, divided by the server's"),
    ("generator_memory_mb", "resident memory of the generator at the end, in MiB"),
    (
        "others_cpu_percent",
        "CPU of other processes on the generator's machine while measuring, in percent of one CPU",
    ),
    (
        "steal_percent",
        "CPU time that the hypervisor took from the generator's machine, in percent of one CPU",
    ),
    (
        "cpu_pressure_percent",
        "share of the time in which a task waited for a CPU on the generator's machine",
    ),
    ("server_threads", "threads of the server at the end of the run"),
    (
        "accept_queue_drops",
        "connections that this machine dropped because an accept queue was full",
    ),
    ("server_descriptor_limit", "descriptors that the server may open"),
    ("loop_lag_ms", "longest iteration of an event loop of the generator"),
];

/// Beginnings of figures that exist only if something was counted, with what follows and what they
/// mean.
const BY_CAUSE: [(&str, &str, &str); 8] = [
    ("closed_", "CODE", "sessions that the server closed with this close code"),
    ("upgrade_", "STATUS", "upgrades answered with this HTTP status"),
    ("http_status_", "STATUS", "HTTP requests answered with this status"),
    ("refused_", "CODE", "messages refused with this error code that has no name of its own"),
    ("server_closed_", "REASON", "connections that the server closed, as /stats counts them"),
    ("server_rejected_", "REASON", "requests that the server rejected, as /stats counts them"),
    ("server_errors_", "CODE", "errors that the server sent, as /stats counts them"),
    (
        "server_latency_",
        "NAME_ms",
        "percentiles of /stats since the server started: relay, match and event loop",
    ),
];

/// The statistics of each latency.
pub(super) const STATISTICS: [&str; 7] = ["mean", "p50", "p90", "p95", "p99", "p999", "max"];

/// Figures that exist also for each path of the HTTP requests, besides the latencies of requests.
const BY_PATH: [CountMetric; 3] =
    [CountMetric::HttpDue, CountMetric::HttpOk, CountMetric::HttpFailed];
const DERIVED_BY_PATH: [&str; 2] = ["http_ok_percent", "http_per_s"];
const LATENCIES_BY_PATH: [TimeMetric; 2] = [TimeMetric::Http, TimeMetric::HttpService];

/// The name of a figure for the requests of one path: `http_p99_ms[/health]`.
pub fn name_with_path(figure: &str, path: &str) -> String {
    format!("{figure}[{path}]")
}

/// The two parts of the name of a figure for one path.
pub fn split_path(name: &str) -> Option<(&str, &str)> {
    let (figure, path) = name.strip_suffix(']')?.split_once('[')?;
    path.starts_with('/').then_some((figure, path))
}

fn latency_of(name: &str) -> Option<TimeMetric> {
    let (latency, statistic) = name.strip_suffix("_ms")?.rsplit_once('_')?;
    TimeMetric::from_name(latency).filter(|_| STATISTICS.contains(&statistic))
}

fn is_known_by_path(figure: &str) -> bool {
    DERIVED_BY_PATH.contains(&figure)
        || BY_PATH.iter().any(|counter| counter.name() == figure)
        || latency_of(figure).is_some_and(|latency| LATENCIES_BY_PATH.contains(&latency))
}

/// Whether there is a figure of this name: a derived one, a fault, a counter, or
/// `<latency>_<statistic>_ms` like `relay_p99_ms`; figures of HTTP requests also for one path.
pub fn is_known(name: &str) -> bool {
    if let Some((figure, _)) = split_path(name) {
        return is_known_by_path(figure);
    }
    DERIVED.iter().any(|(known, _)| *known == name)
        || LoadFault::from_name(name).is_some()
        || CountMetric::from_name(name).is_some()
        || BY_CAUSE.iter().any(|(prefix, ..)| name.strip_prefix(prefix).is_some_and(is_cause))
        || latency_of(name).is_some()
}

/// The names of all figures, each latency with each of its statistics.
pub fn names() -> Vec<String> {
    let others = DERIVED.iter().map(|(name, _)| *name);
    let others = others.chain(CountMetric::ALL.iter().map(|counter| counter.name()));
    let others = others.chain(LoadFault::ALL.iter().map(|fault| fault.name()));
    let latencies = TimeMetric::ALL.iter().flat_map(|latency| {
        STATISTICS.map(|statistic| format!("{}_{statistic}_ms", latency.name()))
    });
    others.map(str::to_owned).chain(latencies).collect()
}

/// Whether a figure of this name exists only if something was counted, so that its absence means 0
/// provided that the server's own figures are there where they are needed.
pub fn is_zero_if_absent(name: &str, has_server_figures: bool) -> bool {
    let is_this = |prefix: &str| name.strip_prefix(prefix).is_some_and(is_cause);
    let counted = BY_CAUSE.iter().filter(|(prefix, ..)| *prefix != "server_latency_");
    counted.into_iter().any(|(prefix, ..)| {
        is_this(prefix) && (has_server_figures || !prefix.starts_with("server_"))
    })
}

fn is_cause(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The names of all figures, with their meanings.
pub fn catalogue() -> Vec<(String, String)> {
    let derived = DERIVED.iter().map(|(name, meaning)| ((*name).to_owned(), (*meaning).to_owned()));
    let latencies = TimeMetric::ALL.iter().map(|latency| {
        let name = format!("{}_<{}>_ms", latency.name(), STATISTICS.join("|"));
        (name, latency_meaning(*latency).to_owned())
    });
    let counters =
        CountMetric::ALL.iter().map(|c| (c.name().to_owned(), counter_meaning(*c).to_owned()));
    let faults = LoadFault::ALL.iter().map(|f| (f.name().to_owned(), f.meaning().to_owned()));
    let by_cause = BY_CAUSE
        .iter()
        .map(|(prefix, rest, meaning)| (format!("{prefix}<{rest}>"), (*meaning).to_owned()));
    let all = derived.chain(latencies).chain(counters).chain(faults).chain(by_cause);
    all.chain([by_path()]).collect()
}

/// The figures for each path, with their meaning.
fn by_path() -> (String, String) {
    let counters = BY_PATH.iter().map(|counter| counter.name().to_owned());
    let latencies = LATENCIES_BY_PATH
        .iter()
        .map(|latency| format!("{}_<{}>_ms", latency.name(), STATISTICS.join("|")));
    let names: Vec<String> =
        DERIVED_BY_PATH.map(str::to_owned).into_iter().chain(counters).chain(latencies).collect();
    ("<FIGURE>[<PATH>]".to_owned(), format!("of one path: {} (http)", names.join(", ")))
}

fn latency_meaning(latency: TimeMetric) -> &'static str {
    match latency {
        TimeMetric::Connect => "from the intended arrival of a user to its `session` message",
        TimeMetric::ConnectService => "from the actual arrival of a user to its `session` message",
        TimeMetric::Match => "from the intended match request to `match_found`",
        TimeMetric::MatchService => "from the actual match request to `match_found`",
        TimeMetric::Relay => "from the intended start of a message to its arrival at the partner",
        TimeMetric::RelayService => "from the actual start of a message to its arrival",
        TimeMetric::Ping => "from the intended start of a ping to its pong",
        TimeMetric::PingService => "from the actual start of a ping to its pong",
        TimeMetric::Http => "from the intended start of a request to the end of its answer",
        TimeMetric::HttpService => {
            "from the actual start of a request, which may wait for a connection, to the end of its \
             answer"
        }
        TimeMetric::Late => "from the intended to the actual start of an operation",
    }
}

/// What a counter counts.
pub(in crate::load) fn counter_meaning(counter: CountMetric) -> &'static str {
    match counter {
        CountMetric::Arrivals => "users that were due to arrive",
        CountMetric::Connected => "sessions opened",
        CountMetric::ConnectFailed => "connections that did not become sessions",
        CountMetric::ClosedAsPlanned => "sessions that ended as planned",
        CountMetric::Alive => "sessions that had answered every ping at the end",
        CountMetric::Asked => "`find_match` messages sent",
        CountMetric::Matched => "`match_found` messages that answer a request",
        CountMetric::Unmatched => "users that waited longer than --match-timeout in vain",
        CountMetric::CallsCompleted => "calls that reached their planned end",
        CountMetric::CallsInterrupted => "calls that ended with the partner's connection",
        CountMetric::Sent => "messages sent to the partner",
        CountMetric::Received => "messages received from the partner, each counted once",
        CountMetric::ReceivedWhileLeaving => {
            "messages that arrived between `leave_room` and its answer"
        }
        CountMetric::UnderWay => {
            "messages that were under way when a member of the room left; neither delivered nor not"
        }
        CountMetric::Pings => "pings sent",
        CountMetric::Pongs => "pongs received",
        CountMetric::HttpDue => "HTTP requests that were due",
        CountMetric::HttpOk => "HTTP answers with status 200",
        CountMetric::HttpFailed => "HTTP requests without an answer with status 200",
        CountMetric::Starts => "operations started by the schedule",
        CountMetric::LateStarts => "operations started later than --late-after",
        CountMetric::BytesIn => "bytes read from sockets",
        CountMetric::BytesOut => "bytes written to sockets",
        CountMetric::Withdrawn => "match requests withdrawn with `cancel_match` as planned",
        CountMetric::GaveUp => "users that left after waiting for --give-up-after",
        CountMetric::Vanished => "users that ended without a Close frame as planned",
        CountMetric::Returned => "arrivals of users that had left before",
    }
}
