//! The matching queue alone, on one core: CPU nanoseconds per ticket, for the workloads that could
//! be slow.
//!
//! `cargo bench --bench queue` prints a table. It has no goals and never fails. Each figure is CPU
//! time, the best of several runs. Tickets are computed from a number when they are needed: reading
//! them from a list in random order would measure cache misses of the list.

use std::hint::black_box;
use std::time::Duration;
use switchboard::commands::{MatcherCommand, RecentPartners, Ticket, TicketHandle};
use switchboard::ids::{
    ConnectionKey, QueueKey, SessionAddress, SessionNo, ShardId, Slot, TicketNo,
};
use switchboard::matchmaking::queue::MatchQueue;
use switchboard::sys::clock;
use switchboard::timestamp::Timestamp;

/// Repetitions of each measurement; the best one counts.
const RUNS: usize = 7;
/// Commands that the queue prefetches for at once, as the matcher thread does.
const BATCH: usize = 32;
/// The default of the server.
const REMATCH_DELAY: Duration = Duration::from_millis(800);
/// Tickets per repetition.
const TICKETS: usize = 2_000_000;

/// A pseudo-random bijection (the finaliser of SplitMix64; Steele, Lea, Flood 2014).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn queue(number: u32) -> QueueKey {
    let low = mix(u64::from(number));
    QueueKey(u128::from(low) | u128::from(!low) << 64)
}

fn holder(session: u64) -> SessionAddress {
    let key = ConnectionKey::from_word(session << 32 | u64::from(Slot(session as u32).0));
    SessionAddress { shard: ShardId(session as u16 & 1), key }
}

fn ticket(session: u64, queue: QueueKey, now: Timestamp) -> Ticket {
    Ticket {
        holder: holder(session),
        number: TicketNo(session as u32),
        session: SessionNo(session),
        queue,
        since: now,
        recent_partners: RecentPartners::default(),
        apart_ms: REMATCH_DELAY.as_millis() as u32,
    }
}

/// A permutation of `0..len`.
fn shuffled(len: usize, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..len as u32).collect();
    for at in (1..len).rev() {
        order.swap(at, (mix(seed << 32 | at as u64) % (at as u64 + 1)) as usize);
    }
    order
}

/// Applies commands to a queue, `batch` at a time, and discards the pairings.
struct BenchMatcher {
    queue: MatchQueue,
    batch: usize,
    commands: Vec<MatcherCommand>,
    now: Timestamp,
    pairs: usize,
}

impl BenchMatcher {
    fn new(batch: usize) -> Self {
        let commands = Vec::with_capacity(batch);
        BenchMatcher { queue: MatchQueue::new(), batch, commands, now: Timestamp::ZERO, pairs: 0 }
    }

    /// Calls `on_result` for each command with the handle of the ticket that is queued, if one is.
    fn run(
        &mut self,
        commands: impl Iterator<Item = MatcherCommand>,
        mut on_result: impl FnMut(Option<TicketHandle>),
    ) {
        let mut commands = commands.fuse();
        loop {
            self.commands.clear();
            self.commands.extend(commands.by_ref().take(self.batch));
            if self.commands.is_empty() {
                return;
            }
            if self.batch > 1 {
                self.queue.prefetch(&self.commands);
            }
            for command in &self.commands {
                on_result(match *command {
                    MatcherCommand::Enter { ticket, replaces } => {
                        self.queue.enter(ticket, replaces, self.now, |one, other| {
                            black_box((one.holder, other.holder));
                            self.pairs += 1;
                        })
                    }
                    MatcherCommand::Leave { holder, handle, number } => {
                        assert!(self.queue.leave(holder, handle, number));
                        None
                    }
                    MatcherCommand::Stop => None,
                });
            }
        }
    }
}

fn enter(session: u64, name: u32) -> MatcherCommand {
    MatcherCommand::Enter { ticket: ticket(session, queue(name), Timestamp::ZERO), replaces: None }
}

/// The CPU time of this thread. Other programs can add cache misses to it, but not their own time.
fn cpu_time() -> Duration {
    clock::thread_cpu().expect("because Linux has this clock")
}

/// CPU nanoseconds of `work` per operation, if it does `count` operations.
fn nanos_per(count: usize, work: impl FnOnce()) -> f64 {
    let start = cpu_time();
    work();
    (cpu_time() - start).as_nanos() as f64 / count as f64
}

/// The smallest figure: noise can only increase one.
fn smallest(figures: impl IntoIterator<Item = f64>) -> f64 {
    figures.into_iter().fold(f64::INFINITY, f64::min)
}

/// Nanoseconds per ticket in three workloads with one ticket in each of `queues` queues:
/// first a ticket enters every queue and then, in another order, a second one; a second ticket and
/// then a new first one enter the same queue, queue after queue; each ticket leaves and enters again.
fn workloads_of_many_queues(queues: usize, batch: usize) -> [f64; 3] {
    let rounds = (TICKETS / 2 / queues).max(1);
    let tickets = 2 * rounds * queues;
    let [first, second, third] = [1, 2, 3].map(|seed| shuffled(queues, seed));
    let runs: [[f64; 3]; RUNS] = std::array::from_fn(|_| {
        let mut matcher = BenchMatcher::new(batch);
        let mut sessions = 0..;
        let mut next =
            |name: &u32| enter(sessions.next().expect("because the range is endless"), *name);
        let all_then_all = nanos_per(tickets, || {
            for _ in 0..rounds {
                matcher.run(first.iter().map(&mut next), |_| ());
                matcher.run(second.iter().map(&mut next), |_| ());
            }
        });
        assert_eq!((matcher.pairs, matcher.queue.waiting()), (tickets / 2, 0));

        matcher.run(first.iter().map(&mut next), |_| ());
        let queue_by_queue = nanos_per(tickets, || {
            for _ in 0..rounds {
                matcher.run(third.iter().flat_map(|name| [name, name]).map(&mut next), |_| ());
            }
        });
        assert_eq!((matcher.pairs, matcher.queue.queues()), (tickets, queues));

        [all_then_all, queue_by_queue, leave_and_enter(&first, &second, rounds, batch)]
    });
    [0, 1, 2].map(|column| smallest(runs.iter().map(|run| run[column])))
}

/// Tickets that entered in the order of `first` leave in the order of `second`, and enter again at
/// once.
fn leave_and_enter(first: &[u32], second: &[u32], rounds: usize, batch: usize) -> f64 {
    const PART: usize = 16;
    let mut matcher = BenchMatcher::new(batch);
    let mut position = vec![0; second.len()];
    second.iter().enumerate().for_each(|(at, &name)| position[name as usize] = at);
    let mut handles = vec![TicketHandle(0); second.len()];
    let mut names = first.iter();
    matcher.run(first.iter().map(|&name| enter(name.into(), name)), |handle| {
        let name = names.next().expect("because each command has one result");
        handles[position[*name as usize]] =
            handle.expect("because the queue has no other ticket to match");
    });
    nanos_per(rounds * first.len(), || {
        for _ in 0..rounds {
            for (names, handles) in second.chunks(PART).zip(handles.chunks_mut(PART)) {
                let mut old = [TicketHandle(0); PART];
                old[..handles.len()].copy_from_slice(handles);
                let commands = names.iter().zip(old).flat_map(|(&name, handle)| {
                    let session = name.into();
                    let number = TicketNo(name);
                    [
                        MatcherCommand::Leave { holder: holder(session), handle, number },
                        enter(session, name),
                    ]
                });
                let mut handles = handles.iter_mut();
                matcher.run(commands, |handle| {
                    if let Some(handle) = handle {
                        *handles.next().expect("because each ticket enters once") = handle;
                    }
                });
            }
        }
    })
}

/// Nanoseconds to create a command that is not used.
fn command_alone() -> f64 {
    let order = shuffled(1 << 16, 1);
    let mut commands = Vec::with_capacity(BATCH);
    smallest((0..RUNS).map(|_| {
        nanos_per(TICKETS, || {
            for batch in 0..TICKETS / BATCH {
                commands.clear();
                let names = order.iter().cycle().skip(batch * BATCH % order.len()).take(BATCH);
                commands.extend(names.map(|&name| enter(name.into(), name)));
                black_box(&mut commands);
            }
        })
    }))
}

/// A session that left a room at `now`, which it shared with its neighbour: session 2n with 2n + 1.
fn enter_with_recent_partner(session: u64, name: u32, now: Timestamp) -> MatcherCommand {
    let mut ticket = ticket(session, queue(name), now);
    ticket.recent_partners.remember(SessionNo(session ^ 1));
    MatcherCommand::Enter { ticket, replaces: None }
}

/// `pairs` pairs that have just left their rooms enter one queue, one after the other.
fn recent_partners_in_one_queue(pairs: u64, batch: usize) -> f64 {
    let rounds = TICKETS as u64 / pairs / 2;
    smallest((0..RUNS).map(|_| {
        let mut matcher = BenchMatcher::new(batch);
        nanos_per((rounds * pairs * 2) as usize, || {
            for _ in 0..rounds {
                matcher.now = matcher.now + Duration::from_millis(1);
                let now = matcher.now;
                matcher.run(
                    (0..2 * pairs).map(|session| enter_with_recent_partner(session, 1, now)),
                    |_| (),
                );
            }
        })
    }))
}

/// In each of `queues` queues the only tickets are those of a pair that has just left its room; runs
/// until their delay has passed and all are matched again.
fn recent_partners_in_each_queue(queues: usize, batch: usize) -> f64 {
    let rounds = (TICKETS / queues / 2).max(1);
    let order = shuffled(queues, 1);
    smallest((0..RUNS).map(|_| {
        let mut matcher = BenchMatcher::new(batch);
        nanos_per(rounds * queues * 2, || {
            for _ in 0..rounds {
                for names in order.chunks(1_000) {
                    matcher.now = matcher.now + Duration::from_micros(600);
                    let now = matcher.now;
                    let pair = |&name| {
                        [0, 1].map(|one| {
                            enter_with_recent_partner(2 * u64::from(name) + one, name, now)
                        })
                    };
                    matcher.run(names.iter().flat_map(pair), |_| ());
                }
                while let Some(deadline) = matcher.queue.next_deadline() {
                    matcher.now = deadline;
                    matcher.queue.pair_due(deadline, |one, other| {
                        black_box((one.holder, other.holder));
                        matcher.pairs += 1;
                    });
                }
            }
            assert_eq!((matcher.pairs, matcher.queue.waiting()), (rounds * queues, 0));
        })
    }))
}

/// The slowest operations while a first ticket enters each of `queues` queues, and then a second.
fn slowest_operations(queues: u32) {
    let mut matcher = BenchMatcher::new(1);
    let mut times_ns = Vec::with_capacity(2 * queues as usize);
    for round in 0..2 {
        for name in 0..queues {
            let command = enter(u64::from(name) << 1 | round, name);
            let start = cpu_time();
            matcher.run(std::iter::once(command), |_| ());
            times_ns.push((cpu_time() - start).as_nanos());
        }
    }
    times_ns.sort_unstable();
    let all_but_one_in =
        |parts: usize| times_ns[times_ns.len() - 1 - times_ns.len() / parts] as f64 / 1e3;
    println!(
        "{queues:>9} queues, µs per operation (including two clock reads): \
         p99.9 {:.1}, p99.99 {:.1}, slowest {:.1}",
        all_but_one_in(1_000),
        all_but_one_in(10_000),
        all_but_one_in(usize::MAX),
    );
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("a benchmark without tests; run it with `cargo bench --bench queue`");
        return;
    }
    let only = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    let is_selected = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if is_selected("queues") {
        println!("{:.1} ns to create a command, included below", command_alone());
        println!("ns per ticket     batch  all then all  queue by queue  leave and enter");
        for batch in [1, BATCH] {
            for queues in [10, 1_000, 100_000, 1_000_000] {
                let [all, by_queue, again] = workloads_of_many_queues(queues, batch);
                println!(
                    "{queues:>9} queues {batch:>6} {all:>13.1} {by_queue:>15.1} {again:>16.1}"
                );
            }
        }
    }
    if is_selected("partners") {
        for pairs in [10, 1_000, 100_000] {
            let figures = [1, BATCH].map(|batch| recent_partners_in_one_queue(pairs, batch));
            println!(
                "{pairs:>9} pairs of recent partners in one queue: {:.1}, in batches {:.1}",
                figures[0], figures[1]
            );
        }
        for queues in [10, 1_000, 100_000, 1_000_000] {
            let figures = [1, BATCH].map(|batch| recent_partners_in_each_queue(queues, batch));
            println!(
                "{queues:>9} queues, a pair of recent partners in each: {:.1}, in batches {:.1}",
                figures[0], figures[1]
            );
        }
    }
    if is_selected("slowest") {
        slowest_operations(1_000_000);
    }
}
