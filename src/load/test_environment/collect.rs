//! Collects the windows of the engine's threads during a run, and ends the run early when it
//! cannot go on.

use super::crash_detector::{BeforeInterval, ServerUnderTest};
use super::run_monitor::RunMonitor;
use super::{RunTotals, TestEnvironment};
use crate::load::engine::{LoadEngine, LoadGauges, SampleWindow, Workload};
use crate::load::interval_log::IntervalRow;
use crate::load::measure::{CountMetric, LoadFault, Recorder};
use crate::timestamp::Timestamp;
use std::time::Duration;

/// Longest wait for a window before the next check for an interrupt.
const INTERRUPT_CHECK: Duration = Duration::from_millis(100);
/// After this many failed connects and no session, the run ends.
const HOPELESS_CONNECTS: u64 = 16;

/// The windows of one interval, merged.
#[derive(Default)]
struct MergedInterval {
    recorder: Recorder,
    gauges: LoadGauges,
    longest_iteration: Duration,
    windows: usize,
}

impl MergedInterval {
    /// Adds a thread's window, except for its recorder.
    fn add(&mut self, window: &SampleWindow) {
        self.recorder.merge(&window.recorder);
        self.gauges.add(&window.gauges);
        self.longest_iteration = self.longest_iteration.max(window.longest_iteration);
        self.windows += 1;
    }

    fn clear(&mut self) {
        self.recorder.clear();
        (self.gauges, self.longest_iteration) = (LoadGauges::default(), Duration::ZERO);
        self.windows = 0;
    }
}

impl TestEnvironment {
    /// Merges the threads' windows into rows until every thread has sent its last window.
    pub(super) fn collect(
        &mut self,
        engine: &LoadEngine,
        workload: &Workload,
        monitor: &mut RunMonitor,
        totals: &mut RunTotals,
    ) {
        let mut interval = MergedInterval::default();
        let mut running = usize::from(workload.threads.max(1));
        while running > 0 {
            if self.is_interrupted() && !totals.stopped {
                totals.stopped = true;
                self.progress.note("stopping early; the report covers what was measured so far");
                engine.stop();
            }
            let Ok(window) = engine.windows().recv_timeout(INTERRUPT_CHECK) else {
                if engine.windows().is_empty() && engine.all_threads_ended() {
                    // A thread ended without a last window: it panicked and printed the reason.
                    totals.worker_died = true;
                    break;
                }
                continue;
            };
            interval.add(&window);
            engine.return_recorder(window.thread, window.recorder);
            running -= usize::from(window.last);
            if interval.windows < running.max(1) && running > 0 {
                continue;
            }
            self.end_interval(&mut interval, engine, workload, monitor, totals);
            interval.clear();
        }
    }

    /// Turns a merged interval into a row: logs it, shows it and adds it to the totals.
    fn end_interval(
        &mut self,
        interval: &mut MergedInterval,
        engine: &LoadEngine,
        workload: &Workload,
        monitor: &mut RunMonitor,
        totals: &mut RunTotals,
    ) {
        let at = engine.now();
        let MergedInterval { recorder, gauges, longest_iteration, .. } = interval;
        recorder.shift_faults((totals.offset_s * 1e9) as u64);
        let mut row = monitor.next_row(self.runs, recorder, gauges, *longest_iteration);
        row.at_s = totals.offset_s + at.as_nanos() as f64 / 1e9;
        // Intervals within the measured time, with a tolerance for the length of an iteration.
        let begins = workload.rules.measure_from + workload.interval.mul_f64(0.9);
        row.measured = begins <= at && at <= workload.ends + workload.interval / 2;
        if !totals.crashed && self.detect_crash(recorder, &row, totals, monitor) {
            totals.crashed = true;
            // The time of the crash is that of the loss, not that of its detection.
            let now = Timestamp::from_nanos((row.at_s * 1e9) as u64);
            let when = monitor.crash_detector.suspected_since().unwrap_or(now);
            recorder.record_fault(LoadFault::Crashed, when);
            row.record(recorder, gauges);
            let when_s = recorder.fault_stats(LoadFault::Crashed).first_ns as f64 / 1e9;
            self.progress.note(&format!("the server crashed {when_s:.1} s into the run; stopping"));
            engine.stop();
        }
        self.write_log(&row, engine, totals);
        self.progress.update(&row);
        if let Some(live) = &mut self.live {
            live.publish(&row, recorder);
        }
        totals.add_interval(&row, recorder);
        let failed = totals.recorder.get(CountMetric::ConnectFailed);
        if failed >= HOPELESS_CONNECTS && totals.no_session_opened() && !totals.gave_up {
            totals.gave_up = true;
            self.progress.note("no session can be opened; stopping");
            engine.stop();
        }
    }

    fn detect_crash(
        &self,
        recorder: &Recorder,
        row: &IntervalRow,
        totals: &RunTotals,
        monitor: &mut RunMonitor,
    ) -> bool {
        let before = BeforeInterval { users: totals.last_users, server: totals.last_sample() };
        let find_process = || self.find_server();
        let server = ServerUnderTest {
            address: &self.server,
            pid: monitor.server.pid,
            find_process: &find_process,
        };
        monitor.crash_detector.check(recorder, row, &before, &server)
    }

    /// Writes a row to the interval log. If that fails, the run ends, because it could not be
    /// resumed; what it has measured is still reported.
    fn write_log(&mut self, row: &IntervalRow, engine: &LoadEngine, totals: &mut RunTotals) {
        if let (None, Err(error)) = (&self.failure, self.log.write(row)) {
            let path = self.log.path().display();
            self.failure = Some(format!("{path} cannot be written: {error}"));
        }
        // It may have failed before the run, when a note was written.
        if self.failure.is_some() && !totals.stopped {
            self.progress.note("stopping early: the interval log cannot be written");
            totals.stopped = true;
            engine.stop();
        }
    }
}
