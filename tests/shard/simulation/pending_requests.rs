//! Requests of a user that may still be answered, and which answers fit them.

use super::simulator::EXPECTED_WAITS_MS;
use super::user::{User, UserContext, View};
use std::time::Duration;
use switchboard::wire::message::RelayKind;

/// The `room_id` of a message: absent, a room, or an invalid value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RoomReference {
    Absent,
    Room(String),
    Invalid,
}

/// A message that is answered or may be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Find(&'static str),
    Cancel,
    Leave(RoomReference),
    Relay(RoomReference),
    /// With the expected answer.
    Ping(String),
    SocketPing(Vec<u8>),
    /// An invalid message: the code with which it is refused, and its type if clients send it.
    Bad(&'static str, Option<&'static str>),
    Close,
}

/// A request, and the room in which the user was when it sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingRequest {
    pub(crate) request: Request,
    pub(crate) room: Option<String>,
}

/// An answer of the server.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    Waiting(&'a str),
    Cancelled,
    RoomLeft,
    Pong(&'a str),
    /// The code, and the type of the refused message.
    Error(&'a str, Option<&'a str>),
    SocketPong(&'a [u8]),
    Closed,
}

/// The `waiting` that answers a `find_match` for this queue.
fn expected_waiting(queue: &str) -> String {
    let known = EXPECTED_WAITS_MS.iter().find(|(named, _)| *named == queue);
    let estimate = known.map(|(_, ms)| format!(r#","expected_wait_ms":{ms}"#)).unwrap_or_default();
    format!(r#"{{"type":"waiting","payload":{{"queue":"{queue}"{estimate}}}}}"#)
}

/// Whether a message of this type has the bucket of state changes.
fn is_state_change(name: &str) -> bool {
    ["find_match", "cancel_match", "leave_room"].contains(&name)
}

impl Request {
    /// Whether an error that names this type as refused can be meant for the request.
    fn is_named(&self, refused: Option<&str>) -> bool {
        match self {
            Request::Find(_) => refused == Some("find_match"),
            Request::Cancel => refused == Some("cancel_match"),
            Request::Leave(_) => refused == Some("leave_room"),
            Request::Relay(_) => {
                RelayKind::ALL.into_iter().any(|kind| refused == Some(kind.as_str()))
            }
            Request::Ping(_) => refused == Some("ping"),
            Request::Bad(_, message_type) => refused == *message_type,
            Request::SocketPing(_) | Request::Close => false,
        }
    }
}

impl User {
    /// Assigns an answer to one of the requests. Requests before it that were not answered must be
    /// of kinds that may have no answer. If several assignments are possible, all are kept.
    pub(crate) fn answered(&mut self, answer: &Answer<'_>, context: &mut UserContext<'_>) {
        let limited = context.shared.plan.limits.max_messages_per_second.is_some();
        if let Answer::Error("rate_limited", refused) = answer
            && !refused.is_some_and(is_state_change)
        {
            self.check_rate(context);
        }
        let mut reached = Vec::new();
        let first = self.reached[0];
        let mut open = false;
        for (at, pending) in self.pending.iter().enumerate().skip(first) {
            open |= self.reached.contains(&at);
            if open && self.fits(pending, answer, limited, context) {
                reached.push(at + 1);
            }
            open &= self.may_be_silent(pending, limited);
        }
        let Some(done) = reached.first().copied() else {
            panic!("{answer:?} answers no pending request: {self:?}");
        };
        let pending = self.pending[done - 1].clone();
        self.follow(&pending, answer);
        self.pending.drain(..done);
        self.reached = reached.into_iter().map(|at| at - done).collect();
        self.rooms_since = self.room().map(str::to_owned).into_iter().collect();
    }

    /// Checks that `rate_limited` is sent at most once a second, but for state changes.
    fn check_rate(&mut self, context: &UserContext<'_>) {
        let connection = &context.shared.connections[self.id];
        let at = connection.taken_at(self.at);
        let before = self.rate_limited_at.replace(at);
        let often = before.is_some_and(|before| at.since(before) < Duration::from_secs(1));
        assert!(!often || connection.was_blocked_once(), "rate_limited too often: {self:?}");
    }

    /// Whether all requests may have been answered.
    pub(crate) fn is_answered(&self, limited: bool) -> bool {
        let last = self.reached[self.reached.len() - 1];
        self.pending.iter().skip(last).all(|pending| self.may_be_silent(pending, limited))
    }

    fn fits(
        &self,
        pending: &PendingRequest,
        answer: &Answer<'_>,
        limited: bool,
        context: &UserContext<'_>,
    ) -> bool {
        let in_that_room = |reference: &RoomReference| match (reference, self.room()) {
            (RoomReference::Absent, Some(_)) => true,
            (RoomReference::Room(named), Some(room)) => named == room,
            (RoomReference::Invalid, Some(_)) | (_, None) => false,
        };
        if let Answer::Error(_, refused) = answer
            && !pending.request.is_named(*refused)
        {
            return false;
        }
        match (answer, &pending.request) {
            (Answer::Error("rate_limited", _), Request::SocketPing(_) | Request::Close) => false,
            (Answer::Error("rate_limited", _), _) => limited,
            (Answer::Waiting(text), Request::Find(queue)) => *text == expected_waiting(queue),
            (Answer::Error("too_many_matches", _), Request::Find(_)) => {
                context.shared.plan.limits_matches()
            }
            (Answer::Error("draining", _), Request::Find(_)) => context.shared.plan.drains,
            (Answer::Cancelled, Request::Cancel) => matches!(self.view, View::Waiting(_)),
            (Answer::Error("not_waiting", _), Request::Cancel) => {
                !matches!(self.view, View::Waiting(_))
            }
            (Answer::RoomLeft, Request::Leave(reference)) => in_that_room(reference),
            (
                Answer::Error("not_in_room", _),
                Request::Leave(reference) | Request::Relay(reference),
            ) => {
                // A request is not refused if its sender was in that room and still is.
                !in_that_room(reference) || pending.room.as_deref() != self.room()
            }
            (Answer::Error("peer_busy", _), Request::Relay(reference)) => {
                self.had_slow_partner(reference, context)
            }
            (Answer::Pong(text), Request::Ping(due)) => text == due,
            (Answer::SocketPong(payload), Request::SocketPing(due)) => payload == due,
            (Answer::Error(code, _), Request::Bad(due, _)) => code == due,
            (Answer::Closed, Request::Close) => true,
            _ => false,
        }
    }

    /// Whether a message with this reference may have been for a partner that has read too slowly.
    fn had_slow_partner(&self, reference: &RoomReference, context: &UserContext<'_>) -> bool {
        let was_slow = |room: &String| {
            let Some(model) = context.session_model.rooms.get(room) else { return false };
            let Some(member) = model.member(self.id) else { return false };
            let partner = context.session_model.user_of(&member.peer);
            context.shared.connections[partner].was_blocked_once()
        };
        match reference {
            RoomReference::Absent => self.rooms_since.iter().any(was_slow),
            RoomReference::Room(named) => self.rooms_since.contains(named) && was_slow(named),
            RoomReference::Invalid => false,
        }
    }

    /// Whether this request may have no answer.
    fn may_be_silent(&self, pending: &PendingRequest, limited: bool) -> bool {
        match &pending.request {
            Request::SocketPing(_) | Request::Close => false,
            // A refused state change is answered, however many are refused.
            Request::Find(_) | Request::Cancel | Request::Leave(_) => false,
            Request::Bad(_, Some("find_match")) => false,
            Request::Relay(RoomReference::Absent) => limited || !self.rooms_since.is_empty(),
            Request::Relay(RoomReference::Room(named)) => {
                limited || self.rooms_since.contains(named)
            }
            _ => limited,
        }
    }

    fn follow(&mut self, pending: &PendingRequest, answer: &Answer<'_>) {
        if let (Answer::Waiting(_) | Answer::RoomLeft, Some(room)) = (answer, self.room()) {
            self.previous_room = Some(room.to_owned());
        }
        match (answer, &pending.request) {
            (Answer::Waiting(_), Request::Find(queue)) => {
                self.view = View::Waiting((*queue).to_owned());
            }
            (Answer::Cancelled | Answer::RoomLeft, _) => self.view = View::Idle,
            _ => {}
        }
    }
}
