//! What time does: silence, slow heads, endings that take too long, shutting down. Pure.
//!
//! There is no timer for a connection. The slab is swept in parts, each connection about once
//! a period, and what is due is found from when it was last heard; so an idle connection costs
//! a look, and pings are spread as the clients came. Which part a slot is in never changes: what
//! falls due between two looks at its part is seen once, however many others come and go.

use super::connection::Role;
use super::core::Core;
use super::host::Host;
use crate::config::Limits;
use crate::ids::{ConnectionKey, Slot};
use crate::limits::{MIN_SWEEP_PERIOD_MS, SWEEP_BLOCK, SWEEP_PARTS, SWEEP_PERIOD_MS};
use crate::telemetry::labels::EndReason;
use crate::timestamp::Timestamp;
use crate::wire::message::server::ServerMessage;
use crate::wire::websocket::frame::{PING, push_server_frame};
use std::time::Duration;
use tungstenite::protocol::frame::coding::CloseCode;

/// Milliseconds that pass only while the shard runs: a process that was stopped for a minute
/// does not find every client silent for a minute. Wraps after 49 days; only differences count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PatientClock {
    nanos: u64,
    last: Option<Timestamp>,
}

impl PatientClock {
    /// More than this between two turns is not counted.
    const PATIENCE: Duration = Duration::from_millis(2 * SWEEP_PERIOD_MS);

    /// It is `now`.
    pub(super) fn advance(&mut self, now: Timestamp) {
        // guard: time does not pass while the process is stopped [drop last call]
        let passed = self.last.map_or(Duration::ZERO, |last| now.since(last)).min(Self::PATIENCE);
        self.nanos += passed.as_nanos() as u64;
        self.last = Some(now);
    }

    /// The time shown.
    #[inline]
    pub(super) fn ms(&self) -> u32 {
        (self.nanos / 1_000_000) as u32
    }
}

/// Where the sweep is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    part: usize,
    /// Between the sweeps of two parts.
    step: Duration,
    next: Option<Timestamp>,
    /// When each part was last swept.
    swept_ms: [u32; SWEEP_PARTS],
}

impl Sweep {
    /// A sweep that is fine enough for these limits.
    pub(super) fn new(limits: &Limits) -> Self {
        let shortest = [
            limits.close_timeout,
            limits.handshake_timeout,
            limits.ping_interval,
            limits.silence_limit,
            limits.drain_timeout,
        ]
        .into_iter()
        .filter(|timeout| !timeout.is_zero())
        .min()
        .unwrap_or(Duration::MAX);
        // A quarter of the shortest time limit is as late as anything may be noticed.
        let period = (shortest / 4).clamp(
            Duration::from_millis(MIN_SWEEP_PERIOD_MS),
            Duration::from_millis(SWEEP_PERIOD_MS),
        );
        Sweep { part: 0, step: period / SWEEP_PARTS as u32, next: None, swept_ms: [0; SWEEP_PARTS] }
    }
}

/// A graceful shutdown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    since_ms: u32,
    /// From here on nobody is left.
    deadline_ms: u32,
}

impl Drain {
    /// When a session without a room is closed: somewhere in the first half, by its key, so
    /// that they do not all come back in the same instant.
    fn leave_ms(&self, key: ConnectionKey) -> u32 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let spread = key.to_word().wrapping_mul(GOLDEN) >> 32;
        let half = self.deadline_ms.wrapping_sub(self.since_ms) / 2;
        self.since_ms.wrapping_add(((spread * u64::from(half)) >> 32) as u32)
    }
}

/// Whether `at` has come.
fn reached(now_ms: u32, at: u32) -> bool {
    now_ms.wrapping_sub(at) as i32 >= 0
}

fn as_ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX / 2)
}

impl<H: Host> Core<H> {
    /// When [`Core::tick`] is next due; never, while there is nothing to watch.
    pub fn next_tick(&self) -> Option<Timestamp> {
        if self.connections.is_empty() { None } else { self.sweep.next.or(Some(self.now)) }
    }

    /// Sweeps the part of the connections that is due, if one is.
    pub fn tick(&mut self) {
        if self.connections.is_empty() {
            self.sweep.next = None;
            self.resting.clear();
            return;
        }
        match self.sweep.next {
            Some(next) if next > self.now => return,
            Some(_) => {}
            None => {
                // Connections have come where there were none: everything counts from here.
                self.sweep.next = Some(self.now + self.sweep.step);
                self.sweep.swept_ms = [self.clock.ms(); SWEEP_PARTS];
                return;
            }
        }
        self.sweep.next = Some(self.now + self.sweep.step);
        self.wake_resting();
        let part = self.sweep.part;
        if part == 0 {
            self.forget_vacant_slots();
        }
        self.sweep.part = (part + 1) % SWEEP_PARTS;
        let swept_ms = std::mem::replace(&mut self.sweep.swept_ms[part], self.clock.ms());
        for block in (part * SWEEP_BLOCK..self.slots_used).step_by(SWEEP_PARTS * SWEEP_BLOCK) {
            for slot in block..self.slots_used.min(block + SWEEP_BLOCK) {
                if let Some(key) = self.key_at(slot) {
                    self.look_after(key, swept_ms);
                }
            }
        }
        self.reap();
    }

    /// After a crowd has gone, its slots are not looked at for ever.
    fn forget_vacant_slots(&mut self) {
        while self.slots_used > 0 && !self.connections.contains(self.slots_used - 1) {
            self.slots_used -= 1;
        }
    }

    /// Does what is due for one connection that was last looked after at `before_ms`.
    fn look_after(&mut self, key: ConnectionKey, before_ms: u32) {
        let now_ms = self.clock.ms();
        let now = self.now;
        let limits = &self.setup.limits;
        let connection = &mut self.connections[key.slot.index()];
        let silent_ms = now_ms.wrapping_sub(connection.heard_ms);
        match &mut connection.role {
            Role::Http(http) => {
                // guard: the handshake timeout closes a connection [false]
                if now_ms.wrapping_sub(http.since_ms) >= as_ms(limits.handshake_timeout) {
                    self.head_timeout(key);
                }
            }
            Role::Lingering(lingering) => {
                // guard: the close timeout closes a connection [false]
                if now_ms.wrapping_sub(lingering.since_ms) >= as_ms(limits.close_timeout) {
                    let reason = lingering.reason;
                    self.counters.close_timeouts.increment();
                    self.mark_for_close(key, reason);
                }
            }
            Role::User(session) => {
                session.expire_recent_partner(now);
                let has_room = session.membership().is_some();
                self.look_after_peer(key, has_room, silent_ms, now_ms.wrapping_sub(before_ms));
            }
            Role::Echo => {
                self.look_after_peer(key, false, silent_ms, now_ms.wrapping_sub(before_ms));
            }
        }
    }

    /// The same for one that speaks WebSocket. It has been silent for `silent_ms`, and was last
    /// looked after `passed_ms` ago.
    fn look_after_peer(
        &mut self,
        key: ConnectionKey,
        has_room: bool,
        silent_ms: u32,
        passed_ms: u32,
    ) {
        let limits = &self.setup.limits;
        if let Some(drain) = self.drain {
            // guard: rooms end at the drain deadline [branch 1 value ($).wrapping_add(1 << 30)]
            let leaves = if has_room { drain.deadline_ms } else { drain.leave_ms(key) };
            if reached(self.clock.ms(), leaves) {
                return self.close(key.slot, CloseCode::Restart, EndReason::Restarting);
            }
        }
        // guard: the silence limit closes a connection [false]
        if silent_ms >= as_ms(limits.silence_limit) {
            return self.close(key.slot, CloseCode::Away, EndReason::Silent);
        }
        self.ping_if_due(key.slot, silent_ms, passed_ms);
    }

    /// How long ago the part of this slot was swept.
    pub(super) fn unseen_ms(&self, slot: Slot) -> u32 {
        let part = slot.index() / SWEEP_BLOCK % SWEEP_PARTS;
        self.clock.ms().wrapping_sub(self.sweep.swept_ms[part])
    }

    /// Pings one that has been silent for `silent_ms`, if that fell due in the last `passed_ms`.
    pub(super) fn ping_if_due(&mut self, slot: Slot, silent_ms: u32, passed_ms: u32) {
        let interval = as_ms(self.setup.limits.ping_interval).max(1);
        if silent_ms / interval > silent_ms.saturating_sub(passed_ms) / interval {
            self.ping(slot);
        }
    }

    fn ping(&mut self, slot: Slot) {
        let connection = &self.connections[slot.index()];
        // One that does not take what it is sent would not read a ping either.
        // guard: a connection with a held-back `waiting` is pinged [operand 2 false]
        if !connection.has_unsent() || connection.is_held_back() {
            let mut bytes = Vec::new();
            push_server_frame(&mut bytes, PING, b"");
            self.write(slot, &bytes);
        }
    }

    /// Tells a client that the server shuts down, if it does, and how much time is left.
    pub(super) fn tell_of_drain(&mut self, slot: Slot) {
        let Some(drain) = self.drain else { return };
        let left_ms = drain.deadline_ms.wrapping_sub(self.clock.ms()) as i32;
        let deadline_ms = u64::try_from(left_ms).unwrap_or(0);
        self.say(slot, ServerMessage::Draining { deadline_ms });
    }

    /// Begins to shut down: everybody is told.
    pub(super) fn quiesce(&mut self) {
        if self.drain.is_some() {
            return;
        }
        let deadline = as_ms(self.setup.limits.drain_timeout);
        let since_ms = self.clock.ms();
        self.drain = Some(Drain { since_ms, deadline_ms: since_ms.wrapping_add(deadline) });
        for slot in 0..self.slots_used {
            if self.connections.get(slot).is_some_and(|c| c.session().is_some()) {
                self.tell_of_drain(Slot(slot as u32));
            }
        }
        // Whoever is due at once need not wait for the sweep.
        if deadline == 0 {
            for slot in 0..self.slots_used {
                if let Some(key) = self.key_at(slot) {
                    self.look_after(key, since_ms);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Serial;

    #[test]
    fn a_stop_of_the_process_does_not_count_as_silence() {
        let mut clock = PatientClock::default();
        let second = Duration::from_secs(1);
        clock.advance(Timestamp::ZERO + second);
        clock.advance(Timestamp::ZERO + second * 2);
        assert_eq!(clock.ms(), 1000);
        clock.advance(Timestamp::ZERO + second * 3600);
        assert_eq!(clock.ms(), 3000);
        clock.advance(Timestamp::ZERO);
        assert_eq!(clock.ms(), 3000, "a clock set back stands still");
    }

    #[test]
    fn departures_are_spread_over_the_first_half() {
        let since_ms = u32::MAX - 5_000;
        let drain = Drain { since_ms, deadline_ms: since_ms.wrapping_add(30_000) };
        let mut quarters = [0; 4];
        for n in 0..4000 {
            let key = ConnectionKey { slot: Slot(n % 64), serial: Serial(n) };
            let after = drain.leave_ms(key).wrapping_sub(since_ms);
            assert!(after < 15_000, "{after}");
            quarters[after as usize / 3750] += 1;
        }
        assert!(quarters.iter().all(|count| (800..1200).contains(count)), "{quarters:?}");
    }
}
