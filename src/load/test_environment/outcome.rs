//! Judges a run by its totals: figures, faults, targets and outcome. Pure.

use super::resource_growth::ResourceGrowth;
use super::{RunSpec, RunTotals};
use crate::load::encoded_histogram::encode;
use crate::load::figures;
use crate::load::measure::{LatencySummary, LoadFault, Recorder, TimeMetric};
use crate::load::report::model::{
    DistributionPoint, FaultReport, RunReport, TestOutcome, TrendReport,
};
use crate::load::target::{PerformanceTarget, TargetOutcome, TargetVerdict, judge};

use crate::timestamp::Timestamp;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

impl RunTotals {
    /// Judges the run.
    pub fn into_report(mut self, spec: &RunSpec, targets: &[PerformanceTarget]) -> RunReport {
        let trends = self.test_growth(spec);
        let figures = self.figures();
        let targets = judge(targets, &figures, spec.users_planned, self.stopped);
        let void_reason = self.void_reason(spec, &figures);
        let targets = match void_reason {
            Some(_) => targets.into_iter().map(TargetVerdict::in_void_run).collect(),
            None => targets,
        };
        let faults = self.fault_reports(void_reason.is_some());
        let (outcome, reason) = self.outcome(&targets, &faults, void_reason);
        let (times, distributions) = latencies(&self.recorder);
        let batches = if spec.trial { Vec::new() } else { self.batches.into_batches() };
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
            histograms: histograms(&self.recorder),
            http_paths: self.recorder.http_paths.to_samples(),
            measurements: self.measurements,
            users_planned: spec.users_planned,
            batches,
            targets,
            faults,
            trends,
            intervals: self.rows.into_rows(),
            generators: self.generators,
        }
    }

    /// Tests the growth of all series, if the run asks for that, and records leaks as faults.
    fn test_growth(&mut self, spec: &RunSpec) -> Vec<TrendReport> {
        let Some((leak_percent, confidence_percent)) = spec.growth_limits else {
            return Vec::new();
        };
        let test = |series: &ResourceGrowth| series.trend_report(leak_percent, confidence_percent);
        let trends: Vec<TrendReport> = self.growth.iter().filter_map(test).collect();
        // Rising relay times are judged by targets; only memory and descriptors can leak.
        let leaks = trends.iter().filter(|t| t.is_growing && t.unit != "ms").count();
        if leaks > 0 {
            let at = Timestamp::from_nanos((self.seconds * 1e9) as u64);
            self.recorder.record_faults(LoadFault::Leaked, leaks as u64, at);
        }
        trends
    }

    fn figures(&self) -> BTreeMap<String, f64> {
        let mut figures = figures::compute(&self.recorder, &self.measurements);
        let mut put = |name: &str, value: u64| figures.insert(name.to_owned(), value as f64);
        put("accept_queue_drops", self.accept_queue_drops);
        for (name, count) in &self.server_counters {
            put(&format!("server_{name}"), *count);
        }
        if let Some(threads) = self.last_sample().threads {
            put("server_threads", threads);
        }
        if let Some(limit) = self.server_capacity.descriptors {
            put("server_descriptor_limit", limit);
        }
        if let Some(cpus) = self.server_capacity.cpus {
            put("server_cpus", cpus);
        }
        for (name, ms) in &self.last_sample().latency_ms {
            figures.insert(format!("server_latency_{name}_ms"), *ms);
        }
        figures
    }

    /// The faults of the run. In a void run those that depend on timing are not the server's: a
    /// generator that is late cannot distinguish a late message from a lost one. Nor are lost messages
    /// the server's fault in a run in which it dropped messages over its rate limit.
    fn fault_reports(&self, is_void: bool) -> Vec<FaultReport> {
        // The server answers a dropped message once a second, and a sender that leaves before the
        // answer comes has not told its partner of the gap.
        let drops_messages = self.recorder.fault_stats(LoadFault::RateLimited).count > 0;
        let report = |fault: &LoadFault| {
            let stats = self.recorder.fault_stats(*fault);
            FaultReport {
                kind: fault.name().to_owned(),
                meaning: self.recorder.meaning(*fault),
                count: figures::occurrences(&self.recorder, *fault),
                first_s: stats.first_ns as f64 / 1e9,
                last_s: stats.last_ns as f64 / 1e9,
                is_server_fault: fault.proves_violation()
                    && !(is_void && fault.depends_on_timing())
                    && !(*fault == LoadFault::Lost && drops_messages),
                causes: stats.causes.clone(),
            }
        };
        LoadFault::ALL.iter().map(report).filter(|fault| fault.count > 0).collect()
    }

    /// A fault of the server in words, with its extent.
    fn describe_server_fault(&self, fault: &FaultReport) -> String {
        if fault.kind != LoadFault::Crashed.name() {
            return format!("{} ({})", fault.meaning, fault.count);
        }
        let sessions = self.recorder.fault_stats(LoadFault::ConnectionLost).count;
        let in_flight = figures::undelivered(&self.recorder);
        format!(
            "the server crashed {:.1} s into the run; lost were {sessions} sessions and {in_flight} \
             message{} in flight",
            fault.first_s,
            if in_flight == 1 { "" } else { "s" }
        )
    }

    /// Why the run gives no information about the server: the server was shut down, or the generator
    /// was the bottleneck.
    fn void_reason(&self, spec: &RunSpec, figures: &BTreeMap<String, f64>) -> Option<String> {
        let shut_down = self.recorder.fault_stats(LoadFault::ShutDown);
        if shut_down.count > 0 {
            let since_s = shut_down.first_ns as f64 / 1e9;
            return Some(match since_s {
                0.0 => "the server was shut down before the run".to_owned(),
                _ => format!("the server was shut down {since_s:.1} s into the run"),
            });
        }
        let not_started = self.recorder.fault_stats(LoadFault::NotStarted).count;
        if not_started > 0 {
            let load = describe_machine_load(figures);
            return Some(format!(
                "the generator was too late to start {not_started} of its users{load}"
            ));
        }
        let own: Vec<&str> = self
            .recorded_faults()
            .filter(|fault| fault.is_generator_fault())
            .map(LoadFault::meaning)
            .collect();
        if !own.is_empty() {
            return Some(own.join("; "));
        }
        if let Some(lost) = &self.lost_agent {
            return Some(lost.clone());
        }
        if self.worker_died {
            return Some("a thread of the generator ended early".to_owned());
        }
        let latest =
            self.generators.iter().max_by(|a, b| a.late_percent.total_cmp(&b.late_percent));
        if let Some(late) = latest.filter(|agent| agent.late_percent > spec.late_percent) {
            let (address, percent) = (&late.address, late.late_percent);
            return Some(format!("the agent {address} was late for {percent:.1} % of its starts"));
        }
        // What refuses every connection is not a server, however late the generator was.
        let late = figures.get("late_percent").copied().filter(|_| !self.no_session_opened());
        let late = late.unwrap_or(0.0);
        (late > spec.late_percent).then(|| {
            let load = describe_machine_load(figures);
            format!("the generator was late for {late:.1} % of its starts{load}")
        })
    }

    /// The faults that lower this figure, in parentheses; empty if there are none.
    fn explain_missed(&self, figure: &str) -> String {
        let lowers = |fault: &LoadFault| match figure {
            "refusals" | "delivered_percent" => fault.is_refusal(),
            "connected_percent" => fault.is_connect_failure(),
            "kept_percent" | "alive_percent" => fault.ends_session(),
            figure if figure.starts_with("http_ok_percent") => fault.fails_request(),
            _ => false,
        };
        let count = |fault| figures::occurrences(&self.recorder, fault);
        let faults: Vec<String> = self
            .recorded_faults()
            .filter(lowers)
            .map(|fault| format!("{} × {}", count(fault), fault.name()))
            .collect();
        if faults.is_empty() { String::new() } else { format!(" ({})", faults.join(", ")) }
    }

    fn recorded_faults(&self) -> impl Iterator<Item = LoadFault> {
        let is_recorded = |fault: &LoadFault| self.recorder.fault_stats(*fault).count > 0;
        LoadFault::ALL.iter().copied().filter(is_recorded)
    }

    /// The outcome with its reason, by the first rule that applies.
    fn outcome(
        &self,
        targets: &[TargetVerdict],
        faults: &[FaultReport],
        void_reason: Option<String>,
    ) -> (TestOutcome, String) {
        let server_faults: Vec<String> = faults
            .iter()
            .filter(|fault| fault.is_server_fault)
            .map(|fault| self.describe_server_fault(fault))
            .collect();
        if !server_faults.is_empty() {
            let reason = format!("the server is at fault: {}", server_faults.join("; "));
            return (TestOutcome::Failed, reason);
        }
        if let Some(reason) = void_reason {
            return (TestOutcome::Void, reason);
        }
        if self.recorder.fault_stats(LoadFault::Unreachable).count > 0 {
            let reason = "the server cannot be reached any more: it ended between two runs, and \
                          did not say that it was shut down";
            return (TestOutcome::Failed, reason.to_owned());
        }
        if self.no_session_opened() {
            let causes: Vec<_> = self
                .recorded_faults()
                .filter(|fault| fault.is_connect_failure())
                .map(|fault| self.recorder.meaning(fault))
                .collect();
            let reason = format!("no session could be opened: {}", causes.join("; "));
            return (TestOutcome::Failed, reason);
        }
        let missed: Vec<String> = targets
            .iter()
            .filter(|verdict| verdict.reached == TargetOutcome::Missed)
            .map(|verdict| format!("{}{}", verdict.target, self.explain_missed(&verdict.figure)))
            .collect();
        if !missed.is_empty() {
            return (TestOutcome::Failed, format!("missed: {}", missed.join(", ")));
        }
        match self.stopped {
            true => (TestOutcome::Stopped, "stopped early".to_owned()),
            false => (TestOutcome::Passed, String::new()),
        }
    }
}

/// What used the CPUs of the generator's machine, as the end of a sentence.
fn describe_machine_load(figures: &BTreeMap<String, f64>) -> String {
    let users = [
        ("server_cpu_percent", "the server"),
        ("generator_cpu_percent", "the generator"),
        ("others_cpu_percent", "other processes"),
        ("steal_percent", "the hypervisor"),
    ];
    let used: Vec<String> = users
        .iter()
        .filter_map(|(name, who)| Some(format!("{who} {:.0} %", figures.get(*name)?)))
        .collect();
    let waited = figures
        .get("cpu_pressure_percent")
        .map(|percent| format!("; tasks waited for a CPU {percent:.0} % of the time"));
    format!("; CPU use: {}{}", used.join(", "), waited.unwrap_or_default())
}

type LatencySummaries = BTreeMap<String, LatencySummary>;
type LatencyDistributions = BTreeMap<String, Vec<DistributionPoint>>;

/// Summary and distribution of every time that was recorded.
fn latencies(recorder: &Recorder) -> (LatencySummaries, LatencyDistributions) {
    let (mut summaries, mut distributions) = (BTreeMap::new(), BTreeMap::new());
    for metric in TimeMetric::ALL {
        let histogram = recorder.histogram(*metric);
        if let Some(summary) = LatencySummary::of(histogram) {
            summaries.insert(metric.name().to_owned(), summary);
            distributions.insert(metric.name().to_owned(), distribution(histogram));
        }
    }
    (summaries, distributions)
}

/// The encoded histogram of every time that was recorded.
fn histograms(recorder: &Recorder) -> BTreeMap<String, String> {
    let histogram = |metric: &TimeMetric| (metric.name(), recorder.histogram(*metric));
    let all = TimeMetric::ALL.iter().map(histogram).filter(|(_, times)| !times.is_empty());
    all.map(|(name, times)| (name.to_owned(), encode(times))).collect()
}

fn distribution(histogram: &Histogram<u64>) -> Vec<DistributionPoint> {
    /// Evenly spaced in the logarithm of the share of times above.
    const PERCENTS: [f64; 22] = [
        0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 92.5, 95.0, 97.5, 99.0, 99.25,
        99.5, 99.75, 99.9, 99.95, 99.99, 99.999, 100.0,
    ];
    let point = |percent: f64| DistributionPoint {
        percent,
        at_most_ms: histogram.value_at_quantile(percent / 100.0) as f64 / 1000.0,
    };
    PERCENTS.into_iter().map(point).collect()
}
