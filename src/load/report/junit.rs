//! `junit.xml`: the report as a list of test cases for a CI system. Pure.

use super::breaking_point::headline;
use super::html::escape;
use super::model::{LoadReport, TestOutcome};
use super::text::number;
use crate::load::target::TargetOutcome;

/// What became of a test case.
enum CaseResult {
    Passed,
    Failed(String),
    Skipped(String),
}

/// The test cases written so far, with their totals.
#[derive(Default)]
struct CaseList {
    xml: String,
    tests: u32,
    failures: u32,
    skipped: u32,
}

impl CaseList {
    fn add(&mut self, class: &str, name: &str, seconds: f64, result: CaseResult) {
        self.tests += 1;
        let head = format!(
            "    <testcase classname=\"{}\" name=\"{}\" time=\"{seconds:.3}\"",
            escape(class),
            escape(name)
        );
        self.xml += &match result {
            CaseResult::Passed => format!("{head}/>\n"),
            CaseResult::Skipped(reason) => {
                self.skipped += 1;
                format!("{head}><skipped message=\"{}\"/></testcase>\n", escape(&reason))
            }
            CaseResult::Failed(reason) => {
                self.failures += 1;
                format!("{head}><failure message=\"{}\"/></testcase>\n", escape(&reason))
            }
        };
    }
}

/// The content of `junit.xml`: a test case for each target of each run, for each run as a whole,
/// for each required target that was not judged, and for the search.
pub(super) fn junit(report: &LoadReport) -> String {
    let mut cases = CaseList::default();
    for line in &report.unjudged_requirements {
        let result = CaseResult::Failed(line.clone());
        cases.add("targets", "every required target is judged", 0.0, result);
    }
    for line in &report.regressions {
        cases.add("compare", "no regression", 0.0, CaseResult::Failed(line.clone()));
    }
    for run in report.runs.iter().filter(|run| !run.trial) {
        for target in &run.targets {
            let result = match target.reached {
                TargetOutcome::Met => CaseResult::Passed,
                TargetOutcome::Missed => {
                    let value = target.value.map(number).unwrap_or_default();
                    CaseResult::Failed(format!("{}: measured {value}", target.target))
                }
                TargetOutcome::NotJudged => CaseResult::Skipped(target.note.clone()),
            };
            cases.add(&run.name, &target.target, 0.0, result);
        }
        let result = match run.outcome {
            TestOutcome::Passed => CaseResult::Passed,
            TestOutcome::Failed => CaseResult::Failed(run.reason.clone()),
            TestOutcome::Void | TestOutcome::Stopped => CaseResult::Skipped(run.reason.clone()),
        };
        cases.add(&run.name, "the run as a whole", run.seconds, result);
    }
    if let Some(point) = &report.breaking_point {
        let result = match (point.void, point.holds) {
            (true, _) => CaseResult::Skipped(headline(point)),
            (false, None) => CaseResult::Failed(headline(point)),
            (false, Some(_)) => CaseResult::Passed,
        };
        cases.add("stress", "a breaking point is found", 0.0, result);
    }
    let CaseList { xml, tests, failures, skipped } = cases;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"load: {}\" \
         tests=\"{tests}\" failures=\"{failures}\" skipped=\"{skipped}\" time=\"{:.3}\" \
         timestamp=\"{}\">\n{xml}  </testsuite>\n</testsuites>\n",
        escape(&report.scenario),
        report.seconds,
        report.started
    )
}

#[cfg(test)]
mod tests {
    use super::super::text::tests::failed_report;
    use super::*;

    #[test]
    fn counts_the_cases_that_it_lists_and_escapes_their_text() {
        let xml = junit(&failed_report());
        assert!(xml.contains("tests=\"4\" failures=\"2\" skipped=\"1\""), "{xml}");
        assert!(xml.contains("classname=\"calls &lt;&amp;&gt;\""), "{xml}");
        assert_eq!(xml.matches("<testcase").count(), 4);
    }
}
