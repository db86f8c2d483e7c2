//! Finds the end of a head that may arrive in any number of pieces, and refuses early what
//! cannot become one. Pure.
//!
//! Every byte is searched once, however the pieces fall, plus a fixed number of looks at the
//! first [`METHOD_LOOK_BYTES`] and one parse of the request line when it is complete.

use super::error::HttpError;

/// Empty lines that may precede a request line. RFC 9112 §2.2 asks for "at least one" to be
/// ignored: old clients send one after a body.
const LEADING_EMPTY_LINES: usize = 4;
/// While the request line is incomplete, its method is checked within this many bytes. A TLS
/// ClientHello, an SSH banner or a binary protocol shows itself at once.
const METHOD_LOOK_BYTES: usize = 32;

const BARE_LF: HttpError = HttpError::BadRequest("a line must end in CRLF");
const NO_REQUEST: HttpError = HttpError::BadRequest("this is not an HTTP request");

/// How far a head has been searched. Start with the default for every new head; keep it for as
/// long as the same head grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScan {
    /// Bytes from the start of the head that hold no end of it.
    searched: u32,
    /// Where the line after the first one begins; 0 as long as that is unknown.
    second_line: u32,
}

impl HeadScan {
    /// The length of the request head that `buf` begins with, leading empty lines and final
    /// empty line included, or `None` while it is incomplete.
    ///
    /// `buf` starts at the head's first byte and may go on beyond its last. Errors: 431 once
    /// the head is known to exceed `max_head_bytes`, 400 as soon as it cannot become a request.
    pub fn request_end(
        &mut self,
        buf: &[u8],
        max_head_bytes: usize,
    ) -> Result<Option<usize>, HttpError> {
        let before = *self;
        let end = self.end(buf, max_head_bytes)?;
        if end.is_none() {
            self.refuse_early(before, buf)?;
        }
        Ok(end)
    }

    /// As [`HeadScan::request_end`], for any head: the start line is not looked at.
    pub(super) fn end(
        &mut self,
        buf: &[u8],
        max_head_bytes: usize,
    ) -> Result<Option<usize>, HttpError> {
        let window = &buf[..buf.len().min(max_head_bytes)];
        let lead = leading_empty_lines(window)?;
        let from = lead.max(self.searched as usize).min(window.len());
        for at in memchr::memchr_iter(b'\n', &window[from..]).map(|at| from + at) {
            // `lead` lies before a byte that is no line end, so there is a byte before `at`.
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

    /// Looks at what is new since `before` in an incomplete head.
    fn refuse_early(&self, before: HeadScan, buf: &[u8]) -> Result<(), HttpError> {
        if self.second_line == 0 {
            let start = leading_empty_lines(buf)?;
            if before.searched as usize >= start + METHOD_LOOK_BYTES {
                return Ok(());
            }
            let look = &buf[start.min(buf.len())..buf.len().min(start + METHOD_LOOK_BYTES)];
            let method_len = look.iter().position(|&byte| !is_token_byte(byte));
            return match method_len {
                None => Ok(()),
                Some(len) if len > 0 && look[len] == b' ' => Ok(()),
                // Only the first half of an empty line has come.
                Some(0) if look == b"\r" => Ok(()),
                Some(_) => Err(NO_REQUEST),
            };
        }
        if before.second_line == 0 {
            let line = &buf[..self.second_line as usize];
            httparse::Request::new(&mut []).parse(line).map_err(from_httparse)?;
        }
        Ok(())
    }
}

/// Whether a request by the method HEAD begins in `buf`, however the rest of it looks.
pub fn is_head_request(buf: &[u8]) -> bool {
    leading_empty_lines(buf).is_ok_and(|at| buf[at..].starts_with(b"HEAD "))
}

/// The length of the empty lines that `buf` begins with.
fn leading_empty_lines(buf: &[u8]) -> Result<usize, HttpError> {
    let mut at = 0;
    loop {
        match &buf[at..] {
            [b'\r', b'\n', ..] if at < 2 * LEADING_EMPTY_LINES => at += 2,
            [b'\r', b'\n', ..] => return Err(NO_REQUEST),
            [b'\n', ..] => return Err(BARE_LF),
            [b'\r', _, ..] => return Err(NO_REQUEST),
            _ => return Ok(at),
        }
    }
}

/// Whether `byte` may stand in a token (RFC 9110 §5.6.2), as every method is one.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a complaint of httparse means to the client.
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
