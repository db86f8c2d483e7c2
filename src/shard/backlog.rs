//! How much may wait for a client that reads slowly, and what is refused instead (guarantee 6).
//! Pure.
//!
//! A relayed message is refused while the receiver's backlog is at half of its bound, or if it
//! would not fit. So a sender can never close its partner: the rest of the bound is for what the
//! server itself sends, and only that can overfill it.

use super::core::Core;
use super::entry::{Connection, PendingIo};
use super::host::Host;
use super::relay_batch::RelayBatch;
use super::timeouts::as_ms;
use crate::config::Limits;
use crate::ids::Slot;
use crate::limits::{OWN_MESSAGES_BYTES, SERVER_HEADER_BYTES};
use crate::telemetry::labels::EndReason;
use crate::wire::websocket::assembly::MessageReader;
use tungstenite::protocol::frame::coding::CloseCode;

/// The bounds of a client's backlog, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct BacklogBounds {
    /// Above it the client is closed.
    pub(super) most_bytes: usize,
    /// From here on relayed messages are refused.
    pub(super) half_bytes: usize,
}

impl BacklogBounds {
    /// The bounds for these limits: `--max-unsent-bytes`, and at least one message of the maximum
    /// size and space for what the server itself sends.
    pub(super) fn new(limits: &Limits) -> Self {
        let message_bytes = limits.max_message_bytes + SERVER_HEADER_BYTES;
        let most_bytes = limits.max_unsent_bytes.max(message_bytes + OWN_MESSAGES_BYTES);
        BacklogBounds { most_bytes, half_bytes: most_bytes / 2 }
    }
}

/// What a receiver can still be sent by its partner.
#[derive(Clone, Copy, Debug)]
pub(super) struct RelaySpace {
    /// A message may begin while less than this has been collected.
    begin_bytes: usize,
    /// A message has to end within this.
    end_bytes: usize,
}

impl RelaySpace {
    /// The space behind `unsent_bytes` that wait already.
    #[inline]
    fn behind(unsent_bytes: usize, bounds: BacklogBounds) -> Self {
        let relayed_bytes = bounds.most_bytes - OWN_MESSAGES_BYTES;
        RelaySpace {
            begin_bytes: bounds.half_bytes.saturating_sub(unsent_bytes),
            end_bytes: relayed_bytes.saturating_sub(unsent_bytes),
        }
    }

    /// Whether a message fits behind `collected_bytes` that are about to be sent, if the kernel
    /// takes none of them.
    #[inline]
    pub(super) fn admits(self, collected_bytes: usize, payload_bytes: usize) -> bool {
        // guard: a relayed message is refused at half of the receiver's backlog [operand 1 true]
        // guard: a relayed message that would overfill the backlog is refused [operand 2 true]
        collected_bytes < self.begin_bytes
            && collected_bytes + payload_bytes + SERVER_HEADER_BYTES <= self.end_bytes
    }
}

impl PendingIo {
    /// Unsent bytes have been added, which were `before_bytes`.
    pub(super) fn note_added(&mut self, before_bytes: usize, half_bytes: usize, now_ms: u32) {
        if before_bytes < half_bytes && self.egress.unsent_len() >= half_bytes {
            self.stuck_since_ms = now_ms;
        }
    }
}

impl<H: Host> Core<H> {
    /// The bounds of every client's backlog.
    #[inline]
    pub(super) fn backlog_bounds(&self) -> BacklogBounds {
        self.sessions.backlog
    }

    /// What the session in this slot can still be sent by its partner.
    #[inline]
    pub(super) fn relay_space(&self, to: Slot) -> RelaySpace {
        let unsent_bytes = self.table.connection(to).map_or(0, Connection::unsent_bytes);
        RelaySpace::behind(unsent_bytes, self.backlog_bounds())
    }

    /// Whether a message of `payload_bytes` may be relayed now. If it seems not, what was collected
    /// is sent first, and the kernel is offered what waits, because the receiver may have read
    /// since: the decision is that of a message that comes alone.
    #[inline]
    pub(super) fn has_relay_space(
        &mut self,
        reader: &mut MessageReader<'_>,
        batch: &mut RelayBatch,
        to: Slot,
        payload_bytes: usize,
    ) -> bool {
        self.relay_space(to).admits(batch.frame_bytes(), payload_bytes)
            || self.make_relay_space(reader, batch, to, payload_bytes)
    }

    #[cold]
    fn make_relay_space(
        &mut self,
        reader: &mut MessageReader<'_>,
        batch: &mut RelayBatch,
        to: Slot,
        payload_bytes: usize,
    ) -> bool {
        self.send_batch(reader, batch);
        // Once for each read of the sender: the receiver reads meanwhile, or it does not.
        if batch.offer_backlog() {
            // guard: a receiver that has read meanwhile is sent the message [skip]
            self.flush(to);
        }
        self.relay_space(to).admits(0, payload_bytes)
    }

    /// Whether a client has taken nothing for the silence limit, with half of its backlog full.
    pub(super) fn is_stuck(&self, slot: Slot) -> bool {
        let Some(connection) = self.table.connection(slot) else { return false };
        let Some(pending) = &connection.pending else { return false };
        let stuck_ms = self.timeouts.now_ms().wrapping_sub(pending.stuck_since_ms);
        // guard: a client that takes nothing of half a backlog is closed [operand 2 false]
        pending.egress.unsent_len() >= self.backlog_bounds().half_bytes
            && stuck_ms >= as_ms(self.setup.limits.silence_limit)
    }

    /// Closes a slow consumer. Frames of which nothing has been sent are dropped, so that the Close
    /// frame can still arrive.
    pub(super) fn close_slow_consumer(&mut self, slot: Slot) {
        if let Some(connection) = self.table.connection_mut(slot)
            && let Some(pending) = connection.pending.as_mut()
        {
            let dropped_bytes = pending.egress.drop_unstarted_frames();
            self.counters.unsent_bytes.sub(dropped_bytes as i64);
            connection.free_idle_pending();
        }
        self.close(slot, CloseCode::Again, EndReason::SlowConsumer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(max_message_bytes: usize, max_unsent_bytes: usize) -> BacklogBounds {
        BacklogBounds::new(&Limits { max_message_bytes, max_unsent_bytes, ..Limits::default() })
    }

    #[test]
    fn admits_messages_below_half_of_the_bound_that_fit() {
        let bounds = bounds(65_536, 262_144);
        let space = |unsent_bytes| RelaySpace::behind(unsent_bytes, bounds);
        assert!(space(0).admits(131_071, 65_536) && !space(0).admits(131_072, 0));
        assert!(space(131_071).admits(0, 65_536) && !space(131_072).admits(0, 0));
        assert!(!space(131_000).admits(72, 0), "collected messages count");
    }

    #[test]
    fn admits_every_message_for_an_empty_backlog_and_keeps_space_for_the_server() {
        for (message_bytes, unsent_bytes) in
            [(1024, 4096), (4086, 4096), (65_536, 65_546), (65_536, 70_000), (65_536, 262_144)]
        {
            let bounds = bounds(message_bytes, unsent_bytes);
            let space = RelaySpace::behind(0, bounds);
            assert!(space.admits(0, message_bytes), "{bounds:?}");
            let most = (0..=bounds.most_bytes)
                .filter(|collected| space.admits(*collected, message_bytes))
                .max();
            let most = most.unwrap_or(0) + message_bytes + SERVER_HEADER_BYTES;
            assert!(most + OWN_MESSAGES_BYTES <= bounds.most_bytes, "{bounds:?}");
            assert!(bounds.most_bytes <= unsent_bytes.max(message_bytes + 10 + 1024));
        }
    }
}
