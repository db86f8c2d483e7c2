//! How long a user has to wait in a queue, estimated from the rooms that were made of it. Pure.
//!
//! Each shard counts, for the queues of `--stats-queue` and for `default`, its rooms and the longer
//! of the two waits that ended with each (`RoomWaits`): the shorter one is zero whenever a user
//! comes into a queue in which another waits, and says nothing about a user who has to wait. Once a
//! second the main thread sums them over all shards and updates one [`WaitEstimator`] per queue, so
//! the work for each room is constant, and users who are spread over many shards count together.

use super::counter::{Counter, Gauge};
use super::{Telemetry, known};
use crate::limits;
use crate::timestamp::Timestamp;
use std::time::Duration;

/// The rooms that a shard made of the sessions of one queue. Only that shard's thread writes it.
#[derive(Debug, Default)]
pub struct RoomWaits {
    rooms: Counter,
    wait_nanos: Counter,
}

impl RoomWaits {
    /// Owner only: counts a room whose members waited at most `longer_wait`.
    #[inline]
    pub fn count_room(&self, longer_wait: Duration) {
        self.rooms.increment();
        self.wait_nanos.add(u64::try_from(longer_wait.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The totals now; any thread.
    pub fn read(&self) -> RoomWaitTotals {
        RoomWaitTotals { rooms: self.rooms.get(), wait_nanos: self.wait_nanos.get() }
    }
}

/// Rooms, and the sum of the longer wait that ended with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomWaitTotals {
    /// The number of rooms since the start.
    pub rooms: u64,
    /// The sum of the longer waits, in nanoseconds; wraps.
    pub wait_nanos: u64,
}

/// The estimate for one queue: the mean of the longer waits of recent rooms, in which the weight of
/// a room halves with every [`limits::EXPECTED_WAIT_HALF_LIFE`], but never less than the time since
/// the last room, because a user who comes after a quiet time has to expect that it goes on.
#[derive(Debug, Default)]
pub struct WaitEstimator {
    last_totals: RoomWaitTotals,
    last_update: Timestamp,
    last_room: Option<Timestamp>,
    weight: f64,
    weighted_seconds: f64,
}

impl WaitEstimator {
    /// Takes the totals of all shards at the time `now`, and returns the estimate. There is none
    /// before the first room, and after [`limits::EXPECTED_WAIT_MEMORY`] without a room. It is at
    /// most [`limits::MAX_EXPECTED_WAIT`].
    pub fn update(&mut self, totals: RoomWaitTotals, now: Timestamp) -> Option<Duration> {
        let half_lives = now.since(self.last_update).as_secs_f64()
            / limits::EXPECTED_WAIT_HALF_LIFE.as_secs_f64();
        let remaining = (-half_lives).exp2();
        let rooms = totals.rooms.wrapping_sub(self.last_totals.rooms);
        let wait_nanos = totals.wait_nanos.wrapping_sub(self.last_totals.wait_nanos);
        self.weight = self.weight * remaining + rooms as f64;
        self.weighted_seconds = self.weighted_seconds * remaining + wait_nanos as f64 / 1e9;
        (self.last_totals, self.last_update) = (totals, now);
        if rooms > 0 {
            self.last_room = Some(now);
        }
        let quiet = now.since(self.last_room?);
        if quiet > limits::EXPECTED_WAIT_MEMORY {
            *self = WaitEstimator { last_totals: totals, last_update: now, ..Self::default() };
            return None;
        }
        let longest = limits::MAX_EXPECTED_WAIT;
        let seconds = (self.weighted_seconds / self.weight).min(longest.as_secs_f64());
        let mean = Duration::try_from_secs_f64(seconds).unwrap_or(longest);
        Some(mean.max(quiet).min(longest))
    }
}

/// The last estimates, for any thread to read. Only the [`super::Sampler`] writes them.
#[derive(Debug)]
pub struct ExpectedWaits(Vec<Gauge>);

impl ExpectedWaits {
    /// Without an estimate for any of `queues` queues.
    pub(super) fn unknown(queues: usize) -> Self {
        ExpectedWaits((0..queues).map(|_| Gauge::at(-1)).collect())
    }

    /// The estimate for a queue, by its index in [`super::ShardCounters::room_waits`], if there is
    /// one; in whole milliseconds.
    pub fn of_queue(&self, index: usize) -> Option<Duration> {
        Some(Duration::from_millis(known(self.0.get(index)?)?))
    }

    fn set(&self, index: usize, estimate: Option<Duration>) {
        let millis = estimate.and_then(|wait| i64::try_from(wait.as_millis()).ok());
        self.0[index].set(millis.unwrap_or(-1));
    }
}

/// Updates the estimators with the totals of all shards, and stores the estimates.
pub(super) fn update_all(
    estimators: &mut Vec<WaitEstimator>,
    telemetry: &Telemetry,
    now: Timestamp,
) {
    let expected = &telemetry.sample.expected_waits;
    estimators.resize_with(expected.0.len(), WaitEstimator::default);
    for (index, estimator) in estimators.iter_mut().enumerate() {
        let mut sum = RoomWaitTotals::default();
        for shard in &telemetry.shards {
            let of_shard = shard.room_waits[index].read();
            sum.rooms = sum.rooms.wrapping_add(of_shard.rooms);
            sum.wait_nanos = sum.wait_nanos.wrapping_add(of_shard.wait_nanos);
        }
        expected.set(index, estimator.update(sum, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An estimator, its totals so far and the time.
    #[derive(Default)]
    struct Rig {
        estimator: WaitEstimator,
        totals: RoomWaitTotals,
        now: Timestamp,
    }

    impl Rig {
        /// The estimate after `seconds` in which rooms with these longer waits, in milliseconds,
        /// were made.
        fn after(&mut self, seconds: u64, waits_ms: &[u64]) -> Option<Duration> {
            self.now = self.now + Duration::from_secs(seconds);
            self.totals.rooms += waits_ms.len() as u64;
            self.totals.wait_nanos += waits_ms.iter().sum::<u64>() * 1_000_000;
            self.estimator.update(self.totals, self.now)
        }
    }

    const fn ms(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    #[test]
    fn knows_nothing_before_the_first_room() {
        let mut rig = Rig::default();
        assert_eq!(rig.after(0, &[]), None);
        assert_eq!(rig.after(3600, &[]), None);
        assert_eq!(rig.after(1, &[250]), ms(250));
    }

    #[test]
    fn is_the_mean_of_the_longer_waits() {
        assert_eq!(Rig::default().after(1, &[1000, 2000, 6000]), ms(3000));
    }

    #[test]
    fn halves_the_weight_of_a_room_with_every_half_life() {
        let mut rig = Rig::default();
        rig.after(1, &[8000, 8000]);
        assert_eq!(rig.after(limits::EXPECTED_WAIT_HALF_LIFE.as_secs(), &[2000]), ms(5000));
    }

    #[test]
    fn is_at_least_the_time_since_the_last_room() {
        let mut rig = Rig::default();
        rig.after(1, &[2000]);
        assert_eq!(rig.after(1, &[]), ms(2000));
        assert_eq!(rig.after(40, &[]), ms(41_000));
        let memory = limits::EXPECTED_WAIT_MEMORY;
        assert_eq!(rig.after(memory.as_secs() - 41, &[]), Some(memory));
        assert_eq!(rig.after(1, &[]), None, "longer ago than the memory");
        assert_eq!(rig.after(1, &[]), None);
        assert_eq!(rig.after(1, &[700]), ms(700), "what was forgotten has no weight");
    }

    #[test]
    fn has_no_estimate_at_an_index_without_a_queue() {
        let waits = ExpectedWaits::unknown(2);
        waits.set(1, ms(40));
        assert_eq!([0, 1, 2].map(|index| waits.of_queue(index)), [None, ms(40), None]);
    }

    proptest! {
        #[test]
        fn is_bounded_by_the_waits_and_the_quiet_time(
            steps in proptest::collection::vec((0_u64..900, proptest::collection::vec(0_u64..1 << 32, 0..4)), 1..40),
        ) {
            let mut rig = Rig::default();
            let mut longest_ms = 0;
            for (seconds, waits_ms) in steps {
                longest_ms = waits_ms.iter().copied().fold(longest_ms, u64::max);
                let Some(estimate) = rig.after(seconds, &waits_ms) else { continue };
                prop_assert!(estimate <= limits::MAX_EXPECTED_WAIT);
                // A millisecond for rounding.
                let longest_wait = Duration::from_millis(longest_ms + 1);
                prop_assert!(estimate <= longest_wait.max(limits::EXPECTED_WAIT_MEMORY));
            }
        }
    }
}
