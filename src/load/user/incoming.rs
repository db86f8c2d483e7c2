//! How a user reacts to the server's messages. Pure.

use super::call::ActiveCall;
use super::{User, UserContext, UserEvent, UserScript, UserState, Withdrawal};
use crate::load::measure::{CountMetric, LoadFault, TimeMetric};
use crate::load::message_header::{DecodedMessage, id_hash};
use crate::load::pairing_ledger::MatchNotice;
use crate::load::room_traffic::{RoomExit, RoomTraffic};
use crate::timestamp::Timestamp;
use crate::wire::message::client::write_cancel_match;
use crate::wire::message::server::{ParsedServerMessage, parse_server_message};

impl User {
    /// Handles a text message.
    pub fn on_text(&mut self, text: &[u8], context: &mut UserContext<'_>) {
        if let Some(message) = context.decoder.decode(text) {
            return self.on_relayed(message, context);
        }
        match parse_server_message(text) {
            // A relayed message that the server has rewritten.
            Ok(ParsedServerMessage::Relayed { .. }) => {
                self.on_relayed(DecodedMessage::Corrupted, context)
            }
            Ok(ParsedServerMessage::Unknown) | Err(_) if context.decoder.has_marker(text) => {
                self.on_relayed(DecodedMessage::Corrupted, context);
            }
            Ok(message) => self.on_server_message(message, context),
            Err(_) => context.recorder.record_fault(LoadFault::BadMessage, context.now),
        }
    }

    fn on_server_message(
        &mut self,
        message: ParsedServerMessage<'_>,
        context: &mut UserContext<'_>,
    ) {
        match message {
            ParsedServerMessage::Session { session_id } => self.on_session(&session_id, context),
            _ if self.vanishing().is_some() => {}
            ParsedServerMessage::Waiting => {
                if let UserState::Waiting { acknowledged, withdrawal, .. } = &mut self.state {
                    *acknowledged = true;
                    self.last_room_ended = true;
                    if *withdrawal == Withdrawal::Planned {
                        *withdrawal = Withdrawal::Sent;
                        context.encoder.encode_text(context.out, write_cancel_match);
                    }
                }
            }
            ParsedServerMessage::MatchFound { room_id, peer_id, initiator } => {
                self.on_match_found(&room_id, &peer_id, initiator, context);
            }
            ParsedServerMessage::MatchCancelled
                if matches!(
                    self.state,
                    UserState::Waiting { withdrawal: Withdrawal::Sent, .. }
                ) =>
            {
                self.on_withdrawn(context);
            }
            ParsedServerMessage::RoomLeft | ParsedServerMessage::MatchCancelled => {
                if let UserState::Leaving { .. } = self.state {
                    self.last_room_ended = true;
                    self.continue_after_room(context);
                }
            }
            ParsedServerMessage::PeerLeft { room_id, reason } => {
                self.on_peer_left(&room_id, &reason, context);
            }
            ParsedServerMessage::Pong => self.on_pong(context),
            ParsedServerMessage::Error { code, .. } => self.on_error(&code, context),
            ParsedServerMessage::Draining => {
                self.server_draining = true;
                self.exempt_pending_request(context);
                context.recorder.record_fault(LoadFault::Draining, context.now);
            }
            // `on_text` handles relayed messages.
            ParsedServerMessage::Relayed { .. } | ParsedServerMessage::Unknown => {}
        }
    }

    fn on_session(&mut self, session_id: &str, context: &mut UserContext<'_>) {
        let UserState::AwaitingSession = self.state else {
            return context.recorder.record_fault(LoadFault::BadMessage, context.now);
        };
        self.session = id_hash(session_id);
        self.state = UserState::Idle;
        context.recorder.count(CountMetric::Connected);
        context.events.push(UserEvent::SessionOpened(self.session));
        if self.finishing {
            return self.finish(context);
        }
        match context.rules.script_for(self.in_sample) {
            UserScript::Hold { ping_every } => {
                self.ping_at = context.now + ping_every.mul_f64(self.rng.next_fraction());
            }
            UserScript::Rounds { .. } => {}
            UserScript::Calls(_) => self.request_match(context.now, context),
        }
    }

    fn on_match_found(
        &mut self,
        room_id: &str,
        peer_id: &str,
        initiator: bool,
        context: &mut UserContext<'_>,
    ) {
        let notice = MatchNotice {
            room: id_hash(room_id),
            me: self.session,
            peer: id_hash(peer_id),
            initiator,
        };
        context.events.push(UserEvent::Matched(notice));
        let room_time = match context.rules.script_for(self.in_sample) {
            UserScript::Calls(plan) => self.rng.duration_between(plan.talk_min, plan.talk_max),
            script @ (UserScript::Hold { .. } | UserScript::Rounds { .. }) => {
                script.round_room_time()
            }
        };
        let mut begins = context.now;
        match &self.state {
            UserState::Waiting { since, asked, acknowledged, withdrawal, .. } => {
                self.withdrawal_crossed = *withdrawal == Withdrawal::Sent;
                if !acknowledged {
                    // The server must answer a match request with `waiting` first.
                    context.recorder.record_fault(LoadFault::BadMessage, context.now);
                }
                context.events.push(UserEvent::Served { asked: *since, queue: self.queue });
                context.recorder.count(CountMetric::Matched);
                context.recorder.record_time(TimeMetric::Match, context.now.since(*since));
                context.recorder.record_time(TimeMetric::MatchService, context.now.since(*asked));
                if let UserScript::Rounds { .. } = context.rules.script_for(self.in_sample) {
                    begins = *since;
                }
            }
            // The pairing ledger counts the user in two rooms as a fault.
            UserState::InRoom(call) => {
                (self.last_room, self.last_room_ended) = (call.room, false);
            }
            // The match was made before the server read the Close frame, and the partner will
            // receive `peer_left`.
            UserState::Closing { .. } => {
                let (session, room) = (self.session, notice.room);
                (self.last_room, self.last_room_ended) = (room, false);
                let traffic = RoomTraffic::none(RoomExit::Left);
                let ended = UserEvent::RoomEnded { session, room, missing: 0, traffic };
                return context.events.push(ended);
            }
            UserState::AwaitingSession
            | UserState::Idle
            | UserState::Leaving { .. }
            | UserState::Vanished(_) => {
                context.recorder.record_fault(LoadFault::UnrequestedMatch, context.now);
            }
        }
        let ends_at = if self.finishing { context.now } else { begins + room_time };
        self.enter_room(ActiveCall::new(room_id, peer_id, initiator, ends_at), context);
    }

    fn enter_room(&mut self, mut call: ActiveCall, context: &mut UserContext<'_>) {
        call.messages_dropped = self.rate_limited;
        if self.finishing {
            call.leave_at = context.now + context.rules.message_timeout * 2;
        }
        if let UserScript::Calls(plan) = context.rules.script_for(self.in_sample) {
            call.plan_messages(plan, &mut self.rng, context.now);
        }
        if self.early_messages.0 == call.room {
            let (_, many) = std::mem::take(&mut self.early_messages);
            context.recorder.record_faults(LoadFault::BeforeMatch, many.into(), context.now);
            // These messages have arrived and must not also count as lost.
            (0..many).for_each(|_| call.received.record_unreadable());
        }
        self.report_early_messages(context);
        self.state = UserState::InRoom(Box::new(call));
        self.wake(context);
    }

    fn on_peer_left(&mut self, room_id: &str, reason: &str, context: &mut UserContext<'_>) {
        let room = id_hash(room_id);
        let call = match &self.state {
            UserState::InRoom(call) if call.room == room => call,
            _ => {
                // Both members left at the same time. After the server has confirmed the leave, or
                // for any other room, the message breaks the protocol.
                if room != self.last_room || self.last_room_ended {
                    context.recorder.record_fault(LoadFault::BadMessage, context.now);
                }
                self.last_room_ended |= room == self.last_room;
                return;
            }
        };
        // A partner that closed before it learned of the match has sent nothing in this room.
        let has_talked = !call.received.is_empty();
        let on_purpose = reason == "next" || reason == "left" && has_talked;
        let talks = matches!(context.rules.script_for(self.in_sample), UserScript::Calls(_));
        let mut missing = call.received.missing();
        if talks && on_purpose && !call.final_received {
            // A partner that leaves on purpose has sent a final message, which was lost.
            missing = missing.saturating_add(1);
        }
        let patience = context.rules.message_timeout.mul_f64(0.8);
        let too_late = |sent: Timestamp| !context.catching_up && context.now.since(sent) > patience;
        if talks && call.final_received && call.final_sent_at.is_some_and(too_late) {
            // The partner waited until its timeout: this side's final message was lost.
            missing = missing.saturating_add(1);
        }
        let is_complete = !talks || call.final_received || on_purpose;
        let outcome =
            if is_complete { CountMetric::CallsCompleted } else { CountMetric::CallsInterrupted };
        context.recorder.count(outcome);
        self.end_room(missing, RoomExit::PeerLeft, context);
        self.last_room_ended = true;
        self.continue_after_room(context);
    }

    fn on_pong(&mut self, context: &mut UserContext<'_>) {
        let Some(pinged) = self.unanswered_ping.take() else { return };
        context.recorder.count(CountMetric::Pongs);
        self.record_ping(pinged, context);
        if self.finishing {
            context.recorder.count(CountMetric::Alive);
            return self.close(context);
        }
        if let UserScript::Hold { ping_every } = context.rules.script_for(self.in_sample) {
            self.ping_at = (pinged + *ping_every).max(context.now);
        }
    }

    /// The server refuses requests or drops messages: reports a pending request as exempt.
    fn exempt_pending_request(&self, context: &mut UserContext<'_>) {
        if matches!(self.state, UserState::Waiting { .. } | UserState::Leaving { .. }) {
            self.report_exempt(context);
        }
    }

    fn on_error(&mut self, code: &str, context: &mut UserContext<'_>) {
        let fault = match code {
            "rate_limited" | "too_many_matches" => {
                if let UserState::InRoom(call) = &mut self.state {
                    call.messages_dropped = true;
                }
                self.rate_limited = true;
                self.exempt_pending_request(context);
                match code {
                    "rate_limited" => LoadFault::RateLimited,
                    _ => LoadFault::TooManyMatches,
                }
            }
            "peer_busy" => {
                if let UserState::InRoom(call) = &mut self.state {
                    // The message was refused and does not arrive.
                    call.messages_dropped = true;
                }
                LoadFault::PeerBusy
            }
            "draining" => {
                self.server_draining = true;
                self.exempt_pending_request(context);
                // The server makes no more matches, and a user that asked for the next partner is
                // still in its old room.
                if matches!(self.state, UserState::Waiting { .. }) {
                    self.close(context);
                }
                LoadFault::Draining
            }
            // The match was made before the server read the withdrawal.
            "not_waiting" if std::mem::take(&mut self.withdrawal_crossed) => return,
            "not_in_room" => match self.state {
                UserState::InRoom(_) => LoadFault::NotInRoom,
                // Both members left at the same time, the partner first.
                UserState::Leaving { .. } => return self.continue_after_room(context),
                // A message crossed `peer_left`.
                UserState::AwaitingSession
                | UserState::Idle
                | UserState::Waiting { .. }
                | UserState::Closing { .. }
                | UserState::Vanished(_) => return,
            },
            _ => {
                let (refused, now) = (LoadFault::Refused, context.now);
                return context.recorder.record_fault_with_cause(refused, code, now);
            }
        };
        context.recorder.record_fault(fault, context.now);
    }
}
