//! The state of a connection as bytes, so that another process can continue it. Pure.
//!
//! The bytes contain the secrets of the connection. The code that transports them has to overwrite them.

use super::post_handshake::HandshakeFragment;
use super::schedule::TrafficSecret;
use super::state::{DirectionState, ReadStatus, TlsState, WriteStatus};
use super::suite::CipherSuite;
use std::fmt;
use zeroize::Zeroizing;

/// Why a snapshot was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsSnapshotError {
    /// Fewer or more bytes than the suite needs.
    Length,
    /// A suite that is not implemented.
    Suite,
    /// A field with an undefined value.
    Field,
}

impl fmt::Display for TlsSnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsSnapshotError::Length => "a TLS state of a wrong length",
            TlsSnapshotError::Suite => "a TLS state with an unknown cipher suite",
            TlsSnapshotError::Field => "a TLS state with an undefined value",
        })
    }
}

impl std::error::Error for TlsSnapshotError {}

/// Takes values from the front of a snapshot.
struct SnapshotReader<'a>(&'a [u8]);

impl<'a> SnapshotReader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], TlsSnapshotError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(TlsSnapshotError::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TlsSnapshotError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(TlsSnapshotError::Length)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, TlsSnapshotError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn direction(&mut self, suite: CipherSuite) -> Result<DirectionState, TlsSnapshotError> {
        let sequence = u64::from_be_bytes(self.array()?);
        let secret = self.take(suite.secret_bytes())?;
        let secret = TrafficSecret::new(suite, secret).ok_or(TlsSnapshotError::Length)?;
        Ok(DirectionState { secret, sequence })
    }
}

impl TlsState {
    /// The state as bytes: suite, then for each direction the sequence number and the secret, then the states
    /// of both directions, the counters, and the fragment of a handshake message. Numbers are big-endian. At
    /// most 124 bytes, which are overwritten when they are dropped.
    ///
    /// The state must not be used any more once the other process uses the snapshot.
    pub fn write_snapshot(&self) -> Zeroizing<Vec<u8>> {
        // With space for all, since growing would leave copies.
        let mut out = Zeroizing::new(Vec::with_capacity(2 * size_of::<TlsState>()));
        out.extend_from_slice(&self.suite.code().to_be_bytes());
        for direction in [&self.read, &self.write] {
            out.extend_from_slice(&direction.sequence.to_be_bytes());
            out.extend_from_slice(direction.secret.bytes(self.suite));
        }
        out.push(match self.read_status {
            ReadStatus::Open => 0,
            ReadStatus::Ended => 1,
        });
        out.push(match self.write_status {
            WriteStatus::Open => 0,
            WriteStatus::OwesKeyUpdate => 1,
            WriteStatus::Ended => 2,
        });
        out.extend_from_slice(&[self.empty_records, self.key_updates]);
        out.push(self.fragment.bytes().len() as u8);
        out.extend_from_slice(self.fragment.bytes());
        out
    }

    /// The state that [`TlsState::write_snapshot`] wrote.
    ///
    /// # Errors
    ///
    /// If the bytes are not exactly such a state. What they contain is trusted otherwise.
    pub fn read_snapshot(bytes: &[u8]) -> Result<TlsState, TlsSnapshotError> {
        let mut reader = SnapshotReader(bytes);
        let suite = CipherSuite::from_code(u16::from_be_bytes(reader.array()?));
        let suite = suite.ok_or(TlsSnapshotError::Suite)?;
        let (read, write) = (reader.direction(suite)?, reader.direction(suite)?);
        let mut state = TlsState::new(suite, read, write);
        state.read_status = match reader.byte()? {
            0 => ReadStatus::Open,
            1 => ReadStatus::Ended,
            _ => return Err(TlsSnapshotError::Field),
        };
        state.write_status = match reader.byte()? {
            0 => WriteStatus::Open,
            1 => WriteStatus::OwesKeyUpdate,
            2 => WriteStatus::Ended,
            _ => return Err(TlsSnapshotError::Field),
        };
        [state.empty_records, state.key_updates] = reader.array()?;
        let fragment_bytes = reader.byte()?;
        let fragment = reader.take(usize::from(fragment_bytes))?;
        state.fragment = HandshakeFragment::new(fragment).ok_or(TlsSnapshotError::Field)?;
        if reader.0.is_empty() { Ok(state) } else { Err(TlsSnapshotError::Length) }
    }
}
