//! Wake-up timers of the connections. Pure.
//!
//! A wheel of 1,024 slots of one millisecond, and a map of the later rounds. With a binary heap,
//! its unpredictable comparisons took 60 % of the time of the generator's own loop at 17,000
//! messages a second.

use crate::timestamp::Timestamp;
use std::collections::BTreeMap;

/// Nanoseconds of a tick; planned sending times are multiples of it, see `user::call`.
const TICK_NANOS: u64 = 1_000_000;
/// Ticks in one round of the wheel.
const TICKS: u64 = 1024;
const WORD_BITS: usize = u64::BITS as usize;
const WORDS: usize = TICKS as usize / WORD_BITS;

#[derive(Clone, Copy, Debug)]
struct UserTimer {
    at: Timestamp,
    slot: u32,
    serial: u32,
}

/// Wake-up timers. A timer is never cancelled: a connection that is woken early does nothing.
#[derive(Debug)]
pub(super) struct UserTimers {
    /// Timers due in ticks before `tick`, the latest first.
    ready: Vec<UserTimer>,
    /// The first tick that is still in the wheel.
    tick: u64,
    /// The timers of the round that contains `tick`.
    wheel: Vec<Vec<UserTimer>>,
    /// Bit *i*: whether slot *i* of the wheel has timers.
    filled: [u64; WORDS],
    /// The timers of later rounds.
    later_rounds: BTreeMap<u64, Vec<UserTimer>>,
}

impl Default for UserTimers {
    fn default() -> Self {
        UserTimers {
            ready: Vec::new(),
            tick: 0,
            wheel: (0..TICKS).map(|_| Vec::new()).collect(),
            filled: [0; WORDS],
            later_rounds: BTreeMap::new(),
        }
    }
}

fn tick_of(at: Timestamp) -> u64 {
    at.as_nanos() / TICK_NANOS
}

impl UserTimers {
    /// Schedules a wake-up at `at` of the connection with this slot and serial.
    pub(super) fn push(&mut self, at: Timestamp, slot: u32, serial: u32) {
        let (timer, tick) = (UserTimer { at, slot, serial }, tick_of(at));
        if tick < self.tick {
            let position = self.ready.partition_point(|other| other.at > at);
            self.ready.insert(position, timer);
        } else if tick / TICKS == self.tick / TICKS {
            self.insert_in_wheel(tick, timer);
        } else {
            self.later_rounds.entry(tick / TICKS).or_default().push(timer);
        }
    }

    fn insert_in_wheel(&mut self, tick: u64, timer: UserTimer) {
        let index = (tick % TICKS) as usize;
        self.wheel[index].push(timer);
        self.filled[index / WORD_BITS] |= 1 << (index % WORD_BITS);
    }

    /// Takes the next timer that is due by `now`: the slot and serial of its connection.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(u32, u32)> {
        if self.tick <= tick_of(now) {
            self.advance(tick_of(now) + 1);
        }
        let timer = self.ready.pop_if(|timer| timer.at <= now)?;
        Some((timer.slot, timer.serial))
    }

    /// Moves all timers before the tick `to` to `ready`.
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
                for timer in self.later_rounds.remove(&(end / TICKS)).unwrap_or_default() {
                    self.insert_in_wheel(tick_of(timer.at), timer);
                }
            }
        }
        if self.ready.len() > before {
            // Almost sorted in descending order already, which this sort exploits.
            self.ready.sort_by_key(|timer| std::cmp::Reverse(timer.at));
        }
    }

    /// The first slot of the wheel that has timers.
    fn next_filled(&self) -> Option<u64> {
        let word = self.filled.iter().position(|word| *word != 0)?;
        Some((word * WORD_BITS) as u64 + u64::from(self.filled[word].trailing_zeros()))
    }

    /// When the next timer is due, or a time before that.
    pub(super) fn next(&self) -> Option<Timestamp> {
        if let Some(timer) = self.ready.last() {
            return Some(timer.at);
        }
        if let Some(index) = self.next_filled() {
            return self.wheel[index as usize].iter().map(|timer| timer.at).min();
        }
        let (round, _) = self.later_rounds.first_key_value()?;
        Some(Timestamp::from_nanos(round * TICKS * TICK_NANOS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn timers_expire_in_order_and_not_early() {
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
    fn a_timer_one_day_ahead_expires_on_time_with_few_wakeups() {
        let mut timers = UserTimers::default();
        let day = Timestamp::ZERO + Duration::from_secs(86_400) + Duration::from_micros(1);
        timers.push(day, 1, 2);
        let mut now = Timestamp::ZERO;
        let mut wakeups = 0;
        while timers.pop(now).is_none() {
            let next = timers.next().unwrap();
            assert!(now < next && next <= day);
            now = next;
            wakeups += 1;
        }
        assert_eq!(now, day);
        assert!(wakeups <= 2, "{wakeups}");
    }

    proptest! {
        /// Compared with a list that is searched: no timer is lost, early or out of order,
        /// however long the time between two calls is.
        #[test]
        fn timers_expire_like_the_entries_of_a_plain_list(
            steps in prop::collection::vec((0u64..6_000_000_000, 0u64..3_000_000_000), 1..60),
        ) {
            let (mut timers, mut list, mut now) = (UserTimers::default(), Vec::new(), 0u64);
            for (number, (ahead, pass)) in (0u32..).zip(steps) {
                timers.push(Timestamp::from_nanos(now + ahead), number, 7);
                list.push((now + ahead, number));
                now += pass;
                let next = timers.next().map(Timestamp::as_nanos);
                prop_assert!(next.unwrap() <= list.iter().min().unwrap().0);
                let mut expired = Vec::new();
                while let Some((number, 7)) = timers.pop(Timestamp::from_nanos(now)) {
                    let position = list.iter().position(|(_, known)| *known == number).unwrap();
                    expired.push(list.remove(position).0);
                }
                prop_assert!(expired.is_sorted() && expired.iter().all(|at| *at <= now));
                prop_assert!(list.iter().all(|(at, _)| *at > now));
            }
        }
    }
}
