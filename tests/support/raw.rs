//! A connection whose every byte the test decides.

use super::talk::is_identifier;
use super::{Heard, PATIENCE, Response, Talk};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;
use switchboard::wire::http::{HeadScan, WebSocketKey, parse_response, write_upgrade_request};
use switchboard::wire::websocket::frame::{
    CLOSE, PING, PONG, Side, TEXT, parse_header, push_client_frame,
};
use tungstenite::protocol::frame::coding::OpCode;

/// A connection.
pub(crate) struct Raw {
    stream: TcpStream,
    /// What has come and was not looked at yet.
    unread: Vec<u8>,
    ended: Option<End>,
    id: String,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As it should.
    Closed,
    /// By a reset, which may have destroyed what was on its way.
    Reset,
}

/// A frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: OpCode,
    pub(crate) payload: Vec<u8>,
}

/// The key of every handshake here.
pub(crate) const KEY: [u8; 16] = *b"the sample nonce";

impl Raw {
    /// A connection on which nothing has been sent.
    pub(crate) fn connect(address: SocketAddr) -> Raw {
        Raw::from_stream(TcpStream::connect(address).unwrap())
    }

    /// A connection from 127.0.0.`last`.
    pub(crate) fn connect_from(last: u8, to: SocketAddr) -> Raw {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let from = SocketAddr::from(([127, 0, 0, last], 0));
        socket.bind(&from.into()).unwrap();
        socket.connect(&to.into()).unwrap();
        Raw::from_stream(socket.into())
    }

    /// A connection with a small receive buffer, so that a client that does not read is soon
    /// felt.
    pub(crate) fn narrow(address: SocketAddr) -> Raw {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.connect(&address.into()).unwrap();
        Raw::from_stream(socket.into())
    }

    /// A user with a session on such a connection.
    pub(crate) fn narrow_session(address: SocketAddr) -> Raw {
        let mut raw = Raw::narrow(address);
        raw.upgrade();
        raw
    }

    /// A connection that was made otherwise.
    pub(crate) fn from_stream(stream: TcpStream) -> Raw {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Raw { stream, unread: Vec::new(), ended: None, id: String::new() }
    }

    /// A user with a session.
    pub(crate) fn session(address: SocketAddr) -> Raw {
        let mut raw = Raw::connect(address);
        raw.upgrade();
        raw
    }

    /// Sends an opening handshake, checks the answer, and takes the `session` message.
    pub(crate) fn upgrade(&mut self) {
        self.send(&handshake());
        self.upgraded();
    }

    /// Checks the answer to an opening handshake, and takes the `session` message.
    pub(crate) fn upgraded(&mut self) {
        let accept = WebSocketKey::from_nonce(KEY).accept();
        loop {
            let parsed = parse_response(&self.unread, &mut HeadScan::default(), 16_384).unwrap();
            if let Some((head, length)) = parsed {
                head.check_upgrade(accept).unwrap();
                self.unread.drain(..length);
                break;
            }
            assert!(self.fill(), "the connection ended before the answer");
        }
        let session = self.expect("session");
        self.id = session["session_id"].as_str().unwrap().to_owned();
        assert!(is_identifier(&self.id), "{}", self.id);
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends bytes if the server still takes them.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The same, unless the server has ended the connection already.
    pub(crate) fn half_close_if_open(&self) {
        let _already = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        reset(self.stream);
    }

    /// The socket.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Waits for bytes; false if none will come any more.
    fn fill(&mut self) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let mut chunk = [0; 16_384];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.ended = Some(End::Closed),
            Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                self.ended = Some(End::Reset);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!(
                "{error}: nothing came for {PATIENCE:?} after {:?}",
                String::from_utf8_lossy(&self.unread)
            ),
        }
        self.ended.is_none()
    }

    /// What has come already, if it is whole; the end is no news twice.
    pub(crate) fn hear_what_came(&mut self) -> Option<Heard> {
        loop {
            let whole = match parse_header(&self.unread, Side::Server).unwrap() {
                Some(header) => {
                    self.unread.len() - header.header_len >= header.payload_len as usize
                }
                None => false,
            };
            if whole {
                match self.hear_one() {
                    Some(heard) => return Some(heard),
                    None => continue,
                }
            }
            self.stream.set_nonblocking(true).unwrap();
            let mut chunk = [0; 16_384];
            let read = self.stream.read(&mut chunk);
            self.stream.set_nonblocking(false).unwrap();
            match read {
                Ok(0) => return (self.ended.replace(End::Closed).is_none()).then_some(Heard::End),
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(_) => return None,
            }
        }
    }

    /// Whether anything, the end included, comes within `time`.
    pub(crate) fn stirs_within(&mut self, time: Duration) -> bool {
        if !self.unread.is_empty() || self.ended.is_some() {
            return true;
        }
        self.stream.set_read_timeout(Some(time)).unwrap();
        let peeked = loop {
            match self.stream.peek(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                peeked => break peeked,
            }
        };
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Everything up to the end, and how that came.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        while self.fill() {}
        (std::mem::take(&mut self.unread), self.ended.unwrap())
    }

    /// Nothing more comes, and the connection ends as it should.
    pub(crate) fn expect_end(&mut self) {
        let (rest, end) = self.rest();
        assert_eq!((String::from_utf8_lossy(&rest), end), ("".into(), End::Closed));
    }

    /// The head of the next response.
    pub(crate) fn response_head(&mut self) -> Response {
        loop {
            if let Some((response, length)) = Response::parse_head(&self.unread) {
                self.unread.drain(..length);
                return response;
            }
            assert!(
                self.fill(),
                "{:?} before a whole response: {:?}",
                self.ended,
                String::from_utf8_lossy(&self.unread)
            );
        }
    }

    /// The status of the next response, which stays unread.
    pub(crate) fn peek_status(&mut self) -> u16 {
        loop {
            if let Some((response, _)) = Response::parse_head(&self.unread) {
                return response.status;
            }
            assert!(self.fill(), "{:?} before a whole response", self.ended);
        }
    }

    /// The next response, with its body.
    pub(crate) fn response(&mut self) -> Response {
        let mut response = self.response_head();
        if matches!(response.status, 101 | 304) {
            assert_eq!(response.content_length().unwrap_or(0), 0);
            return response;
        }
        let length = response.content_length().expect("the body's length is told");
        while self.unread.len() < length {
            assert!(self.fill(), "{:?} before the whole body", self.ended);
        }
        response.body = self.unread.drain(..length).collect();
        response
    }

    /// Sends a request and takes its answer.
    pub(crate) fn ask(&mut self, request: &str) -> Response {
        self.send(request.as_bytes());
        self.response()
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        loop {
            let parsed = parse_header(&self.unread, Side::Server).expect("the server's frames");
            if let Some(header) = parsed {
                assert!(header.fin, "the server does not fragment");
                let end = header.header_len + header.payload_len as usize;
                if self.unread.len() >= end {
                    let payload = self.unread[header.header_len..end].to_vec();
                    self.unread.drain(..end);
                    return Some(Frame { opcode: header.opcode, payload });
                }
            }
            if !self.fill() {
                assert!(self.unread.is_empty(), "the connection ended within a frame");
                return None;
            }
        }
    }
}

impl Raw {
    /// What the next frame says; nothing if it is a ping or a pong.
    fn hear_one(&mut self) -> Option<Heard> {
        let Some(Frame { opcode, payload }) = self.frame() else { return Some(Heard::End) };
        match opcode {
            TEXT => Some(Heard::Text(String::from_utf8(payload).unwrap())),
            PING | PONG => None,
            CLOSE => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                Some(Heard::Close(code))
            }
            other => panic!("the server sends no {other:?}"),
        }
    }
}

impl Talk for Raw {
    fn id(&self) -> &str {
        &self.id
    }

    fn say(&mut self, text: &str) {
        self.send(&text_frame(text.as_bytes()));
    }

    /// Pings are left unanswered, pongs are skipped.
    fn hear(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.hear_one() {
                return heard;
            }
        }
    }
}

/// An opening handshake.
pub(crate) fn handshake() -> Vec<u8> {
    let mut request = Vec::new();
    let key = WebSocketKey::from_nonce(KEY);
    write_upgrade_request(&mut request, "test", "/ws", key, &[]);
    request
}

/// A whole text message in one frame.
pub(crate) fn text_frame(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_client_frame(&mut bytes, TEXT, payload, MASK);
    bytes
}

/// A ping.
pub(crate) fn ping_frame(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_client_frame(&mut bytes, PING, payload, MASK);
    bytes
}

/// A Close frame with this code.
pub(crate) fn close_frame(code: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_client_frame(&mut bytes, CLOSE, &code.to_be_bytes(), MASK);
    bytes
}

const MASK: [u8; 4] = [0x1f, 0x80, 0x00, 0x7a];

/// A client's frame with any first byte (FIN, reserved bits, opcode), in its shortest form.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = text_frame(payload);
    bytes[0] = first;
    bytes
}

/// Ends a connection by a reset.
pub(crate) fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}
