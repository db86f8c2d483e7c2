//! The differences between two reports. Pure.

use super::model::{LoadReport, RunReport, TestOutcome};
use super::text::number;
use crate::load::measure::LoadFault;

/// The result of comparing two reports that have no figure in common.
pub(super) const NO_COMMON_FIGURES: &str = "no figure was measured in both reports";

/// One figure in two reports.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FigureChange {
    pub(super) run: String,
    pub(super) figure: String,
    /// Values as text.
    pub(super) before: String,
    pub(super) after: String,
    /// The change in percent; `None` if the value before was zero or is not a number.
    pub(super) percent: Option<f64>,
    /// Whether the change is an improvement; `None` if it is neither better nor worse.
    pub(super) better: Option<bool>,
}

/// The figures that are compared, and whether a lower value is better.
const COMPARED: &[(&str, bool)] = &[
    ("success_percent", false),
    ("connect_p99_ms", true),
    ("match_p50_ms", true),
    ("match_p99_ms", true),
    ("relay_p50_ms", true),
    ("relay_p99_ms", true),
    ("relay_p999_ms", true),
    ("relay_max_ms", true),
    ("http_p99_ms", true),
    ("messages_per_s", false),
    ("server_cpu_us_per_message", true),
    ("server_connect_cpu_us", true),
    ("server_memory_mb", true),
    ("server_memory_per_user_kb", true),
    ("generator_cpu_us_per_message", true),
];

/// A change up to this percentage is noise, neither better nor worse.
const NOISE_PERCENT: f64 = 5.0;

/// Compares the breaking points, and the runs that have the same name in both reports. Trials of a
/// search are left out, because the breaking point is their result.
pub(super) fn compare(earlier: &LoadReport, report: &LoadReport) -> Vec<FigureChange> {
    let mut all = breaking_point_changes(earlier, report);
    for run in report.runs.iter().filter(|run| !run.trial) {
        let Some(old) = earlier.runs.iter().find(|old| old.name == run.name) else { continue };
        all.extend(outcome_change(old, run));
        // The figures of a run that is void or was stopped do not describe the server.
        let is_comparable = [old, run].iter().all(|run| describes_server(run.outcome));
        let first = all.len();
        for (figure, lower_is_better) in COMPARED {
            // A success rate differs by hundredths of a percent, and each of them matters.
            let noise = if figure.ends_with("_percent") { 0.0 } else { NOISE_PERCENT };
            if let Some((before, after)) = both(old, run, figure) {
                all.push(change(&run.name, figure, (before, after), noise, *lower_is_better));
            }
        }
        for fault in LoadFault::ALL.iter().map(|fault| fault.name()) {
            let counts = both(old, run, fault).filter(|(before, after)| before != after);
            all.extend(counts.map(|counts| change(&run.name, fault, counts, 0.0, true)));
        }
        if !is_comparable {
            all[first..].iter_mut().for_each(|change| change.better = None);
        }
    }
    all
}

/// Whether the figures of a run with this outcome describe the server.
fn describes_server(outcome: TestOutcome) -> bool {
    matches!(outcome, TestOutcome::Passed | TestOutcome::Failed)
}

/// The value of a figure before and after, if both runs have it.
fn both(old: &RunReport, run: &RunReport, figure: &str) -> Option<(f64, f64)> {
    Some((*old.figures.get(figure)?, *run.figures.get(figure)?))
}

fn change(
    run: &str,
    figure: &str,
    (before, after): (f64, f64),
    noise: f64,
    lower_is_better: bool,
) -> FigureChange {
    let percent = (before != 0.0).then(|| 100.0 * (after - before) / before);
    let is_significant = percent.is_none_or(|percent| percent.abs() > noise) && after != before;
    FigureChange {
        run: run.to_owned(),
        figure: figure.to_owned(),
        before: number(before),
        after: number(after),
        percent,
        better: is_significant.then_some((after < before) == lower_is_better),
    }
}

/// The changes of the level that holds and of the one that breaks, if both reports have a search
/// for the same quantity. A void search did not find the server's limit, so its levels are shown
/// without a judgement.
fn breaking_point_changes(earlier: &LoadReport, report: &LoadReport) -> Vec<FigureChange> {
    let (Some(old), Some(new)) = (&earlier.breaking_point, &report.breaking_point) else {
        return Vec::new();
    };
    if old.raised != new.raised {
        return Vec::new();
    }
    let levels = [("holds at", old.holds, new.holds), ("breaks at", old.breaks, new.breaks)];
    let reaches = |holds: Option<f64>, breaks: Option<f64>| {
        holds.zip(breaks).is_some_and(|(holds, breaks)| holds >= breaks)
    };
    let verdict = match (reaches(new.holds, old.breaks), reaches(old.holds, new.breaks)) {
        (better, worse) if better != worse => Some(better),
        _ => None,
    };
    let level_change = |(name, before, after): (&str, Option<f64>, Option<f64>)| {
        let figure = format!("{name}, {}", new.raised);
        let change = match (before, after) {
            (None, None) => return None,
            (Some(before), Some(after)) => {
                change("breaking point", &figure, (before, after), NOISE_PERCENT, false)
            }
            // The searches may have covered different ranges. A judgement needs a level that held
            // in one and did not hold in the other.
            _ => FigureChange {
                run: "breaking point".to_owned(),
                figure,
                before: before.map_or("none".to_owned(), number),
                after: after.map_or("none".to_owned(), number),
                percent: None,
                better: verdict,
            },
        };
        Some(FigureChange { better: change.better.filter(|_| !old.void && !new.void), ..change })
    };
    levels.into_iter().filter_map(level_change).collect()
}

/// The change of a run's outcome, if it changed.
fn outcome_change(old: &RunReport, run: &RunReport) -> Option<FigureChange> {
    // Only outcomes that describe the server are better or worse.
    let better = match (old.outcome, run.outcome) {
        (TestOutcome::Failed, TestOutcome::Passed) => Some(true),
        (TestOutcome::Passed, TestOutcome::Failed) => Some(false),
        _ => None,
    };
    (old.outcome != run.outcome).then(|| FigureChange {
        run: run.name.clone(),
        figure: "outcome".to_owned(),
        before: old.outcome.label().to_owned(),
        after: run.outcome.label().to_owned(),
        percent: None,
        better,
    })
}

#[cfg(test)]
mod tests {
    use super::super::model::{BreakingPoint, example_report, example_run};
    use super::*;

    fn report(figures: &[(&str, f64)]) -> LoadReport {
        let mut run = example_run();
        run.figures = figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        LoadReport { runs: vec![run], ..example_report() }
    }

    #[test]
    fn each_figure_has_its_own_direction_of_improvement() {
        let before = report(&[("relay_p99_ms", 10.0), ("messages_per_s", 100.0), ("lost", 0.0)]);
        let after = report(&[("relay_p99_ms", 5.0), ("messages_per_s", 50.0), ("lost", 9.0)]);
        let found = compare(&before, &after);
        let verdicts: Vec<_> =
            found.iter().map(|d| (d.figure.as_str(), d.percent, d.better)).collect();
        assert_eq!(
            verdicts,
            [
                ("relay_p99_ms", Some(-50.0), Some(true)),
                ("messages_per_s", Some(-50.0), Some(false)),
                ("lost", None, Some(false)),
            ]
        );
    }

    /// Apart from its trials, a stress report contains only the breaking point.
    #[test]
    fn a_lower_breaking_point_is_worse_unless_a_search_is_void() {
        let stress = |holds, void| {
            let point = BreakingPoint {
                raised: "connections".to_owned(),
                holds: Some(holds),
                breaks: None,
                cause: String::new(),
                evidence: String::new(),
                void,
                trials: Vec::new(),
            };
            let trial = RunReport { trial: true, ..example_run() };
            LoadReport { runs: vec![trial], breaking_point: Some(point), ..example_report() }
        };
        let compared = |void| {
            let all = compare(&stress(1000.0, false), &stress(500.0, void));
            let [change] = &all[..] else { panic!("{all:?}") };
            (change.figure.clone(), change.percent, change.better)
        };
        let figure = || "holds at, connections".to_owned();
        assert_eq!(compared(false), (figure(), Some(-50.0), Some(false)));
        assert_eq!(compared(true), (figure(), Some(-50.0), None));
        assert_eq!(compare(&report(&[]), &stress(500.0, false)), []);
        // A server that no longer holds the first level has become worse.
        let mut nothing = stress(0.0, false);
        let point = nothing.breaking_point.as_mut().unwrap();
        (point.holds, point.breaks) = (None, Some(1000.0));
        let all = compare(&stress(1000.0, false), &nothing);
        let changes: Vec<_> =
            all.iter().map(|d| (d.before.as_str(), d.after.as_str(), d.better)).collect();
        let thousand = number(1000.0);
        let expected = [(&*thousand, "none", Some(false)), ("none", &*thousand, Some(false))];
        assert_eq!(changes, expected);
    }

    #[test]
    fn figures_of_a_void_run_are_neither_better_nor_worse() {
        let (clean, mut void) = (report(&[("lost", 0.0)]), report(&[("lost", 12.0)]));
        void.runs[0].outcome = TestOutcome::Void;
        let found = compare(&clean, &void);
        let lost = found.iter().find(|found| found.figure == "lost").unwrap();
        assert_eq!((lost.after.as_str(), lost.better), ("12", None));
    }

    #[test]
    fn a_run_that_no_longer_passes_is_worse() {
        let passed = report(&[]);
        let mut failed = passed.clone();
        failed.runs[0].outcome = TestOutcome::Failed;
        let found = compare(&passed, &failed);
        assert_eq!((found[0].after.as_str(), found[0].better), ("failed", Some(false)));
        assert_eq!(compare(&passed, &passed), []);
    }

    #[test]
    fn noise_is_neither_better_nor_worse() {
        let found = compare(&report(&[("relay_p99_ms", 10.0)]), &report(&[("relay_p99_ms", 10.3)]));
        assert_eq!(found[0].better, None);
    }
}
