//! The command line: arguments → scenario → run → report → exit status.

use super::engine::Sources;
use super::journal::Journal;
use super::report::model::{Machine, Outcome, Report, SCHEMA};
use super::report::{self, cause};
use super::scenario::{BUILT_IN, Request, Scenario, built_in, parse_file};
use super::stand::Stand;
use super::{figures, preflight, probe, program, progress::Progress, target};
use clap::{FromArgMatches as _, Parser, Subcommand};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
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

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why nothing was run: the exit status and one line.
type Refusal = (Exit, String);

/// Finds the breaking point of a Switchboard server and tells why.
///
/// It pairs its own virtual users, so that it can measure what no general tool can: the time
/// to a match, the one-way time of a relayed message, and lost, duplicated, reordered,
/// corrupted and misrouted messages. Load is open-loop: latency counts from the planned
/// moment of each message.
///
/// Exit status: 0 passed, 1 wrong usage, 2 a target missed, 3 the server cannot be reached,
/// 4 void (the generator was the bottleneck), 130 stopped early.
#[derive(Parser)]
#[command(name = "switchboard-load", version, arg_required_else_help = true)]
struct Cli {
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
    /// Multiplies every duration of load (at least 2 s each remain)
    #[arg(long, global = true, value_name = "FACTOR")]
    time_scale: Option<f64>,
    /// Shows the differences to an earlier report.json
    #[arg(long, global = true, value_name = "REPORT.JSON")]
    compare: Option<PathBuf>,
    /// Goes on with an interrupted endurance run in the report directory
    #[arg(long, global = true)]
    resume: bool,
    /// Runs even if this machine's limits seem too low
    #[arg(long, global = true)]
    no_preflight: bool,
    /// Shows no progress
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Scenario(Request),
    /// Runs a scenario file; its keys are the flags of its scenario
    Run {
        /// The file; see --show for examples
        file: PathBuf,
        /// Flags of the file's scenario that take precedence over it
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<OsString>,
    },
}

/// Does what the arguments say.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            return refuse(&error).into();
        }
    };
    match act(cli) {
        Ok(exit) => exit.into(),
        Err((exit, line)) => {
            eprintln!("switchboard-load: {line}");
            exit.into()
        }
    }
}

/// Help and version as they are; what is wrong, in one line.
fn refuse(error: &clap::Error) -> Exit {
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand as NothingGiven;
    if !error.use_stderr() || error.kind() == NothingGiven {
        // If nobody reads it, there is nobody to tell.
        let _ = error.print();
        return if error.use_stderr() { Exit::Usage } else { Exit::Passed };
    }
    eprintln!("switchboard-load: {}; see --help", one_line(error));
    Exit::Usage
}

/// The first paragraph of what clap says, without its heading.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

fn act(cli: Cli) -> Result<Exit, Refusal> {
    if cli.list {
        for (name, text) in BUILT_IN {
            let about = text.lines().next().unwrap_or("").trim_start_matches("# ");
            println!("{name:<12} {about}");
        }
        return Ok(Exit::Passed);
    }
    if let Some(name) = &cli.show {
        let text = built_in(name).ok_or_else(|| {
            let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            (
                Exit::Usage,
                format!("unknown scenario `{name}`, expected one of {}", names.join(", ")),
            )
        })?;
        print!("{text}");
        return Ok(Exit::Passed);
    }
    if cli.figures {
        for (name, meaning) in figures::catalogue() {
            println!("{name:<36} {meaning}");
        }
        return Ok(Exit::Passed);
    }
    if cli.schema {
        print!("{}", report::SCHEMA_TEXT);
        return Ok(Exit::Passed);
    }
    let request = match &cli.command {
        Some(Command::Scenario(request)) => request.clone(),
        Some(Command::Run { file, flags }) => from_file(file, flags)?,
        None => return Err((Exit::Usage, "no scenario given; see --list".to_owned())),
    };
    let mut scenario = request.resolve();
    if let Some(factor) = cli.time_scale {
        if !(factor > 0.0 && factor <= 1000.0) {
            return Err((Exit::Usage, "--time-scale is above 0 and at most 1000".to_owned()));
        }
        scenario = scenario.scaled(factor);
    }
    if scenario.common().queue == "auto" {
        scenario.common_mut().queue = own_queue()?;
    }
    perform(&cli, &scenario)
}

/// A queue that nobody else asks for: two testers in one queue would be matched with each
/// other's users, whose clock is another.
fn own_queue() -> Result<String, Refusal> {
    let bytes = crate::sys::entropy().map_err(|error| (Exit::Void, error.to_string()))?;
    let digits: String = bytes[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("load-{digits}"))
}

/// Reads a scenario file, and the flags that take precedence over it.
fn from_file(file: &Path, flags: &[OsString]) -> Result<Request, Refusal> {
    let usage = |line: String| (Exit::Usage, line);
    let text = std::fs::read_to_string(file)
        .map_err(|error| usage(format!("{}: {error}", file.display())))?;
    let request =
        parse_file(&text).map_err(|error| usage(format!("{}: {error}", file.display())))?;
    if flags.is_empty() {
        return Ok(request);
    }
    let kind = request.clone().resolve().kind();
    let command = Request::augment_subcommands(clap::Command::new("run FILE"));
    let words = [OsString::from("run"), kind.into()];
    let above = command
        .try_get_matches_from(words.into_iter().chain(flags.iter().cloned()))
        .and_then(|matches| Request::from_arg_matches(&matches))
        .map_err(|error| usage(one_line(&error)))?;
    above.over(request).ok_or_else(|| usage("flags of another scenario".to_owned()))
}

/// Runs the scenario and writes the report.
fn perform(cli: &Cli, scenario: &Scenario) -> Result<Exit, Refusal> {
    let common = scenario.common();
    let usage = |line: String| (Exit::Usage, line);
    let goals = target::targets(&common.targets, &common.require).map_err(usage)?;
    check(scenario).map_err(usage)?;
    let earlier = cli.compare.as_deref().map(report::read).transpose().map_err(usage)?;
    let place = probe::locate(&common.url).map_err(usage)?;
    let connections = program::most_connections(scenario);
    let wanted = match scenario {
        Scenario::Stress(s) if s.raise == super::units::Lever::Connections => s.ceiling as u64,
        _ => connections,
    };
    let sources = Sources::parse(&common.source, place.address, wanted).map_err(usage)?;
    let directory = prepare(&common.report)?;
    if !cli.no_preflight
        && let Some(obstacle) = preflight::check(connections, common.threads, &sources).first()
    {
        return Err((Exit::Void, obstacle.to_string()));
    }
    probe::get(&place, "/health").map_err(|error| {
        (Exit::Unreachable, format!("{} cannot be reached: {error}", common.url))
    })?;
    let journal = Journal::open(&directory, cli.resume).map_err(|e| unwritable(&directory, &e))?;
    let interrupted = watch_signals().map_err(|error| usage(format!("signals: {error}")))?;
    let server_is_here = probe::find_process(place.address).is_some();
    let mut stand = Stand {
        place,
        sources,
        journal,
        progress: Progress::new(cli.quiet),
        interrupted,
        server_pid: common.server_pid,
        goals,
        runs: 0,
    };
    let (started, clock) = (std::time::SystemTime::now(), Instant::now());
    let results = program::carry_out(scenario, &mut stand, cli.resume)
        .map_err(|error| usage(format!("the run could not be carried out: {error}")))?;
    stand.progress.end();
    let mut report = Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: humantime::format_rfc3339_seconds(started).to_string(),
        seconds: clock.elapsed().as_secs_f64(),
        url: common.url.clone(),
        scenario: scenario.kind().to_owned(),
        configuration: scenario.to_string(),
        machine: machine(server_is_here),
        outcome: Outcome::Passed,
        exit_status: 0,
        runs: results.runs,
        breaking_point: results.breaking_point,
        advice: Vec::new(),
    };
    let exit = conclude(&mut report, stand.is_interrupted());
    report::write(&directory, &report, earlier.as_ref())
        .map_err(|error| unwritable(&directory, &error))?;
    println!("{}", report::console(&report, earlier.as_ref()));
    println!("report: {}", directory.join("report.html").display());
    Ok(exit)
}

/// Numbers that no run can be made of.
fn check(scenario: &Scenario) -> Result<(), String> {
    let even = |users: u32| match users {
        0 => Err("users: at least 2 are needed".to_owned()),
        n if n % 2 == 1 => Err(format!("users: {n} cannot be matched in pairs")),
        _ => Ok(()),
    };
    let positive = |name: &str, value: f64| {
        if value > 0.0 { Ok(()) } else { Err(format!("{name} must be above 0")) }
    };
    let ordered = |least: super::units::Span, most: super::units::Span| {
        if least <= most { Ok(()) } else { Err("talk_min is longer than talk_max".to_owned()) }
    };
    if !crate::wire::message::is_queue_name(scenario.common().queue.as_bytes()) {
        return Err(format!("queue: `{}` is no queue name", scenario.common().queue));
    }
    match scenario {
        Scenario::Connections(s) => {
            positive("users", s.users.into())?;
            positive("connect_rate", s.connect_rate)
        }
        Scenario::Matchmaking(s) => {
            even(s.users)?;
            positive("rounds", s.rounds.into())?;
            positive("connect_rate", s.connect_rate)
        }
        Scenario::Signaling(s) => {
            positive("rooms", s.rooms.into())?;
            positive("connect_rate", s.connect_rate)
        }
        Scenario::Calls(s) => ordered(s.talk_min, s.talk_max),
        Scenario::Http(s) => positive("max_connections", s.max_connections.into()),
        Scenario::Stress(s) => {
            positive("rooms", s.rooms.into())?;
            positive("start", s.start)?;
            positive("connect_rate", s.connect_rate)?;
            positive("factor - 1", s.factor - 1.0)
        }
        Scenario::Endurance(s) => {
            positive("rooms", s.rooms.into())?;
            positive("percent", s.percent)?;
            ordered(s.talk_min, s.talk_max)
        }
        Scenario::Plan(s) => {
            positive("rooms", s.rooms.into())?;
            ordered(s.talk_min, s.talk_max)
        }
    }
}

/// Makes the report directory and makes sure that it can be written, before an hour is spent.
fn prepare(directory: &Path) -> Result<PathBuf, Refusal> {
    std::fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
    let trial = directory.join(".writable");
    std::fs::write(&trial, b"").map_err(|error| unwritable(directory, &error))?;
    std::fs::remove_file(&trial).map_err(|error| unwritable(directory, &error))?;
    Ok(directory.to_owned())
}

fn unwritable(directory: &Path, error: &std::io::Error) -> Refusal {
    (Exit::Usage, format!("the report cannot be written to {}: {error}", directory.display()))
}

/// The first SIGINT or SIGTERM asks for an early end; the second ends at once.
fn watch_signals() -> std::io::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let status = Exit::Stopped as i32;
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&asked))?;
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
    }
    Ok(asked)
}

fn machine(server_is_here: bool) -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok()
        })
        .unwrap_or(0u64);
    Machine {
        cpus: std::thread::available_parallelism().map_or(0, |count| count.get() as u64),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        memory_bytes: memory * 1024,
        server_is_here,
    }
}

/// Judges the whole by its runs, and draws the conclusions.
fn conclude(report: &mut Report, interrupted: bool) -> Exit {
    let judged = report.runs.iter().filter(|run| !run.trial);
    let mut outcome = judged.map(|run| run.outcome).fold(Outcome::Passed, Outcome::worse);
    if let Some(point) = &report.breaking_point {
        // A search passes by finding the point; a server that breaks at once fails.
        let of_search = match (point.void, point.holds) {
            (true, _) => Outcome::Void,
            (false, None) => Outcome::Failed,
            (false, Some(_)) => Outcome::Passed,
        };
        outcome = outcome.worse(of_search);
    }
    if report.runs.is_empty() {
        outcome = Outcome::Void;
    }
    let exit = match outcome {
        Outcome::Failed => Exit::Missed,
        _ if interrupted => Exit::Stopped,
        Outcome::Void => Exit::Void,
        Outcome::Stopped => Exit::Stopped,
        Outcome::Passed => Exit::Passed,
    };
    report.outcome =
        if interrupted && outcome != Outcome::Failed { Outcome::Stopped } else { outcome };
    report.exit_status = exit as u8;
    report.advice = cause::advice(report);
    exit
}
