//! Decodes the chunked transfer coding (RFC 9112 §7.1), for the client's half. Pure.
//!
//! Only complete lines are parsed, and only an incomplete line is stored. So the boundaries of
//! reads change neither the content nor the error. It must never store content, or a line beyond
//! its bound.

use super::scan::is_token_byte;
use crate::limits::{CHUNK_LINE_BYTES, CHUNK_TRAILER_BYTES};
use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// The state of decoding one chunked body. Start with the default for every body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkReader {
    state: ChunkState,
    /// The beginning of an incomplete line.
    partial_line: Vec<u8>,
}

/// The next part of a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkPart<'b> {
    /// Content, at least one byte; more may follow.
    Data(&'b [u8]),
    /// The input is used up, and the body is not complete.
    Pending,
    /// The body is complete; the remaining input is not part of it.
    End,
}

/// How a body violates the chunked coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// A chunk does not begin with a hexadecimal size, or its extensions are not text.
    Size,
    /// The line with a chunk's size and extensions is longer than allowed.
    SizeLineTooLong,
    /// A chunk does not end after the size that it stated.
    End,
    /// A line of the trailer section is not a field.
    Trailer,
    /// The trailer section is longer than allowed.
    TrailerTooLong,
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChunkError::Size => "a chunk has no valid size",
            ChunkError::SizeLineTooLong => "the line with a chunk's size is too long",
            ChunkError::End => "a chunk is longer than its size",
            ChunkError::Trailer => "the trailer section is malformed",
            ChunkError::TrailerTooLong => "the trailer section is too long",
        })
    }
}

impl Error for ChunkError {}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkState {
    /// A line with the size of a chunk is next.
    #[default]
    Size,
    /// Data is next: `left` bytes, at least one.
    Data { left: u64 },
    /// The line end after the data of a chunk is next.
    DataEnd,
    /// A line of the trailer section is next. The section may have `room` more bytes.
    Trailer { room: usize },
    /// The body is complete.
    End,
}

impl ChunkReader {
    /// Decodes the next part from `input`, which continues the input of the previous call, and
    /// advances `input` past it. After an error, the connection cannot be used any more.
    pub fn next<'b>(&mut self, input: &mut &'b [u8]) -> Result<ChunkPart<'b>, ChunkError> {
        loop {
            self.state = match self.state {
                ChunkState::Size => {
                    let line = self.take_line(input, CHUNK_LINE_BYTES);
                    let Some(line) = line.ok_or(ChunkError::SizeLineTooLong)? else { break };
                    match chunk_size(&line).ok_or(ChunkError::Size)? {
                        0 => ChunkState::Trailer { room: CHUNK_TRAILER_BYTES },
                        left => ChunkState::Data { left },
                    }
                }
                ChunkState::Data { .. } if input.is_empty() => break,
                ChunkState::Data { left } => {
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let (data, rest) = input.split_at(len);
                    *input = rest;
                    self.state = match left - len as u64 {
                        0 => ChunkState::DataEnd,
                        left => ChunkState::Data { left },
                    };
                    return Ok(ChunkPart::Data(data));
                }
                ChunkState::DataEnd => {
                    let line = self.take_line(input, b"\r\n".len()).ok_or(ChunkError::End)?;
                    let Some(line) = line else { break };
                    if *line != *b"\r\n" {
                        return Err(ChunkError::End);
                    }
                    ChunkState::Size
                }
                ChunkState::Trailer { room } => {
                    let line = self.take_line(input, room).ok_or(ChunkError::TrailerTooLong)?;
                    let Some(line) = line else { break };
                    match line.strip_suffix(b"\r\n") {
                        Some(b"") => ChunkState::End,
                        Some(field) if is_field(field) => {
                            ChunkState::Trailer { room: room - line.len() }
                        }
                        Some(_) | None => return Err(ChunkError::Trailer),
                    }
                }
                ChunkState::End => return Ok(ChunkPart::End),
            };
        }
        Ok(ChunkPart::Pending)
    }

    /// Takes the rest of a line from `input`: the line with its LF, or `Some(None)` if it is not
    /// complete. `None` if the line is longer than `max_bytes`.
    fn take_line<'b>(
        &mut self,
        input: &mut &'b [u8],
        max_bytes: usize,
    ) -> Option<Option<Cow<'b, [u8]>>> {
        let room = max_bytes - self.partial_line.len();
        let end = memchr::memchr(b'\n', &input[..input.len().min(room)]);
        let len = end.map_or(input.len(), |at| at + 1);
        if len > room {
            return None;
        }
        let (arrived, rest) = input.split_at(len);
        *input = rest;
        if end.is_none() {
            self.partial_line.extend_from_slice(arrived);
            return Some(None);
        }
        if self.partial_line.is_empty() {
            return Some(Some(Cow::Borrowed(arrived)));
        }
        let mut line = std::mem::take(&mut self.partial_line);
        line.extend_from_slice(arrived);
        Some(Some(Cow::Owned(line)))
    }
}

/// The size in the first line of a chunk. Extensions are ignored (RFC 9112 §7.1.1).
fn chunk_size(line: &[u8]) -> Option<u64> {
    // httparse would accept a line without a digit as a size of 0, and any byte, even a bare LF, in
    // an extension.
    let text = line.strip_suffix(b"\r\n").filter(|text| text.iter().copied().all(is_text_byte))?;
    text.first().filter(|digit| digit.is_ascii_hexdigit())?;
    match httparse::parse_chunk_size(line) {
        Ok(httparse::Status::Complete((len, size))) if len == line.len() => Some(size),
        Ok(_) | Err(_) => None,
    }
}

/// Whether a line, without its line end, is a field (RFC 9112 §5). Obsolete line folding is not.
fn is_field(line: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', line) else { return false };
    let (name, value) = line.split_at(colon);
    !name.is_empty()
        && name.iter().copied().all(is_token_byte)
        && value.iter().copied().all(is_text_byte)
}

/// Whether `byte` is allowed in a field value or a quoted string (RFC 9110 §5.5, §5.6.4).
fn is_text_byte(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}
