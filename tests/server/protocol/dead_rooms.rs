//! Members of a new room whose client does not answer: the partner learns of it after two liveness
//! windows and not after the silence limit.

use crate::support::{
    MatchFound, ProtocolClient, RawClient, Received, Server, client_frame, expect_room_relays,
};
use switchboard::wire::websocket::frame::{CLOSE, PING, TEXT};

const WINDOW: [&str; 2] = ["--liveness-window", "400ms"];

/// Reads frames and answers each ping, until something else comes. Returns how many pings came.
fn answer_pings(user: &mut RawClient, at_most: usize) -> (usize, Option<String>) {
    for pings in 0..at_most {
        let frame = user.read_frame().expect("the connection is open");
        match frame.opcode {
            PING => user.send(&client_frame(0x8a, &frame.payload)),
            TEXT => return (pings, Some(String::from_utf8(frame.payload).unwrap())),
            other => panic!("{other:?}"),
        }
    }
    (at_most, None)
}

/// The code of the Close frame that comes after any number of pings.
fn close_after_pings(user: &mut RawClient) -> Vec<u8> {
    loop {
        let frame = user.read_frame().expect("a Close frame comes first");
        match frame.opcode {
            PING => {}
            CLOSE => return frame.payload,
            other => panic!("{other:?}"),
        }
    }
}

fn peer_left(room: &MatchFound, reason: &str) -> String {
    let room_id = &room.room_id;
    format!(r#"{{"type":"peer_left","payload":{{"room_id":"{room_id}","reason":"{reason}"}}}}"#)
}

#[test]
fn closes_a_member_that_does_not_answer_after_the_match() {
    let server = Server::start(&[&WINDOW[..], &["--shards", "2"]].concat());
    let (mut silent, mut partner, room) = server.matched_raw_pair();
    let (_, text) = answer_pings(&mut partner, usize::MAX);
    assert_eq!(text, Some(peer_left(&room, "timeout")));
    assert_eq!(close_after_pings(&mut silent), 1001u16.to_be_bytes());
    assert_eq!(silent.receive(), Received::End);
    drop(silent);
    server.wait_for_stat("/connections/closed/silent_after_match", 1);
    assert_eq!(server.stat("/rooms/active"), 0);
    // It was the only `peer_left`, and the partner can be matched again.
    partner.expect_no_message();
    let mut other = server.raw_session();
    partner.join_queue("again");
    other.join_queue("again");
    assert_eq!(partner.expect_match().peer_id, other.id());
}

#[test]
fn pings_both_members_when_they_are_matched() {
    let server = Server::start(&["--liveness-window", "60s", "--ping-interval", "50s"]);
    let mut members = [(); 2].map(|()| server.raw_session());
    for member in &mut members {
        member.join_queue("en");
    }
    for member in &mut members {
        let frames = [(); 2].map(|()| member.read_frame().unwrap());
        assert_eq!(frames[0].opcode, PING);
        assert!(String::from_utf8_lossy(&frames[1].payload).contains("match_found"));
    }
}

#[test]
fn a_member_that_has_relayed_may_be_silent() {
    let server = Server::start(&WINDOW);
    let (mut quiet, mut partner, room) = server.matched_raw_pair();
    let sent = quiet.relay("offer", &room, "1");
    assert_eq!(answer_pings(&mut partner, usize::MAX).1, Some(sent));
    // The partner relays nothing, so it is pinged twice a window: for five windows here.
    assert_eq!(answer_pings(&mut partner, 10), (10, None));
    expect_room_relays(&mut quiet, &mut partner, &room);
    assert_eq!(server.stat("/connections/closed/silent_after_match"), 0);
}

#[test]
fn a_member_that_sends_and_never_reads_stays_in_its_room() {
    let server = Server::start(&WINDOW);
    let (mut sender, mut partner, room) = server.matched_raw_pair();
    for _ in 0..20 {
        // Another client's answer to a ping tells the time: half a window has passed.
        assert_eq!(answer_pings(&mut partner, 1), (1, None));
        sender.send(&client_frame(0x8a, b"not in answer"));
    }
    expect_room_relays(&mut sender, &mut partner, &room);
    assert_eq!(server.stat("/rooms/active"), 1);
}

#[test]
fn a_liveness_window_of_zero_leaves_silent_members_to_the_silence_limit() {
    let flags = ["--liveness-window", "0s", "--ping-interval", "100ms", "--silence-limit", "900ms"];
    let server = Server::start(&flags);
    let (silent, mut partner, room) = server.matched_raw_pair();
    let (pings, text) = answer_pings(&mut partner, usize::MAX);
    assert_eq!(text, Some(peer_left(&room, "disconnected")));
    assert!(pings > 0);
    drop(silent);
    server.wait_for_stat("/connections/closed/silent", 1);
}
