//! The charts of a report, and their data. Pure.

use super::charts::{Chart, ChartSeries, HorizontalAxis};
use super::model::{LoadReport, RunReport};
use crate::load::interval_log::IntervalRow;
use crate::load::measure::{CountMetric, LatencySummary, LoadFault};

const MIB: f64 = 1024.0 * 1024.0;
/// Limit of lines in the chart of the shards; a chart has six colours.
const MAX_SHARD_LINES: usize = 6;

/// All charts over time. The runs follow each other on one time axis.
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
                ("waiting, peak", &|row| Some(row.waiting_peak as f64)),
            ],
        ),
        timeline.chart(
            "Messages",
            "relayed per second",
            false,
            &[("sent", &rate(CountMetric::Sent)), ("received", &rate(CountMetric::Received))],
        ),
        timeline.chart(
            "Matches and new sessions",
            "per second",
            false,
            &[
                ("matched users", &rate(CountMetric::Matched)),
                ("opened sessions", &rate(CountMetric::Connected)),
            ],
        ),
        timeline.chart(
            "HTTP requests",
            "per second",
            false,
            &[
                ("answered with 200", &rate(CountMetric::HttpOk)),
                ("failed", &rate(CountMetric::HttpFailed)),
            ],
        ),
    ];
    for (name, title) in [
        ("relay", "Relay time, from the intended start"),
        ("relay_service", "Relay time, from the actual start"),
        ("match", "Time to a match"),
        ("http", "HTTP time, from the intended start"),
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
                ("p99", &quantile(|q| q.p99_ms)),
                ("max", &quantile(|q| q.max_ms)),
            ],
        ));
    }
    charts.push(error_chart(&timeline));
    charts.extend(resource_charts(&timeline));
    charts.extend(server_charts(&timeline));
    charts.retain(|chart| chart.series.iter().any(has_nonzero_value));
    charts
}

/// Whether a fault has a line of its own in the chart of errors.
fn is_named(fault: LoadFault) -> bool {
    fault.proves_violation()
        || fault.is_connect_failure()
        || fault.ends_session()
        || fault.is_refusal()
}

fn error_chart(timeline: &Timeline<'_>) -> Chart {
    let faults = |wanted: fn(LoadFault) -> bool| {
        move |row: &IntervalRow| {
            let of_kind = |name: &String| LoadFault::from_name(name).is_some_and(wanted);
            let seen = row.faults.iter().filter(|(name, _)| of_kind(name));
            Some(seen.map(|(_, seen)| seen.count as f64).sum::<f64>() / row.length_s.max(1e-3))
        }
    };
    timeline.chart(
        "Errors",
        "per second",
        false,
        &[
            ("server faults", &faults(LoadFault::proves_violation)),
            ("connections", &faults(|f| f.is_connect_failure() || f.ends_session())),
            ("refused messages", &faults(LoadFault::is_refusal)),
            ("other", &faults(|fault| !is_named(fault))),
        ],
    )
}

/// The CPU of each shard, of the first [`MAX_SHARD_LINES`].
fn shard_chart(timeline: &Timeline<'_>) -> Chart {
    let rows = timeline.runs.iter().flat_map(|(_, run)| &run.intervals);
    let shards = rows.map(|row| row.server.shard_cpu_percent.len()).max().unwrap_or(0);
    let names: Vec<String> =
        (0..shards.min(MAX_SHARD_LINES)).map(|shard| format!("shard {shard}")).collect();
    let readers: Vec<_> = (0..names.len())
        .map(|shard| move |row: &IntervalRow| row.server.shard_cpu_percent.get(shard).copied())
        .collect();
    let lines: Vec<(&str, RowReader<'_>)> = names
        .iter()
        .zip(&readers)
        .map(|(name, read)| (name.as_str(), read as RowReader<'_>))
        .collect();
    timeline.chart("CPU of each shard", "percent of one CPU", false, &lines)
}

/// What the server reports about itself.
fn server_charts(timeline: &Timeline<'_>) -> Vec<Chart> {
    vec![
        shard_chart(timeline),
        timeline.chart(
            "Server threads",
            "running",
            false,
            &[("threads", &|row| Some(row.server.threads? as f64))],
        ),
        timeline.chart(
            "Server's own latencies",
            "ms since its start, logarithmic",
            true,
            &[
                ("relay, p99", &|row| row.server.latency_ms.get("relay_p99").copied()),
                ("event loop, p99", &|row| row.server.latency_ms.get("loop_p99").copied()),
                ("event loop, max", &|row| row.server.latency_ms.get("loop_max").copied()),
            ],
        ),
    ]
}

fn resource_charts(timeline: &Timeline<'_>) -> Vec<Chart> {
    vec![
        timeline.chart(
            "CPU",
            "percent of one CPU",
            false,
            &[
                ("server", &|row| row.server.cpu_percent),
                ("generator", &|row| Some(row.generator.cpu_percent)),
                ("other processes", &|row| row.generator.machine.others_cpu_percent),
                ("stolen by the hypervisor", &|row| row.generator.machine.steal_percent),
            ],
        ),
        timeline.chart(
            "Waiting for a CPU",
            "percent of the time, on the generator's machine",
            false,
            &[("some task waited", &|row| row.generator.machine.cpu_pressure_percent)],
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
                ("connections", &|row| Some(row.server.connections? as f64)),
            ],
        ),
        timeline.chart(
            "Network",
            "MiB per second, measured by the generator",
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
                ("longest event loop iteration", &|row| Some(row.generator.longest_iteration_ms)),
                ("late starts, p99", &|row| row.times.get("late").map(|late| late.p99_ms)),
            ],
        ),
    ]
}

/// Latency distributions, with one line for each run.
pub(super) fn distributions(report: &LoadReport) -> Vec<Chart> {
    let of = |name: &str, title: &str| {
        let series = report
            .runs
            .iter()
            .filter(|run| !run.trial || report.runs.len() == 1)
            .filter_map(|run| Some((run, run.distributions.get(name)?)))
            .map(|(run, points)| {
                let coordinate = |percent: f64| -(1.0 - percent / 100.0).max(1e-5).log10();
                let points = points.iter().filter(|point| point.percent < 100.0);
                let segment =
                    points.map(|point| (coordinate(point.percent), point.at_most_ms)).collect();
                ChartSeries { name: run.name.clone(), segments: vec![segment] }
            })
            .take(6)
            .collect();
        Chart {
            title: title.to_owned(),
            unit: "ms, by percentile",
            x_axis: HorizontalAxis::Percentile,
            logarithmic: true,
            x_range: None,
            run_starts: Vec::new(),
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

/// The levels of a search in the order of the trials.
pub(super) fn search(report: &LoadReport) -> Option<Chart> {
    let point = report.breaking_point.as_ref()?;
    let of = |result: &str| {
        let trials = point.trials.iter().enumerate();
        let matching = trials.filter(|(_, trial)| trial.result == result);
        let segments = matching.map(|(i, trial)| vec![(i as f64 + 1.0, trial.level)]).collect();
        ChartSeries { name: result.to_owned(), segments }
    };
    Some(Chart {
        title: "The search".to_owned(),
        unit: match point.raised.starts_with("connections") {
            true => "connections, by trial",
            false => "messages per second, by trial",
        },
        x_axis: HorizontalAxis::TrialNumber,
        logarithmic: false,
        x_range: None,
        run_starts: Vec::new(),
        // The order decides the colours.
        series: vec![of("void"), of("broke"), of("held")],
    })
}

/// Whether a line has a value other than zero; a chart without such a line is left out.
fn has_nonzero_value(series: &ChartSeries) -> bool {
    series.segments.iter().flatten().any(|point| point.1 != 0.0)
}

/// The rows of a run without the fragment at its end, because a rate over a few milliseconds is
/// noise. A fragment is much shorter than the median row. The median is used because a single row
/// can be very long on a busy machine.
fn complete_rows(run: &RunReport) -> impl Iterator<Item = &IntervalRow> {
    let mut lengths: Vec<f64> = run.intervals.iter().map(|row| row.length_s).collect();
    lengths.sort_unstable_by(f64::total_cmp);
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or(0.0);
    run.intervals.iter().filter(move |row| row.length_s >= median * 0.4)
}

/// Reads the value of a line from a row.
type RowReader<'a> = &'a dyn Fn(&IntervalRow) -> Option<f64>;

/// The runs with their start times, in seconds from the start of the test.
struct Timeline<'a> {
    runs: Vec<(f64, &'a RunReport)>,
}

impl<'a> Timeline<'a> {
    fn new(runs: &'a [RunReport]) -> Self {
        let mut elapsed_s = 0.0;
        let with_start = runs.iter().map(|run| {
            let start_s = elapsed_s;
            elapsed_s += run.seconds;
            (start_s, run)
        });
        Timeline { runs: with_start.collect() }
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
                let segment = |(start_s, run): &(f64, &RunReport)| -> Vec<(f64, f64)> {
                    complete_rows(run)
                        .filter_map(|row| Some((start_s + row.at_s, read(row)?)))
                        .collect()
                };
                let segments = self.runs.iter().map(segment).filter(|s| !s.is_empty()).collect();
                ChartSeries { name: (*name).to_owned(), segments }
            })
            .collect();
        Chart {
            title: title.to_owned(),
            unit,
            x_axis: HorizontalAxis::Time,
            logarithmic,
            x_range: self.runs.last().map(|(start_s, run)| (0.0, start_s + run.seconds)),
            run_starts: self.runs.iter().skip(1).map(|(start_s, _)| *start_s).collect(),
            series,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{example_report, example_run};
    use super::*;

    #[test]
    fn shows_the_load_of_the_machine_and_what_the_server_reports() {
        let mut row = IntervalRow { length_s: 1.0, ..IntervalRow::default() };
        row.generator.machine.others_cpu_percent = Some(80.0);
        row.generator.machine.cpu_pressure_percent = Some(60.0);
        row.server.shard_cpu_percent = vec![5.0; MAX_SHARD_LINES + 1];
        row.server.threads = Some(4);
        row.server.latency_ms = [("relay_p99".to_owned(), 1.5)].into();
        let intervals = (1..=3).map(|at| IntervalRow { at_s: f64::from(at), ..row.clone() });
        let run = RunReport { intervals: intervals.collect(), ..example_run() };
        let report = LoadReport { runs: vec![run], ..example_report() };
        let charts = charts(&report);
        let lines = |title: &str| -> Vec<&str> {
            let chart = charts.iter().find(|chart| chart.title == title).unwrap();
            chart.series.iter().map(|series| series.name.as_str()).collect()
        };
        assert!(lines("CPU").contains(&"other processes"));
        assert_eq!(lines("Waiting for a CPU"), ["some task waited"]);
        assert_eq!(lines("CPU of each shard").len(), MAX_SHARD_LINES);
        assert_eq!(lines("Server threads"), ["threads"]);
        assert!(lines("Server's own latencies").contains(&"relay, p99"));
    }

    #[test]
    fn leaves_out_the_fragment_at_the_end_of_a_run() {
        let mut run = example_run();
        let lengths = [1.0, 1.0, 9.0, 1.0, 1.0, 0.01];
        run.intervals = lengths
            .iter()
            .map(|length_s| IntervalRow { length_s: *length_s, ..IntervalRow::default() })
            .collect();
        assert_eq!(complete_rows(&run).count(), 5);
    }

    #[test]
    fn places_runs_one_after_the_other_and_leaves_out_empty_charts() {
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
        assert_eq!(titles, ["Users"], "the rows contain only users");
        assert_eq!(charts[0].run_starts, [10.0]);
        let first = &charts[0].series[0];
        assert_eq!(first.segments[1][0], (11.0, 5.0));
    }
}
