//! How a run ends: who is told when, and how long the last of them are waited for.
//!
//! What was asked for before the end has as long to come as it would have had in the middle: a
//! server that never does it would else look like one that was not asked.

use super::Worker;
use crate::load::engine::connection::{ConnectionStage, UserConnection};
use crate::load::engine::http_client::HttpLoadClient;
use crate::load::user::UserActivity;
use crate::timestamp::Timestamp;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// After the end of the run, everybody has this many message timeouts to come to an end.
const TIMEOUTS_TO_FINISH: u32 = 3;
/// Holding users that are told of the end in a second, by all threads together. Each then pings once
/// more and closes, which takes a shared CPU some 50 µs.
const FINISHES_PER_SECOND: u32 = 5_000;
/// Whoever waits for a match is overdue by `match_timeout` after the end; this much later all have
/// been heard of it.
const OVERDUE_LATE: Duration = Duration::from_millis(500);
/// Whoever is told later than this is told at that pace all the same.
const TELLS_LATE: Duration = Duration::from_millis(500);

impl Worker {
    /// Ends the run when it is time, or when it is told to.
    pub(super) fn begin_or_finish(&mut self, now: Timestamp) {
        if self.finishing {
            return;
        }
        if self.is_stopped() {
            self.load.ends = self.load.ends.min(now);
        }
        if now >= self.load.ends {
            self.finishing = true;
            for slot in self.slots() {
                match self.connections[slot].stage {
                    // Holding users show that they are alive, in an order and at a pace that does
                    // not measure how fast the server answers all of them at once.
                    ConnectionStage::Open
                        if self.connections[slot].user.is_holding(&self.load.rules) =>
                    {
                        self.untold.push(slot);
                    }
                    ConnectionStage::Open | ConnectionStage::Upgrading(_) => {
                        self.with_user(slot, now, |user, turn| user.finish(turn));
                    }
                }
            }
            self.told_at = now;
            self.reap();
        }
    }

    /// Tells the next of those who hold that the run is over.
    pub(super) fn tell_the_end(&mut self, now: Timestamp) {
        if self.untold.is_empty() {
            return;
        }
        let pace = Duration::from_secs(1) * self.load.threads.max(1).into() / FINISHES_PER_SECOND;
        // After a pause they are not all told at once: each has its time to come to an end.
        self.told_at = self.told_at.max(now - TELLS_LATE);
        while self.told_at <= now
            && let Some(slot) = self.untold.pop()
        {
            self.told_at = self.told_at + pace;
            // Nobody arrives any more, so whoever is in the slot was there before.
            if self.connections.contains(slot) {
                self.with_user(slot, now, |user, turn| user.finish(turn));
            }
        }
        self.reap();
    }

    /// Waits for what is still to be decided: who connects comes in or fails, and who waits is
    /// matched or overdue. Where people have stopped the run, or nobody else is left to be met, it
    /// is neither success nor failure.
    pub(super) fn settle(&mut self, now: Timestamp) {
        if !self.finishing || self.gauges.connecting + self.gauges.waiting == 0 {
            return;
        }
        let stopped = self.is_stopped();
        let late = self.load.rules.match_timeout + OVERDUE_LATE;
        let all = stopped || now >= self.load.ends + late;
        if self.gauges.waiting > 0 && (all || self.shared.waiting.load(Ordering::Relaxed) <= 1) {
            self.end_waiting(all, now);
        }
        if stopped {
            for slot in self.slots_of(UserActivity::Greeting) {
                self.let_go(slot);
            }
        }
        if self.untold.is_empty() {
            // The time in which all come to an end begins with the last decision.
            self.told_at = now;
        }
        self.reap();
    }

    /// Those who wait go, but for one whom another one has been told to meet, unless it is `all`.
    fn end_waiting(&mut self, all: bool, now: Timestamp) {
        for slot in self.slots_of(UserActivity::Waiting) {
            let session = self.connections[slot].user.session();
            let is_promised = self.shared.book.lock().is_ok_and(|book| book.is_promised(session));
            if all || !is_promised {
                self.with_user(slot, now, |user, turn| user.stop_waiting(turn));
            }
        }
    }

    fn slots_of(&self, standing: UserActivity) -> Vec<usize> {
        let of =
            |(_, connection): &(usize, &UserConnection)| connection.user.standing() == standing;
        self.connections.iter().filter(of).map(|(slot, _)| slot).collect()
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    pub(super) fn slots(&self) -> Vec<usize> {
        self.connections.iter().map(|(slot, _)| slot).collect()
    }

    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        let patience = self.load.rules.message_timeout * TIMEOUTS_TO_FINISH;
        let is_late = self.untold.is_empty() && now >= self.told_at + patience;
        // A request ends with its answer or its own timeout, unless people have stopped the run.
        let web_is_over = self.http.as_ref().is_none_or(HttpLoadClient::is_idle);
        (self.connections.is_empty() || is_late) && (web_is_over || is_late && self.is_stopped())
    }
}
