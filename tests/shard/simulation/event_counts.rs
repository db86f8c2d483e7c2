//! Counts of simulated events, which show that the simulation covers what it should, and a log for
//! the analysis of failures.

use std::collections::{BTreeMap, VecDeque};
use switchboard::timestamp::Timestamp;

/// How often each event occurred.
#[derive(Debug, Default)]
pub(crate) struct EventCounts(BTreeMap<&'static str, u64>);

impl EventCounts {
    /// Adds one.
    pub(crate) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    /// Adds `times`.
    pub(crate) fn add(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    /// How often the event occurred.
    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// Adds the counts of another run.
    pub(crate) fn merge(&mut self, other: &EventCounts) {
        for (what, times) in &other.0 {
            self.add(what, *times);
        }
    }

    /// All counts, ordered by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(what, times)| (*what, *times))
    }
}

/// The log of a run. It is printed when the run fails.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// How many of the last lines are kept.
    keep: usize,
    lines: VecDeque<String>,
    step: u64,
    now: Timestamp,
}

impl Trace {
    /// A log that keeps the last `keep` lines.
    pub(crate) fn new(keep: usize) -> Self {
        Trace { keep, lines: VecDeque::new(), step: 0, now: Timestamp::ZERO }
    }

    /// Begins the next step at the time `now`.
    pub(crate) fn next_step(&mut self, now: Timestamp) {
        self.step += 1;
        self.now = now;
    }

    /// Adds a line, if lines are kept.
    pub(crate) fn log(&mut self, what: impl FnOnce() -> String) {
        if self.keep == 0 {
            return;
        }
        if self.lines.len() == self.keep {
            self.lines.pop_front();
        }
        let ms = self.now.as_nanos() as f64 / 1e6;
        self.lines.push_back(format!("{:>5} {ms:>10.3} ms  {}", self.step, what()));
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in &self.lines {
                eprintln!("{line}");
            }
        }
    }
}
