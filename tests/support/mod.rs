//! What the tests against a real server share: the server as a process ([`Server`]), a client
//! that tungstenite frames ([`Client`]), one whose every byte the test decides ([`Raw`]), and
//! what can be expected of either ([`Talk`]).
//!
//! Nothing here sleeps to let something happen: whoever waits looks until it has happened, and
//! panics with what it saw when [`PATIENCE`] is over.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unused_imports, reason = "each test file uses a part of it")]

pub(crate) mod bad_server;
mod client;
mod http;
pub(crate) mod load;
mod raw;
mod schedule;
mod server;
mod stopped;
mod talk;

pub(crate) use client::Client;
pub(crate) use http::{Response, get, head, once};
pub(crate) use raw::{End, Frame, Raw, close_frame, frame, handshake, ping_frame, text_frame};
pub(crate) use schedule::{run_alone, run_shared, test_process};
pub(crate) use server::{Server, Shell, map, number, pair_up};
pub(crate) use stopped::Stopped;
pub(crate) use talk::{Heard, Match, Talk, still_talk};

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Far beyond what it takes on a machine
/// that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Whether shards can have descriptor tables of their own on this machine.
pub(crate) fn private_tables() -> bool {
    use switchboard::sys::descriptor_tables::{PrivateTableSupport, support};
    support() == PrivateTableSupport::Works
}

/// What `--fd-tables` can be on this machine.
pub(crate) fn kinds_of_tables() -> &'static [&'static str] {
    if private_tables() { &["shared", "private"] } else { &["shared"] }
}

/// Looks until there is something to see.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(value) => return value,
            Err(seen) if Instant::now() > deadline => panic!("{what}: {seen}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}
