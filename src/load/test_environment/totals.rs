//! What the intervals of one run add up to, in constant memory. Pure.

mod merging;

pub use merging::PartTiming;

use super::resource_growth::ResourceGrowth;
use crate::load::figures::RunMeasurements;
use crate::load::interval_log::{IntervalRow, ServerSample, ThinnedRows};
use crate::load::measure::{CountMetric, LoadFault, Recorder, TimeMetric};
use crate::load::message_header::MessageSizes;
use crate::load::report::model::GeneratorReport;
use crate::load::run_batches::RunBatches;
use crate::load::server_stats::ServerCapacity;
use std::collections::BTreeMap;

/// Limit of rows that a report keeps of each run, for its charts.
const CHART_ROWS: usize = 600;

/// Everything that is known of a run so far.
#[derive(Debug)]
pub struct RunTotals {
    /// Counts, faults and times.
    pub recorder: Recorder,
    pub(super) measurements: RunMeasurements,
    pub(super) rows: ThinnedRows,
    pub(super) batches: RunBatches,
    /// Series of memory, descriptors and relay times, while measuring.
    pub(super) growth: [ResourceGrowth; 3],
    last_sample: ServerSample,
    /// Messages that had not arrived at the end of the last row that was restored.
    unreceived: u64,
    /// What the server counted by reason during this run.
    pub(super) server_counters: BTreeMap<String, u64>,
    pub(super) seconds: f64,
    /// Number of sessions at the end of the last interval.
    pub last_users: u64,
    /// Length of the earlier part of a resumed run, in seconds.
    pub offset_s: f64,
    /// The operator or a failure of this machine stopped the run.
    pub stopped: bool,
    /// The run was stopped because no session could be opened.
    pub gave_up: bool,
    /// A thread of the generator ended early.
    pub worker_died: bool,
    /// The agent that was lost, in one sentence.
    pub lost_agent: Option<String>,
    /// The agents' rows of the report.
    pub generators: Vec<GeneratorReport>,
    /// How the server has ended: it crashed, was shut down, or could not be reached.
    pub server_end: Option<LoadFault>,
    /// Connections that the kernel dropped because an accept queue was full.
    pub accept_queue_drops: u64,
    /// Limits of the server, as far as they are known.
    pub server_capacity: ServerCapacity,
}

impl Default for RunTotals {
    fn default() -> Self {
        RunTotals {
            recorder: Recorder::default(),
            measurements: RunMeasurements::default(),
            rows: ThinnedRows::new(CHART_ROWS),
            batches: RunBatches::default(),
            growth: [
                // In its first minutes a small server still allocates page tables and histograms.
                ResourceGrowth::new("server memory", "bytes", 1024.0 * 1024.0),
                ResourceGrowth::new("server descriptors", "descriptors", 8.0),
                ResourceGrowth::new("relay p99", "ms", 1.0),
            ],
            last_sample: ServerSample::default(),
            unreceived: 0,
            server_counters: BTreeMap::new(),
            seconds: 0.0,
            last_users: 0,
            offset_s: 0.0,
            stopped: false,
            gave_up: false,
            worker_died: false,
            lost_agent: None,
            generators: Vec::new(),
            server_end: None,
            accept_queue_drops: 0,
            server_capacity: ServerCapacity::default(),
        }
    }
}

impl RunTotals {
    /// Starts the run, or the next part of an interrupted one, with the server's first sample.
    pub fn begin(&mut self, server: &ServerSample) {
        if let (Some(now), Some(before)) = (server.cpu_s, self.last_sample.cpu_s)
            && now < before
        {
            // The run was interrupted and resumed, and the server has been restarted.
            self.growth.iter_mut().for_each(ResourceGrowth::reset);
        }
        // Messages that were under way when the tester was interrupted are neither delivered nor not.
        self.recorder.add(CountMetric::UnderWay, std::mem::take(&mut self.unreceived));
        self.last_sample = server.clone();
        self.measurements.server_memory_before_bytes =
            self.measurements.server_memory_before_bytes.or(server.memory_bytes);
    }

    /// Records that users send messages in this run.
    pub fn expect_messages(&mut self, sizes: MessageSizes) {
        self.measurements.messages_planned = true;
        self.measurements.message_sizes = sizes;
    }

    /// The server's last sample.
    pub fn last_sample(&self) -> &ServerSample {
        &self.last_sample
    }

    /// Adds what the server has counted since its last sample.
    pub fn add_counters(&mut self, counters: &BTreeMap<String, u64>) {
        if counters.is_empty() {
            return;
        }
        for (name, count) in counters {
            // A server that was restarted counts from zero again.
            let before = self.last_sample.counters.get(name).copied().unwrap_or(0);
            let added = if *count < before { *count } else { count - before };
            if added > 0 {
                *self.server_counters.entry(name.clone()).or_default() += added;
            }
        }
        self.last_sample.counters.clone_from(counters);
    }

    /// Adds a row of the interval log, of an earlier part of this run.
    pub fn restore(&mut self, row: &IntervalRow) {
        let mut recorder = Recorder::default();
        row.restore(&mut recorder);
        self.add_interval(row, &recorder);
        let (sent, received) =
            (recorder.get(CountMetric::Sent), recorder.get(CountMetric::Received));
        self.unreceived = sent.saturating_sub(received + recorder.get(CountMetric::UnderWay));
        self.offset_s = row.at_s;
    }

    /// Adds an interval.
    pub fn add_interval(&mut self, row: &IntervalRow, recorder: &Recorder) {
        self.recorder.merge(recorder);
        self.rows.push(row);
        self.batches.push(row);
        self.seconds = row.at_s;
        self.last_users = row.users;
        let (sums, server) = (&mut self.measurements, &row.server);
        if row.users > sums.users_peak {
            (sums.users_peak, sums.users_peak_at_s) = (row.users, row.at_s);
        }
        sums.waiting_peak = sums.waiting_peak.max(row.waiting_peak).max(row.waiting);
        sums.longest_iteration_ms =
            sums.longest_iteration_ms.max(row.generator.longest_iteration_ms);
        sums.generator_memory_bytes = row.generator.memory_bytes;
        sums.server_memory_peak_bytes = sums.server_memory_peak_bytes.max(server.memory_bytes);
        sums.server_descriptors_peak = sums.server_descriptors_peak.max(server.descriptors);
        if row.measured {
            self.add_measured(row, recorder);
        }
        self.add_counters(&server.counters);
        // A sample without these totals keeps those of the sample before.
        self.last_sample = ServerSample {
            cpu_s: server.cpu_s.or(self.last_sample.cpu_s),
            relayed: server.relayed.or(self.last_sample.relayed),
            counters: std::mem::take(&mut self.last_sample.counters),
            ..server.clone()
        };
    }

    /// Adds an interval within the measured time.
    fn add_measured(&mut self, row: &IntervalRow, recorder: &Recorder) {
        let (sums, server) = (&mut self.measurements, &row.server);
        if let Some(percent) = server.cpu_percent {
            let peak = sums.server_cpu_peak_percent.unwrap_or(0.0);
            sums.server_cpu_peak_percent = Some(peak.max(percent));
        }
        if let Some(percent) = server.busiest_shard_percent {
            let (cpu_s, observed_s) = sums.server_busiest_shard_s.unwrap_or_default();
            let used_s = percent / 100.0 * row.length_s;
            sums.server_busiest_shard_s = Some((cpu_s + used_s, observed_s + row.length_s));
        }
        let machine = &row.generator.machine;
        for (sum, percent) in [
            (&mut sums.others_cpu_s, machine.others_cpu_percent),
            (&mut sums.steal_s, machine.steal_percent),
            (&mut sums.cpu_pressure_s, machine.cpu_pressure_percent),
        ] {
            if let Some(percent) = percent {
                *sum = Some(sum.unwrap_or(0.0) + percent / 100.0 * row.length_s);
            }
        }
        sums.measured_s += row.length_s;
        sums.measured_received += recorder.get(CountMetric::Received);
        sums.generator_cpu_s += row.generator.cpu_percent / 100.0 * row.length_s;
        if let (Some(now), Some(before)) = (server.cpu_s, self.last_sample.cpu_s) {
            let used = (now - before).max(0.0);
            sums.server_cpu_s = Some(sums.server_cpu_s.unwrap_or(0.0) + used);
        }
        let values = [
            server.memory_bytes.map(|bytes| bytes as f64),
            server.descriptors.map(|descriptors| descriptors as f64),
            row.times.get(TimeMetric::Relay.name()).map(|times| times.p99_ms),
        ];
        for (series, value) in self.growth.iter_mut().zip(values) {
            series.push(row.at_s, value);
        }
    }

    /// Whether connects have failed and none has become a session, or no HTTP request was answered
    /// at all, while the server does not answer that it is full.
    pub fn no_session_opened(&self) -> bool {
        let recorder = &self.recorder;
        let count = |fault| recorder.fault_stats(fault).count;
        let http_failed = recorder.get(CountMetric::HttpFailed);
        let broken = count(LoadFault::HttpBroken)
            + count(LoadFault::ConnectRefused)
            + count(LoadFault::ConnectReset);
        let is_answered = recorder.get(CountMetric::Connected) > 0
            || recorder.get(CountMetric::HttpOk) > 0
            || count(LoadFault::HttpStatus) + count(LoadFault::UpgradeBusy) > 0;
        let none_came = http_failed > 0 && broken >= http_failed;
        (recorder.get(CountMetric::ConnectFailed) > 0 || none_came) && !is_answered
    }
}

#[cfg(test)]
mod tests;
