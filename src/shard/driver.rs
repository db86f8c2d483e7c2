//! The loop of a shard's thread: poll, letters, events, newcomers, time. It carries out what
//! the core decides and decides nothing itself.

use super::accept::Acceptor;
use super::connection;
use super::core::{Core, Readiness};
use super::host::{Adopted, Content, Document, Host, Received, Sent};
use super::socket::ShardSocket;
use crate::access::admission::{Admission, AdmissionDecision};
use crate::commands::{MatcherCommand, ShardCommand};
use crate::ice::IceServers;
use crate::ids::{ConnectionKey, ShardId, Token};
use crate::limits::{COMMANDS_PER_ITERATION, EVENTS_PER_POLL};
use crate::logging::throttle::LogThrottle;
use crate::mailbox::failures::{log_send_failure, log_wake_failure};
use crate::mailbox::{BatchSender, BlockDecision, MailboxReceiver, MailboxSender};
use crate::page::{self, Asset};
use crate::sys;
use crate::sys::descriptor_tables::ThreadTable;
use crate::telemetry::Telemetry;
use crate::telemetry::counters::ShardCounters;
use crate::timestamp::Timestamp;
use crate::wire::http::{HttpDate, HttpStatus};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry};
use std::borrow::Cow;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

/// The token of a thread's waker.
pub const WAKER: mio::Token = mio::Token(usize::MAX);
/// Listeners have tokens from here on downwards. No connection's key is one of them: its slot
/// would be above every possible limit.
const LAST_LISTENER: usize = usize::MAX - 1;

/// The token of a shard's `nth` listener.
pub fn listener_token(nth: usize) -> mio::Token {
    mio::Token(LAST_LISTENER - nth)
}

/// A letter as this shard's thread receives it.
pub type Letter = connection::Letter<ShardSocket>;

/// The world around a shard core: sockets, mailboxes and clocks.
#[derive(Debug)]
pub struct Sockets {
    registry: Registry,
    matcher: BatchSender<MatcherCommand>,
    shards: Vec<BatchSender<Letter>>,
    /// Whether anything was written to another shard in this turn.
    wrote_to_shards: bool,
    admission: Arc<Admission>,
    telemetry: Arc<Telemetry>,
    ice_servers: Arc<IceServers>,
    /// Where every shard has a descriptor table of its own: the other shards', by their numbers.
    tables: Option<Vec<Option<ThreadTable>>>,
    /// The second that was last written out, and how.
    date: Option<(u64, HttpDate)>,
    /// `/stats` and `/metrics` as they were first asked for in this turn: to make one takes longer
    /// than to send many.
    figures: [Option<Vec<u8>>; 2],
}

/// What all shards together may say once a minute.
static UNWATCHED: LogThrottle = LogThrottle::new();
static NOT_GIVEN_UP: LogThrottle = LogThrottle::new();
static NOT_TAKEN_OVER: LogThrottle = LogThrottle::new();

impl Sockets {
    /// A host over `registry`, with a mailbox for every thread it may write to.
    pub fn new(
        registry: Registry,
        matcher: MailboxSender<MatcherCommand>,
        shards: Vec<MailboxSender<Letter>>,
        admission: Arc<Admission>,
        telemetry: Arc<Telemetry>,
        ice_servers: Arc<IceServers>,
    ) -> Self {
        Sockets {
            registry,
            matcher: BatchSender::new(matcher),
            shards: shards.into_iter().map(BatchSender::new).collect(),
            wrote_to_shards: false,
            admission,
            telemetry,
            ice_servers,
            tables: None,
            date: None,
            figures: Default::default(),
        }
    }

    /// A turn begins: whoever asks for figures gets new ones.
    fn begin_iteration(&mut self) {
        self.figures = Default::default();
    }

    /// Wakes whoever was written to in this turn.
    fn announce(&mut self) {
        log_wake_failure(self.matcher.flush_wakeups());
        if std::mem::take(&mut self.wrote_to_shards) {
            self.shards.iter_mut().for_each(|shard| log_wake_failure(shard.flush_wakeups()));
        }
    }

    /// Sockets that come from other shards lie in these tables, and not in this thread's.
    #[must_use]
    pub fn copying_from(self, tables: Option<Vec<Option<ThreadTable>>>) -> Self {
        Sockets { tables, ..self }
    }
}

impl Host for Sockets {
    type Socket = ShardSocket;

    #[inline]
    fn recv(&mut self, socket: &mut ShardSocket, into: &mut [u8]) -> Received {
        loop {
            match socket.read(into) {
                Ok(0) => return Received::End,
                Ok(count) => return Received::Bytes(count),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Received::WouldBlock,
                    ErrorKind::Interrupted => {}
                    _ => return Received::Broken,
                },
            }
        }
    }

    #[inline]
    fn send(&mut self, socket: &mut ShardSocket, bytes: &[u8]) -> Sent {
        loop {
            match socket.write(bytes) {
                Ok(count) => return Sent::Took(count),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Sent::Took(0),
                    ErrorKind::Interrupted => {}
                    _ => return Sent::Broken,
                },
            }
        }
    }

    fn shut_write(&mut self, socket: &mut ShardSocket) {
        // One that is gone already needs no half-close.
        let _gone = socket.shutdown(Shutdown::Write);
    }

    fn watch(&mut self, socket: &mut ShardSocket, key: ConnectionKey) -> bool {
        let token = mio::Token(key.to_word() as usize);
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        match self.registry.register(&mut **socket, token, interest) {
            Ok(()) => true,
            Err(error) => {
                if let Some(suppressed) = UNWATCHED.permit(sys::clock::monotonic()) {
                    tracing::warn!(%error, suppressed, "a connection cannot be watched");
                }
                false
            }
        }
    }

    fn unwatch(&mut self, socket: &mut ShardSocket) {
        if let Err(error) = self.registry.deregister(&mut **socket)
            && let Some(suppressed) = NOT_GIVEN_UP.permit(sys::clock::monotonic())
        {
            tracing::warn!(%error, suppressed, "a connection cannot be given up");
        }
    }

    fn adopt(&mut self, from: ShardId, socket: &mut ShardSocket) -> Adopted<ShardSocket> {
        let Some(tables) = &self.tables else { return Adopted::AsItIs };
        let copied = match tables.get(from.index()) {
            Some(Some(table)) => table.copy(socket.as_raw_fd()),
            Some(None) | None => return Adopted::Refused,
        };
        match copied {
            Ok(copy) => {
                let copy = ShardSocket::from(TcpStream::from_std(copy.into()));
                Adopted::Copied(std::mem::replace(socket, copy))
            }
            Err(error) => {
                if let Some(suppressed) = NOT_TAKEN_OVER.permit(sys::clock::monotonic()) {
                    tracing::warn!(
                        %error,
                        suppressed,
                        "a session cannot move to its partner's shard; that is tried again"
                    );
                }
                Adopted::Refused
            }
        }
    }

    fn release(&mut self, socket: ShardSocket) {
        socket.close();
    }

    fn close(&mut self, socket: ShardSocket, address: Option<IpAddr>) {
        socket.close();
        self.admission.leave(address);
    }

    fn count_client(
        &mut self,
        socket: &ShardSocket,
        client: Option<IpAddr>,
        before: Option<IpAddr>,
    ) -> AdmissionDecision {
        let peer = || socket.peer_addr().ok().map(|address| address.ip());
        match client.or_else(peer) {
            Some(client) => self.admission.count_client(client, before, sys::clock::monotonic()),
            // It is gone, which the next read will show.
            None => AdmissionDecision::Admit { refusal: None, counted: before },
        }
    }

    fn to_matcher(&mut self, letter: MatcherCommand) {
        log_send_failure(self.matcher.send(letter));
    }

    fn to_shard(&mut self, shard: ShardId, letter: Letter) {
        self.wrote_to_shards = true;
        log_send_failure(self.shards[shard.index()].send(letter));
    }

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

    fn document(&mut self, document: Document<'_>) -> Option<Content> {
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
            Document::Page(path) => return page::asset(path).map(page_content),
        };
        let fields = vec![("Cache-Control", "no-store")];
        Some(Content { status, content_type, fields, etag: None, body: body.into() })
    }

    fn ice_servers(&mut self, session: Token) -> Cow<'_, str> {
        self.ice_servers.json(session.as_str(), sys::process::unix_time().as_secs())
    }
}

fn page_content(asset: &'static Asset) -> Content {
    let mut fields = vec![
        ("ETag", &*asset.etag),
        ("Cache-Control", asset.cache_control),
        ("Content-Security-Policy", asset.content_security_policy),
    ];
    fields.extend(page::HEADERS);
    Content {
        status: HttpStatus::Ok,
        content_type: asset.content_type,
        fields,
        etag: Some(&asset.etag),
        body: asset.body.into(),
    }
}

/// A shard's thread.
#[derive(Debug)]
pub struct Driver {
    poll: Poll,
    events: Events,
    inbox: MailboxReceiver<Letter>,
    core: Core<Sockets>,
    acceptor: Acceptor,
    counters: Arc<ShardCounters>,
    cpu_read: Timestamp,
}

impl Driver {
    /// Everything in place, nothing running.
    pub fn new(
        poll: Poll,
        inbox: MailboxReceiver<Letter>,
        core: Core<Sockets>,
        acceptor: Acceptor,
        counters: Arc<ShardCounters>,
    ) -> Self {
        let events = Events::with_capacity(EVENTS_PER_POLL);
        Driver { poll, events, inbox, core, acceptor, counters, cpu_read: Timestamp::ZERO }
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// When the poll fails, which leaves nothing to go on with.
    pub fn run(mut self) -> io::Result<()> {
        let mut stop = false;
        let mut ended = sys::clock::monotonic();
        while !stop {
            let first = self.wait(ended)?;
            let now = sys::clock::monotonic();
            self.core.begin_iteration(now);
            self.core.share_among(self.readers());
            self.core.host.begin_iteration();
            // Letters before events: a match is announced before its members are read from.
            let mut letters = 0;
            let mut next = first;
            while let Some(letter) = next {
                stop |= matches!(letter, ShardCommand::Stop);
                self.core.letter(letter);
                letters += 1;
                // guard: an iteration takes a bounded number of commands [condition true]
                next =
                    if letters < COMMANDS_PER_ITERATION { self.inbox.try_receive() } else { None };
            }
            for event in &self.events {
                match event.token() {
                    WAKER => {}
                    token if !is_of_connection(token.0) => {
                        self.acceptor.ready(LAST_LISTENER - token.0);
                    }
                    token => {
                        let key = ConnectionKey::from_word(token.0 as u64);
                        self.core.ready(key, readiness(event));
                    }
                }
            }
            self.core.run();
            self.acceptor.accept(&mut self.core, now);
            self.core.tick();
            self.core.host.announce();
            ended = self.end_iteration(now);
        }
        self.acceptor.close();
        self.core.close_all();
        self.core.host.announce();
        Ok(())
    }

    /// Blocks until there is something to do, from `now` on. A letter that came at the last
    /// moment is given back: it is the turn's first.
    fn wait(&mut self, now: Timestamp) -> io::Result<Option<Letter>> {
        let busy = self.core.has_work() || self.acceptor.has_work();
        let (letter, _asleep) = if busy {
            (self.inbox.try_receive(), None)
        } else {
            match self.inbox.prepare_to_block() {
                BlockDecision::Received(letter) => (Some(letter), None),
                BlockDecision::MayBlock(asleep) => (None, Some(asleep)),
            }
        };
        let timeout = if busy || letter.is_some() {
            Some(Duration::ZERO)
        } else {
            let next = [self.core.next_tick(), self.acceptor.next_try()];
            let next = next.into_iter().flatten().min();
            next.map(|next| next.since(now))
        };
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => Ok(letter),
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.events.clear();
                Ok(letter)
            }
            Err(error) => Err(error),
        }
    }

    /// How many connections the events have read.
    fn readers(&self) -> usize {
        let is_read = |event: &&Event| {
            let token = event.token().0;
            let key = ConnectionKey::from_word(token as u64);
            is_of_connection(token) && event.is_readable() && self.core.reads_for_events(key)
        };
        self.events.iter().filter(is_read).count()
    }

    fn end_iteration(&mut self, began: Timestamp) -> Timestamp {
        let now = sys::clock::monotonic();
        self.counters.iteration_time.record(now.since(began));
        if now.since(self.cpu_read) >= Duration::from_secs(1) {
            self.cpu_read = now;
            if let Ok(cpu) = sys::clock::thread_cpu() {
                self.counters.cpu_nanos.raise_to(cpu.as_nanos() as u64);
            }
        }
        now
    }
}

/// Whether a token is neither the waker's nor a listener's.
fn is_of_connection(token: usize) -> bool {
    token <= LAST_LISTENER - u16::MAX as usize
}

fn readiness(event: &Event) -> Readiness {
    let ended = event.is_read_closed() || event.is_error();
    Readiness {
        readable: event.is_readable() || ended,
        writable: event.is_writable(),
        // guard: reading goes on after the mark of urgent data [operand 2 false]
        read_on: ended || event.is_priority(),
    }
}
