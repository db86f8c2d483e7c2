//! Scenario files: the built-in ones, and what is said about a wrong one. Pure.

use super::{PartialScenario, Scenario};
use std::collections::BTreeMap;
use std::fmt;

/// The built-in scenarios: name and TOML text, in the order in which they are listed.
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

/// What is wrong with a scenario file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioFileError {
    /// Line, counted from 1; 0 if the fault is in no one place.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong there, in one line.
    pub what: String,
}

impl ScenarioFileError {
    fn new(text: &str, error: &toml::de::Error) -> Self {
        let (line, column) = error.span().map_or((0, 0), |span| place(text, span.start));
        ScenarioFileError { line, column, what: error.message().replace('\n', " ") }
    }
}

impl fmt::Display for ScenarioFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.what),
            _ => write!(f, "line {}, column {}: {}", self.line, self.column, self.what),
        }
    }
}

/// Line and column of a byte offset, both counted from 1.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Line and column of a key's value in a scenario file, both counted from 1.
pub fn place_of(key: &str, text: &str) -> Option<(usize, usize)> {
    let keys: BTreeMap<String, toml::Spanned<toml::Value>> = toml::from_str(text).ok()?;
    Some(place(text, keys.get(key)?.span().start))
}

/// Reads a scenario file. An unknown key is an error that names it.
pub fn parse_file(text: &str) -> Result<PartialScenario, ScenarioFileError> {
    #[derive(serde::Deserialize)]
    struct ScenarioHeader {
        scenario: toml::Spanned<String>,
    }
    let kind: ScenarioHeader =
        toml::from_str(text).map_err(|error| ScenarioFileError::new(text, &error))?;
    match PartialScenario::from_toml(kind.scenario.get_ref(), text) {
        Some(request) => request.map_err(|error| ScenarioFileError::new(text, &error)),
        None => {
            let (line, column) = place(text, kind.scenario.span().start);
            let name = kind.scenario.get_ref();
            let known = Scenario::KINDS.join("`, `");
            let what = format!("unknown scenario `{name}`, expected one of `{known}`");
            Err(ScenarioFileError { line, column, what })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_key_is_named_with_its_place() {
        let text = "scenario = \"connections\"\n\n  usres = 5\n";
        let error = parse_file(text).unwrap_err();
        assert_eq!((error.line, error.column), (3, 3));
        assert!(error.what.contains("`usres`") && error.what.contains("`users`"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_named_with_its_place() {
        let text = "scenario = \"connections\"\nhold = \"soon\"\n";
        let error = parse_file(text).unwrap_err();
        assert_eq!((error.line, error.column), (2, 8));
        assert!(error.what.contains("`soon`"), "{error}");
    }

    #[test]
    fn a_wrong_or_missing_kind_is_named() {
        let error = parse_file("scenario = \"chaos\"\n").unwrap_err();
        assert_eq!((error.line, error.column), (1, 12));
        assert!(error.what.contains("`chaos`") && error.what.contains("endurance"), "{error}");
        assert!(parse_file("users = 5\n").unwrap_err().what.contains("scenario"));
        assert!(parse_file("scenario = \n").unwrap_err().line == 1);
    }
}
