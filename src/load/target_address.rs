//! Where a server is, by its URL, and one blocking request to it.

use crate::wire::http::{Body, HeadScan, parse_response, write_get_request};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Where a server's figures are if nothing else is said.
const STATS: &str = "/stats";
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest head of an answer.
const HEAD_BYTES: usize = 16 * 1024;
/// Most bytes of an answer.
const CONTENT_BYTES: usize = 1024 * 1024;

/// A server's address, from its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetAddress {
    /// The address that is connected to.
    pub address: SocketAddr,
    /// `host:port`.
    pub host: String,
    /// Path and query.
    pub path: String,
}

/// Why a URL leads to no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It is none; one line about what is wrong with it.
    Malformed(String),
    /// It names a host, `host:port`, that has no address.
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

/// Reads `ws://host:port/path`.
///
/// # Errors
/// Where it leads nowhere.
pub fn parse_server_url(url: &str) -> Result<TargetAddress, AddressError> {
    let rest = url.strip_prefix("ws://").ok_or_else(|| {
        AddressError::Malformed(format!(
            "`{url}` is not a URL like `ws://127.0.0.1:8080/ws` (TLS is not spoken)"
        ))
    })?;
    place(url, rest)
}

/// Where the figures of the server at `server` are, by `auto`, `none` or a URL.
///
/// # Errors
/// One line about what is wrong with it.
pub fn parse_stats_url(
    text: &str,
    server: &TargetAddress,
) -> Result<Option<TargetAddress>, String> {
    match text {
        "none" => Ok(None),
        "auto" => Ok(Some(TargetAddress { path: STATS.to_owned(), ..server.clone() })),
        _ => {
            let rest = text.strip_prefix("http://").ok_or_else(|| {
                format!(
                    "`{text}` is not `auto`, `none` or a URL like `http://127.0.0.1:9100/stats`"
                )
            })?;
            let mut found = place(text, rest).map_err(|nowhere| nowhere.to_string())?;
            if found.path == "/" {
                found.path = STATS.to_owned();
            }
            Ok(Some(found))
        }
    }
}

/// Takes apart what follows the scheme of `url`.
fn place(url: &str, rest: &str) -> Result<TargetAddress, AddressError> {
    let (host, path) = match rest.find('/') {
        Some(at) => (&rest[..at], &rest[at..]),
        None => (rest, "/"),
    };
    if url.bytes().any(|byte| !byte.is_ascii_graphic()) || host.is_empty() {
        return Err(AddressError::Malformed(format!("`{url}` is not a URL")));
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    // What stands behind the last colon and is no port: an IPv6 address ends in a bracket.
    let bad_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    if !has_port && bad_port {
        let what = format!("`{url}` is not a URL: its port is no number up to 65535");
        return Err(AddressError::Malformed(what));
    }
    let host = if has_port { host.to_owned() } else { format!("{host}:80") };
    let addresses: Vec<SocketAddr> =
        host.to_socket_addrs().map(Iterator::collect).unwrap_or_default();
    let Some(address) = listening(&addresses) else {
        // What has other letters than names have is a slip of the pen and no host that is gone.
        let of_names = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        return Err(match host.bytes().all(of_names) {
            true => AddressError::NoSuchHost(host),
            false => AddressError::Malformed(format!("`{url}` is not a URL: `{host}` is no host")),
        });
    };
    Ok(TargetAddress { address, host, path: path.to_owned() })
}

/// The address of a name at which somebody listens; if nobody does, the first. `localhost` is an
/// IPv6 address first on many machines, and many servers listen to IPv4 alone.
fn listening(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let (first, others) = addresses.split_first()?;
    if others.is_empty() {
        return Some(*first);
    }
    let listens = |at: &&SocketAddr| TcpStream::connect_timeout(at, REQUEST_TIMEOUT).is_ok();
    addresses.iter().find(listens).or(Some(first)).copied()
}

/// Whether there is a server: it answers anything at all, or at least hangs up. What it
/// answers is its own business; not every one has a `/health`.
///
/// # Errors
/// When nobody listens, or nothing comes back in time.
pub fn check_reachable(place: &TargetAddress) -> io::Result<()> {
    TcpStream::connect_timeout(&place.address, REQUEST_TIMEOUT)?;
    match get(place, "/health") {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
        {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "it accepts connections but does not answer",
            ))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// One blocking GET. Gives the status and the body.
///
/// # Errors
/// When the server cannot be reached or does not answer in time, or not in HTTP.
pub fn get(place: &TargetAddress, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut socket = TcpStream::connect_timeout(&place.address, REQUEST_TIMEOUT)?;
    socket.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    socket.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    let mut request = Vec::new();
    write_get_request(&mut request, &place.host, path, &[("Connection", "close")]);
    socket.write_all(&request)?;
    let (mut head, mut content, mut scan) = (Vec::new(), Vec::new(), HeadScan::default());
    let mut answer: Option<(u16, Body)> = None;
    let started = Instant::now();
    let mut buffer = [0; 16 * 1024];
    loop {
        let len = socket.read(&mut buffer)?;
        let mut came = &buffer[..len];
        if len == 0 {
            return match answer {
                Some((status, Body::UntilClose)) => Ok((status, content)),
                Some(_) | None => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        if answer.is_none() {
            head.extend_from_slice(came);
            let parsed = parse_response(&head, &mut scan, HEAD_BYTES);
            if let Some((said, end)) = parsed.map_err(|_| io::ErrorKind::InvalidData)? {
                // The bytes behind the head are the last of those just read.
                came = &buffer[len - (head.len() - end)..len];
                answer = Some((said.status, Body::new(said.body)));
            }
        }
        if let Some((status, body)) = &mut answer {
            let whole = body.read(came, |data| content.extend_from_slice(data));
            if whole.map_err(|_| io::ErrorKind::InvalidData)? {
                return Ok((*status, content));
            }
        }
        if content.len() > CONTENT_BYTES || started.elapsed() > REQUEST_TIMEOUT {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let place = parse_server_url("ws://127.0.0.1:9000/ws?x=1").unwrap();
        assert_eq!(place.address, SocketAddr::from(([127, 0, 0, 1], 9000)));
        assert_eq!((place.host.as_str(), place.path.as_str()), ("127.0.0.1:9000", "/ws?x=1"));
        assert_eq!(parse_server_url("ws://127.0.0.1").unwrap().host, "127.0.0.1:80");
        assert_eq!(parse_server_url("ws://[::1]:80/").unwrap().address.to_string(), "[::1]:80");
        let at = |text| parse_stats_url(text, &place).map(|found| found.map(|p| (p.host, p.path)));
        assert_eq!(at("none"), Ok(None));
        assert_eq!(at("auto"), Ok(Some(("127.0.0.1:9000".to_owned(), "/stats".to_owned()))));
        let elsewhere = Some(("127.0.0.1:9100".to_owned(), "/stats".to_owned()));
        assert_eq!(at("http://127.0.0.1:9100"), Ok(elsewhere));
        assert!(at("ftp://x").unwrap_err().contains("`ftp://x`"));
        for bad in [
            "ws://127.0.0.1:99999/ws",
            "ws://127.0.0.1:/",
            "http://127.0.0.1/",
            "wss://127.0.0.1/",
            "ws:///ws",
            "ws://a b/",
            "ws://[::1/",
            "ws://user@host/",
            "x",
        ] {
            assert!(matches!(parse_server_url(bad), Err(AddressError::Malformed(_))), "{bad}");
        }
        // RFC 6761 §6.4: no such name is ever given to a host.
        let nowhere = AddressError::NoSuchHost("nohost.invalid:80".to_owned());
        assert_eq!(parse_server_url("ws://nohost.invalid/ws"), Err(nowhere));
    }

    #[test]
    fn of_a_names_addresses_the_one_with_a_listener_is_taken() {
        let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = |listener: &std::net::TcpListener| listener.local_addr().unwrap();
        let (here, dead) = (bind(), [at(&bind()), at(&bind())]);
        assert_eq!(listening(&[dead[0], at(&here)]), Some(at(&here)));
        assert_eq!(listening(&dead), Some(dead[0]));
        assert_eq!(listening(&[]), None);
    }

    #[test]
    fn a_server_that_is_not_there_is_an_error() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let place = parse_server_url(&format!("ws://{port}/ws")).unwrap();
        assert!(get(&place, "/stats").is_err());
    }
}
