//! Properties over generated messages, cuts and changes.

use super::super::{CipherSuite, OpenEnd, TlsAlert};
use super::RecordPair;
use proptest::prelude::*;

/// What a sender does.
#[derive(Clone, Debug)]
enum SenderAction {
    Data(Vec<u8>),
    /// With padding behind the content, which this record layer itself never sends.
    Padded(Vec<u8>, usize),
    KeyUpdate(bool),
    CloseNotify,
}

fn action() -> impl Strategy<Value = SenderAction> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        4 => bytes().prop_map(SenderAction::Data),
        2 => (bytes(), 0..20usize).prop_map(|(data, padding)| SenderAction::Padded(data, padding)),
        2 => any::<bool>().prop_map(SenderAction::KeyUpdate),
        1 => Just(SenderAction::CloseNotify),
    ]
}

fn suite() -> impl Strategy<Value = CipherSuite> {
    prop::sample::select(CipherSuite::ALL.to_vec())
}

/// The bytes of `actions`, and the plaintext and end that a receiver has to find.
fn sent(pair: &mut RecordPair, actions: &[SenderAction]) -> (Vec<u8>, Vec<u8>, OpenEnd) {
    let (mut bytes, mut plaintext) = (Vec::new(), Vec::new());
    for action in actions {
        match action {
            SenderAction::Data(data) => {
                bytes.extend(pair.seal(data));
                plaintext.extend_from_slice(data);
            }
            SenderAction::Padded(data, padding) => {
                let inner = [&data[..], &[23], &vec![0; *padding]].concat();
                bytes.extend(pair.seal_inner(&inner));
                plaintext.extend_from_slice(data);
            }
            SenderAction::KeyUpdate(requests_answer) => pair
                .sender
                .seal_key_update(&mut pair.seal_key, *requests_answer, &mut bytes)
                .unwrap(),
            SenderAction::CloseNotify => {
                let alert = TlsAlert::CloseNotify;
                pair.sender.seal_alert(&mut pair.seal_key, alert, &mut bytes).unwrap();
                return (bytes, plaintext, OpenEnd::CloseNotify);
            }
        }
    }
    (bytes, plaintext, OpenEnd::Open)
}

proptest! {
    #[test]
    fn read_boundaries_do_not_change_the_result(
        suite in suite(),
        actions in prop::collection::vec(action(), 0..24),
        lengths in prop::collection::vec(1..400usize, 1..6),
    ) {
        let mut pair = RecordPair::new(suite);
        let (bytes, plaintext, end) = sent(&mut pair, &actions);
        prop_assert_eq!(pair.open_in_pieces(&bytes, &lengths), (plaintext, end));
    }

    /// Neither the result nor the place of an error depends on the cuts, whatever is wrong.
    #[test]
    fn read_boundaries_do_not_change_where_an_error_is_found(
        suite in suite(),
        actions in prop::collection::vec(action(), 1..12),
        lengths in prop::collection::vec(1..400usize, 1..6),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..3),
    ) {
        let mut pair = RecordPair::new(suite);
        let (mut bytes, ..) = sent(&mut pair, &actions);
        prop_assume!(!bytes.is_empty());
        for (at, change) in changes {
            let at = at.index(bytes.len());
            bytes[at] ^= change;
        }
        let whole = pair.open_in_pieces(&bytes, &[bytes.len()]);
        let mut pair = RecordPair::new(suite);
        prop_assert_eq!(pair.open_in_pieces(&bytes, &lengths), whole);
    }

    /// What is not authentic has no plaintext, and nothing panics.
    #[test]
    fn arbitrary_bytes_have_no_plaintext(
        suite in suite(),
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        has_header in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if has_header && bytes.len() >= 5 {
            bytes[..4].copy_from_slice(&[23, 3, 3, 0]);
        }
        let mut pair = RecordPair::new(suite);
        prop_assert!(pair.open(bytes).0.is_empty());
    }
}
