//! The floods: the load that one hostile process puts on a server, from one thread and with a
//! limited share of a CPU.

use crate::support::{client_frame, ping_frame, text_frame, upgrade_request};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use switchboard::sys::clock::thread_cpu;

/// A kind of flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    /// No load, for comparison.
    Calm,
    /// Request heads sent a byte at a time.
    SlowHeads,
    /// A large message sent a byte at a time.
    SlowFrames,
    /// Fragments of a message without an end.
    Fragments,
    /// Pings whose pongs are not read.
    UnreadPings,
    /// Connections that send nothing.
    Silent,
    /// Connections that are opened and closed immediately.
    ConnectionStorm,
    /// As many messages as one connection can carry.
    LineRate,
    /// Messages to a partner that does not read.
    SlowPartner,
    /// Endless `find_match` and `cancel_match`.
    MatchStorm,
    /// All users disconnect at once and reconnect at once, repeatedly.
    MassReconnect,
    /// Repeated requests for `/metrics` whose responses are not read.
    UnreadMetrics,
    /// Pipelined `HEAD /stats` on many connections: the smallest responses.
    PipelinedStats,
    /// As many messages as many connections can carry.
    ManyAtLineRate,
    /// The smallest messages to `/echo` on many connections; all responses are read.
    Echo,
}

impl Flood {
    pub(crate) const ALL: [Flood; 15] = [
        Flood::Calm,
        Flood::SlowHeads,
        Flood::SlowFrames,
        Flood::Fragments,
        Flood::UnreadPings,
        Flood::Silent,
        Flood::ConnectionStorm,
        Flood::LineRate,
        Flood::SlowPartner,
        Flood::MatchStorm,
        Flood::MassReconnect,
        Flood::UnreadMetrics,
        Flood::PipelinedStats,
        Flood::ManyAtLineRate,
        Flood::Echo,
    ];

    /// The flood with this name.
    pub(crate) fn named(name: &str) -> Flood {
        let found = Flood::ALL.into_iter().find(|flood| format!("{flood:?}") == name);
        found.unwrap_or_else(|| panic!("unknown flood {name}"))
    }

    /// Concurrent connections of the flood at full size.
    fn connections(self) -> usize {
        match self {
            Flood::Calm => 0,
            Flood::Silent => 10_000,
            Flood::SlowHeads | Flood::ConnectionStorm | Flood::MassReconnect => 2000,
            Flood::SlowFrames => 500,
            Flood::Fragments | Flood::UnreadPings | Flood::MatchStorm => 100,
            Flood::PipelinedStats | Flood::ManyAtLineRate => 200,
            Flood::Echo => 400,
            Flood::LineRate => 1,
            Flood::SlowPartner | Flood::UnreadMetrics => 20,
        }
    }
}

/// Limits the CPU time of this thread.
struct CpuThrottle {
    used: Duration,
    /// Idle time for each unit of CPU time.
    idle: u32,
}

impl CpuThrottle {
    fn pause(&mut self) {
        let now = thread_cpu().unwrap();
        let used = now - self.used;
        if used > Duration::from_micros(500) {
            std::thread::sleep(used * self.idle);
            self.used = thread_cpu().unwrap();
        }
    }
}

/// One of the flooder's connections.
struct FloodConnection {
    stream: TcpStream,
    /// Position in the repeated data.
    at: usize,
}

impl FloodConnection {
    fn open(address: SocketAddr, first: &[u8]) -> Option<FloodConnection> {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.write_all(first).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(FloodConnection { stream, at: 0 })
    }

    /// Sends up to `most` more bytes of `data`, from the start again at its end. Returns false when
    /// the connection has ended.
    fn send(&mut self, data: &[u8], most: usize) -> bool {
        let end = data.len().min(self.at + most);
        match self.stream.write(&data[self.at..end]) {
            Ok(count) => self.at = (self.at + count) % data.len(),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        true
    }

    /// Reads and discards all received bytes. Returns false when the connection has ended.
    fn discard_input(&mut self) -> bool {
        let mut chunk = [0; 16_384];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}

/// Floods the server at `address` until the process is killed, with `tenths` of the flood's full
/// size. `idle` is the idle time for each unit of CPU time.
pub(crate) fn flood(flood: Flood, address: SocketAddr, tenths: usize, idle: u32) {
    let mut throttle = CpuThrottle { used: thread_cpu().unwrap(), idle };
    let connections = (flood.connections() * tenths).div_ceil(10);
    if flood == Flood::ConnectionStorm {
        loop {
            let _closed = TcpStream::connect(address);
            throttle.pause();
        }
    }
    let Script { first, rest, most, reads } = script(flood);
    // A connection that has ended is replaced by a new one with the same index.
    let mut connections_open: Vec<Option<FloodConnection>> =
        (0..connections).map(|_| None).collect();
    loop {
        let round = Instant::now();
        for slot in connections_open.iter_mut().filter(|slot| slot.is_none()) {
            throttle.pause();
            *slot = FloodConnection::open(address, &first);
            if slot.is_none() {
                break;
            }
        }
        if flood == Flood::MassReconnect {
            // All at once, as far as one thread can.
            connections_open.fill_with(|| None);
            continue;
        }
        for (nth, slot) in connections_open.iter_mut().enumerate() {
            // Echo pauses once in each round, so that all its messages arrive together.
            if flood != Flood::Echo || nth == 0 {
                throttle.pause();
            }
            let step = |connection: &mut FloodConnection| {
                (!reads(nth) || connection.discard_input())
                    && (rest.is_empty() || connection.send(&rest, most))
            };
            if !slot.as_mut().is_some_and(step) {
                *slot = None;
            }
        }
        // The slow floods wait; the others continue as fast as the throttle permits.
        if matches!(flood, Flood::Calm | Flood::Silent) {
            std::thread::sleep(Duration::from_millis(100));
        } else if most == 1 {
            std::thread::sleep(Duration::from_millis(1).saturating_sub(round.elapsed()));
        }
    }
}

/// What each connection of a flood does.
struct Script {
    /// Sent once, after connecting.
    first: Vec<u8>,
    /// Sent repeatedly afterwards.
    rest: Vec<u8>,
    /// Most bytes of `rest` in one write.
    most: usize,
    /// Whether the connection with this index reads.
    reads: fn(usize) -> bool,
}

fn script(flood: Flood) -> Script {
    let session = upgrade_request();
    let find = text_frame(br#"{"type":"find_match","payload":{"queue":"flood"}}"#);
    let cancel = text_frame(br#"{"type":"cancel_match"}"#);
    let offer =
        text_frame(&format!(r#"{{"type":"offer","payload":"{:x<3000}"}}"#, "").into_bytes());
    let large =
        text_frame(&format!(r#"{{"type":"ping","payload":"{:x<60000}"}}"#, "").into_bytes());
    let mut fragments = text_frame(b"");
    fragments[0] = 0x01;
    let mut next = text_frame(b"");
    next[0] = 0x00;
    fragments.extend(next.repeat(2000));
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {:x<8000}\r\n\r\n", "").into_bytes();
    let stats = b"HEAD /stats HTTP/1.1\r\nHost: h\r\n\r\n".repeat(16);
    let metrics = b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(50);
    let echo = String::from_utf8(upgrade_request()).unwrap().replace("GET /ws ", "GET /echo ");
    let all = |_: usize| true;
    let none = |_: usize| false;
    // Two of three read, so that of each pair at least one does not.
    let some = |nth: usize| !nth.is_multiple_of(3);
    let (first, rest, most, reads): (_, _, _, fn(usize) -> bool) = match flood {
        Flood::Calm | Flood::ConnectionStorm => (Vec::new(), Vec::new(), 0, none),
        Flood::Silent => (Vec::new(), Vec::new(), 0, all),
        Flood::SlowHeads => (Vec::new(), head, 1, all),
        Flood::SlowFrames => (session, large, 1, all),
        Flood::Fragments => (session, fragments, 60_000, all),
        Flood::UnreadPings => (session, ping_frame(&[b'p'; 125]).repeat(100), 60_000, none),
        Flood::LineRate | Flood::ManyAtLineRate => {
            (session, text_frame(br#"{"type":"ping"}"#).repeat(3000), 60_000, all)
        }
        // Most of these messages are refused if the partner does not read. Then the sender requests
        // the next one.
        Flood::SlowPartner => {
            ([session, find.clone()].concat(), [offer.repeat(400), find].concat(), 60_000, some)
        }
        Flood::MatchStorm => (session, [find, cancel].concat().repeat(100), 60_000, all),
        Flood::MassReconnect => ([session, find].concat(), Vec::new(), 0, none),
        Flood::UnreadMetrics => (Vec::new(), metrics, 60_000, none),
        Flood::PipelinedStats => (Vec::new(), stats, 60_000, all),
        Flood::Echo => (echo.into_bytes(), client_frame(0x82, b"").repeat(10_000), 60_000, all),
    };
    Script { first, rest, most, reads }
}
