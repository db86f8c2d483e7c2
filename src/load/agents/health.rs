//! How well each agent kept up with its load during a run. Pure.

use super::protocol::{AgentDescription, AgentInterval};
use crate::load::measure::CountMetric;
use crate::load::report::model::GeneratorReport;
use std::collections::BTreeMap;

/// Adds up the intervals of one agent.
#[derive(Clone, Debug)]
pub struct AgentHealth {
    report: GeneratorReport,
    cpu_s: f64,
    seconds: f64,
}

impl AgentHealth {
    /// Before the first interval of the agent at `address`.
    pub fn new(address: &str, description: &AgentDescription) -> Self {
        let report = GeneratorReport {
            address: address.to_owned(),
            host_name: description.host_name.clone(),
            host: description.host.clone(),
            descriptor_limit: description.descriptor_limit,
            ..GeneratorReport::default()
        };
        AgentHealth { report, cpu_s: 0.0, seconds: 0.0 }
    }

    /// Adds an interval.
    pub fn add(&mut self, interval: &AgentInterval) {
        let (sum, row) = (&mut self.report, &interval.row);
        let of = |counts: &BTreeMap<String, u64>, what: CountMetric| {
            counts.get(what.name()).copied().unwrap_or(0)
        };
        self.seconds += row.length_s;
        self.cpu_s += row.generator.cpu_percent / 100.0 * row.length_s;
        sum.intervals += 1;
        sum.users_peak = sum.users_peak.max(row.users);
        sum.connected += of(&row.counts, CountMetric::Connected);
        sum.sent += of(&row.counts, CountMetric::Sent);
        sum.received += of(&row.counts, CountMetric::Received);
        sum.starts += of(&row.counts, CountMetric::Starts);
        sum.late_starts += of(&row.counts, CountMetric::LateStarts);
        sum.cpu_peak_percent = sum.cpu_peak_percent.max(row.generator.cpu_percent);
        sum.longest_iteration_ms = sum.longest_iteration_ms.max(row.generator.longest_iteration_ms);
        sum.memory_bytes = sum.memory_bytes.max(row.generator.memory_bytes);
        sum.descriptors = sum.descriptors.max(interval.descriptors);
    }

    /// The agent was lost.
    pub fn fail(&mut self, reason: &str) {
        self.report.failure.get_or_insert_with(|| reason.to_owned());
    }

    /// The agent's row of the report.
    pub fn into_report(mut self) -> GeneratorReport {
        if self.seconds > 0.0 {
            self.report.cpu_percent = 100.0 * self.cpu_s / self.seconds;
        }
        if self.report.starts > 0 {
            self.report.late_percent =
                100.0 * self.report.late_starts as f64 / self.report.starts as f64;
        }
        self.report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::interval_log::{GeneratorSample, IntervalRow};
    use crate::load::report::model::GeneratorHost;

    #[test]
    fn the_health_of_an_agent_is_computed_from_its_intervals() {
        let description = AgentDescription {
            host_name: "east".to_owned(),
            host: GeneratorHost { cpus: 4, ..GeneratorHost::default() },
            descriptor_limit: 20_000,
        };
        let mut health = AgentHealth::new("192.0.2.7:7000", &description);
        for (cpu_percent, users, late) in [(50.0, 10, 0), (90.0, 30, 1)] {
            let counts = [("starts", 100), ("late_starts", late), ("sent", 5), ("received", 4)];
            let row = IntervalRow {
                length_s: 1.0,
                users,
                counts: counts.map(|(name, count)| (name.to_owned(), count)).into(),
                generator: GeneratorSample {
                    cpu_percent,
                    longest_iteration_ms: cpu_percent / 10.0,
                    memory_bytes: None,
                    ..GeneratorSample::default()
                },
                ..IntervalRow::default()
            };
            let descriptors = Some(users + 20);
            health.add(&AgentInterval { run: 0, row, descriptors, last: false });
        }
        health.fail("it disconnected");
        health.fail("it is too late");
        let report = health.into_report();
        assert_eq!((report.cpu_percent, report.cpu_peak_percent), (70.0, 90.0));
        assert_eq!((report.users_peak, report.sent, report.received), (30, 10, 8));
        assert_eq!((report.late_percent, report.longest_iteration_ms), (0.5, 9.0));
        assert_eq!((report.descriptors, report.host.cpus), (Some(50), 4));
        assert_eq!(report.failure.as_deref(), Some("it disconnected"), "the first reason");
    }
}
