//! The syntax of request targets and of `Host` (RFC 9112 §3.2, RFC 9110 §7.2, RFC 3986). Pure.

use super::error::HttpError;
use super::request::Method;

/// The path and the query of a request target (RFC 9112 §3.2).
pub(super) fn split_target(
    method: Method,
    target: &str,
) -> Result<(&str, Option<&str>), HttpError> {
    const BAD_TARGET: HttpError = HttpError::BadRequest("malformed request target");
    // RFC 3986 §2: a URI is ASCII; RFC 9112 §3.2: no form of target has a fragment.
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(BAD_TARGET);
    }
    let origin_form = if target.starts_with('/') {
        target
    } else if let Some((scheme, rest)) = target.split_once("://") {
        // Absolute form (§3.2.2). The host in it is ignored: the request reached this server.
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        let authority_len = rest.find(['/', '?']).unwrap_or(rest.len());
        if !is_scheme || authority_len == 0 {
            return Err(BAD_TARGET);
        }
        &rest[authority_len..]
    } else if matches!(method, Method::Options | Method::Other) {
        // `OPTIONS *` (§3.2.4) and `CONNECT host:port` (§3.2.3).
        return Err(HttpError::MethodNotAllowed);
    } else {
        return Err(BAD_TARGET);
    };
    let (path, query) = match origin_form.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (origin_form, None),
    };
    // RFC 9110 §4.2.3: an empty path means `/`.
    Ok((if path.is_empty() { "/" } else { path }, query))
}

/// Whether `value` is `uri-host [ ":" port ]` (RFC 9110 §7.2), so that two parsers cannot find
/// different hosts in it. Name and port may be empty (RFC 3986 §3.2).
pub(super) fn is_host(value: &[u8]) -> bool {
    let (is_valid_name, port) = match value.strip_prefix(b"[") {
        // `IP-literal`: the colons within brackets do not begin a port.
        Some(literal) => match memchr::memchr(b']', literal) {
            Some(end) => (is_ip_literal(&literal[..end]), &literal[end + 1..]),
            None => return false,
        },
        None => {
            let (name, port) = value.split_at(memchr::memchr(b':', value).unwrap_or(value.len()));
            (is_reg_name(name), port)
        }
    };
    let is_valid_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_valid_name && is_valid_port
}

/// Whether the characters are those of an IPv6 address or of an `IPvFuture`; the address itself is
/// not parsed.
fn is_ip_literal(literal: &[u8]) -> bool {
    !literal.is_empty() && literal.iter().all(|&byte| byte == b':' || is_name_byte(byte))
}

/// Whether `name` is a `reg-name` (RFC 3986 §3.2.2), with its percent-encoded bytes.
fn is_reg_name(mut name: &[u8]) -> bool {
    while let Some(at) = memchr::memchr(b'%', name) {
        let (before, [_percent, escaped @ ..]) = name.split_at(at) else { return false };
        let [high, low, rest @ ..] = escaped else { return false };
        let is_escape = high.is_ascii_hexdigit() && low.is_ascii_hexdigit();
        if !is_escape || !before.iter().all(|&byte| is_name_byte(byte)) {
            return false;
        }
        name = rest;
    }
    name.iter().all(|&byte| is_name_byte(byte))
}

/// `unreserved` or `sub-delims` (RFC 3986 §2).
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}
