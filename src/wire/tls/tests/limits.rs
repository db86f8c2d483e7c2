//! Sequence numbers and the limits of keys (RFC 8446 §5.3, §5.5), and sizes.

use super::super::suite::LAST_SEQUENCE;
use super::super::{CipherSuite, OpenEnd, RecordError, RecordKey, TlsState};
use super::{RecordPair, error};
use crate::limits::TLS_STATE_BYTES;

/// RFC 8446 §5.5: a key is replaced before it has protected as many records as its suite permits.
#[test]
fn a_key_update_precedes_the_limit_of_every_suite() {
    for suite in CipherSuite::ALL {
        let limit = suite.confidentiality_limit_records();
        let mut pair = RecordPair::at_sequence(suite, limit - 2);
        let mut read = pair.seal(b"last but one ");
        assert_eq!(pair.sender.write.sequence, limit - 1);
        read.extend(pair.seal(b"new key"));
        assert_eq!(pair.sender.write.sequence, 1, "{suite:?}");
        let opened = pair.receiver.open(&mut pair.open_key, &mut read);
        assert_eq!(&read[opened.plaintext], b"last but one new key");
        assert_eq!((opened.records, opened.end), (3, OpenEnd::Open), "{suite:?}");
    }
}

#[test]
fn a_key_update_divides_a_batch_that_reaches_the_limit() {
    let suite = CipherSuite::Aes128Gcm;
    let mut pair = RecordPair::at_sequence(suite, suite.confidentiality_limit_records() - 3);
    let plaintext = vec![3; 5 << 14];
    let mut read = pair.seal(&plaintext);
    let opened = pair.receiver.open(&mut pair.open_key, &mut read);
    assert_eq!((opened.records, opened.end), (6, OpenEnd::Open));
    assert!(read[opened.plaintext] == plaintext[..]);
}

/// RFC 8446 §5.3: a sequence number is not used twice.
#[test]
fn a_record_behind_the_last_sequence_number_is_refused() {
    let mut pair = RecordPair::at_sequence(CipherSuite::ChaCha20Poly1305, LAST_SEQUENCE);
    let last = pair.seal_inner(b"data\x17");
    assert_eq!(pair.open(last), (b"data".to_vec(), vec![], OpenEnd::Open));
    let one_more = pair.seal_inner(b"data\x17");
    assert_eq!(pair.open(one_more).2, error(RecordError::SequenceEnd));
}

/// A key that does not belong to the state would use a nonce of another connection.
#[test]
fn the_key_of_another_connection_is_replaced_and_not_used() {
    let suite = CipherSuite::Aes128Gcm;
    let (mut pair, mut expected) = (RecordPair::new(suite), RecordPair::new(suite));
    let other = RecordPair::new(CipherSuite::Aes256Gcm);
    pair.seal_key = other.open_key;
    assert_eq!(pair.seal(b"data"), expected.seal(b"data"));
    // The key of the other direction, of the same suite.
    pair.seal_key = RecordKey::new(suite, pair.sender.read_direction());
    assert_eq!(pair.seal(b"more"), expected.seal(b"more"));
}

#[test]
fn the_state_of_an_idle_connection_has_at_most_128_bytes() {
    assert!(size_of::<TlsState>() <= TLS_STATE_BYTES);
    assert_eq!(TLS_STATE_BYTES, 128);
}
