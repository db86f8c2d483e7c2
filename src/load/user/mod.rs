//! One virtual user: what it was sent goes in, what it sends comes out. Pure.
//!
//! It is owned by the thread that drives its connection. It has no socket and no clock; the
//! driver (or a simulator) tells it what came and what time it is, and finds what to send in
//! [`UserContext::out`], already framed and masked.
//!
//! A call ends so that nothing can be under way when it does: the initiator marks its last
//! message, the other side answers with its own last message, and only then does the
//! initiator leave. So a message that is missing by then is lost, and not merely late.

mod call;
mod incoming;
mod script;

pub use script::{CallPlan, NEVER, UserRules, UserScript};

use super::measure::{CountMetric, LoadFault, Recorder, TimeMetric};
use super::message_header::{MessageDecoder, MessageEncoder, MessageHeader};
use super::pairing_ledger::MatchNotice;
use super::rng::Rng;
use crate::timestamp::Timestamp;
use crate::wire::message::RelayKind;
use crate::wire::message::client::{write_find_match, write_leave_room};
use crate::wire::websocket::frame::{CLOSE, push_client_frame};
use call::ActiveCall;
use std::time::Duration;

/// After the partner's last word, how long messages that are missing may still come.
const STRAGGLERS_WAIT: Duration = Duration::from_secs(1);
/// Most messages that one wake-up sends, so that one late user does not hold up the others.
const SENDS_PER_WAKE: u32 = 64;
/// Status code of a Close frame that ends a session as planned (RFC 6455 §7.4.1).
const CLOSE_NORMAL: [u8; 2] = 1000u16.to_be_bytes();

/// What a user needs from outside for one step.
pub struct UserContext<'a> {
    /// The time, counted from the start of the run.
    pub now: Timestamp,
    /// The tester has not looked for a while: what comes late may only have been read late.
    pub catching_up: bool,
    /// What all users do.
    pub rules: &'a UserRules,
    /// What is to be sent: whole, masked frames.
    pub out: &'a mut Vec<u8>,
    /// Where figures go.
    pub recorder: &'a mut Recorder,
    /// Makes messages.
    pub encoder: &'a mut MessageEncoder,
    /// Reads stamped messages.
    pub reader: &'a MessageDecoder,
    /// What concerns more than this user.
    pub news: &'a mut Vec<UserEvent>,
}

/// What one user knows and others must be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserEvent {
    /// The session began.
    Opened(u64),
    /// It was told of a match.
    Matched(MatchNotice),
    /// It is no longer in a room, where so many messages are missing.
    RecentPartner {
        /// Hash of its session.
        session: u64,
        /// Hash of the room.
        room: u64,
        /// Messages that should have come.
        missing: u32,
    },
    /// A message came out of a room that it is not in.
    Stray {
        /// Hash of that room.
        room: u64,
        /// What it means, unless something was wrong with that room anyway.
        fault: LoadFault,
    },
    /// The server may not do what this user asks of it: what does not come of its leaving a
    /// room, or of its next match_request, shows nothing.
    Excused {
        /// Hash of its session.
        session: u64,
        /// Hash of the room, unless the server has said that it is over.
        room: Option<u64>,
    },
    /// It was matched, having asked at this moment.
    Served(Timestamp),
    /// It has waited too long for a match.
    Overdue {
        /// Hash of its session.
        session: u64,
        /// When it asked.
        asked: Timestamp,
    },
}

/// What a user is doing, for the gauges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserActivity {
    /// No session yet.
    Greeting,
    /// Connected.
    Idle,
    /// In a queue.
    Waiting,
    /// In a room.
    InRoom,
    /// Ended, or about to.
    Closing,
}

#[derive(Debug)]
enum UserState {
    Greeting,
    Idle,
    /// `acknowledged`: the server has said `waiting`, so nothing of an earlier room can come.
    Waiting {
        since: Timestamp,
        overdue_at: Timestamp,
        acknowledged: bool,
    },
    InRoom(Box<ActiveCall>),
    /// `leave_room` is sent and not yet answered.
    Leaving {
        give_up_at: Timestamp,
    },
    Closing {
        give_up_at: Timestamp,
    },
}

/// One virtual user.
#[derive(Debug)]
pub struct User {
    state: UserState,
    rng: Rng,
    /// Hash of the session, 0 before it began.
    session: u64,
    /// Hash of the room it was in before.
    last_room: u64,
    /// The server has said that this room is over: nothing more may be said of it.
    last_room_over: bool,
    /// Hash of a room that messages came from while waiting, and how many: if the match is not
    /// told of afterwards, they were for somebody else.
    early: (u64, u32),
    /// The server has said that it drops what is over its rate. It says so once a second at most,
    /// so that more may be dropped in silence.
    limited: bool,
    /// The server has said that it shuts down.
    draining: bool,
    /// The next round, for [`UserScript::Rounds`].
    round: u32,
    /// When the next ping should be sent, or by when the pong must come.
    ping_at: Timestamp,
    /// When the ping that is not yet answered was sent.
    pinged: Option<Timestamp>,
    finishing: bool,
    /// Whether it does what [`UserRules::sample`] says.
    sampled: bool,
}

impl User {
    /// User number `number`, of the sample or not: it is connecting.
    pub fn new(seed: u64, number: u64, sampled: bool) -> Self {
        User {
            state: UserState::Greeting,
            rng: Rng::new(seed, number),
            session: 0,
            last_room: 0,
            last_room_over: false,
            early: (0, 0),
            limited: false,
            draining: false,
            round: 0,
            ping_at: NEVER,
            pinged: None,
            finishing: false,
            sampled,
        }
    }

    /// What it is doing.
    pub fn standing(&self) -> UserActivity {
        match self.state {
            UserState::Greeting => UserActivity::Greeting,
            UserState::Idle | UserState::Leaving { .. } => UserActivity::Idle,
            UserState::Waiting { .. } => UserActivity::Waiting,
            UserState::InRoom(_) => UserActivity::InRoom,
            UserState::Closing { .. } => UserActivity::Closing,
        }
    }

    /// Hash of its session; 0 if it has none.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// When [`User::wake`] is to be called, whatever comes before.
    pub fn due(&self, rules: &UserRules) -> Timestamp {
        match &self.state {
            UserState::Greeting => NEVER,
            UserState::Idle => match rules.script_for(self.sampled) {
                UserScript::Hold { .. } => self.ping_at,
                UserScript::Rounds { .. } => rules.script_for(self.sampled).round_at(self.round),
                UserScript::Calls(_) => NEVER,
            },
            UserState::Waiting { overdue_at, .. } => *overdue_at,
            UserState::InRoom(call) => match call.bye_sent {
                Some(_) => call.leave_at,
                None => call.next_send.min(call.ends_at).min(call.leave_at),
            },
            UserState::Leaving { give_up_at } | UserState::Closing { give_up_at } => *give_up_at,
        }
    }

    /// Whether the connection is to be dropped: the server has not answered the Close frame.
    pub fn is_done_for(&self, now: Timestamp) -> bool {
        matches!(self.state, UserState::Closing { give_up_at } if give_up_at <= now)
    }

    /// Its moment has come.
    pub fn wake(&mut self, turn: &mut UserContext<'_>) {
        if turn.now < self.due(turn.rules) {
            return;
        }
        match &mut self.state {
            UserState::Greeting | UserState::Closing { .. } => {}
            UserState::Idle => match turn.rules.script_for(self.sampled) {
                UserScript::Hold { .. } => self.wake_holding(turn),
                UserScript::Rounds { .. } => {
                    let intended = turn.rules.script_for(self.sampled).round_at(self.round);
                    self.round += 1;
                    started(intended, turn);
                    self.ask(intended, turn);
                }
                UserScript::Calls(_) => {}
            },
            UserState::Waiting { overdue_at, since, .. } => {
                *overdue_at = turn.now + turn.rules.match_timeout;
                let (session, asked) = (self.session, *since);
                turn.news.push(UserEvent::Overdue { session, asked });
            }
            UserState::InRoom(_) => self.wake_in_room(turn),
            UserState::Leaving { .. } => {
                turn.recorder.fault(LoadFault::AnswerTimeout, turn.now);
                self.close(turn);
            }
        }
    }

    fn wake_holding(&mut self, turn: &mut UserContext<'_>) {
        if self.pinged.take().is_some() {
            turn.recorder.fault(LoadFault::PingTimeout, turn.now);
            if self.finishing {
                return self.close(turn);
            }
        }
        started(self.ping_at, turn);
        turn.recorder.count(CountMetric::Pings);
        turn.encoder.encode_text(turn.out, |text| text.extend_from_slice(b"{\"type\":\"ping\"}"));
        self.pinged = Some(self.ping_at);
        self.ping_at = turn.now + turn.rules.message_timeout;
    }

    fn wake_in_room(&mut self, turn: &mut UserContext<'_>) {
        if let UserScript::Calls(plan) = turn.rules.script_for(self.sampled) {
            for _ in 0..SENDS_PER_WAKE {
                let UserState::InRoom(call) = &mut self.state else { return };
                let Some((kind, intended)) = call.due(plan, turn.now) else { break };
                started(intended, turn);
                send(call, self.session, kind, intended, false, turn);
            }
        }
        let UserState::InRoom(call) = &mut self.state else { return };
        if turn.now >= call.ends_at && call.bye_sent.is_none() {
            if let UserScript::Calls(_) = turn.rules.script_for(self.sampled) {
                let intended = call.ends_at.max(call.next_send.min(turn.now));
                send(call, self.session, RelayKind::Signal, intended, true, turn);
                call.leave_at = turn.now + turn.rules.message_timeout;
            } else {
                return self.leave(turn);
            }
        }
        if turn.now >= call.leave_at {
            self.leave(turn);
        }
    }

    fn ask(&mut self, intended: Timestamp, turn: &mut UserContext<'_>) {
        turn.recorder.count(CountMetric::Asked);
        let queue = &turn.rules.queue;
        turn.encoder.encode_text(turn.out, |text| write_find_match(text, Some(queue)));
        self.state = UserState::Waiting {
            since: intended,
            overdue_at: turn.now + turn.rules.match_timeout,
            acknowledged: false,
        };
    }

    /// Leaves the room, for the next one if it is to be.
    fn leave(&mut self, turn: &mut UserContext<'_>) {
        let UserState::InRoom(call) = &self.state else { return };
        // Its own missing last word is for the partner to judge, who knows whether it came.
        let missing = call.received.missing();
        turn.recorder.count(CountMetric::CallsCompleted);
        self.part(missing, turn);
        if self.finishing {
            return self.close(turn);
        }
        match turn.rules.script_for(self.sampled) {
            UserScript::Calls(plan) if self.rng.next_fraction() < plan.next_share => {
                self.ask(turn.now, turn)
            }
            UserScript::Calls(_) | UserScript::Hold { .. } | UserScript::Rounds { .. } => {
                turn.encoder.encode_text(turn.out, write_leave_room);
                self.state =
                    UserState::Leaving { give_up_at: turn.now + turn.rules.message_timeout };
            }
        }
    }

    /// The room is over; the state is `Idle` until somebody sets it.
    fn part(&mut self, missing: u32, turn: &mut UserContext<'_>) {
        let UserState::InRoom(call) = std::mem::replace(&mut self.state, UserState::Idle) else {
            return;
        };
        (self.last_room, self.last_room_over) = (call.room, false);
        let missing = if call.gaps_expected { 0 } else { missing };
        turn.news.push(UserEvent::RecentPartner {
            session: self.session,
            room: call.room,
            missing,
        });
        if self.limited || self.draining {
            self.excuse(turn);
        }
    }

    /// What comes of its leaving the last room, and of its present match_request, shows nothing.
    fn excuse(&self, turn: &mut UserContext<'_>) {
        let room = (!self.last_room_over).then_some(self.last_room);
        turn.news.push(UserEvent::Excused { session: self.session, room });
    }

    /// Out of a room and back to nothing: go on to the next, stay for the next round, or go.
    fn between_calls(&mut self, turn: &mut UserContext<'_>) {
        let leaving = matches!(self.state, UserState::Leaving { .. });
        self.state = UserState::Idle;
        match turn.rules.script_for(self.sampled) {
            _ if self.finishing => self.close(turn),
            UserScript::Calls(plan) if !leaving && self.rng.next_fraction() < plan.next_share => {
                self.ask(turn.now, turn);
            }
            UserScript::Calls(_) => self.close(turn),
            UserScript::Hold { .. } | UserScript::Rounds { .. } => self.wake(turn),
        }
    }

    /// Whether it does nothing but hold its session.
    pub fn is_holding(&self, rules: &UserRules) -> bool {
        matches!(self.state, UserState::Idle)
            && matches!(rules.script_for(self.sampled), UserScript::Hold { .. })
    }

    /// The run is over: come to an end in good order.
    pub fn finish(&mut self, turn: &mut UserContext<'_>) {
        self.finishing = true;
        let holds = self.is_holding(turn.rules);
        match &mut self.state {
            UserState::Idle if holds => {
                // One more ping shows that the session is alive to the end.
                if self.pinged.is_none() {
                    self.ping_at = turn.now;
                    self.wake(turn);
                }
            }
            UserState::InRoom(call) => {
                let patience = turn.rules.message_timeout;
                call.ends_at = if call.initiator { turn.now } else { NEVER };
                call.leave_at = call.leave_at.min(turn.now + patience * 2);
                self.wake(turn);
            }
            UserState::Idle => self.close(turn),
            // What it has asked for may still come.
            UserState::Greeting | UserState::Waiting { .. } => {}
            UserState::Leaving { .. } | UserState::Closing { .. } => {}
        }
    }

    /// The run is over, and there is no use in waiting for a match any longer.
    pub fn stop_waiting(&mut self, turn: &mut UserContext<'_>) {
        if let UserState::Waiting { .. } = self.state {
            self.close(turn);
        }
    }

    fn close(&mut self, turn: &mut UserContext<'_>) {
        self.disown_early(turn);
        if self.sampled && self.finishing && self.session != 0 {
            // Who holds shows it by a last ping; who talks, by the end of the call.
            turn.recorder.count(CountMetric::Alive);
        }
        let mask = turn.encoder.next_mask();
        push_client_frame(turn.out, CLOSE, &CLOSE_NORMAL, mask);
        self.state = UserState::Closing { give_up_at: turn.now + turn.rules.message_timeout };
    }

    /// The connection is gone; `closed` by the server, with a Close frame, or broken. Tells whether
    /// that was wanted.
    pub fn lost(&mut self, closed: bool, turn: &mut UserContext<'_>) -> bool {
        self.disown_early(turn);
        let wanted = matches!(self.state, UserState::Closing { .. });
        if let UserState::InRoom(_) = self.state {
            turn.recorder.count(CountMetric::CallsInterrupted);
            self.part(0, turn);
        }
        if !wanted && !closed {
            // The server may wait for its return, or not know of it yet.
            self.excuse(turn);
        }
        if wanted {
            turn.recorder.count(CountMetric::ClosedAsPlanned);
        }
        self.state = UserState::Closing { give_up_at: turn.now };
        wanted
    }
}

/// Counts a start that the schedule asked for, and how late it was.
fn started(intended: Timestamp, turn: &mut UserContext<'_>) {
    turn.recorder.count(CountMetric::Starts);
    turn.recorder.between(TimeMetric::Late, intended, turn.now);
    if turn.now.since(intended) > turn.rules.late_after {
        turn.recorder.count(CountMetric::LateStarts);
    }
}

fn send(
    call: &mut ActiveCall,
    session: u64,
    kind: RelayKind,
    intended: Timestamp,
    last: bool,
    turn: &mut UserContext<'_>,
) {
    let stamp = MessageHeader {
        room: call.room,
        sender: session,
        intended,
        sent: turn.now,
        sequence: call.sequence,
        last,
        gaps_expected: call.limited,
    };
    call.sequence += 1;
    if last {
        call.bye_sent = Some(turn.now);
    }
    turn.recorder.count(CountMetric::Sent);
    turn.encoder.encode_relay(turn.out, kind, &call.room_id, &stamp);
}

#[cfg(test)]
mod tests;
