//! The flags under "STUN and TURN".

use super::values::{COMMA_OR_SPACE, ListParser, SPACE, Trimmed, ValueList};
use crate::config::HumanDuration;
use crate::ice::{IceServer, IceUrl};
use crate::limits;
use clap::Args;
use clap::builder::{BoolishValueParser, PathBufValueParser};
use std::path::PathBuf;

/// STUN and TURN servers for the clients.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "STUN and TURN")]
pub struct IceArguments {
    /// STUN or TURN server for the clients; repeat the flag or separate several by spaces
    ///
    /// stun:HOST or stun:HOST:PORT. For a TURN server with a fixed password: turn:HOST,
    /// turn:HOST:PORT or turns: likewise, optionally with ?transport=udp or ?transport=tcp, followed
    /// by ,user=NAME,password=SECRET. Every client is given the password.
    ///
    /// Default: none; clients connect only if they can reach each other directly
    #[arg(long, env = "SWITCHBOARD_ICE_SERVER", value_name = "URL", hide_env_values = true)]
    #[arg(value_parser = ListParser { value: str::parse::<IceServer>, separators: SPACE })]
    pub ice_server: Vec<ValueList<IceServer>>,

    /// TURN server with time-limited credentials; repeat the flag or separate by commas or spaces
    ///
    /// The TURN server shares the secret of --turn-secret-file with this server (coturn:
    /// use-auth-secret). Each session gets a user name and a password when it connects, valid for
    /// --turn-ttl, and with each match new ones, valid for --turn-match-ttl.
    ///
    /// Default: none
    #[arg(long, env = "SWITCHBOARD_TURN_URL", value_name = "URL")]
    #[arg(value_parser = ListParser { value: IceUrl::turn, separators: COMMA_OR_SPACE })]
    pub turn_url: Vec<ValueList<IceUrl>>,

    /// File with the secret shared with the servers of --turn-url (coturn: static-auth-secret)
    ///
    /// Default: none
    #[arg(long, env = "SWITCHBOARD_TURN_SECRET_FILE", value_name = "PATH")]
    #[arg(value_parser = Trimmed(PathBufValueParser::new()))]
    pub turn_secret_file: Option<PathBuf>,

    /// How long the TURN credentials that a session gets when it connects are valid
    ///
    /// Clients of version 1 of the protocol use them for every call, so the time must be longer than
    /// a session with all its calls.
    #[arg(long, env = "SWITCHBOARD_TURN_TTL", value_name = "DURATION")]
    #[arg(value_parser = Trimmed(str::parse::<HumanDuration>))]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_TURN_TTL))]
    pub turn_ttl: HumanDuration,

    /// How long the TURN credentials that a session gets with each match are valid
    ///
    /// A TURN server may end a call whose credentials have ended, so the time must be longer than a
    /// call.
    #[arg(long, env = "SWITCHBOARD_TURN_MATCH_TTL", value_name = "DURATION")]
    #[arg(value_parser = Trimmed(str::parse::<HumanDuration>))]
    #[arg(default_value_t = HumanDuration(limits::DEFAULT_TURN_MATCH_TTL))]
    pub turn_match_ttl: HumanDuration,

    /// Ask clients to connect to each other through a TURN server only
    ///
    /// Without it two matched users learn each other's IP address. The page obeys; the server cannot
    /// force another client to. All media then passes through the TURN servers. Needs a TURN server
    /// in --turn-url or --ice-server.
    #[arg(long, env = "SWITCHBOARD_RELAY_ONLY", value_parser = Trimmed(BoolishValueParser::new()))]
    pub relay_only: bool,
}
