//! The tables of `report.html`. Pure.

use super::html::{badge, escape};
use super::model::{LoadReport, RunReport, TestOutcome};
use super::text::number;
use crate::load::target::TargetOutcome;
use std::fmt::Write as _;

/// Each target of each run, and whether it was reached: a list for one run, and for several a
/// row each.
pub(super) fn verdicts(report: &LoadReport) -> String {
    let judged: Vec<&RunReport> = report.runs.iter().filter(|run| !run.trial).collect();
    let mut text = "<h2>Verdict</h2>\n".to_owned();
    match judged[..] {
        [] => {}
        [run] => text += &list(run),
        _ => text += &matrix(&judged),
    }
    if let Some(point) = &report.breaking_point {
        let (class, word) = match (point.void, point.holds, point.breaks) {
            (true, _, _) => ("unsure", "void"),
            (false, None, _) => ("bad", "broke at once"),
            (false, Some(_), Some(_)) => ("good", "found"),
            (false, Some(_), None) => ("good", "not reached"),
        };
        let _ = writeln!(
            text,
            "<p class=\"search\"><span class=\"badge {class}\">{word}</span> <b>Breaking point:</b> {}</p>",
            escape(&super::cause::headline(point))
        );
    }
    text
}

/// What a judgement is called, and its colour.
fn word(reached: TargetOutcome) -> (&'static str, &'static str) {
    match reached {
        TargetOutcome::Yes => ("good", "reached"),
        TargetOutcome::No => ("bad", "missed"),
        TargetOutcome::NotJudged => ("", "not judged"),
    }
}

/// A judgement as far as it can be believed: a void run says nothing about the server.
fn believed(run: &RunReport, reached: TargetOutcome) -> TargetOutcome {
    if run.outcome == TestOutcome::Void { TargetOutcome::NotJudged } else { reached }
}

fn list(run: &RunReport) -> String {
    let mut text = "<table><thead><tr><th>target</th><th class=\"n\">measured</th><th></th>\
                    <th></th></tr></thead><tbody>\n"
        .to_owned();
    let mut row = |target: &str, value: &str, (class, word): (&str, &str), note: &str| {
        let _ = writeln!(
            text,
            "<tr><td>{target}</td><td class=\"n\">{value}</td>\
             <td><span class=\"badge {class}\">{word}</span></td><td><small>{}</small></td></tr>",
            escape(note)
        );
    };
    for fault in run.faults.iter().filter(|fault| fault.convicts) {
        let when = format!("first {:.1} s, last {:.1} s into the run", fault.first_s, fault.last_s);
        row(&escape(&fault.meaning), &number(fault.count as f64), ("bad", "convicted"), &when);
    }
    if run.faults.iter().all(|fault| !fault.convicts) {
        row("no guarantee of the protocol is broken", "", word(TargetOutcome::Yes), "");
    }
    for target in &run.targets {
        let name = format!("<code>{}</code>", escape(&target.target));
        let value = target.value.map_or("–".to_owned(), number);
        row(&name, &value, word(believed(run, target.reached)), &target.note);
    }
    text + "</tbody></table>\n"
}

fn matrix(runs: &[&RunReport]) -> String {
    let mut text = "<div class=\"wide\"><table class=\"matrix\"><thead><tr><th>run</th><th></th>\
                    <th>guarantees</th>"
        .to_owned();
    for target in runs.first().map(|run| &run.targets[..]).unwrap_or_default() {
        let _ = write!(text, "<th class=\"n\"><code>{}</code></th>", escape(&target.target));
    }
    text += "</tr></thead><tbody>\n";
    for run in runs {
        let _ = write!(
            text,
            "<tr><td><b>{}</b></td><td>{}</td>",
            escape(&run.name),
            badge(run.outcome)
        );
        let broken: Vec<String> = run
            .faults
            .iter()
            .filter(|fault| fault.convicts)
            .map(|fault| format!("{} × {}", number(fault.count as f64), escape(&fault.kind)))
            .collect();
        text += &match broken.is_empty() {
            true => "<td class=\"good\">✓ kept</td>".to_owned(),
            false => format!("<td class=\"bad\">✗ {}</td>", broken.join(", ")),
        };
        for target in &run.targets {
            let value = target.value.map_or("–".to_owned(), number);
            let reached = believed(run, target.reached);
            let mark = match reached {
                TargetOutcome::Yes => "✓",
                TargetOutcome::No => "✗",
                TargetOutcome::NotJudged => "",
            };
            let (class, word) = word(reached);
            let title = if target.note.is_empty() { word } else { &target.note };
            let _ = write!(
                text,
                "<td class=\"n {class}\" title=\"{}\">{value} {mark}</td>",
                escape(title)
            );
        }
        text += "</tr>\n";
    }
    text + "</tbody></table></div>\n<p class=\"note\">Grey figures were not judged: the run was to \
            have fewer users than the target is about, did not measure it, was stopped before it \
            could reach it, or is void.</p>\n"
}

fn cell(run: &RunReport, name: &str) -> String {
    let value = run.figures.get(name).map_or("–".to_owned(), |value| number(*value));
    format!("<td class=\"n\">{value}</td>")
}

/// A table with a row for each run and a column for each figure; the many trials of a search
/// unfold on demand, unless there is nothing else.
fn figure_table(report: &LoadReport, columns: &[(&str, &str)]) -> String {
    let (trials, judged): (Vec<_>, Vec<_>) = report.runs.iter().partition(|run| run.trial);
    if trials.is_empty() || judged.is_empty() {
        return rows(&report.runs.iter().collect::<Vec<_>>(), columns);
    }
    format!(
        "{}<details><summary>{} trials of the search</summary>{}</details>\n",
        rows(&judged, columns),
        trials.len(),
        rows(&trials, columns)
    )
}

fn rows(runs: &[&RunReport], columns: &[(&str, &str)]) -> String {
    let mut text = "<div class=\"wide\"><table><thead><tr><th>run</th>".to_owned();
    for (_, title) in columns {
        let _ = write!(text, "<th class=\"n\">{title}</th>");
    }
    text += "</tr></thead><tbody>\n";
    for run in runs {
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
pub(super) fn runs(report: &LoadReport) -> String {
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
pub(super) fn resources(report: &LoadReport) -> String {
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
pub(super) fn errors(report: &LoadReport) -> String {
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
pub(super) fn trends(report: &LoadReport) -> String {
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
        let watched = report.runs.iter().any(RunReport::knows_nothing_of_leaks);
        return match watched {
            true => "<h2>Leaks and decay</h2>\n<p>There were too few intervals for a slope test: \
                     nothing is known of leaks.</p>\n"
                .to_owned(),
            false => rows,
        };
    }
    format!(
        "<h2>Leaks and decay</h2>\n<p class=\"note\">Mann–Kendall test and Sen’s slope.</p>\n\
         <table><thead><tr><th>run</th><th>figure</th><th>finding</th><th class=\"n\">rising, \
         confidence</th><th class=\"n\">points</th><th></th></tr></thead><tbody>\n{rows}</tbody></table>\n"
    )
}
