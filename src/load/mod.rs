//! The load tester: virtual users that pair up with each other, and what they find out.
//!
//! ```text
//! cli → scenario → plans → program → stand ─── rows ──→ journal, progress, report
//!                             │        ▲ merges slices
//!                           search     │
//!                                    engine: worker (poll loop) → link → user (pure) → recorder
//!                                              pace, dial, web          │ news
//!                                                                     book
//! ```
//!
//! It is part of the package but not of the server: it knows [`crate::wire`] and
//! [`crate::sys`] and nothing else of it. Everything that decides is pure: a user, the match
//! book, the search, the slope test, targets and figures take time and bytes as arguments, so
//! that a simulator can drive the same code.

pub mod checkpoint;
pub mod cli;
pub mod engine;
pub mod figures;
pub mod interval_log;
pub mod measure;
pub mod message_header;
pub mod pairing_ledger;
pub mod preflight;
pub mod progress;
pub mod report;
pub mod rng;
pub mod run_plans;
pub mod runner;
pub mod scenario;
pub mod search;
pub mod sequence_tracker;
pub mod server_monitor;
pub mod target;
pub mod target_address;
pub mod test_environment;
pub mod trend;
pub mod units;
pub mod user;
