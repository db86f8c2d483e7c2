//! `summary.md`: the report for the page of a CI run. Pure.

use super::breaking_point::headline;
use super::compare::{FigureChange, NO_COMMON_FIGURES, ReportComparison};
use super::model::{LoadReport, RunReport, TestOutcome};
use super::text::{NO_SLOPE_TEST, number};
use super::{generator_table, latency_table, path_table};
use crate::load::target::{TargetOutcome, TargetVerdict};
use std::fmt::Write as _;

/// The content of `summary.md`.
pub(super) fn summary(report: &LoadReport, compared: Option<&ReportComparison>) -> String {
    let mut text = format!(
        "# Load test `{}`: {}\n\n{} against `{}`, {} s\n\n",
        report.scenario,
        report.outcome.label(),
        report.started,
        report.url,
        number(report.seconds.round())
    );
    text += &run_table(report);
    text += &path_table::markdown(report);
    text += &latency_table::markdown(report);
    text += &generator_table::markdown(report);
    if let Some(point) = &report.breaking_point {
        let _ = writeln!(text, "\n**Breaking point:** {}", headline(point));
    }
    let not_passed =
        report.runs.iter().filter(|run| !run.trial && run.outcome != TestOutcome::Passed);
    for run in not_passed {
        let _ = writeln!(text, "\n**{}:** {}", run.name, run.reason);
        text += &missed_beside_the_reason(run);
    }
    for line in &report.unjudged_requirements {
        let _ = writeln!(text, "\n**Missed:** {line}");
    }
    for line in &report.regressions {
        let _ = writeln!(text, "\n**Failed:** {line}");
    }
    text += &not_judged(report);
    if !report.recommendations.is_empty() {
        text.push_str("\n## Recommendations\n\n");
        for recommendation in &report.recommendations {
            let _ = writeln!(text, "- {} ({})", recommendation.action, recommendation.evidence);
        }
    }
    if let Some(compared) = compared {
        text += &comparison(compared);
    }
    text
}

/// The targets that a run missed, if its reason is another one.
fn missed_beside_the_reason(run: &RunReport) -> String {
    let missed = run.targets.iter().filter(|one| one.reached == TargetOutcome::Missed);
    let named: Vec<String> = missed
        .filter(|one| !run.reason.contains(&one.target))
        .map(|one| format!("{} ({})", one.target, one.value.map_or("–".to_owned(), number)))
        .collect();
    if named.is_empty() { String::new() } else { format!("\nMissed too: {}\n", named.join(", ")) }
}

fn run_table(report: &LoadReport) -> String {
    let mut text = "| run | outcome | users | msg/s | match p99 ms | relay p50 ms | relay p99 ms \
                    | lost | errors |\n| --- | --- | --: | --: | --: | --: | --: | --: | --: |\n"
        .to_owned();
    for run in &report.runs {
        let get = |name: &str| run.figures.get(name).map_or("–".to_owned(), |v| number(*v));
        let errors: u64 = run.faults.iter().map(|fault| fault.count).sum();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {errors} |",
            run.name,
            run.outcome.label(),
            get("users_peak"),
            get("messages_per_s"),
            get("match_p99_ms"),
            get("relay_p50_ms"),
            get("relay_p99_ms"),
            get("lost")
        );
    }
    text
}

/// The targets that were not judged, each with the reason and the runs; a run that passed did not
/// pass because of them. The trials of a search count as one run, for which a target was judged
/// if it was judged in any trial.
fn not_judged(report: &LoadReport) -> String {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    let mut add = |verdict: &TargetVerdict, run| {
        let line = format!("`{}`: {}", verdict.target, verdict.note);
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, runs)) => runs.push(run),
            None => lines.push((line, vec![run])),
        }
    };
    let is_open = |verdict: &&TargetVerdict| verdict.reached == TargetOutcome::NotJudged;
    for run in report.runs.iter().filter(|run| !run.trial) {
        run.targets.iter().filter(is_open).for_each(|verdict| add(verdict, run.name.as_str()));
    }
    let trials = || report.runs.iter().filter(|run| run.trial);
    let is_open_in_all_trials = |target: &str| {
        trials()
            .flat_map(|run| &run.targets)
            .filter(move |other| other.target == target)
            .all(|verdict| is_open(&verdict))
    };
    for verdict in trials().take(1).flat_map(|run| &run.targets) {
        if is_open_in_all_trials(&verdict.target) {
            add(verdict, "the search");
        }
    }
    for run in report.runs.iter().filter(|run| run.lacks_slope_test()) {
        lines.push((NO_SLOPE_TEST.to_owned(), vec![run.name.as_str()]));
    }
    let mut text = String::new();
    for (i, (line, runs)) in lines.iter().enumerate() {
        text += if i == 0 { "\n## Not judged\n\n" } else { "" };
        let _ = writeln!(text, "- {line} ({})", runs.join("; "));
    }
    text
}

fn comparison(comparison: &ReportComparison) -> String {
    let mut text = format!("\n## Compared with {}\n\n", comparison.with);
    for line in &comparison.differences {
        let _ = writeln!(text, "- different: {line}");
    }
    for line in &comparison.remarks {
        let _ = writeln!(text, "- {line}");
    }
    if comparison.changes.is_empty() {
        let _ = writeln!(text, "- the result: {NO_COMMON_FIGURES}");
        return text;
    }
    text += "\n| run | figure | before | after | change | 99 % interval |\n\
             | --- | --- | --: | --: | --: | --: |\n";
    for change in &comparison.changes {
        let word = change.better.map_or("", |better| if better { " better" } else { " **worse**" });
        let (percent, interval) = (change.percent_text(), change.interval_text());
        let FigureChange { run, figure, before, after, .. } = change;
        let _ = writeln!(
            text,
            "| {run} | {figure} | {before} | {after} | {percent}{word} | {interval} |"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::junit::junit;
    use super::super::model::{RunReport, example_report, example_run};
    use super::super::text::tests::failed_report;
    use super::*;

    #[test]
    fn lists_targets_that_were_not_judged() {
        let text = summary(&failed_report(), None);
        let listed = "## Not judged\n\n- `relay_p99_ms < 50`: too small (calls <&>)\n";
        assert!(text.contains(listed), "{text}");
        assert!(!summary(&example_report(), None).contains("Not judged"));
    }

    #[test]
    fn a_target_judged_in_one_trial_is_judged_in_the_search() {
        let verdict = |target: &str, reached| TargetVerdict {
            target: target.to_owned(),
            note: "not measured in this run".to_owned(),
            reached,
            ..failed_report().runs[0].targets[0].clone()
        };
        let trial = |targets| RunReport { trial: true, targets, ..example_run() };
        let open = |target| verdict(target, TargetOutcome::NotJudged);
        let runs = vec![
            trial(vec![open("x"), open("y")]),
            trial(vec![open("x"), verdict("y", TargetOutcome::Met)]),
        ];
        let report = LoadReport { runs, ..example_report() };
        let text = summary(&report, None);
        assert!(text.ends_with("- `x`: not measured in this run (the search)\n"), "{text}");
    }

    #[test]
    fn missed_targets_are_named_beside_a_fault_of_the_server() {
        let mut report = failed_report();
        let missed = report.runs[0].targets[0].target.clone();
        assert!(!summary(&report, None).contains("Missed too"), "{}", report.runs[0].reason);
        report.runs[0].reason = "the server is at fault".to_owned();
        let text = summary(&report, None);
        assert!(text.contains(&format!("Missed too: {missed} (")), "{text}");
    }

    #[test]
    fn an_unjudged_requirement_is_missed_in_summary_and_junit() {
        let report = LoadReport {
            unjudged_requirements: vec!["`x` is required".to_owned()],
            ..example_report()
        };
        assert!(summary(&report, None).contains("**Missed:** `x` is required"));
        assert!(junit(&report).contains("failures=\"1\""));
    }
}
