//! PROTOCOL.md, held by a crowd that does everything at random and against a real server: each
//! user checks all that it is sent against what it may be sent then.
//!
//! `SWITCHBOARD_SEED` replays one run, as far as threads and kernel allow, and
//! `SWITCHBOARD_STEPS` makes it longer.

use crate::support::{
    ProtocolClient, RawClient, Received, Server, client_frame, run_alone, stat_number, text_frame,
    wait_until,
};
use serde_json::Value;
use std::collections::VecDeque;

/// A sequence of numbers (xorshift64).
struct Rng(u64);

impl Rng {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// A room as one of its members knows it.
struct Room {
    id: String,
    peer: String,
    /// Numbers of the next message to and from the partner.
    sent: u64,
    heard: u64,
}

/// What is to come for something that a user has sent.
#[derive(Debug)]
enum Due {
    /// One of these: the message could cross something.
    Answer(&'static [&'static str]),
    /// At most so many refusals of relayed messages, before the next answer. That one is a pong,
    /// so that it is clear whose refusals they are.
    Refusals(u64),
}

/// A user, and what it has asked for and been told.
struct User {
    raw: RawClient,
    due: VecDeque<Due>,
    room: Option<Room>,
    former: Vec<String>,
    /// Whether a match_request was answered by `waiting` and has not come to an end.
    waits: bool,
}

impl User {
    fn enter(server: &Server) -> User {
        let raw = server.raw_session();
        User { raw, due: Default::default(), room: None, former: Vec::new(), waits: false }
    }

    fn ask(&mut self, text: &str, answers: &'static [&'static str]) {
        self.raw.send_text(text);
        self.due.push_back(Due::Answer(answers));
    }

    /// Does one thing. False if that was the end of it.
    fn act(mut self, rng: &mut Rng) -> Option<User> {
        match rng.next(100) {
            0..25 => {
                let queue = ["a", "b", "c"][rng.next(3) as usize];
                let text = format!(r#"{{"type":"find_match","payload":{{"queue":"{queue}"}}}}"#);
                self.ask(&text, &["waiting"]);
            }
            25..33 => {
                self.ask(r#"{"type":"cancel_match"}"#, &["match_cancelled", "not_waiting"]);
            }
            33..40 => self.ask(r#"{"type":"leave_room"}"#, &["room_left", "not_in_room"]),
            40..70 => self.relay(rng),
            70..78 => self.ask(r#"{"type":"ping"}"#, &["pong"]),
            78..82 => self.ask("{", &["bad_json"]),
            82..86 => self.ask(r#"{"type":"offer","TYPE":"x"}"#, &["bad_message"]),
            86..92 => {
                // In two pieces, with something in between.
                let text = br#"{"type":"ping"}"#;
                let cut = rng.next(text.len() as u64) as usize;
                self.raw.send(&client_frame(0x01, &text[..cut]));
                self.raw.send(&client_frame(0x89, b"between"));
                self.raw.send(&client_frame(0x80, &text[cut..]));
                self.due.push_back(Due::Answer(&["pong"]));
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

    /// Sends a few messages to the partner, of the present room or of the one before.
    fn relay(&mut self, rng: &mut Rng) {
        let Some(room) = &mut self.room else {
            let id = self.former.last().map_or("none", String::as_str);
            let text = format!(r#"{{"type":"offer","room_id":"{id}","payload":"for nobody"}}"#);
            return self.ask(&text, &["not_in_room"]);
        };
        let count = 1 + rng.next(4);
        for _ in 0..count {
            let (id, filling) = (&room.id, "f".repeat(rng.next(300) as usize));
            let (from, nth) = (self.raw.id(), room.sent);
            room.sent += 1;
            let text = format!(
                r#"{{"type":"signal","room_id":"{id}","payload":["{id}","{from}",{nth},"{filling}"]}}"#
            );
            // Refused if the partner has left meanwhile; there is no answer otherwise.
            self.raw.send_text(&text);
        }
        self.due.push_back(Due::Refusals(count));
        self.ask(r#"{"type":"ping"}"#, &["pong"]);
    }

    /// Checks all that has come.
    fn listen(&mut self) {
        while let Some(heard) = self.raw.try_receive() {
            let Received::Text(text) = heard else { panic!("{heard:?}") };
            self.check(&text);
        }
    }

    fn check(&mut self, text: &str) {
        let message: Value = serde_json::from_str(text).unwrap();
        let payload = &message["payload"];
        let string = |value: &Value| value.as_str().unwrap().to_owned();
        match message["type"].as_str().unwrap() {
            "match_found" => {
                assert!(self.waits, "nobody waits: {text}");
                assert!(self.room.is_none(), "in a room already: {text}");
                self.waits = false;
                let (id, peer) = (string(&payload["room_id"]), string(&payload["peer_id"]));
                assert!(!self.former.contains(&id), "a room twice: {text}");
                assert_ne!(peer, self.raw.id(), "matched with itself");
                self.room = Some(Room { id, peer, sent: 0, heard: 0 });
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
                assert_eq!(payload[2], room.heard, "in order, each once: {text}");
                room.heard += 1;
            }
            name => {
                let answer =
                    if name == "error" { string(&payload["code"]) } else { name.to_owned() };
                self.check_answer(&answer, payload, text);
            }
        }
    }

    fn check_answer(&mut self, answer: &str, payload: &Value, text: &str) {
        let due = match (self.due.pop_front(), answer) {
            (Some(Due::Refusals(left @ 1..)), "not_in_room") => {
                assert!(!self.former.is_empty(), "{text}");
                return self.due.push_front(Due::Refusals(left - 1));
            }
            (Some(Due::Refusals(_)), _) => self.due.pop_front(),
            (due, _) => due,
        };
        let Some(Due::Answer(due)) = due else { panic!("not asked for: {text}") };
        assert!(due.contains(&answer), "{due:?} is due: {text}");
        match answer {
            "waiting" => {
                // In a room, it was "next": the room is left without another word.
                if let Some(room) = self.room.take() {
                    self.former.push(room.id);
                }
                self.waits = true;
            }
            "match_cancelled" => {
                assert!(self.waits);
                self.waits = false;
            }
            "not_waiting" => assert!(!self.waits),
            "room_left" => {
                let room = self.room.take().unwrap_or_else(|| panic!("in no room: {text}"));
                assert_eq!(payload["room_id"], room.id);
                self.former.push(room.id);
            }
            _ => {}
        }
    }

    /// Waits for the answer to everything it has asked for.
    fn catch_up(&mut self) {
        self.ask(r#"{"type":"ping"}"#, &["pong"]);
        while !self.due.is_empty() {
            let text = self.raw.receive_text();
            self.check(&text);
        }
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

fn a_crowd(shards: &str, seed: u64, steps: u64) {
    run_alone();
    println!("seed {seed}, {shards} shards");
    let server = Server::start(&["--shards", shards, "--rematch-delay", "5ms"]);
    let mut rng = Rng(seed | 1);
    let mut crowd: Vec<User> = (0..30).map(|_| User::enter(&server)).collect();
    for _ in 0..steps {
        let at = rng.next(crowd.len() as u64) as usize;
        let user = crowd.swap_remove(at);
        crowd.push(user.act(&mut rng).unwrap_or_else(|| User::enter(&server)));
        let at = rng.next(crowd.len() as u64) as usize;
        crowd[at].listen();
    }
    // All come to know everything, and then agree.
    crowd.iter_mut().for_each(User::catch_up);
    wait_until("whoever can be matched is", || {
        let stats = server.stats();
        let waiting = stat_number(&stats, "/matchmaking/waiting");
        let under_way = stat_number(&stats, "/migrations/in_flight");
        let rooms = stat_number(&stats, "/rooms/active");
        crowd.iter_mut().for_each(User::catch_up);
        let seated = crowd.iter().filter(|user| user.room.is_some()).count() as i64;
        let waits = crowd.iter().filter(|user| user.waits).count() as i64;
        // Of each of three queues one may be left.
        if waiting <= 3 && under_way == 0 && (seated, waits) == (2 * rooms, waiting) {
            Ok(())
        } else {
            Err(format!("{waiting} ({waits}) wait, {seated} are in {rooms} rooms"))
        }
    });
    for user in &crowd {
        let Some(room) = &user.room else { continue };
        let partner = crowd.iter().find(|other| other.raw.id() == room.peer).unwrap();
        let theirs = partner.room.as_ref().unwrap();
        assert_eq!((&theirs.id, &*theirs.peer), (&room.id, user.raw.id()));
        assert_eq!((theirs.sent, theirs.heard), (room.heard, room.sent), "nothing is lost");
    }
    drop(crowd);
    server.wait_until_idle();
    let stats = server.stats();
    assert_eq!(stat_number(&stats, "/connections/closed/internal"), 0);
    assert_eq!(stat_number(&stats, "/connections/closed/protocol_error"), 0);
}

#[test]
fn a_random_crowd_on_one_shard_is_never_told_what_cannot_be() {
    a_crowd(
        "1",
        from_environment("SWITCHBOARD_SEED", 1),
        from_environment("SWITCHBOARD_STEPS", 4000),
    );
}

#[test]
fn a_random_crowd_on_two_shards_is_never_told_what_cannot_be() {
    a_crowd(
        "2",
        from_environment("SWITCHBOARD_SEED", 2),
        from_environment("SWITCHBOARD_STEPS", 4000),
    );
}

#[test]
fn a_random_crowd_on_four_shards_is_never_told_what_cannot_be() {
    a_crowd(
        "4",
        from_environment("SWITCHBOARD_SEED", 3),
        from_environment("SWITCHBOARD_STEPS", 4000),
    );
}
