//! Why a handshake failed, as outcomes that can be counted. Pure.

use rustls::{Error, InvalidMessage};
use std::fmt;

/// Why a handshake failed. The connection is closed once the alert has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// What arrived is not TLS, such as an HTTP request.
    NotTls,
    /// The client has no version, suite, key exchange or signature that the server has, such as one that
    /// knows TLS 1.2 only.
    Incompatible,
    /// The client offers protocols by ALPN, and `http/1.1` is not among them.
    Protocol,
    /// There is no certificate for the name that the client asked for.
    NoCertificate,
    /// The client ended the handshake, such as one that does not trust the certificate.
    PeerAlert,
    /// A message that violates RFC 8446, or is not authentic.
    Malformed,
    /// More bytes or records than a handshake needs. No alert is sent.
    TooLong,
    /// A fault that is not the client's.
    Internal,
}

impl HandshakeFailure {
    /// All outcomes, in the order of their numbers.
    pub const ALL: [HandshakeFailure; 8] = [
        HandshakeFailure::NotTls,
        HandshakeFailure::Incompatible,
        HandshakeFailure::Protocol,
        HandshakeFailure::NoCertificate,
        HandshakeFailure::PeerAlert,
        HandshakeFailure::Malformed,
        HandshakeFailure::TooLong,
        HandshakeFailure::Internal,
    ];

    /// The outcome as a value of a metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            HandshakeFailure::NotTls => "not_tls",
            HandshakeFailure::Incompatible => "incompatible",
            HandshakeFailure::Protocol => "no_application_protocol",
            HandshakeFailure::NoCertificate => "no_certificate",
            HandshakeFailure::PeerAlert => "peer_alert",
            HandshakeFailure::Malformed => "malformed",
            HandshakeFailure::TooLong => "too_long",
            HandshakeFailure::Internal => "internal",
        }
    }

    pub(super) fn of(error: &Error) -> HandshakeFailure {
        match error {
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => HandshakeFailure::NotTls,
            Error::PeerIncompatible(_) => HandshakeFailure::Incompatible,
            Error::NoApplicationProtocol => HandshakeFailure::Protocol,
            // The only general error before the end of a server's handshake: the resolver has none.
            Error::General(_) => HandshakeFailure::NoCertificate,
            Error::AlertReceived(_) => HandshakeFailure::PeerAlert,
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_)
            | Error::DecryptError
            | Error::PeerSentOversizedRecord => HandshakeFailure::Malformed,
            // An enum of rustls, which may grow.
            _ => HandshakeFailure::Internal,
        }
    }
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HandshakeFailure::NotTls => "not TLS",
            HandshakeFailure::Incompatible => "no common version, suite, key exchange or signature",
            HandshakeFailure::Protocol => "no common application protocol",
            HandshakeFailure::NoCertificate => "no certificate for the server name",
            HandshakeFailure::PeerAlert => "the client ended the handshake",
            HandshakeFailure::Malformed => "a malformed message",
            HandshakeFailure::TooLong => "too much input",
            HandshakeFailure::Internal => "an internal error",
        })
    }
}

impl std::error::Error for HandshakeFailure {}
