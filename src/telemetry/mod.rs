//! Counters, histograms, `/stats`, `/metrics`, `/health` and the figures of the process.
//!
//! Every shard and the matcher write counters of their own, without locks and without locked
//! instructions; any thread reads them, whenever somebody asks. The main thread takes a
//! [`ProcessSample`] once a second: rates, and what the kernel says of the process. Rendering reads
//! these and nothing else: it makes no system call, so a shard may do it within its turn, and
//! it works when descriptors have run out.

pub mod counter;
pub mod counters;
pub mod histogram;
pub mod labels;
mod metrics;
pub mod notices;
mod sample;
mod stats;

pub use counter::{Counter, Gauge, Label, Labelled};
pub use counters::{MatcherCounters, ShardCounters};
pub use histogram::Histogram;
pub use labels::{EndReason, RejectReason};
pub use metrics::{METRICS_CONTENT_TYPE, metrics_table, metrics_text};
pub use sample::{ProcessSample, Sampler};
pub use stats::{health_json, stats_json};

use crate::timestamp::Timestamp;
use counters::ShardFigures;
use std::sync::Arc;
use std::time::Duration;

/// What stays the same for the life of the process.
#[derive(Clone, Debug)]
pub struct ProcessInfo {
    /// The program's version.
    pub version: &'static str,
    /// When it started, on the monotonic clock.
    pub started: Timestamp,
    /// When it started, since the Unix epoch.
    pub started_unix: Duration,
    /// Connections it takes.
    pub max_connections: u32,
    /// File descriptors that each of its tables may hold.
    pub descriptors_allowed: u64,
    /// How many descriptor tables it has.
    pub tables: u64,
    /// Queues whose waiting users may be named, in the order of
    /// [`ShardCounters::waiting_by_queue`].
    pub stats_queues: Vec<String>,
}

impl ProcessInfo {
    /// File descriptors that all its tables may hold.
    pub fn descriptors_of_all_tables(&self) -> u64 {
        self.descriptors_allowed.saturating_mul(self.tables)
    }
}

/// Everything that can be told about the running process; shared by all threads.
#[derive(Debug)]
pub struct Telemetry {
    /// One for each shard, in their order.
    pub shards: Vec<Arc<ShardCounters>>,
    /// The matcher's.
    pub matcher: Arc<MatcherCounters>,
    /// What stays the same.
    pub about: ProcessInfo,
    /// 1 from the signal to shut down on, else 0. The main thread writes it.
    pub draining: Gauge,
    /// Threads that make no turns (see [`crate::server::watchdog`]). The main thread writes it.
    pub stalled_threads: Gauge,
    /// Log lines that were lost because standard error took no more. The main thread writes it.
    pub log_lines_dropped: Counter,
    /// What the main thread found out last. A [`Sampler`] writes it.
    pub sample: ProcessSample,
}

/// Who is here, on all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// Sessions.
    pub sessions: i64,
    /// Of those, waiting for a partner.
    pub waiting: i64,
    /// Rooms of two.
    pub rooms: i64,
}

impl Telemetry {
    /// All at zero.
    pub fn new(about: ProcessInfo, shards: usize) -> Self {
        let queues = about.stats_queues.len();
        Telemetry {
            shards: (0..shards).map(|_| Arc::new(ShardCounters::new(queues))).collect(),
            matcher: Arc::default(),
            about,
            draining: Gauge::default(),
            stalled_threads: Gauge::default(),
            log_lines_dropped: Counter::default(),
            sample: ProcessSample::new(shards),
        }
    }

    /// Who is here now.
    pub fn session_counts(&self) -> SessionCounts {
        let mut counts = SessionCounts::default();
        for shard in &self.shards {
            counts.sessions += shard.sessions.get();
            counts.waiting += shard.waiting.get();
            counts.rooms += shard.rooms.get();
        }
        counts
    }

    /// The figures of every shard at this moment, and their sum.
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

/// `value` to so many decimal places.
fn rounded(value: f64, places: i32) -> f64 {
    let scale = 10_f64.powi(places);
    (value * scale).round() / scale
}

/// The figures that the tests of rendering render: two shards, no two figures of a shard alike.
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
