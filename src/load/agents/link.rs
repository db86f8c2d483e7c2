//! An authenticated control connection: the handshake of both sides, and messages with tags.

use super::authentication::{Challenge, Challenges, LinkRole, MessageKey, SharedSecret, Tag};
use super::frame::{MAX_FRAME_BYTES, MAX_GREETING_BYTES, read_frame, write_frame};
use super::protocol::{Greeting, PROTOCOL, Refusal, VERSION};
use super::{HANDSHAKE_LIMIT, HEARTBEAT, SILENCE_LIMIT};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Why there is no connection, or why it has ended.
#[derive(Debug)]
pub enum LinkError {
    /// The sides do not know the same secret.
    WrongSecret,
    /// The other side has this version.
    OtherVersion(String),
    /// The agent serves another coordinator.
    Busy,
    /// The other side speaks another protocol, or a tag is wrong.
    Malformed(String),
    /// The connection failed.
    Io(io::Error),
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> LinkError {
        LinkError::Io(error)
    }
}

impl std::fmt::Display for LinkError {
    /// The rest of a sentence that begins with the other side.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LinkError::WrongSecret => f.write_str("has another secret"),
            LinkError::OtherVersion(version) => {
                write!(f, "has version {version}, and this is {}", this_version())
            }
            LinkError::Busy => f.write_str("serves another coordinator"),
            LinkError::Malformed(what) => write!(f, "breaks the protocol: {what}"),
            LinkError::Io(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => f.write_str("has disconnected"),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    f.write_str("does not answer in time")
                }
                _ => write!(f, "cannot be reached: {error}"),
            },
        }
    }
}

fn this_version() -> String {
    described_version(VERSION, PROTOCOL)
}

fn described_version(version: &str, protocol: u32) -> String {
    format!("{version} (protocol {protocol})")
}

/// Both directions of an authenticated connection.
pub struct ControlLink {
    /// Sends messages; several threads may share it.
    pub sender: MessageSender,
    /// Receives messages.
    pub receiver: MessageReceiver,
    /// Time from a message to its answer, as the coordinator measured it in the handshake.
    pub round_trip: Duration,
}

/// Reads from a socket until a deadline.
struct UntilDeadline<'a> {
    socket: &'a TcpStream,
    deadline: Instant,
}

impl Read for UntilDeadline<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.socket.set_read_timeout(Some(left))?;
        let mut socket = self.socket;
        socket.read(buffer)
    }
}

/// The handshake on one socket.
struct Handshake<'a> {
    socket: &'a TcpStream,
    deadline: Instant,
}

impl<'a> Handshake<'a> {
    fn begin(socket: &'a TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(HANDSHAKE_LIMIT))?;
        Ok(Handshake { socket, deadline: Instant::now() + HANDSHAKE_LIMIT })
    }

    fn send(&mut self, greeting: &Greeting) -> Result<(), LinkError> {
        let text = serde_json::to_vec(greeting).map_err(io::Error::other)?;
        let mut socket = self.socket;
        Ok(write_frame(&mut socket, &text)?)
    }

    fn receive(&mut self) -> Result<Greeting, LinkError> {
        let mut from = UntilDeadline { socket: self.socket, deadline: self.deadline };
        let text =
            read_frame(&mut from, MAX_GREETING_BYTES).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => LinkError::Malformed("not an agent".to_owned()),
                _ => LinkError::Io(error),
            })?;
        serde_json::from_slice(&text).map_err(|error| LinkError::Malformed(error.to_string()))
    }
}

fn new_challenge() -> io::Result<Challenge> {
    let halves = [crate::sys::entropy()?, crate::sys::entropy()?];
    let mut challenge = [0; 32];
    challenge.copy_from_slice(halves.as_flattened());
    Ok(challenge)
}

/// 32 bytes in base64.
fn decode(text: &str) -> Result<Tag, LinkError> {
    let bytes = BASE64_STANDARD.decode(text).ok();
    let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.ok_or_else(|| LinkError::Malformed("a challenge or proof is not 32 bytes".to_owned()))
}

fn encode(bytes: &Tag) -> String {
    BASE64_STANDARD.encode(bytes)
}

fn check_version(protocol: u32, version: &str) -> Result<(), LinkError> {
    match protocol == PROTOCOL && version == VERSION {
        true => Ok(()),
        false => Err(LinkError::OtherVersion(described_version(version, protocol))),
    }
}

/// The coordinator's side of the handshake.
///
/// # Errors
/// When the other side is no agent of this version with the same secret, or serves another
/// coordinator.
pub fn join_agent(socket: TcpStream, secret: &SharedSecret) -> Result<ControlLink, LinkError> {
    let mut handshake = Handshake::begin(&socket)?;
    let Greeting::Hello { protocol, version, challenge } = handshake.receive()? else {
        return Err(LinkError::Malformed("not an agent".to_owned()));
    };
    check_version(protocol, &version)?;
    let challenges = Challenges { of_agent: decode(&challenge)?, of_coordinator: new_challenge()? };
    let asked = Instant::now();
    handshake.send(&Greeting::Proof {
        protocol: PROTOCOL,
        version: VERSION.to_owned(),
        challenge: encode(&challenges.of_coordinator),
        proof: encode(&secret.prove(LinkRole::Coordinator, &challenges)),
    })?;
    let answer = handshake.receive()?;
    let round_trip = asked.elapsed();
    match answer {
        Greeting::Welcome { proof } => {
            if !secret.accepts(LinkRole::Agent, &challenges, &decode(&proof)?) {
                return Err(LinkError::WrongSecret);
            }
        }
        Greeting::Refused { refusal: Refusal::WrongSecret } => return Err(LinkError::WrongSecret),
        Greeting::Refused { refusal: Refusal::Busy } => return Err(LinkError::Busy),
        Greeting::Refused { refusal: Refusal::OtherVersion } => {
            return Err(LinkError::OtherVersion(described_version(&version, protocol)));
        }
        Greeting::Hello { .. } | Greeting::Proof { .. } => {
            return Err(LinkError::Malformed("an unexpected answer".to_owned()));
        }
    }
    Ok(ControlLink::new(socket, LinkRole::Coordinator, secret, &challenges, round_trip)?)
}

/// The agent's side of the handshake. `busy` is set if no other coordinator is connected.
///
/// # Errors
/// When the other side is no coordinator of this version with the same secret, or the agent is busy.
pub fn admit_coordinator(
    socket: TcpStream,
    secret: &SharedSecret,
    busy: &AtomicBool,
) -> Result<ControlLink, LinkError> {
    let mut handshake = Handshake::begin(&socket)?;
    let of_agent = new_challenge()?;
    handshake.send(&Greeting::Hello {
        protocol: PROTOCOL,
        version: VERSION.to_owned(),
        challenge: encode(&of_agent),
    })?;
    let Greeting::Proof { protocol, version, challenge, proof } = handshake.receive()? else {
        return Err(LinkError::Malformed("not a coordinator".to_owned()));
    };
    if let Err(error) = check_version(protocol, &version) {
        handshake.send(&Greeting::Refused { refusal: Refusal::OtherVersion })?;
        return Err(error);
    }
    let challenges = Challenges { of_agent, of_coordinator: decode(&challenge)? };
    if !secret.accepts(LinkRole::Coordinator, &challenges, &decode(&proof)?) {
        handshake.send(&Greeting::Refused { refusal: Refusal::WrongSecret })?;
        return Err(LinkError::WrongSecret);
    }
    if busy.swap(true, Ordering::AcqRel) {
        handshake.send(&Greeting::Refused { refusal: Refusal::Busy })?;
        return Err(LinkError::Busy);
    }
    let proof = encode(&secret.prove(LinkRole::Agent, &challenges));
    let admitted = handshake.send(&Greeting::Welcome { proof }).and_then(|()| {
        Ok(ControlLink::new(socket, LinkRole::Agent, secret, &challenges, Duration::ZERO)?)
    });
    if admitted.is_err() {
        busy.store(false, Ordering::Release);
    }
    admitted
}

impl ControlLink {
    fn new(
        socket: TcpStream,
        role: LinkRole,
        secret: &SharedSecret,
        challenges: &Challenges,
        round_trip: Duration,
    ) -> io::Result<Self> {
        let other = match role {
            LinkRole::Agent => LinkRole::Coordinator,
            LinkRole::Coordinator => LinkRole::Agent,
        };
        socket.set_read_timeout(Some(SILENCE_LIMIT))?;
        socket.set_write_timeout(Some(SILENCE_LIMIT))?;
        let key = secret.message_key(role, challenges);
        let outgoing = Outgoing { socket: socket.try_clone()?, key };
        Ok(ControlLink {
            sender: MessageSender(Arc::new(Mutex::new(outgoing))),
            receiver: MessageReceiver { socket, key: secret.message_key(other, challenges) },
            round_trip,
        })
    }
}

struct Outgoing {
    socket: TcpStream,
    key: MessageKey,
}

/// Sends messages. When the last one is dropped, the connection stays open until the receiver is
/// dropped too; [`MessageSender::close`] ends it.
#[derive(Clone)]
pub struct MessageSender(Arc<Mutex<Outgoing>>);

impl MessageSender {
    /// Sends a message.
    ///
    /// # Errors
    /// When the connection has failed.
    pub fn send(&self, message: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(message).map_err(io::Error::other)?;
        let mut outgoing = self.0.lock().map_err(|_| io::Error::other("a thread has panicked"))?;
        let mut content = outgoing.key.tag(&text).to_vec();
        content.extend_from_slice(&text);
        write_frame(&mut outgoing.socket, &content)
    }

    /// Ends the connection in both directions.
    pub fn close(&self) {
        if let Ok(outgoing) = self.0.lock() {
            // It may have ended already.
            let _ = outgoing.socket.shutdown(Shutdown::Both);
        }
    }
}

/// Receives messages.
pub struct MessageReceiver {
    socket: TcpStream,
    key: MessageKey,
}

impl MessageReceiver {
    /// Waits for the next message, at most [`SILENCE_LIMIT`].
    ///
    /// # Errors
    /// When the connection has failed or ended, or the other side is silent or breaks the protocol.
    pub fn receive<M: DeserializeOwned>(&mut self) -> Result<M, LinkError> {
        let content = read_frame(&mut self.socket, MAX_FRAME_BYTES)?;
        let Some((tag, text)) = content.split_first_chunk::<32>() else {
            return Err(LinkError::Malformed("a message without a tag".to_owned()));
        };
        if !self.key.accepts(text, tag) {
            return Err(LinkError::Malformed("a message has a wrong tag".to_owned()));
        }
        serde_json::from_slice(text).map_err(|error| LinkError::Malformed(error.to_string()))
    }
}

/// Sends signs of life until it is dropped, in a thread of its own.
pub struct Heartbeat {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Heartbeat {
    /// Sends `alive` every [`HEARTBEAT`].
    ///
    /// # Errors
    /// When the thread cannot be created.
    pub fn start(
        sender: MessageSender,
        alive: impl Serialize + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let beat = move || {
            while !stopped.load(Ordering::Relaxed) && sender.send(&alive).is_ok() {
                std::thread::park_timeout(HEARTBEAT);
            }
        };
        let thread = std::thread::Builder::new().name("heartbeat".to_owned()).spawn(beat)?;
        Ok(Heartbeat { stop, thread: Some(thread) })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A send that blocks ends at its timeout.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
