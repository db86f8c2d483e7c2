//! What a shard core asks of the world around it. Pure: the driver answers with sockets and
//! mailboxes, the simulator with queues of its own.

use crate::access::admission::AdmissionDecision;
use crate::commands::MatcherCommand;
use crate::ids::{ConnectionKey, ShardId, Token};
use crate::shard::connection::Letter;
use crate::timestamp::Timestamp;
use crate::wire::http::{HttpDate, HttpStatus};
use std::borrow::Cow;
use std::net::IpAddr;

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// This many bytes, at least one.
    Bytes(usize),
    /// Nothing at present.
    WouldBlock,
    /// The peer will send nothing more.
    End,
    /// The connection is broken.
    Broken,
}

/// What became of bytes to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel took the first so many of them, perhaps none.
    Took(usize),
    /// The connection is broken.
    Broken,
}

/// What became of a socket that came in a letter from another shard.
#[derive(Debug)]
pub enum Adopted<S> {
    /// It is good here as it is.
    AsItIs,
    /// This shard has made itself a copy in its place. This is the one that came: the shard it
    /// came from lets go of it ([`Host::release`]) as soon as it is told.
    Copied(S),
    /// There is no descriptor for a copy; it is as it came.
    Refused,
}

/// What a plain request asks to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document<'a> {
    /// `/health`.
    Health {
        /// Whether the server shuts down.
        draining: bool,
    },
    /// `/stats`.
    Stats,
    /// `/metrics`.
    Metrics,
    /// A file of the page, by its path.
    Page(&'a str),
}

/// A document.
#[derive(Clone, Debug)]
pub struct Content {
    /// 200, or 503 for the health of a server that shuts down.
    pub status: HttpStatus,
    /// Its media type.
    pub content_type: &'static str,
    /// More header fields.
    pub fields: Vec<(&'static str, &'static str)>,
    /// Its entity-tag with quotes, if it has one.
    pub etag: Option<&'static str>,
    /// The document itself.
    pub body: Cow<'static, [u8]>,
}

/// The world around a core.
pub trait Host: Sized {
    /// A connection's socket.
    type Socket;

    /// Reads into `into`.
    fn recv(&mut self, socket: &mut Self::Socket, into: &mut [u8]) -> Received;
    /// Sends as much of `bytes` as possible.
    fn send(&mut self, socket: &mut Self::Socket, bytes: &[u8]) -> Sent;
    /// Says that nothing more will be sent; what was sent still arrives.
    fn shut_write(&mut self, socket: &mut Self::Socket);
    /// Reports events of the socket under `key` from now on, those that are due included.
    /// False if that cannot be done.
    fn watch(&mut self, socket: &mut Self::Socket, key: ConnectionKey) -> bool;
    /// Reports no more events of the socket, which goes to another shard.
    fn unwatch(&mut self, socket: &mut Self::Socket);
    /// Makes a socket this shard's that `from` has sent.
    fn adopt(&mut self, from: ShardId, socket: &mut Self::Socket) -> Adopted<Self::Socket>;
    /// Lets go of a socket whose connection is counted elsewhere, or nowhere: of which another
    /// shard, or this one, has another copy, or which came to `--admin-listen`.
    fn release(&mut self, socket: Self::Socket);
    /// A connection has ended. `address` is its address, if connections are counted by address.
    fn close(&mut self, socket: Self::Socket, address: Option<IpAddr>);

    /// The client behind a trusted proxy is known: from now on the connection counts for its
    /// address, and no longer for `before`. `None` if nobody was named, so that whoever is at the
    /// other end of `socket` is taken for the client. A host that knows of no proxies need not
    /// do anything.
    fn count_client(
        &mut self,
        socket: &Self::Socket,
        client: Option<IpAddr>,
        before: Option<IpAddr>,
    ) -> AdmissionDecision {
        let _ = (socket, client);
        AdmissionDecision::Admit { refusal: None, counted: before }
    }

    /// Writes to the matcher.
    fn to_matcher(&mut self, letter: MatcherCommand);
    /// Writes to a shard.
    fn to_shard(&mut self, shard: ShardId, letter: Letter<Self::Socket>);

    /// Reads the clock.
    fn now(&mut self) -> Timestamp;
    /// The present second for HTTP, if there is a wall clock.
    fn http_date(&mut self) -> Option<HttpDate>;
    /// Makes a document; `None` if there is none by that name.
    fn document(&mut self, document: Document<'_>) -> Option<Content>;
    /// The JSON array of ICE servers for a session.
    fn ice_servers(&mut self, session: Token) -> Cow<'_, str>;
}
