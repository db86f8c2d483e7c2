//! What the main thread does while the server runs: waits for signals and for threads that end,
//! takes samples, reports to the service manager, and shuts down gracefully.

use super::drain_log::{DrainLog, DrainLogLine};
use super::signals::ShutdownRequest;
use super::supervision::Supervision;
use super::{Server, ServerError};
use crate::commands::{MatcherCommand, ShardCommand};
use crate::limits::{DRAIN_CHECK_PERIOD, IMMEDIATE_CLOSE_TIME, MIN_DRAIN_TIME};
use crate::logging;
use crate::sys;
use crate::telemetry::notices::{Notice, NoticeReporter};
use crate::telemetry::{Sampler, SessionCounts, Telemetry};
use crate::timestamp::Timestamp;
use mio::Events;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Time between two samples of the process (see [`Sampler`]).
const SAMPLE_PERIOD: Duration = Duration::from_secs(1);

/// How a server ended after a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerExit {
    /// Every session had ended, or `--drain-timeout` had passed.
    Graceful,
    /// A second signal ended the drain.
    Immediate,
}

/// What the main thread does once or several times a second.
struct PeriodicTasks {
    sampler: Sampler,
    sampled: Timestamp,
    notices: NoticeReporter,
    supervision: Supervision,
}

impl PeriodicTasks {
    /// Takes the first sample.
    fn new(telemetry: &Telemetry) -> Self {
        let (mut sampler, sampled) = (Sampler::new(), sys::clock::monotonic());
        sampler.take(telemetry, sampled);
        let (notices, supervision) = (NoticeReporter::default(), Supervision::from_environment());
        PeriodicTasks { sampler, sampled, notices, supervision }
    }

    /// Longest time until the tasks are due again.
    fn period(&self) -> Duration {
        self.supervision.update_period().min(SAMPLE_PERIOD)
    }
}

impl Server {
    /// Serves until a signal arrives, then shuts down gracefully.
    ///
    /// # Errors
    /// When a thread ends that must run until shutdown.
    pub fn run(mut self) -> Result<ServerExit, ServerError> {
        let mut events = Events::with_capacity(8);
        let mut tasks = PeriodicTasks::new(&self.telemetry);
        tasks.supervision.ready(&self.telemetry);
        let exit = self.serve(&mut events, &mut tasks);
        // However it ends, what was counted and not logged yet would be lost with the process.
        self.telemetry.log_lines_dropped.raise_to(logging::lines_dropped());
        tasks.notices.remaining(&self.telemetry).into_iter().for_each(Notice::log);
        logging::throttled_lines::log_suppressed();
        exit
    }

    fn serve(
        &mut self,
        events: &mut Events,
        tasks: &mut PeriodicTasks,
    ) -> Result<ServerExit, ServerError> {
        while self.wait_for_signal(events, tasks.period())?.is_none() {
            self.run_tasks(tasks);
        }
        let exit = self.drain(events, tasks)?;
        match exit {
            ServerExit::Graceful => self.join_threads(),
            ServerExit::Immediate => self.close_connections(events),
        }
        Ok(exit)
    }

    /// Lets the sessions end, for at most `--drain-timeout` and then `--close-timeout`.
    fn drain(
        &mut self,
        events: &mut Events,
        tasks: &mut PeriodicTasks,
    ) -> Result<ServerExit, ServerError> {
        let counts @ SessionCounts { sessions, waiting, rooms } = self.telemetry.session_counts();
        tracing::info!(
            timeout = ?self.drain_timeout,
            sessions,
            waiting,
            rooms,
            "shutting down; another SIGINT or SIGTERM after a second ends the process at once"
        );
        self.telemetry.draining.set(1);
        tasks.supervision.stopping(&self.telemetry);
        let began = sys::clock::monotonic();
        for shard in &self.shards {
            let _sent = shard.send(ShardCommand::StartDrain);
        }
        let mut log = DrainLog::new(self.drain_timeout, counts);
        loop {
            match self.wait_for_signal(events, DRAIN_CHECK_PERIOD.min(tasks.period()))? {
                Some(ShutdownRequest::EndAtOnce) => return Ok(ServerExit::Immediate),
                Some(ShutdownRequest::Drain) | None => {}
            }
            let passed = sys::clock::monotonic().since(began);
            let all_closed =
                self.open_connections() == 0 && passed >= MIN_DRAIN_TIME.min(self.drain_timeout);
            let line = log.update(passed, self.telemetry.session_counts());
            line.into_iter().for_each(DrainLogLine::log);
            if all_closed || passed >= self.drain_timeout + self.close_timeout {
                return Ok(ServerExit::Graceful);
            }
            self.run_tasks(tasks);
        }
    }

    /// Runs the periodic tasks that are due.
    fn run_tasks(&self, tasks: &mut PeriodicTasks) {
        let now = sys::clock::monotonic();
        if now.since(tasks.sampled) >= SAMPLE_PERIOD {
            tasks.sampler.take(&self.telemetry, now);
            tasks.sampled = now;
            self.telemetry.log_lines_dropped.raise_to(logging::lines_dropped());
            tasks.notices.due(&self.telemetry, now).into_iter().for_each(Notice::log);
        }
        tasks.supervision.update(now, &self.telemetry, || {
            // A thread that cannot be woken makes no iteration, and the watchdog reports it.
            let _matcher = self.matcher.interrupt_poll();
            for shard in &self.shards {
                let _shard = shard.interrupt_poll();
            }
        });
    }

    /// Waits for at most `timeout`, and reads the settings again if a signal asks for that. Returns
    /// whether a signal asks the process to end.
    fn wait_for_signal(
        &mut self,
        events: &mut Events,
        timeout: Duration,
    ) -> Result<Option<ShutdownRequest>, ServerError> {
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(ServerError::System { what: "wait for signals", error });
            }
            Ok(()) | Err(_) => {}
        }
        // guard: a thread that ended is noticed [argument 1 value |_| false]
        if let Some(ended) = self.threads.iter().find(|thread| thread.is_finished()) {
            let thread = ended.thread().name().unwrap_or("?").to_owned();
            return Err(ServerError::ThreadEnded { thread });
        }
        let requests = self.signals.requests(sys::clock::monotonic());
        if requests.reload {
            self.reload();
        }
        Ok(requests.shutdown)
    }

    /// Reads the settings that come from files again, and gives them to the shards. If one cannot be
    /// used, all of those in force stay.
    fn reload(&self) {
        let flags = self.sources.flags();
        if flags.is_empty() {
            tracing::warn!("SIGHUP: nothing was read again, because no setting comes from a file");
            return;
        }
        match self.sources.read() {
            Ok(settings) => {
                let settings = Arc::new(settings);
                for shard in &self.shards {
                    let _sent = shard.send(ShardCommand::Reload(Arc::clone(&settings)));
                }
                self.telemetry.reloads.increment();
                let flags = flags.join(" ");
                tracing::info!(flags, "SIGHUP: the files that settings come from were read again");
            }
            Err(error) => {
                self.telemetry.reload_failures.increment();
                tracing::error!(%error, "SIGHUP: a file cannot be used; the settings in force stay");
            }
        }
    }

    /// Connections on all shards, those that are migrating included.
    fn open_connections(&self) -> i64 {
        let shards = self.telemetry.shards.iter();
        shards.map(|shard| shard.connections.get() + shard.migrations_in_flight.get()).sum()
    }

    /// Lets the shards close their connections, for a short time: what a client has not acknowledged
    /// would stay in the kernel after the process has ended. The threads are not joined, because one
    /// that makes no iterations must not delay the end.
    fn close_connections(&mut self, events: &mut Events) {
        for shard in &self.shards {
            let _sent = shard.send(ShardCommand::Stop);
        }
        let until = sys::clock::monotonic() + IMMEDIATE_CLOSE_TIME;
        while self.open_connections() > 0 {
            let left = until.since(sys::clock::monotonic());
            if left.is_zero() {
                return;
            }
            // Threads that end wake this poll.
            let _interrupted = self.poll.poll(events, Some(left.min(DRAIN_CHECK_PERIOD)));
        }
    }

    /// Ends the shards, then the matcher.
    fn join_threads(&mut self) {
        for shard in &self.shards {
            let _sent = shard.send(ShardCommand::Stop);
        }
        let mut threads = std::mem::take(&mut self.threads).into_iter();
        let matcher = threads.next();
        for thread in threads {
            let _joined = thread.join();
        }
        let _sent = self.matcher.send(MatcherCommand::Stop);
        if let Some(thread) = matcher {
            let _joined = thread.join();
        }
    }
}
