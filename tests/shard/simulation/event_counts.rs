//! What has happened: counted, to show that the simulation is not blind, and told, to read a
//! failure.

use std::collections::{BTreeMap, VecDeque};
use switchboard::timestamp::Timestamp;

/// How often each thing happened.
#[derive(Debug, Default)]
pub(crate) struct EventCounts(BTreeMap<&'static str, u64>);

impl EventCounts {
    /// It happened once more.
    pub(crate) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    /// It happened so often.
    pub(crate) fn add(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    /// How often it has happened.
    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// Adds another's.
    pub(crate) fn merge(&mut self, other: &EventCounts) {
        for (what, times) in &other.0 {
            self.add(what, *times);
        }
    }

    /// All of it, in the order of names.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(what, times)| (*what, *times))
    }
}

/// The events_of of a run, if somebody wants to read it. It is printed when the run fails.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// How many of the last lines are kept.
    keep: usize,
    lines: VecDeque<String>,
    step: u64,
    now: Timestamp,
}

impl Trace {
    /// A events_of of which the last `keep` lines are of interest.
    pub(crate) fn new(keep: usize) -> Self {
        Trace { keep, lines: VecDeque::new(), step: 0, now: Timestamp::ZERO }
    }

    /// The next step begins, at this moment.
    pub(crate) fn next_step(&mut self, now: Timestamp) {
        self.step += 1;
        self.now = now;
    }

    /// Tells one thing.
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
