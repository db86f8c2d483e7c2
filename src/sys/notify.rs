//! What the service manager is told, by the protocol of sd_notify(3): datagrams of `NAME=value`
//! lines to the socket that `NOTIFY_SOCKET` names. The main thread owns it.
//!
//! The socket is opened once and kept. One opened for each message could not be opened when
//! descriptors have run out, and then the manager would take a server that is merely full for
//! one that is stuck, and kill it with all its users.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// A message waits no longer than this for room in the manager's queue.
const SEND_TIMEOUT: Duration = Duration::from_millis(500);

/// The way to the service manager.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl Notifier {
    /// The manager that started this process, if it wants to hear from it: `NOTIFY_SOCKET` is
    /// a path, or an abstract name behind an `@` (unix(7)).
    ///
    /// # Errors
    /// When the variable is set and what it says cannot be used.
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
                    "neither a path nor @name",
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
    /// When the manager does not take it within half a second, or is gone.
    pub fn send(&self, lines: &[&str]) -> io::Result<()> {
        let message = lines.join("\n");
        self.socket.send_to_addr(message.as_bytes(), &self.manager).map(|_sent| ())
    }
}

/// How long the manager waits for a sign of life before it ends the process: `WATCHDOG_USEC`,
/// unless `WATCHDOG_PID` says that it is meant for another (sd_watchdog_enabled(3)).
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
    fn an_abstract_name_is_reached() {
        let name = format!("switchboard-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier::to(OsStr::new(&format!("@{name}"))).unwrap();
        notifier.send(&["READY=1", "STATUS=there"]).unwrap();
        let mut bytes = [0; 64];
        let length = manager.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"READY=1\nSTATUS=there");
    }

    #[test]
    fn a_manager_that_is_gone_is_an_error_and_a_relative_name_is_refused() {
        let nobody = Notifier::to(OsStr::new("/nonexistent/notify")).unwrap();
        assert!(nobody.send(&["READY=1"]).is_err());
        assert!(Notifier::to(OsStr::new("notify")).is_err());
        assert!(Notifier::to(OsStr::new("")).is_err());
    }
}
