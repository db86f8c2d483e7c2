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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::interval_log::{IntervalRow, ServerSample};
    use crate::load::message_header::MessageSizes;
    use crate::load::report::model::{BreakingPoint, GeneratorReport, example_report};
    use crate::load::server_stats::ServerCapacity;
    use crate::load::test_environment::RunSpec;

    fn begin(run: u32) -> LogEntry {
        let spec = RunSpec {
            name: format!("run {run}"),
            about: String::new(),
            users_planned: 2,
            late_percent: 1.0,
            trial: false,
            targets: Vec::new(),
            growth_limits: None,
        };
        let counters = [("closed_idle".to_owned(), 5)].into();
        LogEntry::Note(LogNote::RunBegins(Box::new(RunHead {
            run,
            spec,
            targets: Vec::new(),
            sends_messages: run == 0,
            message_sizes: MessageSizes { plain: 200, offer: 1000 },
            server: ServerSample { counters, ..ServerSample::default() },
        })))
    }

    fn row(run: u32, users: u64) -> LogEntry {
        LogEntry::Row(Box::new(IntervalRow { run, at_s: 2.0, users, ..IntervalRow::default() }))
    }

    fn end(run: u32) -> RunEnd {
        RunEnd {
            run,
            stopped: false,
            gave_up: false,
            worker_died: false,
            lost_agent: None,
            generators: Vec::new(),
            accept_queue_drops: 0,
            server_capacity: ServerCapacity::default(),
            counters: [].into(),
        }
    }

    fn made(entries: impl IntoIterator<Item = LogEntry>) -> RemadeReport {
        let mut log = ParsedLog::default();
        log.add(LogEntry::Note(LogNote::test(example_report(), Vec::new())));
        entries.into_iter().for_each(|entry| log.add(entry));
        log.into_report().unwrap()
    }

    /// Two runs, of which the second one has the rows in between.
    #[test]
    fn each_run_has_its_own_rows_and_what_is_known_at_its_end() {
        let generators = vec![GeneratorReport { sent: 3, ..GeneratorReport::default() }];
        let first_end = RunEnd {
            generators: generators.clone(),
            accept_queue_drops: 4,
            server_capacity: ServerCapacity { descriptors: Some(100), cpus: Some(2) },
            counters: [("closed_idle".to_owned(), 9)].into(),
            ..end(0)
        };
        let point = BreakingPoint {
            raised: "messages".to_owned(),
            holds: Some(50.0),
            breaks: None,
            cause: String::new(),
            evidence: String::new(),
            void: false,
            trials: Vec::new(),
        };
        let made = made([
            begin(0),
            begin(1),
            row(0, 3),
            row(1, 7),
            LogEntry::Note(LogNote::RunEnds(first_end)),
            LogEntry::Note(LogNote::RunEnds(end(1))),
            LogEntry::Note(LogNote::BreakingPoint(Box::new(point.clone()))),
        ]);
        assert!(!made.ends_early);
        assert_eq!((made.report.breaking_point, made.report.seconds), (Some(point), 4.0));
        let [first, second] = &made.report.runs[..] else { panic!("{:?}", made.report.runs) };
        for (figure, of_first, of_second) in [
            ("users_peak", Some(3.0), Some(7.0)),
            ("plain_message_bytes", Some(200.0), None),
            ("accept_queue_drops", Some(4.0), Some(0.0)),
            ("server_descriptor_limit", Some(100.0), None),
            ("server_cpus", Some(2.0), None),
            // Of nine since the server started, five were before the run.
            ("server_closed_idle", Some(4.0), None),
        ] {
            let found = [first, second].map(|run| run.figures.get(figure).copied());
            assert_eq!(found, [of_first, of_second], "{figure}");
        }
        assert_eq!((&first.generators, second.generators.len()), (&generators, 0));
        assert_eq!([first, second].map(|run| run.outcome), [TestOutcome::Passed; 2]);
    }

    #[test]
    fn the_outcome_of_a_run_is_that_of_its_end() {
        let lost = "the agent 192.0.2.1:7700 was lost".to_owned();
        let stopped = RunEnd { stopped: true, ..end(0) };
        let died = RunEnd { worker_died: true, ..end(0) };
        let without_agent = RunEnd { lost_agent: Some(lost.clone()), ..end(0) };
        for (end, outcome, reason, ends_early) in [
            (Some(end(0)), TestOutcome::Passed, "", false),
            (Some(stopped), TestOutcome::Stopped, "stopped early", true),
            (Some(died), TestOutcome::Void, "a thread of the generator ended early", false),
            (Some(without_agent), TestOutcome::Void, lost.as_str(), false),
            (None, TestOutcome::Stopped, NO_END, true),
        ] {
            let end = end.map(|end| LogEntry::Note(LogNote::RunEnds(end)));
            let made = made([begin(0), row(0, 1)].into_iter().chain(end));
            let run = &made.report.runs[0];
            let found = (run.outcome, run.reason.as_str(), made.ends_early);
            assert_eq!(found, (outcome, reason, ends_early));
        }
        assert!(made([]).ends_early, "a log without runs");
    }

    #[test]
    fn a_run_that_is_resumed_has_the_end_of_its_last_part() {
        let stopped = RunEnd { stopped: true, ..end(0) };
        let resumed = |last: Option<RunEnd>| {
            let last = last.map(|end| LogEntry::Note(LogNote::RunEnds(end)));
            let parts =
                [begin(0), LogEntry::Note(LogNote::RunEnds(stopped.clone())), begin(0), row(0, 1)];
            let made = made(parts.into_iter().chain(last));
            let outcomes: Vec<_> = made.report.runs.iter().map(|run| run.outcome).collect();
            (outcomes, made.report.runs[0].reason.clone(), made.ends_early)
        };
        assert_eq!(resumed(Some(end(0))), (vec![TestOutcome::Passed], String::new(), false));
        assert_eq!(resumed(None), (vec![TestOutcome::Stopped], NO_END.to_owned(), true));
    }
}
