//! Deterministic simulation: shard cores, the matcher and virtual users in one process, under
//! one seed, with all the faults that networks, kernels and threads have.
//!
//! There is no thread, no socket and no clock in here: [`world`] decides who runs next, [`net`]
//! and [`post`] carry bytes and letters, and [`plan`] says how badly. What must hold is checked
//! whenever something has run: [`user`] checks what a client is sent against what it knows,
//! [`ledger`] checks clients against each other and against the shards' own books, [`mirror`]
//! does the matcher's work again, and [`settle`] ends the run and finds what was left behind.
//! In a [`script`] nothing is left to chance: whoever writes it takes every step.

mod act;
mod asked;
mod host;
mod ledger;
mod mirror;
mod net;
mod plan;
mod post;
pub(crate) mod random;
pub(crate) mod script;
mod settle;
pub(crate) mod tally;
mod tell;
mod user;
mod world;

use random::Random;
use tally::{Tally, Trace};
use world::World;

/// Runs the world that these choices make to its end, and says what happened. Panics when
/// something is wrong, and then tells the last `tell` lines of the story.
pub(crate) fn run(random: Random, tell: usize) -> Tally {
    let mut world = World::new(random, Trace::new(tell));
    world.live();
    world.settle();
    let mut shared = world.shared.borrow_mut();
    std::mem::take(&mut shared.tally)
}
