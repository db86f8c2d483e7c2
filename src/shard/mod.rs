//! A shard: one thread, its connections, their sessions and rooms.
//!
//! [`core`] decides everything and is pure, given a [`host::Host`] that carries out what it
//! asks for; [`driver`] is the host with sockets and the loop around it. The core's work is
//! spread over files by what sets it off: bytes ([`input`], [`frames`], [`echo`]), the matcher and the
//! other shards ([`rooms`]), a proxy's word ([`proxied`]), time ([`sweep`]); all of them write through [`output`].

pub mod accept;

#[doc(hidden)]
pub mod audit;
pub mod connection;
pub mod core;
pub mod driver;
mod echo;
mod frames;
pub mod host;
mod input;
mod output;
mod proxied;
mod room_tokens;
mod rooms;
mod run_list;
pub mod socket;
mod sweep;
