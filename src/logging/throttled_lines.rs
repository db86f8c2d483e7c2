//! The log lines that are throttled by the thread that writes them, so that the end of the process
//! can report those that were suppressed last. Any thread.

use super::throttle::LogThrottle;
use crate::timestamp::Timestamp;

/// A throttled line: all threads together write it at most once a minute.
#[derive(Debug)]
pub struct ThrottledLine {
    text: &'static str,
    throttle: LogThrottle,
}

/// accept(2) failed, usually because descriptors have run out.
pub static ACCEPTING_PAUSED: ThrottledLine = ThrottledLine::new("accepting is paused");
/// A connection cannot be added to a poll.
pub static WATCH_FAILED: ThrottledLine =
    ThrottledLine::new("a connection cannot be added to the poll");
/// A connection cannot be removed from a poll.
pub static UNWATCH_FAILED: ThrottledLine =
    ThrottledLine::new("a connection cannot be removed from the poll");
/// A connection from another shard cannot be taken in.
pub static ADOPTION_FAILED: ThrottledLine =
    ThrottledLine::new("a connection from another shard cannot be taken in and goes back");
/// A thread cannot be woken.
pub static WAKE_UP_FAILED: ThrottledLine = ThrottledLine::new("a thread cannot be woken");
/// A message to the service manager was not sent.
pub static NOTIFY_FAILED: ThrottledLine = ThrottledLine::new("cannot send to the service manager");

static ALL: [&ThrottledLine; 6] = [
    &ACCEPTING_PAUSED,
    &WATCH_FAILED,
    &UNWATCH_FAILED,
    &ADOPTION_FAILED,
    &WAKE_UP_FAILED,
    &NOTIFY_FAILED,
];

impl ThrottledLine {
    const fn new(text: &'static str) -> Self {
        ThrottledLine { text, throttle: LogThrottle::new() }
    }

    /// See [`LogThrottle::permit`].
    pub fn permit(&self, now: Timestamp) -> Option<u64> {
        self.throttle.permit(now)
    }
}

/// Logs how many lines were suppressed since each was last written. For the end of the process,
/// when waiting for the minute to pass would lose them.
pub fn log_suppressed() {
    for line in ALL {
        let suppressed = line.throttle.take_suppressed();
        if suppressed > 0 {
            tracing::warn!(line = line.text, suppressed, "log lines were suppressed");
        }
    }
}
