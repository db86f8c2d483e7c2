//! One user: idle → queued → in a room. Pure; owned by the shard that owns the connection, and
//! kept apart from it, so that a session can outlive a connection.
//!
//! Two things are told apart here that seem to be one: what the user wants (a ticket, or
//! nothing), and what the matcher has of it ([`MatcherView`]). The user's match_request changes at once;
//! the matcher is told with one letter at a time, and [`Session::next_letter`] is the only
//! place that decides which.

use crate::commands::{MatcherCommand, Outcome, RecentPartner, Ticket, TicketHandle};
use crate::ids::{QueueKey, RoomNo, SessionAddress, SessionNo, Slot, TicketNo};
use crate::timestamp::Timestamp;

/// A place in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
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
    recent_partner: Option<Box<RecentPartner>>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// It waits, or the matcher has yet to learn that it does not any more.
    QueueRequest(Box<QueueRequest>),
    InRoom(Membership),
}

#[derive(Debug)]
struct QueueRequest {
    match_request: Option<MatchRequest>,
    matcher_view: MatcherView,
}

/// An open `find_match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchRequest {
    /// Names it among all tickets of the shard that its session is on.
    pub ticket: TicketNo,
    /// Where the user waits.
    pub queue: QueueKey,
    /// Since when.
    pub since: Timestamp,
}

/// What the matcher has of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MatcherView {
    /// Nothing.
    Clear,
    /// A letter is under way; nobody knows until the reply.
    UnderWay,
    /// A ticket, or a pairing made of it that has not come here yet.
    Keeps(TicketHandle, TicketNo),
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
        Session { number, recent_partner: None, stage: Stage::Idle }
    }

    /// Its number.
    pub fn number(&self) -> SessionNo {
        self.number
    }

    /// Its place in a room, if it is in one.
    #[inline]
    pub fn membership(&self) -> Option<Membership> {
        match &self.stage {
            Stage::InRoom(membership) => Some(*membership),
            Stage::Idle | Stage::QueueRequest(_) => None,
        }
    }

    /// Its open `find_match`, if it waits.
    pub fn match_request(&self) -> Option<&MatchRequest> {
        match &self.stage {
            Stage::QueueRequest(queue_request) => queue_request.match_request.as_ref(),
            Stage::Idle | Stage::InRoom(_) => None,
        }
    }

    /// Whether the matcher owes it an answer.
    pub fn awaits_reply(&self) -> bool {
        matches!(&self.stage, Stage::QueueRequest(queue_request) if queue_request.matcher_view == MatcherView::UnderWay)
    }

    /// Whether this ticket is what it waits with.
    pub fn is_live(&self, ticket: TicketNo) -> bool {
        self.match_request().is_some_and(|match_request| match_request.ticket == ticket)
    }

    /// The user wants a partner. Not for a session in a room, which leaves that first.
    pub fn find(&mut self, match_request: MatchRequest) -> Found {
        debug_assert!(self.membership().is_none(), "leave the room first");
        if let Stage::QueueRequest(queue_request) = &mut self.stage {
            let before = queue_request.match_request.map(|before| before.queue);
            if before == Some(match_request.queue) {
                return Found::SamePlace;
            }
            queue_request.match_request = Some(match_request);
            return Found::NewPlace(before);
        }
        let queue_request =
            QueueRequest { match_request: Some(match_request), matcher_view: MatcherView::Clear };
        self.stage = Stage::QueueRequest(Box::new(queue_request));
        Found::NewPlace(None)
    }

    /// It has come to another shard, where the number of its ticket may name a later one too.
    /// The matcher has nothing of it: the ticket was taken out to be paired.
    pub fn renumber(&mut self, ticket: TicketNo) {
        let Stage::QueueRequest(queue_request) = &mut self.stage else { return };
        if let Some(match_request) = &mut queue_request.match_request {
            match_request.ticket = ticket;
            queue_request.matcher_view = MatcherView::Paired(ticket);
        }
    }

    /// The user does not want a partner any more. Returns what it waited with, if it did.
    pub fn cancel(&mut self) -> Option<MatchRequest> {
        match &mut self.stage {
            Stage::QueueRequest(queue_request) => queue_request.match_request.take(),
            Stage::Idle | Stage::InRoom(_) => None,
        }
    }

    /// Takes a place in a room. Returns the match_request that this fulfils.
    pub fn enter(&mut self, membership: Membership) -> Option<MatchRequest> {
        let match_request = self.cancel();
        debug_assert!(
            !matches!(&self.stage, Stage::QueueRequest(queue_request) if queue_request.matcher_view == MatcherView::UnderWay),
            "a ticket that was paired has been replied to"
        );
        self.stage = Stage::InRoom(membership);
        self.recent_partner = None;
        match_request
    }

    /// Gives up its place in a room.
    pub fn leave(&mut self, recent_partner: Option<RecentPartner>) -> Option<Membership> {
        let membership = self.membership()?;
        self.stage = Stage::Idle;
        self.recent_partner = recent_partner.map(Box::new);
        Some(membership)
    }

    /// Whether it remembers whom it last shared a room with.
    pub fn remembers(&self) -> bool {
        self.recent_partner.is_some()
    }

    /// Others come first for a while, though they shared no room; unless it remembers somebody
    /// already, for it can remember only one.
    pub fn avoid(&mut self, recent_partner: RecentPartner) {
        if self.recent_partner.is_none() {
            self.recent_partner = Some(Box::new(recent_partner));
        }
    }

    /// Forgets a former partner when nothing depends on it any more.
    pub fn forget_recent_partner(&mut self, now: Timestamp) {
        if self.recent_partner.as_ref().is_some_and(|recent_partner| recent_partner.until <= now) {
            self.recent_partner = None;
        }
    }

    /// The matcher has answered the letter under way.
    pub fn replied(&mut self, outcome: Outcome) {
        let Stage::QueueRequest(queue_request) = &mut self.stage else { return };
        queue_request.matcher_view = match outcome {
            Outcome::Kept(handle, ticket) => MatcherView::Keeps(handle, ticket),
            // What it was paired with has come to nothing if it does not want it any more.
            Outcome::Paired(ticket)
                if queue_request
                    .match_request
                    .is_some_and(|match_request| match_request.ticket == ticket) =>
            {
                MatcherView::Paired(ticket)
            }
            Outcome::Paired(_) | Outcome::Left => MatcherView::Clear,
        };
    }

    /// Nothing came of the pairing of this ticket, which is still live: it has to be handed
    /// in again.
    pub fn pairing_failed(&mut self) {
        let Stage::QueueRequest(queue_request) = &mut self.stage else { return };
        debug_assert_ne!(
            queue_request.matcher_view,
            MatcherView::UnderWay,
            "a paired ticket has been replied to"
        );
        queue_request.matcher_view = MatcherView::Clear;
    }

    /// The letter that is due to the matcher, if any; it counts as under way from here on.
    pub fn next_letter(&mut self, holder: SessionAddress) -> Option<MatcherCommand> {
        let Stage::QueueRequest(queue_request) = &mut self.stage else { return None };
        let replaces = match (queue_request.match_request, queue_request.matcher_view) {
            // guard: a session has one matcher command in flight [value None]
            (_, MatcherView::UnderWay) => return None,
            (Some(match_request), MatcherView::Keeps(_, ticket) | MatcherView::Paired(ticket))
                if match_request.ticket == ticket =>
            {
                return None;
            }
            (None, MatcherView::Clear | MatcherView::Paired(_)) => {
                self.stage = Stage::Idle;
                return None;
            }
            (None, MatcherView::Keeps(handle, number)) => {
                queue_request.matcher_view = MatcherView::UnderWay;
                return Some(MatcherCommand::Leave { holder, handle, number });
            }
            (Some(_), MatcherView::Keeps(handle, number)) => Some((handle, number)),
            (Some(_), MatcherView::Clear | MatcherView::Paired(_)) => None,
        };
        let match_request = queue_request.match_request?;
        queue_request.matcher_view = MatcherView::UnderWay;
        let recent_partner = self.recent_partner.as_deref().copied();
        let ticket = Ticket {
            holder,
            number: match_request.ticket,
            session: self.number,
            queue: match_request.queue,
            since: match_request.since,
            recent_partner,
        };
        Some(MatcherCommand::Enter { ticket, replaces })
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

    fn match_request(ticket: u32, queue: u128) -> MatchRequest {
        MatchRequest { ticket: TicketNo(ticket), queue: QueueKey(queue), since: Timestamp::ZERO }
    }

    fn entered(letter: Option<MatcherCommand>) -> (TicketNo, Option<(TicketHandle, TicketNo)>) {
        match letter {
            Some(MatcherCommand::Enter { ticket, replaces }) => (ticket.number, replaces),
            other => panic!("not an Enter: {other:?}"),
        }
    }

    #[test]
    fn one_letter_at_a_time_and_the_last_wish_wins() {
        let mut session = Session::new(SessionNo(1));
        assert_eq!(session.find(match_request(1, 10)), Found::NewPlace(None));
        assert_eq!(entered(session.next_letter(HOLDER)), (TicketNo(1), None));
        assert_eq!(session.find(match_request(2, 10)), Found::SamePlace);
        assert!(session.cancel().is_some());
        assert!(session.cancel().is_none());
        assert_eq!(session.find(match_request(3, 20)), Found::NewPlace(None));
        assert_eq!(session.find(match_request(4, 30)), Found::NewPlace(Some(QueueKey(20))));
        assert_eq!(session.next_letter(HOLDER), None, "the first is still under way");
        session.replied(Outcome::Kept(TicketHandle(5), TicketNo(1)));
        let replaces = Some((TicketHandle(5), TicketNo(1)));
        assert_eq!(entered(session.next_letter(HOLDER)), (TicketNo(4), replaces));
        assert!(session.cancel().is_some());
        session.replied(Outcome::Kept(TicketHandle(6), TicketNo(4)));
        assert_eq!(
            session.next_letter(HOLDER),
            Some(MatcherCommand::Leave {
                holder: HOLDER,
                handle: TicketHandle(6),
                number: TicketNo(4)
            })
        );
        session.replied(Outcome::Left);
        assert_eq!(session.next_letter(HOLDER), None);
        assert!(matches!(session.stage, Stage::Idle));
    }

    #[test]
    fn a_ticket_in_a_pairing_is_not_handed_in_twice() {
        let mut session = Session::new(SessionNo(1));
        session.find(match_request(1, 10));
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
        session.find(match_request(1, 10));
        assert!(session.next_letter(HOLDER).is_some());
        session.cancel();
        session.replied(Outcome::Paired(TicketNo(1)));
        assert_eq!(session.next_letter(HOLDER), None);
        assert!(matches!(session.stage, Stage::Idle));
    }

    #[test]
    fn the_former_partner_goes_with_the_next_ticket_and_is_forgotten_in_time() {
        let membership = Membership { room: RoomNo(1), peer: Slot(2), initiator: true };
        let recent_partner =
            RecentPartner { from: SessionNo(9), until: Timestamp::from_nanos(100) };
        let mut session = Session::new(SessionNo(1));
        session.find(match_request(1, 10));
        assert_eq!(session.enter(membership), Some(match_request(1, 10)));
        assert_eq!(session.leave(Some(recent_partner)), Some(membership));
        session.forget_recent_partner(Timestamp::from_nanos(99));
        session.find(match_request(2, 10));
        match session.next_letter(HOLDER) {
            Some(MatcherCommand::Enter { ticket, .. }) => {
                assert_eq!(ticket.recent_partner, Some(recent_partner))
            }
            other => panic!("not an Enter: {other:?}"),
        }
        session.forget_recent_partner(Timestamp::from_nanos(100));
        assert_eq!(session.recent_partner, None);
    }

    #[test]
    fn a_ticket_that_comes_from_another_shard_is_no_ticket_of_this_one() {
        let mut session = Session::new(SessionNo(1));
        session.find(match_request(7, 10));
        assert!(session.next_letter(HOLDER).is_some());
        session.replied(Outcome::Paired(TicketNo(7)));
        session.renumber(TicketNo(1));
        assert!(session.is_live(TicketNo(1)));
        session.pairing_failed();
        assert_eq!(entered(session.next_letter(HOLDER)), (TicketNo(1), None));
        // What the shard itself numbers 7 is another match_request, and the matcher hears of it.
        assert_eq!(session.find(match_request(7, 20)), Found::NewPlace(Some(QueueKey(10))));
        session.replied(Outcome::Kept(TicketHandle(5), TicketNo(1)));
        let replaces = Some((TicketHandle(5), TicketNo(1)));
        assert_eq!(entered(session.next_letter(HOLDER)), (TicketNo(7), replaces));
    }

    #[test]
    fn a_session_is_small() {
        assert!(size_of::<Session>() <= 40, "{} bytes", size_of::<Session>());
    }
}
