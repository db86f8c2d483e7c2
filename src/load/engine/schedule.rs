//! Planned start times of events at a rate, fixed before the run begins. Pure.

use super::share::ThreadShare;
use crate::load::rng::Rng;
use crate::load::units::{ArrivalPattern, RatePhase};
use crate::timestamp::Timestamp;

/// The planned times of all events at the rates of a sequence of phases. With several threads or
/// generators each thread takes its own share of them.
#[derive(Clone, Debug)]
pub(super) struct RateSchedule {
    phases: Vec<RatePhase>,
    phase_begins: Timestamp,
    /// Number of events in the phases that have ended.
    before: u64,
    /// Number of the next event in this share.
    nth: u64,
    share: ThreadShare,
    random: Option<RandomTimes>,
}

/// The times of a Poisson process with a given number of events: those of independent users. Every
/// thread computes the times of all events and takes its share of them.
#[derive(Clone, Debug)]
struct RandomTimes {
    rng: Rng,
    /// Number of the event in the phase to which `position` belongs.
    number: u64,
    /// Its place among the even distances of the phase, from 0 to 1.
    position: f64,
}

impl RandomTimes {
    /// Before the first of `count` events.
    fn new(seed: u64, count: u64) -> Self {
        /// Differs from the streams of users and threads.
        const STREAM: u64 = 1 << 62;
        let mut times = RandomTimes { rng: Rng::new(seed, STREAM), number: 0, position: 0.0 };
        times.begin_phase(count);
        times
    }

    /// Starts before the first of `count` events.
    fn begin_phase(&mut self, count: u64) {
        (self.number, self.position) = (0, 0.0);
        self.draw(count);
    }

    /// Moves from the event before to event `self.number` of `count`. The smallest of n independent
    /// uniform positions in the rest of the phase is 1 − u^(1/n) of it.
    fn draw(&mut self, count: u64) {
        let left = count.saturating_sub(self.number).max(1) as f64;
        let share = 1.0 - (1.0 - self.rng.next_fraction()).powf(1.0 / left);
        self.position += (1.0 - self.position) * share;
    }

    /// The position of event `number` of `count`, which is not before the last one.
    fn position_of(&mut self, number: u64, count: u64) -> f64 {
        while self.number < number {
            self.number += 1;
            self.draw(count);
        }
        self.position
    }
}

impl RateSchedule {
    /// One thread's share of the events of all `phases`.
    pub(super) fn new(
        phases: Vec<RatePhase>,
        pattern: ArrivalPattern,
        seed: u64,
        share: ThreadShare,
    ) -> Self {
        let count = phases.first().map_or(0, RatePhase::count);
        let random = match pattern {
            ArrivalPattern::Even => None,
            ArrivalPattern::Poisson => Some(RandomTimes::new(seed, count)),
        };
        let phase_begins = Timestamp::ZERO;
        RateSchedule { phases, phase_begins, before: 0, nth: 0, share, random }
    }

    /// The planned time of the next event; `None` after the last one.
    pub(super) fn peek(&mut self) -> Option<Timestamp> {
        while let Some(phase) = self.phases.first() {
            let count = phase.count();
            let next = self.share.number(self.nth) - self.before;
            if next < count {
                let events = match &mut self.random {
                    None => next as f64,
                    Some(random) => random.position_of(next, count) * count as f64,
                };
                return Some(self.phase_begins + phase.time_of(events));
            }
            if let Some(random) = &mut self.random {
                // All threads draw as many numbers for a phase.
                random.position_of(count.saturating_sub(1), count);
                let next_count = self.phases.get(1).map_or(0, RatePhase::count);
                random.begin_phase(next_count);
            }
            self.before += count;
            self.phase_begins = self.phase_begins + phase.lasting;
            self.phases.remove(0);
        }
        None
    }

    /// Moves on to the event after the next one.
    pub(super) fn advance(&mut self) {
        self.nth += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::share::GeneratorShare;
    use super::super::share::tests::share;
    use super::*;
    use std::time::Duration;

    fn times(phases: &[RatePhase], pattern: ArrivalPattern, share: ThreadShare) -> Vec<u64> {
        let mut schedule = RateSchedule::new(phases.to_vec(), pattern, 7, share);
        let mut times = Vec::new();
        while let Some(at) = schedule.peek() {
            times.push(at.as_nanos() / 1_000_000);
            schedule.advance();
        }
        times
    }

    fn times_ms(phases: &[RatePhase], share: ThreadShare) -> Vec<u64> {
        times(phases, ArrivalPattern::Even, share)
    }

    /// The share of the only thread.
    fn whole() -> ThreadShare {
        share(GeneratorShare::WHOLE, 0, 1)
    }

    const PHASES: [RatePhase; 2] = [
        RatePhase::constant(10.0, Duration::from_millis(300)),
        RatePhase::constant(100.0, Duration::from_millis(40)),
    ];

    #[test]
    fn phases_follow_each_other_without_a_gap() {
        let whole = times_ms(&PHASES, whole());
        assert_eq!(whole, [0, 100, 200, 300, 310, 320, 330]);
    }

    #[test]
    fn the_shares_of_all_threads_and_generators_are_the_whole_schedule() {
        let long = [RatePhase::constant(7.0, Duration::from_secs(5))];
        let patterns = [ArrivalPattern::Even, ArrivalPattern::Poisson];
        for phases in [&PHASES[..], &long, &[&long[..], &PHASES].concat()] {
            for pattern in patterns {
                let whole = times(phases, pattern, whole());
                for (of, threads) in [(1, 3), (2, 1), (2, 3), (3, 2), (5, 4)] {
                    let mut joined: Vec<u64> = (0..of)
                        .flat_map(|index| (0..threads).map(move |thread| (index, thread)))
                        .map(|(index, thread)| share(GeneratorShare { index, of }, thread, threads))
                        .flat_map(|share| times(phases, pattern, share))
                        .collect();
                    joined.sort_unstable();
                    assert_eq!(joined, whole, "{pattern}: {of} generators, {threads} threads");
                }
            }
        }
    }

    /// Otherwise one user of a generator would never have a partner.
    #[test]
    fn the_share_of_a_generator_is_an_even_number_of_users_if_all_users_are() {
        let users = [RatePhase::constant(10.0, Duration::from_secs(1))];
        let counts: Vec<usize> = (0..3)
            .map(|index| times_ms(&users, share(GeneratorShare { index, of: 3 }, 0, 1)).len())
            .collect();
        assert_eq!(counts, [4, 4, 2]);
    }

    #[test]
    fn events_of_a_ramp_become_denser() {
        let ramp: RatePhase = "0/s..100/s for 1s".parse().unwrap();
        let times = times_ms(&[ramp], whole());
        assert_eq!((times.len(), times[0]), (50, 0));
        let before = |limit: u64| times.iter().filter(|at| **at < limit).count();
        assert_eq!((before(500), before(1000)), (13, 50));
    }

    /// The gaps of a Poisson process are distributed exponentially: their standard deviation is
    /// their mean, and 1/e of them are longer than it.
    #[test]
    fn poisson_arrivals_are_random_repeatable_and_as_many_as_even_ones() {
        let phases = [RatePhase::constant(1.0, Duration::from_secs(20_000))];
        let random = times(&phases, ArrivalPattern::Poisson, whole());
        assert_eq!(random.len(), 20_000);
        assert_eq!(
            random,
            times(&phases, ArrivalPattern::Poisson, whole()),
            "the seed repeats them"
        );
        let gaps: Vec<f64> =
            random.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1000.0).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let squares = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>();
        let deviation = (squares / gaps.len() as f64).sqrt();
        let longer = gaps.iter().filter(|gap| **gap > mean).count() as f64 / gaps.len() as f64;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!((deviation - 1.0).abs() < 0.05, "{deviation}");
        assert!((longer - (-1.0f64).exp()).abs() < 0.02, "{longer}");
    }
}
