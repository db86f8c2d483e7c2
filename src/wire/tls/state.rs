//! What a TLS connection keeps while it is idle. Pure.

use super::post_handshake::HandshakeFragment;
use super::schedule::TrafficSecret;
use super::suite::CipherSuite;
use crate::limits::TLS_STATE_BYTES;

/// One direction of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectionState {
    /// The secret of the present generation of keys.
    pub secret: TrafficSecret,
    /// Sequence number of the next record: how many this generation of keys has protected.
    pub sequence: u64,
}

impl DirectionState {
    /// Goes on with the next generation of keys (RFC 8446 §7.2), whose records are counted from 0
    /// (RFC 8446 §5.3).
    pub(super) fn update(&mut self, suite: CipherSuite) {
        self.secret = self.secret.next(suite);
        self.sequence = 0;
    }
}

/// Whether records of the peer are still read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadStatus {
    Open,
    /// After a close_notify, an alert of the peer or an error: what follows is ignored.
    Ended,
}

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteStatus {
    Open,
    /// The peer asked for a KeyUpdate, which has to precede the next application data (RFC 8446 §4.6.3).
    OwesKeyUpdate,
    /// After an alert.
    Ended,
}

/// The record layer of an established connection: plain data of at most [`TLS_STATE_BYTES`] bytes without an
/// expanded key. It may be moved to another thread, or with [`TlsState::write_snapshot`] to another process.
/// It must not be used in two places, since a nonce would be used twice.
#[derive(Debug, PartialEq, Eq)]
pub struct TlsState {
    pub(super) read: DirectionState,
    pub(super) write: DirectionState,
    pub(super) suite: CipherSuite,
    pub(super) read_status: ReadStatus,
    pub(super) write_status: WriteStatus,
    /// Records without application data since the last application data.
    pub(super) empty_records: u8,
    /// KeyUpdates since the last application data.
    pub(super) key_updates: u8,
    pub(super) fragment: HandshakeFragment,
}

const _: () = assert!(size_of::<TlsState>() <= TLS_STATE_BYTES);

impl TlsState {
    /// The state after the handshake; `read` is the direction from the peer.
    pub fn new(suite: CipherSuite, read: DirectionState, write: DirectionState) -> TlsState {
        TlsState {
            read,
            write,
            suite,
            read_status: ReadStatus::Open,
            write_status: WriteStatus::Open,
            empty_records: 0,
            key_updates: 0,
            fragment: HandshakeFragment::default(),
        }
    }

    /// The negotiated suite.
    pub fn suite(&self) -> CipherSuite {
        self.suite
    }

    /// The direction from the peer, for [`RecordKey::new`](super::RecordKey::new).
    pub fn read_direction(&self) -> &DirectionState {
        &self.read
    }

    /// The direction to the peer.
    pub fn write_direction(&self) -> &DirectionState {
        &self.write
    }

    /// Whether the peer asked for a KeyUpdate that has not been sealed yet. The next [`TlsState::seal`] seals
    /// it first, also without plaintext.
    pub fn owes_key_update(&self) -> bool {
        match self.write_status {
            WriteStatus::OwesKeyUpdate => true,
            WriteStatus::Open | WriteStatus::Ended => false,
        }
    }
}
