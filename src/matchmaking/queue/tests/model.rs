//! The rules of the queue, literally: a model that scans everything.

use super::*;

/// The rules, literally. Tickets are in the order in which they were entered.
#[derive(Default)]
pub(super) struct QueueModel {
    pub(super) waiting: Vec<(Ticket, TicketHandle)>,
}

impl QueueModel {
    fn may_meet(one: &Ticket, other: &Ticket, now: Timestamp) -> bool {
        let knows = |a: &Ticket, b: &Ticket| a.recent_partners.includes(b.session);
        let is_early = [one, other].iter().any(|ticket| now < ticket.since + ticket.apart());
        one.session != other.session && !(is_early && (knows(one, other) || knows(other, one)))
    }

    /// The tickets of a queue, in its order.
    pub(super) fn in_order(&self, queue: QueueKey) -> Vec<Ticket> {
        let mut tickets: Vec<_> =
            self.waiting.iter().map(|&(ticket, _)| ticket).filter(|t| t.queue == queue).collect();
        tickets.sort_by_key(|ticket| ticket.since);
        tickets
    }

    fn remove(&mut self, ticket: &Ticket) {
        let at = self.waiting.iter().position(|(other, _)| other == ticket).unwrap();
        self.waiting.remove(at);
    }

    fn pair_up(&mut self, queue: QueueKey, now: Timestamp, pairs: &mut Vec<(Ticket, Ticket)>) {
        let tickets = self.in_order(queue);
        let two = tickets.iter().enumerate().find_map(|(at, one)| {
            let other = tickets[at + 1..].iter().find(|other| Self::may_meet(one, other, now))?;
            Some((*one, *other))
        });
        if let Some((one, other)) = two {
            self.remove(&one);
            self.remove(&other);
            pairs.push((one, other));
            self.pair_up(queue, now, pairs);
        }
    }

    pub(super) fn leave(
        &mut self,
        holder: SessionAddress,
        handle: TicketHandle,
        number: TicketNo,
    ) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(ticket, at)| {
            !(*at == handle && ticket.holder == holder && ticket.number == number)
        });
        self.waiting.len() < before
    }

    /// All pairs, and whether the ticket waits. If it does, the caller adds it with its handle.
    pub(super) fn enter(
        &mut self,
        ticket: Ticket,
        now: Timestamp,
    ) -> (Vec<(Ticket, Ticket)>, bool) {
        let mut pairs = Vec::new();
        self.pair_up(ticket.queue, now, &mut pairs);
        let tickets = self.in_order(ticket.queue);
        let other = tickets.into_iter().find(|other| Self::may_meet(other, &ticket, now));
        if let Some(other) = other {
            self.remove(&other);
            pairs.push((other, ticket));
        }
        (pairs, other.is_none())
    }

    pub(super) fn queues(&self) -> Vec<QueueKey> {
        let mut queues: Vec<_> = self.waiting.iter().map(|(ticket, _)| ticket.queue).collect();
        queues.sort_by_key(|queue| queue.0);
        queues.dedup();
        queues
    }

    fn may_two_meet(&self, queue: QueueKey, now: Timestamp) -> bool {
        let tickets = self.in_order(queue);
        tickets
            .iter()
            .enumerate()
            .any(|(at, one)| tickets[at + 1..].iter().any(|other| Self::may_meet(one, other, now)))
    }

    /// Pairs in the queues in which two tickets could meet when the last whole tick ended.
    pub(super) fn pair_due(&mut self, now: Timestamp) -> Vec<(Ticket, Ticket)> {
        let tick = TICK.as_nanos() as u64;
        let last_tick = Timestamp::from_nanos(now.as_nanos() / tick * tick);
        let mut pairs = Vec::new();
        for queue in self.queues() {
            if self.may_two_meet(queue, last_tick) {
                self.pair_up(queue, now, &mut pairs);
            }
        }
        pairs
    }

    /// When the next two tickets of one queue may meet.
    pub(super) fn next_meeting(&self, now: Timestamp) -> Option<Timestamp> {
        let untils = self.waiting.iter().map(|(ticket, _)| ticket.since + ticket.apart());
        let mut times: Vec<_> = untils.chain([now]).collect();
        times.sort();
        let meet_at =
            |at: &Timestamp| self.queues().into_iter().any(|queue| self.may_two_meet(queue, *at));
        times.into_iter().find(meet_at)
    }
}
