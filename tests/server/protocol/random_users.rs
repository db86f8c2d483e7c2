//! Users that act at random against a real server. Each checks every message that it receives
//! against what `src/wire/PROTOCOL.md` allows in its state.
//!
//! `SWITCHBOARD_SEED` repeats a run as far as thread and kernel scheduling allow;
//! `SWITCHBOARD_STEPS` sets its length.

use crate::support::{
    ProtocolClient, RawClient, Received, Server, client_frame, run_alone, stat_number, text_frame,
    wait_until,
};
use serde_json::Value;
use std::collections::VecDeque;

/// A random number generator (xorshift64).
struct Rng(u64);

impl Rng {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// A room as one of its members sees it.
struct Room {
    id: String,
    peer: String,
    /// The number of the next message to and from the partner.
    sent: u64,
    received: u64,
}

/// What the server must send in answer to a message.
#[derive(Debug)]
enum Expected {
    /// One of these types or error codes: the message can cross another event.
    Answer(&'static [&'static str]),
    /// At most this many refusals of relayed messages. A pong follows, so that they are attributed
    /// to the right messages.
    Refusals(u64),
}

/// A user, with what it has requested and received.
struct User {
    raw: RawClient,
    expected: VecDeque<Expected>,
    room: Option<Room>,
    /// Identifiers of earlier rooms, the last one at the end.
    former: Vec<String>,
    /// Whether a `find_match` was answered by `waiting` and has not ended.
    is_waiting: bool,
}

impl User {
    fn connect(server: &Server) -> User {
        let raw = server.raw_session();
        User {
            raw,
            expected: Default::default(),
            room: None,
            former: Vec::new(),
            is_waiting: false,
        }
    }

    fn request(&mut self, text: &str, answers: &'static [&'static str]) {
        self.raw.send_text(text);
        self.expected.push_back(Expected::Answer(answers));
    }

    /// Takes one random action. `None` if it ended the connection.
    fn act(mut self, rng: &mut Rng) -> Option<User> {
        match rng.next(100) {
            0..25 => {
                let queue = ["a", "b", "c"][rng.next(3) as usize];
                let text = format!(r#"{{"type":"find_match","payload":{{"queue":"{queue}"}}}}"#);
                self.request(&text, &["waiting"]);
            }
            25..33 => {
                self.request(r#"{"type":"cancel_match"}"#, &["match_cancelled", "not_waiting"]);
            }
            33..40 => self.request(r#"{"type":"leave_room"}"#, &["room_left", "not_in_room"]),
            40..70 => self.relay(rng),
            70..78 => self.request(r#"{"type":"ping"}"#, &["pong"]),
            78..82 => self.request("{", &["bad_json"]),
            82..86 => self.request(r#"{"type":"offer","TYPE":"x"}"#, &["bad_message"]),
            86..92 => {
                // In two fragments, with a ping between them.
                let text = br#"{"type":"ping"}"#;
                let cut = rng.next(text.len() as u64) as usize;
                self.raw.send(&client_frame(0x01, &text[..cut]));
                self.raw.send(&client_frame(0x89, b"between"));
                self.raw.send(&client_frame(0x80, &text[cut..]));
                self.expected.push_back(Expected::Answer(&["pong"]));
            }
            92..94 => {
                self.raw.reset();
                return None;
            }
            94 => return None,
            95 => {
                self.raw.send(&client_frame(0x88, b"\x03\xe8"));
                return None;
            }
            96 => {
                let text = text_frame(br#"{"type":"find_match"}"#);
                self.raw.send(&text[..rng.next(text.len() as u64) as usize]);
                return None;
            }
            _ => {}
        }
        Some(self)
    }

    /// Sends a few messages to the partner, or one that names the previous room.
    fn relay(&mut self, rng: &mut Rng) {
        let Some(room) = &mut self.room else {
            let id = self.former.last().map_or("none", String::as_str);
            let text = format!(r#"{{"type":"offer","room_id":"{id}","payload":"too late"}}"#);
            return self.request(&text, &["not_in_room"]);
        };
        let count = 1 + rng.next(4);
        for _ in 0..count {
            let (id, padding) = (&room.id, "f".repeat(rng.next(300) as usize));
            let (from, nth) = (self.raw.id(), room.sent);
            room.sent += 1;
            let text = format!(
                r#"{{"type":"signal","room_id":"{id}","payload":["{id}","{from}",{nth},"{padding}"]}}"#
            );
            // Refused if the partner has left meanwhile; otherwise there is no answer.
            self.raw.send_text(&text);
        }
        self.expected.push_back(Expected::Refusals(count));
        self.request(r#"{"type":"ping"}"#, &["pong"]);
    }

    /// Checks every message that has arrived.
    fn check_received(&mut self) {
        while let Some(received) = self.raw.try_receive() {
            let Received::Text(text) = received else { panic!("{received:?}") };
            self.check(&text);
        }
    }

    fn check(&mut self, text: &str) {
        let message: Value = serde_json::from_str(text).unwrap();
        let payload = &message["payload"];
        let string = |value: &Value| value.as_str().unwrap().to_owned();
        match message["type"].as_str().unwrap() {
            "match_found" => {
                assert!(self.is_waiting, "does not wait: {text}");
                assert!(self.room.is_none(), "already in a room: {text}");
                self.is_waiting = false;
                let (id, peer) = (string(&payload["room_id"]), string(&payload["peer_id"]));
                assert!(!self.former.contains(&id), "the room again: {text}");
                assert_ne!(peer, self.raw.id(), "matched with itself");
                self.room = Some(Room { id, peer, sent: 0, received: 0 });
            }
            "peer_left" => {
                let room = self.room.take().unwrap_or_else(|| panic!("in no room: {text}"));
                assert_eq!(payload["room_id"], room.id);
                self.former.push(room.id);
            }
            "signal" => {
                let from = string(&payload[1]);
                let room = self.room.as_mut().unwrap_or_else(|| panic!("in no room: {text}"));
                assert_eq!((&payload[0], &from), (&Value::from(&*room.id), &room.peer), "{text}");
                assert_eq!(payload[2], room.received, "in order, each once: {text}");
                room.received += 1;
            }
            name => {
                let answer =
                    if name == "error" { string(&payload["code"]) } else { name.to_owned() };
                self.check_answer(&answer, payload, text);
            }
        }
    }

    fn check_answer(&mut self, answer: &str, payload: &Value, text: &str) {
        let expected = match (self.expected.pop_front(), answer) {
            (Some(Expected::Refusals(left @ 1..)), "not_in_room") => {
                assert!(!self.former.is_empty(), "{text}");
                return self.expected.push_front(Expected::Refusals(left - 1));
            }
            (Some(Expected::Refusals(_)), _) => self.expected.pop_front(),
            (expected, _) => expected,
        };
        let Some(Expected::Answer(expected)) = expected else { panic!("not requested: {text}") };
        assert!(expected.contains(&answer), "{expected:?} is expected: {text}");
        match answer {
            "waiting" => {
                // In a room it was "next": the room ends without a `room_left`.
                if let Some(room) = self.room.take() {
                    self.former.push(room.id);
                }
                self.is_waiting = true;
            }
            "match_cancelled" => {
                assert!(self.is_waiting);
                self.is_waiting = false;
            }
            "not_waiting" => assert!(!self.is_waiting),
            "room_left" => {
                let room = self.room.take().unwrap_or_else(|| panic!("in no room: {text}"));
                assert_eq!(payload["room_id"], room.id);
                self.former.push(room.id);
            }
            _ => {}
        }
    }

    /// Waits for the answers to all requests.
    fn catch_up(&mut self) {
        self.request(r#"{"type":"ping"}"#, &["pong"]);
        while !self.expected.is_empty() {
            let text = self.raw.receive_text();
            self.check(&text);
        }
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Lets 30 users act at random, and checks at the end that they and the server agree.
fn run_random_users(shards: &str, seed: u64, steps: u64) {
    run_alone();
    println!("seed {seed}, {shards} shards");
    let server = Server::start(&["--shards", shards, "--rematch-delay", "5ms"]);
    let mut rng = Rng(seed | 1);
    let mut users: Vec<User> = (0..30).map(|_| User::connect(&server)).collect();
    for _ in 0..steps {
        let at = rng.next(users.len() as u64) as usize;
        let user = users.swap_remove(at);
        users.push(user.act(&mut rng).unwrap_or_else(|| User::connect(&server)));
        let at = rng.next(users.len() as u64) as usize;
        users[at].check_received();
    }
    // When all have received everything, they agree with each other and with the server.
    users.iter_mut().for_each(User::catch_up);
    wait_until("no more matches are possible", || {
        let stats = server.stats();
        let waiting = stat_number(&stats, "/matchmaking/waiting");
        let in_flight = stat_number(&stats, "/migrations/in_flight");
        let rooms = stat_number(&stats, "/rooms/active");
        users.iter_mut().for_each(User::catch_up);
        let in_rooms = users.iter().filter(|user| user.room.is_some()).count() as i64;
        let users_waiting = users.iter().filter(|user| user.is_waiting).count() as i64;
        // In each of the three queues one user may be left.
        if waiting <= 3 && in_flight == 0 && (in_rooms, users_waiting) == (2 * rooms, waiting) {
            Ok(())
        } else {
            Err(format!("{waiting} ({users_waiting}) wait, {in_rooms} are in {rooms} rooms"))
        }
    });
    for user in &users {
        let Some(room) = &user.room else { continue };
        let partner = users.iter().find(|other| other.raw.id() == room.peer).unwrap();
        let theirs = partner.room.as_ref().unwrap();
        assert_eq!((&theirs.id, &*theirs.peer), (&room.id, user.raw.id()));
        assert_eq!((theirs.sent, theirs.received), (room.received, room.sent), "nothing is lost");
    }
    drop(users);
    server.wait_until_idle();
    let stats = server.stats();
    assert_eq!(stat_number(&stats, "/connections/closed/internal"), 0);
    assert_eq!(stat_number(&stats, "/connections/closed/protocol_error"), 0);
}

#[test]
fn random_users_on_one_shard_receive_only_valid_messages() {
    run_random_users(
        "1",
        from_environment("SWITCHBOARD_SEED", 1),
        from_environment("SWITCHBOARD_STEPS", 4000),
    );
}

#[test]
fn random_users_on_two_shards_receive_only_valid_messages() {
    run_random_users(
        "2",
        from_environment("SWITCHBOARD_SEED", 2),
        from_environment("SWITCHBOARD_STEPS", 4000),
    );
}

#[test]
fn random_users_on_four_shards_receive_only_valid_messages() {
    run_random_users(
        "4",
        from_environment("SWITCHBOARD_SEED", 3),
        from_environment("SWITCHBOARD_STEPS", 4000),
    );
}
