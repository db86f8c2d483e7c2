//! `--time-scale`: multiplies every duration of load by one factor. Pure.
//!
//! Timeouts and intervals are not scaled, because they define what is measured. The length of a
//! call is not scaled either, because it is part of the load: calls of one second in place of
//! thirty would mean thirty times the matches and session descriptions.

use super::Scenario;
use crate::load::units::DurationSetting;
use std::time::Duration;

/// A scaled duration is at least this long; a shorter run has too few samples to judge.
const FLOOR: Duration = Duration::from_secs(2);
/// A stress level is held at least this long, so that a growing backlog becomes visible.
pub const STEP_FLOOR: Duration = Duration::from_secs(5);

impl Scenario {
    /// The same scenario with every duration of load multiplied by `factor`.
    pub fn scaled(mut self, factor: f64) -> Scenario {
        let scale = |time: &mut Duration| *time = DurationSetting(*time).scaled(factor, FLOOR).0;
        let scale_step = |step: &mut DurationSetting| *step = step.scaled(factor, STEP_FLOOR);
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
    fn scaling_shortens_a_plan_and_changes_nothing_else() {
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
