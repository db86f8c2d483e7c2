//! The messages between coordinator and agents, as JSON. Pure values.
//!
//! Agent and coordinator must be the same version of the program: the messages contain the workload
//! and the counters of that version.

use crate::load::engine::{ClientIdentity, Workload};
use crate::load::interval_log::IntervalRow;
use crate::load::report::model::GeneratorHost;
use serde::{Deserialize, Serialize};

/// Version of the handshake and of the form of messages. It changes with every incompatible change
/// of this module.
pub const PROTOCOL: u32 = 1;

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What both sides say before they trust each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Greeting {
    /// The agent's first message.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// [`VERSION`].
        version: String,
        /// The agent's challenge, in base64.
        challenge: String,
    },
    /// The coordinator's answer.
    Proof {
        /// [`PROTOCOL`].
        protocol: u32,
        /// [`VERSION`].
        version: String,
        /// The coordinator's challenge, in base64.
        challenge: String,
        /// The coordinator's proof, in base64.
        proof: String,
    },
    /// The agent accepts the coordinator.
    Welcome {
        /// The agent's proof, in base64.
        proof: String,
    },
    /// The agent refuses the coordinator.
    Refused {
        /// Why.
        refusal: Refusal,
    },
}

/// Why an agent refuses a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The proof is wrong.
    WrongSecret,
    /// The coordinator has another version.
    OtherVersion,
    /// Another coordinator is connected.
    Busy,
}

/// What an agent needs to know once for all runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preparation {
    /// WebSocket URL of the server.
    pub url: String,
    /// The setting `source`.
    pub source: String,
    /// What the connections tell the server about their clients.
    pub identity: ClientIdentity,
    /// Most connections that the agent opens at the same time.
    pub connections: u64,
    /// Threads of the agent.
    pub threads: u16,
    /// Whether limits that seem too low are accepted.
    pub skip_limits: bool,
}

/// An agent that is ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentDescription {
    /// Host name of its machine.
    pub host_name: String,
    /// Its machine.
    pub host: GeneratorHost,
    /// Limit of open files of each of its descriptor tables.
    pub descriptor_limit: u64,
}

/// Starts a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunOrder {
    /// Number of the run, counted from 0.
    pub run: u32,
    /// The load, with the agent's share and its queues.
    pub workload: Workload,
    /// Time from the arrival of this order to the start.
    pub start_in_us: u64,
}

/// What an agent measured in one interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentInterval {
    /// Number of the run.
    pub run: u32,
    /// Counters, faults, histograms and gauges, and the agent's CPU and memory.
    pub row: IntervalRow,
    /// Open descriptors of the agent's main thread's table and those of its threads.
    pub descriptors: Option<u64>,
    /// Whether this is the last interval of the run.
    pub last: bool,
}

/// From the coordinator to an agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CoordinatorMessage {
    /// Asks whether the agent can take part.
    Prepare(Preparation),
    /// Starts a run.
    Run(Box<RunOrder>),
    /// All users finish now.
    Stop,
    /// A sign of life.
    Alive,
}

/// From an agent to the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentMessage {
    /// The agent can take part.
    Prepared(AgentDescription),
    /// The agent cannot take part.
    Unfit {
        /// Whether the server cannot be reached from there; otherwise a limit is too low, or a value
        /// is wrong for that machine.
        unreachable: bool,
        /// Why, in one line.
        reason: String,
    },
    /// An interval has ended.
    Interval(Box<AgentInterval>),
    /// The agent cannot continue the run.
    Failed {
        /// Why, as the rest of a sentence that begins with the agent.
        reason: String,
    },
    /// A sign of life.
    Alive,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::engine::GeneratorShare;
    use crate::load::scenario::{BUILT_IN, Scenario, parse_file};
    use crate::load::units::RatePhase;
    use crate::load::{run_plans, user};
    use std::time::Duration;

    fn sent(workload: Workload) -> Workload {
        let order = RunOrder { run: 1, workload, start_in_us: 500_000 };
        let text = serde_json::to_vec(&CoordinatorMessage::Run(Box::new(order))).unwrap();
        match serde_json::from_slice(&text).unwrap() {
            CoordinatorMessage::Run(order) => order.workload,
            other => panic!("{other:?}"),
        }
    }

    /// Every field arrives as it was sent, among them times that are never reached and rates that
    /// no decimal number of few digits describes.
    #[test]
    fn a_workload_arrives_unchanged() {
        let built_in = |name: &str| {
            let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name).unwrap();
            parse_file(text).unwrap().resolve()
        };
        let Scenario::Signaling(signaling) = built_in("signaling") else { panic!() };
        let Scenario::Calls(calls) = built_in("calls") else { panic!() };
        let Scenario::Http(http) = built_in("http") else { panic!() };
        let Scenario::Matchmaking(matchmaking) = built_in("matchmaking") else { panic!() };
        for workload in [
            run_plans::signaling(&signaling).workload,
            run_plans::calls(&calls).workload,
            run_plans::http(&http).workload,
            run_plans::matchmaking(&matchmaking).workload,
        ] {
            let workload =
                Workload { share: GeneratorShare { index: 1, of: 3 }, seed: u64::MAX, ..workload };
            assert_eq!(format!("{:?}", sent(workload.clone())), format!("{workload:?}"));
        }
        assert_eq!(user::NEVER.as_nanos(), u64::MAX);
        for rate in [1.0 / 3.0, 333.333_333_3, 7777.7, 0.1 + 0.2, 90_000.1] {
            let phase = RatePhase::constant(rate, Duration::from_nanos(1_234_567_891));
            let mut workload = run_plans::http(&http).workload;
            workload.arrivals = vec![phase];
            assert_eq!(sent(workload).arrivals, [phase], "{rate}");
        }
    }
}
