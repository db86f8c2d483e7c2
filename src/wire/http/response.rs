//! Answers → bytes. Pure.
//!
//! Field names and values are `'static` by type: nothing that a client sent can be one.

use super::date::HttpDate;
use super::error::{HttpError, HttpStatus};
use super::request::HttpVersion;
use super::upgrade::AcceptKey;
use crate::limits::RETRY_AFTER_S;
use std::io::Write as _;

const VEC_TAKES_ALL: &str = "because writing to a Vec cannot fail";

/// How an answer is framed; [`super::HttpRequest::framing`] says it for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFraming {
    /// The request's version. The answer is HTTP/1.1 for both (RFC 9110 §2.5), but HTTP/1.0
    /// has to be told that its connection persists.
    pub version: HttpVersion,
    /// Whether the body stays away because the request was a HEAD.
    pub head_only: bool,
    /// Whether the connection takes another request afterwards.
    pub keep_alive: bool,
}

impl ResponseFraming {
    /// For an answer to something that was not understood as a request, or never became one.
    pub const LAST: ResponseFraming =
        ResponseFraming { version: HttpVersion::Http11, head_only: false, keep_alive: false };

    /// The same, but the connection ends with it.
    pub const fn closing(self) -> ResponseFraming {
        ResponseFraming { keep_alive: false, ..self }
    }
}

/// What has to happen to the connection when the answer has been sent.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterResponse {
    /// It takes the next request.
    KeepOpen,
    /// It is closed, so that the answer arrives: nothing more is written, what still comes is
    /// read and dropped for a while (RFC 9112 §9.6).
    Close,
}

/// An answer with a body.
#[derive(Clone, Copy, Debug)]
pub struct HttpResponse<'a> {
    /// The status. `Allow`, `Upgrade`, `Sec-WebSocket-Version` and `Retry-After` go with it
    /// by themselves where they are due.
    pub status: HttpStatus,
    /// The media type of the body.
    pub content_type: &'static str,
    /// More fields, as names and values: entity-tag, caching, content security policy.
    pub fields: &'a [(&'static str, &'static str)],
    /// The body: GET's, even if it is a HEAD that is answered.
    pub body: &'a [u8],
}

/// Appends an answer to `out`. `date` is for the `Date` field, which RFC 9110 §6.6.1 asks of
/// every server that has a clock; `None` leaves it out, for those without one.
pub fn write_response(
    out: &mut Vec<u8>,
    response: &HttpResponse<'_>,
    framing: ResponseFraming,
    date: Option<HttpDate>,
) -> AfterResponse {
    let status = response.status;
    write!(out, "HTTP/1.1 {} {}\r\n", status.code(), status.reason()).expect(VEC_TAKES_ALL);
    if let Some(date) = date {
        write_field(out, "Date", date.as_bytes());
    }
    match status {
        // RFC 9110 §15.5.6.
        HttpStatus::MethodNotAllowed => write_field(out, "Allow", b"GET, HEAD"),
        // RFC 9110 §15.5.22, RFC 6455 §4.4.
        HttpStatus::UpgradeRequired => {
            write_field(out, "Upgrade", b"websocket");
            write_field(out, "Sec-WebSocket-Version", b"13");
        }
        // RFC 9110 §10.2.3.
        HttpStatus::ServiceUnavailable => {
            write!(out, "Retry-After: {RETRY_AFTER_S}\r\n").expect(VEC_TAKES_ALL);
        }
        HttpStatus::Ok
        | HttpStatus::NotModified
        | HttpStatus::BadRequest
        | HttpStatus::Forbidden
        | HttpStatus::NotFound
        | HttpStatus::RequestTimeout
        | HttpStatus::ContentTooLarge
        | HttpStatus::RequestHeaderFieldsTooLarge => {}
    }
    let afterwards = write_connection(out, status, framing);
    for &(name, value) in response.fields {
        write_field(out, name, value.as_bytes());
    }
    write_field(out, "X-Content-Type-Options", b"nosniff");
    // RFC 9110 §15.4.5: a 304 has no content, and what it leaves out stays as the client has it.
    if status != HttpStatus::NotModified {
        write_field(out, "Content-Type", response.content_type.as_bytes());
        write!(out, "Content-Length: {}\r\n", response.body.len()).expect(VEC_TAKES_ALL);
    }
    out.extend_from_slice(b"\r\n");
    if status != HttpStatus::NotModified && !framing.head_only {
        out.extend_from_slice(response.body);
    }
    afterwards
}

/// Appends the answer to a refused request, with the error's text as its body.
pub fn write_error(
    out: &mut Vec<u8>,
    error: HttpError,
    framing: ResponseFraming,
    date: Option<HttpDate>,
) -> AfterResponse {
    let framing = if error.closes() { framing.closing() } else { framing };
    let body = format!("{}\n", error.text());
    let response = HttpResponse {
        status: error.status(),
        content_type: "text/plain; charset=utf-8",
        // Some of these could otherwise be kept and given to others (RFC 9110 §15.1).
        fields: &[("Cache-Control", "no-store")],
        body: body.as_bytes(),
    };
    write_response(out, &response, framing, date)
}

/// Appends the answer that ends HTTP on this connection (RFC 6455 §4.2.2). The session's first
/// frame may follow at once.
pub fn write_switching_protocols(out: &mut Vec<u8>, accept: AcceptKey) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

/// RFC 9112 §9.3, §9.6; and RFC 9110 §7.8: who sends `Upgrade` names it in `Connection`.
fn write_connection(
    out: &mut Vec<u8>,
    status: HttpStatus,
    framing: ResponseFraming,
) -> AfterResponse {
    let persistence = match (framing.keep_alive, framing.version) {
        (false, _) => Some("close"),
        (true, HttpVersion::Http10) => Some("keep-alive"),
        (true, HttpVersion::Http11) => None,
    };
    let upgrade = (status == HttpStatus::UpgradeRequired).then_some("Upgrade");
    match (persistence, upgrade) {
        (None, None) => {}
        (Some(one), None) | (None, Some(one)) => write_field(out, "Connection", one.as_bytes()),
        (Some(persistence), Some(upgrade)) => {
            write!(out, "Connection: {persistence}, {upgrade}\r\n").expect(VEC_TAKES_ALL);
        }
    }
    if framing.keep_alive { AfterResponse::KeepOpen } else { AfterResponse::Close }
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
