//! One user: idle, waiting for a partner, or in a room. Pure; owned by the shard that owns the
//! user's connection. A session knows nothing of sockets, frames and unsent bytes: those belong to
//! the connection that the session is attached to, which the shard's table keeps apart from it.
//!
//! Two states are kept apart here: what the user wants (`QueueIntent`), and what the matcher has
//! of the session (`MatcherView`). The first changes at once. The matcher follows with one command
//! at a time, and [`Session::next_command`] alone decides which. While the client of a waiting
//! session is silent, its match request is withheld: the matcher has no ticket of it.

use crate::commands::{MatcherCommand, MatcherOutcome, RecentPartners, Ticket, TicketHandle};
use crate::ids::{QueueKey, RoomNo, SessionAddress, SessionNo, Slot, TicketNo};
use crate::timestamp::Timestamp;
use std::time::Duration;

/// A session's part in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The room.
    pub room: RoomNo,
    /// The slot of the other member. Both members are on the same shard, and the peer's slot is
    /// occupied for as long as the room exists, so no serial is needed.
    pub peer: Slot,
    /// Whether this member sends the offer.
    pub initiator: bool,
}

/// A user's session.
#[derive(Debug)]
pub struct Session {
    number: SessionNo,
    /// The partners of its last rooms.
    recent_partners: RecentPartners,
    state: SessionState,
}

#[derive(Debug)]
enum SessionState {
    Idle,
    /// The user waits for a partner, or the matcher does not know yet that it no longer does.
    Matching(Box<QueueRequest>),
    /// The fields of a [`Membership`], and one more in its padding.
    InRoom {
        room: RoomNo,
        peer: Slot,
        initiator: bool,
        /// Whether it has sent its partner a message.
        has_relayed: bool,
    },
}

/// What the user wants from the matcher, and what the matcher has.
#[derive(Debug)]
struct QueueRequest {
    intent: QueueIntent,
    matcher_view: MatcherView,
    /// A session that it does not meet before this time, although they shared no room.
    avoided: Option<(SessionNo, Timestamp)>,
}

/// What the user wants from the matcher.
#[derive(Clone, Copy, Debug)]
enum QueueIntent {
    /// No partner.
    Nothing,
    /// A partner.
    Match(MatchRequest),
    /// A partner, as soon as its client, which is silent, sends something.
    Withheld(MatchRequest),
}

impl QueueIntent {
    /// The open `find_match`, whether or not it is withheld.
    fn match_request(&self) -> Option<&MatchRequest> {
        match self {
            QueueIntent::Nothing => None,
            QueueIntent::Match(match_request) | QueueIntent::Withheld(match_request) => {
                Some(match_request)
            }
        }
    }

    /// The open `find_match` for which the matcher is to have a ticket.
    fn queued_request(&self) -> Option<&MatchRequest> {
        match self {
            QueueIntent::Match(match_request) => Some(match_request),
            QueueIntent::Nothing | QueueIntent::Withheld(_) => None,
        }
    }
}

/// An open `find_match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchRequest {
    /// The number of the ticket, unique among the tickets of the shard that owns the session.
    pub ticket: TicketNo,
    /// The queue in which the user waits.
    pub queue: QueueKey,
    /// When the wait began.
    pub since: Timestamp,
}

/// What the matcher has of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MatcherView {
    /// No ticket.
    Nothing,
    /// A command is in flight, so it is unknown until the reply.
    Unknown,
    /// A queued ticket, or a pairing made from it that has not reached this shard yet.
    Queued(TicketHandle, TicketNo),
    /// A pairing made from this ticket, without an outcome on this shard yet.
    Paired(TicketNo),
}

/// The effect of a `find_match` on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueChange {
    /// The session already waits in that queue and keeps its position.
    Unchanged,
    /// The session waits in the new queue from now on.
    Entered {
        /// The queue that it waited in before, if it did.
        left: Option<QueueKey>,
    },
}

impl Session {
    /// An idle session.
    pub fn new(number: SessionNo) -> Self {
        Session { number, recent_partners: RecentPartners::default(), state: SessionState::Idle }
    }

    /// The session's number.
    pub fn number(&self) -> SessionNo {
        self.number
    }

    /// The session's part in a room, if it is in one.
    #[inline]
    pub fn membership(&self) -> Option<Membership> {
        match &self.state {
            SessionState::InRoom { room, peer, initiator, .. } => {
                Some(Membership { room: *room, peer: *peer, initiator: *initiator })
            }
            SessionState::Idle | SessionState::Matching(_) => None,
        }
    }

    /// The open `find_match`, if the session waits for a partner.
    pub fn match_request(&self) -> Option<&MatchRequest> {
        match &self.state {
            SessionState::Matching(request) => request.intent.match_request(),
            SessionState::Idle | SessionState::InRoom { .. } => None,
        }
    }

    /// Whether a command of this session to the matcher has not been answered yet.
    pub fn awaits_reply(&self) -> bool {
        match &self.state {
            SessionState::Matching(request) => request.matcher_view == MatcherView::Unknown,
            SessionState::Idle | SessionState::InRoom { .. } => false,
        }
    }

    /// Whether the session still waits with this ticket and may be matched.
    pub fn is_live(&self, ticket: TicketNo) -> bool {
        match &self.state {
            SessionState::Matching(request) => {
                request.intent.queued_request().is_some_and(|wanted| wanted.ticket == ticket)
            }
            SessionState::Idle | SessionState::InRoom { .. } => false,
        }
    }

    /// Whether its match request is withheld because its client is silent.
    #[inline]
    pub fn is_withheld(&self) -> bool {
        match &self.state {
            SessionState::Matching(request) => matches!(request.intent, QueueIntent::Withheld(_)),
            SessionState::Idle | SessionState::InRoom { .. } => false,
        }
    }

    /// Whether its client has to show that it is alive within the liveness window: it waits, or is
    /// in a room in which it has relayed nothing.
    pub fn is_watched(&self) -> bool {
        self.match_request().is_some() || self.is_new_member()
    }

    /// Whether it is in a room in which it has relayed nothing.
    #[inline]
    pub fn is_new_member(&self) -> bool {
        match &self.state {
            SessionState::InRoom { has_relayed, .. } => !has_relayed,
            SessionState::Idle | SessionState::Matching(_) => false,
        }
    }

    /// It has relayed a message in its room.
    #[inline]
    pub fn note_relayed(&mut self) {
        if let SessionState::InRoom { has_relayed, .. } = &mut self.state {
            *has_relayed = true;
        }
    }

    /// The user asks for a partner. A session in a room has to leave it first.
    pub fn request_match(&mut self, match_request: MatchRequest) -> QueueChange {
        debug_assert!(self.membership().is_none(), "the session is still in a room");
        if let SessionState::Matching(request) = &mut self.state {
            let left = request.intent.match_request().map(|before| before.queue);
            if left == Some(match_request.queue) {
                return QueueChange::Unchanged;
            }
            request.intent = QueueIntent::Match(match_request);
            return QueueChange::Entered { left };
        }
        let request = QueueRequest {
            intent: QueueIntent::Match(match_request),
            matcher_view: MatcherView::Nothing,
            avoided: None,
        };
        self.state = SessionState::Matching(Box::new(request));
        QueueChange::Entered { left: None }
    }

    /// The client has become silent: the matcher is to have no ticket of the session until
    /// [`Session::release`]. Returns whether that is new.
    pub fn withhold(&mut self) -> bool {
        let SessionState::Matching(request) = &mut self.state else { return false };
        let QueueIntent::Match(match_request) = request.intent else { return false };
        request.intent = QueueIntent::Withheld(match_request);
        true
    }

    /// The client has sent something: a request that was withheld is queued again, with its first
    /// timestamp. It gets a new number, because a pairing of its earlier ticket may be under way.
    pub fn release(&mut self, ticket: TicketNo) {
        let SessionState::Matching(request) = &mut self.state else { return };
        if let QueueIntent::Withheld(match_request) = request.intent {
            request.intent = QueueIntent::Match(MatchRequest { ticket, ..match_request });
        }
    }

    /// Gives the ticket of a session that has migrated here a number of this shard: its old
    /// number may be that of another ticket here. The matcher has no ticket of the session,
    /// because it took the ticket out for the pairing.
    pub fn renumber_ticket(&mut self, ticket: TicketNo) {
        let SessionState::Matching(request) = &mut self.state else { return };
        if let QueueIntent::Match(match_request) = &mut request.intent {
            match_request.ticket = ticket;
            request.matcher_view = MatcherView::Paired(ticket);
        }
    }

    /// The user no longer wants a partner. Returns the open `find_match`, if there was one.
    pub fn cancel_match(&mut self) -> Option<MatchRequest> {
        match &mut self.state {
            SessionState::Matching(request) => {
                let before = std::mem::replace(&mut request.intent, QueueIntent::Nothing);
                before.match_request().copied()
            }
            SessionState::Idle | SessionState::InRoom { .. } => None,
        }
    }

    /// Becomes a member of a room. Returns the `find_match` that this fulfils.
    pub fn enter_room(&mut self, membership: Membership) -> Option<MatchRequest> {
        let match_request = self.cancel_match();
        debug_assert!(!self.awaits_reply(), "a pairing was completed before the matcher's reply");
        let Membership { room, peer, initiator } = membership;
        self.state = SessionState::InRoom { room, peer, initiator, has_relayed: false };
        match_request
    }

    /// Stops being a member of a room, and remembers the partner. Returns what it was a member of.
    pub fn leave_room(&mut self, partner: Option<SessionNo>) -> Option<Membership> {
        let membership = self.membership()?;
        self.state = SessionState::Idle;
        if let Some(partner) = partner {
            // guard: the partners of the last rooms are remembered [skip]
            self.recent_partners.remember(partner);
        }
        Some(membership)
    }

    /// The partners that the session does not meet again at once.
    pub fn recent_partners(&self) -> &RecentPartners {
        &self.recent_partners
    }

    /// While it waits, avoids a session until this time, although they shared no room. Until then,
    /// that session takes the place of the recent partner that was met longest ago.
    pub fn avoid(&mut self, session: SessionNo, until: Timestamp) {
        if let SessionState::Matching(request) = &mut self.state {
            request.avoided = Some((session, until));
        }
    }

    /// The matcher has answered the command in flight.
    pub fn handle_reply(&mut self, outcome: MatcherOutcome) {
        let SessionState::Matching(request) = &mut self.state else { return };
        request.matcher_view = match outcome {
            MatcherOutcome::Queued(handle, ticket) => MatcherView::Queued(handle, ticket),
            // If the ticket is no longer live, its shard cancels the pairing, and the matcher
            // has nothing of this session.
            MatcherOutcome::Paired(ticket)
                if request
                    .intent
                    .queued_request()
                    .is_some_and(|wanted| wanted.ticket == ticket) =>
            {
                MatcherView::Paired(ticket)
            }
            MatcherOutcome::Paired(_) | MatcherOutcome::Removed => MatcherView::Nothing,
        };
    }

    /// The pairing of the session's live ticket was cancelled: the ticket has to be queued again.
    pub fn pairing_cancelled(&mut self) {
        let SessionState::Matching(request) = &mut self.state else { return };
        debug_assert_ne!(
            request.matcher_view,
            MatcherView::Unknown,
            "a pairing was cancelled before the matcher's reply"
        );
        request.matcher_view = MatcherView::Nothing;
    }

    /// The command that brings the matcher up to date, if one is due. It counts as in flight from
    /// here on. A session stays apart from its recent partners for `rematch_delay` after its
    /// `find_match`.
    pub fn next_command(
        &mut self,
        holder: SessionAddress,
        rematch_delay: Duration,
        now: Timestamp,
    ) -> Option<MatcherCommand> {
        let SessionState::Matching(request) = &mut self.state else { return None };
        let wanted = request.intent.queued_request().copied();
        let replaces = match (wanted, request.matcher_view) {
            // guard: a session has one matcher command in flight [value None]
            (_, MatcherView::Unknown) => return None,
            (Some(wanted), MatcherView::Queued(_, ticket) | MatcherView::Paired(ticket))
                if wanted.ticket == ticket =>
            {
                return None;
            }
            // The shard cancels the pairing of a ticket that is not live.
            (None, MatcherView::Nothing | MatcherView::Paired(_)) => {
                match request.intent {
                    QueueIntent::Withheld(_) => request.matcher_view = MatcherView::Nothing,
                    QueueIntent::Nothing | QueueIntent::Match(_) => self.state = SessionState::Idle,
                }
                return None;
            }
            (None, MatcherView::Queued(handle, number)) => {
                request.matcher_view = MatcherView::Unknown;
                return Some(MatcherCommand::Leave { holder, handle, number });
            }
            (Some(_), MatcherView::Queued(handle, number)) => Some((handle, number)),
            (Some(_), MatcherView::Nothing | MatcherView::Paired(_)) => None,
        };
        let match_request = wanted?;
        request.matcher_view = MatcherView::Unknown;
        let (mut recent_partners, mut apart) = (self.recent_partners, rematch_delay);
        if let Some((avoided, until)) = request.avoided.filter(|(_, until)| *until > now) {
            recent_partners.remember(avoided);
            apart = apart.max(until.since(match_request.since));
        }
        let ticket = Ticket {
            holder,
            number: match_request.ticket,
            session: self.number,
            queue: match_request.queue,
            since: match_request.since,
            recent_partners,
            // Rounded up, so that the time is never too short.
            apart_ms: u32::try_from(apart.as_micros().div_ceil(1000)).unwrap_or(u32::MAX),
        };
        Some(MatcherCommand::Enter { ticket, replaces })
    }
}

#[cfg(test)]
mod tests;
