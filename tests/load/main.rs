//! Black-box tests of the load tester: the program `switchboard-load` runs against the real
//! server, or against a server that misbehaves on purpose.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod agents;
mod detection;
mod flags;
mod gone_server;
mod http_paths;
mod mix;
mod options;
mod real_server;
mod reports;
mod verdicts;
