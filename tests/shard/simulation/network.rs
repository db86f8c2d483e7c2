//! Simulated connections: bounded buffers in both directions, and edge-triggered events as in
//! epoll(7).
//!
//! An event is raised when bytes arrive, when the other end closes or resets, when there is space
//! again after a short write, and for the present state when a socket is registered. It reports the
//! state at the time of the poll.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use switchboard::ids::{ConnectionKey, ShardId};
use switchboard::shard::core::Readiness;
use switchboard::shard::host::{RecvOutcome, SendOutcome};
use switchboard::timestamp::Timestamp;

/// Number of a connection and of its user.
pub(crate) type ConnectionId = usize;

/// The server's end of a connection. There is one for each; its holder owns it.
#[derive(Debug)]
pub(crate) struct Socket(pub(crate) u32);

impl Socket {
    pub(crate) fn connection(&self) -> ConnectionId {
        self.0 as usize
    }
}

/// How much the kernel accepts in a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendLimit {
    /// As much as there is space.
    All,
    /// At most this many bytes, and then none until the network has delivered some.
    AtMost(usize),
}

/// What a client receives next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Bytes(Vec<u8>),
    Nothing,
    End,
    Broken,
}

/// One connection: both ends and the network between them.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// Bytes that the client has sent and that have not arrived.
    pub(crate) sending: VecDeque<u8>,
    /// The client has closed its sending direction.
    pub(crate) client_ended: bool,
    /// The client has disappeared: bytes sent to it are answered with a reset.
    pub(crate) client_gone: bool,
    arrived: VecDeque<u8>,
    /// All packets are lost, in both directions, until this is false again.
    pub(crate) packets_lost: bool,
    /// Bytes of `arrived` before the urgent mark, if there is one.
    urgent: Option<usize>,
    end_arrived: bool,
    /// The server has read the end.
    pub(crate) end_read: bool,
    /// Bytes that the server has read.
    pub(crate) read_total: u64,
    /// Bytes that the server's kernel has accepted and the client has not received.
    sent: VecDeque<u8>,
    /// Number of bytes that the server's kernel has accepted.
    pub(crate) taken_total: u64,
    waits_for_space: bool,
    /// The last send was a short write.
    blocked: bool,
    send_limited: bool,
    /// Time of the first short write.
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
    /// Whether the client has sent HTTP requests before its upgrade request.
    pub(crate) pipelined: bool,
    /// A shard could not watch it.
    pub(crate) unwatchable: bool,
    /// When the client was last active, and the longest time without activity.
    pub(crate) last_read: Timestamp,
    pub(crate) longest_silence: Duration,
    /// When the client last received something.
    pub(crate) last_delivered: Timestamp,
    /// When it left a shard, and for how long it has been between shards since it was last active.
    unwatched_at: Timestamp,
    between_shards: Duration,
    /// The times at which the server read bytes.
    reads: BTreeSet<Timestamp>,
    /// For each send: bytes accepted so far, bytes read so far, time.
    history: Vec<(u64, u64, Timestamp)>,
}

impl Connection {
    /// A new connection.
    pub(crate) fn new(now: Timestamp) -> Self {
        Connection {
            last_read: now,
            last_delivered: now,
            unwatched_at: now,
            ..Connection::default()
        }
    }

    /// Whether there has been a short write.
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

    /// send(2) with a send buffer of `room` bytes. Returns true if an event is due.
    pub(crate) fn send(
        &mut self,
        bytes: &[u8],
        room: usize,
        send_limit: SendLimit,
        now: Timestamp,
    ) -> (SendOutcome, bool) {
        assert!(!self.closed && !self.server_ended, "bytes after the end");
        assert!(!bytes.is_empty(), "an empty send");
        if self.broken {
            self.end_read = true;
            return (SendOutcome::Broken, false);
        }
        if self.client_gone {
            // The kernel accepts the bytes; the reset follows.
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

    /// close(2). With unread bytes it is a reset (RFC 2525 §2.17), and bytes that the client has not
    /// received are lost.
    pub(crate) fn close(&mut self) {
        assert!(!self.closed, "closed twice");
        self.closed = true;
        self.watched = None;
        if !self.arrived.is_empty() || self.broken {
            self.broken = true;
            self.sent.clear();
        }
    }

    /// Bytes that the server's kernel has accepted and the client has not received.
    pub(crate) fn unacknowledged_bytes(&self) -> usize {
        if self.broken { 0 } else { self.sent.len() }
    }

    /// How long ago the client received something, if it has not received more than `bytes`.
    pub(crate) fn progress_age(&self, bytes: usize, now: Timestamp) -> Option<Duration> {
        (!self.broken && self.sent.len() > bytes).then(|| now.since(self.last_delivered))
    }

    /// close(2) with SO_LINGER and a time of zero: what the client has not received is lost.
    pub(crate) fn reset_by_server(&mut self) {
        self.broken = true;
        self.sent.clear();
    }

    /// Adds a descriptor in this table.
    pub(crate) fn open_in(&mut self, table: ShardId) {
        assert!(self.tables.insert(table), "open twice in the table of {table:?}");
    }

    /// Closes the descriptor in this table.
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

    /// Registers the connection with `shard` under `key`. Returns true if an event is due.
    pub(crate) fn watch(&mut self, shard: ShardId, key: ConnectionKey, now: Timestamp) -> bool {
        assert!(self.watched.is_none(), "watched twice");
        self.between_shards += now.since(self.unwatched_at);
        self.watched = Some((shard, key));
        self.raised = false;
        self.readiness().is_some()
    }

    /// Removes the registration.
    pub(crate) fn unwatch(&mut self, now: Timestamp) {
        assert!(self.watched.take().is_some(), "not watched");
        self.unwatched_at = now;
        self.raised = false;
    }

    /// Raises an event. Returns the shard that gets it, unless one is pending.
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

    /// Delivers up to `most` bytes to the server's receive buffer of `room` bytes. Returns true if
    /// this raises an event.
    pub(crate) fn deliver_to_server(&mut self, most: usize, room: usize, urgent: bool) -> bool {
        if self.broken || self.end_arrived || self.packets_lost {
            return false;
        }
        if self.closed {
            // The socket is closed: the answer is a reset, which may overtake bytes in flight.
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
    pub(crate) fn deliver_to_client(&mut self, most: usize, now: Timestamp) -> (Delivery, bool) {
        if self.packets_lost {
            return (Delivery::Nothing, false);
        }
        if self.broken {
            return (Delivery::Broken, false);
        }
        let count = most.min(self.sent.len());
        let bytes: Vec<u8> = self.sent.drain(..count).collect();
        if !bytes.is_empty() {
            self.last_delivered = now;
        }
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

    /// Records that the server read from the connection at `now`.
    pub(crate) fn record_read(&mut self, now: Timestamp) {
        self.record_activity(now);
        self.reads.insert(now);
    }

    /// Records that bytes arrived from the client, or that it read from its backlog.
    fn record_activity(&mut self, now: Timestamp) {
        self.longest_silence = self.longest_silence.max(now.since(self.last_read));
        self.last_read = now;
        self.between_shards = Duration::ZERO;
    }

    /// How long the client has been silent at `now`, as shards measure it: time between two shards
    /// is not counted.
    pub(crate) fn silence(&self, now: Timestamp) -> Duration {
        now.since(self.last_read.max(self.last_delivered)).saturating_sub(self.between_shards)
    }

    /// Whether the server read something at this time.
    pub(crate) fn was_read_at(&self, time: Timestamp) -> bool {
        self.reads.contains(&time)
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

    /// Whether the server has read nothing since it last sent something. It may then close an HTTP
    /// connection, also while the next request is on its way (RFC 9112, section 9.5).
    pub(crate) fn awaits_a_request(&self) -> bool {
        self.history.last().is_some_and(|(_, read, _)| *read == self.read_total)
    }

    /// Whether something still moves.
    pub(crate) fn is_idle(&self) -> bool {
        let up = self.sending.is_empty() && (self.end_arrived || !self.client_ended);
        self.broken
            || up && self.sent.is_empty() && !self.waits_for_space && self.arrived.is_empty()
    }
}
