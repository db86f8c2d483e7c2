//! Which of a sender's messages have come: tells lost, duplicated and reordered apart in
//! twenty bytes. Pure.

/// What the arrival of a message means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceStatus {
    /// The next one, or one after a gap.
    New,
    /// One that had been missing: it came after a later one.
    Reordered,
    /// One that had come before.
    Duplicated,
}

/// The sequence numbers of one sender's messages in one room, as they arrive.
#[derive(Clone, Copy, Debug)]
pub struct SequenceTracker {
    /// One above the highest number that has come.
    next: u32,
    /// Bit *i*: whether number `next - 1 - i` has come. Numbers below zero "have".
    window: u64,
    /// Missing numbers that fell out of the window.
    out_of_sight: u32,
    /// Messages that came but could not be read; each explains one missing number.
    unreadable: u32,
}

impl Default for SequenceTracker {
    fn default() -> Self {
        SequenceTracker { next: 0, window: u64::MAX, out_of_sight: 0, unreadable: 0 }
    }
}

impl SequenceTracker {
    /// Number `sequence` has come.
    pub fn take(&mut self, sequence: u32) -> SequenceStatus {
        if sequence >= self.next {
            let shift = sequence - self.next + 1;
            self.out_of_sight += self.missing_shifted_out(shift);
            self.window = self.window.checked_shl(shift).unwrap_or(0) | 1;
            self.next = sequence + 1;
            return SequenceStatus::New;
        }
        let age = self.next - 1 - sequence;
        if age >= u64::BITS {
            // Too old to know; if any that old is missing, it is taken for that one.
            if self.out_of_sight == 0 {
                return SequenceStatus::Duplicated;
            }
            self.out_of_sight -= 1;
            return SequenceStatus::Reordered;
        }
        let bit = 1 << age;
        if self.window & bit != 0 {
            return SequenceStatus::Duplicated;
        }
        self.window |= bit;
        SequenceStatus::Reordered
    }

    /// How many unset bits leave the window when it moves by `shift`.
    fn missing_shifted_out(&self, shift: u32) -> u32 {
        if shift >= u64::BITS {
            // All 64, and the new numbers that never were in the window.
            return self.window.count_zeros() + (shift - u64::BITS);
        }
        (!self.window >> (u64::BITS - shift)).count_ones()
    }

    /// A message came whose number cannot be trusted.
    pub fn take_unreadable(&mut self) {
        self.unreadable += 1;
    }

    /// How many are missing so far, below the highest that has come.
    pub fn missing(&self) -> u32 {
        (self.out_of_sight + self.window.count_zeros()).saturating_sub(self.unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn each_fault_is_told_from_the_others() {
        let mut r = SequenceTracker::default();
        assert_eq!([0, 1, 2].map(|n| r.take(n)), [SequenceStatus::New; 3]);
        assert_eq!(r.take(4), SequenceStatus::New);
        assert_eq!(r.missing(), 1);
        assert_eq!(r.take(3), SequenceStatus::Reordered);
        assert_eq!(r.missing(), 0);
        assert_eq!(r.take(3), SequenceStatus::Duplicated);
        assert_eq!(r.take(4), SequenceStatus::Duplicated);
    }

    #[test]
    fn a_corrupted_message_is_not_lost_as_well() {
        let mut r = SequenceTracker::default();
        r.take(0);
        r.take_unreadable();
        r.take(2);
        assert_eq!(r.missing(), 0);
        r.take(4);
        assert_eq!(r.missing(), 1);
    }

    #[test]
    fn a_gap_wider_than_the_window_is_counted_in_full() {
        let mut r = SequenceTracker::default();
        r.take(0);
        r.take(1000);
        assert_eq!(r.missing(), 999);
        r.take(2000);
        assert_eq!(r.missing(), 1998);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_as_long_as_the_window_suffices(
            jumps in prop::collection::vec((0u32..4, 0u32..30), 1..300),
        ) {
            let (mut receipts, mut seen, mut front) = (SequenceTracker::default(), HashSet::new(), 0u32);
            for (ahead, back) in jumps {
                let number = (front + ahead).saturating_sub(if ahead == 0 { back } else { 0 });
                let expected = match (seen.insert(number), seen.iter().max() == Some(&number)) {
                    (false, _) => SequenceStatus::Duplicated,
                    (true, true) => SequenceStatus::New,
                    (true, false) => SequenceStatus::Reordered,
                };
                prop_assert_eq!(receipts.take(number), expected);
                front = front.max(number + 1);
                prop_assert_eq!(receipts.missing() as usize, front as usize - seen.len());
            }
        }
    }
}
