//! Environment variables: which of them are empty, which are unknown, and which flags have their
//! value from one.

use super::Arguments;
use clap::builder::{OsStr, Resettable};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory};
use std::ffi::OsString;
use std::fmt;

/// Begins the names of the server's variables.
const PREFIX: &str = "SWITCHBOARD_";

/// Variables of the scripts and tests of this repository.
const TOOL_VARIABLES: &[&str] = &[
    "SWITCHBOARD_BIN",
    "SWITCHBOARD_ENGINES",
    "SWITCHBOARD_SEED",
    "SWITCHBOARD_STEPS",
    "SWITCHBOARD_SHOTS",
];

/// Beginnings of the names of more of them, and of those that Kubernetes and Docker set for a
/// service or a container that is called `switchboard`.
const FOREIGN_PREFIXES: &[&str] = &[
    "SWITCHBOARD_LOAD_",
    "SWITCHBOARD_SIM_",
    "SWITCHBOARD_TEST_",
    "SWITCHBOARD_SERVICE_",
    "SWITCHBOARD_PORT_",
    "SWITCHBOARD_ENV_",
];

/// Least similarity (0 to 1) at which a known name is suggested for an unknown one.
const MIN_SIMILARITY: f64 = 0.5;

/// A flag whose value comes from its environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagFromEnvironment {
    /// The flag, with its dashes.
    flag: String,
    /// The variable.
    variable: String,
}

/// An environment variable that looks like one of the server's and belongs to no flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVariable {
    /// Its name.
    pub name: String,
    /// The most similar name of a variable that has an effect, if one is similar.
    pub nearest: Option<String>,
}

/// The variables of all flags.
fn known_variables() -> Vec<String> {
    let command = Arguments::command();
    let names = command.get_arguments().filter_map(Arg::get_env);
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Finds the unknown ones among environment variables and their values.
pub fn unknown_variables(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<UnknownVariable> {
    let known = known_variables();
    let mut unknown: Vec<UnknownVariable> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, value)| {
            // Kubernetes sets `SWITCHBOARD_PORT=tcp://10.0.0.1:8080`.
            let is_link = value.to_string_lossy().contains("://") && name == "SWITCHBOARD_PORT";
            name.starts_with(PREFIX)
                && !known.contains(name)
                && !TOOL_VARIABLES.contains(&&**name)
                && !FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                && !is_link
        })
        .map(|(name, _)| UnknownVariable { nearest: nearest(&name, &known), name })
        .collect();
    unknown.sort_by(|one, other| one.name.cmp(&other.name));
    unknown
}

fn nearest(name: &str, known: &[String]) -> Option<String> {
    let own = name.trim_start_matches(PREFIX);
    let similarity = |candidate: &String| {
        strsim::normalized_damerau_levenshtein(own, candidate.trim_start_matches(PREFIX))
    };
    let rated = known.iter().map(|candidate| (similarity(candidate), candidate));
    let best = rated.max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(rating, _)| *rating >= MIN_SIMILARITY).map(|(_, candidate)| candidate.clone())
}

/// The argument without its variable, if that is set to nothing, as templates of containers do: to
/// spaces, or, for a list, to separators without a value. The default applies then.
pub(super) fn without_empty_variable(arg: Arg) -> Arg {
    let is_list = matches!(arg.get_action(), ArgAction::Append);
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || (is_list && *byte == b',');
    let value = arg.get_env().and_then(std::env::var_os);
    match value.is_some_and(|value| value.as_encoded_bytes().iter().all(is_blank)) {
        true => arg.env(Resettable::<OsStr>::Reset),
        false => arg,
    }
}

/// The flags that have their value from the environment.
pub(super) fn flags_from_environment(matches: &ArgMatches) -> Vec<FlagFromEnvironment> {
    let command = Arguments::command();
    let is_from_environment =
        |arg: &&Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::EnvVariable);
    let from = command.get_arguments().filter(is_from_environment).filter_map(|arg| {
        let variable = arg.get_env()?.to_string_lossy().into_owned();
        Some(FlagFromEnvironment { flag: format!("--{}", arg.get_long()?), variable })
    });
    from.collect()
}

/// The variable that the invalid value of a flag came from. `flag` is written as clap shows it, like
/// `--close-timeout <DURATION>`; `words` are those of the command line.
pub(super) fn variable_of_flag(flag: &str, words: &[OsString]) -> Option<String> {
    let flag = flag.split([' ', '=']).next()?;
    let is_given = |word: &OsString| {
        let rest = word.to_str().and_then(|word| word.strip_prefix(flag));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    if words.iter().any(is_given) {
        return None;
    }
    let command = Arguments::command();
    let arg = command.get_arguments().find(|arg| arg.get_long() == flag.strip_prefix("--"))?;
    arg.get_env().map(|name| name.to_string_lossy().into_owned())
}

impl Arguments {
    /// The error in one line. If a flag in it has its value from the environment, the line begins
    /// with the variable, because that is what has to be changed.
    pub fn explain(&self, error: &impl fmt::Display) -> String {
        let text = error.to_string();
        let involved = self.from_environment.iter().filter(|from| names_flag(&text, &from.flag));
        let variables: Vec<&str> = involved.map(|from| &*from.variable).collect();
        match variables.is_empty() {
            true => text,
            false => format!("{}: {text}", variables.join(", ")),
        }
    }
}

/// Whether a text contains a flag, and not only one that begins with it.
fn names_flag(text: &str, flag: &str) -> bool {
    let mut found = text.match_indices(flag).map(|(at, _)| &text[at + flag.len()..]);
    found.any(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-'))
}
