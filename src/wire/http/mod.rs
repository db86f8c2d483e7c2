//! HTTP/1.1 (RFC 9110, RFC 9112) and the opening handshake of WebSocket (RFC 6455 §4).
//!
//! Pure: bytes in, values out. A shard uses it for every connection that has not been upgraded
//! yet; the load tester and the simulator use the client's half. It owns no buffer and reads no
//! clock. It must never allocate between a request and its session except for the accept key,
//! never examine a byte of a slowly arriving head more than a fixed number of times, and never copy
//! anything from a client into a response except the accept key.
//!
//! ```text
//! bytes ─ scan ─▶ complete head ─ request ─▶ HttpRequest { route: Route or HttpError, … }
//!                                                                  │
//! bytes ◀── response: 101 Switching Protocols, answer, refusal ◀───┘
//! ```
//!
//! Two rules are stricter than RFC 9112 requires, because any leniency on which two parsers
//! disagree permits request smuggling: a line ends in CRLF only (§2.2 permits a bare LF), and a
//! request with a body is refused, so the bytes after a head are never a body.

mod accept_encoding;
mod body;
mod chunked;
mod client;
mod date;
mod error;
mod etag;
mod origin;
mod request;
mod response;
mod scan;
#[cfg(test)]
mod tests;
mod upgrade;
mod uri;

pub use body::{Body, BodyError, BodyLength};
pub use chunked::{ChunkError, ChunkPart, ChunkReader};
pub use client::{
    ResponseError, ResponseHead, UpgradeError, parse_response, write_get_request,
    write_upgrade_request,
};
pub use date::HttpDate;
pub use error::{HttpError, HttpStatus, RefusalCause};
pub use origin::{Origin, OriginError};
pub use request::{HttpRequest, HttpVersion, Method, Route, SingleField, parse_request};
pub use response::{
    AfterResponse, HttpResponse, ResponseFraming, write_error, write_response,
    write_switching_protocols,
};
pub use scan::{HeadScan, is_head_request};
pub use upgrade::{AcceptKey, WebSocketKey};

/// The elements of a comma-separated list field (RFC 9110 §5.6.1). Empty elements are included; a
/// recipient has to ignore them, and they match none of the names that callers compare with.
fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}
