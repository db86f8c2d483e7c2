//! The matcher thread: takes commands from its mailbox, lets the [`MatcherCore`] decide, and
//! sends to the shards. It never writes to a client, and it blocks only in its poll.

use super::matcher_core::{MatcherCore, MatcherSink};
use crate::commands::{MatcherCommand, MatcherReply, Pairing, ShardCommand};
use crate::ids::SessionAddress;
use crate::limits::{COMMANDS_PER_ITERATION, COMMANDS_PER_PREFETCH};
use crate::mailbox::failures::{log_send_failure, log_wake_failure};
use crate::mailbox::{BatchSender, BlockDecision, MailboxReceiver, MailboxSender};
use crate::sys;
use crate::telemetry::counters::MatcherCounters;
use crate::timestamp::Timestamp;
use mio::{Events, Poll};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// Time between two readings of this thread's CPU time.
const CPU_TIME_PERIOD: Duration = Duration::from_secs(1);

/// What the matcher thread owns.
#[derive(Debug)]
pub struct Matcher<M, S> {
    poll: Poll,
    events: Events,
    mailbox: MailboxReceiver<MatcherCommand>,
    core: MatcherCore,
    shards: ShardMailboxes<M, S>,
    counters: Arc<MatcherCounters>,
    /// Storage for the commands that are handled next.
    commands: Vec<MatcherCommand>,
}

/// The mailboxes of all shards.
#[derive(Debug)]
struct ShardMailboxes<M, S>(Vec<BatchSender<ShardCommand<M, S>>>);

impl<M, S> ShardMailboxes<M, S> {
    fn send(&mut self, to: SessionAddress, command: ShardCommand<M, S>) {
        log_send_failure(self.0[to.shard.index()].send(command));
    }

    /// Wakes the shards that commands were sent to.
    fn flush_wakeups(&mut self) {
        self.0.iter_mut().for_each(|shard| log_wake_failure(shard.flush_wakeups()));
    }
}

impl<M, S> MatcherSink for ShardMailboxes<M, S> {
    fn reply(&mut self, reply: MatcherReply) {
        self.send(reply.holder, ShardCommand::Reply(reply));
    }

    fn pair(&mut self, pairing: Pairing) {
        self.send(pairing.home.holder, ShardCommand::Pair(pairing));
    }
}

impl<M, S> Matcher<M, S> {
    /// A matcher that is ready to run. The waker of `mailbox` is registered with `poll`.
    pub fn new(
        poll: Poll,
        mailbox: MailboxReceiver<MatcherCommand>,
        shards: Vec<MailboxSender<ShardCommand<M, S>>>,
        core: MatcherCore,
        counters: Arc<MatcherCounters>,
    ) -> Self {
        let events = Events::with_capacity(8);
        let commands = Vec::with_capacity(COMMANDS_PER_PREFETCH);
        let shards = ShardMailboxes(shards.into_iter().map(BatchSender::new).collect());
        Matcher { poll, events, mailbox, core, shards, counters, commands }
    }

    /// Runs until [`MatcherCommand::Stop`] arrives.
    ///
    /// # Errors
    /// When the poll fails; the thread cannot go on without it.
    pub fn run(mut self) -> io::Result<()> {
        let mut cpu_read_at = Timestamp::ZERO;
        loop {
            let first = self.wait()?;
            let began = sys::clock::monotonic();
            self.commands.extend(first);
            for _ in 0..COMMANDS_PER_ITERATION / COMMANDS_PER_PREFETCH {
                let room = COMMANDS_PER_PREFETCH - self.commands.len();
                self.commands.extend(std::iter::from_fn(|| self.mailbox.try_receive()).take(room));
                let is_drained = self.commands.len() < COMMANDS_PER_PREFETCH;
                self.core.prefetch(&self.commands);
                for command in self.commands.drain(..) {
                    if self.core.handle_command(command, began, &mut self.shards).is_break() {
                        return Ok(());
                    }
                }
                if is_drained {
                    break;
                }
            }
            self.core.pair_due(began, &mut self.shards);
            self.shards.flush_wakeups();
            self.core.publish_gauges();
            let ended = sys::clock::monotonic();
            self.counters.iteration_time.record(ended.since(began));
            if ended.since(cpu_read_at) >= CPU_TIME_PERIOD {
                cpu_read_at = ended;
                if let Ok(cpu) = sys::clock::thread_cpu() {
                    self.counters.cpu_nanos.raise_to(cpu.as_nanos() as u64);
                }
            }
        }
    }

    /// Blocks until a command arrives or the next deadline passes. Returns the command.
    fn wait(&mut self) -> io::Result<Option<MatcherCommand>> {
        let sleep_guard = match self.mailbox.prepare_to_block() {
            BlockDecision::Received(command) => return Ok(Some(command)),
            BlockDecision::MayBlock(guard) => guard,
        };
        let timeout = self.core.next_deadline().map(|due| due.since(sys::clock::monotonic()));
        let polled = self.poll.poll(&mut self.events, timeout);
        drop(sleep_guard);
        match polled {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error),
            Ok(()) | Err(_) => Ok(self.mailbox.try_receive()),
        }
    }
}
