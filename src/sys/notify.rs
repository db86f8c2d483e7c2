//! Messages to the service manager by the protocol of sd_notify(3): datagrams of `NAME=value` lines to
//! the socket in `NOTIFY_SOCKET`. The main thread owns it.
//!
//! The socket is opened once and kept. A socket for each message could not be opened when descriptors
//! have run out; the manager would then miss the watchdog messages, take a full server for a stuck
//! one, and kill it.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Longest wait for space in the manager's queue.
const SEND_TIMEOUT: Duration = Duration::from_millis(500);

/// The connection to the service manager.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl Notifier {
    /// The manager that started this process, if it expects messages: `NOTIFY_SOCKET` is a path, or
    /// an abstract name after an `@` (unix(7)).
    ///
    /// # Errors
    /// When the variable is set to something else, or no socket can be opened.
    pub fn from_environment() -> io::Result<Option<Self>> {
        match std::env::var_os("NOTIFY_SOCKET") {
            None => Ok(None),
            Some(name) => Notifier::to(&name).map(Some),
        }
    }

    fn to(name: &OsStr) -> io::Result<Self> {
        let manager = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the value is neither a path nor @name",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Notifier { socket, manager })
    }

    /// Sends `lines`, each of them `NAME=value` without a line break, as one message.
    ///
    /// # Errors
    /// When the manager does not take the message within half a second, or does not exist.
    pub fn send(&self, lines: &[&str]) -> io::Result<()> {
        let message = lines.join("\n");
        self.socket.send_to_addr(message.as_bytes(), &self.manager).map(|_sent| ())
    }
}

/// Time without a watchdog message after which the manager kills the process: `WATCHDOG_USEC`, unless
/// `WATCHDOG_PID` names another process (sd_watchdog_enabled(3)).
pub fn watchdog_timeout() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    if std::env::var_os("WATCHDOG_PID").is_some()
        && number("WATCHDOG_PID") != Some(u64::from(std::process::id()))
    {
        return None;
    }
    number("WATCHDOG_USEC").filter(|&micros| micros > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_to_an_abstract_socket_address() {
        let name = format!("switchboard-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier::to(OsStr::new(&format!("@{name}"))).unwrap();
        notifier.send(&["READY=1", "STATUS=ready"]).unwrap();
        let mut bytes = [0; 64];
        let length = manager.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"READY=1\nSTATUS=ready");
    }

    #[test]
    fn reports_an_absent_manager_and_refuses_a_relative_name() {
        let absent = Notifier::to(OsStr::new("/nonexistent/notify")).unwrap();
        assert!(absent.send(&["READY=1"]).is_err());
        assert!(Notifier::to(OsStr::new("notify")).is_err());
        assert!(Notifier::to(OsStr::new("")).is_err());
    }
}
