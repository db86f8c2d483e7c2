//! The tables of `report.html`. Pure.

use super::html::{badge, escape};
use super::model::{LoadReport, RunReport};
use super::path_table;
use super::text::{NO_SLOPE_TEST, number};
use crate::load::target::TargetOutcome;
use std::fmt::Write as _;

/// The targets of each run, and whether they were met: a list for one run, a matrix for several.
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
            (false, None, _) => ("bad", "first level did not hold"),
            (false, Some(_), Some(_)) => ("good", "found"),
            (false, Some(_), None) => ("good", "not reached"),
        };
        let _ = writeln!(
            text,
            "<p class=\"search\"><span class=\"badge {class}\">{word}</span> <b>Breaking point:</b> {}</p>",
            escape(&super::breaking_point::headline(point))
        );
    }
    text
}

/// The CSS class and the word for an outcome.
fn class_and_word(reached: TargetOutcome) -> (&'static str, &'static str) {
    match reached {
        TargetOutcome::Met => ("good", "met"),
        TargetOutcome::Missed => ("bad", "missed"),
        TargetOutcome::NotJudged => ("", "not judged"),
    }
}

fn list(run: &RunReport) -> String {
    let mut text = "<div class=\"wide\"><table><thead><tr><th>target</th><th class=\"n\">measured</th><th></th>\
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
    for fault in run.faults.iter().filter(|fault| fault.is_server_fault) {
        let when = format!("first {:.1} s, last {:.1} s into the run", fault.first_s, fault.last_s);
        row(&escape(&fault.meaning), &number(fault.count as f64), ("bad", "server fault"), &when);
    }
    if run.faults.iter().all(|fault| !fault.is_server_fault) {
        row("no server fault occurred", "", class_and_word(TargetOutcome::Met), "");
    }
    for target in &run.targets {
        let name = format!("<code>{}</code>", escape(&target.target));
        let value = target.value.map_or("–".to_owned(), number);
        row(&name, &value, class_and_word(target.reached), &target.note);
    }
    text + "</tbody></table></div>\n"
}

fn matrix(runs: &[&RunReport]) -> String {
    let mut text = "<div class=\"wide\"><table class=\"matrix\"><thead><tr><th>run</th><th></th>\
                    <th>server faults</th>"
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
        let server_faults: Vec<String> = run
            .faults
            .iter()
            .filter(|fault| fault.is_server_fault)
            .map(|fault| format!("{} × {}", number(fault.count as f64), escape(&fault.kind)))
            .collect();
        text += &match server_faults.is_empty() {
            true => "<td class=\"good\">✓ none</td>".to_owned(),
            false => format!("<td class=\"bad\">✗ {}</td>", server_faults.join(", ")),
        };
        for target in &run.targets {
            let value = target.value.map_or("–".to_owned(), number);
            let mark = match target.reached {
                TargetOutcome::Met => "✓",
                TargetOutcome::Missed => "✗",
                TargetOutcome::NotJudged => "",
            };
            let (class, word) = class_and_word(target.reached);
            let title = if target.note.is_empty() { word } else { &target.note };
            let _ = write!(
                text,
                "<td class=\"n {class}\" title=\"{}\">{value} {mark}</td>",
                escape(title)
            );
        }
        text += "</tr>\n";
    }
    text + "</tbody></table></div>\n<p class=\"note\">Grey figures were not judged: the run was \
            planned with fewer users than the target requires, did not measure the figure, was \
            stopped too early, or is void.</p>\n"
}

fn cell(run: &RunReport, name: &str) -> String {
    let value = run.figures.get(name).map_or("–".to_owned(), |value| number(*value));
    format!("<td class=\"n\">{value}</td>")
}

/// A table with a row for each run and a column for each figure. The trials of a search are folded
/// away if there are other runs.
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

/// The load and the service of each run.
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
                ("match_p99_ms", "match p99 ms"),
                ("relay_p50_ms", "relay p50 ms"),
                ("relay_p99_ms", "relay p99 ms"),
                ("relay_service_p99_ms", "service p99 ms"),
                ("success_percent", "success %"),
            ],
        )
        + &path_table::html(report)
}

/// The resources that server and generator used.
pub(super) fn resources(report: &LoadReport) -> String {
    "<h2>Resource use</h2>\n".to_owned()
        + &figure_table(
            report,
            &[
                ("server_cpu_percent", "server CPU %"),
                ("server_cpu_us_per_message", "µs per message"),
                ("server_memory_mb", "memory MiB"),
                ("server_memory_per_user_kb", "KiB per user"),
                ("server_descriptors", "descriptors"),
                ("generator_cpu_percent", "generator CPU %"),
                ("generator_cpu_us_per_message", "µs per message"),
                ("generator_cpu_ratio", "ratio"),
                ("generator_memory_mb", "memory MiB"),
                ("late_percent", "late %"),
                ("loop_lag_ms", "event loop ms"),
                ("others_cpu_percent", "other processes CPU %"),
                ("steal_percent", "stolen CPU %"),
                ("cpu_pressure_percent", "waiting for CPU %"),
            ],
        )
}

/// The faults by kind, with first and last occurrence.
pub(super) fn errors(report: &LoadReport) -> String {
    let mut text = "<h2>Error analysis</h2>\n".to_owned();
    if report.runs.iter().all(|run| run.faults.is_empty()) {
        return text + "<p>No fault occurred.</p>\n" + &server_counts(report);
    }
    text += "<div class=\"wide\"><table><thead><tr><th>run</th><th>kind</th><th>meaning</th><th class=\"n\">count</th>\
             <th class=\"n\">first</th><th class=\"n\">last</th></tr></thead><tbody>\n";
    for run in &report.runs {
        for fault in &run.faults {
            let mark = if fault.is_server_fault {
                " <span class=\"badge bad\">server fault</span>"
            } else {
                ""
            };
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
    text + "</tbody></table></div>\n" + &server_counts(report)
}

/// What the server counted by reason during each run; empty if it counted nothing.
fn server_counts(report: &LoadReport) -> String {
    const KINDS: [(&str, &str); 3] = [
        ("server_closed_", "connections closed"),
        ("server_rejected_", "requests rejected"),
        ("server_errors_", "errors sent"),
    ];
    let mut rows = String::new();
    for run in &report.runs {
        for (prefix, what) in KINDS {
            let figures = run.figures.iter();
            for (reason, count) in figures.filter_map(|(n, v)| Some((n.strip_prefix(prefix)?, v))) {
                let _ = writeln!(
                    rows,
                    "<tr><td>{}</td><td>{what}</td><td><code>{}</code></td><td class=\"n\">{}</td></tr>",
                    escape(&run.name),
                    escape(reason),
                    number(*count)
                );
            }
        }
    }
    match rows.is_empty() {
        true => rows,
        false => format!(
            "<details><summary>What the server counted, by /stats</summary><div class=\"wide\"><table><thead><tr>\
             <th>run</th><th></th><th>reason</th><th class=\"n\">count</th></tr></thead><tbody>\n\
             {rows}</tbody></table></div></details>\n"
        ),
    }
}

/// The slope tests.
pub(super) fn trends(report: &LoadReport) -> String {
    let mut rows = String::new();
    for run in &report.runs {
        for trend in &run.trends {
            let (class, word) =
                if trend.is_growing { ("bad", "grows") } else { ("good", "steady") };
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
        return match report.runs.iter().any(RunReport::lacks_slope_test) {
            true => format!("<h2>Leaks and decay</h2>\n<p>Not tested: {NO_SLOPE_TEST}.</p>\n"),
            false => rows,
        };
    }
    format!(
        "<h2>Leaks and decay</h2>\n<p class=\"note\">Mann–Kendall test and Sen’s slope.</p>\n\
         <div class=\"wide\"><table><thead><tr><th>run</th><th>figure</th><th>result</th>\
         <th class=\"n\">confidence of growth</th><th class=\"n\">points</th><th></th></tr></thead>\
         <tbody>\n{rows}</tbody></table></div>\n"
    )
}
