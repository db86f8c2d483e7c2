//! A shard core with two users in a room, and sockets in memory.

use crate::common::KEY;
use crate::fakes::{FakeHost, FakeServices};
use crate::operations::candidate;
use std::net::IpAddr;
use std::sync::Arc;
use switchboard::access::AccessPolicy;
use switchboard::commands::{
    MatcherCommand, MatcherOutcome, MatcherReply, Pairing, ShardCommand, Ticket,
};
use switchboard::config::{Limits, SessionLog};
use switchboard::ids::{ConnectionKey, ShardId, TokenMint};
use switchboard::shard::core::{Core, Readiness, ShardSetup};
use switchboard::shard::host::{AdoptOutcome, RecvOutcome, SendOutcome, Transport};
use switchboard::telemetry::ShardCounters;
use switchboard::timestamp::Timestamp;
use switchboard::wire::message::client::write_find_match;
use switchboard::wire::websocket::frame::{TEXT, push_client_frame};

/// A network that costs next to nothing: every read returns the same bytes, and what is sent is
/// discarded.
#[derive(Debug, Default)]
pub(crate) struct EndlessNetwork {
    input: Vec<u8>,
    /// Whether the next read finds the end of the connection.
    pub(crate) ends: bool,
    /// What was sent last, for as long as it is kept.
    last_sent: Option<Vec<u8>>,
    /// The connection that was watched last.
    pub(crate) last_watched: Option<ConnectionKey>,
}

impl EndlessNetwork {
    /// Every read returns these bytes from now on.
    pub(crate) fn set_input(&mut self, bytes: &[u8]) {
        self.input.clear();
        self.input.extend_from_slice(bytes);
    }
}

impl Transport for EndlessNetwork {
    type Socket = u32;

    fn recv(&mut self, _: &mut u32, buffer: &mut [u8]) -> RecvOutcome {
        if self.ends {
            return RecvOutcome::End;
        }
        let count = self.input.len();
        buffer[..count].copy_from_slice(&self.input);
        RecvOutcome::Bytes(count)
    }

    fn send(&mut self, _: &mut u32, bytes: &[u8]) -> SendOutcome {
        if let Some(last_sent) = &mut self.last_sent {
            *last_sent = bytes.to_vec();
        }
        SendOutcome::Took(bytes.len())
    }

    fn shut_write(&mut self, _: &mut u32) {}

    fn watch(&mut self, _: &mut u32, key: ConnectionKey) -> bool {
        self.last_watched = Some(key);
        true
    }

    fn unwatch(&mut self, _: &mut u32) {}

    fn adopt(&mut self, _: ShardId, _: &mut u32) -> AdoptOutcome<u32> {
        AdoptOutcome::AsIs
    }

    fn release(&mut self, _: u32) {}

    fn close(&mut self, _: u32) {}

    fn reset(&mut self, _: u32) {}

    fn unacknowledged_bytes(&self, _: &u32) -> usize {
        0
    }

    fn progress_age(&self, _: &u32, _: usize) -> Option<std::time::Duration> {
        None
    }

    fn peer_address(&self, _: &u32) -> Option<IpAddr> {
        None
    }
}

pub(crate) const READABLE: Readiness =
    Readiness { readable: true, writable: false, read_on: false };

/// A shard without connections.
pub(crate) fn new_core(
    id: ShardId,
    limits: Limits,
    counters: Arc<ShardCounters>,
) -> Core<FakeHost<EndlessNetwork>> {
    let setup = ShardSetup {
        limits,
        stats_queues: Vec::new(),
        mint: TokenMint::new([3; 16]),
        echo: false,
        access: AccessPolicy::default(),
        relay_only: false,
        session_log: SessionLog::Off,
    };
    let host = FakeHost::new(EndlessNetwork::default(), FakeServices::default());
    let mut core = Core::new(id, setup, 1000, counters, host);
    core.begin_iteration(Timestamp::ZERO);
    core
}

/// A shard, and one member of its room.
pub(crate) struct ShardHarness {
    core: Core<FakeHost<EndlessNetwork>>,
    sender: ConnectionKey,
    room: String,
}

impl ShardHarness {
    pub(crate) fn with_a_room() -> Self {
        let mut core = new_core(ShardId(0), Limits::default(), Arc::new(ShardCounters::new(0)));
        core.host.network.last_sent = Some(Vec::new());
        let upgrade =
            b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut find = Vec::new();
        write_find_match(&mut find, None);
        let mut bytes = upgrade.to_vec();
        push_client_frame(&mut bytes, TEXT, &find, KEY);
        core.host.network.input = bytes;
        let users = [0, 1].map(|socket| {
            let key = core.admit(socket, None, None);
            core.handle_event(key, READABLE);
            key
        });
        let tickets: Vec<Ticket> = std::mem::take(&mut core.host.commands.to_matcher)
            .into_iter()
            .map(|command| match command {
                MatcherCommand::Enter { ticket, .. } => ticket,
                other => panic!("not a ticket: {other:?}"),
            })
            .collect();
        for ticket in &tickets {
            let outcome = MatcherOutcome::Paired(ticket.number);
            core.handle_command(ShardCommand::Reply(MatcherReply {
                holder: ticket.holder,
                outcome,
            }));
        }
        core.handle_command(ShardCommand::Pair(Pairing { mover: tickets[1], home: tickets[0] }));
        let sent = core.host.network.last_sent.take().expect("it was kept");
        let announced = String::from_utf8_lossy(&sent).into_owned();
        let (_, room) = announced.split_once("\"room_id\":\"").expect("a room");
        ShardHarness { sender: users[0], room: room[..22].to_owned(), core }
    }

    /// The bytes of a read with `messages` candidates.
    pub(crate) fn read_of(&self, messages: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        push_client_frame(&mut frame, TEXT, &candidate(&self.room), KEY);
        frame.repeat(messages)
    }

    /// The bytes of a read with one candidate that names no room.
    pub(crate) fn read_unnamed(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        let named = String::from_utf8(candidate(&self.room)).expect("because JSON is UTF-8");
        let message = named.replacen(&format!(r#","room_id":"{}""#, self.room), "", 1);
        push_client_frame(&mut frame, TEXT, message.as_bytes(), KEY);
        frame
    }

    /// One iteration in which `read` arrives from the member.
    pub(crate) fn relay(&mut self, read: &[u8]) {
        self.core.host.network.set_input(read);
        self.core.begin_iteration(Timestamp::ZERO);
        self.core.handle_event(self.sender, READABLE);
    }

    /// Opens, upgrades and closes a connection.
    pub(crate) fn open_and_close(&mut self, request: &[u8]) {
        self.core.host.network.set_input(request);
        let key = self.core.admit(9, None, None);
        self.core.handle_event(key, READABLE);
        self.core.host.network.ends = true;
        self.core.handle_event(key, READABLE);
        self.core.host.network.ends = false;
        self.core.host.services.ended.clear();
    }
}
