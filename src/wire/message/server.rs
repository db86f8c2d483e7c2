//! What the server sends.

use super::{ErrorCode, RelayKind};
use crate::ids::Token;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::io::Write as _;

/// Why the other member of a room is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveReason {
    /// It sent `leave_room`.
    Left,
    /// It sent `find_match`.
    Next,
    /// Its connection ended.
    Disconnected,
}

impl LeaveReason {
    /// The reason as clients see it.
    pub const fn as_str(self) -> &'static str {
        match self {
            LeaveReason::Left => "left",
            LeaveReason::Next => "next",
            LeaveReason::Disconnected => "disconnected",
        }
    }
}

/// A message from the server, to be written.
///
/// No string in it needs escaping: names obey the rule for queue names, identifiers are
/// base64url, and a `pong` carries JSON that a client sent and the server parsed.
#[derive(Clone, Copy, Debug)]
pub enum ServerMessage<'a> {
    /// The first message on every connection.
    Session {
        /// The session's own identifier.
        session_id: Token,
        /// A JSON array, ready for `RTCPeerConnection`.
        ice_servers: &'a str,
    },
    /// `find_match` was accepted.
    Waiting {
        /// The queue's name.
        queue: &'a str,
    },
    /// A room was made.
    MatchFound {
        /// The room.
        room_id: Token,
        /// The other member's session.
        peer_id: Token,
        /// Whether the receiver sends the offer.
        initiator: bool,
    },
    /// Answer to `cancel_match`.
    MatchCancelled,
    /// Answer to `leave_room`.
    RoomLeft {
        /// The room.
        room_id: Token,
    },
    /// The other member is gone.
    PeerLeft {
        /// The room.
        room_id: Token,
        /// Why.
        reason: LeaveReason,
    },
    /// Answer to `ping`.
    Pong {
        /// As it came.
        payload: Option<&'a str>,
    },
    /// A message was refused.
    Error(ErrorCode),
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
            ServerMessage::Session { session_id, ice_servers } => write!(
                out,
                r#"{{"type":"session","payload":{{"session_id":"{}","ice_servers":{ice_servers},"resumed":false}}}}"#,
                session_id.as_str()
            ),
            ServerMessage::Waiting { queue } => {
                write!(out, r#"{{"type":"waiting","payload":{{"queue":"{queue}"}}}}"#)
            }
            ServerMessage::MatchFound { room_id, peer_id, initiator } => write!(
                out,
                r#"{{"type":"match_found","payload":{{"room_id":"{}","peer_id":"{}","initiator":{initiator}}}}}"#,
                room_id.as_str(),
                peer_id.as_str()
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
            ServerMessage::Error(code) => write!(
                out,
                r#"{{"type":"error","payload":{{"code":"{}","message":"{}"}}}}"#,
                code.as_str(),
                code.explanation()
            ),
            ServerMessage::Draining { deadline_ms } => {
                write!(out, r#"{{"type":"draining","payload":{{"deadline_ms":{deadline_ms}}}}}"#)
            }
        };
        written.expect("because writing to a vector cannot fail");
    }
}

/// A message from the server, as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParsedServerMessage<'a> {
    /// See [`ServerMessage::Session`].
    Session {
        /// The session's own identifier.
        session_id: Cow<'a, str>,
    },
    /// See [`ServerMessage::Waiting`].
    Waiting,
    /// See [`ServerMessage::MatchFound`].
    MatchFound {
        /// The room.
        room_id: Cow<'a, str>,
        /// The other member's session.
        peer_id: Cow<'a, str>,
        /// Whether the receiver sends the offer.
        initiator: bool,
    },
    /// See [`ServerMessage::MatchCancelled`].
    MatchCancelled,
    /// See [`ServerMessage::RoomLeft`].
    RoomLeft,
    /// See [`ServerMessage::PeerLeft`].
    PeerLeft {
        /// The room.
        room_id: Cow<'a, str>,
        /// One of [`LeaveReason::as_str`], or `timeout`.
        reason: Cow<'a, str>,
    },
    /// What the other member of the room sent.
    Relayed {
        /// Its type.
        kind: RelayKind,
        /// Its payload as JSON text.
        payload: Option<&'a str>,
    },
    /// See [`ServerMessage::Pong`].
    Pong,
    /// See [`ServerMessage::Error`].
    Error {
        /// One of [`ErrorCode::as_str`].
        code: Cow<'a, str>,
    },
    /// See [`ServerMessage::Draining`].
    Draining,
    /// A type that this version does not know.
    Unknown,
}

/// Reads a message from the server. The error says what is wrong with it.
pub fn parse_server_message(text: &[u8]) -> Result<ParsedServerMessage<'_>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(rename = "type", borrow)]
        name: Cow<'a, str>,
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Session<'a> {
        #[serde(borrow)]
        session_id: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct Match<'a> {
        #[serde(borrow)]
        room_id: Cow<'a, str>,
        #[serde(borrow)]
        peer_id: Cow<'a, str>,
        initiator: bool,
    }
    #[derive(Deserialize)]
    struct Left<'a> {
        #[serde(borrow)]
        room_id: Cow<'a, str>,
        #[serde(borrow)]
        reason: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct Refused<'a> {
        #[serde(borrow)]
        code: Cow<'a, str>,
    }
    let message: Message<'_> = serde_json::from_slice(text)?;
    let payload = message.payload.map_or("null", RawValue::get);
    Ok(match &*message.name {
        "session" => {
            let Session { session_id } = serde_json::from_str(payload)?;
            ParsedServerMessage::Session { session_id }
        }
        "waiting" => ParsedServerMessage::Waiting,
        "match_found" => {
            let Match { room_id, peer_id, initiator } = serde_json::from_str(payload)?;
            ParsedServerMessage::MatchFound { room_id, peer_id, initiator }
        }
        "match_cancelled" => ParsedServerMessage::MatchCancelled,
        "room_left" => ParsedServerMessage::RoomLeft,
        "peer_left" => {
            let Left { room_id, reason } = serde_json::from_str(payload)?;
            ParsedServerMessage::PeerLeft { room_id, reason }
        }
        "pong" => ParsedServerMessage::Pong,
        "error" => {
            let Refused { code } = serde_json::from_str(payload)?;
            ParsedServerMessage::Error { code }
        }
        "draining" => ParsedServerMessage::Draining,
        name => RelayKind::ALL.into_iter().find(|kind| kind.as_str() == name).map_or(
            ParsedServerMessage::Unknown,
            |kind| ParsedServerMessage::Relayed {
                kind,
                payload: message.payload.map(RawValue::get),
            },
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{RoomNo, SessionNo, TokenMint};

    fn read_back(message: ServerMessage<'_>, check: impl FnOnce(ParsedServerMessage<'_>)) {
        let mut out = Vec::new();
        message.write(&mut out);
        check(parse_server_message(&out).unwrap());
    }

    #[test]
    fn what_the_server_writes_is_what_a_client_reads() {
        let mint = TokenMint::new([3; 16]);
        let (room_id, peer_id) = (mint.room(RoomNo(1)), mint.session(SessionNo(2)));
        let room = || Cow::Borrowed(room_id.as_str());
        read_back(ServerMessage::Session { session_id: peer_id, ice_servers: "[]" }, |got| {
            assert_eq!(got, ParsedServerMessage::Session { session_id: peer_id.as_str().into() });
        });
        read_back(ServerMessage::Waiting { queue: "en" }, |got| {
            assert_eq!(got, ParsedServerMessage::Waiting)
        });
        read_back(ServerMessage::MatchFound { room_id, peer_id, initiator: true }, |got| {
            let peer_id = peer_id.as_str().into();
            assert_eq!(
                got,
                ParsedServerMessage::MatchFound { room_id: room(), peer_id, initiator: true }
            );
        });
        read_back(ServerMessage::MatchCancelled, |got| {
            assert_eq!(got, ParsedServerMessage::MatchCancelled)
        });
        read_back(ServerMessage::RoomLeft { room_id }, |got| {
            assert_eq!(got, ParsedServerMessage::RoomLeft)
        });
        for reason in [LeaveReason::Left, LeaveReason::Next, LeaveReason::Disconnected] {
            read_back(ServerMessage::PeerLeft { room_id, reason }, |got| {
                let reason = reason.as_str().into();
                assert_eq!(got, ParsedServerMessage::PeerLeft { room_id: room(), reason });
            });
        }
        read_back(ServerMessage::Pong { payload: Some("[1]") }, |got| {
            assert_eq!(got, ParsedServerMessage::Pong)
        });
        read_back(ServerMessage::Pong { payload: None }, |got| {
            assert_eq!(got, ParsedServerMessage::Pong)
        });
        read_back(ServerMessage::Error(ErrorCode::NotInRoom), |got| {
            assert_eq!(got, ParsedServerMessage::Error { code: "not_in_room".into() });
        });
        read_back(ServerMessage::Draining { deadline_ms: 5 }, |got| {
            assert_eq!(got, ParsedServerMessage::Draining);
        });
    }
}
