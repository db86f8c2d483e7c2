//! Everything that the matcher decides: commands in, replies and pairings out. Pure; owned by
//! the matcher thread, or by the simulator. It reads no clock and sends through a
//! [`MatcherSink`]. All it shares with other threads are their counters.

mod home_shard;

use super::queue::MatchQueue;
use crate::commands::{MatcherCommand, MatcherOutcome, MatcherReply, Pairing, Ticket};
use crate::telemetry::counters::{MatcherCounters, ShardCounters};
use crate::timestamp::Timestamp;
use home_shard::HomeShardBalance;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Where the matcher's answers go.
pub trait MatcherSink {
    /// Sends a reply to the shard that owns the session of the command.
    fn reply(&mut self, reply: MatcherReply);
    /// Sends a pairing to the home shard.
    fn pair(&mut self, pairing: Pairing);
}

/// The queues, and the choice of the shard for each pairing.
#[derive(Debug)]
pub struct MatcherCore {
    queue: MatchQueue,
    balance: HomeShardBalance,
    counters: Arc<MatcherCounters>,
    /// Storage that is reused for the pairs of one command.
    pairs: Vec<(Ticket, Ticket)>,
}

impl MatcherCore {
    /// A matcher with empty queues. `shards` are the counters of all shards, in their order.
    pub fn new(shards: Vec<Arc<ShardCounters>>, counters: Arc<MatcherCounters>) -> Self {
        MatcherCore {
            queue: MatchQueue::new(),
            balance: HomeShardBalance::new(shards),
            counters,
            pairs: Vec::new(),
        }
    }

    /// Loads what these commands will need into the cache; see [`MatchQueue::prefetch`].
    pub fn prefetch(&self, commands: &[MatcherCommand]) {
        // The cache misses of a single command overlap with nothing.
        if commands.len() > 1 {
            self.queue.prefetch(commands);
        }
    }

    /// Carries out a command. `Break` means that the matcher was told to stop.
    pub fn handle_command(
        &mut self,
        command: MatcherCommand,
        now: Timestamp,
        sink: &mut impl MatcherSink,
    ) -> ControlFlow<()> {
        self.counters.commands.increment();
        match command {
            MatcherCommand::Enter { ticket, replaces } => {
                let (holder, number) = (ticket.holder, ticket.number);
                let mut pairs = std::mem::take(&mut self.pairs);
                let handle = self
                    .queue
                    .enter(ticket, replaces, now, |first, second| pairs.push((first, second)));
                let outcome = match handle {
                    Some(handle) => MatcherOutcome::Queued(handle, number),
                    None => MatcherOutcome::Paired(number),
                };
                // The reply goes before the pairing: the shard must know that the ticket is
                // paired when the pairing arrives.
                sink.reply(MatcherReply { holder, outcome });
                self.send_pairs(pairs, sink);
            }
            MatcherCommand::Leave { holder, handle, number } => {
                self.queue.leave(holder, handle, number);
                sink.reply(MatcherReply { holder, outcome: MatcherOutcome::Removed });
            }
            MatcherCommand::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Pairs the tickets that were kept apart by a rematch delay which has passed by now.
    pub fn pair_due(&mut self, now: Timestamp, sink: &mut impl MatcherSink) {
        let mut pairs = std::mem::take(&mut self.pairs);
        self.queue.pair_due(now, |first, second| pairs.push((first, second)));
        self.send_pairs(pairs, sink);
    }

    /// When [`MatcherCore::pair_due`] has to be called next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.queue.next_deadline()
    }

    /// Updates the gauges of waiting tickets and of queues.
    pub fn publish_gauges(&self) {
        self.counters.tickets_waiting.set(self.queue.waiting() as i64);
        self.counters.queues.set(self.queue.queues() as i64);
    }

    fn send_pairs(&mut self, mut pairs: Vec<(Ticket, Ticket)>, sink: &mut impl MatcherSink) {
        for (first, second) in pairs.drain(..) {
            self.counters.matches.increment();
            let (home, mover) = self.balance.choose_home(first, second);
            sink.pair(Pairing { mover, home });
        }
        self.pairs = pairs;
    }
}
