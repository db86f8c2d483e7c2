//! The messages that virtual users send each other, and how the receiver knows what it got.
//! Pure.
//!
//! Every relayed message carries a stamp of fixed width: which room and sender, which number,
//! when it was meant to be sent and when it was, and a checksum over the whole message. It is
//! found and checked without parsing JSON, so that a message costs the generator little more
//! than its two system calls. The rest looks like what browsers send.

use crate::timestamp::Timestamp;
use crate::wire::message::RelayKind;
use crate::wire::websocket::frame::{TEXT, push_client_frame};
use memchr::memmem::Finder;

/// What a stamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    /// Hash of the room it was sent in.
    pub room: u64,
    /// Hash of the sender's session.
    pub sender: u64,
    /// When it should have been sent.
    pub intended: Timestamp,
    /// When it was sent.
    pub sent: Timestamp,
    /// Counts the sender's messages in this room, from 0.
    pub sequence: u32,
    /// The sender sends nothing after this.
    pub last: bool,
    /// The server told the sender that it dropped something: gaps mean nothing.
    pub gaps_explained: bool,
}

/// Hexadecimal digits of a stamp before its checksum.
const BODY_DIGITS: usize = 16 * 5;
/// Hexadecimal digits of the checksum.
const CHECK_DIGITS: usize = 16;
/// Bytes of a whole stamp.
const STAMP_BYTES: usize = BODY_DIGITS + CHECK_DIGITS;
const MARK: &[u8] = b"\"stamp\":\"";
/// The stamp begins within so many bytes of the message, or it is none of ours.
const MARK_WITHIN: usize = 512;

/// What a relayed message turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A stamp, and the checksum is right.
    Good(MessageHeader),
    /// Something that was, or should have been, a stamped message.
    Corrupted,
}

/// A short name for an identifier of any length. FNV-1a; collisions among some ten thousand
/// identifiers are one in 10¹⁰.
pub fn id_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Bytes that a checksum takes in at a step: four words.
const STRIDE: usize = 32;

/// Four words at a step, of which two wait for the step before. The last step overlaps the one
/// before it rather than being cut short.
fn checksum(mut hash: u64, bytes: &[u8]) -> u64 {
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    for stride in strides {
        hash = step(hash, stride);
    }
    if rest.is_empty() {
        return hash;
    }
    let mut padded = [0; STRIDE];
    step(
        hash,
        bytes.last_chunk().unwrap_or_else(|| {
            padded[..rest.len()].copy_from_slice(rest);
            &padded
        }),
    )
}

#[inline]
fn step(hash: u64, stride: &[u8; STRIDE]) -> u64 {
    // The golden ratio's digits, and others as irregular.
    const KEYS: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03, 0x8cb9_2ba7_2f3d_8dd7];
    let word = |at: usize| {
        let bytes = stride[at..].first_chunk().expect("because a stride has 32 bytes");
        u64::from_le_bytes(*bytes)
    };
    fold(hash ^ word(0), KEYS[0] ^ word(8))
        .wrapping_add(fold(KEYS[1] ^ word(16), KEYS[2] ^ word(24)))
}

/// The two halves of a product, one over the other: every bit reaches every other.
#[inline]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

/// Checksum of a message whose stamp's checksum digits begin at `check_at`.
fn message_checksum(text: &[u8], check_at: usize) -> u64 {
    let (before, rest) = text.split_at(check_at);
    checksum(checksum(text.len() as u64, before), &rest[CHECK_DIGITS..])
}

/// Eight hexadecimal digits at a step, as one word of eight bytes.
const STEP: usize = 8;

/// The eight digits of `value`, most significant first.
#[inline]
fn digits_of(value: u32) -> [u8; STEP] {
    // Spread the nibbles over the bytes of a word, then turn each into its digit at once.
    let mut word = u64::from(value);
    word = (word | word << 16) & 0x0000_ffff_0000_ffff;
    word = (word | word << 8) & 0x00ff_00ff_00ff_00ff;
    word = (word | word << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // 1 in each byte that holds ten or more: those digits are letters.
    let letters = (word + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    (word + 0x3030_3030_3030_3030 + letters * 39).to_be_bytes()
}

/// The inverse. What are no digits gives some number; the checksum finds that out.
#[inline]
fn value_of(digits: [u8; STEP]) -> u32 {
    let word = u64::from_be_bytes(digits);
    let letters = word >> 6 & 0x0101_0101_0101_0101;
    let mut word = (word & 0x0f0f_0f0f_0f0f_0f0f) + letters * 9;
    word = (word | word >> 4) & 0x00ff_00ff_00ff_00ff;
    word = (word | word >> 8) & 0x0000_ffff_0000_ffff;
    (word | word >> 16) as u32
}

/// Fills the 16 bytes of `slot` with the digits of `value`.
#[inline]
fn put_hex(slot: &mut [u8], value: u64) {
    slot[..STEP].copy_from_slice(&digits_of((value >> 32) as u32));
    slot[STEP..].copy_from_slice(&digits_of(value as u32));
}

/// Reads 16 digits.
#[inline]
fn read_hex(digits: &[u8]) -> Option<u64> {
    let (high, low) = digits.split_first_chunk::<STEP>()?;
    let low = low.try_into().ok()?;
    Some(u64::from(value_of(*high)) << 32 | u64::from(value_of(low)))
}

/// Makes messages. One for each thread.
pub struct MessageEncoder {
    /// What follows the stamp, for each kind of message: closes the string and the payload.
    tails: [Vec<u8>; 4],
    scratch: Vec<u8>,
    mask: u64,
}

impl MessageEncoder {
    /// `message_bytes` is the size of a plain message; `seed` begins the mask keys.
    pub fn new(message_bytes: usize, seed: u64) -> Self {
        let tails = RelayKind::ALL.map(|kind| {
            let rest = match kind {
                RelayKind::Offer => description("offer", "actpass", 24),
                RelayKind::Answer => description("answer", "active", 9),
                RelayKind::IceCandidate => CANDIDATE.to_owned(),
                RelayKind::Signal => padding(message_bytes),
            };
            format!("\"{rest}}}}}").into_bytes()
        });
        MessageEncoder { tails, scratch: Vec::new(), mask: seed | 1 }
    }

    /// A fresh mask key. RFC 6455 §10.3 wants them unpredictable to protect proxies from
    /// web pages; a generator that talks to its own server needs them only to vary.
    pub fn mask(&mut self) -> [u8; 4] {
        self.mask ^= self.mask << 13;
        self.mask ^= self.mask >> 7;
        self.mask ^= self.mask << 17;
        ((self.mask >> 16) as u32).to_le_bytes()
    }

    /// Appends a masked frame with a stamped message.
    pub fn push_relay(
        &mut self,
        out: &mut Vec<u8>,
        kind: RelayKind,
        room_id: &str,
        stamp: &MessageHeader,
    ) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        text.extend_from_slice(b"{\"type\":\"");
        text.extend_from_slice(kind.as_str().as_bytes());
        text.extend_from_slice(b"\",\"room_id\":\"");
        text.extend_from_slice(room_id.as_bytes());
        text.extend_from_slice(b"\",\"payload\":{");
        text.extend_from_slice(MARK);
        let at = text.len();
        text.resize(at + STAMP_BYTES, b'0');
        let (body, _) = text[at..].split_at_mut(BODY_DIGITS);
        put_hex(&mut body[0..16], stamp.room);
        put_hex(&mut body[16..32], stamp.sender);
        put_hex(&mut body[32..48], stamp.intended.as_nanos());
        put_hex(&mut body[48..64], stamp.sent.as_nanos());
        let flags = u64::from(stamp.last) | u64::from(stamp.gaps_explained) << 1;
        put_hex(&mut body[64..80], u64::from(stamp.sequence) << 32 | flags);
        text.extend_from_slice(&self.tails[kind as usize]);
        let check_at = at + BODY_DIGITS;
        let check = message_checksum(&text, check_at);
        put_hex(&mut text[check_at..check_at + CHECK_DIGITS], check);
        let mask = self.mask();
        push_client_frame(out, TEXT, &text, mask);
        self.scratch = text;
    }

    /// Appends a masked frame with the text that `write` appends.
    pub fn push_text(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        write(&mut text);
        let mask = self.mask();
        push_client_frame(out, TEXT, &text, mask);
        self.scratch = text;
    }
}

/// Finds and checks stamps. One for each thread.
pub struct MessageDecoder {
    finder: Finder<'static>,
}

impl Default for MessageDecoder {
    fn default() -> Self {
        MessageDecoder { finder: Finder::new(MARK) }
    }
}

impl MessageDecoder {
    /// Reads a message of one of the relayed types; `None` if it is of another type.
    #[inline]
    pub fn read(&self, text: &[u8]) -> Option<Reading> {
        let name = text.strip_prefix(b"{\"type\":\"")?;
        let relayed = RelayKind::ALL.iter().any(|kind| {
            name.strip_prefix(kind.as_str().as_bytes()).is_some_and(|rest| rest.starts_with(b"\""))
        });
        relayed.then(|| self.stamp(text).map_or(Reading::Corrupted, Reading::Good))
    }

    /// Whether this was one of our messages, whatever has become of it.
    pub fn is_marked(&self, text: &[u8]) -> bool {
        self.finder.find(text).is_some()
    }

    fn stamp(&self, text: &[u8]) -> Option<MessageHeader> {
        let at = self.finder.find(&text[..text.len().min(MARK_WITHIN)])? + MARK.len();
        let digits = text.get(at..at + STAMP_BYTES)?;
        let check_at = at + BODY_DIGITS;
        let mut expected = [0; CHECK_DIGITS];
        put_hex(&mut expected, message_checksum(text, check_at));
        if digits[BODY_DIGITS..] != expected {
            return None;
        }
        let last = read_hex(&digits[64..80])?;
        let sequence = (last >> 32) as u32;
        // Nobody counts that far, and whoever counts receipts needs the number after it.
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
            gaps_explained: last & 2 != 0,
        })
    }
}

/// The rest of a plain message of `bytes` bytes, envelope, room and stamp included.
fn padding(bytes: usize) -> String {
    const ENVELOPE_BYTES: usize = 52 + 22 + STAMP_BYTES + 10;
    let filler = "the quick brown fox jumps over the lazy dog ";
    let wanted = bytes.saturating_sub(ENVELOPE_BYTES);
    let pad: String = filler.chars().cycle().take(wanted).collect();
    format!(",\"pad\":\"{pad}\"")
}

/// One candidate as a browser trickles it.
const CANDIDATE: &str = concat!(
    ",\"candidate\":\"candidate:842163049 1 udp 1677729535 203.0.113.77 54321 typ srflx raddr ",
    "192.168.1.17 rport 54321 generation 0 ufrag Zx3q network-cost 999\",",
    "\"sdpMid\":\"0\",\"sdpMLineIndex\":0"
);

/// A session description for audio, of the size that browsers produce: a number of codecs with
/// their parameters, header extensions, and the transport's credentials.
fn description(kind: &str, setup: &str, extras: usize) -> String {
    let mut sdp = String::from(
        "v=0\\r\\no=- 4611731400430051336 2 IN IP4 127.0.0.1\\r\\ns=-\\r\\nt=0 0\\r\\n\
         a=group:BUNDLE 0\\r\\na=extmap-allow-mixed\\r\\na=msid-semantic: WMS voice\\r\\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\\r\\nc=IN IP4 0.0.0.0\\r\\n\
         a=rtcp:9 IN IP4 0.0.0.0\\r\\na=ice-ufrag:Zx3q\\r\\na=ice-pwd:asd88fgpdd777uzjYhagZg5t\\r\\n\
         a=ice-options:trickle\\r\\na=mid:0\\r\\na=sendrecv\\r\\na=rtcp-mux\\r\\n",
    );
    sdp += &format!("a=setup:{setup}\\r\\na=fingerprint:sha-256");
    sdp.extend((0..32).map(|i| format!("{}{:02X}", if i == 0 { ' ' } else { ':' }, i * 37 % 256)));
    for i in 0..extras {
        let codec = 96 + i;
        sdp += &format!(
            "\\r\\na=rtpmap:{codec} opus/48000/2\\r\\na=fmtp:{codec} minptime=10;useinbandfec=1"
        );
    }
    format!(",\"type\":\"{kind}\",\"sdp\":\"{sdp}\\r\\n\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::client::{ClientMessage, RoomClaim, classify};
    use crate::wire::websocket::frame::{Side, parse_header, unmask};

    const ROOM: &str = "abcdefghijklmnopqrstuv";

    fn stamp() -> MessageHeader {
        MessageHeader {
            room: id_hash(ROOM),
            sender: id_hash("sender"),
            intended: Timestamp::from_nanos(123_456_789),
            sent: Timestamp::from_nanos(123_999_999),
            sequence: 4_000_000_000,
            last: true,
            gaps_explained: false,
        }
    }

    fn message(kind: RelayKind, bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        MessageEncoder::new(bytes, 7).push_relay(&mut out, kind, ROOM, &stamp());
        let header = parse_header(&out, Side::Client).unwrap().unwrap();
        let mut text = out.split_off(header.header_len);
        assert_eq!(text.len() as u64, header.payload_len);
        unmask(&mut text, header.mask.unwrap(), 0);
        text
    }

    #[test]
    fn what_is_stamped_reads_back_and_is_what_a_server_relays() {
        for kind in RelayKind::ALL {
            let text = message(kind, 200);
            assert_eq!(MessageDecoder::default().read(&text), Some(Reading::Good(stamp())));
            let claim = RoomClaim::Named(ROOM.as_bytes().into());
            assert_eq!(classify(&text), Ok(ClientMessage::Relay(kind, claim)));
            serde_json::from_slice::<serde_json::Value>(&text).unwrap();
        }
    }

    #[test]
    fn a_number_that_has_none_after_it_is_no_number() {
        let mut out = Vec::new();
        let last = MessageHeader { sequence: u32::MAX, ..stamp() };
        MessageEncoder::new(200, 7).push_relay(&mut out, RelayKind::Signal, ROOM, &last);
        let header = parse_header(&out, Side::Client).unwrap().unwrap();
        let mut text = out.split_off(header.header_len);
        unmask(&mut text, header.mask.unwrap(), 0);
        assert_eq!(MessageDecoder::default().read(&text), Some(Reading::Corrupted));
    }

    #[test]
    fn sizes_are_those_of_real_signalling() {
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
    fn every_changed_byte_is_noticed() {
        let text = message(RelayKind::Signal, 200);
        let reader = MessageDecoder::default();
        for at in b"{\"type\":\"signal\"".len()..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert_eq!(reader.read(&changed), Some(Reading::Corrupted), "byte {at}");
        }
        assert_eq!(reader.read(&text[..text.len() - 1]), Some(Reading::Corrupted));
    }

    #[test]
    fn words_that_changed_places_are_noticed() {
        let text = message(RelayKind::Signal, 300);
        let check_at = MARK.len() + text.windows(MARK.len()).position(|w| w == MARK).unwrap();
        let tail = check_at + STAMP_BYTES;
        // Of the padding, whose words differ; a lane apart, and a stride apart.
        for (one, other) in [(tail + 16, tail + 24), (tail + 16, tail + 16 + STRIDE)] {
            let mut changed = text.clone();
            changed[one..one + 8].copy_from_slice(&text[other..other + 8]);
            changed[other..other + 8].copy_from_slice(&text[one..one + 8]);
            assert_ne!(changed, text);
            let reading = MessageDecoder::default().read(&changed);
            assert_eq!(reading, Some(Reading::Corrupted), "{one} and {other}");
        }
    }

    #[test]
    fn other_messages_are_left_to_the_parser() {
        let reader = MessageDecoder::default();
        for text in ["{\"type\":\"match_found\"}", "{\"type\":\"offers\"}", "", "{}"] {
            assert_eq!(reader.read(text.as_bytes()), None);
        }
        assert_eq!(reader.read(b"{\"type\":\"signal\"}"), Some(Reading::Corrupted));
    }

    #[test]
    fn digits_are_those_of_the_standard_library() {
        for value in [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX, 0xa0_9f00] {
            let mut digits = [0; 16];
            put_hex(&mut digits, value);
            assert_eq!(std::str::from_utf8(&digits).unwrap(), format!("{value:016x}"));
            assert_eq!(read_hex(&digits), Some(value));
        }
    }

    #[test]
    fn two_identifiers_have_two_hashes() {
        assert_ne!(id_hash("a"), id_hash("b"));
        assert_ne!(id_hash(""), id_hash("\0"));
    }
}
