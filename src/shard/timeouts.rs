//! The clock of a shard's timeouts, and the sweep that finds connections with one due. Pure.
//!
//! No connection has a timer of its own. The slots are swept in parts, each about once a period,
//! and what is due follows from the time at which bytes last arrived from it. So an idle connection
//! costs one visit a period, and pings are spread in time as the connections came. The part of a
//! slot never changes: what falls due between two visits is seen once, however many other
//! connections come and go.

use crate::config::Limits;
use crate::ids::Slot;
use crate::limits::{MIN_SWEEP_PERIOD_MS, SWEEP_BLOCK, SWEEP_PARTS, SWEEP_PERIOD_MS};
use crate::timestamp::Timestamp;
use std::ops::Range;
use std::time::Duration;

/// Milliseconds in which the shard has been running. A process that was stopped for a minute does
/// not find every client silent for a minute. Wraps after 49 days; only differences count.
#[derive(Clone, Copy, Debug, Default)]
struct RunningClock {
    nanos: u64,
    last: Option<Timestamp>,
}

impl RunningClock {
    /// Time beyond this between two iterations is not counted.
    const MAX_STEP: Duration = Duration::from_millis(2 * SWEEP_PERIOD_MS);

    fn advance(&mut self, now: Timestamp) {
        // guard: time does not pass while the process is stopped [drop last call]
        let passed = self.last.map_or(Duration::ZERO, |last| now.since(last)).min(Self::MAX_STEP);
        self.nanos += passed.as_nanos() as u64;
        self.last = Some(now);
    }

    #[inline]
    fn ms(&self) -> u32 {
        (self.nanos / 1_000_000) as u32
    }
}

/// The clock and the position of the sweep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    clock: RunningClock,
    part: usize,
    /// Time between the sweeps of two parts.
    step: Duration,
    /// When the next part is due; `None` while there are no connections.
    next: Option<Timestamp>,
    /// When each part was last swept, in milliseconds on the clock.
    swept_ms: [u32; SWEEP_PARTS],
}

/// A part of the slots that is being swept.
#[derive(Clone, Copy, Debug)]
pub(super) struct SweptPart {
    part: usize,
    /// When it was swept before.
    pub(super) previous_ms: u32,
}

impl Timeouts {
    /// A sweep that is fine enough for these limits: a timeout is noticed late by at most a
    /// quarter of the shortest.
    pub(super) fn new(limits: &Limits) -> Self {
        let shortest = [
            limits.close_timeout,
            limits.handshake_timeout,
            limits.idle_timeout,
            limits.ping_interval,
            limits.silence_limit,
            limits.liveness_window,
            limits.drain_timeout,
            limits.message_timeout,
        ]
        .into_iter()
        .filter(|timeout| !timeout.is_zero())
        .min()
        .unwrap_or(Duration::MAX);
        let period = (shortest / 4).clamp(
            Duration::from_millis(MIN_SWEEP_PERIOD_MS),
            Duration::from_millis(SWEEP_PERIOD_MS),
        );
        Timeouts {
            clock: RunningClock::default(),
            part: 0,
            step: period / SWEEP_PARTS as u32,
            next: None,
            swept_ms: [0; SWEEP_PARTS],
        }
    }

    /// An iteration begins at `now`.
    pub(super) fn advance(&mut self, now: Timestamp) {
        self.clock.advance(now);
    }

    /// The time on the clock that excludes time in which the process was stopped.
    #[inline]
    pub(super) fn now_ms(&self) -> u32 {
        self.clock.ms()
    }

    /// When the next part is due, if the sweep has begun.
    pub(super) fn next_sweep(&self) -> Option<Timestamp> {
        self.next
    }

    /// There are no connections.
    pub(super) fn stop_sweeping(&mut self) {
        self.next = None;
    }

    /// Begins the sweep of the next part, if it is due.
    pub(super) fn begin_part(&mut self, now: Timestamp) -> Option<SweptPart> {
        match self.next {
            Some(next) if next > now => return None,
            Some(_) => {}
            None => {
                // There were no connections: nothing was due before now.
                self.next = Some(now + self.step);
                self.swept_ms = [self.clock.ms(); SWEEP_PARTS];
                return None;
            }
        }
        self.next = Some(now + self.step);
        let part = self.part;
        self.part = (part + 1) % SWEEP_PARTS;
        let previous_ms = std::mem::replace(&mut self.swept_ms[part], self.clock.ms());
        Some(SweptPart { part, previous_ms })
    }

    /// How long ago the part of this slot was swept.
    pub(super) fn since_sweep_ms(&self, slot: Slot) -> u32 {
        let part = slot.index() / SWEEP_BLOCK % SWEEP_PARTS;
        self.clock.ms().wrapping_sub(self.swept_ms[part])
    }
}

impl SweptPart {
    /// Its number, below [`SWEEP_PARTS`].
    pub(super) fn index(&self) -> usize {
        self.part
    }

    /// Whether it is the first part of a period.
    pub(super) fn is_first(&self) -> bool {
        self.part == 0
    }

    /// The slots of this part among those that may be occupied.
    pub(super) fn slots(&self, used: Range<usize>) -> impl Iterator<Item = Slot> {
        (self.part * SWEEP_BLOCK..used.end)
            .step_by(SWEEP_PARTS * SWEEP_BLOCK)
            .flat_map(move |block| block..used.end.min(block + SWEEP_BLOCK))
            .map(|slot| Slot(slot as u32))
    }
}

/// Whether the time `at_ms` has come. The clock wraps.
pub(super) fn is_reached(now_ms: u32, at_ms: u32) -> bool {
    now_ms.wrapping_sub(at_ms) as i32 >= 0
}

/// A duration in milliseconds, at most half the range of the clock.
pub(super) fn as_ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_not_count_time_in_which_the_process_was_stopped() {
        let mut clock = RunningClock::default();
        let second = Duration::from_secs(1);
        clock.advance(Timestamp::ZERO + second);
        clock.advance(Timestamp::ZERO + second * 2);
        assert_eq!(clock.ms(), 1000);
        clock.advance(Timestamp::ZERO + second * 3600);
        assert_eq!(clock.ms(), 3000);
        clock.advance(Timestamp::ZERO);
        assert_eq!(clock.ms(), 3000, "a clock that is set back does not advance");
    }

    #[test]
    fn visits_each_slot_once_a_period() {
        let mut timeouts = Timeouts::new(&Limits::default());
        assert!(timeouts.begin_part(Timestamp::ZERO).is_none(), "the sweep begins");
        let mut now = Timestamp::ZERO;
        let mut visited = Vec::new();
        for nth in 0..SWEEP_PARTS {
            now = now + timeouts.step;
            let part = timeouts.begin_part(now).unwrap();
            assert_eq!(part.is_first(), nth == 0);
            visited.extend(part.slots(0..1001).map(Slot::index));
        }
        visited.sort_unstable();
        assert_eq!(visited, (0..1001).collect::<Vec<_>>());
    }

    #[test]
    fn compares_times_across_the_wrap_of_the_clock() {
        assert!(is_reached(5, u32::MAX - 5) && !is_reached(u32::MAX - 5, 5));
    }
}
