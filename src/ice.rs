//! What `session` tells a browser about STUN and TURN: parsing of the operator's flags, and
//! the `ice_servers` JSON made from them. Pure: the clock and the secret come in as arguments.
//! It must never print a password or the secret; their `Debug` withholds them.
//!
//! # How servers are written
//!
//! | flag | value | example |
//! | --- | --- | --- |
//! | `--ice-server` (repeatable) | URL, for TURN followed by `,user=NAME,password=SECRET` | `stun:stun.example.org` |
//! | | | `turns:turn.example.org:5349?transport=tcp,user=ann,password=x,y` |
//! | `--turn-url` (repeatable) | URL alone; the credentials are made for each session | `turn:turn.example.org:3478` |
//!
//! The URL is that of RFC 7064 §3.1 (`stun:`) or RFC 7065 §3.1 (`turn:`, `turns:`). A name has
//! no comma in it; a password may, because it is the rest of the value.

mod url;

pub use url::{IceServer, IceUrl};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha1::Sha1;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Why a value of one of the flags cannot be used. Its text is one sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IceError {
    /// The value does not begin with a scheme that browsers know.
    Scheme(String),
    /// The host is missing or is no host name, IPv4 address or bracketed IPv6 address.
    Host(String),
    /// The port is not a number from 1 to 65535.
    Port(String),
    /// The part after `?` is not `transport=udp` or `transport=tcp`, or stands where none may.
    Transport(String),
    /// What follows the URL is not `,user=NAME,password=SECRET`.
    Credentials(String),
    /// A browser refuses to make any connection at all with a TURN URL that has no credentials.
    TurnNeedsCredentials(String),
    /// STUN knows no credentials in browsers.
    StunTakesNoCredentials(String),
    /// `--turn-url` with something that is not `turn:` or `turns:`.
    NotTurn(String),
    /// The secret file holds nothing.
    EmptySecret,
    /// The secret file is not text.
    SecretNotText,
    /// A time to live shorter than [`TURN_TTL_MIN`] or longer than [`TURN_TTL_MAX`].
    Ttl(Duration),
    /// Time-limited credentials without any URL to use them at.
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
                write!(f, "after `{url}` only `,user=NAME,password=SECRET` may follow")
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
                TURN_TTL_MIN.as_secs(),
                TURN_TTL_MAX.as_secs(),
                ttl.as_secs()
            ),
            IceError::NoTurnUrl => {
                f.write_str("a TURN secret is of no use without at least one --turn-url")
            }
        }
    }
}

impl std::error::Error for IceError {}

/// Shortest time to live of a TURN credential: a call must at least have time to begin.
pub const TURN_TTL_MIN: Duration = Duration::from_secs(60);
/// Longest time to live of a TURN credential, a year: more than any session lasts.
pub const TURN_TTL_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// What coturn has as `static-auth-secret`.
#[derive(Clone)]
pub struct TurnSecret {
    mac: Hmac<Sha1>,
}

impl TurnSecret {
    /// Takes the contents of a secret file. The line ends that editors leave at its end are not
    /// part of the secret.
    pub fn from_file_contents(contents: &[u8]) -> Result<Self, IceError> {
        let text = std::str::from_utf8(contents).map_err(|_| IceError::SecretNotText)?;
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(IceError::EmptySecret);
        }
        let mac = Hmac::new_from_slice(secret.as_bytes())
            .expect("because RFC 2104 takes keys of any length");
        Ok(TurnSecret { mac })
    }

    /// The password that goes with `user`: `base64(HMAC-SHA1(secret, user))`.
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

/// TURN servers that share a secret with this process, so that every session gets credentials
/// of its own which end by themselves: coturn's `use-auth-secret`, after the Internet-Draft
/// *A REST API For Access To TURN Services* (draft-uberti-behave-turn-rest-00 §2.2).
#[derive(Clone, Debug)]
pub struct TimeLimited {
    urls: Vec<IceUrl>,
    secret: TurnSecret,
    ttl: Duration,
}

impl TimeLimited {
    /// Credentials for `urls` that are valid for `ttl` from the time they are made;
    /// [`TURN_TTL_MIN`] to [`TURN_TTL_MAX`], in whole seconds, what is beyond them cut off.
    pub fn new(urls: Vec<IceUrl>, secret: TurnSecret, ttl: Duration) -> Result<Self, IceError> {
        if urls.is_empty() {
            return Err(IceError::NoTurnUrl);
        }
        if let Some(url) = urls.iter().find(|url| !url.is_turn()) {
            return Err(IceError::NotTurn(url.as_str().to_owned()));
        }
        if !(TURN_TTL_MIN..=TURN_TTL_MAX).contains(&ttl) {
            return Err(IceError::Ttl(ttl));
        }
        Ok(TimeLimited { urls, secret, ttl })
    }
}

/// One element of `ice_servers`, as `new RTCPeerConnection({iceServers})` wants it
/// (W3C WebRTC §4.2.4, `RTCIceServer`).
#[derive(Serialize)]
struct Entry<'a> {
    urls: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
}

impl Entry<'_> {
    fn json(&self) -> String {
        serde_json::to_string(self).expect("because an entry is strings only")
    }
}

/// All that `ice_servers` is made from, its constant part written out once.
#[derive(Clone)]
pub struct IceServers {
    /// A complete JSON array of the fixed servers.
    fixed_json: String,
    time_limited: Option<TimeLimited>,
}

impl IceServers {
    /// Fixed servers first, in the order given; then the time-limited ones, if there are any.
    pub fn new(fixed: &[IceServer], time_limited: Option<TimeLimited>) -> Self {
        let entries: Vec<Entry<'_>> = fixed
            .iter()
            .map(|server| Entry {
                urls: vec![server.url().as_str()],
                username: server.credentials().map(|(user, _)| user),
                credential: server.credentials().map(|(_, password)| password),
            })
            .collect();
        let fixed_json = serde_json::to_string(&entries).expect("because an entry is strings only");
        IceServers { fixed_json, time_limited }
    }

    /// The JSON array for the `session` message of the session whose identifier is `session`,
    /// at `unix_time_s` seconds since 1970. Without time-limited credentials it is constant and
    /// only borrowed. `session` is part of the user name, so it must not hold a colon.
    pub fn json(&self, session: &str, unix_time_s: u64) -> Cow<'_, str> {
        let Some(limited) = &self.time_limited else {
            return Cow::Borrowed(&self.fixed_json);
        };
        let expiry_s = unix_time_s.saturating_add(limited.ttl.as_secs());
        let user = format!("{expiry_s}:{session}");
        let password = limited.secret.password(&user);
        let entry = Entry {
            urls: limited.urls.iter().map(IceUrl::as_str).collect(),
            username: Some(&user),
            credential: Some(&password),
        };
        let fixed = self.fixed_json.trim_end_matches(']');
        let comma = if fixed.len() > 1 { "," } else { "" };
        Cow::Owned(format!("{fixed}{comma}{}]", entry.json()))
    }
}

impl Default for IceServers {
    /// No servers: `[]`. Enough on one machine or one local network.
    fn default() -> Self {
        IceServers::new(&[], None)
    }
}

impl fmt::Debug for IceServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServers")
            .field("time_limited", &self.time_limited)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(text: &str) -> Result<IceServer, IceError> {
        text.parse()
    }

    fn limited(urls: &[&str]) -> TimeLimited {
        let urls = urls.iter().map(|url| IceUrl::turn(url).unwrap()).collect();
        let secret = TurnSecret::from_file_contents(b"north wind and sun\n").unwrap();
        TimeLimited::new(urls, secret, Duration::from_secs(3600)).unwrap()
    }

    fn value(servers: &IceServers) -> Value {
        serde_json::from_str(&servers.json("AbCdEfGhIjKlMnOpQrStUv", 1_799_996_460)).unwrap()
    }

    #[test]
    fn no_servers_is_an_empty_array() {
        assert_eq!(IceServers::default().json("s", 0), "[]");
    }

    #[test]
    fn fixed_servers_are_written_once_and_borrowed() {
        let servers = IceServers::new(
            &[parse("stun:a").unwrap(), parse("turn:b,user=\"u\",password=p").unwrap()],
            None,
        );
        assert!(matches!(servers.json("s", 0), Cow::Borrowed(_)));
        assert_eq!(
            value(&servers),
            json!([{"urls": ["stun:a"]}, {"urls": ["turn:b"], "username": "\"u\"", "credential": "p"}])
        );
    }

    /// The expected password was computed apart from this crate:
    /// `printf '%s' '1800000060:AbCdEfGhIjKlMnOpQrStUv' |
    ///  openssl dgst -sha1 -hmac 'north wind and sun' -binary | base64`
    #[test]
    fn time_limited_credentials_agree_with_openssl() {
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
    fn a_secret_file_may_end_in_a_line_end_but_not_be_empty() {
        let of = |contents: &[u8]| TurnSecret::from_file_contents(contents);
        assert_eq!(of(b"key\r\n").unwrap().password("u"), of(b"key").unwrap().password("u"));
        assert_ne!(of(b" key").unwrap().password("u"), of(b"key").unwrap().password("u"));
        assert_eq!(of(b"\n").unwrap_err(), IceError::EmptySecret);
        assert_eq!(of(b"").unwrap_err(), IceError::EmptySecret);
        assert_eq!(of(&[0xff]).unwrap_err(), IceError::SecretNotText);
        assert!(!format!("{:?}", of(b"key").unwrap()).contains("key"));
    }

    #[test]
    fn a_time_limit_needs_a_url_and_a_sensible_length() {
        let make = |urls, ttl| {
            let secret = TurnSecret::from_file_contents(b"key").unwrap();
            TimeLimited::new(urls, secret, ttl).map(|_| ())
        };
        let url = IceUrl::turn("turn:t").unwrap();
        assert_eq!(make(vec![], TURN_TTL_MIN), Err(IceError::NoTurnUrl));
        assert_eq!(make(vec![url.clone()], TURN_TTL_MIN), Ok(()));
        assert_eq!(make(vec![url.clone()], TURN_TTL_MAX), Ok(()));
        for ttl in [TURN_TTL_MIN - Duration::from_millis(1), TURN_TTL_MAX * 2] {
            assert_eq!(make(vec![url.clone()], ttl), Err(IceError::Ttl(ttl)));
        }
        let stun = "stun:a".parse().unwrap();
        assert_eq!(make(vec![stun], TURN_TTL_MIN), Err(IceError::NotTurn("stun:a".into())));
    }
}
