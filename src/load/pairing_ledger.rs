//! The pairing ledger: compares the match notices of both members of each match. Pure.
//!
//! All users of a run are in one process, so that the two `match_found` messages of a match can be
//! compared. This reveals a match with only one message, a third member of a room, or a user in two
//! rooms. Memory is bounded by the number of users, of open rooms, and of rooms with
//! only one notice so far.

use super::measure::LoadFault;
use super::room_traffic::RoomTraffic;
use crate::timestamp::Timestamp;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

/// A match overtakes a waiting user when its member asked later than the user by more than this.
const OVERTAKEN_BY: Duration = Duration::from_secs(1);
/// Number of consecutive matches that must have overtaken a user before it counts as never
/// matched: two users who have just met are not paired again, which lets others overtake them.
const OVERTAKING_MATCHES: usize = 8;

/// One member's `match_found` message. Identifiers are hashes, see
/// [`super::message_header::id_hash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchNotice {
    /// The room.
    pub room: u64,
    /// The session that received the message.
    pub me: u64,
    /// The session named as its partner.
    pub peer: u64,
    /// Whether the message names the receiver as initiator.
    pub initiator: bool,
}

#[derive(Clone, Copy, Debug)]
struct LedgerRoom {
    first: MatchNotice,
    since: Timestamp,
    /// The session that received the second notice.
    second: Option<u64>,
    /// Number of members that have left, and the time of the last leave.
    left: u8,
    left_at: Timestamp,
    /// What the member that left first sent and received.
    first_traffic: Option<RoomTraffic>,
    /// A fault of this room has been counted already; further faults in it are consequences.
    has_known_fault: bool,
}

/// What the end of a member's time in a room reveals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomEnd {
    /// Faults in this room are only consequences of one that has been counted.
    pub has_known_fault: bool,
    /// Messages of both members that were under way when one of them left. Known when both have
    /// left.
    pub under_way: u64,
}

/// A live session.
#[derive(Clone, Copy, Debug, Default)]
struct LedgerSession {
    /// The room that it is in.
    room: Option<u64>,
    /// The last room whose first notice named this session as partner, before it received the
    /// second notice itself.
    announced_room: Option<u64>,
}

/// All matches that are not over.
#[derive(Debug, Default)]
pub struct PairingLedger {
    rooms: HashMap<u64, LedgerRoom>,
    /// The live sessions.
    sessions: HashMap<u64, LedgerSession>,
    /// For each queue, a user that has waited too long while no other user in it has.
    overdue_alone: HashMap<u16, u64>,
    /// Users that wait too long at the same time, with their queues; each has been counted.
    overdue_counted: HashMap<u64, u16>,
    /// Users that are not counted as overdue: their waiting is no evidence against the server, or
    /// has been counted.
    exempt: HashSet<u64>,
    /// Users that have been counted as never matched and still wait.
    unmatched: HashSet<u64>,
    /// For each queue, the request times of the users that were matched last, the latest match
    /// first.
    served: HashMap<u16, VecDeque<Timestamp>>,
}

impl PairingLedger {
    /// Records the start of a session.
    pub fn open_session(&mut self, session: u64) {
        self.sessions.insert(session, LedgerSession::default());
    }

    /// Records the end of a session.
    pub fn close_session(&mut self, session: u64, now: Timestamp) {
        if let Some(LedgerSession { room: Some(room), .. }) = self.sessions.remove(&session) {
            self.count_leave(room, now);
        }
        self.stop_waiting(session);
    }

    /// Records that a user which had asked at `asked` in this queue was matched.
    pub fn record_served(&mut self, asked: Timestamp, queue: u16) {
        let served = self.served.entry(queue).or_default();
        served.truncate(OVERTAKING_MATCHES - 1);
        served.push_front(asked);
    }

    /// Records that a user has withdrawn its match request, and that the server has confirmed it.
    pub fn record_withdrawn(&mut self, session: u64) {
        self.stop_waiting(session);
    }

    /// Records one member's notice of a match. Returns the faults that it reveals.
    pub fn record_match(&mut self, notice: MatchNotice, now: Timestamp) -> Vec<LoadFault> {
        let mut faults = Vec::new();
        self.stop_waiting(notice.me);
        if notice.me == notice.peer {
            faults.push(LoadFault::SelfMatched);
        }
        if let Some(old) = self.room_of(notice.me) {
            // A user must leave its room before it is matched again, even if the notice repeats
            // the same match. Faults of its old room follow from this one and are not counted.
            faults.push(LoadFault::DoubleMatched);
            self.mark_faulty(old);
            self.count_leave(old, now);
        }
        if let Some(other) = self.differently_named_room(&notice) {
            faults.push(LoadFault::RoomMismatch);
            self.mark_faulty(other);
        }
        match self.rooms.get_mut(&notice.room) {
            None => {
                let fresh = LedgerRoom {
                    first: notice,
                    since: now,
                    second: None,
                    left: 0,
                    left_at: now,
                    first_traffic: None,
                    has_known_fault: false,
                };
                self.rooms.insert(notice.room, fresh);
                if let Some(peer) = self.sessions.get_mut(&notice.peer) {
                    peer.announced_room = Some(notice.room);
                }
            }
            Some(room) if room.second.is_some() => faults.push(LoadFault::DoubleMatched),
            Some(room) => {
                room.second = Some(notice.me);
                if room.first.me != notice.peer || room.first.peer != notice.me {
                    faults.push(LoadFault::DoubleMatched);
                }
                if room.first.initiator == notice.initiator {
                    faults.push(LoadFault::BadInitiator);
                }
            }
        }
        faults.dedup();
        if !faults.is_empty() {
            self.mark_faulty(notice.room);
        }
        self.sessions.entry(notice.me).or_default().room = Some(notice.room);
        faults
    }

    /// The room in which the partner awaits this session, if the notice names another one.
    fn differently_named_room(&self, notice: &MatchNotice) -> Option<u64> {
        let theirs = self.room_of(notice.peer)?;
        let room = self.rooms.get(&theirs).filter(|_| theirs != notice.room)?;
        let is_half_announced = room.second.is_none() && !room.has_known_fault;
        (is_half_announced && room.first.me == notice.peer && room.first.peer == notice.me)
            .then_some(theirs)
    }

    /// Records that a session left a room or received `peer_left` for it.
    pub fn record_leave(
        &mut self,
        session: u64,
        room: u64,
        traffic: RoomTraffic,
        now: Timestamp,
    ) -> RoomEnd {
        let has_known_fault = self.has_known_fault(room);
        let under_way = self.settle_traffic(room, traffic);
        if let Some(member) = self.sessions.get_mut(&session)
            && member.room == Some(room)
        {
            member.room = None;
            self.count_leave(room, now);
        }
        RoomEnd { has_known_fault, under_way }
    }

    /// Stores what the member sent that leaves first. Returns the number of messages that were under
    /// way when both have left, or when the partner is not of this run and cannot be checked.
    fn settle_traffic(&mut self, room: u64, traffic: RoomTraffic) -> u64 {
        let Some(entry) = self.rooms.get_mut(&room) else { return 0 };
        if let Some(first) = entry.first_traffic.take() {
            return (first.under_way_to(&traffic) + traffic.under_way_to(&first)).into();
        }
        if entry.second.is_none() && !self.sessions.contains_key(&entry.first.peer) {
            return traffic.sent.into();
        }
        entry.first_traffic = Some(traffic);
        0
    }

    /// Records that the server may not have received or may have refused what this session asked
    /// for. The absence of `peer_left` in the `room` that it left, or of its next match, is then no
    /// evidence against the server.
    pub fn exempt(&mut self, session: u64, room: Option<u64>) {
        if let Some(room) = room {
            self.mark_faulty(room);
        }
        self.stop_waiting(session);
        self.exempt.insert(session);
    }

    /// Whether a fault of this room has been counted.
    pub fn has_known_fault(&self, room: u64) -> bool {
        self.rooms.get(&room).is_some_and(|room| room.has_known_fault)
    }

    /// Records that a user which asked at `asked` in this queue has waited too long. One such user alone is no
    /// evidence: perhaps no other user was there. Two at the same time should have been matched
    /// with each other; and if users that asked later were matched, the server forgot the request
    /// (guarantee 9). Returns how many users to count; each is counted once.
    pub fn record_overdue(&mut self, session: u64, asked: Timestamp, queue: u16) -> u64 {
        if self.overdue_counted.contains_key(&session) || self.exempt.contains(&session) {
            return 0;
        }
        // A match that was announced only to the partner is counted as a different fault.
        let is_announced = self.is_announced_to_partner(session);
        let overtook = |later: &Timestamp| *later > asked + OVERTAKEN_BY;
        let served = self.served.get(&queue).filter(|served| served.len() >= OVERTAKING_MATCHES);
        let was_overtaken = served.is_some_and(|served| served.iter().all(overtook));
        if is_announced || was_overtaken {
            self.stop_waiting(session);
            self.exempt.insert(session);
            if !is_announced {
                self.unmatched.insert(session);
            }
            return u64::from(!is_announced);
        }
        let first = self.overdue_alone.remove(&queue).filter(|first| *first != session);
        if first.is_none() && !self.overdue_counted.values().any(|of| *of == queue) {
            self.overdue_alone.insert(queue, session);
            return 0;
        }
        self.overdue_counted.extend(first.map(|first| (first, queue)));
        self.overdue_counted.insert(session, queue);
        self.unmatched.extend(first);
        self.unmatched.insert(session);
        1 + u64::from(first.is_some())
    }

    /// Whether this user waits and has been counted as never matched.
    pub fn is_unmatched(&self, session: u64) -> bool {
        self.unmatched.contains(&session)
    }

    /// Whether a match with this user was announced to the partner and not to the user.
    pub fn is_announced_to_partner(&self, session: u64) -> bool {
        let announced = self.sessions.get(&session).and_then(|member| member.announced_room);
        let room = announced.and_then(|room| self.rooms.get(&room));
        room.is_some_and(|room| room.second.is_none() && room.first.peer == session)
    }

    /// The room that a live session is in.
    fn room_of(&self, session: u64) -> Option<u64> {
        self.sessions.get(&session)?.room
    }

    /// The user waits no longer: it was matched, its session ended, or it is exempt.
    fn stop_waiting(&mut self, session: u64) {
        self.overdue_counted.remove(&session);
        self.exempt.remove(&session);
        self.unmatched.remove(&session);
        if !self.overdue_alone.is_empty() {
            self.overdue_alone.retain(|_, overdue| *overdue != session);
        }
    }

    /// Counts the matches that were announced to only one of two live sessions within `patience`.
    pub fn count_one_sided(&mut self, now: Timestamp, patience: Duration) -> u64 {
        let mut count = 0;
        let sessions = &self.sessions;
        self.rooms.retain(|_, room| {
            if room.second.is_some() || now.since(room.since) < patience {
                return true;
            }
            // A partner cannot be checked when its session has ended or is not of this run.
            let is_one_sided = !room.has_known_fault && sessions.contains_key(&room.first.peer);
            count += u64::from(is_one_sided);
            room.has_known_fault = true;
            let first = sessions.get(&room.first.me);
            first.is_some_and(|first| first.room == Some(room.first.room))
        });
        count
    }

    /// Counts the rooms that one member left more than `patience` ago, while the other member is
    /// still there and has not received `peer_left` (guarantee 8).
    pub fn count_missing_peer_left(&mut self, now: Timestamp, patience: Duration) -> u64 {
        let mut count = 0;
        for (number, room) in &mut self.rooms {
            let Some(second) = room.second else { continue };
            if room.left != 1 || room.has_known_fault || now.since(room.left_at) < patience {
                continue;
            }
            let stays = |member: u64| {
                self.sessions.get(&member).is_some_and(|member| member.room == Some(*number))
            };
            count += u64::from(stays(room.first.me) || stays(second));
            room.has_known_fault = true;
        }
        count
    }

    fn mark_faulty(&mut self, room: u64) {
        if let Some(room) = self.rooms.get_mut(&room) {
            room.has_known_fault = true;
        }
    }

    /// Counts a member that left; a room that both members have left is removed.
    fn count_leave(&mut self, room: u64, now: Timestamp) {
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.left += 1;
            entry.left_at = now;
            if entry.left >= 2 {
                self.rooms.remove(&room);
            }
        }
    }

    /// Number of rooms in the ledger.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }
}

#[cfg(test)]
mod tests;
