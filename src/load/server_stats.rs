//! Reads what a server reports about itself at `/stats`.
//!
//! Servers name their figures differently. `/stats` is therefore read leniently: as a set of
//! numbers that are found by the end of their path; what is missing is `None`.

use super::interval_log::ServerSample;
use super::target_address::{TargetAddress, http_get};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// All numbers in a JSON text, by their path with dots.
pub fn numbers(json: &[u8]) -> BTreeMap<String, f64> {
    serde_json::from_slice(json).map(|value| numbers_in(&value)).unwrap_or_default()
}

fn numbers_in(value: &serde_json::Value) -> BTreeMap<String, f64> {
    fn walk(value: &serde_json::Value, path: &str, into: &mut BTreeMap<String, f64>) {
        match value {
            serde_json::Value::Object(members) => {
                for (name, value) in members {
                    let path =
                        if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(value, &path, into);
                }
            }
            other => {
                if let Some(number) = other.as_f64() {
                    into.insert(path.to_owned(), number);
                }
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(value, "", &mut all);
    all
}

/// The value of `member` for each shard that the server reports.
fn shard_values<'a>(
    stats: &'a serde_json::Value,
    member: &'a str,
) -> impl Iterator<Item = Option<f64>> + 'a {
    let shards = stats["shards"].as_array().into_iter().flatten();
    shards.map(move |shard| shard[member].as_f64())
}

/// The number with a path that equals, or ends with, the first of `names` that is present.
fn find(numbers: &BTreeMap<String, f64>, names: &[&str]) -> Option<f64> {
    names
        .iter()
        .find_map(|name| {
            let suffix = format!(".{name}");
            let exact = numbers.get(*name);
            exact.or_else(|| {
                numbers.iter().find(|(path, _)| path.ends_with(&suffix)).map(|(_, n)| n)
            })
        })
        .copied()
}

/// Where `/stats` counts by reason, and the beginning of the names that the counters get.
const COUNTERS: [(&str, &str); 3] = [
    ("/connections/closed", "closed_"),
    ("/http/rejected", "rejected_"),
    ("/messages/errors", "errors_"),
];
/// Where `/stats` has percentiles, and the names that they get.
const LATENCIES: [(&str, &str); 6] = [
    ("/latency_ms/relay/p50", "relay_p50"),
    ("/latency_ms/relay/p99", "relay_p99"),
    ("/latency_ms/match_wait/p99", "match_p99"),
    ("/latency_ms/loop_iteration/p50", "loop_p50"),
    ("/latency_ms/loop_iteration/p99", "loop_p99"),
    ("/latency_ms/loop_iteration/max", "loop_max"),
];

/// Reads the figures of a `/stats` response.
pub fn read_stats(json: &[u8]) -> ServerSample {
    let stats: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let numbers = numbers_in(&stats);
    let members = |pointer: &str| {
        let members = stats.pointer(pointer).and_then(serde_json::Value::as_object);
        members.into_iter().flatten()
    };
    let counters = COUNTERS.iter().flat_map(|(pointer, prefix)| {
        let named = move |(name, value): (&String, &serde_json::Value)| {
            let count = value.as_u64().filter(|count| *count > 0)?;
            Some((format!("{prefix}{name}"), count))
        };
        members(pointer).filter_map(named)
    });
    let latency = LATENCIES.iter().filter_map(|(pointer, name)| {
        Some(((*name).to_owned(), stats.pointer(pointer)?.as_f64()?))
    });
    let whole = |names: &[&str]| find(&numbers, names).map(|n| n.max(0.0) as u64);
    let user =
        find(&numbers, &["cpu_user_s", "cpu_user_seconds", "cpu.user_s", "cpu.user_seconds"]);
    let system = find(
        &numbers,
        &["cpu_system_s", "cpu_system_seconds", "cpu.system_s", "cpu.system_seconds"],
    );
    let cpu_s = match (user, system) {
        (Some(user), Some(system)) => Some(user + system),
        _ => find(&numbers, &["cpu_seconds_total", "cpu_seconds", "cpu_s", "cpu.total_s"]),
    };
    ServerSample {
        cpu_s,
        cpu_percent: find(&numbers, &["cpu_percent", "cpu.percent"]),
        busiest_shard_percent: shard_values(&stats, "cpu_percent").flatten().reduce(f64::max),
        memory_bytes: whole(&["resident_bytes", "rss_bytes", "memory_bytes", "rss"]),
        descriptors: whole(&["descriptors_used", "descriptors", "open_fds", "fds"]),
        connections: whole(&["connections.active", "connections.open", "connections"]),
        waiting: whole(&["waiting", "waiting_users", "tickets"]),
        rooms: whole(&["rooms.active", "rooms.open", "rooms"]),
        relayed: whole(&["messages.relayed", "messages_relayed", "relayed"]),
        bytes_in: whole(&["wire_received", "bytes_received", "bytes_in"]),
        bytes_out: whole(&["wire_sent", "bytes_sent", "bytes_out"]),
        threads: whole(&["threads"]),
        shard_cpu_percent: shard_values(&stats, "cpu_percent").flatten().collect(),
        latency_ms: latency.collect(),
        counters: counters.collect(),
        draining: stats["status"].as_str().map(|status| status == "draining"),
    }
}

/// Why the report will have no figures of the server; `None` if it will have them.
pub fn explain_missing_stats(stats: Option<&TargetAddress>) -> Option<String> {
    let Some(target) = stats else { return Some("they were not requested".to_owned()) };
    let url = format!("http://{}{}", target.host, target.path);
    match http_get(target, &target.path) {
        Err(error) => Some(format!("{url}: {error}")),
        Ok((200, body)) => (read_stats(&body) == ServerSample::default())
            .then(|| format!("{url} contains no known figures")),
        Ok((status, _)) => Some(format!("{url} was answered with {status}")),
    }
}

/// The body of a server's statistics; `None` if it does not answer with 200.
pub fn fetch_stats(stats: &TargetAddress) -> Option<Vec<u8>> {
    let answer = http_get(stats, &stats.path).ok();
    answer.filter(|(status, _)| *status == 200).map(|(_, body)| body)
}

/// The limits that a server reports; `None` for what it does not report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerCapacity {
    /// Limit of descriptors, over all its descriptor tables.
    pub descriptors: Option<u64>,
    /// Number of CPUs that its shards are pinned to, if all are pinned.
    pub cpus: Option<u64>,
}

impl ServerCapacity {
    /// Reads the limits in a `/stats` response.
    pub fn read(json: &[u8]) -> Self {
        let stats: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
        let limit = find(&numbers_in(&stats), &["descriptors_allowed", "max_fds"]);
        let pinned: Option<BTreeSet<u64>> =
            shard_values(&stats, "cpu").map(|cpu| cpu.map(|number| number as u64)).collect();
        ServerCapacity {
            descriptors: limit.filter(|limit| *limit > 0.0).map(|limit| limit as u64),
            cpus: pinned.map(|cpus| cpus.len() as u64).filter(|cpus| *cpus > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_figures_by_the_end_of_their_path() {
        let json = br#"{"connections":{"open":12,"accepted":40},"process":{"resident_bytes":5000,
            "cpu_user_s":1.5,"cpu_system_s":0.5,"descriptors":30},"waiting":3,"rooms":4,
            "note":"text","messages":{"relayed":77}}"#;
        let sample = read_stats(json);
        assert_eq!(sample.connections, Some(12));
        assert_eq!(sample.memory_bytes, Some(5000));
        assert_eq!(sample.cpu_s, Some(2.0));
        assert_eq!((sample.waiting, sample.rooms, sample.relayed), (Some(3), Some(4), Some(77)));
        assert_eq!((sample.bytes_in, sample.draining), (None, None));
        assert_eq!(read_stats(b"not json"), ServerSample::default());
    }

    #[test]
    fn reads_what_the_server_counts_by_reason() {
        let json = br#"{"status":"draining","connections":{"closed":{"silent":0,"evicted":7}},
            "http":{"rejected":{"origin":2}},"messages":{"errors":{"rate_limited":5}},
            "latency_ms":{"relay":{"p99":1.5},"loop_iteration":{"max":20}},
            "process":{"threads":4},"shards":[{"cpu_percent":3.5},{"cpu_percent":0}]}"#;
        let sample = read_stats(json);
        let counters = [("closed_evicted", 7), ("errors_rate_limited", 5), ("rejected_origin", 2)];
        let named = |(name, count): (&str, u64)| (name.to_owned(), count);
        assert_eq!(sample.counters, counters.map(named).into());
        assert_eq!(sample.latency_ms.get("relay_p99"), Some(&1.5));
        assert_eq!(sample.latency_ms.get("loop_max"), Some(&20.0));
        assert_eq!((sample.threads, sample.draining), (Some(4), Some(true)));
        assert_eq!(sample.shard_cpu_percent, [3.5, 0.0]);
    }

    #[test]
    fn reads_the_busiest_shard_and_the_pinned_cpus() {
        let stats = |cpus: [&str; 3]| {
            let shards = cpus.map(|cpu| format!(r#"{{"cpu":{cpu},"cpu_percent":{}}}"#, cpu.len()));
            let shards = shards.join(",");
            format!(r#"{{"process":{{"descriptors_allowed":900}},"shards":[{shards}]}}"#)
        };
        let pinned = stats(["3", "12", "3"]);
        assert_eq!(read_stats(pinned.as_bytes()).busiest_shard_percent, Some(2.0));
        let capacity = ServerCapacity { descriptors: Some(900), cpus: Some(2) };
        assert_eq!(ServerCapacity::read(pinned.as_bytes()), capacity);
        let unpinned = stats(["3", "null", "1"]);
        let capacity = ServerCapacity { cpus: None, ..capacity };
        assert_eq!(ServerCapacity::read(unpinned.as_bytes()), capacity);
        assert_eq!(ServerCapacity::read(br#"{"process":{}}"#), ServerCapacity::default());
        assert_eq!(ServerCapacity::read(b"not json"), ServerCapacity::default());
    }
}
