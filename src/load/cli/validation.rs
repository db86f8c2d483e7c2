//! What is made sure of before anything is connected to: every value of a scenario, and where in
//! a file a wrong one is.

use super::{CliError, usage};
use crate::load::engine::SourceAddresses;
use crate::load::scenario::{
    InvalidValue, PartialScenario, Scenario, built_in, parse_file, place_of,
};
use crate::load::server_monitor::process_is_alive;
use crate::load::target_address::{AddressError, TargetAddress, parse_server_url, parse_stats_url};
use crate::load::{runner, target};
use std::path::{Path, PathBuf};

/// What the words of a scenario mean.
pub(super) struct ValidatedScenario {
    pub(super) goals: Vec<target::PerformanceTarget>,
    /// Those of them that are not the scenario's own, but were asked for one by one.
    pub(super) asked: Vec<target::PerformanceTarget>,
    pub(super) place: TargetAddress,
    pub(super) stats: Option<TargetAddress>,
    pub(super) sources: SourceAddresses,
}

/// Why a scenario cannot be carried out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ValidationError {
    /// A value is wrong.
    InvalidValue(InvalidValue),
    /// The server's host has no address; in a line.
    NoSuchHost(String),
}

impl From<InvalidValue> for ValidationError {
    fn from(wrong: InvalidValue) -> ValidationError {
        ValidationError::InvalidValue(wrong)
    }
}

/// Makes sure of every value that a scenario has.
pub(super) fn validate(scenario: &Scenario) -> Result<ValidatedScenario, ValidationError> {
    let common = scenario.common();
    let wrong = |key| move |what| InvalidValue::new(key, what);
    target::targets(&common.targets, &[]).map_err(wrong("targets"))?;
    let goals = target::targets(&common.targets, &common.require).map_err(wrong("require"))?;
    scenario.check()?;
    if common.server_pid != 0 && !process_is_alive(common.server_pid) {
        let what = format!("no process {} runs on this machine", common.server_pid);
        return Err(InvalidValue::new("server_pid", what).into());
    }
    let place = parse_server_url(&common.url).map_err(|nowhere| match nowhere {
        AddressError::Malformed(what) => InvalidValue::new("url", what).into(),
        AddressError::NoSuchHost(_) => {
            ValidationError::NoSuchHost(format!("{} cannot be reached: {nowhere}", common.url))
        }
    })?;
    let stats = parse_stats_url(&common.stats_url, &place).map_err(wrong("stats_url"))?;
    let wanted = match scenario {
        Scenario::Stress(s) if s.raise == crate::load::units::StressDimension::Connections => {
            s.ceiling as u64
        }
        _ => runner::most_connections(scenario),
    };
    let sources =
        SourceAddresses::parse(&common.source, place.address, wanted).map_err(wrong("source"))?;
    if let Some(stranger) = sources.first_unbindable() {
        let what = format!("{stranger} is no address of this machine");
        return Err(InvalidValue::new("source", what).into());
    }
    Ok(ValidatedScenario { goals, asked: asked(scenario), place, stats, sources })
}

/// The targets that are not among the built-in scenario's. Those are there for whatever a run
/// may be; who asks for one more wants to know.
fn asked(scenario: &Scenario) -> Vec<target::PerformanceTarget> {
    let own = built_in(scenario.kind()).and_then(|text| parse_file(text).ok());
    let own = own.map(|request| request.resolve().common().require.clone()).unwrap_or_default();
    let more = scenario.common().require.iter().filter(|target| !own.contains(target));
    more.filter_map(|target| target.parse().ok()).collect()
}

/// A scenario file as it was read.
pub(super) struct ScenarioFile {
    path: PathBuf,
    text: String,
    pub(super) request: PartialScenario,
}

impl ScenarioFile {
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let wrong = |what: String| usage(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let request = parse_file(&text).map_err(|error| wrong(error.to_string()))?;
        Ok(ScenarioFile { path: path.to_owned(), text, request })
    }

    /// What is wrong, and where in the file, if it was not a flag that said it.
    pub(super) fn parse_server_url(&self, wrong: &InvalidValue) -> String {
        let alone = validate(&self.request.clone().resolve()).err();
        let place = place_of(wrong.key, &self.text)
            .filter(|_| alone == Some(ValidationError::InvalidValue(wrong.clone())));
        match place {
            Some((line, column)) => {
                format!("{}: line {line}, column {column}: {wrong}", self.path.display())
            }
            None => wrong.to_string(),
        }
    }
}
