//! The actions of a virtual user: every message that a client may send and every kind of
//! misbehaviour, each recorded with its expected result.

use super::host::{Shared, address_of};
use super::pending_requests::{PendingRequest, Request, RoomReference};
use super::plan::UserAction;
use super::random::Random;
use super::session_model::{ExitReason, SentMessage};
use super::user::{PendingHttpRequest, Stage, User, UserContext, View};
use switchboard::limits::MESSAGE_FRAGMENTS;
use switchboard::wire::http::{WebSocketKey, write_get_request, write_upgrade_request};
use switchboard::wire::message::RelayKind;
use switchboard::wire::message::client::{
    write_cancel_match, write_find_match, write_leave_room, write_relay,
};
use switchboard::wire::websocket::frame::{BINARY, CLOSE, PING, PONG, TEXT, push_client_frame};
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// A user does not send while more than this is in flight.
const MAX_BYTES_IN_FLIGHT: usize = 16 * 1024;
const CONTINUATION: OpCode = OpCode::Data(Data::Continue);
const FIN: u8 = 0x80;

/// Invalid messages and the expected error codes.
const INVALID_MESSAGES: [(&[u8], Request); 8] = [
    (b"", Request::Bad("bad_json", None)),
    (b"[1,2]", Request::Bad("bad_json", None)),
    (b"{\"type\":\"offer\"", Request::Bad("bad_json", None)),
    (b"{\"payload\":{}}", Request::Bad("bad_message", None)),
    (b"{\"type\":\"offer\",\"Type\":\"offer\"}", Request::Bad("bad_message", None)),
    (b"{\"type\":\"match_found\"}", Request::Bad("unknown_type", None)),
    (
        b"{\"type\":\"find_match\",\"payload\":{\"queue\":\"no spaces\"}}",
        Request::Bad("bad_queue", Some("find_match")),
    ),
    (b"{\"type\":\"find_match\",\"payload\":[]}", Request::Bad("bad_message", Some("find_match"))),
];

impl User {
    /// Whether the user can still send.
    pub(crate) fn can_send(&self) -> bool {
        let behaviour = &self.behaviour;
        let silent = behaviour.half_closed || behaviour.vanished || behaviour.closed;
        !silent && behaviour.violation.is_none() && self.stage != Stage::Over
    }

    /// Performs an action, if it is possible now.
    pub(crate) fn act(&mut self, action: UserAction, context: &mut UserContext<'_>) {
        match action {
            UserAction::ReadAgain => return self.reads = true,
            UserAction::RegainNetwork => {
                return context.shared.connections[self.id].packets_lost = false;
            }
            _ => {}
        }
        if !self.can_send()
            || context.shared.connections[self.id].sending.len() > MAX_BYTES_IN_FLIGHT
        {
            return;
        }
        context.shared.trace.log(|| format!("user {}: {action:?} as {:?}", self.id, self.view));
        match action {
            UserAction::StopReading => {
                context.shared.counts.count("user: stops reading");
                self.reads = false;
            }
            UserAction::LoseNetwork => {
                context.shared.counts.count("user: loses its network");
                context.shared.connections[self.id].packets_lost = true;
            }
            UserAction::HalfClose => self.half_close(context),
            UserAction::Vanish | UserAction::Reset => {
                self.vanish(action == UserAction::Reset, context)
            }
            _ => match self.stage {
                Stage::Http if action == UserAction::Close => self.half_close(context),
                Stage::Http => self.request(action, context),
                Stage::Upgrading(_) | Stage::Open => self.perform(action, context),
                Stage::Closed(_) => self.half_close(context),
                Stage::Over => {}
            },
        }
    }

    /// Sends the PROXY header of this user.
    pub(crate) fn send_proxy_header(&mut self, shared: &mut Shared) {
        shared.counts.count("user: named by a proxy");
        let header = format!("PROXY TCP4 {} 10.0.0.9 50000 80\r\n", address_of(self.id));
        self.write(header.as_bytes(), shared);
    }

    /// Sends HTTP requests, or the WebSocket handshake.
    fn request(&mut self, action: UserAction, context: &mut UserContext<'_>) {
        let mut out = Vec::new();
        let random = &mut context.shared.random;
        if action == UserAction::Http {
            const TARGETS: [(&str, u16); 5] =
                [("/health", 200), ("/stats", 200), ("/", 200), ("/none", 404), ("/ws", 426)];
            let requests = random.between(1, 4);
            for nth in 1..=requests {
                let (target, status) = random.pick(&TARGETS);
                let before = out.len();
                let last = nth == requests && random.chance(400);
                let fields: &[_] = if last { &[("Connection", "close")] } else { &[] };
                write_get_request(&mut out, "sim", target, fields);
                let head_only = random.chance(200);
                if head_only {
                    out.splice(before..before + 3, *b"HEAD");
                }
                self.pending_http.push_back(PendingHttpRequest { status, head_only });
            }
            context.shared.counts.count("user: plain requests");
            context.shared.connections[self.id].pipelined = true;
        } else {
            let nonce = std::array::from_fn(|_| random.word() as u8);
            let key = WebSocketKey::from_nonce(nonce);
            let target = random.pick(&["/", "/ws", "/ws?resume=x"]);
            write_upgrade_request(&mut out, "sim", target, key, &[]);
            self.stage = Stage::Upgrading(key.accept());
        }
        self.write(&out, context.shared);
        if action == UserAction::Http && context.shared.random.chance(200) {
            self.half_close(context);
        }
    }

    fn perform(&mut self, action: UserAction, context: &mut UserContext<'_>) {
        match action {
            UserAction::Find if self.view == View::Idle || context.shared.random.chance(150) => {
                self.find(context.shared.plan.queues[0], context);
            }
            UserAction::Find => {}
            UserAction::FindElsewhere => {
                let queues = context.shared.plan.queues;
                let queue = context.shared.random.pick(queues);
                self.find(queue, context);
            }
            UserAction::Cancel => self.cancel(context),
            UserAction::Leave => self.leave(context),
            UserAction::Relay => match self.room().map(str::to_owned) {
                Some(room) => self.relay(RoomReference::Room(room), None, context),
                None => self.perform(UserAction::Find, context),
            },
            UserAction::Flood => {
                let room = self.room().filter(|_| self.reads).map(str::to_owned);
                let most = context.shared.plan.limits.max_message_bytes;
                for _ in 0..context.shared.random.between(3, 20) {
                    match &room {
                        Some(room) => {
                            self.relay(RoomReference::Room(room.clone()), Some(most), context);
                        }
                        // The pongs may fill the user's own backlog.
                        None => self.ping(most, context),
                    }
                }
            }
            UserAction::CarelessRelay => self.relay(RoomReference::Absent, None, context),
            UserAction::StaleRelay => {
                let reference =
                    self.previous_room.clone().map_or(RoomReference::Invalid, RoomReference::Room);
                self.relay(reference, None, context);
            }
            UserAction::Ping => self.ping(0, context),
            UserAction::SocketPing => self.socket_ping(context),
            UserAction::Pong => self.pong(b"unrequested", context),
            UserAction::Nonsense => self.send_invalid(context),
            UserAction::Storm => {
                const ONES: [UserAction; 8] = [
                    UserAction::Find,
                    UserAction::FindElsewhere,
                    UserAction::Cancel,
                    UserAction::Leave,
                    UserAction::Relay,
                    UserAction::Relay,
                    UserAction::CarelessRelay,
                    UserAction::SocketPing,
                ];
                for _ in 0..context.shared.random.between(2, 8) {
                    let one = context.shared.random.pick(&ONES);
                    self.perform(one, context);
                }
            }
            UserAction::Close => self.close(context),
            UserAction::BreakProtocol => self.break_protocol(context),
            UserAction::HalfClose
            | UserAction::Vanish
            | UserAction::Reset
            | UserAction::StopReading
            | UserAction::ReadAgain
            | UserAction::LoseNetwork
            | UserAction::RegainNetwork
            | UserAction::Http => {}
        }
    }

    /// `find_match`.
    pub(crate) fn find(&mut self, queue: &'static str, context: &mut UserContext<'_>) {
        let mut text = Vec::new();
        let unnamed = queue == "default" && context.shared.random.chance(500);
        write_find_match(&mut text, (!unnamed).then_some(queue));
        self.record_exit(ExitReason::Next, context);
        self.record_request(Request::Find(queue), context);
        self.send_text(&text, context.shared);
        let plan = &context.shared.plan;
        let is_certain = !plan.drains && !plan.limits_matches();
        self.record_exit_deadline(is_certain, context);
    }

    /// `cancel_match`.
    pub(crate) fn cancel(&mut self, context: &mut UserContext<'_>) {
        let mut text = Vec::new();
        write_cancel_match(&mut text);
        self.record_request(Request::Cancel, context);
        self.send_text(&text, context.shared);
    }

    fn leave(&mut self, context: &mut UserContext<'_>) {
        let reference = match (context.shared.random.below(6), self.room(), &self.previous_room) {
            (0, _, Some(old)) => RoomReference::Room(old.clone()),
            (1, ..) => RoomReference::Invalid,
            (2, Some(room), _) => RoomReference::Room(room.to_owned()),
            _ => RoomReference::Absent,
        };
        self.leave_room(reference, context);
    }

    /// `leave_room`.
    pub(crate) fn leave_room(&mut self, reference: RoomReference, context: &mut UserContext<'_>) {
        let mut text = Vec::new();
        match &reference {
            RoomReference::Absent => write_leave_room(&mut text),
            RoomReference::Room(room) => {
                text = format!(r#"{{"type":"leave_room","room_id":"{room}"}}"#).into_bytes();
            }
            RoomReference::Invalid => text = br#"{"room_id":7,"type":"leave_room"}"#.to_vec(),
        }
        let leaves = match &reference {
            RoomReference::Absent => true,
            RoomReference::Room(room) => Some(&**room) == self.room(),
            RoomReference::Invalid => false,
        };
        if leaves {
            self.record_exit(ExitReason::Left, context);
        }
        self.record_request(Request::Leave(reference), context);
        self.send_text(&text, context.shared);
        self.record_exit_deadline(leaves, context);
    }

    /// Sends a message to the partner.
    pub(crate) fn relay(
        &mut self,
        reference: RoomReference,
        pad: Option<usize>,
        context: &mut UserContext<'_>,
    ) {
        let nth = context.session_model.relays[self.id].len();
        let random = &mut context.shared.random;
        let kind = random.pick(&RelayKind::ALL);
        let most = context.shared.plan.limits.max_message_bytes - 200;
        let pad = pad.unwrap_or_else(|| random.pick(&[0, 0, 10, 100, 700, 3000, 20_000]));
        let pad = pad.min(most);
        let payload = format!(r#"{{"from":{},"n":{nth},"pad":"{:x<pad$}"}}"#, self.id, "");
        let mut text = Vec::new();
        match &reference {
            RoomReference::Room(room) => write_relay(&mut text, kind, room, payload.as_bytes()),
            RoomReference::Absent => {
                // Sometimes with members in an order that the fast path does not recognise.
                let name = kind.as_str();
                text = match random.chance(500) {
                    true => format!(r#"{{"type":"{name}","payload":{payload}}}"#),
                    false => format!(r#"{{"payload":{payload},"type":"{name}"}}"#),
                }
                .into_bytes();
            }
            RoomReference::Invalid => {
                let name = kind.as_str();
                text = format!(r#"{{"type":"{name}","room_id":7,"payload":{payload}}}"#).into();
            }
        }
        let mut position = None;
        if let (View::InRoom(membership), RoomReference::Room(room)) = (&mut self.view, &reference)
            && membership.room == *room
        {
            position = Some(membership.sent);
            membership.sent += 1;
        }
        context.session_model.relays[self.id].push(SentMessage {
            text: text.clone(),
            start: self.written,
            reference: match &reference {
                RoomReference::Absent => None,
                RoomReference::Room(room) => Some(room.clone()),
                RoomReference::Invalid => Some("send_invalid".to_owned()),
            },
            nth: position,
            delivered: false,
        });
        self.record_request(Request::Relay(reference), context);
        self.send_text(&text, context.shared);
    }

    /// A ping of up to `bytes`, or of the least size.
    fn ping(&mut self, bytes: usize, context: &mut UserContext<'_>) {
        const LEAST_BYTES: usize = r#"{"type":"ping","payload":"999"}"#.len();
        let number = context.shared.random.below(1000);
        let payload = format!("{number}{}", "x".repeat(bytes.saturating_sub(LEAST_BYTES)));
        let text = format!(r#"{{"type":"ping","payload":"{payload}"}}"#);
        let due = format!(r#"{{"type":"pong","payload":"{payload}"}}"#);
        self.record_request(Request::Ping(due), context);
        self.send_text(text.as_bytes(), context.shared);
    }

    fn socket_ping(&mut self, context: &mut UserContext<'_>) {
        let length = context.shared.random.pick(&[0, 1, 125]);
        let payload = vec![context.shared.random.word() as u8; length];
        let mut out = Vec::new();
        push_client_frame(&mut out, PING, &payload, key(&mut context.shared.random));
        self.record_request(Request::SocketPing(payload), context);
        self.write(&out, context.shared);
    }

    /// Sends a pong, solicited or not.
    pub(crate) fn pong(&mut self, payload: &[u8], context: &mut UserContext<'_>) {
        if self.can_send() && !self.mute {
            let mut out = Vec::new();
            push_client_frame(&mut out, PONG, payload, key(&mut context.shared.random));
            self.write(&out, context.shared);
        }
    }

    fn send_invalid(&mut self, context: &mut UserContext<'_>) {
        if context.shared.random.chance(150) {
            let mut out = Vec::new();
            push_client_frame(&mut out, BINARY, b"{}", key(&mut context.shared.random));
            self.record_request(Request::Bad("bad_message", None), context);
            return self.write(&out, context.shared);
        }
        let nth = context.shared.random.below(INVALID_MESSAGES.len());
        let (text, request) = &INVALID_MESSAGES[nth];
        self.record_request(request.clone(), context);
        self.send_text(text, context.shared);
    }

    /// Sends a Close frame.
    pub(crate) fn close(&mut self, context: &mut UserContext<'_>) {
        let mut out = Vec::new();
        let payload: &[u8] = if context.shared.random.chance(500) { &[0x03, 0xe8] } else { &[] };
        push_client_frame(&mut out, CLOSE, payload, key(&mut context.shared.random));
        self.record_exit(ExitReason::Left, context);
        self.record_request(Request::Close, context);
        self.write(&out, context.shared);
        self.record_exit_deadline(true, context);
        self.behaviour.closed = true;
        context.shared.counts.count("user: closes");
    }

    /// Closes the sending direction.
    pub(crate) fn half_close(&mut self, context: &mut UserContext<'_>) {
        if self.behaviour.half_closed {
            return;
        }
        self.record_exit(ExitReason::Gone, context);
        self.behaviour.half_closed = true;
        context.shared.connections[self.id].client_ended = true;
        context.shared.counts.count("user: half-closes");
    }

    /// Disappears, with a reset or without.
    pub(crate) fn vanish(&mut self, reset: bool, context: &mut UserContext<'_>) {
        self.behaviour.vanished = true;
        let connection = &mut context.shared.connections[self.id];
        let mut event = false;
        if reset {
            event = connection.reset();
        } else {
            connection.client_ended = true;
            connection.client_gone = true;
        }
        self.stage = Stage::Over;
        if event {
            context.shared.raise(self.id);
        }
        context.shared.counts.count(if reset { "user: resets" } else { "user: vanishes" });
    }

    /// Sends a frame that violates the protocol.
    fn break_protocol(&mut self, context: &mut UserContext<'_>) {
        let random = &mut context.shared.random;
        let max = context.shared.plan.limits.max_message_bytes;
        let mut out = Vec::new();
        let code = match random.below(8) {
            0 => {
                push_client_frame(&mut out, TEXT, b"\xc3\x28", key(random));
                1007
            }
            1 => {
                push_client_frame(&mut out, TEXT, &vec![b'x'; max + 1], key(random));
                1009
            }
            2 => {
                for nth in 0..=MESSAGE_FRAGMENTS {
                    let opcode = if nth == 0 { TEXT } else { CONTINUATION };
                    let at = out.len();
                    push_client_frame(&mut out, opcode, b"", key(random));
                    out[at] &= !FIN;
                }
                1008
            }
            3 => {
                push_client_frame(&mut out, CONTINUATION, b"of nothing", key(random));
                1002
            }
            4 => {
                push_client_frame(&mut out, CLOSE, &[0x03], key(random));
                1002
            }
            5 => {
                push_client_frame(&mut out, TEXT, b"{}", key(random));
                out[0] |= 0x40;
                1002
            }
            6 => {
                out.extend_from_slice(&[0x81, 0x01, b'x']);
                1002
            }
            _ => {
                push_client_frame(&mut out, TEXT, b"{}", key(random));
                out[0] &= !FIN;
                push_client_frame(&mut out, TEXT, b"within another", key(random));
                1002
            }
        };
        self.record_exit(ExitReason::Gone, context);
        self.behaviour.violation = Some(code);
        self.write(&out, context.shared);
        self.record_exit_deadline(true, context);
        context.shared.counts.count("user: breaks the protocol");
    }

    fn record_request(&mut self, request: Request, context: &mut UserContext<'_>) {
        let room = self.room().map(str::to_owned);
        context.shared.trace.log(|| format!("user {} requests {request:?}", self.id));
        self.pending.push_back(PendingRequest { request, room });
    }

    /// Records that the user leaves its room, if any, and how many messages it has sent there.
    fn record_exit(&mut self, exit: ExitReason, context: &mut UserContext<'_>) {
        if let View::InRoom(membership) = &self.view {
            let exits =
                context.session_model.exits.entry((self.id, membership.room.clone())).or_default();
            exits.push((exit, membership.sent));
        }
    }

    /// Records the position in the stream after which the user has left its room, if `certain`.
    fn record_exit_deadline(&mut self, certain: bool, context: &mut UserContext<'_>) {
        let limited = context.shared.plan.limits.max_messages_per_second.is_some();
        if let (View::InRoom(membership), true, false) = (&self.view, certain, limited) {
            let room = &membership.room;
            let known =
                context.session_model.exit_by.get(&self.id).is_some_and(|(of, _)| of == room);
            if !known {
                context.session_model.exit_by.insert(self.id, (room.clone(), self.written));
            }
        }
    }

    /// Sends a text message, sometimes in fragments with control frames in between.
    fn send_text(&mut self, text: &[u8], shared: &mut Shared) {
        let mut out = Vec::new();
        let parts = if shared.random.chance(150) { shared.random.between(2, 5) } else { 1 };
        let mut rest = text;
        for part in 0..parts {
            let last = part + 1 == parts;
            let length = if last { rest.len() } else { shared.random.below(rest.len() + 1) };
            let (now, later) = rest.split_at(length);
            rest = later;
            let at = out.len();
            let opcode = if part == 0 { TEXT } else { CONTINUATION };
            push_client_frame(&mut out, opcode, now, key(&mut shared.random));
            if !last {
                out[at] &= !FIN;
                if shared.random.chance(300) {
                    push_client_frame(&mut out, PONG, b"between", key(&mut shared.random));
                }
            }
        }
        self.write(&out, shared);
    }

    fn write(&mut self, bytes: &[u8], shared: &mut Shared) {
        shared.connections[self.id].sending.extend(bytes);
        self.written += bytes.len() as u64;
    }
}

fn key(random: &mut Random) -> [u8; 4] {
    (random.word() as u32).to_le_bytes()
}
