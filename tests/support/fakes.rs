//! Fakes of what a shard core needs: [`FakeHost`] is a host with a network that the test chooses,
//! one fake of `CommandSink` and one of `Services`. Used by the simulator, the fault harness, the
//! fuzzer and `benches/micro`.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use switchboard::access::admission::{Admission, AdmissionDecision};
use switchboard::access::eviction::{EvictionCandidate, TakenCandidates};
use switchboard::commands::{EvictionScope, MatcherCommand, ReloadedSettings};
use switchboard::ids::{ConnectionKey, ShardId, Token};
use switchboard::shard::host::{
    AdoptOutcome, CommandSink, Document, DocumentContent, RecvOutcome, SendOutcome, Services,
    SessionEnd, Transport,
};
use switchboard::shard::migration::CoreCommand;
use switchboard::shard::suspects::Contention;
use switchboard::timestamp::Timestamp;
use switchboard::wire::http::{HttpDate, HttpStatus, RefusalCause};

/// The host of a core: a network, the commands that the core has sent, and its services.
#[derive(Debug)]
pub(crate) struct FakeHost<T: Transport> {
    pub(crate) network: T,
    pub(crate) commands: SentCommands<T::Socket>,
    pub(crate) services: FakeServices,
}

/// The commands that a core has sent. The test takes them out and delivers them.
#[derive(Debug)]
pub(crate) struct SentCommands<S> {
    pub(crate) to_matcher: Vec<MatcherCommand>,
    pub(crate) to_shards: Vec<(ShardId, CoreCommand<S>)>,
}

/// What the process provides to a core.
#[derive(Debug, Default)]
pub(crate) struct FakeServices {
    /// The time on the monotonic clock. There is no wall clock.
    pub(crate) now: Timestamp,
    /// The size of every document. `/` is the only page.
    pub(crate) document_bytes: usize,
    /// Counts clients; without it every client is admitted and none is counted.
    pub(crate) admission: Option<Rc<Admission>>,
    /// The expected wait of each named queue; those beyond have none.
    pub(crate) expected_waits: Vec<Duration>,
    /// The counted address of each connection that has ended.
    pub(crate) ended: Vec<Option<IpAddr>>,
    /// The end of each session that was logged.
    pub(crate) session_ends: Vec<SessionEnd>,
    /// Connections that no longer counted before they ended.
    pub(crate) evicted: usize,
}

impl<T: Transport> FakeHost<T> {
    /// A host that has sent nothing.
    pub(crate) fn new(network: T, services: FakeServices) -> Self {
        let commands = SentCommands { to_matcher: Vec::new(), to_shards: Vec::new() };
        FakeHost { network, commands, services }
    }
}

impl<T: Transport> Transport for FakeHost<T> {
    type Socket = T::Socket;

    #[inline]
    fn recv(&mut self, socket: &mut T::Socket, buffer: &mut [u8]) -> RecvOutcome {
        self.network.recv(socket, buffer)
    }

    #[inline]
    fn send(&mut self, socket: &mut T::Socket, bytes: &[u8]) -> SendOutcome {
        self.network.send(socket, bytes)
    }

    fn shut_write(&mut self, socket: &mut T::Socket) {
        self.network.shut_write(socket);
    }

    fn watch(&mut self, socket: &mut T::Socket, key: ConnectionKey) -> bool {
        self.network.watch(socket, key)
    }

    fn unwatch(&mut self, socket: &mut T::Socket) {
        self.network.unwatch(socket);
    }

    fn adopt(&mut self, from: ShardId, socket: &mut T::Socket) -> AdoptOutcome<T::Socket> {
        self.network.adopt(from, socket)
    }

    fn release(&mut self, socket: T::Socket) {
        self.network.release(socket);
    }

    fn close(&mut self, socket: T::Socket) {
        self.network.close(socket);
    }

    fn reset(&mut self, socket: T::Socket) {
        self.network.reset(socket);
    }

    fn unacknowledged_bytes(&self, socket: &T::Socket) -> usize {
        self.network.unacknowledged_bytes(socket)
    }

    fn progress_age(&self, socket: &T::Socket, bytes: usize) -> Option<Duration> {
        self.network.progress_age(socket, bytes)
    }

    fn peer_address(&self, socket: &T::Socket) -> Option<IpAddr> {
        self.network.peer_address(socket)
    }
}

impl<T: Transport> CommandSink<T::Socket> for FakeHost<T> {
    fn send_to_matcher(&mut self, command: MatcherCommand) {
        self.commands.to_matcher.push(command);
    }

    fn send_to_shard(&mut self, shard: ShardId, command: CoreCommand<T::Socket>) {
        self.commands.to_shards.push((shard, command));
    }
}

impl<T: Transport> Services for FakeHost<T> {
    #[inline]
    fn now(&mut self) -> Timestamp {
        self.services.now
    }

    fn http_date(&mut self) -> Option<HttpDate> {
        None
    }

    fn document(&mut self, document: Document<'_>) -> Option<DocumentContent> {
        let status = match document {
            Document::Health { draining: true } => HttpStatus::ServiceUnavailable,
            Document::Page { path, .. } if path != "/" => return None,
            Document::Health { .. }
            | Document::Stats
            | Document::Metrics
            | Document::Page { .. } => HttpStatus::Ok,
        };
        let body = vec![b'x'; self.services.document_bytes].into();
        let (content_type, fields) = ("text/plain", Vec::new());
        Some(DocumentContent { status, content_type, fields, etag: None, body })
    }

    fn expected_wait(&self, named_queue: usize) -> Option<Duration> {
        self.services.expected_waits.get(named_queue).copied()
    }

    fn reload(&mut self, _settings: Arc<ReloadedSettings>) {}

    fn ice_servers(&mut self, _session: Token) -> Cow<'_, str> {
        Cow::Borrowed("[]")
    }

    fn match_ice_servers(&mut self, _session: Token) -> Option<String> {
        None
    }

    fn count_client(&mut self, client: IpAddr, before: Option<IpAddr>) -> AdmissionDecision {
        match &self.services.admission {
            Some(admission) => admission.count_client(client, before, self.services.now),
            None => AdmissionDecision::Admit { refusal: None, counted: before },
        }
    }

    fn refusal_of_another(&self, counted: Option<IpAddr>) -> Option<RefusalCause> {
        let admission = self.services.admission.as_ref()?;
        admission.refusal_of_another(counted, self.services.now)
    }

    fn log_session_end(&mut self, end: SessionEnd) {
        self.services.session_ends.push(end);
    }

    fn match_delay(&mut self, counted: IpAddr) -> Duration {
        let now = self.services.now;
        let admission = self.services.admission.as_ref();
        admission.map_or(Duration::ZERO, |admission| admission.match_delay(counted, now))
    }

    fn charge_match(&mut self, counted: IpAddr) {
        if let Some(admission) = &self.services.admission {
            admission.charge_match(counted, self.services.now);
        }
    }

    fn read_contention(&mut self, contention: &mut Contention) {
        if let Some(admission) = &self.services.admission {
            contention.is_full = admission.is_full();
            admission.contended_addresses(self.services.now, &mut contention.addresses);
        }
    }

    fn publish_candidates(&mut self, shard: ShardId, idle: usize, heard: Option<Timestamp>) {
        if let Some(admission) = &self.services.admission {
            admission.publish_candidates(shard, idle, heard);
        }
    }

    fn publish_candidate_of(&mut self, shard: ShardId, address: IpAddr, one: EvictionCandidate) {
        if let Some(admission) = &self.services.admission {
            admission.publish_candidate_of(shard, address, one);
        }
    }

    fn missing_places(&self, scope: EvictionScope) -> usize {
        let admission = self.services.admission.as_ref();
        admission.map_or(0, |admission| admission.missing_places(scope))
    }

    fn take_candidates(&mut self, scope: EvictionScope, wanted: usize) -> Option<TakenCandidates> {
        let admission = self.services.admission.as_ref()?;
        admission.take_candidates(scope, wanted, self.services.now)
    }

    fn connection_evicted(&mut self, counted: Option<IpAddr>) {
        if let Some(admission) = &self.services.admission {
            admission.leave(counted);
        }
        self.services.evicted += 1;
    }

    fn connection_ended(&mut self, counted: Option<IpAddr>) {
        if let Some(admission) = &self.services.admission {
            admission.leave(counted);
        }
        self.services.ended.push(counted);
    }
}

/// A network of one shard, every read and write of which is scripted by the test. A socket is the
/// index of its connection.
#[derive(Debug, Default)]
pub(crate) struct ScriptedNetwork {
    pub(crate) connections: Vec<ScriptedConnection>,
    /// Sends on all connections.
    pub(crate) sends: usize,
    /// Bytes read from all connections.
    pub(crate) bytes_read: usize,
}

/// The far end of a connection.
#[derive(Debug, Default)]
pub(crate) struct ScriptedConnection {
    /// What each read returns, one after the other.
    pub(crate) reads: VecDeque<Vec<u8>>,
    /// What every further read returns.
    pub(crate) endless: Option<Vec<u8>>,
    /// Whether the input ends after all that.
    pub(crate) ends: bool,
    /// How much each send takes, one after the other. Further sends take everything.
    pub(crate) takes: VecDeque<usize>,
    /// What was sent.
    pub(crate) sent: Vec<u8>,
    pub(crate) bytes_read: usize,
    pub(crate) closed: bool,
    /// What stays in the kernel of all that was sent.
    pub(crate) unacknowledged_bytes: usize,
    /// How much of what was sent is unacknowledged, and how long ago the client took some of it.
    pub(crate) unacknowledged: Option<(usize, Duration)>,
    /// Whether it was closed with a reset.
    pub(crate) was_reset: bool,
}

impl ScriptedNetwork {
    /// Adds a connection. Returns its socket.
    pub(crate) fn connect(&mut self, connection: ScriptedConnection) -> u32 {
        self.connections.push(connection);
        self.connections.len() as u32 - 1
    }
}

impl Transport for ScriptedNetwork {
    type Socket = u32;

    fn recv(&mut self, socket: &mut u32, buffer: &mut [u8]) -> RecvOutcome {
        let connection = &mut self.connections[*socket as usize];
        assert!(!connection.closed, "a closed socket is read");
        if connection.reads.is_empty() {
            let Some(bytes) = &connection.endless else {
                return if connection.ends { RecvOutcome::End } else { RecvOutcome::WouldBlock };
            };
            connection.reads.push_back(bytes.clone());
        }
        let bytes = &mut connection.reads[0];
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        bytes.drain(..count);
        if bytes.is_empty() {
            connection.reads.pop_front();
        }
        connection.bytes_read += count;
        self.bytes_read += count;
        RecvOutcome::Bytes(count)
    }

    fn send(&mut self, socket: &mut u32, bytes: &[u8]) -> SendOutcome {
        let connection = &mut self.connections[*socket as usize];
        assert!(!connection.closed, "a closed socket is written to");
        let count = connection.takes.pop_front().unwrap_or(usize::MAX).min(bytes.len());
        connection.sent.extend_from_slice(&bytes[..count]);
        self.sends += 1;
        SendOutcome::Took(count)
    }

    fn shut_write(&mut self, _: &mut u32) {}

    fn watch(&mut self, _: &mut u32, _: ConnectionKey) -> bool {
        true
    }

    fn unwatch(&mut self, _: &mut u32) {}

    fn adopt(&mut self, _: ShardId, _: &mut u32) -> AdoptOutcome<u32> {
        panic!("a connection migrates although there is one shard");
    }

    fn release(&mut self, _: u32) {
        panic!("a descriptor is released although there is one table");
    }

    fn close(&mut self, socket: u32) {
        let connection = &mut self.connections[socket as usize];
        assert!(!connection.closed, "a socket is closed twice");
        connection.closed = true;
    }

    fn reset(&mut self, socket: u32) {
        self.connections[socket as usize].was_reset = true;
        self.close(socket);
    }

    fn unacknowledged_bytes(&self, socket: &u32) -> usize {
        self.connections[*socket as usize].unacknowledged_bytes
    }

    fn progress_age(&self, socket: &u32, bytes: usize) -> Option<Duration> {
        let (unacknowledged, age) = self.connections[*socket as usize].unacknowledged?;
        (unacknowledged > bytes).then_some(age)
    }

    fn peer_address(&self, _: &u32) -> Option<IpAddr> {
        None
    }
}
