//! The record layer of TLS 1.3 (RFC 8446), and the server's side of a handshake by rustls. Pure: bytes in,
//! bytes out. It owns no socket and no buffer, and never looks at the plaintext of application data.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`TlsHandshake`] | a handshake, up to the client's Finished; its result is a [`TlsState`] |
//! | [`TlsState`] | what a connection keeps while it is idle: traffic secrets and sequence numbers, plain data |
//! | [`RecordKey`] | an expanded key of one direction, for connections that are active; derived from the state |
//! | [`TlsState::open`] | decrypts the records of one read in place, and joins their plaintexts |
//! | [`TlsState::seal`] | encrypts a batch of plaintext into records |
//! | [`RecordError`], [`TlsAlert`] | what is wrong with a record, and the alert that says so |
//! | [`TlsState::write_snapshot`] | the state as bytes, so that another process can continue the connection |
//!
//! It is meant for a thread that reads all its connections into one buffer: a read is opened in that buffer,
//! and the replies of an iteration are sealed into another. No part of the server uses it yet.
//!
//! Only TLS 1.3 is implemented. Keys are not kept in the state, since they follow from the secret: expanding one
//! takes 0.75 us (`cargo bench --bench micro -- tls`), and holding the keys of both directions would take 88
//! bytes of each idle connection. A [`RecordKey`] remembers which secret it was derived from; each function
//! derives it again if it does not belong to the state, so that a key of another connection, or one from before
//! a KeyUpdate, is never used.

mod alert;
mod error;
mod handshake;
mod header;
mod key;
mod open;
mod post_handshake;
mod schedule;
mod seal;
mod snapshot;
mod state;
mod suite;

#[cfg(test)]
mod tests;

pub use alert::TlsAlert;
pub use error::{RecordError, SealError};
pub use handshake::{
    EstablishedTls, HandshakeConfig, HandshakeFailure, HandshakeStep, NegotiatedProtocol,
    TlsHandshake,
};
pub use header::{RECORD_HEADER_BYTES, RecordHeader};
pub use key::RecordKey;
pub use open::{OpenEnd, OpenedRecords};
pub use schedule::TrafficSecret;
pub use snapshot::TlsSnapshotError;
pub use state::{DirectionState, TlsState};
pub use suite::CipherSuite;
