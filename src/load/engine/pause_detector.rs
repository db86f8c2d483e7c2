//! Detects that the tester's own thread did not run for a while. Pure.

use crate::timestamp::Timestamp;
use std::time::Duration;

/// Detects that its thread was stopped or had no CPU. What the server sent in the meantime waits
/// in the sockets, so timeouts would be counted as faults of the server although the tester caused
/// them. For some time after a pause the thread therefore only reads and answers, and runs no
/// timers.
#[derive(Clone, Copy, Debug)]
pub(super) struct PauseDetector {
    read_at: Timestamp,
    catching_up_until: Timestamp,
}

impl PauseDetector {
    /// Any longer time between two reads is a pause.
    const MIN_PAUSE: Duration = Duration::from_millis(500);
    /// Catching up takes the length of the pause divided by this,
    const CATCH_UP_DIVISOR: u32 = 4;
    /// but not longer than this, in which tens of thousands of sockets can be read.
    const MAX_CATCH_UP: Duration = Duration::from_secs(2);

    /// The first read is expected at the start of the run.
    pub(super) fn new() -> Self {
        PauseDetector { read_at: Timestamp::ZERO, catching_up_until: Timestamp::ZERO }
    }

    /// Records that everything that had arrived was read, up to the limits of an iteration.
    pub(super) fn record_read(&mut self, now: Timestamp) {
        self.is_catching_up(now);
        self.read_at = now;
    }

    /// Whether messages that arrived during a pause may still be unread.
    pub(super) fn is_catching_up(&mut self, now: Timestamp) -> bool {
        let unread = now.since(self.read_at);
        if unread > Self::MIN_PAUSE {
            let catch_up = (unread / Self::CATCH_UP_DIVISOR).min(Self::MAX_CATCH_UP);
            self.catching_up_until = self.catching_up_until.max(now + catch_up);
        }
        now < self.catching_up_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_catches_up_after_a_pause_for_a_bounded_time() {
        let ms = |ms: u64| Timestamp::from_nanos(ms * 1_000_000);
        let mut detector = PauseDetector::new();
        for now in (0..2000).step_by(100) {
            assert!(!detector.is_catching_up(ms(now)), "no iteration was long");
            detector.record_read(ms(now));
        }
        // A pause of 2.1 s between two reads is noticed before any timer runs.
        assert!(detector.is_catching_up(ms(4000)));
        detector.record_read(ms(4001));
        assert!(detector.is_catching_up(ms(4500)), "the backlog is not read at once");
        detector.record_read(ms(4500));
        assert!(!detector.is_catching_up(ms(4600)));
        // A pause while reading.
        detector.record_read(ms(6600));
        assert!(detector.is_catching_up(ms(6600)));
        // The time to catch up is bounded, however long the pause was.
        detector.record_read(ms(600_000));
        (600_000..601_900).step_by(100).for_each(|now| detector.record_read(ms(now)));
        assert!(detector.is_catching_up(ms(601_900)));
        detector.record_read(ms(602_000));
        assert!(!detector.is_catching_up(ms(602_001)));
    }
}
