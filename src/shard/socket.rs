//! The socket of a connection, as a shard owns it and as it is sent to other shards.
//!
//! Where every shard has a descriptor table of its own, a socket in a command is a number in the
//! sender's table, and means another socket or none in the receiver's. So dropping a
//! [`ShardSocket`] does nothing: a command that is never received closes no unrelated descriptor.
//! The code that ends a connection closes its socket.

use mio::net::TcpStream;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

/// A socket that only [`ShardSocket::close`] closes.
#[derive(Debug)]
pub struct ShardSocket(ManuallyDrop<TcpStream>);

impl ShardSocket {
    /// Closes the socket, which also removes it from the poll (epoll(7)), in a table that has no
    /// other descriptor for it.
    pub fn close(self) {
        drop(ManuallyDrop::into_inner(self.0));
    }
}

impl From<TcpStream> for ShardSocket {
    fn from(socket: TcpStream) -> Self {
        ShardSocket(ManuallyDrop::new(socket))
    }
}

impl Deref for ShardSocket {
    type Target = TcpStream;

    #[inline]
    fn deref(&self) -> &TcpStream {
        &self.0
    }
}

impl DerefMut for ShardSocket {
    #[inline]
    fn deref_mut(&mut self) -> &mut TcpStream {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read};
    use std::net::TcpListener;

    #[test]
    fn stays_open_when_it_is_dropped_and_closes_when_it_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        // As in a command that is never received.
        drop(ShardSocket::from(TcpStream::from_std(ours)));
        theirs.set_nonblocking(true).unwrap();
        assert_eq!(theirs.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        ShardSocket::from(TcpStream::from_std(ours)).close();
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    }
}
