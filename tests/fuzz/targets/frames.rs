//! Frames: neither cuts nor the short way to a text make a difference, and tungstenite reads the
//! same messages and ends with the same code.
#![no_main]

#[path = "bytes.rs"]
mod bytes;
#[path = "../../../src/wire/websocket/assembly/tests/observed.rs"]
mod observed;

use bytes::{Bytes, cut, pieces};
use libfuzzer_sys::fuzz_target;
use observed::{ObservedItem, observe};
use std::io::{self, Read, Write};
use switchboard::wire::websocket::assembly::{MessageError, IncomingItem, PayloadLocation, MessageReader, ReceiveLimits};
use switchboard::wire::websocket::frame::{FrameError, Side, push_client_frame};
use tungstenite::protocol::frame::coding::OpCode;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

const MOST: usize = 1000;
const RULES: ReceiveLimits =
    ReceiveLimits { sender: Side::Client, max_message_bytes: MOST, max_fragments: u32::MAX };
const FEW: ReceiveLimits = ReceiveLimits { max_fragments: 4, ..RULES };

/// Bytes to be read, piece by piece; what is written is nobody's business.
struct Tape<'b>(Vec<&'b [u8]>, usize);

impl Read for Tape<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.0.get_mut(self.1) else { return Ok(0) };
        let count = piece.len().min(into.len());
        into[..count].copy_from_slice(&piece[..count]);
        *piece = &piece[count..];
        self.1 += usize::from(piece.is_empty());
        Ok(count)
    }
}

impl Write for Tape<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How tungstenite's reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The bytes were used up.
    Bytes,
    Close(Option<u16>),
    Code(u16),
}

/// What tungstenite sees.
fn theirs(reads: Vec<&[u8]>) -> (Vec<ObservedItem>, End) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MOST))
        .max_frame_size(Some(MOST))
        .read_buffer_size(4096);
    let mut socket = WebSocket::from_raw_socket(Tape(reads, 0), Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => seen.push(ObservedItem::Text(text.as_str().into())),
            Ok(Message::Binary(bytes)) => seen.push(ObservedItem::Binary(bytes.to_vec())),
            Ok(Message::Ping(bytes)) => seen.push(ObservedItem::Ping(bytes.to_vec())),
            Ok(Message::Pong(bytes)) => seen.push(ObservedItem::Pong(bytes.to_vec())),
            Ok(Message::Close(frame)) => {
                return (seen, End::Close(frame.map(|frame| frame.code.into())));
            }
            Ok(Message::Frame(frame)) => panic!("{frame:?}"),
            Err(Error::Capacity(_)) => return (seen, End::Code(1009)),
            Err(Error::Utf8(_)) => return (seen, End::Code(1007)),
            Err(Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => return (seen, End::Bytes),
            Err(Error::Protocol(_)) => return (seen, End::Code(1002)),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Frames, most of them right, or bytes as they are.
fn stream(choices: &mut Bytes<'_>) -> Vec<u8> {
    const HEADS: [u8; 12] =
        [0x81, 0x01, 0x80, 0x00, 0x82, 0x02, 0x89, 0x8a, 0x88, 0x81, 0x00, 0x80];
    if choices.byte() % 4 == 0 {
        return choices.0.to_vec();
    }
    let mut out = Vec::new();
    while !choices.is_empty() && out.len() < 8192 {
        let way = choices.byte();
        let head = if way & 0x80 == 0 { choices.pick(&HEADS) } else { choices.byte() };
        let payload = match way & 3 {
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

fn compare(ours: &[ObservedItem], theirs: &(Vec<ObservedItem>, End)) {
    let (messages, end) = match ours.split_last() {
        Some((last @ (ObservedItem::Error(_) | ObservedItem::Close(_)), before)) => (before, Some(last)),
        Some(_) | None => (ours, None),
    };
    assert_eq!(messages, theirs.0, "messages; {end:?} and {:?}", theirs.1);
    let agree = match (end, theirs.1) {
        (None, End::Bytes) => true,
        // 1014 has come into the registry of IANA since theirs was written.
        (Some(ObservedItem::Close(Some(1014))), End::Close(theirs)) => theirs == Some(1002),
        (Some(ObservedItem::Close(code)), End::Close(theirs)) => *code == theirs,
        // Theirs gives a Close frame with a bad code out as one with 1002.
        (Some(ObservedItem::Error(MessageError::BadClose)), End::Close(code)) => code == Some(1002),
        // A frame that is too large and wrong in another way as well has two faults.
        (Some(ObservedItem::Error(MessageError::Sequence | MessageError::Frame(_))), End::Code(1009)) => true,
        // And so has a Close frame with a bad code and a bad reason.
        (Some(ObservedItem::Error(MessageError::BadClose)), End::Code(1007)) => true,
        (Some(ObservedItem::Error(fault)), End::Code(code)) => u16::from(fault.close_code()) == code,
        _ => false,
    };
    assert!(agree, "{end:?} and {:?}", theirs.1);
}

/// Ours sees a fault at the first byte that shows it, theirs when the frame is whole: it gets
/// more bytes then, and has to find something wrong.
fn finds_later(stream: &[u8], before: &[ObservedItem]) -> bool {
    let (seen, end) = theirs(vec![stream, &[0; 2 * MOST]]);
    seen == before && end != End::Bytes
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Bytes(data);
    let pieces = pieces(&mut choices);
    let stream = stream(&mut choices);
    for rules in [&RULES, &FEW] {
        let whole = observe([&stream[..]], rules, false);
        assert_eq!(whole, observe([&stream[..]], rules, true), "by the short way");
        for short in [false, true] {
            let cut = cut(&stream, pieces);
            assert_eq!(whole, observe(cut, rules, short), "cut in {pieces:?}, short: {short}");
            assert_eq!(whole, observe(stream.chunks(1), rules, short), "byte by byte");
        }
    }
    let ours = observe([&stream[..]], &RULES, true);
    let theirs = theirs(cut(&stream, pieces).collect());
    match (ours.split_last(), theirs.1) {
        // RFC 6455 §5.2 wants the shortest form of a length, so a control frame has the short one;
        // theirs takes any, and goes on.
        (Some((ObservedItem::Error(MessageError::Frame(fault)), before)), _)
            if matches!(fault, FrameError::BadLength | FrameError::BadControl) =>
        {
            assert!(theirs.0.starts_with(before));
        }
        (Some((ObservedItem::Error(fault), before)), End::Bytes) => {
            assert!(finds_later(&stream, before), "{fault:?}");
        }
        _ => compare(&ours, &theirs),
    }
});
