//! The sessions of a shard whose client owes an answer to a ping, longest silent first to go when a
//! limit on connections is reached. Pure.
//!
//! Each sweep of a part of the table rebuilds the list of that part: at most [`SUSPECTS_PER_PART`]
//! sessions, those that have been silent longest. A session is listed once its client has been
//! pinged, and is suspect when the ping has been unanswered for a whole liveness window. While
//! connections are refused, sessions are pinged sooner than `--ping-interval` to find suspects
//! among them: each that a sweep adds to a list, also if a later one displaces it.

use crate::commands::EvictionScope;
use crate::ids::ConnectionKey;
use crate::limits::{SUSPECTS_PER_PART, SWEEP_PARTS};
use std::net::IpAddr;

/// Which connections are being refused.
#[derive(Clone, Debug, Default)]
pub struct Contention {
    /// Whether the limit on all connections is reached.
    pub is_full: bool,
    /// Addresses that are refused because of their own limit.
    pub addresses: Vec<IpAddr>,
}

/// A session whose client owes an answer. Times are in milliseconds on the shard's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) key: ConnectionKey,
    /// When the client was last heard. If that has changed, the client has answered.
    pub(super) heard_ms: u32,
    /// By when the client had been sent the ping.
    pub(super) pinged_ms: u32,
    /// The address for which the connection is counted, if that address is contended.
    pub(super) address: Option<IpAddr>,
}

impl Suspect {
    /// Those of the highest rank are listed. Sessions of a contended address come first, since no
    /// others help its clients.
    fn rank(&self, now_ms: u32) -> (bool, u32) {
        (self.address.is_some(), now_ms.wrapping_sub(self.heard_ms))
    }
}

/// The lists of a shard.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    parts: [Vec<Suspect>; SWEEP_PARTS],
    /// The part that is being swept, its list of the last sweep, and the new one.
    part: usize,
    known: Vec<Suspect>,
    found: Vec<Suspect>,
    /// What was refused when this sweep began.
    pub(super) contention: Contention,
    /// Evictions to carry out in this iteration: one for each suspect that was published.
    pub(super) requested: Vec<EvictionScope>,
    /// Sessions that were evicted and whose connections still linger.
    pub(super) evicted: usize,
}

impl Suspects {
    /// The sweep of a part begins.
    pub(super) fn begin(&mut self, part: usize) {
        self.part = part;
        self.known = std::mem::take(&mut self.parts[part]);
    }

    /// A session was visited whose client has been sent a ping, or is to be sent one. True if it is
    /// listed for the first time, and has to be pinged if it was not.
    pub(super) fn add(&mut self, suspect: Suspect, now_ms: u32) -> bool {
        let known = self
            .known
            .iter()
            .find(|known| known.key == suspect.key && known.heard_ms == suspect.heard_ms);
        let suspect =
            Suspect { pinged_ms: known.map_or(now_ms, |known| known.pinged_ms), ..suspect };
        let is_new = known.is_none();
        // guard: the suspects of a shard are bounded [true]
        if self.found.len() < SUSPECTS_PER_PART {
            self.found.push(suspect);
            return is_new;
        }
        let last = self.found.iter_mut().min_by_key(|one| one.rank(now_ms));
        match last {
            Some(last) if last.rank(now_ms) < suspect.rank(now_ms) => *last = suspect,
            Some(_) | None => return false,
        }
        is_new
    }

    /// Whether [`Suspects::add`] would list this session.
    pub(super) fn admits(&self, suspect: &Suspect, now_ms: u32) -> bool {
        self.found.len() < SUSPECTS_PER_PART
            || self.found.iter().any(|one| one.rank(now_ms) < suspect.rank(now_ms))
    }

    /// The sweep of the part is over.
    pub(super) fn finish(&mut self) {
        self.parts[self.part] = std::mem::take(&mut self.found);
    }

    /// The sessions whose client has owed an answer for `window_ms`.
    pub(super) fn overdue(&self, now_ms: u32, window_ms: u32) -> impl Iterator<Item = &Suspect> {
        let all = self.parts.iter().flatten();
        // guard: a suspect has not answered for a whole window [value true]
        all.filter(move |one| now_ms.wrapping_sub(one.pinged_ms) >= window_ms)
    }

    /// Takes out the overdue session of this scope that has been silent longest.
    pub(super) fn take_longest(
        &mut self,
        scope: EvictionScope,
        now_ms: u32,
        window_ms: u32,
    ) -> Option<Suspect> {
        let is_in_scope = |one: &&Suspect| match scope {
            EvictionScope::AllConnections => true,
            // guard: an address evicts its own suspects only [value true]
            EvictionScope::OfAddress(address) => one.address == Some(address),
        };
        let silent_ms = |one: &&Suspect| now_ms.wrapping_sub(one.heard_ms);
        let longest = *self.overdue(now_ms, window_ms).filter(is_in_scope).max_by_key(silent_ms)?;
        for part in &mut self.parts {
            part.retain(|one| one.key != longest.key);
        }
        Some(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Serial, Slot};

    const WINDOW_MS: u32 = 5000;
    const ALL: EvictionScope = EvictionScope::AllConnections;

    fn suspect(slot: u32, heard_ms: u32) -> Suspect {
        let key = ConnectionKey { slot: Slot(slot), serial: Serial(1) };
        Suspect { key, heard_ms, pinged_ms: 0, address: None }
    }

    /// Sweeps the first part, in which these sessions are found. Returns which were new.
    fn sweep(suspects: &mut Suspects, found: &[Suspect], now_ms: u32) -> Vec<bool> {
        suspects.begin(0);
        let new = found.iter().map(|one| suspects.add(*one, now_ms)).collect();
        suspects.finish();
        new
    }

    #[test]
    fn a_session_is_suspect_a_window_after_it_was_first_listed() {
        let mut suspects = Suspects::default();
        let one = suspect(1, 0);
        assert_eq!(sweep(&mut suspects, &[one], 30_000), [true]);
        assert_eq!(sweep(&mut suspects, &[one], 31_000), [false]);
        assert_eq!(suspects.take_longest(ALL, 34_999, WINDOW_MS), None);
        let taken = suspects.take_longest(ALL, 35_000, WINDOW_MS);
        assert_eq!(taken.map(|taken| taken.key), Some(one.key));
        assert_eq!(suspects.take_longest(ALL, 35_000, WINDOW_MS), None, "it is taken once");
    }

    #[test]
    fn an_answer_ends_the_suspicion() {
        let mut suspects = Suspects::default();
        sweep(&mut suspects, &[suspect(1, 0)], 30_000);
        // It has answered, and has been silent since.
        assert_eq!(sweep(&mut suspects, &[suspect(1, 32_000)], 60_000), [true]);
        assert_eq!(suspects.take_longest(ALL, 64_000, WINDOW_MS), None);
        sweep(&mut suspects, &[], 61_000);
        assert_eq!(suspects.take_longest(ALL, 99_000, WINDOW_MS), None);
    }

    #[test]
    fn keeps_a_bounded_number_and_those_that_have_been_silent_longest() {
        let mut suspects = Suspects::default();
        let many: Vec<Suspect> = (0..100).map(|n| suspect(n, 100 - n)).collect();
        sweep(&mut suspects, &many, 30_000);
        let kept: Vec<u32> = suspects.overdue(40_000, WINDOW_MS).map(|one| one.heard_ms).collect();
        assert_eq!(kept.len(), SUSPECTS_PER_PART);
        assert!(kept.iter().all(|heard_ms| *heard_ms <= SUSPECTS_PER_PART as u32), "{kept:?}");
        let taken = suspects.take_longest(ALL, 40_000, WINDOW_MS).unwrap();
        assert_eq!(taken.heard_ms, 1);
    }

    #[test]
    fn finds_suspects_of_an_address_before_all_others() {
        let mut suspects = Suspects::default();
        let address = Some(IpAddr::from([10, 0, 0, 7]));
        let mut many: Vec<Suspect> = (0..100).map(|n| suspect(n, n)).collect();
        many.push(Suspect { address, ..suspect(200, 20_000) });
        sweep(&mut suspects, &many, 30_000);
        let scope = |last| EvictionScope::OfAddress(IpAddr::from([10, 0, 0, last]));
        assert_eq!(suspects.take_longest(scope(8), 40_000, WINDOW_MS), None);
        let taken = suspects.take_longest(scope(7), 40_000, WINDOW_MS).unwrap();
        assert_eq!(taken.heard_ms, 20_000);
    }
}
