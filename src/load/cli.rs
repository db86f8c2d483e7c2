//! The command line of `switchboard-load`: arguments → scenario → runs → report → exit status.
//!
//! Runs on the main thread.

mod agents;
mod arguments;
mod execution;
mod identity;
mod offline;
mod resume;
mod validation;
mod verdict;

pub use arguments::described;

use super::checkpoint::RequestedRun;
use super::scenario::{BUILT_IN, PartialScenario, built_in};
use super::{figures, report};
use arguments::{LoadArguments, LoadCommand, one_line, parse_arguments, unknown_scenario};
use execution::execute;
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use validation::{ScenarioFile, ValidationError, validate};

/// The exit status of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadExitStatus {
    /// Every target was met.
    Passed = 0,
    /// An argument or a file is wrong.
    Usage = 1,
    /// A target was missed, or a server fault occurred.
    Failed = 2,
    /// The server cannot be reached.
    Unreachable = 3,
    /// The generator was the bottleneck; the result gives no information about the server.
    Void = 4,
    /// A figure became worse than in earlier reports, by at least `--fail-on-regression`.
    Regressed = 5,
    /// Stopped by a signal.
    Stopped = 130,
}

impl From<LoadExitStatus> for ExitCode {
    fn from(status: LoadExitStatus) -> ExitCode {
        ExitCode::from(status as u8)
    }
}

/// Why no test was run.
enum CliError {
    /// The exit status, and the error in one line.
    Message(LoadExitStatus, String),
    /// An error in the arguments, or a request for help or the version.
    Arguments(clap::Error),
}

impl From<(LoadExitStatus, String)> for CliError {
    fn from((status, line): (LoadExitStatus, String)) -> CliError {
        CliError::Message(status, line)
    }
}

impl From<clap::Error> for CliError {
    fn from(error: clap::Error) -> CliError {
        CliError::Arguments(error)
    }
}

/// A usage error: exit status 1 and one line.
fn usage_error(line: impl Into<String>) -> CliError {
    CliError::Message(LoadExitStatus::Usage, line.into())
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    match parse_arguments(std::env::args_os()).and_then(run_command) {
        Ok(status) => status.into(),
        Err(CliError::Arguments(error)) => report_argument_error(&error).into(),
        Err(CliError::Message(status, line)) => {
            print_error(&line);
            status.into()
        }
    }
}

/// Prints help and version as clap formats them, and an error in one line.
fn report_argument_error(error: &clap::Error) -> LoadExitStatus {
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand as NoArguments;
    if !error.use_stderr() || error.kind() == NoArguments {
        // A closed pipe is no reason to fail.
        let _ = error.print();
        return if error.use_stderr() { LoadExitStatus::Usage } else { LoadExitStatus::Passed };
    }
    print_error(&format!("{}; see --help", one_line(error)));
    LoadExitStatus::Usage
}

/// Writes to standard output. A closed pipe is no reason to fail.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes one line to standard error; a closed pipe is ignored there too.
fn print_error(line: &str) {
    let _ = writeln!(std::io::stderr(), "switchboard-load: {line}");
}

fn run_command((arguments, resume): (LoadArguments, bool)) -> Result<LoadExitStatus, CliError> {
    if print_information(&arguments)? {
        return Ok(LoadExitStatus::Passed);
    }
    let (flags, arguments, resume, file) = match &arguments.command {
        Some(LoadCommand::Scenario(flags)) => (flags.clone(), arguments, resume, None),
        Some(LoadCommand::Run { file, flags }) => {
            let file = ScenarioFile::read(file)?;
            let (flags, arguments, resume) = flags_over_file(&file, flags, &arguments)?;
            (flags, arguments, resume, Some(file))
        }
        Some(LoadCommand::Report { directory, report }) => {
            return offline::remake_report(&arguments, directory, report.as_deref());
        }
        Some(LoadCommand::Merge { directories, report }) => {
            return offline::merge_reports(&arguments, directories, report);
        }
        Some(LoadCommand::Compare { reports }) => {
            return offline::compare_reports(&arguments, reports);
        }
        Some(LoadCommand::Agent { listen }) => return agents::serve(&arguments, *listen),
        None => return Err(usage_error("no scenario given; --list names them")),
    };
    let (mut scenario, interrupted_run) = match resume {
        true => resume::interrupted_run(flags, arguments.time_scale)
            .map(|(scenario, run)| (scenario, Some(run)))?,
        false => (flags.resolve(), None),
    };
    let drives_users = arguments.agents.is_empty();
    let validated = validate(&scenario, drives_users).map_err(|error| match error {
        ValidationError::InvalidValue(invalid) => usage_error(
            file.map_or(invalid.to_string(), |file| file.with_position(&invalid, drives_users)),
        ),
        ValidationError::NoSuchHost(line) => CliError::Message(LoadExitStatus::Unreachable, line),
    })?;
    let requested = interrupted_run.unwrap_or_else(|| RequestedRun {
        configuration: scenario.to_string(),
        time_scale: arguments.time_scale.unwrap_or(1.0),
    });
    if !(requested.time_scale > 0.0 && requested.time_scale <= 1000.0) {
        return Err(usage_error("--time-scale must be above 0 and at most 1000"));
    }
    scenario = scenario.scaled(requested.time_scale);
    if scenario.common().queue == "auto" {
        scenario.common_mut().queue = random_queue()?;
    }
    execute(&arguments, &scenario, &requested, validated, resume)
}

/// Carries out `--list`, `--show`, `--figures` and `--schema`. Returns whether one of them was
/// given.
fn print_information(arguments: &LoadArguments) -> Result<bool, CliError> {
    if arguments.list {
        for (name, text) in BUILT_IN {
            let about = text.lines().next().unwrap_or("").trim_start_matches("# ");
            print(&format!("{name:<12} {about}\n"));
        }
    } else if let Some(name) = &arguments.show {
        let text = built_in(name).ok_or_else(|| usage_error(unknown_scenario(name)))?;
        print(text);
    } else if arguments.figures {
        for (name, meaning) in figures::catalogue() {
            print(&format!("{name:<36} {meaning}\n"));
        }
    } else if arguments.schema {
        print(report::SCHEMA_TEXT);
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// A queue that no other client uses. Users of two load testers in one queue would be
/// matched with each other, and the clocks of the two processes differ.
fn random_queue() -> Result<String, CliError> {
    let bytes = crate::sys::entropy().map_err(|error| (LoadExitStatus::Void, error.to_string()))?;
    let digits: String = bytes[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("load-{digits}"))
}

/// The values of a scenario file, overridden by the flags after it; with these flags' general
/// options, and whether `--resume` is among them.
fn flags_over_file(
    file: &ScenarioFile,
    flags: &[OsString],
    arguments: &LoadArguments,
) -> Result<(PartialScenario, LoadArguments, bool), CliError> {
    let values = file.values.clone();
    // The flags are parsed as those of the file's scenario.
    let words = [OsString::from("switchboard-load"), values.clone().resolve().name().into()];
    let (mut after_file, resume) = parse_arguments(words.into_iter().chain(flags.iter().cloned()))?;
    let command = after_file.command.take();
    let merged = LoadArguments {
        time_scale: after_file.time_scale.or(arguments.time_scale),
        compare: [&arguments.compare[..], &after_file.compare].concat(),
        fail_on_regression: after_file.fail_on_regression.or(arguments.fail_on_regression),
        metrics_listen: after_file.metrics_listen.or(arguments.metrics_listen),
        agents: match after_file.agents.is_empty() {
            true => arguments.agents.clone(),
            false => after_file.agents,
        },
        secret_file: after_file.secret_file.or_else(|| arguments.secret_file.clone()),
        no_preflight: after_file.no_preflight || arguments.no_preflight,
        quiet: after_file.quiet || arguments.quiet,
        ..after_file
    };
    match command {
        Some(LoadCommand::Scenario(flags)) => {
            let values = flags
                .with_fallback(values)
                .ok_or_else(|| usage_error("these flags belong to another scenario"))?;
            Ok((values, merged, resume))
        }
        Some(
            LoadCommand::Run { .. }
            | LoadCommand::Report { .. }
            | LoadCommand::Merge { .. }
            | LoadCommand::Compare { .. }
            | LoadCommand::Agent { .. },
        )
        | None => Err(usage_error("a scenario file cannot run another file")),
    }
}
