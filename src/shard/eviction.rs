//! What a shard does when a limit on connections is reached: idle HTTP connections make space for the
//! next connection, and if there are none, the session whose client has been silent longest and owes
//! an answer to a ping. Pure.
//!
//! A refusal asks [`super::host::Services`] which shards have such connections, and sends them
//! commands. If the shard itself is full, it asks no other. It never looks through the table: the
//! sweep has listed the [`super::suspects`].

use super::core::Core;
use super::entry::{ClientSource, LingerState, Role};
use super::host::Host;
use super::suspects::Suspect;
use super::timeouts::as_ms;
use crate::access::eviction::{EvictionCandidate, TakenCandidates};
use crate::commands::{EvictionRequest, EvictionScope, ShardCommand};
use crate::ids::{ConnectionKey, ShardId, Slot};
use crate::limits::{IDLE_EVICTIONS_PER_REFUSAL, LINGERING_EVICTIONS, RECEIVE_BUFFER_BYTES};
use crate::telemetry::labels::EndReason;
use crate::timestamp::Timestamp;
use crate::wire::http::RefusalCause;
use std::net::IpAddr;
use std::time::Duration;
use tungstenite::protocol::frame::coding::CloseCode;

impl<H: Host> Core<H> {
    /// A connection was refused. If a limit is the cause, others make space for its next attempt.
    /// `address` is that of the client, if it is known.
    pub fn make_space(&mut self, cause: RefusalCause, address: Option<IpAddr>) {
        let scope = match (cause, address) {
            (RefusalCause::Connections, _) => EvictionScope::AllConnections,
            (RefusalCause::ConnectionsOfAddress, Some(address)) => {
                EvictionScope::OfAddress(address)
            }
            (RefusalCause::ConnectionsOfAddress, None)
            | (RefusalCause::NewConnectionsOfAddress, _)
            | (RefusalCause::AdminConnections, _)
            | (RefusalCause::Time, _) => return,
        };
        if scope == EvictionScope::AllConnections && self.make_space_here() {
            return;
        }
        let mut missing = self.host.missing_places(scope);
        while missing > 0
            && let Some(TakenCandidates { shard, idle }) = self.host.take_candidates(scope, missing)
        {
            self.request_eviction(shard, EvictionRequest { scope, idle });
            if idle == 0 {
                break;
            }
            missing -= idle;
        }
    }

    /// The same for the limit of this shard, if that is reached. Returns whether there is a
    /// connection that can be closed.
    fn make_space_here(&mut self) -> bool {
        let (counted, most) = (self.counted_here(), self.table.most_connections());
        let idle = counted.saturating_sub(most).min(IDLE_EVICTIONS_PER_REFUSAL);
        let window_ms = as_ms(self.setup.limits.liveness_window);
        let suspects = &self.sessions.suspects;
        // guard: a shard at its own limit makes space on itself [operand 1 true]
        if idle == 0 || suspects.overdue(self.timeouts.now_ms(), window_ms).next().is_none() {
            return false;
        }
        let scope = EvictionScope::AllConnections;
        self.request_eviction(self.id, EvictionRequest { scope, idle });
        true
    }

    fn request_eviction(&mut self, shard: ShardId, request: EvictionRequest) {
        // The input of a connection may be being handled: no other may be read or closed now.
        match shard == self.id {
            true => self.sessions.suspects.requested.push(request),
            false => self.host.send_to_shard(shard, ShardCommand::Evict(request)),
        }
    }

    /// Carries out the evictions that were requested on this shard in this iteration.
    pub(super) fn evict_requested(&mut self) {
        while let Some(request) = self.sessions.suspects.requested.pop() {
            self.evict(request);
            self.reap();
        }
    }

    /// Closes idle HTTP connections, as many as are requested; if there are none, the suspect session
    /// that has been silent longest.
    pub(super) fn evict(&mut self, EvictionRequest { scope, idle }: EvictionRequest) {
        if self.shutdown.is_draining() {
            return;
        }
        let now_ms = self.timeouts.now_ms();
        let mut evicted = 0;
        while evicted < idle
            && let Some(suspect) = self.sessions.suspects.take_idle(scope, now_ms)
        {
            evicted += usize::from(self.evict_idle(&suspect));
        }
        // guard: idle connections make space before sessions [true]
        if evicted == 0 {
            self.evict_longest(scope);
        }
        self.publish_suspects();
    }

    /// Closes an HTTP connection, unless a request has come since it was listed. Returns whether
    /// it did.
    fn evict_idle(&mut self, suspect: &Suspect) -> bool {
        let slot = suspect.key.slot;
        let is_idle = |core: &Self| {
            core.table.contains(suspect.key)
                && core.is_idle_http(slot)
                && core.table.connection(slot).is_some_and(|one| one.heard_ms == suspect.heard_ms)
        };
        if !is_idle(self) {
            return false;
        }
        // guard: a request that was not read yet is read before an eviction [skip]
        self.read(suspect.key, RECEIVE_BUFFER_BYTES, true);
        // guard: a connection whose response may be under way is not evicted [operand 2 false]
        if !is_idle(self) || self.owed_bytes(slot) > 0 {
            return false;
        }
        self.table.mark_for_close(suspect.key, EndReason::HttpEvicted);
        true
    }

    /// Whether the connection in this slot is between two HTTP requests, with nothing pending, and
    /// counts for the limits on connections. One above a limit is too: its client was answered.
    fn is_idle_http(&self, slot: Slot) -> bool {
        let Some(entry) = self.table.get(slot) else { return false };
        let Role::Http(http) = &entry.role else { return false };
        // guard: a connection that has made no request is not evicted [operand 1 true]
        // guard: an administration connection is not evicted [operand 2 true]
        http.has_answered
            && http.source != ClientSource::Admin
            && entry.connection.as_ref().is_some_and(|one| one.pending.is_none())
            && !self.table.is_marked_for_close(slot)
    }

    /// Closes the suspect session in this scope that has been silent longest.
    fn evict_longest(&mut self, scope: EvictionScope) {
        let Some(window_ms) = self.liveness_window_ms() else { return };
        // guard: connections that linger uncounted are bounded [false]
        if self.sessions.suspects.evicted >= LINGERING_EVICTIONS {
            return;
        }
        let now_ms = self.timeouts.now_ms();
        while let Some(suspect) = self.sessions.suspects.take_longest(scope, now_ms, window_ms) {
            if self.owes_an_answer(&suspect) {
                return self.evict_session(suspect.key);
            }
        }
    }

    /// Whether nothing has come from the client of a suspect since it was pinged, and it has taken
    /// nothing that was sent before the ping. An answer that has arrived and was not read yet counts.
    fn owes_an_answer(&mut self, suspect: &Suspect) -> bool {
        let is_silent = |core: &Self| {
            let slot = suspect.key.slot;
            core.table.contains(suspect.key)
                && !core.table.is_marked_for_close(slot)
                && core.table.session(slot).is_some()
                && core.table.connection(slot).is_some_and(|one| one.heard_ms == suspect.heard_ms)
        };
        if !is_silent(self) {
            return false;
        }
        // guard: an answer that was not read yet is read before an eviction [skip]
        self.read(suspect.key, RECEIVE_BUFFER_BYTES, true);
        if !is_silent(self) {
            return false;
        }
        let silent_ms = self.timeouts.now_ms().wrapping_sub(suspect.heard_ms);
        self.hear_progress(suspect.key.slot, silent_ms) >= silent_ms
    }

    /// Closes a session. Its connection lingers and no longer counts.
    fn evict_session(&mut self, key: ConnectionKey) {
        self.close(key.slot, CloseCode::Away, EndReason::Evicted);
        let counted = self.table.take_counted_address(key.slot);
        let Some(entry) = self.table.get_mut(key.slot) else { return };
        if let Role::Lingering(LingerState { is_counted, .. }) = &mut entry.role {
            *is_counted = false;
            self.sessions.suspects.evicted += 1;
            self.host.connection_evicted(counted);
        }
    }

    /// The sweep of a part begins.
    pub(super) fn begin_finding_suspects(&mut self, part: usize) {
        self.sessions.suspects.begin(part);
        self.host.read_contention(&mut self.sessions.suspects.contention);
        self.sessions.suspects.contention.is_full |= self.is_full_here();
    }

    /// Lists a connection that can be closed. A session whose client has been silent long enough to
    /// have been pinged is listed, and is pinged if it is to be found sooner because connections are
    /// refused.
    pub(super) fn find_suspect(&mut self, key: ConnectionKey) {
        let Some(heard_ms) = self.table.connection(key.slot).map(|one| one.heard_ms) else {
            return;
        };
        let contention = &self.sessions.suspects.contention;
        let address = match contention.addresses.is_empty() {
            true => None,
            false => self.table.counted_address(key.slot),
        };
        let address = address.filter(|address| contention.addresses.contains(address));
        let suspect = Suspect { key, heard_ms, pinged_ms: None, address };
        if self.is_idle_http(key.slot) {
            self.sessions.suspects.add(suspect, self.timeouts.now_ms());
        } else if self.table.session(key.slot).is_some()
            && !self.table.is_marked_for_close(key.slot)
        {
            self.find_suspect_session(suspect);
        }
    }

    fn find_suspect_session(&mut self, suspect: Suspect) {
        let Some(window_ms) = self.liveness_window_ms() else { return };
        let (slot, now_ms) = (suspect.key.slot, self.timeouts.now_ms());
        let silent_ms = now_ms.wrapping_sub(suspect.heard_ms);
        let interval_ms = self.ping_interval_ms(slot);
        let is_contended = self.sessions.suspects.contention.is_full || suspect.address.is_some();
        let listed_ms = if is_contended { interval_ms.min(window_ms / 2) } else { interval_ms };
        let suspect = Suspect { pinged_ms: Some(now_ms), ..suspect };
        if silent_ms < listed_ms || !self.sessions.suspects.admits(&suspect, now_ms) {
            return;
        }
        let silent_ms = self.hear_progress(slot, silent_ms);
        if silent_ms < listed_ms {
            return;
        }
        let suspect = Suspect { heard_ms: now_ms.wrapping_sub(silent_ms), ..suspect };
        let is_new = self.sessions.suspects.add(suspect, now_ms);
        if is_new && silent_ms < interval_ms {
            self.counters.probes_sent.increment();
            self.ping(slot);
        }
    }

    /// The sweep of the part is over.
    pub(super) fn finish_finding_suspects(&mut self) {
        self.sessions.suspects.finish();
        self.publish_suspects();
    }

    /// Tells all shards which connections of this one can be closed.
    fn publish_suspects(&mut self) {
        let window_ms = as_ms(self.setup.limits.liveness_window);
        let (now, now_ms) = (self.now, self.timeouts.now_ms());
        let heard = |suspect: &Suspect| -> Timestamp {
            now - Duration::from_millis(now_ms.wrapping_sub(suspect.heard_ms).into())
        };
        let overdue = || self.sessions.suspects.overdue(now_ms, window_ms);
        let idle = overdue().filter(|one| one.is_idle()).count();
        let longest = overdue().filter(|one| !one.is_idle()).map(heard).min();
        self.host.publish_candidates(self.id, idle, longest);
        for suspect in overdue() {
            if let Some(address) = suspect.address {
                let candidate = match suspect.is_idle() {
                    true => EvictionCandidate::IdleHttp,
                    false => EvictionCandidate::SuspectSession { heard: heard(suspect) },
                };
                self.host.publish_candidate_of(self.id, address, candidate);
            }
        }
    }
}
