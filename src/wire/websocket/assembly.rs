//! Frames → messages: fragments, UTF-8, control frames in between, Close. Pure.
//!
//! A [`MessageReader`] goes over what one read brought. A message that lies in it whole is handed out
//! where it lies, unmasked in place; only what is cut off, or comes in fragments, is copied
//! into an [`PartialMessage`], which exists just that long. So an idle connection holds nothing.
//!
//! What arrives is checked as it arrives: text that is not UTF-8 is refused at the byte that
//! shows it, in the middle of a frame too, and nothing is ever looked at twice, however small
//! the pieces it comes in.

mod held;

pub use held::PartialMessage;

use crate::wire::websocket::frame::{FrameError, Side, parse_header, parse_text_header, unmask};
use held::control_item;
use std::ops::Range;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

/// What one end accepts from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveLimits {
    /// Who sends what is read here.
    pub sender: Side,
    /// Largest message in bytes; a larger one is a fault as soon as it is announced.
    pub max_message_bytes: usize,
    /// Most frames of one message, empty ones counted.
    pub max_fragments: u32,
}

/// Why the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// A frame that breaks RFC 6455 §5.
    Frame(FrameError),
    /// A continuation of nothing, or a new message within another (RFC 6455 §5.4).
    Sequence,
    /// A Close frame with half a code or one that must not be sent (RFC 6455 §7.4).
    BadClose,
    /// Text, or the reason of a Close frame, that is not UTF-8 (RFC 6455 §8.1).
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

/// Where the bytes of an item are; [`MessageReader::bytes`] gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadLocation {
    /// In the buffer that was read into.
    ReceiveBuffer(Range<usize>),
    /// In the assembly: a message that did not come in one piece.
    Assembled {
        /// Whether some of it had been read before [`PartialMessage::mark_stale`].
        stale: bool,
    },
    /// In the assembly: a control frame that did not come in one piece.
    AssembledControl(u8),
}

/// What a peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncomingItem {
    /// A text message, valid UTF-8.
    Text(PayloadLocation),
    /// A binary message.
    Binary(PayloadLocation),
    /// A ping; it is to be answered with its own bytes (RFC 6455 §5.5.3).
    Ping(PayloadLocation),
    /// A pong.
    Pong(PayloadLocation),
    /// The last frame of the connection, with the code it carries, if any.
    Close(Option<u16>),
}

/// Goes over the bytes of one read. [`MessageReader::next`] until it gives `None` or a fault, then
/// [`MessageReader::finish`] for what is to be kept until the next read.
#[derive(Debug)]
pub struct MessageReader<'a> {
    buf: &'a mut [u8],
    at: usize,
    held: Option<Box<PartialMessage>>,
    handed_out: bool,
    rules: &'a ReceiveLimits,
}

/// What [`MessageReader::next_in_place`] found.
enum Step {
    IncomingItem(IncomingItem),
    Nothing,
    NeedsHolding,
}

/// A frame that lies in the buffer whole.
struct Whole<'b> {
    /// Unmasked.
    payload: &'b [u8],
    /// Where that lies.
    range: Range<usize>,
    /// Whether it is known to be all ASCII.
    ascii: bool,
}

impl Whole<'_> {
    #[inline(always)]
    fn check_text(&self) -> Result<(), MessageError> {
        if !self.ascii {
            simdutf8::basic::from_utf8(self.payload).map_err(|_| MessageError::NotUtf8)?;
        }
        Ok(())
    }
}

impl<'a> MessageReader<'a> {
    /// A reader over `buf`, going on with what an earlier one held.
    pub fn new(
        buf: &'a mut [u8],
        held: Option<Box<PartialMessage>>,
        rules: &'a ReceiveLimits,
    ) -> Self {
        MessageReader { buf, at: 0, held, handed_out: false, rules }
    }

    /// The buffer, for turning an item into a frame where it lies. Bytes behind
    /// [`MessageReader::position`] have not been read yet.
    pub fn buffer(&mut self) -> &mut [u8] {
        self.buf
    }

    /// Where the next item begins in the buffer.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The bytes of an item that was just given out.
    pub fn bytes(&self, place: &PayloadLocation) -> &[u8] {
        match place {
            PayloadLocation::ReceiveBuffer(range) => &self.buf[range.clone()],
            PayloadLocation::Assembled { .. } => {
                self.held.as_ref().map_or(&[], |held| held.payload())
            }
            PayloadLocation::AssembledControl(len) => {
                self.held.as_ref().map_or(&[], |held| held.control(*len))
            }
        }
    }

    /// The bytes of a message in [`PayloadLocation::Assembled`], with
    /// [`SERVER_HEADER_BYTES`](crate::limits::SERVER_HEADER_BYTES) of room before the payload.
    pub fn assembled_with_headroom(&mut self) -> Option<&mut [u8]> {
        self.held.as_mut().map(|held| held.payload_with_headroom())
    }

    /// The next frame, if it is a text message that lies in the buffer whole: where it lies,
    /// unmasked. `None` leaves it to [`MessageReader::next`], which also knows all else.
    #[inline]
    pub fn next_text(&mut self) -> Result<Option<Range<usize>>, MessageError> {
        if self.held.is_some() {
            return Ok(None);
        }
        let rest = &self.buf[self.at..];
        let Some((length, key, header_len)) = parse_text_header(rest) else { return Ok(None) };
        if self.rules.sender != Side::Client || length > self.rules.max_message_bytes {
            return Ok(None);
        }
        let Some(whole) = self.take_whole(header_len, length, Some(key)) else { return Ok(None) };
        whole.check_text()?;
        Ok(Some(whole.range))
    }

    /// Takes a frame of which all lies in the buffer, if all of it does.
    #[inline(always)]
    fn take_whole(
        &mut self,
        header_len: usize,
        payload_len: usize,
        mask: Option<[u8; 4]>,
    ) -> Option<Whole<'_>> {
        let end = header_len.saturating_add(payload_len);
        let payload = self.buf[self.at..].get_mut(header_len..end)?;
        let range = self.at + header_len..self.at + end;
        self.at = range.end;
        let ascii = mask.is_some_and(|key| unmask(payload, key, 0));
        Some(Whole { payload, range, ascii })
    }

    /// The next message or control frame; `None` when the buffer is used up.
    ///
    /// After a fault the reader must not be asked again.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "a lending, failing iterator")]
    pub fn next(&mut self) -> Result<Option<IncomingItem>, MessageError> {
        if self.held.is_none() {
            match self.next_in_place()? {
                Step::IncomingItem(item) => return Ok(Some(item)),
                Step::Nothing => return Ok(None),
                Step::NeedsHolding => self.held = Some(PartialMessage::new()),
            }
        }
        self.next_held()
    }

    #[inline]
    fn next_in_place(&mut self) -> Result<Step, MessageError> {
        let rest = &self.buf[self.at..];
        if rest.is_empty() {
            return Ok(Step::Nothing);
        }
        let Some(header) = parse_header(rest, self.rules.sender).map_err(MessageError::Frame)?
        else {
            return Ok(Step::NeedsHolding);
        };
        if !header.fin {
            return Ok(Step::NeedsHolding);
        }
        if header.payload_len > self.rules.max_message_bytes as u64
            && matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary))
        {
            return Err(MessageError::TooLarge);
        }
        let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
        let Some(whole) = self.take_whole(header.header_len, payload_len, header.mask) else {
            return Ok(Step::NeedsHolding);
        };
        let place = PayloadLocation::ReceiveBuffer(whole.range.clone());
        let item = match header.opcode {
            OpCode::Data(Data::Text) => {
                whole.check_text()?;
                IncomingItem::Text(place)
            }
            OpCode::Data(Data::Binary) => IncomingItem::Binary(place),
            OpCode::Data(Data::Continue) => return Err(MessageError::Sequence),
            OpCode::Data(Data::Reserved(_)) => {
                return Err(MessageError::Frame(FrameError::ReservedOpcode));
            }
            OpCode::Control(control) => control_item(control, whole.payload, place)?,
        };
        Ok(Step::IncomingItem(item))
    }

    fn next_held(&mut self) -> Result<Option<IncomingItem>, MessageError> {
        loop {
            let Some(held) = self.held.as_mut() else { return self.next() };
            if std::mem::take(&mut self.handed_out) {
                held.message_done();
            }
            if held.is_empty() {
                // What was marked was a control frame, and no message begins with it.
                // guard: a control frame leaves no stale mark [skip]
                held.clear_stale();
                // Nothing is left of what was held: the rest may lie here whole.
                match self.next_in_place()? {
                    Step::IncomingItem(item) => return Ok(Some(item)),
                    Step::Nothing => return Ok(None),
                    Step::NeedsHolding => {}
                }
            }
            let Some(held) = self.held.as_mut() else { return Ok(None) };
            if !held.has_open_frame() {
                self.at += held.take_header(&self.buf[self.at..], self.rules)?;
                if !held.has_open_frame() {
                    return Ok(None);
                }
            }
            let (used, item) = held.take_payload(&self.buf[self.at..])?;
            self.at += used;
            if let Some(item) = item {
                self.handed_out = matches!(
                    item,
                    IncomingItem::Text(PayloadLocation::Assembled { .. })
                        | IncomingItem::Binary(PayloadLocation::Assembled { .. })
                );
                return Ok(Some(item));
            }
            if held.has_open_frame() {
                return Ok(None);
            }
        }
    }

    /// What has to be kept until more bytes arrive.
    pub fn finish(mut self) -> Option<Box<PartialMessage>> {
        let mut held = self.held.take()?;
        if self.handed_out {
            held.message_done();
        }
        (!held.is_empty()).then_some(held)
    }
}

#[cfg(test)]
mod tests;
