//! Values that are found by index, stored in segments that never move. Pure; owned by the matcher.
//!
//! A growing `Vec` copies everything it holds, which for a million tickets would stop the matcher
//! for milliseconds. An arena grows by one more segment, and its other values stay in place.

use std::ops::{Index, IndexMut};

/// Values in one segment, a power of two.
const SEGMENT: usize = 1024;

/// Values that are found by the index that `insert` returned. Indices are reused.
#[derive(Debug)]
pub(super) struct Arena<T> {
    /// All but the last hold [`SEGMENT`] values. A free element holds the default value.
    segments: Vec<Vec<T>>,
    /// The free indices before the end of the last segment. A separate stack, because a list
    /// threaded through the free elements would cost a cache miss to find the next one.
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Arena { segments: Vec::new(), free: Vec::new() }
    }
}

impl<T: Default> Arena<T> {
    /// Number of elements in the segments, free ones included.
    fn used(&self) -> usize {
        match self.segments.last() {
            Some(last) => (self.segments.len() - 1) * SEGMENT + last.len(),
            None => 0,
        }
    }

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.used() - self.free.len()
    }

    /// The elements that the next `count` insertions will overwrite, as far as they exist already.
    pub(super) fn next_free(&self, count: usize) -> impl Iterator<Item = &T> {
        self.free.iter().rev().take(count).map(|&index| &self[index])
    }

    /// Stores the value and returns its index, which is below 2³¹.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(index) = self.free.pop() {
            self[index] = value;
            return index;
        }
        let index = self.used();
        assert!(index < 1 << 31, "because each value belongs to a session of this process");
        if index == self.segments.len() * SEGMENT {
            self.segments.push(Vec::with_capacity(SEGMENT));
        }
        if let Some(last) = self.segments.last_mut() {
            last.push(value);
        }
        index as u32
    }

    /// Removes the value with this index, which `insert` must have returned.
    ///
    /// However large the arena was, it keeps at most one segment when it becomes empty.
    pub(super) fn remove(&mut self, index: u32) -> T {
        let value = std::mem::take(&mut self[index]);
        self.free.push(index);
        if self.len() == 0 {
            self.segments.truncate(1);
            self.segments.shrink_to(1);
            self.segments.iter_mut().for_each(Vec::clear);
            self.free.clear();
            self.free.shrink_to(SEGMENT);
        }
        value
    }

    /// The element with this index; the default value if it is free, `None` if it never existed.
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.segments.get(index as usize / SEGMENT)?.get(index as usize % SEGMENT)
    }

    /// Bytes that are kept from the allocator.
    #[cfg(test)]
    pub(super) fn retained_bytes(&self) -> usize {
        self.segments.capacity() * size_of::<Vec<T>>()
            + self.segments.iter().map(|segment| segment.capacity() * size_of::<T>()).sum::<usize>()
            + self.free.capacity() * size_of::<u32>()
    }
}

impl<T> Index<u32> for Arena<T> {
    type Output = T;
    fn index(&self, index: u32) -> &T {
        &self.segments[index as usize / SEGMENT][index as usize % SEGMENT]
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.segments[index as usize / SEGMENT][index as usize % SEGMENT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_stay_valid_while_the_arena_grows_and_are_reused() {
        let mut arena = Arena::default();
        let indices: Vec<_> = (0..5_000u32).map(|value| arena.insert(value + 1)).collect();
        for (value, &index) in indices.iter().enumerate() {
            assert_eq!(arena[index] as usize, value + 1);
        }
        assert_eq!(arena.remove(indices[7]), 8);
        assert_eq!(arena.remove(indices[4_999]), 5_000);
        assert_eq!(arena.get(indices[7]), Some(&0));
        assert_eq!(arena.get(5_000), None);
        assert_eq!((arena.insert(1), arena.insert(1)), (indices[4_999], indices[7]));
        assert_eq!((arena.len(), arena.insert(1)), (5_000, 5_000));
    }

    #[test]
    fn keeps_one_segment_when_it_becomes_empty() {
        let mut arena = Arena::default();
        for round in 0..3 {
            let indices: Vec<_> = (0..50_000u32).map(|value| arena.insert(value)).collect();
            assert!(indices.iter().all(|&index| index < 50_000), "round {round}");
            indices.into_iter().for_each(|index| assert_eq!(arena.remove(index), index));
            assert_eq!(arena.len(), 0);
            assert!(arena.retained_bytes() <= 2 * SEGMENT * size_of::<u32>() + 64);
        }
    }
}
