//! The messages that clients send.
//!
//! Of a relayed message, a server needs only its type, whether it names the sender's room, and
//! that no receiver can mistake it for something else. For the usual order of members a fast scan
//! finds that out without parsing ([`relay_scan`]). Every message that the scan cannot decide goes
//! through the strict parser ([`parser`]).

mod parser;
mod relay_scan;
#[cfg(test)]
mod tests;
mod writer;

use super::{ClientMessageType, MessageRefusal, RelayKind};
use std::borrow::Cow;

pub use relay_scan::is_relay_for;
pub use writer::{write_cancel_match, write_find_match, write_leave_room, write_relay};

/// The `room_id` of a relayed message or of a `leave_room`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomClaim<'a> {
    /// The message names no room and means the sender's present one.
    Current,
    /// The message names this room.
    Named(Cow<'a, [u8]>),
    /// `room_id` is not a string.
    Invalid,
}

/// A message from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage<'a> {
    /// Join a queue.
    FindMatch {
        /// The queue, a valid name; `None` means the default queue.
        queue: Option<Cow<'a, str>>,
    },
    /// Leave the queue.
    CancelMatch,
    /// Leave the room.
    LeaveRoom(RoomClaim<'a>),
    /// Asks for a `pong`.
    Ping {
        /// To be sent back unchanged.
        payload: Option<&'a str>,
    },
    /// For the other member of the room.
    Relay(RelayKind, RoomClaim<'a>),
}

impl ClientMessage<'_> {
    /// The type of the message.
    pub fn message_type(&self) -> ClientMessageType {
        match self {
            ClientMessage::FindMatch { .. } => ClientMessageType::FindMatch,
            ClientMessage::CancelMatch => ClientMessageType::CancelMatch,
            ClientMessage::LeaveRoom(_) => ClientMessageType::LeaveRoom,
            ClientMessage::Ping { .. } => ClientMessageType::Ping,
            ClientMessage::Relay(kind, _) => ClientMessageType::Relay(*kind),
        }
    }
}

/// Parses a text message. `text` is valid UTF-8.
///
/// # Errors
/// Why the message is refused, and its type, if it is one that clients send.
pub fn parse_client_message(text: &[u8]) -> Result<ClientMessage<'_>, MessageRefusal> {
    match relay_scan::scan_relay(text) {
        Some((kind, claim)) => Ok(ClientMessage::Relay(kind, claim)),
        None => parser::parse_strictly(text),
    }
}
