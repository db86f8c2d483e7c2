//! The client: one thread with many connections, the same for both kinds of server.

use crate::common::{KEY, REQUEST};
use crate::process::Server;
use crate::reference::ANSWER_BYTES;
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};
use switchboard::wire::message::RelayKind;
use switchboard::wire::message::client::{write_find_match, write_relay};
use switchboard::wire::websocket::frame::{TEXT, push_client_frame, push_server_frame};

/// Bytes of a relayed message.
const MESSAGE_BYTES: usize = 200;

/// The kind of the measured server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerKind {
    /// Switchboard.
    Product,
    /// The reference relay.
    Reference,
}

struct BenchClient {
    socket: TcpStream,
    /// Bytes received of the messages that it waits for.
    received: usize,
    /// The identifier of its room; while it waits for one, the text received so far.
    room: String,
    /// When it requested a match.
    asked: Instant,
}

/// Connections to one server.
pub(crate) struct Generator {
    kind: ServerKind,
    poll: Poll,
    events: Events,
    clients: Vec<BenchClient>,
    buffer: Vec<u8>,
    /// Messages that have arrived.
    relayed: u64,
    depth: usize,
}

/// The distance between clients that send one after the other. Coprime to the numbers of clients that
/// the benchmark uses, so that all clients send.
const STRIDE: usize = 7;
/// Connections that are opened at once.
const OPENING: usize = 64;

impl Generator {
    /// Opens `count` connections and waits until each has its session.
    pub(crate) fn connect(server: &Server, count: usize) -> Self {
        switchboard::sys::descriptors::raise_limit().expect("descriptors");
        let mut generator = Generator {
            kind: server.kind,
            poll: Poll::new().expect("a poll"),
            events: Events::with_capacity(1024),
            clients: Vec::with_capacity(count),
            buffer: vec![0; 256 * 1024],
            relayed: 0,
            depth: 1,
        };
        while generator.clients.len() < count {
            let first = generator.clients.len();
            for _ in first..count.min(first + OPENING) {
                generator.open(server);
            }
            let mut waiting = generator.clients.len() - first;
            while waiting > 0 {
                generator.each_ready(|client, bytes, kind| {
                    client.received += bytes.len();
                    client.room.push_str(&String::from_utf8_lossy(bytes));
                    let complete = match kind {
                        ServerKind::Reference => client.received >= ANSWER_BYTES,
                        ServerKind::Product => client.room.ends_with("\"resumed\":false}}"),
                    };
                    if complete {
                        waiting -= 1;
                        client.received = 0;
                        client.room = String::new();
                    }
                });
            }
        }
        generator
    }

    fn open(&mut self, server: &Server) {
        // On loopback, connect(2) returns with an open connection, so the request can follow.
        let socket = std::net::TcpStream::connect(server.address).expect("a connection");
        socket.set_nodelay(true).expect("a live socket");
        socket.set_nonblocking(true).expect("a live socket");
        let mut socket = TcpStream::from_std(socket);
        let token = Token(self.clients.len());
        socket.write_all(REQUEST).expect("room for a request");
        self.poll
            .registry()
            .register(&mut socket, token, Interest::READABLE)
            .expect("a live socket");
        self.clients.push(BenchClient {
            socket,
            received: 0,
            room: String::new(),
            asked: Instant::now(),
        });
    }

    /// Waits for events and calls `handle` with the bytes read from each connection.
    fn each_ready(&mut self, handle: impl FnMut(&mut BenchClient, &[u8], ServerKind)) {
        let any = self.each_ready_within(Duration::from_secs(5), handle);
        assert!(any, "the server does not answer");
    }

    /// Like [`Generator::each_ready`], for at most `timeout`. Returns whether there was an event.
    fn each_ready_within(
        &mut self,
        timeout: Duration,
        mut handle: impl FnMut(&mut BenchClient, &[u8], ServerKind),
    ) -> bool {
        self.poll.poll(&mut self.events, Some(timeout)).expect("a live poll");
        for event in &self.events {
            let client = &mut self.clients[event.token().0];
            match client.socket.read(&mut self.buffer) {
                Ok(0) => panic!("the server has closed a connection"),
                Ok(count) => handle(client, &self.buffer[..count], self.kind),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        !self.events.is_empty()
    }

    /// Puts clients 2n and 2n + 1 into one room.
    pub(crate) fn pair_up(&mut self) {
        if self.kind == ServerKind::Reference {
            return;
        }
        for (nth, client) in self.clients.iter_mut().enumerate() {
            request_match(client, Some(&format!("pair-{}", nth / 2)));
        }
        self.wait_for_rooms(&mut Vec::new());
    }

    /// Every client requests a match in the same queue, as fast as this thread can send and read the
    /// answers. Returns the time from each request to its match.
    pub(crate) fn find_matches(&mut self) -> Vec<Duration> {
        /// Requests sent before answers are read.
        const REQUESTS_AT_ONCE: usize = 32;
        let mut waits = Vec::with_capacity(self.clients.len());
        for nth in 0..self.clients.len() {
            request_match(&mut self.clients[nth], None);
            if nth % REQUESTS_AT_ONCE == 0 {
                self.each_ready_within(Duration::ZERO, |client, bytes, _| {
                    waits.extend(note_room(client, bytes));
                });
            }
        }
        self.wait_for_rooms(&mut waits);
        waits
    }

    fn wait_for_rooms(&mut self, waits: &mut Vec<Duration>) {
        while waits.len() < self.clients.len() {
            self.each_ready(|client, bytes, _| waits.extend(note_room(client, bytes)));
        }
    }

    /// Makes the first client of each pair send `depth` messages, which [`Generator::run`] passes back
    /// and forth.
    pub(crate) fn start(&mut self, depth: usize) {
        let is_running = self.depth > 0 && self.relayed > 0;
        assert!(
            !is_running || depth == self.depth,
            "the depth cannot change while messages are in flight"
        );
        self.depth = depth;
        if is_running {
            return;
        }
        for nth in (0..self.clients.len()).step_by(2) {
            let bytes = frames(self.kind, &self.clients[nth].room, depth);
            self.clients[nth].socket.write_all(&bytes).expect("room for the messages");
        }
    }

    /// Passes messages back and forth for `span`.
    pub(crate) fn run(&mut self, span: Duration) {
        let until = Instant::now() + span;
        let (kind, depth) = (self.kind, self.depth);
        let batches: Vec<Vec<u8>> =
            self.clients.iter().map(|client| frames(kind, &client.room, depth)).collect();
        let whole = received_bytes(kind) * depth;
        let mut relayed = 0;
        while Instant::now() < until {
            self.poll.poll(&mut self.events, Some(Duration::from_secs(5))).expect("a live poll");
            assert!(!self.events.is_empty(), "the relay has stopped");
            for event in &self.events {
                let client = &mut self.clients[event.token().0];
                match client.socket.read(&mut self.buffer) {
                    Ok(0) => panic!("the server has closed a connection"),
                    Ok(count) => client.received += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => panic!("{error}"),
                }
                if client.received >= whole {
                    assert_eq!(client.received, whole, "one batch at a time");
                    client.received = 0;
                    relayed += depth as u64;
                    let batch = &batches[event.token().0];
                    client.socket.write_all(batch).expect("room for the messages");
                }
            }
        }
        self.relayed += relayed;
    }

    /// Every client sends a message each `period`, at times fixed in advance, for `span`. Returns the
    /// time from the due time of each message to its arrival, so that a late start counts too.
    pub(crate) fn open_loop(&mut self, period: Duration, span: Duration) -> Vec<Duration> {
        let (kind, count) = (self.kind, self.clients.len());
        let whole = received_bytes(kind);
        let bytes: Vec<Vec<u8>> =
            self.clients.iter().map(|client| frames(kind, &client.room, 1)).collect();
        let total = (span.as_nanos() / period.as_nanos()) as usize * count;
        let step = period / count as u32;
        let began = Instant::now();
        // The due time of each client's last message, which arrives long before its next one is due.
        let mut due = vec![began; count];
        let mut took = Vec::with_capacity(total);
        let mut sent = 0;
        while took.len() < total {
            let now = Instant::now();
            while sent < total && began + step * sent as u32 <= now {
                // Neighbours are partners; the stride spreads the messages of a room over time.
                let nth = sent * STRIDE % count;
                due[nth] = began + step * sent as u32;
                self.clients[nth].socket.write_all(&bytes[nth]).expect("room for a message");
                sent += 1;
            }
            // Never sleeps, so that the measured times do not include its own wake-up.
            self.poll.poll(&mut self.events, Some(Duration::ZERO)).expect("a live poll");
            for event in &self.events {
                let client = &mut self.clients[event.token().0];
                match client.socket.read(&mut self.buffer) {
                    Ok(0) => panic!("the server has closed a connection"),
                    Ok(count) => client.received += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => panic!("{error}"),
                }
                if client.received >= whole {
                    assert_eq!(client.received, whole, "one message at a time");
                    client.received = 0;
                    took.push(due[event.token().0 ^ 1].elapsed());
                }
            }
        }
        took
    }

    /// Messages that have arrived.
    pub(crate) fn relayed(&self) -> u64 {
        self.relayed
    }
}

/// Stores bytes for a client that waits for its room. Returns its waiting time when it has the room.
fn note_room(client: &mut BenchClient, bytes: &[u8]) -> Option<Duration> {
    client.room.push_str(&String::from_utf8_lossy(bytes));
    let room = client.room.split_once("\"room_id\":\"")?.1.get(..22)?.to_owned();
    client.room = room;
    Some(client.asked.elapsed())
}

fn request_match(client: &mut BenchClient, queue: Option<&str>) {
    client.asked = Instant::now();
    let mut message = Vec::new();
    write_find_match(&mut message, queue);
    let mut bytes = Vec::new();
    push_client_frame(&mut bytes, TEXT, &message, KEY);
    client.socket.write_all(&bytes).expect("room for a request");
}

/// An ICE candidate as a browser sends it, with [`MESSAGE_BYTES`] in total.
fn candidate(room: &str) -> Vec<u8> {
    let mut message = Vec::new();
    let payload = |filler: usize| {
        format!(
            r#"{{"candidate":"candidate:1 1 udp 2113937151 10.0.0.1 54321 typ host{}","sdpMid":"0"}}"#,
            " ".repeat(filler)
        )
    };
    write_relay(&mut message, RelayKind::IceCandidate, room, payload(0).as_bytes());
    let filler = MESSAGE_BYTES - message.len();
    message.clear();
    write_relay(&mut message, RelayKind::IceCandidate, room, payload(filler).as_bytes());
    assert_eq!(message.len(), MESSAGE_BYTES);
    message
}

/// `depth` frames, each with a message for `room`.
fn frames(kind: ServerKind, room: &str, depth: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let room = if kind == ServerKind::Product { room } else { "----------------------" };
    push_client_frame(&mut bytes, TEXT, &candidate(room), KEY);
    bytes.repeat(depth)
}

/// Bytes that a client receives for one message.
fn received_bytes(kind: ServerKind) -> usize {
    let mut bytes = Vec::new();
    match kind {
        ServerKind::Product => push_server_frame(&mut bytes, TEXT, &[0; MESSAGE_BYTES]),
        ServerKind::Reference => push_client_frame(&mut bytes, TEXT, &[0; MESSAGE_BYTES], KEY),
    }
    bytes.len()
}
