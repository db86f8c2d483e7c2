//! The match book: who was matched with whom, as both sides tell it. Pure.
//!
//! All users of a run are in one process, so the two accounts of a match can be laid side by
//! side: a match that only one was told of, a third member of a room, a user in two rooms.
//! Memory is bounded by the users and the rooms that are open or whose second account is
//! still awaited.

use super::measure::LoadFault;
use crate::timestamp::Timestamp;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

/// Whoever asked so much earlier than those who were matched has been passed over.
const JUMPED_BY: Duration = Duration::from_secs(1);
/// So many of the last who were matched must have jumped the queue: that two do not suit each
/// other, because they have just met, can pass over one or the other.
const JUMPERS: usize = 8;

/// One side's account of a match. Identifiers are hashes, see [`super::message_header::id_hash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchNotice {
    /// The room.
    pub room: u64,
    /// The session that was told.
    pub me: u64,
    /// Who it was told the other one is.
    pub peer: u64,
    /// Whether it was told to be the initiator.
    pub initiator: bool,
}

#[derive(Clone, Copy, Debug)]
struct LedgerRoom {
    first: MatchNotice,
    since: Timestamp,
    second: Option<u64>,
    /// Members that have left, and when the last of them did.
    left: u8,
    left_at: Timestamp,
    /// A fault was found in how it was made; what goes wrong in it is a consequence.
    tainted: bool,
}

/// What is known of a live session.
#[derive(Clone, Copy, Debug, Default)]
struct LedgerSession {
    /// The room it is in.
    room: Option<u64>,
    /// The last room in which somebody was told to meet it, while it had not been told of it.
    promised: Option<u64>,
}

/// All matches that are not over.
#[derive(Debug, Default)]
pub struct PairingLedger {
    rooms: HashMap<u64, LedgerRoom>,
    /// The live sessions.
    sessions: HashMap<u64, LedgerSession>,
    /// A user who has waited too long while nobody else did.
    overdue: Option<u64>,
    /// Users who wait too long at the same time, each of them counted.
    no_session_opened_abort: HashSet<u64>,
    /// Users whose waiting shows nothing, or nothing more.
    excused: HashSet<u64>,
    /// When those asked who were matched last.
    served: VecDeque<Timestamp>,
}

impl PairingLedger {
    /// A session began.
    pub fn opened(&mut self, session: u64) {
        self.sessions.insert(session, LedgerSession::default());
    }

    /// A session ended.
    pub fn closed(&mut self, session: u64, now: Timestamp) {
        if let Some(LedgerSession { room: Some(room), .. }) = self.sessions.remove(&session) {
            self.leave(room, now);
        }
        self.settled(session);
    }

    /// Somebody was matched who had asked at `asked`.
    pub fn served(&mut self, asked: Timestamp) {
        self.served.truncate(JUMPERS - 1);
        self.served.push_front(asked);
    }

    /// One side was told of a match. Gives the faults that this account shows.
    pub fn matched(&mut self, account: MatchNotice, now: Timestamp) -> Vec<LoadFault> {
        let mut faults = Vec::new();
        self.settled(account.me);
        if account.me == account.peer {
            faults.push(LoadFault::SelfMatched);
        }
        if let Some(old) = self.room_of(account.me) {
            // A second account of the same match tells nothing new; any other room is one
            // room too many. The one that it is torn out of is a victim.
            faults.push(LoadFault::DoubleMatched);
            self.taint(old);
            self.leave(old, now);
        }
        if let Some(other) = self.other_name_of(&account) {
            faults.push(LoadFault::RoomMismatch);
            self.taint(other);
        }
        match self.rooms.get_mut(&account.room) {
            None => {
                let fresh = LedgerRoom {
                    first: account,
                    since: now,
                    second: None,
                    left: 0,
                    left_at: now,
                    tainted: false,
                };
                self.rooms.insert(account.room, fresh);
                if let Some(peer) = self.sessions.get_mut(&account.peer) {
                    peer.promised = Some(account.room);
                }
            }
            Some(room) if room.second.is_some() => faults.push(LoadFault::DoubleMatched),
            Some(room) => {
                room.second = Some(account.me);
                if room.first.me != account.peer || room.first.peer != account.me {
                    faults.push(LoadFault::DoubleMatched);
                }
                if room.first.initiator == account.initiator {
                    faults.push(LoadFault::BadInitiator);
                }
            }
        }
        faults.dedup();
        if !faults.is_empty() {
            self.taint(account.room);
        }
        self.sessions.entry(account.me).or_default().room = Some(account.room);
        faults
    }

    /// The room that the partner was told of, if it is not the one that this account names.
    fn other_name_of(&self, account: &MatchNotice) -> Option<u64> {
        let theirs = self.room_of(account.peer)?;
        let room = self.rooms.get(&theirs).filter(|_| theirs != account.room)?;
        let awaited = room.second.is_none() && !room.tainted;
        (awaited && room.first.me == account.peer && room.first.peer == account.me)
            .then_some(theirs)
    }

    /// A session left a room, or was told that the other one had. Tells whether what went
    /// wrong in the room is only the consequence of a fault already found.
    pub fn left(&mut self, session: u64, room: u64, now: Timestamp) -> bool {
        let tainted = self.is_tainted(room);
        if let Some(member) = self.sessions.get_mut(&session)
            && member.room == Some(room)
        {
            member.room = None;
            self.leave(room, now);
        }
        tainted
    }

    /// The server may not have heard this session, which gave up a place in `room`, or would not
    /// listen: that the other member is told nothing, and this one not matched, shows nothing.
    pub fn excuse(&mut self, session: u64, room: Option<u64>) {
        if let Some(room) = room {
            self.taint(room);
        }
        self.settled(session);
        self.excused.insert(session);
    }

    /// Whether a fault was found in how this room was made.
    pub fn is_tainted(&self, room: u64) -> bool {
        self.rooms.get(&room).is_some_and(|room| room.tainted)
    }

    /// A user who asked at `asked` has waited too long. One alone proves nothing: nobody else
    /// need have been there. With a second one at the same time, both should have been matched;
    /// and if others were who asked later, its match_request was forgotten (guarantee 9). Gives how many
    /// users to count, each of them once.
    pub fn overdue(&mut self, session: u64, asked: Timestamp) -> u64 {
        if self.no_session_opened_abort.contains(&session) || self.excused.contains(&session) {
            return 0;
        }
        // If somebody was told of a match with it, that is another fault.
        let is_promised = self.is_promised(session);
        let jumped = |later: &Timestamp| *later > asked + JUMPED_BY;
        if is_promised || self.served.len() >= JUMPERS && self.served.iter().all(jumped) {
            self.settled(session);
            self.excused.insert(session);
            return u64::from(!is_promised);
        }
        let first = self.overdue.take_if(|first| *first != session);
        if first.is_none() && self.no_session_opened_abort.is_empty() {
            self.overdue = Some(session);
            return 0;
        }
        self.no_session_opened_abort.extend(first);
        self.no_session_opened_abort.insert(session);
        1 + u64::from(first.is_some())
    }

    /// Whether somebody waits in a room for this user, who has not been told of it.
    pub fn is_promised(&self, session: u64) -> bool {
        let promised = self.sessions.get(&session).and_then(|member| member.promised);
        let room = promised.and_then(|room| self.rooms.get(&room));
        room.is_some_and(|room| room.second.is_none() && room.first.peer == session)
    }

    /// The room that a live session is in.
    fn room_of(&self, session: u64) -> Option<u64> {
        self.sessions.get(&session)?.room
    }

    /// A user who was overdue was matched after all, or is gone.
    fn settled(&mut self, session: u64) {
        self.no_session_opened_abort.remove(&session);
        self.excused.remove(&session);
        self.overdue.take_if(|overdue| *overdue == session);
    }

    /// Finds matches that only one of two live sessions was told of within `patience`.
    pub fn one_sided(&mut self, now: Timestamp, patience: Duration) -> u64 {
        let mut found = 0;
        let sessions = &self.sessions;
        self.rooms.retain(|_, room| {
            if room.second.is_some() || now.since(room.since) < patience {
                return true;
            }
            // A partner that is gone, or was never one of ours, cannot be asked.
            let convicted = !room.tainted && sessions.contains_key(&room.first.peer);
            found += u64::from(convicted);
            room.tainted = true;
            let first = sessions.get(&room.first.me);
            first.is_some_and(|first| first.room == Some(room.first.room))
        });
        found
    }

    /// Finds rooms that one member left so long ago, and of whose end the other, who is still
    /// there, was not told (guarantee 8).
    pub fn untold(&mut self, now: Timestamp, patience: Duration) -> u64 {
        let mut found = 0;
        for (number, room) in &mut self.rooms {
            let Some(second) = room.second else { continue };
            if room.left != 1 || room.tainted || now.since(room.left_at) < patience {
                continue;
            }
            let stays = |member: u64| {
                self.sessions.get(&member).is_some_and(|member| member.room == Some(*number))
            };
            found += u64::from(stays(room.first.me) || stays(second));
            room.tainted = true;
        }
        found
    }

    fn taint(&mut self, room: u64) {
        if let Some(room) = self.rooms.get_mut(&room) {
            room.tainted = true;
        }
    }

    /// A room is forgotten when both its members have left it.
    fn leave(&mut self, room: u64, now: Timestamp) {
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.left += 1;
            entry.left_at = now;
            if entry.left >= 2 {
                self.rooms.remove(&room);
            }
        }
    }

    /// Rooms that are kept in mind.
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp::ZERO;

    fn account(room: u64, me: u64, peer: u64) -> MatchNotice {
        MatchNotice { room, me, peer, initiator: me < peer }
    }

    fn book() -> PairingLedger {
        let mut book = PairingLedger::default();
        (1..=4).for_each(|session| book.opened(session));
        book
    }

    #[test]
    fn two_accounts_that_agree_are_a_match_and_leave_nothing_behind() {
        let mut book = book();
        for round in 10..20 {
            assert_eq!(book.matched(account(round, 1, 2), T), []);
            assert_eq!(book.matched(account(round, 2, 1), T), []);
            assert!(!book.left(1, round, T));
            assert!(!book.left(2, round, T));
        }
        assert_eq!(book.rooms(), 0);
        assert_eq!(book.one_sided(T + Duration::from_secs(60), Duration::from_secs(5)), 0);
    }

    #[test]
    fn a_user_in_two_rooms_is_one_fault_and_both_rooms_are_tainted() {
        let mut book = book();
        book.matched(account(10, 1, 2), T);
        book.matched(account(10, 2, 1), T);
        assert_eq!(book.matched(account(11, 1, 3), T), [LoadFault::DoubleMatched]);
        assert_eq!(book.matched(account(11, 3, 1), T), []);
        assert!(book.is_tainted(10) && book.is_tainted(11));
        assert!(book.left(2, 10, T), "what went wrong in the first room is a consequence");
    }

    #[test]
    fn a_third_member_and_a_wrong_partner_are_found() {
        let mut book = book();
        book.matched(account(10, 1, 2), T);
        assert_eq!(book.matched(account(10, 3, 1), T), [LoadFault::DoubleMatched]);
        assert_eq!(book.matched(account(10, 4, 1), T), [LoadFault::DoubleMatched]);
    }

    #[test]
    fn self_matches_and_wrong_initiators_are_found() {
        let mut book = book();
        assert_eq!(book.matched(account(10, 1, 1), T), [LoadFault::SelfMatched]);
        book.matched(account(11, 2, 3), T);
        let both = MatchNotice { initiator: true, ..account(11, 3, 2) };
        assert_eq!(book.matched(both, T), [LoadFault::BadInitiator]);
    }

    #[test]
    fn a_match_that_one_was_not_told_of_is_found_once() {
        let mut book = book();
        let (patience, later) = (Duration::from_secs(5), T + Duration::from_secs(6));
        book.matched(account(10, 1, 2), T);
        assert_eq!(book.one_sided(T + Duration::from_secs(4), patience), 0);
        assert_eq!(book.one_sided(later, patience), 1);
        assert_eq!(book.one_sided(later, patience), 0);
        // A partner whose session is over cannot be asked.
        book.closed(4, T);
        book.matched(account(12, 3, 4), T);
        assert_eq!(book.one_sided(later, patience), 0);
    }

    #[test]
    fn one_lonely_user_is_nobodys_fault_but_two_are() {
        let mut book = book();
        assert_eq!(book.overdue(1, T), 0);
        assert_eq!(book.overdue(1, T), 0);
        assert_eq!(book.overdue(2, T), 2);
        assert_eq!(book.overdue(3, T), 1);
        assert_eq!([1, 2, 3].map(|user| book.overdue(user, T)), [0; 3], "each is counted once");
        let mut book = self::book();
        assert_eq!(book.overdue(1, T), 0);
        book.matched(account(10, 1, 4), T);
        assert_eq!(book.overdue(2, T), 0, "the first has been matched meanwhile");
        assert_eq!(book.overdue(3, T), 2);
        book.closed(2, T);
        book.matched(account(11, 3, 5), T);
        assert_eq!(book.overdue(6, T), 0, "nobody else waits any more");
    }

    #[test]
    fn who_is_passed_over_by_those_who_asked_later_was_forgotten() {
        let (mut book, later) = (book(), T + Duration::from_secs(2));
        (0..JUMPERS).for_each(|_| book.served(T));
        assert_eq!(book.overdue(1, T), 0, "those who were matched had asked before");
        (1..JUMPERS).for_each(|_| book.served(later));
        assert_eq!(book.overdue(1, T), 0, "two who have just met may be kept apart");
        book.served(later);
        assert_eq!(book.overdue(1, T), 1);
        assert_eq!(book.overdue(1, T), 0, "it is counted once");
        assert_eq!(book.overdue(2, later), 0, "it asked when the others did");
    }

    #[test]
    fn whoever_is_promised_to_somebody_is_another_faults_victim() {
        let mut book = book();
        book.matched(account(10, 1, 2), T);
        book.opened(3);
        assert_eq!([2, 3, 2].map(|user| book.overdue(user, T)), [0, 0, 0]);
        let mut book = self::book();
        assert_eq!(book.overdue(2, T), 0);
        book.matched(account(10, 1, 2), T);
        assert_eq!([2, 3].map(|user| book.overdue(user, T)), [0, 0], "3 waits alone");
    }

    #[test]
    fn a_server_that_declines_is_not_accused_of_what_it_did_not_do() {
        let (mut book, patience) = (book(), Duration::from_secs(5));
        book.matched(account(10, 1, 2), T);
        book.matched(account(10, 2, 1), T);
        book.left(1, 10, T);
        book.excuse(1, Some(10));
        assert_eq!(book.untold(T + 2 * patience, patience), 0);
        assert_eq!([1, 3].map(|user| book.overdue(user, T)), [0, 0], "3 waits alone");
        // From its next match on it is like everybody.
        book.matched(account(11, 1, 4), T);
        book.left(1, 11, T);
        assert_eq!(book.overdue(1, T), 2);
    }

    #[test]
    fn the_end_of_a_room_that_one_was_not_told_of_is_found_once() {
        let (mut book, patience) = (book(), Duration::from_secs(5));
        let at = |seconds| T + Duration::from_secs(seconds);
        book.matched(account(10, 1, 2), T);
        book.matched(account(10, 2, 1), T);
        assert_eq!(book.untold(at(100), patience), 0, "nobody has left");
        book.left(1, 10, at(100));
        assert_eq!(book.untold(at(104), patience), 0);
        assert_eq!(book.untold(at(106), patience), 1);
        assert_eq!(book.untold(at(107), patience), 0);
        book.matched(account(11, 3, 4), T);
        book.matched(account(11, 4, 3), T);
        book.closed(3, at(110));
        book.left(4, 11, at(111));
        assert_eq!(book.untold(at(200), patience), 0);
    }

    #[test]
    fn two_names_for_one_room_are_one_fault() {
        let mut book = book();
        assert_eq!(book.matched(account(10, 1, 2), T), []);
        assert_eq!(book.matched(account(11, 2, 1), T), [LoadFault::RoomMismatch]);
        assert!(book.is_tainted(10) && book.is_tainted(11));
        assert_eq!(book.one_sided(T + Duration::from_secs(9), Duration::from_secs(5)), 0);
    }
}
