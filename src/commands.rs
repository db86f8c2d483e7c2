//! The letters between the shards and the matcher. Pure values.
//!
//! A session has at most one [`MatcherCommand`] letter under way; every such letter is answered
//! with exactly one [`Reply`], and only then does the session's shard write the next
//! (which says what the session wants by then). So whatever clients do, the matcher's
//! mailbox holds at most one letter for each session.
//!
//! Only a session's own shard knows whether a ticket is still live. A match that finds one
//! of its two tickets dead is off, and the other one's shard hands its ticket in again with
//! its first timestamp.

use crate::ids::{QueueKey, SessionAddress, SessionNo, ShardId, TicketNo};
use crate::timestamp::Timestamp;

/// An open `find_match`, with all that the matcher needs to know of the session behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Where the session is, for as long as this ticket lies in a queue.
    pub holder: SessionAddress,
    /// Which of the session's tickets this is.
    pub number: TicketNo,
    /// Whose it is.
    pub session: SessionNo,
    /// What it waits for.
    pub queue: QueueKey,
    /// When its wait began; decides its place in the queue.
    pub since: Timestamp,
    /// The session it last shared a room with, and until when others come first.
    pub recent_partner: Option<RecentPartner>,
}

/// Two who just shared a room are not paired again until `until` if that can be avoided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentPartner {
    /// The former partner.
    pub from: SessionNo,
    /// From this moment on they may meet again.
    pub until: Timestamp,
}

/// Where in the matcher's books a ticket lies. Only good together with the ticket's number
/// and holder: places are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TicketHandle(pub u32);

/// From a shard to the matcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatcherCommand {
    /// Put this ticket in its queue, and take out the session's earlier one, if any.
    Enter {
        /// The ticket.
        ticket: Ticket,
        /// Where the session's earlier ticket lies.
        replaces: Option<(TicketHandle, TicketNo)>,
    },
    /// Take this ticket out, if it is still there.
    Leave {
        /// Whose ticket it is: the reply goes there.
        holder: SessionAddress,
        /// Where it lies.
        handle: TicketHandle,
        /// Which it is.
        number: TicketNo,
    },
    /// From the main thread, when the shards have ended.
    Stop,
}

/// What the matcher answers to every [`MatcherCommand`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The session that wrote.
    pub holder: SessionAddress,
    /// What became of its letter.
    pub outcome: Outcome,
}

/// What became of a [`MatcherCommand`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The matcher keeps the ticket that was entered.
    Kept(TicketHandle, TicketNo),
    /// The ticket that was entered is in a [`Pairing`] already.
    Paired(TicketNo),
    /// The matcher keeps nothing for the session, as it wished.
    Left,
}

/// Two tickets that the matcher took out of a queue to make a room of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pairing {
    /// Its session moves to the other's shard. The letter goes to its shard.
    pub mover: Ticket,
    /// Its session stays where it is; the room will be there.
    pub home: Ticket,
}

/// To a shard. `T` is a session on its way from one shard to another, with its connection
/// and all that belongs to it, as one value. `S` is its socket.
#[derive(Debug)]
pub enum ShardCommand<T, S> {
    /// The matcher's answer.
    Reply(Reply),
    /// To the mover's shard, from the matcher: these two get a room.
    Pair(Pairing),
    /// To the home shard, from the mover's: the mover is gone, so nothing comes of the pairing
    /// of this ticket.
    MoverGone(Ticket),
    /// To the home shard: here is the mover.
    Arrive {
        /// Where it comes from; that shard counts it as its own until it hears [`ShardCommand::Arrived`].
        from: ShardId,
        /// The session.
        migrating_session: T,
        /// What it comes for.
        pairing: Pairing,
    },
    /// To the mover's old shard: it is not yours any more.
    Arrived {
        /// Where it waits or waited.
        queue: QueueKey,
        /// Its socket as it was in the letter, if the new shard has a copy of its own: the old
        /// shard may now let go of it.
        left: Option<S>,
    },
    /// To the mover's old shard: its new one could not take it.
    MigrationRejected {
        /// The session.
        migrating_session: T,
        /// Its ticket.
        mover: Ticket,
    },
    /// From the main thread: shut down gracefully.
    Quiesce,
    /// From the main thread, once no shard has connections or moves under way, or time is up.
    Stop,
}
