//! The record layer and rustls read the same records, and have to find the same.
//!
//! The records are made by a third implementation, below, which can make what neither of the two would: any
//! content type, padding, fragments, changed bytes.

use super::peer::{self, connect};
use aws_lc_rs::aead::{
    self, AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use aws_lc_rs::hkdf::{self, HKDF_SHA256, HKDF_SHA384, KeyType, Prk};
use peer::tls_under_test::{OpenEnd, RecordError, RecordKey, TlsState};
use rustls::{ClientConnection, Error, PeerMisbehaved};
use std::io::Read;

/// The suites, with hash, cipher and the lengths of secret and key in bytes.
type SuiteParts = (u16, hkdf::Algorithm, &'static aead::Algorithm, usize, usize);

fn suites() -> [SuiteParts; 3] {
    [
        (0x1301, HKDF_SHA256, &AES_128_GCM, 32, 16),
        (0x1302, HKDF_SHA384, &AES_256_GCM, 48, 32),
        (0x1303, HKDF_SHA256, &CHACHA20_POLY1305, 32, 32),
    ]
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// A sender that protects any inner plaintext.
struct AnySender {
    suite: SuiteParts,
    secret: Vec<u8>,
    sequence: u64,
}

impl AnySender {
    fn derive(&self, label: &str, length: usize) -> Vec<u8> {
        let label = [b"tls13 ", label.as_bytes()].concat();
        let info = [&[0, length as u8, label.len() as u8], &label[..], &[0]].concat();
        let mut out = vec![0; length];
        let prk = Prk::new_less_safe(self.suite.1, &self.secret);
        let info = [&info[..]];
        let okm = prk.expand(&info, Length(length)).expect("a short output");
        okm.fill(&mut out).expect("the same length");
        out
    }

    fn seal(&mut self, inner: &[u8]) -> Vec<u8> {
        let key = UnboundKey::new(self.suite.2, &self.derive("key", self.suite.4));
        let key = LessSafeKey::new(key.expect("a key of this length"));
        let iv = self.derive("iv", 12);
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.sequence.to_be_bytes());
        nonce.iter_mut().zip(iv).for_each(|(byte, iv)| *byte ^= iv);
        let [high, low] = ((inner.len() + 16) as u16).to_be_bytes();
        let header = [23, 3, 3, high, low];
        let mut body = inner.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, Aad::from(header), &mut body).expect("a short record");
        self.sequence += 1;
        [&header[..], &body].concat()
    }

    fn update(&mut self) {
        self.secret = self.derive("traffic upd", self.suite.3);
        self.sequence = 0;
    }
}

/// The bytes of an input, from which everything is chosen.
struct InputBytes<'a>(&'a [u8]);

impl InputBytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> usize {
        usize::from(self.next().unwrap_or_default())
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().unwrap_or(b'x')).collect()
    }
}

/// The next record that the input describes.
fn record(input: &mut InputBytes<'_>, form: u8, sender: &mut AnySender) -> Vec<u8> {
    let length = input.number();
    let inner = match form % 12 {
        0..=3 => [input.take(length), vec![23]].concat(),
        4 => [input.take(length % 8), vec![23], vec![0; length]].concat(),
        5 => vec![24, 0, 0, 1, length as u8 % 2, 22],
        // A fragment, a KeyUpdate that the sender does not follow, or one with a byte behind it.
        6 => [vec![24, 0, 0, 1], input.take(length % 4), vec![22]].concat(),
        7 => vec![input.number() as u8 % 4, length as u8, 21],
        8 => [input.take(length % 4), vec![21 + length as u8 / 128]].concat(),
        9 => [input.take(length % 4), vec![input.number() as u8]].concat(),
        10 => vec![0; length % 24],
        _ => [vec![b'y'; (1 << 14) - 3 + length % 8], vec![23]].concat(),
    };
    let mut sealed = sender.seal(&inner);
    if form % 12 == 5 {
        sender.update();
    }
    if form >= 240 {
        // Not the version, which the specification lets a receiver ignore.
        let at = (input.number() * 7) % sealed.len();
        sealed[if (1..3).contains(&at) { 0 } else { at }] ^= input.number() as u8;
    }
    sealed
}

/// How rustls stopped reading.
#[derive(Debug, PartialEq)]
enum RustlsEnd {
    Open,
    CloseNotify,
    PeerAlert(u8),
    Error(Error),
}

fn read_with_rustls(client: &mut ClientConnection, bytes: &[u8]) -> (Vec<u8>, RustlsEnd) {
    let (mut rest, mut found) = (bytes, Vec::new());
    while !rest.is_empty() {
        client.read_tls(&mut rest).expect("bytes in memory");
        let processed = client.process_new_packets().map(|state| state.peer_has_closed());
        // Ends with `WouldBlock` when nothing is left.
        let _ = client.reader().read_to_end(&mut found);
        match processed {
            Ok(false) => {}
            Ok(true) => return (found, RustlsEnd::CloseNotify),
            Err(Error::AlertReceived(description)) => {
                return (found, RustlsEnd::PeerAlert(u8::from(description)));
            }
            Err(error) => return (found, RustlsEnd::Error(error)),
        }
    }
    (found, RustlsEnd::Open)
}

fn read_with_record_layer(state: &mut TlsState, bytes: &[u8], piece: usize) -> (Vec<u8>, OpenEnd) {
    let mut key = RecordKey::new(state.suite(), state.read_direction());
    let (mut held, mut found, mut end) = (Vec::new(), Vec::new(), OpenEnd::Open);
    for piece in bytes.chunks(piece) {
        held.extend_from_slice(piece);
        let opened = state.open(&mut key, &mut held);
        found.extend_from_slice(&held[opened.plaintext]);
        held = held[opened.partial].to_vec();
        end = opened.end;
        if end != OpenEnd::Open {
            break;
        }
    }
    (found, end)
}

/// Whether the difference of these ends is one that the specification permits, and of which end: what it has
/// found is then the beginning of what the other one has found.
fn has_ended_earlier(ours: OpenEnd, theirs: &RustlsEnd) -> (bool, bool) {
    let is_ours = match ours {
        // rustls does not limit empty records, and only KeyUpdates that request an answer. It waits until a
        // message with a wrong length is complete. Its peer is a server, which may send other messages. It
        // ignores empty handshake records, which RFC 8446 §5.4 forbids, and the outer type of a protected record,
        // which §5.2 fixes, and permits the longer records of TLS 1.2.
        OpenEnd::Error(error) => matches!(
            error,
            RecordError::TooManyEmpty
                | RecordError::TooManyKeyUpdates
                | RecordError::KeyUpdateLength
                | RecordError::HandshakeType
                | RecordError::EmptyFragment
                | RecordError::OuterType
                | RecordError::TooLong
        ),
        OpenEnd::Open | OpenEnd::CloseNotify | OpenEnd::PeerAlert(_) | OpenEnd::Ended => false,
    };
    // A user_canceled with another level than warning, or the fifth one.
    let is_theirs = match theirs {
        RustlsEnd::PeerAlert(description) => *description == 90,
        RustlsEnd::Error(error) => {
            *error == Error::PeerMisbehaved(PeerMisbehaved::TooManyWarningAlertsReceived)
        }
        RustlsEnd::Open | RustlsEnd::CloseNotify => false,
    };
    (is_ours, is_theirs)
}

fn is_same(ours: OpenEnd, theirs: &RustlsEnd) -> bool {
    match (ours, theirs) {
        (OpenEnd::Open, RustlsEnd::Open) | (OpenEnd::CloseNotify, RustlsEnd::CloseNotify) => true,
        // With a level that is not defined. Levels have no meaning (RFC 8446 §6), but rustls checks them.
        (OpenEnd::CloseNotify, RustlsEnd::PeerAlert(0)) => true,
        (OpenEnd::PeerAlert(ours), RustlsEnd::PeerAlert(theirs)) => ours == *theirs,
        (OpenEnd::Error(_), RustlsEnd::Error(_)) => true,
        (_, _) => false,
    }
}

/// Makes records from `input`, and compares what the record layer and rustls find in them.
pub(crate) fn compare(input: &[u8]) {
    let mut input = InputBytes(input);
    let suite = suites()[input.number() % 3];
    let piece = 1 + input.number() * 4;
    let (mut client, tls) = connect(suite.0);
    // The client's end of the connection, for the record layer.
    let (read, write) = (tls.state.write_direction(), tls.state.read_direction());
    let mut state = TlsState::new(tls.state.suite(), read.clone(), write.clone());
    let snapshot = state.write_snapshot();
    let secret = snapshot[10..][..suite.3].to_vec();
    let mut sender = AnySender { suite, secret, sequence: read.sequence };
    let mut bytes = Vec::new();
    while let Some(form) = input.next() {
        bytes.extend(record(&mut input, form, &mut sender));
        if bytes.len() > 1 << 17 {
            break;
        }
    }
    let (found, end) = read_with_record_layer(&mut state, &bytes, piece);
    let (expected, expected_end) = read_with_rustls(&mut client, &bytes);
    match has_ended_earlier(end, &expected_end) {
        (_, true) if found.starts_with(&expected) => {}
        (true, _) => assert!(expected.starts_with(&found), "{end:?} and {expected_end:?}"),
        (false, _) => {
            assert!(is_same(end, &expected_end), "{end:?} and {expected_end:?}");
            assert!(found == expected, "other plaintext, {end:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::compare;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rustls_finds_the_same_in_any_records(input in prop::collection::vec(any::<u8>(), 2..200)) {
            compare(&input);
        }
    }
}
