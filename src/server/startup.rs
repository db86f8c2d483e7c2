//! How the shards come up: every one has its thread, its descriptor table and its listeners
//! before any of them accepts.
//!
//! With private tables the order matters. Polls and wakers are made before, so that every table
//! has all wakers, by the same numbers. ListenerTransfer are made by the main thread after every shard
//! has its table, so that no table inherits another shard's, which would keep it alive; each
//! shard takes a copy of its own over, and then the main thread lets go.

use super::{ServerError, ThreadParts, system};
use crate::access::admission::Admission;
use crate::commands::MatcherCommand;
use crate::config::{Config, ConnectionSteering, DescriptorTables};
use crate::ice::IceServers;
use crate::ids::ShardId;
use crate::limits;
use crate::mailbox::MailboxSender;
use crate::shard::accept::Acceptor;
use crate::shard::core::{Core, Setup};
use crate::shard::driver::{Driver, Letter, Sockets, listener_token};
use crate::sys::affinity::AllowedCpus;
use crate::sys::descriptor_tables::{self, ThreadId, ThreadTable};
use crate::sys::sockets::{ListenOptions, listen};
use crate::sys::steering;
use crate::telemetry::Telemetry;
use crossbeam_channel::{Receiver, Sender};
use mio::Interest;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

/// What all shards are made with.
#[derive(Clone)]
pub(super) struct ShardDependencies {
    pub(super) setup: Setup,
    pub(super) tables: DescriptorTables,
    pub(super) steer: ConnectionSteering,
    /// Microseconds.
    pub(super) busy_poll: Option<NonZeroU32>,
    /// How many of a shard's listeners are for the public; those behind them are for
    /// administration.
    pub(super) public_listeners: usize,
    pub(super) matcher: MailboxSender<MatcherCommand>,
    pub(super) shards: Vec<MailboxSender<Letter>>,
    pub(super) admission: Arc<Admission>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) ice_servers: Arc<IceServers>,
    pub(super) cpus: Option<AllowedCpus>,
}

/// What the main thread tells a shard that comes up.
enum StartupCommand {
    /// Listen with these.
    Listen(ListenerTransfer),
    /// Every shard listens: serve.
    Serve,
}

/// A shard's listeners on their way to it.
enum ListenerTransfer {
    /// Its own from here on.
    Here(Vec<TcpListener>),
    /// They are to be copied.
    Elsewhere {
        /// From the table of this thread,
        keeper: ThreadId,
        /// where these are their numbers.
        numbers: Vec<RawFd>,
        /// The threads of all shards.
        threads: Arc<[ThreadId]>,
    },
}

/// What a shard that comes up tells the main thread.
enum StartupReport {
    /// It has its table.
    Here(ThreadId),
    /// It has its listeners.
    Listens,
}

/// A shard that is not a thread yet, or has just become one.
pub(super) struct ShardStarter {
    nth: usize,
    post: ThreadParts<Letter>,
    common: ShardDependencies,
    orders: Receiver<StartupCommand>,
    reports: Sender<Result<StartupReport, ServerError>>,
}

/// The main thread's way to one of them.
struct ShardControl {
    orders: Sender<StartupCommand>,
    reports: Receiver<Result<StartupReport, ServerError>>,
}

/// The main thread's way to the shards that come up.
pub(super) struct StartupBarrier {
    tables: DescriptorTables,
    /// The shards' CPUs, if newcomers are to go to that of their packets.
    steer_to: Option<AllowedCpus>,
    ways: Vec<ShardControl>,
}

/// As many recruits as there are posts, and the way to them.
pub(super) fn startup_barrier(
    posts: Vec<ThreadParts<Letter>>,
    common: &ShardDependencies,
) -> (StartupBarrier, Vec<ShardStarter>) {
    let steer_to = common.cpus.clone().filter(|_| common.steer == ConnectionSteering::Cpu);
    let mut startup_barrier = StartupBarrier { tables: common.tables, steer_to, ways: Vec::new() };
    let mut recruits = Vec::new();
    for (nth, post) in posts.into_iter().enumerate() {
        let (to_it, orders) = crossbeam_channel::unbounded();
        let (reports, from_it) = crossbeam_channel::unbounded();
        startup_barrier.ways.push(ShardControl { orders: to_it, reports: from_it });
        recruits.push(ShardStarter { nth, post, common: common.clone(), orders, reports });
    }
    (startup_barrier, recruits)
}

/// The addresses that a shard's listeners have; all shards' have the same.
fn bound(listeners: &[Vec<TcpListener>]) -> Vec<SocketAddr> {
    let first = listeners.first().into_iter().flatten();
    first.filter_map(|listener| listener.local_addr().ok()).collect()
}

impl StartupBarrier {
    /// Opens the ports for the recruits, who run by now, and lets them serve. The addresses,
    /// and those of `--admin-listen`.
    ///
    /// # Errors
    /// The first thing that failed; then nobody serves, and all of them end.
    pub(super) fn open(
        self,
        config: &Config,
    ) -> Result<(Vec<SocketAddr>, Vec<SocketAddr>), ServerError> {
        let mut threads = Vec::new();
        for nth in 0..self.ways.len() {
            if let StartupReport::Here(thread) = self.report(nth)? {
                threads.push(thread);
            }
        }
        let threads: Arc<[ThreadId]> = threads.into();
        let options = ListenOptions {
            shards: config.shards,
            backlog: limits::LISTEN_BACKLOG,
            send_buffer_bytes: config.socket_send_buffer_bytes,
            steer_to: self.steer_to.as_ref().map(AllowedCpus::numbers),
        };
        let mut listeners = listen(&config.listen, options)?;
        let admin = ListenOptions {
            shards: 1,
            backlog: limits::ADMIN_BACKLOG,
            send_buffer_bytes: None,
            steer_to: None,
        };
        let admin = listen(&config.access.admin_listen, admin)?;
        let addresses = (bound(&listeners), bound(&admin));
        // Those for administration are the first shard's: whoever comes there never moves.
        if let Some(first) = listeners.first_mut() {
            first.extend(admin.into_iter().flatten());
        }
        // Held until every shard has its copy.
        let mut kept = Vec::new();
        for (nth, listeners) in listeners.into_iter().enumerate() {
            let order = match self.tables {
                DescriptorTables::Shared => ListenerTransfer::Here(listeners),
                DescriptorTables::Private { .. } => {
                    let numbers = listeners.iter().map(AsRawFd::as_raw_fd).collect();
                    kept.push(listeners);
                    let (keeper, threads) = (ThreadId::here(), Arc::clone(&threads));
                    ListenerTransfer::Elsewhere { keeper, numbers, threads }
                }
            };
            self.order(nth, StartupCommand::Listen(order));
        }
        for nth in 0..self.ways.len() {
            self.report(nth)?;
        }
        drop(kept);
        for nth in 0..self.ways.len() {
            self.order(nth, StartupCommand::Serve);
        }
        Ok(addresses)
    }

    fn report(&self, nth: usize) -> Result<StartupReport, ServerError> {
        let ended = || ServerError::ThreadEnded { thread: format!("shard-{nth}") };
        self.ways[nth].reports.recv().map_err(|_| ended())?
    }

    fn order(&self, nth: usize, order: StartupCommand) {
        // One that has ended is found when its report is missing.
        let _told = self.ways[nth].orders.send(order);
    }
}

impl ShardStarter {
    pub(super) fn name(&self) -> String {
        format!("shard-{}", self.nth)
    }

    /// What the shard's thread does from its first moment on.
    pub(super) fn run(self) -> io::Result<()> {
        self.pin();
        let (orders, reports) = (self.orders.clone(), self.reports.clone());
        let driver = match self.come_up() {
            Ok(Some(driver)) => driver,
            Ok(None) => return Ok(()),
            Err(error) => {
                // The main thread says it.
                let _told = reports.send(Err(error));
                return Ok(());
            }
        };
        let _told = reports.send(Ok(StartupReport::Listens));
        match orders.recv() {
            Ok(StartupCommand::Serve) => driver.run(),
            // Another shard has failed.
            Ok(StartupCommand::Listen(_)) | Err(_) => Ok(()),
        }
    }

    fn pin(&self) {
        let nth = self.nth;
        match self.common.cpus.as_ref().map(|cpus| cpus.pin_current_thread(nth)) {
            Some(Ok(cpu)) => self.common.telemetry.shards[nth].pinned_cpu.set(cpu as i64),
            Some(Err(error)) => tracing::warn!(shard = nth, %error, "not pinned"),
            None => {}
        }
    }

    /// Everything in place. `None` if the main thread has given up.
    fn come_up(self) -> Result<Option<Driver>, ServerError> {
        let thread = ThreadId::here();
        if let DescriptorTables::Private { .. } = self.common.tables {
            descriptor_tables::unshare().map_err(system("giving a shard a descriptor table"))?;
            let counters = &self.common.telemetry.shards[self.nth];
            counters.table_of.set(thread.number().into());
        }
        let _told = self.reports.send(Ok(StartupReport::Here(thread)));
        let listeners = match self.orders.recv() {
            Ok(StartupCommand::Listen(listeners)) => listeners,
            Ok(StartupCommand::Serve) | Err(_) => return Ok(None),
        };
        let (listeners, tables) = match listeners {
            ListenerTransfer::Here(listeners) => (listeners, None),
            ListenerTransfer::Elsewhere { keeper, numbers, threads } => {
                let copied =
                    copy_all(keeper, &numbers).map_err(system("taking a listener over"))?;
                let others = self.others(&threads);
                (copied, Some(others.map_err(system("reaching another shard's table"))?))
            }
        };
        self.driver(listeners, tables).map(Some)
    }

    /// The tables of the other shards; their threads wait until all is in place.
    fn others(&self, threads: &[ThreadId]) -> io::Result<Vec<Option<ThreadTable>>> {
        let table = |(nth, thread): (usize, &ThreadId)| {
            if nth == self.nth { Ok(None) } else { ThreadTable::of(*thread).map(Some) }
        };
        threads.iter().enumerate().map(table).collect()
    }

    fn driver(
        self,
        listeners: Vec<TcpListener>,
        tables: Option<Vec<Option<ThreadTable>>>,
    ) -> Result<Driver, ServerError> {
        let ShardStarter { nth, post, common, .. } = self;
        if let Some(micros) = common.busy_poll {
            steering::busy_poll(&post.poll, micros.get()).map_err(system("--busy-poll"))?;
        }
        let registry = post.poll.registry();
        let mut watched = Vec::new();
        for (at, listener) in listeners.into_iter().enumerate() {
            let mut listener = mio::net::TcpListener::from_std(listener);
            registry
                .register(&mut listener, listener_token(at), Interest::READABLE)
                .map_err(system("watching a listener"))?;
            watched.push(listener);
        }
        let counters = Arc::clone(&common.telemetry.shards[nth]);
        let host = Sockets::new(
            registry.try_clone().map_err(system("sharing a poll"))?,
            common.matcher,
            common.shards,
            Arc::clone(&common.admission),
            common.telemetry,
            common.ice_servers,
        )
        .copying_from(tables);
        let most = common.tables.most_of_shard(common.setup.limits.max_connections) as usize;
        let slots = most + limits::SURPLUS_CONNECTIONS + limits::ADMIN_CONNECTIONS;
        let core = Core::new(ShardId(nth as u16), common.setup, slots, Arc::clone(&counters), host);
        let acceptor = Acceptor::new(
            watched,
            common.public_listeners,
            common.admission,
            Arc::clone(&counters),
        );
        let acceptor = match common.tables {
            DescriptorTables::Shared => acceptor,
            DescriptorTables::Private { .. } => acceptor.at_most(most),
        };
        Ok(Driver::new(post.poll, post.inbox, core, acceptor, counters))
    }
}

fn copy_all(keeper: ThreadId, numbers: &[RawFd]) -> io::Result<Vec<TcpListener>> {
    let table = ThreadTable::of(keeper)?;
    numbers.iter().map(|number| table.copy(*number).map(TcpListener::from)).collect()
}
