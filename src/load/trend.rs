//! The trend test behind every statement on leaks and decay: does a series rise? Pure.
//!
//! Mann's test (1945) uses only the order of the values and needs no assumption about the
//! distribution of the noise. Sen's slope (1968) estimates the rise and is robust against outliers
//! that would distort a least-squares line. Both compare all pairs, so that a longer series is
//! first condensed to at most [`POINTS`] medians.

/// Limit of points that are compared pairwise.
pub const POINTS: usize = 400;

/// The result of the trend test.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Trend {
    /// Sen's slope: units of the value per second.
    pub slope_per_s: f64,
    /// 95 % confidence interval of the slope (Sen 1968), lower end.
    pub slope_low_per_s: f64,
    /// 95 % confidence interval of the slope, upper end.
    pub slope_high_per_s: f64,
    /// Confidence that the series rises: 1 − p of Mann's one-sided test; 0.5 means no evidence.
    pub rising_confidence: f64,
    /// Number of points that were compared, after condensing.
    pub points: usize,
    /// Seconds from the first point to the last.
    pub seconds: f64,
    /// Median of the values, to compare the slope with.
    pub median: f64,
}

impl Trend {
    /// The rise over the whole series as a share of its median, by the slope's lower confidence
    /// bound; zero if a rise is not certain.
    pub fn certain_growth_share(&self) -> f64 {
        if self.median <= 0.0 {
            return if self.slope_low_per_s > 0.0 { f64::INFINITY } else { 0.0 };
        }
        (self.slope_low_per_s * self.seconds / self.median).max(0.0)
    }
}

/// Tests `(seconds, value)` points in ascending order of time. `None` below eight points: with
/// fewer, even a perfect rise would be no evidence.
pub fn analyze(points: &[(f64, f64)]) -> Option<Trend> {
    let points = condense(points);
    let n = points.len();
    if n < 8 {
        return None;
    }
    let mut slopes = Vec::with_capacity(n * (n - 1) / 2);
    let mut score = 0i64;
    for (i, a) in points.iter().enumerate() {
        for b in &points[i + 1..] {
            score += (b.1 > a.1) as i64 - (b.1 < a.1) as i64;
            if b.0 > a.0 {
                slopes.push((b.1 - a.1) / (b.0 - a.0));
            }
        }
    }
    if slopes.is_empty() {
        return None;
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let deviation = score_variance(&points).sqrt();
    // Continuity correction (Kendall, 1975).
    let z = match score {
        0 => 0.0,
        s => (s as f64 - (s as f64).signum()) / deviation,
    };
    let half_width = 1.96 * deviation;
    let count = slopes.len() as f64;
    let at = |rank: f64| slopes[(rank.round().max(0.0) as usize).min(slopes.len() - 1)];
    Some(Trend {
        slope_per_s: median_of_sorted(&slopes),
        slope_low_per_s: at((count - half_width) / 2.0 - 1.0),
        slope_high_per_s: at((count + half_width) / 2.0),
        rising_confidence: normal_below(z),
        points: n,
        seconds: points[n - 1].0 - points[0].0,
        median: median(points.iter().map(|p| p.1).collect()),
    })
}

/// Variance of Mann's score without a trend, corrected for ties.
fn score_variance(points: &[(f64, f64)]) -> f64 {
    let pairs = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let mut values: Vec<f64> = points.iter().map(|p| p.1).collect();
    values.sort_unstable_by(f64::total_cmp);
    let ties: f64 = values.chunk_by(|a, b| a == b).map(|tie| pairs(tie.len() as f64)).sum();
    (pairs(points.len() as f64) - ties) / 18.0
}

/// Condenses a long series to at most [`POINTS`] medians, in order of time.
fn condense(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= POINTS {
        return points.to_vec();
    }
    points
        .chunks(points.len().div_ceil(POINTS))
        .map(|group| {
            let (times, values) = group.iter().copied().unzip();
            (median(times), median(values))
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    median_of_sorted(&values)
}

fn median_of_sorted(values: &[f64]) -> f64 {
    let n = values.len();
    match n {
        0 => 0.0,
        _ if n % 2 == 1 => values[n / 2],
        _ => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// Share of the standard normal distribution below `z`; Abramowitz and Stegun 26.2.17,
/// error below 7.5e-8.
fn normal_below(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let above = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * poly;
    if z >= 0.0 { 1.0 - above } else { above }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reproducible noise.
    fn noise(i: u64) -> f64 {
        let x = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x >> 40) as f64 / (1u64 << 24) as f64 - 0.5
    }

    fn series(n: u64, value: impl Fn(u64) -> f64) -> Vec<(f64, f64)> {
        (0..n).map(|i| (i as f64, value(i))).collect()
    }

    #[test]
    fn measures_a_leak_under_noise() {
        let trend = analyze(&series(300, |i| 1000.0 + i as f64 * 0.1 + noise(i) * 20.0)).unwrap();
        assert!(trend.rising_confidence > 0.999, "{trend:?}");
        assert!(trend.slope_low_per_s < 0.1 && 0.1 < trend.slope_high_per_s, "{trend:?}");
        assert!((trend.certain_growth_share() - 0.03).abs() < 0.005, "{trend:?}");
    }

    #[test]
    fn noise_a_plateau_and_a_decline_are_no_leak() {
        let flat = analyze(&series(300, |i| 1000.0 + noise(i) * 20.0)).unwrap();
        assert!(flat.rising_confidence < 0.99, "{flat:?}");
        assert!(flat.certain_growth_share() < 0.002, "{flat:?}");
        let constant = analyze(&series(50, |_| 7.0)).unwrap();
        assert!((constant.rising_confidence - 0.5).abs() < 1e-6, "{constant:?}");
        assert_eq!(constant.certain_growth_share(), 0.0);
        let fall = analyze(&series(50, |i| -(i as f64))).unwrap();
        assert!(fall.rising_confidence < 0.001);
    }

    #[test]
    fn a_single_outlier_does_not_change_the_result() {
        let calm = series(60, |i| if i == 59 { 1e9 } else { 100.0 + noise(i) });
        assert!(analyze(&calm).unwrap().certain_growth_share() < 0.02);
    }

    #[test]
    fn finds_the_slope_of_a_long_condensed_series() {
        let trend = analyze(&series(86_400, |i| 5e8 + i as f64 * 100.0 + noise(i) * 1e6)).unwrap();
        assert!(trend.points <= POINTS);
        assert!(trend.rising_confidence > 0.9999);
        assert!((trend.slope_per_s - 100.0).abs() < 2.0, "{trend:?}");
    }

    #[test]
    fn gives_no_result_below_eight_points() {
        assert_eq!(analyze(&series(7, |i| i as f64)), None);
        assert!(analyze(&series(8, |i| i as f64)).unwrap().rising_confidence > 0.99);
    }

    #[test]
    fn the_normal_distribution_is_accurate_to_five_digits() {
        for (z, below) in [(0.0, 0.5), (1.644_854, 0.95), (1.959_964, 0.975), (-1.0, 0.158_655)] {
            assert!((normal_below(z) - below).abs() < 1e-5, "{z}");
        }
    }
}
