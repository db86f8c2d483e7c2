//! The matching engine alone, on one core: nanoseconds for each ticket, in the shapes that could
//! be slow. `cargo bench --bench queue` prints the table; it gates nothing.
//!
//! Tickets are made on the fly from a number, because reading them from a list in random order
//! would measure the list. Each figure is processor time, the best of several runs.

use std::hint::black_box;
use std::time::Duration;
use switchboard::commands::{MatcherCommand, RecentPartner, Ticket, TicketHandle};
use switchboard::ids::{
    ConnectionKey, QueueKey, SessionAddress, SessionNo, ShardId, Slot, TicketNo,
};
use switchboard::matchmaking::queue::MatchQueue;
use switchboard::sys::clock;
use switchboard::timestamp::Timestamp;

/// Runs of which the best counts.
const RUNS: usize = 7;
/// Letters that the queue is shown at once.
const BATCH: usize = 32;
/// As the server's default.
const REMATCH_DELAY: Duration = Duration::from_millis(800);
/// Tickets in one run.
const TICKETS: usize = 2_000_000;

/// A bijection that looks like chance (the finaliser of SplitMix64; Steele, Lea, Flood 2014).
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
        recent_partner: None,
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

/// A matcher that answers nobody: takes the letters `batch` at a time and hands `kept` what each
/// would be told.
struct Matcher {
    queue: MatchQueue,
    batch: usize,
    letters: Vec<MatcherCommand>,
    now: Timestamp,
    pairs: usize,
}

impl Matcher {
    fn new(batch: usize) -> Self {
        let letters = Vec::with_capacity(batch);
        Matcher { queue: MatchQueue::new(), batch, letters, now: Timestamp::ZERO, pairs: 0 }
    }

    fn run(
        &mut self,
        letters: impl Iterator<Item = MatcherCommand>,
        mut kept: impl FnMut(Option<TicketHandle>),
    ) {
        let mut letters = letters.fuse();
        loop {
            self.letters.clear();
            self.letters.extend(letters.by_ref().take(self.batch));
            if self.letters.is_empty() {
                return;
            }
            if self.batch > 1 {
                self.queue.warm(&self.letters);
            }
            for letter in &self.letters {
                kept(match *letter {
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

/// The processor time of this thread: what other programs do meanwhile costs cache misses, but
/// is not counted.
fn cpu_time() -> Duration {
    clock::thread_cpu().expect("because Linux has this clock")
}

/// Nanoseconds of processor time for each of `count`.
fn timed(count: usize, body: impl FnOnce()) -> f64 {
    let start = cpu_time();
    body();
    (cpu_time() - start).as_nanos() as f64 / count as f64
}

/// The best run: noise only adds.
fn least(figures: impl IntoIterator<Item = f64>) -> f64 {
    figures.into_iter().fold(f64::INFINITY, f64::min)
}

/// One ticket in each of `queues` queues: nanoseconds for each ticket when first all of these are
/// entered and then, in another order, a second one in each queue; when in turn a second ticket is
/// matched and a new first one waits; and when each is taken out and entered again.
fn one_in_each(queues: usize, batch: usize) -> [f64; 3] {
    let rounds = (TICKETS / 2 / queues).max(1);
    let tickets = 2 * rounds * queues;
    let [first, second, third] = [1, 2, 3].map(|seed| shuffled(queues, seed));
    let runs: [[f64; 3]; RUNS] = std::array::from_fn(|_| {
        let mut matcher = Matcher::new(batch);
        let mut sessions = 0..;
        let mut next = |name: &u32| enter(sessions.next().expect("because it is endless"), *name);
        let in_turn = timed(tickets, || {
            for _ in 0..rounds {
                matcher.run(first.iter().map(&mut next), |_| ());
                matcher.run(second.iter().map(&mut next), |_| ());
            }
        });
        assert_eq!((matcher.pairs, matcher.queue.waiting()), (tickets / 2, 0));

        matcher.run(first.iter().map(&mut next), |_| ());
        let steady = timed(tickets, || {
            for _ in 0..rounds {
                matcher.run(third.iter().flat_map(|name| [name, name]).map(&mut next), |_| ());
            }
        });
        assert_eq!((matcher.pairs, matcher.queue.queues()), (tickets, queues));

        [in_turn, steady, cancel_and_again(&first, &second, rounds, batch)]
    });
    [0, 1, 2].map(|column| least(runs.iter().map(|run| run[column])))
}

/// Tickets entered in the order of `first` leave in that of `second`, and come back at once.
fn cancel_and_again(first: &[u32], second: &[u32], rounds: usize, batch: usize) -> f64 {
    const PART: usize = 16;
    let mut matcher = Matcher::new(batch);
    let mut turn = vec![0; second.len()];
    second.iter().enumerate().for_each(|(at, &name)| turn[name as usize] = at);
    let mut desks = vec![TicketHandle(0); second.len()];
    let mut names = first.iter();
    matcher.run(first.iter().map(|&name| enter(name.into(), name)), |handle| {
        let name = names.next().expect("because each letter is answered once");
        desks[turn[*name as usize]] = handle.expect("because nobody else is there");
    });
    timed(rounds * first.len(), || {
        for _ in 0..rounds {
            for (names, desks) in second.chunks(PART).zip(desks.chunks_mut(PART)) {
                let mut old = [TicketHandle(0); PART];
                old[..desks.len()].copy_from_slice(desks);
                let letters = names.iter().zip(old).flat_map(|(&name, handle)| {
                    let session = name.into();
                    let number = TicketNo(name);
                    [
                        MatcherCommand::Leave { holder: holder(session), handle, number },
                        enter(session, name),
                    ]
                });
                let mut desks = desks.iter_mut();
                matcher.run(letters, |handle| {
                    if let Some(handle) = handle {
                        *desks.next().expect("because each enters once") = handle;
                    }
                });
            }
        }
    })
}

/// What it costs to make the letters and do nothing with them.
fn letters_alone() -> f64 {
    let order = shuffled(1 << 16, 1);
    let mut letters = Vec::with_capacity(32);
    least((0..RUNS).map(|_| {
        timed(TICKETS, || {
            for turn in 0..TICKETS / 32 {
                letters.clear();
                let names = order.iter().cycle().skip(turn * 32 % order.len()).take(32);
                letters.extend(names.map(|&name| enter(name.into(), name)));
                black_box(&mut letters);
            }
        })
    }))
}

/// A session that recent_partner from its neighbour (the odd one from the even one before it) at `now`.
fn enter_with_recent_partner(session: u64, name: u32, now: Timestamp) -> MatcherCommand {
    let recent_partner =
        Some(RecentPartner { session: SessionNo(session ^ 1), until: now + REMATCH_DELAY });
    let ticket = Ticket { recent_partner, ..ticket(session, queue(name), now) };
    MatcherCommand::Enter { ticket, replaces: None }
}

/// `pairs` pairs who have just left their rooms come back to one queue, one after the other.
fn freshly_parted(pairs: u64, batch: usize) -> f64 {
    let rounds = TICKETS as u64 / pairs / 2;
    least((0..RUNS).map(|_| {
        let mut matcher = Matcher::new(batch);
        timed((rounds * pairs * 2) as usize, || {
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

/// A freshly recent_partner pair in each of `queues` queues, until all of them have met again.
fn parted_in_each(queues: usize, batch: usize) -> f64 {
    let rounds = (TICKETS / queues / 2).max(1);
    let order = shuffled(queues, 1);
    least((0..RUNS).map(|_| {
        let mut matcher = Matcher::new(batch);
        timed(rounds * queues * 2, || {
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
                    matcher.queue.expire(deadline, |one, other| {
                        black_box((one.holder, other.holder));
                        matcher.pairs += 1;
                    });
                }
            }
            assert_eq!((matcher.pairs, matcher.queue.waiting()), (rounds * queues, 0));
        })
    }))
}

/// The slowest of all operations while `queues` queues get a first ticket each and then a second.
fn slowest(queues: u32) {
    let mut matcher = Matcher::new(1);
    let mut spans_ns = Vec::with_capacity(2 * queues as usize);
    for round in 0..2 {
        for name in 0..queues {
            let letter = enter(u64::from(name) << 1 | round, name);
            let start = cpu_time();
            matcher.run(std::iter::once(letter), |_| ());
            spans_ns.push((cpu_time() - start).as_nanos());
        }
    }
    spans_ns.sort_unstable();
    let share = |parts: usize| spans_ns[spans_ns.len() - 1 - spans_ns.len() / parts] as f64 / 1e3;
    println!(
        "{queues:>9} queues come and go, µs of one operation (with reading the clock twice): \
         p99.9 {:.1}, p99.99 {:.1}, slowest {:.1}",
        share(1_000),
        share(10_000),
        share(usize::MAX),
    );
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("run me with `cargo bench --bench queue`: I measure, I test nothing");
        return;
    }
    let only = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("each") {
        println!("{:.1} ns to make a letter, included below", letters_alone());
        println!("ns per ticket      at once   in turn    steady  cancelled and again");
        for batch in [1, BATCH] {
            for queues in [10, 1_000, 100_000, 1_000_000] {
                let [turn, steady, again] = one_in_each(queues, batch);
                println!("{queues:>9} queues {batch:>9} {turn:>9.1} {steady:>9.1} {again:>9.1}");
            }
        }
    }
    if wanted("recent_partner") {
        for pairs in [10, 1_000, 100_000] {
            let figures = [1, BATCH].map(|batch| freshly_parted(pairs, batch));
            println!(
                "{pairs:>9} recent_partner pairs in one queue: {:.1}, {:.1}",
                figures[0], figures[1]
            );
        }
        for queues in [10, 1_000, 100_000, 1_000_000] {
            let figures = [1, BATCH].map(|batch| parted_in_each(queues, batch));
            println!(
                "{queues:>9} queues, a recent_partner pair in each: {:.1}, {:.1}",
                figures[0], figures[1]
            );
        }
    }
    if wanted("slowest") {
        slowest(1_000_000);
    }
}
