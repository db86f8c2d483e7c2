//! Reports the state of the process to a service manager such as systemd, and stalled event loops
//! to the log and the metrics. The main thread owns it.
//!
//! The service manager gets messages when the server is ready and when it stops, with the number of
//! sessions, and while the threads are healthy (the watchdog message). Without a service manager only
//! the log and `switchboard_stalled_threads` report a stall.

use super::watchdog::{StallLog, Watchdog, WatchdogAction};
use crate::logging::throttled_lines::NOTIFY_FAILED;
use crate::sys::clock;
use crate::sys::notify::{Notifier, watchdog_timeout};
use crate::telemetry::{SessionCounts, Telemetry};
use crate::timestamp::Timestamp;
use std::time::Duration;

/// Time between two checks where the service manager sets none. An idle thread is woken as often.
const DEFAULT_CHECK_PERIOD: Duration = Duration::from_secs(10);
/// Longest time between two updates.
const MAX_UPDATE_PERIOD: Duration = Duration::from_secs(1);
/// Shortest time between two updates, however short the manager's timeout is.
const MIN_UPDATE_PERIOD: Duration = Duration::from_millis(5);
/// While the server shuts down, it asks the manager once a second for this much more time, so that
/// `--drain-timeout` may be longer than the unit's `TimeoutStopSec`.
const STOP_EXTENSION: &str = "EXTEND_TIMEOUT_USEC=10000000";
const STOP_EXTENSION_PERIOD: Duration = Duration::from_secs(1);

/// The connection to the service manager, and the watchdog over the server's threads.
#[derive(Debug)]
pub struct Supervision {
    notifier: Option<Notifier>,
    watchdog: Watchdog,
    stall_log: StallLog,
    /// Lines that are sent to the manager after each check that has passed.
    healthy_lines: &'static [&'static str],
    update_period: Duration,
    /// Time of the last request for more time to stop.
    extended: Timestamp,
}

impl Supervision {
    /// As the environment says (see [`Notifier::from_environment`] and [`watchdog_timeout`]). A
    /// manager that cannot be reached does not keep the server from serving: that is logged.
    pub fn from_environment() -> Self {
        let notifier = Notifier::from_environment().unwrap_or_else(|error| {
            tracing::warn!(%error, "NOTIFY_SOCKET cannot be used: no reports to the service manager");
            None
        });
        let timeout = watchdog_timeout();
        // Checks take half of the manager's timeout, as sd_watchdog_enabled(3) advises. Updates are
        // so frequent that two late ones do not use up the other half.
        let update_period = timeout
            .map_or(MAX_UPDATE_PERIOD, |t| (t / 8).clamp(MIN_UPDATE_PERIOD, MAX_UPDATE_PERIOD));
        Supervision {
            notifier,
            watchdog: Watchdog::new(timeout.map_or(DEFAULT_CHECK_PERIOD, |timeout| timeout / 2)),
            stall_log: StallLog::default(),
            healthy_lines: if timeout.is_some() { &["WATCHDOG=1"] } else { &[] },
            update_period,
            extended: Timestamp::ZERO,
        }
    }

    /// Longest time until the next [`Supervision::update`].
    pub fn update_period(&self) -> Duration {
        self.update_period
    }

    /// Every shard listens.
    pub fn ready(&self, telemetry: &Telemetry) {
        self.notify(&["READY=1", &status_line(telemetry)]);
    }

    /// The shutdown has begun.
    pub fn stopping(&self, telemetry: &Telemetry) {
        self.notify(&["STOPPING=1", STOP_EXTENSION, &status_line(telemetry)]);
    }

    /// Sends and logs what is due now. `wake_threads` wakes the matcher and every shard.
    pub fn update(&mut self, now: Timestamp, telemetry: &Telemetry, wake_threads: impl FnOnce()) {
        if telemetry.draining.get() != 0 && now.since(self.extended) >= STOP_EXTENSION_PERIOD {
            self.extended = now;
            self.notify(&[STOP_EXTENSION]);
        }
        match self.watchdog.update(now, || iterations(telemetry)) {
            WatchdogAction::None => {}
            WatchdogAction::WakeThreads => wake_threads(),
            WatchdogAction::ReportHealthy => {
                telemetry.stalled_threads.set(0);
                if self.stall_log.healthy() {
                    tracing::info!("event loops recovered: all threads make iterations again");
                }
                self.notify(&[self.healthy_lines, &[&status_line(telemetry)]].concat());
            }
            WatchdogAction::ReportStall { thread, threads, stalled_for } => {
                telemetry.stalled_threads.set(threads as i64);
                let thread_name = match thread {
                    0 => "matcher".to_owned(),
                    shard => format!("shard-{}", shard - 1),
                };
                if let Some(suppressed) = self.stall_log.stalled(thread, now) {
                    let thread = &thread_name;
                    tracing::error!(
                        thread,
                        threads,
                        ?stalled_for,
                        suppressed,
                        "event loop stalled: no iteration since the thread was woken"
                    );
                }
                let status = format!("STATUS=event loop of {thread_name} stalled");
                self.notify(&[&format!("{status} for {stalled_for:.1?}")]);
            }
        }
    }

    fn notify(&self, lines: &[&str]) {
        if let Some(notifier) = &self.notifier
            && let Err(error) = notifier.send(lines)
            && let Some(suppressed) = NOTIFY_FAILED.permit(clock::monotonic())
        {
            tracing::warn!(%error, suppressed, "cannot send to the service manager");
        }
    }
}

/// Iterations that have ended: the matcher's, then those of each shard.
fn iterations(telemetry: &Telemetry) -> Vec<u64> {
    let shards = telemetry.shards.iter().map(|shard| &shard.iteration_time);
    std::iter::once(&telemetry.matcher.iteration_time)
        .chain(shards)
        .map(|iterations| iterations.read().count())
        .collect()
}

/// One line for `systemctl status`.
fn status_line(telemetry: &Telemetry) -> String {
    let SessionCounts { sessions, waiting, rooms } = telemetry.session_counts();
    let phase = if telemetry.draining.get() == 0 { "serving" } else { "shutting down" };
    format!("STATUS={phase}: {sessions} sessions, {waiting} waiting, {rooms} rooms")
}
