//! Pairs of reports, and what a comparison says of them.

use super::super::model::{BreakingPoint, example_report, example_run};
use super::*;
use crate::load::engine::LoadGauges;
use crate::load::interval_log::{IntervalRow, ServerSample};
use crate::load::measure::{CountMetric, Recorder, TimeMetric};
use crate::load::rng::Rng;
use crate::load::test_environment::{RunSpec, RunTotals};
use std::time::Duration;

fn report(figures: &[(&str, f64)]) -> LoadReport {
    let mut run = example_run();
    run.figures = figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    LoadReport { runs: vec![run], ..example_report() }
}

fn changes_between(earlier: &LoadReport, report: &LoadReport) -> Vec<FigureChange> {
    compare(std::slice::from_ref(earlier), report).changes
}

/// A run of forty seconds with 120 messages in each, whose time is 1 ms in the median and 4 ms in the 99th
/// percentile, multiplied by `slowness`. What a second has in common lasts for about two seconds.
fn measured(seed: u64, slowness: f64) -> LoadReport {
    let mut rng = Rng::new(seed, 0);
    let mut totals = RunTotals::default();
    let (mut common, mut cpu_s) = (0.0, 0.0);
    for second in 0..40 {
        let mut recorder = Recorder::default();
        common = 0.5 * common + 0.1 * (rng.next_fraction() - 0.5);
        for _ in 0..120 {
            // The logarithm is about normally distributed (Irwin-Hall).
            let normal = (0..12).map(|_| rng.next_fraction()).sum::<f64>() - 6.0;
            let ms = slowness * (0.6 * normal + common).exp();
            recorder.record_time(TimeMetric::Relay, Duration::from_secs_f64(ms / 1000.0));
        }
        recorder.add(CountMetric::Sent, 120);
        recorder.add(CountMetric::Received, 120);
        let used = slowness * 0.1 * (1.0 + common + 0.2 * rng.next_fraction());
        cpu_s += used;
        let (cpu, percent) = (Some(cpu_s), Some(100.0 * used));
        let mut row = IntervalRow {
            at_s: f64::from(second) + 1.0,
            length_s: 1.0,
            measured: true,
            server: ServerSample { cpu_s: cpu, cpu_percent: percent, ..ServerSample::default() },
            ..IntervalRow::default()
        };
        row.record(&recorder, &LoadGauges::default());
        totals.add_interval(&row, &recorder);
    }
    let spec = RunSpec {
        name: "signaling".to_owned(),
        about: String::new(),
        users_planned: 2,
        late_percent: 1.0,
        trial: false,
        targets: Vec::new(),
        growth_limits: None,
    };
    LoadReport { runs: vec![totals.into_report(&spec, &[])], ..example_report() }
}

/// The figures that are better or worse in the second report.
fn judged(earlier: &[LoadReport], report: &LoadReport) -> Vec<(String, bool)> {
    let changes = compare(earlier, report).changes.into_iter();
    changes.filter_map(|change| Some((change.figure, change.better?))).collect()
}

#[test]
fn the_same_system_twice_is_neither_better_nor_worse() {
    for seed in 0..12 {
        let (first, second) = (measured(2 * seed, 1.0), measured(2 * seed + 1, 1.0));
        assert_eq!(judged(&[first], &second), [], "seed {seed}");
    }
}

#[test]
fn a_system_that_is_30_percent_slower_is_a_regression() {
    for seed in 0..3 {
        let (before, after) = (measured(2 * seed, 1.0), measured(2 * seed + 1, 1.3));
        let comparison = compare(std::slice::from_ref(&before), &after);
        let p99 = comparison.changes.iter().find(|change| change.figure == "relay_p99_ms").unwrap();
        let ChangeInterval { low, high } = p99.interval.unwrap();
        assert!(low < 30.0 && 30.0 < high && high - low < 60.0, "{p99:?}");
        let lines = comparison.regressions(10.0);
        for figure in ["relay_p50_ms", "relay_p99_ms", "server_cpu_us_per_message"] {
            assert!(lines.iter().any(|line| line.contains(figure)), "seed {seed}: {lines:#?}");
        }
        assert_eq!(comparison.regressions(60.0), [""; 0], "less than the limit");
        let back = compare(&[after], &before);
        assert_eq!(back.regressions(10.0), [""; 0], "an improvement is none");
        assert!(back.changes.iter().any(|change| change.better == Some(true)));
    }
}

#[test]
fn a_comparison_with_itself_is_the_same_each_time() {
    let (before, after) = (measured(1, 1.0), measured(2, 1.1));
    assert_eq!(compare(std::slice::from_ref(&before), &after), compare(&[before], &after));
}

/// The slow one of the earlier reports shows how much the system varies.
#[test]
fn a_change_that_an_earlier_report_had_too_is_noise() {
    let report = measured(1, 1.3);
    let earlier = [measured(2, 1.0), measured(3, 1.3), measured(4, 1.0)];
    assert!(!judged(&earlier[..1], &report).is_empty());
    assert_eq!(judged(&earlier, &report), []);
    let remark = |earlier: &[LoadReport]| compare(earlier, &report).remarks.len();
    assert_eq!((remark(&earlier[..1]), remark(&earlier)), (1, 0));
}

#[test]
fn void_runs_and_other_loads_are_never_a_regression() {
    let (before, slow) = (measured(1, 1.0), measured(2, 2.0));
    assert!(!compare(std::slice::from_ref(&before), &slow).regressions(10.0).is_empty());
    for void_first in [false, true] {
        let (mut before, mut slow) = (before.clone(), slow.clone());
        let void = if void_first { &mut before } else { &mut slow };
        void.runs[0].outcome = TestOutcome::Void;
        assert_eq!(compare(&[before], &slow).regressions(10.0), [""; 0]);
    }
    let more = LoadReport { configuration: "rooms = 9".to_owned(), ..slow };
    let comparison = compare(&[before], &more);
    assert_eq!(comparison.regressions(10.0), [""; 0]);
    let lines = comparison.differences.join("; ");
    assert!(lines.contains("rooms was not set, is 9"), "{lines}");
    assert!(comparison.remarks[0].contains("the loads differ"), "{:?}", comparison.remarks);
}

/// With few batches nothing is known of the noise.
#[test]
fn a_short_run_has_no_interval_and_is_not_judged() {
    let (before, mut after) = (measured(1, 1.0), measured(2, 2.0));
    after.runs[0].batches.truncate(bootstrap::MIN_BATCHES - 1);
    let all = changes_between(&before, &after);
    for figure in ["relay_p99_ms", "server_cpu_us_per_message"] {
        let change = all.iter().find(|change| change.figure == figure).unwrap();
        assert_eq!((change.interval, change.better), (None, None), "{figure}");
    }
}

/// The limits themselves are noise.
#[test]
fn a_change_is_judged_if_it_is_certain_and_larger_than_the_noise_of_its_kind() {
    let interval = |low| Some(ChangeInterval { low, high: 30.0 });
    let (certain, uncertain) = (interval(1.0), interval(-1.0));
    let p99 = Quantile("relay", 0.99);
    let rate = Quotient(|batch| (batch.received as f64, batch.seconds));
    for (kind, before, after, interval, is_judged) in [
        (p99, 10.0, 10.5, certain, false),
        (p99, 10.0, 10.51, certain, true),
        (p99, 0.25, 0.2999, certain, false),
        (p99, 0.25, 0.3001, certain, true),
        (p99, 10.0, 12.0, uncertain, false),
        (p99, 10.0, 12.0, None, false),
        (rate, 10.0, 10.5, certain, false),
        (rate, 10.0, 10.51, certain, true),
        (rate, 10.0, 12.0, uncertain, false),
        (rate, 10.0, 12.0, None, false),
        (Level, 10.0, 10.5, None, false),
        (Level, 10.0, 10.51, None, true),
        (Exact, 99.9, 99.8, None, true),
        (Shown, 10.0, 20.0, certain, false),
    ] {
        let values = (before, after);
        let change = plain_change("calls", "figure", values, true);
        let judged = beyond_noise(change, values, kind, interval);
        assert_eq!(judged.better.is_some(), is_judged, "{values:?}, {interval:?}");
    }
}

/// The load tester's own cost and the success rate are shown as better or worse only.
#[test]
fn a_regression_is_one_of_the_server() {
    let rate = Quotient(|batch| (batch.received as f64, batch.seconds));
    let interval = Some(ChangeInterval { low: 1.0, high: 90.0 });
    for (figure, kind, is_regression) in [
        ("server_cpu_us_per_message", rate, true),
        ("generator_cpu_us_per_message", rate, false),
        ("server_memory_mb", Level, true),
        ("success_percent", Exact, false),
    ] {
        let change = plain_change("calls", figure, (10.0, 20.0), true);
        let change = beyond_noise(change, (10.0, 20.0), kind, interval);
        assert_eq!(change.better, Some(false), "{figure}");
        let comparison = ReportComparison {
            with: String::new(),
            differences: Vec::new(),
            remarks: Vec::new(),
            changes: vec![change],
        };
        assert_eq!(comparison.regressions(10.0).len(), usize::from(is_regression), "{figure}");
    }
}

#[test]
fn fewer_messages_in_the_same_time_are_a_regression() {
    let before = measured(1, 1.0);
    let mut fewer = before.clone();
    let run = &mut fewer.runs[0];
    run.batches.iter_mut().for_each(|batch| batch.received /= 2);
    *run.figures.get_mut("messages_per_s").unwrap() /= 2.0;
    let rate_of = |earlier: &LoadReport, report: &LoadReport| {
        let all = judged(std::slice::from_ref(earlier), report);
        all.into_iter().find(|(figure, _)| figure == "messages_per_s")
    };
    let named = |better| Some(("messages_per_s".to_owned(), better));
    assert_eq!(rate_of(&before, &fewer), named(false));
    assert_eq!(rate_of(&fewer, &before), named(true));
    assert_eq!(rate_of(&before, &before), None);
}

#[test]
fn of_several_earlier_reports_the_median_is_shown_and_the_interval_of_all() {
    let change = |before: f64, interval: Option<(f64, f64)>| FigureChange {
        interval: interval.map(|(low, high)| ChangeInterval { low, high }),
        ..plain_change("calls", "relay_p99_ms", (before, 12.0), true)
    };
    let first = change(10.0, Some((15.0, 22.0)));
    let others = [change(6.0, Some((90.0, 110.0))), change(8.0, Some((40.0, 60.0)))];
    let all = joined(&first, &[&others[0], &others[1]]);
    assert_eq!((all.before.as_str(), all.percent, all.better), ("8", Some(50.0), Some(false)));
    assert_eq!(all.interval, Some(ChangeInterval { low: 15.0, high: 110.0 }));
    let unknown = change(8.0, None);
    assert_eq!(joined(&first, &[&others[0], &unknown]).interval, None);
}

/// A figure of a trial depends on its level, which the search chooses.
#[test]
fn trials_of_searches_are_not_compared() {
    let [before, after] = [99.0, 50.0].map(|percent| {
        let mut report = report(&[("success_percent", percent)]);
        report.runs[0].trial = true;
        report
    });
    assert_eq!(changes_between(&before, &after), []);
}

#[test]
fn each_figure_has_its_own_direction_of_improvement() {
    let before = report(&[("success_percent", 99.0), ("server_memory_mb", 100.0), ("lost", 0.0)]);
    let after = report(&[("success_percent", 99.1), ("server_memory_mb", 150.0), ("lost", 9.0)]);
    let found = changes_between(&before, &after);
    let verdicts: Vec<_> = found.iter().map(|d| (d.figure.as_str(), d.better)).collect();
    let (better, worse) = (Some(true), Some(false));
    let expected = [("success_percent", better), ("server_memory_mb", worse), ("lost", worse)];
    assert_eq!(verdicts, expected);
}

/// Apart from its trials, a stress report contains only the breaking point.
#[test]
fn a_lower_breaking_point_is_worse_unless_a_search_is_void() {
    let stress = |holds, void| {
        let point = BreakingPoint {
            raised: "connections".to_owned(),
            holds: Some(holds),
            breaks: None,
            cause: String::new(),
            evidence: String::new(),
            void,
            trials: Vec::new(),
        };
        let trial = RunReport { trial: true, ..example_run() };
        LoadReport { runs: vec![trial], breaking_point: Some(point), ..example_report() }
    };
    let compared = |void| {
        let all = changes_between(&stress(1000.0, false), &stress(500.0, void));
        let [change] = &all[..] else { panic!("{all:?}") };
        (change.figure.clone(), change.percent, change.better)
    };
    let figure = || "holds at, connections".to_owned();
    assert_eq!(compared(false), (figure(), Some(-50.0), Some(false)));
    assert_eq!(compared(true), (figure(), Some(-50.0), None));
    assert_eq!(changes_between(&report(&[]), &stress(500.0, false)), []);
    let mut of_messages = stress(500.0, false);
    of_messages.breaking_point.as_mut().unwrap().raised = "messages".to_owned();
    assert_eq!(changes_between(&stress(1000.0, false), &of_messages), [], "another quantity");
    // A server that no longer holds the first level has become worse.
    let mut nothing = stress(0.0, false);
    let point = nothing.breaking_point.as_mut().unwrap();
    (point.holds, point.breaks) = (None, Some(1000.0));
    let all = changes_between(&stress(1000.0, false), &nothing);
    let changes: Vec<_> =
        all.iter().map(|d| (d.before.as_str(), d.after.as_str(), d.better)).collect();
    let thousand = number(1000.0);
    let expected = [(&*thousand, "none", Some(false)), ("none", &*thousand, Some(false))];
    assert_eq!(changes, expected);
}

#[test]
fn figures_of_a_void_run_are_neither_better_nor_worse() {
    let (clean, mut void) = (report(&[("lost", 0.0)]), report(&[("lost", 12.0)]));
    void.runs[0].outcome = TestOutcome::Void;
    let found = changes_between(&clean, &void);
    let lost = found.iter().find(|found| found.figure == "lost").unwrap();
    assert_eq!((lost.after.as_str(), lost.better), ("12", None));
}

#[test]
fn a_run_that_no_longer_passes_is_worse() {
    let passed = report(&[]);
    let mut failed = passed.clone();
    failed.runs[0].outcome = TestOutcome::Failed;
    let found = changes_between(&passed, &failed);
    assert_eq!((found[0].after.as_str(), found[0].better), ("failed", Some(false)));
    assert_eq!(changes_between(&passed, &passed), []);
}

#[test]
fn noise_is_neither_better_nor_worse() {
    let found = changes_between(
        &report(&[("server_memory_mb", 10.0)]),
        &report(&[("server_memory_mb", 10.3)]),
    );
    assert_eq!(found[0].better, None);
}
