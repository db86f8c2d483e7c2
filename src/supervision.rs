//! The process under a service manager such as systemd: it says when it is ready, how it is
//! doing, that all its threads live, and when it stops. The main thread owns it. Without a
//! manager nothing of this happens, and no thread is ever woken for it.

use crate::moment::Moment;
use crate::sys::notify::{Notifier, watchdog_timeout};
use crate::telemetry::Telemetry;
use crate::watchdog::{Finding, Watchdog};
use std::time::Duration;

/// Between two `STATUS` lines where the manager has no watchdog.
const STATUS_PERIOD: Duration = Duration::from_secs(10);
/// Between two looks while there is nothing to watch.
const LOOK_MOST: Duration = Duration::from_secs(1);
/// Between two looks at the least, however impatient the manager is.
const LOOK_LEAST: Duration = Duration::from_millis(5);
/// While the server shuts down, the manager is asked once a second for this much more time, so
/// that `--drain-timeout` may be longer than the unit's `TimeoutStopSec`.
const STOP_EXTENSION: &str = "EXTEND_TIMEOUT_USEC=10000000";
const EXTEND_PERIOD: Duration = Duration::from_secs(1);

/// What stands between the server and its manager.
#[derive(Debug)]
pub struct Supervision {
    notifier: Option<Notifier>,
    watchdog: Option<Watchdog>,
    look_period: Duration,
    told: Moment,
    extended: Moment,
}

impl Supervision {
    /// As the environment says (see [`Notifier::from_environment`] and [`watchdog_timeout`]). A
    /// manager that cannot be reached is no reason not to serve: it is logged.
    pub fn from_environment() -> Self {
        let notifier = Notifier::from_environment().unwrap_or_else(|error| {
            tracing::warn!(%error, "NOTIFY_SOCKET cannot be used");
            None
        });
        let timeout = notifier.as_ref().and_then(|_| watchdog_timeout());
        // Half of the manager's patience, as sd_watchdog_enabled(3) advises, and looks so
        // often that two of them more do not use up the other half.
        let look_period = timeout.map_or(LOOK_MOST, |t| (t / 8).clamp(LOOK_LEAST, LOOK_MOST));
        Supervision {
            notifier,
            watchdog: timeout.map(|timeout| Watchdog::new(timeout / 2)),
            look_period,
            told: Moment::ZERO,
            extended: Moment::ZERO,
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
    pub fn look(&mut self, now: Moment, telemetry: &Telemetry, nudge: impl FnOnce()) {
        if self.notifier.is_none() {
            return;
        }
        if telemetry.draining.get() != 0 && now.since(self.extended) >= EXTEND_PERIOD {
            self.extended = now;
            self.tell(&[STOP_EXTENSION]);
        }
        let Some(watchdog) = &mut self.watchdog else {
            if now.since(self.told) >= STATUS_PERIOD {
                self.told = now;
                self.tell(&[&status(telemetry)]);
            }
            return;
        };
        match watchdog.look(now, || turns(telemetry)) {
            Finding::Nothing => {}
            Finding::Ask => nudge(),
            Finding::Alive => self.tell(&["WATCHDOG=1", &status(telemetry)]),
            Finding::Stalled { thread, silent } => {
                let name = match thread {
                    0 => "matcher".to_owned(),
                    shard => format!("shard-{}", shard - 1),
                };
                tracing::error!(thread = name, ?silent, "a thread makes no turns");
                self.tell(&[&format!("STATUS={name} has made no turn for {silent:.1?}")]);
            }
        }
    }

    fn tell(&self, lines: &[&str]) {
        if let Some(notifier) = &self.notifier
            && let Err(error) = notifier.send(lines)
        {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}

/// Turns ended so far: the matcher's, then each shard's.
fn turns(telemetry: &Telemetry) -> Vec<u64> {
    let shards = telemetry.shards.iter().map(|shard| &shard.turn_time);
    std::iter::once(&telemetry.matcher.turn_time)
        .chain(shards)
        .map(|turns| turns.read().count())
        .collect()
}

/// One line for `systemctl status`.
fn status(telemetry: &Telemetry) -> String {
    let (mut sessions, mut waiting, mut rooms) = (0, 0, 0);
    for shard in &telemetry.shards {
        sessions += shard.sessions.get();
        waiting += shard.waiting.get();
        rooms += shard.rooms.get();
    }
    let doing = if telemetry.draining.get() == 0 { "serving" } else { "shutting down" };
    format!("STATUS={doing}: {sessions} sessions, {waiting} waiting, {rooms} rooms")
}
