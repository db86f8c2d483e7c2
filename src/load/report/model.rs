//! The report as data: what `report.json` holds. Pure.
//!
//! Times are in milliseconds or seconds as their names say; everything measured is a number
//! under its name in `figures`, so that two reports can be compared without knowing which
//! figures there are. The schema is `report.schema.json` beside this file.

use crate::load::interval_log::IntervalRow;
use crate::load::measure::LatencySummary;
use crate::load::target::TargetVerdict;
use crate::load::trend::Trend;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the schema; it changes when a reader would have to.
pub const SCHEMA: u32 = 1;

/// How a run, or all of them together, came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestOutcome {
    /// Every target that applies was reached, and nothing convicts the server.
    Passed,
    /// A target was missed, or the server broke a guarantee.
    Failed,
    /// The generator was at its limit, so nothing is known about the server.
    Void,
    /// Stopped before its time; judged by what there was.
    Stopped,
}

impl TestOutcome {
    /// The worse of two: a failure is known, a void run is not, a stopped one was cut short.
    pub fn worse(self, other: TestOutcome) -> TestOutcome {
        let rank = |outcome| match outcome {
            TestOutcome::Passed => 0,
            TestOutcome::Stopped => 1,
            TestOutcome::Void => 2,
            TestOutcome::Failed => 3,
        };
        if rank(other) > rank(self) { other } else { self }
    }

    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            TestOutcome::Passed => "passed",
            TestOutcome::Failed => "failed",
            TestOutcome::Void => "void",
            TestOutcome::Stopped => "stopped early",
        }
    }
}

/// A kind of fault that occurred.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultReport {
    /// Its name.
    pub kind: String,
    /// What it means.
    pub meaning: String,
    /// How often it occurred.
    pub count: u64,
    /// Seconds from the start of the run to the first time.
    pub first_s: f64,
    /// Seconds from the start of the run to the last time.
    pub last_s: f64,
    /// Whether it alone convicts the server.
    pub convicts: bool,
}

/// A point of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DistributionPoint {
    /// Share of all values, in percent.
    pub percent: f64,
    /// So many percent took at most this.
    pub at_most_ms: f64,
}

/// A slope test on one figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrendReport {
    /// What was watched.
    pub figure: String,
    /// Its unit.
    pub unit: String,
    /// What the test found.
    pub trend: Trend,
    /// Whether the growth is called a leak or decay.
    pub convicted: bool,
    /// In one sentence.
    pub verdict: String,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Its name, unique in the report.
    pub name: String,
    /// What it did, in a sentence.
    pub about: String,
    /// How long it took in seconds.
    pub seconds: f64,
    /// How it came out.
    pub outcome: TestOutcome,
    /// Why, in a sentence, if it did not pass.
    pub reason: String,
    /// A trial of a search: it need not pass for the report to pass.
    pub trial: bool,
    /// Every figure, by name.
    pub figures: BTreeMap<String, f64>,
    /// Times, by name.
    pub times: BTreeMap<String, LatencySummary>,
    /// Distributions of times, by name.
    pub distributions: BTreeMap<String, Vec<DistributionPoint>>,
    /// The targets and whether they were reached.
    pub targets: Vec<TargetVerdict>,
    /// What went wrong.
    pub faults: Vec<FaultReport>,
    /// Slope tests.
    pub trends: Vec<TrendReport>,
    /// The intervals, thinned out for charts.
    pub intervals: Vec<IntervalRow>,
}

impl RunReport {
    /// Whether it was to find leaks, and was too short for that.
    pub fn knows_nothing_of_leaks(&self) -> bool {
        self.name == crate::load::run_plans::ENDURANCE && self.trends.is_empty()
    }

    /// Whether not one session could be opened, though the server did not say that it is full.
    pub fn nobody_came_in(&self) -> bool {
        let figure = |name: &str| self.figures.get(name).copied().unwrap_or(0.0);
        let (failed, full) = (figure("connect_failed"), figure("upgrade_503"));
        let convicted = self.faults.iter().any(|fault| fault.convicts);
        figure("connected") == 0.0 && failed > 0.0 && full == 0.0 && !convicted
    }
}

/// Where the server breaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakingPoint {
    /// What was raised.
    pub raised: String,
    /// The highest level that held.
    pub holds: Option<f64>,
    /// The lowest level above it that broke.
    pub breaks: Option<f64>,
    /// What gave out.
    pub cause: String,
    /// What says so.
    pub evidence: String,
    /// Whether the search says anything about the server.
    pub void: bool,
    /// Each trial: what the search was doing, the level, and what came of it.
    pub trials: Vec<(String, f64, String)>,
}

/// A recommendation with its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// What to do.
    pub advice: String,
    /// The measurement that led to it.
    pub evidence: String,
}

/// The machine that the generator ran on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorHost {
    /// CPUs the generator may use.
    pub cpus: u64,
    /// Its kernel.
    pub kernel: String,
    /// Its memory in bytes.
    pub memory_bytes: u64,
    /// Whether the server runs on it too.
    pub server_is_here: bool,
    /// Why the server's own figures are not in this report; `None` if they are.
    #[serde(default)]
    pub figures_missing: Option<String>,
}

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the tester.
    pub version: String,
    /// When it began, RFC 3339.
    pub started: String,
    /// How long all of it took, in seconds.
    pub seconds: f64,
    /// The server.
    pub url: String,
    /// The scenario's kind.
    pub scenario: String,
    /// The scenario with every number, as TOML: `run` repeats it.
    pub configuration: String,
    /// Where it ran.
    pub machine: GeneratorHost,
    /// How it came out.
    pub outcome: TestOutcome,
    /// Exit status of the tester.
    pub exit_status: u8,
    /// The runs in order.
    pub runs: Vec<RunReport>,
    /// Where the server breaks, if that was asked.
    pub breaking_point: Option<BreakingPoint>,
    /// Targets that were asked for and by which no run could be judged, each in a sentence.
    #[serde(default)]
    pub asked_in_vain: Vec<String>,
    /// What to do about it.
    pub advice: Vec<Recommendation>,
}

/// A run that did nothing and passed, for tests to build upon.
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
        targets: Vec::new(),
        faults: Vec::new(),
        trends: Vec::new(),
        intervals: Vec::new(),
    }
}

/// A report without runs, for tests to build upon.
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
        outcome: TestOutcome::Passed,
        exit_status: 0,
        runs: Vec::new(),
        breaking_point: None,
        asked_in_vain: Vec::new(),
        advice: Vec::new(),
    }
}
