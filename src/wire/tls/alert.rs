//! Alerts that are sent (RFC 8446 §6). Pure.

/// An alert that the record layer sends. What a peer sends stays a number, since it only ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsAlert {
    /// Nothing more will be sent (RFC 8446 §6.1).
    CloseNotify,
    /// A message that is not expected here.
    UnexpectedMessage,
    /// A record that is not authentic.
    BadRecordMac,
    /// A record above the length limit.
    RecordOverflow,
    /// A field with a value that is not permitted.
    IllegalParameter,
    /// A message that cannot be parsed.
    DecodeError,
    /// A condition that is not the peer's fault.
    InternalError,
}

/// An alert that ends the connection without an error (RFC 8446 §6.1).
const WARNING: u8 = 1;
/// An alert that reports an error (RFC 8446 §6.2).
const FATAL: u8 = 2;
/// Description of an alert that announces a close_notify (RFC 8446 §6.1).
pub(super) const USER_CANCELED: u8 = 90;

impl TlsAlert {
    /// The number of the alert (RFC 8446 §6).
    pub const fn code(self) -> u8 {
        match self {
            TlsAlert::CloseNotify => 0,
            TlsAlert::UnexpectedMessage => 10,
            TlsAlert::BadRecordMac => 20,
            TlsAlert::RecordOverflow => 22,
            TlsAlert::IllegalParameter => 47,
            TlsAlert::DecodeError => 50,
            TlsAlert::InternalError => 80,
        }
    }

    /// The message: level and description.
    pub(super) const fn message(self) -> [u8; 2] {
        match self {
            TlsAlert::CloseNotify => [WARNING, self.code()],
            TlsAlert::UnexpectedMessage
            | TlsAlert::BadRecordMac
            | TlsAlert::RecordOverflow
            | TlsAlert::IllegalParameter
            | TlsAlert::DecodeError
            | TlsAlert::InternalError => [FATAL, self.code()],
        }
    }
}
