//! One connection as the slab holds it. Pure. Its size is what an idle user costs, so whatever
//! only a busy one needs is in [`Extra`], which exists just as long.

use crate::commands::ShardCommand;
use crate::ids::Serial;
use crate::limits::CONNECTION_ENTRY_BYTES;
use crate::session::Session;
use crate::telemetry::labels::EndReason;
use crate::wire::egress::Egress;
use crate::wire::http::{HeadScan, RefusalCause};
use crate::wire::websocket::assembly::PartialMessage;
use std::net::IpAddr;
use std::num::NonZeroU32;

/// A connection of a shard. In a cache line of its own: a relayed message touches two of them.
#[derive(Debug)]
#[repr(align(64))]
pub struct Connection<S> {
    /// Its socket.
    pub socket: S,
    /// Its number, to tell it from others in the same slot.
    pub serial: Serial,
    /// When something last came from it, or it took more of what waits for it, in milliseconds on
    /// the shard's patient clock.
    pub heard_ms: u32,
    /// Where its address is in the shard's list of addresses, if those are counted.
    pub address: Option<AddressRef>,
    /// How many messages it has sent lately.
    pub rate: Rate,
    /// What it needs while something is incomplete.
    pub extra: Option<Box<Extra>>,
    /// What it is.
    pub role: Role,
}

/// A place in the shard's list of addresses, plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRef(pub NonZeroU32);

/// What a connection is used for. It begins as [`Role::Http`].
#[derive(Debug)]
pub enum Role {
    /// Requests are read from it.
    Http(Http),
    /// A user is connected through it.
    User(Session),
    /// Every message comes back.
    Echo,
    /// Nothing more is said; what still comes is dropped, so that what was said arrives.
    Lingering(Lingering),
}

/// A connection that speaks HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Http {
    /// When it was accepted, or its last request was answered.
    pub since_ms: u32,
    /// Why it cannot become a session, if it is one connection too many.
    pub surplus: Option<RefusalCause>,
    /// Who tells whose it is.
    pub via: Via,
}

/// Who tells whose connection one is that speaks HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Nobody has to: that was settled when it was accepted. It has made no request yet.
    Newcomer,
    /// Nobody has to, any more: it has made a request, or a PROXY protocol header has told.
    Direct,
    /// A trusted proxy, from which nothing has come yet: it may begin with such a header.
    Proxy,
    /// A trusted proxy, by what stands in each request.
    Forwarding,
    /// Nobody: it came to `--admin-listen`.
    Admin,
}

/// A connection that is about to end.
#[derive(Clone, Copy, Debug)]
pub struct Lingering {
    /// When it began to.
    pub since_ms: u32,
    /// Whether it came to `--admin-listen`.
    pub admin: bool,
    /// How many more bytes are dropped.
    pub bytes_left: u32,
    /// Why it ends.
    pub reason: EndReason,
}

/// The message rate of one connection: how many messages came since a second began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    since_ms: u32,
    /// The number of messages; below it, in [`Rate::QUIET_BITS`], for how many milliseconds from
    /// `since_ms` on the client is not told again.
    count: u32,
}

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It is within the rate.
    Allowed,
    /// It is dropped, and the client is told.
    Refused,
    /// It is dropped; the client was told less than a second ago.
    RefusedSilently,
}

impl Rate {
    /// The clock that it is counted by is another from here on, which is so much ahead.
    pub fn shift(&mut self, ahead_ms: u32) {
        self.since_ms = self.since_ms.wrapping_add(ahead_ms);
    }

    /// After the client was told: a second, and what the clock's rounding may take from it.
    const QUIET_MS: u32 = 1001;
    /// Enough for the rest of one second and all of the next.
    const QUIET_BITS: u32 = 11;
    /// Nobody sends more messages than can be counted; a limit above that is none.
    const MOST: u32 = u32::MAX >> Self::QUIET_BITS;

    /// Counts a message that comes at `now_ms`, of `most` allowed within a second.
    pub fn count(&mut self, now_ms: u32, most: NonZeroU32) -> Pace {
        let mut passed = now_ms.wrapping_sub(self.since_ms);
        let mut quiet = self.count & ((1 << Self::QUIET_BITS) - 1);
        let mut messages = self.count >> Self::QUIET_BITS;
        if passed >= 1000 {
            quiet = quiet.saturating_sub(passed);
            (self.since_ms, passed, messages) = (now_ms, 0, 0);
        }
        let pace = if messages < most.get() {
            messages = (messages + 1).min(Self::MOST);
            Pace::Allowed
        } else if passed < quiet {
            Pace::RefusedSilently
        } else {
            quiet = passed + Self::QUIET_MS;
            Pace::Refused
        };
        self.count = (messages << Self::QUIET_BITS) | quiet;
        pace
    }
}

/// What a connection needs only while something of it is incomplete.
#[derive(Debug, Default)]
pub struct Extra {
    /// The beginning of a message.
    pub held: Option<Box<PartialMessage>>,
    /// What the kernel has not taken yet.
    pub egress: Egress,
    /// Whether that is a lone `waiting`, which the kernel has not been offered: it goes out with
    /// what the matcher answers, as one.
    pub held_back: bool,
    /// The beginning of a request head; or bytes that were read and have to wait.
    pub head: Vec<u8>,
    /// How far `head` has been searched.
    pub scan: HeadScan,
    /// Whether what is in `head` waits for nothing but its turn, or for what went before it to
    /// be sent. Until it has been dealt with, nothing more is read.
    pub backlog: bool,
}

impl Extra {
    /// Whether none of it is needed any more.
    pub fn is_idle(&self) -> bool {
        self.held.is_none() && self.egress.is_empty() && self.head.is_empty()
    }

    /// Bytes of memory kept for what came in incomplete.
    pub fn held_bytes(&self) -> usize {
        self.head.capacity() + self.held.as_ref().map_or(0, |held| held.memory_bytes())
    }
}

impl<S> Connection<S> {
    /// Whether bytes wait for the kernel to take them.
    #[inline]
    pub fn has_unsent(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| !extra.egress.is_empty())
    }

    /// Whether what is unsent waits for the matcher, and not for the kernel.
    #[inline]
    pub fn is_held_back(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.held_back)
    }

    /// Bytes that wait for the kernel to take them.
    pub fn unsent_bytes(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.egress.unsent_len())
    }

    /// Bytes of memory kept for what came in incomplete.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.held_bytes())
    }

    /// Whether the client's `match_found` has not been sent whole: until then, what it sends
    /// cannot be meant for its partner.
    #[inline]
    pub fn announcement_pending(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.egress.is_match_found_unsent())
    }

    /// The extra part, made if it is not there.
    pub fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Gives the extra part back when nothing is in it.
    #[inline]
    pub fn trim(&mut self) {
        if self.extra.as_ref().is_some_and(|extra| extra.is_idle()) {
            self.extra = None;
        }
    }

    /// Whether it came to `--admin-listen`. Such a one never becomes anybody's session.
    pub fn is_admin(&self) -> bool {
        match &self.role {
            Role::Http(http) => http.via == Via::Admin,
            Role::Lingering(lingering) => lingering.admin,
            Role::User(_) | Role::Echo => false,
        }
    }

    /// The session, if it is a user's connection.
    #[inline]
    pub fn session(&self) -> Option<&Session> {
        match &self.role {
            Role::User(session) => Some(session),
            Role::Http(_) | Role::Echo | Role::Lingering(_) => None,
        }
    }

    /// The session, to be changed.
    #[inline]
    pub fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.role {
            Role::User(session) => Some(session),
            Role::Http(_) | Role::Echo | Role::Lingering(_) => None,
        }
    }
}

/// What a shard is written to.
pub type Letter<S> = ShardCommand<MigratingSession<S>, S>;

/// A user on the way to another shard: all that belongs to it, as one value.
#[derive(Debug)]
pub struct MigratingSession<S> {
    /// The connection; its serial and address reference mean nothing on the way.
    pub connection: Box<Connection<S>>,
    /// Its address, if addresses are counted.
    pub address: Option<IpAddr>,
    /// When it left, in milliseconds on the clock of the shard it left: what it remembers of
    /// times is on that clock.
    pub left_ms: u32,
    /// For how long the sweep there had not come by when it left.
    pub unseen_ms: u32,
    /// Whether reading it was cut short.
    pub has_work: bool,
}

/// A slab entry, as far as its size goes: the slab's own type is private.
#[cfg(not(debug_assertions))]
#[expect(dead_code, reason = "only its size matters")]
enum Entry {
    Vacant(usize),
    // In a debug build mio's socket is larger.
    Occupied(Connection<super::socket::ShardSocket>),
}

#[cfg(not(debug_assertions))]
const _: () = assert!(size_of::<Entry>() <= CONNECTION_ENTRY_BYTES);
const _: () = assert!(size_of::<Connection<u32>>() <= CONNECTION_ENTRY_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_allows_so_many_a_second_and_complains_once() {
        let two = NonZeroU32::new(2).unwrap();
        let mut rate = Rate::default();
        let mut at = |ms| rate.count(ms, two);
        assert_eq!([at(5000), at(5001), at(5002)], [Pace::Allowed, Pace::Allowed, Pace::Refused]);
        assert_eq!(at(5999), Pace::RefusedSilently);
        assert_eq!([at(6000), at(6000), at(6999)], [Pace::Allowed, Pace::Allowed, Pace::Refused]);
        assert_eq!(at(u32::MAX), Pace::Allowed);
        assert_eq!(at(2), Pace::Allowed, "the clock wraps");
        assert_eq!(at(3), Pace::Refused);
    }

    #[test]
    fn nobody_is_told_twice_within_a_second_though_another_has_begun() {
        let one = NonZeroU32::MIN;
        let mut rate = Rate::default();
        let mut at = |ms| rate.count(ms, one);
        assert_eq!([at(5000), at(5900)], [Pace::Allowed, Pace::Refused]);
        assert_eq!([at(6000), at(6899)], [Pace::Allowed, Pace::RefusedSilently]);
        // What the clock calls a second may be a fraction of a millisecond less.
        assert_eq!([at(6900), at(6901)], [Pace::RefusedSilently, Pace::Refused]);
        assert_eq!([at(9000), at(9001)], [Pace::Allowed, Pace::Refused]);
    }

    #[test]
    fn the_rate_is_the_same_by_another_clock() {
        let one = NonZeroU32::MIN;
        let mut rate = Rate::default();
        assert_eq!([rate.count(5000, one), rate.count(5900, one)], [Pace::Allowed, Pace::Refused]);
        rate.shift(0u32.wrapping_sub(5900));
        assert_eq!(rate.count(99, one), Pace::RefusedSilently);
        assert_eq!(rate.count(100, one), Pace::Allowed);
    }
}
