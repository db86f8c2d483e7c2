//! From a scenario's numbers to what the engine does. Pure.

use super::engine::Workload;
use super::scenario::{
    CallsScenario, CommonSettings, ConnectionsScenario, EnduranceScenario, HttpScenario,
    MatchmakingScenario, PlanScenario, STEP_FLOOR, SignalingScenario, StressScenario,
};
use super::target::{Comparison, PerformanceTarget};
use super::test_environment::RunSpec;
use super::units::{HumanDuration, LoadStage, RatePhase};
use super::user::{CallPlan, NEVER, UserRules, UserScript};
use crate::timestamp::Timestamp;
use std::time::Duration;

/// Between the last arrival and what all do together.
const SETTLE: Duration = Duration::from_millis(500);
/// Shortest and longest call of a sample: short, so that there are matches enough to judge.
const SAMPLE_TALK: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(15));

/// The run that is watched for leaks.
pub const ENDURANCE: &str = "endurance";

/// A run: how it is called and judged, and what it does.
pub type PlannedRun = (RunSpec, Workload);

fn spec(common: &CommonSettings, name: &str, about: String, users_planned: u64) -> RunSpec {
    RunSpec {
        name: name.to_owned(),
        about,
        users_planned,
        late_percent: common.late_percent,
        resumable: false,
        trial: false,
        goals: Vec::new(),
        growth_limits: None,
    }
}

fn workload(common: &CommonSettings, script: UserScript, ends: Duration) -> Workload {
    Workload {
        rules: UserRules {
            script,
            sample: None,
            queue: common.queue.clone(),
            match_timeout: common.match_timeout.0,
            message_timeout: common.message_timeout.0,
            late_after: common.late_after.0,
            measure_from: Timestamp::ZERO,
        },
        arrivals: Vec::new(),
        sample_from: u64::MAX,
        requests: Vec::new(),
        max_connections: 0,
        ends: Timestamp::ZERO + ends,
        connect_timeout: common.connect_timeout.0,
        stall_after: common.stall_after.0,
        message_bytes: 200,
        interval: common.interval.0,
        seed: common.seed,
        threads: common.threads,
    }
}

/// `users` arrivals at a rate, and how long they take.
fn ramp(users: u32, per_second: f64) -> (Vec<RatePhase>, Duration) {
    let per_second = per_second.max(0.1);
    let lasting = Duration::from_secs_f64(f64::from(users) / per_second);
    (vec![RatePhase { per_second, lasting }], lasting)
}

/// A user's time between messages at a rate; no messages at rate 0.
fn gap(per_second: f64) -> Option<Duration> {
    // A share of a modest load may be less than one in a year.
    const LONGEST_S: f64 = 366.0 * 24.0 * 3600.0;
    (per_second > 0.0).then(|| Duration::from_secs_f64((1.0 / per_second).min(LONGEST_S)))
}

/// Sessions that are held.
pub fn connections(s: &ConnectionsScenario) -> PlannedRun {
    let users = s.users + s.sample_rooms * 2;
    let (arrivals, ramp) = ramp(users, s.connect_rate);
    let script = UserScript::Hold { ping_every: s.ping_every.0 };
    let mut about = format!("opens {} sessions and holds them for {}", s.users, s.hold);
    let mut load = Workload { arrivals, ..workload(&s.common, script, ramp + s.hold.0) };
    if s.sample_rooms > 0 {
        about += &format!(", while {} rooms beside them talk", s.sample_rooms);
        load.sample_from = s.users.into();
        load.rules.sample = Some(UserScript::Calls(CallPlan {
            candidates: 8,
            gap: gap(s.sample_rate),
            steady_from: Timestamp::ZERO,
            talk_min: SAMPLE_TALK.0,
            talk_max: SAMPLE_TALK.1,
            next_share: 1.0,
        }));
    }
    (spec(&s.common, "connections", about, users.into()), load)
}

/// Everybody asks in the same instant, in rounds.
pub fn matchmaking(s: &MatchmakingScenario) -> PlannedRun {
    let (arrivals, ramp) = ramp(s.users, s.connect_rate);
    let first = ramp + SETTLE;
    let script = UserScript::Rounds {
        first: Timestamp::ZERO + first,
        every: s.round_every.0,
        rounds: s.rounds,
    };
    let about =
        format!("{} users ask for a match in the same instant, {} times", s.users, s.rounds);
    let ends = first + s.round_every.0 * s.rounds;
    let load = Workload { arrivals, ..workload(&s.common, script, ends) };
    (spec(&s.common, "matchmaking", about, s.users.into()), load)
}

/// Rooms with a steady rate of messages.
pub fn signaling(s: &SignalingScenario) -> PlannedRun {
    let (arrivals, ramp) = ramp(s.rooms * 2, s.connect_rate);
    let mut plan = CallPlan {
        candidates: s.candidates,
        gap: gap(s.message_rate),
        steady_from: NEVER,
        talk_min: Duration::MAX,
        talk_max: Duration::MAX,
        next_share: 0.0,
    };
    let steady = ramp + plan.setup_time() + SETTLE;
    plan.steady_from = Timestamp::ZERO + steady;
    let measure_from = steady + s.warm_up.0;
    let mut load = workload(&s.common, UserScript::Calls(plan), measure_from + s.duration.0);
    load.arrivals = arrivals;
    load.rules.measure_from = Timestamp::ZERO + measure_from;
    load.message_bytes = s.message_bytes as usize;
    let rate = f64::from(s.rooms) * 2.0 * s.message_rate;
    let about = format!("{} rooms, {rate:.0} messages a second in all", s.rooms);
    (spec(&s.common, "signaling", about, u64::from(s.rooms) * 2), load)
}

/// The everyday mix.
pub fn calls(s: &CallsScenario) -> PlannedRun {
    let next_share = (s.next_percent / 100.0).clamp(0.0, 1.0);
    let plan = CallPlan {
        candidates: s.candidates,
        gap: gap(s.message_rate),
        steady_from: Timestamp::ZERO,
        talk_min: s.talk_min.0,
        talk_max: s.talk_max.0,
        next_share,
    };
    let ends: Duration = s.phases.0.iter().map(|phase| phase.lasting).sum();
    let mut load = workload(&s.common, UserScript::Calls(plan), ends);
    load.arrivals.clone_from(&s.phases.0);
    load.message_bytes = s.message_bytes as usize;
    let about = format!("users arrive at {}, talk, go on or leave", s.phases);
    // Little's law: users there at once are the rate times the time that each stays; but never
    // more than come at all.
    let stay = (s.talk_min.0 + s.talk_max.0).as_secs_f64() / 2.0 / (1.0 - next_share).max(0.01);
    let rate = s.phases.0.iter().map(|phase| phase.per_second).fold(0.0, f64::max);
    let arrivals: u64 = s.phases.0.iter().map(RatePhase::count).sum();
    (spec(&s.common, "calls", about, arrivals.min((rate * stay) as u64)), load)
}

/// Open-loop GETs.
pub fn http(s: &HttpScenario) -> PlannedRun {
    let ends: Duration = s.requests.0.iter().map(|request| request.phase.lasting).sum();
    let mut load = workload(&s.common, UserScript::Hold { ping_every: ends }, ends);
    load.requests.clone_from(&s.requests.0);
    load.max_connections = s.max_connections;
    (spec(&s.common, "http", format!("GET {}", s.requests), 0), load)
}

/// Share of the planned messages that must arrive while a trial is measured. A server that
/// keeps up with less builds a backlog, which in a short trial misses no other target.
const KEEPS_UP: f64 = 0.98;

/// One trial of a stress run over messages: so many a second for the time `step`.
pub fn stress_messages(
    s: &StressScenario,
    level: f64,
    step: Duration,
    number: usize,
) -> PlannedRun {
    let trial = SignalingScenario {
        rooms: s.rooms,
        connect_rate: s.connect_rate,
        message_rate: level / f64::from(s.rooms.max(1)) / 2.0,
        message_bytes: s.message_bytes,
        candidates: 2,
        warm_up: HumanDuration(step.mul_f64(0.2).min(Duration::from_secs(3))),
        duration: HumanDuration(step),
        common: s.common.clone(),
    };
    let (mut spec, load) = signaling(&trial);
    spec.name = format!("stress {number}: {level:.0} messages/s");
    spec.trial = true;
    spec.goals.push(PerformanceTarget {
        figure: "messages_per_s".to_owned(),
        comparison: Comparison::AtLeast,
        bound: (level * KEEPS_UP).floor(),
    });
    (spec, load)
}

/// One trial of a stress run over connections: so many at once for the time `step`.
pub fn stress_connections(
    s: &StressScenario,
    level: f64,
    step: Duration,
    number: usize,
) -> PlannedRun {
    let trial = ConnectionsScenario {
        users: level as u32,
        connect_rate: s.connect_rate,
        hold: HumanDuration(step),
        ping_every: HumanDuration(step / 2),
        sample_rooms: 0,
        sample_rate: 0.0,
        common: s.common.clone(),
    };
    let (mut spec, load) = connections(&trial);
    spec.name = format!("stress {number}: {level:.0} connections");
    spec.trial = true;
    // Who was refused is nobody who could be dropped: without these a level would hold by what
    // came in, however little that is.
    let all = |figure: &str| PerformanceTarget {
        figure: figure.to_owned(),
        comparison: Comparison::AtLeast,
        bound: 100.0,
    };
    spec.goals.extend(["connected_percent", "alive_percent"].map(all));
    (spec, load)
}

/// So many users who are always in a call or on their way to the next.
pub struct CallPopulation {
    /// How many.
    pub users: u32,
    /// How long after all have come.
    pub lasting: Duration,
    /// Not measured at the beginning of that.
    pub warm_up: Duration,
    /// Messages each sends a second.
    pub message_rate: f64,
    /// Size of a message.
    pub message_bytes: u32,
    /// ICE candidates each sends.
    pub candidates: u32,
    /// Shortest and longest call.
    pub talk: (Duration, Duration),
    /// Sessions opened a second.
    pub connect_rate: f64,
}

fn population(common: &CommonSettings, p: &CallPopulation) -> Workload {
    let (arrivals, ramp) = ramp(p.users, p.connect_rate);
    let plan = CallPlan {
        candidates: p.candidates,
        gap: gap(p.message_rate),
        steady_from: Timestamp::ZERO,
        talk_min: p.talk.0,
        talk_max: p.talk.1,
        next_share: 1.0,
    };
    let mut load = workload(common, UserScript::Calls(plan), ramp + p.lasting);
    load.arrivals = arrivals;
    load.rules.measure_from = Timestamp::ZERO + ramp + p.warm_up;
    load.message_bytes = p.message_bytes as usize;
    load
}

/// One stage of the programme.
pub fn stage(s: &PlanScenario, stage: LoadStage, number: usize) -> PlannedRun {
    let load = population(
        &s.common,
        &CallPopulation {
            users: stage.users,
            lasting: stage.lasting,
            warm_up: stage.lasting.mul_f64(0.1).min(Duration::from_secs(10)),
            message_rate: s.message_rate,
            message_bytes: s.message_bytes,
            candidates: s.candidates,
            talk: (s.talk_min.0, s.talk_max.0),
            connect_rate: s.connect_rate,
        },
    );
    let what = if number == 0 { "baseline" } else { "load" };
    let name = format!("{what}: {} users", stage.users);
    let about = format!("{} users in calls for {}", stage.users, HumanDuration(stage.lasting));
    let mut spec = spec(&s.common, &name, about, stage.users.into());
    spec.goals.push(users_stay());
    (spec, load)
}

/// Whoever is dropped does not come back, and the load sinks: among many messages a few hundred
/// lost sessions would not be noticed, and the rest of the run would be a lighter one.
fn users_stay() -> PerformanceTarget {
    PerformanceTarget {
        figure: "kept_percent".to_owned(),
        comparison: Comparison::AtLeast,
        bound: 99.9,
    }
}

/// The stress run of the programme.
pub fn plan_stress(s: &PlanScenario, built_in: StressScenario) -> StressScenario {
    StressScenario {
        start: s.stress_start,
        ceiling: s.stress_ceiling,
        step: s.stress_step,
        rooms: s.rooms,
        message_bytes: s.message_bytes,
        connect_rate: s.connect_rate,
        common: s.common.clone(),
        ..built_in
    }
}

/// The endurance run of the programme, with the capacity that stress has found.
pub fn plan_endurance(
    s: &PlanScenario,
    built_in: EnduranceScenario,
    capacity: f64,
) -> EnduranceScenario {
    EnduranceScenario {
        capacity,
        percent: s.endurance_percent,
        duration: s.endurance,
        warm_up: HumanDuration(s.endurance.0.mul_f64(0.1).min(built_in.warm_up.0)),
        rooms: s.rooms,
        talk_min: s.talk_min,
        talk_max: s.talk_max,
        message_bytes: s.message_bytes,
        connect_rate: s.connect_rate,
        common: s.common.clone(),
        ..built_in
    }
}

/// The search for the capacity that an endurance run holds a share of.
pub fn capacity_search(s: &EnduranceScenario, built_in: StressScenario) -> StressScenario {
    StressScenario {
        rooms: s.rooms,
        message_bytes: s.message_bytes,
        connect_rate: s.connect_rate,
        step: HumanDuration(built_in.step.0.min(s.warm_up.0.max(STEP_FLOOR))),
        common: s.common.clone(),
        ..built_in
    }
}

/// The endurance run at so many messages a second, of which `done` is over already.
pub fn endurance(s: &EnduranceScenario, messages_per_s: f64, done: Duration) -> PlannedRun {
    let users = s.rooms * 2;
    let left = s.duration.0.saturating_sub(done).max(Duration::from_secs(1));
    // A run shorter than its warm-up would measure nothing, and pass.
    let warm_up = s.warm_up.0.min(left / 10);
    let load = population(
        &s.common,
        &CallPopulation {
            users,
            lasting: left,
            warm_up,
            message_rate: messages_per_s / f64::from(users.max(1)),
            message_bytes: s.message_bytes,
            candidates: 8,
            talk: (s.talk_min.0, s.talk_max.0),
            connect_rate: s.connect_rate,
        },
    );
    let about = format!("{messages_per_s:.0} messages a second for {}", s.duration);
    let mut spec = spec(&s.common, ENDURANCE, about, users.into());
    spec.resumable = true;
    spec.goals.push(users_stay());
    spec.growth_limits = Some((s.leak_percent, s.confidence_percent));
    (spec, load)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::scenario::{BUILT_IN, Scenario, parse_file};

    fn built_in(name: &str) -> Scenario {
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name).unwrap();
        parse_file(text).unwrap().resolve()
    }

    #[test]
    fn arrivals_are_exactly_as_many_as_asked_for() {
        let rates = [0.1, 0.7, 1.0, 3.0, 300.0, 333.0, 500.0, 600.0, 2000.0, 7777.7, 90_000.0];
        for users in [2, 7, 10, 1000, 5000, 10_000, 1_000_000] {
            for rate in rates {
                let (phases, _) = ramp(users, rate);
                assert_eq!(phases[0].count(), u64::from(users), "at {rate}/s");
            }
        }
    }

    #[test]
    fn default_sizes_are_the_documented_ones() {
        let Scenario::Connections(s) = built_in("connections") else { panic!() };
        assert_eq!(connections(&s).1.arrivals[0].count(), 10_000);
        let Scenario::Signaling(s) = built_in("signaling") else { panic!() };
        assert_eq!(signaling(&s).0.users_planned, 1000);
        let Scenario::Calls(s) = built_in("calls") else { panic!() };
        assert_eq!(calls(&s).1.ends, Timestamp::ZERO + Duration::from_secs(480));
        let Scenario::Http(s) = built_in("http") else { panic!() };
        assert_eq!(http(&s).1.requests.len(), 2);
    }

    #[test]
    fn no_more_callers_are_planned_than_arrive() {
        let planned = |phases: &str, next_percent: f64| {
            let Scenario::Calls(s) = built_in("calls") else { panic!() };
            calls(&CallsScenario { phases: phases.parse().unwrap(), next_percent, ..s })
                .0
                .users_planned
        };
        assert_eq!(planned("160/s for 5s", 50.0), 800);
        assert_eq!(planned("20/s for 4s", 100.0), 80);
        assert_eq!(planned("10/s for 2s, 10/s for 1h", 50.0), 350, "each stays for 35 s");
    }

    #[test]
    fn a_stress_trial_has_the_rate_of_its_level() {
        let Scenario::Stress(s) = built_in("stress") else { panic!() };
        let (spec, load) = stress_messages(&s, 5000.0, Duration::from_secs(4), 3);
        let UserScript::Calls(plan) = &load.rules.script else { panic!() };
        let per_user = 1.0 / plan.gap.unwrap().as_secs_f64();
        assert!((per_user * f64::from(s.rooms) * 2.0 - 5000.0).abs() < 0.1);
        assert!(spec.trial && spec.name.contains("5000"));
        assert_eq!(spec.goals[0].to_string(), "messages_per_s ≥ 4900");
        let steady = Duration::from_secs(4);
        assert_eq!(load.ends.since(load.rules.measure_from), steady);
    }

    #[test]
    fn a_trial_of_connections_holds_with_all_of_its_level_only() {
        let Scenario::Stress(s) = built_in("stress") else { panic!() };
        let (spec, load) = stress_connections(&s, 1400.0, Duration::from_secs(4), 3);
        assert_eq!(load.arrivals[0].count(), 1400);
        let goals: Vec<_> = spec.goals.iter().map(ToString::to_string).collect();
        assert_eq!(goals, ["connected_percent ≥ 100", "alive_percent ≥ 100"]);
    }

    #[test]
    fn no_trial_of_a_search_for_the_capacity_is_too_short_to_show_anything() {
        let Scenario::Endurance(s) = built_in("endurance") else { panic!() };
        let Scenario::Stress(search) = built_in("stress") else { panic!() };
        for (warm_up, step) in [(0, 5), (2, 5), (8, 8), (600, 15)] {
            let s = EnduranceScenario { warm_up: HumanDuration::seconds(warm_up), ..s.clone() };
            assert_eq!(capacity_search(&s, search.clone()).step, HumanDuration::seconds(step));
        }
    }

    #[test]
    fn a_short_endurance_run_is_measured_as_well() {
        let Scenario::Endurance(s) = built_in("endurance") else { panic!() };
        for (seconds, measured) in [(1, 0.9), (90, 81.0), (24 * 3600, 24.0 * 3600.0 - 600.0)] {
            let s = EnduranceScenario { duration: HumanDuration::seconds(seconds), ..s.clone() };
            let load = endurance(&s, 100.0, Duration::ZERO).1;
            assert_eq!(load.ends.since(load.rules.measure_from).as_secs_f64(), measured);
        }
    }

    #[test]
    fn a_resumed_run_takes_only_the_rest_of_the_time() {
        let Scenario::Endurance(s) = built_in("endurance") else { panic!() };
        let (whole, rest) = (
            endurance(&s, 100.0, Duration::ZERO).1.ends,
            endurance(&s, 100.0, Duration::from_secs(3600)).1.ends,
        );
        assert_eq!(whole.since(rest), Duration::from_secs(3600));
    }
}
