//! Reproducible randomness: the same seed gives the same numbers. Pure.

use std::time::Duration;

/// A stream of pseudo-random numbers: xorshift64* (Vigna, 2016).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Stream number `stream` of `seed`; different streams are uncorrelated.
    pub fn new(seed: u64, stream: u64) -> Self {
        // The finaliser of SplitMix64: neighbouring seeds start far apart. The state of xorshift
        // must not be zero.
        let mut x = seed.wrapping_add(stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(1);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Rng((x ^ (x >> 31)) | 1)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 up to, but not including, 1.
    pub fn next_fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A duration that is uniformly distributed between the two.
    pub fn duration_between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let nanos = longest.saturating_sub(shortest).as_nanos() as f64 * self.next_fraction();
        shortest.saturating_add(Duration::from_nanos(nanos as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_numbers_and_streams_differ() {
        let numbers = |stream| {
            let mut rng = Rng::new(7, stream);
            [rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
    }

    #[test]
    fn durations_are_distributed_evenly_over_the_range() {
        let mut rng = Rng::new(1, 1);
        let (low, high) = (Duration::from_secs(5), Duration::from_secs(15));
        let times: Vec<_> = (0..10_000).map(|_| rng.duration_between(low, high)).collect();
        assert!(times.iter().all(|time| (low..=high).contains(time)));
        let mean = times.iter().sum::<Duration>().as_secs_f64() / 10_000.0;
        assert!((mean - 10.0).abs() < 0.1, "{mean}");
        assert_eq!(rng.duration_between(low, low), low);
    }
}
