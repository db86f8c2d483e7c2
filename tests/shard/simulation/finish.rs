//! The end of a run: faults stop, all messages are delivered, waiting users are matched, all users
//! leave, and all resources must be released.

use super::plan::UserAction;
use super::simulator::{ENDING_ACTIONS, Simulator};
use super::user::{Stage, UserContext, View};
use std::collections::HashSet;
use std::time::Duration;
use switchboard::limits::RESPONSE_CLOSE_TIMEOUTS;
use switchboard::telemetry::counters::ShardFigures;

/// Rounds after which everything in flight must have arrived.
const ROUNDS: usize = 300;
/// Step of the time, shorter than a pause that a shard takes for a stop of the process.
const STEP: Duration = Duration::from_millis(100);
/// The longest delay until a sweep notices something.
const SWEEPS: Duration = Duration::from_secs(3);

impl Simulator {
    /// Ends the run and checks the final state.
    pub(crate) fn finish(&mut self) {
        self.stop_faults();
        self.run_until_idle();
        self.check_agreement();
        if !self.plan.drains {
            self.match_all();
        }
        self.end_all();
        self.check_nothing_left();
        self.collect_counts();
    }

    pub(crate) fn stop_faults(&mut self) {
        let shared = &mut *self.shared.borrow_mut();
        shared.faults_stopped = true;
        shared.trace.log(|| "faults stop".to_owned());
        for user in &mut self.users {
            user.reads = true;
        }
        for connection in &mut shared.connections {
            connection.packets_lost = false;
        }
    }

    /// Runs each part once.
    fn round(&mut self) {
        {
            let shared = &mut *self.shared.borrow_mut();
            shared.trace.next_step(shared.now);
        }
        for at in 0..self.alive.len() {
            self.deliver_to_server(self.alive[at], usize::MAX);
        }
        for shard in 0..self.shards.len() {
            for _ in 0..3 {
                self.phase(shard);
            }
        }
        self.matcher(usize::MAX);
        for at in 0..self.alive.len() {
            self.deliver_to_client(self.alive[at], usize::MAX);
        }
    }

    /// Whether nothing is in flight.
    fn is_idle(&self) -> bool {
        let shared = self.shared.borrow();
        let check_sizes =
            |id: &usize| shared.connections[*id].is_idle() || self.users[*id].stage == Stage::Over;
        let shards = self.shards.iter().all(|s| !s.core.has_work() && s.backlog.is_empty());
        let events = shared.raised.iter().all(Vec::is_empty);
        let commands = shared.mailboxes.is_empty() && shared.mailboxes.unanswered() == 0;
        shards && events && commands && self.alive.iter().all(check_sizes)
    }

    pub(crate) fn run_until_idle(&mut self) {
        for _ in 0..ROUNDS {
            self.round();
            if self.is_idle() {
                // The last round may have delivered the last message; run one more.
                self.round();
                if self.is_idle() {
                    return;
                }
            }
        }
        panic!("the run does not become idle: {:#?}", self.shared.borrow().mailboxes);
    }

    /// Checks that users and shards agree, and that every request was answered.
    pub(crate) fn check_agreement(&mut self) {
        let limited = self.plan.limits.max_messages_per_second.is_some();
        for id in &self.alive {
            let user = &self.users[*id];
            if user.stage != Stage::Open || !user.can_send() {
                continue;
            }
            assert_eq!(user.room(), self.session_model.room_of(*id), "the room of {user:?}");
            let queue = match &user.view {
                View::Waiting(queue) => Some(self.session_model.mint.queue(queue)),
                View::Idle | View::InRoom(_) => None,
            };
            assert_eq!(queue, self.session_model.queue_of(*id), "the queue of {user:?}");
            assert!(user.is_answered(limited), "a request has no answer: {user:?}");
        }
        for (room, model) in &self.session_model.rooms {
            let Some(member) = model.members.first() else { continue };
            let peer = self.session_model.user_of(&member.peer);
            let missed = &self.users[peer];
            let was_announced = model.members.len() == 2;
            let able = missed.stage == Stage::Open && missed.can_send();
            assert!(was_announced || !able, "{peer} got no match_found for {room}");
        }
    }

    /// Checks that all users who wait in one queue are matched, except at most one.
    fn match_all(&mut self) {
        // Wait for a second, so that no user exceeds the message rate.
        self.pass(Duration::from_secs(1));
        let queue = self.plan.queues[0];
        for at in 0..self.alive.len() {
            let user = &mut self.users[self.alive[at]];
            let waits = matches!(&user.view, View::Waiting(there) if there == queue);
            let stays = user.room().is_some() && self.shared.borrow_mut().random.chance(500);
            if user.stage == Stage::Open && user.can_send() && !waits && !stays {
                let shared = &mut *self.shared.borrow_mut();
                user.find(
                    queue,
                    &mut UserContext { shared, session_model: &mut self.session_model },
                );
            }
        }
        self.run_until_idle();
        self.pass(self.plan.limits.rematch_delay + STEP);
        self.all_send();
        self.run_until_idle();
        self.check_agreement();
        let waits = |id: &&usize| {
            let user = &self.users[**id];
            user.can_send() && matches!(&user.view, View::Waiting(there) if there == queue)
        };
        let waiting: Vec<&usize> = self.alive.iter().filter(waits).collect();
        assert!(waiting.len() <= 1, "{waiting:?} wait although they could be matched");
    }

    /// Every user sends a pong, so that no session is withheld from matching as silent.
    fn all_send(&mut self) {
        for at in 0..self.alive.len() {
            let shared = &mut *self.shared.borrow_mut();
            let context = &mut UserContext { shared, session_model: &mut self.session_model };
            let user = &mut self.users[self.alive[at]];
            if user.stage == Stage::Open {
                user.pong(b"alive", context);
            }
        }
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

    fn end_all(&mut self) {
        let limits = &self.plan.limits;
        let (silence, handshake) = (limits.silence_limit, limits.handshake_timeout);
        // A silent client that takes what it was sent begins the silence limit again.
        let longest =
            (2 * silence).max(handshake).max(limits.idle_timeout).max(limits.drain_timeout)
                + limits.close_timeout * RESPONSE_CLOSE_TIMEOUTS;
        let stays_silent = |simulator: &mut Self| simulator.shared.borrow_mut().random.chance(200);
        if self.plan.drains {
            // Shards that are already draining ignore this.
            self.start_drain();
        } else {
            for at in 0..self.alive.len() {
                if stays_silent(self) {
                    self.users[self.alive[at]].mute = true;
                    continue;
                }
                let action = self.shared.borrow_mut().random.pick(&ENDING_ACTIONS);
                let user = &mut self.users[self.alive[at]];
                let shared = &mut *self.shared.borrow_mut();
                user.act(
                    action,
                    &mut UserContext { shared, session_model: &mut self.session_model },
                );
            }
        }
        for user in &mut self.users {
            user.reads = true;
        }
        let mut passed = Duration::ZERO;
        while self.shards.iter().any(|shard| shard.core.connections() > 0) {
            assert!(
                passed <= longest + SWEEPS,
                "connections remain: {:#?}",
                self.remaining_users()
            );
            self.pass(STEP);
            passed += STEP;
            self.close_after_server();
        }
        self.run_until_idle();
    }

    /// Most users close their end after the server has closed its own.
    fn close_after_server(&mut self) {
        for at in 0..self.alive.len() {
            let user = &mut self.users[self.alive[at]];
            if matches!(user.stage, Stage::Closed(_)) {
                let shared = &mut *self.shared.borrow_mut();
                if shared.random.chance(500) {
                    user.act(
                        UserAction::HalfClose,
                        &mut UserContext { shared, session_model: &mut self.session_model },
                    );
                }
            }
        }
    }

    fn remaining_users(&self) -> Vec<&super::user::User> {
        let shared = self.shared.borrow();
        self.alive
            .iter()
            .filter(|id| !shared.connections[**id].closed)
            .map(|id| &self.users[*id])
            .collect()
    }

    fn check_nothing_left(&mut self) {
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
        self.check_logged_ends();
        let shared = self.shared.borrow();
        assert_eq!(shared.closed, self.accepted, "connections that were closed");
        let open =
            shared.connections.iter().filter(|connection| connection.is_open_somewhere()).count();
        assert_eq!(open, 0, "open descriptors");
        assert!(shared.mailboxes.is_empty(), "commands remain: {:?}", shared.mailboxes);
        assert_eq!(shared.mailboxes.unanswered(), 0, "commands without a reply");
        let settled =
            |count: fn(&super::shard_iteration::Shard) -> u64| self.shards.iter().map(count).sum();
        let here: u64 = settled(|shard| shard.counters.migrations_in_settled.get());
        let away: u64 = settled(|shard| shard.counters.migrations_out_settled.get());
        assert_eq!(here, away, "settled migrations");
        assert_eq!(self.matcher_counters.tickets_waiting.get(), 0, "tickets");
        assert_eq!(self.matcher_counters.queues.get(), 0, "queues");
    }

    /// Checks that the end of each session was logged once, on the shard that had it last.
    fn check_logged_ends(&self) {
        let opened: u64 = self.shards.iter().map(|s| s.counters.sessions_opened.get()).sum();
        let ends = self.shards.iter().flat_map(|shard| &shard.core.host.services.session_ends);
        let sessions: HashSet<String> =
            ends.clone().map(|end| end.session.as_str().to_owned()).collect();
        assert_eq!(ends.count() as u64, opened, "logged ends of sessions");
        assert_eq!(sessions.len() as u64, opened, "sessions whose end was logged");
    }

    /// Adds the server's counters to the event counts.
    fn collect_counts(&mut self) {
        let shared = &mut *self.shared.borrow_mut();
        let mut all = ShardFigures::default();
        for shard in &self.shards {
            all.merge(&shard.counters.read());
        }
        assert_eq!(all.accepted, all.closed.total(), "ends by reason");
        for (what, times) in [
            ("server: matches", all.matches),
            ("server: matches failed", all.matches_failed),
            ("server: sessions migrated", all.migrated_in),
            ("server: match requests withheld", all.match_requests_withheld),
            ("server: probes", all.probes_sent),
            ("server: relayed", all.messages_relayed),
            ("server: rate limited", all.messages_dropped),
        ] {
            shared.counts.add(what, times);
        }
        for (reason, times) in all.closed.named().chain(all.errors.named()) {
            shared.counts.add(reason, times);
        }
    }
}
