//! The core of a shard: its parts, and the entry points through which the event loop drives it.
//! Pure, given a [`Host`].
//!
//! Each part owns its data and keeps its own invariants. The core dispatches what happens to
//! connections, and combines the parts in files by topic. Every entry point leaves the shard
//! complete: connections that have ended are gone when it returns, their partners have been
//! notified, and the counters are up to date.

use super::backlog::BacklogBounds;
use super::entry::{ClientSource, Connection, HttpState, Role};
use super::host::Host;
use super::message_rate::RateTable;
use super::migration::{CoreCommand, Migrations};
use super::read_scheduler::ReadScheduler;
use super::rooms::Rooms;
use super::sessions::Sessions;
use super::shutdown::Shutdown;
use super::side_table::SideRecord;
use super::table::ConnectionTable;
use super::timeouts::Timeouts;
use crate::access::AccessPolicy;
use crate::commands::ShardCommand;
use crate::config::{Limits, SessionLog};
use crate::ids::{ConnectionKey, ShardId, Slot, TokenMint};
use crate::limits;
use crate::telemetry::counters::ShardCounters;
use crate::telemetry::labels::EndReason;
use crate::timestamp::Timestamp;
use crate::wire::http::RefusalCause;
use crate::wire::message::DEFAULT_QUEUE;
use crate::wire::websocket::assembly::ReceiveLimits;
use crate::wire::websocket::frame::Side;
use std::net::IpAddr;
use std::sync::Arc;

/// What all shards of a server have in common.
#[derive(Clone, Debug)]
pub struct ShardSetup {
    /// The operator's limits.
    pub limits: Limits,
    /// Queues whose waiting sessions are counted by name, in their order.
    pub stats_queues: Vec<String>,
    /// Derives the identifiers that clients see.
    pub mint: TokenMint,
    /// Whether `/echo` is enabled.
    pub echo: bool,
    /// Which pages, proxies and administrators may connect.
    pub access: AccessPolicy,
    /// Whether clients are asked to connect to each other through a TURN server only.
    pub relay_only: bool,
    /// Whether the end of each session is logged.
    pub session_log: SessionLog,
}

/// What the poll reported of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// There is something to read.
    pub readable: bool,
    /// The kernel takes bytes again.
    pub writable: bool,
    /// A short read does not mean that nothing is left: the peer has closed, or urgent data stops
    /// a read at its mark (tcp(7)).
    pub read_on: bool,
}

/// A shard.
#[derive(Debug)]
pub struct Core<H: Host> {
    /// The surroundings.
    pub host: H,
    pub(super) id: ShardId,
    pub(super) setup: ShardSetup,
    /// When the poll of this iteration returned.
    pub(super) now: Timestamp,
    pub(super) counters: Arc<ShardCounters>,
    pub(super) table: ConnectionTable<H::Socket>,
    pub(super) reads: ReadScheduler,
    pub(super) sessions: Sessions,
    pub(super) rooms: Rooms,
    pub(super) migrations: Migrations,
    pub(super) timeouts: Timeouts,
    pub(super) shutdown: Shutdown,
}

impl<H: Host> Core<H> {
    /// A shard without connections. Address space for `slots` connections is reserved, so that
    /// entries are never moved; only those that exist use memory.
    pub fn new(
        id: ShardId,
        setup: ShardSetup,
        slots: usize,
        counters: Arc<ShardCounters>,
        host: H,
    ) -> Self {
        let stats_queues = setup.stats_queues.iter().map(|name| setup.mint.queue(name)).collect();
        Core {
            host,
            id,
            now: Timestamp::ZERO,
            counters,
            table: ConnectionTable::new(slots),
            reads: ReadScheduler::new(),
            sessions: Sessions::new(
                id,
                stats_queues,
                setup.mint.queue(DEFAULT_QUEUE),
                BacklogBounds::new(&setup.limits),
                RateTable::new(slots, setup.limits.has_session_rates()),
            ),
            rooms: Rooms::new(id),
            migrations: Migrations::default(),
            timeouts: Timeouts::new(&setup.limits),
            shutdown: Shutdown::default(),
            setup,
        }
    }

    /// An iteration of the event loop begins: the poll returned at `now`.
    pub fn begin_iteration(&mut self, now: Timestamp) {
        self.timeouts.advance(now);
        self.now = now;
        self.reads.begin_iteration();
        self.counters.iterations.increment();
    }

    /// The poll reported this many connections that are to be read: they share the bytes of the
    /// iteration.
    pub fn share_among(&mut self, readers: usize) {
        self.reads.share_among(readers);
    }

    /// Whether a connection is read when the poll reports it. One on the run list is read in
    /// the order of that list.
    pub fn reads_for_events(&self, key: ConnectionKey) -> bool {
        !self.reads.is_deferred(key)
    }

    /// Takes a socket that was accepted. `refusal` is why an upgrade is refused, if a limit has
    /// been reached; `counted` is the address for which it was counted, if addresses are counted.
    pub fn admit(
        &mut self,
        socket: H::Socket,
        refusal: Option<RefusalCause>,
        counted: Option<IpAddr>,
    ) -> ConnectionKey {
        self.add_connection(socket, refusal, ClientSource::NewPeer, counted)
    }

    /// Takes a socket whose peer is a trusted proxy. Its client is not known yet.
    pub fn admit_from_proxy(
        &mut self,
        socket: H::Socket,
        refusal: Option<RefusalCause>,
    ) -> ConnectionKey {
        self.add_connection(socket, refusal, ClientSource::NewProxy, None)
    }

    /// Takes a socket that was accepted at `--admin-listen`.
    ///
    /// # Errors
    /// Gives the socket back if there are [`limits::ADMIN_CONNECTIONS`] already.
    pub fn admit_admin(&mut self, socket: H::Socket) -> Result<ConnectionKey, H::Socket> {
        // guard: administration connections are limited [false]
        if self.table.admin_connections() >= limits::ADMIN_CONNECTIONS {
            return Err(socket);
        }
        Ok(self.add_connection(socket, None, ClientSource::Admin, None))
    }

    fn add_connection(
        &mut self,
        socket: H::Socket,
        refusal: Option<RefusalCause>,
        source: ClientSource,
        counted_address: Option<IpAddr>,
    ) -> ConnectionKey {
        self.counters.accepted.increment();
        let now_ms = self.timeouts.now_ms();
        let role = Role::Http(HttpState { since_ms: now_ms, has_answered: false, refusal, source });
        let connection = Connection::new(socket, now_ms);
        let key = self.insert(connection, role, SideRecord { counted_address, log: None });
        let connection = self.table.connection_mut(key.slot);
        if !connection.is_some_and(|connection| self.host.watch(&mut connection.socket, key)) {
            self.table.mark_for_close(key, EndReason::Internal);
            self.reap();
        }
        key
    }

    pub(super) fn insert(
        &mut self,
        connection: Connection<H::Socket>,
        role: Role,
        side: SideRecord,
    ) -> ConnectionKey {
        self.counters.connections.increment();
        self.table.insert(connection, role, side)
    }

    /// The poll reported events of a connection.
    pub fn handle_event(&mut self, key: ConnectionKey, readiness: Readiness) {
        if !self.table.contains(key) {
            return;
        }
        if readiness.writable {
            self.flush(key.slot);
        }
        // A connection that sends more than its share is on the run list. It is not read for its
        // events too, so connections that send little come before it, however many send much.
        // guard: a run list connection is not read for its events too [operand 2 true]
        if readiness.readable && self.reads_for_events(key) {
            self.read(key, self.reads.event_share(), readiness.read_on);
        }
        self.reap();
    }

    /// A command came from another thread.
    pub fn handle_command(&mut self, command: CoreCommand<H::Socket>) {
        match command {
            ShardCommand::Reply(reply) => self.handle_reply(reply),
            ShardCommand::Pair(pairing) => self.handle_pairing(pairing),
            ShardCommand::PairConfirmed(pairing) => self.handle_confirmed_pairing(pairing),
            ShardCommand::PairingCancelled { survivor, role } => {
                self.pairing_cancelled(&survivor, role)
            }
            ShardCommand::MigrateIn { from, migrating, purpose } => {
                self.migrate_in(from, migrating, purpose)
            }
            ShardCommand::MigrationCompleted { waiting_in, left_behind } => {
                self.migration_completed(waiting_in, left_behind)
            }
            ShardCommand::MigrationRejected { migrating, purpose } => {
                self.migration_rejected(migrating, purpose)
            }
            ShardCommand::Reload(settings) => self.host.reload(settings),
            ShardCommand::Evict(request) => self.evict(request),
            ShardCommand::StartDrain => self.start_drain(),
            // The event loop ends; there is nothing to do here.
            ShardCommand::Stop => {}
        }
        self.reap();
    }

    /// Sends what was held back until the matcher answered, and continues to read connections of
    /// the run list, within the budget of a round.
    pub fn run_deferred(&mut self) {
        while let Some(key) = self.sessions.take_answered() {
            if self.table.contains(key) {
                // guard: a held-back `waiting` is sent after the matcher answered [skip]
                self.release_held_back(key.slot);
                self.reap();
            }
        }
        let mut round = self.reads.begin_round();
        while let Some(key) = self.reads.next_of(&mut round) {
            let cost_bytes = self.read_deferred(key, round.share);
            self.reap();
            round.charge(cost_bytes);
        }
    }

    /// Whether there is something to do without waiting for events.
    pub fn has_work(&self) -> bool {
        self.reads.has_deferred()
    }

    /// Connections in the table, and those that have left it and are not confirmed elsewhere.
    pub fn connections(&self) -> usize {
        self.table.len() + self.migrations.in_flight()
    }

    /// Those of them that count for `--max-connections`.
    pub fn public_connections(&self) -> usize {
        // guard: administration connections take no user slots [term 2 value 0]
        self.connections() - self.table.admin_connections()
    }

    /// Limits the connections that this shard's own descriptor table is meant for.
    #[must_use]
    pub fn at_most(mut self, connections: usize) -> Self {
        self.table.limit(connections);
        self
    }

    /// Whether the shard's own limit is reached. Sessions that were evicted do not count.
    pub fn is_full_here(&self) -> bool {
        self.counted_here() >= self.table.most_connections()
    }

    /// Whether even connections that are to be refused exceed the shard's own limit.
    pub fn is_far_above_limit(&self) -> bool {
        let most = self.table.most_connections();
        self.public_connections() >= most.saturating_add(limits::TABLE_SURPLUS_CONNECTIONS)
    }

    /// The connections that count for the shard's own limit.
    pub(super) fn counted_here(&self) -> usize {
        self.public_connections().saturating_sub(self.sessions.suspects.evicted)
    }

    /// Closes every connection, at the end of the process.
    pub fn close_all(&mut self) {
        for slot in self.table.slots() {
            self.table.mark_slot_for_close(Slot(slot as u32), EndReason::Restarting);
        }
        self.reap();
    }

    /// What the frames of clients have to conform to.
    #[inline]
    pub(super) fn frame_rules(&self) -> ReceiveLimits {
        ReceiveLimits {
            sender: Side::Client,
            max_message_bytes: self.setup.limits.max_message_bytes,
            max_fragments: limits::MESSAGE_FRAGMENTS,
        }
    }
}
