//! The connections of a shard that can be closed when a limit on connections is reached: HTTP
//! connections that are idle between two requests, and sessions whose client owes an answer to a
//! ping. Of each kind the one that has been silent longest goes first. Pure.
//!
//! Each sweep of a part of the table rebuilds the list of that part: at most [`SUSPECTS_PER_PART`]
//! connections, the idle ones first, then those that have been silent longest. An idle HTTP connection
//! can be closed as soon as it is listed. A session is listed once its client has been pinged, and is
//! suspect when the ping has been unanswered for a whole liveness window. While
//! connections are refused, sessions are pinged sooner than `--ping-interval` to find suspects
//! among them: each that a sweep adds to a list, also if a later one displaces it.

use crate::commands::{EvictionRequest, EvictionScope};
use crate::ids::ConnectionKey;
use crate::limits::{SUSPECTS_PER_PART, SWEEP_PARTS};
use std::net::IpAddr;

/// Which connections are being refused.
#[derive(Clone, Debug, Default)]
pub struct Contention {
    /// Whether the limit on all connections is reached, or that of this shard.
    pub is_full: bool,
    /// Addresses that are refused because of their own limit.
    pub addresses: Vec<IpAddr>,
}

/// A connection that can be closed. Times are in milliseconds on the shard's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) key: ConnectionKey,
    /// When the client was last heard. If that has changed, the client has answered.
    pub(super) heard_ms: u32,
    /// By when the client of a session had been sent the ping. `None` of an HTTP connection, which
    /// owes no answer.
    pub(super) pinged_ms: Option<u32>,
    /// The address for which the connection is counted, if that address is contended.
    pub(super) address: Option<IpAddr>,
}

impl Suspect {
    /// Those of the highest rank are listed. Connections of a contended address come first, since
    /// no others help its clients.
    fn rank(&self, now_ms: u32) -> (bool, bool, u32) {
        (self.address.is_some(), self.is_idle(), now_ms.wrapping_sub(self.heard_ms))
    }

    /// Whether it is an HTTP connection between two requests, and not a session.
    pub(super) fn is_idle(&self) -> bool {
        self.pinged_ms.is_none()
    }

    fn is_in(&self, scope: EvictionScope) -> bool {
        match scope {
            EvictionScope::AllConnections => true,
            // guard: an address evicts its own suspects only [value true]
            EvictionScope::OfAddress(address) => self.address == Some(address),
        }
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
    /// Evictions to carry out in this iteration: one for each refusal that found a connection.
    pub(super) requested: Vec<EvictionRequest>,
    /// Sessions that were evicted and whose connections still linger.
    pub(super) evicted: usize,
}

impl Suspects {
    /// The sweep of a part begins.
    pub(super) fn begin(&mut self, part: usize) {
        self.part = part;
        self.known = std::mem::take(&mut self.parts[part]);
    }

    /// An idle HTTP connection was visited, or a session whose client has been sent a ping, or is to
    /// be sent one. True if it is listed for the first time: a session has to be pinged if it was not.
    pub(super) fn add(&mut self, suspect: Suspect, now_ms: u32) -> bool {
        let is_same = |known: &&Suspect| {
            let is_same_kind = known.is_idle() == suspect.is_idle();
            is_same_kind && known.key == suspect.key && known.heard_ms == suspect.heard_ms
        };
        let known = self.known.iter().find(is_same);
        let pinged_ms = known.map_or(suspect.pinged_ms, |known| known.pinged_ms);
        let suspect = Suspect { pinged_ms, ..suspect };
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

    /// Whether [`Suspects::add`] would list this connection.
    pub(super) fn admits(&self, suspect: &Suspect, now_ms: u32) -> bool {
        self.found.len() < SUSPECTS_PER_PART
            || self.found.iter().any(|one| one.rank(now_ms) < suspect.rank(now_ms))
    }

    /// The sweep of the part is over.
    pub(super) fn finish(&mut self) {
        self.parts[self.part] = std::mem::take(&mut self.found);
    }

    /// The idle HTTP connections, and the sessions whose client has owed an answer for `window_ms`.
    pub(super) fn overdue(&self, now_ms: u32, window_ms: u32) -> impl Iterator<Item = &Suspect> {
        let all = self.parts.iter().flatten();
        let is_overdue = move |pinged_ms: u32| now_ms.wrapping_sub(pinged_ms) >= window_ms;
        // guard: a suspect has not answered for a whole window [drop last call]
        all.filter(move |one| one.pinged_ms.is_none_or(is_overdue))
    }

    /// Takes out the idle HTTP connection of this scope that has been silent longest.
    pub(super) fn take_idle(&mut self, scope: EvictionScope, now_ms: u32) -> Option<Suspect> {
        let idle = self.parts.iter().flatten().filter(|one| one.is_idle() && one.is_in(scope));
        let longest = idle.max_by_key(|one| now_ms.wrapping_sub(one.heard_ms)).copied();
        self.take_out(longest)
    }

    /// Takes out the overdue session of this scope that has been silent longest.
    pub(super) fn take_longest(
        &mut self,
        scope: EvictionScope,
        now_ms: u32,
        window_ms: u32,
    ) -> Option<Suspect> {
        let sessions = self.overdue(now_ms, window_ms).filter(|one| !one.is_idle());
        let in_scope = sessions.filter(|one| one.is_in(scope));
        let longest = in_scope.max_by_key(|one| now_ms.wrapping_sub(one.heard_ms)).copied();
        self.take_out(longest)
    }

    fn take_out(&mut self, suspect: Option<Suspect>) -> Option<Suspect> {
        let taken = suspect?;
        for part in &mut self.parts {
            part.retain(|one| one.key != taken.key);
        }
        Some(taken)
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
        Suspect { key, heard_ms, pinged_ms: Some(30_000), address: None }
    }

    fn idle(slot: u32, heard_ms: u32) -> Suspect {
        Suspect { pinged_ms: None, ..suspect(slot, heard_ms) }
    }

    /// Sweeps the first part, in which these sessions are found. Returns which were new.
    fn sweep(suspects: &mut Suspects, found: &[Suspect], now_ms: u32) -> Vec<bool> {
        suspects.begin(0);
        let pinged = |one: &Suspect| Suspect { pinged_ms: one.pinged_ms.map(|_| now_ms), ..*one };
        let new = found.iter().map(|one| suspects.add(pinged(one), now_ms)).collect();
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

    #[test]
    fn idle_connections_are_listed_before_sessions_and_can_be_closed_at_once() {
        let mut suspects = Suspects::default();
        let mut many: Vec<Suspect> = (0..100).map(|n| suspect(n, n)).collect();
        many.extend([idle(200, 29_000), idle(201, 28_000)]);
        sweep(&mut suspects, &many, 30_000);
        assert_eq!(suspects.overdue(30_000, WINDOW_MS).count(), 2);
        assert_eq!(suspects.take_longest(ALL, 30_000, WINDOW_MS), None, "these are no sessions");
        let mut take = || suspects.take_idle(ALL, 30_000).map(|taken| taken.key.slot.0);
        assert_eq!([take(), take(), take()], [Some(201), Some(200), None]);
    }

    #[test]
    fn a_session_is_not_overdue_because_its_connection_was_idle_before() {
        let mut suspects = Suspects::default();
        sweep(&mut suspects, &[idle(1, 30_000)], 30_000);
        assert_eq!(sweep(&mut suspects, &[suspect(1, 30_000)], 31_000), [true]);
        assert_eq!(suspects.overdue(31_000, WINDOW_MS).count(), 0);
    }

    #[test]
    fn an_address_takes_its_own_idle_connections_only() {
        let mut suspects = Suspects::default();
        let address = Some(IpAddr::from([10, 0, 0, 7]));
        let own = Suspect { address, ..idle(2, 20_000) };
        sweep(&mut suspects, &[idle(1, 10_000), own], 30_000);
        let scope = |last| EvictionScope::OfAddress(IpAddr::from([10, 0, 0, last]));
        assert_eq!(suspects.take_idle(scope(8), 30_000), None);
        assert_eq!(suspects.take_idle(scope(7), 30_000), Some(own));
    }
}
