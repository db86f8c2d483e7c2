//! The only definition of the JSON messages. Pure.

/// What a refused message is answered with; the connection stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// Not a JSON object, or not strict JSON, or too deep.
    BadJson,
    /// No usable `type`, a forbidden form, or a payload of the wrong shape.
    BadMessage,
    /// A `type` that clients do not send.
    UnknownType,
    /// A queue name outside the rule.
    BadQueue,
    /// Relay or `leave_room` without a room, or with another room's `room_id`.
    NotInRoom,
    /// `cancel_match` while not waiting.
    NotWaiting,
    /// Over the message rate.
    RateLimited,
    /// No new matches while the server shuts down.
    Draining,
}
