//! The labels of the metrics and the fields of `/stats` and `/health` as Markdown for
//! tuning/REFERENCE.md. Pure.
//!
//! A path is written with dots. `NAME` stands for a key that depends on the path: a reason, an error
//! code or a queue. A field called *percentiles* has the members of [`PERCENTILES`].

use super::counters::ShardFigures;
use super::labels::{EndReason, RejectReason};
use super::sample::SampledRates;
use std::fmt::Write;

/// Fields of `/health`.
const HEALTH_FIELDS: &[(&str, &str)] = &[
    ("status", "`ok`, or `draining` while the server is shutting down (then the status is 503)"),
    ("version", "version of the server"),
    ("uptime_s", "seconds since the start"),
    ("connections", "open connections"),
    ("connections_limit", "`--max-connections`, given or derived"),
];

/// Fields of `/stats`, except for `per_second` and `shards`.
const STATS_FIELDS: &[(&str, &str)] = &[
    ("status", "`ok`, or `draining` while the server is shutting down"),
    ("version", "version of the server"),
    ("uptime_s", "seconds since the start"),
    ("connections.active", "open connections, HTTP and WebSocket"),
    ("connections.limit", "`--max-connections`, given or derived"),
    ("connections.accepted", "connections accepted"),
    ("connections.closed.NAME", "connections closed, by reason"),
    ("connections.close_timeouts", "of these, connections reset because of `--close-timeout`"),
    (
        "connections.unacknowledged_resets",
        "of these, connections reset because the client had not acknowledged what it was sent",
    ),
    ("connections.accept_errors", "failed calls of accept(2)"),
    ("connections.accept_paused", "shards on which accepting is paused for lack of descriptors"),
    ("sessions.active", "open WebSocket sessions"),
    ("sessions.opened", "WebSocket sessions opened"),
    ("sessions.pings_sent", "ping frames sent"),
    (
        "sessions.probes_sent",
        "of these, those that look for dead connections while connections are refused",
    ),
    ("matchmaking.waiting", "users waiting for a partner"),
    ("matchmaking.waiting_by_queue.NAME", "users waiting in each queue of `--stats-queue`"),
    ("matchmaking.queues", "queues with at least one waiting user"),
    ("matchmaking.tickets", "tickets at the matcher: `waiting`, except for commands in flight"),
    ("matchmaking.commands", "commands that the matcher received from the shards"),
    ("matchmaking.matches", "rooms created"),
    (
        "matchmaking.matches_failed",
        "pairings that created no room because one user had left or was silent",
    ),
    ("matchmaking.withheld", "times that a waiting user was withheld from matching as silent"),
    ("rooms.active", "open rooms"),
    ("messages.received", "messages received, including those that were refused"),
    ("messages.relayed", "messages relayed to the other member of a room"),
    ("messages.dropped", "messages dropped because of `--max-messages-per-second`"),
    ("messages.errors.NAME", "messages answered with an error, by error code"),
    ("bytes.relayed", "payload bytes of relayed messages"),
    ("bytes.wire_received", "bytes received from sockets"),
    ("bytes.wire_sent", "bytes sent to sockets"),
    ("bytes.unsent", "bytes queued for clients because their sockets have not accepted them yet"),
    ("bytes.held", "bytes of messages and request heads that have arrived only in part"),
    ("http.requests", "HTTP requests answered, including upgrades and refusals"),
    ("http.rejected.NAME", "HTTP requests refused, by reason"),
    ("migrations.out", "sessions that migrated from one shard to another"),
    ("migrations.in", "sessions that a shard received from another"),
    ("migrations.in_flight", "sessions sent to another shard that has not acknowledged them yet"),
    ("migrations.rejected", "migrations rejected for lack of descriptors or memory"),
    ("latency_ms.match_wait", "*percentiles* from `find_match` to `match_found`"),
    (
        "latency_ms.relay",
        "*percentiles* from the poll that reported a message to the end of the send",
    ),
    ("latency_ms.loop_iteration", "*percentiles* of an iteration of a shard's event loop"),
    ("latency_ms.matcher_iteration", "*percentiles* of an iteration of the matcher's event loop"),
    ("process.sample_age_ms", "age of the values under `process` and `per_second`"),
    ("process.cpu_percent", "CPU use, in per cent of one CPU"),
    ("process.cpu_user_s", "CPU time in user mode since the start"),
    ("process.cpu_system_s", "CPU time in the kernel since the start"),
    ("process.resident_bytes", "resident memory"),
    ("process.virtual_bytes", "virtual memory"),
    ("process.descriptors_used", "open file descriptors in all descriptor tables"),
    ("process.descriptors_allowed", "limit of open file descriptors in all descriptor tables"),
    ("process.descriptor_tables", "number of descriptor tables (`--fd-tables`)"),
    ("process.threads", "threads"),
];

/// Fields of an element of `shards` that are not counters.
const SHARD_FIELDS: &[(&str, &str)] = &[
    ("shard", "number of the shard"),
    ("cpu", "the CPU that the shard is pinned to; `null` if it is not pinned"),
    ("cpu_percent", "CPU use of the shard's thread, in per cent of one CPU"),
    ("descriptors_used", "open descriptors in the shard's private table; `null` without one"),
    ("waiting_by_queue.NAME", "sessions waiting in each queue of `--stats-queue`"),
    ("match_wait_ms", "*percentiles* from `find_match` to `match_found`"),
    ("relay_ms", "*percentiles* from the poll that reported a message to the end of the send"),
    ("iteration_ms", "*percentiles* of an iteration of the event loop"),
];

/// Members of each field of *percentiles*.
const PERCENTILES: &[(&str, &str)] = &[
    ("count", "number of durations since the start"),
    ("mean", "mean"),
    ("p50", "median, at most 12.5 % above the exact value, like all percentiles"),
    ("p90", "90th percentile"),
    ("p99", "99th percentile"),
    ("p999", "99.9th percentile"),
    ("max", "longest duration, exactly"),
];

/// The values of the labels `reason`, as Markdown. Ends with a newline.
pub fn reasons_tables() -> String {
    let of = |metric: &str, meanings: &[(&str, &str)]| {
        format!(
            "Values of `reason` of `{metric}`:\n\n{}",
            table("reason", meanings.iter().copied())
        )
    };
    let closed = of("switchboard_connections_closed_total", EndReason::MEANINGS);
    closed + "\n" + &of("switchboard_http_rejected_total", RejectReason::MEANINGS)
}

/// The fields of `/stats` and `/health`, as Markdown. Ends with a newline.
pub fn stats_tables() -> String {
    let rates = SampledRates::NAMES.iter().map(|name| (*name, "rate of the counter of this name"));
    let shards = SHARD_FIELDS.iter().chain(ShardFigures::FIELDS).copied();
    let per_second = rates.map(|(name, text)| (format!("per_second.{name}"), text));
    let per_second: Vec<(String, &str)> = per_second.collect();
    let per_second = per_second.iter().map(|(name, text)| (name.as_str(), *text));
    [
        "### `GET /health`\n\n".to_owned(),
        table("field", HEALTH_FIELDS.iter().copied()),
        "\n### `GET /stats`\n\n".to_owned(),
        table("field", STATS_FIELDS.iter().copied().chain(per_second)),
        "\nMembers of the fields called *percentiles*, in milliseconds:\n\n".to_owned(),
        table("member", PERCENTILES.iter().copied()),
        "\nFields of each element of `shards`:\n\n".to_owned(),
        table("field", shards),
    ]
    .concat()
}

fn table<'a>(heading: &str, rows: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut table = format!("| {heading} | meaning |\n| --- | --- |\n");
    for (name, meaning) in rows {
        let meaning = meaning.trim();
        writeln!(table, "| `{name}` | {} |", meaning.trim_end_matches('.'))
            .expect("because writing to a string cannot fail");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{example, health_json, stats_json};
    use crate::timestamp::Timestamp;
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// The paths of all fields of a JSON object, in the notation of this module.
    fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        const BY_NAME: [&str; 4] = ["closed", "rejected", "errors", "waiting_by_queue"];
        match value {
            Value::Object(members) if !members.contains_key("p999") => {
                let is_map = BY_NAME.contains(&path.rsplit('.').next().unwrap());
                for (key, member) in members {
                    let key = if is_map { "NAME" } else { key };
                    let dot = if path.is_empty() { "" } else { "." };
                    paths(member, &format!("{path}{dot}{key}"), found);
                }
            }
            _ => {
                found.insert(path.to_owned());
            }
        }
    }

    fn paths_of(value: &Value) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        paths(value, "", &mut found);
        found
    }

    fn described<'a>(fields: impl Iterator<Item = &'a (&'a str, &'a str)>) -> BTreeSet<String> {
        fields.map(|(name, _)| (*name).to_owned()).collect()
    }

    #[test]
    fn describes_every_field_of_health() {
        let body = health_json(&example(), false, Timestamp::ZERO);
        let health: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(paths_of(&health), described(HEALTH_FIELDS.iter()));
    }

    #[test]
    fn describes_every_field_of_stats() {
        let body = stats_json(&example(), Timestamp::ZERO);
        let mut stats: Value = serde_json::from_slice(&body).unwrap();
        let members = stats.as_object_mut().unwrap();
        let shards = members.remove("shards").unwrap();
        let rates = members.remove("per_second").unwrap();
        let percentiles = stats["latency_ms"]["relay"].as_object().unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect();
        let rates: BTreeSet<String> = keys(&rates);
        assert_eq!(rates, SampledRates::NAMES.iter().map(|name| (*name).to_owned()).collect());
        let members: BTreeSet<String> = percentiles.keys().cloned().collect();
        assert_eq!(members, described(PERCENTILES.iter()));
        // The labelled counters of a shard are objects with a key for each name.
        let shard: BTreeSet<String> =
            paths_of(&shards[0]).iter().map(|path| path.replace("d.NAME", "d")).collect();
        let shard: BTreeSet<String> =
            shard.iter().map(|path| path.replace("errors.NAME", "errors")).collect();
        assert_eq!(shard, described(SHARD_FIELDS.iter().chain(ShardFigures::FIELDS)));
        assert_eq!(paths_of(&stats), described(STATS_FIELDS.iter()));
    }
}
