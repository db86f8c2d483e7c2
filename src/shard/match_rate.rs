//! The rate of matches of a session and of its address. Pure.
//!
//! When a client ends a room, one token is taken from the bucket of its session and one from that of
//! its address, and none from those of its partner. So a client that leaves each partner at once uses
//! up its tokens, and the clients that it leaves keep theirs. If the client ends its connection, the
//! token is taken from the bucket of its address, however the connection ends: its session is gone.

use super::core::Core;
use super::host::Host;
use super::replies::Replies;
use crate::access::match_rate::MatchRate;
use crate::ids::Slot;
use crate::wire::message::{ClientMessageType, ErrorCode, MessageRefusal};
use std::time::Duration;

/// Whether the end of a room takes a token from the buckets of the client in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MatchCharge {
    /// The client has ended the room, or the connection: one token is taken from its bucket.
    Client,
    /// The server, the network or time has ended the room: no token is taken.
    Free,
}

impl<H: Host> Core<H> {
    /// Refuses a `find_match` that exceeds the rate of matches. Returns whether it did. A session
    /// that waits already asks for no further match, so it is not refused.
    pub(super) fn refuse_over_match_rate(&mut self, replies: &mut Replies) -> bool {
        let slot = replies.slot();
        // guard: a session that waits is not refused another queue [false]
        if self.table.session(slot).is_some_and(|session| session.match_request().is_some()) {
            return false;
        }
        // guard: matches over the rate are refused [value Duration::ZERO]
        let delay = self.match_delay(slot);
        if delay.is_zero() {
            return false;
        }
        let refusal = MessageRefusal::of(ClientMessageType::FindMatch, ErrorCode::TooManyMatches);
        // Rounded up, so that it is not refused again after this time.
        let retry_after_ms = Some(delay.as_micros().div_ceil(1000) as u64);
        self.refuse(replies, MessageRefusal { retry_after_ms, ..refusal });
        true
    }

    /// How long the session in this slot and its address have no token; zero if both have one.
    fn match_delay(&mut self, slot: Slot) -> Duration {
        let limits = &self.setup.limits;
        let mut delay = Duration::ZERO;
        if let Some(limit) = limits.max_matches_per_minute
            && let Some(state) = self.sessions.rates.get_mut(slot)
        {
            let now_ms = self.timeouts.now_ms();
            let refill = state.match_refill(now_ms, limits.max_messages_per_second);
            delay = MatchRate::new(limit).delay(refill);
        }
        if limits.max_matches_per_minute_per_address.is_some()
            && let Some(address) = self.table.counted_address(slot)
        {
            // guard: matches over the rate of an address are refused [skip]
            delay = delay.max(self.host.match_delay(address));
        }
        delay
    }

    /// The client in this slot has ended a room: takes a token from the bucket of its session and one
    /// from that of its address.
    pub(super) fn charge_match(&mut self, slot: Slot) {
        let limits = &self.setup.limits;
        if let Some(limit) = limits.max_matches_per_minute
            && let Some(state) = self.sessions.rates.get_mut(slot)
        {
            let (now_ms, message_rate) = (self.timeouts.now_ms(), limits.max_messages_per_second);
            state.charge_match(now_ms, message_rate, MatchRate::new(limit));
        }
        if limits.max_matches_per_minute_per_address.is_some()
            && let Some(address) = self.table.counted_address(slot)
        {
            self.host.charge_match(address);
        }
    }
}
