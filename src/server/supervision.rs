//! Whether all threads live, and the process under a service manager such as systemd: it says when
//! it is ready, how it is doing, that its threads live, and when it stops. The main thread owns it.
//! Without a manager a thread that stands still is told in the log and in the figures only.

use crate::logging::throttle::LogThrottle;
use crate::server::watchdog::{StallLog, Watchdog, WatchdogFinding};
use crate::sys::clock;
use crate::sys::notify::{Notifier, watchdog_timeout};
use crate::telemetry::{SessionCounts, Telemetry};
use crate::timestamp::Timestamp;
use std::time::Duration;

/// How long a thread may take to answer where nobody says so. An idle one is woken as often.
const PERIOD: Duration = Duration::from_secs(10);
/// Between two looks at the most.
const LOOK_MOST: Duration = Duration::from_secs(1);
/// Between two looks at the least, however impatient the manager is.
const LOOK_LEAST: Duration = Duration::from_millis(5);
/// While the server shuts down, the manager is asked once a second for this much more time, so
/// that `--drain-timeout` may be longer than the unit's `TimeoutStopSec`.
const STOP_EXTENSION: &str = "EXTEND_TIMEOUT_USEC=10000000";
const EXTEND_PERIOD: Duration = Duration::from_secs(1);

/// What may be said once a minute.
static UNTOLD: LogThrottle = LogThrottle::new();

/// What stands between the server and its manager.
#[derive(Debug)]
pub struct Supervision {
    notifier: Option<Notifier>,
    watchdog: Watchdog,
    told: StallLog,
    /// What the manager hears while every thread lives.
    sign_of_life: &'static [&'static str],
    look_period: Duration,
    extended: Timestamp,
}

impl Supervision {
    /// As the environment says (see [`Notifier::from_environment`] and [`watchdog_timeout`]). A
    /// manager that cannot be reached is no reason not to serve: it is logged.
    pub fn from_environment() -> Self {
        let notifier = Notifier::from_environment().unwrap_or_else(|error| {
            tracing::warn!(%error, "NOTIFY_SOCKET cannot be used");
            None
        });
        let timeout = watchdog_timeout();
        // Half of the manager's patience, as sd_watchdog_enabled(3) advises, and looks so
        // often that two of them more do not use up the other half.
        let look_period = timeout.map_or(LOOK_MOST, |t| (t / 8).clamp(LOOK_LEAST, LOOK_MOST));
        Supervision {
            notifier,
            watchdog: Watchdog::new(timeout.map_or(PERIOD, |timeout| timeout / 2)),
            told: StallLog::default(),
            sign_of_life: if timeout.is_some() { &["WATCHDOG=1"] } else { &[] },
            look_period,
            extended: Timestamp::ZERO,
        }
    }

    /// How long the main thread may wait before the next [`Supervision::look`].
    pub fn look_period(&self) -> Duration {
        self.look_period
    }

    /// Every shard listens.
    pub fn ready(&self, telemetry: &Telemetry) {
        self.tell(&["READY=1", &status(telemetry)]);
    }

    /// The shutdown has begun.
    pub fn stopping(&self, telemetry: &Telemetry) {
        self.tell(&["STOPPING=1", STOP_EXTENSION, &status(telemetry)]);
    }

    /// Tells what is due by now. `nudge` wakes the matcher and every shard.
    pub fn look(&mut self, now: Timestamp, telemetry: &Telemetry, nudge: impl FnOnce()) {
        if telemetry.draining.get() != 0 && now.since(self.extended) >= EXTEND_PERIOD {
            self.extended = now;
            self.tell(&[STOP_EXTENSION]);
        }
        match self.watchdog.look(now, || turns(telemetry)) {
            WatchdogFinding::Nothing => {}
            WatchdogFinding::Ask => nudge(),
            WatchdogFinding::Alive => {
                telemetry.stalled_threads.set(0);
                if self.told.alive() {
                    tracing::info!("all threads make turns again");
                }
                self.tell(&[self.sign_of_life, &[&status(telemetry)]].concat());
            }
            WatchdogFinding::Stalled { thread, threads, silent } => {
                telemetry.stalled_threads.set(threads as i64);
                let name = match thread {
                    0 => "matcher".to_owned(),
                    shard => format!("shard-{}", shard - 1),
                };
                if let Some(suppressed) = self.told.stalled(thread, now) {
                    let thread = &name;
                    tracing::error!(
                        thread,
                        threads,
                        ?silent,
                        suppressed,
                        "a thread makes no turns"
                    );
                }
                self.tell(&[&format!("STATUS={name} has made no turn for {silent:.1?}")]);
            }
        }
    }

    fn tell(&self, lines: &[&str]) {
        if let Some(notifier) = &self.notifier
            && let Err(error) = notifier.send(lines)
            && let Some(suppressed) = UNTOLD.permit(clock::monotonic())
        {
            tracing::warn!(%error, suppressed, "the service manager cannot be told");
        }
    }
}

/// Turns ended so far: the matcher's, then each shard's.
fn turns(telemetry: &Telemetry) -> Vec<u64> {
    let shards = telemetry.shards.iter().map(|shard| &shard.iteration_time);
    std::iter::once(&telemetry.matcher.iteration_time)
        .chain(shards)
        .map(|turns| turns.read().count())
        .collect()
}

/// One line for `systemctl status`.
fn status(telemetry: &Telemetry) -> String {
    let SessionCounts { sessions, waiting, rooms } = telemetry.crowd();
    let doing = if telemetry.draining.get() == 0 { "serving" } else { "shutting down" };
    format!("STATUS={doing}: {sessions} sessions, {waiting} waiting, {rooms} rooms")
}
