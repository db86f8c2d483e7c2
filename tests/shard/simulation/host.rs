//! What the simulated cores share, and the network as each of them sees it.

use super::event_counts::{EventCounts, Trace};
use super::format::Brief;
use super::mailboxes::Mailboxes;
use super::network::{Connection, SendLimit, Socket};
use super::plan::RunPlan;
use super::random::Random;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;
use switchboard::access::admission::Admission;
use switchboard::ids::{ConnectionKey, ShardId};
use switchboard::shard::host::{AdoptOutcome, RecvOutcome, SendOutcome, Transport};
use switchboard::timestamp::Timestamp;

/// What the cores share with the network, the matcher and the users.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) random: Random,
    pub(crate) plan: RunPlan,
    pub(crate) now: Timestamp,
    /// When the current iteration of each shard began. This is the time that its core sees.
    pub(crate) began: Vec<Timestamp>,
    /// Whether faults are disabled.
    pub(crate) faults_stopped: bool,
    pub(crate) connections: Vec<Connection>,
    /// For each shard, the connections with a pending event.
    pub(crate) raised: Vec<Vec<usize>>,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) admission: Rc<Admission>,
    pub(crate) counts: EventCounts,
    pub(crate) trace: Trace,
    /// Connections that the cores have closed.
    pub(crate) closed: usize,
}

impl Shared {
    /// Whether a fault with this probability occurs now. Never after faults have stopped.
    pub(crate) fn fault(&mut self, per_mille: u32) -> bool {
        !self.faults_stopped && self.random.chance(per_mille)
    }

    /// Size of a kernel buffer: `buffer`, or at least 1 MiB after faults have stopped.
    pub(crate) fn room(&self, buffer: usize) -> usize {
        if self.faults_stopped { buffer.max(1 << 20) } else { buffer }
    }

    /// The descriptor table that a shard uses.
    pub(crate) fn table(&self, shard: ShardId) -> ShardId {
        if self.plan.private_tables { shard } else { ShardId(0) }
    }

    /// Checks that the descriptor table of the shard contains the socket that it uses.
    fn used(&self, shard: ShardId, socket: &Socket) {
        let open = self.connections[socket.connection()].is_open_in(self.table(shard));
        assert!(open, "{shard:?} uses {}, which is not in its table", socket.0);
    }

    /// The longest time without activity of a client, as long as the server may have measured it.
    pub(crate) fn longest_silence(&self, client: usize) -> Duration {
        let connection = &self.connections[client];
        // The server counts whole milliseconds, and with another clock after a migration.
        let tolerance = Duration::from_millis(2);
        connection.longest_silence.max(self.now.since(connection.last_read)) + tolerance
    }

    /// Checks that a member whose partner got `timeout` was silent for two liveness windows.
    pub(crate) fn check_lost(&mut self, member: usize) {
        let silent = self.longest_silence(member);
        let expected = 2 * self.plan.limits.liveness_window;
        assert!(silent >= expected, "`timeout` after {silent:?} of {member}");
        self.counts.count("peer_left: timeout");
    }

    /// Reports an event to the shard that watches the connection.
    pub(crate) fn raise(&mut self, connection: usize) {
        if let Some(shard) = self.connections[connection].raise() {
            self.raised[shard.index()].push(connection);
        }
    }
}

/// The address of a client. There are only three.
pub(crate) fn address_of(connection: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, (connection % 3) as u8])
}

/// The network as one shard sees it.
#[derive(Debug)]
pub(crate) struct SimulatedNetwork {
    pub(crate) shard: ShardId,
    pub(crate) shared: Rc<RefCell<Shared>>,
    /// Connections that were closed and have not been compared with what the core has counted.
    pub(crate) closed: Vec<usize>,
}

impl Transport for SimulatedNetwork {
    type Socket = Socket;

    fn recv(&mut self, socket: &mut Socket, into: &mut [u8]) -> RecvOutcome {
        let shared = &mut *self.shared.borrow_mut();
        shared.used(self.shard, socket);
        let connection = &mut shared.connections[socket.connection()];
        let received = connection.recv(into);
        if let RecvOutcome::Bytes(_) = received {
            connection.record_read(shared.began[self.shard.index()]);
        }
        let shard = self.shard.0;
        shared.trace.log(|| format!("shard {shard} reads {}: {received:?}", socket.0));
        shared.counts.count(match received {
            RecvOutcome::Bytes(_) => "recv: bytes",
            RecvOutcome::WouldBlock => "recv: would block",
            RecvOutcome::End => "recv: end",
            RecvOutcome::Broken => "recv: broken",
        });
        received
    }

    fn send(&mut self, socket: &mut Socket, bytes: &[u8]) -> SendOutcome {
        let shared = &mut *self.shared.borrow_mut();
        shared.used(self.shard, socket);
        let short = shared.fault(shared.plan.faults.short_write);
        let send_limit = match short {
            true => SendLimit::AtMost(shared.random.below(bytes.len())),
            false => SendLimit::All,
        };
        let (room, now) = (shared.room(shared.plan.send_buffer), shared.began[self.shard.index()]);
        let (sent, event) =
            shared.connections[socket.connection()].send(bytes, room, send_limit, now);
        let (shard, all) = (self.shard.0, bytes.len());
        shared.trace.log(|| format!("shard {shard} sends {} {all} bytes: {sent:?}", socket.0));
        shared.counts.count(match sent {
            SendOutcome::Took(0) => "send: would block",
            SendOutcome::Took(count) if count < all => "send: short",
            SendOutcome::Took(_) => "send: all",
            SendOutcome::Broken => "send: broken",
        });
        if event {
            shared.raise(socket.connection());
        }
        sent
    }

    fn shut_write(&mut self, socket: &mut Socket) {
        let shared = &mut *self.shared.borrow_mut();
        shared.used(self.shard, socket);
        shared.connections[socket.connection()].shut_write();
        shared.trace.log(|| format!("the server half-closes {}", socket.0));
    }

    fn watch(&mut self, socket: &mut Socket, key: ConnectionKey) -> bool {
        let shared = &mut *self.shared.borrow_mut();
        shared.used(self.shard, socket);
        if shared.fault(shared.plan.faults.watch_fails) {
            shared.counts.count("fault: watch fails");
            shared.connections[socket.connection()].unwatchable = true;
            shared.trace.log(|| format!("{} cannot be watched", socket.0));
            return false;
        }
        let began = shared.began[self.shard.index()];
        if shared.connections[socket.connection()].watch(self.shard, key, began) {
            shared.raise(socket.connection());
        }
        let shard = self.shard.0;
        shared.trace.log(|| format!("shard {shard} watches {} as {}", socket.0, Brief(&key)));
        true
    }

    fn unwatch(&mut self, socket: &mut Socket) {
        let shared = &mut *self.shared.borrow_mut();
        let began = shared.began[self.shard.index()];
        shared.connections[socket.connection()].unwatch(began);
    }

    fn adopt(&mut self, from: ShardId, socket: &mut Socket) -> AdoptOutcome<Socket> {
        let shared = &mut *self.shared.borrow_mut();
        if !shared.plan.private_tables {
            return AdoptOutcome::AsIs;
        }
        // The sending shard keeps its descriptor until it gets MigrationCompleted.
        shared.used(from, socket);
        if shared.fault(shared.plan.faults.table_full) {
            shared.counts.count("fault: a table is full");
            shared.trace.log(|| format!("{} finds no descriptor", socket.0));
            return AdoptOutcome::Rejected;
        }
        shared.connections[socket.connection()].open_in(self.shard);
        shared.counts.count("net: copied");
        AdoptOutcome::Duplicated { original: std::mem::replace(socket, Socket(socket.0)) }
    }

    fn release(&mut self, socket: Socket) {
        let shared = &mut *self.shared.borrow_mut();
        assert!(shared.plan.private_tables, "there is one copy only");
        shared.connections[socket.connection()].closed_in(self.shard);
    }

    fn close(&mut self, socket: Socket) {
        let shared = &mut *self.shared.borrow_mut();
        let table = shared.table(self.shard);
        shared.connections[socket.connection()].closed_in(table);
        shared.connections[socket.connection()].close();
        shared.closed += 1;
        self.closed.push(socket.connection());
        let shard = self.shard.0;
        shared.trace.log(|| format!("shard {shard} closes {}", socket.0));
    }

    fn reset(&mut self, socket: Socket) {
        let connection = socket.connection();
        self.close(socket);
        let shared = &mut *self.shared.borrow_mut();
        shared.connections[connection].reset_by_server();
        shared.counts.count("net: reset by the server");
    }

    fn unacknowledged_bytes(&self, socket: &Socket) -> usize {
        self.shared.borrow().connections[socket.connection()].unacknowledged_bytes()
    }

    fn progress_age(&self, socket: &Socket, bytes: usize) -> Option<Duration> {
        let shared = self.shared.borrow();
        shared.connections[socket.connection()].progress_age(bytes, shared.now)
    }

    fn peer_address(&self, socket: &Socket) -> Option<IpAddr> {
        Some(address_of(socket.connection()))
    }
}
