//! The flags, each with its environment variable, as clap reads them. Single values are parsed here;
//! [`super::validate`] checks ranges and relations.

use super::FdTables;
use super::bounds::bounds_text;
use crate::ice::{IceServer, IceUrl};
use crate::limits;
use crate::wire::http::Origin;
use crate::wire::proxy::Network;
use clap::builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, CommandFactory, FromArgMatches, Parser, ValueEnum};
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// Matches users in pairs over WebSocket and relays their WebRTC signalling.
///
/// Every flag can also be set by the environment variable shown with it; the flag has precedence.
/// Durations are written like 800ms, 5s, 1m or "1m 30s". Sizes are in bytes.
#[derive(Clone, Debug, Parser)]
#[command(name = "switchboard", version, max_term_width = 100)]
pub struct Arguments {
    /// Address and port to listen on; repeat the flag or separate several by commas
    ///
    /// The server does not start if another process listens on the port. An IPv6 address accepts
    /// IPv6 only. Port 0 takes a free port, which is logged.
    ///
    /// Default: 0.0.0.0:8080, and [::]:8080 if the machine has IPv6
    #[allow(
        rustdoc::broken_intra_doc_links,
        reason = "`[::]` is an address, and help is plain text"
    )]
    #[arg(long, env = "SWITCHBOARD_LISTEN", value_name = "ADDRESS:PORT")]
    #[arg(value_delimiter = ',', value_parser = listen_address, help_heading = LISTENING)]
    pub listen: Vec<SocketAddr>,

    /// Separate address and port for /stats and /metrics; repeat the flag or separate by commas
    ///
    /// The public ports then answer 404 for /stats and /metrics; /health is served on both. Takes
    /// up to 64 connections, which do not count for --max-connections. The page then shows no
    /// number of users.
    ///
    /// Default: none; /stats and /metrics are on the public ports
    #[arg(long, env = "SWITCHBOARD_ADMIN_LISTEN", value_name = "ADDRESS:PORT")]
    #[arg(value_delimiter = ',', value_parser = listen_address, help_heading = LISTENING)]
    pub admin_listen: Vec<SocketAddr>,

    /// Number of shards: threads that serve connections
    ///
    /// Each shard has its own listeners, event loop and connections. Two matched users end up on
    /// the same shard.
    ///
    /// Default: one for each CPU that the process may use
    #[arg(long, env = "SWITCHBOARD_SHARDS", value_name = "COUNT", help_heading = LISTENING)]
    pub shards: Option<usize>,

    /// Let the scheduler move shards between CPUs
    ///
    /// By default each shard is pinned to one CPU. Use this on a machine that runs other busy
    /// processes.
    #[arg(long, env = "SWITCHBOARD_NO_PIN", value_parser = BoolishValueParser::new())]
    #[arg(help_heading = LISTENING)]
    pub no_pin: bool,

    /// How the kernel assigns new connections to shards
    ///
    /// off: by a hash of the addresses. cpu: to the shard on whose CPU the packet arrived, so that
    /// a connection's packets and its shard stay on one CPU. cpu needs a CPU for each shard,
    /// pinned shards, and a network card whose queues are spread over these CPUs
    /// (tuning/nic.sh); with a single queue, one shard gets all connections.
    #[arg(long, env = "SWITCHBOARD_STEER", value_name = "BY", value_enum)]
    #[arg(default_value_t = ConnectionSteering::Off, help_heading = LISTENING)]
    pub steer: ConnectionSteering,

    /// How long a shard polls the network card before it sleeps, in microseconds; 0 is off
    ///
    /// Saves the latency of the card's interrupt and uses CPU time that would be idle. Needs
    /// Linux 6.9 and a network driver that supports busy polling.
    #[arg(long, env = "SWITCHBOARD_BUSY_POLL", value_name = "MICROSECONDS")]
    #[arg(default_value_t = 0, help_heading = LISTENING)]
    pub busy_poll: u32,

    /// Serve a WebSocket echo on the path /echo
    ///
    /// For conformance suites and latency tools. Echoes text and binary messages of up to 16 MiB
    /// and 100000 fragments. While a client does not read its echoes, the server does not read
    /// from the client.
    #[arg(long, env = "SWITCHBOARD_ECHO", value_parser = BoolishValueParser::new())]
    #[arg(help_heading = LISTENING)]
    pub echo: bool,

    /// Web origin whose pages may open sessions; repeat the flag or separate several by commas
    ///
    /// Written like https://example.org, with the port if it is not the default one; null stands
    /// for pages without an origin. An upgrade from a page of another origin is answered with 403.
    /// A request without an Origin header does not come from a browser and is allowed.
    ///
    /// Default: all origins are allowed
    #[allow(rustdoc::bare_urls, reason = "help is plain text")]
    #[arg(long, env = "SWITCHBOARD_ALLOW_ORIGIN", value_name = "ORIGIN")]
    #[arg(value_delimiter = ',', help_heading = ACCESS)]
    pub allow_origin: Vec<Origin>,

    /// Network of reverse proxies that name the client's address; repeat the flag or use commas
    ///
    /// Written like 10.0.0.0/8, or a single address. A connection from there may begin with a
    /// PROXY protocol header, version 1 or 2. Without one, the client's address is the last
    /// address in X-Forwarded-For that is not a trusted proxy. From any other address a PROXY
    /// protocol header is answered with 400, and X-Forwarded-For is ignored.
    ///
    /// Default: none
    #[arg(long, env = "SWITCHBOARD_TRUSTED_PROXY", value_name = "NETWORK")]
    #[arg(value_delimiter = ',', help_heading = ACCESS)]
    pub trusted_proxy: Vec<Network>,

    /// Limit of open connections, HTTP and WebSocket together
    ///
    /// Beyond it, upgrades are answered with 503 and Retry-After.
    ///
    /// Default: as many as the file descriptors allow (see --fd-tables), at most 1048576
    #[arg(long, env = "SWITCHBOARD_MAX_CONNECTIONS", value_name = "COUNT")]
    #[arg(help_heading = LIMITS)]
    pub max_connections: Option<u32>,

    /// Whether shards share one file descriptor table or have one each
    ///
    /// The limit of open files applies to each table. With private tables the process can
    /// therefore have that many connections for each shard. auto uses private tables only if
    /// --max-connections does not fit a shared one. Private tables need Linux 6.9.
    #[arg(long, env = "SWITCHBOARD_FD_TABLES", value_name = "KIND", value_enum)]
    #[arg(default_value_t = FdTables::Auto, help_heading = LIMITS)]
    pub fd_tables: FdTables,

    /// Limit of open connections from one IP address; 0 is no limit
    ///
    /// Beyond it, upgrades are answered with 503 and Retry-After. An IPv6 /64 counts as one
    /// address. Behind a proxy all users have the proxy's address, unless --trusted-proxy lists it.
    #[arg(long, env = "SWITCHBOARD_MAX_CONNECTIONS_PER_ADDRESS", value_name = "COUNT")]
    #[arg(default_value_t = 0, help_heading = LIMITS)]
    pub max_connections_per_address: u32,

    /// Limit of new connections from one IP address within a second; 0 is no limit
    ///
    /// Beyond it, upgrades are answered with 503 and Retry-After. An IPv6 /64 counts as one
    /// address.
    #[arg(long, env = "SWITCHBOARD_MAX_NEW_CONNECTIONS_PER_ADDRESS", value_name = "COUNT")]
    #[arg(default_value_t = 0, help_heading = LIMITS)]
    pub max_new_connections_per_address: u32,

    /// Limit of messages per second from one connection; 0 is no limit
    ///
    /// A message beyond it is dropped. The client gets the error rate_limited, at most once a
    /// second.
    #[arg(long, env = "SWITCHBOARD_MAX_MESSAGES_PER_SECOND", value_name = "COUNT")]
    #[arg(default_value_t = 0, help_heading = LIMITS)]
    pub max_messages_per_second: u32,

    /// Maximum payload of one message, over all its fragments
    ///
    /// A client that sends a larger message is closed with 1009.
    #[arg(long, env = "SWITCHBOARD_MAX_MESSAGE_BYTES", value_name = "BYTES")]
    #[arg(default_value_t = limits::DEFAULT_MESSAGE_BYTES, help_heading = LIMITS)]
    pub max_message_bytes: usize,

    /// Maximum unsent backlog of one client
    ///
    /// A client whose backlog is full is closed with 1013; its partner is never slowed down. The
    /// backlog must hold one message of the maximum size and its header. The kernel buffers
    /// --socket-send-buffer bytes in addition.
    #[arg(long, env = "SWITCHBOARD_MAX_UNSENT_BYTES", value_name = "BYTES")]
    #[arg(default_value_t = limits::DEFAULT_UNSENT_BYTES, help_heading = LIMITS)]
    pub max_unsent_bytes: usize,

    /// The kernel's send buffer for one connection (SO_SNDBUF); 0 lets the kernel choose
    ///
    /// If the kernel chooses, it buffers up to 4 MB for a client that does not read. The kernel
    /// limits the value to net.core.wmem_max.
    #[arg(long, env = "SWITCHBOARD_SOCKET_SEND_BUFFER", value_name = "BYTES")]
    #[arg(default_value_t = limits::DEFAULT_SOCKET_SEND_BUFFER_BYTES, help_heading = LIMITS)]
    pub socket_send_buffer: usize,

    /// Maximum size of an HTTP request head
    ///
    /// A larger head, or one with more than 100 header fields, is answered with 431.
    #[arg(long, env = "SWITCHBOARD_MAX_HEAD_BYTES", value_name = "BYTES")]
    #[arg(default_value_t = limits::DEFAULT_HEAD_BYTES, help_heading = LIMITS)]
    pub max_head_bytes: usize,

    /// How long a connection that is being closed may stay open
    ///
    /// Counted from the server's Close frame, or from an HTTP response that ends the connection.
    /// Then the connection is reset.
    #[arg(long, env = "SWITCHBOARD_CLOSE_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_CLOSE_TIMEOUT), help_heading = TIMEOUTS)]
    pub close_timeout: HumanDuration,

    /// How long a request head may take to arrive completely
    ///
    /// The time is for the whole head; single bytes do not extend it. After it the server answers
    /// 408. A keep-alive connection that is idle, or on which the client does not read the response,
    /// is closed after the same time.
    #[arg(long, env = "SWITCHBOARD_HANDSHAKE_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_HANDSHAKE_TIMEOUT))]
    #[arg(help_heading = TIMEOUTS)]
    pub handshake_timeout: HumanDuration,

    /// Silence after which a client is pinged
    ///
    /// Any byte that arrives ends the silence, and so does reading from the backlog. Must be
    /// shorter than --silence-limit, and should be shorter than the idle timeout of every proxy on
    /// the way.
    #[arg(long, env = "SWITCHBOARD_PING_INTERVAL", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_PING_INTERVAL), help_heading = TIMEOUTS)]
    pub ping_interval: HumanDuration,

    /// Silence after which a client is closed with 1001
    #[arg(long, env = "SWITCHBOARD_SILENCE_LIMIT", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_SILENCE_LIMIT), help_heading = TIMEOUTS)]
    pub silence_limit: HumanDuration,

    /// How long two users who just shared a room are not matched again if others wait
    ///
    /// 0s matches them again at once if they are next in the queue.
    #[arg(long, env = "SWITCHBOARD_REMATCH_DELAY", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_REMATCH_DELAY), help_heading = TIMEOUTS)]
    pub rematch_delay: HumanDuration,

    /// How long rooms may stay open after SIGTERM or SIGINT
    ///
    /// Idle and waiting users are closed with 1012 during the first half of this time, rooms at
    /// its end. A second signal ends the process at once.
    #[arg(long, env = "SWITCHBOARD_DRAIN_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_DRAIN_TIMEOUT), help_heading = TIMEOUTS)]
    pub drain_timeout: HumanDuration,

    /// How long a session can be resumed after its connection was lost; this version takes only 0s
    ///
    /// 0s turns resuming off: a session ends with its connection.
    #[arg(long, env = "SWITCHBOARD_RESUME_WINDOW", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(Duration::ZERO), help_heading = TIMEOUTS)]
    pub resume_window: HumanDuration,

    /// STUN or TURN server for the clients; repeat the flag or separate several by spaces
    ///
    /// stun:HOST or stun:HOST:PORT. For a TURN server with a fixed password: turn:HOST,
    /// turn:HOST:PORT or turns: likewise, optionally with ?transport=udp or ?transport=tcp, followed
    /// by ,user=NAME,password=SECRET. Every client is given the password.
    ///
    /// Default: none; clients connect only if they can reach each other directly
    #[arg(long, env = "SWITCHBOARD_ICE_SERVER", value_name = "URL", hide_env_values = true)]
    #[arg(value_delimiter = ' ', help_heading = ICE)]
    pub ice_server: Vec<IceServer>,

    /// TURN server with time-limited credentials; repeat the flag or separate several by spaces
    ///
    /// The TURN server shares the secret of --turn-secret-file with this server (coturn:
    /// use-auth-secret). Each session gets its own user name and password, valid for --turn-ttl.
    ///
    /// Default: none
    #[arg(long, env = "SWITCHBOARD_TURN_URL", value_name = "URL")]
    #[arg(value_delimiter = ' ', value_parser = IceUrl::turn, help_heading = ICE)]
    pub turn_url: Vec<IceUrl>,

    /// File with the secret shared with the servers of --turn-url (coturn: static-auth-secret)
    ///
    /// Default: none
    #[arg(long, env = "SWITCHBOARD_TURN_SECRET_FILE", value_name = "PATH", help_heading = ICE)]
    pub turn_secret_file: Option<PathBuf>,

    /// How long the TURN credentials of a session are valid
    ///
    /// A client gets them once, when it connects, so the time must be longer than a session with
    /// all its calls.
    #[arg(long, env = "SWITCHBOARD_TURN_TTL", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_TURN_TTL), help_heading = ICE)]
    pub turn_ttl: HumanDuration,

    /// Queue that /stats and /metrics show by name; repeat the flag or separate several by commas
    ///
    /// Clients choose the names of queues, so no other queue is shown by name.
    ///
    /// Default: none
    #[arg(long, env = "SWITCHBOARD_STATS_QUEUE", value_name = "NAME")]
    #[arg(value_delimiter = ',', help_heading = MONITORING)]
    pub stats_queue: Vec<String>,

    /// Format of the log lines on standard error
    #[arg(long, env = "SWITCHBOARD_LOG_FORMAT", value_name = "FORMAT")]
    #[arg(value_enum, default_value_t = LogFormat::Text, help_heading = MONITORING)]
    pub log_format: LogFormat,

    /// Least severe level of log lines that are written
    ///
    /// The server itself writes lines of the levels error, warn and info; debug and trace add none.
    #[arg(long, env = "SWITCHBOARD_LOG_LEVEL", value_name = "LEVEL")]
    #[arg(default_value_t = LevelFilter::INFO, value_parser = log_level_parser())]
    #[arg(ignore_case = true, help_heading = MONITORING)]
    pub log_level: LevelFilter,

    /// Report whether this machine is set up for CONNECTIONS connections, then exit
    ///
    /// Prints one line for each kernel limit: ok, short, unknown or note; a short limit comes with
    /// the command that raises it. Starts no server and changes nothing. The exit status is 1 if a
    /// limit is short. Takes --shards, --listen, --admin-listen, --fd-tables and --max-connections
    /// into account.
    ///
    /// Default: off
    #[arg(long, env = "SWITCHBOARD_CHECK", value_name = "CONNECTIONS", help_heading = MONITORING)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::MAX_CONNECTIONS)))]
    pub check: Option<u32>,
}

const LISTENING: &str = "Listening and threads";
const ACCESS: &str = "Access";
const LIMITS: &str = "Limits";
const TIMEOUTS: &str = "Timeouts";
const ICE: &str = "STUN and TURN";
const MONITORING: &str = "Monitoring";

/// How the kernel chooses the shard of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConnectionSteering {
    /// By a hash of the addresses.
    Off,
    /// The shard on whose CPU the packet arrived.
    Cpu,
}

/// Format of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the program ends before it has started a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EarlyExit {
    /// Help or the version was asked for: this text goes to standard output, the exit status is 0.
    Help(String),
    /// The arguments are wrong: this line goes to standard error.
    UsageError(String),
}

impl Arguments {
    /// Reads the program's name and its arguments, and the environment for flags that are not given.
    ///
    /// # Errors
    /// See [`EarlyExit`].
    pub fn read<I>(words: I) -> Result<Self, EarlyExit>
    where
        I: IntoIterator,
        I::Item: Into<OsString> + Clone,
    {
        let command = Arguments::command().mut_args(with_range);
        let matches = command.try_get_matches_from(words);
        matches.and_then(|matches| Arguments::from_arg_matches(&matches)).map_err(|error| {
            let text = without_secrets(&error).unwrap_or_else(|| error.to_string());
            if error.use_stderr() {
                EarlyExit::UsageError(one_line(&text))
            } else {
                EarlyExit::Help(text)
            }
        })
    }
}

/// Adds the range of a flag, if it has one, to its long help.
fn with_range(arg: Arg) -> Arg {
    let bounds = arg.get_long().and_then(|long| bounds_text(&format!("--{long}")));
    match (bounds, arg.get_long_help().or(arg.get_help())) {
        (Some(bounds), Some(help)) => {
            let help = format!("{help}\n\nRange: {bounds}");
            arg.long_help(help)
        }
        (None, _) | (_, None) => arg,
    }
}

/// The message to print in place of clap's, if clap's would contain a password.
fn without_secrets(error: &clap::Error) -> Option<String> {
    let of = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(_) | None => None,
    };
    of(ContextKind::InvalidArg).filter(|name| name.starts_with("--ice-server"))?;
    let value = of(ContextKind::InvalidValue)?;
    let reason = value.parse::<IceServer>().err()?;
    let url = value.split(',').next().unwrap_or_default();
    // A value without a scheme may be the rest of a password that contains a space.
    let is_url = ["stun:", "turn:", "turns:"].iter().any(|scheme| url.starts_with(scheme));
    Some(match is_url {
        true => format!("invalid value '{url}' for '--ice-server <URL>': {reason}"),
        false => "invalid value for '--ice-server <URL>': a value must begin with stun:, turn: or \
                  turns:, and spaces separate values"
            .to_owned(),
    })
}

/// Clap's message without its hints and usage, on one line.
fn one_line(text: &str) -> String {
    let first = text.split("\n\n").next().unwrap_or(text);
    let words: Vec<&str> = first.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

/// A duration in the notation of the flags: `800ms`, `5s`, `1m 30s`, or `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map(HumanDuration)
            .map_err(|error| format!("{error}; write a duration like 800ms, 5s or 1m"))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_S: u64 = 24 * 60 * 60;
        match self.0.as_secs() {
            // humantime would write 366 days as `1year 18h`.
            seconds if seconds > 0 && self.0 == Duration::from_secs(seconds / DAY_S * DAY_S) => {
                write!(f, "{}d", seconds / DAY_S)
            }
            _ => humantime::format_duration(self.0).fmt(f),
        }
    }
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an IP address and a port, like 127.0.0.1:8080 or [::1]:8080".to_owned()
    })
}

fn log_level_parser() -> impl TypedValueParser<Value = LevelFilter> {
    PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
        .try_map(|level| level.parse::<LevelFilter>())
}
