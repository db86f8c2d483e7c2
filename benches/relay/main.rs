//! The server compared with a reference that only moves bytes: the cost of a relayed message, of a
//! session, of a match and of an idle connection.
//!
//! `cargo bench --bench relay` prints a table. `-- --quick` runs fewer and shorter repetitions, and a
//! word selects the rows that contain it. Server and reference run alternately on the same CPU, with
//! the same client on another; the table has medians. The figures are CPU time of the server's
//! threads (schedstat, nanoseconds), which other processes on the machine hardly affect.

#[path = "../common/mod.rs"]
mod common;
mod generator;
mod process;
mod reference;

use generator::{Generator, ServerKind};
use process::{Server, as_client};
use std::time::Duration;

/// Rooms in the relay measurements.
const ROOMS: usize = 500;
/// Connections in the measurements that open, match or hold connections.
const MANY: usize = 10_000;

/// The result of one repetition.
#[derive(Clone, Copy, Debug, Default)]
struct Measurement {
    /// Server CPU time per operation in microseconds, or another unit that the row names.
    cost: f64,
    /// Operations per second.
    rate: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs `measure` alternately with both kinds of server and prints a row.
fn print_comparison(
    name: &str,
    unit: &str,
    goal: &str,
    repetitions: usize,
    measure: impl Fn(ServerKind) -> Measurement + Sync,
) {
    let mut product = Vec::new();
    let mut reference = Vec::new();
    for _ in 0..repetitions {
        reference.push(as_client(|| measure(ServerKind::Reference)));
        product.push(as_client(|| measure(ServerKind::Product)));
    }
    let cost = |figures: &[Measurement]| median(figures.iter().map(|f| f.cost).collect());
    let rate = |figures: &[Measurement]| median(figures.iter().map(|f| f.rate).collect());
    let (ours, raw) = (cost(&product), cost(&reference));
    println!(
        "| {name} | {raw:.3} | {ours:.3} {unit} | {:.2} × | {goal} | {:.0} | {:.0} |",
        ours / raw,
        rate(&reference),
        rate(&product),
    );
}

/// Prints a row without a reference.
fn print_alone(
    name: &str,
    unit: &str,
    goal: &str,
    repetitions: usize,
    measure: impl Fn() -> Measurement,
) {
    let figures: Vec<Measurement> = (0..repetitions).map(|_| measure()).collect();
    let cost = median(figures.iter().map(|f| f.cost).collect());
    let rate = median(figures.iter().map(|f| f.rate).collect());
    println!("| {name} | | {cost:.3} {unit} | | {goal} | | {rate:.0} |");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == reference::ARGUMENT) {
        return reference::serve();
    }
    let quick = arguments.iter().any(|word| word == "--quick");
    let filter = arguments.iter().find(|word| !word.starts_with("--"));
    let repetitions = if quick { 3 } else { 5 };
    let span = Duration::from_secs(if quick { 1 } else { 3 });
    let is_selected = |name: &str| filter.is_none_or(|word| name.contains(word.as_str()));
    // Reads the CPUs before any thread is pinned.
    process::allowed();
    println!(
        "| operation | reference | switchboard | ratio | goal | reference /s | switchboard /s |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (depth, goal) in [(1, "1.05 ×"), (16, "1.2 ×")] {
        let name = format!("relay, depth {depth}");
        if is_selected(&name) {
            print_comparison(&name, "µs", goal, repetitions, |kind| {
                relay(&Server::start(kind, 1), depth, span)
            });
        }
    }
    if is_selected("latency") {
        print_latencies(repetitions, span);
    }
    if is_selected("open a session") {
        print_comparison("open a session", "µs", "1.10 ×", repetitions, |kind| {
            open(&Server::start(kind, 1))
        });
    }
    if is_selected("match a client") {
        print_alone("match a client", "µs", "8.8 µs", repetitions, || {
            as_client(|| match_clients(&Server::start(ServerKind::Product, 2)))
        });
    }
    if is_selected("match 10,000 at once, p99") {
        let name = "match 10,000 at once, p99";
        print_alone(name, "ms", "25 ms", repetitions, || match_at_once(2));
    }
    if is_selected("idle connection") {
        print_alone("idle connection", "bytes", "96 bytes", repetitions, || as_client(idle_memory));
    }
    if is_selected("silent") {
        let name = "relay beside 18,000 silent users, ratio to alone";
        print_alone(name, "×", "1.1 ×", repetitions, || {
            as_client(|| relay_beside_silent_users(span))
        });
    }
    if is_selected("tables") {
        compare_tables("relay, depth 1", repetitions, |server| relay(server, 1, span));
        compare_tables("open a session", repetitions, open);
        compare_tables("match a client", repetitions, match_clients);
    }
}

/// The cost of a private descriptor table per shard: compares two shards with and without, on their
/// own CPUs if there are enough.
fn compare_tables(name: &str, repetitions: usize, measure: impl Fn(&Server) -> Measurement + Sync) {
    let mut ratios = Vec::new();
    let mut costs = Vec::new();
    for _ in 0..repetitions {
        let [shared, private] = ["shared", "private"].map(|kind| {
            let flags = ["--fd-tables", kind];
            let server = Server::start_unpinned(ServerKind::Product, 2, &flags);
            as_client(|| measure(&server)).cost
        });
        ratios.push(private / shared);
        costs.push(private);
    }
    let (cost, ratio) = (median(costs), median(ratios));
    println!("| {name}, private tables, ratio to shared | | {cost:.3} µs | {ratio:.2} × | – | | |");
}

fn relay(server: &Server, depth: usize, span: Duration) -> Measurement {
    let mut generator = Generator::connect(server, ROOMS * 2);
    generator.pair_up();
    measure_relay(server, &mut generator, depth, span)
}

fn measure_relay(
    server: &Server,
    generator: &mut Generator,
    depth: usize,
    span: Duration,
) -> Measurement {
    generator.start(depth);
    generator.run(span / 4);
    let (cpu, before) = (server.cpu(), generator.relayed());
    generator.run(span);
    let (cpu, messages) = (server.cpu() - cpu, generator.relayed() - before);
    Measurement {
        cost: cpu.as_secs_f64() * 1e6 / messages as f64,
        rate: messages as f64 / span.as_secs_f64(),
    }
}

/// Latency in 500 rooms. Each member sends ten messages a second, at times fixed in advance.
fn print_latencies(repetitions: usize, span: Duration) {
    let measure = |kind| {
        let server = Server::start(kind, 1);
        let mut generator = Generator::connect(&server, ROOMS * 2);
        generator.pair_up();
        let mut took = generator.open_loop(Duration::from_millis(100), span);
        took.sort_unstable();
        [50, 99].map(|percent| took[took.len() * percent / 100].as_secs_f64() * 1e6)
    };
    let mut found = [(); 2].map(|()| Vec::new());
    for _ in 0..repetitions {
        for (figures, kind) in found.iter_mut().zip([ServerKind::Reference, ServerKind::Product]) {
            figures.push(as_client(|| measure(kind)));
        }
    }
    for (at, (name, goal)) in [("p50", "1.3 ×"), ("p99", "2 ×")].into_iter().enumerate() {
        let [raw, ours] = found.each_ref().map(|f| median(f.iter().map(|f| f[at]).collect()));
        println!(
            "| relay latency, open loop, {name} | {raw:.0} | {ours:.0} µs | {:.2} × | {goal} | 10000 | 10000 |",
            ours / raw
        );
    }
}

fn open(server: &Server) -> Measurement {
    let began = std::time::Instant::now();
    let before = server.cpu();
    let generator = Generator::connect(server, MANY);
    let cpu = server.cpu() - before;
    let took = began.elapsed();
    drop(generator);
    Measurement {
        cost: cpu.as_secs_f64() * 1e6 / MANY as f64,
        rate: MANY as f64 / took.as_secs_f64(),
    }
}

/// Matches clients of two shards: in every second match a session migrates to the other shard.
fn match_clients(server: &Server) -> Measurement {
    let mut generator = Generator::connect(server, MANY);
    let began = std::time::Instant::now();
    let before = server.cpu();
    generator.find_matches();
    let cpu = server.cpu() - before;
    Measurement {
        cost: cpu.as_secs_f64() * 1e6 / MANY as f64,
        rate: MANY as f64 / began.elapsed().as_secs_f64(),
    }
}

/// 10,000 clients request a match as fast as one thread can send: the 99th percentile of the time to
/// `match_found`. The server uses all CPUs, the client thread shares one with it.
fn match_at_once(shards: usize) -> Measurement {
    let server = Server::start_unpinned(ServerKind::Product, shards, &[]);
    let mut generator = Generator::connect(&server, MANY);
    let mut waits = generator.find_matches();
    waits.sort_unstable();
    let p99 = waits[waits.len() * 99 / 100];
    Measurement { cost: p99.as_secs_f64() * 1e3, rate: 0.0 }
}

/// Server memory per idle connection.
fn idle_memory() -> Measurement {
    let server = Server::start(ServerKind::Product, 1);
    // The first connections make the server allocate memory that it keeps.
    drop(Generator::connect(&server, 100));
    server.settle();
    let before = server.resident_bytes();
    let generator = Generator::connect(&server, MANY);
    let after = server.resident_bytes();
    drop(generator);
    Measurement { cost: (after - before) as f64 / MANY as f64, rate: 0.0 }
}

/// The cost of a message between 1,000 clients beside 18,000 silent ones, as a ratio to the cost
/// without these.
fn relay_beside_silent_users(span: Duration) -> Measurement {
    let server = Server::start(ServerKind::Product, 1);
    let mut active = Generator::connect(&server, ROOMS * 2);
    active.pair_up();
    let alone = measure_relay(&server, &mut active, 1, span);
    let silent = Generator::connect(&server, 18_000);
    let beside = measure_relay(&server, &mut active, 1, span);
    drop(silent);
    Measurement { cost: beside.cost / alone.cost, rate: beside.rate }
}
