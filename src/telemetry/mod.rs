//! Counters, histograms, `/stats`, `/metrics`, `/health` and measurements of the process.
//!
//! Every shard and the matcher write their own counters, without locks and without locked
//! instructions; any thread may read them at any time. Once a second the main thread takes a
//! [`ProcessSample`]: rates, and what the kernel reports about the process. Rendering reads these
//! and nothing else. It makes no system call, so a shard may do it within an iteration, and it works
//! when descriptors have run out.

pub mod counter;
pub mod counters;
pub mod expected_wait;
pub mod histogram;
pub mod labels;
mod metrics;
pub mod notices;
mod reference;
mod sample;
mod stats;

pub use counter::{Counter, Gauge, Label, Labelled};
pub use counters::{MatcherCounters, ShardCounters};
pub use histogram::Histogram;
pub use labels::{EndReason, RejectReason};
pub use metrics::{METRICS_CONTENT_TYPE, metrics_table, metrics_text};
pub use reference::{reasons_tables, stats_tables};
pub use sample::{ProcessSample, Sampler};
pub use stats::{health_json, stats_json};

use crate::timestamp::Timestamp;
use counters::ShardFigures;
use std::sync::Arc;
use std::time::Duration;

/// What does not change while the process runs.
#[derive(Clone, Debug)]
pub struct ProcessInfo {
    /// Version of the program.
    pub version: &'static str,
    /// Start of the process on the monotonic clock.
    pub started: Timestamp,
    /// Start of the process since the Unix epoch.
    pub started_unix: Duration,
    /// Connections that the server accepts (`--max-connections`).
    pub max_connections: u32,
    /// File descriptors that each descriptor table of the process may hold.
    pub descriptors_allowed: u64,
    /// Number of descriptor tables of the process.
    pub tables: u64,
    /// Queues that may be named in `/stats` and `/metrics`, in the order of
    /// [`ShardCounters::waiting_by_queue`].
    pub stats_queues: Vec<String>,
}

impl ProcessInfo {
    /// File descriptors that all descriptor tables together may hold.
    pub fn descriptors_of_all_tables(&self) -> u64 {
        self.descriptors_allowed.saturating_mul(self.tables)
    }
}

/// All counters and measurements of the process; shared by all threads.
#[derive(Debug)]
pub struct Telemetry {
    /// One for each shard, in the shards' order.
    pub shards: Vec<Arc<ShardCounters>>,
    /// The matcher's.
    pub matcher: Arc<MatcherCounters>,
    /// What does not change.
    pub about: ProcessInfo,
    /// 1 after the signal to shut down, 0 before. The main thread writes it.
    pub draining: Gauge,
    /// Threads whose event loop is stalled (see [`crate::server::watchdog`]). The main thread writes
    /// it.
    pub stalled_threads: Gauge,
    /// Times that SIGHUP replaced the settings that come from files. The main thread writes it.
    pub reloads: Counter,
    /// Times that SIGHUP left them in force, because a file could not be used. The main thread
    /// writes it.
    pub reload_failures: Counter,
    /// Log lines dropped because standard error was blocked and the queue was full. The main thread
    /// writes it.
    pub log_lines_dropped: Counter,
    /// The last sample. A [`Sampler`] writes it.
    pub sample: ProcessSample,
}

/// Open sessions and rooms, summed over all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// Open sessions.
    pub sessions: i64,
    /// Sessions that wait for a partner.
    pub waiting: i64,
    /// Open rooms.
    pub rooms: i64,
}

impl Telemetry {
    /// All zero.
    pub fn new(about: ProcessInfo, shards: usize) -> Self {
        let queues = about.stats_queues.len();
        Telemetry {
            shards: (0..shards).map(|_| Arc::new(ShardCounters::new(queues))).collect(),
            matcher: Arc::default(),
            about,
            draining: Gauge::default(),
            stalled_threads: Gauge::default(),
            reloads: Counter::default(),
            reload_failures: Counter::default(),
            log_lines_dropped: Counter::default(),
            sample: ProcessSample::new(shards, queues + 1),
        }
    }

    /// Open sessions and rooms now.
    pub fn session_counts(&self) -> SessionCounts {
        let mut counts = SessionCounts::default();
        for shard in &self.shards {
            counts.sessions += shard.sessions.get();
            counts.waiting += shard.waiting.get();
            counts.rooms += shard.rooms.get();
        }
        counts
    }

    /// The values of every shard now, and their sum.
    fn figures(&self) -> (Vec<ShardFigures>, ShardFigures) {
        let shards: Vec<ShardFigures> = self.shards.iter().map(|shard| shard.read()).collect();
        let mut totals = ShardFigures::default();
        for shard in &shards {
            totals.merge(shard);
        }
        (shards, totals)
    }

    /// Seconds since the start.
    fn uptime_s(&self, now: Timestamp) -> f64 {
        rounded(now.since(self.about.started).as_secs_f64(), 3)
    }
}

/// The value of a gauge that is -1 while its value is unknown.
fn known(gauge: &Gauge) -> Option<u64> {
    u64::try_from(gauge.get()).ok()
}

/// `value` rounded to `places` decimal places.
fn rounded(value: f64, places: i32) -> f64 {
    let scale = 10_f64.powi(places);
    (value * scale).round() / scale
}

/// For tests of rendering: two shards, with a different value in every counter of a shard.
#[cfg(test)]
fn example() -> Telemetry {
    let about = ProcessInfo {
        version: "1.2.3",
        started: Timestamp::ZERO,
        started_unix: Duration::from_secs(1_700_000_000),
        max_connections: 900,
        descriptors_allowed: 1024,
        tables: 1,
        stats_queues: vec!["en".to_owned(), "de:x".to_owned()],
    };
    let telemetry = Telemetry::new(about, 2);
    telemetry.shards[0].fill(100);
    telemetry.shards[1].fill(1000);
    telemetry.matcher.commands.add(77);
    telemetry.matcher.queues.set(2);
    telemetry.matcher.iteration_time.record(Duration::from_micros(9));
    telemetry
}
