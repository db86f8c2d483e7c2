//! Planned start times of events at a rate, fixed before the run begins. Pure.

use crate::load::rng::Rng;
use crate::load::units::{ArrivalPattern, RatePhase};
use crate::timestamp::Timestamp;

/// The planned times of all events at the rates of a sequence of phases. With several threads each
/// takes its own share of them.
#[derive(Clone, Debug)]
pub(super) struct RateSchedule {
    phases: Vec<RatePhase>,
    phase_begins: Timestamp,
    /// Number of the next event in the phase.
    next: u64,
    step: u64,
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
    /// Share number `share` of `shares` of the events of all `phases`.
    pub(super) fn new(
        phases: Vec<RatePhase>,
        pattern: ArrivalPattern,
        seed: u64,
        share: u64,
        shares: u64,
    ) -> Self {
        let count = phases.first().map_or(0, RatePhase::count);
        let random = match pattern {
            ArrivalPattern::Even => None,
            ArrivalPattern::Poisson => Some(RandomTimes::new(seed, count)),
        };
        RateSchedule { phases, phase_begins: Timestamp::ZERO, next: share, step: shares, random }
    }

    /// The planned time of the next event; `None` after the last one.
    pub(super) fn peek(&mut self) -> Option<Timestamp> {
        while let Some(phase) = self.phases.first() {
            let count = phase.count();
            if self.next < count {
                let events = match &mut self.random {
                    None => self.next as f64,
                    Some(random) => random.position_of(self.next, count) * count as f64,
                };
                return Some(self.phase_begins + phase.time_of(events));
            }
            if let Some(random) = &mut self.random {
                // All threads draw as many numbers for a phase.
                random.position_of(count.saturating_sub(1), count);
                let next_count = self.phases.get(1).map_or(0, RatePhase::count);
                random.begin_phase(next_count);
            }
            self.next -= count;
            self.phase_begins = self.phase_begins + phase.lasting;
            self.phases.remove(0);
        }
        None
    }

    /// Moves on to the event after the next one.
    pub(super) fn advance(&mut self) {
        self.next += self.step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn times(phases: &[RatePhase], pattern: ArrivalPattern, share: u64, shares: u64) -> Vec<u64> {
        let mut schedule = RateSchedule::new(phases.to_vec(), pattern, 7, share, shares);
        let mut times = Vec::new();
        while let Some(at) = schedule.peek() {
            times.push(at.as_nanos() / 1_000_000);
            schedule.advance();
        }
        times
    }

    fn times_ms(phases: &[RatePhase], share: u64, shares: u64) -> Vec<u64> {
        times(phases, ArrivalPattern::Even, share, shares)
    }

    const PHASES: [RatePhase; 2] = [
        RatePhase::constant(10.0, Duration::from_millis(300)),
        RatePhase::constant(100.0, Duration::from_millis(40)),
    ];

    #[test]
    fn phases_follow_each_other_without_a_gap() {
        assert_eq!(times_ms(&PHASES, 0, 1), [0, 100, 200, 300, 310, 320, 330]);
    }

    #[test]
    fn the_shares_of_all_threads_are_the_whole_schedule() {
        for pattern in [ArrivalPattern::Even, ArrivalPattern::Poisson] {
            let shares = (0..3).flat_map(|share| times(&PHASES, pattern, share, 3));
            let mut joined: Vec<u64> = shares.collect();
            joined.sort_unstable();
            assert_eq!(joined, times(&PHASES, pattern, 0, 1), "{pattern}");
        }
    }

    #[test]
    fn events_of_a_ramp_become_denser() {
        let ramp: RatePhase = "0/s..100/s for 1s".parse().unwrap();
        let times = times_ms(&[ramp], 0, 1);
        assert_eq!((times.len(), times[0]), (50, 0));
        let before = |limit: u64| times.iter().filter(|at| **at < limit).count();
        assert_eq!((before(500), before(1000)), (13, 50));
    }

    /// The gaps of a Poisson process are distributed exponentially: their standard deviation is
    /// their mean, and 1/e of them are longer than it.
    #[test]
    fn poisson_arrivals_are_random_repeatable_and_as_many_as_even_ones() {
        let phases = [RatePhase::constant(1.0, Duration::from_secs(20_000))];
        let random = times(&phases, ArrivalPattern::Poisson, 0, 1);
        assert_eq!(random.len(), 20_000);
        assert_eq!(random, times(&phases, ArrivalPattern::Poisson, 0, 1), "the seed repeats them");
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
