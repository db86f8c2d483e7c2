//! Simulated connections: bounded buffers both ways, and events as epoll(7) raises them when it
//! is edge-triggered.
//!
//! An event is raised when bytes arrive, when the other end has closed or reset, when there is
//! room again after a send came up short, and for whatever is due when a socket is registered.
//! What it tells is the state at the moment of the poll.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use switchboard::ids::{ConnectionKey, ShardId};
use switchboard::shard::core::Readiness;
use switchboard::shard::host::{RecvOutcome, SendOutcome};
use switchboard::timestamp::Timestamp;

/// A connection's number; its user has the same.
pub(crate) type ConnectionId = usize;

/// The server's end of a connection. There is one for each, and whoever has it owns it.
#[derive(Debug)]
pub(crate) struct Socket(pub(crate) u32);

impl Socket {
    pub(crate) fn connection(&self) -> ConnectionId {
        self.0 as usize
    }
}

/// How much a send takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendLimit {
    /// As much as there is room.
    All,
    /// At most so much, and then nothing until the network has moved.
    AtMost(usize),
}

/// What comes to a client next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Bytes(Vec<u8>),
    Nothing,
    End,
    Broken,
}

/// One connection, both ends of it and what lies between.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// Bytes that the client has written and that have not arrived.
    pub(crate) sending: VecDeque<u8>,
    /// The client will write nothing more.
    pub(crate) client_ended: bool,
    /// The client has gone: what is sent to it is answered with a reset.
    pub(crate) client_gone: bool,
    arrived: VecDeque<u8>,
    /// Bytes of `arrived` before the urgent mark, if there is one.
    urgent: Option<usize>,
    end_arrived: bool,
    /// The server has been told of the end.
    pub(crate) end_read: bool,
    /// Bytes that the server has read.
    pub(crate) read_total: u64,
    /// What the server's kernel has taken and the client has not.
    sent: VecDeque<u8>,
    /// Bytes that the server's kernel has taken.
    pub(crate) taken_total: u64,
    waits_for_space: bool,
    /// The last send came up short.
    blocked: bool,
    send_limited: bool,
    /// When a send came up short for the first time.
    pub(crate) first_short: Option<Timestamp>,
    server_ended: bool,
    /// The server has closed it.
    pub(crate) closed: bool,
    /// It was reset.
    pub(crate) broken: bool,
    watched: Option<(ShardId, ConnectionKey)>,
    /// The descriptor tables that have it.
    tables: BTreeSet<ShardId>,
    raised: bool,
    /// The client has sent plain requests.
    pub(crate) pipelined: bool,
    /// A shard could not watch it.
    pub(crate) unwatchable: bool,
    /// When the client last showed life, and the longest time in which it did not.
    pub(crate) last_read: Timestamp,
    pub(crate) longest_silence: Duration,
    /// The moments at which the server read something.
    reads: BTreeSet<Timestamp>,
    /// How much had been taken and how much read, whenever something was taken, and when.
    history: Vec<(u64, u64, Timestamp)>,
}

impl Connection {
    /// A connection that has just been dialled.
    pub(crate) fn new(now: Timestamp) -> Self {
        Connection { last_read: now, ..Connection::default() }
    }

    /// Whether a send has come up short at some time.
    pub(crate) fn was_blocked_once(&self) -> bool {
        self.first_short.is_some()
    }

    /// recv(2).
    pub(crate) fn recv(&mut self, into: &mut [u8]) -> RecvOutcome {
        assert!(!self.closed, "a closed socket is read");
        if self.broken {
            self.end_read = true;
            return RecvOutcome::Broken;
        }
        let mut count = self.arrived.len().min(into.len());
        if count == 0 {
            self.end_read |= self.end_arrived;
            return if self.end_arrived { RecvOutcome::End } else { RecvOutcome::WouldBlock };
        }
        // A read stops at the urgent mark, and the next one begins there (tcp(7)).
        match self.urgent {
            Some(mark) if mark > 0 && mark < count => count = mark,
            Some(_) | None => {}
        }
        self.urgent = self.urgent.filter(|mark| *mark > count).map(|mark| mark - count);
        for (to, byte) in into.iter_mut().zip(self.arrived.drain(..count)) {
            *to = byte;
        }
        self.read_total += count as u64;
        RecvOutcome::Bytes(count)
    }

    /// send(2), to a kernel that keeps `room` bytes. True if an event is due at once.
    pub(crate) fn send(
        &mut self,
        bytes: &[u8],
        room: usize,
        send_limit: SendLimit,
        now: Timestamp,
    ) -> (SendOutcome, bool) {
        assert!(!self.closed && !self.server_ended, "bytes after the end");
        assert!(!bytes.is_empty(), "a call for nothing");
        if self.broken {
            self.end_read = true;
            return (SendOutcome::Broken, false);
        }
        if self.client_gone {
            // It is taken, and then the reset comes.
            self.taken_total += bytes.len() as u64;
            self.broken = true;
            return (SendOutcome::Took(bytes.len()), true);
        }
        let room = if self.send_limited { 0 } else { room.saturating_sub(self.sent.len()) };
        let was_blocked = self.blocked;
        let most = match send_limit {
            SendLimit::All => room,
            SendLimit::AtMost(most) => room.min(most),
        };
        let count = most.min(bytes.len());
        if count < bytes.len() {
            self.waits_for_space = true;
            self.first_short.get_or_insert(now);
            self.send_limited |= count < room;
        }
        self.blocked = count < bytes.len();
        if was_blocked && count > 0 {
            self.record_activity(now);
        }
        self.sent.extend(&bytes[..count]);
        self.taken_total += count as u64;
        if count > 0 {
            self.history.push((self.taken_total, self.read_total, now));
        }
        (SendOutcome::Took(count), false)
    }

    /// shutdown(2) of the sending direction.
    pub(crate) fn shut_write(&mut self) {
        self.server_ended = true;
    }

    /// close(2). Bytes that were not read make it a reset (RFC 2525 §2.17): what the client has
    /// not received yet is lost.
    pub(crate) fn close(&mut self) {
        assert!(!self.closed, "closed twice");
        self.closed = true;
        self.watched = None;
        if !self.arrived.is_empty() || self.broken {
            self.broken = true;
            self.sent.clear();
        }
    }

    /// It has a descriptor in this table from now on.
    pub(crate) fn open_in(&mut self, table: ShardId) {
        assert!(self.tables.insert(table), "open twice in the table of {table:?}");
    }

    /// Its descriptor in this table is closed.
    pub(crate) fn closed_in(&mut self, table: ShardId) {
        assert!(self.tables.remove(&table), "not open in the table of {table:?}");
    }

    /// Whether it has a descriptor in this table.
    pub(crate) fn is_open_in(&self, table: ShardId) -> bool {
        self.tables.contains(&table)
    }

    /// Whether it has a descriptor in any table.
    pub(crate) fn is_open_somewhere(&self) -> bool {
        !self.tables.is_empty()
    }

    /// Events go to `shard` under `key` from now on. True if one is due.
    pub(crate) fn watch(&mut self, shard: ShardId, key: ConnectionKey) -> bool {
        assert!(self.watched.is_none(), "watched twice");
        self.watched = Some((shard, key));
        self.raised = false;
        self.readiness().is_some()
    }

    /// No more events.
    pub(crate) fn unwatch(&mut self) {
        assert!(self.watched.take().is_some(), "not watched");
        self.raised = false;
    }

    /// Raises an event. The shard to which it goes, unless it is on its way already.
    pub(crate) fn raise(&mut self) -> Option<ShardId> {
        let (shard, _) = self.watched?;
        (!std::mem::replace(&mut self.raised, true)).then_some(shard)
    }

    /// The poll of `shard` collects the event.
    pub(crate) fn collect(&mut self, shard: ShardId) -> Option<(ConnectionKey, Readiness)> {
        let (watching, key) = self.watched?;
        if watching != shard || !std::mem::take(&mut self.raised) {
            return None;
        }
        Some((key, self.readiness()?))
    }

    fn readiness(&self) -> Option<Readiness> {
        let ended = self.end_arrived || self.broken;
        let readiness = Readiness {
            readable: ended || !self.arrived.is_empty(),
            writable: self.broken || !self.send_limited && !self.waits_for_space,
            read_on: ended || self.urgent.is_some(),
        };
        (readiness.readable || readiness.writable).then_some(readiness)
    }

    /// The network carries up to `most` bytes to the server, whose kernel keeps `room`. True if
    /// that is an event.
    pub(crate) fn deliver_to_server(&mut self, most: usize, room: usize, urgent: bool) -> bool {
        if self.broken || self.end_arrived {
            return false;
        }
        if self.closed {
            // Nobody is there: the answer is a reset, which may overtake what is on its way.
            if !self.sending.is_empty() || self.client_ended {
                self.sending.clear();
                self.broken = true;
                self.sent.clear();
            }
            return false;
        }
        let count = most.min(self.sending.len()).min(room.saturating_sub(self.arrived.len()));
        if urgent && count > 1 {
            self.urgent = Some(self.arrived.len() + count / 2);
        }
        self.arrived.extend(self.sending.drain(..count));
        self.end_arrived = self.client_ended && self.sending.is_empty();
        count > 0 || self.end_arrived
    }

    /// The network carries up to `most` bytes to the client. True if that is an event for the
    /// server.
    pub(crate) fn deliver_to_client(&mut self, most: usize) -> (Delivery, bool) {
        if self.broken {
            return (Delivery::Broken, false);
        }
        let count = most.min(self.sent.len());
        let bytes: Vec<u8> = self.sent.drain(..count).collect();
        self.send_limited = false;
        let room_again = std::mem::take(&mut self.waits_for_space);
        let delivery = match bytes.is_empty() {
            false => Delivery::Bytes(bytes),
            true if self.sent.is_empty() && (self.server_ended || self.closed) => Delivery::End,
            true => Delivery::Nothing,
        };
        (delivery, room_again && !self.closed)
    }

    /// The connection is reset by the client's end. True if that is an event.
    pub(crate) fn reset(&mut self) -> bool {
        self.broken = true;
        self.sending.clear();
        self.sent.clear();
        self.arrived.clear();
        !self.closed
    }

    /// It is `now`, and the server reads, or it is pending how long it has not.
    pub(crate) fn heard(&mut self, now: Timestamp) {
        self.record_activity(now);
        self.reads.insert(now);
    }

    /// Something came from the client, or it took what it had left lying.
    fn record_activity(&mut self, now: Timestamp) {
        self.longest_silence = self.longest_silence.max(now.since(self.last_read));
        self.last_read = now;
    }

    /// Whether the server read something at this moment.
    pub(crate) fn was_read_at(&self, moment: Timestamp) -> bool {
        self.reads.contains(&moment)
    }

    /// How many bytes the server had read when its kernel had taken the first `taken`.
    pub(crate) fn read_when_taken(&self, taken: u64) -> u64 {
        self.entry(taken).map_or(u64::MAX, |(_, read, _)| *read)
    }

    /// When its kernel had taken the first `taken` bytes.
    pub(crate) fn taken_at(&self, taken: u64) -> Timestamp {
        self.entry(taken).map_or(self.last_read, |(_, _, at)| *at)
    }

    fn entry(&self, taken: u64) -> Option<&(u64, u64, Timestamp)> {
        self.history.get(self.history.partition_point(|(total, ..)| *total < taken))
    }

    /// Whether something still moves.
    pub(crate) fn is_idle(&self) -> bool {
        let up = self.sending.is_empty() && (self.end_arrived || !self.client_ended);
        self.broken
            || up && self.sent.is_empty() && !self.waits_for_space && self.arrived.is_empty()
    }
}
