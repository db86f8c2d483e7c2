//! The queues in which more than one ticket waits, and when to look at each again. Pure; owned
//! by the matcher.
//!
//! Each crowd is filed at most once, under the tick in which the first two of its tickets may
//! meet: in a wheel of lists threaded through the crowds themselves. So to file and to withdraw
//! takes constant time, and nothing that clients do makes the wheel grow beyond one entry for
//! each crowd.

use super::arena::Arena;
use super::place::NEVER;
use crate::ids::QueueKey;
use crate::timestamp::Timestamp;

/// log₂ of the nanoseconds of one tick, 1.05 ms: about as fine as a poll's timeout.
const TICK_SHIFT: u32 = 20;
/// Lists in the wheel, so that one turn takes 1.07 s: longer than the default rematch delay. What
/// is due later is filed again once in every turn.
const LISTS: usize = 1024;
/// Lists told by one word of `occupied`.
const WORD: usize = u64::BITS as usize;
/// "No crowd."
const NONE: u32 = u32::MAX;

/// A queue in which more than one ticket waits.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) queue: QueueKey,
    /// The places of its tickets, in the order in which they come first.
    pub(super) members: Vec<u32>,
    /// When the first two of them may meet.
    due: Timestamp,
    /// In which list of the wheel it is; [`LISTS`] if in none.
    list: usize,
    before: u32,
    after: u32,
}

impl Default for Crowd {
    fn default() -> Self {
        Crowd {
            queue: QueueKey(0),
            members: Vec::new(),
            due: NEVER,
            list: LISTS,
            before: NONE,
            after: NONE,
        }
    }
}

impl Crowd {
    /// When the first two of its tickets may meet.
    pub(super) fn due(&self) -> Timestamp {
        self.due
    }
}

/// All crowds, and the wheel.
#[derive(Debug)]
pub(super) struct Crowds {
    arena: Arena<Crowd>,
    /// The first crowd of each list.
    heads: Box<[u32; LISTS]>,
    /// One bit for each list that is not empty.
    occupied: [u64; LISTS / WORD],
    /// The last tick that has been looked through.
    done: u64,
}

impl Default for Crowds {
    fn default() -> Self {
        Crowds {
            arena: Arena::default(),
            heads: Box::new([NONE; LISTS]),
            occupied: [0; LISTS / WORD],
            done: 0,
        }
    }
}

impl Crowds {
    /// The crowd with this number.
    pub(super) fn get(&self, crowd: u32) -> &Crowd {
        &self.arena[crowd]
    }

    /// The places of a crowd's tickets. Whoever changes them says with `file` when it is due.
    pub(super) fn members_mut(&mut self, crowd: u32) -> &mut Vec<u32> {
        &mut self.arena[crowd].members
    }

    /// A new crowd, not yet filed.
    pub(super) fn insert(&mut self, queue: QueueKey, members: Vec<u32>, now: Timestamp) -> u32 {
        if self.arena.len() == 0 {
            // There was nothing to look through up to now.
            self.done = self.done.max(now.as_nanos() >> TICK_SHIFT);
        }
        self.arena.insert(Crowd { queue, members, ..Crowd::default() })
    }

    /// Takes out a crowd.
    pub(super) fn remove(&mut self, crowd: u32) {
        self.withdraw(crowd);
        self.arena.remove(crowd);
    }

    /// Says when the crowd is due, and files it there.
    pub(super) fn file(&mut self, crowd: u32, due: Timestamp) {
        self.withdraw(crowd);
        self.arena[crowd].due = due;
        if due == NEVER {
            return;
        }
        // At the end of its tick all that is filed under it is due.
        let tick = due.as_nanos().div_ceil(1 << TICK_SHIFT);
        // What is too far off waits in the farthest list, and is filed again from there.
        let tick = tick.clamp(self.done + 1, self.done + LISTS as u64 - 1);
        let list = tick as usize % LISTS;
        let head = std::mem::replace(&mut self.heads[list], crowd);
        self.occupied[list / WORD] |= 1 << (list % WORD);
        if head != NONE {
            self.arena[head].before = crowd;
        }
        let entry = &mut self.arena[crowd];
        (entry.list, entry.before, entry.after) = (list, NONE, head);
    }

    fn withdraw(&mut self, crowd: u32) {
        let Crowd { list, before, after, .. } = self.arena[crowd];
        if list == LISTS {
            return;
        }
        self.arena[crowd].list = LISTS;
        match before {
            NONE => self.heads[list] = after,
            before => self.arena[before].after = after,
        }
        if after != NONE {
            self.arena[after].before = before;
        }
        if self.heads[list] == NONE {
            self.occupied[list / WORD] &= !(1 << (list % WORD));
        }
    }

    /// When to look next: not before anybody is due, and at most one tick after.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        let first = (self.done + 1) as usize % LISTS;
        // The word of the first list is looked at twice: its upper part first, its lower last.
        let ahead = (0..=LISTS / WORD).find_map(|step| {
            let word = (first / WORD + step) % (LISTS / WORD);
            let mut lists = self.occupied[word];
            if step == 0 {
                lists &= u64::MAX << (first % WORD);
            }
            let list = word * WORD + lists.trailing_zeros() as usize;
            (lists != 0).then(|| (list + LISTS - first) % LISTS)
        })?;
        Some(Timestamp::from_nanos((self.done + 1 + ahead as u64) << TICK_SHIFT))
    }

    /// A crowd that has become due in a tick that is over, if there is one. It is still
    /// filed: the caller must file it anew or remove it before it asks again.
    pub(super) fn next_due(&mut self, now: Timestamp) -> Option<u32> {
        let tick = now.as_nanos() >> TICK_SHIFT;
        while let Some(look) = self.next_look() {
            let next = look.as_nanos() >> TICK_SHIFT;
            if next > tick {
                break;
            }
            let crowd = self.heads[next as usize % LISTS];
            let due = self.arena[crowd].due;
            if due <= now {
                self.done = next - 1;
                return Some(crowd);
            }
            // It was too far off for the wheel. Seen from here it belongs in another list.
            self.done = next;
            self.file(crowd, due);
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
