//! Counters, histograms, `/stats`, `/metrics`, `/health` and the figures of the process.
//!
//! Every shard and the matcher write counters of their own, without locks and without locked
//! instructions; any thread reads them, whenever somebody asks. The main thread takes a
//! [`Sample`] once a second: rates, and what the kernel says of the process. Rendering reads
//! these and nothing else: it makes no system call, so a shard may do it within its turn, and
//! it works when descriptors have run out.

pub mod counter;
pub mod counters;
pub mod histogram;
pub mod labels;

pub use counter::{Counter, Gauge, Label, Labelled};
pub use counters::{MatcherCounters, ShardCounters};
pub use histogram::Histogram;
pub use labels::{EndReason, RejectReason};
