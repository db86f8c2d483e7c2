//! The match queues: tickets in, pairs out. Pure; owned by the matcher thread.
//!
//! It reads no clock and sends nothing: the time is an argument, and pairs leave through a
//! closure. All it needs of [`crate::sys`] is a prefetch hint to the processor. It never refuses
//! a ticket, and it removes a ticket only for its holder.
//!
//! # The rules
//!
//! Within a queue, first come, first matched: tickets are ordered by their `since`, and tickets
//! with the same `since` by the order in which they were entered. Two tickets of one session
//! never meet. If one of two tickets names the session of the other among its recent partners, they
//! do not meet before the delay of each ticket has passed, counted from its `since`: they are
//! skipped and others come first. When that time has come, they meet each other after all. A ticket
//! that is entered again after a failed match keeps its first `since`, and with it its position.
//!
//! # Why each operation takes constant time, although it scans the queue
//!
//! No operation leaves two tickets in a queue that may meet at that time. So in a queue of n
//! tickets, each of the n(n−1)/2 pairs is kept apart by a recent partner of one of the two. A
//! ticket names at most three, so at most 3n pairs are kept apart: n(n−1)/2 ≤ 3n, and therefore
//! n ≤ 7. (This assumes one ticket for each session, and that no two sessions have the same
//! [`PartnerMark`](crate::commands::PartnerMark). Otherwise everything still works, but the scan
//! gets longer.)
//!
//! # Storage
//!
//! With a million queues the time goes into cache misses. A match touches two cache lines: the
//! bucket of the queue in the [`table`], and the [`ticket_slot`] of the ticket that waits. The
//! table holds the index of the slot itself while one ticket waits; only several tickets need a
//! [`waiting_group`].

mod arena;
mod table;
#[cfg(test)]
mod tests;
mod ticket_slot;
mod waiting_group;

use crate::commands::{MatcherCommand, Ticket, TicketHandle};
use crate::ids::{QueueKey, SessionAddress, TicketNo};
use crate::sys::prefetch::prefetch;
use crate::timestamp::Timestamp;
use arena::Arena;
use table::{EntryLocation, QueueTable};
use ticket_slot::{NEVER, TicketSlot};
use waiting_group::WaitingGroups;

/// Bytes that may stay allocated when no ticket waits: the first segments of the arenas.
pub const RETAINED_BYTES: usize = 384 * 1024;

/// All queues of the process, and the tickets in them.
///
/// Its memory follows the number of tickets: an empty queue is removed at once, and when the last
/// ticket has left, at most [`RETAINED_BYTES`] stay allocated.
#[derive(Debug, Default)]
pub struct MatchQueue {
    slots: Arena<TicketSlot>,
    /// The tickets of each queue that is not empty.
    table: QueueTable,
    groups: WaitingGroups,
}

/// The tickets of a queue, as the table stores them: in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QueuedTickets {
    /// The ticket in this slot.
    One(u32),
    /// The tickets of this group, two or more.
    Group(u32),
}

impl QueuedTickets {
    const GROUP_BIT: u32 = 1 << 31;

    fn from_word(word: u32) -> Self {
        match word & Self::GROUP_BIT {
            0 => QueuedTickets::One(word),
            _ => QueuedTickets::Group(word & !Self::GROUP_BIT),
        }
    }

    fn to_word(self) -> u32 {
        match self {
            QueuedTickets::One(slot) => slot,
            QueuedTickets::Group(group) => group | Self::GROUP_BIT,
        }
    }
}

/// The bits of the key that the table stores.
fn tag(queue: QueueKey) -> u32 {
    queue.0 as u32
}

impl MatchQueue {
    /// Without any ticket.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of tickets that wait.
    pub fn waiting(&self) -> usize {
        self.slots.len()
    }

    /// The number of queues that are not empty.
    pub fn queues(&self) -> usize {
        self.table.len()
    }

    /// Loads what these commands are going to touch into the cache. Changes nothing, and is
    /// optional.
    ///
    /// Carried out one after the other, the commands would wait for one cache miss after the
    /// other, about 150 ns each with a million queues; but the processor can have a dozen misses
    /// in flight. So the matcher passes the commands that it took from its mailbox, a few dozen
    /// at once, before it handles the first.
    pub fn prefetch(&self, commands: &[MatcherCommand]) {
        for command in commands {
            if let MatcherCommand::Enter { ticket, .. } = command {
                self.table.prefetch(tag(ticket.queue));
            }
            if let Some(slot) = self.slot_to_remove(command) {
                prefetch(slot);
            }
        }
        self.slots.next_free(commands.len()).for_each(prefetch);
        // The buckets and slots of the first pass tell which others are needed.
        for command in commands {
            if let MatcherCommand::Enter { ticket, .. } = command
                && let Some(word) = self.table.first_with_tag(tag(ticket.queue))
                && let QueuedTickets::One(slot) = QueuedTickets::from_word(word)
            {
                prefetch(&self.slots[slot]);
            }
            if let Some(slot) = self.slot_to_remove(command) {
                self.table.prefetch(tag(slot.queue()));
            }
        }
    }

    /// The slot that a command empties, if it still holds the ticket that the command means.
    fn slot_to_remove(&self, command: &MatcherCommand) -> Option<&TicketSlot> {
        match *command {
            MatcherCommand::Enter { replaces, .. } => self.slots.get(replaces?.0.0),
            MatcherCommand::Leave { handle, .. } => self.slots.get(handle.0),
            MatcherCommand::Stop => None,
        }
    }

    /// Enters a ticket, after removing the one that it replaces (if that is still there).
    ///
    /// Every pair that this makes leaves through `pair`: first the tickets of the same queue whose
    /// delay has passed since the last call, the earlier ticket of each pair first; then the
    /// ticket itself, as the second of its pair. Returns where the ticket waits, or `None` if it
    /// has been paired.
    ///
    /// `now` must not be earlier than in a previous call.
    pub fn enter(
        &mut self,
        ticket: Ticket,
        replaces: Option<(TicketHandle, TicketNo)>,
        now: Timestamp,
        mut pair: impl FnMut(Ticket, Ticket),
    ) -> Option<TicketHandle> {
        if let Some((handle, number)) = replaces {
            self.leave(ticket.holder, handle, number);
        }
        let new = TicketSlot::new(&ticket);
        loop {
            match self.find(ticket.queue) {
                None => {
                    let slot = self.slots.insert(new);
                    self.table.insert(tag(ticket.queue), QueuedTickets::One(slot).to_word());
                    return Some(TicketHandle(slot));
                }
                Some((location, QueuedTickets::One(other))) => {
                    if self.slots[other].may_meet_from(&new) > now {
                        return Some(self.form_group(location, other, new, now));
                    }
                    self.table.remove(location);
                    pair(self.slots.remove(other).ticket(), ticket);
                    return None;
                }
                Some((_, QueuedTickets::Group(group))) if self.groups.get(group).due() <= now => {
                    self.pair_members(group, now, &mut pair);
                }
                Some((location, QueuedTickets::Group(group))) => {
                    return self.join_group(location, group, new, now, pair);
                }
            }
        }
    }

    /// Removes the ticket with this handle and number if it is still there and belongs to this
    /// holder. Returns whether it did; if not, the ticket has been matched or removed before.
    pub fn leave(
        &mut self,
        holder: SessionAddress,
        handle: TicketHandle,
        number: TicketNo,
    ) -> bool {
        let Some(slot) = self.slots.get(handle.0) else { return false };
        if !slot.holds(holder, number) {
            return false;
        }
        let (location, tickets) =
            self.find(slot.queue()).expect("because every ticket waits in a queue of the table");
        match tickets {
            QueuedTickets::One(_) => self.table.remove(location),
            QueuedTickets::Group(group) => {
                self.groups.members_mut(group).retain(|&member| member != handle.0);
                self.update_group(location, group);
            }
        }
        self.slots.remove(handle.0);
        true
    }

    /// When [`MatchQueue::pair_due`] has to be called next: at most 1.1 ms after two tickets of
    /// the same queue may meet. If a rematch delay is longer than a second, it is also called now
    /// and then before that. After a call with `now`, the deadline is later than `now`.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.groups.next_deadline()
    }

    /// Pairs tickets whose delays have passed, the earlier ticket of each pair first.
    pub fn pair_due(&mut self, now: Timestamp, mut pair: impl FnMut(Ticket, Ticket)) {
        while let Some(group) = self.groups.first_due(now) {
            self.pair_members(group, now, &mut pair);
        }
    }

    fn find(&self, queue: QueueKey) -> Option<(EntryLocation, QueuedTickets)> {
        let is_queue = |word| match QueuedTickets::from_word(word) {
            QueuedTickets::One(slot) => self.slots[slot].queue() == queue,
            QueuedTickets::Group(group) => self.groups.get(group).queue == queue,
        };
        let (location, word) = self.table.find(tag(queue), is_queue)?;
        Some((location, QueuedTickets::from_word(word)))
    }

    /// Makes a group of a ticket that waits alone and a new one that may not meet it yet.
    fn form_group(
        &mut self,
        location: EntryLocation,
        other: u32,
        new: TicketSlot,
        now: Timestamp,
    ) -> TicketHandle {
        let slot = self.slots.insert(new);
        let mut members = Vec::with_capacity(4);
        members.push(other);
        let group = self.groups.insert(new.queue(), members, now);
        self.table.set(location, QueuedTickets::Group(group).to_word());
        self.insert_member(group, slot);
        self.update_group(location, group);
        TicketHandle(slot)
    }

    /// Enters a ticket in a group of which no two members may meet at present.
    fn join_group(
        &mut self,
        location: EntryLocation,
        group: u32,
        new: TicketSlot,
        now: Timestamp,
        mut pair: impl FnMut(Ticket, Ticket),
    ) -> Option<TicketHandle> {
        let members = self.groups.members_mut(group);
        let first = members.iter().position(|&one| self.slots[one].may_meet_from(&new) <= now);
        let handle = match first {
            Some(first) => {
                let other = members.remove(first);
                pair(self.slots.remove(other).ticket(), new.ticket());
                None
            }
            None => {
                let slot = self.slots.insert(new);
                self.insert_member(group, slot);
                Some(TicketHandle(slot))
            }
        };
        self.update_group(location, group);
        handle
    }

    /// Inserts a ticket at its position in a group: behind all that have waited as long.
    fn insert_member(&mut self, group: u32, slot: u32) {
        let since = self.slots[slot].since();
        let members = self.groups.members_mut(group);
        let at = members.partition_point(|&member| self.slots[member].since() <= since);
        members.insert(at, slot);
    }

    /// Pairs all members of a group that may meet by now, earlier tickets first.
    fn pair_members(&mut self, group: u32, now: Timestamp, pair: &mut impl FnMut(Ticket, Ticket)) {
        let (location, _) = self
            .find(self.groups.get(group).queue)
            .expect("because every group waits in a queue of the table");
        let members = self.groups.members_mut(group);
        let mut at = 0;
        while at < members.len() {
            let one = &self.slots[members[at]];
            let mut others = members[at + 1..].iter();
            match others.position(|&other| one.may_meet_from(&self.slots[other]) <= now) {
                Some(distance) => {
                    let other = members.remove(at + 1 + distance);
                    let one = members.remove(at);
                    let one = self.slots.remove(one).ticket();
                    pair(one, self.slots.remove(other).ticket());
                }
                None => at += 1,
            }
        }
        self.update_group(location, group);
    }

    /// After a change of its members: schedules the group for the time at which the first two of
    /// them may meet, or removes it if fewer than two are left.
    fn update_group(&mut self, location: EntryLocation, group: u32) {
        match self.groups.get(group).members[..] {
            [] => {
                self.groups.remove(group);
                self.table.remove(location);
            }
            [last] => {
                self.groups.remove(group);
                self.table.set(location, QueuedTickets::One(last).to_word());
            }
            ref members => {
                let mut due = NEVER;
                for (at, &one) in members.iter().enumerate() {
                    for &other in &members[at + 1..] {
                        due = due.min(self.slots[one].may_meet_from(&self.slots[other]));
                    }
                }
                self.groups.schedule(group, due);
            }
        }
    }

    /// Bytes that are kept from the allocator.
    #[cfg(test)]
    fn retained_bytes(&self) -> usize {
        self.slots.retained_bytes() + self.table.retained_bytes() + self.groups.retained_bytes()
    }
}
