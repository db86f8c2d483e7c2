//! The flags under "Access".

use super::values::{COMMA, ListParser, ValueList};
use crate::wire::http::Origin;
use crate::wire::proxy::Network;
use clap::Args;

/// Which pages and proxies may connect.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Access")]
pub struct AccessArguments {
    /// Web origin whose pages may open sessions; repeat the flag or separate several by commas
    ///
    /// Written like https://example.org, with the port if it is not the default one; null stands
    /// for pages without an origin. An upgrade from a page of another origin is answered with 403.
    /// A request without an Origin header does not come from a browser and is allowed.
    ///
    /// Default: all origins are allowed
    #[allow(rustdoc::bare_urls, reason = "help is plain text")]
    #[arg(long, env = "SWITCHBOARD_ALLOW_ORIGIN", value_name = "ORIGIN")]
    #[arg(value_parser = ListParser { value: str::parse::<Origin>, separators: COMMA })]
    pub allow_origin: Vec<ValueList<Origin>>,

    /// Network of reverse proxies that name the client's address; repeat the flag or use commas
    ///
    /// Written like 10.0.0.0/8, or a single address. A connection from there may begin with a
    /// PROXY protocol header, version 1 or 2. Without one, the client's address is the last
    /// address in X-Forwarded-For that is not a trusted proxy. From any other address a PROXY
    /// protocol header is answered with 400, and X-Forwarded-For is ignored.
    ///
    /// Default: none
    #[arg(long, env = "SWITCHBOARD_TRUSTED_PROXY", value_name = "NETWORK")]
    #[arg(value_parser = ListParser { value: str::parse::<Network>, separators: COMMA })]
    pub trusted_proxy: Vec<ValueList<Network>>,
}
