//! The pairing ledger with made-up notices.

use super::*;
use crate::load::room_traffic::RoomExit;

const T: Timestamp = Timestamp::ZERO;

fn notice(room: u64, me: u64, peer: u64) -> MatchNotice {
    MatchNotice { room, me, peer, initiator: me < peer }
}

/// A member leaves without messages; returns whether a fault of the room is known.
fn leave(ledger: &mut PairingLedger, session: u64, room: u64, now: Timestamp) -> bool {
    let traffic = RoomTraffic::none(RoomExit::Left);
    ledger.record_leave(session, room, traffic, now).has_known_fault
}

fn ledger_with_four_sessions() -> PairingLedger {
    let mut ledger = PairingLedger::default();
    (1..=4).for_each(|session| ledger.open_session(session));
    ledger
}

#[test]
fn two_notices_that_agree_are_a_match_and_leave_no_entry() {
    let mut ledger = ledger_with_four_sessions();
    for round in 10..20 {
        assert_eq!(ledger.record_match(notice(round, 1, 2), T), []);
        assert_eq!(ledger.record_match(notice(round, 2, 1), T), []);
        assert!(!leave(&mut ledger, 1, round, T));
        assert!(!leave(&mut ledger, 2, round, T));
    }
    assert_eq!(ledger.room_count(), 0);
    assert_eq!(ledger.count_one_sided(T + Duration::from_secs(60), Duration::from_secs(5)), 0);
}

#[test]
fn messages_to_a_member_that_has_left_were_under_way() {
    let mut ledger = ledger_with_four_sessions();
    let traffic = |exit| RoomTraffic { sent: 10, settled: 2, received_up_to: 7, exit };
    ledger.record_match(notice(10, 1, 2), T);
    ledger.record_match(notice(10, 2, 1), T);
    assert_eq!(ledger.record_leave(1, 10, traffic(RoomExit::Left), T).under_way, 0);
    assert_eq!(ledger.record_leave(2, 10, traffic(RoomExit::PeerLeft), T).under_way, 3);
    // Whether a partner that is not of this run received the messages is unknown.
    ledger.record_match(notice(11, 3, 99), T);
    assert_eq!(ledger.record_leave(3, 11, traffic(RoomExit::PeerLeft), T).under_way, 10);
}

#[test]
fn a_user_in_two_rooms_is_one_fault_of_both_rooms() {
    let mut ledger = ledger_with_four_sessions();
    ledger.record_match(notice(10, 1, 2), T);
    ledger.record_match(notice(10, 2, 1), T);
    assert_eq!(ledger.record_match(notice(11, 1, 3), T), [LoadFault::DoubleMatched]);
    assert_eq!(ledger.record_match(notice(11, 3, 1), T), []);
    assert!(ledger.has_known_fault(10) && ledger.has_known_fault(11));
    assert!(leave(&mut ledger, 2, 10, T), "faults in the first room are consequences");
}

#[test]
fn detects_a_third_member_and_a_wrong_partner() {
    let mut ledger = ledger_with_four_sessions();
    ledger.record_match(notice(10, 1, 2), T);
    assert_eq!(ledger.record_match(notice(10, 3, 1), T), [LoadFault::DoubleMatched]);
    assert_eq!(ledger.record_match(notice(10, 4, 1), T), [LoadFault::DoubleMatched]);
}

#[test]
fn detects_self_matches_and_two_initiators() {
    let mut ledger = ledger_with_four_sessions();
    assert_eq!(ledger.record_match(notice(10, 1, 1), T), [LoadFault::SelfMatched]);
    ledger.record_match(notice(11, 2, 3), T);
    let both = MatchNotice { initiator: true, ..notice(11, 3, 2) };
    assert_eq!(ledger.record_match(both, T), [LoadFault::BadInitiator]);
}

#[test]
fn counts_a_one_sided_match_once() {
    let mut ledger = ledger_with_four_sessions();
    let (patience, later) = (Duration::from_secs(5), T + Duration::from_secs(6));
    ledger.record_match(notice(10, 1, 2), T);
    assert_eq!(ledger.count_one_sided(T + Duration::from_secs(4), patience), 0);
    assert_eq!(ledger.count_one_sided(later, patience), 1);
    assert_eq!(ledger.count_one_sided(later, patience), 0);
    // A partner cannot be checked when its session has ended.
    ledger.close_session(4, T);
    ledger.record_match(notice(12, 3, 4), T);
    assert_eq!(ledger.count_one_sided(later, patience), 0);
}

#[test]
fn counts_overdue_users_only_when_two_wait_at_the_same_time() {
    let mut ledger = ledger_with_four_sessions();
    assert_eq!(ledger.record_overdue(1, T, 0), 0);
    assert_eq!(ledger.record_overdue(1, T, 0), 0);
    assert_eq!(ledger.record_overdue(2, T, 0), 2);
    assert_eq!(ledger.record_overdue(3, T, 0), 1);
    let again = [1, 2, 3].map(|user| ledger.record_overdue(user, T, 0));
    assert_eq!(again, [0; 3], "each is counted once");
    let mut ledger = ledger_with_four_sessions();
    assert_eq!(ledger.record_overdue(1, T, 0), 0);
    ledger.record_match(notice(10, 1, 4), T);
    assert_eq!(ledger.record_overdue(2, T, 0), 0, "the first has been matched since");
    assert_eq!(ledger.record_overdue(3, T, 0), 2);
    ledger.close_session(2, T);
    ledger.record_match(notice(11, 3, 5), T);
    assert_eq!(ledger.record_overdue(6, T, 0), 0, "no other user waits any more");
}

#[test]
fn counts_a_user_that_was_overtaken_by_matches_of_later_requests() {
    let (mut ledger, later) = (ledger_with_four_sessions(), T + Duration::from_secs(2));
    (0..OVERTAKING_MATCHES).for_each(|_| ledger.record_served(T, 0));
    assert_eq!(ledger.record_overdue(1, T, 0), 0, "the matched users had asked before");
    (1..OVERTAKING_MATCHES).for_each(|_| ledger.record_served(later, 0));
    assert_eq!(ledger.record_overdue(1, T, 0), 0, "recent partners may be kept apart");
    ledger.record_served(later, 0);
    assert_eq!(ledger.record_overdue(1, T, 0), 1);
    assert_eq!(ledger.record_overdue(1, T, 0), 0, "it is counted once");
    assert_eq!(ledger.record_overdue(2, later, 0), 0, "it asked when the others did");
}

/// Users in different queues cannot be matched with each other.
#[test]
fn users_in_different_queues_are_no_evidence_for_each_other() {
    let (mut ledger, later) = (ledger_with_four_sessions(), T + Duration::from_secs(2));
    (0..OVERTAKING_MATCHES).for_each(|_| ledger.record_served(later, 1));
    assert_eq!(ledger.record_overdue(1, T, 0), 0, "matches of another queue overtake none");
    assert_eq!(ledger.record_overdue(2, later, 1), 0, "it waits alone in its queue");
    assert_eq!(ledger.record_overdue(3, later, 1), 2);
    assert_eq!(ledger.record_overdue(1, T, 0), 0, "it still waits alone");
    ledger.record_withdrawn(1);
    assert_eq!(ledger.record_overdue(4, T, 0), 0, "the first waits no longer");
}

#[test]
fn does_not_count_an_overdue_user_with_a_match_announced_to_its_partner() {
    let mut ledger = ledger_with_four_sessions();
    ledger.record_match(notice(10, 1, 2), T);
    ledger.open_session(3);
    assert_eq!([2, 3, 2].map(|user| ledger.record_overdue(user, T, 0)), [0, 0, 0]);
    let mut ledger = ledger_with_four_sessions();
    assert_eq!(ledger.record_overdue(2, T, 0), 0);
    ledger.record_match(notice(10, 1, 2), T);
    let counted = [2, 3].map(|user| ledger.record_overdue(user, T, 0));
    assert_eq!(counted, [0, 0], "3 waits alone");
}

#[test]
fn an_exempt_user_counts_no_fault_until_its_next_match() {
    let (mut ledger, patience) = (ledger_with_four_sessions(), Duration::from_secs(5));
    ledger.record_match(notice(10, 1, 2), T);
    ledger.record_match(notice(10, 2, 1), T);
    leave(&mut ledger, 1, 10, T);
    ledger.exempt(1, Some(10));
    assert_eq!(ledger.count_missing_peer_left(T + 2 * patience, patience), 0);
    let counted = [1, 3].map(|user| ledger.record_overdue(user, T, 0));
    assert_eq!(counted, [0, 0], "3 waits alone");
    ledger.record_match(notice(11, 1, 4), T);
    leave(&mut ledger, 1, 11, T);
    assert_eq!(ledger.record_overdue(1, T, 0), 2);
}

#[test]
fn counts_a_missing_peer_left_once() {
    let (mut ledger, patience) = (ledger_with_four_sessions(), Duration::from_secs(5));
    let at = |seconds| T + Duration::from_secs(seconds);
    ledger.record_match(notice(10, 1, 2), T);
    ledger.record_match(notice(10, 2, 1), T);
    assert_eq!(ledger.count_missing_peer_left(at(100), patience), 0, "no member has left");
    leave(&mut ledger, 1, 10, at(100));
    assert_eq!(ledger.count_missing_peer_left(at(104), patience), 0);
    assert_eq!(ledger.count_missing_peer_left(at(106), patience), 1);
    assert_eq!(ledger.count_missing_peer_left(at(107), patience), 0);
    ledger.record_match(notice(11, 3, 4), T);
    ledger.record_match(notice(11, 4, 3), T);
    ledger.close_session(3, at(110));
    leave(&mut ledger, 4, 11, at(111));
    assert_eq!(ledger.count_missing_peer_left(at(200), patience), 0);
}

#[test]
fn different_room_names_for_one_match_are_one_fault() {
    let mut ledger = ledger_with_four_sessions();
    assert_eq!(ledger.record_match(notice(10, 1, 2), T), []);
    assert_eq!(ledger.record_match(notice(11, 2, 1), T), [LoadFault::RoomMismatch]);
    assert!(ledger.has_known_fault(10) && ledger.has_known_fault(11));
    assert_eq!(ledger.count_one_sided(T + Duration::from_secs(9), Duration::from_secs(5)), 0);
}
