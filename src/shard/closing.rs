//! How a connection ends. Pure.
//!
//! [`Core::close`] sends a Close frame and lets the connection linger until it has arrived;
//! [`Core::reap`] removes connections that are marked for close. While the input of one
//! connection is handled, others are only marked, so nothing recurses from one connection into
//! another.

use super::core::Core;
use super::entry::{LastResponse, LingerEnd, LingerState, Role};
use super::host::Host;
use super::replies::Replies;
use super::timeouts::as_ms;
use crate::ids::{ConnectionKey, Slot};
use crate::limits;
use crate::telemetry::labels::EndReason;
use crate::wire::egress::EgressContent;
use crate::wire::websocket::frame::{self, CLOSE};
use tungstenite::protocol::frame::coding::CloseCode;

impl<H: Host> Core<H> {
    /// Closes a WebSocket connection with a Close frame. If the connection is the one that is being
    /// handled, it must have no [`Replies`]: they would be sent behind the Close frame.
    pub(super) fn close(&mut self, slot: Slot, code: CloseCode, reason: EndReason) {
        self.close_with(slot, Some(code.into()), reason);
    }

    /// The same with any code, or none.
    pub(super) fn close_with(&mut self, slot: Slot, code: Option<u16>, reason: EndReason) {
        self.end_or_keep_session(slot, reason);
        self.linger(slot, reason);
        let mut bytes = Vec::new();
        frame::push_server_frame(&mut bytes, CLOSE, close_payload(&code.map(u16::to_be_bytes)));
        self.send_close_frame(slot, &bytes);
        self.half_close_when_sent(slot);
    }

    /// Closes the connection that is being handled with a Close frame behind its replies.
    pub(super) fn close_behind(
        &mut self,
        replies: &mut Replies,
        code: CloseCode,
        reason: EndReason,
    ) {
        let slot = replies.slot();
        // guard: a Close frame fits behind the collected replies [false]
        if !self.has_space_behind(replies) {
            // If replies have to be dropped, the connection ends as a slow consumer.
            self.send_replies(replies);
            if !self.table.is_marked_for_close(slot) {
                self.close(slot, code, reason);
            }
            return;
        }
        self.end_or_keep_session(slot, reason);
        self.linger(slot, reason);
        let code = u16::from(code).to_be_bytes();
        replies.push_frame(CLOSE, &code);
        self.send_replies(replies);
        self.half_close_when_sent(slot);
    }

    /// Whether a Close frame behind the replies is within the limit on unsent bytes, even if the
    /// kernel takes nothing.
    fn has_space_behind(&self, replies: &Replies) -> bool {
        const CLOSE_FRAME_BYTES: usize = 4;
        let connection = self.table.connection(replies.slot());
        let unsent_bytes = connection.map_or(0, |connection| connection.unsent_bytes());
        let total = unsent_bytes + replies.bytes().len() + CLOSE_FRAME_BYTES;
        total <= self.backlog_bounds().most_bytes
    }

    /// Sends a Close frame. If bytes are unsent, the frame is queued behind them, even if the backlog
    /// then exceeds its limit.
    fn send_close_frame(&mut self, slot: Slot, bytes: &[u8]) {
        let Some(connection) = self.table.connection(slot) else { return };
        if !connection.has_unsent() || connection.is_held_back() {
            return self.transmit(slot, bytes, EgressContent::Frames);
        }
        self.append(slot, bytes);
    }

    /// After this call nothing more is sent on the connection, and input is dropped. A session that
    /// was attached to it has ended.
    pub(super) fn linger(&mut self, slot: Slot, reason: EndReason) {
        let response = self.last_response(slot);
        let now_ms = self.timeouts.now_ms();
        let Some(entry) = self.table.get_mut(slot) else { return };
        let Some(connection) = entry.connection.as_mut() else { return };
        self.counters.held_bytes.sub(connection.held_bytes() as i64);
        connection.drop_input();
        entry.role = Role::Lingering(LingerState {
            is_admin: entry.role.is_admin(),
            is_counted: true,
            since_ms: now_ms,
            response,
            bytes_left: limits::LINGER_BYTES,
            reason,
            until: LingerEnd::PeerEnds,
        });
    }

    /// The last response of a connection that is about to linger, if its client may take it slowly.
    fn last_response(&self, slot: Slot) -> Option<LastResponse> {
        let Role::Http(http) = &self.table[slot].role else { return None };
        // A connection above a limit takes one of few slots, so it is not kept for long.
        // guard: a connection above a limit is not kept for a slow client [false]
        if http.refusal.is_some() {
            return None;
        }
        let begun_ms = self.timeouts.now_ms();
        Some(LastResponse { begun_ms, owed_bytes: self.owed_bytes(slot) })
    }

    /// Bytes that were sent, or wait to be sent, and that the client has not acknowledged.
    pub(super) fn owed_bytes(&self, slot: Slot) -> u32 {
        let Some(connection) = self.table.connection(slot) else { return 0 };
        let owed = connection.unsent_bytes() + self.host.unacknowledged_bytes(&connection.socket);
        u32::try_from(owed).unwrap_or(u32::MAX)
    }

    /// Ends a connection on which nothing more is to be done: at once, or if its client still has to
    /// acknowledge something, when it has. A session that was attached to it ends at once.
    pub(super) fn end_when_acknowledged(
        &mut self,
        slot: Slot,
        reason: EndReason,
        until: LingerEnd,
    ) {
        // guard: what was sent has time to arrive [false]
        if self.owed_bytes(slot) > 0 {
            self.end_or_keep_session(slot, reason);
            if !matches!(self.table[slot].role, Role::Lingering(_)) {
                self.linger(slot, reason);
            }
            if let Some(entry) = self.table.get_mut(slot)
                && let Role::Lingering(lingering) = &mut entry.role
            {
                lingering.until = until;
            }
            return self.half_close_when_sent(slot);
        }
        self.table.mark_slot_for_close(slot, reason);
    }

    /// Ends a connection that lingers, if it is time. Called by the sweep.
    pub(super) fn end_linger_if_due(&mut self, key: ConnectionKey) {
        let owed_bytes = self.owed_bytes(key.slot);
        let now_ms = self.timeouts.now_ms();
        let close_timeout_ms = as_ms(self.setup.limits.close_timeout);
        let Role::Lingering(lingering) = &mut self.table[key.slot].role else { return };
        let mut is_too_long = false;
        if let Some(response) = &mut lingering.response {
            // guard: a client that takes its last response has time for it [false]
            if owed_bytes < response.owed_bytes {
                response.owed_bytes = owed_bytes;
                lingering.since_ms = now_ms;
            }
            // guard: the time for the last response is bounded [false]
            is_too_long = now_ms.wrapping_sub(response.begun_ms)
                >= close_timeout_ms.saturating_mul(limits::RESPONSE_CLOSE_TIMEOUTS);
        }
        let passed_ms = now_ms.wrapping_sub(lingering.since_ms);
        let (reason, until) = (lingering.reason, lingering.until);
        // guard: the close timeout closes a connection [false]
        if is_too_long || passed_ms >= close_timeout_ms {
            self.counters.close_timeouts.increment();
            self.table.mark_for_close(key, reason);
        } else if until == LingerEnd::Acknowledged && owed_bytes == 0 {
            self.table.mark_for_close(key, reason);
        }
    }

    /// Half-closes a connection that lingers, unless bytes have to be sent first.
    pub(super) fn half_close_when_sent(&mut self, slot: Slot) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        let Some(connection) = entry.connection.as_mut() else { return };
        // guard: unsent bytes are sent before a half-close [operand 2 true]
        if matches!(entry.role, Role::Lingering(_)) && !connection.has_unsent() {
            self.host.shut_write(&mut connection.socket);
        }
    }

    /// Removes the connections that are marked for close, and those that are marked meanwhile.
    pub(super) fn reap(&mut self) {
        while let Some((key, reason)) = self.table.next_marked() {
            let is_session = self.table.session(key.slot).is_some();
            if reason == EndReason::SlowConsumer && is_session {
                self.close(key.slot, CloseCode::Again, reason);
                continue;
            }
            self.close_connection(key.slot, reason);
            self.end_or_keep_session(key.slot, reason);
            let removed = self.table.remove(key.slot);
            if matches!(removed.role, Role::Lingering(LingerState { is_counted: false, .. })) {
                self.sessions.suspects.evicted -= 1;
            } else if !removed.role.is_admin() {
                // An administration connection was not counted when it was admitted.
                self.host.connection_ended(removed.side.counted_address);
            }
        }
    }

    /// Takes the connection out of its entry, closes and counts it. A session in the entry is
    /// detached then. The entry still counts for the client's address, as long as it exists.
    fn close_connection(&mut self, slot: Slot, reason: EndReason) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        let Some(connection) = entry.connection.take() else { return };
        self.counters.held_bytes.sub(connection.held_bytes() as i64);
        self.counters.unsent_bytes.sub(connection.unsent_bytes() as i64);
        self.counters.connections.decrement();
        self.counters.closed.increment(match entry.role {
            Role::Lingering(lingering) => lingering.reason,
            Role::Http(_) | Role::Session(_) | Role::Echo => reason,
        });
        // guard: nothing that is unacknowledged stays in the kernel [false]
        if self.host.unacknowledged_bytes(&connection.socket) > 0 {
            self.counters.unacknowledged_resets.increment();
            return self.host.reset(connection.socket);
        }
        match entry.role.is_admin() {
            true => self.host.release(connection.socket),
            false => self.host.close(connection.socket),
        }
    }
}

fn close_payload(code: &Option<[u8; 2]>) -> &[u8] {
    code.as_ref().map_or(&[], |code| code)
}
