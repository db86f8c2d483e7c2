//! What a user does about what it is told. Pure.

use super::call::ActiveCall;
use super::{STRAGGLERS_WAIT, User, UserContext, UserEvent, UserScript, UserState, send};
use crate::load::measure::{CountMetric, LoadFault, TimeMetric};
use crate::load::message_header::{DecodedMessage, id_hash};
use crate::load::pairing_ledger::MatchNotice;
use crate::load::sequence_tracker::SequenceStatus;
use crate::timestamp::Timestamp;
use crate::wire::message::RelayKind;
use crate::wire::message::server::{ParsedServerMessage, parse_server_message};

impl User {
    /// A text message came.
    pub fn text(&mut self, text: &[u8], turn: &mut UserContext<'_>) {
        if let Some(reading) = turn.reader.decode(text) {
            return self.relayed(reading, turn);
        }
        match parse_server_message(text) {
            // What is left of a message of ours: the server has rewritten it.
            Ok(ParsedServerMessage::Relayed { .. }) => {
                self.relayed(DecodedMessage::Corrupted, turn)
            }
            Ok(ParsedServerMessage::Unknown) | Err(_) if turn.reader.has_marker(text) => {
                self.relayed(DecodedMessage::Corrupted, turn);
            }
            Ok(message) => self.message(message, turn),
            Err(_) => turn.recorder.fault(LoadFault::BadMessage, turn.now),
        }
    }

    /// A message of the partner's came, or what should have been one.
    fn relayed(&mut self, reading: DecodedMessage, turn: &mut UserContext<'_>) {
        let UserState::InRoom(call) = &mut self.state else {
            return self.relayed_outside(reading, turn);
        };
        let stamp = match reading {
            DecodedMessage::Intact(stamp) => stamp,
            DecodedMessage::Corrupted => {
                call.received.record_unreadable();
                return turn.recorder.fault(LoadFault::Corrupted, turn.now);
            }
        };
        if stamp.room != call.room {
            return self.stray(stamp.room, turn);
        }
        if stamp.sender != call.peer {
            return turn.recorder.fault(LoadFault::Misrouted, turn.now);
        }
        match call.received.record(stamp.sequence) {
            SequenceStatus::Duplicated => {
                return turn.recorder.fault(LoadFault::Duplicated, turn.now);
            }
            SequenceStatus::Reordered => turn.recorder.fault(LoadFault::Reordered, turn.now),
            SequenceStatus::New => {}
        }
        turn.recorder.count(CountMetric::Received);
        // At the end all users at once say their last words: that is the tester's doing, and no
        // load it was asked for. What was sent before counts, however late it comes.
        let is_of_the_end = stamp.last && self.finishing;
        if stamp.intended >= turn.rules.measure_from && !is_of_the_end {
            turn.recorder.between(TimeMetric::Relay, stamp.intended, turn.now);
            turn.recorder.between(TimeMetric::RelayService, stamp.sent, turn.now);
        }
        call.gaps_expected |= stamp.gaps_expected;
        if stamp.last {
            call.bye_heard = true;
            self.heard_last_word(turn);
        } else if call.sequence == 0 {
            call.offered(turn.now);
        }
    }

    /// The partner sends nothing more: answer with the own last word, or leave.
    fn heard_last_word(&mut self, turn: &mut UserContext<'_>) {
        let UserState::InRoom(call) = &mut self.state else { return };
        let missing = call.received.missing() > 0 && !call.gaps_expected;
        if call.bye_sent.is_none() {
            send(call, self.session, RelayKind::Signal, turn.now, true, turn);
            // The initiator leaves; this is only in case that it cannot.
            call.leave_at = turn.now + turn.rules.message_timeout * 2;
        }
        if call.initiator {
            call.leave_at = if missing { turn.now + STRAGGLERS_WAIT } else { turn.now };
            if !missing {
                self.leave(turn);
            }
        }
    }

    fn relayed_outside(&mut self, reading: DecodedMessage, turn: &mut UserContext<'_>) {
        let DecodedMessage::Intact(stamp) = reading else {
            return turn.recorder.fault(LoadFault::Corrupted, turn.now);
        };
        let own_tail = matches!(
            self.state,
            UserState::Waiting { acknowledged: false, .. }
                | UserState::Leaving { .. }
                | UserState::Closing { .. }
        );
        if stamp.room == self.last_room && own_tail && !self.last_room_over {
            turn.recorder.count(CountMetric::ReceivedWhileLeaving);
        } else if stamp.room != self.last_room && matches!(self.state, UserState::Waiting { .. }) {
            if self.early.0 != stamp.room {
                self.disown_early(turn);
                self.early.0 = stamp.room;
            }
            self.early.1 += 1;
        } else {
            self.stray(stamp.room, turn);
        }
    }

    /// What came while waiting was not out of the room that came of it.
    pub(super) fn disown_early(&mut self, turn: &mut UserContext<'_>) {
        let (room, many) = std::mem::take(&mut self.early);
        (0..many).for_each(|_| self.stray(room, turn));
    }

    /// A message came out of a room that the user is not in, or not any more.
    fn stray(&self, room: u64, turn: &mut UserContext<'_>) {
        let after_end = room == self.last_room;
        let fault = if after_end { LoadFault::AfterEnd } else { LoadFault::Misrouted };
        turn.news.push(UserEvent::Stray { room, fault });
    }

    fn message(&mut self, message: ParsedServerMessage<'_>, turn: &mut UserContext<'_>) {
        match message {
            ParsedServerMessage::Session { session_id } => self.greeted(&session_id, turn),
            ParsedServerMessage::Waiting => {
                if let UserState::Waiting { acknowledged, .. } = &mut self.state {
                    *acknowledged = true;
                    self.last_room_over = true;
                }
            }
            ParsedServerMessage::MatchFound { room_id, peer_id, initiator } => {
                self.matched(&room_id, &peer_id, initiator, turn);
            }
            ParsedServerMessage::RoomLeft | ParsedServerMessage::MatchCancelled => {
                if let UserState::Leaving { .. } = self.state {
                    self.last_room_over = true;
                    self.between_calls(turn);
                }
            }
            ParsedServerMessage::PeerLeft { room_id, reason } => {
                self.peer_left(&room_id, &reason, turn)
            }
            ParsedServerMessage::Pong => self.ponged(turn),
            ParsedServerMessage::Error { code } => self.refused(&code, turn),
            ParsedServerMessage::Draining => {
                self.draining = true;
                self.declined(turn);
                turn.recorder.fault(LoadFault::Draining, turn.now);
            }
            // Of what is relayed, the caller has taken care.
            ParsedServerMessage::Relayed { .. } | ParsedServerMessage::Unknown => {}
        }
    }

    fn greeted(&mut self, session_id: &str, turn: &mut UserContext<'_>) {
        let UserState::Greeting = self.state else {
            return turn.recorder.fault(LoadFault::BadMessage, turn.now);
        };
        self.session = id_hash(session_id);
        self.state = UserState::Idle;
        turn.recorder.count(CountMetric::Connected);
        turn.news.push(UserEvent::Opened(self.session));
        if self.finishing {
            return self.finish(turn);
        }
        match turn.rules.script_for(self.sampled) {
            UserScript::Hold { ping_every } => {
                self.ping_at = turn.now + ping_every.mul_f64(self.rng.next_fraction());
            }
            UserScript::Rounds { .. } => {}
            UserScript::Calls(_) => self.ask(turn.now, turn),
        }
    }

    fn matched(
        &mut self,
        room_id: &str,
        peer_id: &str,
        initiator: bool,
        turn: &mut UserContext<'_>,
    ) {
        let account = MatchNotice {
            room: id_hash(room_id),
            me: self.session,
            peer: id_hash(peer_id),
            initiator,
        };
        turn.news.push(UserEvent::Matched(account));
        let stay = match turn.rules.script_for(self.sampled) {
            UserScript::Calls(plan) => self.rng.duration_between(plan.talk_min, plan.talk_max),
            UserScript::Hold { .. } | UserScript::Rounds { .. } => {
                turn.rules.script_for(self.sampled).round_stay()
            }
        };
        let mut begins = turn.now;
        match &self.state {
            UserState::Waiting { since, acknowledged, .. } => {
                if !acknowledged {
                    // The match_request is answered by `waiting` first.
                    turn.recorder.fault(LoadFault::BadMessage, turn.now);
                }
                turn.news.push(UserEvent::Served(*since));
                turn.recorder.count(CountMetric::Matched);
                turn.recorder.time(TimeMetric::Match, turn.now.since(*since));
                if let UserScript::Rounds { .. } = turn.rules.script_for(self.sampled) {
                    begins = *since;
                }
            }
            // The match book knows that this user is in two rooms now.
            UserState::InRoom(call) => (self.last_room, self.last_room_over) = (call.room, false),
            // It crossed our Close frame; the partner will be told.
            UserState::Closing { .. } => {
                let (session, room) = (self.session, account.room);
                (self.last_room, self.last_room_over) = (room, false);
                return turn.news.push(UserEvent::RecentPartner { session, room, missing: 0 });
            }
            UserState::Greeting | UserState::Idle | UserState::Leaving { .. } => {
                turn.recorder.fault(LoadFault::UnrequestedMatch, turn.now);
            }
        }
        let ends_at = if self.finishing { turn.now } else { begins + stay };
        let mut call = ActiveCall::new(room_id, peer_id, initiator, ends_at);
        call.limited = self.limited;
        if self.finishing {
            call.leave_at = turn.now + turn.rules.message_timeout * 2;
        }
        if let UserScript::Calls(plan) = turn.rules.script_for(self.sampled) {
            call.plan(plan, &mut self.rng, turn.now);
        }
        if self.early.0 == account.room {
            let (_, many) = std::mem::take(&mut self.early);
            turn.recorder.faults_at(LoadFault::BeforeMatch, many.into(), turn.now);
            // They did come, so they are not lost as well.
            (0..many).for_each(|_| call.received.record_unreadable());
        }
        self.disown_early(turn);
        self.state = UserState::InRoom(Box::new(call));
        self.wake(turn);
    }

    fn peer_left(&mut self, room_id: &str, reason: &str, turn: &mut UserContext<'_>) {
        let room = id_hash(room_id);
        let call = match &self.state {
            UserState::InRoom(call) if call.room == room => call,
            _ => {
                // It crossed our own leaving, unless that has been answered; of a room that is
                // over already, or any other, it means nothing.
                if room != self.last_room || self.last_room_over {
                    turn.recorder.fault(LoadFault::BadMessage, turn.now);
                }
                self.last_room_over |= room == self.last_room;
                return;
            }
        };
        let on_purpose = reason == "left" || reason == "next";
        let talks = matches!(turn.rules.script_for(self.sampled), UserScript::Calls(_));
        let mut missing = call.received.missing();
        if talks && on_purpose && !call.bye_heard {
            // Nobody leaves without a last word, so that was lost, if nothing else.
            missing = missing.saturating_add(1);
        }
        let patience = turn.rules.message_timeout.mul_f64(0.8);
        let too_late = |bye: Timestamp| !turn.catching_up && turn.now.since(bye) > patience;
        if talks && call.bye_heard && call.bye_sent.is_some_and(too_late) {
            // The partner waited for our last word until it gave up: that was lost.
            missing = missing.saturating_add(1);
        }
        let whole = !talks || call.bye_heard || on_purpose;
        turn.recorder.count(if whole {
            CountMetric::CallsCompleted
        } else {
            CountMetric::CallsInterrupted
        });
        self.part(missing, turn);
        self.last_room_over = true;
        self.between_calls(turn);
    }

    fn ponged(&mut self, turn: &mut UserContext<'_>) {
        let Some(pinged) = self.pinged.take() else { return };
        turn.recorder.count(CountMetric::Pongs);
        turn.recorder.time(TimeMetric::Ping, turn.now.since(pinged));
        if self.finishing {
            turn.recorder.count(CountMetric::Alive);
            return self.close(turn);
        }
        if let UserScript::Hold { ping_every } = turn.rules.script_for(self.sampled) {
            self.ping_at = (pinged + *ping_every).max(turn.now);
        }
    }

    /// The server does not do all it is asked.
    fn declined(&self, turn: &mut UserContext<'_>) {
        if matches!(self.state, UserState::Waiting { .. } | UserState::Leaving { .. }) {
            self.excuse(turn);
        }
    }

    fn refused(&mut self, code: &str, turn: &mut UserContext<'_>) {
        let fault = match code {
            "rate_limited" => {
                if let UserState::InRoom(call) = &mut self.state {
                    call.limited = true;
                }
                self.limited = true;
                self.declined(turn);
                LoadFault::RateLimited
            }
            "draining" => {
                self.draining = true;
                self.declined(turn);
                // There are no more matches, and it is still in the room that it wanted to leave.
                if matches!(self.state, UserState::Waiting { .. }) {
                    self.close(turn);
                }
                LoadFault::Draining
            }
            // Both left at once; the other one was first.
            "not_in_room" if matches!(self.state, UserState::Leaving { .. }) => {
                return self.between_calls(turn);
            }
            _ => LoadFault::Refused,
        };
        turn.recorder.fault(fault, turn.now);
    }
}
