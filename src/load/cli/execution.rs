//! Runs a validated scenario and writes its report.

use super::arguments::LoadArguments;
use super::validation::ValidatedScenario;
use super::verdict::conclude;
use super::{CliError, LoadExitStatus, agents, print, print_error, usage_error};
use crate::load::checkpoint::{Checkpoint, RequestedRun};
use crate::load::engine::ClientIdentity;
use crate::load::interval_log::{IntervalLog, LogNote};
use crate::load::live_metrics::LiveMetrics;
use crate::load::planned_time::PlannedTime;
use crate::load::progress::ProgressDisplay;
use crate::load::report::ReportComparison;
use crate::load::report::model::{GeneratorHost, LoadReport, SCHEMA, TestOutcome};
use crate::load::scenario::Scenario;
use crate::load::target_address::{TargetAddress, check_reachable};
use crate::load::test_environment::TestEnvironment;
use crate::load::{preflight, report, runner, server_description, server_stats};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

/// Runs the scenario, writes the report and prints the result.
pub(super) fn execute(
    arguments: &LoadArguments,
    scenario: &Scenario,
    requested: &RequestedRun,
    validated: ValidatedScenario,
    resume: bool,
) -> Result<LoadExitStatus, CliError> {
    let common = scenario.common();
    let secret = agents::read_settings(arguments, scenario)?;
    let comparing = Comparing::read(arguments)?;
    let directory = prepare_directory(&common.report)?;
    check_limits(arguments, scenario, &validated)?;
    let ValidatedScenario { targets, required, server, stats, sources, identity } = validated;
    let spread = addresses_used(&server) + &warn_of_shared_tokens(scenario, &identity);
    check_reachable(&server).map_err(|error| {
        (LoadExitStatus::Unreachable, format!("{} cannot be reached: {error}", common.url))
    })?;
    let live = listen_for_metrics(arguments)?;
    let fleet = agents::connect(arguments, scenario, secret, &identity)?;
    let stats_missing = server_stats::explain_missing_stats(stats.as_ref());
    let log = open_log(&directory, resume)?;
    let interrupted = watch_signals().map_err(no_signal_handlers)?;
    let mut environment = TestEnvironment {
        server,
        stats,
        sources,
        identity: Arc::new(identity),
        fleet,
        log,
        progress: ProgressDisplay::new(arguments.quiet),
        live,
        interrupted,
        server_pid: common.server_pid,
        targets,
        runs: 0,
        server_was_there: false,
        server_is_draining: false,
        failure: None,
    };
    let host = generator_host(agents::share_machine_with_server(&environment), stats_missing);
    announce(&environment, scenario, &host, resume);
    let clock = Instant::now();
    let head = LoadReport {
        configuration: scenario.to_string() + &spread,
        ..report_of(scenario, &host, environment.stats.as_ref())
    };
    if !resume {
        environment.note(&LogNote::test(head.clone(), required.clone()));
    }
    let (results, completed) =
        runner::run_scenario(scenario, requested, &host, &mut environment, resume);
    environment.progress.finish();
    if let Err(error) = completed {
        let line = format!("the test cannot continue: {error}");
        if results.runs.is_empty() {
            return Err(usage_error(line));
        }
        environment.failure.get_or_insert(line);
    }
    let mut report = LoadReport {
        seconds: clock.elapsed().as_secs_f64(),
        runs: results.runs,
        breaking_point: results.breaking_point,
        ..head
    };
    let status = conclude(&mut report, &required, environment.ends_early());
    let errors = environment.failure.iter().chain(&report.unjudged_requirements);
    errors.for_each(|line| print_error(line));
    Ok(write_report(&directory, &mut report, &comparing, status))
}

/// Opens the interval log; without `resume` nothing of an earlier test remains.
fn open_log(directory: &Path, resume: bool) -> Result<IntervalLog, CliError> {
    let log =
        IntervalLog::open(directory, resume).map_err(|error| unwritable(directory, &error))?;
    if !resume {
        // The rows that it belongs to were in the log that has just been truncated.
        Checkpoint::clear(directory).map_err(|error| unwritable(directory, &error))?;
    }
    Ok(log)
}

/// Prints what is known before the test begins.
fn announce(
    environment: &TestEnvironment,
    scenario: &Scenario,
    host: &GeneratorHost,
    resume: bool,
) {
    let note = |line: String| environment.progress.note(&line);
    if !resume {
        note(format!("{}: takes {} in all", scenario.name(), PlannedTime::of(scenario)));
    }
    if let Some(reason) = &host.figures_missing {
        note(format!("the server's own figures are missing: {reason}"));
    }
    environment.fleet.iter().flat_map(agents::describe).for_each(note);
    if let Some(live) = &environment.live {
        note(format!("live figures: http://{}/metrics", live.address()));
    }
}

/// Starts the endpoint of `--metrics-listen`.
fn listen_for_metrics(arguments: &LoadArguments) -> Result<Option<LiveMetrics>, CliError> {
    let Some(address) = arguments.metrics_listen else { return Ok(None) };
    let listening = LiveMetrics::listen(address);
    listening.map(Some).map_err(|error| usage_error(format!("--metrics-listen {address}: {error}")))
}

/// A comment for the configuration if the users are spread over several addresses.
fn addresses_used(server: &TargetAddress) -> String {
    if server.addresses.len() < 2 {
        return String::new();
    }
    let addresses: Vec<_> = server.addresses.iter().map(ToString::to_string).collect();
    format!("# The connections are spread over {}.\n", addresses.join(", "))
}

/// Warns if there are fewer tokens than connections at the same time, so that several sessions belong to
/// one account: a server may limit or refuse these, and never match them with each other. Gives a comment
/// for the configuration of the report.
fn warn_of_shared_tokens(scenario: &Scenario, identity: &ClientIdentity) -> String {
    let (tokens, connections) =
        (identity.credentials.len() as u64, runner::max_connections(scenario));
    if tokens == 0 || tokens >= connections {
        return String::new();
    }
    let line = format!(
        "--token: {tokens} tokens for {connections} connections at the same time: up to {} connections \
         share a token",
        connections.div_ceil(tokens)
    );
    print_error(&format!("warning: {line}"));
    format!("# {line}.\n")
}

/// The report of a test that starts now, without results.
fn report_of(
    scenario: &Scenario,
    host: &GeneratorHost,
    stats: Option<&TargetAddress>,
) -> LoadReport {
    LoadReport {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
        seconds: 0.0,
        url: scenario.common().url.clone(),
        scenario: scenario.name().to_owned(),
        configuration: scenario.to_string(),
        machine: host.clone(),
        server: stats.map(server_description::describe).unwrap_or_default(),
        outcome: TestOutcome::Passed,
        exit_status: 0,
        runs: Vec::new(),
        breaking_point: None,
        unjudged_requirements: Vec::new(),
        regressions: Vec::new(),
        recommendations: Vec::new(),
    }
}

/// Raises the limit of open files and checks that this machine can generate the load.
fn check_limits(
    arguments: &LoadArguments,
    scenario: &Scenario,
    validated: &ValidatedScenario,
) -> Result<(), CliError> {
    // The limit is raised even if the check is skipped.
    let descriptors = preflight::raise_limit();
    if arguments.no_preflight || !arguments.agents.is_empty() {
        return Ok(());
    }
    let too_low = preflight::check(
        runner::max_connections(scenario),
        scenario.common().threads,
        descriptors,
        &validated.sources,
        &validated.server.addresses,
    );
    match too_low.first() {
        Some(limit) => Err((LoadExitStatus::Void, limit.to_string()).into()),
        None => Ok(()),
    }
}

/// The earlier reports that a report is compared with.
pub(super) struct Comparing {
    earlier: Vec<LoadReport>,
    /// Change for the worse, in percent, from which on a figure fails the test.
    limit_percent: Option<f64>,
}

impl Comparing {
    /// Reads the reports of `--compare`.
    pub(super) fn read(arguments: &LoadArguments) -> Result<Self, CliError> {
        let limit_percent = arguments.fail_on_regression;
        if limit_percent.is_some() && arguments.compare.is_empty() {
            return Err(usage_error("--fail-on-regression needs an earlier report: --compare"));
        }
        let earlier: Result<_, String> =
            arguments.compare.iter().map(|path| report::read(path)).collect();
        Ok(Comparing { earlier: earlier.map_err(usage_error)?, limit_percent })
    }

    /// Compares a report; one that passed fails by its regressions.
    fn apply(
        &self,
        report: &mut LoadReport,
        status: LoadExitStatus,
    ) -> (Option<ReportComparison>, LoadExitStatus) {
        if self.earlier.is_empty() {
            return (None, status);
        }
        let comparison = report::compare(&self.earlier, report);
        report.regressions =
            self.limit_percent.map(|limit| comparison.regressions(limit)).unwrap_or_default();
        if report.regressions.is_empty() || status != LoadExitStatus::Passed {
            return (Some(comparison), status);
        }
        report.outcome = TestOutcome::Failed;
        report.exit_status = LoadExitStatus::Regressed as u8;
        (Some(comparison), LoadExitStatus::Regressed)
    }
}

/// Compares the report with earlier ones, writes it and prints the result. The result is printed even if the
/// report cannot be written; the exit status is then not `Passed`, because a script would look for the report.
pub(super) fn write_report(
    directory: &Path,
    report: &mut LoadReport,
    comparing: &Comparing,
    status: LoadExitStatus,
) -> LoadExitStatus {
    let (comparison, status) = comparing.apply(report, status);
    let text = report::console(report, comparison.as_ref());
    match report::write(directory, report, comparison.as_ref()) {
        Ok(()) => {
            print(&format!("{text}\nreport: {}\n", directory.join("report.html").display()));
            status
        }
        Err(error) => {
            print(&text);
            print_error(&write_error(directory, &error));
            if status == LoadExitStatus::Passed { LoadExitStatus::Void } else { status }
        }
    }
}

/// Creates the report directory and checks that it can be written, before the test spends time.
pub(super) fn prepare_directory(directory: &Path) -> Result<PathBuf, CliError> {
    std::fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
    let probe = directory.join(".writable");
    std::fs::write(&probe, b"").map_err(|error| unwritable(directory, &error))?;
    std::fs::remove_file(&probe).map_err(|error| unwritable(directory, &error))?;
    Ok(directory.to_owned())
}

fn no_signal_handlers(error: std::io::Error) -> CliError {
    usage_error(format!("signal handlers cannot be installed: {error}"))
}

fn unwritable(directory: &Path, error: &std::io::Error) -> CliError {
    usage_error(write_error(directory, error))
}

fn write_error(directory: &Path, error: &std::io::Error) -> String {
    format!("the report cannot be written to {}: {error}", directory.display())
}

/// The first SIGINT, SIGTERM or SIGHUP sets the flag that ends the test early; the second one ends
/// the process at once.
pub(super) fn watch_signals() -> std::io::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let interrupted = Arc::new(AtomicBool::new(false));
    let hangup = (!hangup_is_ignored()).then_some(SIGHUP);
    for signal in [SIGINT, SIGTERM].into_iter().chain(hangup) {
        let status = LoadExitStatus::Stopped as i32;
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&interrupted))?;
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    Ok(interrupted)
}

/// Whether the process was started with SIGHUP ignored, as `nohup` does it. The run then continues
/// when the terminal closes.
fn hangup_is_ignored() -> bool {
    // The mask of ignored signals is hexadecimal; SIGHUP is signal 1 (proc(5)).
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 == 1))
}

/// Describes this machine.
pub(super) fn generator_host(
    server_is_here: bool,
    figures_missing: Option<String>,
) -> GeneratorHost {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory_kib = read("/proc/meminfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok()
        })
        .unwrap_or(0u64);
    let cpu_model = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1.to_owned()))
        .unwrap_or_default();
    GeneratorHost {
        cpu_model,
        cpus: std::thread::available_parallelism().map_or(0, |count| count.get() as u64),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        memory_bytes: memory_kib * 1024,
        server_is_here,
        figures_missing,
    }
}
