//! A virtual user: one connection from its first byte to its end, with a model of the messages that
//! it may expect. Received messages are checked here; [`super::user_actions`] sends.

use super::host::Shared;
use super::network::{ConnectionId, Delivery};
use super::pending_requests::{Answer, PendingRequest};
use super::session_model::SessionModel;
use std::collections::VecDeque;
use std::time::Duration;
use switchboard::timestamp::Timestamp;
use switchboard::wire::http::{AcceptKey, BodyLength, HeadScan, ResponseHead, parse_response};
use switchboard::wire::message::server::{ParsedServerMessage, parse_server_message};
use switchboard::wire::websocket::assembly::{
    IncomingItem, MessageReader, PartialMessage, ReceiveLimits,
};
use switchboard::wire::websocket::frame::Side;

/// The state of the simulation that users access.
pub(crate) struct UserContext<'a> {
    pub(crate) shared: &'a mut Shared,
    pub(crate) session_model: &'a mut SessionModel,
}

/// The state of the connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// HTTP requests, answered in order.
    Http,
    /// The handshake has been sent.
    Upgrading(AcceptKey),
    /// Upgraded.
    Open,
    /// The server's Close frame was received: only the end may follow.
    Closed(u16),
    /// It has ended.
    Over,
}

/// The state of the session as the user knows it from received messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Idle,
    Waiting(String),
    InRoom(Membership),
}

/// The user's membership in a room, as the user knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) room: String,
    pub(crate) peer: ConnectionId,
    /// Messages sent with the room's identifier.
    pub(crate) sent: u32,
    /// Messages received with the room's identifier.
    pub(crate) got: u32,
    /// The last message received.
    pub(crate) last: Option<usize>,
}

/// An HTTP request that has not been answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingHttpRequest {
    pub(crate) status: u16,
    pub(crate) head_only: bool,
}

/// Actions of the user that explain why the server ends the connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UserBehaviour {
    /// It has sent a Close frame.
    pub(crate) closed: bool,
    /// It has closed its sending direction.
    pub(crate) half_closed: bool,
    /// It has disappeared, or reset the connection.
    pub(crate) vanished: bool,
    /// It has violated the protocol, and the server must close with this code.
    pub(crate) violation: Option<u16>,
}

/// A user.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) id: ConnectionId,
    pub(crate) stage: Stage,
    pub(crate) view: View,
    /// Requests that may not have been answered yet.
    pub(crate) pending: VecDeque<PendingRequest>,
    /// How many of these may have been answered: all possibilities, in ascending order.
    pub(crate) reached: Vec<usize>,
    pub(crate) pending_http: VecDeque<PendingHttpRequest>,
    pub(crate) behaviour: UserBehaviour,
    pub(crate) reads: bool,
    /// It does not answer pings.
    pub(crate) mute: bool,
    /// Bytes written.
    pub(crate) written: u64,
    pub(crate) previous_room: Option<String>,
    pub(crate) since: Timestamp,
    /// Bytes received.
    received: u64,
    /// Rooms it has been in since the last answer.
    pub(crate) rooms_since: Vec<String>,
    opened: bool,
    drain_announced: bool,
    pub(crate) rate_limited_at: Option<Timestamp>,
    /// Position of the current message's end in the received bytes.
    pub(crate) at: u64,
    /// Whether the last response was received: the server answers no more requests.
    last_response: bool,
    head: Vec<u8>,
    held: Option<Box<PartialMessage>>,
}

const LIMITS: ReceiveLimits =
    ReceiveLimits { sender: Side::Server, max_message_bytes: 1 << 20, max_fragments: 1 };

impl User {
    /// A user who has just connected.
    pub(crate) fn new(id: ConnectionId, since: Timestamp) -> Self {
        User {
            id,
            stage: Stage::Http,
            view: View::Idle,
            pending: VecDeque::new(),
            reached: vec![0],
            pending_http: VecDeque::new(),
            behaviour: UserBehaviour::default(),
            reads: true,
            mute: false,
            written: 0,
            previous_room: None,
            since,
            received: 0,
            rooms_since: Vec::new(),
            opened: false,
            drain_announced: false,
            rate_limited_at: None,
            at: 0,
            last_response: false,
            head: Vec::new(),
            held: None,
        }
    }

    /// The room in which the user is, as far as it knows.
    pub(crate) fn room(&self) -> Option<&str> {
        match &self.view {
            View::InRoom(membership) => Some(&membership.room),
            View::Idle | View::Waiting(_) => None,
        }
    }

    /// Handles received bytes or the end of the connection.
    pub(crate) fn receive(&mut self, delivery: Delivery, context: &mut UserContext<'_>) {
        match delivery {
            Delivery::Nothing => {}
            Delivery::Broken => self.stage = Stage::Over,
            Delivery::End => self.ended(context),
            Delivery::Bytes(bytes) => match self.stage {
                Stage::Http | Stage::Upgrading(_) => {
                    self.head.extend_from_slice(&bytes);
                    self.received += bytes.len() as u64;
                    self.responses(context);
                }
                Stage::Open => {
                    self.received += bytes.len() as u64;
                    self.frames(bytes, context);
                }
                Stage::Closed(_) => panic!("{} gets {bytes:?} after a Close frame", self.id),
                Stage::Over => panic!("{} gets {bytes:?} after the end", self.id),
            },
        }
    }

    /// The server has ended the connection: checks that it had a reason.
    fn ended(&mut self, context: &mut UserContext<'_>) {
        let shared = &*context.shared;
        let connection = &shared.connections[self.id];
        // Between two requests the idle timeout applies.
        let limits = &shared.plan.limits;
        let shortest = limits.handshake_timeout.min(limits.idle_timeout);
        let late = !self.opened && self.has_lasted(shortest, shared);
        let excused = late || self.behaviour.vanished || connection.unwatchable;
        let half_closed = self.behaviour.half_closed;
        let user = &*self;
        match self.stage {
            Stage::Http | Stage::Upgrading(_) => {
                // A client that half-closes still gets its responses.
                let answered = self.pending_http.is_empty() && self.head.is_empty();
                let answered = answered && self.stage == Stage::Http;
                // The server does not wait for a client that does not read its responses.
                let close_timeout = shared.plan.limits.close_timeout;
                let tried = connection.first_short.map(|at| shared.now.since(at));
                let upgrading = matches!(self.stage, Stage::Upgrading(_));
                let slow = tried.is_some_and(|tried| {
                    upgrading || tried + Duration::from_millis(1) >= close_timeout
                });
                // At a limit, a connection between two requests makes space for another one.
                let limited =
                    limits.max_connections < 100 || limits.max_connections_per_address.is_some();
                let evicted = limited && self.head.is_empty() && connection.awaits_a_request();
                let fair = excused || self.last_response || slow || evicted;
                let fair = fair || half_closed && answered;
                assert!(fair, "requests without answers: {user:?}");
            }
            Stage::Open => {
                let fair = excused || half_closed || connection.was_blocked_once();
                assert!(fair, "an end without a Close frame: {user:?}");
            }
            Stage::Closed(_) | Stage::Over => {}
        }
        self.stage = Stage::Over;
        context.shared.counts.count("user: sees the end");
    }

    /// Whether the connection has existed for this long. The server counts whole milliseconds.
    fn has_lasted(&self, time: Duration, shared: &Shared) -> bool {
        shared.now.since(self.since) + Duration::from_millis(1) >= time
    }

    fn responses(&mut self, context: &mut UserContext<'_>) {
        loop {
            let bytes = std::mem::take(&mut self.head);
            let Some((head, length)) = parse_response(&bytes, &mut HeadScan::default(), 4096)
                .expect("an invalid response")
            else {
                self.head = bytes;
                return;
            };
            if let Stage::Upgrading(accept) = self.stage
                && self.pending_http.is_empty()
                && head.status == 101
            {
                assert_eq!(head.check_upgrade(accept), Ok(()));
                self.stage = Stage::Open;
                let rest = bytes[length..].to_vec();
                return self.frames(rest, context);
            }
            assert!(!self.last_response, "a response after the last one");
            // 400 and 408 may answer no request, so there is no method.
            let answers = !matches!(head.status, 400 | 408);
            let pending = self.pending_http.front().filter(|_| answers);
            let head_only = pending.is_some_and(|pending| pending.head_only);
            let BodyLength::Bytes(body) = head.body else { panic!("a response has a length") };
            let body = body as usize;
            let all = if head_only { length } else { length + body };
            if bytes.len() < all {
                self.head = bytes;
                return;
            }
            self.response(&head, context);
            self.head = bytes[all..].to_vec();
            if self.head.is_empty() {
                return;
            }
        }
    }

    fn response(&mut self, head: &ResponseHead<'_>, context: &mut UserContext<'_>) {
        let shared = &mut *context.shared;
        shared.trace.log(|| format!("user {} gets response {}", self.id, head.status));
        self.last_response = head.closes;
        let limits = &shared.plan.limits;
        let user = &*self;
        let expected = match head.status {
            408 => self.has_lasted(limits.handshake_timeout, shared),
            503 if self.pending_http.is_empty() => {
                let full = limits.max_connections < 100;
                matches!(self.stage, Stage::Upgrading(_)) && (shared.plan.drains || full)
            }
            429 => {
                let is_limited =
                    self.pending_http.is_empty() && limits.max_connections_per_address.is_some();
                matches!(self.stage, Stage::Upgrading(_)) && is_limited
            }
            503 => shared.plan.drains && self.pending_http[0].status == 200,
            status => self.pending_http.front().is_some_and(|pending| pending.status == status),
        };
        assert!(expected, "{} to {user:?}", head.status);
        let name = match head.status {
            200 => "http: 200",
            404 => "http: 404",
            408 => "http: 408",
            426 => "http: 426",
            429 => "http: 429",
            503 => "http: 503",
            _ => "http: other",
        };
        shared.counts.count(name);
        self.pending_http.pop_front();
    }

    fn frames(&mut self, mut bytes: Vec<u8>, context: &mut UserContext<'_>) {
        let base = self.received - bytes.len() as u64;
        let mut reader = MessageReader::new(&mut bytes, self.held.take(), &LIMITS);
        while let Some(item) = reader.next().expect("the server breaks RFC 6455") {
            let end = base + reader.position() as u64;
            self.at = end;
            assert_eq!(self.stage, Stage::Open, "a frame after a Close frame: {item:?}");
            match item {
                IncomingItem::Text(place) => {
                    let text = reader.bytes(&place).to_vec();
                    self.message(&text, end, context);
                }
                IncomingItem::Ping(place) => {
                    let payload = reader.bytes(&place).to_vec();
                    assert!(self.opened, "a ping before the session");
                    self.pong(&payload, context);
                }
                IncomingItem::Pong(place) => {
                    let payload = reader.bytes(&place).to_vec();
                    self.answered(&Answer::SocketPong(&payload), context);
                }
                IncomingItem::Close(code) => {
                    self.close_received(code.expect("the server's Close frame has a code"), context)
                }
                IncomingItem::Binary(_) => panic!("the server sends a binary message"),
            }
        }
        self.held = reader.finish();
    }

    fn close_received(&mut self, code: u16, context: &mut UserContext<'_>) {
        let shared = &mut *context.shared;
        shared.trace.log(|| format!("user {} is closed with {code}", self.id));
        let connection = &shared.connections[self.id];
        let silent = shared.longest_silence(self.id);
        let (justified, name) = match code {
            1000 => (self.behaviour.closed, "close: 1000"),
            1001 => shared.plan.closes_after(silent, self.room().is_some()),
            1012 => (self.drain_announced, "close: 1012"),
            1013 => (connection.was_blocked_once(), "close: 1013"),
            1002 => (self.behaviour.violation == Some(1002), "close: 1002"),
            1007 => (self.behaviour.violation == Some(1007), "close: 1007"),
            1008 => (self.behaviour.violation == Some(1008), "close: 1008"),
            1009 => (self.behaviour.violation == Some(1009), "close: 1009"),
            _ => (false, "close: other"),
        };
        assert!(justified, "closed with {code}: {self:?}");
        shared.counts.count(name);
        if code == 1000 {
            self.answered(&Answer::Closed, context);
        }
        self.stage = Stage::Closed(code);
    }

    fn message(&mut self, text: &[u8], end: u64, context: &mut UserContext<'_>) {
        let whole = std::str::from_utf8(text).expect("the reader has checked it");
        let received = parse_server_message(text).expect("the server sends an invalid message");
        let id = self.id;
        context.shared.trace.log(|| format!("user {id} gets {whole:.200}"));
        assert_eq!(
            self.opened,
            !matches!(received, ParsedServerMessage::Session { .. }),
            "`session` comes first, and once"
        );
        match received {
            ParsedServerMessage::Session { session_id } => {
                self.opened = true;
                context.session_model.session_opened(self.id, &session_id);
            }
            ParsedServerMessage::Waiting => self.answered(&Answer::Waiting(whole), context),
            ParsedServerMessage::MatchCancelled => self.answered(&Answer::Cancelled, context),
            ParsedServerMessage::RoomLeft => {
                let room = self.room().expect("room_left without a room");
                assert!(whole.contains(room), "room_left of another room than {room}");
                self.answered(&Answer::RoomLeft, context);
            }
            ParsedServerMessage::Pong => self.answered(&Answer::Pong(whole), context),
            ParsedServerMessage::Error { code, refused } => {
                context.shared.counts.count("user: refused");
                self.answered(&Answer::Error(&code, refused.as_deref()), context);
            }
            ParsedServerMessage::MatchFound { room_id, peer_id, initiator } => {
                self.match_found(&room_id, &peer_id, initiator, end, context);
            }
            ParsedServerMessage::PeerLeft { room_id, reason } => {
                self.peer_left(&room_id, &reason, end, context)
            }
            ParsedServerMessage::Relayed { .. } => self.relayed(text, context),
            ParsedServerMessage::Draining => {
                assert!(context.shared.plan.drains, "the server does not shut down");
                assert!(!self.drain_announced, "`draining` was sent twice");
                self.drain_announced = true;
            }
            ParsedServerMessage::Unknown => panic!("{whole}"),
        }
    }
}
