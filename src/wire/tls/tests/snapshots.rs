//! A state as bytes, from which another process continues the connection.

use super::super::{CipherSuite, TlsSnapshotError, TlsState};
use super::RecordPair;

fn moved(state: &TlsState) -> TlsState {
    TlsState::read_snapshot(&state.write_snapshot()).unwrap()
}

#[test]
fn a_connection_continues_from_a_snapshot_at_every_step() {
    for suite in CipherSuite::ALL {
        let mut pair = RecordPair::new(suite);
        for step in 0..8 {
            let mut read = pair.seal(b"data");
            match step {
                3 => pair.sender.seal_key_update(&mut pair.seal_key, true, &mut read).unwrap(),
                5 => read.extend(pair.seal_inner(&[24, 0, 22])),
                6 => read = pair.seal_inner(&[0, 1, 0, 22]),
                _ => {}
            }
            pair.open(read);
            for state in [&mut pair.sender, &mut pair.receiver] {
                let copy = moved(state);
                assert_eq!(copy, *state);
                *state = copy;
            }
        }
        assert!(pair.receiver.owes_key_update());
    }
}

#[test]
fn a_snapshot_has_at_most_124_bytes() {
    let pair = RecordPair::new(CipherSuite::Aes256Gcm);
    let mut state = pair.receiver;
    state.receive_handshake(&[24, 0, 0, 1]).unwrap();
    assert!(state.write_snapshot().len() <= 124, "{}", state.write_snapshot().len());
}

#[test]
fn a_snapshot_that_is_cut_or_changed_is_refused() {
    for suite in CipherSuite::ALL {
        let pair = RecordPair::new(suite);
        let bytes = pair.sender.write_snapshot().to_vec();
        for length in 0..bytes.len() {
            let cut = TlsState::read_snapshot(&bytes[..length]);
            assert_eq!(cut, Err(TlsSnapshotError::Length), "{length}");
        }
        let longer = TlsState::read_snapshot(&[&bytes[..], &[0]].concat());
        assert_eq!(longer, Err(TlsSnapshotError::Length));
        let status = bytes.len() - 5;
        for (at, value, expected) in [
            (1, 4, TlsSnapshotError::Suite),
            (status, 2, TlsSnapshotError::Field),
            (status + 1, 3, TlsSnapshotError::Field),
            (status + 4, 5, TlsSnapshotError::Length),
        ] {
            let mut changed = bytes.clone();
            changed[at] = value;
            assert_eq!(TlsState::read_snapshot(&changed), Err(expected), "{at}");
        }
        let no_key_update = [&bytes[..bytes.len() - 1], &[1, 25]].concat();
        assert_eq!(TlsState::read_snapshot(&no_key_update), Err(TlsSnapshotError::Field));
    }
}
