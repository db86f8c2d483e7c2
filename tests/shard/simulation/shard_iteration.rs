//! The iterations of the simulated shards, in parts between which other threads may run, and the
//! checks after each part.

use super::format::Brief;
use super::host::{SimulatedNetwork, address_of};
use super::mailboxes::SimCommand;
use super::network::Socket;
use super::simulator::Simulator;
use crate::fakes::FakeHost;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard::access::admission::AdmissionDecision;
use switchboard::ids::{ConnectionKey, ShardId};
use switchboard::shard::core::{Core, Readiness};
use switchboard::telemetry::counters::ShardCounters;

/// A shard and its progress within an iteration.
pub(crate) struct Shard {
    pub(crate) core: Core<FakeHost<SimulatedNetwork>>,
    pub(crate) counters: Arc<ShardCounters>,
    pub(super) phase: Phase,
    pub(super) events: Vec<(ConnectionKey, Readiness)>,
    /// Connections that have not been accepted yet.
    pub(crate) backlog: VecDeque<usize>,
    pub(super) stalled_until: usize,
}

/// The parts of an iteration of the event loop. Other threads may run in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Commands,
    Events,
    Rest,
}

impl Simulator {
    pub(super) fn step_shard(&mut self) {
        let shard = self.random(|random, plan| random.below(plan.shards));
        if self.step < self.shards[shard].stalled_until {
            return;
        }
        let full_iteration = self.random(|random, _| random.chance(700));
        for _ in 0..if full_iteration { 3 } else { 1 } {
            self.phase(shard);
        }
    }

    /// Runs the next part of a shard's iteration.
    pub(crate) fn phase(&mut self, at: usize) {
        let shard = &mut self.shards[at];
        shard.core.host.services.now = self.shared.borrow().now;
        match shard.phase {
            Phase::Commands => {
                shard.phase = Phase::Events;
                self.commands(at);
            }
            Phase::Events => {
                shard.phase = Phase::Rest;
                for (key, readiness) in std::mem::take(&mut shard.events) {
                    shard.core.handle_event(key, readiness);
                }
            }
            Phase::Rest => {
                shard.phase = Phase::Commands;
                shard.core.run_deferred();
                self.accept(at);
                self.shards[at].core.tick();
            }
        }
        self.audit(at);
    }

    fn commands(&mut self, at: usize) {
        {
            let shared = &mut *self.shared.borrow_mut();
            let shard = &mut self.shards[at];
            let mut raised = std::mem::take(&mut shared.raised[at]);
            shared.random.shuffle(&mut raised);
            let id = ShardId(at as u16);
            let collect = |connection: usize| shared.connections[connection].collect(id);
            shard.events = raised.into_iter().filter_map(collect).collect();
            shared.began[at] = shared.now;
            shared.trace.log(|| {
                let name = |(key, to): &(ConnectionKey, Readiness)| {
                    let flag = |is, name| if is { name } else { "" };
                    let (r, w) = (flag(to.readable, " r"), flag(to.writable, " w"));
                    format!("{}{r}{w}{}", Brief(key), flag(to.read_on, "!"))
                };
                let events: Vec<String> = shard.events.iter().map(name).collect();
                format!("shard {at} begins an iteration: {}", events.join(", "))
            });
        }
        let began = self.shared.borrow().began[at];
        self.shards[at].core.begin_iteration(began);
        while let Some(command) = self.take_command(at) {
            self.shards[at].core.handle_command(command);
            self.audit(at);
        }
    }

    fn take_command(&mut self, at: usize) -> Option<SimCommand> {
        let shared = &mut *self.shared.borrow_mut();
        if shared.fault(shared.plan.faults.late_commands) {
            shared.counts.count("fault: commands are late");
            return None;
        }
        let command = shared.mailboxes.take(ShardId(at as u16), &mut shared.counts);
        if let Some(command) = &command {
            shared.trace.log(|| format!("shard {at} takes {}", Brief(command)));
        }
        command
    }

    fn accept(&mut self, at: usize) {
        while let Some(id) = self.shards[at].backlog.pop_front() {
            let proxied = self.plan.proxied;
            let decision = {
                let shared = self.shared.borrow();
                match proxied {
                    true => shared.admission.enter_from_proxy(),
                    false => shared.admission.enter(address_of(id), shared.now),
                }
            };
            let AdmissionDecision::Admit { refusal: surplus, counted: address } = decision else {
                panic!("there are never that many");
            };
            if surplus.is_some() {
                self.shared.borrow_mut().counts.count("net: surplus");
            }
            // The shard's clock shows the start of its iteration.
            let began = self.shared.borrow().began[at];
            self.users[id].since = self.users[id].since.min(began);
            self.accepted += 1;
            {
                let shared = &mut *self.shared.borrow_mut();
                let table = shared.table(ShardId(at as u16));
                shared.connections[id].open_in(table);
            }
            match proxied {
                true => self.shards[at].core.admit_from_proxy(Socket(id as u32), surplus),
                false => self.shards[at].core.admit(Socket(id as u32), surplus, address),
            };
        }
    }

    /// Delivers the commands that a shard has sent, and checks what it has counted of connections
    /// that have ended.
    fn deliver(&mut self, at: usize) {
        let shared = &mut *self.shared.borrow_mut();
        let host = &mut self.shards[at].core.host;
        let from = ShardId(at as u16);
        for command in host.commands.to_matcher.drain(..) {
            shared.trace.log(|| format!("shard {at} → matcher: {}", Brief(&command)));
            shared.mailboxes.send_to_matcher(from, command);
        }
        for (to, command) in host.commands.to_shards.drain(..) {
            assert_ne!(to, from, "a shard sends itself a command");
            shared.trace.log(|| format!("shard {at} → shard {}: {}", to.0, Brief(&command)));
            shared.mailboxes.send_to_shard(to, command);
        }
        let closed = host.network.closed.drain(..);
        let ended = host.services.ended.drain(..);
        // A connection that was evicted no longer counted when it ended.
        let uncounted = closed.len() - ended.len();
        assert!(uncounted <= host.services.evicted, "a connection was closed and did not end");
        host.services.evicted -= uncounted;
        if uncounted > 0 {
            return;
        }
        for (connection, counted) in closed.zip(ended) {
            match counted {
                Some(address) => {
                    assert!(self.plan.by_address, "an address was counted without a limit");
                    assert_eq!(
                        address,
                        address_of(connection),
                        "another client's address was counted"
                    );
                }
                // A proxied connection counts for no address until its client is identified.
                None => {
                    assert!(!self.plan.by_address || self.plan.proxied, "{connection} not counted")
                }
            }
        }
    }

    /// Compares the model with the tables of a shard, and checks that no connection is lost between
    /// shards.
    fn audit(&mut self, at: usize) {
        self.deliver(at);
        let shard = &self.shards[at];
        let found = match shard.core.audit() {
            Ok(found) => found,
            Err(wrong) => panic!("shard {at}: {wrong}"),
        };
        let shared = &mut *self.shared.borrow_mut();
        let (rooms, began) = (shard.counters.matches.get(), shared.began[at]);
        self.session_model.compare(at, &found, rooms, began, shared);
        let counted: i64 = self.shards.iter().map(|one| one.counters.connections.get()).sum();
        let there = counted - shared.mailboxes.acknowledgements() as i64;
        let should = self.accepted as i64 - shared.closed as i64;
        assert_eq!(there, should, "connections: counted, and accepted less closed");
    }
}
