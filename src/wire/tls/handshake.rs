//! The server's side of a handshake, by rustls (RFC 8446 §2). Pure: it has no socket, but rustls draws random
//! numbers and asks the given clock for the age of tickets.
//!
//! Only TLS 1.3. Early data is refused: it could be replayed (RFC 8446 §8). rustls is given one record at a
//! time, so that it never reads beyond the client's Finished; the bytes behind it belong to the caller.

mod failure;
mod observer;

pub use failure::HandshakeFailure;

use self::observer::HandshakeObserver;
use super::header::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, RecordHeader};
use super::schedule::TrafficSecret;
use super::state::{DirectionState, TlsState};
use super::suite::CipherSuite;
use crate::limits::{TLS_CIPHERTEXT_BYTES, TLS_HANDSHAKE_BYTES, TLS_HANDSHAKE_RECORDS};
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ResolvesServerCert, UnbufferedServerConnection,
};
use rustls::time_provider::TimeProvider;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{ConnectionTrafficSecrets, ServerConfig};
use std::fmt;
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

/// The protocol that ALPN selects (RFC 7301, RFC 9110 §B).
const HTTP_1_1: &[u8] = b"http/1.1";
/// Session tickets that a client gets in a handshake; the connection of a page is one.
const TICKETS_PER_HANDSHAKE: usize = 1;

/// Settings that all handshakes share.
#[derive(Clone)]
pub struct HandshakeConfig {
    rustls: ServerConfig,
}

impl HandshakeConfig {
    /// `certificates` chooses a certificate by server name; `tickets` encrypts session tickets, without it no
    /// session is resumed; `clock` tells the age of tickets.
    pub fn new(
        certificates: Arc<dyn ResolvesServerCert>,
        tickets: Option<Arc<dyn ProducesTickets>>,
        clock: Arc<dyn TimeProvider>,
    ) -> HandshakeConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut rustls = ServerConfig::builder_with_details(provider, clock)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has suites of TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(certificates);
        rustls.alpn_protocols = vec![HTTP_1_1.to_vec()];
        rustls.enable_secret_extraction = true;
        rustls.max_early_data_size = 0;
        rustls.send_half_rtt_data = false;
        rustls.session_storage = Arc::new(NoServerSessionStorage {});
        rustls.send_tls13_tickets = if tickets.is_some() { TICKETS_PER_HANDSHAKE } else { 0 };
        if let Some(tickets) = tickets {
            rustls.ticketer = tickets;
        }
        HandshakeConfig { rustls }
    }
}

impl fmt::Debug for HandshakeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeConfig").finish_non_exhaustive()
    }
}

/// What ALPN has selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NegotiatedProtocol {
    /// `http/1.1`.
    Http11,
    /// The client did not offer a list of protocols, which is permitted.
    NotOffered,
}

/// A completed handshake.
#[derive(Debug)]
pub struct EstablishedTls {
    /// The record layer that continues the connection.
    pub state: TlsState,
    /// What ALPN has selected.
    pub protocol: NegotiatedProtocol,
    /// The name that the client asked for (RFC 6066 §3), in lower case. It comes from the client.
    pub server_name: Option<String>,
    /// Whether a session ticket was used.
    pub is_resumed: bool,
}

/// What follows from the bytes that have arrived.
#[derive(Debug)]
pub enum HandshakeStep {
    /// More bytes of the client are needed.
    Pending {
        /// To be called with them.
        handshake: Box<TlsHandshake>,
        /// Bytes at the start of the input that are not needed any more. The others have to be passed again,
        /// followed by what arrives.
        consumed: usize,
    },
    /// The handshake is complete.
    Established {
        /// The connection.
        tls: Box<EstablishedTls>,
        /// Bytes at the start of the input that belonged to the handshake. Those behind are records for
        /// [`TlsState::open`].
        consumed: usize,
    },
    /// The handshake has failed. The alert, if there is one to send, has been appended to the output.
    Failed(HandshakeFailure),
}

/// A handshake that is under way. Takes several kilobytes.
pub struct TlsHandshake {
    rustls: UnbufferedServerConnection,
    observer: Arc<HandshakeObserver>,
    /// Bytes at the start of the input that rustls has seen and not discarded.
    seen_bytes: usize,
    received_bytes: usize,
    received_records: u32,
}

impl fmt::Debug for TlsHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("TlsHandshake");
        out.field("received_bytes", &self.received_bytes).finish_non_exhaustive()
    }
}

/// What rustls wants after a record.
enum RecordOutcome {
    NeedsMore,
    Complete,
    Failed(HandshakeFailure),
}

impl TlsHandshake {
    /// A handshake of which nothing has arrived.
    ///
    /// # Errors
    ///
    /// [`HandshakeFailure::Internal`] if rustls refuses the settings or has no random numbers.
    pub fn new(config: &HandshakeConfig) -> Result<Box<TlsHandshake>, HandshakeFailure> {
        let mut rustls = config.rustls.clone();
        let observer = HandshakeObserver::observe(&mut rustls);
        let rustls = UnbufferedServerConnection::new(Arc::new(rustls));
        Ok(Box::new(TlsHandshake {
            rustls: rustls.map_err(|error| HandshakeFailure::of(&error))?,
            observer,
            seen_bytes: 0,
            received_bytes: 0,
            received_records: 0,
        }))
    }

    /// Handles `incoming`: what the previous step did not consume, followed by what has arrived since. Appends
    /// what is to be sent to `out`, whatever the result is.
    pub fn advance(mut self: Box<Self>, incoming: &mut [u8], out: &mut Vec<u8>) -> HandshakeStep {
        let mut consumed = 0;
        loop {
            let unseen = &incoming[consumed + self.seen_bytes..];
            let Some(record_bytes) = next_record_bytes(unseen) else {
                return HandshakeStep::Pending { handshake: self, consumed };
            };
            self.received_bytes += record_bytes;
            self.received_records += 1;
            // guard: the input of a TLS handshake is limited [false]
            if self.received_bytes > TLS_HANDSHAKE_BYTES
                || self.received_records > TLS_HANDSHAKE_RECORDS
            {
                return HandshakeStep::Failed(HandshakeFailure::TooLong);
            }
            self.seen_bytes += record_bytes;
            match self.handle_record(incoming, &mut consumed, out) {
                RecordOutcome::NeedsMore => {}
                RecordOutcome::Complete => {
                    return match self.finish() {
                        Ok(tls) => HandshakeStep::Established { tls: Box::new(tls), consumed },
                        Err(failure) => HandshakeStep::Failed(failure),
                    };
                }
                RecordOutcome::Failed(failure) => return HandshakeStep::Failed(failure),
            }
        }
    }

    /// Shows rustls the bytes up to the end of the next record, until it needs more.
    fn handle_record(
        &mut self,
        incoming: &mut [u8],
        consumed: &mut usize,
        out: &mut Vec<u8>,
    ) -> RecordOutcome {
        loop {
            let seen = &mut incoming[*consumed..][..self.seen_bytes];
            let UnbufferedStatus { discard, state, .. } = self.rustls.process_tls_records(seen);
            let outcome = match state {
                Ok(ConnectionState::EncodeTlsData(data)) => append(data, out).err(),
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::BlockedHandshake) => Some(RecordOutcome::NeedsMore),
                Ok(ConnectionState::WriteTraffic(_)) => Some(RecordOutcome::Complete),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    Some(RecordOutcome::Failed(HandshakeFailure::PeerAlert))
                }
                // Data of the client is neither accepted early nor shown to rustls.
                Ok(_) => Some(RecordOutcome::Failed(HandshakeFailure::Internal)),
                Err(error) => {
                    self.append_alert(out);
                    Some(RecordOutcome::Failed(HandshakeFailure::of(&error)))
                }
            };
            *consumed += discard;
            self.seen_bytes -= discard;
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }

    /// Appends the alert that rustls has prepared before it returned an error.
    fn append_alert(&mut self, out: &mut Vec<u8>) {
        loop {
            match self.rustls.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    if append(data, out).is_err() {
                        return;
                    }
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Takes the secrets out of the completed handshake.
    fn finish(self) -> Result<EstablishedTls, HandshakeFailure> {
        let TlsHandshake { rustls, observer, .. } = self;
        let protocol = match rustls.alpn_protocol() {
            Some(_) => NegotiatedProtocol::Http11,
            None => NegotiatedProtocol::NotOffered,
        };
        let server_name = observer.server_name.get().cloned();
        let is_resumed = rustls.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let suite = rustls.negotiated_cipher_suite().map(|suite| u16::from(suite.suite()));
        let suite = suite.and_then(CipherSuite::from_code).ok_or(HandshakeFailure::Internal)?;
        let (extracted, _) = rustls
            .dangerous_into_kernel_connection()
            .map_err(|error| HandshakeFailure::of(&error))?;
        let read = direction(suite, &observer.client_secret, extracted.rx)?;
        let write = direction(suite, &observer.server_secret, extracted.tx)?;
        let state = TlsState::new(suite, read, write);
        Ok(EstablishedTls { state, protocol, server_name, is_resumed })
    }
}

/// Length of the record at the start of `bytes`, or `None` if it has not arrived completely. Bytes that cannot
/// be a record are passed on at once, so that rustls refuses them.
fn next_record_bytes(bytes: &[u8]) -> Option<usize> {
    let is_type =
        |byte: u8| [CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA].contains(&byte);
    let header = RecordHeader::parse(bytes)?;
    if !is_type(header.content_type) || header.body_bytes > TLS_CIPHERTEXT_BYTES {
        return Some(bytes.len());
    }
    (bytes.len() >= header.record_bytes()).then(|| header.record_bytes())
}

/// Appends a record that rustls has made.
fn append<Data>(mut data: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) -> Result<(), RecordOutcome> {
    let failed = || RecordOutcome::Failed(HandshakeFailure::Internal);
    let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else {
        return Err(failed());
    };
    let start = out.len();
    out.resize(start + size.required_size, 0);
    match data.encode(&mut out[start..]) {
        Ok(_) => Ok(()),
        Err(_) => {
            out.truncate(start);
            Err(failed())
        }
    }
}

/// The state of a direction, if the secret and the key of rustls belong together.
fn direction(
    suite: CipherSuite,
    secret: &OnceLock<Zeroizing<Vec<u8>>>,
    (sequence, keys): (u64, ConnectionTrafficSecrets),
) -> Result<DirectionState, HandshakeFailure> {
    let secret = secret.get().ok_or(HandshakeFailure::Internal)?;
    let secret = TrafficSecret::new(suite, secret).ok_or(HandshakeFailure::Internal)?;
    let (key, iv) = match &keys {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key.as_ref(), iv.as_ref()),
        _ => return Err(HandshakeFailure::Internal),
    };
    let derived = secret.key_material(suite);
    let is_same =
        derived.key() == key.get(..suite.key_bytes()).unwrap_or_default() && derived.iv == *iv;
    if is_same { Ok(DirectionState { secret, sequence }) } else { Err(HandshakeFailure::Internal) }
}
