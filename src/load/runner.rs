//! Carries out a scenario: one run, a search over many, or the whole programme.

use super::checkpoint::{Checkpoint, RequestedRun};
use super::interval_log;
use super::measure::LoadFault;
use super::report::cause;
use super::report::model::{BreakingPoint, GeneratorHost, RunReport, TestOutcome};
use super::run_plans::{self, PlannedRun};
use super::scenario::{
    EnduranceFlags, EnduranceScenario, PlanScenario, Scenario, StressFlags, StressScenario,
};
use super::search::{CapacitySearch, SearchPlan, TrialOutcome};
use super::test_environment::{RunTotals, TestEnvironment};
use super::units::StressDimension;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::time::Duration;

/// What a programme has found out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ScenarioResults {
    /// The runs in order.
    pub runs: Vec<RunReport>,
    /// Where the server breaks, if that was asked.
    pub breaking_point: Option<BreakingPoint>,
}

/// The levels that a search finds are held so many times longer when they are confirmed: a
/// backlog that grows by one percent needs its time to become a missed target.
const CONFIRM_STEPS: u32 = 2;

/// Carries out `scenario`, which is what `order` has asked for, on `machine`. `resume` goes on with an
/// interrupted endurance run. Gives what was found out, and with it why there is no more if the
/// generator could not start, or files could not be written or read.
pub fn execute_run(
    scenario: &Scenario,
    order: &RequestedRun,
    machine: &GeneratorHost,
    stand: &mut TestEnvironment,
    resume: bool,
) -> (ScenarioResults, io::Result<()>) {
    let mut programme =
        ScenarioRunner { order, machine, stand, results: ScenarioResults::default() };
    let done = programme.execute_run(scenario, resume);
    (programme.results, done)
}

/// The most connections that a scenario opens at once, as far as that is known beforehand.
pub fn most_connections(scenario: &Scenario) -> u64 {
    match scenario {
        Scenario::Connections(s) => u64::from(s.users) + u64::from(s.sample_rooms) * 2,
        Scenario::Matchmaking(s) => s.users.into(),
        Scenario::Signaling(s) => u64::from(s.rooms) * 2,
        Scenario::Calls(s) => run_plans::calls(s).0.users_planned,
        Scenario::Http(s) => s.max_connections.into(),
        // A search over connections finds the generator's limit by itself, and says so.
        Scenario::Stress(s) => u64::from(s.rooms) * 2,
        Scenario::Endurance(s) => u64::from(s.rooms) * 2,
        Scenario::Plan(s) => {
            let stages = s.stages.0.iter().map(|stage| u64::from(stage.users));
            stages.max().unwrap_or(0).max(u64::from(s.rooms) * 2)
        }
    }
}

struct ScenarioRunner<'a> {
    order: &'a RequestedRun,
    machine: &'a GeneratorHost,
    stand: &'a mut TestEnvironment,
    results: ScenarioResults,
}

impl ScenarioRunner<'_> {
    fn execute_run(&mut self, scenario: &Scenario, resume: bool) -> io::Result<()> {
        match scenario {
            Scenario::Connections(s) => self.one(run_plans::connections(s)),
            Scenario::Matchmaking(s) => self.one(run_plans::matchmaking(s)),
            Scenario::Signaling(s) => self.one(run_plans::signaling(s)),
            Scenario::Calls(s) => self.one(run_plans::calls(s)),
            Scenario::Http(s) => self.one(run_plans::http(s)),
            Scenario::Stress(s) => self.stress(s),
            Scenario::Endurance(s) => self.endurance(s, resume),
            Scenario::Plan(s) => self.plan(s, resume),
        }
    }

    fn one(&mut self, run: PlannedRun) -> io::Result<()> {
        self.run(run, RunTotals::default()).map(drop)
    }

    fn run(&mut self, (spec, load): PlannedRun, totals: RunTotals) -> io::Result<TestOutcome> {
        let report = self.stand.execute_run(&spec, load, totals)?;
        let outcome = report.outcome;
        if !report.reason.is_empty() {
            self.stand.progress.note(&format!("{}: {}", report.name, report.reason));
        }
        self.results.runs.push(report);
        Ok(outcome)
    }

    /// Whether what was found so far makes it pointless to go on. Where the server has gone, the
    /// next run would only accuse it of being gone.
    fn is_over(&self) -> bool {
        self.stand.ends_early() || has_crashed(&self.results.runs)
    }

    fn stress(&mut self, s: &StressScenario) -> io::Result<()> {
        let mut search = CapacitySearch::new(SearchPlan {
            start: s.start,
            factor: s.factor.max(1.01),
            ceiling: s.ceiling,
            tolerance: s.tolerance_percent / 100.0,
            confirmations: s.confirmations,
        });
        let (mut trials, first) = (Vec::new(), self.results.runs.len());
        let found = loop {
            let level = match search.next() {
                Ok(level) => level,
                Err(found) => break Some(found),
            };
            if self.is_over() {
                break None;
            }
            let number = trials.len() + 1;
            let step = if search.is_confirming() { s.step.0 * CONFIRM_STEPS } else { s.step.0 };
            let run = match s.raise {
                StressDimension::Messages => run_plans::stress_messages(s, level, step, number),
                StressDimension::Connections => {
                    run_plans::stress_connections(s, level, step, number)
                }
            };
            let outcome = self.run(run, RunTotals::default())?;
            let trial = match outcome {
                TestOutcome::Passed => TrialOutcome::Held,
                TestOutcome::Failed => TrialOutcome::Broke,
                TestOutcome::Void => TrialOutcome::Void,
                TestOutcome::Stopped => break None,
            };
            let showed = match trial {
                TrialOutcome::Held => "held",
                TrialOutcome::Broke => "broke",
                TrialOutcome::Void => "void",
            };
            trials.push((search.doing().to_owned(), level, showed.to_owned()));
            match has_crashed(&self.results.runs) {
                true => search.record_crash(),
                false => search.record(trial),
            }
        };
        let broken = found.and_then(|found| {
            let at = found.failed_at()?;
            let failed = |trial: &(String, f64, String)| trial.1 == at && trial.2 != "held";
            let index = trials.iter().rposition(failed)?;
            self.results.runs.get(first + index)
        });
        let raised = match s.raise {
            StressDimension::Messages => "messages a second",
            StressDimension::Connections => "connections",
        };
        let point = cause::breaking_point(raised, found, broken, trials, self.machine);
        self.stand.progress.note(&cause::headline(&point));
        self.results.breaking_point = Some(point);
        Ok(())
    }

    fn endurance(&mut self, s: &EnduranceScenario, resume: bool) -> io::Result<()> {
        let directory = s.common.report.clone();
        if resume {
            return self.resume_endurance(s, &directory);
        }
        let mut capacity = s.capacity;
        if capacity <= 0.0 {
            self.stress(&run_plans::capacity_search(s, StressScenario::built_in()))?;
            capacity = self.capacity_found();
        }
        if capacity <= 0.0 || self.is_over() {
            return Ok(());
        }
        let messages_per_s = capacity * s.percent / 100.0;
        let (run, results) = (self.stand.runs, self.results.clone());
        let order = self.order.clone();
        Checkpoint { order, messages_per_s, run, results }.write(&directory)?;
        let run = run_plans::endurance(s, messages_per_s, Duration::ZERO);
        self.endure(run, RunTotals::default(), &directory)
    }

    /// The endurance run itself. Only one that was cut short can be gone on with, and not one
    /// whose server vanished: that is how it came out.
    fn endure(&mut self, run: PlannedRun, totals: RunTotals, directory: &Path) -> io::Result<()> {
        match self.run(run, totals)? {
            _ if self.stand.ends_early() => Ok(()),
            TestOutcome::Stopped => Ok(()),
            TestOutcome::Passed | TestOutcome::Failed | TestOutcome::Void => {
                Checkpoint::clear(directory)
            }
        }
    }

    /// The level that stress has found to hold, or zero.
    fn capacity_found(&self) -> f64 {
        self.results.breaking_point.as_ref().and_then(|point| point.holds).unwrap_or(0.0)
    }

    fn resume_endurance(&mut self, s: &EnduranceScenario, directory: &Path) -> io::Result<()> {
        let checkpoint = Checkpoint::read(directory)?;
        self.results = checkpoint.results;
        let mut totals = RunTotals::default();
        for row in interval_log::read(&directory.join(interval_log::FILE_NAME))? {
            if row.run == checkpoint.run {
                totals.restore(&row);
            }
        }
        let done = Duration::from_secs_f64(totals.offset_s.max(0.0));
        self.stand.runs = checkpoint.run;
        let note = format!("going on after {}", humantime::format_duration(done));
        self.stand.progress.note(&note);
        self.endure(run_plans::endurance(s, checkpoint.messages_per_s, done), totals, directory)
    }

    fn plan(&mut self, s: &PlanScenario, resume: bool) -> io::Result<()> {
        if resume {
            let run = run_plans::plan_endurance(s, EnduranceScenario::built_in(), 0.0);
            return self.endurance(&run, true);
        }
        for (number, stage) in s.stages.0.iter().enumerate() {
            self.one(run_plans::stage(s, *stage, number))?;
            if self.is_over() {
                return Ok(());
            }
        }
        if s.stress_ceiling > 0.0 {
            self.stress(&run_plans::plan_stress(s, StressScenario::built_in()))?;
            if self.is_over() {
                return Ok(());
            }
        }
        if !s.endurance.0.is_zero() {
            // Where stress has found nothing, what the largest stage had is a safe load.
            let largest = s.stages.0.iter().map(|stage| stage.users).max().unwrap_or(100);
            let modest = f64::from(largest) * s.message_rate;
            let capacity = if self.capacity_found() > 0.0 { self.capacity_found() } else { modest };
            if capacity <= 0.0 {
                // An endurance run on its own would search for one now.
                self.stand.progress.note("no endurance run: there are no messages to hold");
                return Ok(());
            }
            let run = run_plans::plan_endurance(s, EnduranceScenario::built_in(), capacity);
            self.endurance(&run, false)?;
        }
        Ok(())
    }
}

/// Whether the server vanished in the last of these runs, be it a trial.
fn has_crashed(runs: &[RunReport]) -> bool {
    let faults = runs.last().map_or(&[][..], |run| &run.faults);
    faults.iter().any(|fault| fault.kind == LoadFault::Crashed.name())
}

impl StressScenario {
    /// The built-in scenario.
    fn built_in() -> Self {
        StressFlags::default().resolve()
    }
}

impl EnduranceScenario {
    /// The built-in scenario.
    fn built_in() -> Self {
        EnduranceFlags::default().resolve()
    }
}
