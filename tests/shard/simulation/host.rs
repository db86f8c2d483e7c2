//! The world as a shard core sees it: the simulated network and post, under one clock.

use super::net::{Appetite, Link, Socket};
use super::plan::Plan;
use super::post::{Letter, Post};
use super::random::Random;
use super::tally::{Tally, Trace};
use super::tell::Brief;
use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use switchboard::access::admission::{Admission, AdmissionDecision};
use switchboard::commands::MatcherCommand;
use switchboard::ids::{ConnectionKey, ShardId, Token};
use switchboard::shard::host::{
    AdoptOutcome, CommandSink, Document, DocumentContent, RecvOutcome, SendOutcome, Services,
    Transport,
};
use switchboard::timestamp::Timestamp;
use switchboard::wire::http::{HttpDate, HttpStatus};

/// What the cores share with the network, the matcher and the users.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) random: Random,
    pub(crate) plan: Plan,
    pub(crate) now: Timestamp,
    /// When the present turn of each shard began: that is what time it is for a core.
    pub(crate) began: Vec<Timestamp>,
    /// No more faults.
    pub(crate) calm: bool,
    pub(crate) links: Vec<Link>,
    /// For each shard, the connections with an event.
    pub(crate) raised: Vec<Vec<usize>>,
    pub(crate) post: Post,
    pub(crate) admission: Admission,
    pub(crate) tally: Tally,
    pub(crate) trace: Trace,
    /// Connections that the cores have closed.
    pub(crate) closed: usize,
}

impl Shared {
    /// A fault that happens so often in a thousand times, unless all is calm.
    pub(crate) fn fault(&mut self, per_mille: u32) -> bool {
        !self.calm && self.random.chance(per_mille)
    }

    /// Bytes that the kernel keeps where it would keep `buffer`: much, when all is calm.
    pub(crate) fn room(&self, buffer: usize) -> usize {
        if self.calm { buffer.max(1 << 20) } else { buffer }
    }

    /// The descriptor table that a shard uses.
    pub(crate) fn table(&self, shard: ShardId) -> ShardId {
        if self.plan.private_tables { shard } else { ShardId(0) }
    }

    /// A shard uses the socket of a connection: it must have it.
    fn used(&self, shard: ShardId, socket: &Socket) {
        let open = self.links[socket.link()].is_open_in(self.table(shard));
        assert!(open, "{shard:?} uses {}, which lies in another's table", socket.0);
    }

    /// Something happened that is an event for whoever watches the connection.
    pub(crate) fn raise(&mut self, link: usize) {
        if let Some(shard) = self.links[link].raise() {
            self.raised[shard.index()].push(link);
        }
    }
}

/// Where a client is. Three addresses are all there are.
pub(crate) fn address_of(link: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, (link % 3) as u8])
}

/// The world around one core.
#[derive(Debug)]
pub(crate) struct SimHost {
    pub(crate) shard: ShardId,
    pub(crate) shared: Rc<RefCell<Shared>>,
    /// The connection that was just closed, the end of which has not been counted yet.
    pub(crate) closing: Option<usize>,
}

impl Transport for SimHost {
    type Socket = Socket;

    fn recv(&mut self, socket: &mut Socket, into: &mut [u8]) -> RecvOutcome {
        let shared = &mut *self.shared.borrow_mut();
        shared.used(self.shard, socket);
        let link = &mut shared.links[socket.link()];
        let received = link.recv(into);
        if let RecvOutcome::Bytes(_) = received {
            link.heard(shared.began[self.shard.index()]);
        }
        let shard = self.shard.0;
        shared.trace.tell(|| format!("shard {shard} reads {}: {received:?}", socket.0));
        shared.tally.count(match received {
            RecvOutcome::Bytes(_) => "recv: bytes",
            RecvOutcome::WouldBlock => "recv: would block",
            RecvOutcome::End => "recv: end",
            RecvOutcome::Broken => "recv: broken",
        });
        received
    }

    fn send(&mut self, socket: &mut Socket, bytes: &[u8]) -> SendOutcome {
        let shared = &mut *self.shared.borrow_mut();
        shared.used(self.shard, socket);
        let short = shared.fault(shared.plan.faults.short_write);
        let appetite = match short {
            true => Appetite::AtMost(shared.random.below(bytes.len())),
            false => Appetite::All,
        };
        let (room, now) = (shared.room(shared.plan.send_buffer), shared.began[self.shard.index()]);
        let (sent, event) = shared.links[socket.link()].send(bytes, room, appetite, now);
        let (shard, all) = (self.shard.0, bytes.len());
        shared.trace.tell(|| format!("shard {shard} sends {} {all} bytes: {sent:?}", socket.0));
        shared.tally.count(match sent {
            SendOutcome::Took(0) => "send: would block",
            SendOutcome::Took(count) if count < all => "send: short",
            SendOutcome::Took(_) => "send: all",
            SendOutcome::Broken => "send: broken",
        });
        if event {
            shared.raise(socket.link());
        }
        sent
    }

    fn shut_write(&mut self, socket: &mut Socket) {
        let shared = &mut *self.shared.borrow_mut();
        shared.used(self.shard, socket);
        shared.links[socket.link()].shut_write();
        shared.trace.tell(|| format!("the server half-closes {}", socket.0));
    }

    fn watch(&mut self, socket: &mut Socket, key: ConnectionKey) -> bool {
        let shared = &mut *self.shared.borrow_mut();
        shared.used(self.shard, socket);
        if shared.fault(shared.plan.faults.watch_fails) {
            shared.tally.count("fault: watch fails");
            shared.links[socket.link()].unwatchable = true;
            shared.trace.tell(|| format!("{} cannot be watched", socket.0));
            return false;
        }
        if shared.links[socket.link()].watch(self.shard, key) {
            shared.raise(socket.link());
        }
        let shard = self.shard.0;
        shared.trace.tell(|| format!("shard {shard} watches {} as {}", socket.0, Brief(&key)));
        true
    }

    fn unwatch(&mut self, socket: &mut Socket) {
        self.shared.borrow_mut().links[socket.link()].unwatch();
    }

    fn adopt(&mut self, from: ShardId, socket: &mut Socket) -> AdoptOutcome<Socket> {
        let shared = &mut *self.shared.borrow_mut();
        if !shared.plan.private_tables {
            return AdoptOutcome::AsIs;
        }
        // Whoever sent it keeps it until it is told.
        shared.used(from, socket);
        if shared.fault(shared.plan.faults.table_full) {
            shared.tally.count("fault: a table is full");
            shared.trace.tell(|| format!("{} finds no descriptor", socket.0));
            return AdoptOutcome::Rejected;
        }
        shared.links[socket.link()].open_in(self.shard);
        shared.tally.count("net: copied");
        AdoptOutcome::Duplicated { original: std::mem::replace(socket, Socket(socket.0)) }
    }

    fn release(&mut self, socket: Socket) {
        let shared = &mut *self.shared.borrow_mut();
        assert!(shared.plan.private_tables, "there is one copy only");
        shared.links[socket.link()].closed_in(self.shard);
    }

    fn close(&mut self, socket: Socket) {
        let shared = &mut *self.shared.borrow_mut();
        let table = shared.table(self.shard);
        shared.links[socket.link()].closed_in(table);
        shared.links[socket.link()].close();
        shared.closed += 1;
        self.closing = Some(socket.link());
        let shard = self.shard.0;
        shared.trace.tell(|| format!("shard {shard} closes {}", socket.0));
    }

    fn peer_address(&self, socket: &Socket) -> Option<IpAddr> {
        Some(address_of(socket.link()))
    }
}

impl CommandSink<Socket> for SimHost {
    fn send_to_matcher(&mut self, letter: MatcherCommand) {
        let shared = &mut *self.shared.borrow_mut();
        shared.trace.tell(|| format!("shard {} → matcher: {}", self.shard.0, Brief(&letter)));
        shared.post.write_to_matcher(self.shard, letter);
    }

    fn send_to_shard(&mut self, shard: ShardId, letter: Letter) {
        assert_ne!(shard, self.shard, "a letter to itself");
        let shared = &mut *self.shared.borrow_mut();
        let from = self.shard.0;
        shared.trace.tell(|| format!("shard {from} → shard {}: {}", shard.0, Brief(&letter)));
        shared.post.write_to_shard(shard, letter);
    }
}

impl Services for SimHost {
    fn now(&mut self) -> Timestamp {
        self.shared.borrow().now
    }

    fn http_date(&mut self) -> Option<HttpDate> {
        None
    }

    fn document(&mut self, document: Document<'_>) -> Option<DocumentContent> {
        let status = match document {
            Document::Health { draining: true } => HttpStatus::ServiceUnavailable,
            Document::Page(path) if path != "/" => return None,
            Document::Health { .. } | Document::Stats | Document::Metrics | Document::Page(_) => {
                HttpStatus::Ok
            }
        };
        let body = vec![b'x'; self.shared.borrow().plan.document_bytes];
        let content_type = "text/plain";
        Some(DocumentContent {
            status,
            content_type,
            fields: Vec::new(),
            etag: None,
            body: body.into(),
        })
    }

    fn ice_servers(&mut self, _session: Token) -> Cow<'_, str> {
        Cow::Borrowed("[]")
    }

    fn count_client(&mut self, client: IpAddr, before: Option<IpAddr>) -> AdmissionDecision {
        let shared = &*self.shared.borrow();
        assert!(shared.plan.proxied, "a client was identified without a proxy");
        shared.admission.count_client(client, before, shared.now)
    }

    fn connection_ended(&mut self, counted: Option<IpAddr>) {
        let shared = &*self.shared.borrow();
        let link = self.closing.take().expect("the socket is closed first");
        match counted {
            Some(address) => {
                assert!(shared.plan.by_address, "an address was counted without a limit");
                assert_eq!(address, address_of(link), "another client's address was counted");
            }
            // A proxied connection counts for no address until its client is identified.
            None => assert!(!shared.plan.by_address || shared.plan.proxied, "not counted"),
        }
        shared.admission.leave(counted);
    }
}
