//! The mailbox loses no wake-up: loom checks every interleaving of two senders and the receiver,
//! and every value that an atomic may legally return.
//!
//! The checked code is the server's own; queue, flag and poll are models. A lost wake-up leaves
//! the receiver blocked in its poll, which loom reports as a deadlock.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize};
use loom::thread;
use std::io;
use std::sync::atomic::Ordering;
use switchboard::mailbox::{
    BlockDecision, Flag, GenericBatchSender, Pop, Push, Wake, mailbox_from_parts,
};

const SENDERS: usize = 2;
const COMMANDS: usize = 2;

/// The weakest queue that the mailbox has to work with: a push is one release store and a pop one
/// acquire load of each slot, so it orders nothing but the command itself. (A queue behind a mutex
/// would hide a flag whose memory order is too weak.)
struct Slots([[AtomicUsize; COMMANDS]; SENDERS]);

/// The sending end of the queue, for one sender.
struct SlotSender {
    slots: Arc<Slots>,
    sender: usize,
    sent: std::cell::Cell<usize>,
}

impl Push for SlotSender {
    type Item = usize;
    fn push(&self, command: usize) -> Result<(), usize> {
        let index = self.sent.replace(self.sent.get() + 1);
        self.slots.0[self.sender][index].store(command, Ordering::Release);
        Ok(())
    }
}

impl Clone for SlotSender {
    /// Makes the sending end of the next sender.
    fn clone(&self) -> Self {
        SlotSender { slots: Arc::clone(&self.slots), sender: self.sender + 1, sent: 0.into() }
    }
}

/// The receiving end of the queue.
struct SlotReceiver {
    slots: Arc<Slots>,
    taken: [std::cell::Cell<usize>; SENDERS],
}

impl Pop for SlotReceiver {
    type Item = usize;
    fn pop(&self) -> Option<usize> {
        for (slots, taken) in self.slots.0.iter().zip(&self.taken) {
            let Some(slot) = slots.get(taken.get()) else { continue };
            let command = slot.load(Ordering::Acquire);
            if command != 0 {
                taken.set(taken.get() + 1);
                return Some(command);
            }
        }
        None
    }
}

/// Models an eventfd in a poll by a parked thread: a wake ends the present wait or the next one.
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

/// `senders` threads send `commands` each, the last of them through a batch sender; the main
/// thread receives all of them.
fn exchange(senders: usize, commands: usize) {
    let slots =
        Arc::new(Slots(std::array::from_fn(|_| std::array::from_fn(|_| AtomicUsize::new(0)))));
    let fd = EventFd(thread::current());
    let push = SlotSender { slots: Arc::clone(&slots), sender: 0, sent: 0.into() };
    let pop = SlotReceiver { slots, taken: Default::default() };
    let flag = LoomFlag(AtomicBool::new(true));
    let (first, mut receiver) = mailbox_from_parts(push, pop, fd, flag);

    let sending_halves =
        std::iter::successors(Some(first), |last| Some(last.clone())).take(senders);
    let threads: Vec<_> = sending_halves
        .enumerate()
        .map(|(nth, sender)| {
            thread::spawn(move || {
                if nth + 1 == senders {
                    let mut batch = GenericBatchSender::new(sender);
                    for number in 1..=commands {
                        batch.send(number).expect("because the models never fail");
                    }
                    batch.flush_wakeups().expect("because the models never fail");
                } else {
                    for number in 1..=commands {
                        sender.send(number).expect("because the models never fail");
                    }
                }
            })
        })
        .collect();

    let mut sum = 0;
    let mut count = 0;
    while count < senders * commands {
        match receiver.prepare_to_block() {
            BlockDecision::Received(command) => {
                sum += command;
                count += 1;
            }
            BlockDecision::MayBlock(_guard) => thread::park(),
        }
    }
    assert_eq!(sum, senders * (1 + commands) * commands / 2);
    for thread in threads {
        thread.join().expect("because a sender does not panic");
    }
}

/// Checks with at most `preemptions` preemptive context switches. Nearly all concurrency bugs show
/// with two (Musuvathi and Qadeer, PLDI 2007); checking every interleaving would take hours.
fn check(preemptions: usize, senders: usize, commands: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || exchange(senders, commands));
}

#[test]
fn no_wake_up_of_one_sender_is_lost_in_any_interleaving() {
    loom::model(|| exchange(1, COMMANDS));
}

#[test]
fn no_wake_up_of_two_senders_is_lost() {
    check(5, SENDERS, 1);
}

#[test]
fn no_wake_up_of_two_senders_with_two_commands_each_is_lost() {
    check(3, SENDERS, COMMANDS);
}
