//! The load tester: virtual users that pair up with each other, and what they find out.

pub mod book;
pub mod cli;
pub mod dice;
pub mod engine;
pub mod figures;
pub mod journal;
pub mod measure;
pub mod plans;
pub mod preflight;
pub mod probe;
pub mod program;
pub mod progress;
pub mod receipts;
pub mod report;
pub mod scenario;
pub mod search;
pub mod stamp;
pub mod stand;
pub mod target;
pub mod trend;
pub mod units;
pub mod user;
