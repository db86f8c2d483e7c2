//! A simulation without random choices: a test takes its steps one by one. The guarantees are
//! checked as in random runs.

use super::event_counts::Trace;
use super::pending_requests::RoomReference;
use super::plan::{RunPlan, UserAction};
use super::random::Random;
use super::simulator::Simulator;
use super::user::{UserContext, View};
use std::time::Duration;

/// An action of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScriptedAction {
    /// Sends `find_match`.
    Find,
    Cancel,
    Leave,
    /// Sends a message to the partner.
    Relay,
    /// Sends a Close frame.
    Close,
    /// Closes the sending direction.
    HalfClose,
    /// Stops sending and receiving without a FIN or reset.
    Vanish,
    Reset,
}

impl ScriptedAction {
    pub(crate) const ALL: [ScriptedAction; 8] = [
        ScriptedAction::Find,
        ScriptedAction::Cancel,
        ScriptedAction::Leave,
        ScriptedAction::Relay,
        ScriptedAction::Close,
        ScriptedAction::HalfClose,
        ScriptedAction::Vanish,
        ScriptedAction::Reset,
    ];
}

/// A thread that can take the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    Shard(usize),
    Matcher,
}

/// A simulation whose steps a test takes.
pub(crate) struct Script(Simulator);

impl Script {
    /// Starts `shards` shards, and one user with a session on each shard listed in `users`.
    pub(crate) fn new(shards: usize, users: &[usize], drains: bool, kept_lines: usize) -> Self {
        Self::with_plan(RunPlan::without_faults(shards, drains), users, kept_lines)
    }

    /// The same, but no shard has a free descriptor for a session from another shard.
    pub(crate) fn without_descriptors(shards: usize, users: &[usize], kept_lines: usize) -> Self {
        let mut plan = RunPlan::without_faults(shards, false);
        plan.private_tables = true;
        plan.faults.table_full = 1000;
        plan.limits.rematch_delay = Duration::from_secs(60);
        Self::with_plan(plan, users, kept_lines)
    }

    fn with_plan(plan: RunPlan, users: &[usize], kept_lines: usize) -> Self {
        let mut simulator = Simulator::with_plan(plan, Random::new(1), Trace::new(kept_lines));
        for shard in users {
            let user = simulator.connect_to(*shard);
            let shared = &mut *simulator.shared.borrow_mut();
            // The handshake.
            let context = &mut UserContext { shared, session_model: &mut simulator.session_model };
            simulator.users[user].act(UserAction::Find, context);
        }
        let mut script = Script(simulator);
        script.rest();
        script
    }

    /// Performs a user's action and delivers its bytes to the server.
    pub(crate) fn user(&mut self, user: usize, action: ScriptedAction) {
        {
            let shared = &mut *self.0.shared.borrow_mut();
            let context = &mut UserContext { shared, session_model: &mut self.0.session_model };
            let one = &mut self.0.users[user];
            if one.can_send() {
                match action {
                    ScriptedAction::Find => one.find("default", context),
                    ScriptedAction::Cancel => one.cancel(context),
                    ScriptedAction::Leave => one.leave_room(RoomReference::Absent, context),
                    ScriptedAction::Relay => {
                        let room = one.room().map(str::to_owned);
                        one.relay(
                            room.map_or(RoomReference::Absent, RoomReference::Room),
                            Some(10),
                            context,
                        );
                    }
                    ScriptedAction::Close => one.close(context),
                    ScriptedAction::HalfClose => one.half_close(context),
                    ScriptedAction::Vanish | ScriptedAction::Reset => {
                        one.vanish(action == ScriptedAction::Reset, context)
                    }
                }
            }
        }
        self.0.deliver_to_server(user, usize::MAX);
    }

    /// Starts the shutdown of the server.
    pub(crate) fn drain(&mut self) {
        self.0.start_drain();
    }

    /// The threads that have work.
    pub(crate) fn busy(&self) -> Vec<Actor> {
        let shared = self.0.shared.borrow();
        let mut actors = Vec::new();
        for (at, shard) in self.0.shards.iter().enumerate() {
            let commands = !shared.mailboxes.to_shards[at].is_empty();
            let events = !shared.raised[at].is_empty();
            if commands || events || shard.core.has_work() || !shard.backlog.is_empty() {
                actors.push(Actor::Shard(at));
            }
        }
        if !shared.mailboxes.to_matcher.is_empty() {
            actors.push(Actor::Matcher);
        }
        actors
    }

    /// Runs one iteration of a shard, or one command of the matcher, and delivers the output.
    pub(crate) fn step(&mut self, actor: Actor) {
        match actor {
            Actor::Shard(at) => (0..3).for_each(|_| self.0.phase(at)),
            Actor::Matcher => self.0.matcher(1),
        }
        for user in 0..self.0.users.len() {
            self.0.deliver_to_client(user, usize::MAX);
        }
    }

    /// Runs everything until nothing is in flight.
    pub(crate) fn rest(&mut self) {
        self.0.run_until_idle();
    }

    /// Advances the time, by a second at most, until the condition holds.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..100 {
            if is_so(self) {
                return;
            }
            let now = self.0.shared.borrow().now;
            self.0.shared.borrow_mut().now = now + Duration::from_millis(10);
            self.rest();
        }
        panic!("never: {what}");
    }

    /// How many migrations were rejected.
    pub(crate) fn refused_moves(&self) -> u64 {
        self.0.shards.iter().map(|shard| shard.counters.migrations_rejected.get()).sum()
    }

    /// Whether a user has received `match_found` for its room.
    pub(crate) fn in_room(&self, user: usize) -> bool {
        matches!(self.0.users[user].view, View::InRoom(_))
    }

    /// Ends the run: checks that users and shards agree, and with `all` also that everything can
    /// end and all resources are released.
    pub(crate) fn end(mut self, all: bool) {
        if all {
            return self.0.finish();
        }
        self.0.stop_faults();
        self.0.run_until_idle();
        self.0.check_agreement();
    }
}
