//! Mailboxes: queues that all senders see in one order, as crossbeam's are, and a census of
//! what is in them.

use super::net::Socket;
use super::tally::Tally;
use std::collections::{BTreeMap, VecDeque};
use switchboard::commands::{MatcherCommand, ShardCommand};
use switchboard::ids::{SessionAddress, ShardId};
use switchboard::shard::migration::CoreCommand;

/// A letter to a shard.
pub(crate) type Letter = CoreCommand<Socket>;

/// All mailboxes.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) to_shards: Vec<VecDeque<Letter>>,
    pub(crate) to_matcher: VecDeque<MatcherCommand>,
    /// Sessions that have written to the matcher and have not read its reply.
    unanswered: BTreeMap<(u16, u64), ()>,
}

impl Post {
    pub(crate) fn new(shards: usize) -> Self {
        Post {
            to_shards: (0..shards).map(|_| VecDeque::new()).collect(),
            to_matcher: VecDeque::new(),
            unanswered: BTreeMap::new(),
        }
    }

    /// A shard writes to the matcher.
    pub(crate) fn write_to_matcher(&mut self, from: ShardId, letter: MatcherCommand) {
        let holder = match &letter {
            MatcherCommand::Enter { ticket, .. } => ticket.holder,
            MatcherCommand::Leave { holder, .. } => *holder,
            MatcherCommand::Stop => panic!("a shard ends the matcher"),
        };
        assert_eq!(holder.shard, from, "a shard writes for another's session");
        let before = self.unanswered.insert(name(holder), ());
        assert!(before.is_none(), "two letters of {holder:?} are under way");
        self.to_matcher.push_back(letter);
    }

    /// A shard or the matcher writes to a shard.
    pub(crate) fn write_to_shard(&mut self, to: ShardId, letter: Letter) {
        self.to_shards[to.index()].push_back(letter);
    }

    /// A shard takes its next letter.
    pub(crate) fn take(&mut self, shard: ShardId, tally: &mut Tally) -> Option<Letter> {
        let letter = self.to_shards[shard.index()].pop_front()?;
        tally.count(match &letter {
            ShardCommand::Reply(reply) => {
                let was_due = self.unanswered.remove(&name(reply.holder));
                assert!(was_due.is_some(), "a reply to a letter that was not written");
                "letter: reply"
            }
            ShardCommand::Pair(_) => "letter: pair",
            ShardCommand::PairingCancelled(_) => "letter: mover gone",
            ShardCommand::MigrateIn { .. } => "letter: arrive",
            ShardCommand::MigrationCompleted { .. } => "letter: arrived",
            ShardCommand::MigrationRejected { .. } => "letter: sent back",
            ShardCommand::StartDrain => "letter: quiesce",
            ShardCommand::Stop => "letter: stop",
        });
        Some(letter)
    }

    /// Acknowledgements under way: each stands for a connection that two shards count.
    pub(crate) fn acknowledgements(&self) -> usize {
        let is_one = |letter: &&Letter| matches!(letter, ShardCommand::MigrationCompleted { .. });
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
