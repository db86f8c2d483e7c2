//! The search for the breaking point: increasing steps, bisection, confirmation. Pure.
//!
//! It only says which level to try next; the caller runs the trial and records its outcome. A
//! level that broke or was void once is tried a second time: one bad second of a shared machine
//! must not become the breaking point.

/// The parameters of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchPlan {
    /// The first level.
    pub start: f64,
    /// Factor from one step to the next, above 1.
    pub factor: f64,
    /// Highest level to try.
    pub ceiling: f64,
    /// Bisection ends when the gap is at most this share of the highest level that held.
    pub tolerance: f64,
    /// How many more times the found level must hold.
    pub confirmations: u32,
}

/// The outcome of a trial at one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialOutcome {
    /// All targets were met.
    Held,
    /// A target was missed, or a fault proves that the server broke the protocol.
    Broke,
    /// The generator or its machine was at its limit, so that the trial says nothing about the
    /// server.
    Void,
}

/// The result of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SearchResult {
    /// The server holds at `holds`, confirmed, and breaks at `breaks`.
    BreakingPoint {
        /// The highest level that held as often as required.
        holds: f64,
        /// The lowest level above it that broke twice.
        breaks: f64,
    },
    /// The server held at the ceiling; the breaking point is higher.
    AboveCeiling {
        /// The ceiling.
        holds: f64,
    },
    /// The first level did not hold.
    BelowStart {
        /// The first level.
        breaks: f64,
    },
    /// The generator reached its limit before the server did.
    GeneratorLimited {
        /// The highest level that held, if any.
        holds: Option<f64>,
        /// The level at which the generator reached its limit.
        at: f64,
    },
    /// The server crashed.
    Crashed {
        /// The highest level that held, if any.
        holds: Option<f64>,
        /// The level at which it crashed.
        at: f64,
    },
}

impl SearchResult {
    /// The level at which the server or the generator failed, if one did.
    pub fn failed_at(&self) -> Option<f64> {
        match self {
            SearchResult::BreakingPoint { breaks: at, .. }
            | SearchResult::BelowStart { breaks: at }
            | SearchResult::GeneratorLimited { at, .. }
            | SearchResult::Crashed { at, .. } => Some(*at),
            SearchResult::AboveCeiling { .. } => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum SearchStage {
    /// Increases the level; a level that broke once is tried again.
    Climbing {
        level: f64,
        again: bool,
    },
    /// Between a level that held and one that broke.
    Narrowing {
        level: f64,
        again: bool,
    },
    /// Repeats the level that was found.
    Confirming {
        level: f64,
        left: u32,
        again: bool,
    },
    Done(SearchResult),
}

/// A search in progress.
#[derive(Clone, Debug)]
pub struct CapacitySearch {
    plan: SearchPlan,
    holds: Option<f64>,
    breaks: Option<f64>,
    /// Whether the generator was at its limit at `breaks`, so that the server may hold more.
    void: bool,
    stage: SearchStage,
}

impl CapacitySearch {
    /// A search before its first trial.
    pub fn new(plan: SearchPlan) -> Self {
        let level = plan.start.min(plan.ceiling);
        let stage = SearchStage::Climbing { level, again: false };
        CapacitySearch { plan, holds: None, breaks: None, void: false, stage }
    }

    /// The level to try next, or the result.
    pub fn next(&self) -> Result<f64, SearchResult> {
        match self.stage {
            SearchStage::Climbing { level, .. }
            | SearchStage::Narrowing { level, .. }
            | SearchStage::Confirming { level, .. } => Ok(level),
            SearchStage::Done(result) => Err(result),
        }
    }

    /// What the next trial is for, for the console and the report.
    pub fn step_name(&self) -> &'static str {
        match self.stage {
            SearchStage::Climbing { again: false, .. } => "step up",
            SearchStage::Narrowing { again: false, .. } => "bisection",
            SearchStage::Climbing { again: true, .. }
            | SearchStage::Narrowing { again: true, .. }
            | SearchStage::Confirming { again: true, .. } => "repeat",
            SearchStage::Confirming { again: false, .. } => "confirmation",
            SearchStage::Done(_) => "done",
        }
    }

    /// Records the outcome of the trial at the level returned by [`CapacitySearch::next`].
    pub fn record(&mut self, trial: TrialOutcome) {
        self.stage = match (self.stage, trial) {
            (SearchStage::Done(result), _) => SearchStage::Done(result),
            (
                SearchStage::Climbing { level, again: false },
                TrialOutcome::Broke | TrialOutcome::Void,
            ) => SearchStage::Climbing { level, again: true },
            (
                SearchStage::Narrowing { level, again: false },
                TrialOutcome::Broke | TrialOutcome::Void,
            ) => SearchStage::Narrowing { level, again: true },
            (SearchStage::Confirming { level, left, again: false }, TrialOutcome::Void) => {
                SearchStage::Confirming { level, left, again: true }
            }
            // When the generator is at its limit the search continues below: the server may break
            // there too.
            (
                SearchStage::Climbing { level, again: true }
                | SearchStage::Narrowing { level, again: true },
                TrialOutcome::Broke | TrialOutcome::Void,
            ) => self.lower_upper_end(level, trial),
            (SearchStage::Climbing { level, .. }, TrialOutcome::Held) => {
                self.holds = Some(level);
                if level >= self.plan.ceiling {
                    SearchStage::Done(SearchResult::AboveCeiling { holds: level })
                } else {
                    let level = (level * self.plan.factor).min(self.plan.ceiling);
                    SearchStage::Climbing { level, again: false }
                }
            }
            (SearchStage::Narrowing { level, .. }, TrialOutcome::Held) => {
                self.holds = Some(level);
                self.narrow()
            }
            (SearchStage::Confirming { level, left, .. }, TrialOutcome::Held) => match left {
                0 | 1 => self.conclude(),
                _ => SearchStage::Confirming { level, left: left - 1, again: false },
            },
            // A level that held once and then broke is the new upper end; continue below it.
            (SearchStage::Confirming { level, .. }, TrialOutcome::Broke | TrialOutcome::Void) => {
                self.holds = None;
                self.lower_upper_end(level, trial)
            }
        };
    }

    /// Records that the server crashed in the current trial, which ends the search.
    pub fn record_crash(&mut self) {
        if let Ok(at) = self.next() {
            self.stage = SearchStage::Done(SearchResult::Crashed { holds: self.holds, at });
        }
    }

    /// Whether the next trial confirms the level that was found.
    pub fn is_confirming(&self) -> bool {
        matches!(self.stage, SearchStage::Confirming { .. })
    }

    /// A level did not hold: it becomes the upper end.
    fn lower_upper_end(&mut self, level: f64, trial: TrialOutcome) -> SearchStage {
        self.breaks = Some(level);
        self.void = trial == TrialOutcome::Void;
        self.narrow()
    }

    fn narrow(&self) -> SearchStage {
        match (self.holds, self.breaks) {
            (Some(holds), Some(breaks)) if breaks - holds > self.plan.tolerance * holds => {
                SearchStage::Narrowing { level: (holds + breaks) / 2.0, again: false }
            }
            (Some(level), Some(_)) => match self.plan.confirmations {
                0 => self.conclude(),
                left => SearchStage::Confirming { level, left, again: false },
            },
            (None, Some(at)) if at <= self.plan.start && self.void => {
                SearchStage::Done(SearchResult::GeneratorLimited { holds: None, at })
            }
            (None, Some(breaks)) if breaks <= self.plan.start => {
                SearchStage::Done(SearchResult::BelowStart { breaks })
            }
            // The level held once and no longer does: continue a little lower.
            (None, Some(breaks)) => {
                let lower = breaks * (1.0 - 2.0 * self.plan.tolerance.max(0.01));
                SearchStage::Narrowing { level: lower.max(self.plan.start), again: false }
            }
            (_, None) => unreachable!("because only a break begins to narrow"),
        }
    }

    fn conclude(&self) -> SearchStage {
        let holds = self.holds.expect("because only a level that held is confirmed");
        let breaks = self.breaks.expect("because a break ended the climb");
        SearchStage::Done(match self.void {
            true => SearchResult::GeneratorLimited { holds: Some(holds), at: breaks },
            false => SearchResult::BreakingPoint { holds, breaks },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: SearchPlan = SearchPlan {
        start: 100.0,
        factor: 2.0,
        ceiling: 100_000.0,
        tolerance: 0.05,
        confirmations: 2,
    };

    /// Runs a search against `server`; returns its result and the number of trials.
    fn run(
        plan: SearchPlan,
        mut server: impl FnMut(f64, u32) -> TrialOutcome,
    ) -> (SearchResult, u32) {
        let mut search = CapacitySearch::new(plan);
        for trial in 0..200 {
            match search.next() {
                Ok(level) => search.record(server(level, trial)),
                Err(result) => return (result, trial),
            }
        }
        panic!("the search does not end");
    }

    fn breaks_above(limit: f64) -> impl FnMut(f64, u32) -> TrialOutcome {
        move |level, _| if level > limit { TrialOutcome::Broke } else { TrialOutcome::Held }
    }

    #[test]
    fn finds_the_breaking_point_within_the_tolerance() {
        for limit in [130.0, 777.0, 12_345.0, 99_000.0] {
            let (result, trials) = run(PLAN, breaks_above(limit));
            let SearchResult::BreakingPoint { holds, breaks } = result else {
                panic!("{result:?}")
            };
            assert!(holds <= limit && limit < breaks, "{result:?}");
            assert!(breaks - holds <= holds * 0.05 + 1e-9, "{result:?}");
            assert!(trials < 40, "{trials}");
        }
    }

    #[test]
    fn repeats_a_trial_that_broke_once() {
        let (result, _) = run(PLAN, |level, trial| {
            if trial == 3 || level > 5000.0 { TrialOutcome::Broke } else { TrialOutcome::Held }
        });
        let SearchResult::BreakingPoint { holds, .. } = result else { panic!("{result:?}") };
        assert!(holds > 4700.0, "{result:?}");
    }

    #[test]
    fn lowers_a_level_that_does_not_hold_again() {
        // A server that slows down: its limit decreases with every trial, to 3000.
        let (result, _) = run(PLAN, |level, trial| {
            if level > (5000.0 - 150.0 * f64::from(trial)).max(3000.0) {
                TrialOutcome::Broke
            } else {
                TrialOutcome::Held
            }
        });
        let SearchResult::BreakingPoint { holds, breaks } = result else { panic!("{result:?}") };
        assert!(holds < breaks && holds <= 3000.0, "{result:?}");
    }

    #[test]
    fn reports_a_result_below_the_start_or_above_the_ceiling() {
        assert_eq!(run(PLAN, breaks_above(1.0)).0, SearchResult::BelowStart { breaks: 100.0 });
        let beyond = run(PLAN, breaks_above(1e9)).0;
        assert_eq!(beyond, SearchResult::AboveCeiling { holds: 100_000.0 });
    }

    #[test]
    fn a_generator_at_its_limit_makes_the_result_void_and_its_limit_is_found() {
        let (result, _) =
            run(
                PLAN,
                |level, _| if level > 1000.0 { TrialOutcome::Void } else { TrialOutcome::Held },
            );
        let SearchResult::GeneratorLimited { holds: Some(holds), at } = result else {
            panic!("{result:?}")
        };
        assert!(holds <= 1000.0 && 1000.0 < at && at - holds <= holds * 0.05, "{result:?}");
        let at_once = run(PLAN, |_, _| TrialOutcome::Void).0;
        assert_eq!(at_once, SearchResult::GeneratorLimited { holds: None, at: 100.0 });
    }

    #[test]
    fn finds_a_server_limit_below_the_generators_limit() {
        let (result, _) = run(PLAN, |level, _| match level {
            level if level > 1500.0 => TrialOutcome::Void,
            level if level > 1000.0 => TrialOutcome::Broke,
            _ => TrialOutcome::Held,
        });
        let SearchResult::BreakingPoint { holds, breaks } = result else { panic!("{result:?}") };
        assert!(holds <= 1000.0 && 1000.0 < breaks && breaks < 1500.0, "{result:?}");
    }

    #[test]
    fn a_crash_ends_the_search() {
        let mut search = CapacitySearch::new(PLAN);
        search.record(TrialOutcome::Held);
        search.record_crash();
        assert_eq!(search.next(), Err(SearchResult::Crashed { holds: Some(100.0), at: 200.0 }));
    }
}
