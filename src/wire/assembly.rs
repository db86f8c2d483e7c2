//! Frames → messages: fragments, UTF-8, control frames in between, Close. Pure.
//!
//! A [`Reader`] goes over what one read brought. A message that lies in it whole is handed out
//! where it lies, unmasked in place; only what is cut off, or comes in fragments, is copied
//! into an [`Assembly`], which exists just that long. So an idle connection holds nothing.
//!
//! What arrives is checked as it arrives: text that is not UTF-8 is refused at the byte that
//! shows it, in the middle of a frame too, and nothing is ever looked at twice, however small
//! the pieces it comes in.

use crate::limits::{
    CLIENT_HEADER_BYTES, CONTROL_PAYLOAD_BYTES, OWN_PAGES_BYTES, SERVER_HEADER_BYTES,
};
use crate::wire::frame::{FrameFault, Header, Side, parse_header, text_header, unmask};
use std::ops::Range;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// What one end accepts from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Who sends what is read here.
    pub sender: Side,
    /// Largest message in bytes; a larger one is a fault as soon as it is announced.
    pub max_message_bytes: usize,
    /// Most frames of one message, empty ones counted.
    pub max_fragments: u32,
}

/// Why the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A frame that breaks RFC 6455 §5.
    Frame(FrameFault),
    /// A continuation of nothing, or a new message within another (RFC 6455 §5.4).
    Sequence,
    /// A Close frame with half a code or one that must not be sent (RFC 6455 §7.4).
    BadClose,
    /// Text, or the reason of a Close frame, that is not UTF-8 (RFC 6455 §8.1).
    NotUtf8,
    /// More fragments than [`Rules::max_fragments`].
    TooManyFragments,
    /// More bytes than [`Rules::max_message_bytes`].
    TooLarge,
}

impl Fault {
    /// The code that the Close frame should carry (RFC 6455 §7.4.1).
    pub const fn close_code(self) -> CloseCode {
        match self {
            Fault::Frame(_) | Fault::Sequence | Fault::BadClose => CloseCode::Protocol,
            Fault::NotUtf8 => CloseCode::Invalid,
            Fault::TooManyFragments => CloseCode::Policy,
            Fault::TooLarge => CloseCode::Size,
        }
    }
}

/// Where the bytes of an item are; [`Reader::bytes`] gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the buffer that was read into.
    Buffer(Range<usize>),
    /// In the assembly: a message that did not come in one piece.
    Held {
        /// Whether some of it had been read before [`Assembly::mark_stale`].
        stale: bool,
    },
    /// In the assembly: a control frame that did not come in one piece.
    Control(u8),
}

/// What a peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A text message, valid UTF-8.
    Text(Place),
    /// A binary message.
    Binary(Place),
    /// A ping; it is to be answered with its own bytes (RFC 6455 §5.5.3).
    Ping(Place),
    /// A pong.
    Pong(Place),
    /// The last frame of the connection, with the code it carries, if any.
    Close(Option<u16>),
}

/// A message or frame of which a part is still to come.
#[derive(Debug)]
pub struct Assembly {
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
    header: Header,
    received: u64,
}

impl Assembly {
    fn new() -> Box<Self> {
        Box::new(Assembly {
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

    /// Marks what is held as older than whatever happens now; see [`Place::Held`].
    pub fn mark_stale(&mut self) {
        self.stale = true;
    }

    /// Bytes of memory that this value keeps.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.message.capacity()
    }

    fn is_empty(&self) -> bool {
        self.head_len == 0 && self.frame.is_none() && self.kind.is_none()
    }

    /// Forgets the message that has been handed out.
    fn message_done(&mut self) {
        self.message = Vec::new();
        self.kind = None;
        self.fragments = 0;
        self.checked = 0;
        self.stale = false;
    }

    /// Takes in a header, completing one whose first bytes came earlier. Returns the bytes used.
    fn take_header(&mut self, bytes: &[u8], rules: &Rules) -> Result<usize, Fault> {
        let mut used = 0;
        loop {
            let parsed =
                parse_header(&self.head[..self.head_len], rules.sender).map_err(Fault::Frame)?;
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
    fn open(&mut self, header: Header, rules: &Rules) -> Result<(), Fault> {
        if let OpCode::Data(data) = header.opcode {
            match (data, self.kind) {
                (Data::Continue, Some(_)) => {}
                (Data::Text, None) => self.kind = Some(Kind::Text),
                (Data::Binary, None) => self.kind = Some(Kind::Binary),
                (Data::Continue, None) | (Data::Text | Data::Binary, Some(_)) => {
                    return Err(Fault::Sequence);
                }
                (Data::Reserved(_), _) => return Err(Fault::Frame(FrameFault::ReservedOpcode)),
            }
            self.fragments += 1;
            if self.fragments > rules.max_fragments {
                return Err(Fault::TooManyFragments);
            }
            let held = self.payload_len() as u64;
            if held.saturating_add(header.payload_len) > rules.max_message_bytes as u64 {
                return Err(Fault::TooLarge);
            }
        } else {
            self.control_len = 0;
        }
        self.frame = Some(OpenFrame { header, received: 0 });
        Ok(())
    }

    fn payload_len(&self) -> usize {
        self.message.len().saturating_sub(SERVER_HEADER_BYTES)
    }

    /// Takes in payload of the frame under way. Returns the bytes used, and the item that they
    /// complete.
    fn take_payload(&mut self, bytes: &[u8]) -> Result<(usize, Option<Item>), Fault> {
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
            if self.kind == Some(Kind::Text) {
                self.check_utf8(complete && last)?;
            }
            if !(complete && last) {
                return Ok((used, None));
            }
            let place = Place::Held { stale: self.stale };
            let item = match self.kind {
                Some(Kind::Text) => Item::Text(place),
                Some(Kind::Binary) | None => Item::Binary(place),
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
        Ok((used, Some(control_item(control, payload, Place::Control(self.control_len))?)))
    }

    /// Appends payload, unmasked. Memory grows by an eighth beyond what is there, and by a quarter
    /// while it shares pages with others: of many that grow side by side in smaller steps, none
    /// fits into the hole that another has left, and the holes come to more than what is held.
    fn append(&mut self, bytes: &[u8], mask: Option<[u8; 4]>, offset: usize) {
        if self.message.is_empty() {
            self.message.reserve_exact(SERVER_HEADER_BYTES + bytes.len());
            self.message.resize(SERVER_HEADER_BYTES, 0);
        }
        if self.message.capacity() - self.message.len() < bytes.len() {
            let is_small = self.message.len() < OWN_PAGES_BYTES as usize;
            let spare = self.message.len() / if is_small { 4 } else { 8 };
            self.message.reserve_exact(bytes.len() + spare);
        }
        let start = self.message.len();
        self.message.extend_from_slice(bytes);
        if let Some(key) = mask {
            unmask(&mut self.message[start..], key, offset);
        }
    }

    /// Checks what has not been checked yet; a sequence may be cut off unless this is the end.
    fn check_utf8(&mut self, end: bool) -> Result<(), Fault> {
        let from = SERVER_HEADER_BYTES + self.checked;
        match simdutf8::compat::from_utf8(self.message.get(from..).unwrap_or_default()) {
            Ok(text) => self.checked += text.len(),
            Err(error) if error.error_len().is_none() && !end => {
                self.checked += error.valid_up_to()
            }
            Err(_) => return Err(Fault::NotUtf8),
        }
        Ok(())
    }
}

fn control_item(control: Control, payload: &[u8], place: Place) -> Result<Item, Fault> {
    match control {
        Control::Ping => Ok(Item::Ping(place)),
        Control::Pong => Ok(Item::Pong(place)),
        Control::Close => parse_close(payload).map(Item::Close),
        Control::Reserved(_) => Err(Fault::Frame(FrameFault::ReservedOpcode)),
    }
}

/// RFC 6455 §5.5.1: nothing, or a code of two bytes and a reason in UTF-8.
fn parse_close(payload: &[u8]) -> Result<Option<u16>, Fault> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(Fault::BadClose) };
    };
    let code = u16::from_be_bytes(*code);
    // §7.4.2 and the IANA registry; 1004, 1005, 1006 and 1015 must not be sent.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Fault::BadClose);
    }
    simdutf8::basic::from_utf8(reason).map_err(|_| Fault::NotUtf8)?;
    Ok(Some(code))
}

/// Goes over the bytes of one read. [`Reader::next`] until it gives `None` or a fault, then
/// [`Reader::finish`] for what is to be kept until the next read.
#[derive(Debug)]
pub struct Reader<'a> {
    buf: &'a mut [u8],
    at: usize,
    held: Option<Box<Assembly>>,
    handed_out: bool,
    rules: &'a Rules,
}

/// What [`Reader::next_in_place`] found.
enum Step {
    Item(Item),
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
    fn check_text(&self) -> Result<(), Fault> {
        if !self.ascii {
            simdutf8::basic::from_utf8(self.payload).map_err(|_| Fault::NotUtf8)?;
        }
        Ok(())
    }
}

impl<'a> Reader<'a> {
    /// A reader over `buf`, going on with what an earlier one held.
    pub fn new(buf: &'a mut [u8], held: Option<Box<Assembly>>, rules: &'a Rules) -> Self {
        Reader { buf, at: 0, held, handed_out: false, rules }
    }

    /// The buffer, for turning an item into a frame where it lies. Bytes behind
    /// [`Reader::position`] have not been read yet.
    pub fn buffer(&mut self) -> &mut [u8] {
        self.buf
    }

    /// Where the next item begins in the buffer.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The bytes of an item that was just given out.
    pub fn bytes(&self, place: &Place) -> &[u8] {
        match place {
            Place::Buffer(range) => &self.buf[range.clone()],
            Place::Held { .. } => self
                .held
                .as_ref()
                .and_then(|held| held.message.get(SERVER_HEADER_BYTES..))
                .unwrap_or_default(),
            Place::Control(len) => {
                self.held.as_ref().map_or(&[], |held| &held.control[..*len as usize])
            }
        }
    }

    /// The bytes of a message in [`Place::Held`], with [`SERVER_HEADER_BYTES`] of room before
    /// the payload.
    pub fn held_with_headroom(&mut self) -> Option<&mut [u8]> {
        self.held.as_mut().map(|held| held.message.as_mut_slice())
    }

    /// The next frame, if it is a text message that lies in the buffer whole: where it lies,
    /// unmasked. `None` leaves it to [`Reader::next`], which also knows all else.
    #[inline]
    pub fn next_text(&mut self) -> Result<Option<Range<usize>>, Fault> {
        if self.held.is_some() {
            return Ok(None);
        }
        let rest = &self.buf[self.at..];
        let Some((length, key, header_len)) = text_header(rest) else { return Ok(None) };
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
    pub fn next(&mut self) -> Result<Option<Item>, Fault> {
        if self.held.is_none() {
            match self.next_in_place()? {
                Step::Item(item) => return Ok(Some(item)),
                Step::Nothing => return Ok(None),
                Step::NeedsHolding => self.held = Some(Assembly::new()),
            }
        }
        self.next_held()
    }

    #[inline]
    fn next_in_place(&mut self) -> Result<Step, Fault> {
        let rest = &self.buf[self.at..];
        if rest.is_empty() {
            return Ok(Step::Nothing);
        }
        let Some(header) = parse_header(rest, self.rules.sender).map_err(Fault::Frame)? else {
            return Ok(Step::NeedsHolding);
        };
        if !header.fin {
            return Ok(Step::NeedsHolding);
        }
        if header.payload_len > self.rules.max_message_bytes as u64
            && matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary))
        {
            return Err(Fault::TooLarge);
        }
        let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
        let Some(whole) = self.take_whole(header.header_len, payload_len, header.mask) else {
            return Ok(Step::NeedsHolding);
        };
        let place = Place::Buffer(whole.range.clone());
        let item = match header.opcode {
            OpCode::Data(Data::Text) => {
                whole.check_text()?;
                Item::Text(place)
            }
            OpCode::Data(Data::Binary) => Item::Binary(place),
            OpCode::Data(Data::Continue) => return Err(Fault::Sequence),
            OpCode::Data(Data::Reserved(_)) => {
                return Err(Fault::Frame(FrameFault::ReservedOpcode));
            }
            OpCode::Control(control) => control_item(control, whole.payload, place)?,
        };
        Ok(Step::Item(item))
    }

    fn next_held(&mut self) -> Result<Option<Item>, Fault> {
        loop {
            let Some(held) = self.held.as_mut() else { return self.next() };
            if std::mem::take(&mut self.handed_out) {
                held.message_done();
            }
            if held.is_empty() {
                // What was marked was a control frame, and no message begins with it.
                held.stale = false;
                // Nothing is left of what was held: the rest may lie here whole.
                match self.next_in_place()? {
                    Step::Item(item) => return Ok(Some(item)),
                    Step::Nothing => return Ok(None),
                    Step::NeedsHolding => {}
                }
            }
            let Some(held) = self.held.as_mut() else { return Ok(None) };
            if held.frame.is_none() {
                self.at += held.take_header(&self.buf[self.at..], self.rules)?;
                if held.frame.is_none() {
                    return Ok(None);
                }
            }
            let (used, item) = held.take_payload(&self.buf[self.at..])?;
            self.at += used;
            if let Some(item) = item {
                self.handed_out = matches!(
                    item,
                    Item::Text(Place::Held { .. }) | Item::Binary(Place::Held { .. })
                );
                return Ok(Some(item));
            }
            if held.frame.is_some() {
                return Ok(None);
            }
        }
    }

    /// What has to be kept until more bytes arrive.
    pub fn finish(mut self) -> Option<Box<Assembly>> {
        let mut held = self.held.take()?;
        if self.handed_out {
            held.message_done();
        }
        (!held.is_empty()).then_some(held)
    }
}

#[cfg(test)]
#[path = "assembly_tests.rs"]
mod tests;
