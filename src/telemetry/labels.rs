//! The reasons that totals are told apart by. Pure. None of them ever names a user, a room, a
//! queue or an address.

use super::counter::Label;
use crate::wire::message::ErrorCode;

/// Why a connection ended. Each connection that was accepted ends with exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The client sent a Close frame (RFC 6455 §5.5.1).
    ClientClose,
    /// The client's end of the connection ended, or was reset, without a Close frame.
    ClientGone,
    /// Nothing came for the silence limit (close code 1001).
    Silent,
    /// A frame that breaks RFC 6455 (close code 1002).
    ProtocolError,
    /// Text that is not UTF-8 (close code 1007).
    NotUtf8,
    /// A message of too many fragments (close code 1008).
    TooManyFragments,
    /// A message over the size limit (close code 1009).
    MessageTooLarge,
    /// The backlog for a client that does not read was full (close code 1013).
    SlowConsumer,
    /// The server shut down (close code 1012).
    Restarting,
    /// An HTTP connection ended as its last answer said it would.
    HttpDone,
    /// An HTTP connection stayed open without a next request.
    HttpIdle,
    /// A request head did not arrive in time.
    HeadTimeout,
    /// An HTTP request was refused, and the connection with it.
    Refused,
    /// A fault of the server's own (close code 1011).
    Internal,
}

/// Why an HTTP request was refused: one for each answer of status 400 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// All connections are taken (503).
    ConnectionLimit,
    /// All connections of one address are taken (503).
    AddressLimit,
    /// Too many connections came from one address within a second (503).
    AddressRate,
    /// All connections to `--admin-listen` are taken (503).
    AdminLimit,
    /// The server shuts down (503).
    Draining,
    /// A page of a site that `--allow-origin` does not name wanted an upgrade (403).
    Origin,
    /// A trusted proxy's PROXY protocol header that is malformed (400).
    ProxyHeader,
    /// A connection from an address that `--trusted-proxy` does not name, which began with a PROXY
    /// protocol header (400).
    UntrustedProxy,
    /// Not a request as RFC 9112 or RFC 6455 §4.2.1 has it (400).
    BadRequest,
    /// A request head over the limit of bytes or fields (431).
    HeadTooLarge,
    /// A request with a body (413).
    BodyRefused,
    /// A request head that did not arrive in time (408).
    HeadTimeout,
    /// No such path (404).
    NotFound,
    /// Neither GET nor HEAD (405).
    MethodNotAllowed,
    /// The path wants an upgrade to WebSocket (426).
    UpgradeRequired,
    /// An upgrade to a version of WebSocket other than 13 (426).
    UnsupportedVersion,
}

/// Implements [`Label`] for a plain enum whose variants are listed in their order.
macro_rules! label {
    ($name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        impl Label for $name {
            const ALL: &'static [Self] = &[$($name::$variant),+];

            #[inline]
            fn index(self) -> usize {
                self as usize
            }

            fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text),+
                }
            }
        }
    };
}

label!(EndReason {
    ClientClose = "client_close",
    ClientGone = "client_gone",
    Silent = "silent",
    ProtocolError = "protocol_error",
    NotUtf8 = "not_utf8",
    TooManyFragments = "too_many_fragments",
    MessageTooLarge = "message_too_large",
    SlowConsumer = "slow_consumer",
    Restarting = "restarting",
    HttpDone = "http_done",
    HttpIdle = "http_idle",
    HeadTimeout = "head_timeout",
    Refused = "refused",
    Internal = "internal",
});

label!(RejectReason {
    ConnectionLimit = "connection_limit",
    AddressLimit = "address_limit",
    AddressRate = "address_rate",
    AdminLimit = "admin_limit",
    Draining = "draining",
    Origin = "origin",
    ProxyHeader = "proxy_header",
    UntrustedProxy = "untrusted_proxy",
    BadRequest = "bad_request",
    HeadTooLarge = "head_too_large",
    BodyRefused = "body_refused",
    HeadTimeout = "head_timeout",
    NotFound = "not_found",
    MethodNotAllowed = "method_not_allowed",
    UpgradeRequired = "upgrade_required",
    UnsupportedVersion = "unsupported_version",
});

impl Label for ErrorCode {
    const ALL: &'static [Self] = &[
        ErrorCode::BadJson,
        ErrorCode::BadMessage,
        ErrorCode::UnknownType,
        ErrorCode::BadQueue,
        ErrorCode::NotInRoom,
        ErrorCode::NotWaiting,
        ErrorCode::RateLimited,
        ErrorCode::Draining,
    ];

    #[inline]
    fn index(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn names_are_distinct_and_indices_count_up<L: Label>() {
        let names: HashSet<&str> = L::ALL.iter().map(|label| label.name()).collect();
        assert_eq!(names.len(), L::ALL.len());
        for (place, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), place);
            assert!(label.name().bytes().all(|b| b.is_ascii_lowercase() || b"_8".contains(&b)));
        }
    }

    #[test]
    fn every_label_has_its_own_name_and_place() {
        names_are_distinct_and_indices_count_up::<EndReason>();
        names_are_distinct_and_indices_count_up::<RejectReason>();
        names_are_distinct_and_indices_count_up::<ErrorCode>();
    }
}
