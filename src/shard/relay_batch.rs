//! Frames for one destination that lie one behind the other in the receive buffer, so that they
//! leave with one send. Pure.

use crate::ids::Slot;
use crate::wire::websocket::frame::{server_header_len, write_server_header};
use std::ops::Range;
use tungstenite::protocol::frame::coding::OpCode;

/// Server frames that have been built in place of client frames.
#[derive(Debug, Default)]
pub(super) struct RelayBatch {
    to: Option<Slot>,
    start: usize,
    end: usize,
    messages: u64,
    payload_bytes: u64,
    /// Whether the kernel was offered the destination's backlog; kept when the batch is finished.
    backlog_offered: bool,
}

/// A batch that is to be sent.
#[derive(Debug)]
pub(super) struct FinishedBatch {
    /// The slot of the destination.
    pub(super) to: Slot,
    /// Where the frames are in the buffer.
    pub(super) range: Range<usize>,
    /// How many messages they are.
    pub(super) messages: u64,
    /// The bytes of the messages without headers.
    pub(super) payload_bytes: u64,
}

impl RelayBatch {
    /// Adds the frame whose payload is at `range`. The first gets its header in place; each
    /// further one is moved behind the one before.
    #[inline]
    pub(super) fn add(&mut self, to: Slot, buffer: &mut [u8], range: Range<usize>, opcode: OpCode) {
        let length = range.len();
        if self.to.is_none() {
            self.to = Some(to);
            self.start = write_server_header(buffer, range.start, opcode, length);
            self.end = range.end;
        } else {
            // A server frame is four bytes shorter than the client's, so there is space behind
            // the last one.
            let payload_at = self.end + server_header_len(length);
            buffer.copy_within(range, payload_at);
            write_server_header(buffer, payload_at, opcode, length);
            self.end = payload_at + length;
        }
        self.messages += 1;
        self.payload_bytes += length as u64;
    }

    /// Takes the frames, if there are any. The batch is empty afterwards.
    #[inline]
    pub(super) fn finish(&mut self) -> Option<FinishedBatch> {
        let RelayBatch { to, start, end, messages, payload_bytes, backlog_offered } = *self;
        *self = RelayBatch { backlog_offered, ..RelayBatch::default() };
        Some(FinishedBatch { to: to?, range: start..end, messages, payload_bytes })
    }

    /// The bytes of the frames that have been added since the batch was last finished.
    #[inline]
    pub(super) fn frame_bytes(&self) -> usize {
        self.end - self.start
    }

    /// Whether the kernel is to be offered what waits for the destination: true once.
    pub(super) fn offer_backlog(&mut self) -> bool {
        !std::mem::replace(&mut self.backlog_offered, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::websocket::frame::{Side, TEXT, parse_header, push_client_frame};

    #[test]
    fn builds_consecutive_server_frames_from_client_frames_of_any_length() {
        let lengths = [0, 1, 125, 126, 65_535, 65_536, 3];
        let (mut buffer, mut payloads) = (Vec::new(), Vec::new());
        for (nth, length) in lengths.into_iter().enumerate() {
            // A mask of zeros leaves the payload as it is.
            push_client_frame(&mut buffer, TEXT, &vec![nth as u8; length], [0; 4]);
            payloads.push(buffer.len() - length..buffer.len());
        }
        let mut batch = RelayBatch::default();
        for range in payloads {
            batch.add(Slot(5), &mut buffer, range, TEXT);
        }
        let finished = batch.finish().unwrap();
        assert_eq!((finished.to, finished.messages), (Slot(5), lengths.len() as u64));
        assert_eq!(finished.payload_bytes, lengths.iter().sum::<usize>() as u64);
        let mut rest = &buffer[finished.range];
        for (nth, length) in lengths.into_iter().enumerate() {
            let header = parse_header(rest, Side::Server).unwrap().unwrap();
            assert_eq!(header.payload_len, length as u64);
            let (frame, behind) = rest.split_at(header.header_len + length);
            assert!(frame[header.header_len..].iter().all(|byte| *byte == nth as u8));
            rest = behind;
        }
        assert!(rest.is_empty() && batch.finish().is_none());
    }
}
