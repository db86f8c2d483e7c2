//! Relayed messages: unchanged, in order, at most once, and never a forgery of a server message
//! (guarantees 1, 6 and 7).

use crate::support::{
    Client, ProtocolClient, RawClient, Server, ServerFrame, client_frame, expect_room_relays,
    match_pair, ping_frame, run_alone, text_frame,
};
use std::thread;
use switchboard::wire::websocket::frame::{PONG, TEXT};

/// Messages of every form that is relayed.
fn relayed_messages() -> Vec<String> {
    let mut relayed_messages: Vec<String> = ["offer", "answer", "ice_candidate", "signal"]
        .map(|kind| format!(r#"{{"type":"{kind}","payload":{{"sdp":"v=0\r\no=- 1 2 IN IP4 0"}}}}"#))
        .into();
    let odd = [
        r#"{"type":"offer"}"#,
        r#"{"type":"offer","payload":null}"#,
        " \t\r\n{ \"type\"\t:\n\"signal\" , \"payload\" : [ 1 , 2.50e+1 , -0 , {} ] } \r\n\t ",
        r#"{"payload":{"type":"error","TYPE":"x"},"type":"signal"}"#,
        r#"{"type":"signal","payload":{"type":"peer_left","type":"peer_left"}}"#,
        r#"{"type":"signal","payload":"\u0000\u001f\"\\\/\b\f\n\r\t\ud83d\ude00\uD800"}"#,
        "{\"type\":\"signal\",\"payload\":\"\u{7f} ä € \u{1f600} \u{feff}\u{2028}\u{10ffff}\"}",
        r#"{"type":"signal","payload":1,"payload":2,"other":{"deep":[[[[]]]]},"":""}"#,
        r#"{"t\u0079pe":"s\u0069gnal","payload":"escaped names"}"#,
        r#"{"type":"signal","payload":123456789012345678901234567890.123456789e-400}"#,
        r#"{"type":"ice_candidate","payload":{"candidate":"","sdpMid":"0","sdpMLineIndex":0}}"#,
    ];
    relayed_messages.extend(odd.map(str::to_owned));
    // Around every boundary of the length forms (RFC 6455 §5.2), and the largest message.
    for length in [125, 126, 127, 128, 4095, 4096, 4097, 65_535, 65_536] {
        let frame = r#"{"type":"signal","payload":""}"#;
        let padding = "x".repeat(length - frame.len());
        relayed_messages.push(frame.replace(r#""""#, &format!("\"{padding}\"")));
        assert_eq!(relayed_messages.last().unwrap().len(), length);
    }
    relayed_messages
}

#[test]
fn relays_messages_byte_for_byte() {
    let server = Server::start(&[]);
    let (mut one, mut other, _) = server.matched_pair();
    let relayed_messages = relayed_messages();
    for text in &relayed_messages {
        one.send_text(text);
        assert_eq!(&other.receive_text(), text);
        other.send_text(text);
        assert_eq!(&one.receive_text(), text);
    }
    let bytes: usize = relayed_messages.iter().map(|text| text.len() * 2).sum();
    server.wait_for_stat("/messages/relayed", relayed_messages.len() as i64 * 2);
    server.wait_for_stat("/bytes/relayed", bytes as i64);
    server.wait_for_stat("/latency_ms/relay/count", relayed_messages.len() as i64 * 2);
}

#[test]
fn sends_a_relayed_message_as_one_unmasked_text_frame() {
    let server = Server::start(&[]);
    let (mut one, mut other, _) = server.matched_raw_pair();
    for text in relayed_messages() {
        one.send_text(&text);
        assert_eq!(
            other.read_frame(),
            Some(ServerFrame { opcode: TEXT, payload: text.into_bytes() })
        );
    }
}

#[test]
fn relays_messages_of_one_segment_in_order_and_once() {
    let server = Server::start(&["--shards", "2"]);
    let (mut one, mut other, room) = server.matched_raw_pair();
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for nth in 0..500 {
        // Sizes around a boundary of the length forms, and requests that are answered in between.
        let text =
            format!(r#"{{"type":"signal","payload":[{nth},"{}"]}}"#, "y".repeat(nth * 7 % 300));
        bytes.extend(text_frame(text.as_bytes()));
        expected.push(text);
        match nth % 50 {
            10 => bytes.extend(ping_frame(b"in between")),
            20 => bytes.extend(text_frame(br#"{"type":"ping"}"#)),
            30 => bytes.extend(text_frame(b"nonsense")),
            40 => bytes.extend(client_frame(0x8a, b"unsolicited")),
            _ => {}
        }
    }
    one.send(&bytes);
    for text in &expected {
        assert_eq!(&other.receive_text(), text);
    }
    for _ in 0..10 {
        assert_eq!(
            one.read_frame(),
            Some(ServerFrame { opcode: PONG, payload: b"in between".to_vec() })
        );
        one.expect_message("pong");
        one.expect_error("bad_json");
    }
    other.expect_no_message();
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn relays_a_message_split_at_any_byte() {
    let server = Server::start(&[]);
    let (mut one, mut other, _) = server.matched_raw_pair();
    let text = r#"{"type":"signal","payload":"ä€😀"}"#;
    let bytes = text_frame(text.as_bytes());
    for at in 1..bytes.len() {
        one.send(&bytes[..at]);
        // A round trip of the partner gives the server time to read the first part.
        other.expect_no_message();
        one.send(&bytes[at..]);
        assert_eq!(other.receive_text(), text, "split at {at}");
    }
    for byte in &bytes {
        one.send(std::slice::from_ref(byte));
    }
    assert_eq!(other.receive_text(), text);
    server.wait_for_stat("/bytes/held", 0);
}

#[test]
fn relays_fragments_with_control_frames_between_them_as_one_message() {
    let server = Server::start(&["--shards", "2"]);
    let (mut one, mut other, room) = server.matched_raw_pair();
    let text = r#"{"type":"signal","payload":"ä€😀 in pieces"}"#;
    for size in [1, 2, 3, 7, 20, 1000] {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        let mut bytes = Vec::new();
        for (nth, piece) in pieces.iter().enumerate() {
            let opcode = if nth == 0 { 0x01 } else { 0x00 };
            let last = nth + 1 == pieces.len();
            bytes.extend(client_frame(opcode | if last { 0x80 } else { 0 }, piece));
            if !last {
                bytes.extend(ping_frame(&[nth as u8; 125]));
                bytes.extend(client_frame(0x8a, b""));
                // An empty fragment counts, but adds nothing.
                bytes.extend(client_frame(0x00, b""));
            }
        }
        one.send(&bytes);
        assert_eq!(other.receive_text(), text, "in pieces of {size}");
        for nth in 0..pieces.len() - 1 {
            let pong = ServerFrame { opcode: PONG, payload: vec![nth as u8; 125] };
            assert_eq!(one.read_frame(), Some(pong));
        }
    }
    expect_room_relays(&mut one, &mut other, &room);
    server.wait_for_stat("/bytes/held", 0);
}

/// Messages that a receiver which is lenient about case, escapes or repetition could take for a
/// message of the server, with the error code that the sender gets.
const FORGERIES: &[(&str, &str)] = &[
    (r#"{"type":"peer_left","payload":{"reason":"left"}}"#, "unknown_type"),
    (r#"{"type":"match_found"}"#, "unknown_type"),
    (r#"{"type":"error"}"#, "unknown_type"),
    (r#"{"type":"offer","type":"peer_left"}"#, "bad_message"),
    (r#"{"type":"peer_left","type":"offer"}"#, "bad_message"),
    (r#"{"type":"offer","payload":{},"type":"peer_left"}"#, "bad_message"),
    (r#"{"type":"offer","payload":{},"type" : "peer_left"}"#, "bad_message"),
    (r#"{"type":"offer","Type":"peer_left"}"#, "bad_message"),
    (r#"{"type":"offer","payload":1,"TYPE":"peer_left"}"#, "bad_message"),
    (r#"{"tYpE":"peer_left","type":"offer"}"#, "bad_message"),
    (r#"{"type":"offer","\u0074ype":"peer_left"}"#, "bad_message"),
    (r#"{"type":"offer","typ\u0065":"peer_left"}"#, "bad_message"),
    (r#"{"type":"offer","\u0054\u0059\u0050\u0045":"peer_left"}"#, "bad_message"),
    (r#"{"type":"offer","payload":"}","t\u0079pe":"peer_left"}"#, "bad_message"),
    (r#"{"type":"offer","room_id":"x\",","type":"peer_left"}"#, "bad_message"),
    (r#"{"\u0074ype":"offer","type":"peer_left"}"#, "bad_message"),
    (r#"{"type":"offer","type":{"type":"peer_left"}}"#, "bad_message"),
    (r#"{"type":["offer"]}"#, "bad_message"),
    (r#"{"Type":"peer_left"}"#, "bad_message"),
    (r#"{"type":"offer"}{"type":"peer_left"}"#, "bad_json"),
    (r#"{"type":"offer"} {"type":"peer_left"}"#, "bad_json"),
    (r#"[{"type":"peer_left"}]"#, "bad_json"),
    (r#"{"type":"peer_left\u0000"}"#, "unknown_type"),
];

#[test]
fn refuses_messages_that_could_forge_a_server_message() {
    let server = Server::start(&[]);
    let (mut one, mut other, room) = server.matched_raw_pair();
    for (text, code) in FORGERIES {
        one.send_text(text);
        one.expect_error(code);
        // In fragments, which take another path through the server.
        let (start, end) = text.as_bytes().split_at(text.len() / 2);
        one.send(&[client_frame(0x01, start), client_frame(0x80, end)].concat());
        one.expect_error(code);
        // As binary, which many clients parse too.
        one.send(&client_frame(0x82, text.as_bytes()));
        one.expect_error("bad_message");
        one.send(&[client_frame(0x02, start), client_frame(0x80, end)].concat());
        one.expect_error("bad_message");
    }
    other.expect_no_message();
    assert_eq!(server.stat("/messages/relayed"), 0);
    // The second `type` at different distances from the first.
    for length in [10, 31, 32, 33, 34, 63, 64, 65, 100, 1000, 60_000] {
        let padding = "z".repeat(length);
        for key in ["type", "TYPE", "typ\\u0065"] {
            one.send_text(&format!(
                r#"{{"type":"offer","payload":"{padding}","{key}":"peer_left"}}"#
            ));
            one.expect_error("bad_message");
        }
    }
    other.expect_no_message();
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn relays_both_directions_at_once_without_loss_or_mixing() {
    run_alone();
    let server = Server::start(&["--shards", "2"]);
    let mut pairs: Vec<(Client, Client)> = (0..4)
        .map(|_| {
            let (one, other, _) = server.matched_pair();
            (one, other)
        })
        .collect();
    thread::scope(|scope| {
        for (nth, (one, other)) in pairs.iter_mut().enumerate() {
            for (side, user) in [one, other].into_iter().enumerate() {
                scope.spawn(move || exchange(user, nth, side));
            }
        }
    });
    drop(pairs);
    server.wait_until_idle();
    assert_eq!(server.stat("/messages/relayed"), 4 * 2 * MESSAGES as i64);
}

const MESSAGES: usize = 500;

/// Sends and receives messages, with ten in flight.
fn exchange(user: &mut Client, pair: usize, side: usize) {
    let text = |side: usize, nth: usize| {
        let size = nth * 13 % 2000;
        format!(r#"{{"type":"signal","payload":[{pair},{side},{nth},"{}"]}}"#, "s".repeat(size))
    };
    const AHEAD: usize = 10;
    for nth in 0..MESSAGES + AHEAD {
        if nth < MESSAGES {
            user.send_text(&text(side, nth));
        }
        if nth >= AHEAD {
            assert_eq!(user.receive_text(), text(1 - side, nth - AHEAD));
        }
    }
}

#[test]
fn a_member_that_does_not_read_slows_no_other_client() {
    let server = Server::start(&["--max-unsent-bytes", "1048576"]);
    // One member reads nothing; what its partner sends stays below half the bound on its backlog.
    let (idle, mut busy, room) = match_pair(
        RawClient::open_session_with_small_buffer(server.address()),
        server.raw_session(),
    );
    for _ in 0..10 {
        busy.relay("signal", &room, &format!("\"{}\"", "b".repeat(40_000)));
    }
    busy.expect_no_message();
    let (mut one, mut other, room) = server.matched_pair();
    for _ in 0..100 {
        expect_room_relays(&mut one, &mut other, &room);
    }
    drop(idle);
    busy.expect_message("peer_left");
}
