//! Values as they are written on the command line and in a scenario file. Pure.
//!
//! One parser serves both places, so that a flag and a TOML key accept the same text.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration, written like `90s`, `1m 30s`, `250ms` or `24h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurationSetting(pub Duration);

impl DurationSetting {
    /// A duration in whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        DurationSetting(Duration::from_secs(seconds))
    }

    /// A duration in milliseconds.
    pub const fn millis(millis: u64) -> Self {
        DurationSetting(Duration::from_millis(millis))
    }

    /// This duration times `factor`, but at least `floor`, or unchanged when it is already
    /// shorter than `floor`: a scaled-down run still needs a period to measure.
    pub fn scaled(self, factor: f64, floor: Duration) -> Self {
        let floor = floor.min(self.0);
        let wanted = Duration::try_from_secs_f64(self.0.as_secs_f64() * factor).unwrap_or(self.0);
        // Whole milliseconds keep the times of the resulting schedule readable.
        DurationSetting(Duration::from_millis(wanted.max(floor).as_millis() as u64))
    }
}

impl FromStr for DurationSetting {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text.trim()).map(DurationSetting).map_err(|why| {
            format!("`{text}` is not a length of time like `90s` or `1h 30m`: {why}")
        })
    }
}

impl fmt::Display for DurationSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A constant rate for a time: `50/s for 2m`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatePhase {
    /// Events each second.
    pub per_second: f64,
    /// How long the rate lasts.
    pub lasting: Duration,
}

impl RatePhase {
    /// Number of events in the phase, rounded down.
    pub fn count(&self) -> u64 {
        // A duration is rounded to whole nanoseconds; the margin keeps the last event.
        (self.per_second * (self.lasting.as_secs_f64() + 1e-9) + 1e-9) as u64
    }
}

impl FromStr for RatePhase {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("`{text}` is not a phase like `50/s for 2m`");
        let (rate, lasting) = text.split_once(" for ").ok_or_else(malformed)?;
        let per_second: f64 = rate
            .trim()
            .strip_suffix("/s")
            .and_then(|n| n.trim().parse().ok())
            .ok_or_else(malformed)?;
        if !(per_second > 0.0 && per_second <= 1e7) {
            return Err(format!("`{text}`: a rate must be above 0 and at most 10000000 a second"));
        }
        Ok(RatePhase { per_second, lasting: lasting.parse::<DurationSetting>()?.0 })
    }
}

impl fmt::Display for RatePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s for {}", self.per_second, DurationSetting(self.lasting))
    }
}

/// HTTP requests for one path, at a constant rate, for a duration: `/health 100/s for 30s`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpPhase {
    /// Path and query, starting with `/`.
    pub path: String,
    /// Rate and duration.
    pub phase: RatePhase,
}

impl FromStr for HttpPhase {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("`{text}` is not a request like `/health 100/s for 30s`");
        let (path, phase) = text.trim().split_once(' ').ok_or_else(malformed)?;
        if !path.starts_with('/') || path.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err(malformed());
        }
        Ok(HttpPhase { path: path.to_owned(), phase: phase.trim().parse()? })
    }
}

impl fmt::Display for HttpPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.phase)
    }
}

/// A number of simultaneous users for a time: `500 for 10m`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadStage {
    /// Number of simultaneous users.
    pub users: u32,
    /// How long the stage lasts.
    pub lasting: Duration,
}

impl FromStr for LoadStage {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("`{text}` is not a stage like `500 for 10m`");
        let (users, lasting) = text.split_once(" for ").ok_or_else(malformed)?;
        let users =
            users.trim().trim_end_matches("users").trim().parse().map_err(|_| malformed())?;
        if users < 2 {
            return Err(format!("`{text}`: a stage needs at least two users"));
        }
        Ok(LoadStage { users, lasting: lasting.parse::<DurationSetting>()?.0 })
    }
}

impl fmt::Display for LoadStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.users, DurationSetting(self.lasting))
    }
}

/// One or more values, separated by commas.
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

/// The quantity that a stress run increases until the server fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StressDimension {
    /// Simultaneous sessions.
    Connections,
    /// Relayed messages each second, over a fixed number of rooms.
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

/// Serializes a type as its command-line text.
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
as_text!(DurationSetting, StressDimension, CommaSeparated<T>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_reverses_formatting() {
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
    fn rejects_malformed_values_and_names_the_expected_form() {
        assert!("0/s for 1s".parse::<RatePhase>().is_err());
        assert!("5 for".parse::<RatePhase>().unwrap_err().contains("50/s for 2m"));
        assert!("health 1/s for 1s".parse::<HttpPhase>().is_err());
        assert!("1 for 1s".parse::<LoadStage>().is_err());
        assert!("soon".parse::<DurationSetting>().unwrap_err().contains("`soon`"));
    }

    #[test]
    fn scaling_keeps_a_measurable_duration() {
        let floor = Duration::from_secs(2);
        assert_eq!(DurationSetting::seconds(600).scaled(0.005, floor), DurationSetting::seconds(3));
        assert_eq!(DurationSetting::seconds(60).scaled(0.005, floor), DurationSetting::seconds(2));
        assert_eq!(DurationSetting::seconds(1).scaled(0.005, floor), DurationSetting::seconds(1));
    }
}
