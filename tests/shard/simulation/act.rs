//! What a virtual user does: every message a client may send and every way to behave badly,
//! each noted with what it should come to.

use super::asked::{Asked, Claim, Request};
use super::host::{Shared, address_of};
use super::ledger::{Exit, Relay};
use super::plan::Habit;
use super::random::Random;
use super::user::{HttpAsked, Scene, Stage, User, View};
use switchboard::limits::MESSAGE_FRAGMENTS;
use switchboard::wire::http::{WebSocketKey, write_get_request, write_upgrade_request};
use switchboard::wire::message::RelayKind;
use switchboard::wire::message::client::{
    write_cancel_match, write_find_match, write_leave_room, write_relay,
};
use switchboard::wire::websocket::frame::{BINARY, CLOSE, PING, PONG, TEXT, push_client_frame};
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// A user writes no more while so much of what it wrote is under way.
const IMPATIENCE_BYTES: usize = 16 * 1024;
const CONTINUATION: OpCode = OpCode::Data(Data::Continue);
const FIN: u8 = 0x80;

/// Messages that are refused, and with what.
const NONSENSE: [(&[u8], &str); 8] = [
    (b"", "bad_json"),
    (b"[1,2]", "bad_json"),
    (b"{\"type\":\"offer\"", "bad_json"),
    (b"{\"payload\":{}}", "bad_message"),
    (b"{\"type\":\"offer\",\"Type\":\"offer\"}", "bad_message"),
    (b"{\"type\":\"match_found\"}", "unknown_type"),
    (b"{\"type\":\"find_match\",\"payload\":{\"queue\":\"no spaces\"}}", "bad_queue"),
    (b"{\"type\":\"find_match\",\"payload\":[]}", "bad_message"),
];

impl User {
    /// Whether it can still say anything.
    pub(crate) fn is_able(&self) -> bool {
        let conduct = &self.conduct;
        let silent = conduct.half_closed || conduct.vanished || conduct.closed;
        !silent && conduct.violation.is_none() && self.stage != Stage::Over
    }

    /// Follows a habit, if it can at present.
    pub(crate) fn act(&mut self, habit: Habit, scene: &mut Scene<'_>) {
        if habit == Habit::ReadAgain {
            self.reads = true;
            return;
        }
        if !self.is_able() || scene.shared.links[self.id].sending.len() > IMPATIENCE_BYTES {
            return;
        }
        scene.shared.trace.tell(|| format!("user {} does {habit:?} as {:?}", self.id, self.view));
        match habit {
            Habit::StopReading => {
                scene.shared.tally.count("user: stops reading");
                self.reads = false;
            }
            Habit::HalfClose => self.half_close(scene),
            Habit::Vanish | Habit::Reset => self.vanish(habit == Habit::Reset, scene),
            _ => match self.stage {
                Stage::Http if habit == Habit::Close => self.half_close(scene),
                Stage::Http => self.request(habit, scene),
                Stage::Upgrading(_) | Stage::Open => self.speak(habit, scene),
                Stage::Closed(_) => self.half_close(scene),
                Stage::Over => {}
            },
        }
    }

    /// The proxy in between says who this is.
    pub(crate) fn be_named(&mut self, shared: &mut Shared) {
        shared.tally.count("user: named by a proxy");
        let header = format!("PROXY TCP4 {} 10.0.0.9 50000 80\r\n", address_of(self.id));
        self.write(header.as_bytes(), shared);
    }

    /// Plain requests, and the handshake with whatever is glued to it.
    fn request(&mut self, habit: Habit, scene: &mut Scene<'_>) {
        let mut out = Vec::new();
        let random = &mut scene.shared.random;
        if habit == Habit::Http {
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
                self.http_asked.push_back(HttpAsked { status, head_only });
            }
            scene.shared.tally.count("user: plain requests");
            scene.shared.links[self.id].pipelined = true;
        } else {
            let nonce = std::array::from_fn(|_| random.word() as u8);
            let key = WebSocketKey::from_nonce(nonce);
            let target = random.pick(&["/", "/ws", "/ws?resume=x"]);
            write_upgrade_request(&mut out, "sim", target, key, &[]);
            self.stage = Stage::Upgrading(key.accept());
        }
        self.write(&out, scene.shared);
        if habit == Habit::Http && scene.shared.random.chance(200) {
            self.half_close(scene);
        }
    }

    fn speak(&mut self, habit: Habit, scene: &mut Scene<'_>) {
        match habit {
            Habit::Find if self.view == View::Idle || scene.shared.random.chance(150) => {
                self.find(scene.shared.plan.queues[0], scene);
            }
            Habit::Find => {}
            Habit::FindElsewhere => {
                let queues = scene.shared.plan.queues;
                let queue = scene.shared.random.pick(queues);
                self.find(queue, scene);
            }
            Habit::Cancel => self.cancel(scene),
            Habit::Leave => self.leave(scene),
            Habit::Relay => match self.room().map(str::to_owned) {
                Some(room) => self.relay(Claim::Room(room), None, scene),
                None => self.speak(Habit::Find, scene),
            },
            Habit::Flood => {
                let Some(room) = self.room().map(str::to_owned) else { return };
                let most = scene.shared.plan.limits.max_message_bytes;
                for _ in 0..scene.shared.random.between(3, 20) {
                    self.relay(Claim::Room(room.clone()), Some(most), scene);
                }
            }
            Habit::CarelessRelay => self.relay(Claim::Present, None, scene),
            Habit::StaleRelay => {
                let claim = self.old_room.clone().map_or(Claim::Nonsense, Claim::Room);
                self.relay(claim, None, scene);
            }
            Habit::Ping => self.ping(scene),
            Habit::SocketPing => self.socket_ping(scene),
            Habit::Pong => self.pong(b"unasked", scene),
            Habit::Nonsense => self.nonsense(scene),
            Habit::Storm => {
                const ONES: [Habit; 8] = [
                    Habit::Find,
                    Habit::FindElsewhere,
                    Habit::Cancel,
                    Habit::Leave,
                    Habit::Relay,
                    Habit::Relay,
                    Habit::CarelessRelay,
                    Habit::SocketPing,
                ];
                for _ in 0..scene.shared.random.between(2, 8) {
                    let one = scene.shared.random.pick(&ONES);
                    self.speak(one, scene);
                }
            }
            Habit::Close => self.close(scene),
            Habit::Violate => self.violate(scene),
            Habit::HalfClose
            | Habit::Vanish
            | Habit::Reset
            | Habit::StopReading
            | Habit::ReadAgain
            | Habit::Http => {}
        }
    }

    /// `find_match`.
    pub(crate) fn find(&mut self, queue: &'static str, scene: &mut Scene<'_>) {
        let mut text = Vec::new();
        let unnamed = queue == "default" && scene.shared.random.chance(500);
        write_find_match(&mut text, (!unnamed).then_some(queue));
        self.note_exit(Exit::Next, scene);
        self.ask(Request::Find(queue), scene);
        self.say(&text, scene.shared);
        self.note_exit_end(!scene.shared.plan.drains, scene);
    }

    /// `cancel_match`.
    pub(crate) fn cancel(&mut self, scene: &mut Scene<'_>) {
        let mut text = Vec::new();
        write_cancel_match(&mut text);
        self.ask(Request::Cancel, scene);
        self.say(&text, scene.shared);
    }

    fn leave(&mut self, scene: &mut Scene<'_>) {
        let claim = match (scene.shared.random.below(6), self.room(), &self.old_room) {
            (0, _, Some(old)) => Claim::Room(old.clone()),
            (1, ..) => Claim::Nonsense,
            (2, Some(room), _) => Claim::Room(room.to_owned()),
            _ => Claim::Present,
        };
        self.leave_room(claim, scene);
    }

    /// `leave_room`.
    pub(crate) fn leave_room(&mut self, claim: Claim, scene: &mut Scene<'_>) {
        let mut text = Vec::new();
        match &claim {
            Claim::Present => write_leave_room(&mut text),
            Claim::Room(room) => {
                text = format!(r#"{{"type":"leave_room","room_id":"{room}"}}"#).into_bytes();
            }
            Claim::Nonsense => text = br#"{"room_id":7,"type":"leave_room"}"#.to_vec(),
        }
        let leaves = match &claim {
            Claim::Present => true,
            Claim::Room(room) => Some(&**room) == self.room(),
            Claim::Nonsense => false,
        };
        if leaves {
            self.note_exit(Exit::Left, scene);
        }
        self.ask(Request::Leave(claim), scene);
        self.say(&text, scene.shared);
        self.note_exit_end(leaves, scene);
    }

    /// A message for the partner.
    pub(crate) fn relay(&mut self, claim: Claim, pad: Option<usize>, scene: &mut Scene<'_>) {
        let nth = scene.ledger.relays[self.id].len();
        let random = &mut scene.shared.random;
        let kind = random.pick(&RelayKind::ALL);
        let most = scene.shared.plan.limits.max_message_bytes - 200;
        let pad = pad.unwrap_or_else(|| random.pick(&[0, 0, 10, 100, 700, 3000, 20_000]));
        let pad = pad.min(most);
        let payload = format!(r#"{{"from":{},"n":{nth},"pad":"{:x<pad$}"}}"#, self.id, "");
        let mut text = Vec::new();
        match &claim {
            Claim::Room(room) => write_relay(&mut text, kind, room, payload.as_bytes()),
            Claim::Present => {
                // Now and then in an order that the scan does not know.
                let name = kind.as_str();
                text = match random.chance(500) {
                    true => format!(r#"{{"type":"{name}","payload":{payload}}}"#),
                    false => format!(r#"{{"payload":{payload},"type":"{name}"}}"#),
                }
                .into_bytes();
            }
            Claim::Nonsense => {
                let name = kind.as_str();
                text = format!(r#"{{"type":"{name}","room_id":null,"payload":{payload}}}"#).into();
            }
        }
        let mut position = None;
        if let (View::InRoom(membership), Claim::Room(room)) = (&mut self.view, &claim)
            && membership.room == *room
        {
            position = Some(membership.sent);
            membership.sent += 1;
        }
        scene.ledger.relays[self.id].push(Relay {
            text: text.clone(),
            start: self.written,
            claim: match &claim {
                Claim::Present => None,
                Claim::Room(room) => Some(room.clone()),
                Claim::Nonsense => Some("nonsense".to_owned()),
            },
            nth: position,
            delivered: false,
        });
        self.ask(Request::Relay(claim), scene);
        self.say(&text, scene.shared);
    }

    fn ping(&mut self, scene: &mut Scene<'_>) {
        let payload = scene.shared.random.below(1000);
        let text = format!(r#"{{"type":"ping","payload":{{"p":{payload}}}}}"#);
        let due = format!(r#"{{"type":"pong","payload":{{"p":{payload}}}}}"#);
        self.ask(Request::Ping(due), scene);
        self.say(text.as_bytes(), scene.shared);
    }

    fn socket_ping(&mut self, scene: &mut Scene<'_>) {
        let length = scene.shared.random.pick(&[0, 1, 125]);
        let payload = vec![scene.shared.random.word() as u8; length];
        let mut out = Vec::new();
        push_client_frame(&mut out, PING, &payload, key(&mut scene.shared.random));
        self.ask(Request::SocketPing(payload), scene);
        self.write(&out, scene.shared);
    }

    /// Answers a ping, or does as if there had been one.
    pub(crate) fn pong(&mut self, payload: &[u8], scene: &mut Scene<'_>) {
        if self.is_able() && !self.mute {
            let mut out = Vec::new();
            push_client_frame(&mut out, PONG, payload, key(&mut scene.shared.random));
            self.write(&out, scene.shared);
        }
    }

    fn nonsense(&mut self, scene: &mut Scene<'_>) {
        if scene.shared.random.chance(150) {
            let mut out = Vec::new();
            push_client_frame(&mut out, BINARY, b"{}", key(&mut scene.shared.random));
            self.ask(Request::Bad("bad_message"), scene);
            return self.write(&out, scene.shared);
        }
        let (text, code) = scene.shared.random.pick(&NONSENSE);
        self.ask(Request::Bad(code), scene);
        self.say(text, scene.shared);
    }

    /// A Close frame.
    pub(crate) fn close(&mut self, scene: &mut Scene<'_>) {
        let mut out = Vec::new();
        let payload: &[u8] = if scene.shared.random.chance(500) { &[0x03, 0xe8] } else { &[] };
        push_client_frame(&mut out, CLOSE, payload, key(&mut scene.shared.random));
        self.note_exit(Exit::Gone, scene);
        self.ask(Request::Close, scene);
        self.write(&out, scene.shared);
        self.note_exit_end(true, scene);
        self.conduct.closed = true;
        scene.shared.tally.count("user: closes");
    }

    /// Says that it will send nothing more.
    pub(crate) fn half_close(&mut self, scene: &mut Scene<'_>) {
        if self.conduct.half_closed {
            return;
        }
        self.note_exit(Exit::Gone, scene);
        self.conduct.half_closed = true;
        scene.shared.links[self.id].client_ended = true;
        scene.shared.tally.count("user: half-closes");
    }

    /// Is gone, with a reset or without.
    pub(crate) fn vanish(&mut self, reset: bool, scene: &mut Scene<'_>) {
        self.conduct.vanished = true;
        let link = &mut scene.shared.links[self.id];
        let mut event = false;
        if reset {
            event = link.reset();
        } else {
            link.client_ended = true;
            link.client_gone = true;
        }
        self.stage = Stage::Over;
        if event {
            scene.shared.raise(self.id);
        }
        scene.shared.tally.count(if reset { "user: resets" } else { "user: vanishes" });
    }

    /// Breaks the protocol.
    fn violate(&mut self, scene: &mut Scene<'_>) {
        let random = &mut scene.shared.random;
        let max = scene.shared.plan.limits.max_message_bytes;
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
        self.note_exit(Exit::Gone, scene);
        self.conduct.violation = Some(code);
        self.write(&out, scene.shared);
        self.note_exit_end(true, scene);
        scene.shared.tally.count("user: breaks the protocol");
    }

    fn ask(&mut self, request: Request, scene: &mut Scene<'_>) {
        let room = self.room().map(str::to_owned);
        scene.shared.trace.tell(|| format!("user {} asks {request:?}", self.id));
        self.asked.push_back(Asked { request, room });
    }

    /// It is about to leave the room it is in, if any, with so much said.
    fn note_exit(&mut self, exit: Exit, scene: &mut Scene<'_>) {
        if let View::InRoom(membership) = &self.view {
            let exits = scene.ledger.exits.entry((self.id, membership.room.clone())).or_default();
            exits.push((exit, membership.sent));
        }
    }

    /// When what it has just written has been read, it has left, if that is `certain`.
    fn note_exit_end(&mut self, certain: bool, scene: &mut Scene<'_>) {
        let limited = scene.shared.plan.limits.max_messages_per_second.is_some();
        if let (View::InRoom(membership), true, false) = (&self.view, certain, limited) {
            let room = &membership.room;
            let known = scene.ledger.exit_by.get(&self.id).is_some_and(|(of, _)| of == room);
            if !known {
                scene.ledger.exit_by.insert(self.id, (room.clone(), self.written));
            }
        }
    }

    /// Sends a text message, now and then in fragments with something in between.
    fn say(&mut self, text: &[u8], shared: &mut Shared) {
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
        shared.links[self.id].sending.extend(bytes);
        self.written += bytes.len() as u64;
    }
}

fn key(random: &mut Random) -> [u8; 4] {
    (random.word() as u32).to_le_bytes()
}
