//! The flags, each with its environment variable, as clap reads them: one module for each heading of
//! `--help`. Single values are parsed here; [`super::validate`] checks ranges and relations.

mod access;
mod environment;
mod ice;
mod limits;
mod listening;
mod monitoring;
mod timeouts;
mod values;

pub use access::AccessArguments;
pub use environment::{FlagFromEnvironment, UnknownVariable, unknown_variables};
pub use ice::IceArguments;
pub use limits::LimitArguments;
pub use listening::{ConnectionSteering, ListeningArguments};
pub use monitoring::{LogFormat, MonitoringArguments};
pub use timeouts::TimeoutArguments;
pub use values::{HumanDuration, ValueList, all_values};

use super::bounds::bounds_text;
use crate::ice::IceServer;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, CommandFactory, FromArgMatches, Parser};
use environment::{flags_from_environment, variable_of_flag, without_empty_variable};
use std::ffi::OsString;

/// Matches users in pairs over WebSocket and relays their WebRTC signalling.
///
/// Every flag can also be set by the environment variable shown with it; the flag has precedence, and
/// an empty variable is the same as none. Spaces around a value and empty items of a list are ignored.
/// Durations are written like 800ms, 5s, 1m or "1m 30s". Sizes
/// are in bytes; k, M and G stand for 1024, 1024² and 1024³ bytes, as in 64k or 1M.
#[derive(Clone, Debug, Parser)]
#[command(name = "switchboard", version, max_term_width = 100)]
pub struct Arguments {
    /// Where the server listens, and its threads.
    #[command(flatten)]
    pub listening: ListeningArguments,
    /// Which pages and proxies may connect.
    #[command(flatten)]
    pub access: AccessArguments,
    /// Limits on connections, messages and memory.
    #[command(flatten)]
    pub limits: LimitArguments,
    /// Time limits.
    #[command(flatten)]
    pub timeouts: TimeoutArguments,
    /// STUN and TURN servers for the clients.
    #[command(flatten)]
    pub ice: IceArguments,
    /// Figures, log and the check of the machine.
    #[command(flatten)]
    pub monitoring: MonitoringArguments,
    /// The flags that have their value from the environment.
    #[arg(skip)]
    pub from_environment: Vec<FlagFromEnvironment>,
}

/// Why the program ends before it has started a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EarlyExit {
    /// Help or the version was asked for: this text goes to standard output, the exit status is 0.
    Help(String),
    /// The arguments are wrong: this line goes to standard error.
    UsageError(String),
}

impl Arguments {
    /// Reads the program's name and its arguments, and the environment for flags that are not given.
    ///
    /// # Errors
    /// See [`EarlyExit`].
    pub fn read<I>(words: I) -> Result<Self, EarlyExit>
    where
        I: IntoIterator,
        I::Item: Into<OsString> + Clone,
    {
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        let command = Arguments::described().mut_args(without_empty_variable);
        let matches = command.try_get_matches_from(&words);
        let arguments = matches.and_then(|matches| {
            let arguments = Arguments::from_arg_matches(&matches)?;
            Ok(Arguments { from_environment: flags_from_environment(&matches), ..arguments })
        });
        arguments.map_err(|error| match error.use_stderr() {
            true => EarlyExit::UsageError(usage_error(&error, &words)),
            false => EarlyExit::Help(error.to_string()),
        })
    }
}

impl Arguments {
    /// The program's name, flags and help, for the parser and for the manual page.
    pub fn described() -> Command {
        Arguments::command().mut_args(with_range)
    }
}

/// Adds the range of a flag, if it has one, to its long help.
fn with_range(arg: Arg) -> Arg {
    let bounds = arg.get_long().and_then(|long| bounds_text(&format!("--{long}")));
    match (bounds, arg.get_long_help().or(arg.get_help())) {
        (Some(bounds), Some(help)) => {
            let help = format!("{help}\n\nRange: {bounds}");
            arg.long_help(help)
        }
        (None, _) | (_, None) => arg,
    }
}

/// Clap's error in one line, with the variable that the value came from, if it came from one, and
/// with the flag that was probably meant, if there is no such flag.
fn usage_error(error: &clap::Error, words: &[OsString]) -> String {
    let text = without_secrets(error).unwrap_or_else(|| one_line(&error.to_string()));
    let invalid = context(error, ContextKind::InvalidArg);
    let variable = invalid.and_then(|flag| variable_of_flag(flag, words));
    match (variable, context(error, ContextKind::SuggestedArg)) {
        (Some(variable), _) => format!("{variable}: {text}"),
        (None, Some(similar)) => format!("{text}; did you mean {similar}?"),
        (None, None) => text,
    }
}

/// A part of clap's error.
fn context(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        Some(_) | None => None,
    }
}

/// The message to print in place of clap's, if clap's would contain a password.
fn without_secrets(error: &clap::Error) -> Option<String> {
    context(error, ContextKind::InvalidArg).filter(|name| name.starts_with("--ice-server"))?;
    let value = context(error, ContextKind::InvalidValue)?;
    let reason = value.parse::<IceServer>().err()?;
    let url = value.split(',').next().unwrap_or_default();
    // A value without a scheme may be the rest of a password that contains a space.
    let is_url = ["stun:", "turn:", "turns:"].iter().any(|scheme| url.starts_with(scheme));
    Some(match is_url {
        true => format!("invalid value '{url}' for '--ice-server <URL>': {reason}"),
        false => "invalid value for '--ice-server <URL>': a value must begin with stun:, turn: or \
                  turns:, and spaces separate values"
            .to_owned(),
    })
}

/// Clap's message without its hints and usage, on one line.
fn one_line(text: &str) -> String {
    let first = text.split("\n\n").next().unwrap_or(text);
    let words: Vec<&str> = first.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}
