//! The messages that virtual users relay to each other, and the header by which the receiver
//! checks them. Pure.
//!
//! Every relayed message has a header of fixed width in its payload: hashes of room and sender,
//! sequence number, planned and actual sending time, and a checksum over the whole message. The
//! header is found and checked without parsing JSON, so that a message costs the generator little
//! more than its two system calls. The rest of a message has the size of what browsers send.

mod checksum;
mod hex;
mod payloads;

use crate::timestamp::Timestamp;
use crate::wire::message::RelayKind;
use crate::wire::websocket::frame::{TEXT, push_client_frame};
use checksum::checksum;
use hex::{read_hex, write_hex};
use memchr::memmem::Finder;
use payloads::{CANDIDATE, padding, session_description};
use serde::{Deserialize, Serialize};

/// The fields of a message's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    /// Hash of the room that the message was sent in.
    pub room: u64,
    /// Hash of the sender's session.
    pub sender: u64,
    /// When the plan said to send the message.
    pub intended: Timestamp,
    /// When the message was sent.
    pub sent: Timestamp,
    /// Sequence number of the message in this room, by sender, from 0.
    pub sequence: u32,
    /// Whether this is the sender's last message in the room.
    pub last: bool,
    /// The server has reported to the sender that it dropped messages, so that gaps are no fault.
    pub gaps_expected: bool,
}

/// Hexadecimal digits of a header before its checksum.
const BODY_DIGITS: usize = 16 * 5;
/// Hexadecimal digits of the checksum.
const CHECK_DIGITS: usize = 16;
/// Bytes of a whole header.
const HEADER_BYTES: usize = BODY_DIGITS + CHECK_DIGITS;
/// Bytes of a room's identifier: 16 in base64url.
const ROOM_ID_BYTES: usize = 22;
/// The start of the JSON member that holds the header.
const MARKER: &[u8] = b"\"probe\":\"";
/// The header is searched for in this many bytes from the start of the message.
const MARKER_SEARCH_BYTES: usize = 512;

/// A relayed message as the receiver decoded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodedMessage {
    /// A header with a correct checksum.
    Intact(MessageHeader),
    /// A message of a relayed type without a header, or with a wrong checksum.
    Corrupted,
}

/// A 64-bit FNV-1a hash of an identifier. Any two of ten thousand identifiers have the same hash
/// with a probability below 10⁻¹⁰.
pub fn id_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Checksum of a message whose checksum digits begin at `check_at`.
fn message_checksum(text: &[u8], check_at: usize) -> u64 {
    let (before, rest) = text.split_at(check_at);
    checksum(checksum(text.len() as u64, before), &rest[CHECK_DIGITS..])
}

/// Encodes messages as masked client frames. Each thread has its own.
pub struct MessageEncoder {
    /// The text after the header, by kind of message: it ends the header's string and the payload.
    tails: [Vec<u8>; 4],
    scratch: Vec<u8>,
    mask_state: u64,
}

impl MessageEncoder {
    /// `message_bytes` is the size of a plain message; `seed` starts the sequence of mask keys.
    pub fn new(message_bytes: usize, seed: u64) -> Self {
        let tails = RelayKind::ALL.map(|kind| {
            let rest = match kind {
                RelayKind::Offer => session_description("offer", "actpass", 24),
                RelayKind::Answer => session_description("answer", "active", 9),
                RelayKind::IceCandidate => CANDIDATE.to_owned(),
                RelayKind::Signal => padding(message_bytes),
            };
            format!("\"{rest}}}}}").into_bytes()
        });
        MessageEncoder { tails, scratch: Vec::new(), mask_state: seed | 1 }
    }

    /// The next mask key. RFC 6455 §10.3 requires unpredictable keys to protect proxies from web
    /// pages; a load generator only needs them to vary.
    pub fn next_mask(&mut self) -> [u8; 4] {
        self.mask_state ^= self.mask_state << 13;
        self.mask_state ^= self.mask_state >> 7;
        self.mask_state ^= self.mask_state << 17;
        ((self.mask_state >> 16) as u32).to_le_bytes()
    }

    /// Appends a masked frame with a relayed message that has this header.
    pub fn encode_relay(
        &mut self,
        out: &mut Vec<u8>,
        kind: RelayKind,
        room_id: &str,
        header: &MessageHeader,
    ) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        text.extend_from_slice(b"{\"type\":\"");
        text.extend_from_slice(kind.as_str().as_bytes());
        text.extend_from_slice(b"\",\"room_id\":\"");
        text.extend_from_slice(room_id.as_bytes());
        text.extend_from_slice(b"\",\"payload\":{");
        text.extend_from_slice(MARKER);
        let at = text.len();
        text.resize(at + HEADER_BYTES, b'0');
        let (body, _) = text[at..].split_at_mut(BODY_DIGITS);
        write_hex(&mut body[0..16], header.room);
        write_hex(&mut body[16..32], header.sender);
        write_hex(&mut body[32..48], header.intended.as_nanos());
        write_hex(&mut body[48..64], header.sent.as_nanos());
        let flags = u64::from(header.last) | u64::from(header.gaps_expected) << 1;
        write_hex(&mut body[64..80], u64::from(header.sequence) << 32 | flags);
        text.extend_from_slice(&self.tails[kind as usize]);
        let check_at = at + BODY_DIGITS;
        let check = message_checksum(&text, check_at);
        write_hex(&mut text[check_at..check_at + CHECK_DIGITS], check);
        let mask = self.next_mask();
        push_client_frame(out, TEXT, &text, mask);
        self.scratch = text;
    }

    /// Appends a masked frame with the text that `write` appends.
    pub fn encode_text(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        write(&mut text);
        let mask = self.next_mask();
        push_client_frame(out, TEXT, &text, mask);
        self.scratch = text;
    }
}

/// Sizes of the messages that users relay, in bytes of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageSizes {
    /// A plain message.
    pub plain: usize,
    /// An offer, the largest message whose size is fixed.
    pub offer: usize,
}

impl MessageSizes {
    /// The sizes when a plain message is to have `message_bytes`.
    pub fn of(message_bytes: usize) -> Self {
        let encoder = MessageEncoder::new(message_bytes, 1);
        let size = |kind: RelayKind| {
            let envelope = "{'type':'','room_id':'','payload':{".len() + kind.as_str().len();
            let tail = encoder.tails[kind as usize].len();
            envelope + ROOM_ID_BYTES + MARKER.len() + HEADER_BYTES + tail
        };
        MessageSizes { plain: size(RelayKind::Signal), offer: size(RelayKind::Offer) }
    }

    /// The larger of both sizes.
    pub fn larger(&self, other: &MessageSizes) -> Self {
        MessageSizes { plain: self.plain.max(other.plain), offer: self.offer.max(other.offer) }
    }
}

/// Decodes relayed messages and checks their headers. Each thread has its own.
pub struct MessageDecoder {
    finder: Finder<'static>,
}

impl Default for MessageDecoder {
    fn default() -> Self {
        MessageDecoder { finder: Finder::new(MARKER) }
    }
}

impl MessageDecoder {
    /// Decodes a message of one of the relayed types; `None` for a message of another type.
    #[inline]
    pub fn decode(&self, text: &[u8]) -> Option<DecodedMessage> {
        let name = text.strip_prefix(b"{\"type\":\"")?;
        let relayed = RelayKind::ALL.iter().any(|kind| {
            name.strip_prefix(kind.as_str().as_bytes()).is_some_and(|rest| rest.starts_with(b"\""))
        });
        relayed.then(|| self.header(text).map_or(DecodedMessage::Corrupted, DecodedMessage::Intact))
    }

    /// Whether the text contains the header's marker, so that a virtual user has sent it.
    pub fn has_marker(&self, text: &[u8]) -> bool {
        self.finder.find(text).is_some()
    }

    fn header(&self, text: &[u8]) -> Option<MessageHeader> {
        let at = self.finder.find(&text[..text.len().min(MARKER_SEARCH_BYTES)])? + MARKER.len();
        let digits = text.get(at..at + HEADER_BYTES)?;
        let check_at = at + BODY_DIGITS;
        let mut expected = [0; CHECK_DIGITS];
        write_hex(&mut expected, message_checksum(text, check_at));
        if digits[BODY_DIGITS..] != expected {
            return None;
        }
        let last = read_hex(&digits[64..80])?;
        let sequence = (last >> 32) as u32;
        // No user sends that many messages, and `SequenceTracker` needs a next number.
        if sequence == u32::MAX {
            return None;
        }
        Some(MessageHeader {
            room: read_hex(&digits[0..16])?,
            sender: read_hex(&digits[16..32])?,
            intended: Timestamp::from_nanos(read_hex(&digits[32..48])?),
            sent: Timestamp::from_nanos(read_hex(&digits[48..64])?),
            sequence,
            last: last & 1 != 0,
            gaps_expected: last & 2 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::checksum::STRIDE;
    use super::*;
    use crate::wire::message::client::{ClientMessage, RoomClaim, parse_client_message};
    use crate::wire::websocket::frame::{Side, parse_header, unmask};

    const ROOM: &str = "abcdefghijklmnopqrstuv";

    fn header() -> MessageHeader {
        MessageHeader {
            room: id_hash(ROOM),
            sender: id_hash("sender"),
            intended: Timestamp::from_nanos(123_456_789),
            sent: Timestamp::from_nanos(123_999_999),
            sequence: 4_000_000_000,
            last: true,
            gaps_expected: false,
        }
    }

    fn message(kind: RelayKind, bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        MessageEncoder::new(bytes, 7).encode_relay(&mut out, kind, ROOM, &header());
        let header = parse_header(&out, Side::Client).unwrap().unwrap();
        let mut text = out.split_off(header.header_len);
        assert_eq!(text.len() as u64, header.payload_len);
        unmask(&mut text, header.mask.unwrap(), 0);
        text
    }

    #[test]
    fn knows_the_sizes_of_its_messages() {
        for bytes in [0, 200, 5000] {
            let largest = |kind| message(kind, bytes).len();
            let sizes = MessageSizes::of(bytes);
            assert_eq!(sizes.plain, largest(RelayKind::Signal));
            assert_eq!(sizes.offer, largest(RelayKind::Offer));
            let others = [RelayKind::Answer, RelayKind::IceCandidate].map(largest);
            assert!(others.iter().all(|other| *other < sizes.offer));
        }
    }

    #[test]
    fn decoding_reverses_encoding_and_a_server_relays_the_message() {
        for kind in RelayKind::ALL {
            let text = message(kind, 200);
            assert_eq!(
                MessageDecoder::default().decode(&text),
                Some(DecodedMessage::Intact(header()))
            );
            let claim = RoomClaim::Named(ROOM.as_bytes().into());
            assert_eq!(parse_client_message(&text), Ok(ClientMessage::Relay(kind, claim)));
            serde_json::from_slice::<serde_json::Value>(&text).unwrap();
        }
    }

    #[test]
    fn rejects_the_highest_sequence_number() {
        let mut out = Vec::new();
        let last = MessageHeader { sequence: u32::MAX, ..header() };
        MessageEncoder::new(200, 7).encode_relay(&mut out, RelayKind::Signal, ROOM, &last);
        let header = parse_header(&out, Side::Client).unwrap().unwrap();
        let mut text = out.split_off(header.header_len);
        unmask(&mut text, header.mask.unwrap(), 0);
        assert_eq!(MessageDecoder::default().decode(&text), Some(DecodedMessage::Corrupted));
    }

    #[test]
    fn messages_have_the_sizes_of_browser_signalling() {
        for bytes in [200, 201, 1000] {
            assert_eq!(message(RelayKind::Signal, bytes).len(), bytes);
        }
        let size = |kind| message(kind, 200).len();
        assert!((2000..4000).contains(&size(RelayKind::Offer)), "{}", size(RelayKind::Offer));
        assert!((1000..2000).contains(&size(RelayKind::Answer)), "{}", size(RelayKind::Answer));
        let candidate = size(RelayKind::IceCandidate);
        assert!((250..450).contains(&candidate), "{candidate}");
    }

    #[test]
    fn detects_a_change_of_any_byte() {
        let text = message(RelayKind::Signal, 200);
        let decoder = MessageDecoder::default();
        for at in b"{\"type\":\"signal\"".len()..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert_eq!(decoder.decode(&changed), Some(DecodedMessage::Corrupted), "byte {at}");
        }
        assert_eq!(decoder.decode(&text[..text.len() - 1]), Some(DecodedMessage::Corrupted));
    }

    #[test]
    fn detects_two_words_that_exchanged_places() {
        let text = message(RelayKind::Signal, 300);
        let check_at = MARKER.len() + text.windows(MARKER.len()).position(|w| w == MARKER).unwrap();
        let tail = check_at + HEADER_BYTES;
        // Words of the padding, which differ: one word apart in a stride, and one stride apart.
        for (one, other) in [(tail + 16, tail + 24), (tail + 16, tail + 16 + STRIDE)] {
            let mut changed = text.clone();
            changed[one..one + 8].copy_from_slice(&text[other..other + 8]);
            changed[other..other + 8].copy_from_slice(&text[one..one + 8]);
            assert_ne!(changed, text);
            let decoded = MessageDecoder::default().decode(&changed);
            assert_eq!(decoded, Some(DecodedMessage::Corrupted), "{one} and {other}");
        }
    }

    #[test]
    fn does_not_decode_messages_of_other_types() {
        let decoder = MessageDecoder::default();
        for text in ["{\"type\":\"match_found\"}", "{\"type\":\"offers\"}", "", "{}"] {
            assert_eq!(decoder.decode(text.as_bytes()), None);
        }
        assert_eq!(decoder.decode(b"{\"type\":\"signal\"}"), Some(DecodedMessage::Corrupted));
    }

    #[test]
    fn different_identifiers_have_different_hashes() {
        assert_ne!(id_hash("a"), id_hash("b"));
        assert_ne!(id_hash(""), id_hash("\0"));
    }
}
