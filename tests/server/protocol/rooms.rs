//! PROTOCOL.md, how users meet and part: queues, rooms, and guarantees 1 to 4, 8 and 9.

use crate::support::{
    Client, MatchFound, ProtocolClient, RawClient, Received, Server, client_frame, close_frame,
    expect_room_relays, match_pair, text_frame, wait_until,
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
        // What match_pair checks is this law.
        let (mut one, mut other, room) = server.matched_pair();
        expect_room_relays(&mut one, &mut other, &room);
    }
}

#[test]
fn a_room_identifier_is_never_used_twice() {
    let server = Server::start(&["--rematch-delay", "0s"]);
    let (mut one, mut other, room) = server.matched_pair();
    let mut seen = vec![room.room_id];
    for _ in 0..50 {
        one.find_match("en");
        one.expect_message("waiting");
        other.expect_message("peer_left");
        other.join_queue("en");
        let room = one.expect_match();
        assert_eq!(other.expect_match().room_id, room.room_id);
        assert!(!seen.contains(&room.room_id), "{seen:?}");
        seen.push(room.room_id);
    }
}

#[test]
fn leave_room_is_answered_and_the_other_is_told_once() {
    let server = Server::start(&[]);
    let (mut one, mut other, room) = server.matched_pair();
    one.send_text(LEAVE);
    assert_eq!(one.expect_message("room_left"), json!({"room_id": room.room_id}));
    other.expect_peer_left(&room, "left");
    for user in [&mut one, &mut other] {
        user.expect_no_message();
        user.send_text(LEAVE);
        user.expect_error("not_in_room");
        user.send_text(&format!(r#"{{"type":"offer","room_id":"{}"}}"#, room.room_id));
        user.expect_error("not_in_room");
    }
    server.wait_for_stat("/rooms/active", 0);
}

#[test]
fn both_can_find_another_partner_on_the_same_connection() {
    let server = Server::start(&[]);
    let (mut one, mut other, _) = server.matched_pair();
    one.send_text(LEAVE);
    one.expect_message("room_left");
    other.expect_message("peer_left");
    for user in [one, other] {
        let (mut user, mut stranger, room) = match_pair(user, server.client());
        expect_room_relays(&mut user, &mut stranger, &room);
    }
}

#[test]
fn next_gives_peer_left_next_and_no_room_left() {
    let server = Server::start(&[]);
    let (mut one, mut other, room) = server.matched_pair();
    one.join_queue("another");
    other.expect_peer_left(&room, "next");
    one.expect_no_message();
    other.expect_no_message();
    // The candidate that belongs to the former partner reaches nobody.
    let mut third = server.client();
    third.join_queue("another");
    let new = one.expect_match();
    third.expect_match();
    one.relay("ice_candidate", &room, "{}");
    one.expect_error("not_in_room");
    expect_room_relays(&mut one, &mut third, &new);
    other.expect_no_message();
}

#[test]
fn cancel_match_takes_the_user_out_of_the_queue() {
    let server = Server::start(&["--stats-queue", "en"]);
    let mut one = server.client();
    one.join_queue("en");
    server.wait_for_stat("/matchmaking/waiting_by_queue/en", 1);
    one.send_text(CANCEL);
    one.expect_message("match_cancelled");
    let mut other = server.client();
    other.join_queue("en");
    other.expect_no_message();
    one.expect_no_message();
    server.wait_for_stat("/matchmaking/waiting_by_queue/en", 1);
    // And it can join again.
    one.join_queue("en");
    assert_eq!(one.expect_match().room_id, other.expect_match().room_id);
    server.wait_for_stat("/matchmaking/waiting", 0);
}

#[test]
fn find_cancel_and_find_in_one_piece_end_each_in_its_own_way() {
    let server = Server::start(&["--shards", "2"]);
    let (one, other) = (server.raw_session(), server.raw_session());
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
            user.expect_message("waiting");
            user.expect_message("match_cancelled");
        }
        user.expect_message("waiting");
    }
    let [one, other] = users.map(|mut user| user.expect_match());
    assert_eq!(one.room_id, other.room_id);
}

#[test]
fn waiting_again_keeps_the_place() {
    let server = Server::start(&[]);
    let mut first = server.client();
    first.join_queue("en");
    let mut third = server.client();
    // Two of one queue would meet: the second is in the way only if the first had lost its place.
    first.join_queue("en");
    third.join_queue("en");
    assert_eq!(first.expect_match().peer_id, third.id());
    third.expect_match();
}

#[test]
fn first_come_first_matched_across_moves_between_queues() {
    let server = Server::start(&["--rematch-delay", "60s"]);
    // The two who have just recent_partner wait side by side, and others come first.
    let (mut old, mut young, _) = server.matched_pair();
    old.send_text(LEAVE);
    old.expect_message("room_left");
    young.expect_message("peer_left");
    old.join_queue("en");
    young.join_queue("en");
    // Asking again does not cost the old one its place.
    old.join_queue("en");
    let mut stranger = server.client();
    stranger.join_queue("en");
    assert_eq!(old.expect_match().peer_id, stranger.id());
    stranger.expect_match();
    young.expect_no_message();
}

#[test]
fn who_moves_to_another_queue_gives_up_the_old_place() {
    let server = Server::start(&["--rematch-delay", "60s", "--stats-queue", "en,fr"]);
    let (mut old, mut young, _) = server.matched_pair();
    old.send_text(LEAVE);
    old.expect_message("room_left");
    young.expect_message("peer_left");
    old.join_queue("en");
    young.join_queue("en");
    // The old one goes away and comes back: now the young one is before it.
    old.join_queue("fr");
    server.wait_for_stat("/matchmaking/waiting_by_queue/fr", 1);
    server.wait_for_stat("/matchmaking/waiting_by_queue/en", 1);
    old.join_queue("en");
    let mut stranger = server.client();
    stranger.join_queue("en");
    assert_eq!(young.expect_match().peer_id, stranger.id());
    stranger.expect_match();
    old.expect_no_message();
}

#[test]
fn queues_do_not_mix() {
    let server = Server::start(&[]);
    let names = ["en", "EN", "e", "en.", "default"];
    let mut waiting: Vec<Client> = names.iter().map(|_| server.client()).collect();
    for (user, name) in waiting.iter_mut().zip(names) {
        user.join_queue(name);
    }
    for user in &mut waiting {
        user.expect_no_message();
    }
    server.wait_for_stat("/matchmaking/queues", 5);
    for (user, name) in waiting.iter_mut().zip(names) {
        let mut partner = server.client();
        partner.join_queue(name);
        assert_eq!(partner.expect_match().peer_id, user.id());
        user.expect_match();
    }
}

#[test]
fn nobody_is_matched_with_themselves() {
    let server = Server::start(&["--rematch-delay", "0s"]);
    let mut one = server.raw_session();
    let mut bytes = Vec::new();
    for queue in ["en", "en", "fr", "en", "en"] {
        let text = format!(r#"{{"type":"find_match","payload":{{"queue":"{queue}"}}}}"#);
        bytes.extend(text_frame(text.as_bytes()));
    }
    one.send(&bytes);
    for queue in ["en", "en", "fr", "en", "en"] {
        assert_eq!(one.expect_message("waiting")["queue"], queue);
    }
    one.expect_no_message();
    server.wait_for_stat("/matchmaking/tickets", 1);
    assert_eq!(server.stat("/matchmaking/matches"), 0);
}

#[test]
fn nobody_is_matched_with_a_session_that_had_ended() {
    let server = Server::start(&["--shards", "2"]);
    for nth in 0..12 {
        let mut gone = server.raw_session();
        gone.join_queue("en");
        match nth % 3 {
            0 => gone.reset(),
            1 => drop(gone),
            _ => {
                gone.send(&close_frame(1001));
                gone.expect_close(1000);
            }
        }
        server.wait_for_stat("/matchmaking/tickets", 0);
    }
    let mut one = server.client();
    one.join_queue("en");
    one.expect_no_message();
    let mut other = server.client();
    other.join_queue("en");
    assert_eq!(one.expect_match().peer_id, other.id());
    other.expect_match();
}

#[test]
fn two_who_just_parted_meet_others_first() {
    let server = Server::start(&["--rematch-delay", "60s", "--shards", "2"]);
    let (mut one, mut other, _) = server.matched_pair();
    one.join_queue("en");
    other.expect_message("peer_left");
    other.join_queue("en");
    one.expect_no_message();
    other.expect_no_message();
    for user in [&mut one, &mut other] {
        let mut stranger = server.client();
        stranger.join_queue("en");
        assert_eq!(stranger.expect_match().peer_id, user.id());
        user.expect_match();
    }
}

#[test]
fn two_who_just_parted_meet_again_when_the_delay_is_over() {
    let delay = Duration::from_millis(400);
    let server = Server::start(&["--rematch-delay", "400ms", "--shards", "2"]);
    let (mut one, mut other, _) = server.matched_pair();
    let recent_partner = Instant::now();
    one.join_queue("en");
    other.expect_message("peer_left");
    other.join_queue("en");
    let room = one.expect_match();
    assert_eq!(room.peer_id, other.id());
    other.expect_match();
    assert!(recent_partner.elapsed() >= delay, "{:?}", recent_partner.elapsed());
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn a_rematch_delay_of_zero_pairs_them_at_once() {
    let server = Server::start(&["--rematch-delay", "0s"]);
    let (mut one, mut other, _) = server.matched_pair();
    for _ in 0..3 {
        one.join_queue("en");
        other.expect_message("peer_left");
        other.join_queue("en");
        assert_eq!(one.expect_match().room_id, other.expect_match().room_id);
    }
}

/// Ends one member's connection in some way.
type Ending = fn(RawClient);

#[test]
fn however_a_member_ends_the_partner_is_told_at_once() {
    let server =
        Server::start(&["--shards", "2", "--ping-interval", "1h", "--silence-limit", "2h"]);
    let endings: [(&str, Ending); 7] = [
        ("a Close frame", |mut user| user.send(&close_frame(1000))),
        ("a Close frame without a code", |mut user| user.send(&client_frame(0x88, b""))),
        ("the end of the stream", drop),
        ("a reset", RawClient::reset),
        ("a half-close", |user| {
            user.half_close();
            // It stays open in the other direction; the server ends it.
            let mut user = user;
            assert_eq!(user.receive(), Received::End);
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
        let (one, mut other, room) = server.matched_raw_pair();
        end(one);
        let payload = other.expect_message("peer_left");
        assert_eq!(payload, json!({"room_id": room.room_id, "reason": "disconnected"}), "{name}");
        other.expect_no_message();
        other.relay("signal", &room, "1");
        other.expect_error("not_in_room");
        let (mut other, mut third, room) = match_pair(other, server.raw_session());
        expect_room_relays(&mut other, &mut third, &room);
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
        let (mut one, mut other, room) = server.matched_raw_pair();
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
            assert_eq!(&other.receive_text(), text);
        }
        other.expect_peer_left(&room, reason);
        other.expect_no_message();
    }
}

#[test]
fn what_is_sent_before_match_found_is_refused_and_never_kept() {
    let server = Server::start(&["--shards", "2"]);
    let mut other = server.raw_session();
    other.join_queue("en");
    let mut one = server.raw_session();
    let mut bytes = text_frame(br#"{"type":"find_match","payload":{"queue":"en"}}"#);
    for _ in 0..10 {
        bytes.extend(text_frame(br#"{"type":"offer","payload":"for whom?"}"#));
    }
    one.send(&bytes);
    one.expect_message("waiting");
    for _ in 0..10 {
        one.expect_error("not_in_room");
    }
    let room = one.expect_match();
    other.expect_match();
    other.expect_no_message();
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn a_message_begun_before_match_found_is_refused() {
    let server = Server::start(&["--shards", "2"]);
    let (mut one, mut other) = (server.raw_session(), server.raw_session());
    one.join_queue("en");
    let begun = text_frame(br#"{"type":"offer","payload":"begun while waiting"}"#);
    one.send(&begun[..20]);
    // The answer to a ping would come after those bytes; one frame cannot be within another,
    // so the partner's match is what shows that they were read: it is on the same shard then.
    wait_until("the first bytes are held", || match server.stat("/bytes/held") {
        0 => Err("nothing is held".into()),
        _ => Ok(()),
    });
    other.join_queue("en");
    let room = one.expect_match();
    other.expect_match();
    one.send(&begun[20..]);
    one.expect_error("not_in_room");
    other.expect_no_message();
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn who_could_not_be_sent_its_match_found_can_relay_nothing_yet() {
    let server = Server::start(&["--socket-send-buffer", "8192", "--shards", "2"]);
    // Answers that it does not read stand between it and what comes next.
    let mut deaf = RawClient::open_session_with_small_buffer(server.address());
    let mut pings = 0;
    while server.stat("/bytes/unsent") < 50_000 {
        for _ in 0..100 {
            deaf.send_text(&format!(r#"{{"type":"ping","payload":"{}"}}"#, "p".repeat(100)));
        }
        pings += 100;
    }
    deaf.find_match("en");
    let mut other = server.raw_session();
    other.join_queue("en");
    let room = other.expect_match();
    assert!(server.stat("/bytes/unsent") > 0, "its match_found is among them");
    deaf.send_text(r#"{"type":"offer","payload":"whom for?"}"#);
    deaf.send_text(r#"{"type":"leave_room"}"#);
    server.wait_for_stat("/messages/errors/not_in_room", 2);
    for _ in 0..pings {
        deaf.expect_message("pong");
    }
    deaf.expect_message("waiting");
    assert_eq!(deaf.expect_match().room_id, room.room_id);
    deaf.expect_error("not_in_room");
    deaf.expect_error("not_in_room");
    other.expect_no_message();
    expect_room_relays(&mut deaf, &mut other, &room);
}

#[test]
fn a_cancel_and_a_match_that_cross_end_in_exactly_one_of_them() {
    let server = Server::start(&["--shards", "2"]);
    for _ in 0..30 {
        let (mut one, mut other) = (server.raw_session(), server.raw_session());
        one.join_queue("en");
        other.find_match("en");
        one.send_text(CANCEL);
        other.expect_message("waiting");
        let text = one.receive_text();
        if text.contains("match_found") {
            let room = other.expect_match();
            one.expect_error("not_waiting");
            expect_room_relays(&mut one, &mut other, &room);
        } else {
            assert_eq!(text, r#"{"type":"match_cancelled"}"#);
            one.expect_no_message();
            other.expect_no_message();
            other.send_text(CANCEL);
            other.expect_message("match_cancelled");
        }
    }
    server.wait_for_stat("/matchmaking/tickets", 0);
}

#[test]
fn when_both_leave_at_the_same_time_each_gets_one_end_only() {
    let server = Server::start(&["--shards", "2"]);
    let leave = |user: &mut RawClient, room: &MatchFound| {
        // Either its own answer, or the other's leave first and then a refusal.
        let text = user.receive_text();
        if text.contains("peer_left") {
            user.expect_error("not_in_room");
        } else {
            assert!(text.contains("room_left") && text.contains(&room.room_id), "{text}");
        }
        user.expect_no_message();
    };
    for _ in 0..30 {
        let (mut one, mut other, room) = server.matched_raw_pair();
        let bytes = text_frame(LEAVE.as_bytes());
        one.send(&bytes);
        other.send(&bytes);
        leave(&mut one, &room);
        leave(&mut other, &room);
    }
    server.wait_until_idle();
}
