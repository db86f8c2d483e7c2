//! The test environment: executes one run after the other, with what all runs share.
//!
//! Owned by the main thread. It merges what the engine's threads hand over, combines it with the
//! server's figures, writes the interval log, shows progress, and reacts to a crash of the server
//! and to Ctrl-C.

mod collect;
mod crash_detector;
mod gone_server;
mod outcome;
mod resource_growth;
mod run_monitor;
mod run_spec;
mod totals;

pub use run_spec::RunSpec;
pub use totals::{PartTiming, RunTotals};

use super::agents::coordinator::AgentFleet;
use super::engine::{ClientIdentity, Destination, LoadEngine, SourceAddresses, Workload};
use super::generators::{Generators, LocalGenerator};
use super::interval_log::{IntervalLog, LogNote, RunEnd, RunHead};
use super::live_metrics::LiveMetrics;
use super::message_header::MessageSizes;
use super::progress::ProgressDisplay;
use super::report::model::{RunReport, TestOutcome};
use super::server_process::{accept_queue_drops, descriptor_limit, find_process};
use super::server_stats::{ServerCapacity, fetch_stats, read_stats};
use super::target::PerformanceTarget;
use super::target_address::TargetAddress;
use crate::timestamp::Timestamp;
use run_monitor::RunMonitor;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Minimum number of rows in which a run is measured; a short run gets shorter intervals.
const MIN_ROWS: u32 = 4;
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

/// What all runs of one invocation share.
pub struct TestEnvironment {
    /// Address of the server.
    pub server: TargetAddress,
    /// Address of the server's statistics, if it has any.
    pub stats: Option<TargetAddress>,
    /// Local addresses to connect from.
    pub sources: SourceAddresses,
    /// What the connections tell the server about their clients.
    pub identity: Arc<ClientIdentity>,
    /// The agents that drive the users, if there are any; otherwise this process does.
    pub fleet: Option<AgentFleet>,
    /// The interval log.
    pub log: IntervalLog,
    /// The console.
    pub progress: ProgressDisplay,
    /// The endpoint of `--metrics-listen`.
    pub live: Option<LiveMetrics>,
    /// Set by Ctrl-C.
    pub interrupted: Arc<AtomicBool>,
    /// Process id of the server; 0: unknown.
    pub server_pid: u32,
    /// The targets of every run.
    pub targets: Vec<PerformanceTarget>,
    /// Number of runs so far.
    pub runs: u32,
    /// Whether a server of this kind has answered in any run.
    pub server_was_there: bool,
    /// Whether the server's last figures say that it is shutting down.
    pub server_is_draining: bool,
    /// A failure of this machine, after which no further run is started.
    pub failure: Option<String>,
}

impl TestEnvironment {
    /// Whether the operator has asked to stop.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Writes a note to the interval log. If that fails, no further run is started.
    pub fn note(&mut self, note: &LogNote) {
        if let (None, Err(error)) = (&self.failure, self.log.write_note(note)) {
            let path = self.log.path().display();
            self.failure = Some(format!("{path} cannot be written: {error}"));
        }
    }

    /// Whether no further run is to be started.
    pub fn ends_early(&self) -> bool {
        self.is_interrupted() || self.failure.is_some()
    }

    /// Whether an agent was lost, so that no further run can be started.
    pub fn has_lost_agent(&self) -> bool {
        self.fleet.as_ref().is_some_and(|fleet| fleet.lost().is_some())
    }

    /// Starts the load, here or on the agents.
    fn start_load(&mut self, workload: &Workload) -> io::Result<Generators> {
        if let Some(fleet) = self.fleet.take() {
            return Ok(Generators::Agents(Box::new(fleet.start(self.runs, workload))));
        }
        let destination = Destination {
            addresses: self.server.addresses.clone().into(),
            host: self.server.host.clone(),
            path: self.server.path.clone(),
            sources: self.sources,
            identity: Arc::clone(&self.identity),
            share: workload.share,
        };
        let engine = LoadEngine::start(workload.clone(), destination)?;
        Ok(Generators::Local(LocalGenerator::new(engine, workload.threads)))
    }

    /// Executes one run. `totals` is empty, or contains what an interrupted part of this run has
    /// recorded.
    ///
    /// # Errors
    /// When the generator cannot start. If the log cannot be written, the run ends early.
    pub fn execute_run(
        &mut self,
        spec: &RunSpec,
        mut workload: Workload,
        mut totals: RunTotals,
    ) -> io::Result<RunReport> {
        let measured = workload.ends.since(workload.rules.measure_from);
        workload.interval = workload.interval.min(measured / MIN_ROWS).max(SHORTEST_INTERVAL);
        let (stats, pid) = (self.stats.clone(), self.find_server());
        let mut monitor = RunMonitor::start(stats, pid, workload.interval);
        let before = monitor.server.latest();
        self.note_draining(Some(&before));
        totals.begin(&before);
        if workload.rules.sends_messages() {
            totals.expect_messages(MessageSizes::of(workload.message_bytes));
        }
        let head = RunHead {
            run: self.runs,
            spec: spec.clone(),
            targets: self.targets_of(spec),
            sends_messages: workload.rules.sends_messages(),
            message_sizes: MessageSizes::of(workload.message_bytes),
            server: before,
        };
        self.note(&LogNote::RunBegins(Box::new(head)));
        let length = workload.ends.since(Timestamp::ZERO);
        self.progress.start(&spec.name, length);
        if let Some(live) = &mut self.live {
            live.begin_run(self.runs, &spec.name, length);
        }
        match self.gone_since_last_run() {
            Some(fault) => self.record_gone(fault, &mut totals),
            None => {
                let mut generators = self.start_load(&workload)?;
                self.collect(&mut generators, &workload, &mut monitor, &mut totals);
                (self.fleet, totals.generators) = generators.finish();
            }
        }
        Ok(self.finish_run(spec, &monitor, totals))
    }

    /// Asks the server for its counters, completes the log of a run and judges it.
    fn finish_run(
        &mut self,
        spec: &RunSpec,
        monitor: &RunMonitor,
        mut totals: RunTotals,
    ) -> RunReport {
        if let (Some(before), Some(after)) = (monitor.drops_before, accept_queue_drops()) {
            totals.accept_queue_drops = after.saturating_sub(before);
        }
        let stats = self.stats.as_ref().and_then(fetch_stats);
        let reported = stats.as_deref().map(ServerCapacity::read).unwrap_or_default();
        let sample = stats.as_deref().map(read_stats);
        self.note_draining(sample.as_ref());
        let counters = sample.map(|sample| sample.counters).unwrap_or_default();
        totals.add_counters(&counters);
        let descriptors =
            reported.descriptors.or_else(|| monitor.server.pid.and_then(descriptor_limit));
        totals.server_capacity = ServerCapacity { descriptors, ..reported };
        let end = RunEnd {
            run: self.runs,
            stopped: totals.stopped,
            gave_up: totals.gave_up,
            worker_died: totals.worker_died,
            lost_agent: totals.lost_agent.clone(),
            generators: totals.generators.clone(),
            accept_queue_drops: totals.accept_queue_drops,
            server_capacity: totals.server_capacity,
            counters,
        };
        self.note(&LogNote::RunEnds(end));
        self.runs += 1;
        let mut report = totals.into_report(spec, &self.targets_of(spec));
        if let (TestOutcome::Stopped, Some(why)) = (report.outcome, &self.failure) {
            report.reason = format!("{}: {why}", report.reason);
        }
        report
    }

    /// The targets of a run: those of every run, and those of its own that they do not replace. The
    /// criterion of a trial cannot be replaced.
    fn targets_of(&self, spec: &RunSpec) -> Vec<PerformanceTarget> {
        let is_kept = |own: &&PerformanceTarget| {
            spec.trial || !self.targets.iter().any(|given| given.replaces_default(own))
        };
        let own = spec.targets.iter().filter(is_kept);
        self.targets.iter().chain(own).cloned().collect()
    }

    /// The server's process, if it runs on this machine. The process that serves the statistics is
    /// preferred: a proxy may listen on the public port.
    pub fn find_server(&self) -> Option<u32> {
        if self.server_pid != 0 {
            return Some(self.server_pid);
        }
        let serves_stats = self.stats.as_ref().and_then(|stats| find_process(stats.address));
        serves_stats.or_else(|| find_process(self.server.address))
    }
}
