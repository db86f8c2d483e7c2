//! The test stand: carries out one run after the other, and keeps what they have in common.
//!
//! Owned by the main thread. It merges what the engine's threads hand over, puts the server's
//! figures beside it, writes the interval log, shows progress, and notices a crash of the
//! server or a Ctrl-C.

mod resource_growth;
mod totals;

pub use totals::{RunSpec, RunTotals};

use super::engine::{Destination, LoadEngine, LoadGauges, SampleWindow, SourceAddresses, Workload};
use super::interval_log::{GeneratorSample, IntervalLog, IntervalRow, ServerSample};
use super::measure::{CountMetric, LoadFault, Recorder};
use super::progress::ProgressDisplay;
use super::report::model::{RunReport, TestOutcome};
use super::server_monitor::{
    ServerCapacity, ServerMonitor, accept_queue_drops, descriptor_limit, find_process,
    process_is_alive, server_capacity,
};
use super::target::PerformanceTarget;
use super::target_address::{TargetAddress, check_reachable};
use crate::sys::process::ProcessProbe;
use crate::timestamp::Timestamp;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for a slice before the stand looks whether it was interrupted.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// A run is measured in so many rows at least, if need be by shorter intervals.
const LEAST_ROWS: u32 = 4;
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);
/// The server has crashed if this share of the sessions is lost in one interval, and it
/// cannot be reached, or is another process afterwards.
const CRASH_SHARE: f64 = 0.3;
/// So many rows after such a loss a server that was started anew has shown itself.
const ROWS_OF_DOUBT: u32 = 5;
/// After so many vain attempts, and no other, there is no use in going on.
const VAIN_CONNECTS: u64 = 16;

/// What all runs of one invocation share.
pub struct TestEnvironment {
    /// Where the server is.
    pub place: TargetAddress,
    /// Where its figures are, if anywhere.
    pub stats: Option<TargetAddress>,
    /// From where connections come.
    pub sources: SourceAddresses,
    /// The interval log.
    pub journal: IntervalLog,
    /// What people see.
    pub progress: ProgressDisplay,
    /// Set by Ctrl-C.
    pub interrupted: Arc<AtomicBool>,
    /// Process id of the server; 0: find it.
    pub server_pid: u32,
    /// What every run must reach.
    pub goals: Vec<PerformanceTarget>,
    /// How many runs there were.
    pub runs: u32,
    /// What of this machine's failed, so that the rest is not carried out.
    pub failure: Option<String>,
}

/// What is being measured of one run.
struct RunMonitor {
    probe: ServerMonitor,
    own: ProcessProbe,
    own_cpu: Duration,
    last_at: Instant,
    drops_before: Option<u64>,
    /// Many sessions were lost a short while ago.
    doubt: Option<SuspectedCrash>,
}

/// What is remembered of a moment at which the server may have gone.
struct SuspectedCrash {
    /// The server before it.
    before: ServerSample,
    since: Timestamp,
    /// For how many rows more.
    rows: u32,
}

impl TestEnvironment {
    /// Whether people have asked to stop.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Whether nothing more is to be begun.
    pub fn ends_early(&self) -> bool {
        self.is_interrupted() || self.failure.is_some()
    }

    /// Carries out one run. `totals` holds what is known of it already: nothing, or what an
    /// interrupted run had recorded.
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
        workload.interval = workload.interval.min(measured / LEAST_ROWS).max(SHORTEST_INTERVAL);
        let target = Destination {
            address: self.place.address,
            host: self.place.host.clone(),
            path: self.place.path.clone(),
            sources: self.sources,
        };
        let probe = ServerMonitor::start(self.stats.clone(), self.find_server(), workload.interval);
        let own = ProcessProbe::open();
        let figures = own.read();
        let mut watch = RunMonitor {
            own_cpu: figures.cpu_user + figures.cpu_system,
            own,
            probe,
            last_at: Instant::now(),
            drops_before: accept_queue_drops(),
            doubt: None,
        };
        totals.begin(&watch.probe.latest());
        if workload.rules.sends_messages() {
            totals.plan_messages();
        }
        let length = workload.ends.since(crate::timestamp::Timestamp::ZERO);
        self.progress.start(&spec.name, length);
        let threads = usize::from(workload.threads.max(1));
        let engine = LoadEngine::start(workload.clone(), target)?;
        self.collect(&engine, threads, &workload, spec, &mut watch, &mut totals);
        engine.join();
        if let (Some(before), Some(after)) = (watch.drops_before, accept_queue_drops()) {
            totals.accept_queue_drops = after.saturating_sub(before);
        }
        let told = self.stats.as_ref().map(server_capacity).unwrap_or_default();
        let descriptors = told.descriptors.or_else(|| watch.probe.pid.and_then(descriptor_limit));
        totals.server_room = ServerCapacity { descriptors, ..told };
        self.runs += 1;
        let goals = [&self.goals[..], &spec.goals[..]].concat();
        let mut report = totals.report(spec, &goals);
        if let (TestOutcome::Stopped, Some(why)) = (report.outcome, &self.failure) {
            report.reason = format!("{}: {why}", report.reason);
        }
        Ok(report)
    }

    /// The server's process, if it runs here. Its figures come from the process that serves
    /// them: what listens on the public port may be a proxy.
    pub fn find_server(&self) -> Option<u32> {
        if self.server_pid != 0 {
            return Some(self.server_pid);
        }
        let told = self.stats.as_ref().and_then(|stats| find_process(stats.address));
        told.or_else(|| find_process(self.place.address))
    }

    /// Merges slices into rows until every thread has handed in its last.
    fn collect(
        &mut self,
        engine: &LoadEngine,
        threads: usize,
        workload: &Workload,
        spec: &RunSpec,
        watch: &mut RunMonitor,
        totals: &mut RunTotals,
    ) {
        let mut merged = Recorder::default();
        let (mut gauges, mut longest_iteration) = (LoadGauges::default(), Duration::ZERO);
        let (mut working, mut here) = (threads, 0);
        while working > 0 {
            if self.is_interrupted() && !totals.stopped {
                totals.stopped = true;
                self.progress.note("stopping early; what was measured is reported");
                engine.stop();
            }
            let Ok(window) = engine.windows().recv_timeout(LOOK_AROUND) else {
                if engine.windows().is_empty() && engine.all_threads_ended() {
                    // A thread died without a last slice, and has printed why.
                    totals.worker_died = true;
                    break;
                }
                continue;
            };
            let SampleWindow {
                thread,
                recorder,
                gauges: theirs,
                longest_iteration: iteration,
                last,
                ..
            } = window;
            merged.merge(&recorder);
            engine.return_recorder(thread, recorder);
            gauges.add(&theirs);
            longest_iteration = longest_iteration.max(iteration);
            here += 1;
            working -= usize::from(last);
            if here < working.max(1) && working > 0 {
                continue;
            }
            here = 0;
            let at = engine.now();
            merged.shift_faults((totals.offset_s * 1e9) as u64);
            let mut row = self.row(&merged, &gauges, longest_iteration, watch, spec);
            row.at_s = totals.offset_s + at.as_nanos() as f64 / 1e9;
            // Rows that lie in it, but for a turn of the loop at either end.
            let begins = workload.rules.measure_from + workload.interval.mul_f64(0.9);
            row.measured = begins <= at && at <= workload.ends + workload.interval / 2;
            let before = totals.last_sample();
            if !totals.crashed
                && self.detect_crash(&merged, &row, (totals.last_users, before), watch)
            {
                totals.crashed = true;
                // It was when many were lost, and not when that was understood.
                let now = Timestamp::from_nanos((row.at_s * 1e9) as u64);
                let when = watch.doubt.as_ref().map_or(now, |doubt| doubt.since);
                merged.record_fault(LoadFault::Crashed, when);
                row.record(&merged, &gauges, spec.resumable);
                let when = merged.fault_stats(LoadFault::Crashed).first_ns as f64 / 1e9;
                self.progress.note(&format!("the server is gone, {when:.1} s into the run"));
                engine.stop();
            }
            self.log(&row, engine, totals);
            self.progress.update(&row);
            totals.take(&row, &merged);
            let vain = totals.total.get(CountMetric::ConnectFailed) >= VAIN_CONNECTS;
            if vain && totals.no_session_opened() && !totals.no_session_opened_abort {
                totals.no_session_opened_abort = true;
                self.progress.note("not one session can be opened; stopping");
                engine.stop();
            }
            merged.clear();
            (gauges, longest_iteration) = (LoadGauges::default(), Duration::ZERO);
        }
    }

    /// Writes a row to the log. Without a log a run cannot go on for long and be resumed; what it
    /// has measured is worth a report all the same.
    fn log(&mut self, row: &IntervalRow, engine: &LoadEngine, totals: &mut RunTotals) {
        if self.failure.is_some() {
            return;
        }
        if let Err(error) = self.journal.write(row) {
            let path = self.journal.path().display();
            self.failure = Some(format!("{path} cannot be written: {error}"));
            self.progress.note("stopping early: the interval log cannot be written");
            totals.stopped = true;
            engine.stop();
        }
    }

    fn row(
        &self,
        merged: &Recorder,
        gauges: &LoadGauges,
        longest_iteration: Duration,
        watch: &mut RunMonitor,
        spec: &RunSpec,
    ) -> IntervalRow {
        let figures = watch.own.read();
        let cpu = figures.cpu_user + figures.cpu_system;
        let length = watch.last_at.elapsed();
        watch.last_at = Instant::now();
        let used = cpu.saturating_sub(std::mem::replace(&mut watch.own_cpu, cpu));
        let mut row = IntervalRow {
            run: self.runs,
            length_s: length.as_secs_f64(),
            server: watch.probe.latest(),
            generator: GeneratorSample {
                cpu_percent: 100.0 * used.as_secs_f64() / length.as_secs_f64().max(1e-3),
                longest_iteration_ms: longest_iteration.as_secs_f64() * 1000.0,
                memory_bytes: figures.resident_bytes,
            },
            ..IntervalRow::default()
        };
        row.record(merged, gauges, spec.resumable);
        row
    }

    /// Many sessions lost at once, or all connects refused, and nobody answers the door: on this
    /// machine that is a refusal at once; who only lets wait is slow, and so may we be. Or
    /// somebody does, who is not the one who was there before.
    fn detect_crash(
        &self,
        merged: &Recorder,
        row: &IntervalRow,
        (users_before, before): (u64, ServerSample),
        watch: &mut RunMonitor,
    ) -> bool {
        let lost = merged.fault_stats(LoadFault::ConnectionLost).count;
        let turned_away = merged.fault_stats(LoadFault::ConnectRefused).count
            + merged.fault_stats(LoadFault::ConnectReset).count;
        let many = lost as f64 > (users_before as f64 * CRASH_SHARE).max(1.0);
        let none_connect = turned_away > 0 && merged.get(CountMetric::Connected) == 0;
        if many {
            let since =
                Timestamp::from_nanos(merged.fault_stats(LoadFault::ConnectionLost).first_ns);
            let doubt = watch.doubt.get_or_insert(SuspectedCrash { before, since, rows: 0 });
            doubt.rows = ROWS_OF_DOUBT;
        }
        watch.doubt.take_if(|doubt| doubt.rows == 0);
        if let Some(SuspectedCrash { before, rows, .. }) = &mut watch.doubt {
            *rows -= 1;
            if watch.probe.pid.is_some_and(|pid| !process_is_alive(pid))
                || row.server.is_younger(before)
            {
                return true;
            }
        }
        if !many && !none_connect {
            return false;
        }
        match check_reachable(&self.place) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => self.find_server().is_none(),
            Err(_) => true,
            Ok(()) => false,
        }
    }
}
