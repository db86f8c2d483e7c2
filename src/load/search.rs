//! The search for the breaking point: steps up, bisection, confirmation. Pure.
//!
//! It only says which level to try next; somebody else tries it and says whether the targets
//! held. A level that failed once, or was void once, is tried again before it is believed: one
//! bad second of a shared machine must not become "the breaking point".

/// How the search goes about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchPlan {
    /// The first level.
    pub start: f64,
    /// Each step is the last one times this; above 1.
    pub factor: f64,
    /// Nothing above this level is tried.
    pub ceiling: f64,
    /// Bisection ends when the gap is at most this share of the level that held.
    pub tolerance: f64,
    /// How often the level that is found must hold again.
    pub confirmations: u32,
}

/// What a trial at one level showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialOutcome {
    /// All targets were met.
    Held,
    /// A target was missed, or the server was convicted of a fault.
    Broke,
    /// The generator or its machine was at its limit: nothing is known about the server.
    Void,
}

/// The end of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SearchResult {
    /// It holds at `holds`, confirmed, and breaks at `breaks`.
    Point {
        /// The highest level that held, as often as was asked.
        holds: f64,
        /// The lowest level above it that broke twice.
        breaks: f64,
    },
    /// It held at the ceiling; the breaking point is higher.
    AboveCeiling {
        /// The ceiling.
        holds: f64,
    },
    /// Not even the first level held.
    BelowStart {
        /// The first level.
        breaks: f64,
    },
    /// The generator gave out before the server did.
    GeneratorLimited {
        /// The highest level that held, if any.
        holds: Option<f64>,
        /// The level at which the generator gave out.
        at: f64,
    },
    /// The server vanished.
    Crashed {
        /// The highest level that held, if any.
        holds: Option<f64>,
        /// The level at which it did.
        at: f64,
    },
}

impl SearchResult {
    /// The level at which something gave out, if anything did.
    pub fn failed_at(&self) -> Option<f64> {
        match self {
            SearchResult::Point { breaks: at, .. }
            | SearchResult::BelowStart { breaks: at }
            | SearchResult::GeneratorLimited { at, .. }
            | SearchResult::Crashed { at, .. } => Some(*at),
            SearchResult::AboveCeiling { .. } => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum SearchStage {
    /// Steps up; a level that broke once is tried again.
    Climbing {
        level: f64,
        again: bool,
    },
    /// Between a level that held and one that broke.
    Narrowing {
        level: f64,
        again: bool,
    },
    /// Trying the level that was found again.
    Confirming {
        level: f64,
        left: u32,
        again: bool,
    },
    Done(SearchResult),
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct CapacitySearch {
    plan: SearchPlan,
    holds: Option<f64>,
    breaks: Option<f64>,
    /// Whether it was the generator that gave out at `breaks`, so that the server may hold more.
    void: bool,
    stage: SearchStage,
}

impl CapacitySearch {
    /// A search that has tried nothing yet.
    pub fn new(plan: SearchPlan) -> Self {
        let level = plan.start.min(plan.ceiling);
        let stage = SearchStage::Climbing { level, again: false };
        CapacitySearch { plan, holds: None, breaks: None, void: false, stage }
    }

    /// The level to try next, or what was found.
    pub fn next(&self) -> Result<f64, SearchResult> {
        match self.stage {
            SearchStage::Climbing { level, .. }
            | SearchStage::Narrowing { level, .. }
            | SearchStage::Confirming { level, .. } => Ok(level),
            SearchStage::Done(found) => Err(found),
        }
    }

    /// What the search is doing, for people to read.
    pub fn doing(&self) -> &'static str {
        match self.stage {
            SearchStage::Climbing { again: false, .. } => "step up",
            SearchStage::Narrowing { again: false, .. } => "bisection",
            SearchStage::Climbing { again: true, .. }
            | SearchStage::Narrowing { again: true, .. }
            | SearchStage::Confirming { again: true, .. } => "second look",
            SearchStage::Confirming { again: false, .. } => "confirmation",
            SearchStage::Done(_) => "done",
        }
    }

    /// Takes in what the trial at the level named by [`CapacitySearch::next`] showed.
    pub fn record(&mut self, trial: TrialOutcome) {
        self.stage = match (self.stage, trial) {
            (SearchStage::Done(found), _) => SearchStage::Done(found),
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
            // Where the generator gives out, the search goes on below: the server may do so too.
            (
                SearchStage::Climbing { level, again: true }
                | SearchStage::Narrowing { level, again: true },
                TrialOutcome::Broke | TrialOutcome::Void,
            ) => self.lower_to(level, trial),
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
                0 | 1 => self.settle(),
                _ => SearchStage::Confirming { level, left: left - 1, again: false },
            },
            // What held once and then did not is the new upper end; search below it.
            (SearchStage::Confirming { level, .. }, TrialOutcome::Broke | TrialOutcome::Void) => {
                self.holds = None;
                self.lower_to(level, trial)
            }
        };
    }

    /// The server vanished in the present trial: there is nothing left to search.
    pub fn record_crash(&mut self) {
        if let Ok(at) = self.next() {
            self.stage = SearchStage::Done(SearchResult::Crashed { holds: self.holds, at });
        }
    }

    /// Whether the present trial is to confirm what was found.
    pub fn is_confirming(&self) -> bool {
        matches!(self.stage, SearchStage::Confirming { .. })
    }

    /// A level did not hold: it is the upper end from now on.
    fn lower_to(&mut self, level: f64, trial: TrialOutcome) -> SearchStage {
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
                0 => self.settle(),
                left => SearchStage::Confirming { level, left, again: false },
            },
            (None, Some(at)) if at <= self.plan.start && self.void => {
                SearchStage::Done(SearchResult::GeneratorLimited { holds: None, at })
            }
            (None, Some(breaks)) if breaks <= self.plan.start => {
                SearchStage::Done(SearchResult::BelowStart { breaks })
            }
            // It held here once and no longer does: begin again a little lower.
            (None, Some(breaks)) => {
                let lower = breaks * (1.0 - 2.0 * self.plan.tolerance.max(0.01));
                SearchStage::Narrowing { level: lower.max(self.plan.start), again: false }
            }
            (_, None) => unreachable!("because only a break begins to narrow"),
        }
    }

    fn settle(&self) -> SearchStage {
        let holds = self.holds.expect("because only a level that held is confirmed");
        let breaks = self.breaks.expect("because a break ended the climb");
        SearchStage::Done(match self.void {
            true => SearchResult::GeneratorLimited { holds: Some(holds), at: breaks },
            false => SearchResult::Point { holds, breaks },
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

    /// Runs a search against `server`; gives what it found and how many trials it took.
    fn run(
        plan: SearchPlan,
        mut server: impl FnMut(f64, u32) -> TrialOutcome,
    ) -> (SearchResult, u32) {
        let mut search = CapacitySearch::new(plan);
        for trial in 0..200 {
            match search.next() {
                Ok(level) => search.record(server(level, trial)),
                Err(found) => return (found, trial),
            }
        }
        panic!("the search does not end");
    }

    fn breaks_above(limit: f64) -> impl FnMut(f64, u32) -> TrialOutcome {
        move |level, _| if level > limit { TrialOutcome::Broke } else { TrialOutcome::Held }
    }

    #[test]
    fn the_point_is_found_within_the_tolerance() {
        for limit in [130.0, 777.0, 12_345.0, 99_000.0] {
            let (found, trials) = run(PLAN, breaks_above(limit));
            let SearchResult::Point { holds, breaks } = found else { panic!("{found:?}") };
            assert!(holds <= limit && limit < breaks, "{found:?}");
            assert!(breaks - holds <= holds * 0.05 + 1e-9, "{found:?}");
            assert!(trials < 40, "{trials}");
        }
    }

    #[test]
    fn one_bad_trial_is_not_believed() {
        let (found, _) = run(PLAN, |level, trial| {
            if trial == 3 || level > 5000.0 { TrialOutcome::Broke } else { TrialOutcome::Held }
        });
        let SearchResult::Point { holds, .. } = found else { panic!("{found:?}") };
        assert!(holds > 4700.0, "{found:?}");
    }

    #[test]
    fn a_level_that_does_not_hold_again_is_lowered() {
        // A server that tires: what it holds sinks with every trial, down to 3000.
        let (found, _) = run(PLAN, |level, trial| {
            if level > (5000.0 - 150.0 * f64::from(trial)).max(3000.0) {
                TrialOutcome::Broke
            } else {
                TrialOutcome::Held
            }
        });
        let SearchResult::Point { holds, breaks } = found else { panic!("{found:?}") };
        assert!(holds < breaks && holds <= 3000.0, "{found:?}");
    }

    #[test]
    fn the_ends_of_the_range_are_named() {
        assert_eq!(run(PLAN, breaks_above(1.0)).0, SearchResult::BelowStart { breaks: 100.0 });
        let beyond = run(PLAN, breaks_above(1e9)).0;
        assert_eq!(beyond, SearchResult::AboveCeiling { holds: 100_000.0 });
    }

    #[test]
    fn a_generator_at_its_limit_makes_the_search_void_and_the_limit_is_found() {
        let (found, _) =
            run(
                PLAN,
                |level, _| if level > 1000.0 { TrialOutcome::Void } else { TrialOutcome::Held },
            );
        let SearchResult::GeneratorLimited { holds: Some(holds), at } = found else {
            panic!("{found:?}")
        };
        assert!(holds <= 1000.0 && 1000.0 < at && at - holds <= holds * 0.05, "{found:?}");
        let at_once = run(PLAN, |_, _| TrialOutcome::Void).0;
        assert_eq!(at_once, SearchResult::GeneratorLimited { holds: None, at: 100.0 });
    }

    #[test]
    fn a_server_that_breaks_below_the_generators_limit_is_found_out() {
        let (found, _) = run(PLAN, |level, _| match level {
            level if level > 1500.0 => TrialOutcome::Void,
            level if level > 1000.0 => TrialOutcome::Broke,
            _ => TrialOutcome::Held,
        });
        let SearchResult::Point { holds, breaks } = found else { panic!("{found:?}") };
        assert!(holds <= 1000.0 && 1000.0 < breaks && breaks < 1500.0, "{found:?}");
    }

    #[test]
    fn a_crash_ends_the_search_where_it_was() {
        let mut search = CapacitySearch::new(PLAN);
        search.record(TrialOutcome::Held);
        search.record_crash();
        assert_eq!(search.next(), Err(SearchResult::Crashed { holds: Some(100.0), at: 200.0 }));
    }
}
