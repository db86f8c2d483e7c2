//! The time that a message may take from its first byte to its last: further bytes do not extend
//! it, whatever part of the message they are.

use crate::support::{
    ProtocolClient, RawClient, Server, client_frame, ping_frame, text_frame, upgrade_request,
};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_millis(400);
const PARTS: usize = 120;

fn start_server(more: &[&str]) -> Server {
    Server::start(&[&["--message-timeout", "400ms"][..], more].concat())
}

/// Sends one part after the other, each a tenth of the timeout later, until the server answers or
/// closes the connection. Returns whether it did before all parts were sent.
fn dribble(raw: &mut RawClient, parts: impl IntoIterator<Item = Vec<u8>>) -> bool {
    let mut parts = parts.into_iter();
    parts.any(|part| raw.is_readable_within(TIMEOUT / 10) || raw.try_send(&part).is_err())
}

fn single_bytes(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.iter().map(|byte| vec![*byte]).collect()
}

/// Messages of `PARTS` parts, which take twelve times as long as is allowed.
fn endless_messages() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let text = text_frame(&[b' '; PARTS]);
    let mut fragments = vec![client_frame(0x01, b"{")];
    fragments.resize(PARTS, client_frame(0x00, b" "));
    let mut with_pongs = vec![client_frame(0x01, b"{")];
    with_pongs.resize(PARTS, client_frame(0x8a, b""));
    vec![
        ("one payload byte after the other", single_bytes(&text[..PARTS])),
        ("a fragment after the other", fragments),
        ("control frames within a message", with_pongs),
        ("a control frame", single_bytes(&ping_frame(&[b'p'; PARTS])[..PARTS])),
    ]
}

#[test]
fn closes_a_connection_that_sends_only_the_first_byte_of_a_frame_header() {
    let server = start_server(&[]);
    let mut raw = server.raw_session();
    raw.send(&[0x81]);
    raw.expect_close(1008);
}

#[test]
fn closes_a_message_that_does_not_end_with_1008() {
    let mut server = start_server(&["--shards", "2"]);
    for (nth, (name, parts)) in endless_messages().into_iter().enumerate() {
        let (mut one, mut other, room) = server.matched_raw_pair();
        // A complete message before it changes nothing.
        one.send(&text_frame(br#"{"type":"signal"}"#));
        assert_eq!(other.receive_text(), r#"{"type":"signal"}"#);
        let began = Instant::now();
        assert!(dribble(&mut one, parts), "{name}: all parts were taken");
        one.expect_close(1008);
        assert!(began.elapsed() >= TIMEOUT, "{name}: {:?}", began.elapsed());
        other.expect_peer_left(&room, "disconnected");
        drop(one);
        server.wait_for_stat("/connections/closed/message_timeout", nth as i64 + 1);
        assert_eq!(server.stat("/bytes/held"), 0, "{name}");
    }
    server.wait_for_log_line("a message was not complete within --message-timeout");
}

#[test]
fn echo_closes_a_message_that_does_not_end() {
    let server = start_server(&["--echo"]);
    for (name, parts) in endless_messages() {
        let mut raw = server.raw_connection();
        let request = String::from_utf8(upgrade_request()).unwrap();
        assert_eq!(raw.request(&request.replace("GET /ws ", "GET /echo ")).status, 101);
        let began = Instant::now();
        assert!(dribble(&mut raw, parts), "{name}: all parts were taken");
        raw.expect_close(1008);
        assert!(began.elapsed() >= TIMEOUT, "{name}: {:?}", began.elapsed());
    }
}

/// Each message begins in the read that ends the one before, for several times the timeout.
#[test]
fn a_client_that_completes_its_messages_in_time_stays() {
    let server = start_server(&[]);
    let mut raw = server.raw_session();
    let ping = text_frame(br#"{"type":"ping"}"#);
    let (start, end) = ping.split_at(5);
    let began = Instant::now();
    raw.send(start);
    while began.elapsed() < TIMEOUT * 3 {
        assert!(!raw.is_readable_within(TIMEOUT / 10));
        raw.send(&[end, start].concat());
        raw.expect_message("pong");
    }
    raw.send(end);
    raw.expect_message("pong");
}

#[test]
fn zero_lets_a_message_take_any_time() {
    let flags = ["--message-timeout", "0s", "--ping-interval", "50ms", "--silence-limit", "10s"];
    let server = Server::start(&flags);
    let mut raw = server.raw_session();
    let ping = text_frame(br#"{"type":"ping"}"#);
    raw.send(&ping[..5]);
    // The pings show that the connection was swept several times.
    (0..5).for_each(|_| _ = raw.read_frame().expect("a ping frame"));
    raw.send(&ping[5..]);
    while raw.read_frame().expect("a pong").payload.is_empty() {}
}
