//! The limits on what one connection sends within a second: its messages, and apart from them its
//! state changes. The bucket of its matches is kept beside them ([`super::match_rate`]). Pure.
//!
//! Each of the two is a token bucket. A state change has its own, so that the candidates of a call
//! cannot use up what the following `find_match` needs. The state of both is outside the
//! connection's entry, and exists only while there is a limit.

use crate::access::match_rate::MatchRate;
use crate::ids::Slot;
use crate::limits::MESSAGE_BURST;
use std::num::NonZeroU32;
use std::time::Duration;

/// The buckets of one connection, in sixteen bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RateState {
    /// When the levels were last brought up to date, in milliseconds on the shard's clock.
    since_ms: u32,
    /// How full the bucket of messages is, in [`Self::UNITS`]. What exceeds the capacity is refused.
    messages: u32,
    /// The same for state changes.
    state_changes: u32,
    /// How long after `since_ms` the refusal of a message is not reported.
    quiet_ms: u16,
    /// How long after `since_ms` the bucket of matches is full again.
    match_refill_ms: u16,
}

/// Which bucket a message is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RateBucket {
    /// Relayed messages, pings, and whatever is not a message of a client.
    Messages,
    /// `find_match`, `cancel_match` and `leave_room`.
    StateChanges,
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

impl RateState {
    /// Least time between two `rate_limited` answers to messages: a second, and the rounding of the
    /// clock.
    const QUIET_MS: u16 = 1001;
    /// Units of one message, so that a rate of one a second drains one unit in a millisecond.
    const UNITS: u64 = 1000;
    /// The highest rate whose capacity fits. No connection sends that many messages within a
    /// second, so a higher limit has no effect.
    const MAX_RATE: u32 = 4_000_000;

    /// Converts the times to another clock that is ahead by this much.
    pub(super) fn shift(&mut self, ahead_ms: u32) {
        self.since_ms = self.since_ms.wrapping_add(ahead_ms);
    }

    /// Counts a message that arrives at `now_ms`, with `rate` allowed within a second.
    pub(super) fn count(
        &mut self,
        now_ms: u32,
        rate: NonZeroU32,
        bucket: RateBucket,
    ) -> RateDecision {
        let rate = rate.get().min(Self::MAX_RATE);
        self.drain(now_ms, NonZeroU32::new(rate));
        let capacity = u64::from(rate.max(MESSAGE_BURST)) * Self::UNITS;
        let level = match bucket {
            RateBucket::Messages => &mut self.messages,
            // guard: state changes have a bucket of their own [value &mut self.messages]
            RateBucket::StateChanges => &mut self.state_changes,
        };
        let filled = u64::from(*level) + Self::UNITS;
        if filled <= capacity {
            *level = filled as u32;
            return RateDecision::Allowed;
        }
        match bucket {
            // guard: each refused state change is answered [value RateDecision::RefusedSilently]
            RateBucket::StateChanges => RateDecision::Refused,
            RateBucket::Messages if self.quiet_ms > 0 => RateDecision::RefusedSilently,
            RateBucket::Messages => {
                self.quiet_ms = Self::QUIET_MS;
                RateDecision::Refused
            }
        }
    }

    /// How long it takes until the bucket of matches is full. Without a limit on messages,
    /// `message_rate` is `None`.
    pub(super) fn match_refill(
        &mut self,
        now_ms: u32,
        message_rate: Option<NonZeroU32>,
    ) -> Duration {
        self.drain(now_ms, message_rate);
        Duration::from_millis(self.match_refill_ms.into())
    }

    /// Takes a token from the bucket of matches. Fractions of a millisecond are dropped, so the
    /// highest rate is one match in a millisecond.
    pub(super) fn charge_match(
        &mut self,
        now_ms: u32,
        message_rate: Option<NonZeroU32>,
        rate: MatchRate,
    ) {
        let refill = rate.charged(self.match_refill(now_ms, message_rate));
        self.match_refill_ms = u16::try_from(refill.as_millis()).unwrap_or(u16::MAX);
    }

    fn drain(&mut self, now_ms: u32, rate: Option<NonZeroU32>) {
        let passed_ms = now_ms.wrapping_sub(self.since_ms);
        self.since_ms = now_ms;
        let rate = rate.map_or(0, |rate| rate.get().min(Self::MAX_RATE));
        let drained = u64::from(passed_ms) * u64::from(rate);
        let drained = u32::try_from(drained).unwrap_or(u32::MAX);
        self.messages = self.messages.saturating_sub(drained);
        self.state_changes = self.state_changes.saturating_sub(drained);
        let passed_ms = u16::try_from(passed_ms).unwrap_or(u16::MAX);
        self.quiet_ms = self.quiet_ms.saturating_sub(passed_ms);
        self.match_refill_ms = self.match_refill_ms.saturating_sub(passed_ms);
    }
}

/// The buckets of a shard's connections, by slot. Without a limit it is empty.
#[derive(Debug)]
pub(super) struct RateTable {
    states: Vec<RateState>,
    is_limited: bool,
}

impl RateTable {
    /// Without any connections. As for the connections, address space for `slots` states is
    /// reserved; only those that exist use memory.
    pub(super) fn new(slots: usize, is_limited: bool) -> Self {
        RateTable { states: Vec::with_capacity(if is_limited { slots } else { 0 }), is_limited }
    }

    /// A session begins in this slot, or comes from another shard with this state.
    pub(super) fn set(&mut self, slot: Slot, state: RateState) {
        if !self.is_limited {
            return;
        }
        if self.states.len() <= slot.index() {
            self.states.resize(slot.index() + 1, RateState::default());
        }
        self.states[slot.index()] = state;
    }

    /// The state of the session in this slot.
    pub(super) fn get(&self, slot: Slot) -> RateState {
        self.states.get(slot.index()).copied().unwrap_or_default()
    }

    /// The same, to be changed; `None` if nothing is limited.
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut RateState> {
        self.states.get_mut(slot.index())
    }
}

#[cfg(test)]
mod tests {
    use super::RateBucket::{Messages, StateChanges};
    use super::RateDecision::{Allowed, Refused, RefusedSilently};
    use super::*;
    use crate::limits::{CONNECTION_ENTRY_BYTES, LIMITED_CONNECTION_BYTES, MAX_MATCHES_PER_MINUTE};

    const TEN: NonZeroU32 = NonZeroU32::new(10).unwrap();
    const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

    /// How many messages are allowed at `now_ms` before one is refused.
    fn allowed(state: &mut RateState, now_ms: u32, rate: NonZeroU32, bucket: RateBucket) -> usize {
        (0..).take_while(|_| state.count(now_ms, rate, bucket) == Allowed).count()
    }

    #[test]
    fn allows_a_burst_and_then_the_rate() {
        for bucket in [Messages, StateChanges] {
            let mut state = RateState::default();
            assert_eq!(allowed(&mut state, 5000, TEN, bucket), 40);
            assert_eq!(allowed(&mut state, 5099, TEN, bucket), 0);
            assert_eq!(allowed(&mut state, 5100, TEN, bucket), 1);
            assert_eq!(allowed(&mut state, 6150, TEN, bucket), 10);
            assert_eq!(allowed(&mut state, 6200, TEN, bucket), 1, "fractions are kept");
            assert_eq!(allowed(&mut state, 60_000, TEN, bucket), 40, "and no more than a burst");
        }
    }

    #[test]
    fn the_burst_is_a_second_of_the_rate_or_forty_messages() {
        for (rate, burst) in [(1, 40), (39, 40), (40, 40), (41, 41), (1000, 1000)] {
            let rate = NonZeroU32::new(rate).unwrap();
            assert_eq!(allowed(&mut RateState::default(), 0, rate, Messages), burst);
        }
    }

    #[test]
    fn counts_messages_and_state_changes_apart() {
        let mut state = RateState::default();
        assert_eq!(allowed(&mut state, 0, TEN, Messages), 40);
        assert_eq!(allowed(&mut state, 0, TEN, StateChanges), 40);
        assert_eq!(allowed(&mut state, 100, TEN, Messages), 1);
        assert_eq!(allowed(&mut state, 100, TEN, StateChanges), 1);
    }

    #[test]
    fn reports_a_refused_message_at_most_once_a_second_and_each_refused_state_change() {
        let mut state = RateState::default();
        assert_eq!((0..40).filter(|_| state.count(0, TEN, Messages) == Allowed).count(), 40);
        assert_eq!(state.count(0, TEN, Messages), Refused);
        assert_eq!(state.count(50, TEN, Messages), RefusedSilently);
        assert_eq!(allowed(&mut state, 50, TEN, StateChanges), 40);
        assert_eq!(
            [state.count(60, TEN, StateChanges), state.count(60, TEN, StateChanges)],
            [Refused, Refused]
        );
        // A second on the clock may be a fraction of a millisecond short.
        assert_eq!(allowed(&mut state, 1000, TEN, Messages), 10);
        assert_eq!(state.count(1000, TEN, Messages), RefusedSilently);
        assert_eq!(state.count(1001, TEN, Messages), Refused);
    }

    #[test]
    fn keeps_the_bucket_of_matches_beside_the_others() {
        let (mut state, twenty) = (RateState::default(), MatchRate::new(TEN.saturating_mul(TWO)));
        assert_eq!(allowed(&mut state, 0, TEN, Messages), 40);
        (0..2).for_each(|_| state.charge_match(0, Some(TEN), twenty));
        assert_eq!(allowed(&mut state, 1000, TEN, Messages), 10);
        assert_eq!(state.match_refill(2000, Some(TEN)), Duration::from_secs(4));
        assert_eq!(allowed(&mut state, 2000, TEN, Messages), 10);
        assert_eq!(state.match_refill(6000, None), Duration::ZERO);
        (0..100).for_each(|_| state.charge_match(6000, None, twenty));
        assert_eq!(state.match_refill(6000, None), Duration::from_millis(65_535));
    }

    #[test]
    fn a_match_at_the_highest_rate_is_charged() {
        let highest = NonZeroU32::new(MAX_MATCHES_PER_MINUTE).unwrap();
        let mut state = RateState::default();
        state.charge_match(0, None, MatchRate::new(highest));
        assert_eq!(state.match_refill(0, None), Duration::from_millis(1));
    }

    #[test]
    fn keeps_its_levels_across_the_wrap_of_the_clock_and_on_another_clock() {
        let mut state = RateState::default();
        state.shift(u32::MAX - 50);
        assert_eq!(allowed(&mut state, u32::MAX - 50, TEN, Messages), 40);
        assert_eq!(allowed(&mut state, 149, TEN, Messages), 2);
        state.shift(10_000);
        assert_eq!(allowed(&mut state, 10_149, TEN, Messages), 0);
        assert_eq!(allowed(&mut state, 10_249, TEN, Messages), 1);
    }

    #[test]
    fn a_limit_that_no_connection_can_reach_allows_everything() {
        let mut state = RateState::default();
        let mut count = |ms| state.count(ms, NonZeroU32::MAX, Messages);
        assert!((0..100_000).all(|nth| count(nth / 1000) == Allowed));
    }

    #[test]
    fn costs_nothing_without_a_limit_and_sixteen_bytes_with_one() {
        let mut off = RateTable::new(1000, false);
        off.set(Slot(7), RateState::default());
        assert!(off.get_mut(Slot(7)).is_none() && off.states.capacity() == 0);
        let mut on = RateTable::new(1000, true);
        on.set(Slot(7), RateState::default());
        assert!(on.get_mut(Slot(7)).is_some() && on.states.len() == 8);
        assert!(CONNECTION_ENTRY_BYTES + size_of::<RateState>() <= LIMITED_CONNECTION_BYTES);
    }
}
