//! Mailboxes: queues with one order for all senders, like crossbeam's, and checks of the commands
//! in flight.

use super::event_counts::EventCounts;
use super::network::Socket;
use std::collections::{BTreeMap, VecDeque};
use switchboard::commands::{MatcherCommand, PairingRole, ShardCommand};
use switchboard::ids::{SessionAddress, ShardId};
use switchboard::shard::migration::CoreCommand;

/// A command to a shard of the simulation.
pub(crate) type SimCommand = CoreCommand<Socket>;

/// All mailboxes.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    pub(crate) to_shards: Vec<VecDeque<SimCommand>>,
    pub(crate) to_matcher: VecDeque<MatcherCommand>,
    /// Sessions with a command to the matcher whose reply has not been received.
    unanswered: BTreeMap<(u16, u64), ()>,
}

impl Mailboxes {
    pub(crate) fn new(shards: usize) -> Self {
        Mailboxes {
            to_shards: (0..shards).map(|_| VecDeque::new()).collect(),
            to_matcher: VecDeque::new(),
            unanswered: BTreeMap::new(),
        }
    }

    /// A shard sends a command to the matcher.
    pub(crate) fn send_to_matcher(&mut self, from: ShardId, command: MatcherCommand) {
        let holder = match &command {
            MatcherCommand::Enter { ticket, .. } => ticket.holder,
            MatcherCommand::Leave { holder, .. } => *holder,
            MatcherCommand::Stop => panic!("a shard sends Stop to the matcher"),
        };
        assert_eq!(holder.shard, from, "a shard sends a command for a session of another shard");
        let before = self.unanswered.insert(name(holder), ());
        assert!(before.is_none(), "two commands of {holder:?} are in flight");
        self.to_matcher.push_back(command);
    }

    /// A shard or the matcher sends a command to a shard.
    pub(crate) fn send_to_shard(&mut self, to: ShardId, command: SimCommand) {
        self.to_shards[to.index()].push_back(command);
    }

    /// A shard receives its next command.
    pub(crate) fn take(&mut self, shard: ShardId, counts: &mut EventCounts) -> Option<SimCommand> {
        let command = self.to_shards[shard.index()].pop_front()?;
        counts.count(match &command {
            ShardCommand::Reply(reply) => {
                let was_due = self.unanswered.remove(&name(reply.holder));
                assert!(was_due.is_some(), "a reply to a command that was not sent");
                "command: reply"
            }
            ShardCommand::Pair(_) => "command: pair",
            ShardCommand::PairConfirmed(_) => "command: pair confirmed",
            ShardCommand::PairingCancelled { role: PairingRole::Home, .. } => {
                "command: pairing cancelled"
            }
            ShardCommand::PairingCancelled { role: PairingRole::Mover, .. } => {
                "command: pairing cancelled by the home shard"
            }
            ShardCommand::MigrateIn { .. } => "command: migrate in",
            ShardCommand::MigrationCompleted { .. } => "command: migration completed",
            ShardCommand::MigrationRejected { .. } => "command: migration rejected",
            ShardCommand::Reload(_) => "command: reload",
            ShardCommand::Evict(_) => "command: evict",
            ShardCommand::StartDrain => "command: start_drain",
            ShardCommand::Stop => "command: stop",
        });
        Some(command)
    }

    /// MigrationCompleted commands in flight: each stands for a connection that two shards count.
    pub(crate) fn acknowledgements(&self) -> usize {
        let is_one =
            |command: &&SimCommand| matches!(command, ShardCommand::MigrationCompleted { .. });
        self.to_shards.iter().flatten().filter(is_one).count()
    }

    /// Whether no command is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.to_matcher.is_empty() && self.to_shards.iter().all(VecDeque::is_empty)
    }

    /// Number of sessions that wait for a reply.
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }
}

fn name(holder: SessionAddress) -> (u16, u64) {
    (holder.shard.0, holder.key.to_word())
}
