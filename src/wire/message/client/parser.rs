//! The strict parser for every client message that the fast scan does not accept. Pure.
//!
//! serde_json parses the outermost object; the checks that it does not make are made here: exactly
//! one `type` in any case, a bounded depth, and no control characters in names.

use super::relay_scan::is_opening_bracket;
use super::{ClientMessage, RoomClaim};
use crate::limits::JSON_DEPTH;
use crate::wire::message::{ClientMessageType, ErrorCode, MessageRefusal, is_queue_name};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Parses any client message.
pub(super) fn parse_strictly(text: &[u8]) -> Result<ClientMessage<'_>, MessageRefusal> {
    let refusal = |code| MessageRefusal::new(code, None);
    let envelope: ClientEnvelope<'_> =
        serde_json::from_slice(text).map_err(|_| refusal(ErrorCode::BadJson))?;
    // serde_json skips ignored values without recursion, and so at any depth. And it accepts
    // control characters in a name that is read as bytes, which RFC 8259 §7 forbids.
    // guard: JSON nests to a bounded depth [operand 2, argument 1 value |_| false]
    if needs_depth_check(text) && depth(text).is_none_or(|depth| depth > JSON_DEPTH) {
        return Err(refusal(ErrorCode::BadJson));
    }
    if envelope.types != 1 {
        return Err(refusal(ErrorCode::BadMessage));
    }
    let name = envelope.exact_type.and_then(string_value);
    let name = name.ok_or(refusal(ErrorCode::BadMessage))?;
    let message_type =
        ClientMessageType::from_name(&name).ok_or(refusal(ErrorCode::UnknownType))?;
    // `null` means the same as an absent member.
    let claim = || match envelope.room_id.filter(|value| value.get() != "null") {
        None => RoomClaim::Current,
        Some(value) => string_value(value).map_or(RoomClaim::Invalid, RoomClaim::Named),
    };
    let payload = envelope.payload.map(RawValue::get).filter(|payload| *payload != "null");
    Ok(match message_type {
        ClientMessageType::FindMatch => {
            return parse_find_match(payload)
                .map_err(|code| MessageRefusal::of(message_type, code));
        }
        ClientMessageType::CancelMatch => ClientMessage::CancelMatch,
        ClientMessageType::LeaveRoom => ClientMessage::LeaveRoom(claim()),
        ClientMessageType::Ping => ClientMessage::Ping { payload },
        ClientMessageType::Relay(kind) => ClientMessage::Relay(kind, claim()),
    })
}

fn parse_find_match(payload: Option<&str>) -> Result<ClientMessage<'_>, ErrorCode> {
    let Some(payload) = payload else { return Ok(ClientMessage::FindMatch { queue: None }) };
    let payload: FindMatchPayload<'_> =
        serde_json::from_str(payload).map_err(|_| ErrorCode::BadMessage)?;
    let Some(queue) = payload.queue else {
        return Ok(ClientMessage::FindMatch { queue: None });
    };
    let name = string_value(queue).ok_or(ErrorCode::BadMessage)?;
    if !is_queue_name(&name) {
        return Err(ErrorCode::BadQueue);
    }
    let queue = match name {
        Cow::Borrowed(name) => std::str::from_utf8(name).ok().map(Cow::Borrowed),
        Cow::Owned(name) => String::from_utf8(name).ok().map(Cow::Owned),
    };
    Ok(ClientMessage::FindMatch { queue })
}

/// The characters of a JSON string, unescaped; `None` if the value is not a string.
fn string_value(value: &RawValue) -> Option<Cow<'_, [u8]>> {
    struct StringVisitor;
    impl<'de> Visitor<'de> for StringVisitor {
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
    // As bytes, because RFC 8259 §8.2 allows a lone surrogate, which a `String` cannot contain.
    serde_json::Deserializer::from_str(value.get()).deserialize_bytes(StringVisitor).ok()
}

/// Whether there are enough brackets for too deep a nesting, or any control characters, inside or
/// outside of strings.
fn needs_depth_check(text: &[u8]) -> bool {
    let brackets: usize = text.iter().map(|byte| usize::from(is_opening_bracket(*byte))).sum();
    brackets > JSON_DEPTH || text.iter().fold(false, |any, byte| any | (*byte < b' '))
}

/// How deeply brackets nest outside of strings; `None` if a string contains a control character.
/// Apart from control characters in strings, `text` must be valid JSON.
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

/// The outermost object of a message.
#[derive(Default)]
struct ClientEnvelope<'a> {
    /// The number of members named `type` in any case.
    types: u32,
    exact_type: Option<&'a RawValue>,
    room_id: Option<&'a RawValue>,
    payload: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for ClientEnvelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EnvelopeVisitor;
        impl<'de> Visitor<'de> for EnvelopeVisitor {
            type Value = ClientEnvelope<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut envelope = ClientEnvelope::default();
                while let Some(name) = map.next_key::<MemberName>()? {
                    match name {
                        MemberName::Type => {
                            envelope.types += 1;
                            envelope.exact_type = Some(map.next_value()?);
                        }
                        MemberName::TypeInOtherCase => {
                            envelope.types += 1;
                            envelope.exact_type = None;
                            map.next_value::<IgnoredAny>()?;
                        }
                        MemberName::RoomId => envelope.room_id = Some(map.next_value()?),
                        MemberName::Payload => envelope.payload = Some(map.next_value()?),
                        MemberName::Queue | MemberName::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(envelope)
            }
        }
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

/// The payload of a `find_match`.
struct FindMatchPayload<'a> {
    queue: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for FindMatchPayload<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FindMatchVisitor;
        impl<'de> Visitor<'de> for FindMatchVisitor {
            type Value = FindMatchPayload<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut queue = None;
                while let Some(name) = map.next_key::<MemberName>()? {
                    match name {
                        MemberName::Queue if queue.is_some() => {
                            return Err(Error::duplicate_field("queue"));
                        }
                        MemberName::Queue => queue = Some(map.next_value::<Option<&RawValue>>()?),
                        MemberName::Type
                        | MemberName::TypeInOtherCase
                        | MemberName::RoomId
                        | MemberName::Payload
                        | MemberName::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(FindMatchPayload { queue: queue.flatten() })
            }
        }
        deserializer.deserialize_map(FindMatchVisitor)
    }
}

/// The name of a member, unescaped. It is read as bytes, so that a lone surrogate in a name that
/// is ignored is no error.
enum MemberName {
    Type,
    TypeInOtherCase,
    RoomId,
    Payload,
    Queue,
    Other,
}

impl<'de> Deserialize<'de> for MemberName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MemberNameVisitor;
        impl Visitor<'_> for MemberNameVisitor {
            type Value = MemberName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }
            fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<MemberName, E> {
                Ok(match name {
                    b"type" => MemberName::Type,
                    b"room_id" => MemberName::RoomId,
                    b"payload" => MemberName::Payload,
                    b"queue" => MemberName::Queue,
                    name if name.eq_ignore_ascii_case(b"type") => MemberName::TypeInOtherCase,
                    _ => MemberName::Other,
                })
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<MemberName, E> {
                self.visit_bytes(name.as_bytes())
            }
        }
        deserializer.deserialize_bytes(MemberNameVisitor)
    }
}
