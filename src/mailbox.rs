//! The mailbox: an unbounded queue between threads, and a flag that saves the wake-up of a
//! receiver that is awake.
//!
//! Any thread may hold a sending half. The receiving half belongs to one thread, which blocks in
//! its poll and nowhere else. Nothing here blocks, takes a lock or bounds the queue; the protocol
//! of [`crate::commands`] bounds how many commands can be in flight.
//!
//! # Why no wake-up is lost
//!
//! The sender pushes the command, *then* sets the flag, and wakes the receiver if the flag was
//! clear. Before it blocks, the receiver clears the flag, *then* checks the queue once more. Both
//! change the flag with an atomic swap, so all threads agree on the order of any two swaps:
//!
//! - The sender's swap comes first: the receiver's swap reads the value that the sender's swap
//!   (or a later one) wrote, so the push is visible to the receiver's last check.
//! - The receiver's swap comes first: the sender reads a clear flag and wakes the receiver. If
//!   another sender's swap came in between, that sender wakes the receiver, and the receiver has
//!   to clear the flag again before it can block again.
//!
//! The first case needs `Release` on the sender's swap and `Acquire` on the receiver's, no more:
//! both are read-modify-write operations, so every later swap continues the release sequence of
//! an earlier one. Reading the flag with a plain load before the sender's swap would be cheaper
//! but wrong: the load may be executed before the push becomes visible.
//!
//! The parts are generic, so that `tests/loom/main.rs` can run this code through every
//! interleaving and every value that an atomic may legally return.

pub(crate) mod failures;

use crate::limits::COMMANDS_PER_WAKE_UP;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The sending end of a queue.
pub trait Push {
    /// What the queue carries.
    type Item;
    /// Appends an item.
    ///
    /// # Errors
    /// Returns the item if the receiving end has been dropped.
    fn push(&self, item: Self::Item) -> Result<(), Self::Item>;
}

/// The receiving end of a queue.
pub trait Pop {
    /// What the queue carries.
    type Item;
    /// Removes the oldest item, if there is one; never waits.
    fn pop(&self) -> Option<Self::Item>;
}

/// Ends the receiver's blocking call, or its next one if it is not blocked.
pub trait Wake {
    /// Wakes the receiver.
    ///
    /// # Errors
    /// The error of the operating system.
    fn wake(&self) -> io::Result<()>;
}

/// The bit that both halves share.
pub trait Flag {
    /// Sets the bit to `to` and returns its former value, as one read-modify-write operation.
    fn swap(&self, to: bool, order: Ordering) -> bool;
}

impl<T> Push for crossbeam_channel::Sender<T> {
    type Item = T;
    fn push(&self, item: T) -> Result<(), T> {
        self.send(item).map_err(|refused| refused.0)
    }
}

impl<T> Pop for crossbeam_channel::Receiver<T> {
    type Item = T;
    fn pop(&self) -> Option<T> {
        // A disconnected channel counts as empty: threads end on a command, not on the loss of
        // their senders.
        self.try_recv().ok()
    }
}

impl Wake for Arc<mio::Waker> {
    fn wake(&self) -> io::Result<()> {
        mio::Waker::wake(self)
    }
}

impl Flag for AtomicBool {
    fn swap(&self, to: bool, order: Ordering) -> bool {
        AtomicBool::swap(self, to, order)
    }
}

/// The sending half that the server uses.
pub type MailboxSender<T> =
    GenericSender<crossbeam_channel::Sender<T>, Arc<mio::Waker>, AtomicBool>;
/// The receiving half that the server uses.
pub type MailboxReceiver<T> = GenericReceiver<crossbeam_channel::Receiver<T>, AtomicBool>;
/// The sending half of a thread that sends many commands in one iteration; see
/// [`GenericBatchSender`].
pub type BatchSender<T> =
    GenericBatchSender<crossbeam_channel::Sender<T>, Arc<mio::Waker>, AtomicBool>;

/// Makes a mailbox for the thread whose poll `waker` is registered with.
pub fn mailbox<T>(waker: Arc<mio::Waker>) -> (MailboxSender<T>, MailboxReceiver<T>) {
    let (push, pop) = crossbeam_channel::unbounded();
    // Set: the receiver is awake, and clears the flag before it blocks for the first time.
    mailbox_from_parts(push, pop, waker, AtomicBool::new(true))
}

/// Makes a mailbox of these parts; `awake` must be set.
pub fn mailbox_from_parts<Q, P, W, F>(
    push: Q,
    pop: P,
    wake: W,
    awake: F,
) -> (GenericSender<Q, W, F>, GenericReceiver<P, F>)
where
    Q: Push,
    P: Pop<Item = Q::Item>,
    W: Wake,
    F: Flag,
{
    let awake = Arc::new(awake);
    (GenericSender { push, wake, awake: Arc::clone(&awake) }, GenericReceiver { pop, awake })
}

/// The sending half over any parts.
#[derive(Debug)]
pub struct GenericSender<Q, W, F> {
    push: Q,
    wake: W,
    /// Set while the receiver is awake or has been woken: it checks the queue before it blocks.
    awake: Arc<F>,
}

impl<Q: Clone, W: Clone, F> Clone for GenericSender<Q, W, F> {
    fn clone(&self) -> Self {
        GenericSender {
            push: self.push.clone(),
            wake: self.wake.clone(),
            awake: Arc::clone(&self.awake),
        }
    }
}

/// Why a command may not reach its receiver.
#[derive(Debug)]
pub enum MailboxError<T> {
    /// The receiving half has been dropped; this is the command.
    Disconnected(T),
    /// The command is in the queue, but the receiver could not be woken. The receiver finds it
    /// when something else wakes it; the next command tries the wake-up again.
    WakeFailed(io::Error),
}

impl<Q: Push, W: Wake, F: Flag> GenericSender<Q, W, F> {
    /// Sends a command and wakes the receiver if it is asleep. Commands of one sender arrive in
    /// the order in which they were sent.
    ///
    /// # Errors
    /// See [`MailboxError`]. A process whose threads cannot wake each other should be restarted.
    pub fn send(&self, item: Q::Item) -> Result<(), MailboxError<Q::Item>> {
        self.enqueue(item).map_err(MailboxError::Disconnected)?;
        self.wake_receiver().map_err(MailboxError::WakeFailed)
    }

    /// Puts a command into the queue without waking the receiver. The sender must call
    /// [`GenericSender::wake_receiver`] before it blocks itself.
    fn enqueue(&self, item: Q::Item) -> Result<(), Q::Item> {
        self.push.push(item)
    }

    /// Wakes the receiver unless it is awake: the second half of [`GenericSender::send`].
    fn wake_receiver(&self) -> io::Result<()> {
        if self.awake.swap(true, Ordering::Release) {
            return Ok(());
        }
        self.wake.wake().inspect_err(|_| {
            // Left set, the flag would suppress the wake-ups of all later commands.
            self.awake.swap(false, Ordering::Release);
        })
    }

    /// Ends the receiver's blocking call without a command: its event loop makes one iteration,
    /// finds nothing and blocks again. The watchdog checks with it that the loop still runs.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn interrupt_poll(&self) -> io::Result<()> {
        self.wake.wake()
    }
}

/// The sending half, over any parts, of a thread that sends many commands in one iteration. It
/// defers the wake-up: the receiver is woken once for all of them, at the end of the iteration,
/// and not in its midst, where each further command might have to wake it again.
#[derive(Debug)]
pub struct GenericBatchSender<Q, W, F> {
    sender: GenericSender<Q, W, F>,
    /// Commands sent since the last wake-up.
    pending: u32,
}

impl<Q: Push, W: Wake, F: Flag> GenericBatchSender<Q, W, F> {
    /// Sends through `sender` with deferred wake-ups.
    pub fn new(sender: GenericSender<Q, W, F>) -> Self {
        GenericBatchSender { sender, pending: 0 }
    }

    /// Adds a command. Commands of one sender arrive in the order in which they were sent. After
    /// [`COMMANDS_PER_WAKE_UP`] commands the receiver is woken at once.
    ///
    /// # Errors
    /// See [`MailboxError`].
    #[inline]
    pub fn send(&mut self, item: Q::Item) -> Result<(), MailboxError<Q::Item>> {
        self.sender.enqueue(item).map_err(MailboxError::Disconnected)?;
        self.pending += 1;
        if self.pending < COMMANDS_PER_WAKE_UP {
            return Ok(());
        }
        self.flush_wakeups().map_err(MailboxError::WakeFailed)
    }

    /// Wakes the receiver if commands were sent since the last wake-up. To be called at the end
    /// of each iteration, before the sender blocks.
    ///
    /// # Errors
    /// The error of the operating system. The receiver finds the commands when something else
    /// wakes it.
    #[inline]
    pub fn flush_wakeups(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.pending) == 0 {
            return Ok(());
        }
        self.sender.wake_receiver()
    }
}

/// The receiving half over any parts. It cannot be cloned: one thread owns it.
#[derive(Debug)]
pub struct GenericReceiver<P, F> {
    pop: P,
    awake: Arc<F>,
}

/// Whether a thread that has nothing to do may block.
#[derive(Debug)]
#[must_use = "the command in it has been removed from the mailbox"]
pub enum BlockDecision<'a, T, F: Flag> {
    /// A command arrived: handle it, and ask again later.
    Received(T),
    /// The thread may block. It must hold the guard until it is awake again.
    MayBlock(SleepGuard<'a, F>),
}

/// While this guard lives, the first sender wakes the receiver. When it is dropped, the receiver
/// counts as awake, and senders save the wake-up.
#[derive(Debug)]
#[must_use = "dropping the guard marks the thread as awake"]
pub struct SleepGuard<'a, F: Flag> {
    awake: &'a F,
}

impl<F: Flag> Drop for SleepGuard<'_, F> {
    fn drop(&mut self) {
        // `Relaxed` is enough: a command pushed before is found by the check that follows the
        // next clearing. A swap, not a store, because only a read-modify-write operation
        // continues a release sequence.
        self.awake.swap(true, Ordering::Relaxed);
    }
}

impl<P: Pop, F: Flag> GenericReceiver<P, F> {
    /// Takes the next command, if there is one. For a thread that is busy; before it blocks, it
    /// must call [`GenericReceiver::prepare_to_block`].
    pub fn try_receive(&mut self) -> Option<P::Item> {
        self.pop.pop()
    }

    /// Asks whether the thread may block now. If it may, every command sent from here on wakes
    /// it.
    pub fn prepare_to_block(&mut self) -> BlockDecision<'_, P::Item, F> {
        self.awake.swap(false, Ordering::Acquire);
        let guard = SleepGuard { awake: &*self.awake };
        match self.pop.pop() {
            // `guard` is dropped here: the thread stays awake, and senders need not wake it.
            Some(item) => BlockDecision::Received(item),
            None => BlockDecision::MayBlock(guard),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};
    use std::cell::Cell;
    use std::time::Duration;

    fn real_mailbox() -> (Poll, MailboxSender<u32>, MailboxReceiver<u32>) {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(mio::Waker::new(poll.registry(), Token(0)).unwrap());
        let (sender, receiver) = mailbox(waker);
        (poll, sender, receiver)
    }

    fn poll_without_waiting(poll: &mut Poll) -> usize {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        events.iter().count()
    }

    #[test]
    fn sends_no_wake_up_to_a_receiver_that_is_awake() {
        let (mut poll, sender, mut receiver) = real_mailbox();
        for command in 0..3 {
            sender.send(command).unwrap();
        }
        assert_eq!(receiver.try_receive(), Some(0));
        // A check that finds a command leaves the receiver marked as awake.
        assert!(matches!(receiver.prepare_to_block(), BlockDecision::Received(1)));
        sender.send(3).unwrap();
        assert_eq!(receiver.try_receive(), Some(2));
        assert_eq!(receiver.try_receive(), Some(3));
        // And so does the return from a poll that ended for another reason.
        assert!(matches!(receiver.prepare_to_block(), BlockDecision::MayBlock(_)));
        sender.send(4).unwrap();
        assert_eq!(poll_without_waiting(&mut poll), 0);
    }

    #[test]
    fn wakes_a_sleeping_receiver_once_for_many_commands() {
        let (mut poll, sender, mut receiver) = real_mailbox();
        {
            let BlockDecision::MayBlock(_guard) = receiver.prepare_to_block() else {
                panic!("nothing was sent")
            };
            sender.clone().send(7).unwrap();
            assert_eq!(poll_without_waiting(&mut poll), 1);
            sender.send(8).unwrap();
            assert_eq!(poll_without_waiting(&mut poll), 0);
        }
        let received = [(); 3].map(|()| receiver.try_receive());
        assert_eq!(received, [Some(7), Some(8), None]);
    }

    #[test]
    fn a_batch_sender_wakes_its_receiver_when_flushed_or_after_many_commands() {
        let (mut poll, sender, mut receiver) = real_mailbox();
        let mut batch = BatchSender::new(sender);
        let BlockDecision::MayBlock(guard) = receiver.prepare_to_block() else {
            panic!("nothing was sent")
        };
        batch.flush_wakeups().unwrap();
        assert_eq!(poll_without_waiting(&mut poll), 0, "an empty batch must not wake");
        batch.send(1).unwrap();
        batch.send(2).unwrap();
        assert_eq!(poll_without_waiting(&mut poll), 0);
        batch.flush_wakeups().unwrap();
        assert_eq!(poll_without_waiting(&mut poll), 1);
        drop(guard);
        assert_eq!((receiver.try_receive(), receiver.try_receive()), (Some(1), Some(2)));
        let BlockDecision::MayBlock(_guard) = receiver.prepare_to_block() else {
            panic!("nothing was sent")
        };
        for command in 0..200 {
            batch.send(command).unwrap();
        }
        assert_eq!(poll_without_waiting(&mut poll), 1, "a long batch must not wait for its end");
    }

    #[test]
    fn commands_of_four_threads_arrive_in_the_order_of_each_sender() {
        const COMMANDS_EACH: u32 = 20_000;
        let (mut poll, sender, mut receiver) = real_mailbox();
        let mut next = [0; 4];
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let sender = sender.clone();
                scope.spawn(move || {
                    for number in 0..COMMANDS_EACH {
                        sender.send(thread * COMMANDS_EACH + number).unwrap();
                    }
                });
            }
            let mut events = Events::with_capacity(8);
            while next.iter().sum::<u32>() < 4 * COMMANDS_EACH {
                let command = match receiver.prepare_to_block() {
                    BlockDecision::Received(command) => command,
                    BlockDecision::MayBlock(_guard) => {
                        // The limit only turns a lost wake-up into a failure instead of a hang.
                        poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
                        assert!(!events.is_empty(), "a wake-up was lost");
                        continue;
                    }
                };
                let thread = (command / COMMANDS_EACH) as usize;
                assert_eq!(command % COMMANDS_EACH, next[thread]);
                next[thread] += 1;
            }
        });
    }

    #[test]
    fn returns_a_command_whose_receiver_has_been_dropped() {
        let (_poll, sender, receiver) = real_mailbox();
        drop(receiver);
        assert!(matches!(sender.send(5), Err(MailboxError::Disconnected(5))));
    }

    /// Fails the first `failures_left` calls, and counts all of them.
    struct FailingWaker {
        failures_left: Cell<u32>,
        calls: Cell<u32>,
    }

    impl Wake for &FailingWaker {
        fn wake(&self) -> io::Result<()> {
            self.calls.set(self.calls.get() + 1);
            match self.failures_left.get() {
                0 => Ok(()),
                left => {
                    self.failures_left.set(left - 1);
                    Err(io::Error::other("no"))
                }
            }
        }
    }

    #[test]
    fn the_next_command_repeats_a_wake_up_that_failed() {
        let waker = FailingWaker { failures_left: Cell::new(1), calls: Cell::new(0) };
        let (push, pop) = crossbeam_channel::unbounded();
        let (sender, mut receiver) = mailbox_from_parts(push, pop, &waker, AtomicBool::new(true));
        let BlockDecision::MayBlock(guard) = receiver.prepare_to_block() else {
            panic!("nothing was sent")
        };
        assert!(matches!(sender.send(1), Err(MailboxError::WakeFailed(_))));
        sender.send(2).unwrap();
        sender.send(3).unwrap();
        assert_eq!(waker.calls.get(), 2);
        drop(guard);
        let received = [(); 3].map(|()| receiver.try_receive());
        assert_eq!(received, [Some(1), Some(2), Some(3)]);
    }
}
