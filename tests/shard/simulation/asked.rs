//! What a user asks of the server, and which answers fit what it has asked and what it knows.

use super::user::{Scene, User, View};
use std::time::Duration;

/// The room that a message names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Present,
    Room(String),
    Nonsense,
}

/// Something that has an answer, or may have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Find(&'static str),
    Cancel,
    Leave(Claim),
    Relay(Claim),
    /// With the whole answer that is due.
    Ping(String),
    SocketPing(Vec<u8>),
    /// Refused with this code.
    Bad(&'static str),
    Close,
}

/// A request, and the room the user knew itself to be in when it sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) room: Option<String>,
}

/// What a request is answered with.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    Waiting(&'a str),
    Cancelled,
    RoomLeft,
    Pong(&'a str),
    Error(&'a str),
    SocketPong(&'a [u8]),
    Closed,
}

impl User {
    /// The answer to one of the requests; those between the last that was answered and this
    /// one must be such that may have none. Where that leaves several possibilities, all are
    /// kept in mind.
    pub(crate) fn answered(&mut self, answer: &Answer<'_>, scene: &mut Scene<'_>) {
        let limited = scene.shared.plan.limits.max_messages_per_second.is_some();
        if let Answer::Error("rate_limited") = answer {
            self.check_rate(scene);
        }
        let mut reached = Vec::new();
        let first = self.reached[0];
        let mut open = false;
        for (at, asked) in self.asked.iter().enumerate().skip(first) {
            open |= self.reached.contains(&at);
            if open && self.fits(asked, answer, limited, scene) {
                reached.push(at + 1);
            }
            open &= self.may_be_silent(asked, limited);
        }
        let Some(done) = reached.first().copied() else {
            panic!("{answer:?} answers nothing that was asked: {self:?}");
        };
        let asked = self.asked[done - 1].clone();
        self.follow(&asked, answer);
        self.asked.drain(..done);
        self.reached = reached.into_iter().map(|at| at - done).collect();
        self.rooms_since = self.room().map(str::to_owned).into_iter().collect();
    }

    /// Nobody is told more often than once a second to slow down.
    fn check_rate(&mut self, scene: &Scene<'_>) {
        let link = &scene.shared.links[self.id];
        let at = link.taken_at(self.at);
        let before = self.told_rate_at.replace(at);
        let often = before.is_some_and(|before| at.since(before) < Duration::from_secs(1));
        assert!(!often || link.came_short(), "rate_limited too often: {self:?}");
    }

    /// Whether everything may have been answered that was asked.
    pub(crate) fn is_answered(&self, limited: bool) -> bool {
        let last = self.reached[self.reached.len() - 1];
        self.asked.iter().skip(last).all(|asked| self.may_be_silent(asked, limited))
    }

    fn fits(&self, asked: &Asked, answer: &Answer<'_>, limited: bool, scene: &Scene<'_>) -> bool {
        let in_that_room = |claim: &Claim| match (claim, self.room()) {
            (Claim::Present, Some(_)) => true,
            (Claim::Room(named), Some(room)) => named == room,
            (Claim::Nonsense, Some(_)) | (_, None) => false,
        };
        match (answer, &asked.request) {
            (Answer::Error("rate_limited"), Request::SocketPing(_) | Request::Close) => false,
            (Answer::Error("rate_limited"), _) => limited,
            (Answer::Waiting(text), Request::Find(queue)) => {
                *text == format!(r#"{{"type":"waiting","payload":{{"queue":"{queue}"}}}}"#)
            }
            (Answer::Error("draining"), Request::Find(_)) => scene.shared.plan.drains,
            (Answer::Cancelled, Request::Cancel) => matches!(self.view, View::Waiting(_)),
            (Answer::Error("not_waiting"), Request::Cancel) => {
                !matches!(self.view, View::Waiting(_))
            }
            (Answer::RoomLeft, Request::Leave(claim)) => in_that_room(claim),
            (Answer::Error("not_in_room"), Request::Leave(claim) | Request::Relay(claim)) => {
                // One who knew the room when it wrote, and is still in it, is not refused.
                !in_that_room(claim) || asked.room.as_deref() != self.room()
            }
            (Answer::Pong(text), Request::Ping(due)) => text == due,
            (Answer::SocketPong(payload), Request::SocketPing(due)) => payload == due,
            (Answer::Error(code), Request::Bad(due)) => code == due,
            (Answer::Closed, Request::Close) => true,
            _ => false,
        }
    }

    /// Whether this may have been dealt with in silence.
    fn may_be_silent(&self, asked: &Asked, limited: bool) -> bool {
        match &asked.request {
            Request::SocketPing(_) | Request::Close => false,
            Request::Relay(Claim::Present) => limited || !self.rooms_since.is_empty(),
            Request::Relay(Claim::Room(named)) => limited || self.rooms_since.contains(named),
            _ => limited,
        }
    }

    fn follow(&mut self, asked: &Asked, answer: &Answer<'_>) {
        if let (Answer::Waiting(_) | Answer::RoomLeft, Some(room)) = (answer, self.room()) {
            self.old_room = Some(room.to_owned());
        }
        match (answer, &asked.request) {
            (Answer::Waiting(_), Request::Find(queue)) => {
                self.view = View::Waiting((*queue).to_owned());
            }
            (Answer::Cancelled | Answer::RoomLeft, _) => self.view = View::Idle,
            _ => {}
        }
    }
}
