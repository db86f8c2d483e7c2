//! What a run does, with every number that it depends on. Pure.
//!
//! A field is declared once, in the macro `scenarios!`, and is then a flag of the subcommand, a key of
//! the TOML file, and a value of the run. Three layers give a run its numbers: flags over file
//! over the built-in scenario of the same name, which is a TOML file as well and names every
//! key. Nothing has a second default hidden in the code but the keys in [`CommonSettings`], which all
//! scenarios share.

mod check;
mod file;
mod time_scale;

pub use check::{InvalidValue, MOST_THREADS};
pub use file::{BUILT_IN, ScenarioFileError, built_in, parse_file, place_of};
pub use time_scale::STEP_FLOOR;

use super::target;
use super::units::{
    CommaSeparated, HttpPhase, HumanDuration, LoadStage, RatePhase, StressDimension,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Generates the struct of the keys that every scenario has.
macro_rules! common_keys {
    ({ $( $(#[$meta:meta])* $field:ident : $type:ty = $default:expr, )* }) => {
        /// What every scenario can be told.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub struct CommonSettings { $( $(#[$meta])* pub $field: $type, )* }

        impl Default for CommonSettings {
            fn default() -> Self { CommonSettings { $( $field: $default, )* } }
        }
    };
}

/// Generates, for one scenario, the struct of its values, the struct of its flags (and TOML
/// keys), and how layers of these become values.
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
            /// What every scenario can be told.
            #[serde(flatten)]
            pub common: CommonSettings,
        }

        $(#[$meta])*
        #[derive(Clone, Debug, Default, clap::Args, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $flags {
            /// The kind of scenario; only in files, where it comes first.
            #[arg(skip)]
            pub scenario: Option<String>,
            $( $(#[$fmeta])* #[arg(long)] pub $field: Option<$type>, )*
            $( $(#[$cmeta])* #[arg(long, help_heading = "Every scenario")]
               pub $cfield: Option<$ctype>, )*
        }

        impl $flags {
            /// These values where there are any, and those of `below` elsewhere.
            fn over(self, below: $flags) -> $flags {
                // A file holds the whole list, so that what is shown can be taken out; each flag
                // is one target more.
                let require = match self.scenario {
                    Some(_) => self.require.clone().or_else(|| below.require.clone()),
                    None => join(self.require.clone(), below.require.clone()),
                };
                // Flags over a file that says nothing of targets are flags still.
                let whole = self.scenario.is_some() || below.require.is_some();
                let all = $flags {
                    scenario: self.scenario.or(below.scenario).filter(|_| whole),
                    $( $field: self.$field.or(below.$field), )*
                    $( $cfield: self.$cfield.or(below.$cfield), )*
                };
                $flags { require, ..all }
            }

            /// The values of a run: these flags over the built-in scenario.
            pub fn resolve(self) -> $values {
                let text = built_in($key).expect("because each kind is built in");
                let below: $flags =
                    toml::from_str(text).expect("because a test reads every built-in scenario");
                let all = self.over(below);
                $values {
                    $( $field: all.$field.expect("because the built-in scenario has every key"), )*
                    common: CommonSettings { $( $cfield: all.$cfield.unwrap_or_else(|| $cdefault), )* },
                }
            }
        }
    };
}

/// Declares the keys that every scenario has, then each scenario's own.
macro_rules! scenarios {
    (
        common $common:tt
        $( $(#[$meta:meta])* $variant:ident($values:ident / $flags:ident) = $key:literal $fields:tt )*
    ) => {
        common_keys! { $common }
        $( scenario! { $common $(#[$meta])* $variant($values / $flags) = $key $fields } )*

        /// A scenario with all its numbers.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(tag = "scenario", rename_all = "lowercase")]
        pub enum Scenario { $( $(#[$meta])* $variant($values), )* }

        /// A scenario as flags or a file give it: not every key need be there.
        #[derive(Clone, Debug, clap::Subcommand)]
        pub enum PartialScenario { $( $(#[$meta])* $variant($flags), )* }

        impl PartialScenario {
            /// Reads `text` as keys of the scenario called `kind`.
            fn from_toml(kind: &str, text: &str) -> Option<Result<PartialScenario, toml::de::Error>> {
                match kind {
                    $( $key => Some(toml::from_str::<$flags>(text).map(PartialScenario::$variant)), )*
                    _ => None,
                }
            }

            /// These flags over those of a file. `None` if they are of different kinds.
            pub fn over(self, below: PartialScenario) -> Option<PartialScenario> {
                match (self, below) {
                    $( (PartialScenario::$variant(above), PartialScenario::$variant(below)) => Some(PartialScenario::$variant(above.over(below))), )*
                    _ => None,
                }
            }

            /// All values of the run.
            pub fn resolve(self) -> Scenario {
                match self { $( PartialScenario::$variant(flags) => Scenario::$variant(flags.resolve()), )* }
            }
        }

        impl Scenario {
            /// The names of all kinds.
            pub const KINDS: &[&str] = &[$( $key, )*];

            /// The name of its kind.
            pub fn kind(&self) -> &'static str {
                match self { $( Scenario::$variant(_) => $key, )* }
            }

            /// What it shares with the others, to be changed.
            pub fn common_mut(&mut self) -> &mut CommonSettings {
                match self { $( Scenario::$variant(s) => &mut s.common, )* }
            }

            /// What it shares with the others.
            pub fn common(&self) -> &CommonSettings {
                match self { $( Scenario::$variant(s) => &s.common, )* }
            }
        }
    };
}

scenarios! {
    common {
        /// Where the server is.
        url: String = "ws://127.0.0.1:8080/ws".to_owned(),
        /// Directory that the report is written to.
        report: PathBuf = PathBuf::from("load-report"),
        /// Set of targets to judge by: `none`, `baseline` or `stretch`.
        targets: String = "baseline".to_owned(),
        /// One more target, like `relay_p99_ms<50`; may be given several times. It takes the place
        /// of a target of the scenario's that bounds the same figure from the same side. It is missed
        /// if no run can be judged by it. In a file `require` is the whole list.
        require: Vec<String> = Vec::new(),
        /// The queue that the users ask for; `auto` is one of this run's own, so that nobody
        /// else's users are met there.
        queue: String = "auto".to_owned(),
        /// Source addresses: `auto` (many on loopback, one elsewhere), `none` (whatever the system
        /// chooses), one address, or a range like `127.0.0.0/8`.
        source: String = "auto".to_owned(),
        /// Threads that drive the users; each may open as many as the limit of open files allows.
        threads: u16 = 1,
        /// Seed of everything random.
        seed: u64 = 1,
        /// A start later than this after its intended moment counts as late.
        late_after: HumanDuration = HumanDuration::millis(10),
        /// Share of late starts above which the run is void, in percent.
        late_percent: f64 = 1.0,
        /// A connection that is not a session by then has failed.
        connect_timeout: HumanDuration = HumanDuration::seconds(10),
        /// Two users who have both waited this long should have been matched, and one of whom
        /// others have come first who asked later. Longer than the server's `--rematch-delay`.
        match_timeout: HumanDuration = HumanDuration::seconds(15),
        /// A relayed message or another answer that has not come by then is lost; half of it, and
        /// the partner should have been told of the end of a room.
        message_timeout: HumanDuration = HumanDuration::seconds(10),
        /// Nothing at all arriving for this long, though things were asked, is a stall.
        stall_after: HumanDuration = HumanDuration::seconds(1),
        /// Time between two rows of the interval log.
        interval: HumanDuration = HumanDuration::seconds(1),
        /// Where the server tells its figures: `auto` is /stats beside the WebSocket, `none` is
        /// nowhere, anything else a URL like `http://127.0.0.1:9100/stats`.
        stats_url: String = "auto".to_owned(),
        /// Process id of the server, for its figures in /proc (0: find it by its port, if it
        /// runs on this machine). One that does not run is refused.
        server_pid: u32 = 0,
    }

    /// Opens sessions, holds them and checks that all stay alive.
    Connections(ConnectionsScenario / ConnectionsFlags) = "connections" {
        /// Sessions to open.
        users: u32,
        /// Sessions opened a second.
        connect_rate: f64,
        /// How long all are held.
        hold: HumanDuration,
        /// How often each session shows that it is alive, by a ping.
        ping_every: HumanDuration,
        /// Rooms in which two more users each find a match and talk, when all others are there:
        /// a sample of what service is like beside so many.
        sample_rooms: u32,
        /// Messages each of these users sends a second; 0.1 is one in ten seconds.
        sample_rate: f64,
    }

    /// All users ask for a match in the same instant, in rounds.
    Matchmaking(MatchmakingScenario / MatchmakingFlags) = "matchmaking" {
        /// Users that ask; an even number.
        users: u32,
        /// Sessions opened a second.
        connect_rate: f64,
        /// How often all ask.
        rounds: u32,
        /// From one round's instant to the next.
        round_every: HumanDuration,
    }

    /// Rooms with the signalling of a call, then a steady rate of messages.
    Signaling(SignalingScenario / SignalingFlags) = "signaling" {
        /// Rooms, with two users each.
        rooms: u32,
        /// Sessions opened a second.
        connect_rate: f64,
        /// Messages each user sends a second, once its call is set up.
        message_rate: f64,
        /// Size of such a message in bytes.
        message_bytes: u32,
        /// ICE candidates each user sends while setting up.
        candidates: u32,
        /// After all rooms should be set up: time until measuring begins.
        warm_up: HumanDuration,
        /// How long it is measured.
        duration: HumanDuration,
    }

    /// Users arrive, find a match, talk, go on to the next or leave: the everyday mix.
    Calls(CallsScenario / CallsFlags) = "calls" {
        /// Arrivals, like `10/s for 60s, 50/s for 2m`.
        phases: CommaSeparated<RatePhase>,
        /// Shortest call.
        talk_min: HumanDuration,
        /// Longest call.
        talk_max: HumanDuration,
        /// Share of users who go on to the next after a call, in percent.
        next_percent: f64,
        /// Messages each user sends a second during the call.
        message_rate: f64,
        /// Size of such a message in bytes.
        message_bytes: u32,
        /// ICE candidates each user sends while setting up.
        candidates: u32,
    }

    /// GET requests at a fixed rate, whatever the answers take.
    Http(HttpScenario / HttpFlags) = "http" {
        /// Paths and rates, one after the other, like `/health 100/s for 30s`.
        requests: CommaSeparated<HttpPhase>,
        /// Most connections open at once.
        max_connections: u32,
    }

    /// Raises the load until the targets break, narrows the point down and confirms it.
    Stress(StressScenario / StressFlags) = "stress" {
        /// What is raised: `connections` or `messages` (a second).
        raise: StressDimension,
        /// The first level.
        start: f64,
        /// Each step is the last one times this.
        factor: f64,
        /// Nothing above this is tried.
        ceiling: f64,
        /// How long each level is held and measured.
        step: HumanDuration,
        /// How closely the point is narrowed down, in percent.
        tolerance_percent: f64,
        /// How often the found level must hold again.
        confirmations: u32,
        /// Rooms that the messages are spread over.
        rooms: u32,
        /// Size of a message in bytes.
        message_bytes: u32,
        /// Sessions opened a second.
        connect_rate: f64,
    }

    /// Holds a share of the capacity for very long and watches for leaks and decay.
    Endurance(EnduranceScenario / EnduranceFlags) = "endurance" {
        /// What the server can relay, in messages a second; 0: find out first, by a stress run.
        capacity: f64,
        /// Share of the capacity that is held, in percent.
        percent: f64,
        /// How long.
        duration: HumanDuration,
        /// Time until the watch for leaks begins; a tenth of what is to be run at most.
        warm_up: HumanDuration,
        /// Rooms that the messages are spread over.
        rooms: u32,
        /// Shortest call; then both go on to the next.
        talk_min: HumanDuration,
        /// Longest call.
        talk_max: HumanDuration,
        /// Size of a message in bytes.
        message_bytes: u32,
        /// Sessions opened a second.
        connect_rate: f64,
        /// Growth of memory or descriptors over the run, in percent, that is called a leak if
        /// the slope test is sure of it.
        leak_percent: f64,
        /// How sure the slope test must be, in percent.
        confidence_percent: f64,
    }

    /// The whole programme: users in stages, then stress, then endurance.
    Plan(PlanScenario / PlanFlags) = "plan" {
        /// Users and times, like `100 for 2m, 500 for 10m`.
        stages: CommaSeparated<LoadStage>,
        /// Shortest call.
        talk_min: HumanDuration,
        /// Longest call.
        talk_max: HumanDuration,
        /// Messages each user sends a second during the call.
        message_rate: f64,
        /// Size of such a message in bytes.
        message_bytes: u32,
        /// ICE candidates each user sends while setting up.
        candidates: u32,
        /// Sessions opened a second.
        connect_rate: f64,
        /// How long each stress level is held.
        stress_step: HumanDuration,
        /// First stress level, in messages a second.
        stress_start: f64,
        /// Nothing above this is tried; 0: no stress run.
        stress_ceiling: f64,
        /// Rooms of the stress and the endurance run.
        rooms: u32,
        /// How long the endurance run takes; 0s: none.
        endurance: HumanDuration,
        /// Share of the capacity found by stress that endurance holds, in percent.
        endurance_percent: f64,
    }
}

/// The targets of two layers: `above` goes beside `below`, or instead of what bounds the same.
fn join(above: Option<Vec<String>>, below: Option<Vec<String>>) -> Option<Vec<String>> {
    let above = above.unwrap_or_default();
    let is_replaced = |old: &String| above.iter().any(|new| target::replaces(new, old));
    let kept = below.into_iter().flatten().filter(|old| !is_replaced(old));
    Some(kept.chain(above.iter().cloned()).collect())
}

impl std::fmt::Display for Scenario {
    /// As TOML, the way `run` reads it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&toml::to_string(self).map_err(|_| std::fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_built_in_and_complete() {
        assert_eq!(BUILT_IN.iter().map(|(name, _)| *name).collect::<Vec<_>>(), Scenario::KINDS);
        for (name, text) in BUILT_IN {
            let scenario = parse_file(text).unwrap().resolve();
            assert_eq!(scenario.kind(), *name);
            // `resolve` has panicked by now if the file lacked a key.
        }
    }

    #[test]
    fn a_resolved_scenario_is_a_file_that_gives_it_again() {
        for (_, text) in BUILT_IN {
            let scenario = parse_file(text).unwrap().resolve();
            assert_eq!(parse_file(&scenario.to_string()).unwrap().resolve(), scenario);
        }
    }

    #[test]
    fn flags_lie_over_the_file_and_the_file_over_what_is_built_in() {
        let file = parse_file("scenario = \"connections\"\nusers = 7\nhold = \"1m\"\n").unwrap();
        let flags =
            PartialScenario::Connections(ConnectionsFlags { users: Some(9), ..Default::default() });
        let Scenario::Connections(all) = flags.over(file).unwrap().resolve() else { panic!() };
        assert_eq!((all.users, all.hold), (9, HumanDuration::seconds(60)));
        assert_eq!(all.ping_every, HumanDuration::seconds(10), "from the built-in scenario");
        assert_eq!(all.common.targets, "baseline");
    }

    #[test]
    fn a_target_more_goes_beside_those_of_the_scenario_or_instead_of_one() {
        let flags = |require: &[&str]| {
            let require = Some(require.iter().map(|&target| target.to_owned()).collect());
            PartialScenario::Signaling(SignalingFlags { require, ..Default::default() })
        };
        let list = |scenario: &Scenario| scenario.common().require.join(" ");
        let own = "delivered_percent>=100 kept_percent>=100";
        let beside = flags(&["relay_p99_ms<50", "relay_p99_ms>1"]).resolve();
        assert_eq!(list(&beside), format!("{own} relay_p99_ms<50 relay_p99_ms>1"));
        let milder = flags(&["kept_percent > 99"]).resolve();
        assert_eq!(list(&milder), "delivered_percent>=100 kept_percent > 99");
        // What has run runs again as it was, whether its flags are given again or not.
        let again = || parse_file(&beside.to_string()).unwrap();
        assert_eq!(again().resolve(), beside);
        let same = flags(&["relay_p99_ms<50", "relay_p99_ms>1"]);
        assert_eq!(same.over(again()).unwrap().resolve(), beside);
        let other = flags(&["lost==0"]).over(again()).unwrap().resolve();
        assert_eq!(list(&other), format!("{} lost==0", list(&beside)));
        let short = || parse_file("scenario = \"signaling\"\nrequire = [\"lost==0\"]\n").unwrap();
        assert_eq!(list(&short().resolve()), "lost==0", "a file holds the whole list");
        let more = flags(&["reordered==0"]).over(short()).unwrap().resolve();
        assert_eq!(list(&more), "lost==0 reordered==0");
        // One that has none leaves the scenario's own.
        let silent = || parse_file("scenario = \"signaling\"\n").unwrap();
        let none = || PartialScenario::Signaling(SignalingFlags::default());
        assert_eq!(list(&none().over(silent()).unwrap().resolve()), own);
        assert_eq!(list(&none().over(short()).unwrap().resolve()), "lost==0");
        let more = || flags(&["lost==0"]).over(silent()).unwrap();
        assert_eq!(list(&more().resolve()), format!("{own} lost==0"));
        let stored = parse_file(&more().resolve().to_string()).unwrap();
        assert_eq!(more().over(stored).unwrap().resolve(), more().resolve(), "resumed");
    }
}
