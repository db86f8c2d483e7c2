//! The differences between two reports. Pure.

use super::model::{LoadReport, RunReport, TestOutcome};
use super::text::number;
use crate::load::measure::LoadFault;

/// What is said where two reports share nothing that could differ.
pub(super) const NOTHING: &str = "nothing that was measured in both";

/// One figure in two reports.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FigureDifference {
    pub(super) run: String,
    pub(super) figure: String,
    /// For people.
    pub(super) before: String,
    pub(super) after: String,
    /// By how many percent it changed; `None` from zero, and for what is no number.
    pub(super) percent: Option<f64>,
    /// Whether the change is for the better, where that can be said.
    pub(super) better: Option<bool>,
}

/// The figures that are compared, and whether less is better.
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

/// A change below this share is noise, and neither better nor worse.
const NOISE_PERCENT: f64 = 5.0;

/// Compares what was found of the server's limit, and the runs that have the same name in both.
/// The trials of a search are left out: what they were for is the limit.
pub(super) fn differences(earlier: &LoadReport, report: &LoadReport) -> Vec<FigureDifference> {
    let mut all = limits(earlier, report);
    for run in report.runs.iter().filter(|run| !run.trial) {
        let Some(old) = earlier.runs.iter().find(|old| old.name == run.name) else { continue };
        all.extend(outcomes(old, run));
        // Of a run that is void or was stopped, no figure is the server's for better or worse.
        let is_fair = [old, run].iter().all(|run| is_verdict(run.outcome));
        let from = all.len();
        for (figure, less_is_better) in COMPARED {
            // A share of success moves by hundredths; there every change counts.
            let noise = if figure.ends_with("_percent") { 0.0 } else { NOISE_PERCENT };
            if let Some((before, after)) = both(old, run, figure) {
                all.push(change(&run.name, figure, (before, after), noise, *less_is_better));
            }
        }
        for fault in LoadFault::ALL.iter().map(|fault| fault.name()) {
            let seen = both(old, run, fault).filter(|(before, after)| before != after);
            all.extend(seen.map(|seen| change(&run.name, fault, seen, 0.0, true)));
        }
        if !is_fair {
            all[from..].iter_mut().for_each(|difference| difference.better = None);
        }
    }
    all
}

/// Whether it says something of the server.
fn is_verdict(outcome: TestOutcome) -> bool {
    matches!(outcome, TestOutcome::Passed | TestOutcome::Failed)
}

/// A figure that both runs have.
fn both(old: &RunReport, run: &RunReport, figure: &str) -> Option<(f64, f64)> {
    Some((*old.figures.get(figure)?, *run.figures.get(figure)?))
}

fn change(
    run: &str,
    figure: &str,
    (before, after): (f64, f64),
    noise: f64,
    less_is_better: bool,
) -> FigureDifference {
    let percent = (before != 0.0).then(|| 100.0 * (after - before) / before);
    let matters = percent.is_none_or(|percent| percent.abs() > noise) && after != before;
    FigureDifference {
        run: run.to_owned(),
        figure: figure.to_owned(),
        before: number(before),
        after: number(after),
        percent,
        better: matters.then_some((after < before) == less_is_better),
    }
}

/// The level that holds and the one that breaks, where both reports have searched for the same.
/// A void search has not found the server's limit: its levels are shown, and called neither
/// better nor worse.
fn limits(earlier: &LoadReport, report: &LoadReport) -> Vec<FigureDifference> {
    let (Some(old), Some(new)) = (&earlier.breaking_point, &report.breaking_point) else {
        return Vec::new();
    };
    if old.raised != new.raised {
        return Vec::new();
    }
    let levels = [("holds at", old.holds, new.holds), ("breaks at", old.breaks, new.breaks)];
    let reaches = |one: Option<f64>, other: Option<f64>| {
        one.zip(other).is_some_and(|(holds, breaks)| holds >= breaks)
    };
    let verdict = match (reaches(new.holds, old.breaks), reaches(old.holds, new.breaks)) {
        (better, worse) if better != worse => Some(better),
        _ => None,
    };
    let found = |(name, before, after): (&str, Option<f64>, Option<f64>)| {
        let figure = format!("{name}, {}", new.raised);
        let found = match (before, after) {
            (None, None) => return None,
            (Some(before), Some(after)) => {
                change("breaking point", &figure, (before, after), NOISE_PERCENT, false)
            }
            // It may only have been searched elsewhere, unless one went as far as the other.
            _ => FigureDifference {
                run: "breaking point".to_owned(),
                figure,
                before: before.map_or("none".to_owned(), number),
                after: after.map_or("none".to_owned(), number),
                percent: None,
                better: verdict,
            },
        };
        Some(FigureDifference { better: found.better.filter(|_| !old.void && !new.void), ..found })
    };
    levels.into_iter().filter_map(found).collect()
}

/// How a run came out, if not as before.
fn outcomes(old: &RunReport, run: &RunReport) -> Option<FigureDifference> {
    // Only what is known of the server in both is better or worse.
    let better = match (old.outcome, run.outcome) {
        (TestOutcome::Failed, TestOutcome::Passed) => Some(true),
        (TestOutcome::Passed, TestOutcome::Failed) => Some(false),
        _ => None,
    };
    (old.outcome != run.outcome).then(|| FigureDifference {
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
    fn better_and_worse_know_which_way_is_up() {
        let before = report(&[("relay_p99_ms", 10.0), ("messages_per_s", 100.0), ("lost", 0.0)]);
        let after = report(&[("relay_p99_ms", 5.0), ("messages_per_s", 50.0), ("lost", 9.0)]);
        let found = differences(&before, &after);
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

    /// All that a stress report holds beside its trials.
    #[test]
    fn a_lower_limit_is_worse_unless_a_search_is_void() {
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
        let found = |void| {
            let all = differences(&stress(1000.0, false), &stress(500.0, void));
            let [limit] = &all[..] else { panic!("{all:?}") };
            (limit.figure.clone(), limit.percent, limit.better)
        };
        let figure = || "holds at, connections".to_owned();
        assert_eq!(found(false), (figure(), Some(-50.0), Some(false)));
        assert_eq!(found(true), (figure(), Some(-50.0), None));
        assert_eq!(differences(&report(&[]), &stress(500.0, false)), []);
        // A server that holds nothing any more is worse than any that holds something.
        let mut nothing = stress(0.0, false);
        let point = nothing.breaking_point.as_mut().unwrap();
        (point.holds, point.breaks) = (None, Some(1000.0));
        let all = differences(&stress(1000.0, false), &nothing);
        let said: Vec<_> =
            all.iter().map(|d| (d.before.as_str(), d.after.as_str(), d.better)).collect();
        let thousand = number(1000.0);
        let expected = [(&*thousand, "none", Some(false)), ("none", &*thousand, Some(false))];
        assert_eq!(said, expected);
    }

    #[test]
    fn what_a_void_run_saw_is_neither() {
        let (clean, mut void) = (report(&[("lost", 0.0)]), report(&[("lost", 12.0)]));
        void.runs[0].outcome = TestOutcome::Void;
        let found = differences(&clean, &void);
        let lost = found.iter().find(|found| found.figure == "lost").unwrap();
        assert_eq!((lost.after.as_str(), lost.better), ("12", None));
    }

    #[test]
    fn a_run_that_fails_now_is_worse() {
        let passed = report(&[]);
        let mut failed = passed.clone();
        failed.runs[0].outcome = TestOutcome::Failed;
        let found = differences(&passed, &failed);
        assert_eq!((found[0].after.as_str(), found[0].better), ("failed", Some(false)));
        assert_eq!(differences(&passed, &passed), []);
    }

    #[test]
    fn noise_is_neither() {
        let found =
            differences(&report(&[("relay_p99_ms", 10.0)]), &report(&[("relay_p99_ms", 10.3)]));
        assert_eq!(found[0].better, None);
    }
}
