//! A socket option for clients that open very many connections.
#![allow(unsafe_code)]

use socket2::Socket;
use std::io;
use std::os::fd::AsRawFd;

/// Lets a socket be bound to a source address without taking a port yet
/// (`IP_BIND_ADDRESS_NO_PORT`, ip(7), Linux ≥ 4.2). The port is chosen at connect(2), when the
/// destination is known, so that one port can serve one connection to each destination.
///
/// # Errors
/// On kernels without the option. The bind then still works, with fewer ports.
pub fn defer_port_choice(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    let fd = socket.as_raw_fd();
    let (value, length) = ((&raw const on).cast(), size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: `on` is live for the whole call and `length` is its size.
    let outcome = unsafe {
        libc::setsockopt(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, value, length)
    };
    if outcome != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Type};
    use std::net::SocketAddr;

    #[test]
    fn a_bound_socket_has_no_port_until_it_connects() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        defer_port_choice(&socket).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        let local = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!((local.ip().to_string().as_str(), local.port()), ("127.0.0.2", 0));
    }
}
