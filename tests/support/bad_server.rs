//! A small server that implements the protocol and misbehaves in exactly one way, which the load
//! tester must detect. It uses one thread for each connection and one lock for its whole state.

use socket2::SockRef;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use switchboard::load::message_header::{DecodedMessage, MessageDecoder};
use switchboard::wire::message::client::{ClientMessage, parse_client_message};
use switchboard::wire::websocket::assembly::{IncomingItem, MessageReader, ReceiveLimits};
use switchboard::wire::websocket::frame::{CLOSE, PONG, Side, TEXT, push_server_frame};

/// The way in which the server misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misbehaviour {
    None,
    DropsMessages,
    DuplicatesMessages,
    ReordersMessages,
    CorruptsMessages,
    MisroutesMessages,
    MatchesTwice,
    NeverMatches,
    LeaksMemory,
    LeaksMemorySlowly,
    Stalls,
    /// Only one of the two members gets `match_found`.
    AnnouncesMatchToOneMember,
    /// Both members get `"initiator":true`.
    MakesBothInitiate,
    /// The members get different room identifiers.
    NamesTwoRooms,
    /// The first relayed message is sent before `match_found`.
    RelaysBeforeMatch,
    /// One `find_match` is answered with `waiting` and then forgotten.
    ForgetsOneRequest,
    /// `find_match` is not answered with `waiting`.
    SkipsWaiting,
    NeverSendsPeerLeft,
    SendsPeerLeftTwice,
    /// The remaining member gets one more message after `peer_left`.
    RelaysAfterEnd,
    /// Correct behaviour: one connection is lost, and the room waits for it for a while.
    KeepsLostMember,
    /// No upgrade is answered.
    AnswersNoUpgrade,
    /// Every second upgrade is not answered.
    AnswersEverySecondUpgrade,
    /// Requests to one path are not answered.
    NeverAnswersSlowPath,
    TruncatesMessages,
    /// The type of a message is changed to one that does not exist.
    ChangesTypes,
    /// The messages of some users are ignored from some time on.
    FreezesSomeUsers,
    /// Every relayed message takes 200 ms.
    DelaysMessages,
    /// From some time on, who sends a message is closed with this code.
    ClosesWith(u16),
    /// Upgrades are answered with this status and text.
    RefusesUpgrades(u16, &'static str),
    /// Some messages are refused with this error code.
    RefusesMessages(&'static str),
    NeverAnswersPings,
    /// Every connection is reset once its request has arrived.
    ResetsConnections,
}

/// One relayed message in this many is affected.
const ONE_IN: u64 = 10;
/// Length of a stall, and the number of relayed messages after which it begins: earlier, users
/// still wait for their sessions and would notice nothing.
const STALL: Duration = Duration::from_secs(4);
const STALL_AFTER: u64 = 300;
/// Delay of every message with [`Misbehaviour::DelaysMessages`].
const MESSAGE_DELAY: Duration = Duration::from_millis(200);
/// How long [`Misbehaviour::KeepsLostMember`] waits for the lost member, and the number of relayed
/// messages after which it closes a connection.
const AWAY: Duration = Duration::from_secs(2);
const AWAY_AFTER: u64 = 100;
/// Number of relayed messages after which [`Misbehaviour::ClosesWith`] begins.
const CLOSE_AFTER: u64 = 100;
/// One room in this many is affected.
const ROOMS_ONE_IN: u64 = 3;

const LIMITS: ReceiveLimits =
    ReceiveLimits { sender: Side::Client, max_message_bytes: 64 * 1024, max_fragments: 1024 };

struct User {
    socket: TcpStream,
    room: Option<(String, u64)>,
    held: Option<Vec<u8>>,
    /// A `match_found` that is sent too late.
    delayed_match: Option<String>,
}

#[derive(Default)]
struct State {
    users: HashMap<u64, User>,
    waiting: Vec<u64>,
    next_user: u64,
    next_room: u64,
    relayed: u64,
    matched_twice: bool,
    memory: u64,
    stalled: bool,
    requests: u64,
    samples: u64,
    upgrades: u64,
    /// How many `peer_left` are sent at the end of a room.
    peer_left_count: u32,
    /// The message relayed last to each user, if it is sent again after the end.
    last_relayed: Option<HashMap<u64, Vec<u8>>>,
    /// The user whose connection was closed.
    away: Option<u64>,
}

struct Server {
    misbehaviour: Misbehaviour,
    state: Mutex<State>,
    /// Delayed messages: due time, receiver, text.
    delayed: Sender<(Instant, u64, Vec<u8>)>,
}

/// Starts the server; it lives as long as the test's process.
pub(crate) fn start(misbehaviour: Misbehaviour) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peer_left_count = match misbehaviour {
        Misbehaviour::NeverSendsPeerLeft => 0,
        Misbehaviour::SendsPeerLeftTwice => 2,
        _ => 1,
    };
    let last_relayed = (misbehaviour == Misbehaviour::RelaysAfterEnd).then(HashMap::new);
    let state =
        Mutex::new(State { memory: 100 << 20, peer_left_count, last_relayed, ..State::default() });
    let (delayed, receiver) = channel::<(Instant, u64, Vec<u8>)>();
    let server = Arc::new(Server { misbehaviour, state, delayed });
    let sender = Arc::clone(&server);
    std::thread::spawn(move || {
        for (due, to, text) in receiver {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            sender.state.lock().unwrap().send(to, TEXT, &text);
        }
    });
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let server = Arc::clone(&server);
            std::thread::spawn(move || server.serve(socket));
        }
    });
    address
}

impl Server {
    fn serve(&self, mut socket: TcpStream) -> Option<()> {
        socket.set_nodelay(true).ok()?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if socket.read(&mut byte).ok()? == 0 {
                return None;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?;
        if self.misbehaviour == Misbehaviour::ResetsConnections {
            return SockRef::from(&socket).set_linger(Some(Duration::ZERO)).ok();
        }
        let Some(key) = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        else {
            if self.misbehaviour == Misbehaviour::NeverAnswersSlowPath
                && head.starts_with("GET /slow")
            {
                return socket.read(&mut byte).ok().map(drop);
            }
            return self.plain(&mut socket);
        };
        if let Misbehaviour::RefusesUpgrades(status, text) = self.misbehaviour {
            let length = text.len();
            let head = format!("HTTP/1.1 {status} No\r\nContent-Length: {length}\r\n");
            return write!(socket, "{head}Connection: close\r\n\r\n{text}").ok();
        }
        let others = self.misbehaviour == Misbehaviour::AnswersEverySecondUpgrade && {
            let mut state = self.state.lock().unwrap();
            state.upgrades += 1;
            state.upgrades.is_multiple_of(2)
        };
        if self.misbehaviour == Misbehaviour::AnswersNoUpgrade || others {
            return socket.read(&mut byte).ok().map(drop);
        }
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        write!(
            socket,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .ok()?;
        let me = self.enter(&socket)?;
        self.converse(me, &mut socket);
        self.leave(me);
        Some(())
    }

    /// `/stats` and `/health`.
    fn plain(&self, socket: &mut TcpStream) -> Option<()> {
        let mut state = self.state.lock().unwrap();
        state.memory += match self.misbehaviour {
            Misbehaviour::LeaksMemory => 1 << 20,
            // More than the noise that is added below.
            Misbehaviour::LeaksMemorySlowly => 320 << 10,
            _ => 0,
        };
        state.samples += 1;
        let noise = (state.samples * 7919 % 13) << 14;
        // Reports a fixed number of descriptors: those of this process belong to other tests too.
        let body = format!(
            r#"{{"status":"ok","process":{{"resident_bytes":{},"descriptors_used":50}}}}"#,
            state.memory + noise
        );
        let length = body.len();
        write!(
            socket,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .ok()
    }

    fn enter(&self, socket: &TcpStream) -> Option<u64> {
        let mut state = self.state.lock().unwrap();
        state.next_user += 1;
        let me = state.next_user;
        let user =
            User { socket: socket.try_clone().ok()?, room: None, held: None, delayed_match: None };
        state.users.insert(me, user);
        state.send_text(me, &format!(r#"{{"type":"session","payload":{{"session_id":"s{me}"}}}}"#));
        Some(me)
    }

    fn converse(&self, me: u64, socket: &mut TcpStream) {
        let (mut buffer, mut held) = (vec![0; 64 * 1024], None);
        loop {
            let len = match socket.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(len) => len,
            };
            let mut reader = MessageReader::new(&mut buffer[..len], held.take(), &LIMITS);
            while let Ok(Some(item)) = reader.next() {
                let mut state = self.state.lock().unwrap();
                if self.is_frozen(&state, me) {
                    continue;
                }
                match item {
                    IncomingItem::Text(place) => self.handle(&mut state, me, reader.bytes(&place)),
                    IncomingItem::Ping(place) => state.send(me, PONG, reader.bytes(&place)),
                    IncomingItem::Close(_) => return state.send(me, CLOSE, &1000u16.to_be_bytes()),
                    IncomingItem::Binary(_) | IncomingItem::Pong(_) => {}
                }
            }
            held = reader.finish();
        }
    }

    /// Whether the messages of this user are ignored: users in rooms with an odd number, from some
    /// time on.
    fn is_frozen(&self, state: &State, me: u64) -> bool {
        let room = state.users.get(&me).and_then(|user| user.room.as_ref());
        let is_odd = |name: &String| name.bytes().last().is_some_and(|digit| digit % 2 == 1);
        self.misbehaviour == Misbehaviour::FreezesSomeUsers
            && state.relayed > STALL_AFTER
            && room.is_some_and(|(name, _)| is_odd(name))
    }

    fn handle(&self, state: &mut State, me: u64, text: &[u8]) {
        if self.misbehaviour == Misbehaviour::Stalls
            && !state.stalled
            && state.relayed > STALL_AFTER
        {
            state.stalled = true;
            // The lock is held, so all users wait.
            std::thread::sleep(STALL);
        }
        match parse_client_message(text) {
            Ok(ClientMessage::FindMatch { .. }) => {
                state.end_room(me, "next");
                state.requests += 1;
                if self.misbehaviour != Misbehaviour::SkipsWaiting {
                    state.send_text(me, r#"{"type":"waiting","payload":{"queue":"load"}}"#);
                }
                if self.misbehaviour == Misbehaviour::ForgetsOneRequest && state.requests == 3 {
                    return;
                }
                state.waiting.push(me);
                if self.misbehaviour != Misbehaviour::NeverMatches {
                    self.pair(state);
                }
            }
            Ok(ClientMessage::LeaveRoom(_)) => {
                state.end_room(me, "left");
                state.send_text(me, r#"{"type":"room_left","payload":{}}"#);
            }
            Ok(ClientMessage::Ping { .. })
                if self.misbehaviour == Misbehaviour::NeverAnswersPings => {}
            Ok(ClientMessage::Ping { .. }) => state.send_text(me, r#"{"type":"pong"}"#),
            Ok(ClientMessage::Relay(..)) => self.relay(state, me, text),
            Ok(ClientMessage::CancelMatch) | Err(_) => {}
        }
    }

    fn pair(&self, state: &mut State) {
        while let [a, b, ..] = state.waiting[..] {
            state.waiting.drain(..2);
            if self.misbehaviour == Misbehaviour::MatchesTwice
                && !state.matched_twice
                && state.next_room > 2
            {
                // One of the two is not removed from the queue.
                state.matched_twice = true;
                state.waiting.insert(0, a);
            }
            state.next_room += 1;
            let affected = state.next_room.is_multiple_of(ROOMS_ONE_IN);
            for (me, peer, initiator) in [(a, b, true), (b, a, false)] {
                let second = affected && !initiator;
                if second && self.misbehaviour == Misbehaviour::AnnouncesMatchToOneMember {
                    continue;
                }
                let mut room = format!("room-{}", state.next_room);
                if second && self.misbehaviour == Misbehaviour::NamesTwoRooms {
                    room += "-second";
                }
                let initiator =
                    initiator || second && self.misbehaviour == Misbehaviour::MakesBothInitiate;
                let found = format!(
                    r#"{{"type":"match_found","payload":{{"room_id":"{room}","peer_id":"s{peer}","initiator":{initiator}}}}}"#
                );
                let Some(user) = state.users.get_mut(&me) else { continue };
                user.room = Some((room, peer));
                if second && self.misbehaviour == Misbehaviour::RelaysBeforeMatch {
                    user.delayed_match = Some(found);
                } else {
                    state.send_text(me, &found);
                }
            }
        }
    }

    fn relay(&self, state: &mut State, me: u64, text: &[u8]) {
        let Some((_, peer)) = state.users.get(&me).and_then(|user| user.room.clone()) else {
            return state.send_text(me, r#"{"type":"error","payload":{"code":"not_in_room"}}"#);
        };
        let last = match MessageDecoder::default().decode(text) {
            Some(DecodedMessage::Intact(header)) => header.last,
            _ => panic!("the tester's messages have a header"),
        };
        state.relayed += 1;
        if self.misbehaviour == Misbehaviour::KeepsLostMember && state.relayed == AWAY_AFTER {
            state.away = Some(me);
            let _ = state.users[&me].socket.shutdown(std::net::Shutdown::Both);
        }
        if let Some(messages) = &mut state.last_relayed {
            messages.insert(peer, text.to_vec());
        }
        let affected = state.relayed.is_multiple_of(ONE_IN);
        match self.misbehaviour {
            Misbehaviour::DropsMessages if affected => {}
            Misbehaviour::ClosesWith(code) if state.relayed > CLOSE_AFTER => {
                state.send(me, CLOSE, &code.to_be_bytes());
            }
            Misbehaviour::RefusesMessages(code) if affected && !last => {
                state
                    .send_text(me, &format!(r#"{{"type":"error","payload":{{"code":"{code}"}}}}"#));
            }
            Misbehaviour::DuplicatesMessages if affected => {
                state.send(peer, TEXT, text);
                state.send(peer, TEXT, text);
            }
            // No later message could overtake the last one.
            Misbehaviour::ReordersMessages if affected && !last => {
                let user = state.users.get_mut(&me).unwrap();
                if let Some(earlier) = user.held.replace(text.to_vec()) {
                    state.send(peer, TEXT, &earlier);
                }
            }
            Misbehaviour::CorruptsMessages if affected && !last => {
                let mut changed = text.to_vec();
                let at = changed.len() - 5;
                changed[at] ^= 1;
                state.send(peer, TEXT, &changed);
            }
            Misbehaviour::TruncatesMessages if affected && !last => {
                state.send(peer, TEXT, &text[..text.len() / 2])
            }
            Misbehaviour::ChangesTypes if affected && !last => {
                let changed = String::from_utf8_lossy(text).replacen("\"signal\"", "\"signul\"", 1);
                state.send(peer, TEXT, changed.as_bytes());
            }
            Misbehaviour::DelaysMessages => {
                self.delayed.send((Instant::now() + MESSAGE_DELAY, peer, text.to_vec())).unwrap()
            }
            Misbehaviour::MisroutesMessages if affected && !last => {
                let others = state
                    .users
                    .iter()
                    .filter(|(id, user)| **id != peer && **id != me && user.room.is_some());
                let other = others.map(|(id, _)| *id).min();
                state.send(other.unwrap_or(peer), TEXT, text);
            }
            _ => {
                state.send(peer, TEXT, text);
                if let Some(found) =
                    state.users.get_mut(&peer).and_then(|user| user.delayed_match.take())
                {
                    state.send_text(peer, &found);
                }
                if let Some(earlier) = state.users.get_mut(&me).and_then(|user| user.held.take()) {
                    state.send(peer, TEXT, &earlier);
                }
            }
        }
    }

    fn leave(&self, me: u64) {
        let mut state = self.state.lock().unwrap();
        if self.is_frozen(&state, me) {
            return;
        }
        if state.away == Some(me) {
            let (room, peer) = state.users[&me].room.clone().unwrap();
            state.send_text(
                peer,
                &format!(r#"{{"type":"peer_away","payload":{{"room_id":"{room}"}}}}"#),
            );
            let text = format!(
                r#"{{"type":"peer_left","payload":{{"room_id":"{room}","reason":"timeout"}}}}"#
            );
            self.delayed.send((Instant::now() + AWAY, peer, text.into_bytes())).unwrap();
            state.users.remove(&me);
            return;
        }
        state.end_room(me, "disconnected");
        state.waiting.retain(|waiting| *waiting != me);
        state.users.remove(&me);
    }
}

impl State {
    fn send(&mut self, to: u64, opcode: tungstenite::protocol::frame::coding::OpCode, body: &[u8]) {
        let mut frame = Vec::new();
        push_server_frame(&mut frame, opcode, body);
        if let Some(user) = self.users.get_mut(&to) {
            // The connection may be closed; its own thread notices.
            let _ = user.socket.write_all(&frame);
        }
    }

    fn send_text(&mut self, to: u64, text: &str) {
        self.send(to, TEXT, text.as_bytes());
    }

    fn end_room(&mut self, me: u64, reason: &str) {
        let Some((_, peer)) = self.users.get_mut(&me).and_then(|user| user.room.take()) else {
            return;
        };
        let Some(partner) = self.users.get_mut(&peer) else { return };
        // The partner may have been moved to another room.
        let Some((room, _)) = partner.room.take_if(|(_, theirs)| *theirs == me) else { return };
        for _ in 0..self.peer_left_count {
            self.send_text(
                peer,
                &format!(
                    r#"{{"type":"peer_left","payload":{{"room_id":"{room}","reason":"{reason}"}}}}"#
                ),
            );
        }
        if let Some(text) = self.last_relayed.as_mut().and_then(|messages| messages.remove(&peer)) {
            self.send(peer, TEXT, &text);
        }
    }
}
