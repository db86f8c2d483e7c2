//! What can be wrong with a set of arguments, each as one line that says what to change. Pure.

use super::{DescriptorTables, HumanDuration};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Arguments that contradict each other, the machine, or sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The same address twice in `--listen`.
    ListenTwice {
        /// Which.
        address: SocketAddr,
    },
    /// The same address twice in `--admin-listen`.
    AdminListenTwice {
        /// Which.
        address: SocketAddr,
    },
    /// The same address in `--admin-listen` and in `--listen`.
    AdminListensPublicly {
        /// Which.
        address: SocketAddr,
    },
    /// A number outside its bounds.
    OutOfBounds {
        /// The flag, with its dashes.
        flag: &'static str,
        /// What it was given.
        given: u64,
        /// The least it takes; for some flags 0 has a meaning beside the bounds.
        least: u64,
        /// The most it takes.
        most: u64,
    },
    /// A duration outside its bounds.
    TimeOutOfBounds {
        /// The flag, with its dashes.
        flag: &'static str,
        /// What it was given.
        given: Duration,
        /// The least it takes.
        least: Duration,
        /// The most it takes.
        most: Duration,
    },
    /// More connections from one address than in all.
    AddressLimitAboveAll {
        /// `--max-connections-per-address`.
        per_address: u32,
        /// The limit in all.
        in_all: u32,
    },
    /// A backlog that cannot hold one largest message.
    UnsentBelowMessage {
        /// `--max-unsent-bytes`.
        unsent_bytes: usize,
        /// The least that `--max-message-bytes` allows.
        least_bytes: usize,
    },
    /// A client would be closed before it was ever pinged.
    SilenceWithinPing {
        /// `--silence-limit`.
        silence_limit: Duration,
        /// `--ping-interval`.
        ping_interval: Duration,
    },
    /// A TURN server that shares a secret, without the secret, or the other way round.
    HalfATurnServer,
    /// A resume window other than zero.
    ResumeWindow {
        /// `--resume-window`.
        given: Duration,
    },
    /// A queue name outside the rule.
    QueueName {
        /// The name.
        name: String,
    },
    /// The same queue twice in `--stats-queue`.
    QueueTwice {
        /// The name.
        name: String,
    },
    /// Steering by CPU where shards have no CPU each.
    SteerWithoutCpus {
        /// Whether shards are pinned at all.
        pin: bool,
        /// How many there are.
        shards: usize,
        /// CPUs there are for them.
        cpus: usize,
    },
    /// Shards cannot have descriptor tables of their own.
    NoPrivateTables {
        /// The system call that is missing.
        call: &'static str,
    },
    /// More file descriptors are needed than the process may have.
    Descriptors {
        /// Connections asked for.
        connections: u32,
        /// Which tables there would be.
        tables: DescriptorTables,
        /// Descriptors that takes in each of them, the process's own included.
        needed: u64,
        /// Descriptors that a table may hold.
        allowed: u64,
        /// Connections these allow.
        possible: u64,
        /// The most that `allowed` can be raised to before the kernel's own limit has to be.
        ceiling: Option<u64>,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::ListenTwice { address } => {
                write!(f, "--listen names {address} twice")
            }
            ConfigError::AdminListenTwice { address } => {
                write!(f, "--admin-listen names {address} twice")
            }
            ConfigError::AdminListensPublicly { address } => {
                write!(f, "--admin-listen {address} is one of --listen: it wants a port of its own")
            }
            ConfigError::OutOfBounds { flag, given, least, most } => {
                write!(f, "{flag} must be from {least} to {most}, not {given}")
            }
            ConfigError::TimeOutOfBounds { flag, given, least, most } => {
                let (given, least, most) =
                    (HumanDuration(*given), HumanDuration(*least), HumanDuration(*most));
                write!(f, "{flag} must be from {least} to {most}, not {given}")
            }
            ConfigError::AddressLimitAboveAll { per_address, in_all } => write!(
                f,
                "--max-connections-per-address {per_address} is above the limit in all, which is \
                 {in_all}: lower it, or use 0 for no limit per address"
            ),
            ConfigError::UnsentBelowMessage { unsent_bytes, least_bytes } => write!(
                f,
                "--max-unsent-bytes {unsent_bytes} cannot hold one largest message with its \
                 header: raise it to {least_bytes} or lower --max-message-bytes"
            ),
            ConfigError::SilenceWithinPing { silence_limit, ping_interval } => write!(
                f,
                "--silence-limit {} must be longer than --ping-interval {}, or clients are \
                 closed before they are pinged",
                HumanDuration(*silence_limit),
                HumanDuration(*ping_interval)
            ),
            ConfigError::HalfATurnServer => {
                f.write_str("--turn-url and --turn-secret-file go together: give both or neither")
            }
            ConfigError::ResumeWindow { given } => write!(
                f,
                "--resume-window {}: this version cannot resume sessions, so only 0s is accepted",
                HumanDuration(*given)
            ),
            ConfigError::QueueName { name } => {
                write!(f, "--stats-queue {name:?} is no queue name: 1 to 64 of A-Z a-z 0-9 _ . : -")
            }
            ConfigError::QueueTwice { name } => write!(f, "--stats-queue names {name} twice"),
            ConfigError::SteerWithoutCpus { pin: false, .. } => {
                f.write_str("--steer cpu needs shards that stay on their CPUs: leave --no-pin out")
            }
            ConfigError::SteerWithoutCpus { pin: true, shards, cpus } => write!(
                f,
                "--steer cpu needs a CPU for each shard, and {shards} shards have {cpus}: use \
                 --shards {cpus} or less"
            ),
            ConfigError::NoPrivateTables { call } => write!(
                f,
                "--fd-tables private: {call} does not work here; it takes Linux 6.9 and no \
                 filter against it: use --fd-tables auto or shared"
            ),
            ConfigError::Descriptors {
                connections,
                tables,
                needed,
                allowed,
                possible,
                ceiling,
            } => {
                let place = match tables {
                    DescriptorTables::Shared => "",
                    DescriptorTables::Private { .. } => " in each shard's table",
                };
                write!(
                    f,
                    "{connections} connections need {needed} file descriptors{place} and this \
                     process may have {allowed}: run `"
                )?;
                if ceiling.is_some_and(|ceiling| *needed > ceiling) {
                    write!(f, "sudo sysctl -w fs.nr_open={needed} && ")?;
                }
                write!(
                    f,
                    "sudo prlimit --pid $$ --nofile={needed}:{needed}` in this shell first "
                )?;
                match possible {
                    0 => write!(
                        f,
                        "(in a systemd unit: LimitNOFILE={needed}), or use fewer --shards"
                    ),
                    _ => write!(
                        f,
                        "(in a systemd unit: LimitNOFILE={needed}), or use --max-connections \
                         {possible} or less"
                    ),
                }
            }
        }
    }
}

impl std::error::Error for ConfigError {}
