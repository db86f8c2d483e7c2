//! The HTTP requests of each path, as tables of `report.html` and `summary.md` and lines of the
//! console. Pure.

use super::html::escape;
use super::model::{LoadReport, RunReport};
use super::text::number;
use crate::load::figures::name_with_path;
use std::fmt::Write as _;

/// The columns after the path, with the figures that they show.
const COLUMNS: [(&str, &str); 11] = [
    ("http_due", "requests"),
    ("http_ok", "answered"),
    ("http_failed", "failed"),
    ("http_per_s", "answers/s"),
    ("http_ok_percent", "answered %"),
    ("http_p50_ms", "p50 ms"),
    ("http_p90_ms", "p90 ms"),
    ("http_p95_ms", "p95 ms"),
    ("http_p99_ms", "p99 ms"),
    ("http_p999_ms", "p99.9 ms"),
    ("http_max_ms", "max ms"),
];

fn value(run: &RunReport, figure: &str, path: &str) -> String {
    run.figures.get(&name_with_path(figure, path)).map_or("–".to_owned(), |value| number(*value))
}

/// The paths of all runs.
fn rows(report: &LoadReport) -> impl Iterator<Item = (&RunReport, &str)> {
    report.runs.iter().flat_map(|run| run.http_paths.keys().map(move |path| (run, path.as_str())))
}

/// The part of the section "Runs" of `report.html`; empty if there were no requests.
pub(super) fn html(report: &LoadReport) -> String {
    let mut text = String::new();
    for (run, path) in rows(report) {
        let (name, shown) = (escape(&run.name), escape(path));
        let _ = write!(text, "<tr><td>{name}</td><td><code>{shown}</code></td>");
        for (figure, _) in COLUMNS {
            let _ = write!(text, "<td class=\"n\">{}</td>", value(run, figure, path));
        }
        text += "</tr>\n";
    }
    if text.is_empty() {
        return text;
    }
    let heads = COLUMNS.map(|(_, title)| format!("<th class=\"n\">{title}</th>")).concat();
    format!(
        "<h3>HTTP requests by path</h3>\n<p class=\"note\">Times from the intended start. Answered: \
         with status 200.</p>\n<div class=\"wide\"><table><thead><tr><th>run</th><th>path</th>{heads}\
         </tr></thead><tbody>\n{text}</tbody></table></div>\n"
    )
}

/// The section of `summary.md`; empty if there were no requests.
pub(super) fn markdown(report: &LoadReport) -> String {
    let mut text = String::new();
    for (run, path) in rows(report) {
        let values = COLUMNS.map(|(figure, _)| value(run, figure, path)).join(" | ");
        // A bar would end the cell, also inside of a code span.
        let _ = writeln!(text, "| {} | `{}` | {values} |", run.name, path.replace('|', "\\|"));
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "\n## HTTP requests by path\n\n| run | path | {} |\n| --- | --- {}|\n{text}",
        COLUMNS.map(|(_, title)| title).join(" | "),
        "| --: ".repeat(COLUMNS.len())
    )
}

/// The requests of a run, all together and for each path, for the console.
pub(super) fn console(run: &RunReport) -> Vec<String> {
    let width = run.http_paths.keys().map(|path| path.chars().count()).max().unwrap_or(0);
    let line = |path: &String| {
        let of = |figure: &str| value(run, figure, path);
        format!(
            "{path:<width$}  {:>7} requests  {:>7}/s  {:>6} % answered  p50 {:>9} ms   p99 {:>9} ms   \
             max {:>9} ms",
            of("http_due"),
            of("http_per_s"),
            of("http_ok_percent"),
            of("http_p50_ms"),
            of("http_p99_ms"),
            of("http_max_ms"),
        )
    };
    run.http_paths.keys().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::model::{example_report, example_run};
    use super::*;
    use crate::load::measure::HttpPathSample;

    #[test]
    fn every_form_of_the_report_shows_requests_rate_and_percentiles_of_each_path() {
        let mut run = example_run();
        for (path, scale) in [("/a?b=<1|2>", 1.0), ("/health", 10.0)] {
            run.http_paths.insert(path.to_owned(), HttpPathSample::default());
            for (nth, (figure, _)) in COLUMNS.iter().enumerate() {
                run.figures.insert(name_with_path(figure, path), scale * (nth + 1) as f64);
            }
        }
        let lines = console(&run);
        assert_eq!(
            lines[1],
            "/health          10 requests       40/s      50 % answered  p50        60 ms   p99 \
             \x20      90 ms   max       110 ms"
        );
        let report = LoadReport { runs: vec![run], ..example_report() };
        let table = markdown(&report);
        assert!(
            table.ends_with(
                "| calls | `/a?b=<1\\|2>` | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 |\n\
                 | calls | `/health` | 10 | 20 | 30 | 40 | 50 | 60 | 70 | 80 | 90 | 100 | 110 |\n"
            ),
            "{table}"
        );
        let page = html(&report);
        assert!(
            page.contains("<code>/a?b=&lt;1|2&gt;</code></td><td class=\"n\">1</td>"),
            "{page}"
        );
        assert!(page.contains("<td class=\"n\">110</td></tr>"), "{page}");
        assert_eq!(page.matches("<th").count() - 1, COLUMNS.len() + 2, "with thead");
    }

    #[test]
    fn a_report_without_requests_has_no_table_of_paths() {
        let report = LoadReport { runs: vec![example_run()], ..example_report() };
        assert_eq!((html(&report), markdown(&report)), (String::new(), String::new()));
        assert_eq!(console(&report.runs[0]).len(), 0);
    }
}
