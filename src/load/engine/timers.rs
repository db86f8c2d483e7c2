//! Wake-up calls for users. Pure.
//!
//! One wheel of a second with a slot for each millisecond, and a map of the seconds behind it.
//! A heap would do, but its comparisons, which no processor can predict, were 60 % of the
//! time the generator's own loop took at 17,000 messages a second.

use crate::timestamp::Timestamp;
use std::collections::BTreeMap;

/// Nanoseconds of a tick: planned moments lie on this grid, see `user::call`.
const TICK_NANOS: u64 = 1_000_000;
/// Ticks in a round of the wheel.
const TICKS: u64 = 1024;
const WORD_BITS: usize = u64::BITS as usize;
const WORDS: usize = TICKS as usize / WORD_BITS;

#[derive(Clone, Copy, Debug)]
struct WakeUp {
    at: Timestamp,
    slot: u32,
    serial: u32,
}

/// Wake-up calls. An entry is not taken back: who is woken too early goes to sleep again.
#[derive(Debug)]
pub(super) struct UserTimers {
    /// What is due in ticks before `tick`, the latest first.
    ready: Vec<WakeUp>,
    /// The first tick that is still in the wheel.
    tick: u64,
    /// The ticks of the round that `tick` is in.
    wheel: Vec<Vec<WakeUp>>,
    /// Bit *i*: whether slot *i* of the wheel holds anything.
    filled: [u64; WORDS],
    /// Later rounds.
    far: BTreeMap<u64, Vec<WakeUp>>,
}

impl Default for UserTimers {
    fn default() -> Self {
        UserTimers {
            ready: Vec::new(),
            tick: 0,
            wheel: (0..TICKS).map(|_| Vec::new()).collect(),
            filled: [0; WORDS],
            far: BTreeMap::new(),
        }
    }
}

fn tick_of(at: Timestamp) -> u64 {
    at.as_nanos() / TICK_NANOS
}

impl UserTimers {
    /// Wakes `slot`, if it still has this `serial`, at `at`.
    pub(super) fn push(&mut self, at: Timestamp, slot: u32, serial: u32) {
        let (call, tick) = (WakeUp { at, slot, serial }, tick_of(at));
        if tick < self.tick {
            let place = self.ready.partition_point(|other| other.at > at);
            self.ready.insert(place, call);
        } else if tick / TICKS == self.tick / TICKS {
            self.put(tick, call);
        } else {
            self.far.entry(tick / TICKS).or_default().push(call);
        }
    }

    fn put(&mut self, tick: u64, call: WakeUp) {
        let index = (tick % TICKS) as usize;
        self.wheel[index].push(call);
        self.filled[index / WORD_BITS] |= 1 << (index % WORD_BITS);
    }

    /// Who is to be woken by `now`.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(u32, u32)> {
        if self.tick <= tick_of(now) {
            self.advance(tick_of(now) + 1);
        }
        let call = self.ready.pop_if(|call| call.at <= now)?;
        Some((call.slot, call.serial))
    }

    /// Makes everything before the tick `to` ready.
    fn advance(&mut self, to: u64) {
        let before = self.ready.len();
        while self.tick < to {
            let round = self.tick / TICKS;
            let end = to.min((round + 1) * TICKS);
            while let Some(index) = self.next_filled().filter(|index| round * TICKS + index < end) {
                let index = index as usize;
                self.filled[index / WORD_BITS] &= !(1 << (index % WORD_BITS));
                self.ready.append(&mut self.wheel[index]);
            }
            self.tick = end;
            if end.is_multiple_of(TICKS) {
                for call in self.far.remove(&(end / TICKS)).unwrap_or_default() {
                    self.put(tick_of(call.at), call);
                }
            }
        }
        if self.ready.len() > before {
            // Nearly sorted the other way round, which this sort is quick with.
            self.ready.sort_by_key(|call| std::cmp::Reverse(call.at));
        }
    }

    /// The first slot of the wheel that holds anything.
    fn next_filled(&self) -> Option<u64> {
        let word = self.filled.iter().position(|word| *word != 0)?;
        Some((word * WORD_BITS) as u64 + u64::from(self.filled[word].trailing_zeros()))
    }

    /// When somebody is to be woken next, or a moment before that.
    pub(super) fn next(&self) -> Option<Timestamp> {
        if let Some(call) = self.ready.last() {
            return Some(call.at);
        }
        if let Some(index) = self.next_filled() {
            return self.wheel[index as usize].iter().map(|call| call.at).min();
        }
        let (round, _) = self.far.first_key_value()?;
        Some(Timestamp::from_nanos(round * TICKS * TICK_NANOS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn timers_ring_in_order_and_not_before_their_time() {
        let at = Timestamp::from_nanos;
        let mut timers = UserTimers::default();
        for (time, slot) in [(30, 3), (10, 1), (20, 2)] {
            timers.push(at(time), slot, 0);
        }
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop(at(25)), Some((1, 0)));
        assert_eq!(timers.pop(at(25)), Some((2, 0)));
        assert_eq!(timers.pop(at(25)), None);
    }

    #[test]
    fn a_day_ahead_is_not_forgotten_and_wakes_nobody_before() {
        let mut timers = UserTimers::default();
        let day = Timestamp::ZERO + Duration::from_secs(86_400) + Duration::from_micros(1);
        timers.push(day, 1, 2);
        let mut now = Timestamp::ZERO;
        let mut wakes = 0;
        while timers.pop(now).is_none() {
            let next = timers.next().unwrap();
            assert!(now < next && next <= day);
            now = next;
            wakes += 1;
        }
        assert_eq!(now, day);
        assert!(wakes <= 2, "{wakes}");
    }

    proptest! {
        /// Against a list that is searched: nobody is forgotten, early or out of order, however
        /// far apart the looks are.
        #[test]
        fn they_ring_as_a_plain_list_would(
            steps in prop::collection::vec((0u64..6_000_000_000, 0u64..3_000_000_000), 1..60),
        ) {
            let (mut timers, mut list, mut now) = (UserTimers::default(), Vec::new(), 0u64);
            for (number, (ahead, pass)) in (0u32..).zip(steps) {
                timers.push(Timestamp::from_nanos(now + ahead), number, 7);
                list.push((now + ahead, number));
                now += pass;
                let next = timers.next().map(Timestamp::as_nanos);
                prop_assert!(next.unwrap() <= list.iter().min().unwrap().0);
                let mut rung = Vec::new();
                while let Some((number, 7)) = timers.pop(Timestamp::from_nanos(now)) {
                    let place = list.iter().position(|(_, known)| *known == number).unwrap();
                    rung.push(list.remove(place).0);
                }
                prop_assert!(rung.is_sorted() && rung.iter().all(|at| *at <= now));
                prop_assert!(list.iter().all(|(at, _)| *at > now));
            }
        }
    }
}
