//! Reading: how often a connection is read, and which code handles its bytes. Pure.

use super::core::Core;
use super::entry::{LingerEnd, Role};
use super::host::{Host, RecvOutcome};
use super::replies::Replies;
use crate::ids::{ConnectionKey, Slot};
use crate::limits;
use crate::telemetry::labels::EndReason;
use crate::wire::http::HeadScan;

impl<H: Host> Core<H> {
    /// Reads a connection until nothing is left or its share of the iteration is used up: one read
    /// of `share` bytes, or `READS_PER_ITERATION` shorter ones. With `read_on`, a short read does
    /// not mean that the socket is empty (see [`super::core::Readiness`]). Returns the number of
    /// bytes that were read.
    pub(super) fn read(&mut self, key: ConnectionKey, share: usize, read_on: bool) -> usize {
        let mut buffers = self.reads.take_buffers();
        let mut replies = Replies::new(key.slot, std::mem::take(&mut buffers.replies));
        let (mut reads, mut bytes) = (0, 0);
        let is_drained = loop {
            if reads == limits::READS_PER_ITERATION {
                break false;
            }
            reads += 1;
            let count = self.read_once(key, &mut buffers.receive[..share], &mut replies);
            bytes += count.unwrap_or(0);
            match count {
                // guard: a read that fills the share is the last of its iteration [skip]
                Some(count) if count == share => break false,
                Some(_) if read_on => {}
                Some(_) | None => break true,
            }
        };
        if !is_drained {
            self.reads.defer(key);
        }
        debug_assert!(replies.is_empty(), "replies were not sent");
        buffers.replies = replies.into_storage();
        self.reads.give_back(buffers);
        bytes
    }

    /// Reads a connection of the run list again. Returns its cost in bytes: a session's
    /// byte and a request cost more than a byte of an echo, and stored echo input costs as much as
    /// a whole buffer.
    pub(super) fn read_deferred(&mut self, key: ConnectionKey, share: usize) -> usize {
        let (stored, byte_cost) = match self.table.get(key.slot) {
            Some(entry) => match entry.role {
                Role::Session(_) => (0, limits::SESSION_BYTE_COST_BYTES),
                Role::Echo if entry.has_backlog() => (limits::RECEIVE_BUFFER_BYTES, 1),
                Role::Http(_) | Role::Echo | Role::Lingering(_) => (0, 1),
            },
            None => (0, 1),
        };
        let before = self.counters.http_requests.get();
        let read = self.read(key, share, true);
        let answered = (self.counters.http_requests.get() - before) as usize;
        read * byte_cost + stored + answered * limits::REQUEST_COST_BYTES
    }

    /// Reads once and handles what came. `None`: there is nothing to read at present.
    #[inline]
    fn read_once(
        &mut self,
        key: ConnectionKey,
        buffer: &mut [u8],
        replies: &mut Replies,
    ) -> Option<usize> {
        if self.table.is_marked_for_close(key.slot) {
            return None;
        }
        let mut entry = self.table.find_mut(key)?;
        if is_read_behind_replies(&entry.role) {
            if !self.is_ready_for_more(replies) {
                return None;
            }
            entry = &mut self.table[key.slot];
        }
        let connection = entry.connection.as_mut()?;
        match self.host.recv(&mut connection.socket, buffer) {
            RecvOutcome::Bytes(count) => {
                connection.heard_ms = self.timeouts.now_ms();
                self.counters.wire_bytes_received.add(count as u64);
                self.handle_input(&mut buffer[..count], replies);
                Some(count)
            }
            RecvOutcome::WouldBlock => None,
            RecvOutcome::End => {
                self.handle_end_of_input(key);
                None
            }
            RecvOutcome::Broken => {
                self.table.mark_for_close(key, EndReason::ClientGone);
                None
            }
        }
    }

    /// Whether a connection that is read behind its replies may be read. Stored input is handled
    /// first, so at most one read's worth of it is ever stored.
    fn is_ready_for_more(&mut self, replies: &mut Replies) -> bool {
        let slot = replies.slot();
        if self.table[slot].has_unsent() {
            return false;
        }
        if self.table[slot].has_backlog() {
            self.handle_input(&mut [], replies);
        }
        let entry = &self.table[slot];
        // The reply to stored input may be unsent as well, or the connection may be a session
        // now.
        // guard: requests behind an unsent response are not read [false]
        let waits = is_read_behind_replies(&entry.role) && entry.has_unsent();
        !waits && !entry.has_backlog() && !self.table.is_marked_for_close(slot)
    }

    /// The peer sends nothing more.
    fn handle_end_of_input(&mut self, key: ConnectionKey) {
        let slot = key.slot;
        let entry = &self.table[slot];
        match entry.role {
            // The client may wait for its replies. When they are sent, the end is read again.
            Role::Http(_) | Role::Echo | Role::Lingering(_) if entry.has_unsent() => {}
            Role::Http(_) => {
                self.end_when_acknowledged(slot, EndReason::HttpDone, LingerEnd::Acknowledged)
            }
            Role::Session(_) | Role::Echo | Role::Lingering(_) => {
                self.release_held_back(slot);
                self.end_when_acknowledged(slot, EndReason::ClientGone, LingerEnd::Acknowledged);
            }
        }
    }

    /// Handles input of a connection, in whatever role it is.
    fn handle_input(&mut self, bytes: &mut [u8], replies: &mut Replies) {
        let slot = replies.slot();
        match &mut self.table[slot].role {
            Role::Session(_) => self.handle_frames(bytes, replies),
            Role::Http(_) => self.handle_requests(bytes, replies),
            Role::Echo => {
                let (mut stored, _) = self.take_stored(slot);
                if stored.is_empty() {
                    self.handle_echo(replies, bytes);
                } else {
                    stored.extend_from_slice(bytes);
                    self.handle_echo(replies, &mut stored);
                }
            }
            Role::Lingering(lingering) => {
                lingering.bytes_left = lingering.bytes_left.saturating_sub(bytes.len() as u32);
                // guard: bytes after a Close frame are bounded [false]
                if lingering.bytes_left == 0 {
                    let reason = lingering.reason;
                    self.table.mark_slot_for_close(slot, reason);
                }
            }
        }
    }

    /// Takes stored input, and how far it has been scanned.
    pub(super) fn take_stored(&mut self, slot: Slot) -> (Vec<u8>, HeadScan) {
        let Some(connection) = self.table.connection_mut(slot) else { return Default::default() };
        let before = connection.held_bytes();
        let taken = connection.pending.as_mut().map_or_else(Default::default, |pending| {
            pending.stored_is_backlog = false;
            (std::mem::take(&mut pending.stored), std::mem::take(&mut pending.scan))
        });
        self.counters.held_bytes.sub((before - connection.held_bytes()) as i64);
        taken
    }

    /// Stores input until the rest of it has come.
    pub(super) fn store(&mut self, slot: Slot, bytes: &[u8], scan: HeadScan) {
        if bytes.is_empty() {
            return;
        }
        let Some(connection) = self.table.connection_mut(slot) else { return };
        let before = connection.held_bytes();
        let pending = connection.pending_mut();
        pending.stored.extend_from_slice(bytes);
        pending.scan = scan;
        self.counters.held_bytes.add((connection.held_bytes() - before) as i64);
    }

    /// Stores input until the replies to what came before it have been sent, or until the
    /// connection's next place in the run list if no replies are unsent.
    pub(super) fn store_backlog(&mut self, slot: Slot, bytes: &[u8]) {
        self.store(slot, bytes, HeadScan::default());
        let Some(connection) = self.table.connection_mut(slot) else { return };
        connection.pending_mut().stored_is_backlog = true;
        if !connection.has_unsent()
            && let Some(key) = self.table.key_at(slot)
        {
            self.reads.defer(key);
        }
    }
}

/// Whether a connection is read only when its client has taken all replies. A session is read on:
/// its replies are bounded by the limit on unsent bytes.
#[inline]
fn is_read_behind_replies(role: &Role) -> bool {
    // guard: an echo connection is not read while it has unsent bytes [argument 2 drop term 2]
    matches!(role, Role::Http(_) | Role::Echo)
}
