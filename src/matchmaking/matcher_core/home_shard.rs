//! Which of two paired sessions stays on its shard. Pure; owned by the matcher.
//!
//! The session on the shard with fewer connections stays. Migrations that were decided but not
//! yet carried out count as done, because many pairings are decided before the first of their
//! migrations shows in a shard's connection gauge.

use crate::commands::Ticket;
use crate::ids::ShardId;
use crate::telemetry::counters::ShardCounters;
use std::sync::Arc;

/// The load of all shards as the matcher expects it.
#[derive(Debug)]
pub(super) struct HomeShardBalance {
    shards: Vec<Arc<ShardCounters>>,
    decided: Vec<DecidedMigrations>,
}

/// Migrations of one shard that were decided since the start.
#[derive(Clone, Copy, Debug, Default)]
struct DecidedMigrations {
    into: u64,
    out: u64,
}

impl HomeShardBalance {
    /// `shards` are the counters of all shards, in their order.
    pub(super) fn new(shards: Vec<Arc<ShardCounters>>) -> Self {
        let decided = vec![DecidedMigrations::default(); shards.len()];
        HomeShardBalance { shards, decided }
    }

    /// Returns the home's ticket, then the mover's.
    pub(super) fn choose_home(&mut self, first: Ticket, second: Ticket) -> (Ticket, Ticket) {
        let shard = |ticket: &Ticket| ticket.holder.shard;
        if shard(&first) == shard(&second) {
            return (first, second);
        }
        let projected = |ticket: &Ticket| self.projected_connections(shard(ticket));
        let (home, mover) =
            if projected(&first) <= projected(&second) { (first, second) } else { (second, first) };
        self.decided[shard(&home).index()].into += 1;
        self.decided[shard(&mover).index()].out += 1;
        (home, mover)
    }

    /// Connections of a shard after every decided migration has succeeded or failed.
    fn projected_connections(&self, shard: ShardId) -> i64 {
        let counters = &self.shards[shard.index()];
        let decided = self.decided[shard.index()];
        let arriving = decided.into.wrapping_sub(counters.migrations_in_settled.get());
        let leaving = decided.out.wrapping_sub(counters.migrations_out_settled.get());
        counters.connections.get() + arriving as i64 - leaving as i64
    }
}
