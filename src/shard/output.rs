//! Sending: the bytes of replies and messages, and what waits until the kernel takes it. Pure.
//!
//! [`Core::transmit`] is the only way for bytes to leave, apart from [`Core::flush`], which sends
//! what had to wait.

use super::core::Core;
use super::entry::Role;
use super::host::{Host, SendOutcome};
use super::replies::Replies;
use crate::ids::{ConnectionKey, Slot};
use crate::limits;
use crate::telemetry::labels::EndReason;
use crate::wire::egress::EgressContent;
use crate::wire::message::MessageRefusal;
use crate::wire::message::server::ServerMessage;
use crate::wire::websocket::frame::push_server_text;

impl<H: Host> Core<H> {
    /// Sends a message to a connection other than the one that is being handled.
    pub(super) fn send_message(&mut self, slot: Slot, message: ServerMessage<'_>) {
        let mut bytes = Vec::with_capacity(limits::SERVER_MESSAGE_BYTES);
        push_server_text(&mut bytes, |out| message.write(out));
        self.transmit(slot, &bytes, EgressContent::Frames);
    }

    /// Refuses a message of the connection that is being handled.
    pub(super) fn refuse(&mut self, replies: &mut Replies, refusal: MessageRefusal) {
        self.counters.errors.increment(refusal.code);
        replies.push_message(ServerMessage::Error(refusal));
    }

    /// Sends bytes: behind what waits already, or at once. What the kernel does not take waits.
    pub(super) fn transmit(&mut self, slot: Slot, bytes: &[u8], content: EgressContent) {
        if self.table.is_marked_for_close(slot) {
            return;
        }
        let Some(connection) = self.table.connection_mut(slot) else { return };
        if connection.has_unsent() {
            return self.transmit_behind(slot, bytes, content);
        }
        match self.host.send(&mut connection.socket, bytes) {
            SendOutcome::Took(count) => {
                self.counters.wire_bytes_sent.add(count as u64);
                if count < bytes.len() {
                    self.keep_unsent(slot, bytes, count, content);
                }
            }
            SendOutcome::Broken => self.table.mark_slot_for_close(slot, EndReason::ClientGone),
        }
    }

    /// Sends bytes to a connection for which others wait already.
    fn transmit_behind(&mut self, slot: Slot, bytes: &[u8], content: EgressContent) {
        if content == EgressContent::Frames {
            let Some(connection) = self.table.connection(slot) else { return };
            let unsent_bytes = connection.unsent_bytes() + bytes.len();
            let fits = unsent_bytes <= self.backlog_bounds().most_bytes;
            // guard: bytes behind a held-back `waiting` are bounded [operand 1 true]
            if fits && connection.is_held_back() {
                self.append(slot, bytes);
                // guard: bytes behind a held-back `waiting` are sent at once [value ()]
                return self.flush(slot);
            }
            // guard: a client that has read meanwhile is not a slow consumer [false]
            if !fits {
                // The client may have read since the kernel last refused bytes. It is a slow
                // consumer only if it has not.
                self.flush(slot);
                if !self.table[slot].has_unsent() {
                    return self.transmit(slot, bytes, content);
                }
            }
        }
        if !self.table.is_marked_for_close(slot) {
            self.keep_unsent(slot, bytes, 0, content);
        }
    }

    /// Keeps bytes until the kernel takes them. It has taken `taken` of them already.
    fn keep_unsent(&mut self, slot: Slot, bytes: &[u8], taken: usize, content: EgressContent) {
        let bounds = self.backlog_bounds();
        let limit_bytes = match content {
            // guard: unsent bytes are bounded [value usize::MAX]
            EgressContent::Frames => bounds.most_bytes,
            // One response at a time, and it is no larger than the largest document.
            EgressContent::Opaque => usize::MAX,
        };
        let now_ms = self.timeouts.now_ms();
        let Some(connection) = self.table.connection_mut(slot) else { return };
        let pending = connection.pending_mut();
        let before_bytes = pending.egress.unsent_len();
        match pending.egress.push(bytes, taken, content, limit_bytes) {
            Ok(()) => {
                pending.note_added(before_bytes, bounds.half_bytes, now_ms);
                self.counters.unsent_bytes.add((bytes.len() - taken) as i64);
            }
            Err(_full) => {
                let egress = &mut pending.egress;
                // A slow consumer. Frames of which nothing has been sent are dropped, so that the
                // Close frame can still be sent; a frame that is partly sent is completed.
                let before = egress.unsent_len();
                if taken > 0 {
                    let pushed = egress.push(bytes, taken, content, usize::MAX);
                    debug_assert_eq!(pushed, Ok(()), "there is no limit");
                }
                egress.drop_unstarted_frames();
                let change = egress.unsent_len() as i64 - before as i64;
                self.counters.unsent_bytes.add(change);
                self.table.mark_slot_for_close(slot, EndReason::SlowConsumer);
            }
        }
    }

    /// Keeps bytes to be sent behind those that wait already. The caller checks the limit.
    pub(super) fn append(&mut self, slot: Slot, bytes: &[u8]) {
        let (half_bytes, now_ms) = (self.backlog_bounds().half_bytes, self.timeouts.now_ms());
        let Some(connection) = self.table.connection_mut(slot) else { return };
        let pending = connection.pending_mut();
        let before_bytes = pending.egress.unsent_len();
        let pushed = pending.egress.push(bytes, 0, EgressContent::Frames, usize::MAX);
        debug_assert_eq!(pushed, Ok(()), "there is no limit");
        pending.note_added(before_bytes, half_bytes, now_ms);
        self.counters.unsent_bytes.add(bytes.len() as i64);
    }

    /// Sends a `waiting` that is held back, if there is one.
    pub(super) fn release_held_back(&mut self, slot: Slot) {
        if self.table[slot].is_held_back() {
            self.flush(slot);
        }
    }

    /// Sends what waits, as far as the kernel takes it.
    pub(super) fn flush(&mut self, slot: Slot) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        let Some(connection) = entry.connection.as_mut() else { return };
        let Some(pending) = connection.pending.as_mut() else { return };
        let waited = !std::mem::take(&mut pending.is_held_back);
        if pending.egress.is_empty() {
            return;
        }
        while !pending.egress.is_empty() {
            let unsent = pending.egress.unsent();
            let length = unsent.len();
            match self.host.send(&mut connection.socket, unsent) {
                SendOutcome::Took(count) => {
                    // guard: a client that reads slowly is not silent [false]
                    if waited && count > 0 {
                        // The kernel has space because the client has read, so the client is
                        // alive although it sends nothing.
                        connection.heard_ms = self.timeouts.now_ms();
                        // guard: a client that takes some of its backlog is not stuck [skip]
                        pending.stuck_since_ms = connection.heard_ms;
                    }
                    pending.egress.mark_sent(count);
                    self.counters.wire_bytes_sent.add(count as u64);
                    self.counters.unsent_bytes.sub(count as i64);
                    if count < length {
                        return;
                    }
                }
                SendOutcome::Broken => {
                    return self.table.mark_slot_for_close(slot, EndReason::ClientGone);
                }
            }
        }
        connection.free_idle_pending();
        match entry.role {
            Role::Session(_) => return,
            Role::Lingering(_) => self.host.shut_write(&mut connection.socket),
            Role::Http(_) | Role::Echo => {}
        }
        // Input that came meanwhile, and the end of it, is unread, and its event is over.
        let serial = entry.serial;
        self.reads.defer(ConnectionKey { slot, serial });
    }

    /// Sends the replies that were collected, with one send.
    pub(super) fn send_replies(&mut self, replies: &mut Replies) {
        if replies.is_empty() {
            return;
        }
        let slot = replies.slot();
        // guard: a lone `waiting` is held back until the matcher answers [false]
        if replies.is_lone_waiting() && !self.table[slot].has_unsent() {
            self.append(slot, replies.bytes());
            if let Some(connection) = self.table.connection_mut(slot) {
                connection.pending_mut().is_held_back = true;
            }
        } else {
            self.transmit(slot, replies.bytes(), replies.content());
        }
        replies.clear();
    }
}
