use super::*;
use crate::ids::{ConnectionKey, Serial, ShardId};

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
    assert_eq!(entered_ticket(session.next_command(HOLDER)), (TicketNo(1), None));
    assert_eq!(session.request_match(match_request(2, 10)), QueueChange::Unchanged);
    assert!(session.cancel_match().is_some());
    assert!(session.cancel_match().is_none());
    assert_eq!(session.request_match(match_request(3, 20)), QueueChange::Entered { left: None });
    assert_eq!(
        session.request_match(match_request(4, 30)),
        QueueChange::Entered { left: Some(QueueKey(20)) }
    );
    assert_eq!(session.next_command(HOLDER), None, "the first command is still in flight");
    session.handle_reply(MatcherOutcome::Queued(TicketHandle(5), TicketNo(1)));
    let replaces = Some((TicketHandle(5), TicketNo(1)));
    assert_eq!(entered_ticket(session.next_command(HOLDER)), (TicketNo(4), replaces));
    assert!(session.cancel_match().is_some());
    session.handle_reply(MatcherOutcome::Queued(TicketHandle(6), TicketNo(4)));
    assert_eq!(
        session.next_command(HOLDER),
        Some(MatcherCommand::Leave {
            holder: HOLDER,
            handle: TicketHandle(6),
            number: TicketNo(4)
        })
    );
    session.handle_reply(MatcherOutcome::Removed);
    assert_eq!(session.next_command(HOLDER), None);
    assert!(matches!(session.state, SessionState::Idle));
}

#[test]
fn does_not_queue_a_ticket_again_while_it_is_in_a_pairing() {
    let mut session = Session::new(SessionNo(1));
    session.request_match(match_request(1, 10));
    assert!(session.next_command(HOLDER).is_some());
    session.handle_reply(MatcherOutcome::Paired(TicketNo(1)));
    assert_eq!(session.next_command(HOLDER), None);
    assert!(session.is_live(TicketNo(1)));
    session.pairing_cancelled();
    assert_eq!(entered_ticket(session.next_command(HOLDER)), (TicketNo(1), None));
}

#[test]
fn becomes_idle_when_a_cancelled_ticket_was_paired() {
    let mut session = Session::new(SessionNo(1));
    session.request_match(match_request(1, 10));
    assert!(session.next_command(HOLDER).is_some());
    session.cancel_match();
    session.handle_reply(MatcherOutcome::Paired(TicketNo(1)));
    assert_eq!(session.next_command(HOLDER), None);
    assert!(matches!(session.state, SessionState::Idle));
}

#[test]
fn sends_the_recent_partner_with_the_next_ticket_until_it_expires() {
    let membership = Membership { room: RoomNo(1), peer: Slot(2), initiator: true };
    let recent_partner = RecentPartner { session: SessionNo(9), until: Timestamp::from_nanos(100) };
    let mut session = Session::new(SessionNo(1));
    session.request_match(match_request(1, 10));
    assert_eq!(session.enter_room(membership), Some(match_request(1, 10)));
    assert_eq!(session.leave_room(Some(recent_partner)), Some(membership));
    session.expire_recent_partner(Timestamp::from_nanos(99));
    session.request_match(match_request(2, 10));
    match session.next_command(HOLDER) {
        Some(MatcherCommand::Enter { ticket, .. }) => {
            assert_eq!(ticket.recent_partner, Some(recent_partner))
        }
        other => panic!("not an Enter: {other:?}"),
    }
    session.expire_recent_partner(Timestamp::from_nanos(100));
    assert_eq!(session.recent_partner, None);
}

#[test]
fn renumbers_its_ticket_after_a_migration() {
    let mut session = Session::new(SessionNo(1));
    session.request_match(match_request(7, 10));
    assert!(session.next_command(HOLDER).is_some());
    session.handle_reply(MatcherOutcome::Paired(TicketNo(7)));
    session.renumber_ticket(TicketNo(1));
    assert!(session.is_live(TicketNo(1)));
    session.pairing_cancelled();
    assert_eq!(entered_ticket(session.next_command(HOLDER)), (TicketNo(1), None));
    // Number 7 of this shard is another ticket, and the matcher has to learn of it.
    assert_eq!(
        session.request_match(match_request(7, 20)),
        QueueChange::Entered { left: Some(QueueKey(10)) }
    );
    session.handle_reply(MatcherOutcome::Queued(TicketHandle(5), TicketNo(1)));
    let replaces = Some((TicketHandle(5), TicketNo(1)));
    assert_eq!(entered_ticket(session.next_command(HOLDER)), (TicketNo(7), replaces));
}

#[test]
fn fits_into_forty_bytes() {
    assert!(size_of::<Session>() <= 40, "{} bytes", size_of::<Session>());
}
