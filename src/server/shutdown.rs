//! What an operator is told of a shutdown that takes its time: how far it is, and whom its end
//! cut off. Pure; the main thread owns it.

use crate::telemetry::SessionCounts;
use std::time::Duration;

/// Between two lines at the least.
const PERIOD_LEAST: Duration = Duration::from_secs(5);
/// Between two lines at the most.
const PERIOD_MOST: Duration = Duration::from_secs(60);

/// How far a shutdown is.
#[derive(Debug)]
pub(super) struct DrainProgress {
    timeout: Duration,
    period: Duration,
    /// When the next line is due, since the signal; `None` when the time is over.
    next: Option<Duration>,
    /// Rooms at the last look.
    rooms: i64,
}

/// Something that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DrainEvent {
    /// There still are users, and there still is time.
    GoesOn {
        /// Users.
        crowd: SessionCounts,
        /// Time.
        left: Duration,
    },
    /// The time is over, and rooms had not ended. Their number is that of the last look before, or
    /// that at the signal.
    CutOff {
        /// So many.
        rooms: i64,
    },
}

impl DrainProgress {
    /// The signal came just now, and these are here: the time may be over before the first look.
    /// A tenth of it passes from line to line, within bounds.
    pub(super) fn new(timeout: Duration, crowd: SessionCounts) -> Self {
        let period = (timeout / 10).clamp(PERIOD_LEAST, PERIOD_MOST);
        DrainProgress { timeout, period, next: Some(period), rooms: crowd.rooms }
    }

    /// What is to be told when so much time has passed since the signal and these are here.
    pub(super) fn look(&mut self, passed: Duration, crowd: SessionCounts) -> Option<DrainEvent> {
        let next = self.next?;
        if passed >= self.timeout {
            self.next = None;
            return (self.rooms > 0).then_some(DrainEvent::CutOff { rooms: self.rooms });
        }
        self.rooms = crowd.rooms;
        if passed < next || crowd.sessions == 0 {
            return None;
        }
        self.next = Some(passed + self.period);
        Some(DrainEvent::GoesOn { crowd, left: self.timeout - passed })
    }
}

impl DrainEvent {
    /// Writes it to the log.
    pub(super) fn log(self) {
        match self {
            DrainEvent::GoesOn { crowd: SessionCounts { sessions, waiting, rooms }, left } => {
                let left = Duration::from_secs(left.as_secs());
                tracing::info!(sessions, waiting, rooms, ?left, "shutting down goes on");
            }
            DrainEvent::CutOff { rooms } => {
                tracing::warn!(rooms, "--drain-timeout is over: rooms were cut off");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which something is told while `rooms` stay until `until_s`, and what last.
    fn told(timeout_s: u64, rooms: i64, until_s: u64) -> (Vec<u64>, Option<DrainEvent>) {
        let crowd_of = |rooms| SessionCounts { sessions: 2 * rooms, waiting: 0, rooms };
        let mut progress = DrainProgress::new(Duration::from_secs(timeout_s), crowd_of(rooms));
        let (mut at, mut last) = (Vec::new(), None);
        for tenth in 0..(timeout_s + 5) * 10 {
            let left = if tenth < until_s * 10 { rooms } else { 0 };
            if let Some(line) = progress.look(Duration::from_millis(tenth * 100), crowd_of(left)) {
                at.push(tenth / 10);
                last = Some(line);
            }
        }
        (at, last)
    }

    #[test]
    fn a_long_shutdown_is_told_now_and_then_and_whom_it_cuts_off_at_its_end() {
        let cut_off = |rooms| Some(DrainEvent::CutOff { rooms });
        assert_eq!(told(30, 3, 99), (vec![5, 10, 15, 20, 25, 30], cut_off(3)));
        assert_eq!(told(2, 3, 99), (vec![2], cut_off(3)));
        assert_eq!(told(0, 3, 99), (vec![0], cut_off(3)), "without a look before");
        let (at, last) = told(7200, 1, 9999);
        assert_eq!((at.len(), at[0], last), (120, 60, cut_off(1)));
    }

    #[test]
    fn when_everybody_has_left_nothing_more_is_told() {
        let (at, last) = told(30, 3, 12);
        assert_eq!(at, [5, 10]);
        assert!(matches!(last, Some(DrainEvent::GoesOn { crowd, left })
            if crowd.rooms == 3 && left == Duration::from_secs(20)));
        assert_eq!(told(30, 0, 99), (vec![], None));
        assert_eq!(told(0, 0, 0), (vec![], None));
    }
}
