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
use crate::sys::prefetch::prefetch;

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

impl Bucket {
    /// One bit for each entry with this tag. It has no branch, because which of the entries it is
    /// cannot be predicted.
    fn hits(&self, tag: u32) -> u32 {
        let mut hits = 0;
        for (at, &one) in self.tags.iter().enumerate() {
            hits |= u32::from(one == tag) << at;
        }
        hits & ((1 << self.len) - 1)
    }

    /// Adds an entry, if there is room.
    fn add(&mut self, tag: u32, value: u32) -> bool {
        let at = self.len as usize;
        let has_room = at < BUCKET;
        if has_room {
            self.put(at, (tag, value));
            self.len += 1;
        }
        has_room
    }

    fn put(&mut self, at: usize, (tag, value): (u32, u32)) {
        self.tags[at] = tag;
        self.values[at] = value;
    }

    fn take_last(&mut self) -> (u32, u32) {
        self.len -= 1;
        let at = self.len as usize;
        (self.tags[at], self.values[at])
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
        let mut bucket = self.home_bucket(home);
        loop {
            let mut hits = bucket.hits(tag);
            while hits != 0 {
                let at = hits.trailing_zeros() as usize;
                if is_it(bucket.values[at]) {
                    return Some((Spot { home, link, at }, bucket.values[at]));
                }
                hits &= hits - 1;
            }
            if bucket.next == NONE {
                return None;
            }
            link = Link::Overflow(bucket.next);
            bucket = &self.overflow[bucket.next];
        }
    }

    /// Asks for the bucket of this tag to be loaded into the cache.
    pub(super) fn touch(&self, tag: u32) {
        prefetch(self.home_bucket(self.home(tag)));
    }

    /// The value of the first entry with this tag, which need not be the one that is looked for.
    pub(super) fn guess(&self, tag: u32) -> Option<u32> {
        let bucket = self.home_bucket(self.home(tag));
        match bucket.hits(tag) {
            0 => None,
            hits => Some(bucket.values[hits.trailing_zeros() as usize]),
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
        let home = self.home_bucket_mut(spot.home);
        if home.next == NONE {
            let last = home.take_last();
            home.put(spot.at, last);
        } else {
            self.remove_from_chain(spot);
        }
        self.len -= 1;
        if self.len < self.base + self.split {
            self.merge();
        }
    }

    fn remove_from_chain(&mut self, spot: Spot) {
        let mut before = Link::Home(spot.home);
        let mut place = self.bucket(before).next;
        while self.overflow[place].next != NONE {
            before = Link::Overflow(place);
            place = self.overflow[place].next;
        }
        let last = self.overflow[place].take_last();
        self.bucket_mut(spot.link).put(spot.at, last);
        if self.overflow[place].len == 0 {
            self.bucket_mut(before).next = NONE;
            self.overflow.remove(place);
        }
    }

    fn home(&self, tag: u32) -> usize {
        let home = tag as usize & (self.base - 1);
        if home < self.split { tag as usize & (2 * self.base - 1) } else { home }
    }

    fn home_bucket(&self, index: usize) -> &Bucket {
        &self.segments[index / SEGMENT][index % SEGMENT]
    }

    fn home_bucket_mut(&mut self, index: usize) -> &mut Bucket {
        &mut self.segments[index / SEGMENT][index % SEGMENT]
    }

    fn bucket(&self, link: Link) -> &Bucket {
        match link {
            Link::Home(index) => self.home_bucket(index),
            Link::Overflow(place) => &self.overflow[place],
        }
    }

    fn bucket_mut(&mut self, link: Link) -> &mut Bucket {
        match link {
            Link::Home(index) => self.home_bucket_mut(index),
            Link::Overflow(place) => &mut self.overflow[place],
        }
    }

    /// Adds an entry at the end of a chain.
    fn push(&mut self, home: usize, tag: u32, value: u32) {
        let bucket = self.home_bucket_mut(home);
        if bucket.add(tag, value) {
            return;
        }
        let mut link = Link::Home(home);
        while self.bucket(link).next != NONE {
            link = Link::Overflow(self.bucket(link).next);
        }
        if !self.bucket_mut(link).add(tag, value) {
            let mut bucket = Bucket::default();
            bucket.add(tag, value);
            self.bucket_mut(link).next = self.overflow.insert(bucket);
        }
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
            self.segments.shrink_to(2 * self.segments.len());
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every entry is found, nothing else is, and all buckets but a chain's last are full.
    fn check(table: &Table, entries: &[(u32, u32)]) {
        assert_eq!(table.len(), entries.len());
        for &(tag, value) in entries {
            let found = table.find(tag, |other| other == value);
            assert_eq!(found.map(|(_, value)| value), Some(value));
            assert!(table.find(tag, |_| false).is_none());
        }
        let mut seen = 0;
        for home in 0..table.base + table.split {
            let mut bucket = table.bucket(Link::Home(home));
            seen += bucket.len as usize;
            while bucket.next != NONE {
                assert_eq!(bucket.len as usize, BUCKET);
                bucket = table.bucket(Link::Overflow(bucket.next));
                assert_ne!(bucket.len, 0);
                seen += bucket.len as usize;
            }
        }
        assert_eq!(seen, entries.len());
    }

    proptest! {
        /// Few different tags, so that chains get long, or all sorts, so that they stay short.
        #[test]
        fn what_was_put_in_is_found_until_it_is_taken_out(
            spread in prop_oneof![Just(0x1u32), Just(0x3f), Just(0x001f_001f), Just(u32::MAX)],
            seed in any::<u32>(),
            runs in proptest::collection::vec((any::<bool>(), 1..400usize), 1..12),
        ) {
            let mut table = Table::default();
            let mut entries: Vec<(u32, u32)> = Vec::new();
            let mut chance = seed | 1;
            let mut next = 0;
            for (grows, count) in runs {
                for _ in 0..count {
                    chance = chance.wrapping_mul(0x9e37_79b1).rotate_left(13) ^ seed;
                    if grows {
                        next += 1;
                        entries.push((chance & spread, next));
                        table.insert(chance & spread, next);
                    } else if !entries.is_empty() {
                        let (tag, value) = entries.swap_remove(chance as usize % entries.len());
                        let (spot, _) = table.find(tag, |other| other == value).unwrap();
                        table.remove(spot);
                    }
                }
                check(&table, &entries);
            }
        }
    }

    #[test]
    fn it_grows_and_shrinks_with_what_is_in_it() {
        let mut table = Table::default();
        let tag = |value: u32| value.wrapping_mul(0x9e37_79b1);
        for value in 0..100_000 {
            table.insert(tag(value), value);
            assert!(table.base + table.split <= SMALLEST.max(table.len()));
            assert!(table.base * FULL * 5 / 4 >= table.len());
        }
        for value in 0..100_000 {
            let (spot, _) = table.find(tag(value), |other| other == value).unwrap();
            table.remove(spot);
            assert!(table.base + table.split <= SMALLEST.max(table.len() + 1));
        }
        assert_eq!((table.base, table.split, table.overflow.len()), (SMALLEST, 0, 0));
    }
}
