//! Parses a request head into the route that it asks for, or the reason for refusing it. Pure.

use super::accept_encoding;
use super::error::HttpError;
use super::etag;
use super::list_elements;
use super::response::ResponseFraming;
use super::scan::{HeadScan, from_httparse};
use super::upgrade::WebSocketKey;
use super::uri::{is_host, split_target};
use crate::limits::HEAD_FIELDS;
use std::mem::MaybeUninit;

/// The path of the WebSocket endpoint. `/` is another one, for requests with an upgrade.
const SESSION_PATH: &str = "/ws";
/// The path of the echo endpoint.
const ECHO_PATH: &str = "/echo";

/// A request method, as far as this server distinguishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`: answered like GET, without the body (RFC 9110 §9.3.2).
    Head,
    /// `OPTIONS`, which only the path of sessions supports ([`Route::SessionCheck`]).
    Options,
    /// Any other, which no resource supports.
    Other,
}

impl Method {
    /// Whether it asks for a representation, so that documents and files are answered.
    const fn is_read(self) -> bool {
        match self {
            Method::Get | Method::Head => true,
            Method::Options | Method::Other => false,
        }
    }
}

/// A supported protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// The resource that a request asks for. The method has been checked, except for [`Route::Page`] and
/// [`Route::Echo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'b> {
    /// A session. The handshake is valid; the response contains the accept key of this key.
    Session(WebSocketKey),
    /// Whether a session would be opened (RFC 9110 §9.3.7). Browsers hide the answer to an upgrade from
    /// pages; a page asks this after an upgrade that failed. Browsers send `Origin` with it.
    SessionCheck,
    /// The echo endpoint, or why the request cannot have it. If the server offers no echo, this is
    /// to be answered as an unknown path.
    Echo(Result<WebSocketKey, HttpError>),
    /// A file of the page, by its path, such as `/`. Call [`HttpRequest::allow_page`] before
    /// answering.
    Page(&'b str),
    /// `/health`.
    Health,
    /// `/stats`.
    Stats,
    /// `/metrics`.
    Metrics,
}

/// A request with a complete head and an unambiguous end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpRequest<'b> {
    /// The method.
    pub method: Method,
    /// The version.
    pub version: HttpVersion,
    /// Whether the connection may accept another request after the response (RFC 9112 §9.3).
    /// `false` whenever `route` is an error that closes the connection.
    pub keep_alive: bool,
    /// The resource that it asks for, or the error to answer instead.
    pub route: Result<Route<'b>, HttpError>,
    /// The target after its first `?`, not decoded.
    pub query: Option<&'b str>,
    /// `Origin`: the origin of the web page that sends the request (RFC 6455 §10.2).
    pub origin: SingleField<'b>,
    /// The complete head.
    head: &'b [u8],
    /// `If-None-Match`. Of several fields only the first is used, so a client that sends more may get
    /// a representation that it already has.
    if_none_match: Option<&'b [u8]>,
}

impl<'b> HttpRequest<'b> {
    /// The `X-Forwarded-For` fields in their order. Any client can send them: they are meaningful
    /// only in requests from a trusted proxy.
    pub fn forwarded_for(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        self.values_of(b"X-Forwarded-For")
    }

    /// Whether the client accepts a body with `Content-Encoding: gzip` and does not prefer one
    /// without (RFC 9110 §12.5.3).
    pub fn accepts_gzip(&self) -> bool {
        accept_encoding::accepts_gzip(self.values_of(b"Accept-Encoding"))
    }

    /// The values of all fields with this name, in their order. Reads the head once more, so it is
    /// for fields that few requests need.
    fn values_of(&self, wanted: &'static [u8]) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        self.head.split(|&byte| byte == b'\n').filter_map(move |line| {
            let colon = memchr::memchr(b':', line)?;
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            name.eq_ignore_ascii_case(wanted).then(|| value.trim_ascii())
        })
    }

    /// How the response has to be framed.
    pub const fn framing(&self) -> ResponseFraming {
        ResponseFraming {
            version: self.version,
            head_only: matches!(self.method, Method::Head),
            keep_alive: self.keep_alive,
        }
    }

    /// Checks a request with [`Route::Page`]. `exists` says whether the page has a file with this
    /// path.
    ///
    /// # Errors
    /// 404 if there is no such file, 405 if the method is not GET or HEAD.
    pub const fn allow_page(&self, exists: bool) -> Result<(), HttpError> {
        match (exists, self.method) {
            (false, _) => Err(HttpError::NotFound),
            (true, method) if method.is_read() => Ok(()),
            (true, _) => Err(HttpError::MethodNotAllowed),
        }
    }

    /// Whether the client already has the representation with the tag `etag`, an entity-tag with its
    /// quotes. If so, the response is 304 (RFC 9110 §13.1.2).
    pub fn has_representation(&self, etag: &str) -> bool {
        self.if_none_match.is_some_and(|value| etag::lists_tag(value, etag))
    }
}

/// Parses the request head at the start of `buf`; `None` while it is incomplete. The second value
/// is the length of the head. After it comes the next request, or the first frame of the session.
///
/// `scan` belongs to this head: it is the default at its first byte, is kept between calls while
/// `buf` grows, and is reset when the head is complete. `max_head_bytes` must be below 4 GiB.
///
/// # Errors
/// Those after which the beginning of the next request is unknown, so that the connection has to
/// be closed. All other errors are in [`HttpRequest::route`].
pub fn parse_request<'b>(
    buf: &'b [u8],
    scan: &mut HeadScan,
    max_head_bytes: usize,
) -> Result<Option<(HttpRequest<'b>, usize)>, HttpError> {
    let Some(end) = scan.request_end(buf, max_head_bytes)? else { return Ok(None) };
    *scan = HeadScan::default();
    // guard: the fields of a head are limited [value [const { MaybeUninit::uninit() }; 1000]]
    let mut fields = [const { MaybeUninit::uninit() }; HEAD_FIELDS];
    let mut head = httparse::Request::new(&mut []);
    match head.parse_with_uninit_headers(&buf[..end], &mut fields).map_err(from_httparse)? {
        httparse::Status::Complete(len) if len == end => {}
        // The scan and httparse disagree about the end of the head. Both readings are unsafe.
        httparse::Status::Complete(_) | httparse::Status::Partial => {
            return Err(HttpError::BadRequest("malformed request head"));
        }
    }
    let (Some(method), Some(target), Some(minor)) = (head.method, head.path, head.version) else {
        return Err(HttpError::BadRequest("malformed request line"));
    };
    let mut parsed = HeadFields::default();
    for field in head.headers.iter() {
        parsed.note(field);
    }
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "OPTIONS" => Method::Options,
        _ => Method::Other,
    };
    let version = if minor == 0 { HttpVersion::Http10 } else { HttpVersion::Http11 };
    Ok(Some((parsed.into_request(method, version, target, &buf[..end]), end)))
}

/// A field that may occur only once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SingleField<'b> {
    /// The field is absent.
    #[default]
    Absent,
    /// The value of the only field.
    One(&'b [u8]),
    /// The field occurs more than once.
    Several,
}

impl<'b> SingleField<'b> {
    fn note(&mut self, value: &'b [u8]) {
        *self = match self {
            SingleField::Absent => SingleField::One(value),
            SingleField::One(_) | SingleField::Several => SingleField::Several,
        };
    }
}

/// The fields of a head that matter, collected in one pass.
#[derive(Default)]
struct HeadFields<'b> {
    host: SingleField<'b>,
    content_length: SingleField<'b>,
    transfer_encoding: Option<&'b [u8]>,
    key: SingleField<'b>,
    websocket_version: SingleField<'b>,
    connection_close: bool,
    connection_keep_alive: bool,
    connection_upgrade: bool,
    upgrade_websocket: bool,
    origin: SingleField<'b>,
    if_none_match: Option<&'b [u8]>,
}

impl<'b> HeadFields<'b> {
    /// Compares lengths first: almost all names that matter have different lengths, so most fields
    /// cost one comparison of numbers.
    fn note(&mut self, field: &httparse::Header<'b>) {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        let value = field.value;
        match field.name.len() {
            4 if is("Host") => self.host.note(value),
            6 if is("Origin") => self.origin.note(value),
            7 if is("Upgrade") => {
                self.upgrade_websocket |=
                    list_elements(value).any(|name| name.eq_ignore_ascii_case(b"websocket"));
            }
            10 if is("Connection") => list_elements(value).for_each(|option| {
                self.connection_close |= option.eq_ignore_ascii_case(b"close");
                self.connection_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                self.connection_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
            }),
            13 if is("If-None-Match") => {
                self.if_none_match.get_or_insert(value);
            }
            14 if is("Content-Length") => self.content_length.note(value),
            17 if is("Sec-WebSocket-Key") => self.key.note(value),
            17 if is("Transfer-Encoding") => self.transfer_encoding = Some(value),
            21 if is("Sec-WebSocket-Version") => self.websocket_version.note(value),
            _ => {}
        }
    }

    fn into_request(
        self,
        method: Method,
        version: HttpVersion,
        target: &'b str,
        head: &'b [u8],
    ) -> HttpRequest<'b> {
        let (path, query) = match split_target(method, target) {
            Ok((path, query)) => (Ok(path), query),
            Err(error) => (Err(error), None),
        };
        let route = self
            .check_body(version)
            .and_then(|()| self.check_host(version))
            .and(path)
            .and_then(|path| self.find_route(method, version, path));
        // RFC 9112 §9.3: `close` takes precedence; otherwise HTTP/1.1 persists, and HTTP/1.0 only on
        // request.
        let wants_keep_alive = match version {
            HttpVersion::Http11 => !self.connection_close,
            HttpVersion::Http10 => self.connection_keep_alive && !self.connection_close,
        };
        HttpRequest {
            method,
            version,
            keep_alive: wants_keep_alive && !route.is_err_and(HttpError::closes),
            route,
            query,
            origin: self.origin,
            head,
            if_none_match: self.if_none_match,
        }
    }

    /// Refuses every request with a body (RFC 9112 §6): with 413 if its length is unambiguous, with
    /// 400 if two parsers could disagree about it.
    fn check_body(&self, version: HttpVersion) -> Result<(), HttpError> {
        let bad = |text| Err(HttpError::BadRequest(text));
        match (self.transfer_encoding, self.content_length) {
            (None, SingleField::Absent) => Ok(()),
            // RFC 9112 §6.3 item 3: possibly an attempt at request smuggling.
            (Some(_), SingleField::One(_) | SingleField::Several) => {
                bad("both Transfer-Encoding and Content-Length")
            }
            // RFC 9112 §6.1: HTTP/1.0 has no transfer codings.
            (Some(_), SingleField::Absent) if version == HttpVersion::Http10 => {
                bad("Transfer-Encoding in HTTP/1.0")
            }
            (Some(codings), SingleField::Absent) => match list_elements(codings).last() {
                Some(last) if last.eq_ignore_ascii_case(b"chunked") => Err(HttpError::BodyRefused),
                // RFC 9112 §6.3 item 4: the end of the body cannot be determined.
                Some(_) | None => bad("a final transfer coding other than chunked"),
            },
            // RFC 9110 §8.6 permits a recipient to refuse even equal fields.
            // guard: a second Content-Length is refused [value Ok(())]
            (None, SingleField::Several) => bad("several Content-Length fields"),
            // guard: a request with a body is refused [value Ok(())]
            (None, SingleField::One(length)) => {
                if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
                    bad("malformed Content-Length")
                } else if length.iter().all(|&digit| digit == b'0') {
                    Ok(())
                } else {
                    Err(HttpError::BodyRefused)
                }
            }
        }
    }

    /// RFC 9112 §3.2: at most one `Host` field, and in HTTP/1.1 exactly one.
    fn check_host(&self, version: HttpVersion) -> Result<(), HttpError> {
        match self.host {
            // guard: a Host has valid characters [true]
            SingleField::One(host) if is_host(host) => Ok(()),
            SingleField::One(_) => Err(HttpError::BadRequest("malformed Host")),
            // guard: a second Host is refused [value Ok(())]
            SingleField::Several => Err(HttpError::BadRequest("several Host fields")),
            SingleField::Absent if version == HttpVersion::Http10 => Ok(()),
            SingleField::Absent => Err(HttpError::BadRequest("no Host field")),
        }
    }

    /// The resource that the request asks for.
    fn find_route(
        &self,
        method: Method,
        version: HttpVersion,
        path: &'b str,
    ) -> Result<Route<'b>, HttpError> {
        // RFC 9110 §7.8: `Upgrade` must be ignored in HTTP/1.0 and if `Connection` does not name it,
        // and a server may always ignore it, as it is here on other paths.
        let upgrades =
            self.connection_upgrade && self.upgrade_websocket && version == HttpVersion::Http11;
        let route = match path {
            SESSION_PATH if method == Method::Options => return Ok(Route::SessionCheck),
            SESSION_PATH if !method.is_read() => return Err(HttpError::SessionMethodNotAllowed),
            SESSION_PATH if !upgrades => return Err(HttpError::UpgradeRequired),
            "/" if !method.is_read() => return Err(HttpError::MethodNotAllowed),
            SESSION_PATH | "/" if upgrades => Route::Session(self.handshake(method)?),
            ECHO_PATH => {
                return Ok(Route::Echo(match method {
                    Method::Options | Method::Other => Err(HttpError::MethodNotAllowed),
                    Method::Get | Method::Head if upgrades => self.handshake(method),
                    Method::Get | Method::Head => Err(HttpError::UpgradeRequired),
                }));
            }
            "/health" => Route::Health,
            "/stats" => Route::Stats,
            "/metrics" => Route::Metrics,
            page => return Ok(Route::Page(page)),
        };
        if method.is_read() { Ok(route) } else { Err(HttpError::MethodNotAllowed) }
    }

    /// Checks the rest of the opening handshake (RFC 6455 §4.2.1). Offered extensions and
    /// subprotocols are ignored: a response that does not name them declines them (§4.2.2).
    fn handshake(&self, method: Method) -> Result<WebSocketKey, HttpError> {
        if method != Method::Get {
            return Err(HttpError::BadRequest("a WebSocket handshake is a GET"));
        }
        // The version comes first: the other rules are those of version 13.
        match self.websocket_version {
            SingleField::One(b"13") => {}
            SingleField::One(_) => return Err(HttpError::UnsupportedWebSocketVersion),
            SingleField::Absent => {
                return Err(HttpError::BadRequest("no Sec-WebSocket-Version"));
            }
            SingleField::Several => {
                return Err(HttpError::BadRequest("several Sec-WebSocket-Version fields"));
            }
        }
        match self.key {
            SingleField::One(key) => WebSocketKey::from_field(key)
                .ok_or(HttpError::BadRequest("Sec-WebSocket-Key is not 16 bytes in base64")),
            SingleField::Absent => Err(HttpError::BadRequest("no Sec-WebSocket-Key")),
            SingleField::Several => Err(HttpError::BadRequest("several Sec-WebSocket-Key fields")),
        }
    }
}
