//! The flags, each with its environment variable, as clap reads them: one module for each heading of
//! `--help`. Single values are parsed here; [`super::validate`] checks ranges and relations.

mod access;
mod ice;
mod limits;
mod listening;
mod monitoring;
mod timeouts;
mod values;

pub use access::AccessArguments;
pub use ice::IceArguments;
pub use limits::LimitArguments;
pub use listening::{ConnectionSteering, ListeningArguments};
pub use monitoring::{LogFormat, MonitoringArguments};
pub use timeouts::TimeoutArguments;
pub use values::HumanDuration;

use super::bounds::bounds_text;
use crate::ice::IceServer;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, CommandFactory, FromArgMatches, Parser};
use std::ffi::OsString;

/// Matches users in pairs over WebSocket and relays their WebRTC signalling.
///
/// Every flag can also be set by the environment variable shown with it; the flag has precedence.
/// Durations are written like 800ms, 5s, 1m or "1m 30s". Sizes are in bytes.
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
        let command = Arguments::described();
        let matches = command.try_get_matches_from(words);
        matches.and_then(|matches| Arguments::from_arg_matches(&matches)).map_err(|error| {
            let text = without_secrets(&error).unwrap_or_else(|| error.to_string());
            if error.use_stderr() {
                EarlyExit::UsageError(one_line(&text))
            } else {
                EarlyExit::Help(text)
            }
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

/// The message to print in place of clap's, if clap's would contain a password.
fn without_secrets(error: &clap::Error) -> Option<String> {
    let of = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(_) | None => None,
    };
    of(ContextKind::InvalidArg).filter(|name| name.starts_with("--ice-server"))?;
    let value = of(ContextKind::InvalidValue)?;
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
