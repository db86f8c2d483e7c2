//! The reasons by which totals are broken down. Pure. No reason names a user, a room, a queue or an
//! address.

use super::counter::Label;
use crate::wire::message::ErrorCode;

/// Why a connection ended. Each accepted connection ends with exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The client sent a Close frame (RFC 6455 §5.5.1).
    ClientClose,
    /// The client ended or reset the connection without a Close frame.
    ClientGone,
    /// Nothing arrived for the silence limit (close code 1001).
    Silent,
    /// The client sent a frame that violates RFC 6455 (close code 1002).
    ProtocolError,
    /// The client sent text that is not UTF-8 (close code 1007).
    NotUtf8,
    /// The client sent a message of too many fragments (close code 1008).
    TooManyFragments,
    /// The client sent a message that exceeds the size limit (close code 1009).
    MessageTooLarge,
    /// The unsent backlog of a slow consumer was full (close code 1013).
    SlowConsumer,
    /// The server is shutting down (close code 1012).
    Restarting,
    /// An HTTP connection ended after a response that announced it (`Connection: close`).
    HttpDone,
    /// An HTTP keep-alive connection brought no next request in time.
    HttpIdle,
    /// A request head did not arrive in time.
    HeadTimeout,
    /// An HTTP request was refused with a response that closes the connection.
    Refused,
    /// An internal error of the server (close code 1011).
    Internal,
}

/// Why an HTTP request was refused: one for each response of status 400 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// `--max-connections` is reached (503).
    ConnectionLimit,
    /// `--max-connections-per-address` is reached (503).
    AddressLimit,
    /// `--max-new-connections-per-address` is exceeded (503).
    AddressRate,
    /// The limit of connections to `--admin-listen` is reached (503).
    AdminLimit,
    /// The server is shutting down (503).
    Draining,
    /// An upgrade from a page whose origin `--allow-origin` does not list (403).
    Origin,
    /// A malformed PROXY protocol header from a trusted proxy (400).
    ProxyHeader,
    /// A PROXY protocol header from an address that `--trusted-proxy` does not list (400).
    UntrustedProxy,
    /// Not a request by RFC 9112, or not an upgrade by RFC 6455 §4.2.1 (400).
    BadRequest,
    /// A request head that exceeds the limit of bytes or fields (431).
    HeadTooLarge,
    /// A request with a body (413).
    BodyRefused,
    /// A request head that did not arrive within `--handshake-timeout` (408).
    HeadTimeout,
    /// No such path (404).
    NotFound,
    /// Neither GET nor HEAD (405).
    MethodNotAllowed,
    /// A plain request for a path that requires an upgrade to WebSocket (426).
    UpgradeRequired,
    /// An upgrade to a WebSocket version other than 13 (426).
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
        for (index, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), index);
            assert!(label.name().bytes().all(|b| b.is_ascii_lowercase() || b"_8".contains(&b)));
        }
    }

    #[test]
    fn every_label_has_its_own_name_and_index() {
        names_are_distinct_and_indices_count_up::<EndReason>();
        names_are_distinct_and_indices_count_up::<RejectReason>();
        names_are_distinct_and_indices_count_up::<ErrorCode>();
    }
}
