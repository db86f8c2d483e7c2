//! Several hundred simulated runs, each from its own seed.
//!
//! - `SWITCHBOARD_SIM_SEEDS=n` runs n seeds, starting with `SWITCHBOARD_SIM_FROM` (0).
//! - `SWITCHBOARD_SIM_SEED=n` runs only this seed and prints its log when it fails.

use crate::simulation::event_counts::EventCounts;
use crate::simulation::random::Random;
use crate::simulation::run;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds of an ordinary run.
const SEEDS: u64 = 300;
/// Events that must occur in that many runs. Without them the runs prove nothing.
const EXPECTED_EVENTS: [&str; 98] = [
    "bad_json",
    "bad_message",
    "bad_queue",
    "client_close",
    "client_gone",
    "close: 1000",
    "close: 1001",
    "close: 1001 after a match",
    "close: 1001 to make space",
    "close: 1002",
    "close: 1007",
    "close: 1008",
    "close: 1009",
    "close: 1012",
    "close: 1013",
    "draining",
    "evicted",
    "fault: a shard stalls",
    "fault: a table is full",
    "fault: clock jumps",
    "fault: commands are late",
    "fault: the matcher stalls",
    "fault: watch fails",
    "head_timeout",
    "http: 200",
    "http: 404",
    "http: 408",
    "http: 426",
    "http: 429",
    "http: 503",
    "http_done",
    "http_idle",
    "internal",
    "command: migrate in",
    "command: migration completed",
    "command: pairing cancelled",
    "command: evict",
    "command: pair",
    "command: pair confirmed",
    "command: pairing cancelled by the home shard",
    "command: start_drain",
    "command: reply",
    "command: migration rejected",
    "message_too_large",
    "net: a single byte",
    "net: arrival",
    "net: copied",
    "net: reset by the server",
    "net: surplus",
    "net: urgent data",
    "not_in_room",
    "not_utf8",
    "not_waiting",
    "peer_busy",
    "peer_left: disconnected",
    "peer_left: left",
    "peer_left: next",
    "peer_left: timeout",
    "protocol_error",
    "rate_limited",
    "recv: broken",
    "recv: bytes",
    "recv: end",
    "recv: would block",
    "refused",
    "restarting",
    "room ended",
    "room ended at once",
    "send: all",
    "send: broken",
    "send: short",
    "send: would block",
    "server: matches",
    "server: matches failed",
    "server: match requests withheld",
    "server: probes",
    "server: rate limited",
    "server: sessions migrated",
    "server: relayed",
    "silent",
    "silent_after_match",
    "slow_consumer",
    "too_many_fragments",
    "too_many_matches",
    "unknown_type",
    "user: breaks the protocol",
    "user: closes",
    "user: half-closes",
    "user: loses its network",
    "user: match found",
    "user: named by a proxy",
    "user: plain requests",
    "user: refused",
    "user: relayed to",
    "user: resets",
    "user: sees the end",
    "user: stops reading",
    "user: vanishes",
];
/// Log lines that are printed for a failed seed.
const LOGGED_LINES: usize = 150;

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value} is not a number")))
}

/// Runs one seed.
fn try_seed(seed: u64, kept_lines: usize) -> Result<EventCounts, ()> {
    catch_unwind(AssertUnwindSafe(|| run(Random::new(seed), kept_lines))).map_err(|_| ())
}

/// Runs the seeds of a range on two threads.
fn run_all(seeds: std::ops::Range<u64>) -> (EventCounts, Vec<u64>) {
    let next = AtomicU64::new(seeds.start);
    let result = Mutex::new((EventCounts::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let tried = try_seed(seed, 0);
                    let mut result =
                        result.lock().expect("no thread panics while it holds the lock");
                    match tried {
                        Ok(counts) => result.0.merge(&counts),
                        Err(()) => result.1.push(seed),
                    }
                }
            });
        }
    });
    result.into_inner().expect("no thread panics while it holds the lock")
}

#[test]
fn the_guarantees_hold_for_every_seed() {
    if let Some(seed) = number("SWITCHBOARD_SIM_SEED") {
        let lines = number("SWITCHBOARD_SIM_LINES").map_or(usize::MAX, |lines| lines as usize);
        assert!(try_seed(seed, lines).is_ok(), "seed {seed} fails");
        return;
    }
    let from = number("SWITCHBOARD_SIM_FROM").unwrap_or_default();
    let seeds = number("SWITCHBOARD_SIM_SEEDS").unwrap_or(SEEDS);
    let (counts, mut failed) = run_all(from..from + seeds);
    failed.sort_unstable();
    for (what, times) in counts.all() {
        println!("{times:>10}  {what}");
    }
    if failed.is_empty() && seeds >= SEEDS {
        for what in EXPECTED_EVENTS {
            assert!(counts.of(what) > 0, "in {seeds} runs there was no {what:?}");
        }
    }
    if let Some(seed) = failed.first() {
        let _again = try_seed(*seed, LOGGED_LINES);
        panic!(
            "{} of {seeds} seeds fail: {failed:?}; to see one:\n  \
             SWITCHBOARD_SIM_SEED={seed} cargo test --test shard seeds",
            failed.len()
        );
    }
}

#[test]
fn a_seed_determines_the_run() {
    let log = |seed| run(Random::new(seed), 0).all().collect::<Vec<_>>();
    assert_eq!(log(7), log(7));
    assert_ne!(log(7), log(8));
}

#[test]
fn arbitrary_input_bytes_determine_a_run() {
    for length in [0, 1, 100, 3000] {
        let input: Vec<u8> = (0..length).map(|at: u32| ((at * at) >> 3) as u8).collect();
        run(Random::from_bytes(&input), 0);
    }
}
