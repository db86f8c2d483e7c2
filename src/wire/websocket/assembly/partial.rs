//! A message or frame that has not arrived completely. Pure; owned by its connection.
//!
//! It exists only while bytes are missing. Its memory grows with the bytes that have arrived, not
//! with the length that a header announces.

use super::{IncomingItem, MessageError, PayloadLocation, ReceiveLimits};
use crate::limits::{
    CLIENT_HEADER_BYTES, CONTROL_PAYLOAD_BYTES, MAPPED_ALLOCATION_BYTES,
    PARTIAL_MESSAGE_HEAP_BYTES, SERVER_HEADER_BYTES,
};
use crate::wire::websocket::frame::{FrameError, FrameHeader, parse_header, unmask};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// A message or frame that has not arrived completely.
#[derive(Debug)]
pub struct PartialMessage {
    /// The first bytes of a frame header.
    header: [u8; CLIENT_HEADER_BYTES],
    header_len: usize,
    frame: Option<OpenFrame>,
    /// Room for a header, then the payload that has arrived, unmasked.
    message: Vec<u8>,
    kind: Option<DataKind>,
    fragments: u32,
    /// Bytes of the payload known to be UTF-8.
    checked: usize,
    stale: bool,
    /// When its first byte arrived, in milliseconds on the clock of [`PartialMessage::begin`].
    begun_ms: Option<u32>,
    /// The payload of a control frame.
    control: [u8; CONTROL_PAYLOAD_BYTES],
    control_len: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DataKind {
    Text,
    Binary,
}

/// A frame whose header has been parsed, and whose payload has not arrived completely.
#[derive(Debug)]
struct OpenFrame {
    header: FrameHeader,
    received: u64,
}

impl PartialMessage {
    pub(super) fn new() -> Box<Self> {
        Box::new(PartialMessage {
            header: [0; CLIENT_HEADER_BYTES],
            header_len: 0,
            frame: None,
            message: Vec::new(),
            kind: None,
            fragments: 0,
            checked: 0,
            stale: false,
            begun_ms: None,
            control: [0; CONTROL_PAYLOAD_BYTES],
            control_len: 0,
        })
    }

    /// Marks the message as begun before the present room; see [`PayloadLocation::Assembled`].
    pub fn mark_stale(&mut self) {
        // guard: a message begun before a match is not for the partner [skip]
        self.stale = true;
    }

    /// Notes when the message began, if that is not known yet: further bytes of the same message
    /// change nothing.
    pub fn begin(&mut self, now_ms: u32) {
        // guard: further bytes do not extend the message timeout [value Some(now_ms)]
        self.begun_ms = self.begun_ms.or(Some(now_ms));
    }

    /// Notes that the message begins now: until now its bytes were not read.
    pub fn begin_again(&mut self, now_ms: u32) {
        self.begun_ms = Some(now_ms);
    }

    /// When the message, or a control frame before it, began.
    pub fn begun_ms(&self) -> Option<u32> {
        self.begun_ms
    }

    /// Converts the time to another clock that is ahead by this much.
    pub fn shift(&mut self, ahead_ms: u32) {
        self.begun_ms = self.begun_ms.map(|begun_ms| begun_ms.wrapping_add(ahead_ms));
    }

    /// Size of this value in memory, in bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.message.capacity()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.kind.is_none()
    }

    /// Removes the message after it has been returned.
    pub(super) fn clear_message(&mut self) {
        self.message = Vec::new();
        self.kind = None;
        self.fragments = 0;
        self.checked = 0;
        self.stale = false;
        self.begun_ms = None;
    }

    /// A control frame is complete, and nothing else has begun.
    pub(super) fn clear_begun(&mut self) {
        self.begun_ms = None;
    }

    /// Takes a frame header from `bytes`; its first bytes may have arrived earlier. Returns the
    /// number of bytes used.
    pub(super) fn take_header(
        &mut self,
        bytes: &[u8],
        limits: &ReceiveLimits,
    ) -> Result<usize, MessageError> {
        let mut used = 0;
        loop {
            let parsed = parse_header(&self.header[..self.header_len], limits.sender)
                .map_err(MessageError::Frame)?;
            if let Some(header) = parsed {
                self.open(header, limits)?;
                self.header_len = 0;
                return Ok(used);
            }
            let Some(&byte) = bytes.get(used) else { return Ok(used) };
            self.header[self.header_len] = byte;
            self.header_len += 1;
            used += 1;
        }
    }

    /// Checks that `header` is allowed now, and begins its frame.
    fn open(&mut self, header: FrameHeader, limits: &ReceiveLimits) -> Result<(), MessageError> {
        if let OpCode::Data(data) = header.opcode {
            match (data, self.kind) {
                (Data::Continue, Some(_)) => {}
                (Data::Text, None) => self.kind = Some(DataKind::Text),
                (Data::Binary, None) => self.kind = Some(DataKind::Binary),
                (Data::Continue, None) | (Data::Text | Data::Binary, Some(_)) => {
                    return Err(MessageError::Sequence);
                }
                (Data::Reserved(_), _) => {
                    return Err(MessageError::Frame(FrameError::ReservedOpcode));
                }
            }
            self.fragments += 1;
            // guard: the fragments of a message are limited [false]
            if self.fragments > limits.max_fragments {
                return Err(MessageError::TooManyFragments);
            }
            let arrived = self.payload_len() as u64;
            // guard: the size of a message is limited [false]
            if arrived.saturating_add(header.payload_len) > limits.max_message_bytes as u64 {
                return Err(MessageError::TooLarge);
            }
        } else {
            self.control_len = 0;
        }
        self.frame = Some(OpenFrame { header, received: 0 });
        Ok(())
    }

    /// Whether a frame has begun whose payload has not arrived completely.
    pub(super) fn has_open_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// Undoes [`PartialMessage::mark_stale`].
    pub(super) fn clear_stale(&mut self) {
        self.stale = false;
    }

    /// The payload that has arrived.
    pub(super) fn payload(&self) -> &[u8] {
        self.message.get(SERVER_HEADER_BYTES..).unwrap_or_default()
    }

    /// Room for a header, then the payload that has arrived.
    pub(super) fn payload_with_headroom(&mut self) -> &mut [u8] {
        &mut self.message
    }

    /// The payload of the control frame that was completed last; `len` is its length.
    pub(super) fn control(&self, len: u8) -> &[u8] {
        &self.control[..len as usize]
    }

    fn payload_len(&self) -> usize {
        self.message.len().saturating_sub(SERVER_HEADER_BYTES)
    }

    /// Takes payload of the current frame from `bytes`. Returns the number of bytes used, and the
    /// item that they complete.
    pub(super) fn take_payload(
        &mut self,
        bytes: &[u8],
    ) -> Result<(usize, Option<IncomingItem>), MessageError> {
        let Some(frame) = self.frame.as_mut() else { return Ok((0, None)) };
        let missing = frame.header.payload_len - frame.received;
        let used = usize::try_from(missing).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = &bytes[..used];
        let offset = (frame.received & 3) as usize;
        let (mask, opcode) = (frame.header.mask, frame.header.opcode);
        frame.received += used as u64;
        let complete = used as u64 == missing;
        let last = frame.header.fin;
        if complete {
            self.frame = None;
        }
        let OpCode::Control(control) = opcode else {
            self.append(bytes, mask, offset);
            // guard: text is checked as it arrives [value ($) && complete && last]
            if self.kind == Some(DataKind::Text) {
                self.check_utf8(complete && last)?;
            }
            if !(complete && last) {
                return Ok((used, None));
            }
            let location = PayloadLocation::Assembled { stale: self.stale };
            let item = match self.kind {
                Some(DataKind::Text) => IncomingItem::Text(location),
                Some(DataKind::Binary) | None => IncomingItem::Binary(location),
            };
            return Ok((used, Some(item)));
        };
        let start = self.control_len as usize;
        let part = &mut self.control[start..start + used];
        part.copy_from_slice(bytes);
        if let Some(key) = mask {
            unmask(part, key, offset);
        }
        self.control_len += used as u8;
        if !complete {
            return Ok((used, None));
        }
        let payload = &self.control[..self.control_len as usize];
        let location = PayloadLocation::AssembledControl(self.control_len);
        Ok((used, Some(control_item(control, payload, location)?)))
    }

    /// Appends payload, unmasked. A message that outgrows [`PARTIAL_MESSAGE_HEAP_BYTES`] moves at
    /// once to an allocation that is large enough for pages of its own; its untouched pages cost
    /// nothing. If many messages grew side by side on the heap, none would fit into the hole that
    /// another one left when it moved.
    fn append(&mut self, bytes: &[u8], mask: Option<[u8; 4]>, offset: usize) {
        if self.message.is_empty() {
            self.message.reserve_exact(SERVER_HEADER_BYTES + bytes.len());
            self.message.resize(SERVER_HEADER_BYTES, 0);
        }
        if self.message.capacity() - self.message.len() < bytes.len() {
            let needed = self.message.len() + bytes.len();
            // guard: a large message gets pages of its own [condition true]
            let capacity = match needed <= PARTIAL_MESSAGE_HEAP_BYTES {
                true => needed + self.message.len(),
                false => (needed + needed / 8).max(MAPPED_ALLOCATION_BYTES as usize),
            };
            // guard: a held message does not grow by doubling [call reserve]
            self.message.reserve_exact(capacity - self.message.len());
        }
        let start = self.message.len();
        self.message.extend_from_slice(bytes);
        if let Some(key) = mask {
            unmask(&mut self.message[start..], key, offset);
        }
    }

    /// Checks the new part of the text. A character may be incomplete unless this is the end.
    fn check_utf8(&mut self, end: bool) -> Result<(), MessageError> {
        let from = SERVER_HEADER_BYTES + self.checked;
        match simdutf8::compat::from_utf8(self.message.get(from..).unwrap_or_default()) {
            Ok(text) => self.checked += text.len(),
            Err(error) if error.error_len().is_none() && !end => {
                self.checked += error.valid_up_to()
            }
            // guard: text is UTF-8 [skip]
            Err(_) => return Err(MessageError::NotUtf8),
        }
        Ok(())
    }
}

/// The item for a complete control frame.
pub(super) fn control_item(
    control: Control,
    payload: &[u8],
    location: PayloadLocation,
) -> Result<IncomingItem, MessageError> {
    match control {
        Control::Ping => Ok(IncomingItem::Ping(location)),
        Control::Pong => Ok(IncomingItem::Pong(location)),
        Control::Close => parse_close(payload).map(IncomingItem::Close),
        Control::Reserved(_) => Err(MessageError::Frame(FrameError::ReservedOpcode)),
    }
}

/// Parses the payload of a Close frame: empty, or a code of two bytes and a reason in UTF-8
/// (RFC 6455 §5.5.1).
fn parse_close(payload: &[u8]) -> Result<Option<u16>, MessageError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(MessageError::BadClose) };
    };
    let code = u16::from_be_bytes(*code);
    // §7.4.2 and the IANA registry. 1004, 1005, 1006 and 1015 must not be sent.
    // guard: a Close frame has a valid code [false]
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(MessageError::BadClose);
    }
    simdutf8::basic::from_utf8(reason).map_err(|_| MessageError::NotUtf8)?;
    Ok(Some(code))
}
