//! Tests of the record layer and of handshakes: vectors, RFC 8446 clause by clause, and rustls as the peer.

mod differential;
mod handshakes;
mod interop;
mod key_updates;
mod limits;
mod peer;
mod properties;
mod records;
mod snapshots;
mod vectors;

use super::header::RECORD_HEADER_BYTES;
use super::{
    CipherSuite, DirectionState, OpenEnd, OpenedRecords, RecordError, RecordHeader, RecordKey,
    TlsState, TrafficSecret,
};

/// One direction between two record layers. `sender` seals what `receiver` opens.
struct RecordPair {
    sender: TlsState,
    receiver: TlsState,
    seal_key: RecordKey,
    open_key: RecordKey,
}

impl RecordPair {
    fn new(suite: CipherSuite) -> RecordPair {
        RecordPair::at_sequence(suite, 0)
    }

    /// A pair in whose first direction `sequence` records have been sent.
    fn at_sequence(suite: CipherSuite, sequence: u64) -> RecordPair {
        let direction = |byte, sequence| {
            let secret = TrafficSecret::new(suite, &vec![byte; suite.secret_bytes()]).unwrap();
            DirectionState { secret, sequence }
        };
        let sender = TlsState::new(suite, direction(2, 0), direction(1, sequence));
        let receiver = TlsState::new(suite, direction(1, sequence), direction(2, 0));
        RecordPair {
            seal_key: RecordKey::new(suite, sender.write_direction()),
            open_key: RecordKey::new(suite, receiver.read_direction()),
            sender,
            receiver,
        }
    }

    fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.sender.seal(&mut self.seal_key, plaintext, &mut out).unwrap();
        out
    }

    /// Seals any inner plaintext: content, content type and padding as given.
    fn seal_inner(&mut self, inner: &[u8]) -> Vec<u8> {
        let [_, _, _, high, low] = RecordHeader::protected(0);
        let bytes = u16::from_be_bytes([high, low]) - 1 + inner.len() as u16;
        let [high, low] = bytes.to_be_bytes();
        let header = [23, 3, 3, high, low];
        let mut record = header.to_vec();
        record.extend_from_slice(inner);
        self.seal_key.refresh(self.sender.suite, &self.sender.write);
        let body = &mut record[RECORD_HEADER_BYTES..];
        let tag = self.seal_key.seal(self.sender.write.sequence, header, body).unwrap();
        record.extend_from_slice(&tag);
        self.sender.write.sequence = self.sender.write.sequence.wrapping_add(1);
        record
    }

    /// The plaintext of `bytes`, what remains, and how they end.
    fn open(&mut self, mut bytes: Vec<u8>) -> (Vec<u8>, Vec<u8>, OpenEnd) {
        let OpenedRecords { plaintext, partial, end, .. } =
            self.receiver.open(&mut self.open_key, &mut bytes);
        (bytes[plaintext].to_vec(), bytes[partial].to_vec(), end)
    }

    /// How a record with this inner plaintext is received.
    fn end_of_inner(&mut self, inner: &[u8]) -> OpenEnd {
        let record = self.seal_inner(inner);
        self.open(record).2
    }

    /// The plaintext and the end of `bytes` that arrive in pieces of these lengths, which are repeated.
    fn open_in_pieces(&mut self, bytes: &[u8], lengths: &[usize]) -> (Vec<u8>, OpenEnd) {
        let (mut rest, mut held, mut found) = (bytes, Vec::new(), Vec::new());
        for length in lengths.iter().cycle() {
            let (piece, remaining) = rest.split_at((*length).min(rest.len()));
            held.extend_from_slice(piece);
            rest = remaining;
            let (plaintext, partial, end) = self.open(held);
            found.extend_from_slice(&plaintext);
            held = partial;
            if end != OpenEnd::Open || rest.is_empty() {
                return (found, end);
            }
        }
        unreachable!("there is at least one length")
    }
}

fn error(error: RecordError) -> OpenEnd {
    OpenEnd::Error(error)
}
