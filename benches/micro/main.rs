//! What the parts of the hot path cost, one by one, without a kernel.
//!
//! `cargo bench --bench micro` prints times by divan: of a call, and how many operations a second
//! that makes. With `--once NAME COUNT` one body runs so many times and nothing is printed: that is
//! what callgrind counts. `--names` lists the bodies.

mod bodies;
#[path = "../common/mod.rs"]
mod common;
mod shard_harness;

use divan::Bencher;
use divan::counter::ItemsCount;

/// Something whose cost is of interest: called once, it does `per_call` operations.
pub(crate) struct Body {
    pub(crate) name: &'static str,
    pub(crate) per_call: u32,
    pub(crate) run: Box<dyn FnMut()>,
}

fn named(name: &str) -> Body {
    bodies::all().into_iter().find(|body| body.name == name).expect("a body by that name")
}

fn names() -> Vec<&'static str> {
    bodies::all().iter().map(|body| body.name).collect()
}

#[divan::bench(args = names())]
fn hot_path(bencher: Bencher, name: &str) {
    let mut body = named(name);
    bencher.counter(ItemsCount::new(body.per_call)).bench_local(|| (body.run)());
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--once", name, count] => {
            let mut body = named(name);
            for _ in 0..count.parse().expect("a number") {
                (body.run)();
            }
        }
        ["--names"] => names().iter().for_each(|name| println!("{name}")),
        _ => divan::main(),
    }
}
