//! The mailbox loses no wake-up: checked by loom over every interleaving of two senders and
//! the receiver, and every value that an atomic may legally return.
//!
//! It is the server's own code that is checked; queue, flag and poll are stand-ins. A lost
//! wake-up leaves the receiver in its poll for ever, which loom reports as a deadlock.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize};
use loom::thread;
use std::io;
use std::sync::atomic::Ordering;
use switchboard::mailbox::{
    BlockDecision, Flag, GenericBatchSender, Pop, Push, Wake, mailbox_from_parts,
};

const SENDERS: usize = 2;
const LETTERS: usize = 2;

/// As weak a queue as the mailbox may be given: a push is one release store, a look one acquire
/// load of each slot, so it orders nothing but the letter itself. (A queue behind a mutex
/// would hide a flag with too weak an order.)
struct Slots([[AtomicUsize; LETTERS]; SENDERS]);

/// One sender's way into the queue.
struct WayIn {
    slots: Arc<Slots>,
    sender: usize,
    sent: std::cell::Cell<usize>,
}

impl Push for WayIn {
    type Item = usize;
    fn push(&self, letter: usize) -> Result<(), usize> {
        let place = self.sent.replace(self.sent.get() + 1);
        self.slots.0[self.sender][place].store(letter, Ordering::Release);
        Ok(())
    }
}

impl Clone for WayIn {
    /// The next sender's way.
    fn clone(&self) -> Self {
        WayIn { slots: Arc::clone(&self.slots), sender: self.sender + 1, sent: 0.into() }
    }
}

/// The receiver's way out of it.
struct WayOut {
    slots: Arc<Slots>,
    taken: [std::cell::Cell<usize>; SENDERS],
}

impl Pop for WayOut {
    type Item = usize;
    fn pop(&self) -> Option<usize> {
        for (slots, taken) in self.slots.0.iter().zip(&self.taken) {
            let Some(slot) = slots.get(taken.get()) else { continue };
            let letter = slot.load(Ordering::Acquire);
            if letter != 0 {
                taken.set(taken.get() + 1);
                return Some(letter);
            }
        }
        None
    }
}

/// An eventfd in a poll, as the token of a parked thread: a wake ends the wait, or the next one.
#[derive(Clone)]
struct EventFd(thread::Thread);

impl Wake for EventFd {
    fn wake(&self) -> io::Result<()> {
        self.0.unpark();
        Ok(())
    }
}

struct LoomFlag(AtomicBool);

impl Flag for LoomFlag {
    fn swap(&self, to: bool, order: Ordering) -> bool {
        self.0.swap(to, order)
    }
}

/// `senders` threads send `letters` each, the last of them as a bundle, and the main thread receives them all.
fn exchange(senders: usize, letters: usize) {
    let slots =
        Arc::new(Slots(std::array::from_fn(|_| std::array::from_fn(|_| AtomicUsize::new(0)))));
    let fd = EventFd(thread::current());
    let push = WayIn { slots: Arc::clone(&slots), sender: 0, sent: 0.into() };
    let pop = WayOut { slots, taken: Default::default() };
    let flag = LoomFlag(AtomicBool::new(true));
    let (first, mut inbox) = mailbox_from_parts(push, pop, fd, flag);

    let outboxes = std::iter::successors(Some(first), |last| Some(last.clone())).take(senders);
    let threads: Vec<_> = outboxes
        .enumerate()
        .map(|(nth, outbox)| {
            thread::spawn(move || {
                if nth + 1 == senders {
                    let mut bundle = GenericBatchSender::new(outbox);
                    for number in 1..=letters {
                        bundle.send(number).expect("because the stand-ins never fail");
                    }
                    bundle.flush_wakeups().expect("because the stand-ins never fail");
                } else {
                    for number in 1..=letters {
                        outbox.send(number).expect("because the stand-ins never fail");
                    }
                }
            })
        })
        .collect();

    let mut sum = 0;
    let mut count = 0;
    while count < senders * letters {
        match inbox.prepare_to_block() {
            BlockDecision::Received(letter) => {
                sum += letter;
                count += 1;
            }
            BlockDecision::MayBlock(_asleep) => thread::park(),
        }
    }
    assert_eq!(sum, senders * (1 + letters) * letters / 2);
    for thread in threads {
        thread.join().expect("because a sender does not panic");
    }
}

/// Checks with at most `preemptions` switches away from a thread that could have gone on. Nearly
/// all bugs that are there show with two (Musuvathi and Qadeer, PLDI 2007); to check every
/// interleaving would take hours.
fn check(preemptions: usize, senders: usize, letters: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || exchange(senders, letters));
}

#[test]
fn no_wake_up_of_one_sender_is_lost_in_any_interleaving() {
    loom::model(|| exchange(1, LETTERS));
}

#[test]
fn no_wake_up_of_two_senders_is_lost() {
    check(5, SENDERS, 1);
}

#[test]
fn no_wake_up_of_two_senders_with_two_letters_each_is_lost() {
    check(3, SENDERS, LETTERS);
}
