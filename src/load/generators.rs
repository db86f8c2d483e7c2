//! What drives the users of a run: the threads of this process, or agents on other machines. Both give
//! one merged interval after the other.

use super::agents::coordinator::{AgentFleet, AgentRun};
use super::engine::{LoadEngine, LoadGauges, SampleWindow};
use super::interval_log::GeneratorSample;
use super::measure::Recorder;
use super::report::model::GeneratorReport;
use crate::timestamp::Timestamp;
use std::time::Duration;

/// One interval of all generators, merged.
#[derive(Debug, Default)]
pub struct MergedInterval {
    /// Counts, faults and times.
    pub recorder: Recorder,
    /// Gauges at the end of the interval.
    pub gauges: LoadGauges,
    /// Longest iteration of an event loop of this process.
    pub longest_iteration: Duration,
    /// CPU and memory of the agents; `None` if this process drives the users.
    pub generator: Option<GeneratorSample>,
    windows: usize,
}

impl MergedInterval {
    /// Adds a thread's window.
    fn add(&mut self, window: &SampleWindow) {
        self.recorder.merge(&window.recorder);
        self.gauges.add(&window.gauges);
        self.longest_iteration = self.longest_iteration.max(window.longest_iteration);
        self.windows += 1;
    }

    /// Resets the interval and keeps its memory.
    pub fn clear(&mut self) {
        self.recorder.clear();
        (self.gauges, self.longest_iteration) = (LoadGauges::default(), Duration::ZERO);
        (self.generator, self.windows) = (None, 0);
    }
}

/// What happened while an interval was waited for.
#[derive(Debug, PartialEq, Eq)]
pub enum GeneratorEvent {
    /// An interval is complete.
    Interval,
    /// Nothing yet.
    Waiting,
    /// A thread of this process ended early: it panicked and printed the reason. No interval follows.
    ThreadDied,
    /// An agent was lost, for this reason. The intervals of the others follow.
    AgentLost(String),
    /// The last interval was the one before.
    Ended,
}

/// The threads of this process.
pub struct LocalGenerator {
    engine: LoadEngine,
    /// Number of threads that have not sent their last window.
    running: usize,
}

impl LocalGenerator {
    /// The threads of an engine that has just been started with `threads` of them.
    pub fn new(engine: LoadEngine, threads: u16) -> Self {
        LocalGenerator { engine, running: threads.max(1).into() }
    }

    /// Waits for the next window, and adds it to `interval`, which the caller empties after it is
    /// complete.
    pub fn next_event(&mut self, interval: &mut MergedInterval, wait: Duration) -> GeneratorEvent {
        if self.running == 0 {
            return GeneratorEvent::Ended;
        }
        let Ok(window) = self.engine.windows().recv_timeout(wait) else {
            let has_died = self.engine.windows().is_empty() && self.engine.all_threads_ended();
            return if has_died { GeneratorEvent::ThreadDied } else { GeneratorEvent::Waiting };
        };
        interval.add(&window);
        self.engine.return_recorder(window.thread, window.recorder);
        self.running -= usize::from(window.last);
        match interval.windows >= self.running.max(1) || self.running == 0 {
            true => GeneratorEvent::Interval,
            false => GeneratorEvent::Waiting,
        }
    }

    /// The time since the start of the run.
    pub fn now(&self) -> Timestamp {
        self.engine.now()
    }

    /// Whether all threads have sent their last window.
    pub fn has_ended(&self) -> bool {
        self.running == 0
    }

    /// Ends the run now.
    pub fn stop(&self) {
        self.engine.stop();
    }

    /// Waits for the threads.
    pub fn join(self) {
        self.engine.join();
    }
}

/// The generators of one run.
pub enum Generators {
    /// The threads of this process.
    Local(LocalGenerator),
    /// Agents.
    Agents(Box<AgentRun>),
}

impl Generators {
    /// Waits for the next event; an interval is added to `interval`.
    pub fn next_event(&mut self, interval: &mut MergedInterval, wait: Duration) -> GeneratorEvent {
        match self {
            Generators::Local(threads) => threads.next_event(interval, wait),
            Generators::Agents(agents) => agents.next_event(interval, wait),
        }
    }

    /// The time since the start of the run.
    pub fn now(&self) -> Timestamp {
        match self {
            Generators::Local(threads) => threads.now(),
            Generators::Agents(agents) => agents.now(),
        }
    }

    /// Ends the run now.
    pub fn stop(&self) {
        match self {
            Generators::Local(threads) => threads.stop(),
            Generators::Agents(agents) => agents.stop(),
        }
    }

    /// Ends the run after its last interval. Returns the agents, for the next run, and their rows of
    /// the report.
    pub fn finish(self) -> (Option<AgentFleet>, Vec<GeneratorReport>) {
        match self {
            Generators::Local(threads) => {
                threads.join();
                (None, Vec::new())
            }
            Generators::Agents(agents) => {
                let (fleet, reports) = agents.finish();
                (Some(fleet), reports)
            }
        }
    }
}
