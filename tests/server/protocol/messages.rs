//! Every message and every error code of `src/wire/PROTOCOL.md`, under its exact condition.

use crate::support::{Client, ProtocolClient, Server, expect_room_relays};
use serde_json::{Value, json};
use tungstenite::Message;

#[test]
fn sends_session_first() {
    let server = Server::start(&[]);
    let one = server.client();
    assert_eq!(one.session()["ice_servers"], json!([]));
    assert_eq!(one.session()["resumed"], false);
    assert!(one.session().get("resume_token").is_none(), "sessions cannot be resumed yet");
    let other = server.client();
    assert_ne!(one.id(), other.id());
}

#[test]
fn opens_a_session_at_the_root_path_too() {
    let server = Server::start(&[]);
    let mut root = Client::connect_at(server.address(), "/");
    let mut ws = Client::connect_at(server.address(), "/ws?from=somewhere");
    root.join_queue("en");
    ws.join_queue("en");
    assert_eq!(root.expect_match().room_id, ws.expect_match().room_id);
}

#[test]
fn an_unknown_resume_token_opens_a_new_session() {
    let server = Server::start(&[]);
    let client = Client::connect_at(server.address(), "/ws?resume=AAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(client.session()["resumed"], false);
}

#[test]
fn find_match_without_a_queue_joins_the_default_queue() {
    let server = Server::start(&[]);
    let forms = [
        r#"{"type":"find_match"}"#,
        r#"{"type":"find_match","payload":null}"#,
        r#"{"type":"find_match","payload":{}}"#,
        r#"{"type":"find_match","payload":{"queue":null}}"#,
        r#"{"payload":{"language":"en"},"type":"find_match","room_id":7}"#,
        r#"{"type":"find_match","payload":{"queue":"default"}}"#,
        r#"{"type":"find_match","payload":{"queue":"\u0064efault"}}"#,
        " {\n\t\"type\" : \"find\\u005fmatch\" } ",
    ];
    let mut all: Vec<Client> = forms.iter().map(|_| server.client()).collect();
    for (client, form) in all.iter_mut().zip(forms) {
        client.send_text(form);
        assert_eq!(client.expect_message("waiting"), json!({"queue": "default"}), "{form}");
    }
    for client in &mut all {
        client.expect_match();
    }
}

#[test]
fn accepts_every_valid_queue_name() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let longest = "x".repeat(64);
    for name in ["a", "EN", "en_GB.x:1-2", "0", "-", ":", &longest] {
        client.join_queue(name);
    }
    client.expect_no_message();
}

#[test]
fn bad_queue_leaves_the_state_unchanged() {
    let server = Server::start(&[]);
    let too_long = "x".repeat(65);
    let bad = ["", "a b", "ä", "a/b", "a\\u0000", "\\ud800", "a\\n", "%41", &too_long];
    // Idle.
    let mut one = server.client();
    for name in bad {
        one.find_match(name);
        one.expect_error("bad_queue");
    }
    one.send_text(r#"{"type":"cancel_match"}"#);
    one.expect_error("not_waiting");
    // Waiting.
    one.join_queue("en");
    one.find_match("a b");
    one.expect_error("bad_queue");
    let mut other = server.client();
    other.join_queue("en");
    let room = one.expect_match();
    other.expect_match();
    // In a room.
    one.find_match("a b");
    one.expect_error("bad_queue");
    let sent = one.relay("signal", &room, "1");
    assert_eq!(other.receive_text(), sent);
}

#[test]
fn answers_bad_message_to_a_payload_of_the_wrong_shape() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for payload in ["[]", "\"en\"", "7", "true", r#"{"queue":7}"#, r#"{"queue":["en"]}"#] {
        client.send_text(&format!(r#"{{"type":"find_match","payload":{payload}}}"#));
        client.expect_error("bad_message");
    }
    client.send_text(r#"{"type":"cancel_match"}"#);
    client.expect_error("not_waiting");
}

#[test]
fn answers_bad_json_to_anything_but_a_strict_json_object() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let bad = [
        "",
        " ",
        "ping",
        "[]",
        "\"ping\"",
        "null",
        "7",
        "{}{}",
        r#"{"type":"ping"} x"#,
        r#"{"type":"ping""#,
        r#"{"type":"ping",}"#,
        r#"{'type':'ping'}"#,
        r#"{type:"ping"}"#,
        r#"{"type":"ping","payload":01}"#,
        r#"{"type":"ping","payload":NaN}"#,
        r#"{"type":"ping","payload":.5}"#,
        r#"{"type":"ping","payload":"\x41"}"#,
        "{\"type\":\"ping\",\"payload\":\"\u{1}\"}",
        "\u{feff}{\"type\":\"ping\"}",
        r#"/**/{"type":"ping"}"#,
        r#"{"type":"ping","payload":[1,2}"#,
    ];
    for text in bad {
        client.send_text(text);
        client.expect_error("bad_json");
    }
    client.expect_no_message();
    assert_eq!(server.stat("/messages/errors/bad_json"), bad.len() as i64);
}

#[test]
fn accepts_100_levels_of_json_and_refuses_more_than_128() {
    let server = Server::start(&[]);
    let (mut one, mut other, _) = server.matched_pair();
    // The outermost object is one level.
    let nested = |kind: &str, levels: usize| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        format!(r#"{{"type":"{kind}","payload":{open}{close}}}"#)
    };
    let within = nested("signal", 100);
    one.send_text(&within);
    assert_eq!(other.receive_text(), within);
    one.send_text(&nested("ping", 100));
    one.expect_message("pong");
    for kind in ["signal", "ping", "find_match", "nonsense"] {
        for levels in [129, 130, 1000, 20_000] {
            one.send_text(&nested(kind, levels));
            one.expect_error("bad_json");
        }
    }
    // Brackets within strings do not count as levels.
    let text = format!(r#"{{"type":"signal","payload":"{}"}}"#, "[{".repeat(300));
    one.send_text(&text);
    assert_eq!(other.receive_text(), text);
    other.expect_no_message();
}

#[test]
fn answers_bad_message_without_exactly_one_type() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let bad = [
        "{}",
        r#"{"payload":1}"#,
        r#"{"type":null}"#,
        r#"{"type":7}"#,
        r#"{"type":["ping"]}"#,
        r#"{"type":{"type":"ping"}}"#,
        r#"{"Type":"ping"}"#,
        r#"{"type":"ping","type":"ping"}"#,
        r#"{"type":"ping","TYPE":"ping"}"#,
        r#"{"tYpe":"x","type":"ping"}"#,
        r#"{"type":"ping","\u0074ype":"ping"}"#,
        r#"{"type":"ping","\u0054Y\u0050e":"ping"}"#,
    ];
    for text in bad {
        client.send_text(text);
        client.expect_error("bad_message");
    }
    // An escaped name is valid if it is the only `type`, and nested members do not count.
    client.send_text(r#"{"\u0074ype":"ping"}"#);
    assert_eq!(client.expect_message("pong"), Value::Null);
    client.send_text(r#"{"payload":{"type":"x","type":"y"},"type":"ping"}"#);
    assert_eq!(client.receive_text(), r#"{"type":"pong","payload":{"type":"x","type":"y"}}"#);
}

#[test]
fn answers_unknown_type_to_a_type_that_clients_do_not_send() {
    let server = Server::start(&[]);
    let (mut one, mut other, _) = server.matched_pair();
    let unknown = [
        "",
        "hello",
        "Ping",
        "PING",
        "ping ",
        "offers",
        "find-match",
        "type",
        // Types that only the server sends.
        "session",
        "waiting",
        "match_found",
        "match_cancelled",
        "room_left",
        "peer_left",
        "peer_away",
        "peer_back",
        "pong",
        "error",
        "draining",
    ];
    for name in unknown {
        one.send_text(&format!(r#"{{"type":"{name}"}}"#));
        one.expect_error("unknown_type");
    }
    one.send_text(r#"{"type":"ping\u0000"}"#);
    one.expect_error("unknown_type");
    other.expect_no_message();
}

#[test]
fn answers_bad_message_to_every_binary_message() {
    let server = Server::start(&[]);
    let (mut one, mut other, room) = server.matched_pair();
    for bytes in [&br#"{"type":"offer"}"#[..], br#"{"type":"peer_left"}"#, b"", b"\xff\xfe"] {
        one.send(Message::binary(bytes.to_vec()));
        one.expect_error("bad_message");
    }
    other.expect_no_message();
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn answers_ping_with_the_same_payload_byte_for_byte() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let payloads = [
        "1",
        "-0.50e+3",
        "true",
        r#""""#,
        "{}",
        "[ 1 ,\t2\r\n]",
        r#"{ "a" :"ä\u00e4\/\ud83d\ude00" }"#,
        r#"{"b":1,"a":2,"b":3}"#,
        "123456789012345678901234567890.0",
    ];
    for payload in payloads {
        client.send_text(&format!(r#"{{"type":"ping","payload":{payload}}}"#));
        assert_eq!(client.receive_text(), format!(r#"{{"type":"pong","payload":{payload}}}"#));
    }
    for without in [r#"{"type":"ping"}"#, r#"{"payload":null,"type":"ping"}"#] {
        client.send_text(without);
        assert_eq!(client.receive_text(), r#"{"type":"pong"}"#, "{without}");
    }
}

#[test]
fn answers_ping_in_every_state() {
    let server = Server::start(&[]);
    let mut one = server.client();
    one.expect_no_message();
    one.join_queue("en");
    one.expect_no_message();
    let mut other = server.client();
    other.join_queue("en");
    one.expect_match();
    one.expect_no_message();
}

#[test]
fn answers_not_in_room_without_a_room() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let kinds = ["offer", "answer", "ice_candidate", "signal", "leave_room"];
    let try_all = |client: &mut Client| {
        for kind in kinds {
            client.send_text(&format!(r#"{{"type":"{kind}","payload":{{}}}}"#));
            client.expect_error("not_in_room");
        }
    };
    try_all(&mut client);
    client.join_queue("en");
    try_all(&mut client);
    assert_eq!(server.stat("/messages/errors/not_in_room"), 2 * kinds.len() as i64);
    assert_eq!(server.stat("/messages/relayed"), 0);
}

#[test]
fn answers_not_in_room_to_any_room_id_but_the_present_one() {
    let server = Server::start(&[]);
    let (mut one, mut other, room) = server.matched_pair();
    let id = &room.room_id;
    let shorter = &id[1..];
    let wrong = [
        r#""""#.to_owned(),
        r#""null""#.to_owned(),
        "7".to_owned(),
        "[]".to_owned(),
        format!(r#"["{id}"]"#),
        format!(r#""{id}x""#),
        format!(r#""{shorter}""#),
        format!(r#""{}""#, id.to_ascii_uppercase()),
        format!(r#""{}""#, room.peer_id),
    ];
    for claim in &wrong {
        for kind in ["offer", "leave_room"] {
            one.send_text(&format!(r#"{{"type":"{kind}","room_id":{claim},"payload":{{}}}}"#));
            one.expect_error("not_in_room");
            one.send_text(&format!(r#"{{"room_id" : {claim},"type":"{kind}"}}"#));
            one.expect_error("not_in_room");
        }
    }
    other.expect_no_message();
    // No room_id, or the present one, whether it is escaped or not.
    let first = id.chars().next().unwrap() as u32;
    let escaped = format!(r#"{{"type":"signal","room_id":"\u{first:04x}{shorter}"}}"#);
    let last = format!(r#"{{"type":"signal","payload":{{}},"room_id":"{id}"}}"#);
    for text in [r#"{"type":"signal"}"#, &escaped, &last] {
        one.send_text(text);
        assert_eq!(other.receive_text(), text);
    }
    one.send_text(&format!(r#"{{"type":"leave_room","room_id":"{id}"}}"#));
    assert_eq!(one.expect_message("room_left"), json!({"room_id": id}));
    other.expect_peer_left(&room, "left");
}

#[test]
fn a_room_id_of_null_means_the_same_as_none() {
    let server = Server::start(&[]);
    let (mut one, mut other, room) = server.matched_pair();
    for text in [
        r#"{"type":"signal","room_id":null}"#,
        r#"{"type":"offer","room_id":null,"payload":{}}"#,
        r#"{"type":"offer","room_id": null ,"payload":{}}"#,
        r#"{"room_id":null,"type":"answer"}"#,
        r#"{"type":"ice_candidate","payload":null,"room_id":null}"#,
    ] {
        one.send_text(text);
        assert_eq!(other.receive_text(), text);
    }
    one.send_text(r#"{"type":"signal","room_id":nulla}"#);
    one.expect_error("bad_json");
    one.send_text(r#"{"type":"leave_room","room_id":null}"#);
    assert_eq!(one.expect_message("room_left"), json!({"room_id": room.room_id}));
    other.expect_peer_left(&room, "left");
}

#[test]
fn answers_cancel_match_outside_a_queue_with_not_waiting() {
    let server = Server::start(&[]);
    let mut one = server.client();
    let cancel = r#"{"type":"cancel_match","payload":{"anything":1}}"#;
    one.send_text(cancel);
    one.expect_error("not_waiting");
    one.join_queue("en");
    one.send_text(cancel);
    assert_eq!(one.expect_message("match_cancelled"), Value::Null);
    one.send_text(cancel);
    one.expect_error("not_waiting");
    let (mut one, mut other, room) = server.matched_pair();
    // The same answer when cancel_match crosses match_found.
    one.send_text(cancel);
    one.expect_error("not_waiting");
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn keeps_the_connection_open_after_errors() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for _ in 0..1000 {
        client.send_text("x");
    }
    for _ in 0..1000 {
        client.expect_error("bad_json");
    }
    client.join_queue("en");
}
