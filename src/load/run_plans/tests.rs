//! Tests of the translation of scenarios into runs.

use super::*;
use crate::load::scenario::{BUILT_IN, Scenario, parse_file};

fn built_in(name: &str) -> Scenario {
    let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name).unwrap();
    parse_file(text).unwrap().resolve()
}

#[test]
fn a_ramp_has_exactly_the_requested_arrivals() {
    let rates = [0.1, 0.7, 1.0, 3.0, 300.0, 333.0, 500.0, 600.0, 2000.0, 7777.7, 90_000.0];
    for users in [2, 7, 10, 1000, 5000, 10_000, 1_000_000] {
        for rate in rates {
            let (phases, _) = ramp(users, rate);
            assert_eq!(phases[0].count(), u64::from(users), "at {rate}/s");
        }
    }
}

#[test]
fn default_sizes_are_as_documented() {
    let Scenario::Connections(s) = built_in("connections") else { panic!() };
    assert_eq!(connections(&s).workload.arrivals[0].count(), 10_000);
    let Scenario::Signaling(s) = built_in("signaling") else { panic!() };
    assert_eq!(signaling(&s).spec.users_planned, 1000);
    let Scenario::Calls(s) = built_in("calls") else { panic!() };
    assert_eq!(calls(&s).workload.ends, Timestamp::ZERO + Duration::from_secs(480));
    let Scenario::Http(s) = built_in("http") else { panic!() };
    assert_eq!(http(&s).workload.requests.len(), 2);
}

#[test]
fn plans_at_most_as_many_concurrent_users_as_arrive() {
    let planned = |phases: &str, next_percent: f64| {
        let Scenario::Calls(s) = built_in("calls") else { panic!() };
        calls(&CallsScenario { phases: phases.parse().unwrap(), next_percent, ..s })
            .spec
            .users_planned
    };
    assert_eq!(planned("160/s for 5s", 50.0), 800);
    assert_eq!(planned("20/s for 4s", 100.0), 80);
    assert_eq!(planned("10/s for 2s, 10/s for 1h", 50.0), 350, "each user stays for 35 s");
    assert_eq!(planned("0/s..100/s for 100s", 50.0), 2887, "35 s before the end of the ramp");
}

/// A target that no run with default values is judged by would be of no use.
#[test]
fn the_default_load_of_calls_and_plan_reaches_the_users_of_the_default_targets() {
    let Scenario::Calls(s) = built_in("calls") else { panic!() };
    let planned = calls(&s).spec.users_planned as f64;
    let Scenario::Plan(plan) = built_in("plan") else { panic!() };
    let stages = plan.stages.0.iter().map(|stage| f64::from(stage.users));
    let targets = crate::load::target::targets(&s.common.targets, &[]).unwrap();
    let users = targets.iter().find(|target| target.figure == "users_peak").unwrap();
    // The number of users of a random mix varies by some percent.
    assert!(planned >= users.bound * 1.05, "{planned} users, {users}");
    assert!(stages.fold(0.0, f64::max) >= users.bound);
}

#[test]
fn users_are_spread_over_the_queues_by_weight_and_in_pairs() {
    let Scenario::Calls(mut s) = built_in("calls") else { panic!() };
    s.common.queues = "en 3, de 1".parse().unwrap();
    let rules = calls(&s).workload.rules;
    let names: Vec<_> = rules.queues.iter().map(|queue| queue.name.as_str()).collect();
    assert_eq!(names, ["en", "de"]);
    let queues: Vec<u16> = (0..400).map(|number| rules.queue_of(number)).collect();
    assert!(queues.chunks(2).all(|pair| pair[0] == pair[1]));
    let first = queues.iter().filter(|queue| **queue == 0).count();
    assert!((296..=304).contains(&first), "{first} of 400 users in the queue of weight 3");
}

#[test]
fn a_stress_trial_sends_messages_at_the_rate_of_its_level() {
    let Scenario::Stress(s) = built_in("stress") else { panic!() };
    let PlannedRun { spec, workload: load } =
        stress_messages(&s, 5000.0, Duration::from_secs(4), 3);
    let UserScript::Calls(plan) = &load.rules.script else { panic!() };
    let per_user = 1.0 / plan.gap.unwrap().as_secs_f64();
    assert!((per_user * f64::from(s.rooms) * 2.0 - 5000.0).abs() < 0.1);
    assert!(spec.trial && spec.name.contains("5000"));
    assert_eq!(spec.targets[0].to_string(), "messages_per_s ≥ 4900");
    let steady = Duration::from_secs(4);
    assert_eq!(load.ends.since(load.rules.measure_from), steady);
}

#[test]
fn a_connection_trial_requires_all_sessions_of_its_level() {
    let Scenario::Stress(s) = built_in("stress") else { panic!() };
    let PlannedRun { spec, workload: load } =
        stress_connections(&s, 1400.0, Duration::from_secs(4), 3);
    assert_eq!(load.arrivals[0].count(), 1400);
    let targets: Vec<_> = spec.targets.iter().map(ToString::to_string).collect();
    assert_eq!(targets, ["connected_percent ≥ 100", "alive_percent ≥ 100"]);
}

#[test]
fn a_capacity_search_holds_each_level_for_at_least_five_seconds() {
    let Scenario::Endurance(s) = built_in("endurance") else { panic!() };
    let Scenario::Stress(search) = built_in("stress") else { panic!() };
    for (warm_up, step) in [(0, 5), (2, 5), (8, 8), (600, 15)] {
        let s = EnduranceScenario { warm_up: DurationSetting::seconds(warm_up), ..s.clone() };
        assert_eq!(capacity_search(&s, search.clone()).step, DurationSetting::seconds(step));
    }
}

#[test]
fn a_short_endurance_run_still_has_a_measurement() {
    let Scenario::Endurance(s) = built_in("endurance") else { panic!() };
    for (seconds, measured) in [(1, 0.9), (90, 81.0), (24 * 3600, 24.0 * 3600.0 - 600.0)] {
        let s = EnduranceScenario { duration: DurationSetting::seconds(seconds), ..s.clone() };
        let load = endurance(&s, 100.0, Duration::ZERO).workload;
        assert_eq!(load.ends.since(load.rules.measure_from).as_secs_f64(), measured);
    }
}

#[test]
fn a_resumed_run_takes_only_the_remaining_time() {
    let Scenario::Endurance(s) = built_in("endurance") else { panic!() };
    let (whole, rest) = (
        endurance(&s, 100.0, Duration::ZERO).workload.ends,
        endurance(&s, 100.0, Duration::from_secs(3600)).workload.ends,
    );
    assert_eq!(whole.since(rest), Duration::from_secs(3600));
}

#[test]
fn a_queue_has_the_share_of_its_weight_among_all() {
    let Scenario::Signaling(mut s) = built_in("signaling") else { panic!() };
    s.common.queues = "en 1, de 3, fr 4".parse().unwrap();
    let queues = signaling(&s).workload.rules.queues;
    let found: Vec<_> = queues.iter().map(|queue| (queue.name.as_str(), queue.up_to)).collect();
    assert_eq!(found, [("en", 0.125), ("de", 0.5), ("fr", 1.0)]);
}
