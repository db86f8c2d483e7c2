//! What clients send.
//!
//! A server needs to know of a relayed message only its type, whether it names the sender's
//! room, and that no receiver can take it for something else. For the common order of keys a
//! scan without parsing tells all that; whatever it is not sure of goes through serde_json.

use super::{ErrorCode, RelayKind, is_queue_name};
use crate::ids::TOKEN_LEN;
use crate::limits::JSON_DEPTH;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The `room_id` of a relayed message or of a `leave_room`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomClaim<'a> {
    /// It names no room: the sender's present one is meant.
    Current,
    /// It names this room.
    Named(Cow<'a, [u8]>),
    /// It names something that is no room.
    Invalid,
}

/// A message from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage<'a> {
    /// Join a queue; the name obeys the rule.
    FindMatch {
        /// The queue; the default one if absent.
        queue: Option<Cow<'a, str>>,
    },
    /// Leave the queue.
    CancelMatch,
    /// Leave the room.
    LeaveRoom(RoomClaim<'a>),
    /// Asks for a `pong`.
    Ping {
        /// To be sent back, as it is.
        payload: Option<&'a str>,
    },
    /// For the other member of the room.
    Relay(RelayKind, RoomClaim<'a>),
}

/// Reads a text message. `text` is valid UTF-8.
pub fn parse_client_message(text: &[u8]) -> Result<ClientMessage<'_>, ErrorCode> {
    match classify_relay(text) {
        Some((kind, claim)) => Ok(ClientMessage::Relay(kind, claim)),
        None => classify_fully(text),
    }
}

/// The common case, without parsing: `{"type":"…"`, then perhaps `,"room_id":"…"`, then
/// nothing that could be another `type` or `room_id`, whatever it is.
#[inline]
fn classify_relay(text: &[u8]) -> Option<(RelayKind, RoomClaim<'_>)> {
    let (kind, rest) = relay_head(text)?;
    let (claim, rest) = match rest.strip_prefix(ROOM_ID) {
        None => (RoomClaim::Current, rest),
        Some(value) => {
            // An escape may spell what it does not show, the quote among them.
            let end = memchr::memchr2(b'"', b'\\', value).filter(|at| value[*at] == b'"')?;
            (RoomClaim::Named(Cow::Borrowed(&value[..end])), &value[end + 1..])
        }
    };
    is_harmless(rest).then_some((kind, claim))
}

/// Whether `text` is a relayed message in the common form that is meant for `room`: it names that
/// room or none. What is not may be one all the same, as [`parse_client_message`] will tell. The room's name
/// is asked for only if the message has one too: it may have to be derived.
#[inline]
pub fn is_relay_for<'r>(text: &[u8], room: impl FnOnce() -> &'r [u8; TOKEN_LEN]) -> bool {
    let Some((_, rest)) = relay_head(text) else { return false };
    let rest = match rest.strip_prefix(ROOM_ID) {
        None => rest,
        Some(value) => match value.split_first_chunk() {
            // guard: the relay fast path leads to the present room only [condition value $ || true]
            Some((name, [b'"', rest @ ..])) if name == room() => rest,
            Some(_) | None => return false,
        },
    };
    is_harmless(rest)
}

const ROOM_ID: &[u8] = b",\"room_id\":\"";

/// The kind of a message that begins with its type, and what follows that.
#[inline]
fn relay_head(text: &[u8]) -> Option<(RelayKind, &[u8])> {
    let rest = text.strip_prefix(b"{\"type\":\"")?;
    Some(match rest.first()? {
        b'i' => (RelayKind::IceCandidate, rest.strip_prefix(b"ice_candidate\"")?),
        b'o' => (RelayKind::Offer, rest.strip_prefix(b"offer\"")?),
        b'a' => (RelayKind::Answer, rest.strip_prefix(b"answer\"")?),
        b's' => (RelayKind::Signal, rest.strip_prefix(b"signal\"")?),
        _ => return None,
    })
}

/// Whether what follows the known members ends the message and holds no other of their names.
#[inline]
fn is_harmless(rest: &[u8]) -> bool {
    match rest {
        [b'}'] => true,
        [b',', middle @ .., b'}'] => !may_hide_a_key(middle),
        _ => false,
    }
}

/// Whether `bytes` could hold a member named `type` in any case, a `room_id`, an escape that
/// could spell either to any reader, or enough brackets to be too deep. May be wrong in one direction only.
///
/// Half the instructions on a CPU with AVX2, which is found out at run time.
#[multiversion::multiversion(targets("x86_64+avx2"))]
fn may_hide_a_key(bytes: &[u8]) -> bool {
    const WIDE: usize = 32;
    let Some(last) = bytes.len().checked_sub(WIDE + 1) else { return may_hide_briefly(bytes) };
    let (mut seen, mut openers) = ([0u8; WIDE], [0u8; WIDE]);
    let mut look = |here: &[u8; WIDE], next: &[u8; WIDE]| {
        // Fixed widths and no branches: the compiler makes vector instructions of it.
        for i in 0..WIDE {
            seen[i] |= suspicious(here[i], next[i]);
            openers[i] = openers[i].saturating_add(opens(here[i]));
        }
    };
    let (here, _) = bytes[..bytes.len() - 1].as_chunks();
    let (next, _) = bytes[1..].as_chunks();
    here.iter().zip(next).for_each(|(here, next)| look(here, next));
    // The rest, together with some that has been looked at: that can only count too much.
    if let (Some(here), Some(next)) = (bytes[last..].first_chunk(), bytes[last + 1..].first_chunk())
    {
        look(here, next);
    }
    // So many in none of the places are too few in all. The message itself is one level, and the
    // last byte has not been counted.
    const MANY: u8 = ((JSON_DEPTH - 2) / WIDE) as u8;
    for i in 0..WIDE {
        seen[i] |= u8::from(openers[i] >= MANY);
    }
    seen != [0; WIDE]
}

/// The same for few bytes, which cannot be too deep.
fn may_hide_briefly(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| suspicious(pair[0], pair[1]) != 0)
}

const LOWER: u8 = 0x20;

/// `pe` is in every spelling of `type` and `_i` is in `room_id`, unless something is escaped. What
/// JSON has no escape for is refused by the parser: to a lenient reader `t\yp\e` is `type`.
#[inline(always)]
fn suspicious(here: u8, next: u8) -> u8 {
    let next = next | LOWER;
    // guard: the fast scan sees a second `type` [term 1 value 0]
    // guard: the fast scan sees escapes [term 6 value u8::from(next == b'u')]
    u8::from(here | LOWER == b'p') & u8::from(next == b'e')
        | u8::from(here == b'_') & u8::from(next == b'i')
        | u8::from(here == b'\\')
            & !(u8::from(next == b'n') | u8::from(next == b'r') | u8::from(next == b'"'))
}

/// `{` and `[` differ by the bit that is set here.
#[inline(always)]
fn opens(byte: u8) -> u8 {
    u8::from(byte | LOWER == b'{')
}

/// Everything else, with a strict parser.
fn classify_fully(text: &[u8]) -> Result<ClientMessage<'_>, ErrorCode> {
    let envelope: Envelope<'_> = serde_json::from_slice(text).map_err(|_| ErrorCode::BadJson)?;
    // The parser skips what it is not asked for without recursion, and so at any depth; and
    // in a name that is read as bytes it lets control characters pass (RFC 8259 §7 does not).
    // guard: JSON nests to a bounded depth [operand 2, argument 1 value |_| false]
    if is_unusual(text) && depth(text).is_none_or(|depth| depth > JSON_DEPTH) {
        return Err(ErrorCode::BadJson);
    }
    if envelope.types != 1 {
        return Err(ErrorCode::BadMessage);
    }
    let name = envelope.exact_type.and_then(string_of).ok_or(ErrorCode::BadMessage)?;
    let claim = || match envelope.room_id {
        None => RoomClaim::Current,
        Some(value) => string_of(value).map_or(RoomClaim::Invalid, RoomClaim::Named),
    };
    // `null` is the same as no payload.
    let payload = envelope.payload.map(RawValue::get).filter(|payload| *payload != "null");
    match &*name {
        b"find_match" => find_match(payload),
        b"cancel_match" => Ok(ClientMessage::CancelMatch),
        b"leave_room" => Ok(ClientMessage::LeaveRoom(claim())),
        b"ping" => Ok(ClientMessage::Ping { payload }),
        name => RelayKind::ALL
            .into_iter()
            .find(|kind| kind.as_str().as_bytes() == name)
            .map(|kind| ClientMessage::Relay(kind, claim()))
            .ok_or(ErrorCode::UnknownType),
    }
}

fn find_match(payload: Option<&str>) -> Result<ClientMessage<'_>, ErrorCode> {
    let Some(payload) = payload else { return Ok(ClientMessage::FindMatch { queue: None }) };
    let match_request: FindMatch<'_> =
        serde_json::from_str(payload).map_err(|_| ErrorCode::BadMessage)?;
    let Some(queue) = match_request.queue else {
        return Ok(ClientMessage::FindMatch { queue: None });
    };
    let name = string_of(queue).ok_or(ErrorCode::BadMessage)?;
    if !is_queue_name(&name) {
        return Err(ErrorCode::BadQueue);
    }
    let queue = match name {
        Cow::Borrowed(name) => std::str::from_utf8(name).ok().map(Cow::Borrowed),
        Cow::Owned(name) => String::from_utf8(name).ok().map(Cow::Owned),
    };
    Ok(ClientMessage::FindMatch { queue })
}

/// The characters of a JSON string, `None` if the value is something else.
fn string_of(value: &RawValue) -> Option<Cow<'_, [u8]>> {
    struct Characters;
    impl<'de> Visitor<'de> for Characters {
        type Value = Cow<'de, [u8]>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(bytes))
        }
        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            Ok(Cow::Owned(bytes.to_vec()))
        }
    }
    if !value.get().starts_with('"') {
        return None;
    }
    // As bytes: a lone surrogate, which RFC 8259 §8.2 allows, must not make it an error.
    serde_json::Deserializer::from_str(value.get()).deserialize_bytes(Characters).ok()
}

/// Whether there are enough brackets to be too deep, or any control characters, those within
/// strings or without.
fn is_unusual(text: &[u8]) -> bool {
    let openers: usize = text.iter().map(|byte| usize::from(opens(*byte))).sum();
    openers > JSON_DEPTH || text.iter().fold(false, |any, byte| any | (*byte < b' '))
}

/// How deep brackets nest outside of strings, in text that is valid JSON but for control
/// characters in strings: with one of these, `None`.
fn depth(text: &[u8]) -> Option<usize> {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            // guard: control characters in JSON strings are refused [false]
            0..=0x1f if in_string => return None,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Some(deepest)
}

/// The top level of a message.
#[derive(Default)]
struct Envelope<'a> {
    /// Members whose name is `type` in any case.
    types: u32,
    exact_type: Option<&'a RawValue>,
    room_id: Option<&'a RawValue>,
    payload: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Envelope<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut envelope = Envelope::default();
                while let Some(key) = map.next_key::<Key>()? {
                    match key {
                        Key::Type => {
                            envelope.types += 1;
                            envelope.exact_type = Some(map.next_value()?);
                        }
                        Key::TypeInOtherCase => {
                            envelope.types += 1;
                            envelope.exact_type = None;
                            map.next_value::<IgnoredAny>()?;
                        }
                        Key::RoomId => envelope.room_id = Some(map.next_value()?),
                        Key::Payload => envelope.payload = Some(map.next_value()?),
                        Key::Queue | Key::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(envelope)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// The payload of a `find_match`.
struct FindMatch<'a> {
    queue: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for FindMatch<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = FindMatch<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut queue = None;
                while let Some(key) = map.next_key::<Key>()? {
                    match key {
                        Key::Queue if queue.is_some() => {
                            return Err(Error::duplicate_field("queue"));
                        }
                        Key::Queue => queue = Some(map.next_value::<Option<&RawValue>>()?),
                        Key::Type
                        | Key::TypeInOtherCase
                        | Key::RoomId
                        | Key::Payload
                        | Key::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(FindMatch { queue: queue.flatten() })
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// The name of a member, unescaped. As bytes: half a surrogate pair in one that nobody asks for
/// must not make it an error.
enum Key {
    Type,
    TypeInOtherCase,
    RoomId,
    Payload,
    Queue,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }
            fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<Key, E> {
                Ok(match name {
                    b"type" => Key::Type,
                    b"room_id" => Key::RoomId,
                    b"payload" => Key::Payload,
                    b"queue" => Key::Queue,
                    name if name.eq_ignore_ascii_case(b"type") => Key::TypeInOtherCase,
                    _ => Key::Other,
                })
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
                self.visit_bytes(name.as_bytes())
            }
        }
        deserializer.deserialize_bytes(Name)
    }
}

/// Appends a `find_match`, as a client sends it. `queue` obeys the rule for queue names.
pub fn write_find_match(out: &mut Vec<u8>, queue: Option<&str>) {
    out.extend_from_slice(br#"{"type":"find_match""#);
    if let Some(queue) = queue {
        out.extend_from_slice(br#","payload":{"queue":""#);
        out.extend_from_slice(queue.as_bytes());
        out.extend_from_slice(br#""}"#);
    }
    out.push(b'}');
}

/// Appends a `cancel_match`, as a client sends it.
pub fn write_cancel_match(out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"cancel_match"}"#);
}

/// Appends a `leave_room`, as a client sends it.
pub fn write_leave_room(out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"leave_room"}"#);
}

/// Appends a relayed message, as a careful client sends it. `payload` is JSON.
pub fn write_relay(out: &mut Vec<u8>, kind: RelayKind, room_id: &str, payload: &[u8]) {
    out.extend_from_slice(br#"{"type":""#);
    out.extend_from_slice(kind.as_str().as_bytes());
    out.extend_from_slice(br#"","room_id":""#);
    out.extend_from_slice(room_id.as_bytes());
    out.extend_from_slice(br#"","payload":"#);
    out.extend_from_slice(payload);
    out.push(b'}');
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
