//! PROTOCOL.md, every message and every error code, each under its exact condition.

use crate::support::{Client, Server, Talk, still_talk};
use serde_json::{Value, json};
use tungstenite::Message;

#[test]
fn the_first_message_is_the_session() {
    let server = Server::start(&[]);
    let one = server.client();
    assert_eq!(one.session()["ice_servers"], json!([]));
    assert_eq!(one.session()["resumed"], false);
    assert!(one.session().get("resume_token").is_none(), "nothing can be resumed");
    let other = server.client();
    assert_ne!(one.id(), other.id());
}

#[test]
fn the_root_opens_a_session_just_as_ws_does() {
    let server = Server::start(&[]);
    let mut root = Client::connect_at(server.address(), "/");
    let mut ws = Client::connect_at(server.address(), "/ws?from=somewhere");
    root.wait_in("en");
    ws.wait_in("en");
    assert_eq!(root.expect_match().room_id, ws.expect_match().room_id);
}

#[test]
fn a_resume_token_that_nobody_gave_opens_a_new_session() {
    let server = Server::start(&[]);
    let client = Client::connect_at(server.address(), "/ws?resume=AAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(client.session()["resumed"], false);
}

#[test]
fn find_match_without_a_queue_means_the_default_queue() {
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
        client.say(form);
        assert_eq!(client.expect("waiting"), json!({"queue": "default"}), "{form}");
    }
    for client in &mut all {
        client.expect_match();
    }
}

#[test]
fn every_queue_name_that_the_rule_allows_is_taken() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let longest = "x".repeat(64);
    for name in ["a", "EN", "en_GB.x:1-2", "0", "-", ":", &longest] {
        client.wait_in(name);
    }
    client.expect_nothing();
}

#[test]
fn bad_queue_leaves_the_present_state_as_it_is() {
    let server = Server::start(&[]);
    let too_long = "x".repeat(65);
    let bad = ["", "a b", "ä", "a/b", "a\\u0000", "\\ud800", "a\\n", "%41", &too_long];
    // Idle.
    let mut one = server.client();
    for name in bad {
        one.find(name);
        one.expect_error("bad_queue");
    }
    one.say(r#"{"type":"cancel_match"}"#);
    one.expect_error("not_waiting");
    // Waiting.
    one.wait_in("en");
    one.find("a b");
    one.expect_error("bad_queue");
    let mut other = server.client();
    other.wait_in("en");
    let room = one.expect_match();
    other.expect_match();
    // In a room.
    one.find("a b");
    one.expect_error("bad_queue");
    let sent = one.relay("signal", &room, "1");
    assert_eq!(other.text(), sent);
}

#[test]
fn a_payload_of_the_wrong_shape_is_a_bad_message() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for payload in ["[]", "\"en\"", "7", "true", r#"{"queue":7}"#, r#"{"queue":["en"]}"#] {
        client.say(&format!(r#"{{"type":"find_match","payload":{payload}}}"#));
        client.expect_error("bad_message");
    }
    client.say(r#"{"type":"cancel_match"}"#);
    client.expect_error("not_waiting");
}

#[test]
fn what_is_not_a_strict_json_object_is_bad_json() {
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
        client.say(text);
        client.expect_error("bad_json");
    }
    client.expect_nothing();
    assert_eq!(server.figure("/messages/errors/bad_json"), bad.len() as i64);
}

#[test]
fn json_may_nest_a_hundred_levels_and_beyond_128_it_may_not() {
    let server = Server::start(&[]);
    let (mut one, mut other, _) = server.pair();
    // The outermost object is one level.
    let nested = |kind: &str, levels: usize| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        format!(r#"{{"type":"{kind}","payload":{open}{close}}}"#)
    };
    let within = nested("signal", 100);
    one.say(&within);
    assert_eq!(other.text(), within);
    one.say(&nested("ping", 100));
    one.expect("pong");
    for kind in ["signal", "ping", "find_match", "nonsense"] {
        for levels in [129, 130, 1000, 20_000] {
            one.say(&nested(kind, levels));
            one.expect_error("bad_json");
        }
    }
    // Brackets within strings are no levels.
    let text = format!(r#"{{"type":"signal","payload":"{}"}}"#, "[{".repeat(300));
    one.say(&text);
    assert_eq!(other.text(), text);
    other.expect_nothing();
}

#[test]
fn without_one_usable_type_it_is_a_bad_message() {
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
        client.say(text);
        client.expect_error("bad_message");
    }
    // One of these is a type like any other, if it is the only one, and so is one further in.
    client.say(r#"{"\u0074ype":"ping"}"#);
    assert_eq!(client.expect("pong"), Value::Null);
    client.say(r#"{"payload":{"type":"x","type":"y"},"type":"ping"}"#);
    assert_eq!(client.text(), r#"{"type":"pong","payload":{"type":"x","type":"y"}}"#);
}

#[test]
fn a_type_that_clients_do_not_send_is_unknown() {
    let server = Server::start(&[]);
    let (mut one, mut other, _) = server.pair();
    let unknown = [
        "",
        "hello",
        "Ping",
        "PING",
        "ping ",
        "offers",
        "find-match",
        "type",
        // What only the server sends.
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
        one.say(&format!(r#"{{"type":"{name}"}}"#));
        one.expect_error("unknown_type");
    }
    one.say(r#"{"type":"ping\u0000"}"#);
    one.expect_error("unknown_type");
    other.expect_nothing();
}

#[test]
fn a_binary_message_is_a_bad_message_whatever_it_says() {
    let server = Server::start(&[]);
    let (mut one, mut other, room) = server.pair();
    for bytes in [&br#"{"type":"offer"}"#[..], br#"{"type":"peer_left"}"#, b"", b"\xff\xfe"] {
        one.send(Message::binary(bytes.to_vec()));
        one.expect_error("bad_message");
    }
    other.expect_nothing();
    still_talk(&mut one, &mut other, &room);
}

#[test]
fn ping_is_answered_with_the_same_payload_to_the_byte() {
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
        client.say(&format!(r#"{{"type":"ping","payload":{payload}}}"#));
        assert_eq!(client.text(), format!(r#"{{"type":"pong","payload":{payload}}}"#));
    }
    for without in [r#"{"type":"ping"}"#, r#"{"payload":null,"type":"ping"}"#] {
        client.say(without);
        assert_eq!(client.text(), r#"{"type":"pong"}"#, "{without}");
    }
}

#[test]
fn ping_is_answered_in_every_state() {
    let server = Server::start(&[]);
    let mut one = server.client();
    one.expect_nothing();
    one.wait_in("en");
    one.expect_nothing();
    let mut other = server.client();
    other.wait_in("en");
    one.expect_match();
    one.expect_nothing();
}

#[test]
fn relay_without_a_room_is_refused() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let kinds = ["offer", "answer", "ice_candidate", "signal", "leave_room"];
    let try_all = |client: &mut Client| {
        for kind in kinds {
            client.say(&format!(r#"{{"type":"{kind}","payload":{{}}}}"#));
            client.expect_error("not_in_room");
        }
    };
    try_all(&mut client);
    client.wait_in("en");
    try_all(&mut client);
    assert_eq!(server.figure("/messages/errors/not_in_room"), 2 * kinds.len() as i64);
    assert_eq!(server.figure("/messages/relayed"), 0);
}

#[test]
fn a_room_id_other_than_the_present_one_is_refused() {
    let server = Server::start(&[]);
    let (mut one, mut other, room) = server.pair();
    let id = &room.room_id;
    let shorter = &id[1..];
    let wrong = [
        r#""""#.to_owned(),
        "null".to_owned(),
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
            one.say(&format!(r#"{{"type":"{kind}","room_id":{claim},"payload":{{}}}}"#));
            one.expect_error("not_in_room");
            one.say(&format!(r#"{{"room_id" : {claim},"type":"{kind}"}}"#));
            one.expect_error("not_in_room");
        }
    }
    other.expect_nothing();
    // Absent, or the present one, however it is written.
    let first = id.chars().next().unwrap() as u32;
    let escaped = format!(r#"{{"type":"signal","room_id":"\u{first:04x}{shorter}"}}"#);
    let last = format!(r#"{{"type":"signal","payload":{{}},"room_id":"{id}"}}"#);
    for text in [r#"{"type":"signal"}"#, &escaped, &last] {
        one.say(text);
        assert_eq!(other.text(), text);
    }
    one.say(&format!(r#"{{"type":"leave_room","room_id":"{id}"}}"#));
    assert_eq!(one.expect("room_left"), json!({"room_id": id}));
    other.expect_peer_left(&room, "left");
}

#[test]
fn cancel_match_while_not_waiting_is_refused() {
    let server = Server::start(&[]);
    let mut one = server.client();
    let cancel = r#"{"type":"cancel_match","payload":{"anything":1}}"#;
    one.say(cancel);
    one.expect_error("not_waiting");
    one.wait_in("en");
    one.say(cancel);
    assert_eq!(one.expect("match_cancelled"), Value::Null);
    one.say(cancel);
    one.expect_error("not_waiting");
    let (mut one, mut other, room) = server.pair();
    // It crossed the match_found.
    one.say(cancel);
    one.expect_error("not_waiting");
    still_talk(&mut one, &mut other, &room);
}

#[test]
fn an_error_changes_nothing_and_the_connection_stays_open() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for _ in 0..1000 {
        client.say("x");
    }
    for _ in 0..1000 {
        client.expect_error("bad_json");
    }
    client.wait_in("en");
}
