//! The flags under "Listening and threads".

use super::values::{COMMA, ListParser, Trimmed, ValueList};
use clap::builder::{BoolishValueParser, EnumValueParser};
use clap::{Args, ValueEnum, value_parser};
use std::net::SocketAddr;

/// Where the server listens, and its threads.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Listening and threads")]
pub struct ListeningArguments {
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
    #[arg(value_parser = ListParser { value: listen_address, separators: COMMA })]
    pub listen: Vec<ValueList<SocketAddr>>,

    /// Separate address and port for /stats and /metrics; repeat the flag or separate by commas
    ///
    /// The public ports then answer 404 for /stats and /metrics; /health is served on both. Takes
    /// up to 64 connections, which do not count for --max-connections. The page then shows no
    /// number of users.
    ///
    /// Default: none; /stats and /metrics are on the public ports
    #[arg(long, env = "SWITCHBOARD_ADMIN_LISTEN", value_name = "ADDRESS:PORT")]
    #[arg(value_parser = ListParser { value: listen_address, separators: COMMA })]
    pub admin_listen: Vec<ValueList<SocketAddr>>,

    /// Number of shards: threads that serve connections
    ///
    /// Each shard has its own listeners, event loop and connections. Two matched users end up on
    /// the same shard.
    ///
    /// Default: one for each CPU that the process may use
    #[arg(long, env = "SWITCHBOARD_SHARDS", value_name = "COUNT")]
    #[arg(value_parser = Trimmed(str::parse::<usize>))]
    pub shards: Option<usize>,

    /// Let the scheduler move shards between CPUs
    ///
    /// By default each shard is pinned to one CPU. Use this on a machine that runs other busy
    /// processes. Under a CPU quota, as containers have, shards are never pinned.
    #[arg(long, env = "SWITCHBOARD_NO_PIN", value_parser = Trimmed(BoolishValueParser::new()))]
    pub no_pin: bool,

    /// How the kernel assigns new connections to shards
    ///
    /// off: by a hash of the addresses. cpu: to the shard on whose CPU the packet arrived, so that
    /// a connection's packets and its shard stay on one CPU. cpu needs a CPU for each shard,
    /// pinned shards, and a network card whose queues are spread over these CPUs
    /// (tuning/nic.sh); with a single queue, one shard gets all connections.
    #[arg(long, env = "SWITCHBOARD_STEER", value_name = "BY", value_enum)]
    #[arg(value_parser = Trimmed(EnumValueParser::<ConnectionSteering>::new()))]
    #[arg(default_value_t = ConnectionSteering::Off)]
    pub steer: ConnectionSteering,

    /// How long a shard polls the network card before it sleeps, in microseconds; 0 is off
    ///
    /// Saves the latency of the card's interrupt and uses CPU time that would be idle. Needs
    /// Linux 6.9 and a network driver that supports busy polling.
    #[arg(long, env = "SWITCHBOARD_BUSY_POLL", value_name = "MICROSECONDS")]
    #[arg(value_parser = Trimmed(value_parser!(u32)), default_value_t = 0)]
    pub busy_poll: u32,

    /// Serve a WebSocket echo on the path /echo
    ///
    /// For conformance suites and latency tools. Echoes text and binary messages of up to 16 MiB
    /// and 100000 fragments. While a client does not read its echoes, the server does not read
    /// from the client.
    #[arg(long, env = "SWITCHBOARD_ECHO", value_parser = Trimmed(BoolishValueParser::new()))]
    pub echo: bool,
}

/// How the kernel chooses the shard of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConnectionSteering {
    /// By a hash of the addresses.
    Off,
    /// The shard on whose CPU the packet arrived.
    Cpu,
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an IP address and a port, like 127.0.0.1:8080 or [::1]:8080".to_owned()
    })
}
