//! The server as a whole: opens the ports, starts the threads, serves, drains, joins. Runs on the
//! main thread, which owns the configuration, the signals and the handles of the other threads. It
//! blocks only in its poll.

mod drain_log;
mod error;
mod main_loop;
mod reload;
mod shard_starter;
mod signals;
mod startup;
pub mod supervision;
mod threads;
pub mod watchdog;

pub use error::ServerError;
pub use main_loop::ServerExit;
pub use reload::check_files;

use crate::access::admission::Admission;
use crate::commands::{MatcherCommand, ReloadedSettings};
use crate::config::Config;
use crate::ids::TokenMint;
use crate::mailbox::MailboxSender;
use crate::matchmaking::MatcherCore;
use crate::matchmaking::matcher::Matcher;
use crate::shard::core::ShardSetup;
use crate::shard::socket_host::ShardThreadCommand;
use crate::sys;
use crate::sys::affinity::AllowedCpus;
use crate::telemetry::{ProcessInfo, Telemetry};
use error::system;
use mio::{Poll, Token, Waker};
use reload::SettingSources;
use shard_starter::ShardDependencies;
use signals::ProcessSignals;
use startup::StartupBarrier;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use threads::{ExitNotifier, ThreadParts};

#[cfg(test)]
mod tests;

const SIGNAL_TOKEN: Token = Token(0);
const THREAD_EXIT_TOKEN: Token = Token(1);

/// A server whose ports are open and whose threads run.
pub struct Server {
    poll: Poll,
    signals: ProcessSignals,
    sources: SettingSources,
    addresses: Vec<SocketAddr>,
    admin_addresses: Vec<SocketAddr>,
    shards: Vec<MailboxSender<ShardThreadCommand>>,
    matcher: MailboxSender<MatcherCommand>,
    /// The matcher's thread, then those of the shards.
    threads: Vec<JoinHandle<()>>,
    telemetry: Arc<Telemetry>,
    drain_timeout: Duration,
    close_timeout: Duration,
}

impl Server {
    /// Opens the ports and starts the threads. No connection is accepted before every shard has its
    /// listeners. If anything fails, all threads that were started end.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub fn start(config: &Config) -> Result<Self, ServerError> {
        let sources = SettingSources::new(config);
        let settings = sources.read()?;
        let poll = Poll::new().map_err(system("create the main thread's poll"))?;
        let signals = ProcessSignals::take(poll.registry(), SIGNAL_TOKEN)
            .map_err(system("handle signals"))?;
        let exit_waker = Waker::new(poll.registry(), THREAD_EXIT_TOKEN)
            .map_err(system("create the main thread's waker"))?;
        let telemetry = Arc::new(Telemetry::new(process_info(config), config.shards));
        let matcher = ThreadParts::new().map_err(system("create the matcher's poll"))?;
        let mut shards = Vec::new();
        for _ in 0..config.shards {
            shards.push(ThreadParts::new().map_err(system("create a shard's poll"))?);
        }
        let mut server = Server {
            poll,
            signals,
            sources,
            addresses: Vec::new(),
            admin_addresses: Vec::new(),
            shards: shards.iter().map(|shard| shard.sender.clone()).collect(),
            matcher: matcher.sender.clone(),
            threads: Vec::new(),
            telemetry,
            drain_timeout: config.limits.drain_timeout,
            close_timeout: config.limits.close_timeout,
        };
        let exit_waker = Arc::new(exit_waker);
        server.start_matcher(matcher, &exit_waker)?;
        server.start_shards(config, shards, settings, &exit_waker)?;
        Ok(server)
    }

    /// The addresses that the server listens on. A port that was given as 0 has its real number.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The same for the addresses of `--admin-listen`.
    pub fn admin_addresses(&self) -> &[SocketAddr] {
        &self.admin_addresses
    }

    /// The counters of all threads. They stay readable after the server has ended.
    pub fn telemetry(&self) -> Arc<Telemetry> {
        Arc::clone(&self.telemetry)
    }

    fn start_matcher(
        &mut self,
        parts: ThreadParts<MatcherCommand>,
        exit_waker: &Arc<Waker>,
    ) -> Result<(), ServerError> {
        let counters = Arc::clone(&self.telemetry.matcher);
        let core = MatcherCore::new(self.telemetry.shards.clone(), Arc::clone(&counters));
        let shards = self.shards.clone();
        let matcher = Matcher::new(parts.poll, parts.receiver, shards, core, counters);
        self.spawn("matcher".to_owned(), exit_waker, move || matcher.run())
    }

    /// Starts the shards' threads and opens the ports. This is the last step that can fail.
    fn start_shards(
        &mut self,
        config: &Config,
        parts: Vec<ThreadParts<ShardThreadCommand>>,
        settings: ReloadedSettings,
        exit_waker: &Arc<Waker>,
    ) -> Result<(), ServerError> {
        let key = sys::entropy().map_err(system("get random bytes"))?;
        let setup = ShardSetup {
            limits: config.limits.clone(),
            stats_queues: config.stats_queues.clone(),
            mint: TokenMint::new(key),
            echo: config.echo,
            access: config.access.clone(),
            relay_only: config.relay_only,
            session_log: config.session_log,
        };
        let dependencies = ShardDependencies {
            setup,
            tables: config.descriptor_tables,
            steer: config.steering,
            busy_poll_micros: config.busy_poll_micros,
            public_listeners: config.listen.len(),
            matcher: self.matcher.clone(),
            shards: self.shards.clone(),
            admission: Arc::new(Admission::new(config.limits.of_connections(), config.shards)),
            telemetry: Arc::clone(&self.telemetry),
            settings: Arc::new(settings),
            cpus: config.pin.then(AllowedCpus::of_current_thread),
        };
        let (barrier, starters) = StartupBarrier::new(parts, &dependencies);
        for starter in starters {
            self.spawn(starter.thread_name(), exit_waker, move || starter.run())?;
        }
        (self.addresses, self.admin_addresses) = barrier.open(config)?;
        Ok(())
    }

    fn spawn(
        &mut self,
        name: String,
        exit_waker: &Arc<Waker>,
        run: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> Result<(), ServerError> {
        let exit_notifier = ExitNotifier(Arc::clone(exit_waker));
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                let _notifies_on_drop = exit_notifier;
                if let Err(error) = run() {
                    tracing::error!(thread = name, %error, "event loop failed");
                }
            })
            .map_err(system("start a thread"))?;
        self.threads.push(thread);
        Ok(())
    }
}

fn process_info(config: &Config) -> ProcessInfo {
    ProcessInfo {
        version: env!("CARGO_PKG_VERSION"),
        started: sys::clock::monotonic(),
        started_unix: sys::process::unix_time(),
        max_connections: config.limits.max_connections,
        descriptors_allowed: config.descriptors_allowed,
        tables: config.descriptor_tables.count(config.shards),
        stats_queues: config.stats_queues.clone(),
    }
}
