//! The matcher: the thread around the queue. It reads letters, asks the queue, and writes to
//! shards; it never writes to a client, and it blocks only in its poll.

use super::queue::MatchQueue;
use crate::commands::{
    MatcherCommand, MatcherOutcome, MatcherReply, Pairing, ShardCommand, Ticket,
};
use crate::ids::{SessionAddress, ShardId};
use crate::mailbox::failures::{log_send_failure, log_wake_failure};
use crate::mailbox::{BatchSender, BlockDecision, MailboxReceiver, MailboxSender};
use crate::sys;
use crate::telemetry::counters::{MatcherCounters, ShardCounters};
use crate::timestamp::Timestamp;
use mio::{Events, Poll};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// What the matcher needs of a shard. Pure, if the shard is.
pub trait Post {
    /// Writes to a shard.
    fn reply(&mut self, reply: MatcherReply);
    /// Writes to the mover's shard.
    fn pair(&mut self, pairing: Pairing);
}

/// All that the matcher decides. Pure.
#[derive(Debug)]
pub struct MatcherCore {
    queue: MatchQueue,
    balance: Balance,
    counters: Arc<MatcherCounters>,
    /// Storage for what one letter brings together.
    pairs: Vec<(Ticket, Ticket)>,
}

impl MatcherCore {
    /// Nobody waits. `shards` are the counters of all shards, in their order.
    pub fn new(shards: Vec<Arc<ShardCounters>>, counters: Arc<MatcherCounters>) -> Self {
        MatcherCore {
            queue: MatchQueue::new(),
            balance: Balance::new(shards),
            counters,
            pairs: Vec::new(),
        }
    }

    /// These letters are going to be handled: see [`MatchQueue::warm`].
    pub fn warm(&self, letters: &[MatcherCommand]) {
        // A single letter has nothing to overlap its cache misses with.
        if letters.len() > 1 {
            self.queue.warm(letters);
        }
    }

    /// A letter came. True if it was the last.
    pub fn letter(&mut self, letter: MatcherCommand, now: Timestamp, post: &mut impl Post) -> bool {
        self.counters.commands.increment();
        match letter {
            MatcherCommand::Enter { ticket, replaces } => {
                let (holder, number) = (ticket.holder, ticket.number);
                let mut pairs = std::mem::take(&mut self.pairs);
                let handle = self
                    .queue
                    .enter(ticket, replaces, now, |first, second| pairs.push((first, second)));
                // First the reply: a session whose ticket is paired has to know that already.
                let outcome = match handle {
                    Some(handle) => MatcherOutcome::Queued(handle, number),
                    None => MatcherOutcome::Paired(number),
                };
                post.reply(MatcherReply { holder, outcome });
                self.send_pairs(pairs, post);
            }
            MatcherCommand::Leave { holder, handle, number } => {
                self.queue.leave(holder, handle, number);
                post.reply(MatcherReply { holder, outcome: MatcherOutcome::Removed });
            }
            MatcherCommand::Stop => return true,
        }
        false
    }

    /// Pairs those who have waited long enough for somebody else than each other.
    pub fn expire(&mut self, now: Timestamp, post: &mut impl Post) {
        let mut pairs = std::mem::take(&mut self.pairs);
        self.queue.expire(now, |first, second| pairs.push((first, second)));
        self.send_pairs(pairs, post);
    }

    /// When [`MatcherCore::expire`] is next due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.queue.next_deadline()
    }

    /// Shows how many wait.
    pub fn show(&self) {
        self.counters.tickets_waiting.set(self.queue.waiting() as i64);
        self.counters.queues.set(self.queue.queues() as i64);
    }

    fn send_pairs(&mut self, mut pairs: Vec<(Ticket, Ticket)>, post: &mut impl Post) {
        for (first, second) in pairs.drain(..) {
            self.counters.matches.increment();
            let (home, mover) = self.balance.choose(first, second);
            post.pair(Pairing { mover, home });
        }
        self.pairs = pairs;
    }
}

/// Which of two sessions stays where it is: the one whose shard has fewer connections, moves
/// that were decided and not yet carried out included.
#[derive(Debug)]
struct Balance {
    shards: Vec<Arc<ShardCounters>>,
    decided: Vec<Decided>,
}

/// Moves decided since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Decided {
    to: u64,
    from: u64,
}

impl Balance {
    fn new(shards: Vec<Arc<ShardCounters>>) -> Self {
        let decided = vec![Decided::default(); shards.len()];
        Balance { shards, decided }
    }

    /// The home's ticket, then the mover's.
    fn choose(&mut self, first: Ticket, second: Ticket) -> (Ticket, Ticket) {
        let shard = |ticket: &Ticket| ticket.holder.shard;
        if shard(&first) == shard(&second) {
            return (first, second);
        }
        let (home, mover) = if self.projected(shard(&first)) <= self.projected(shard(&second)) {
            (first, second)
        } else {
            (second, first)
        };
        self.decided[shard(&home).index()].to += 1;
        self.decided[shard(&mover).index()].from += 1;
        (home, mover)
    }

    /// Connections of a shard once every move that was decided has been made, or failed.
    fn projected(&self, shard: ShardId) -> i64 {
        let counters = &self.shards[shard.index()];
        let decided = self.decided[shard.index()];
        let coming = decided.to.wrapping_sub(counters.migrations_in_settled.get());
        let going = decided.from.wrapping_sub(counters.migrations_out_settled.get());
        counters.connections.get() + coming as i64 - going as i64
    }
}

/// The matcher's thread.
#[derive(Debug)]
pub struct Matcher<T, S> {
    poll: Poll,
    events: Events,
    inbox: MailboxReceiver<MatcherCommand>,
    desks: MatcherCore,
    shards: Shards<T, S>,
    counters: Arc<MatcherCounters>,
    /// Storage for the letters that are handled next.
    letters: Vec<MatcherCommand>,
}

/// The shards' mailboxes.
#[derive(Debug)]
struct Shards<T, S>(Vec<BatchSender<ShardCommand<T, S>>>);

impl<T, S> Shards<T, S> {
    fn send(&mut self, to: SessionAddress, letter: ShardCommand<T, S>) {
        log_send_failure(self.0[to.shard.index()].send(letter));
    }

    /// Wakes those that were written to.
    fn announce(&mut self) {
        self.0.iter_mut().for_each(|shard| log_wake_failure(shard.flush_wakeups()));
    }
}

impl<T, S> Post for Shards<T, S> {
    fn reply(&mut self, reply: MatcherReply) {
        self.send(reply.holder, ShardCommand::Reply(reply));
    }

    fn pair(&mut self, pairing: Pairing) {
        self.send(pairing.mover.holder, ShardCommand::Pair(pairing));
    }
}

/// Letters that are handled before the clock is read again.
const COMMANDS_PER_ITERATION: usize = 1024;
/// Letters that the queue is shown before the first of them is handled. The best of 8 to 256:
/// with a million queues each costs 61 ns then, against 96 with 8 and 75 with 256.
const LETTERS_AT_ONCE: usize = 32;

impl<T, S> Matcher<T, S> {
    /// Everything in place, nothing running. The waker of `inbox` is registered with `poll`.
    pub fn new(
        poll: Poll,
        inbox: MailboxReceiver<MatcherCommand>,
        shards: Vec<MailboxSender<ShardCommand<T, S>>>,
        desks: MatcherCore,
        counters: Arc<MatcherCounters>,
    ) -> Self {
        let events = Events::with_capacity(8);
        let letters = Vec::with_capacity(LETTERS_AT_ONCE);
        let shards = Shards(shards.into_iter().map(BatchSender::new).collect());
        Matcher { poll, events, inbox, desks, shards, counters, letters }
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// When the poll fails, which leaves nothing to go on with.
    pub fn run(mut self) -> io::Result<()> {
        let mut cpu_read = Timestamp::ZERO;
        loop {
            let first = self.wait()?;
            let began = sys::clock::monotonic();
            self.letters.extend(first);
            for _ in 0..COMMANDS_PER_ITERATION / LETTERS_AT_ONCE {
                let more = LETTERS_AT_ONCE - self.letters.len();
                self.letters.extend(std::iter::from_fn(|| self.inbox.try_receive()).take(more));
                let were_all = self.letters.len() < LETTERS_AT_ONCE;
                self.desks.warm(&self.letters);
                for letter in self.letters.drain(..) {
                    if self.desks.letter(letter, began, &mut self.shards) {
                        return Ok(());
                    }
                }
                if were_all {
                    break;
                }
            }
            self.desks.expire(began, &mut self.shards);
            self.shards.announce();
            self.desks.show();
            let ended = sys::clock::monotonic();
            self.counters.iteration_time.record(ended.since(began));
            if ended.since(cpu_read) >= Duration::from_secs(1) {
                cpu_read = ended;
                if let Ok(cpu) = sys::clock::thread_cpu() {
                    self.counters.cpu_nanos.raise_to(cpu.as_nanos() as u64);
                }
            }
        }
    }

    /// Blocks until a letter has come or a deadline has; gives back the letter.
    fn wait(&mut self) -> io::Result<Option<MatcherCommand>> {
        let asleep = match self.inbox.prepare_to_block() {
            BlockDecision::Received(letter) => return Ok(Some(letter)),
            BlockDecision::MayBlock(asleep) => asleep,
        };
        let timeout = self.desks.next_deadline().map(|due| due.since(sys::clock::monotonic()));
        let polled = self.poll.poll(&mut self.events, timeout);
        drop(asleep);
        match polled {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error),
            Ok(()) | Err(_) => Ok(self.inbox.try_receive()),
        }
    }
}
