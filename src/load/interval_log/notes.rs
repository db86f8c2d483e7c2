//! What the interval log contains besides rows: what is tested, how each run is judged and how it ended.
//! With it a report can be made from the log alone. Pure values.

use super::{IntervalRow, ServerSample};
use crate::load::message_header::MessageSizes;
use crate::load::report::model::{BreakingPoint, GeneratorReport, LoadReport};
use crate::load::server_stats::ServerCapacity;
use crate::load::target::PerformanceTarget;
use crate::load::test_environment::RunSpec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A line of the log that is not a row; in JSON an object with the name of the kind as its only key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogNote {
    /// The test begins. The first line of a log.
    Test(Box<TestHead>),
    /// A run begins, or is resumed.
    RunBegins(Box<RunHead>),
    /// A run has ended.
    RunEnds(RunEnd),
    /// The search for the breaking point has ended.
    BreakingPoint(Box<BreakingPoint>),
}

impl LogNote {
    /// The first line of the log of a test with this report, which is still without results.
    pub fn test(report: LoadReport, required: Vec<PerformanceTarget>) -> Self {
        LogNote::Test(Box::new(TestHead { report, required }))
    }
}

/// What is tested.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TestHead {
    /// The report, still without results.
    pub report: LoadReport,
    /// The targets that the user added; at least one run must be judged by each.
    pub required: Vec<PerformanceTarget>,
}

/// What has to be known of a run in addition to its rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunHead {
    /// Number of the run in the test, counted from 0.
    pub run: u32,
    /// How it is named and judged.
    pub spec: RunSpec,
    /// All its targets.
    pub targets: Vec<PerformanceTarget>,
    /// Whether its users send messages.
    pub sends_messages: bool,
    /// Sizes of the messages that they send.
    #[serde(default)]
    pub message_sizes: MessageSizes,
    /// The server before the first arrival.
    pub server: ServerSample,
}

/// How a run ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunEnd {
    /// Number of the run in the test, counted from 0.
    pub run: u32,
    /// The operator or a failure of this machine stopped it.
    pub stopped: bool,
    /// It was stopped because no session could be opened.
    pub gave_up: bool,
    /// A thread of the generator ended early.
    pub worker_died: bool,
    /// The agent that was lost, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_agent: Option<String>,
    /// The agents that drove the users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generators: Vec<GeneratorReport>,
    /// Connections that the kernel dropped because an accept queue was full.
    pub accept_queue_drops: u64,
    /// Limits of the server, as far as they are known.
    pub server_capacity: ServerCapacity,
    /// What the server has counted by reason since it started.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
}

/// A line of the log.
#[derive(Clone, Debug)]
pub enum LogEntry {
    /// An interval.
    Row(Box<IntervalRow>),
    /// Anything else.
    Note(LogNote),
}

impl LogEntry {
    /// Parses a line; `None` for one that a crash has truncated, or of an unknown kind.
    pub fn parse(line: &str) -> Option<Self> {
        match serde_json::from_str(line) {
            Ok(row) => Some(LogEntry::Row(Box::new(row))),
            Err(_) => serde_json::from_str(line).ok().map(LogEntry::Note),
        }
    }
}
