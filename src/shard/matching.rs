//! The shard's side of matching: `find_match`, the commands to the matcher and its replies, and
//! pairings. Pure.
//!
//! A pairing goes from the matcher to the home shard, from there to the mover's shard, and with the
//! mover back to the home shard. At each step the shard that owns a session checks whether its
//! ticket is still live. If not, the pairing is cancelled and the ticket of the other session is
//! queued again with its first timestamp. A client gets `match_found` only for a room that exists.

use super::core::Core;
use super::host::Host;
use super::match_rate::MatchCharge;
use super::replies::Replies;
use super::table::Attachment;
use crate::commands::{
    MatcherCommand, MatcherOutcome, MatcherReply, MigrationPurpose, Pairing, PairingRole,
    ShardCommand, Ticket,
};
use crate::ids::{ConnectionKey, SessionAddress, Slot};
use crate::session::{MatchRequest, Membership, QueueChange, Session};
use crate::telemetry::labels::EndReason;
use crate::wire::message::server::{LeaveReason, ServerMessage};
use crate::wire::message::{ClientMessageType, ErrorCode, MessageRefusal};

impl<H: Host> Core<H> {
    /// A new session.
    pub(super) fn open_session(&mut self) -> Session {
        self.counters.sessions_opened.increment();
        self.counters.sessions.increment();
        Session::new(self.sessions.next_number())
    }

    /// The connection in this slot is lost, or lingers from here on. Every end of a connection
    /// comes through here, and this decides for each reason what becomes of the session, if there
    /// is one: it ends. The caller removes the entry or gives it another role.
    pub(super) fn end_or_keep_session(&mut self, slot: Slot, reason: EndReason) {
        // Nothing can resume a session yet, whatever the reason.
        let told = match reason {
            // guard: a Close frame counts as leaving [value LeaveReason::Disconnected]
            EndReason::ClientClose => LeaveReason::Left,
            // guard: a lost member is reported with `timeout` [value LeaveReason::Disconnected]
            EndReason::SilentAfterMatch => LeaveReason::Timeout,
            EndReason::ClientGone
            | EndReason::Silent
            | EndReason::Evicted
            | EndReason::HttpEvicted
            | EndReason::ProtocolError
            | EndReason::NotUtf8
            | EndReason::TooManyFragments
            | EndReason::MessageTimeout
            | EndReason::MessageTooLarge
            | EndReason::SlowConsumer
            | EndReason::Restarting
            | EndReason::HttpDone
            | EndReason::HttpIdle
            | EndReason::HeadTimeout
            | EndReason::Refused
            | EndReason::Internal => LeaveReason::Disconnected,
        };
        self.end_session(slot, told, reason);
    }

    fn end_session(&mut self, slot: Slot, told: LeaveReason, reason: EndReason) {
        if self.table.session(slot).is_none() {
            return;
        }
        self.log_session_end(slot, reason);
        self.end_room(slot, told, charge_of(reason));
        let Some(session) = self.table.session_mut(slot) else { return };
        if let Some(match_request) = session.cancel_match() {
            self.sessions.count_waiting(&self.counters, match_request.queue, -1);
        }
        self.update_matcher(slot);
        self.counters.sessions.decrement();
    }

    /// `find_match`.
    pub(super) fn find_match(&mut self, replies: &mut Replies, queue: &str) {
        if self.shutdown.is_draining() {
            let refusal = MessageRefusal::of(ClientMessageType::FindMatch, ErrorCode::Draining);
            return self.refuse(replies, refusal);
        }
        if self.refuse_over_match_rate(replies) {
            return;
        }
        let slot = replies.slot();
        self.end_room(slot, LeaveReason::Next, MatchCharge::Client);
        let match_request = MatchRequest {
            ticket: self.sessions.next_ticket(),
            queue: self.setup.mint.queue(queue),
            since: self.now,
        };
        let named_queue = self.sessions.named_queue(match_request.queue);
        let expected_wait = named_queue.and_then(|index| self.host.expected_wait(index));
        let Some(session) = self.table.session_mut(slot) else { return };
        let waiting = ServerMessage::Waiting { queue, expected_wait };
        match session.request_match(match_request) {
            QueueChange::Unchanged => replies.push_message(waiting),
            QueueChange::Entered { left } => {
                if let Some(left) = left {
                    self.sessions.count_waiting(&self.counters, left, -1);
                }
                self.sessions.count_waiting(&self.counters, match_request.queue, 1);
                self.update_matcher(slot);
                // Two sessions that are paired at once get `waiting` and `match_found` with one
                // send.
                replies.push_waiting(waiting);
            }
        }
    }

    /// `cancel_match`.
    pub(super) fn cancel_match(&mut self, replies: &mut Replies) {
        let slot = replies.slot();
        let Some(session) = self.table.session_mut(slot) else { return };
        match session.cancel_match() {
            None => {
                let message_type = ClientMessageType::CancelMatch;
                self.refuse(replies, MessageRefusal::of(message_type, ErrorCode::NotWaiting));
            }
            Some(match_request) => {
                self.sessions.count_waiting(&self.counters, match_request.queue, -1);
                self.update_matcher(slot);
                replies.push_message(ServerMessage::MatchCancelled);
            }
        }
    }

    /// `leave_room`.
    pub(super) fn leave_room(&mut self, replies: &mut Replies, membership: Membership) {
        self.end_room(replies.slot(), LeaveReason::Left, MatchCharge::Client);
        let room_id = self.room_token(membership.room);
        replies.push_message(ServerMessage::RoomLeft { room_id });
    }

    /// Sends the matcher the command that is due for the session in this slot, if one is.
    pub(super) fn update_matcher(&mut self, slot: Slot) {
        let Some(key) = self.table.key_at(slot) else { return };
        let holder = SessionAddress { shard: self.id, key };
        let Some(session) = self.table.session_mut(slot) else { return };
        let rematch_delay = self.setup.limits.rematch_delay;
        if let Some(command) = session.next_command(holder, rematch_delay, self.now) {
            self.host.send_to_matcher(command);
        }
    }

    /// The matcher has answered a command.
    pub(super) fn handle_reply(&mut self, MatcherReply { holder, outcome }: MatcherReply) {
        let slot = holder.key.slot;
        let session = match self.table.contains(holder.key) {
            true => self.table.session_mut(slot),
            false => None,
        };
        match (session, outcome) {
            (Some(session), outcome) => {
                session.handle_reply(outcome);
                self.update_matcher(slot);
                // A pairing may follow in the same iteration.
                self.sessions.note_answered(holder.key);
            }
            // The session ended while its command was in flight.
            (None, MatcherOutcome::Queued(handle, number)) => {
                self.host.send_to_matcher(MatcherCommand::Leave { holder, handle, number });
            }
            (None, MatcherOutcome::Paired(_) | MatcherOutcome::Removed) => {}
        }
    }

    /// Whether a session of this shard still waits with this ticket, can be reached, and is not
    /// silent.
    pub(super) fn is_live(&self, ticket: &Ticket) -> bool {
        let key = ticket.holder.key;
        ticket.holder.shard == self.id
            && self.table.attachment(key) == Some(Attachment::Attached)
            && self.table.session(key.slot).is_some_and(|session| session.is_live(ticket.number))
    }

    /// The same, before a room is made. The sweep may not have seen yet that the client is silent.
    pub(super) fn may_meet(&mut self, ticket: &Ticket) -> bool {
        if self.is_live(ticket) {
            self.update_match_request(ticket.holder.key.slot);
        }
        self.is_live(ticket)
    }

    /// The matcher has paired two sessions. The home is one of this shard.
    pub(super) fn handle_pairing(&mut self, pairing: Pairing) {
        let Pairing { mover, home } = pairing;
        if self.shutdown.is_draining() || !self.may_meet(&home) {
            self.cancel_pairing(pairing, PairingRole::Home);
        } else if mover.holder.shard == self.id {
            self.meet(&mover, &home);
        } else {
            self.host.send_to_shard(mover.holder.shard, ShardCommand::PairConfirmed(pairing));
        }
    }

    /// The home shard has checked its ticket. The mover is one of this shard.
    pub(super) fn handle_confirmed_pairing(&mut self, pairing: Pairing) {
        let Pairing { mover, home } = pairing;
        let key = mover.holder.key;
        if self.may_meet(&mover) && !self.table[key.slot].is_held_back() {
            // Unsent bytes migrate with the session, so send what the client takes now. This may
            // show that the connection is lost.
            self.flush(key.slot);
        }
        let purpose = MigrationPurpose::MeetPartner(pairing);
        // guard: a pairing needs a live ticket [operand 2 false]
        if self.shutdown.is_draining()
            || !self.is_live(&mover)
            || !self.migrate_out(key, home.holder.shard, purpose)
        {
            self.cancel_pairing(pairing, PairingRole::Mover);
        }
    }

    /// A pairing ends on the shard of the session that has this part in it. Both tickets are
    /// queued again.
    fn cancel_pairing(&mut self, Pairing { mover, home }: Pairing, here: PairingRole) {
        self.counters.matches_failed.increment();
        let (own, other, role) = match here {
            PairingRole::Home => (home, mover, PairingRole::Mover),
            PairingRole::Mover => (mover, home, PairingRole::Home),
        };
        if other.holder.shard == self.id {
            self.requeue(&other);
        } else {
            self.settle_pairing(here);
            let shard = other.holder.shard;
            // guard: the survivor of a failed pairing is queued again [skip]
            self.host
                .send_to_shard(shard, ShardCommand::PairingCancelled { survivor: other, role });
        }
        self.requeue(&own);
    }

    /// The pairing of this ticket was cancelled on the shard of the other one.
    pub(super) fn pairing_cancelled(&mut self, ticket: &Ticket, role: PairingRole) {
        self.settle_pairing(role);
        self.requeue(ticket);
    }

    /// A migration that the matcher decided does not take place.
    fn settle_pairing(&self, here: PairingRole) {
        match here {
            PairingRole::Home => self.counters.migrations_in_settled.increment(),
            PairingRole::Mover => self.counters.migrations_out_settled.increment(),
        }
    }

    /// Gives a ticket back to the matcher, if it is live. It keeps its first timestamp, and with
    /// it its position.
    pub(super) fn requeue(&mut self, ticket: &Ticket) {
        if self.shutdown.is_draining() || !self.is_live(ticket) {
            return;
        }
        let slot = ticket.holder.key.slot;
        if let Some(session) = self.table.session_mut(slot) {
            session.pairing_cancelled();
        }
        self.update_matcher(slot);
    }

    /// The mover of a pairing has migrated to this shard, where it is at `key` now.
    pub(super) fn meet_migrated(&mut self, key: ConnectionKey, Pairing { mover, home }: Pairing) {
        let number = self.sessions.next_ticket();
        if let Some(session) = self.table.session_mut(key.slot) {
            session.renumber_ticket(number);
        }
        let holder = SessionAddress { shard: self.id, key };
        self.meet(&Ticket { holder, number, ..mover }, &home);
    }
}

/// Whether the end of a connection in a room takes a token from the bucket of its address. A
/// connection without a Close frame may have been lost in the network, but the server cannot
/// distinguish that from a connection which the client ended.
fn charge_of(reason: EndReason) -> MatchCharge {
    match reason {
        EndReason::ClientClose => MatchCharge::Client,
        // guard: a client that leaves without a Close frame uses a token [value MatchCharge::Free]
        EndReason::ClientGone
        | EndReason::ProtocolError
        | EndReason::NotUtf8
        | EndReason::TooManyFragments
        | EndReason::MessageTimeout
        | EndReason::MessageTooLarge => MatchCharge::Client,
        EndReason::Silent
        | EndReason::SilentAfterMatch
        | EndReason::Evicted
        | EndReason::HttpEvicted
        | EndReason::SlowConsumer
        | EndReason::Restarting
        | EndReason::HttpDone
        | EndReason::HttpIdle
        | EndReason::HeadTimeout
        | EndReason::Refused
        | EndReason::Internal => MatchCharge::Free,
    }
}
