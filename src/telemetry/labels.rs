//! The reasons by which totals are broken down. Pure. No reason names a user, a room, a queue or an
//! address.

use super::counter::Label;
use crate::wire::message::ErrorCode;

/// Declares an enum that is a [`Label`]. The documentation of its variants is also the text of
/// tuning/REFERENCE.md.
macro_rules! label {
    (
        $(#[doc = $doc:literal])+
        $name:ident {
            $($(#[doc = $meaning:literal])+ $variant:ident = $text:literal,)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl $name {
            /// Each name with its meaning.
            pub(super) const MEANINGS: &'static [(&'static str, &'static str)] =
                &[$(($text, concat!($($meaning),+))),+];
        }

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

label! {
    /// Why a connection ended. Each accepted connection ends with exactly one of these.
    EndReason {
        /// The client sent a Close frame (RFC 6455 §5.5.1).
        ClientClose = "client_close",
        /// The client ended or reset the connection without a Close frame.
        ClientGone = "client_gone",
        /// Nothing arrived for the silence limit (close code 1001).
        Silent = "silent",
        /// A member of a new room relayed nothing and answered nothing for two liveness windows
        /// (close code 1001).
        SilentAfterMatch = "silent_after_match",
        /// The client had not answered a ping for the liveness window, and a limit on connections
        /// was reached (close code 1001).
        Evicted = "evicted",
        /// An HTTP connection was idle between two requests, and a limit on connections was reached.
        HttpEvicted = "http_evicted",
        /// The client sent a frame that violates RFC 6455 (close code 1002).
        ProtocolError = "protocol_error",
        /// The client sent text that is not UTF-8 (close code 1007).
        NotUtf8 = "not_utf8",
        /// The client sent a message of too many fragments (close code 1008).
        TooManyFragments = "too_many_fragments",
        /// The client began a message and did not complete it within the message timeout (close
        /// code 1008).
        MessageTimeout = "message_timeout",
        /// The client sent a message that exceeds the size limit (close code 1009).
        MessageTooLarge = "message_too_large",
        /// The unsent backlog of a slow consumer was full, or it took nothing of a half full one
        /// for the silence limit (close code 1013).
        SlowConsumer = "slow_consumer",
        /// The server is shutting down (close code 1012).
        Restarting = "restarting",
        /// An HTTP connection ended after a response that announced it (`Connection: close`).
        HttpDone = "http_done",
        /// An HTTP keep-alive connection brought no next request in time.
        HttpIdle = "http_idle",
        /// A request head did not arrive in time.
        HeadTimeout = "head_timeout",
        /// An HTTP request was refused with a response that closes the connection.
        Refused = "refused",
        /// An internal error of the server (close code 1011).
        Internal = "internal",
    }
}

label! {
    /// Why an HTTP request was refused: one for each response of status 400 or more.
    RejectReason {
        /// `--max-connections` is reached (503).
        ConnectionLimit = "connection_limit",
        /// `--max-connections-per-address` is reached (429).
        AddressLimit = "address_limit",
        /// `--max-new-connections-per-address` is exceeded (429).
        AddressRate = "address_rate",
        /// The limit of connections to `--admin-listen` is reached (503).
        AdminLimit = "admin_limit",
        /// The server is shutting down (503).
        Draining = "draining",
        /// An upgrade from a page whose origin `--allow-origin` does not list (403).
        Origin = "origin",
        /// A malformed PROXY protocol header from a trusted proxy (400).
        ProxyHeader = "proxy_header",
        /// A PROXY protocol header from an address that `--trusted-proxy` does not list (400).
        UntrustedProxy = "untrusted_proxy",
        /// Not a request by RFC 9112, or not an upgrade by RFC 6455 §4.2.1 (400).
        BadRequest = "bad_request",
        /// A request head that exceeds the limit of bytes or fields (431).
        HeadTooLarge = "head_too_large",
        /// A request target that is longer than a head may be (414).
        TargetTooLong = "target_too_long",
        /// A request with a body (413).
        BodyRefused = "body_refused",
        /// A request head that did not arrive within `--handshake-timeout` (408).
        HeadTimeout = "head_timeout",
        /// No such path (404).
        NotFound = "not_found",
        /// Neither GET nor HEAD (405).
        MethodNotAllowed = "method_not_allowed",
        /// A plain request for a path that requires an upgrade to WebSocket (426).
        UpgradeRequired = "upgrade_required",
        /// An upgrade to a WebSocket version other than 13 (426).
        UnsupportedVersion = "unsupported_version",
    }
}

impl Label for ErrorCode {
    const ALL: &'static [Self] = &[
        ErrorCode::BadJson,
        ErrorCode::BadMessage,
        ErrorCode::UnknownType,
        ErrorCode::BadQueue,
        ErrorCode::NotInRoom,
        ErrorCode::NotWaiting,
        ErrorCode::RateLimited,
        ErrorCode::TooManyMatches,
        ErrorCode::PeerBusy,
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
