//! Numbers as text, and the report on the console. Pure.

use super::breaking_point::headline;
use super::compare::{FigureChange, NO_COMMON_FIGURES, ReportComparison};
use super::model::{LoadReport, RunReport};
use super::{generator_table, path_table};
use crate::load::target::TargetOutcome;
use std::fmt::Write as _;

/// Printed for an endurance run that was too short for a slope test.
pub(super) const NO_SLOPE_TEST: &str =
    "too few intervals for a slope test: leaks would not be found";

/// A number with the digits that matter.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v == v.trunc() && v < 1e15 || v >= 1000.0 => with_separators(value),
        v if v >= 100.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A whole number with a comma between groups of three digits.
fn with_separators(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

fn target_label(outcome: TargetOutcome) -> &'static str {
    match outcome {
        TargetOutcome::Met => "met",
        TargetOutcome::Missed => "MISSED",
        TargetOutcome::NotJudged => "not judged",
    }
}

/// The text that is printed at the end of the test.
pub fn console(report: &LoadReport, compared: Option<&ReportComparison>) -> String {
    let mut text = format!("\n{}: {}\n", report.scenario, report.outcome.label());
    for run in &report.runs {
        let reason =
            if run.reason.is_empty() { String::new() } else { format!(" ({})", run.reason) };
        let _ = writeln!(text, "\n{} — {}{reason}", run.name, run.outcome.label());
        for line in key_figures(run) {
            let _ = writeln!(text, "  {line}");
        }
        if run.trial {
            continue;
        }
        for line in generator_table::console(run) {
            let _ = writeln!(text, "  {line}");
        }
        for target in &run.targets {
            let value = target.value.map(number).unwrap_or_default();
            let label = target_label(target.reached);
            let note = match (target.reached, target.note.is_empty()) {
                (TargetOutcome::Met, false) => format!(" ({})", target.note),
                (TargetOutcome::Met | TargetOutcome::Missed | TargetOutcome::NotJudged, _) => {
                    String::new()
                }
            };
            let _ = writeln!(text, "  {:<34} {value:>12}  {label}{note}", target.target);
        }
        for trend in &run.trends {
            let _ = writeln!(text, "  {}: {}", trend.figure, trend.verdict);
        }
        if run.lacks_slope_test() {
            let _ = writeln!(text, "  {NO_SLOPE_TEST}");
        }
    }
    if let Some(point) = &report.breaking_point {
        let _ = writeln!(text, "\n{}", headline(point));
    }
    if let Some(compared) = compared {
        text += &comparison(compared);
    }
    for line in &report.regressions {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// The differences to earlier reports.
pub fn comparison(comparison: &ReportComparison) -> String {
    let mut text = format!("\ncompared with the report of {}:\n", comparison.with);
    for line in &comparison.differences {
        let _ = writeln!(text, "  different: {line}");
    }
    for line in &comparison.remarks {
        let _ = writeln!(text, "  note: {line}");
    }
    if comparison.changes.is_empty() {
        let _ = writeln!(text, "  {NO_COMMON_FIGURES}");
    }
    for change in &comparison.changes {
        let word = change.better.map_or("", |better| if better { "better" } else { "worse" });
        let (percent, interval) = (change.percent_text(), change.interval_text());
        let interval = if interval.is_empty() { interval } else { format!("(99 %: {interval}) ") };
        let FigureChange { run, figure, before, after, .. } = change;
        let _ = writeln!(text, "  {run} {figure}: {before} → {after} {percent} {interval}{word}");
    }
    text
}

/// The most important figures of a run, one per line.
fn key_figures(run: &RunReport) -> Vec<String> {
    let get = |name: &str| run.figures.get(name).copied();
    let count = |name: &str| number(get(name).unwrap_or(0.0));
    let mut lines = vec![match run.http_paths.is_empty() {
        true => format!(
            "{} users at once, {} connected, {} matched, {} messages sent, {} received",
            count("users_peak"),
            count("connected"),
            count("matched"),
            count("sent"),
            count("received")
        ),
        false => format!(
            "{} requests, {} answered with status 200, {} answers/s",
            count("http_due"),
            count("http_ok"),
            count("http_per_s")
        ),
    }];
    for name in ["connect", "match", "relay", "ping", "http"] {
        if let Some(latency) = run.times.get(name) {
            lines.push(format!(
                "{name:<8} p50 {:>9} ms   p99 {:>9} ms   p99.9 {:>9} ms   max {:>9} ms",
                number(latency.p50_ms),
                number(latency.p99_ms),
                number(latency.p999_ms),
                number(latency.max_ms)
            ));
        }
    }
    lines.extend(path_table::console(run));
    if let (Some(server), Some(generator)) =
        (get("server_cpu_us_per_message"), get("generator_cpu_us_per_message"))
    {
        lines.push(format!(
            "CPU per message: server {} µs, generator {} µs (ratio {})",
            number(server),
            number(generator),
            number(get("generator_cpu_ratio").unwrap_or(0.0))
        ));
    }
    for fault in &run.faults {
        lines.push(format!("{}: {} ({})", fault.kind, number(fault.count as f64), fault.meaning));
    }
    lines
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::compare::compare;
    use super::super::model::{TestOutcome, example_report, example_run};
    use super::super::summary::summary;
    use super::*;
    use crate::load::target::TargetVerdict;

    #[test]
    fn formats_numbers_with_the_digits_that_matter() {
        for (value, text) in [
            (0.0, "0"),
            (0.1234, "0.123"),
            (4.567, "4.57"),
            (123.46, "123.5"),
            (1234.5, "1,234"),
            (1_000_000.0, "1,000,000"),
            (-1500.0, "-1,500"),
            (999.0, "999"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    /// A report whose run missed one of three targets.
    pub(in crate::load::report) fn failed_report() -> LoadReport {
        let mut run = example_run();
        run.name = "calls <&>".to_owned();
        run.outcome = TestOutcome::Failed;
        run.reason = "missed: relay_p99_ms < 50".to_owned();
        let verdict = |reached, note: &str| TargetVerdict {
            target: "relay_p99_ms < 50".to_owned(),
            figure: "relay_p99_ms".to_owned(),
            bound: 50.0,
            value: Some(75.0),
            reached,
            note: note.to_owned(),
        };
        run.targets = vec![
            verdict(TargetOutcome::Missed, ""),
            verdict(TargetOutcome::Met, ""),
            verdict(TargetOutcome::NotJudged, "too small"),
        ];
        LoadReport { runs: vec![run], outcome: TestOutcome::Failed, ..example_report() }
    }

    #[test]
    fn summary_and_console_name_the_missed_target() {
        for text in [summary(&failed_report(), None), console(&failed_report(), None)] {
            assert!(text.contains("failed") && text.contains("relay_p99_ms < 50"), "{text}");
        }
    }

    #[test]
    fn summary_and_console_report_a_missing_slope_test() {
        let name = crate::load::run_plans::ENDURANCE.to_owned();
        let short = RunReport { name, trends: Vec::new(), ..example_run() };
        let report = LoadReport { runs: vec![short], ..example_report() };
        let listed = format!("## Not judged\n\n- {NO_SLOPE_TEST} (endurance)\n");
        assert!(summary(&report, None).contains(&listed), "{}", summary(&report, None));
        assert!(console(&report, None).contains(NO_SLOPE_TEST));
    }

    #[test]
    fn summary_and_console_report_that_nothing_can_be_compared() {
        let comparison = compare(&[example_report()], &failed_report());
        for format in [summary, console] {
            let text = format(&failed_report(), Some(&comparison));
            assert!(text.contains(NO_COMMON_FIGURES) && !text.contains("before"), "{text}");
        }
    }
}
