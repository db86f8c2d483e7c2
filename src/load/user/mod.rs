//! One virtual user: consumes what the server sends, and produces what the user sends. Pure.
//!
//! The thread that drives the user's connection owns it. It has no socket and no clock: the driver
//! (or a simulator) passes messages and the time, and sends the frames that the user appends to
//! [`UserContext::out`].
//!
//! A call ends with an exchange of final messages, so that no message is in flight when it ends:
//! the initiator marks its last message as final, the other side replies with its own final
//! message, and only then does the initiator leave. A message that is missing by then is lost, not
//! late.

mod call;
mod context;
mod departure;
mod incoming;
mod relayed;
mod script;

pub use context::{UserActivity, UserContext, UserEvent};
pub use departure::{SILENT_TIME, Vanishing};
pub use script::{CallPlan, NEVER, UserHabits, UserRules, UserScript, WeightedQueue};

use super::measure::{CountMetric, LoadFault, TimeMetric};
use super::message_header::MessageHeader;
use super::rng::Rng;
use super::room_traffic::RoomExit;
use crate::timestamp::Timestamp;
use crate::wire::message::RelayKind;
use crate::wire::message::client::{write_find_match, write_leave_room};
use crate::wire::websocket::frame::{CLOSE, push_client_frame};
use call::ActiveCall;
use std::time::Duration;

/// How long missing messages may still arrive after the partner's final message.
const STRAGGLER_TIMEOUT: Duration = Duration::from_secs(1);
/// Limit of messages sent in one wake-up, so that one late user does not delay the others.
const SENDS_PER_WAKEUP: u32 = 64;
/// Status code of a Close frame that ends a session as planned (RFC 6455 §7.4.1).
const CLOSE_NORMAL: [u8; 2] = 1000u16.to_be_bytes();

#[derive(Debug)]
enum UserState {
    AwaitingSession,
    Idle,
    Waiting {
        /// When the user should have asked.
        since: Timestamp,
        asked: Timestamp,
        overdue_at: Timestamp,
        /// When the user loses patience and leaves; [`NEVER`] if it does not.
        patience_ends: Timestamp,
        /// The server has answered `waiting`: it sends nothing more of an earlier room.
        acknowledged: bool,
        withdrawal: Withdrawal,
    },
    InRoom(Box<ActiveCall>),
    /// `leave_room` is sent and not yet answered.
    Leaving {
        give_up_at: Timestamp,
    },
    Closing {
        give_up_at: Timestamp,
    },
    Vanished(Vanishing),
}

/// Whether a user withdraws its match request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Withdrawal {
    No,
    /// As soon as the server has confirmed the request.
    Planned,
    /// `cancel_match` is sent and not yet answered.
    Sent,
}

/// One virtual user.
#[derive(Debug)]
pub struct User {
    state: UserState,
    rng: Rng,
    /// Hash of the session; 0 before it begins.
    session: u64,
    /// Hash of the room that the user was in last.
    last_room: u64,
    /// The server has confirmed the end of the last room and must send nothing more of it.
    last_room_ended: bool,
    /// Hash of a room from which messages arrived while the user waited, and their number. If
    /// `match_found` for that room does not follow, they were misrouted.
    early_messages: (u64, u32),
    /// The server has reported that it drops messages over its rate limit. It reports this at most
    /// once a second and may drop further messages silently.
    rate_limited: bool,
    /// The server has announced that it is shutting down.
    server_draining: bool,
    /// Number of the next round, for [`UserScript::Rounds`].
    round: u32,
    /// When to send the next ping, or the deadline of the pong while a ping is unanswered.
    ping_at: Timestamp,
    /// Planned time of the ping that is not yet answered.
    unanswered_ping: Option<Timestamp>,
    /// The run is over.
    finishing: bool,
    /// Whether the user follows [`UserRules::sample_script`].
    in_sample: bool,
    /// Number of its queue in [`UserRules::queues`].
    queue: u16,
    /// The last match request was withdrawn; the next one is not.
    has_withdrawn: bool,
    /// `cancel_match` has crossed `match_found`, and the server refuses it.
    withdrawal_crossed: bool,
}

impl User {
    /// Creates user `number`, which asks for matches in queue number `queue`. Its connection has not
    /// been upgraded to a session yet.
    pub fn new(seed: u64, number: u64, in_sample: bool, queue: u16) -> Self {
        User {
            state: UserState::AwaitingSession,
            rng: Rng::new(seed, number),
            session: 0,
            last_room: 0,
            last_room_ended: false,
            early_messages: (0, 0),
            rate_limited: false,
            server_draining: false,
            round: 0,
            ping_at: NEVER,
            unanswered_ping: None,
            finishing: false,
            in_sample,
            queue,
            has_withdrawn: false,
            withdrawal_crossed: false,
        }
    }

    /// What the user is doing.
    pub fn activity(&self) -> UserActivity {
        match self.state {
            UserState::AwaitingSession => UserActivity::Connecting,
            UserState::Idle | UserState::Leaving { .. } => UserActivity::Idle,
            UserState::Waiting { .. } => UserActivity::Waiting,
            UserState::InRoom(_) => UserActivity::InRoom,
            UserState::Closing { .. } => UserActivity::Closing,
            UserState::Vanished(_) => UserActivity::Vanished,
        }
    }

    /// Hash of its session; 0 before it begins.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// When [`User::wake`] must be called next, unless a message changes it before.
    pub fn next_wakeup(&self, rules: &UserRules) -> Timestamp {
        match &self.state {
            UserState::AwaitingSession | UserState::Vanished(_) => NEVER,
            UserState::Idle => match rules.script_for(self.in_sample) {
                UserScript::Hold { .. } => self.ping_at,
                UserScript::Rounds { .. } => {
                    rules.script_for(self.in_sample).round_start(self.round)
                }
                UserScript::Calls(_) => NEVER,
            },
            UserState::Waiting { overdue_at, patience_ends, .. } => *overdue_at.min(patience_ends),
            UserState::InRoom(call) => match call.final_sent_at {
                Some(_) => call.leave_at,
                None => call.next_send.min(call.ends_at).min(call.leave_at),
            },
            UserState::Leaving { give_up_at } | UserState::Closing { give_up_at } => *give_up_at,
        }
    }

    /// Whether the server has not answered the Close frame in time, so that the driver must drop
    /// the connection.
    pub fn close_has_timed_out(&self, now: Timestamp) -> bool {
        matches!(self.state, UserState::Closing { give_up_at } if give_up_at <= now)
    }

    /// Does what is due, if anything is.
    pub fn wake(&mut self, context: &mut UserContext<'_>) {
        if context.now < self.next_wakeup(context.rules) {
            return;
        }
        match &mut self.state {
            UserState::AwaitingSession | UserState::Closing { .. } | UserState::Vanished(_) => {}
            UserState::Idle => match context.rules.script_for(self.in_sample) {
                UserScript::Hold { .. } => self.ping(context),
                UserScript::Rounds { .. } => {
                    let script = context.rules.script_for(self.in_sample);
                    let intended = script.round_start(self.round);
                    self.round += 1;
                    record_start(intended, context);
                    self.request_match(intended, context);
                }
                UserScript::Calls(_) => {}
            },
            UserState::Waiting { patience_ends, .. } if *patience_ends <= context.now => {
                self.give_up(context);
            }
            UserState::Waiting { overdue_at, since, .. } => {
                *overdue_at = context.now + context.rules.match_timeout;
                let (session, asked) = (self.session, *since);
                let queue = self.queue;
                context.events.push(UserEvent::Overdue { session, asked, queue });
            }
            UserState::InRoom(_) => self.wake_in_room(context),
            UserState::Leaving { .. } => {
                context.recorder.record_fault(LoadFault::AnswerTimeout, context.now);
                self.close(context);
            }
        }
    }

    /// Sends a ping, and records a fault if the last one was not answered.
    fn ping(&mut self, context: &mut UserContext<'_>) {
        if let Some(pinged) = self.unanswered_ping.take() {
            context.recorder.record_fault(LoadFault::PingTimeout, context.now);
            // A ping without an answer took at least the timeout.
            self.record_ping(pinged, context);
            if self.finishing {
                return self.close(context);
            }
        }
        record_start(self.ping_at, context);
        context.recorder.count(CountMetric::Pings);
        context
            .encoder
            .encode_text(context.out, |text| text.extend_from_slice(b"{\"type\":\"ping\"}"));
        self.unanswered_ping = Some(self.ping_at);
        self.ping_at = context.now + context.rules.message_timeout;
    }

    /// Records the time since a ping that should have been sent at `pinged`.
    fn record_ping(&self, pinged: Timestamp, context: &mut UserContext<'_>) {
        // `ping_at` is the end of the time that the pong has.
        let sent = self.ping_at - context.rules.message_timeout;
        context.recorder.record_time(TimeMetric::Ping, context.now.since(pinged));
        context.recorder.record_time(TimeMetric::PingService, context.now.since(sent));
    }

    fn wake_in_room(&mut self, context: &mut UserContext<'_>) {
        if let UserScript::Calls(plan) = context.rules.script_for(self.in_sample) {
            for _ in 0..SENDS_PER_WAKEUP {
                let UserState::InRoom(call) = &mut self.state else { return };
                let Some((kind, intended)) = call.take_due(plan, context.now) else { break };
                record_start(intended, context);
                send_message(call, self.session, kind, intended, false, context);
            }
        }
        let UserState::InRoom(call) = &mut self.state else { return };
        if context.now >= call.ends_at && call.final_sent_at.is_none() {
            if let UserScript::Calls(_) = context.rules.script_for(self.in_sample) {
                let intended = call.ends_at.max(call.next_send.min(context.now));
                send_message(call, self.session, RelayKind::Signal, intended, true, context);
                call.leave_at = context.now + context.rules.message_timeout;
            } else {
                return self.leave_room(context);
            }
        }
        if context.now >= call.leave_at {
            self.leave_room(context);
        }
    }

    fn request_match(&mut self, intended: Timestamp, context: &mut UserContext<'_>) {
        context.recorder.count(CountMetric::Asked);
        let queue = &context.rules.queues[usize::from(self.queue)].name;
        context.encoder.encode_text(context.out, |text| write_find_match(text, Some(queue)));
        let patience = context.rules.habits.patience;
        self.state = UserState::Waiting {
            since: intended,
            asked: context.now,
            overdue_at: context.now + context.rules.match_timeout,
            patience_ends: patience.map_or(NEVER, |patience| context.now + patience),
            acknowledged: false,
            withdrawal: self.plan_withdrawal(context),
        };
    }

    /// Leaves the room: asks for the next match, or sends `leave_room`.
    fn leave_room(&mut self, context: &mut UserContext<'_>) {
        let UserState::InRoom(call) = &self.state else { return };
        // If this side's final message was lost, the partner counts it: only the partner knows.
        let missing = call.received.missing();
        context.recorder.count(CountMetric::CallsCompleted);
        self.end_room(missing, RoomExit::Left, context);
        if self.finishing {
            return self.close(context);
        }
        if let Some(how) = self.plan_vanishing(context) {
            return self.vanish(how, context);
        }
        match context.rules.script_for(self.in_sample) {
            UserScript::Calls(plan) if self.rng.next_fraction() < plan.next_share => {
                self.request_match(context.now, context);
            }
            UserScript::Calls(_) | UserScript::Hold { .. } | UserScript::Rounds { .. } => {
                context.encoder.encode_text(context.out, write_leave_room);
                let give_up_at = context.now + context.rules.message_timeout;
                self.state = UserState::Leaving { give_up_at };
            }
        }
    }

    /// Ends the room; the state is `Idle` until the caller sets another one.
    fn end_room(&mut self, missing: u32, exit: RoomExit, context: &mut UserContext<'_>) {
        let UserState::InRoom(call) = std::mem::replace(&mut self.state, UserState::Idle) else {
            return;
        };
        (self.last_room, self.last_room_ended) = (call.room, false);
        let missing = if call.gaps_expected { 0 } else { missing };
        context.events.push(UserEvent::RoomEnded {
            session: self.session,
            room: call.room,
            missing,
            traffic: call.traffic(exit, context.now, context.rules.message_timeout),
        });
        if self.rate_limited || self.server_draining {
            self.report_exempt(context);
        }
    }

    /// Reports that the server may not answer the last leave or the present match request.
    fn report_exempt(&self, context: &mut UserContext<'_>) {
        let room = (!self.last_room_ended).then_some(self.last_room);
        context.events.push(UserEvent::Exempt { session: self.session, room });
    }

    /// Continues after a room has ended: the next match, the next round, or the end.
    fn continue_after_room(&mut self, context: &mut UserContext<'_>) {
        let leaving = matches!(self.state, UserState::Leaving { .. });
        self.state = UserState::Idle;
        match context.rules.script_for(self.in_sample) {
            _ if self.finishing => self.close(context),
            UserScript::Calls(plan) if !leaving && self.rng.next_fraction() < plan.next_share => {
                self.request_match(context.now, context);
            }
            UserScript::Calls(_) => self.close(context),
            UserScript::Hold { .. } | UserScript::Rounds { .. } => self.wake(context),
        }
    }

    /// Whether the user only keeps its session open.
    pub fn is_holding(&self, rules: &UserRules) -> bool {
        matches!(self.state, UserState::Idle)
            && matches!(rules.script_for(self.in_sample), UserScript::Hold { .. })
    }

    /// The run is over: ends the user's activity in good order.
    pub fn finish(&mut self, context: &mut UserContext<'_>) {
        self.finishing = true;
        let holds = self.is_holding(context.rules);
        match &mut self.state {
            UserState::Idle if holds => {
                // A last ping shows that the session has lived until the end.
                if self.unanswered_ping.is_none() {
                    self.ping_at = context.now;
                    self.wake(context);
                }
            }
            UserState::InRoom(call) => {
                let patience = context.rules.message_timeout;
                call.ends_at = if call.initiator { context.now } else { NEVER };
                call.leave_at = call.leave_at.min(context.now + patience * 2);
                self.wake(context);
            }
            UserState::Idle => self.close(context),
            // The session or match that the user has asked for may still arrive.
            UserState::AwaitingSession | UserState::Waiting { .. } => {}
            UserState::Leaving { .. } | UserState::Closing { .. } | UserState::Vanished(_) => {}
        }
    }

    /// The run is over and no match can be expected any more: closes a session that waits.
    pub fn stop_waiting(&mut self, context: &mut UserContext<'_>) {
        if let UserState::Waiting { .. } = self.state {
            self.close(context);
        }
    }

    /// Reports the end of a wait that did not lead to a match.
    fn end_wait(&self, context: &mut UserContext<'_>) {
        if let UserState::Waiting { since: intended, asked, .. } = self.state {
            context.events.push(UserEvent::WaitEnded { session: self.session, intended, asked });
        }
    }

    fn close(&mut self, context: &mut UserContext<'_>) {
        self.end_wait(context);
        self.report_early_messages(context);
        if self.in_sample && self.finishing && self.session != 0 {
            // A user that holds its session counts as alive by its last pong; a user of the sample
            // by the end of its call.
            context.recorder.count(CountMetric::Alive);
        }
        self.plan_return(context);
        let mask = context.encoder.next_mask();
        push_client_frame(context.out, CLOSE, &CLOSE_NORMAL, mask);
        self.state = UserState::Closing { give_up_at: context.now + context.rules.message_timeout };
    }

    /// The connection has ended, with a Close frame of the server (`closed_by_server`) or without.
    /// Returns whether the user had ended its session before.
    pub fn on_disconnect(&mut self, closed_by_server: bool, context: &mut UserContext<'_>) -> bool {
        self.end_wait(context);
        self.report_early_messages(context);
        let is_planned = matches!(self.state, UserState::Closing { .. });
        if let UserState::InRoom(_) = self.state {
            context.recorder.count(CountMetric::CallsInterrupted);
            self.end_room(0, RoomExit::Disconnected, context);
        }
        if !is_planned && !closed_by_server {
            // The server may keep the session for its return, or not have noticed the loss yet.
            self.report_exempt(context);
        }
        if is_planned {
            context.recorder.count(CountMetric::ClosedAsPlanned);
        }
        self.state = UserState::Closing { give_up_at: context.now };
        is_planned
    }
}

/// Counts a scheduled start and records how late it is.
fn record_start(intended: Timestamp, context: &mut UserContext<'_>) {
    context.recorder.count(CountMetric::Starts);
    context.recorder.record_between(TimeMetric::Late, intended, context.now);
    if context.now.since(intended) > context.rules.late_after {
        context.recorder.count(CountMetric::LateStarts);
    }
}

fn send_message(
    call: &mut ActiveCall,
    session: u64,
    kind: RelayKind,
    intended: Timestamp,
    last: bool,
    context: &mut UserContext<'_>,
) {
    let header = MessageHeader {
        room: call.room,
        sender: session,
        intended,
        sent: context.now,
        sequence: call.sequence,
        last,
        gaps_expected: call.messages_dropped,
    };
    call.sent_history.record(context.now, call.sequence, context.rules.message_timeout);
    call.sequence += 1;
    if last {
        call.final_sent_at = Some(context.now);
    }
    context.recorder.count(CountMetric::Sent);
    context.encoder.encode_relay(context.out, kind, &call.room_id, &header);
}

#[cfg(test)]
mod tests;
