//! Queues and rooms: how users are matched and how rooms end (guarantees 1 to 4, 8 and 9).

use crate::support::{
    Client, MatchFound, ProtocolClient, RawClient, Received, Server, client_frame, close_frame,
    expect_room_relays, match_pair, text_frame, wait_until,
};
use serde_json::json;

const CANCEL: &str = r#"{"type":"cancel_match"}"#;
const LEAVE: &str = r#"{"type":"leave_room"}"#;
const FIND: &str = r#"{"type":"find_match"}"#;

#[test]
fn gives_both_members_the_same_room_and_each_others_id() {
    let server = Server::start(&["--shards", "2"]);
    for _ in 0..8 {
        // match_pair checks it.
        let (mut one, mut other, room) = server.matched_pair();
        expect_room_relays(&mut one, &mut other, &room);
    }
}

#[test]
fn never_reuses_a_room_identifier() {
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
fn answers_leave_room_and_sends_the_partner_peer_left_once() {
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
fn both_members_can_be_matched_again_after_a_room() {
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
fn find_match_in_a_room_sends_the_partner_peer_left_with_next() {
    let server = Server::start(&[]);
    let (mut one, mut other, room) = server.matched_pair();
    one.join_queue("another");
    other.expect_peer_left(&room, "next");
    one.expect_no_message();
    other.expect_no_message();
    // A candidate for the previous partner is relayed to no one.
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
fn cancel_match_leaves_the_queue() {
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
    // The user can join again.
    one.join_queue("en");
    assert_eq!(one.expect_match().room_id, other.expect_match().room_id);
    server.wait_for_stat("/matchmaking/waiting", 0);
}

#[test]
fn answers_each_find_match_and_cancel_match_of_one_segment() {
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
    // The answers need no partner, so all of them precede the match.
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
fn find_match_in_the_same_queue_keeps_the_place() {
    let server = Server::start(&[]);
    let mut first = server.client();
    first.join_queue("en");
    let mut third = server.client();
    // The first user asks again and still waits in the queue exactly once.
    first.join_queue("en");
    third.join_queue("en");
    assert_eq!(first.expect_match().peer_id, third.id());
    third.expect_match();
}

#[test]
fn matches_the_longest_waiting_user_first() {
    let server = Server::start(&["--rematch-delay", "60s"]);
    // Recent partners wait side by side, since others are matched first.
    let (mut first, mut second, _) = server.matched_pair();
    first.send_text(LEAVE);
    first.expect_message("room_left");
    second.expect_message("peer_left");
    first.join_queue("en");
    second.join_queue("en");
    // A repeated find_match keeps the place of the one that waits longer.
    first.join_queue("en");
    let mut stranger = server.client();
    stranger.join_queue("en");
    assert_eq!(first.expect_match().peer_id, stranger.id());
    stranger.expect_match();
    second.expect_no_message();
}

#[test]
fn changing_the_queue_gives_up_the_place_in_the_old_one() {
    let server = Server::start(&["--rematch-delay", "60s", "--stats-queue", "en,fr"]);
    let (mut first, mut second, _) = server.matched_pair();
    first.send_text(LEAVE);
    first.expect_message("room_left");
    second.expect_message("peer_left");
    first.join_queue("en");
    second.join_queue("en");
    // The first one changes the queue and comes back: now it waits behind the second.
    first.join_queue("fr");
    server.wait_for_stat("/matchmaking/waiting_by_queue/fr", 1);
    server.wait_for_stat("/matchmaking/waiting_by_queue/en", 1);
    first.join_queue("en");
    let mut stranger = server.client();
    stranger.join_queue("en");
    assert_eq!(second.expect_match().peer_id, stranger.id());
    stranger.expect_match();
    first.expect_no_message();
}

#[test]
fn matches_only_within_a_queue() {
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
fn never_matches_a_session_with_itself() {
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
fn never_matches_with_a_session_that_has_ended() {
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

/// Ends the connection of one member.
type Ending = fn(RawClient);

#[test]
fn sends_peer_left_at_once_however_the_connection_ends() {
    let server =
        Server::start(&["--shards", "2", "--ping-interval", "1h", "--silence-limit", "2h"]);
    let endings: [(&str, &str, Ending); 7] = [
        ("a Close frame", "left", |mut user| user.send(&close_frame(1000))),
        ("a Close frame without a code", "left", |mut user| user.send(&client_frame(0x88, b""))),
        ("the end of the stream", "disconnected", drop),
        ("a reset", "disconnected", RawClient::reset),
        ("a half-close", "disconnected", |user| {
            user.half_close();
            // The other direction stays open until the server closes it.
            let mut user = user;
            assert_eq!(user.receive(), Received::End);
        }),
        ("a frame that breaks RFC 6455", "disconnected", |mut user| {
            user.send(b"\xff\xff");
            user.expect_close(1002);
        }),
        ("an end in the middle of a frame", "disconnected", |mut user| {
            let frame = text_frame(br#"{"type":"signal","payload":{}}"#);
            user.send(&frame[..frame.len() - 1]);
        }),
    ];
    for (name, reason, end) in endings {
        let (one, mut other, room) = server.matched_raw_pair();
        end(one);
        let payload = other.expect_message("peer_left");
        assert_eq!(payload, json!({"room_id": room.room_id, "reason": reason}), "{name}");
        other.expect_no_message();
        other.relay("signal", &room, "1");
        other.expect_error("not_in_room");
        let (mut other, mut third, room) = match_pair(other, server.raw_session());
        expect_room_relays(&mut other, &mut third, &room);
    }
}

#[test]
fn relays_messages_sent_before_leaving_ahead_of_peer_left() {
    let server = Server::start(&["--shards", "2"]);
    let endings: [(&str, Vec<u8>); 3] = [
        ("left", text_frame(LEAVE.as_bytes())),
        ("next", text_frame(FIND.as_bytes())),
        ("left", close_frame(1000)),
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
        // A message after the end of the room is relayed to no one.
        if ending != close_frame(1000) {
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
fn refuses_messages_sent_before_match_found() {
    let server = Server::start(&["--shards", "2"]);
    let mut other = server.raw_session();
    other.join_queue("en");
    let mut one = server.raw_session();
    let mut bytes = text_frame(br#"{"type":"find_match","payload":{"queue":"en"}}"#);
    for _ in 0..10 {
        bytes.extend(text_frame(br#"{"type":"offer","payload":"too early"}"#));
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
fn refuses_a_message_begun_before_match_found() {
    let server = Server::start(&["--shards", "2"]);
    let (mut one, mut other) = (server.raw_session(), server.raw_session());
    one.join_queue("en");
    let begun = text_frame(br#"{"type":"offer","payload":"begun while waiting"}"#);
    one.send(&begun[..20]);
    // The held bytes show that the server has read the first part before the match.
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
fn refuses_to_relay_while_match_found_is_unsent() {
    let server = Server::start(&["--socket-send-buffer", "8192", "--shards", "2"]);
    // Unread answers fill the client's backlog, so that later messages are not sent.
    let mut stuck = RawClient::open_session_with_small_buffer(server.address());
    let mut pings = 0;
    while server.stat("/bytes/unsent") < 50_000 {
        for _ in 0..100 {
            stuck.send_text(&format!(r#"{{"type":"ping","payload":"{}"}}"#, "p".repeat(100)));
        }
        pings += 100;
    }
    stuck.find_match("en");
    let mut other = server.raw_session();
    other.join_queue("en");
    let room = other.expect_match();
    assert!(server.stat("/bytes/unsent") > 0, "match_found is among the unsent bytes");
    stuck.send_text(r#"{"type":"offer","payload":"too early"}"#);
    stuck.send_text(r#"{"type":"leave_room"}"#);
    server.wait_for_stat("/messages/errors/not_in_room", 2);
    for _ in 0..pings {
        stuck.expect_message("pong");
    }
    stuck.expect_message("waiting");
    assert_eq!(stuck.expect_match().room_id, room.room_id);
    stuck.expect_error("not_in_room");
    stuck.expect_error("not_in_room");
    other.expect_no_message();
    expect_room_relays(&mut stuck, &mut other, &room);
}

#[test]
fn a_cancel_that_crosses_a_match_ends_in_exactly_one_of_them() {
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
fn each_member_sees_one_end_when_both_leave_at_the_same_time() {
    let server = Server::start(&["--shards", "2"]);
    let expect_one_end = |user: &mut RawClient, room: &MatchFound| {
        // Either the answer, or the other's peer_left first and then a refusal.
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
        expect_one_end(&mut one, &room);
        expect_one_end(&mut other, &room);
    }
    server.wait_until_idle();
}
