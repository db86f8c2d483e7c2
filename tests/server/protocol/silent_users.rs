//! Users who wait while their client is silent: no user is matched with a client that has been
//! silent for `--liveness-window`, and it keeps its position until it sends something.

use crate::support::{MatchFound, ProtocolClient, RawClient, Server, client_frame};
use std::time::Duration;
use switchboard::wire::websocket::frame::{PING, TEXT};

const WINDOW: [&str; 2] = ["--liveness-window", "500ms"];

/// Reads frames and answers each ping, until `match_found` comes.
fn answer_until_matched(user: &mut RawClient) -> MatchFound {
    loop {
        let frame = user.read_frame().expect("the connection is open");
        match frame.opcode {
            PING => user.send(&client_frame(0x8a, &frame.payload)),
            TEXT => {
                let text = String::from_utf8(frame.payload).unwrap();
                let message: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(message["type"], "match_found", "{text}");
                let text_of = |name: &str| message["payload"][name].as_str().unwrap().to_owned();
                return MatchFound {
                    room_id: text_of("room_id"),
                    peer_id: text_of("peer_id"),
                    initiator: message["payload"]["initiator"].as_bool().unwrap(),
                };
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A user who waits in the queue and whose client is silent from then on.
fn ghost(server: &Server) -> RawClient {
    let before = server.stat("/matchmaking/withheld");
    let mut ghost = server.raw_session();
    ghost.join_queue("en");
    server.wait_for_stat("/matchmaking/withheld", before + 1);
    ghost
}

#[test]
fn a_user_who_reconnects_meets_a_live_partner_and_not_its_own_ghost() {
    let server = Server::start(&[&WINDOW[..], &["--shards", "2"]].concat());
    let mut ghost = ghost(&server);
    server.wait_for_stat("/matchmaking/tickets", 0);
    assert_eq!(server.stat("/matchmaking/waiting"), 1, "the ghost still waits");
    let mut back = server.raw_session();
    back.join_queue("en");
    let mut other = server.raw_session();
    other.join_queue("en");
    let [backs, others] = [&mut back, &mut other].map(answer_until_matched);
    assert_eq!((&*backs.peer_id, &*others.peer_id), (other.id(), back.id()));
    while ghost.is_readable_within(Duration::from_millis(1)) {
        assert_eq!(ghost.read_frame().unwrap().opcode, PING);
    }
}

#[test]
fn a_silent_user_keeps_its_position_and_is_matched_at_its_next_byte() {
    let server = Server::start(&WINDOW);
    let mut silent = ghost(&server);
    let mut later = server.raw_session();
    later.join_queue("en");
    // The first byte of a frame is enough.
    silent.send(&client_frame(0x8a, b"here")[..1]);
    let first = later.expect_match();
    assert_eq!(first.peer_id, silent.id());
    assert!(!first.initiator, "the user who has waited longer sends the offer");
    assert!(silent.expect_match().initiator);
}

#[test]
fn a_silent_user_who_cancels_gets_one_answer_and_can_wait_again() {
    let server = Server::start(&WINDOW);
    let mut user = ghost(&server);
    user.send_text(r#"{"type":"cancel_match"}"#);
    user.expect_message("match_cancelled");
    server.wait_for_stat("/matchmaking/waiting", 0);
    user.join_queue("en");
    let mut other = server.raw_session();
    other.join_queue("en");
    assert_eq!(other.expect_match().peer_id, user.id());
    assert_eq!(user.expect_match().peer_id, other.id());
}

#[test]
fn pings_a_waiting_user_within_the_liveness_window_and_no_idle_one() {
    let server = Server::start(&WINDOW);
    let mut idle = server.raw_session();
    let mut waiting = server.raw_session();
    waiting.join_queue("en");
    for _ in 0..6 {
        let ping = waiting.read_frame().unwrap();
        assert_eq!(ping.opcode, PING);
        waiting.send(&client_frame(0x8a, &ping.payload));
    }
    assert!(!idle.is_readable_within(Duration::from_millis(1)), "an idle user was pinged");
    assert!(server.stat("/sessions/pings_sent") >= 6);
}

#[test]
fn a_liveness_window_of_zero_matches_silent_users() {
    let flags = ["--liveness-window", "0s", "--ping-interval", "50ms", "--silence-limit", "60s"];
    let server = Server::start(&flags);
    let mut silent = server.raw_session();
    silent.join_queue("en");
    for _ in 0..10 {
        assert_eq!(silent.read_frame().unwrap().opcode, PING);
    }
    let mut other = server.raw_session();
    other.join_queue("en");
    assert_eq!(other.expect_match().peer_id, silent.id());
    assert_eq!(server.stat("/matchmaking/withheld"), 0);
}

#[test]
fn sessions_that_leave_while_withheld_are_forgotten() {
    let server = Server::start(&WINDOW);
    drop(ghost(&server));
    server.wait_until_idle();
    assert_eq!(server.stat("/matchmaking/waiting"), 0);
    assert_eq!(server.stat("/matchmaking/tickets"), 0);
}
