//! Limits a log line to one a minute, over all threads. Pure: the time is passed in.

use crate::limits::LOG_THROTTLE_PERIOD_S;
use crate::timestamp::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Lets one log line a minute through and counts the others.
///
/// It is for lines that only the thread which met the failure can write, because they hold more
/// than a number (see [`crate::telemetry::notices`] for the rest). Lines that several threads write
/// have theirs in [`super::throttled_lines`]. It is used only when something has failed, so the cost of
/// its atomic instructions does not matter.
#[derive(Debug, Default)]
pub struct LogThrottle {
    /// Earliest time of the next line, in nanoseconds.
    next_nanos: AtomicU64,
    suppressed: AtomicU64,
}

impl LogThrottle {
    /// A throttle that lets the first line through.
    pub const fn new() -> Self {
        LogThrottle { next_nanos: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// Whether the line may be written now. If so, the number of lines that were suppressed since
    /// the last one.
    pub fn permit(&self, now: Timestamp) -> Option<u64> {
        let next = self.next_nanos.load(Ordering::Relaxed);
        let after = (now + Duration::from_secs(LOG_THROTTLE_PERIOD_S)).as_nanos();
        // Of several threads that arrive at the same time, the exchange lets one through.
        let is_permitted = now.as_nanos() >= next
            && self
                .next_nanos
                .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_permitted {
            Some(self.take_suppressed())
        } else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            None
        }
    }

    /// The number of lines that were suppressed since the last one, which are reported by this.
    pub fn take_suppressed(&self) -> u64 {
        self.suppressed.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_one_line_a_minute_over_all_threads_and_counts_the_others() {
        let throttle = LogThrottle::new();
        let at = |second: u64| Timestamp::ZERO + Duration::from_secs(second);
        let permits: Vec<Option<u64>> =
            [0, 1, 59, 60, 61, 200].map(|second| throttle.permit(at(second))).to_vec();
        assert_eq!(permits, [Some(0), None, None, Some(2), None, Some(1)]);
        let permitted_of_eight_threads = |_| {
            std::thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..8).map(|_| scope.spawn(|| throttle.permit(at(300)))).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap()).count()
            })
        };
        assert_eq!([(); 3].map(permitted_of_eight_threads), [1, 0, 0]);
    }
}
