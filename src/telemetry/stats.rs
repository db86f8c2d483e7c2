//! `/stats` and `/health` as JSON. Pure: all values were counted or sampled elsewhere.

use super::counter::LabelledFigures;
use super::counters::ShardFigures;
use super::histogram::HistogramFigures;
use super::{EndReason, RejectReason, Telemetry, rounded};
use crate::timestamp::Timestamp;
use crate::wire::message::ErrorCode;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// The body of `GET /health`. `draining` says whether the server is shutting down.
pub fn health_json(telemetry: &Telemetry, draining: bool, now: Timestamp) -> Vec<u8> {
    #[derive(Serialize)]
    struct HealthDocument {
        status: &'static str,
        version: &'static str,
        uptime_s: f64,
        connections: i64,
        connections_limit: u32,
    }
    json(&HealthDocument {
        status: status(draining),
        version: telemetry.about.version,
        uptime_s: telemetry.uptime_s(now),
        connections: telemetry.shards.iter().map(|shard| shard.connections.get()).sum(),
        connections_limit: telemetry.about.max_connections,
    })
}

/// The body of `GET /stats`. Times are in the unit that the name ends in. Totals and percentiles are
/// since the start; the values under `per_second` and `process` were sampled `sample_age_ms` ago.
/// tuning/REFERENCE.md describes every field.
pub fn stats_json(telemetry: &Telemetry, now: Timestamp) -> Vec<u8> {
    let (shards, totals) = telemetry.figures();
    let about = &telemetry.about;
    let queue_names = &about.stats_queues;
    let mut stats = StatsDocument {
        status: status(telemetry.draining.get() != 0),
        version: about.version,
        uptime_s: telemetry.uptime_s(now),
        connections: ConnectionStats::of(&totals, about.max_connections),
        sessions: SessionStats {
            active: totals.sessions,
            opened: totals.sessions_opened,
            pings_sent: totals.pings_sent,
            probes_sent: totals.probes_sent,
        },
        matchmaking: MatchmakingStats::of(&totals, telemetry),
        rooms: RoomStats { active: totals.rooms },
        messages: MessageStats::of(&totals),
        bytes: ByteStats::of(&totals),
        http: HttpStats { requests: totals.http_requests, rejected: &totals.rejected },
        migrations: MigrationStats {
            out: totals.migrated_out,
            r#in: totals.migrated_in,
            in_flight: totals.migrations_in_flight,
            rejected: totals.migrations_rejected,
        },
        per_second: OrderedMap(telemetry.sample.per_second.named().collect()),
        latency_ms: LatencyStats {
            match_wait: PercentilesMs::of(&totals.match_wait),
            relay: PercentilesMs::of(&totals.relay_time),
            loop_iteration: PercentilesMs::of(&totals.iteration_time),
            matcher_iteration: PercentilesMs::of(&telemetry.matcher.iteration_time.read()),
        },
        process: ProcessStats::of(telemetry, now),
        shards: Vec::with_capacity(shards.len()),
    };
    for (nth, figures) in shards.iter().enumerate() {
        stats.shards.push(ShardStats {
            shard: nth,
            cpu: u64::try_from(telemetry.shards[nth].pinned_cpu.get()).ok(),
            cpu_percent: telemetry.sample.shard_cpu_percent[nth].get(),
            descriptors_used: telemetry.sample.descriptors_of_shard(nth),
            figures,
            waiting_by_queue: by_queue(queue_names, &figures.waiting_by_queue),
            match_wait_ms: PercentilesMs::of(&figures.match_wait),
            relay_ms: PercentilesMs::of(&figures.relay_time),
            iteration_ms: PercentilesMs::of(&figures.iteration_time),
        });
    }
    json(&stats)
}

fn status(draining: bool) -> &'static str {
    if draining { "draining" } else { "ok" }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    let mut body = serde_json::to_vec_pretty(value)
        .expect("because all values are numbers and names, and every key is a string");
    body.push(b'\n');
    body
}

#[derive(Serialize)]
struct StatsDocument<'a> {
    status: &'static str,
    version: &'static str,
    uptime_s: f64,
    connections: ConnectionStats<'a>,
    sessions: SessionStats,
    matchmaking: MatchmakingStats<'a>,
    rooms: RoomStats,
    messages: MessageStats<'a>,
    bytes: ByteStats,
    http: HttpStats<'a>,
    migrations: MigrationStats,
    per_second: OrderedMap<&'static str, f64>,
    latency_ms: LatencyStats,
    process: ProcessStats,
    shards: Vec<ShardStats<'a>>,
}

#[derive(Serialize)]
struct ConnectionStats<'a> {
    active: i64,
    limit: u32,
    accepted: u64,
    closed: &'a LabelledFigures<EndReason>,
    /// Those of the closed connections that the server reset because of `--close-timeout`.
    close_timeouts: u64,
    /// Those that the server reset because something was unacknowledged.
    unacknowledged_resets: u64,
    accept_errors: u64,
    /// Shards on which accepting is paused because descriptors have run out.
    accept_paused: i64,
}

impl<'a> ConnectionStats<'a> {
    fn of(totals: &'a ShardFigures, limit: u32) -> Self {
        ConnectionStats {
            active: totals.connections,
            limit,
            accepted: totals.accepted,
            closed: &totals.closed,
            close_timeouts: totals.close_timeouts,
            unacknowledged_resets: totals.unacknowledged_resets,
            accept_errors: totals.accept_errors,
            accept_paused: totals.accept_paused,
        }
    }
}

#[derive(Serialize)]
struct SessionStats {
    active: i64,
    opened: u64,
    pings_sent: u64,
    probes_sent: u64,
}

#[derive(Serialize)]
struct MatchmakingStats<'a> {
    waiting: i64,
    /// Only the queues of `--stats-queue`.
    waiting_by_queue: OrderedMap<&'a str, i64>,
    queues: i64,
    /// Tickets that the matcher holds. Differs from `waiting` by commands in flight.
    tickets: i64,
    commands: u64,
    matches: u64,
    matches_failed: u64,
    withheld: u64,
}

impl<'a> MatchmakingStats<'a> {
    fn of(totals: &ShardFigures, telemetry: &'a Telemetry) -> Self {
        MatchmakingStats {
            waiting: totals.waiting,
            waiting_by_queue: by_queue(&telemetry.about.stats_queues, &totals.waiting_by_queue),
            queues: telemetry.matcher.queues.get(),
            tickets: telemetry.matcher.tickets_waiting.get(),
            commands: telemetry.matcher.commands.get(),
            matches: totals.matches,
            matches_failed: totals.matches_failed,
            withheld: totals.match_requests_withheld,
        }
    }
}

#[derive(Serialize)]
struct RoomStats {
    active: i64,
}

#[derive(Serialize)]
struct MessageStats<'a> {
    received: u64,
    relayed: u64,
    dropped: u64,
    errors: &'a LabelledFigures<ErrorCode>,
}

impl<'a> MessageStats<'a> {
    fn of(totals: &'a ShardFigures) -> Self {
        MessageStats {
            received: totals.messages_received,
            relayed: totals.messages_relayed,
            dropped: totals.messages_dropped,
            errors: &totals.errors,
        }
    }
}

#[derive(Serialize)]
struct ByteStats {
    relayed: u64,
    wire_received: u64,
    wire_sent: u64,
    unsent: i64,
    held: i64,
}

impl ByteStats {
    fn of(totals: &ShardFigures) -> Self {
        ByteStats {
            relayed: totals.bytes_relayed,
            wire_received: totals.wire_bytes_received,
            wire_sent: totals.wire_bytes_sent,
            unsent: totals.unsent_bytes,
            held: totals.held_bytes,
        }
    }
}

#[derive(Serialize)]
struct HttpStats<'a> {
    requests: u64,
    rejected: &'a LabelledFigures<RejectReason>,
}

#[derive(Serialize)]
struct MigrationStats {
    out: u64,
    r#in: u64,
    in_flight: i64,
    rejected: u64,
}

#[derive(Serialize)]
struct LatencyStats {
    match_wait: PercentilesMs,
    relay: PercentilesMs,
    loop_iteration: PercentilesMs,
    matcher_iteration: PercentilesMs,
}

#[derive(Serialize)]
struct PercentilesMs {
    count: u64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl PercentilesMs {
    fn of(figures: &HistogramFigures) -> Self {
        let ms = |time: Duration| rounded(time.as_secs_f64() * 1000.0, 4);
        let count = figures.count();
        PercentilesMs {
            count,
            mean: ms(figures.sum().div_f64(count.max(1) as f64)),
            p50: ms(figures.percentile(500)),
            p90: ms(figures.percentile(900)),
            p99: ms(figures.percentile(990)),
            p999: ms(figures.percentile(999)),
            max: ms(figures.max()),
        }
    }
}

/// Unknown values are `null`.
#[derive(Serialize)]
struct ProcessStats {
    sample_age_ms: Option<u64>,
    cpu_percent: f64,
    cpu_user_s: f64,
    cpu_system_s: f64,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    descriptors_used: Option<u64>,
    descriptors_allowed: u64,
    /// More than one with private tables; the two values above are then sums over all tables.
    descriptor_tables: u64,
    threads: Option<u64>,
}

impl ProcessStats {
    fn of(telemetry: &Telemetry, now: Timestamp) -> Self {
        let sample = &telemetry.sample;
        let figures = sample.process();
        let age = sample.age(now);
        ProcessStats {
            sample_age_ms: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            cpu_percent: sample.cpu_percent.get(),
            cpu_user_s: rounded(figures.cpu_user.as_secs_f64(), 3),
            cpu_system_s: rounded(figures.cpu_system.as_secs_f64(), 3),
            resident_bytes: figures.resident_bytes,
            virtual_bytes: figures.virtual_bytes,
            descriptors_used: figures.descriptors,
            descriptors_allowed: telemetry.about.descriptors_of_all_tables(),
            descriptor_tables: telemetry.about.tables,
            threads: figures.threads,
        }
    }
}

#[derive(Serialize)]
struct ShardStats<'a> {
    shard: usize,
    /// The CPU that the shard is pinned to; `null` if it is not pinned.
    cpu: Option<u64>,
    cpu_percent: f64,
    /// In the shard's private table; `null` if it has none.
    descriptors_used: Option<u64>,
    #[serde(flatten)]
    figures: &'a ShardFigures,
    waiting_by_queue: OrderedMap<&'a str, i64>,
    match_wait_ms: PercentilesMs,
    relay_ms: PercentilesMs,
    iteration_ms: PercentilesMs,
}

/// Pairs as a JSON object, in the given order.
struct OrderedMap<K, V>(Vec<(K, V)>);

impl<K: Serialize, V: Serialize> Serialize for OrderedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

fn by_queue<'a>(names: &'a [String], waiting: &[i64]) -> OrderedMap<&'a str, i64> {
    OrderedMap(names.iter().map(String::as_str).zip(waiting.iter().copied()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn parsed(body: &[u8]) -> Value {
        serde_json::from_slice(body).unwrap()
    }

    fn number(value: &Value, path: &str) -> i64 {
        let found = value.pointer(path).unwrap_or_else(|| panic!("{path} is missing"));
        found.as_i64().unwrap_or_else(|| panic!("{path} is no integer: {found}"))
    }

    /// The path of each total, and the path of the value of each shard that it is the sum of.
    const SUMS: &[(&str, &str)] = &[
        ("/connections/active", "/connections"),
        ("/connections/accepted", "/accepted"),
        ("/connections/closed/silent", "/closed/silent"),
        ("/connections/close_timeouts", "/close_timeouts"),
        ("/connections/unacknowledged_resets", "/unacknowledged_resets"),
        ("/connections/accept_errors", "/accept_errors"),
        ("/connections/accept_paused", "/accept_paused"),
        ("/sessions/active", "/sessions"),
        ("/sessions/opened", "/sessions_opened"),
        ("/sessions/pings_sent", "/pings_sent"),
        ("/sessions/probes_sent", "/probes_sent"),
        ("/matchmaking/waiting", "/waiting"),
        ("/matchmaking/waiting_by_queue/en", "/waiting_by_queue/en"),
        ("/matchmaking/waiting_by_queue/de:x", "/waiting_by_queue/de:x"),
        ("/matchmaking/matches", "/matches"),
        ("/matchmaking/matches_failed", "/matches_failed"),
        ("/matchmaking/withheld", "/match_requests_withheld"),
        ("/rooms/active", "/rooms"),
        ("/messages/received", "/messages_received"),
        ("/messages/relayed", "/messages_relayed"),
        ("/messages/dropped", "/messages_dropped"),
        ("/messages/errors/bad_json", "/errors/bad_json"),
        ("/bytes/relayed", "/bytes_relayed"),
        ("/bytes/wire_received", "/wire_bytes_received"),
        ("/bytes/wire_sent", "/wire_bytes_sent"),
        ("/bytes/unsent", "/unsent_bytes"),
        ("/bytes/held", "/held_bytes"),
        ("/http/requests", "/http_requests"),
        ("/http/rejected/not_found", "/rejected/not_found"),
        ("/migrations/out", "/migrated_out"),
        ("/migrations/in", "/migrated_in"),
        ("/migrations/in_flight", "/migrations_in_flight"),
        ("/latency_ms/relay/count", "/relay_ms/count"),
        ("/latency_ms/match_wait/count", "/match_wait_ms/count"),
    ];

    #[test]
    fn totals_are_the_sums_over_the_shards() {
        let stats =
            parsed(&stats_json(&super::super::example(), Timestamp::from_nanos(5_000_000_000)));
        let shards = stats["shards"].as_array().unwrap();
        assert_eq!(shards.len(), 2);
        for (total, part) in SUMS {
            let sum: i64 = shards.iter().map(|shard| number(shard, part)).sum();
            assert_eq!(number(&stats, total), sum, "{total}");
        }
        let distinct: std::collections::HashSet<i64> =
            SUMS.iter().map(|(_, part)| number(&shards[0], part)).collect();
        assert_eq!(distinct.len(), SUMS.len(), "a swapped field would be found");
        assert_eq!(number(&stats, "/connections/limit"), 900);
        assert_eq!(number(&stats, "/matchmaking/queues"), 2);
        assert_eq!(stats["uptime_s"], 5.0);
        assert_eq!(stats["version"], "1.2.3");
        assert_eq!(stats["status"], "ok");
    }

    #[test]
    fn percentiles_ascend_up_to_the_exact_maximum() {
        let telemetry = super::super::example();
        telemetry.shards[1].relay_time.record(Duration::from_micros(12_345));
        let stats = parsed(&stats_json(&telemetry, Timestamp::ZERO));
        let relay = &stats["latency_ms"]["relay"];
        let of = |name: &str| relay[name].as_f64().unwrap();
        let all = ["p50", "p90", "p99", "p999", "max"].map(of);
        assert!(all.is_sorted(), "{relay}");
        assert_eq!(of("max"), 12.345);
        assert!(of("p99") < 2.0, "one outlier is above the 99th percentile: {relay}");
    }

    #[test]
    fn unknown_values_are_null_and_the_status_is_draining_during_shutdown() {
        let telemetry = super::super::example();
        telemetry.draining.set(1);
        let stats = parsed(&stats_json(&telemetry, Timestamp::ZERO));
        assert_eq!(stats["status"], "draining");
        assert!(stats["process"]["resident_bytes"].is_null());
        assert!(stats["shards"][0]["cpu"].is_null());
        let health = parsed(&health_json(&telemetry, true, Timestamp::ZERO));
        assert_eq!(health["status"], "draining");
        assert_eq!(parsed(&health_json(&telemetry, false, Timestamp::ZERO))["status"], "ok");
        assert_eq!(health["connections"], 100 + 1000);
    }
}
