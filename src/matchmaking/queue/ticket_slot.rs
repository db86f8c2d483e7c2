//! A ticket as the matcher stores it: one cache line. Pure.

use crate::commands::{RecentPartner, Ticket};
use crate::ids::{ConnectionKey, QueueKey, SessionAddress, SessionNo, ShardId, TicketNo};
use crate::timestamp::Timestamp;

/// The time from which two tickets of the same session may be paired.
pub(super) const NEVER: Timestamp = Timestamp::from_nanos(u64::MAX);

/// What a slot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SlotContent {
    #[default]
    Empty,
    /// A ticket without a recent partner.
    Ticket,
    /// A ticket that must not meet `partner` before `until`.
    TicketWithRecentPartner,
}

/// Storage for one ticket. The fields are flattened so that a slot fills one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct TicketSlot {
    queue: QueueKey,
    session: SessionNo,
    since: Timestamp,
    partner: SessionNo,
    until: Timestamp,
    key: ConnectionKey,
    number: TicketNo,
    shard: ShardId,
    content: SlotContent,
}

const _: () = assert!(size_of::<TicketSlot>() == 64);

impl Default for TicketSlot {
    fn default() -> Self {
        let key = ConnectionKey::from_word(0);
        TicketSlot {
            queue: QueueKey(0),
            session: SessionNo(0),
            since: Timestamp::ZERO,
            partner: SessionNo(0),
            until: Timestamp::ZERO,
            key,
            number: TicketNo(0),
            shard: ShardId(0),
            content: SlotContent::Empty,
        }
    }
}

impl TicketSlot {
    /// A slot that holds this ticket.
    pub(super) fn new(ticket: &Ticket) -> Self {
        let (partner, until, content) = match ticket.recent_partner {
            Some(RecentPartner { session, until }) => {
                (session, until, SlotContent::TicketWithRecentPartner)
            }
            // A delay that ends at the origin of time delays nothing.
            None => (SessionNo(0), Timestamp::ZERO, SlotContent::Ticket),
        };
        TicketSlot {
            queue: ticket.queue,
            session: ticket.session,
            since: ticket.since,
            partner,
            until,
            key: ticket.holder.key,
            number: ticket.number,
            shard: ticket.holder.shard,
            content,
        }
    }

    /// The ticket in this slot.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket {
            holder: SessionAddress { shard: self.shard, key: self.key },
            number: self.number,
            session: self.session,
            queue: self.queue,
            since: self.since,
            recent_partner: match self.content {
                SlotContent::Empty | SlotContent::Ticket => None,
                SlotContent::TicketWithRecentPartner => {
                    Some(RecentPartner { session: self.partner, until: self.until })
                }
            },
        }
    }

    /// Whether the slot holds exactly this ticket, and not a later one in the same slot.
    pub(super) fn holds(&self, holder: SessionAddress, number: TicketNo) -> bool {
        self.content != SlotContent::Empty
            && self.number == number
            && self.key == holder.key
            && self.shard == holder.shard
    }

    /// The queue that the ticket waits in.
    pub(super) fn queue(&self) -> QueueKey {
        self.queue
    }

    /// When the wait of the ticket began.
    pub(super) fn since(&self) -> Timestamp {
        self.since
    }

    /// The time from which the two tickets may be paired; [`NEVER`] if they are of the same
    /// session.
    pub(super) fn may_meet_from(&self, other: &TicketSlot) -> Timestamp {
        if self.session == other.session {
            return NEVER;
        }
        let delay = |a: &TicketSlot, b: &TicketSlot| {
            if a.partner == b.session { a.until } else { Timestamp::ZERO }
        };
        delay(self, other).max(delay(other, self))
    }
}
