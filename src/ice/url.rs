//! Parses the URL and the credentials of a STUN or TURN server. Pure. It must never put a password
//! into an error or a log; `Debug` omits it.

use super::IceError;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IceScheme {
    Stun,
    Turn,
}

/// A checked `stun:`, `turn:` or `turns:` URL, kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceUrl {
    text: String,
    scheme: IceScheme,
}

impl IceUrl {
    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether this is a TURN server, which relays media, and not only a STUN server.
    pub fn is_turn(&self) -> bool {
        self.scheme == IceScheme::Turn
    }

    /// Parses a value of `--turn-url`: like [`IceUrl::from_str`], but only `turn` and `turns`.
    pub fn turn(text: &str) -> Result<Self, IceError> {
        let url: IceUrl = text.parse()?;
        match url.scheme {
            IceScheme::Turn => Ok(url),
            IceScheme::Stun => Err(IceError::NotTurn(text.to_owned())),
        }
    }
}

impl FromStr for IceUrl {
    type Err = IceError;

    fn from_str(text: &str) -> Result<Self, IceError> {
        let whole = || text.to_owned();
        let (scheme, rest) = text.split_once(':').ok_or_else(|| IceError::Scheme(whole()))?;
        let scheme = match scheme {
            // RFC 7064 also defines `stuns:`, but browsers do not support it.
            "stun" => IceScheme::Stun,
            "turn" | "turns" => IceScheme::Turn,
            _ => return Err(IceError::Scheme(whole())),
        };
        let (authority, query) = match rest.split_once('?') {
            Some((authority, query)) => (authority, Some(query)),
            None => (rest, None),
        };
        match (scheme, query) {
            (_, None) | (IceScheme::Turn, Some("transport=udp" | "transport=tcp")) => {}
            (IceScheme::Stun | IceScheme::Turn, Some(_)) => {
                return Err(IceError::Transport(whole()));
            }
        }
        let (host, port) = split_port(authority);
        if !is_host(host) {
            return Err(IceError::Host(whole()));
        }
        if port.is_some_and(|port| !is_port(port)) {
            return Err(IceError::Port(whole()));
        }
        Ok(IceUrl { text: whole(), scheme })
    }
}

/// Splits off the port. Colons within brackets belong to an IPv6 address.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let host_end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority[host_end..].find(':') {
        Some(colon) => (&authority[..host_end + colon], Some(&authority[host_end + colon + 1..])),
        None => (authority, None),
    }
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|number| number != 0)
}

fn is_host(host: &str) -> bool {
    if let Some(inside) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inside.parse::<Ipv6Addr>().is_ok();
    }
    let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if numeric {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    // RFC 1123 §2.1: letters, digits and hyphens in labels of 1 to 63, 253 in all.
    host.len() <= 253
        && host.strip_suffix('.').unwrap_or(host).split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// One value of `--ice-server`: a STUN server, or a TURN server with fixed credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    url: IceUrl,
    credentials: Option<(String, String)>,
}

impl IceServer {
    /// The URL of the server.
    pub fn url(&self) -> &IceUrl {
        &self.url
    }

    /// User name and password; `None` for a STUN server.
    pub fn credentials(&self) -> Option<(&str, &str)> {
        self.credentials.as_ref().map(|(user, password)| (user.as_str(), password.as_str()))
    }
}

impl FromStr for IceServer {
    type Err = IceError;

    fn from_str(text: &str) -> Result<Self, IceError> {
        let (url, rest) = match text.split_once(',') {
            Some((url, rest)) => (url, Some(rest)),
            None => (text, None),
        };
        let credentials = match rest {
            None => None,
            Some(rest) => Some(
                // The error contains only the URL, because it must not reveal the password.
                parse_credentials(rest).ok_or_else(|| IceError::Credentials(url.to_owned()))?,
            ),
        };
        let url: IceUrl = url.parse()?;
        match (url.scheme, &credentials) {
            (IceScheme::Stun, None) | (IceScheme::Turn, Some(_)) => {
                Ok(IceServer { url, credentials })
            }
            (IceScheme::Stun, Some(_)) => Err(IceError::StunTakesNoCredentials(url.text)),
            // W3C WebRTC §4.2.1.1: `new RTCPeerConnection` throws InvalidAccessError otherwise.
            (IceScheme::Turn, None) => Err(IceError::TurnNeedsCredentials(url.text)),
        }
    }
}

fn parse_credentials(text: &str) -> Option<(String, String)> {
    let (user, password) = text.strip_prefix("user=")?.split_once(",password=")?;
    let usable = !user.is_empty() && !user.contains(',') && !password.is_empty();
    usable.then(|| (user.to_owned(), password.to_owned()))
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("url", &self.url.text)
            .field("user", &self.credentials.as_ref().map(|(user, _)| user))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<IceServer, IceError> {
        text.parse()
    }

    #[test]
    fn accepts_every_documented_form() {
        for text in [
            "stun:stun.example.org",
            "stun:192.0.2.1:3478",
            "stun:[2001:db8::1]",
            "stun:[2001:db8::1]:3478",
            "turn:turn.example.org,user=ann,password=secret",
            "turn:a:1?transport=udp,user=ann,password=secret",
            "turns:turn.example.org:5349?transport=tcp,user=ann,password=se,cr,et",
        ] {
            assert!(parse(text).is_ok(), "{text}: {:?}", parse(text));
        }
    }

    #[test]
    fn reports_a_specific_error_for_every_malformed_value() {
        type ErrorConstructor = fn(String) -> IceError;
        let cases: [(&str, ErrorConstructor); 19] = [
            ("example.org", IceError::Scheme),
            ("http://example.org", IceError::Scheme),
            ("stuns:example.org", IceError::Scheme),
            ("stun:", IceError::Host),
            ("stun://example.org", IceError::Host),
            ("stun:999.1.1.1", IceError::Host),
            ("stun:[::1", IceError::Host),
            ("stun:::1", IceError::Host),
            ("stun:-a.example", IceError::Host),
            ("stun:a..b", IceError::Host),
            ("stun:a b", IceError::Host),
            ("stun:a:0", IceError::Port),
            ("stun:a:65536", IceError::Port),
            ("stun:a:+1", IceError::Port),
            ("stun:a:", IceError::Port),
            ("stun:a?transport=udp", IceError::Transport),
            ("turn:a?transport=sctp", IceError::Transport),
            ("turn:a", IceError::TurnNeedsCredentials),
            ("turns:a:5349", IceError::TurnNeedsCredentials),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text), Err(error(text.to_owned())), "{text}");
        }
        assert_eq!(
            parse("stun:a,user=u,password=p"),
            Err(IceError::StunTakesNoCredentials("stun:a".into()))
        );
        assert_eq!(IceUrl::turn("stun:a"), Err(IceError::NotTurn("stun:a".into())));
    }

    #[test]
    fn a_password_is_the_rest_of_the_value_and_never_in_errors_or_debug() {
        let server = parse("turn:a,user=ann,password=one,password=two").unwrap();
        assert_eq!(server.credentials(), Some(("ann", "one,password=two")));
        assert!(!format!("{server:?}").contains("two"));
        for text in ["turn:a,password=hush", "turn:a,user=,password=hush", "turn:a,hush"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, IceError::Credentials("turn:a".into()));
            assert!(!error.to_string().contains("hush"));
        }
    }
}
