//! What a shard is and what sets it off. Pure, given a [`Host`].
//!
//! Every entry point leaves the shard complete: whatever ended on the way is gone when it
//! returns, its partner told, its numbers counted. Nothing here recurses from one connection
//! into another: a connection that breaks while another is served is put on a list.

use super::connection::{AddressRef, Connection, Http, Letter, Role, Via};
use super::host::Host;
use super::room_tokens::RoomTokens;
use super::run_list::RunList;
use super::sweep::{Drain, PatientClock, Sweep};
use crate::access::AccessPolicy;
use crate::commands::{Pairing, ShardCommand};
use crate::config::Limits;
use crate::ids::{
    ConnectionKey, QueueKey, RoomNo, Serial, SessionAddress, SessionNo, ShardId, Slot, TicketNo,
    Token, TokenMint,
};
use crate::limits;
use crate::telemetry::counters::ShardCounters;
use crate::telemetry::labels::EndReason;
use crate::timestamp::Timestamp;
use crate::wire::http::RefusalCause;
use crate::wire::websocket::assembly::ReceiveLimits;
use crate::wire::websocket::frame::Side;
use slab::Slab;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

/// What all shards of a server have in common.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The operator's limits.
    pub limits: Limits,
    /// Queues whose waiting users are counted by name, in their order.
    pub stats_queues: Vec<String>,
    /// Makes the identifiers.
    pub mint: TokenMint,
    /// Whether `/echo` is there.
    pub echo: bool,
    /// Who may come in.
    pub access: AccessPolicy,
}

/// What the poll said of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// There is something to read.
    pub readable: bool,
    /// The kernel takes bytes again.
    pub writable: bool,
    /// A short read does not mean that nothing is left: the other end has closed, or urgent
    /// data stops a read at its mark (tcp(7)).
    pub read_on: bool,
}

/// A shard.
#[derive(Debug)]
pub struct Core<H: Host> {
    /// The world around.
    pub host: H,
    pub(super) id: ShardId,
    pub(super) setup: Setup,
    pub(super) rules: ReceiveLimits,
    pub(super) stats_queues: Vec<QueueKey>,
    pub(super) connections: Slab<Connection<H::Socket>>,
    /// One above the highest slot ever used.
    pub(super) slots_used: usize,
    pub(super) addresses: Slab<IpAddr>,
    next_serial: u32,
    next_session: u64,
    next_room: u64,
    next_ticket: u32,
    /// When this turn's poll returned.
    pub(super) now: Timestamp,
    pub(super) clock: PatientClock,
    /// Bytes that one event may bring in this turn.
    pub(super) share: usize,
    /// Requests that may still be answered in this turn, beside one for each connection.
    pub(super) requests_left: u32,
    pub(super) sweep: Sweep,
    pub(super) drain: Option<Drain>,
    pub(super) moves_under_way: usize,
    /// Connections to `--admin-listen`.
    pub(super) admin_connections: usize,
    /// Connections whose reading was cut short so that others come to their turn.
    pub(super) run_list: RunList,
    /// Connections whose `waiting` was held back for the matcher, which has answered.
    pub(super) answered: Vec<ConnectionKey>,
    /// Pairings of sessions here whose partners could not be taken in: they are handed in again
    /// at the next tick. One for each such failure since the last.
    pub(super) resting: Vec<Pairing>,
    /// Connections that broke, and why.
    pub(super) marked_for_close: Vec<(ConnectionKey, EndReason)>,
    /// The connection whose bytes are being handled: answers to it are collected.
    pub(super) current: Option<Slot>,
    pub(super) answers: Answers,
    /// The buffer that every connection is read into.
    pub(super) buffer: Box<[u8]>,
    pub(super) room_tokens: RoomTokens,
    pub(super) counters: Arc<ShardCounters>,
}

/// Answers to the connection whose bytes are being handled; they leave as one.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) bytes: Vec<u8>,
    /// Whether an HTTP response is among them.
    pub(super) opaque: bool,
    /// How many bytes they were when the last of them was a lone `waiting` that the matcher is
    /// going to answer; else 0.
    pub(super) lone_waiting: usize,
}

impl<H: Host> Core<H> {
    /// A shard without connections. Address space for `slots` connections is reserved, so that
    /// the slab never has to be copied; memory is used only by those that exist.
    pub fn new(
        id: ShardId,
        setup: Setup,
        slots: usize,
        counters: Arc<ShardCounters>,
        host: H,
    ) -> Self {
        let rules = ReceiveLimits {
            sender: Side::Client,
            max_message_bytes: setup.limits.max_message_bytes,
            max_fragments: limits::MESSAGE_FRAGMENTS,
        };
        Core {
            host,
            id,
            rules,
            stats_queues: setup.stats_queues.iter().map(|name| setup.mint.queue(name)).collect(),
            connections: Slab::with_capacity(slots),
            slots_used: 0,
            addresses: Slab::new(),
            next_serial: 0,
            next_session: 0,
            next_room: 0,
            next_ticket: 0,
            now: Timestamp::ZERO,
            clock: PatientClock::default(),
            share: limits::RECEIVE_BUFFER_BYTES,
            requests_left: limits::TOTAL_REQUESTS_PER_ITERATION,
            sweep: Sweep::new(&setup.limits),
            drain: None,
            moves_under_way: 0,
            admin_connections: 0,
            run_list: RunList::default(),
            answered: Vec::new(),
            resting: Vec::new(),
            marked_for_close: Vec::new(),
            current: None,
            answers: Answers::default(),
            buffer: vec![0; limits::RECEIVE_BUFFER_BYTES].into_boxed_slice(),
            room_tokens: RoomTokens::default(),
            counters,
            setup,
        }
    }

    /// A turn begins: the poll returned at `now`.
    pub fn begin_iteration(&mut self, now: Timestamp) {
        self.clock.advance(now);
        self.now = now;
        self.share = limits::RECEIVE_BUFFER_BYTES;
        self.requests_left = limits::TOTAL_REQUESTS_PER_ITERATION;
        self.counters.iterations.increment();
    }

    /// The poll reported that so many connections are to be read: what the turn may read of them
    /// is shared out.
    pub fn share_among(&mut self, readers: usize) {
        // guard: readable connections share the bytes of an iteration [argument 2 value 1]
        self.share = share_of(limits::EVENT_BYTES_PER_ITERATION, readers);
    }

    /// Whether a connection's events have it read: one of the run-list waits for its turn there.
    pub fn reads_for_events(&self, key: ConnectionKey) -> bool {
        !self.run_list.contains(key)
    }

    /// Takes over a socket that was accepted. `surplus` says why it cannot become a session,
    /// `address` is its address if connections are counted by address.
    pub fn admit(
        &mut self,
        socket: H::Socket,
        surplus: Option<RefusalCause>,
        address: Option<IpAddr>,
    ) -> ConnectionKey {
        self.take(socket, surplus, Via::Newcomer, address)
    }

    /// The same for a socket whose other end is a trusted proxy: whose connection it is, is still
    /// to be told.
    pub fn admit_from_proxy(
        &mut self,
        socket: H::Socket,
        surplus: Option<RefusalCause>,
    ) -> ConnectionKey {
        self.take(socket, surplus, Via::Proxy, None)
    }

    /// The same for a socket that came to `--admin-listen`; given back if there are too many.
    ///
    /// # Errors
    /// Beyond [`limits::ADMIN_CONNECTIONS`].
    pub fn admit_admin(&mut self, socket: H::Socket) -> Result<ConnectionKey, H::Socket> {
        // guard: administration connections are limited [false]
        if self.admin_connections >= limits::ADMIN_CONNECTIONS {
            return Err(socket);
        }
        self.admin_connections += 1;
        Ok(self.take(socket, None, Via::Admin, None))
    }

    fn take(
        &mut self,
        socket: H::Socket,
        surplus: Option<RefusalCause>,
        via: Via,
        address: Option<IpAddr>,
    ) -> ConnectionKey {
        self.counters.accepted.increment();
        let role = Role::Http(Http { since_ms: self.clock.ms(), surplus, via });
        let address = address.map(|address| self.keep_address(address));
        let key = self.insert(Connection {
            socket,
            serial: Serial(0),
            heard_ms: self.clock.ms(),
            address,
            rate: Default::default(),
            extra: None,
            role,
        });
        let connection = &mut self.connections[key.slot.index()];
        if !self.host.watch(&mut connection.socket, key) {
            self.mark_for_close(key, EndReason::Internal);
            self.reap();
        }
        key
    }

    /// The poll reported something of a connection.
    pub fn ready(&mut self, key: ConnectionKey, readiness: Readiness) {
        if !self.is_current(key) {
            return;
        }
        if readiness.writable {
            self.flush(key.slot);
        }
        // One that sends more than its share is on the list. It is not read for its events too:
        // whoever sends little comes before it, however many they are who send much.
        // guard: a run list connection is not read for its events too [operand 2 true]
        if readiness.readable && self.reads_for_events(key) {
            self.read(key, self.share, readiness.read_on);
        }
        self.reap();
    }

    /// A letter came.
    pub fn letter(&mut self, letter: Letter<H::Socket>) {
        match letter {
            ShardCommand::Reply(reply) => self.matcher_replied(reply),
            ShardCommand::Pair(pairing) => self.pair(pairing),
            ShardCommand::PairingCancelled(ticket) => self.mover_gone(&ticket),
            ShardCommand::MigrateIn { from, migrating, purpose } => {
                self.arrive(from, migrating, purpose)
            }
            ShardCommand::MigrationCompleted { queue, left_behind } => {
                self.arrived(queue, left_behind)
            }
            ShardCommand::MigrationRejected { migrating, purpose } => {
                self.migration_rejected(migrating, purpose)
            }
            ShardCommand::StartDrain => self.quiesce(),
            // The driver ends its loop; there is nothing to decide.
            ShardCommand::Stop => {}
        }
        self.reap();
    }

    /// Sends what was held back until the matcher answered, and goes on with connections whose
    /// reading was cut short: a bounded number of them and of their bytes, so that the events of
    /// the others never wait for long.
    pub fn run(&mut self) {
        while let Some(key) = self.answered.pop() {
            if self.is_current(key) {
                // guard: a held-back `waiting` is sent after the matcher answered [skip]
                self.stop_holding_back(key.slot);
                self.reap();
            }
        }
        // A round of the list takes as many bytes as a turn's events: who has little to say
        // comes to its turn soon.
        // guard: run list connections share the bytes of an iteration [argument 2 value 1]
        let share = share_of(limits::EVENT_BYTES_PER_ITERATION, self.run_list.len());
        let mut bytes_left = limits::RUN_LIST_BYTES_PER_ITERATION;
        for _ in 0..self.run_list.len() {
            if bytes_left == 0 {
                break;
            }
            let Some(key) = self.run_list.pop() else { break };
            let read = self.read_on(key, share);
            self.reap();
            let least =
                limits::RUN_LIST_BYTES_PER_ITERATION / limits::RUN_LIST_CONNECTIONS_PER_ITERATION;
            // guard: an iteration reads a bounded number of run list bytes [skip]
            bytes_left = bytes_left.saturating_sub(read.max(least));
        }
    }

    /// Puts a connection on the run-list: once, however often its reading was cut short.
    pub(super) fn go_on_later(&mut self, key: ConnectionKey) {
        self.run_list.push(key);
    }

    /// Whether something is left to do at once.
    pub fn has_work(&self) -> bool {
        !self.run_list.is_empty()
    }

    /// Connections in the slab and on their way from here.
    pub fn alive(&self) -> usize {
        self.connections.len() + self.moves_under_way
    }

    /// Those of them that count for `--max-connections`.
    pub fn alive_in_public(&self) -> usize {
        // guard: administration connections take no user slots [term 2 value 0]
        self.alive() - self.admin_connections
    }

    /// Ends every connection, for the end of the process.
    pub fn close_all(&mut self) {
        for slot in 0..self.slots_used {
            if let Some(key) = self.key_at(slot) {
                self.mark_for_close(key, EndReason::Restarting);
            }
        }
        self.reap();
    }

    pub(super) fn insert(&mut self, mut connection: Connection<H::Socket>) -> ConnectionKey {
        let serial = Serial(self.next_serial);
        self.next_serial = self.next_serial.wrapping_add(1);
        connection.serial = serial;
        let slot = self.connections.insert(connection);
        self.slots_used = self.slots_used.max(slot + 1);
        self.counters.connections.increment();
        ConnectionKey { slot: Slot(slot as u32), serial }
    }

    pub(super) fn is_current(&self, key: ConnectionKey) -> bool {
        // guard: an event is for one serial of a slot [argument 1 value |_| true]
        self.connections.get(key.slot.index()).is_some_and(|c| c.serial == key.serial)
    }

    /// The key of the connection in this slot.
    pub(super) fn key_at(&self, slot: usize) -> Option<ConnectionKey> {
        let connection = self.connections.get(slot)?;
        Some(ConnectionKey { slot: Slot(slot as u32), serial: connection.serial })
    }

    pub(super) fn address_of(&self, slot: Slot) -> SessionAddress {
        let serial = self.connections[slot.index()].serial;
        SessionAddress { shard: self.id, key: ConnectionKey { slot, serial } }
    }

    pub(super) fn keep_address(&mut self, address: IpAddr) -> AddressRef {
        let at = self.addresses.insert(address) as u32 + 1;
        AddressRef(NonZeroU32::new(at).expect("because it is one or more"))
    }

    pub(super) fn drop_address(&mut self, address: AddressRef) -> Option<IpAddr> {
        self.addresses.try_remove(address.0.get() as usize - 1)
    }

    /// Numbers are unique in the process: the shard's own number stands above 48 bits of count.
    fn number(&self, count: u64) -> u64 {
        (u64::from(self.id.0) << 48) | count
    }

    pub(super) fn new_session_no(&mut self) -> SessionNo {
        self.next_session += 1;
        SessionNo(self.number(self.next_session))
    }

    pub(super) fn new_room_no(&mut self) -> RoomNo {
        self.next_room += 1;
        RoomNo(self.number(self.next_room))
    }

    pub(super) fn new_ticket_no(&mut self) -> TicketNo {
        self.next_ticket = self.next_ticket.wrapping_add(1);
        TicketNo(self.next_ticket)
    }

    /// The identifier of a room.
    #[inline]
    pub(super) fn room_token(&mut self, room: RoomNo) -> Token {
        self.room_tokens.get(room, &self.setup.mint)
    }
}

/// What each of so many may read of `bytes`.
fn share_of(bytes: usize, many: usize) -> usize {
    (bytes / many.max(1)).clamp(limits::MIN_EVENT_BYTES, limits::RECEIVE_BUFFER_BYTES)
}
