//! The reasons for refusing a request, and the response that each of them gets. Pure.

use std::error::Error;
use std::fmt;

/// The status codes this server uses (RFC 9110 §15, RFC 6585 §4 and §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpStatus {
    /// 200.
    Ok,
    /// 304: the client's copy is current.
    NotModified,
    /// 400.
    BadRequest,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 405; sent with `Allow`.
    MethodNotAllowed,
    /// 405; sent with an `Allow` that contains OPTIONS.
    SessionMethodNotAllowed,
    /// 408.
    RequestTimeout,
    /// 413.
    ContentTooLarge,
    /// 414.
    UriTooLong,
    /// 426; sent with `Upgrade` and `Sec-WebSocket-Version`.
    UpgradeRequired,
    /// 429; sent with `Retry-After`.
    TooManyRequests,
    /// 431.
    RequestHeaderFieldsTooLarge,
    /// 503; sent with `Retry-After`.
    ServiceUnavailable,
}

impl HttpStatus {
    /// The three-digit code.
    pub const fn code(self) -> u16 {
        match self {
            HttpStatus::Ok => 200,
            HttpStatus::NotModified => 304,
            HttpStatus::BadRequest => 400,
            HttpStatus::Forbidden => 403,
            HttpStatus::NotFound => 404,
            HttpStatus::MethodNotAllowed | HttpStatus::SessionMethodNotAllowed => 405,
            HttpStatus::RequestTimeout => 408,
            HttpStatus::ContentTooLarge => 413,
            HttpStatus::UriTooLong => 414,
            HttpStatus::UpgradeRequired => 426,
            HttpStatus::TooManyRequests => 429,
            HttpStatus::RequestHeaderFieldsTooLarge => 431,
            HttpStatus::ServiceUnavailable => 503,
        }
    }

    /// The reason phrase of the status line, for human readers.
    pub const fn reason(self) -> &'static str {
        match self {
            HttpStatus::Ok => "OK",
            HttpStatus::NotModified => "Not Modified",
            HttpStatus::BadRequest => "Bad Request",
            HttpStatus::Forbidden => "Forbidden",
            HttpStatus::NotFound => "Not Found",
            HttpStatus::MethodNotAllowed | HttpStatus::SessionMethodNotAllowed => {
                "Method Not Allowed"
            }
            HttpStatus::RequestTimeout => "Request Timeout",
            HttpStatus::ContentTooLarge => "Content Too Large",
            HttpStatus::UriTooLong => "URI Too Long",
            HttpStatus::UpgradeRequired => "Upgrade Required",
            HttpStatus::TooManyRequests => "Too Many Requests",
            HttpStatus::RequestHeaderFieldsTooLarge => "Request Header Fields Too Large",
            HttpStatus::ServiceUnavailable => "Service Unavailable",
        }
    }
}

/// The limit that a connection or session is refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCause {
    /// The limit on connections in all is reached.
    Connections,
    /// The limit on connections from the client's address is reached.
    ConnectionsOfAddress,
    /// The limit on new connections from the client's address in one second is reached.
    NewConnectionsOfAddress,
    /// The limit on connections to `--admin-listen` is reached.
    AdminConnections,
    /// The server is shutting down.
    Time,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpError {
    /// The request violates RFC 9110, RFC 9112 or RFC 6455; the text says how.
    BadRequest(&'static str),
    /// A trusted proxy sent a malformed PROXY protocol header.
    BadProxyHeader,
    /// The protocol is neither HTTP/1.1 nor HTTP/1.0.
    UnsupportedVersion,
    /// The head is longer than `--max-head-bytes`.
    HeadTooLarge,
    /// The request target has no end within `--max-head-bytes` (RFC 9112 §3).
    TargetTooLong,
    /// The head has more than [`HEAD_FIELDS`](crate::limits::HEAD_FIELDS) fields.
    TooManyFields,
    /// The head was not complete within `--handshake-timeout`.
    HeadTimeout,
    /// The request has a body, which no resource of this server accepts.
    BodyRefused,
    /// The resource at this path only supports GET and HEAD.
    MethodNotAllowed,
    /// The path of sessions does not support the method; it supports OPTIONS beside GET and HEAD.
    SessionMethodNotAllowed,
    /// No resource has this path.
    NotFound,
    /// The path requires an upgrade to WebSocket.
    UpgradeRequired,
    /// The handshake is for a version of WebSocket other than 13.
    UnsupportedWebSocketVersion,
    /// The upgrade is requested by a web page of an origin that `--allow-origin` does not list.
    OriginRefused,
    /// A session cannot be opened at present.
    Unavailable(RefusalCause),
}

impl HttpError {
    /// The status code of the response. `wire/PROTOCOL.md` defines only a few, so an unsupported
    /// version gets 400 rather than 505.
    pub const fn status(self) -> HttpStatus {
        match self {
            HttpError::BadRequest(_)
            | HttpError::BadProxyHeader
            | HttpError::UnsupportedVersion => HttpStatus::BadRequest,
            HttpError::HeadTooLarge | HttpError::TooManyFields => {
                HttpStatus::RequestHeaderFieldsTooLarge
            }
            HttpError::TargetTooLong => HttpStatus::UriTooLong,
            HttpError::HeadTimeout => HttpStatus::RequestTimeout,
            HttpError::BodyRefused => HttpStatus::ContentTooLarge,
            HttpError::MethodNotAllowed => HttpStatus::MethodNotAllowed,
            HttpError::SessionMethodNotAllowed => HttpStatus::SessionMethodNotAllowed,
            HttpError::NotFound => HttpStatus::NotFound,
            // RFC 6455 §4.4: the response names the supported version.
            HttpError::UpgradeRequired | HttpError::UnsupportedWebSocketVersion => {
                HttpStatus::UpgradeRequired
            }
            HttpError::OriginRefused => HttpStatus::Forbidden,
            // Not 503: that would tell a proxy that the server is down for all clients, and the
            // proxy would send this client, or all of them, to another server.
            // guard: a limit of one address is not answered with 503 [value HttpStatus::ServiceUnavailable]
            HttpError::Unavailable(
                RefusalCause::ConnectionsOfAddress | RefusalCause::NewConnectionsOfAddress,
            ) => HttpStatus::TooManyRequests,
            HttpError::Unavailable(
                RefusalCause::Connections | RefusalCause::AdminConnections | RefusalCause::Time,
            ) => HttpStatus::ServiceUnavailable,
        }
    }

    /// One line for a human reader, without a line end.
    pub const fn text(self) -> &'static str {
        match self {
            HttpError::BadRequest(text) => text,
            HttpError::BadProxyHeader => "malformed PROXY protocol header",
            HttpError::UnsupportedVersion => "only HTTP/1.1 and HTTP/1.0 are supported",
            HttpError::HeadTooLarge => "the request head is too long",
            HttpError::TargetTooLong => "the request target is too long",
            HttpError::TooManyFields => "the request has too many header fields",
            HttpError::HeadTimeout => "the request head took too long",
            HttpError::BodyRefused => "requests with a body are not accepted",
            HttpError::MethodNotAllowed => "only GET and HEAD are allowed here",
            HttpError::SessionMethodNotAllowed => "only GET, HEAD and OPTIONS are allowed here",
            HttpError::NotFound => "not found",
            HttpError::UpgradeRequired => {
                "this is a WebSocket endpoint: a GET with Connection: Upgrade, \
                 Upgrade: websocket and Sec-WebSocket-Version: 13 opens a session"
            }
            HttpError::UnsupportedWebSocketVersion => "only version 13 of WebSocket is supported",
            HttpError::OriginRefused => "pages of this origin are not allowed to connect",
            HttpError::Unavailable(RefusalCause::Connections) => "too many connections",
            HttpError::Unavailable(RefusalCause::ConnectionsOfAddress) => {
                "too many connections from this address"
            }
            HttpError::Unavailable(RefusalCause::NewConnectionsOfAddress) => {
                "too many new connections from this address"
            }
            HttpError::Unavailable(RefusalCause::AdminConnections) => {
                "too many connections for administration"
            }
            HttpError::Unavailable(RefusalCause::Time) => "the server is shutting down",
        }
    }

    /// Whether the connection is closed after the response: because it is unknown where the next
    /// request would begin, because a client that makes such an error usually repeats it, or
    /// because the connection would take up a slot that others need.
    pub const fn closes(self) -> bool {
        match self {
            HttpError::BadRequest(_)
            | HttpError::BadProxyHeader
            | HttpError::UnsupportedVersion
            | HttpError::HeadTooLarge
            | HttpError::TargetTooLong
            | HttpError::TooManyFields
            | HttpError::HeadTimeout
            | HttpError::BodyRefused
            | HttpError::OriginRefused
            | HttpError::Unavailable(_) => true,
            HttpError::MethodNotAllowed
            | HttpError::SessionMethodNotAllowed
            | HttpError::NotFound
            | HttpError::UpgradeRequired
            | HttpError::UnsupportedWebSocketVersion => false,
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status().code(), self.text())
    }
}

impl Error for HttpError {}
