//! Numbers that no run can be made of. Pure.

use super::{CommonSettings, Scenario};
use crate::load::units::HumanDuration;
use std::fmt;
use std::time::Duration;

/// A value that no run can be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidValue {
    /// The key of the value, as a file has it.
    pub key: &'static str,
    /// What is wrong with it.
    pub what: String,
}

impl InvalidValue {
    /// What is wrong with the value of `key`.
    pub fn new(key: &'static str, what: impl Into<String>) -> Self {
        InvalidValue { key, what: what.into() }
    }
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

type CheckResult = Result<(), InvalidValue>;

/// More a second is nothing that one machine could send.
const MOST_PER_SECOND: f64 = 1e7;
/// Sessions are opened by a schedule that does not sleep longer than this between two.
const LEAST_CONNECTS_PER_SECOND: f64 = 0.1;
/// The tester itself takes no longer message from a server (`engine/worker/intake.rs`).
const MOST_MESSAGE_BYTES: u32 = 1024 * 1024;
/// Each thread has a receive buffer and two sets of histograms.
pub const MOST_THREADS: u16 = 256;
const MOST_CANDIDATES: u32 = 10_000;
/// In rooms or not: their sum is a number, too.
const MOST_USERS: u32 = 1 << 30;
const LONGEST: HumanDuration = HumanDuration(Duration::from_secs(366 * 24 * 3600));
/// Of one user's messages, if it sends any.
const LEAST_PER_SECOND: f64 = 1.0 / (366.0 * 24.0 * 3600.0);
const SHORTEST: HumanDuration = HumanDuration(Duration::from_millis(1));

/// `least <= value <= most`; what is not a number is neither.
fn within(key: &'static str, value: f64, least: f64, most: f64) -> CheckResult {
    match value >= least && value <= most {
        true => Ok(()),
        false => Err(InvalidValue::new(key, format!("{value} is not from {least} to {most}"))),
    }
}

/// A rate of messages: none at all, or one in a year at least.
fn rate(key: &'static str, value: f64) -> CheckResult {
    if value == 0.0 { Ok(()) } else { within(key, value, LEAST_PER_SECOND, 1e6) }
}

fn at_least_one(key: &'static str, value: u32) -> CheckResult {
    if value > 0 { Ok(()) } else { Err(InvalidValue::new(key, "at least 1 is needed")) }
}

fn lasting(key: &'static str, value: HumanDuration) -> CheckResult {
    match value >= SHORTEST && value <= LONGEST {
        true => Ok(()),
        false => {
            Err(InvalidValue::new(key, format!("{value} is not from {SHORTEST} to 366 days long")))
        }
    }
}

/// As [`lasting`], or nothing at all.
fn lasting_or_none(key: &'static str, value: HumanDuration) -> CheckResult {
    if value.0.is_zero() { Ok(()) } else { lasting(key, value) }
}

fn users(value: u32) -> CheckResult {
    within("users", value.into(), 1.0, MOST_USERS.into())
}

fn rooms(value: u32) -> CheckResult {
    within("rooms", value.into(), 1.0, (MOST_USERS / 2).into())
}

fn connect_rate(value: f64) -> CheckResult {
    within("connect_rate", value, LEAST_CONNECTS_PER_SECOND, MOST_PER_SECOND)
}

fn messages(bytes: u32) -> CheckResult {
    within("message_bytes", bytes.into(), 0.0, MOST_MESSAGE_BYTES.into())
}

fn candidates(many: u32) -> CheckResult {
    within("candidates", many.into(), 0.0, MOST_CANDIDATES.into())
}

fn talk(least: HumanDuration, most: HumanDuration) -> CheckResult {
    lasting("talk_min", least)?;
    lasting("talk_max", most)?;
    match least <= most {
        true => Ok(()),
        false => {
            Err(InvalidValue::new("talk_min", format!("{least} is longer than talk_max, {most}")))
        }
    }
}

fn common(s: &CommonSettings) -> CheckResult {
    if !crate::wire::message::is_queue_name(s.queue.as_bytes()) {
        return Err(InvalidValue::new("queue", format!("`{}` is no queue name", s.queue)));
    }
    if s.report.to_str().is_none() {
        // The report names its directory, and JSON has no other letters.
        return Err(InvalidValue::new("report", format!("{} is not UTF-8", s.report.display())));
    }
    within("threads", s.threads.into(), 1.0, MOST_THREADS.into())?;
    within("late_percent", s.late_percent, 0.0, 100.0)?;
    for (key, value) in [
        ("late_after", s.late_after),
        ("connect_timeout", s.connect_timeout),
        ("match_timeout", s.match_timeout),
        ("message_timeout", s.message_timeout),
        ("stall_after", s.stall_after),
        ("interval", s.interval),
    ] {
        lasting(key, value)?;
    }
    Ok(())
}

impl Scenario {
    /// Refuses numbers that no run can be made of.
    ///
    /// # Errors
    /// The first one that is wrong.
    pub fn check(&self) -> Result<(), InvalidValue> {
        common(self.common())?;
        match self {
            Scenario::Connections(s) => {
                users(s.users)?;
                within("sample_rooms", s.sample_rooms.into(), 0.0, (MOST_USERS / 2).into())?;
                connect_rate(s.connect_rate)?;
                lasting("hold", s.hold)?;
                lasting("ping_every", s.ping_every)?;
                rate("sample_rate", s.sample_rate)
            }
            Scenario::Matchmaking(s) => {
                if s.users == 0 || s.users % 2 == 1 {
                    let what = format!("{} cannot be matched in pairs", s.users);
                    return Err(InvalidValue::new("users", what));
                }
                users(s.users)?;
                at_least_one("rounds", s.rounds)?;
                lasting("round_every", s.round_every)?;
                connect_rate(s.connect_rate)
            }
            Scenario::Signaling(s) => {
                rooms(s.rooms)?;
                connect_rate(s.connect_rate)?;
                rate("message_rate", s.message_rate)?;
                messages(s.message_bytes)?;
                candidates(s.candidates)?;
                lasting_or_none("warm_up", s.warm_up)?;
                lasting("duration", s.duration)
            }
            Scenario::Calls(s) => {
                let arrivals: u64 = s.phases.0.iter().map(|phase| phase.count()).sum();
                if arrivals == 0 {
                    return Err(InvalidValue::new(
                        "phases",
                        format!("in `{}` nobody arrives", s.phases),
                    ));
                }
                s.phases.0.iter().try_for_each(|p| lasting("phases", HumanDuration(p.lasting)))?;
                talk(s.talk_min, s.talk_max)?;
                within("next_percent", s.next_percent, 0.0, 100.0)?;
                rate("message_rate", s.message_rate)?;
                messages(s.message_bytes)?;
                candidates(s.candidates)
            }
            Scenario::Http(s) => {
                let requests: u64 = s.requests.0.iter().map(|r| r.phase.count()).sum();
                if requests == 0 {
                    let what = format!("in `{}` there is no request", s.requests);
                    return Err(InvalidValue::new("requests", what));
                }
                s.requests
                    .0
                    .iter()
                    .try_for_each(|r| lasting("requests", HumanDuration(r.phase.lasting)))?;
                at_least_one("max_connections", s.max_connections)
            }
            Scenario::Stress(s) => {
                rooms(s.rooms)?;
                within("start", s.start, 1.0, MOST_PER_SECOND)?;
                within("ceiling", s.ceiling, 1.0, MOST_PER_SECOND)?;
                within("factor", s.factor, 1.01, 100.0)?;
                within("tolerance_percent", s.tolerance_percent, 0.1, 100.0)?;
                within("confirmations", s.confirmations.into(), 0.0, 100.0)?;
                lasting("step", s.step)?;
                messages(s.message_bytes)?;
                connect_rate(s.connect_rate)
            }
            Scenario::Endurance(s) => {
                rooms(s.rooms)?;
                within("percent", s.percent, 0.1, 1000.0)?;
                if s.capacity != 0.0 {
                    let users = f64::from(s.rooms) * 2.0;
                    let least = LEAST_PER_SECOND * users * 100.0 / s.percent;
                    within("capacity", s.capacity, least, MOST_PER_SECOND)?;
                }
                lasting("duration", s.duration)?;
                lasting_or_none("warm_up", s.warm_up)?;
                talk(s.talk_min, s.talk_max)?;
                messages(s.message_bytes)?;
                connect_rate(s.connect_rate)?;
                within("leak_percent", s.leak_percent, 0.0, 1000.0)?;
                within("confidence_percent", s.confidence_percent, 50.0, 99.999_999)
            }
            Scenario::Plan(s) => {
                rooms(s.rooms)?;
                s.stages.0.iter().try_for_each(|t| lasting("stages", HumanDuration(t.lasting)))?;
                talk(s.talk_min, s.talk_max)?;
                rate("message_rate", s.message_rate)?;
                messages(s.message_bytes)?;
                candidates(s.candidates)?;
                connect_rate(s.connect_rate)?;
                lasting("stress_step", s.stress_step)?;
                within("stress_start", s.stress_start, 1.0, MOST_PER_SECOND)?;
                within("stress_ceiling", s.stress_ceiling, 0.0, MOST_PER_SECOND)?;
                lasting_or_none("endurance", s.endurance)?;
                within("endurance_percent", s.endurance_percent, 0.1, 1000.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BUILT_IN, parse_file};

    #[test]
    fn what_is_built_in_can_be_run() {
        for (name, text) in BUILT_IN {
            assert_eq!(parse_file(text).unwrap().resolve().check(), Ok(()), "{name}");
        }
    }

    #[test]
    fn numbers_that_are_none_and_those_out_of_bounds_are_refused_by_their_key() {
        for (scenario, key, values) in [
            ("connections", "connect_rate", &["nan", "inf", "0.0", "-1.0", "1e-9"][..]),
            ("connections", "threads", &["0", "65535"]),
            ("connections", "late_percent", &["nan", "-1.0"]),
            ("connections", "hold", &["'0s'", "'1000years'"]),
            ("connections", "stall_after", &["'0s'"]),
            ("matchmaking", "round_every", &["'0s'"]),
            ("signaling", "message_rate", &["nan", "inf", "-4.0", "1e-300", "1e300"]),
            ("signaling", "message_bytes", &["4000000000"]),
            ("signaling", "rooms", &["0", "2147483648"]),
            ("connections", "sample_rooms", &["2147483648"]),
            ("connections", "users", &["0", "4000000000"]),
            ("matchmaking", "users", &["0", "3", "4000000000"]),
            ("calls", "next_percent", &["nan", "500.0", "-5.0"]),
            ("calls", "phases", &["'0.01/s for 1s'", "'1/s for 1000years'"]),
            ("http", "requests", &["'/ 0.01/s for 1s'"]),
            ("stress", "ceiling", &["nan", "inf", "0.0"]),
            ("stress", "tolerance_percent", &["0.0", "-3.0", "nan"]),
            ("stress", "factor", &["1.0", "inf"]),
            ("endurance", "capacity", &["nan", "-1.0", "1e-20"]),
            ("endurance", "confidence_percent", &["100.0", "nan"]),
            ("plan", "stress_start", &["nan", "0.0"]),
        ] {
            for value in values {
                let text = format!("scenario = \"{scenario}\"\n{key} = {value}\n");
                let wrong = parse_file(&text).unwrap().resolve().check().unwrap_err();
                assert_eq!(wrong.key, key, "{text}: {wrong}");
            }
        }
    }
}
