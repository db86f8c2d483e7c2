//! The agent's side: waits for a coordinator, drives its share of each run, and sends one interval
//! after the other. It serves one coordinator at a time; when that is gone, it stops its load and
//! waits for the next one.

use super::HEARTBEAT;
use super::authentication::SharedSecret;
use super::link::admit_coordinator;
use super::link::{ControlLink, Heartbeat, LinkError, MessageReceiver, MessageSender};
use super::protocol::{
    AgentDescription, AgentInterval, AgentMessage, CoordinatorMessage, Preparation, RunOrder,
};
use crate::load::engine::{Destination, GeneratorShare, LoadEngine, SourceAddresses};
use crate::load::generators::{GeneratorEvent, LocalGenerator, MergedInterval};
use crate::load::interval_log::{GeneratorSample, IntervalRow};
use crate::load::machine_load::MachineProbe;
use crate::load::preflight;
use crate::load::report::model::GeneratorHost;
use crate::load::server_process::find_process;
use crate::load::target_address::{AddressError, check_reachable, parse_server_url};
use crate::sys::process::ProcessProbe;
use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use socket2::SockRef;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for a connection, a message or a window before the next check for a signal.
const SIGNAL_CHECK: Duration = Duration::from_millis(100);
/// Most connections at the same time that have not proved that they know the secret.
const MAX_HANDSHAKES: usize = 16;

/// An agent.
pub struct LoadAgent {
    /// The secret that coordinators must know.
    pub secret: Arc<SharedSecret>,
    /// Set by SIGINT or SIGTERM.
    pub interrupted: Arc<AtomicBool>,
    /// Describes this machine; the argument is whether the server runs on it.
    pub describe_host: fn(bool) -> GeneratorHost,
    /// Prints one line.
    pub note: fn(&str),
}

/// What the threads of connections share.
struct AgentState {
    agent: LoadAgent,
    /// A coordinator is connected.
    busy: AtomicBool,
    handshakes: AtomicUsize,
}

impl LoadAgent {
    /// Serves coordinators until a signal arrives.
    ///
    /// # Errors
    /// When the listener fails.
    pub fn serve(self, listener: &TcpListener) -> io::Result<()> {
        // The time limit of accept(2) on Linux.
        SockRef::from(listener).set_read_timeout(Some(SIGNAL_CHECK))?;
        let (busy, handshakes) = (AtomicBool::new(false), AtomicUsize::new(0));
        let state = Arc::new(AgentState { agent: self, busy, handshakes });
        let mut connections: Vec<JoinHandle<()>> = Vec::new();
        while !state.is_interrupted() {
            connections.retain(|thread| !thread.is_finished());
            let Ok((socket, from)) = listener.accept() else { continue };
            if state.handshakes.load(Ordering::Relaxed) >= MAX_HANDSHAKES {
                continue;
            }
            state.handshakes.fetch_add(1, Ordering::Relaxed);
            let state = Arc::clone(&state);
            let serve = move || state.serve_connection(socket, from);
            connections.push(std::thread::Builder::new().name("session".to_owned()).spawn(serve)?);
        }
        for thread in connections {
            // A thread that panicked has printed the reason.
            let _ = thread.join();
        }
        Ok(())
    }
}

impl AgentState {
    fn is_interrupted(&self) -> bool {
        self.agent.interrupted.load(Ordering::Relaxed)
    }

    fn serve_connection(&self, socket: TcpStream, from: SocketAddr) {
        let note = self.agent.note;
        let admitted = admit_coordinator(socket, &self.agent.secret, &self.busy);
        self.handshakes.fetch_sub(1, Ordering::Relaxed);
        match admitted {
            Err(error) => note(&format!("the coordinator {from} was refused: it {error}")),
            Ok(link) => {
                note(&format!("the coordinator {from} has connected"));
                let end = AgentSession::begin(self, link).and_then(|mut session| session.run());
                self.busy.store(false, Ordering::Release);
                match end {
                    Ok(()) => note("stopped by a signal"),
                    Err(error) => note(&format!("the coordinator {from} {error}")),
                }
            }
        }
    }
}

/// What the coordinator's messages have prepared.
struct PreparedLoad {
    destination: Destination,
}

/// A coordinator that is connected.
struct AgentSession<'a> {
    state: &'a AgentState,
    sender: MessageSender,
    messages: Receiver<Result<CoordinatorMessage, LinkError>>,
    prepared: Option<PreparedLoad>,
    _heartbeat: Heartbeat,
}

fn read_messages(
    mut receiver: MessageReceiver,
) -> io::Result<Receiver<Result<CoordinatorMessage, LinkError>>> {
    let (to_session, messages) = crossbeam_channel::unbounded();
    let read = move || loop {
        let message = receiver.receive();
        let is_end = message.is_err();
        if matches!(message, Ok(CoordinatorMessage::Alive)) {
            continue;
        }
        if to_session.send(message).is_err() || is_end {
            return;
        }
    };
    std::thread::Builder::new().name("coordinator".to_owned()).spawn(read)?;
    Ok(messages)
}

impl<'a> AgentSession<'a> {
    fn begin(state: &'a AgentState, link: ControlLink) -> Result<Self, LinkError> {
        let heartbeat = Heartbeat::start(link.sender.clone(), AgentMessage::Alive)?;
        Ok(AgentSession {
            state,
            sender: link.sender,
            messages: read_messages(link.receiver)?,
            prepared: None,
            _heartbeat: heartbeat,
        })
    }

    /// Follows the coordinator until a signal arrives; an error is the end of the connection.
    fn run(&mut self) -> Result<(), LinkError> {
        loop {
            if self.state.is_interrupted() {
                self.send(&AgentMessage::Failed { reason: STOPPED.to_owned() })?;
                return Ok(());
            }
            match self.messages.recv_timeout(HEARTBEAT.min(SIGNAL_CHECK)) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
                Ok(message) => match message? {
                    CoordinatorMessage::Prepare(preparation) => {
                        let answer = self.prepare(&preparation);
                        self.send(&answer)?;
                    }
                    CoordinatorMessage::Run(order) => self.drive(*order)?,
                    CoordinatorMessage::Stop | CoordinatorMessage::Alive => {}
                },
            }
        }
    }

    fn send(&self, message: &AgentMessage) -> Result<(), LinkError> {
        Ok(self.sender.send(message)?)
    }

    /// Checks whether this machine can take part.
    fn prepare(&mut self, preparation: &Preparation) -> AgentMessage {
        match prepare(preparation) {
            Err((unreachable, reason)) => AgentMessage::Unfit { unreachable, reason },
            Ok((destination, descriptor_limit)) => {
                let server_is_here =
                    destination.addresses.iter().any(|at| find_process(*at).is_some());
                self.prepared = Some(PreparedLoad { destination });
                let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname");
                AgentMessage::Prepared(AgentDescription {
                    host_name: host_name.unwrap_or_default().trim().to_owned(),
                    host: (self.state.agent.describe_host)(server_is_here),
                    descriptor_limit,
                })
            }
        }
    }

    /// Drives this agent's share of a run.
    fn drive(&mut self, order: RunOrder) -> Result<(), LinkError> {
        let begins = Instant::now() + Duration::from_micros(order.start_in_us);
        let Some(prepared) = &self.prepared else {
            return Err(LinkError::Malformed("a run without preparation".to_owned()));
        };
        let destination =
            Destination { share: order.workload.share, ..prepared.destination.clone() };
        let mut control = RunControl { stopped: false, gone: None };
        while !control.stopped && control.gone.is_none() && Instant::now() < begins {
            let left = begins.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left.min(SIGNAL_CHECK));
            control.note(message.map_err(|error| error.is_disconnected()));
        }
        if let Some(error) = control.gone {
            return Err(error);
        }
        (self.state.agent.note)(&format!("run {} begins", order.run + 1));
        let threads = order.workload.threads;
        let engine = match LoadEngine::start(order.workload, destination) {
            Ok(engine) => engine,
            Err(error) => {
                let reason = format!("cannot start its threads: {error}");
                return self.send(&AgentMessage::Failed { reason });
            }
        };
        let mut generator = LocalGenerator::new(engine, threads);
        if control.stopped {
            generator.stop();
        }
        self.stream(order.run, threads, &mut generator, &mut control);
        generator.join();
        (self.state.agent.note)(&format!("run {} has ended", order.run + 1));
        control.gone.map_or(Ok(()), Err)
    }

    /// Sends the intervals of a run until its users have finished.
    fn stream(
        &self,
        run: u32,
        threads: u16,
        generator: &mut LocalGenerator,
        control: &mut RunControl,
    ) {
        let mut interval = MergedInterval::default();
        let mut usage = OwnUsage::start();
        loop {
            let was_stopped = control.stopped || control.gone.is_some();
            loop {
                let message = self.messages.try_recv();
                let is_empty = matches!(message, Err(TryRecvError::Empty));
                control.note(message.map_err(|error| error.is_disconnected()));
                if is_empty || control.gone.is_some() {
                    break;
                }
            }
            if self.state.is_interrupted() && !control.stopped {
                control.stopped = true;
                control.send(self, &AgentMessage::Failed { reason: STOPPED.to_owned() });
            }
            if !was_stopped && (control.stopped || control.gone.is_some()) {
                generator.stop();
            }
            match generator.next_event(&mut interval, SIGNAL_CHECK) {
                GeneratorEvent::Waiting | GeneratorEvent::AgentLost(_) => {}
                GeneratorEvent::Interval => {
                    let last = generator.has_ended();
                    let ended = usage.end_interval(run, threads, &interval, generator, last);
                    control.send(self, &AgentMessage::Interval(Box::new(ended)));
                    interval.clear();
                }
                GeneratorEvent::ThreadDied => {
                    let reason = "has lost a thread, which ended early".to_owned();
                    control.send(self, &AgentMessage::Failed { reason });
                    return;
                }
                GeneratorEvent::Ended => return,
            }
        }
    }
}

/// Reason of an agent that was stopped by a signal.
const STOPPED: &str = "was stopped by a signal";

fn gone() -> LinkError {
    LinkError::Io(io::ErrorKind::UnexpectedEof.into())
}

/// What the coordinator wants of the run in progress.
struct RunControl {
    stopped: bool,
    /// Why the coordinator is gone, if it is.
    gone: Option<LinkError>,
}

impl RunControl {
    /// Notes a message, the end of the connection (`Err(true)`), or that nothing has arrived.
    fn note(&mut self, message: Result<Result<CoordinatorMessage, LinkError>, bool>) {
        match message {
            Ok(Ok(CoordinatorMessage::Stop)) => self.stopped = true,
            Ok(Ok(CoordinatorMessage::Alive)) | Err(false) => {}
            Ok(Ok(CoordinatorMessage::Prepare(_) | CoordinatorMessage::Run(_))) => {
                self.gone = Some(LinkError::Malformed("an order during a run".to_owned()));
            }
            Ok(Err(error)) => self.gone = Some(error),
            Err(true) => self.gone = Some(gone()),
        }
    }

    /// Sends a message, unless the coordinator is gone.
    fn send(&mut self, session: &AgentSession<'_>, message: &AgentMessage) {
        if self.gone.is_none() {
            self.gone = session.send(message).err();
        }
    }
}

/// Where to connect, and the limit of open files; otherwise whether the server cannot be reached, and
/// the reason in one line.
fn prepare(preparation: &Preparation) -> Result<(Destination, u64), (bool, String)> {
    let Preparation { url, source, connections, threads, skip_limits, identity } = preparation;
    let unreachable = |error: String| (true, format!("{url} cannot be reached: {error}"));
    let mut server = parse_server_url(url).map_err(|error| match error {
        AddressError::Malformed(line) => (false, line),
        AddressError::NoSuchHost(_) => unreachable(error.to_string()),
    })?;
    check_reachable(&server).map_err(|error| unreachable(error.to_string()))?;
    let sources =
        SourceAddresses::choose(source, &mut server, *connections).map_err(|line| (false, line))?;
    if let Some(address) = sources.first_unbindable() {
        return Err((false, format!("{address} is not an address of this machine")));
    }
    let limit = preflight::raise_limit();
    let too_low = preflight::check(*connections, *threads, limit, &sources, &server.addresses);
    if let Some(limit) = too_low.first().filter(|_| !skip_limits) {
        return Err((false, limit.to_string()));
    }
    let destination = Destination {
        addresses: server.addresses.into(),
        host: server.host,
        path: server.path,
        sources,
        identity: Arc::new(identity.clone()),
        share: GeneratorShare::WHOLE,
    };
    Ok((destination, limit))
}

/// The resources that this process uses.
struct OwnUsage {
    probe: ProcessProbe,
    machine: MachineProbe,
    cpu: Duration,
    at: Instant,
}

impl OwnUsage {
    fn start() -> Self {
        let probe = ProcessProbe::open();
        let usage = probe.read();
        let cpu = usage.cpu_user + usage.cpu_system;
        let machine = MachineProbe::start(cpu.as_secs_f64());
        OwnUsage { probe, machine, cpu, at: Instant::now() }
    }

    /// The interval that has just ended.
    fn end_interval(
        &mut self,
        run: u32,
        threads: u16,
        interval: &MergedInterval,
        generator: &LocalGenerator,
        last: bool,
    ) -> AgentInterval {
        let usage = self.probe.read();
        let cpu = usage.cpu_user + usage.cpu_system;
        let used = cpu.saturating_sub(std::mem::replace(&mut self.cpu, cpu));
        let length = self.at.elapsed();
        self.at = Instant::now();
        let mut row = IntervalRow {
            run,
            at_s: generator.now().as_nanos() as f64 / 1e9,
            length_s: length.as_secs_f64(),
            generator: GeneratorSample {
                cpu_percent: 100.0 * used.as_secs_f64() / length.as_secs_f64().max(1e-3),
                longest_iteration_ms: interval.longest_iteration.as_secs_f64() * 1000.0,
                memory_bytes: usage.resident_bytes,
                machine: self.machine.next(cpu.as_secs_f64()),
            },
            ..IntervalRow::default()
        };
        row.record(&interval.recorder, &interval.gauges);
        // Several threads have tables of their own, which the main thread does not see.
        let gauges = &interval.gauges;
        let of_threads = gauges.connecting + gauges.users + gauges.http_connections;
        let of_threads = if threads > 1 { of_threads } else { 0 };
        let descriptors = usage.descriptors.map(|own| own + of_threads);
        AgentInterval { run, row, descriptors, last }
    }
}
