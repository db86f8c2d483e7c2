//! The figures of a run: every number that a target or a comparison can name. Pure.

use super::measure::{CountMetric, LatencySummary, LoadFault, Recorder, TimeMetric};
use std::collections::BTreeMap;

/// What was seen of a run beside what the users recorded; of constant size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunMeasurements {
    /// Most sessions at once.
    pub users_peak: u64,
    /// When that was, in seconds from the start.
    pub users_peak_at_s: f64,
    /// Most users waiting at once.
    pub waiting_peak: u64,
    /// Seconds from `measure_from` to the end.
    pub measured_s: f64,
    /// Whether messages were to be sent.
    pub messages_planned: bool,
    /// Messages that came in that time.
    pub measured_received: u64,
    /// CPU seconds of the server in that time.
    pub server_cpu_s: Option<f64>,
    /// CPU seconds of the generator in that time.
    pub generator_cpu_s: f64,
    /// Most memory that the server had, in bytes.
    pub server_memory_peak: Option<u64>,
    /// Memory of the server before the users came.
    pub server_memory_before: Option<u64>,
    /// Most CPU that the server had in one interval, in percent of one CPU.
    pub server_cpu_peak_percent: Option<f64>,
    /// CPU seconds of the server's busiest shard in that time, as far as it was told, and in how
    /// many seconds.
    pub server_busiest_shard: Option<(f64, f64)>,
    /// Most descriptors that the server had.
    pub server_descriptors_peak: Option<u64>,
    /// Longest turn of the generator's loop in milliseconds.
    pub longest_turn_ms: f64,
    /// Memory of the generator at the end, in bytes.
    pub generator_memory: Option<u64>,
}

/// Figures that are no times, with what they mean.
pub const PLAIN: &[(&str, &str)] = &[
    ("success_percent", "share of all connects, matches, messages and requests that went well"),
    ("connected_percent", "share of arrivals that became sessions"),
    ("alive_percent", "share of sessions that answered to the end (connections)"),
    ("kept_percent", "share of sessions that ended as the tester wanted, and were not dropped"),
    ("matched_percent", "share of settled wishes for a match that were matched"),
    ("delivered_percent", "share of messages that came to the right partner"),
    ("undelivered", "messages sent that did not come to their receiver, whatever the reason"),
    ("http_ok_percent", "share of HTTP requests answered with 200"),
    ("users_peak", "most sessions open at once"),
    ("users_peak_at_s", "seconds until so many were open, to one interval"),
    ("waiting_peak", "most users waiting for a match at once; of several threads an upper bound"),
    ("messages_per_s", "relayed messages a second while measuring"),
    ("late_percent", "share of starts that the generator was late for"),
    ("server_cpu_percent", "CPU of the server while measuring, in percent of one CPU"),
    ("server_cpu_peak_percent", "most CPU of the server in one interval"),
    ("server_cpus", "CPUs that the server's shards are pinned to, if it says so"),
    (
        "server_busiest_shard_percent",
        "CPU of the server's busiest shard while measuring, in percent of one CPU",
    ),
    ("server_cpu_us_per_message", "CPU of the server for each relayed message"),
    ("server_memory_mb", "most resident memory of the server, in MiB"),
    ("server_memory_per_user_kb", "memory added for each session, in KiB"),
    ("server_descriptors", "most descriptors of the server"),
    ("server_connect_cpu_us", "CPU of the server for each session opened (connections)"),
    ("generator_cpu_percent", "CPU of the generator while measuring, in percent of one CPU"),
    ("generator_cpu_us_per_message", "CPU of the generator for each relayed message"),
    ("generator_cpu_ratio", "CPU of the generator for each message, divided by the server's"),
    ("generator_memory_mb", "resident memory of the generator at the end, in MiB"),
    ("accept_queue_drops", "connections this machine dropped because an accept queue was full"),
    ("server_descriptor_limit", "descriptors the server may open"),
    ("loop_lag_ms", "longest turn of the generator's loop"),
];

/// The parts of a time that have figures.
const PARTS: [&str; 6] = ["mean", "p50", "p90", "p99", "p999", "max"];

/// Whether a figure of this name exists: a plain one, a fault's or count's name, or
/// `<time>_<part>_ms` like `relay_p99_ms`.
pub fn is_known(name: &str) -> bool {
    PLAIN.iter().any(|(known, _)| *known == name)
        || LoadFault::named(name).is_some()
        || CountMetric::named(name).is_some()
        || name.strip_suffix("_ms").and_then(|time| time.rsplit_once('_')).is_some_and(
            |(metric, part)| TimeMetric::named(metric).is_some() && PARTS.contains(&part),
        )
}

/// The names of all figures, with their meaning.
pub fn catalogue() -> Vec<(String, String)> {
    let plain = PLAIN.iter().map(|(name, meaning)| ((*name).to_owned(), (*meaning).to_owned()));
    let times = TimeMetric::ALL.iter().map(|metric| {
        (format!("{}_<{}>_ms", metric.name(), PARTS.join("|")), "a time in milliseconds".to_owned())
    });
    let counts = CountMetric::ALL.iter().map(|c| (c.name().to_owned(), "a count".to_owned()));
    let faults = LoadFault::ALL.iter().map(|f| (f.name().to_owned(), f.meaning().to_owned()));
    plain.chain(times).chain(counts).chain(faults).collect()
}

/// How many messages were lost. A message that came to the wrong user is missing where it
/// should have come, and is not lost as well.
pub fn lost(recorder: &Recorder) -> u64 {
    let seen = |fault| recorder.seen(fault).count;
    seen(LoadFault::Lost).saturating_sub(seen(LoadFault::Misrouted))
}

/// How often a fault occurred, in the sense of the report.
pub fn occurrences(recorder: &Recorder, fault: LoadFault) -> u64 {
    match fault {
        LoadFault::Lost => lost(recorder),
        _ => recorder.seen(fault).count,
    }
}

/// All figures that this run has.
pub fn compute(recorder: &Recorder, extent: &RunMeasurements) -> BTreeMap<String, f64> {
    let mut figures = BTreeMap::new();
    let mut put = |name: &str, value: f64| {
        debug_assert!(is_known(name), "{name} is in no list of figures");
        if value.is_finite() {
            figures.insert(name.to_owned(), value);
        }
    };
    let count = |what| recorder.get(what) as f64;
    for what in CountMetric::ALL {
        put(what.name(), count(*what));
    }
    for fault in LoadFault::ALL {
        put(fault.name(), occurrences(recorder, *fault) as f64);
    }
    for metric in TimeMetric::ALL {
        if let Some(q) = LatencySummary::of(recorder.histogram(*metric)) {
            let values = [q.mean_ms, q.p50_ms, q.p90_ms, q.p99_ms, q.p999_ms, q.max_ms];
            for (part, value) in PARTS.iter().zip(values) {
                put(&format!("{}_{part}_ms", metric.name()), value);
            }
        }
    }
    // Without a single case there is no share.
    let mut share = |name: &str, good: f64, all: f64| put(name, 100.0 * good / all);
    let connects = count(CountMetric::Connected) + count(CountMetric::ConnectFailed);
    share("connected_percent", count(CountMetric::Connected), connects);
    if count(CountMetric::Pings) > 0.0 {
        share("alive_percent", count(CountMetric::Alive), count(CountMetric::Connected));
    }
    let dropped = [LoadFault::ClosedByServer, LoadFault::ConnectionLost];
    let dropped: u64 = dropped.iter().map(|fault| recorder.seen(*fault).count).sum();
    let kept = count(CountMetric::ClosedAsPlanned);
    share("kept_percent", kept, kept + dropped as f64);
    let wishes = count(CountMetric::Matched) + count(CountMetric::Unmatched);
    share("matched_percent", count(CountMetric::Matched), wishes);
    let received = count(CountMetric::Received);
    share("delivered_percent", received, received + bad_messages(recorder));
    put("undelivered", undelivered(recorder) as f64);
    let mut share = |name: &str, good: f64, all: f64| put(name, 100.0 * good / all);
    let requests = count(CountMetric::HttpOk) + count(CountMetric::HttpFailed);
    share("http_ok_percent", count(CountMetric::HttpOk), requests);
    share("success_percent", successes(recorder), successes(recorder) + failures(recorder));
    share("late_percent", count(CountMetric::LateStarts), count(CountMetric::Starts));
    put_extent(&mut put, recorder, extent);
    figures
}

/// Messages sent that did not come to their receiver, whatever the reason.
pub fn undelivered(recorder: &Recorder) -> u64 {
    let came = recorder.get(CountMetric::Received)
        + recorder.get(CountMetric::ReceivedWhileLeaving)
        + recorder.seen(LoadFault::BeforeMatch).count;
    recorder.get(CountMetric::Sent).saturating_sub(came)
}

fn successes(recorder: &Recorder) -> f64 {
    [
        CountMetric::Connected,
        CountMetric::Matched,
        CountMetric::Received,
        CountMetric::HttpOk,
        CountMetric::Pongs,
    ]
    .iter()
    .map(|what| recorder.get(*what) as f64)
    .sum()
}

fn bad_messages(recorder: &Recorder) -> f64 {
    (lost(recorder)
        + recorder.seen(LoadFault::Corrupted).count
        + recorder.seen(LoadFault::Misrouted).count) as f64
}

fn failures(recorder: &Recorder) -> f64 {
    let counted: u64 =
        [CountMetric::ConnectFailed, CountMetric::Unmatched, CountMetric::HttpFailed]
            .iter()
            .map(|what| recorder.get(*what))
            .sum();
    let broken: u64 = [
        LoadFault::ClosedByServer,
        LoadFault::ConnectionLost,
        LoadFault::PingTimeout,
        LoadFault::AnswerTimeout,
    ]
    .iter()
    .map(|fault| recorder.seen(*fault).count)
    .sum();
    (counted + broken) as f64 + bad_messages(recorder)
}

fn put_extent(put: &mut impl FnMut(&str, f64), recorder: &Recorder, extent: &RunMeasurements) {
    const MIB: f64 = 1024.0 * 1024.0;
    put("users_peak", extent.users_peak as f64);
    if extent.users_peak > 0 {
        put("users_peak_at_s", extent.users_peak_at_s);
    }
    put("waiting_peak", extent.waiting_peak as f64);
    put("loop_lag_ms", extent.longest_turn_ms);
    let messages = extent.measured_received as f64;
    let seconds = extent.measured_s;
    if extent.messages_planned || recorder.get(CountMetric::Sent) > 0 {
        put("messages_per_s", messages / seconds);
    }
    // Where most users only hold, it is not the messages that cost.
    let (talks, holds) =
        (recorder.get(CountMetric::Sent) > 0, recorder.get(CountMetric::Pings) > 0);
    if talks && !holds {
        put("generator_cpu_us_per_message", extent.generator_cpu_s * 1e6 / messages);
    }
    put("generator_cpu_percent", 100.0 * extent.generator_cpu_s / seconds);
    if let Some(bytes) = extent.generator_memory {
        put("generator_memory_mb", bytes as f64 / MIB);
    }
    if let Some(cpu) = extent.server_cpu_s {
        put("server_cpu_percent", 100.0 * cpu / seconds);
        if talks && !holds {
            put("server_cpu_us_per_message", cpu * 1e6 / messages);
            put("generator_cpu_ratio", extent.generator_cpu_s / cpu);
        } else if holds {
            put("server_connect_cpu_us", cpu * 1e6 / recorder.get(CountMetric::Connected) as f64);
        }
    }
    if let Some(percent) = extent.server_cpu_peak_percent {
        put("server_cpu_peak_percent", percent);
    }
    if let Some((cpu, told)) = extent.server_busiest_shard {
        put("server_busiest_shard_percent", 100.0 * cpu / told);
    }
    if let Some(peak) = extent.server_memory_peak {
        put("server_memory_mb", peak as f64 / MIB);
        if let Some(before) = extent.server_memory_before {
            let added = peak.saturating_sub(before) as f64;
            put("server_memory_per_user_kb", added / 1024.0 / extent.users_peak as f64);
        }
    }
    if let Some(descriptors) = extent.server_descriptors_peak {
        put("server_descriptors", descriptors as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;
    use std::time::Duration;

    #[test]
    fn shares_and_times_come_out_of_what_was_recorded() {
        let mut recorder = Recorder::default();
        recorder.add(CountMetric::Connected, 999);
        recorder.add(CountMetric::ConnectFailed, 1);
        recorder.add(CountMetric::Sent, 2000);
        recorder.add(CountMetric::Received, 1990);
        recorder.add(CountMetric::ReceivedWhileLeaving, 3);
        recorder.time(TimeMetric::Relay, Duration::from_millis(3));
        let extent = RunMeasurements {
            measured_s: 10.0,
            measured_received: 2000,
            server_cpu_s: Some(0.01),
            generator_cpu_s: 0.012,
            ..RunMeasurements::default()
        };
        let figures = compute(&recorder, &extent);
        let near = |name: &str, value: f64| {
            assert!((figures[name] - value).abs() < 1e-6 * value.abs().max(1.0), "{name}");
        };
        near("connected_percent", 99.9);
        near("delivered_percent", 100.0);
        near("messages_per_s", 200.0);
        near("undelivered", 7.0);
        near("server_cpu_us_per_message", 5.0);
        near("generator_cpu_ratio", 1.2);
        assert!((2.9..3.1).contains(&figures["relay_p99_ms"]));
        assert!(!figures.contains_key("matched_percent"), "nobody asked for a match");
        assert!(figures.keys().all(|name| is_known(name)));
    }

    /// Else a server that lets nobody talk would be judged by no rate at all.
    #[test]
    fn where_messages_were_planned_and_none_was_sent_their_rate_is_zero() {
        let rate = |messages_planned| {
            let extent =
                RunMeasurements { measured_s: 2.0, messages_planned, ..RunMeasurements::default() };
            compute(&Recorder::default(), &extent).get("messages_per_s").copied()
        };
        assert_eq!((rate(true), rate(false)), (Some(0.0), None));
    }

    #[test]
    fn a_misrouted_message_is_not_lost_as_well() {
        let mut recorder = Recorder::default();
        recorder.faults_at(LoadFault::Lost, 5, Timestamp::ZERO);
        recorder.faults_at(LoadFault::Misrouted, 3, Timestamp::ZERO);
        assert_eq!(lost(&recorder), 2);
        assert_eq!(compute(&recorder, &RunMeasurements::default())["lost"], 2.0);
    }
}
