//! Records that are wrong, or unusual, clause by clause of RFC 8446.

use super::super::{CipherSuite, OpenEnd, RecordError, SealError, TlsAlert};
use super::{RecordPair, error};
use crate::limits::{TLS_CIPHERTEXT_BYTES, TLS_PLAINTEXT_BYTES};

const SUITE: CipherSuite = CipherSuite::Aes128Gcm;
const DATA: u8 = 23;
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;

/// The header of a record with a body of this length.
fn header(content_type: u8, body_bytes: usize) -> Vec<u8> {
    let [high, low] = (body_bytes as u16).to_be_bytes();
    vec![content_type, 3, 3, high, low]
}

/// RFC 8446 §5.2: records of any suite are opened as they were sealed.
#[test]
fn opens_what_it_sealed_with_every_suite() {
    for suite in CipherSuite::ALL {
        let mut pair = RecordPair::new(suite);
        for length in [1, 2, 200, TLS_PLAINTEXT_BYTES] {
            let plaintext = vec![length as u8; length];
            let sealed = pair.seal(&plaintext);
            assert_eq!(pair.open(sealed), (plaintext, vec![], OpenEnd::Open), "{suite:?} {length}");
        }
    }
}

/// RFC 8446 §5.1: a record has at most 2^14 bytes of content.
#[test]
fn divides_long_plaintext_into_records_of_2_to_the_14_bytes() {
    let mut pair = RecordPair::new(SUITE);
    let plaintext: Vec<u8> = (0..2 * TLS_PLAINTEXT_BYTES + 7).map(|at| at as u8).collect();
    let mut sealed = pair.seal(&plaintext);
    assert_eq!(sealed.len(), plaintext.len() + 3 * 22);
    let opened = pair.receiver.open(&mut pair.open_key, &mut sealed);
    assert_eq!((opened.records, opened.end), (3, OpenEnd::Open));
    assert!(sealed[opened.plaintext] == plaintext[..], "other plaintext");
}

#[test]
fn joins_the_plaintexts_of_a_read_in_place() {
    let mut pair = RecordPair::new(SUITE);
    let mut read = [pair.seal(b"one "), pair.seal(b"two "), pair.seal(b"three")].concat();
    let complete = read.len();
    read.extend_from_slice(&pair.seal(b"four")[..9]);
    let opened = pair.receiver.open(&mut pair.open_key, &mut read);
    assert_eq!(&read[opened.plaintext.clone()], b"one two three");
    assert_eq!(opened.plaintext.start, 5, "the first plaintext stays where it is");
    assert_eq!(opened.partial, complete..complete + 9);
}

/// RFC 8446 §5: unprotected records are refused, change_cipher_spec and alerts included.
#[test]
fn refuses_every_outer_type_but_application_data() {
    for content_type in (0..=u8::MAX).filter(|content_type| *content_type != DATA) {
        let mut pair = RecordPair::new(SUITE);
        let (.., end) = pair.open(header(content_type, 1));
        assert_eq!(end, error(RecordError::OuterType), "{content_type}");
    }
}

/// RFC 8446 §5.2: the limit is 2^14 + 256 bytes, and is checked before the record has arrived.
#[test]
fn refuses_a_header_that_announces_more_than_the_limit() {
    let mut pair = RecordPair::new(SUITE);
    let (_, partial, end) = pair.open(header(DATA, TLS_CIPHERTEXT_BYTES));
    assert_eq!((partial.len(), end), (5, OpenEnd::Open));
    let (.., end) = pair.open(header(DATA, TLS_CIPHERTEXT_BYTES + 1));
    assert_eq!(end, error(RecordError::TooLong));
}

/// RFC 8446 §5.4: content, content type and padding have at most 2^14 + 1 bytes.
#[test]
fn refuses_an_inner_plaintext_above_the_limit() {
    let inner = |length: usize| [&[7, DATA][..], &vec![0; length - 2]].concat();
    let mut pair = RecordPair::new(SUITE);
    let longest = pair.seal_inner(&inner(TLS_PLAINTEXT_BYTES + 1));
    assert_eq!(pair.open(longest), (vec![7], vec![], OpenEnd::Open));
    let end = pair.end_of_inner(&inner(TLS_PLAINTEXT_BYTES + 2));
    assert_eq!(end, error(RecordError::TooLong));
}

/// RFC 8446 §5.2: it cannot be authentic, which is known before it has arrived.
#[test]
fn refuses_a_header_that_announces_less_than_a_tag() {
    for body_bytes in 0..16 {
        let mut pair = RecordPair::new(SUITE);
        let (.., end) = pair.open(header(DATA, body_bytes));
        assert_eq!(end, error(RecordError::NotAuthentic), "{body_bytes}");
    }
    let mut pair = RecordPair::new(SUITE);
    assert_eq!(pair.open(header(DATA, 16)).2, OpenEnd::Open);
}

/// RFC 8446 §5.2: the header is authenticated too, but for what makes the record another record.
#[test]
fn refuses_a_record_with_any_changed_bit() {
    for suite in CipherSuite::ALL {
        let mut first = RecordPair::new(suite);
        let sealed = first.seal(b"{}");
        for bit in 0..sealed.len() * 8 {
            let mut pair = RecordPair::new(suite);
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let (plaintext, partial, end) = pair.open(changed);
            let is_refused = matches!(end, OpenEnd::Error(_));
            let is_longer = end == OpenEnd::Open && !partial.is_empty();
            assert!(plaintext.is_empty() && (is_refused || is_longer), "{suite:?} {bit}: {end:?}");
        }
    }
}

/// RFC 8446 §5.3: a record is authentic only in its place.
#[test]
fn refuses_records_that_are_repeated_left_out_or_exchanged() {
    let mut pair = RecordPair::new(SUITE);
    let (one, two) = (pair.seal(b"one"), pair.seal(b"two"));
    for (order, found) in [
        ([&one, &one], &b"one"[..]),
        ([&two, &one], b""),
        ([&one, &[23, 3, 3, 0, 16].repeat(5)], b"one"),
    ] {
        let mut pair = RecordPair::new(SUITE);
        let (plaintext, _, end) = pair.open(order.into_iter().flatten().copied().collect());
        assert_eq!(plaintext, found);
        assert_eq!(end, error(RecordError::NotAuthentic));
    }
}

/// RFC 8446 §5.4: padding is removed, and a record of nothing else is refused.
#[test]
fn removes_padding_and_refuses_a_record_of_only_padding() {
    let mut pair = RecordPair::new(SUITE);
    let record = pair.seal_inner(b"data\0\0\x17\0\0\0");
    assert_eq!(pair.open(record).0, b"data\0\0");
    assert_eq!(pair.end_of_inner(&[0; 40]), error(RecordError::NoContentType));
    let mut pair = RecordPair::new(SUITE);
    assert_eq!(pair.end_of_inner(b""), error(RecordError::NoContentType));
}

/// RFC 8446 §5: a protected change_cipher_spec, and any other type, is unexpected.
#[test]
fn refuses_every_inner_type_but_the_three_that_are_defined() {
    for content_type in (1..=u8::MAX).filter(|kind| ![DATA, HANDSHAKE, ALERT].contains(kind)) {
        let mut pair = RecordPair::new(SUITE);
        let end = pair.end_of_inner(&[1, content_type]);
        assert_eq!(end, error(RecordError::InnerType), "{content_type}");
    }
}

/// RFC 8446 §5.4.
#[test]
fn refuses_empty_alerts_and_empty_handshake_records() {
    for content_type in [ALERT, HANDSHAKE] {
        let mut pair = RecordPair::new(SUITE);
        let end = pair.end_of_inner(&[content_type, 0, 0]);
        assert_eq!(end, error(RecordError::EmptyFragment));
    }
}

/// RFC 8446 §6.1: what precedes a close_notify counts, what follows it is ignored.
#[test]
fn delivers_what_precedes_a_close_notify_and_ignores_what_follows() {
    let mut pair = RecordPair::new(SUITE);
    let mut read = pair.seal(b"last");
    pair.sender.seal_alert(&mut pair.seal_key, TlsAlert::CloseNotify, &mut read).unwrap();
    read.extend_from_slice(b"anything");
    assert_eq!(pair.open(read), (b"last".to_vec(), vec![], OpenEnd::CloseNotify));
    assert_eq!(pair.open(b"anything".to_vec()), (vec![], vec![], OpenEnd::Ended));
}

/// RFC 8446 §6: the level of an alert has no meaning, and an unknown alert is an error.
#[test]
fn an_alert_ends_the_connection_whatever_its_level_is() {
    for level in [0, 1, 2, 255] {
        for description in (1..=u8::MAX).filter(|description| *description != 90) {
            let mut pair = RecordPair::new(SUITE);
            let end = pair.end_of_inner(&[level, description, ALERT]);
            assert_eq!(end, OpenEnd::PeerAlert(description));
        }
        let mut pair = RecordPair::new(SUITE);
        assert_eq!(pair.end_of_inner(&[level, 0, ALERT]), OpenEnd::CloseNotify);
    }
}

/// RFC 8446 §6.1: user_canceled precedes a close_notify.
#[test]
fn a_user_canceled_alert_does_not_end_the_connection() {
    let mut pair = RecordPair::new(SUITE);
    assert_eq!(pair.end_of_inner(&[1, 90, ALERT]), OpenEnd::Open);
    assert_eq!(pair.end_of_inner(&[1, 0, ALERT]), OpenEnd::CloseNotify);
}

/// RFC 8446 §5.1: an alert is neither fragmented nor joined with another.
#[test]
fn refuses_alerts_that_do_not_have_two_bytes() {
    for content in [&[1][..], &[1, 0, 1], &[1, 0, 1, 0]] {
        let mut pair = RecordPair::new(SUITE);
        let end = pair.end_of_inner(&[content, &[ALERT]].concat());
        assert_eq!(end, error(RecordError::AlertLength));
    }
}

/// What was authentic before an error is delivered, so that the result does not depend on read boundaries.
#[test]
fn delivers_what_precedes_an_error() {
    let mut pair = RecordPair::new(SUITE);
    let mut read = pair.seal(b"fine");
    read.extend_from_slice(&header(ALERT, 2));
    assert_eq!(pair.open(read), (b"fine".to_vec(), vec![], error(RecordError::OuterType)));
}

/// RFC 8446 §6.2 names the alert for each error.
#[test]
fn each_error_has_the_alert_of_its_clause() {
    for (error, code) in [
        (RecordError::OuterType, 10),
        (RecordError::TooLong, 22),
        (RecordError::NotAuthentic, 20),
        (RecordError::NoContentType, 10),
        (RecordError::InnerType, 10),
        (RecordError::EmptyFragment, 10),
        (RecordError::TooManyEmpty, 10),
        (RecordError::AlertLength, 50),
        (RecordError::HandshakeType, 10),
        (RecordError::KeyUpdateLength, 50),
        (RecordError::KeyUpdateValue, 47),
        (RecordError::KeyUpdateNotLast, 10),
        (RecordError::Interleaved, 10),
        (RecordError::TooManyKeyUpdates, 10),
        (RecordError::SequenceEnd, 80),
    ] {
        assert_eq!(error.alert().code(), code, "{error}");
    }
}

/// RFC 8446 §6.1: nothing follows an alert.
#[test]
fn seals_nothing_after_an_alert() {
    for alert in [TlsAlert::CloseNotify, TlsAlert::BadRecordMac] {
        let mut pair = RecordPair::new(SUITE);
        let (sender, key) = (&mut pair.sender, &mut pair.seal_key);
        let mut out = Vec::new();
        sender.seal_alert(key, alert, &mut out).unwrap();
        let sealed = out.clone();
        assert_eq!(sender.seal(key, b"more", &mut out), Err(SealError::Ended));
        assert_eq!(sender.seal_key_update(key, true, &mut out), Err(SealError::Ended));
        assert_eq!(sender.seal_alert(key, alert, &mut out), Err(SealError::Ended));
        assert_eq!(out, sealed);
    }
}

#[test]
fn secrets_are_not_shown_by_debug() {
    let pair = RecordPair::new(SUITE);
    let shown = format!("{:?} {:?}", pair.sender, pair.seal_key);
    assert!(shown.contains("TrafficSecret(..)"), "{shown}");
    assert!(!shown.contains("[1, 1") && !shown.contains("iv"), "{shown}");
}
