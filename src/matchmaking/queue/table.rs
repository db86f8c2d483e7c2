//! A hash table from a queue to the tickets that wait in it. It grows and shrinks by one bucket at
//! a time. Pure; owned by the matcher.
//!
//! A table that doubles moves all its entries in one operation, which for a million queues
//! stops every match for milliseconds. This one is a linear hash table (Litwin, VLDB 1980). It
//! has `base + split` buckets: those below `split` and from `base` on have been divided by one
//! more bit of the hash than the others, and growing by one divides bucket `split`. A bucket is
//! one cache line, so most look-ups cost one cache miss here.
//!
//! Queue keys are keyed hashes already ([`crate::ids::QueueKey`]), so their bits are used as they
//! are. The table stores 32 of them, the tag, and asks the caller whether an entry with the same
//! tag is the right one: the caller stores the whole key where it has to read anyway.

use super::arena::Arena;
use crate::sys::prefetch::prefetch;

/// Entries in one bucket.
const ENTRIES_PER_BUCKET: usize = 7;
/// Buckets in one segment.
const BUCKETS_PER_SEGMENT: usize = 1024;
/// Buckets of an empty table, a power of two.
const MIN_BUCKETS: usize = 64;
/// Buckets are divided when there are more entries than this for each undivided bucket. With 4 on
/// average, one bucket in twenty overflows; after a doubling there are 2 on average.
const MAX_AVERAGE_ENTRIES: usize = 4;
/// Buckets that each insertion divides while the table grows. With 2, the table holds 4.5 entries
/// for each of the old buckets when the last of them is divided.
const DIVISIONS_PER_INSERT: usize = 2;
/// Marks the end of a chain.
const NO_BUCKET: u32 = u32::MAX;

/// One cache line of entries. All buckets of a chain but the last are full.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Bucket {
    tags: [u32; ENTRIES_PER_BUCKET],
    values: [u32; ENTRIES_PER_BUCKET],
    len: u32,
    /// The index in `overflow` of the next bucket of the chain.
    next: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Default for Bucket {
    fn default() -> Self {
        Bucket {
            tags: [0; ENTRIES_PER_BUCKET],
            values: [0; ENTRIES_PER_BUCKET],
            len: 0,
            next: NO_BUCKET,
        }
    }
}

impl Bucket {
    /// A bit mask of the entries with this tag. Without branches, because it cannot be predicted
    /// which entry matches.
    fn matches(&self, tag: u32) -> u32 {
        let mut mask = 0;
        for (at, &one) in self.tags.iter().enumerate() {
            mask |= u32::from(one == tag) << at;
        }
        mask & ((1 << self.len) - 1)
    }

    /// Adds an entry, if there is room. Returns whether there was.
    fn add(&mut self, tag: u32, value: u32) -> bool {
        let at = self.len as usize;
        let has_room = at < ENTRIES_PER_BUCKET;
        if has_room {
            self.set(at, (tag, value));
            self.len += 1;
        }
        has_room
    }

    fn set(&mut self, at: usize, (tag, value): (u32, u32)) {
        self.tags[at] = tag;
        self.values[at] = value;
    }

    fn take_last(&mut self) -> (u32, u32) {
        self.len -= 1;
        let at = self.len as usize;
        (self.tags[at], self.values[at])
    }
}

/// A bucket: one that the hash leads to, or one that continues its chain.
#[derive(Clone, Copy, Debug)]
enum BucketRef {
    Home(usize),
    Overflow(u32),
}

/// The location of an entry, valid until the table changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryLocation {
    home: usize,
    bucket_ref: BucketRef,
    at: usize,
}

/// The table: from a 32-bit tag to a 32-bit value.
#[derive(Debug)]
pub(super) struct QueueTable {
    segments: Vec<Vec<Bucket>>,
    overflow: Arena<Bucket>,
    /// Buckets before the current round of divisions, a power of two.
    base: usize,
    /// The number of these that have been divided.
    split: usize,
    len: usize,
}

impl Default for QueueTable {
    fn default() -> Self {
        let mut table = QueueTable {
            segments: Vec::new(),
            overflow: Arena::default(),
            base: MIN_BUCKETS,
            split: 0,
            len: 0,
        };
        (0..MIN_BUCKETS).for_each(|_| table.push_bucket());
        table
    }
}

impl QueueTable {
    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The entry with this tag for which `is_match` accepts the value.
    pub(super) fn find(
        &self,
        tag: u32,
        is_match: impl Fn(u32) -> bool,
    ) -> Option<(EntryLocation, u32)> {
        let home = self.home(tag);
        let mut bucket_ref = BucketRef::Home(home);
        let mut bucket = self.home_bucket(home);
        loop {
            let mut mask = bucket.matches(tag);
            while mask != 0 {
                let at = mask.trailing_zeros() as usize;
                if is_match(bucket.values[at]) {
                    return Some((EntryLocation { home, bucket_ref, at }, bucket.values[at]));
                }
                mask &= mask - 1;
            }
            if bucket.next == NO_BUCKET {
                return None;
            }
            bucket_ref = BucketRef::Overflow(bucket.next);
            bucket = &self.overflow[bucket.next];
        }
    }

    /// Loads the bucket of this tag into the cache.
    pub(super) fn prefetch(&self, tag: u32) {
        prefetch(self.home_bucket(self.home(tag)));
    }

    /// The value of the first entry with this tag, which need not be the right one.
    pub(super) fn first_with_tag(&self, tag: u32) -> Option<u32> {
        let bucket = self.home_bucket(self.home(tag));
        match bucket.matches(tag) {
            0 => None,
            mask => Some(bucket.values[mask.trailing_zeros() as usize]),
        }
    }

    /// Changes the value of an entry that `find` returned.
    pub(super) fn set(&mut self, location: EntryLocation, value: u32) {
        self.bucket_mut(location.bucket_ref).values[location.at] = value;
    }

    /// Adds an entry that is not in the table yet.
    pub(super) fn insert(&mut self, tag: u32, value: u32) {
        self.push(self.home(tag), tag, value);
        self.len += 1;
        if self.len > self.base * MAX_AVERAGE_ENTRIES {
            (0..DIVISIONS_PER_INSERT).for_each(|_| self.divide());
        }
    }

    /// Removes an entry that `find` returned.
    pub(super) fn remove(&mut self, location: EntryLocation) {
        // The last entry of the chain fills the gap, so all buckets but the last stay full.
        let home = self.home_bucket_mut(location.home);
        if home.next == NO_BUCKET {
            let last = home.take_last();
            home.set(location.at, last);
        } else {
            self.remove_from_chain(location);
        }
        self.len -= 1;
        if self.len < self.base + self.split {
            self.merge();
        }
    }

    fn remove_from_chain(&mut self, location: EntryLocation) {
        let mut previous = BucketRef::Home(location.home);
        let mut index = self.bucket(previous).next;
        while self.overflow[index].next != NO_BUCKET {
            previous = BucketRef::Overflow(index);
            index = self.overflow[index].next;
        }
        let last = self.overflow[index].take_last();
        self.bucket_mut(location.bucket_ref).set(location.at, last);
        if self.overflow[index].len == 0 {
            self.bucket_mut(previous).next = NO_BUCKET;
            self.overflow.remove(index);
        }
    }

    fn home(&self, tag: u32) -> usize {
        let home = tag as usize & (self.base - 1);
        if home < self.split { tag as usize & (2 * self.base - 1) } else { home }
    }

    fn home_bucket(&self, index: usize) -> &Bucket {
        &self.segments[index / BUCKETS_PER_SEGMENT][index % BUCKETS_PER_SEGMENT]
    }

    fn home_bucket_mut(&mut self, index: usize) -> &mut Bucket {
        &mut self.segments[index / BUCKETS_PER_SEGMENT][index % BUCKETS_PER_SEGMENT]
    }

    fn bucket(&self, bucket_ref: BucketRef) -> &Bucket {
        match bucket_ref {
            BucketRef::Home(index) => self.home_bucket(index),
            BucketRef::Overflow(index) => &self.overflow[index],
        }
    }

    fn bucket_mut(&mut self, bucket_ref: BucketRef) -> &mut Bucket {
        match bucket_ref {
            BucketRef::Home(index) => self.home_bucket_mut(index),
            BucketRef::Overflow(index) => &mut self.overflow[index],
        }
    }

    /// Adds an entry at the end of a chain.
    fn push(&mut self, home: usize, tag: u32, value: u32) {
        let bucket = self.home_bucket_mut(home);
        if bucket.add(tag, value) {
            return;
        }
        let mut bucket_ref = BucketRef::Home(home);
        while self.bucket(bucket_ref).next != NO_BUCKET {
            bucket_ref = BucketRef::Overflow(self.bucket(bucket_ref).next);
        }
        if !self.bucket_mut(bucket_ref).add(tag, value) {
            let mut bucket = Bucket::default();
            bucket.add(tag, value);
            self.bucket_mut(bucket_ref).next = self.overflow.insert(bucket);
        }
    }

    /// Adds a bucket: the next undivided one keeps the entries whose next bit is 0, and the new one
    /// gets the others.
    fn divide(&mut self) {
        self.push_bucket();
        let chain = std::mem::take(self.bucket_mut(BucketRef::Home(self.split)));
        self.split += 1;
        if self.split == self.base {
            self.base *= 2;
            self.split = 0;
        }
        self.reinsert(chain);
    }

    /// Removes the last bucket: its entries go back to the bucket that they were divided from.
    fn merge(&mut self) {
        if self.split == 0 {
            if self.base == MIN_BUCKETS {
                return;
            }
            self.base /= 2;
            self.split = self.base;
        }
        self.split -= 1;
        let chain = self.pop_bucket();
        self.reinsert(chain);
    }

    fn reinsert(&mut self, mut chain: Bucket) {
        loop {
            for at in 0..chain.len as usize {
                self.push(self.home(chain.tags[at]), chain.tags[at], chain.values[at]);
            }
            if chain.next == NO_BUCKET {
                return;
            }
            chain = self.overflow.remove(chain.next);
        }
    }

    fn push_bucket(&mut self) {
        if self.segments.last().is_none_or(|last| last.len() == BUCKETS_PER_SEGMENT) {
            self.segments.push(Vec::with_capacity(BUCKETS_PER_SEGMENT));
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

    /// Checks that exactly these entries are found, and that all buckets of a chain but the last
    /// are full.
    fn check(table: &QueueTable, entries: &[(u32, u32)]) {
        assert_eq!(table.len(), entries.len());
        for &(tag, value) in entries {
            let found = table.find(tag, |other| other == value);
            assert_eq!(found.map(|(_, value)| value), Some(value));
            assert!(table.find(tag, |_| false).is_none());
        }
        let mut found = 0;
        for home in 0..table.base + table.split {
            let mut bucket = table.bucket(BucketRef::Home(home));
            found += bucket.len as usize;
            while bucket.next != NO_BUCKET {
                assert_eq!(bucket.len as usize, ENTRIES_PER_BUCKET);
                bucket = table.bucket(BucketRef::Overflow(bucket.next));
                assert_ne!(bucket.len, 0);
                found += bucket.len as usize;
            }
        }
        assert_eq!(found, entries.len());
    }

    proptest! {
        /// With few different tags chains get long, with many they stay short.
        #[test]
        fn finds_every_entry_from_its_insertion_to_its_removal(
            spread in prop_oneof![Just(0x1u32), Just(0x3f), Just(0x001f_001f), Just(u32::MAX)],
            seed in any::<u32>(),
            runs in proptest::collection::vec((any::<bool>(), 1..400usize), 1..12),
        ) {
            let mut table = QueueTable::default();
            let mut entries: Vec<(u32, u32)> = Vec::new();
            let mut random = seed | 1;
            let mut next = 0;
            for (grows, count) in runs {
                for _ in 0..count {
                    random = random.wrapping_mul(0x9e37_79b1).rotate_left(13) ^ seed;
                    if grows {
                        next += 1;
                        entries.push((random & spread, next));
                        table.insert(random & spread, next);
                    } else if !entries.is_empty() {
                        let (tag, value) = entries.swap_remove(random as usize % entries.len());
                        let (location, _) = table.find(tag, |other| other == value).unwrap();
                        table.remove(location);
                    }
                }
                check(&table, &entries);
            }
        }
    }

    #[test]
    fn grows_and_shrinks_with_the_number_of_entries() {
        let mut table = QueueTable::default();
        let tag = |value: u32| value.wrapping_mul(0x9e37_79b1);
        for value in 0..100_000 {
            table.insert(tag(value), value);
            assert!(table.base + table.split <= MIN_BUCKETS.max(table.len()));
            assert!(table.base * MAX_AVERAGE_ENTRIES * 5 / 4 >= table.len());
        }
        for value in 0..100_000 {
            let (location, _) = table.find(tag(value), |other| other == value).unwrap();
            table.remove(location);
            assert!(table.base + table.split <= MIN_BUCKETS.max(table.len() + 1));
        }
        assert_eq!((table.base, table.split, table.overflow.len()), (MIN_BUCKETS, 0, 0));
    }
}
