//! The client's half: parses the messages that the server sends. Pure.

use crate::wire::message::RelayKind;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A message from the server, as far as a client here needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParsedServerMessage<'a> {
    /// See [`ServerMessage::Session`](super::ServerMessage::Session).
    Session {
        /// The identifier of the client's session.
        session_id: Cow<'a, str>,
    },
    /// See [`ServerMessage::Waiting`](super::ServerMessage::Waiting).
    Waiting,
    /// See [`ServerMessage::MatchFound`](super::ServerMessage::MatchFound).
    MatchFound {
        /// The room.
        room_id: Cow<'a, str>,
        /// The session of the other member.
        peer_id: Cow<'a, str>,
        /// Whether the receiver sends the offer.
        initiator: bool,
    },
    /// See [`ServerMessage::MatchCancelled`](super::ServerMessage::MatchCancelled).
    MatchCancelled,
    /// See [`ServerMessage::RoomLeft`](super::ServerMessage::RoomLeft).
    RoomLeft,
    /// See [`ServerMessage::PeerLeft`](super::ServerMessage::PeerLeft).
    PeerLeft {
        /// The room.
        room_id: Cow<'a, str>,
        /// A value of [`LeaveReason::as_str`](super::LeaveReason::as_str), or one of a newer
        /// server.
        reason: Cow<'a, str>,
    },
    /// A message from the other member of the room.
    Relayed {
        /// Its type.
        kind: RelayKind,
        /// Its payload as JSON text.
        payload: Option<&'a str>,
    },
    /// See [`ServerMessage::Pong`](super::ServerMessage::Pong).
    Pong,
    /// See [`ServerMessage::Error`](super::ServerMessage::Error).
    Error {
        /// A value of [`ErrorCode::as_str`](crate::wire::message::ErrorCode::as_str).
        code: Cow<'a, str>,
        /// The type of the refused message, if the server names it.
        refused: Option<Cow<'a, str>>,
    },
    /// See [`ServerMessage::Draining`](super::ServerMessage::Draining).
    Draining,
    /// A type that this version does not know.
    Unknown,
}

#[derive(Deserialize)]
struct ServerEnvelope<'a> {
    #[serde(rename = "type", borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SessionPayload<'a> {
    #[serde(borrow)]
    session_id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct MatchFoundPayload<'a> {
    #[serde(borrow)]
    room_id: Cow<'a, str>,
    #[serde(borrow)]
    peer_id: Cow<'a, str>,
    initiator: bool,
}

#[derive(Deserialize)]
struct PeerLeftPayload<'a> {
    #[serde(borrow)]
    room_id: Cow<'a, str>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ErrorPayload<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow)]
    refused: Option<Cow<'a, str>>,
}

/// Parses a message from the server.
///
/// # Errors
/// If the text is not JSON, or the payload lacks a required member.
pub fn parse_server_message(text: &[u8]) -> Result<ParsedServerMessage<'_>, serde_json::Error> {
    let message: ServerEnvelope<'_> = serde_json::from_slice(text)?;
    let payload = message.payload.map_or("null", RawValue::get);
    Ok(match &*message.name {
        "session" => {
            let SessionPayload { session_id } = serde_json::from_str(payload)?;
            ParsedServerMessage::Session { session_id }
        }
        "waiting" => ParsedServerMessage::Waiting,
        "match_found" => {
            let MatchFoundPayload { room_id, peer_id, initiator } = serde_json::from_str(payload)?;
            ParsedServerMessage::MatchFound { room_id, peer_id, initiator }
        }
        "match_cancelled" => ParsedServerMessage::MatchCancelled,
        "room_left" => ParsedServerMessage::RoomLeft,
        "peer_left" => {
            let PeerLeftPayload { room_id, reason } = serde_json::from_str(payload)?;
            ParsedServerMessage::PeerLeft { room_id, reason }
        }
        "pong" => ParsedServerMessage::Pong,
        "error" => {
            let ErrorPayload { code, refused } = serde_json::from_str(payload)?;
            ParsedServerMessage::Error { code, refused }
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
