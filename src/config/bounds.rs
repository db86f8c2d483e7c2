//! The range of every flag that has one: validation checks it, and the reference shows it. Pure.

use super::{ConfigError, HumanDuration};
use crate::limits;
use std::fmt;
use std::time::Duration;

/// The range of a number.
#[derive(Clone, Copy, Debug)]
pub(super) struct NumberBounds {
    /// The flag, with its dashes.
    flag: &'static str,
    min: u64,
    max: u64,
    /// Whether 0 is allowed although it is below `min`.
    allows_zero: bool,
}

/// The range of a duration.
#[derive(Clone, Copy, Debug)]
pub(super) struct DurationBounds {
    flag: &'static str,
    min: Duration,
    max: Duration,
    /// Whether 0 is allowed although it is below `min`.
    allows_zero: bool,
}

/// How many values a flag may have that can be repeated.
#[derive(Clone, Copy, Debug)]
pub(super) struct CountBounds {
    flag: &'static str,
    max: usize,
}

const fn number(flag: &'static str, min: u64, max: u64) -> NumberBounds {
    NumberBounds { flag, min, max, allows_zero: false }
}

const fn bytes(flag: &'static str, (min, max): (usize, usize)) -> NumberBounds {
    number(flag, min as u64, max as u64)
}

const fn time_limit(flag: &'static str) -> DurationBounds {
    let (min, max) = limits::TIME_LIMIT_BOUNDS;
    DurationBounds { flag, min, max, allows_zero: false }
}

const fn delay(flag: &'static str) -> DurationBounds {
    DurationBounds { min: Duration::ZERO, ..time_limit(flag) }
}

/// A time limit that 0 turns off.
const fn optional_time_limit(flag: &'static str) -> DurationBounds {
    DurationBounds { allows_zero: true, ..time_limit(flag) }
}

pub(super) const SHARDS: NumberBounds = number("--shards", 1, limits::MAX_SHARDS as u64);
pub(super) const BUSY_POLL: NumberBounds =
    number("--busy-poll", 0, limits::MAX_BUSY_POLL_MICROS as u64);
pub(super) const MAX_CONNECTIONS: NumberBounds =
    number("--max-connections", 1, limits::MAX_CONNECTIONS as u64);
pub(super) const MAX_MATCHES_PER_MINUTE: NumberBounds =
    number("--max-matches-per-minute", 0, limits::MAX_MATCHES_PER_MINUTE as u64);
pub(super) const MAX_MESSAGE_BYTES: NumberBounds =
    bytes("--max-message-bytes", limits::MESSAGE_BYTES_BOUNDS);
pub(super) const MAX_UNSENT_BYTES: NumberBounds =
    bytes("--max-unsent-bytes", limits::UNSENT_BYTES_BOUNDS);
pub(super) const SOCKET_SEND_BUFFER: NumberBounds = NumberBounds {
    allows_zero: true,
    ..bytes("--socket-send-buffer", limits::SOCKET_SEND_BUFFER_BOUNDS)
};
pub(super) const MAX_HEAD_BYTES: NumberBounds =
    bytes("--max-head-bytes", limits::HEAD_BYTES_BOUNDS);

pub(super) const CLOSE_TIMEOUT: DurationBounds = time_limit("--close-timeout");
pub(super) const HANDSHAKE_TIMEOUT: DurationBounds = time_limit("--handshake-timeout");
pub(super) const IDLE_TIMEOUT: DurationBounds = time_limit("--idle-timeout");
pub(super) const PING_INTERVAL: DurationBounds = time_limit("--ping-interval");
pub(super) const SILENCE_LIMIT: DurationBounds = time_limit("--silence-limit");
pub(super) const LIVENESS_WINDOW: DurationBounds =
    DurationBounds { min: limits::MIN_LIVENESS_WINDOW, ..optional_time_limit("--liveness-window") };
pub(super) const MESSAGE_TIMEOUT: DurationBounds = optional_time_limit("--message-timeout");
pub(super) const REMATCH_DELAY: DurationBounds = delay("--rematch-delay");
pub(super) const DRAIN_TIMEOUT: DurationBounds = delay("--drain-timeout");
pub(super) const TURN_TTL: DurationBounds = DurationBounds {
    flag: "--turn-ttl",
    min: limits::TURN_TTL_BOUNDS.0,
    max: limits::TURN_TTL_BOUNDS.1,
    allows_zero: false,
};
pub(super) const TURN_MATCH_TTL: DurationBounds =
    DurationBounds { flag: "--turn-match-ttl", ..TURN_TTL };

pub(super) const LISTEN: CountBounds =
    CountBounds { flag: "--listen", max: limits::MAX_LISTEN_ADDRESSES };
pub(super) const ADMIN_LISTEN: CountBounds =
    CountBounds { flag: "--admin-listen", max: limits::MAX_LISTEN_ADDRESSES };
pub(super) const ALLOW_ORIGIN: CountBounds =
    CountBounds { flag: "--allow-origin", max: limits::MAX_ACCESS_LIST_ENTRIES };
pub(super) const TRUSTED_PROXY: CountBounds =
    CountBounds { flag: "--trusted-proxy", max: limits::MAX_ACCESS_LIST_ENTRIES };
pub(super) const STATS_QUEUE: CountBounds =
    CountBounds { flag: "--stats-queue", max: limits::MAX_STATS_QUEUES };

/// Flags that accept every `u32`; 0 turns the limit off.
const ANY_U32: [NumberBounds; 4] = [
    number("--max-connections-per-address", 0, u32::MAX as u64),
    number("--max-new-connections-per-address", 0, u32::MAX as u64),
    number("--max-messages-per-second", 0, u32::MAX as u64),
    number("--max-matches-per-minute-per-address", 0, u32::MAX as u64),
];

/// No duration but this one is accepted as long as sessions cannot be resumed.
const RESUME_WINDOW: DurationBounds = DurationBounds {
    flag: "--resume-window",
    min: Duration::ZERO,
    max: Duration::ZERO,
    allows_zero: false,
};

/// `--check` is not validated with the others; clap checks its range.
const CHECK: NumberBounds = number("--check", 1, limits::MAX_CONNECTIONS as u64);

impl NumberBounds {
    /// `value`, if it is within the bounds.
    ///
    /// # Errors
    /// [`ConfigError::OutOfBounds`].
    pub(super) fn check<T: Copy + TryInto<u64>>(&self, value: T) -> Result<T, ConfigError> {
        let number = value.try_into().unwrap_or(u64::MAX);
        if (self.min..=self.max).contains(&number) || (self.allows_zero && number == 0) {
            return Ok(value);
        }
        let allowed = self.to_string();
        Err(ConfigError::OutOfBounds { flag: self.flag, given: number.to_string(), allowed })
    }
}

impl DurationBounds {
    /// The duration, if it is within the bounds.
    ///
    /// # Errors
    /// [`ConfigError::OutOfBounds`].
    pub(super) fn check(&self, value: HumanDuration) -> Result<Duration, ConfigError> {
        let is_allowed_zero = self.allows_zero && value.0.is_zero();
        if is_allowed_zero || (self.min..=self.max).contains(&value.0) {
            return Ok(value.0);
        }
        let allowed = self.to_string();
        Err(ConfigError::OutOfBounds { flag: self.flag, given: value.to_string(), allowed })
    }
}

impl CountBounds {
    /// The values, if they are not too many.
    ///
    /// # Errors
    /// [`ConfigError::TooManyValues`].
    pub(super) fn check<T>(&self, values: Vec<T>) -> Result<Vec<T>, ConfigError> {
        if values.len() <= self.max {
            return Ok(values);
        }
        let (flag, given, max) = (self.flag, values.len(), self.max);
        Err(ConfigError::TooManyValues { flag, given, max })
    }
}

impl fmt::Display for NumberBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zero = if self.allows_zero { "0, or " } else { "" };
        write!(f, "{zero}{} to {}", self.min, self.max)
    }
}

impl fmt::Display for DurationBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (HumanDuration(self.min), HumanDuration(self.max)) {
            (min, max) if min == max => min.fmt(f),
            (min, max) if self.allows_zero => write!(f, "0s, or {min} to {max}"),
            (min, max) => write!(f, "{min} to {max}"),
        }
    }
}

impl fmt::Display for CountBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} values", self.max)
    }
}

/// The range of a flag in words, if it has one.
pub(super) fn bounds_text(flag: &str) -> Option<String> {
    let numbers = [
        SHARDS,
        BUSY_POLL,
        MAX_CONNECTIONS,
        MAX_MATCHES_PER_MINUTE,
        MAX_MESSAGE_BYTES,
        MAX_UNSENT_BYTES,
        SOCKET_SEND_BUFFER,
        MAX_HEAD_BYTES,
        CHECK,
    ];
    let durations = [
        CLOSE_TIMEOUT,
        HANDSHAKE_TIMEOUT,
        IDLE_TIMEOUT,
        PING_INTERVAL,
        SILENCE_LIMIT,
        LIVENESS_WINDOW,
        MESSAGE_TIMEOUT,
        REMATCH_DELAY,
        DRAIN_TIMEOUT,
        RESUME_WINDOW,
        TURN_TTL,
        TURN_MATCH_TTL,
    ];
    let counts = [LISTEN, ADMIN_LISTEN, ALLOW_ORIGIN, TRUSTED_PROXY, STATS_QUEUE];
    let numbers = numbers.into_iter().chain(ANY_U32).map(|b| (b.flag, b.to_string()));
    let durations = durations.into_iter().map(|b| (b.flag, b.to_string()));
    let counts = counts.into_iter().map(|b| (b.flag, b.to_string()));
    let mut all = numbers.chain(durations).chain(counts);
    all.find_map(|(of, text)| (of == flag).then_some(text))
}
