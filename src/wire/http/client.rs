//! The client's half, as much as a load tester and a simulated user need. Pure.

use super::body::BodyLength;
use super::error::HttpError;
use super::list_elements;
use super::scan::HeadScan;
use super::upgrade::{AcceptKey, WebSocketKey};
use crate::limits::HEAD_FIELDS;
use std::error::Error;
use std::fmt;
use std::mem::MaybeUninit;

/// Appends an opening handshake (RFC 6455 §4.1). `host` is `host[:port]` of the server and
/// `target` path and query; `extra` fields are sent as they are, and so are all of these: who
/// takes them from outside has to refuse line ends in them.
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

/// Appends a plain GET, with the same caution as [`write_upgrade_request`].
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

/// What a response head says, as far as this client cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead<'b> {
    /// The status code.
    pub status: u16,
    /// Where the body ends: after 0 bytes where the status allows none (RFC 9112 §6.3 item 1).
    /// A HEAD's response has no body whatever stands here.
    pub body: BodyLength,
    /// Whether the connection ends after this response (RFC 9112 §9.3).
    pub closes: bool,
    /// `Retry-After`, if it counts seconds (RFC 9110 §10.2.3).
    pub retry_after_s: Option<u32>,
    upgrades: bool,
    accept: Option<&'b [u8]>,
    negotiates: bool,
}

/// Why a response cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// It breaks RFC 9112.
    Malformed,
    /// Its head is longer than allowed or has too many fields.
    HeadTooLarge,
    /// Its body has another transfer coding than chunked: this client reads none of them.
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

/// Why a response does not open a session (RFC 6455 §4.1, "the client MUST validate").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeError {
    /// The status is not 101 but this.
    Refused(u16),
    /// `Upgrade: websocket` or `Connection: Upgrade` is missing.
    NotWebSocket,
    /// `Sec-WebSocket-Accept` is missing or does not fit the key.
    WrongAccept,
    /// It names an extension or a subprotocol; none was offered.
    NotOffered,
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpgradeError::Refused(status) => write!(f, "the upgrade was refused with {status}"),
            UpgradeError::NotWebSocket => f.write_str("the upgrade is not to WebSocket"),
            UpgradeError::WrongAccept => f.write_str("Sec-WebSocket-Accept does not fit the key"),
            UpgradeError::NotOffered => f.write_str("an extension or subprotocol nobody offered"),
        }
    }
}

impl Error for UpgradeError {}

impl ResponseHead<'_> {
    /// Whether this answers the handshake whose key made `expected`, and opens a session.
    pub fn check_upgrade(&self, expected: AcceptKey) -> Result<(), UpgradeError> {
        if self.status != 101 {
            Err(UpgradeError::Refused(self.status))
        } else if !self.upgrades {
            Err(UpgradeError::NotWebSocket)
        } else if !self.accept.is_some_and(|accept| expected.is(accept)) {
            Err(UpgradeError::WrongAccept)
        } else if self.negotiates {
            Err(UpgradeError::NotOffered)
        } else {
            Ok(())
        }
    }
}

/// Reads the response head that `buf` begins with, and its length; `None` while it is
/// incomplete. `scan` and `max_head_bytes` are as in [`super::parse_request`].
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
    Ok(Some((gather(status, minor, head.headers)?, end)))
}

fn gather<'b>(
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
            // Also when there are two of them: which one counts is not ours to guess.
            let length = number(field.value).ok_or(ResponseError::Malformed)?;
            if content_length.replace(length).is_some() {
                return Err(ResponseError::Malformed);
            }
        } else if is("Transfer-Encoding") {
            // RFC 9112 §6.1 and §7.1: chunked is applied once, and has no parameters.
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
    // RFC 9112 §6.3 item 3 (two lengths: somebody on the way may have believed the other one)
    // and §6.1 (HTTP/1.0 has no transfer codings).
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

/// A field value that is `1*DIGIT` and fits.
fn number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    // `parse` alone would let a sign pass.
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}
