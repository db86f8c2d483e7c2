//! A model of the matcher in the simplest form: which tickets wait in which queue and which of them
//! should be paired. Every command and every pairing is checked against it.

use switchboard::commands::{MatcherCommand, Ticket};
use switchboard::ids::{SessionAddress, SessionNo, TicketNo};
use switchboard::timestamp::Timestamp;

/// The waiting tickets, in the order in which they were entered.
#[derive(Debug, Default)]
pub(crate) struct MatcherModel {
    tickets: Vec<Ticket>,
    /// The session whose ticket is being entered: pairs among the others come first.
    entering: Option<SessionNo>,
}

fn may_meet(one: &Ticket, other: &Ticket, now: Timestamp) -> bool {
    let knows = |one: &Ticket, other: &Ticket| one.recent_partners.includes(other.session);
    let is_early = [one, other].iter().any(|ticket| now < ticket.since + ticket.apart());
    one.session != other.session && !(is_early && (knows(one, other) || knows(other, one)))
}

impl MatcherModel {
    /// The matcher is about to handle a command.
    pub(crate) fn command(&mut self, command: &MatcherCommand) {
        match command {
            MatcherCommand::Enter { ticket, replaces } => {
                if let Some((_, number)) = replaces {
                    self.remove(ticket.holder, *number);
                }
                let twice = self.tickets.iter().any(|one| one.session == ticket.session);
                assert!(!twice, "two tickets of {:?}", ticket.session);
                self.tickets.push(*ticket);
                self.entering = Some(ticket.session);
            }
            MatcherCommand::Leave { holder, number, .. } => self.remove(*holder, *number),
            MatcherCommand::Stop => {}
        }
    }

    /// The matcher has handled the command.
    pub(crate) fn command_handled(&mut self) {
        self.entering = None;
    }

    fn remove(&mut self, holder: SessionAddress, number: TicketNo) {
        self.tickets.retain(|one| one.holder != holder || one.number != number);
    }

    /// The matcher has paired two tickets at the time `now`.
    pub(crate) fn paired(&mut self, one: &Ticket, other: &Ticket, now: Timestamp) {
        assert_eq!(one.queue, other.queue, "paired across queues");
        assert!(may_meet(one, other, now), "{one:?} and {other:?} must not be paired");
        for ticket in [one, other] {
            assert!(self.tickets.contains(ticket), "{ticket:?} is not waiting");
        }
        let at = |ticket: &Ticket| {
            let place = self.tickets.iter().position(|one| one == ticket);
            (ticket.since, place)
        };
        // Tickets ahead of the first must not be able to meet the second, and tickets between the
        // two must not be able to meet the first.
        let (first, second) = if at(one) <= at(other) { (one, other) } else { (other, one) };
        for ahead in self.tickets.iter().filter(|ahead| ahead.queue == one.queue) {
            if Some(ahead.session) == self.entering {
                continue;
            }
            if at(ahead) < at(first) {
                assert!(!may_meet(ahead, second, now), "{ahead:?} comes before {first:?}");
            } else if at(ahead) > at(first) && at(ahead) < at(second) {
                assert!(!may_meet(first, ahead, now), "{ahead:?} comes before {second:?}");
            }
        }
        self.tickets.retain(|ticket| ticket != one && ticket != other);
    }

    /// Compares the gauges after an iteration of the matcher: waiting tickets and non-empty queues.
    pub(crate) fn check_sizes(&self, waiting: i64, queues: i64) {
        assert_eq!(waiting, self.tickets.len() as i64, "waiting tickets");
        let first = |(at, one): &(usize, &Ticket)| {
            !self.tickets[..*at].iter().any(|before| before.queue == one.queue)
        };
        let distinct = self.tickets.iter().enumerate().filter(first).count();
        assert_eq!(queues, distinct as i64, "non-empty queues");
    }

    /// Checks that no two waiting tickets could have been paired at the time `then`.
    pub(crate) fn check_all_paired(&self, then: Timestamp) {
        for (at, one) in self.tickets.iter().enumerate() {
            for other in &self.tickets[..at] {
                let meet = one.queue == other.queue && may_meet(one, other, then);
                assert!(!meet, "{one:?} and {other:?} both wait");
            }
        }
    }
}
