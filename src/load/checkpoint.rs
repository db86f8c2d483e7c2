//! What an endurance run leaves in the report directory as long as it is not over, so that it
//! can go on where it was.

use super::runner::ScenarioResults;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// Name of the checkpoint in the report directory.
const FILE_NAME: &str = "resume.json";

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestedRun {
    /// The scenario as TOML, with its times as they were given.
    pub configuration: String,
    /// What the times of load are multiplied by.
    pub time_scale: f64,
}

/// What an interrupted endurance run needs to go on.
#[derive(Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// What was asked for: what goes on must be the same run.
    pub order: RequestedRun,
    /// The load.
    pub messages_per_s: f64,
    /// The run's number in the interval log.
    pub run: u32,
    /// What was found out before it began.
    pub results: ScenarioResults,
}

impl Checkpoint {
    /// Reads what an interrupted run has left in `directory`.
    ///
    /// # Errors
    /// One line about what is missing.
    pub fn read(directory: &Path) -> io::Result<Checkpoint> {
        let path = directory.join(FILE_NAME);
        let text = std::fs::read(&path).map_err(|error| {
            io::Error::other(format!(
                "no endurance run was interrupted in this report directory: {}: {error}",
                path.display()
            ))
        })?;
        serde_json::from_slice(&text)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    }

    /// Leaves this in `directory`.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        std::fs::write(directory.join(FILE_NAME), text)
    }

    /// Nothing is left to go on with.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn clear(directory: &Path) -> io::Result<()> {
        match std::fs::remove_file(directory.join(FILE_NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
