//! What a proxy in front of the server says of its clients: the PROXY protocol (versions 1 and
//! 2, as HAProxy's doc/proxy-protocol.txt has it) and `X-Forwarded-For`. Pure.
//!
//! Whoever connects could say the same, so all of it is worth something only from a peer that
//! the operator trusts ([`Networks`]). Nothing here decides that.

mod forwarded;
mod header;
mod network;

pub use forwarded::client_behind;
pub use header::{ProxyHeader, ProxyHeaderError, read_proxy_header};
pub use network::{Network, NetworkError, Networks};
