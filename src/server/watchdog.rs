//! Checks that every event loop still makes iterations. Pure; the main thread owns it.
//!
//! A thread without work blocks in its poll and makes no iteration, so a counter that stands still
//! proves nothing. A check therefore begins by noting the iteration counts of all threads and waking
//! all of them: a healthy thread then makes an iteration, busy or not. The check passes when every
//! count has grown. It cannot pass while a thread is stuck within an iteration or is not scheduled.

use crate::logging::throttle::LogThrottle;
use crate::timestamp::Timestamp;
use std::time::Duration;

/// What the caller has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchdogAction {
    /// Nothing.
    None,
    /// A check begins: wake every thread.
    WakeThreads,
    /// Every thread has made an iteration since the check began. Returned once for each check.
    ReportHealthy,
    /// A thread has made no iteration for a whole period or longer. Returned once a period while
    /// that lasts.
    ReportStall {
        /// The first such thread, as an index into the counts.
        thread: usize,
        /// How many such threads there are.
        threads: usize,
        /// Time since the check began.
        stalled_for: Duration,
    },
}

/// Makes one check after the other.
#[derive(Debug)]
pub struct Watchdog {
    period: Duration,
    state: WatchdogState,
}

#[derive(Debug)]
enum WatchdogState {
    /// The last check has passed; the next one begins at `next`.
    Idle { next: Timestamp },
    /// A check began at `since` with the counts `noted`. A stall is reported at `report`.
    Checking { since: Timestamp, noted: Vec<u64>, report: Timestamp },
}

impl Watchdog {
    /// A watchdog whose checks begin `period` apart, the first at the first update.
    pub fn new(period: Duration) -> Self {
        Watchdog { period, state: WatchdogState::Idle { next: Timestamp::ZERO } }
    }

    /// To be called several times a period. `read_iterations` reads how many iterations each thread
    /// has made, always in the same order.
    pub fn update(
        &mut self,
        now: Timestamp,
        read_iterations: impl FnOnce() -> Vec<u64>,
    ) -> WatchdogAction {
        match &mut self.state {
            WatchdogState::Idle { next } if now < *next => WatchdogAction::None,
            WatchdogState::Idle { .. } => {
                let (noted, report) = (read_iterations(), now + self.period);
                self.state = WatchdogState::Checking { since: now, noted, report };
                WatchdogAction::WakeThreads
            }
            WatchdogState::Checking { since, noted, report } => {
                let stalled_for = now.since(*since);
                let counts = read_iterations();
                let mut stalled =
                    (0..counts.len()).filter(|&nth| noted.get(nth) == counts.get(nth));
                match stalled.next() {
                    None => {
                        self.state = WatchdogState::Idle { next: *since + self.period };
                        WatchdogAction::ReportHealthy
                    }
                    Some(thread) if now >= *report => {
                        *report = now + self.period;
                        let threads = 1 + stalled.count();
                        WatchdogAction::ReportStall { thread, threads, stalled_for }
                    }
                    Some(_) => WatchdogAction::None,
                }
            }
        }
    }
}

/// Decides which stalls are logged: each one when it begins, then at most once a minute.
#[derive(Debug, Default)]
pub struct StallLog {
    /// The thread that was logged last, until all threads are healthy again.
    thread: Option<usize>,
    repeats: LogThrottle,
}

impl StallLog {
    /// `thread` is stalled. If this is to be logged, returns how many reports were suppressed.
    pub fn stalled(&mut self, thread: usize, now: Timestamp) -> Option<u64> {
        if self.thread.replace(thread) != Some(thread) {
            self.repeats = LogThrottle::new();
        }
        self.repeats.permit(now)
    }

    /// All threads are healthy. Whether this is to be logged: a stall has ended.
    pub fn healthy(&mut self) -> bool {
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
    fn reports_healthy_once_a_check_after_every_thread_made_an_iteration() {
        let mut watchdog = Watchdog::new(PERIOD);
        assert_eq!(watchdog.update(at(10), || vec![1, 1, 1]), WatchdogAction::WakeThreads);
        assert_eq!(watchdog.update(at(11), || vec![2, 1, 9]), WatchdogAction::None);
        assert_eq!(watchdog.update(at(12), || vec![2, 2, 9]), WatchdogAction::ReportHealthy);
        for second in 12..15 {
            let unread = || panic!("no check is under way");
            assert_eq!(watchdog.update(at(second), unread), WatchdogAction::None);
        }
        assert_eq!(watchdog.update(at(15), || vec![2, 2, 9]), WatchdogAction::WakeThreads);
        assert_eq!(watchdog.update(at(16), || vec![3, 3, 10]), WatchdogAction::ReportHealthy);
    }

    #[test]
    fn does_not_count_iterations_made_before_the_check_began() {
        let mut watchdog = Watchdog::new(PERIOD);
        assert_eq!(watchdog.update(at(0), || vec![7]), WatchdogAction::WakeThreads);
        for second in 1..5 {
            assert_eq!(watchdog.update(at(second), || vec![7]), WatchdogAction::None);
        }
    }

    #[test]
    fn names_one_stalled_thread_among_busy_ones_each_period_until_it_recovers() {
        let mut watchdog = Watchdog::new(PERIOD);
        let counts = |busy: u64, stalled: u64| move || vec![busy, stalled, busy];
        assert_eq!(watchdog.update(at(0), counts(0, 4)), WatchdogAction::WakeThreads);
        let mut reports = Vec::new();
        for second in 1..=20 {
            match watchdog.update(at(second), counts(second, 4)) {
                WatchdogAction::None => {}
                WatchdogAction::ReportStall { thread, threads, stalled_for } => {
                    reports.push((thread, threads, stalled_for.as_secs()));
                }
                other => panic!("{other:?} at {second}"),
            }
        }
        assert_eq!(reports, [(1, 1, 5), (1, 1, 10), (1, 1, 15), (1, 1, 20)]);
        assert_eq!(watchdog.update(at(21), counts(21, 5)), WatchdogAction::ReportHealthy);
    }

    #[test]
    fn counts_all_stalled_threads() {
        let mut watchdog = Watchdog::new(PERIOD);
        assert_eq!(watchdog.update(at(0), || vec![1, 1, 1, 1]), WatchdogAction::WakeThreads);
        let stalled_for = Duration::from_secs(9);
        let action = watchdog.update(at(9), || vec![2, 1, 2, 1]);
        assert_eq!(action, WatchdogAction::ReportStall { thread: 1, threads: 2, stalled_for });
    }

    #[test]
    fn logs_each_stall_when_it_begins_and_repeats_it_at_most_once_a_minute() {
        let mut log = StallLog::default();
        assert!(!log.healthy(), "there was no stall");
        let permits = [0, 10, 20, 60].map(|second| log.stalled(1, at(second)));
        assert_eq!(permits, [Some(0), None, None, Some(2)]);
        assert_eq!(log.stalled(0, at(70)), Some(0), "another thread");
        assert_eq!(log.stalled(0, at(80)), None);
        assert_eq!(log.stalled(1, at(90)), Some(0), "the first thread again");
        assert_eq!([log.healthy(), log.healthy()], [true, false]);
        assert_eq!(log.stalled(1, at(100)), Some(0), "a new stall after recovery");
    }
}
