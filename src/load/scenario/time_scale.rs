//! Makes every duration of a scenario shorter or longer by one factor. Pure.
//!
//! What is scaled is how long load is applied. Timeouts and intervals are properties of what is
//! measured and stay; so does the length of a call, which makes the load what it is: with calls
//! of a second there would be thirty times the matches and session descriptions.

use super::Scenario;
use crate::load::units::HumanDuration;
use std::time::Duration;

/// Nothing is scaled below this: a shorter run has too few samples to judge.
const FLOOR: Duration = Duration::from_secs(2);
/// A stress level is not held shorter than this: a backlog must have time to show.
pub const STEP_FLOOR: Duration = Duration::from_secs(5);

impl Scenario {
    /// The same scenario with every duration of load times `factor`.
    pub fn scaled(mut self, factor: f64) -> Scenario {
        let scale = |time: &mut Duration| *time = HumanDuration(*time).scaled(factor, FLOOR).0;
        let scale_step = |step: &mut HumanDuration| *step = step.scaled(factor, STEP_FLOOR);
        match &mut self {
            Scenario::Connections(s) => {
                [&mut s.hold.0, &mut s.ping_every.0].into_iter().for_each(scale)
            }
            Scenario::Matchmaking(s) => scale(&mut s.round_every.0),
            Scenario::Signaling(s) => {
                [&mut s.warm_up.0, &mut s.duration.0].into_iter().for_each(scale)
            }
            Scenario::Calls(s) => {
                s.phases.0.iter_mut().map(|phase| &mut phase.lasting).for_each(scale)
            }
            Scenario::Http(s) => {
                s.requests.0.iter_mut().map(|request| &mut request.phase.lasting).for_each(scale)
            }
            Scenario::Stress(s) => scale_step(&mut s.step),
            Scenario::Endurance(s) => {
                [&mut s.duration.0, &mut s.warm_up.0].into_iter().for_each(scale)
            }
            Scenario::Plan(s) => {
                scale_step(&mut s.stress_step);
                scale(&mut s.endurance.0);
                s.stages.0.iter_mut().map(|stage| &mut stage.lasting).for_each(scale);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BUILT_IN, parse_file};
    use super::*;

    #[test]
    fn a_scaled_plan_is_short_and_otherwise_the_same() {
        let plan = parse_file(BUILT_IN.last().unwrap().1).unwrap().resolve();
        let Scenario::Plan(long) = plan.clone() else { panic!() };
        let Scenario::Plan(short) = plan.scaled(0.005) else { panic!() };
        assert_eq!(short.stages.0.len(), long.stages.0.len());
        for (short, long) in short.stages.0.iter().zip(&long.stages.0) {
            assert_eq!(short.users, long.users);
            assert!(short.lasting >= FLOOR && short.lasting < long.lasting / 50);
        }
        assert_eq!(short.endurance.0, Duration::from_secs(432));
        assert_eq!(short.stress_step.0, STEP_FLOOR);
        assert_eq!((short.talk_min, short.talk_max), (long.talk_min, long.talk_max));
        assert_eq!(short.common.match_timeout, long.common.match_timeout);
    }
}
