//! The commands that shards, the matcher and the main thread send each other. Pure values.
//!
//! A session has at most one [`MatcherCommand`] in flight. The matcher answers each one with
//! exactly one [`MatcherReply`], and only then does the session's shard send the next, which
//! states what the session wants by then. So the matcher's mailbox holds at most one command for
//! each session, whatever clients do.
//!
//! Only the shard that owns a session knows whether a ticket of that session is still live. The
//! matcher sends a pairing to the shard of the home's ticket, which checks that ticket and passes
//! the pairing on to the shard of the mover's, so that no session migrates in vain.
//! A pairing that contains a dead ticket is cancelled, and the shard of the other ticket queues
//! that ticket again with its first timestamp.

use crate::ice::IceServers;
use crate::ids::{QueueKey, SessionAddress, SessionNo, ShardId, TicketNo};
use crate::limits::RECENT_PARTNERS;
use crate::timestamp::Timestamp;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// An open `find_match`, with everything that the matcher has to know about its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The session that waits, valid for as long as this ticket is queued.
    pub holder: SessionAddress,
    /// Distinguishes this ticket from earlier ones of the same session.
    pub number: TicketNo,
    /// The number of the session that waits.
    pub session: SessionNo,
    /// The queue in which it waits.
    pub queue: QueueKey,
    /// When the wait began, which decides the position in the queue.
    pub since: Timestamp,
    /// The sessions that this one should not meet at once.
    pub recent_partners: RecentPartners,
    /// How long after `since` this session may meet one of its recent partners, in milliseconds.
    pub apart_ms: u32,
}

impl Ticket {
    /// How long the session stays apart from its recent partners.
    pub const fn apart(&self) -> Duration {
        Duration::from_millis(self.apart_ms as u64)
    }
}

/// Stands for a session in the tickets of its recent partners: 32 bits of its number, mixed so that
/// numbers that count up differ in them. If two sessions happen to have the same mark, once in
/// 2³² pairs, a ticket is kept apart from a stranger for a moment too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartnerMark(NonZeroU32);

impl PartnerMark {
    /// The mark of a session.
    #[inline]
    pub const fn of(session: SessionNo) -> Self {
        // 2⁶⁴ divided by the golden ratio (Knuth, The Art of Computer Programming, 6.4).
        let mixed = session.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        match NonZeroU32::new(mixed as u32) {
            Some(mark) => PartnerMark(mark),
            None => PartnerMark(NonZeroU32::MIN),
        }
    }
}

/// The last partners of a session, the latest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecentPartners([Option<PartnerMark>; RECENT_PARTNERS]);

impl RecentPartners {
    /// Puts a session first. If there are too many then, the one that was met longest ago is
    /// forgotten.
    pub fn remember(&mut self, session: SessionNo) {
        let mark = Some(PartnerMark::of(session));
        let known = self.0.iter().position(|one| *one == mark);
        self.0[..=known.unwrap_or(RECENT_PARTNERS - 1)].rotate_right(1);
        self.0[0] = mark;
    }

    /// Whether this session is one of them.
    #[inline]
    pub fn includes(&self, session: SessionNo) -> bool {
        let mark = Some(PartnerMark::of(session));
        self.0.contains(&mark)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The index of a ticket in the matcher's tables. Indices are reused, so a handle is valid only
/// together with the number and the holder of the ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TicketHandle(pub u32);

/// A command to the matcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatcherCommand {
    /// Queue this ticket, and remove the earlier ticket of the same session, if there is one.
    Enter {
        /// The ticket.
        ticket: Ticket,
        /// The session's earlier ticket.
        replaces: Option<(TicketHandle, TicketNo)>,
    },
    /// Remove this ticket, if it is still queued.
    Leave {
        /// The session that the ticket belongs to, and that gets the reply.
        holder: SessionAddress,
        /// Where the ticket is.
        handle: TicketHandle,
        /// Which ticket it is.
        number: TicketNo,
    },
    /// From the main thread, when all shards have ended.
    Stop,
}

/// The matcher's answer to [`MatcherCommand::Enter`] and [`MatcherCommand::Leave`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatcherReply {
    /// The session for which the command was sent.
    pub holder: SessionAddress,
    /// The result of the command.
    pub outcome: MatcherOutcome,
}

/// The result of a [`MatcherCommand`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatcherOutcome {
    /// The ticket is queued.
    Queued(TicketHandle, TicketNo),
    /// The ticket has already been taken out again for a [`Pairing`].
    Paired(TicketNo),
    /// The session has no ticket in the matcher.
    Removed,
}

/// Two tickets that the matcher took out of a queue to make a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pairing {
    /// The ticket of the session that migrates to the shard of the other one.
    pub mover: Ticket,
    /// The ticket of the session that stays on its shard, where the room will be. The pairing is
    /// sent to the shard that owns this session.
    pub home: Ticket,
}

/// The two parts in a [`Pairing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairingRole {
    /// The session that stays.
    Home,
    /// The session that migrates.
    Mover,
}

/// Among which connections some are evicted: those that the limit which has been reached is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionScope {
    /// All connections of the process.
    AllConnections,
    /// Those that are counted for this address.
    OfAddress(IpAddr),
}

/// What a shard is asked to close, because a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictionRequest {
    /// Among which connections.
    pub scope: EvictionScope,
    /// At most this many idle HTTP connections. If none of them can be closed, the session is closed
    /// that has been silent longest.
    pub idle: usize,
}

/// What a migration to another shard is for. The destination fulfils the purpose when it has
/// taken the session in. If it rejects the session, the purpose comes back with the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPurpose {
    /// Share a room with a session of the destination. The session that migrates is the mover.
    MeetPartner(Pairing),
}

/// The settings that come from files, read when the server started or when it received SIGHUP.
#[derive(Debug, Default)]
pub struct ReloadedSettings {
    /// The STUN and TURN servers for clients, with the secret shared with TURN servers.
    pub ice_servers: IceServers,
}

/// A command to a shard. `M` is a session in migration with its connection, and `S` the socket
/// of a connection.
#[derive(Debug)]
pub enum ShardCommand<M, S> {
    /// From the matcher: the answer to a command.
    Reply(MatcherReply),
    /// From the matcher to the home shard: make a room for these two.
    Pair(Pairing),
    /// From the home shard to the mover's shard: the home's ticket is live, so the mover migrates
    /// if its own is live too.
    PairConfirmed(Pairing),
    /// Between the two shards of a pairing: it was cancelled because the ticket on the sending
    /// shard is dead.
    PairingCancelled {
        /// The ticket on the receiving shard.
        survivor: Ticket,
        /// What that ticket was in the pairing.
        role: PairingRole,
    },
    /// To another shard: take this session in.
    MigrateIn {
        /// The shard that the session comes from. It goes on counting the session until it
        /// receives [`ShardCommand::MigrationCompleted`] or [`ShardCommand::MigrationRejected`].
        from: ShardId,
        /// The session.
        migrating: M,
        /// What the session comes for.
        purpose: MigrationPurpose,
    },
    /// To the shard that the session came from: the destination owns the session now.
    MigrationCompleted {
        /// The queue in which the session waits.
        waiting_in: Option<QueueKey>,
        /// The socket as it was in [`ShardCommand::MigrateIn`], if the destination has duplicated
        /// it into its own descriptor table. The receiver closes it.
        left_behind: Option<S>,
    },
    /// To the shard that the session came from: the destination could not take it in.
    MigrationRejected {
        /// The session.
        migrating: M,
        /// The purpose of the migration.
        purpose: MigrationPurpose,
    },
    /// From the main thread: these settings were read again and replace those in force.
    Reload(Arc<ReloadedSettings>),
    /// From a shard that refused a connection: close connections that are idle or suspect.
    Evict(EvictionRequest),
    /// From the main thread: begin the graceful shutdown.
    StartDrain,
    /// From the main thread: end the thread. Sent when no shard has connections or migrations in
    /// flight, or when the time for the shutdown is up.
    Stop,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_last_partners_each_once() {
        let mut partners = RecentPartners::default();
        let known = |partners: &RecentPartners| -> Vec<u64> {
            (1..=6).filter(|session| partners.includes(SessionNo(*session))).collect()
        };
        for (met, expected) in
            [(1, &[1][..]), (2, &[1, 2]), (3, &[1, 2, 3]), (1, &[1, 2, 3]), (4, &[1, 3, 4])]
        {
            partners.remember(SessionNo(met));
            assert_eq!(known(&partners), expected);
        }
        assert!(RecentPartners::default().is_empty() && !partners.is_empty());
        assert_eq!(size_of::<RecentPartners>(), 12);
    }

    #[test]
    fn marks_of_sessions_that_are_numbered_in_turn_differ() {
        let sessions = (0..4u64).flat_map(|shard| (1..50_000).map(move |nth| shard << 48 | nth));
        let marks: std::collections::HashSet<_> =
            sessions.map(|number| PartnerMark::of(SessionNo(number)).0).collect();
        // Of random marks, about four pairs would be equal.
        assert!(marks.len() > 4 * 49_999 - 20, "{}", marks.len());
    }
}
