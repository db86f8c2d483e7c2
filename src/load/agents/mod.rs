//! Several generator machines: agents that drive the users, and one coordinator that plans the runs,
//! merges what the agents measure, reads the server's figures and writes the report.
//!
//! ```text
//! coordinator                                       agent, one for each machine
//!   AgentFleet ── Prepare, Run, Stop, Alive ──────►   session ── LoadEngine
//!   IntervalMerge ◄── Interval, Failed, Alive ────    one interval at a time
//! ```
//!
//! Each agent matches its own users with each other, in queues of its own, so that the pairing ledger
//! and the one-way times of an agent need no other clock. The shares of the agents add up to the
//! schedule of one generator ([`super::engine::GeneratorShare`]).
//!
//! [`authentication`], [`protocol`], [`interval_merge`] and [`health`] are pure; [`link`],
//! [`agent`] and [`coordinator`] use blocking sockets and threads, which is enough for some messages
//! a second.

pub mod agent;
pub mod authentication;
pub mod coordinator;
pub mod frame;
pub mod health;
pub mod interval_merge;
pub mod link;
pub mod protocol;

use std::time::Duration;

/// Time from the order to the common start: enough for the order to arrive everywhere.
pub const START_DELAY: Duration = Duration::from_millis(500);
/// Time between two signs of life of each side.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// A side that sends nothing for this long is gone: ten signs of life are missing.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// An agent whose interval arrives this long after its end is too late: the console and the reaction
/// to a crash of the server would be late too.
pub const LATENESS_LIMIT: Duration = Duration::from_secs(10);
/// Time for the connection and the authentication of both sides.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// How long an agent that is busy is asked again: the users of a run before may be about to end.
pub const BUSY_PATIENCE: Duration = Duration::from_secs(2);
/// Time for an agent to check its limits and to reach the server.
pub const PREPARATION_LIMIT: Duration = Duration::from_secs(30);
/// Most agents of one test.
pub const MAX_AGENTS: usize = 64;
