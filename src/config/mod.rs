//! Turns flags and environment variables into a validated [`Config`]. Used by the main thread at
//! start. Validation reads nothing: what it needs to know about the machine is passed in as
//! [`MachineCapabilities`], which [`MachineCapabilities::prepare`] reads.

mod arguments;
mod bounds;
mod descriptor_tables;
mod error;
mod reference;
mod validate;

pub use arguments::{
    AccessArguments, Arguments, ConnectionSteering, EarlyExit, FlagFromEnvironment, HumanDuration,
    IceArguments, LimitArguments, ListeningArguments, LogFormat, MonitoringArguments,
    TimeoutArguments, UnknownVariable, ValueList, all_values, unknown_variables,
};
pub use descriptor_tables::{
    DescriptorBudget, DescriptorTables, FdTables, private_table_overhead, shared_table_overhead,
};
pub use error::ConfigError;
pub use reference::flags_table;

use crate::access::AccessPolicy;
use crate::access::admission::ConnectionLimits;
use crate::ice::{CredentialLifetimes, IceServer, IceUrl};
use crate::limits;
use crate::sys::affinity::AllowedCpus;
use crate::sys::descriptor_tables::PrivateTableSupport;
use crate::sys::{descriptors, sockets};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// All settings of the server, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Addresses to listen on, without duplicates; at least one.
    pub listen: Vec<SocketAddr>,
    /// Number of shards, the threads that serve connections, 1 to [`limits::MAX_SHARDS`].
    pub shards: usize,
    /// Whether each shard is pinned to a CPU: not with `--no-pin`, and not under a CPU quota.
    pub pin: bool,
    /// The limits that the shards enforce.
    pub limits: Limits,
    /// How the kernel chooses the shard of a new connection.
    pub steering: ConnectionSteering,
    /// How long a shard polls the network card before it sleeps, in microseconds; `None` is off.
    pub busy_poll_micros: Option<NonZeroU32>,
    /// SO_SNDBUF of every connection; `None` leaves its size to the kernel.
    pub socket_send_buffer_bytes: Option<usize>,
    /// Whether `/echo` is served.
    pub echo: bool,
    /// Which pages, proxies and administrators may connect.
    pub access: AccessPolicy,
    /// STUN and TURN servers that every client is given.
    pub ice_servers: Vec<IceServer>,
    /// TURN servers for which each session gets its own time-limited credentials.
    pub turn: Option<TurnConfig>,
    /// Whether clients are asked to connect to each other through a TURN server only. If so, there
    /// is a TURN server.
    pub relay_only: bool,
    /// Queues that `/stats` and `/metrics` show by name, without duplicates.
    pub stats_queues: Vec<String>,
    /// Format of log lines.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_level: LevelFilter,
    /// Whether the end of each session is logged.
    pub session_log: SessionLog,
    /// File descriptors that each descriptor table may hold.
    pub descriptors_allowed: u64,
    /// Whether the shards share a descriptor table.
    pub descriptor_tables: DescriptorTables,
    /// Whether shards can have private descriptor tables on this machine.
    pub private_table_support: PrivateTableSupport,
}

/// Whether the end of each session is logged, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionLog {
    /// It is not logged.
    Off,
    /// It is logged without the address of the client.
    WithoutAddress,
    /// It is logged with the address of the client.
    WithAddress,
}

/// TURN servers that share a secret with this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnConfig {
    /// Their URLs; at least one.
    pub urls: Vec<IceUrl>,
    /// The file that holds the secret.
    pub secret_file: PathBuf,
    /// How long passwords are valid, within [`crate::limits::TURN_TTL_BOUNDS`].
    pub lifetimes: CredentialLifetimes,
}

/// The limits that a shard enforces. [`Limits::default`] has the defaults of the flags, with the
/// highest connection limit that is derived without `--max-connections`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of the process; at least 1.
    pub max_connections: u32,
    /// Open connections from one address; `None` is no limit. At most `max_connections`.
    pub max_connections_per_address: Option<NonZeroU32>,
    /// New connections from one address within a second; `None` is no limit.
    pub max_new_connections_per_address: Option<NonZeroU32>,
    /// Messages per second of one connection; `None` is no limit.
    pub max_messages_per_second: Option<NonZeroU32>,
    /// Matches per minute of one session; `None` is no limit.
    pub max_matches_per_minute: Option<NonZeroU32>,
    /// Matches per minute of one address; `None` is no limit.
    pub max_matches_per_minute_per_address: Option<NonZeroU32>,
    /// Payload of one message in bytes, within [`limits::MESSAGE_BYTES_BOUNDS`].
    pub max_message_bytes: usize,
    /// Unsent backlog of one client in bytes; at least one message of the maximum size with its
    /// header.
    pub max_unsent_bytes: usize,
    /// Time from the server's Close frame, or from a refusal, until the connection is reset.
    pub close_timeout: Duration,
    /// Time for a complete request head to arrive, from accept or from its first byte on a connection
    /// that was kept open.
    pub handshake_timeout: Duration,
    /// Time that a connection is kept open between two requests.
    pub idle_timeout: Duration,
    /// Silence after which a session is pinged; less than `silence_limit`.
    pub ping_interval: Duration,
    /// Silence after which a session is closed.
    pub silence_limit: Duration,
    /// Silence after which a waiting session is not matched; zero turns that off.
    pub liveness_window: Duration,
    /// Time for a message to arrive completely, from its first byte; zero is no limit.
    pub message_timeout: Duration,
    /// Size of a request head in bytes, within [`limits::HEAD_BYTES_BOUNDS`].
    pub max_head_bytes: usize,
    /// Time for which two users who shared a room are not matched again if others wait; zero turns
    /// that off.
    pub rematch_delay: Duration,
    /// Time from the signal to shut down until the last room is closed; zero closes all connections
    /// at once.
    pub drain_timeout: Duration,
}

impl Limits {
    /// Limits of one address that refuse a single browser: each flag and its value.
    pub fn below_one_browser(&self) -> impl Iterator<Item = (&'static str, NonZeroU32)> {
        let limits = [
            ("--max-connections-per-address", self.max_connections_per_address),
            ("--max-new-connections-per-address", self.max_new_connections_per_address),
        ];
        let given = limits.into_iter().filter_map(|(flag, limit)| Some((flag, limit?)));
        given.filter(|(_, limit)| limit.get() < limits::BROWSER_CONNECTIONS)
    }

    /// Whether sessions have buckets of their own, for messages or for matches.
    pub fn has_session_rates(&self) -> bool {
        self.max_messages_per_second.is_some() || self.max_matches_per_minute.is_some()
    }

    /// The limits on the number of connections.
    pub fn of_connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            max_open: self.max_connections,
            max_open_per_address: self.max_connections_per_address,
            max_new_per_address: self.max_new_connections_per_address,
            max_matches_per_address: self.max_matches_per_minute_per_address,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_connections: limits::MAX_DERIVED_CONNECTIONS,
            max_connections_per_address: None,
            max_new_connections_per_address: None,
            max_messages_per_second: None,
            max_matches_per_minute: None,
            max_matches_per_minute_per_address: None,
            max_message_bytes: limits::DEFAULT_MESSAGE_BYTES,
            max_unsent_bytes: limits::DEFAULT_UNSENT_BYTES,
            close_timeout: limits::DEFAULT_CLOSE_TIMEOUT,
            handshake_timeout: limits::DEFAULT_HANDSHAKE_TIMEOUT,
            idle_timeout: limits::DEFAULT_IDLE_TIMEOUT,
            ping_interval: limits::DEFAULT_PING_INTERVAL,
            silence_limit: limits::DEFAULT_SILENCE_LIMIT,
            liveness_window: limits::DEFAULT_LIVENESS_WINDOW,
            message_timeout: limits::DEFAULT_MESSAGE_TIMEOUT,
            max_head_bytes: limits::DEFAULT_HEAD_BYTES,
            rematch_delay: limits::DEFAULT_REMATCH_DELAY,
            drain_timeout: limits::DEFAULT_DRAIN_TIMEOUT,
        }
    }
}

/// What validation and defaults depend on besides the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineCapabilities {
    /// File descriptors that a descriptor table may hold (`RLIMIT_NOFILE`).
    pub descriptors_allowed: u64,
    /// The highest value of that limit (`fs.nr_open`); `None` if it is unknown.
    pub descriptors_ceiling: Option<u64>,
    /// Number of shards without `--shards`; at least 1.
    pub default_shards: usize,
    /// Number of CPUs that shards can be pinned to; at least 1.
    pub cpus: usize,
    /// Whether the machine has IPv6.
    pub ipv6: bool,
    /// Whether threads can have private descriptor tables.
    pub private_table_support: PrivateTableSupport,
}

impl MachineCapabilities {
    /// Whether a quota of the control group allows less CPU time than the process's CPUs have. Such
    /// processes share the machine, and each would pin its shards to the first of the same CPUs.
    pub fn has_cpu_quota(&self) -> bool {
        self.default_shards < self.cpus
    }

    /// Raises the soft limit of open files to the hard one and describes this machine. To be called
    /// on the main thread before any thread is pinned.
    ///
    /// # Errors
    /// When the limit of open files cannot be read or raised.
    pub fn prepare() -> io::Result<Self> {
        Ok(MachineCapabilities {
            descriptors_allowed: descriptors::raise_limit()?,
            descriptors_ceiling: descriptors::ceiling(),
            default_shards: AllowedCpus::of_current_thread().default_shards(),
            cpus: AllowedCpus::of_current_thread().numbers().len().max(1),
            ipv6: sockets::ipv6_exists(),
            private_table_support: crate::sys::descriptor_tables::support(),
        })
    }
}
