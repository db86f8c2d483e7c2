//! Runs a scenario: a single run, a search over many trials, or the phases of a plan.
//!
//! Runs on the main thread.

use super::checkpoint::{Checkpoint, RequestedRun};
use super::interval_log::{self, LogNote};
use super::measure::LoadFault;
use super::report::breaking_point::{breaking_point, headline};
use super::report::model::{BreakingPoint, GeneratorHost, RunReport, TestOutcome, TrialRecord};
use super::run_plans::{self, PlannedRun};
use super::scenario::{
    EnduranceFlags, EnduranceScenario, PlanScenario, Scenario, StressFlags, StressScenario,
};
use super::search::{CapacitySearch, SearchPlan, SearchResult, TrialOutcome};
use super::test_environment::{RunTotals, TestEnvironment};
use super::units::StressDimension;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::time::Duration;

/// The results of a scenario.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ScenarioResults {
    /// The runs in order.
    pub runs: Vec<RunReport>,
    /// The result of the search, if the scenario has one.
    pub breaking_point: Option<BreakingPoint>,
}

/// A confirming trial takes this many times longer than the others: a backlog that grows by one
/// percent needs more time until a target is missed.
pub const CONFIRMATION_STEPS: u32 = 2;

/// Runs `scenario`, which was requested as `requested`, on `host`. `resume` continues an
/// interrupted endurance run. Returns the results so far even if an error ends the scenario.
///
/// # Errors
/// When the generator cannot start, or a file cannot be read or written.
pub fn run_scenario(
    scenario: &Scenario,
    requested: &RequestedRun,
    host: &GeneratorHost,
    environment: &mut TestEnvironment,
    resume: bool,
) -> (ScenarioResults, io::Result<()>) {
    let results = ScenarioResults::default();
    let mut runner = ScenarioRunner { requested, host, environment, results };
    let completed = runner.run_scenario(scenario, resume);
    (runner.results, completed)
}

/// The most connections that a scenario opens at the same time, as far as that is known before it
/// starts.
pub fn max_connections(scenario: &Scenario) -> u64 {
    match scenario {
        Scenario::Connections(s) => u64::from(s.users) + u64::from(s.sample_rooms) * 2,
        Scenario::Matchmaking(s) => s.users.into(),
        Scenario::Signaling(s) => u64::from(s.rooms) * 2,
        Scenario::Calls(s) => run_plans::calls(s).spec.users_planned,
        Scenario::Http(s) => s.max_connections.into(),
        // A search over connections finds and reports the generator's limit itself.
        Scenario::Stress(s) => u64::from(s.rooms) * 2,
        Scenario::Endurance(s) => u64::from(s.rooms) * 2,
        Scenario::Plan(s) => {
            let stages = s.stages.0.iter().map(|stage| u64::from(stage.users));
            stages.max().unwrap_or(0).max(u64::from(s.rooms) * 2)
        }
    }
}

struct ScenarioRunner<'a> {
    requested: &'a RequestedRun,
    host: &'a GeneratorHost,
    environment: &'a mut TestEnvironment,
    results: ScenarioResults,
}

impl ScenarioRunner<'_> {
    fn run_scenario(&mut self, scenario: &Scenario, resume: bool) -> io::Result<()> {
        match scenario {
            Scenario::Connections(s) => self.run_once(run_plans::connections(s)),
            Scenario::Matchmaking(s) => self.run_once(run_plans::matchmaking(s)),
            Scenario::Signaling(s) => self.run_once(run_plans::signaling(s)),
            Scenario::Calls(s) => self.run_once(run_plans::calls(s)),
            Scenario::Http(s) => self.run_once(run_plans::http(s)),
            Scenario::Stress(s) => self.stress(s),
            Scenario::Endurance(s) => self.endurance(s, resume),
            Scenario::Plan(s) => self.plan(s, resume),
        }
    }

    fn run_once(&mut self, run: PlannedRun) -> io::Result<()> {
        self.run(run, RunTotals::default()).map(drop)
    }

    /// Executes one run, which continues from `totals`, and adds its report to the results.
    fn run(&mut self, run: PlannedRun, totals: RunTotals) -> io::Result<TestOutcome> {
        let report = self.environment.execute_run(&run.spec, run.workload, totals)?;
        let outcome = report.outcome;
        if !report.reason.is_empty() {
            self.environment.progress.note(&format!("{}: {}", report.name, report.reason));
        }
        self.results.runs.push(report);
        Ok(outcome)
    }

    /// Whether no further run makes sense: the test was stopped, an agent was lost, or the server
    /// crashed or was shut down, so that the next run would only find that it is gone.
    fn must_stop(&self) -> bool {
        self.environment.ends_early()
            || self.environment.has_lost_agent()
            || self.last_run_has(LoadFault::Crashed)
            || self.is_shut_down()
    }

    /// Whether the server was shut down during the last run.
    fn is_shut_down(&self) -> bool {
        self.last_run_has(LoadFault::ShutDown)
    }

    /// Whether this fault occurred during the last run, which may be a trial.
    fn last_run_has(&self, kind: LoadFault) -> bool {
        let faults = self.results.runs.last().map_or(&[][..], |run| &run.faults);
        faults.iter().any(|fault| fault.kind == kind.name())
    }

    fn stress(&mut self, s: &StressScenario) -> io::Result<()> {
        let mut search = CapacitySearch::new(SearchPlan::of(s));
        let first_run = self.results.runs.len();
        let (result, trials) = self.search(s, &mut search)?;
        let broken = result.and_then(|result| {
            let level = result.failed_at()?;
            let did_not_hold = |trial: &TrialRecord| trial.level == level && trial.result != "held";
            let index = trials.iter().rposition(did_not_hold)?;
            self.results.runs.get(first_run + index)
        });
        let raised = match s.raise {
            StressDimension::Messages => "messages a second",
            StressDimension::Connections => "connections",
        };
        let mut point = breaking_point(raised, result, broken, trials, self.host);
        if self.is_shut_down() {
            point.cause = "the server was shut down".to_owned();
        }
        self.environment.progress.note(&headline(&point));
        self.environment.note(&LogNote::BreakingPoint(Box::new(point.clone())));
        self.results.breaking_point = Some(point);
        Ok(())
    }

    /// Runs trials until the search ends. The result is `None` if the test was stopped early.
    fn search(
        &mut self,
        s: &StressScenario,
        search: &mut CapacitySearch,
    ) -> io::Result<(Option<SearchResult>, Vec<TrialRecord>)> {
        let mut trials = Vec::new();
        loop {
            let level = match search.next() {
                Ok(level) => level,
                Err(result) => return Ok((Some(result), trials)),
            };
            if self.must_stop() {
                return Ok((None, trials));
            }
            let number = trials.len() + 1;
            let confirming = search.is_confirming();
            let step = if confirming { s.step.0 * CONFIRMATION_STEPS } else { s.step.0 };
            let run = match s.raise {
                StressDimension::Messages => run_plans::stress_messages(s, level, step, number),
                StressDimension::Connections => {
                    run_plans::stress_connections(s, level, step, number)
                }
            };
            let (outcome, result) = match self.run(run, RunTotals::default())? {
                TestOutcome::Passed => (TrialOutcome::Held, "held"),
                TestOutcome::Failed => (TrialOutcome::Broke, "broke"),
                TestOutcome::Void => (TrialOutcome::Void, "void"),
                TestOutcome::Stopped => return Ok((None, trials)),
            };
            let step = search.step_name().to_owned();
            trials.push(TrialRecord { step, level, result: result.to_owned() });
            if self.is_shut_down() {
                return Ok((None, trials));
            }
            match self.last_run_has(LoadFault::Crashed) {
                true => search.record_crash(),
                false => search.record(outcome),
            }
        }
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
        if capacity <= 0.0 || self.must_stop() {
            return Ok(());
        }
        let messages_per_s = capacity * s.percent / 100.0;
        let (run, results) = (self.environment.runs, self.results.clone());
        let requested = self.requested.clone();
        Checkpoint { requested, messages_per_s, run, results }.write(&directory)?;
        let run = run_plans::endurance(s, messages_per_s, Duration::ZERO);
        self.run_endurance(run, RunTotals::default(), &directory)
    }

    /// The endurance run itself. The checkpoint remains only if the run was stopped early. A run
    /// that ends with a crash of the server is complete: the crash is its result.
    fn run_endurance(
        &mut self,
        run: PlannedRun,
        totals: RunTotals,
        directory: &Path,
    ) -> io::Result<()> {
        match self.run(run, totals)? {
            _ if self.environment.ends_early() || self.environment.has_lost_agent() => Ok(()),
            TestOutcome::Stopped => Ok(()),
            TestOutcome::Passed | TestOutcome::Failed | TestOutcome::Void => {
                Checkpoint::clear(directory)
            }
        }
    }

    /// The highest level that held in the search; 0 if there is none.
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
        self.environment.runs = checkpoint.run;
        let note = format!("continues after {}", humantime::format_duration(done));
        self.environment.progress.note(&note);
        let run = run_plans::endurance(s, checkpoint.messages_per_s, done);
        self.run_endurance(run, totals, directory)
    }

    fn plan(&mut self, s: &PlanScenario, resume: bool) -> io::Result<()> {
        if resume {
            let endurance = run_plans::plan_endurance(s, EnduranceScenario::built_in(), 0.0);
            return self.endurance(&endurance, true);
        }
        for (number, stage) in s.stages.0.iter().enumerate() {
            let outcome = self.run(run_plans::stage(s, *stage, number), RunTotals::default())?;
            if self.must_stop() {
                return Ok(());
            }
            if s.stop_on_miss && outcome != TestOutcome::Passed {
                self.environment.progress.note("stopping at the first stage that has not passed");
                return Ok(());
            }
        }
        if s.stress_ceiling > 0.0 {
            self.stress(&run_plans::plan_stress(s, StressScenario::built_in()))?;
            if self.must_stop() {
                return Ok(());
            }
        }
        if s.endurance.0.is_zero() {
            return Ok(());
        }
        // Without a result of the search, the load of the largest stage is a safe one.
        let largest = s.stages.0.iter().map(|stage| stage.users).max().unwrap_or(100);
        let of_largest_stage = f64::from(largest) * s.message_rate;
        let found = self.capacity_found();
        let capacity = if found > 0.0 { found } else { of_largest_stage };
        if capacity <= 0.0 {
            // A capacity of 0 would start a search.
            self.environment.progress.note("no endurance run: the plan sends no messages");
            return Ok(());
        }
        let endurance = run_plans::plan_endurance(s, EnduranceScenario::built_in(), capacity);
        self.endurance(&endurance, false)
    }
}

impl SearchPlan {
    /// The search of a scenario.
    pub fn of(s: &StressScenario) -> SearchPlan {
        SearchPlan {
            start: s.start,
            factor: s.factor.max(1.01),
            ceiling: s.ceiling,
            tolerance: s.tolerance_percent / 100.0,
            confirmations: s.confirmations,
        }
    }
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
