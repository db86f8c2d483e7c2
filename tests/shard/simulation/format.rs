//! Short texts for commands and identifiers in the log.

use super::mailboxes::SimCommand;
use std::fmt::{self, Display, Formatter};
use switchboard::commands::{
    MatcherCommand, MatcherOutcome, MatcherReply, MigrationPurpose, Pairing, ShardCommand, Ticket,
};
use switchboard::ids::{ConnectionKey, SessionAddress};

/// Formats a value in a few words.
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

impl Display for Brief<'_, MatcherReply> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let outcome = match self.0.outcome {
            MatcherOutcome::Queued(handle, number) => format!("kept {} at {}", number.0, handle.0),
            MatcherOutcome::Paired(number) => format!("paired {}", number.0),
            MatcherOutcome::Removed => "left".to_owned(),
        };
        write!(f, "{} {outcome}", Brief(&self.0.holder))
    }
}

impl Display for Brief<'_, MatcherCommand> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            MatcherCommand::Enter { ticket, replaces: None } => {
                write!(f, "enter {}", Brief(ticket))
            }
            MatcherCommand::Enter { ticket, replaces: Some((_, number)) } => {
                write!(f, "enter {} for {}", Brief(ticket), number.0)
            }
            MatcherCommand::Leave { holder, number, .. } => {
                write!(f, "leave {} of {}", number.0, Brief(holder))
            }
            MatcherCommand::Stop => write!(f, "stop"),
        }
    }
}

impl Display for Brief<'_, SimCommand> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            ShardCommand::Reply(reply) => write!(f, "reply {}", Brief(reply)),
            ShardCommand::Pair(pairing) => write!(f, "pair {}", Brief(pairing)),
            ShardCommand::PairConfirmed(pairing) => write!(f, "confirmed {}", Brief(pairing)),
            ShardCommand::PairingCancelled { survivor, role } => {
                write!(f, "pairing cancelled for the {role:?} {}", Brief(survivor))
            }
            ShardCommand::MigrateIn { migrating, purpose, .. } => {
                let MigrationPurpose::MeetPartner(pairing) = purpose;
                write!(f, "migrate in {} for {}", migrating.connection.socket.0, Brief(pairing))
            }
            ShardCommand::MigrationCompleted { .. } => write!(f, "migration completed"),
            ShardCommand::MigrationRejected { migrating, .. } => {
                write!(f, "rejected {}", migrating.connection.socket.0)
            }
            ShardCommand::Reload(_) => write!(f, "reload"),
            ShardCommand::Evict(request) => write!(f, "evict {request:?}"),
            ShardCommand::StartDrain => write!(f, "start drain"),
            ShardCommand::Stop => write!(f, "stop"),
        }
    }
}
