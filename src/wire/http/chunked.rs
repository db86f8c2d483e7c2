//! Takes the chunked transfer coding apart (RFC 9112 §7.1), for the client's half. Pure.
//!
//! Only complete lines are looked at, and nothing is kept but a line that has not come whole: so
//! how the network cuts a body makes no difference, neither to its data nor to what is wrong
//! with it. It must never keep data, nor anything of a line beyond its bound.

use super::scan::is_token_byte;
use crate::limits::{CHUNK_LINE_BYTES, CHUNK_TRAILER_BYTES};
use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// A chunked body as far as it has come. Start with the default for every body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkReader {
    state: ChunkState,
    /// The beginning of a line that has not come whole.
    held: Vec<u8>,
}

/// What comes next in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkPart<'b> {
    /// So much of its data, at least one byte; more may follow.
    Data(&'b [u8]),
    /// Nothing more in these bytes; the body goes on.
    Pending,
    /// It has ended; the bytes left are behind it.
    End,
}

/// Why what claims to be a chunked body is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// A chunk does not begin with its size in hexadecimal digits, or its extensions are no text.
    Size,
    /// The line with a chunk's size and extensions is longer than allowed.
    SizeLineTooLong,
    /// A chunk does not end where its size says.
    End,
    /// A line of the trailer section is no field.
    Trailer,
    /// The trailer section is longer than allowed.
    TrailerTooLong,
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChunkError::Size => "a chunk has no valid size",
            ChunkError::SizeLineTooLong => "the line with a chunk's size is too long",
            ChunkError::End => "a chunk does not end where its size says",
            ChunkError::Trailer => "the trailer section is malformed",
            ChunkError::TrailerTooLong => "the trailer section is too long",
        })
    }
}

impl Error for ChunkError {}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkState {
    /// A chunk's size comes.
    #[default]
    Size,
    /// So many bytes of data come, at least one.
    Data { left: u64 },
    /// The line end behind a chunk's data comes.
    DataEnd,
    /// A line of the trailer section comes; the section may have so many bytes more.
    Trailer { room: usize },
    /// The body is over.
    End,
}

impl ChunkReader {
    /// Reads on in `input`, which goes on where the one before ended, and leaves in it what is
    /// not read yet. After an error the body is lost, and the connection with it.
    pub fn next<'b>(&mut self, input: &mut &'b [u8]) -> Result<ChunkPart<'b>, ChunkError> {
        loop {
            self.state = match self.state {
                ChunkState::Size => {
                    let line = self.line(input, CHUNK_LINE_BYTES);
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
                    let line = self.line(input, b"\r\n".len()).ok_or(ChunkError::End)?;
                    let Some(line) = line else { break };
                    if *line != *b"\r\n" {
                        return Err(ChunkError::End);
                    }
                    ChunkState::Size
                }
                ChunkState::Trailer { room } => {
                    let line = self.line(input, room).ok_or(ChunkError::TrailerTooLong)?;
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

    /// Takes the rest of a line out of `input`: the line with its LF, or `Some(None)` if that has
    /// not come. `None` if the line is longer than `most` bytes.
    fn line<'b>(&mut self, input: &mut &'b [u8], most: usize) -> Option<Option<Cow<'b, [u8]>>> {
        let room = most - self.held.len();
        let end = memchr::memchr(b'\n', &input[..input.len().min(room)]);
        let len = end.map_or(input.len(), |at| at + 1);
        if len > room {
            return None;
        }
        let (came, rest) = input.split_at(len);
        *input = rest;
        if end.is_none() {
            self.held.extend_from_slice(came);
            return Some(None);
        }
        if self.held.is_empty() {
            return Some(Some(Cow::Borrowed(came)));
        }
        let mut line = std::mem::take(&mut self.held);
        line.extend_from_slice(came);
        Some(Some(Cow::Owned(line)))
    }
}

/// The size that a chunk's first line tells; extensions are ignored (RFC 9112 §7.1.1).
fn chunk_size(line: &[u8]) -> Option<u64> {
    // httparse takes a line without any digit for a size of 0, and any byte, a bare LF included,
    // for a part of an extension.
    let text = line.strip_suffix(b"\r\n").filter(|text| text.iter().copied().all(is_text_byte))?;
    text.first().filter(|digit| digit.is_ascii_hexdigit())?;
    match httparse::parse_chunk_size(line) {
        Ok(httparse::Status::Complete((len, size))) if len == line.len() => Some(size),
        Ok(_) | Err(_) => None,
    }
}

/// Whether a line without its end is a field (RFC 9112 §5); an obsolete line folding is none.
fn is_field(line: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', line) else { return false };
    let (name, value) = line.split_at(colon);
    !name.is_empty()
        && name.iter().copied().all(is_token_byte)
        && value.iter().copied().all(is_text_byte)
}

/// Whether `byte` may stand in a field value or a quoted string (RFC 9110 §5.5, §5.6.4).
fn is_text_byte(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}
