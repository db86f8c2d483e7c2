//! The messages that the server sends: [`ServerMessage`] writes them, and [`parse_server_message`]
//! is the client's half.

mod parsed;

pub use parsed::{ParsedServerMessage, parse_server_message};

use super::MessageRefusal;
use crate::ids::Token;
use std::io::{self, Write as _};
use std::time::Duration;

/// Why the other member of a room has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveReason {
    /// It sent `leave_room`.
    Left,
    /// It sent `find_match`.
    Next,
    /// Its connection ended.
    Disconnected,
    /// It did not answer after the match.
    Timeout,
}

impl LeaveReason {
    /// The value of `reason` in the message.
    pub const fn as_str(self) -> &'static str {
        match self {
            LeaveReason::Left => "left",
            LeaveReason::Next => "next",
            LeaveReason::Disconnected => "disconnected",
            LeaveReason::Timeout => "timeout",
        }
    }
}

/// A message to be sent.
///
/// None of its strings needs escaping: queue names are valid, identifiers are base64url, and the
/// payload of a `pong` is JSON that the server has parsed.
#[derive(Clone, Copy, Debug)]
pub enum ServerMessage<'a> {
    /// The first message on every connection.
    Session {
        /// The identifier of the client's session.
        session_id: Token,
        /// A JSON array, suitable for `RTCPeerConnection`.
        ice_servers: &'a str,
        /// Whether the client is asked to connect through a TURN server only.
        relay_only: bool,
    },
    /// `find_match` was accepted.
    Waiting {
        /// The name of the queue.
        queue: &'a str,
        /// How long a user has to wait in this queue, if that is known.
        expected_wait: Option<Duration>,
    },
    /// A room was made.
    MatchFound {
        /// The room.
        room_id: Token,
        /// The session of the other member.
        peer_id: Token,
        /// Whether the receiver sends the offer.
        initiator: bool,
        /// A JSON array in place of that of `session`, if this call has credentials of its own.
        ice_servers: Option<&'a str>,
    },
    /// Answer to `cancel_match`.
    MatchCancelled,
    /// Answer to `leave_room`.
    RoomLeft {
        /// The room.
        room_id: Token,
    },
    /// The other member has left.
    PeerLeft {
        /// The room.
        room_id: Token,
        /// Why it left.
        reason: LeaveReason,
    },
    /// Answer to `ping`.
    Pong {
        /// The payload of the `ping`, unchanged.
        payload: Option<&'a str>,
    },
    /// A message was refused.
    Error(MessageRefusal),
    /// The server is shutting down.
    Draining {
        /// Milliseconds until every connection is closed.
        deadline_ms: u64,
    },
}

impl ServerMessage<'_> {
    /// Appends the message as JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        let written = match *self {
            ServerMessage::Session { session_id, ice_servers, relay_only } => write!(
                out,
                r#"{{"type":"session","payload":{{"session_id":"{}","ice_servers":{ice_servers}{},"resumed":false}}}}"#,
                session_id.as_str(),
                if relay_only { r#","relay_only":true"# } else { "" }
            ),
            ServerMessage::Waiting { queue, expected_wait: None } => {
                write!(out, r#"{{"type":"waiting","payload":{{"queue":"{queue}"}}}}"#)
            }
            ServerMessage::Waiting { queue, expected_wait: Some(wait) } => write!(
                out,
                r#"{{"type":"waiting","payload":{{"queue":"{queue}","expected_wait_ms":{}}}}}"#,
                wait.as_millis()
            ),
            ServerMessage::MatchFound { room_id, peer_id, initiator, ice_servers } => write!(
                out,
                r#"{{"type":"match_found","payload":{{"room_id":"{}","peer_id":"{}","initiator":{initiator}{}{}}}}}"#,
                room_id.as_str(),
                peer_id.as_str(),
                if ice_servers.is_some() { r#","ice_servers":"# } else { "" },
                ice_servers.unwrap_or_default()
            ),
            ServerMessage::MatchCancelled => write!(out, r#"{{"type":"match_cancelled"}}"#),
            ServerMessage::RoomLeft { room_id } => {
                write!(
                    out,
                    r#"{{"type":"room_left","payload":{{"room_id":"{}"}}}}"#,
                    room_id.as_str()
                )
            }
            ServerMessage::PeerLeft { room_id, reason } => write!(
                out,
                r#"{{"type":"peer_left","payload":{{"room_id":"{}","reason":"{}"}}}}"#,
                room_id.as_str(),
                reason.as_str()
            ),
            ServerMessage::Pong { payload: None } => write!(out, r#"{{"type":"pong"}}"#),
            ServerMessage::Pong { payload: Some(payload) } => {
                write!(out, r#"{{"type":"pong","payload":{payload}}}"#)
            }
            ServerMessage::Error(refusal) => write_error(out, &refusal),
            ServerMessage::Draining { deadline_ms } => {
                write!(out, r#"{{"type":"draining","payload":{{"deadline_ms":{deadline_ms}}}}}"#)
            }
        };
        written.expect("because writing to a vector cannot fail");
    }
}

fn write_error(out: &mut Vec<u8>, refusal: &MessageRefusal) -> io::Result<()> {
    let (code, explanation) = (refusal.code.as_str(), refusal.code.explanation());
    write!(out, r#"{{"type":"error","payload":{{"code":"{code}","message":"{explanation}""#)?;
    if let Some(refused) = refusal.refused {
        write!(out, r#","refused":"{}""#, refused.as_str())?;
    }
    if let Some(retry_after_ms) = refusal.retry_after_ms {
        write!(out, r#","retry_after_ms":{retry_after_ms}"#)?;
    }
    out.write_all(b"}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{RoomNo, SessionNo, TokenMint};
    use crate::wire::message::{ClientMessageType, ErrorCode};
    use std::borrow::Cow;

    fn parse_back(message: ServerMessage<'_>, check: impl FnOnce(ParsedServerMessage<'_>)) {
        let mut out = Vec::new();
        message.write(&mut out);
        check(parse_server_message(&out).unwrap());
    }

    #[test]
    fn a_client_parses_every_message_that_the_server_writes() {
        let mint = TokenMint::new([3; 16]);
        let (room_id, peer_id) = (mint.room(RoomNo(1)), mint.session(SessionNo(2)));
        let room = || Cow::Borrowed(room_id.as_str());
        for relay_only in [false, true] {
            let message =
                ServerMessage::Session { session_id: peer_id, ice_servers: "[]", relay_only };
            parse_back(message, |got| {
                let session_id = peer_id.as_str().into();
                assert_eq!(got, ParsedServerMessage::Session { session_id });
            });
        }
        for expected_wait in [None, Some(Duration::from_millis(1500))] {
            parse_back(ServerMessage::Waiting { queue: "en", expected_wait }, |got| {
                assert_eq!(got, ParsedServerMessage::Waiting)
            });
        }
        for ice_servers in [None, Some("[]")] {
            let initiator = true;
            let message = ServerMessage::MatchFound { room_id, peer_id, initiator, ice_servers };
            parse_back(message, |got| {
                let peer_id = peer_id.as_str().into();
                let expected =
                    ParsedServerMessage::MatchFound { room_id: room(), peer_id, initiator };
                assert_eq!(got, expected);
            });
        }
        parse_back(ServerMessage::MatchCancelled, |got| {
            assert_eq!(got, ParsedServerMessage::MatchCancelled)
        });
        parse_back(ServerMessage::RoomLeft { room_id }, |got| {
            assert_eq!(got, ParsedServerMessage::RoomLeft)
        });
        use LeaveReason::{Disconnected, Left, Next, Timeout};
        for reason in [Left, Next, Disconnected, Timeout] {
            parse_back(ServerMessage::PeerLeft { room_id, reason }, |got| {
                let reason = reason.as_str().into();
                assert_eq!(got, ParsedServerMessage::PeerLeft { room_id: room(), reason });
            });
        }
        parse_back(ServerMessage::Pong { payload: Some("[1]") }, |got| {
            assert_eq!(got, ParsedServerMessage::Pong)
        });
        parse_back(ServerMessage::Pong { payload: None }, |got| {
            assert_eq!(got, ParsedServerMessage::Pong)
        });
        let refusal = MessageRefusal::of(ClientMessageType::LeaveRoom, ErrorCode::NotInRoom);
        parse_back(ServerMessage::Error(refusal), |got| {
            let (code, refused) = ("not_in_room".into(), Some("leave_room".into()));
            assert_eq!(got, ParsedServerMessage::Error { code, refused });
        });
        let refusal = MessageRefusal::new(ErrorCode::BadJson, None);
        let refusal = MessageRefusal { retry_after_ms: Some(1200), ..refusal };
        parse_back(ServerMessage::Error(refusal), |got| {
            let code = "bad_json".into();
            assert_eq!(got, ParsedServerMessage::Error { code, refused: None });
        });
        parse_back(ServerMessage::Draining { deadline_ms: 5 }, |got| {
            assert_eq!(got, ParsedServerMessage::Draining);
        });
    }
}
