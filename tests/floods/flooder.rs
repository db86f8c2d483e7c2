//! The floods: what one hostile process does to a server, on one thread, and with no more of
//! the processor than it is allowed.

use crate::support::{frame, handshake, ping_frame, text_frame};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use switchboard::sys::clock::thread_cpu;

/// A flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    /// Nothing at all, to compare with.
    Calm,
    /// Request heads, a byte at a time.
    SlowHeads,
    /// A large message, a byte at a time.
    SlowFrames,
    /// Fragments of a message that never ends.
    Fragments,
    /// Pings whose answers nobody reads.
    UnreadPings,
    /// Connections on which nothing is said.
    Silent,
    /// Connections that come and go at once.
    ConnectionStorm,
    /// As many messages as the connection takes.
    LineRate,
    /// Messages for a partner that does not read them.
    DeafPartner,
    /// `find_match` and `cancel_match` without end.
    MatchStorm,
    /// Everybody leaves in one instant and is back in the next.
    Exodus,
    /// `/metrics` over and over, and nobody reads them.
    UnreadMetrics,
    /// `/stats` over and over on many connections, and the answers are as small as can be.
    PipelinedStats,
    /// As many messages as many connections take.
    ManyAtLineRate,
    /// Messages to `/echo` that are as small as can be, on many connections, and all come back.
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
        Flood::DeafPartner,
        Flood::MatchStorm,
        Flood::Exodus,
        Flood::UnreadMetrics,
        Flood::PipelinedStats,
        Flood::ManyAtLineRate,
        Flood::Echo,
    ];

    /// The flood with this name.
    pub(crate) fn named(name: &str) -> Flood {
        let found = Flood::ALL.into_iter().find(|flood| format!("{flood:?}") == name);
        found.unwrap_or_else(|| panic!("there is no flood {name}"))
    }

    /// Connections at the same time, in a flood of full size.
    fn connections(self) -> usize {
        match self {
            Flood::Calm => 0,
            Flood::Silent => 10_000,
            Flood::SlowHeads | Flood::ConnectionStorm | Flood::Exodus => 2000,
            Flood::SlowFrames => 500,
            Flood::Fragments | Flood::UnreadPings | Flood::MatchStorm => 100,
            Flood::PipelinedStats | Flood::ManyAtLineRate => 200,
            Flood::Echo => 400,
            Flood::LineRate => 1,
            Flood::DeafPartner | Flood::UnreadMetrics => 20,
        }
    }
}

/// Sees to it that this thread uses only its share of a processor.
struct Throttle {
    used: Duration,
    /// Time to stand still for each unit of processor time.
    idle: u32,
}

impl Throttle {
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
struct Peer {
    stream: TcpStream,
    /// How far it is in what it says.
    at: usize,
}

impl Peer {
    fn dial(address: SocketAddr, first: &[u8]) -> Option<Peer> {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.write_all(first).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(Peer { stream, at: 0 })
    }

    /// Goes on saying `what`, up to `most` bytes; false when the connection is over.
    fn say(&mut self, what: &[u8], most: usize) -> bool {
        let end = what.len().min(self.at + most);
        match self.stream.write(&what[self.at..end]) {
            Ok(count) => self.at = (self.at + count) % what.len(),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        true
    }

    /// Reads what there is and forgets it; false when the connection is over.
    fn hear(&mut self) -> bool {
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

/// Floods the server at `address` until killed, with `tenths` of the flood's full size. `idle`
/// is the time to stand still for each unit of processor time.
pub(crate) fn flood(flood: Flood, address: SocketAddr, tenths: usize, idle: u32) {
    let mut throttle = Throttle { used: thread_cpu().unwrap(), idle };
    let connections = (flood.connections() * tenths).div_ceil(10);
    if flood == Flood::ConnectionStorm {
        loop {
            let _gone = TcpStream::connect(address);
            throttle.pause();
        }
    }
    let (first, rest, most, hears) = script(flood);
    // Whoever comes for one that has gone has its place, and does what it did.
    let mut places: Vec<Option<Peer>> = (0..connections).map(|_| None).collect();
    loop {
        let round = Instant::now();
        for place in places.iter_mut().filter(|place| place.is_none()) {
            throttle.pause();
            *place = Peer::dial(address, &first);
            if place.is_none() {
                break;
            }
        }
        if flood == Flood::Exodus {
            // In one instant, as far as one thread can.
            places.fill_with(|| None);
            continue;
        }
        for (nth, place) in places.iter_mut().enumerate() {
            // What all of them send to be echoed is there for one turn, and the pause comes then.
            if flood != Flood::Echo || nth == 0 {
                throttle.pause();
            }
            let goes_on = |peer: &mut Peer| {
                (!hears(nth) || peer.hear()) && (rest.is_empty() || peer.say(&rest, most))
            };
            if !place.as_mut().is_some_and(goes_on) {
                *place = None;
            }
        }
        // Slow ones are slow; the others go on as fast as they may.
        if matches!(flood, Flood::Calm | Flood::Silent) {
            std::thread::sleep(Duration::from_millis(100));
        } else if most == 1 {
            std::thread::sleep(Duration::from_millis(1).saturating_sub(round.elapsed()));
        }
    }
}

/// What each connection says first, and then without end, in pieces of at most so many bytes;
/// and which of them read, by their places.
type Words = (Vec<u8>, Vec<u8>, usize, fn(usize) -> bool);

fn script(flood: Flood) -> Words {
    let session = handshake();
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
    let echo = String::from_utf8(handshake()).unwrap().replace("GET /ws ", "GET /echo ");
    let all = |_: usize| true;
    let none = |_: usize| false;
    // The first does not: of two there is one that is deaf.
    let some = |nth: usize| !nth.is_multiple_of(3);
    match flood {
        Flood::Calm | Flood::ConnectionStorm => (Vec::new(), Vec::new(), 0, none),
        Flood::Silent => (Vec::new(), Vec::new(), 0, all),
        Flood::SlowHeads => (Vec::new(), head, 1, all),
        Flood::SlowFrames => (session, large, 1, all),
        Flood::Fragments => (session, fragments, 60_000, all),
        Flood::UnreadPings => (session, ping_frame(&[b'p'; 125]).repeat(100), 60_000, none),
        Flood::LineRate | Flood::ManyAtLineRate => {
            (session, text_frame(br#"{"type":"ping"}"#).repeat(3000), 60_000, all)
        }
        // Once more than enough for a deaf one has been said, it has been closed, and its partner
        // asks for the next.
        Flood::DeafPartner => {
            ([session, find.clone()].concat(), [offer.repeat(400), find].concat(), 60_000, some)
        }
        Flood::MatchStorm => (session, [find, cancel].concat().repeat(100), 60_000, all),
        Flood::Exodus => ([session, find].concat(), Vec::new(), 0, none),
        Flood::UnreadMetrics => (Vec::new(), metrics, 60_000, none),
        Flood::PipelinedStats => (Vec::new(), stats, 60_000, all),
        Flood::Echo => (echo.into_bytes(), frame(0x82, b"").repeat(10_000), 60_000, all),
    }
}
