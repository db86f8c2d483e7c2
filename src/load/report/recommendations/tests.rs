//! Recommendations for made-up runs.

use super::*;
use crate::load::measure::FaultCauses;
use crate::load::report::model::example_run;

fn host() -> GeneratorHost {
    GeneratorHost { cpus: 2, server_is_here: true, ..GeneratorHost::default() }
}

/// A run with these figures.
pub(in crate::load::report) fn run(figures: &[(&str, f64)], outcome: TestOutcome) -> RunReport {
    RunReport {
        figures: figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        outcome,
        ..example_run()
    }
}

/// All recommendations for a run with their evidence, one per line.
pub(in crate::load::report) fn actions(run: &RunReport, host: &GeneratorHost) -> String {
    let mut lines = Vec::new();
    recommend_for_run(run, host, &mut |action: &str, evidence| {
        lines.push(format!("{action} {evidence}"));
    });
    lines.join("\n")
}

fn missed_relay_latency() -> TargetVerdict {
    TargetVerdict {
        target: "relay_p99_ms < 100".to_owned(),
        figure: "relay_p99_ms".to_owned(),
        bound: 100.0,
        value: Some(336.9),
        reached: TargetOutcome::Missed,
        note: String::new(),
    }
}

#[test]
fn every_run_that_did_not_pass_gets_a_recommendation() {
    let missed = missed_relay_latency();
    let idle = run(&[], TestOutcome::Failed);
    let text = actions(&RunReport { targets: vec![missed.clone()], ..idle }, &host());
    assert!(text.contains("relay_p99_ms < 100") && text.contains("336.9"), "{text}");
    let busy = run(&[("server_cpu_percent", 190.0)], TestOutcome::Failed);
    let text = actions(&RunReport { targets: vec![missed], ..busy }, &host());
    assert!(text.contains("limited by: the server's CPU"), "{text}");
    let refused = run(&[("connect_failed", 20.0)], TestOutcome::Failed);
    assert!(actions(&refused, &host()).contains("URL"));
    assert_eq!(actions(&run(&[], TestOutcome::Passed), &host()), "");
}

#[test]
fn the_generators_cost_is_judged_by_messages_and_not_by_sessions_opened() {
    let is_too_high = |connected: f64, messages_per_s: f64| {
        let figures = [
            ("generator_cpu_ratio", 1.8),
            ("messages_per_s", messages_per_s),
            ("server_cpu_percent", 50.0),
            ("connected", connected),
        ];
        let run = RunReport { seconds: 10.0, ..run(&figures, TestOutcome::Passed) };
        actions(&run, &host()).contains("The generator uses too much CPU per message")
    };
    assert!(is_too_high(100.0, JUDGE_COST_FROM_PER_S));
    assert!(!is_too_high(5000.0, 5000.0));
    assert!(!is_too_high(10.0, JUDGE_COST_FROM_PER_S - 1.0));
    let manual = include_str!("../../README.md").split_whitespace().collect::<Vec<_>>();
    let text = format!("From {} messages a second", number(JUDGE_COST_FROM_PER_S));
    assert!(manual.join(" ").contains(&text), "README.md does not contain `{text}`");
}

#[test]
fn a_server_that_shuts_down_needs_no_higher_connection_limit() {
    let advised = |figures: &[(&str, f64)]| {
        let run = run(figures, TestOutcome::Failed);
        actions(&run, &host()).contains("Raise the server's `--max-connections`")
    };
    assert!(advised(&[("upgrade_503", 3.0)]));
    assert!(!advised(&[("upgrade_503", 3.0), ("draining", 2.0)]));
}

fn with_faults(kinds: &[&str], figures: &[(&str, f64)], outcome: TestOutcome) -> RunReport {
    let fault = |kind: &&str| FaultReport {
        kind: (*kind).to_owned(),
        meaning: String::new(),
        count: 3,
        first_s: 1.0,
        last_s: 2.0,
        is_server_fault: false,
        causes: FaultCauses::default(),
    };
    RunReport { faults: kinds.iter().map(fault).collect(), ..run(figures, outcome) }
}

#[test]
fn a_shutdown_is_no_reason_for_more_cpu() {
    let faults = ["connection_lost", "draining", "shut_down"];
    let text = actions(&with_faults(&faults, &[], TestOutcome::Void), &host());
    assert!(text.starts_with("Keep the server running") && text.lines().count() == 1, "{text}");
    let lost = with_faults(&faults[..1], &[("connected", 5.0)], TestOutcome::Failed);
    let text = actions(&lost, &host());
    assert!(text.contains("what interrupted connections"), "{text}");
    assert!(!text.contains("Keep the server running"), "{text}");
}

#[test]
fn a_void_run_is_explained_by_what_used_the_cpus() {
    let advised = |figures: &[(&str, f64)]| {
        let figures = [&[("late_percent", 20.0)], figures].concat();
        let text = actions(&run(&figures, TestOutcome::Void), &host());
        ["Stop the other processes", "CPUs of its own", "Give the generator more CPU"]
            .map(|action| text.contains(action))
    };
    assert_eq!(advised(&[("others_cpu_percent", 120.0)]), [true, false, false]);
    assert_eq!(advised(&[("steal_percent", 30.0)]), [false, true, false]);
    assert_eq!(advised(&[("others_cpu_percent", 5.0)]), [false, false, true]);
}

#[test]
fn a_missed_latency_is_compared_with_the_servers_own() {
    let missed = missed_relay_latency();
    let evidence = |figures: &[(&str, f64)]| {
        let run = run(figures, TestOutcome::Failed);
        actions(&RunReport { targets: vec![missed.clone()], ..run }, &host())
    };
    let own = "by the server's own figures 99 % of its relays take at most 1.5 ms";
    assert!(evidence(&[("server_latency_relay_p99_ms", 1.5)]).contains(own));
    assert!(!evidence(&[]).contains("the server's own figures"));
}

#[test]
fn a_server_that_answers_nothing_is_judged_by_its_own_event_loops() {
    let advised = |kind: LoadFault, longest_loop_ms: Option<f64>| {
        let figures: Vec<_> =
            longest_loop_ms.map(|ms| ("server_latency_loop_max_ms", ms)).into_iter().collect();
        let mut run = with_faults(&[kind.name()], &figures, TestOutcome::Failed);
        run.faults.iter_mut().for_each(|fault| fault.is_server_fault = true);
        let text = actions(&run, &host());
        ["what kept the server from running", "what blocked the server's event loops", "dmesg"]
            .map(|part| text.contains(part))
    };
    assert_eq!(advised(LoadFault::Stalled, Some(1.6)), [true, false, false]);
    assert_eq!(advised(LoadFault::Stalled, Some(2500.0)), [false, true, false]);
    assert_eq!(advised(LoadFault::Stalled, None), [false, true, false]);
    assert_eq!(advised(LoadFault::Crashed, Some(1.6)), [false, false, true]);
    assert_eq!(advised(LoadFault::Duplicated, Some(1.6)), [false, false, false]);
}
