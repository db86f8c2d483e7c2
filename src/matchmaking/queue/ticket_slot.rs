//! A ticket as the matcher stores it: one cache line. Pure.

use crate::commands::{RecentPartners, Ticket};
use crate::ids::{ConnectionKey, QueueKey, SessionAddress, SessionNo, ShardId, TicketNo};
use crate::timestamp::Timestamp;
use std::time::Duration;

/// The time from which two tickets of the same session may be paired.
pub(super) const NEVER: Timestamp = Timestamp::from_nanos(u64::MAX);

/// Storage for one ticket. The fields are flattened so that a slot fills one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct TicketSlot {
    queue: QueueKey,
    session: SessionNo,
    since: Timestamp,
    key: ConnectionKey,
    recent_partners: RecentPartners,
    apart_ms: u32,
    number: TicketNo,
    shard: ShardId,
    is_occupied: bool,
}

const _: () = assert!(size_of::<TicketSlot>() == 64);

impl Default for TicketSlot {
    fn default() -> Self {
        let key = ConnectionKey::from_word(0);
        TicketSlot {
            queue: QueueKey(0),
            session: SessionNo(0),
            since: Timestamp::ZERO,
            key,
            recent_partners: RecentPartners::default(),
            apart_ms: 0,
            number: TicketNo(0),
            shard: ShardId(0),
            is_occupied: false,
        }
    }
}

impl TicketSlot {
    /// A slot that holds this ticket.
    pub(super) fn new(ticket: &Ticket) -> Self {
        TicketSlot {
            queue: ticket.queue,
            session: ticket.session,
            since: ticket.since,
            key: ticket.holder.key,
            recent_partners: ticket.recent_partners,
            apart_ms: ticket.apart_ms,
            number: ticket.number,
            shard: ticket.holder.shard,
            is_occupied: true,
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
            recent_partners: self.recent_partners,
            apart_ms: self.apart_ms,
        }
    }

    /// Whether the slot holds exactly this ticket, and not a later one in the same slot.
    pub(super) fn holds(&self, holder: SessionAddress, number: TicketNo) -> bool {
        self.is_occupied
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

    /// The time from which the two tickets may be paired: if one of them names the session of the
    /// other, after the delay of the later one; [`NEVER`] if they are of the same session.
    pub(super) fn may_meet_from(&self, other: &TicketSlot) -> Timestamp {
        if self.session == other.session {
            return NEVER;
        }
        // guard: recent partners do not meet at once [false]
        if self.recent_partners.includes(other.session)
            || other.recent_partners.includes(self.session)
        {
            return self.apart_until().max(other.apart_until());
        }
        Timestamp::ZERO
    }

    fn apart_until(&self) -> Timestamp {
        self.since + Duration::from_millis(self.apart_ms.into())
    }
}
