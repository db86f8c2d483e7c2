//! A recount of everything that a shard counts, and a check of how its parts fit together. Pure.
//! Tests call it after every step; a server never does.

use super::core::Core;
use super::entry::{Role, TableEntry};
use super::host::Host;
use crate::ids::{ConnectionKey, QueueKey, RoomNo, SessionNo};

/// A connection as the recount found it.
#[derive(Debug)]
pub struct AuditedConnection<'a, S> {
    /// The socket.
    pub socket: &'a S,
    /// The key.
    pub key: ConnectionKey,
    /// Bytes that wait for the kernel to take them.
    pub unsent_bytes: usize,
    /// The session that is attached to it.
    pub session: Option<SessionNo>,
    /// The room of the session.
    pub room: Option<RoomNo>,
    /// The queue in which the session waits.
    pub queue: Option<QueueKey>,
}

/// What the gauges should show.
#[derive(Debug, Default)]
struct RecountedGauges {
    sessions: i64,
    waiting: i64,
    memberships: i64,
    unsent_bytes: i64,
    held_bytes: i64,
    waiting_by_queue: Vec<i64>,
}

impl<H: Host> Core<H> {
    /// Recounts everything and checks that it fits together, between two calls of the core's
    /// entry points.
    ///
    /// # Errors
    /// Describes what does not fit.
    #[doc(hidden)]
    pub fn audit(&self) -> Result<Vec<AuditedConnection<'_, H::Socket>>, String> {
        self.table.audit()?;
        self.reads.audit()?;
        let mut found = Vec::with_capacity(self.table.len());
        let mut recount = RecountedGauges {
            waiting_by_queue: vec![0; self.setup.stats_queues.len()],
            ..Default::default()
        };
        for (key, entry) in self.table.iter() {
            self.audit_entry(key, entry).map_err(|wrong| format!("{key:?}: {wrong}"))?;
            let TableEntry { connection: Some(connection), role, .. } = entry else {
                return Err(format!("{key:?}: detached, although nothing can resume a session"));
            };
            recount.unsent_bytes += connection.unsent_bytes() as i64;
            recount.held_bytes += connection.held_bytes() as i64;
            let session = role.session();
            let queue = session
                .and_then(|session| session.match_request())
                .map(|match_request| match_request.queue);
            let room =
                session.and_then(|session| session.membership()).map(|membership| membership.room);
            recount.sessions += i64::from(session.is_some());
            recount.waiting += i64::from(queue.is_some());
            recount.memberships += i64::from(room.is_some());
            let index = queue.and_then(|queue| self.sessions.named_queue(queue));
            if let Some(count) = index.and_then(|index| recount.waiting_by_queue.get_mut(index)) {
                *count += 1;
            }
            found.push(AuditedConnection {
                socket: &connection.socket,
                key,
                unsent_bytes: connection.unsent_bytes(),
                session: session.map(|session| session.number()),
                room,
                queue,
            });
        }
        self.audit_gauges(&recount)?;
        Ok(found)
    }

    fn audit_entry(&self, key: ConnectionKey, entry: &TableEntry<H::Socket>) -> Result<(), String> {
        let Some(connection) = &entry.connection else { return Ok(()) };
        if let Some(pending) = &connection.pending {
            expect(!pending.is_idle(), || "an idle connection keeps its pending part".into())?;
        }
        let Role::Session(session) = &entry.role else {
            let wrong = || "bytes are held back without a session".into();
            return expect(!connection.is_held_back(), wrong);
        };
        if connection.is_held_back() {
            let is_due = session.awaits_reply() || self.sessions.is_answered(key);
            let wrong = || "bytes are held back although no reply is due".into();
            expect(is_due && connection.has_unsent(), wrong)?;
        }
        let unsent_bytes = connection.unsent_bytes();
        let limit_bytes = self.backlog_bounds().most_bytes;
        let wrong = || format!("{unsent_bytes} unsent bytes, above {limit_bytes}");
        expect(unsent_bytes <= limit_bytes, wrong)?;
        let Some(membership) = session.membership() else { return Ok(()) };
        let peers = self.table.session(membership.peer).and_then(|peer| peer.membership());
        let fits = peers.is_some_and(|peers| {
            peers.room == membership.room
                && peers.peer == key.slot
                && peers.initiator != membership.initiator
                && membership.peer != key.slot
        });
        expect(fits, || format!("its {membership:?} does not match its peer's {peers:?}"))
    }

    fn audit_gauges(&self, recount: &RecountedGauges) -> Result<(), String> {
        let counters = &self.counters;
        let migrating = self.migrations.in_flight() as i64;
        // A session in flight waits for a partner, and counts here until the migration is settled.
        let pairs = [
            ("connections", counters.connections.get(), self.table.len() as i64 + migrating),
            ("sessions", counters.sessions.get(), recount.sessions + migrating),
            ("waiting", counters.waiting.get(), recount.waiting + migrating),
            ("rooms", counters.rooms.get() * 2, recount.memberships),
            ("unsent_bytes", counters.unsent_bytes.get(), recount.unsent_bytes),
            ("held_bytes", counters.held_bytes.get(), recount.held_bytes),
            ("migrations_in_flight", counters.migrations_in_flight.get(), migrating),
        ];
        for (name, shown, counted) in pairs {
            expect(shown == counted, || format!("{name} shows {shown}, counted are {counted}"))?;
        }
        let by_queue = counters.waiting_by_queue.iter().zip(&recount.waiting_by_queue);
        let mut surplus = 0;
        for (index, (gauge, counted)) in by_queue.enumerate() {
            let more = gauge.get() - counted;
            expect(more >= 0, || format!("queue {index} shows {}, {counted} wait", gauge.get()))?;
            surplus += more;
        }
        expect(surplus <= migrating, || format!("queues show {surplus} waiting too many"))
    }
}

fn expect(holds: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong()) }
}
