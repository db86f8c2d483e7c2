//! A ticket as it lies in the matcher's books: one cache line. Pure.

use crate::commands::{RecentPartner, Ticket};
use crate::ids::{ConnectionKey, QueueKey, SessionAddress, SessionNo, ShardId, TicketNo};
use crate::timestamp::Timestamp;

/// When two who never may meet would meet.
pub(super) const NEVER: Timestamp = Timestamp::from_nanos(u64::MAX);

/// What a place holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Holds {
    #[default]
    Nothing,
    /// A ticket that refuses nobody.
    Ticket,
    /// A ticket that refuses `from` before `until`.
    PartedTicket,
}

/// A place for one ticket, its members laid out so that it fills one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Place {
    queue: QueueKey,
    session: SessionNo,
    since: Timestamp,
    from: SessionNo,
    until: Timestamp,
    key: ConnectionKey,
    number: TicketNo,
    shard: ShardId,
    holds: Holds,
}

const _: () = assert!(size_of::<Place>() == 64);

impl Default for Place {
    fn default() -> Self {
        let key = ConnectionKey::from_word(0);
        Place {
            queue: QueueKey(0),
            session: SessionNo(0),
            since: Timestamp::ZERO,
            from: SessionNo(0),
            until: Timestamp::ZERO,
            key,
            number: TicketNo(0),
            shard: ShardId(0),
            holds: Holds::Nothing,
        }
    }
}

impl Place {
    /// A place with this ticket in it.
    pub(super) fn of(ticket: &Ticket) -> Self {
        let (from, until, holds) = match ticket.recent_partner {
            Some(RecentPartner { session: from, until }) => (from, until, Holds::PartedTicket),
            // Nobody waits until the origin, so this refuses nobody.
            None => (SessionNo(0), Timestamp::ZERO, Holds::Ticket),
        };
        Place {
            queue: ticket.queue,
            session: ticket.session,
            since: ticket.since,
            from,
            until,
            key: ticket.holder.key,
            number: ticket.number,
            shard: ticket.holder.shard,
            holds,
        }
    }

    /// The ticket in it.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket {
            holder: SessionAddress { shard: self.shard, key: self.key },
            number: self.number,
            session: self.session,
            queue: self.queue,
            since: self.since,
            recent_partner: match self.holds {
                Holds::Nothing | Holds::Ticket => None,
                Holds::PartedTicket => {
                    Some(RecentPartner { session: self.from, until: self.until })
                }
            },
        }
    }

    /// Whether it is this ticket that lies here, and no later one.
    pub(super) fn is(&self, holder: SessionAddress, number: TicketNo) -> bool {
        self.holds != Holds::Nothing
            && self.number == number
            && self.key == holder.key
            && self.shard == holder.shard
    }

    /// In which queue the ticket waits.
    pub(super) fn queue(&self) -> QueueKey {
        self.queue
    }

    /// Since when the ticket waits.
    pub(super) fn since(&self) -> Timestamp {
        self.since
    }

    /// From which moment on the two may be paired; [`NEVER`] for two of the same session.
    pub(super) fn may_meet(&self, other: &Place) -> Timestamp {
        if self.session == other.session {
            return NEVER;
        }
        let refusal =
            |a: &Place, b: &Place| if a.from == b.session { a.until } else { Timestamp::ZERO };
        refusal(self, other).max(refusal(other, self))
    }
}
