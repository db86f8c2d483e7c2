//! The end of a run: faults stop, and what must happen then happens. Everybody hears what is due
//! to them, those who wait meet, all leave, and nothing is left behind.

use super::plan::Habit;
use super::user::{Scene, Stage, View};
use super::world::{FAREWELLS, World};
use std::time::Duration;
use switchboard::telemetry::counters::ShardFigures;

/// Rounds in which everything that is under way arrives, unless something goes in circles.
const ROUNDS: usize = 300;
/// Time passes in steps that no shard takes for a stop of the process.
const STEP: Duration = Duration::from_millis(100);
/// What is left to sweeps comes at most so much later.
const SWEEPS: Duration = Duration::from_secs(3);

impl World {
    /// Brings the world to its end.
    pub(crate) fn settle(&mut self) {
        self.calm_down();
        self.be_quiet();
        self.agree();
        if !self.plan.drains {
            self.all_meet();
        }
        self.all_leave();
        self.nothing_is_left();
        self.harvest();
    }

    pub(crate) fn calm_down(&mut self) {
        let shared = &mut *self.shared.borrow_mut();
        shared.calm = true;
        shared.trace.tell(|| "faults stop".to_owned());
        for user in &mut self.users {
            user.reads = true;
        }
    }

    /// Everything moves once.
    fn round(&mut self) {
        {
            let shared = &mut *self.shared.borrow_mut();
            shared.trace.next_step(shared.now);
        }
        for at in 0..self.alive.len() {
            self.carry_up(self.alive[at], usize::MAX);
        }
        for shard in 0..self.shards.len() {
            for _ in 0..3 {
                self.phase(shard);
            }
        }
        self.matcher(usize::MAX);
        for at in 0..self.alive.len() {
            self.carry_down(self.alive[at], usize::MAX);
        }
    }

    /// Nothing is under way any more.
    fn is_quiet(&self) -> bool {
        let shared = self.shared.borrow();
        let rests =
            |id: &usize| shared.links[*id].is_quiet() || self.users[*id].stage == Stage::Over;
        let shards = self.shards.iter().all(|s| !s.core.has_work() && s.backlog.is_empty());
        let events = shared.raised.iter().all(Vec::is_empty);
        let letters = shared.post.is_empty() && shared.post.unanswered() == 0;
        shards && events && letters && self.alive.iter().all(rests)
    }

    pub(crate) fn be_quiet(&mut self) {
        for _ in 0..ROUNDS {
            self.round();
            if self.is_quiet() {
                // What the last round delivered may have been the last word.
                self.round();
                if self.is_quiet() {
                    return;
                }
            }
        }
        panic!("it never ends: {:#?}", self.shared.borrow().post);
    }

    /// Users and shards are of one mind, and every question has its answer.
    pub(crate) fn agree(&mut self) {
        let limited = self.plan.limits.max_messages_per_second.is_some();
        for id in &self.alive {
            let user = &self.users[*id];
            if user.stage != Stage::Open || !user.is_able() {
                continue;
            }
            assert_eq!(user.room(), self.ledger.room_of(*id), "the room of {user:?}");
            let queue = match &user.view {
                View::Waiting(queue) => Some(self.ledger.mint.queue(queue)),
                View::Idle | View::InRoom(_) => None,
            };
            assert_eq!(queue, self.ledger.queue_of(*id), "the queue of {user:?}");
            assert!(user.is_answered(limited), "a question has no answer: {user:?}");
        }
        for (room, told) in &self.ledger.rooms {
            let Some(member) = told.members.first() else { continue };
            let peer = self.ledger.user_of(&member.peer);
            let missed = &self.users[peer];
            let knows = told.members.len() == 2;
            let able = missed.stage == Stage::Open && missed.is_able();
            assert!(knows || !able, "{peer} has not heard of {room}");
        }
    }

    /// Whoever waits in the same queue gets matched, but for an odd one.
    fn all_meet(&mut self) {
        // A second, so that nobody is over the rate.
        self.pass(Duration::from_secs(1));
        let queue = self.plan.queues[0];
        for at in 0..self.alive.len() {
            let user = &mut self.users[self.alive[at]];
            let waits = matches!(&user.view, View::Waiting(there) if there == queue);
            let stays = user.room().is_some() && self.shared.borrow_mut().random.chance(500);
            if user.stage == Stage::Open && user.is_able() && !waits && !stays {
                let shared = &mut *self.shared.borrow_mut();
                user.find(queue, &mut Scene { shared, ledger: &mut self.ledger });
            }
        }
        self.be_quiet();
        self.pass(self.plan.limits.rematch_delay + STEP);
        self.be_quiet();
        self.agree();
        let waits = |id: &&usize| {
            let user = &self.users[**id];
            user.is_able() && matches!(&user.view, View::Waiting(there) if there == queue)
        };
        let waiting: Vec<&usize> = self.alive.iter().filter(waits).collect();
        assert!(waiting.len() <= 1, "{waiting:?} wait for nobody but each other");
        let then = self.shared.borrow().now;
        self.pass(self.plan.limits.rematch_delay + SWEEPS);
        let remembering = self.ledger.remembering(then);
        assert!(remembering.is_empty(), "{remembering:?} do not forget");
    }

    fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_millis().div_ceil(STEP.as_millis()) {
            {
                let shared = &mut *self.shared.borrow_mut();
                shared.now = shared.now + STEP;
            }
            self.round();
        }
    }

    fn all_leave(&mut self) {
        let limits = &self.plan.limits;
        let (silence, handshake) = (limits.silence_limit, limits.handshake_timeout);
        let longest = silence.max(handshake).max(limits.drain_timeout) + limits.close_timeout;
        let sits = |world: &mut Self| world.shared.borrow_mut().random.chance(200);
        if self.plan.drains {
            // A second signal is the main thread's business; this one is heard by those who
            // were not told before.
            self.quiesce();
        } else {
            for at in 0..self.alive.len() {
                if sits(self) {
                    self.users[self.alive[at]].mute = true;
                    continue;
                }
                let habit = self.shared.borrow_mut().random.pick(&FAREWELLS);
                let user = &mut self.users[self.alive[at]];
                let shared = &mut *self.shared.borrow_mut();
                user.act(habit, &mut Scene { shared, ledger: &mut self.ledger });
            }
        }
        for user in &mut self.users {
            user.reads = true;
        }
        let mut passed = Duration::ZERO;
        while self.shards.iter().any(|shard| shard.core.connections() > 0) {
            assert!(passed <= longest + SWEEPS, "somebody stays: {:#?}", self.stayers());
            self.pass(STEP);
            passed += STEP;
            self.answer_ends();
        }
        self.be_quiet();
    }

    /// Users close their end when the server has closed its own, but for some.
    fn answer_ends(&mut self) {
        for at in 0..self.alive.len() {
            let user = &mut self.users[self.alive[at]];
            if matches!(user.stage, Stage::Closed(_)) {
                let shared = &mut *self.shared.borrow_mut();
                if shared.random.chance(500) {
                    user.act(Habit::HalfClose, &mut Scene { shared, ledger: &mut self.ledger });
                }
            }
        }
    }

    fn stayers(&self) -> Vec<&super::user::User> {
        let shared = self.shared.borrow();
        self.alive
            .iter()
            .filter(|id| !shared.links[**id].closed)
            .map(|id| &self.users[*id])
            .collect()
    }

    fn nothing_is_left(&mut self) {
        for (at, shard) in self.shards.iter().enumerate() {
            let figures = shard.counters.read();
            for (name, figure) in [
                ("connections", figures.connections),
                ("sessions", figures.sessions),
                ("waiting", figures.waiting),
                ("rooms", figures.rooms),
                ("unsent_bytes", figures.unsent_bytes),
                ("held_bytes", figures.held_bytes),
                ("migrations_in_flight", figures.migrations_in_flight),
            ] {
                assert_eq!(figure, 0, "{name} of shard {at}");
            }
            assert_eq!(figures.waiting_by_queue, [0, 0], "waiting by queue of shard {at}");
        }
        let shared = self.shared.borrow();
        assert_eq!(shared.closed, self.accepted, "connections that were closed");
        let open = shared.links.iter().filter(|link| link.is_open_somewhere()).count();
        assert_eq!(open, 0, "descriptors that are left");
        assert!(shared.post.is_empty(), "letters are left: {:?}", shared.post);
        assert_eq!(shared.post.unanswered(), 0, "letters without a reply");
        let settled = |count: fn(&super::world::Shard) -> u64| self.shards.iter().map(count).sum();
        let here: u64 = settled(|shard| shard.counters.migrations_in_settled.get());
        let away: u64 = settled(|shard| shard.counters.migrations_out_settled.get());
        assert_eq!(here, away, "moves that are settled");
        assert_eq!(self.matcher_counters.tickets_waiting.get(), 0, "tickets");
        assert_eq!(self.matcher_counters.queues.get(), 0, "queues");
    }

    /// Adds what the server has counted to what was seen.
    fn harvest(&mut self) {
        let shared = &mut *self.shared.borrow_mut();
        let mut all = ShardFigures::default();
        for shard in &self.shards {
            all.merge(&shard.counters.read());
        }
        assert_eq!(all.accepted, all.closed.total(), "ends by reason");
        for (what, times) in [
            ("server: matches", all.matches),
            ("server: matches failed", all.matches_failed),
            ("server: rehomed", all.migrated_in),
            ("server: relayed", all.messages_relayed),
            ("server: rate limited", all.messages_dropped),
        ] {
            shared.tally.add(what, times);
        }
        for (reason, times) in all.closed.named().chain(all.errors.named()) {
            shared.tally.add(reason, times);
        }
    }
}
