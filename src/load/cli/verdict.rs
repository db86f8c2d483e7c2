//! How the whole came out, by how its runs did. Pure.

use super::Exit;
use crate::load::report::cause;
use crate::load::report::model::{Outcome, Report, RunReport};

/// The outcome of the whole, by that of its parts.
fn judge(report: &Report) -> Outcome {
    let judged = || report.runs.iter().filter(|run| !run.trial);
    let crashed = |run: &RunReport| run.faults.iter().any(|fault| fault.kind == "crashed");
    let outcome = judged().map(|run| run.outcome).fold(Outcome::Passed, Outcome::worse);
    let of_search = report.breaking_point.as_ref().map(|point| match (point.void, point.holds) {
        // Among other runs a search is there to find a capacity. That the generator gave out
        // beyond it is said, and leaves a level that is known to hold.
        (true, Some(_)) if judged().next().is_some() => Outcome::Passed,
        (true, _) => Outcome::Void,
        // A search passes by finding the point; a server that breaks at once fails.
        (false, None) => Outcome::Failed,
        (false, Some(_)) => Outcome::Passed,
    });
    match of_search {
        // Overload may cost time; it must never cost the server its life.
        _ if report.runs.iter().any(crashed) => Outcome::Failed,
        _ if report.runs.is_empty() => Outcome::Void,
        Some(of_search) => outcome.worse(of_search),
        None => outcome,
    }
}

/// Judges the whole by its runs, and draws the conclusions.
pub(super) fn conclude(report: &mut Report, ends_early: bool) -> Exit {
    let outcome = judge(report);
    let exit = match outcome {
        // What answers there is no server of this kind.
        Outcome::Failed if report.runs.iter().all(RunReport::nobody_came_in) => Exit::Unreachable,
        Outcome::Failed => Exit::Missed,
        _ if ends_early => Exit::Stopped,
        Outcome::Void => Exit::Void,
        Outcome::Stopped => Exit::Stopped,
        Outcome::Passed => Exit::Passed,
    };
    report.outcome =
        if ends_early && outcome != Outcome::Failed { Outcome::Stopped } else { outcome };
    report.exit_status = exit as u8;
    report.advice = cause::advice(report);
    exit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::model::{BreakingPoint, FaultReport, example_report, example_run};

    /// A report of a stress run that found `search`, after runs with these outcomes.
    fn report(outcomes: &[Outcome], (void, holds): (bool, Option<f64>)) -> Report {
        let run = |outcome: &Outcome| RunReport { outcome: *outcome, ..example_run() };
        let trial = RunReport { trial: true, outcome: Outcome::Void, ..example_run() };
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
        Report { runs, breaking_point: Some(point), ..example_report() }
    }

    #[test]
    fn a_search_alone_is_judged_by_what_it_found_and_in_a_plan_by_whether_something_holds() {
        use Outcome::{Failed, Passed, Void};
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

    #[test]
    fn a_crash_fails_the_whole_even_in_a_trial() {
        let mut report = report(&[Outcome::Passed], (false, Some(1.0)));
        report.runs[1].faults.push(FaultReport {
            kind: "crashed".to_owned(),
            meaning: String::new(),
            count: 1,
            first_s: 0.0,
            last_s: 0.0,
            convicts: true,
        });
        assert_eq!(judge(&report), Outcome::Failed);
    }
}
