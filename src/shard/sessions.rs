//! What a shard keeps about its sessions apart from their connections. Pure.

use super::numbers::NumberSequence;
use crate::ids::{ConnectionKey, QueueKey, SessionNo, ShardId, TicketNo};
use crate::telemetry::counters::ShardCounters;

/// The numbers of sessions and tickets, and the sessions that the matcher has just answered.
#[derive(Debug)]
pub(super) struct Sessions {
    numbers: NumberSequence,
    last_ticket: u32,
    /// The queues that are counted by name, in the order of `--stats-queue`.
    stats_queues: Vec<QueueKey>,
    /// Sessions for which the matcher's reply has come in this iteration.
    answered: Vec<ConnectionKey>,
}

impl Sessions {
    /// Without any sessions.
    pub(super) fn new(shard: ShardId, stats_queues: Vec<QueueKey>) -> Self {
        Sessions {
            numbers: NumberSequence::new(shard),
            last_ticket: 0,
            stats_queues,
            answered: Vec::new(),
        }
    }

    /// The number of a new session.
    pub(super) fn next_number(&mut self) -> SessionNo {
        SessionNo(self.numbers.next())
    }

    /// The number of a new ticket. Numbers wrap.
    pub(super) fn next_ticket(&mut self) -> TicketNo {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        TicketNo(self.last_ticket)
    }

    /// Counts a session that begins (1) or ends (-1) to wait in a queue.
    pub(super) fn count_waiting(&self, counters: &ShardCounters, queue: QueueKey, change: i64) {
        counters.waiting.add(change);
        if let Some(index) = self.stats_queue(queue) {
            counters.waiting_by_queue[index].add(change);
        }
    }

    /// The index of a queue among those that are counted by name.
    pub(super) fn stats_queue(&self, queue: QueueKey) -> Option<usize> {
        self.stats_queues.iter().position(|named| *named == queue)
    }

    /// How many queues are counted by name.
    pub(super) fn stats_queue_count(&self) -> usize {
        self.stats_queues.len()
    }

    /// The matcher has answered a command of this session.
    pub(super) fn note_answered(&mut self, session: ConnectionKey) {
        self.answered.push(session);
    }

    /// Takes one of the sessions that the matcher has answered.
    pub(super) fn take_answered(&mut self) -> Option<ConnectionKey> {
        self.answered.pop()
    }

    /// Whether the matcher has answered this session in this iteration.
    pub(super) fn is_answered(&self, session: ConnectionKey) -> bool {
        self.answered.contains(&session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_waiting_sessions_in_all_and_by_name() {
        let sessions = Sessions::new(ShardId(0), vec![QueueKey(7), QueueKey(9)]);
        let counters = ShardCounters::new(2);
        for queue in [9, 9, 8].map(QueueKey) {
            sessions.count_waiting(&counters, queue, 1);
        }
        sessions.count_waiting(&counters, QueueKey(9), -1);
        let figures = counters.read();
        assert_eq!((figures.waiting, figures.waiting_by_queue), (2, vec![0, 1]));
    }
}
