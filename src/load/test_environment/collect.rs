//! Collects the windows of the engine's threads during a run, and ends the run early when it
//! cannot go on.

use super::crash_detector::{BeforeInterval, ServerEnd, ServerUnderTest, shutdown_seen};
use super::run_monitor::RunMonitor;
use super::{RunTotals, TestEnvironment};
use crate::load::engine::Workload;
use crate::load::generators::{GeneratorEvent, Generators, MergedInterval};
use crate::load::interval_log::IntervalRow;
use crate::load::measure::{CountMetric, LoadFault, Recorder};
use crate::timestamp::Timestamp;
use std::time::Duration;

/// Longest wait for a window before the next check for an interrupt.
const INTERRUPT_CHECK: Duration = Duration::from_millis(100);
/// After this many failed connects and no session, the run ends.
const HOPELESS_CONNECTS: u64 = 16;

impl TestEnvironment {
    /// Turns the intervals of the generators into rows until the last one.
    pub(super) fn collect(
        &mut self,
        engine: &mut Generators,
        workload: &Workload,
        monitor: &mut RunMonitor,
        totals: &mut RunTotals,
    ) {
        let mut interval = MergedInterval::default();
        loop {
            if self.is_interrupted() && !totals.stopped {
                totals.stopped = true;
                self.progress.note("stopping early; the report covers what was measured so far");
                engine.stop();
            }
            match engine.next_event(&mut interval, INTERRUPT_CHECK) {
                GeneratorEvent::Waiting => {}
                GeneratorEvent::Interval => {
                    self.end_interval(&mut interval, engine, workload, monitor, totals);
                    interval.clear();
                }
                GeneratorEvent::AgentLost(line) => {
                    self.progress.note(&format!("{line}; stopping"));
                    totals.lost_agent.get_or_insert(line);
                    engine.stop();
                }
                GeneratorEvent::ThreadDied => {
                    totals.worker_died = true;
                    return;
                }
                GeneratorEvent::Ended => return,
            }
        }
    }

    /// Turns a merged interval into a row: logs it, shows it and adds it to the totals.
    fn end_interval(
        &mut self,
        interval: &mut MergedInterval,
        engine: &Generators,
        workload: &Workload,
        monitor: &mut RunMonitor,
        totals: &mut RunTotals,
    ) {
        let at = engine.now();
        let of_agents = interval.generator;
        let MergedInterval { recorder, gauges, longest_iteration, .. } = interval;
        recorder.shift_faults((totals.offset_s * 1e9) as u64);
        let mut row = monitor.next_row(self.runs, recorder, gauges, *longest_iteration);
        if let Some(sample) = of_agents {
            row.generator = sample;
        }
        row.at_s = totals.offset_s + at.as_nanos() as f64 / 1e9;
        // Intervals within the measured time, with a tolerance for the length of an iteration.
        let begins = workload.rules.measure_from + workload.interval.mul_f64(0.9);
        row.measured = begins <= at && at <= workload.ends + workload.interval / 2;
        if totals.server_end.is_none() {
            self.detect_end(recorder, &row, engine, monitor, totals);
            row.record(recorder, gauges);
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

    /// Ends the run if the server has crashed or is shutting down, and records that.
    fn detect_end(
        &mut self,
        recorder: &mut Recorder,
        row: &IntervalRow,
        engine: &Generators,
        monitor: &mut RunMonitor,
        totals: &mut RunTotals,
    ) {
        self.server_was_there |= row.server.draining.is_some()
            || recorder.get(CountMetric::Connected) > 0
            || recorder.get(CountMetric::HttpOk) > 0
            || recorder.fault_stats(LoadFault::HttpStatus).count > 0;
        self.note_draining(Some(&row.server));
        let now = Timestamp::from_nanos((row.at_s * 1e9) as u64);
        let (fault, when) = match shutdown_seen(recorder, row, now) {
            Some(since) => (LoadFault::ShutDown, since),
            None => {
                let Some(end) = self.detect_crash(recorder, row, totals, monitor) else { return };
                // The time of the end is that of the loss, not that of its detection.
                let when = monitor.crash_detector.suspected_since().unwrap_or(now);
                match end {
                    ServerEnd::Crashed => (LoadFault::Crashed, when),
                    ServerEnd::WentAway => (LoadFault::ShutDown, when),
                    ServerEnd::NeverAnswered => (self.end_between_runs(), when),
                }
            }
        };
        totals.server_end = Some(fault);
        recorder.record_fault(fault, when);
        let when_s = when.as_nanos() as f64 / 1e9;
        let what = fault.meaning();
        self.progress.note(&format!("{what}, {when_s:.1} s after its start; stopping"));
        engine.stop();
    }

    fn detect_crash(
        &self,
        recorder: &Recorder,
        row: &IntervalRow,
        totals: &RunTotals,
        monitor: &mut RunMonitor,
    ) -> Option<ServerEnd> {
        let before = BeforeInterval {
            users: totals.last_users,
            server: totals.last_sample(),
            totals: &totals.recorder,
        };
        let find_process = || self.find_server();
        let server = ServerUnderTest {
            address: &self.server,
            was_there: self.server_was_there,
            pid: monitor.server.pid,
            find_process: &find_process,
        };
        monitor.crash_detector.check(recorder, row, &before, &server)
    }

    /// Writes a row to the interval log. If that fails, the run ends, because it could not be
    /// resumed; what it has measured is still reported.
    fn write_log(&mut self, row: &IntervalRow, engine: &Generators, totals: &mut RunTotals) {
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
