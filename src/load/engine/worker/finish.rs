//! How a run ends: when each user begins to finish, and how long the worker waits for the last.
//!
//! A request that was made before the end has as long to be answered as in the middle of the run:
//! otherwise a server that never answers would look like one that was not asked.

use super::Worker;
use crate::load::engine::connection::{ConnectionStage, UserConnection};
use crate::load::engine::http_client::HttpLoadClient;
use crate::load::measure::LoadFault;
use crate::load::user::UserActivity;
use crate::timestamp::Timestamp;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// After the end of the run, users have this many message timeouts to finish.
const FINISH_MESSAGE_TIMEOUTS: u32 = 3;
/// Holding users that begin to finish each second, over all threads and generators. Each one pings once more and
/// closes, which takes a shared CPU about 50 µs.
const FINISHES_PER_SECOND: u32 = 5_000;
/// A user that waits for a match is overdue `match_timeout` after the end of the run at the
/// latest; all such users have been counted this much later.
const OVERDUE_MARGIN: Duration = Duration::from_millis(500);
/// After a pause, the pace of finishing catches up by at most this much.
const MAX_FINISH_CATCH_UP: Duration = Duration::from_millis(500);

impl Worker {
    /// Ends the run when its time is over or the operator has stopped it.
    pub(super) fn finish_if_due(&mut self, now: Timestamp) {
        if self.finishing {
            return;
        }
        if self.is_stopped() {
            self.workload.ends = self.workload.ends.min(now);
        }
        if now >= self.workload.ends {
            self.record_users_not_started();
            self.finishing = true;
            for slot in self.slots() {
                let connection = &self.connections[slot];
                match connection.stage {
                    // Holding users finish at a fixed pace. All at once they would measure how
                    // fast the server answers all of them.
                    ConnectionStage::Open if connection.user.is_holding(&self.workload.rules) => {
                        self.holders_left.push(slot);
                    }
                    ConnectionStage::Open | ConnectionStage::Upgrading(_) => {
                        self.step_user(slot, now, |user, context| user.finish(context));
                    }
                    ConnectionStage::Abandoned => self.end_connection(slot),
                }
            }
            self.finish_clock = now;
            self.reap();
        }
    }

    /// Records the users that would have arrived before the end if the generator had not been late.
    fn record_users_not_started(&mut self) {
        let late_after = self.workload.rules.late_after;
        let mut count = 0;
        while self.arrivals.peek().is_some_and(|due| due + late_after < self.workload.ends) {
            self.arrivals.advance();
            count += 1;
        }
        if count > 0 {
            self.recorder.record_faults(LoadFault::NotStarted, count, self.workload.ends);
        }
    }

    /// Lets the next holding users finish, at a fixed pace.
    pub(super) fn finish_next_holders(&mut self, now: Timestamp) {
        if self.holders_left.is_empty() {
            return;
        }
        let gap = Duration::from_secs(1) * self.share.count() as u32 / FINISHES_PER_SECOND;
        // After a pause they do not all begin at once: each has its time to finish.
        self.finish_clock = self.finish_clock.max(now - MAX_FINISH_CATCH_UP);
        while self.finish_clock <= now
            && let Some(slot) = self.holders_left.pop()
        {
            self.finish_clock = self.finish_clock + gap;
            // Users no longer arrive, so that no other user can have taken the slot.
            if self.connections.contains(slot) {
                self.step_user(slot, now, |user, context| user.finish(context));
            }
        }
        self.reap();
    }

    /// Waits for users whose outcome is open: one that connects gets a session or fails, and one
    /// that waits is matched or overdue. When the operator has stopped the run, or no other user is
    /// left to be matched with, waiting users close and count as neither success nor failure.
    pub(super) fn settle_pending_users(&mut self, now: Timestamp) {
        if !self.finishing || self.gauges.connecting + self.gauges.waiting == 0 {
            return;
        }
        let stopped = self.is_stopped();
        let margin = self.workload.rules.match_timeout + OVERDUE_MARGIN;
        let all = stopped || now >= self.workload.ends + margin;
        if self.gauges.waiting > 0 && (all || self.shared.waiting.load(Ordering::Relaxed) <= 1) {
            self.stop_waiting(all, now);
        }
        if stopped {
            for slot in self.slots_with(UserActivity::Connecting) {
                self.end_connection(slot);
            }
        }
        if self.holders_left.is_empty() {
            // The time that users have to finish begins with the last open outcome.
            self.finish_clock = now;
        }
        self.reap();
    }

    /// Closes sessions that wait for a match; unless `all`, not those with a match that the server
    /// has already announced to the partner.
    fn stop_waiting(&mut self, all: bool, now: Timestamp) {
        for slot in self.slots_with(UserActivity::Waiting) {
            let session = self.connections[slot].user.session();
            let is_announced =
                self.shared.ledger.lock().is_ok_and(|l| l.is_announced_to_partner(session));
            if all || !is_announced {
                self.step_user(slot, now, |user, context| user.stop_waiting(context));
            }
        }
    }

    fn slots_with(&self, activity: UserActivity) -> Vec<usize> {
        let matches =
            |(_, connection): &(usize, &UserConnection)| connection.user.activity() == activity;
        self.connections.iter().filter(matches).map(|(slot, _)| slot).collect()
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    pub(super) fn slots(&self) -> Vec<usize> {
        self.connections.iter().map(|(slot, _)| slot).collect()
    }

    /// Whether all users have ended, or their time to finish is over.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        let patience = self.workload.rules.message_timeout * FINISH_MESSAGE_TIMEOUTS;
        let is_late = self.holders_left.is_empty() && now >= self.finish_clock + patience;
        // A request ends with its answer or its own timeout, unless the operator has stopped the
        // run.
        let http_is_over = self.http.as_ref().is_none_or(HttpLoadClient::is_idle);
        (self.connections.is_empty() || is_late) && (http_is_over || is_late && self.is_stopped())
    }
}
