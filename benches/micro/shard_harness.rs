//! A shard core with two users in a room, and sockets in memory.

use crate::common::KEY;
use crate::operations::candidate;
use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
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
use switchboard::telemetry::ShardCounters;
use switchboard::timestamp::Timestamp;
use switchboard::wire::http::HttpDate;
use switchboard::wire::message::client::write_find_match;
use switchboard::wire::websocket::frame::{TEXT, push_client_frame};

/// A host whose next read returns `incoming`, and which discards what is sent.
#[derive(Debug, Default)]
struct Void {
    incoming: Vec<u8>,
    letters: Vec<MatcherCommand>,
    last_sent: Rc<RefCell<Vec<u8>>>,
    keep_sent: bool,
    /// Whether the next read finds the end of the connection.
    ends: bool,
}

impl Transport for Void {
    type Socket = u32;
    fn recv(&mut self, _: &mut u32, into: &mut [u8]) -> RecvOutcome {
        if self.ends {
            return RecvOutcome::End;
        }
        let count = self.incoming.len();
        into[..count].copy_from_slice(&self.incoming);
        RecvOutcome::Bytes(count)
    }
    fn send(&mut self, _: &mut u32, bytes: &[u8]) -> SendOutcome {
        if self.keep_sent {
            *self.last_sent.borrow_mut() = bytes.to_vec();
        }
        SendOutcome::Took(bytes.len())
    }
    fn shut_write(&mut self, _: &mut u32) {}
    fn watch(&mut self, _: &mut u32, _: ConnectionKey) -> bool {
        true
    }
    fn unwatch(&mut self, _: &mut u32) {}
    fn close(&mut self, _: u32) {}
    fn adopt(&mut self, _: ShardId, _: &mut u32) -> AdoptOutcome<u32> {
        AdoptOutcome::AsIs
    }
    fn release(&mut self, _: u32) {}
    fn peer_address(&self, _: &u32) -> Option<IpAddr> {
        None
    }
}

impl CommandSink<u32> for Void {
    fn send_to_matcher(&mut self, command: MatcherCommand) {
        self.letters.push(command);
    }
    fn send_to_shard(&mut self, _: ShardId, _: CoreCommand<u32>) {}
}

impl Services for Void {
    fn now(&mut self) -> Timestamp {
        Timestamp::ZERO
    }
    fn http_date(&mut self) -> Option<HttpDate> {
        None
    }
    fn document(&mut self, _: Document<'_>) -> Option<DocumentContent> {
        None
    }
    fn ice_servers(&mut self, _: Token) -> Cow<'_, str> {
        Cow::Borrowed("[]")
    }
    fn count_client(&mut self, _: IpAddr, counted: Option<IpAddr>) -> AdmissionDecision {
        AdmissionDecision::Admit { refusal: None, counted }
    }
    fn connection_ended(&mut self, _: Option<IpAddr>) {}
}

const READABLE: Readiness = Readiness { readable: true, writable: false, read_on: false };

/// A shard, and one member of its room.
pub(crate) struct ShardHarness {
    core: Core<Void>,
    sender: ConnectionKey,
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
        let host = Void { keep_sent: true, ..Void::default() };
        let mut core = Core::new(ShardId(0), setup, 1000, counters, host);
        core.begin_iteration(Timestamp::ZERO);
        let upgrade =
            b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut find = Vec::new();
        write_find_match(&mut find, None);
        let mut bytes = upgrade.to_vec();
        push_client_frame(&mut bytes, TEXT, &find, KEY);
        let users: Vec<ConnectionKey> = (0..2)
            .map(|socket| {
                core.host.incoming = bytes.clone();
                let key = core.admit(socket, None, None);
                core.handle_event(key, READABLE);
                key
            })
            .collect();
        let tickets: Vec<Ticket> = std::mem::take(&mut core.host.letters)
            .into_iter()
            .map(|letter| match letter {
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
        core.host.keep_sent = false;
        let announced = String::from_utf8_lossy(&core.host.last_sent.borrow()).into_owned();
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
        self.core.host.incoming.clear();
        self.core.host.incoming.extend_from_slice(read);
        self.core.begin_iteration(Timestamp::ZERO);
        self.core.handle_event(self.sender, READABLE);
    }

    /// Opens, upgrades and closes a connection.
    pub(crate) fn open_and_close(&mut self, request: &[u8]) {
        self.core.host.incoming.clear();
        self.core.host.incoming.extend_from_slice(request);
        let key = self.core.admit(9, None, None);
        self.core.handle_event(key, READABLE);
        self.core.host.ends = true;
        self.core.handle_event(key, READABLE);
        self.core.host.ends = false;
    }
}
