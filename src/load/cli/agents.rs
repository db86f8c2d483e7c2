//! `--agents`, and the command `agent`.

use super::arguments::LoadArguments;
use super::execution::{generator_host, watch_signals};
use super::{CliError, LoadExitStatus, print, usage_error};
use crate::load::agents::MAX_AGENTS;
use crate::load::agents::agent::LoadAgent;
use crate::load::agents::authentication::SharedSecret;
use crate::load::agents::coordinator::{AgentFleet, FleetError, queue_suffix, read_secret};
use crate::load::agents::protocol::Preparation;
use crate::load::engine::ClientIdentity;
use crate::load::report::model::GeneratorHost;
use crate::load::runner;
use crate::load::scenario::Scenario;
use crate::load::test_environment::TestEnvironment;
use crate::load::units::StressDimension;
use crate::wire::message::is_queue_name;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

impl From<FleetError> for CliError {
    fn from(error: FleetError) -> CliError {
        let (status, line) = match error {
            FleetError::WrongSecret(line) => (LoadExitStatus::Usage, line),
            FleetError::Unreachable(line) => (LoadExitStatus::Unreachable, line),
            FleetError::Unfit(line) => (LoadExitStatus::Void, line),
        };
        CliError::Message(status, line)
    }
}

/// The command `agent`: serves coordinators until a signal arrives.
pub(super) fn serve(
    arguments: &LoadArguments,
    listen: SocketAddr,
) -> Result<LoadExitStatus, CliError> {
    let Some(file) = &arguments.secret_file else {
        return Err(usage_error("agent: --secret-file is missing"));
    };
    let secret = read_secret(file).map_err(usage_error)?;
    let failed = |error: std::io::Error| usage_error(format!("--listen {listen}: {error}"));
    let listener = TcpListener::bind(listen).map_err(failed)?;
    let interrupted = watch_signals().map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    print(&format!("listening on {address}\n"));
    let agent = LoadAgent {
        secret,
        interrupted,
        describe_host: |server_is_here| generator_host(server_is_here, None),
        note: |line| print(&format!("{line}\n")),
    };
    agent.serve(&listener).map_err(failed)?;
    Ok(LoadExitStatus::Passed)
}

/// Checks the arguments for agents, and reads the secret; `None` without `--agents`.
pub(super) fn read_settings(
    arguments: &LoadArguments,
    scenario: &Scenario,
) -> Result<Option<Arc<SharedSecret>>, CliError> {
    if arguments.agents.is_empty() {
        return Ok(None);
    }
    let Some(file) = &arguments.secret_file else {
        return Err(usage_error("--agents needs --secret-file"));
    };
    check(&arguments.agents, scenario)?;
    read_secret(file).map(Some).map_err(usage_error)
}

/// Connects to the agents of `--agents`, if there are any, and asks them whether they can take part.
pub(super) fn connect(
    arguments: &LoadArguments,
    scenario: &Scenario,
    secret: Option<Arc<SharedSecret>>,
    identity: &ClientIdentity,
) -> Result<Option<AgentFleet>, CliError> {
    let Some(secret) = secret else { return Ok(None) };
    let addresses = &arguments.agents;
    let mut fleet = AgentFleet::connect(addresses, &secret)?;
    fleet.prepare(&Preparation {
        url: scenario.common().url.clone(),
        source: scenario.common().source.clone(),
        identity: identity.clone(),
        connections: connections_of_each(scenario, addresses.len() as u64),
        threads: scenario.common().threads,
        skip_limits: arguments.no_preflight,
    })?;
    Ok(Some(fleet))
}

/// Checks what several generators require of the arguments.
fn check(addresses: &[String], scenario: &Scenario) -> Result<(), CliError> {
    if addresses.len() > MAX_AGENTS {
        return Err(usage_error(format!("--agents: at most {MAX_AGENTS} agents are possible")));
    }
    let is_repeated = |(at, address): (usize, &String)| addresses[..at].contains(address);
    if addresses.iter().enumerate().any(is_repeated) {
        return Err(usage_error("--agents: an address is given twice"));
    }
    let common = scenario.common();
    for (queue, _) in common.queues.with_names(&common.queue) {
        let queue = format!("{queue}{}", queue_suffix(addresses.len() - 1));
        if !is_queue_name(queue.as_bytes()) {
            return Err(usage_error(format!(
                "queue: each agent has its own, and `{queue}` is too long"
            )));
        }
    }
    match scenario {
        // Otherwise a pair of the sample would be divided between two agents.
        Scenario::Connections(s) if s.sample_rooms > 0 && s.users % 2 == 1 => {
            Err(usage_error("users: with --agents and sample rooms it must be an even number"))
        }
        _ => Ok(()),
    }
}

/// Most connections of one agent: the generators take pairs of users in turn.
fn connections_of_each(scenario: &Scenario, agents: u64) -> u64 {
    let connections = match scenario {
        Scenario::Stress(s) if s.raise == StressDimension::Connections => {
            runner::max_connections(scenario).max(s.start as u64)
        }
        _ => runner::max_connections(scenario),
    };
    connections.div_ceil(2).div_ceil(agents) * 2
}

/// The agents in one line each, for the console.
pub(super) fn describe(fleet: &AgentFleet) -> Vec<String> {
    let line = |(address, agent): (&str, &crate::load::agents::protocol::AgentDescription)| {
        let GeneratorHost { cpus, kernel, .. } = &agent.host;
        format!("agent {address}: {}, {cpus} CPUs, Linux {kernel}", agent.host_name)
    };
    fleet.descriptions().map(line).collect()
}

/// Whether the server runs on the machine of an agent; without agents, whether it runs on this one.
pub(super) fn share_machine_with_server(environment: &TestEnvironment) -> bool {
    match &environment.fleet {
        Some(fleet) => fleet.descriptions().any(|(_, agent)| agent.host.server_is_here),
        None => environment.find_server().is_some(),
    }
}
