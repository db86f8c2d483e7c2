//! `--header`, `--origin`, `--token` and `--proxy-protocol`: what the connections tell the server
//! about their clients.

use crate::load::engine::ClientIdentity;
use crate::load::scenario::{CommonSettings, InvalidValue};

/// Fields that the tester writes itself: a second one would break the request.
const OWN_FIELDS: [&str; 5] =
    ["host", "connection", "upgrade", "content-length", "transfer-encoding"];
/// Beginning of the names of the fields that the opening handshake negotiates (RFC 6455 §11.3).
const HANDSHAKE_PREFIX: &str = "sec-websocket-";

/// Parses the four settings and reads the file of tokens.
pub(super) fn client_identity(common: &CommonSettings) -> Result<ClientIdentity, InvalidValue> {
    let mut fields = Vec::new();
    for text in &common.header {
        fields.push(header_field(text).map_err(|reason| InvalidValue::new("header", reason))?);
    }
    if common.origin != "none" {
        if !common.origin.bytes().all(|byte| byte.is_ascii_graphic()) || common.origin.is_empty() {
            let reason = format!("`{}` is not an origin like `https://example.org`", common.origin);
            return Err(InvalidValue::new("origin", reason));
        }
        fields.push(("Origin".to_owned(), common.origin.clone()));
    }
    let credentials = match common.token.as_str() {
        "none" => Vec::new(),
        path => read_tokens(path).map_err(|reason| InvalidValue::new("token", reason))?,
    };
    Ok(ClientIdentity { fields, credentials, proxy_protocol: common.proxy_protocol })
}

/// Splits `Name: value` (RFC 9110 §5).
fn header_field(text: &str) -> Result<(String, String), String> {
    let malformed = || format!("`{text}` is not a header field like `X-Test: 1`");
    let (name, value) = text.split_once(':').ok_or_else(malformed)?;
    let value = value.trim();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_text = |byte: u8| byte == b'\t' || byte == b' ' || byte.is_ascii_graphic();
    if name.is_empty() || !name.bytes().all(is_token) || !value.bytes().all(is_text) {
        return Err(malformed());
    }
    let lower = name.to_ascii_lowercase();
    if OWN_FIELDS.contains(&lower.as_str()) || lower.starts_with(HANDSHAKE_PREFIX) {
        return Err(format!("`{name}` is a field that the tester writes itself"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The credentials of a file with one token a line; empty lines are skipped.
fn read_tokens(path: &str) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, token)| !token.is_empty());
    let mut credentials = Vec::new();
    for (number, token) in lines {
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("{path}: line {} is not a token", number + 1));
        }
        credentials.push(format!("Bearer {token}"));
    }
    match credentials.is_empty() {
        true => Err(format!("{path} contains no token")),
        false => Ok(credentials),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_field_is_a_name_and_a_value_that_the_tester_does_not_write() {
        let field = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(header_field("X-Test: a: b "), field("X-Test", "a: b"));
        assert_eq!(header_field("X-Empty:"), field("X-Empty", ""));
        for text in ["X-Test", ": x", "a b: c", "X: a\r\nY: b", "Ä: x", ""] {
            assert!(header_field(text).is_err(), "{text}");
        }
        for text in ["Host: x", "upgrade: x", "Sec-WebSocket-Protocol: x"] {
            assert!(header_field(text).unwrap_err().contains("itself"), "{text}");
        }
    }
}
