//! What a shard core needs from its surroundings: [`Transport`] for sockets, [`CommandSink`] for
//! other threads, [`Services`] for clocks, documents and admission. Pure. The event loop
//! implements the three with sockets and mailboxes, the tests with fakes.

use super::migration::CoreCommand;
use super::suspects::Contention;
use crate::access::admission::AdmissionDecision;
use crate::access::eviction::{EvictionCandidate, TakenCandidates};
use crate::commands::{EvictionScope, MatcherCommand, ReloadedSettings};
use crate::ids::{ConnectionKey, ShardId, Token};
use crate::telemetry::labels::EndReason;
use crate::timestamp::Timestamp;
use crate::wire::http::{HttpDate, HttpStatus, RefusalCause};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvOutcome {
    /// This many bytes, at least one.
    Bytes(usize),
    /// Nothing at present.
    WouldBlock,
    /// The peer sends nothing more.
    End,
    /// The connection is broken.
    Broken,
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The kernel took this many bytes from the front, possibly none.
    Took(usize),
    /// The connection is broken.
    Broken,
}

/// The result of adopting a socket that came from another shard.
#[derive(Debug)]
pub enum AdoptOutcome<S> {
    /// The socket is valid on this shard as it is.
    AsIs,
    /// This shard has duplicated the socket into its own descriptor table. The original belongs
    /// to the shard that sent it, which closes it ([`Transport::release`]) when this
    /// shard confirms the migration.
    Duplicated {
        /// The socket as it was received.
        original: S,
    },
    /// This shard has no descriptor for a duplicate. The socket is as it was received.
    Rejected,
}

/// A document that a client can fetch with a request that is not an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document<'a> {
    /// `/health`.
    Health {
        /// Whether the server is shutting down.
        draining: bool,
    },
    /// `/stats`.
    Stats,
    /// `/metrics`.
    Metrics,
    /// A file of the browser page.
    Page {
        /// Its path.
        path: &'a str,
        /// Whether the client accepts it in the gzip format.
        gzip: bool,
    },
}

/// A document that is served over HTTP.
#[derive(Clone, Debug)]
pub struct DocumentContent {
    /// 200, or 503 for the health of a server that is shutting down.
    pub status: HttpStatus,
    /// The media type.
    pub content_type: &'static str,
    /// Further header fields.
    pub fields: Vec<(&'static str, &'static str)>,
    /// The entity-tag with its quotes, if the document has one.
    pub etag: Option<&'static str>,
    /// The body.
    pub body: Cow<'static, [u8]>,
}

/// The end of a session, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// The identifier of the session, which its partners know as `peer_id`. It is no credential.
    pub session: Token,
    /// Why it ended.
    pub reason: EndReason,
    /// How long it lasted.
    pub duration: Duration,
    /// The address of its client, if addresses are logged.
    pub client: Option<IpAddr>,
}

/// Operations on sockets. None of them blocks.
pub trait Transport {
    /// The socket of a connection.
    type Socket;

    /// Reads into `buffer`.
    fn recv(&mut self, socket: &mut Self::Socket, buffer: &mut [u8]) -> RecvOutcome;
    /// Sends as many of `bytes` as possible.
    fn send(&mut self, socket: &mut Self::Socket, bytes: &[u8]) -> SendOutcome;
    /// Half-closes the connection: nothing more is sent, and what was sent still arrives.
    fn shut_write(&mut self, socket: &mut Self::Socket);
    /// Reports events of the socket under `key` from now on, those that are due already
    /// included. False if that is impossible.
    fn watch(&mut self, socket: &mut Self::Socket, key: ConnectionKey) -> bool;
    /// Reports no more events of the socket, which migrates to another shard.
    fn unwatch(&mut self, socket: &mut Self::Socket);
    /// Makes a socket that came from the shard `from` usable on this shard.
    fn adopt(&mut self, from: ShardId, socket: &mut Self::Socket) -> AdoptOutcome<Self::Socket>;
    /// Closes this descriptor. The connection stays open through its other descriptor.
    fn release(&mut self, socket: Self::Socket);
    /// Closes the connection. What was sent may still arrive.
    fn close(&mut self, socket: Self::Socket);
    /// Closes the connection with a reset, so that nothing of it stays in the kernel.
    fn reset(&mut self, socket: Self::Socket);
    /// Bytes that were sent and that the peer has not acknowledged; the half-close counts as one.
    /// None if the connection is broken.
    fn unacknowledged_bytes(&self, socket: &Self::Socket) -> usize;
    /// How long ago the peer took some of what it was sent, if more than `bytes` of that are
    /// unacknowledged.
    fn progress_age(&self, socket: &Self::Socket, bytes: usize) -> Option<Duration>;
    /// The address of the peer; `None` if the connection is gone.
    fn peer_address(&self, socket: &Self::Socket) -> Option<IpAddr>;
}

/// Sends commands to other threads. Sending never blocks.
pub trait CommandSink<S> {
    /// Sends a command to the matcher.
    fn send_to_matcher(&mut self, command: MatcherCommand);
    /// Sends a command to another shard.
    fn send_to_shard(&mut self, shard: ShardId, command: CoreCommand<S>);
}

/// What the process provides to every shard.
pub trait Services {
    /// The time on the monotonic clock.
    fn now(&mut self) -> Timestamp;
    /// The current second for the `Date` field, if there is a wall clock.
    fn http_date(&mut self) -> Option<HttpDate>;
    /// Renders a document; `None` if there is no such document.
    fn document(&mut self, document: Document<'_>) -> Option<DocumentContent>;
    /// How long a user has to wait in a queue, by its index in
    /// [`ShardCounters::room_waits`](crate::telemetry::ShardCounters::room_waits); `None` if that
    /// is unknown.
    fn expected_wait(&self, named_queue: usize) -> Option<Duration>;
    /// Uses these settings from now on.
    fn reload(&mut self, settings: Arc<ReloadedSettings>);
    /// The ICE servers for a session, as a JSON array.
    fn ice_servers(&mut self, session: Token) -> Cow<'_, str>;
    /// The ICE servers for a session that has just been matched; `None` if they are those of
    /// [`Services::ice_servers`].
    fn match_ice_servers(&mut self, session: Token) -> Option<String>;
    /// Counts an admitted connection for the address of `client`, and no longer for `before`.
    fn count_client(&mut self, client: IpAddr, before: Option<IpAddr>) -> AdmissionDecision;
    /// Why one more connection would get no upgrade now, if it came from the client for whose address
    /// a connection is `counted`.
    fn refusal_of_another(&self, counted: Option<IpAddr>) -> Option<RefusalCause>;
    /// Logs the end of a session. Called only if the ends of sessions are logged.
    fn log_session_end(&mut self, end: SessionEnd);
    /// How long the address for which a connection is counted may have no further match; zero if
    /// it may have one now.
    fn match_delay(&mut self, counted: IpAddr) -> Duration;
    /// A connection that is counted for this address has ended a room by its own choice.
    fn charge_match(&mut self, counted: IpAddr);
    /// Which connections are being refused, into `contention`.
    fn read_contention(&mut self, contention: &mut Contention);
    /// Publishes how many idle HTTP connections a shard has, and when its suspect session that has
    /// been silent longest was last heard.
    fn publish_candidates(&mut self, shard: ShardId, idle: usize, heard: Option<Timestamp>);
    /// Publishes a connection of a contended address.
    fn publish_candidate_of(&mut self, shard: ShardId, address: IpAddr, one: EvictionCandidate);
    /// How many connections have to end, so that one that was refused because of this limit is
    /// admitted when it tries again; zero if the limit is no longer reached.
    fn missing_places(&self, scope: EvictionScope) -> usize;
    /// Takes connections of one shard to be closed, if there are any, because one was refused: at
    /// most `wanted` idle HTTP connections, or else a suspect session.
    fn take_candidates(&mut self, scope: EvictionScope, wanted: usize) -> Option<TakenCandidates>;
    /// An evicted connection, which lingers, no longer counts. `counted` is as in
    /// [`Services::connection_ended`], which is not called for it.
    fn connection_evicted(&mut self, counted: Option<IpAddr>);
    /// An admitted connection has ended. `counted` is the address for which it was counted last.
    fn connection_ended(&mut self, counted: Option<IpAddr>);
}

/// Everything that a core needs. Implemented for every type with the three traits.
pub trait Host: Transport + CommandSink<<Self as Transport>::Socket> + Services {}

impl<T: Transport + CommandSink<<T as Transport>::Socket> + Services> Host for T {}
