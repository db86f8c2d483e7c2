//! A client that sends exactly the bytes that a test chooses.

use super::protocol_client::is_identifier;
use super::{HttpResponse, ProtocolClient, Received, TIMEOUT};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;
use switchboard::wire::http::{HeadScan, WebSocketKey, parse_response, write_upgrade_request};
use switchboard::wire::websocket::frame::{
    CLOSE, PING, PONG, Side, TEXT, parse_header, push_client_frame,
};
use tungstenite::protocol::frame::coding::OpCode;

/// A TCP connection to the server, with or without a session.
pub(crate) struct RawClient {
    stream: TcpStream,
    /// Bytes that were received and not parsed yet.
    unread: Vec<u8>,
    ended: Option<ConnectionEnd>,
    id: String,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// By a FIN.
    Closed,
    /// By a reset, which may have destroyed data on its way.
    Reset,
}

/// A frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerFrame {
    pub(crate) opcode: OpCode,
    pub(crate) payload: Vec<u8>,
}

/// The nonce of every opening handshake.
const HANDSHAKE_NONCE: [u8; 16] = *b"the sample nonce";

/// Opening a connection or a session.
impl RawClient {
    /// A connection on which nothing has been sent.
    pub(crate) fn connect(address: SocketAddr) -> RawClient {
        RawClient::from_stream(TcpStream::connect(address).unwrap())
    }

    /// A connection from 127.0.0.`last`.
    pub(crate) fn connect_from(last: u8, to: SocketAddr) -> RawClient {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let from = SocketAddr::from(([127, 0, 0, last], 0));
        socket.bind(&from.into()).unwrap();
        socket.connect(&to.into()).unwrap();
        RawClient::from_stream(socket.into())
    }

    /// A connection with a small receive buffer: the server's sends soon fail to be complete when
    /// the client does not read.
    pub(crate) fn connect_with_small_buffer(address: SocketAddr) -> RawClient {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.connect(&address.into()).unwrap();
        RawClient::from_stream(socket.into())
    }

    /// A connection on an existing socket.
    pub(crate) fn from_stream(stream: TcpStream) -> RawClient {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        RawClient { stream, unread: Vec::new(), ended: None, id: String::new() }
    }

    /// A client with a session.
    pub(crate) fn open_session(address: SocketAddr) -> RawClient {
        let mut client = RawClient::connect(address);
        client.upgrade();
        client
    }

    /// A client with a session and a small receive buffer.
    pub(crate) fn open_session_with_small_buffer(address: SocketAddr) -> RawClient {
        let mut client = RawClient::connect_with_small_buffer(address);
        client.upgrade();
        client
    }

    /// Makes the opening handshake, and expects the `session` message.
    pub(crate) fn upgrade(&mut self) {
        self.send(&upgrade_request());
        self.expect_upgrade();
    }

    /// Checks the response to an opening handshake, and expects the `session` message.
    pub(crate) fn expect_upgrade(&mut self) {
        let accept = WebSocketKey::from_nonce(HANDSHAKE_NONCE).accept();
        loop {
            let parsed = parse_response(&self.unread, &mut HeadScan::default(), 16_384).unwrap();
            if let Some((head, length)) = parsed {
                head.check_upgrade(accept).unwrap();
                self.unread.drain(..length);
                break;
            }
            assert!(self.read_more(), "the connection ended before the response");
        }
        let session = self.expect_message("session");
        self.id = session["session_id"].as_str().unwrap().to_owned();
        assert!(is_identifier(&self.id), "{}", self.id);
    }
}

/// Sending and ending.
impl RawClient {
    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends bytes unless the server has ended the connection.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a FIN; the server's data can still be received.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The same, unless the server has ended the connection.
    pub(crate) fn half_close_if_open(&self) {
        let _ended_already = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// The socket.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// Receiving bytes.
impl RawClient {
    /// Waits for bytes; false if the connection has ended.
    fn read_more(&mut self) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let mut chunk = [0; 16_384];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.ended = Some(ConnectionEnd::Closed),
            Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                self.ended = Some(ConnectionEnd::Reset);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!(
                "{error}: nothing received for {TIMEOUT:?} after {:?}",
                String::from_utf8_lossy(&self.unread)
            ),
        }
        self.ended.is_none()
    }

    /// Whether data or the end of the connection arrives within `time`.
    pub(crate) fn is_readable_within(&mut self, time: Duration) -> bool {
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
        self.stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Reads everything up to the end of the connection.
    pub(crate) fn read_to_end(&mut self) -> (Vec<u8>, ConnectionEnd) {
        while self.read_more() {}
        (std::mem::take(&mut self.unread), self.ended.unwrap())
    }

    /// No further byte arrives, and the server closes the connection without a reset.
    pub(crate) fn expect_end(&mut self) {
        let (rest, end) = self.read_to_end();
        assert_eq!((String::from_utf8_lossy(&rest), end), ("".into(), ConnectionEnd::Closed));
    }
}

/// Receiving HTTP responses.
impl RawClient {
    /// The head of the next response.
    pub(crate) fn read_response_head(&mut self) -> HttpResponse {
        loop {
            if let Some((response, length)) = HttpResponse::parse_head(&self.unread) {
                self.unread.drain(..length);
                return response;
            }
            assert!(
                self.read_more(),
                "{:?} before a whole response: {:?}",
                self.ended,
                String::from_utf8_lossy(&self.unread)
            );
        }
    }

    /// The status of the next response, which stays unread.
    pub(crate) fn peek_status(&mut self) -> u16 {
        loop {
            if let Some((response, _)) = HttpResponse::parse_head(&self.unread) {
                return response.status;
            }
            assert!(self.read_more(), "{:?} before a whole response", self.ended);
        }
    }

    /// The next response, with its body.
    pub(crate) fn read_response(&mut self) -> HttpResponse {
        let mut response = self.read_response_head();
        if matches!(response.status, 101 | 304) {
            assert_eq!(response.content_length().unwrap_or(0), 0);
            return response;
        }
        let length = response.content_length().expect("the response has a Content-Length");
        while self.unread.len() < length {
            assert!(self.read_more(), "{:?} before the whole body", self.ended);
        }
        response.body = self.unread.drain(..length).collect();
        response
    }

    /// Sends a request and reads the response.
    pub(crate) fn request(&mut self, request: &str) -> HttpResponse {
        self.send(request.as_bytes());
        self.read_response()
    }
}

/// Receiving frames.
impl RawClient {
    /// The next frame; `None` at the end of the connection.
    pub(crate) fn read_frame(&mut self) -> Option<ServerFrame> {
        loop {
            let parsed = parse_header(&self.unread, Side::Server).expect("the frame is valid");
            if let Some(header) = parsed {
                assert!(header.fin, "the server does not fragment");
                let end = header.header_len + header.payload_len as usize;
                if self.unread.len() >= end {
                    let payload = self.unread[header.header_len..end].to_vec();
                    self.unread.drain(..end);
                    return Some(ServerFrame { opcode: header.opcode, payload });
                }
            }
            if !self.read_more() {
                assert!(self.unread.is_empty(), "the connection ended within a frame");
                return None;
            }
        }
    }

    /// What the next frame means; `None` if it is a ping or a pong.
    fn receive_frame(&mut self) -> Option<Received> {
        let Some(ServerFrame { opcode, payload }) = self.read_frame() else {
            return Some(Received::End);
        };
        match opcode {
            TEXT => Some(Received::Text(String::from_utf8(payload).unwrap())),
            PING | PONG => None,
            CLOSE => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                Some(Received::Close(code))
            }
            other => panic!("the server must not send {other:?}"),
        }
    }

    /// The next message if it has arrived whole; the end of the connection is given once.
    pub(crate) fn try_receive(&mut self) -> Option<Received> {
        loop {
            let whole = match parse_header(&self.unread, Side::Server).unwrap() {
                Some(header) => {
                    self.unread.len() - header.header_len >= header.payload_len as usize
                }
                None => false,
            };
            if whole {
                match self.receive_frame() {
                    Some(received) => return Some(received),
                    None => continue,
                }
            }
            self.stream.set_nonblocking(true).unwrap();
            let mut chunk = [0; 16_384];
            let read = self.stream.read(&mut chunk);
            self.stream.set_nonblocking(false).unwrap();
            match read {
                Ok(0) => {
                    let is_first = self.ended.replace(ConnectionEnd::Closed).is_none();
                    return is_first.then_some(Received::End);
                }
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(_) => return None,
            }
        }
    }
}

impl ProtocolClient for RawClient {
    fn id(&self) -> &str {
        &self.id
    }

    fn send_text(&mut self, text: &str) {
        self.send(&text_frame(text.as_bytes()));
    }

    /// Does not answer pings, and skips pongs.
    fn receive(&mut self) -> Received {
        loop {
            if let Some(received) = self.receive_frame() {
                return received;
            }
        }
    }
}

/// An opening handshake for `/ws`.
pub(crate) fn upgrade_request() -> Vec<u8> {
    let mut request = Vec::new();
    let key = WebSocketKey::from_nonce(HANDSHAKE_NONCE);
    write_upgrade_request(&mut request, "test", "/ws", key, &[]);
    request
}

/// A text message in one frame.
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

/// A client's frame with any first byte (FIN, reserved bits, opcode) and the shortest length form.
pub(crate) fn client_frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = text_frame(payload);
    bytes[0] = first_byte;
    bytes
}
