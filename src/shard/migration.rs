//! Migration of a session, with its connection, to another shard. Pure.
//!
//! The origin takes the session out of its table and sends it with a [`MigrationPurpose`]. The
//! destination either takes it in, confirms and fulfils the purpose, or sends it back. Until the
//! origin receives the answer, it still counts the session.
//!
//! A new purpose needs no change here as long as it moves a session together with its connection.
//! One that moves a session without a connection, or a connection without a session, has to make
//! the missing part optional in [`MigratingSession`] and in what adopts, counts and returns it.

use super::core::Core;
use super::entry::{Connection, Role};
use super::host::{AdoptOutcome, Host};
use super::message_rate::RateState;
use super::side_table::SideRecord;
use super::table::RemovedSession;
use crate::commands::{MigrationPurpose, Pairing, ShardCommand, Ticket};
use crate::ids::{ConnectionKey, QueueKey, SessionAddress, ShardId, Slot};
use crate::limits::REJECTED_MIGRATION_DELAY_MS;
use crate::session::Session;
use crate::telemetry::labels::EndReason;
use std::time::Duration;

/// A command to a core with sockets of type `S`.
pub type CoreCommand<S> = ShardCommand<MigratingSession<S>, S>;

/// A session on its way to another shard, with everything that belongs to it.
#[derive(Debug)]
pub struct MigratingSession<S> {
    session: Session,
    /// The connection that the session is attached to.
    pub connection: Box<Connection<S>>,
    side: SideRecord,
    rates: RateState,
    /// When it left the origin, on the origin's clock, as all times in `connection` are.
    left_ms: u32,
    /// How long before that the sweep had visited it last.
    since_sweep_ms: u32,
    /// Whether it was on the run list.
    was_deferred: bool,
}

/// The migrations of a shard.
#[derive(Debug, Default)]
pub(super) struct Migrations {
    /// Sessions of this shard that have left and are not confirmed yet.
    in_flight: usize,
    /// Pairings of a session of this shard with a mover that could not be taken in. The session is
    /// queued again at the next sweep: at most one for each such failure since the last.
    postponed: Vec<Pairing>,
}

/// A session that was taken in.
struct AdoptedSession<S> {
    key: ConnectionKey,
    /// The socket that the origin has to close.
    left_behind: Option<S>,
}

impl Migrations {
    /// Sessions of this shard that have left and are not confirmed yet.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn postpone(&mut self, pairing: Pairing) {
        self.postponed.push(pairing);
    }

    /// There are no sessions that a postponed pairing could be for.
    pub(super) fn forget_postponed(&mut self) {
        self.postponed.clear();
    }
}

impl<H: Host> Core<H> {
    /// Sends a session to another shard. False, and nothing is changed, if it is not here.
    #[must_use]
    pub(super) fn migrate_out(
        &mut self,
        key: ConnectionKey,
        to: ShardId,
        purpose: MigrationPurpose,
    ) -> bool {
        let Some(removed) = self.table.remove_session(key) else { return false };
        let RemovedSession { session, mut connection, side } = removed;
        self.host.unwatch(&mut connection.socket);
        let migrating = MigratingSession {
            session,
            connection: Box::new(connection),
            side,
            rates: self.sessions.rates.get(key.slot),
            left_ms: self.timeouts.now_ms(),
            since_sweep_ms: self.timeouts.since_sweep_ms(key.slot),
            was_deferred: self.reads.forget(key),
        };
        self.migrations.in_flight += 1;
        self.counters.migrations_in_flight.increment();
        self.counters.migrated_out.increment();
        self.count_buffered_bytes(&migrating.connection, -1);
        self.host.send_to_shard(to, ShardCommand::MigrateIn { from: self.id, migrating, purpose });
        true
    }

    /// A session comes from another shard.
    pub(super) fn migrate_in(
        &mut self,
        from: ShardId,
        migrating: MigratingSession<H::Socket>,
        purpose: MigrationPurpose,
    ) {
        self.counters.migrations_in_settled.increment();
        match self.adopt(from, migrating) {
            Ok(AdoptedSession { key, left_behind }) => {
                self.counters.migrated_in.increment();
                let waiting_in = self.count_migrated_session(key.slot);
                let completed = ShardCommand::MigrationCompleted { waiting_in, left_behind };
                self.host.send_to_shard(from, completed);
                match purpose {
                    MigrationPurpose::MeetPartner(pairing) => self.meet_migrated(key, pairing),
                }
            }
            Err(migrating) => {
                self.counters.migrations_rejected.increment();
                match purpose {
                    MigrationPurpose::MeetPartner(pairing) => {
                        self.counters.matches_failed.increment();
                        // guard: a rejected migration has a pause [value self.requeue(&pairing.home)]
                        self.migrations.postpone(pairing);
                    }
                }
                let rejected = ShardCommand::MigrationRejected { migrating, purpose };
                self.host.send_to_shard(from, rejected);
            }
        }
    }

    /// Takes in a session from another shard. If that is impossible, gives it back as it came.
    fn adopt(
        &mut self,
        from: ShardId,
        mut migrating: MigratingSession<H::Socket>,
    ) -> Result<AdoptedSession<H::Socket>, MigratingSession<H::Socket>> {
        let left_behind = match self.host.adopt(from, &mut migrating.connection.socket) {
            AdoptOutcome::AsIs => None,
            AdoptOutcome::Duplicated { original } => Some(original),
            AdoptOutcome::Rejected => return Err(migrating),
        };
        match (self.take_in(migrating), left_behind) {
            (Ok(key), left_behind) => Ok(AdoptedSession { key, left_behind }),
            (Err(migrating), None) => Err(migrating),
            (Err(mut migrating), Some(original)) => {
                let duplicate = std::mem::replace(&mut migrating.connection.socket, original);
                self.host.release(duplicate);
                Err(migrating)
            }
        }
    }

    /// Puts a session into the table. If its socket cannot be watched, gives it back as it came.
    fn take_in(
        &mut self,
        mut migrating: MigratingSession<H::Socket>,
    ) -> Result<ConnectionKey, MigratingSession<H::Socket>> {
        let key = self.table.next_key();
        if !self.host.watch(&mut migrating.connection.socket, key) {
            return Err(migrating);
        }
        let MigratingSession { session, mut connection, side, mut rates, left_ms, .. } = migrating;
        let now_ms = self.timeouts.now_ms();
        let ahead_ms = now_ms.wrapping_sub(left_ms);
        connection.heard_ms = connection.heard_ms.wrapping_add(ahead_ms);
        rates.shift(ahead_ms);
        if let Some(pending) = connection.pending.as_mut()
            && let Some(message) = pending.assembly.as_mut()
        {
            message.shift(ahead_ms);
        }
        self.sessions.rates.set(key.slot, rates);
        if let Some(pending) = connection.pending.as_mut() {
            pending.stuck_since_ms = pending.stuck_since_ms.wrapping_add(ahead_ms);
        }
        let silent_ms = now_ms.wrapping_sub(connection.heard_ms);
        self.count_buffered_bytes(&connection, 1);
        self.insert(*connection, Role::Session(session), side);
        if migrating.was_deferred {
            self.reads.defer(key);
        }
        // The session was in flight when the others were pinged and were sent `draining`.
        self.ping_if_due(key.slot, silent_ms, migrating.since_sweep_ms);
        self.announce_drain(key.slot);
        Ok(key)
    }

    /// Counts a session that has been taken in. Returns the queue in which it waits.
    fn count_migrated_session(&mut self, slot: Slot) -> Option<QueueKey> {
        let queue = self.table.session(slot)?.match_request().map(|request| request.queue);
        self.count_session(queue, 1);
        queue
    }

    /// Counts a session and the queue in which it waits. The origin counts it until it receives
    /// the result of the migration.
    fn count_session(&self, waiting_in: Option<QueueKey>, change: i64) {
        self.counters.sessions.add(change);
        if let Some(queue) = waiting_in {
            self.sessions.count_waiting(&self.counters, queue, change);
        }
    }

    /// Counts the bytes that a connection buffers. They are counted where the connection is.
    fn count_buffered_bytes(&self, connection: &Connection<H::Socket>, sign: i64) {
        self.counters.unsent_bytes.add(sign * connection.unsent_bytes() as i64);
        self.counters.held_bytes.add(sign * connection.held_bytes() as i64);
    }

    /// A session that left this shard has been taken in by the destination.
    pub(super) fn migration_completed(
        &mut self,
        waiting_in: Option<QueueKey>,
        left_behind: Option<H::Socket>,
    ) {
        if let Some(socket) = left_behind {
            self.host.release(socket);
        }
        self.settle_migration_out(waiting_in);
    }

    /// Takes a session back that the destination has rejected.
    pub(super) fn migration_rejected(
        &mut self,
        migrating: MigratingSession<H::Socket>,
        purpose: MigrationPurpose,
    ) {
        let waiting_in = migrating.session.match_request().map(|request| request.queue);
        self.settle_migration_out(waiting_in);
        match self.take_in(migrating) {
            Ok(key) => {
                self.count_migrated_session(key.slot);
                match purpose {
                    MigrationPurpose::MeetPartner(Pairing { mover, .. }) => {
                        let holder = SessionAddress { shard: self.id, key };
                        self.requeue(&Ticket { holder, ..mover });
                    }
                }
            }
            Err(migrating) => {
                // No shard can watch its socket, so the connection ends, and the session with it.
                if let Some(record) = migrating.side.log.as_deref() {
                    self.log_end_of(migrating.session.number(), record, EndReason::Internal);
                }
                self.counters.closed.increment(EndReason::Internal);
                self.host.close(migrating.connection.socket);
                self.host.connection_ended(migrating.side.counted_address);
            }
        }
    }

    /// A session that left this shard is not counted here any more.
    fn settle_migration_out(&mut self, waiting_in: Option<QueueKey>) {
        self.counters.migrations_out_settled.increment();
        self.migrations.in_flight -= 1;
        self.counters.migrations_in_flight.decrement();
        self.counters.connections.decrement();
        self.count_session(waiting_in, -1);
    }

    /// Queues the sessions of postponed pairings again. This is done in a sweep and not at once,
    /// because as long as descriptors are short, both shards and the matcher would be busy with
    /// nothing else. The session is not paired with that partner for a while: another waiting
    /// session may be on this shard and need no descriptor.
    pub(super) fn retry_postponed_pairings(&mut self) {
        let until = self.now + Duration::from_millis(REJECTED_MIGRATION_DELAY_MS);
        for Pairing { home, mover } in std::mem::take(&mut self.migrations.postponed) {
            if self.is_live(&home)
                && let Some(session) = self.table.session_mut(home.holder.key.slot)
            {
                // guard: a rejected migration prefers other partners [skip]
                session.avoid(mover.session, until);
            }
            self.requeue(&home);
        }
    }
}
