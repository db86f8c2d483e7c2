//! The state of all sessions and rooms, from the messages that clients have received and from the
//! tables of the shards after every step.

use super::host::Shared;
use super::network::{ConnectionId, Socket};
use super::plan::DEAD_ROOM_TIME;
use std::collections::BTreeMap;
use std::time::Duration;
use switchboard::commands::Ticket;
use switchboard::ids::{QueueKey, RoomNo, SessionNo, TokenMint};
use switchboard::shard::audit::AuditedConnection;
use switchboard::timestamp::Timestamp;

/// A message that a user has sent to its partner.
#[derive(Debug)]
pub(crate) struct SentMessage {
    /// The whole message.
    pub(crate) text: Vec<u8>,
    /// Position of its first frame in the bytes that the sender has sent.
    pub(crate) start: u64,
    /// The room that it names.
    pub(crate) reference: Option<String>,
    /// Number of earlier messages to this room, if the sender knew that it was in the room.
    pub(crate) nth: Option<u32>,
    pub(crate) delivered: bool,
}

/// How a member leaves a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitReason {
    Left,
    Next,
    Gone,
}

/// The `match_found` that one member received.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) user: ConnectionId,
    pub(crate) peer: String,
    pub(crate) initiator: bool,
    pub(crate) queue: String,
    /// Position of the end of `match_found` in the bytes that it has received.
    found_end: u64,
}

/// A room as its members know it.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) members: Vec<Member>,
    /// The member that received `peer_left`.
    peer_left: Option<ConnectionId>,
    /// Messages delivered before `match_found` of their sender was received: sender and position.
    delivered: Vec<(ConnectionId, u64)>,
}

impl Room {
    /// The member with this user.
    pub(crate) fn member(&self, user: ConnectionId) -> Option<&Member> {
        self.members.iter().find(|member| member.user == user)
    }
}

/// The model.
#[derive(Debug)]
pub(crate) struct SessionModel {
    pub(crate) mint: TokenMint,
    /// Sessions by identifier and by number.
    sessions: BTreeMap<String, ConnectionId>,
    numbers: BTreeMap<u64, ConnectionId>,
    pub(crate) rooms: BTreeMap<String, Room>,
    /// Messages that each user has sent.
    pub(crate) relays: Vec<Vec<SentMessage>>,
    /// How users have left rooms, and how many messages they had sent.
    pub(crate) exits: BTreeMap<(ConnectionId, String), Vec<(ExitReason, u32)>>,
    /// Rooms that must have ended when the server has read this many bytes of a user.
    pub(crate) exit_by: BTreeMap<ConnectionId, (String, u64)>,
    /// The rooms of each shard.
    open: Vec<BTreeMap<u64, (String, [ConnectionId; 2])>>,
    /// When each of them was made, on the clock of its shard.
    made: BTreeMap<u64, Timestamp>,
    /// The waiting users of each shard and their queues.
    waiting: Vec<BTreeMap<ConnectionId, QueueKey>>,
    /// Latest positions for the ends of `match_found` and `peer_left` of a room.
    found_by: BTreeMap<(ConnectionId, String), u64>,
    left_by: BTreeMap<(ConnectionId, String), u64>,
    /// The last three partners of each user, the latest first.
    recent_partners: BTreeMap<ConnectionId, Vec<ConnectionId>>,
    /// Number of rooms made by each shard, from its counters.
    rooms_seen: Vec<u64>,
}

impl SessionModel {
    pub(crate) fn new(mint: TokenMint, shards: usize) -> Self {
        SessionModel {
            mint,
            sessions: BTreeMap::new(),
            numbers: BTreeMap::new(),
            rooms: BTreeMap::new(),
            relays: Vec::new(),
            exits: BTreeMap::new(),
            exit_by: BTreeMap::new(),
            open: vec![BTreeMap::new(); shards],
            made: BTreeMap::new(),
            waiting: vec![BTreeMap::new(); shards],
            found_by: BTreeMap::new(),
            left_by: BTreeMap::new(),
            recent_partners: BTreeMap::new(),
            rooms_seen: vec![0; shards],
        }
    }

    /// A client has received `session`.
    pub(crate) fn session_opened(&mut self, user: ConnectionId, session: &str) {
        // The tables do not show a session that ended in the step that opened it.
        let known = *self.sessions.entry(session.to_owned()).or_insert(user);
        assert_eq!(known, user, "the user of session {session}");
    }

    /// The user with this session identifier.
    pub(crate) fn user_of(&self, session: &str) -> ConnectionId {
        *self.sessions.get(session).expect("an unknown identifier")
    }

    /// A client has received `match_found`.
    pub(crate) fn found(&mut self, room: &str, member: Member, shared: &Shared) {
        let user = member.user;
        if let Some(by) = self.found_by.remove(&(user, room.to_owned())) {
            assert!(member.found_end <= by, "match_found of {user} was late");
        }
        let here = self.rooms.entry(room.to_owned()).or_default();
        for (from, start) in &here.delivered {
            if *from == user {
                let read = shared.connections[user].read_when_taken(member.found_end);
                assert!(
                    *start >= read,
                    "a message that {user} sent before its match_found was relayed"
                );
            }
        }
        assert!(here.member(user).is_none(), "{user} is in {room} twice");
        if let Some(other) = here.members.first() {
            assert_ne!(other.initiator, member.initiator, "initiators of {room}");
            assert_eq!(
                other.queue, member.queue,
                "the members of {room} waited in different queues"
            );
            assert_eq!(self.sessions.get(&other.peer), Some(&user), "the peer in {room}");
            assert_eq!(self.sessions.get(&member.peer), Some(&other.user), "the peer in {room}");
        }
        assert_ne!(self.sessions.get(&member.peer), Some(&user), "{user} is matched with itself");
        here.members.push(member);
        assert!(here.members.len() <= 2, "{room} has three members");
    }

    /// Makes a member.
    pub(crate) fn member(
        user: ConnectionId,
        peer: String,
        initiator: bool,
        queue: String,
        found_end: u64,
    ) -> Member {
        Member { user, peer, initiator, queue, found_end }
    }

    /// A message of `from` was received by the other member of `room`.
    pub(crate) fn delivered(
        &mut self,
        room: &str,
        from: ConnectionId,
        nth: usize,
        shared: &Shared,
    ) {
        let relay = &mut self.relays[from][nth];
        assert!(!relay.delivered, "message {nth} of {from} was delivered twice");
        relay.delivered = true;
        assert!(
            relay.reference.as_ref().is_none_or(|reference| reference == room),
            "message {nth} of {from} for {:?} was delivered in {room}",
            relay.reference
        );
        let start = relay.start;
        let here = self.rooms.get_mut(room).expect("a message in an unknown room");
        match here.member(from) {
            Some(member) => {
                let read = shared.connections[from].read_when_taken(member.found_end);
                assert!(
                    start >= read,
                    "a message that {from} sent before its match_found was relayed"
                );
            }
            None => here.delivered.push((from, start)),
        }
    }

    /// A client has received `peer_left`.
    pub(crate) fn peer_left(&mut self, room: &str, user: ConnectionId, end: u64) {
        let here = self.rooms.get_mut(room).expect("peer_left of an unknown room");
        assert_eq!(here.peer_left, None, "peer_left in {room} twice");
        here.peer_left = Some(user);
        if let Some(by) = self.left_by.remove(&(user, room.to_owned())) {
            assert!(end <= by, "peer_left of {room} was late for {user}");
        }
    }

    /// The matcher has paired two tickets.
    pub(crate) fn paired(&self, one: &Ticket, other: &Ticket, shared: &Shared) {
        let user = |ticket: &Ticket| self.numbers.get(&ticket.session.0).copied();
        let again = one.since.max(other.since) + shared.plan.limits.rematch_delay;
        let (one, other) = (user(one), user(other));
        // After a rejected migration, the session of it takes the place of the third partner.
        let faults = &shared.plan.faults;
        let known = if faults.table_full + faults.watch_fails > 0 { 2 } else { 3 };
        for (one, other) in [(one, other), (other, one)] {
            let (Some(one), Some(other)) = (one, other) else { continue };
            let Some(partners) = self.recent_partners.get(&one) else { continue };
            assert!(
                !partners.iter().take(known).any(|partner| *partner == other)
                    || shared.now >= again,
                "{one} and {other} met again too early"
            );
        }
    }

    /// Compares the model with the tables of a shard whose iteration began at `began`.
    pub(crate) fn compare(
        &mut self,
        shard: usize,
        found: &[AuditedConnection<'_, Socket>],
        rooms_made: u64,
        began: Timestamp,
        shared: &mut Shared,
    ) {
        let mut emitted = BTreeMap::new();
        let mut members_by_room: BTreeMap<u64, Vec<ConnectionId>> = BTreeMap::new();
        for one in found {
            let user = one.socket.connection();
            let connection = &shared.connections[user];
            emitted.insert(user, connection.taken_total + one.unsent_bytes as u64);
            if let Some(SessionNo(number)) = one.session {
                assert!(!connection.end_read, "the session of {user} outlives its connection");
                if self.numbers.insert(number, user).is_none() {
                    let session = self.mint.session(SessionNo(number)).as_str().to_owned();
                    self.sessions.insert(session, user);
                }
            }
            if let Some(RoomNo(number)) = one.room {
                members_by_room.entry(number).or_default().push(user);
            }
        }
        let before = std::mem::take(&mut self.open[shard]);
        let mut after = BTreeMap::new();
        let mut new = 0;
        let waits =
            |one: &AuditedConnection<'_, Socket>| Some((one.socket.connection(), one.queue?));
        self.waiting[shard] = found.iter().filter_map(waits).collect();
        for (number, users) in members_by_room {
            let users: [ConnectionId; 2] = users.try_into().expect("a room has two members");
            let token = match before.get(&number) {
                Some((token, _)) => token.clone(),
                None => {
                    new += 1;
                    self.made.insert(number, began);
                    let token = self.mint.room(RoomNo(number)).as_str().to_owned();
                    for user in users {
                        check_not_silent(user, began, shared);
                        self.found_by.insert((user, token.clone()), emitted[&user]);
                    }
                    token
                }
            };
            check_not_dead(users, self.made[&number], began, shared);
            for user in users {
                if let Some((room, by)) = self.exit_by.get(&user) {
                    let read = shared.connections[user].read_total >= *by;
                    assert!(!read || *room != token, "{user} has left {room}, which goes on");
                }
            }
            after.insert(number, (token, users));
        }
        for (number, (token, users)) in &before {
            if after.contains_key(number) {
                continue;
            }
            self.made.remove(number);
            shared.counts.count("room ended");
            for (user, other) in [(users[0], users[1]), (users[1], users[0])] {
                let partners = self.recent_partners.entry(user).or_default();
                partners.retain(|partner| *partner != other);
                partners.insert(0, other);
                partners.truncate(3);
                if let Some(end) = emitted.get(&user) {
                    self.left_by.insert((user, token.clone()), *end);
                }
            }
        }
        if rooms_made != self.rooms_seen[shard] + new {
            // A room ended in the step that made it, so its members are unknown.
            shared.counts.count("room ended at once");
            self.recent_partners.clear();
        }
        self.rooms_seen[shard] = rooms_made;
        self.open[shard] = after;
    }

    /// A session enters a ticket: its time must be that of the read that brought the request.
    pub(crate) fn entered(&self, ticket: &Ticket, shared: &Shared) {
        let user = self.numbers.get(&ticket.session.0);
        // Input behind pipelined HTTP requests may have waited.
        let read = user.is_none_or(|user| {
            let connection = &shared.connections[*user];
            connection.pipelined || connection.was_read_at(ticket.since)
        });
        assert!(read, "{ticket:?} does not have the time of the request of {user:?}");
    }

    /// The room of a user, from the tables of the shards.
    pub(crate) fn room_of(&self, user: ConnectionId) -> Option<&str> {
        let mut all = self.open.iter().flat_map(|shard| shard.values());
        all.find(|(_, users)| users.contains(&user)).map(|(token, _)| token.as_str())
    }

    /// The queue of a user, from the tables of the shards.
    pub(crate) fn queue_of(&self, user: ConnectionId) -> Option<QueueKey> {
        self.waiting.iter().find_map(|shard| shard.get(&user)).copied()
    }
}

/// A session whose client has been silent for the liveness window is not matched.
fn check_not_silent(user: ConnectionId, now: Timestamp, shared: &Shared) {
    let window = shared.plan.limits.liveness_window;
    // A shard does not count the time by which a clock jumps.
    if window.is_zero() || shared.plan.faults.clock_jump > 0 {
        return;
    }
    // The server counts whole milliseconds, and with another clock after a migration.
    let tolerance = Duration::from_millis(3);
    let silence = shared.connections[user].silence(now);
    assert!(silence <= window + tolerance, "{user} is matched although silent for {silence:?}");
}

/// A room ends in time if one of its members has been silent since the match.
fn check_not_dead(users: [ConnectionId; 2], made: Timestamp, now: Timestamp, shared: &Shared) {
    if !shared.plan.has_reported_dead_rooms() {
        return;
    }
    for user in users {
        let connection = &shared.connections[user];
        let is_silent = connection.last_read <= made;
        let since = made.max(connection.last_delivered);
        assert!(
            !is_silent || now.since(since) <= DEAD_ROOM_TIME,
            "{user} has been silent since its match, and its partner was not told"
        );
    }
}
