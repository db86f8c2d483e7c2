//! A virtual user: one connection from its first byte to its end, and a model of what it may
//! expect. What comes is checked here, message by message; what it sends is in [`super::act`].

use super::asked::{Answer, Asked, Claim, Request};
use super::host::Shared;
use super::ledger::{Exit, Ledger};
use super::net::{Delivery, LinkId};
use std::collections::VecDeque;
use std::time::Duration;
use switchboard::timestamp::Timestamp;
use switchboard::wire::http::{AcceptKey, BodyLength, HeadScan, ResponseHead, parse_response};
use switchboard::wire::message::server::{ParsedServerMessage, parse_server_message};
use switchboard::wire::websocket::assembly::{
    IncomingItem, MessageReader, PartialMessage, ReceiveLimits,
};
use switchboard::wire::websocket::frame::Side;

/// What all users see of the world.
pub(crate) struct Scene<'a> {
    pub(crate) shared: &'a mut Shared,
    pub(crate) ledger: &'a mut Ledger,
}

/// How far the connection has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Requests, answered in their order.
    Http,
    /// The handshake has been sent.
    Upgrading(AcceptKey),
    /// Upgraded.
    Open,
    /// The server's Close frame has come: nothing may follow but the end.
    Closed(u16),
    /// It has ended.
    Over,
}

/// What the user knows of its session, from what it has been sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Idle,
    Waiting(String),
    InRoom(Membership),
}

/// A place in a room, as its holder knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) room: String,
    pub(crate) peer: LinkId,
    /// Messages sent with the room's name.
    pub(crate) sent: u32,
    /// Messages received with the room's name.
    got: u32,
    /// The last message received.
    last: Option<usize>,
}

/// A plain request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpAsked {
    pub(crate) status: u16,
    pub(crate) head_only: bool,
}

/// What a user has done that explains an end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conduct {
    /// It has sent a Close frame.
    pub(crate) closed: bool,
    /// It has ended its direction of the connection.
    pub(crate) half_closed: bool,
    /// It has gone without a word, or reset the connection.
    pub(crate) vanished: bool,
    /// It has broken the protocol, and should be told so with this code.
    pub(crate) violation: Option<u16>,
}

/// A user.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) id: LinkId,
    pub(crate) stage: Stage,
    pub(crate) view: View,
    /// What may not have been answered yet.
    pub(crate) asked: VecDeque<Asked>,
    /// How many of these may have been answered: every possibility, the least first.
    pub(crate) reached: Vec<usize>,
    pub(crate) http_asked: VecDeque<HttpAsked>,
    pub(crate) conduct: Conduct,
    pub(crate) reads: bool,
    /// It does not even answer pings.
    pub(crate) mute: bool,
    /// Bytes written.
    pub(crate) written: u64,
    pub(crate) old_room: Option<String>,
    pub(crate) since: Timestamp,
    /// Bytes received.
    received: u64,
    /// Rooms it has been in since the last answer.
    pub(crate) rooms_since: Vec<String>,
    opened: bool,
    told_to_leave: bool,
    pub(crate) told_rate_at: Option<Timestamp>,
    /// Where what is being read ends in all that was received.
    pub(crate) at: u64,
    /// The server said that no more requests are answered.
    no_more: bool,
    head: Vec<u8>,
    held: Option<Box<PartialMessage>>,
}

const RULES: ReceiveLimits =
    ReceiveLimits { sender: Side::Server, max_message_bytes: 1 << 20, max_fragments: 1 };

impl User {
    /// A user who has just dialled.
    pub(crate) fn new(id: LinkId, since: Timestamp) -> Self {
        User {
            id,
            stage: Stage::Http,
            view: View::Idle,
            asked: VecDeque::new(),
            reached: vec![0],
            http_asked: VecDeque::new(),
            conduct: Conduct::default(),
            reads: true,
            mute: false,
            written: 0,
            old_room: None,
            since,
            received: 0,
            rooms_since: Vec::new(),
            opened: false,
            told_to_leave: false,
            told_rate_at: None,
            at: 0,
            no_more: false,
            head: Vec::new(),
            held: None,
        }
    }

    /// The room it knows itself to be in.
    pub(crate) fn room(&self) -> Option<&str> {
        match &self.view {
            View::InRoom(membership) => Some(&membership.room),
            View::Idle | View::Waiting(_) => None,
        }
    }

    /// Something came, or the end.
    pub(crate) fn receive(&mut self, delivery: Delivery, scene: &mut Scene<'_>) {
        match delivery {
            Delivery::Nothing => {}
            Delivery::Broken => self.stage = Stage::Over,
            Delivery::End => self.ended(scene),
            Delivery::Bytes(bytes) => match self.stage {
                Stage::Http | Stage::Upgrading(_) => {
                    self.head.extend_from_slice(&bytes);
                    self.received += bytes.len() as u64;
                    self.responses(scene);
                }
                Stage::Open => {
                    self.received += bytes.len() as u64;
                    self.frames(bytes, scene);
                }
                Stage::Closed(_) => panic!("{} gets {bytes:?} behind a Close frame", self.id),
                Stage::Over => panic!("{} gets {bytes:?} behind the end", self.id),
            },
        }
    }

    /// The server ends the connection: for which it needs a reason.
    fn ended(&mut self, scene: &mut Scene<'_>) {
        let shared = &*scene.shared;
        let link = &shared.links[self.id];
        let late = !self.opened && self.is_late(shared);
        let excused = late || self.conduct.vanished || link.unwatchable;
        let half_closed = self.conduct.half_closed;
        let user = &*self;
        match self.stage {
            Stage::Http | Stage::Upgrading(_) => {
                // One who only half-closes is still owed its answers.
                let answered = self.http_asked.is_empty() && self.head.is_empty();
                let answered = answered && self.stage == Stage::Http;
                // One who does not read its answers is not waited for.
                let patience = shared.plan.limits.close_timeout;
                let tried = link.first_short.map(|at| shared.now.since(at));
                let upgrading = matches!(self.stage, Stage::Upgrading(_));
                let slow = tried
                    .is_some_and(|tried| upgrading || tried + Duration::from_millis(1) >= patience);
                let fair = excused || self.no_more || slow || half_closed && answered;
                assert!(fair, "requests without answers: {user:?}");
            }
            Stage::Open => {
                let fair = excused || half_closed || link.came_short();
                assert!(fair, "an end without a word: {user:?}");
            }
            Stage::Closed(_) | Stage::Over => {}
        }
        self.stage = Stage::Over;
        scene.shared.tally.count("user: sees the end");
    }

    /// Whether a request head has had its time: the server counts whole milliseconds.
    fn is_late(&self, shared: &Shared) -> bool {
        let passed = shared.now.since(self.since) + Duration::from_millis(1);
        passed >= shared.plan.limits.handshake_timeout
    }

    fn responses(&mut self, scene: &mut Scene<'_>) {
        loop {
            let bytes = std::mem::take(&mut self.head);
            let Some((head, length)) = parse_response(&bytes, &mut HeadScan::default(), 4096)
                .expect("a response that cannot be read")
            else {
                self.head = bytes;
                return;
            };
            if let Stage::Upgrading(accept) = self.stage
                && self.http_asked.is_empty()
                && head.status == 101
            {
                assert_eq!(head.check_upgrade(accept), Ok(()));
                self.stage = Stage::Open;
                let rest = bytes[length..].to_vec();
                return self.frames(rest, scene);
            }
            assert!(!self.no_more, "a response behind the last");
            // Without a request there is nothing that says "HEAD".
            let answers = !matches!(head.status, 400 | 408);
            let asked = self.http_asked.front().filter(|_| answers);
            let head_only = asked.is_some_and(|asked| asked.head_only);
            let BodyLength::Bytes(body) = head.body else {
                panic!("a response says how long it is")
            };
            let body = body as usize;
            let all = if head_only { length } else { length + body };
            if bytes.len() < all {
                self.head = bytes;
                return;
            }
            self.response(&head, scene);
            self.head = bytes[all..].to_vec();
            if self.head.is_empty() {
                return;
            }
        }
    }

    fn response(&mut self, head: &ResponseHead<'_>, scene: &mut Scene<'_>) {
        let shared = &mut *scene.shared;
        shared.trace.tell(|| format!("user {} gets response {}", self.id, head.status));
        self.no_more = head.closes;
        let limits = &shared.plan.limits;
        let user = &*self;
        let expected = match head.status {
            408 => self.is_late(shared),
            503 if self.http_asked.is_empty() => {
                let full = limits.max_connections < 100 || shared.plan.by_address;
                matches!(self.stage, Stage::Upgrading(_)) && (shared.plan.drains || full)
            }
            503 => shared.plan.drains && self.http_asked[0].status == 200,
            status => self.http_asked.front().is_some_and(|asked| asked.status == status),
        };
        assert!(expected, "{} to {user:?}", head.status);
        let name = match head.status {
            200 => "http: 200",
            404 => "http: 404",
            408 => "http: 408",
            426 => "http: 426",
            503 => "http: 503",
            _ => "http: other",
        };
        shared.tally.count(name);
        self.http_asked.pop_front();
    }

    fn frames(&mut self, mut bytes: Vec<u8>, scene: &mut Scene<'_>) {
        let base = self.received - bytes.len() as u64;
        let mut reader = MessageReader::new(&mut bytes, self.held.take(), &RULES);
        while let Some(item) = reader.next().expect("the server breaks RFC 6455") {
            let end = base + reader.position() as u64;
            self.at = end;
            assert_eq!(self.stage, Stage::Open, "a frame behind a Close frame: {item:?}");
            match item {
                IncomingItem::Text(place) => {
                    let text = reader.bytes(&place).to_vec();
                    self.message(&text, end, scene);
                }
                IncomingItem::Ping(place) => {
                    let payload = reader.bytes(&place).to_vec();
                    assert!(self.opened, "a ping before the session");
                    self.pong(&payload, scene);
                }
                IncomingItem::Pong(place) => {
                    let payload = reader.bytes(&place).to_vec();
                    self.answered(&Answer::SocketPong(&payload), scene);
                }
                IncomingItem::Close(code) => self.close_came(code.expect("a code is given"), scene),
                IncomingItem::Binary(_) => panic!("the server sends a binary message"),
            }
        }
        self.held = reader.finish();
    }

    fn close_came(&mut self, code: u16, scene: &mut Scene<'_>) {
        let shared = &mut *scene.shared;
        shared.trace.tell(|| format!("user {} is closed with {code}", self.id));
        let now = shared.now;
        let link = &mut shared.links[self.id];
        // The server counts whole milliseconds, and by another clock after a move.
        let blur = Duration::from_millis(2);
        let silent = link.longest_silence.max(now.since(link.last_read)) + blur;
        let (justified, name) = match code {
            1000 => (self.conduct.closed, "close: 1000"),
            1001 => (silent >= shared.plan.limits.silence_limit, "close: 1001"),
            1012 => (self.told_to_leave, "close: 1012"),
            1013 => (link.came_short(), "close: 1013"),
            1002 => (self.conduct.violation == Some(1002), "close: 1002"),
            1007 => (self.conduct.violation == Some(1007), "close: 1007"),
            1008 => (self.conduct.violation == Some(1008), "close: 1008"),
            1009 => (self.conduct.violation == Some(1009), "close: 1009"),
            _ => (false, "close: other"),
        };
        assert!(justified, "closed with {code}: {self:?}");
        shared.tally.count(name);
        if code == 1000 {
            self.answered(&Answer::Closed, scene);
        }
        self.stage = Stage::Closed(code);
    }

    fn message(&mut self, text: &[u8], end: u64, scene: &mut Scene<'_>) {
        let whole = std::str::from_utf8(text).expect("the reader has checked it");
        let received = parse_server_message(text).expect("the server sends what is not a message");
        let id = self.id;
        scene.shared.trace.tell(|| format!("user {id} gets {whole:.200}"));
        assert_eq!(
            self.opened,
            !matches!(received, ParsedServerMessage::Session { .. }),
            "the session comes first, and once"
        );
        match received {
            ParsedServerMessage::Session { session_id } => {
                self.opened = true;
                scene.ledger.session_opened(self.id, &session_id);
            }
            ParsedServerMessage::Waiting => self.answered(&Answer::Waiting(whole), scene),
            ParsedServerMessage::MatchCancelled => self.answered(&Answer::Cancelled, scene),
            ParsedServerMessage::RoomLeft => {
                let room = self.room().expect("room_left without a room");
                assert!(whole.contains(room), "room_left of another room than {room}");
                self.answered(&Answer::RoomLeft, scene);
            }
            ParsedServerMessage::Pong => self.answered(&Answer::Pong(whole), scene),
            ParsedServerMessage::Error { code } => {
                scene.shared.tally.count("user: refused");
                self.answered(&Answer::Error(&code), scene);
            }
            ParsedServerMessage::MatchFound { room_id, peer_id, initiator } => {
                self.match_found(&room_id, &peer_id, initiator, end, scene);
            }
            ParsedServerMessage::PeerLeft { room_id, reason } => {
                self.peer_left(&room_id, &reason, end, scene)
            }
            ParsedServerMessage::Relayed { .. } => self.relayed(text, scene),
            ParsedServerMessage::Draining => {
                assert!(scene.shared.plan.drains, "the server does not shut down");
                assert!(!self.told_to_leave, "told twice to leave");
                self.told_to_leave = true;
            }
            ParsedServerMessage::Unknown => panic!("{whole}"),
        }
    }

    fn match_found(
        &mut self,
        room: &str,
        peer: &str,
        initiator: bool,
        end: u64,
        scene: &mut Scene<'_>,
    ) {
        let View::Waiting(queue) = &self.view else {
            panic!("{} is matched without waiting: {:?}", self.id, self.view);
        };
        let member = Ledger::member(self.id, peer.to_owned(), initiator, queue.clone(), end);
        scene.ledger.found(room, member, scene.shared);
        scene.shared.tally.count("user: match found");
        // What it has asked before it knew may end the room before anything is said in it.
        for asked in &self.asked {
            let exit = match asked.request {
                Request::Find(_) => Exit::Next,
                Request::Leave(Claim::Present) => Exit::Left,
                Request::Close => Exit::Gone,
                _ => continue,
            };
            let exits = scene.ledger.exits.entry((self.id, room.to_owned())).or_default();
            exits.push((exit, 0));
        }
        let peer = scene.ledger.user_of(peer);
        self.rooms_since.push(room.to_owned());
        self.view =
            View::InRoom(Membership { room: room.to_owned(), peer, sent: 0, got: 0, last: None });
    }

    fn peer_left(&mut self, room: &str, reason: &str, end: u64, scene: &mut Scene<'_>) {
        let View::InRoom(membership) = &self.view else {
            panic!("{} hears of the end of {room} as {:?}", self.id, self.view);
        };
        assert_eq!(membership.room, room, "peer_left of another room");
        scene.ledger.peer_left(room, self.id, end);
        let exit = match reason {
            "left" => Exit::Left,
            "next" => Exit::Next,
            "disconnected" => Exit::Gone,
            _ => panic!("a reason nobody knows: {reason}"),
        };
        scene.shared.tally.count(match exit {
            Exit::Left => "peer_left: left",
            Exit::Next => "peer_left: next",
            Exit::Gone => "peer_left: disconnected",
        });
        self.check_complete(membership, exit, scene);
        self.old_room = Some(room.to_owned());
        self.view = View::Idle;
    }

    /// Whatever the other sent before it left has come before the news.
    fn check_complete(&self, membership: &Membership, exit: Exit, scene: &Scene<'_>) {
        let (ledger, shared) = (&*scene.ledger, &*scene.shared);
        if shared.plan.limits.max_messages_per_second.is_some() {
            return;
        }
        let knew = ledger.rooms[&membership.room].member(membership.peer).is_some();
        let exits = ledger.exits.get(&(membership.peer, membership.room.clone()));
        let mut exits = exits.into_iter().flatten();
        let complete =
            exits.any(|left| *left == (exit, membership.got)) || !knew && membership.got == 0;
        let link = &shared.links[membership.peer];
        let whole = exit != Exit::Gone || {
            // For one who is cut off, or closed for another reason, nothing is promised.
            let silent = link.longest_silence.max(shared.now.since(link.last_read));
            let lately = silent >= shared.plan.limits.silence_limit;
            link.end_read && !link.broken && !link.came_short() && !shared.plan.drains && !lately
        };
        if whole && exit == Exit::Gone && exits.next().is_none() && !complete {
            return;
        }
        assert!(complete || !whole, "{} lacks messages: {membership:?}, {exit:?}", self.id);
    }

    fn relayed(&mut self, text: &[u8], scene: &mut Scene<'_>) {
        let View::InRoom(membership) = &mut self.view else {
            panic!("{} gets a message as {:?}", self.id, self.view);
        };
        let whole = String::from_utf8_lossy(text);
        let number = |name: &str| -> usize {
            let at = whole.find(name).expect("every message says who sent it") + name.len();
            let digits: String = whole[at..].chars().take_while(char::is_ascii_digit).collect();
            digits.parse().expect("a number")
        };
        let (from, nth) = (number("\"from\":"), number("\"n\":"));
        assert_eq!(from, membership.peer, "{} gets a message from a stranger", self.id);
        let relay = &scene.ledger.relays[from][nth];
        assert_eq!(relay.text, text, "a message was changed");
        assert!(
            membership.last.is_none_or(|last| last < nth),
            "{nth} comes behind {:?}",
            membership.last
        );
        membership.last = Some(nth);
        if let Some(sent_before) = relay.nth {
            let gaps = scene.shared.plan.limits.max_messages_per_second.is_some();
            assert!(gaps || sent_before == membership.got, "{} lacks messages of {from}", self.id);
            membership.got = sent_before + 1;
        }
        scene.ledger.delivered(&membership.room, from, nth, scene.shared);
        scene.shared.tally.count("user: relayed to");
    }
}
