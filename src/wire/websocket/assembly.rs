//! Assembles messages from frames: fragments, UTF-8, interleaved control frames, Close. Pure.
//!
//! A [`MessageReader`] processes the bytes of one read. A message that lies completely in them is
//! returned in place, unmasked. Only a message that continues in a later read, or comes in
//! fragments, is copied into a [`PartialMessage`], which is freed when the message is complete. So
//! an idle connection owns no buffer.
//!
//! Input is checked as it arrives: text that is not UTF-8 is refused at the first invalid byte,
//! even in the middle of a frame. No byte is examined twice, however small the reads are.

mod partial;

pub use partial::PartialMessage;

use crate::wire::websocket::frame::{FrameError, Side, parse_header, parse_text_header, unmask};
use partial::control_item;
use std::ops::Range;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

/// What one end accepts from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveLimits {
    /// The end that sends the frames that are read.
    pub sender: Side,
    /// Largest message, in bytes. A larger one is refused when a frame header announces it.
    pub max_message_bytes: usize,
    /// Most frames of one message, empty ones included.
    pub max_fragments: u32,
}

/// Why the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// A frame violates RFC 6455 §5.
    Frame(FrameError),
    /// A continuation without a message, or a new message within another (RFC 6455 §5.4).
    Sequence,
    /// A Close frame with an incomplete code, or one that must not be sent (RFC 6455 §7.4).
    BadClose,
    /// Text, or the reason of a Close frame, is not UTF-8 (RFC 6455 §8.1).
    NotUtf8,
    /// More fragments than [`ReceiveLimits::max_fragments`].
    TooManyFragments,
    /// More bytes than [`ReceiveLimits::max_message_bytes`].
    TooLarge,
}

impl MessageError {
    /// The code that the Close frame should carry (RFC 6455 §7.4.1).
    pub const fn close_code(self) -> CloseCode {
        match self {
            MessageError::Frame(_) | MessageError::Sequence | MessageError::BadClose => {
                CloseCode::Protocol
            }
            MessageError::NotUtf8 => CloseCode::Invalid,
            MessageError::TooManyFragments => CloseCode::Policy,
            MessageError::TooLarge => CloseCode::Size,
        }
    }
}

/// Where the payload of an item is; [`MessageReader::bytes`] returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadLocation {
    /// In the receive buffer.
    ReceiveBuffer(Range<usize>),
    /// In the [`PartialMessage`]: the message did not arrive in one piece.
    Assembled {
        /// Whether part of it arrived before [`PartialMessage::mark_stale`] was called.
        stale: bool,
    },
    /// In the [`PartialMessage`]: a control frame of this length did not arrive in one piece.
    AssembledControl(u8),
}

/// A message or control frame that the peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncomingItem {
    /// A text message, valid UTF-8.
    Text(PayloadLocation),
    /// A binary message.
    Binary(PayloadLocation),
    /// A ping, to be answered with a pong that has the same payload (RFC 6455 §5.5.3).
    Ping(PayloadLocation),
    /// A pong.
    Pong(PayloadLocation),
    /// A Close frame, the last frame of the connection, with its code, if it has one.
    Close(Option<u16>),
}

/// Processes the bytes of one read. Call [`MessageReader::next`] until it returns `None` or an
/// error, then [`MessageReader::finish`] for the state to keep until the next read.
#[derive(Debug)]
pub struct MessageReader<'a> {
    buf: &'a mut [u8],
    at: usize,
    partial: Option<Box<PartialMessage>>,
    /// Whether the message in `partial` has been returned, so that it is to be removed.
    is_delivered: bool,
    limits: &'a ReceiveLimits,
}

/// The result of [`MessageReader::next_in_place`].
enum InPlaceOutcome {
    IncomingItem(IncomingItem),
    /// The buffer is used up.
    Empty,
    /// The next item is incomplete or fragmented.
    NeedsAssembly,
}

/// A frame that lies completely in the buffer.
struct CompleteFrame<'b> {
    /// The payload, unmasked.
    payload: &'b [u8],
    /// The range of the payload in the buffer.
    range: Range<usize>,
    /// Whether the payload is known to be all ASCII.
    is_ascii: bool,
}

impl CompleteFrame<'_> {
    #[inline(always)]
    fn check_text(&self) -> Result<(), MessageError> {
        if !self.is_ascii {
            simdutf8::basic::from_utf8(self.payload).map_err(|_| MessageError::NotUtf8)?;
        }
        Ok(())
    }
}

impl<'a> MessageReader<'a> {
    /// A reader over `buf` that continues with the state that an earlier one left.
    pub fn new(
        buf: &'a mut [u8],
        partial: Option<Box<PartialMessage>>,
        limits: &'a ReceiveLimits,
    ) -> Self {
        MessageReader { buf, at: 0, partial, is_delivered: false, limits }
    }

    /// The buffer, for turning an item into a frame in place. The bytes from
    /// [`MessageReader::position`] on have not been processed yet.
    pub fn buffer(&mut self) -> &mut [u8] {
        self.buf
    }

    /// The position in the buffer where the next item begins.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The payload of the item that was returned last.
    pub fn bytes(&self, location: &PayloadLocation) -> &[u8] {
        match location {
            PayloadLocation::ReceiveBuffer(range) => &self.buf[range.clone()],
            PayloadLocation::Assembled { .. } => {
                self.partial.as_ref().map_or(&[], |partial| partial.payload())
            }
            PayloadLocation::AssembledControl(len) => {
                self.partial.as_ref().map_or(&[], |partial| partial.control(*len))
            }
        }
    }

    /// The payload of a message in [`PayloadLocation::Assembled`], preceded by
    /// [`SERVER_HEADER_BYTES`](crate::limits::SERVER_HEADER_BYTES) of room for a header.
    pub fn assembled_with_headroom(&mut self) -> Option<&mut [u8]> {
        self.partial.as_mut().map(|partial| partial.payload_with_headroom())
    }

    /// The fast path of [`MessageReader::next`]: if the next frame is a text message that lies
    /// completely in the buffer, unmasks it and returns its range. `None` leaves the frame to
    /// [`MessageReader::next`].
    #[inline]
    pub fn next_text(&mut self) -> Result<Option<Range<usize>>, MessageError> {
        if self.partial.is_some() {
            return Ok(None);
        }
        let rest = &self.buf[self.at..];
        let Some((length, key, header_len)) = parse_text_header(rest) else { return Ok(None) };
        if self.limits.sender != Side::Client || length > self.limits.max_message_bytes {
            return Ok(None);
        }
        let Some(frame) = self.take_complete_frame(header_len, length, Some(key)) else {
            return Ok(None);
        };
        frame.check_text()?;
        Ok(Some(frame.range))
    }

    /// Takes and unmasks the next frame, if it lies completely in the buffer.
    #[inline(always)]
    fn take_complete_frame(
        &mut self,
        header_len: usize,
        payload_len: usize,
        mask: Option<[u8; 4]>,
    ) -> Option<CompleteFrame<'_>> {
        let end = header_len.saturating_add(payload_len);
        let payload = self.buf[self.at..].get_mut(header_len..end)?;
        let range = self.at + header_len..self.at + end;
        self.at = range.end;
        let is_ascii = mask.is_some_and(|key| unmask(payload, key, 0));
        Some(CompleteFrame { payload, range, is_ascii })
    }

    /// The next message or control frame; `None` when the buffer is used up.
    ///
    /// It must not be called again after an error.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "a lending, failing iterator")]
    pub fn next(&mut self) -> Result<Option<IncomingItem>, MessageError> {
        if self.partial.is_none() {
            match self.next_in_place()? {
                InPlaceOutcome::IncomingItem(item) => return Ok(Some(item)),
                InPlaceOutcome::Empty => return Ok(None),
                InPlaceOutcome::NeedsAssembly => self.partial = Some(PartialMessage::new()),
            }
        }
        self.next_assembled()
    }

    #[inline]
    fn next_in_place(&mut self) -> Result<InPlaceOutcome, MessageError> {
        let rest = &self.buf[self.at..];
        if rest.is_empty() {
            return Ok(InPlaceOutcome::Empty);
        }
        let Some(header) = parse_header(rest, self.limits.sender).map_err(MessageError::Frame)?
        else {
            return Ok(InPlaceOutcome::NeedsAssembly);
        };
        if !header.fin {
            return Ok(InPlaceOutcome::NeedsAssembly);
        }
        if header.payload_len > self.limits.max_message_bytes as u64
            && matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary))
        {
            return Err(MessageError::TooLarge);
        }
        let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
        let Some(frame) = self.take_complete_frame(header.header_len, payload_len, header.mask)
        else {
            return Ok(InPlaceOutcome::NeedsAssembly);
        };
        let location = PayloadLocation::ReceiveBuffer(frame.range.clone());
        let item = match header.opcode {
            OpCode::Data(Data::Text) => {
                frame.check_text()?;
                IncomingItem::Text(location)
            }
            OpCode::Data(Data::Binary) => IncomingItem::Binary(location),
            OpCode::Data(Data::Continue) => return Err(MessageError::Sequence),
            OpCode::Data(Data::Reserved(_)) => {
                return Err(MessageError::Frame(FrameError::ReservedOpcode));
            }
            OpCode::Control(control) => control_item(control, frame.payload, location)?,
        };
        Ok(InPlaceOutcome::IncomingItem(item))
    }

    fn next_assembled(&mut self) -> Result<Option<IncomingItem>, MessageError> {
        loop {
            let Some(partial) = self.partial.as_mut() else { return self.next() };
            if std::mem::take(&mut self.is_delivered) {
                partial.clear_message();
            }
            if partial.is_empty() {
                // The mark was on a control frame that is complete now; no message is stale.
                // guard: a control frame leaves no stale mark [skip]
                partial.clear_stale();
                partial.clear_begun();
                // Nothing is held any more: the next frame may lie completely in the buffer.
                match self.next_in_place()? {
                    InPlaceOutcome::IncomingItem(item) => return Ok(Some(item)),
                    InPlaceOutcome::Empty => return Ok(None),
                    InPlaceOutcome::NeedsAssembly => {}
                }
            }
            let Some(partial) = self.partial.as_mut() else { return Ok(None) };
            if !partial.has_open_frame() {
                self.at += partial.take_header(&self.buf[self.at..], self.limits)?;
                if !partial.has_open_frame() {
                    return Ok(None);
                }
            }
            let (used, item) = partial.take_payload(&self.buf[self.at..])?;
            self.at += used;
            if let Some(item) = item {
                self.is_delivered = matches!(
                    item,
                    IncomingItem::Text(PayloadLocation::Assembled { .. })
                        | IncomingItem::Binary(PayloadLocation::Assembled { .. })
                );
                return Ok(Some(item));
            }
            if partial.has_open_frame() {
                return Ok(None);
            }
        }
    }

    /// The state to keep until more bytes arrive.
    pub fn finish(mut self) -> Option<Box<PartialMessage>> {
        let mut partial = self.partial.take()?;
        if self.is_delivered {
            partial.clear_message();
        }
        (!partial.is_empty()).then_some(partial)
    }
}

#[cfg(test)]
mod tests;
