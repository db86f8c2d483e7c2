//! The percentiles of each latency of each run, as tables of `report.html` and `summary.md`. Pure.

use super::html::escape;
use super::model::{LoadReport, RunReport};
use super::text::number;
use crate::load::measure::LatencySummary;
use std::fmt::Write as _;

/// The latencies that are shown, and their names.
const SHOWN: [(&str, &str); 5] = [
    ("connect", "connect"),
    ("match", "match"),
    ("relay", "relay"),
    ("ping", "ping"),
    ("http", "HTTP"),
];
/// The percentiles that are shown.
const COLUMNS: [&str; 6] = ["p50", "p90", "p95", "p99", "p99.9", "max"];

fn values(times: &LatencySummary) -> [String; 6] {
    [times.p50_ms, times.p90_ms, times.p95_ms, times.p99_ms, times.p999_ms, times.max_ms]
        .map(number)
}

/// The latencies of the runs, with the names of run and latency: those of trials only if there is no
/// other run.
fn rows(report: &LoadReport) -> impl Iterator<Item = (&str, &'static str, &LatencySummary)> {
    let only_trials = report.runs.iter().all(|run| run.trial);
    let shown = report.runs.iter().filter(move |run| only_trials || !run.trial);
    shown.flat_map(|run: &RunReport| {
        let row = |(key, name)| Some((run.name.as_str(), name, run.times.get(key)?));
        SHOWN.into_iter().filter_map(row)
    })
}

/// The section of `report.html`; empty if no latency was measured.
pub(super) fn html(report: &LoadReport) -> String {
    let mut text = String::new();
    for (run, latency, times) in rows(report) {
        let _ = write!(
            text,
            "<tr><td>{}</td><td>{latency}</td><td class=\"n\">{}</td>",
            escape(run),
            number(times.count as f64)
        );
        for value in values(times) {
            let _ = write!(text, "<td class=\"n\">{value}</td>");
        }
        text += "</tr>\n";
    }
    if text.is_empty() {
        return text;
    }
    let heads = COLUMNS.map(|name| format!("<th class=\"n\">{name}</th>")).concat();
    format!(
        "<h2>Percentiles</h2>\n<p class=\"note\">In milliseconds, from the intended start.</p>\n\
         <div class=\"wide\"><table><thead><tr><th>run</th><th>latency</th><th class=\"n\">count</th>\
         {heads}</tr></thead><tbody>\n{text}</tbody></table></div>\n"
    )
}

/// The section of `summary.md`; empty if no latency was measured.
pub(super) fn markdown(report: &LoadReport) -> String {
    let mut text = String::new();
    for (run, latency, times) in rows(report) {
        let (count, values) = (number(times.count as f64), values(times).join(" | "));
        let _ = writeln!(text, "| {run} | {latency} | {count} | {values} |");
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "\n## Percentiles in ms\n\n| run | latency | count | {} |\n| --- | --- {}|\n{text}",
        COLUMNS.join(" | "),
        "| --: ".repeat(COLUMNS.len() + 1)
    )
}

#[cfg(test)]
mod tests {
    use super::super::model::{example_report, example_run};
    use super::*;

    #[test]
    fn both_tables_show_six_percentiles_of_each_latency() {
        let times = LatencySummary {
            count: 7000,
            mean_ms: 1.5,
            p50_ms: 1.0,
            p90_ms: 2.0,
            p95_ms: 3.0,
            p99_ms: 4.0,
            p999_ms: 5.0,
            max_ms: 6.0,
        };
        let mut run = example_run();
        run.times = [("ping".to_owned(), times), ("late".to_owned(), times)].into();
        let trial = RunReport { trial: true, ..run.clone() };
        let report = LoadReport { runs: vec![trial, run], ..example_report() };
        let expected = "\n## Percentiles in ms\n\n\
            | run | latency | count | p50 | p90 | p95 | p99 | p99.9 | max |\n\
            | --- | --- | --: | --: | --: | --: | --: | --: | --: |\n\
            | calls | ping | 7,000 | 1 | 2 | 3 | 4 | 5 | 6 |\n";
        assert_eq!(markdown(&report), expected);
        let cells = "<td class=\"n\">3</td><td class=\"n\">4</td><td class=\"n\">5</td>";
        assert_eq!(html(&report).matches(cells).count(), 1, "{}", html(&report));
        assert_eq!((markdown(&example_report()), html(&example_report())), Default::default());
    }
}
