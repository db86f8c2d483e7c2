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

/// A rate for a time: constant like `50/s for 2m`, or changing linearly like
/// `10/s..100/s for 60s`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatePhase {
    /// Events each second, at the beginning.
    pub per_second: f64,
    /// Events each second, at the end.
    pub final_per_second: f64,
    /// How long the phase lasts.
    pub lasting: Duration,
}

impl RatePhase {
    /// A phase with a constant rate.
    pub const fn constant(per_second: f64, lasting: Duration) -> Self {
        RatePhase { per_second, final_per_second: per_second, lasting }
    }

    /// Number of events in the phase, rounded down.
    pub fn count(&self) -> u64 {
        // A duration is rounded to whole nanoseconds; the margin keeps the last event.
        let mean = (self.per_second + self.final_per_second) / 2.0;
        (mean * (self.lasting.as_secs_f64() + 1e-9) + 1e-9) as u64
    }

    /// The highest rate of the phase.
    pub fn peak(&self) -> f64 {
        self.per_second.max(self.final_per_second)
    }

    /// The time from the beginning of the phase at which `events` events have begun; a fraction of
    /// an event is allowed.
    pub fn time_of(&self, events: f64) -> Duration {
        if self.per_second == self.final_per_second {
            return Duration::from_secs_f64(events / self.per_second);
        }
        // The number of events until the time t is b·t + s·t²/2, with the first rate b and the
        // slope s. This form of the solution also holds for a first rate of 0.
        let (begin, length) = (self.per_second, self.lasting.as_secs_f64());
        let slope = (self.final_per_second - begin) / length;
        let root = (begin * begin + 2.0 * slope * events).max(0.0).sqrt();
        let seconds = if events > 0.0 { 2.0 * events / (begin + root) } else { 0.0 };
        Duration::from_secs_f64(seconds.min(length))
    }

    /// Number of events from the beginning of the phase until `time`.
    pub fn events_until(&self, time: Duration) -> f64 {
        let (time, length) = (time.min(self.lasting).as_secs_f64(), self.lasting.as_secs_f64());
        let slope = (self.final_per_second - self.per_second) / length.max(1e-9);
        self.per_second * time + slope * time * time / 2.0
    }
}

impl FromStr for RatePhase {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let malformed =
            || format!("`{text}` is not a phase like `50/s for 2m` or `10/s..100/s for 60s`");
        let (rates, lasting) = text.split_once(" for ").ok_or_else(malformed)?;
        let (first, last) = rates.split_once("..").unwrap_or((rates, rates));
        let rate = |text: &str| -> Result<f64, String> {
            let number = text.trim().strip_suffix("/s").and_then(|n| n.trim().parse().ok());
            number.ok_or_else(malformed)
        };
        let (per_second, final_per_second) = (rate(first)?, rate(last)?);
        let is_rate = |rate: f64| (0.0..=1e7).contains(&rate);
        if !is_rate(per_second)
            || !is_rate(final_per_second)
            || per_second + final_per_second == 0.0
        {
            return Err(format!("`{text}`: a rate must be above 0 and at most 10000000 a second"));
        }
        let lasting = lasting.parse::<DurationSetting>()?.0;
        Ok(RatePhase { per_second, final_per_second, lasting })
    }
}

impl fmt::Display for RatePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.per_second)?;
        if self.per_second != self.final_per_second {
            write!(f, "..{}/s", self.final_per_second)?;
        }
        write!(f, " for {}", DurationSetting(self.lasting))
    }
}

/// How the planned times of arrivals and requests are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrivalPattern {
    /// At equal distances.
    Even,
    /// At random times, as those of independent users.
    Poisson,
}

impl FromStr for ArrivalPattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "even" => Ok(ArrivalPattern::Even),
            "poisson" => Ok(ArrivalPattern::Poisson),
            _ => Err(format!("`{text}` is neither `even` nor `poisson`")),
        }
    }
}

impl fmt::Display for ArrivalPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ArrivalPattern::Even => "even",
            ArrivalPattern::Poisson => "poisson",
        })
    }
}

/// Most queues of one test.
const MAX_QUEUES: usize = 1000;

/// The queues that the users are spread over: a number of equal ones, or names with weights like
/// `en 3, de 1`.
#[derive(Clone, Debug, PartialEq)]
pub enum QueueMix {
    /// This many queues with equal weights.
    Count(usize),
    /// Queues with these names and weights.
    Named(Vec<(String, f64)>),
}

impl QueueMix {
    /// The names of the queues and their weights. `queue` is the name of a single unnamed queue and
    /// the beginning of the names of several.
    pub fn with_names(&self, queue: &str) -> Vec<(String, f64)> {
        match self {
            QueueMix::Count(1) => vec![(queue.to_owned(), 1.0)],
            QueueMix::Count(count) => {
                (1..=*count).map(|number| (format!("{queue}-{number}"), 1.0)).collect()
            }
            QueueMix::Named(named) => named.clone(),
        }
    }
}

impl FromStr for QueueMix {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let malformed =
            || format!("`{text}` is neither a number of queues nor a list like `en 3, de 1`");
        let parse_one = |part: &str| -> Result<(String, f64), String> {
            let (name, weight) = part.trim().split_once(' ').unwrap_or((part.trim(), "1"));
            let weight: f64 = weight.trim().parse().map_err(|_| malformed())?;
            let is_valid = weight > 0.0 && weight.is_finite();
            if name.is_empty() || !is_valid {
                Err(malformed())
            } else {
                Ok((name.to_owned(), weight))
            }
        };
        let mix = match text.trim().parse() {
            Ok(count) => QueueMix::Count(count),
            Err(_) => QueueMix::Named(text.split(',').map(parse_one).collect::<Result<_, _>>()?),
        };
        let count = match &mix {
            QueueMix::Count(count) => *count,
            QueueMix::Named(named) => named.len(),
        };
        match (1..=MAX_QUEUES).contains(&count) {
            true => Ok(mix),
            false => Err(format!("`{text}`: there must be between 1 and {MAX_QUEUES} queues")),
        }
    }
}

impl fmt::Display for QueueMix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueueMix::Count(count) => write!(f, "{count}"),
            QueueMix::Named(named) => {
                let parts: Vec<_> =
                    named.iter().map(|(name, weight)| format!("{name} {weight}")).collect();
                f.write_str(&parts.join(", "))
            }
        }
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
as_text!(
    DurationSetting,
    RatePhase,
    HttpPhase,
    StressDimension,
    ArrivalPattern,
    QueueMix,
    CommaSeparated<T>
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_reverses_formatting() {
        for text in ["10/s for 1m, 50/s for 2m", "0.5/s for 10s", "0/s..100/s for 1m"] {
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
        for rate in ["0/s for 1s", "0/s..0/s for 1s", "-1/s..5/s for 1s", "1/s..nan/s for 1s"] {
            assert!(rate.parse::<RatePhase>().is_err(), "{rate}");
        }
        assert!("5 for".parse::<RatePhase>().unwrap_err().contains("50/s for 2m"));
        assert!("health 1/s for 1s".parse::<HttpPhase>().is_err());
        assert!("1 for 1s".parse::<LoadStage>().is_err());
        assert!("soon".parse::<DurationSetting>().unwrap_err().contains("`soon`"));
    }

    #[test]
    fn a_ramp_has_the_mean_of_its_rates_and_its_events_become_denser() {
        for text in ["10/s..100/s for 60s", "0/s..110/s for 60s", "100/s..10/s for 60s"] {
            let ramp: RatePhase = text.parse().unwrap();
            assert_eq!(ramp.count(), 3300, "{text}");
            for events in [1.0, 100.0, 1650.0, 3299.0] {
                let until = ramp.events_until(ramp.time_of(events));
                assert!((until - events).abs() < 1e-3, "{text}: {until} are not {events}");
            }
        }
        let ramp: RatePhase = "0/s..100/s for 10s".parse().unwrap();
        // Half of the time has a quarter of the events.
        assert_eq!(ramp.time_of(125.0), Duration::from_secs(5));
        assert_eq!((ramp.time_of(0.0), ramp.time_of(500.0)), (Duration::ZERO, ramp.lasting));
    }

    #[test]
    fn queues_are_a_number_or_a_list_with_weights() {
        let names = |text: &str| text.parse::<QueueMix>().unwrap().with_names("q");
        assert_eq!(names("1"), [("q".to_owned(), 1.0)]);
        assert_eq!(names("2"), [("q-1".to_owned(), 1.0), ("q-2".to_owned(), 1.0)]);
        assert_eq!(names("en 3,de"), [("en".to_owned(), 3.0), ("de".to_owned(), 1.0)]);
        assert_eq!("en 3, de".parse::<QueueMix>().unwrap().to_string(), "en 3, de 1");
        for text in ["0", "1001", "", "en 0", "en -1", "en inf", "en NaN", "en x", "en,,de"] {
            assert!(text.parse::<QueueMix>().is_err(), "{text}");
        }
    }

    #[test]
    fn scaling_keeps_a_measurable_duration() {
        let floor = Duration::from_secs(2);
        assert_eq!(DurationSetting::seconds(600).scaled(0.005, floor), DurationSetting::seconds(3));
        assert_eq!(DurationSetting::seconds(60).scaled(0.005, floor), DurationSetting::seconds(2));
        assert_eq!(DurationSetting::seconds(1).scaled(0.005, floor), DurationSetting::seconds(1));
    }
}
