//! Finds the end of a head that arrives in any number of pieces, and refuses input early that
//! cannot become a request. Pure.
//!
//! Every byte is searched once, wherever the pieces begin. In addition, the first
//! [`METHOD_CHECK_BYTES`] are checked while the request line is incomplete, and the request line
//! is parsed once when it is complete.

use super::error::HttpError;
use crate::limits::{LEADING_EMPTY_LINES, METHOD_CHECK_BYTES};

const BARE_LF: HttpError = HttpError::BadRequest("a line must end in CRLF");
const NOT_A_REQUEST: HttpError = HttpError::BadRequest("this is not an HTTP request");

/// The progress of the search in one head. Start with the default for every new head, and keep the
/// value while the same head grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScan {
    /// Bytes from the start of the head that do not contain its end.
    searched: u32,
    /// Position of the second line; 0 until it is known.
    second_line: u32,
}

impl HeadScan {
    /// The length of the request head at the start of `buf`, including leading empty lines and the
    /// final empty line; `None` while it is incomplete. `buf` starts at the first byte of the head
    /// and may continue after its last.
    ///
    /// # Errors
    /// 431 when the head is known to exceed `max_head_bytes`, 414 if its request target alone does,
    /// 400 as soon as the input cannot become a request.
    pub fn request_end(
        &mut self,
        buf: &[u8],
        max_head_bytes: usize,
    ) -> Result<Option<usize>, HttpError> {
        let before = *self;
        let end = match self.end(buf, max_head_bytes) {
            // guard: a target that is longer than a head may be is told apart [condition false]
            Err(HttpError::HeadTooLarge) if ends_in_target(&buf[..max_head_bytes]) => {
                return Err(HttpError::TargetTooLong);
            }
            end => end?,
        };
        if end.is_none() {
            self.refuse_early(before, buf)?;
        }
        Ok(end)
    }

    /// Like [`HeadScan::request_end`], for any head: the start line is not checked.
    pub(super) fn end(
        &mut self,
        buf: &[u8],
        max_head_bytes: usize,
    ) -> Result<Option<usize>, HttpError> {
        let window = &buf[..buf.len().min(max_head_bytes)];
        let lead = leading_empty_lines(window)?;
        let from = lead.max(self.searched as usize).min(window.len());
        for at in memchr::memchr_iter(b'\n', &window[from..]).map(|at| from + at) {
            // The byte at `lead` is not a line end, so there is a byte before `at`.
            // guard: a line of a head ends with CR LF [false]
            if window[at - 1] != b'\r' {
                return Err(BARE_LF);
            }
            if self.second_line == 0 {
                self.second_line = at as u32 + 1;
            } else if window[at - 2] == b'\n' {
                return Ok(Some(at + 1));
            }
        }
        self.searched = window.len() as u32;
        // guard: the size of a head is limited [false]
        if buf.len() >= max_head_bytes {
            return Err(HttpError::HeadTooLarge);
        }
        Ok(None)
    }

    /// Checks the bytes of an incomplete head that have arrived since `before`.
    fn refuse_early(&self, before: HeadScan, buf: &[u8]) -> Result<(), HttpError> {
        if self.second_line == 0 {
            let start = leading_empty_lines(buf)?;
            if before.searched as usize >= start + METHOD_CHECK_BYTES {
                return Ok(());
            }
            let checked = &buf[start.min(buf.len())..buf.len().min(start + METHOD_CHECK_BYTES)];
            let method_len = checked.iter().position(|&byte| !is_token_byte(byte));
            return match method_len {
                None => Ok(()),
                Some(len) if len > 0 && checked[len] == b' ' => Ok(()),
                // Only the CR of an empty line has arrived.
                Some(0) if checked == b"\r" => Ok(()),
                Some(_) => Err(NOT_A_REQUEST),
            };
        }
        if before.second_line == 0 {
            let line = &buf[..self.second_line as usize];
            httparse::Request::new(&mut []).parse(line).map_err(from_httparse)?;
        }
        Ok(())
    }
}

/// Whether `bytes` end within the target of a request line (RFC 9112 §3): behind a method and one
/// space, without a further space or a line end.
fn ends_in_target(bytes: &[u8]) -> bool {
    let lead = leading_empty_lines(bytes).unwrap_or(bytes.len());
    let mut parts = bytes[lead..].splitn(2, |byte| *byte == b' ');
    let (Some(method), Some(target)) = (parts.next(), parts.next()) else { return false };
    !method.is_empty()
        && method.iter().all(|byte| is_token_byte(*byte))
        && memchr::memchr3(b' ', b'\r', b'\n', target).is_none()
}

/// Whether the request at the start of `buf` has the method HEAD, even if the rest is malformed.
pub fn is_head_request(buf: &[u8]) -> bool {
    leading_empty_lines(buf).is_ok_and(|at| buf[at..].starts_with(b"HEAD "))
}

/// The length of the empty lines at the start of `buf`.
fn leading_empty_lines(buf: &[u8]) -> Result<usize, HttpError> {
    let mut at = 0;
    loop {
        match &buf[at..] {
            [b'\r', b'\n', ..] if at < 2 * LEADING_EMPTY_LINES => at += 2,
            [b'\r', b'\n', ..] => return Err(NOT_A_REQUEST),
            [b'\n', ..] => return Err(BARE_LF),
            [b'\r', _, ..] => return Err(NOT_A_REQUEST),
            _ => return Ok(at),
        }
    }
}

/// Whether `byte` is allowed in a token (RFC 9110 §5.6.2). Methods and field names are tokens.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The response for an error of httparse.
pub(super) fn from_httparse(error: httparse::Error) -> HttpError {
    match error {
        httparse::Error::Version => HttpError::UnsupportedVersion,
        httparse::Error::TooManyHeaders => HttpError::TooManyFields,
        httparse::Error::Token | httparse::Error::Status => {
            HttpError::BadRequest("malformed request line")
        }
        // RFC 9112 §5.1 (white space before the colon) and §5.2 (obsolete line folding).
        httparse::Error::HeaderName => HttpError::BadRequest("malformed header field name"),
        // RFC 9110 §5.5: control characters, a bare CR among them.
        httparse::Error::HeaderValue => HttpError::BadRequest("malformed header field value"),
        httparse::Error::NewLine => BARE_LF,
    }
}
