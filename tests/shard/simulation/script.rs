//! A world in which nothing is left to chance: its steps are taken one by one by whoever writes
//! the script, and checked as everywhere.

use super::asked::Claim;
use super::plan::{Habit, Plan};
use super::random::Random;
use super::tally::Trace;
use super::user::{Scene, View};
use super::world::World;
use std::time::Duration;

/// What a user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Asks for a match, or for the next one.
    Find,
    Cancel,
    Leave,
    /// Sends something to whoever its partner is.
    Relay,
    /// Sends a Close frame.
    Close,
    /// Says that nothing more will come.
    HalfClose,
    /// Is gone without a word.
    Vanish,
    Reset,
}

impl Deed {
    pub(crate) const ALL: [Deed; 8] = [
        Deed::Find,
        Deed::Cancel,
        Deed::Leave,
        Deed::Relay,
        Deed::Close,
        Deed::HalfClose,
        Deed::Vanish,
        Deed::Reset,
    ];
}

/// Somebody who can take the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    Shard(usize),
    Matcher,
}

/// A world in somebody's hands.
pub(crate) struct Script(World);

impl Script {
    /// `shards` shards, and users who have a session on the shard named for each.
    pub(crate) fn new(shards: usize, users: &[usize], drains: bool, tell: usize) -> Self {
        Self::with_plan(Plan::calm(shards, drains), users, tell)
    }

    /// The same, but no shard has a descriptor left for who comes from another.
    pub(crate) fn without_descriptors(shards: usize, users: &[usize], tell: usize) -> Self {
        let mut plan = Plan::calm(shards, false);
        plan.private_tables = true;
        plan.faults.table_full = 1000;
        plan.limits.rematch_delay = Duration::from_secs(60);
        Self::with_plan(plan, users, tell)
    }

    fn with_plan(plan: Plan, users: &[usize], tell: usize) -> Self {
        let mut world = World::with_plan(plan, Random::new(1), Trace::new(tell));
        for shard in users {
            let user = world.dial_to(*shard);
            let shared = &mut *world.shared.borrow_mut();
            // The handshake.
            let scene = &mut Scene { shared, ledger: &mut world.ledger };
            world.users[user].act(Habit::Find, scene);
        }
        let mut script = Script(world);
        script.rest();
        script
    }

    /// A user does something, and it arrives.
    pub(crate) fn user(&mut self, user: usize, deed: Deed) {
        {
            let shared = &mut *self.0.shared.borrow_mut();
            let scene = &mut Scene { shared, ledger: &mut self.0.ledger };
            let one = &mut self.0.users[user];
            if one.is_able() {
                match deed {
                    Deed::Find => one.find("default", scene),
                    Deed::Cancel => one.cancel(scene),
                    Deed::Leave => one.leave_room(Claim::Present, scene),
                    Deed::Relay => {
                        let room = one.room().map(str::to_owned);
                        one.relay(room.map_or(Claim::Present, Claim::Room), Some(10), scene);
                    }
                    Deed::Close => one.close(scene),
                    Deed::HalfClose => one.half_close(scene),
                    Deed::Vanish | Deed::Reset => one.vanish(deed == Deed::Reset, scene),
                }
            }
        }
        self.0.carry_up(user, usize::MAX);
    }

    /// The server is told to shut down.
    pub(crate) fn drain(&mut self) {
        self.0.quiesce();
    }

    /// Those who have something to do.
    pub(crate) fn busy(&self) -> Vec<Actor> {
        let shared = self.0.shared.borrow();
        let mut actors = Vec::new();
        for (at, shard) in self.0.shards.iter().enumerate() {
            let letters = !shared.post.to_shards[at].is_empty();
            let events = !shared.raised[at].is_empty();
            if letters || events || shard.core.has_work() || !shard.backlog.is_empty() {
                actors.push(Actor::Shard(at));
            }
        }
        if !shared.post.to_matcher.is_empty() {
            actors.push(Actor::Matcher);
        }
        actors
    }

    /// A turn of a shard, or one letter of the matcher. What is sent is received at once.
    pub(crate) fn step(&mut self, actor: Actor) {
        match actor {
            Actor::Shard(at) => (0..3).for_each(|_| self.0.phase(at)),
            Actor::Matcher => self.0.matcher(1),
        }
        for user in 0..self.0.users.len() {
            self.0.carry_down(user, usize::MAX);
        }
    }

    /// Everything goes on until nothing is under way.
    pub(crate) fn rest(&mut self) {
        self.0.be_quiet();
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
            return self.0.settle();
        }
        self.0.calm_down();
        self.0.be_quiet();
        self.0.agree();
    }
}
