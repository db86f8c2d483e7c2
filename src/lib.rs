//! Switchboard: strangers connect, are matched in pairs and signal each other.
//!
//! ```text
//! kernel → shard/driver → wire/http → wire/frame → wire/assembly → wire/message → session
//!              ▲                                                     │ find_match   │ offer, answer, …
//!              │ one write per destination and read                  ▼              ▼
//!          wire/egress ◄────────── room partner (same shard) ◄─ match ─ matcher (one thread)
//! ```
//!
//! Modules stand in the order in which data flows through them; imports run downwards only.

pub mod access;
pub mod commands;
pub mod config;
pub mod ice;
pub mod ids;
pub mod limits;
pub mod load;
pub mod logging;
pub mod mailbox;
pub mod matchmaking;
pub mod page;
pub mod preflight;
pub mod server;
pub mod session;
pub mod shard;
pub mod timestamp;

pub mod sys;
pub mod telemetry;

pub mod wire;
