//! Frames → sessions: the relay, and every message a client may send. Pure.
//!
//! This is the path that decides what the server costs. A relayed message that lies in the
//! receive buffer is never copied out of it: its client header becomes a server header in
//! place, and all messages of one read leave for the partner as one piece.

use super::connection::{Pace, Role};
use super::core::Core;
use super::host::Host;
use crate::ids::{RoomNo, Slot, Token};
use crate::limits::SERVER_HEADER_BYTES;
use crate::session::{MatchRequest, Membership, QueueChange};
use crate::telemetry::labels::EndReason;
use crate::wire::message::client::{ClientMessage, RoomClaim, is_relay_for, parse_client_message};
use crate::wire::message::server::{LeaveReason, ServerMessage};
use crate::wire::message::{DEFAULT_QUEUE, ErrorCode};
use crate::wire::websocket::assembly::{
    IncomingItem, MessageError, MessageReader, PartialMessage, PayloadLocation,
};
use crate::wire::websocket::frame::{self, PONG, TEXT, server_header_len, write_server_header};
use std::borrow::Cow;
use std::ops::Range;
use tungstenite::protocol::frame::coding::{CloseCode, OpCode};

/// Frames for one destination that lie in the receive buffer one after the other.
#[derive(Debug, Default)]
pub(super) struct Burst {
    to: Option<Slot>,
    start: usize,
    end: usize,
    messages: u64,
    payload_bytes: u64,
}

impl Burst {
    /// Adds the frame whose payload lies at `range`: with a new header in place if it is the
    /// first, moved behind the last otherwise.
    #[inline]
    pub(super) fn add(&mut self, to: Slot, buffer: &mut [u8], range: Range<usize>, opcode: OpCode) {
        let length = range.len();
        if self.to.is_none() {
            self.to = Some(to);
            self.start = write_server_header(buffer, range.start, opcode, length);
            self.end = range.end;
        } else {
            // Every frame is four bytes shorter than it came, so there is room behind the last.
            let payload_at = self.end + server_header_len(length);
            buffer.copy_within(range, payload_at);
            write_server_header(buffer, payload_at, opcode, length);
            self.end = payload_at + length;
        }
        self.messages += 1;
        self.payload_bytes += length as u64;
    }

    /// Where the frames lie in the buffer; the burst is empty again.
    pub(super) fn take(&mut self) -> Range<usize> {
        let Burst { start, end, .. } = std::mem::take(self);
        start..end
    }
}

/// What a text message comes to.
enum Action {
    Relay(Membership),
    Refuse(ErrorCode),
    Find(String),
    Cancel,
    Leave(Membership),
}

/// Where messages in the common form go without a closer look, as long as their sender's state
/// does not change.
struct Lane {
    peer: Slot,
    room: RoomNo,
    /// The room's identifier, once a message has named one.
    name: Option<Token>,
}

/// Why the frames of a connection are not read any further.
struct Stop {
    code: CloseCode,
    reason: EndReason,
}

impl<H: Host> Core<H> {
    /// Handles bytes of a user's connection.
    pub(super) fn consume_frames(&mut self, slot: Slot, bytes: &mut [u8]) {
        let rules = self.rules;
        let held = self.take_held(slot);
        let mut reader = MessageReader::new(bytes, held, &rules);
        let mut burst = Burst::default();
        let mut lane = self.lane(slot);
        let mut short = 0;
        let stop = loop {
            let next = match reader.next_text() {
                Ok(Some(range)) => {
                    if let Some(Lane { peer, room, name }) = &mut lane
                        && is_relay_for(&reader.buffer()[range.clone()], || {
                            name.get_or_insert_with(|| self.room_token(*room)).as_bytes()
                        })
                    {
                        short += 1;
                        burst.add(*peer, reader.buffer(), range, TEXT);
                        continue;
                    }
                    Ok(Some(IncomingItem::Text(PayloadLocation::ReceiveBuffer(range))))
                }
                Ok(None) => reader.next(),
                Err(fault) => Err(fault),
            };
            match next {
                Ok(Some(item)) => {
                    if let Some(stop) = self.item(slot, &mut reader, &mut burst, item) {
                        break Some(stop);
                    }
                    // It may have left the room.
                    lane = self.lane(slot);
                }
                Ok(None) => break None,
                Err(fault) => {
                    break Some(Stop { code: fault.close_code(), reason: end_reason(fault) });
                }
            }
        };
        self.counters.messages_received.add(short);
        self.send_burst(&mut reader, &mut burst);
        match stop {
            None => {
                let held = reader.finish();
                self.keep_held(slot, held);
                self.send_answers();
            }
            Some(Stop { code, reason }) => self.close(slot, code, reason),
        }
    }

    /// The short way from a user to its partner, if it may be taken now.
    #[inline]
    fn lane(&self, slot: Slot) -> Option<Lane> {
        // guard: the relay fast path is off when messages have a rate [false]
        if self.setup.limits.max_messages_per_second.is_some() {
            return None;
        }
        let connection = &self.connections[slot.index()];
        let membership = connection.session()?.membership()?;
        // guard: the relay fast path is off until the room was announced [false]
        if connection.announcement_pending() {
            return None;
        }
        Some(Lane { peer: membership.peer, room: membership.room, name: None })
    }

    pub(super) fn take_held(&mut self, slot: Slot) -> Option<Box<PartialMessage>> {
        let extra = self.connections[slot.index()].extra.as_mut()?;
        let held = extra.held.take()?;
        self.counters.held_bytes.sub(held.memory_bytes() as i64);
        Some(held)
    }

    pub(super) fn keep_held(&mut self, slot: Slot, held: Option<Box<PartialMessage>>) {
        let Some(connection) = self.connections.get_mut(slot.index()) else { return };
        if let Some(mut held) = held {
            if connection.announcement_pending() {
                // It was read before `match_found` was written, whatever it will turn out to be.
                held.mark_stale();
            }
            self.counters.held_bytes.add(held.memory_bytes() as i64);
            connection.extra().held = Some(held);
        } else {
            connection.trim();
        }
    }

    /// Handles one message or control frame.
    #[inline]
    fn item(
        &mut self,
        slot: Slot,
        reader: &mut MessageReader<'_>,
        burst: &mut Burst,
        item: IncomingItem,
    ) -> Option<Stop> {
        match item {
            IncomingItem::Text(place) => {
                self.counters.messages_received.increment();
                if self.within_rate(slot) {
                    self.text(slot, reader, burst, place);
                }
                None
            }
            IncomingItem::Binary(_) => {
                self.counters.messages_received.increment();
                if self.within_rate(slot) {
                    // Many clients parse binary as JSON too: it could carry a forgery.
                    // guard: a binary message is refused [skip]
                    self.refuse(slot, ErrorCode::BadMessage);
                }
                None
            }
            IncomingItem::Ping(place) => {
                frame::push_server_frame(&mut self.answers.bytes, PONG, reader.bytes(&place));
                None
            }
            IncomingItem::Pong(_) => None,
            IncomingItem::Close(_) => {
                Some(Stop { code: CloseCode::Normal, reason: EndReason::ClientClose })
            }
        }
    }

    #[inline]
    fn within_rate(&mut self, slot: Slot) -> bool {
        let Some(most) = self.setup.limits.max_messages_per_second else { return true };
        let now_ms = self.clock.ms();
        match self.connections[slot.index()].rate.count(now_ms, most) {
            Pace::Allowed => return true,
            Pace::Refused => self.refuse(slot, ErrorCode::RateLimited),
            Pace::RefusedSilently => {}
        }
        self.counters.messages_dropped.increment();
        // guard: a message over the rate is not processed [true]
        false
    }

    #[inline]
    fn text(
        &mut self,
        slot: Slot,
        reader: &mut MessageReader<'_>,
        burst: &mut Burst,
        place: PayloadLocation,
    ) {
        let action = match parse_client_message(reader.bytes(&place)) {
            Ok(ClientMessage::Relay(_, claim)) => match self.room_meant(slot, &claim, &place) {
                Some(membership) => Action::Relay(membership),
                None => Action::Refuse(ErrorCode::NotInRoom),
            },
            Ok(ClientMessage::FindMatch { queue }) => {
                Action::Find(queue.unwrap_or(Cow::Borrowed(DEFAULT_QUEUE)).into_owned())
            }
            Ok(ClientMessage::CancelMatch) => Action::Cancel,
            Ok(ClientMessage::LeaveRoom(claim)) => match self.room_meant(slot, &claim, &place) {
                Some(membership) => Action::Leave(membership),
                None => Action::Refuse(ErrorCode::NotInRoom),
            },
            Ok(ClientMessage::Ping { payload }) => {
                return self.say(slot, ServerMessage::Pong { payload });
            }
            Err(code) => Action::Refuse(code),
        };
        match action {
            Action::Relay(membership) => self.relay(reader, burst, &place, membership.peer),
            Action::Refuse(code) => self.refuse(slot, code),
            Action::Cancel => self.cancel_match(slot),
            Action::Find(queue) => {
                self.send_burst(reader, burst);
                self.find_match(slot, &queue);
            }
            Action::Leave(membership) => {
                self.send_burst(reader, burst);
                self.leave_room(slot, membership);
            }
        }
    }

    /// The room that a message is meant for: the sender's present one, unless it names another
    /// or was begun before the sender could know of it.
    #[inline]
    fn room_meant(
        &mut self,
        slot: Slot,
        claim: &RoomClaim<'_>,
        place: &PayloadLocation,
    ) -> Option<Membership> {
        let connection = &self.connections[slot.index()];
        let membership = connection.session()?.membership()?;
        // guard: a room is relayed to only after it was announced [operand 1 false]
        if connection.announcement_pending()
            || matches!(place, PayloadLocation::Assembled { stale: true })
        {
            return None;
        }
        let named: Token;
        let meant = match claim {
            RoomClaim::Current => true,
            RoomClaim::Invalid => false,
            RoomClaim::Named(name) => {
                named = self.room_token(membership.room);
                // guard: a message names the present room [true]
                **name == *named.as_bytes()
            }
        };
        meant.then_some(membership)
    }

    /// Passes a message on: those in the receive buffer are gathered, others are sent.
    #[inline]
    fn relay(
        &mut self,
        reader: &mut MessageReader<'_>,
        burst: &mut Burst,
        place: &PayloadLocation,
        to: Slot,
    ) {
        match place {
            PayloadLocation::ReceiveBuffer(range) => {
                burst.add(to, reader.buffer(), range.clone(), TEXT)
            }
            PayloadLocation::Assembled { .. } | PayloadLocation::AssembledControl(_) => {
                self.relay_held(reader, burst, to)
            }
        }
    }

    /// Passes on a message that did not come in one piece.
    fn relay_held(&mut self, reader: &mut MessageReader<'_>, burst: &mut Burst, to: Slot) {
        self.send_burst(reader, burst);
        let Some(message) = reader.assembled_with_headroom() else { return };
        let length = message.len() - SERVER_HEADER_BYTES;
        let start = write_server_header(message, SERVER_HEADER_BYTES, TEXT, length);
        self.write(to, &message[start..]);
        self.relayed(1, length as u64);
    }

    /// Sends the messages that were gathered for the partner. Before anything that changes the
    /// room or writes to the partner otherwise.
    #[inline]
    fn send_burst(&mut self, reader: &mut MessageReader<'_>, burst: &mut Burst) {
        let Burst { to: Some(to), start, end, messages, payload_bytes } = std::mem::take(burst)
        else {
            return;
        };
        self.write(to, &reader.buffer()[start..end]);
        self.relayed(messages, payload_bytes);
    }

    #[inline]
    fn relayed(&mut self, messages: u64, payload_bytes: u64) {
        self.counters.messages_relayed.add(messages);
        self.counters.bytes_relayed.add(payload_bytes);
        let took = self.host.now().since(self.now);
        self.counters.relay_time.record_many(took, messages);
    }

    fn find_match(&mut self, slot: Slot, queue: &str) {
        if self.drain.is_some() {
            return self.refuse(slot, ErrorCode::Draining);
        }
        self.vacate(slot, LeaveReason::Next);
        let match_request = MatchRequest {
            ticket: self.new_ticket_no(),
            queue: self.setup.mint.queue(queue),
            since: self.now,
        };
        let Role::User(session) = &mut self.connections[slot.index()].role else { return };
        let change = session.request_match(match_request);
        match change {
            QueueChange::Unchanged => {}
            QueueChange::Entered { left } => {
                if let Some(left) = left {
                    self.count_waiting(left, -1);
                }
                self.count_waiting(match_request.queue, 1);
                self.update_matcher(slot);
            }
        }
        let is_first = self.answers.bytes.is_empty();
        self.say(slot, ServerMessage::Waiting { queue });
        if is_first && change != QueueChange::Unchanged {
            // Two who meet at once get `waiting` and `match_found` by one send.
            self.answers.lone_waiting = self.answers.bytes.len();
        }
    }

    fn cancel_match(&mut self, slot: Slot) {
        let Some(session) = self.connections[slot.index()].session_mut() else { return };
        match session.cancel_match() {
            None => self.refuse(slot, ErrorCode::NotWaiting),
            Some(match_request) => {
                self.count_waiting(match_request.queue, -1);
                self.update_matcher(slot);
                self.say(slot, ServerMessage::MatchCancelled);
            }
        }
    }

    fn leave_room(&mut self, slot: Slot, membership: Membership) {
        self.vacate(slot, LeaveReason::Left);
        let room_id = self.room_token(membership.room);
        self.say(slot, ServerMessage::RoomLeft { room_id });
    }
}

/// The reason under which the end of a connection is counted.
pub(super) fn end_reason(fault: MessageError) -> EndReason {
    match fault {
        MessageError::Frame(_) | MessageError::Sequence | MessageError::BadClose => {
            EndReason::ProtocolError
        }
        MessageError::NotUtf8 => EndReason::NotUtf8,
        MessageError::TooManyFragments => EndReason::TooManyFragments,
        MessageError::TooLarge => EndReason::MessageTooLarge,
    }
}
