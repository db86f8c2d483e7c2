//! Messages of clients, against a parser of the target's own: whatever is accepted has exactly
//! one `type`, spelled so (guarantee 7), and is taken for what it is; whatever is refused is
//! refused for the right reason.
#![no_main]

mod json;

use json::{Value, ascii, read};
use libfuzzer_sys::fuzz_target;
use switchboard::wire::message::client::{ClientMessage, RoomClaim, parse_client_message};
use switchboard::wire::message::server::{ParsedServerMessage, parse_server_message};
use switchboard::wire::message::{ErrorCode, RelayKind, is_queue_name};

/// What a message should be taken for.
#[derive(Debug, PartialEq)]
enum Expected {
    Find(Option<Vec<u8>>),
    Cancel,
    Leave(Claim),
    Ping(Option<Vec<u8>>),
    Relay(RelayKind, Claim),
}

#[derive(Debug, PartialEq)]
enum Claim {
    Present,
    Named(Vec<u8>),
    /// It has characters that no room's name has.
    NoRoom,
    Nonsense,
}

/// The last member of this name: its value and its place among the members.
fn last<'v>(members: &'v [(Vec<u32>, Value)], name: &str) -> Option<(usize, &'v Value)> {
    let is_it = |(_, (key, _)): &(usize, &(Vec<u32>, Value))| {
        ascii(key).is_some_and(|key| key == name.as_bytes())
    };
    members.iter().enumerate().filter(is_it).last().map(|(at, (_, value))| (at, value))
}

fn is_null(value: &Value, text: &[u8]) -> bool {
    matches!(value, Value::Other(place) if &text[place.clone()] == b"null")
}

fn expected(text: &[u8]) -> Result<Expected, ErrorCode> {
    let document = read(text).filter(|document| document.depth <= 100).ok_or(ErrorCode::BadJson)?;
    let Value::Object(members) = &document.value else { return Err(ErrorCode::BadJson) };
    let types = members.iter().filter_map(|(name, _)| ascii(name));
    let types = types.filter(|name| name.eq_ignore_ascii_case(b"type")).count();
    let Some((_, Value::String(name))) = last(members, "type").filter(|_| types == 1) else {
        return Err(ErrorCode::BadMessage);
    };
    let claim = || match last(members, "room_id") {
        None => Claim::Present,
        Some((_, Value::String(name))) => ascii(name).map_or(Claim::NoRoom, Claim::Named),
        Some(_) => Claim::Nonsense,
    };
    let payload = last(members, "payload").filter(|(_, value)| !is_null(value, text));
    match &*ascii(name).unwrap_or_default() {
        b"find_match" => find_match(payload.map(|(_, value)| value), text),
        b"cancel_match" => Ok(Expected::Cancel),
        b"leave_room" => Ok(Expected::Leave(claim())),
        b"ping" => {
            let place = payload.map(|(at, _)| document.places[at].clone());
            Ok(Expected::Ping(place.map(|place| text[place].to_vec())))
        }
        name => {
            let kind = RelayKind::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == name);
            kind.map(|kind| Expected::Relay(kind, claim())).ok_or(ErrorCode::UnknownType)
        }
    }
}

fn find_match(payload: Option<&Value>, text: &[u8]) -> Result<Expected, ErrorCode> {
    let members = match payload {
        None => return Ok(Expected::Find(None)),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(ErrorCode::BadMessage),
    };
    let queues = members.iter().filter(|(name, _)| ascii(name).as_deref() == Some(b"queue"));
    if queues.count() > 1 {
        return Err(ErrorCode::BadMessage);
    }
    match last(members, "queue") {
        None => Ok(Expected::Find(None)),
        Some((_, value)) if is_null(value, text) => Ok(Expected::Find(None)),
        Some((_, Value::String(name))) => {
            let name = ascii(name).filter(|name| is_queue_name(name));
            name.map(|name| Expected::Find(Some(name))).ok_or(ErrorCode::BadQueue)
        }
        Some(_) => Err(ErrorCode::BadMessage),
    }
}

fn found(text: &[u8]) -> Result<Expected, ErrorCode> {
    let claim = |claim: RoomClaim<'_>| match claim {
        RoomClaim::Current => Claim::Present,
        RoomClaim::Named(name) if name.is_ascii() => Claim::Named(name.to_vec()),
        RoomClaim::Named(_) => Claim::NoRoom,
        RoomClaim::Invalid => Claim::Nonsense,
    };
    Ok(match parse_client_message(text)? {
        ClientMessage::FindMatch { queue } => {
            Expected::Find(queue.map(|queue| queue.as_bytes().to_vec()))
        }
        ClientMessage::CancelMatch => Expected::Cancel,
        ClientMessage::LeaveRoom(room) => Expected::Leave(claim(room)),
        ClientMessage::Ping { payload } => Expected::Ping(payload.map(|text| text.into())),
        ClientMessage::Relay(kind, room) => Expected::Relay(kind, claim(room)),
    })
}

/// What is relayed although it is no JSON: no parser, however lenient, finds in it another type.
fn check_unparsed(text: &[u8], kind: RelayKind) {
    let begin = format!(r#"{{"type":"{}""#, kind.as_str());
    assert!(text.starts_with(begin.as_bytes()) && text.ends_with(b"}"), "not in the usual order");
    let mut rest = &text[begin.len()..];
    // A string without escapes, whatever is in it; a message for a room that is not is refused.
    if let Some(value) = rest.strip_prefix(br#","room_id":""#) {
        let end = value.iter().position(|byte| *byte == b'"').expect("it has an end");
        assert!(!value[..end].contains(&b'\\'), "the string may end elsewhere");
        rest = &value[end..];
    }
    let rest = rest.to_ascii_lowercase();
    let holds = |what: &[u8]| rest.windows(what.len()).any(|part| part == what);
    assert!(!holds(b"type") && !holds(b"\\u"), "another type may be hidden");
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let text = text.as_bytes();
    let found = found(text);
    let expected = expected(text);
    match (&found, &expected) {
        (Ok(Expected::Relay(kind, _)), Err(ErrorCode::BadJson)) => check_unparsed(text, *kind),
        _ => assert_eq!(found, expected),
    }
    // What the receiver makes of it, if it can read it at all.
    if let Ok(Expected::Relay(kind, _)) = found
        && let Ok(received) = parse_server_message(text)
    {
        assert!(matches!(received, ParsedServerMessage::Relayed { kind: read, .. } if read == kind));
    }
});
