//! The floods at full size, and what is promised of them, in figures. `scripts/floods.sh` runs
//! this against a release build.

use super::{Flood, Flooder, IDLE_PERCENT, crowd, idle_percent, meet, talk};
use crate::support::{Raw, Server, Talk, frame, handshake, number, until};
use std::time::{Duration, Instant};

/// How long each flood is watched.
const WATCHED: Duration = Duration::from_secs(10);
/// Of a hundred messages between neighbours, 99 take no longer: the goal.
const RELAY_P99_MS: f64 = 10.0;
/// Two who come while it lasts, or right after it, meet and talk within this time: the goal.
const MEET_MS: f64 = 500.0;
/// No turn of a shard is longer. A message waits for a turn or two; the longest of them are of
/// 25 ms where a thousand connections come or go in one, and a shard may lose its processor to
/// others for as long again, more than once.
const TURN_MS: f64 = 100.0;
/// Memory that may stay: the touched pages of the tables of connections (64 bytes for each of
/// 10,000) and what the allocator keeps in reserve, together under 1 MiB when this was written. A
/// flood of 100 connections that each leave a message behind is beyond it.
const MORE_MIB: f64 = 4.0;
/// What `/echo` holds for each of so many connections, and in how many fragments of a byte.
const ECHOES: usize = 100;
const FRAGMENTS: usize = 16_000;
/// Users who come back at once.
const CROWD: usize = 15_000;

/// How often a turn took at most so many seconds, in the order of times.
fn turns(server: &Server) -> Vec<(f64, u64)> {
    let metrics = server.page("/metrics");
    let lines = metrics.text().lines().map(str::to_owned);
    let buckets = lines.filter_map(|line| {
        let rest = line.strip_prefix("switchboard_loop_iteration_duration_seconds_bucket{le=\"")?;
        let (bound, count) = rest.split_once("\"} ")?;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
        Some((bound, count.parse::<f64>().ok()? as u64))
    });
    buckets.collect()
}

/// The bound, in milliseconds, below which every turn between the two lay.
fn longest_turn(before: &[(f64, u64)], after: &[(f64, u64)]) -> f64 {
    let all = after.last().unwrap().1 - before.last().unwrap().1;
    let within = |(one, other): &(&(f64, u64), &(f64, u64))| other.1 - one.1 == all;
    let found = before.iter().zip(after).find(within);
    found.map_or(f64::INFINITY, |(bucket, _)| bucket.0 * 1e3)
}

fn quantile(sorted: &[Duration], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
}

/// One line of the table. Which goals are missed.
fn row(server: &Server, flood: Flood) -> Vec<String> {
    let (memory, descriptors) = (server.resident_bytes(), server.descriptors());
    let (mut one, mut other, room) = server.pair();
    let flooder = Flooder::start(flood, server.address(), 10, 3);
    std::thread::sleep(Duration::from_secs(2));
    let (turns_before, began) = (turns(server), Instant::now());
    let (mut relays, mut matches) = (Vec::new(), Vec::new());
    while began.elapsed() < WATCHED {
        relays.extend(talk(&mut one, &mut other, &room, 50));
        matches.push(meet(server));
        std::thread::sleep(Duration::from_millis(20));
    }
    let longest = longest_turn(&turns_before, &turns(server));
    drop(flooder);
    let healthy = meet(server).as_secs_f64() * 1e3;
    drop((one, other));
    server.comes_to_rest();
    until("descriptors are given back", || match server.descriptors() {
        now if now <= descriptors => Ok(()),
        now => Err(format!("{now} are open, before there were {descriptors}")),
    });
    let idle = idle_percent(server, Duration::from_secs(1));
    let grown = (server.resident_bytes() as f64 - memory as f64) / f64::from(1 << 20);
    relays.sort_unstable();
    matches.sort_unstable();
    let figures = [
        ("relay p50", quantile(&relays, 0.5), f64::INFINITY),
        ("relay p99", quantile(&relays, 0.99), RELAY_P99_MS),
        ("match p50", quantile(&matches, 0.5), f64::INFINITY),
        ("match max", quantile(&matches, 1.0), MEET_MS),
        ("turn", longest, TURN_MS),
        ("after", healthy, MEET_MS),
        ("MiB more", grown, MORE_MIB),
        ("idle %", idle, IDLE_PERCENT),
    ];
    print!("{:<16}", format!("{flood:?}"));
    for (_, figure, _) in figures {
        print!(" {figure:>10.2}");
    }
    println!();
    let missed = figures.into_iter().filter(|(_, figure, most)| figure > most);
    missed.map(|(name, figure, most)| format!("{flood:?}: {name} {figure:.2} > {most}")).collect()
}

#[test]
#[ignore = "takes minutes and a quiet machine: scripts/floods.sh"]
fn the_table() {
    let server = Server::start(&["--echo"]);
    println!(
        "{:<16} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "flood",
        "relay p50",
        "relay p99",
        "match p50",
        "match max",
        "turn ≤",
        "after",
        "MiB more",
        "idle %"
    );
    println!(
        "{:<16} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "", "ms", "ms", "ms", "ms", "ms", "ms"
    );
    let missed: Vec<String> =
        Flood::ALL.into_iter().flat_map(|flood| row(&server, flood)).collect();
    assert!(missed.is_empty(), "goals that were missed: {missed:#?}");
}

#[test]
#[ignore = "takes processor time of a quiet machine: scripts/floods.sh"]
fn a_message_that_comes_byte_by_byte_costs_less_than_half_a_second() {
    let server = Server::start(&["--shards", "1"]);
    let mut user = server.session();
    let text = format!(r#"{{"type":"ping","payload":"{:x<65500}"}}"#, "");
    let bytes = crate::support::text_frame(text.as_bytes());
    let before = server.cpu_time();
    for byte in bytes {
        user.send(&[byte]);
    }
    user.expect("pong");
    let took = server.cpu_time() - before;
    println!("64 KiB byte by byte: {:.3} s of processor time, goal 0.5", took.as_secs_f64());
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
#[ignore = "measures memory of a release build: scripts/floods.sh"]
fn tiny_fragments_that_are_held_cost_little_more_than_their_payload() {
    let server = Server::start(&["--shards", "1", "--echo"]);
    let request = String::from_utf8(handshake()).unwrap().replace("GET /ws ", "GET /echo ");
    let echo = || {
        let mut raw = server.raw();
        assert_eq!(raw.ask(&request).status, 101);
        raw
    };
    let mut fragments = frame(0x02, b"x");
    fragments.extend(frame(0x00, b"x").repeat(FRAGMENTS - 1));
    // One that comes and goes first: code and buffers that all have in common are in memory then.
    let mut first = echo();
    first.send(&[&fragments[..], &frame(0x80, b"x")].concat());
    assert_eq!(first.frame().unwrap().payload.len(), FRAGMENTS + 1);
    // So much fills the buffer that all are read into.
    first.send(&frame(0x82, &vec![b'x'; 1 << 20]));
    assert_eq!(first.frame().unwrap().payload.len(), 1 << 20);
    let mut raws: Vec<Raw> = (0..ECHOES).map(|_| echo()).collect();
    let before = server.resident_bytes();
    for raw in &mut raws {
        raw.send(&fragments);
    }
    // A ping behind them is answered when all of them have been read.
    let held = |stats: &serde_json::Value| number(stats, "/bytes/held") as f64;
    for raw in &mut raws {
        raw.send(&crate::support::ping_frame(b"read"));
        assert_eq!(raw.frame().unwrap().payload, b"read");
    }
    let payload = (ECHOES * FRAGMENTS) as f64;
    // Before anything else is asked of it.
    let resident = (server.resident_bytes() as f64 - before as f64) / payload;
    let counted = held(&server.stats()) / payload;
    println!(
        "{FRAGMENTS} fragments held on {ECHOES} connections: {counted:.2} × their payload, resident memory grew by {resident:.2} ×; goal 1.2"
    );
    assert!(counted <= 1.2 && resident <= 1.2, "{counted} {resident}");
}

#[test]
#[ignore = "needs 15,000 descriptors and a quiet machine: scripts/floods.sh"]
fn fifteen_thousand_who_were_dropped_at_once_are_all_matched_within_five_seconds() {
    let server = Server::start(&[]);
    let crowd = crowd::arrive(server.address(), CROWD);
    server.until_figure("/rooms/active", CROWD as i64 / 2);
    drop(crowd);
    let began = Instant::now();
    let _crowd = crowd::arrive(server.address(), CROWD);
    let dialled = began.elapsed();
    server.until_figure("/rooms/active", CROWD as i64 / 2);
    let took = began.elapsed();
    println!(
        "{CROWD} dropped and back: dialled in {dialled:.2?}, all matched after {took:.2?}, goal {:?}",
        crowd::MATCHED_WITHIN
    );
    assert!(took < crowd::MATCHED_WITHIN, "{took:?}");
}

#[test]
#[ignore = "needs 15,000 descriptors and a quiet machine: scripts/floods.sh"]
fn fifteen_thousand_are_back_after_a_restart_and_matched_within_five_seconds() {
    let crowd::Back { matched, mut relays } = crowd::comes_back_after_a_restart(CROWD);
    relays.sort_unstable();
    let slowest = quantile(&relays, 1.0);
    println!(
        "{CROWD} back after a restart: all matched after {matched:.2?}, goal {:?}; \
         meanwhile relay p50 {:.2} ms, p99 {:.2} ms, max {slowest:.2} ms, goal {MEET_MS}",
        crowd::MATCHED_WITHIN,
        quantile(&relays, 0.5),
        quantile(&relays, 0.99),
    );
    assert!(matched < crowd::MATCHED_WITHIN && slowest < MEET_MS, "{matched:?}, {slowest} ms");
}
