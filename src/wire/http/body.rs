//! Finds the end of a response body (RFC 9112 §6.3), for the client's half. Pure.

use super::chunked::{ChunkError, ChunkPart, ChunkReader};
use std::error::Error;
use std::fmt;

/// Where a body ends, according to the response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// After this number of bytes.
    Bytes(u64),
    /// Where the chunked coding ends.
    Chunked,
    /// At the end of the connection.
    UntilClose,
}

/// A body that is being received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// This number of bytes is missing.
    Bytes(u64),
    /// The body is chunked.
    Chunked(ChunkReader),
    /// The body extends to the end of the connection.
    UntilClose,
}

/// Why bytes do not match the body that the head announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The chunked coding is invalid.
    Chunk(ChunkError),
    /// Bytes follow the end of the body, although no further response is due.
    Excess,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::Chunk(error) => error.fmt(f),
            BodyError::Excess => f.write_str("bytes follow the end of the response"),
        }
    }
}

impl Error for BodyError {}

impl Body {
    /// A body of which no byte has arrived.
    pub fn new(length: BodyLength) -> Self {
        match length {
            BodyLength::Bytes(bytes) => Body::Bytes(bytes),
            BodyLength::Chunked => Body::Chunked(ChunkReader::default()),
            BodyLength::UntilClose => Body::UntilClose,
        }
    }

    /// Processes the next bytes of the connection, passes their content to `data`, and returns
    /// whether the body is complete. Call it with no bytes directly after the head, because the
    /// body may be empty.
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
