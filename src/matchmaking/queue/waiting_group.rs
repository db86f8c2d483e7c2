//! The queues in which several tickets wait, and a timing wheel that tells when to check each of
//! them again. Pure; owned by the matcher.
//!
//! Several tickets wait in one queue only while rematch delays keep them apart. Each such group
//! is scheduled at most once: under the tick in which the first two of its tickets may meet. The
//! lists of the wheel are threaded through the groups themselves, so scheduling and unscheduling
//! take constant time, and the wheel never holds more than one entry for each group, whatever
//! clients do.

use super::arena::Arena;
use super::ticket_slot::NEVER;
use crate::ids::QueueKey;
use crate::timestamp::Timestamp;

/// log₂ of the nanoseconds of a tick, 1.05 ms: about the resolution of a poll's timeout.
const TICK_SHIFT: u32 = 20;
/// Lists in the wheel, so that one revolution takes 1.07 s: longer than the default rematch
/// delay. A group that is due later is scheduled again once in every revolution.
const LISTS: usize = 1024;
/// Lists that one word of `occupied` covers.
const LISTS_PER_WORD: usize = u64::BITS as usize;
/// Marks the end of a list.
const NO_GROUP: u32 = u32::MAX;

/// A queue in which several tickets wait.
#[derive(Debug)]
pub(super) struct WaitingGroup {
    pub(super) queue: QueueKey,
    /// The slots of its tickets, in the order of the queue.
    pub(super) members: Vec<u32>,
    /// When the first two of them may meet.
    due: Timestamp,
    /// The list of the wheel that it is in; [`LISTS`] if it is not scheduled.
    list: usize,
    previous: u32,
    next: u32,
}

impl Default for WaitingGroup {
    fn default() -> Self {
        WaitingGroup {
            queue: QueueKey(0),
            members: Vec::new(),
            due: NEVER,
            list: LISTS,
            previous: NO_GROUP,
            next: NO_GROUP,
        }
    }
}

impl WaitingGroup {
    /// When the first two of its tickets may meet.
    pub(super) fn due(&self) -> Timestamp {
        self.due
    }
}

/// All groups, and the wheel.
#[derive(Debug)]
pub(super) struct WaitingGroups {
    arena: Arena<WaitingGroup>,
    /// The first group of each list.
    heads: Box<[u32; LISTS]>,
    /// One bit for each list that is not empty.
    occupied: [u64; LISTS / LISTS_PER_WORD],
    /// The last tick whose list has been processed.
    done: u64,
}

impl Default for WaitingGroups {
    fn default() -> Self {
        WaitingGroups {
            arena: Arena::default(),
            heads: Box::new([NO_GROUP; LISTS]),
            occupied: [0; LISTS / LISTS_PER_WORD],
            done: 0,
        }
    }
}

impl WaitingGroups {
    /// The group with this index.
    pub(super) fn get(&self, group: u32) -> &WaitingGroup {
        &self.arena[group]
    }

    /// The slots of a group's tickets. After a change, the caller must call
    /// [`WaitingGroups::schedule`] or [`WaitingGroups::remove`].
    pub(super) fn members_mut(&mut self, group: u32) -> &mut Vec<u32> {
        &mut self.arena[group].members
    }

    /// Adds a group that is not scheduled yet.
    pub(super) fn insert(&mut self, queue: QueueKey, members: Vec<u32>, now: Timestamp) -> u32 {
        if self.arena.len() == 0 {
            // All lists are empty, so there is nothing to process up to now.
            self.done = self.done.max(now.as_nanos() >> TICK_SHIFT);
        }
        self.arena.insert(WaitingGroup { queue, members, ..WaitingGroup::default() })
    }

    /// Removes a group.
    pub(super) fn remove(&mut self, group: u32) {
        self.unschedule(group);
        self.arena.remove(group);
    }

    /// Sets the time at which the group is due, and puts it into the list of that time.
    pub(super) fn schedule(&mut self, group: u32, due: Timestamp) {
        self.unschedule(group);
        self.arena[group].due = due;
        if due == NEVER {
            return;
        }
        // Rounded up: everything in a list is due when its tick begins.
        let tick = due.as_nanos().div_ceil(1 << TICK_SHIFT);
        // A time beyond the wheel goes into the farthest list, and is scheduled again from there.
        let tick = tick.clamp(self.done + 1, self.done + LISTS as u64 - 1);
        let list = tick as usize % LISTS;
        let head = std::mem::replace(&mut self.heads[list], group);
        self.occupied[list / LISTS_PER_WORD] |= 1 << (list % LISTS_PER_WORD);
        if head != NO_GROUP {
            self.arena[head].previous = group;
        }
        let entry = &mut self.arena[group];
        (entry.list, entry.previous, entry.next) = (list, NO_GROUP, head);
    }

    fn unschedule(&mut self, group: u32) {
        let WaitingGroup { list, previous, next, .. } = self.arena[group];
        if list == LISTS {
            return;
        }
        self.arena[group].list = LISTS;
        match previous {
            NO_GROUP => self.heads[list] = next,
            previous => self.arena[previous].next = next,
        }
        if next != NO_GROUP {
            self.arena[next].previous = previous;
        }
        if self.heads[list] == NO_GROUP {
            self.occupied[list / LISTS_PER_WORD] &= !(1 << (list % LISTS_PER_WORD));
        }
    }

    /// When to call [`WaitingGroups::first_due`] next: at most one tick after the first group is
    /// due. It can be earlier for a group that was due beyond the wheel when it was scheduled.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let first = (self.done + 1) as usize % LISTS;
        // The word of the first list is examined twice: its upper part first, its lower part last.
        let ahead = (0..=LISTS / LISTS_PER_WORD).find_map(|step| {
            let word = (first / LISTS_PER_WORD + step) % (LISTS / LISTS_PER_WORD);
            let mut lists = self.occupied[word];
            if step == 0 {
                lists &= u64::MAX << (first % LISTS_PER_WORD);
            }
            let list = word * LISTS_PER_WORD + lists.trailing_zeros() as usize;
            (lists != 0).then(|| (list + LISTS - first) % LISTS)
        })?;
        Some(Timestamp::from_nanos((self.done + 1 + ahead as u64) << TICK_SHIFT))
    }

    /// A group whose tick has begun by `now`, if there is one. It stays scheduled: the caller
    /// must schedule it again or remove it before the next call.
    pub(super) fn first_due(&mut self, now: Timestamp) -> Option<u32> {
        let tick = now.as_nanos() >> TICK_SHIFT;
        while let Some(deadline) = self.next_deadline() {
            let next = deadline.as_nanos() >> TICK_SHIFT;
            if next > tick {
                break;
            }
            let group = self.heads[next as usize % LISTS];
            let due = self.arena[group].due;
            if due.as_nanos().div_ceil(1 << TICK_SHIFT) <= tick {
                self.done = next - 1;
                return Some(group);
            }
            // Its time was beyond the wheel. Seen from this tick it belongs in another list.
            self.done = next;
            self.schedule(group, due);
            self.done = next - 1;
        }
        self.done = self.done.max(tick);
        None
    }

    /// Bytes that are kept from the allocator.
    #[cfg(test)]
    pub(super) fn retained_bytes(&self) -> usize {
        self.arena.retained_bytes() + size_of_val(&*self.heads)
    }
}
