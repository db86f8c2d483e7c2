//! The simulation of shard cores, the matcher and users. The fuzz input makes every choice, and all
//! checks of the simulation apply.
#![no_main]

#[path = "../../support/fakes.rs"]
mod fakes;
#[allow(dead_code, reason = "what only a run of seeds needs")]
#[path = "../../shard/simulation/mod.rs"]
mod simulation;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    simulation::run(simulation::random::Random::from_bytes(input), 0);
});
