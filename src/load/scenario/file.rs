//! Scenario files: the built-in ones, parsing, and the position of errors. Pure.

use super::{PartialScenario, Scenario};
use crate::load::suggestion::did_you_mean;
use std::collections::BTreeMap;
use std::fmt;

/// The built-in scenarios: name and TOML text, in the order of `--list`.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("connections", include_str!("builtin/connections.toml")),
    ("matchmaking", include_str!("builtin/matchmaking.toml")),
    ("signaling", include_str!("builtin/signaling.toml")),
    ("calls", include_str!("builtin/calls.toml")),
    ("http", include_str!("builtin/http.toml")),
    ("stress", include_str!("builtin/stress.toml")),
    ("endurance", include_str!("builtin/endurance.toml")),
    ("plan", include_str!("builtin/plan.toml")),
];

/// The TOML text of a built-in scenario.
pub fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// A syntax error or an unknown key in a scenario file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioFileError {
    /// Line, counted from 1; 0 if the error has no position, for example a missing key.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The error in one line.
    pub reason: String,
}

impl ScenarioFileError {
    fn new(text: &str, error: &toml::de::Error) -> Self {
        let (line, column) = error.span().map_or((0, 0), |span| line_and_column(text, span.start));
        let reason = with_suggestion(&error.message().replace('\n', " "));
        ScenarioFileError { line, column, reason }
    }
}

/// The message of an unknown key with the key that it was probably meant to be. The message names
/// the unknown key first and the known ones after it, each in backquotes.
fn with_suggestion(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let similar = match names.next().filter(|_| message.starts_with("unknown field")) {
        Some(unknown) => did_you_mean(unknown, names),
        None => String::new(),
    };
    format!("{message}{similar}")
}

impl fmt::Display for ScenarioFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.reason),
            _ => write!(f, "line {}, column {}: {}", self.line, self.column, self.reason),
        }
    }
}

/// Line and column of a byte offset, both counted from 1.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Line and column of the value of `key` in a scenario file, both counted from 1.
pub fn value_position(key: &str, text: &str) -> Option<(usize, usize)> {
    let keys: BTreeMap<String, toml::Spanned<toml::Value>> = toml::from_str(text).ok()?;
    Some(line_and_column(text, keys.get(key)?.span().start))
}

/// Reads a scenario file.
///
/// # Errors
/// A syntax error, an unknown key or a value of the wrong type, with its position.
pub fn parse_file(text: &str) -> Result<PartialScenario, ScenarioFileError> {
    #[derive(serde::Deserialize)]
    struct ScenarioHeader {
        scenario: toml::Spanned<String>,
    }
    let header: ScenarioHeader =
        toml::from_str(text).map_err(|error| ScenarioFileError::new(text, &error))?;
    match PartialScenario::from_toml(header.scenario.get_ref(), text) {
        Some(request) => request.map_err(|error| ScenarioFileError::new(text, &error)),
        None => {
            let (line, column) = line_and_column(text, header.scenario.span().start);
            let name = header.scenario.get_ref();
            let known = Scenario::NAMES.join("`, `");
            let similar = did_you_mean(name, Scenario::NAMES.iter().copied());
            let reason = format!("unknown scenario `{name}`, expected one of `{known}`{similar}");
            Err(ScenarioFileError { line, column, reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_an_unknown_key_with_its_position() {
        let text = "scenario = \"connections\"\n\n  usres = 5\n";
        let error = parse_file(text).unwrap_err();
        assert_eq!((error.line, error.column), (3, 3));
        assert!(error.reason.contains("`usres`"), "{error}");
        assert!(error.reason.ends_with("; did you mean `users`?"), "{error}");
    }

    #[test]
    fn reports_an_invalid_value_with_its_position() {
        let text = "scenario = \"connections\"\nhold = \"soon\"\n";
        let error = parse_file(text).unwrap_err();
        assert_eq!((error.line, error.column), (2, 8));
        assert!(error.reason.contains("`soon`"), "{error}");
    }

    #[test]
    fn reports_an_unknown_or_missing_scenario() {
        let error = parse_file("scenario = \"chaos\"\n").unwrap_err();
        assert_eq!((error.line, error.column), (1, 12));
        assert!(error.reason.contains("`chaos`") && error.reason.contains("endurance"), "{error}");
        let error = parse_file("scenario = \"signalling\"\n").unwrap_err();
        assert!(error.reason.ends_with("; did you mean `signaling`?"), "{error}");
        assert!(parse_file("users = 5\n").unwrap_err().reason.contains("scenario"));
        assert!(parse_file("scenario = \n").unwrap_err().line == 1);
    }
}
