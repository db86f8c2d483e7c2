//! Which shard has the session that is closed when a limit on connections is reached. Shared by all
//! shards, which publish their suspects here in each sweep; so a refusal finds one without looking
//! at a table. Its memory is one number for each shard and [`CONTENDED_ADDRESSES`] addresses.

use super::admission::{Admission, counted_address};
use crate::commands::EvictionScope;
use crate::ids::ShardId;
use crate::limits::{CONTENDED_ADDRESSES, CONTENTION_TIME};
use crate::timestamp::Timestamp;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The suspects that the shards have published.
#[derive(Debug)]
pub(super) struct EvictionBoard {
    /// For each shard, when the suspect that has been silent longest was last heard.
    longest: Vec<AtomicU64>,
    contended: Mutex<Vec<ContendedAddress>>,
    /// The length of `contended`, so that a sweep takes the lock only if it is not empty.
    contended_len: AtomicUsize,
}

/// An address, connections of which were refused because of its limit.
#[derive(Clone, Copy, Debug)]
struct ContendedAddress {
    address: IpAddr,
    refused_at: Timestamp,
    /// The suspect of the address that has been silent longest, and when it was last heard.
    suspect: Option<(ShardId, Timestamp)>,
}

const NO_SUSPECT: u64 = u64::MAX;

impl EvictionBoard {
    /// Without suspects.
    pub(super) fn new(shards: usize) -> Self {
        EvictionBoard {
            longest: (0..shards).map(|_| AtomicU64::new(NO_SUSPECT)).collect(),
            contended: Mutex::default(),
            contended_len: AtomicUsize::new(0),
        }
    }

    /// Publishes when the suspect of a shard that has been silent longest was last heard. Those that
    /// the shard has published of addresses are forgotten: some may have answered.
    pub(super) fn publish(&self, shard: ShardId, heard: Option<Timestamp>) {
        let heard = heard.map_or(NO_SUSPECT, Timestamp::as_nanos);
        self.longest[shard.index()].store(heard, Ordering::Relaxed);
        if self.contended_len.load(Ordering::Relaxed) == 0 {
            return;
        }
        for entry in self.lock().iter_mut() {
            entry.suspect = entry.suspect.filter(|(of, _)| *of != shard);
        }
    }

    /// Publishes when a suspect of an address was last heard, if the address is contended.
    pub(super) fn publish_of(&self, shard: ShardId, address: IpAddr, heard: Timestamp) {
        let mut contended = self.lock();
        if let Some(entry) = contended.iter_mut().find(|entry| entry.address == address)
            && entry.suspect.is_none_or(|(_, longest)| heard < longest)
        {
            entry.suspect = Some((shard, heard));
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

    /// Takes the suspect that has been silent longest, in this scope, so that each is taken once.
    /// Returns its shard.
    pub(super) fn take(&self, scope: EvictionScope, now: Timestamp) -> Option<ShardId> {
        match scope {
            EvictionScope::AllConnections => self.take_longest(),
            EvictionScope::OfAddress(address) => self.take_of(address, now),
        }
    }

    fn take_longest(&self) -> Option<ShardId> {
        let heard = |shard: &AtomicU64| shard.load(Ordering::Relaxed);
        let (shard, longest) = self.longest.iter().enumerate().min_by_key(|(_, at)| heard(at))?;
        let taken = longest.swap(NO_SUSPECT, Ordering::Relaxed);
        (taken != NO_SUSPECT).then_some(ShardId(shard as u16))
    }

    /// The same for an address, which is contended from now on.
    fn take_of(&self, address: IpAddr, now: Timestamp) -> Option<ShardId> {
        let mut contended = self.lock();
        if let Some(entry) = contended.iter_mut().find(|entry| entry.address == address) {
            entry.refused_at = now;
            return entry.suspect.take().map(|(shard, _)| shard);
        }
        // guard: contended addresses are bounded [false]
        if contended.len() >= CONTENDED_ADDRESSES {
            let oldest = (0..contended.len()).min_by_key(|index| contended[*index].refused_at)?;
            contended.swap_remove(oldest);
        }
        contended.push(ContendedAddress { address, refused_at: now, suspect: None });
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

    /// A shard publishes when its suspect that has been silent longest was last heard.
    pub fn publish_suspect(&self, shard: ShardId, heard: Option<Timestamp>) {
        self.evictions.publish(shard, heard);
    }

    /// A shard publishes when a suspect of a contended address was last heard.
    pub fn publish_suspect_of(&self, shard: ShardId, address: IpAddr, heard: Timestamp) {
        self.evictions.publish_of(shard, address, heard);
    }

    /// The shard that has the suspect to evict, if there is one, for a connection that was refused
    /// because of this limit. It is given once.
    pub fn take_suspect(&self, scope: EvictionScope, now: Timestamp) -> Option<ShardId> {
        match scope {
            EvictionScope::AllConnections if !self.is_full() => None,
            EvictionScope::AllConnections => self.evictions.take(scope, now),
            EvictionScope::OfAddress(address) => {
                self.evictions.take(EvictionScope::OfAddress(counted_address(address)), now)
            }
        }
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

    #[test]
    fn takes_the_suspect_that_has_been_silent_longest_once() {
        let board = EvictionBoard::new(3);
        let take = || board.take(EvictionScope::AllConnections, at(100));
        assert_eq!(take(), None);
        board.publish(ShardId(0), Some(at(9)));
        board.publish(ShardId(2), Some(at(5)));
        assert_eq!([take(), take(), take()], [Some(ShardId(2)), Some(ShardId(0)), None]);
        board.publish(ShardId(1), Some(at(5)));
        board.publish(ShardId(1), None);
        assert_eq!(take(), None, "the suspect has been heard");
    }

    #[test]
    fn takes_a_suspect_of_the_refused_address_only() {
        let board = EvictionBoard::new(2);
        let take = |last| board.take(EvictionScope::OfAddress(address(last)), at(100));
        board.publish_of(ShardId(0), address(1), at(3));
        assert_eq!(take(1), None, "the address was not contended");
        board.publish_of(ShardId(0), address(1), at(7));
        board.publish_of(ShardId(1), address(1), at(3));
        board.publish_of(ShardId(0), address(2), at(1));
        assert_eq!([take(2), take(1), take(1)], [None, Some(ShardId(1)), None]);
        board.publish_of(ShardId(1), address(1), at(3));
        board.publish(ShardId(0), None);
        assert_eq!(take(1), Some(ShardId(1)));
        board.publish_of(ShardId(1), address(1), at(3));
        board.publish(ShardId(1), None);
        assert_eq!(take(1), None, "the suspect has been heard");
    }

    #[test]
    fn an_address_is_contended_for_a_time_after_its_last_refusal() {
        let board = EvictionBoard::new(1);
        let contended = |now| {
            let mut addresses = Vec::new();
            board.contended(now, &mut addresses);
            addresses
        };
        board.take(EvictionScope::OfAddress(address(1)), at(10));
        assert_eq!(contended(at(11)), [address(1)]);
        assert_eq!(contended(at(10) + CONTENTION_TIME), Vec::<IpAddr>::new());
    }

    #[test]
    fn remembers_a_bounded_number_of_contended_addresses() {
        let board = EvictionBoard::new(1);
        for last in 0..=CONTENDED_ADDRESSES as u8 {
            let now = Timestamp::ZERO + Duration::from_millis(last.into());
            board.take(EvictionScope::OfAddress(address(last)), now);
        }
        let mut addresses = Vec::new();
        board.contended(at(1), &mut addresses);
        assert_eq!(addresses.len(), CONTENDED_ADDRESSES);
        assert!(!addresses.contains(&address(0)), "the oldest was dropped");
    }
}
