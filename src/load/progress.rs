//! Progress on standard error: a live display on a terminal, otherwise a line for each interval.

use super::interval_log::IntervalRow;
use super::measure::CountMetric;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

/// Shows the progress of the runs.
pub struct ProgressDisplay {
    bar: Option<ProgressBar>,
    quiet: bool,
    name: String,
    length: Duration,
    errors: u64,
}

impl ProgressDisplay {
    /// With `quiet` nothing is shown.
    pub fn new(quiet: bool) -> Self {
        let live = !quiet && std::io::stderr().is_terminal();
        let bar = live.then(|| {
            let bar = ProgressBar::new(0);
            // Two lines; the second is truncated to the width of the terminal, because a line that
            // wraps cannot be redrawn.
            let style = "{prefix:.bold} {wide_bar:.cyan/blue} {pos} of {len} s\n{wide_msg}";
            bar.set_style(
                ProgressStyle::with_template(style)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar
        });
        ProgressDisplay { bar, quiet, name: String::new(), length: Duration::ZERO, errors: 0 }
    }

    /// A run of this length starts.
    pub fn start(&mut self, name: &str, length: Duration) {
        (self.name, self.length) = (name.to_owned(), length);
        self.errors = 0;
        match &self.bar {
            Some(bar) => {
                bar.reset();
                bar.set_length(length.as_secs().max(1));
                bar.set_prefix(name.to_owned());
            }
            None => {
                self.note(&format!("{name}: started, takes {}", humantime::format_duration(length)))
            }
        }
    }

    /// An interval has ended.
    pub fn update(&mut self, row: &IntervalRow) {
        self.errors += row.faults.values().map(|seen| seen.count).sum::<u64>();
        match &self.bar {
            Some(bar) => {
                bar.set_position(row.at_s as u64);
                bar.set_message(format!("{}, {}", self.time_left(row), self.current_load(row)));
            }
            None => {
                let (left, text) = (self.time_left(row), self.current_load(row));
                self.note(&format!("{}: {:.1} s, {left}, {text}", self.name, row.at_s));
            }
        }
    }

    fn time_left(&self, row: &IntervalRow) -> String {
        let left = self.length.as_secs_f64() - row.at_s;
        if left > 0.5 { format!("{left:.0} s left") } else { "ending".to_owned() }
    }

    /// The load and the service of the last interval, most important first, because the end of the
    /// line may be truncated.
    fn current_load(&self, row: &IntervalRow) -> String {
        let latency = ["relay", "match", "http", "ping", "connect"]
            .iter()
            .find_map(|name| row.times.get(*name).map(|times| (name, times)))
            .map(|(name, q)| {
                format!(" · {name} p50 {:.2} p99 {:.2} max {:.1} ms", q.p50_ms, q.p99_ms, q.max_ms)
            })
            .unwrap_or_default();
        let requests = row.rate(CountMetric::HttpOk) + row.rate(CountMetric::HttpFailed);
        let http = if requests > 0.0 { format!(" · {requests:.0} req/s") } else { String::new() };
        format!(
            "{} errors · {} users, {} waiting, {} in rooms · {:.0} msg/s{http}{latency}",
            self.errors,
            row.users,
            row.waiting,
            row.in_rooms,
            row.rate(CountMetric::Received)
        )
    }

    /// Prints one line.
    pub fn note(&self, text: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.println(text),
            // A closed pipe is no reason to end the run.
            None => drop(writeln!(std::io::stderr(), "{text}")),
        }
    }

    /// Removes the live display.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::measure::LatencySummary;

    #[test]
    fn a_progress_line_contains_time_errors_users_rate_and_latency() {
        let mut progress = ProgressDisplay::new(true);
        progress.start("calls", Duration::from_secs(60));
        let mut row = IntervalRow {
            at_s: 12.0,
            length_s: 1.0,
            users: 40,
            waiting: 2,
            ..IntervalRow::default()
        };
        row.counts.insert("received".to_owned(), 250);
        let q =
            LatencySummary { p50_ms: 0.2, p99_ms: 1.25, max_ms: 3.0, ..LatencySummary::default() };
        row.times.insert("relay".to_owned(), q);
        let line = format!("{}, {}", progress.time_left(&row), progress.current_load(&row));
        for part in ["48 s left, 0 errors", "40 users, 2 waiting", "250 msg/s", "p99 1.25"] {
            assert!(line.contains(part), "{line}");
        }
        // A narrow terminal truncates the end, not the errors.
        assert!(line[..30].contains("0 errors"), "{line}");
    }
}
