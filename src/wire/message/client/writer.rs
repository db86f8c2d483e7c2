//! The client's half: writes the messages that clients send. Pure.

use crate::wire::message::RelayKind;

/// Appends a `find_match`. `queue` must be a valid queue name.
pub fn write_find_match(out: &mut Vec<u8>, queue: Option<&str>) {
    out.extend_from_slice(br#"{"type":"find_match""#);
    if let Some(queue) = queue {
        out.extend_from_slice(br#","payload":{"queue":""#);
        out.extend_from_slice(queue.as_bytes());
        out.extend_from_slice(br#""}"#);
    }
    out.push(b'}');
}

/// Appends a `cancel_match`.
pub fn write_cancel_match(out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"cancel_match"}"#);
}

/// Appends a `leave_room`.
pub fn write_leave_room(out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"leave_room"}"#);
}

/// Appends a relayed message that names its room. `payload` must be JSON.
pub fn write_relay(out: &mut Vec<u8>, kind: RelayKind, room_id: &str, payload: &[u8]) {
    out.extend_from_slice(br#"{"type":""#);
    out.extend_from_slice(kind.as_str().as_bytes());
    out.extend_from_slice(br#"","room_id":""#);
    out.extend_from_slice(room_id.as_bytes());
    out.extend_from_slice(br#"","payload":"#);
    out.extend_from_slice(payload);
    out.push(b'}');
}
