//! Which connections are accepted: how many connections there may be, from which addresses, and from
//! pages of which origins.

pub mod admission;
pub mod eviction;
pub mod match_rate;
mod policy;

pub use policy::AccessPolicy;

use std::net::{IpAddr, Ipv6Addr};

/// The address that a client is counted under: an IPv6 client has a whole /64 (RFC 6177 §2).
fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            // guard: a /64 counts as one address [argument 1, argument 1, term 2 value u128::MAX]
            IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)))
        }
    }
}
