//! What is known of all sessions and rooms together, from what clients were told and from what
//! the shards' own books say after every step.

use super::host::Shared;
use super::network::{ConnectionId, Socket};
use std::collections::BTreeMap;
use switchboard::commands::Ticket;
use switchboard::ids::{QueueKey, RoomNo, SessionNo, TokenMint};
use switchboard::shard::audit::AuditedConnection;
use switchboard::timestamp::Timestamp;

/// Something sent to be relayed.
#[derive(Debug)]
pub(crate) struct SentMessage {
    /// The whole message.
    pub(crate) text: Vec<u8>,
    /// Where its first frame begins in what its sender has written.
    pub(crate) start: u64,
    /// The room it names.
    pub(crate) reference: Option<String>,
    /// How many with this reference, sent by one who knew the room, came before.
    pub(crate) nth: Option<u32>,
    pub(crate) delivered: bool,
}

/// How somebody leaves a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitReason {
    Left,
    Next,
    Gone,
}

/// What one member was told of a room.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) user: ConnectionId,
    pub(crate) peer: String,
    pub(crate) initiator: bool,
    pub(crate) queue: String,
    /// Where its `match_found` ends in what it was sent.
    found_end: u64,
}

/// A room as its members were told of it.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) members: Vec<Member>,
    /// Who was told that the other has left.
    peer_left: Option<ConnectionId>,
    /// What went from one member to the other: the sender, and where the message began.
    delivered: Vec<(ConnectionId, u64)>,
}

impl Room {
    /// Its member.
    pub(crate) fn member(&self, user: ConnectionId) -> Option<&Member> {
        self.members.iter().find(|member| member.user == user)
    }
}

/// Everything that is known.
#[derive(Debug)]
pub(crate) struct SessionModel {
    pub(crate) mint: TokenMint,
    /// Sessions by identifier and by number.
    sessions: BTreeMap<String, ConnectionId>,
    numbers: BTreeMap<u64, ConnectionId>,
    pub(crate) rooms: BTreeMap<String, Room>,
    /// What each user has sent.
    pub(crate) relays: Vec<Vec<SentMessage>>,
    /// How users have left rooms: with how many messages sent before.
    pub(crate) exits: BTreeMap<(ConnectionId, String), Vec<(ExitReason, u32)>>,
    /// Rooms that must have ended once the server has read so much of a user.
    pub(crate) exit_by: BTreeMap<ConnectionId, (String, u64)>,
    /// The rooms of each shard.
    open: Vec<BTreeMap<u64, (String, [ConnectionId; 2])>>,
    /// Who waits on each shard, and where.
    waiting: Vec<BTreeMap<ConnectionId, QueueKey>>,
    /// Who on each shard remembers a former partner.
    with_recent_partner: Vec<Vec<ConnectionId>>,
    /// Where `match_found` and `peer_left` of a room have to end in what a user is sent.
    found_by: BTreeMap<(ConnectionId, String), u64>,
    left_by: BTreeMap<(ConnectionId, String), u64>,
    /// Whom each last shared a room with, and when that ended.
    recent_partner: BTreeMap<ConnectionId, (ConnectionId, Timestamp)>,
    /// Rooms made, by each shard's own count.
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
            waiting: vec![BTreeMap::new(); shards],
            with_recent_partner: vec![Vec::new(); shards],
            found_by: BTreeMap::new(),
            left_by: BTreeMap::new(),
            recent_partner: BTreeMap::new(),
            rooms_seen: vec![0; shards],
        }
    }

    /// A client was told its identifier.
    pub(crate) fn session_opened(&mut self, user: ConnectionId, session: &str) {
        // The books do not show one that ended in the step that opened it.
        let known = *self.sessions.entry(session.to_owned()).or_insert(user);
        assert_eq!(known, user, "whose session {session} is");
    }

    /// Whose identifier it is.
    pub(crate) fn user_of(&self, session: &str) -> ConnectionId {
        *self.sessions.get(session).expect("an identifier that nobody has")
    }

    /// A client was told of a room. `end` is where the message ends in what it was sent.
    pub(crate) fn found(&mut self, room: &str, member: Member, shared: &Shared) {
        let user = member.user;
        if let Some(by) = self.found_by.remove(&(user, room.to_owned())) {
            assert!(member.found_end <= by, "match_found of {user} was late");
        }
        let here = self.rooms.entry(room.to_owned()).or_default();
        for (from, start) in &here.delivered {
            if *from == user {
                let read = shared.connections[user].read_when_taken(member.found_end);
                assert!(*start >= read, "what {user} had sent before its match_found was relayed");
            }
        }
        assert!(here.member(user).is_none(), "{user} is in {room} twice");
        if let Some(other) = here.members.first() {
            assert_ne!(other.initiator, member.initiator, "initiators of {room}");
            assert_eq!(other.queue, member.queue, "the two of {room} wait in different queues");
            assert_eq!(self.sessions.get(&other.peer), Some(&user), "the peer in {room}");
            assert_eq!(self.sessions.get(&member.peer), Some(&other.user), "the peer in {room}");
        }
        assert_ne!(self.sessions.get(&member.peer), Some(&user), "{user} meets itself");
        here.members.push(member);
        assert!(here.members.len() <= 2, "{room} has three members");
    }

    /// What there is to tell of a member.
    pub(crate) fn member(
        user: ConnectionId,
        peer: String,
        initiator: bool,
        queue: String,
        found_end: u64,
    ) -> Member {
        Member { user, peer, initiator, queue, found_end }
    }

    /// A message of `from` came to the other member of `room`.
    pub(crate) fn delivered(
        &mut self,
        room: &str,
        from: ConnectionId,
        nth: usize,
        shared: &Shared,
    ) {
        let relay = &mut self.relays[from][nth];
        assert!(!relay.delivered, "message {nth} of {from} comes twice");
        relay.delivered = true;
        assert!(
            relay.reference.as_ref().is_none_or(|reference| reference == room),
            "message {nth} of {from} for {:?} comes into {room}",
            relay.reference
        );
        let start = relay.start;
        let here = self.rooms.get_mut(room).expect("a message in a room that nobody knows");
        match here.member(from) {
            Some(member) => {
                let read = shared.connections[from].read_when_taken(member.found_end);
                assert!(start >= read, "what {from} had sent before its match_found was relayed");
            }
            None => here.delivered.push((from, start)),
        }
    }

    /// A client was told that the other member is gone.
    pub(crate) fn peer_left(&mut self, room: &str, user: ConnectionId, end: u64) {
        let here = self.rooms.get_mut(room).expect("peer_left of a room that nobody knows");
        assert_eq!(here.peer_left, None, "peer_left in {room} twice");
        here.peer_left = Some(user);
        if let Some(by) = self.left_by.remove(&(user, room.to_owned())) {
            assert!(end <= by, "peer_left of {room} came late to {user}");
        }
    }

    /// The matcher pairs two tickets.
    pub(crate) fn paired(&self, one: &Ticket, other: &Ticket, shared: &Shared) {
        let user = |ticket: &Ticket| self.numbers.get(&ticket.session.0).copied();
        let (one, other) = (user(one), user(other));
        for (one, other) in [(one, other), (other, one)] {
            let Some(one) = one else { continue };
            let Some((from, at)) = self.recent_partner.get(&one) else { continue };
            let again = *at + shared.plan.limits.rematch_delay;
            assert!(
                Some(*from) != other || shared.now >= again,
                "{one} and {other:?} have just shared a room"
            );
        }
    }

    /// Compares with the books of a shard, whose turn began at `turn`.
    pub(crate) fn compare(
        &mut self,
        shard: usize,
        found: &[AuditedConnection<'_, Socket>],
        rooms_made: u64,
        turn: Timestamp,
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
        let remembered = found.iter().filter(|one| one.has_recent_partner);
        self.with_recent_partner[shard] = remembered.map(|one| one.socket.connection()).collect();
        for (number, users) in members_by_room {
            let users: [ConnectionId; 2] = users.try_into().expect("a room has two members");
            let token = match before.get(&number) {
                Some((token, _)) => token.clone(),
                None => {
                    new += 1;
                    let token = self.mint.room(RoomNo(number)).as_str().to_owned();
                    for user in users {
                        self.found_by.insert((user, token.clone()), emitted[&user]);
                        self.recent_partner.remove(&user);
                    }
                    token
                }
            };
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
            shared.counts.count("room ended");
            for (user, other) in [(users[0], users[1]), (users[1], users[0])] {
                self.recent_partner.insert(user, (other, turn));
                if let Some(end) = emitted.get(&user) {
                    self.left_by.insert((user, token.clone()), *end);
                }
            }
        }
        if rooms_made != self.rooms_seen[shard] + new {
            // One that ended in the step that made it: nobody knows who has just recent_partner.
            shared.counts.count("room ended at once");
            self.recent_partner.clear();
        }
        self.rooms_seen[shard] = rooms_made;
        self.open[shard] = after;
    }

    /// A session enters a ticket: its place is that of the moment when it was read to want one.
    pub(crate) fn entered(&self, ticket: &Ticket, shared: &Shared) {
        let user = self.numbers.get(&ticket.session.0);
        // What was read behind plain requests may have had to wait.
        let read = user.is_none_or(|user| {
            let connection = &shared.connections[*user];
            connection.pipelined || connection.was_read_at(ticket.since)
        });
        assert!(read, "{ticket:?} is not from when {user:?} pending for it");
    }

    /// Users who remembered a former partner, though that was over at `then`.
    pub(crate) fn with_recent_partner(&self, then: Timestamp) -> Vec<ConnectionId> {
        let long_ago =
            |user: &ConnectionId| self.recent_partner.get(user).is_none_or(|(_, at)| *at < then);
        self.with_recent_partner.iter().flatten().copied().filter(long_ago).collect()
    }

    /// The room that a user is in, by the shards' books.
    pub(crate) fn room_of(&self, user: ConnectionId) -> Option<&str> {
        let mut all = self.open.iter().flat_map(|shard| shard.values());
        all.find(|(_, users)| users.contains(&user)).map(|(token, _)| token.as_str())
    }

    /// Where a user waits, by the shards' books.
    pub(crate) fn queue_of(&self, user: ConnectionId) -> Option<QueueKey> {
        self.waiting.iter().find_map(|shard| shard.get(&user)).copied()
    }
}
