//! Tickets, pairings, moves between shards, and rooms. Pure.
//!
//! A pairing goes from the matcher to the mover's shard, and with the mover to the home shard.
//! At each stop the shard that owns a session looks whether its ticket is still what it waits
//! with; if not, the pairing is off and the other session's ticket is handed in again with its
//! first timestamp. Clients hear of nothing but a room that exists.

use super::connection::{Connection, MigratingSession, Role};
use super::core::Core;
use super::host::{Adopted, Host};
use crate::commands::{
    MatcherCommand, MatcherOutcome, MatcherReply, MigrationPurpose, Pairing, RecentPartner,
    ShardCommand, Ticket,
};
use crate::ids::{ConnectionKey, QueueKey, SessionAddress, ShardId, Slot};
use crate::limits::REJECTED_MIGRATION_DELAY_MS;
use crate::session::{MatchRequest, Membership, Session};
use crate::telemetry::labels::EndReason;
use crate::wire::egress::EgressContent;
use crate::wire::message::server::{LeaveReason, ServerMessage};
use crate::wire::websocket::frame::push_server_text;
use std::time::Duration;

/// A migrating_session that has been taken in.
struct Settled<S> {
    key: ConnectionKey,
    /// What the shard it came from has to let go of.
    left: Option<S>,
}

impl<H: Host> Core<H> {
    /// Writes the letter that a session owes the matcher, if any.
    pub(super) fn update_matcher(&mut self, slot: Slot) {
        let holder = self.address_of(slot);
        let Some(session) = self.connections[slot.index()].session_mut() else { return };
        session.expire_recent_partner(self.now);
        if let Some(letter) = session.next_command(holder) {
            self.host.to_matcher(letter);
        }
    }

    /// The matcher answered a letter.
    pub(super) fn matcher_replied(&mut self, MatcherReply { holder, outcome }: MatcherReply) {
        let session = match self.connections.get_mut(holder.key.slot.index()) {
            Some(connection) if connection.serial == holder.key.serial => connection.session_mut(),
            Some(_) | None => None,
        };
        match (session, outcome) {
            (Some(session), outcome) => {
                session.handle_reply(outcome);
                self.update_matcher(holder.key.slot);
                // What came of it may be among this turn's letters.
                self.answered.push(holder.key);
            }
            // The session ended while its letter was under way.
            (None, MatcherOutcome::Queued(handle, number)) => {
                self.host.to_matcher(MatcherCommand::Leave { holder, handle, number });
            }
            (None, MatcherOutcome::Paired(_) | MatcherOutcome::Removed) => {}
        }
    }

    /// Whether a session of this shard still waits with this ticket. One whose connection has
    /// just broken waits for nobody.
    fn is_live(&self, ticket: &Ticket) -> bool {
        let key = ticket.holder.key;
        ticket.holder.shard == self.id
            && self.is_current(key)
            && !self.is_marked_for_close(key.slot)
            && self.connections[key.slot.index()]
                .session()
                .is_some_and(|session| session.is_live(ticket.number))
    }

    /// Two sessions are to get a room. The mover is one of this shard's.
    pub(super) fn pair(&mut self, pairing: Pairing) {
        let Pairing { mover, home } = pairing;
        let slot = mover.holder.key.slot;
        if home.holder.shard != self.id
            && self.is_live(&mover)
            && !self.connections[slot.index()].is_held_back()
        {
            // What a client has not been able to be sent goes along; what it can take it gets
            // here. It may turn out to be gone.
            self.flush(slot);
        }
        // guard: a pairing needs a live ticket [operand 2 false]
        if self.drain.is_some() || !self.is_live(&mover) {
            self.counters.matches_failed.increment();
            if home.holder.shard == self.id {
                self.hand_in_again(&home);
            } else {
                self.counters.migrations_out_settled.increment();
                // guard: the survivor of a failed pairing is queued again [skip]
                self.host.to_shard(home.holder.shard, ShardCommand::PairingCancelled(home));
            }
            self.hand_in_again(&mover);
        } else if home.holder.shard == self.id {
            self.meet(mover.holder.key.slot, &mover, &home);
        } else {
            self.migrate_out(mover.holder.key.slot, pairing);
        }
    }

    /// Nothing came of the pairing of this ticket.
    pub(super) fn mover_gone(&mut self, ticket: &Ticket) {
        self.counters.migrations_in_settled.increment();
        self.hand_in_again(ticket);
    }

    /// A ticket goes back to the matcher, if it is live: with its first timestamp, and so to
    /// the front.
    fn hand_in_again(&mut self, ticket: &Ticket) {
        if self.drain.is_some() || !self.is_live(ticket) {
            return;
        }
        let slot = ticket.holder.key.slot;
        if let Some(session) = self.connections[slot.index()].session_mut() {
            session.pairing_cancelled();
        }
        self.update_matcher(slot);
    }

    /// Sends a session to the shard of the one it is paired with.
    fn migrate_out(&mut self, slot: Slot, pairing: Pairing) {
        let key = pairing.mover.holder.key;
        let mut connection = Box::new(self.connections.remove(slot.index()));
        self.host.unwatch(&mut connection.socket);
        let has_work = self.run_list.remove(key);
        let migrating_session = MigratingSession {
            address: connection.address.take().and_then(|address| self.drop_address(address)),
            left_ms: self.clock.ms(),
            unseen_ms: self.unseen_ms(slot),
            has_work,
            connection,
        };
        self.moves_under_way += 1;
        self.counters.migrations_in_flight.increment();
        self.counters.migrated_out.increment();
        self.count_travelling(&migrating_session.connection, -1);
        let letter = ShardCommand::MigrateIn {
            from: self.id,
            migrating: migrating_session,
            purpose: MigrationPurpose::MeetPartner(pairing),
        };
        self.host.to_shard(pairing.home.holder.shard, letter);
    }

    /// Moves what a connection keeps from one shard's figures to another's. The numbers of
    /// users are the old shard's until the new one acknowledges.
    fn count_travelling(&self, connection: &Connection<H::Socket>, sign: i64) {
        self.counters.unsent_bytes.add(sign * connection.unsent_bytes() as i64);
        self.counters.held_bytes.add(sign * connection.held_bytes() as i64);
    }

    /// Counts a waiting session that comes or goes.
    fn count_waiting_session(&self, queue: QueueKey, sign: i64) {
        self.counters.sessions.add(sign);
        self.count_waiting(queue, sign);
    }

    /// A session comes from another shard to meet one of this shard's.
    pub(super) fn arrive(
        &mut self,
        from: ShardId,
        migrating_session: MigratingSession<H::Socket>,
        purpose: MigrationPurpose,
    ) {
        let MigrationPurpose::MeetPartner(pairing) = purpose;
        self.counters.migrations_in_settled.increment();
        let Settled { key, left } = match self.adopt(from, migrating_session) {
            Ok(settled) => settled,
            Err(migrating_session) => {
                self.counters.matches_failed.increment();
                self.counters.migrations_rejected.increment();
                // guard: a rejected migration has a pause [value self.hand_in_again(&pairing.home)]
                self.resting.push(pairing);
                return self.host.to_shard(
                    from,
                    ShardCommand::MigrationRejected { migrating: migrating_session, purpose },
                );
            }
        };
        self.counters.migrated_in.increment();
        self.count_waiting_session(pairing.mover.queue, 1);
        self.host.to_shard(
            from,
            ShardCommand::MigrationCompleted { queue: pairing.mover.queue, left_behind: left },
        );
        let holder = SessionAddress { shard: self.id, key };
        let number = self.new_ticket_no();
        if let Some(session) = self.connections[key.slot.index()].session_mut() {
            session.renumber_ticket(number);
        }
        let mover = Ticket { holder, number, ..pairing.mover };
        self.meet(key.slot, &mover, &pairing.home);
    }

    /// Takes in a migrating_session that another shard has sent, and says what that shard has to let go
    /// of. Gives the migrating_session back as it came if it cannot be kept here.
    fn adopt(
        &mut self,
        from: ShardId,
        mut migrating_session: MigratingSession<H::Socket>,
    ) -> Result<Settled<H::Socket>, MigratingSession<H::Socket>> {
        let left = match self.host.adopt(from, &mut migrating_session.connection.socket) {
            Adopted::AsItIs => None,
            Adopted::Copied(left) => Some(left),
            Adopted::Refused => return Err(migrating_session),
        };
        match (self.take_in(migrating_session), left) {
            (Ok(key), left) => Ok(Settled { key, left }),
            (Err(migrating_session), None) => Err(migrating_session),
            (Err(mut migrating_session), Some(left)) => {
                let copy = std::mem::replace(&mut migrating_session.connection.socket, left);
                self.host.release(copy);
                Err(migrating_session)
            }
        }
    }

    /// Those who met nobody, because this shard had no room for who was to come, are tried again.
    /// Not at once: as long as there is no room, all three threads would do nothing else. And with
    /// others first: somebody of this shard needs no room.
    pub(super) fn wake_resting(&mut self) {
        let until = self.now + Duration::from_millis(REJECTED_MIGRATION_DELAY_MS);
        for Pairing { home, mover } in std::mem::take(&mut self.resting) {
            if self.is_live(&home)
                && let Some(session) = self.connections[home.holder.key.slot.index()].session_mut()
            {
                // guard: a rejected migration prefers other partners [skip]
                session.avoid(RecentPartner { session: mover.session, until });
            }
            self.hand_in_again(&home);
        }
    }

    /// Puts a migrating_session into the slab. Gives it back if its socket cannot be watched here.
    fn take_in(
        &mut self,
        migrating_session: MigratingSession<H::Socket>,
    ) -> Result<ConnectionKey, MigratingSession<H::Socket>> {
        let MigratingSession { mut connection, address, left_ms, unseen_ms, has_work } =
            migrating_session;
        let now_ms = self.clock.ms();
        let ahead_ms = now_ms.wrapping_sub(left_ms);
        connection.heard_ms = connection.heard_ms.wrapping_add(ahead_ms);
        connection.rate.shift(ahead_ms);
        connection.address = address.map(|address| self.keep_address(address));
        let key = self.insert(*connection);
        let connection = &mut self.connections[key.slot.index()];
        if !self.host.watch(&mut connection.socket, key) {
            let mut connection = Box::new(self.connections.remove(key.slot.index()));
            self.counters.connections.decrement();
            let address = connection.address.take().and_then(|at| self.drop_address(at));
            return Err(MigratingSession {
                connection,
                address,
                left_ms: now_ms,
                unseen_ms,
                has_work,
            });
        }
        if has_work {
            self.go_on_later(key);
        }
        self.count_travelling(&self.connections[key.slot.index()], 1);
        // It was on its way when everybody else was told, or asked whether it is alive.
        let silent_ms = now_ms.wrapping_sub(self.connections[key.slot.index()].heard_ms);
        self.ping_if_due(key.slot, silent_ms, unseen_ms);
        self.tell_of_drain(key.slot);
        Ok(key)
    }

    /// A session that was sent away is somebody else's now.
    pub(super) fn arrived(&mut self, queue: QueueKey, left: Option<H::Socket>) {
        if let Some(left) = left {
            self.host.release(left);
        }
        self.counters.migrations_out_settled.increment();
        self.moves_under_way -= 1;
        self.counters.migrations_in_flight.decrement();
        self.counters.connections.decrement();
        self.count_waiting_session(queue, -1);
    }

    /// A session that was sent away could not be taken in.
    pub(super) fn migration_rejected(
        &mut self,
        migrating_session: MigratingSession<H::Socket>,
        purpose: MigrationPurpose,
    ) {
        let MigrationPurpose::MeetPartner(Pairing { mover, .. }) = purpose;
        self.arrived(mover.queue, None);
        match self.take_in(migrating_session) {
            Ok(key) => {
                self.count_waiting_session(mover.queue, 1);
                let holder = SessionAddress { shard: self.id, key };
                self.hand_in_again(&Ticket { holder, ..mover });
            }
            Err(migrating_session) => {
                // Nobody can watch it: it ends.
                self.counters.closed.increment(EndReason::Internal);
                self.host.close(migrating_session.connection.socket, migrating_session.address);
            }
        }
    }

    /// Makes a room of two sessions of this shard, if both still want one.
    fn meet(&mut self, mover_slot: Slot, mover: &Ticket, home: &Ticket) {
        if self.drain.is_some() || !self.is_live(home) || !self.is_live(mover) {
            self.counters.matches_failed.increment();
            self.hand_in_again(home);
            self.hand_in_again(mover);
            return;
        }
        let room = self.new_room_no();
        let home_slot = home.holder.key.slot;
        self.counters.matches.increment();
        self.counters.rooms.increment();
        // The one who has waited longer sends the offer.
        let home_first = home.since <= mover.since;
        let seats = [
            (home_slot, Membership { room, peer: mover_slot, initiator: home_first }),
            (mover_slot, Membership { room, peer: home_slot, initiator: !home_first }),
        ];
        let numbers = [mover.session, home.session];
        for (slot, membership) in seats {
            let connection = &mut self.connections[slot.index()];
            if let Some(held) = connection.extra.as_mut().and_then(|extra| extra.held.as_mut()) {
                held.mark_stale();
            }
            let match_request =
                connection.session_mut().and_then(|session| session.enter_room(membership));
            if let Some(MatchRequest { queue, since, .. }) = match_request {
                self.count_waiting(queue, -1);
                self.counters.match_wait.record(self.now.since(since));
            }
        }
        let room_id = self.room_token(room);
        for ((slot, membership), peer) in seats.into_iter().zip(numbers) {
            let peer_id = self.setup.mint.session(peer);
            let initiator = membership.initiator;
            self.announce(slot, ServerMessage::MatchFound { room_id, peer_id, initiator });
        }
    }

    /// Writes a `match_found`, and remembers where it ends if it cannot be sent at once.
    fn announce(&mut self, slot: Slot, message: ServerMessage<'_>) {
        let mut bytes = Vec::new();
        push_server_text(&mut bytes, |out| message.write(out));
        self.transmit(slot, &bytes, EgressContent::Frames);
        let Some(connection) = self.connections.get_mut(slot.index()) else { return };
        if let Some(extra) = connection.extra.as_mut() {
            extra.egress.mark_match_found();
        }
    }

    /// Ends the room a session is in, if any; its partner is told at once.
    pub(super) fn vacate(&mut self, slot: Slot, reason: LeaveReason) {
        let Some(session) = self.connections[slot.index()].session() else { return };
        let (Some(membership), number) = (session.membership(), session.number()) else { return };
        let peer = self.connections[membership.peer.index()].session().map(Session::number);
        let until = self.now + self.setup.limits.rematch_delay;
        let recent_partner = |session| {
            Some(RecentPartner { session, until })
                .filter(|recent_partner| recent_partner.until > self.now)
        };
        let (mine, theirs) = (peer.and_then(recent_partner), recent_partner(number));
        for (slot, recent_partner) in [(slot, mine), (membership.peer, theirs)] {
            if let Some(session) = self.connections[slot.index()].session_mut() {
                session.leave_room(recent_partner);
            }
        }
        self.counters.rooms.decrement();
        let room_id = self.room_token(membership.room);
        self.say(membership.peer, ServerMessage::PeerLeft { room_id, reason });
    }

    /// Ends the session of a connection, if it has one; the caller ends the connection or gives
    /// it another role.
    pub(super) fn end_session(&mut self, slot: Slot, reason: LeaveReason) {
        let Role::User(_) = self.connections[slot.index()].role else { return };
        self.vacate(slot, reason);
        let Some(session) = self.connections[slot.index()].session_mut() else { return };
        if let Some(match_request) = session.cancel_match() {
            self.count_waiting(match_request.queue, -1);
        }
        self.update_matcher(slot);
        self.counters.sessions.decrement();
    }

    pub(super) fn count_waiting(&self, queue: QueueKey, sign: i64) {
        self.counters.waiting.add(sign);
        if let Some(at) = self.stats_queues.iter().position(|key| *key == queue) {
            self.counters.waiting_by_queue[at].add(sign);
        }
    }
}
