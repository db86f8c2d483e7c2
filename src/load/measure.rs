//! The recorder: counts, faults and latency histograms of constant size. Pure.
//!
//! Each thread fills a [`Recorder`] of its own, which is handed over and merged once an interval.
//! Its size depends neither on the length of a run nor on the number of users.

#[macro_use]
mod indexed_enum;
mod causes;
mod faults;
mod http_paths;
mod metrics;

pub use causes::{FaultCauses, close_code_meaning, http_cause};
pub use faults::LoadFault;
pub use http_paths::{
    HttpPathCounts, HttpPathRecord, HttpPathRecords, HttpPathSample, MAX_HTTP_PATHS,
};
pub use metrics::{CountMetric, TimeMetric};

use crate::timestamp::Timestamp;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often a fault was recorded, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultStats {
    /// Number of occurrences.
    pub count: u64,
    /// Nanoseconds from the start of the run to the first occurrence.
    pub first_ns: u64,
    /// Nanoseconds from the start of the run to the last occurrence.
    pub last_ns: u64,
    /// The causes of those occurrences that have one.
    #[serde(default, skip_serializing_if = "FaultCauses::is_empty")]
    pub causes: FaultCauses,
}

impl FaultStats {
    fn merge(&mut self, other: &FaultStats) {
        if other.count == 0 {
            return;
        }
        self.causes.merge(&other.causes);
        self.first_ns =
            if self.count == 0 { other.first_ns } else { self.first_ns.min(other.first_ns) };
        self.last_ns = self.last_ns.max(other.last_ns);
        self.count += other.count;
    }
}

/// Longest time that a histogram can hold; longer times count as this.
const LONGEST_US: u64 = 120_000_000;

/// Counts, faults and histograms of one thread or of a whole run.
#[derive(Clone, Debug)]
pub struct Recorder {
    counts: [u64; CountMetric::ALL.len()],
    faults: [FaultStats; LoadFault::ALL.len()],
    times: Vec<Histogram<u64>>,
    /// HTTP requests by path.
    pub http_paths: HttpPathRecords,
}

/// An empty histogram of microseconds.
fn microsecond_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3)
        .expect("because three digits over eight decades is a valid histogram")
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder {
            counts: [0; CountMetric::ALL.len()],
            faults: std::array::from_fn(|_| FaultStats::default()),
            times: TimeMetric::ALL.iter().map(|_| microsecond_histogram()).collect(),
            http_paths: HttpPathRecords::default(),
        }
    }
}

impl Recorder {
    /// Counts one occurrence.
    #[inline]
    pub fn count(&mut self, metric: CountMetric) {
        self.counts[metric as usize] += 1;
    }

    /// Counts `many` occurrences.
    #[inline]
    pub fn add(&mut self, metric: CountMetric, many: u64) {
        self.counts[metric as usize] += many;
    }

    /// Records a time.
    #[inline]
    pub fn record_time(&mut self, metric: TimeMetric, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST_US);
        self.times[metric as usize].saturating_record(micros.max(1));
    }

    /// Records the same time for `many` operations.
    pub fn record_times(&mut self, metric: TimeMetric, took: Duration, many: u64) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST_US);
        self.times[metric as usize].saturating_record_n(micros.max(1), many);
    }

    /// Records the time between two timestamps. It avoids the arithmetic of `Duration`, because it
    /// runs for every message.
    #[inline]
    pub fn record_between(&mut self, metric: TimeMetric, from: Timestamp, to: Timestamp) {
        let micros = to.as_nanos().saturating_sub(from.as_nanos()) / 1000;
        self.times[metric as usize].saturating_record(micros.max(1));
    }

    /// Records a fault at `at`, counted from the start of the run.
    pub fn record_fault(&mut self, fault: LoadFault, at: Timestamp) {
        self.record_faults(fault, 1, at);
    }

    /// Records `many` faults at `at`.
    pub fn record_faults(&mut self, fault: LoadFault, many: u64, at: Timestamp) {
        let at = at.as_nanos();
        let causes = FaultCauses::default();
        let stats = FaultStats { count: many, first_ns: at, last_ns: at, causes };
        self.faults[fault as usize].merge(&stats);
    }

    /// Records a fault at `at` with its cause, as the server names it.
    pub fn record_fault_with_cause(&mut self, fault: LoadFault, cause: &str, at: Timestamp) {
        self.record_faults(fault, 1, at);
        self.faults[fault as usize].causes.add(cause, 1);
    }

    /// Adds the occurrences of a fault from an earlier recorder.
    pub fn merge_fault(&mut self, fault: LoadFault, stats: &FaultStats) {
        self.faults[fault as usize].merge(stats);
    }

    /// Moves all faults to a later time: this recorder started `offset_ns` after the run.
    pub fn shift_faults(&mut self, offset_ns: u64) {
        for stats in self.faults.iter_mut().filter(|stats| stats.count > 0) {
            stats.first_ns += offset_ns;
            stats.last_ns += offset_ns;
        }
    }

    /// The value of a count.
    pub fn get(&self, metric: CountMetric) -> u64 {
        self.counts[metric as usize]
    }

    /// The occurrences of a fault.
    pub fn fault_stats(&self, fault: LoadFault) -> &FaultStats {
        &self.faults[fault as usize]
    }

    /// One sentence for the report, with the causes if there are some.
    pub fn meaning(&self, fault: LoadFault) -> String {
        let in_words = |(cause, count): (&str, u64)| match close_code_meaning(cause) {
            meaning if fault.has_close_codes() && !meaning.is_empty() => {
                format!("{count} × {cause}: {meaning}")
            }
            _ => format!("{count} × {cause}"),
        };
        let causes: Vec<String> = self.fault_stats(fault).causes.iter().map(in_words).collect();
        match causes.is_empty() {
            true => fault.meaning().to_owned(),
            false => format!("{} ({})", fault.meaning(), causes.join("; ")),
        }
    }

    /// The histogram of a time, in microseconds.
    pub fn histogram(&self, metric: TimeMetric) -> &Histogram<u64> {
        &self.times[metric as usize]
    }

    /// The histogram of a time, to be filled from an interval log.
    pub fn histogram_mut(&mut self, metric: TimeMetric) -> &mut Histogram<u64> {
        &mut self.times[metric as usize]
    }

    /// Adds the times of a histogram. Times over the limit of this recorder count as the limit.
    pub fn add_times(&mut self, metric: TimeMetric, times: &Histogram<u64>) {
        let histogram = &mut self.times[metric as usize];
        if histogram.add(times).is_err() {
            for step in times.iter_recorded() {
                histogram.saturating_record_n(step.value_iterated_to(), step.count_at_value());
            }
        }
    }

    /// Adds the contents of another recorder.
    pub fn merge(&mut self, other: &Recorder) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        for (mine, theirs) in self.faults.iter_mut().zip(&other.faults) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.times.iter_mut().zip(&other.times) {
            if !theirs.is_empty() {
                mine.add(theirs).expect("because all histograms have the same bounds");
            }
        }
        self.http_paths.merge(&other.http_paths);
    }

    /// Resets the recorder and keeps its memory.
    pub fn clear(&mut self) {
        self.counts = [0; CountMetric::ALL.len()];
        self.faults = std::array::from_fn(|_| FaultStats::default());
        self.times.iter_mut().filter(|h| !h.is_empty()).for_each(Histogram::reset);
        self.http_paths.clear();
    }
}

/// Mean, percentiles and maximum of a histogram, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Number of recorded times.
    pub count: u64,
    /// Mean.
    pub mean_ms: f64,
    /// Median.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 95th percentile; reports of 0.1.0 lack it.
    #[serde(default)]
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// 99.9th percentile.
    pub p999_ms: f64,
    /// Maximum.
    pub max_ms: f64,
}

impl LatencySummary {
    /// Summarizes a histogram of microseconds; `None` if it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |q| histogram.value_at_quantile(q) as f64 / 1000.0;
        (!histogram.is_empty()).then(|| LatencySummary {
            count: histogram.len(),
            mean_ms: histogram.mean() / 1000.0,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1000.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_recorders_equals_filling_one() {
        let at = Timestamp::from_nanos;
        let (mut a, mut b, mut whole) =
            (Recorder::default(), Recorder::default(), Recorder::default());
        for i in 1..=1000u64 {
            let part = if i % 3 == 0 { &mut a } else { &mut b };
            for recorder in [part, &mut whole] {
                recorder.count(CountMetric::Sent);
                recorder.record_time(TimeMetric::Relay, Duration::from_micros(i * 7));
                recorder.record_fault(LoadFault::Lost, at(i));
            }
        }
        a.merge(&b);
        assert_eq!(a.get(CountMetric::Sent), 1000);
        assert_eq!(
            *a.fault_stats(LoadFault::Lost),
            FaultStats { count: 1000, first_ns: 1, last_ns: 1000, ..FaultStats::default() }
        );
        let quantiles = |r: &Recorder| LatencySummary::of(r.histogram(TimeMetric::Relay));
        assert_eq!(quantiles(&a), quantiles(&whole));
        a.clear();
        assert_eq!((a.get(CountMetric::Sent), quantiles(&a)), (0, None));
        assert_eq!(*a.fault_stats(LoadFault::Lost), FaultStats::default());
    }

    /// For every order in which threads are merged, also when one recorded no cause.
    #[test]
    fn a_fault_is_described_with_its_causes() {
        let closed = |at, causes: &[&str]| {
            let mut recorder = Recorder::default();
            let at = Timestamp::from_nanos(at);
            for cause in causes {
                recorder.record_fault_with_cause(LoadFault::ClosedByServer, cause, at);
            }
            recorder.record_fault(LoadFault::ClosedByServer, at);
            recorder
        };
        let parts = [closed(2, &["1009", "4999"]), closed(1, &[]), closed(3, &["1009"])];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut whole = Recorder::default();
            order.iter().for_each(|nth| whole.merge(&parts[*nth]));
            assert_eq!(whole.fault_stats(LoadFault::ClosedByServer).count, 6);
            let meaning = whole.meaning(LoadFault::ClosedByServer);
            let causes = "should have stayed open (2 × 1009: a message was too large; 1 × 4999)";
            assert!(meaning.ends_with(causes), "{meaning}");
        }
        let mut refused = Recorder::default();
        refused.record_fault_with_cause(LoadFault::UpgradeRefused, "404", Timestamp::ZERO);
        assert_eq!(refused.meaning(LoadFault::UpgradeRefused), "the upgrade was refused (1 × 404)");
        refused.clear();
        assert_eq!(refused.meaning(LoadFault::UpgradeRefused), "the upgrade was refused");
    }

    #[test]
    fn a_time_over_the_limit_counts_as_the_limit() {
        let mut recorder = Recorder::default();
        recorder.record_time(TimeMetric::Match, Duration::from_secs(100_000));
        let max = LatencySummary::of(recorder.histogram(TimeMetric::Match)).unwrap().max_ms;
        assert!((120_000.0..132_000.0).contains(&max), "{max}");
    }
}
