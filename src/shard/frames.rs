//! The messages of a session: the relay, and every other message that a client may send. Pure.
//!
//! This path decides what the server costs. A relayed message that is in the receive buffer is
//! never copied out of it: its client header becomes a server header in place, and all messages
//! of one read are sent to the partner with one send.

use super::backlog::RelaySpace;
use super::core::Core;
use super::host::Host;
use super::message_rate::{RateBucket, RateDecision};
use super::relay_batch::{FinishedBatch, RelayBatch};
use super::replies::Replies;
use crate::ids::{RoomNo, Slot, Token};
use crate::limits::SERVER_HEADER_BYTES;
use crate::session::Membership;
use crate::telemetry::labels::EndReason;
use crate::wire::egress::EgressContent;
use crate::wire::message::client::{ClientMessage, RoomClaim, is_relay_for, parse_client_message};
use crate::wire::message::server::ServerMessage;
use crate::wire::message::{
    ClientMessageType, DEFAULT_QUEUE, ErrorCode, MessageRefusal, RelayKind,
};
use crate::wire::websocket::assembly::{
    IncomingItem, MessageError, MessageReader, PartialMessage, PayloadLocation,
};
use crate::wire::websocket::frame::{PONG, TEXT, write_server_header};
use std::borrow::Cow;
use tungstenite::protocol::frame::coding::CloseCode;

/// How to handle a text message.
enum TextAction {
    Relay(RelayKind, Membership),
    Refuse(MessageRefusal),
    FindMatch(String),
    CancelMatch,
    LeaveRoom(Membership),
}

/// Where relayed messages in the usual form go without being classified, for as long as the
/// state of their sender does not change.
struct RelayFastPath {
    peer: Slot,
    room: RoomNo,
    /// The identifier of the room, once a message has named one.
    token: Option<Token>,
    /// What the peer can be sent.
    space: RelaySpace,
    /// Whether all messages of this read fit into that space, so that none has to be checked.
    fits_read: bool,
    /// Whether the sender has relayed nothing in its room.
    is_new_member: bool,
}

/// Why no more frames of a connection are read.
struct CloseCause {
    code: CloseCode,
    reason: EndReason,
}

impl<H: Host> Core<H> {
    /// Handles input of a session.
    pub(super) fn handle_frames(&mut self, bytes: &mut [u8], replies: &mut Replies) {
        let slot = replies.slot();
        let rules = self.frame_rules();
        let assembly = self.take_assembly(slot);
        let mut reader = MessageReader::new(bytes, assembly, &rules);
        let mut batch = RelayBatch::default();
        let mut fast_path = self.relay_fast_path(slot, reader.buffer().len());
        let mut fast_messages = 0;
        if fast_path.is_none() {
            self.release_match_request(slot);
        }
        let close = loop {
            let next = match reader.next_text() {
                Ok(Some(range)) => {
                    if let Some(RelayFastPath { peer, room, token, space, fits_read, .. }) =
                        &mut fast_path
                        && (*fits_read || space.admits(batch.frame_bytes(), range.len()))
                        && is_relay_for(&reader.buffer()[range.clone()], || {
                            token.get_or_insert_with(|| self.room_token(*room)).as_bytes()
                        })
                    {
                        fast_messages += 1;
                        batch.add(*peer, reader.buffer(), range, TEXT);
                        continue;
                    }
                    Ok(Some(IncomingItem::Text(PayloadLocation::ReceiveBuffer(range))))
                }
                Ok(None) => reader.next(),
                Err(fault) => Err(fault),
            };
            match next {
                Ok(Some(item)) => {
                    if let Some(close) = self.handle_item(replies, &mut reader, &mut batch, item) {
                        break Some(close);
                    }
                    // The session may have left the room.
                    fast_path = self.relay_fast_path(slot, reader.buffer().len());
                }
                Ok(None) => break None,
                Err(fault) => {
                    break Some(CloseCause { code: fault.close_code(), reason: end_reason(fault) });
                }
            }
        };
        self.counters.messages_received.add(fast_messages);
        // Without a fast path now, the session may still be in the room.
        if fast_messages > 0 && fast_path.is_none_or(|path| path.is_new_member) {
            self.note_relayed(slot);
        }
        self.send_batch(&mut reader, &mut batch);
        match close {
            None => {
                let assembly = reader.finish();
                self.store_assembly(slot, assembly);
                self.send_replies(replies);
            }
            Some(CloseCause { code, reason }) => self.close_behind(replies, code, reason),
        }
    }

    /// The fast path from a session to its partner, if it may be taken now, for a read of
    /// `read_bytes`.
    #[inline]
    fn relay_fast_path(&self, slot: Slot, read_bytes: usize) -> Option<RelayFastPath> {
        // guard: the relay fast path is off when messages have a rate [false]
        if self.setup.limits.max_messages_per_second.is_some() {
            return None;
        }
        let entry = &self.table[slot];
        let session = entry.role.session()?;
        let Membership { peer, room, .. } = session.membership()?;
        // guard: the relay fast path is off until the room was announced [false]
        if entry.connection.as_ref()?.announcement_pending() {
            return None;
        }
        let space = self.relay_space(peer);
        Some(RelayFastPath {
            peer,
            room,
            token: None,
            space,
            // A server frame is shorter than the client's, so its frames are shorter than the read.
            fits_read: space.admits(read_bytes, 0),
            is_new_member: session.is_new_member(),
        })
    }

    /// Takes the received part of an incomplete message.
    pub(super) fn take_assembly(&mut self, slot: Slot) -> Option<Box<PartialMessage>> {
        let pending = self.table.connection_mut(slot)?.pending.as_mut()?;
        let assembly = pending.assembly.take()?;
        self.counters.held_bytes.sub(assembly.memory_bytes() as i64);
        Some(assembly)
    }

    /// Stores the received part of an incomplete message, if there is one.
    pub(super) fn store_assembly(&mut self, slot: Slot, assembly: Option<Box<PartialMessage>>) {
        let Some(connection) = self.table.connection_mut(slot) else { return };
        if let Some(mut assembly) = assembly {
            if connection.announcement_pending() {
                // Its first bytes were read before `match_found` was sent, so no room gets it.
                assembly.mark_stale();
            }
            assembly.begin(self.timeouts.now_ms());
            self.counters.held_bytes.add(assembly.memory_bytes() as i64);
            connection.pending_mut().assembly = Some(assembly);
        } else {
            connection.free_idle_pending();
        }
    }

    /// Handles one message or control frame.
    #[inline]
    fn handle_item(
        &mut self,
        replies: &mut Replies,
        reader: &mut MessageReader<'_>,
        batch: &mut RelayBatch,
        item: IncomingItem,
    ) -> Option<CloseCause> {
        match item {
            IncomingItem::Text(place) => {
                self.counters.messages_received.increment();
                self.handle_text(replies, reader, batch, place);
                None
            }
            IncomingItem::Binary(_) => {
                self.counters.messages_received.increment();
                if self.is_within_rate(replies, None) {
                    // Many clients parse binary messages as JSON too, so one that was relayed
                    // could be taken for a message of the server.
                    // guard: a binary message is refused [skip]
                    self.refuse(replies, MessageRefusal::new(ErrorCode::BadMessage, None));
                }
                None
            }
            IncomingItem::Ping(place) => {
                replies.push_frame(PONG, reader.bytes(&place));
                None
            }
            IncomingItem::Pong(_) => None,
            IncomingItem::Close(_) => {
                Some(CloseCause { code: CloseCode::Normal, reason: EndReason::ClientClose })
            }
        }
    }

    /// Counts a message of this type, or of none that clients send. If it exceeds the rate, it is
    /// refused, and the caller drops it.
    #[inline]
    fn is_within_rate(
        &mut self,
        replies: &mut Replies,
        message_type: Option<ClientMessageType>,
    ) -> bool {
        let Some(limit) = self.setup.limits.max_messages_per_second else { return true };
        let now_ms = self.timeouts.now_ms();
        let Some(state) = self.sessions.rates.get_mut(replies.slot()) else { return true };
        let bucket = match message_type {
            Some(message_type) if message_type.is_state_change() => RateBucket::StateChanges,
            Some(_) | None => RateBucket::Messages,
        };
        match state.count(now_ms, limit, bucket) {
            RateDecision::Allowed => return true,
            RateDecision::Refused => {
                self.refuse(replies, MessageRefusal::new(ErrorCode::RateLimited, message_type))
            }
            RateDecision::RefusedSilently => {}
        }
        self.counters.messages_dropped.increment();
        // guard: a message over the rate is not processed [true]
        false
    }

    #[inline]
    fn handle_text(
        &mut self,
        replies: &mut Replies,
        reader: &mut MessageReader<'_>,
        batch: &mut RelayBatch,
        place: PayloadLocation,
    ) {
        let slot = replies.slot();
        let message = parse_client_message(reader.bytes(&place));
        let message_type = || match &message {
            Ok(message) => Some(message.message_type()),
            Err(refusal) => refusal.refused,
        };
        if self.setup.limits.max_messages_per_second.is_some()
            && !self.is_within_rate(replies, message_type())
        {
            return;
        }
        let not_in_room = MessageRefusal::new(ErrorCode::NotInRoom, message_type());
        let action = match message {
            Ok(ClientMessage::Relay(kind, claim)) => {
                match self.claimed_room(slot, &claim, &place) {
                    Some(membership) => TextAction::Relay(kind, membership),
                    None => TextAction::Refuse(not_in_room),
                }
            }
            Ok(ClientMessage::FindMatch { queue }) => {
                let queue = queue.unwrap_or(Cow::Borrowed(DEFAULT_QUEUE));
                TextAction::FindMatch(queue.into_owned())
            }
            Ok(ClientMessage::CancelMatch) => TextAction::CancelMatch,
            Ok(ClientMessage::LeaveRoom(claim)) => match self.claimed_room(slot, &claim, &place) {
                Some(membership) => TextAction::LeaveRoom(membership),
                None => TextAction::Refuse(not_in_room),
            },
            Ok(ClientMessage::Ping { payload }) => {
                return replies.push_message(ServerMessage::Pong { payload });
            }
            Err(refusal) => TextAction::Refuse(refusal),
        };
        match action {
            TextAction::Relay(kind, Membership { peer, .. }) => {
                self.note_relayed(slot);
                let bytes = reader.bytes(&place).len();
                if self.has_relay_space(reader, batch, peer, bytes) {
                    self.relay(reader, batch, &place, peer);
                } else {
                    let message_type = ClientMessageType::Relay(kind);
                    self.refuse(replies, MessageRefusal::of(message_type, ErrorCode::PeerBusy));
                }
            }
            TextAction::Refuse(refusal) => self.refuse(replies, refusal),
            TextAction::CancelMatch => self.cancel_match(replies),
            TextAction::FindMatch(queue) => {
                self.send_batch(reader, batch);
                self.find_match(replies, &queue);
            }
            TextAction::LeaveRoom(membership) => {
                self.send_batch(reader, batch);
                self.leave_room(replies, membership);
            }
        }
    }

    /// The room that a message is for: the sender's current one, unless the message names another
    /// or began before the sender was sent its `match_found`.
    #[inline]
    fn claimed_room(
        &mut self,
        slot: Slot,
        claim: &RoomClaim<'_>,
        place: &PayloadLocation,
    ) -> Option<Membership> {
        let entry = &self.table[slot];
        let membership = entry.role.session()?.membership()?;
        let connection = entry.connection.as_ref()?;
        // guard: a room is relayed to only after it was announced [operand 1 false]
        if connection.announcement_pending()
            || matches!(place, PayloadLocation::Assembled { stale: true })
        {
            return None;
        }
        let token: Token;
        let is_current = match claim {
            RoomClaim::Current => true,
            RoomClaim::Invalid => false,
            RoomClaim::Named(name) => {
                token = self.room_token(membership.room);
                // guard: a message names the present room [true]
                **name == *token.as_bytes()
            }
        };
        is_current.then_some(membership)
    }

    /// Relays a message. Messages in the receive buffer are collected, others are sent.
    #[inline]
    fn relay(
        &mut self,
        reader: &mut MessageReader<'_>,
        batch: &mut RelayBatch,
        place: &PayloadLocation,
        to: Slot,
    ) {
        match place {
            PayloadLocation::ReceiveBuffer(range) => {
                batch.add(to, reader.buffer(), range.clone(), TEXT)
            }
            PayloadLocation::Assembled { .. } | PayloadLocation::AssembledControl(_) => {
                self.relay_assembled(reader, batch, to)
            }
        }
    }

    /// Relays a message that came in several parts.
    fn relay_assembled(
        &mut self,
        reader: &mut MessageReader<'_>,
        batch: &mut RelayBatch,
        to: Slot,
    ) {
        self.send_batch(reader, batch);
        let Some(message) = reader.assembled_with_headroom() else { return };
        let length = message.len() - SERVER_HEADER_BYTES;
        let start = write_server_header(message, SERVER_HEADER_BYTES, TEXT, length);
        self.transmit(to, &message[start..], EgressContent::Frames);
        self.count_relayed(1, length as u64);
    }

    /// Sends the messages that were collected for the partner. This has to come before anything
    /// that changes the room or sends the partner something else.
    #[inline]
    pub(super) fn send_batch(&mut self, reader: &mut MessageReader<'_>, batch: &mut RelayBatch) {
        let Some(FinishedBatch { to, range, messages, payload_bytes }) = batch.finish() else {
            return;
        };
        self.transmit(to, &reader.buffer()[range], EgressContent::Frames);
        self.count_relayed(messages, payload_bytes);
    }

    #[inline]
    fn count_relayed(&mut self, messages: u64, payload_bytes: u64) {
        self.counters.messages_relayed.add(messages);
        self.counters.bytes_relayed.add(payload_bytes);
        let took = self.host.now().since(self.now);
        self.counters.relay_time.record_many(took, messages);
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
