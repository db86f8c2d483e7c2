//! How long a scenario takes, computed before it starts. Pure.
//!
//! Users finish after the planned end of each run, within a few seconds, which is not counted.

use super::run_plans::{self, PlannedRun};
use super::runner::CONFIRMATION_STEPS;
use super::scenario::{
    EnduranceFlags, EnduranceScenario, PlanScenario, Scenario, StressFlags, StressScenario,
};
use super::search::{CapacitySearch, SearchPlan, TrialOutcome};
use super::units::StressDimension;
use crate::timestamp::Timestamp;
use std::fmt;
use std::time::Duration;

/// Number of possible results for which the time of a search is computed.
const SEARCH_SAMPLES: u32 = 64;

/// The planned time of a scenario: a range if it contains a search, whose length depends on what
/// the server holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedTime {
    /// The time with the shortest possible search.
    pub shortest: Duration,
    /// The time with the longest possible search.
    pub longest: Duration,
}

impl PlannedTime {
    fn exactly(time: Duration) -> Self {
        PlannedTime { shortest: time, longest: time }
    }

    fn plus(self, other: PlannedTime) -> PlannedTime {
        PlannedTime {
            shortest: self.shortest + other.shortest,
            longest: self.longest + other.longest,
        }
    }

    /// The planned time of `scenario`; of an endurance run from its beginning.
    pub fn of(scenario: &Scenario) -> PlannedTime {
        match scenario {
            Scenario::Connections(s) => time_of(&run_plans::connections(s)),
            Scenario::Matchmaking(s) => time_of(&run_plans::matchmaking(s)),
            Scenario::Signaling(s) => time_of(&run_plans::signaling(s)),
            Scenario::Calls(s) => time_of(&run_plans::calls(s)),
            Scenario::Http(s) => time_of(&run_plans::http(s)),
            Scenario::Stress(s) => time_of_search(s),
            Scenario::Endurance(s) => time_of_endurance(s),
            Scenario::Plan(s) => time_of_plan(s),
        }
    }
}

impl fmt::Display for PlannedTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [shortest, longest] = [self.shortest, self.longest].map(|time| {
            // A fraction of a second is of no interest in a run of minutes.
            let whole = Duration::from_secs(time.as_secs_f64().round() as u64);
            humantime::format_duration(if time.as_secs() < 60 { time } else { whole }).to_string()
        });
        match shortest == longest {
            true => f.write_str(&shortest),
            false => write!(f, "{shortest} to {longest}"),
        }
    }
}

fn time_of(run: &PlannedRun) -> PlannedTime {
    PlannedTime::exactly(run.workload.ends.since(Timestamp::ZERO))
}

/// The shortest and the longest search, over servers that hold nothing, everything, or any of a
/// number of levels in between.
fn time_of_search(s: &StressScenario) -> PlannedTime {
    let steps = f64::from(SEARCH_SAMPLES);
    let span = (s.ceiling / s.start).max(1.0);
    let levels = (0..SEARCH_SAMPLES).map(|step| s.start * span.powf(f64::from(step) / steps));
    let times = levels.chain([0.0, s.ceiling]).map(|level| time_until_found(s, level));
    times.fold(PlannedTime { shortest: Duration::MAX, longest: Duration::ZERO }, |range, time| {
        PlannedTime { shortest: range.shortest.min(time), longest: range.longest.max(time) }
    })
}

/// The time of the search against a server that holds every level up to `capacity`.
fn time_until_found(s: &StressScenario, capacity: f64) -> Duration {
    let mut search = CapacitySearch::new(SearchPlan::of(s));
    let mut time = Duration::ZERO;
    while let Ok(level) = search.next() {
        let step = if search.is_confirming() { s.step.0 * CONFIRMATION_STEPS } else { s.step.0 };
        let run = match s.raise {
            StressDimension::Messages => run_plans::stress_messages(s, level, step, 1),
            StressDimension::Connections => run_plans::stress_connections(s, level, step, 1),
        };
        time += run.workload.ends.since(Timestamp::ZERO);
        let held = level <= capacity;
        search.record(if held { TrialOutcome::Held } else { TrialOutcome::Broke });
    }
    time
}

fn time_of_endurance(s: &EnduranceScenario) -> PlannedTime {
    let run = time_of(&run_plans::endurance(s, s.capacity, Duration::ZERO));
    if s.capacity > 0.0 {
        return run;
    }
    let search = run_plans::capacity_search(s, StressFlags::default().resolve());
    time_of_search(&search).plus(run)
}

fn time_of_plan(s: &PlanScenario) -> PlannedTime {
    let stages = s.stages.0.iter().map(|stage| time_of(&run_plans::stage(s, *stage, 0)));
    let mut all = stages.fold(PlannedTime::exactly(Duration::ZERO), PlannedTime::plus);
    if s.stress_ceiling > 0.0 {
        let search = run_plans::plan_stress(s, StressFlags::default().resolve());
        all = all.plus(time_of_search(&search));
    }
    if !s.endurance.0.is_zero() {
        let built_in = EnduranceFlags::default().resolve();
        all = all.plus(time_of_endurance(&run_plans::plan_endurance(s, built_in, 1.0)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::scenario::parse_file;

    fn planned(text: &str) -> PlannedTime {
        PlannedTime::of(&parse_file(text).unwrap().resolve())
    }

    #[test]
    fn the_time_of_a_run_is_that_of_its_load() {
        assert_eq!(planned("scenario = 'calls'").to_string(), "8m");
        // 10,000 sessions at 2,000 a second, then 30 s.
        assert_eq!(planned("scenario = 'connections'").to_string(), "35s");
        let endurance = "scenario = 'endurance'\ncapacity = 10.0\nrooms = 500\nduration = '1h'";
        assert_eq!(planned(endurance).to_string(), "1h 2s", "with 2 s of arrivals");
        // Without a capacity, it begins with a search for one.
        let whole = planned("scenario = 'endurance'\nrooms = 500\nduration = '1h'");
        let search = planned("scenario = 'stress'\nconnect_rate = 500.0");
        assert_eq!(whole, search.plus(PlannedTime::exactly(Duration::from_secs(3602))));
        // The first level breaks twice: 2 s of arrivals, 580 ms until all talk, 3 s of warm-up, 15 s of load.
        assert_eq!(whole.shortest, Duration::from_millis(3_602_000 + 2 * 20_580));
    }

    #[test]
    fn the_time_of_a_search_is_a_range() {
        let search = "scenario = 'stress'\nraise = 'connections'\nstart = 100.0\nfactor = 2.0\n\
                      ceiling = 400.0\nstep = '10s'\nconnect_rate = 100.0\nconfirmations = 1\n\
                      tolerance_percent = 50.0\n";
        // Nothing holds: 100 twice, each 1 s of arrivals and 10 s of load.
        let time = planned(search);
        assert_eq!(time.shortest, Duration::from_secs(22));
        // 200 holds: 100, 200, 400 twice, 300 holds or breaks, and a confirmation of 20 s.
        let held_to_300 = [11, 12, 14, 14, 13, 23].iter().sum();
        let held_to_200 = [11, 12, 14, 14, 13, 13, 22].iter().sum();
        assert_eq!(time_until_found_of(search, 300.0), Duration::from_secs(held_to_300));
        assert_eq!(time_until_found_of(search, 200.0), Duration::from_secs(held_to_200));
        assert!(time.longest >= Duration::from_secs(held_to_200), "{time}");
        assert!(time.to_string().starts_with("22s to 1m"), "{time}");
    }

    fn time_until_found_of(text: &str, capacity: f64) -> Duration {
        let Scenario::Stress(s) = parse_file(text).unwrap().resolve() else { panic!() };
        time_until_found(&s, capacity)
    }

    #[test]
    fn a_plan_takes_its_stages_its_search_and_its_endurance_run() {
        let parts = |more: &str| planned(&format!("scenario = 'plan'\n{more}"));
        let stages = parts("stress_ceiling = 0.0\nendurance = '0s'");
        // 77 min, and the arrivals of 9,100 users at 500 a second.
        assert_eq!(stages, PlannedTime::exactly(Duration::from_secs_f64(77.0 * 60.0 + 18.2)));
        assert_eq!(stages.to_string(), "1h 17m 18s", "no fraction of a second");
        // Of one level, which holds or breaks twice: 2 s of arrivals, 580 ms until all talk, 2 s of
        // warm-up and 10 s of load.
        let search = "stress_start = 100.0\nstress_ceiling = 100.0\nstress_step = '10s'\n";
        let with_search = parts(&format!("{search}endurance = '0s'"));
        let trial = Duration::from_millis(2000 + 580 + 2000 + 10_000);
        let searching = PlannedTime { shortest: trial, longest: trial * 2 };
        assert_eq!(with_search, stages.plus(searching));
        let all = parts("");
        let day = Duration::from_secs(24 * 3600);
        assert!(all.shortest > stages.shortest + day && all.longest < all.shortest + day / 24);
    }
}
