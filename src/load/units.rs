//! Values as people write them on a command line and in a scenario file. Pure.
//!
//! Every type here reads the same text in both places, so a flag and a TOML key can never
//! mean different things.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time, written like `90s`, `1m 30s`, `250ms` or `24h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    /// So many whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        HumanDuration(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        HumanDuration(Duration::from_millis(millis))
    }

    /// This span times `factor`, but at least `floor` (or this span, if that is shorter
    /// still): a scaled-down run must keep something to measure.
    pub fn scaled(self, factor: f64, floor: Duration) -> Self {
        let floor = floor.min(self.0);
        let wanted = Duration::try_from_secs_f64(self.0.as_secs_f64() * factor).unwrap_or(self.0);
        // Whole milliseconds: a schedule computed from it then has no surprising digits.
        HumanDuration(Duration::from_millis(wanted.max(floor).as_millis() as u64))
    }
}

impl FromStr for HumanDuration {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text.trim()).map(HumanDuration).map_err(|why| {
            format!("`{text}` is not a length of time like `90s` or `1h 30m`: {why}")
        })
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// Load that comes at a rate for a time: `50/s for 2m`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatePhase {
    /// How many a second.
    pub per_second: f64,
    /// For how long.
    pub lasting: Duration,
}

impl RatePhase {
    /// How many fall into the phase, rounded down.
    pub fn count(&self) -> u64 {
        // A time is rounded to whole nanoseconds, and must not lose its last one by that.
        (self.per_second * (self.lasting.as_secs_f64() + 1e-9) + 1e-9) as u64
    }
}

impl FromStr for RatePhase {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a phase like `50/s for 2m`");
        let (rate, lasting) = text.split_once(" for ").ok_or_else(wrong)?;
        let per_second: f64 =
            rate.trim().strip_suffix("/s").and_then(|n| n.trim().parse().ok()).ok_or_else(wrong)?;
        if !(per_second > 0.0 && per_second <= 1e7) {
            return Err(format!("`{text}`: a rate is above 0 and at most 10000000 a second"));
        }
        Ok(RatePhase { per_second, lasting: lasting.parse::<HumanDuration>()?.0 })
    }
}

impl fmt::Display for RatePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s for {}", self.per_second, HumanDuration(self.lasting))
    }
}

/// HTTP requests to one path at a rate for a time: `/health 100/s for 30s`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpPhase {
    /// Path and query, starting with `/`.
    pub path: String,
    /// When and how often.
    pub phase: RatePhase,
}

impl FromStr for HttpPhase {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a request like `/health 100/s for 30s`");
        let (path, phase) = text.trim().split_once(' ').ok_or_else(wrong)?;
        if !path.starts_with('/') || path.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err(wrong());
        }
        Ok(HttpPhase { path: path.to_owned(), phase: phase.trim().parse()? })
    }
}

impl fmt::Display for HttpPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.phase)
    }
}

/// So many users kept busy for a time: `500 for 10m`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadStage {
    /// How many users are there at once.
    pub users: u32,
    /// For how long.
    pub lasting: Duration,
}

impl FromStr for LoadStage {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a stage like `500 for 10m`");
        let (users, lasting) = text.split_once(" for ").ok_or_else(wrong)?;
        let users = users.trim().trim_end_matches("users").trim().parse().map_err(|_| wrong())?;
        if users < 2 {
            return Err(format!("`{text}`: a stage needs two users at least"));
        }
        Ok(LoadStage { users, lasting: lasting.parse::<HumanDuration>()?.0 })
    }
}

impl fmt::Display for LoadStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.users, HumanDuration(self.lasting))
    }
}

/// One or more of something, separated by commas.
#[derive(Clone, Debug, PartialEq)]
pub struct CommaSeparated<T>(pub Vec<T>);

impl<T: FromStr<Err = String>> FromStr for CommaSeparated<T> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(|part| part.trim().parse())
            .collect::<Result<_, _>>()
            .map(CommaSeparated)
    }
}

impl<T: fmt::Display> fmt::Display for CommaSeparated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}

/// What a stress run turns up until something gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StressDimension {
    /// Sessions open at once.
    Connections,
    /// Relayed messages a second, over a fixed number of rooms.
    Messages,
}

impl FromStr for StressDimension {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "connections" => Ok(StressDimension::Connections),
            "messages" => Ok(StressDimension::Messages),
            _ => Err(format!("`{text}` is neither `connections` nor `messages`")),
        }
    }
}

impl fmt::Display for StressDimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StressDimension::Connections => "connections",
            StressDimension::Messages => "messages",
        })
    }
}

/// Reads and writes a type in serde as the text it is on the command line.
macro_rules! as_text {
    ($($name:ident $(<$parameter:ident>)?),*) => {$(
        impl$(<$parameter: fmt::Display>)? Serialize for $name$(<$parameter>)? {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de $(, $parameter: FromStr<Err = String>)?> Deserialize<'de> for $name$(<$parameter>)? {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}
as_text!(HumanDuration, StressDimension, CommaSeparated<T>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for text in ["10/s for 1m, 50/s for 2m", "0.5/s for 10s"] {
            let phases: CommaSeparated<RatePhase> = text.parse().unwrap();
            assert_eq!(phases.to_string(), text);
        }
        let http: CommaSeparated<HttpPhase> =
            "/health 100/s for 30s,/stats 50/s for 30s".parse().unwrap();
        assert_eq!(http.0[1].path, "/stats");
        assert_eq!(http.0[1].phase.count(), 1500);
        assert_eq!("500 users for 10m".parse::<LoadStage>().unwrap().to_string(), "500 for 10m");
    }

    #[test]
    fn nonsense_is_refused_with_what_was_expected() {
        assert!("0/s for 1s".parse::<RatePhase>().is_err());
        assert!("5 for".parse::<RatePhase>().unwrap_err().contains("50/s for 2m"));
        assert!("health 1/s for 1s".parse::<HttpPhase>().is_err());
        assert!("1 for 1s".parse::<LoadStage>().is_err());
        assert!("soon".parse::<HumanDuration>().unwrap_err().contains("`soon`"));
    }

    #[test]
    fn scaling_keeps_something_to_measure() {
        let floor = Duration::from_secs(2);
        assert_eq!(HumanDuration::seconds(600).scaled(0.005, floor), HumanDuration::seconds(3));
        assert_eq!(HumanDuration::seconds(60).scaled(0.005, floor), HumanDuration::seconds(2));
        assert_eq!(HumanDuration::seconds(1).scaled(0.005, floor), HumanDuration::seconds(1));
    }
}
