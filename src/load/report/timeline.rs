//! Which charts a report has, and their data. Pure.

use super::charts::{Chart, ChartSeries, HorizontalAxis};
use super::model::{LoadReport, RunReport};
use crate::load::interval_log::IntervalRow;
use crate::load::measure::{CountMetric, LatencySummary, LoadFault};

const MIB: f64 = 1024.0 * 1024.0;

/// All charts over time, of all runs one after the other on one axis.
pub(super) fn charts(report: &LoadReport) -> Vec<Chart> {
    let timeline = Timeline::new(&report.runs);
    let rate = |what: CountMetric| move |row: &IntervalRow| Some(row.rate(what));
    let mut charts = vec![
        timeline.chart(
            "Users",
            "at the same time",
            false,
            &[
                ("connected", &|row| Some(row.users as f64)),
                ("in a room", &|row| Some(row.in_rooms as f64)),
                ("waiting, at the most", &|row| Some(row.waiting_peak as f64)),
            ],
        ),
        timeline.chart(
            "Messages",
            "relayed a second",
            false,
            &[("sent", &rate(CountMetric::Sent)), ("received", &rate(CountMetric::Received))],
        ),
        timeline.chart(
            "Matches and connects",
            "a second",
            false,
            &[
                ("matched users", &rate(CountMetric::Matched)),
                ("connected users", &rate(CountMetric::Connected)),
            ],
        ),
        timeline.chart(
            "HTTP requests",
            "a second",
            false,
            &[
                ("answered with 200", &rate(CountMetric::HttpOk)),
                ("failed", &rate(CountMetric::HttpFailed)),
            ],
        ),
    ];
    for (name, title) in [
        ("relay", "Relay time, from the planned moment"),
        ("relay_service", "Relay time, from the actual moment"),
        ("match", "Time to a match"),
        ("http", "HTTP time, from the planned moment"),
        ("connect", "Time to connect"),
        ("ping", "Ping time"),
    ] {
        let quantile = |read: fn(&LatencySummary) -> f64| {
            move |row: &IntervalRow| row.times.get(name).map(read)
        };
        charts.push(timeline.chart(
            title,
            "ms, logarithmic",
            true,
            &[
                ("median", &quantile(|q| q.p50_ms)),
                ("99 %", &quantile(|q| q.p99_ms)),
                ("longest", &quantile(|q| q.max_ms)),
            ],
        ));
    }
    charts.extend(resource_charts(&timeline));
    charts.retain(|chart| chart.series.iter().any(has_life));
    charts
}

fn resource_charts(timeline: &Timeline<'_>) -> Vec<Chart> {
    let faults = |wanted: fn(LoadFault) -> bool| {
        move |row: &IntervalRow| {
            let of_kind = |name: &String| LoadFault::named(name).is_some_and(wanted);
            let seen = row.faults.iter().filter(|(name, _)| of_kind(name));
            Some(seen.map(|(_, seen)| seen.count as f64).sum::<f64>() / row.length_s.max(1e-3))
        }
    };
    vec![
        timeline.chart(
            "Errors",
            "a second",
            false,
            &[
                ("convicting the server", &faults(LoadFault::convicts)),
                ("other", &faults(|fault| !fault.convicts())),
            ],
        ),
        timeline.chart(
            "CPU",
            "percent of one CPU",
            false,
            &[
                ("server", &|row| row.server.cpu_percent),
                ("generator", &|row| Some(row.generator.cpu_percent)),
            ],
        ),
        timeline.chart(
            "Memory",
            "MiB resident",
            false,
            &[
                ("server", &|row| Some(row.server.memory_bytes? as f64 / MIB)),
                ("generator", &|row| Some(row.generator.memory_bytes? as f64 / MIB)),
            ],
        ),
        timeline.chart(
            "Server descriptors",
            "open",
            false,
            &[
                ("descriptors", &|row| Some(row.server.descriptors? as f64)),
                ("its connections", &|row| Some(row.server.connections? as f64)),
            ],
        ),
        timeline.chart(
            "Network",
            "MiB a second, as the generator sees it",
            false,
            &[
                ("to the server", &|row| Some(row.rate(CountMetric::BytesOut) / MIB)),
                ("from the server", &|row| Some(row.rate(CountMetric::BytesIn) / MIB)),
            ],
        ),
        timeline.chart(
            "Generator health",
            "ms",
            true,
            &[
                ("longest turn of its loop", &|row| Some(row.generator.longest_turn_ms)),
                ("lateness, 99 %", &|row| row.times.get("late").map(|late| late.p99_ms)),
            ],
        ),
    ]
}

/// How long each time took for what share of cases: one line for each run.
pub(super) fn distributions(report: &LoadReport) -> Vec<Chart> {
    let of = |name: &str, title: &str| {
        let series = report
            .runs
            .iter()
            .filter(|run| !run.trial || report.runs.len() == 1)
            .filter_map(|run| Some((run, run.distributions.get(name)?)))
            .map(|(run, points)| {
                let place = |percent: f64| -(1.0 - percent / 100.0).max(1e-5).log10();
                let points = points.iter().filter(|point| point.percent < 100.0);
                let segment =
                    points.map(|point| (place(point.percent), point.at_most_ms)).collect();
                ChartSeries { name: run.name.clone(), segments: vec![segment] }
            })
            .take(6)
            .collect();
        Chart {
            title: title.to_owned(),
            unit: "ms at most, for so many percent",
            across: HorizontalAxis::Percentile,
            logarithmic: true,
            domain: None,
            borders: Vec::new(),
            series,
        }
    };
    [
        of("relay", "Relay time"),
        of("match", "Time to a match"),
        of("http", "HTTP time"),
        of("connect", "Time to connect"),
    ]
    .into_iter()
    .filter(|chart| !chart.series.is_empty())
    .collect()
}

/// The levels of a search in the order in which they were tried.
pub(super) fn search(report: &LoadReport) -> Option<Chart> {
    let point = report.breaking_point.as_ref()?;
    let of = |showed: &str| {
        let tried = point.trials.iter().enumerate();
        let levels = tried.filter(|(_, trial)| trial.2 == showed);
        let segments = levels.map(|(i, trial)| vec![(i as f64 + 1.0, trial.1)]).collect();
        ChartSeries { name: showed.to_owned(), segments }
    };
    Some(Chart {
        title: "The search".to_owned(),
        unit: match point.raised.starts_with("connections") {
            true => "connections, trial by trial",
            false => "messages a second, trial by trial",
        },
        across: HorizontalAxis::Number,
        logarithmic: false,
        domain: None,
        borders: Vec::new(),
        // In the colours that a page has for these.
        series: vec![of("void"), of("broke"), of("held")],
    })
}

/// Whether a line is worth drawing: one that is always zero is not.
fn has_life(series: &ChartSeries) -> bool {
    series.segments.iter().flatten().any(|point| point.1 != 0.0)
}

/// The rows of a run, but not the stump at its end: a rate over a few milliseconds is noise.
/// It is short beside the usual row; a single long one, on a busy machine, says nothing.
fn whole_rows(run: &RunReport) -> impl Iterator<Item = &IntervalRow> {
    let mut lengths: Vec<f64> = run.intervals.iter().map(|row| row.length_s).collect();
    lengths.sort_unstable_by(f64::total_cmp);
    let usual = lengths.get(lengths.len() / 2).copied().unwrap_or(0.0);
    run.intervals.iter().filter(move |row| row.length_s >= usual * 0.4)
}

/// What a line shows of a row.
type RowReader<'a> = &'a dyn Fn(&IntervalRow) -> Option<f64>;

/// The runs one after the other.
struct Timeline<'a> {
    runs: Vec<(f64, &'a RunReport)>,
}

impl<'a> Timeline<'a> {
    fn new(runs: &'a [RunReport]) -> Self {
        let mut begins = 0.0;
        let placed = runs.iter().map(|run| {
            let at = begins;
            begins += run.seconds;
            (at, run)
        });
        Timeline { runs: placed.collect() }
    }

    fn chart(
        &self,
        title: &str,
        unit: &'static str,
        logarithmic: bool,
        lines: &[(&str, RowReader<'_>)],
    ) -> Chart {
        let series = lines
            .iter()
            .map(|(name, read)| {
                let segment = |(begins, run): &(f64, &RunReport)| -> Vec<(f64, f64)> {
                    whole_rows(run)
                        .filter_map(|row| Some((begins + row.at_s, read(row)?)))
                        .collect()
                };
                let segments = self.runs.iter().map(segment).filter(|s| !s.is_empty()).collect();
                ChartSeries { name: (*name).to_owned(), segments }
            })
            .collect();
        Chart {
            title: title.to_owned(),
            unit,
            across: HorizontalAxis::Time,
            logarithmic,
            domain: self.runs.last().map(|(begins, run)| (0.0, begins + run.seconds)),
            borders: self.runs.iter().skip(1).map(|(begins, _)| *begins).collect(),
            series,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{example_report, example_run};
    use super::*;

    #[test]
    fn one_long_row_hides_no_others_and_the_stump_is_left_out() {
        let mut run = example_run();
        let lengths = [1.0, 1.0, 9.0, 1.0, 1.0, 0.01];
        run.intervals = lengths
            .iter()
            .map(|length_s| IntervalRow { length_s: *length_s, ..IntervalRow::default() })
            .collect();
        assert_eq!(whole_rows(&run).count(), 5);
    }

    #[test]
    fn runs_lie_one_after_the_other_and_empty_charts_are_left_out() {
        let mut run = example_run();
        run.intervals = (1..=10)
            .map(|i| IntervalRow {
                at_s: f64::from(i),
                length_s: 1.0,
                users: 5,
                ..IntervalRow::default()
            })
            .collect();
        let report = LoadReport { runs: vec![run.clone(), run], ..example_report() };
        let charts = charts(&report);
        let titles: Vec<&str> = charts.iter().map(|chart| chart.title.as_str()).collect();
        assert_eq!(titles, ["Users"], "nothing else happened");
        assert_eq!(charts[0].borders, [10.0]);
        let first = &charts[0].series[0];
        assert_eq!(first.segments[1][0], (11.0, 5.0));
    }
}
