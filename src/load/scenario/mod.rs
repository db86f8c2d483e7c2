//! Scenarios and all their values.
//!
//! A value is declared once, in the macro `scenarios!`. It is then a flag of the subcommand, a key
//! of the TOML file and a field of the scenario. Three layers supply the values: flags take
//! precedence over a scenario file, which takes precedence over the built-in scenario of the same
//! name. A built-in scenario is a TOML file too and contains every key of its own. Only the keys
//! that all scenarios share have their defaults in the code, in [`CommonSettings`].

mod check;
mod file;
mod habits;
mod time_scale;

pub use check::{InvalidValue, MAX_THREADS};
pub use file::{BUILT_IN, ScenarioFileError, built_in, parse_file, value_position};
pub use time_scale::STEP_FLOOR;

use habits::HabitSettings;

use super::target;
use super::units::{
    ArrivalPattern, CommaSeparated, DurationSetting, HttpPhase, LoadStage, QueueMix, RatePhase,
    StressDimension,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Generates the struct of the values that all scenarios share.
macro_rules! common_keys {
    ({ $( $(#[$meta:meta])* $field:ident : $type:ty = $default:expr, )* }) => {
        /// The values that all scenarios share.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub struct CommonSettings { $( $(#[$meta])* pub $field: $type, )* }

        impl Default for CommonSettings {
            fn default() -> Self { CommonSettings { $( $field: $default, )* } }
        }
    };
}

/// Generates, for one scenario, the struct of its values, the struct of its flags and TOML keys,
/// which are all optional, and the combination of layers into values.
macro_rules! scenario {
    (
        { $( $(#[$cmeta:meta])* $cfield:ident : $ctype:ty = $cdefault:expr, )* }
        $(#[$meta:meta])* $variant:ident($values:ident / $flags:ident) = $key:literal {
            $( $(#[$fmeta:meta])* $field:ident : $type:ty, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub struct $values {
            $( $(#[$fmeta])* pub $field: $type, )*
            /// The values that all scenarios share.
            #[serde(flatten)]
            pub common: CommonSettings,
        }

        $(#[$meta])*
        #[derive(Clone, Debug, Default, clap::Args, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $flags {
            /// Name of the scenario. Only a file has it, so `Some` marks a file's values.
            #[arg(skip)]
            pub scenario: Option<String>,
            $( $(#[$fmeta])* #[arg(long)] pub $field: Option<$type>, )*
            $( $(#[$cmeta])* #[arg(long, help_heading = "Options of every scenario")]
               pub $cfield: Option<$ctype>, )*
        }

        impl $flags {
            /// These values, with those of `lower` where this layer has none.
            fn with_fallback(self, lower: $flags) -> $flags {
                // `require` in a file is the whole list, so a target of the built-in scenario can
                // be removed there. Each `--require` flag adds one target to the lower list.
                let require = match self.scenario {
                    Some(_) => self.require.clone().or_else(|| lower.require.clone()),
                    None => merge_targets(self.require.clone(), lower.require.clone()),
                };
                // If neither layer is a file with a list, the result must not count as a file:
                // its `require` still adds to the built-in list.
                let has_whole_list = self.scenario.is_some() || lower.require.is_some();
                let merged = $flags {
                    scenario: self.scenario.or(lower.scenario).filter(|_| has_whole_list),
                    $( $field: self.$field.or(lower.$field), )*
                    $( $cfield: self.$cfield.or(lower.$cfield), )*
                };
                $flags { require, ..merged }
            }

            /// All values, with those of the built-in scenario where this layer has none.
            pub fn resolve(self) -> $values {
                let text = built_in($key).expect("because every scenario is built in");
                let built_in: $flags =
                    toml::from_str(text).expect("because a test reads every built-in scenario");
                let all = self.with_fallback(built_in);
                $values {
                    $( $field: all.$field.expect("because the built-in scenario has every key"), )*
                    common: CommonSettings { $( $cfield: all.$cfield.unwrap_or_else(|| $cdefault), )* },
                }
            }
        }
    };
}

/// Adds the values of the users' habits to a scenario whose values begin with `with habits`.
macro_rules! with_habits {
    ({ with habits, $($field:tt)* } { $($habit:tt)* } $($scenario:tt)*) => {
        scenario! { $($scenario)* { $($field)* $($habit)* } }
    };
    ($fields:tt $habits:tt $($scenario:tt)*) => {
        scenario! { $($scenario)* $fields }
    };
}

/// Declares the values that all scenarios share, those of users' habits, then those of each scenario.
macro_rules! scenarios {
    (
        common $common:tt
        habits $habits:tt
        $( $(#[$meta:meta])* $variant:ident($values:ident / $flags:ident) = $key:literal $fields:tt )*
    ) => {
        common_keys! { $common }
        $( with_habits! { $fields $habits $common $(#[$meta])* $variant($values / $flags) = $key } )*

        /// A scenario with all its values.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(tag = "scenario", rename_all = "lowercase")]
        pub enum Scenario { $( $(#[$meta])* $variant($values), )* }

        /// The values of a scenario that flags or a file contain; any of them may be absent.
        #[derive(Clone, Debug, clap::Subcommand)]
        pub enum PartialScenario { $( $(#[$meta])* $variant($flags), )* }

        impl PartialScenario {
            /// Parses `text` as the keys of the scenario `name`; `None` if there is no such scenario.
            fn from_toml(name: &str, text: &str) -> Option<Result<PartialScenario, toml::de::Error>> {
                match name {
                    $( $key => Some(toml::from_str::<$flags>(text).map(PartialScenario::$variant)), )*
                    _ => None,
                }
            }

            /// These values, with those of `lower` where this layer has none. `None` if they
            /// belong to different scenarios.
            pub fn with_fallback(self, lower: PartialScenario) -> Option<PartialScenario> {
                match (self, lower) {
                    $( (PartialScenario::$variant(upper), PartialScenario::$variant(lower)) => {
                        Some(PartialScenario::$variant(upper.with_fallback(lower)))
                    } )*
                    _ => None,
                }
            }

            /// The scenario with all its values.
            pub fn resolve(self) -> Scenario {
                match self { $( PartialScenario::$variant(flags) => Scenario::$variant(flags.resolve()), )* }
            }
        }

        impl Scenario {
            /// The names of all scenarios.
            pub const NAMES: &[&str] = &[$( $key, )*];

            /// The name of this scenario.
            pub fn name(&self) -> &'static str {
                match self { $( Scenario::$variant(_) => $key, )* }
            }

            /// The values that all scenarios share, mutable.
            pub fn common_mut(&mut self) -> &mut CommonSettings {
                match self { $( Scenario::$variant(s) => &mut s.common, )* }
            }

            /// The values that all scenarios share.
            pub fn common(&self) -> &CommonSettings {
                match self { $( Scenario::$variant(s) => &s.common, )* }
            }
        }
    };
}

scenarios! {
    common {
        /// WebSocket URL of the server, like `ws://192.0.2.10:8080/ws`.
        url: String = "ws://127.0.0.1:8080/ws".to_owned(),
        /// Directory for the report; it is created.
        report: PathBuf = PathBuf::from("load-report"),
        /// Set of targets that the run must meet: `none`, `baseline` or `stretch`.
        targets: String = "baseline".to_owned(),
        /// An additional target, like `relay_p99_ms<50`; repeatable. It replaces a target of the
        /// scenario that bounds the same figure from the same side. It is missed if no run can be
        /// judged by it. In a scenario file, `require` is the whole list.
        require: Vec<String> = Vec::new(),
        /// Queue in which the users wait for a match. `auto` is a new queue, so that only users of
        /// this test are matched with each other.
        queue: String = "auto".to_owned(),
        /// Queues that the users are spread over: their number, or names with weights like
        /// `en 3, de 1`. Several numbered queues begin with the name of `queue`; named ones are
        /// used as they are, so that users may be matched with others that wait there.
        queues: QueueMix = QueueMix::Count(1),
        /// Source addresses of the connections: `auto` (as many as needed on loopback, otherwise
        /// like `none`), `none` (the system chooses), one address, or a range like `127.0.0.0/8`.
        source: String = "auto".to_owned(),
        /// A field of every request, like `X-Test: 1`; repeatable. The report contains it.
        header: Vec<String> = Vec::new(),
        /// Origin of the users' web page, like `https://example.org`, sent as `Origin`; or `none`.
        origin: String = "none".to_owned(),
        /// File with one access token a line, sent as `Authorization: Bearer`, one for each
        /// connection, in turn; or `none`.
        token: String = "none".to_owned(),
        /// Begin each connection with a PROXY protocol header, version 2, with a made-up client
        /// address in 198.18.0.0/15. The server must trust the tester's address as a proxy.
        proxy_protocol: bool = false,
        /// Threads that drive the users. The limit of open files applies to each thread separately.
        threads: u16 = 1,
        /// Seed of all random choices.
        seed: u64 = 1,
        /// An operation that starts later than this after its intended time counts as late.
        late_after: DurationSetting = DurationSetting::millis(10),
        /// Percentage of late starts above which the run is void.
        late_percent: f64 = 1.0,
        /// Time within which a connection must become a session, and an HTTP request be answered.
        connect_timeout: DurationSetting = DurationSetting::seconds(10),
        /// Time within which a user must be matched, provided that another one waits as long or
        /// that users with a later request are matched. Must exceed the server's `--rematch-delay`.
        match_timeout: DurationSetting = DurationSetting::seconds(15),
        /// Time within which a relayed message or an answer must arrive. Within half of it, a user
        /// must be informed that the partner has left.
        message_timeout: DurationSetting = DurationSetting::seconds(10),
        /// The server has stalled when it sends nothing for this long although answers are due.
        stall_after: DurationSetting = DurationSetting::seconds(1),
        /// Length of an interval of the interval log and of the charts.
        interval: DurationSetting = DurationSetting::seconds(1),
        /// Source of the server's own figures: `auto` (`/stats` at the address of `--url`), `none`,
        /// or a URL like `http://127.0.0.1:9100/stats`.
        stats_url: String = "auto".to_owned(),
        /// Process id of the server, to read its CPU and memory from /proc; 0 finds the process
        /// by its port if the server runs on this machine.
        server_pid: u32 = 0,
    }

    habits {
        /// Percentage of match requests that are withdrawn with `cancel_match` as soon as the server
        /// has confirmed them; the user then asks again.
        cancel_percent: f64,
        /// Time after which a user that is not matched leaves; 0s waits on.
        give_up_after: DurationSetting,
        /// Percentage of calls after which one of the two users resets its connection, without a
        /// Close frame.
        reset_percent: f64,
        /// Percentage of calls after which one of the two users reads and sends nothing more, and
        /// keeps its connection open.
        silent_percent: f64,
        /// Percentage of users that come back with a new session after they have left.
        return_percent: f64,
        /// Time that they stay away.
        return_after: DurationSetting,
    }

    /// Opens sessions, holds them and checks that all stay alive.
    Connections(ConnectionsScenario / ConnectionsFlags) = "connections" {
        /// Sessions to open.
        users: u32,
        /// Sessions opened per second.
        connect_rate: f64,
        /// How long the sessions are held after the last one was opened.
        hold: DurationSetting,
        /// Interval at which each session sends a ping; the answer shows that it is alive.
        ping_every: DurationSetting,
        /// Rooms of two additional users each, which are matched and talk once all other sessions
        /// are open. They measure the service that users get while many sessions are idle.
        sample_rooms: u32,
        /// Messages per second that each of these users sends; 0.1 is one every ten seconds.
        sample_rate: f64,
    }

    /// All users request a match at the same instant, in rounds.
    Matchmaking(MatchmakingScenario / MatchmakingFlags) = "matchmaking" {
        /// Users that request a match; an even number.
        users: u32,
        /// Sessions opened per second.
        connect_rate: f64,
        /// Number of rounds.
        rounds: u32,
        /// Time from one round to the next.
        round_every: DurationSetting,
    }

    /// Rooms with the signalling of a call, then messages at a constant rate.
    Signaling(SignalingScenario / SignalingFlags) = "signaling" {
        /// Rooms of two users each.
        rooms: u32,
        /// Sessions opened per second.
        connect_rate: f64,
        /// Messages per second that each user sends once its call is set up.
        message_rate: f64,
        /// Size of such a message in bytes.
        message_bytes: u32,
        /// ICE candidates that each user sends during the setup of a call.
        candidates: u32,
        /// Time between the setup of the last room and the start of the measurement.
        warm_up: DurationSetting,
        /// Duration of the measurement.
        duration: DurationSetting,
    }

    /// Users arrive, are matched, talk, then take the next partner or leave: the everyday mix.
    Calls(CallsScenario / CallsFlags) = "calls" {
        with habits,
        /// Arrivals, like `10/s for 60s, 50/s for 2m`, or `10/s..100/s for 60s` for a linear ramp.
        phases: CommaSeparated<RatePhase>,
        /// Distribution of the arrivals: `even`, or `poisson` for those of independent users.
        arrivals: ArrivalPattern,
        /// Shortest call.
        talk_min: DurationSetting,
        /// Longest call.
        talk_max: DurationSetting,
        /// Percentage of users that request the next partner after a call; the others leave.
        next_percent: f64,
        /// Messages per second that each user sends during a call.
        message_rate: f64,
        /// Size of such a message in bytes.
        message_bytes: u32,
        /// ICE candidates that each user sends during the setup of a call.
        candidates: u32,
    }

    /// GET requests at a constant rate, independent of the answers.
    Http(HttpScenario / HttpFlags) = "http" {
        /// Paths and rates, one phase after the other, like `/health 100/s for 30s`.
        requests: CommaSeparated<HttpPhase>,
        /// Distribution of the requests: `even`, or `poisson` for those of independent users.
        arrivals: ArrivalPattern,
        /// Maximum number of connections open at the same time.
        max_connections: u32,
    }

    /// Raises the load until a target is missed, narrows the limit down and confirms it.
    Stress(StressScenario / StressFlags) = "stress" {
        /// Quantity that is raised: `connections` or `messages` (per second).
        raise: StressDimension,
        /// First level.
        start: f64,
        /// Factor from one level to the next.
        factor: f64,
        /// Highest level that is tried.
        ceiling: f64,
        /// How long each level is held and measured.
        step: DurationSetting,
        /// The search ends when the gap between the level that held and the one that did not is
        /// at most this percentage.
        tolerance_percent: f64,
        /// How often the level that was found must hold again.
        confirmations: u32,
        /// Rooms over which the messages are spread.
        rooms: u32,
        /// Size of a message in bytes.
        message_bytes: u32,
        /// Sessions opened per second.
        connect_rate: f64,
    }

    /// Holds a share of the capacity for hours and tests for leaks and decay.
    Endurance(EnduranceScenario / EnduranceFlags) = "endurance" {
        /// Messages per second that the server can relay; 0 finds it first, by a stress search.
        capacity: f64,
        /// Percentage of the capacity that is held.
        percent: f64,
        /// Duration of the run.
        duration: DurationSetting,
        /// Time before the measurement; at most a tenth of the run.
        warm_up: DurationSetting,
        /// Rooms over which the messages are spread.
        rooms: u32,
        /// Shortest call; then both members request the next partner.
        talk_min: DurationSetting,
        /// Longest call.
        talk_max: DurationSetting,
        /// Size of a message in bytes.
        message_bytes: u32,
        /// Sessions opened per second.
        connect_rate: f64,
        /// Growth of memory or descriptors over the run, in percent, above which it is a leak,
        /// provided that the slope test has the required confidence.
        leak_percent: f64,
        /// Confidence that the slope test must have, in percent.
        confidence_percent: f64,
    }

    /// Four phases: a baseline, more users in stages, a stress search, an endurance run.
    Plan(PlanScenario / PlanFlags) = "plan" {
        with habits,
        /// Users and durations, like `100 for 2m, 500 for 10m`; the first stage is the baseline.
        stages: CommaSeparated<LoadStage>,
        /// End at the first stage that misses a target or is void.
        stop_on_miss: bool,
        /// Shortest call.
        talk_min: DurationSetting,
        /// Longest call.
        talk_max: DurationSetting,
        /// Messages per second that each user sends during a call.
        message_rate: f64,
        /// Size of such a message in bytes.
        message_bytes: u32,
        /// ICE candidates that each user sends during the setup of a call.
        candidates: u32,
        /// Sessions opened per second.
        connect_rate: f64,
        /// How long each level of the stress search is held.
        stress_step: DurationSetting,
        /// First level of the stress search, in messages per second.
        stress_start: f64,
        /// Highest level of the stress search; 0 leaves the search out.
        stress_ceiling: f64,
        /// Rooms of the stress search and the endurance run.
        rooms: u32,
        /// Duration of the endurance run; 0s leaves it out.
        endurance: DurationSetting,
        /// Percentage of the capacity found by the stress search that the endurance run holds.
        endurance_percent: f64,
    }
}

/// The targets of two layers. A target of `upper` replaces one of `lower` that bounds the same
/// figure from the same side; all others are kept.
fn merge_targets(upper: Option<Vec<String>>, lower: Option<Vec<String>>) -> Option<Vec<String>> {
    let upper = upper.unwrap_or_default();
    let is_replaced = |old: &String| upper.iter().any(|new| target::replaces(new, old));
    let kept = lower.into_iter().flatten().filter(|old| !is_replaced(old));
    Some(kept.chain(upper.iter().cloned()).collect())
}

impl std::fmt::Display for Scenario {
    /// TOML that `switchboard-load run` accepts.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&toml::to_string(self).map_err(|_| std::fmt::Error)?)
    }
}

#[cfg(test)]
mod tests;
