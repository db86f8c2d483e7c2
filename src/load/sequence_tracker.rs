//! Tracks the sequence numbers of a sender's messages: distinguishes lost, duplicated and
//! reordered messages in twenty bytes. Pure.

/// What the arrival of a sequence number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceStatus {
    /// Higher than all before: the next number, or one after a gap.
    New,
    /// A missing number that arrived after a higher one.
    Reordered,
    /// A number that has arrived before.
    Duplicated,
}

/// The sequence numbers of one sender's messages in one room, as they arrive.
#[derive(Clone, Copy, Debug)]
pub struct SequenceTracker {
    /// One above the highest number that has arrived.
    next: u32,
    /// Bit *i*: whether number `next - 1 - i` has arrived. Numbers below zero count as arrived.
    window: u64,
    /// Missing numbers that are too old for the window.
    missing_before_window: u32,
    /// Messages that arrived but could not be read; each accounts for one missing number.
    unreadable: u32,
}

impl Default for SequenceTracker {
    fn default() -> Self {
        SequenceTracker { next: 0, window: u64::MAX, missing_before_window: 0, unreadable: 0 }
    }
}

impl SequenceTracker {
    /// Records the arrival of number `sequence`.
    pub fn record(&mut self, sequence: u32) -> SequenceStatus {
        if sequence >= self.next {
            let shift = sequence - self.next + 1;
            self.missing_before_window += self.missing_shifted_out(shift);
            self.window = self.window.checked_shl(shift).unwrap_or(0) | 1;
            self.next = sequence + 1;
            return SequenceStatus::New;
        }
        let age = self.next - 1 - sequence;
        if age >= u64::BITS {
            // Outside the window: assumed to be one of the missing numbers, if there are any.
            if self.missing_before_window == 0 {
                return SequenceStatus::Duplicated;
            }
            self.missing_before_window -= 1;
            return SequenceStatus::Reordered;
        }
        let bit = 1 << age;
        if self.window & bit != 0 {
            return SequenceStatus::Duplicated;
        }
        self.window |= bit;
        SequenceStatus::Reordered
    }

    /// Number of missing messages that leave the window when it moves by `shift`.
    fn missing_shifted_out(&self, shift: u32) -> u32 {
        if shift >= u64::BITS {
            // The whole window, and the new numbers that are skipped past it.
            return self.window.count_zeros() + (shift - u64::BITS);
        }
        (!self.window >> (u64::BITS - shift)).count_ones()
    }

    /// Records a message with an unreliable sequence number.
    pub fn record_unreadable(&mut self) {
        self.unreadable += 1;
    }

    /// Whether nothing has arrived.
    pub fn is_empty(&self) -> bool {
        self.next == 0 && self.unreadable == 0
    }

    /// One above the highest number that has arrived.
    pub fn received_up_to(&self) -> u32 {
        self.next
    }

    /// Number of messages missing so far, below the highest number that has arrived.
    pub fn missing(&self) -> u32 {
        (self.missing_before_window + self.window.count_zeros()).saturating_sub(self.unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn distinguishes_new_reordered_and_duplicated_messages() {
        let mut tracker = SequenceTracker::default();
        assert_eq!([0, 1, 2].map(|n| tracker.record(n)), [SequenceStatus::New; 3]);
        assert_eq!(tracker.record(4), SequenceStatus::New);
        assert_eq!(tracker.missing(), 1);
        assert_eq!(tracker.record(3), SequenceStatus::Reordered);
        assert_eq!(tracker.missing(), 0);
        assert_eq!(tracker.record(3), SequenceStatus::Duplicated);
        assert_eq!(tracker.record(4), SequenceStatus::Duplicated);
    }

    #[test]
    fn a_corrupted_message_does_not_also_count_as_lost() {
        let mut tracker = SequenceTracker::default();
        tracker.record(0);
        tracker.record_unreadable();
        tracker.record(2);
        assert_eq!(tracker.missing(), 0);
        tracker.record(4);
        assert_eq!(tracker.missing(), 1);
    }

    #[test]
    fn counts_every_message_of_a_gap_wider_than_the_window() {
        let mut tracker = SequenceTracker::default();
        tracker.record(0);
        tracker.record(1000);
        assert_eq!(tracker.missing(), 999);
        tracker.record(2000);
        assert_eq!(tracker.missing(), 1998);
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_all_numbers_within_the_window(
            jumps in prop::collection::vec((0u32..4, 0u32..30), 1..300),
        ) {
            let mut tracker = SequenceTracker::default();
            let (mut seen, mut front) = (HashSet::new(), 0u32);
            for (ahead, back) in jumps {
                let number = (front + ahead).saturating_sub(if ahead == 0 { back } else { 0 });
                let expected = match (seen.insert(number), seen.iter().max() == Some(&number)) {
                    (false, _) => SequenceStatus::Duplicated,
                    (true, true) => SequenceStatus::New,
                    (true, false) => SequenceStatus::Reordered,
                };
                prop_assert_eq!(tracker.record(number), expected);
                front = front.max(number + 1);
                prop_assert_eq!(tracker.missing() as usize, front as usize - seen.len());
            }
        }
    }
}
