#![doc = include_str!("README.md")]
//!
//! # Modules
//!
//! ```text
//! cli → scenario → run_plans → runner → test_environment ── rows → interval_log, progress, report
//!                                │              ▲
//!                             search            │ sample windows, one per thread and interval
//!                                               │
//!                                       engine: worker (event loop) → connection → user → measure
//!                                       schedule, source_addresses, http_client      │ events
//!                                                                             pairing_ledger
//! ```
//!
//! With `--agents`, the engines run in other processes (`agents`): `generators` gives the test
//! environment the intervals of either.
//!
//! The load tester is part of the package, but not of the server: of the server's modules it uses
//! `wire`, `sys`, `limits` and `timestamp` only. Every module that decides is pure: users, the
//! pairing ledger, the search, the slope test, targets and figures take time and bytes as
//! arguments, so that a simulation can drive the same code.

pub mod agents;
pub mod checkpoint;
pub mod cli;
pub mod encoded_histogram;
pub mod engine;
pub mod figures;
pub mod generators;
pub mod interval_log;
pub mod live_metrics;
pub mod machine_load;
pub mod measure;
pub mod merge;
pub mod message_header;
pub mod pairing_ledger;
pub mod planned_time;
pub mod preflight;
pub mod progress;
pub mod remake;
pub mod report;
pub mod rng;
pub mod room_traffic;
pub mod run_batches;
pub mod run_plans;
pub mod runner;
pub mod scenario;
pub mod search;
pub mod sequence_tracker;
pub mod server_description;
pub mod server_monitor;
pub mod server_process;
pub mod server_stats;
pub mod suggestion;
pub mod target;
pub mod target_address;
pub mod test_environment;
pub mod trend;
pub mod units;
pub mod user;
