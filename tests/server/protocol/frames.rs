//! Frames as `src/wire/PROTOCOL.md` and RFC 6455 define them, and every close code that a client
//! can cause.

use crate::support::{
    ConnectionEnd, ProtocolClient, Received, Server, ServerFrame, SuspendedThread, client_frame,
    close_frame, ping_frame, text_frame, upgrade_request,
};
use serde_json::json;
use switchboard::wire::websocket::frame::{CLOSE, PONG};

/// These bytes close the connection with `code`, the partner receives `peer_left`, and the end is
/// counted under `reason`.
fn expect_close_after(server: &Server, bytes: &[u8], code: u16, reason: &str) {
    let before = server.stat(&format!("/connections/closed/{reason}"));
    let (mut one, mut other, room) = server.matched_raw_pair();
    // The answer to an earlier message is not lost.
    one.send(&[&text_frame(br#"{"type":"ping"}"#), bytes].concat());
    one.expect_message("pong");
    one.expect_close(code);
    let left = other.expect_message("peer_left");
    let reason_told = if code == 1000 { "left" } else { "disconnected" };
    assert_eq!(left, json!({"room_id": room.room_id, "reason": reason_told}), "{bytes:02x?}");
    other.expect_no_message();
    drop(one);
    server.wait_for_stat(&format!("/connections/closed/{reason}"), before + 1);
}

#[test]
fn answers_every_valid_close_frame_with_1000() {
    let server = Server::start(&[]);
    let close_with = |payload: &[u8]| client_frame(0x88, payload);
    let long = [&1000u16.to_be_bytes()[..], &[b'r'; 123]].concat();
    let worded = [&1000u16.to_be_bytes()[..], "ä€".as_bytes()].concat();
    let mut forms = vec![close_with(b""), close_with(&long), close_with(&worded)];
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 4001, 4999] {
        forms.push(close_frame(code));
    }
    for form in forms {
        expect_close_after(&server, &form, 1000, "client_close");
    }
}

#[test]
fn completes_the_closing_handshake_with_a_tungstenite_client() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.close(1000);
    client.expect_close(1000);
    drop(client);
    server.wait_until_idle();
}

#[test]
fn ignores_frames_after_a_close_frame() {
    let server = Server::start(&[]);
    let (mut one, mut other, _) = server.matched_raw_pair();
    one.send(&[close_frame(1000), text_frame(br#"{"type":"signal","payload":"late"}"#)].concat());
    one.expect_close(1000);
    other.expect_message("peer_left");
    other.expect_no_message();
}

#[test]
fn closes_with_1002_on_a_frame_that_breaks_rfc_6455() {
    let server = Server::start(&[]);
    let unmasked = [0x81, 0x02, b'{', b'}'];
    let long_ping = {
        let mut bytes = client_frame(0x89, &[0; 126]);
        bytes.truncate(200);
        bytes
    };
    // A length of 125 or less in 16 bits, of 65,535 or less in 64, and one with the highest bit.
    let wide_16 = [&[0x81, 0xfe, 0, 2, 0, 0, 0, 0], &b"{}"[..]].concat();
    let wide_64 = [&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0], &b"{}"[..]].concat();
    let negative = [0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let forms: Vec<Vec<u8>> = vec![
        unmasked.to_vec(),
        long_ping,
        wide_16,
        wide_64,
        negative.to_vec(),
        client_frame(0xc1, b"{}"), // reserved bit 1
        client_frame(0xa1, b"{}"), // reserved bit 2
        client_frame(0x91, b"{}"), // reserved bit 3
        client_frame(0x83, b"{}"), // reserved opcodes
        client_frame(0x87, b"{}"),
        client_frame(0x8b, b""),
        client_frame(0x8f, b""),
        client_frame(0x09, b""), // a control frame in fragments
        client_frame(0x08, b""),
        client_frame(0x80, b"{}"), // a continuation without a message
        client_frame(0x00, b"{}"),
        [client_frame(0x01, b"{"), client_frame(0x81, b"{}")].concat(), // a message within a message
        [client_frame(0x01, b"{"), client_frame(0x02, b"{}")].concat(),
        client_frame(0x88, b"\x03"), // half a close code
        close_frame(0),
        close_frame(999),
        close_frame(1004),
        close_frame(1005),
        close_frame(1006),
        close_frame(1015),
        close_frame(1016),
        close_frame(2999),
        close_frame(5000),
        close_frame(65_535),
    ];
    for form in forms {
        expect_close_after(&server, &form, 1002, "protocol_error");
    }
}

#[test]
fn closes_with_1007_on_text_that_is_not_utf_8() {
    let server = Server::start(&[]);
    let bad: [&[u8]; 8] = [
        b"\xff",
        b"\xc3\x28",
        b"\xc0\xaf",         // overlong
        b"\xed\xa0\x80",     // a surrogate
        b"\xf4\x90\x80\x80", // above U+10FFFF
        b"\xf8\x88\x80\x80\x80",
        b"\xe2\x82", // cut off
        b"\x80",
    ];
    for bytes in bad {
        let text = [br#"{"type":"signal","payload":""#, bytes, br#""}"#].concat();
        expect_close_after(&server, &text_frame(&text), 1007, "not_utf8");
        let (start, end) = text.split_at(29);
        let halves = [client_frame(0x01, start), client_frame(0x80, end)].concat();
        expect_close_after(&server, &halves, 1007, "not_utf8");
    }
    // The message ends within a sequence.
    expect_close_after(&server, &text_frame(b"\"\xe2\x82"), 1007, "not_utf8");
    // The reason of a Close frame is text too.
    expect_close_after(&server, &client_frame(0x88, b"\x03\xe8\xff"), 1007, "not_utf8");
    // It is refused at the first invalid byte, not when the message is complete.
    let mut begun = text_frame(&[&b"{\"type\":\"\xff"[..], &[b' '; 1000]].concat());
    begun.truncate(100);
    expect_close_after(&server, &begun, 1007, "not_utf8");
}

#[test]
fn accepts_a_character_split_between_fragments() {
    let server = Server::start(&[]);
    let (mut one, mut other, _) = server.matched_raw_pair();
    let text = r#"{"type":"signal","payload":"😀"}"#.as_bytes();
    let at = text.iter().position(|byte| *byte == 0xf0).unwrap();
    for cut in at + 1..at + 4 {
        let bytes = [client_frame(0x01, &text[..cut]), client_frame(0x80, &text[cut..])].concat();
        one.send(&bytes);
        assert_eq!(other.receive_text().as_bytes(), text);
    }
}

#[test]
fn answers_a_ping_with_its_payload() {
    let server = Server::start(&[]);
    let mut one = server.raw_session();
    for payload in [&b""[..], b"x", &[0xff; 125]] {
        one.send(&ping_frame(payload));
        assert_eq!(one.read_frame(), Some(ServerFrame { opcode: PONG, payload: payload.to_vec() }));
    }
    // A ping that arrives in pieces.
    for byte in ping_frame(b"in pieces") {
        one.send(&[byte]);
    }
    assert_eq!(
        one.read_frame(),
        Some(ServerFrame { opcode: PONG, payload: b"in pieces".to_vec() })
    );
}

#[test]
fn ignores_an_unsolicited_pong() {
    let server = Server::start(&[]);
    let mut one = server.raw_session();
    one.send(&[client_frame(0x8a, b""), client_frame(0x8a, &[b'p'; 125])].concat());
    one.expect_no_message();
}

#[test]
fn reads_frames_in_the_same_segment_as_the_handshake() {
    let server = Server::start(&[]);
    let mut raw = server.raw_connection();
    let frames = [text_frame(br#"{"type":"ping","payload":1}"#), ping_frame(b"2")].concat();
    raw.send(&[upgrade_request(), frames].concat());
    raw.expect_upgrade();
    assert_eq!(raw.expect_message("pong"), 1);
    assert_eq!(raw.read_frame(), Some(ServerFrame { opcode: PONG, payload: b"2".to_vec() }));
    // A Close frame too: the session ends with the segment that opened it.
    let mut raw = server.raw_connection();
    raw.send(&[upgrade_request(), close_frame(1000)].concat());
    raw.expect_upgrade();
    raw.expect_close(1000);
}

#[test]
fn drains_input_after_its_close_frame_so_that_the_frame_arrives() {
    let server = Server::start(&[]);
    let (mut one, mut other, _) = server.matched_raw_pair();
    // Most of it is unread when the server sends its Close frame. Closing the socket then would
    // send a reset, which would destroy the frame.
    let mut bytes = client_frame(0x83, b"bad");
    bytes.extend(vec![0x55; 900_000]);
    one.send(&bytes);
    assert_eq!(one.read_frame().map(|frame| frame.opcode), Some(CLOSE));
    let (rest, end) = one.read_to_end();
    assert_eq!((rest.len(), end), (0, ConnectionEnd::Closed));
    other.expect_message("peer_left");
}

#[test]
fn closes_the_socket_after_one_mebibyte_behind_its_close_frame() {
    let server = Server::start(&["--close-timeout", "1h"]);
    let mut one = server.raw_session();
    one.send(&client_frame(0x83, b"bad"));
    assert_eq!(one.receive(), Received::Close(Some(1002)));
    let chunk = vec![0x55; 64 * 1024];
    let mut sent = 0;
    while one.try_send(&chunk).is_ok() {
        sent += chunk.len();
        assert!(sent < 64 << 20, "the server reads without a bound");
    }
    server.wait_for_stat("/connections/closed/protocol_error", 1);
}

#[test]
fn reads_what_follows_urgent_data() {
    let server = Server::start(&[]);
    let mut one = server.raw_session();
    let ping = text_frame(br#"{"type":"ping"}"#);
    for cut in [0, 1, 7, ping.len()] {
        // All of it has arrived before the first read, so that no later segment causes another.
        let suspended = SuspendedThread::new(&server, "shard-0");
        one.send(&ping[..cut]);
        // A read stops at the urgent mark although more data follows (tcp(7)).
        assert_eq!(socket2::SockRef::from(one.stream()).send_out_of_band(b"!").unwrap(), 1);
        one.send(&ping[cut..]);
        drop(suspended);
        one.expect_message("pong");
    }
    one.expect_no_message();
}

#[test]
fn negotiates_neither_extension_nor_subprotocol() {
    let server = Server::start(&[]);
    let mut raw = server.raw_connection();
    let offers = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
                  Sec-WebSocket-Protocol: chat, superchat\r\n\r\n";
    let request = String::from_utf8(upgrade_request()).unwrap();
    raw.send(request.trim_end().as_bytes());
    raw.send(format!("\r\n{offers}").as_bytes());
    // This checks that the response accepts neither.
    raw.expect_upgrade();
    drop(server.client());
}
