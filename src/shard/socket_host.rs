//! The surroundings of a shard's core in the server: sockets, mailboxes, clocks and documents. It
//! belongs to the thread of the shard and makes no decision.

use super::core::Core;
use super::host::{
    AdoptOutcome, CommandSink, Document, DocumentContent, RecvOutcome, SendOutcome, Services,
    SessionEnd, Transport,
};
use super::migration::CoreCommand;
use super::socket::ShardSocket;
use super::suspects::Contention;
use crate::access::admission::{Admission, AdmissionDecision};
use crate::access::eviction::{EvictionCandidate, TakenCandidates};
use crate::commands::{EvictionScope, MatcherCommand, ReloadedSettings};
use crate::ids::{ConnectionKey, ShardId, Token};
use crate::logging::throttled_lines::{ADOPTION_FAILED, UNWATCH_FAILED, WATCH_FAILED};
use crate::mailbox::failures::{log_send_failure, log_wake_failure};
use crate::mailbox::{BatchSender, MailboxSender};
use crate::page::{self, Asset};
use crate::sys;
use crate::sys::descriptor_tables::ThreadTable;
use crate::sys::send_queue;
use crate::telemetry::Telemetry;
use crate::telemetry::counter::Label as _;
use crate::timestamp::Timestamp;
use crate::wire::http::{HttpDate, HttpStatus, RefusalCause};
use mio::net::TcpStream;
use mio::{Interest, Registry};
use std::borrow::Cow;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

/// A core with sockets.
pub type SocketCore = Core<SocketHost>;

/// A command to the thread of a shard.
pub type ShardThreadCommand = CoreCommand<ShardSocket>;

/// The host of a shard's core.
#[derive(Debug)]
pub struct SocketHost {
    registry: Registry,
    matcher: BatchSender<MatcherCommand>,
    shards: Vec<BatchSender<ShardThreadCommand>>,
    /// Whether a command was sent to another shard in this iteration.
    sent_to_shards: bool,
    admission: Arc<Admission>,
    telemetry: Arc<Telemetry>,
    settings: Arc<ReloadedSettings>,
    /// The descriptor tables of the other shards by their numbers, where every shard has its own.
    tables: Option<Vec<Option<ThreadTable>>>,
    /// The `Date` field, and the second that it is for.
    date: Option<(u64, HttpDate)>,
    /// `/stats` and `/metrics` as first rendered in this iteration: rendering takes longer than
    /// sending many times.
    figures: [Option<Vec<u8>>; 2],
}

impl SocketHost {
    /// A host that watches sockets with `registry` and sends to the given mailboxes.
    pub fn new(
        registry: Registry,
        matcher: MailboxSender<MatcherCommand>,
        shards: Vec<MailboxSender<ShardThreadCommand>>,
        admission: Arc<Admission>,
        telemetry: Arc<Telemetry>,
        settings: Arc<ReloadedSettings>,
    ) -> Self {
        SocketHost {
            registry,
            matcher: BatchSender::new(matcher),
            shards: shards.into_iter().map(BatchSender::new).collect(),
            sent_to_shards: false,
            admission,
            telemetry,
            settings,
            tables: None,
            date: None,
            figures: Default::default(),
        }
    }

    /// Sockets from other shards are in these descriptor tables, and not in that of this thread.
    #[must_use]
    pub fn duplicating_from(self, tables: Option<Vec<Option<ThreadTable>>>) -> Self {
        SocketHost { tables, ..self }
    }

    /// Begins an iteration: the next request for `/stats` or `/metrics` renders its figures again.
    pub(super) fn begin_iteration(&mut self) {
        self.figures = Default::default();
    }

    /// Wakes the threads that commands were sent to.
    pub(super) fn flush_wakeups(&mut self) {
        log_wake_failure(self.matcher.flush_wakeups());
        if std::mem::take(&mut self.sent_to_shards) {
            self.shards.iter_mut().for_each(|shard| log_wake_failure(shard.flush_wakeups()));
        }
    }
}

impl Transport for SocketHost {
    type Socket = ShardSocket;

    #[inline]
    fn recv(&mut self, socket: &mut ShardSocket, buffer: &mut [u8]) -> RecvOutcome {
        loop {
            match socket.read(buffer) {
                Ok(0) => return RecvOutcome::End,
                Ok(count) => return RecvOutcome::Bytes(count),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return RecvOutcome::WouldBlock,
                    ErrorKind::Interrupted => {}
                    _ => return RecvOutcome::Broken,
                },
            }
        }
    }

    #[inline]
    fn send(&mut self, socket: &mut ShardSocket, bytes: &[u8]) -> SendOutcome {
        loop {
            match socket.write(bytes) {
                Ok(count) => return SendOutcome::Took(count),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return SendOutcome::Took(0),
                    ErrorKind::Interrupted => {}
                    _ => return SendOutcome::Broken,
                },
            }
        }
    }

    fn shut_write(&mut self, socket: &mut ShardSocket) {
        // It fails if the connection is gone, which needs no half-close.
        let _gone = socket.shutdown(Shutdown::Write);
    }

    fn watch(&mut self, socket: &mut ShardSocket, key: ConnectionKey) -> bool {
        let token = mio::Token(key.to_word() as usize);
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        match self.registry.register(&mut **socket, token, interest) {
            Ok(()) => true,
            Err(error) => {
                if let Some(suppressed) = WATCH_FAILED.permit(sys::clock::monotonic()) {
                    tracing::warn!(%error, suppressed, "a connection cannot be added to the poll");
                }
                false
            }
        }
    }

    fn unwatch(&mut self, socket: &mut ShardSocket) {
        if let Err(error) = self.registry.deregister(&mut **socket)
            && let Some(suppressed) = UNWATCH_FAILED.permit(sys::clock::monotonic())
        {
            tracing::warn!(%error, suppressed, "a connection cannot be removed from the poll");
        }
    }

    fn adopt(&mut self, from: ShardId, socket: &mut ShardSocket) -> AdoptOutcome<ShardSocket> {
        let Some(tables) = &self.tables else { return AdoptOutcome::AsIs };
        let duplicated = match tables.get(from.index()) {
            Some(Some(table)) => table.copy(socket.as_raw_fd()),
            Some(None) | None => return AdoptOutcome::Rejected,
        };
        match duplicated {
            Ok(duplicate) => {
                let duplicate = ShardSocket::from(TcpStream::from_std(duplicate.into()));
                AdoptOutcome::Duplicated { original: std::mem::replace(socket, duplicate) }
            }
            Err(error) => {
                if let Some(suppressed) = ADOPTION_FAILED.permit(sys::clock::monotonic()) {
                    tracing::warn!(
                        %error,
                        suppressed,
                        "a connection from another shard cannot be taken in and goes back"
                    );
                }
                AdoptOutcome::Rejected
            }
        }
    }

    fn release(&mut self, socket: ShardSocket) {
        socket.close();
    }

    fn close(&mut self, socket: ShardSocket) {
        socket.close();
    }

    fn reset(&mut self, socket: ShardSocket) {
        // It fails only for a descriptor that is no socket.
        let _set = send_queue::reset_on_close(&*socket);
        socket.close();
    }

    fn unacknowledged_bytes(&self, socket: &ShardSocket) -> usize {
        send_queue::unacknowledged_bytes(&**socket)
    }

    fn progress_age(&self, socket: &ShardSocket, bytes: usize) -> Option<Duration> {
        send_queue::progress_age(&**socket, bytes)
    }

    fn peer_address(&self, socket: &ShardSocket) -> Option<IpAddr> {
        socket.peer_addr().ok().map(|address| address.ip())
    }
}

impl CommandSink<ShardSocket> for SocketHost {
    fn send_to_matcher(&mut self, command: MatcherCommand) {
        log_send_failure(self.matcher.send(command));
    }

    fn send_to_shard(&mut self, shard: ShardId, command: ShardThreadCommand) {
        self.sent_to_shards = true;
        log_send_failure(self.shards[shard.index()].send(command));
    }
}

impl Services for SocketHost {
    #[inline]
    fn now(&mut self) -> Timestamp {
        sys::clock::monotonic()
    }

    fn http_date(&mut self) -> Option<HttpDate> {
        let now = sys::process::unix_time();
        match self.date {
            Some((second, date)) if second == now.as_secs() => Some(date),
            Some(_) | None => {
                let date = HttpDate::from_unix(now);
                self.date = Some((now.as_secs(), date));
                Some(date)
            }
        }
    }

    fn document(&mut self, document: Document<'_>) -> Option<DocumentContent> {
        let now = sys::clock::monotonic();
        let (status, content_type, body) = match document {
            Document::Health { draining } => {
                let status = if draining { HttpStatus::ServiceUnavailable } else { HttpStatus::Ok };
                let body = crate::telemetry::health_json(&self.telemetry, draining, now);
                (status, "application/json", body)
            }
            Document::Stats => {
                let render = || crate::telemetry::stats_json(&self.telemetry, now);
                // guard: figures are rendered once an iteration [receiver value None]
                let body = self.figures[0].get_or_insert_with(render).clone();
                (HttpStatus::Ok, "application/json", body)
            }
            Document::Metrics => {
                let render = || crate::telemetry::metrics_text(&self.telemetry);
                // guard: figures are rendered once an iteration [receiver value None]
                let body = self.figures[1].get_or_insert_with(render).clone();
                (HttpStatus::Ok, crate::telemetry::METRICS_CONTENT_TYPE, body)
            }
            Document::Page { path, gzip } => {
                return page::asset(path).map(|asset| page_content(asset, gzip));
            }
        };
        let fields = vec![("Cache-Control", "no-store")];
        Some(DocumentContent { status, content_type, fields, etag: None, body: body.into() })
    }

    fn expected_wait(&self, named_queue: usize) -> Option<Duration> {
        self.telemetry.sample.expected_waits.of_queue(named_queue)
    }

    fn reload(&mut self, settings: Arc<ReloadedSettings>) {
        self.settings = settings;
    }

    fn ice_servers(&mut self, session: Token) -> Cow<'_, str> {
        let now_s = sys::process::unix_time().as_secs();
        self.settings.ice_servers.session_json(session.as_str(), now_s)
    }

    fn match_ice_servers(&mut self, session: Token) -> Option<String> {
        let now_s = sys::process::unix_time().as_secs();
        self.settings.ice_servers.match_json(session.as_str(), now_s)
    }

    fn count_client(&mut self, client: IpAddr, before: Option<IpAddr>) -> AdmissionDecision {
        self.admission.count_client(client, before, sys::clock::monotonic())
    }

    fn refusal_of_another(&self, counted: Option<IpAddr>) -> Option<RefusalCause> {
        self.admission.refusal_of_another(counted, sys::clock::monotonic())
    }

    fn log_session_end(&mut self, end: SessionEnd) {
        tracing::debug!(
            session = end.session.as_str(),
            reason = end.reason.name(),
            duration_ms = end.duration.as_millis() as u64,
            client = end.client.map(display),
            "session ended"
        );
    }

    fn match_delay(&mut self, counted: IpAddr) -> Duration {
        self.admission.match_delay(counted, sys::clock::monotonic())
    }

    fn charge_match(&mut self, counted: IpAddr) {
        self.admission.charge_match(counted, sys::clock::monotonic());
    }

    fn read_contention(&mut self, contention: &mut Contention) {
        contention.is_full = self.admission.is_full();
        let now = sys::clock::monotonic();
        self.admission.contended_addresses(now, &mut contention.addresses);
    }

    fn publish_candidates(&mut self, shard: ShardId, idle: usize, heard: Option<Timestamp>) {
        self.admission.publish_candidates(shard, idle, heard);
    }

    fn publish_candidate_of(&mut self, shard: ShardId, address: IpAddr, one: EvictionCandidate) {
        self.admission.publish_candidate_of(shard, address, one);
    }

    fn missing_places(&self, scope: EvictionScope) -> usize {
        self.admission.missing_places(scope)
    }

    fn take_candidates(&mut self, scope: EvictionScope, wanted: usize) -> Option<TakenCandidates> {
        self.admission.take_candidates(scope, wanted, sys::clock::monotonic())
    }

    fn connection_evicted(&mut self, counted: Option<IpAddr>) {
        self.admission.leave(counted);
    }

    fn connection_ended(&mut self, counted: Option<IpAddr>) {
        self.admission.leave(counted);
    }
}

fn page_content(asset: &'static Asset, gzip: bool) -> DocumentContent {
    let compressed = asset.gzip.as_ref().filter(|_| gzip);
    let representation = compressed.unwrap_or(&asset.identity);
    let mut fields = vec![
        ("ETag", &*representation.etag),
        ("Cache-Control", asset.cache_control),
        ("Content-Security-Policy", asset.content_security_policy),
    ];
    // RFC 9110 §12.5.5: a cache must not give the compressed form to a client that cannot read it.
    if asset.gzip.is_some() {
        fields.push(("Vary", "Accept-Encoding"));
    }
    if compressed.is_some() {
        fields.push(("Content-Encoding", "gzip"));
    }
    fields.extend(page::HEADERS);
    DocumentContent {
        status: HttpStatus::Ok,
        content_type: asset.content_type,
        fields,
        etag: Some(&representation.etag),
        body: representation.body.into(),
    }
}
