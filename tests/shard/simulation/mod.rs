//! Deterministic simulation: shard cores, the matcher and virtual users in one process, driven by
//! one seed, with the faults of networks, kernels and threads.
//!
//! It uses no threads, sockets or clocks. [`simulator`] chooses what runs next; [`shard_iteration`]
//! runs a shard; [`network`] and [`mailboxes`] carry bytes and commands; [`plan`] says how often faults
//! occur. The guarantees are checked after every step:
//!
//! - [`user`] and [`user_rooms`] check each message that a client receives against the state that
//!   the client knows.
//! - [`session_model`] compares clients with each other and with the tables of the shards.
//! - [`matcher_model`] repeats the matcher's decisions in the simplest way.
//! - [`finish`] ends the run and checks that all resources are released.
//!
//! A [`script`] makes no random choices: a test takes each of its steps.

pub(crate) mod event_counts;
mod finish;
mod format;
mod host;
mod mailboxes;
mod matcher_model;
mod network;
mod pending_requests;
mod plan;
pub(crate) mod random;
pub(crate) mod script;
mod session_model;
mod shard_iteration;
mod simulator;
mod user;
mod user_actions;
mod user_rooms;

use event_counts::{EventCounts, Trace};
use random::Random;
use simulator::Simulator;

/// Runs one simulation with these choices and returns its event counts. Panics when a guarantee is
/// violated, after it has printed the last `kept_lines` lines of the log.
pub(crate) fn run(random: Random, kept_lines: usize) -> EventCounts {
    let mut simulator = Simulator::new(random, Trace::new(kept_lines));
    simulator.run_with_faults();
    simulator.finish();
    let mut shared = simulator.shared.borrow_mut();
    std::mem::take(&mut shared.counts)
}
