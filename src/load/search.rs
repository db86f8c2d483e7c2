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
pub enum Trial {
    /// All targets were met.
    Held,
    /// A target was missed, or the server was convicted of a fault.
    Broke,
    /// The generator or its machine was at its limit: nothing is known about the server.
    Void,
}

/// The end of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found {
    /// It holds at `holds`, confirmed, and breaks at `breaks`.
    Point {
        /// The highest level that held, as often as was asked.
        holds: f64,
        /// The lowest level above it that broke twice.
        breaks: f64,
    },
    /// It held at the ceiling; the breaking point is higher.
    BeyondCeiling {
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

impl Found {
    /// The level at which something gave out, if anything did.
    pub fn gave_out_at(&self) -> Option<f64> {
        match self {
            Found::Point { breaks: at, .. }
            | Found::BelowStart { breaks: at }
            | Found::GeneratorLimited { at, .. }
            | Found::Crashed { at, .. } => Some(*at),
            Found::BeyondCeiling { .. } => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
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
    Done(Found),
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    plan: SearchPlan,
    holds: Option<f64>,
    breaks: Option<f64>,
    /// Whether it was the generator that gave out at `breaks`, so that the server may hold more.
    void: bool,
    stage: Stage,
}

impl Search {
    /// A search that has tried nothing yet.
    pub fn new(plan: SearchPlan) -> Self {
        let level = plan.start.min(plan.ceiling);
        let stage = Stage::Climbing { level, again: false };
        Search { plan, holds: None, breaks: None, void: false, stage }
    }

    /// The level to try next, or what was found.
    pub fn next(&self) -> Result<f64, Found> {
        match self.stage {
            Stage::Climbing { level, .. }
            | Stage::Narrowing { level, .. }
            | Stage::Confirming { level, .. } => Ok(level),
            Stage::Done(found) => Err(found),
        }
    }

    /// What the search is doing, for people to read.
    pub fn doing(&self) -> &'static str {
        match self.stage {
            Stage::Climbing { again: false, .. } => "step up",
            Stage::Narrowing { again: false, .. } => "bisection",
            Stage::Climbing { again: true, .. }
            | Stage::Narrowing { again: true, .. }
            | Stage::Confirming { again: true, .. } => "second look",
            Stage::Confirming { again: false, .. } => "confirmation",
            Stage::Done(_) => "done",
        }
    }

    /// Takes in what the trial at the level named by [`Search::next`] showed.
    pub fn record(&mut self, trial: Trial) {
        self.stage = match (self.stage, trial) {
            (Stage::Done(found), _) => Stage::Done(found),
            (Stage::Climbing { level, again: false }, Trial::Broke | Trial::Void) => {
                Stage::Climbing { level, again: true }
            }
            (Stage::Narrowing { level, again: false }, Trial::Broke | Trial::Void) => {
                Stage::Narrowing { level, again: true }
            }
            (Stage::Confirming { level, left, again: false }, Trial::Void) => {
                Stage::Confirming { level, left, again: true }
            }
            // Where the generator gives out, the search goes on below: the server may do so too.
            (
                Stage::Climbing { level, again: true } | Stage::Narrowing { level, again: true },
                Trial::Broke | Trial::Void,
            ) => self.lower_to(level, trial),
            (Stage::Climbing { level, .. }, Trial::Held) => {
                self.holds = Some(level);
                if level >= self.plan.ceiling {
                    Stage::Done(Found::BeyondCeiling { holds: level })
                } else {
                    let level = (level * self.plan.factor).min(self.plan.ceiling);
                    Stage::Climbing { level, again: false }
                }
            }
            (Stage::Narrowing { level, .. }, Trial::Held) => {
                self.holds = Some(level);
                self.narrow()
            }
            (Stage::Confirming { level, left, .. }, Trial::Held) => match left {
                0 | 1 => self.settle(),
                _ => Stage::Confirming { level, left: left - 1, again: false },
            },
            // What held once and then did not is the new upper end; search below it.
            (Stage::Confirming { level, .. }, Trial::Broke | Trial::Void) => {
                self.holds = None;
                self.lower_to(level, trial)
            }
        };
    }

    /// The server vanished in the present trial: there is nothing left to search.
    pub fn record_crash(&mut self) {
        if let Ok(at) = self.next() {
            self.stage = Stage::Done(Found::Crashed { holds: self.holds, at });
        }
    }

    /// Whether the present trial is to confirm what was found.
    pub fn is_confirming(&self) -> bool {
        matches!(self.stage, Stage::Confirming { .. })
    }

    /// A level did not hold: it is the upper end from now on.
    fn lower_to(&mut self, level: f64, trial: Trial) -> Stage {
        self.breaks = Some(level);
        self.void = trial == Trial::Void;
        self.narrow()
    }

    fn narrow(&self) -> Stage {
        match (self.holds, self.breaks) {
            (Some(holds), Some(breaks)) if breaks - holds > self.plan.tolerance * holds => {
                Stage::Narrowing { level: (holds + breaks) / 2.0, again: false }
            }
            (Some(level), Some(_)) => match self.plan.confirmations {
                0 => self.settle(),
                left => Stage::Confirming { level, left, again: false },
            },
            (None, Some(at)) if at <= self.plan.start && self.void => {
                Stage::Done(Found::GeneratorLimited { holds: None, at })
            }
            (None, Some(breaks)) if breaks <= self.plan.start => {
                Stage::Done(Found::BelowStart { breaks })
            }
            // It held here once and no longer does: begin again a little lower.
            (None, Some(breaks)) => {
                let lower = breaks * (1.0 - 2.0 * self.plan.tolerance.max(0.01));
                Stage::Narrowing { level: lower.max(self.plan.start), again: false }
            }
            (_, None) => unreachable!("because only a break begins to narrow"),
        }
    }

    fn settle(&self) -> Stage {
        let holds = self.holds.expect("because only a level that held is confirmed");
        let breaks = self.breaks.expect("because a break ended the climb");
        Stage::Done(match self.void {
            true => Found::GeneratorLimited { holds: Some(holds), at: breaks },
            false => Found::Point { holds, breaks },
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
    fn run(plan: SearchPlan, mut server: impl FnMut(f64, u32) -> Trial) -> (Found, u32) {
        let mut search = Search::new(plan);
        for trial in 0..200 {
            match search.next() {
                Ok(level) => search.record(server(level, trial)),
                Err(found) => return (found, trial),
            }
        }
        panic!("the search does not end");
    }

    fn breaks_above(limit: f64) -> impl FnMut(f64, u32) -> Trial {
        move |level, _| if level > limit { Trial::Broke } else { Trial::Held }
    }

    #[test]
    fn the_point_is_found_within_the_tolerance() {
        for limit in [130.0, 777.0, 12_345.0, 99_000.0] {
            let (found, trials) = run(PLAN, breaks_above(limit));
            let Found::Point { holds, breaks } = found else { panic!("{found:?}") };
            assert!(holds <= limit && limit < breaks, "{found:?}");
            assert!(breaks - holds <= holds * 0.05 + 1e-9, "{found:?}");
            assert!(trials < 40, "{trials}");
        }
    }

    #[test]
    fn one_bad_trial_is_not_believed() {
        let (found, _) =
            run(
                PLAN,
                |level, trial| {
                    if trial == 3 || level > 5000.0 { Trial::Broke } else { Trial::Held }
                },
            );
        let Found::Point { holds, .. } = found else { panic!("{found:?}") };
        assert!(holds > 4700.0, "{found:?}");
    }

    #[test]
    fn a_level_that_does_not_hold_again_is_lowered() {
        // A server that tires: what it holds sinks with every trial, down to 3000.
        let (found, _) = run(PLAN, |level, trial| {
            if level > (5000.0 - 150.0 * f64::from(trial)).max(3000.0) {
                Trial::Broke
            } else {
                Trial::Held
            }
        });
        let Found::Point { holds, breaks } = found else { panic!("{found:?}") };
        assert!(holds < breaks && holds <= 3000.0, "{found:?}");
    }

    #[test]
    fn the_ends_of_the_range_are_named() {
        assert_eq!(run(PLAN, breaks_above(1.0)).0, Found::BelowStart { breaks: 100.0 });
        let beyond = run(PLAN, breaks_above(1e9)).0;
        assert_eq!(beyond, Found::BeyondCeiling { holds: 100_000.0 });
    }

    #[test]
    fn a_generator_at_its_limit_makes_the_search_void_and_the_limit_is_found() {
        let (found, _) =
            run(PLAN, |level, _| if level > 1000.0 { Trial::Void } else { Trial::Held });
        let Found::GeneratorLimited { holds: Some(holds), at } = found else { panic!("{found:?}") };
        assert!(holds <= 1000.0 && 1000.0 < at && at - holds <= holds * 0.05, "{found:?}");
        let at_once = run(PLAN, |_, _| Trial::Void).0;
        assert_eq!(at_once, Found::GeneratorLimited { holds: None, at: 100.0 });
    }

    #[test]
    fn a_server_that_breaks_below_the_generators_limit_is_found_out() {
        let (found, _) = run(PLAN, |level, _| match level {
            level if level > 1500.0 => Trial::Void,
            level if level > 1000.0 => Trial::Broke,
            _ => Trial::Held,
        });
        let Found::Point { holds, breaks } = found else { panic!("{found:?}") };
        assert!(holds <= 1000.0 && 1000.0 < breaks && breaks < 1500.0, "{found:?}");
    }

    #[test]
    fn a_crash_ends_the_search_where_it_was() {
        let mut search = Search::new(PLAN);
        search.record(Trial::Held);
        search.record_crash();
        assert_eq!(search.next(), Err(Found::Crashed { holds: Some(100.0), at: 200.0 }));
    }
}
