//! The limit on messages that one connection may send within a second. Pure.

use std::num::NonZeroU32;

/// Counts the messages of a connection in windows of one second, in eight bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MessageRate {
    /// When the window began, in milliseconds on the shard's clock.
    since_ms: u32,
    /// In the upper bits the messages within the window; in the lower [`Self::QUIET_BITS`] the
    /// milliseconds after its beginning until which refusals are not reported.
    count: u32,
}

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RateDecision {
    /// The message is within the rate.
    Allowed,
    /// The message is dropped, and the client gets the error `rate_limited`.
    Refused,
    /// The message is dropped without an answer: `rate_limited` was sent less than a second ago.
    RefusedSilently,
}

impl MessageRate {
    /// Least time between two `rate_limited` answers: a second, and the rounding of the clock.
    const QUIET_MS: u32 = 1001;
    /// Enough bits for the rest of one second and the whole next one.
    const QUIET_BITS: u32 = 11;
    /// The largest count that fits. No connection sends that many messages within a second, so a
    /// higher limit has no effect.
    const MAX_COUNT: u32 = u32::MAX >> Self::QUIET_BITS;

    /// Converts the window to another clock that is ahead by this much.
    pub(super) fn shift(&mut self, ahead_ms: u32) {
        self.since_ms = self.since_ms.wrapping_add(ahead_ms);
    }

    /// Counts a message that arrives at `now_ms`, with `limit` allowed within a second.
    pub(super) fn count(&mut self, now_ms: u32, limit: NonZeroU32) -> RateDecision {
        let mut passed = now_ms.wrapping_sub(self.since_ms);
        let mut quiet = self.count & ((1 << Self::QUIET_BITS) - 1);
        let mut messages = self.count >> Self::QUIET_BITS;
        if passed >= 1000 {
            quiet = quiet.saturating_sub(passed);
            (self.since_ms, passed, messages) = (now_ms, 0, 0);
        }
        let decision = if messages < limit.get() {
            messages = (messages + 1).min(Self::MAX_COUNT);
            RateDecision::Allowed
        } else if passed < quiet {
            RateDecision::RefusedSilently
        } else {
            quiet = passed + Self::QUIET_MS;
            RateDecision::Refused
        };
        self.count = (messages << Self::QUIET_BITS) | quiet;
        decision
    }
}

#[cfg(test)]
mod tests {
    use super::RateDecision::{Allowed, Refused, RefusedSilently};
    use super::*;

    #[test]
    fn allows_the_limit_in_each_second_and_reports_one_refusal() {
        let two = NonZeroU32::new(2).unwrap();
        let mut rate = MessageRate::default();
        let mut at = |ms| rate.count(ms, two);
        assert_eq!([at(5000), at(5001), at(5002)], [Allowed, Allowed, Refused]);
        assert_eq!(at(5999), RefusedSilently);
        assert_eq!([at(6000), at(6000), at(6999)], [Allowed, Allowed, Refused]);
        assert_eq!(at(u32::MAX), Allowed);
        assert_eq!(at(2), Allowed, "the clock wraps");
        assert_eq!(at(3), Refused);
    }

    #[test]
    fn reports_a_refusal_at_most_once_a_second_across_windows() {
        let one = NonZeroU32::MIN;
        let mut rate = MessageRate::default();
        let mut at = |ms| rate.count(ms, one);
        assert_eq!([at(5000), at(5900)], [Allowed, Refused]);
        assert_eq!([at(6000), at(6899)], [Allowed, RefusedSilently]);
        // A second on the clock may be a fraction of a millisecond short.
        assert_eq!([at(6900), at(6901)], [RefusedSilently, Refused]);
        assert_eq!([at(9000), at(9001)], [Allowed, Refused]);
    }

    #[test]
    fn keeps_its_window_when_it_is_shifted_to_another_clock() {
        let one = NonZeroU32::MIN;
        let mut rate = MessageRate::default();
        assert_eq!([rate.count(5000, one), rate.count(5900, one)], [Allowed, Refused]);
        rate.shift(0u32.wrapping_sub(5900));
        assert_eq!(rate.count(99, one), RefusedSilently);
        assert_eq!(rate.count(100, one), Allowed);
    }
}
