//! The cost of the parts of the hot path, one by one, without system calls.
//!
//! `cargo bench --bench micro` prints times, measured by divan. `--once NAME COUNT` runs one operation
//! COUNT times and prints nothing: scripts/count-instructions.sh counts its instructions with
//! callgrind. `--names` lists the operations.

#[path = "../common/mod.rs"]
mod common;
#[path = "../../tests/support/fakes.rs"]
mod fakes;
mod match_harness;
mod operations;
mod shard_harness;
mod tls_operations;

use divan::Bencher;
use divan::counter::ItemsCount;

/// An operation to measure. One call of `run` performs it `per_call` times.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) per_call: u32,
    pub(crate) run: Box<dyn FnMut()>,
}

fn named(name: &str) -> Operation {
    let found = operations::all().into_iter().find(|operation| operation.name == name);
    found.expect("an operation with this name; --names lists them")
}

fn names() -> Vec<&'static str> {
    operations::all().iter().map(|operation| operation.name).collect()
}

#[divan::bench(args = names())]
fn hot_path(bencher: Bencher, name: &str) {
    let mut operation = named(name);
    bencher.counter(ItemsCount::new(operation.per_call)).bench_local(|| (operation.run)());
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--once", name, count] => {
            let mut operation = named(name);
            for _ in 0..count.parse().expect("a number") {
                (operation.run)();
            }
        }
        ["--names"] => names().iter().for_each(|name| println!("{name}")),
        _ => divan::main(),
    }
}
