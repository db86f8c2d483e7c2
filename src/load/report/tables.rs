//! The tables of `report.html`. Pure.

use super::html::{badge, escape};
use super::model::{Report, RunReport};
use super::text::number;
use crate::load::target::Reached;
use std::fmt::Write as _;

/// Each target of each run, and whether it was reached.
pub(super) fn verdicts(report: &Report) -> String {
    let mut text = "<h2>Verdict</h2>\n<table><thead><tr><th>run</th><th>target</th>\
                    <th class=\"n\">measured</th><th></th></tr></thead><tbody>\n"
        .to_owned();
    for run in report.runs.iter().filter(|run| !run.trial) {
        let convictions: Vec<_> = run.faults.iter().filter(|fault| fault.convicts).collect();
        let rows = run.targets.len() + convictions.len().max(1);
        let _ = write!(
            text,
            "<tr class=\"first\"><td rowspan=\"{rows}\"><b>{}</b><br>{}</td>",
            escape(&run.name),
            badge(run.outcome)
        );
        if convictions.is_empty() {
            text += "<td>no guarantee broken</td><td></td>\
                     <td><span class=\"badge good\">reached</span></td></tr>\n";
        }
        for (i, fault) in convictions.iter().enumerate() {
            let begin = if i > 0 { "<tr>" } else { "" };
            let _ = writeln!(
                text,
                "{begin}<td>{}</td><td class=\"n\">{}</td><td><span class=\"badge bad\">convicted\
                 </span></td></tr>",
                escape(&fault.meaning),
                number(fault.count as f64)
            );
        }
        for target in &run.targets {
            let (class, word) = match target.reached {
                Reached::Yes => ("good", "reached"),
                Reached::No => ("bad", "missed"),
                Reached::NotJudged => ("", "not judged"),
            };
            let _ = writeln!(
                text,
                "<tr><td><code>{}</code></td><td class=\"n\">{}</td><td><span class=\"badge {class}\">\
                 {word}</span> <small>{}</small></td></tr>",
                escape(&target.target),
                target.value.map_or("–".to_owned(), number),
                escape(&target.note)
            );
        }
    }
    if let Some(point) = &report.breaking_point {
        let outcome = if point.void { "unsure" } else { "good" };
        let word = if point.void { "void" } else { "found" };
        let _ = writeln!(
            text,
            "<tr class=\"first\"><td><b>stress</b></td><td>{}</td><td class=\"n\">{}</td><td>\
             <span class=\"badge {outcome}\">{word}</span></td></tr>",
            escape(&super::cause::headline(point)),
            point.holds.map_or("–".to_owned(), number)
        );
    }
    text + "</tbody></table>\n"
}

fn cell(run: &RunReport, name: &str) -> String {
    let value = run.figures.get(name).map_or("–".to_owned(), |value| number(*value));
    format!("<td class=\"n\">{value}</td>")
}

/// A table with a row for each run and a column for each figure.
fn figure_table(report: &Report, columns: &[(&str, &str)]) -> String {
    let mut text = "<div class=\"wide\"><table><thead><tr><th>run</th>".to_owned();
    for (_, title) in columns {
        let _ = write!(text, "<th class=\"n\">{title}</th>");
    }
    text += "</tr></thead><tbody>\n";
    for run in &report.runs {
        let class = if run.trial { " class=\"trial\"" } else { "" };
        let _ = write!(text, "<tr{class}><td>{}</td>", escape(&run.name));
        for (name, _) in columns {
            text += &cell(run, name);
        }
        text += "</tr>\n";
    }
    text + "</tbody></table></div>\n"
}

/// What each run did.
pub(super) fn runs(report: &Report) -> String {
    "<h2>Runs</h2>\n".to_owned()
        + &figure_table(
            report,
            &[
                ("users_peak", "users"),
                ("connected", "connected"),
                ("matched", "matched"),
                ("calls_done", "calls"),
                ("received", "messages"),
                ("messages_per_s", "messages/s"),
                ("match_p99_ms", "match 99 % ms"),
                ("relay_p50_ms", "relay 50 % ms"),
                ("relay_p99_ms", "relay 99 % ms"),
                ("relay_service_p99_ms", "service 99 % ms"),
                ("success_percent", "success %"),
            ],
        )
}

/// What was used of the machines.
pub(super) fn resources(report: &Report) -> String {
    "<h2>Resource use</h2>\n".to_owned()
        + &figure_table(
            report,
            &[
                ("server_cpu_percent", "server CPU %"),
                ("server_cpu_us_per_message", "µs a message"),
                ("server_memory_mb", "memory MiB"),
                ("server_memory_per_user_kb", "KiB a user"),
                ("server_descriptors", "descriptors"),
                ("generator_cpu_percent", "generator CPU %"),
                ("generator_cpu_us_per_message", "µs a message"),
                ("generator_cpu_ratio", "ratio"),
                ("generator_memory_mb", "memory MiB"),
                ("late_percent", "late %"),
                ("loop_lag_ms", "loop ms"),
            ],
        )
}

/// What went wrong, by kind, with first and last occurrence.
pub(super) fn errors(report: &Report) -> String {
    let mut text = "<h2>Error analysis</h2>\n".to_owned();
    if report.runs.iter().all(|run| run.faults.is_empty()) {
        return text + "<p>Nothing went wrong.</p>\n";
    }
    text += "<table><thead><tr><th>run</th><th>kind</th><th>meaning</th><th class=\"n\">count</th>\
             <th class=\"n\">first</th><th class=\"n\">last</th></tr></thead><tbody>\n";
    for run in &report.runs {
        for fault in &run.faults {
            let mark =
                if fault.convicts { " <span class=\"badge bad\">convicts</span>" } else { "" };
            let _ = writeln!(
                text,
                "<tr><td>{}</td><td><code>{}</code>{mark}</td><td>{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{:.1} s</td><td class=\"n\">{:.1} s</td></tr>",
                escape(&run.name),
                fault.kind,
                escape(&fault.meaning),
                number(fault.count as f64),
                fault.first_s,
                fault.last_s
            );
        }
    }
    text + "</tbody></table>\n"
}

/// Slope tests.
pub(super) fn trends(report: &Report) -> String {
    let mut rows = String::new();
    for run in &report.runs {
        for trend in &run.trends {
            let (class, word) = if trend.convicted { ("bad", "grows") } else { ("good", "steady") };
            let _ = writeln!(
                rows,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{:.2} %</td>\
                 <td class=\"n\">{}</td><td><span class=\"badge {class}\">{word}</span></td></tr>",
                escape(&run.name),
                escape(&trend.figure),
                escape(&trend.verdict),
                100.0 * trend.trend.rising_confidence,
                trend.trend.points
            );
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "<h2>Leaks and decay</h2>\n<p class=\"note\">Mann–Kendall test and Sen’s slope.</p>\n\
         <table><thead><tr><th>run</th><th>figure</th><th>finding</th><th class=\"n\">rising, \
         confidence</th><th class=\"n\">points</th><th></th></tr></thead><tbody>\n{rows}</tbody></table>\n"
    )
}
