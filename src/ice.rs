//! The STUN and TURN servers that `session` sends to clients: parsing of the operator's flags, and
//! the `ice_servers` JSON. Pure: the time and the secret are arguments. It must never print a
//! password or the secret; their `Debug` implementations omit them.
//!
//! # Flags
//!
//! | flag | value | example |
//! | --- | --- | --- |
//! | `--ice-server` | URL, for TURN followed by `,user=NAME,password=SECRET` | `stun:stun.example.org` |
//! | | | `turns:turn.example.org:5349?transport=tcp,user=ann,password=x,y` |
//! | `--turn-url` | URL alone; each session and match has own credentials | `turn:turn.example.org:3478` |
//!
//! Both flags can be repeated. The URL is that of RFC 7064 §3.1 (`stun:`) or RFC 7065 §3.1 (`turn:`,
//! `turns:`). A user name contains no comma; a password may, because it is the rest of the value.

mod url;

pub use url::{IceServer, IceUrl};

use crate::limits::TURN_TTL_BOUNDS;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha1::Sha1;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Why the value of a flag cannot be used. Its text is one sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IceError {
    /// The value does not begin with a scheme that browsers support.
    Scheme(String),
    /// The host is missing, or is not a host name, an IPv4 address or a bracketed IPv6 address.
    Host(String),
    /// The port is not a number from 1 to 65535.
    Port(String),
    /// The part after `?` is not `transport=udp` or `transport=tcp`, or the URL is `stun:`.
    Transport(String),
    /// The URL is followed by something other than `,user=NAME,password=SECRET`.
    Credentials(String),
    /// A TURN URL without credentials. With it, browsers refuse to make any connection at all.
    TurnNeedsCredentials(String),
    /// A STUN URL with credentials, which browsers do not support.
    StunTakesNoCredentials(String),
    /// A value of `--turn-url` that is not `turn:` or `turns:`.
    NotTurn(String),
    /// The secret file is empty.
    EmptySecret,
    /// The secret file is not UTF-8 text.
    SecretNotText,
    /// A time to live outside [`TURN_TTL_BOUNDS`].
    Ttl(Duration),
    /// Time-limited credentials without a URL to use them with.
    NoTurnUrl,
}

impl fmt::Display for IceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IceError::Scheme(url) => {
                write!(f, "`{url}` does not begin with `stun:`, `turn:` or `turns:`")
            }
            IceError::Host(url) => write!(
                f,
                "`{url}` needs a host name, an IPv4 address or an IPv6 address in brackets after its scheme"
            ),
            IceError::Port(url) => write!(f, "the port in `{url}` is not a number from 1 to 65535"),
            IceError::Transport(url) => write!(
                f,
                "`{url}` may end in `?transport=udp` or `?transport=tcp`, and only with turn: or turns:"
            ),
            IceError::Credentials(url) => {
                write!(f, "only `,user=NAME,password=SECRET` may follow `{url}`")
            }
            IceError::TurnNeedsCredentials(url) => write!(
                f,
                "`{url}` needs `,user=NAME,password=SECRET`, or belongs in --turn-url with a secret file"
            ),
            IceError::StunTakesNoCredentials(url) => {
                write!(f, "`{url}` is a STUN server, which takes no user and password")
            }
            IceError::NotTurn(url) => {
                write!(f, "`{url}` does not begin with `turn:` or `turns:`")
            }
            IceError::EmptySecret => f.write_str("the TURN secret file is empty"),
            IceError::SecretNotText => f.write_str("the TURN secret file is not UTF-8 text"),
            IceError::Ttl(ttl) => write!(
                f,
                "a TURN credential must be valid for {} s to {} s, not {} s",
                TURN_TTL_BOUNDS.0.as_secs(),
                TURN_TTL_BOUNDS.1.as_secs(),
                ttl.as_secs()
            ),
            IceError::NoTurnUrl => {
                f.write_str("a TURN secret is of no use without at least one --turn-url")
            }
        }
    }
}

impl std::error::Error for IceError {}

/// The secret that is shared with TURN servers: coturn's `static-auth-secret`.
#[derive(Clone)]
pub struct TurnSecret {
    mac: Hmac<Sha1>,
}

impl TurnSecret {
    /// Reads the contents of a secret file. Line ends at its end, which editors add, are not part of
    /// the secret.
    pub fn from_file_contents(contents: &[u8]) -> Result<Self, IceError> {
        let text = std::str::from_utf8(contents).map_err(|_| IceError::SecretNotText)?;
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(IceError::EmptySecret);
        }
        let mac = Hmac::new_from_slice(secret.as_bytes())
            .expect("because RFC 2104 allows keys of any length");
        Ok(TurnSecret { mac })
    }

    /// The password for `user`: `base64(HMAC-SHA1(secret, user))`.
    fn password(&self, user: &str) -> String {
        let mut mac = self.mac.clone();
        mac.update(user.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

impl fmt::Debug for TurnSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TurnSecret(withheld)")
    }
}

/// How long TURN credentials are valid. Fractions of a second are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialLifetimes {
    /// Those of `session`, which clients of version 1 use for all their calls.
    pub session: Duration,
    /// Those of `match_found`, which are for one call.
    pub call: Duration,
}

/// TURN servers that share a secret with this process, so that every session gets its own
/// credentials, which expire: coturn's `use-auth-secret`, after the Internet-Draft
/// *A REST API For Access To TURN Services* (draft-uberti-behave-turn-rest-00 §2.2).
#[derive(Clone, Debug)]
pub struct TimeLimitedTurn {
    urls: Vec<IceUrl>,
    secret: TurnSecret,
    lifetimes: CredentialLifetimes,
}

impl TimeLimitedTurn {
    /// Credentials for `urls`.
    ///
    /// # Errors
    /// If `urls` is empty or contains a STUN URL, or if a lifetime is outside [`TURN_TTL_BOUNDS`].
    pub fn new(
        urls: Vec<IceUrl>,
        secret: TurnSecret,
        lifetimes: CredentialLifetimes,
    ) -> Result<Self, IceError> {
        if urls.is_empty() {
            return Err(IceError::NoTurnUrl);
        }
        if let Some(url) = urls.iter().find(|url| !url.is_turn()) {
            return Err(IceError::NotTurn(url.as_str().to_owned()));
        }
        for ttl in [lifetimes.session, lifetimes.call] {
            if !(TURN_TTL_BOUNDS.0..=TURN_TTL_BOUNDS.1).contains(&ttl) {
                return Err(IceError::Ttl(ttl));
            }
        }
        Ok(TimeLimitedTurn { urls, secret, lifetimes })
    }
}

/// One element of `ice_servers`, in the form that `new RTCPeerConnection({iceServers})` expects
/// (W3C WebRTC §4.2.4, `RTCIceServer`).
#[derive(Serialize)]
struct IceServerEntry<'a> {
    urls: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
}

/// The source of `ice_servers`; its constant part is serialised once.
#[derive(Clone)]
pub struct IceServers {
    /// The fixed servers as a complete JSON array.
    fixed_json: String,
    time_limited: Option<CredentialIssuer>,
}

/// Writes arrays that end with the time-limited servers.
#[derive(Clone)]
struct CredentialIssuer {
    /// The array up to the user name.
    head_json: String,
    secret: TurnSecret,
    lifetimes: CredentialLifetimes,
}

impl CredentialIssuer {
    fn new(fixed_json: &str, turn: TimeLimitedTurn) -> Self {
        let fixed = fixed_json.trim_end_matches(']');
        let comma = if fixed.len() > 1 { "," } else { "" };
        let urls: Vec<&str> = turn.urls.iter().map(IceUrl::as_str).collect();
        let urls = serde_json::to_string(&urls).expect("because a URL is a string");
        let head_json = format!(r#"{fixed}{comma}{{"urls":{urls},"username":""#);
        CredentialIssuer { head_json, secret: turn.secret, lifetimes: turn.lifetimes }
    }

    /// The array with credentials that end `ttl` after `unix_time_s`. No part of them needs
    /// escaping: they are digits, a colon, the session's identifier and base64.
    fn json(&self, session: &str, unix_time_s: u64, ttl: Duration) -> String {
        let expiry_s = unix_time_s.saturating_add(ttl.as_secs());
        let user = format!("{expiry_s}:{session}");
        let password = self.secret.password(&user);
        let parts = [&self.head_json, &user, r#"","credential":""#, &password, r#""}]"#];
        parts.concat()
    }
}

impl IceServers {
    /// The fixed servers come first, in the given order, then the time-limited ones.
    pub fn new(fixed: &[IceServer], time_limited: Option<TimeLimitedTurn>) -> Self {
        let entries: Vec<IceServerEntry<'_>> = fixed
            .iter()
            .map(|server| IceServerEntry {
                urls: vec![server.url().as_str()],
                username: server.credentials().map(|(user, _)| user),
                credential: server.credentials().map(|(_, password)| password),
            })
            .collect();
        let fixed_json =
            serde_json::to_string(&entries).expect("because an entry contains only strings");
        let time_limited = time_limited.map(|turn| CredentialIssuer::new(&fixed_json, turn));
        IceServers { fixed_json, time_limited }
    }

    /// The JSON array for the `session` message of the session with the identifier `session`, sent
    /// `unix_time_s` seconds after 1970. Without time-limited credentials it is constant and
    /// borrowed. `session` becomes part of the user name, so it must be base64url.
    pub fn session_json(&self, session: &str, unix_time_s: u64) -> Cow<'_, str> {
        match &self.time_limited {
            None => Cow::Borrowed(&self.fixed_json),
            Some(issuer) => Cow::Owned(issuer.json(session, unix_time_s, issuer.lifetimes.session)),
        }
    }

    /// The same for `match_found`: `None` without time-limited credentials, because then `session`
    /// has said all.
    pub fn match_json(&self, session: &str, unix_time_s: u64) -> Option<String> {
        let issuer = self.time_limited.as_ref()?;
        Some(issuer.json(session, unix_time_s, issuer.lifetimes.call))
    }
}

impl Default for IceServers {
    /// No servers: `[]`. That is enough on one machine or in one local network.
    fn default() -> Self {
        IceServers::new(&[], None)
    }
}

impl fmt::Debug for IceServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lifetimes = self.time_limited.as_ref().map(|issuer| issuer.lifetimes);
        f.debug_struct("IceServers").field("lifetimes", &lifetimes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const LIFETIMES: CredentialLifetimes =
        CredentialLifetimes { session: Duration::from_secs(3600), call: Duration::from_secs(1800) };

    fn parse(text: &str) -> Result<IceServer, IceError> {
        text.parse()
    }

    fn limited(urls: &[&str]) -> TimeLimitedTurn {
        let urls = urls.iter().map(|url| IceUrl::turn(url).unwrap()).collect();
        let secret = TurnSecret::from_file_contents(b"north wind and sun\n").unwrap();
        TimeLimitedTurn::new(urls, secret, LIFETIMES).unwrap()
    }

    fn value(servers: &IceServers) -> Value {
        serde_json::from_str(&servers.session_json("AbCdEfGhIjKlMnOpQrStUv", 1_799_996_460))
            .unwrap()
    }

    #[test]
    fn no_servers_is_an_empty_array() {
        assert_eq!(IceServers::default().session_json("s", 0), "[]");
    }

    #[test]
    fn fixed_servers_are_serialised_once_and_borrowed() {
        let servers = IceServers::new(
            &[parse("stun:a").unwrap(), parse("turn:b,user=\"u\",password=p").unwrap()],
            None,
        );
        assert!(matches!(servers.session_json("s", 0), Cow::Borrowed(_)));
        assert_eq!(
            value(&servers),
            json!([{"urls": ["stun:a"]}, {"urls": ["turn:b"], "username": "\"u\"", "credential": "p"}])
        );
    }

    /// The expected password was computed with:
    /// `printf '%s' '1800000060:AbCdEfGhIjKlMnOpQrStUv' |
    ///  openssl dgst -sha1 -hmac 'north wind and sun' -binary | base64`
    #[test]
    fn time_limited_credentials_match_those_of_openssl() {
        let servers = IceServers::new(&[], Some(limited(&["turn:t:3478", "turns:t:5349"])));
        assert_eq!(
            value(&servers),
            json!([{
                "urls": ["turn:t:3478", "turns:t:5349"],
                "username": "1800000060:AbCdEfGhIjKlMnOpQrStUv",
                "credential": "zkAghQTWgsnuu14ql0XfEOybuno=",
            }])
        );
    }

    /// The expected password was computed with:
    /// `printf '%s' '1799998260:AbCdEfGhIjKlMnOpQrStUv' |
    ///  openssl dgst -sha1 -hmac 'north wind and sun' -binary | base64`
    #[test]
    fn a_match_has_credentials_with_a_lifetime_of_their_own() {
        let servers = IceServers::new(&[parse("stun:a").unwrap()], Some(limited(&["turn:t"])));
        let json = servers.match_json("AbCdEfGhIjKlMnOpQrStUv", 1_799_996_460).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&json).unwrap(),
            json!([{"urls": ["stun:a"]}, {
                "urls": ["turn:t"],
                "username": "1799998260:AbCdEfGhIjKlMnOpQrStUv",
                "credential": "bMSJyQHWYadgHYF4BFpE34b7D84=",
            }])
        );
        let fixed = parse("turn:b,user=u,password=p").unwrap();
        assert_eq!(IceServers::new(&[fixed], None).match_json("s", 0), None);
    }

    /// RFC 2202 §3, test case 2.
    #[test]
    fn the_password_is_hmac_sha1() {
        let secret = TurnSecret::from_file_contents(b"Jefe").unwrap();
        let expected = STANDARD.encode([
            0xef, 0xfc, 0xdf, 0x6a, 0xe5, 0xeb, 0x2f, 0xa2, 0xd2, 0x74, 0x16, 0xd5, 0xf1, 0x84,
            0xdf, 0x9c, 0x25, 0x9a, 0x7c, 0x79,
        ]);
        assert_eq!(secret.password("what do ya want for nothing?"), expected);
    }

    #[test]
    fn fixed_servers_come_before_time_limited_ones() {
        let servers = IceServers::new(
            &[parse("stun:[::1]").unwrap(), parse("stun:b").unwrap()],
            Some(limited(&["turn:t"])),
        );
        let urls: Vec<Value> =
            value(&servers).as_array().unwrap().iter().map(|entry| entry["urls"].clone()).collect();
        assert_eq!(urls, [json!(["stun:[::1]"]), json!(["stun:b"]), json!(["turn:t"])]);
    }

    #[test]
    fn a_secret_file_may_end_with_line_ends_but_not_be_empty() {
        let of = |contents: &[u8]| TurnSecret::from_file_contents(contents);
        assert_eq!(of(b"key\r\n").unwrap().password("u"), of(b"key").unwrap().password("u"));
        assert_ne!(of(b" key").unwrap().password("u"), of(b"key").unwrap().password("u"));
        assert_eq!(of(b"\n").unwrap_err(), IceError::EmptySecret);
        assert_eq!(of(b"").unwrap_err(), IceError::EmptySecret);
        assert_eq!(of(&[0xff]).unwrap_err(), IceError::SecretNotText);
        assert!(!format!("{:?}", of(b"key").unwrap()).contains("key"));
    }

    #[test]
    fn time_limited_credentials_need_turn_urls_and_a_ttl_within_bounds() {
        let make = |urls, ttl| {
            let secret = TurnSecret::from_file_contents(b"key").unwrap();
            let lifetimes = CredentialLifetimes { session: ttl, ..LIFETIMES };
            TimeLimitedTurn::new(urls, secret, lifetimes).map(|_| ())
        };
        let url = IceUrl::turn("turn:t").unwrap();
        let (shortest, longest) = TURN_TTL_BOUNDS;
        assert_eq!(make(vec![], shortest), Err(IceError::NoTurnUrl));
        assert_eq!(make(vec![url.clone()], shortest), Ok(()));
        assert_eq!(make(vec![url.clone()], longest), Ok(()));
        for ttl in [shortest - Duration::from_millis(1), longest * 2] {
            assert_eq!(make(vec![url.clone()], ttl), Err(IceError::Ttl(ttl)));
        }
        let stun = "stun:a".parse().unwrap();
        assert_eq!(make(vec![stun], shortest), Err(IceError::NotTurn("stun:a".into())));
    }
}
