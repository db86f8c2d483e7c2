//! Record headers (RFC 8446 §5.1 and §5.2). Pure.

use super::error::RecordError;
use super::suite::TAG_BYTES;
use crate::limits::{TLS_CIPHERTEXT_BYTES, TLS_PLAINTEXT_BYTES};

/// Length of a record header: type, version, length.
pub const RECORD_HEADER_BYTES: usize = 5;

/// Content types (RFC 8446 §5.1).
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// The version that every record names, whatever was negotiated (RFC 8446 §5.2).
const LEGACY_VERSION: [u8; 2] = [3, 3];

/// A record header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// The content type, of the record as it is sent.
    pub content_type: u8,
    /// Length of what follows the header, in bytes.
    pub body_bytes: usize,
}

impl RecordHeader {
    /// Parses the header at the start of `bytes`; `None` if it is not complete. Neither type nor length is
    /// checked, and the version has no meaning (RFC 8446 §5.1).
    pub fn parse(bytes: &[u8]) -> Option<RecordHeader> {
        let &[content_type, _, _, high, low] = bytes.first_chunk::<RECORD_HEADER_BYTES>()?;
        let body_bytes = usize::from(u16::from_be_bytes([high, low]));
        Some(RecordHeader { content_type, body_bytes })
    }

    /// Length of the record, header included, in bytes.
    pub const fn record_bytes(self) -> usize {
        RECORD_HEADER_BYTES + self.body_bytes
    }

    /// Checks the header of a record after the handshake.
    pub(super) fn check_protected(self) -> Result<(), RecordError> {
        // guard: a record after the handshake is protected [false]
        if self.content_type != APPLICATION_DATA {
            return Err(RecordError::OuterType);
        }
        // guard: the length of a TLS record is limited [false]
        if self.body_bytes > TLS_CIPHERTEXT_BYTES {
            return Err(RecordError::TooLong);
        }
        // It has no room for a tag, so it cannot be authentic.
        if self.body_bytes < TAG_BYTES {
            return Err(RecordError::NotAuthentic);
        }
        Ok(())
    }

    /// The header of a protected record with `content_bytes` of content.
    pub(super) fn protected(content_bytes: usize) -> [u8; RECORD_HEADER_BYTES] {
        debug_assert!(content_bytes <= TLS_PLAINTEXT_BYTES);
        let [high, low] = ((content_bytes + 1 + TAG_BYTES) as u16).to_be_bytes();
        [APPLICATION_DATA, LEGACY_VERSION[0], LEGACY_VERSION[1], high, low]
    }
}
