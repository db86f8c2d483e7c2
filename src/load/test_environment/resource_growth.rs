//! The growth of a figure over a whole run, in constant memory. Pure.

use crate::load::report::model::TrendReport;
use crate::load::trend;
use std::time::Duration;

/// Limit of points that are kept; a longer series is thinned out.
const MAX_POINTS: usize = 4000;

/// The series of one figure, for the trend test.
#[derive(Debug)]
pub(super) struct ResourceGrowth {
    figure: &'static str,
    unit: &'static str,
    /// Growth below this does not count, however small the first value was.
    min_growth: f64,
    points: Vec<(f64, f64)>,
    /// Only every n-th value is kept.
    every: u64,
    count: u64,
}

impl ResourceGrowth {
    pub(super) fn new(figure: &'static str, unit: &'static str, min_growth: f64) -> Self {
        ResourceGrowth { figure, unit, min_growth, points: Vec::new(), every: 1, count: 0 }
    }

    /// Forgets all values: the server was restarted.
    pub(super) fn reset(&mut self) {
        (self.points, self.every, self.count) = (Vec::new(), 1, 0);
    }

    /// Adds a value, if there is one.
    pub(super) fn push(&mut self, at_s: f64, value: Option<f64>) {
        let Some(value) = value else { return };
        if self.count.is_multiple_of(self.every) {
            self.points.push((at_s, value));
        }
        self.count += 1;
        if self.points.len() > MAX_POINTS {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
            self.every *= 2;
        }
    }

    /// Tests the series for growth.
    pub(super) fn trend_report(
        &self,
        leak_percent: f64,
        confidence_percent: f64,
    ) -> Option<TrendReport> {
        let trend = trend::analyze(&self.points)?;
        let growth = 100.0 * trend.certain_growth_share();
        let is_certain = 100.0 * trend.rising_confidence >= confidence_percent;
        let growth_by = trend.slope_low_per_s * trend.seconds;
        let is_growing = is_certain && growth >= leak_percent && growth_by >= self.min_growth;
        let verdict = if is_growing {
            format!(
                "rises by at least {growth:.1} % in {:.0} s, with {:.2} % confidence",
                trend.seconds,
                100.0 * trend.rising_confidence
            )
        } else {
            let changed = trend.slope_per_s * trend.seconds;
            let changed = match self.unit {
                "bytes" => format!("{:+.2} MiB", changed / 1024.0 / 1024.0),
                unit => format!("{changed:+.1} {unit}"),
            };
            let period = Duration::from_secs(trend.seconds as u64);
            let period = humantime::format_duration(period);
            format!("steady: {changed} in {period} is within the noise or the limit")
        };
        let (figure, unit) = (self.figure.to_owned(), self.unit.to_owned());
        Some(TrendReport { figure, unit, trend, is_growing, verdict })
    }
}
