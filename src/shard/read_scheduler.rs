//! How much each connection may be read in one iteration, and in which order. Pure.
//!
//! Connections with an event share the bytes of an iteration. A connection that has more to read
//! than its share goes to the run list, which is served round by round with a budget of its own;
//! so a client that sends much never delays one that sends little for long.

use super::run_list::RunList;
use crate::ids::ConnectionKey;
use crate::limits;

/// The budgets of an iteration, the run list, and the buffers that all connections share.
#[derive(Debug)]
pub(super) struct ReadScheduler {
    /// Bytes that one event may bring in this iteration.
    event_share: usize,
    /// Requests that may still be answered in this iteration, beside one for each connection.
    requests_left: u32,
    run_list: RunList,
    buffers: ReadBuffers,
}

/// The buffers that every connection is read into and its replies are collected in.
#[derive(Debug, Default)]
pub(super) struct ReadBuffers {
    /// For the bytes of one read.
    pub(super) receive: Box<[u8]>,
    /// For the replies to them; empty between two reads.
    pub(super) replies: Vec<u8>,
}

/// What is left of one round of the run list.
#[derive(Debug)]
pub(super) struct ReadRound {
    /// Bytes that one connection may bring.
    pub(super) share: usize,
    bytes_left: usize,
    connections_left: usize,
}

impl ReadScheduler {
    /// Nothing to read.
    pub(super) fn new() -> Self {
        ReadScheduler {
            event_share: limits::RECEIVE_BUFFER_BYTES,
            requests_left: limits::TOTAL_REQUESTS_PER_ITERATION,
            run_list: RunList::default(),
            buffers: ReadBuffers {
                receive: vec![0; limits::RECEIVE_BUFFER_BYTES].into_boxed_slice(),
                replies: Vec::new(),
            },
        }
    }

    /// An iteration begins.
    pub(super) fn begin_iteration(&mut self) {
        self.event_share = limits::RECEIVE_BUFFER_BYTES;
        self.requests_left = limits::TOTAL_REQUESTS_PER_ITERATION;
    }

    /// Divides the bytes of the iteration among this many connections with an event.
    pub(super) fn share_among(&mut self, readers: usize) {
        // guard: readable connections share the bytes of an iteration [argument 2 value 1]
        self.event_share = share_of(limits::EVENT_BYTES_PER_ITERATION, readers);
    }

    /// Bytes that one event may bring.
    #[inline]
    pub(super) fn event_share(&self) -> usize {
        self.event_share
    }

    /// A request has been answered after which its connection may go on with further requests.
    pub(super) fn count_request(&mut self) {
        self.requests_left = self.requests_left.saturating_sub(1);
    }

    /// Whether a connection may have more than one request answered.
    pub(super) fn has_requests_left(&self) -> bool {
        self.requests_left > 0
    }

    /// Puts a connection on the run list, unless it is there.
    pub(super) fn defer(&mut self, key: ConnectionKey) {
        self.run_list.push(key);
    }

    /// Takes a connection off the run list. Whether it was there.
    pub(super) fn forget(&mut self, key: ConnectionKey) -> bool {
        self.run_list.remove(key)
    }

    /// Whether a connection is on the run list.
    #[inline]
    pub(super) fn is_deferred(&self, key: ConnectionKey) -> bool {
        self.run_list.contains(key)
    }

    /// Whether a connection is to be read without an event.
    pub(super) fn has_deferred(&self) -> bool {
        !self.run_list.is_empty()
    }

    /// Begins a round in which each connection that is on the run list now is read once.
    pub(super) fn begin_round(&self) -> ReadRound {
        let connections_left = self.run_list.len();
        ReadRound {
            // guard: run list connections share the bytes of an iteration [argument 2 value 1]
            share: share_of(limits::EVENT_BYTES_PER_ITERATION, connections_left),
            bytes_left: limits::RUN_LIST_BYTES_PER_ITERATION,
            connections_left,
        }
    }

    /// The next connection of a round.
    pub(super) fn next_of(&mut self, round: &mut ReadRound) -> Option<ConnectionKey> {
        if round.bytes_left == 0 || round.connections_left == 0 {
            return None;
        }
        round.connections_left -= 1;
        self.run_list.pop()
    }

    /// Takes the buffers for one read. They have to be given back.
    #[inline]
    pub(super) fn take_buffers(&mut self) -> ReadBuffers {
        std::mem::take(&mut self.buffers)
    }

    /// Gives the buffers back.
    #[inline]
    pub(super) fn give_back(&mut self, buffers: ReadBuffers) {
        self.buffers = buffers;
    }

    /// Checks what must hold between two calls of the core's entry points.
    ///
    /// # Errors
    /// Describes what does not hold.
    pub(super) fn audit(&self) -> Result<(), String> {
        if self.buffers.receive.len() != limits::RECEIVE_BUFFER_BYTES {
            return Err("the receive buffer was not given back".into());
        }
        if !self.buffers.replies.is_empty() {
            return Err("replies were not sent".into());
        }
        Ok(())
    }
}

impl ReadRound {
    /// Subtracts the cost of one connection, in bytes, from what is left of the round. There is a
    /// minimum, which bounds the number of connections in a round.
    pub(super) fn charge(&mut self, bytes: usize) {
        let minimum =
            limits::RUN_LIST_BYTES_PER_ITERATION / limits::RUN_LIST_CONNECTIONS_PER_ITERATION;
        // guard: an iteration reads a bounded number of run list bytes [skip]
        self.bytes_left = self.bytes_left.saturating_sub(bytes.max(minimum));
    }
}

/// The part of `bytes` that each of `readers` may read.
fn share_of(bytes: usize, readers: usize) -> usize {
    (bytes / readers.max(1)).clamp(limits::MIN_EVENT_BYTES, limits::RECEIVE_BUFFER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Serial, Slot};

    #[test]
    fn ends_a_round_when_its_bytes_are_used_up_or_each_connection_was_read() {
        let mut reads = ReadScheduler::new();
        let keys = [0, 1, 2].map(|slot| ConnectionKey { slot: Slot(slot), serial: Serial(0) });
        keys.into_iter().for_each(|key| reads.defer(key));
        let mut round = reads.begin_round();
        assert_eq!(reads.next_of(&mut round), Some(keys[0]));
        reads.defer(keys[0]);
        round.charge(1);
        assert_eq!(reads.next_of(&mut round), Some(keys[1]));
        round.charge(limits::RUN_LIST_BYTES_PER_ITERATION);
        assert_eq!(reads.next_of(&mut round), None);
        let mut round = reads.begin_round();
        assert_eq!(reads.next_of(&mut round), Some(keys[2]));
        reads.defer(keys[2]);
        assert_eq!(reads.next_of(&mut round), Some(keys[0]));
        assert_eq!(reads.next_of(&mut round), None, "each connection once a round");
        assert!(reads.is_deferred(keys[2]) && reads.forget(keys[2]) && !reads.has_deferred());
    }

    #[test]
    fn gives_each_reader_a_share_between_the_minimum_and_a_whole_buffer() {
        let mut reads = ReadScheduler::new();
        let mut share = |readers| {
            reads.share_among(readers);
            reads.event_share()
        };
        assert_eq!(share(0), limits::RECEIVE_BUFFER_BYTES);
        assert_eq!(share(16), limits::EVENT_BYTES_PER_ITERATION / 16);
        assert_eq!(share(1_000_000), limits::MIN_EVENT_BYTES);
    }
}
