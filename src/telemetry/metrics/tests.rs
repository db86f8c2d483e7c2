//! A small parser of the text format, independent of the code that renders it, and tests of what it
//! parses.

use super::*;
use crate::telemetry::histogram::is_border;
use crate::telemetry::{ShardCounters, example};
use std::collections::{BTreeMap, HashSet};

#[derive(Debug, Default)]
struct ParsedFamily {
    kind: String,
    help: String,
    samples: Vec<ParsedSample>,
}

/// Name with suffix, labels, value.
type ParsedSample = (String, ParsedLabels, f64);
type ParsedLabels = Vec<(String, String)>;

/// A family, and the counter of a shard that its values must be the sum of.
type ExpectedSum = (&'static str, fn(&ShardCounters) -> u64);

/// The families of an exposition. Panics on anything that the format does not allow.
fn parse(text: &str) -> BTreeMap<String, ParsedFamily> {
    let mut families: BTreeMap<String, ParsedFamily> = BTreeMap::new();
    let mut current = String::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            let family = ParsedFamily { help: help.to_owned(), ..ParsedFamily::default() };
            assert!(families.insert(name.to_owned(), family).is_none(), "{name} twice");
            name.clone_into(&mut current);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "TYPE follows the HELP of the same family");
            let family = families.get_mut(name).unwrap();
            assert!(family.samples.is_empty() && family.kind.is_empty());
            kind.clone_into(&mut family.kind);
        } else {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = match key.split_once('{') {
                None => (key, Vec::new()),
                Some((name, labels)) => (name, labels_of(labels.strip_suffix('}').unwrap())),
            };
            let family = families.get_mut(&current).unwrap();
            let suffix = name.strip_prefix(current.as_str()).unwrap();
            match family.kind.as_str() {
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                _ => assert_eq!(suffix, "", "{line}"),
            }
            family.samples.push((name.to_owned(), labels, value.parse().unwrap()));
        }
    }
    families
}

fn labels_of(text: &str) -> ParsedLabels {
    text.split(',')
        .map(|pair| {
            let (label, quoted) = pair.split_once('=').unwrap();
            let value = quoted.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap();
            assert!(!value.contains(['"', '\\', '\n']));
            (label.to_owned(), value.to_owned())
        })
        .collect()
}

fn example_families() -> BTreeMap<String, ParsedFamily> {
    parse(&String::from_utf8(metrics_text(&example())).unwrap())
}

#[test]
fn declares_every_family_once_with_a_name_by_the_rules() {
    let families = example_families();
    assert_eq!(families.len(), FAMILIES.len());
    for (name, family) in &families {
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert!(["counter", "gauge", "histogram"].contains(&family.kind.as_str()), "{name}");
        assert_eq!(name.ends_with("_total"), family.kind == "counter", "{name}");
        assert!(!["_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end)), "{name}");
        assert!(family.help.ends_with('.') && !family.help.contains('\\'), "{name}");
        let keys: HashSet<_> = family.samples.iter().map(|(n, labels, _)| (n, labels)).collect();
        assert_eq!(keys.len(), family.samples.len(), "{name} repeats a sample");
    }
    for required in ["websocket_active_connections", "matchmaking_duration_seconds"] {
        assert!(families.contains_key(required));
    }
}

#[test]
fn uses_only_shards_reasons_and_named_queues_as_labels() {
    for (name, family) in example_families() {
        for (label, value) in family.samples.iter().flat_map(|(_, labels, _)| labels) {
            match label.as_str() {
                "shard" => assert!(value == "0" || value == "1", "{name}"),
                "queue" => assert!(value == "en" || value == "de:x", "{name}"),
                "reason" | "code" | "le" | "version" => {}
                other => panic!("{name} has the label {other}"),
            }
        }
    }
}

#[test]
fn renders_cumulative_histograms_that_end_at_their_count() {
    let mut seen = 0;
    for (name, family) in example_families() {
        if family.kind != "histogram" {
            continue;
        }
        seen += 1;
        let buckets: Vec<(f64, f64)> = family
            .samples
            .iter()
            .filter(|(key, ..)| key.ends_with("_bucket"))
            .map(|(_, labels, value)| (labels[0].1.parse().unwrap(), *value))
            .collect();
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name}");
        let (last_bound, last_count) = *buckets.last().unwrap();
        assert_eq!(last_bound, f64::INFINITY);
        let count = family.samples.iter().find(|(key, ..)| key.ends_with("_count")).unwrap().2;
        assert_eq!(last_count, count, "{name}");
        assert!(family.samples.iter().any(|(key, ..)| key.ends_with("_sum")));
    }
    assert_eq!(seen, 4);
}

#[test]
fn uses_bucket_borders_as_bounds_so_that_counts_are_exact() {
    for bound in WAIT_BOUNDS.iter().chain(WORK_BOUNDS) {
        assert!(is_border(*bound), "{bound:?}");
    }
    let telemetry = example();
    let shards = telemetry.shards.iter().map(|_| std::sync::Arc::new(ShardCounters::new(2)));
    let telemetry = Telemetry { shards: shards.collect(), ..telemetry };
    for k in 1..=200 {
        telemetry.shards[k as usize % 2].match_wait.record(Duration::from_millis(k));
    }
    let families = parse(&String::from_utf8(metrics_text(&telemetry)).unwrap());
    let waits = &families["matchmaking_duration_seconds"].samples;
    let at = |le: &str| waits.iter().find(|(_, labels, _)| labels[0].1 == le).unwrap().2;
    // The recorded waits are 1, 2, … 200 ms.
    assert_eq!(at("0.001"), 1.0);
    assert_eq!(at("0.0025"), 2.0);
    assert_eq!(at("0.025"), 25.0);
    assert_eq!(at("0.1"), 100.0);
    assert_eq!(at("0.25"), 200.0);
}

#[test]
fn renders_the_values_of_the_counters() {
    let families = example_families();
    let sum = |name: &str| families[name].samples.iter().map(|(.., value)| value).sum::<f64>();
    let telemetry = example();
    let counted = |of: fn(&ShardCounters) -> u64| {
        telemetry.shards.iter().map(|shard| of(shard) as f64).sum::<f64>()
    };
    let expected: &[ExpectedSum] = &[
        ("websocket_active_connections", |s| s.sessions.get() as u64),
        ("switchboard_connections", |s| s.connections.get() as u64),
        ("switchboard_waiting_users", |s| s.waiting.get() as u64),
        ("switchboard_active_rooms", |s| s.rooms.get() as u64),
        ("switchboard_unsent_bytes", |s| s.unsent_bytes.get() as u64),
        ("switchboard_held_bytes", |s| s.held_bytes.get() as u64),
        ("switchboard_accept_paused_shards", |s| s.accept_paused.get() as u64),
        ("switchboard_migrations_in_flight", |s| s.migrations_in_flight.get() as u64),
        ("switchboard_connections_accepted_total", |s| s.accepted.get()),
        ("switchboard_sessions_opened_total", |s| s.sessions_opened.get()),
        ("switchboard_messages_received_total", |s| s.messages_received.get()),
        ("switchboard_messages_relayed_total", |s| s.messages_relayed.get()),
        ("switchboard_messages_dropped_total", |s| s.messages_dropped.get()),
        ("switchboard_relayed_bytes_total", |s| s.bytes_relayed.get()),
        ("switchboard_wire_received_bytes_total", |s| s.wire_bytes_received.get()),
        ("switchboard_wire_sent_bytes_total", |s| s.wire_bytes_sent.get()),
        ("switchboard_matches_total", |s| s.matches.get()),
        ("switchboard_matches_failed_total", |s| s.matches_failed.get()),
        ("switchboard_match_requests_withheld_total", |s| s.match_requests_withheld.get()),
        ("switchboard_pings_sent_total", |s| s.pings_sent.get()),
        ("switchboard_probes_sent_total", |s| s.probes_sent.get()),
        ("switchboard_migrations_out_total", |s| s.migrated_out.get()),
        ("switchboard_migrations_in_total", |s| s.migrated_in.get()),
        ("switchboard_http_requests_total", |s| s.http_requests.get()),
        ("switchboard_close_timeouts_total", |s| s.close_timeouts.get()),
        ("switchboard_unacknowledged_resets_total", |s| s.unacknowledged_resets.get()),
        ("switchboard_accept_errors_total", |s| s.accept_errors.get()),
        ("switchboard_loop_iterations_total", |s| s.iterations.get()),
        ("switchboard_connections_closed_total", |s| s.closed.total()),
        ("switchboard_http_rejected_total", |s| s.rejected.total()),
        ("switchboard_message_errors_total", |s| s.errors.total()),
        ("switchboard_queue_waiting_users", |s| {
            s.waiting_by_queue.iter().map(|gauge| gauge.get() as u64).sum()
        }),
    ];
    for (name, of) in expected {
        assert_eq!(sum(name), counted(*of), "{name}");
    }
    let cpu_s = counted(|s| s.cpu_nanos.get()) / 1e9;
    assert!((sum("switchboard_shard_cpu_seconds_total") - cpu_s).abs() < 1e-12);
    assert_eq!(sum("process_max_fds"), 1024.0);
    let unknown = &families["process_resident_memory_bytes"];
    assert!(unknown.samples.is_empty(), "a value that was never sampled is omitted");
}

#[test]
fn lists_every_family_once_in_the_table() {
    let table = metrics_table();
    for name in example_families().keys() {
        assert_eq!(table.matches(&format!("| `{name}` |")).count(), 1, "{name}");
    }
    assert_eq!(table.lines().count(), 2 + FAMILIES.len());
}
