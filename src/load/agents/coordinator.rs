//! The coordinator's side: connects to the agents, gives each its share of a run, and merges what they
//! send.

use super::authentication::SharedSecret;
use super::health::AgentHealth;
use super::interval_merge::IntervalMerge;
use super::link::{ControlLink, Heartbeat, LinkError, MessageReceiver, MessageSender, join_agent};
use super::protocol::{AgentDescription, AgentMessage, CoordinatorMessage, Preparation, RunOrder};
use super::{BUSY_PATIENCE, HANDSHAKE_LIMIT, LATENESS_LIMIT, PREPARATION_LIMIT, START_DELAY};
use crate::load::engine::{GeneratorShare, Workload};
use crate::load::generators::{GeneratorEvent, MergedInterval};
use crate::load::report::model::GeneratorReport;
use crate::timestamp::Timestamp;
use crossbeam_channel::{Receiver, Sender};
use std::collections::VecDeque;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why the test cannot run on these agents; one line that names the agent.
#[derive(Debug, PartialEq, Eq)]
pub enum FleetError {
    /// The secret is another one.
    WrongSecret(String),
    /// The agent cannot reach the server.
    Unreachable(String),
    /// The agent is missing, or its machine does not allow the load.
    Unfit(String),
}

/// What arrives from an agent.
enum AgentEvent {
    Message(AgentMessage),
    Lost(LinkError),
}

/// One agent.
struct ConnectedAgent {
    /// As it was given to `--agents`.
    address: String,
    sender: MessageSender,
    round_trip: Duration,
    description: Option<AgentDescription>,
    _heartbeat: Heartbeat,
}

/// The agents of a test.
pub struct AgentFleet {
    agents: Vec<ConnectedAgent>,
    events: Receiver<(usize, AgentEvent)>,
    /// What was lost: the test cannot continue.
    lost: Option<String>,
}

/// Name of an agent in messages.
fn name_of(address: &str) -> String {
    format!("the agent {address}")
}

/// Connects to an agent. One that is busy may be about to notice that the coordinator before is gone.
fn connect(address: &str, secret: &SharedSecret) -> Result<ControlLink, LinkError> {
    let deadline = Instant::now() + BUSY_PATIENCE;
    loop {
        match connect_once(address, secret) {
            Err(LinkError::Busy) if Instant::now() < deadline => {
                std::thread::sleep(BUSY_PATIENCE / 20);
            }
            outcome => return outcome,
        }
    }
}

fn connect_once(address: &str, secret: &SharedSecret) -> Result<ControlLink, LinkError> {
    let mut last = LinkError::Io(io::Error::other("its name cannot be resolved"));
    for resolved in address.to_socket_addrs().into_iter().flatten() {
        match TcpStream::connect_timeout(&resolved, HANDSHAKE_LIMIT) {
            Ok(socket) => return join_agent(socket, secret),
            Err(error) => last = LinkError::Io(error),
        }
    }
    Err(last)
}

/// Passes on what arrives from an agent, until its connection ends.
fn read_messages(
    agent: usize,
    mut receiver: MessageReceiver,
    events: Sender<(usize, AgentEvent)>,
) -> io::Result<()> {
    let read = move || loop {
        let (event, is_end) = match receiver.receive() {
            Ok(AgentMessage::Alive) => continue,
            Ok(message) => (AgentEvent::Message(message), false),
            Err(error) => (AgentEvent::Lost(error), true),
        };
        if events.send((agent, event)).is_err() || is_end {
            return;
        }
    };
    std::thread::Builder::new().name(format!("agent-{agent}")).spawn(read).map(drop)
}

impl AgentFleet {
    /// Connects to the agents at these addresses, each `host:port`.
    ///
    /// # Errors
    /// For the first agent that is not there, or does not accept the secret.
    pub fn connect(addresses: &[String], secret: &SharedSecret) -> Result<Self, FleetError> {
        let (to_fleet, events) = crossbeam_channel::unbounded();
        let mut agents = Vec::new();
        for (index, address) in addresses.iter().enumerate() {
            let link = connect(address, secret).map_err(|error| {
                let line = format!("{} {error}", name_of(address));
                match error {
                    LinkError::WrongSecret => FleetError::WrongSecret(line),
                    LinkError::OtherVersion(_)
                    | LinkError::Busy
                    | LinkError::Malformed(_)
                    | LinkError::Io(_) => FleetError::Unfit(line),
                }
            })?;
            let unfit =
                |error: io::Error| FleetError::Unfit(format!("{}: {error}", name_of(address)));
            read_messages(index, link.receiver, to_fleet.clone()).map_err(unfit)?;
            let heartbeat =
                Heartbeat::start(link.sender.clone(), CoordinatorMessage::Alive).map_err(unfit)?;
            agents.push(ConnectedAgent {
                address: address.clone(),
                sender: link.sender,
                round_trip: link.round_trip,
                description: None,
                _heartbeat: heartbeat,
            });
        }
        Ok(AgentFleet { agents, events, lost: None })
    }

    /// Number of agents.
    pub fn len(&self) -> usize {
        self.agents.len()
    }

    /// Whether there are no agents.
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    /// Why no further run can be started, if an agent was lost.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// The agents' machines, and whether the server runs on one of them.
    pub fn descriptions(&self) -> impl Iterator<Item = (&str, &AgentDescription)> {
        self.agents
            .iter()
            .filter_map(|agent| Some((agent.address.as_str(), agent.description.as_ref()?)))
    }

    /// Asks every agent whether it can take part, and waits for the answers.
    ///
    /// # Errors
    /// For the first agent that cannot.
    pub fn prepare(&mut self, preparation: &Preparation) -> Result<(), FleetError> {
        let message = CoordinatorMessage::Prepare(preparation.clone());
        for agent in &self.agents {
            // A failure is reported by the thread that reads.
            let _ = agent.sender.send(&message);
        }
        let deadline = Instant::now() + PREPARATION_LIMIT;
        while let Some(missing) = self.agents.iter().find(|agent| agent.description.is_none()) {
            let Ok((index, event)) = self.events.recv_deadline(deadline) else {
                let line = format!("{} does not answer in time", name_of(&missing.address));
                return Err(FleetError::Unfit(line));
            };
            let agent = &mut self.agents[index];
            let name = name_of(&agent.address);
            match event {
                AgentEvent::Message(AgentMessage::Prepared(description)) => {
                    agent.description = Some(description);
                }
                AgentEvent::Message(AgentMessage::Unfit { unreachable, reason }) => {
                    let line = format!("{name}: {reason}");
                    return Err(match unreachable {
                        true => FleetError::Unreachable(line),
                        false => FleetError::Unfit(line),
                    });
                }
                AgentEvent::Message(AgentMessage::Failed { reason }) => {
                    return Err(FleetError::Unfit(format!("{name} {reason}")));
                }
                AgentEvent::Lost(error) => {
                    return Err(FleetError::Unfit(format!("{name} {error}")));
                }
                AgentEvent::Message(AgentMessage::Interval(_) | AgentMessage::Alive) => {}
            }
        }
        Ok(())
    }

    /// Starts run number `run` on all agents, at the same time.
    pub fn start(self, run: u32, workload: &Workload) -> AgentRun {
        let begins = Instant::now() + START_DELAY;
        let health = self.descriptions();
        let health = health.map(|(address, about)| AgentHealth::new(address, about)).collect();
        let mut started = AgentRun {
            merge: IntervalMerge::new(self.agents.len()),
            health,
            run,
            interval: workload.interval,
            begins,
            lost: VecDeque::new(),
            fleet: self,
        };
        let of = started.fleet.agents.len() as u16;
        for index in 0..of {
            let mut workload = workload.clone();
            workload.share = GeneratorShare { index, of };
            workload.rules.append_to_queues(&queue_suffix(index.into()));
            let agent = &started.fleet.agents[usize::from(index)];
            // The order takes half of a round trip to arrive.
            let wait = begins.saturating_duration_since(Instant::now());
            let start_in_us = wait.saturating_sub(agent.round_trip / 2).as_micros() as u64;
            let order = RunOrder { run, workload, start_in_us };
            if let Err(error) = agent.sender.send(&CoordinatorMessage::Run(Box::new(order))) {
                started.lose(index.into(), &LinkError::Io(error).to_string());
            }
        }
        started
    }
}

impl Drop for AgentFleet {
    /// The agents then wait for the next coordinator.
    fn drop(&mut self) {
        self.agents.iter().for_each(|agent| agent.sender.close());
    }
}

/// What is appended to the queue names of the users of an agent.
pub fn queue_suffix(agent: usize) -> String {
    format!("-{}", agent + 1)
}

/// One run on the agents.
pub struct AgentRun {
    fleet: AgentFleet,
    merge: IntervalMerge,
    health: Vec<AgentHealth>,
    run: u32,
    interval: Duration,
    /// The common start.
    begins: Instant,
    /// Agents that were lost and not yet reported.
    lost: VecDeque<String>,
}

impl AgentRun {
    /// Waits for the next event; an interval of all agents is added to `interval`.
    pub fn next_event(&mut self, interval: &mut MergedInterval, wait: Duration) -> GeneratorEvent {
        if let Some(line) = self.lost.pop_front() {
            return GeneratorEvent::AgentLost(line);
        }
        if self.merge.take_next(interval) {
            return GeneratorEvent::Interval;
        }
        if self.merge.is_done() {
            return GeneratorEvent::Ended;
        }
        match self.fleet.events.recv_timeout(wait) {
            Ok((agent, AgentEvent::Message(message))) => self.take(agent, message),
            Ok((agent, AgentEvent::Lost(error))) => self.lose(agent, &error.to_string()),
            Err(_) => {}
        }
        self.lose_late_agent();
        GeneratorEvent::Waiting
    }

    fn take(&mut self, agent: usize, message: AgentMessage) {
        match message {
            AgentMessage::Interval(interval) if interval.run == self.run => {
                if !self.merge.has_ended(agent) {
                    self.health[agent].add(&interval);
                    self.merge.push(agent, *interval);
                }
            }
            AgentMessage::Failed { reason } => self.lose(agent, &reason),
            AgentMessage::Interval(_)
            | AgentMessage::Prepared(_)
            | AgentMessage::Unfit { .. }
            | AgentMessage::Alive => {}
        }
    }

    /// An agent is too late when an interval has not arrived long after it must have ended.
    fn lose_late_agent(&mut self) {
        let Some((agent, ends)) = self.merge.slowest(self.interval) else { return };
        let late = Instant::now().saturating_duration_since(self.begins + ends);
        if late > LATENESS_LIMIT {
            let late = late.as_secs();
            self.lose(agent, &format!("is too late: an interval is missing for {late} s"));
        }
    }

    /// Does without an agent. The run is void, and the others stop.
    fn lose(&mut self, agent: usize, reason: &str) {
        if self.fleet.lost.is_some() && self.merge.has_ended(agent) {
            return;
        }
        let line = format!("{} {reason}", name_of(&self.fleet.agents[agent].address));
        self.merge.end(agent);
        self.health[agent].fail(reason);
        // If it still runs, it stops its load because the coordinator is gone.
        self.fleet.agents[agent].sender.close();
        self.fleet.lost.get_or_insert_with(|| line.clone());
        self.lost.push_back(line);
    }

    /// The time since the common start.
    pub fn now(&self) -> Timestamp {
        Timestamp::ZERO + Instant::now().saturating_duration_since(self.begins)
    }

    /// Ends the run now, on all agents.
    pub fn stop(&self) {
        for agent in &self.fleet.agents {
            // A failure is reported by the thread that reads.
            let _ = agent.sender.send(&CoordinatorMessage::Stop);
        }
    }

    /// The agents, for the next run, and their rows of the report.
    pub fn finish(self) -> (AgentFleet, Vec<GeneratorReport>) {
        (self.fleet, self.health.into_iter().map(AgentHealth::into_report).collect())
    }
}

/// Reads the secret from a file.
///
/// # Errors
/// One line, when the file cannot be read, other users may read or change it, or the secret is too short.
pub fn read_secret(path: &std::path::Path) -> Result<Arc<SharedSecret>, String> {
    use std::os::unix::fs::PermissionsExt as _;
    // What all users of the machine may read (4) or write (2); the group may share the secret.
    const OPEN_TO_ALL: u32 = 0o006;
    let shown = path.display();
    let error = |what: String| format!("--secret-file {shown}: {what}");
    let metadata = std::fs::metadata(path).map_err(|failure| error(failure.to_string()))?;
    if metadata.permissions().mode() & OPEN_TO_ALL != 0 {
        let what = "every user of this machine can read or change the secret";
        return Err(error(format!("{what}; `chmod o-rwx {shown}` prevents that")));
    }
    let content = std::fs::read(path).map_err(|failure| error(failure.to_string()))?;
    SharedSecret::from_file_content(&content).map(Arc::new).map_err(error)
}
