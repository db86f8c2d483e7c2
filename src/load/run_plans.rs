//! Translates a scenario's values into runs for the engine. Pure.

use super::engine::{GeneratorShare, Workload};
use super::scenario::{
    CallsScenario, CommonSettings, ConnectionsScenario, EnduranceScenario, HttpScenario,
    MatchmakingScenario, PlanScenario, STEP_FLOOR, SignalingScenario, StressScenario,
};
use super::target::{Comparison, PerformanceTarget, http_targets};
use super::test_environment::RunSpec;
use super::units::{ArrivalPattern, DurationSetting, LoadStage, RatePhase};
use super::user::{CallPlan, NEVER, UserHabits, UserRules, UserScript, WeightedQueue};
use crate::timestamp::Timestamp;
use std::time::Duration;

/// Time between the last arrival and the first action of all users together.
const SETTLE_TIME: Duration = Duration::from_millis(500);
/// Shortest and longest call of the sample rooms: short, so that there are enough matches.
const SAMPLE_TALK: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(15));

/// Name of the run that is tested for leaks.
pub const ENDURANCE: &str = "endurance";

/// One run.
pub struct PlannedRun {
    /// Its name and how it is judged.
    pub spec: RunSpec,
    /// The load.
    pub workload: Workload,
}

/// The specification of a run without targets of its own.
fn spec(common: &CommonSettings, name: &str, about: String, users_planned: u64) -> RunSpec {
    RunSpec {
        name: name.to_owned(),
        about,
        users_planned,
        late_percent: common.late_percent,
        trial: false,
        targets: Vec::new(),
        growth_limits: None,
    }
}

/// A workload without arrivals and requests.
fn workload(common: &CommonSettings, script: UserScript, ends: Duration) -> Workload {
    Workload {
        rules: UserRules {
            script,
            sample_script: None,
            queues: weighted_queues(common),
            habits: UserHabits::default(),
            match_timeout: common.match_timeout.0,
            message_timeout: common.message_timeout.0,
            late_after: common.late_after.0,
            measure_from: Timestamp::ZERO,
        },
        arrivals: Vec::new(),
        pattern: ArrivalPattern::Even,
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
        share: GeneratorShare::WHOLE,
    }
}

/// The queues of the users, with their shares summed up.
fn weighted_queues(common: &CommonSettings) -> Vec<WeightedQueue> {
    let named = common.queues.with_names(&common.queue);
    let all: f64 = named.iter().map(|(_, weight)| weight).sum();
    let mut sum = 0.0;
    let mut queue = |(name, weight): (String, f64)| {
        sum += weight;
        WeightedQueue { name, up_to: sum / all }
    };
    named.into_iter().map(&mut queue).collect()
}

/// `users` arrivals at a constant rate, and how long they take.
fn ramp(users: u32, per_second: f64) -> (Vec<RatePhase>, Duration) {
    let per_second = per_second.max(0.1);
    let lasting = Duration::from_secs_f64(f64::from(users) / per_second);
    (vec![RatePhase::constant(per_second, lasting)], lasting)
}

/// The time between two messages of a user; `None` at rate 0.
fn message_gap(per_second: f64) -> Option<Duration> {
    // A share of a small capacity may be less than one message in a year.
    const MAX_GAP_S: f64 = 366.0 * 24.0 * 3600.0;
    (per_second > 0.0).then(|| Duration::from_secs_f64((1.0 / per_second).min(MAX_GAP_S)))
}

/// `connections`: sessions that are held.
pub fn connections(s: &ConnectionsScenario) -> PlannedRun {
    let users = s.users + s.sample_rooms * 2;
    let (arrivals, ramp) = ramp(users, s.connect_rate);
    let script = UserScript::Hold { ping_every: s.ping_every.0 };
    let mut about = format!("opens {} sessions and holds them for {}", s.users, s.hold);
    let mut load = Workload { arrivals, ..workload(&s.common, script, ramp + s.hold.0) };
    if s.sample_rooms > 0 {
        about += &format!(", with {} rooms of talking users", s.sample_rooms);
        load.sample_from = s.users.into();
        load.rules.sample_script = Some(UserScript::Calls(CallPlan {
            candidates: 8,
            gap: message_gap(s.sample_rate),
            steady_from: Timestamp::ZERO,
            talk_min: SAMPLE_TALK.0,
            talk_max: SAMPLE_TALK.1,
            next_share: 1.0,
        }));
    }
    PlannedRun { spec: spec(&s.common, "connections", about, users.into()), workload: load }
}

/// `matchmaking`: all users request a match at the same instant, in rounds.
pub fn matchmaking(s: &MatchmakingScenario) -> PlannedRun {
    let (arrivals, ramp) = ramp(s.users, s.connect_rate);
    let first = ramp + SETTLE_TIME;
    let script = UserScript::Rounds {
        first: Timestamp::ZERO + first,
        every: s.round_every.0,
        rounds: s.rounds,
    };
    let about =
        format!("{} users request a match at the same instant, {} times", s.users, s.rounds);
    let ends = first + s.round_every.0 * s.rounds;
    let load = Workload { arrivals, ..workload(&s.common, script, ends) };
    PlannedRun { spec: spec(&s.common, "matchmaking", about, s.users.into()), workload: load }
}

/// `signaling`: rooms with messages at a constant rate.
pub fn signaling(s: &SignalingScenario) -> PlannedRun {
    let (arrivals, ramp) = ramp(s.rooms * 2, s.connect_rate);
    let mut plan = CallPlan {
        candidates: s.candidates,
        gap: message_gap(s.message_rate),
        steady_from: NEVER,
        talk_min: Duration::MAX,
        talk_max: Duration::MAX,
        next_share: 0.0,
    };
    let steady = ramp + plan.setup_time() + SETTLE_TIME;
    plan.steady_from = Timestamp::ZERO + steady;
    let measure_from = steady + s.warm_up.0;
    let mut load = workload(&s.common, UserScript::Calls(plan), measure_from + s.duration.0);
    load.arrivals = arrivals;
    load.rules.measure_from = Timestamp::ZERO + measure_from;
    load.message_bytes = s.message_bytes as usize;
    let rate = f64::from(s.rooms) * 2.0 * s.message_rate;
    let about = format!("{} rooms, {rate:.0} messages a second in all", s.rooms);
    PlannedRun { spec: spec(&s.common, "signaling", about, u64::from(s.rooms) * 2), workload: load }
}

/// `calls`: the everyday mix.
pub fn calls(s: &CallsScenario) -> PlannedRun {
    let next_share = (s.next_percent / 100.0).clamp(0.0, 1.0);
    let plan = CallPlan {
        candidates: s.candidates,
        gap: message_gap(s.message_rate),
        steady_from: Timestamp::ZERO,
        talk_min: s.talk_min.0,
        talk_max: s.talk_max.0,
        next_share,
    };
    let ends: Duration = s.phases.0.iter().map(|phase| phase.lasting).sum();
    let mut load = workload(&s.common, UserScript::Calls(plan), ends);
    load.arrivals.clone_from(&s.phases.0);
    load.pattern = s.arrivals;
    load.rules.habits = s.user_habits();
    load.message_bytes = s.message_bytes as usize;
    let about = format!("users arrive at {}, talk, take the next partner or leave", s.phases);
    // Little's law: the number of concurrent users is the arrival rate times the time that a user
    // stays, in all of its sessions.
    let stay = (s.talk_min.0 + s.talk_max.0).as_secs_f64() / 2.0 / (1.0 - next_share).max(0.01);
    let sessions = 1.0 / (1.0 - s.return_percent / 100.0).max(0.01);
    let users = most_arrivals_within(&s.phases.0, stay * sessions);
    PlannedRun { spec: spec(&s.common, "calls", about, users), workload: load }
}

/// The most arrivals within any `seconds` of the phases.
fn most_arrivals_within(phases: &[RatePhase], seconds: f64) -> u64 {
    /// Times in each phase at which the window may end.
    const ENDS_PER_PHASE: u32 = 200;
    let arrivals_until = |time: f64| {
        let mut begins = 0.0;
        let count = |phase: &RatePhase| {
            let within = Duration::from_secs_f64((time - begins).max(0.0));
            begins += phase.lasting.as_secs_f64();
            phase.events_until(within)
        };
        phases.iter().map(count).sum::<f64>()
    };
    let (mut begins, mut most) = (0.0, 0.0f64);
    for phase in phases {
        let length = phase.lasting.as_secs_f64();
        for step in 1..=ENDS_PER_PHASE {
            let end = begins + length * f64::from(step) / f64::from(ENDS_PER_PHASE);
            most = most.max(arrivals_until(end) - arrivals_until((end - seconds).max(0.0)));
        }
        begins += length;
    }
    // The sums have rounding errors.
    (most + 1e-6) as u64
}

/// `http`: GET requests at a constant rate.
pub fn http(s: &HttpScenario) -> PlannedRun {
    let ends: Duration = s.requests.0.iter().map(|request| request.phase.lasting).sum();
    let mut load = workload(&s.common, UserScript::Hold { ping_every: ends }, ends);
    load.requests.clone_from(&s.requests.0);
    load.pattern = s.arrivals;
    load.max_connections = s.max_connections;
    let mut spec = spec(&s.common, "http", format!("GET {}", s.requests), 0);
    for path in s.paths() {
        spec.targets.extend(http_targets(&s.common.targets, path));
    }
    PlannedRun { spec, workload: load }
}

/// Share of the planned messages that must arrive during a trial. A server that relays fewer builds
/// up a backlog, which misses no other target in a short trial.
const MIN_ARRIVED_SHARE: f64 = 0.98;

/// One trial of a search over messages: `level` messages per second for the duration `step`.
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
        warm_up: DurationSetting(step.mul_f64(0.2).min(Duration::from_secs(3))),
        duration: DurationSetting(step),
        common: s.common.clone(),
    };
    let PlannedRun { mut spec, workload } = signaling(&trial);
    spec.name = format!("stress {number}: {level:.0} messages/s");
    spec.trial = true;
    spec.targets.push(PerformanceTarget {
        figure: "messages_per_s".to_owned(),
        comparison: Comparison::AtLeast,
        bound: (level * MIN_ARRIVED_SHARE).floor(),
    });
    PlannedRun { spec, workload }
}

/// One trial of a search over connections: `level` sessions at once for the duration `step`.
pub fn stress_connections(
    s: &StressScenario,
    level: f64,
    step: Duration,
    number: usize,
) -> PlannedRun {
    let trial = ConnectionsScenario {
        users: level as u32,
        connect_rate: s.connect_rate,
        hold: DurationSetting(step),
        ping_every: DurationSetting(step / 2),
        sample_rooms: 0,
        sample_rate: 0.0,
        common: s.common.clone(),
    };
    let PlannedRun { mut spec, workload } = connections(&trial);
    spec.name = format!("stress {number}: {level:.0} connections");
    spec.trial = true;
    // A session that was refused cannot be dropped later. Without these targets a level would hold
    // however few of its sessions were accepted.
    let all = |figure: &str| PerformanceTarget {
        figure: figure.to_owned(),
        comparison: Comparison::AtLeast,
        bound: 100.0,
    };
    spec.targets.extend(["connected_percent", "alive_percent"].map(all));
    PlannedRun { spec, workload }
}

/// Users of whom each is always in a call or waiting for the next one.
pub struct CallPopulation {
    /// Number of users.
    pub users: u32,
    /// Duration after the last arrival.
    pub lasting: Duration,
    /// The first part of that, which is not measured.
    pub warm_up: Duration,
    /// Messages per second that each user sends.
    pub message_rate: f64,
    /// Size of a message.
    pub message_bytes: u32,
    /// ICE candidates that each user sends in a call.
    pub candidates: u32,
    /// Shortest and longest call.
    pub talk: (Duration, Duration),
    /// Sessions opened per second.
    pub connect_rate: f64,
}

fn call_workload(common: &CommonSettings, p: &CallPopulation) -> Workload {
    let (arrivals, ramp) = ramp(p.users, p.connect_rate);
    let plan = CallPlan {
        candidates: p.candidates,
        gap: message_gap(p.message_rate),
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

/// One stage of a plan; stage 0 is the baseline.
pub fn stage(s: &PlanScenario, stage: LoadStage, number: usize) -> PlannedRun {
    let mut load = call_workload(
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
    load.rules.habits = s.user_habits();
    let phase = if number == 0 { "baseline" } else { "load" };
    let name = format!("{phase}: {} users", stage.users);
    let about = format!("{} users in calls for {}", stage.users, DurationSetting(stage.lasting));
    let mut spec = spec(&s.common, &name, about, stage.users.into());
    spec.targets.extend(service_targets());
    PlannedRun { spec, workload: load }
}

/// The targets that all users are there and are served. A session that the server refuses or drops
/// does not return, so the load decreases; a few hundred missing sessions, or messages that the
/// server dropped, would not show among many others. Those of `--require` replace them.
fn service_targets() -> [PerformanceTarget; 4] {
    let target = |figure: &str, comparison, bound| PerformanceTarget {
        figure: figure.to_owned(),
        comparison,
        bound,
    };
    [
        target("connected_percent", Comparison::AtLeast, 99.9),
        target("kept_percent", Comparison::AtLeast, 99.9),
        target("delivered_percent", Comparison::AtLeast, 99.9),
        target("refusals", Comparison::Exactly, 0.0),
    ]
}

/// The stress search of a plan.
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

/// The endurance run of a plan, with the capacity that the stress search found.
pub fn plan_endurance(
    s: &PlanScenario,
    built_in: EnduranceScenario,
    capacity: f64,
) -> EnduranceScenario {
    EnduranceScenario {
        capacity,
        percent: s.endurance_percent,
        duration: s.endurance,
        warm_up: DurationSetting(s.endurance.0.mul_f64(0.1).min(built_in.warm_up.0)),
        rooms: s.rooms,
        talk_min: s.talk_min,
        talk_max: s.talk_max,
        message_bytes: s.message_bytes,
        connect_rate: s.connect_rate,
        common: s.common.clone(),
        ..built_in
    }
}

/// The capacity search of an endurance run, which then holds a share of the result.
pub fn capacity_search(s: &EnduranceScenario, built_in: StressScenario) -> StressScenario {
    StressScenario {
        rooms: s.rooms,
        message_bytes: s.message_bytes,
        connect_rate: s.connect_rate,
        step: DurationSetting(built_in.step.0.min(s.warm_up.0.max(STEP_FLOOR))),
        common: s.common.clone(),
        ..built_in
    }
}

/// The endurance run at `messages_per_s`; the duration `done` is already complete.
pub fn endurance(s: &EnduranceScenario, messages_per_s: f64, done: Duration) -> PlannedRun {
    let users = s.rooms * 2;
    let remaining = s.duration.0.saturating_sub(done).max(Duration::from_secs(1));
    // A run that is shorter than its warm-up would measure nothing, and pass.
    let warm_up = s.warm_up.0.min(remaining / 10);
    let load = call_workload(
        &s.common,
        &CallPopulation {
            users,
            lasting: remaining,
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
    spec.targets.extend(service_targets());
    spec.growth_limits = Some((s.leak_percent, s.confidence_percent));
    PlannedRun { spec, workload: load }
}

#[cfg(test)]
mod tests;
