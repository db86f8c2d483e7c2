//! Timeouts: for a request head, for silence (guarantee 5), and for a connection that is being
//! closed. Each has a defined outcome and a counter.

use crate::support::{
    ConnectionEnd, ProtocolClient, RawClient, Received, Server, ServerFrame, client_frame,
    expect_room_relays, match_pair, text_frame, upgrade_request, wait_until,
};
use std::time::{Duration, Instant};
use switchboard::wire::websocket::frame::{CLOSE, PING, TEXT};

/// Sends one byte after the other until the server answers or closes the connection.
fn drip(raw: &mut RawClient, bytes: &[u8], every: Duration) {
    for byte in bytes {
        if raw.is_readable_within(every) || raw.try_send(&[*byte]).is_err() {
            return;
        }
    }
}

#[test]
fn answers_408_when_a_head_exceeds_the_handshake_timeout() {
    let server = Server::start(&["--handshake-timeout", "400ms", "--shards", "2"]);
    let began = Instant::now();
    let mut begun = server.raw_connection();
    begun.send(b"GET /health HT");
    let mut dripping = server.raw_connection();
    drip(&mut dripping, &[b'G'; 1000], Duration::from_millis(20));
    for raw in [&mut begun, &mut dripping] {
        let response = raw.read_response();
        assert_eq!(response.status, 408);
        assert!(response.has_connection_option("close"));
        let (rest, end) = raw.read_to_end();
        assert_eq!((rest.len(), end), (0, ConnectionEnd::Closed));
    }
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    drop((begun, dripping));
    assert_eq!(server.stat("/http/rejected/head_timeout"), 2);
    server.wait_for_stat("/connections/closed/head_timeout", 2);
}

#[test]
fn closes_a_connection_without_a_request_without_an_answer() {
    let server = Server::start(&["--handshake-timeout", "300ms"]);
    let mut fresh = server.raw_connection();
    fresh.expect_end();
    server.wait_for_stat("/connections/closed/http_idle", 1);
}

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: t\r\n\r\n";

#[test]
fn the_idle_timeout_and_not_the_handshake_timeout_applies_between_requests() {
    let server = Server::start(&["--handshake-timeout", "300ms"]);
    let mut kept = server.raw_connection();
    assert_eq!(kept.request(HEALTH).status, 200);
    // A connection that came later is closed by the handshake timeout.
    server.raw_connection().expect_end();
    assert_eq!(kept.request(HEALTH).status, 200);
    server.raw_connection().expect_end();
    // The time for the next head begins with its first byte, and not when the last one was answered.
    let began = Instant::now();
    kept.send(&HEALTH.as_bytes()[..10]);
    assert_eq!(kept.read_response().status, 408);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    server.wait_for_stat("/connections/closed/head_timeout", 1);
}

#[test]
fn closes_a_kept_connection_after_the_idle_timeout_without_an_answer() {
    let server = Server::start(&["--handshake-timeout", "1h", "--idle-timeout", "300ms"]);
    let mut kept = server.raw_connection();
    assert_eq!(kept.request(HEALTH).status, 200);
    kept.expect_end();
    server.wait_for_stat("/connections/closed/http_idle", 1);
}

#[test]
fn a_kept_connection_above_a_limit_is_closed_after_the_handshake_timeout() {
    let server = Server::start(&["--handshake-timeout", "300ms", "--max-connections", "1"]);
    let _session = server.client();
    let mut surplus = server.raw_connection();
    assert_eq!(surplus.request(HEALTH).status, 200);
    surplus.expect_end();
}

#[test]
fn the_handshake_timeout_restarts_after_each_response() {
    let server = Server::start(&["--handshake-timeout", "600ms"]);
    let mut raw = server.raw_connection();
    let began = Instant::now();
    // Longer in total than one head may take.
    while began.elapsed() < Duration::from_millis(1500) {
        assert_eq!(raw.request("GET /health HTTP/1.1\r\nHost: t\r\n\r\n").status, 200);
        assert!(!raw.is_readable_within(Duration::from_millis(150)));
    }
    // The timeout does not apply to a session.
    raw.upgrade();
    assert!(!raw.is_readable_within(Duration::from_millis(900)));
    raw.expect_no_message();
}

#[test]
fn closes_an_http_client_that_does_not_read_its_responses() {
    let server = Server::start(&["--handshake-timeout", "400ms", "--socket-send-buffer", "8192"]);
    let mut raw = RawClient::connect_with_small_buffer(server.address());
    raw.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n".repeat(1000).as_bytes());
    server.wait_for_stat("/connections/closed/http_idle", 1);
    server.wait_until_idle();
    let _ignored = raw.read_to_end();
}

const SILENCE: [&str; 4] = ["--ping-interval", "200ms", "--silence-limit", "800ms"];

#[test]
fn pings_a_silent_client_and_then_closes_it_with_1001() {
    let server = Server::start(&[&SILENCE[..], &["--shards", "2"]].concat());
    let began = Instant::now();
    let (mut silent, mut partner, room) = server.matched_raw_pair();
    let mut pings = 0;
    let close = loop {
        let frame = silent.read_frame().unwrap();
        match frame.opcode {
            PING => pings += 1,
            _ => break frame,
        }
        // The partner stays active.
        partner.send_text(r#"{"type":"ping"}"#);
        partner.expect_message("pong");
    };
    assert_eq!(close, ServerFrame { opcode: CLOSE, payload: 1001u16.to_be_bytes().to_vec() });
    assert_eq!(silent.read_frame(), None);
    assert!((1..=4).contains(&pings), "{pings} pings");
    assert!(began.elapsed() >= Duration::from_millis(800), "{:?}", began.elapsed());
    partner.expect_peer_left(&room, "disconnected");
    drop(silent);
    server.wait_for_stat("/connections/closed/silent", 1);
}

#[test]
fn keeps_a_client_that_answers_pings() {
    let server = Server::start(&SILENCE);
    let mut user = server.raw_session();
    let began = Instant::now();
    let mut pings = 0;
    while began.elapsed() < Duration::from_millis(2400) {
        let ping = user.read_frame().unwrap();
        assert_eq!(ping.opcode, PING);
        user.send(&client_frame(0x8a, &ping.payload));
        pings += 1;
    }
    assert!(pings >= 3, "{pings} pings in three silence limits");
    user.expect_no_message();
}

#[test]
fn any_inbound_byte_keeps_a_client_alive() {
    let server = Server::start(&SILENCE);
    let mut user = server.raw_session();
    let (mut one, mut other, _) = server.matched_raw_pair();
    // One client sends a frame in single bytes; the members of a room send unsolicited pongs.
    let bytes = text_frame(br#"{"type":"ping","payload":"0123456789"}"#);
    let mut sent = bytes.iter();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2400) {
        if let Some(byte) = sent.next() {
            user.send(&[*byte]);
        }
        one.send(&client_frame(0x8a, b""));
        other.send(&client_frame(0x8a, b""));
        std::thread::sleep(Duration::from_millis(60));
    }
    user.send(sent.as_slice());
    assert_eq!(user.expect_message("pong"), "0123456789");
    one.expect_no_message();
    other.expect_no_message();
}

#[test]
fn keeps_a_client_that_sends_but_never_reads_without_pongs() {
    let server = Server::start(&[&SILENCE[..], &["--max-unsent-bytes", "1000000"]].concat());
    // The client's receive window is full and the server has unsent bytes for it, during three
    // silence limits.
    let stuck = RawClient::open_session_with_small_buffer(server.address());
    let id = stuck.id().to_owned();
    let (one, other, room) = match_pair(stuck, server.raw_session());
    let (mut stuck, mut partner) = if one.id() == id { (one, other) } else { (other, one) };
    let message = format!(r#"{{"type":"signal","payload":"{}"}}"#, "d".repeat(5_000));
    for _ in 0..100 {
        partner.send_text(&message);
    }
    wait_until("bytes are unsent", || match server.stat("/bytes/unsent") {
        0 => Err("none".to_owned()),
        _ => Ok(()),
    });
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2400) {
        let sent = stuck.relay("signal", &room, "\"I am here\"");
        assert_eq!(partner.receive_text(), sent);
        partner.send(&client_frame(0x8a, b""));
        std::thread::sleep(Duration::from_millis(60));
    }
    assert!(server.stat("/bytes/unsent") > 0, "the client has not read");
    // When the client reads at last, it receives every message.
    let mut texts = 0;
    while texts < 100 {
        let got = stuck.read_frame().unwrap();
        if got.opcode == TEXT {
            assert_eq!(got.payload, message.as_bytes());
            texts += 1;
        }
        stuck.send(&client_frame(0x8a, b""));
        partner.send(&client_frame(0x8a, b""));
    }
    expect_room_relays(&mut stuck, &mut partner, &room);
}

#[test]
fn resets_a_connection_that_stays_open_after_the_close_timeout() {
    let server = Server::start(&["--close-timeout", "300ms"]);
    let began = Instant::now();
    let mut raw = server.raw_session();
    raw.send(&client_frame(0x83, b"bad"));
    assert_eq!(raw.receive(), Received::Close(Some(1002)));
    // The server sends its FIN at once, and closes the socket when the timeout has passed.
    assert_eq!(raw.receive(), Received::End);
    server.wait_for_stat("/connections/active", 1);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert_eq!(server.stat("/connections/closed/protocol_error"), 1);
    assert_eq!(server.stat("/connections/close_timeouts"), 1);
    // The same after a refused request.
    let mut refused = server.raw_connection();
    refused.send(b"nonsense\r\n");
    assert_eq!(refused.read_response().status, 400);
    server.wait_for_stat("/connections/close_timeouts", 2);
    assert_eq!(server.stat("/connections/closed/refused"), 1);
    server.wait_until_idle();
}

#[test]
fn closes_a_connection_at_the_close_timeout_when_its_close_frame_cannot_be_sent() {
    let flags = ["--close-timeout", "300ms", "--socket-send-buffer", "8192"];
    let server = Server::start(&flags);
    let mut stuck = RawClient::open_session_with_small_buffer(server.address());
    let ping = format!(r#"{{"type":"ping","payload":"{}"}}"#, "d".repeat(60_000));
    while server.stat("/sessions/active") == 1 {
        let _closed = stuck.try_send(&text_frame(ping.as_bytes()));
    }
    // The client never reads, so neither the answers nor the Close frame leave the server.
    server.wait_until_idle();
    assert_eq!(server.stat("/connections/closed/slow_consumer"), 1);
    assert_eq!(server.stat("/connections/close_timeouts"), 1);
    drop(stuck);
}

#[test]
fn the_handshake_timeout_ends_with_the_upgrade() {
    let server = Server::start(&["--handshake-timeout", "300ms"]);
    let mut raw = server.raw_connection();
    raw.send(&[upgrade_request(), text_frame(br#"{"type":"ping"}"#)[..3].to_vec()].concat());
    raw.expect_upgrade();
    assert!(!raw.is_readable_within(Duration::from_millis(900)), "a partial frame is not a head");
    raw.send(&text_frame(br#"{"type":"ping"}"#)[3..]);
    raw.expect_message("pong");
}
