//! Frames. Neither the boundaries of reads nor the fast path change the messages, and tungstenite
//! finds the same messages and the same close code.
#![no_main]

#[path = "bytes.rs"]
mod bytes;
#[path = "../../../src/wire/websocket/assembly/tests/observed.rs"]
mod observed;

use bytes::{Choices, piece_lengths, split};
use libfuzzer_sys::fuzz_target;
use observed::{ObservedItem, observe};
use std::io::{self, Read, Write};
use switchboard::wire::websocket::assembly::{
    IncomingItem, MessageError, MessageReader, PayloadLocation, ReceiveLimits,
};
use switchboard::wire::websocket::frame::{FrameError, Side, push_client_frame};
use tungstenite::protocol::frame::coding::OpCode;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

const MAX_BYTES: usize = 1000;
const LIMITS: ReceiveLimits =
    ReceiveLimits { sender: Side::Client, max_message_bytes: MAX_BYTES, max_fragments: u32::MAX };
const FEW_FRAGMENTS: ReceiveLimits = ReceiveLimits { max_fragments: 4, ..LIMITS };

/// A stream that returns these pieces one by one and discards writes.
struct PieceStream<'b> {
    pieces: Vec<&'b [u8]>,
    next: usize,
}

impl Read for PieceStream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.pieces.get_mut(self.next) else { return Ok(0) };
        let count = piece.len().min(into.len());
        into[..count].copy_from_slice(&piece[..count]);
        *piece = &piece[count..];
        self.next += usize::from(piece.is_empty());
        Ok(count)
    }
}

impl Write for PieceStream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How tungstenite stopped reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamEnd {
    /// At the end of the bytes.
    Bytes,
    /// At a Close frame, with its code.
    Close(Option<u16>),
    /// With an error that has this close code.
    Code(u16),
}

/// The items that tungstenite finds.
fn read_with_tungstenite(reads: Vec<&[u8]>) -> (Vec<ObservedItem>, StreamEnd) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_BYTES))
        .max_frame_size(Some(MAX_BYTES))
        .read_buffer_size(4096);
    let mut socket = WebSocket::from_raw_socket(
        PieceStream { pieces: reads, next: 0 },
        Role::Server,
        Some(config),
    );
    let mut items = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => items.push(ObservedItem::Text(text.as_str().into())),
            Ok(Message::Binary(bytes)) => items.push(ObservedItem::Binary(bytes.to_vec())),
            Ok(Message::Ping(bytes)) => items.push(ObservedItem::Ping(bytes.to_vec())),
            Ok(Message::Pong(bytes)) => items.push(ObservedItem::Pong(bytes.to_vec())),
            Ok(Message::Close(frame)) => {
                return (items, StreamEnd::Close(frame.map(|frame| frame.code.into())));
            }
            Ok(Message::Frame(frame)) => panic!("{frame:?}"),
            Err(Error::Capacity(_)) => return (items, StreamEnd::Code(1009)),
            Err(Error::Utf8(_)) => return (items, StreamEnd::Code(1007)),
            Err(Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => return (items, StreamEnd::Bytes),
            Err(Error::Protocol(_)) => return (items, StreamEnd::Code(1002)),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Mostly valid frames, or the bytes of the input unchanged.
fn stream(choices: &mut Choices<'_>) -> Vec<u8> {
    const HEADS: [u8; 12] =
        [0x81, 0x01, 0x80, 0x00, 0x82, 0x02, 0x89, 0x8a, 0x88, 0x81, 0x00, 0x80];
    if choices.byte() % 4 == 0 {
        return choices.0.to_vec();
    }
    let mut out = Vec::new();
    while !choices.is_empty() && out.len() < 8192 {
        let form = choices.byte();
        let head = if form & 0x80 == 0 { choices.pick(&HEADS) } else { choices.byte() };
        let payload = match form & 3 {
            0 | 1 => {
                let length = usize::from(choices.byte() % 48);
                choices.take(length).to_vec()
            }
            2 => vec![b'x'; choices.number() % 1100],
            _ => {
                let length = usize::from(choices.byte() % 4) + 124;
                choices.take(length).to_vec()
            }
        };
        let at = out.len();
        let key = [(); 4].map(|()| choices.byte());
        push_client_frame(&mut out, OpCode::from(head & 0x0f), &payload, key);
        out[at] = head;
    }
    out
}

/// Checks that both readers found the same items and stopped for the same reason.
fn compare(ours: &[ObservedItem], theirs: &(Vec<ObservedItem>, StreamEnd)) {
    let (messages, end) = match ours.split_last() {
        Some((last @ (ObservedItem::Error(_) | ObservedItem::Close(_)), before)) => {
            (before, Some(last))
        }
        Some(_) | None => (ours, None),
    };
    assert_eq!(messages, theirs.0, "messages; {end:?} and {:?}", theirs.1);
    let agree = match (end, theirs.1) {
        (None, StreamEnd::Bytes) => true,
        // tungstenite does not know 1014, a later addition to the IANA registry.
        (Some(ObservedItem::Close(Some(1014))), StreamEnd::Close(theirs)) => theirs == Some(1002),
        (Some(ObservedItem::Close(code)), StreamEnd::Close(theirs)) => *code == theirs,
        // tungstenite reports a Close frame with an invalid code as one with 1002.
        (Some(ObservedItem::Error(MessageError::BadClose)), StreamEnd::Close(code)) => {
            code == Some(1002)
        }
        // A frame that is too large and also invalid has two errors.
        (
            Some(ObservedItem::Error(MessageError::Sequence | MessageError::Frame(_))),
            StreamEnd::Code(1009),
        ) => true,
        // So has a Close frame with an invalid code and an invalid reason.
        (Some(ObservedItem::Error(MessageError::BadClose)), StreamEnd::Code(1007)) => true,
        (Some(ObservedItem::Error(error)), StreamEnd::Code(code)) => {
            u16::from(error.close_code()) == code
        }
        _ => false,
    };
    assert!(agree, "{end:?} and {:?}", theirs.1);
}

/// Whether tungstenite finds an error too when more bytes follow. It checks complete frames, while
/// this reader reports an error at the first invalid byte.
fn finds_error_later(stream: &[u8], before: &[ObservedItem]) -> bool {
    let (items, end) = read_with_tungstenite(vec![stream, &[0; 2 * MAX_BYTES]]);
    items == before && end != StreamEnd::Bytes
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices(data);
    let lengths = piece_lengths(&mut choices);
    let stream = stream(&mut choices);
    for limits in [&LIMITS, &FEW_FRAGMENTS] {
        let whole = observe([&stream[..]], limits, false);
        assert_eq!(whole, observe([&stream[..]], limits, true), "with the fast path");
        for fast_path in [false, true] {
            let pieces = split(&stream, lengths);
            assert_eq!(
                whole,
                observe(pieces, limits, fast_path),
                "in pieces of {lengths:?}, fast path: {fast_path}"
            );
            assert_eq!(whole, observe(stream.chunks(1), limits, fast_path), "byte by byte");
        }
    }
    let ours = observe([&stream[..]], &LIMITS, true);
    let theirs = read_with_tungstenite(split(&stream, lengths).collect());
    match (ours.split_last(), theirs.1) {
        // RFC 6455 §5.2 requires the shortest form of a length; tungstenite accepts any form and
        // continues.
        (Some((ObservedItem::Error(MessageError::Frame(error)), before)), _)
            if matches!(error, FrameError::BadLength | FrameError::BadControl) =>
        {
            assert!(theirs.0.starts_with(before));
        }
        (Some((ObservedItem::Error(error), before)), StreamEnd::Bytes) => {
            assert!(finds_error_later(&stream, before), "{error:?}");
        }
        _ => compare(&ours, &theirs),
    }
});
