//! The limits on connections: in all, from one address, and from one address within a second.
//! [`Admission`] is shared by all shards. It is used when a connection is accepted, when the
//! address of its client becomes known, and when it ends; with a limit on the matches of an address
//! also at each `find_match`, and when a client ends a room. Its memory is bounded by the addresses
//! with an open connection, by [`TRACKED_ADDRESSES`] addresses with a new one, and by as many that
//! have ended a room.

use super::counted_address;
use super::eviction::EvictionBoard;
use super::match_rate::{AddressBuckets, MatchRate};
use crate::limits::{ADDRESS_PARTITIONS, SURPLUS_CONNECTIONS, TRACKED_ADDRESSES};
use crate::timestamp::Timestamp;
use crate::wire::http::RefusalCause;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The operator's limits on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections of the whole process; at least 1.
    pub max_open: u32,
    /// Connections from one address; `None` is no limit.
    pub max_open_per_address: Option<NonZeroU32>,
    /// Connections that come from one address within a second; `None` is no limit.
    pub max_new_per_address: Option<NonZeroU32>,
    /// Matches per minute of one address; `None` is no limit.
    pub max_matches_per_address: Option<NonZeroU32>,
}

/// Counts the connections of the process, in all and for each address.
#[derive(Debug)]
pub struct Admission {
    pub(super) open: AtomicUsize,
    pub(super) max_open: usize,
    pub(super) by_address: Option<AddressLimits>,
    pub(super) evictions: EvictionBoard,
}

/// The connections of each address, and the limits on them.
#[derive(Debug)]
pub(super) struct AddressLimits {
    max_open: Option<NonZeroU32>,
    max_new: Option<NonZeroU32>,
    match_rate: Option<MatchRate>,
    partitions: Vec<Mutex<AddressPartition>>,
    hasher: RandomState,
}

/// The counts of the addresses in one partition.
#[derive(Debug, Default)]
struct AddressPartition {
    /// Open connections of each address. An address without any is not in the map.
    open: HashMap<IpAddr, u32>,
    /// New connections of each address within `second`.
    new: HashMap<IpAddr, u32>,
    /// The second on the monotonic clock in which `new` was counted.
    second: u64,
    /// The buckets of matches.
    matches: AddressBuckets,
}

/// Whether a new connection is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdmissionDecision {
    /// The connection is taken and counted.
    Admit {
        /// Why an upgrade of the connection is refused, if a limit has been reached. Its plain
        /// requests are still answered, so that a full server answers health checks.
        refusal: Option<RefusalCause>,
        /// The address for which the connection was counted, if addresses are counted.
        counted: Option<IpAddr>,
    },
    /// The connection is refused before anything is read from it. It was not counted.
    Refuse(RefusalCause),
}

impl Admission {
    /// Without any connections, for a process with this many shards.
    pub fn new(limits: ConnectionLimits, shards: usize) -> Self {
        let (max_open, max_new) = (limits.max_open_per_address, limits.max_new_per_address);
        let match_rate = limits.max_matches_per_address.map(MatchRate::new);
        let is_limited = max_open.is_some() || max_new.is_some() || match_rate.is_some();
        let by_address = is_limited.then(|| AddressLimits {
            max_open,
            max_new,
            match_rate,
            partitions: (0..ADDRESS_PARTITIONS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        });
        Admission {
            open: AtomicUsize::new(0),
            max_open: limits.max_open as usize,
            by_address,
            evictions: EvictionBoard::new(shards),
        }
    }

    /// Decides about a new connection from `address`. An admitted connection has to be given back
    /// with [`Admission::leave`] when it ends.
    pub fn enter(&self, address: IpAddr, now: Timestamp) -> AdmissionDecision {
        let full = match self.enter_from_proxy() {
            AdmissionDecision::Admit { refusal, .. } => refusal,
            refused @ AdmissionDecision::Refuse(_) => return refused,
        };
        let Some(by_address) = &self.by_address else {
            return AdmissionDecision::Admit { refusal: full, counted: None };
        };
        match by_address.enter(counted_address(address), now) {
            AdmissionDecision::Admit { refusal, counted } => {
                AdmissionDecision::Admit { refusal: full.or(refusal), counted }
            }
            AdmissionDecision::Refuse(cause) => {
                self.open.fetch_sub(1, Ordering::Relaxed);
                AdmissionDecision::Refuse(cause)
            }
        }
    }

    /// Decides about a new connection from a trusted proxy, the client of which is not known yet
    /// (see [`Admission::count_client`]). An admitted connection has to be given back with
    /// [`Admission::leave`] when it ends.
    pub fn enter_from_proxy(&self) -> AdmissionDecision {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        // guard: connections beyond the limit are bounded [false]
        if before >= self.max_open + SURPLUS_CONNECTIONS {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return AdmissionDecision::Refuse(RefusalCause::Connections);
        }
        // guard: the number of connections is limited [value None]
        let refusal = (before >= self.max_open).then_some(RefusalCause::Connections);
        AdmissionDecision::Admit { refusal, counted: None }
    }

    /// Counts an admitted connection for the address of `client`, and no longer for `before`. If
    /// it is refused, it counts for no address.
    pub fn count_client(
        &self,
        client: IpAddr,
        before: Option<IpAddr>,
        now: Timestamp,
    ) -> AdmissionDecision {
        let Some(by_address) = &self.by_address else {
            return AdmissionDecision::Admit { refusal: None, counted: None };
        };
        if let Some(before) = before {
            by_address.leave(before);
        }
        by_address.enter(counted_address(client), now)
    }

    /// Why one more connection would get no upgrade now, if it came from the client for whose address
    /// a connection is `counted`. It counts nothing.
    pub fn refusal_of_another(
        &self,
        counted: Option<IpAddr>,
        now: Timestamp,
    ) -> Option<RefusalCause> {
        // guard: a page is told that the server is full [false]
        if self.open.load(Ordering::Relaxed) >= self.max_open {
            return Some(RefusalCause::Connections);
        }
        self.by_address.as_ref()?.refusal_of_another(counted?, now)
    }

    /// How long an address may have no further match; zero if it may have one now. The address is
    /// the one for which a connection was counted.
    pub fn match_delay(&self, counted: IpAddr, now: Timestamp) -> Duration {
        self.by_address.as_ref().map_or(Duration::ZERO, |by_address| {
            let Some(rate) = by_address.match_rate else { return Duration::ZERO };
            by_address.lock(counted).matches.delay(counted, rate, now)
        })
    }

    /// A client of this address has ended a room, or its connection in a room.
    pub fn charge_match(&self, counted: IpAddr, now: Timestamp) {
        if let Some(by_address) = &self.by_address
            && let Some(rate) = by_address.match_rate
        {
            by_address.lock(counted).matches.charge(counted, rate, now);
        }
    }

    /// An admitted connection has ended. `counted` is the address for which it was counted last.
    pub fn leave(&self, counted: Option<IpAddr>) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let (Some(by_address), Some(address)) = (&self.by_address, counted) {
            // guard: a closed connection no longer counts for its address [skip]
            by_address.leave(address);
        }
    }
}

impl AddressLimits {
    fn enter(&self, address: IpAddr, now: Timestamp) -> AdmissionDecision {
        let mut partition = self.lock(address);
        // guard: the rate of new connections of an address is limited [receiver value None]
        let new = self.max_new.map_or(LimitLevel::Within, |limit| {
            LimitLevel::of(partition.count_new(address, now), limit)
        });
        // The rate holds even when few of the address's connections stay open.
        if new == LimitLevel::FarAbove {
            return AdmissionDecision::Refuse(RefusalCause::NewConnectionsOfAddress);
        }
        let new_refusal = new.refusal(RefusalCause::NewConnectionsOfAddress);
        let Some(limit) = self.max_open else {
            // The address is needed for its matches, but its connections need no count.
            let counted = self.match_rate.map(|_| address);
            return AdmissionDecision::Admit { refusal: new_refusal, counted };
        };
        let count = partition.open.entry(address).or_default();
        // guard: the connections of an address are limited [argument 1 value 0]
        let open = LimitLevel::of(*count + 1, limit);
        if open == LimitLevel::FarAbove {
            return AdmissionDecision::Refuse(RefusalCause::ConnectionsOfAddress);
        }
        *count += 1;
        let refusal = open.refusal(RefusalCause::ConnectionsOfAddress).or(new_refusal);
        AdmissionDecision::Admit { refusal, counted: Some(address) }
    }

    fn refusal_of_another(&self, address: IpAddr, now: Timestamp) -> Option<RefusalCause> {
        let partition = self.lock(address);
        let level = |limit: Option<NonZeroU32>, count: Option<&u32>| match limit {
            Some(limit) => LimitLevel::of(count.map_or(1, |count| count.saturating_add(1)), limit),
            None => LimitLevel::Within,
        };
        let is_this_second = now.since(Timestamp::ZERO).as_secs() <= partition.second;
        let new = is_this_second.then(|| partition.new.get(&address)).flatten();
        // guard: a page is told that its address is over its limit [argument 1 value None]
        level(self.max_open, partition.open.get(&address))
            .refusal(RefusalCause::ConnectionsOfAddress)
            .or(level(self.max_new, new).refusal(RefusalCause::NewConnectionsOfAddress))
    }

    /// How many connections of an address are above its limit.
    pub(super) fn above_limit_of(&self, address: IpAddr) -> usize {
        let Some(limit) = self.max_open else { return 0 };
        let open = self.lock(address).open.get(&address).copied().unwrap_or_default();
        open.saturating_sub(limit.get()) as usize
    }

    fn leave(&self, address: IpAddr) {
        let mut partition = self.lock(address);
        let Some(count) = partition.open.get_mut(&address) else { return };
        *count -= 1;
        if *count == 0 {
            partition.open.remove(&address);
            // Release memory after many connections have closed, but not on every close.
            let (len, capacity) = (partition.open.len(), partition.open.capacity());
            if capacity > 64 && len < capacity / 8 {
                partition.open.shrink_to(len * 2);
            }
        }
    }

    fn lock(&self, address: IpAddr) -> MutexGuard<'_, AddressPartition> {
        let index = self.hasher.hash_one(address) as usize % self.partitions.len();
        self.partitions[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AddressPartition {
    /// Counts a new connection. Returns how many came from its address within this second.
    fn count_new(&mut self, address: IpAddr, now: Timestamp) -> u32 {
        let second = now.since(Timestamp::ZERO).as_secs();
        // Shards read the clock at different times, so `second` may lie in the past.
        if second > self.second {
            self.second = second;
            self.new.clear();
        }
        // Memory is bounded: when more addresses than this connect within a second, counting
        // restarts at zero. A limit on each address is no protection against so many addresses.
        // guard: the number of watched addresses is bounded [false]
        if self.new.len() >= TRACKED_ADDRESSES / ADDRESS_PARTITIONS
            && !self.new.contains_key(&address)
        {
            self.new.clear();
        }
        let count = self.new.entry(address).or_default();
        *count = count.saturating_add(1);
        *count
    }
}

/// How a count compares to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LimitLevel {
    Within,
    /// Above the limit by at most [`SURPLUS_CONNECTIONS`]: requests are read and answered.
    Above,
    /// Further above the limit: refused before anything is read.
    FarAbove,
}

impl LimitLevel {
    fn of(count: u32, limit: NonZeroU32) -> Self {
        if count <= limit.get() {
            LimitLevel::Within
        } else if count <= limit.get().saturating_add(SURPLUS_CONNECTIONS as u32) {
            LimitLevel::Above
        } else {
            LimitLevel::FarAbove
        }
    }

    fn refusal(self, cause: RefusalCause) -> Option<RefusalCause> {
        match self {
            LimitLevel::Within => None,
            LimitLevel::Above | LimitLevel::FarAbove => Some(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    const NOW: Timestamp = Timestamp::from_nanos(1_500_000_000);

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn admit(refusal: Option<RefusalCause>, counted: Option<IpAddr>) -> AdmissionDecision {
        AdmissionDecision::Admit { refusal, counted }
    }

    fn admission(max: u32, per_address: u32, new_per_address: u32) -> Admission {
        let limits = ConnectionLimits {
            max_open: max,
            max_open_per_address: NonZeroU32::new(per_address),
            max_new_per_address: NonZeroU32::new(new_per_address),
            max_matches_per_address: None,
        };
        Admission::new(limits, 1)
    }

    #[test]
    fn admits_surplus_connections_without_upgrade_up_to_a_bound() {
        let admission = admission(1, 0, 0);
        assert_eq!(admission.enter(v4(1), NOW), admit(None, None));
        for _ in 0..SURPLUS_CONNECTIONS {
            let decision = admission.enter(v4(1), NOW);
            assert_eq!(decision, admit(Some(RefusalCause::Connections), None));
        }
        assert_eq!(
            admission.enter(v4(1), NOW),
            AdmissionDecision::Refuse(RefusalCause::Connections)
        );
        for _ in 0..=SURPLUS_CONNECTIONS {
            admission.leave(None);
        }
        assert_eq!(admission.enter(v4(1), NOW), admit(None, None));
    }

    #[test]
    fn counts_each_address_separately_until_its_connections_end() {
        let admission = admission(100, 1, 0);
        assert_eq!(admission.enter(v4(1), NOW), admit(None, Some(v4(1))));
        let surplus = admit(Some(RefusalCause::ConnectionsOfAddress), Some(v4(1)));
        assert_eq!(admission.enter(v4(1), NOW), surplus);
        assert_eq!(admission.enter(v4(2), NOW), admit(None, Some(v4(2))));
        admission.leave(Some(v4(1)));
        admission.leave(Some(v4(1)));
        assert_eq!(admission.enter(v4(1), NOW), admit(None, Some(v4(1))));
    }

    #[test]
    fn refuses_one_address_without_counting_it_far_above_its_limit() {
        let admission = admission(1000, 1, 0);
        for _ in 0..=SURPLUS_CONNECTIONS {
            assert!(matches!(admission.enter(v4(1), NOW), AdmissionDecision::Admit { .. }));
        }
        for _ in 0..1000 {
            let refused = AdmissionDecision::Refuse(RefusalCause::ConnectionsOfAddress);
            assert_eq!(admission.enter(v4(1), NOW), refused);
        }
        assert_eq!(admission.enter(v4(2), NOW), admit(None, Some(v4(2))));
        let open = admission.open.load(Ordering::Relaxed);
        assert_eq!(open, SURPLUS_CONNECTIONS + 2, "a refused connection was counted");
    }

    #[test]
    fn limits_new_connections_of_an_address_in_each_second() {
        let admission = admission(1000, 0, 2);
        let admitted = admit(None, None);
        let above = admit(Some(RefusalCause::NewConnectionsOfAddress), None);
        let refused = AdmissionDecision::Refuse(RefusalCause::NewConnectionsOfAddress);
        for second in 0..3 {
            let now = NOW + Duration::from_secs(second);
            let enter = || admission.enter(v4(1), now);
            assert_eq!([enter(), enter(), enter()], [admitted, admitted, above]);
            for _ in 1..SURPLUS_CONNECTIONS {
                assert_eq!(enter(), above);
            }
            assert_eq!(enter(), refused);
            assert_eq!(admission.enter(v4(2), now), admitted);
            // The clock reading of another shard may be older.
            assert_eq!(admission.enter(v4(1), now - Duration::from_secs(1)), refused);
        }
    }

    #[test]
    fn counts_a_new_connection_of_an_address_that_left_before() {
        let admission = admission(1000, 1, 2);
        for _ in 0..2 {
            assert_eq!(admission.enter(v4(1), NOW), admit(None, Some(v4(1))));
            admission.leave(Some(v4(1)));
        }
        let above = admit(Some(RefusalCause::NewConnectionsOfAddress), Some(v4(1)));
        assert_eq!(admission.enter(v4(1), NOW), above);
    }

    #[test]
    fn counts_a_proxied_connection_for_one_client_at_a_time() {
        let admission = admission(100, 1, 0);
        assert_eq!(admission.enter_from_proxy(), admit(None, None));
        let counted = admission.count_client(v4(1), None, NOW);
        assert_eq!(counted, admit(None, Some(v4(1))));
        let counted = admission.count_client(v4(2), Some(v4(1)), NOW);
        assert_eq!(counted, admit(None, Some(v4(2))));
        assert_eq!(admission.enter(v4(1), NOW), admit(None, Some(v4(1))));
        admission.leave(Some(v4(2)));
        assert_eq!(admission.enter(v4(2), NOW), admit(None, Some(v4(2))));
        assert_eq!(admission.open.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn predicts_the_refusal_of_one_more_connection_without_counting_it() {
        let admission = admission(3, 2, 2);
        let later = NOW + Duration::from_secs(1);
        let predict = |last, now| admission.refusal_of_another(Some(v4(last)), now);
        assert_eq!(predict(1, NOW), None);
        let _one = (admission.enter(v4(1), NOW), predict(1, NOW));
        assert_eq!(predict(1, NOW), None);
        let _two = admission.enter(v4(1), NOW);
        assert_eq!(predict(1, NOW), Some(RefusalCause::ConnectionsOfAddress));
        assert_eq!((predict(2, NOW), admission.refusal_of_another(None, NOW)), (None, None));
        admission.leave(Some(v4(1)));
        assert_eq!(predict(1, NOW), Some(RefusalCause::NewConnectionsOfAddress));
        assert_eq!(predict(1, later), None);
        for last in [2, 3] {
            assert_eq!(admission.enter(v4(last), later), admit(None, Some(v4(last))));
        }
        assert_eq!(predict(1, later), Some(RefusalCause::Connections));
    }

    #[test]
    fn keeps_bounded_memory_for_addresses_that_have_left() {
        let admission = admission(1000, 3, 3);
        let total = |what: fn(&AddressPartition) -> usize| -> usize {
            let partitions = &admission.by_address.as_ref().unwrap().partitions;
            partitions.iter().map(|partition| what(&partition.lock().unwrap())).sum()
        };
        for number in 0..4 * TRACKED_ADDRESSES as u128 {
            let address = IpAddr::from(Ipv6Addr::from(number << 64 | 1));
            let AdmissionDecision::Admit { refusal: None, counted } = admission.enter(address, NOW)
            else {
                panic!("connection {number} was not admitted")
            };
            admission.leave(counted);
        }
        assert!(total(|partition| partition.new.len()) <= TRACKED_ADDRESSES);
        assert!(total(|partition| partition.new.capacity()) <= 4 * TRACKED_ADDRESSES);
        assert_eq!(total(|partition| partition.open.len()), 0);
    }

    #[test]
    fn releases_memory_after_many_connections_have_closed() {
        let admission = admission(1_000_000, 3, 0);
        let addresses: Vec<IpAddr> =
            (0..100_000u128).map(|number| Ipv6Addr::from(number << 64).into()).collect();
        for &address in &addresses {
            assert_eq!(admission.enter(address, NOW), admit(None, Some(address)));
        }
        for &address in &addresses {
            admission.leave(Some(address));
        }
        let partitions = &admission.by_address.as_ref().unwrap().partitions;
        let capacity: usize =
            partitions.iter().map(|partition| partition.lock().unwrap().open.capacity()).sum();
        assert!(capacity <= ADDRESS_PARTITIONS * 128, "{capacity}");
    }

    #[test]
    fn counts_an_ipv6_client_by_its_64_bit_prefix() {
        let parse = |text: &str| counted_address(text.parse().unwrap());
        assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:1:2:3"));
        assert_ne!(parse("2001:db8:0:1::1"), parse("2001:db8:0:2::1"));
        assert_eq!(parse("::ffff:10.0.0.1"), v4(1));
    }
}
