//! One connection of a virtual user: socket, opening handshake, frames. Owned by its worker.

use crate::load::measure::LoadFault;
use crate::load::user::{User, UserActivity};
use crate::timestamp::Timestamp;
use crate::wire::egress::{Egress, EgressContent};
use crate::wire::http::{AcceptKey, HeadScan};
use crate::wire::websocket::assembly::PartialMessage;
use mio::net::TcpStream;
use std::io::{self, Read, Write};

/// Bytes that may wait to be sent on one connection; a server that takes less is broken.
const UNSENT_BYTES: usize = 4 * 1024 * 1024;

/// How far the opening handshake is.
#[derive(Debug)]
pub(super) enum ConnectionStage {
    /// The request is sent, or waits to be.
    Upgrading(Box<PendingUpgrade>),
    /// It is a WebSocket now.
    Open,
}

#[derive(Debug)]
pub(super) struct PendingUpgrade {
    pub(super) expected: AcceptKey,
    pub(super) scan: HeadScan,
    /// The head as far as it has come, if it did not come in one piece.
    pub(super) head: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct UserConnection {
    pub(super) socket: TcpStream,
    pub(super) user: User,
    pub(super) stage: ConnectionStage,
    pub(super) held: Option<Box<PartialMessage>>,
    pub(super) egress: Egress,
    /// When the user should have arrived.
    pub(super) intended: Timestamp,
    /// Tells this connection from an earlier one in the same slot.
    pub(super) serial: u32,
    /// When it is woken next, as far as its timers know.
    pub(super) alarm: Timestamp,
    /// Whether the kernel takes bytes: false from a blocked write to the next writable event.
    pub(super) writable: bool,
    /// It is over, and its slot is about to be freed.
    pub(super) gone: bool,
    /// What its user was doing when the gauges last looked.
    pub(super) counted_as: Option<UserActivity>,
}

/// What one read brought.
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

    /// Sends `bytes` behind what is still unsent. Gives how many the kernel took; an error
    /// means that the connection is broken.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<u64, LoadFault> {
        let mut taken = 0;
        if self.egress.is_empty() && self.writable {
            taken = self.write(bytes)?;
        }
        if taken < bytes.len() {
            self.egress
                .push(bytes, taken, EgressContent::Opaque, UNSENT_BYTES)
                .map_err(|_| LoadFault::ConnectionLost)?;
        }
        Ok(taken as u64)
    }

    /// Sends what is unsent, now that the kernel takes bytes again.
    pub(super) fn flush(&mut self) -> Result<u64, LoadFault> {
        self.writable = true;
        if self.egress.is_empty() {
            return Ok(0);
        }
        let egress = std::mem::take(&mut self.egress);
        let outcome = self.write(egress.unsent());
        self.egress = egress;
        let taken = outcome?;
        self.egress.mark_sent(taken);
        if self.egress.is_empty() {
            // With it goes the memory of a server that once was slow.
            self.egress = Egress::default();
        }
        Ok(taken as u64)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, LoadFault> {
        loop {
            match self.socket.write(bytes) {
                Ok(taken) => {
                    self.writable = taken == bytes.len();
                    return Ok(taken);
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

/// What a failure to connect is called.
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
