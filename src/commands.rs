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

use crate::ids::{QueueKey, SessionAddress, SessionNo, ShardId, TicketNo};
use crate::timestamp::Timestamp;

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
    /// The partner that this session should not meet again yet.
    pub recent_partner: Option<RecentPartner>,
}

/// A session that should not be paired with until a given time, if that can be avoided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentPartner {
    /// The session to avoid.
    pub session: SessionNo,
    /// From this time on the two may be paired again.
    pub until: Timestamp,
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

/// What a migration to another shard is for. The destination fulfils the purpose when it has
/// taken the session in. If it rejects the session, the purpose comes back with the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPurpose {
    /// Share a room with a session of the destination. The session that migrates is the mover.
    MeetPartner(Pairing),
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
    /// From the main thread: begin the graceful shutdown.
    StartDrain,
    /// From the main thread: end the thread. Sent when no shard has connections or migrations in
    /// flight, or when the time for the shutdown is up.
    Stop,
}
