//! The command line: arguments → scenario → run → report → exit status.

mod resume;
mod validation;
mod verdict;

use super::checkpoint::{Checkpoint, RequestedRun};
use super::interval_log::IntervalLog;
use super::report;
use super::report::model::{GeneratorHost, LoadReport, SCHEMA, TestOutcome};
use super::scenario::{BUILT_IN, PartialScenario, Scenario, built_in};
use super::target_address::check_reachable;
use super::test_environment::TestEnvironment;
use super::{figures, preflight, progress::ProgressDisplay, runner, server_monitor};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use validation::{ScenarioFile, ValidatedScenario, ValidationError, validate};
use verdict::conclude;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadExitStatus {
    /// Every target was reached.
    Passed = 0,
    /// The arguments or files are wrong.
    Usage = 1,
    /// A target was missed, or the server was convicted.
    Missed = 2,
    /// The server could not be reached.
    Unreachable = 3,
    /// The generator was at its limit; nothing is known of the server.
    Void = 4,
    /// People stopped it.
    Stopped = 130,
}

impl From<LoadExitStatus> for ExitCode {
    fn from(exit: LoadExitStatus) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Name of the flag that goes on with an interrupted run.
const RESUME: &str = "resume";

/// Why nothing was run.
enum CliError {
    /// The exit status and one line.
    Line(LoadExitStatus, String),
    /// What clap says of the arguments, or that help was asked for.
    Arguments(clap::Error),
}

impl From<(LoadExitStatus, String)> for CliError {
    fn from((exit, line): (LoadExitStatus, String)) -> CliError {
        CliError::Line(exit, line)
    }
}

impl From<clap::Error> for CliError {
    fn from(error: clap::Error) -> CliError {
        CliError::Arguments(error)
    }
}

/// Finds the breaking point of a Switchboard server and tells why.
///
/// It pairs its own virtual users, so that it can measure what no general tool can: the time
/// to a match, the one-way time of a relayed message, and lost, duplicated, reordered,
/// corrupted and misrouted messages. Load is open-loop: latency counts from the planned
/// moment of each message.
///
/// Exit status: 0 passed, 1 wrong usage, 2 a target missed (or asked for by --require, and no
/// run had such a figure), 3 the server cannot be reached, 4 void (the generator was the
/// bottleneck), 130 stopped early.
#[derive(Parser)]
#[command(name = "switchboard-load", version, arg_required_else_help = true)]
struct LoadArguments {
    /// Lists the built-in scenarios
    #[arg(long)]
    list: bool,
    /// Prints a built-in scenario, to be changed and given to `run`
    #[arg(long, value_name = "NAME")]
    show: Option<String>,
    /// Lists every figure that a target can name
    #[arg(long)]
    figures: bool,
    /// Prints the JSON Schema of report.json
    #[arg(long)]
    schema: bool,
    /// Multiplies every duration of load (2 s each remain, and 5 s of a stress level); how long
    /// a call lasts is part of the load and stays
    #[arg(long, global = true, value_name = "FACTOR")]
    time_scale: Option<f64>,
    /// Shows the differences to an earlier report.json
    #[arg(long, global = true, value_name = "REPORT.JSON")]
    compare: Option<PathBuf>,
    /// Runs even if this machine's limits seem too low
    #[arg(long, global = true)]
    no_preflight: bool,
    /// Shows no progress
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Option<LoadCommand>,
}

#[derive(Subcommand)]
enum LoadCommand {
    #[command(flatten)]
    Scenario(PartialScenario),
    /// Runs a scenario file; its keys are the flags of its scenario
    Run {
        /// The file; see --show for examples
        file: PathBuf,
        /// Flags that take precedence over it
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<OsString>,
    },
}

/// Does what the arguments say.
pub fn main() -> ExitCode {
    match parse(std::env::args_os()).and_then(act) {
        Ok(exit) => exit.into(),
        Err(CliError::Arguments(error)) => refuse(&error).into(),
        Err(CliError::Line(exit, line)) => {
            complain(&line);
            exit.into()
        }
    }
}

/// The arguments, and whether an interrupted run is to go on: only what ends with an endurance
/// run has a flag for that.
fn parse(words: impl Iterator<Item = OsString>) -> Result<(LoadArguments, bool), CliError> {
    let flag = clap::Arg::new(RESUME)
        .long(RESUME)
        .action(clap::ArgAction::SetTrue)
        .help("Goes on with the endurance run that was interrupted in the report directory, with the values it had; others are refused");
    let command = LoadArguments::command()
        .mut_subcommand("endurance", |scenario| scenario.arg(flag.clone()))
        .mut_subcommand("plan", |scenario| scenario.arg(flag.clone()));
    let mut command = take_negative(command);
    let scenarios: Vec<_> =
        command.get_subcommands().map(|scenario| scenario.get_name().to_owned()).collect();
    for name in scenarios {
        command = command.mut_subcommand(name, take_negative);
    }
    let matches = command.try_get_matches_from(words)?;
    let of_scenario = matches.subcommand().map(|(_, flags)| flags.try_get_one::<bool>(RESUME));
    let resume = matches!(of_scenario, Some(Ok(Some(true))));
    Ok((LoadArguments::from_arg_matches(&matches)?, resume))
}

/// Lets what looks like a flag be the value of one that takes no text. Such a number is wrong, and
/// it is to be said of which flag.
fn take_negative(command: clap::Command) -> clap::Command {
    use std::any::TypeId;
    let text = [TypeId::of::<String>(), TypeId::of::<PathBuf>(), TypeId::of::<OsString>()];
    command.mut_args(|arg| {
        let kind = arg.get_value_parser().type_id();
        let number = arg.get_action().takes_values() && !text.iter().any(|text| kind == *text);
        if number { arg.allow_hyphen_values(true) } else { arg }
    })
}

/// Help and version as they are; what is wrong, in one line.
fn refuse(error: &clap::Error) -> LoadExitStatus {
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand as NothingGiven;
    if !error.use_stderr() || error.kind() == NothingGiven {
        // If nobody reads it, there is nobody to tell.
        let _ = error.print();
        return if error.use_stderr() { LoadExitStatus::Usage } else { LoadExitStatus::Passed };
    }
    complain(&format!("{}; see --help", one_line(error)));
    LoadExitStatus::Usage
}

/// Writes to standard output. If nobody reads it, there is nobody to tell.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes one line to standard error, likewise.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "switchboard-load: {line}");
}

/// The first paragraph of what clap says, without its heading.
fn one_line(error: &clap::Error) -> String {
    if let Some(name) = error.get(clap::error::ContextKind::InvalidSubcommand) {
        return format!("unknown scenario '{name}', expected one of {}", names());
    }
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

/// The names of the built-in scenarios.
fn names() -> String {
    let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn act((cli, resume): (LoadArguments, bool)) -> Result<LoadExitStatus, CliError> {
    if cli.list {
        for (name, text) in BUILT_IN {
            let about = text.lines().next().unwrap_or("").trim_start_matches("# ");
            say(&format!("{name:<12} {about}\n"));
        }
        return Ok(LoadExitStatus::Passed);
    }
    if let Some(name) = &cli.show {
        let text = built_in(name).ok_or_else(|| {
            usage(format!("unknown scenario `{name}`, expected one of {}", names()))
        })?;
        say(text);
        return Ok(LoadExitStatus::Passed);
    }
    if cli.figures {
        for (name, meaning) in figures::catalogue() {
            say(&format!("{name:<36} {meaning}\n"));
        }
        return Ok(LoadExitStatus::Passed);
    }
    if cli.schema {
        say(report::SCHEMA_TEXT);
        return Ok(LoadExitStatus::Passed);
    }
    let (request, cli, resume, file) = match &cli.command {
        Some(LoadCommand::Scenario(request)) => (request.clone(), cli, resume, None),
        Some(LoadCommand::Run { file, flags }) => {
            let file = ScenarioFile::read(file)?;
            let (request, cli, resume) = from_file(&file, flags, &cli)?;
            (request, cli, resume, Some(file))
        }
        None => return Err(usage("no scenario given; see --list")),
    };
    let (mut scenario, order) = match resume {
        true => resume::order(request, cli.time_scale).map(|(was, order)| (was, Some(order)))?,
        false => (request.resolve(), None),
    };
    let ready = validate(&scenario).map_err(|unready| match unready {
        ValidationError::InvalidValue(wrong) => {
            usage(file.map_or(wrong.to_string(), |file| file.parse_server_url(&wrong)))
        }
        ValidationError::NoSuchHost(line) => CliError::Line(LoadExitStatus::Unreachable, line),
    })?;
    let order = order.unwrap_or_else(|| RequestedRun {
        configuration: scenario.to_string(),
        time_scale: cli.time_scale.unwrap_or(1.0),
    });
    if !(order.time_scale > 0.0 && order.time_scale <= 1000.0) {
        return Err(usage("--time-scale is above 0 and at most 1000"));
    }
    scenario = scenario.scaled(order.time_scale);
    if scenario.common().queue == "auto" {
        scenario.common_mut().queue = own_queue()?;
    }
    perform(&cli, &scenario, &order, ready, resume)
}

fn usage(line: impl Into<String>) -> CliError {
    CliError::Line(LoadExitStatus::Usage, line.into())
}

/// A queue that nobody else asks for: two testers in one queue would be matched with each
/// other's users, whose clock is another.
fn own_queue() -> Result<String, CliError> {
    let bytes = crate::sys::entropy().map_err(|error| (LoadExitStatus::Void, error.to_string()))?;
    let digits: String = bytes[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("load-{digits}"))
}

/// A scenario file's values, and the flags that take precedence over it.
fn from_file(
    file: &ScenarioFile,
    flags: &[OsString],
    cli: &LoadArguments,
) -> Result<(PartialScenario, LoadArguments, bool), CliError> {
    let request = file.request.clone();
    // As if they had been given to the scenario of the file itself.
    let words = [OsString::from("switchboard-load"), request.clone().resolve().kind().into()];
    let (mut above, resume) = parse(words.into_iter().chain(flags.iter().cloned()))?;
    let flags = above.command.take();
    let cli = LoadArguments {
        time_scale: above.time_scale.or(cli.time_scale),
        compare: above.compare.or_else(|| cli.compare.clone()),
        no_preflight: above.no_preflight || cli.no_preflight,
        quiet: above.quiet || cli.quiet,
        ..above
    };
    match flags {
        Some(LoadCommand::Scenario(flags)) => {
            let request = flags.over(request).ok_or_else(|| usage("flags of another scenario"))?;
            Ok((request, cli, resume))
        }
        Some(LoadCommand::Run { .. }) | None => Err(usage("a file cannot run another")),
    }
}

/// Runs the scenario and writes the report.
fn perform(
    cli: &LoadArguments,
    scenario: &Scenario,
    order: &RequestedRun,
    ready: ValidatedScenario,
    resume: bool,
) -> Result<LoadExitStatus, CliError> {
    let common = scenario.common();
    let ValidatedScenario { goals, asked, place, stats, sources } = ready;
    let earlier = cli.compare.as_deref().map(report::read).transpose().map_err(usage)?;
    let connections = runner::most_connections(scenario);
    let directory = prepare(&common.report)?;
    let of_ipv6 = place.address.is_ipv6();
    // Also where nobody is to look whether it is enough.
    let descriptors = preflight::raise_limit();
    if !cli.no_preflight
        && let Some(obstacle) =
            preflight::check(connections, common.threads, descriptors, &sources, of_ipv6).first()
    {
        return Err((LoadExitStatus::Void, obstacle.to_string()).into());
    }
    check_reachable(&place).map_err(|error| {
        (LoadExitStatus::Unreachable, format!("{} cannot be reached: {error}", common.url))
    })?;
    let figures_missing = server_monitor::explain_missing_stats(stats.as_ref());
    let journal = IntervalLog::open(&directory, resume).map_err(|e| unwritable(&directory, &e))?;
    if !resume {
        // Its rows were in the log that begins anew.
        Checkpoint::clear(&directory).map_err(|error| unwritable(&directory, &error))?;
    }
    let interrupted = watch_signals().map_err(|error| usage(format!("signals: {error}")))?;
    let mut stand = TestEnvironment {
        place,
        stats,
        sources,
        journal,
        progress: ProgressDisplay::new(cli.quiet),
        interrupted,
        server_pid: common.server_pid,
        goals,
        runs: 0,
        failure: None,
    };
    let machine = machine(stand.find_server().is_some(), figures_missing);
    if let Some(why) = &machine.figures_missing {
        stand.progress.note(&format!("without the server's own figures: {why}"));
    }
    let (started, clock) = (std::time::SystemTime::now(), Instant::now());
    let (results, done) = runner::execute_run(scenario, order, &machine, &mut stand, resume);
    stand.progress.end();
    if let Err(error) = done {
        let line = format!("the run could not be carried out: {error}");
        if results.runs.is_empty() {
            return Err(usage(line));
        }
        stand.failure.get_or_insert(line);
    }
    let mut report = LoadReport {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: humantime::format_rfc3339_seconds(started).to_string(),
        seconds: clock.elapsed().as_secs_f64(),
        url: common.url.clone(),
        scenario: scenario.kind().to_owned(),
        configuration: scenario.to_string(),
        machine,
        outcome: TestOutcome::Passed,
        exit_status: 0,
        runs: results.runs,
        breaking_point: results.breaking_point,
        asked_in_vain: Vec::new(),
        advice: Vec::new(),
    };
    let exit = conclude(&mut report, &asked, stand.ends_early());
    stand.failure.iter().chain(&report.asked_in_vain).for_each(|line| complain(line));
    Ok(leave(&directory, &report, earlier.as_ref(), exit))
}

/// Writes the report and tells the verdict; that is told also where the disk takes no report.
/// Then nothing has passed: whoever looks for the report finds none.
fn leave(
    directory: &Path,
    report: &LoadReport,
    earlier: Option<&LoadReport>,
    exit: LoadExitStatus,
) -> LoadExitStatus {
    let told = report::console(report, earlier);
    match report::write(directory, report, earlier) {
        Ok(()) => {
            say(&format!("{told}\nreport: {}\n", directory.join("report.html").display()));
            exit
        }
        Err(error) => {
            say(&told);
            complain(&unwritten(directory, &error));
            if exit == LoadExitStatus::Passed { LoadExitStatus::Void } else { exit }
        }
    }
}

/// Makes the report directory and makes sure that it can be written, before an hour is spent.
fn prepare(directory: &Path) -> Result<PathBuf, CliError> {
    std::fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
    let trial = directory.join(".writable");
    std::fs::write(&trial, b"").map_err(|error| unwritable(directory, &error))?;
    std::fs::remove_file(&trial).map_err(|error| unwritable(directory, &error))?;
    Ok(directory.to_owned())
}

fn unwritable(directory: &Path, error: &std::io::Error) -> CliError {
    usage(unwritten(directory, error))
}

fn unwritten(directory: &Path, error: &std::io::Error) -> String {
    format!("the report cannot be written to {}: {error}", directory.display())
}

/// The first SIGINT or SIGTERM asks for an early end; the second ends at once.
fn watch_signals() -> std::io::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let status = LoadExitStatus::Stopped as i32;
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&asked))?;
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
    }
    Ok(asked)
}

fn machine(server_is_here: bool, figures_missing: Option<String>) -> GeneratorHost {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok()
        })
        .unwrap_or(0u64);
    GeneratorHost {
        cpus: std::thread::available_parallelism().map_or(0, |count| count.get() as u64),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        memory_bytes: memory * 1024,
        server_is_here,
        figures_missing,
    }
}
