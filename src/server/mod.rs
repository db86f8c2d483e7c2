//! Bind → pin → spawn → serve → drain → join. Runs on the main thread, which owns the
//! configuration, the signals and the other threads' handles, and blocks only in its poll.

mod shutdown;
mod startup;
pub mod supervision;
pub mod watchdog;

use crate::access::admission::Admission;
use crate::commands::{MatcherCommand, ShardCommand};
use crate::config::Config;
use crate::ice::{IceError, IceServers, TimeLimited, TurnSecret};
use crate::ids::TokenMint;
use crate::logging;
use crate::mailbox::{MailboxReceiver, MailboxSender, mailbox};
use crate::matchmaking::MatcherCore;
use crate::matchmaking::matcher::Matcher;
use crate::server::supervision::Supervision;
use crate::shard::core::Setup;
use crate::shard::driver::{Letter, WAKER};
use crate::sys;
use crate::sys::affinity::AllowedCpus;
use crate::sys::sockets::ListenError;
use crate::telemetry::notices::{Notice, NoticeReporter};
use crate::telemetry::{ProcessInfo, Sampler, SessionCounts, Telemetry};
use crate::timestamp::Timestamp;
use mio::{Events, Interest, Poll, Token, Waker};
use shutdown::{DrainEvent, DrainProgress};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;
use startup::{ShardDependencies, startup_barrier};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Why the server did not start, or ended by itself.
#[derive(Debug)]
pub enum ServerError {
    /// An address cannot be listened on.
    Listen(ListenError),
    /// The operating system refused something that every server needs.
    System {
        /// What.
        what: &'static str,
        /// What it said.
        error: io::Error,
    },
    /// The TURN secret cannot be read.
    SecretFile {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The TURN secret cannot be used.
    Ice(IceError),
    /// A thread has ended that must not end.
    ThreadEnded {
        /// Its name.
        thread: String,
    },
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Listen(error) => error.fmt(f),
            ServerError::System { what, error } => write!(f, "{what}: {error}"),
            ServerError::SecretFile { path, error } => {
                write!(f, "cannot read the TURN secret in {}: {error}", path.display())
            }
            ServerError::Ice(error) => error.fmt(f),
            ServerError::ThreadEnded { thread } => {
                write!(f, "thread {thread} has ended; a server without it is not worth keeping")
            }
        }
    }
}

impl std::error::Error for ServerError {}

impl From<ListenError> for ServerError {
    fn from(error: ListenError) -> Self {
        ServerError::Listen(error)
    }
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> ServerError {
    move |error| ServerError::System { what, error }
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerExit {
    /// Every session had come to its end, or the time for that was over.
    Graceful,
    /// A second signal asked for the end at once.
    Immediate,
}

const SIGNALS: Token = Token(0);
const THREADS: Token = Token(1);
/// How often the main thread looks whether everybody has left.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// The port stays open at least so long after the signal, so that whoever watches `/health`
/// sees it, even if nobody is connected.
const DRAIN_LEAST: Duration = Duration::from_secs(1);
/// Between two samples of the process' figures.
const SAMPLE_PERIOD: Duration = Duration::from_secs(1);

/// A server whose ports are open and whose threads run.
pub struct Server {
    poll: Poll,
    signals: Signals,
    addresses: Vec<SocketAddr>,
    admin_addresses: Vec<SocketAddr>,
    shards: Vec<MailboxSender<Letter>>,
    matcher: MailboxSender<MatcherCommand>,
    threads: Vec<JoinHandle<()>>,
    telemetry: Arc<Telemetry>,
    drain_timeout: Duration,
    close_timeout: Duration,
}

/// What the main thread does from time to time.
struct PeriodicTasks {
    sampler: Sampler,
    sampled: Timestamp,
    notices: NoticeReporter,
    supervision: Supervision,
}

impl PeriodicTasks {
    /// The first sample is taken at once.
    fn new(telemetry: &Telemetry) -> Self {
        let (mut sampler, sampled) = (Sampler::new(), sys::clock::monotonic());
        sampler.take(telemetry, sampled);
        let (notices, supervision) = (NoticeReporter::default(), Supervision::from_environment());
        PeriodicTasks { sampler, sampled, notices, supervision }
    }

    /// How long the main thread may wait before its next look.
    fn period(&self) -> Duration {
        self.supervision.look_period().min(SAMPLE_PERIOD)
    }
}

/// The parts of a thread that exist before it does.
struct ThreadParts<T> {
    poll: Poll,
    outbox: MailboxSender<T>,
    inbox: MailboxReceiver<T>,
}

impl<T> ThreadParts<T> {
    fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (outbox, inbox) = mailbox(waker);
        Ok(ThreadParts { poll, outbox, inbox })
    }
}

/// Tells the main thread when a thread ends, however it ends.
struct ExitNotifier(Arc<Waker>);

impl Drop for ExitNotifier {
    fn drop(&mut self) {
        // If even that fails, the main thread's next look at the threads finds it.
        let _woken = self.0.wake();
    }
}

impl Server {
    /// Opens the ports and starts the threads. Nothing is accepted before every shard has its
    /// listeners, and if anything fails, nothing has been started.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub fn start(config: &Config) -> Result<Self, ServerError> {
        let ice_servers = ice_servers(config)?;
        let poll = Poll::new().map_err(system("creating a poll"))?;
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(system("handling signals"))?;
        poll.registry()
            .register(&mut signals, SIGNALS, Interest::READABLE)
            .map_err(system("watching signals"))?;
        let exit_notifier =
            Waker::new(poll.registry(), THREADS).map_err(system("creating a waker"))?;
        let telemetry = Arc::new(Telemetry::new(about(config), config.shards));
        let matcher = ThreadParts::new().map_err(system("creating the matcher's poll"))?;
        let mut posts = Vec::new();
        for _ in 0..config.shards {
            posts.push(ThreadParts::new().map_err(system("creating a shard's poll"))?);
        }
        let mut server = Server {
            poll,
            signals,
            addresses: Vec::new(),
            admin_addresses: Vec::new(),
            shards: posts.iter().map(|post| post.outbox.clone()).collect(),
            matcher: matcher.outbox.clone(),
            threads: Vec::new(),
            telemetry,
            drain_timeout: config.limits.drain_timeout,
            close_timeout: config.limits.close_timeout,
        };
        let exit_notifier = Arc::new(exit_notifier);
        server.start_matcher(matcher, &exit_notifier)?;
        server.start_shards(config, posts, ice_servers, &exit_notifier)?;
        Ok(server)
    }

    /// The addresses that are listened on, with the ports that were asked for as 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The addresses of `--admin-listen`, likewise.
    pub fn admin_addresses(&self) -> &[SocketAddr] {
        &self.admin_addresses
    }

    /// What there is to tell about the server; stays good after its end.
    pub fn telemetry(&self) -> Arc<Telemetry> {
        Arc::clone(&self.telemetry)
    }

    fn start_matcher(
        &mut self,
        post: ThreadParts<MatcherCommand>,
        exit_notifier: &Arc<Waker>,
    ) -> Result<(), ServerError> {
        let counters = Arc::clone(&self.telemetry.matcher);
        let desks = MatcherCore::new(self.telemetry.shards.clone(), Arc::clone(&counters));
        let matcher = Matcher::new(post.poll, post.inbox, self.shards.clone(), desks, counters);
        self.spawn("matcher".to_owned(), exit_notifier, move || matcher.run())
    }

    /// Starts the shards' threads and opens the ports, which is the last that can go wrong.
    fn start_shards(
        &mut self,
        config: &Config,
        posts: Vec<ThreadParts<Letter>>,
        ice_servers: IceServers,
        exit_notifier: &Arc<Waker>,
    ) -> Result<(), ServerError> {
        let key = sys::entropy().map_err(system("getting random bytes"))?;
        let setup = Setup {
            limits: config.limits.clone(),
            stats_queues: config.stats_queues.clone(),
            mint: TokenMint::new(key),
            echo: config.echo,
            access: config.access.clone(),
        };
        let common = ShardDependencies {
            setup,
            tables: config.tables,
            steer: config.steer,
            busy_poll: config.busy_poll_micros,
            public_listeners: config.listen.len(),
            matcher: self.matcher.clone(),
            shards: self.shards.clone(),
            admission: Arc::new(Admission::new(config.limits.of_connections())),
            telemetry: Arc::clone(&self.telemetry),
            ice_servers: Arc::new(ice_servers),
            cpus: config.pin.then(AllowedCpus::here),
        };
        let (startup_barrier, recruits) = startup_barrier(posts, &common);
        for recruit in recruits {
            self.spawn(recruit.name(), exit_notifier, move || recruit.run())?;
        }
        (self.addresses, self.admin_addresses) = startup_barrier.open(config)?;
        Ok(())
    }

    fn spawn(
        &mut self,
        name: String,
        exit_notifier: &Arc<Waker>,
        run: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> Result<(), ServerError> {
        let exit_notifier = ExitNotifier(Arc::clone(exit_notifier));
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                let _farewell = exit_notifier;
                if let Err(error) = run() {
                    tracing::error!(thread = name, %error, "the loop has failed");
                }
            })
            .map_err(system("starting a thread"))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Serves until a signal asks for the end, then shuts down gracefully.
    ///
    /// # Errors
    /// When a thread ends that must not.
    pub fn run(mut self) -> Result<ServerExit, ServerError> {
        let mut events = Events::with_capacity(8);
        let mut rounds = PeriodicTasks::new(&self.telemetry);
        rounds.supervision.ready(&self.telemetry);
        while !self.signalled(&mut events, rounds.period())? {
            self.look(&mut rounds);
        }
        let crowd @ SessionCounts { sessions, waiting, rooms } = self.telemetry.crowd();
        tracing::info!(
            timeout = ?self.drain_timeout,
            sessions,
            waiting,
            rooms,
            "shutting down; a second signal ends at once"
        );
        self.telemetry.draining.set(1);
        rounds.supervision.stopping(&self.telemetry);
        for shard in &self.shards {
            let _told = shard.send(ShardCommand::StartDrain);
        }
        let began = sys::clock::monotonic();
        let mut progress = DrainProgress::new(self.drain_timeout, crowd);
        loop {
            if self.signalled(&mut events, DRAIN_LOOK.min(rounds.period()))? {
                return Ok(ServerExit::Immediate);
            }
            let passed = sys::clock::monotonic().since(began);
            let everybody_left = self.alive() == 0 && passed >= DRAIN_LEAST.min(self.drain_timeout);
            progress.look(passed, self.telemetry.crowd()).into_iter().for_each(DrainEvent::log);
            if everybody_left || passed >= self.drain_timeout + self.close_timeout {
                break;
            }
            self.look(&mut rounds);
        }
        self.join();
        rounds.notices.remaining(&self.telemetry).into_iter().for_each(Notice::log);
        Ok(ServerExit::Graceful)
    }

    /// What the main thread does again and again, serving or shutting down.
    fn look(&self, rounds: &mut PeriodicTasks) {
        let now = sys::clock::monotonic();
        if now.since(rounds.sampled) >= SAMPLE_PERIOD {
            rounds.sampler.take(&self.telemetry, now);
            rounds.sampled = now;
            self.telemetry.log_lines_dropped.raise_to(logging::lines_dropped());
            rounds.notices.due(&self.telemetry, now).into_iter().for_each(Notice::log);
        }
        rounds.supervision.look(now, &self.telemetry, || {
            // One that cannot be woken makes no turn, and that is then told.
            let _matcher = self.matcher.interrupt_poll();
            for shard in &self.shards {
                let _shard = shard.interrupt_poll();
            }
        });
    }

    /// Waits for at most `timeout`. True if a signal came.
    fn signalled(&mut self, events: &mut Events, timeout: Duration) -> Result<bool, ServerError> {
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(ServerError::System { what: "waiting for signals", error });
            }
            Ok(()) | Err(_) => {}
        }
        // guard: a thread that ended is noticed [argument 1 value |_| false]
        if let Some(ended) = self.threads.iter().find(|thread| thread.is_finished()) {
            let thread = ended.thread().name().unwrap_or("?").to_owned();
            return Err(ServerError::ThreadEnded { thread });
        }
        Ok(self.signals.pending().next().is_some())
    }

    /// Connections on all shards, those on the way from one to another included.
    fn alive(&self) -> i64 {
        let shards = self.telemetry.shards.iter();
        shards.map(|shard| shard.connections.get() + shard.migrations_in_flight.get()).sum()
    }

    /// Ends the shards, then the matcher.
    fn join(&mut self) {
        for shard in &self.shards {
            let _told = shard.send(ShardCommand::Stop);
        }
        let mut threads = std::mem::take(&mut self.threads).into_iter();
        let matcher = threads.next();
        for thread in threads {
            let _ended = thread.join();
        }
        let _told = self.matcher.send(MatcherCommand::Stop);
        if let Some(thread) = matcher {
            let _ended = thread.join();
        }
    }
}

/// What clients are told to use for their calls; reads the secret they share with a TURN server.
fn ice_servers(config: &Config) -> Result<IceServers, ServerError> {
    let time_limited = match &config.turn {
        None => None,
        Some(turn) => {
            let contents = std::fs::read(&turn.secret_file).map_err(|error| {
                ServerError::SecretFile { path: turn.secret_file.clone(), error }
            })?;
            let secret = TurnSecret::from_file_contents(&contents).map_err(ServerError::Ice)?;
            let urls = turn.urls.clone();
            Some(TimeLimited::new(urls, secret, turn.ttl).map_err(ServerError::Ice)?)
        }
    };
    Ok(IceServers::new(&config.ice_servers, time_limited))
}

fn about(config: &Config) -> ProcessInfo {
    ProcessInfo {
        version: env!("CARGO_PKG_VERSION"),
        started: sys::clock::monotonic(),
        started_unix: sys::process::unix_time(),
        max_connections: config.limits.max_connections,
        descriptors_allowed: config.descriptors_allowed,
        tables: config.tables.count(config.shards),
        stats_queues: config.stats_queues.clone(),
    }
}
