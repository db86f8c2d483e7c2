//! How the whole came out, by how its runs did. Pure.

use super::LoadExitStatus;
use crate::load::report::cause;
use crate::load::report::model::{LoadReport, RunReport, TestOutcome};
use crate::load::target::{PerformanceTarget, TargetOutcome};

/// The outcome of the whole, by that of its parts.
fn judge(report: &LoadReport) -> TestOutcome {
    let judged = || report.runs.iter().filter(|run| !run.trial);
    let crashed = |run: &RunReport| run.faults.iter().any(|fault| fault.kind == "crashed");
    let outcome = judged().map(|run| run.outcome).fold(TestOutcome::Passed, TestOutcome::worse);
    let of_search = report.breaking_point.as_ref().map(|point| match (point.void, point.holds) {
        // Among other runs a search is there to find a capacity. That the generator gave out
        // beyond it is said, and leaves a level that is known to hold.
        (true, Some(_)) if judged().next().is_some() => TestOutcome::Passed,
        (true, _) => TestOutcome::Void,
        // A search passes by finding the point; a server that breaks at once fails.
        (false, None) => TestOutcome::Failed,
        (false, Some(_)) => TestOutcome::Passed,
    });
    match of_search {
        // Overload may cost time; it must never cost the server its life.
        _ if report.runs.iter().any(crashed) => TestOutcome::Failed,
        _ if report.runs.is_empty() => TestOutcome::Void,
        Some(of_search) => outcome.worse(of_search),
        None => outcome,
    }
}

/// The targets among `asked` by which no run could be judged, each in a sentence. It may be one
/// run of many that has the figure: a plan has its messages a second where it looks for the most.
fn asked_in_vain(report: &LoadReport, asked: &[PerformanceTarget]) -> Vec<String> {
    let judged = || report.runs.iter().flat_map(|run| &run.targets);
    let sentence = |target: &PerformanceTarget| {
        let target = target.to_string();
        let like = || judged().filter(|judgement| judgement.target == target);
        if like().any(|judgement| judgement.reached != TargetOutcome::NotJudged) {
            return None;
        }
        let why = like().find(|judgement| judgement.value.is_some());
        Some(match why {
            Some(judgement) => {
                format!("`{target}` was asked for, but judged nothing: {}", judgement.note)
            }
            None => format!("`{target}` was asked for, but there was no such figure"),
        })
    };
    asked.iter().filter_map(sentence).collect()
}

/// Judges the whole by its runs, and draws the conclusions. `asked` are the targets that people
/// have asked for: what would pass without one of them having judged anything has not passed.
pub(super) fn conclude(
    report: &mut LoadReport,
    asked: &[PerformanceTarget],
    ends_early: bool,
) -> LoadExitStatus {
    let mut outcome = judge(report);
    if outcome == TestOutcome::Passed && !ends_early {
        report.asked_in_vain = asked_in_vain(report, asked);
        if !report.asked_in_vain.is_empty() {
            outcome = TestOutcome::Failed;
        }
    }
    let exit = match outcome {
        // What answers there is no server of this kind.
        TestOutcome::Failed if report.runs.iter().all(RunReport::nobody_came_in) => {
            LoadExitStatus::Unreachable
        }
        TestOutcome::Failed => LoadExitStatus::Missed,
        _ if ends_early => LoadExitStatus::Stopped,
        TestOutcome::Void => LoadExitStatus::Void,
        TestOutcome::Stopped => LoadExitStatus::Stopped,
        TestOutcome::Passed => LoadExitStatus::Passed,
    };
    report.outcome =
        if ends_early && outcome != TestOutcome::Failed { TestOutcome::Stopped } else { outcome };
    report.exit_status = exit as u8;
    report.advice = cause::advice(report);
    exit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::model::{BreakingPoint, FaultReport, example_report, example_run};

    /// A report of a stress run that found `search`, after runs with these outcomes.
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
    fn a_search_alone_is_judged_by_what_it_found_and_in_a_plan_by_whether_something_holds() {
        use TestOutcome::{Failed, Passed, Void};
        let (found, limited, nothing) =
            ((false, Some(1.0)), (true, Some(1.0)), (true, None::<f64>));
        assert_eq!(judge(&report(&[], found)), Passed);
        assert_eq!(judge(&report(&[], limited)), Void);
        assert_eq!(judge(&report(&[Passed], limited)), Passed);
        assert_eq!(judge(&report(&[Passed], nothing)), Void);
        assert_eq!(judge(&report(&[Passed], (false, None))), Failed);
        assert_eq!(judge(&report(&[Passed, Void], limited)), Void);
        assert_eq!(judge(&report(&[Failed, Void], limited)), Failed);
    }

    /// The law: what is asked for is judged, in one run at least, or is missed.
    #[test]
    fn a_target_that_was_asked_for_and_judged_nothing_is_missed() {
        let goals = |texts: &[&str]| -> Vec<PerformanceTarget> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let conclude = |asked: &[&str], ends_early| {
            // A run with a relay time, and one that was judged by nothing that there is.
            let runs = [&[("relay_p99_ms", 20.0), ("users_peak", 3.0)][..], &[]];
            let run = |figures: &[(&str, f64)]| {
                let figures = figures.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
                let targets = crate::load::target::judge(&goals(asked), &figures, 3, ends_early);
                RunReport { figures, targets, ..example_run() }
            };
            let mut report = LoadReport { runs: runs.map(run).into(), ..example_report() };
            let exit = super::conclude(&mut report, &goals(asked), ends_early);
            (exit, report.asked_in_vain.join("; "))
        };
        assert_eq!(conclude(&["relay_p99_ms<50"], false), (LoadExitStatus::Passed, String::new()));
        let said = "`match_p99_ms < 50` was asked for, but there was no such figure";
        let asked = ["relay_p99_ms<50", "match_p99_ms<50"];
        assert_eq!(conclude(&asked, false), (LoadExitStatus::Missed, said.to_owned()));
        let (exit, said) = conclude(&["users_peak>=5000"], false);
        assert_eq!(exit, LoadExitStatus::Missed);
        assert!(said.ends_with("judged nothing: this run was to have 3 users"), "{said}");
        // Whoever stops has not seen all that was to come.
        assert_eq!(conclude(&asked, true), (LoadExitStatus::Stopped, String::new()));
    }

    #[test]
    fn a_crash_fails_the_whole_even_in_a_trial() {
        let mut report = report(&[TestOutcome::Passed], (false, Some(1.0)));
        report.runs[1].faults.push(FaultReport {
            kind: "crashed".to_owned(),
            meaning: String::new(),
            count: 1,
            first_s: 0.0,
            last_s: 0.0,
            convicts: true,
        });
        assert_eq!(judge(&report), TestOutcome::Failed);
    }
}
