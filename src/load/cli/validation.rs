//! Validation of a scenario before the first connection, and the position of an invalid value in
//! a scenario file.

use super::identity::client_identity;
use super::{CliError, usage_error};
use crate::load::engine::{ClientIdentity, SourceAddresses};
use crate::load::runner;
use crate::load::scenario::{
    InvalidValue, PartialScenario, Scenario, built_in, parse_file, value_position,
};
use crate::load::server_process::process_is_alive;
use crate::load::target::{PerformanceTarget, targets};
use crate::load::target_address::{AddressError, TargetAddress, parse_server_url, parse_stats_url};
use crate::load::units::StressDimension;
use std::path::{Path, PathBuf};

/// The parsed values of a valid scenario.
pub(super) struct ValidatedScenario {
    /// Targets of every run.
    pub(super) targets: Vec<PerformanceTarget>,
    /// Those of them that the user asked for in addition to the built-in scenario's.
    pub(super) required: Vec<PerformanceTarget>,
    pub(super) server: TargetAddress,
    pub(super) stats: Option<TargetAddress>,
    pub(super) sources: SourceAddresses,
    pub(super) identity: ClientIdentity,
}

/// Why a scenario cannot be run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ValidationError {
    /// A value is invalid.
    InvalidValue(InvalidValue),
    /// The host name of the server cannot be resolved; the error in one line.
    NoSuchHost(String),
}

impl From<InvalidValue> for ValidationError {
    fn from(invalid: InvalidValue) -> ValidationError {
        ValidationError::InvalidValue(invalid)
    }
}

/// Checks every value of a scenario. `drives_users` is whether this process opens the connections:
/// otherwise agents check whether the source addresses are those of their machines.
pub(super) fn validate(
    scenario: &Scenario,
    drives_users: bool,
) -> Result<ValidatedScenario, ValidationError> {
    let common = scenario.common();
    let invalid = |key| move |reason| InvalidValue::new(key, reason);
    targets(&common.targets, &[]).map_err(invalid("targets"))?;
    let all_targets = targets(&common.targets, &common.require).map_err(invalid("require"))?;
    scenario.check()?;
    if common.server_pid != 0 && !process_is_alive(common.server_pid) {
        let reason = format!("no process {} runs on this machine", common.server_pid);
        return Err(InvalidValue::new("server_pid", reason).into());
    }
    let identity = client_identity(common)?;
    let mut server = parse_server_url(&common.url).map_err(|error| match error {
        AddressError::Malformed(reason) => InvalidValue::new("url", reason).into(),
        AddressError::NoSuchHost(_) => {
            ValidationError::NoSuchHost(format!("{} cannot be reached: {error}", common.url))
        }
    })?;
    let connections = match scenario {
        Scenario::Stress(s) if s.raise == StressDimension::Connections => s.ceiling as u64,
        _ => runner::max_connections(scenario),
    };
    let sources = SourceAddresses::choose(&common.source, &mut server, connections)
        .map_err(invalid("source"))?;
    let stats = parse_stats_url(&common.stats_url, &server).map_err(invalid("stats_url"))?;
    if let Some(address) = sources.first_unbindable().filter(|_| drives_users) {
        let reason = format!("{address} is not an address of this machine");
        return Err(InvalidValue::new("source", reason).into());
    }
    let required = required_targets(scenario);
    Ok(ValidatedScenario { targets: all_targets, required, server, stats, sources, identity })
}

/// The targets of `require` that the built-in scenario does not have. The built-in ones apply to
/// every form of run and may apply to none; one that the user adds must apply to at least one run.
fn required_targets(scenario: &Scenario) -> Vec<PerformanceTarget> {
    let built_in = built_in(scenario.name()).and_then(|text| parse_file(text).ok());
    let built_in =
        built_in.map(|values| values.resolve().common().require.clone()).unwrap_or_default();
    let added = scenario.common().require.iter().filter(|target| !built_in.contains(target));
    added.filter_map(|target| target.parse().ok()).collect()
}

/// The content of a scenario file.
pub(super) struct ScenarioFile {
    path: PathBuf,
    text: String,
    pub(super) values: PartialScenario,
}

impl ScenarioFile {
    /// Reads and parses the file.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let error = |reason: String| usage_error(format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| error(e.to_string()))?;
        let values = parse_file(&text).map_err(|e| error(e.to_string()))?;
        Ok(ScenarioFile { path: path.to_owned(), text, values })
    }

    /// The error as text, with its position if the value comes from the file and not from a flag.
    pub(super) fn with_position(&self, invalid: &InvalidValue, drives_users: bool) -> String {
        let without_flags = validate(&self.values.clone().resolve(), drives_users).err();
        let position = value_position(invalid.key, &self.text)
            .filter(|_| without_flags == Some(ValidationError::InvalidValue(invalid.clone())));
        match position {
            Some((line, column)) => {
                format!("{}: line {line}, column {column}: {invalid}", self.path.display())
            }
            None => invalid.to_string(),
        }
    }
}
