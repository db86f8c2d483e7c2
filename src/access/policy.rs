//! The operator's rules about origins, proxies and the administration address. Pure.

use crate::wire::http::{Origin, SingleField};
use crate::wire::proxy::Networks;
use std::net::SocketAddr;

/// Which pages may open sessions, which proxies are trusted, and where figures are served. The
/// default admits every page, trusts no proxy, and serves figures on the public address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessPolicy {
    /// Origins of pages that may open sessions. Empty: pages of every origin.
    pub allowed_origins: Vec<Origin>,
    /// Networks of the proxies that are trusted to name the address of a client.
    pub trusted_proxies: Networks,
    /// Addresses at which `/stats` and `/metrics` are served. Empty: at the public addresses.
    pub admin_listen: Vec<SocketAddr>,
}

impl AccessPolicy {
    /// Whether a request with this `Origin` field may be upgraded. A request without the field
    /// does not come from a browser (RFC 6455 §10.2) and is admitted. A request with more than
    /// one has no valid origin (RFC 6454 §7.3) and is refused.
    pub fn admits_origin(&self, origin: SingleField<'_>) -> bool {
        match origin {
            _ if self.allowed_origins.is_empty() => true,
            SingleField::Absent => true,
            SingleField::One(field) => {
                self.allowed_origins.iter().any(|origin| origin.matches(field))
            }
            // guard: several Origin fields are refused [value true]
            SingleField::Several => false,
        }
    }
}
