//! Flags and environment → a validated [`Config`]. Used by the main thread at start. Validation
//! is pure: what it needs to know of the machine comes in as [`MachineCapabilities`].

mod arguments;
mod descriptor_tables;
mod error;
mod reference;
mod validate;

pub use arguments::{Arguments, ConnectionSteering, EarlyExit, HumanDuration, LogFormat};
pub use descriptor_tables::{
    DescriptorBudget, DescriptorTables, FdTables, descriptors_of_server, descriptors_of_table,
};
pub use error::ConfigError;
pub use reference::flags_table;

use crate::access::AccessPolicy;
use crate::access::admission::ConnectionLimits;
use crate::ice::{IceServer, IceUrl};
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

/// Everything an operator can decide, free of contradictions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Addresses to listen on, without duplicates; at least one.
    pub listen: Vec<SocketAddr>,
    /// Threads that carry connections, 1 to [`limits::MAX_SHARDS`].
    pub shards: usize,
    /// Whether each of them stays on one CPU.
    pub pin: bool,
    /// What a shard core needs to know.
    pub limits: Limits,
    /// How the kernel chooses a shard for a newcomer.
    pub steer: ConnectionSteering,
    /// Microseconds that a shard looks for packets itself before it sleeps.
    pub busy_poll_micros: Option<NonZeroU32>,
    /// SO_SNDBUF of every connection; `None` leaves its size to the kernel.
    pub socket_send_buffer_bytes: Option<usize>,
    /// Whether `/echo` is there.
    pub echo: bool,
    /// Which pages, proxies and administrators may connect.
    pub access: AccessPolicy,
    /// STUN and TURN servers that every client is told of.
    pub ice_servers: Vec<IceServer>,
    /// TURN servers for which each session gets credentials of its own.
    pub turn: Option<TurnConfig>,
    /// Queues whose waiting users `/stats` and `/metrics` show by name, without duplicates.
    pub stats_queues: Vec<String>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_level: LevelFilter,
    /// File descriptors that each table of the process may hold.
    pub descriptors_allowed: u64,
    /// Which descriptor tables there are.
    pub tables: DescriptorTables,
    /// Whether shards could have tables of their own.
    pub private_tables: PrivateTableSupport,
}

/// TURN servers that share a secret with this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnConfig {
    /// Where they are; at least one.
    pub urls: Vec<IceUrl>,
    /// Holds the secret.
    pub secret_file: PathBuf,
    /// How long a password is good for, within [`crate::limits::TURN_TTL_BOUNDS`].
    pub ttl: Duration,
}

/// The bounds that a shard holds its connections to. [`Limits::default`] is what the flags
/// default to, with the connection limit at its highest derived value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of the whole process; at least 1.
    pub max_connections: u32,
    /// Connections from one address, of the whole process; `None` is no limit. At most
    /// `max_connections`.
    pub max_connections_per_address: Option<NonZeroU32>,
    /// Connections that may come from one address within a second; `None` is no limit.
    pub max_new_connections_per_address: Option<NonZeroU32>,
    /// Messages per second that one connection may send; `None` is no limit.
    pub max_messages_per_second: Option<NonZeroU32>,
    /// Payload of one message, within [`limits::MESSAGE_BYTES_BOUNDS`].
    pub max_message_bytes: usize,
    /// Bytes kept for one client that does not read; one largest message with its header fits.
    pub max_unsent_bytes: usize,
    /// After the server's Close frame or a refusal, time until the connection is cut.
    pub close_timeout: Duration,
    /// Time for a whole request head to arrive, from accept or from the answer before.
    pub handshake_timeout: Duration,
    /// Silence after which a session is pinged; less than `silence_limit`.
    pub ping_interval: Duration,
    /// Silence after which a session is closed.
    pub silence_limit: Duration,
    /// Bytes of a request head, within [`limits::HEAD_BYTES_BOUNDS`].
    pub max_head_bytes: usize,
    /// How long two who shared a room wait for somebody else before they may meet again;
    /// zero turns that off.
    pub rematch_delay: Duration,
    /// Time from the signal to shut down until the last connection is closed; zero closes
    /// everything at once.
    pub drain_timeout: Duration,
}

impl Limits {
    /// Those on the number of connections.
    pub fn of_connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            max_open: self.max_connections,
            max_open_per_address: self.max_connections_per_address,
            max_new_per_address: self.max_new_connections_per_address,
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
            max_message_bytes: limits::DEFAULT_MESSAGE_BYTES,
            max_unsent_bytes: limits::DEFAULT_UNSENT_BYTES,
            close_timeout: limits::DEFAULT_CLOSE_TIMEOUT,
            handshake_timeout: limits::DEFAULT_HANDSHAKE_TIMEOUT,
            ping_interval: limits::DEFAULT_PING_INTERVAL,
            silence_limit: limits::DEFAULT_SILENCE_LIMIT,
            max_head_bytes: limits::DEFAULT_HEAD_BYTES,
            rematch_delay: limits::DEFAULT_REMATCH_DELAY,
            drain_timeout: limits::DEFAULT_DRAIN_TIMEOUT,
        }
    }
}

/// What validation and defaults depend on beside the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineCapabilities {
    /// File descriptors that a table of the process may hold.
    pub descriptors_allowed: u64,
    /// The highest value that limit can be given; `None` if the system does not tell.
    pub descriptors_ceiling: Option<u64>,
    /// Shards to run when nobody says how many; at least 1.
    pub default_shards: usize,
    /// CPUs that shards can be pinned to; at least 1.
    pub cpus: usize,
    /// Whether IPv6 sockets can be had.
    pub ipv6: bool,
    /// Whether threads can have descriptor tables of their own.
    pub private_tables: PrivateTableSupport,
}

impl MachineCapabilities {
    /// This machine, after the soft limit of open files has been raised to the hard one. Call
    /// it on the main thread before any thread is pinned.
    ///
    /// # Errors
    /// When the limit of open files cannot be read or raised.
    pub fn prepare() -> io::Result<Self> {
        Ok(MachineCapabilities {
            descriptors_allowed: descriptors::raise_limit()?,
            descriptors_ceiling: descriptors::ceiling(),
            default_shards: AllowedCpus::here().default_shards(),
            cpus: AllowedCpus::here().numbers().len().max(1),
            ipv6: sockets::ipv6_exists(),
            private_tables: crate::sys::descriptor_tables::support(),
        })
    }
}
