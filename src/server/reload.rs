//! The settings that come from files, which SIGHUP reads again. The main thread owns where they come
//! from; each shard gets what was read.

use super::ServerError;
use crate::commands::ReloadedSettings;
use crate::config::{Config, TurnConfig};
use crate::ice::{IceServer, IceServers, TimeLimitedTurn, TurnSecret};

/// Where the settings come from.
#[derive(Clone, Debug)]
pub(super) struct SettingSources {
    ice_servers: Vec<IceServer>,
    turn: Option<TurnConfig>,
}

/// Reads the files that `config` names, as a server does when it starts, and drops what they
/// contain.
///
/// # Errors
/// If a file cannot be read or used.
pub fn check_files(config: &Config) -> Result<(), ServerError> {
    SettingSources::new(config).read().map(|_settings| ())
}

impl SettingSources {
    pub(super) fn new(config: &Config) -> Self {
        SettingSources { ice_servers: config.ice_servers.clone(), turn: config.turn.clone() }
    }

    /// The flags that name files.
    pub(super) fn flags(&self) -> Vec<&'static str> {
        self.turn.iter().map(|_turn| "--turn-secret-file").collect()
    }

    /// Reads the files.
    ///
    /// # Errors
    /// The first file that cannot be read or used.
    pub(super) fn read(&self) -> Result<ReloadedSettings, ServerError> {
        let turn = self.turn.as_ref().map(time_limited_turn).transpose()?;
        Ok(ReloadedSettings { ice_servers: IceServers::new(&self.ice_servers, turn) })
    }
}

/// The TURN servers that share a secret with this process, with that secret.
fn time_limited_turn(turn: &TurnConfig) -> Result<TimeLimitedTurn, ServerError> {
    let path = || turn.secret_file.clone();
    let contents = std::fs::read(&turn.secret_file)
        .map_err(|error| ServerError::SecretFile { path: path(), error })?;
    let secret = TurnSecret::from_file_contents(&contents)
        .map_err(|error| ServerError::Secret { path: path(), error })?;
    TimeLimitedTurn::new(turn.urls.clone(), secret, turn.lifetimes).map_err(ServerError::Ice)
}
