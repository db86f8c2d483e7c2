//! Crowds that come at once: when everybody was dropped, and when the server was started again.

use super::talk;
use crate::support::{Server, handshake, text_frame, until};
use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use switchboard::sys::descriptors;

/// How soon a crowd that is back at once has to be matched, all of it.
pub(crate) const MATCHED_WITHIN: Duration = Duration::from_secs(5);

/// So many users come and ask for a partner.
pub(crate) fn arrive(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let find = text_frame(br#"{"type":"find_match"}"#);
    let first = [handshake(), find].concat();
    let dial = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&first).unwrap();
        stream
    };
    (0..count).map(dial).collect()
}

/// How a crowd came back.
pub(crate) struct Back {
    /// From the server's start until all of them were matched.
    pub(crate) matched: Duration,
    /// How long messages of two took meanwhile, who were there first.
    pub(crate) relays: Vec<Duration>,
}

/// A server is killed with a crowd inside and started again at the same address, and everybody
/// comes back at once.
pub(crate) fn comes_back_after_a_restart(count: usize) -> Back {
    descriptors::raise_limit().unwrap();
    // Bound and never listening, it keeps the port from others while no server has it.
    let port = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    port.set_reuse_address(true).unwrap();
    port.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = port.local_addr().unwrap().as_socket().unwrap();
    let listen = ["--listen", &address.to_string()];
    let rooms = i64::try_from(count / 2).unwrap();
    let mut server = Server::start(&listen);
    let inside = arrive(address, count);
    server.until_figure("/rooms/active", rooms);
    server.signal("KILL");
    server.exit();
    drop((server, inside));
    let began = Instant::now();
    let server = Server::start(&listen);
    let (mut one, mut other, room) = server.pair();
    let crowd = std::thread::spawn(move || arrive(address, count));
    let mut relays = Vec::new();
    until("everybody is matched", || {
        relays.extend(talk(&mut one, &mut other, &room, 10));
        match server.figure("/rooms/active") {
            found if found == rooms + 1 => Ok(()),
            found => Err(format!("{found} rooms of {}", rooms + 1)),
        }
    });
    let matched = began.elapsed();
    drop(crowd.join().unwrap());
    Back { matched, relays }
}
