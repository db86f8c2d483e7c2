//! Log lines about events that may happen often: one line a minute for each kind of event, with the
//! number of events. Only [`Notice::log`] writes to the log; the main thread owns it.
//!
//! Shards count events and do not log them; the main thread compares the totals once a second. So a
//! flood of events costs a shard no log line, and the number in the line is exact.

use super::labels::{EndReason, RejectReason};
use super::{ShardCounters, Telemetry};
use crate::limits::LOG_THROTTLE_PERIOD_S;
use crate::timestamp::Timestamp;
use crate::wire::message::ErrorCode;
use std::time::Duration;

/// The level of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoticeLevel {
    /// A limit works as configured.
    Info,
    /// A setting may have to be changed.
    Warn,
    /// A defect of the server, or a failure of its machine.
    Error,
}

/// A kind of event that is logged.
struct NoticeTopic {
    level: NoticeLevel,
    text: &'static str,
    /// Reads the number of events since the start.
    total: fn(&Telemetry) -> u64,
}

macro_rules! topic {
    ($level:ident, $text:literal, $total:expr) => {
        NoticeTopic {
            level: NoticeLevel::$level,
            text: $text,
            total: |telemetry| sum(telemetry, $total),
        }
    };
}

fn sum(telemetry: &Telemetry, total: fn(&ShardCounters) -> u64) -> u64 {
    telemetry.shards.iter().map(|shard| total(shard)).sum()
}

const TOPICS: &[NoticeTopic] = &[
    topic!(Warn, "connections refused: --max-connections is reached", |shard| {
        shard.rejected.get(RejectReason::ConnectionLimit)
    }),
    topic!(Info, "connections refused: --max-connections-per-address is reached", |shard| {
        shard.rejected.get(RejectReason::AddressLimit)
    }),
    topic!(Info, "connections refused: --max-new-connections-per-address is exceeded", |shard| {
        shard.rejected.get(RejectReason::AddressRate)
    }),
    topic!(Warn, "connections to --admin-listen refused: its limit of 64 is reached", |shard| {
        shard.rejected.get(RejectReason::AdminLimit)
    }),
    topic!(Info, "upgrades refused: --allow-origin does not list their origin", |shard| {
        shard.rejected.get(RejectReason::Origin)
    }),
    topic!(Warn, "connections of a trusted proxy refused: malformed PROXY header", |shard| {
        shard.rejected.get(RejectReason::ProxyHeader)
    }),
    topic!(
        Info,
        "connections refused: PROXY header from an address outside --trusted-proxy",
        |shard| { shard.rejected.get(RejectReason::UntrustedProxy) }
    ),
    topic!(Info, "slow consumers closed: their unsent backlog was full", |shard| {
        shard.closed.get(EndReason::SlowConsumer)
    }),
    topic!(Info, "connections closed: a message exceeded --max-message-bytes", |shard| {
        shard.closed.get(EndReason::MessageTooLarge)
    }),
    topic!(
        Info,
        "connections closed: a message was not complete within --message-timeout",
        |shard| { shard.closed.get(EndReason::MessageTimeout) }
    ),
    topic!(
        Info,
        "matches refused: --max-matches-per-minute or its limit per address is exceeded",
        |shard| { shard.errors.get(ErrorCode::TooManyMatches) }
    ),
    topic!(Info, "connections reset: their clients did not acknowledge what was sent", |shard| {
        shard.unacknowledged_resets.get()
    }),
    topic!(Info, "relayed messages refused: their receivers read too slowly", |shard| {
        shard.errors.get(ErrorCode::PeerBusy)
    }),
    topic!(Info, "silent sessions closed: a limit on connections was reached", |shard| {
        shard.closed.get(EndReason::Evicted)
    }),
    topic!(Info, "idle HTTP connections closed: a limit on connections was reached", |shard| {
        shard.closed.get(EndReason::HttpEvicted)
    }),
    topic!(Error, "connections closed: internal error of the server", |shard| {
        shard.closed.get(EndReason::Internal)
    }),
    topic!(Info, "messages dropped: --max-messages-per-second is exceeded", |shard| {
        shard.messages_dropped.get()
    }),
    NoticeTopic {
        level: NoticeLevel::Warn,
        text: "log lines dropped: standard error was blocked",
        total: |telemetry| telemetry.log_lines_dropped.get(),
    },
];

/// The level and the text of every notice, for tuning/REFERENCE.md.
pub fn notice_lines() -> Vec<(&'static str, &'static str)> {
    let level = |topic: &NoticeTopic| match topic.level {
        NoticeLevel::Info => "INFO",
        NoticeLevel::Warn => "WARN",
        NoticeLevel::Error => "ERROR",
    };
    TOPICS.iter().map(|topic| (level(topic), topic.text)).collect()
}

/// Finds the notices that are due.
#[derive(Debug, Default)]
pub struct NoticeReporter {
    states: [NoticeState; TOPICS.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct NoticeState {
    /// The total at the last notice.
    total: u64,
    /// Earliest time of the next notice.
    next: Option<Timestamp>,
}

/// One log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    level: NoticeLevel,
    text: &'static str,
    /// Events since the last notice of this kind.
    times: u64,
}

impl NoticeReporter {
    /// The notices that are due now.
    pub fn due(&mut self, telemetry: &Telemetry, now: Timestamp) -> Vec<Notice> {
        let next = Some(now + Duration::from_secs(LOG_THROTTLE_PERIOD_S));
        // guard: a notice is repeated at most once a minute [argument 3 value |_| true]
        self.collect(telemetry, next, |state| state.next.is_none_or(|next| next <= now))
    }

    /// A notice for every event that has not been logged yet. For the end of the process, when
    /// waiting for the minute to pass would lose it.
    pub fn remaining(&mut self, telemetry: &Telemetry) -> Vec<Notice> {
        self.collect(telemetry, None, |_| true)
    }

    fn collect(
        &mut self,
        telemetry: &Telemetry,
        next: Option<Timestamp>,
        is_due: impl Fn(&NoticeState) -> bool,
    ) -> Vec<Notice> {
        let mut due = Vec::new();
        for (topic, state) in TOPICS.iter().zip(&mut self.states) {
            let total = (topic.total)(telemetry);
            if total > state.total && is_due(state) {
                let times = total - state.total;
                due.push(Notice { level: topic.level, text: topic.text, times });
                *state = NoticeState { total, next };
            }
        }
        due
    }
}

impl Notice {
    /// Writes it to the log.
    pub fn log(self) {
        let Notice { level, text, times } = self;
        match level {
            NoticeLevel::Info => tracing::info!(times, "{text}"),
            NoticeLevel::Warn => tracing::warn!(times, "{text}"),
            NoticeLevel::Error => tracing::error!(times, "{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [u64; 0] = [];

    fn times(reporter: &mut NoticeReporter, telemetry: &Telemetry, at_s: u64) -> Vec<u64> {
        let now = Timestamp::ZERO + Duration::from_secs(at_s);
        reporter.due(telemetry, now).iter().map(|notice| notice.times).collect()
    }

    #[test]
    fn logs_each_kind_of_event_at_once_and_then_once_a_minute_with_the_exact_number() {
        let telemetry = Telemetry::new(super::super::example().about, 2);
        let mut reporter = NoticeReporter::default();
        let slow = |shard: usize| telemetry.shards[shard].closed.increment(EndReason::SlowConsumer);
        let full = || telemetry.shards[0].rejected.increment(RejectReason::ConnectionLimit);
        assert_eq!(times(&mut reporter, &telemetry, 1), NONE);
        slow(0);
        slow(1);
        assert_eq!(times(&mut reporter, &telemetry, 2), [2], "the sum over both shards");
        slow(0);
        assert_eq!(times(&mut reporter, &telemetry, 3), NONE);
        full();
        assert_eq!(times(&mut reporter, &telemetry, 4), [1], "another kind is logged at once");
        slow(1);
        assert_eq!(times(&mut reporter, &telemetry, 61), NONE);
        assert_eq!(times(&mut reporter, &telemetry, 62), [2], "suppressed events are counted");
        assert_eq!(times(&mut reporter, &telemetry, 3600), NONE, "no event, no notice");
        full();
        assert_eq!(times(&mut reporter, &telemetry, 3600), [1]);
        full();
        let remaining = |reporter: &mut NoticeReporter| reporter.remaining(&telemetry).len();
        assert_eq!((remaining(&mut reporter), remaining(&mut reporter)), (1, 0));
    }

    #[test]
    fn every_notice_reads_a_total_of_its_own() {
        let telemetry = super::super::example();
        telemetry.log_lines_dropped.add(7);
        let all = NoticeReporter::default().due(&telemetry, Timestamp::ZERO);
        assert_eq!(all.len(), TOPICS.len());
        let numbers: std::collections::HashSet<u64> = all.iter().map(|one| one.times).collect();
        assert_eq!(numbers.len(), TOPICS.len(), "{all:?}");
    }
}
