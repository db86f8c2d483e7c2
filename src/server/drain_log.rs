//! Decides what is logged while the server drains: progress now and then, and the number of rooms
//! that the end of `--drain-timeout` closed. Only [`DrainLogLine::log`] writes to the log; the main
//! thread owns it.

use crate::telemetry::SessionCounts;
use std::time::Duration;

/// Shortest time between two progress lines.
const MIN_PERIOD: Duration = Duration::from_secs(5);
/// Longest time between two progress lines.
const MAX_PERIOD: Duration = Duration::from_secs(60);
/// A shard may close its rooms this much before the main thread's timeout: its clock is that of the
/// beginning of an iteration, in whole milliseconds.
const SHARD_LEAD: Duration = Duration::from_millis(50);

/// The state of the log while the server drains.
#[derive(Debug)]
pub(super) struct DrainLog {
    timeout: Duration,
    period: Duration,
    /// When the next line is due, as time since the signal; `None` after the timeout.
    next: Option<Duration>,
    /// Rooms at the last update that came surely before the shards closed them.
    rooms: i64,
}

/// A line that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DrainLogLine {
    /// Sessions are still open, and the timeout has not passed.
    Progress {
        /// Sessions and rooms that are open.
        counts: SessionCounts,
        /// Time until the timeout.
        left: Duration,
    },
    /// The timeout has passed, and rooms were still open. Their number is that of an earlier
    /// update, because the shards may have closed some of them by now.
    RoomsClosed {
        /// Number of rooms.
        rooms: i64,
    },
}

impl DrainLog {
    /// A log for a drain that begins now, with the present counts: the timeout may pass before the
    /// first update. Lines are a tenth of the timeout apart, within bounds.
    pub(super) fn new(timeout: Duration, counts: SessionCounts) -> Self {
        let period = (timeout / 10).clamp(MIN_PERIOD, MAX_PERIOD);
        DrainLog { timeout, period, next: Some(period), rooms: counts.rooms }
    }

    /// The line that is due when `passed` has passed since the signal.
    pub(super) fn update(
        &mut self,
        passed: Duration,
        counts: SessionCounts,
    ) -> Option<DrainLogLine> {
        let next = self.next?;
        if passed >= self.timeout {
            self.next = None;
            return (self.rooms > 0).then_some(DrainLogLine::RoomsClosed { rooms: self.rooms });
        }
        if passed + SHARD_LEAD < self.timeout {
            self.rooms = counts.rooms;
        }
        if passed < next || counts.sessions == 0 {
            return None;
        }
        self.next = Some(passed + self.period);
        Some(DrainLogLine::Progress { counts, left: self.timeout - passed })
    }
}

impl DrainLogLine {
    /// Writes it to the log.
    pub(super) fn log(self) {
        match self {
            DrainLogLine::Progress { counts: SessionCounts { sessions, waiting, rooms }, left } => {
                // Rounded to the nearest second: an update comes some milliseconds after it is due.
                let left = Duration::from_secs((left + Duration::from_millis(500)).as_secs());
                tracing::info!(sessions, waiting, rooms, ?left, "still shutting down");
            }
            DrainLogLine::RoomsClosed { rooms } => {
                tracing::warn!(rooms, "--drain-timeout has passed: open rooms were closed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which a line is due while `rooms` are open until `until_s`, and the last line.
    fn logged(timeout_s: u64, rooms: i64, until_s: u64) -> (Vec<u64>, Option<DrainLogLine>) {
        let counts_for = |rooms| SessionCounts { sessions: 2 * rooms, waiting: 0, rooms };
        let mut log = DrainLog::new(Duration::from_secs(timeout_s), counts_for(rooms));
        let (mut seconds, mut last) = (Vec::new(), None);
        for tenth in 0..(timeout_s + 5) * 10 {
            let left = if tenth < until_s * 10 { rooms } else { 0 };
            if let Some(line) = log.update(Duration::from_millis(tenth * 100), counts_for(left)) {
                seconds.push(tenth / 10);
                last = Some(line);
            }
        }
        (seconds, last)
    }

    #[test]
    fn logs_progress_periodically_and_the_rooms_closed_at_the_timeout() {
        let closed = |rooms| Some(DrainLogLine::RoomsClosed { rooms });
        assert_eq!(logged(30, 3, 99), (vec![5, 10, 15, 20, 25, 30], closed(3)));
        assert_eq!(logged(2, 3, 99), (vec![2], closed(3)));
        assert_eq!(logged(0, 3, 99), (vec![0], closed(3)), "the first update is the last");
        let (seconds, last) = logged(7200, 1, 9999);
        assert_eq!((seconds.len(), seconds[0], last), (120, 60, closed(1)));
    }

    #[test]
    fn counts_rooms_that_a_shard_closed_just_before_the_timeout() {
        let counts = |rooms| SessionCounts { sessions: 2 * rooms, waiting: 0, rooms };
        let mut log = DrainLog::new(Duration::from_secs(3), counts(4));
        assert_eq!(log.update(Duration::from_millis(2900), counts(3)), None);
        assert_eq!(log.update(Duration::from_millis(2999), counts(0)), None);
        let closed = log.update(Duration::from_millis(3019), counts(0));
        assert_eq!(closed, Some(DrainLogLine::RoomsClosed { rooms: 3 }));
    }

    #[test]
    fn logs_nothing_after_the_last_session_has_ended() {
        let (seconds, last) = logged(30, 3, 12);
        assert_eq!(seconds, [5, 10]);
        assert!(matches!(last, Some(DrainLogLine::Progress { counts, left })
            if counts.rooms == 3 && left == Duration::from_secs(20)));
        assert_eq!(logged(30, 0, 99), (vec![], None));
        assert_eq!(logged(0, 0, 0), (vec![], None));
    }
}
