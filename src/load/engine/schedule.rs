//! Planned start times of events at a rate, fixed before the run begins. Pure.

use crate::load::units::RatePhase;
use crate::timestamp::Timestamp;
use std::time::Duration;

/// The planned times of all events at the rates of a sequence of phases. With several threads each
/// takes its own share of them.
#[derive(Clone, Debug)]
pub(super) struct RateSchedule {
    phases: Vec<RatePhase>,
    phase_begins: Timestamp,
    /// Number of the next event in the phase.
    next: u64,
    step: u64,
}

impl RateSchedule {
    /// Share number `share` of `shares` of the events of all `phases`.
    pub(super) fn new(phases: Vec<RatePhase>, share: u64, shares: u64) -> Self {
        RateSchedule { phases, phase_begins: Timestamp::ZERO, next: share, step: shares }
    }

    /// The planned time of the next event; `None` after the last one.
    pub(super) fn peek(&mut self) -> Option<Timestamp> {
        while let Some(phase) = self.phases.first() {
            if self.next < phase.count() {
                let after = Duration::from_secs_f64(self.next as f64 / phase.per_second);
                return Some(self.phase_begins + after);
            }
            self.next -= phase.count();
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

    fn times_ms(phases: &[RatePhase], share: u64, shares: u64) -> Vec<u64> {
        let mut schedule = RateSchedule::new(phases.to_vec(), share, shares);
        let mut times = Vec::new();
        while let Some(at) = schedule.peek() {
            times.push(at.as_nanos() / 1_000_000);
            schedule.advance();
        }
        times
    }

    const PHASES: [RatePhase; 2] = [
        RatePhase { per_second: 10.0, lasting: Duration::from_millis(300) },
        RatePhase { per_second: 100.0, lasting: Duration::from_millis(40) },
    ];

    #[test]
    fn phases_follow_each_other_without_a_gap() {
        assert_eq!(times_ms(&PHASES, 0, 1), [0, 100, 200, 300, 310, 320, 330]);
    }

    #[test]
    fn the_shares_of_all_threads_are_the_whole_schedule() {
        let mut joined: Vec<u64> = (0..3).flat_map(|share| times_ms(&PHASES, share, 3)).collect();
        joined.sort_unstable();
        assert_eq!(joined, times_ms(&PHASES, 0, 1));
    }
}
