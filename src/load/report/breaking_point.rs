//! The result of a search for the breaking point. Pure.

use super::limiting_factor::limiting_factor;
use super::model::{BreakingPoint, GeneratorHost, RunReport, TrialRecord};
use crate::load::search::SearchResult;

/// Assembles the result of a search. `result` is `None` if the search was stopped early; `broken`
/// is the last trial that did not hold.
pub fn breaking_point(
    raised: &str,
    result: Option<SearchResult>,
    broken: Option<&RunReport>,
    trials: Vec<TrialRecord>,
    host: &GeneratorHost,
) -> BreakingPoint {
    let (cause, evidence) = broken
        .map(|run| limiting_factor(run, host))
        .map_or_else(Default::default, |factor| (factor.cause, factor.evidence));
    let mut point = BreakingPoint {
        raised: raised.to_owned(),
        holds: None,
        breaks: None,
        cause,
        evidence,
        void: false,
        trials,
    };
    match result {
        Some(SearchResult::BreakingPoint { holds, breaks }) => {
            (point.holds, point.breaks) = (Some(holds), Some(breaks));
        }
        Some(SearchResult::AboveCeiling { holds }) => {
            point.holds = Some(holds);
            point.cause = "none: the highest level that was tried held".to_owned();
        }
        Some(SearchResult::BelowStart { breaks }) => point.breaks = Some(breaks),
        Some(SearchResult::GeneratorLimited { holds, at }) => {
            (point.holds, point.breaks, point.void) = (holds, Some(at), true);
        }
        Some(SearchResult::Crashed { holds, at }) => {
            (point.holds, point.breaks) = (holds, Some(at));
            point.cause = "the server crashed".to_owned();
            point.evidence = broken.map(|run| run.reason.clone()).unwrap_or_default();
        }
        None => {
            let held = point.trials.iter().filter(|trial| trial.result == "held");
            point.holds = held.map(|trial| trial.level).reduce(f64::max);
            point.void = true;
            point.cause = "the search was stopped early".to_owned();
        }
    }
    point
}

/// The result of a search in one line.
pub fn headline(point: &BreakingPoint) -> String {
    let BreakingPoint { raised, cause, evidence, .. } = point;
    match (point.holds, point.breaks) {
        (holds, _) if point.void => {
            let held = match holds {
                Some(holds) => format!("the highest level that held is {holds:.0} {raised}"),
                None => "no level held".to_owned(),
            };
            match evidence.is_empty() {
                true => format!("void: {cause}; {held}"),
                false => format!("void: limited by {cause} ({evidence}); {held}"),
            }
        }
        (Some(holds), Some(breaks)) => {
            format!("holds at {holds:.0} {raised}, breaks at {breaks:.0}: {cause} ({evidence})")
        }
        (Some(holds), None) => {
            format!("holds at {holds:.0} {raised}, the highest level that was tried")
        }
        (None, Some(breaks)) => {
            format!("breaks at the first level, {breaks:.0} {raised}: {cause} ({evidence})")
        }
        (None, None) => "the search has no result".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{TestOutcome, example_run};
    use super::*;

    #[test]
    fn a_void_search_is_named_void_with_its_reason() {
        let result = SearchResult::GeneratorLimited { holds: Some(800.0), at: 1600.0 };
        let broken =
            RunReport { reason: "late".to_owned(), outcome: TestOutcome::Void, ..example_run() };
        let host = GeneratorHost::default();
        let point = breaking_point("messages", Some(result), Some(&broken), Vec::new(), &host);
        assert!(point.void);
        let line =
            "void: limited by the generator (late); the highest level that held is 800 messages";
        assert_eq!(headline(&point), line);
        let stopped = breaking_point("messages", None, None, Vec::new(), &host);
        assert_eq!(headline(&stopped), "void: the search was stopped early; no level held");
    }
}
