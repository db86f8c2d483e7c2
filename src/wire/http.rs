//! HTTP/1.1 (RFC 9110, RFC 9112) and the opening handshake of WebSocket (RFC 6455 §4).
//!
//! Pure: bytes in, values out. A shard calls it for every connection that has not been upgraded
//! yet; the load tester and the simulator call the client's half. It owns no buffer and reads no
//! clock. It must never allocate on the way to a session but for the accept key, never look at
//! the same byte of a slowly arriving head more than a fixed number of times, and never let
//! anything a client sent into a response, the accept key apart.
//!
//! ```text
//! bytes ─ scan ─▶ a whole head ─ request ─▶ HttpRequest { route: Route | HttpError, … }
//!                                                     │             │
//! bytes ◀── response: switching protocols, an answer, a refusal ◀───┘
//! ```
//!
//! What is stricter here than RFC 9112 demands, because every leniency between two parsers is
//! a way to smuggle: a line ends in CRLF only (§2.2 would let LF pass), and a request that
//! announces a body is refused, so no byte after a head is ever taken for one.

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

/// The elements of a comma-separated list field (RFC 9110 §5.6.1), empty ones included: a
/// recipient has to ignore those, and none of ours equals a name that is looked for.
fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}
