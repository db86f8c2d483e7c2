//! Which events of a schedule belong to which thread of which generator. Pure.

use super::Workload;
use serde::{Deserialize, Serialize};

/// One of several generators that share a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratorShare {
    /// Number of the generator, counted from 0.
    pub index: u16,
    /// Number of generators, at least 1.
    pub of: u16,
}

impl GeneratorShare {
    /// The share of the only generator.
    pub const WHOLE: GeneratorShare = GeneratorShare { index: 0, of: 1 };

    /// The number, in the whole schedule, of this generator's event number `own`. The generators take
    /// pairs of events in turn, so that each has an even number of users if all of them together are
    /// an even number: they are matched among themselves.
    pub fn number_of(self, own: u64) -> u64 {
        let (index, of) = (u64::from(self.index), u64::from(self.of));
        own / 2 * 2 * of + 2 * index + own % 2
    }
}

/// The share of one thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct ThreadShare {
    generator: GeneratorShare,
    thread: u64,
    threads: u64,
}

impl ThreadShare {
    pub(super) fn new(workload: &Workload, thread: u16) -> Self {
        ThreadShare {
            generator: workload.share,
            thread: thread.into(),
            threads: workload.threads.max(1).into(),
        }
    }

    /// The number, among the events of this generator, of the thread's event number `nth`.
    pub(super) fn own_number(&self, nth: u64) -> u64 {
        nth * self.threads + self.thread
    }

    /// The number, in the whole schedule, of the thread's event number `nth`.
    pub(super) fn number(&self, nth: u64) -> u64 {
        self.generator.number_of(self.own_number(nth))
    }

    /// Number of the thread among those of all generators.
    pub(super) fn index(&self) -> u64 {
        u64::from(self.generator.index) * self.threads + self.thread
    }

    /// Number of threads of all generators.
    pub(super) fn count(&self) -> u64 {
        u64::from(self.generator.of) * self.threads
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The share of thread number `thread` of `threads` of one of several generators.
    pub(in crate::load::engine) fn share(
        generator: GeneratorShare,
        thread: u64,
        threads: u64,
    ) -> ThreadShare {
        ThreadShare { generator, thread, threads }
    }

    #[test]
    fn a_single_generator_has_all_events() {
        let numbers: Vec<u64> = (0..9).map(|own| GeneratorShare::WHOLE.number_of(own)).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn generators_take_pairs_of_events_in_turn() {
        let numbers = |index| -> Vec<u64> {
            (0..5).map(|own| GeneratorShare { index, of: 3 }.number_of(own)).collect()
        };
        assert_eq!(numbers(0), [0, 1, 6, 7, 12]);
        assert_eq!(numbers(2), [4, 5, 10, 11, 16]);
    }

    #[test]
    fn threads_of_several_generators_have_numbers_of_their_own() {
        let mut numbers = Vec::new();
        for index in 0..3 {
            for thread in 0..2 {
                let share = share(GeneratorShare { index, of: 3 }, thread, 2);
                assert_eq!(share.count(), 6);
                numbers.push(share.index());
            }
        }
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    }
}
