//! What is recorded of the HTTP requests of each path. Pure.
//!
//! A test has at most [`MAX_HTTP_PATHS`] of them, so a recorder remains of bounded size.

use super::microsecond_histogram;
use crate::load::encoded_histogram::{decode, encode};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most different paths of one test. Each has two histograms of 150 KiB in every recorder.
pub const MAX_HTTP_PATHS: usize = 32;

/// The names of the two histograms of a path, in reports and logs.
const TOTAL: &str = "http";
const SERVICE: &str = "http_service";

/// The requests of one path as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpPathCounts {
    /// Requests that were due.
    pub due: u64,
    /// Answers with status 200.
    pub ok: u64,
    /// Those of them that arrived before the end of the phase of their request.
    pub ok_in_phase: u64,
    /// Requests without such an answer.
    pub failed: u64,
    /// Time in which the requests were due, in nanoseconds. Each request adds the length of its phase
    /// divided by the number of requests of that phase, so that the shares of several threads add up.
    pub planned_ns: u64,
}

impl HttpPathCounts {
    fn add(&mut self, other: &HttpPathCounts) {
        self.due += other.due;
        self.ok += other.ok;
        self.ok_in_phase += other.ok_in_phase;
        self.failed += other.failed;
        self.planned_ns += other.planned_ns;
    }

    /// Answers with status 200 per second, in the time in which the requests were due. Answers that a slow
    /// server sends after that time are no part of the rate. NaN if no request was due.
    pub fn answered_per_s(&self) -> f64 {
        self.ok_in_phase as f64 / (self.planned_ns as f64 / 1e9)
    }
}

/// The requests of one path.
#[derive(Clone, Debug)]
pub struct HttpPathRecord {
    /// Counts.
    pub counts: HttpPathCounts,
    /// Times from the planned request to the end of the answer, in microseconds.
    pub total: Histogram<u64>,
    /// Times from the actual request to the end of the answer, in microseconds.
    pub service: Histogram<u64>,
}

impl Default for HttpPathRecord {
    fn default() -> Self {
        HttpPathRecord {
            counts: HttpPathCounts::default(),
            total: microsecond_histogram(),
            service: microsecond_histogram(),
        }
    }
}

impl HttpPathRecord {
    /// A request of a phase of this length with so many requests is due.
    pub fn count_due(&mut self, phase: Duration, requests: u64) {
        self.counts.due += 1;
        self.counts.planned_ns += (phase.as_nanos() / u128::from(requests.max(1))) as u64;
    }

    /// An answer with status 200 has arrived, before the end of the phase of its request or later.
    pub fn count_answer(&mut self, in_phase: bool) {
        self.counts.ok += 1;
        self.counts.ok_in_phase += u64::from(in_phase);
    }

    /// Records the times of an answer, or of a request that timed out.
    pub fn record_times(&mut self, total: Duration, service: Duration) {
        let micros = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        self.total.saturating_record(micros(total));
        self.service.saturating_record(micros(service));
    }

    fn merge(&mut self, other: &HttpPathRecord) {
        self.counts.add(&other.counts);
        for (mine, theirs) in [(&mut self.total, &other.total), (&mut self.service, &other.service)]
        {
            mine.add(theirs).expect("because all histograms have the same bounds");
        }
    }

    fn clear(&mut self) {
        self.counts = HttpPathCounts::default();
        self.total.reset();
        self.service.reset();
    }
}

/// The requests of each path.
#[derive(Clone, Debug, Default)]
pub struct HttpPathRecords(BTreeMap<String, HttpPathRecord>);

impl HttpPathRecords {
    /// The record of a path.
    pub fn of(&mut self, path: &str) -> &mut HttpPathRecord {
        if !self.0.contains_key(path) {
            self.0.insert(path.to_owned(), HttpPathRecord::default());
        }
        self.0.get_mut(path).expect("because it was inserted if it was missing")
    }

    /// The paths of which something was recorded, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HttpPathRecord)> {
        let used = self.0.iter().filter(|(_, record)| record.counts != HttpPathCounts::default());
        used.map(|(path, record)| (path.as_str(), record))
    }

    pub(super) fn merge(&mut self, other: &HttpPathRecords) {
        other.iter().for_each(|(path, record)| self.of(path).merge(record));
    }

    /// Resets all records and keeps their memory.
    pub(super) fn clear(&mut self) {
        self.0.values_mut().for_each(HttpPathRecord::clear);
    }

    /// The records as a log or a report contains them.
    pub fn to_samples(&self) -> BTreeMap<String, HttpPathSample> {
        self.iter().map(|(path, record)| (path.to_owned(), HttpPathSample::of(record))).collect()
    }
}

/// The requests of one path, as a row of the interval log and a run of the report contain them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpPathSample {
    /// Counts.
    #[serde(flatten)]
    pub counts: HttpPathCounts,
    /// The encoded histograms by name: `http` and `http_service`.
    pub histograms: BTreeMap<String, String>,
}

impl HttpPathSample {
    fn of(record: &HttpPathRecord) -> Self {
        let all = [(TOTAL, &record.total), (SERVICE, &record.service)];
        let recorded = all.into_iter().filter(|(_, times)| !times.is_empty());
        HttpPathSample {
            counts: record.counts,
            histograms: recorded.map(|(name, times)| (name.to_owned(), encode(times))).collect(),
        }
    }

    /// Adds this sample to a record.
    ///
    /// # Errors
    /// The reason in one line, if a histogram cannot be read. The counts are added all the same.
    pub fn add_to(&self, record: &mut HttpPathRecord) -> Result<(), String> {
        record.counts.add(&self.counts);
        for (name, times) in [(TOTAL, &mut record.total), (SERVICE, &mut record.service)] {
            let Some(text) = self.histograms.get(name) else { continue };
            for step in decode(text)?.iter_recorded() {
                times.saturating_record_n(step.value_iterated_to(), step.count_at_value());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::LatencySummary;
    use super::*;

    fn recorded(path: &str, millis: &[u64]) -> HttpPathRecords {
        let mut records = HttpPathRecords::default();
        for ms in millis {
            let record = records.of(path);
            record.count_due(Duration::from_secs(10), 50);
            record.count_answer(*ms < 100);
            record.record_times(Duration::from_millis(*ms), Duration::from_millis(*ms - 1));
        }
        records
    }

    #[test]
    fn records_of_threads_and_of_a_log_add_up_by_path() {
        let mut all = recorded("/a", &[10, 20]);
        all.merge(&recorded("/a", &[200]));
        all.merge(&recorded("/b", &[7]));
        let mut read = HttpPathRecords::default();
        for (path, sample) in all.to_samples() {
            let text = serde_json::to_string(&sample).unwrap();
            let sample: HttpPathSample = serde_json::from_str(&text).unwrap();
            sample.add_to(read.of(&path)).unwrap();
        }
        for records in [&all, &read] {
            let paths: Vec<_> = records.iter().collect();
            assert_eq!(paths.iter().map(|(path, _)| *path).collect::<Vec<_>>(), ["/a", "/b"]);
            let HttpPathRecord { counts, total, service } = paths[0].1;
            assert_eq!((counts.due, counts.ok, counts.ok_in_phase), (3, 3, 2));
            // Three of the 50 requests that are due in 10 s.
            assert_eq!(counts.planned_ns, 600_000_000);
            assert!((counts.answered_per_s() - 2.0 / 0.6).abs() < 1e-9);
            assert_eq!((total.len(), service.len()), (3, 3));
            let p50 = |times| LatencySummary::of(times).unwrap().p50_ms;
            assert!((19.9..20.1).contains(&p50(total)), "{}", p50(total));
            assert!((18.9..19.1).contains(&p50(service)), "{}", p50(service));
            assert_eq!(paths[1].1.counts.due, 1);
        }
        all.clear();
        assert_eq!(all.iter().count(), 0, "nothing was recorded since");
        assert_eq!(all.of("/a").total.len(), 0);
    }
}
