//! A simulator in which nothing is left to chance: its steps are taken one by one by whoever writes
//! the script, and checked as everywhere.

use super::event_counts::Trace;
use super::pending_requests::RoomReference;
use super::plan::{RunPlan, UserAction};
use super::random::Random;
use super::simulator::Simulator;
use super::user::{UserContext, View};
use std::time::Duration;

/// What a user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScriptedAction {
    /// Asks for a match, or for the next one.
    Find,
    Cancel,
    Leave,
    /// Sends something to whoever its partner is.
    SentMessage,
    /// Sends a Close frame.
    Close,
    /// Says that nothing more will come.
    HalfClose,
    /// Is gone without a word.
    Vanish,
    Reset,
}

impl ScriptedAction {
    pub(crate) const ALL: [ScriptedAction; 8] = [
        ScriptedAction::Find,
        ScriptedAction::Cancel,
        ScriptedAction::Leave,
        ScriptedAction::SentMessage,
        ScriptedAction::Close,
        ScriptedAction::HalfClose,
        ScriptedAction::Vanish,
        ScriptedAction::Reset,
    ];
}

/// Somebody who can take the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    Shard(usize),
    Matcher,
}

/// A simulator in somebody's hands.
pub(crate) struct Script(Simulator);

impl Script {
    /// `shards` shards, and users who have a session on the shard named for each.
    pub(crate) fn new(shards: usize, users: &[usize], drains: bool, tell: usize) -> Self {
        Self::with_plan(RunPlan::faults_stopped(shards, drains), users, tell)
    }

    /// The same, but no shard has a descriptor left for who comes from another.
    pub(crate) fn without_descriptors(shards: usize, users: &[usize], tell: usize) -> Self {
        let mut plan = RunPlan::faults_stopped(shards, false);
        plan.private_tables = true;
        plan.faults.table_full = 1000;
        plan.limits.rematch_delay = Duration::from_secs(60);
        Self::with_plan(plan, users, tell)
    }

    fn with_plan(plan: RunPlan, users: &[usize], tell: usize) -> Self {
        let mut simulator = Simulator::with_plan(plan, Random::new(1), Trace::new(tell));
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

    /// A user does something, and it arrives.
    pub(crate) fn user(&mut self, user: usize, action: ScriptedAction) {
        {
            let shared = &mut *self.0.shared.borrow_mut();
            let context = &mut UserContext { shared, session_model: &mut self.0.session_model };
            let one = &mut self.0.users[user];
            if one.can_send() {
                match action {
                    ScriptedAction::Find => one.find("default", context),
                    ScriptedAction::Cancel => one.cancel(context),
                    ScriptedAction::Leave => one.leave_room(RoomReference::Present, context),
                    ScriptedAction::SentMessage => {
                        let room = one.room().map(str::to_owned);
                        one.relay(
                            room.map_or(RoomReference::Present, RoomReference::Room),
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

    /// The server is told to shut down.
    pub(crate) fn drain(&mut self) {
        self.0.start_drain();
    }

    /// Those who have something to do.
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

    /// A turn of a shard, or one command of the matcher. What is sent is received at once.
    pub(crate) fn step(&mut self, actor: Actor) {
        match actor {
            Actor::Shard(at) => (0..3).for_each(|_| self.0.phase(at)),
            Actor::Matcher => self.0.matcher(1),
        }
        for user in 0..self.0.users.len() {
            self.0.deliver_to_client(user, usize::MAX);
        }
    }

    /// Everything goes on until nothing is under way.
    pub(crate) fn rest(&mut self) {
        self.0.run_until_idle();
    }

    /// Time passes, up to a second, until this is so.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..100 {
            if is_so(self) {
                return;
            }
            let now = self.0.shared.borrow().now;
            self.0.shared.borrow_mut().now = now + Duration::from_millis(10);
            self.rest();
        }
        panic!("not so: {what}");
    }

    /// How often a shard could not take in who came from another.
    pub(crate) fn refused_moves(&self) -> u64 {
        self.0.shards.iter().map(|shard| shard.counters.migrations_rejected.get()).sum()
    }

    /// Whether a user knows itself to be in a room.
    pub(crate) fn in_room(&self, user: usize) -> bool {
        matches!(self.0.users[user].view, View::InRoom(_))
    }

    /// The end: all are of one mind; and if `all` is to be seen, everybody leaves and nothing is
    /// left behind.
    pub(crate) fn end(mut self, all: bool) {
        if all {
            return self.0.finish();
        }
        self.0.stop_faults();
        self.0.run_until_idle();
        self.0.check_agreement();
    }
}
