//! The arguments: declaration and parsing.

use super::CliError;
use crate::load::scenario::{BUILT_IN, PartialScenario, built_in, parse_file};
use crate::load::suggestion::did_you_mean;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Name of the flag that continues an interrupted run.
const RESUME: &str = "resume";

/// The flags of all scenarios that the commands without a scenario use, by their ids. The others have
/// no effect there, so they are refused.
const FLAGS_OF_COMMANDS: [(&str, &[&str]); 4] = [
    ("report", &["compare", "fail_on_regression", "quiet"]),
    ("merge", &["compare", "fail_on_regression", "quiet"]),
    ("compare", &["fail_on_regression", "quiet"]),
    ("agent", &["secret_file", "quiet"]),
];

/// Finds the load at which a Switchboard server misses its targets, and what limits it.
///
/// The virtual users are matched with each other, so the tester measures what a general load tool
/// cannot: the time to a match, the one-way time of a relayed message, and messages that are
/// lost, duplicated, reordered, corrupted or delivered to the wrong session. The load is
/// open-loop: a latency counts from the intended start time of each operation.
///
/// Exit status: 0 passed, 1 wrong usage, 2 a target was missed (or no run has the figure of a
/// --require target) or the server broke a guarantee, 3 the server cannot be reached, 4 void (the
/// generator was the bottleneck), 5 a regression (--fail-on-regression), 130 stopped early.
#[derive(Parser)]
#[command(name = "switchboard-load", version, arg_required_else_help = true)]
pub(super) struct LoadArguments {
    /// List the built-in scenarios
    #[arg(long)]
    pub(super) list: bool,
    /// Print a built-in scenario as a TOML file, to be edited and given to `run`
    #[arg(long, value_name = "NAME")]
    pub(super) show: Option<String>,
    /// List every figure that a target can name
    #[arg(long)]
    pub(super) figures: bool,
    /// Print the JSON Schema of report.json
    #[arg(long)]
    pub(super) schema: bool,
    /// Multiply every duration of load by this factor; at least 2 s of each remain, and 5 s of a
    /// stress level. The length of a call is part of the load and stays [default: 1]
    #[arg(long, global = true, value_name = "FACTOR")]
    pub(super) time_scale: Option<f64>,
    /// Show the differences to an earlier report.json; may be given several times [default: none]
    #[arg(long, global = true, value_name = "REPORT.JSON")]
    pub(super) compare: Vec<PathBuf>,
    /// Fail with status 5 if a figure became worse by at least this, beyond noise, since the reports of
    /// --compare; for example `10%` [default: none]
    #[arg(long, global = true, value_name = "PERCENT", value_parser = parse_percent)]
    pub(super) fail_on_regression: Option<f64>,
    /// Serve live figures for Prometheus at this address, like `127.0.0.1:9200`, under /metrics
    /// [default: none]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(super) metrics_listen: Option<SocketAddr>,
    /// Agents that drive the users instead of this process, like `10.0.0.2:7700,10.0.0.3:7700`; each
    /// drives an equal share and matches its users with each other [default: none]
    #[arg(long, global = true, value_name = "ADDRESSES", value_delimiter = ',')]
    pub(super) agents: Vec<String>,
    /// File with the secret that coordinator and agents share, at least 16 bytes; it is never sent
    /// [default: none]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) secret_file: Option<PathBuf>,
    /// Start even if the limits of this machine seem too low for the load
    #[arg(long, global = true)]
    pub(super) no_preflight: bool,
    /// Show no progress
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
    #[command(subcommand)]
    pub(super) command: Option<LoadCommand>,
}

#[derive(Subcommand)]
pub(super) enum LoadCommand {
    #[command(flatten)]
    Scenario(PartialScenario),
    /// Runs a scenario file; its keys are the flags of its scenario
    Run {
        /// The file; --show prints examples
        file: PathBuf,
        /// Flags of the file's scenario, which take precedence over the file
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<OsString>,
    },
    /// Makes the report of a test again from its intervals.jsonl, for example if the tester was killed
    Report {
        /// Report directory of the test
        directory: PathBuf,
        /// Where the new report is written [default: the same directory]
        #[arg(long, value_name = "DIR")]
        report: Option<PathBuf>,
    },
    /// Merges the reports of several generators, or of several tests, into one
    Merge {
        /// Directories of the reports
        #[arg(required = true, num_args = 2.., value_name = "DIR")]
        directories: Vec<PathBuf>,
        /// Where the merged report is written
        #[arg(long, value_name = "DIR")]
        report: PathBuf,
    },
    /// Shows the differences between the last of these reports and the earlier ones
    Compare {
        /// Reports, or their directories
        #[arg(required = true, num_args = 2.., value_name = "REPORT")]
        reports: Vec<PathBuf>,
    },
    /// Drives users for a coordinator, which is another switchboard-load with --agents
    Agent {
        /// Address to listen on, like `0.0.0.0:7700`; port 0 is any free port, which is printed
        #[arg(long, value_name = "ADDRESS")]
        listen: SocketAddr,
    },
}

/// A percentage like `10%` or `10`.
fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').trim_end().parse();
    let valid = number.ok().filter(|percent: &f64| percent.is_finite() && *percent > 0.0);
    valid.ok_or_else(|| "expected a percentage above 0, like `10%`".to_owned())
}

/// Parses the arguments; the second value is whether `--resume` was given. Only the scenarios
/// that end with an endurance run have that flag.
pub(super) fn parse_arguments(
    words: impl Iterator<Item = OsString>,
) -> Result<(LoadArguments, bool), CliError> {
    let matches = described().try_get_matches_from(words)?;
    refuse_unused_flags(&matches)?;
    let of_scenario = matches.subcommand().map(|(_, flags)| flags.try_get_one::<bool>(RESUME));
    let resume = matches!(of_scenario, Some(Ok(Some(true))));
    Ok((LoadArguments::from_arg_matches(&matches)?, resume))
}

/// The program's name, scenarios, flags and help, for the parser and for the manual page.
pub fn described() -> clap::Command {
    let flag = clap::Arg::new(RESUME)
        .long(RESUME)
        .action(clap::ArgAction::SetTrue)
        .help("Continue the interrupted endurance run in the report directory with its settings; a flag that differs from them is refused");
    let command = LoadArguments::command()
        .mut_subcommand("endurance", |scenario| scenario.arg(flag.clone()))
        .mut_subcommand("plan", |scenario| scenario.arg(flag.clone()));
    // clap does not add a flag of all commands to a command that has one with the same id.
    let command = FLAGS_OF_COMMANDS.iter().fold(command, |command, (name, _)| {
        let hidden = unused_flags(name).into_iter().map(|arg| arg.global(false).hide(true));
        command.mut_subcommand(name, |offline| offline.args(hidden))
    });
    let mut command = adapt_values(command);
    let scenarios: Vec<_> =
        command.get_subcommands().map(|scenario| scenario.get_name().to_owned()).collect();
    for name in scenarios {
        let defaults = defaults_of(&name);
        command = command
            .mut_subcommand(name, |scenario| adapt_values(show_defaults(scenario, &defaults)));
    }
    command
}

/// The flags of all scenarios that a command without a scenario does not use.
fn unused_flags(command: &str) -> Vec<clap::Arg> {
    let used = FLAGS_OF_COMMANDS.iter().find(|(name, _)| *name == command);
    let Some((_, used)) = used else { return Vec::new() };
    let program = LoadArguments::command();
    let flags = program.get_arguments().filter(|arg| arg.is_global_set());
    flags.filter(|arg| !used.contains(&arg.get_id().as_str())).cloned().collect()
}

/// An error if a flag was given that the command does not use.
fn refuse_unused_flags(matches: &clap::ArgMatches) -> Result<(), clap::Error> {
    let Some((command, values)) = matches.subcommand() else { return Ok(()) };
    let unused = unused_flags(command);
    let given = unused
        .iter()
        .find(|arg| values.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine));
    let Some(flag) = given.and_then(clap::Arg::get_long) else { return Ok(()) };
    let reason = format!("'--{flag}' has no effect on the command '{command}'");
    Err(described().error(ErrorKind::ArgumentConflict, reason))
}

/// The values of a built-in scenario, by the names of its keys.
fn defaults_of(scenario: &str) -> toml::Table {
    let built_in = built_in(scenario).and_then(|text| parse_file(text).ok());
    let values = built_in.and_then(|values| toml::Table::try_from(values.resolve()).ok());
    values.unwrap_or_default()
}

/// Adds its default to the help of each flag. clap must not know it as such: a value that no flag
/// gives comes from the scenario file first.
fn show_defaults(scenario: clap::Command, defaults: &toml::Table) -> clap::Command {
    scenario.mut_args(|arg| {
        let default = match defaults.get(arg.get_id().as_str()) {
            None => return arg,
            Some(toml::Value::String(text)) => text.clone(),
            Some(toml::Value::Array(list)) if list.is_empty() => "none".to_owned(),
            Some(toml::Value::Array(list)) => {
                let texts: Vec<_> = list.iter().filter_map(toml::Value::as_str).collect();
                texts.join(", ")
            }
            Some(value) => value.to_string().trim_end_matches(".0").to_owned(),
        };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        arg.help(format!("{help} [default: {default}]"))
    })
}

/// Lets a flag with a numeric value take one that begins with `-`. A negative number is then
/// reported as a wrong value of that flag, and not as an unknown flag. A flag that is on or off
/// needs no value.
fn adapt_values(command: clap::Command) -> clap::Command {
    use std::any::TypeId;
    let text_types = [TypeId::of::<String>(), TypeId::of::<PathBuf>(), TypeId::of::<OsString>()];
    command.mut_args(|arg| {
        let value_type = arg.get_value_parser().type_id();
        let is_text = text_types.iter().any(|text| value_type == *text);
        let is_number = arg.get_action().takes_values() && !is_text;
        if is_number && value_type == TypeId::of::<bool>() {
            // Without a value the flag means `true`.
            arg.num_args(0..=1).require_equals(true).default_missing_value("true")
        } else if is_number {
            arg.allow_hyphen_values(true)
        } else {
            arg
        }
    })
}

/// The first paragraph of clap's message in one line, without its heading.
pub(super) fn one_line(error: &clap::Error) -> String {
    if let Some(name) = error.get(clap::error::ContextKind::InvalidSubcommand) {
        return unknown_scenario(&name.to_string());
    }
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    let line = words.join(" ").trim_start_matches("error: ").to_owned();
    match error.get(clap::error::ContextKind::SuggestedArg) {
        Some(similar) => format!("{line}; did you mean {similar}?"),
        None => line,
    }
}

/// The error of a name that is none of a scenario.
pub(super) fn unknown_scenario(name: &str) -> String {
    let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    let similar = did_you_mean(name, names.iter().copied());
    format!("unknown scenario '{name}', expected one of {}{similar}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_of_every_flag_with_a_value_shows_its_default() {
        let mut command = described();
        command.build();
        for scenario in command.get_subcommands().filter(|one| built_in(one.get_name()).is_some()) {
            for arg in scenario.get_arguments().filter(|arg| arg.get_action().takes_values()) {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let (name, flag) = (scenario.get_name(), arg.get_id());
                assert_eq!(help.matches("[default: ").count(), 1, "{name} {flag}: {help}");
            }
        }
        let help = |scenario: &str, flag: &str| {
            let scenario = command.find_subcommand(scenario).unwrap();
            let mut arguments = scenario.get_arguments();
            let arg = arguments.find(|arg| arg.get_id() == flag).unwrap();
            arg.get_help().unwrap().to_string()
        };
        for (scenario, flag, default) in [
            ("connections", "users", "10000"),
            ("connections", "connect_rate", "2000"),
            ("connections", "require", "connected_percent>=100, alive_percent>=100, refusals==0"),
            ("connections", "late_after", "10ms"),
            ("matchmaking", "late_after", "100ms"),
            ("stress", "require", "none"),
            ("endurance", "confidence_percent", "99.9"),
        ] {
            let help = help(scenario, flag);
            assert!(help.ends_with(&format!(" [default: {default}]")), "{scenario}: {help}");
        }
    }

    #[test]
    fn a_flag_that_a_command_does_not_use_is_refused_and_not_in_its_help() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for line in [
            "switchboard-load agent --listen 127.0.0.1:0 --compare old.json",
            "switchboard-load --time-scale 2 agent --listen 127.0.0.1:0",
            "switchboard-load merge --report out one two --agents 127.0.0.1:7700",
            "switchboard-load report one --no-preflight",
            "switchboard-load compare one two --metrics-listen 127.0.0.1:9200",
        ] {
            let error = parse_arguments(words(line).into_iter()).map(|_| ()).unwrap_err();
            let CliError::Arguments(error) = error else { panic!("{line}") };
            assert!(one_line(&error).contains("has no effect on the command"), "{line}: {error}");
        }
        for line in [
            "switchboard-load agent --listen 127.0.0.1:0 --secret-file secret",
            "switchboard-load --fail-on-regression 10% compare one two",
            "switchboard-load merge --report out one two --compare old.json",
            "switchboard-load calls --agents 127.0.0.1:7700 --secret-file secret --no-preflight",
        ] {
            assert!(parse_arguments(words(line).into_iter()).is_ok(), "{line}");
        }
        let (arguments, _) = parse_arguments(
            words("switchboard-load --secret-file f agent --listen [::]:0").into_iter(),
        )
        .map_err(|_| "refused")
        .unwrap();
        assert_eq!(arguments.secret_file, Some(PathBuf::from("f")));
        let mut command = described();
        command.build();
        let help = command.find_subcommand_mut("agent").unwrap().render_long_help().to_string();
        assert!(help.contains("--secret-file") && !help.contains("--time-scale"), "{help}");
    }
}
