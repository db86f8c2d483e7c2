//! A user whose frames tungstenite makes and checks, so that the server's are not judged by
//! code of the server's.

use super::talk::is_identifier;
use super::{Heard, PATIENCE, Talk};
use serde_json::Value;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

/// A socket whose reads go on when a signal interrupts them: one that has a timeout is not
/// restarted by the kernel (signal(7)).
struct Patient(TcpStream);

impl Read for Patient {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(into) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl Write for Patient {
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

/// A user with a session.
pub(crate) struct Client {
    socket: WebSocket<Patient>,
    session: Value,
    id: String,
}

impl Client {
    /// Connects and takes the `session` message.
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::connect_at(address, "/ws")
    }

    /// The same by another path.
    pub(crate) fn connect_at(address: SocketAddr, path: &str) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let (socket, _response) =
            tungstenite::client(format!("ws://{address}{path}"), Patient(stream)).unwrap();
        let mut client = Client { socket, session: Value::Null, id: String::new() };
        client.session = client.expect("session");
        client.id = client.session["session_id"].as_str().unwrap().to_owned();
        assert!(is_identifier(&client.id), "{}", client.id);
        client
    }

    /// The payload of the `session` message.
    pub(crate) fn session(&self) -> &Value {
        &self.session
    }

    /// Sends whatever message.
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

impl Talk for Client {
    fn id(&self) -> &str {
        &self.id
    }

    fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    fn hear(&mut self) -> Heard {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Heard::Text(text.as_str().to_owned()),
                Ok(Message::Close(frame)) => {
                    return Heard::Close(frame.map(|frame| frame.code.into()));
                }
                // Tungstenite answers a ping by itself.
                Ok(Message::Ping(_)) => assert!(Instant::now() < deadline, "nothing but pings"),
                Ok(other) => panic!("the server sends no {other:?}"),
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Heard::End,
                Err(Error::Protocol(
                    tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
                )) => return Heard::End,
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("the server has sent nothing for {PATIENCE:?}")
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::ConnectionReset => {
                    return Heard::End;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
