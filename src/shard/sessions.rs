//! What a shard keeps about its sessions apart from their connections. Pure.

use super::backlog::BacklogBounds;
use super::message_rate::RateTable;
use super::numbers::NumberSequence;
use super::suspects::Suspects;
use crate::ids::{ConnectionKey, QueueKey, SessionNo, ShardId, TicketNo};
use crate::telemetry::counters::ShardCounters;
use std::time::Duration;

/// The numbers of sessions and tickets, what limits sessions, and the sessions that the matcher has
/// just answered.
#[derive(Debug)]
pub(super) struct Sessions {
    numbers: NumberSequence,
    last_ticket: u32,
    /// The queues that are counted by name: those of `--stats-queue` in its order, then `default`,
    /// of which only the waits are counted.
    named_queues: Vec<QueueKey>,
    /// Sessions for which the matcher's reply has come in this iteration.
    answered: Vec<ConnectionKey>,
    /// How much may wait for a client.
    pub(super) backlog: BacklogBounds,
    /// What sessions have used of the limits on their rates.
    pub(super) rates: RateTable,
    /// Sessions whose client owes an answer.
    pub(super) suspects: Suspects,
}

impl Sessions {
    /// Without any sessions.
    pub(super) fn new(
        shard: ShardId,
        mut stats_queues: Vec<QueueKey>,
        default_queue: QueueKey,
        backlog: BacklogBounds,
        rates: RateTable,
    ) -> Self {
        stats_queues.push(default_queue);
        Sessions {
            numbers: NumberSequence::new(shard),
            last_ticket: 0,
            named_queues: stats_queues,
            answered: Vec::new(),
            backlog,
            rates,
            suspects: Suspects::default(),
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
        let gauge = self.named_queue(queue).and_then(|index| counters.waiting_by_queue.get(index));
        if let Some(gauge) = gauge {
            gauge.add(change);
        }
    }

    /// Counts a room of two sessions of a queue, of which the first came `longer_wait` ago.
    pub(super) fn count_room(
        &self,
        counters: &ShardCounters,
        queue: QueueKey,
        longer_wait: Duration,
    ) {
        if let Some(index) = self.named_queue(queue) {
            counters.room_waits[index].count_room(longer_wait);
        }
    }

    /// The index of a queue in [`ShardCounters::room_waits`] and, if it is one of `--stats-queue`,
    /// in [`ShardCounters::waiting_by_queue`].
    pub(super) fn named_queue(&self, queue: QueueKey) -> Option<usize> {
        self.named_queues.iter().position(|named| *named == queue)
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
    use crate::config::Limits;

    fn backlog() -> BacklogBounds {
        BacklogBounds::new(&Limits::default())
    }

    fn no_rates() -> RateTable {
        RateTable::new(0, false)
    }

    #[test]
    fn counts_waiting_sessions_in_all_and_by_name() {
        let sessions = Sessions::new(
            ShardId(0),
            vec![QueueKey(7), QueueKey(9)],
            QueueKey(1),
            backlog(),
            no_rates(),
        );
        let counters = ShardCounters::new(2);
        for queue in [9, 9, 8, 1].map(QueueKey) {
            sessions.count_waiting(&counters, queue, 1);
        }
        sessions.count_waiting(&counters, QueueKey(9), -1);
        let figures = counters.read();
        assert_eq!((figures.waiting, figures.waiting_by_queue), (3, vec![0, 1]));
    }

    #[test]
    fn counts_the_rooms_of_named_queues_and_of_the_default_queue() {
        for (stats_queues, indices) in
            [(vec![7, 9], [Some(1), Some(2)]), (vec![1], [None, Some(0)])]
        {
            let counters = ShardCounters::new(stats_queues.len());
            let stats_queues = stats_queues.into_iter().map(QueueKey).collect();
            let sessions =
                Sessions::new(ShardId(0), stats_queues, QueueKey(1), backlog(), no_rates());
            for (queue, index) in [QueueKey(9), QueueKey(1)].into_iter().zip(indices) {
                assert_eq!(sessions.named_queue(queue), index);
                sessions.count_room(&counters, queue, Duration::from_nanos(5));
                let rooms = counters.room_waits.iter().map(|waits| waits.read().rooms);
                let counted = |index: Option<usize>| index.map(|index| rooms.clone().nth(index));
                assert_eq!(counted(index), index.map(|_| Some(1)));
            }
            sessions.count_room(&counters, QueueKey(8), Duration::ZERO);
        }
    }
}
