//! Everything that leaves a connection, and how a connection ends. Pure.
//!
//! There is one way to write ([`Core::write`]), one to close politely ([`Core::close`]), and
//! one to end ([`Core::reap`]).

use super::connection::{Connection, Lingering, Role};
use super::core::{Answers, Core};
use super::host::{Host, Sent};
use crate::ids::{ConnectionKey, Slot};
use crate::limits;
use crate::telemetry::labels::EndReason;
use crate::wire::egress::EgressContent;
use crate::wire::message::ErrorCode;
use crate::wire::message::server::{LeaveReason, ServerMessage};
use crate::wire::websocket::frame::{self, push_server_text};
use tungstenite::protocol::frame::coding::CloseCode;

impl<H: Host> Core<H> {
    /// Writes a message to a connection.
    pub(super) fn say(&mut self, slot: Slot, message: ServerMessage<'_>) {
        if self.current == Some(slot) {
            push_server_text(&mut self.answers.bytes, |out| message.write(out));
            return;
        }
        let mut bytes = Vec::new();
        push_server_text(&mut bytes, |out| message.write(out));
        self.transmit(slot, &bytes, EgressContent::Frames);
    }

    /// Refuses a message.
    pub(super) fn refuse(&mut self, slot: Slot, code: ErrorCode) {
        self.counters.errors.increment(code);
        self.say(slot, ServerMessage::Error(code));
    }

    /// Writes whole frames to a connection: after what waits for it already, or at once.
    #[inline]
    pub(super) fn write(&mut self, slot: Slot, frames: &[u8]) {
        if self.current == Some(slot) {
            self.answers.bytes.extend_from_slice(frames);
        } else {
            self.transmit(slot, frames, EgressContent::Frames);
        }
    }

    /// Sends, and keeps what the kernel does not take.
    pub(super) fn transmit(&mut self, slot: Slot, bytes: &[u8], framing: EgressContent) {
        if !self.marked_for_close.is_empty() && self.is_marked_for_close(slot) {
            return;
        }
        let Some(connection) = self.connections.get(slot.index()) else { return };
        if connection.has_unsent() && framing == EgressContent::Frames {
            let unsent = connection.unsent_bytes() + bytes.len();
            let fits = unsent <= self.setup.limits.max_unsent_bytes;
            // guard: bytes behind a held-back `waiting` are bounded [operand 1 true]
            if fits && connection.is_held_back() {
                self.append(slot, bytes);
                // guard: bytes behind a held-back `waiting` are sent at once [value ()]
                return self.flush(slot);
            }
            // guard: a client that has read meanwhile is not a slow consumer [false]
            if !fits {
                // Its client may have read since the kernel last refused: slow is who has not.
                self.flush(slot);
                if self.is_marked_for_close(slot) {
                    return;
                }
            }
        }
        let Some(connection) = self.connections.get_mut(slot.index()) else { return };
        let mut taken = 0;
        if !connection.has_unsent() {
            match self.host.send(&mut connection.socket, bytes) {
                Sent::Took(count) => {
                    self.counters.wire_bytes_sent.add(count as u64);
                    if count == bytes.len() {
                        return;
                    }
                    taken = count;
                }
                Sent::Broken => return self.mark_slot_for_close(slot, EndReason::ClientGone),
            }
        }
        let limit = match framing {
            // guard: unsent bytes are bounded [value usize::MAX]
            EgressContent::Frames => self.setup.limits.max_unsent_bytes,
            // One answer at a time, and no larger than the largest document.
            EgressContent::Opaque => usize::MAX,
        };
        let egress = &mut connection.extra().egress;
        match egress.push(bytes, taken, framing, limit) {
            Ok(()) => self.counters.unsent_bytes.add((bytes.len() - taken) as i64),
            Err(_full) => {
                // A slow consumer. What it has not begun to read is dropped, so that it can
                // still be told why it is closed; a frame that it has a part of is completed.
                let before = egress.unsent_len();
                if taken > 0 {
                    let pushed = egress.push(bytes, taken, framing, usize::MAX);
                    debug_assert_eq!(pushed, Ok(()), "there is no bound");
                }
                egress.drop_unstarted_frames();
                let change = egress.unsent_len() as i64 - before as i64;
                self.counters.unsent_bytes.add(change);
                self.mark_slot_for_close(slot, EndReason::SlowConsumer);
            }
        }
    }

    /// Keeps bytes to be sent after those that wait already. The caller sees to the bound.
    fn append(&mut self, slot: Slot, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(slot.index()) else { return };
        let pushed = connection.extra().egress.push(bytes, 0, EgressContent::Frames, usize::MAX);
        debug_assert_eq!(pushed, Ok(()), "there is no bound");
        self.counters.unsent_bytes.add(bytes.len() as i64);
    }

    /// Sends a `waiting` that was held back, if it still is.
    pub(super) fn stop_holding_back(&mut self, slot: Slot) {
        if self.connections[slot.index()].is_held_back() {
            self.flush(slot);
        }
    }

    /// The kernel takes bytes, or takes them again.
    pub(super) fn flush(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(slot.index()) else { return };
        let Some(extra) = connection.extra.as_mut() else { return };
        let waited = !std::mem::take(&mut extra.held_back);
        if extra.egress.is_empty() {
            return;
        }
        while !extra.egress.is_empty() {
            let unsent = extra.egress.unsent();
            let all = unsent.len();
            match self.host.send(&mut connection.socket, unsent) {
                Sent::Took(count) => {
                    // guard: a client that reads slowly is not silent [false]
                    if waited && count > 0 {
                        // There is room because the client has taken what went before. That it
                        // reads shows that it is alive, though it says nothing.
                        connection.heard_ms = self.clock.ms();
                    }
                    extra.egress.mark_sent(count);
                    self.counters.wire_bytes_sent.add(count as u64);
                    self.counters.unsent_bytes.sub(count as i64);
                    if count < all {
                        return;
                    }
                }
                Sent::Broken => return self.mark_slot_for_close(slot, EndReason::ClientGone),
            }
        }
        connection.trim();
        match connection.role {
            Role::User(_) => return,
            Role::Lingering(_) => self.host.shut_write(&mut connection.socket),
            Role::Http(_) | Role::Echo => {}
        }
        // What came meanwhile is unread, the end included: its event is long past.
        let serial = connection.serial;
        self.go_on_later(ConnectionKey { slot, serial });
    }

    /// Sends the answers that were collected for the current connection, as one.
    pub(super) fn send_answers(&mut self) {
        let Some(slot) = self.current.take() else { return };
        if self.answers.bytes.is_empty() {
            return;
        }
        let mut answers = std::mem::take(&mut self.answers);
        let framing = if answers.opaque { EgressContent::Opaque } else { EgressContent::Frames };
        let is_lone_waiting = answers.bytes.len() == answers.lone_waiting;
        // guard: a lone `waiting` is held back until the matcher answers [false]
        if is_lone_waiting && !self.connections[slot.index()].has_unsent() {
            self.append(slot, &answers.bytes);
            self.connections[slot.index()].extra().held_back = true;
        } else {
            self.transmit(slot, &answers.bytes, framing);
        }
        answers.bytes.clear();
        // One large document must not be paid for ever after.
        answers.bytes.shrink_to(limits::RECEIVE_BUFFER_BYTES);
        self.answers = Answers { bytes: answers.bytes, ..Answers::default() };
    }

    /// Ends a user's connection with a Close frame: the partner hears of it now, the client
    /// can still read why.
    pub(super) fn close(&mut self, slot: Slot, code: CloseCode, reason: EndReason) {
        self.close_with(slot, Some(code.into()), reason);
    }

    /// The same with any code, or none.
    pub(super) fn close_with(&mut self, slot: Slot, code: Option<u16>, reason: EndReason) {
        let mut bytes = Vec::new();
        let code = code.map(u16::to_be_bytes);
        let payload = code.as_ref().map_or(&[][..], |code| code);
        frame::push_server_frame(&mut bytes, frame::CLOSE, payload);
        // guard: a Close frame fits behind the collected replies [false]
        if self.current == Some(slot) && !self.has_room_for(slot, bytes.len()) {
            // Where answers have to be dropped, that is what the connection ends of.
            self.send_answers();
            if self.is_marked_for_close(slot) {
                return;
            }
        }
        self.end_session(slot, LeaveReason::Disconnected);
        self.linger(slot, reason);
        if self.current == Some(slot) {
            self.answers.bytes.extend_from_slice(&bytes);
            self.send_answers();
        } else {
            self.push_close(slot, &bytes);
        }
        self.shut_when_sent(slot);
    }

    /// Whether so many bytes more than the answers collected for the current connection are
    /// within the bound, even if the kernel takes nothing.
    fn has_room_for(&self, slot: Slot, more: usize) -> bool {
        let unsent = self.connections.get(slot.index()).map_or(0, Connection::unsent_bytes);
        unsent + self.answers.bytes.len() + more <= self.setup.limits.max_unsent_bytes
    }

    /// Sends a Close frame; if bytes wait to be sent, behind them and beyond the bound.
    fn push_close(&mut self, slot: Slot, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(slot.index()) else { return };
        if !connection.has_unsent() || connection.is_held_back() {
            return self.transmit(slot, bytes, EgressContent::Frames);
        }
        self.append(slot, bytes);
    }

    /// From here on nothing more is said on the connection, and what comes is dropped. The
    /// session, if there was one, has ended.
    pub(super) fn linger(&mut self, slot: Slot, reason: EndReason) {
        let Some(connection) = self.connections.get_mut(slot.index()) else { return };
        drop_incoming(connection, &self.counters.held_bytes);
        connection.role = Role::Lingering(Lingering {
            admin: connection.is_admin(),
            since_ms: self.clock.ms(),
            bytes_left: limits::LINGER_BYTES,
            reason,
        });
    }

    /// Half-closes a connection that lingers, unless bytes still wait to be sent first.
    pub(super) fn shut_when_sent(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(slot.index()) else { return };
        // guard: unsent bytes are sent before a half-close [operand 2 true]
        if matches!(connection.role, Role::Lingering(_)) && !connection.has_unsent() {
            self.host.shut_write(&mut connection.socket);
        }
    }

    /// The connection is to be ended as soon as the one being served has been.
    pub(super) fn mark_for_close(&mut self, key: ConnectionKey, reason: EndReason) {
        self.marked_for_close.push((key, reason));
    }

    pub(super) fn mark_slot_for_close(&mut self, slot: Slot, reason: EndReason) {
        if let Some(key) = self.key_at(slot.index()) {
            self.mark_for_close(key, reason);
        }
    }

    pub(super) fn is_marked_for_close(&self, slot: Slot) -> bool {
        self.marked_for_close.iter().any(|(key, _)| key.slot == slot)
    }

    /// Ends the connections that are marked_for_close, and those that break because of it.
    pub(super) fn reap(&mut self) {
        while let Some((key, reason)) = self.marked_for_close.pop() {
            if !self.is_current(key) {
                continue;
            }
            let role = &self.connections[key.slot.index()].role;
            if reason == EndReason::SlowConsumer && matches!(role, Role::User(_)) {
                self.close(key.slot, CloseCode::Again, reason);
                continue;
            }
            self.end_session(key.slot, LeaveReason::Disconnected);
            let mut connection = self.connections.remove(key.slot.index());
            let admin = connection.is_admin();
            let reason = match connection.role {
                Role::Lingering(lingering) => lingering.reason,
                Role::Http(_) | Role::User(_) | Role::Echo => reason,
            };
            drop_incoming(&mut connection, &self.counters.held_bytes);
            self.counters.unsent_bytes.sub(connection.unsent_bytes() as i64);
            self.counters.connections.decrement();
            self.counters.closed.increment(reason);
            let address = connection.address.and_then(|address| self.drop_address(address));
            if admin {
                self.admin_connections -= 1;
                self.host.release(connection.socket);
            } else {
                self.host.close(connection.socket, address);
            }
        }
    }
}

/// Gives back what was kept of incomplete messages and heads.
fn drop_incoming<S>(connection: &mut Connection<S>, held_bytes: &crate::telemetry::counter::Gauge) {
    held_bytes.sub(connection.held_bytes() as i64);
    if let Some(extra) = connection.extra.as_mut() {
        extra.held = None;
        extra.head = Vec::new();
    }
    connection.trim();
}
