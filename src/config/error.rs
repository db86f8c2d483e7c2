//! What can be wrong with a set of arguments. Each error is one line that says what to change. Pure.

use super::{DescriptorTables, HumanDuration};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Arguments that are out of range, contradict each other, or exceed what the machine allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// `--listen` has an address twice.
    DuplicateListenAddress {
        /// The address.
        address: SocketAddr,
    },
    /// `--admin-listen` has an address twice.
    DuplicateAdminAddress {
        /// The address.
        address: SocketAddr,
    },
    /// `--admin-listen` and `--listen` have the same address.
    AdminAddressIsPublic {
        /// The address.
        address: SocketAddr,
    },
    /// A number or a duration outside its bounds.
    OutOfBounds {
        /// The flag, with its dashes.
        flag: &'static str,
        /// The value it was given.
        given: String,
        /// The values it takes.
        allowed: String,
    },
    /// A flag with more values than it takes.
    TooManyValues {
        /// The flag, with its dashes.
        flag: &'static str,
        /// How many values it was given.
        given: usize,
        /// How many it takes.
        max: usize,
    },
    /// The limit for one address is above the limit for all.
    AddressLimitAboveTotal {
        /// `--max-connections-per-address`.
        per_address: u32,
        /// `--max-connections`, given or derived.
        total: u32,
    },
    /// The unsent backlog cannot hold one message of the maximum size.
    BacklogBelowMessage {
        /// `--max-unsent-bytes`.
        unsent_bytes: usize,
        /// The minimum for the given `--max-message-bytes`.
        min_bytes: usize,
    },
    /// A client would be closed before it was pinged.
    SilenceLimitBelowPing {
        /// `--silence-limit`.
        silence_limit: Duration,
        /// `--ping-interval`.
        ping_interval: Duration,
    },
    /// One of `--turn-url` and `--turn-secret-file` without the other.
    IncompleteTurnConfig,
    /// `--relay-only` without a TURN server in `--turn-url` or `--ice-server`.
    RelayOnlyWithoutTurn,
    /// A resume window other than zero.
    ResumeUnsupported {
        /// `--resume-window`.
        given: Duration,
    },
    /// A value of `--stats-queue` that is not a queue name.
    InvalidQueueName {
        /// The value.
        name: String,
    },
    /// `--stats-queue` has a queue twice.
    DuplicateStatsQueue {
        /// The name.
        name: String,
    },
    /// `--steer cpu` without a CPU for each shard.
    SteeringWithoutCpus {
        /// Whether shards are pinned at all.
        pin: bool,
        /// Number of shards.
        shards: usize,
        /// Number of CPUs for them.
        cpus: usize,
    },
    /// The kernel does not support private descriptor tables.
    PrivateTablesUnsupported {
        /// The system call that is missing.
        call: &'static str,
    },
    /// The connections need more file descriptors than the process may have.
    TooFewDescriptors {
        /// Connections asked for.
        connections: u32,
        /// The descriptor tables that the server would have.
        tables: DescriptorTables,
        /// Descriptors that each table needs, including those of the process itself.
        needed: u64,
        /// Descriptors that a table may hold.
        allowed: u64,
        /// Connections for which `allowed` is enough.
        possible: u64,
        /// `fs.nr_open`: the highest value for `allowed`, if it is known.
        ceiling: Option<u64>,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::DuplicateListenAddress { address } => {
                write!(f, "--listen {address} is given twice: remove one")
            }
            ConfigError::DuplicateAdminAddress { address } => {
                write!(f, "--admin-listen {address} is given twice: remove one")
            }
            ConfigError::AdminAddressIsPublic { address } => write!(
                f,
                "--admin-listen {address} is also an address of --listen: give it another port"
            ),
            ConfigError::OutOfBounds { flag, given, allowed } => {
                write!(f, "{flag} {given} is out of range: it must be {allowed}")
            }
            ConfigError::TooManyValues { flag, given, max } => {
                write!(f, "{flag} has {given} values: it takes at most {max}")
            }
            ConfigError::AddressLimitAboveTotal { per_address, total } => write!(
                f,
                "--max-connections-per-address {per_address} is above the limit for all \
                 connections, {total}: lower it, or use 0 for no limit per address"
            ),
            ConfigError::BacklogBelowMessage { unsent_bytes, min_bytes } => write!(
                f,
                "--max-unsent-bytes {unsent_bytes} cannot hold one message of the maximum size: \
                 raise it to {min_bytes} or lower --max-message-bytes"
            ),
            ConfigError::SilenceLimitBelowPing { silence_limit, ping_interval } => write!(
                f,
                "--silence-limit {} must be longer than --ping-interval {}: otherwise clients are \
                 closed before they are pinged",
                HumanDuration(*silence_limit),
                HumanDuration(*ping_interval)
            ),
            ConfigError::IncompleteTurnConfig => f.write_str(
                "--turn-url and --turn-secret-file require each other: give both or neither",
            ),
            ConfigError::RelayOnlyWithoutTurn => f.write_str(
                "--relay-only needs a TURN server, because without one no call can connect: add \
                 --turn-url with --turn-secret-file, or --ice-server turn:…",
            ),
            ConfigError::ResumeUnsupported { given } => write!(
                f,
                "--resume-window {}: this version cannot resume sessions, so only 0s is accepted",
                HumanDuration(*given)
            ),
            ConfigError::InvalidQueueName { name } => write!(
                f,
                "--stats-queue {name:?} is not a queue name: use 1 to 64 of A-Z a-z 0-9 _ . : -"
            ),
            ConfigError::DuplicateStatsQueue { name } => {
                write!(f, "--stats-queue {name} is given twice: remove one")
            }
            ConfigError::SteeringWithoutCpus { pin: false, .. } => f.write_str(
                "--steer cpu needs pinned shards: leave --no-pin out, and set no CPU quota",
            ),
            ConfigError::SteeringWithoutCpus { pin: true, shards, cpus } => write!(
                f,
                "--steer cpu needs a CPU for each shard, but {shards} shards have {cpus}: use \
                 --shards {cpus} or less"
            ),
            ConfigError::PrivateTablesUnsupported { call } => write!(
                f,
                "--fd-tables private: {call} does not work here; it needs Linux 6.9 and no \
                 system call filter that forbids it: use --fd-tables auto or shared"
            ),
            ConfigError::TooFewDescriptors { .. } => self.fmt_too_few_descriptors(f),
        }
    }
}

impl ConfigError {
    fn fmt_too_few_descriptors(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConfigError::TooFewDescriptors {
            connections,
            tables,
            needed,
            allowed,
            possible,
            ceiling,
        } = self
        else {
            return Ok(());
        };
        let table = match tables {
            DescriptorTables::Shared => "",
            DescriptorTables::Private { .. } => " in each shard's table",
        };
        write!(
            f,
            "{connections} connections need {needed} file descriptors{table}, but this process \
             may have {allowed}: run `"
        )?;
        if ceiling.is_some_and(|ceiling| *needed > ceiling) {
            write!(f, "sudo sysctl -w fs.nr_open={needed} && ")?;
        }
        write!(f, "sudo prlimit --pid $$ --nofile={needed}:{needed}` in this shell first ")?;
        write!(f, "(in a systemd unit: LimitNOFILE={needed}), or use ")?;
        match possible {
            0 => write!(f, "fewer --shards"),
            _ => write!(f, "--max-connections {possible} or less"),
        }
    }
}

impl std::error::Error for ConfigError {}
