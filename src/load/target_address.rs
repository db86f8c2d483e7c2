//! The address of the server under test, from its URL, and one blocking HTTP GET to it.

use crate::wire::http::{Body, HeadScan, parse_response, write_get_request};
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Path of the server's statistics when the user names none.
const DEFAULT_STATS_PATH: &str = "/stats";
/// Time limit of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest response head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Longest response body.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The address of the server under test, or of its statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetAddress {
    /// The resolved address to connect to: the first of `addresses`.
    pub address: SocketAddr,
    /// All resolved addresses that accept connections; if none does, the first of all. Users are
    /// spread over them.
    pub addresses: Vec<SocketAddr>,
    /// `host:port`.
    pub host: String,
    /// Path and query.
    pub path: String,
}

/// Why a URL gives no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// The text is not a valid URL; one line that says what is wrong.
    Malformed(String),
    /// The host, given as `host:port`, has no address.
    NoSuchHost(String),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressError::Malformed(line) => f.write_str(line),
            AddressError::NoSuchHost(host) => write!(f, "`{host}` cannot be resolved"),
        }
    }
}

/// Parses and resolves `ws://host:port/path`.
///
/// # Errors
/// When the text is not such a URL, or its host cannot be resolved.
pub fn parse_server_url(url: &str) -> Result<TargetAddress, AddressError> {
    let rest = url.strip_prefix("ws://").ok_or_else(|| {
        AddressError::Malformed(match url.strip_prefix("wss://") {
            Some(rest) => format!(
                "`{url}`: the tester does not support TLS; test the server's plain port, like \
                 `ws://{rest}`"
            ),
            None => format!("`{url}` is not a URL like `ws://127.0.0.1:8080/ws`"),
        })
    })?;
    resolve(url, rest)
}

/// Parses `auto`, `none` or the URL of the statistics of the server at `server`.
///
/// # Errors
/// One line that says what is wrong with the text.
pub fn parse_stats_url(
    text: &str,
    server: &TargetAddress,
) -> Result<Option<TargetAddress>, String> {
    match text {
        "none" => Ok(None),
        "auto" => Ok(Some(TargetAddress { path: DEFAULT_STATS_PATH.to_owned(), ..server.clone() })),
        _ => {
            let rest = text.strip_prefix("http://").ok_or_else(|| {
                format!(
                    "`{text}` is not `auto`, `none` or a URL like `http://127.0.0.1:9100/stats`"
                )
            })?;
            let mut found = resolve(text, rest).map_err(|error| error.to_string())?;
            if found.path == "/" {
                found.path = DEFAULT_STATS_PATH.to_owned();
            }
            Ok(Some(found))
        }
    }
}

/// Parses and resolves `rest`, the part of `url` after the scheme.
fn resolve(url: &str, rest: &str) -> Result<TargetAddress, AddressError> {
    let (host, path) = match rest.find('/') {
        Some(at) => (&rest[..at], &rest[at..]),
        None => (rest, "/"),
    };
    if url.bytes().any(|byte| !byte.is_ascii_graphic()) || host.is_empty() {
        return Err(AddressError::Malformed(format!("`{url}` is not a URL")));
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    // A colon with no valid port behind it; an IPv6 address ends with a bracket instead.
    let bad_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    if !has_port && bad_port {
        let what = format!("`{url}` is not a URL: its port is not a number up to 65535");
        return Err(AddressError::Malformed(what));
    }
    let host = if has_port { host.to_owned() } else { format!("{host}:80") };
    let addresses: Vec<SocketAddr> =
        host.to_socket_addrs().map(Iterator::collect).unwrap_or_default();
    let addresses = reachable(addresses);
    let Some(address) = addresses.first().copied() else {
        // Characters that cannot occur in a host name mean a typing error, not a missing host.
        let is_host_character = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        return Err(match host.bytes().all(is_host_character) {
            true => AddressError::NoSuchHost(host),
            false => {
                AddressError::Malformed(format!("`{url}` is not a URL: `{host}` is not a host"))
            }
        });
    };
    Ok(TargetAddress { address, addresses, host, path: path.to_owned() })
}

/// The addresses that accept a connection, or the first of all when none does. On many machines
/// `localhost` resolves to an IPv6 address too, while many servers listen on IPv4 only.
fn reachable(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().copied() else { return addresses };
    if addresses.len() > 1 {
        let mut known = BTreeSet::new();
        addresses.retain(|address| known.insert(*address));
        addresses.retain(|at| TcpStream::connect_timeout(at, REQUEST_TIMEOUT).is_ok());
    }
    if addresses.is_empty() {
        addresses.push(first);
    }
    addresses
}

/// Checks that a server is listening: it must answer with anything, or close the connection. The
/// answer itself is not examined, because not every server has a `/health`.
///
/// # Errors
/// When the connection fails, or the server neither answers nor closes it in time.
pub fn check_reachable(target: &TargetAddress) -> io::Result<()> {
    TcpStream::connect_timeout(&target.address, REQUEST_TIMEOUT)?;
    match http_get(target, "/health") {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
        {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the server accepts connections but does not answer",
            ))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// One blocking GET request. Returns the status and the body.
///
/// # Errors
/// When the connection fails, the time limit passes, or the answer is not HTTP.
pub fn http_get(target: &TargetAddress, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut socket = TcpStream::connect_timeout(&target.address, REQUEST_TIMEOUT)?;
    socket.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    socket.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    let mut request = Vec::new();
    write_get_request(&mut request, &target.host, path, &[("Connection", "close")]);
    socket.write_all(&request)?;
    let (mut head, mut body_bytes, mut scan) = (Vec::new(), Vec::new(), HeadScan::default());
    let mut response: Option<(u16, Body)> = None;
    let started = Instant::now();
    let mut buffer = [0; 16 * 1024];
    loop {
        let len = socket.read(&mut buffer)?;
        let mut new_bytes = &buffer[..len];
        if len == 0 {
            return match response {
                Some((status, Body::UntilClose)) => Ok((status, body_bytes)),
                Some(_) | None => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        if response.is_none() {
            head.extend_from_slice(new_bytes);
            let parsed = parse_response(&head, &mut scan, MAX_HEAD_BYTES);
            if let Some((parsed_head, end)) = parsed.map_err(|_| io::ErrorKind::InvalidData)? {
                // The bytes after the head are the last of those just read.
                new_bytes = &buffer[len - (head.len() - end)..len];
                response = Some((parsed_head.status, Body::new(parsed_head.body)));
            }
        }
        if let Some((status, body)) = &mut response {
            let whole = body.read(new_bytes, |data| body_bytes.extend_from_slice(data));
            if whole.map_err(|_| io::ErrorKind::InvalidData)? {
                return Ok((*status, body_bytes));
            }
        }
        if body_bytes.len() > MAX_BODY_BYTES || started.elapsed() > REQUEST_TIMEOUT {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_rejects_server_and_stats_urls() {
        let target = parse_server_url("ws://127.0.0.1:9000/ws?x=1").unwrap();
        assert_eq!(target.address, SocketAddr::from(([127, 0, 0, 1], 9000)));
        assert_eq!((target.host.as_str(), target.path.as_str()), ("127.0.0.1:9000", "/ws?x=1"));
        assert_eq!(parse_server_url("ws://127.0.0.1").unwrap().host, "127.0.0.1:80");
        assert_eq!(parse_server_url("ws://[::1]:80/").unwrap().address.to_string(), "[::1]:80");
        let at = |text| parse_stats_url(text, &target).map(|found| found.map(|p| (p.host, p.path)));
        assert_eq!(at("none"), Ok(None));
        assert_eq!(at("auto"), Ok(Some(("127.0.0.1:9000".to_owned(), "/stats".to_owned()))));
        let elsewhere = Some(("127.0.0.1:9100".to_owned(), "/stats".to_owned()));
        assert_eq!(at("http://127.0.0.1:9100"), Ok(elsewhere));
        assert!(at("ftp://x").unwrap_err().contains("`ftp://x`"));
        for bad in [
            "ws://127.0.0.1:99999/ws",
            "ws://127.0.0.1:/",
            "http://127.0.0.1/",
            "ws:///ws",
            "ws://a b/",
            "ws://[::1/",
            "ws://user@host/",
            "x",
        ] {
            assert!(matches!(parse_server_url(bad), Err(AddressError::Malformed(_))), "{bad}");
        }
        let tls = parse_server_url("wss://127.0.0.1:8443/ws").unwrap_err().to_string();
        assert!(tls.contains("TLS") && tls.contains("`ws://127.0.0.1:8443/ws`"), "{tls}");
        // RFC 6761 §6.4: `.invalid` names never resolve.
        let unresolved = AddressError::NoSuchHost("nohost.invalid:80".to_owned());
        assert_eq!(parse_server_url("ws://nohost.invalid/ws"), Err(unresolved));
    }

    #[test]
    fn uses_all_resolved_addresses_that_accept_connections() {
        let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = |listener: &std::net::TcpListener| listener.local_addr().unwrap();
        let (here, dead) = ([bind(), bind()], [at(&bind()), at(&bind())]);
        let all = [dead[0], at(&here[0]), dead[1], at(&here[1]), at(&here[0])];
        assert_eq!(reachable(all.to_vec()), [at(&here[0]), at(&here[1])]);
        assert_eq!(reachable(dead.to_vec()), [dead[0]]);
        assert_eq!(reachable(Vec::new()), []);
    }

    #[test]
    fn returns_an_error_when_the_server_is_not_listening() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let target = parse_server_url(&format!("ws://{port}/ws")).unwrap();
        assert!(http_get(&target, "/stats").is_err());
    }
}
