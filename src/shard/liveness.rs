//! Sessions whose client has been silent for the liveness window. Pure.
//!
//! The match request of a waiting session is withheld while its client is silent: the matcher has
//! no ticket of it, so it is not matched, and its queue holds no ticket that cannot be paired. The
//! sweep finds silent sessions; a pairing checks both of its sessions once more. The client of a
//! waiting session is pinged twice in a window, so that a client that answers is never silent.
//!
//! The members of a new room are pinged when they are matched, and then likewise until they relay
//! something. One that stays silent for two windows before that is lost: it is closed, and its
//! partner need not wait for the silence limit.

use super::core::Core;
use super::entry::{Role, TableEntry};
use super::host::Host;
use super::timeouts::as_ms;
use crate::ids::Slot;
use crate::limits::{LIVENESS_PINGS_BYTES, PROGRESS_AGE_PRECISION_MS};
use crate::wire::websocket::frame::{PING, push_server_frame};

impl<H: Host> Core<H> {
    /// The liveness window in milliseconds; `None` if it is off.
    pub(super) fn liveness_window_ms(&self) -> Option<u32> {
        let window = self.setup.limits.liveness_window;
        (!window.is_zero()).then(|| as_ms(window))
    }

    /// The silence after which the client in this slot is pinged, in milliseconds; at least 1.
    pub(super) fn ping_interval_ms(&self, slot: Slot) -> u32 {
        let interval_ms = as_ms(self.setup.limits.ping_interval);
        let is_watched = self.table.session(slot).is_some_and(|session| session.is_watched());
        match self.liveness_window_ms() {
            // guard: a waiting client is pinged twice in a window [false]
            Some(window_ms) if is_watched => interval_ms.min(window_ms / 2),
            Some(_) | None => interval_ms,
        }
        .max(1)
    }

    /// Whether the session in this slot is lost: its client was pinged when it was matched, has
    /// relayed nothing in its room, and has been silent for `silent_ms`, two windows or more.
    pub(super) fn is_lost_member(&self, slot: Slot, silent_ms: u32) -> bool {
        self.liveness_window_ms().is_some_and(|window_ms| silent_ms / 2 >= window_ms)
            && self.table.session(slot).is_some_and(|session| session.is_new_member())
    }

    /// How long the client in this slot has been silent, in milliseconds: `silent_ms`, or less if
    /// it still takes bytes that were sent before its pings. It cannot answer them any sooner.
    pub(super) fn hear_progress(&mut self, slot: Slot, silent_ms: u32) -> u32 {
        let Some(connection) = self.table.connection_mut(slot) else { return silent_ms };
        // guard: a client that takes what was sent before its pings is not silent [value None]
        let age = self.host.progress_age(&connection.socket, LIVENESS_PINGS_BYTES);
        let Some(age) = age else { return silent_ms };
        if as_ms(age) + PROGRESS_AGE_PRECISION_MS >= silent_ms {
            return silent_ms;
        }
        let silent_ms = as_ms(age);
        connection.heard_ms = self.timeouts.now_ms().wrapping_sub(silent_ms);
        silent_ms
    }

    /// The session in this slot has relayed a message.
    #[inline]
    pub(super) fn note_relayed(&mut self, slot: Slot) {
        if let Some(session) = self.table.session_mut(slot) {
            // guard: a member that has relayed is under the silence limit only [skip]
            session.note_relayed();
        }
    }

    /// Adds the ping that a client gets with its `match_found`.
    pub(super) fn push_match_ping(&self, bytes: &mut Vec<u8>) {
        // guard: both members are pinged when they are matched [false]
        if self.liveness_window_ms().is_some() {
            self.counters.pings_sent.increment();
            push_server_frame(bytes, PING, b"");
        }
    }

    /// Withholds the match request of a waiting session if its client has been silent for the
    /// window, and queues it again if the client no longer is.
    pub(super) fn update_match_request(&mut self, slot: Slot) {
        let Some(window_ms) = self.liveness_window_ms() else { return };
        let now_ms = self.timeouts.now_ms();
        let Some(entry) = self.table.get_mut(slot) else { return };
        let TableEntry { connection: Some(connection), role: Role::Session(session), .. } = entry
        else {
            return;
        };
        // guard: a silent session is not matched [true]
        if now_ms.wrapping_sub(connection.heard_ms) < window_ms {
            self.release_match_request(slot);
        } else if session.withhold() {
            self.counters.match_requests_withheld.increment();
            self.update_matcher(slot);
        }
    }

    /// Queues a match request that was withheld again: the client is no longer silent.
    #[inline]
    pub(super) fn release_match_request(&mut self, slot: Slot) {
        if self.table.session(slot).is_some_and(|session| session.is_withheld()) {
            self.queue_again(slot);
        }
    }

    #[cold]
    fn queue_again(&mut self, slot: Slot) {
        if self.shutdown.is_draining() {
            return;
        }
        let ticket = self.sessions.next_ticket();
        if let Some(session) = self.table.session_mut(slot) {
            session.release(ticket);
        }
        // guard: a session that is no longer silent is queued again [skip]
        self.update_matcher(slot);
    }
}
