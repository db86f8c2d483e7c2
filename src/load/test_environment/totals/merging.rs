//! Adds the report of a whole run to totals, to merge the reports of several generators. Pure.

use super::RunTotals;
use crate::load::encoded_histogram::decode;
use crate::load::figures::RunMeasurements;
use crate::load::interval_log::IntervalRow;
use crate::load::measure::{
    CountMetric, FaultCauses, FaultStats, LatencySummary, LoadFault, TimeMetric,
};
use crate::load::report::model::{RunReport, TestOutcome};

/// When the runs of several reports took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartTiming {
    /// Together: several generators made the load of one test, and their users and rates add up.
    SameTime,
    /// One after the other: their durations add up.
    OneAfterTheOther,
}

impl RunTotals {
    /// Adds a run.
    ///
    /// # Errors
    /// The reason in one line, if a histogram of the run cannot be read.
    pub fn add_run(&mut self, run: &RunReport, timing: PartTiming) -> Result<(), String> {
        let figure = |name: &str| run.figures.get(name).copied().unwrap_or(0.0) as u64;
        for counter in CountMetric::ALL {
            self.recorder.add(*counter, figure(counter.name()));
        }
        // The report counts a misrouted message as misrouted only, the recorder also as lost.
        let misrouted = figure(LoadFault::Misrouted.name());
        let all_lost_are_hidden = figure(LoadFault::Lost.name()) == 0;
        // Times of a later run count from its own start.
        let offset_s = match timing {
            PartTiming::SameTime => 0.0,
            PartTiming::OneAfterTheOther => self.seconds,
        };
        for fault in &run.faults {
            let Some(kind) = LoadFault::from_name(&fault.kind) else { continue };
            let hidden = if kind == LoadFault::Lost { misrouted } else { 0 };
            let stats = FaultStats {
                count: fault.count + hidden,
                first_ns: ((fault.first_s + offset_s) * 1e9).round() as u64,
                last_ns: ((fault.last_s + offset_s) * 1e9).round() as u64,
                causes: fault.causes.clone(),
            };
            self.recorder.merge_fault(kind, &stats);
            if kind == LoadFault::Misrouted && all_lost_are_hidden {
                let lost = FaultStats { causes: FaultCauses::default(), ..stats };
                self.recorder.merge_fault(LoadFault::Lost, &lost);
            }
        }
        for (name, text) in &run.histograms {
            let times = decode(text).map_err(|reason| format!("histogram {name}: {reason}"))?;
            if let Some(metric) = TimeMetric::from_name(name) {
                self.recorder.add_times(metric, &times);
            }
        }
        self.add_http_paths(run, timing)?;
        self.add_rows(run, timing);
        let is_first = self.seconds == 0.0;
        let users_peak_at_s = run.measurements.users_peak_at_s + offset_s;
        let part = RunMeasurements { users_peak_at_s, ..run.measurements };
        self.measurements = match (is_first, timing) {
            (true, _) => part,
            (false, PartTiming::SameTime) => together(&self.measurements, &part),
            (false, PartTiming::OneAfterTheOther) => in_turn(&self.measurements, &part),
        };
        self.seconds = match timing {
            PartTiming::SameTime => self.seconds.max(run.seconds),
            PartTiming::OneAfterTheOther => self.seconds + run.seconds,
        };
        self.stopped |= run.outcome == TestOutcome::Stopped;
        self.accept_queue_drops =
            add_server_count(self.accept_queue_drops, figure("accept_queue_drops"), timing);
        let limit = |name: &str| run.figures.get(name).map(|value| *value as u64);
        let known = &mut self.server_capacity;
        known.descriptors = known.descriptors.max(limit("server_descriptor_limit"));
        known.cpus = known.cpus.max(limit("server_cpus"));
        for (name, count) in &run.figures {
            let kinds = ["closed_", "rejected_", "errors_"];
            let counter = name
                .strip_prefix("server_")
                .filter(|name| kinds.iter().any(|kind| name.starts_with(kind)));
            let Some(counter) = counter else { continue };
            let known = self.server_counters.entry(counter.to_owned()).or_default();
            *known = add_server_count(*known, *count as u64, timing);
        }
        Ok(())
    }

    /// Adds the HTTP requests by path.
    fn add_http_paths(&mut self, run: &RunReport, timing: PartTiming) -> Result<(), String> {
        for (path, sample) in &run.http_paths {
            let record = self.recorder.http_paths.of(path);
            let before_ns = record.counts.planned_ns;
            sample.add_to(record).map_err(|reason| format!("histograms of {path}: {reason}"))?;
            if timing == PartTiming::SameTime {
                record.counts.planned_ns = before_ns.max(sample.counts.planned_ns);
            }
        }
        Ok(())
    }

    /// Adds the rows of the charts: to those of the same time, or after those before.
    fn add_rows(&mut self, run: &RunReport, timing: PartTiming) {
        let before = std::mem::replace(&mut self.rows, RunTotals::default().rows).into_rows();
        let mut rows = before;
        match timing {
            PartTiming::SameTime if !rows.is_empty() => {
                let distance = |a: &IntervalRow, b: &IntervalRow| (a.at_s - b.at_s).abs();
                for row in &mut rows {
                    let others = run.intervals.iter();
                    let nearest =
                        others.min_by(|a, b| distance(a, row).total_cmp(&distance(b, row)));
                    nearest.into_iter().for_each(|other| add_row(row, other));
                }
            }
            PartTiming::SameTime => rows.clone_from(&run.intervals),
            PartTiming::OneAfterTheOther => {
                let later = run.intervals.iter().cloned();
                rows.extend(later.map(|row| IntervalRow { at_s: row.at_s + self.seconds, ..row }));
            }
        }
        rows.iter().for_each(|row| self.rows.push(row));
    }
}

/// What the server, or its kernel, has counted during two runs.
fn add_server_count(known: u64, count: u64, timing: PartTiming) -> u64 {
    match timing {
        // Every generator has seen the same server.
        PartTiming::SameTime => known.max(count),
        PartTiming::OneAfterTheOther => known + count,
    }
}

/// Adds what another generator did in the same interval. The server's figures are those of one of them.
fn add_row(row: &mut IntervalRow, other: &IntervalRow) {
    row.connecting += other.connecting;
    row.users += other.users;
    row.waiting += other.waiting;
    row.waiting_peak += other.waiting_peak;
    row.in_rooms += other.in_rooms;
    let scale = if other.length_s > 0.0 { row.length_s / other.length_s } else { 1.0 };
    for (name, count) in &other.counts {
        *row.counts.entry(name.clone()).or_default() += (*count as f64 * scale).round() as u64;
    }
    for (kind, stats) in &other.faults {
        let known = row.faults.entry(kind.clone()).or_default();
        known.count += stats.count;
    }
    for (name, times) in &other.times {
        let known = row.times.entry(name.clone()).or_default();
        *known = highest(known, times);
    }
    row.generator.cpu_percent += other.generator.cpu_percent;
    row.generator.longest_iteration_ms =
        row.generator.longest_iteration_ms.max(other.generator.longest_iteration_ms);
    row.generator.memory_bytes = add(row.generator.memory_bytes, other.generator.memory_bytes);
}

/// The higher of each percentile; the percentile of all values is at most that.
fn highest(a: &LatencySummary, b: &LatencySummary) -> LatencySummary {
    let count = a.count + b.count;
    let sum = a.mean_ms * a.count as f64 + b.mean_ms * b.count as f64;
    LatencySummary {
        count,
        mean_ms: if count > 0 { sum / count as f64 } else { 0.0 },
        p50_ms: a.p50_ms.max(b.p50_ms),
        p90_ms: a.p90_ms.max(b.p90_ms),
        p95_ms: a.p95_ms.max(b.p95_ms),
        p99_ms: a.p99_ms.max(b.p99_ms),
        p999_ms: a.p999_ms.max(b.p999_ms),
        max_ms: a.max_ms.max(b.max_ms),
    }
}

/// The sum of what is known.
fn add(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (known, None) | (None, known) => known,
    }
}

/// The greater of two numbers, as far as they are known.
fn greater(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (known, None) | (None, known) => known,
    }
}

/// The measurements of two runs against the same server at the same time.
fn together(a: &RunMeasurements, b: &RunMeasurements) -> RunMeasurements {
    let share = |(cpu_s, seconds): (f64, f64)| cpu_s / seconds.max(1e-9);
    RunMeasurements {
        users_peak: a.users_peak + b.users_peak,
        users_peak_at_s: a.users_peak_at_s.max(b.users_peak_at_s),
        waiting_peak: a.waiting_peak + b.waiting_peak,
        measured_s: a.measured_s.max(b.measured_s),
        messages_planned: a.messages_planned || b.messages_planned,
        message_sizes: a.message_sizes.larger(&b.message_sizes),
        measured_received: a.measured_received + b.measured_received,
        server_cpu_s: greater(a.server_cpu_s, b.server_cpu_s),
        generator_cpu_s: a.generator_cpu_s + b.generator_cpu_s,
        server_memory_peak_bytes: a.server_memory_peak_bytes.max(b.server_memory_peak_bytes),
        server_memory_before_bytes: [a, b]
            .iter()
            .filter_map(|m| m.server_memory_before_bytes)
            .min(),
        server_cpu_peak_percent: greater(a.server_cpu_peak_percent, b.server_cpu_peak_percent),
        server_busiest_shard_s: match (a.server_busiest_shard_s, b.server_busiest_shard_s) {
            (Some(a), Some(b)) => Some(if share(a) >= share(b) { a } else { b }),
            (known, None) | (None, known) => known,
        },
        server_descriptors_peak: a.server_descriptors_peak.max(b.server_descriptors_peak),
        // Each generator has a machine of its own; the busiest one explains a late start.
        others_cpu_s: greater(a.others_cpu_s, b.others_cpu_s),
        steal_s: greater(a.steal_s, b.steal_s),
        cpu_pressure_s: greater(a.cpu_pressure_s, b.cpu_pressure_s),
        longest_iteration_ms: a.longest_iteration_ms.max(b.longest_iteration_ms),
        generator_memory_bytes: add(a.generator_memory_bytes, b.generator_memory_bytes),
    }
}

/// The measurements of two runs, one after the other.
fn in_turn(a: &RunMeasurements, b: &RunMeasurements) -> RunMeasurements {
    let sum = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a + b);
    let higher = if b.users_peak > a.users_peak { b } else { a };
    RunMeasurements {
        users_peak: higher.users_peak,
        users_peak_at_s: higher.users_peak_at_s,
        waiting_peak: a.waiting_peak.max(b.waiting_peak),
        measured_s: a.measured_s + b.measured_s,
        server_cpu_s: sum(a.server_cpu_s, b.server_cpu_s),
        others_cpu_s: sum(a.others_cpu_s, b.others_cpu_s),
        steal_s: sum(a.steal_s, b.steal_s),
        cpu_pressure_s: sum(a.cpu_pressure_s, b.cpu_pressure_s),
        server_busiest_shard_s: a
            .server_busiest_shard_s
            .zip(b.server_busiest_shard_s)
            .map(|(a, b)| (a.0 + b.0, a.1 + b.1)),
        generator_memory_bytes: a.generator_memory_bytes.max(b.generator_memory_bytes),
        ..together(a, b)
    }
}

#[cfg(test)]
mod tests;
