//! From the name of a queue to what waits in it: a hash table that grows and shrinks by a bucket
//! at a time. Pure; owned by the matcher.
//!
//! A table that doubles moves all its entries in one operation, which for a million queues
//! stops every match for milliseconds. This one is a linear hash table (Litwin, VLDB 1980):
//! there are `base + split` buckets, those below `split` and from `base` on have been divided
//! by one more bit of the hash than the others, and to grow by one divides bucket `split`.
//! A bucket is one cache line, so that most look-ups cost one cache miss here.
//!
//! Names are keyed hashes already ([`crate::ids::QueueKey`]), so their bits are used as they
//! are. The table keeps 32 of them, and asks its user whether an entry with the same 32 is
//! really the one: the user has the whole name where it has to look anyway.

use super::arena::Arena;

/// Entries in one bucket.
const BUCKET: usize = 7;
/// Buckets in one segment.
const SEGMENT: usize = 1024;
/// Buckets of an empty table, a power of two.
const SMALLEST: usize = 64;
/// Entries for each undivided bucket from which on buckets are divided. With 4 on average, one
/// bucket in twenty overflows; after the doubling there are 2 on average.
const FULL: usize = 4;
/// Buckets divided by each insertion while the table grows. With 2, the table holds 4.5 entries
/// for each of the old buckets when the last of them is divided.
const DIVIDED: usize = 2;
/// "No further bucket."
const NONE: u32 = u32::MAX;

/// One cache line of entries. All buckets of a chain but the last are full.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Bucket {
    tags: [u32; BUCKET],
    values: [u32; BUCKET],
    len: u32,
    /// Where in `overflow` the chain goes on.
    next: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Default for Bucket {
    fn default() -> Self {
        Bucket { tags: [0; BUCKET], values: [0; BUCKET], len: 0, next: NONE }
    }
}

/// Which bucket: one of those that the hash leads to, or one that continues a chain.
#[derive(Clone, Copy, Debug)]
enum Link {
    Home(usize),
    Overflow(u32),
}

/// Where an entry is, good until the table is changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    home: usize,
    link: Link,
    at: usize,
}

/// The table: 32 bits of hash to 32 bits of value.
#[derive(Debug)]
pub(super) struct Table {
    segments: Vec<Vec<Bucket>>,
    overflow: Arena<Bucket>,
    /// Buckets before the present round of divisions, a power of two.
    base: usize,
    /// Of these, how many have been divided.
    split: usize,
    len: usize,
}

impl Default for Table {
    fn default() -> Self {
        let mut table = Table {
            segments: Vec::new(),
            overflow: Arena::default(),
            base: SMALLEST,
            split: 0,
            len: 0,
        };
        (0..SMALLEST).for_each(|_| table.push_bucket());
        table
    }
}

impl Table {
    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The entry with this tag that `is_it` recognises by its value.
    pub(super) fn find(&self, tag: u32, is_it: impl Fn(u32) -> bool) -> Option<(Spot, u32)> {
        let home = self.home(tag);
        let mut link = Link::Home(home);
        loop {
            let bucket = self.bucket(link);
            for at in 0..BUCKET {
                if bucket.tags[at] == tag && at < bucket.len as usize && is_it(bucket.values[at]) {
                    return Some((Spot { home, link, at }, bucket.values[at]));
                }
            }
            if bucket.next == NONE {
                return None;
            }
            link = Link::Overflow(bucket.next);
        }
    }

    /// Changes the value of an entry that `find` found.
    pub(super) fn set(&mut self, spot: Spot, value: u32) {
        self.bucket_mut(spot.link).values[spot.at] = value;
    }

    /// Adds an entry, which must not be there yet.
    pub(super) fn insert(&mut self, tag: u32, value: u32) {
        self.push(self.home(tag), tag, value);
        self.len += 1;
        if self.len > self.base * FULL {
            (0..DIVIDED).for_each(|_| self.divide());
        }
    }

    /// Takes out an entry that `find` found.
    pub(super) fn remove(&mut self, spot: Spot) {
        // The chain's last entry fills the gap, so that all buckets but the last stay full.
        let mut before = None;
        let mut last = Link::Home(spot.home);
        while self.bucket(last).next != NONE {
            before = Some(last);
            last = Link::Overflow(self.bucket(last).next);
        }
        let bucket = self.bucket_mut(last);
        bucket.len -= 1;
        let at = bucket.len as usize;
        let (tag, value, is_empty) = (bucket.tags[at], bucket.values[at], at == 0);
        let gap = self.bucket_mut(spot.link);
        gap.tags[spot.at] = tag;
        gap.values[spot.at] = value;
        if let (Some(before), Link::Overflow(place), true) = (before, last, is_empty) {
            self.bucket_mut(before).next = NONE;
            self.overflow.remove(place);
        }
        self.len -= 1;
        if self.len < self.base + self.split {
            self.merge();
        }
    }

    fn home(&self, tag: u32) -> usize {
        let home = tag as usize & (self.base - 1);
        if home < self.split { tag as usize & (2 * self.base - 1) } else { home }
    }

    fn bucket(&self, link: Link) -> &Bucket {
        match link {
            Link::Home(index) => &self.segments[index / SEGMENT][index % SEGMENT],
            Link::Overflow(place) => &self.overflow[place],
        }
    }

    fn bucket_mut(&mut self, link: Link) -> &mut Bucket {
        match link {
            Link::Home(index) => &mut self.segments[index / SEGMENT][index % SEGMENT],
            Link::Overflow(place) => &mut self.overflow[place],
        }
    }

    /// Adds an entry at the end of a chain.
    fn push(&mut self, home: usize, tag: u32, value: u32) {
        let mut link = Link::Home(home);
        while self.bucket(link).next != NONE {
            link = Link::Overflow(self.bucket(link).next);
        }
        if self.bucket(link).len as usize == BUCKET {
            let place = self.overflow.insert(Bucket::default());
            self.bucket_mut(link).next = place;
            link = Link::Overflow(place);
        }
        let bucket = self.bucket_mut(link);
        let at = bucket.len as usize;
        bucket.tags[at] = tag;
        bucket.values[at] = value;
        bucket.len += 1;
    }

    /// One bucket more: the next undivided one keeps the entries whose next bit is 0.
    fn divide(&mut self) {
        self.push_bucket();
        let chain = std::mem::take(self.bucket_mut(Link::Home(self.split)));
        self.split += 1;
        if self.split == self.base {
            self.base *= 2;
            self.split = 0;
        }
        self.file_again(chain);
    }

    /// One bucket less: the last one's entries go back to where they were divided from.
    fn merge(&mut self) {
        if self.split == 0 {
            if self.base == SMALLEST {
                return;
            }
            self.base /= 2;
            self.split = self.base;
        }
        self.split -= 1;
        let chain = self.pop_bucket();
        self.file_again(chain);
    }

    fn file_again(&mut self, mut chain: Bucket) {
        loop {
            for at in 0..chain.len as usize {
                self.push(self.home(chain.tags[at]), chain.tags[at], chain.values[at]);
            }
            if chain.next == NONE {
                return;
            }
            chain = self.overflow.remove(chain.next);
        }
    }

    fn push_bucket(&mut self) {
        if self.segments.last().is_none_or(|last| last.len() == SEGMENT) {
            self.segments.push(Vec::with_capacity(SEGMENT));
        }
        if let Some(last) = self.segments.last_mut() {
            last.push(Bucket::default());
        }
    }

    fn pop_bucket(&mut self) -> Bucket {
        let last = self.segments.last_mut().expect("because the smallest table has a segment");
        let bucket = last.pop().expect("because an empty segment is dropped");
        if last.is_empty() {
            self.segments.pop();
        }
        bucket
    }

    /// Bytes that are kept from the allocator.
    #[cfg(test)]
    pub(super) fn retained_bytes(&self) -> usize {
        self.segments.capacity() * size_of::<Vec<Bucket>>()
            + self.segments.iter().map(|s| s.capacity() * size_of::<Bucket>()).sum::<usize>()
            + self.overflow.retained_bytes()
    }
}
