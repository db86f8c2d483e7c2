//! The client of the measurements: one thread, many connections, the same for both servers.

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

/// Which server is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Switchboard.
    Product,
    /// The reference relay.
    Reference,
}

struct Client {
    socket: TcpStream,
    /// Bytes received of what it waits for.
    received: usize,
    /// The room it is in, as the messages it sends name it.
    room: String,
    /// When it asked for a match.
    asked: Instant,
}

/// Connections to one server.
pub(crate) struct Generator {
    kind: Kind,
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    /// Messages that have arrived.
    relayed: u64,
    depth: usize,
}

/// From one client that sends to the next; prime to any even number of clients up to a thousand
/// that the benchmark uses.
const STRIDE: usize = 7;
/// How many connections are being opened at once.
const OPENING: usize = 64;

impl Generator {
    /// Opens `count` connections and waits until each has got its answer.
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
                        Kind::Reference => client.received >= ANSWER_BYTES,
                        Kind::Product => client.room.ends_with("\"resumed\":false}}"),
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
        // Loopback connects at once, so the request can follow.
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
        self.clients.push(Client {
            socket,
            received: 0,
            room: String::new(),
            asked: Instant::now(),
        });
    }

    /// Waits for events, and hands what was read to `handle`.
    fn each_ready(&mut self, handle: impl FnMut(&mut Client, &[u8], Kind)) {
        let any = self.each_ready_within(Duration::from_secs(5), handle);
        assert!(any, "the server does not answer");
    }

    /// The same for at most `timeout`; says whether there was an event.
    fn each_ready_within(
        &mut self,
        timeout: Duration,
        mut handle: impl FnMut(&mut Client, &[u8], Kind),
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

    /// Makes a room of each two that follow each other.
    pub(crate) fn pair_up(&mut self) {
        if self.kind == Kind::Reference {
            return;
        }
        for (nth, client) in self.clients.iter_mut().enumerate() {
            ask(client, Some(&format!("pair-{}", nth / 2)));
        }
        self.wait_for_rooms(&mut Vec::new());
    }

    /// Every client asks for a match, in the same queue and as fast as they can be made to,
    /// while the answers are read. How long each waited from its own request.
    pub(crate) fn find_matches(&mut self) -> Vec<Duration> {
        /// Requests sent before answers are looked for.
        const ASKED_AT_ONCE: usize = 32;
        let mut waits = Vec::with_capacity(self.clients.len());
        for nth in 0..self.clients.len() {
            ask(&mut self.clients[nth], None);
            if nth % ASKED_AT_ONCE == 0 {
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

    /// From here on each pair passes `depth` messages to and fro.
    pub(crate) fn start(&mut self, depth: usize) {
        let going = self.depth > 0 && self.relayed > 0;
        assert!(!going || depth == self.depth, "the depth cannot change in mid-flight");
        self.depth = depth;
        if going {
            return;
        }
        for nth in (0..self.clients.len()).step_by(2) {
            let bytes = burst(self.kind, &self.clients[nth].room, depth);
            self.clients[nth].socket.write_all(&bytes).expect("room for a burst");
        }
    }

    /// Goes on for `span`.
    pub(crate) fn run(&mut self, span: Duration) {
        let until = Instant::now() + span;
        let (kind, depth) = (self.kind, self.depth);
        let bursts: Vec<Vec<u8>> =
            self.clients.iter().map(|client| burst(kind, &client.room, depth)).collect();
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
                    assert_eq!(client.received, whole, "one burst at a time");
                    client.received = 0;
                    relayed += depth as u64;
                    client.socket.write_all(&bursts[event.token().0]).expect("room for a burst");
                }
            }
        }
        self.relayed += relayed;
    }

    /// Every client sends a message each `period`, at moments fixed beforehand, for `span`. How
    /// long each message took from the moment it was due until it had arrived.
    pub(crate) fn open_loop(&mut self, period: Duration, span: Duration) -> Vec<Duration> {
        let (kind, count) = (self.kind, self.clients.len());
        let whole = received_bytes(kind);
        let bytes: Vec<Vec<u8>> =
            self.clients.iter().map(|client| burst(kind, &client.room, 1)).collect();
        let total = (span.as_nanos() / period.as_nanos()) as usize * count;
        let step = period / count as u32;
        let began = Instant::now();
        // What each client sent last: a message is through long before the next one is due.
        let mut due = vec![began; count];
        let mut took = Vec::with_capacity(total);
        let mut sent = 0;
        while took.len() < total {
            let now = Instant::now();
            while sent < total && began + step * sent as u32 <= now {
                // Neighbours are partners; a stride spreads each room's messages over time.
                let nth = sent * STRIDE % count;
                due[nth] = began + step * sent as u32;
                self.clients[nth].socket.write_all(&bytes[nth]).expect("room for a message");
                sent += 1;
            }
            // It never sleeps, so that its own waking up is not part of what it measures.
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

    /// Messages that have arrived so far.
    pub(crate) fn relayed(&self) -> u64 {
        self.relayed
    }
}

/// Takes in what came for a client that waits for its room. How long it waited, if it has one now.
fn note_room(client: &mut Client, bytes: &[u8]) -> Option<Duration> {
    client.room.push_str(&String::from_utf8_lossy(bytes));
    let room = client.room.split_once("\"room_id\":\"")?.1.get(..22)?.to_owned();
    client.room = room;
    Some(client.asked.elapsed())
}

fn ask(client: &mut Client, queue: Option<&str>) {
    client.asked = Instant::now();
    let mut message = Vec::new();
    write_find_match(&mut message, queue);
    let mut bytes = Vec::new();
    push_client_frame(&mut bytes, TEXT, &message, KEY);
    client.socket.write_all(&bytes).expect("room for a request");
}

/// A candidate as a browser sends it, of [`MESSAGE_BYTES`] in all.
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

fn burst(kind: Kind, room: &str, depth: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let room = if kind == Kind::Product { room } else { "----------------------" };
    push_client_frame(&mut bytes, TEXT, &candidate(room), KEY);
    bytes.repeat(depth)
}

/// Bytes that arrive for one message.
fn received_bytes(kind: Kind) -> usize {
    let mut bytes = Vec::new();
    match kind {
        Kind::Product => push_server_frame(&mut bytes, TEXT, &[0; MESSAGE_BYTES]),
        Kind::Reference => push_client_frame(&mut bytes, TEXT, &[0; MESSAGE_BYTES], KEY),
    }
    bytes.len()
}
