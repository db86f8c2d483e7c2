//! An entry of the connection table: a connection, and what it is used for. Pure.
//!
//! A session belongs to the entry and not to the connection: when the connection is lost, the
//! session is detached and keeps its slot, serial, room and side record until it ends.
//!
//! The size of an entry is what an idle user costs. What a connection needs only while something
//! is incomplete is in [`PendingIo`], which exists just as long; what only some connections have
//! is in the [side table](super::side_table).

use super::side_table::SideKey;
use crate::ids::{ConnectionKey, Serial};
use crate::limits::CONNECTION_ENTRY_BYTES;
use crate::session::Session;
use crate::telemetry::labels::EndReason;
use crate::wire::egress::Egress;
use crate::wire::http::{HeadScan, RefusalCause};
use crate::wire::websocket::assembly::PartialMessage;
use std::num::NonZeroU32;

/// An entry of the connection table, in a cache line of its own: relaying a message touches two
/// entries, the sender's and the receiver's.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct TableEntry<S> {
    /// Distinguishes this entry from earlier ones in the same slot.
    pub(super) serial: Serial,
    /// The record in the side table, if there is one.
    pub(super) side: Option<SideKey>,
    /// The connection. `None` only while a session is detached, or until the caller that took the
    /// connection out has removed the entry.
    pub(super) connection: Option<Connection<S>>,
    /// What the connection is used for, or was before it was lost.
    pub(super) role: Role,
}

/// A connection: its socket, and bytes that have been read or written only in part.
#[derive(Debug)]
pub struct Connection<S> {
    /// The socket.
    pub socket: S,
    /// When the client last sent something, or took bytes that had to wait for it; in
    /// milliseconds on the shard's clock.
    pub(super) heard_ms: u32,
    /// What it needs while something is incomplete.
    pub(super) pending: Option<Box<PendingIo>>,
}

/// What a connection is used for. It begins as [`Role::Http`].
#[derive(Debug)]
pub(super) enum Role {
    /// HTTP requests.
    Http(HttpState),
    /// The messages of a session. It is attached to the entry's connection, or detached if there
    /// is none.
    Session(Session),
    /// `/echo`: every message is sent back.
    Echo,
    /// Nothing: the connection is closed as soon as what was sent has arrived.
    Lingering(LingerState),
}

/// The state of a connection that speaks HTTP.
#[derive(Clone, Copy, Debug)]
pub(super) struct HttpState {
    /// When it was accepted, its last request was answered, or the next request began.
    pub(super) since_ms: u32,
    /// Whether a request was answered. Between two requests `--idle-timeout` applies.
    pub(super) has_answered: bool,
    /// Why an upgrade is refused, if a limit on connections has been reached.
    pub(super) refusal: Option<RefusalCause>,
    /// Where its client's address comes from.
    pub(super) source: ClientSource,
}

/// Where the address of a connection's client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientSource {
    /// The socket. The connection has made no request yet.
    NewPeer,
    /// The address is settled: the connection has made a request, or a PROXY protocol header has
    /// named the client.
    Settled,
    /// A trusted proxy that has sent nothing yet. It may begin with a PROXY protocol header.
    NewProxy,
    /// A trusted proxy that names the client in each request.
    ForwardedFor,
    /// None is needed: the connection came to `--admin-listen`.
    Admin,
}

/// The state of a connection that is about to be closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct LingerState {
    /// When it began, or the client last acknowledged some of an HTTP response.
    pub(super) since_ms: u32,
    /// The last response, if the close timeout is extended while the client takes it.
    pub(super) response: Option<LastResponse>,
    /// Whether it came to `--admin-listen`.
    pub(super) is_admin: bool,
    /// Whether it counts for the limits on connections. One that was evicted does not.
    pub(super) is_counted: bool,
    /// How many more bytes are read and dropped.
    pub(super) bytes_left: u32,
    /// Why it is closed.
    pub(super) reason: EndReason,
    /// What ends it before the close timeout.
    pub(super) until: LingerEnd,
}

/// The last HTTP response of a connection, which the client may take slowly.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastResponse {
    /// When the connection began to linger.
    pub(super) begun_ms: u32,
    /// Fewest bytes that the client has had to acknowledge since then.
    pub(super) owed_bytes: u32,
}

/// What a connection that is about to be closed waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LingerEnd {
    /// The end of what the peer sends.
    PeerEnds,
    /// The peer sends nothing more: until it has acknowledged what it was sent.
    Acknowledged,
}

/// What a connection needs only while something is incomplete.
#[derive(Debug, Default)]
pub(super) struct PendingIo {
    /// The beginning of a message.
    pub(super) assembly: Option<Box<PartialMessage>>,
    /// Bytes that the kernel has not taken yet.
    pub(super) egress: Egress,
    /// While at least half of the bound of `egress` is full: when that began, or the client last
    /// took some of it; in milliseconds on the shard's clock.
    pub(super) stuck_since_ms: u32,
    /// Whether `egress` is a lone `waiting` that has not been offered to the kernel: it is sent
    /// together with what follows from the matcher's reply.
    pub(super) is_held_back: bool,
    /// The beginning of a request head, or input that has been read and has to wait.
    pub(super) stored: Vec<u8>,
    /// How far `stored` has been scanned for the end of a head.
    pub(super) scan: HeadScan,
    /// Whether `stored` can be handled without further input, as soon as the run list
    /// reaches the connection and earlier replies have been sent. Nothing more is read until then.
    pub(super) stored_is_backlog: bool,
}

impl PendingIo {
    /// Whether nothing of it is needed any more.
    pub(super) fn is_idle(&self) -> bool {
        self.assembly.is_none() && self.egress.is_empty() && self.stored.is_empty()
    }

    /// Bytes of memory held for input that is incomplete.
    fn held_bytes(&self) -> usize {
        self.stored.capacity() + self.assembly.as_ref().map_or(0, |held| held.memory_bytes())
    }
}

impl<S> TableEntry<S> {
    /// Whether this is the entry of the connection with this key, and not of another connection
    /// that had the slot before or has it now.
    #[inline]
    pub(super) fn belongs_to(&self, key: ConnectionKey) -> bool {
        // guard: an event is for one serial of a slot [value true]
        self.serial == key.serial
    }

    /// Whether bytes wait for the kernel to take them.
    #[inline]
    pub(super) fn has_unsent(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::has_unsent)
    }

    /// Whether the unsent bytes wait for the matcher's reply, and not for the kernel.
    pub(super) fn is_held_back(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_held_back)
    }

    /// Whether stored input waits to be handled.
    pub(super) fn has_backlog(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::has_backlog)
    }
}

impl<S> Connection<S> {
    /// A connection with nothing pending.
    pub(super) fn new(socket: S, heard_ms: u32) -> Self {
        Connection { socket, heard_ms, pending: None }
    }

    /// Whether bytes wait for the kernel to take them.
    #[inline]
    pub(super) fn has_unsent(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| !pending.egress.is_empty())
    }

    /// Whether the unsent bytes wait for the matcher's reply, and not for the kernel.
    #[inline]
    pub(super) fn is_held_back(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.is_held_back)
    }

    /// Whether stored input waits to be handled.
    pub(super) fn has_backlog(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.stored_is_backlog)
    }

    /// Bytes that wait for the kernel to take them.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.egress.unsent_len())
    }

    /// Bytes of memory held for input that is incomplete.
    #[inline]
    pub(super) fn held_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.held_bytes())
    }

    /// Whether the client's `match_found` has not been sent whole. Until then a message from the
    /// client cannot be meant for its partner.
    #[inline]
    pub(super) fn announcement_pending(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.egress.is_match_found_unsent())
    }

    /// The pending part, created if it does not exist.
    pub(super) fn pending_mut(&mut self) -> &mut PendingIo {
        self.pending.get_or_insert_default()
    }

    /// Frees the pending part if nothing of it is needed.
    #[inline]
    pub(super) fn free_idle_pending(&mut self) {
        if self.pending.as_ref().is_some_and(|pending| pending.is_idle()) {
            self.pending = None;
        }
    }

    /// Drops input that is incomplete.
    pub(super) fn drop_input(&mut self) {
        if let Some(pending) = self.pending.as_mut() {
            pending.assembly = None;
            pending.stored = Vec::new();
        }
        self.free_idle_pending();
    }
}

impl Role {
    /// Whether the connection came to `--admin-listen`. Such a connection never has a session.
    pub(super) fn is_admin(&self) -> bool {
        match self {
            Role::Http(http) => http.source == ClientSource::Admin,
            Role::Lingering(lingering) => lingering.is_admin,
            Role::Session(_) | Role::Echo => false,
        }
    }

    /// The session, if there is one.
    #[inline]
    pub(super) fn session(&self) -> Option<&Session> {
        match self {
            Role::Session(session) => Some(session),
            Role::Http(_) | Role::Echo | Role::Lingering(_) => None,
        }
    }

    /// The session, if there is one, to be changed.
    #[inline]
    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        match self {
            Role::Session(session) => Some(session),
            Role::Http(_) | Role::Echo | Role::Lingering(_) => None,
        }
    }

    /// Takes the session out, if there is one, and leaves a role without state. The caller removes
    /// the entry.
    pub(super) fn take_session(&mut self) -> Option<Session> {
        self.session()?;
        match std::mem::replace(self, Role::Echo) {
            Role::Session(session) => Some(session),
            Role::Http(_) | Role::Echo | Role::Lingering(_) => None,
        }
    }
}

/// The size of a slab entry; the slab's own type is private.
#[cfg(not(debug_assertions))]
#[expect(dead_code, reason = "only its size is of interest")]
enum SlabSlot {
    Vacant(usize),
    // In a debug build mio's socket is larger.
    Occupied(TableEntry<super::socket::ShardSocket>),
}

#[cfg(not(debug_assertions))]
const _: () = assert!(size_of::<SlabSlot>() <= CONNECTION_ENTRY_BYTES);
// A descriptor is never -1, and a `NonZeroU32` never 0, so an entry without connection takes no more.
const _: () = assert!(size_of::<TableEntry<NonZeroU32>>() <= CONNECTION_ENTRY_BYTES);
