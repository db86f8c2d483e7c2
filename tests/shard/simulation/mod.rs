//! Deterministic simulation: shard cores, the matcher and virtual users in one process, under
//! one seed, with all the faults that networks, kernels and threads have.
//!
//! There is no thread, no socket and no clock in here: [`simulator`] decides who runs next, [`net`]
//! and [`mailboxes`] carry bytes and commands, and [`plan`] says how badly. What must hold is checked
//! whenever something has run: [`user`] checks what a client is sent against what it knows,
//! [`session_model`] checks clients against each other and against the shards' own books, [`matcher_model`]
//! does the matcher's work again, and [`finish`] ends the run and finds what was left behind.
//! In a [`script`] nothing is left to chance: whoever writes it takes every step.

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
mod simulator;
mod user;
mod user_actions;

use event_counts::{EventCounts, Trace};
use random::Random;
use simulator::Simulator;

/// Runs the simulator that these choices make to its end, and says what happened. Panics when
/// something is wrong, and then tells the last `tell` lines of the events_of.
pub(crate) fn run(random: Random, tell: usize) -> EventCounts {
    let mut simulator = Simulator::new(random, Trace::new(tell));
    simulator.run_with_faults();
    simulator.finish();
    let mut shared = simulator.shared.borrow_mut();
    std::mem::take(&mut shared.counts)
}
