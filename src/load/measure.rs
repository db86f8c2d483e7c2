//! What is measured: counts, faults and histograms, of constant size. Pure.
//!
//! Each thread fills a [`Recorder`] of its own; once an interval it is handed over and merged.
//! Nothing here grows with the length of a run or the number of users.

mod kinds;

pub use kinds::{CountMetric, LoadFault, TimeMetric};

use crate::timestamp::Timestamp;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often a fault was seen, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultStats {
    /// How often.
    pub count: u64,
    /// Nanoseconds from the start of the run to the first time.
    pub first_ns: u64,
    /// Nanoseconds from the start of the run to the last time.
    pub last_ns: u64,
    /// The HTTP status that came with the first one; if it had none, that of a later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl FaultStats {
    fn merge(&mut self, other: &FaultStats) {
        if other.count == 0 {
            return;
        }
        let is_first = self.count == 0 || other.first_ns < self.first_ns;
        self.status =
            if is_first { other.status.or(self.status) } else { self.status.or(other.status) };
        self.first_ns =
            if self.count == 0 { other.first_ns } else { self.first_ns.min(other.first_ns) };
        self.last_ns = self.last_ns.max(other.last_ns);
        self.count += other.count;
    }
}

/// Longest time that a histogram tells apart; anything longer counts as this.
const LONGEST_US: u64 = 120_000_000;

/// Counts, faults and histograms of one thread or of a whole run.
#[derive(Clone, Debug)]
pub struct Recorder {
    counts: [u64; CountMetric::ALL.len()],
    faults: [FaultStats; LoadFault::ALL.len()],
    times: Vec<Histogram<u64>>,
}

impl Default for Recorder {
    fn default() -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, LONGEST_US, 3)
                .expect("because three digits over eight decades is a valid histogram")
        };
        Recorder {
            counts: [0; CountMetric::ALL.len()],
            faults: [FaultStats::default(); LoadFault::ALL.len()],
            times: TimeMetric::ALL.iter().map(|_| histogram()).collect(),
        }
    }
}

impl Recorder {
    /// Counts one.
    #[inline]
    pub fn count(&mut self, what: CountMetric) {
        self.counts[what as usize] += 1;
    }

    /// Counts several.
    #[inline]
    pub fn add(&mut self, what: CountMetric, many: u64) {
        self.counts[what as usize] += many;
    }

    /// Records a time.
    #[inline]
    pub fn time(&mut self, metric: TimeMetric, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST_US);
        self.times[metric as usize].saturating_record(micros.max(1));
    }

    /// Records the time from one moment to another; for the path of every message, without
    /// the arithmetic of durations.
    #[inline]
    pub fn between(&mut self, metric: TimeMetric, from: Timestamp, to: Timestamp) {
        let micros = to.as_nanos().saturating_sub(from.as_nanos()) / 1000;
        self.times[metric as usize].saturating_record(micros.max(1));
    }

    /// Records a fault at `at`, counted from the start of the run.
    pub fn fault(&mut self, what: LoadFault, at: Timestamp) {
        self.faults_at(what, 1, at);
    }

    /// Records `many` faults at `at`.
    pub fn faults_at(&mut self, what: LoadFault, many: u64, at: Timestamp) {
        let at = at.as_nanos();
        let seen = FaultStats { count: many, first_ns: at, last_ns: at, status: None };
        self.faults[what as usize].merge(&seen);
    }

    /// The fault just recorded came with this HTTP status; only the first one is kept.
    pub fn note_status(&mut self, what: LoadFault, status: u16) {
        self.faults[what as usize].status.get_or_insert(status);
    }

    /// Restores what an earlier recorder had seen of a fault.
    pub fn merge_fault(&mut self, what: LoadFault, seen: FaultStats) {
        self.faults[what as usize].merge(&seen);
    }

    /// Moves what was seen of faults to a later time: this recorder began `offset_ns` after
    /// the run did.
    pub fn shift_faults(&mut self, offset_ns: u64) {
        for seen in self.faults.iter_mut().filter(|seen| seen.count > 0) {
            seen.first_ns += offset_ns;
            seen.last_ns += offset_ns;
        }
    }

    /// How many.
    pub fn get(&self, what: CountMetric) -> u64 {
        self.counts[what as usize]
    }

    /// What was seen of a fault.
    pub fn seen(&self, what: LoadFault) -> FaultStats {
        self.faults[what as usize]
    }

    /// One sentence for the report, with the status that came first if any came.
    pub fn meaning(&self, what: LoadFault) -> String {
        match self.seen(what).status {
            Some(status) => format!("{}, first with {status}", what.meaning()),
            None => what.meaning().to_owned(),
        }
    }

    /// The histogram of a time, in microseconds.
    pub fn histogram(&self, metric: TimeMetric) -> &Histogram<u64> {
        &self.times[metric as usize]
    }

    /// The histogram of a time, to be filled from a log.
    pub fn histogram_mut(&mut self, metric: TimeMetric) -> &mut Histogram<u64> {
        &mut self.times[metric as usize]
    }

    /// Adds what another recorder holds.
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
    }

    /// Makes it as new, without giving memory back.
    pub fn clear(&mut self) {
        self.counts = [0; CountMetric::ALL.len()];
        self.faults = [FaultStats::default(); LoadFault::ALL.len()];
        self.times.iter_mut().filter(|h| !h.is_empty()).for_each(Histogram::reset);
    }
}

/// The figures that people read off a histogram, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// How many times were recorded.
    pub count: u64,
    /// Mean.
    pub mean_ms: f64,
    /// Half were at most this.
    pub p50_ms: f64,
    /// 90 % were at most this.
    pub p90_ms: f64,
    /// 99 % were at most this.
    pub p99_ms: f64,
    /// 99.9 % were at most this.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl LatencySummary {
    /// Reads a histogram of microseconds; `None` if it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |q| histogram.value_at_quantile(q) as f64 / 1000.0;
        (!histogram.is_empty()).then(|| LatencySummary {
            count: histogram.len(),
            mean_ms: histogram.mean() / 1000.0,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
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
    fn merging_recorders_is_the_same_as_filling_one() {
        let at = Timestamp::from_nanos;
        let (mut a, mut b, mut whole) =
            (Recorder::default(), Recorder::default(), Recorder::default());
        for i in 1..=1000u64 {
            let part = if i % 3 == 0 { &mut a } else { &mut b };
            for recorder in [part, &mut whole] {
                recorder.count(CountMetric::Sent);
                recorder.time(TimeMetric::Relay, Duration::from_micros(i * 7));
                recorder.fault(LoadFault::Lost, at(i));
            }
        }
        a.merge(&b);
        assert_eq!(a.get(CountMetric::Sent), 1000);
        assert_eq!(
            a.seen(LoadFault::Lost),
            FaultStats { count: 1000, first_ns: 1, last_ns: 1000, status: None }
        );
        let quantiles = |r: &Recorder| LatencySummary::of(r.histogram(TimeMetric::Relay));
        assert_eq!(quantiles(&a), quantiles(&whole));
        a.clear();
        assert_eq!((a.get(CountMetric::Sent), quantiles(&a)), (0, None));
        assert_eq!(a.seen(LoadFault::Lost), FaultStats::default());
    }

    /// Whichever thread saw it first, and though another one may have seen it without a status.
    #[test]
    fn a_fault_is_told_with_the_status_that_came_first() {
        let refused = |at, status| {
            let mut recorder = Recorder::default();
            recorder.fault(LoadFault::UpgradeRefused, Timestamp::from_nanos(at));
            if let Some(status) = status {
                recorder.note_status(LoadFault::UpgradeRefused, status);
                recorder.note_status(LoadFault::UpgradeRefused, 500);
            }
            recorder
        };
        let parts = [refused(2, Some(404)), refused(1, None), refused(3, Some(400))];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut whole = Recorder::default();
            order.iter().for_each(|nth| whole.merge(&parts[*nth]));
            let told = whole.meaning(LoadFault::UpgradeRefused);
            assert!(told.starts_with("the upgrade was refused, first with 40"), "{told}");
        }
        let (mut early, late) = (refused(3, Some(400)), refused(2, Some(404)));
        early.merge(&late);
        assert_eq!(
            early.meaning(LoadFault::UpgradeRefused),
            "the upgrade was refused, first with 404"
        );
        assert_eq!(refused(1, None).meaning(LoadFault::UpgradeRefused), "the upgrade was refused");
    }

    #[test]
    fn what_is_longer_than_the_longest_counts_as_the_longest() {
        let mut recorder = Recorder::default();
        recorder.time(TimeMetric::Match, Duration::from_secs(100_000));
        let max = LatencySummary::of(recorder.histogram(TimeMetric::Match)).unwrap().max_ms;
        assert!((120_000.0..132_000.0).contains(&max), "{max}");
    }
}
