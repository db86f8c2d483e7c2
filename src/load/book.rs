//! The match book: who was matched with whom, as both sides tell it. Pure.
//!
//! All users of a run are in one process, so the two accounts of a match can be laid side by
//! side: a match that only one was told of, a third member of a room, a user in two rooms.
//! Memory is bounded by the users and the rooms that are open or whose second account is
//! still awaited.

use super::measure::Fault;
use crate::moment::Moment;
use std::collections::HashMap;
use std::time::Duration;

/// One side's account of a match. Identifiers are hashes, see [`super::stamp::name_hash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
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
struct Room {
    first: Account,
    since: Moment,
    second: Option<u64>,
    /// Members that have left.
    left: u8,
    /// A fault was found in how it was made; what goes wrong in it is a consequence.
    tainted: bool,
}

/// All matches that are not over.
#[derive(Debug, Default)]
pub struct MatchBook {
    rooms: HashMap<u64, Room>,
    /// The room that each live session is in; `None` if it is in none.
    sessions: HashMap<u64, Option<u64>>,
    /// A user who has waited too long, and when that was noticed.
    overdue: Option<(u64, Moment)>,
}

impl MatchBook {
    /// A session began.
    pub fn opened(&mut self, session: u64) {
        self.sessions.insert(session, None);
    }

    /// A session ended.
    pub fn closed(&mut self, session: u64) {
        if let Some(Some(room)) = self.sessions.remove(&session) {
            self.leave(room);
        }
        self.settled(session);
    }

    /// One side was told of a match. Gives the faults that this account shows.
    pub fn matched(&mut self, account: Account, now: Moment) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.settled(account.me);
        if account.me == account.peer {
            faults.push(Fault::SelfMatched);
        }
        if let Some(&Some(old)) = self.sessions.get(&account.me) {
            // A second account of the same match tells nothing new; any other room is one
            // room too many. The one that it is torn out of is a victim.
            faults.push(Fault::DoubleMatched);
            self.taint(old);
            self.leave(old);
        }
        match self.rooms.get_mut(&account.room) {
            None => {
                let fresh =
                    Room { first: account, since: now, second: None, left: 0, tainted: false };
                self.rooms.insert(account.room, fresh);
            }
            Some(room) if room.second.is_some() => faults.push(Fault::DoubleMatched),
            Some(room) => {
                room.second = Some(account.me);
                if room.first.me != account.peer || room.first.peer != account.me {
                    faults.push(Fault::DoubleMatched);
                }
                if room.first.initiator == account.initiator {
                    faults.push(Fault::BadInitiator);
                }
            }
        }
        faults.dedup();
        if !faults.is_empty() {
            self.taint(account.room);
        }
        self.sessions.insert(account.me, Some(account.room));
        faults
    }

    /// A session left a room, or was told that the other one had. Tells whether what went
    /// wrong in the room is only the consequence of a fault already found.
    pub fn left(&mut self, session: u64, room: u64) -> bool {
        let tainted = self.is_tainted(room);
        if self.sessions.get(&session) == Some(&Some(room)) {
            self.sessions.insert(session, None);
            self.leave(room);
        }
        tainted
    }

    /// Whether a fault was found in how this room was made.
    pub fn is_tainted(&self, room: u64) -> bool {
        self.rooms.get(&room).is_some_and(|room| room.tainted)
    }

    /// A user has waited too long. One alone proves nothing: nobody else need have been
    /// there. With a second one at the same time, both should have been matched: then this
    /// gives how many users to count.
    pub fn overdue(&mut self, session: u64, now: Moment) -> u64 {
        match self.overdue {
            Some((other, _)) if other != session => {
                // The first is counted once; everyone who comes after stands alone.
                self.overdue = Some((0, now));
                if other == 0 { 1 } else { 2 }
            }
            _ => {
                self.overdue = Some((session, now));
                0
            }
        }
    }

    /// A user who was overdue was matched after all, or is gone.
    fn settled(&mut self, session: u64) {
        if self.overdue.is_some_and(|(overdue, _)| overdue == session) {
            self.overdue = None;
        }
    }

    /// Finds matches that only one of two live sessions was told of within `patience`.
    pub fn one_sided(&mut self, now: Moment, patience: Duration) -> u64 {
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
            sessions.get(&room.first.me) == Some(&Some(room.first.room))
        });
        found
    }

    fn taint(&mut self, room: u64) {
        if let Some(room) = self.rooms.get_mut(&room) {
            room.tainted = true;
        }
    }

    /// A room is forgotten when both its members have left it.
    fn leave(&mut self, room: u64) {
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.left += 1;
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

    const T: Moment = Moment::ZERO;

    fn account(room: u64, me: u64, peer: u64) -> Account {
        Account { room, me, peer, initiator: me < peer }
    }

    fn book() -> MatchBook {
        let mut book = MatchBook::default();
        (1..=4).for_each(|session| book.opened(session));
        book
    }

    #[test]
    fn two_accounts_that_agree_are_a_match_and_leave_nothing_behind() {
        let mut book = book();
        for round in 10..20 {
            assert_eq!(book.matched(account(round, 1, 2), T), []);
            assert_eq!(book.matched(account(round, 2, 1), T), []);
            assert!(!book.left(1, round));
            assert!(!book.left(2, round));
        }
        assert_eq!(book.rooms(), 0);
        assert_eq!(book.one_sided(T + Duration::from_secs(60), Duration::from_secs(5)), 0);
    }

    #[test]
    fn a_user_in_two_rooms_is_one_fault_and_both_rooms_are_tainted() {
        let mut book = book();
        book.matched(account(10, 1, 2), T);
        book.matched(account(10, 2, 1), T);
        assert_eq!(book.matched(account(11, 1, 3), T), [Fault::DoubleMatched]);
        assert_eq!(book.matched(account(11, 3, 1), T), []);
        assert!(book.is_tainted(10) && book.is_tainted(11));
        assert!(book.left(2, 10), "what went wrong in the first room is a consequence");
    }

    #[test]
    fn a_third_member_and_a_wrong_partner_are_found() {
        let mut book = book();
        book.matched(account(10, 1, 2), T);
        assert_eq!(book.matched(account(10, 3, 1), T), [Fault::DoubleMatched]);
        assert_eq!(book.matched(account(10, 4, 1), T), [Fault::DoubleMatched]);
    }

    #[test]
    fn self_matches_and_wrong_initiators_are_found() {
        let mut book = book();
        assert_eq!(book.matched(account(10, 1, 1), T), [Fault::SelfMatched]);
        book.matched(account(11, 2, 3), T);
        let both = Account { initiator: true, ..account(11, 3, 2) };
        assert_eq!(book.matched(both, T), [Fault::BadInitiator]);
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
        book.closed(4);
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
        let mut book = self::book();
        assert_eq!(book.overdue(1, T), 0);
        book.matched(account(10, 1, 4), T);
        assert_eq!(book.overdue(2, T), 0, "the first has been matched meanwhile");
    }
}
