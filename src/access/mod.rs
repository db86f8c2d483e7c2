//! Which connections are accepted: how many connections there may be, from which addresses, and from pages of
//! which origins.

pub mod admission;
mod eviction;
pub mod match_rate;
mod policy;

pub use policy::AccessPolicy;
