use super::*;
use crate::ids::{ConnectionKey, Serial, ShardId};

const DELAY: Duration = Duration::from_millis(800);
const HOLDER: SessionAddress =
    SessionAddress { shard: ShardId(0), key: ConnectionKey { slot: Slot(1), serial: Serial(1) } };

fn match_request(ticket: u32, queue: u128) -> MatchRequest {
    MatchRequest { ticket: TicketNo(ticket), queue: QueueKey(queue), since: Timestamp::ZERO }
}

fn entered_ticket(command: Option<MatcherCommand>) -> (TicketNo, Option<(TicketHandle, TicketNo)>) {
    match command {
        Some(MatcherCommand::Enter { ticket, replaces }) => (ticket.number, replaces),
        other => panic!("not an Enter: {other:?}"),
    }
}

#[test]
fn sends_one_command_at_a_time_and_then_the_latest_request() {
    let mut session = Session::new(SessionNo(1));
    assert_eq!(session.request_match(match_request(1, 10)), QueueChange::Entered { left: None });
    assert_eq!(
        entered_ticket(session.next_command(HOLDER, DELAY, Timestamp::ZERO)),
        (TicketNo(1), None)
    );
    assert_eq!(session.request_match(match_request(2, 10)), QueueChange::Unchanged);
    assert!(session.cancel_match().is_some());
    assert!(session.cancel_match().is_none());
    assert_eq!(session.request_match(match_request(3, 20)), QueueChange::Entered { left: None });
    assert_eq!(
        session.request_match(match_request(4, 30)),
        QueueChange::Entered { left: Some(QueueKey(20)) }
    );
    assert_eq!(
        session.next_command(HOLDER, DELAY, Timestamp::ZERO),
        None,
        "the first command is still in flight"
    );
    session.handle_reply(MatcherOutcome::Queued(TicketHandle(5), TicketNo(1)));
    let replaces = Some((TicketHandle(5), TicketNo(1)));
    assert_eq!(
        entered_ticket(session.next_command(HOLDER, DELAY, Timestamp::ZERO)),
        (TicketNo(4), replaces)
    );
    assert!(session.cancel_match().is_some());
    session.handle_reply(MatcherOutcome::Queued(TicketHandle(6), TicketNo(4)));
    assert_eq!(
        session.next_command(HOLDER, DELAY, Timestamp::ZERO),
        Some(MatcherCommand::Leave {
            holder: HOLDER,
            handle: TicketHandle(6),
            number: TicketNo(4)
        })
    );
    session.handle_reply(MatcherOutcome::Removed);
    assert_eq!(session.next_command(HOLDER, DELAY, Timestamp::ZERO), None);
    assert!(matches!(session.state, SessionState::Idle));
}

#[test]
fn does_not_queue_a_ticket_again_while_it_is_in_a_pairing() {
    let mut session = Session::new(SessionNo(1));
    session.request_match(match_request(1, 10));
    assert!(session.next_command(HOLDER, DELAY, Timestamp::ZERO).is_some());
    session.handle_reply(MatcherOutcome::Paired(TicketNo(1)));
    assert_eq!(session.next_command(HOLDER, DELAY, Timestamp::ZERO), None);
    assert!(session.is_live(TicketNo(1)));
    session.pairing_cancelled();
    assert_eq!(
        entered_ticket(session.next_command(HOLDER, DELAY, Timestamp::ZERO)),
        (TicketNo(1), None)
    );
}

#[test]
fn becomes_idle_when_a_cancelled_ticket_was_paired() {
    let mut session = Session::new(SessionNo(1));
    session.request_match(match_request(1, 10));
    assert!(session.next_command(HOLDER, DELAY, Timestamp::ZERO).is_some());
    session.cancel_match();
    session.handle_reply(MatcherOutcome::Paired(TicketNo(1)));
    assert_eq!(session.next_command(HOLDER, DELAY, Timestamp::ZERO), None);
    assert!(matches!(session.state, SessionState::Idle));
}

/// The ticket of the command, at `now`.
fn next_ticket(session: &mut Session, now: Timestamp) -> Ticket {
    match session.next_command(HOLDER, DELAY, now) {
        Some(MatcherCommand::Enter { ticket, .. }) => ticket,
        other => panic!("not an Enter: {other:?}"),
    }
}

/// A session that has been in rooms with these partners, one after the other.
fn session_after_rooms(partners: std::ops::Range<u64>) -> Session {
    let membership = Membership { room: RoomNo(1), peer: Slot(2), initiator: true };
    let mut session = Session::new(SessionNo(1));
    for partner in partners {
        assert_eq!(session.enter_room(membership), None);
        assert_eq!(session.leave_room(Some(SessionNo(partner))), Some(membership));
    }
    session
}

fn named_partners(ticket: &Ticket) -> Vec<u64> {
    (0..20).filter(|session| ticket.recent_partners.includes(SessionNo(*session))).collect()
}

#[test]
fn names_its_last_three_partners_in_each_ticket() {
    let mut session = session_after_rooms(5..9);
    for ticket in 1..3 {
        session.request_match(match_request(ticket, 10));
        let sent = next_ticket(&mut session, Timestamp::from_nanos(1 << 40));
        assert_eq!((named_partners(&sent), sent.apart()), (vec![6, 7, 8], DELAY));
        session.handle_reply(MatcherOutcome::Paired(TicketNo(ticket)));
        session.pairing_cancelled();
        session.cancel_match();
        assert_eq!(session.next_command(HOLDER, DELAY, Timestamp::ZERO), None);
    }
}

#[test]
fn an_avoided_session_takes_the_place_of_the_oldest_partner_for_a_time() {
    let mut session = session_after_rooms(6..9);
    session.request_match(match_request(1, 10));
    let until = Timestamp::ZERO + DELAY + Duration::from_millis(50);
    session.avoid(SessionNo(15), until);
    let ticket = next_ticket(&mut session, Timestamp::ZERO + DELAY);
    assert_eq!(named_partners(&ticket), [7, 8, 15]);
    assert_eq!(ticket.since + ticket.apart(), until);
    session.handle_reply(MatcherOutcome::Paired(TicketNo(1)));
    session.pairing_cancelled();
    let ticket = next_ticket(&mut session, until);
    assert_eq!((named_partners(&ticket), ticket.apart()), (vec![6, 7, 8], DELAY));
}

#[test]
fn renumbers_its_ticket_after_a_migration() {
    let mut session = Session::new(SessionNo(1));
    session.request_match(match_request(7, 10));
    assert!(session.next_command(HOLDER, DELAY, Timestamp::ZERO).is_some());
    session.handle_reply(MatcherOutcome::Paired(TicketNo(7)));
    session.renumber_ticket(TicketNo(1));
    assert!(session.is_live(TicketNo(1)));
    session.pairing_cancelled();
    assert_eq!(
        entered_ticket(session.next_command(HOLDER, DELAY, Timestamp::ZERO)),
        (TicketNo(1), None)
    );
    // Number 7 of this shard is another ticket, and the matcher has to learn of it.
    assert_eq!(
        session.request_match(match_request(7, 20)),
        QueueChange::Entered { left: Some(QueueKey(10)) }
    );
    session.handle_reply(MatcherOutcome::Queued(TicketHandle(5), TicketNo(1)));
    let replaces = Some((TicketHandle(5), TicketNo(1)));
    assert_eq!(
        entered_ticket(session.next_command(HOLDER, DELAY, Timestamp::ZERO)),
        (TicketNo(7), replaces)
    );
}

#[test]
fn fits_into_forty_bytes() {
    assert!(size_of::<Session>() <= 40, "{} bytes", size_of::<Session>());
}
