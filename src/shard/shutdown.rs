//! The graceful shutdown of a shard. Pure.

use super::core::Core;
use super::host::Host;
use super::timeouts::as_ms;
use crate::ids::{ConnectionKey, Slot};
use crate::wire::message::server::ServerMessage;

/// Whether the shard is shutting down, and until when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shutdown {
    drain: Option<Drain>,
}

/// A drain that has begun. Times are in milliseconds on the shard's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    since_ms: u32,
    /// When the last connection is closed.
    deadline_ms: u32,
}

impl Shutdown {
    /// Begins the drain. False if it has begun before.
    fn start(&mut self, now_ms: u32, timeout_ms: u32) -> bool {
        if self.is_draining() {
            return false;
        }
        self.drain = Some(Drain { since_ms: now_ms, deadline_ms: now_ms.wrapping_add(timeout_ms) });
        true
    }

    /// Whether the shard is shutting down.
    #[inline]
    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// The drain, if it has begun.
    pub(super) fn drain(&self) -> Option<Drain> {
        self.drain
    }
}

impl Drain {
    /// When a session is closed: in a room at the deadline; otherwise at a time within the first
    /// half that is spread by the key, so that the clients do not all reconnect at once.
    pub(super) fn closes_at_ms(&self, key: ConnectionKey, in_room: bool) -> u32 {
        const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
        let spread = key.to_word().wrapping_mul(GOLDEN_RATIO) >> 32;
        let half_ms = u64::from(self.deadline_ms.wrapping_sub(self.since_ms) / 2);
        let early_ms = self.since_ms.wrapping_add(((spread * half_ms) >> 32) as u32);
        match in_room {
            // guard: rooms end at the drain deadline [value ($).wrapping_add(1 << 30)]
            true => self.deadline_ms,
            false => early_ms,
        }
    }

    /// The time until the deadline.
    fn left_ms(&self, now_ms: u32) -> u64 {
        let left_ms = self.deadline_ms.wrapping_sub(now_ms) as i32;
        u64::try_from(left_ms).unwrap_or(0)
    }
}

impl<H: Host> Core<H> {
    /// Begins the graceful shutdown: every session is sent `draining` with the deadline.
    pub(super) fn start_drain(&mut self) {
        let now_ms = self.timeouts.now_ms();
        let timeout_ms = as_ms(self.setup.limits.drain_timeout);
        if !self.shutdown.start(now_ms, timeout_ms) {
            return;
        }
        for slot in self.table.slots() {
            self.announce_drain(Slot(slot as u32));
        }
        // Without a timeout every connection is due now and need not wait for the sweep.
        if timeout_ms == 0 {
            for slot in self.table.slots() {
                if let Some(key) = self.table.key_at(Slot(slot as u32)) {
                    self.enforce_timeouts(key, now_ms);
                }
            }
        }
    }

    /// Sends a session `draining` with the time that is left, if the shard is shutting down.
    pub(super) fn announce_drain(&mut self, slot: Slot) {
        if self.table.session(slot).is_some()
            && let Some(drain) = self.shutdown.drain()
        {
            let deadline_ms = drain.left_ms(self.timeouts.now_ms());
            self.send_message(slot, ServerMessage::Draining { deadline_ms });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Serial;

    #[test]
    fn spreads_the_end_of_sessions_without_a_room_over_the_first_half() {
        let since_ms = u32::MAX - 5_000;
        let drain = Drain { since_ms, deadline_ms: since_ms.wrapping_add(30_000) };
        let mut quarters = [0; 4];
        for n in 0..4000 {
            let key = ConnectionKey { slot: Slot(n % 64), serial: Serial(n) };
            let after_ms = drain.closes_at_ms(key, false).wrapping_sub(since_ms);
            assert!(after_ms < 15_000, "{after_ms}");
            quarters[after_ms as usize / 3750] += 1;
            assert_eq!(drain.closes_at_ms(key, true), drain.deadline_ms);
        }
        assert!(quarters.iter().all(|count| (800..1200).contains(count)), "{quarters:?}");
    }

    #[test]
    fn keeps_the_first_deadline_when_it_is_started_again() {
        let mut shutdown = Shutdown::default();
        assert!(shutdown.start(100, 30_000));
        assert!(!shutdown.start(5_100, 30_000));
        let left_ms = |now_ms| shutdown.drain().map(|drain| drain.left_ms(now_ms));
        assert_eq!([left_ms(5_100), left_ms(40_000)], [Some(25_000), Some(0)]);
    }
}
