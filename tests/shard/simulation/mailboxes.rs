//! Mailboxes: queues that all senders see in one order, as crossbeam's are, and a census of
//! what is in them.

use super::event_counts::EventCounts;
use super::network::Socket;
use std::collections::{BTreeMap, VecDeque};
use switchboard::commands::{MatcherCommand, ShardCommand};
use switchboard::ids::{SessionAddress, ShardId};
use switchboard::shard::migration::CoreCommand;

/// A command to a shard.
pub(crate) type SimCommand = CoreCommand<Socket>;

/// All mailboxes.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    pub(crate) to_shards: Vec<VecDeque<SimCommand>>,
    pub(crate) to_matcher: VecDeque<MatcherCommand>,
    /// Sessions that have written to the matcher and have not read its reply.
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

    /// A shard writes to the matcher.
    pub(crate) fn send_to_matcher(&mut self, from: ShardId, command: MatcherCommand) {
        let holder = match &command {
            MatcherCommand::Enter { ticket, .. } => ticket.holder,
            MatcherCommand::Leave { holder, .. } => *holder,
            MatcherCommand::Stop => panic!("a shard ends the matcher"),
        };
        assert_eq!(holder.shard, from, "a shard writes for another's session");
        let before = self.unanswered.insert(name(holder), ());
        assert!(before.is_none(), "two commands of {holder:?} are under way");
        self.to_matcher.push_back(command);
    }

    /// A shard or the matcher writes to a shard.
    pub(crate) fn send_to_shard(&mut self, to: ShardId, command: SimCommand) {
        self.to_shards[to.index()].push_back(command);
    }

    /// A shard takes its next command.
    pub(crate) fn take(&mut self, shard: ShardId, counts: &mut EventCounts) -> Option<SimCommand> {
        let command = self.to_shards[shard.index()].pop_front()?;
        counts.count(match &command {
            ShardCommand::Reply(reply) => {
                let was_due = self.unanswered.remove(&name(reply.holder));
                assert!(was_due.is_some(), "a reply to a command that was not written");
                "command: reply"
            }
            ShardCommand::Pair(_) => "command: pair",
            ShardCommand::PairingCancelled(_) => "command: mover gone",
            ShardCommand::MigrateIn { .. } => "command: arrive",
            ShardCommand::MigrationCompleted { .. } => "command: arrived",
            ShardCommand::MigrationRejected { .. } => "command: sent back",
            ShardCommand::StartDrain => "command: start_drain",
            ShardCommand::Stop => "command: stop",
        });
        Some(command)
    }

    /// Acknowledgements under way: each stands for a connection that two shards count.
    pub(crate) fn acknowledgements(&self) -> usize {
        let is_one =
            |command: &&SimCommand| matches!(command, ShardCommand::MigrationCompleted { .. });
        self.to_shards.iter().flatten().filter(is_one).count()
    }

    /// Whether nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.to_matcher.is_empty() && self.to_shards.iter().all(VecDeque::is_empty)
    }

    /// How many sessions wait for a reply.
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }
}

fn name(holder: SessionAddress) -> (u16, u64) {
    (holder.shard.0, holder.key.to_word())
}
