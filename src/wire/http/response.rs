//! Writes responses. Pure.
//!
//! Field names and values are `'static`, so nothing that a client sent can become one.

use super::date::HttpDate;
use super::error::{HttpError, HttpStatus};
use super::request::HttpVersion;
use super::upgrade::AcceptKey;
use crate::limits::RETRY_AFTER_S;
use std::io::Write as _;

const VEC_WRITE: &str = "because writing to a Vec cannot fail";

/// How a response is framed; [`super::HttpRequest::framing`] returns it for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFraming {
    /// The version of the request. The response is HTTP/1.1 in any case (RFC 9110 §2.5), but to an
    /// HTTP/1.0 client it has to say that the connection persists.
    pub version: HttpVersion,
    /// Whether the body is omitted because the request was a HEAD.
    pub head_only: bool,
    /// Whether the connection accepts another request afterwards.
    pub keep_alive: bool,
}

impl ResponseFraming {
    /// For a response to something that could not be parsed as a request, or never became one.
    pub const LAST: ResponseFraming =
        ResponseFraming { version: HttpVersion::Http11, head_only: false, keep_alive: false };

    /// The same, but the connection is closed after the response.
    pub const fn closing(self) -> ResponseFraming {
        ResponseFraming { keep_alive: false, ..self }
    }
}

/// What to do with the connection after the response has been sent.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterResponse {
    /// Wait for the next request.
    KeepOpen,
    /// Close it gracefully, so that the response arrives: write nothing more, and read and drop
    /// incoming bytes for a while (RFC 9112 §9.6).
    Close,
}

/// A response with a body.
#[derive(Clone, Copy, Debug)]
pub struct HttpResponse<'a> {
    /// The status. `Allow`, `Upgrade`, `Sec-WebSocket-Version` and `Retry-After` are added where the
    /// status requires them.
    pub status: HttpStatus,
    /// The media type of the body.
    pub content_type: &'static str,
    /// Further fields as names and values, such as entity-tag, caching, content security policy.
    pub fields: &'a [(&'static str, &'static str)],
    /// The body of the response to GET, also when the request was a HEAD.
    pub body: &'a [u8],
}

/// Appends a response to `out`. `date` is for the `Date` field, which RFC 9110 §6.6.1 requires of
/// every server that has a clock; `None` omits it.
pub fn write_response(
    out: &mut Vec<u8>,
    response: &HttpResponse<'_>,
    framing: ResponseFraming,
    date: Option<HttpDate>,
) -> AfterResponse {
    let status = response.status;
    write!(out, "HTTP/1.1 {} {}\r\n", status.code(), status.reason()).expect(VEC_WRITE);
    if let Some(date) = date {
        write_field(out, "Date", date.as_bytes());
    }
    match status {
        // RFC 9110 §15.5.6.
        HttpStatus::MethodNotAllowed => write_field(out, "Allow", b"GET, HEAD"),
        HttpStatus::SessionMethodNotAllowed => write_field(out, "Allow", b"GET, HEAD, OPTIONS"),
        // RFC 9110 §15.5.22, RFC 6455 §4.4.
        HttpStatus::UpgradeRequired => {
            write_field(out, "Upgrade", b"websocket");
            write_field(out, "Sec-WebSocket-Version", b"13");
        }
        // RFC 9110 §10.2.3, RFC 6585 §4.
        HttpStatus::ServiceUnavailable | HttpStatus::TooManyRequests => {
            write!(out, "Retry-After: {RETRY_AFTER_S}\r\n").expect(VEC_WRITE);
        }
        HttpStatus::Ok
        | HttpStatus::NotModified
        | HttpStatus::BadRequest
        | HttpStatus::Forbidden
        | HttpStatus::NotFound
        | HttpStatus::RequestTimeout
        | HttpStatus::ContentTooLarge
        | HttpStatus::UriTooLong
        | HttpStatus::RequestHeaderFieldsTooLarge => {}
    }
    let after = write_connection(out, status, framing);
    for &(name, value) in response.fields {
        write_field(out, name, value.as_bytes());
    }
    write_field(out, "X-Content-Type-Options", b"nosniff");
    // RFC 9110 §15.4.5: a 304 has no content, and the client keeps the fields that it omits.
    if status != HttpStatus::NotModified {
        write_field(out, "Content-Type", response.content_type.as_bytes());
        write!(out, "Content-Length: {}\r\n", response.body.len()).expect(VEC_WRITE);
    }
    out.extend_from_slice(b"\r\n");
    if status != HttpStatus::NotModified && !framing.head_only {
        out.extend_from_slice(response.body);
    }
    after
}

/// Appends the response to a refused request. The body is the text of the error.
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
        // Caches may store some of these statuses by default (RFC 9110 §15.1).
        fields: &[("Cache-Control", "no-store")],
        body: body.as_bytes(),
    };
    write_response(out, &response, framing, date)
}

/// Appends the response that switches the connection to WebSocket (RFC 6455 §4.2.2). The first
/// frame may follow directly.
pub fn write_switching_protocols(out: &mut Vec<u8>, accept: AcceptKey) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

/// Appends the `Connection` field (RFC 9112 §9.3, §9.6). It also names `Upgrade` if that field is
/// sent (RFC 9110 §7.8).
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
            write!(out, "Connection: {persistence}, {upgrade}\r\n").expect(VEC_WRITE);
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
