//! The content of `report.json`. Pure values.
//!
//! Names end in the unit of their value. Every measured number is stored under its name in
//! `figures`, so two reports can be compared without a list of the figures. The schema is
//! `report.schema.json` in this directory; `serde(rename)` marks the members that have
//! another name in JSON.

use crate::load::figures::RunMeasurements;
use crate::load::interval_log::IntervalRow;
use crate::load::measure::{FaultCauses, HttpPathSample, LatencySummary, LoadFault};
use crate::load::run_batches::RunBatch;
use crate::load::target::TargetVerdict;
use crate::load::trend::Trend;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the schema; it changes when readers of the file must change.
pub const SCHEMA: u32 = 1;

/// The outcome of a run, or of the whole test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestOutcome {
    /// Every target that was judged is met, and there is no server fault.
    Passed,
    /// A target was missed, or a server fault occurred.
    Failed,
    /// The generator reached its limit; the result gives no information about the server.
    Void,
    /// Stopped early; judged by what had been measured.
    Stopped,
}

impl TestOutcome {
    /// The worse of two outcomes, in the order passed, stopped, void, failed.
    pub fn worse(self, other: TestOutcome) -> TestOutcome {
        let rank = |outcome| match outcome {
            TestOutcome::Passed => 0,
            TestOutcome::Stopped => 1,
            TestOutcome::Void => 2,
            TestOutcome::Failed => 3,
        };
        if rank(other) > rank(self) { other } else { self }
    }

    /// The outcome as text.
    pub fn label(self) -> &'static str {
        match self {
            TestOutcome::Passed => "passed",
            TestOutcome::Failed => "failed",
            TestOutcome::Void => "void",
            TestOutcome::Stopped => "stopped early",
        }
    }
}

/// One kind of fault that occurred.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultReport {
    /// Name of the kind.
    pub kind: String,
    /// The fault in one sentence.
    pub meaning: String,
    /// Number of occurrences.
    pub count: u64,
    /// First occurrence, in seconds from the start of the run.
    pub first_s: f64,
    /// Last occurrence, in seconds from the start of the run.
    pub last_s: f64,
    /// Whether one occurrence is enough to fail the server.
    #[serde(rename = "convicts")]
    pub is_server_fault: bool,
    /// The causes of those occurrences that have one.
    #[serde(default, skip_serializing_if = "FaultCauses::is_empty")]
    pub causes: FaultCauses,
}

/// One point of a latency distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DistributionPoint {
    /// Percentage of the values.
    pub percent: f64,
    /// That percentage of the values is at most this.
    pub at_most_ms: f64,
}

/// The slope test of one figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrendReport {
    /// Name of the figure.
    pub figure: String,
    /// Unit of the figure.
    pub unit: String,
    /// Result of the test.
    pub trend: Trend,
    /// Whether the growth counts as a leak or as decay.
    #[serde(rename = "convicted")]
    pub is_growing: bool,
    /// The result in one sentence.
    pub verdict: String,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Name of the run, unique in the report.
    pub name: String,
    /// What the run did, in one sentence.
    pub about: String,
    /// Duration of the run.
    pub seconds: f64,
    /// Outcome of the run.
    pub outcome: TestOutcome,
    /// Why the run did not pass; empty if it passed.
    pub reason: String,
    /// Whether this is a trial of a search. A trial need not pass for the test to pass.
    pub trial: bool,
    /// All figures by name.
    pub figures: BTreeMap<String, f64>,
    /// Latencies by name.
    pub times: BTreeMap<String, LatencySummary>,
    /// Latency distributions by name.
    pub distributions: BTreeMap<String, Vec<DistributionPoint>>,
    /// The encoded histograms of the latencies by name; reports of 0.1.0 lack them.
    #[serde(default)]
    pub histograms: BTreeMap<String, String>,
    /// HTTP requests by path; none if the run has no requests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub http_paths: BTreeMap<String, HttpPathSample>,
    /// What the figures are computed from, besides counters, faults and histograms.
    #[serde(default)]
    pub measurements: RunMeasurements,
    /// Planned number of simultaneous users.
    #[serde(default)]
    pub users_planned: u64,
    /// The run in parts, for a comparison; none for a trial.
    #[serde(default)]
    pub batches: Vec<RunBatch>,
    /// The targets and whether they were met.
    pub targets: Vec<TargetVerdict>,
    /// The faults that occurred.
    pub faults: Vec<FaultReport>,
    /// Slope tests.
    pub trends: Vec<TrendReport>,
    /// A subset of the intervals, enough for the charts.
    pub intervals: Vec<IntervalRow>,
    /// The agents that drove the users; none if this process did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generators: Vec<GeneratorReport>,
}

impl RunReport {
    /// Whether this is an endurance run that was too short for a slope test.
    pub fn lacks_slope_test(&self) -> bool {
        self.name == crate::load::run_plans::ENDURANCE && self.trends.is_empty()
    }

    /// Whether the server was shut down during the run.
    pub fn is_shut_down(&self) -> bool {
        self.faults.iter().any(|fault| fault.kind == LoadFault::ShutDown.name())
    }

    /// Whether the server, which was there in an earlier run, could not be reached.
    pub fn is_unreachable(&self) -> bool {
        self.faults.iter().any(|fault| fault.kind == LoadFault::Unreachable.name())
    }

    /// Whether no session could be opened, and not because the server is full. What answers at
    /// the address is then probably not a server of this kind.
    pub fn no_session_opened(&self) -> bool {
        let figure = |name: &str| self.figures.get(name).copied().unwrap_or(0.0);
        let (failed, full) = (figure("connect_failed"), figure("upgrade_503"));
        let server_fault = self.faults.iter().any(|fault| fault.is_server_fault);
        let answered = figure("connected") + figure("http_ok") + figure("http_status") + full > 0.0;
        // Requests that were not answered in time show a slow server, and not that there is none.
        let broken = figure("http_broken") + figure("connect_refused") + figure("connect_reset");
        let failed = failed + if broken >= figure("http_failed") { broken } else { 0.0 };
        let has_ended = self.is_shut_down() || self.is_unreachable();
        failed > 0.0 && !answered && !server_fault && !has_ended
    }
}

/// The result of the search for the breaking point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakingPoint {
    /// The quantity that was raised.
    pub raised: String,
    /// The highest level at which all targets were met.
    pub holds: Option<f64>,
    /// The lowest level above it at which a target was missed.
    pub breaks: Option<f64>,
    /// The resource or condition that limited the highest level.
    pub cause: String,
    /// The measurement that shows the cause.
    pub evidence: String,
    /// Whether the generator reached its limit first, or the search was stopped early.
    pub void: bool,
    /// The trials in order.
    pub trials: Vec<TrialRecord>,
}

/// One trial of a search; in JSON an array of three elements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "(String, f64, String)", into = "(String, f64, String)")]
pub struct TrialRecord {
    /// The step of the search that this trial belongs to.
    pub step: String,
    /// The level that was tried.
    pub level: f64,
    /// `held`, `broke` or `void`.
    pub result: String,
}

impl From<(String, f64, String)> for TrialRecord {
    fn from((step, level, result): (String, f64, String)) -> Self {
        TrialRecord { step, level, result }
    }
}

impl From<TrialRecord> for (String, f64, String) {
    fn from(trial: TrialRecord) -> Self {
        (trial.step, trial.level, trial.result)
    }
}

/// A recommendation and the measurement behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// What to do.
    #[serde(rename = "advice")]
    pub action: String,
    /// The measurement behind it.
    pub evidence: String,
}

/// The machine on which the generator ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorHost {
    /// CPUs that the generator may use.
    pub cpus: u64,
    /// Kernel release.
    pub kernel: String,
    /// Model of the CPUs; empty if unknown.
    #[serde(default)]
    pub cpu_model: String,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// Whether the server runs on the same machine.
    pub server_is_here: bool,
    /// Why the server's own figures are missing from the report; `None` if they are present.
    #[serde(default)]
    pub figures_missing: Option<String>,
}

/// One agent's part of a run, and how well it kept up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorReport {
    /// Address of the agent as it was given to `--agents`.
    pub address: String,
    /// Host name of its machine.
    pub host_name: String,
    /// Its machine.
    pub host: GeneratorHost,
    /// Number of intervals that it sent.
    pub intervals: u64,
    /// Most sessions open at the same time.
    pub users_peak: u64,
    /// Sessions that it opened.
    pub connected: u64,
    /// Messages that it sent.
    pub sent: u64,
    /// Messages that it received.
    pub received: u64,
    /// Operations that it started.
    pub starts: u64,
    /// Operations that it started too late.
    pub late_starts: u64,
    /// Share of late starts.
    pub late_percent: f64,
    /// CPU of the agent over the run, in percent of one CPU.
    pub cpu_percent: f64,
    /// Its CPU in the busiest interval.
    pub cpu_peak_percent: f64,
    /// Its longest iteration of an event loop.
    pub longest_iteration_ms: f64,
    /// Peak resident memory.
    pub memory_bytes: Option<u64>,
    /// Peak number of open descriptors, over all of its descriptor tables.
    pub descriptors: Option<u64>,
    /// Limit of open descriptors of each table.
    pub descriptor_limit: u64,
    /// Why the agent was lost during the run, as the rest of a sentence; `None` if it was not.
    #[serde(default)]
    pub failure: Option<String>,
}

impl GeneratorReport {
    /// Adds a later run of the same agent.
    pub fn add_later(&mut self, later: &GeneratorReport) {
        let (before, after) = (self.intervals as f64, later.intervals as f64);
        let cpu = self.cpu_percent * before + later.cpu_percent * after;
        self.cpu_percent = cpu / (before + after).max(1.0);
        self.intervals += later.intervals;
        self.users_peak = self.users_peak.max(later.users_peak);
        self.connected += later.connected;
        self.sent += later.sent;
        self.received += later.received;
        self.starts += later.starts;
        self.late_starts += later.late_starts;
        self.late_percent = 100.0 * self.late_starts as f64 / (self.starts as f64).max(1.0);
        self.cpu_peak_percent = self.cpu_peak_percent.max(later.cpu_peak_percent);
        self.longest_iteration_ms = self.longest_iteration_ms.max(later.longest_iteration_ms);
        self.memory_bytes = self.memory_bytes.max(later.memory_bytes);
        self.descriptors = self.descriptors.max(later.descriptors);
        self.failure = self.failure.take().or_else(|| later.failure.clone());
    }
}

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the tester.
    pub version: String,
    /// Time at which the test started, RFC 3339.
    pub started: String,
    /// Duration of the whole test.
    pub seconds: f64,
    /// WebSocket URL of the server.
    pub url: String,
    /// Name of the scenario.
    pub scenario: String,
    /// The scenario with all its values, as TOML; `switchboard-load run` accepts it.
    pub configuration: String,
    /// The machine of the generator.
    pub machine: GeneratorHost,
    /// Version and settings of the server by name, as far as it reports them.
    #[serde(default)]
    pub server: BTreeMap<String, String>,
    /// Outcome of the whole test.
    pub outcome: TestOutcome,
    /// Exit status of the process.
    pub exit_status: u8,
    /// The runs in order.
    pub runs: Vec<RunReport>,
    /// Result of the search for the breaking point, if the scenario has one.
    pub breaking_point: Option<BreakingPoint>,
    /// The targets of `--require` by which no run could be judged, one sentence each.
    #[serde(default, rename = "asked_in_vain")]
    pub unjudged_requirements: Vec<String>,
    /// The regressions of `--fail-on-regression`, one sentence each.
    #[serde(default)]
    pub regressions: Vec<String>,
    /// What to do about the findings.
    #[serde(rename = "advice")]
    pub recommendations: Vec<Recommendation>,
}

/// A run without figures that passed; the base of test data.
#[cfg(test)]
pub(crate) fn example_run() -> RunReport {
    RunReport {
        name: "calls".to_owned(),
        about: "users talk".to_owned(),
        seconds: 10.0,
        outcome: TestOutcome::Passed,
        reason: String::new(),
        trial: false,
        figures: BTreeMap::new(),
        times: BTreeMap::new(),
        distributions: BTreeMap::new(),
        histograms: BTreeMap::new(),
        http_paths: BTreeMap::new(),
        measurements: RunMeasurements::default(),
        users_planned: 0,
        batches: Vec::new(),
        targets: Vec::new(),
        faults: Vec::new(),
        trends: Vec::new(),
        intervals: Vec::new(),
        generators: Vec::new(),
    }
}

/// A report without runs; the base of test data.
#[cfg(test)]
pub(crate) fn example_report() -> LoadReport {
    LoadReport {
        schema: SCHEMA,
        version: "0.1.0".to_owned(),
        started: "2026-01-02T03:04:05Z".to_owned(),
        seconds: 10.0,
        url: "ws://127.0.0.1:8080/ws".to_owned(),
        scenario: "calls".to_owned(),
        configuration: "scenario = \"calls\"\n".to_owned(),
        machine: GeneratorHost::default(),
        server: BTreeMap::new(),
        outcome: TestOutcome::Passed,
        exit_status: 0,
        runs: Vec::new(),
        breaking_point: None,
        unjudged_requirements: Vec::new(),
        regressions: Vec::new(),
        recommendations: Vec::new(),
    }
}
