//! What the parts of the hot path cost, one by one, without a kernel.
//!
//! `cargo bench --bench micro` prints the least time of many runs for each body, in
//! nanoseconds; a word selects the bodies whose name contains it. With `--once NAME COUNT` one
//! body runs so many times and nothing is printed: that is what callgrind counts.

mod bodies;
mod desk;

use std::time::{Duration, Instant};

/// Something whose cost is of interest: called once, it does `per_call` operations.
pub(crate) struct Body {
    pub(crate) name: &'static str,
    pub(crate) per_call: u32,
    pub(crate) run: Box<dyn FnMut()>,
}

/// The least time of one call, in nanoseconds.
fn least_nanos(run: &mut dyn FnMut()) -> f64 {
    const BATCH: u32 = 200;
    let began = Instant::now();
    let mut least = f64::MAX;
    while began.elapsed() < Duration::from_millis(300) {
        let start = Instant::now();
        for _ in 0..BATCH {
            run();
        }
        least = least.min(start.elapsed().as_nanos() as f64 / f64::from(BATCH));
    }
    least
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let mut bodies = bodies::all();
    if let [flag, name, count] = arguments.as_slice()
        && flag == "--once"
    {
        let count: u32 = count.parse().expect("a number");
        let body = bodies.iter_mut().find(|body| body.name == name).expect("a body by that name");
        for _ in 0..count {
            (body.run)();
        }
        return;
    }
    if arguments.first().is_some_and(|word| word == "--names") {
        bodies.iter().for_each(|body| println!("{}", body.name));
        return;
    }
    println!("| body | ns |");
    println!("| --- | --- |");
    for body in &mut bodies {
        if arguments.first().is_none_or(|word| body.name.contains(word.as_str())) {
            let nanos = least_nanos(&mut body.run) / f64::from(body.per_call);
            println!("| {} | {nanos:.1} |", body.name);
        }
    }
}
