//! The rate of matches: a token is taken from the client that ends a room, and none from its partner.

use crate::support::{Client, ProtocolClient, RawClient, Server, client_frame, text_frame};
use serde_json::Value;

const FIND: &str = r#"{"type":"find_match"}"#;
const LEAVE: &str = r#"{"type":"leave_room"}"#;

/// A bucket of this server holds two tokens, and one comes back in 7.5 s.
fn start_server(flag: &str) -> Server {
    Server::start(&[flag, "8", "--rematch-delay", "0s", "--shards", "2"])
}

/// The user is in a room with `partner`, asks for the next one and meets the same partner again.
fn meet_again(user: &mut Client, partner: &mut Client) {
    user.send_text(FIND);
    user.expect_message("waiting");
    partner.expect_message("peer_left");
    partner.send_text(FIND);
    partner.expect_message("waiting");
    user.expect_match();
    partner.expect_match();
}

/// Two users in a room of the default queue.
fn pair(server: &Server) -> (Client, Client) {
    let (mut one, mut other) = (server.client(), server.client());
    for user in [&mut one, &mut other] {
        user.send_text(FIND);
        user.expect_message("waiting");
    }
    one.expect_match();
    other.expect_match();
    (one, other)
}

fn expect_refused(user: &mut Client) -> Value {
    user.send_text(FIND);
    let payload = user.expect_message("error");
    assert_eq!(
        (&payload["code"], &payload["refused"]),
        (&"too_many_matches".into(), &"find_match".into())
    );
    payload
}

#[test]
fn refuses_matches_above_the_rate_and_keeps_the_state() {
    let mut server = start_server("--max-matches-per-minute");
    let (mut one, mut other) = pair(&server);
    (0..2).for_each(|_| meet_again(&mut one, &mut other));
    let retry_after_ms = expect_refused(&mut one)["retry_after_ms"].as_u64().unwrap();
    assert!((1..=7500).contains(&retry_after_ms), "{retry_after_ms}");
    // The room goes on.
    one.send_text(r#"{"type":"signal","payload":"still here"}"#);
    assert_eq!(other.receive_text(), r#"{"type":"signal","payload":"still here"}"#);
    // Leaving is always possible, and uses a token.
    one.send_text(LEAVE);
    one.expect_message("room_left");
    other.expect_message("peer_left");
    assert!(expect_refused(&mut one)["retry_after_ms"].as_u64().unwrap() > retry_after_ms);
    assert_eq!(server.stat("/messages/errors/too_many_matches"), 2);
    server.wait_for_log_line("--max-matches-per-minute or its limit per address is exceeded");
}

#[test]
fn the_partner_of_a_client_that_leaves_uses_no_token() {
    let server = start_server("--max-matches-per-minute");
    let (mut one, mut other) = pair(&server);
    (0..2).for_each(|_| meet_again(&mut one, &mut other));
    expect_refused(&mut one);
    // The other member has been left twice, and has all its tokens.
    (0..2).for_each(|_| {
        other.send_text(FIND);
        other.expect_message("waiting");
        one.expect_message("peer_left");
        let mut stranger = server.client();
        stranger.send_text(FIND);
        stranger.expect_message("waiting");
        stranger.expect_match();
        other.expect_match();
        one = stranger;
    });
    expect_refused(&mut other);
}

#[test]
fn a_session_that_waits_may_repeat_its_request() {
    let server = start_server("--max-matches-per-minute");
    let (mut one, mut other) = pair(&server);
    meet_again(&mut one, &mut other);
    one.send_text(FIND);
    for _ in 0..3 {
        one.expect_message("waiting");
        one.send_text(FIND);
    }
    one.expect_message("waiting");
}

#[test]
fn a_new_connection_of_an_address_has_no_new_matches() {
    let server = start_server("--max-matches-per-minute-per-address");
    for nth in 0..2 {
        let (mut one, mut other) = pair(&server);
        // The first room ends by `leave_room`, the second by a Close frame: each uses a token.
        if nth == 0 {
            one.send_text(LEAVE);
            one.expect_message("room_left");
        } else {
            one.close(1000);
        }
        other.expect_message("peer_left");
    }
    // All clients of this test have the same address.
    let mut fresh = server.client();
    expect_refused(&mut fresh);
}

/// Ends a connection. What is left of it is kept until the test has seen the effect.
type EndConnection = fn(RawClient) -> Option<RawClient>;

/// Every way for a client to end its connection without a Close frame.
const ENDS_WITHOUT_CLOSE_FRAME: [(&str, EndConnection); 6] = [
    ("FIN", |client| {
        client.half_close();
        Some(client)
    }),
    ("reset", |client| {
        client.reset();
        None
    }),
    ("1002", |client| send(client, &client_frame(0xf1, b"reserved bits"))),
    ("1007", |client| send(client, &client_frame(0x81, &[0xff]))),
    ("1008", |client| {
        let fragments = (0..1025).flat_map(|nth| client_frame(u8::from(nth == 0), b""));
        send(client, &fragments.collect::<Vec<u8>>())
    }),
    ("1009", |client| send(client, &text_frame(&[b'x'; 65_537]))),
];

fn send(mut client: RawClient, bytes: &[u8]) -> Option<RawClient> {
    client.send(bytes);
    Some(client)
}

#[test]
fn a_connection_that_ends_without_a_close_frame_uses_a_token() {
    for (name, end) in ENDS_WITHOUT_CLOSE_FRAME {
        let server = start_server("--max-matches-per-minute-per-address");
        for _ in 0..2 {
            let (one, mut other, room) = server.matched_raw_pair();
            let _kept = end(one);
            other.expect_peer_left(&room, "disconnected");
        }
        let mut fresh = server.client();
        fresh.send_text(FIND);
        let answer = fresh.receive_text();
        assert!(answer.contains(r#""code":"too_many_matches""#), "{name}: {answer}");
    }
}

#[test]
fn a_lost_member_uses_no_token_of_its_address() {
    let flags = ["--max-matches-per-minute-per-address", "8", "--liveness-window", "500ms"];
    let server = Server::start(&flags);
    let pairs: Vec<_> = (0..3)
        .map(|_| {
            let (mut silent, mut other) = (server.raw_session(), server.client());
            silent.send_text(FIND);
            other.send_text(FIND);
            other.expect_message("waiting");
            let room = other.expect_match();
            // From here on, the other member may be silent.
            other.send_text(r#"{"type":"signal","payload":"hello"}"#);
            (silent, other, room)
        })
        .collect();
    let _silent: Vec<_> = pairs
        .into_iter()
        .map(|(silent, mut other, room)| {
            other.expect_peer_left(&room, "timeout");
            silent
        })
        .collect();
    let mut fresh = server.client();
    fresh.send_text(FIND);
    fresh.expect_message("waiting");
}
