//! The client's address as a proxy in front of the server reports it: the PROXY protocol (versions
//! 1 and 2, as defined in HAProxy's doc/proxy-protocol.txt) and `X-Forwarded-For`. Pure.
//!
//! Any client can send the same, so a report is trustworthy only if the peer is in one of the
//! networks that the operator trusts ([`Networks`]). The caller checks that.

mod forwarded;
mod header;
mod network;

pub use forwarded::client_behind;
pub use header::{ProxyHeader, ProxyHeaderError, read_proxy_header, write_proxy_header};
pub use network::{Network, NetworkError, Networks};
