//! How the shards start: every shard has its thread, its descriptor table and its listeners before
//! any shard accepts a connection. This is the main thread's side; [`super::shard_starter`] is the
//! shard's.
//!
//! With private descriptor tables the order matters. Polls and wakers are made before the threads,
//! so that every table has all wakers under the same numbers. The main thread opens the listeners
//! after every shard has its table: a table made later would inherit other shards' listeners and
//! keep them open. Each shard then copies its own listeners, and the main thread closes the
//! originals.

use super::ServerError;
use super::shard_starter::{ShardDependencies, ShardStarter};
use super::threads::ThreadParts;
use crate::config::{Config, ConnectionSteering, DescriptorTables};
use crate::limits;
use crate::shard::socket_host::ShardThreadCommand;
use crate::sys::affinity::AllowedCpus;
use crate::sys::descriptor_tables::ThreadId;
use crate::sys::sockets::{ListenOptions, listen};
use crossbeam_channel::{Receiver, Sender};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

/// A message from the main thread to a starting shard.
pub(super) enum StartupCommand {
    /// Take these listeners.
    Listen(ListenerTransfer),
    /// Every shard has its listeners: accept connections.
    Serve,
}

/// A shard's listeners, or where it finds them.
pub(super) enum ListenerTransfer {
    /// With a shared table: the listeners themselves.
    Owned(Vec<TcpListener>),
    /// With private tables: they are in the table of another thread.
    InTableOf {
        /// The thread that has them open.
        thread: ThreadId,
        /// Their descriptor numbers in that table.
        numbers: Vec<RawFd>,
        /// The threads of all shards, in the shards' order.
        shard_threads: Arc<[ThreadId]>,
    },
}

/// A message from a starting shard to the main thread.
pub(super) enum StartupReport {
    /// Its thread runs and has its descriptor table.
    HasTable(ThreadId),
    /// It has its listeners.
    HasListeners,
}

/// The main thread's channels to one shard.
struct ShardChannel {
    commands: Sender<StartupCommand>,
    reports: Receiver<Result<StartupReport, ServerError>>,
}

/// Holds all shards back until every one of them has its listeners.
pub(super) struct StartupBarrier {
    tables: DescriptorTables,
    /// The shards' CPUs, with `--steer cpu`.
    steer_to: Option<AllowedCpus>,
    channels: Vec<ShardChannel>,
}

impl StartupBarrier {
    /// A barrier, and the shards to start: one for each of `parts`.
    pub(super) fn new(
        parts: Vec<ThreadParts<ShardThreadCommand>>,
        dependencies: &ShardDependencies,
    ) -> (Self, Vec<ShardStarter>) {
        let is_steered = dependencies.steer == ConnectionSteering::Cpu;
        let steer_to = dependencies.cpus.clone().filter(|_| is_steered);
        let (mut channels, mut starters) = (Vec::new(), Vec::new());
        for (nth, parts) in parts.into_iter().enumerate() {
            let (command_sender, commands) = crossbeam_channel::unbounded();
            let (reports, report_receiver) = crossbeam_channel::unbounded();
            channels.push(ShardChannel { commands: command_sender, reports: report_receiver });
            let dependencies = dependencies.clone();
            starters.push(ShardStarter { nth, parts, dependencies, commands, reports });
        }
        (StartupBarrier { tables: dependencies.tables, steer_to, channels }, starters)
    }

    /// Opens the ports for the shards, whose threads run by now, and lets them accept. Returns the
    /// addresses of `--listen` and those of `--admin-listen`.
    ///
    /// # Errors
    /// The first step that failed. Then no shard accepts, and all of their threads end.
    pub(super) fn open(
        self,
        config: &Config,
    ) -> Result<(Vec<SocketAddr>, Vec<SocketAddr>), ServerError> {
        let mut threads = Vec::new();
        for nth in 0..self.channels.len() {
            if let StartupReport::HasTable(thread) = self.wait_for_report(nth)? {
                threads.push(thread);
            }
        }
        let mut listeners = listen(&config.listen, self.public_options(config))?;
        let admin = listen(&config.access.admin_listen, ADMIN_OPTIONS)?;
        let addresses = (addresses(&listeners), addresses(&admin));
        // The first shard gets those for administration: its connections never migrate.
        if let Some(first) = listeners.first_mut() {
            first.extend(admin.into_iter().flatten());
        }
        let originals = self.transfer(listeners, threads.into());
        for nth in 0..self.channels.len() {
            self.wait_for_report(nth)?;
        }
        drop(originals);
        for nth in 0..self.channels.len() {
            self.send(nth, StartupCommand::Serve);
        }
        Ok(addresses)
    }

    fn public_options(&self, config: &Config) -> ListenOptions<'_> {
        ListenOptions {
            shards: config.shards,
            backlog: limits::LISTEN_BACKLOG,
            send_buffer_bytes: config.socket_send_buffer_bytes,
            steer_to: self.steer_to.as_ref().map(AllowedCpus::numbers),
        }
    }

    /// Sends each shard its listeners, or where to copy them from. In the second case it returns
    /// the originals, which have to stay open until every shard has its copies.
    fn transfer(
        &self,
        listeners: Vec<Vec<TcpListener>>,
        shard_threads: Arc<[ThreadId]>,
    ) -> Vec<Vec<TcpListener>> {
        let mut originals = Vec::new();
        for (nth, listeners) in listeners.into_iter().enumerate() {
            let transfer = match self.tables {
                DescriptorTables::Shared => ListenerTransfer::Owned(listeners),
                DescriptorTables::Private { .. } => {
                    let numbers = listeners.iter().map(AsRawFd::as_raw_fd).collect();
                    originals.push(listeners);
                    let (thread, shard_threads) = (ThreadId::current(), Arc::clone(&shard_threads));
                    ListenerTransfer::InTableOf { thread, numbers, shard_threads }
                }
            };
            self.send(nth, StartupCommand::Listen(transfer));
        }
        originals
    }

    fn wait_for_report(&self, nth: usize) -> Result<StartupReport, ServerError> {
        let ended = || ServerError::ThreadEnded { thread: format!("shard-{nth}") };
        self.channels[nth].reports.recv().map_err(|_| ended())?
    }

    fn send(&self, nth: usize, command: StartupCommand) {
        // If the shard's thread has ended, its missing report is the error.
        let _sent = self.channels[nth].commands.send(command);
    }
}

const ADMIN_OPTIONS: ListenOptions<'_> = ListenOptions {
    shards: 1,
    backlog: limits::ADMIN_BACKLOG,
    send_buffer_bytes: None,
    steer_to: None,
};

/// The addresses that the first shard's listeners are bound to. Those of the others are the same.
fn addresses(listeners: &[Vec<TcpListener>]) -> Vec<SocketAddr> {
    let first = listeners.first().into_iter().flatten();
    first.filter_map(|listener| listener.local_addr().ok()).collect()
}
