//! What may grow without end, watched over a whole run in constant memory. Pure.

use crate::load::report::model::TrendReport;
use crate::load::trend;
use std::time::Duration;

/// Points that a slope test gets at most; more are thinned out before they get there.
const TREND_POINTS: usize = 4000;

/// A series for a slope test, thinned out as it grows.
#[derive(Debug)]
pub(super) struct ResourceGrowth {
    figure: &'static str,
    unit: &'static str,
    /// Growth below this is none, however small the beginning was.
    least: f64,
    points: Vec<(f64, f64)>,
    every: u64,
    seen: u64,
}

impl ResourceGrowth {
    pub(super) fn new(figure: &'static str, unit: &'static str, least: f64) -> Self {
        ResourceGrowth { figure, unit, least, points: Vec::new(), every: 1, seen: 0 }
    }

    pub(super) fn begin_again(&mut self) {
        (self.points, self.every, self.seen) = (Vec::new(), 1, 0);
    }

    pub(super) fn push(&mut self, at_s: f64, value: Option<f64>) {
        let Some(value) = value else { return };
        if self.seen.is_multiple_of(self.every) {
            self.points.push((at_s, value));
        }
        self.seen += 1;
        if self.points.len() > TREND_POINTS {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
            self.every *= 2;
        }
    }

    pub(super) fn judge(&self, leak_percent: f64, confidence_percent: f64) -> Option<TrendReport> {
        let trend = trend::analyze(&self.points)?;
        let growth = 100.0 * trend.certain_growth_share();
        let sure = 100.0 * trend.rising_confidence >= confidence_percent;
        let by = trend.slope_low_per_s * trend.seconds;
        let convicted = sure && growth >= leak_percent && by >= self.least;
        let verdict = if convicted {
            format!(
                "rises: by {growth:.1} % at least over {:.0} s, {:.2} % sure",
                trend.seconds,
                100.0 * trend.rising_confidence
            )
        } else {
            let changed = trend.slope_per_s * trend.seconds;
            let changed = match self.unit {
                "bytes" => format!("{:+.2} MiB", changed / 1024.0 / 1024.0),
                unit => format!("{changed:+.1} {unit}"),
            };
            let over = Duration::from_secs(trend.seconds as u64);
            let over = humantime::format_duration(over);
            format!("steady: {changed} over {over} is within the noise or the bound")
        };
        let (figure, unit) = (self.figure.to_owned(), self.unit.to_owned());
        Some(TrendReport { figure, unit, trend, is_growing: convicted, verdict })
    }
}
