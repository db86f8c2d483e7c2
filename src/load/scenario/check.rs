//! Validation of a scenario's values. Pure.

use super::{
    CallsScenario, CommonSettings, ConnectionsScenario, EnduranceScenario, HabitSettings,
    HttpScenario, MatchmakingScenario, PlanScenario, Scenario, SignalingScenario, StressScenario,
};
use crate::load::measure::MAX_HTTP_PATHS;
use crate::load::units::DurationSetting;
use std::fmt;
use std::time::Duration;

/// A value of a scenario that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidValue {
    /// The key, spelled as in a scenario file.
    pub key: &'static str,
    /// Why the value is refused.
    pub reason: String,
}

impl InvalidValue {
    /// The value of `key` is refused for this reason.
    pub fn new(key: &'static str, reason: impl Into<String>) -> Self {
        InvalidValue { key, reason: reason.into() }
    }
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)
    }
}

type CheckResult = Result<(), InvalidValue>;

/// No single machine sends more than this.
const MAX_RATE_PER_S: f64 = 1e7;
/// The arrival schedule assumes at most 10 s between two arrivals.
const MIN_CONNECT_RATE_PER_S: f64 = 0.1;
/// The tester accepts no longer message from a server either (`engine/worker/receive.rs`).
const MAX_MESSAGE_BYTES: u32 = 1024 * 1024;
/// Most threads of the generator. Each has a receive buffer and two sets of histograms.
pub const MAX_THREADS: u16 = 256;
/// Most ICE candidates that one user sends in a call.
const MAX_CANDIDATES: u32 = 10_000;
/// Bounds `users` and `2 * rooms`, so that their sum still fits into `u32`.
const MAX_USERS: u32 = 1 << 30;
/// Longest duration that a scenario accepts.
const MAX_DURATION: DurationSetting = DurationSetting(Duration::from_secs(366 * 24 * 3600));
/// Lowest message rate of one user other than 0: one message in a year.
const MIN_MESSAGE_RATE_PER_S: f64 = 1.0 / (366.0 * 24.0 * 3600.0);
/// Shortest duration that a scenario accepts.
const MIN_DURATION: DurationSetting = DurationSetting(Duration::from_millis(1));

/// Checks `min <= value <= max`. NaN is refused, because both comparisons are false.
fn within(key: &'static str, value: f64, min: f64, max: f64) -> CheckResult {
    match value >= min && value <= max {
        true => Ok(()),
        false => Err(InvalidValue::new(key, format!("{value} is not between {min} and {max}"))),
    }
}

/// A message rate: 0, or at least [`MIN_MESSAGE_RATE_PER_S`].
fn message_rate(key: &'static str, value: f64) -> CheckResult {
    if value == 0.0 { Ok(()) } else { within(key, value, MIN_MESSAGE_RATE_PER_S, 1e6) }
}

fn at_least_one(key: &'static str, value: u32) -> CheckResult {
    if value > 0 { Ok(()) } else { Err(InvalidValue::new(key, "it must be at least 1")) }
}

fn duration(key: &'static str, value: DurationSetting) -> CheckResult {
    match value >= MIN_DURATION && value <= MAX_DURATION {
        true => Ok(()),
        false => Err(InvalidValue::new(
            key,
            format!("{value} is not between {MIN_DURATION} and 366 days"),
        )),
    }
}

/// Like [`duration`], but 0 is accepted.
fn duration_or_zero(key: &'static str, value: DurationSetting) -> CheckResult {
    if value.0.is_zero() { Ok(()) } else { duration(key, value) }
}

fn users(value: u32) -> CheckResult {
    within("users", value.into(), 1.0, MAX_USERS.into())
}

fn rooms(value: u32) -> CheckResult {
    within("rooms", value.into(), 1.0, (MAX_USERS / 2).into())
}

fn connect_rate(value: f64) -> CheckResult {
    within("connect_rate", value, MIN_CONNECT_RATE_PER_S, MAX_RATE_PER_S)
}

fn message_bytes(bytes: u32) -> CheckResult {
    within("message_bytes", bytes.into(), 0.0, MAX_MESSAGE_BYTES.into())
}

fn candidates(count: u32) -> CheckResult {
    within("candidates", count.into(), 0.0, MAX_CANDIDATES.into())
}

fn talk_range(min: DurationSetting, max: DurationSetting) -> CheckResult {
    duration("talk_min", min)?;
    duration("talk_max", max)?;
    match min <= max {
        true => Ok(()),
        false => {
            Err(InvalidValue::new("talk_min", format!("{min} is longer than talk_max, {max}")))
        }
    }
}

fn habits(s: &HabitSettings) -> CheckResult {
    for (key, value) in [
        ("cancel_percent", s.cancel_percent),
        ("reset_percent", s.reset_percent),
        ("silent_percent", s.silent_percent),
        ("return_percent", s.return_percent),
    ] {
        within(key, value, 0.0, 100.0)?;
    }
    if s.reset_percent + s.silent_percent > 100.0 {
        let reason = "together with reset_percent it is above 100";
        return Err(InvalidValue::new("silent_percent", reason));
    }
    duration_or_zero("give_up_after", s.give_up_after)?;
    duration_or_zero("return_after", s.return_after)
}

fn queues(s: &CommonSettings) -> CheckResult {
    for (name, _) in s.queues.with_names(&s.queue) {
        if !crate::wire::message::is_queue_name(name.as_bytes()) {
            return Err(InvalidValue::new("queues", format!("`{name}` is not a valid queue name")));
        }
    }
    Ok(())
}

fn common_settings(s: &CommonSettings) -> CheckResult {
    if !crate::wire::message::is_queue_name(s.queue.as_bytes()) {
        return Err(InvalidValue::new("queue", format!("`{}` is not a valid queue name", s.queue)));
    }
    if s.report.to_str().is_none() {
        // The report contains this path, and JSON text is UTF-8.
        return Err(InvalidValue::new("report", format!("{} is not UTF-8", s.report.display())));
    }
    queues(s)?;
    within("threads", s.threads.into(), 1.0, MAX_THREADS.into())?;
    within("late_percent", s.late_percent, 0.0, 100.0)?;
    for (key, value) in [
        ("late_after", s.late_after),
        ("connect_timeout", s.connect_timeout),
        ("match_timeout", s.match_timeout),
        ("message_timeout", s.message_timeout),
        ("stall_after", s.stall_after),
        ("interval", s.interval),
    ] {
        duration(key, value)?;
    }
    Ok(())
}

impl Scenario {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// The first value that is out of range.
    pub fn check(&self) -> Result<(), InvalidValue> {
        common_settings(self.common())?;
        match self {
            Scenario::Connections(s) => s.check(),
            Scenario::Matchmaking(s) => s.check(),
            Scenario::Signaling(s) => s.check(),
            Scenario::Calls(s) => s.check(),
            Scenario::Http(s) => s.check(),
            Scenario::Stress(s) => s.check(),
            Scenario::Endurance(s) => s.check(),
            Scenario::Plan(s) => s.check(),
        }
    }
}

impl ConnectionsScenario {
    fn check(&self) -> CheckResult {
        users(self.users)?;
        within("sample_rooms", self.sample_rooms.into(), 0.0, (MAX_USERS / 2).into())?;
        connect_rate(self.connect_rate)?;
        duration("hold", self.hold)?;
        duration("ping_every", self.ping_every)?;
        message_rate("sample_rate", self.sample_rate)
    }
}

impl MatchmakingScenario {
    fn check(&self) -> CheckResult {
        if self.users == 0 || self.users % 2 == 1 {
            let reason =
                format!("{}: must be even and at least 2 to match all in pairs", self.users);
            return Err(InvalidValue::new("users", reason));
        }
        users(self.users)?;
        at_least_one("rounds", self.rounds)?;
        duration("round_every", self.round_every)?;
        connect_rate(self.connect_rate)
    }
}

impl SignalingScenario {
    fn check(&self) -> CheckResult {
        rooms(self.rooms)?;
        connect_rate(self.connect_rate)?;
        message_rate("message_rate", self.message_rate)?;
        message_bytes(self.message_bytes)?;
        candidates(self.candidates)?;
        duration_or_zero("warm_up", self.warm_up)?;
        duration("duration", self.duration)
    }
}

impl CallsScenario {
    fn check(&self) -> CheckResult {
        let arrivals: u64 = self.phases.0.iter().map(|phase| phase.count()).sum();
        if arrivals == 0 {
            return Err(InvalidValue::new(
                "phases",
                format!("no user arrives in `{}`", self.phases),
            ));
        }
        self.phases.0.iter().try_for_each(|p| duration("phases", DurationSetting(p.lasting)))?;
        talk_range(self.talk_min, self.talk_max)?;
        within("next_percent", self.next_percent, 0.0, 100.0)?;
        habits(&self.habits())?;
        message_rate("message_rate", self.message_rate)?;
        message_bytes(self.message_bytes)?;
        candidates(self.candidates)
    }
}

impl HttpScenario {
    /// The different paths, in the order in which they are requested.
    pub fn paths(&self) -> Vec<&str> {
        let mut paths: Vec<&str> = Vec::new();
        for request in &self.requests.0 {
            if !paths.contains(&request.path.as_str()) {
                paths.push(&request.path);
            }
        }
        paths
    }

    fn check(&self) -> CheckResult {
        let requests: u64 = self.requests.0.iter().map(|r| r.phase.count()).sum();
        if requests == 0 {
            let reason = format!("`{}` contains no request", self.requests);
            return Err(InvalidValue::new("requests", reason));
        }
        self.requests
            .0
            .iter()
            .try_for_each(|r| duration("requests", DurationSetting(r.phase.lasting)))?;
        if self.paths().len() > MAX_HTTP_PATHS {
            let reason = format!("more than {MAX_HTTP_PATHS} different paths");
            return Err(InvalidValue::new("requests", reason));
        }
        at_least_one("max_connections", self.max_connections)
    }
}

impl StressScenario {
    fn check(&self) -> CheckResult {
        rooms(self.rooms)?;
        within("start", self.start, 1.0, MAX_RATE_PER_S)?;
        within("ceiling", self.ceiling, 1.0, MAX_RATE_PER_S)?;
        within("factor", self.factor, 1.01, 100.0)?;
        within("tolerance_percent", self.tolerance_percent, 0.1, 100.0)?;
        within("confirmations", self.confirmations.into(), 0.0, 100.0)?;
        duration("step", self.step)?;
        message_bytes(self.message_bytes)?;
        connect_rate(self.connect_rate)
    }
}

impl EnduranceScenario {
    fn check(&self) -> CheckResult {
        rooms(self.rooms)?;
        within("percent", self.percent, 0.1, 1000.0)?;
        if self.capacity != 0.0 {
            let users = f64::from(self.rooms) * 2.0;
            let min = MIN_MESSAGE_RATE_PER_S * users * 100.0 / self.percent;
            within("capacity", self.capacity, min, MAX_RATE_PER_S)?;
        }
        duration("duration", self.duration)?;
        duration_or_zero("warm_up", self.warm_up)?;
        talk_range(self.talk_min, self.talk_max)?;
        message_bytes(self.message_bytes)?;
        connect_rate(self.connect_rate)?;
        within("leak_percent", self.leak_percent, 0.0, 1000.0)?;
        within("confidence_percent", self.confidence_percent, 50.0, 99.999_999)
    }
}

impl PlanScenario {
    fn check(&self) -> CheckResult {
        rooms(self.rooms)?;
        self.stages.0.iter().try_for_each(|t| duration("stages", DurationSetting(t.lasting)))?;
        talk_range(self.talk_min, self.talk_max)?;
        message_rate("message_rate", self.message_rate)?;
        message_bytes(self.message_bytes)?;
        candidates(self.candidates)?;
        connect_rate(self.connect_rate)?;
        habits(&self.habits())?;
        duration("stress_step", self.stress_step)?;
        within("stress_start", self.stress_start, 1.0, MAX_RATE_PER_S)?;
        within("stress_ceiling", self.stress_ceiling, 0.0, MAX_RATE_PER_S)?;
        duration_or_zero("endurance", self.endurance)?;
        within("endurance_percent", self.endurance_percent, 0.1, 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BUILT_IN, parse_file};

    #[test]
    fn built_in_scenarios_are_valid() {
        for (name, text) in BUILT_IN {
            assert_eq!(parse_file(text).unwrap().resolve().check(), Ok(()), "{name}");
        }
    }

    #[test]
    fn refuses_values_out_of_range_and_names_their_key() {
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
            ("calls", "cancel_percent", &["nan", "101.0", "-1.0"]),
            ("plan", "return_percent", &["nan", "101.0"]),
            ("calls", "return_after", &["'1000years'"]),
            ("calls", "queues", &["'a/b 1'"]),
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
                let invalid = parse_file(&text).unwrap().resolve().check().unwrap_err();
                assert_eq!(invalid.key, key, "{text}: {invalid}");
            }
        }
    }

    #[test]
    fn the_number_of_different_paths_is_limited() {
        let check = |paths: usize| {
            let phases: Vec<String> =
                (0..200).map(|n| format!("/{} 1/s for 1s", n % paths)).collect();
            let text = format!("scenario = 'http'\nrequests = '{}'\n", phases.join(", "));
            parse_file(&text).unwrap().resolve().check()
        };
        assert_eq!(check(32), Ok(()));
        let refused = check(33).unwrap_err();
        assert_eq!(refused.to_string(), "requests: more than 32 different paths");
    }
}
