//! Which shards have the connections that are closed when a limit on connections is reached. Shared
//! by all shards, which publish theirs here in each sweep; so a refusal finds some without looking at
//! a table. Its memory is two numbers for each shard, and [`CONTENDED_ADDRESSES`] addresses with as
//! much.

use super::admission::Admission;
use super::counted_address;
use crate::commands::EvictionScope;
use crate::ids::ShardId;
use crate::limits::{CONTENDED_ADDRESSES, CONTENTION_TIME, IDLE_EVICTIONS_PER_REFUSAL};
use crate::timestamp::Timestamp;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the shards have published.
#[derive(Debug)]
pub(super) struct EvictionBoard {
    shards: Vec<PublishedCandidates>,
    contended: Mutex<Vec<ContendedAddress>>,
    /// The length of `contended`, so that a sweep takes the lock only if it is not empty.
    contended_len: AtomicUsize,
}

/// What one shard has published, and no refusal has taken yet.
#[derive(Debug)]
struct PublishedCandidates {
    /// Idle HTTP connections.
    idle: AtomicUsize,
    /// When the suspect session that has been silent longest was last heard.
    longest: AtomicU64,
}

/// A connection that a shard can close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionCandidate {
    /// An HTTP connection between two requests.
    IdleHttp,
    /// A session whose client owes an answer.
    SuspectSession {
        /// When the client was last heard.
        heard: Timestamp,
    },
}

/// Connections of one shard that a refusal has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenCandidates {
    /// The shard.
    pub shard: ShardId,
    /// How many idle HTTP connections; 0 is one suspect session.
    pub idle: usize,
}

/// An address, connections of which were refused because of its limit.
#[derive(Clone, Debug)]
struct ContendedAddress {
    address: IpAddr,
    refused_at: Timestamp,
    /// Idle HTTP connections of the address, for each shard that has any.
    idle: Vec<(ShardId, usize)>,
    /// The suspect of the address that has been silent longest, and when it was last heard.
    suspect: Option<(ShardId, Timestamp)>,
}

const NO_SUSPECT: u64 = u64::MAX;

impl PublishedCandidates {
    fn none() -> Self {
        PublishedCandidates { idle: AtomicUsize::new(0), longest: AtomicU64::new(NO_SUSPECT) }
    }

    /// Takes at most `wanted` idle connections. Returns how many.
    fn take_idle(&self, wanted: usize) -> usize {
        let rest = |idle: usize| Some(idle.saturating_sub(wanted));
        let before = self.idle.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
        before.unwrap_or_default().min(wanted)
    }
}

impl ContendedAddress {
    /// Takes at most `wanted` idle connections of one shard, or else the suspect.
    fn take(&mut self, wanted: usize) -> Option<TakenCandidates> {
        if let Some((shard, idle)) = self.idle.pop() {
            let taken = idle.min(wanted);
            if idle > taken {
                self.idle.push((shard, idle - taken));
            }
            return Some(TakenCandidates { shard, idle: taken });
        }
        self.suspect.take().map(|(shard, _)| TakenCandidates { shard, idle: 0 })
    }
}

impl EvictionBoard {
    /// Without candidates.
    pub(super) fn new(shards: usize) -> Self {
        EvictionBoard {
            shards: (0..shards).map(|_| PublishedCandidates::none()).collect(),
            contended: Mutex::default(),
            contended_len: AtomicUsize::new(0),
        }
    }

    /// Publishes how many idle connections a shard has, and when the suspect that has been silent
    /// longest was last heard. What the shard has published of addresses is forgotten: some
    /// may have answered.
    pub(super) fn publish(&self, shard: ShardId, idle: usize, heard: Option<Timestamp>) {
        let heard = heard.map_or(NO_SUSPECT, Timestamp::as_nanos);
        self.shards[shard.index()].idle.store(idle, Ordering::Relaxed);
        self.shards[shard.index()].longest.store(heard, Ordering::Relaxed);
        if self.contended_len.load(Ordering::Relaxed) == 0 {
            return;
        }
        for entry in self.lock().iter_mut() {
            entry.idle.retain(|(of, _)| *of != shard);
            entry.suspect = entry.suspect.filter(|(of, _)| *of != shard);
        }
    }

    /// Publishes a connection of an address, if the address is contended.
    pub(super) fn publish_of(&self, shard: ShardId, address: IpAddr, one: EvictionCandidate) {
        let mut contended = self.lock();
        let Some(entry) = contended.iter_mut().find(|entry| entry.address == address) else {
            return;
        };
        match one {
            EvictionCandidate::IdleHttp => match entry.idle.iter_mut().find(|(of, _)| *of == shard)
            {
                Some((_, count)) => *count += 1,
                None => entry.idle.push((shard, 1)),
            },
            EvictionCandidate::SuspectSession { heard } => {
                if entry.suspect.is_none_or(|(_, longest)| heard < longest) {
                    entry.suspect = Some((shard, heard));
                }
            }
        }
    }

    /// The addresses that are contended at `now`, into `addresses`, which is cleared first.
    pub(super) fn contended(&self, now: Timestamp, addresses: &mut Vec<IpAddr>) {
        addresses.clear();
        if self.contended_len.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut contended = self.lock();
        contended.retain(|entry| now.since(entry.refused_at) < CONTENTION_TIME);
        addresses.extend(contended.iter().map(|entry| entry.address));
        self.contended_len.store(contended.len(), Ordering::Relaxed);
    }

    /// Takes at most `wanted` idle connections of one shard, in this scope; if there are none, the
    /// suspect that has been silent longest. So each is taken once.
    pub(super) fn take(
        &self,
        scope: EvictionScope,
        wanted: usize,
        now: Timestamp,
    ) -> Option<TakenCandidates> {
        match scope {
            EvictionScope::AllConnections => self.take_idle(wanted).or_else(|| self.take_longest()),
            EvictionScope::OfAddress(address) => self.take_of(address, wanted, now),
        }
    }

    fn take_idle(&self, wanted: usize) -> Option<TakenCandidates> {
        let mut taken = self.shards.iter().map(|shard| shard.take_idle(wanted)).enumerate();
        let (shard, idle) = taken.find(|(_, idle)| *idle > 0)?;
        Some(TakenCandidates { shard: ShardId(shard as u16), idle })
    }

    fn take_longest(&self) -> Option<TakenCandidates> {
        let heard = |shard: &PublishedCandidates| shard.longest.load(Ordering::Relaxed);
        let (shard, longest) = self.shards.iter().enumerate().min_by_key(|(_, at)| heard(at))?;
        let taken = longest.longest.swap(NO_SUSPECT, Ordering::Relaxed);
        let shard = ShardId(shard as u16);
        (taken != NO_SUSPECT).then_some(TakenCandidates { shard, idle: 0 })
    }

    /// The same for an address, which is contended from now on.
    fn take_of(&self, address: IpAddr, wanted: usize, now: Timestamp) -> Option<TakenCandidates> {
        let mut contended = self.lock();
        if let Some(entry) = contended.iter_mut().find(|entry| entry.address == address) {
            entry.refused_at = now;
            return entry.take(wanted);
        }
        // guard: contended addresses are bounded [false]
        if contended.len() >= CONTENDED_ADDRESSES {
            let oldest = (0..contended.len()).min_by_key(|index| contended[*index].refused_at)?;
            contended.swap_remove(oldest);
        }
        let (idle, suspect) = (Vec::new(), None);
        contended.push(ContendedAddress { address, refused_at: now, idle, suspect });
        self.contended_len.store(contended.len(), Ordering::Relaxed);
        None
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ContendedAddress>> {
        self.contended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission {
    /// Whether the limit on all connections is reached.
    pub fn is_full(&self) -> bool {
        self.open.load(Ordering::Relaxed) >= self.max_open
    }

    /// The addresses from which connections were refused lately because of their own limit, into
    /// `addresses`, which is cleared first.
    pub fn contended_addresses(&self, now: Timestamp, addresses: &mut Vec<IpAddr>) {
        self.evictions.contended(now, addresses);
    }

    /// A shard publishes how many idle HTTP connections it has, and when its suspect session that
    /// has been silent longest was last heard.
    pub fn publish_candidates(&self, shard: ShardId, idle: usize, heard: Option<Timestamp>) {
        self.evictions.publish(shard, idle, heard);
    }

    /// A shard publishes a connection of a contended address.
    pub fn publish_candidate_of(&self, shard: ShardId, address: IpAddr, one: EvictionCandidate) {
        self.evictions.publish_of(shard, address, one);
    }

    /// How many connections have to end, so that one that was refused because of this limit is
    /// admitted when it tries again, at most [`IDLE_EVICTIONS_PER_REFUSAL`]. Zero if the limit is no
    /// longer reached. The one that was refused ends by itself, if it was counted.
    pub fn missing_places(&self, scope: EvictionScope) -> usize {
        match scope {
            EvictionScope::AllConnections => {
                self.open.load(Ordering::Relaxed).saturating_sub(self.max_open)
            }
            EvictionScope::OfAddress(address) => self
                .by_address
                .as_ref()
                .map_or(0, |by_address| by_address.above_limit_of(counted_address(address))),
        }
        .min(IDLE_EVICTIONS_PER_REFUSAL)
    }

    /// Takes connections of one shard to be closed, if there are any, for one that was refused
    /// because of this limit: at most `wanted` idle HTTP connections, or else the session that has
    /// been silent longest. Each is given once.
    pub fn take_candidates(
        &self,
        scope: EvictionScope,
        wanted: usize,
        now: Timestamp,
    ) -> Option<TakenCandidates> {
        let scope = match scope {
            EvictionScope::AllConnections => scope,
            EvictionScope::OfAddress(address) => EvictionScope::OfAddress(counted_address(address)),
        };
        self.evictions.take(scope, wanted, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn taken(shard: u16, idle: usize) -> Option<TakenCandidates> {
        Some(TakenCandidates { shard: ShardId(shard), idle })
    }

    fn suspect(seconds: u64) -> EvictionCandidate {
        EvictionCandidate::SuspectSession { heard: at(seconds) }
    }

    #[test]
    fn takes_idle_connections_before_suspects_and_each_once() {
        let board = EvictionBoard::new(3);
        let take = |wanted| board.take(EvictionScope::AllConnections, wanted, at(100));
        board.publish(ShardId(0), 0, Some(at(1)));
        board.publish(ShardId(1), 3, Some(at(2)));
        board.publish(ShardId(2), 2, None);
        assert_eq!([take(2), take(2), take(1)], [taken(1, 2), taken(1, 1), taken(2, 1)]);
        assert_eq!([take(2), take(2), take(2)], [taken(2, 1), taken(0, 0), taken(1, 0)]);
        assert_eq!(take(2), None);
    }

    #[test]
    fn evicts_idle_connections_only_of_the_refused_address() {
        let board = EvictionBoard::new(2);
        let take =
            |last, wanted| board.take(EvictionScope::OfAddress(address(last)), wanted, at(9));
        assert_eq!(take(1, 1), None);
        for shard in [0, 0, 0, 1] {
            board.publish_of(ShardId(shard), address(1), EvictionCandidate::IdleHttp);
            board.publish_of(ShardId(shard), address(2), EvictionCandidate::IdleHttp);
        }
        board.publish_of(ShardId(1), address(1), suspect(3));
        assert_eq!(take(2, 1), None, "the address was not contended");
        assert_eq!([take(1, 2), take(1, 2)], [taken(1, 1), taken(0, 2)]);
        board.publish(ShardId(0), 0, None);
        assert_eq!([take(1, 2), take(1, 2)], [taken(1, 0), None]);
    }

    #[test]
    fn takes_the_suspect_that_has_been_silent_longest_once() {
        let board = EvictionBoard::new(3);
        let take = || board.take(EvictionScope::AllConnections, 1, at(100));
        assert_eq!(take(), None);
        board.publish(ShardId(0), 0, Some(at(9)));
        board.publish(ShardId(2), 0, Some(at(5)));
        assert_eq!([take(), take(), take()], [taken(2, 0), taken(0, 0), None]);
        board.publish(ShardId(1), 0, Some(at(5)));
        board.publish(ShardId(1), 0, None);
        assert_eq!(take(), None, "the suspect has been heard");
    }

    #[test]
    fn evicts_a_suspect_only_of_the_refused_address() {
        let board = EvictionBoard::new(2);
        let take = |last| board.take(EvictionScope::OfAddress(address(last)), 1, at(100));
        board.publish_of(ShardId(0), address(1), suspect(3));
        assert_eq!(take(1), None, "the address was not contended");
        board.publish_of(ShardId(0), address(1), suspect(7));
        board.publish_of(ShardId(1), address(1), suspect(3));
        board.publish_of(ShardId(0), address(2), suspect(1));
        assert_eq!([take(2), take(1), take(1)], [None, taken(1, 0), None]);
        board.publish_of(ShardId(1), address(1), suspect(3));
        board.publish(ShardId(0), 0, None);
        assert_eq!(take(1), taken(1, 0));
        board.publish_of(ShardId(1), address(1), suspect(3));
        board.publish(ShardId(1), 0, None);
        assert_eq!(take(1), None, "the suspect has been heard");
    }

    #[test]
    fn an_address_stays_contended_for_30_s_after_its_last_refusal() {
        let board = EvictionBoard::new(1);
        let contended = |now| {
            let mut addresses = Vec::new();
            board.contended(now, &mut addresses);
            addresses
        };
        for refused_at in [10, 15] {
            board.take(EvictionScope::OfAddress(address(1)), 1, at(refused_at));
        }
        assert_eq!(contended(at(44)), [address(1)]);
        assert_eq!(contended(at(45)), Vec::<IpAddr>::new());
    }

    #[test]
    fn remembers_a_bounded_number_of_contended_addresses() {
        let board = EvictionBoard::new(1);
        for last in 0..=CONTENDED_ADDRESSES as u8 {
            let now = Timestamp::ZERO + Duration::from_millis(last.into());
            board.take(EvictionScope::OfAddress(address(last)), 1, now);
        }
        let mut addresses = Vec::new();
        board.contended(at(1), &mut addresses);
        assert_eq!(addresses.len(), CONTENDED_ADDRESSES);
        assert!(!addresses.contains(&address(0)), "the oldest was dropped");
    }
}
