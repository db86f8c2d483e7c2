//! Makes the report of a test from its interval log, also of one that was killed. Pure, except for
//! [`remake`], which reads the log.

use super::interval_log::{self, LogEntry, LogNote, RunEnd, RunHead, TestHead};
use super::report::model::{LoadReport, RunReport, TestOutcome};
use super::target::PerformanceTarget;
use super::test_environment::RunTotals;
use std::path::Path;

/// Why a run whose end is not in the log has its outcome.
const NO_END: &str = "the log ends before the run does";

/// A report that was made from a log, not yet judged as a whole.
pub struct RemadeReport {
    /// The report.
    pub report: LoadReport,
    /// The targets that the user added.
    pub required: Vec<PerformanceTarget>,
    /// Whether the test was stopped, or its log ends before the test does.
    pub ends_early: bool,
}

/// Makes the report of the test whose interval log is in `directory`.
///
/// # Errors
/// The reason in one line, if there is no log, or none that says what was tested.
pub fn remake(directory: &Path) -> Result<RemadeReport, String> {
    let path = directory.join(interval_log::FILE_NAME);
    let entries = interval_log::entries(&path);
    let entries = entries.map_err(|error| format!("{}: {error}", path.display()))?;
    let mut log = ParsedLog::default();
    entries.for_each(|entry| log.add(entry));
    log.into_report().ok_or_else(|| {
        format!(
            "{} does not say what was tested: it is no interval log, or was written by version 0.1.0",
            path.display()
        )
    })
}

/// One run of the log.
struct LoggedRun {
    head: RunHead,
    totals: RunTotals,
    end: Option<RunEnd>,
}

impl LoggedRun {
    fn begin(head: RunHead) -> Self {
        let mut run = LoggedRun { totals: RunTotals::default(), end: None, head };
        run.continue_after_interruption();
        run
    }

    /// Takes the server's sample at the begin of the run, or of its next part.
    fn continue_after_interruption(&mut self) {
        self.end = None;
        self.totals.begin(&self.head.server);
        if self.head.sends_messages {
            self.totals.expect_messages(self.head.message_sizes);
        }
    }

    fn into_report(self) -> RunReport {
        let LoggedRun { head, mut totals, end } = self;
        let is_incomplete = end.is_none();
        totals.stopped = end.as_ref().is_none_or(|end| end.stopped);
        if let Some(end) = end {
            (totals.lost_agent, totals.generators) = (end.lost_agent, end.generators);
            (totals.gave_up, totals.worker_died) = (end.gave_up, end.worker_died);
            totals.accept_queue_drops = end.accept_queue_drops;
            totals.server_capacity = end.server_capacity;
            totals.add_counters(&end.counters);
        }
        let mut report = totals.into_report(&head.spec, &head.targets);
        if is_incomplete && report.outcome == TestOutcome::Stopped {
            report.reason = NO_END.to_owned();
        }
        report
    }
}

/// What was read of a log so far.
#[derive(Default)]
struct ParsedLog {
    head: Option<TestHead>,
    runs: Vec<LoggedRun>,
}

impl ParsedLog {
    fn add(&mut self, entry: LogEntry) {
        match entry {
            LogEntry::Row(row) => {
                let run = self.runs.iter_mut().find(|run| run.head.run == row.run);
                run.into_iter().for_each(|run| run.totals.restore(&row));
            }
            LogEntry::Note(LogNote::Test(head)) => self.head = Some(*head),
            LogEntry::Note(LogNote::RunBegins(head)) => {
                match self.runs.iter_mut().find(|run| run.head.run == head.run) {
                    Some(run) => {
                        run.head.server = head.server;
                        run.continue_after_interruption();
                    }
                    None => self.runs.push(LoggedRun::begin(*head)),
                }
            }
            LogEntry::Note(LogNote::RunEnds(end)) => {
                let run = self.runs.iter_mut().find(|run| run.head.run == end.run);
                if let Some(run) = run {
                    run.end = Some(end);
                }
            }
            LogEntry::Note(LogNote::BreakingPoint(point)) => {
                if let Some(head) = &mut self.head {
                    head.report.breaking_point = Some(*point);
                }
            }
        }
    }

    fn into_report(self) -> Option<RemadeReport> {
        let TestHead { mut report, required } = self.head?;
        let is_complete = |run: &LoggedRun| run.end.as_ref().is_some_and(|end| !end.stopped);
        let ends_early = self.runs.is_empty() || !self.runs.iter().all(is_complete);
        report.runs = self.runs.into_iter().map(LoggedRun::into_report).collect();
        report.seconds = report.runs.iter().map(|run| run.seconds).sum();
        Some(RemadeReport { report, required, ends_early })
    }
}
