//! The record layer of TLS, with the suite that browsers prefer. Valgrind has no AVX-512, so callgrind counts
//! another code path of the cipher than most servers run.

use crate::Operation;
use crate::operations::operation;
use std::hint::black_box;
use switchboard::wire::tls::{CipherSuite, DirectionState, RecordKey, TlsState, TrafficSecret};

const SUITE: CipherSuite = CipherSuite::Aes128Gcm;
/// The size of a relayed ICE candidate.
const MESSAGE_BYTES: usize = 200;

fn direction(byte: u8) -> DirectionState {
    let secret = TrafficSecret::new(SUITE, &[byte; 32]).expect("a secret of this suite");
    DirectionState { secret, sequence: 0 }
}

/// One end of a connection, before its first record.
fn state(read: u8, write: u8) -> TlsState {
    TlsState::new(SUITE, direction(read), direction(write))
}

/// Opens `records` records of one read. The state is made again for each call, since a record is authentic
/// only once.
fn open(name: &'static str, records: u32) -> Operation {
    let mut sender = state(1, 2);
    let mut seal_key = RecordKey::new(SUITE, sender.write_direction());
    let mut sealed = Vec::new();
    for _ in 0..records {
        let sealing = sender.seal(&mut seal_key, &[b'x'; MESSAGE_BYTES], &mut sealed);
        sealing.expect("an open direction");
    }
    let mut read = sealed.clone();
    let mut open_key = RecordKey::new(SUITE, state(2, 1).read_direction());
    operation(name, records, move || {
        read.copy_from_slice(&sealed);
        let opened = state(2, 1).open(&mut open_key, black_box(&mut read));
        assert_eq!(black_box(opened).records, records);
    })
}

pub(crate) fn all() -> Vec<Operation> {
    let mut sender = state(1, 2);
    let mut seal_key = RecordKey::new(SUITE, sender.write_direction());
    let mut out = Vec::new();
    let message = [b'x'; MESSAGE_BYTES];
    let idle = state(1, 2);
    vec![
        open("tls-open-1", 1),
        open("tls-open-16", 16),
        operation("tls-seal-200", 1, move || {
            out.clear();
            let sealing = sender.seal(&mut seal_key, black_box(&message), &mut out);
            black_box(sealing).expect("an open direction");
        }),
        operation("tls-key", 1, move || {
            black_box(RecordKey::new(SUITE, black_box(&idle).read_direction()));
        }),
    ]
}
