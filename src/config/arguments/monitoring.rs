//! The flags under "Monitoring".

use super::values::{COMMA, ListParser, Trimmed, ValueList};
use crate::limits;
use clap::builder::{BoolishValueParser, EnumValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum, value_parser};
use tracing::level_filters::LevelFilter;

/// Figures, log and the check of the machine.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Monitoring")]
pub struct MonitoringArguments {
    /// Queue that /stats and /metrics show by name; repeat the flag or separate several by commas
    ///
    /// Clients choose the names of queues, so no other queue is shown by name. Users of these
    /// queues, and of `default`, are told how long they have to expect to wait.
    ///
    /// Default: none
    #[arg(long, env = "SWITCHBOARD_STATS_QUEUE", value_name = "NAME")]
    #[arg(value_parser = ListParser { value: str::parse::<String>, separators: COMMA })]
    pub stats_queue: Vec<ValueList<String>>,

    /// Format of the log lines on standard error
    #[arg(long, env = "SWITCHBOARD_LOG_FORMAT", value_name = "FORMAT")]
    #[arg(value_enum, value_parser = Trimmed(EnumValueParser::<LogFormat>::new()))]
    #[arg(default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Least severe level of log lines that are written
    ///
    /// debug adds one line for the end of each session, with its identifier, the reason and the
    /// duration. trace adds nothing more.
    #[arg(long, env = "SWITCHBOARD_LOG_LEVEL", value_name = "LEVEL")]
    #[arg(default_value_t = LevelFilter::INFO, value_parser = Trimmed(log_level_parser()))]
    #[arg(ignore_case = true)]
    pub log_level: LevelFilter,

    /// Add the client's address to the line about the end of a session
    ///
    /// Such a line is written only with --log-level debug. The address is that of the connection,
    /// or the one that a trusted proxy names. Addresses are personal data.
    #[arg(long, env = "SWITCHBOARD_LOG_ADDRESSES", value_parser = Trimmed(BoolishValueParser::new()))]
    pub log_addresses: bool,

    /// Check the settings, print ok, and exit
    ///
    /// Also reads the files that the settings name. Starts no server and opens no port. If something
    /// is wrong, the status is 2 and standard error says what.
    #[arg(long, env = "SWITCHBOARD_CHECK_CONFIG", value_parser = Trimmed(BoolishValueParser::new()))]
    pub check_config: bool,

    /// Report whether this machine is set up for CONNECTIONS connections, then exit
    ///
    /// Prints one line for each kernel limit: ok, short, unknown or note; a short limit comes with
    /// the command that raises it. Starts no server and changes nothing. The exit status is 1 if a
    /// limit is short. Takes --shards, --listen, --admin-listen, --fd-tables and --max-connections
    /// into account.
    ///
    /// Default: off
    #[arg(long, env = "SWITCHBOARD_CHECK", value_name = "CONNECTIONS")]
    #[arg(value_parser = Trimmed(value_parser!(u32).range(1..=i64::from(limits::MAX_CONNECTIONS))))]
    pub check: Option<u32>,

    /// Ask the server at the first address of --listen whether it is healthy, then exit
    ///
    /// For containers and supervisors without an HTTP client: the exit status is 0 if GET /health
    /// is answered with 200 within 3 s, otherwise 1. A server that shuts down answers 503. Set
    /// --listen as for the server, best by its variable, which both then read.
    #[arg(long, env = "SWITCHBOARD_HEALTH_CHECK", value_parser = Trimmed(BoolishValueParser::new()))]
    pub health_check: bool,
}

/// Format of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object a line.
    Json,
}

fn log_level_parser() -> impl TypedValueParser<Value = LevelFilter> {
    PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
        .try_map(|level| level.parse::<LevelFilter>())
}
