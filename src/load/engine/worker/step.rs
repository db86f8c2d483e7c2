//! Steps of users: their timers, their output, and what follows for gauges and ledger.

use super::Worker;
use crate::load::engine::connection::{ConnectionStage, UserConnection};
use crate::load::measure::{CountMetric, LoadFault, Recorder, TimeMetric};
use crate::load::user::{
    NEVER, SILENT_TIME, User, UserActivity, UserContext, UserEvent, UserRules,
};
use crate::timestamp::Timestamp;
use std::cmp::Reverse;
use std::sync::atomic::Ordering;

impl Worker {
    /// Wakes the connections whose timers have expired.
    pub(super) fn run_timers(&mut self, now: Timestamp) {
        loop {
            // The thread may be paused between two timers.
            let clock = self.now();
            if self.pause_detector.is_catching_up(clock) {
                break;
            }
            let Some((slot, serial)) = self.timers.pop(now) else { break };
            let slot = slot as usize;
            // A connection that has ended may have timers left, as may an earlier one in the slot.
            let is_current =
                |connection: &&mut UserConnection| connection.serial == serial && !connection.ended;
            let Some(connection) = self.connections.get_mut(slot).filter(is_current) else {
                continue;
            };
            connection.wake_at = NEVER;
            match connection.stage {
                ConnectionStage::Upgrading(_) => {
                    let deadline = connection.intended + self.workload.connect_timeout;
                    match now >= deadline {
                        true => self.fail_connect(slot, LoadFault::ConnectTimeout, now),
                        false => self.schedule_wakeup(slot, deadline),
                    }
                }
                ConnectionStage::Open if connection.user.activity() == UserActivity::Connecting => {
                    self.fail_connect(slot, LoadFault::ConnectTimeout, now);
                }
                // The server has not answered the Close frame.
                ConnectionStage::Open if connection.user.close_has_timed_out(now) => {
                    self.recorder.record_fault(LoadFault::ConnectionLost, now);
                    self.end_connection(slot);
                }
                ConnectionStage::Abandoned => {
                    let deadline = connection.intended + SILENT_TIME;
                    match now >= deadline {
                        true => self.end_connection(slot),
                        false => self.schedule_wakeup(slot, deadline),
                    }
                }
                ConnectionStage::Open => {
                    self.step_user_at(slot, clock, |user, context| user.wake(context));
                }
            }
        }
        self.reap();
    }

    /// Lets a user take a step, then sends its output and schedules its next wake-up.
    pub(super) fn step_user(
        &mut self,
        slot: usize,
        now: Timestamp,
        step: impl FnOnce(&mut User, &mut UserContext<'_>),
    ) {
        self.step_user_at(slot, now.max(self.now()), step);
    }

    /// Like [`Worker::step_user`], for a caller that has just read the clock.
    fn step_user_at(
        &mut self,
        slot: usize,
        now: Timestamp,
        step: impl FnOnce(&mut User, &mut UserContext<'_>),
    ) {
        let connection = &mut self.connections[slot];
        let mut context = UserContext {
            now,
            catching_up: self.pause_detector.is_catching_up(now),
            rules: &self.workload.rules,
            out: &mut self.out,
            recorder: &mut self.recorder,
            encoder: &mut self.encoder,
            decoder: &self.decoder,
            events: &mut self.events,
        };
        step(&mut connection.user, &mut context);
        self.after_step(slot, now);
    }

    pub(super) fn after_step(&mut self, slot: usize, now: Timestamp) {
        let wakeup = self.connections[slot].user.next_wakeup(&self.workload.rules);
        let has_vanished = self.update_gauges(slot) == Some(UserActivity::Vanished);
        if !self.events.is_empty() {
            self.report_events(slot, now);
        }
        self.send_out(slot, now);
        if has_vanished {
            self.abandon(slot, now);
        } else if wakeup != NEVER {
            self.schedule_wakeup(slot, wakeup);
        }
    }

    /// Sends the contents of `out` on a connection.
    pub(super) fn send_out(&mut self, slot: usize, now: Timestamp) {
        if self.out.is_empty() {
            return;
        }
        self.stall_detector.record_request(now);
        match self.connections[slot].send(&self.out) {
            Ok(sent) => self.recorder.add(CountMetric::BytesOut, sent),
            Err(fault) => self.disconnect(slot, fault, now),
        }
        self.out.clear();
    }

    /// Schedules a wake-up, unless an earlier one is scheduled already.
    pub(super) fn schedule_wakeup(&mut self, slot: usize, at: Timestamp) {
        let connection = &mut self.connections[slot];
        if at < connection.wake_at {
            connection.wake_at = at;
            self.timers.push(at, slot as u32, connection.serial);
        }
    }

    /// Counts the user under its present activity. Returns the activity if it has changed.
    fn update_gauges(&mut self, slot: usize) -> Option<UserActivity> {
        let connection = &mut self.connections[slot];
        let activity = Some(connection.user.activity());
        if connection.counted_as == activity {
            return None;
        }
        let before = std::mem::replace(&mut connection.counted_as, activity);
        self.uncount_user(before);
        self.gauges.increment(activity);
        if activity == Some(UserActivity::Waiting) {
            self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        }
        activity
    }

    /// Removes a user with this activity from the gauges.
    pub(super) fn uncount_user(&mut self, activity: Option<UserActivity>) {
        self.gauges.decrement(activity);
        if activity == Some(UserActivity::Waiting) {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Records the events of a user's step in the pairing ledger.
    pub(super) fn report_events(&mut self, slot: usize, now: Timestamp) {
        let Ok(mut ledger) = self.shared.ledger.lock() else { return };
        for event in self.events.drain(..) {
            match event {
                UserEvent::SessionOpened(session) => {
                    ledger.open_session(session);
                    let UserConnection { intended, started, .. } = self.connections[slot];
                    self.recorder.record_time(TimeMetric::Connect, now.since(intended));
                    self.recorder.record_time(TimeMetric::ConnectService, now.since(started));
                }
                UserEvent::Matched(notice) => {
                    for fault in ledger.record_match(notice, now) {
                        self.recorder.record_fault(fault, now);
                    }
                }
                UserEvent::RoomEnded { session, room, missing, traffic } => {
                    let end = ledger.record_leave(session, room, traffic, now);
                    self.recorder.add(CountMetric::UnderWay, end.under_way);
                    if !end.has_known_fault && missing > 0 {
                        record_lost(&mut self.recorder, &self.workload.rules, missing.into(), now);
                    }
                }
                UserEvent::StrayMessage { room, fault } => {
                    if !ledger.has_known_fault(room) {
                        self.recorder.record_fault(fault, now);
                    }
                }
                UserEvent::Exempt { session, room } => ledger.exempt(session, room),
                UserEvent::Served { asked, queue } => ledger.record_served(asked, queue),
                UserEvent::Withdrawn { session } => ledger.record_withdrawn(session),
                UserEvent::Returns(at) => self.returns.push(Reverse(at)),
                UserEvent::WaitEnded { session, intended, asked } => {
                    if ledger.is_unmatched(session) {
                        let timeout = self.workload.rules.match_timeout;
                        let times = [
                            (TimeMetric::Match, now.since(intended)),
                            (TimeMetric::MatchService, now.since(asked)),
                        ];
                        for (metric, waited) in times {
                            self.recorder.record_time(metric, waited.max(timeout));
                        }
                    }
                }
                UserEvent::Overdue { session, asked, queue } => {
                    let many = ledger.record_overdue(session, asked, queue);
                    if many > 0 {
                        self.recorder.record_faults(LoadFault::NeverMatched, many, now);
                        self.recorder.add(CountMetric::Unmatched, many);
                    }
                }
            }
        }
    }
}

/// Records messages that never arrived. Each took at least the time that a message has to arrive;
/// without that the percentiles would be those of the messages that arrived.
fn record_lost(recorder: &mut Recorder, rules: &UserRules, many: u64, now: Timestamp) {
    recorder.record_faults(LoadFault::Lost, many, now);
    if now >= rules.measure_from {
        for metric in [TimeMetric::Relay, TimeMetric::RelayService] {
            recorder.record_times(metric, rules.message_timeout, many);
        }
    }
}
