//! What a user exchanges with its driver: the context of a step, and events that concern more than
//! this user. Pure values.

use super::UserRules;
use crate::load::measure::{LoadFault, Recorder};
use crate::load::message_header::{MessageDecoder, MessageEncoder};
use crate::load::pairing_ledger::MatchNotice;
use crate::load::room_traffic::RoomTraffic;
use crate::timestamp::Timestamp;

/// What a user needs from its driver for one step.
pub struct UserContext<'a> {
    /// The time, counted from the start of the run.
    pub now: Timestamp,
    /// The driver was paused for a while: what arrives late may only have been read late.
    pub catching_up: bool,
    /// The rules of the run.
    pub rules: &'a UserRules,
    /// Output of the step: complete, masked frames to send.
    pub out: &'a mut Vec<u8>,
    /// Records counts, faults and times.
    pub recorder: &'a mut Recorder,
    /// Encodes messages.
    pub encoder: &'a mut MessageEncoder,
    /// Decodes relayed messages.
    pub decoder: &'a MessageDecoder,
    /// Output of the step: events for the pairing ledger.
    pub events: &'a mut Vec<UserEvent>,
}

/// An event that the pairing ledger compares with the events of other users. Sessions and rooms
/// are hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserEvent {
    /// The session began.
    SessionOpened(u64),
    /// `match_found` arrived.
    Matched(MatchNotice),
    /// The user is no longer in a room.
    RoomEnded {
        /// The user's session.
        session: u64,
        /// The room.
        room: u64,
        /// Number of messages that should have arrived in it and did not.
        missing: u32,
        /// What the user sent and received in it.
        traffic: RoomTraffic,
    },
    /// A message arrived from a room that the user is not in.
    StrayMessage {
        /// The room.
        room: u64,
        /// The fault to count, unless a fault of that room has been counted already.
        fault: LoadFault,
    },
    /// The server may refuse what this user asks for, so that a missing `peer_left` after its
    /// leave, or a missing match, is no evidence against the server.
    Exempt {
        /// The user's session.
        session: u64,
        /// The room that it left, unless the server has confirmed the leave.
        room: Option<u64>,
    },
    /// The user was matched.
    Served {
        /// When it had asked.
        asked: Timestamp,
        /// Number of its queue.
        queue: u16,
    },
    /// The user has withdrawn its match request.
    Withdrawn {
        /// The user's session.
        session: u64,
    },
    /// A user that has left comes back at this time.
    Returns(Timestamp),
    /// The user waits no longer, although it was not matched.
    WaitEnded {
        /// The user's session.
        session: u64,
        /// When it should have asked.
        intended: Timestamp,
        /// When it asked.
        asked: Timestamp,
    },
    /// The user has waited too long for a match.
    Overdue {
        /// The user's session.
        session: u64,
        /// When it asked.
        asked: Timestamp,
        /// Number of its queue.
        queue: u16,
    },
}

/// What a user is doing, for the gauges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserActivity {
    /// It has no session yet.
    Connecting,
    /// It has a session and is neither waiting nor in a room.
    Idle,
    /// It waits for a match.
    Waiting,
    /// It is in a room.
    InRoom,
    /// Its session has ended, or its Close frame is sent.
    Closing,
    /// It has ended its session without a Close frame.
    Vanished,
}
