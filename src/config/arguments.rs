//! The flags, each with its environment variable, as clap reads them. What they say is checked
//! one by one here and against each other in [`super::validate`].

use super::FdTables;
use crate::ice::{IceServer, IceUrl};
use crate::limits;
use crate::wire::http::Origin;
use crate::wire::proxy::Network;
use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::{Parser, ValueEnum};
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// Connects strangers in pairs over WebSocket and carries their WebRTC signalling.
///
/// Every flag can also be set by the environment variable named beside it; the flag wins.
/// Durations are written like 800ms, 5s, 1m or "1m 30s"; sizes are in bytes.
#[derive(Clone, Debug, Parser)]
#[command(name = "switchboard", version, max_term_width = 100)]
pub struct Arguments {
    /// Address and port to listen on; repeat it or separate several by commas
    ///
    /// A port that another process holds is an error, never shared. An IPv6 address takes IPv6
    /// only. Port 0 takes any free port, which is printed.
    ///
    /// Default: 0.0.0.0:8080, and [::]:8080 where there is IPv6
    #[allow(
        rustdoc::broken_intra_doc_links,
        reason = "`[::]` is an address, and help is plain text"
    )]
    #[arg(long, env = "SWITCHBOARD_LISTEN", value_name = "ADDRESS:PORT")]
    #[arg(value_delimiter = ',', value_parser = listen_address, help_heading = LISTENING)]
    pub listen: Vec<SocketAddr>,

    /// Address and port for /stats and /metrics, which are then nowhere else; repeatable, or commas
    ///
    /// /health is there and on the public port. Up to 64 connections, which do not count for
    /// --max-connections. The page then does not show how many are here.
    ///
    /// Default: they are on the public port
    #[arg(long, env = "SWITCHBOARD_ADMIN_LISTEN", value_name = "ADDRESS:PORT")]
    #[arg(value_delimiter = ',', value_parser = listen_address, help_heading = LISTENING)]
    pub admin_listen: Vec<SocketAddr>,

    /// Threads that carry connections, 1 to 1024
    ///
    /// Each has its own listener, poll loop and connections; two who are matched end up on the
    /// same one.
    ///
    /// Default: one for each CPU this process may use
    #[arg(long, env = "SWITCHBOARD_SHARDS", value_name = "COUNT", help_heading = LISTENING)]
    pub shards: Option<usize>,

    /// Let the scheduler move shards between CPUs
    ///
    /// Otherwise each shard stays on one CPU. Good on a machine that is shared with other busy
    /// processes.
    #[arg(long, env = "SWITCHBOARD_NO_PIN", value_parser = BoolishValueParser::new())]
    #[arg(help_heading = LISTENING)]
    pub no_pin: bool,

    /// Which shard the kernel gives a newcomer to: any (off), or the one on whose CPU it arrives
    ///
    /// cpu keeps a connection's packets and its shard on one CPU, where the card's queues are
    /// spread over the shards' CPUs (tuning/nic.sh); else one shard gets everybody. Needs a CPU
    /// for each shard, and not --no-pin.
    #[arg(long, env = "SWITCHBOARD_STEER", value_name = "BY", value_enum)]
    #[arg(default_value_t = ConnectionSteering::Off, help_heading = LISTENING)]
    pub steer: ConnectionSteering,

    /// How long a shard looks for packets itself before it sleeps, 1 to 10000; 0 is not at all
    ///
    /// In microseconds. Saves the wait for the card's interrupt and costs CPU time that would be
    /// idle. Needs Linux 6.9, and a card whose driver can be polled.
    #[arg(long, env = "SWITCHBOARD_BUSY_POLL", value_name = "MICROSECONDS")]
    #[arg(default_value_t = 0, help_heading = LISTENING)]
    pub busy_poll: u32,

    /// Send every message back on the path /echo
    ///
    /// For conformance suites and latency tools: text and binary, up to 16 MiB and 100000
    /// fragments a message. A client that does not read is not read from either.
    #[arg(long, env = "SWITCHBOARD_ECHO", value_parser = BoolishValueParser::new())]
    #[arg(help_heading = LISTENING)]
    pub echo: bool,

    /// Web origin whose pages may open sessions; repeat it or separate several by commas
    ///
    /// A browser's upgrade from another page gets 403. Like https://example.org, with a port if it
    /// is not the usual one; null for pages without an origin. A request without Origin comes from
    /// no browser and is let in.
    ///
    /// Default: everybody may
    #[allow(rustdoc::bare_urls, reason = "help is plain text")]
    #[arg(long, env = "SWITCHBOARD_ALLOW_ORIGIN", value_name = "ORIGIN")]
    #[arg(value_delimiter = ',', help_heading = DOORS)]
    pub allow_origin: Vec<Origin>,

    /// Network of proxies that are believed whose connection they pass on; repeatable, or commas
    ///
    /// Like 10.0.0.0/8 or one address. A connection from there may begin with a PROXY protocol
    /// header, version 1 or 2; without one the last address in X-Forwarded-For that is no
    /// trusted proxy's counts. From everywhere else the header is a bad request and the field is
    /// ignored.
    ///
    /// Default: none
    #[arg(long, env = "SWITCHBOARD_TRUSTED_PROXY", value_name = "NETWORK")]
    #[arg(value_delimiter = ',', help_heading = DOORS)]
    pub trusted_proxy: Vec<Network>,

    /// Connections of the whole process, HTTP and WebSocket
    ///
    /// Past it a newcomer gets 503 with Retry-After before the upgrade.
    ///
    /// Default: as many as file descriptors allow (see --fd-tables), at most 1048576
    #[arg(long, env = "SWITCHBOARD_MAX_CONNECTIONS", value_name = "COUNT")]
    #[arg(help_heading = BOUNDS)]
    pub max_connections: Option<u32>,

    /// One descriptor table for all threads, or one for each shard
    ///
    /// The limit of open files holds for each table: with private ones the process carries as
    /// many times more connections as it has shards. auto takes them only where
    /// --max-connections does not fit one table. Needs Linux 6.9.
    #[arg(long, env = "SWITCHBOARD_FD_TABLES", value_name = "KIND", value_enum)]
    #[arg(default_value_t = FdTables::Auto, help_heading = BOUNDS)]
    pub fd_tables: FdTables,

    /// Connections from one IP address; 0 is no limit
    ///
    /// Past it a newcomer gets 503 with Retry-After. Behind a proxy all users come from the proxy's
    /// address, unless --trusted-proxy names it.
    #[arg(long, env = "SWITCHBOARD_MAX_CONNECTIONS_PER_ADDRESS", value_name = "COUNT")]
    #[arg(default_value_t = 0, help_heading = BOUNDS)]
    pub max_connections_per_address: u32,

    /// Connections that may come from one IP address within a second; 0 is no limit
    ///
    /// What is over it gets 503 with Retry-After. Of IPv6 addresses a whole /64 is one, here and
    /// for --max-connections-per-address.
    #[arg(long, env = "SWITCHBOARD_MAX_NEW_CONNECTIONS_PER_ADDRESS", value_name = "COUNT")]
    #[arg(default_value_t = 0, help_heading = BOUNDS)]
    pub max_new_connections_per_address: u32,

    /// Messages per second that one connection may send; 0 is no limit
    ///
    /// What is over it is dropped and answered with the error rate_limited, at most once a
    /// second.
    #[arg(long, env = "SWITCHBOARD_MAX_MESSAGES_PER_SECOND", value_name = "COUNT")]
    #[arg(default_value_t = 0, help_heading = BOUNDS)]
    pub max_messages_per_second: u32,

    /// Payload bytes of one message, all its fragments together, 1024 to 16777216
    ///
    /// A client that sends more is closed with 1009.
    #[arg(long, env = "SWITCHBOARD_MAX_MESSAGE_BYTES", value_name = "BYTES")]
    #[arg(default_value_t = limits::DEFAULT_MESSAGE_BYTES, help_heading = BOUNDS)]
    pub max_message_bytes: usize,

    /// Bytes kept for one client that does not read, 4096 to 1073741824
    ///
    /// A client whose backlog is full is closed with 1013; its partner is not slowed. Must hold
    /// one largest message and its header. Beside it the kernel holds --socket-send-buffer.
    #[arg(long, env = "SWITCHBOARD_MAX_UNSENT_BYTES", value_name = "BYTES")]
    #[arg(default_value_t = limits::DEFAULT_UNSENT_BYTES, help_heading = BOUNDS)]
    pub max_unsent_bytes: usize,

    /// The kernel's send buffer for one connection, 4096 to 536870912 bytes; 0 lets it grow
    ///
    /// Left to itself the kernel holds up to 4 MB for a client that never reads. It may take
    /// less than asked for: see net.core.wmem_max.
    #[arg(long, env = "SWITCHBOARD_SOCKET_SEND_BUFFER", value_name = "BYTES")]
    #[arg(default_value_t = limits::DEFAULT_SOCKET_SEND_BUFFER_BYTES, help_heading = BOUNDS)]
    pub socket_send_buffer: usize,

    /// Bytes of one HTTP request head, 1024 to 1048576
    ///
    /// A longer one, or one of more than 100 fields, is answered with 431.
    #[arg(long, env = "SWITCHBOARD_MAX_HEAD_BYTES", value_name = "BYTES")]
    #[arg(default_value_t = limits::DEFAULT_HEAD_BYTES, help_heading = BOUNDS)]
    pub max_head_bytes: usize,

    /// How long a closing connection may take to end
    ///
    /// Counted from the server's Close frame, or from the last answer to a client that speaks
    /// HTTP, which has to take it within that time; then the connection is cut.
    #[arg(long, env = "SWITCHBOARD_CLOSE_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_CLOSE_TIMEOUT), help_heading = TIMES)]
    pub close_timeout: HumanDuration,

    /// How long a whole request head may take to arrive
    ///
    /// Counted for the head, not for each byte; then the answer is 408. A keep-alive connection
    /// that is idle, or has not taken its answer, is closed after the same time.
    #[arg(long, env = "SWITCHBOARD_HANDSHAKE_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_HANDSHAKE_TIMEOUT), help_heading = TIMES)]
    pub handshake_timeout: HumanDuration,

    /// How long a client may be silent before it is pinged
    ///
    /// Any byte from it counts as a sign of life, and so does its taking what had to wait for it.
    /// Shorter than --silence-limit, and than the idle time of any proxy in between.
    #[arg(long, env = "SWITCHBOARD_PING_INTERVAL", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_PING_INTERVAL), help_heading = TIMES)]
    pub ping_interval: HumanDuration,

    /// How long a client may be silent before it is closed with 1001
    #[arg(long, env = "SWITCHBOARD_SILENCE_LIMIT", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_SILENCE_LIMIT), help_heading = TIMES)]
    pub silence_limit: HumanDuration,

    /// How long two who just shared a room wait for somebody else before they may meet again
    ///
    /// 0s pairs them again at once if they are next in the queue.
    #[arg(long, env = "SWITCHBOARD_REMATCH_DELAY", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_REMATCH_DELAY), help_heading = TIMES)]
    pub rematch_delay: HumanDuration,

    /// How long rooms may go on after SIGTERM or SIGINT
    ///
    /// Idle and waiting users are closed with 1012 within its first half, rooms at its end. A
    /// second signal ends the process at once.
    #[arg(long, env = "SWITCHBOARD_DRAIN_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_DRAIN_TIMEOUT), help_heading = TIMES)]
    pub drain_timeout: HumanDuration,

    /// How long a lost connection's session waits to be resumed; for now only 0s
    ///
    /// 0s turns resuming off: a lost connection ends its session at once.
    #[arg(long, env = "SWITCHBOARD_RESUME_WINDOW", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(Duration::ZERO), help_heading = TIMES)]
    pub resume_window: HumanDuration,

    /// STUN or TURN server for the clients; repeat it, or separate several by spaces
    ///
    /// stun:HOST or stun:HOST:PORT; or turn: and turns: likewise, with ?transport=udp or tcp where wanted, followed by
    /// ,user=NAME,password=SECRET. Every client is told, so the password is no secret.
    ///
    /// Default: none, which is enough for clients that reach each other directly
    #[arg(long, env = "SWITCHBOARD_ICE_SERVER", value_name = "URL", hide_env_values = true)]
    #[arg(value_delimiter = ' ', help_heading = CALLS)]
    pub ice_server: Vec<IceServer>,

    /// TURN server that shares a secret with this one (coturn's use-auth-secret); repeatable
    ///
    /// Each session gets a user and a password of its own, which end by themselves.
    ///
    /// Default: none
    #[arg(long, env = "SWITCHBOARD_TURN_URL", value_name = "URL")]
    #[arg(value_delimiter = ' ', value_parser = IceUrl::turn, help_heading = CALLS)]
    pub turn_url: Vec<IceUrl>,

    /// File with the secret that --turn-url's server has as static-auth-secret
    ///
    /// Default: none
    #[arg(long, env = "SWITCHBOARD_TURN_SECRET_FILE", value_name = "PATH", help_heading = CALLS)]
    pub turn_secret_file: Option<PathBuf>,

    /// How long a session's TURN password is good for, 1m to 366d
    ///
    /// It has to outlast a session, calls included: a client gets it once, when it connects.
    #[arg(long, env = "SWITCHBOARD_TURN_TTL", value_name = "DURATION")]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_TURN_TTL), help_heading = CALLS)]
    pub turn_ttl: HumanDuration,

    /// Queue whose waiting users /stats and /metrics show by name; repeat it or use commas
    ///
    /// Users choose queue names, so no other queue is ever named there.
    ///
    /// Default: none
    #[arg(long, env = "SWITCHBOARD_STATS_QUEUE", value_name = "NAME")]
    #[arg(value_delimiter = ',', help_heading = REPORTING)]
    pub stats_queue: Vec<String>,

    /// How log lines on standard error look: text or json
    #[arg(long, env = "SWITCHBOARD_LOG_FORMAT", value_name = "FORMAT")]
    #[arg(value_enum, default_value_t = LogFormat::Text, help_heading = REPORTING)]
    pub log_format: LogFormat,

    /// Which log lines are written: off, error, warn, info, debug or trace
    #[arg(long, env = "SWITCHBOARD_LOG_LEVEL", value_name = "LEVEL")]
    #[arg(default_value_t = LevelFilter::INFO, value_parser = log_level, help_heading = REPORTING)]
    pub log_level: LevelFilter,

    /// Say what this machine lacks for so many connections, with the commands that mend it
    ///
    /// One line for each limit: ok, short, unknown or note. Nothing is started and nothing is
    /// changed; the status is 1 if anything is short. Takes --shards, --listen, --admin-listen,
    /// --fd-tables and --max-connections into account.
    #[arg(long, env = "SWITCHBOARD_CHECK", value_name = "CONNECTIONS", help_heading = REPORTING)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::MAX_CONNECTIONS)))]
    pub check: Option<u32>,
}

const LISTENING: &str = "Listening";
const DOORS: &str = "Who may come in";
const BOUNDS: &str = "Bounds";
const TIMES: &str = "Times";
const CALLS: &str = "Calls";
const REPORTING: &str = "Reporting";

/// How the kernel chooses a shard for a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConnectionSteering {
    /// By a hash of its addresses.
    Off,
    /// By the CPU that received its packet.
    Cpu,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the program ends before it has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EarlyExit {
    /// Help or version was asked for: this goes to standard output, and all is well.
    Help(String),
    /// The arguments are wrong: this one line goes to standard error.
    UsageError(String),
}

impl Arguments {
    /// Reads the program's name and arguments, and the environment for what they leave out.
    ///
    /// # Errors
    /// See [`EarlyExit`].
    pub fn read<I>(words: I) -> Result<Self, EarlyExit>
    where
        I: IntoIterator,
        I::Item: Into<OsString> + Clone,
    {
        Arguments::try_parse_from(words).map_err(|error| {
            let text = without_secrets(&error).unwrap_or_else(|| error.to_string());
            if error.use_stderr() {
                EarlyExit::UsageError(one_line(&text))
            } else {
                EarlyExit::Help(text)
            }
        })
    }
}

/// What to say in place of clap's words where those would repeat a password.
fn without_secrets(error: &clap::Error) -> Option<String> {
    let of = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(_) | None => None,
    };
    of(ContextKind::InvalidArg).filter(|name| name.starts_with("--ice-server"))?;
    let value = of(ContextKind::InvalidValue)?;
    let reason = value.parse::<IceServer>().err()?;
    let url = value.split(',').next().unwrap_or_default();
    // Without a scheme it may be the rest of a password with a space in it.
    let is_url = ["stun:", "turn:", "turns:"].iter().any(|scheme| url.starts_with(scheme));
    Some(match is_url {
        true => format!("invalid value '{url}' for '--ice-server <URL>': {reason}"),
        false => {
            "invalid value for '--ice-server <URL>': each begins with stun:, turn: or turns:, \
                  and a space begins the next"
                .to_owned()
        }
    })
}

/// What clap says of an error, without its hints and usage, on one line.
fn one_line(text: &str) -> String {
    let first = text.split("\n\n").next().unwrap_or(text);
    let words: Vec<&str> = first.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

/// A duration that is written as people write it: `800ms`, `5s`, `1m 30s`; plain `0` too.
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
        humantime::format_duration(self.0).fmt(f)
    }
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an IP address and a port, like 127.0.0.1:8080 or [::1]:8080".to_owned()
    })
}

fn log_level(text: &str) -> Result<LevelFilter, String> {
    const LEVELS: [LevelFilter; 6] = [
        LevelFilter::OFF,
        LevelFilter::ERROR,
        LevelFilter::WARN,
        LevelFilter::INFO,
        LevelFilter::DEBUG,
        LevelFilter::TRACE,
    ];
    LEVELS
        .into_iter()
        .find(|level| level.to_string().eq_ignore_ascii_case(text))
        .ok_or_else(|| "expected off, error, warn, info, debug or trace".to_owned())
}
