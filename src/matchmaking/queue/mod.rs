//! Who meets whom: tickets in, pairs out. Pure; owned by the matcher thread.
//!
//! It reads no clock and answers nobody: the time comes in as an argument, and pairs go out
//! through a closure. (All it asks of [`crate::sys`] is a hint to the processor's cache.) It never refuses a ticket, and takes out only what its holder names.
//!
//! # The law
//!
//! Within a queue, first come, first matched: tickets stand in the order of their `since`, and
//! those of the same moment in the order in which they were entered. Two of the same session
//! never meet. Two of which one has just recent_partner from the other's session do not meet before
//! the time it says; they are passed over, others come first, and when the time has come they
//! meet each other after all. A ticket that comes back after a match that failed still has
//! its first `since`, and so its place.
//!
//! # Why each operation takes constant time, although it walks the queue
//!
//! An operation never leaves two tickets together that may meet at that moment. So of n tickets
//! at rest, each of the n(n−1)/2 pairs is kept apart by a refusal of one of its two. A ticket
//! refuses one other at most, which makes n refusals at most; so n(n−1)/2 ≤ n, and n ≤ 3.
//! (As long as a session has one ticket. Nothing here goes wrong if it has more; it is only
//! the walk that gets longer.)
//!
//! # Where things lie
//!
//! With a million queues the time goes into cache misses. A match touches two lines: the bucket
//! of the queue's name in the [`table`], and the [`place`] of the ticket that waits there.
//! The table says the place itself as long as one ticket waits; only a [`crowd`] has more.

mod arena;
mod crowd;
mod place;
mod table;
#[cfg(test)]
mod tests;

use crate::commands::{MatcherCommand, Ticket, TicketHandle};
use crate::ids::{QueueKey, SessionAddress, TicketNo};
use crate::sys::prefetch::prefetch;
use crate::timestamp::Timestamp;
use arena::Arena;
use crowd::Crowds;
use place::{NEVER, Place};
use table::{Spot, Table};

/// What may stay allocated when nobody waits: the first segments of what can grow.
pub const KEPT_BYTES: usize = 384 * 1024;

/// All queues of the process, and the tickets in them.
///
/// What it keeps from the allocator follows what waits: queues that end are forgotten at once, and
/// when the last ticket has gone, at most [`KEPT_BYTES`] stay behind.
#[derive(Debug, Default)]
pub struct MatchQueue {
    places: Arena<Place>,
    /// What waits in each queue that is not empty.
    table: Table,
    crowds: Crowds,
}

/// What waits in a queue, as the table says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// The ticket in this place.
    Alone(u32),
    /// The tickets of this crowd, two or more.
    Crowd(u32),
}

impl Waits {
    const CROWD: u32 = 1 << 31;

    fn from_word(word: u32) -> Self {
        match word & Self::CROWD {
            0 => Waits::Alone(word),
            _ => Waits::Crowd(word & !Self::CROWD),
        }
    }

    fn to_word(self) -> u32 {
        match self {
            Waits::Alone(place) => place,
            Waits::Crowd(crowd) => crowd | Self::CROWD,
        }
    }
}

/// The bits of the name that the table knows a queue by.
fn tag(queue: QueueKey) -> u32 {
    queue.0 as u32
}

impl MatchQueue {
    /// Without any ticket.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many tickets wait.
    pub fn waiting(&self) -> usize {
        self.places.len()
    }

    /// In how many queues they wait.
    pub fn queues(&self) -> usize {
        self.table.len()
    }

    /// Loads into the cache what these letters are going to need. It changes nothing, and nobody
    /// has to call it.
    ///
    /// One operation after the other would wait for one cache miss after the other, about
    /// 150 ns each when there are a million queues; the processor can have a dozen under way.
    /// So the matcher shows the letters that it has taken from its mailbox, a few dozen at once,
    /// before it handles the first.
    pub fn warm(&self, letters: &[MatcherCommand]) {
        for letter in letters {
            if let MatcherCommand::Enter { ticket, .. } = letter {
                self.table.touch(tag(ticket.queue));
            }
            if let Some(place) = self.leaving(letter) {
                prefetch(place);
            }
        }
        self.places.next_places(letters.len()).for_each(prefetch);
        // What the first round has asked for says where to look next.
        for letter in letters {
            if let MatcherCommand::Enter { ticket, .. } = letter
                && let Some(word) = self.table.guess(tag(ticket.queue))
                && let Waits::Alone(place) = Waits::from_word(word)
            {
                prefetch(&self.places[place]);
            }
            if let Some(place) = self.leaving(letter) {
                self.table.touch(tag(place.queue()));
            }
        }
    }

    /// The place of the ticket that a letter takes out, if it still is that ticket's.
    fn leaving(&self, letter: &MatcherCommand) -> Option<&Place> {
        match *letter {
            MatcherCommand::Enter { replaces, .. } => self.places.get(replaces?.0.0),
            MatcherCommand::Leave { handle, .. } => self.places.get(handle.0),
            MatcherCommand::Stop => None,
        }
    }

    /// Enters a ticket, after taking out the one that it replaces (if that is still there).
    ///
    /// Every pair that this makes goes out through `pair`: first those in the ticket's queue who
    /// have been allowed to meet since the last look, each the one ahead first; then the ticket
    /// itself, as the second of its pair. Returns where the ticket waits, or `None` if it was
    /// among the pairs.
    ///
    /// `now` must not lie before that of an earlier call.
    pub fn enter(
        &mut self,
        ticket: Ticket,
        replaces: Option<(TicketHandle, TicketNo)>,
        now: Timestamp,
        mut pair: impl FnMut(Ticket, Ticket),
    ) -> Option<TicketHandle> {
        if let Some((handle, number)) = replaces {
            self.leave(ticket.holder, handle, number);
        }
        let newcomer = Place::of(&ticket);
        loop {
            match self.find(ticket.queue) {
                None => {
                    let place = self.places.insert(newcomer);
                    self.table.insert(tag(ticket.queue), Waits::Alone(place).to_word());
                    return Some(TicketHandle(place));
                }
                Some((spot, Waits::Alone(other))) => {
                    if self.places[other].may_meet(&newcomer) > now {
                        return Some(self.gather(spot, other, newcomer, now));
                    }
                    self.table.remove(spot);
                    pair(self.places.remove(other).ticket(), ticket);
                    return None;
                }
                Some((_, Waits::Crowd(crowd))) if self.crowds.get(crowd).due() <= now => {
                    self.settle(crowd, now, &mut pair);
                }
                Some((spot, Waits::Crowd(crowd))) => {
                    return self.join(spot, crowd, newcomer, now, pair);
                }
            }
        }
    }

    /// Takes out the ticket with this number, if it lies there and is this holder's. Says
    /// whether it did: a ticket that is not there any more has been matched or taken out before.
    pub fn leave(
        &mut self,
        holder: SessionAddress,
        handle: TicketHandle,
        number: TicketNo,
    ) -> bool {
        let Some(place) = self.places.get(handle.0) else { return false };
        if !place.is(holder, number) {
            return false;
        }
        let (spot, waits) =
            self.find(place.queue()).expect("because every ticket waits in a queue of the table");
        match waits {
            Waits::Alone(_) => self.table.remove(spot),
            Waits::Crowd(crowd) => {
                self.crowds.members_mut(crowd).retain(|&member| member != handle.0);
                self.adjust(spot, crowd);
            }
        }
        self.places.remove(handle.0);
        true
    }

    /// When [`MatchQueue::expire`] has to be called next: at most 1.1 ms after two tickets of the
    /// same queue may meet, and once in a while before, where a rematch delay is longer than
    /// a second. After a call with `now`, it lies after `now`.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.crowds.next_look()
    }

    /// Pairs those who had to wait for each other and need not any longer, the one ahead first.
    pub fn expire(&mut self, now: Timestamp, mut pair: impl FnMut(Ticket, Ticket)) {
        while let Some(crowd) = self.crowds.next_due(now) {
            self.settle(crowd, now, &mut pair);
        }
    }

    fn find(&self, queue: QueueKey) -> Option<(Spot, Waits)> {
        let is_it = |word| match Waits::from_word(word) {
            Waits::Alone(place) => self.places[place].queue() == queue,
            Waits::Crowd(crowd) => self.crowds.get(crowd).queue == queue,
        };
        let (spot, word) = self.table.find(tag(queue), is_it)?;
        Some((spot, Waits::from_word(word)))
    }

    /// Makes a crowd of a ticket that waits and one that may not meet it yet.
    fn gather(&mut self, spot: Spot, other: u32, newcomer: Place, now: Timestamp) -> TicketHandle {
        let place = self.places.insert(newcomer);
        let mut members = Vec::with_capacity(4);
        members.push(other);
        let crowd = self.crowds.insert(newcomer.queue(), members, now);
        self.table.set(spot, Waits::Crowd(crowd).to_word());
        self.line_up(crowd, place);
        self.adjust(spot, crowd);
        TicketHandle(place)
    }

    /// Enters a ticket where several wait of whom no two may meet at present.
    fn join(
        &mut self,
        spot: Spot,
        crowd: u32,
        newcomer: Place,
        now: Timestamp,
        mut pair: impl FnMut(Ticket, Ticket),
    ) -> Option<TicketHandle> {
        let members = self.crowds.members_mut(crowd);
        let first = members.iter().position(|&one| self.places[one].may_meet(&newcomer) <= now);
        let handle = match first {
            Some(first) => {
                let other = members.remove(first);
                pair(self.places.remove(other).ticket(), newcomer.ticket());
                None
            }
            None => {
                let place = self.places.insert(newcomer);
                self.line_up(crowd, place);
                Some(TicketHandle(place))
            }
        };
        self.adjust(spot, crowd);
        handle
    }

    /// Puts a ticket in its place among the others: behind all that have waited as long.
    fn line_up(&mut self, crowd: u32, place: u32) {
        let since = self.places[place].since();
        let members = self.crowds.members_mut(crowd);
        let at = members.partition_point(|&member| self.places[member].since() <= since);
        members.insert(at, place);
    }

    /// Pairs all in a crowd who may meet by now, those ahead first.
    fn settle(&mut self, crowd: u32, now: Timestamp, pair: &mut impl FnMut(Ticket, Ticket)) {
        let (spot, _) = self
            .find(self.crowds.get(crowd).queue)
            .expect("because every crowd waits in a queue of the table");
        let members = self.crowds.members_mut(crowd);
        let mut ahead = 0;
        while ahead < members.len() {
            let one = &self.places[members[ahead]];
            let mut others = members[ahead + 1..].iter();
            match others.position(|&other| one.may_meet(&self.places[other]) <= now) {
                Some(distance) => {
                    let other = members.remove(ahead + 1 + distance);
                    let one = members.remove(ahead);
                    let one = self.places.remove(one).ticket();
                    pair(one, self.places.remove(other).ticket());
                }
                None => ahead += 1,
            }
        }
        self.adjust(spot, crowd);
    }

    /// After a change among its members: files the crowd under the moment when the first two of
    /// them may meet, or, if it is none any longer, removes it.
    fn adjust(&mut self, spot: Spot, crowd: u32) {
        match self.crowds.get(crowd).members[..] {
            [] => {
                self.crowds.remove(crowd);
                self.table.remove(spot);
            }
            [last] => {
                self.crowds.remove(crowd);
                self.table.set(spot, Waits::Alone(last).to_word());
            }
            ref members => {
                let mut due = NEVER;
                for (at, &one) in members.iter().enumerate() {
                    for &other in &members[at + 1..] {
                        due = due.min(self.places[one].may_meet(&self.places[other]));
                    }
                }
                self.crowds.file(crowd, due);
            }
        }
    }

    /// Bytes that are kept from the allocator.
    #[cfg(test)]
    fn retained_bytes(&self) -> usize {
        self.places.retained_bytes() + self.table.retained_bytes() + self.crowds.retained_bytes()
    }
}
