//! A histogram of durations with buckets that are fixed at compile time. Written by the thread that
//! owns it, read by any (see [`super::counter`]). Recording a duration costs one division and three
//! plain stores.
//!
//! Each decade from 1 µs to 1000 s has 32 buckets: ten of width 0.1 (1.0 to 2.0), twelve of width
//! 0.25 (2.0 to 5.0) and ten of width 0.5 (5.0 to 10). So a bucket is at most 12.5 % wide, and 1, 2.5
//! and 5, the usual bounds of Prometheus histograms, are borders in every decade. A border belongs to
//! the bucket below it, as in Prometheus' `le`.

use super::counter::Counter;
use std::time::Duration;

/// Decades from 1 µs to 1000 s.
const DECADES: usize = 9;
/// Buckets of one decade.
const PER_DECADE: usize = 32;
/// The buckets of the decades, one for all up to 1 µs, and one for all over 1000 s.
const BUCKETS: usize = 2 + DECADES * PER_DECADE;
/// Upper border of the first bucket.
const FLOOR_NANOS: u64 = 1000;

/// A distribution of durations.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_nanos: Counter,
    max_nanos: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: std::array::from_fn(|_| Counter::default()),
            sum_nanos: Counter::default(),
            max_nanos: Counter::default(),
        }
    }
}

impl Histogram {
    /// Owner only: counts one duration.
    #[inline]
    pub fn record(&self, duration: Duration) {
        self.record_many(duration, 1);
    }

    /// Owner only: counts `times` durations of the same length, at the cost of one.
    #[inline]
    pub fn record_many(&self, duration: Duration, times: u64) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(nanos)].add(times);
        self.sum_nanos.add(nanos.saturating_mul(times));
        self.max_nanos.raise_to(nanos);
    }

    /// The values now; any thread.
    pub fn read(&self) -> HistogramFigures {
        HistogramFigures {
            buckets: std::array::from_fn(|index| self.buckets[index].get()),
            sum_nanos: self.sum_nanos.get(),
            max_nanos: self.max_nanos.get(),
        }
    }
}

/// The values of a [`Histogram`] at one time, or the sum of several.
#[derive(Clone, Debug)]
pub struct HistogramFigures {
    buckets: [u64; BUCKETS],
    sum_nanos: u64,
    max_nanos: u64,
}

impl Default for HistogramFigures {
    fn default() -> Self {
        HistogramFigures { buckets: [0; BUCKETS], sum_nanos: 0, max_nanos: 0 }
    }
}

impl HistogramFigures {
    /// Adds another's durations.
    pub fn merge(&mut self, other: &Self) {
        for (mine, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += more;
        }
        self.sum_nanos = self.sum_nanos.wrapping_add(other.sum_nanos);
        self.max_nanos = self.max_nanos.max(other.max_nanos);
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos)
    }

    /// The longest duration, exactly; zero if there is none.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_nanos)
    }

    /// The percentile `per_mille` / 10 by nearest rank. It is never below the exact value and at most
    /// 12.5 % above it, or 1 µs if the exact value is shorter than that. Zero if there is no
    /// duration.
    pub fn percentile(&self, per_mille: u16) -> Duration {
        let scaled = u128::from(self.count()) * u128::from(per_mille);
        let rank = scaled.div_ceil(1000).max(1);
        let mut below = 0_u128;
        for (index, &count) in self.buckets.iter().enumerate() {
            below += u128::from(count);
            if below >= rank {
                return Duration::from_nanos(upper_border(index).min(self.max_nanos));
            }
        }
        Duration::ZERO
    }

    /// For each of `bounds`, the number of durations that are not longer. The bounds must ascend and
    /// be borders of buckets (see [`is_border`]).
    pub fn cumulative<'a>(&'a self, bounds: &'a [Duration]) -> impl Iterator<Item = u64> + 'a {
        let (mut next, mut below) = (0, 0);
        bounds.iter().map(move |bound| {
            let bound_nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
            while next < BUCKETS && upper_border(next) <= bound_nanos {
                below += self.buckets[next];
                next += 1;
            }
            below
        })
    }
}

/// Whether a bucket ends exactly at `bound`.
pub fn is_border(bound: Duration) -> bool {
    u64::try_from(bound.as_nanos())
        .is_ok_and(|nanos| (0..BUCKETS - 1).any(|index| upper_border(index) == nanos))
}

/// The hundredth part of each decade's lowest value, in nanoseconds.
const UNITS: [u64; DECADES] = {
    let mut units = [FLOOR_NANOS / 100; DECADES];
    let mut decade = 1;
    while decade < DECADES {
        units[decade] = units[decade - 1] * 10;
        decade += 1;
    }
    units
};

#[inline]
fn bucket_of(nanos: u64) -> usize {
    // A border belongs to the bucket below it, so the bucket is found for the nanosecond before.
    let last = nanos.saturating_sub(1);
    if last < FLOOR_NANOS {
        return 0;
    }
    let decade = (last.ilog10() - FLOOR_NANOS.ilog10()) as usize;
    if decade >= DECADES {
        return BUCKETS - 1;
    }
    let hundredths = (last / UNITS[decade]) as usize;
    let within = match hundredths {
        ..200 => (hundredths - 100) / 10,
        200..500 => 10 + (hundredths - 200) / 25,
        _ => 22 + (hundredths - 500) / 50,
    };
    1 + decade * PER_DECADE + within
}

/// The longest duration of a bucket, in nanoseconds.
fn upper_border(bucket: usize) -> u64 {
    let Some(index) = bucket.checked_sub(1) else { return FLOOR_NANOS };
    let (decade, within) = (index / PER_DECADE, index as u64 % PER_DECADE as u64);
    let Some(unit) = UNITS.get(decade) else { return u64::MAX };
    let hundredths = match within {
        ..10 => 100 + (within + 1) * 10,
        10..22 => 200 + (within - 10 + 1) * 25,
        _ => 500 + (within - 22 + 1) * 50,
    };
    unit * hundredths
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn assigns_a_border_to_the_bucket_below_it() {
        for bucket in 0..BUCKETS - 1 {
            assert_eq!(bucket_of(upper_border(bucket)), bucket);
            assert_eq!(bucket_of(upper_border(bucket) + 1), bucket + 1);
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(upper_border(BUCKETS - 2), 1_000_000_000_000);
    }

    #[test]
    fn has_no_bucket_above_the_floor_that_is_wider_than_an_eighth() {
        for bucket in 1..BUCKETS - 1 {
            let (lower, upper) = (upper_border(bucket - 1), upper_border(bucket));
            assert!((upper - lower) * 8 <= lower, "{lower}..{upper}");
        }
    }

    #[test]
    fn reads_as_zero_when_empty() {
        let figures = Histogram::default().read();
        assert_eq!(figures.count(), 0);
        assert_eq!(figures.percentile(999), Duration::ZERO);
        assert_eq!(figures.max(), Duration::ZERO);
    }

    /// Durations of every magnitude, including some below the first and above the last border.
    fn durations() -> impl Strategy<Value = Vec<u64>> {
        let any = (0_u32..44, 0_u64..=u64::MAX).prop_map(|(bits, n)| n & ((1 << bits) - 1));
        proptest::collection::vec(any, 1..400)
    }

    proptest! {
        #[test]
        fn percentiles_match_the_sorted_list_within_an_eighth(
            mut nanos in durations(),
            per_mille in 1_u16..=1000,
            split in 0_usize..400,
        ) {
            let (one, two) = (Histogram::default(), Histogram::default());
            for (index, &n) in nanos.iter().enumerate() {
                let which = if index < split { &one } else { &two };
                which.record(Duration::from_nanos(n));
            }
            let mut figures = one.read();
            figures.merge(&two.read());
            nanos.sort_unstable();
            let rank = (nanos.len() * usize::from(per_mille)).div_ceil(1000).max(1);
            let exact = nanos[rank - 1];
            let found = u64::try_from(figures.percentile(per_mille).as_nanos()).unwrap();
            prop_assert!(found >= exact);
            if exact <= upper_border(BUCKETS - 2) {
                prop_assert!(found <= (exact + exact / 8).max(FLOOR_NANOS), "{found} for {exact}");
            } else {
                prop_assert_eq!(found, *nanos.last().unwrap());
            }
            prop_assert_eq!(figures.count(), nanos.len() as u64);
            prop_assert_eq!(figures.sum(), Duration::from_nanos(nanos.iter().sum()));
            prop_assert_eq!(figures.max(), Duration::from_nanos(*nanos.last().unwrap()));
        }

        #[test]
        fn cumulative_counts_are_exact_at_borders(nanos in durations()) {
            let bounds: Vec<Duration> =
                (0..BUCKETS - 1).step_by(7).map(|b| Duration::from_nanos(upper_border(b))).collect();
            let histogram = Histogram::default();
            for &n in &nanos {
                histogram.record(Duration::from_nanos(n));
            }
            let figures = histogram.read();
            for (bound, count) in bounds.iter().zip(figures.cumulative(&bounds)) {
                let exact = nanos.iter().filter(|&&n| Duration::from_nanos(n) <= *bound).count();
                prop_assert_eq!(count, exact as u64);
            }
        }
    }
}
