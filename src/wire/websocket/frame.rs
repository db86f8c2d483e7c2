//! RFC 6455 frames: parses a header, unmasks in place, and writes a new header directly before a
//! payload. Pure; used by clients, which mask their frames, and by servers, which do not.
//!
//! The relay relies on one fact: the header of a client's frame is exactly the mask key (four
//! bytes) longer than the header of a server's frame with the same payload. So a frame from one
//! client can be turned into the frame for the other client in place, and sent without a copy.

use crate::limits::{CLIENT_HEADER_BYTES, CONTROL_PAYLOAD_BYTES, SERVER_HEADER_BYTES};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH_7: u8 = 0x7f;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// One end of a WebSocket connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The end that opened the connection; it masks its frames (RFC 6455 §5.3).
    Client,
    /// The end that accepted it; it must not mask its frames (RFC 6455 §5.1).
    Server,
}

/// How a frame violates RFC 6455. Each violation closes the connection with 1002.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A reserved bit is set, although no extension was negotiated (§5.2).
    ReservedBits,
    /// The opcode is reserved (§5.2).
    ReservedOpcode,
    /// A client's frame is not masked, or a server's frame is (§5.1).
    WrongMasking,
    /// The length takes more bytes than necessary, or its highest bit is set (§5.2).
    BadLength,
    /// A control frame is longer than 125 bytes or fragmented (§5.5).
    BadControl,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this frame ends its message.
    pub fin: bool,
    /// The kind of frame; never a reserved opcode.
    pub opcode: OpCode,
    /// The mask key; present if and only if a client sent the frame.
    pub mask: Option<[u8; 4]>,
    /// Length of the header, in bytes.
    pub header_len: usize,
    /// Length of the payload, in bytes.
    pub payload_len: u64,
}

/// Parses the header at the start of `bytes`, as sent by `sender`.
///
/// `None` means that bytes are missing. A violation is reported at the first byte that shows it.
#[inline]
pub fn parse_header(bytes: &[u8], sender: Side) -> Result<Option<FrameHeader>, FrameError> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    // guard: reserved bits are refused [false]
    if first & RESERVED_BITS != 0 {
        return Err(FrameError::ReservedBits);
    }
    let fin = first & FIN != 0;
    let opcode = OpCode::from(first & OPCODE);
    let control = match opcode {
        OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
            return Err(FrameError::ReservedOpcode);
        }
        OpCode::Control(_) => true,
        OpCode::Data(_) => false,
    };
    // guard: a control frame is not fragmented [false]
    if control && !fin {
        return Err(FrameError::BadControl);
    }
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    let masked = second & MASKED != 0;
    // guard: a client masks its frames [false]
    if masked != (sender == Side::Client) {
        return Err(FrameError::WrongMasking);
    }
    let short = second & LENGTH_7;
    // guard: the length of a control frame is limited [false]
    if control && short as usize > CONTROL_PAYLOAD_BYTES {
        return Err(FrameError::BadControl);
    }
    let (payload_len, key_at) = match short {
        LENGTH_16 => {
            let Some(length) = array_at::<2>(bytes, 2) else { return Ok(None) };
            let length = u16::from_be_bytes(length);
            // guard: a length has its shortest form [false]
            if length < LENGTH_16 as u16 {
                return Err(FrameError::BadLength);
            }
            (u64::from(length), 4)
        }
        LENGTH_64 => {
            let Some(length) = array_at::<8>(bytes, 2) else { return Ok(None) };
            let length = u64::from_be_bytes(length);
            if length <= u64::from(u16::MAX) || length > i64::MAX as u64 {
                return Err(FrameError::BadLength);
            }
            (length, 10)
        }
        length => (u64::from(length), 2),
    };
    let (mask, header_len) = if masked {
        let Some(key) = array_at::<4>(bytes, key_at) else { return Ok(None) };
        (Some(key), key_at + 4)
    } else {
        (None, key_at)
    };
    Ok(Some(FrameHeader { fin, opcode, mask, header_len, payload_len }))
}

/// Parses the most common header: that of a client's text message in one frame of less than 64 KiB.
/// Returns the length of the payload, the mask key and the length of the header. `None` for every
/// other header, which is left to [`parse_header`].
#[inline]
pub fn parse_text_header(bytes: &[u8]) -> Option<(usize, [u8; 4], usize)> {
    const FINAL_TEXT: u8 = FIN | 1;
    const LONG: u8 = MASKED | LENGTH_16;
    match *bytes {
        [FINAL_TEXT, LONG, high, low, a, b, c, d, ..] => {
            let length = u16::from_be_bytes([high, low]);
            (length >= LENGTH_16.into()).then_some((length.into(), [a, b, c, d], 8))
        }
        [FINAL_TEXT, second @ MASKED..LONG, a, b, c, d, ..] => {
            Some(((second & LENGTH_7).into(), [a, b, c, d], 6))
        }
        _ => None,
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N).map(|part| part.try_into().expect("because the slice has N bytes"))
}

/// Masks or unmasks `payload`; the operation is its own inverse (RFC 6455 §5.3). The first byte of
/// `payload` is byte number `offset` of the frame's payload. Returns whether the result is all
/// ASCII, as most text is: to find out here costs almost nothing.
#[inline]
pub fn unmask(payload: &mut [u8], key: [u8; 4], offset: usize) -> bool {
    const WORD: usize = 4;
    const WORDS: usize = 8;
    let key: [u8; WORD] = std::array::from_fn(|i| key[(i + offset) & 3]);
    let wide = u32::from_ne_bytes(key);
    let unmask_word = |word: &mut [u8; WORD], bits: &mut u32| {
        let plain = u32::from_ne_bytes(*word) ^ wide;
        *bits |= plain;
        *word = plain.to_ne_bytes();
    };
    // Blocks of several words, which the compiler turns into vector instructions.
    let mut bits = [0; WORDS];
    let (blocks, rest) = payload.as_chunks_mut::<{ WORD * WORDS }>();
    for block in blocks {
        let (words, _none) = block.as_chunks_mut();
        words.iter_mut().zip(&mut bits).for_each(|(word, bits)| unmask_word(word, bits));
    }
    let mut bits = bits.iter().fold(0, |all, one| all | one);
    let (words, rest) = rest.as_chunks_mut();
    words.iter_mut().for_each(|word| unmask_word(word, &mut bits));
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
        bits |= u32::from(*byte);
    }
    bits & 0x8080_8080 == 0
}

/// Length of a server's header for a payload of this length.
#[inline]
pub const fn server_header_len(payload_len: usize) -> usize {
    if payload_len < LENGTH_16 as usize {
        2
    } else if payload_len <= u16::MAX as usize {
        4
    } else {
        SERVER_HEADER_BYTES
    }
}

/// Writes the header of an unfragmented server frame so that it ends at `payload_at`. Returns where
/// it begins. There must be [`server_header_len`] bytes before `payload_at`.
#[inline]
pub fn write_server_header(
    buf: &mut [u8],
    payload_at: usize,
    opcode: OpCode,
    payload_len: usize,
) -> usize {
    let first = FIN | u8::from(opcode);
    let header_len = server_header_len(payload_len);
    let start = payload_at - header_len;
    // The most common length is written as one word.
    if header_len == 4
        && let Some(header) = buf[start..].first_chunk_mut()
    {
        let [high, low] = (payload_len as u16).to_be_bytes();
        *header = [first, LENGTH_16, high, low];
    } else {
        let header = &mut buf[start..payload_at];
        header[0] = first;
        put_length(header, payload_len, 0);
    }
    start
}

/// Writes the length into a header that begins with the opcode byte.
fn put_length(header: &mut [u8], payload_len: usize, masked: u8) {
    if payload_len < LENGTH_16 as usize {
        header[1] = masked | payload_len as u8;
    } else if let Ok(length) = u16::try_from(payload_len) {
        header[1] = masked | LENGTH_16;
        header[2..4].copy_from_slice(&length.to_be_bytes());
    } else {
        header[1] = masked | LENGTH_64;
        header[2..10].copy_from_slice(&(payload_len as u64).to_be_bytes());
    }
}

/// Appends an unfragmented, unmasked frame.
pub fn push_server_frame(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let mut header = [0; SERVER_HEADER_BYTES];
    let start = write_server_header(&mut header, SERVER_HEADER_BYTES, opcode, payload.len());
    out.extend_from_slice(&header[start..]);
    out.extend_from_slice(payload);
}

/// Appends an unfragmented frame masked with `key`.
pub fn push_client_frame(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8], key: [u8; 4]) {
    let mut header = [0; CLIENT_HEADER_BYTES];
    let length_end = server_header_len(payload.len());
    header[0] = FIN | u8::from(opcode);
    put_length(&mut header, payload.len(), MASKED);
    header[length_end..length_end + 4].copy_from_slice(&key);
    out.extend_from_slice(&header[..length_end + 4]);
    let payload_at = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[payload_at..], key, 0);
}

/// Appends an unmasked text frame. `write` appends its payload.
pub fn push_server_text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    // Leaves room for the header that most messages need; for the others, the payload is moved.
    const EXPECTED_LEN: usize = 4;
    let start = out.len();
    out.extend_from_slice(&[0; EXPECTED_LEN]);
    write(out);
    let payload_len = out.len() - start - EXPECTED_LEN;
    let header_len = server_header_len(payload_len);
    if header_len < EXPECTED_LEN {
        out.copy_within(start + EXPECTED_LEN.., start + header_len);
        out.truncate(start + header_len + payload_len);
    } else if header_len > EXPECTED_LEN {
        out.resize(out.len() + header_len - EXPECTED_LEN, 0);
        out.copy_within(
            start + EXPECTED_LEN..start + EXPECTED_LEN + payload_len,
            start + header_len,
        );
    }
    write_server_header(out, start + header_len, OpCode::Data(Data::Text), payload_len);
}

/// The opcode of a text message's first frame.
pub const TEXT: OpCode = OpCode::Data(Data::Text);
/// The opcode of a binary message's first frame.
pub const BINARY: OpCode = OpCode::Data(Data::Binary);
/// The opcode of a ping.
pub const PING: OpCode = OpCode::Control(Control::Ping);
/// The opcode of a pong.
pub const PONG: OpCode = OpCode::Control(Control::Pong);
/// The opcode of a Close frame.
pub const CLOSE: OpCode = OpCode::Control(Control::Close);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header_of(bytes: &[u8], sender: Side) -> FrameHeader {
        parse_header(bytes, sender).unwrap().unwrap()
    }

    #[test]
    fn writes_lengths_in_the_fewest_bytes() {
        for (len, header_len) in
            [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (70_000, 10)]
        {
            let mut out = Vec::new();
            push_server_frame(&mut out, TEXT, &vec![b'x'; len]);
            assert_eq!(out.len(), header_len + len);
            let header = header_of(&out, Side::Server);
            assert_eq!((header.header_len, header.payload_len), (header_len, len as u64));
            out.clear();
            push_client_frame(&mut out, TEXT, &vec![b'x'; len], [1, 2, 3, 4]);
            let header = header_of(&out, Side::Client);
            assert_eq!((header.header_len, header.payload_len), (header_len + 4, len as u64));
        }
    }

    #[test]
    fn the_fast_and_the_general_function_write_the_same_text_frame() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let body = vec![b'y'; len];
            let (mut direct, mut written) = (vec![7], vec![7]);
            push_server_frame(&mut direct, TEXT, &body);
            push_server_text(&mut written, |out| out.extend_from_slice(&body));
            assert_eq!(direct, written, "length {len}");
        }
    }

    #[test]
    fn reports_a_specific_error_for_each_framing_violation() {
        let error_of = |bytes: &[u8]| parse_header(bytes, Side::Client).unwrap_err();
        assert_eq!(error_of(&[0xc1]), FrameError::ReservedBits);
        assert_eq!(error_of(&[0x91, 0x80]), FrameError::ReservedBits);
        assert_eq!(error_of(&[0x83]), FrameError::ReservedOpcode);
        assert_eq!(error_of(&[0x8b]), FrameError::ReservedOpcode);
        assert_eq!(error_of(&[0x09]), FrameError::BadControl);
        assert_eq!(error_of(&[0x89, 0x80 | 126]), FrameError::BadControl);
        assert_eq!(error_of(&[0x81, 0x05]), FrameError::WrongMasking);
        assert_eq!(error_of(&[0x81, 0x80 | 126, 0, 125]), FrameError::BadLength);
        assert_eq!(
            error_of(&[0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            FrameError::BadLength
        );
        assert_eq!(error_of(&[0x81, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), FrameError::BadLength);
        assert_eq!(
            parse_header(&[0x81, 0x80], Side::Server).unwrap_err(),
            FrameError::WrongMasking
        );
    }

    proptest! {
        #[test]
        fn a_header_is_incomplete_until_its_last_byte_arrives(len in 0usize..70_000, key: [u8; 4]) {
            let mut out = Vec::new();
            push_client_frame(&mut out, BINARY, &vec![0; len], key);
            let header = header_of(&out, Side::Client);
            for cut in 0..header.header_len {
                prop_assert_eq!(parse_header(&out[..cut], Side::Client), Ok(None));
            }
            prop_assert_eq!(header.mask, Some(key));
        }

        #[test]
        fn the_fast_path_parses_headers_like_the_general_parser(
            first in prop::sample::select(vec![0x81u8, 0x01, 0x82, 0x89, 0xc1]),
            rest in prop::collection::vec(any::<u8>(), 0..12),
        ) {
            let bytes = [&[first], &rest[..]].concat();
            if let Some((length, key, header_len)) = parse_text_header(&bytes) {
                let header = header_of(&bytes, Side::Client);
                let (fin, opcode) = (true, TEXT);
                let payload_len = length as u64;
                let fast = FrameHeader { fin, opcode, mask: Some(key), header_len, payload_len };
                prop_assert_eq!(header, fast);
            }
        }

        #[test]
        fn unmasking_matches_the_definition_of_the_rfc(
            mut bytes: Vec<u8>, key: [u8; 4], offset in 0usize..9,
        ) {
            let expected: Vec<u8> =
                bytes.iter().enumerate().map(|(i, b)| b ^ key[(i + offset) % 4]).collect();
            unmask(&mut bytes, key, offset);
            prop_assert_eq!(bytes, expected);
        }

        #[test]
        fn parses_arbitrary_bytes_without_reading_beyond_their_end(bytes: Vec<u8>) {
            for sender in [Side::Client, Side::Server] {
                if let Ok(Some(header)) = parse_header(&bytes, sender) {
                    prop_assert!(header.header_len <= bytes.len());
                }
            }
        }
    }
}
