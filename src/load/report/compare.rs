//! The differences between a report and earlier ones: which of them are beyond noise, and which of those a
//! regression. Pure.

mod bootstrap;
mod differences;

use super::model::{LoadReport, RunReport, TestOutcome};
use super::text::number;
use crate::load::measure::LoadFault;
use crate::load::run_batches::RunBatch;
use bootstrap::{ChangeInterval, quantile_intervals, quotient_interval};
use differences::differences;

/// The result of comparing two reports that have no figure in common.
pub(super) const NO_COMMON_FIGURES: &str = "no figure was measured in both reports";

/// A report compared with one or several earlier ones.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportComparison {
    /// The earlier reports, by the time at which they were started.
    pub(super) with: String,
    /// What is different in the configurations, in words.
    pub(super) differences: Vec<String>,
    /// Remarks on what the changes mean.
    pub(super) remarks: Vec<String>,
    pub(super) changes: Vec<FigureChange>,
}

/// One figure in the earlier reports and the new one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FigureChange {
    pub(super) run: String,
    pub(super) figure: String,
    /// Values as text; of several earlier reports the median.
    pub(super) before: String,
    pub(super) after: String,
    /// The change in percent; `None` if the value before was zero or is not a number.
    pub(super) percent: Option<f64>,
    /// The interval of the change, if the runs are long enough to tell.
    pub(super) interval: Option<ChangeInterval>,
    /// Whether the change is an improvement; `None` if it is within noise, or neither better nor worse.
    pub(super) better: Option<bool>,
    /// Whether a change for the worse counts as a regression.
    gates: bool,
}

impl FigureChange {
    /// The change in words.
    pub(super) fn percent_text(&self) -> String {
        self.percent.map_or_else(|| "–".to_owned(), |percent| format!("{percent:+.1} %"))
    }

    /// The interval in words; empty if there is none.
    pub(super) fn interval_text(&self) -> String {
        let text = |ChangeInterval { low, high }| format!("{low:+.1} to {high:+.1} %");
        self.interval.map(text).unwrap_or_default()
    }
}

impl ReportComparison {
    /// The figures that became worse by at least this many percent, beyond noise, one sentence each.
    pub fn regressions(&self, percent: f64) -> Vec<String> {
        let is_regression = |change: &&FigureChange| {
            let by = change.percent.map_or(f64::INFINITY, f64::abs);
            change.gates && change.better == Some(false) && by >= percent
        };
        let sentence = |change: &FigureChange| {
            let FigureChange { run, figure, before, after, .. } = change;
            format!("regression: {run} {figure}: {before} → {after} ({})", change.percent_text())
        };
        self.changes.iter().filter(is_regression).map(sentence).collect()
    }
}

/// How the noise of a figure is found.
#[derive(Clone, Copy)]
enum FigureKind {
    /// A quantile of a latency.
    Quantile(&'static str, f64),
    /// A quotient of two sums over the batches.
    Quotient(fn(&RunBatch) -> (f64, f64)),
    /// Not by batches; a change up to [`NOISE_PERCENT`] is noise.
    Level,
    /// Not by batches; every change counts.
    Exact,
    /// A single value of a run, such as a maximum, which varies by itself.
    Shown,
}

use FigureKind::{Exact, Level, Quantile, Quotient, Shown};

/// The figures that are compared, and whether a lower value is better.
const COMPARED: &[(&str, bool, FigureKind)] = &[
    ("success_percent", false, Exact),
    ("connect_p99_ms", true, Quantile("connect", 0.99)),
    ("match_p50_ms", true, Quantile("match", 0.5)),
    ("match_p99_ms", true, Quantile("match", 0.99)),
    ("relay_p50_ms", true, Quantile("relay", 0.5)),
    ("relay_p99_ms", true, Quantile("relay", 0.99)),
    ("relay_p999_ms", true, Quantile("relay", 0.999)),
    ("relay_max_ms", true, Shown),
    ("http_p99_ms", true, Quantile("http", 0.99)),
    ("messages_per_s", false, Quotient(|batch| (batch.received as f64, batch.seconds))),
    (
        "server_cpu_us_per_message",
        true,
        Quotient(|batch| (batch.server_cpu_s, batch.received as f64)),
    ),
    ("server_connect_cpu_us", true, Level),
    ("server_memory_mb", true, Level),
    // What the server allocated before the run decides how much it adds.
    ("server_memory_per_user_kb", true, Shown),
    (
        "generator_cpu_us_per_message",
        true,
        Quotient(|batch| (batch.generator_cpu_s, batch.received as f64)),
    ),
];

/// A change up to this percentage is noise, neither better nor worse: so much do two runs of the same system
/// differ.
const NOISE_PERCENT: f64 = 5.0;
/// A difference between two latencies up to this is noise: the kernel may fire a timer so much later than
/// requested (timer slack, prctl(2)).
const NOISE_MS: f64 = 0.05;

/// Compares the breaking points, and the runs that have the same name in both reports. Trials of a
/// search are left out, because the breaking point is their result. A figure is better or worse than in several
/// earlier reports only if it is than in each of them.
///
/// `earlier` is not empty.
pub fn compare(earlier: &[LoadReport], report: &LoadReport) -> ReportComparison {
    let mut differing: Vec<String> = Vec::new();
    let mut of_load = false;
    let mut pairs = earlier.iter().map(|earlier| {
        let found = differences(earlier, report);
        of_load |= found.of_load;
        for line in found.lines {
            if !differing.contains(&line) {
                differing.push(line);
            }
        }
        changes(earlier, report, found.of_load)
    });
    let first = pairs.next().unwrap_or_default();
    let others: Vec<Vec<FigureChange>> = pairs.collect();
    let is_same = |a: &FigureChange, b: &FigureChange| a.run == b.run && a.figure == b.figure;
    let changes = first.into_iter().filter_map(|change| {
        let same = others.iter().map(|all| all.iter().find(|other| is_same(other, &change)));
        let same: Option<Vec<&FigureChange>> = same.collect();
        Some(joined(&change, &same?))
    });
    let mut remarks = Vec::new();
    if of_load {
        remarks.push("the loads differ, so nothing is called better or worse".to_owned());
    }
    if earlier.len() == 1 {
        remarks.push(
            "compared with one report: the intervals do not cover how two runs of the same system differ"
                .to_owned(),
        );
    }
    let mut started: Vec<&str> = earlier.iter().map(|report| report.started.as_str()).collect();
    started.sort_unstable();
    ReportComparison {
        with: started.join(", "),
        changes: changes.collect(),
        differences: differing,
        remarks,
    }
}

/// One change to the median of several earlier values, which is better or worse if each of them is.
fn joined(first: &FigureChange, others: &[&FigureChange]) -> FigureChange {
    if others.is_empty() {
        return first.clone();
    }
    let mut all: Vec<&FigureChange> = [&[first][..], others].concat();
    let hull = |a: Option<ChangeInterval>, b: Option<ChangeInterval>| Some(a?.including(b?));
    let interval = all.iter().map(|change| change.interval).reduce(hull).flatten();
    let better = first.better.filter(|_| others.iter().all(|other| other.better == first.better));
    all.sort_by(|a, b| {
        let order = |change: &FigureChange| change.percent.unwrap_or(f64::INFINITY);
        order(a).total_cmp(&order(b))
    });
    FigureChange { interval, better, ..all[all.len() / 2].clone() }
}

/// The changes from one earlier report.
fn changes(earlier: &LoadReport, report: &LoadReport, load_differs: bool) -> Vec<FigureChange> {
    let mut all = breaking_point_changes(earlier, report);
    for run in report.runs.iter().filter(|run| !run.trial) {
        let Some(old) = earlier.runs.iter().find(|old| old.name == run.name) else { continue };
        let first = all.len();
        all.extend(outcome_change(old, run));
        let first_figure = all.len();
        all.extend(run_changes(old, run));
        // The figures of a run that is void or was stopped do not describe the server.
        if !describes_server(old.outcome) || !describes_server(run.outcome) {
            all[first_figure..].iter_mut().for_each(|change| change.better = None);
        }
        if load_differs {
            all[first..].iter_mut().for_each(|change| change.better = None);
        }
    }
    all
}

/// Whether the figures of a run with this outcome describe the server.
fn describes_server(outcome: TestOutcome) -> bool {
    matches!(outcome, TestOutcome::Passed | TestOutcome::Failed)
}

/// The changes of the figures and faults of a run.
fn run_changes(old: &RunReport, run: &RunReport) -> Vec<FigureChange> {
    let mut all = Vec::new();
    for ((figure, lower_is_better, kind), interval) in COMPARED.iter().zip(intervals(old, run)) {
        if let Some(values) = both(old, run, figure) {
            let change = plain_change(&run.name, figure, values, *lower_is_better);
            all.push(beyond_noise(change, values, *kind, interval));
        }
    }
    for fault in LoadFault::ALL.iter().map(|fault| fault.name()) {
        let counts = both(old, run, fault).filter(|(before, after)| before != after);
        all.extend(counts.map(|counts| plain_change(&run.name, fault, counts, true)));
    }
    all
}

/// The value of a figure before and after, if both runs have it.
fn both(old: &RunReport, run: &RunReport, figure: &str) -> Option<(f64, f64)> {
    Some((*old.figures.get(figure)?, *run.figures.get(figure)?))
}

/// The intervals of the changes of the compared figures, as far as the batches of both runs tell them.
fn intervals(old: &RunReport, run: &RunReport) -> Vec<Option<ChangeInterval>> {
    let (before, after) = (&old.batches, &run.batches);
    let quantiles_of = |latency: &str| -> Vec<f64> {
        let of_latency = |kind: &FigureKind| match kind {
            Quantile(name, quantile) if *name == latency => Some(*quantile),
            Quantile(..) | Quotient(_) | Level | Exact | Shown => None,
        };
        COMPARED.iter().filter_map(|(_, _, kind)| of_latency(kind)).collect()
    };
    let mut known: Option<(&str, Vec<Option<ChangeInterval>>)> = None;
    let mut interval = |kind: FigureKind| match kind {
        Quantile(latency, quantile) => {
            let quantiles = quantiles_of(latency);
            if known.as_ref().is_none_or(|(name, _)| *name != latency) {
                let found = quantile_intervals(before, after, latency, &quantiles);
                known = Some((latency, found.unwrap_or_default()));
            }
            let position = quantiles.iter().position(|other| *other == quantile)?;
            known.as_ref()?.1.get(position).copied().flatten()
        }
        Quotient(terms) => quotient_interval(before, after, terms),
        Level | Exact | Shown => None,
    };
    COMPARED.iter().map(|(_, _, kind)| interval(*kind)).collect()
}

/// A change in which every difference counts, and which is no regression by itself.
fn plain_change(
    run: &str,
    figure: &str,
    (before, after): (f64, f64),
    lower_is_better: bool,
) -> FigureChange {
    FigureChange {
        run: run.to_owned(),
        figure: figure.to_owned(),
        before: number(before),
        after: number(after),
        percent: (before != 0.0).then(|| 100.0 * (after - before) / before),
        interval: None,
        better: (before != after).then_some((after < before) == lower_is_better),
        gates: false,
    }
}

/// The change without a judgement if it is within noise.
fn beyond_noise(
    change: FigureChange,
    (before, after): (f64, f64),
    kind: FigureKind,
    interval: Option<ChangeInterval>,
) -> FigureChange {
    let is_small = change.percent.is_some_and(|percent| percent.abs() <= NOISE_PERCENT);
    let is_certain = interval.is_some_and(|interval| !interval.contains_zero());
    let is_judged = match kind {
        Exact => true,
        Level => !is_small,
        Quantile(..) => is_certain && !is_small && (after - before).abs() > NOISE_MS,
        Quotient(_) => is_certain && !is_small,
        Shown => false,
    };
    // The generator's own cost is no property of the server, and a success rate is judged by targets.
    let gates = !matches!(kind, Exact | Shown) && !change.figure.starts_with("generator_");
    FigureChange { interval, better: change.better.filter(|_| is_judged), gates, ..change }
}

/// The changes of the level that holds and of the one that breaks, if both reports have a search
/// for the same quantity. A void search did not find the server's limit, so its levels are shown
/// without a judgement.
fn breaking_point_changes(earlier: &LoadReport, report: &LoadReport) -> Vec<FigureChange> {
    let (Some(old), Some(new)) = (&earlier.breaking_point, &report.breaking_point) else {
        return Vec::new();
    };
    if old.raised != new.raised {
        return Vec::new();
    }
    let levels = [("holds at", old.holds, new.holds), ("breaks at", old.breaks, new.breaks)];
    let reaches = |holds: Option<f64>, breaks: Option<f64>| {
        holds.zip(breaks).is_some_and(|(holds, breaks)| holds >= breaks)
    };
    let verdict = match (reaches(new.holds, old.breaks), reaches(old.holds, new.breaks)) {
        (better, worse) if better != worse => Some(better),
        _ => None,
    };
    let level_change = |(name, before, after): (&str, Option<f64>, Option<f64>)| {
        let figure = format!("{name}, {}", new.raised);
        let change = match (before, after) {
            (None, None) => return None,
            (Some(before), Some(after)) => {
                let change = plain_change("breaking point", &figure, (before, after), false);
                beyond_noise(change, (before, after), Level, None)
            }
            // The searches may have covered different ranges. A judgement needs a level that held
            // in one and did not hold in the other.
            _ => FigureChange {
                run: "breaking point".to_owned(),
                figure,
                before: before.map_or("none".to_owned(), number),
                after: after.map_or("none".to_owned(), number),
                percent: None,
                interval: None,
                better: verdict,
                gates: true,
            },
        };
        Some(FigureChange { better: change.better.filter(|_| !old.void && !new.void), ..change })
    };
    levels.into_iter().filter_map(level_change).collect()
}

/// The change of a run's outcome, if it changed.
fn outcome_change(old: &RunReport, run: &RunReport) -> Option<FigureChange> {
    // Only outcomes that describe the server are better or worse.
    let better = match (old.outcome, run.outcome) {
        (TestOutcome::Failed, TestOutcome::Passed) => Some(true),
        (TestOutcome::Passed, TestOutcome::Failed) => Some(false),
        _ => None,
    };
    (old.outcome != run.outcome).then(|| FigureChange {
        run: run.name.clone(),
        figure: "outcome".to_owned(),
        before: old.outcome.label().to_owned(),
        after: run.outcome.label().to_owned(),
        percent: None,
        interval: None,
        better,
        gates: false,
    })
}

#[cfg(test)]
mod tests;
