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

/// The beginning of `tcp_info` (tcp(7)): 8 fields of a byte, then 13 of 4 bytes.
type TcpInfo = [u32; 15];

const UNACKED: usize = 6;
const LAST_DATA_SENT: usize = 11;
const LAST_ACK_RECV: usize = 14;

/// Bytes that were sent and that the peer has not acknowledged; the end of the stream counts as one
/// (SIOCOUTQ, tcp(7)). Zero if the connection is broken: then nothing is sent any more.
pub fn unacknowledged_bytes(socket: impl AsFd) -> usize {
    let socket = socket.as_fd();
    let mut queued: c_int = 0;
    // SAFETY: TIOCOUTQ, the same number as SIOCOUTQ, writes one int to `queued`, which is live for
    // the whole call; the descriptor is borrowed for as long.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) };
    // The count of a connection that was reset stays as it was.
    let is_open = outcome == 0
        && queued > 0
        && tcp_info(socket).is_ok_and(|info| info[0].to_ne_bytes()[0] != STATE_CLOSED);
    if is_open { queued.unsigned_abs() as usize } else { 0 }
}

/// How long ago the peer made progress with what it was sent, if more than `bytes` are
/// unacknowledged: it acknowledged something, and if nothing is on its way, because the peer has no
/// space, something was sent since. So answers to probes of a peer that takes nothing do not count.
pub fn progress_age(socket: impl AsFd, bytes: usize) -> Option<Duration> {
    let socket = socket.as_fd();
    if unacknowledged_bytes(socket) <= bytes {
        return None;
    }
    let info = tcp_info(socket).ok()?;
    let sent_ms = if info[UNACKED] > 0 { 0 } else { info[LAST_DATA_SENT] };
    Some(Duration::from_millis(info[LAST_ACK_RECV].max(sent_ms).into()))
}

fn tcp_info(socket: BorrowedFd<'_>) -> io::Result<TcpInfo> {
    let mut info = TcpInfo::default();
    let mut length = size_of::<TcpInfo>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `info`, and their number to `length`; both
    // are live for the whole call.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    if outcome == 0 { Ok(info) } else { Err(io::Error::last_os_error()) }
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
    fn a_peer_that_reads_makes_progress_and_one_that_only_answers_probes_does_not() {
        let (mut ours, mut theirs) = pair();
        assert_eq!(progress_age(&ours, 0), None);
        fill(&mut ours);
        assert_eq!(progress_age(&ours, usize::MAX), None);
        // The kernel probes a peer without space at least once within this time.
        let age = || progress_age(&ours, 16).expect("much is unacknowledged");
        while age() < Duration::from_millis(600) {
            std::thread::yield_now();
        }
        let mut most = vec![0; 1 << 20];
        while age() >= Duration::from_millis(300) {
            theirs.read_exact(&mut most).unwrap();
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
