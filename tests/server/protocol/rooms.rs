//! PROTOCOL.md, how users meet and part: queues, rooms, and guarantees 1 to 4, 8 and 9.

use crate::support::{
    Client, Heard, Match, Raw, Server, Talk, close_frame, pair_up, still_talk, text_frame,
};
use serde_json::json;
use std::time::{Duration, Instant};

const CANCEL: &str = r#"{"type":"cancel_match"}"#;
const LEAVE: &str = r#"{"type":"leave_room"}"#;
const FIND: &str = r#"{"type":"find_match"}"#;

#[test]
fn both_members_get_the_same_room_and_each_other() {
    let server = Server::start(&["--shards", "2"]);
    for _ in 0..8 {
        // What pair_up checks is this law.
        let (mut one, mut other, room) = server.pair();
        still_talk(&mut one, &mut other, &room);
    }
}

#[test]
fn a_room_identifier_is_never_used_twice() {
    let server = Server::start(&["--rematch-delay", "0s"]);
    let (mut one, mut other, room) = server.pair();
    let mut seen = vec![room.room_id];
    for _ in 0..50 {
        one.find("en");
        one.expect("waiting");
        other.expect("peer_left");
        other.wait_in("en");
        let room = one.expect_match();
        assert_eq!(other.expect_match().room_id, room.room_id);
        assert!(!seen.contains(&room.room_id), "{seen:?}");
        seen.push(room.room_id);
    }
}

#[test]
fn leave_room_is_answered_and_the_other_is_told_once() {
    let server = Server::start(&[]);
    let (mut one, mut other, room) = server.pair();
    one.say(LEAVE);
    assert_eq!(one.expect("room_left"), json!({"room_id": room.room_id}));
    other.expect_peer_left(&room, "left");
    for user in [&mut one, &mut other] {
        user.expect_nothing();
        user.say(LEAVE);
        user.expect_error("not_in_room");
        user.say(&format!(r#"{{"type":"offer","room_id":"{}"}}"#, room.room_id));
        user.expect_error("not_in_room");
    }
    server.until_figure("/rooms/active", 0);
}

#[test]
fn both_can_find_another_partner_on_the_same_connection() {
    let server = Server::start(&[]);
    let (mut one, mut other, _) = server.pair();
    one.say(LEAVE);
    one.expect("room_left");
    other.expect("peer_left");
    for user in [one, other] {
        let (mut user, mut stranger, room) = pair_up(user, server.client());
        still_talk(&mut user, &mut stranger, &room);
    }
}

#[test]
fn next_gives_peer_left_next_and_no_room_left() {
    let server = Server::start(&[]);
    let (mut one, mut other, room) = server.pair();
    one.wait_in("another");
    other.expect_peer_left(&room, "next");
    one.expect_nothing();
    other.expect_nothing();
    // The candidate that belongs to the former partner reaches nobody.
    let mut third = server.client();
    third.wait_in("another");
    let new = one.expect_match();
    third.expect_match();
    one.relay("ice_candidate", &room, "{}");
    one.expect_error("not_in_room");
    still_talk(&mut one, &mut third, &new);
    other.expect_nothing();
}

#[test]
fn cancel_match_takes_the_user_out_of_the_queue() {
    let server = Server::start(&["--stats-queue", "en"]);
    let mut one = server.client();
    one.wait_in("en");
    server.until_figure("/matchmaking/waiting_by_queue/en", 1);
    one.say(CANCEL);
    one.expect("match_cancelled");
    let mut other = server.client();
    other.wait_in("en");
    other.expect_nothing();
    one.expect_nothing();
    server.until_figure("/matchmaking/waiting_by_queue/en", 1);
    // And it can join again.
    one.wait_in("en");
    assert_eq!(one.expect_match().room_id, other.expect_match().room_id);
    server.until_figure("/matchmaking/waiting", 0);
}

#[test]
fn find_cancel_and_find_in_one_piece_end_each_in_its_own_way() {
    let server = Server::start(&["--shards", "2"]);
    let (one, other) = (server.session(), server.session());
    let mut users = [one, other];
    for user in &mut users {
        let mut bytes = Vec::new();
        for _ in 0..20 {
            bytes.extend(text_frame(FIND.as_bytes()));
            bytes.extend(text_frame(CANCEL.as_bytes()));
        }
        bytes.extend(text_frame(FIND.as_bytes()));
        user.send(&bytes);
    }
    // Nothing of it needs a partner, so each is answered before a match can be made.
    for user in &mut users {
        for _ in 0..20 {
            user.expect("waiting");
            user.expect("match_cancelled");
        }
        user.expect("waiting");
    }
    let [one, other] = users.map(|mut user| user.expect_match());
    assert_eq!(one.room_id, other.room_id);
}

#[test]
fn waiting_again_keeps_the_place() {
    let server = Server::start(&[]);
    let mut first = server.client();
    first.wait_in("en");
    let mut third = server.client();
    // Two of one queue would meet: the second is in the way only if the first had lost its place.
    first.wait_in("en");
    third.wait_in("en");
    assert_eq!(first.expect_match().peer_id, third.id());
    third.expect_match();
}

#[test]
fn first_come_first_matched_across_moves_between_queues() {
    let server = Server::start(&["--rematch-delay", "60s"]);
    // The two who have just recent_partner wait side by side, and others come first.
    let (mut old, mut young, _) = server.pair();
    old.say(LEAVE);
    old.expect("room_left");
    young.expect("peer_left");
    old.wait_in("en");
    young.wait_in("en");
    // Asking again does not cost the old one its place.
    old.wait_in("en");
    let mut stranger = server.client();
    stranger.wait_in("en");
    assert_eq!(old.expect_match().peer_id, stranger.id());
    stranger.expect_match();
    young.expect_nothing();
}

#[test]
fn who_moves_to_another_queue_gives_up_the_old_place() {
    let server = Server::start(&["--rematch-delay", "60s", "--stats-queue", "en,fr"]);
    let (mut old, mut young, _) = server.pair();
    old.say(LEAVE);
    old.expect("room_left");
    young.expect("peer_left");
    old.wait_in("en");
    young.wait_in("en");
    // The old one goes away and comes back: now the young one is before it.
    old.wait_in("fr");
    server.until_figure("/matchmaking/waiting_by_queue/fr", 1);
    server.until_figure("/matchmaking/waiting_by_queue/en", 1);
    old.wait_in("en");
    let mut stranger = server.client();
    stranger.wait_in("en");
    assert_eq!(young.expect_match().peer_id, stranger.id());
    stranger.expect_match();
    old.expect_nothing();
}

#[test]
fn queues_do_not_mix() {
    let server = Server::start(&[]);
    let names = ["en", "EN", "e", "en.", "default"];
    let mut waiting: Vec<Client> = names.iter().map(|_| server.client()).collect();
    for (user, name) in waiting.iter_mut().zip(names) {
        user.wait_in(name);
    }
    for user in &mut waiting {
        user.expect_nothing();
    }
    server.until_figure("/matchmaking/queues", 5);
    for (user, name) in waiting.iter_mut().zip(names) {
        let mut partner = server.client();
        partner.wait_in(name);
        assert_eq!(partner.expect_match().peer_id, user.id());
        user.expect_match();
    }
}

#[test]
fn nobody_is_matched_with_themselves() {
    let server = Server::start(&["--rematch-delay", "0s"]);
    let mut one = server.session();
    let mut bytes = Vec::new();
    for queue in ["en", "en", "fr", "en", "en"] {
        let text = format!(r#"{{"type":"find_match","payload":{{"queue":"{queue}"}}}}"#);
        bytes.extend(text_frame(text.as_bytes()));
    }
    one.send(&bytes);
    for queue in ["en", "en", "fr", "en", "en"] {
        assert_eq!(one.expect("waiting")["queue"], queue);
    }
    one.expect_nothing();
    server.until_figure("/matchmaking/tickets", 1);
    assert_eq!(server.figure("/matchmaking/matches"), 0);
}

#[test]
fn nobody_is_matched_with_a_session_that_had_ended() {
    let server = Server::start(&["--shards", "2"]);
    for nth in 0..12 {
        let mut gone = server.session();
        gone.wait_in("en");
        match nth % 3 {
            0 => gone.reset(),
            1 => drop(gone),
            _ => {
                gone.send(&close_frame(1001));
                gone.expect_close(1000);
            }
        }
        server.until_figure("/matchmaking/tickets", 0);
    }
    let mut one = server.client();
    one.wait_in("en");
    one.expect_nothing();
    let mut other = server.client();
    other.wait_in("en");
    assert_eq!(one.expect_match().peer_id, other.id());
    other.expect_match();
}

#[test]
fn two_who_just_parted_meet_others_first() {
    let server = Server::start(&["--rematch-delay", "60s", "--shards", "2"]);
    let (mut one, mut other, _) = server.pair();
    one.wait_in("en");
    other.expect("peer_left");
    other.wait_in("en");
    one.expect_nothing();
    other.expect_nothing();
    for user in [&mut one, &mut other] {
        let mut stranger = server.client();
        stranger.wait_in("en");
        assert_eq!(stranger.expect_match().peer_id, user.id());
        user.expect_match();
    }
}

#[test]
fn two_who_just_parted_meet_again_when_the_delay_is_over() {
    let delay = Duration::from_millis(400);
    let server = Server::start(&["--rematch-delay", "400ms", "--shards", "2"]);
    let (mut one, mut other, _) = server.pair();
    let recent_partner = Instant::now();
    one.wait_in("en");
    other.expect("peer_left");
    other.wait_in("en");
    let room = one.expect_match();
    assert_eq!(room.peer_id, other.id());
    other.expect_match();
    assert!(recent_partner.elapsed() >= delay, "{:?}", recent_partner.elapsed());
    still_talk(&mut one, &mut other, &room);
}

#[test]
fn a_rematch_delay_of_zero_pairs_them_at_once() {
    let server = Server::start(&["--rematch-delay", "0s"]);
    let (mut one, mut other, _) = server.pair();
    for _ in 0..3 {
        one.wait_in("en");
        other.expect("peer_left");
        other.wait_in("en");
        assert_eq!(one.expect_match().room_id, other.expect_match().room_id);
    }
}

/// Ends one member's connection in some way.
type Ending = fn(Raw);

#[test]
fn however_a_member_ends_the_partner_is_told_at_once() {
    let server =
        Server::start(&["--shards", "2", "--ping-interval", "1h", "--silence-limit", "2h"]);
    let endings: [(&str, Ending); 7] = [
        ("a Close frame", |mut user| user.send(&close_frame(1000))),
        ("a Close frame without a code", |mut user| user.send(&crate::support::frame(0x88, b""))),
        ("the end of the stream", drop),
        ("a reset", Raw::reset),
        ("a half-close", |user| {
            user.half_close();
            // It stays open in the other direction; the server ends it.
            let mut user = user;
            assert_eq!(user.hear(), Heard::End);
        }),
        ("a frame that breaks RFC 6455", |mut user| {
            user.send(b"\xff\xff");
            user.expect_close(1002);
        }),
        ("an end in the middle of a frame", |mut user| {
            let frame = text_frame(br#"{"type":"signal","payload":{}}"#);
            user.send(&frame[..frame.len() - 1]);
        }),
    ];
    for (name, end) in endings {
        let (one, mut other, room) = server.raw_pair();
        end(one);
        let payload = other.expect("peer_left");
        assert_eq!(payload, json!({"room_id": room.room_id, "reason": "disconnected"}), "{name}");
        other.expect_nothing();
        other.relay("signal", &room, "1");
        other.expect_error("not_in_room");
        let (mut other, mut third, room) = pair_up(other, server.session());
        still_talk(&mut other, &mut third, &room);
    }
}

#[test]
fn what_was_sent_before_leaving_arrives_before_peer_left() {
    let server = Server::start(&["--shards", "2"]);
    let endings: [(&str, Vec<u8>); 3] = [
        ("left", text_frame(LEAVE.as_bytes())),
        ("next", text_frame(FIND.as_bytes())),
        ("disconnected", close_frame(1000)),
    ];
    for (reason, ending) in endings {
        let (mut one, mut other, room) = server.raw_pair();
        let mut bytes = Vec::new();
        let sent: Vec<String> =
            (0..40).map(|nth| format!(r#"{{"type":"signal","payload":{nth}}}"#)).collect();
        for text in &sent {
            bytes.extend(text_frame(text.as_bytes()));
        }
        bytes.extend(&ending);
        // What follows belongs to nobody.
        if reason != "disconnected" {
            bytes.extend(text_frame(br#"{"type":"signal","payload":"too late"}"#));
        }
        one.send(&bytes);
        for text in &sent {
            assert_eq!(&other.text(), text);
        }
        other.expect_peer_left(&room, reason);
        other.expect_nothing();
    }
}

#[test]
fn what_is_sent_before_match_found_is_refused_and_never_kept() {
    let server = Server::start(&["--shards", "2"]);
    let mut other = server.session();
    other.wait_in("en");
    let mut one = server.session();
    let mut bytes = text_frame(br#"{"type":"find_match","payload":{"queue":"en"}}"#);
    for _ in 0..10 {
        bytes.extend(text_frame(br#"{"type":"offer","payload":"for whom?"}"#));
    }
    one.send(&bytes);
    one.expect("waiting");
    for _ in 0..10 {
        one.expect_error("not_in_room");
    }
    let room = one.expect_match();
    other.expect_match();
    other.expect_nothing();
    still_talk(&mut one, &mut other, &room);
}

#[test]
fn a_message_begun_before_match_found_is_refused() {
    let server = Server::start(&["--shards", "2"]);
    let (mut one, mut other) = (server.session(), server.session());
    one.wait_in("en");
    let begun = text_frame(br#"{"type":"offer","payload":"begun while waiting"}"#);
    one.send(&begun[..20]);
    // The answer to a ping would come after those bytes; one frame cannot be within another,
    // so the partner's match is what shows that they were read: it is on the same shard then.
    crate::support::until("the first bytes are held", || match server.figure("/bytes/held") {
        0 => Err("nothing is held".into()),
        _ => Ok(()),
    });
    other.wait_in("en");
    let room = one.expect_match();
    other.expect_match();
    one.send(&begun[20..]);
    one.expect_error("not_in_room");
    other.expect_nothing();
    still_talk(&mut one, &mut other, &room);
}

#[test]
fn who_could_not_be_sent_its_match_found_can_relay_nothing_yet() {
    let server = Server::start(&["--socket-send-buffer", "8192", "--shards", "2"]);
    // Answers that it does not read stand between it and what comes next.
    let mut deaf = Raw::narrow_session(server.address());
    let mut pings = 0;
    while server.figure("/bytes/unsent") < 50_000 {
        for _ in 0..100 {
            deaf.say(&format!(r#"{{"type":"ping","payload":"{}"}}"#, "p".repeat(100)));
        }
        pings += 100;
    }
    deaf.find("en");
    let mut other = server.session();
    other.wait_in("en");
    let room = other.expect_match();
    assert!(server.figure("/bytes/unsent") > 0, "its match_found is among them");
    deaf.say(r#"{"type":"offer","payload":"whom for?"}"#);
    deaf.say(r#"{"type":"leave_room"}"#);
    server.until_figure("/messages/errors/not_in_room", 2);
    for _ in 0..pings {
        deaf.expect("pong");
    }
    deaf.expect("waiting");
    assert_eq!(deaf.expect_match().room_id, room.room_id);
    deaf.expect_error("not_in_room");
    deaf.expect_error("not_in_room");
    other.expect_nothing();
    still_talk(&mut deaf, &mut other, &room);
}

#[test]
fn a_cancel_and_a_match_that_cross_end_in_exactly_one_of_them() {
    let server = Server::start(&["--shards", "2"]);
    for _ in 0..30 {
        let (mut one, mut other) = (server.session(), server.session());
        one.wait_in("en");
        other.find("en");
        one.say(CANCEL);
        other.expect("waiting");
        let text = one.text();
        if text.contains("match_found") {
            let room = other.expect_match();
            one.expect_error("not_waiting");
            still_talk(&mut one, &mut other, &room);
        } else {
            assert_eq!(text, r#"{"type":"match_cancelled"}"#);
            one.expect_nothing();
            other.expect_nothing();
            other.say(CANCEL);
            other.expect("match_cancelled");
        }
    }
    server.until_figure("/matchmaking/tickets", 0);
}

#[test]
fn when_both_leave_at_the_same_time_each_gets_one_end_only() {
    let server = Server::start(&["--shards", "2"]);
    let leave = |user: &mut Raw, room: &Match| {
        // Either its own answer, or the other's leave first and then a refusal.
        let text = user.text();
        if text.contains("peer_left") {
            user.expect_error("not_in_room");
        } else {
            assert!(text.contains("room_left") && text.contains(&room.room_id), "{text}");
        }
        user.expect_nothing();
    };
    for _ in 0..30 {
        let (mut one, mut other, room) = server.raw_pair();
        let bytes = text_frame(LEAVE.as_bytes());
        one.send(&bytes);
        other.send(&bytes);
        leave(&mut one, &room);
        leave(&mut other, &room);
    }
    server.comes_to_rest();
}
