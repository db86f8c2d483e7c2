//! What a shard does when a limit on connections is reached: the session whose client has been silent
//! longest, and owes an answer to a ping, makes space for the next connection. Pure.
//!
//! A refusal asks [`super::host::Services`] which shard has such a session, and sends that shard one
//! command. It never looks through the table: the sweep has listed the [`super::suspects`].

use super::core::Core;
use super::entry::{LingerState, Role};
use super::host::Host;
use super::suspects::Suspect;
use crate::commands::{EvictionScope, ShardCommand};
use crate::ids::ConnectionKey;
use crate::limits::{LINGERING_EVICTIONS, RECEIVE_BUFFER_BYTES};
use crate::telemetry::labels::EndReason;
use crate::timestamp::Timestamp;
use crate::wire::http::RefusalCause;
use std::net::IpAddr;
use std::time::Duration;
use tungstenite::protocol::frame::coding::CloseCode;

impl<H: Host> Core<H> {
    /// A connection was refused. If a limit is the cause, a suspect makes space for its next
    /// attempt. `address` is that of the client, if it is known.
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
        if self.liveness_window_ms().is_none() {
            return;
        }
        match self.host.take_suspect(scope) {
            // The input of a connection may be being handled: no other may be read or closed now.
            Some(shard) if shard == self.id => self.sessions.suspects.requested.push(scope),
            Some(shard) => self.host.send_to_shard(shard, ShardCommand::EvictSuspect(scope)),
            None => {}
        }
    }

    /// Carries out the evictions that were requested on this shard in this iteration.
    pub(super) fn evict_requested(&mut self) {
        while let Some(scope) = self.sessions.suspects.requested.pop() {
            self.evict_suspect(scope);
            self.reap();
        }
    }

    /// Closes the suspect in this scope that has been silent longest.
    pub(super) fn evict_suspect(&mut self, scope: EvictionScope) {
        let Some(window_ms) = self.liveness_window_ms() else { return };
        // guard: connections that linger uncounted are bounded [operand 1 false]
        if self.sessions.suspects.evicted >= LINGERING_EVICTIONS || self.shutdown.is_draining() {
            return;
        }
        let now_ms = self.timeouts.now_ms();
        while let Some(suspect) = self.sessions.suspects.take_longest(scope, now_ms, window_ms) {
            if self.owes_an_answer(&suspect) {
                self.evict(suspect.key);
                break;
            }
        }
        self.publish_suspects();
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
    fn evict(&mut self, key: ConnectionKey) {
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
    }

    /// Lists a session whose client has been silent long enough to have been pinged, and pings it if
    /// it is to be found sooner because connections are refused.
    pub(super) fn find_suspect(&mut self, key: ConnectionKey) {
        let Some(window_ms) = self.liveness_window_ms() else { return };
        if self.table.session(key.slot).is_none() || self.table.is_marked_for_close(key.slot) {
            return;
        }
        let Some(connection) = self.table.connection(key.slot) else { return };
        let (heard_ms, now_ms) = (connection.heard_ms, self.timeouts.now_ms());
        let silent_ms = now_ms.wrapping_sub(heard_ms);
        let interval_ms = self.ping_interval_ms(key.slot);
        let contention = &self.sessions.suspects.contention;
        let address = match contention.addresses.is_empty() {
            true => None,
            false => self.table.counted_address(key.slot),
        };
        let address = address.filter(|address| contention.addresses.contains(address));
        let is_contended = contention.is_full || address.is_some();
        let listed_ms = if is_contended { interval_ms.min(window_ms / 2) } else { interval_ms };
        let suspect = Suspect { key, heard_ms, pinged_ms: now_ms, address };
        if silent_ms < listed_ms || !self.sessions.suspects.admits(&suspect, now_ms) {
            return;
        }
        let silent_ms = self.hear_progress(key.slot, silent_ms);
        if silent_ms < listed_ms {
            return;
        }
        let suspect = Suspect { heard_ms: now_ms.wrapping_sub(silent_ms), ..suspect };
        let is_new = self.sessions.suspects.add(suspect, now_ms);
        if is_new && silent_ms < interval_ms {
            self.counters.probes_sent.increment();
            self.ping(key.slot);
        }
    }

    /// The sweep of the part is over.
    pub(super) fn finish_finding_suspects(&mut self) {
        self.sessions.suspects.finish();
        self.publish_suspects();
    }

    /// Tells all shards how long the clients of the suspects have been silent.
    fn publish_suspects(&mut self) {
        let Some(window_ms) = self.liveness_window_ms() else { return };
        let (now, now_ms) = (self.now, self.timeouts.now_ms());
        let heard = |suspect: &Suspect| -> Timestamp {
            now - Duration::from_millis(now_ms.wrapping_sub(suspect.heard_ms).into())
        };
        let overdue = || self.sessions.suspects.overdue(now_ms, window_ms);
        self.host.publish_suspect(self.id, overdue().map(heard).min());
        for suspect in overdue() {
            if let Some(address) = suspect.address {
                self.host.publish_suspect_of(self.id, address, heard(suspect));
            }
        }
    }
}
