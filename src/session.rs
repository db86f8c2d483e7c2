//! One user: idle → queued → in a room. Pure; owned by the shard that owns the connection, and
//! kept apart from it, so that a session can outlive a connection.
//!
//! Two things are told apart here that seem to be one: what the user wants (a ticket, or
//! nothing), and what the matcher has of it ([`Standing`]). The user's wish changes at once;
//! the matcher is told with one letter at a time, and [`Session::next_letter`] is the only
//! place that decides which.

use crate::ids::{QueueKey, RoomNo, SessionAddress, SessionNo, Slot, TicketNo};
use crate::mail::{Desk, Outcome, Parted, Ticket, ToMatcher};
use crate::moment::Moment;

/// A place in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The room.
    pub room: RoomNo,
    /// The other member's connection. It is on the same shard, and as long as the room lives
    /// it is there, so no serial is needed.
    pub peer: Slot,
    /// Whether this member sends the offer.
    pub initiator: bool,
}

/// A connected user.
#[derive(Debug)]
pub struct Session {
    number: SessionNo,
    /// Whom it last shared a room with, for the time in which that matters.
    parted: Option<Box<Parted>>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// It waits, or the matcher has yet to learn that it does not any more.
    Errand(Box<Errand>),
    InRoom(Seat),
}

#[derive(Debug)]
struct Errand {
    wish: Option<Wish>,
    standing: Standing,
}

/// An open `find_match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Names it among all tickets of the shard that its session is on.
    pub ticket: TicketNo,
    /// Where the user waits.
    pub queue: QueueKey,
    /// Since when.
    pub since: Moment,
}

/// What the matcher has of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing.
    Clear,
    /// A letter is under way; nobody knows until the reply.
    UnderWay,
    /// A ticket, or a pairing made of it that has not come here yet.
    Keeps(Desk, TicketNo),
    /// A pairing made of this ticket, whose outcome has not come here yet.
    Paired(TicketNo),
}

/// What a `find_match` came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The session waits in that queue already, and keeps its place.
    SamePlace,
    /// It has a new place; before, it waited in this queue or not at all.
    NewPlace(Option<QueueKey>),
}

impl Session {
    /// A session that wants nothing yet.
    pub fn new(number: SessionNo) -> Self {
        Session { number, parted: None, stage: Stage::Idle }
    }

    /// Its number.
    pub fn number(&self) -> SessionNo {
        self.number
    }

    /// Its place in a room, if it is in one.
    #[inline]
    pub fn seat(&self) -> Option<Seat> {
        match &self.stage {
            Stage::InRoom(seat) => Some(*seat),
            Stage::Idle | Stage::Errand(_) => None,
        }
    }

    /// Its open `find_match`, if it waits.
    pub fn wish(&self) -> Option<&Wish> {
        match &self.stage {
            Stage::Errand(errand) => errand.wish.as_ref(),
            Stage::Idle | Stage::InRoom(_) => None,
        }
    }

    /// Whether the matcher owes it an answer.
    pub fn awaits_reply(&self) -> bool {
        matches!(&self.stage, Stage::Errand(errand) if errand.standing == Standing::UnderWay)
    }

    /// Whether this ticket is what it waits with.
    pub fn is_live(&self, ticket: TicketNo) -> bool {
        self.wish().is_some_and(|wish| wish.ticket == ticket)
    }

    /// The user wants a partner. Not for a session in a room, which leaves that first.
    pub fn find(&mut self, wish: Wish) -> Found {
        debug_assert!(self.seat().is_none(), "leave the room first");
        if let Stage::Errand(errand) = &mut self.stage {
            let before = errand.wish.map(|before| before.queue);
            if before == Some(wish.queue) {
                return Found::SamePlace;
            }
            errand.wish = Some(wish);
            return Found::NewPlace(before);
        }
        let errand = Errand { wish: Some(wish), standing: Standing::Clear };
        self.stage = Stage::Errand(Box::new(errand));
        Found::NewPlace(None)
    }

    /// It has come to another shard, where the number of its ticket may name a later one too.
    /// The matcher has nothing of it: the ticket was taken out to be paired.
    pub fn renumber(&mut self, ticket: TicketNo) {
        let Stage::Errand(errand) = &mut self.stage else { return };
        if let Some(wish) = &mut errand.wish {
            wish.ticket = ticket;
            errand.standing = Standing::Paired(ticket);
        }
    }

    /// The user does not want a partner any more. Returns what it waited with, if it did.
    pub fn cancel(&mut self) -> Option<Wish> {
        match &mut self.stage {
            Stage::Errand(errand) => errand.wish.take(),
            Stage::Idle | Stage::InRoom(_) => None,
        }
    }

    /// Takes a place in a room. Returns the wish that this fulfils.
    pub fn enter(&mut self, seat: Seat) -> Option<Wish> {
        let wish = self.cancel();
        debug_assert!(
            !matches!(&self.stage, Stage::Errand(errand) if errand.standing == Standing::UnderWay),
            "a ticket that was paired has been replied to"
        );
        self.stage = Stage::InRoom(seat);
        self.parted = None;
        wish
    }

    /// Gives up its place in a room.
    pub fn leave(&mut self, parted: Option<Parted>) -> Option<Seat> {
        let seat = self.seat()?;
        self.stage = Stage::Idle;
        self.parted = parted.map(Box::new);
        Some(seat)
    }

    /// Whether it remembers whom it last shared a room with.
    pub fn remembers(&self) -> bool {
        self.parted.is_some()
    }

    /// Others come first for a while, though they shared no room; unless it remembers somebody
    /// already, for it can remember only one.
    pub fn avoid(&mut self, parted: Parted) {
        if self.parted.is_none() {
            self.parted = Some(Box::new(parted));
        }
    }

    /// Forgets a former partner when nothing depends on it any more.
    pub fn forget_parted(&mut self, now: Moment) {
        if self.parted.as_ref().is_some_and(|parted| parted.until <= now) {
            self.parted = None;
        }
    }

    /// The matcher has answered the letter under way.
    pub fn replied(&mut self, outcome: Outcome) {
        let Stage::Errand(errand) = &mut self.stage else { return };
        errand.standing = match outcome {
            Outcome::Kept(desk, ticket) => Standing::Keeps(desk, ticket),
            // What it was paired with has come to nothing if it does not want it any more.
            Outcome::Paired(ticket) if errand.wish.is_some_and(|wish| wish.ticket == ticket) => {
                Standing::Paired(ticket)
            }
            Outcome::Paired(_) | Outcome::Left => Standing::Clear,
        };
    }

    /// Nothing came of the pairing of this ticket, which is still live: it has to be handed
    /// in again.
    pub fn pairing_failed(&mut self) {
        let Stage::Errand(errand) = &mut self.stage else { return };
        debug_assert_ne!(
            errand.standing,
            Standing::UnderWay,
            "a paired ticket has been replied to"
        );
        errand.standing = Standing::Clear;
    }

    /// The letter that is due to the matcher, if any; it counts as under way from here on.
    pub fn next_letter(&mut self, holder: SessionAddress) -> Option<ToMatcher> {
        let Stage::Errand(errand) = &mut self.stage else { return None };
        let replaces = match (errand.wish, errand.standing) {
            (_, Standing::UnderWay) => return None,
            (Some(wish), Standing::Keeps(_, ticket) | Standing::Paired(ticket))
                if wish.ticket == ticket =>
            {
                return None;
            }
            (None, Standing::Clear | Standing::Paired(_)) => {
                self.stage = Stage::Idle;
                return None;
            }
            (None, Standing::Keeps(desk, number)) => {
                errand.standing = Standing::UnderWay;
                return Some(ToMatcher::Leave { holder, desk, number });
            }
            (Some(_), Standing::Keeps(desk, number)) => Some((desk, number)),
            (Some(_), Standing::Clear | Standing::Paired(_)) => None,
        };
        let wish = errand.wish?;
        errand.standing = Standing::UnderWay;
        let parted = self.parted.as_deref().copied();
        let ticket = Ticket {
            holder,
            number: wish.ticket,
            session: self.number,
            queue: wish.queue,
            since: wish.since,
            parted,
        };
        Some(ToMatcher::Enter { ticket, replaces })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConnectionKey, Serial, ShardId};

    const HOLDER: SessionAddress = SessionAddress {
        shard: ShardId(0),
        key: ConnectionKey { slot: Slot(1), serial: Serial(1) },
    };

    fn wish(ticket: u32, queue: u128) -> Wish {
        Wish { ticket: TicketNo(ticket), queue: QueueKey(queue), since: Moment::ZERO }
    }

    fn entered(letter: Option<ToMatcher>) -> (TicketNo, Option<(Desk, TicketNo)>) {
        match letter {
            Some(ToMatcher::Enter { ticket, replaces }) => (ticket.number, replaces),
            other => panic!("not an Enter: {other:?}"),
        }
    }

    #[test]
    fn one_letter_at_a_time_and_the_last_wish_wins() {
        let mut session = Session::new(SessionNo(1));
        assert_eq!(session.find(wish(1, 10)), Found::NewPlace(None));
        assert_eq!(entered(session.next_letter(HOLDER)), (TicketNo(1), None));
        assert_eq!(session.find(wish(2, 10)), Found::SamePlace);
        assert!(session.cancel().is_some());
        assert!(session.cancel().is_none());
        assert_eq!(session.find(wish(3, 20)), Found::NewPlace(None));
        assert_eq!(session.find(wish(4, 30)), Found::NewPlace(Some(QueueKey(20))));
        assert_eq!(session.next_letter(HOLDER), None, "the first is still under way");
        session.replied(Outcome::Kept(Desk(5), TicketNo(1)));
        let replaces = Some((Desk(5), TicketNo(1)));
        assert_eq!(entered(session.next_letter(HOLDER)), (TicketNo(4), replaces));
        assert!(session.cancel().is_some());
        session.replied(Outcome::Kept(Desk(6), TicketNo(4)));
        assert_eq!(
            session.next_letter(HOLDER),
            Some(ToMatcher::Leave { holder: HOLDER, desk: Desk(6), number: TicketNo(4) })
        );
        session.replied(Outcome::Left);
        assert_eq!(session.next_letter(HOLDER), None);
        assert!(matches!(session.stage, Stage::Idle));
    }

    #[test]
    fn a_ticket_in_a_pairing_is_not_handed_in_twice() {
        let mut session = Session::new(SessionNo(1));
        session.find(wish(1, 10));
        assert!(session.next_letter(HOLDER).is_some());
        session.replied(Outcome::Paired(TicketNo(1)));
        assert_eq!(session.next_letter(HOLDER), None);
        assert!(session.is_live(TicketNo(1)));
        session.pairing_failed();
        assert_eq!(entered(session.next_letter(HOLDER)), (TicketNo(1), None));
    }

    #[test]
    fn a_pairing_of_a_cancelled_ticket_leaves_nothing_behind() {
        let mut session = Session::new(SessionNo(1));
        session.find(wish(1, 10));
        assert!(session.next_letter(HOLDER).is_some());
        session.cancel();
        session.replied(Outcome::Paired(TicketNo(1)));
        assert_eq!(session.next_letter(HOLDER), None);
        assert!(matches!(session.stage, Stage::Idle));
    }

    #[test]
    fn the_former_partner_goes_with_the_next_ticket_and_is_forgotten_in_time() {
        let seat = Seat { room: RoomNo(1), peer: Slot(2), initiator: true };
        let parted = Parted { from: SessionNo(9), until: Moment::from_nanos(100) };
        let mut session = Session::new(SessionNo(1));
        session.find(wish(1, 10));
        assert_eq!(session.enter(seat), Some(wish(1, 10)));
        assert_eq!(session.leave(Some(parted)), Some(seat));
        session.forget_parted(Moment::from_nanos(99));
        session.find(wish(2, 10));
        match session.next_letter(HOLDER) {
            Some(ToMatcher::Enter { ticket, .. }) => assert_eq!(ticket.parted, Some(parted)),
            other => panic!("not an Enter: {other:?}"),
        }
        session.forget_parted(Moment::from_nanos(100));
        assert_eq!(session.parted, None);
    }

    #[test]
    fn a_ticket_that_comes_from_another_shard_is_no_ticket_of_this_one() {
        let mut session = Session::new(SessionNo(1));
        session.find(wish(7, 10));
        assert!(session.next_letter(HOLDER).is_some());
        session.replied(Outcome::Paired(TicketNo(7)));
        session.renumber(TicketNo(1));
        assert!(session.is_live(TicketNo(1)));
        session.pairing_failed();
        assert_eq!(entered(session.next_letter(HOLDER)), (TicketNo(1), None));
        // What the shard itself numbers 7 is another wish, and the matcher hears of it.
        assert_eq!(session.find(wish(7, 20)), Found::NewPlace(Some(QueueKey(10))));
        session.replied(Outcome::Kept(Desk(5), TicketNo(1)));
        let replaces = Some((Desk(5), TicketNo(1)));
        assert_eq!(entered(session.next_letter(HOLDER)), (TicketNo(7), replaces));
    }

    #[test]
    fn a_session_is_small() {
        assert!(size_of::<Session>() <= 40, "{} bytes", size_of::<Session>());
    }
}
