//! Totals and their judgement, over made-up intervals.

use super::*;
use crate::load::report::model::TestOutcome;
use crate::load::test_environment::RunSpec;
use crate::timestamp::Timestamp;

fn spec() -> RunSpec {
    RunSpec {
        name: "endurance".to_owned(),
        about: String::new(),
        users_planned: 2,
        late_percent: 1.0,
        trial: false,
        targets: Vec::new(),
        growth_limits: Some((2.0, 99.9)),
    }
}

/// Adds seconds `from` to `to`, in which the server's memory starts at `memory` and grows by `grows`
/// each second.
fn add_seconds(totals: &mut RunTotals, from: u32, to: u32, memory: u64, grows: u64) {
    for second in from..to {
        let passed = u64::from(second - from);
        let server = ServerSample {
            cpu_s: Some(passed as f64),
            memory_bytes: Some(memory + grows * passed),
            ..ServerSample::default()
        };
        let at_s = f64::from(second);
        let row =
            IntervalRow { at_s, length_s: 1.0, measured: true, server, ..IntervalRow::default() };
        totals.add_interval(&row, &Recorder::default());
    }
}

#[test]
fn a_missing_sample_does_not_change_the_servers_cpu_time() {
    let mut totals = RunTotals::default();
    for (second, cpu_s) in [(1, Some(1.0)), (2, None), (3, Some(3.0)), (4, Some(4.0))] {
        let server = ServerSample { cpu_s, ..ServerSample::default() };
        let at_s = f64::from(second);
        let row = IntervalRow {
            at_s,
            length_s: 1.0,
            measured: second > 1,
            server,
            ..IntervalRow::default()
        };
        totals.add_interval(&row, &Recorder::default());
    }
    let report = totals.into_report(&spec(), &[]);
    assert_eq!(report.figures["server_cpu_percent"], 100.0);
}

/// A sample without shards does not count as an idle shard.
#[test]
fn averages_the_busiest_shard_over_the_samples_that_report_it() {
    let mut totals = RunTotals::default();
    for (second, percent) in [(1, Some(5.0)), (2, Some(90.0)), (3, None), (4, Some(100.0))] {
        let server = ServerSample { busiest_shard_percent: percent, ..ServerSample::default() };
        let at_s = f64::from(second);
        let row = IntervalRow {
            at_s,
            length_s: 1.0,
            measured: second > 1,
            server,
            ..IntervalRow::default()
        };
        totals.add_interval(&row, &Recorder::default());
    }
    totals.server_capacity.cpus = Some(2);
    let figures = totals.into_report(&spec(), &[]).figures;
    assert_eq!((figures["server_busiest_shard_percent"], figures["server_cpus"]), (95.0, 2.0));
}

fn leaks(totals: RunTotals) -> bool {
    let report = totals.into_report(&spec(), &[]);
    assert_eq!(report.trends[0].figure, "server memory");
    report.faults.iter().any(|fault| fault.kind == "leaked")
}

#[test]
fn a_late_generator_reports_no_faults_that_depend_on_timing() {
    let outcome = |late, fault| {
        let mut totals = RunTotals::default();
        totals.recorder.add(CountMetric::Starts, 100);
        totals.recorder.add(CountMetric::LateStarts, late);
        totals.recorder.record_fault(fault, Timestamp::ZERO);
        let report = totals.into_report(&spec(), &[]);
        (report.outcome, report.faults[0].is_server_fault)
    };
    for fault in LoadFault::ALL.iter().filter(|fault| fault.depends_on_timing()) {
        assert_eq!(outcome(0, *fault), (TestOutcome::Failed, true));
        assert_eq!(outcome(50, *fault), (TestOutcome::Void, false));
    }
    for late in [0, 50] {
        assert_eq!(outcome(late, LoadFault::Duplicated), (TestOutcome::Failed, true));
    }
}

/// A fault of the server fails the run even when it is stopped.
#[test]
fn a_run_stopped_by_the_operator_does_not_fail_by_missed_targets() {
    let targets = ["users_peak>=5000".parse().unwrap()];
    let outcome = |fault: Option<LoadFault>| {
        let mut totals = RunTotals { stopped: true, ..RunTotals::default() };
        if let Some(fault) = fault {
            totals.recorder.record_fault(fault, Timestamp::ZERO);
        }
        totals.into_report(&RunSpec { users_planned: 6000, ..spec() }, &targets).outcome
    };
    assert_eq!(outcome(None), TestOutcome::Stopped);
    assert_eq!(outcome(Some(LoadFault::Lost)), TestOutcome::Failed);
}

#[test]
fn growth_is_a_leak_unless_it_is_small_in_percent_or_bytes() {
    let is_leak = |memory, grows| {
        let mut totals = RunTotals::default();
        add_seconds(&mut totals, 0, 300, memory, grows);
        leaks(totals)
    };
    assert!(is_leak(100 << 20, 20 << 10));
    assert!(!is_leak(100 << 20, 5 << 10), "1.5 % are within the limit");
    assert!(!is_leak(4 << 20, 3 << 10), "20 %, but only 0.9 MiB");
}

#[test]
fn a_server_restarted_during_an_interruption_is_tested_from_its_restart() {
    for (grows, leaking) in [(0, false), (50 << 10, true)] {
        let mut totals = RunTotals::default();
        for (interruption, memory) in [(1, 20 << 20), (2, 30 << 20), (3, 40 << 20)] {
            add_seconds(&mut totals, (interruption - 1) * 100, interruption * 100, memory, 0);
            totals.begin(&ServerSample { cpu_s: Some(0.0), ..ServerSample::default() });
        }
        add_seconds(&mut totals, 300, 400, 50 << 20, grows);
        assert_eq!(leaks(totals), leaking);
    }
}

/// Neither those that it missed nor those that it met.
#[test]
fn the_targets_of_a_void_run_are_not_judged() {
    let targets =
        ["users_peak>=1", "users_peak<1", "loop_lag_ms<1"].map(|text| text.parse().unwrap());
    let reached = |late| {
        let mut totals = RunTotals::default();
        totals.recorder.add(CountMetric::Starts, 100);
        totals.recorder.add(CountMetric::LateStarts, late);
        let report = totals.into_report(&spec(), &targets);
        let reached = report.targets.iter().map(|verdict| verdict.reached).collect::<Vec<_>>();
        (report.outcome, reached, report.targets[0].note.clone())
    };
    use crate::load::target::TargetOutcome::{Met, Missed, NotJudged};
    let judged = vec![Missed, Met, Met];
    assert_eq!(reached(0), (TestOutcome::Failed, judged, String::new()));
    let note = "the run is void".to_owned();
    assert_eq!(reached(50), (TestOutcome::Void, vec![NotJudged; 3], note));
}

#[test]
fn messages_under_way_at_an_interruption_are_not_undelivered() {
    let mut totals = RunTotals::default();
    for (second, sent, received) in [(1, 10, 8), (2, 10, 12), (3, 10, 7)] {
        let mut row =
            IntervalRow { at_s: f64::from(second), length_s: 1.0, ..IntervalRow::default() };
        row.counts = [("sent".to_owned(), sent), ("received".to_owned(), received)].into();
        totals.restore(&row);
    }
    totals.begin(&ServerSample::default());
    let report = totals.into_report(&spec(), &[]);
    assert_eq!(report.figures["under_way"], 3.0);
    assert_eq!(report.figures["delivered_percent"], 100.0);
}
