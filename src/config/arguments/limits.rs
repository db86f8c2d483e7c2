//! The flags under "Limits".

use super::values::{Trimmed, byte_size};
use crate::config::FdTables;
use crate::limits;
use clap::builder::EnumValueParser;
use clap::{Args, value_parser};

/// Limits on connections, messages and memory.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArguments {
    /// Limit of open connections, HTTP and WebSocket together
    ///
    /// Beyond it, upgrades are answered with 503 and Retry-After.
    ///
    /// Default: as many as the file descriptors allow (see --fd-tables), at most 1048576
    #[arg(long, env = "SWITCHBOARD_MAX_CONNECTIONS", value_name = "COUNT")]
    #[arg(value_parser = Trimmed(value_parser!(u32)))]
    pub max_connections: Option<u32>,

    /// Whether shards share one file descriptor table or have one each
    ///
    /// The limit of open files applies to each table. With private tables the process can
    /// therefore have that many connections for each shard. auto uses private tables only if
    /// --max-connections does not fit a shared one. Private tables need Linux 6.9.
    #[arg(long, env = "SWITCHBOARD_FD_TABLES", value_name = "KIND", value_enum)]
    #[arg(value_parser = Trimmed(EnumValueParser::<FdTables>::new()), default_value_t = FdTables::Auto)]
    pub fd_tables: FdTables,

    /// Limit of open connections from one IP address; 0 is no limit
    ///
    /// Beyond it, upgrades are answered with 429 and Retry-After. One browser opens up to 8
    /// connections, and users behind one router share an address, so values below 32 refuse
    /// ordinary users. An IPv6 /64 counts as one address. Behind a proxy all users have the proxy's
    /// address, unless --trusted-proxy lists it.
    #[arg(long, env = "SWITCHBOARD_MAX_CONNECTIONS_PER_ADDRESS", value_name = "COUNT")]
    #[arg(value_parser = Trimmed(value_parser!(u32)), default_value_t = 0)]
    pub max_connections_per_address: u32,

    /// Limit of new connections from one IP address within a second; 0 is no limit
    ///
    /// Beyond it, upgrades are answered with 429 and Retry-After. One browser opens up to 8
    /// connections at once. An IPv6 /64 counts as one address.
    #[arg(long, env = "SWITCHBOARD_MAX_NEW_CONNECTIONS_PER_ADDRESS", value_name = "COUNT")]
    #[arg(value_parser = Trimmed(value_parser!(u32)), default_value_t = 0)]
    pub max_new_connections_per_address: u32,

    /// Limit of messages per second from one connection; 0 is no limit
    ///
    /// A message beyond it is dropped. The client gets the error rate_limited, at most once a
    /// second. As many state changes (find_match, cancel_match, leave_room) are allowed on top, and
    /// each one beyond that is answered with rate_limited. Up to a second of the rate, at least 40,
    /// may come at once. 10 is enough for browsers.
    #[arg(long, env = "SWITCHBOARD_MAX_MESSAGES_PER_SECOND", value_name = "COUNT")]
    #[arg(value_parser = Trimmed(value_parser!(u32)), default_value_t = 0)]
    pub max_messages_per_second: u32,

    /// Limit of matches per minute of one session; 0 is no limit
    ///
    /// The match counts for the session that ends the room, by find_match, leave_room or a Close
    /// frame. A quarter of a minute may come at once. Beyond it, find_match is answered with the error
    /// too_many_matches, and a session in a room stays there. 20 is enough for people.
    #[arg(long, env = "SWITCHBOARD_MAX_MATCHES_PER_MINUTE", value_name = "COUNT")]
    #[arg(value_parser = Trimmed(value_parser!(u32)), default_value_t = 0)]
    pub max_matches_per_minute: u32,

    /// Limit of matches per minute of all sessions from one IP address; 0 is no limit
    ///
    /// As --max-matches-per-minute, but a new connection brings no new matches: a match counts for
    /// the address too if its connection ends without a Close frame or breaks the protocol. An IPv6
    /// /64 counts as one address. 60 leaves room for a family behind one address.
    #[arg(long, env = "SWITCHBOARD_MAX_MATCHES_PER_MINUTE_PER_ADDRESS", value_name = "COUNT")]
    #[arg(value_parser = Trimmed(value_parser!(u32)), default_value_t = 0)]
    pub max_matches_per_minute_per_address: u32,

    /// Maximum payload of one message, over all its fragments
    ///
    /// A client that sends a larger message is closed with 1009.
    #[arg(long, env = "SWITCHBOARD_MAX_MESSAGE_BYTES", value_name = "BYTES", value_parser = Trimmed(byte_size))]
    #[arg(default_value_t = limits::DEFAULT_MESSAGE_BYTES)]
    pub max_message_bytes: usize,

    /// Maximum unsent backlog of one client
    ///
    /// When half of it is full, messages of the partner are refused with peer_busy. A client is
    /// closed with 1013 when the server's own messages do not fit, or when it takes nothing of a
    /// half full backlog for --silence-limit. The backlog must hold one message of the maximum
    /// size and its header. The kernel buffers --socket-send-buffer bytes in addition.
    #[arg(long, env = "SWITCHBOARD_MAX_UNSENT_BYTES", value_name = "BYTES", value_parser = Trimmed(byte_size))]
    #[arg(default_value_t = limits::DEFAULT_UNSENT_BYTES)]
    pub max_unsent_bytes: usize,

    /// The kernel's send buffer for one connection (SO_SNDBUF); 0 lets the kernel choose
    ///
    /// If the kernel chooses, it buffers up to 4 MB for a client that does not read. The kernel
    /// limits the value to net.core.wmem_max.
    #[arg(long, env = "SWITCHBOARD_SOCKET_SEND_BUFFER", value_name = "BYTES", value_parser = Trimmed(byte_size))]
    #[arg(default_value_t = limits::DEFAULT_SOCKET_SEND_BUFFER_BYTES)]
    pub socket_send_buffer: usize,

    /// Maximum size of an HTTP request head
    ///
    /// A larger head, or one with more than 100 header fields, is answered with 431; a request
    /// target that does not end within it, with 414.
    #[arg(long, env = "SWITCHBOARD_MAX_HEAD_BYTES", value_name = "BYTES", value_parser = Trimmed(byte_size))]
    #[arg(default_value_t = limits::DEFAULT_HEAD_BYTES)]
    pub max_head_bytes: usize,
}
