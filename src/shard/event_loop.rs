//! The event loop of a shard's thread: poll, commands, events, new connections, timeouts. It
//! carries out what the core decides and decides nothing itself.

use super::acceptor::Acceptor;
use super::core::Readiness;
use super::socket_host::{ShardThreadCommand, SocketCore};
use crate::commands::ShardCommand;
use crate::ids::ConnectionKey;
use crate::limits::{COMMANDS_PER_ITERATION, EVENTS_PER_POLL};
use crate::mailbox::{BlockDecision, MailboxReceiver};
use crate::sys;
use crate::telemetry::counters::ShardCounters;
use crate::timestamp::Timestamp;
use mio::event::Event;
use mio::{Events, Poll};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// The token of a thread's waker.
pub const WAKER: mio::Token = mio::Token(usize::MAX);
/// Listeners have tokens from here on downwards. No connection has a key among them: its slot
/// would be above every possible limit.
const LAST_LISTENER: usize = usize::MAX - 1;

/// The token of a shard's `nth` listener.
pub fn listener_token(nth: usize) -> mio::Token {
    mio::Token(LAST_LISTENER - nth)
}

/// The event loop of a shard.
#[derive(Debug)]
pub struct EventLoop {
    poll: Poll,
    events: Events,
    mailbox: MailboxReceiver<ShardThreadCommand>,
    core: SocketCore,
    acceptor: Acceptor,
    counters: Arc<ShardCounters>,
    /// When the CPU time of the thread was last read.
    cpu_read: Timestamp,
}

impl EventLoop {
    /// An event loop that does not run yet.
    pub fn new(
        poll: Poll,
        mailbox: MailboxReceiver<ShardThreadCommand>,
        core: SocketCore,
        acceptor: Acceptor,
        counters: Arc<ShardCounters>,
    ) -> Self {
        let events = Events::with_capacity(EVENTS_PER_POLL);
        EventLoop { poll, events, mailbox, core, acceptor, counters, cpu_read: Timestamp::ZERO }
    }

    /// Runs until the command to stop comes.
    ///
    /// # Errors
    /// When the poll fails, which leaves no way to go on.
    pub fn run(mut self) -> io::Result<()> {
        let mut is_stopping = false;
        let mut ended = sys::clock::monotonic();
        while !is_stopping {
            let first = self.wait(ended)?;
            let now = sys::clock::monotonic();
            self.core.begin_iteration(now);
            self.core.share_among(self.readers());
            self.core.host.begin_iteration();
            // Commands come before events, so that a room is announced before its members' input
            // is read.
            is_stopping = self.handle_commands(first);
            for event in &self.events {
                match event.token() {
                    WAKER => {}
                    token if !is_connection(token.0) => {
                        self.acceptor.handle_event(LAST_LISTENER - token.0);
                    }
                    token => {
                        let key = ConnectionKey::from_word(token.0 as u64);
                        self.core.handle_event(key, readiness(event));
                    }
                }
            }
            self.core.run_deferred();
            self.acceptor.accept(&mut self.core, now);
            self.core.tick();
            self.core.host.flush_wakeups();
            ended = self.end_iteration(now);
        }
        self.acceptor.close();
        self.core.close_all();
        self.core.host.flush_wakeups();
        Ok(())
    }

    /// Handles a bounded number of commands. Whether one of them was to stop.
    fn handle_commands(&mut self, first: Option<ShardThreadCommand>) -> bool {
        let mut is_stopping = false;
        let mut handled = 0;
        let mut next = first;
        while let Some(command) = next {
            is_stopping |= matches!(command, ShardCommand::Stop);
            self.core.handle_command(command);
            handled += 1;
            // guard: an iteration takes a bounded number of commands [condition true]
            next = if handled < COMMANDS_PER_ITERATION { self.mailbox.try_receive() } else { None };
        }
        is_stopping
    }

    /// Blocks until there is something to do. The last iteration ended at `now`. Returns a
    /// command that came just before blocking: it is the first of the iteration.
    fn wait(&mut self, now: Timestamp) -> io::Result<Option<ShardThreadCommand>> {
        let has_work = self.core.has_work() || self.acceptor.has_work();
        let (command, _sleep_guard) = if has_work {
            (self.mailbox.try_receive(), None)
        } else {
            match self.mailbox.prepare_to_block() {
                BlockDecision::Received(command) => (Some(command), None),
                BlockDecision::MayBlock(sleep_guard) => (None, Some(sleep_guard)),
            }
        };
        let timeout = if has_work || command.is_some() {
            Some(Duration::ZERO)
        } else {
            let deadlines = [self.core.next_tick(), self.acceptor.next_try()];
            deadlines.into_iter().flatten().min().map(|deadline| deadline.since(now))
        };
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => Ok(command),
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.events.clear();
                Ok(command)
            }
            Err(error) => Err(error),
        }
    }

    /// How many connections are read for the events of this iteration.
    fn readers(&self) -> usize {
        let is_read = |event: &&Event| {
            let token = event.token().0;
            let key = ConnectionKey::from_word(token as u64);
            is_connection(token) && event.is_readable() && self.core.reads_for_events(key)
        };
        self.events.iter().filter(is_read).count()
    }

    fn end_iteration(&mut self, began: Timestamp) -> Timestamp {
        let now = sys::clock::monotonic();
        self.counters.iteration_time.record(now.since(began));
        if now.since(self.cpu_read) >= Duration::from_secs(1) {
            self.cpu_read = now;
            if let Ok(cpu) = sys::clock::thread_cpu() {
                self.counters.cpu_nanos.raise_to(cpu.as_nanos() as u64);
            }
        }
        now
    }
}

/// Whether a token is that of a connection, and not of the waker or a listener.
fn is_connection(token: usize) -> bool {
    token <= LAST_LISTENER - u16::MAX as usize
}

fn readiness(event: &Event) -> Readiness {
    let has_ended = event.is_read_closed() || event.is_error();
    Readiness {
        readable: event.is_readable() || has_ended,
        writable: event.is_writable(),
        // guard: reading goes on after the mark of urgent data [operand 2 false]
        read_on: has_ended || event.is_priority(),
    }
}
