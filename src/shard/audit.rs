//! A recount of all that a shard keeps count of, and of how its parts hang together. Pure. The
//! simulation asks for it after every step; a server never does.

use super::connection::{Connection, Role};
use super::core::Core;
use super::host::Host;
use crate::ids::{ConnectionKey, QueueKey, RoomNo, SessionNo, Slot};
use crate::limits;

/// A connection as the recount found it.
#[derive(Debug)]
pub struct Audited<'a, S> {
    /// Its socket.
    pub socket: &'a S,
    /// Its key.
    pub key: ConnectionKey,
    /// Bytes that wait for the kernel to take them.
    pub unsent_bytes: usize,
    /// Its session, if that lives.
    pub session: Option<SessionNo>,
    /// The room it is in.
    pub room: Option<RoomNo>,
    /// Where it waits.
    pub queue: Option<QueueKey>,
    /// Whether it remembers a former partner.
    pub remembers: bool,
}

/// What the gauges should show.
#[derive(Debug, Default)]
struct Recount {
    sessions: i64,
    waiting: i64,
    seats: i64,
    unsent_bytes: i64,
    held_bytes: i64,
    addresses: usize,
    waiting_by_queue: Vec<i64>,
}

impl<H: Host> Core<H> {
    /// Counts everything anew and looks whether all of it fits together, between two calls of
    /// the core's entry points.
    ///
    /// # Errors
    /// Says what is wrong.
    #[doc(hidden)]
    pub fn audit(&self) -> Result<Vec<Audited<'_, H::Socket>>, String> {
        self.audit_rest()?;
        let mut found = Vec::with_capacity(self.connections.len());
        let mut recount =
            Recount { waiting_by_queue: vec![0; self.stats_queues.len()], ..Default::default() };
        for (slot, connection) in &self.connections {
            let key = ConnectionKey { slot: Slot(slot as u32), serial: connection.serial };
            self.audit_connection(key, connection).map_err(|wrong| format!("{key:?}: {wrong}"))?;
            recount.unsent_bytes += connection.unsent_bytes() as i64;
            recount.held_bytes += connection.held_bytes() as i64;
            recount.addresses += usize::from(connection.address.is_some());
            let session = connection.session();
            let queue = session
                .and_then(|session| session.match_request())
                .map(|match_request| match_request.queue);
            let room =
                session.and_then(|session| session.membership()).map(|membership| membership.room);
            recount.sessions += i64::from(session.is_some());
            recount.waiting += i64::from(queue.is_some());
            recount.seats += i64::from(room.is_some());
            if let Some(at) = self.stats_queues.iter().position(|at| Some(*at) == queue) {
                recount.waiting_by_queue[at] += 1;
            }
            found.push(Audited {
                socket: &connection.socket,
                key,
                unsent_bytes: connection.unsent_bytes(),
                session: session.map(|session| session.number()),
                room,
                queue,
                remembers: session.is_some_and(|session| session.has_recent_partner()),
            });
        }
        self.audit_gauges(&recount)?;
        Ok(found)
    }

    /// What must not be left behind by an entry point.
    fn audit_rest(&self) -> Result<(), String> {
        let idle = self.marked_for_close.is_empty() && self.current.is_none();
        expect(idle, || format!("left behind: {:?}, {:?}", self.marked_for_close, self.current))?;
        let answers = &self.answers;
        expect(answers.bytes.is_empty() && !answers.opaque, || "answers are left behind".into())?;
        expect(self.buffer.len() == limits::RECEIVE_BUFFER_BYTES, || "the buffer is gone".into())
    }

    fn audit_connection(
        &self,
        key: ConnectionKey,
        connection: &Connection<H::Socket>,
    ) -> Result<(), String> {
        if let Some(extra) = &connection.extra {
            expect(!extra.is_idle(), || "an idle connection keeps its extra part".into())?;
        }
        if let Some(address) = connection.address {
            let known = self.addresses.contains(address.0.get() as usize - 1);
            expect(known, || "its address is not in the list".into())?;
        }
        let Role::User(session) = &connection.role else {
            return expect(!connection.is_held_back(), || "no user is held back for".into());
        };
        if connection.is_held_back() {
            let due = session.awaits_reply() || self.answered.contains(&key);
            expect(due && connection.has_unsent(), || "it is held back for nothing".into())?;
        }
        let unsent = connection.unsent_bytes();
        let limit = self.setup.limits.max_unsent_bytes;
        expect(unsent <= limit, || format!("{unsent} unsent bytes, above {limit}"))?;
        let Some(membership) = session.membership() else { return Ok(()) };
        let peer = self.connections.get(membership.peer.index()).and_then(|peer| peer.session());
        let theirs = peer.and_then(|peer| peer.membership());
        let fits = theirs.is_some_and(|theirs| {
            theirs.room == membership.room
                && theirs.peer == key.slot
                && theirs.initiator != membership.initiator
                && membership.peer != key.slot
        });
        expect(fits, || format!("its {membership:?} faces {theirs:?}"))
    }

    fn audit_gauges(&self, recount: &Recount) -> Result<(), String> {
        let counters = &self.counters;
        let moves = self.moves_under_way as i64;
        // Whoever is on the way waits, and counts here until the other shard acknowledges.
        let pairs = [
            ("connections", counters.connections.get(), self.connections.len() as i64 + moves),
            ("sessions", counters.sessions.get(), recount.sessions + moves),
            ("waiting", counters.waiting.get(), recount.waiting + moves),
            ("rooms", counters.rooms.get() * 2, recount.seats),
            ("unsent_bytes", counters.unsent_bytes.get(), recount.unsent_bytes),
            ("held_bytes", counters.held_bytes.get(), recount.held_bytes),
            ("migrations_in_flight", counters.migrations_in_flight.get(), moves),
            ("addresses", self.addresses.len() as i64, recount.addresses as i64),
        ];
        for (name, shown, counted) in pairs {
            expect(shown == counted, || format!("{name} shows {shown}, counted are {counted}"))?;
        }
        let by_queue = counters.waiting_by_queue.iter().zip(&recount.waiting_by_queue);
        let mut travelling = 0;
        for (at, (gauge, counted)) in by_queue.enumerate() {
            let more = gauge.get() - counted;
            expect(more >= 0, || format!("queue {at} shows {}, {counted} wait", gauge.get()))?;
            travelling += more;
        }
        expect(travelling <= moves, || format!("{travelling} too many wait by queue"))
    }
}

fn expect(holds: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong()) }
}
