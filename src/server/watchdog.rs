//! Whether every thread still makes turns. Pure; the main thread owns it.
//!
//! A thread that has nothing to do blocks in its poll and makes no turn, so standing still says
//! nothing by itself. A round therefore begins with a question: the turns of all threads are
//! noted and all of them are woken. A thread that lives then makes a turn, busy or not. Only
//! when each of them has is the answer yes; a thread that is stuck within a turn, or that the
//! system does not run, keeps it from coming.

use crate::logging::throttle::LogThrottle;
use crate::timestamp::Timestamp;
use std::time::Duration;

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchdogFinding {
    /// Nothing.
    Nothing,
    /// Wake every thread: a round has begun.
    Ask,
    /// Every thread has made a turn since it was asked. Said once a round.
    Alive,
    /// This thread, by its place among the counts, has made none for a whole period or more.
    /// Said once a period for as long as that lasts.
    Stalled {
        /// Its place.
        thread: usize,
        /// How many there are like it.
        threads: usize,
        /// Time since they were asked.
        silent: Duration,
    },
}

/// Asks again and again.
#[derive(Debug)]
pub struct Watchdog {
    period: Duration,
    state: WatchdogState,
}

#[derive(Debug)]
enum WatchdogState {
    /// Everybody was alive; the next round begins then.
    Resting { until: Timestamp },
    /// Everybody was asked, with these counts.
    Asking { since: Timestamp, noted: Vec<u64>, report: Timestamp },
}

impl Watchdog {
    /// Rounds begin `period` apart, the first at the first look.
    pub fn new(period: Duration) -> Self {
        Watchdog { period, state: WatchdogState::Resting { until: Timestamp::ZERO } }
    }

    /// To be called several times a period. `turns` reads how many turns each thread has made,
    /// always in the same order.
    pub fn look(&mut self, now: Timestamp, turns: impl FnOnce() -> Vec<u64>) -> WatchdogFinding {
        match &mut self.state {
            WatchdogState::Resting { until } if now < *until => WatchdogFinding::Nothing,
            WatchdogState::Resting { .. } => {
                let report = now + self.period;
                self.state = WatchdogState::Asking { since: now, noted: turns(), report };
                WatchdogFinding::Ask
            }
            WatchdogState::Asking { since, noted, report } => {
                let silent = now.since(*since);
                let turns = turns();
                let mut still = (0..turns.len()).filter(|&nth| noted.get(nth) == turns.get(nth));
                match still.next() {
                    None => {
                        self.state = WatchdogState::Resting { until: *since + self.period };
                        WatchdogFinding::Alive
                    }
                    Some(thread) if now >= *report => {
                        *report = now + self.period;
                        WatchdogFinding::Stalled { thread, threads: 1 + still.count(), silent }
                    }
                    Some(_) => WatchdogFinding::Nothing,
                }
            }
        }
    }
}

/// What the log is told of it: every stall when it begins, and again once a minute at most.
#[derive(Debug, Default)]
pub struct StallLog {
    /// The thread that was named last, until all live.
    thread: Option<usize>,
    repeats: LogThrottle,
}

impl StallLog {
    /// This thread stands still. Whether that is to be told; if so, how often it was held back.
    pub fn stalled(&mut self, thread: usize, now: Timestamp) -> Option<u64> {
        if self.thread.replace(thread) != Some(thread) {
            self.repeats = LogThrottle::new();
        }
        self.repeats.permit(now)
    }

    /// Every thread lives. Whether that is to be told: one did not.
    pub fn alive(&mut self) -> bool {
        self.thread.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_round_is_won_once_when_every_thread_has_moved_and_the_next_comes_a_period_later() {
        let mut dog = Watchdog::new(PERIOD);
        assert_eq!(dog.look(at(10), || vec![1, 1, 1]), WatchdogFinding::Ask);
        assert_eq!(dog.look(at(11), || vec![2, 1, 9]), WatchdogFinding::Nothing);
        assert_eq!(dog.look(at(12), || vec![2, 2, 9]), WatchdogFinding::Alive);
        for second in 12..15 {
            assert_eq!(dog.look(at(second), || panic!("not asked for")), WatchdogFinding::Nothing);
        }
        assert_eq!(dog.look(at(15), || vec![2, 2, 9]), WatchdogFinding::Ask);
        assert_eq!(dog.look(at(16), || vec![3, 3, 10]), WatchdogFinding::Alive);
    }

    #[test]
    fn turns_made_before_the_question_do_not_count() {
        let mut dog = Watchdog::new(PERIOD);
        assert_eq!(dog.look(at(0), || vec![7]), WatchdogFinding::Ask);
        for second in 1..5 {
            assert_eq!(dog.look(at(second), || vec![7]), WatchdogFinding::Nothing);
        }
    }

    #[test]
    fn one_stalled_thread_among_busy_ones_is_named_each_period_until_it_moves() {
        let mut dog = Watchdog::new(PERIOD);
        let turns = |busy: u64, stuck: u64| move || vec![busy, stuck, busy];
        assert_eq!(dog.look(at(0), turns(0, 4)), WatchdogFinding::Ask);
        let mut named = Vec::new();
        for second in 1..=20 {
            match dog.look(at(second), turns(second, 4)) {
                WatchdogFinding::Nothing => {}
                WatchdogFinding::Stalled { thread, threads, silent } => {
                    named.push((thread, threads, silent.as_secs()));
                }
                other => panic!("{other:?} at {second}"),
            }
        }
        assert_eq!(named, [(1, 1, 5), (1, 1, 10), (1, 1, 15), (1, 1, 20)]);
        assert_eq!(dog.look(at(21), turns(21, 5)), WatchdogFinding::Alive);
    }

    #[test]
    fn all_that_stand_still_are_counted() {
        let mut dog = Watchdog::new(PERIOD);
        assert_eq!(dog.look(at(0), || vec![1, 1, 1, 1]), WatchdogFinding::Ask);
        let silent = Duration::from_secs(9);
        let found = dog.look(at(9), || vec![2, 1, 2, 1]);
        assert_eq!(found, WatchdogFinding::Stalled { thread: 1, threads: 2, silent });
    }

    #[test]
    fn every_stall_is_told_when_it_begins_and_only_its_repeats_wait_for_a_minute() {
        let mut told = StallLog::default();
        assert!(!told.alive(), "nobody stood still");
        let passed = [0, 10, 20, 60].map(|second| told.stalled(1, at(second)));
        assert_eq!(passed, [Some(0), None, None, Some(2)]);
        assert_eq!(told.stalled(0, at(70)), Some(0), "another one");
        assert_eq!(told.stalled(0, at(80)), None);
        assert_eq!(told.stalled(1, at(90)), Some(0), "the first again");
        assert_eq!([told.alive(), told.alive()], [true, false]);
        assert_eq!(told.stalled(1, at(100)), Some(0), "and again, after all had lived");
    }
}
