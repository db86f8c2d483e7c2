//! How many newcomers there may be: in all, from one address, and from one address within a
//! second. [`Admission`] is shared by all shards and touched when a connection begins, when its
//! address is learned, and when it ends. What it keeps is bounded: addresses with an open
//! connection, and [`TRACKED_ADDRESSES`] of those that came within the last second.

use crate::config::Limits;
use crate::limits::{SURPLUS_CONNECTIONS, TRACKED_ADDRESSES};
use crate::timestamp::Timestamp;
use crate::wire::http::RefusalCause;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts that the addresses are spread over; each is locked by itself.
const PARTS: usize = 64;

/// How many connections the process has, in all and from each address.
#[derive(Debug)]
pub struct Admission {
    open: AtomicUsize,
    most: usize,
    by_address: Option<ByAddress>,
}

/// What is counted by address, and how much of it there may be.
#[derive(Debug)]
struct ByAddress {
    most_open: Option<NonZeroU32>,
    most_new: Option<NonZeroU32>,
    parts: Vec<Mutex<Part>>,
    hasher: RandomState,
}

/// The addresses of one part.
#[derive(Debug, Default)]
struct Part {
    /// Connections that are open; no address stands here with none.
    open: HashMap<IpAddr, u32>,
    /// Connections that came within the second.
    new: HashMap<IpAddr, u32>,
    /// Which second that is.
    second: u64,
}

/// What is to become of a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It comes in. It may not become a session if there is a shortage. Its address is given
    /// if it was counted.
    Welcome(Option<RefusalCause>, Option<IpAddr>),
    /// There are so many that it is refused unheard. It has not been counted.
    Refuse(RefusalCause),
}

impl Admission {
    /// Nobody is here yet.
    pub fn new(limits: &Limits) -> Self {
        let (most_open, most_new) =
            (limits.max_connections_per_address, limits.max_new_connections_per_address);
        let by_address = (most_open.is_some() || most_new.is_some()).then(|| ByAddress {
            most_open,
            most_new,
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        });
        Admission { open: AtomicUsize::new(0), most: limits.max_connections as usize, by_address }
    }

    /// A newcomer from `address`. Unless it is refused, [`Admission::leave`] is due when it goes.
    pub fn enter(&self, address: IpAddr, now: Timestamp) -> Verdict {
        let too_many = match self.enter_from_proxy() {
            Verdict::Welcome(shortage, _) => shortage,
            refused @ Verdict::Refuse(_) => return refused,
        };
        let Some(by_address) = &self.by_address else { return Verdict::Welcome(too_many, None) };
        match by_address.enter(prefix(address), now) {
            Verdict::Welcome(shortage, address) => Verdict::Welcome(too_many.or(shortage), address),
            Verdict::Refuse(shortage) => {
                self.open.fetch_sub(1, Ordering::Relaxed);
                Verdict::Refuse(shortage)
            }
        }
    }

    /// A newcomer from a trusted proxy, whose client is not known yet; see
    /// [`Admission::count_client`]. Unless it is refused, [`Admission::leave`] is due when it goes.
    pub fn enter_from_proxy(&self) -> Verdict {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        // guard: connections beyond the limit are bounded [false]
        if before >= self.most + SURPLUS_CONNECTIONS {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Verdict::Refuse(RefusalCause::Connections);
        }
        // guard: the number of connections is limited [argument 1 value None]
        Verdict::Welcome((before >= self.most).then_some(RefusalCause::Connections), None)
    }

    /// A connection that is here turns out to be `client`'s: it counts for this address from now
    /// on, and no longer for `before`. If it is refused, it counts for none.
    pub fn count_client(&self, client: IpAddr, before: Option<IpAddr>, now: Timestamp) -> Verdict {
        let Some(by_address) = &self.by_address else { return Verdict::Welcome(None, None) };
        if let Some(before) = before {
            by_address.leave(before);
        }
        by_address.enter(prefix(client), now)
    }

    /// One who came in has gone. `address` is what [`Verdict::Welcome`] gave.
    pub fn leave(&self, address: Option<IpAddr>) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let (Some(by_address), Some(address)) = (&self.by_address, address) {
            // guard: a closed connection no longer counts for its address [skip]
            by_address.leave(address);
        }
    }
}

impl ByAddress {
    fn enter(&self, address: IpAddr, now: Timestamp) -> Verdict {
        let mut part = self.part(address);
        // guard: the rate of new connections of an address is limited [receiver value None]
        let new = self
            .most_new
            .map_or(Standing::Within, |most| Standing::of(part.count_new(address, now), most));
        // Who comes too often is not let in only because few of its connections stay.
        if new == Standing::FarBeyond {
            return Verdict::Refuse(RefusalCause::NewConnectionsOfAddress);
        }
        let Some(most) = self.most_open else {
            return Verdict::Welcome(new.shortage(RefusalCause::NewConnectionsOfAddress), None);
        };
        let count = part.open.entry(address).or_default();
        // guard: the connections of an address are limited [argument 1 value 0]
        let open = Standing::of(*count + 1, most);
        if open == Standing::FarBeyond {
            return Verdict::Refuse(RefusalCause::ConnectionsOfAddress);
        }
        *count += 1;
        let shortage = open
            .shortage(RefusalCause::ConnectionsOfAddress)
            .or(new.shortage(RefusalCause::NewConnectionsOfAddress));
        Verdict::Welcome(shortage, Some(address))
    }

    fn leave(&self, address: IpAddr) {
        let mut part = self.part(address);
        let Some(count) = part.open.get_mut(&address) else { return };
        *count -= 1;
        if *count == 0 {
            part.open.remove(&address);
            // After a crowd has gone, its room goes too; and not each time that one leaves.
            let (left, room) = (part.open.len(), part.open.capacity());
            if room > 64 && left < room / 8 {
                part.open.shrink_to(left * 2);
            }
        }
    }

    fn part(&self, address: IpAddr) -> MutexGuard<'_, Part> {
        let at = self.hasher.hash_one(address) as usize % self.parts.len();
        self.parts[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// Counts a newcomer; gives how many came from its address within this second.
    fn count_new(&mut self, address: IpAddr, now: Timestamp) -> u32 {
        let second = now.since(Timestamp::ZERO).as_secs();
        // Shards read the clock at different times: no second comes back.
        if second > self.second {
            self.second = second;
            self.new.clear();
        }
        // Nobody counts all addresses that there are. Where more come within a second than are
        // watched, they begin anew; a limit on each address does not hold off such a crowd.
        // guard: the number of watched addresses is bounded [false]
        if self.new.len() >= TRACKED_ADDRESSES / PARTS && !self.new.contains_key(&address) {
            self.new.clear();
        }
        let count = self.new.entry(address).or_default();
        *count = count.saturating_add(1);
        *count
    }
}

/// How a count stands to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Within,
    /// Above, but few enough to be heard: to be refused politely.
    Beyond,
    FarBeyond,
}

impl Standing {
    fn of(count: u32, most: NonZeroU32) -> Self {
        if count <= most.get() {
            Standing::Within
        } else if count <= most.get().saturating_add(SURPLUS_CONNECTIONS as u32) {
            Standing::Beyond
        } else {
            Standing::FarBeyond
        }
    }

    fn shortage(self, shortage: RefusalCause) -> Option<RefusalCause> {
        match self {
            Standing::Within => None,
            Standing::Beyond | Standing::FarBeyond => Some(shortage),
        }
    }
}

/// What counts as one address: whoever has an IPv6 address has a whole /64 of them
/// (RFC 6177 §2).
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            // guard: a /64 counts as one address [argument 1, argument 1, term 2 value u128::MAX]
            IpAddr::V6(Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_nanos(1_500_000_000);

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn admission(most: u32, per_address: u32, new_per_address: u32) -> Admission {
        Admission::new(&Limits {
            max_connections: most,
            max_connections_per_address: NonZeroU32::new(per_address),
            max_new_connections_per_address: NonZeroU32::new(new_per_address),
            ..Limits::default()
        })
    }

    #[test]
    fn surplus_connections_are_heard_and_those_beyond_are_not() {
        let admission = admission(1, 0, 0);
        assert_eq!(admission.enter(v4(1), NOW), Verdict::Welcome(None, None));
        for _ in 0..SURPLUS_CONNECTIONS {
            let verdict = admission.enter(v4(1), NOW);
            assert_eq!(verdict, Verdict::Welcome(Some(RefusalCause::Connections), None));
        }
        assert_eq!(admission.enter(v4(1), NOW), Verdict::Refuse(RefusalCause::Connections));
        for _ in 0..=SURPLUS_CONNECTIONS {
            admission.leave(None);
        }
        assert_eq!(admission.enter(v4(1), NOW), Verdict::Welcome(None, None));
    }

    #[test]
    fn each_address_has_its_own_count_and_gets_it_back() {
        let admission = admission(100, 1, 0);
        assert_eq!(admission.enter(v4(1), NOW), Verdict::Welcome(None, Some(v4(1))));
        let surplus = Verdict::Welcome(Some(RefusalCause::ConnectionsOfAddress), Some(v4(1)));
        assert_eq!(admission.enter(v4(1), NOW), surplus);
        assert_eq!(admission.enter(v4(2), NOW), Verdict::Welcome(None, Some(v4(2))));
        admission.leave(Some(v4(1)));
        admission.leave(Some(v4(1)));
        assert_eq!(admission.enter(v4(1), NOW), Verdict::Welcome(None, Some(v4(1))));
    }

    #[test]
    fn one_address_cannot_take_the_places_of_all() {
        let admission = admission(1000, 1, 0);
        for _ in 0..=SURPLUS_CONNECTIONS {
            assert!(matches!(admission.enter(v4(1), NOW), Verdict::Welcome(..)));
        }
        for _ in 0..1000 {
            let refused = Verdict::Refuse(RefusalCause::ConnectionsOfAddress);
            assert_eq!(admission.enter(v4(1), NOW), refused);
        }
        assert_eq!(admission.enter(v4(2), NOW), Verdict::Welcome(None, Some(v4(2))));
        let open = admission.open.load(Ordering::Relaxed);
        assert_eq!(open, SURPLUS_CONNECTIONS + 2, "who is refused is not counted");
    }

    #[test]
    fn so_many_come_from_an_address_within_a_second_and_in_the_next_again() {
        let admission = admission(1000, 0, 2);
        let welcome = Verdict::Welcome(None, None);
        let heard = Verdict::Welcome(Some(RefusalCause::NewConnectionsOfAddress), None);
        let refused = Verdict::Refuse(RefusalCause::NewConnectionsOfAddress);
        for second in 0..3 {
            let now = NOW + Duration::from_secs(second);
            let come = || admission.enter(v4(1), now);
            assert_eq!([come(), come(), come()], [welcome, welcome, heard]);
            for _ in 1..SURPLUS_CONNECTIONS {
                assert_eq!(come(), heard);
            }
            assert_eq!(come(), refused);
            assert_eq!(admission.enter(v4(2), now), welcome);
            // A shard that has not looked at the clock since is in the same second.
            assert_eq!(admission.enter(v4(1), now - Duration::from_secs(1)), refused);
        }
    }

    #[test]
    fn who_leaves_and_comes_again_is_counted_again() {
        let admission = admission(1000, 1, 2);
        for _ in 0..2 {
            assert_eq!(admission.enter(v4(1), NOW), Verdict::Welcome(None, Some(v4(1))));
            admission.leave(Some(v4(1)));
        }
        let heard = Verdict::Welcome(Some(RefusalCause::NewConnectionsOfAddress), Some(v4(1)));
        assert_eq!(admission.enter(v4(1), NOW), heard);
    }

    #[test]
    fn a_connection_counts_for_one_client_at_a_time() {
        let admission = admission(100, 1, 0);
        assert_eq!(admission.enter_from_proxy(), Verdict::Welcome(None, None));
        let counted = admission.count_client(v4(1), None, NOW);
        assert_eq!(counted, Verdict::Welcome(None, Some(v4(1))));
        let counted = admission.count_client(v4(2), Some(v4(1)), NOW);
        assert_eq!(counted, Verdict::Welcome(None, Some(v4(2))));
        assert_eq!(admission.enter(v4(1), NOW), Verdict::Welcome(None, Some(v4(1))));
        admission.leave(Some(v4(2)));
        assert_eq!(admission.enter(v4(2), NOW), Verdict::Welcome(None, Some(v4(2))));
        assert_eq!(admission.open.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_is_kept_does_not_grow_with_addresses_that_have_gone() {
        let admission = admission(1000, 3, 3);
        let kept = |what: fn(&Part) -> usize| -> usize {
            let parts = &admission.by_address.as_ref().unwrap().parts;
            parts.iter().map(|part| what(&part.lock().unwrap())).sum()
        };
        for number in 0..4 * TRACKED_ADDRESSES as u128 {
            let address = IpAddr::from(Ipv6Addr::from(number << 64 | 1));
            let Verdict::Welcome(None, counted) = admission.enter(address, NOW) else {
                panic!("{number} is a newcomer like any other")
            };
            admission.leave(counted);
        }
        assert!(kept(|part| part.new.len()) <= TRACKED_ADDRESSES);
        assert!(kept(|part| part.new.capacity()) <= 4 * TRACKED_ADDRESSES);
        assert_eq!(kept(|part| part.open.len()), 0);
    }

    #[test]
    fn the_room_of_a_crowd_is_given_back() {
        let admission = admission(1_000_000, 3, 0);
        let crowd: Vec<IpAddr> =
            (0..100_000u128).map(|number| Ipv6Addr::from(number << 64).into()).collect();
        for &address in &crowd {
            assert_eq!(admission.enter(address, NOW), Verdict::Welcome(None, Some(address)));
        }
        for &address in &crowd {
            admission.leave(Some(address));
        }
        let parts = &admission.by_address.as_ref().unwrap().parts;
        let room: usize = parts.iter().map(|part| part.lock().unwrap().open.capacity()).sum();
        assert!(room <= PARTS * 128, "{room}");
    }

    #[test]
    fn an_ipv6_user_is_a_whole_64() {
        let parse = |text: &str| prefix(text.parse().unwrap());
        assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:1:2:3"));
        assert_ne!(parse("2001:db8:0:1::1"), parse("2001:db8:0:2::1"));
        assert_eq!(parse("::ffff:10.0.0.1"), v4(1));
    }
}
