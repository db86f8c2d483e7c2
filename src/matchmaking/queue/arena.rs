//! Numbered places for values, in segments that never move. Pure; owned by the matcher.
//!
//! A growing `Vec` copies everything it holds; a million tickets would stop the matcher for
//! milliseconds. Here growth is one more segment, and what lies in the others stays put.

use std::ops::{Index, IndexMut};

/// Values in one segment, a power of two.
const SEGMENT: usize = 1024;

/// Values that are found by the number they were given. Numbers are used again.
#[derive(Debug)]
pub(super) struct Arena<T> {
    /// All but the last hold [`SEGMENT`] values. A free place holds the default value.
    segments: Vec<Vec<T>>,
    /// The free places before the end of the last segment. A stack of its own, because a list
    /// threaded through the places would cost a cache miss to find the next.
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Arena { segments: Vec::new(), free: Vec::new() }
    }
}

impl<T: Default> Arena<T> {
    /// Places ever used since the arena was last empty.
    fn used(&self) -> usize {
        match self.segments.last() {
            Some(last) => (self.segments.len() - 1) * SEGMENT + last.len(),
            None => 0,
        }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.used() - self.free.len()
    }

    /// The places of the next `count` insertions at most, as far as they have been used before.
    pub(super) fn next_places(&self, count: usize) -> impl Iterator<Item = &T> {
        self.free.iter().rev().take(count).map(|&place| &self[place])
    }

    /// Keeps the value; its number is below 2³¹.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self[place] = value;
            return place;
        }
        let place = self.used();
        assert!(place < 1 << 31, "because each place stands for a session of this process");
        if place == self.segments.len() * SEGMENT {
            self.segments.push(Vec::with_capacity(SEGMENT));
        }
        if let Some(last) = self.segments.last_mut() {
            last.push(value);
        }
        place as u32
    }

    /// Takes out the value with this number, which must be one that `insert` returned.
    ///
    /// Whatever the arena grew to, once it is empty it keeps one segment at most.
    pub(super) fn remove(&mut self, place: u32) -> T {
        let value = std::mem::take(&mut self[place]);
        self.free.push(place);
        if self.len() == 0 {
            self.segments.truncate(1);
            self.segments.shrink_to(1);
            self.segments.iter_mut().for_each(Vec::clear);
            self.free.clear();
            self.free.shrink_to(SEGMENT);
        }
        value
    }

    /// What is in a place that may not even exist; the default value if it is free.
    pub(super) fn get(&self, place: u32) -> Option<&T> {
        self.segments.get(place as usize / SEGMENT)?.get(place as usize % SEGMENT)
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
    fn index(&self, place: u32) -> &T {
        &self.segments[place as usize / SEGMENT][place as usize % SEGMENT]
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    fn index_mut(&mut self, place: u32) -> &mut T {
        &mut self.segments[place as usize / SEGMENT][place as usize % SEGMENT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_good_while_it_grows_and_are_used_again() {
        let mut arena = Arena::default();
        let places: Vec<_> = (0..5_000u32).map(|value| arena.insert(value + 1)).collect();
        for (value, &place) in places.iter().enumerate() {
            assert_eq!(arena[place] as usize, value + 1);
        }
        assert_eq!(arena.remove(places[7]), 8);
        assert_eq!(arena.remove(places[4_999]), 5_000);
        assert_eq!(arena.get(places[7]), Some(&0));
        assert_eq!(arena.get(5_000), None);
        assert_eq!((arena.insert(1), arena.insert(1)), (places[4_999], places[7]));
        assert_eq!((arena.len(), arena.insert(1)), (5_000, 5_000));
    }

    #[test]
    fn an_empty_arena_keeps_one_segment() {
        let mut arena = Arena::default();
        for round in 0..3 {
            let places: Vec<_> = (0..50_000u32).map(|value| arena.insert(value)).collect();
            assert!(places.iter().all(|&place| place < 50_000), "round {round}");
            places.into_iter().for_each(|place| assert_eq!(arena.remove(place), place));
            assert_eq!(arena.len(), 0);
            assert!(arena.retained_bytes() <= 2 * SEGMENT * size_of::<u32>() + 64);
        }
    }
}
