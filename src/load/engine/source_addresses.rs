//! From which addresses and how connections are opened.

use crate::sys::outbound::defer_port;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// Connections from one address to one destination at the most: fewer than the 28,232 ports that
/// Linux has for them by default (`net.ipv4.ip_local_port_range`).
pub const CONNECTIONS_PER_SOURCE: u64 = 25_000;
/// Connections from one address where there are others to choose from. The kernel looks at every
/// second port first, and only when those 14,116 are all taken at the others: from there on each
/// `connect` goes through 14,116 ports in vain (`__inet_hash_connect`), which takes a millisecond.
const COMFORTABLE_PER_SOURCE: u64 = 10_000;

/// The addresses that connections come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceAddresses {
    /// The system chooses.
    System,
    /// So many from this one on, by turns.
    Range {
        /// The first address.
        first: Ipv4Addr,
        /// How many.
        count: u32,
    },
}

impl SourceAddresses {
    /// Reads `auto`, `none`, an address or a range like `127.0.0.0/8`, for so many connections
    /// to `server`.
    ///
    /// # Errors
    /// One line about what is wrong.
    pub fn parse(text: &str, server: SocketAddr, connections: u64) -> Result<Self, String> {
        let wanted = u32::try_from(connections.div_ceil(COMFORTABLE_PER_SOURCE).max(1))
            .map_err(|_| "too many connections".to_owned())?;
        let wrong = || format!("`{text}` is not a source like `auto`, `10.0.0.7` or `127.0.0.0/8`");
        let (first, count) = match text {
            "none" => return Ok(SourceAddresses::System),
            "auto" => match server.ip() {
                IpAddr::V4(ip) if ip.is_loopback() && wanted > 1 => (Ipv4Addr::LOCALHOST, u32::MAX),
                _ => return Ok(SourceAddresses::System),
            },
            _ => match text.split_once('/') {
                None => (text.parse().map_err(|_| wrong())?, 1),
                Some((network, bits)) => {
                    let network: Ipv4Addr = network.parse().map_err(|_| wrong())?;
                    let bits: u32 = bits.parse().map_err(|_| wrong())?;
                    let size = match bits {
                        8..=31 => 1u32 << (32 - bits),
                        32 => 1,
                        _ => return Err(wrong()),
                    };
                    // The network's own address and its last one are no hosts.
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

    /// How many connections to one destination they can carry at once, where the system has so
    /// many `ports`.
    pub fn capacity(&self, ports: u64) -> u64 {
        match self {
            SourceAddresses::System => ports,
            SourceAddresses::Range { count, .. } => {
                CONNECTIONS_PER_SOURCE.min(ports) * u64::from(*count)
            }
        }
    }

    /// The first or last of the addresses that are to be used, if it cannot be bound here.
    pub fn first_unbindable(&self) -> Option<IpAddr> {
        let SourceAddresses::Range { first, count } = self else { return None };
        let last = Ipv4Addr::from_bits(first.to_bits().saturating_add(count - 1));
        let is_foreign = |address: &Ipv4Addr| UdpSocket::bind((*address, 0)).is_err();
        [*first, last].into_iter().find(is_foreign).map(IpAddr::V4)
    }

    /// The address for connection number `number`.
    fn address(&self, number: u64) -> Option<IpAddr> {
        match self {
            SourceAddresses::System => None,
            SourceAddresses::Range { first, count } => {
                let step = (number % u64::from(*count)) as u32;
                Some(Ipv4Addr::from_bits(first.to_bits().wrapping_add(step)).into())
            }
        }
    }

    /// Begins connection number `number` to `server`, without waiting for it.
    pub fn dial(&self, server: SocketAddr, number: u64) -> io::Result<mio::net::TcpStream> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(server), kind, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if let Some(address) = self.address(number) {
            // Without the option, ports run out earlier, but nothing else is different.
            let _ = defer_port(&socket);
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
    fn many_connections_on_loopback_get_many_addresses() {
        assert_eq!(parse("auto", 10_000), Ok(SourceAddresses::System));
        let first = Ipv4Addr::LOCALHOST;
        assert_eq!(parse("auto", 20_001), Ok(SourceAddresses::Range { first, count: 3 }));
        assert_eq!(parse("127.0.0.0/8", 20_001), Ok(SourceAddresses::Range { first, count: 3 }));
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 80));
        assert_eq!(SourceAddresses::parse("auto", elsewhere, 50_001), Ok(SourceAddresses::System));
    }

    #[test]
    fn addresses_are_used_by_turns() {
        let sources = parse("127.0.1.0/30", u64::from(u32::MAX)).unwrap();
        let used: Vec<_> = (0..3).map(|n| sources.address(n).unwrap().to_string()).collect();
        assert_eq!(used, ["127.0.1.1", "127.0.1.2", "127.0.1.1"]);
    }

    #[test]
    fn an_address_of_another_machine_is_noticed_before_it_is_used() {
        assert_eq!(parse("127.0.0.0/8", 100_000).unwrap().first_unbindable(), None);
        // RFC 5737: an address of nobody's.
        let foreign = parse("192.0.2.7", 1).unwrap().first_unbindable();
        assert_eq!(foreign, Some(IpAddr::from([192, 0, 2, 7])));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["127.0.0.0/33", "127.0.0.0/4", "here", "1.2.3/8", "127.0.0.0/x"] {
            assert!(parse(text, 1).unwrap_err().contains(text), "{text}");
        }
        let six: SocketAddr = "[::1]:80".parse().unwrap();
        assert!(SourceAddresses::parse("127.0.0.1", six, 1).is_err());
    }
}
