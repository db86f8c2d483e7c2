//! What a connection may send within a second: messages, and apart from them state changes.

use crate::support::{
    ProtocolClient, RawClient, Server, client_frame, ping_frame, stat_number, text_frame,
    wait_until,
};

fn start_limited() -> Server {
    Server::start(&["--max-messages-per-second", "1"])
}

/// Sends a message again and again, until a payload of `pong` shows that it is accepted.
fn ping_until_accepted(client: &mut RawClient) {
    wait_until("messages are accepted again", || {
        client.send_text(r#"{"type":"ping","payload":"again"}"#);
        // At most one error a second is sent, so there may be no answer to the message.
        client.send(&ping_frame(b"p"));
        match client.read_frame().unwrap() {
            frame if frame.payload == b"p" => Err("dropped without an error".to_owned()),
            frame => {
                let text = String::from_utf8(frame.payload).unwrap();
                assert_eq!(client.read_frame().unwrap().payload, b"p");
                if text.contains("again") { Ok(()) } else { Err(text) }
            }
        }
    });
}

#[test]
fn relays_no_more_than_a_burst_and_the_rate() {
    let server = start_limited();
    let (mut one, mut other, _) = server.matched_raw_pair();
    one.send(&text_frame(br#"{"type":"signal"}"#).repeat(200));
    one.expect_refused("signal", "rate_limited");
    let relayed = stat_number(&server.stats(), "/messages/relayed");
    // One more for each second in which the two hundred are read.
    assert!((40..100).contains(&relayed), "{relayed}");
    for _ in 0..relayed {
        assert_eq!(other.receive_text(), r#"{"type":"signal"}"#);
    }
}

#[test]
fn drops_messages_above_the_rate_and_reports_it_once_a_second() {
    let server = start_limited();
    let (mut one, mut other, room) = server.matched_raw_pair();
    let mut fresh = server.raw_session();
    let mut bytes = Vec::new();
    for nth in 0..60 {
        bytes.extend(text_frame(format!(r#"{{"type":"ping","payload":{nth}}}"#).as_bytes()));
    }
    // Control frames do not count as messages.
    bytes.extend(ping_frame(b"").repeat(100));
    fresh.send(&bytes);
    for nth in 0..40 {
        assert_eq!(fresh.expect_message("pong"), nth);
    }
    fresh.expect_refused("ping", "rate_limited");
    let stats = server.stats();
    assert_eq!(stat_number(&stats, "/messages/dropped"), 20);
    assert_eq!(stat_number(&stats, "/messages/errors/rate_limited"), 1);
    // Binary and invalid messages count too, and a dropped message has no effect at all.
    let mut flood = client_frame(0x82, b"x").repeat(100);
    flood.extend(text_frame(b"nonsense").repeat(100));
    flood.extend(text_frame(br#"{"type":"signal","payload":"dropped"}"#));
    one.send(&flood);
    for _ in 0..40 {
        one.expect_error("bad_message");
    }
    one.expect_error("rate_limited");
    ping_until_accepted(&mut one);
    one.send_text(r#"{"type":"leave_room"}"#);
    other.expect_peer_left(&room, "left");
}

/// What a browser sends in the second in which its user meets a partner and asks for the next one.
#[test]
fn an_offer_with_its_candidates_loses_no_find_match() {
    let server = Server::start(&["--max-messages-per-second", "10"]);
    let (mut one, mut other, room) = server.matched_raw_pair();
    let mut bytes = text_frame(br#"{"type":"offer","payload":{}}"#);
    bytes.extend(text_frame(br#"{"type":"ice_candidate","payload":{}}"#).repeat(15));
    bytes.extend(text_frame(br#"{"type":"find_match"}"#));
    one.send(&bytes);
    one.expect_message("waiting");
    assert!(other.receive_text().contains("offer"));
    for _ in 0..15 {
        assert!(other.receive_text().contains("ice_candidate"));
    }
    other.expect_peer_left(&room, "next");
}

#[test]
fn messages_do_not_consume_the_rate_of_state_changes() {
    let server = start_limited();
    let (mut one, mut other, room) = server.matched_raw_pair();
    let mut bytes = text_frame(br#"{"type":"ping"}"#).repeat(200);
    bytes.extend(text_frame(br#"{"type":"find_match"}"#));
    one.send(&bytes);
    (0..40).for_each(|_| assert_eq!(one.receive_text(), r#"{"type":"pong"}"#));
    one.expect_refused("ping", "rate_limited");
    wait_until("the find_match is answered", || match one.receive_text() {
        text if text.contains("waiting") => Ok(()),
        text => Err(text),
    });
    other.expect_peer_left(&room, "next");
}

#[test]
fn answers_every_state_change_above_the_rate() {
    let server = start_limited();
    let mut client = server.raw_session();
    let changes = [r#"{"type":"find_match"}"#, r#"{"type":"cancel_match"}"#];
    let both = changes.map(|text| text_frame(text.as_bytes())).concat();
    client.send(&both.repeat(20));
    for _ in 0..20 {
        client.expect_message("waiting");
        client.expect_message("match_cancelled");
    }
    let before = stat_number(&server.stats(), "/messages/dropped");
    client.send(&text_frame(br#"{"type":"leave_room"}"#).repeat(30));
    let mut refused = 0;
    for _ in 0..30 {
        let payload = client.expect_message("error");
        assert_eq!(payload["refused"], "leave_room");
        refused += i64::from(payload["code"] == "rate_limited");
    }
    assert!(refused >= 10, "{refused} of 30");
    assert_eq!(stat_number(&server.stats(), "/messages/dropped"), before + refused);
    // Other messages are still accepted.
    client.send_text(r#"{"type":"ping"}"#);
    client.expect_message("pong");
}
