//! Notations of values that several flags share. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration in the notation of the flags: `800ms`, `5s`, `1m 30s`, or `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map(HumanDuration)
            .map_err(|error| format!("{error}; write a duration like 800ms, 5s or 1m"))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_S: u64 = 24 * 60 * 60;
        match self.0.as_secs() {
            // humantime would write 366 days as `1year 18h`.
            seconds if seconds > 0 && self.0 == Duration::from_secs(seconds / DAY_S * DAY_S) => {
                write!(f, "{}d", seconds / DAY_S)
            }
            _ => humantime::format_duration(self.0).fmt(f),
        }
    }
}
