//! Letters and events in few words, for whoever reads a story.

use super::post::Letter;
use std::fmt::{self, Display, Formatter};
use switchboard::ids::{ConnectionKey, SessionAddress};
use switchboard::mail::{Outcome, Pairing, Reply, Ticket, ToMatcher, ToShard};

/// Something told briefly.
pub(crate) struct Brief<'a, T>(pub(crate) &'a T);

impl Display for Brief<'_, ConnectionKey> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.0.slot.0, self.0.serial.0)
    }
}

impl Display for Brief<'_, SessionAddress> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.shard.0, Brief(&self.0.key))
    }
}

impl Display for Brief<'_, Ticket> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Ticket { holder, number, session, queue, .. } = self.0;
        let (queue, session) = (queue.0 % 1000, session.0 % (1 << 48));
        write!(f, "ticket {} of {} (session {session}, queue {queue})", number.0, Brief(holder))
    }
}

impl Display for Brief<'_, Pairing> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} moves to {}", Brief(&self.0.mover), Brief(&self.0.home))
    }
}

impl Display for Brief<'_, Reply> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let outcome = match self.0.outcome {
            Outcome::Kept(desk, number) => format!("kept {} at {}", number.0, desk.0),
            Outcome::Paired(number) => format!("paired {}", number.0),
            Outcome::Left => "left".to_owned(),
        };
        write!(f, "{} {outcome}", Brief(&self.0.holder))
    }
}

impl Display for Brief<'_, ToMatcher> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            ToMatcher::Enter { ticket, replaces: None } => write!(f, "enter {}", Brief(ticket)),
            ToMatcher::Enter { ticket, replaces: Some((_, number)) } => {
                write!(f, "enter {} for {}", Brief(ticket), number.0)
            }
            ToMatcher::Leave { holder, number, .. } => {
                write!(f, "leave {} of {}", number.0, Brief(holder))
            }
            ToMatcher::Stop => write!(f, "stop"),
        }
    }
}

impl Display for Brief<'_, Letter> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            ToShard::Reply(reply) => write!(f, "reply {}", Brief(reply)),
            ToShard::Pair(pairing) => write!(f, "pair {}", Brief(pairing)),
            ToShard::MoverGone(ticket) => write!(f, "mover gone for {}", Brief(ticket)),
            ToShard::Arrive { traveller, pairing, .. } => {
                write!(f, "arrive {} for {}", traveller.connection.socket.0, Brief(pairing))
            }
            ToShard::Arrived { .. } => write!(f, "arrived"),
            ToShard::SentBack { traveller, .. } => {
                write!(f, "sent back {}", traveller.connection.socket.0)
            }
            ToShard::Quiesce => write!(f, "quiesce"),
            ToShard::Stop => write!(f, "stop"),
        }
    }
}
