//! A shard core with two users in a room, and sockets in memory.

use crate::common::KEY;
use crate::fakes::{FakeHost, FakeServices, ScriptedConnection, ScriptedNetwork};
use crate::operations::candidate;
use std::sync::Arc;
use switchboard::access::AccessPolicy;
use switchboard::commands::{
    MatcherCommand, MatcherOutcome, MatcherReply, Pairing, ShardCommand, Ticket,
};
use switchboard::config::Limits;
use switchboard::ids::{ConnectionKey, ShardId, TokenMint};
use switchboard::shard::core::{Core, Readiness, ShardSetup};
use switchboard::telemetry::ShardCounters;
use switchboard::timestamp::Timestamp;
use switchboard::wire::message::client::write_find_match;
use switchboard::wire::websocket::frame::{TEXT, push_client_frame};

const READABLE: Readiness = Readiness { readable: true, writable: false, read_on: false };

/// The socket of the member that sends. The other member has the next one.
const SENDER: u32 = 0;

/// A shard, and one member of its room.
pub(crate) struct ShardHarness {
    core: Core<FakeHost<ScriptedNetwork>>,
    sender: ConnectionKey,
    /// The socket of the connection that is opened and closed.
    visitor: u32,
    room: String,
}

impl ShardHarness {
    pub(crate) fn with_a_room() -> Self {
        let setup = ShardSetup {
            limits: Limits::default(),
            stats_queues: Vec::new(),
            mint: TokenMint::new([3; 16]),
            echo: false,
            access: AccessPolicy::default(),
        };
        let counters = Arc::new(ShardCounters::new(0));
        let host = FakeHost::new(ScriptedNetwork::default(), FakeServices::default());
        let mut core = Core::new(ShardId(0), setup, 1000, counters, host);
        core.begin_iteration(Timestamp::ZERO);
        let upgrade =
            b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut find = Vec::new();
        write_find_match(&mut find, None);
        let mut bytes = upgrade.to_vec();
        push_client_frame(&mut bytes, TEXT, &find, KEY);
        let users = [(); 2].map(|()| {
            let reads = [bytes.clone()].into();
            let connection = ScriptedConnection { reads, ..ScriptedConnection::default() };
            let socket = core.host.network.connect(connection);
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
        let sender = &core.host.network.connections[SENDER as usize];
        let announced = String::from_utf8_lossy(&sender.sent).into_owned();
        let (_, room) = announced.split_once("\"room_id\":\"").expect("a room");
        let room = room[..22].to_owned();
        for connection in &mut core.host.network.connections {
            connection.discards = true;
        }
        let visitor = ScriptedConnection { discards: true, ..ScriptedConnection::default() };
        let visitor = core.host.network.connect(visitor);
        ShardHarness { core, sender: users[0], visitor, room }
    }

    /// Every read of a connection returns these bytes from now on.
    fn set_input(&mut self, socket: u32, bytes: &[u8]) {
        let connection = &mut self.core.host.network.connections[socket as usize];
        let input = connection.endless.get_or_insert_default();
        input.clear();
        input.extend_from_slice(bytes);
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
        self.set_input(SENDER, read);
        self.core.begin_iteration(Timestamp::ZERO);
        self.core.handle_event(self.sender, READABLE);
    }

    /// Opens, upgrades and closes a connection.
    pub(crate) fn open_and_close(&mut self, request: &[u8]) {
        self.set_input(self.visitor, request);
        let key = self.core.admit(self.visitor, None, None);
        self.core.handle_event(key, READABLE);
        let visitor = self.visitor as usize;
        let connection = &mut self.core.host.network.connections[visitor];
        let input = connection.endless.take();
        connection.ends = true;
        self.core.handle_event(key, READABLE);
        self.core.host.services.ended.clear();
        let connection = &mut self.core.host.network.connections[visitor];
        (connection.endless, connection.ends, connection.closed) = (input, false, false);
    }
}
