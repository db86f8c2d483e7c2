//! One connection of a virtual user: socket, opening handshake and frames. Owned by its worker.

use crate::load::measure::LoadFault;
use crate::load::user::{User, UserActivity};
use crate::timestamp::Timestamp;
use crate::wire::egress::{Egress, EgressContent};
use crate::wire::http::{AcceptKey, HeadScan};
use crate::wire::websocket::assembly::PartialMessage;
use mio::net::TcpStream;
use std::io::{self, Read, Write};

/// Limit of unsent bytes on one connection; a server that reads so slowly is broken.
const MAX_UNSENT_BYTES: usize = 4 * 1024 * 1024;

/// Progress of the opening handshake.
#[derive(Debug)]
pub(super) enum ConnectionStage {
    /// The upgrade request is sent, or waits to be sent.
    Upgrading(Box<PendingUpgrade>),
    /// The connection is a WebSocket.
    Open,
    /// The user has vanished: nothing is read and sent any more, and the socket stays open.
    Abandoned,
}

#[derive(Debug)]
pub(super) struct PendingUpgrade {
    pub(super) expected: AcceptKey,
    pub(super) scan: HeadScan,
    /// The part of the response that has arrived, if it did not arrive in one read.
    pub(super) head: Vec<u8>,
    /// The status of a refusal whose text has not arrived completely.
    pub(super) refusal: Option<u16>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct UserConnection {
    pub(super) socket: TcpStream,
    pub(super) user: User,
    pub(super) stage: ConnectionStage,
    /// An incomplete message or frame.
    pub(super) assembly: Option<Box<PartialMessage>>,
    pub(super) egress: Egress,
    /// Planned arrival of the user; once it has vanished, when it did.
    pub(super) intended: Timestamp,
    /// When the connection was started.
    pub(super) started: Timestamp,
    /// Distinguishes this connection from an earlier one in the same slot.
    pub(super) serial: u32,
    /// Earliest wake-up among the connection's timers.
    pub(super) wake_at: Timestamp,
    /// Whether the kernel accepts bytes: false from a short write until the next writable event.
    pub(super) writable: bool,
    /// The connection has ended; its slot is freed at the end of the iteration.
    pub(super) ended: bool,
    /// The activity that the gauges count this user under.
    pub(super) counted_as: Option<UserActivity>,
}

/// Outcome of one read.
pub(super) enum SocketRead {
    Bytes(usize),
    Drained,
    End,
    Broken,
}

impl UserConnection {
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> SocketRead {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return SocketRead::End,
                Ok(len) => return SocketRead::Bytes(len),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return SocketRead::Drained,
                    io::ErrorKind::Interrupted => {}
                    _ => return SocketRead::Broken,
                },
            }
        }
    }

    /// Sends `bytes` after those that are still unsent. Returns how many bytes the kernel
    /// accepted; an error means that the connection is broken.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<u64, LoadFault> {
        let mut sent = 0;
        if self.egress.is_empty() && self.writable {
            sent = self.write(bytes)?;
        }
        if sent < bytes.len() {
            self.egress
                .push(bytes, sent, EgressContent::Opaque, MAX_UNSENT_BYTES)
                .map_err(|_| LoadFault::ConnectionLost)?;
        }
        Ok(sent as u64)
    }

    /// Sends the unsent bytes after a writable event.
    pub(super) fn flush(&mut self) -> Result<u64, LoadFault> {
        self.writable = true;
        if self.egress.is_empty() {
            return Ok(0);
        }
        let egress = std::mem::take(&mut self.egress);
        let outcome = self.write(egress.unsent());
        self.egress = egress;
        let sent = outcome?;
        self.egress.mark_sent(sent);
        if self.egress.is_empty() {
            // Frees the memory of the backlog.
            self.egress = Egress::default();
        }
        Ok(sent as u64)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, LoadFault> {
        loop {
            match self.socket.write(bytes) {
                Ok(sent) => {
                    self.writable = sent == bytes.len();
                    return Ok(sent);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => {
                        self.writable = false;
                        return Ok(0);
                    }
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(LoadFault::ConnectionLost),
                },
            }
        }
    }
}

/// The fault that a failure to connect counts as.
pub(super) fn connect_fault(error: &io::Error) -> LoadFault {
    match (error.raw_os_error(), error.kind()) {
        (Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM), _) => {
            LoadFault::NoDescriptors
        }
        (Some(libc::EADDRNOTAVAIL), _) => LoadFault::NoPorts,
        (_, io::ErrorKind::ConnectionRefused) => LoadFault::ConnectRefused,
        (_, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => LoadFault::ConnectReset,
        (_, io::ErrorKind::TimedOut) => LoadFault::ConnectTimeout,
        _ => LoadFault::ConnectOther,
    }
}
