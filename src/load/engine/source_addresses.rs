//! The local addresses that connections are opened from, and how they are opened.

use crate::load::target_address::TargetAddress;
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
        /// Distance between two addresses in turn; it has no factor in common with `count`, so
        /// that each address is used once before one is used again.
        stride: u32,
    },
}

impl SourceAddresses {
    /// Parses `auto`, `none`, an address or a range like `127.0.0.0/8`. The connections are spread
    /// over the whole range. `auto` takes as many addresses as `connections` to `server` need.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn parse(text: &str, server: SocketAddr, connections: u64) -> Result<Self, String> {
        let wanted = u32::try_from(connections.div_ceil(COMFORTABLE_PER_SOURCE).max(1))
            .map_err(|_| "too many connections".to_owned())?;
        let malformed =
            || format!("`{text}` is not a source like `auto`, `10.0.0.7` or `127.0.0.0/8`");
        let range = match text {
            "none" => return Ok(SourceAddresses::System),
            "auto" => match server.ip() {
                IpAddr::V4(ip) if ip.is_loopback() && wanted > 1 => {
                    SourceAddresses::Range { first: Ipv4Addr::LOCALHOST, count: wanted, stride: 1 }
                }
                _ => return Ok(SourceAddresses::System),
            },
            _ => match text.split_once('/') {
                None => spread_over(text.parse().map_err(|_| malformed())?, 1),
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
                    spread_over(first, size - 2 * skip)
                }
            },
        };
        if server.is_ipv6() {
            return Err(format!("source `{text}` cannot reach {server}, which is IPv6"));
        }
        Ok(range)
    }

    /// The sources of `connections` to `server`, which is left with the addresses that can be reached
    /// from them.
    ///
    /// # Errors
    /// One line that says what is wrong with `text`.
    pub fn choose(
        text: &str,
        server: &mut TargetAddress,
        connections: u64,
    ) -> Result<Self, String> {
        let v4 = server.addresses.iter().copied().find(SocketAddr::is_ipv4);
        if let Some(v4) = v4.filter(|_| text.contains('.')) {
            // The source is an IPv4 address or network.
            server.address = v4;
        }
        let sources = SourceAddresses::parse(text, server.address, connections)?;
        if let SourceAddresses::Range { .. } = sources {
            // The sources are IPv4 addresses; the first address of the server is one too.
            server.addresses.retain(SocketAddr::is_ipv4);
        }
        Ok(sources)
    }

    /// How many simultaneous connections to one destination the addresses allow, when each has
    /// `ports` ports.
    pub fn capacity(&self, ports: u64) -> u64 {
        match self {
            SourceAddresses::System => ports,
            SourceAddresses::Range { count, .. } => {
                CONNECTIONS_PER_SOURCE.min(ports).saturating_mul((*count).into())
            }
        }
    }

    /// The first or last address of the range, if it cannot be bound on this machine.
    pub fn first_unbindable(&self) -> Option<IpAddr> {
        let SourceAddresses::Range { first, count, .. } = self else { return None };
        let last = Ipv4Addr::from_bits(first.to_bits().saturating_add(count - 1));
        let is_foreign = |address: &Ipv4Addr| UdpSocket::bind((*address, 0)).is_err();
        [*first, last].into_iter().find(is_foreign).map(IpAddr::V4)
    }

    /// The local address of connection number `number`.
    fn address(&self, number: u64) -> Option<IpAddr> {
        match self {
            SourceAddresses::System => None,
            SourceAddresses::Range { first, count, stride } => {
                let step = (number % u64::from(*count) * u64::from(*stride)) % u64::from(*count);
                let step = step as u32;
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

/// `count` addresses from `first` on, with a stride near the golden section of the range: any number
/// of successive connections is then spread evenly over the range.
fn spread_over(first: Ipv4Addr, count: u32) -> SourceAddresses {
    const GOLDEN_SECTION: f64 = 0.618_033_988_749_895;
    let has_common_factor = |stride: &u32| {
        let (mut a, mut b) = (count, *stride);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a != 1
    };
    let mut stride = ((f64::from(count) * GOLDEN_SECTION) as u32).max(1);
    while has_common_factor(&stride) {
        stride += 1;
    }
    SourceAddresses::Range { first, count, stride }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn parse(text: &str, connections: u64) -> Result<SourceAddresses, String> {
        SourceAddresses::parse(text, SocketAddr::from(([127, 0, 0, 1], 80)), connections)
    }

    #[test]
    fn uses_several_loopback_addresses_for_many_connections() {
        assert_eq!(parse("auto", 10_000), Ok(SourceAddresses::System));
        let first = Ipv4Addr::LOCALHOST;
        assert_eq!(
            parse("auto", 20_001),
            Ok(SourceAddresses::Range { first, count: 3, stride: 1 })
        );
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 80));
        assert_eq!(SourceAddresses::parse("auto", elsewhere, 50_001), Ok(SourceAddresses::System));
    }

    #[test]
    fn spreads_few_connections_over_the_whole_range() {
        let sources = parse("127.0.0.0/8", 40).unwrap();
        let address = |n| match sources.address(n).unwrap() {
            IpAddr::V4(address) => address.to_bits() - Ipv4Addr::LOCALHOST.to_bits(),
            IpAddr::V6(_) => panic!(),
        };
        let mut used: Vec<u32> = (0..40).map(address).collect();
        used.sort_unstable();
        let gaps = used.windows(2).map(|pair| pair[1] - pair[0]);
        let even = (1 << 24) / 40;
        assert!(gaps.clone().all(|gap| (even / 3..even * 3).contains(&gap)), "{used:?}");
        // Each address is used once before one is used again, whatever the size of the range.
        for bits in 22..=32 {
            let sources = parse(&format!("127.0.0.0/{bits}"), 1).unwrap();
            let SourceAddresses::Range { count, .. } = sources else { panic!() };
            let used: BTreeSet<_> = (0..count.into()).map(|n| sources.address(n)).collect();
            assert_eq!(used.len(), count as usize, "/{bits}");
        }
    }

    #[test]
    fn uses_the_addresses_round_robin() {
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
