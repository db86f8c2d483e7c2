//! The checkpoint of an endurance run: a file in the report directory that exists while the run is
//! incomplete, so that the run can be resumed.

use super::runner::ScenarioResults;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// Name of the checkpoint in the report directory.
const FILE_NAME: &str = "resume.json";

/// What the user requested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestedRun {
    /// The scenario as TOML, before its durations were scaled.
    pub configuration: String,
    /// Factor of `--time-scale`.
    pub time_scale: f64,
}

/// The data that is needed to resume an endurance run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The request. A run can only be resumed with the same one.
    #[serde(alias = "order")]
    pub requested: RequestedRun,
    /// The load of the endurance run.
    pub messages_per_s: f64,
    /// Number of the run in the interval log.
    pub run: u32,
    /// The results of the runs before it.
    pub results: ScenarioResults,
}

impl Checkpoint {
    /// Reads the checkpoint in `directory`.
    ///
    /// # Errors
    /// One line, if there is no checkpoint or it cannot be read.
    pub fn read(directory: &Path) -> io::Result<Checkpoint> {
        let path = directory.join(FILE_NAME);
        let text = std::fs::read(&path).map_err(|error| {
            io::Error::other(format!(
                "no interrupted endurance run in this report directory: {}: {error}",
                path.display()
            ))
        })?;
        serde_json::from_slice(&text)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    }

    /// Writes the checkpoint to `directory`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        std::fs::write(directory.join(FILE_NAME), text)
    }

    /// Removes the checkpoint, if there is one.
    ///
    /// # Errors
    /// When the file exists and cannot be removed.
    pub fn clear(directory: &Path) -> io::Result<()> {
        match std::fs::remove_file(directory.join(FILE_NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
