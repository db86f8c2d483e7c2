//! The figures of a run: every number that a target or a comparison can name. Pure.

mod catalogue;

pub(super) use catalogue::counter_meaning;
pub use catalogue::{catalogue, is_known, is_zero_if_absent, name_with_path, names, split_path};

use super::measure::{
    CountMetric, HttpPathCounts, HttpPathRecord, LatencySummary, LoadFault, Recorder, TimeMetric,
};
use super::message_header::MessageSizes;
use catalogue::STATISTICS;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What was measured of a run in addition to its [`Recorder`]; of constant size. *While
/// measuring* means after the warm-up and before the end of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunMeasurements {
    /// Most sessions open at the same time.
    pub users_peak: u64,
    /// When that number was reached, in seconds from the start of the run.
    pub users_peak_at_s: f64,
    /// Most users waiting at the same time.
    pub waiting_peak: u64,
    /// Duration of the measurement.
    pub measured_s: f64,
    /// Whether the users of this run send messages.
    pub messages_planned: bool,
    /// Sizes of the messages that they send.
    pub message_sizes: MessageSizes,
    /// Messages received while measuring.
    pub measured_received: u64,
    /// CPU seconds of the server while measuring.
    pub server_cpu_s: Option<f64>,
    /// CPU seconds of the generator while measuring.
    pub generator_cpu_s: f64,
    /// Peak resident memory of the server.
    pub server_memory_peak_bytes: Option<u64>,
    /// Resident memory of the server before the first arrival.
    pub server_memory_before_bytes: Option<u64>,
    /// Peak CPU of the server in one interval, in percent of one CPU.
    pub server_cpu_peak_percent: Option<f64>,
    /// CPU seconds of the server's busiest shard, and the seconds for which they are known.
    pub server_busiest_shard_s: Option<(f64, f64)>,
    /// Peak number of the server's descriptors.
    pub server_descriptors_peak: Option<u64>,
    /// CPU seconds of other processes on the generator's machine while measuring.
    pub others_cpu_s: Option<f64>,
    /// CPU seconds that the hypervisor took away while measuring.
    pub steal_s: Option<f64>,
    /// Seconds in which a task waited for a CPU while measuring.
    pub cpu_pressure_s: Option<f64>,
    /// Longest iteration of an event loop of the generator.
    pub longest_iteration_ms: f64,
    /// Resident memory of the generator at the end.
    pub generator_memory_bytes: Option<u64>,
}

/// Number of lost messages. A message that arrived at the wrong user is missing at its receiver; it
/// counts as misrouted and not as lost too.
pub fn lost(recorder: &Recorder) -> u64 {
    let count = |fault| recorder.fault_stats(fault).count;
    count(LoadFault::Lost).saturating_sub(count(LoadFault::Misrouted))
}

/// Number of occurrences of a fault, as the report counts them.
pub fn occurrences(recorder: &Recorder, fault: LoadFault) -> u64 {
    match fault {
        LoadFault::Lost => lost(recorder),
        _ => recorder.fault_stats(fault).count,
    }
}

/// All figures that a run has.
pub fn compute(recorder: &Recorder, measured: &RunMeasurements) -> BTreeMap<String, f64> {
    let mut figures = BTreeMap::new();
    let mut put = |name: &str, value: f64| {
        debug_assert!(is_known(name), "{name} is missing in the catalogue");
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
    for (fault, prefix) in [
        (LoadFault::ClosedByServer, "closed_"),
        (LoadFault::UpgradeRefused, "upgrade_"),
        (LoadFault::HttpStatus, "http_status_"),
        (LoadFault::Refused, "refused_"),
    ] {
        for cause in first_words(recorder, fault) {
            let name = format!("{prefix}{cause}");
            if is_known(&name) {
                put(&name, recorder.fault_stats(fault).causes.count(&cause) as f64);
            }
        }
    }
    for metric in TimeMetric::ALL {
        for (name, value) in latency_figures(*metric, recorder.histogram(*metric)) {
            put(&name, value);
        }
    }
    // A share of nothing is NaN, which `put` drops.
    let mut share = |name: &str, good: f64, all: f64| put(name, 100.0 * good / all);
    let connects = count(CountMetric::Connected) + count(CountMetric::ConnectFailed);
    share("connected_percent", count(CountMetric::Connected), connects);
    if count(CountMetric::Pings) > 0.0 {
        share("alive_percent", count(CountMetric::Alive), count(CountMetric::Connected));
    }
    let dropped = [LoadFault::ClosedByServer, LoadFault::ConnectionLost];
    let dropped: u64 = dropped.iter().map(|fault| recorder.fault_stats(*fault).count).sum();
    let kept = count(CountMetric::ClosedAsPlanned);
    share("kept_percent", kept, kept + dropped as f64);
    let requested = count(CountMetric::Matched) + count(CountMetric::Unmatched);
    share("matched_percent", count(CountMetric::Matched), requested);
    let sent = recorder.get(CountMetric::Sent).saturating_sub(recorder.get(CountMetric::UnderWay));
    share("delivered_percent", count(CountMetric::Received), sent as f64);
    put("refusals", refusals(recorder) as f64);
    put("undelivered", undelivered(recorder) as f64);
    let mut share = |name: &str, good: f64, all: f64| put(name, 100.0 * good / all);
    let requests = count(CountMetric::HttpOk) + count(CountMetric::HttpFailed);
    share("http_ok_percent", count(CountMetric::HttpOk), requests);
    share("success_percent", successes(recorder), successes(recorder) + failures(recorder));
    share("late_percent", count(CountMetric::LateStarts), count(CountMetric::Starts));
    put_http(&mut put, recorder);
    put_load(&mut put, recorder, measured);
    put_resources(&mut put, recorder, measured);
    figures
}

/// The figures of a latency by name; none if its histogram is empty.
fn latency_figures(
    metric: TimeMetric,
    histogram: &Histogram<u64>,
) -> impl Iterator<Item = (String, f64)> {
    let values = |q: LatencySummary| {
        [q.mean_ms, q.p50_ms, q.p90_ms, q.p95_ms, q.p99_ms, q.p999_ms, q.max_ms]
    };
    let values = LatencySummary::of(histogram).map(values).into_iter().flatten();
    let name = move |statistic: &str| format!("{}_{statistic}_ms", metric.name());
    STATISTICS.iter().map(move |statistic| name(statistic)).zip(values)
}

/// The rate of answers to HTTP requests, and the figures of each path.
fn put_http(put: &mut impl FnMut(&str, f64), recorder: &Recorder) {
    let (mut answered, mut planned_ns) = (0, 0);
    for (path, HttpPathRecord { counts, total, service }) in recorder.http_paths.iter() {
        answered += counts.ok_in_phase;
        planned_ns += counts.planned_ns;
        let requests = counts.ok + counts.failed;
        let times = [(TimeMetric::Http, total), (TimeMetric::HttpService, service)];
        let times = times.into_iter().flat_map(|(metric, times)| latency_figures(metric, times));
        let others = [
            (CountMetric::HttpDue.name(), counts.due as f64),
            (CountMetric::HttpOk.name(), counts.ok as f64),
            (CountMetric::HttpFailed.name(), counts.failed as f64),
            ("http_per_s", counts.answered_per_s()),
            ("http_ok_percent", 100.0 * counts.ok as f64 / requests as f64),
        ];
        let others = others.map(|(name, value)| (name.to_owned(), value));
        for (name, value) in others.into_iter().chain(times) {
            put(&name_with_path(&name, path), value);
        }
    }
    let all = HttpPathCounts { ok_in_phase: answered, planned_ns, ..HttpPathCounts::default() };
    put("http_per_s", all.answered_per_s());
}

/// Messages that were sent and did not arrive at their receiver, for whatever reason.
pub fn undelivered(recorder: &Recorder) -> u64 {
    let arrived = recorder.get(CountMetric::Received)
        + recorder.get(CountMetric::ReceivedWhileLeaving)
        + recorder.fault_stats(LoadFault::BeforeMatch).count;
    recorder.get(CountMetric::Sent).saturating_sub(arrived)
}

/// The codes in the causes of a fault, each once.
fn first_words(recorder: &Recorder, fault: LoadFault) -> BTreeSet<String> {
    let causes = recorder.fault_stats(fault).causes.iter();
    causes.filter_map(|(cause, _)| cause.split(' ').next()).map(str::to_owned).collect()
}

/// Messages that the server refused.
fn refusals(recorder: &Recorder) -> u64 {
    let is_refusal = |fault: &&LoadFault| fault.is_refusal();
    LoadFault::ALL.iter().filter(is_refusal).map(|fault| recorder.fault_stats(*fault).count).sum()
}

/// Operations that succeeded.
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

/// Messages that were lost, changed or delivered to the wrong user.
fn bad_messages(recorder: &Recorder) -> f64 {
    (lost(recorder)
        + recorder.fault_stats(LoadFault::Corrupted).count
        + recorder.fault_stats(LoadFault::Misrouted).count) as f64
}

/// Operations that failed.
fn failures(recorder: &Recorder) -> f64 {
    let not_completed: u64 =
        [CountMetric::ConnectFailed, CountMetric::Unmatched, CountMetric::HttpFailed]
            .iter()
            .map(|what| recorder.get(*what))
            .sum();
    let interrupted: u64 = [
        LoadFault::ClosedByServer,
        LoadFault::ConnectionLost,
        LoadFault::PingTimeout,
        LoadFault::AnswerTimeout,
    ]
    .iter()
    .map(|fault| recorder.fault_stats(*fault).count)
    .sum();
    (not_completed + interrupted) as f64 + bad_messages(recorder)
}

fn put_load(put: &mut impl FnMut(&str, f64), recorder: &Recorder, measured: &RunMeasurements) {
    put("users_peak", measured.users_peak as f64);
    if measured.users_peak > 0 {
        put("users_peak_at_s", measured.users_peak_at_s);
    }
    put("waiting_peak", measured.waiting_peak as f64);
    put("loop_lag_ms", measured.longest_iteration_ms);
    if measured.messages_planned {
        put("plain_message_bytes", measured.message_sizes.plain as f64);
        put("offer_bytes", measured.message_sizes.offer as f64);
    }
    if measured.messages_planned || recorder.get(CountMetric::Sent) > 0 {
        put("messages_per_s", measured.measured_received as f64 / measured.measured_s);
    }
}

fn put_resources(put: &mut impl FnMut(&str, f64), recorder: &Recorder, measured: &RunMeasurements) {
    const MIB: f64 = 1024.0 * 1024.0;
    let messages = measured.measured_received as f64;
    let seconds = measured.measured_s;
    // Pings show that most sessions are idle; the CPU time then is not that of the messages.
    let holds = recorder.get(CountMetric::Pings) > 0;
    let talks = recorder.get(CountMetric::Sent) > 0;
    if talks && !holds {
        put("generator_cpu_us_per_message", measured.generator_cpu_s * 1e6 / messages);
    }
    put("generator_cpu_percent", 100.0 * measured.generator_cpu_s / seconds);
    if let Some(bytes) = measured.generator_memory_bytes {
        put("generator_memory_mb", bytes as f64 / MIB);
    }
    for (name, spent_s) in [
        ("others_cpu_percent", measured.others_cpu_s),
        ("steal_percent", measured.steal_s),
        ("cpu_pressure_percent", measured.cpu_pressure_s),
    ] {
        if let Some(spent_s) = spent_s {
            put(name, 100.0 * spent_s / seconds);
        }
    }
    if let Some(cpu) = measured.server_cpu_s {
        put("server_cpu_percent", 100.0 * cpu / seconds);
        if talks && !holds {
            put("server_cpu_us_per_message", cpu * 1e6 / messages);
            put("generator_cpu_ratio", measured.generator_cpu_s / cpu);
        } else if holds {
            put("server_connect_cpu_us", cpu * 1e6 / recorder.get(CountMetric::Connected) as f64);
        }
    }
    if let Some(percent) = measured.server_cpu_peak_percent {
        put("server_cpu_peak_percent", percent);
    }
    if let Some((cpu, known)) = measured.server_busiest_shard_s {
        put("server_busiest_shard_percent", 100.0 * cpu / known);
    }
    if let Some(peak) = measured.server_memory_peak_bytes {
        put("server_memory_mb", peak as f64 / MIB);
        if let Some(before) = measured.server_memory_before_bytes {
            let added = peak.saturating_sub(before) as f64;
            put("server_memory_per_user_kb", added / 1024.0 / measured.users_peak as f64);
        }
    }
    if let Some(descriptors) = measured.server_descriptors_peak {
        put("server_descriptors", descriptors as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;
    use std::time::Duration;

    #[test]
    fn computes_shares_rates_and_latencies() {
        let mut recorder = Recorder::default();
        recorder.add(CountMetric::Connected, 999);
        recorder.add(CountMetric::ConnectFailed, 1);
        recorder.add(CountMetric::Sent, 2000);
        recorder.add(CountMetric::Received, 1990);
        recorder.add(CountMetric::ReceivedWhileLeaving, 3);
        recorder.add(CountMetric::UnderWay, 5);
        recorder.record_faults(LoadFault::RateLimited, 3, Timestamp::ZERO);
        recorder.record_faults(LoadFault::NotInRoom, 1, Timestamp::ZERO);
        recorder.record_faults(LoadFault::Draining, 9, Timestamp::ZERO);
        recorder.record_time(TimeMetric::Relay, Duration::from_millis(3));
        let measured = RunMeasurements {
            measured_s: 10.0,
            measured_received: 2000,
            server_cpu_s: Some(0.01),
            generator_cpu_s: 0.012,
            ..RunMeasurements::default()
        };
        let figures = compute(&recorder, &measured);
        let near = |name: &str, value: f64| {
            assert!((figures[name] - value).abs() < 1e-6 * value.abs().max(1.0), "{name}");
        };
        near("connected_percent", 99.9);
        near("delivered_percent", 100.0 * 1990.0 / 1995.0);
        near("refusals", 4.0);
        near("messages_per_s", 200.0);
        near("undelivered", 7.0);
        near("server_cpu_us_per_message", 5.0);
        near("generator_cpu_ratio", 1.2);
        assert!((2.9..3.1).contains(&figures["relay_p99_ms"]));
        assert!(!figures.contains_key("matched_percent"), "no user requested a match");
        assert!(figures.keys().all(|name| is_known(name)));
    }

    /// Without the figure, a server that matches no users would pass a target for the rate.
    #[test]
    fn the_message_rate_is_zero_if_messages_were_planned_and_none_was_sent() {
        let rate = |messages_planned| {
            let measured =
                RunMeasurements { measured_s: 2.0, messages_planned, ..RunMeasurements::default() };
            compute(&Recorder::default(), &measured).get("messages_per_s").copied()
        };
        assert_eq!((rate(true), rate(false)), (Some(0.0), None));
    }

    #[test]
    fn a_misrouted_message_does_not_count_as_lost() {
        let mut recorder = Recorder::default();
        recorder.record_faults(LoadFault::Lost, 5, Timestamp::ZERO);
        recorder.record_faults(LoadFault::Misrouted, 3, Timestamp::ZERO);
        assert_eq!(lost(&recorder), 2);
        assert_eq!(compute(&recorder, &RunMeasurements::default())["lost"], 2.0);
    }
}
