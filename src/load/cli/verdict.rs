//! The outcome of the whole test, derived from the outcomes of its runs. Pure.

use super::LoadExitStatus;
use crate::load::measure::LoadFault;
use crate::load::report::model::{LoadReport, RunReport, TestOutcome};
use crate::load::report::recommendations;
use crate::load::target::{PerformanceTarget, TargetOutcome};

/// The outcome of the whole test.
fn overall_outcome(report: &LoadReport) -> TestOutcome {
    let judged = || report.runs.iter().filter(|run| !run.trial);
    let crashed = LoadFault::Crashed.name();
    let has_crashed = |run: &RunReport| run.faults.iter().any(|fault| fault.kind == crashed);
    let of_runs = judged().map(|run| run.outcome).fold(TestOutcome::Passed, TestOutcome::worse);
    let of_search = report.breaking_point.as_ref().map(|point| match (point.void, point.holds) {
        // Together with other runs, a search only finds a capacity. If the generator reached its limit
        // first, the report states that, and the level that held is still known.
        (true, Some(_)) if judged().next().is_some() => TestOutcome::Passed,
        (true, _) => TestOutcome::Void,
        // A search passes by finding the breaking point; it fails if not even the first level
        // holds.
        (false, None) => TestOutcome::Failed,
        (false, Some(_)) => TestOutcome::Passed,
    });
    match of_search {
        // Overload may raise latencies; it must never crash the server.
        _ if report.runs.iter().any(has_crashed) => TestOutcome::Failed,
        _ if report.runs.iter().any(RunReport::is_unreachable) => TestOutcome::Failed,
        _ if report.runs.is_empty() => TestOutcome::Void,
        Some(of_search) => of_runs.worse(of_search),
        None => of_runs,
    }
}

/// The targets in `required` by which no run could be judged, one sentence each. One run with the
/// figure is enough: a plan, for example, has `messages_per_s` in some of its runs only.
fn unjudged(report: &LoadReport, required: &[PerformanceTarget]) -> Vec<String> {
    let verdicts = || report.runs.iter().flat_map(|run| &run.targets);
    let sentence = |target: &PerformanceTarget| {
        let target = target.to_string();
        let of_target = || verdicts().filter(|verdict| verdict.target == target);
        if of_target().any(|verdict| verdict.reached != TargetOutcome::NotJudged) {
            return None;
        }
        let measured = of_target().find(|verdict| verdict.value.is_some());
        Some(match measured {
            Some(verdict) => {
                format!("`{target}` is required, but was not judged: {}", verdict.note)
            }
            None => format!("`{target}` is required, but no run has this figure"),
        })
    };
    required.iter().filter_map(sentence).collect()
}

/// Whether a test failed only because the server could not be reached any more.
fn fails_unreachable(report: &LoadReport) -> bool {
    let crashed = LoadFault::Crashed.name();
    let is_other = |run: &RunReport| {
        let failed = run.outcome == TestOutcome::Failed && !run.trial && !run.is_unreachable();
        failed || run.faults.iter().any(|fault| fault.kind == crashed)
    };
    report.runs.iter().any(RunReport::is_unreachable) && !report.runs.iter().any(is_other)
}

/// Judges the whole test and adds the recommendations. `required` are the targets that the user
/// added; a test cannot pass if one of them was not judged by any run.
pub(super) fn conclude(
    report: &mut LoadReport,
    required: &[PerformanceTarget],
    ends_early: bool,
) -> LoadExitStatus {
    let mut outcome = overall_outcome(report);
    if outcome == TestOutcome::Passed && !ends_early {
        report.unjudged_requirements = unjudged(report, required);
        if !report.unjudged_requirements.is_empty() {
            outcome = TestOutcome::Failed;
        }
    }
    let status = match outcome {
        // What answers at the address is not a server of this kind.
        TestOutcome::Failed if report.runs.iter().all(RunReport::no_session_opened) => {
            LoadExitStatus::Unreachable
        }
        TestOutcome::Failed if fails_unreachable(report) => LoadExitStatus::Unreachable,
        TestOutcome::Failed => LoadExitStatus::Failed,
        _ if ends_early => LoadExitStatus::Stopped,
        TestOutcome::Void => LoadExitStatus::Void,
        TestOutcome::Stopped => LoadExitStatus::Stopped,
        TestOutcome::Passed => LoadExitStatus::Passed,
    };
    report.outcome =
        if ends_early && outcome != TestOutcome::Failed { TestOutcome::Stopped } else { outcome };
    report.exit_status = status as u8;
    report.recommendations = recommendations::recommend(report);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::model::{BreakingPoint, FaultReport, example_report, example_run};

    /// A report with runs of these outcomes, followed by a search with this result.
    fn report(outcomes: &[TestOutcome], (void, holds): (bool, Option<f64>)) -> LoadReport {
        let run = |outcome: &TestOutcome| RunReport { outcome: *outcome, ..example_run() };
        let trial = RunReport { trial: true, outcome: TestOutcome::Void, ..example_run() };
        let point = BreakingPoint {
            raised: String::new(),
            holds,
            breaks: Some(2.0),
            cause: String::new(),
            evidence: String::new(),
            void,
            trials: Vec::new(),
        };
        let runs = outcomes.iter().map(run).chain([trial]).collect();
        LoadReport { runs, breaking_point: Some(point), ..example_report() }
    }

    #[test]
    fn a_void_search_is_void_alone_and_passes_in_a_plan_if_a_level_held() {
        use TestOutcome::{Failed, Passed, Void};
        let (found, limited, nothing) =
            ((false, Some(1.0)), (true, Some(1.0)), (true, None::<f64>));
        assert_eq!(overall_outcome(&report(&[], found)), Passed);
        assert_eq!(overall_outcome(&report(&[], limited)), Void);
        assert_eq!(overall_outcome(&report(&[Passed], limited)), Passed);
        assert_eq!(overall_outcome(&report(&[Passed], nothing)), Void);
        assert_eq!(overall_outcome(&report(&[Passed], (false, None))), Failed);
        assert_eq!(overall_outcome(&report(&[Passed, Void], limited)), Void);
        assert_eq!(overall_outcome(&report(&[Failed, Void], limited)), Failed);
    }

    #[test]
    fn a_required_target_that_no_run_was_judged_by_fails_the_test() {
        let targets = |texts: &[&str]| -> Vec<PerformanceTarget> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let conclude = |required: &[&str], ends_early| {
            // One run with two figures, and one without any.
            let runs = [&[("relay_p99_ms", 20.0), ("users_peak", 3.0)][..], &[]];
            let run = |figures: &[(&str, f64)]| {
                let figures = figures.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
                let verdicts =
                    crate::load::target::judge(&targets(required), &figures, 3, ends_early);
                RunReport { figures, targets: verdicts, ..example_run() }
            };
            let mut report = LoadReport { runs: runs.map(run).into(), ..example_report() };
            let status = super::conclude(&mut report, &targets(required), ends_early);
            (status, report.unjudged_requirements.join("; "))
        };
        assert_eq!(conclude(&["relay_p99_ms<50"], false), (LoadExitStatus::Passed, String::new()));
        let expected = "`match_p99_ms < 50` is required, but no run has this figure";
        let required = ["relay_p99_ms<50", "match_p99_ms<50"];
        assert_eq!(conclude(&required, false), (LoadExitStatus::Failed, expected.to_owned()));
        let (status, line) = conclude(&["users_peak>=5000"], false);
        assert_eq!(status, LoadExitStatus::Failed);
        assert!(line.contains("`users_peak ≥ 5000` is required, but was not judged: "), "{line}");
        // A run that was stopped early may lack the figure for that reason.
        assert_eq!(conclude(&required, true), (LoadExitStatus::Stopped, String::new()));
    }

    #[test]
    fn a_crash_fails_the_test_even_in_a_trial() {
        let mut report = report(&[TestOutcome::Passed], (false, Some(1.0)));
        report.runs[1].faults.push(FaultReport {
            kind: "crashed".to_owned(),
            meaning: String::new(),
            count: 1,
            first_s: 0.0,
            last_s: 0.0,
            is_server_fault: true,
            causes: Default::default(),
        });
        assert_eq!(overall_outcome(&report), TestOutcome::Failed);
    }
}
