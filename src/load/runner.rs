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
use super::units::{DurationSetting, LoadStage, StressDimension};
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
        Scenario::Calls(s) => {
            let users = run_plans::calls(s).spec.users_planned;
            let load = s.phases.0.iter().map(|phase| phase.lasting).sum();
            users + s.user_habits().silent_connections(users, mean(s.talk_min, s.talk_max), load)
        }
        Scenario::Http(s) => s.max_connections.into(),
        // A search over connections finds and reports the generator's limit itself.
        Scenario::Stress(s) => u64::from(s.rooms) * 2,
        Scenario::Endurance(s) => u64::from(s.rooms) * 2,
        Scenario::Plan(s) => {
            let of_stage = |stage: &LoadStage| {
                // A silent user is replaced only if it comes back; its old connection is still open then.
                let habits = s.user_habits();
                let users = u64::from(stage.users);
                let silent =
                    habits.silent_connections(users, mean(s.talk_min, s.talk_max), stage.lasting);
                users + (silent as f64 * habits.return_share).ceil() as u64
            };
            let stages = s.stages.0.iter().map(of_stage);
            stages.max().unwrap_or(0).max(u64::from(s.rooms) * 2)
        }
    }
}

fn mean(shortest: DurationSetting, longest: DurationSetting) -> Duration {
    (shortest.0 + longest.0) / 2
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
            || self.server_has_ended()
    }

    /// Whether the server was shut down before or during the last run, or could not be reached.
    fn server_has_ended(&self) -> bool {
        self.last_run_has(LoadFault::ShutDown) || self.last_run_has(LoadFault::Unreachable)
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
        for end in [LoadFault::ShutDown, LoadFault::Unreachable] {
            if self.last_run_has(end) {
                point.cause = end.meaning().to_owned();
            }
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
            if self.server_has_ended() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::scenario::parse_file;

    #[test]
    fn connections_of_silent_users_count_in_addition_to_those_of_users() {
        let connections = |text: &str| max_connections(&parse_file(text).unwrap().resolve());
        let calls = |habits: &str| {
            let talk = "talk_min = '10s'\ntalk_max = '30s'\nphases = '10/s for 5m'\n";
            connections(&format!("scenario = 'calls'\n{talk}{habits}"))
        };
        let users = calls("");
        assert_eq!(users, 400, "10/s for 40 s, since half of the users take the next partner");
        // 10 calls end in a second, and the connection of one of them stays open for two minutes.
        assert_eq!(calls("silent_percent = 10.0"), 400 + 120);
        let plan = |habits: &str| {
            let talk = "talk_min = '10s'\ntalk_max = '10s'\nstages = '4000 for 30s'\n";
            connections(&format!("scenario = 'plan'\n{talk}{habits}"))
        };
        assert_eq!(plan("silent_percent = 10.0"), 4000, "no user takes the place of a silent one");
        let half_returns = "silent_percent = 10.0\nreturn_percent = 50.0";
        assert_eq!(plan(half_returns), 4000 + 300, "20 a second, for the 30 s of the stage");
    }
}
