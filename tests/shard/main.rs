//! Tests of the shard core and the matcher inside one process, without sockets, threads or a
//! real clock.

mod crossings;
#[path = "../support/fakes.rs"]
mod fakes;
mod faults;
mod seeds;
mod simulation;
mod skipping;
