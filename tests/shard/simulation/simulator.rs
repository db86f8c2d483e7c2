//! Shard cores, the matcher and users in one process, and the order in which they run. The state
//! is checked after each step.

use super::event_counts::{EventCounts, Trace};
use super::format::Brief;
use super::host::{Shared, SimulatedNetwork};
use super::mailboxes::Mailboxes;
use super::matcher_model::MatcherModel;
use super::network::Connection;
use super::plan::{RunPlan, UserAction};
use super::random::Random;
use super::session_model::SessionModel;
use super::shard_iteration::{Phase, Shard};
use super::user::{Stage, User, UserContext};
use crate::fakes::{FakeHost, FakeServices};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use switchboard::access::AccessPolicy;
use switchboard::access::admission::Admission;
use switchboard::commands::{MatcherCommand, MatcherReply, Pairing, ShardCommand};
use switchboard::config::SessionLog;
use switchboard::ids::{ShardId, TokenMint};
use switchboard::matchmaking::matcher_core::{MatcherCore, MatcherSink};
use switchboard::shard::core::{Core, ShardSetup};
use switchboard::telemetry::counters::{MatcherCounters, ShardCounters};
use switchboard::timestamp::Timestamp;

/// A match that has been possible for longer than this is overdue: the matcher checks in ticks.
const MATCHER_TICK: Duration = Duration::from_millis(3);
/// Connections for which a shard reserves address space at the start.
const SLOTS: usize = 8;
/// The queues of `--stats-queue`, and the expected wait that their users are told.
pub(crate) const EXPECTED_WAITS_MS: [(&str, u64); 2] = [("en", 1500), ("default", 20)];

/// The whole simulation.
pub(crate) struct Simulator {
    pub(crate) shared: Rc<RefCell<Shared>>,
    pub(crate) plan: RunPlan,
    pub(crate) shards: Vec<Shard>,
    pub(crate) users: Vec<User>,
    pub(crate) session_model: SessionModel,
    matcher_core: MatcherCore,
    pub(crate) matcher_model: MatcherModel,
    pub(crate) matcher_counters: Arc<MatcherCounters>,
    matcher_stalled_until: usize,
    /// Users whose connection has not ended on both sides.
    pub(crate) alive: Vec<usize>,
    /// Number of connections that the cores have accepted.
    pub(crate) accepted: usize,
    pub(super) step: usize,
}

/// The kinds of steps.
#[derive(Clone, Copy, Debug)]
enum Step {
    Network,
    Shard,
    Matcher,
    User,
    Connect,
}

/// Their weights.
const STEPS: [(Step, u32); 5] = [
    (Step::Network, 45),
    (Step::Shard, 35),
    (Step::Matcher, 8),
    (Step::User, 15),
    (Step::Connect, 3),
];

impl Simulator {
    pub(crate) fn new(mut random: Random, trace: Trace) -> Self {
        let plan = RunPlan::new(&mut random);
        Self::with_plan(plan, random, trace)
    }

    /// A simulation with a given plan.
    pub(crate) fn with_plan(plan: RunPlan, mut random: Random, trace: Trace) -> Self {
        let mint = TokenMint::new(std::array::from_fn(|_| random.word() as u8));
        let shared = Rc::new(RefCell::new(Shared {
            random,
            plan: plan.clone(),
            now: Timestamp::from_nanos(1_000_000_000),
            began: vec![Timestamp::ZERO; plan.shards],
            faults_stopped: false,
            connections: Vec::new(),
            raised: vec![Vec::new(); plan.shards],
            mailboxes: Mailboxes::new(plan.shards),
            admission: Rc::new(Admission::new(plan.limits.of_connections(), plan.shards)),
            counts: EventCounts::default(),
            trace,
            closed: 0,
        }));
        let setup = ShardSetup {
            limits: plan.limits.clone(),
            stats_queues: EXPECTED_WAITS_MS.map(|(queue, _)| queue.to_owned()).to_vec(),
            mint: mint.clone(),
            echo: true,
            access: AccessPolicy::default(),
            relay_only: false,
            session_log: SessionLog::WithAddress,
        };
        let shards: Vec<Shard> = (0..plan.shards)
            .map(|nth| {
                let id = ShardId(nth as u16);
                let counters = Arc::new(ShardCounters::new(setup.stats_queues.len()));
                let network =
                    SimulatedNetwork { shard: id, shared: Rc::clone(&shared), closed: Vec::new() };
                let services = FakeServices {
                    document_bytes: plan.document_bytes,
                    expected_waits: EXPECTED_WAITS_MS
                        .map(|(_, ms)| Duration::from_millis(ms))
                        .into(),
                    admission: Some(Rc::clone(&shared.borrow().admission)),
                    ..FakeServices::default()
                };
                let host = FakeHost::new(network, services);
                let core = Core::new(id, setup.clone(), SLOTS, Arc::clone(&counters), host);
                Shard {
                    core,
                    counters,
                    phase: Phase::Commands,
                    events: Vec::new(),
                    backlog: VecDeque::new(),
                    stalled_until: 0,
                }
            })
            .collect();
        let matcher_counters = Arc::new(MatcherCounters::default());
        let of_shards = shards.iter().map(|shard| Arc::clone(&shard.counters)).collect();
        Simulator {
            session_model: SessionModel::new(mint, plan.shards),
            matcher_core: MatcherCore::new(of_shards, Arc::clone(&matcher_counters)),
            shared,
            plan,
            shards,
            users: Vec::new(),
            matcher_model: MatcherModel::default(),
            matcher_counters,
            matcher_stalled_until: 0,
            alive: Vec::new(),
            accepted: 0,
            step: 0,
        }
    }

    /// Runs all steps, with faults.
    pub(crate) fn run_with_faults(&mut self) {
        let drain_at = self.plan.drains.then(|| self.random(|r, plan| r.below(plan.steps)));
        self.log(|simulator| format!("{:#?}", simulator.plan));
        while self.step < self.plan.steps {
            self.step += 1;
            self.inject_faults();
            if Some(self.step) == drain_at {
                self.start_drain();
            }
            match self.random(|random, _| random.weighted(&STEPS)) {
                Step::Network => self.network(),
                Step::Shard => self.step_shard(),
                Step::Matcher if self.step >= self.matcher_stalled_until => {
                    let most = self.random(|r, _| r.pick(&[1, 3, 1024]));
                    self.matcher(most);
                }
                Step::Matcher => {}
                Step::User => self.step_user(),
                Step::Connect => self.connect(),
            }
        }
    }

    pub(super) fn random<T>(&self, choose: impl FnOnce(&mut Random, &RunPlan) -> T) -> T {
        choose(&mut self.shared.borrow_mut().random, &self.plan)
    }

    fn log(&self, what: impl FnOnce(&Self) -> String) {
        self.shared.borrow_mut().trace.log(|| what(self));
    }

    /// Sends StartDrain to all shards.
    pub(crate) fn start_drain(&mut self) {
        self.log(|_| "the server shuts down".to_owned());
        for shard in 0..self.plan.shards {
            let shared = &mut *self.shared.borrow_mut();
            shared.mailboxes.send_to_shard(ShardId(shard as u16), ShardCommand::StartDrain);
        }
    }

    /// Advances the time and injects faults.
    fn inject_faults(&mut self) {
        let (step, plan) = (self.step, &self.plan);
        let shared = &mut *self.shared.borrow_mut();
        let mut micros = shared.random.below(plan.step_micros + 1) as u64;
        if shared.random.chance(plan.faults.clock_jump) {
            micros += shared.random.between(1_000_000, 100_000_000) as u64;
            shared.counts.count("fault: clock jumps");
        }
        shared.now = shared.now + Duration::from_micros(micros);
        shared.trace.next_step(shared.now);
        if shared.random.chance(plan.faults.stall_shard) {
            let shard = shared.random.below(plan.shards);
            self.shards[shard].stalled_until = step + shared.random.between(20, 300);
            shared.counts.count("fault: a shard stalls");
            shared.trace.log(|| format!("shard {shard} stalls"));
        }
        if shared.random.chance(plan.faults.stall_matcher) {
            self.matcher_stalled_until = step + shared.random.between(20, 300);
            shared.counts.count("fault: the matcher stalls");
        }
    }

    /// Connects a new user to a random shard.
    fn connect(&mut self) {
        if self.alive.len() >= self.plan.users || self.users.len() >= self.plan.total_users {
            return;
        }
        let shard = self.random(|random, plan| random.below(plan.shards));
        self.connect_to(shard);
    }

    /// Connects a new user to this shard; returns its number.
    pub(crate) fn connect_to(&mut self, shard: usize) -> usize {
        let id = self.users.len();
        let now = self.shared.borrow().now;
        let connection = Connection::new(now);
        self.shared.borrow_mut().connections.push(connection);
        self.users.push(User::new(id, now));
        self.session_model.relays.push(Vec::new());
        self.shards[shard].backlog.push_back(id);
        self.alive.push(id);
        self.log(|_| format!("user {id} connects to shard {shard}"));
        if self.plan.proxied && self.random(|random, _| random.chance(800)) {
            let shared = &mut *self.shared.borrow_mut();
            self.users[id].send_proxy_header(shared);
        }
        id
    }

    fn step_user(&mut self) {
        if self.alive.is_empty() {
            return;
        }
        let user = self.random(|random, _| random.below(self.alive.len()));
        let action = self.random(|random, plan| random.weighted(&plan.actions));
        let shared = &mut *self.shared.borrow_mut();
        let mut context = UserContext { shared, session_model: &mut self.session_model };
        self.users[self.alive[user]].act(action, &mut context);
    }

    fn network(&mut self) {
        if self.alive.is_empty() {
            return;
        }
        let mut at = 0;
        // Prefer a connection with bytes in flight, but not always.
        for _ in 0..4 {
            at = self.random(|random, _| random.below(self.alive.len()));
            if !self.shared.borrow().connections[self.alive[at]].is_idle() {
                break;
            }
        }
        let id = self.alive[at];
        let most = self.random(|random, plan| match random.chance(plan.faults.tiny_arrival) {
            true => random.between(1, 3),
            false => random.pick(&[1, 16, 200, 5000, 70_000, 1_000_000]),
        });
        if self.random(|random, _| random.chance(500)) {
            self.deliver_to_server(id, most);
        } else if self.users[id].reads {
            self.deliver_to_client(id, most);
        }
        if self.is_over(id) {
            self.alive.swap_remove(at);
        }
    }

    /// Whether a connection has ended on both sides.
    pub(crate) fn is_over(&self, id: usize) -> bool {
        self.users[id].stage == Stage::Over && self.shared.borrow().connections[id].closed
    }

    pub(crate) fn deliver_to_server(&mut self, id: usize, most: usize) {
        let shared = &mut *self.shared.borrow_mut();
        let urgent = shared.fault(shared.plan.faults.urgent);
        let room = shared.room(shared.plan.receive_buffer);
        let before = shared.connections[id].sending.len();
        if shared.connections[id].deliver_to_server(most, room, urgent) {
            let count = before - shared.connections[id].sending.len();
            shared.trace.log(|| format!("{count} bytes of {id} arrive"));
            shared.counts.count(if urgent { "net: urgent data" } else { "net: arrival" });
            if count == 1 {
                shared.counts.count("net: a single byte");
            }
            shared.raise(id);
        }
    }

    pub(crate) fn deliver_to_client(&mut self, id: usize, most: usize) {
        let user = &mut self.users[id];
        if user.stage == Stage::Over {
            return;
        }
        let shared = &mut *self.shared.borrow_mut();
        let (delivery, event) = shared.connections[id].deliver_to_client(most, shared.now);
        if event {
            shared.raise(id);
        }
        user.receive(delivery, &mut UserContext { shared, session_model: &mut self.session_model });
        if user.stage == Stage::Over {
            // Most users close their end after the server's; some do not.
            let connection = &mut shared.connections[id];
            connection.client_ended |= connection.broken || shared.random.chance(800);
        }
    }

    /// Runs an iteration of the matcher, which handles up to `most` commands.
    pub(crate) fn matcher(&mut self, most: usize) {
        let shared = &mut *self.shared.borrow_mut();
        let now = shared.now;
        let mut matcher_context = MatcherContext {
            shared,
            session_model: &self.session_model,
            matcher_model: &mut self.matcher_model,
        };
        for _ in 0..most {
            let Some(command) = matcher_context.shared.mailboxes.to_matcher.pop_front() else {
                break;
            };
            matcher_context.shared.trace.log(|| format!("the matcher handles {}", Brief(&command)));
            matcher_context.matcher_model.command(&command);
            if let MatcherCommand::Enter { ticket, .. } = &command {
                matcher_context.session_model.entered(ticket, matcher_context.shared);
            }
            let _flow = self.matcher_core.handle_command(command, now, &mut matcher_context);
            matcher_context.matcher_model.command_handled();
        }
        self.matcher_core.pair_due(now, &mut matcher_context);
        self.matcher_core.publish_gauges();
        let counters = &self.matcher_counters;
        self.matcher_model.check_sizes(counters.tickets_waiting.get(), counters.queues.get());
        let then = Timestamp::from_nanos(now.as_nanos() - MATCHER_TICK.as_nanos() as u64);
        self.matcher_model.check_all_paired(then);
    }
}

/// The matcher's outputs: replies and pairings to the shards.
struct MatcherContext<'a> {
    shared: &'a mut Shared,
    session_model: &'a SessionModel,
    matcher_model: &'a mut MatcherModel,
}

impl MatcherSink for MatcherContext<'_> {
    fn reply(&mut self, reply: MatcherReply) {
        self.shared.trace.log(|| format!("matcher → {}", Brief(&reply)));
        self.shared.mailboxes.send_to_shard(reply.holder.shard, ShardCommand::Reply(reply));
    }

    fn pair(&mut self, pairing: Pairing) {
        let Pairing { mover, home } = &pairing;
        self.matcher_model.paired(mover, home, self.shared.now);
        self.session_model.paired(mover, home, self.shared);
        self.shared.trace.log(|| format!("matcher → {}", Brief(&pairing)));
        self.shared.mailboxes.send_to_shard(home.holder.shard, ShardCommand::Pair(pairing));
    }
}

/// The actions that end a user's session. Each user takes one in the end.
pub(crate) const ENDING_ACTIONS: [UserAction; 4] =
    [UserAction::Close, UserAction::HalfClose, UserAction::Vanish, UserAction::Reset];
