//! Errors of the record layer, and the alert that answers each. Pure.

use super::alert::TlsAlert;
use std::fmt;

/// What is wrong with a record. The connection sends [`RecordError::alert`] and ends (RFC 8446 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// A record after the handshake that is not protected, a change_cipher_spec included (RFC 8446 §5).
    OuterType,
    /// Longer than 2^14 + 256 bytes, or than 2^14 + 1 when it is decrypted (RFC 8446 §5.2, §5.4).
    TooLong,
    /// Not authentic, or too short for a tag (RFC 8446 §5.2).
    NotAuthentic,
    /// Only padding (RFC 8446 §5.4).
    NoContentType,
    /// Neither application data nor alert nor handshake, such as a protected change_cipher_spec (RFC 8446 §5).
    InnerType,
    /// An alert or a part of a handshake message without a byte (RFC 8446 §5.4).
    EmptyFragment,
    /// More records in a row without application data than permitted.
    TooManyEmpty,
    /// An alert that does not have two bytes (RFC 8446 §6).
    AlertLength,
    /// A handshake message that is no KeyUpdate (RFC 8446 §4.6).
    HandshakeType,
    /// A KeyUpdate of another length than one byte (RFC 8446 §4.6.3).
    KeyUpdateLength,
    /// A KeyUpdate with a value that is not defined (RFC 8446 §4.6.3).
    KeyUpdateValue,
    /// Bytes after a KeyUpdate in its record (RFC 8446 §5.1).
    KeyUpdateNotLast,
    /// Another record within a handshake message (RFC 8446 §5.1).
    Interleaved,
    /// More KeyUpdates without application data in between than permitted.
    TooManyKeyUpdates,
    /// The sequence numbers are used up (RFC 8446 §5.3).
    SequenceEnd,
}

impl RecordError {
    /// The alert that reports the error (RFC 8446 §6.2 and the sections above).
    pub const fn alert(self) -> TlsAlert {
        match self {
            RecordError::OuterType
            | RecordError::NoContentType
            | RecordError::InnerType
            | RecordError::EmptyFragment
            | RecordError::TooManyEmpty
            | RecordError::HandshakeType
            | RecordError::KeyUpdateNotLast
            | RecordError::Interleaved
            | RecordError::TooManyKeyUpdates => TlsAlert::UnexpectedMessage,
            RecordError::TooLong => TlsAlert::RecordOverflow,
            RecordError::NotAuthentic => TlsAlert::BadRecordMac,
            RecordError::AlertLength | RecordError::KeyUpdateLength => TlsAlert::DecodeError,
            RecordError::KeyUpdateValue => TlsAlert::IllegalParameter,
            RecordError::SequenceEnd => TlsAlert::InternalError,
        }
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecordError::OuterType => "an unprotected record after the handshake",
            RecordError::TooLong => "a record above the length limit",
            RecordError::NotAuthentic => "a record that is not authentic",
            RecordError::NoContentType => "a record without a content type",
            RecordError::InnerType => "a record with an unexpected content type",
            RecordError::EmptyFragment => "an empty alert or handshake record",
            RecordError::TooManyEmpty => "too many records without application data",
            RecordError::AlertLength => "an alert that does not have two bytes",
            RecordError::HandshakeType => "a handshake message that is no KeyUpdate",
            RecordError::KeyUpdateLength => "a KeyUpdate with a wrong length",
            RecordError::KeyUpdateValue => "a KeyUpdate with an undefined value",
            RecordError::KeyUpdateNotLast => "a KeyUpdate that is not the end of its record",
            RecordError::Interleaved => "another record within a handshake message",
            RecordError::TooManyKeyUpdates => "too many KeyUpdates without application data",
            RecordError::SequenceEnd => "no sequence number is left",
        })
    }
}

impl std::error::Error for RecordError {}

/// Why nothing was sealed; the output is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// An alert has been sealed, after which nothing may follow (RFC 8446 §6.1).
    Ended,
    /// The AEAD has refused to encrypt. The connection ends without an alert.
    Refused,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SealError::Ended => "the sending direction has ended",
            SealError::Refused => "the cipher refused to encrypt",
        })
    }
}

impl std::error::Error for SealError {}
