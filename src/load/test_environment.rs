//! The test stand: carries out one run after the other, and keeps what they have in common.
//!
//! Owned by the main thread. It merges what the engine's threads hand over, puts the server's
//! figures beside it, writes the interval log, shows progress, and notices a crash of the
//! server or a Ctrl-C.

mod growth;
mod tally;

pub use tally::{RunSpec, Tally};

use super::engine::{Engine, Gauges, Slice, Sources, Target, Workload};
use super::interval_log::{GeneratorSample, IntervalLog, IntervalRow, ServerSample};
use super::measure::{Count, Fault, Recorder};
use super::probe::{
    Probe, Room, accept_queue_drops, descriptor_limit, find_process, is_alive, room,
};
use super::progress::ProgressDisplay;
use super::report::model::{RunReport, TestOutcome};
use super::target::Target as Goal;
use super::target_address::{Place, reach};
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
    pub place: Place,
    /// Where its figures are, if anywhere.
    pub stats: Option<Place>,
    /// From where connections come.
    pub sources: Sources,
    /// The interval log.
    pub journal: IntervalLog,
    /// What people see.
    pub progress: ProgressDisplay,
    /// Set by Ctrl-C.
    pub interrupted: Arc<AtomicBool>,
    /// Process id of the server; 0: find it.
    pub server_pid: u32,
    /// What every run must reach.
    pub goals: Vec<Goal>,
    /// How many runs there were.
    pub runs: u32,
    /// What of this machine's failed, so that the rest is not carried out.
    pub failure: Option<String>,
}

/// What is being measured of one run.
struct Watch {
    probe: Probe,
    own: ProcessProbe,
    own_cpu: Duration,
    last_at: Instant,
    drops_before: Option<u64>,
    /// Many sessions were lost a short while ago.
    doubt: Option<Doubt>,
}

/// What is remembered of a moment at which the server may have gone.
struct Doubt {
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

    /// Carries out one run. `tally` holds what is known of it already: nothing, or what an
    /// interrupted run had recorded.
    ///
    /// # Errors
    /// When the generator cannot start. If the log cannot be written, the run ends early.
    pub fn carry_out(
        &mut self,
        spec: &RunSpec,
        mut workload: Workload,
        mut tally: Tally,
    ) -> io::Result<RunReport> {
        let measured = workload.ends.since(workload.rules.measure_from);
        workload.interval = workload.interval.min(measured / LEAST_ROWS).max(SHORTEST_INTERVAL);
        let target = Target {
            address: self.place.address,
            host: self.place.host.clone(),
            path: self.place.path.clone(),
            sources: self.sources,
        };
        let probe = Probe::start(self.stats.clone(), self.find_server(), workload.interval);
        let own = ProcessProbe::open();
        let figures = own.read();
        let mut watch = Watch {
            own_cpu: figures.cpu_user + figures.cpu_system,
            own,
            probe,
            last_at: Instant::now(),
            drops_before: accept_queue_drops(),
            doubt: None,
        };
        tally.begin(&watch.probe.latest());
        if workload.rules.talk() {
            tally.plan_messages();
        }
        let length = workload.ends.since(crate::timestamp::Timestamp::ZERO);
        self.progress.begin(&spec.name, length);
        let threads = usize::from(workload.threads.max(1));
        let engine = Engine::start(workload.clone(), target)?;
        self.collect(&engine, threads, &workload, spec, &mut watch, &mut tally);
        engine.join();
        if let (Some(before), Some(after)) = (watch.drops_before, accept_queue_drops()) {
            tally.accept_queue_drops = after.saturating_sub(before);
        }
        let told = self.stats.as_ref().map(room).unwrap_or_default();
        let descriptors = told.descriptors.or_else(|| watch.probe.pid.and_then(descriptor_limit));
        tally.server_room = Room { descriptors, ..told };
        self.runs += 1;
        let goals = [&self.goals[..], &spec.goals[..]].concat();
        let mut report = tally.report(spec, &goals);
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
        engine: &Engine,
        threads: usize,
        workload: &Workload,
        spec: &RunSpec,
        watch: &mut Watch,
        tally: &mut Tally,
    ) {
        let mut merged = Recorder::default();
        let (mut gauges, mut longest_turn) = (Gauges::default(), Duration::ZERO);
        let (mut working, mut here) = (threads, 0);
        while working > 0 {
            if self.is_interrupted() && !tally.stopped {
                tally.stopped = true;
                self.progress.note("stopping early; what was measured is reported");
                engine.stop();
            }
            let Ok(slice) = engine.slices().recv_timeout(LOOK_AROUND) else {
                if engine.slices().is_empty() && engine.all_ended() {
                    // A thread died without a last slice, and has printed why.
                    tally.maimed = true;
                    break;
                }
                continue;
            };
            let Slice { thread, recorder, gauges: theirs, longest_turn: turn, last, .. } = slice;
            merged.merge(&recorder);
            engine.give_back(thread, recorder);
            gauges.add(&theirs);
            longest_turn = longest_turn.max(turn);
            here += 1;
            working -= usize::from(last);
            if here < working.max(1) && working > 0 {
                continue;
            }
            here = 0;
            let at = engine.now();
            merged.delay_faults((tally.offset_s * 1e9) as u64);
            let mut row = self.row(&merged, &gauges, longest_turn, watch, spec);
            row.at_s = tally.offset_s + at.as_nanos() as f64 / 1e9;
            // Rows that lie in it, but for a turn of the loop at either end.
            let begins = workload.rules.measure_from + workload.interval.mul_f64(0.9);
            row.measured = begins <= at && at <= workload.ends + workload.interval / 2;
            let before = tally.last_sample();
            if !tally.crashed
                && self.looks_crashed(&merged, &row, (tally.last_users, before), watch)
            {
                tally.crashed = true;
                // It was when many were lost, and not when that was understood.
                let now = Timestamp::from_nanos((row.at_s * 1e9) as u64);
                let when = watch.doubt.as_ref().map_or(now, |doubt| doubt.since);
                merged.fault(Fault::Crashed, when);
                row.record(&merged, &gauges, spec.resumable);
                let when = merged.seen(Fault::Crashed).first_ns as f64 / 1e9;
                self.progress.note(&format!("the server is gone, {when:.1} s into the run"));
                engine.stop();
            }
            self.log(&row, engine, tally);
            self.progress.update(&row);
            tally.take(&row, &merged);
            let vain = tally.total.get(Count::ConnectFailed) >= VAIN_CONNECTS;
            if vain && tally.nobody_comes_in() && !tally.in_vain {
                tally.in_vain = true;
                self.progress.note("not one session can be opened; stopping");
                engine.stop();
            }
            merged.clear();
            (gauges, longest_turn) = (Gauges::default(), Duration::ZERO);
        }
    }

    /// Writes a row to the log. Without a log a run cannot go on for long and be resumed; what it
    /// has measured is worth a report all the same.
    fn log(&mut self, row: &IntervalRow, engine: &Engine, tally: &mut Tally) {
        if self.failure.is_some() {
            return;
        }
        if let Err(error) = self.journal.write(row) {
            let path = self.journal.path().display();
            self.failure = Some(format!("{path} cannot be written: {error}"));
            self.progress.note("stopping early: the interval log cannot be written");
            tally.stopped = true;
            engine.stop();
        }
    }

    fn row(
        &self,
        merged: &Recorder,
        gauges: &Gauges,
        longest_turn: Duration,
        watch: &mut Watch,
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
                longest_turn_ms: longest_turn.as_secs_f64() * 1000.0,
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
    fn looks_crashed(
        &self,
        merged: &Recorder,
        row: &IntervalRow,
        (users_before, before): (u64, ServerSample),
        watch: &mut Watch,
    ) -> bool {
        let lost = merged.seen(Fault::ConnectionLost).count;
        let turned_away =
            merged.seen(Fault::ConnectRefused).count + merged.seen(Fault::ConnectReset).count;
        let many = lost as f64 > (users_before as f64 * CRASH_SHARE).max(1.0);
        let none_connect = turned_away > 0 && merged.get(Count::Connected) == 0;
        if many {
            let since = Timestamp::from_nanos(merged.seen(Fault::ConnectionLost).first_ns);
            let doubt = watch.doubt.get_or_insert(Doubt { before, since, rows: 0 });
            doubt.rows = ROWS_OF_DOUBT;
        }
        watch.doubt.take_if(|doubt| doubt.rows == 0);
        if let Some(Doubt { before, rows, .. }) = &mut watch.doubt {
            *rows -= 1;
            if watch.probe.pid.is_some_and(|pid| !is_alive(pid)) || row.server.is_younger(before) {
                return true;
            }
        }
        if !many && !none_connect {
            return false;
        }
        match reach(&self.place) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => self.find_server().is_none(),
            Err(_) => true,
            Ok(()) => false,
        }
    }
}
