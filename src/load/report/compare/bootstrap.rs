//! How certain the difference between two runs is. Pure.
//!
//! Each run is kept in batches of consecutive intervals. The bootstrap (Efron and Tibshirani, *An
//! Introduction to the Bootstrap*, 1993, chapter 13) draws as many batches as a run has, with repetition, from
//! both runs, computes the figure of each draw, and takes their ratio; the central 99 % of many ratios are the
//! interval of the change. Batches are drawn in blocks of neighbours, because what slows a system down lasts
//! longer than an interval (Künsch 1989; the blocks go around the end, Politis and Romano 1992). Kalibera and
//! Jones (*Rigorous Benchmarking in Reasonable Time*, 2013) recommend the interval of a ratio for comparing two
//! systems. The seed is fixed: the same reports give the same interval.
//!
//! An interval covers how a run varies within itself, and not how two runs of the same system differ. For that,
//! a report is compared with several earlier ones.

use crate::load::encoded_histogram::decode;
use crate::load::rng::Rng;
use crate::load::run_batches::RunBatch;

/// Draws; with 1,000 the ends of a 99 % interval rest on five ratios each.
const DRAWS: usize = 1000;
/// Share of the ratios below the interval, and above it. Far less than the usual 2.5 %, because a plan
/// compares about a hundred figures.
const OUTSIDE: f64 = 0.005;
/// With fewer batches, draws differ too little from each other.
pub(super) const MIN_BATCHES: usize = 8;
/// With fewer times above a quantile, those few decide its value.
const MIN_ABOVE: f64 = 10.0;
/// The seed of all draws.
const SEED: u64 = 18;

/// The change of a figure in percent: 99 % of the draws are within.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::load::report) struct ChangeInterval {
    pub(in crate::load::report) low: f64,
    pub(in crate::load::report) high: f64,
}

impl ChangeInterval {
    /// The interval of these ratios; `None` if the figure is zero in too many draws.
    fn of(mut ratios: Vec<f64>) -> Option<Self> {
        ratios.retain(|ratio| ratio.is_finite());
        if ratios.len() < DRAWS * 9 / 10 {
            return None;
        }
        ratios.sort_unstable_by(f64::total_cmp);
        let at =
            |share: f64| ratios[((share * ratios.len() as f64) as usize).min(ratios.len() - 1)];
        let median = at(0.5);
        let at = |share: f64| 100.0 * (median * (at(share) / median).powf(EXPANSION) - 1.0);
        Some(ChangeInterval { low: at(OUTSIDE), high: at(1.0 - OUTSIDE) })
    }

    /// The smallest interval that contains both.
    pub(super) fn including(self, other: Self) -> Self {
        ChangeInterval { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// Whether no change is within the interval.
    pub(super) fn contains_zero(self) -> bool {
        self.low <= 0.0 && 0.0 <= self.high
    }
}

/// Factor of the width of an interval: draws from eight blocks vary less than the runs do. It is √(8/7), times
/// the ratio of the quantiles of Student's distribution with 14 degrees of freedom and of the normal one
/// (Hesterberg, *What Teachers Should Know About the Bootstrap*, 2015, expanded percentile intervals).
const EXPANSION: f64 = 1.24;
/// Blocks of a run. Few blocks are long ones, which contain what neighbours have in common.
const BLOCKS: usize = 8;

/// How often each batch of a run was drawn.
fn draw(batches: usize, rng: &mut Rng) -> Vec<u64> {
    let mut times = vec![0; batches];
    let length = (batches / BLOCKS).max(1);
    let mut drawn = 0;
    while drawn < batches {
        let first = (rng.next_fraction() * batches as f64) as usize;
        for nth in 0..length.min(batches - drawn) {
            times[(first + nth) % batches] += 1;
        }
        drawn += length;
    }
    times
}

/// The interval of the change of a figure that is the quotient of two sums over batches, for example messages
/// by seconds.
pub(super) fn quotient_interval(
    before: &[RunBatch],
    after: &[RunBatch],
    terms: fn(&RunBatch) -> (f64, f64),
) -> Option<ChangeInterval> {
    if before.len().min(after.len()) < MIN_BATCHES {
        return None;
    }
    let mut rng = Rng::new(SEED, 0);
    let mut quotient = |batches: &[RunBatch]| {
        let times = draw(batches.len(), &mut rng);
        let terms = batches.iter().map(terms).zip(times);
        let sums = terms.fold((0.0, 0.0), |sums, ((dividend, divisor), times)| {
            (sums.0 + dividend * times as f64, sums.1 + divisor * times as f64)
        });
        sums.0 / sums.1
    };
    ChangeInterval::of((0..DRAWS).map(|_| 1.0 / (quotient(before) / quotient(after))).collect())
}

/// The times of one latency in the batches of a run.
struct BatchedTimes {
    /// All times that occurred, in ascending order.
    values: Vec<u64>,
    /// For each batch the positions of its times in `values`, and how often they occurred.
    batches: Vec<Vec<(usize, u64)>>,
}

impl BatchedTimes {
    /// `None` if too few batches have such times.
    fn read(batches: &[RunBatch], latency: &str) -> Option<Self> {
        let recorded: Vec<Vec<(u64, u64)>> = batches
            .iter()
            .filter_map(|batch| decode(batch.histograms.get(latency)?).ok())
            .map(|times| {
                let steps = times.iter_recorded();
                steps.map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
            })
            .collect();
        if recorded.len() < MIN_BATCHES {
            return None;
        }
        let mut values: Vec<u64> = recorded.iter().flatten().map(|(value, _)| *value).collect();
        values.sort_unstable();
        values.dedup();
        let position = |value| values.binary_search(&value).unwrap_or_default();
        let batches = recorded
            .into_iter()
            .map(|times| times.into_iter().map(|(value, count)| (position(value), count)).collect())
            .collect();
        Some(BatchedTimes { values, batches })
    }

    /// Number of times.
    fn count(&self) -> u64 {
        self.batches.iter().flatten().map(|(_, count)| count).sum()
    }

    /// The quantiles, in ascending order, of one draw.
    fn drawn_quantiles(&self, quantiles: &[f64], rng: &mut Rng) -> Vec<f64> {
        let mut counts = vec![0u64; self.values.len()];
        for (batch, times) in self.batches.iter().zip(draw(self.batches.len(), rng)) {
            for (position, count) in batch.iter().filter(|_| times > 0) {
                counts[*position] += count * times;
            }
        }
        let all: u64 = counts.iter().sum();
        let mut found = Vec::with_capacity(quantiles.len());
        let mut below = 0;
        for (value, count) in self.values.iter().zip(counts) {
            below += count;
            while found.len() < quantiles.len()
                && below as f64 >= (quantiles[found.len()] * all as f64).max(1.0)
            {
                found.push(*value as f64);
            }
        }
        found
    }
}

/// The intervals of the changes of these quantiles, in ascending order, of a latency.
pub(super) fn quantile_intervals(
    before: &[RunBatch],
    after: &[RunBatch],
    latency: &str,
    quantiles: &[f64],
) -> Option<Vec<Option<ChangeInterval>>> {
    let (before, after) =
        (BatchedTimes::read(before, latency)?, BatchedTimes::read(after, latency)?);
    let fewest = before.count().min(after.count()) as f64;
    let mut rng = Rng::new(SEED, 0);
    let mut ratios = vec![Vec::with_capacity(DRAWS); quantiles.len()];
    for _ in 0..DRAWS {
        let of_before = before.drawn_quantiles(quantiles, &mut rng);
        let of_after = after.drawn_quantiles(quantiles, &mut rng);
        for ((ratios, before), after) in ratios.iter_mut().zip(of_before).zip(of_after) {
            ratios.push(after / before);
        }
    }
    let is_known = |quantile: f64| fewest * (1.0 - quantile) >= MIN_ABOVE;
    let intervals = ratios.into_iter().zip(quantiles);
    let interval =
        |(ratios, quantile): (_, &f64)| ChangeInterval::of(ratios).filter(|_| is_known(*quantile));
    Some(intervals.map(interval).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ratios in equal steps, of which 0.5 % are below and above the expected ends. The expansion is √(8/7) =
    /// 1.0690, times 2.9768 / 2.5758, the 99.5 % quantiles of both distributions: 1.2355.
    #[test]
    fn an_interval_is_the_central_99_percent_expanded_for_eight_blocks() {
        let steps = -500i32..500;
        let interval = ChangeInterval::of(steps.map(|step| 1.001f64.powi(step)).collect()).unwrap();
        let expected = |step: f64| 100.0 * (1.001f64.powf(1.0690 * 2.9768 / 2.5758 * step) - 1.0);
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.01;
        assert!(near(interval.low, expected(-495.0)), "{interval:?}");
        assert!(near(interval.high, expected(495.0)), "{interval:?}");
    }

    /// Neighbours are drawn together: what is drawn more often than the batch before begins a block.
    #[test]
    fn a_draw_has_as_many_batches_as_the_run_in_at_most_eight_blocks() {
        let mut rng = Rng::new(1, 0);
        for _ in 0..50 {
            let times = draw(40, &mut rng);
            assert_eq!((times.len(), times.iter().sum::<u64>()), (40, 40));
            let begins = (0..40).filter(|nth| times[*nth] > times[(nth + 39) % 40]).count();
            assert!((1..=BLOCKS).contains(&begins), "{times:?}");
        }
    }
}
