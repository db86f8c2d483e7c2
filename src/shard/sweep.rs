//! Timeouts that are due: slow request heads, silence, pings, closes that take too long, and the
//! end of a drain. Pure.

use super::core::Core;
use super::entry::Role;
use super::host::Host;
use super::timeouts::{as_ms, is_reached};
use crate::ids::{ConnectionKey, Slot};
use crate::telemetry::labels::EndReason;
use crate::timestamp::Timestamp;
use crate::wire::egress::EgressContent;
use crate::wire::websocket::frame::{PING, push_server_frame};
use tungstenite::protocol::frame::coding::CloseCode;

impl<H: Host> Core<H> {
    /// When [`Core::tick`] is next due; `None` while there are no connections.
    pub fn next_tick(&self) -> Option<Timestamp> {
        if self.table.is_empty() {
            return None;
        }
        self.timeouts.next_sweep().or(Some(self.now))
    }

    /// Sweeps the part of the connections that is due, if one is.
    pub fn tick(&mut self) {
        if self.table.is_empty() {
            self.timeouts.stop_sweeping();
            self.migrations.forget_postponed();
            return;
        }
        self.evict_requested();
        let Some(part) = self.timeouts.begin_part(self.now) else { return };
        self.retry_postponed_pairings();
        if part.is_first() {
            self.table.trim_slots();
        }
        self.begin_finding_suspects(part.index());
        for slot in part.slots(self.table.slots()) {
            if let Some(key) = self.table.key_at(slot) {
                self.enforce_timeouts(key, part.previous_ms);
                self.find_suspect(key);
            }
        }
        self.finish_finding_suspects();
        self.reap();
    }

    /// Does what is due for a connection that was last visited at `previous_ms`.
    pub(super) fn enforce_timeouts(&mut self, key: ConnectionKey, previous_ms: u32) {
        let now_ms = self.timeouts.now_ms();
        let limits = &self.setup.limits;
        let entry = &mut self.table[key.slot];
        let Some(connection) = &entry.connection else { return };
        let silent_ms = now_ms.wrapping_sub(connection.heard_ms);
        match &mut entry.role {
            Role::Http(http) => {
                // A connection above a limit takes one of few slots, so it is not kept for long.
                let is_between_requests =
                    http.has_answered && http.refusal.is_none() && connection.pending.is_none();
                let timeout = match is_between_requests {
                    true => limits.idle_timeout,
                    false => limits.handshake_timeout,
                };
                // guard: the handshake timeout closes a connection [false]
                if now_ms.wrapping_sub(http.since_ms) >= as_ms(timeout) {
                    self.time_out_head(key);
                }
            }
            Role::Lingering(_) => self.end_linger_if_due(key),
            Role::Session(session) => {
                let in_room = session.membership().is_some();
                let passed_ms = now_ms.wrapping_sub(previous_ms);
                if self.is_stuck(key.slot) {
                    return self.close_slow_consumer(key.slot);
                }
                self.enforce_liveness(key, in_room, silent_ms, passed_ms);
            }
            Role::Echo => {
                let passed_ms = now_ms.wrapping_sub(previous_ms);
                self.enforce_liveness(key, false, silent_ms, passed_ms);
            }
        }
    }

    /// The same for a WebSocket connection that has been silent for `silent_ms` and was last
    /// visited `passed_ms` ago.
    fn enforce_liveness(
        &mut self,
        key: ConnectionKey,
        in_room: bool,
        silent_ms: u32,
        passed_ms: u32,
    ) {
        let mut silent_ms = silent_ms;
        if let Some(drain) = self.shutdown.drain()
            && is_reached(self.timeouts.now_ms(), drain.closes_at_ms(key, in_room))
        {
            return self.close(key.slot, CloseCode::Restart, EndReason::Restarting);
        }
        if self.end_overdue_message(key) {
            return;
        }
        let limit_ms = as_ms(self.setup.limits.silence_limit);
        let is_lost = in_room && self.is_lost_member(key.slot, silent_ms);
        if is_lost || silent_ms >= limit_ms || self.is_ping_due(key.slot, silent_ms, passed_ms) {
            silent_ms = self.hear_progress(key.slot, silent_ms);
        }
        // guard: the silence limit closes a connection [false]
        if silent_ms >= limit_ms {
            return self.close(key.slot, CloseCode::Away, EndReason::Silent);
        }
        // guard: a new member that stays silent is closed [false]
        if in_room && self.is_lost_member(key.slot, silent_ms) {
            return self.close(key.slot, CloseCode::Away, EndReason::SilentAfterMatch);
        }
        self.update_match_request(key.slot);
        self.ping_if_due(key.slot, silent_ms, passed_ms);
    }

    /// Pings a connection that has been silent for `silent_ms`, if a ping fell due within the
    /// last `passed_ms`.
    pub(super) fn ping_if_due(&mut self, slot: Slot, silent_ms: u32, passed_ms: u32) {
        if self.is_ping_due(slot, silent_ms, passed_ms) {
            self.ping(slot);
        }
    }

    fn is_ping_due(&self, slot: Slot, silent_ms: u32, passed_ms: u32) -> bool {
        let interval_ms = self.ping_interval_ms(slot);
        silent_ms / interval_ms > silent_ms.saturating_sub(passed_ms) / interval_ms
    }

    pub(super) fn ping(&mut self, slot: Slot) {
        let Some(connection) = self.table.connection(slot) else { return };
        // A client that does not take what it is sent would not read a ping either.
        // guard: a connection with a held-back `waiting` is pinged [operand 2 false]
        if !connection.has_unsent() || connection.is_held_back() {
            let mut bytes = Vec::new();
            push_server_frame(&mut bytes, PING, b"");
            self.counters.pings_sent.increment();
            self.transmit(slot, &bytes, EgressContent::Frames);
        }
    }
}
