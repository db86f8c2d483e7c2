//! What a TCP socket has sent that its peer has not acknowledged, and how the kernel is kept from
//! holding it when the socket is closed. Called by shards.
//!
//! A socket that is closed while something is unacknowledged stays in the kernel as an orphan, with
//! its send buffer, for minutes if the peer does not read (tcp(7), `tcp_orphan_retries`).
#![allow(unsafe_code)]

use socket2::SockRef;
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

/// `tcpi_state` of a connection that no longer exists (`TCP_CLOSE` of the kernel).
const STATE_CLOSED: u8 = 7;

/// Bytes that were sent and that the peer has not acknowledged; the end of the stream counts as one
/// (SIOCOUTQ, tcp(7)). Zero if the connection is broken: then nothing is sent any more.
pub fn unacknowledged_bytes(socket: impl AsFd) -> usize {
    let socket = socket.as_fd();
    let mut queued: c_int = 0;
    // SAFETY: TIOCOUTQ, the same number as SIOCOUTQ, writes one int to `queued`, which is live for
    // the whole call; the descriptor is borrowed for as long.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) };
    // The count of a connection that was reset stays as it was.
    let is_open =
        outcome == 0 && queued > 0 && tcp_state(socket).is_ok_and(|state| state != STATE_CLOSED);
    if is_open { queued.unsigned_abs() as usize } else { 0 }
}

/// The state of a TCP connection: the first byte of `tcp_info` (tcp(7)).
fn tcp_state(socket: BorrowedFd<'_>) -> io::Result<u8> {
    let mut state = 0u8;
    let mut length = size_of::<u8>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `state`, and their number to `length`; both
    // are live for the whole call.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &raw mut length,
        )
    };
    if outcome == 0 { Ok(state) } else { Err(io::Error::last_os_error()) }
}

/// Makes close(2) reset the connection and drop what is unacknowledged (SO_LINGER with a time of
/// zero, socket(7)).
///
/// # Errors
/// The error of setsockopt(2).
pub fn reset_on_close(socket: impl AsFd) -> io::Result<()> {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))
}

/// Bounds how long the kernel keeps the socket after close(2) while its peer acknowledges nothing
/// (TCP_USER_TIMEOUT, tcp(7)).
///
/// # Errors
/// The error of setsockopt(2).
pub fn bound_orphan(socket: impl AsFd, timeout: Duration) -> io::Result<()> {
    SockRef::from(&socket).set_tcp_user_timeout(Some(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    /// Writes until neither the socket nor its peer can hold more.
    fn fill(socket: &mut TcpStream) {
        socket.set_nonblocking(true).unwrap();
        while socket.write(&[7; 65_536]).is_ok() {}
    }

    #[test]
    fn bytes_are_unacknowledged_while_the_peer_has_no_space_for_them() {
        let (mut ours, mut theirs) = pair();
        assert_eq!(unacknowledged_bytes(&ours), 0);
        fill(&mut ours);
        ours.shutdown(Shutdown::Write).unwrap();
        assert!(unacknowledged_bytes(&ours) > 0);
        // The acknowledgement of the last bytes and of the end may follow the last read.
        theirs.read_to_end(&mut Vec::new()).unwrap();
        while unacknowledged_bytes(&ours) > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn nothing_is_unacknowledged_after_a_reset() {
        let (mut ours, theirs) = pair();
        fill(&mut ours);
        reset_on_close(&theirs).unwrap();
        drop(theirs);
        // Loopback delivers the reset within close(2).
        assert_eq!(ours.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(unacknowledged_bytes(&ours), 0);
    }

    #[test]
    fn a_reset_drops_what_is_unacknowledged() {
        let (mut ours, mut theirs) = pair();
        fill(&mut ours);
        bound_orphan(&ours, Duration::from_secs(1)).unwrap();
        reset_on_close(&ours).unwrap();
        drop(ours);
        let error = theirs.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}
