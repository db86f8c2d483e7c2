//! A client whose frames tungstenite makes and checks.

use super::protocol_client::is_identifier;
use super::{ProtocolClient, Received, TIMEOUT};
use serde_json::Value;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

/// A socket that repeats a call which a signal interrupted: the kernel does not restart a read or
/// write on a socket that has a timeout (signal(7)).
struct RestartingStream(TcpStream);

impl Read for RestartingStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(into) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl Write for RestartingStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A client with a session.
pub(crate) struct Client {
    socket: WebSocket<RestartingStream>,
    session: Value,
    id: String,
}

impl Client {
    /// Opens a session at `/ws`.
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::connect_at(address, "/ws")
    }

    /// Opens a session at another path.
    pub(crate) fn connect_at(address: SocketAddr, path: &str) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        let (socket, _response) =
            tungstenite::client(format!("ws://{address}{path}"), RestartingStream(stream)).unwrap();
        let mut client = Client { socket, session: Value::Null, id: String::new() };
        client.session = client.expect_message("session");
        client.id = client.session["session_id"].as_str().unwrap().to_owned();
        assert!(is_identifier(&client.id), "{}", client.id);
        client
    }

    /// The payload of the `session` message.
    pub(crate) fn session(&self) -> &Value {
        &self.session
    }

    /// Sends any message.
    pub(crate) fn send(&mut self, message: Message) {
        self.socket.send(message).unwrap();
    }

    /// Begins the closing handshake.
    pub(crate) fn close(&mut self, code: u16) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: "bye".into() };
        self.socket.close(Some(frame)).unwrap();
        self.socket.flush().unwrap();
    }
}

impl ProtocolClient for Client {
    fn id(&self) -> &str {
        &self.id
    }

    fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    fn receive(&mut self) -> Received {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Received::Text(text.as_str().to_owned()),
                Ok(Message::Close(frame)) => {
                    return Received::Close(frame.map(|frame| frame.code.into()));
                }
                // Tungstenite answers a ping by itself.
                Ok(Message::Ping(_)) => assert!(Instant::now() < deadline, "nothing but pings"),
                Ok(other) => panic!("the server must not send {other:?}"),
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Received::End,
                Err(Error::Protocol(
                    tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
                )) => return Received::End,
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("the server has sent nothing for {TIMEOUT:?}")
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::ConnectionReset => {
                    return Received::End;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
