//! `report.html`: the report as one page without external resources. Pure.

use super::breaking_point::headline;
use super::compare::{NO_COMMON_FIGURES, ReportComparison};
use super::model::{LoadReport, RunReport, TestOutcome};
use super::text::number;
use super::{generator_table, latency_table, tables, timeline};
use std::fmt::Write as _;

const STYLE: &str = include_str!("report.css");

/// Escapes text for HTML and XML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The whole page.
pub(super) fn page(report: &LoadReport, compared: Option<&ReportComparison>) -> String {
    let mut page = String::with_capacity(256 * 1024);
    let title = format!("Load test {}: {}", report.scenario, report.outcome.label());
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style></head>\n<body>\n",
        escape(&title)
    );
    page += &header(report);
    page += &tables::verdicts(report);
    page += &tiles(report);
    page += &recommendations(report);
    page += &charts(report);
    page += &tables::runs(report);
    page += &latency_table::html(report);
    page += &tables::errors(report);
    page += &tables::trends(report);
    page += &tables::resources(report);
    page += &generator_table::html(report);
    page += &comparison(compared);
    page += &configuration(report);
    page += "</body></html>\n";
    page
}

fn outcome_class(outcome: TestOutcome) -> &'static str {
    match outcome {
        TestOutcome::Passed => "good",
        TestOutcome::Failed => "bad",
        TestOutcome::Void | TestOutcome::Stopped => "unsure",
    }
}

/// An outcome as a coloured word.
pub(super) fn badge(outcome: TestOutcome) -> String {
    format!("<span class=\"badge {}\">{}</span>", outcome_class(outcome), outcome.label())
}

fn header(report: &LoadReport) -> String {
    let seconds = std::time::Duration::from_secs(report.seconds.round() as u64);
    let lead = match (&report.breaking_point, reasons(report)) {
        (_, reasons) if !reasons.is_empty() => reasons,
        (Some(point), _) => escape(&headline(point)),
        (None, _) => report.runs.first().map(|run| escape(&run.about)).unwrap_or_default(),
    };
    format!(
        "<header><p class=\"eyebrow\">Switchboard load test · {}</p>\n<h1>{} {}</h1>\n\
         <p class=\"lead\">{lead}</p>\n<p class=\"facts\">{} · {} · {}</p></header>\n",
        escape(&report.url),
        escape(&report.scenario),
        badge(report.outcome),
        report.started.replace('T', " ").split(['.', 'Z']).next().unwrap_or_default(),
        humantime::format_duration(seconds),
        generator_host(report)
    )
}

/// Why the test did not pass; empty if it passed.
fn reasons(report: &LoadReport) -> String {
    let not_passed = |run: &&RunReport| !run.trial && run.outcome != TestOutcome::Passed;
    let runs: Vec<_> = report.runs.iter().filter(not_passed).collect();
    let line = |run: &&RunReport| match report.runs.len() {
        1 => escape(&run.reason),
        _ => format!("{}: {}", escape(&run.name), escape(&run.reason)),
    };
    let others = report.unjudged_requirements.iter().chain(&report.regressions);
    runs.iter().map(line).chain(others.map(|line| escape(line))).collect::<Vec<_>>().join("<br>")
}

fn generator_host(report: &LoadReport) -> String {
    let host = &report.machine;
    let which = if host.server_is_here { "the same" } else { "another" };
    let mut server = format!("server on {which} machine");
    if let Some(reason) = &host.figures_missing {
        server += &format!(" (its figures are missing: {})", escape(reason));
    }
    let generators = match generator_table::count(report) {
        0 => "generator".to_owned(),
        count => format!("{count} agents, coordinator"),
    };
    format!(
        "{generators} on {} CPU{}, {:.0} GiB, Linux {}, {server}",
        host.cpus,
        if host.cpus == 1 { "" } else { "s" },
        host.memory_bytes as f64 / (1u64 << 30) as f64,
        escape(&host.kernel)
    )
}

/// The most important figures.
fn tiles(report: &LoadReport) -> String {
    let judged: Vec<&RunReport> = match report.runs.iter().filter(|run| !run.trial).count() {
        0 => report.runs.iter().collect(),
        _ => report.runs.iter().filter(|run| !run.trial).collect(),
    };
    let max = |name: &str| {
        judged.iter().filter_map(|run| run.figures.get(name)).copied().reduce(f64::max)
    };
    let sum = |name: &str| judged.iter().filter_map(|run| run.figures.get(name)).sum::<f64>();
    let mut tiles = String::new();
    let mut tile = |value: Option<String>, unit: &str, name: &str| {
        if let Some(value) = value {
            let _ =
                write!(tiles, "<div><dd>{value}<small>{unit}</small></dd><dt>{name}</dt></div>");
        }
    };
    let shown = |value: Option<f64>| value.filter(|value| *value > 0.0).map(number);
    tile(shown(max("users_peak")), "", "users at once");
    tile(shown(max("messages_per_s")), "/s", "messages relayed");
    tile(shown(max("relay_p50_ms")), "ms", "relay time, p50");
    tile(shown(max("relay_p99_ms")), "ms", "relay time, p99");
    tile(shown(max("match_p99_ms")), "ms", "time to a match, p99");
    tile(shown(max("http_p99_ms")), "ms", "HTTP time, p99");
    tile(shown(max("connect_p99_ms")), "ms", "time to connect, p99");
    if sum("sent") > 0.0 {
        tile(Some(number(sum("undelivered"))), "", "messages not delivered");
    }
    // With few messages, each one carries the cost of a whole iteration of the event loop. The
    // busiest run shows the cost of a message.
    let rate = |run: &&&RunReport| run.figures.get("messages_per_s").copied().unwrap_or(0.0);
    let busiest = judged.iter().max_by(|a, b| rate(a).total_cmp(&rate(b)));
    let cost = busiest.and_then(|run| run.figures.get("server_cpu_us_per_message").copied());
    tile(shown(cost), "µs", "server CPU per message");
    tile(shown(max("server_memory_mb")), "MiB", "server memory, peak");
    format!("<dl class=\"tiles\">{tiles}</dl>\n")
}

fn charts(report: &LoadReport) -> String {
    let mut text = String::new();
    if let Some(figure) = timeline::search(report).and_then(|chart| chart.figure()) {
        text += "<h2>Breaking point</h2>\n";
        let _ = writeln!(text, "<div class=\"charts\">{figure}</div>");
    }
    let over_time: String = timeline::charts(report).iter().filter_map(|c| c.figure()).collect();
    if !over_time.is_empty() {
        let note = match report.runs.len() {
            0 | 1 => "",
            _ => "<p class=\"note\">A vertical line marks the start of a run.</p>\n",
        };
        let _ = write!(text, "<h2>Over time</h2>\n{note}<div class=\"charts\">{over_time}</div>\n");
    }
    let distributions: String =
        timeline::distributions(report).iter().filter_map(|c| c.figure()).collect();
    if !distributions.is_empty() {
        let _ = write!(
            text,
            "<h2>Latency distribution</h2>\n<div class=\"charts\">{distributions}</div>\n"
        );
    }
    text
}

fn recommendations(report: &LoadReport) -> String {
    let mut text = "<h2>Recommendations</h2>\n".to_owned();
    if report.recommendations.is_empty() {
        text += "<p>None: no measurement calls for a change.</p>\n";
        return text;
    }
    text += "<ol class=\"advice\">\n";
    for recommendation in &report.recommendations {
        let _ = writeln!(
            text,
            "<li>{}<small>{}</small></li>",
            escape(&recommendation.action),
            escape(&recommendation.evidence)
        );
    }
    text + "</ol>\n"
}

fn comparison(comparison: Option<&ReportComparison>) -> String {
    let Some(comparison) = comparison else { return String::new() };
    let mut text = format!("<h2>Compared with {}</h2>\n", escape(&comparison.with));
    let remarks = comparison.remarks.iter().map(|line| escape(line));
    let lines = comparison.differences.iter().map(|line| format!("different: {}", escape(line)));
    for line in lines.chain(remarks) {
        let _ = writeln!(text, "<p class=\"note\">{line}</p>");
    }
    if comparison.changes.is_empty() {
        return format!("{text}<p>The result: {NO_COMMON_FIGURES}.</p>\n");
    }
    text += "<div class=\"wide\"><table><thead><tr><th>run</th><th>figure</th>\
             <th class=\"n\">before</th><th class=\"n\">after</th><th class=\"n\">change</th>\
             <th class=\"n\">99 % interval</th><th></th></tr></thead><tbody>\n";
    for change in &comparison.changes {
        let word = match change.better {
            Some(true) => "<span class=\"badge good\">better</span>",
            Some(false) => "<span class=\"badge bad\">worse</span>",
            None => "",
        };
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td><code>{}</code></td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td>{word}</td></tr>",
            escape(&change.run),
            change.figure,
            change.before,
            change.after,
            change.percent_text(),
            change.interval_text(),
        );
    }
    text + "</tbody></table></div>\n"
}

fn configuration(report: &LoadReport) -> String {
    format!(
        "<h2>Configuration</h2>\n<p>To repeat the test, save this as a file and give it to \
         <code>switchboard-load run</code>.</p>\n<pre>{}</pre>\n<footer>switchboard-load {}</footer>\n",
        escape(report.configuration.trim()),
        escape(&report.version)
    )
}

#[cfg(test)]
mod tests {
    use super::super::model::{example_report, example_run};
    use super::*;

    #[test]
    fn the_page_loads_no_external_resources() {
        let report = LoadReport { runs: vec![example_run()], ..example_report() };
        let compared = super::super::compare(std::slice::from_ref(&report), &report);
        let page = page(&report, Some(&compared));
        for reference in ["<script", "<link", "@import", "src=", "url("] {
            assert!(!page.contains(reference), "{reference}");
        }
        // The only URL is the namespace of SVG, which is not fetched.
        let urls = page.matches("http").count();
        assert_eq!(urls, page.matches("http://www.w3.org/2000/svg").count());
        assert!(page.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn escapes_text_from_the_command_line_and_files() {
        let mut report = LoadReport { runs: vec![example_run()], ..example_report() };
        report.url = "<script>".to_owned();
        report.runs[0].name = "<script>".to_owned();
        report.configuration = "</pre><script>".to_owned();
        assert!(!page(&report, None).contains("<script"));
    }
}
