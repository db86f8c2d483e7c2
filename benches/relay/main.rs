//! The raw limit beside the product: what a relayed message, a session, a match and an idle
//! connection cost the server, next to a reference that does nothing but move bytes.
//!
//! `cargo bench --bench relay` prints the table; `-- --quick` takes less time for it, and a
//! word selects the rows that contain it. Product and reference take turns on the same core
//! with the same client on the other, several times; what is printed are medians. The figure
//! is CPU time of the server's threads (schedstat, nanoseconds), because it hardly depends on
//! what else the machine is doing.

#[path = "../common/mod.rs"]
mod common;
mod generator;
mod process;
mod reference;

use generator::{Generator, Kind};
use process::{Server, as_client};
use std::time::Duration;

/// Rooms of the relay rows.
const ROOMS: usize = 500;
/// Connections of the rows that open, match or hold them.
const MANY: usize = 10_000;

/// One repetition's figures.
#[derive(Clone, Copy, Debug, Default)]
struct Figure {
    /// CPU of the server per operation, in microseconds; or bytes.
    cost: f64,
    /// Operations per second.
    rate: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs `measure` on both kinds of server in turn and prints a row.
fn row(
    name: &str,
    unit: &str,
    goal: &str,
    repetitions: usize,
    measure: impl Fn(Kind) -> Figure + Sync,
) {
    let mut product = Vec::new();
    let mut reference = Vec::new();
    for _ in 0..repetitions {
        reference.push(as_client(|| measure(Kind::Reference)));
        product.push(as_client(|| measure(Kind::Product)));
    }
    let cost = |figures: &[Figure]| median(figures.iter().map(|f| f.cost).collect());
    let rate = |figures: &[Figure]| median(figures.iter().map(|f| f.rate).collect());
    let (ours, raw) = (cost(&product), cost(&reference));
    println!(
        "| {name} | {raw:.3} | {ours:.3} {unit} | {:.2} × | {goal} | {:.0} | {:.0} |",
        ours / raw,
        rate(&reference),
        rate(&product),
    );
}

/// Prints a row for which there is no reference.
fn lone_row(name: &str, unit: &str, goal: &str, repetitions: usize, measure: impl Fn() -> Figure) {
    let figures: Vec<Figure> = (0..repetitions).map(|_| measure()).collect();
    let cost = median(figures.iter().map(|f| f.cost).collect());
    let rate = median(figures.iter().map(|f| f.rate).collect());
    println!("| {name} | | {cost:.3} {unit} | | {goal} | | {rate:.0} |");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == reference::WORD) {
        return reference::serve();
    }
    let quick = arguments.iter().any(|word| word == "--quick");
    let wanted = arguments.iter().find(|word| !word.starts_with("--"));
    let repetitions = if quick { 3 } else { 5 };
    let span = Duration::from_secs(if quick { 1 } else { 3 });
    let asked = |name: &str| wanted.is_none_or(|word| name.contains(word.as_str()));
    // Asked before any thread is pinned.
    process::allowed();
    println!("| what | raw | switchboard | ratio | goal | raw /s | switchboard /s |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (depth, goal) in [(1, "1.05 ×"), (16, "1.2 ×")] {
        let name = format!("relay, depth {depth}");
        if asked(&name) {
            row(&name, "µs", goal, repetitions, |kind| {
                relay(&Server::start(kind, 1), depth, span)
            });
        }
    }
    if asked("latency") {
        latency_rows(repetitions, span);
    }
    if asked("open a session") {
        row("open a session", "µs", "1.10 ×", repetitions, |kind| open(&Server::start(kind, 1)));
    }
    if asked("match a client") {
        lone_row("match a client", "µs", "8.8 µs", repetitions, || {
            as_client(|| matching(&Server::start(Kind::Product, 2)))
        });
    }
    if asked("match 10,000 at once, p99") {
        let name = "match 10,000 at once, p99";
        lone_row(name, "ms", "25 ms", repetitions, || at_once(2));
    }
    if asked("idle connection") {
        lone_row("idle connection", "bytes", "96 bytes", repetitions, || as_client(idle));
    }
    if asked("crowd") {
        lone_row("relay in a crowd of 18,000, over alone", "×", "1.1 ×", repetitions, || {
            as_client(|| crowd(span))
        });
    }
    if asked("tables") {
        tables_row("relay, depth 1", repetitions, |server| relay(server, 1, span));
        tables_row("open a session", repetitions, open);
        tables_row("match a client", repetitions, matching);
    }
}

/// What it costs that every shard has a descriptor table of its own: two shards on CPUs of their
/// own, as far as there are any, in turn with and without.
fn tables_row(name: &str, repetitions: usize, measure: impl Fn(&Server) -> Figure + Sync) {
    let mut ratios = Vec::new();
    let mut costs = Vec::new();
    for _ in 0..repetitions {
        let [shared, private] = ["shared", "private"].map(|kind| {
            let flags = ["--fd-tables", kind];
            let server = Server::start_anywhere(Kind::Product, 2, &flags);
            as_client(|| measure(&server)).cost
        });
        ratios.push(private / shared);
        costs.push(private);
    }
    let (cost, ratio) = (median(costs), median(ratios));
    println!("| {name}, private tables over shared ones | | {cost:.3} µs | {ratio:.2} × | – | | |");
}

fn relay(server: &Server, depth: usize, span: Duration) -> Figure {
    let mut generator = Generator::connect(server, ROOMS * 2);
    generator.pair_up();
    figure_of_relay(server, &mut generator, depth, span)
}

fn figure_of_relay(
    server: &Server,
    generator: &mut Generator,
    depth: usize,
    span: Duration,
) -> Figure {
    generator.start(depth);
    generator.run(span / 4);
    let (cpu, before) = (server.cpu(), generator.relayed());
    generator.run(span);
    let (cpu, messages) = (server.cpu() - cpu, generator.relayed() - before);
    Figure {
        cost: cpu.as_secs_f64() * 1e6 / messages as f64,
        rate: messages as f64 / span.as_secs_f64(),
    }
}

/// 500 rooms whose members each send ten messages a second, at moments fixed beforehand.
fn latency_rows(repetitions: usize, span: Duration) {
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
        for (figures, kind) in found.iter_mut().zip([Kind::Reference, Kind::Product]) {
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

fn open(server: &Server) -> Figure {
    let began = std::time::Instant::now();
    let before = server.cpu();
    let generator = Generator::connect(server, MANY);
    let cpu = server.cpu() - before;
    let took = began.elapsed();
    drop(generator);
    Figure { cost: cpu.as_secs_f64() * 1e6 / MANY as f64, rate: MANY as f64 / took.as_secs_f64() }
}

/// With two shards, so that one match in two crosses from one to the other.
fn matching(server: &Server) -> Figure {
    let mut generator = Generator::connect(server, MANY);
    let began = std::time::Instant::now();
    let before = server.cpu();
    generator.find_matches();
    let cpu = server.cpu() - before;
    Figure {
        cost: cpu.as_secs_f64() * 1e6 / MANY as f64,
        rate: MANY as f64 / began.elapsed().as_secs_f64(),
    }
}

/// All ask as fast as one client can make them; the time within which all but one in a hundred
/// hear of their match, with the server on both cores and the client beside it.
fn at_once(shards: usize) -> Figure {
    let server = Server::start_anywhere(Kind::Product, shards, &[]);
    let mut generator = Generator::connect(&server, MANY);
    let mut waits = generator.find_matches();
    waits.sort_unstable();
    let p99 = waits[waits.len() * 99 / 100];
    Figure { cost: p99.as_secs_f64() * 1e3, rate: 0.0 }
}

fn idle() -> Figure {
    let server = Server::start(Kind::Product, 1);
    // Whatever the first connections make the server set up for good.
    drop(Generator::connect(&server, 100));
    server.settle();
    let before = server.resident_bytes();
    let generator = Generator::connect(&server, MANY);
    let after = server.resident_bytes();
    drop(generator);
    Figure { cost: (after - before) as f64 / MANY as f64, rate: 0.0 }
}

/// The cost of a message between 1,000 clients with many silent ones beside them, over the cost
/// without.
fn crowd(span: Duration) -> Figure {
    let server = Server::start(Kind::Product, 1);
    let mut active = Generator::connect(&server, ROOMS * 2);
    active.pair_up();
    let alone = figure_of_relay(&server, &mut active, 1, span);
    let silent = Generator::connect(&server, 18_000);
    let crowded = figure_of_relay(&server, &mut active, 1, span);
    drop(silent);
    Figure { cost: crowded.cost / alone.cost, rate: crowded.rate }
}
