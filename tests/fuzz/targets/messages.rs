//! Client messages, compared with an independent parser: every accepted message has exactly one
//! `type`, spelled exactly so (guarantee 7), and is parsed correctly; every refused message gets
//! the right error.
#![no_main]

mod json;

use json::{JsonValue, ascii, parse_json};
use libfuzzer_sys::fuzz_target;
use switchboard::wire::message::client::{ClientMessage, RoomClaim, parse_client_message};
use switchboard::wire::message::server::{ParsedServerMessage, parse_server_message};
use switchboard::wire::message::{ErrorCode, RelayKind, is_queue_name};

/// A client message in the form that both parsers are converted to.
#[derive(Debug, PartialEq)]
enum Parsed {
    FindMatch(Option<Vec<u8>>),
    CancelMatch,
    LeaveRoom(Claim),
    Ping(Option<Vec<u8>>),
    Relay(RelayKind, Claim),
}

#[derive(Debug, PartialEq)]
enum Claim {
    Current,
    Named(Vec<u8>),
    /// It has characters that no room identifier has.
    NotAscii,
    Invalid,
}

/// The last member with this name: its index and its value.
fn last<'v>(members: &'v [(Vec<u32>, JsonValue)], name: &str) -> Option<(usize, &'v JsonValue)> {
    let is_it = |(_, (key, _)): &(usize, &(Vec<u32>, JsonValue))| {
        ascii(key).is_some_and(|key| key == name.as_bytes())
    };
    members.iter().enumerate().filter(is_it).last().map(|(at, (_, value))| (at, value))
}

fn is_null(value: &JsonValue, text: &[u8]) -> bool {
    matches!(value, JsonValue::Other(position) if &text[position.clone()] == b"null")
}

fn parse_independently(text: &[u8]) -> Result<Parsed, ErrorCode> {
    let document =
        parse_json(text).filter(|document| document.depth <= 100).ok_or(ErrorCode::BadJson)?;
    let JsonValue::Object(members) = &document.value else { return Err(ErrorCode::BadJson) };
    let types = members.iter().filter_map(|(name, _)| ascii(name));
    let types = types.filter(|name| name.eq_ignore_ascii_case(b"type")).count();
    let Some((_, JsonValue::String(name))) = last(members, "type").filter(|_| types == 1) else {
        return Err(ErrorCode::BadMessage);
    };
    let claim = || match last(members, "room_id").filter(|(_, value)| !is_null(value, text)) {
        None => Claim::Current,
        Some((_, JsonValue::String(name))) => ascii(name).map_or(Claim::NotAscii, Claim::Named),
        Some(_) => Claim::Invalid,
    };
    let payload = last(members, "payload").filter(|(_, value)| !is_null(value, text));
    match &*ascii(name).unwrap_or_default() {
        b"find_match" => find_match(payload.map(|(_, value)| value), text),
        b"cancel_match" => Ok(Parsed::CancelMatch),
        b"leave_room" => Ok(Parsed::LeaveRoom(claim())),
        b"ping" => {
            let position = payload.map(|(at, _)| document.positions[at].clone());
            Ok(Parsed::Ping(position.map(|position| text[position].to_vec())))
        }
        name => {
            let kind = RelayKind::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == name);
            kind.map(|kind| Parsed::Relay(kind, claim())).ok_or(ErrorCode::UnknownType)
        }
    }
}

fn find_match(payload: Option<&JsonValue>, text: &[u8]) -> Result<Parsed, ErrorCode> {
    let members = match payload {
        None => return Ok(Parsed::FindMatch(None)),
        Some(JsonValue::Object(members)) => members,
        Some(_) => return Err(ErrorCode::BadMessage),
    };
    let queues = members.iter().filter(|(name, _)| ascii(name).as_deref() == Some(b"queue"));
    if queues.count() > 1 {
        return Err(ErrorCode::BadMessage);
    }
    match last(members, "queue") {
        None => Ok(Parsed::FindMatch(None)),
        Some((_, value)) if is_null(value, text) => Ok(Parsed::FindMatch(None)),
        Some((_, JsonValue::String(name))) => {
            let name = ascii(name).filter(|name| is_queue_name(name));
            name.map(|name| Parsed::FindMatch(Some(name))).ok_or(ErrorCode::BadQueue)
        }
        Some(_) => Err(ErrorCode::BadMessage),
    }
}

fn parse_with_server(text: &[u8]) -> Result<Parsed, ErrorCode> {
    let claim = |claim: RoomClaim<'_>| match claim {
        RoomClaim::Current => Claim::Current,
        RoomClaim::Named(name) if name.is_ascii() => Claim::Named(name.to_vec()),
        RoomClaim::Named(_) => Claim::NotAscii,
        RoomClaim::Invalid => Claim::Invalid,
    };
    Ok(match parse_client_message(text).map_err(|refusal| refusal.code)? {
        ClientMessage::FindMatch { queue } => {
            Parsed::FindMatch(queue.map(|queue| queue.as_bytes().to_vec()))
        }
        ClientMessage::CancelMatch => Parsed::CancelMatch,
        ClientMessage::LeaveRoom(room) => Parsed::LeaveRoom(claim(room)),
        ClientMessage::Ping { payload } => Parsed::Ping(payload.map(|text| text.into())),
        ClientMessage::Relay(kind, room) => Parsed::Relay(kind, claim(room)),
    })
}

/// Checks a message that is relayed although it is not JSON: no parser, however lenient, can find
/// another type in it.
fn check_relayed_text(text: &[u8], kind: RelayKind) {
    let begin = format!(r#"{{"type":"{}""#, kind.as_str());
    assert!(
        text.starts_with(begin.as_bytes()) && text.ends_with(b"}"),
        "the members are not in the usual order"
    );
    let mut rest = &text[begin.len()..];
    // The room identifier is a string without escapes.
    if let Some(value) = rest.strip_prefix(br#","room_id":""#) {
        let end = value.iter().position(|byte| *byte == b'"').expect("the string must end");
        assert!(!value[..end].contains(&b'\\'), "with an escape, the string may end elsewhere");
        rest = &value[end..];
    }
    let rest = rest.to_ascii_lowercase();
    let holds = |what: &[u8]| rest.windows(what.len()).any(|part| part == what);
    assert!(!holds(b"type") && !holds(b"\\u"), "another type may be hidden in it");
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let text = text.as_bytes();
    let found = parse_with_server(text);
    let expected = parse_independently(text);
    match (&found, &expected) {
        (Ok(Parsed::Relay(kind, _)), Err(ErrorCode::BadJson)) => check_relayed_text(text, *kind),
        _ => assert_eq!(found, expected),
    }
    // A receiver that can parse the relayed message finds the same type.
    if let Ok(Parsed::Relay(kind, _)) = found
        && let Ok(received) = parse_server_message(text)
    {
        assert!(
            matches!(received, ParsedServerMessage::Relayed { kind: read, .. } if read == kind)
        );
    }
});
