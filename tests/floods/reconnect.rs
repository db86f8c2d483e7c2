//! Many users who connect at once: after all connections were closed, and after a restart of the
//! server.

use super::relay_times;
use crate::support::{Server, text_frame, upgrade_request, wait_until};
use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use switchboard::sys::descriptors;

/// Time limit for matching all users who reconnect at once.
pub(crate) const MATCHED_WITHIN: Duration = Duration::from_secs(5);

/// Connects `count` users, each of whom requests a partner.
pub(crate) fn connect_users(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let find = text_frame(br#"{"type":"find_match"}"#);
    let first = [upgrade_request(), find].concat();
    let connect = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&first).unwrap();
        stream
    };
    (0..count).map(connect).collect()
}

/// The result of [`reconnect_after_restart`].
pub(crate) struct ReconnectResult {
    /// Time from the start of the server until all users were matched.
    pub(crate) matched: Duration,
    /// Relay times of a pair that was connected before the others.
    pub(crate) relays: Vec<Duration>,
}

/// Kills a server with `count` connected users, starts it again at the same address, and
/// reconnects all of them at once.
pub(crate) fn reconnect_after_restart(count: usize) -> ReconnectResult {
    descriptors::raise_limit().unwrap();
    // This socket is bound and never listens: it reserves the port while no server uses it.
    let port = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    port.set_reuse_address(true).unwrap();
    port.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = port.local_addr().unwrap().as_socket().unwrap();
    let listen = ["--listen", &address.to_string()];
    let rooms = i64::try_from(count / 2).unwrap();
    let mut server = Server::start(&listen);
    let connected = connect_users(address, count);
    server.wait_for_stat("/rooms/active", rooms);
    server.send_signal("KILL");
    server.wait_for_exit();
    drop((server, connected));
    let began = Instant::now();
    let server = Server::start(&listen);
    let (mut one, mut other, room) = server.matched_pair();
    let users = std::thread::spawn(move || connect_users(address, count));
    let mut relays = Vec::new();
    wait_until("all users are matched", || {
        relays.extend(relay_times(&mut one, &mut other, &room, 10));
        match server.stat("/rooms/active") {
            found if found == rooms + 1 => Ok(()),
            found => Err(format!("{found} rooms of {}", rooms + 1)),
        }
    });
    let matched = began.elapsed();
    drop(users.join().unwrap());
    ReconnectResult { matched, relays }
}
