//! What one run adds up to, in constant memory. Pure.

use super::resource_growth::ResourceGrowth;
use crate::load::figures::{self, RunMeasurements};
use crate::load::interval_log::{IntervalRow, ServerSample, ThinnedRows};
use crate::load::measure::{CountMetric, LatencySummary, LoadFault, Recorder, TimeMetric};
use crate::load::report::model::{DistributionPoint, FaultReport, RunReport, TestOutcome};
use crate::load::server_monitor::ServerCapacity;
use crate::load::target::{PerformanceTarget, TargetOutcome, TargetVerdict, judge};

/// Rows that a report keeps of each run, for its charts.
const CHART_ROWS: usize = 600;

/// How a run is called and judged.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// Its name, unique in the report.
    pub name: String,
    /// What it does, in a sentence.
    pub about: String,
    /// How many users it is to have at once.
    pub users_planned: u64,
    /// Share of late starts above which it is void, in percent.
    pub late_percent: f64,
    /// Whether the log must hold enough to go on from.
    pub resumable: bool,
    /// Whether it is a trial of a search.
    pub trial: bool,
    /// What it must reach beside what every run must.
    pub goals: Vec<PerformanceTarget>,
    /// Slope tests, if they are asked for: growth in percent that is a leak, and how sure the
    /// test must be, in percent.
    pub growth_limits: Option<(f64, f64)>,
}

/// Everything known of a run so far.
#[derive(Debug)]
pub struct RunTotals {
    /// Counts, faults and times.
    pub total: Recorder,
    extent: RunMeasurements,
    rows: ThinnedRows,
    /// `(seconds, bytes)` of the server's memory and so on, while measuring.
    resource_growth: [ResourceGrowth; 3],
    server_before: ServerSample,
    last_sample: ServerSample,
    seconds: f64,
    /// Sessions at the end of the last interval.
    pub last_users: u64,
    /// Seconds that an earlier part of this run took.
    pub offset_s: f64,
    /// People stopped it.
    pub stopped: bool,
    /// It was stopped because nobody came in.
    pub no_session_opened_abort: bool,
    /// A thread of the generator ended before its time.
    pub worker_died: bool,
    /// The server vanished.
    pub crashed: bool,
    /// Connections that the kernel dropped because an accept queue was full.
    pub accept_queue_drops: u64,
    /// What the server may use, as far as that can be told.
    pub server_room: ServerCapacity,
}

impl Default for RunTotals {
    fn default() -> Self {
        RunTotals {
            total: Recorder::default(),
            extent: RunMeasurements::default(),
            rows: ThinnedRows::new(CHART_ROWS),
            resource_growth: [
                // A page table here and a histogram there: a small server's first minutes.
                ResourceGrowth::new("server memory", "bytes", 1024.0 * 1024.0),
                ResourceGrowth::new("server descriptors", "descriptors", 8.0),
                ResourceGrowth::new("relay p99", "ms", 1.0),
            ],
            server_before: ServerSample::default(),
            last_sample: ServerSample::default(),
            seconds: 0.0,
            last_users: 0,
            offset_s: 0.0,
            stopped: false,
            no_session_opened_abort: false,
            worker_died: false,
            crashed: false,
            accept_queue_drops: 0,
            server_room: ServerCapacity::default(),
        }
    }
}

impl RunTotals {
    /// The run begins; the server looks like this.
    pub fn begin(&mut self, server: &ServerSample) {
        self.server_before = *server;
        if let (Some(now), Some(before)) = (server.cpu_s, self.last_sample.cpu_s)
            && now < before
        {
            // A run that was interrupted goes on, and the server is another process.
            self.resource_growth.iter_mut().for_each(ResourceGrowth::begin_again);
        }
        self.last_sample = *server;
        self.extent.server_memory_before_bytes =
            self.extent.server_memory_before_bytes.or(server.memory_bytes);
    }

    /// The run is one in which users talk.
    pub fn plan_messages(&mut self) {
        self.extent.messages_planned = true;
    }

    /// The server as it was last seen.
    pub fn last_sample(&self) -> ServerSample {
        self.last_sample
    }

    /// Takes in what the log holds of an earlier part of this run.
    pub fn restore(&mut self, row: &IntervalRow) {
        let mut recorder = Recorder::default();
        row.restore(&mut recorder);
        self.take(row, &recorder);
        self.offset_s = row.at_s;
    }

    /// An interval is over.
    pub fn take(&mut self, row: &IntervalRow, recorder: &Recorder) {
        self.total.merge(recorder);
        self.rows.push(row);
        self.seconds = row.at_s;
        self.last_users = row.users;
        let (extent, server) = (&mut self.extent, &row.server);
        if row.users > extent.users_peak {
            (extent.users_peak, extent.users_peak_at_s) = (row.users, row.at_s);
        }
        extent.waiting_peak = extent.waiting_peak.max(row.waiting_peak).max(row.waiting);
        extent.longest_iteration_ms =
            extent.longest_iteration_ms.max(row.generator.longest_iteration_ms);
        extent.generator_memory_bytes = row.generator.memory_bytes;
        extent.server_memory_peak_bytes = extent.server_memory_peak_bytes.max(server.memory_bytes);
        extent.server_descriptors_peak = extent.server_descriptors_peak.max(server.descriptors);
        if row.measured {
            if let Some(percent) = server.cpu_percent {
                let peak = extent.server_cpu_peak_percent.unwrap_or(0.0);
                extent.server_cpu_peak_percent = Some(peak.max(percent));
            }
            if let Some(percent) = server.busiest_shard_percent {
                let (cpu, told) = extent.server_busiest_shard_s.unwrap_or_default();
                let more = percent / 100.0 * row.length_s;
                extent.server_busiest_shard_s = Some((cpu + more, told + row.length_s));
            }
            extent.measured_s += row.length_s;
            extent.measured_received += recorder.get(CountMetric::Received);
            extent.generator_cpu_s += row.generator.cpu_percent / 100.0 * row.length_s;
            if let (Some(now), Some(before)) = (server.cpu_s, self.last_sample.cpu_s) {
                let used = (now - before).max(0.0);
                extent.server_cpu_s = Some(extent.server_cpu_s.unwrap_or(0.0) + used);
            }
            let values = [
                server.memory_bytes.map(|bytes| bytes as f64),
                server.descriptors.map(|descriptors| descriptors as f64),
                row.times.get(TimeMetric::Relay.name()).map(|times| times.p99_ms),
            ];
            for (resource_growth, value) in self.resource_growth.iter_mut().zip(values) {
                resource_growth.push(row.at_s, value);
            }
        }
        // What a look has missed is still known of the look before: totals only grow.
        self.last_sample = ServerSample {
            cpu_s: server.cpu_s.or(self.last_sample.cpu_s),
            relayed: server.relayed.or(self.last_sample.relayed),
            ..*server
        };
    }

    /// Judges the run.
    pub fn report(mut self, spec: &RunSpec, goals: &[PerformanceTarget]) -> RunReport {
        let mut trends = Vec::new();
        if let Some((leak_percent, confidence_percent)) = spec.growth_limits {
            trends = self
                .resource_growth
                .iter()
                .filter_map(|resource_growth| {
                    resource_growth.judge(leak_percent, confidence_percent)
                })
                .collect();
            let at = crate::timestamp::Timestamp::from_nanos((self.seconds * 1e9) as u64);
            // Decay of the relay time is a target's business; what grows without end is a leak.
            let leaks = trends.iter().filter(|t| t.is_growing && t.unit != "ms").count();
            if leaks > 0 {
                self.total.record_faults(LoadFault::Leaked, leaks as u64, at);
            }
        }
        let mut figures = figures::compute(&self.total, &self.extent);
        let mut put = |name: &str, value: u64| figures.insert(name.to_owned(), value as f64);
        put("accept_queue_drops", self.accept_queue_drops);
        if let Some(limit) = self.server_room.descriptors {
            put("server_descriptor_limit", limit);
        }
        if let Some(cpus) = self.server_room.cpus {
            put("server_cpus", cpus);
        }
        let targets = judge(goals, &figures, spec.users_planned, self.stopped);
        let void = self.void(spec, &figures);
        let faults = self.faults(void.is_some());
        let (outcome, reason) = self.outcome(&targets, &faults, void);
        let names = TimeMetric::ALL.iter().map(|m| (m.name().to_owned(), self.total.histogram(*m)));
        let (mut times, mut distributions) = (Default::default(), Default::default());
        for (name, histogram) in names {
            collect_times(name, histogram, &mut times, &mut distributions);
        }
        RunReport {
            name: spec.name.clone(),
            about: spec.about.clone(),
            seconds: self.seconds,
            outcome,
            reason,
            trial: spec.trial,
            figures,
            times,
            distributions,
            targets,
            faults,
            trends,
            intervals: self.rows.into_rows(),
        }
    }

    /// Whether so far not one session could be opened, though some were tried and the server
    /// does not say that it is full.
    pub fn no_session_opened(&self) -> bool {
        let total = &self.total;
        let full = total.fault_stats(LoadFault::UpgradeBusy).count > 0;
        total.get(CountMetric::Connected) == 0 && total.get(CountMetric::ConnectFailed) > 0 && !full
    }

    /// What went wrong. A generator that did not get its turn cannot tell late from lost.
    fn faults(&self, void: bool) -> Vec<FaultReport> {
        let report = |fault: &LoadFault| {
            let seen = self.total.fault_stats(*fault);
            FaultReport {
                kind: fault.name().to_owned(),
                meaning: self.total.meaning(*fault),
                count: figures::occurrences(&self.total, *fault),
                first_s: seen.first_ns as f64 / 1e9,
                last_s: seen.last_ns as f64 / 1e9,
                is_server_fault: fault.proves_violation() && !(void && fault.depends_on_timing()),
            }
        };
        LoadFault::ALL.iter().map(report).filter(|fault| fault.count > 0).collect()
    }

    /// What the server is convicted of, in words.
    fn conviction(&self, fault: &FaultReport) -> String {
        if fault.kind != LoadFault::Crashed.name() {
            return format!("{} ({})", fault.meaning, fault.count);
        }
        let sessions = self.total.fault_stats(LoadFault::ConnectionLost).count;
        let under_way = figures::undelivered(&self.total);
        format!(
            "the server vanished {:.1} s into the run; lost were {sessions} sessions and {under_way} \
             message{} under way",
            fault.first_s,
            if under_way == 1 { "" } else { "s" }
        )
    }

    /// Why the generator was the bottleneck, if it was.
    fn void(
        &self,
        spec: &RunSpec,
        figures: &std::collections::BTreeMap<String, f64>,
    ) -> Option<String> {
        let own: Vec<&str> = LoadFault::ALL
            .iter()
            .filter(|fault| fault.is_generator_fault() && self.total.fault_stats(**fault).count > 0)
            .map(|fault| fault.meaning())
            .collect();
        if !own.is_empty() {
            return Some(own.join("; "));
        }
        if self.worker_died {
            return Some("a thread of the generator ended before its time".to_owned());
        }
        let late = figures.get("late_percent").copied().unwrap_or(0.0);
        (late > spec.late_percent)
            .then(|| format!("the generator was late for {late:.1} % of its starts"))
    }

    fn outcome(
        &self,
        targets: &[TargetVerdict],
        faults: &[FaultReport],
        void: Option<String>,
    ) -> (TestOutcome, String) {
        let convictions: Vec<String> = faults
            .iter()
            .filter(|fault| fault.is_server_fault)
            .map(|fault| self.conviction(fault))
            .collect();
        if !convictions.is_empty() {
            return (
                TestOutcome::Failed,
                format!("the server is convicted: {}", convictions.join("; ")),
            );
        }
        if let Some(reason) = void {
            return (TestOutcome::Void, reason);
        }
        if self.no_session_opened() {
            let why = LoadFault::ALL.iter().filter(|fault| fault.is_connect_failure());
            let why = why.filter(|fault| self.total.fault_stats(**fault).count > 0);
            let why: Vec<_> = why.map(|fault| self.total.meaning(*fault)).collect();
            let reason = format!("not one session could be opened: {}", why.join("; "));
            return (TestOutcome::Failed, reason);
        }
        let missed: Vec<&str> = targets
            .iter()
            .filter(|judgement| judgement.reached == TargetOutcome::Missed)
            .map(|judgement| judgement.target.as_str())
            .collect();
        if !missed.is_empty() {
            return (TestOutcome::Failed, format!("missed: {}", missed.join(", ")));
        }
        match self.stopped {
            true => (TestOutcome::Stopped, "stopped before its time".to_owned()),
            false => (TestOutcome::Passed, String::new()),
        }
    }
}

fn collect_times(
    name: String,
    histogram: &hdrhistogram::Histogram<u64>,
    times: &mut std::collections::BTreeMap<String, LatencySummary>,
    distributions: &mut std::collections::BTreeMap<String, Vec<DistributionPoint>>,
) {
    /// Where a distribution is read: evenly in the logarithm of what lies above.
    const PERCENTS: [f64; 22] = [
        0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 92.5, 95.0, 97.5, 99.0, 99.25,
        99.5, 99.75, 99.9, 99.95, 99.99, 99.999, 100.0,
    ];
    let Some(quantiles) = LatencySummary::of(histogram) else { return };
    let point = |percent: f64| DistributionPoint {
        percent,
        at_most_ms: histogram.value_at_quantile(percent / 100.0) as f64 / 1000.0,
    };
    times.insert(name.clone(), quantiles);
    distributions.insert(name, PERCENTS.into_iter().map(point).collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> RunSpec {
        RunSpec {
            name: "endurance".to_owned(),
            about: String::new(),
            users_planned: 2,
            late_percent: 1.0,
            resumable: true,
            trial: false,
            goals: Vec::new(),
            growth_limits: Some((2.0, 99.9)),
        }
    }

    /// Seconds `from` to `to` of a server whose memory is `memory` and grows by `grows` each.
    fn watch(totals: &mut RunTotals, from: u32, to: u32, memory: u64, grows: u64) {
        for second in from..to {
            let passed = u64::from(second - from);
            let server = ServerSample {
                cpu_s: Some(passed as f64),
                memory_bytes: Some(memory + grows * passed),
                ..ServerSample::default()
            };
            let at_s = f64::from(second);
            let row = IntervalRow {
                at_s,
                length_s: 1.0,
                measured: true,
                server,
                ..IntervalRow::default()
            };
            totals.take(&row, &Recorder::default());
        }
    }

    #[test]
    fn a_look_that_was_missed_costs_the_server_none_of_its_cpu_time() {
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
            totals.take(&row, &Recorder::default());
        }
        let report = totals.report(&spec(), &[]);
        assert_eq!(report.figures["server_cpu_percent"], 100.0);
    }

    /// Of what each look told: what one has missed is no idle shard.
    #[test]
    fn a_shard_is_as_busy_as_the_looks_that_told_of_it() {
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
            totals.take(&row, &Recorder::default());
        }
        totals.server_room.cpus = Some(2);
        let figures = totals.report(&spec(), &[]).figures;
        assert_eq!((figures["server_busiest_shard_percent"], figures["server_cpus"]), (95.0, 2.0));
    }

    fn leaks(totals: RunTotals) -> bool {
        let report = totals.report(&spec(), &[]);
        assert_eq!(report.trends[0].figure, "server memory");
        report.faults.iter().any(|fault| fault.kind == "leaked")
    }

    #[test]
    fn a_generator_without_its_turn_convicts_nobody_by_the_clock() {
        let outcome = |late, fault| {
            let mut totals = RunTotals::default();
            totals.total.add(CountMetric::Starts, 100);
            totals.total.add(CountMetric::LateStarts, late);
            totals.total.record_fault(fault, crate::timestamp::Timestamp::ZERO);
            let report = totals.report(&spec(), &[]);
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

    /// And what convicts the server does so whenever it is stopped.
    #[test]
    fn a_run_that_people_stop_is_stopped_and_not_failed() {
        let goals = ["users_peak>=5000".parse().unwrap()];
        let outcome = |fault: Option<LoadFault>| {
            let mut totals = RunTotals { stopped: true, ..RunTotals::default() };
            if let Some(fault) = fault {
                totals.total.record_fault(fault, crate::timestamp::Timestamp::ZERO);
            }
            totals.report(&RunSpec { users_planned: 6000, ..spec() }, &goals).outcome
        };
        assert_eq!(outcome(None), TestOutcome::Stopped);
        assert_eq!(outcome(Some(LoadFault::Lost)), TestOutcome::Failed);
    }

    #[test]
    fn growth_is_a_leak_but_not_that_of_a_small_servers_first_minutes() {
        let watched = |memory, grows| {
            let mut totals = RunTotals::default();
            watch(&mut totals, 0, 300, memory, grows);
            leaks(totals)
        };
        assert!(watched(100 << 20, 20 << 10));
        assert!(!watched(100 << 20, 5 << 10), "1.5 % are within the bound");
        assert!(!watched(4 << 20, 3 << 10), "0.9 MiB are 20 % of it, and nothing");
    }

    #[test]
    fn a_fresh_server_after_an_interruption_is_no_leak_and_its_leak_is_found() {
        for (grows, leaking) in [(0, false), (50 << 10, true)] {
            let mut totals = RunTotals::default();
            for (interruption, memory) in [(1, 20 << 20), (2, 30 << 20), (3, 40 << 20)] {
                watch(&mut totals, (interruption - 1) * 100, interruption * 100, memory, 0);
                totals.begin(&ServerSample { cpu_s: Some(0.0), ..ServerSample::default() });
            }
            watch(&mut totals, 300, 400, 50 << 20, grows);
            assert_eq!(leaks(totals), leaking);
        }
    }
}
