//! A shard core over scripted sockets.

pub(crate) use crate::fakes::ScriptedConnection;
use crate::fakes::{FakeHost, FakeServices, ScriptedNetwork};
use std::sync::Arc;
use std::time::Duration;
use switchboard::access::AccessPolicy;
use switchboard::commands::{
    MatcherCommand, MatcherOutcome, MatcherReply, Pairing, ShardCommand, Ticket,
};
use switchboard::config::{Limits, SessionLog};
use switchboard::ids::{ConnectionKey, ShardId, TokenMint};
use switchboard::shard::core::{Core, Readiness, ShardSetup};
use switchboard::telemetry::counters::ShardCounters;
use switchboard::timestamp::Timestamp;
use switchboard::wire::http::{WebSocketKey, write_upgrade_request};
use switchboard::wire::websocket::frame::{TEXT, push_client_frame};

/// The nonce of every handshake and the key of every mask.
pub(crate) const KEY: [u8; 4] = [1, 2, 3, 4];
pub(crate) const READABLE: Readiness =
    Readiness { readable: true, writable: false, read_on: false };
pub(crate) const WRITABLE: Readiness =
    Readiness { readable: false, writable: true, read_on: false };

/// A shard core with a clock that the test controls.
pub(crate) struct ShardHarness {
    pub(crate) core: Core<FakeHost<ScriptedNetwork>>,
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
            relay_only: false,
            session_log: SessionLog::Off,
        };
        let counters = Arc::new(ShardCounters::new(0));
        let services = FakeServices { document_bytes: 2, ..FakeServices::default() };
        let host = FakeHost::new(ScriptedNetwork::default(), services);
        let core = Core::new(ShardId(0), setup, 16, Arc::clone(&counters), host);
        let mut harness = ShardHarness { core, counters, now: Timestamp::ZERO };
        harness.wait(Duration::from_secs(1));
        harness
    }

    /// A connection; its number and its key.
    pub(crate) fn connect(&mut self, fake: ScriptedConnection) -> (usize, ConnectionKey) {
        let socket = self.core.host.network.connect(fake);
        (socket as usize, self.core.admit(socket, None, None))
    }

    /// A user with a session.
    pub(crate) fn session(&mut self) -> (usize, ConnectionKey) {
        self.open("/ws")
    }

    /// A WebSocket connection to `path`.
    pub(crate) fn open(&mut self, path: &str) -> (usize, ConnectionKey) {
        let fake =
            ScriptedConnection { reads: [upgrade(path)].into(), ..ScriptedConnection::default() };
        let (number, key) = self.connect(fake);
        self.core.handle_event(key, READABLE);
        self.fake(number).sent.clear();
        (number, key)
    }

    /// Two users in a room, whose output so far is discarded.
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

    pub(crate) fn fake(&mut self, number: usize) -> &mut ScriptedConnection {
        &mut self.core.host.network.connections[number]
    }

    /// Bytes arrive and cause an event.
    pub(crate) fn arrive(&mut self, (number, key): (usize, ConnectionKey), bytes: &[u8]) {
        self.fake(number).reads.push_back(bytes.to_vec());
        self.core.handle_event(key, READABLE);
    }

    /// The tickets that have been sent to the matcher.
    fn take_tickets(&mut self) -> Vec<Ticket> {
        let commands = std::mem::take(&mut self.core.host.commands.to_matcher);
        let ticket = |command| match command {
            MatcherCommand::Enter { ticket, .. } => Some(ticket),
            MatcherCommand::Leave { .. } | MatcherCommand::Stop => None,
        };
        commands.into_iter().filter_map(ticket).collect()
    }

    /// The matcher queues all tickets and pairs none.
    pub(crate) fn queue_all(&mut self) {
        for ticket in self.take_tickets() {
            let outcome =
                MatcherOutcome::Queued(switchboard::commands::TicketHandle(0), ticket.number);
            self.core.handle_command(ShardCommand::Reply(MatcherReply {
                holder: ticket.holder,
                outcome,
            }));
        }
        self.wait(Duration::ZERO);
    }

    /// The matcher pairs all tickets, two at a time.
    pub(crate) fn match_all(&mut self) {
        for pair in self.take_tickets().chunks_exact(2) {
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

    /// Advances the time, then runs an iteration without events.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.core.begin_iteration(self.now);
        self.core.run_deferred();
        self.core.tick();
    }

    /// Sets the clock back, then runs an iteration.
    pub(crate) fn set_back(&mut self, time: Duration) {
        let nanos = self.now.as_nanos().saturating_sub(time.as_nanos() as u64);
        self.now = Timestamp::from_nanos(nanos);
        self.wait(Duration::ZERO);
    }

    /// Checks the core's tables and gauges against each other.
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
