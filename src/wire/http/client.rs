//! The client's half, as far as the load tester and the simulated users need it: writes requests
//! and parses response heads. Pure.

use super::body::BodyLength;
use super::error::HttpError;
use super::list_elements;
use super::scan::HeadScan;
use super::upgrade::{AcceptKey, WebSocketKey};
use crate::limits::HEAD_FIELDS;
use std::error::Error;
use std::fmt;
use std::mem::MaybeUninit;

/// Appends an opening handshake (RFC 6455 §4.1). `host` is `host[:port]` of the server, `target` is
/// path and query, and `extra` are further fields. All are sent unchanged: a caller that takes
/// them from outside must refuse line ends in them.
pub fn write_upgrade_request(
    out: &mut Vec<u8>,
    host: &str,
    target: &str,
    key: WebSocketKey,
    extra: &[(&str, &str)],
) {
    start_request(out, host, target);
    out.extend_from_slice(
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: ",
    );
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\r\n");
    end_request(out, extra);
}

/// Appends a plain GET. The caller must take the same care as with [`write_upgrade_request`].
pub fn write_get_request(out: &mut Vec<u8>, host: &str, target: &str, extra: &[(&str, &str)]) {
    start_request(out, host, target);
    end_request(out, extra);
}

fn start_request(out: &mut Vec<u8>, host: &str, target: &str) {
    for part in ["GET ", target, " HTTP/1.1\r\nHost: ", host, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn end_request(out: &mut Vec<u8>, extra: &[(&str, &str)]) {
    for (name, value) in extra {
        for part in [name, ": ", value, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// The parts of a response head that this client needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead<'b> {
    /// The status code.
    pub status: u16,
    /// Where the body ends: after 0 bytes if the status allows no body (RFC 9112 §6.3 item 1).
    /// The response to a HEAD request has no body, whatever this says.
    pub body: BodyLength,
    /// Whether the connection ends after this response (RFC 9112 §9.3).
    pub closes: bool,
    /// `Retry-After`, if it is a number of seconds (RFC 9110 §10.2.3).
    pub retry_after_s: Option<u32>,
    upgrades: bool,
    accept: Option<&'b [u8]>,
    negotiates: bool,
}

/// Why a response head cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// It violates RFC 9112.
    Malformed,
    /// It is longer than allowed or has too many fields.
    HeadTooLarge,
    /// The body has a transfer coding other than chunked, which this client does not support.
    TransferCoding,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ResponseError::Malformed => "the response is not valid HTTP/1.1",
            ResponseError::HeadTooLarge => "the response head is too long",
            ResponseError::TransferCoding => {
                "the response has a transfer coding other than chunked"
            }
        })
    }
}

impl Error for ResponseError {}

/// Why a response does not open a WebSocket connection (RFC 6455 §4.1, "the client MUST validate").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeError {
    /// The status is this, not 101.
    Refused(u16),
    /// `Upgrade: websocket` or `Connection: Upgrade` is missing.
    NotWebSocket,
    /// `Sec-WebSocket-Accept` is missing or does not match the key.
    WrongAccept,
    /// The response names an extension or a subprotocol, although none was offered.
    NotOffered,
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpgradeError::Refused(status) => write!(f, "the upgrade was refused with {status}"),
            UpgradeError::NotWebSocket => f.write_str("the upgrade is not to WebSocket"),
            UpgradeError::WrongAccept => f.write_str("Sec-WebSocket-Accept does not match the key"),
            UpgradeError::NotOffered => {
                f.write_str("the response names an extension or subprotocol that was not offered")
            }
        }
    }
}

impl Error for UpgradeError {}

impl ResponseHead<'_> {
    /// Checks that this response accepts the handshake for whose key `expected` was computed.
    pub fn check_upgrade(&self, expected: AcceptKey) -> Result<(), UpgradeError> {
        if self.status != 101 {
            Err(UpgradeError::Refused(self.status))
        } else if !self.upgrades {
            Err(UpgradeError::NotWebSocket)
        } else if !self.accept.is_some_and(|accept| expected.matches(accept)) {
            Err(UpgradeError::WrongAccept)
        } else if self.negotiates {
            Err(UpgradeError::NotOffered)
        } else {
            Ok(())
        }
    }
}

/// Parses the response head at the start of `buf`, and returns it with its length; `None` while it
/// is incomplete. `scan` and `max_head_bytes` are as in [`super::parse_request`].
pub fn parse_response<'b>(
    buf: &'b [u8],
    scan: &mut HeadScan,
    max_head_bytes: usize,
) -> Result<Option<(ResponseHead<'b>, usize)>, ResponseError> {
    let end = scan.end(buf, max_head_bytes).map_err(|error| match error {
        HttpError::HeadTooLarge => ResponseError::HeadTooLarge,
        _ => ResponseError::Malformed,
    })?;
    let Some(end) = end else { return Ok(None) };
    *scan = HeadScan::default();
    let mut fields = [const { MaybeUninit::uninit() }; HEAD_FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut head,
        &buf[..end],
        &mut fields,
    );
    match parsed {
        Ok(httparse::Status::Complete(len)) if len == end => {}
        Err(httparse::Error::TooManyHeaders) => return Err(ResponseError::HeadTooLarge),
        Ok(_) | Err(_) => return Err(ResponseError::Malformed),
    }
    let (Some(status), Some(minor)) = (head.code, head.version) else {
        return Err(ResponseError::Malformed);
    };
    Ok(Some((evaluate(status, minor, head.headers)?, end)))
}

/// Evaluates the fields of a response head.
fn evaluate<'b>(
    status: u16,
    minor_version: u8,
    fields: &[httparse::Header<'b>],
) -> Result<ResponseHead<'b>, ResponseError> {
    let (mut content_length, mut accept, mut retry_after_s) = (None, None, None);
    let (mut close, mut keep_alive, mut upgrade, mut websocket) = (false, false, false, false);
    let (mut negotiates, mut chunked) = (false, false);
    for field in fields {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("Connection") {
            for option in list_elements(field.value) {
                close |= option.eq_ignore_ascii_case(b"close");
                keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                upgrade |= option.eq_ignore_ascii_case(b"upgrade");
            }
        } else if is("Content-Length") {
            // Two equal fields are refused too: which one another reader uses is unknown.
            let length = number(field.value).ok_or(ResponseError::Malformed)?;
            if content_length.replace(length).is_some() {
                return Err(ResponseError::Malformed);
            }
        } else if is("Transfer-Encoding") {
            // RFC 9112 §6.1 and §7.1: `chunked` is applied once, and has no parameters.
            let mut codings = list_elements(field.value).filter(|coding| !coding.is_empty());
            let is_chunked = codings.next().is_some_and(|c| c.eq_ignore_ascii_case(b"chunked"));
            if !is_chunked || codings.next().is_some() || chunked {
                return Err(ResponseError::TransferCoding);
            }
            chunked = true;
        } else if is("Upgrade") {
            websocket |= field.value.eq_ignore_ascii_case(b"websocket");
        } else if is("Sec-WebSocket-Accept") {
            accept = Some(field.value);
        } else if is("Sec-WebSocket-Extensions") || is("Sec-WebSocket-Protocol") {
            negotiates |= !field.value.is_empty();
        } else if is("Retry-After") {
            retry_after_s = number(field.value).and_then(|s| u32::try_from(s).ok());
        }
    }
    // RFC 9112 §6.3 item 3 (if a response has both Transfer-Encoding and Content-Length, an
    // intermediary may have used the other one) and §6.1 (HTTP/1.0 has no transfer codings).
    if chunked && (content_length.is_some() || minor_version == 0) {
        return Err(ResponseError::Malformed);
    }
    let body = match content_length {
        // RFC 9112 §6.3 item 1.
        _ if matches!(status, 100..=199 | 204 | 304) => BodyLength::Bytes(0),
        _ if chunked => BodyLength::Chunked,
        Some(length) => BodyLength::Bytes(length),
        None => BodyLength::UntilClose,
    };
    Ok(ResponseHead {
        status,
        body,
        closes: close || (minor_version == 0 && !keep_alive),
        retry_after_s,
        upgrades: upgrade && websocket,
        accept,
        negotiates,
    })
}

/// A field value that is `1*DIGIT`; `None` if it is not, or too large.
fn number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    // `parse` would accept a sign.
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}
