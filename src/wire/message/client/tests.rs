//! Tests of [`super`]: strictness, and agreement of the fast scan with the strict parser.

use super::parser::parse_strictly;
use super::relay_scan::{may_hide_a_member, scan_relay};
use super::*;
use crate::wire::message::ErrorCode;
use proptest::prelude::*;

fn relay(kind: RelayKind) -> ClientMessage<'static> {
    ClientMessage::Relay(kind, RoomClaim::Current)
}

fn refused(text: &str) -> ErrorCode {
    match parse_client_message(text.as_bytes()) {
        Err(refusal) => refusal.code,
        Ok(message) => panic!("{text} was parsed as {message:?}"),
    }
}

#[test]
fn parses_every_message_type() {
    let find = |queue| ClientMessage::FindMatch { queue };
    for (text, expected) in [
        (r#"{"type":"find_match"}"#, find(None)),
        (r#"{"type":"find_match","payload":null}"#, find(None)),
        (r#"{"payload":{},"type":"find_match"}"#, find(None)),
        (r#"{"type":"find_match","payload":{"queue":"en-GB","x":1}}"#, find(Some("en-GB".into()))),
        (r#"{"type":"find_match","payload":{"queue":"\u0065n"}}"#, find(Some("en".into()))),
        (r#"{"type":"find_match","payload":{"\ud83d":1}}"#, find(None)),
        (r#" { "type" : "cancel_match" } "#, ClientMessage::CancelMatch),
        (r#"{"type":"leave_room"}"#, ClientMessage::LeaveRoom(RoomClaim::Current)),
        (r#"{"type":"ping"}"#, ClientMessage::Ping { payload: None }),
        (
            r#"{"type":"ping","payload":[1, "a"]}"#,
            ClientMessage::Ping { payload: Some(r#"[1, "a"]"#) },
        ),
        (r#"{"type":"offer"}"#, relay(RelayKind::Offer)),
        (r#"{"type":"answer","payload":{}}"#, relay(RelayKind::Answer)),
        (r#"{"payload":1,"type":"ice_candidate"}"#, relay(RelayKind::IceCandidate)),
        (r#"{"type":"si\u0067nal"}"#, relay(RelayKind::Signal)),
        (r#"{"\u0074ype":"signal"}"#, relay(RelayKind::Signal)),
        (r#"{"type":"offer","payload":{"type":"offer","sdp":"v=0\r\n"}}"#, relay(RelayKind::Offer)),
        (r#"{"type":"signal","\ud800":1}"#, relay(RelayKind::Signal)),
    ] {
        assert_eq!(parse_client_message(text.as_bytes()), Ok(expected), "{text}");
    }
}

#[test]
fn finds_the_room_id_at_any_position() {
    let named = |text: &str| match parse_client_message(text.as_bytes()) {
        Ok(ClientMessage::Relay(_, RoomClaim::Named(name))) => {
            String::from_utf8(name.into_owned()).unwrap()
        }
        other => panic!("{text} was parsed as {other:?}"),
    };
    assert_eq!(named(r#"{"type":"offer","room_id":"r1","payload":{}}"#), "r1");
    assert_eq!(named(r#"{"type":"offer","room_id":"r1"}"#), "r1");
    assert_eq!(named(r#"{"type":"offer","payload":{"room_id":"no"},"room_id":"r2"}"#), "r2");
    assert_eq!(named(r#"{"type":"offer","room_id":"r1","room_id":"r2"}"#), "r2");
    assert_eq!(named(r#"{"type":"offer","payload":{},"r\u006fom_id":"r3"}"#), "r3");
    assert_eq!(named(r#"{"type":"offer","room_id":"\u0072\/4","payload":{}}"#), "r/4");
    assert_eq!(
        parse_client_message(br#"{"type":"offer","payload":{"room_id":"deep"}}"#),
        Ok(relay(RelayKind::Offer))
    );
    assert_eq!(
        parse_client_message(br#"{"type":"offer","room_id":7}"#),
        Ok(ClientMessage::Relay(RelayKind::Offer, RoomClaim::Invalid))
    );
    for text in [
        r#"{"type":"offer","room_id":null}"#,
        r#"{"type":"offer","room_id": null,"payload":{}}"#,
        r#"{"room_id":null,"type":"offer"}"#,
    ] {
        assert_eq!(parse_client_message(text.as_bytes()), Ok(relay(RelayKind::Offer)), "{text}");
    }
}

#[test]
fn refuses_text_that_is_not_strict_json() {
    for text in [
        "",
        " ",
        "null",
        "[]",
        "\"type\"",
        "{",
        r#"{"type":"ping"}x"#,
        r#"{"type":"ping",}"#,
        r#"{'type':'ping'}"#,
        r#"{"type":"ping","payload":01}"#,
        r#"{"type":"ping","payload":NaN}"#,
        "{\"type\":\"ping\",\"payload\":\"\t\"}",
        "\u{feff}{\"type\":\"ping\"}",
        r#"{"type":"ping"/**/}"#,
        r#"{"type":"ping","payload":"\x"}"#,
        r#"{"type":"offer"}}"#,
        "{\"a\tb\":1,\"type\":\"ping\"}",
    ] {
        assert_eq!(refused(text), ErrorCode::BadJson, "{text}");
    }
}

/// JSON does not define these escapes (RFC 8259 §7), but lenient readers accept some of them.
#[test]
fn the_fast_scan_accepts_no_escape_that_json_does_not_define() {
    for name in [
        r"t\y\p\e",
        r"typ\e",
        r"typ\E",
        r"t\x79p\x65",
        r"\164\171\160\145",
        "typ\\\ne",
        "typ\\\u{2028}e",
        r"room_\id",
        r"room_\x69d",
        r"typ\'e",
        r"typ\u{65}",
        r"typ\U00000065",
    ] {
        for quote in ['"', '\''] {
            let member = format!("{quote}{name}{quote}:1");
            for filler in [
                "",
                r#","payload":{"sdp":"v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\n"}"#,
            ] {
                let text = format!(r#"{{"type":"signal",{member}{filler}}}"#);
                assert_eq!(refused(&text), ErrorCode::BadJson, "{text}");
                let text = format!(r#"{{"type":"signal"{filler},{member}}}"#);
                assert_eq!(refused(&text), ErrorCode::BadJson, "{text}");
            }
        }
    }
}

#[test]
fn refuses_messages_without_exactly_one_type_in_any_spelling() {
    for text in [
        r#"{}"#,
        r#"{"type":7}"#,
        r#"{"type":null}"#,
        r#"{"Type":"offer"}"#,
        r#"{"type":"offer","type":"peer_left"}"#,
        r#"{"type":"offer","TYPE":"peer_left"}"#,
        r#"{"type":"offer","payload":{},"tYpe":1}"#,
        r#"{"type":"offer","\u0074ype":"x"}"#,
        r#"{"Type":"x","type":"offer"}"#,
        r#"{"type":"offer","t\u0059pe":"x"}"#,
        r#"{"type":"find_match","payload":["en"]}"#,
        r#"{"type":"find_match","payload":"en"}"#,
        r#"{"type":"find_match","payload":{"queue":7}}"#,
        r#"{"type":"find_match","payload":{"queue":"a","queue":"b"}}"#,
    ] {
        assert_eq!(refused(text), ErrorCode::BadMessage, "{text}");
    }
}

#[test]
fn types_that_clients_do_not_send_are_unknown() {
    for name in ["session", "match_found", "peer_left", "Offer", "", "offers", "error"] {
        assert_eq!(refused(&format!(r#"{{"type":"{name}"}}"#)), ErrorCode::UnknownType);
    }
}

#[test]
fn refuses_invalid_queue_names() {
    let find = |name: &str| format!(r#"{{"type":"find_match","payload":{{"queue":"{name}"}}}}"#);
    for name in ["", " ", "a b", "ä", "a/b", &"x".repeat(65), "a\\u0000"] {
        assert_eq!(refused(&find(name)), ErrorCode::BadQueue, "{name}");
    }
    for name in ["a", &"x".repeat(64), "A-Z_0.9:z"] {
        assert!(parse_client_message(find(name).as_bytes()).is_ok(), "{name}");
    }
}

#[test]
fn scan_and_parser_limit_the_depth() {
    for (head, tail) in
        [(r#"{"type":"offer","payload":"#, "}"), (r#"{"payload":"#, r#","type":"offer"}"#)]
    {
        let nested = |levels: usize| {
            format!("{head}{}{}{tail}", "[".repeat(levels - 1), "]".repeat(levels - 1))
        };
        assert_eq!(parse_client_message(nested(100).as_bytes()), Ok(relay(RelayKind::Offer)));
        assert_eq!(refused(&nested(101)), ErrorCode::BadJson);
        assert_eq!(refused(&nested(30_000)), ErrorCode::BadJson);
    }
}

proptest! {
    /// The parser gives the same result for every message that the scan accepts, if it is JSON.
    #[test]
    fn the_fast_scan_agrees_with_the_parser(
        head in prop::sample::select(vec![
            r#"{"type":"offer""#, r#"{"type":"signal","room_id":"abc""#, r#"{"type":"answer","room_id":"a\"bc""#,
            r#"{"type":"offer","room_id":"\u0061bc""#, r#"{"type":"offer","room_id":null"#,
            r#"{"type":"offer","room_id":nul"#, r#"{"type":"offer","room_id":null,"room_id":"x""#,
        ]),
        middle in prop::collection::vec(prop::sample::select(vec![
            ",", "\"type\"", "\"tYPE\"", ":", "1", "\"room_id\"", "\"x\"", "{", "}", "[", "]",
            "\"\\u0074ype\"", "\"\\r\\n\"", "\"payload\"", ",\"payload\":{\"a\":\"type\"}", ",\"Type\":2",
        ]), 0..12),
    ) {
        let text = format!("{head}{}}}", middle.concat());
        if let Some((kind, claim)) = scan_relay(text.as_bytes())
            && serde_json::from_str::<serde_json::Value>(&text).is_ok()
        {
            prop_assert_eq!(
                parse_strictly(text.as_bytes()),
                Ok(ClientMessage::Relay(kind, claim)),
                "{}", text
            );
        }
    }

    /// `is_relay_for` accepts exactly the messages that the scan accepts and that name this room or
    /// none.
    #[test]
    fn is_relay_for_agrees_with_the_fast_scan(
        head in prop::sample::select(vec![
            r#"{"type":"offer""#, r#"{"type":"ping""#, r#"{"type":"offers""#, r#"{ "type":"offer""#,
            r#"{"type":"ice_candidate","room_id":"0123456789abcdefghij-_""#,
            r#"{"type":"answer","room_id":"0123456789abcdefghij-_x""#,
            r#"{"type":"signal","room_id":"0123456789abcdefghij-.""#,
            r#"{"type":"signal","room_id":"0123456789abcdefghij-_"#,
            r#"{"type":"signal","room_id":7"#, r#"{"type":"signal","room_id":"x""#,
            r#"{"type":"signal","room_id":null"#, r#"{"type":"signal","room_id":nul"#,
        ]),
        middle in prop::sample::select(vec!["", ",", ",\"payload\":{}", ",\"Type\":1", ",\"room_id\":\"x\"", "}"]),
    ) {
        let room = b"0123456789abcdefghij-_";
        let text = format!("{head}{middle}}}");
        let scanned = scan_relay(text.as_bytes()).is_some_and(|(_, claim)| match claim {
            RoomClaim::Current => true,
            RoomClaim::Named(name) => *name == room[..],
            RoomClaim::Invalid => false,
        });
        prop_assert_eq!(is_relay_for(text.as_bytes(), || room), scanned, "{}", text);
    }

    #[test]
    fn the_fast_scan_finds_a_hidden_member_at_every_position(
        before in "[a-z{},:\"]{0,80}", after in "[a-z{},:\"]{0,80}",
        key in prop::sample::select(vec!["TyPe\"", "type\"", "room_id\"", "\\u0054"]),
    ) {
        let text = format!("{before}{key}{after}");
        prop_assert!(may_hide_a_member(text.as_bytes()));
    }

    #[test]
    fn parses_arbitrary_text_without_a_panic(text: String) {
        let _ = parse_client_message(text.as_bytes());
    }
}

#[test]
fn derives_the_room_token_only_for_messages_with_a_room_id() {
    let not_needed = || panic!("the token is not needed");
    assert!(is_relay_for(br#"{"type":"offer","payload":{}}"#, not_needed));
    assert!(is_relay_for(br#"{"type":"answer"}"#, not_needed));
    assert!(is_relay_for(br#"{"type":"answer","room_id":null}"#, not_needed));
    assert!(!is_relay_for(br#"{"type":"ping"}"#, not_needed));
    assert!(!is_relay_for(br#"{"type":"offer","room_id":"too short"}"#, not_needed));
}

#[test]
fn the_server_parses_every_message_that_a_client_writes() {
    let mut out = Vec::new();
    write_find_match(&mut out, Some("en"));
    assert_eq!(
        parse_client_message(&out),
        Ok(ClientMessage::FindMatch { queue: Some("en".into()) })
    );
    out.clear();
    write_find_match(&mut out, None);
    assert_eq!(parse_client_message(&out), Ok(ClientMessage::FindMatch { queue: None }));
    out.clear();
    write_cancel_match(&mut out);
    assert_eq!(parse_client_message(&out), Ok(ClientMessage::CancelMatch));
    out.clear();
    write_leave_room(&mut out);
    assert_eq!(parse_client_message(&out), Ok(ClientMessage::LeaveRoom(RoomClaim::Current)));
    for kind in RelayKind::ALL {
        out.clear();
        write_relay(&mut out, kind, "room", b"{\"n\":1}");
        let claim = RoomClaim::Named(Cow::Borrowed(&b"room"[..]));
        assert_eq!(parse_client_message(&out), Ok(ClientMessage::Relay(kind, claim)));
    }
}

#[test]
fn a_refusal_names_the_type_if_clients_send_it() {
    let refused = |text: &str| parse_client_message(text.as_bytes()).unwrap_err();
    let find = Some(ClientMessageType::FindMatch);
    for (text, expected) in [
        (r#"{"type":"find_match","payload":{"queue":""}}"#, (ErrorCode::BadQueue, find)),
        (r#"{"type":"find_match","payload":[]}"#, (ErrorCode::BadMessage, find)),
        (r#"{"type":"find_match","Type":"ping"}"#, (ErrorCode::BadMessage, None)),
        (r#"{"type":"match_found"}"#, (ErrorCode::UnknownType, None)),
        (r#"{"type":"find_match""#, (ErrorCode::BadJson, None)),
    ] {
        let refusal = refused(text);
        assert_eq!((refusal.code, refusal.refused), expected, "{text}");
        assert_eq!(refusal.retry_after_ms, None);
    }
    for message_type in ClientMessageType::ALL {
        let text = format!(r#"{{"type":"{}"}}"#, message_type.as_str());
        let message = parse_client_message(text.as_bytes()).unwrap();
        assert_eq!(message.message_type(), message_type);
    }
}
