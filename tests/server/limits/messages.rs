//! The bounds on what one connection may send and leave unread: message bytes, fragments,
//! messages per second, unsent bytes, head bytes and fields. Each has its named outcome and its
//! counter, and memory follows the bytes that came.

use crate::support::{
    ConnectionEnd, ProtocolClient, RawClient, Received, Server, client_frame, close_frame,
    expect_room_relays, text_frame,
};
use std::time::Duration;
use switchboard::limits::{HEAD_FIELDS, MESSAGE_FRAGMENTS};
use switchboard::wire::websocket::frame::TEXT;

/// A `signal` of this many bytes.
fn signal(bytes: usize) -> String {
    let frame = r#"{"type":"signal","payload":""}"#;
    format!(r#"{{"type":"signal","payload":"{}"}}"#, "m".repeat(bytes - frame.len()))
}

/// A frame header that announces this many payload bytes, and a mask.
fn announcing(first: u8, bytes: u64) -> Vec<u8> {
    [&[first, 0xff][..], &bytes.to_be_bytes(), &[0; 4]].concat()
}

#[test]
fn a_message_above_the_limit_ends_the_connection_with_1009() {
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
        // The announcement is enough.
        ("4 GiB announced", announcing(0x81, 1 << 32)),
        ("all there is announced", announcing(0x01, i64::MAX as u64)),
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
fn the_default_limit_is_64_kib_to_the_byte() {
    let server = Server::start(&[]);
    let (mut one, mut other, _) = server.matched_raw_pair();
    one.send_text(&signal(65_536));
    assert_eq!(other.receive_text().len(), 65_536);
    one.send(&text_frame(signal(65_537).as_bytes()));
    one.expect_close(1009);
}

#[test]
fn one_message_has_at_most_1024_fragments_empty_ones_counted() {
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
fn memory_follows_the_bytes_that_came_not_those_announced() {
    let server =
        Server::start(&["--max-message-bytes", "16777216", "--max-unsent-bytes", "20000000"]);
    let begun: Vec<RawClient> = (0..50)
        .map(|_| {
            let mut raw = server.raw_session();
            raw.send(&announcing(0x81, 16 << 20));
            raw.send(&[b' '; 5000]);
            raw
        })
        .collect();
    // 1.2 times the payload, beside what each assembly is itself.
    let held = crate::support::wait_until("everything that came is held", || {
        match server.stat("/bytes/held") {
            held if held >= 50 * 5000 => Ok(held),
            held => Err(format!("{held}")),
        }
    });
    assert!(held <= 50 * (5000 * 12 / 10 + 512), "{held}");
    assert!(server.resident_bytes() < 100 << 20, "{} resident", server.resident_bytes());
    drop(begun);
    server.wait_until_idle();
}

#[test]
fn held_fragments_cost_at_most_1_2_times_their_payload() {
    let server = Server::start(&[]);
    let mut one = server.raw_session();
    one.send(&client_frame(0x01, b" "));
    for _ in 0..1000 {
        one.send(&client_frame(0x00, &[b' '; 60]));
    }
    let payload = 1 + 1000 * 60;
    let held =
        crate::support::wait_until("all fragments are held", || match server.stat("/bytes/held") {
            held if held >= payload => Ok(held),
            held => Err(format!("{held}")),
        });
    assert!(held * 10 <= payload * 12, "{held} for {payload}");
}

#[test]
fn over_the_message_rate_nothing_is_relayed_either() {
    let server = Server::start(&["--max-messages-per-second", "10"]);
    let (mut one, mut other, _) = server.matched_raw_pair();
    one.send(&text_frame(br#"{"type":"signal"}"#).repeat(40));
    one.expect_error("rate_limited");
    let relayed = crate::support::stat_number(&server.stats(), "/messages/relayed");
    // The forty come within a second, or on both sides of the end of one.
    assert!((9..=20).contains(&relayed), "{relayed}");
    for _ in 0..relayed {
        assert_eq!(other.receive_text(), r#"{"type":"signal"}"#);
    }
}

#[test]
fn over_the_message_rate_messages_are_dropped_and_told_of_once_a_second() {
    let server = Server::start(&["--max-messages-per-second", "10"]);
    let (mut one, mut other, _) = server.matched_raw_pair();
    let mut fresh = server.raw_session();
    let mut bytes = Vec::new();
    for nth in 0..30 {
        bytes.extend(text_frame(format!(r#"{{"type":"ping","payload":{nth}}}"#).as_bytes()));
    }
    // Control frames are no messages.
    bytes.extend(crate::support::ping_frame(b"").repeat(100));
    fresh.send(&bytes);
    for nth in 0..10 {
        assert_eq!(fresh.expect_message("pong"), nth);
    }
    fresh.expect_error("rate_limited");
    let stats = server.stats();
    assert_eq!(crate::support::stat_number(&stats, "/messages/dropped"), 20);
    assert_eq!(crate::support::stat_number(&stats, "/messages/errors/rate_limited"), 1);
    // Binary messages and nonsense count too, and what is dropped is dropped whole.
    let mut flood = client_frame(0x82, b"x").repeat(40);
    flood.extend(text_frame(b"nonsense").repeat(40));
    flood.extend(text_frame(br#"{"type":"leave_room"}"#));
    one.send(&flood);
    for _ in 0..10 - 1 {
        one.expect_error("bad_message");
    }
    // find_match was the first message of this second, or the second has passed since.
    match one.receive_text() {
        text if text.contains("bad_message") => one.expect_error("rate_limited"),
        text => assert!(text.contains("rate_limited"), "{text}"),
    }
    // The room is as it was. When the second is over, messages pass again.
    let sent = crate::support::wait_until("messages pass again", || {
        let text = r#"{"type":"ping","payload":"again"}"#;
        one.send_text(text);
        // One error a second at most, so there may be no answer at all.
        one.send(&crate::support::ping_frame(b"p"));
        match one.read_frame().unwrap() {
            frame if frame.opcode == TEXT => {
                let text = String::from_utf8(frame.payload).unwrap();
                let _pong_frame = one.read_frame();
                if text.contains("pong") { Ok(text) } else { Err(text) }
            }
            _ => Err("dropped in silence".into()),
        }
    });
    assert!(sent.contains("again"));
    one.send_text(&signal(100));
    assert_eq!(other.receive_text().len(), 100);
}

#[test]
fn a_slow_consumer_is_closed_with_1013_and_its_partner_goes_on() {
    for shards in ["1", "2"] {
        let limit = 100_000;
        let flags = ["--max-unsent-bytes", "100000", "--socket-send-buffer", "8192"];
        let server = Server::start(&[&flags[..], &["--shards", shards]].concat());
        let slow = RawClient::open_session_with_small_buffer(server.address());
        let id = slow.id().to_owned();
        let (one, other, room) = crate::support::match_pair(slow, server.raw_session());
        let (mut slow, mut busy) = if one.id() == id { (one, other) } else { (other, one) };
        let before = server.resident_bytes();
        let message = signal(5000);
        let (mut sent, mut most_unsent) = (0, 0);
        while server.stat("/rooms/active") == 1 {
            for _ in 0..4 {
                busy.send_text(&message);
                sent += 1;
            }
            most_unsent = most_unsent.max(server.stat("/bytes/unsent"));
            assert!(sent < 10_000, "{sent} messages are kept");
        }
        assert!(most_unsent > 0 && most_unsent <= limit, "{most_unsent} of {limit}");
        assert!(server.resident_bytes() < before + (16 << 20), "memory is bounded");
        // What crossed the end of the room is refused.
        busy.expect_peer_left(&room, "disconnected");
        busy.send_text(r#"{"type":"ping"}"#);
        loop {
            let text = busy.receive_text();
            if text == r#"{"type":"pong"}"# {
                break;
            }
            assert!(text.contains("not_in_room"), "{text}");
        }
        let (mut busy, mut next, room) = crate::support::match_pair(busy, server.raw_session());
        expect_room_relays(&mut busy, &mut next, &room);
        // The slow one gets whole messages, and then is told why.
        let mut received = 0;
        let close = loop {
            match slow.receive() {
                Received::Text(text) => assert_eq!(text, message),
                other => break other,
            }
            received += 1;
        };
        assert_eq!((close, slow.receive()), (Received::Close(Some(1013)), Received::End));
        assert!(received > 0 && received < sent, "{received} of {sent}");
        drop(slow);
        server.wait_for_stat("/connections/closed/slow_consumer", 1);
        server.wait_for_stat("/bytes/unsent", 0);
    }
}

#[test]
fn answers_that_nobody_reads_are_bounded_too() {
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
        assert!(sent < 64 << 20, "it answers for ever");
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
fn a_close_behind_more_than_can_be_answered_ends_with_whole_frames_and_1013() {
    let flags = ["--max-unsent-bytes", "100000", "--socket-send-buffer", "8192"];
    let server = Server::start(&flags);
    let mut one = RawClient::open_session_with_small_buffer(server.address());
    // All of it comes with one read, and its answers are several times the bound.
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
    assert!(answers < 3000, "there was a bound");
    drop(one);
    server.wait_for_stat("/connections/closed/slow_consumer", 1);
    server.wait_until_idle();
}

#[test]
fn a_head_above_the_limit_of_bytes_is_431() {
    let server = Server::start(&["--max-head-bytes", "2000"]);
    // What precedes the filling, and follows it, are 46 bytes.
    let request = |bytes: usize| {
        let start = "GET /health HTTP/1.1\r\nHost: t\r\nX-Filling: ";
        format!("{start}{}\r\n\r\n", "f".repeat(bytes - start.len() - 4))
    };
    let mut raw = server.raw_connection();
    assert_eq!(raw.request(&request(2000)).status, 200);
    assert_eq!(raw.request(&request(2001)).status, 431);
    raw.expect_end();
    // It is refused as soon as it is known, not when the head is complete.
    for unfinished in [request(2004)[..2000].to_owned(), format!("GET /{}", "p".repeat(2000))] {
        let mut raw = server.raw_connection();
        raw.send(unfinished.as_bytes());
        let response = raw.read_response();
        assert_eq!(response.status, 431);
        assert!(response.has_connection_option("close"));
        assert_eq!(raw.read_to_end(), (Vec::new(), ConnectionEnd::Closed));
    }
    assert_eq!(server.stat("/http/rejected/head_too_large"), 3);
}

#[test]
fn a_head_of_more_than_100_fields_is_431() {
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
fn a_client_that_takes_its_answers_is_never_a_slow_consumer() {
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
