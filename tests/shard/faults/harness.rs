//! A shard core over sockets that are only queues, each of which does what the test wants.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use switchboard::access::AccessPolicy;
use switchboard::access::admission::AdmissionDecision;
use switchboard::commands::{
    MatcherCommand, MatcherOutcome, MatcherReply, Pairing, ShardCommand, Ticket,
};
use switchboard::config::Limits;
use switchboard::ids::{ConnectionKey, ShardId, Token, TokenMint};
use switchboard::shard::core::{Core, Readiness, ShardSetup};
use switchboard::shard::host::{
    AdoptOutcome, CommandSink, Document, DocumentContent, RecvOutcome, SendOutcome, Services,
    Transport,
};
use switchboard::shard::migration::CoreCommand;
use switchboard::telemetry::counters::ShardCounters;
use switchboard::timestamp::Timestamp;
use switchboard::wire::http::{HttpDate, HttpStatus, WebSocketKey, write_upgrade_request};
use switchboard::wire::websocket::frame::{TEXT, push_client_frame};

/// The key of every handshake and of every mask.
pub(crate) const KEY: [u8; 4] = [1, 2, 3, 4];
pub(crate) const READABLE: Readiness =
    Readiness { readable: true, writable: false, read_on: false };
pub(crate) const WRITABLE: Readiness =
    Readiness { readable: false, writable: true, read_on: false };

/// One end of a connection.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    /// What each read brings.
    pub(crate) reads: VecDeque<Vec<u8>>,
    /// Reads bring this, whenever nothing else is there.
    pub(crate) endless: Option<Vec<u8>>,
    /// Behind all that, the end.
    pub(crate) ends: bool,
    /// What sends take, one after the other; when these are used up, everything.
    pub(crate) takes: VecDeque<usize>,
    pub(crate) sent: Vec<u8>,
    pub(crate) bytes_read: usize,
    pub(crate) closed: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Fakes {
    pub(crate) all: Vec<Fake>,
    tickets: Vec<Ticket>,
    pub(crate) sends: usize,
    /// Bytes read from anybody.
    pub(crate) bytes_read: usize,
}

impl Transport for Fakes {
    type Socket = usize;

    fn recv(&mut self, socket: &mut usize, into: &mut [u8]) -> RecvOutcome {
        let fake = &mut self.all[*socket];
        assert!(!fake.closed, "a closed socket is read");
        let next = fake.reads.pop_front().or_else(|| fake.endless.clone());
        let Some(mut bytes) = next else {
            return if fake.ends { RecvOutcome::End } else { RecvOutcome::WouldBlock };
        };
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        if count < bytes.len() {
            fake.reads.push_front(bytes.split_off(count));
        }
        fake.bytes_read += count;
        self.bytes_read += count;
        RecvOutcome::Bytes(count)
    }

    fn send(&mut self, socket: &mut usize, bytes: &[u8]) -> SendOutcome {
        let fake = &mut self.all[*socket];
        assert!(!fake.closed, "a closed socket is written to");
        let count = fake.takes.pop_front().unwrap_or(usize::MAX).min(bytes.len());
        fake.sent.extend_from_slice(&bytes[..count]);
        self.sends += 1;
        SendOutcome::Took(count)
    }

    fn shut_write(&mut self, _: &mut usize) {}

    fn watch(&mut self, _: &mut usize, _: ConnectionKey) -> bool {
        true
    }

    fn unwatch(&mut self, _: &mut usize) {}

    fn close(&mut self, socket: usize) {
        assert!(!self.all[socket].closed, "closed twice");
        self.all[socket].closed = true;
    }

    fn adopt(&mut self, _: ShardId, _: &mut usize) -> AdoptOutcome<usize> {
        panic!("there is one shard");
    }

    fn release(&mut self, _: usize) {
        panic!("there is one shard");
    }

    fn peer_address(&self, _: &usize) -> Option<IpAddr> {
        None
    }
}

impl CommandSink<usize> for Fakes {
    fn send_to_matcher(&mut self, command: MatcherCommand) {
        if let MatcherCommand::Enter { ticket, .. } = command {
            self.tickets.push(ticket);
        }
    }

    fn send_to_shard(&mut self, _: ShardId, _: CoreCommand<usize>) {
        panic!("there is one shard");
    }
}

impl Services for Fakes {
    fn now(&mut self) -> Timestamp {
        Timestamp::ZERO
    }

    fn http_date(&mut self) -> Option<HttpDate> {
        None
    }

    fn document(&mut self, _: Document<'_>) -> Option<DocumentContent> {
        let (status, body) = (HttpStatus::Ok, b"ok".as_slice().into());
        Some(DocumentContent {
            status,
            content_type: "text/plain",
            fields: Vec::new(),
            etag: None,
            body,
        })
    }

    fn ice_servers(&mut self, _: Token) -> Cow<'_, str> {
        Cow::Borrowed("[]")
    }

    fn count_client(&mut self, _: IpAddr, counted: Option<IpAddr>) -> AdmissionDecision {
        AdmissionDecision::Admit { refusal: None, counted }
    }

    fn connection_ended(&mut self, _: Option<IpAddr>) {}
}

/// The shard.
pub(crate) struct ShardHarness {
    pub(crate) core: Core<Fakes>,
    pub(crate) counters: Arc<ShardCounters>,
    now: Timestamp,
}

impl ShardHarness {
    pub(crate) fn new(limits: Limits) -> Self {
        let setup = ShardSetup {
            limits,
            stats_queues: Vec::new(),
            mint: TokenMint::new([3; 16]),
            echo: true,
            access: AccessPolicy::default(),
        };
        let counters = Arc::new(ShardCounters::new(0));
        let core = Core::new(ShardId(0), setup, 16, Arc::clone(&counters), Fakes::default());
        let mut harness = ShardHarness { core, counters, now: Timestamp::ZERO };
        harness.wait(Duration::from_secs(1));
        harness
    }

    /// A connection; its number and its key.
    pub(crate) fn connect(&mut self, fake: Fake) -> (usize, ConnectionKey) {
        let number = self.core.host.all.len();
        self.core.host.all.push(fake);
        (number, self.core.admit(number, None, None))
    }

    /// A user with a session.
    pub(crate) fn session(&mut self) -> (usize, ConnectionKey) {
        self.open("/ws")
    }

    /// A WebSocket connection to `path`.
    pub(crate) fn open(&mut self, path: &str) -> (usize, ConnectionKey) {
        let fake = Fake { reads: [upgrade(path)].into(), ..Fake::default() };
        let (number, key) = self.connect(fake);
        self.core.handle_event(key, READABLE);
        self.fake(number).sent.clear();
        (number, key)
    }

    /// Two users in a room, who have been told nothing yet that is looked at.
    pub(crate) fn room(&mut self) -> [(usize, ConnectionKey); 2] {
        let both = [self.session(), self.session()];
        for user in both {
            self.arrive(user, &text(r#"{"type":"find_match"}"#));
        }
        self.match_all();
        for (number, _) in both {
            self.fake(number).sent.clear();
        }
        both
    }

    pub(crate) fn fake(&mut self, number: usize) -> &mut Fake {
        &mut self.core.host.all[number]
    }

    /// Bytes arrive, and the poll says so.
    pub(crate) fn arrive(&mut self, (number, key): (usize, ConnectionKey), bytes: &[u8]) {
        self.fake(number).reads.push_back(bytes.to_vec());
        self.core.handle_event(key, READABLE);
    }

    /// The matcher takes note of whoever has asked for a match, and nobody else does ask.
    pub(crate) fn keep_all(&mut self) {
        for ticket in std::mem::take(&mut self.core.host.tickets) {
            let outcome =
                MatcherOutcome::Queued(switchboard::commands::TicketHandle(0), ticket.number);
            self.core.handle_command(ShardCommand::Reply(MatcherReply {
                holder: ticket.holder,
                outcome,
            }));
        }
        self.wait(Duration::ZERO);
    }

    /// Whoever has asked for a match gets one, two by two.
    pub(crate) fn match_all(&mut self) {
        for pair in std::mem::take(&mut self.core.host.tickets).chunks_exact(2) {
            for ticket in pair {
                let outcome = MatcherOutcome::Paired(ticket.number);
                self.core.handle_command(ShardCommand::Reply(MatcherReply {
                    holder: ticket.holder,
                    outcome,
                }));
            }
            self.core.handle_command(ShardCommand::Pair(Pairing { mover: pair[1], home: pair[0] }));
        }
    }

    /// Time passes; then a turn in which nothing has happened.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.core.begin_iteration(self.now);
        self.core.run_deferred();
        self.core.tick();
    }

    /// The clock is set to what it was so long ago, and a turn goes by.
    pub(crate) fn set_back(&mut self, time: Duration) {
        let nanos = self.now.as_nanos().saturating_sub(time.as_nanos() as u64);
        self.now = Timestamp::from_nanos(nanos);
        self.wait(Duration::ZERO);
    }

    /// Nothing of what the core keeps books of is wrong.
    pub(crate) fn audit(&self) {
        if let Err(wrong) = self.core.audit() {
            panic!("{wrong}");
        }
    }
}

/// An opening handshake.
pub(crate) fn upgrade(path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_upgrade_request(&mut out, "harness", path, WebSocketKey::from_nonce([7; 16]), &[]);
    out
}

/// A text message.
pub(crate) fn text(message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_client_frame(&mut out, TEXT, message.as_bytes(), KEY);
    out
}
