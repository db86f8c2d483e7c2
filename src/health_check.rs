//! `--health-check`: asks a running server for `/health`, for containers and supervisors that have
//! neither a shell nor an HTTP client. Blocks; the main thread of a process that starts no server.

use crate::limits::{DEFAULT_HEAD_BYTES, HEALTH_CHECK_TIMEOUT};
use crate::wire::http::{HeadScan, parse_response, write_get_request};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

/// Why a server is not healthy.
#[derive(Debug)]
pub enum HealthCheckError {
    /// Port 0 stands for another port at each start, so the server cannot be found.
    NoPort,
    /// No connection, or no answer in time.
    Unreachable(io::Error),
    /// The answer is not one of HTTP.
    Malformed,
    /// The server answered with this status: 503 while it shuts down.
    Status(u16),
}

impl fmt::Display for HealthCheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HealthCheckError::NoPort => {
                f.write_str("--health-check needs a --listen address with a port other than 0")
            }
            HealthCheckError::Unreachable(error) => write!(f, "no answer: {error}"),
            HealthCheckError::Malformed => f.write_str("the answer is no response of HTTP"),
            HealthCheckError::Status(status) => write!(f, "the server answered {status}"),
        }
    }
}

impl std::error::Error for HealthCheckError {}

/// Asks the server that listens on `address` for `/health`.
///
/// # Errors
/// See [`HealthCheckError`].
pub fn check(address: SocketAddr) -> Result<(), HealthCheckError> {
    if address.port() == 0 {
        return Err(HealthCheckError::NoPort);
    }
    let address = reachable(address);
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_CHECK_TIMEOUT)
        .map_err(HealthCheckError::Unreachable)?;
    match status(&mut stream, address).map_err(HealthCheckError::Unreachable)? {
        Some(200) => Ok(()),
        Some(status) => Err(HealthCheckError::Status(status)),
        None => Err(HealthCheckError::Malformed),
    }
}

/// The loopback address in place of an unspecified one, to which no client connects.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The status of the response; `None` if there is no valid one.
fn status(stream: &mut TcpStream, address: SocketAddr) -> io::Result<Option<u16>> {
    stream.set_read_timeout(Some(HEALTH_CHECK_TIMEOUT))?;
    stream.set_write_timeout(Some(HEALTH_CHECK_TIMEOUT))?;
    let mut request = Vec::new();
    write_get_request(&mut request, &address.to_string(), "/health", &[("Connection", "close")]);
    stream.write_all(&request)?;
    let mut response = Vec::new();
    // The server closes the connection behind the response, which is short.
    stream.take(DEFAULT_HEAD_BYTES as u64).read_to_end(&mut response)?;
    let head = parse_response(&response, &mut HeadScan::default(), DEFAULT_HEAD_BYTES);
    Ok(head.ok().flatten().map(|(head, _)| head.status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// The result of a check against a server that answers with these bytes.
    fn answered(response: &'static [u8]) -> Result<(), HealthCheckError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(response).unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        });
        let result = check(SocketAddr::from(([0, 0, 0, 0], port)));
        let request = server.join().unwrap();
        assert!(request.starts_with("GET /health HTTP/1.1\r\n"), "{request}");
        result
    }

    #[test]
    fn is_healthy_only_if_the_answer_is_200() {
        assert!(answered(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").is_ok());
        let draining = answered(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
        assert!(matches!(draining, Err(HealthCheckError::Status(503))), "{draining:?}");
        for other in [&b"SSH-2.0-other\r\n"[..], b""] {
            let result = answered(other);
            assert!(matches!(result, Err(HealthCheckError::Malformed)), "{result:?}");
        }
        let no_port = check("127.0.0.1:0".parse().unwrap());
        assert!(matches!(no_port, Err(HealthCheckError::NoPort)), "{no_port:?}");
    }

    #[test]
    fn asks_the_loopback_in_place_of_an_unspecified_address() {
        for (listen, asked) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
