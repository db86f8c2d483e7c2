//! What an operator is told in the log of what happens often: one line a minute for each reason,
//! with the number of times. Pure.
//!
//! Shards count and do not log; the main thread looks at the totals once a second. So a flood
//! costs no shard a line, and the number in a line is exact.

use super::labels::{EndReason, RejectReason};
use super::{ShardCounters, Telemetry};
use crate::limits::LOG_THROTTLE_PERIOD_S;
use crate::timestamp::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoticeLevel {
    /// Good to know.
    Info,
    /// Something is to be set otherwise, or somebody means ill.
    Warn,
    /// A fault of the server's or its machine's.
    Error,
}

/// Something that is told.
struct NoticeTopic {
    weight: NoticeLevel,
    text: &'static str,
    total: fn(&Telemetry) -> u64,
}

macro_rules! topic {
    ($weight:ident, $text:literal, $total:expr) => {
        NoticeTopic {
            weight: NoticeLevel::$weight,
            text: $text,
            total: |telemetry| sum(telemetry, $total),
        }
    };
}

fn sum(telemetry: &Telemetry, total: fn(&ShardCounters) -> u64) -> u64 {
    telemetry.shards.iter().map(|shard| total(shard)).sum()
}

const TOPICS: &[NoticeTopic] = &[
    topic!(Warn, "newcomers refused: --max-connections is reached", |shard| {
        shard.rejected.get(RejectReason::ConnectionLimit)
    }),
    topic!(Info, "newcomers refused: --max-connections-per-address is reached", |shard| {
        shard.rejected.get(RejectReason::AddressLimit)
    }),
    topic!(Info, "newcomers refused: --max-new-connections-per-address is reached", |shard| {
        shard.rejected.get(RejectReason::AddressRate)
    }),
    topic!(Warn, "connections to --admin-listen refused: there are too many", |shard| {
        shard.rejected.get(RejectReason::AdminLimit)
    }),
    topic!(Info, "upgrades refused: --allow-origin does not name their origin", |shard| {
        shard.rejected.get(RejectReason::Origin)
    }),
    topic!(Warn, "connections of a trusted proxy refused: malformed PROXY header", |shard| {
        shard.rejected.get(RejectReason::ProxyHeader)
    }),
    topic!(Info, "connections refused: a PROXY header, but not of a --trusted-proxy", |shard| {
        shard.rejected.get(RejectReason::UntrustedProxy)
    }),
    topic!(Info, "clients closed: they did not read what they were sent", |shard| {
        shard.closed.get(EndReason::SlowConsumer)
    }),
    topic!(Error, "connections closed: a fault of the server's own", |shard| {
        shard.closed.get(EndReason::Internal)
    }),
    topic!(Info, "messages dropped: --max-messages-per-second is reached", |shard| {
        shard.messages_dropped.get()
    }),
    NoticeTopic {
        weight: NoticeLevel::Warn,
        text: "log lines lost: standard error took no more",
        total: |telemetry| telemetry.log_lines_dropped.get(),
    },
];

/// What has been told so far.
#[derive(Debug, Default)]
pub struct Notices {
    told: [NoticeState; TOPICS.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct NoticeState {
    total: u64,
    /// Not again before then.
    next: Option<Timestamp>,
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    weight: NoticeLevel,
    text: &'static str,
    /// How often it has happened since it was last told.
    times: u64,
}

impl Notices {
    /// What is to be told now.
    pub fn look(&mut self, telemetry: &Telemetry, now: Timestamp) -> Vec<Notice> {
        let next = Some(now + Duration::from_secs(LOG_THROTTLE_PERIOD_S));
        // guard: a notice is repeated at most once a minute [argument 3 value |_| true]
        self.tell(telemetry, next, |told| told.next.is_none_or(|next| next <= now))
    }

    /// All that has not been told yet. For the end, after which no minute is to come.
    pub fn rest(&mut self, telemetry: &Telemetry) -> Vec<Notice> {
        self.tell(telemetry, None, |_| true)
    }

    fn tell(
        &mut self,
        telemetry: &Telemetry,
        next: Option<Timestamp>,
        is_due: impl Fn(&NoticeState) -> bool,
    ) -> Vec<Notice> {
        let mut due = Vec::new();
        for (topic, told) in TOPICS.iter().zip(&mut self.told) {
            let total = (topic.total)(telemetry);
            if total > told.total && is_due(told) {
                let times = total - told.total;
                due.push(Notice { weight: topic.weight, text: topic.text, times });
                *told = NoticeState { total, next };
            }
        }
        due
    }
}

impl Notice {
    /// Writes it to the log.
    pub fn log(self) {
        let Notice { weight, text, times } = self;
        match weight {
            NoticeLevel::Info => tracing::info!(times, "{text}"),
            NoticeLevel::Warn => tracing::warn!(times, "{text}"),
            NoticeLevel::Error => tracing::error!(times, "{text}"),
        }
    }
}

/// For what is told by the thread that meets it, since only that knows more than a number: lets one
/// through a minute, of all threads together. A reason has one, as a `static`. It is touched when
/// something has failed, and never else, so its locked instructions cost nothing.
#[derive(Debug, Default)]
pub struct LogThrottle {
    /// In nanoseconds: not again before then.
    next: AtomicU64,
    held_back: AtomicU64,
}

impl LogThrottle {
    /// Lets the first through.
    pub const fn new() -> Self {
        LogThrottle { next: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// Whether it may be told now; if so, how often it was not since it last was.
    pub fn pass(&self, now: Timestamp) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let after = (now + Duration::from_secs(LOG_THROTTLE_PERIOD_S)).as_nanos();
        // Of those who come at once, one gets through.
        let passes = now.as_nanos() >= next
            && self
                .next
                .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if passes {
            Some(self.held_back.swap(0, Ordering::Relaxed))
        } else {
            self.held_back.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [u64; 0] = [];

    fn times(notices: &mut Notices, telemetry: &Telemetry, at_s: u64) -> Vec<u64> {
        let now = Timestamp::ZERO + Duration::from_secs(at_s);
        notices.look(telemetry, now).iter().map(|notice| notice.times).collect()
    }

    #[test]
    fn each_reason_is_told_at_once_then_once_a_minute_and_nothing_is_left_out() {
        let telemetry = Telemetry::new(super::super::example().about, 2);
        let mut notices = Notices::default();
        let slow = |shard: usize| telemetry.shards[shard].closed.increment(EndReason::SlowConsumer);
        let full = || telemetry.shards[0].rejected.increment(RejectReason::ConnectionLimit);
        assert_eq!(times(&mut notices, &telemetry, 1), NONE);
        slow(0);
        slow(1);
        assert_eq!(times(&mut notices, &telemetry, 2), [2], "of both shards");
        slow(0);
        assert_eq!(times(&mut notices, &telemetry, 3), NONE);
        full();
        assert_eq!(times(&mut notices, &telemetry, 4), [1], "another reason is told at once");
        slow(1);
        assert_eq!(times(&mut notices, &telemetry, 61), NONE);
        assert_eq!(times(&mut notices, &telemetry, 62), [2], "what was held back is counted");
        assert_eq!(times(&mut notices, &telemetry, 3600), NONE, "what has ended is not told again");
        full();
        assert_eq!(times(&mut notices, &telemetry, 3600), [1]);
        full();
        let rest = |notices: &mut Notices| notices.rest(&telemetry).len();
        assert_eq!((rest(&mut notices), rest(&mut notices)), (1, 0), "the end waits for no minute");
    }

    #[test]
    fn every_topic_has_a_total_of_its_own_and_words_of_its_own() {
        let telemetry = super::super::example();
        telemetry.log_lines_dropped.add(7);
        let all = Notices::default().look(&telemetry, Timestamp::ZERO);
        assert_eq!(all.len(), TOPICS.len());
        let numbers: std::collections::HashSet<u64> = all.iter().map(|one| one.times).collect();
        assert_eq!(numbers.len(), TOPICS.len(), "{all:?}");
    }

    #[test]
    fn what_threads_tell_themselves_passes_once_a_minute_of_all_of_them() {
        let seldom = LogThrottle::new();
        let at = |second: u64| Timestamp::ZERO + Duration::from_secs(second);
        let passed: Vec<Option<u64>> =
            [0, 1, 59, 60, 61, 200].map(|second| seldom.pass(at(second))).to_vec();
        assert_eq!(passed, [Some(0), None, None, Some(2), None, Some(1)]);
        let crowd = |_| {
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..8).map(|_| scope.spawn(|| seldom.pass(at(300)))).collect();
                all.into_iter().filter_map(|one| one.join().unwrap()).count()
            })
        };
        assert_eq!([(); 3].map(crowd), [1, 0, 0]);
    }
}
