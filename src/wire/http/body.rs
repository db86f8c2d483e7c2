//! Where a response's body ends (RFC 9112 §6.3), for the client's half. Pure.

use super::chunked::{ChunkError, ChunkPart, ChunkReader};
use std::error::Error;
use std::fmt;

/// What a response head says about where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// After so many bytes.
    Bytes(u64),
    /// Where the chunked coding says.
    Chunked,
    /// Where the connection ends.
    UntilClose,
}

/// A body of which some may have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes are still to come.
    Bytes(u64),
    /// It comes in chunks.
    Chunked(ChunkReader),
    /// Whatever comes until the connection ends.
    UntilClose,
}

/// Why bytes are not a body of the kind that was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It is not in chunks.
    Chunk(ChunkError),
    /// More came than was announced: it answers what nobody asked.
    Excess,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::Chunk(fault) => fault.fmt(f),
            BodyError::Excess => f.write_str("more bytes came than the response was to have"),
        }
    }
}

impl Error for BodyError {}

impl Body {
    /// A body of which nothing has come.
    pub fn new(length: BodyLength) -> Self {
        match length {
            BodyLength::Bytes(bytes) => Body::Bytes(bytes),
            BodyLength::Chunked => Body::Chunked(ChunkReader::default()),
            BodyLength::UntilClose => Body::UntilClose,
        }
    }

    /// Takes in the next bytes of the connection, gives `data` what they hold of the content, and
    /// tells whether that is all of it. Call it with no bytes right behind the head: a body may
    /// be empty.
    pub fn read(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> Result<bool, BodyError> {
        match self {
            Body::Bytes(left) => {
                *left = left.checked_sub(bytes.len() as u64).ok_or(BodyError::Excess)?;
                data(bytes);
                Ok(*left == 0)
            }
            Body::Chunked(reader) => {
                let mut input = bytes;
                loop {
                    match reader.next(&mut input).map_err(BodyError::Chunk)? {
                        ChunkPart::Data(part) => data(part),
                        ChunkPart::Pending => return Ok(false),
                        ChunkPart::End if input.is_empty() => return Ok(true),
                        ChunkPart::End => return Err(BodyError::Excess),
                    }
                }
            }
            Body::UntilClose => {
                data(bytes);
                Ok(false)
            }
        }
    }
}
