//! The mailbox: a queue of letters, and a flag that saves the wake-up of a thread that is awake.
//!
//! Any thread may hold the sending half; the receiving half belongs to one thread, which blocks
//! in its poll and nowhere else. Nothing here blocks, takes a lock, or bounds the queue: how
//! many letters can be under way is bounded by who may write when (see [`crate::mail`]).
//!
//! There is one right order. The sender pushes the letter, *then* sets the flag, and wakes the
//! receiver if the flag was not set. The receiver, when it is about to block, clears the flag,
//! *then* looks once more. Of a sender's swap and the receiver's swap one comes first in the
//! flag's modification order, on which all threads agree:
//!
//! - The sender's is first: the receiver's swap reads what the sender's wrote, or what a later
//!   swap made of it, and so the push is visible to the last look.
//! - The receiver's is first: the sender reads the cleared flag and wakes the receiver, unless
//!   another sender's swap came in between, and then that one wakes it, and the receiver has
//!   to clear the flag again before it can block again.
//!
//! For the first case the swaps need `Release` on the sender's side and `Acquire` on the
//! receiver's, no more: both are read-modify-writes, so every later swap continues the release
//! sequence of an earlier one. A plain load before the sender's swap ("is it set already?")
//! would be cheaper and wrong: it may be answered before the push is visible.
//!
//! The parts are generic, so that `tests/loom/main.rs` can run the very code below
//! through every interleaving and every value that an atomic may legally return.

pub(crate) mod failures;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The end of a queue that letters are put into.
pub trait Push {
    /// What it carries.
    type Letter;
    /// Puts a letter at the back.
    ///
    /// # Errors
    /// Gives the letter back if there is nobody left to read it.
    fn push(&self, letter: Self::Letter) -> Result<(), Self::Letter>;
}

/// The end of a queue that letters are taken from.
pub trait Pop {
    /// What it carries.
    type Letter;
    /// Takes the letter at the front, if there is one; never waits.
    fn pop(&self) -> Option<Self::Letter>;
}

/// Ends the receiver's blocking call, or the next one if it is not in one.
pub trait Wake {
    /// Wakes.
    ///
    /// # Errors
    /// What the operating system says.
    fn wake(&self) -> io::Result<()>;
}

/// One bit that both halves share.
pub trait Flag {
    /// Sets the bit to `to` and returns what it was, as one read-modify-write.
    fn swap(&self, to: bool, order: Ordering) -> bool;
}

impl<T> Push for crossbeam_channel::Sender<T> {
    type Letter = T;
    fn push(&self, letter: T) -> Result<(), T> {
        self.send(letter).map_err(|refused| refused.0)
    }
}

impl<T> Pop for crossbeam_channel::Receiver<T> {
    type Letter = T;
    fn pop(&self) -> Option<T> {
        // That all senders are gone is no event here: the letter that ends a thread says so.
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

/// The sending half as the server uses it.
pub type Outbox<T> = OutboxOf<crossbeam_channel::Sender<T>, Arc<mio::Waker>, AtomicBool>;
/// The receiving half as the server uses it.
pub type Inbox<T> = InboxOf<crossbeam_channel::Receiver<T>, AtomicBool>;

/// A mailbox for the thread that polls where `waker` is registered.
pub fn mailbox<T>(waker: Arc<mio::Waker>) -> (Outbox<T>, Inbox<T>) {
    let (push, pop) = crossbeam_channel::unbounded();
    // Set: the receiver is awake, and will clear the flag before it blocks for the first time.
    mailbox_of(push, pop, waker, AtomicBool::new(true))
}

/// A mailbox made of these parts; `armed` must be set.
pub fn mailbox_of<Q, P, W, F>(
    push: Q,
    pop: P,
    wake: W,
    armed: F,
) -> (OutboxOf<Q, W, F>, InboxOf<P, F>)
where
    Q: Push,
    P: Pop<Letter = Q::Letter>,
    W: Wake,
    F: Flag,
{
    let armed = Arc::new(armed);
    (OutboxOf { push, wake, armed: Arc::clone(&armed) }, InboxOf { pop, armed })
}

/// The sending half over any parts.
#[derive(Debug)]
pub struct OutboxOf<Q, W, F> {
    push: Q,
    wake: W,
    /// Set while the receiver is awake or has been woken: it will look before it blocks.
    armed: Arc<F>,
}

impl<Q: Clone, W: Clone, F> Clone for OutboxOf<Q, W, F> {
    fn clone(&self) -> Self {
        OutboxOf {
            push: self.push.clone(),
            wake: self.wake.clone(),
            armed: Arc::clone(&self.armed),
        }
    }
}

/// Why a letter may not reach its reader.
#[derive(Debug)]
pub enum SendError<T> {
    /// The reader is gone; here is the letter.
    Gone(T),
    /// The letter lies in the mailbox, but its reader could not be woken. It is read when
    /// something else wakes the reader; the next letter tries to wake it again.
    Unwoken(io::Error),
}

impl<Q: Push, W: Wake, F: Flag> OutboxOf<Q, W, F> {
    /// Sends a letter. Letters of one sender arrive in the order in which it sent them.
    ///
    /// # Errors
    /// See [`SendError`]. A process whose threads cannot wake each other is not worth keeping.
    pub fn send(&self, letter: Q::Letter) -> Result<(), SendError<Q::Letter>> {
        self.put(letter).map_err(SendError::Gone)?;
        self.announce().map_err(SendError::Unwoken)
    }

    /// Puts a letter into the mailbox and leaves it at that. The receiver may not look before
    /// [`OutboxOf::announce`], to which the sender is bound before it blocks itself.
    fn put(&self, letter: Q::Letter) -> Result<(), Q::Letter> {
        self.push.push(letter)
    }

    /// Wakes the receiver unless it is awake: the second half of [`OutboxOf::send`].
    fn announce(&self) -> io::Result<()> {
        if self.armed.swap(true, Ordering::Release) {
            return Ok(());
        }
        self.wake.wake().inspect_err(|_| {
            // Else the flag would say for ever that somebody has woken the reader.
            self.armed.swap(false, Ordering::Release);
        })
    }

    /// Ends the receiver's blocking call without a letter: it makes a turn, finds nothing and
    /// blocks again. For a look at whether it still does so.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn nudge(&self) -> io::Result<()> {
        self.wake.wake()
    }
}

/// The sending half of a thread that writes many letters a turn: the receiver is woken once for
/// all of them, and not in the midst of a turn whose next letter would wake it again.
pub type Bundle<T> = BundleOf<crossbeam_channel::Sender<T>, Arc<mio::Waker>, AtomicBool>;

/// The same over any parts.
#[derive(Debug)]
pub struct BundleOf<Q, W, F> {
    outbox: OutboxOf<Q, W, F>,
    /// Letters that nobody has been woken for.
    unannounced: u32,
}

impl<Q: Push, W: Wake, F: Flag> BundleOf<Q, W, F> {
    /// Letters after which the receiver is woken all the same: it may have a CPU of its own.
    const MOST: u32 = 64;

    /// What goes into `outbox` is announced later.
    pub fn new(outbox: OutboxOf<Q, W, F>) -> Self {
        BundleOf { outbox, unannounced: 0 }
    }

    /// Adds a letter. Letters of one sender arrive in the order in which it sent them.
    ///
    /// # Errors
    /// See [`SendError`].
    #[inline]
    pub fn send(&mut self, letter: Q::Letter) -> Result<(), SendError<Q::Letter>> {
        self.outbox.put(letter).map_err(SendError::Gone)?;
        self.unannounced += 1;
        if self.unannounced < Self::MOST {
            return Ok(());
        }
        self.announce().map_err(SendError::Unwoken)
    }

    /// Wakes the receiver, if there is anything it may not know of. To be called at the end of
    /// each turn, before the sender blocks.
    ///
    /// # Errors
    /// What the operating system says. The letters are read when something else wakes the reader.
    #[inline]
    pub fn announce(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unannounced) == 0 {
            return Ok(());
        }
        self.outbox.announce()
    }
}

/// The receiving half over any parts. It cannot be cloned: one thread owns it.
#[derive(Debug)]
pub struct InboxOf<P, F> {
    pop: P,
    armed: Arc<F>,
}

/// What a thread may do that would like to block.
#[derive(Debug)]
#[must_use = "a letter in here is not in the mailbox any more"]
pub enum Pause<'a, T, F: Flag> {
    /// Handle this letter, and ask again later.
    Letter(T),
    /// Block, and hold this until you are back: until then every sender may have to wake you.
    Block(Asleep<'a, F>),
}

/// As long as this lives, the first sender wakes the receiver; when it is dropped, the
/// receiver counts as awake and its senders save the wake-up.
#[derive(Debug)]
#[must_use = "dropping it means being awake"]
pub struct Asleep<'a, F: Flag> {
    armed: &'a F,
}

impl<F: Flag> Drop for Asleep<'_, F> {
    fn drop(&mut self) {
        // No order is needed: whatever was pushed before is found by the look that comes
        // after the next clearing. It is a swap, not a store, to continue release sequences.
        self.armed.swap(true, Ordering::Relaxed);
    }
}

impl<P: Pop, F: Flag> InboxOf<P, F> {
    /// Takes the next letter, if there is one. To be called while busy; a thread that is about
    /// to block must ask [`InboxOf::before_blocking`].
    pub fn take(&mut self) -> Option<P::Letter> {
        self.pop.pop()
    }

    /// Asks whether the thread may block now. If it may, whoever sends a letter from here on
    /// wakes it.
    pub fn before_blocking(&mut self) -> Pause<'_, P::Letter, F> {
        self.armed.swap(false, Ordering::Acquire);
        let asleep = Asleep { armed: &*self.armed };
        match self.pop.pop() {
            // `asleep` ends here: the thread stays awake, and senders need not wake it.
            Some(letter) => Pause::Letter(letter),
            None => Pause::Block(asleep),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};
    use std::cell::Cell;
    use std::time::Duration;

    fn real() -> (Poll, Outbox<u32>, Inbox<u32>) {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(mio::Waker::new(poll.registry(), Token(0)).unwrap());
        let (outbox, inbox) = mailbox(waker);
        (poll, outbox, inbox)
    }

    fn events_without_waiting(poll: &mut Poll) -> usize {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        events.iter().count()
    }

    #[test]
    fn a_busy_reader_costs_its_senders_no_wake_up() {
        let (mut poll, outbox, mut inbox) = real();
        for letter in 0..3 {
            outbox.send(letter).unwrap();
        }
        assert_eq!(inbox.take(), Some(0));
        // A look that finds a letter leaves the reader counted as awake.
        assert!(matches!(inbox.before_blocking(), Pause::Letter(1)));
        outbox.send(3).unwrap();
        assert_eq!(inbox.take(), Some(2));
        assert_eq!(inbox.take(), Some(3));
        // And so does the return from a poll that ended for another reason.
        assert!(matches!(inbox.before_blocking(), Pause::Block(_)));
        outbox.send(4).unwrap();
        assert_eq!(events_without_waiting(&mut poll), 0);
    }

    #[test]
    fn a_sleeping_reader_is_woken_once_for_many_letters() {
        let (mut poll, outbox, mut inbox) = real();
        {
            let Pause::Block(_asleep) = inbox.before_blocking() else { panic!("nothing was sent") };
            outbox.clone().send(7).unwrap();
            assert_eq!(events_without_waiting(&mut poll), 1);
            outbox.send(8).unwrap();
            assert_eq!(events_without_waiting(&mut poll), 0);
        }
        assert_eq!((inbox.take(), inbox.take(), inbox.take()), (Some(7), Some(8), None));
    }

    #[test]
    fn a_bundle_wakes_its_reader_at_the_end_of_the_turn() {
        let (mut poll, outbox, mut inbox) = real();
        let mut bundle = Bundle::new(outbox);
        let Pause::Block(asleep) = inbox.before_blocking() else { panic!("nothing was sent") };
        bundle.announce().unwrap();
        assert_eq!(events_without_waiting(&mut poll), 0, "there was nothing to announce");
        bundle.send(1).unwrap();
        bundle.send(2).unwrap();
        assert_eq!(events_without_waiting(&mut poll), 0);
        bundle.announce().unwrap();
        assert_eq!(events_without_waiting(&mut poll), 1);
        drop(asleep);
        assert_eq!((inbox.take(), inbox.take()), (Some(1), Some(2)));
        let Pause::Block(_asleep) = inbox.before_blocking() else { panic!("nothing was sent") };
        for letter in 0..200 {
            bundle.send(letter).unwrap();
        }
        assert_eq!(events_without_waiting(&mut poll), 1, "a long turn is not waited for");
    }

    #[test]
    fn every_letter_of_four_threads_arrives_in_its_senders_order() {
        const EACH: u32 = 20_000;
        let (mut poll, outbox, mut inbox) = real();
        let mut next = [0; 4];
        std::thread::scope(|scope| {
            for sender in 0..4 {
                let outbox = outbox.clone();
                scope.spawn(move || {
                    for number in 0..EACH {
                        outbox.send(sender * EACH + number).unwrap();
                    }
                });
            }
            let mut events = Events::with_capacity(8);
            while next.iter().sum::<u32>() < 4 * EACH {
                let letter = match inbox.before_blocking() {
                    Pause::Letter(letter) => letter,
                    Pause::Block(_asleep) => {
                        // The limit only turns a lost wake-up into a failure instead of a hang.
                        poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
                        assert!(!events.is_empty(), "a wake-up was lost");
                        continue;
                    }
                };
                let sender = (letter / EACH) as usize;
                assert_eq!(letter % EACH, next[sender]);
                next[sender] += 1;
            }
        });
    }

    #[test]
    fn a_letter_to_nobody_comes_back() {
        let (_poll, outbox, inbox) = real();
        drop(inbox);
        assert!(matches!(outbox.send(5), Err(SendError::Gone(5))));
    }

    /// Fails as often as it is told to, and counts its calls.
    struct Fails {
        left: Cell<u32>,
        calls: Cell<u32>,
    }

    impl Wake for &Fails {
        fn wake(&self) -> io::Result<()> {
            self.calls.set(self.calls.get() + 1);
            match self.left.get() {
                0 => Ok(()),
                left => {
                    self.left.set(left - 1);
                    Err(io::Error::other("no"))
                }
            }
        }
    }

    #[test]
    fn after_a_wake_that_failed_the_next_letter_wakes() {
        let waker = Fails { left: Cell::new(1), calls: Cell::new(0) };
        let (push, pop) = crossbeam_channel::unbounded();
        let (outbox, mut inbox) = mailbox_of(push, pop, &waker, AtomicBool::new(true));
        let Pause::Block(asleep) = inbox.before_blocking() else { panic!("nothing was sent") };
        assert!(matches!(outbox.send(1), Err(SendError::Unwoken(_))));
        outbox.send(2).unwrap();
        outbox.send(3).unwrap();
        assert_eq!(waker.calls.get(), 2);
        drop(asleep);
        assert_eq!((inbox.take(), inbox.take(), inbox.take()), (Some(1), Some(2), Some(3)));
    }
}
