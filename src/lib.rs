//! Switchboard connects strangers for voice calls: a server that matches the users of a WebSocket in
//! pairs and relays their WebRTC signalling, with one thread per core, and a load tester for it.
//!
#![doc = include_str!("ARCHITECTURE.md")]

// In the order in which data flows through them. The blank lines keep rustfmt from sorting.

pub mod server;

pub mod shard;

pub mod access;

pub mod wire;

pub mod session;

pub mod commands;

pub mod mailbox;

pub mod matchmaking;

// What all of them use.

pub mod ids;
pub mod limits;
pub mod timestamp;

pub mod sys;

// What the server tells clients and operators.

pub mod ice;
pub mod page;
pub mod telemetry;

// Before the server runs, and beside it.

pub mod config;
pub mod health_check;
pub mod logging;
pub mod preflight;

// The load tester.

pub mod load;
