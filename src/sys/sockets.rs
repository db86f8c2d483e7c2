//! Listening sockets: one for each shard and address. The shards of this process share each address by
//! SO_REUSEPORT (socket(7)); no other process can. Called by the main thread.

use super::steering::steer_by_cpu;
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};

/// Options of the listeners.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions<'a> {
    /// Number of listeners for each address.
    pub shards: usize,
    /// Length of the accept queue of each listener (listen(2)).
    pub backlog: i32,
    /// SO_SNDBUF, which accepted sockets inherit; the kernel doubles it for its own
    /// bookkeeping. `None` lets the kernel size each connection's buffer by itself.
    pub send_buffer_bytes: Option<usize>,
    /// The CPUs of the shards, if the kernel is to give a new connection to the shard on whose CPU
    /// its packet arrived. `None` lets the kernel choose by a hash of the addresses.
    pub steer_to: Option<&'a [usize]>,
}

/// Why an address cannot be listened on. Each is one line for the operator.
#[derive(Debug)]
pub enum ListenError {
    /// Another process listens on it.
    Taken {
        /// The address.
        address: SocketAddr,
    },
    /// The port is reserved for privileged processes.
    Denied {
        /// The address.
        address: SocketAddr,
    },
    /// The machine does not have the address.
    NoSuchAddress {
        /// The address.
        address: SocketAddr,
    },
    /// Another error.
    Other {
        /// The address.
        address: SocketAddr,
        /// What failed, as a verb phrase.
        step: &'static str,
        /// The error of the system call.
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
                write!(f, "cannot listen on {address}: another process listens on that port")
            }
            ListenError::Denied { address } => {
                write!(
                    f,
                    "cannot listen on {address}: ports below 1024 require CAP_NET_BIND_SERVICE"
                )
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

/// Whether this machine has IPv6.
pub fn ipv6_exists() -> bool {
    let anywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))
        .and_then(|socket| socket.bind(&anywhere.into()))
        .is_ok()
}

/// Opens a listener for every shard and address. The outer vector has an element for each shard, the
/// inner ones have an element for each address, in the given order. All listeners are nonblocking and
/// close-on-exec. Accepted sockets inherit TCP_NODELAY and the send buffer size, but not the
/// nonblocking mode (accept(2)). Port 0 becomes one free port, the same for all shards.
///
/// # Errors
/// The first step that fails. Then no listener stays open.
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
            // The first listener binds and listens without SO_REUSEPORT, so it fails if another
            // process listens on the port. Once it listens, no other process can bind the port.
            // Only then is SO_REUSEPORT set, so that the listeners of the other shards can join.
            socket.bind(&address.into()).map_err(step("binding"))?;
            socket.listen(options.backlog).map_err(step("listening"))?;
            socket.set_reuse_port(true).map_err(step("setting SO_REUSEPORT"))?;
            let bound = socket.local_addr().map_err(step("reading the port"))?;
            resolved = bound.as_socket().unwrap_or(address);
        } else {
            socket.set_reuse_port(true).map_err(step("setting SO_REUSEPORT"))?;
            socket.bind(&resolved.into()).map_err(step("binding another shard's listener"))?;
            socket
                .listen(options.backlog)
                .map_err(step("listening on another shard's listener"))?;
        }
        sockets.push(socket);
    }
    // A single listener forms no SO_REUSEPORT group.
    if let (Some(cpus), [first, _, ..]) = (options.steer_to, &sockets[..]) {
        steer_by_cpu(first, cpus, options.shards).map_err(step("steering connections by CPU"))?;
    }
    Ok(sockets)
}

/// A socket with every option that must be set before bind(2).
fn open(address: SocketAddr, options: ListenOptions<'_>) -> Result<Socket, ListenStepError> {
    let step = |name: &'static str| move |error: io::Error| (name, error);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(step("opening a socket"))?;
    // Otherwise connections of an earlier run in TIME_WAIT would make bind(2) fail.
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
    fn refuses_a_port_that_is_listened_on_although_shards_share_it() {
        let first = listen(&[local("127.0.0.1:0")], TWO).unwrap();
        let address = first[0][0].local_addr().unwrap();
        assert_eq!(first[1][0].local_addr().unwrap(), address);
        let refused = listen(&[address], TWO);
        assert!(matches!(refused, Err(ListenError::Taken { address: a }) if a == address));
        drop(first);
        listen(&[address], TWO).expect("a port is free as soon as its listeners are closed");
    }

    #[test]
    fn spreads_connections_over_the_shards_of_every_address() {
        let addresses: Vec<SocketAddr> = ["127.0.0.1:0", "[::1]:0"]
            .into_iter()
            .map(local)
            .filter(|address| address.is_ipv4() || ipv6_exists())
            .collect();
        let shards = listen(&addresses, TWO).unwrap();
        for nth in 0..addresses.len() {
            let address = shards[0][nth].local_addr().unwrap();
            assert_ne!(address.port(), 0);
            // By chance all connections go to one of two listeners once in 2^63 runs.
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
    fn steers_a_connection_to_the_shard_of_the_cpu_where_its_packet_arrived() {
        use crate::sys::affinity::AllowedCpus;
        // On loopback that is the CPU on which the client runs.
        let cpus = AllowedCpus::of_current_thread();
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
        // Another process may take the same port for IPv6 in between; then it is tried again.
        let both = (0..16).find_map(|_| {
            let four = listen(&[local("127.0.0.1:0")], TWO).unwrap();
            let port = four[0][0].local_addr().unwrap().port();
            let six = listen(&[SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))], TWO).ok()?;
            Some((four, six))
        });
        assert!(both.is_some());
    }

    #[test]
    fn names_an_address_of_another_machine_in_one_line() {
        // 192.0.2.0/24 is reserved for documentation (RFC 5737), so no machine has it.
        let error = listen(&[local("192.0.2.1:0")], TWO).unwrap_err();
        assert!(matches!(error, ListenError::NoSuchAddress { .. }), "{error:?}");
        assert!(!error.to_string().contains('\n'));
    }
}
