//! Merges the reports of several generators, or of several tests, into one. Pure.
//!
//! Counters, faults and histograms add up, and all figures and percentiles are computed from the sums. What
//! is known of the intervals only as a percentile cannot be merged: the charts of a merged report show the
//! highest percentile of the parts, which the percentile of all values does not exceed.

use super::report::model::{GeneratorReport, LoadReport, RunReport, TestOutcome};
use super::target::PerformanceTarget;
use super::test_environment::{PartTiming, RunSpec, RunTotals};

/// A report and the name by which errors refer to it.
pub struct ReportPart {
    /// For example its directory.
    pub name: String,
    /// The report.
    pub report: LoadReport,
}

/// Merges `parts`, which are at least two. The result is not judged as a whole yet.
///
/// # Errors
/// The reason in one line, if the reports cannot be merged.
pub fn merge(parts: &[ReportPart]) -> Result<LoadReport, String> {
    let [first, others @ ..] = parts else { return Err("there is no report to merge".to_owned()) };
    for part in others {
        let (known, other) = (&first.report.scenario, &part.report.scenario);
        if known != other {
            let (first, part) = (&first.name, &part.name);
            return Err(format!("{first} is a report of {known}, but {part} of {other}"));
        }
    }
    for part in parts {
        check_part(part, &run_names(&first.report), &first.name)?;
    }
    let timing = timing(parts);
    let runs: Result<Vec<RunReport>, String> =
        run_names(&first.report).iter().map(|name| merge_run(parts, name, timing)).collect();
    let started = parts.iter().map(|part| &part.report.started).min();
    let seconds = parts.iter().map(|part| part.report.seconds);
    Ok(LoadReport {
        started: started.cloned().unwrap_or_default(),
        seconds: match timing {
            PartTiming::SameTime => seconds.fold(0.0, f64::max),
            PartTiming::OneAfterTheOther => seconds.sum(),
        },
        runs: runs?,
        breaking_point: None,
        unjudged_requirements: Vec::new(),
        recommendations: Vec::new(),
        ..first.report.clone()
    })
}

/// The names of the runs that can be merged; trials of a search cannot.
fn run_names(report: &LoadReport) -> Vec<&str> {
    report.runs.iter().filter(|run| !run.trial).map(|run| run.name.as_str()).collect()
}

fn check_part(part: &ReportPart, runs: &[&str], first: &str) -> Result<(), String> {
    let ReportPart { name, report } = part;
    if run_names(report).is_empty() {
        return Err(format!("{name} has no run besides the trials of a search"));
    }
    if run_names(report) != runs {
        let (these, others) = (run_names(report).join(", "), runs.join(", "));
        return Err(format!("{name} has the runs {these}, but {first} has {others}"));
    }
    for run in report.runs.iter().filter(|run| !run.trial) {
        if run.outcome == TestOutcome::Void {
            return Err(format!("{name}: the run {} is void: {}", run.name, run.reason));
        }
        if run.histograms.is_empty() && !run.times.is_empty() {
            return Err(format!("{name} has no histograms: it was written by version 0.1.0"));
        }
    }
    Ok(())
}

/// Whether the tests ran at the same time: each began before the first one ended.
fn timing(parts: &[ReportPart]) -> PartTiming {
    let begin = |part: &ReportPart| humantime::parse_rfc3339(&part.report.started).ok();
    let end = |part: &ReportPart| {
        let lasting = std::time::Duration::try_from_secs_f64(part.report.seconds).ok()?;
        begin(part)?.checked_add(lasting)
    };
    let (last_begin, first_end) = (parts.iter().map(begin).max(), parts.iter().map(end).min());
    match last_begin < first_end {
        true => PartTiming::SameTime,
        false => PartTiming::OneAfterTheOther,
    }
}

/// Merges the runs with this name.
fn merge_run(parts: &[ReportPart], name: &str, timing: PartTiming) -> Result<RunReport, String> {
    let find = |part: &ReportPart| part.report.runs.iter().find(|run| run.name == name).cloned();
    let runs: Vec<RunReport> = parts.iter().filter_map(find).collect();
    let [first, others @ ..] = &runs[..] else { return Err(format!("no run {name}")) };
    let targets_of = |run: &RunReport| -> Vec<String> {
        run.targets.iter().map(|verdict| verdict.target.clone()).collect()
    };
    if others.iter().any(|run| targets_of(run) != targets_of(first)) {
        return Err(format!("the runs {name} are judged by different targets"));
    }
    let targets: Result<Vec<PerformanceTarget>, String> =
        targets_of(first).iter().map(|target| target.parse()).collect();
    let mut totals = RunTotals::default();
    for run in &runs {
        totals.add_run(run, timing).map_err(|reason| format!("{name}: {reason}"))?;
    }
    let planned = runs.iter().map(|run| run.users_planned);
    let (users_planned, how) = match timing {
        PartTiming::SameTime => (planned.sum(), "at the same time"),
        PartTiming::OneAfterTheOther => (planned.max().unwrap_or(0), "one after the other"),
    };
    let spec = RunSpec {
        name: name.to_owned(),
        about: format!("{}; merged from {} reports made {how}", first.about, runs.len()),
        users_planned,
        // No part is void.
        late_percent: 100.0,
        trial: false,
        targets: Vec::new(),
        growth_limits: None,
    };
    let mut merged = totals.into_report(&spec, &targets?);
    merged.generators = generators(&runs, timing);
    merged.trends = runs.iter().flat_map(|run| run.trends.clone()).collect();
    Ok(merged)
}

/// The agents of all runs. One that took part in several, one after the other, has one row.
fn generators(runs: &[RunReport], timing: PartTiming) -> Vec<GeneratorReport> {
    let mut all: Vec<GeneratorReport> = Vec::new();
    for agent in runs.iter().flat_map(|run| &run.generators) {
        let is_same = |known: &&mut GeneratorReport| {
            known.address == agent.address && known.host_name == agent.host_name
        };
        match all.iter_mut().find(is_same) {
            Some(known) if timing == PartTiming::OneAfterTheOther => known.add_later(agent),
            Some(_) | None => all.push(agent.clone()),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::interval_log::IntervalRow;
    use crate::load::measure::{CountMetric, LoadFault, Recorder, TimeMetric};
    use crate::load::report::model::{TrendReport, example_report};
    use crate::load::trend::analyze;
    use crate::timestamp::Timestamp;
    use proptest::prelude::*;
    use std::time::Duration;

    fn spec() -> RunSpec {
        RunSpec {
            name: "signaling".to_owned(),
            about: "rooms".to_owned(),
            users_planned: 10,
            late_percent: 1.0,
            trial: false,
            targets: Vec::new(),
            growth_limits: None,
        }
    }

    /// A report of a test that began at this second and took ten, and relayed messages in these times.
    fn part(begin: u32, micros: &[u64]) -> ReportPart {
        let mut totals = RunTotals::default();
        let mut recorder = Recorder::default();
        for micros in micros {
            recorder.count(CountMetric::Sent);
            recorder.count(CountMetric::Received);
            recorder.record_time(TimeMetric::Relay, Duration::from_micros(*micros));
        }
        recorder.record_faults(LoadFault::RateLimited, 3, Timestamp::from_nanos(7));
        let mut row =
            IntervalRow { at_s: 10.0, length_s: 10.0, measured: true, ..Default::default() };
        row.record(&recorder, &Default::default());
        row.users = 10;
        totals.add_interval(&row, &recorder);
        let run = totals.into_report(&spec(), &["users_peak>=20".parse().unwrap()]);
        let started = format!("2026-01-02T03:04:{begin:02}Z");
        let report = LoadReport { runs: vec![run], started, seconds: 10.0, ..example_report() };
        ReportPart { name: format!("part {begin}"), report }
    }

    #[test]
    fn reports_made_at_the_same_time_add_up_and_later_ones_take_longer() {
        let merged = |begin| {
            let report = merge(&[part(0, &[1000; 50]), part(begin, &[3000; 50])]).unwrap();
            let run = report.runs[0].clone();
            let figures = ["users_peak", "messages_per_s", "sent", "rate_limited"];
            (report.seconds, run.seconds, figures.map(|name| run.figures[name]), run)
        };
        let (seconds, of_run, figures, run) = merged(5);
        assert_eq!((seconds, of_run, figures), (10.0, 10.0, [20.0, 10.0, 100.0, 6.0]));
        assert_eq!(run.about, "rooms; merged from 2 reports made at the same time");
        assert_eq!(run.targets[0].reached, crate::load::target::TargetOutcome::Met);
        assert_eq!(run.intervals.len(), 1);
        assert_eq!((run.intervals[0].users, run.intervals[0].times["relay"].p50_ms), (20, 3.001));
        let (seconds, of_run, figures, run) = merged(11);
        assert_eq!((seconds, of_run, figures), (20.0, 20.0, [10.0, 5.0, 100.0, 6.0]));
        assert_eq!(run.intervals.iter().map(|row| row.at_s).collect::<Vec<_>>(), [10.0, 20.0]);
    }

    #[test]
    fn the_agents_of_all_parts_are_kept_and_those_of_later_parts_added() {
        let merged = |second_begin| {
            let parts =
                [(0, 40.0, 10), (second_begin, 70.0, 30)].map(|(begin, cpu_percent, late)| {
                    let mut part = part(begin, &[1000]);
                    let agent = |address: &str| GeneratorReport {
                        address: address.to_owned(),
                        intervals: 10,
                        users_peak: cpu_percent as u64,
                        sent: 5,
                        starts: 100,
                        late_starts: late,
                        cpu_percent,
                        memory_bytes: Some(late),
                        ..GeneratorReport::default()
                    };
                    let other = format!("only in {begin}");
                    part.report.runs[0].generators = vec![agent("192.0.2.1:7700"), agent(&other)];
                    part
                });
            merge(&parts).unwrap().runs[0].generators.clone()
        };
        let together = merged(5);
        let names: Vec<_> = together.iter().map(|agent| agent.address.as_str()).collect();
        assert_eq!(names, ["192.0.2.1:7700", "only in 0", "192.0.2.1:7700", "only in 5"]);
        let in_turn = merged(20);
        let names: Vec<_> = in_turn.iter().map(|agent| agent.address.as_str()).collect();
        assert_eq!(names, ["192.0.2.1:7700", "only in 0", "only in 20"]);
        let both = &in_turn[0];
        assert_eq!((both.intervals, both.sent, both.starts, both.late_starts), (20, 10, 200, 40));
        assert_eq!((both.users_peak, both.late_percent, both.cpu_percent), (70, 20.0, 55.0));
        assert_eq!(both.memory_bytes, Some(30));
    }

    /// A cause is in the sentence of its fault with its number in all parts.
    #[test]
    fn the_trends_of_all_parts_are_kept_and_the_causes_of_faults_counted_again() {
        let parts = [1, 2].map(|closed| {
            let mut totals = RunTotals::default();
            let mut recorder = Recorder::default();
            for _ in 0..closed {
                let at = Timestamp::from_nanos(closed * 1_000_000_000);
                recorder.record_fault_with_cause(LoadFault::ClosedByServer, "1009", at);
            }
            totals.recorder.merge(&recorder);
            let mut run = totals.into_report(&spec(), &[]);
            run.trends = vec![TrendReport {
                figure: format!("trend {closed}"),
                unit: "ms".to_owned(),
                trend: analyze(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0].map(|at_s| (at_s, 1.0)))
                    .unwrap(),
                is_growing: false,
                verdict: String::new(),
            }];
            let report = LoadReport { runs: vec![run], ..example_report() };
            ReportPart { name: format!("part {closed}"), report }
        });
        let run = merge(&parts).unwrap().runs.remove(0);
        let trends: Vec<&str> = run.trends.iter().map(|trend| trend.figure.as_str()).collect();
        assert_eq!(trends, ["trend 1", "trend 2"]);
        let [closed] = &run.faults[..] else { panic!("{:?}", run.faults) };
        assert_eq!((closed.count, closed.causes.count("1009")), (3, 3));
        assert_eq!((closed.first_s, closed.last_s), (1.0, 2.0));
        assert!(closed.meaning.contains("3 × 1009"), "{}", closed.meaning);
        assert_eq!(run.figures["closed_1009"], 3.0);
    }

    #[test]
    fn reports_that_cannot_be_merged_are_refused_with_the_reason() {
        let refused = |change: fn(&mut LoadReport)| {
            let mut other = part(0, &[1]);
            other.name = "other".to_owned();
            change(&mut other.report);
            merge(&[part(0, &[1]), other]).unwrap_err()
        };
        let void = refused(|report| {
            report.runs[0].outcome = TestOutcome::Void;
            report.runs[0].reason = "late".to_owned();
        });
        assert_eq!(void, "other: the run signaling is void: late");
        let scenario = refused(|report| report.scenario = "http".to_owned());
        assert_eq!(scenario, "part 0 is a report of calls, but other of http");
        let name = refused(|report| report.runs[0].name = "x".to_owned());
        assert_eq!(name, "other has the runs x, but part 0 has signaling");
        let older = refused(|report| report.runs[0].histograms.clear());
        assert!(older.contains("other has no histograms"), "{older}");
        let trial = refused(|report| report.runs[0].trial = true);
        assert!(trial.contains("no run besides the trials"), "{trial}");
        let other_bound = refused(|report| report.runs[0].targets[0].target = "sent>=1".to_owned());
        assert_eq!(other_bound, "the runs signaling are judged by different targets");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn merged_percentiles_equal_those_of_one_histogram_with_all_values(
            values in prop::collection::vec(prop::collection::vec(1u64..100_000_000, 1..60), 2..5)
        ) {
            let parts: Vec<_> = values.iter().map(|values| part(0, values)).collect();
            let merged = merge(&parts).unwrap();
            let whole = part(0, &values.concat());
            prop_assert_eq!(&merged.runs[0].times, &whole.report.runs[0].times);
            prop_assert_eq!(&merged.runs[0].histograms, &whole.report.runs[0].histograms);
            prop_assert_eq!(&merged.runs[0].distributions, &whole.report.runs[0].distributions);
        }
    }
}
