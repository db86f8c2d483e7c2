//! Limits on what one connection may send and leave unread: message bytes, fragments, messages per
//! second, unsent bytes, head bytes and fields. Each has a defined outcome and a counter, and memory
//! grows with the bytes received, not with those announced.

use crate::support::{
    ConnectionEnd, MatchFound, ProtocolClient, RawClient, Received, Server, client_frame,
    close_frame, expect_room_relays, match_pair, ping_frame, stat_number, text_frame, wait_until,
};
use serde_json::json;
use std::time::Duration;
use switchboard::limits::{HEAD_FIELDS, MESSAGE_FRAGMENTS};

/// A `signal` of this many bytes.
fn signal(bytes: usize) -> String {
    let frame = r#"{"type":"signal","payload":""}"#;
    format!(r#"{{"type":"signal","payload":"{}"}}"#, "m".repeat(bytes - frame.len()))
}

/// A frame header that announces `bytes` of payload, with a mask.
fn header_announcing(first: u8, bytes: u64) -> Vec<u8> {
    [&[first, 0xff][..], &bytes.to_be_bytes(), &[0; 4]].concat()
}

#[test]
fn closes_with_1009_above_the_message_size_limit() {
    let server = Server::start(&["--max-message-bytes", "2000"]);
    let endings: [(&str, Vec<u8>); 6] = [
        ("one byte too many", text_frame(signal(2001).as_bytes())),
        ("as binary", client_frame(0x82, &[0; 2001])),
        (
            "in two fragments",
            [client_frame(0x01, &[b'a'; 1000]), client_frame(0x80, &[b'a'; 1001])].concat(),
        ),
        ("in many fragments", {
            let rest = client_frame(0x00, &[b'a'; 100]).repeat(20);
            [client_frame(0x01, b"a"), rest].concat()
        }),
        // The header is enough, without a byte of payload.
        ("4 GiB announced", header_announcing(0x81, 1 << 32)),
        ("the largest length announced", header_announcing(0x01, i64::MAX as u64)),
    ];
    for (nth, (name, bytes)) in endings.into_iter().enumerate() {
        let (mut one, mut other, room) = server.matched_raw_pair();
        one.send_text(&signal(2000));
        assert_eq!(other.receive_text().len(), 2000);
        one.send(&bytes);
        one.expect_close(1009);
        other.expect_peer_left(&room, "disconnected");
        drop(one);
        server.wait_for_stat("/connections/closed/message_too_large", nth as i64 + 1);
        assert_eq!(server.stat("/bytes/held"), 0, "{name}");
    }
}

#[test]
fn the_default_message_size_limit_is_exactly_64_kib() {
    let server = Server::start(&[]);
    let (mut one, mut other, _) = server.matched_raw_pair();
    one.send_text(&signal(65_536));
    assert_eq!(other.receive_text().len(), 65_536);
    one.send(&text_frame(signal(65_537).as_bytes()));
    one.expect_close(1009);
}

#[test]
fn closes_with_1008_above_1024_fragments_empty_ones_included() {
    let server = Server::start(&[]);
    let (mut one, mut other, room) = server.matched_raw_pair();
    let text = r#"{"type":"signal","payload":"many pieces"}"#;
    let (start, end) = text.split_at(10);
    let pieces = |count: u32| {
        let empty = client_frame(0x00, b"").repeat(count as usize - 2);
        [client_frame(0x01, start.as_bytes()), empty, client_frame(0x80, end.as_bytes())].concat()
    };
    for _ in 0..2 {
        one.send(&pieces(MESSAGE_FRAGMENTS));
        assert_eq!(other.receive_text(), text);
    }
    one.send(&pieces(MESSAGE_FRAGMENTS + 1));
    one.expect_close(1008);
    other.expect_peer_left(&room, "disconnected");
    drop(one);
    server.wait_for_stat("/connections/closed/too_many_fragments", 1);
}

#[test]
fn holds_memory_for_the_bytes_received_not_for_those_announced() {
    let server =
        Server::start(&["--max-message-bytes", "16777216", "--max-unsent-bytes", "20000000"]);
    let begun: Vec<RawClient> = (0..50)
        .map(|_| {
            let mut raw = server.raw_session();
            // One write: a payload that grows in a second read moves to pages of its own.
            raw.send(&[&header_announcing(0x81, 16 << 20)[..], &[b' '; 5000]].concat());
            raw
        })
        .collect();
    // 1.2 times the payload, and a constant for each assembly.
    let held = wait_until("all received bytes are held", || match server.stat("/bytes/held") {
        held if held >= 50 * 5000 => Ok(held),
        held => Err(format!("{held}")),
    });
    assert!(held <= 50 * (5000 * 12 / 10 + 512), "{held}");
    assert!(server.resident_bytes() < 100 << 20, "{} resident", server.resident_bytes());
    drop(begun);
    server.wait_until_idle();
}

#[test]
fn held_fragments_take_at_most_1_2_times_their_payload() {
    let server = Server::start(&[]);
    let mut one = server.raw_session();
    one.send(&client_frame(0x01, b" "));
    for _ in 0..1000 {
        one.send(&client_frame(0x00, &[b' '; 60]));
    }
    let payload = 1 + 1000 * 60;
    let held = wait_until("all fragments are held", || match server.stat("/bytes/held") {
        held if held >= payload => Ok(held),
        held => Err(format!("{held}")),
    });
    assert!(held * 10 <= payload * 12, "{held} for {payload}");
}

/// A user whose receive buffer is small, in a room with a user that has a usual one.
fn slow_and_busy(server: &Server) -> (RawClient, RawClient, MatchFound) {
    let slow = RawClient::open_session_with_small_buffer(server.address());
    let id = slow.id().to_owned();
    let (one, other, room) = match_pair(slow, server.raw_session());
    let (slow, busy) = if one.id() == id { (one, other) } else { (other, one) };
    (slow, busy, room)
}

#[test]
fn refuses_messages_for_a_slow_reader_with_peer_busy_and_closes_neither() {
    for shards in ["1", "2"] {
        let limit = 100_000;
        let flags = ["--max-unsent-bytes", "100000", "--socket-send-buffer", "8192"];
        let server = Server::start(&[&flags[..], &["--shards", shards]].concat());
        let (mut slow, mut busy, room) = slow_and_busy(&server);
        // Whatever the size of a read, each refused message is answered with its type.
        let (mut sent, mut refused, mut most_unsent) = (0, 0, 0);
        for (count, bytes) in [(4, 5000), (3, 40_000), (1, 65_000), (200, 500), (12, 65_000)] {
            let message = signal(bytes);
            busy.send(&text_frame(message.as_bytes()).repeat(count));
            busy.send_text(r#"{"type":"ping"}"#);
            sent += count;
            loop {
                let text = busy.receive_text();
                if text == r#"{"type":"pong"}"# {
                    break;
                }
                let payload = &serde_json::from_str::<serde_json::Value>(&text).unwrap()["payload"];
                assert_eq!(
                    (&payload["code"], &payload["refused"]),
                    (&json!("peer_busy"), &json!("signal"))
                );
                refused += 1;
            }
            most_unsent = most_unsent.max(server.stat("/bytes/unsent"));
        }
        assert!(refused > 12 && refused < sent, "{refused} of {sent}");
        assert!(most_unsent > limit / 2 && most_unsent <= limit, "{most_unsent} of {limit}");
        let stats = server.stats();
        assert_eq!(stat_number(&stats, "/messages/errors/peer_busy"), refused as i64);
        assert_eq!(stat_number(&stats, "/messages/relayed"), (sent - refused) as i64);
        assert_eq!(stat_number(&stats, "/rooms/active"), 1);
        // The slow reader receives every message that was not refused, and then talks on.
        for _ in 0..sent - refused {
            assert!(slow.receive_text().starts_with(r#"{"type":"signal","payload":"mm"#));
        }
        expect_room_relays(&mut slow, &mut busy, &room);
        assert_eq!(server.stat("/connections/closed/slow_consumer"), 0);
    }
}

#[test]
fn closes_a_client_that_takes_nothing_of_half_a_backlog_with_1013() {
    let flags = ["--max-unsent-bytes", "100000", "--socket-send-buffer", "8192"];
    let times = ["--silence-limit", "2s", "--ping-interval", "1900ms"];
    let server = Server::start(&[&flags[..], &times].concat());
    let (mut slow, mut busy, room) = slow_and_busy(&server);
    busy.send(&text_frame(signal(40_000).as_bytes()).repeat(6));
    // It sends, so it is not silent, but it takes nothing.
    wait_until("the client that reads nothing is closed", || {
        let _closed = slow.try_send(&ping_frame(b""));
        // The kernel may take a little more, and then another message is admitted.
        busy.send_text(&signal(10_000));
        match server.stat("/rooms/active") {
            0 => Ok(()),
            rooms => Err(format!("{rooms} rooms")),
        }
    });
    let mut texts = Vec::new();
    loop {
        match busy.receive_text() {
            text if text.contains("peer_busy") => texts.push(text),
            text if text.contains("not_in_room") => {}
            text => {
                let left: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(
                    left["payload"],
                    json!({"room_id": room.room_id, "reason": "disconnected"})
                );
                break;
            }
        }
    }
    assert!(!texts.is_empty());
    let mut received = 0;
    let close = loop {
        match slow.receive() {
            Received::Text(_) => received += 1,
            other => break other,
        }
    };
    assert_eq!((close, slow.receive()), (Received::Close(Some(1013)), Received::End));
    assert!(received > 0, "messages that were begun are completed");
    drop(slow);
    server.wait_for_stat("/connections/closed/slow_consumer", 1);
}

#[test]
fn closes_with_1013_when_unread_answers_overfill_the_backlog() {
    let flags = ["--max-unsent-bytes", "100000", "--socket-send-buffer", "8192"];
    let server = Server::start(&flags);
    let mut one = RawClient::open_session_with_small_buffer(server.address());
    let mut bytes = text_frame(br#"{"type":"ping","payload":"answers are unsent bytes"}"#);
    bytes = bytes.repeat(100);
    let mut sent = 0;
    while one.try_send(&bytes).is_ok() {
        sent += bytes.len();
        if server.stat("/sessions/active") == 0 {
            break;
        }
        assert!(sent < 64 << 20, "the server answers without a bound");
    }
    let mut last = Received::End;
    loop {
        match one.receive() {
            Received::Text(_) => {}
            Received::Close(code) => last = Received::Close(code),
            Received::End => break,
        }
    }
    assert_eq!(last, Received::Close(Some(1013)));
    drop(one);
    server.wait_for_stat("/connections/closed/slow_consumer", 1);
    server.wait_until_idle();
}

#[test]
fn sends_whole_frames_and_1013_when_a_close_follows_too_many_requests() {
    let flags = ["--max-unsent-bytes", "100000", "--socket-send-buffer", "8192"];
    let server = Server::start(&flags);
    let mut one = RawClient::open_session_with_small_buffer(server.address());
    // One read brings all of it, and the answers are several times the bound.
    one.send(&[text_frame(b"{}").repeat(3000), close_frame(1000)].concat());
    let mut answers = 0;
    let close = loop {
        match one.receive() {
            Received::Text(text) => assert!(text.contains("bad_message"), "{text}"),
            other => break other,
        }
        answers += 1;
    };
    assert_eq!((close, one.receive()), (Received::Close(Some(1013)), Received::End));
    assert!(answers < 3000, "the answers are bounded");
    drop(one);
    server.wait_for_stat("/connections/closed/slow_consumer", 1);
    server.wait_until_idle();
}

#[test]
fn refuses_a_head_above_the_size_limit_with_431() {
    let server = Server::start(&["--max-head-bytes", "2000"]);
    // A request whose head has exactly this many bytes.
    let request = |bytes: usize| {
        let start = "GET /health HTTP/1.1\r\nHost: t\r\nX-Padding: ";
        format!("{start}{}\r\n\r\n", "f".repeat(bytes - start.len() - 4))
    };
    let mut raw = server.raw_connection();
    assert_eq!(raw.request(&request(2000)).status, 200);
    assert_eq!(raw.request(&request(2001)).status, 431);
    raw.expect_end();
    // A head is refused as soon as it exceeds the limit, not when it is complete.
    let mut raw = server.raw_connection();
    raw.send(&request(2004).as_bytes()[..2000]);
    let response = raw.read_response();
    assert_eq!(response.status, 431);
    assert!(response.has_connection_option("close"));
    assert_eq!(raw.read_to_end(), (Vec::new(), ConnectionEnd::Closed));
    assert_eq!(server.stat("/http/rejected/head_too_large"), 2);
}

#[test]
fn refuses_a_target_that_is_longer_than_a_head_may_be_with_414() {
    let server = Server::start(&["--max-head-bytes", "2000"]);
    // Complete or not, with a method that is supported or not: nothing behind the limit is read.
    let target = format!("/{}", "p".repeat(2000));
    for request in [
        format!("GET {target}"),
        format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n"),
        format!("POST {target} HTTP/1.1\r\nHost: t\r\n\r\n"),
    ] {
        let mut raw = server.raw_connection();
        raw.send(request.as_bytes());
        let response = raw.read_response();
        assert_eq!(response.status, 414, "{}", &request[..20]);
        assert!(response.has_connection_option("close"));
        assert_eq!(raw.read_to_end(), (Vec::new(), ConnectionEnd::Closed));
    }
    assert_eq!(server.stat("/http/rejected/target_too_long"), 3);
    // A target that ends within the limit is not what makes this head too long.
    let mut raw = server.raw_connection();
    let request = format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "p".repeat(1990));
    assert_eq!(raw.request(&request).status, 431);
    raw.expect_end();
}

#[test]
fn refuses_a_head_of_more_than_100_fields_with_431() {
    let server = Server::start(&[]);
    let request = |fields: usize| {
        let more: String = (1..fields).map(|nth| format!("X-{nth}: y\r\n")).collect();
        format!("GET /health HTTP/1.1\r\nHost: t\r\n{more}\r\n")
    };
    let mut raw = server.raw_connection();
    assert_eq!(raw.request(&request(HEAD_FIELDS)).status, 200);
    assert_eq!(raw.request(&request(HEAD_FIELDS + 1)).status, 431);
    raw.expect_end();
    assert_eq!(server.stat("/http/rejected/head_too_large"), 1);
}

#[test]
fn never_closes_a_client_that_reads_its_messages_as_a_slow_consumer() {
    let server = Server::start(&["--max-unsent-bytes", "70000", "--socket-send-buffer", "8192"]);
    let (mut one, mut other, room) = server.matched_raw_pair();
    let message = signal(60_000);
    for _ in 0..50 {
        one.send_text(&message);
        assert_eq!(other.receive_text().len(), message.len());
    }
    expect_room_relays(&mut one, &mut other, &room);
    assert!(!one.is_readable_within(Duration::from_millis(1)));
    assert_eq!(server.stat("/connections/closed/slow_consumer"), 0);
}
