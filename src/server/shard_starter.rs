//! How one shard's thread starts: it pins itself to its CPU, takes a descriptor table and its
//! listeners, waits for all other shards and then runs its event loop. [`super::startup`] is the
//! main thread's side.

use super::ServerError;
use super::error::system;
use super::startup::{ListenerTransfer, StartupCommand, StartupReport};
use super::threads::ThreadParts;
use crate::access::admission::Admission;
use crate::commands::{MatcherCommand, ReloadedSettings};
use crate::config::{ConnectionSteering, DescriptorTables};
use crate::ids::ShardId;
use crate::limits;
use crate::mailbox::MailboxSender;
use crate::shard::acceptor::Acceptor;
use crate::shard::core::{Core, ShardSetup};
use crate::shard::event_loop::{EventLoop, listener_token};
use crate::shard::socket_host::{ShardThreadCommand, SocketHost};
use crate::sys::affinity::AllowedCpus;
use crate::sys::descriptor_tables::{self, ThreadId, ThreadTable};
use crate::sys::steering;
use crate::telemetry::Telemetry;
use crossbeam_channel::{Receiver, Sender};
use mio::Interest;
use std::io;
use std::net::TcpListener;
use std::num::NonZeroU32;
use std::os::fd::RawFd;
use std::sync::Arc;

/// What every shard is started with.
#[derive(Clone)]
pub(super) struct ShardDependencies {
    pub(super) setup: ShardSetup,
    pub(super) tables: DescriptorTables,
    pub(super) steer: ConnectionSteering,
    pub(super) busy_poll_micros: Option<NonZeroU32>,
    /// How many of a shard's listeners are public. The ones behind them are for administration.
    pub(super) public_listeners: usize,
    pub(super) matcher: MailboxSender<MatcherCommand>,
    pub(super) shards: Vec<MailboxSender<ShardThreadCommand>>,
    pub(super) admission: Arc<Admission>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) settings: Arc<ReloadedSettings>,
    /// The CPUs to pin shards to; `None` with `--no-pin`.
    pub(super) cpus: Option<AllowedCpus>,
}

/// A shard before its event loop runs. It is moved to the shard's thread.
pub(super) struct ShardStarter {
    pub(super) nth: usize,
    pub(super) parts: ThreadParts<ShardThreadCommand>,
    pub(super) dependencies: ShardDependencies,
    pub(super) commands: Receiver<StartupCommand>,
    pub(super) reports: Sender<Result<StartupReport, ServerError>>,
}

impl ShardStarter {
    pub(super) fn thread_name(&self) -> String {
        format!("shard-{}", self.nth)
    }

    /// Everything that the shard's thread does.
    pub(super) fn run(self) -> io::Result<()> {
        self.pin();
        let (commands, reports) = (self.commands.clone(), self.reports.clone());
        let event_loop = match self.prepare() {
            Ok(Some(event_loop)) => event_loop,
            Ok(None) => return Ok(()),
            Err(error) => {
                // The main thread reports it.
                let _sent = reports.send(Err(error));
                return Ok(());
            }
        };
        let _sent = reports.send(Ok(StartupReport::HasListeners));
        match commands.recv() {
            Ok(StartupCommand::Serve) => event_loop.run(),
            // Another shard has failed, so the main thread has given up.
            Ok(StartupCommand::Listen(_)) | Err(_) => Ok(()),
        }
    }

    fn pin(&self) {
        let nth = self.nth;
        match self.dependencies.cpus.as_ref().map(|cpus| cpus.pin_current_thread(nth)) {
            Some(Ok(cpu)) => self.dependencies.telemetry.shards[nth].pinned_cpu.set(cpu as i64),
            Some(Err(error)) => {
                tracing::warn!(shard = nth, %error, "cannot pin the shard to a CPU");
            }
            None => {}
        }
    }

    /// Takes the descriptor table and the listeners. `None` if the main thread has given up.
    fn prepare(self) -> Result<Option<EventLoop>, ServerError> {
        let thread = ThreadId::current();
        if let DescriptorTables::Private { .. } = self.dependencies.tables {
            descriptor_tables::unshare()
                .map_err(system("give a shard its own descriptor table"))?;
            let counters = &self.dependencies.telemetry.shards[self.nth];
            counters.table_thread.set(thread.number().into());
        }
        let _sent = self.reports.send(Ok(StartupReport::HasTable(thread)));
        let transfer = match self.commands.recv() {
            Ok(StartupCommand::Listen(transfer)) => transfer,
            Ok(StartupCommand::Serve) | Err(_) => return Ok(None),
        };
        let (listeners, tables) = match transfer {
            ListenerTransfer::Owned(listeners) => (listeners, None),
            ListenerTransfer::InTableOf { thread, numbers, shard_threads } => {
                let listeners = copy_listeners(thread, &numbers)
                    .map_err(system("copy a listener to a shard's descriptor table"))?;
                let tables = self
                    .tables_of_other_shards(&shard_threads)
                    .map_err(system("open a handle on another shard's descriptor table"))?;
                (listeners, Some(tables))
            }
        };
        self.build_event_loop(listeners, tables).map(Some)
    }

    /// Handles on the descriptor tables of the other shards. Their threads all run: none ends
    /// before startup is complete.
    fn tables_of_other_shards(&self, threads: &[ThreadId]) -> io::Result<Vec<Option<ThreadTable>>> {
        let table = |(nth, thread): (usize, &ThreadId)| {
            if nth == self.nth { Ok(None) } else { ThreadTable::of(*thread).map(Some) }
        };
        threads.iter().enumerate().map(table).collect()
    }

    fn build_event_loop(
        self,
        listeners: Vec<TcpListener>,
        tables: Option<Vec<Option<ThreadTable>>>,
    ) -> Result<EventLoop, ServerError> {
        let ShardStarter { nth, parts, dependencies, .. } = self;
        if let Some(micros) = dependencies.busy_poll_micros {
            steering::busy_poll(&parts.poll, micros.get()).map_err(system("apply --busy-poll"))?;
        }
        let registry = parts.poll.registry();
        let mut registered = Vec::new();
        for (at, listener) in listeners.into_iter().enumerate() {
            let mut listener = mio::net::TcpListener::from_std(listener);
            registry
                .register(&mut listener, listener_token(at), Interest::READABLE)
                .map_err(system("register a listener"))?;
            registered.push(listener);
        }
        let counters = Arc::clone(&dependencies.telemetry.shards[nth]);
        let host = SocketHost::new(
            registry.try_clone().map_err(system("clone a shard's registry"))?,
            dependencies.matcher,
            dependencies.shards,
            Arc::clone(&dependencies.admission),
            dependencies.telemetry,
            dependencies.settings,
        )
        .duplicating_from(tables);
        let setup = dependencies.setup;
        let max_here = dependencies.tables.max_of_shard(setup.limits.max_connections) as usize;
        let slots = max_here + limits::SURPLUS_CONNECTIONS + limits::ADMIN_CONNECTIONS;
        let close_timeout = setup.limits.close_timeout;
        let core = Core::new(ShardId(nth as u16), setup, slots, Arc::clone(&counters), host);
        let acceptor = Acceptor::new(
            registered,
            dependencies.public_listeners,
            dependencies.admission,
            Arc::clone(&counters),
        )
        .closing_within(close_timeout);
        let core = match dependencies.tables {
            DescriptorTables::Shared => core,
            DescriptorTables::Private { .. } => core.at_most(max_here),
        };
        Ok(EventLoop::new(parts.poll, parts.receiver, core, acceptor, counters))
    }
}

fn copy_listeners(thread: ThreadId, numbers: &[RawFd]) -> io::Result<Vec<TcpListener>> {
    let table = ThreadTable::of(thread)?;
    numbers.iter().map(|number| table.copy(*number).map(TcpListener::from)).collect()
}
