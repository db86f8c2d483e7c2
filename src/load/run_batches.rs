//! The batches of a run: its intervals in groups of the same number, from which a comparison estimates by how
//! much the figures of the run vary. Pure; of constant size.

use super::encoded_histogram::merged;
use super::interval_log::IntervalRow;
use super::measure::{CountMetric, TimeMetric};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Limit of batches of a run; a long run has at least half as many. Schmeiser (1982) finds 10 to 30 batches
/// enough for the variance of a mean; percentiles in the tail need more values in each.
const MAX_BATCHES: usize = 40;

/// The latencies that are compared.
const KEPT: [TimeMetric; 4] =
    [TimeMetric::Connect, TimeMetric::Match, TimeMetric::Relay, TimeMetric::Http];

/// Consecutive intervals of a run. The sums are those of the intervals that are measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunBatch {
    /// Length of the measured intervals.
    pub seconds: f64,
    /// Messages received.
    pub received: u64,
    /// CPU seconds of the server, as far as they are known.
    pub server_cpu_s: f64,
    /// CPU seconds of the generator.
    pub generator_cpu_s: f64,
    /// The compared latencies of all intervals, as encoded histograms.
    pub histograms: BTreeMap<String, String>,
}

impl RunBatch {
    fn of(row: &IntervalRow) -> Self {
        let mut batch = RunBatch::default();
        if row.measured {
            let of_server = row.server.cpu_percent.unwrap_or(0.0);
            batch.seconds = row.length_s;
            batch.received = row.counts.get(CountMetric::Received.name()).copied().unwrap_or(0);
            batch.server_cpu_s = of_server / 100.0 * row.length_s;
            batch.generator_cpu_s = row.generator.cpu_percent / 100.0 * row.length_s;
        }
        for name in KEPT.map(TimeMetric::name) {
            if let Some(text) = row.histograms.get(name) {
                batch.histograms.insert(name.to_owned(), text.clone());
            }
        }
        batch
    }

    /// Adds the intervals of another batch.
    pub fn add(&mut self, other: RunBatch) {
        self.seconds += other.seconds;
        self.received += other.received;
        self.server_cpu_s += other.server_cpu_s;
        self.generator_cpu_s += other.generator_cpu_s;
        for (name, text) in other.histograms {
            self.histograms.entry(name).and_modify(|all| *all = merged(all, &text)).or_insert(text);
        }
    }
}

/// Collects the batches of a run.
#[derive(Clone, Debug)]
pub struct RunBatches {
    batches: Vec<RunBatch>,
    /// Intervals of a batch.
    size: u64,
    /// Intervals of the last batch.
    in_last: u64,
}

impl Default for RunBatches {
    fn default() -> Self {
        RunBatches { batches: Vec::new(), size: 1, in_last: 1 }
    }
}

impl RunBatches {
    /// Adds an interval.
    pub fn push(&mut self, row: &IntervalRow) {
        let batch = RunBatch::of(row);
        match self.batches.last_mut() {
            Some(last) if self.in_last < self.size => {
                last.add(batch);
                self.in_last += 1;
            }
            _ => {
                if self.batches.len() == MAX_BATCHES {
                    self.join_pairs();
                }
                self.batches.push(batch);
                self.in_last = 1;
            }
        }
    }

    /// Joins neighbours, all of which are complete, so that half as many batches remain.
    fn join_pairs(&mut self) {
        let mut batches = std::mem::take(&mut self.batches).into_iter();
        while let Some(mut batch) = batches.next() {
            batches.next().into_iter().for_each(|next| batch.add(next));
            self.batches.push(batch);
        }
        self.size *= 2;
    }

    /// The batches without an incomplete last one, unless there are few.
    pub fn into_batches(mut self) -> Vec<RunBatch> {
        if self.in_last < self.size && self.batches.len() > MAX_BATCHES / 4 {
            self.batches.pop();
        }
        self.batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::encoded_histogram::{decode, encode};
    use crate::load::measure::Recorder;
    use std::time::Duration;

    #[test]
    fn a_long_run_has_a_bounded_number_of_equal_batches() {
        for (rows, batches, rows_of_each) in [(7, 7, 1), (40, 40, 1), (81, 20, 4), (1000, 31, 32)] {
            let mut all = RunBatches::default();
            for nth in 0..rows {
                let mut recorder = Recorder::default();
                recorder.record_time(TimeMetric::Relay, Duration::from_millis(nth + 1));
                let text = encode(recorder.histogram(TimeMetric::Relay));
                let histograms = [("relay".to_owned(), text)].into();
                let counts = [("received".to_owned(), 10)].into();
                let row =
                    IntervalRow { length_s: 2.0, measured: true, counts, ..IntervalRow::default() };
                all.push(&IntervalRow { histograms, ..row });
            }
            let all = all.into_batches();
            assert_eq!(all.len(), batches, "{rows} rows");
            for batch in all {
                assert_eq!(
                    (batch.seconds, batch.received),
                    (2.0 * rows_of_each as f64, 10 * rows_of_each)
                );
                assert_eq!(decode(&batch.histograms["relay"]).unwrap().len(), rows_of_each);
            }
        }
    }
}
