//! The rate of matches: token buckets that hold a quarter of a minute. Pure.
//!
//! A bucket is stored as the time at which it will be full again (the generic cell rate algorithm,
//! ITU-T I.371, annex A): an address that has ended no room lately needs no storage. The
//! token of a match is taken when its room ends, so more tokens can be taken from the bucket of an
//! address with many sessions than it held. The next match of the address is allowed later then, but
//! after a minute at the latest.

use crate::limits::{ADDRESS_PARTITIONS, TRACKED_ADDRESSES};
use crate::timestamp::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

/// The time in which as many tokens come back as the limit says, and the longest time for which a
/// client has to wait for its next match.
const MINUTE: Duration = Duration::from_secs(60);

/// A limit of matches per minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchRate {
    /// The time in which one token comes back.
    cost: Duration,
    /// The time in which an empty bucket fills.
    capacity: Duration,
}

impl MatchRate {
    /// `per_minute` tokens come back in a minute. The bucket holds a quarter of them, at least one.
    pub fn new(per_minute: NonZeroU32) -> Self {
        let cost = MINUTE / per_minute.get();
        MatchRate { cost, capacity: cost * (per_minute.get() / 4).max(1) }
    }

    /// How long it takes until a bucket that needs `refill` to be full holds a token.
    pub fn delay(&self, refill: Duration) -> Duration {
        (refill + self.cost).saturating_sub(self.capacity)
    }

    /// What a bucket needs to be full after a token was taken, when it needed `refill` before. The
    /// debt is bounded: the bucket holds a token again after a minute at the latest.
    pub fn charged(&self, refill: Duration) -> Duration {
        // guard: the debt of a bucket of matches is bounded [value refill + self.cost]
        self.most_refill().min(refill + self.cost)
    }

    /// What a bucket needs to be full when it holds a token after a minute.
    fn most_refill(&self) -> Duration {
        MINUTE - self.cost + self.capacity
    }
}

/// The buckets of addresses that are not full.
#[derive(Debug, Default)]
pub(super) struct AddressBuckets {
    /// When each bucket will be full.
    full_at: HashMap<IpAddr, Timestamp>,
}

impl AddressBuckets {
    /// How long it takes until the bucket of an address holds a token; zero if it does now.
    pub(super) fn delay(&self, address: IpAddr, rate: MatchRate, now: Timestamp) -> Duration {
        let refill = self.full_at.get(&address).map_or(Duration::ZERO, |full| full.since(now));
        rate.delay(refill)
    }

    /// Takes a token from the bucket of an address.
    pub(super) fn charge(&mut self, address: IpAddr, rate: MatchRate, now: Timestamp) {
        // Memory is bounded. A limit on each address is no protection against so many addresses, so
        // all buckets are full again when there are more.
        // guard: the number of addresses with a bucket of matches is bounded [false]
        if self.full_at.len() >= TRACKED_ADDRESSES / ADDRESS_PARTITIONS
            && !self.full_at.contains_key(&address)
        {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= TRACKED_ADDRESSES / ADDRESS_PARTITIONS {
                self.full_at.clear();
            }
        }
        let full_at = self.full_at.entry(address).or_insert(now);
        *full_at = now + rate.charged(full_at.since(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_nanos(1_500_000_000);

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    fn rate(per_minute: u32) -> MatchRate {
        MatchRate::new(NonZeroU32::new(per_minute).unwrap())
    }

    #[test]
    fn a_bucket_holds_a_quarter_of_a_minute_and_at_least_one_token() {
        for (per_minute, burst) in [(1, 1), (7, 1), (8, 2), (20, 5), (60, 15), (1000, 250)] {
            let (rate, mut buckets) = (rate(per_minute), AddressBuckets::default());
            for _ in 0..burst {
                assert_eq!(buckets.delay(address(1), rate, NOW), Duration::ZERO);
                buckets.charge(address(1), rate, NOW);
            }
            let delay = buckets.delay(address(1), rate, NOW);
            assert_eq!(delay, rate.cost, "{per_minute}");
            assert_eq!(buckets.delay(address(1), rate, NOW + delay), Duration::ZERO);
            assert_eq!(buckets.delay(address(2), rate, NOW), Duration::ZERO);
        }
    }

    #[test]
    fn an_address_from_which_more_tokens_were_taken_than_it_held_waits_longer() {
        let (rate, mut buckets) = (rate(60), AddressBuckets::default());
        (0..20).for_each(|_| buckets.charge(address(1), rate, NOW));
        assert_eq!(buckets.delay(address(1), rate, NOW), Duration::from_secs(6));
    }

    #[test]
    fn an_address_waits_for_a_minute_at_most_however_many_rooms_it_has_ended() {
        for per_minute in [1, 2, 8, 60, 1000] {
            let (rate, mut buckets) = (rate(per_minute), AddressBuckets::default());
            (0..3000).for_each(|_| buckets.charge(address(1), rate, NOW));
            assert_eq!(buckets.delay(address(1), rate, NOW), MINUTE, "{per_minute}");
        }
    }

    #[test]
    fn stores_a_bounded_number_of_buckets() {
        let (rate, mut buckets) = (rate(60), AddressBuckets::default());
        let most = TRACKED_ADDRESSES / ADDRESS_PARTITIONS;
        for number in 0..4 * most as u32 {
            buckets.charge(address(number), rate, NOW);
            assert!(buckets.full_at.len() <= most);
        }
        // Full buckets are dropped first.
        let mut buckets = AddressBuckets::default();
        buckets.charge(address(0), rate, NOW + Duration::from_secs(60));
        (1..most as u32).for_each(|number| buckets.charge(address(number), rate, NOW));
        buckets.charge(address(most as u32), rate, NOW + Duration::from_secs(30));
        assert_eq!(buckets.full_at.len(), 2);
    }
}
