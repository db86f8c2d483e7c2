//! Detects that the server has stopped answering. Pure.

use crate::timestamp::Timestamp;
use std::time::Duration;

/// Detects that the server answers nothing although it has requests to answer. Time in which the
/// tester's own thread did not run counts only in part, because the whole machine may have been
/// suspended.
#[derive(Clone, Copy, Debug)]
pub(super) struct StallDetector {
    patience: Duration,
    unanswered: u32,
    /// Time of the first unanswered request.
    since: Timestamp,
    /// Silence counted so far.
    silent: Duration,
    checked_at: Timestamp,
    reported: bool,
}

impl StallDetector {
    /// Minimum number of unanswered requests: a single lost message is no stall.
    const MIN_UNANSWERED: u32 = 8;
    /// At most `patience / MAX_GAP_DIVISOR` of the time between two checks counts as silence.
    const MAX_GAP_DIVISOR: u32 = 4;

    /// A silence of `patience` is a stall.
    pub(super) fn new(patience: Duration) -> Self {
        StallDetector {
            patience,
            unanswered: 0,
            since: Timestamp::ZERO,
            silent: Duration::ZERO,
            checked_at: Timestamp::ZERO,
            reported: false,
        }
    }

    /// Records that something was sent to which the server must react.
    pub(super) fn record_request(&mut self, now: Timestamp) {
        if self.unanswered == 0 {
            (self.since, self.silent) = (now, Duration::ZERO);
        }
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// Records that something arrived from the server.
    pub(super) fn record_response(&mut self) {
        self.unanswered = 0;
        self.reported = false;
    }

    /// Checks for a stall; to be called after everything that had arrived was read. Returns the
    /// start of the silence, once for each stall.
    pub(super) fn check(&mut self, now: Timestamp) -> Option<Timestamp> {
        let unchecked = now.since(self.checked_at.max(self.since));
        self.silent += unchecked.min(self.patience / Self::MAX_GAP_DIVISOR);
        self.checked_at = now;
        let stalled = self.unanswered >= Self::MIN_UNANSWERED && self.silent >= self.patience;
        (stalled && !std::mem::replace(&mut self.reported, true)).then_some(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    fn detector() -> StallDetector {
        StallDetector::new(Duration::from_secs(1))
    }

    #[test]
    fn reports_a_silent_server_once() {
        let mut busy = detector();
        let mut stalls = Vec::new();
        for now in 0..3000 {
            busy.record_request(ms(now));
            stalls.extend(busy.check(ms(now)));
        }
        assert_eq!(stalls, [ms(0)]);
        busy.record_response();
        assert_eq!(busy.check(ms(3000)), None);
    }

    #[test]
    fn a_pause_of_its_own_thread_counts_only_in_part() {
        let mut paused = detector();
        (0..100).for_each(|_| paused.record_request(ms(0)));
        assert_eq!(paused.check(ms(5000)), None, "its own thread was paused");
        let mut slow = detector();
        (0..100).for_each(|_| slow.record_request(ms(0)));
        let reports = [400, 800, 1200, 1600, 2000].map(|now| slow.check(ms(now)).is_some());
        assert_eq!(reports, [false, false, false, true, false], "four checks found silence");
    }

    #[test]
    fn a_single_lost_message_is_no_stall() {
        let mut quiet = detector();
        quiet.record_request(ms(0));
        assert!((0..3000).all(|now| quiet.check(ms(now)).is_none()));
    }
}
