//! The local addresses that connections are opened from, and how they are opened.

use crate::sys::outbound::defer_port_choice;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// Limit of connections from one address to one destination: below the 28,232 ports that Linux
/// has for them by default (`net.ipv4.ip_local_port_range`).
pub const CONNECTIONS_PER_SOURCE: u64 = 25_000;
/// Connections from one address when there are more addresses to choose from. The kernel tries
/// every second port first, and the other 14,116 ports only when all of those are taken: from
/// there on each `connect` tries 14,116 ports in vain (`__inet_hash_connect`), which takes a
/// millisecond.
const COMFORTABLE_PER_SOURCE: u64 = 10_000;

/// The local addresses to connect from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceAddresses {
    /// The system chooses the address.
    System,
    /// A range of addresses, used in turn.
    Range {
        /// The first address.
        first: Ipv4Addr,
        /// Number of addresses.
        count: u32,
    },
}

impl SourceAddresses {
    /// Parses `auto`, `none`, an address or a range like `127.0.0.0/8`, and takes as many addresses
    /// as `connections` to `server` need.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn parse(text: &str, server: SocketAddr, connections: u64) -> Result<Self, String> {
        let wanted = u32::try_from(connections.div_ceil(COMFORTABLE_PER_SOURCE).max(1))
            .map_err(|_| "too many connections".to_owned())?;
        let malformed =
            || format!("`{text}` is not a source like `auto`, `10.0.0.7` or `127.0.0.0/8`");
        let (first, count) = match text {
            "none" => return Ok(SourceAddresses::System),
            "auto" => match server.ip() {
                IpAddr::V4(ip) if ip.is_loopback() && wanted > 1 => (Ipv4Addr::LOCALHOST, u32::MAX),
                _ => return Ok(SourceAddresses::System),
            },
            _ => match text.split_once('/') {
                None => (text.parse().map_err(|_| malformed())?, 1),
                Some((network, bits)) => {
                    let network: Ipv4Addr = network.parse().map_err(|_| malformed())?;
                    let bits: u32 = bits.parse().map_err(|_| malformed())?;
                    let size = match bits {
                        8..=31 => 1u32 << (32 - bits),
                        32 => 1,
                        _ => return Err(malformed()),
                    };
                    // The first and last address of a network are not hosts.
                    let skip = u32::from(size > 2);
                    let first = Ipv4Addr::from_bits((network.to_bits() & !(size - 1)) + skip);
                    (first, size - 2 * skip)
                }
            },
        };
        if server.is_ipv6() {
            return Err(format!("source `{text}` cannot reach {server}, which is IPv6"));
        }
        Ok(SourceAddresses::Range { first, count: count.min(wanted) })
    }

    /// How many simultaneous connections to one destination the addresses allow, when each has
    /// `ports` ports.
    pub fn capacity(&self, ports: u64) -> u64 {
        match self {
            SourceAddresses::System => ports,
            SourceAddresses::Range { count, .. } => {
                CONNECTIONS_PER_SOURCE.min(ports) * u64::from(*count)
            }
        }
    }

    /// The first or last address of the range, if it cannot be bound on this machine.
    pub fn first_unbindable(&self) -> Option<IpAddr> {
        let SourceAddresses::Range { first, count } = self else { return None };
        let last = Ipv4Addr::from_bits(first.to_bits().saturating_add(count - 1));
        let is_foreign = |address: &Ipv4Addr| UdpSocket::bind((*address, 0)).is_err();
        [*first, last].into_iter().find(is_foreign).map(IpAddr::V4)
    }

    /// The local address of connection number `number`.
    fn address(&self, number: u64) -> Option<IpAddr> {
        match self {
            SourceAddresses::System => None,
            SourceAddresses::Range { first, count } => {
                let step = (number % u64::from(*count)) as u32;
                Some(Ipv4Addr::from_bits(first.to_bits().wrapping_add(step)).into())
            }
        }
    }

    /// Begins to open connection number `number` to `server`, without waiting for it.
    pub fn connect(&self, server: SocketAddr, number: u64) -> io::Result<mio::net::TcpStream> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(server), kind, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if let Some(address) = self.address(number) {
            // If this fails, ports run out earlier and nothing else changes.
            let _ = defer_port_choice(&socket);
            socket.bind(&SocketAddr::new(address, 0).into())?;
        }
        match socket.connect(&server.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(mio::net::TcpStream::from_std(socket.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, connections: u64) -> Result<SourceAddresses, String> {
        SourceAddresses::parse(text, SocketAddr::from(([127, 0, 0, 1], 80)), connections)
    }

    #[test]
    fn uses_several_loopback_addresses_for_many_connections() {
        assert_eq!(parse("auto", 10_000), Ok(SourceAddresses::System));
        let first = Ipv4Addr::LOCALHOST;
        assert_eq!(parse("auto", 20_001), Ok(SourceAddresses::Range { first, count: 3 }));
        assert_eq!(parse("127.0.0.0/8", 20_001), Ok(SourceAddresses::Range { first, count: 3 }));
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 80));
        assert_eq!(SourceAddresses::parse("auto", elsewhere, 50_001), Ok(SourceAddresses::System));
    }

    #[test]
    fn uses_the_addresses_in_turn() {
        let sources = parse("127.0.1.0/30", u64::from(u32::MAX)).unwrap();
        let used: Vec<_> = (0..3).map(|n| sources.address(n).unwrap().to_string()).collect();
        assert_eq!(used, ["127.0.1.1", "127.0.1.2", "127.0.1.1"]);
    }

    #[test]
    fn detects_an_address_that_does_not_belong_to_this_machine() {
        assert_eq!(parse("127.0.0.0/8", 100_000).unwrap().first_unbindable(), None);
        // RFC 5737: an address for documentation, which no machine has.
        let foreign = parse("192.0.2.7", 1).unwrap().first_unbindable();
        assert_eq!(foreign, Some(IpAddr::from([192, 0, 2, 7])));
    }

    #[test]
    fn rejects_malformed_sources() {
        for text in ["127.0.0.0/33", "127.0.0.0/4", "here", "1.2.3/8", "127.0.0.0/x"] {
            assert!(parse(text, 1).unwrap_err().contains(text), "{text}");
        }
        let six: SocketAddr = "[::1]:80".parse().unwrap();
        assert!(SourceAddresses::parse("127.0.0.1", six, 1).is_err());
    }
}
