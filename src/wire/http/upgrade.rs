//! `Sec-WebSocket-Key` and `Sec-WebSocket-Accept` of the opening handshake (RFC 6455 §4). Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use tungstenite::handshake::derive_accept_key;

/// Length of a `Sec-WebSocket-Key`: 16 bytes in base64 with padding.
const KEY_LEN: usize = 24;
/// Length of a `Sec-WebSocket-Accept`: a SHA-1 digest in base64 with padding.
const ACCEPT_LEN: usize = 28;

/// A well-formed `Sec-WebSocket-Key` (RFC 6455 §4.1 item 7).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WebSocketKey([u8; KEY_LEN]);

impl WebSocketKey {
    /// The key a client makes from 16 random bytes.
    pub fn from_nonce(nonce: [u8; 16]) -> Self {
        let mut key = [0; KEY_LEN];
        STANDARD.encode_slice(nonce, &mut key).expect("because 16 bytes encode to 24 characters");
        WebSocketKey(key)
    }

    /// The key in a field value, if it decodes to 16 bytes (RFC 6455 §4.2.1 item 5). The unused
    /// bits of the last character need not be zero: RFC 4648 §3.5 leaves that to the decoder, and
    /// the decoded bytes are not used.
    pub fn from_field(value: &[u8]) -> Option<Self> {
        let key: [u8; KEY_LEN] = value.try_into().ok()?;
        let (digits, padding) = key.split_at(KEY_LEN - 2);
        let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        // guard: a WebSocket key is 16 bytes in base64 [receiver value true]
        (padding == b"==" && digits.iter().all(is_digit)).then_some(WebSocketKey(key))
    }

    /// The value of the field.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The accept key that a server must answer to this key (RFC 6455 §4.2.2 item 5.4).
    pub fn accept(&self) -> AcceptKey {
        let text = derive_accept_key(&self.0);
        AcceptKey(text.as_bytes().try_into().expect("because 20 bytes encode to 28 characters"))
    }
}

impl fmt::Debug for WebSocketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebSocketKey({})", self.0.escape_ascii())
    }
}

/// The value of a `Sec-WebSocket-Accept` field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AcceptKey([u8; ACCEPT_LEN]);

impl AcceptKey {
    /// The value of the field.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a server's field has this value.
    pub(super) fn matches(&self, value: &[u8]) -> bool {
        self.0 == value
    }
}

impl fmt::Debug for AcceptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AcceptKey({})", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §1.3: the worked example.
    #[test]
    fn derives_the_accept_key_of_the_rfcs_example() {
        let key = WebSocketKey::from_field(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        assert_eq!(key, WebSocketKey::from_nonce(*b"the sample nonce"));
        assert_eq!(key.accept().as_bytes(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    /// RFC 6455 §4.2.1 item 5: the key decodes to 16 bytes, no more, no fewer.
    #[test]
    fn accepts_only_keys_of_sixteen_bytes_in_base64() {
        for good in
            ["AAAAAAAAAAAAAAAAAAAAAA==", "+/+/+/+/+/+/+/+/+/+/+w==", "zzzzzzzzzzzzzzzzzzzzzz=="]
        {
            assert!(WebSocketKey::from_field(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "",
            "AAAAAAAAAAAAAAAAAAAAAA",       // no padding
            "AAAAAAAAAAAAAAAAAAAAAAA=",     // 17 bytes
            "AAAAAAAAAAAAAAAAAAAAAAAA",     // 18 bytes
            "AAAAAAAAAAAAAAAAAAAA",         // 15 bytes
            "AAAAAAAAAAAAAAAAAAAA====",     // padding too long
            "AAAAAAAAAAAAAAAAAAAA A==",     // white space
            "AAAAAAAAAAAAAAAAAAAA-_==",     // the URL-safe alphabet
            "AAAAAAAAAAAAAAAAAAAAAA==AAAA", // more after the padding
            "AAAAAAAAAAAAAAAAAAAAA\u{e9}==",
        ] {
            assert!(WebSocketKey::from_field(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
