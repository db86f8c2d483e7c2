//! A small server that speaks the protocol and misbehaves in exactly one way: what the load
//! tester must convict it of. One thread a connection, one lock around everything.

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

/// How it misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vice {
    None,
    Drops,
    Duplicates,
    Reorders,
    Corrupts,
    Misroutes,
    MatchesTwice,
    NeverMatches,
    Leaks,
    LeaksSlowly,
    Stalls,
    /// A match is told to one of the two.
    TellsOne,
    /// Both are to send the offer.
    MakesBothInitiate,
    /// The two are told different rooms.
    NamesTwoRooms,
    /// The first message overtakes the match.
    RelaysEarly,
    /// The match_request of one user is answered and forgotten.
    ForgetsOne,
    /// A match_request is not answered by `waiting`.
    SkipsWaiting,
    NeverTellsTheEnd,
    TellsTheEndTwice,
    /// The partner of whoever leaves gets one message more.
    RelaysAfterTheEnd,
    /// No vice: one connection breaks, and its place in the room is kept for a while.
    KeepsAPlace,
    /// Nobody's upgrade is answered.
    GreetsNobody,
    /// Every second upgrade is not answered.
    GreetsEverySecond,
    /// Requests to one path are not answered.
    NeverAnswersSlow,
    Truncates,
    /// The type of a message is changed to one that does not exist.
    Retypes,
    /// Some users are not heard any more, whatever they say.
    Freezes,
    /// Every relayed message takes 200 ms.
    Dawdles,
}

/// Every so many relayed messages one is treated badly.
const ONE_IN: u64 = 10;
/// How long a stall lasts, and after how many relayed messages it begins: before that, users
/// who wait for their session ask for nothing whose absence could be noticed.
const STALL: Duration = Duration::from_secs(4);
const STALL_AFTER: u64 = 300;
/// What [`Vice::Dawdles`] adds to every message.
const DAWDLE: Duration = Duration::from_millis(200);
/// How long [`Vice::KeepsAPlace`] waits for one who does not come back, and after how many relayed
/// messages it breaks a connection.
const AWAY: Duration = Duration::from_secs(2);
const AWAY_AFTER: u64 = 100;
/// Of these rooms one is made badly.
const ROOMS_ONE_IN: u64 = 3;

const RULES: ReceiveLimits =
    ReceiveLimits { sender: Side::Client, max_message_bytes: 64 * 1024, max_fragments: 1024 };

struct User {
    socket: TcpStream,
    room: Option<(String, u64)>,
    held: Option<Vec<u8>>,
    /// A `match_found` that is told too late.
    untold: Option<String>,
}

#[derive(Default)]
struct World {
    users: HashMap<u64, User>,
    waiting: Vec<u64>,
    next_user: u64,
    next_room: u64,
    relayed: u64,
    matched_twice: bool,
    memory: u64,
    stalled: bool,
    wishes: u64,
    looks: u64,
    upgrades: u64,
    /// How often the end of a room is told.
    ends: u32,
    /// What was relayed last to each user, if that is sent again after the end.
    last_words: Option<HashMap<u64, Vec<u8>>>,
    /// Whose connection has been broken.
    away: Option<u64>,
}

struct Server {
    vice: Vice,
    world: Mutex<World>,
    /// Messages that take their time: to whom, and when they are due.
    slow: Sender<(Instant, u64, Vec<u8>)>,
}

/// Starts the server; it lives as long as the test's process.
pub(crate) fn start(vice: Vice) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ends = match vice {
        Vice::NeverTellsTheEnd => 0,
        Vice::TellsTheEndTwice => 2,
        _ => 1,
    };
    let last_words = (vice == Vice::RelaysAfterTheEnd).then(HashMap::new);
    let world = Mutex::new(World { memory: 100 << 20, ends, last_words, ..World::default() });
    let (slow, dawdling) = channel::<(Instant, u64, Vec<u8>)>();
    let server = Arc::new(Server { vice, world, slow });
    let postman = Arc::clone(&server);
    std::thread::spawn(move || {
        for (due, to, text) in dawdling {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            postman.world.lock().unwrap().send(to, TEXT, &text);
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
        let Some(key) = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        else {
            if self.vice == Vice::NeverAnswersSlow && head.starts_with("GET /slow") {
                return socket.read(&mut byte).ok().map(drop);
            }
            return self.plain(&mut socket);
        };
        let others = self.vice == Vice::GreetsEverySecond && {
            let mut world = self.world.lock().unwrap();
            world.upgrades += 1;
            world.upgrades.is_multiple_of(2)
        };
        if self.vice == Vice::GreetsNobody || others {
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
        let mut world = self.world.lock().unwrap();
        world.memory += match self.vice {
            Vice::Leaks => 1 << 20,
            // Over the noise of a server that breathes.
            Vice::LeaksSlowly => 320 << 10,
            _ => 0,
        };
        world.looks += 1;
        let breath = (world.looks * 7919 % 13) << 14;
        // The descriptors too: those of the process are shared with other tests' servers.
        let body = format!(
            r#"{{"status":"ok","process":{{"resident_bytes":{},"descriptors_used":50}}}}"#,
            world.memory + breath
        );
        let length = body.len();
        write!(
            socket,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .ok()
    }

    fn enter(&self, socket: &TcpStream) -> Option<u64> {
        let mut world = self.world.lock().unwrap();
        world.next_user += 1;
        let me = world.next_user;
        let user = User { socket: socket.try_clone().ok()?, room: None, held: None, untold: None };
        world.users.insert(me, user);
        world.tell(me, &format!(r#"{{"type":"session","payload":{{"session_id":"s{me}"}}}}"#));
        Some(me)
    }

    fn converse(&self, me: u64, socket: &mut TcpStream) {
        let (mut buffer, mut held) = (vec![0; 64 * 1024], None);
        loop {
            let len = match socket.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(len) => len,
            };
            let mut reader = MessageReader::new(&mut buffer[..len], held.take(), &RULES);
            while let Ok(Some(item)) = reader.next() {
                let mut world = self.world.lock().unwrap();
                if self.is_frozen(&world, me) {
                    continue;
                }
                match item {
                    IncomingItem::Text(place) => self.hear(&mut world, me, reader.bytes(&place)),
                    IncomingItem::Ping(place) => world.send(me, PONG, reader.bytes(&place)),
                    IncomingItem::Close(_) => return world.send(me, CLOSE, &1000u16.to_be_bytes()),
                    IncomingItem::Binary(_) | IncomingItem::Pong(_) => {}
                }
            }
            held = reader.finish();
        }
    }

    /// Whoever is in a room with an odd number, from some time on.
    fn is_frozen(&self, world: &World, me: u64) -> bool {
        let room = world.users.get(&me).and_then(|user| user.room.as_ref());
        let is_odd = |name: &String| name.bytes().last().is_some_and(|digit| digit % 2 == 1);
        self.vice == Vice::Freezes
            && world.relayed > STALL_AFTER
            && room.is_some_and(|(name, _)| is_odd(name))
    }

    fn hear(&self, world: &mut World, me: u64, text: &[u8]) {
        if self.vice == Vice::Stalls && !world.stalled && world.relayed > STALL_AFTER {
            world.stalled = true;
            // With the lock held: everybody waits.
            std::thread::sleep(STALL);
        }
        match parse_client_message(text) {
            Ok(ClientMessage::FindMatch { .. }) => {
                world.part(me, "next");
                world.wishes += 1;
                if self.vice != Vice::SkipsWaiting {
                    world.tell(me, r#"{"type":"waiting","payload":{"queue":"load"}}"#);
                }
                if self.vice == Vice::ForgetsOne && world.wishes == 3 {
                    return;
                }
                world.waiting.push(me);
                if self.vice != Vice::NeverMatches {
                    self.pair(world);
                }
            }
            Ok(ClientMessage::LeaveRoom(_)) => {
                world.part(me, "left");
                world.tell(me, r#"{"type":"room_left","payload":{}}"#);
            }
            Ok(ClientMessage::Ping { .. }) => world.tell(me, r#"{"type":"pong"}"#),
            Ok(ClientMessage::Relay(..)) => self.relay(world, me, text),
            Ok(ClientMessage::CancelMatch) | Err(_) => {}
        }
    }

    fn pair(&self, world: &mut World) {
        while let [a, b, ..] = world.waiting[..] {
            world.waiting.drain(..2);
            if self.vice == Vice::MatchesTwice && !world.matched_twice && world.next_room > 2 {
                // It forgets to take one of them out of the queue.
                world.matched_twice = true;
                world.waiting.insert(0, a);
            }
            world.next_room += 1;
            let badly = world.next_room.is_multiple_of(ROOMS_ONE_IN);
            for (me, peer, initiator) in [(a, b, true), (b, a, false)] {
                let second = badly && !initiator;
                if second && self.vice == Vice::TellsOne {
                    continue;
                }
                let mut room = format!("room-{}", world.next_room);
                if second && self.vice == Vice::NamesTwoRooms {
                    room += "-too";
                }
                let initiator = initiator || second && self.vice == Vice::MakesBothInitiate;
                let found = format!(
                    r#"{{"type":"match_found","payload":{{"room_id":"{room}","peer_id":"s{peer}","initiator":{initiator}}}}}"#
                );
                let Some(user) = world.users.get_mut(&me) else { continue };
                user.room = Some((room, peer));
                if second && self.vice == Vice::RelaysEarly {
                    user.untold = Some(found);
                } else {
                    world.tell(me, &found);
                }
            }
        }
    }

    fn relay(&self, world: &mut World, me: u64, text: &[u8]) {
        let Some((_, peer)) = world.users.get(&me).and_then(|user| user.room.clone()) else {
            return world.tell(me, r#"{"type":"error","payload":{"code":"not_in_room"}}"#);
        };
        let last = match MessageDecoder::default().decode(text) {
            Some(DecodedMessage::Intact(stamp)) => stamp.last,
            _ => panic!("the tester sends stamped messages"),
        };
        world.relayed += 1;
        if self.vice == Vice::KeepsAPlace && world.relayed == AWAY_AFTER {
            world.away = Some(me);
            let _ = world.users[&me].socket.shutdown(std::net::Shutdown::Both);
        }
        if let Some(words) = &mut world.last_words {
            words.insert(peer, text.to_vec());
        }
        let badly = world.relayed.is_multiple_of(ONE_IN);
        match self.vice {
            Vice::Drops if badly => {}
            Vice::Duplicates if badly => {
                world.send(peer, TEXT, text);
                world.send(peer, TEXT, text);
            }
            // The last message has no later one that could overtake it.
            Vice::Reorders if badly && !last => {
                let user = world.users.get_mut(&me).unwrap();
                if let Some(earlier) = user.held.replace(text.to_vec()) {
                    world.send(peer, TEXT, &earlier);
                }
            }
            Vice::Corrupts if badly && !last => {
                let mut changed = text.to_vec();
                let at = changed.len() - 5;
                changed[at] ^= 1;
                world.send(peer, TEXT, &changed);
            }
            Vice::Truncates if badly && !last => world.send(peer, TEXT, &text[..text.len() / 2]),
            Vice::Retypes if badly && !last => {
                let changed = String::from_utf8_lossy(text).replacen("\"signal\"", "\"signul\"", 1);
                world.send(peer, TEXT, changed.as_bytes());
            }
            Vice::Dawdles => {
                self.slow.send((Instant::now() + DAWDLE, peer, text.to_vec())).unwrap()
            }
            Vice::Misroutes if badly && !last => {
                let strangers = world
                    .users
                    .iter()
                    .filter(|(id, user)| **id != peer && **id != me && user.room.is_some());
                let stranger = strangers.map(|(id, _)| *id).min();
                world.send(stranger.unwrap_or(peer), TEXT, text);
            }
            _ => {
                world.send(peer, TEXT, text);
                if let Some(found) = world.users.get_mut(&peer).and_then(|user| user.untold.take())
                {
                    world.tell(peer, &found);
                }
                if let Some(earlier) = world.users.get_mut(&me).and_then(|user| user.held.take()) {
                    world.send(peer, TEXT, &earlier);
                }
            }
        }
    }

    fn leave(&self, me: u64) {
        let mut world = self.world.lock().unwrap();
        if self.is_frozen(&world, me) {
            return;
        }
        if world.away == Some(me) {
            let (room, peer) = world.users[&me].room.clone().unwrap();
            world
                .tell(peer, &format!(r#"{{"type":"peer_away","payload":{{"room_id":"{room}"}}}}"#));
            let text = format!(
                r#"{{"type":"peer_left","payload":{{"room_id":"{room}","reason":"timeout"}}}}"#
            );
            self.slow.send((Instant::now() + AWAY, peer, text.into_bytes())).unwrap();
            world.users.remove(&me);
            return;
        }
        world.part(me, "disconnected");
        world.waiting.retain(|waiting| *waiting != me);
        world.users.remove(&me);
    }
}

impl World {
    fn send(&mut self, to: u64, opcode: tungstenite::protocol::frame::coding::OpCode, body: &[u8]) {
        let mut frame = Vec::new();
        push_server_frame(&mut frame, opcode, body);
        if let Some(user) = self.users.get_mut(&to) {
            // Who is gone gets nothing; its own thread notices.
            let _ = user.socket.write_all(&frame);
        }
    }

    fn tell(&mut self, to: u64, text: &str) {
        self.send(to, TEXT, text.as_bytes());
    }

    fn part(&mut self, me: u64, reason: &str) {
        let Some((_, peer)) = self.users.get_mut(&me).and_then(|user| user.room.take()) else {
            return;
        };
        let Some(partner) = self.users.get_mut(&peer) else { return };
        // It may have been torn out into another room.
        let Some((room, _)) = partner.room.take_if(|(_, theirs)| *theirs == me) else { return };
        for _ in 0..self.ends {
            self.tell(
                peer,
                &format!(
                    r#"{{"type":"peer_left","payload":{{"room_id":"{room}","reason":"{reason}"}}}}"#
                ),
            );
        }
        if let Some(text) = self.last_words.as_mut().and_then(|words| words.remove(&peer)) {
            self.send(peer, TEXT, &text);
        }
    }
}
