//! KeyUpdate in both directions (RFC 8446 §4.6.3, §7.2).

use super::super::{CipherSuite, OpenEnd, RecordError};
use super::{RecordPair, error};
use crate::limits::{TLS_EMPTY_RECORDS, TLS_KEY_UPDATES};

const SUITE: CipherSuite = CipherSuite::Aes256Gcm;
const HANDSHAKE: u8 = 22;

/// A handshake record with this content.
fn handshake_inner(content: &[u8]) -> Vec<u8> {
    [content, &[HANDSHAKE]].concat()
}

#[test]
fn both_sides_go_on_with_new_keys_after_a_key_update() {
    for suite in CipherSuite::ALL {
        let mut pair = RecordPair::new(suite);
        let mut read = pair.seal(b"old ");
        pair.sender.seal_key_update(&mut pair.seal_key, false, &mut read).unwrap();
        let before = pair.receiver.read.secret.clone();
        read.extend(pair.seal(b"new"));
        assert_eq!(pair.open(read), (b"old new".to_vec(), vec![], OpenEnd::Open));
        assert_eq!(pair.receiver.read.sequence, 1, "sequence numbers begin again");
        assert!(pair.receiver.read.secret != before);
        assert!(!pair.receiver.owes_key_update());
    }
}

#[test]
fn a_record_with_the_old_key_is_refused_after_a_key_update() {
    let mut pair = RecordPair::new(SUITE);
    let record = pair.seal_inner(&handshake_inner(&[24, 0, 0, 1, 0]));
    assert_eq!(pair.open(record).2, OpenEnd::Open);
    let old = pair.seal(b"old key");
    assert_eq!(pair.open(old).2, error(RecordError::NotAuthentic));
}

/// RFC 8446 §4.6.3: several requests while nothing is sent are answered with one KeyUpdate.
#[test]
fn requests_are_answered_once_and_before_application_data() {
    let mut pair = RecordPair::new(SUITE);
    let mut read = Vec::new();
    for _ in 0..3 {
        pair.sender.seal_key_update(&mut pair.seal_key, true, &mut read).unwrap();
    }
    assert_eq!(pair.open(read).2, OpenEnd::Open);
    assert!(pair.receiver.owes_key_update());
    let mut answer = Vec::new();
    pair.receiver.seal(&mut pair.open_key, b"data", &mut answer).unwrap();
    assert!(!pair.receiver.owes_key_update());
    let opened = pair.sender.open(&mut pair.seal_key, &mut answer);
    assert_eq!((&answer[opened.plaintext], opened.records), (&b"data"[..], 2));
    assert!(!pair.sender.owes_key_update(), "the answer must not request another");
}

#[test]
fn a_requested_key_update_can_be_sealed_without_plaintext() {
    let mut pair = RecordPair::new(SUITE);
    let mut read = Vec::new();
    pair.sender.seal_key_update(&mut pair.seal_key, true, &mut read).unwrap();
    pair.open(read);
    let mut answer = Vec::new();
    pair.receiver.seal(&mut pair.open_key, b"", &mut answer).unwrap();
    let opened = pair.sender.open(&mut pair.seal_key, &mut answer);
    assert_eq!((opened.records, opened.end), (1, OpenEnd::Open));
}

/// RFC 8446 §5.1: handshake messages may be divided over records.
#[test]
fn a_key_update_may_be_divided_over_records() {
    let message = [24, 0, 0, 1, 1];
    for at in 1..message.len() {
        let mut pair = RecordPair::new(SUITE);
        let (first, second) = message.split_at(at);
        assert_eq!(pair.end_of_inner(&handshake_inner(first)), OpenEnd::Open);
        assert!(!pair.receiver.owes_key_update());
        assert_eq!(pair.end_of_inner(&handshake_inner(second)), OpenEnd::Open);
        assert!(pair.receiver.owes_key_update());
    }
}

/// RFC 8446 §5.1: no other record comes within a handshake message.
#[test]
fn a_record_within_a_key_update_is_refused() {
    for inner in [&b"data\x17"[..], b"\x17", b"\x01\x00\x15"] {
        let mut pair = RecordPair::new(SUITE);
        pair.end_of_inner(&handshake_inner(&[24, 0]));
        assert_eq!(pair.end_of_inner(inner), error(RecordError::Interleaved), "{inner:?}");
    }
}

/// RFC 8446 §5.1: a message that precedes a change of keys ends its record.
#[test]
fn bytes_behind_a_key_update_are_refused() {
    for content in [&[24, 0, 0, 1, 0, 24][..], &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0]] {
        let mut pair = RecordPair::new(SUITE);
        let end = pair.end_of_inner(&handshake_inner(content));
        assert_eq!(end, error(RecordError::KeyUpdateNotLast));
    }
    let mut pair = RecordPair::new(SUITE);
    pair.end_of_inner(&handshake_inner(&[24, 0, 0]));
    let end = pair.end_of_inner(&handshake_inner(&[1, 0, 0]));
    assert_eq!(end, error(RecordError::KeyUpdateNotLast), "behind a fragment");
}

#[test]
fn a_key_update_with_a_wrong_length_or_value_is_refused() {
    for length in [[0, 0, 0], [0, 0, 2], [0, 1, 1], [1, 0, 1]] {
        let mut pair = RecordPair::new(SUITE);
        let end = pair.end_of_inner(&handshake_inner(&[&[24][..], &length].concat()));
        assert_eq!(end, error(RecordError::KeyUpdateLength));
    }
    for value in 2..=u8::MAX {
        let mut pair = RecordPair::new(SUITE);
        let end = pair.end_of_inner(&handshake_inner(&[24, 0, 0, 1, value]));
        assert_eq!(end, error(RecordError::KeyUpdateValue));
    }
}

/// RFC 8446 §4.6: nothing else is expected of a client that was not asked for a certificate.
#[test]
fn every_other_handshake_message_is_refused_at_its_first_byte() {
    for kind in (0..=u8::MAX).filter(|kind| *kind != 24) {
        let mut pair = RecordPair::new(SUITE);
        let end = pair.end_of_inner(&handshake_inner(&[kind]));
        assert_eq!(end, error(RecordError::HandshakeType), "{kind}");
    }
}

#[test]
fn the_number_of_key_updates_without_application_data_is_limited() {
    let mut pair = RecordPair::new(SUITE);
    for round in 0..3 {
        for _ in 0..TLS_KEY_UPDATES {
            let mut read = Vec::new();
            pair.sender.seal_key_update(&mut pair.seal_key, true, &mut read).unwrap();
            assert_eq!(pair.open(read).2, OpenEnd::Open, "round {round}");
        }
        if round < 2 {
            let data = pair.seal(b"data");
            assert_eq!(pair.open(data).0, b"data");
        }
    }
    let mut read = Vec::new();
    pair.sender.seal_key_update(&mut pair.seal_key, true, &mut read).unwrap();
    assert_eq!(pair.open(read).2, error(RecordError::TooManyKeyUpdates));
}

/// Records without application data, each at the cost of a decryption: empty ones and user_canceled.
#[test]
fn the_number_of_records_without_application_data_is_limited() {
    for inner in [&b"\x17"[..], b"\x17\0\0\0", b"\x01\x5a\x15"] {
        let mut pair = RecordPair::new(SUITE);
        for _ in 0..TLS_EMPTY_RECORDS {
            assert_eq!(pair.end_of_inner(inner), OpenEnd::Open);
        }
        let data = pair.seal(b"data");
        assert_eq!(pair.open(data).0, b"data");
        for _ in 0..TLS_EMPTY_RECORDS {
            assert_eq!(pair.end_of_inner(inner), OpenEnd::Open);
        }
        assert_eq!(pair.end_of_inner(inner), error(RecordError::TooManyEmpty));
    }
}
