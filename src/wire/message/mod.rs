//! The only definition of the JSON messages. Pure.
//!
//! [`client`] has the messages that clients send, and [`server`] those that the server sends. Both
//! have a half that writes them and a half that reads them: the server reads what clients write
//! and the other way round, and the load tester and the simulator use the client's halves. The
//! contract is in `src/wire/PROTOCOL.md`.

pub mod client;
pub mod server;

/// The refusal of a message, as the error tells it to the client. The connection stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRefusal {
    /// Why the message is refused.
    pub code: ErrorCode,
    /// The type of the refused message, if it is one that clients send.
    pub refused: Option<ClientMessageType>,
    /// In how many milliseconds the same message may be accepted, if the server knows.
    pub retry_after_ms: Option<u64>,
}

impl MessageRefusal {
    /// A message of this type, or of none that clients send, is refused.
    pub const fn new(code: ErrorCode, refused: Option<ClientMessageType>) -> Self {
        MessageRefusal { code, refused, retry_after_ms: None }
    }

    /// A message of this type is refused.
    pub const fn of(refused: ClientMessageType, code: ErrorCode) -> Self {
        Self::new(code, Some(refused))
    }
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// Not a JSON object, not strict JSON, or nested too deeply.
    BadJson,
    /// No usable `type`, a forbidden form, or a payload of the wrong shape.
    BadMessage,
    /// A `type` that clients do not send.
    UnknownType,
    /// A queue name that violates the rule.
    BadQueue,
    /// A relayed message or `leave_room` without a room, or with the `room_id` of another room.
    NotInRoom,
    /// `cancel_match` while not waiting.
    NotWaiting,
    /// Over the message rate.
    RateLimited,
    /// Over the rate of matches.
    TooManyMatches,
    /// The partner reads too slowly for this message.
    PeerBusy,
    /// No new matches while the server shuts down.
    Draining,
}

impl ErrorCode {
    /// The value of `code` in the message.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorCode::BadJson => "bad_json",
            ErrorCode::BadMessage => "bad_message",
            ErrorCode::UnknownType => "unknown_type",
            ErrorCode::BadQueue => "bad_queue",
            ErrorCode::NotInRoom => "not_in_room",
            ErrorCode::NotWaiting => "not_waiting",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::TooManyMatches => "too_many_matches",
            ErrorCode::PeerBusy => "peer_busy",
            ErrorCode::Draining => "draining",
        }
    }

    /// One sentence for the author of the client.
    pub const fn explanation(self) -> &'static str {
        match self {
            ErrorCode::BadJson => "expected one strict JSON object, at most 100 levels deep",
            ErrorCode::BadMessage => {
                "expected a text message with one usable type and a payload of the right shape"
            }
            ErrorCode::UnknownType => "clients do not send messages of this type",
            ErrorCode::BadQueue => "a queue name is 1 to 64 of A-Z a-z 0-9 _ . : -",
            ErrorCode::NotInRoom => "you are not in that room",
            ErrorCode::NotWaiting => "you are not waiting for a match",
            ErrorCode::RateLimited => "too many messages; this one was dropped",
            ErrorCode::TooManyMatches => "too many matches in a short time; try again later",
            ErrorCode::PeerBusy => "your partner reads too slowly; this message was dropped",
            ErrorCode::Draining => "the server is shutting down and makes no new matches",
        }
    }
}

/// The types of the messages that clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientMessageType {
    /// Join a queue.
    FindMatch,
    /// Leave the queue.
    CancelMatch,
    /// Leave the room.
    LeaveRoom,
    /// Asks for a `pong`.
    Ping,
    /// For the other member of the room.
    Relay(RelayKind),
}

impl ClientMessageType {
    /// Every type.
    pub const ALL: [ClientMessageType; 8] = [
        ClientMessageType::FindMatch,
        ClientMessageType::CancelMatch,
        ClientMessageType::LeaveRoom,
        ClientMessageType::Ping,
        ClientMessageType::Relay(RelayKind::Offer),
        ClientMessageType::Relay(RelayKind::Answer),
        ClientMessageType::Relay(RelayKind::IceCandidate),
        ClientMessageType::Relay(RelayKind::Signal),
    ];

    /// The value of `type` in the message.
    pub const fn as_str(self) -> &'static str {
        match self {
            ClientMessageType::FindMatch => "find_match",
            ClientMessageType::CancelMatch => "cancel_match",
            ClientMessageType::LeaveRoom => "leave_room",
            ClientMessageType::Ping => "ping",
            ClientMessageType::Relay(kind) => kind.as_str(),
        }
    }

    /// The type with this name, if clients send it.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str().as_bytes() == name)
    }

    /// Whether such a message changes what its session waits for or which room it is in.
    pub const fn is_state_change(self) -> bool {
        match self {
            ClientMessageType::FindMatch
            | ClientMessageType::CancelMatch
            | ClientMessageType::LeaveRoom => true,
            ClientMessageType::Ping | ClientMessageType::Relay(_) => false,
        }
    }
}

/// The message types that the server relays from one member of a room to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayKind {
    /// A session description that starts a negotiation.
    Offer,
    /// The description that answers it.
    Answer,
    /// A candidate for a network path.
    IceCandidate,
    /// Anything else that the two clients exchange.
    Signal,
}

impl RelayKind {
    /// Every kind.
    pub const ALL: [RelayKind; 4] =
        [RelayKind::Offer, RelayKind::Answer, RelayKind::IceCandidate, RelayKind::Signal];

    /// The value of `type` in the message.
    pub const fn as_str(self) -> &'static str {
        match self {
            RelayKind::Offer => "offer",
            RelayKind::Answer => "answer",
            RelayKind::IceCandidate => "ice_candidate",
            RelayKind::Signal => "signal",
        }
    }
}

/// Whether `name` is a valid queue name: 1 to 64 of `A–Z a–z 0–9 _ . : -`.
pub fn is_queue_name(name: &[u8]) -> bool {
    (1..=crate::limits::QUEUE_NAME_BYTES).contains(&name.len())
        && name.iter().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(b))
}

/// The queue of a `find_match` without a queue name.
pub const DEFAULT_QUEUE: &str = "default";
