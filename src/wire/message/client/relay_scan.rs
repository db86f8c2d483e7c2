//! The fast scan for relayed messages in the usual order of members: `{"type":"…"`, optionally
//! `,"room_id":"…"`, then anything that cannot contain another `type` or `room_id`. Pure.
//!
//! The scan does not parse the rest, which need not even be valid JSON. It accepts a message only
//! if no reader, however lenient, can find another type or another room in it; everything else is
//! left to the strict parser.

use super::RoomClaim;
use crate::ids::TOKEN_LEN;
use crate::limits::JSON_DEPTH;
use crate::wire::message::RelayKind;
use std::borrow::Cow;

/// The kind and the room of a relayed message; `None` if the strict parser has to decide.
#[inline]
pub(super) fn scan_relay(text: &[u8]) -> Option<(RelayKind, RoomClaim<'_>)> {
    let (kind, rest) = split_type(text)?;
    let (claim, rest) = match rest.strip_prefix(ROOM_ID) {
        None => (RoomClaim::Current, without_null_room(rest)),
        Some(value) => {
            // With an escape, the characters of the name are not those in the text, and a quotation
            // mark may belong to the name.
            let end = memchr::memchr2(b'"', b'\\', value).filter(|at| value[*at] == b'"')?;
            (RoomClaim::Named(Cow::Borrowed(&value[..end])), &value[end + 1..])
        }
    };
    is_harmless(rest).then_some((kind, claim))
}

/// Whether the fast scan accepts `text` as a relayed message for `room`: one that names this room
/// or none. If not, it may still be one; [`super::parse_client_message`] decides. `room` is
/// called only if the message names a room, because the token may have to be derived.
#[inline]
pub fn is_relay_for<'r>(text: &[u8], room: impl FnOnce() -> &'r [u8; TOKEN_LEN]) -> bool {
    let Some((_, rest)) = split_type(text) else { return false };
    let rest = match rest.strip_prefix(ROOM_ID) {
        None => without_null_room(rest),
        Some(value) => match value.split_first_chunk() {
            // guard: the relay fast path leads to the present room only [condition value $ || true]
            Some((name, [b'"', rest @ ..])) if name == room() => rest,
            Some(_) | None => return false,
        },
    };
    is_harmless(rest)
}

const ROOM_ID: &[u8] = b",\"room_id\":\"";
const NULL_ROOM_ID: &[u8] = b",\"room_id\":null";

/// The text after a `room_id` of `null`, which names no room, as an absent one does.
#[inline]
fn without_null_room(rest: &[u8]) -> &[u8] {
    rest.strip_prefix(NULL_ROOM_ID).unwrap_or(rest)
}

/// The kind of a message that begins with its type, and the text after the type.
#[inline]
fn split_type(text: &[u8]) -> Option<(RelayKind, &[u8])> {
    let rest = text.strip_prefix(b"{\"type\":\"")?;
    Some(match rest.first()? {
        b'i' => (RelayKind::IceCandidate, rest.strip_prefix(b"ice_candidate\"")?),
        b'o' => (RelayKind::Offer, rest.strip_prefix(b"offer\"")?),
        b'a' => (RelayKind::Answer, rest.strip_prefix(b"answer\"")?),
        b's' => (RelayKind::Signal, rest.strip_prefix(b"signal\"")?),
        _ => return None,
    })
}

/// Whether the text after the known members ends the message and contains no second `type` or
/// `room_id`.
#[inline]
fn is_harmless(rest: &[u8]) -> bool {
    match rest {
        [b'}'] => true,
        [b',', middle @ .., b'}'] => !may_hide_a_member(middle),
        _ => false,
    }
}

/// Whether `bytes` could contain a member named `type` in any case, a `room_id`, an escape that
/// some reader takes for a part of either, or enough brackets to be nested too deeply. It may
/// return true without reason, but never false.
///
/// With AVX2, which is detected at run time, it takes half the instructions.
#[multiversion::multiversion(targets("x86_64+avx2"))]
pub(super) fn may_hide_a_member(bytes: &[u8]) -> bool {
    const WIDTH: usize = 32;
    let Some(last) = bytes.len().checked_sub(WIDTH + 1) else { return may_hide_in_few(bytes) };
    let (mut found, mut brackets) = ([0u8; WIDTH], [0u8; WIDTH]);
    let mut check = |here: &[u8; WIDTH], next: &[u8; WIDTH]| {
        // A fixed width and no branches, so that the compiler emits vector instructions.
        for i in 0..WIDTH {
            found[i] |= is_suspicious_pair(here[i], next[i]);
            brackets[i] = brackets[i].saturating_add(is_opening_bracket(here[i]));
        }
    };
    let (here, _) = bytes[..bytes.len() - 1].as_chunks();
    let (next, _) = bytes[1..].as_chunks();
    here.iter().zip(next).for_each(|(here, next)| check(here, next));
    // The last chunk overlaps the one before: brackets may be counted twice, but none is missed.
    if let (Some(here), Some(next)) = (bytes[last..].first_chunk(), bytes[last + 1..].first_chunk())
    {
        check(here, next);
    }
    // If every lane counted fewer brackets than this, all lanes together counted fewer than
    // `JSON_DEPTH - 2`. The outermost object is one more level, and the last byte, which was not
    // counted, may be another.
    const TOO_MANY: u8 = ((JSON_DEPTH - 2) / WIDTH) as u8;
    for i in 0..WIDTH {
        found[i] |= u8::from(brackets[i] >= TOO_MANY);
    }
    found != [0; WIDTH]
}

/// The same for a text that is too short to be nested too deeply.
fn may_hide_in_few(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| is_suspicious_pair(pair[0], pair[1]) != 0)
}

/// The bit in which an ASCII letter differs from the same letter in the other case.
const CASE_BIT: u8 = 0x20;

/// 1 if two successive bytes occur in every spelling of `type` (`pe`) or in `room_id` (`_i`), or
/// begin an escape other than `\n`, `\r` and `\"`. Escapes that JSON does not define count too:
/// to a lenient reader, `t\yp\e` is `type`.
#[inline(always)]
fn is_suspicious_pair(here: u8, next: u8) -> u8 {
    let next = next | CASE_BIT;
    // guard: the fast scan sees a second `type` [term 1 value 0]
    // guard: the fast scan sees escapes [term 6 value u8::from(next == b'u')]
    u8::from(here | CASE_BIT == b'p') & u8::from(next == b'e')
        | u8::from(here == b'_') & u8::from(next == b'i')
        | u8::from(here == b'\\')
            & !(u8::from(next == b'n') | u8::from(next == b'r') | u8::from(next == b'"'))
}

/// 1 for `{` and `[`, which differ only in [`CASE_BIT`].
#[inline(always)]
pub(super) fn is_opening_bracket(byte: u8) -> u8 {
    u8::from(byte | CASE_BIT == b'{')
}
