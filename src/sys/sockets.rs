//! Listening sockets: one for each shard and address, sharing each address by SO_REUSEPORT
//! among the shards of this process and with nobody else. Called by the main thread before
//! any other thread starts.

use super::steering::steer_by_cpu;
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};

/// How the listeners are made.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions<'a> {
    /// Listeners for each address.
    pub shards: usize,
    /// Pending connections the kernel keeps for each of them (listen(2)).
    pub backlog: i32,
    /// SO_SNDBUF, which accepted sockets inherit; the kernel doubles it for its own
    /// bookkeeping. `None` lets the kernel size each connection's buffer by itself.
    pub send_buffer_bytes: Option<usize>,
    /// The CPUs that shards are pinned to, if newcomers go to the shard on whose CPU they
    /// arrive; else the kernel spreads them by a hash of their addresses.
    pub steer_to: Option<&'a [usize]>,
}

/// Why there is no listener, as one line for an operator.
#[derive(Debug)]
pub enum ListenError {
    /// Somebody else listens there.
    Taken {
        /// Where.
        address: SocketAddr,
    },
    /// The port is for privileged processes only.
    Denied {
        /// Where.
        address: SocketAddr,
    },
    /// This machine does not have that address.
    NoSuchAddress {
        /// Which.
        address: SocketAddr,
    },
    /// Anything else.
    Other {
        /// Where.
        address: SocketAddr,
        /// What was being done, as a verb phrase.
        step: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl ListenError {
    fn new(address: SocketAddr, step: &'static str, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::Taken { address },
            io::ErrorKind::PermissionDenied => ListenError::Denied { address },
            io::ErrorKind::AddrNotAvailable => ListenError::NoSuchAddress { address },
            _ => ListenError::Other { address, step, error },
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::Taken { address } => {
                write!(f, "cannot listen on {address}: another process holds that port")
            }
            ListenError::Denied { address } => {
                write!(f, "cannot listen on {address}: ports below 1024 need CAP_NET_BIND_SERVICE")
            }
            ListenError::NoSuchAddress { address } => {
                write!(f, "cannot listen on {address}: this machine does not have that address")
            }
            ListenError::Other { address, step, error } => {
                write!(f, "cannot listen on {address}: {step}: {error}")
            }
        }
    }
}

impl std::error::Error for ListenError {}

/// Whether this machine can listen on IPv6 at all.
pub fn ipv6_exists() -> bool {
    let anywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))
        .and_then(|socket| socket.bind(&anywhere.into()))
        .is_ok()
}

/// Listens on every address, once for each shard. The outer vector has an element for each
/// shard, the inner ones an element for each address, in the order given. All are nonblocking
/// and closed on exec; what they accept inherits TCP_NODELAY and the send buffer size, but not
/// the nonblocking mode (accept(2)). Port 0 becomes one free port, the same for all shards.
///
/// # Errors
/// The first thing that fails; nothing stays open then.
pub fn listen(
    addresses: &[SocketAddr],
    options: ListenOptions<'_>,
) -> Result<Vec<Vec<TcpListener>>, ListenError> {
    let mut by_shard: Vec<Vec<TcpListener>> = (0..options.shards).map(|_| Vec::new()).collect();
    for &address in addresses {
        let sockets = listen_at(address, options)
            .map_err(|(step, error)| ListenError::new(address, step, error))?;
        for (listeners, socket) in by_shard.iter_mut().zip(sockets) {
            listeners.push(socket.into());
        }
    }
    Ok(by_shard)
}

type ListenStepError = (&'static str, io::Error);

fn listen_at(
    address: SocketAddr,
    options: ListenOptions<'_>,
) -> Result<Vec<Socket>, ListenStepError> {
    let step = |name: &'static str| move |error: io::Error| (name, error);
    let mut sockets = Vec::with_capacity(options.shards);
    let mut resolved = address;
    for nth in 0..options.shards {
        let socket = open(address, options)?;
        if nth == 0 {
            // The first binds and listens without SO_REUSEPORT: so a port that anybody else
            // listens on is an error. From then on it listens, so nobody else can bind it
            // either; only now does it let the others in beside it.
            socket.bind(&address.into()).map_err(step("binding"))?;
            socket.listen(options.backlog).map_err(step("listening"))?;
            socket.set_reuse_port(true).map_err(step("setting SO_REUSEPORT"))?;
            let bound = socket.local_addr().map_err(step("reading the port"))?;
            resolved = bound.as_socket().unwrap_or(address);
        } else {
            socket.set_reuse_port(true).map_err(step("setting SO_REUSEPORT"))?;
            socket.bind(&resolved.into()).map_err(step("binding beside the first shard"))?;
            socket.listen(options.backlog).map_err(step("listening beside the first shard"))?;
        }
        sockets.push(socket);
    }
    // One listener alone is no group to choose from.
    if let (Some(cpus), [first, _, ..]) = (options.steer_to, &sockets[..]) {
        steer_by_cpu(first, cpus, options.shards).map_err(step("steering newcomers by CPU"))?;
    }
    Ok(sockets)
}

/// A socket with every option that has to be there before it is bound.
fn open(address: SocketAddr, options: ListenOptions<'_>) -> Result<Socket, ListenStepError> {
    let step = |name: &'static str| move |error: io::Error| (name, error);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(step("opening a socket"))?;
    // Connections of an earlier run that are still in TIME_WAIT must not keep this one out.
    socket.set_reuse_address(true).map_err(step("setting SO_REUSEADDR"))?;
    if address.is_ipv6() {
        socket.set_only_v6(true).map_err(step("setting IPV6_V6ONLY"))?;
    }
    socket.set_tcp_nodelay(true).map_err(step("setting TCP_NODELAY"))?;
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes).map_err(step("setting SO_SNDBUF"))?;
    }
    socket.set_nonblocking(true).map_err(step("setting O_NONBLOCK"))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use std::net::TcpStream;
    use std::time::Duration;

    const TWO: ListenOptions<'_> =
        ListenOptions { shards: 2, backlog: 256, send_buffer_bytes: Some(65_536), steer_to: None };

    fn local(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn accept_all(listener: &TcpListener) -> Vec<TcpStream> {
        let mut accepted = Vec::new();
        loop {
            match listener.accept() {
                Ok((stream, _)) => accepted.push(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return accepted,
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_port_that_is_listened_on_is_taken_though_it_is_shared_within() {
        let first = listen(&[local("127.0.0.1:0")], TWO).unwrap();
        let address = first[0][0].local_addr().unwrap();
        assert_eq!(first[1][0].local_addr().unwrap(), address);
        let refused = listen(&[address], TWO);
        assert!(matches!(refused, Err(ListenError::Taken { address: a }) if a == address));
        drop(first);
        listen(&[address], TWO).expect("a port that was given back is free at once");
    }

    #[test]
    fn connections_spread_over_the_shards_of_every_address() {
        let addresses: Vec<SocketAddr> = ["127.0.0.1:0", "[::1]:0"]
            .into_iter()
            .map(local)
            .filter(|address| address.is_ipv4() || ipv6_exists())
            .collect();
        let shards = listen(&addresses, TWO).unwrap();
        for nth in 0..addresses.len() {
            let address = shards[0][nth].local_addr().unwrap();
            assert_ne!(address.port(), 0);
            // All on one of two by chance: once in 2^63 runs.
            let clients: Vec<TcpStream> = (0..64)
                .map(|_| TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap())
                .collect();
            let accepted: Vec<usize> =
                shards.iter().map(|listeners| accept_all(&listeners[nth]).len()).collect();
            assert_eq!(accepted.iter().sum::<usize>(), clients.len());
            assert!(accepted.iter().all(|&count| count > 0), "{accepted:?}");
        }
    }

    #[test]
    fn a_newcomer_goes_to_the_shard_of_the_cpu_that_its_packet_came_to() {
        use crate::sys::affinity::AllowedCpus;
        // On loopback that is the CPU which the client runs on.
        let cpus = AllowedCpus::here();
        let steer_to = Some(cpus.numbers());
        let shards = cpus.numbers().len();
        let listeners =
            listen(&[local("127.0.0.1:0")], ListenOptions { shards, steer_to, ..TWO }).unwrap();
        let address = listeners[0][0].local_addr().unwrap();
        for shard in (0..shards).chain((0..shards).rev()) {
            let cpus = cpus.clone();
            let connect = move || {
                cpus.pin_current_thread(shard).unwrap();
                (0..8).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>()
            };
            let clients = std::thread::spawn(connect).join().unwrap();
            for (nth, listener) in listeners.iter().enumerate() {
                let expected = if nth == shard { clients.len() } else { 0 };
                assert_eq!(accept_all(&listener[0]).len(), expected, "CPU {shard}, shard {nth}");
            }
        }
    }

    #[test]
    fn accepted_sockets_inherit_no_delay_and_the_send_buffer() {
        let shards = listen(&[local("127.0.0.1:0")], TWO).unwrap();
        let address = shards[0][0].local_addr().unwrap();
        let clients: Vec<TcpStream> =
            (0..32).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut seen = 0;
        for listeners in &shards {
            for stream in accept_all(&listeners[0]) {
                assert!(stream.nodelay().unwrap());
                assert_eq!(SockRef::from(&stream).send_buffer_size().unwrap(), 2 * 65_536);
                seen += 1;
            }
        }
        assert_eq!(seen, clients.len());
    }

    #[test]
    fn ipv4_and_ipv6_listeners_share_a_port_number() {
        if !ipv6_exists() {
            return;
        }
        // Somebody else may take the same number on the other family in between; then again.
        let both = (0..16).find_map(|_| {
            let four = listen(&[local("127.0.0.1:0")], TWO).unwrap();
            let port = four[0][0].local_addr().unwrap().port();
            let six = listen(&[SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))], TWO).ok()?;
            Some((four, six))
        });
        assert!(both.is_some());
    }

    #[test]
    fn an_address_of_another_machine_is_named_in_one_line() {
        // 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
        let error = listen(&[local("192.0.2.1:0")], TWO).unwrap_err();
        assert!(matches!(error, ListenError::NoSuchAddress { .. }), "{error:?}");
        assert!(!error.to_string().contains('\n'));
    }
}
