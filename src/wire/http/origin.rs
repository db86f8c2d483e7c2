//! Web origins (RFC 6454): the sites whose pages may open sessions in a browser. Pure.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// An origin, in the serialisation of RFC 6454 §6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(OriginValue<String>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OriginValue<T> {
    /// The origin of a page without one, such as a sandboxed frame or a file.
    Null,
    Triple(OriginTriple<T>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OriginTriple<T> {
    scheme: T,
    host: OriginHost<T>,
    /// `None` for the default port of the scheme.
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OriginHost<T> {
    Name(T),
    V6(Ipv6Addr),
}

/// Why a text is not an origin, as part of a sentence for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginError(&'static str);

const WILDCARD: OriginError =
    OriginError("wildcards are not supported; to allow all origins, omit the flag");

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; write an origin like https://example.org or http://localhost:8080", self.0)
    }
}

impl std::error::Error for OriginError {}

impl Origin {
    /// Whether an `Origin` field has this value. Scheme and host are compared without regard to
    /// ASCII case, a default port equals no port (RFC 6454 §4, §6.2), and the rest must be equal.
    pub fn matches(&self, field: &[u8]) -> bool {
        let Some(other) = std::str::from_utf8(field).ok().and_then(|text| parse_origin(text).ok())
        else {
            return false;
        };
        match (&self.0, other) {
            (OriginValue::Null, OriginValue::Null) => true,
            (OriginValue::Triple(one), OriginValue::Triple(other)) => {
                let same_host = match (&one.host, other.host) {
                    (OriginHost::Name(one), OriginHost::Name(other)) => {
                        one.eq_ignore_ascii_case(other)
                    }
                    (OriginHost::V6(one), OriginHost::V6(other)) => *one == other,
                    (OriginHost::Name(_), OriginHost::V6(_))
                    | (OriginHost::V6(_), OriginHost::Name(_)) => false,
                };
                one.scheme.eq_ignore_ascii_case(other.scheme) && same_host && one.port == other.port
            }
            (OriginValue::Null, OriginValue::Triple(_))
            | (OriginValue::Triple(_), OriginValue::Null) => false,
        }
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        Ok(Origin(match parse_origin(text)? {
            OriginValue::Null => OriginValue::Null,
            OriginValue::Triple(OriginTriple { scheme, host, port }) => {
                OriginValue::Triple(OriginTriple {
                    scheme: scheme.to_ascii_lowercase(),
                    host: match host {
                        OriginHost::Name(name) => OriginHost::Name(name.to_ascii_lowercase()),
                        OriginHost::V6(address) => OriginHost::V6(address),
                    },
                    port,
                })
            }
        }))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OriginValue::Triple(OriginTriple { scheme, host, port }) = &self.0 else {
            return f.write_str("null");
        };
        match host {
            OriginHost::Name(name) => write!(f, "{scheme}://{name}")?,
            OriginHost::V6(address) => write!(f, "{scheme}://[{address}]")?,
        }
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// RFC 6454 §6.1: `null`, or scheme, host, and port unless it is the default port.
fn parse_origin(text: &str) -> Result<OriginValue<&str>, OriginError> {
    if text == "null" {
        return Ok(OriginValue::Null);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(if text.contains('*') { WILDCARD } else { OriginError("no scheme") });
    };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !is_scheme {
        return Err(OriginError("malformed scheme"));
    }
    if rest.contains(['/', '?', '#']) {
        return Err(OriginError("an origin has no path, not even a final slash"));
    }
    let host_end = rest.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match rest[host_end..].find(':') {
        Some(colon) => (&rest[..host_end + colon], Some(&rest[host_end + colon + 1..])),
        None => (rest, None),
    };
    let port = port.map(parse_port).transpose()?.filter(|&port| default_port(scheme) != Some(port));
    Ok(OriginValue::Triple(OriginTriple { scheme, host: parse_host(host)?, port }))
}

fn parse_host(text: &str) -> Result<OriginHost<&str>, OriginError> {
    if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inside
            .parse()
            .map(OriginHost::V6)
            .map_err(|_| OriginError("malformed IPv6 address"));
    }
    // RFC 6454 §6.2: a name on the wire is ASCII; other scripts are encoded as Punycode.
    if !text.is_ascii() {
        return Err(OriginError(
            "a host in another script must be written in Punycode, beginning with xn--",
        ));
    }
    if text.contains('*') {
        return Err(WILDCARD);
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_name) {
        return Err(OriginError("malformed host"));
    }
    Ok(OriginHost::Name(text))
}

fn parse_port(digits: &str) -> Result<u16, OriginError> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain).ok_or(OriginError("malformed port"))
}

/// The default port of the scheme (RFC 6454 §4), for the schemes of pages that run scripts.
fn default_port(scheme: &str) -> Option<u16> {
    if scheme.eq_ignore_ascii_case("https") {
        Some(443)
    } else if scheme.eq_ignore_ascii_case("http") {
        Some(80)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(listed: &str, field: &str) -> bool {
        listed.parse::<Origin>().unwrap().matches(field.as_bytes())
    }

    /// RFC 6454 §4 and §5.
    #[test]
    fn ignores_case_and_default_ports_and_nothing_else() {
        for (listed, field) in [
            ("https://example.org", "https://example.org"),
            ("HTTPS://Example.ORG", "https://example.org"),
            ("https://example.org", "hTTps://eXample.org:443"),
            ("https://example.org:443", "https://example.org"),
            ("http://example.org:80", "http://example.org"),
            ("http://localhost:8080", "http://LOCALHOST:8080"),
            ("http://[::1]:8080", "http://[0:0::1]:8080"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("null", "null"),
        ] {
            assert!(same(listed, field), "{listed} {field}");
        }
        for (listed, field) in [
            ("https://example.org", "http://example.org"),
            ("https://example.org", "https://example.org:80"),
            ("http://example.org", "http://example.org:443"),
            ("https://example.org", "https://www.example.org"),
            ("https://example.org", "https://example.org.evil.example"),
            ("https://example.org", "https://example.org."),
            ("https://example.org", "https://example.orgx"),
            ("https://example.org", "https://user@example.org"),
            ("https://example.org", "https://example.org/"),
            ("https://example.org", "https://example.org https://example.org"),
            ("https://example.org", "https://example.org:0443"),
            ("https://example.org", "https://example.org:"),
            ("https://example.org", " https://example.org"),
            ("https://example.org", "null"),
            ("https://example.org", ""),
            ("null", "NULL"),
            ("null", ""),
            ("null", "https://null"),
        ] {
            assert!(!same(listed, field), "{listed} {field}");
        }
        assert!(
            !"https://example.org".parse::<Origin>().unwrap().matches(b"https://example.org\xff")
        );
    }

    #[test]
    fn refuses_invalid_origins_with_a_reason() {
        for (text, reason) in [
            ("", "no scheme"),
            ("*", "wildcards"),
            ("example.org", "no scheme"),
            ("example.org:443", "no scheme"),
            ("://example.org", "malformed scheme"),
            ("1http://example.org", "malformed scheme"),
            ("https://example.org/", "no path"),
            ("https://example.org/page", "no path"),
            ("https://example.org?x", "no path"),
            ("https://", "malformed host"),
            ("https://user@example.org", "malformed host"),
            ("https://exa mple.org", "malformed host"),
            ("https://*.example.org", "wildcards are not supported"),
            ("https://bücher.example", "Punycode"),
            ("https://[::1", "malformed"),
            ("https://[::1]x", "malformed host"),
            ("https://[1.2.3.4]", "malformed IPv6"),
            ("https://example.org:", "malformed port"),
            ("https://example.org:0", "malformed port"),
            ("https://example.org:65536", "malformed port"),
            ("https://example.org:+80", "malformed port"),
        ] {
            let error = text.parse::<Origin>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("like https://"), "{text}: {error}");
        }
    }

    #[test]
    fn displays_an_origin_as_browsers_write_it() {
        for (given, shown) in [
            ("HTTPS://Example.org:443", "https://example.org"),
            ("http://[0::1]:8080", "http://[::1]:8080"),
            ("null", "null"),
        ] {
            assert_eq!(given.parse::<Origin>().unwrap().to_string(), shown);
        }
    }
}
