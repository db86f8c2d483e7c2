//! Rooms of two sessions of this shard. Pure.
//!
//! A room is nothing but two memberships that name each other, so [`Rooms`] creates and ends both
//! together. A client gets `match_found` only for a room that exists.

use super::core::Core;
use super::host::Host;
use super::match_rate::MatchCharge;
use super::numbers::NumberSequence;
use super::room_tokens::RoomTokens;
use super::table::ConnectionTable;
use crate::commands::Ticket;
use crate::ids::{RoomNo, ShardId, Slot, Token, TokenMint};
use crate::limits;
use crate::session::{MatchRequest, Membership};
use crate::wire::egress::EgressContent;
use crate::wire::message::server::{LeaveReason, ServerMessage};
use crate::wire::websocket::frame::push_server_text;

/// The numbers and identifiers of a shard's rooms.
#[derive(Debug)]
pub(super) struct Rooms {
    numbers: NumberSequence,
    tokens: RoomTokens,
}

/// A room that has just been created.
struct CreatedRoom {
    room: RoomNo,
    /// The `find_match` of either member.
    fulfilled: [Option<MatchRequest>; 2],
}

impl Rooms {
    /// Without rooms.
    pub(super) fn new(shard: ShardId) -> Self {
        Rooms { numbers: NumberSequence::new(shard), tokens: RoomTokens::default() }
    }

    /// The identifier of a room.
    #[inline]
    pub(super) fn token(&mut self, room: RoomNo, mint: &TokenMint) -> Token {
        self.tokens.get(room, mint)
    }

    /// Makes two sessions the members of a new room. The first sends the offer.
    fn create<S>(&mut self, table: &mut ConnectionTable<S>, members: [Slot; 2]) -> CreatedRoom {
        let room = RoomNo(self.numbers.next());
        let [first, second] = members;
        let fulfilled =
            [(first, second, true), (second, first, false)].map(|(slot, peer, initiator)| {
                let membership = Membership { room, peer, initiator };
                table.session_mut(slot).and_then(|session| session.enter_room(membership))
            });
        CreatedRoom { room, fulfilled }
    }

    /// Ends the room of the session in this slot, if it is in one. With `is_remembered`, the two
    /// remember each other as recent partners.
    fn end<S>(
        table: &mut ConnectionTable<S>,
        slot: Slot,
        is_remembered: bool,
    ) -> Option<Membership> {
        let membership = table.session(slot)?.membership()?;
        let number = |slot| table.session(slot).map(|session| session.number());
        let [own, peer] = [slot, membership.peer].map(number);
        for (slot, partner) in [(slot, peer), (membership.peer, own)] {
            if let Some(session) = table.session_mut(slot) {
                session.leave_room(partner.filter(|_| is_remembered));
            }
        }
        Some(membership)
    }
}

impl<H: Host> Core<H> {
    /// The identifier of a room.
    #[inline]
    pub(super) fn room_token(&mut self, room: RoomNo) -> Token {
        self.rooms.token(room, &self.setup.mint)
    }

    /// Makes a room of two sessions of this shard, if both still wait with these tickets.
    pub(super) fn meet(&mut self, mover: &Ticket, home: &Ticket) {
        let may_meet = self.may_meet(home) & self.may_meet(mover);
        if self.shutdown.is_draining() || !may_meet {
            self.counters.matches_failed.increment();
            self.requeue(home);
            self.requeue(mover);
            return;
        }
        self.counters.matches.increment();
        self.counters.rooms.increment();
        // The session that has waited longer sends the offer.
        let home_first = home.since <= mover.since;
        let tickets = if home_first { [home, mover] } else { [mover, home] };
        let members = tickets.map(|ticket| ticket.holder.key.slot);
        for slot in [home, mover].map(|ticket| ticket.holder.key.slot) {
            self.mark_incomplete_message_stale(slot);
        }
        let created = self.rooms.create(&mut self.table, members);
        let first_came = home.since.min(mover.since);
        self.sessions.count_room(&self.counters, home.queue, self.now.since(first_came));
        for MatchRequest { queue, since, .. } in created.fulfilled.into_iter().flatten() {
            self.sessions.count_waiting(&self.counters, queue, -1);
            self.counters.match_wait.record(self.now.since(since));
        }
        let room_id = self.room_token(created.room);
        let [home_id, mover_id] =
            [home, mover].map(|ticket| self.setup.mint.session(ticket.session));
        for (ticket, own_id, peer_id) in [(home, home_id, mover_id), (mover, mover_id, home_id)] {
            let initiator = (ticket.holder == home.holder) == home_first;
            let ice_servers = self.host.match_ice_servers(own_id);
            let ice_servers = ice_servers.as_deref();
            let message = ServerMessage::MatchFound { room_id, peer_id, initiator, ice_servers };
            self.announce_room(ticket.holder.key.slot, message);
        }
    }

    /// What a session has sent of a message before it is in a room cannot be meant for its partner.
    fn mark_incomplete_message_stale(&mut self, slot: Slot) {
        if let Some(connection) = self.table.connection_mut(slot)
            && let Some(pending) = connection.pending.as_mut()
            && let Some(assembly) = pending.assembly.as_mut()
        {
            assembly.mark_stale();
        }
    }

    /// Sends a `match_found`, and notes where it ends if it cannot be sent at once.
    fn announce_room(&mut self, slot: Slot, message: ServerMessage<'_>) {
        let mut bytes = Vec::with_capacity(limits::SERVER_MESSAGE_BYTES);
        // The ping comes first, so that nothing but `match_found` itself delays its announcement.
        self.push_match_ping(&mut bytes);
        push_server_text(&mut bytes, |out| message.write(out));
        self.transmit(slot, &bytes, EgressContent::Frames);
        if let Some(connection) = self.table.connection_mut(slot)
            && let Some(pending) = connection.pending.as_mut()
        {
            pending.egress.mark_match_found();
        }
    }

    /// Ends the room of the session in this slot, if it is in one, and sends the
    /// partner `peer_left` at once.
    pub(super) fn end_room(&mut self, slot: Slot, reason: LeaveReason, charge: MatchCharge) {
        let is_remembered = !self.setup.limits.rematch_delay.is_zero();
        let Some(membership) = Rooms::end(&mut self.table, slot, is_remembered) else { return };
        match charge {
            MatchCharge::Client => self.charge_match(slot),
            MatchCharge::Free => {}
        }
        self.counters.rooms.decrement();
        let room_id = self.room_token(membership.room);
        self.send_message(membership.peer, ServerMessage::PeerLeft { room_id, reason });
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Connection, Role};
    use super::super::side_table::SideRecord;
    use super::*;
    use crate::ids::SessionNo;
    use crate::ids::{QueueKey, TicketNo};
    use crate::session::Session;
    use crate::timestamp::Timestamp;

    fn waiting_session(table: &mut ConnectionTable<u32>, number: u64) -> Slot {
        let mut session = Session::new(SessionNo(number));
        session.request_match(MatchRequest {
            ticket: TicketNo(number as u32),
            queue: QueueKey(7),
            since: Timestamp::ZERO,
        });
        let connection = Connection::new(0, 0);
        table.insert(connection, Role::Session(session), SideRecord::default()).slot
    }

    #[test]
    fn creates_and_ends_both_memberships_together() {
        let mut table = ConnectionTable::new(2);
        let mut rooms = Rooms::new(ShardId(0));
        let [first, second] = [1, 2].map(|number| waiting_session(&mut table, number));
        let created = rooms.create(&mut table, [first, second]);
        assert!(created.fulfilled.iter().all(Option::is_some));
        let membership = |slot: Slot| table.session(slot).unwrap().membership();
        let member = |peer, initiator| Some(Membership { room: created.room, peer, initiator });
        assert_eq!(membership(first), member(second, true));
        assert_eq!(membership(second), member(first, false));
        let ended = Rooms::end(&mut table, second, true);
        assert_eq!(ended.map(|ended| ended.peer), Some(first));
        for slot in [first, second] {
            let session = table.session(slot).unwrap();
            assert!(session.membership().is_none() && !session.recent_partners().is_empty());
        }
        assert_eq!(Rooms::end(&mut table, first, true), None, "it has ended already");
    }
}
