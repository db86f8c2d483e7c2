//! How users leave otherwise than after a call in good order: they withdraw a match request, lose
//! patience, vanish without a Close frame, and come back. Pure.
//!
//! A user vanishes after the exchange of final messages, so that no message is lost with it.

use super::{User, UserContext, UserEvent, UserScript, UserState, Withdrawal};
use crate::load::measure::CountMetric;
use std::time::Duration;

/// How long the connection of a user that went silent stays open: longer than a server waits for a
/// sign of life by default (`--silence-limit`, 1 min), so that the server ends it.
pub const SILENT_TIME: Duration = Duration::from_secs(120);

/// How a user ends its session without a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vanishing {
    /// Its connection is reset.
    Reset,
    /// It reads and sends nothing more, and its connection stays open.
    Silent,
}

impl User {
    /// How the user has vanished, if it has.
    pub fn vanishing(&self) -> Option<Vanishing> {
        match self.state {
            UserState::Vanished(how) => Some(how),
            _ => None,
        }
    }

    /// Whether the match request that is about to be sent will be withdrawn. A request after a
    /// withdrawn one is not: users that only withdraw would never be matched.
    pub(super) fn plan_withdrawal(&mut self, context: &UserContext<'_>) -> Withdrawal {
        let share = context.rules.habits.cancel_share;
        let withdraws = !self.has_withdrawn && self.is_in_calls(context) && self.chance(share);
        self.has_withdrawn = false;
        if withdraws { Withdrawal::Planned } else { Withdrawal::No }
    }

    /// The server has confirmed that the match request is withdrawn: asks again.
    pub(super) fn on_withdrawn(&mut self, context: &mut UserContext<'_>) {
        context.recorder.count(CountMetric::Withdrawn);
        context.events.push(UserEvent::Withdrawn { session: self.session });
        if self.finishing {
            return self.close(context);
        }
        self.has_withdrawn = true;
        self.request_match(context.now, context);
    }

    /// The user has waited for as long as it wanted: leaves.
    pub(super) fn give_up(&mut self, context: &mut UserContext<'_>) {
        context.recorder.count(CountMetric::GaveUp);
        self.close(context);
    }

    /// How the user ends its session after a call, if not in good order.
    pub(super) fn plan_vanishing(&mut self, context: &UserContext<'_>) -> Option<Vanishing> {
        let habits = &context.rules.habits;
        let all = habits.reset_share + habits.silent_share;
        if !self.is_in_calls(context) || !self.chance(all) {
            return None;
        }
        let resets = self.chance(habits.reset_share / all);
        Some(if resets { Vanishing::Reset } else { Vanishing::Silent })
    }

    /// Ends the session without a Close frame. The room has ended for this user.
    pub(super) fn vanish(&mut self, how: Vanishing, context: &mut UserContext<'_>) {
        context.recorder.count(CountMetric::Vanished);
        self.report_early_messages(context);
        // The server may take its time to notice, and may keep the session for its return.
        let room = Some(self.last_room);
        context.events.push(UserEvent::Exempt { session: self.session, room });
        self.plan_return(context);
        self.state = UserState::Vanished(how);
    }

    /// Decides whether the user, which ends its session, comes back.
    pub(super) fn plan_return(&mut self, context: &mut UserContext<'_>) {
        let habits = &context.rules.habits;
        if !self.finishing && self.session != 0 && self.chance(habits.return_share) {
            context.events.push(UserEvent::Returns(context.now + habits.return_after));
        }
    }

    fn is_in_calls(&self, context: &UserContext<'_>) -> bool {
        matches!(context.rules.script_for(self.in_sample), UserScript::Calls(_))
    }

    /// True with this probability. At 0 it draws no number, so that the other random choices of a
    /// seed stay the same.
    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.next_fraction() < share
    }
}
