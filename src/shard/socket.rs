//! A connection's socket as a shard holds it, and as it travels between shards.
//!
//! Where every shard has a descriptor table of its own, a socket in a letter is a number in
//! the sender's table, and means something else in the reader's. So a [`ShardSocket`] does nothing when
//! it is dropped: a letter that nobody reads closes no innocent descriptor. Whoever ends a
//! connection closes its line.

use mio::net::TcpStream;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

/// A socket that is closed by [`ShardSocket::close`] alone.
#[derive(Debug)]
pub struct ShardSocket(ManuallyDrop<TcpStream>);

impl ShardSocket {
    /// Closes the socket, which takes it out of the poll too (epoll(7)); in a table that has no
    /// other copy of it.
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
    fn a_line_that_is_dropped_stays_open_and_one_that_is_closed_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        // What becomes of a letter that nobody reads.
        drop(ShardSocket::from(TcpStream::from_std(ours)));
        theirs.set_nonblocking(true).unwrap();
        assert_eq!(theirs.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        ShardSocket::from(TcpStream::from_std(ours)).close();
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    }
}
