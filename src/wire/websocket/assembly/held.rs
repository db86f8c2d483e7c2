//! What a connection holds of a message or frame that is not whole yet. Pure.
//!
//! It exists only while something is missing, and its memory grows with what has arrived, never
//! with what was announced.

use super::{IncomingItem, MessageError, PayloadLocation, ReceiveLimits};
use crate::limits::{
    CLIENT_HEADER_BYTES, CONTROL_PAYLOAD_BYTES, MAPPED_ALLOCATION_BYTES,
    PARTIAL_MESSAGE_HEAP_BYTES, SERVER_HEADER_BYTES,
};
use crate::wire::websocket::frame::{FrameError, FrameHeader, parse_header, unmask};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// A message or frame of which a part is still to come.
#[derive(Debug)]
pub struct PartialMessage {
    head: [u8; CLIENT_HEADER_BYTES],
    head_len: usize,
    frame: Option<OpenFrame>,
    /// Room for a header, then the payload so far, unmasked.
    message: Vec<u8>,
    kind: Option<Kind>,
    fragments: u32,
    /// Bytes of `message` known to be UTF-8.
    checked: usize,
    stale: bool,
    control: [u8; CONTROL_PAYLOAD_BYTES],
    control_len: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

/// A frame whose header has been read.
#[derive(Debug)]
struct OpenFrame {
    header: FrameHeader,
    received: u64,
}

impl PartialMessage {
    pub(super) fn new() -> Box<Self> {
        Box::new(PartialMessage {
            head: [0; CLIENT_HEADER_BYTES],
            head_len: 0,
            frame: None,
            message: Vec::new(),
            kind: None,
            fragments: 0,
            checked: 0,
            stale: false,
            control: [0; CONTROL_PAYLOAD_BYTES],
            control_len: 0,
        })
    }

    /// Marks what is held as older than whatever happens now; see [`PayloadLocation::Assembled`].
    pub fn mark_stale(&mut self) {
        // guard: a message begun before a match is not for the partner [skip]
        self.stale = true;
    }

    /// Bytes of memory that this value keeps.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.message.capacity()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head_len == 0 && self.frame.is_none() && self.kind.is_none()
    }

    /// Forgets the message that has been handed out.
    pub(super) fn message_done(&mut self) {
        self.message = Vec::new();
        self.kind = None;
        self.fragments = 0;
        self.checked = 0;
        self.stale = false;
    }

    /// Takes in a header, completing one whose first bytes came earlier. Returns the bytes used.
    pub(super) fn take_header(
        &mut self,
        bytes: &[u8],
        rules: &ReceiveLimits,
    ) -> Result<usize, MessageError> {
        let mut used = 0;
        loop {
            let parsed = parse_header(&self.head[..self.head_len], rules.sender)
                .map_err(MessageError::Frame)?;
            if let Some(header) = parsed {
                self.open(header, rules)?;
                self.head_len = 0;
                return Ok(used);
            }
            let Some(&byte) = bytes.get(used) else { return Ok(used) };
            self.head[self.head_len] = byte;
            self.head_len += 1;
            used += 1;
        }
    }

    /// Checks that `header` may come now, and makes it the frame under way.
    fn open(&mut self, header: FrameHeader, rules: &ReceiveLimits) -> Result<(), MessageError> {
        if let OpCode::Data(data) = header.opcode {
            match (data, self.kind) {
                (Data::Continue, Some(_)) => {}
                (Data::Text, None) => self.kind = Some(Kind::Text),
                (Data::Binary, None) => self.kind = Some(Kind::Binary),
                (Data::Continue, None) | (Data::Text | Data::Binary, Some(_)) => {
                    return Err(MessageError::Sequence);
                }
                (Data::Reserved(_), _) => {
                    return Err(MessageError::Frame(FrameError::ReservedOpcode));
                }
            }
            self.fragments += 1;
            // guard: the fragments of a message are limited [false]
            if self.fragments > rules.max_fragments {
                return Err(MessageError::TooManyFragments);
            }
            let held = self.payload_len() as u64;
            // guard: the size of a message is limited [false]
            if held.saturating_add(header.payload_len) > rules.max_message_bytes as u64 {
                return Err(MessageError::TooLarge);
            }
        } else {
            self.control_len = 0;
        }
        self.frame = Some(OpenFrame { header, received: 0 });
        Ok(())
    }

    /// Whether a header has been read whose payload is still to come.
    pub(super) fn has_open_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// Takes [`PartialMessage::mark_stale`] back.
    pub(super) fn clear_stale(&mut self) {
        self.stale = false;
    }

    /// The message so far.
    pub(super) fn payload(&self) -> &[u8] {
        self.message.get(SERVER_HEADER_BYTES..).unwrap_or_default()
    }

    /// The message so far, behind room for a header.
    pub(super) fn payload_with_headroom(&mut self) -> &mut [u8] {
        &mut self.message
    }

    /// The first `len` bytes of the control frame that was completed last.
    pub(super) fn control(&self, len: u8) -> &[u8] {
        &self.control[..len as usize]
    }

    fn payload_len(&self) -> usize {
        self.message.len().saturating_sub(SERVER_HEADER_BYTES)
    }

    /// Takes in payload of the frame under way. Returns the bytes used, and the item that they
    /// complete.
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
            if self.kind == Some(Kind::Text) {
                self.check_utf8(complete && last)?;
            }
            if !(complete && last) {
                return Ok((used, None));
            }
            let place = PayloadLocation::Assembled { stale: self.stale };
            let item = match self.kind {
                Some(Kind::Text) => IncomingItem::Text(place),
                Some(Kind::Binary) | None => IncomingItem::Binary(place),
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
        Ok((
            used,
            Some(control_item(
                control,
                payload,
                PayloadLocation::AssembledControl(self.control_len),
            )?),
        ))
    }

    /// Appends payload, unmasked. What is more than a little gets pages of its own at once, of
    /// which those that nothing was written to cost nothing: of many that grow side by side in
    /// shared pages, none fits into the hole that another has left.
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

    /// Checks what has not been checked yet; a sequence may be cut off unless this is the end.
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

pub(super) fn control_item(
    control: Control,
    payload: &[u8],
    place: PayloadLocation,
) -> Result<IncomingItem, MessageError> {
    match control {
        Control::Ping => Ok(IncomingItem::Ping(place)),
        Control::Pong => Ok(IncomingItem::Pong(place)),
        Control::Close => parse_close(payload).map(IncomingItem::Close),
        Control::Reserved(_) => Err(MessageError::Frame(FrameError::ReservedOpcode)),
    }
}

/// RFC 6455 §5.5.1: nothing, or a code of two bytes and a reason in UTF-8.
fn parse_close(payload: &[u8]) -> Result<Option<u16>, MessageError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(MessageError::BadClose) };
    };
    let code = u16::from_be_bytes(*code);
    // §7.4.2 and the IANA registry; 1004, 1005, 1006 and 1015 must not be sent.
    // guard: a Close frame has a valid code [false]
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(MessageError::BadClose);
    }
    simdutf8::basic::from_utf8(reason).map_err(|_| MessageError::NotUtf8)?;
    Ok(Some(code))
}
