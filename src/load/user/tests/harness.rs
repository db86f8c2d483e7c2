//! Virtual users with a minimal server between them, which a test can make misbehave.

use crate::load::measure::{CountMetric, LoadFault, Recorder};
use crate::load::message_header::{MessageDecoder, MessageEncoder, id_hash};
use crate::load::pairing_ledger::PairingLedger;
use crate::load::user::{
    CallPlan, User, UserContext, UserEvent, UserHabits, UserRules, UserScript, UserState,
    WeightedQueue,
};
use crate::timestamp::Timestamp;
use crate::wire::message::client::{ClientMessage, parse_client_message};
use crate::wire::websocket::frame::{Side, TEXT, parse_header, unmask};
use std::time::Duration;

pub(super) const MS: u64 = 1_000_000;

fn rules(script: UserScript) -> UserRules {
    UserRules {
        script,
        sample_script: None,
        queues: vec![WeightedQueue { name: "load".to_owned(), up_to: 1.0 }],
        habits: UserHabits::default(),
        match_timeout: Duration::from_secs(5),
        message_timeout: Duration::from_secs(2),
        late_after: Duration::from_millis(10),
        measure_from: Timestamp::ZERO,
    }
}

pub(super) fn calls(talk_ms: u64) -> UserScript {
    let talk = Duration::from_millis(talk_ms);
    UserScript::Calls(CallPlan {
        candidates: 3,
        gap: Some(Duration::from_millis(50)),
        steady_from: Timestamp::ZERO,
        talk_min: talk,
        talk_max: talk,
        next_share: 0.0,
    })
}

/// How often the server delivers a relayed message to the partner, given the message's number.
pub(super) type RelayRule = fn(u64) -> usize;

pub(super) struct UserHarness {
    pub(super) rules: UserRules,
    pub(super) users: Vec<User>,
    pub(super) recorder: Recorder,
    pub(super) encoder: MessageEncoder,
    pub(super) ledger: PairingLedger,
    pub(super) now: Timestamp,
    catching_up: bool,
    /// Messages in flight to each user.
    pub(super) inbox: Vec<Vec<Vec<u8>>>,
    pub(super) waiting: Vec<usize>,
    partner: Vec<Option<usize>>,
    pub(super) relayed: u64,
    relay: RelayRule,
    pub(super) closed: Vec<bool>,
}

impl UserHarness {
    pub(super) fn new(users: usize, script: UserScript, relay: RelayRule) -> Self {
        let mut harness = UserHarness {
            rules: rules(script),
            users: (0..users as u64).map(|number| User::new(1, number, false, 0)).collect(),
            recorder: Recorder::default(),
            encoder: MessageEncoder::new(200, 1),
            ledger: PairingLedger::default(),
            now: Timestamp::ZERO,
            catching_up: false,
            inbox: vec![Vec::new(); users],
            waiting: Vec::new(),
            partner: vec![None; users],
            relayed: 0,
            relay,
            closed: vec![false; users],
        };
        for user in 0..users {
            harness.deliver(
                user,
                format!(r#"{{"type":"session","payload":{{"session_id":"s{user}"}}}}"#),
            );
        }
        harness
    }

    pub(super) fn deliver(&mut self, user: usize, text: String) {
        self.inbox[user].push(text.into_bytes());
    }

    pub(super) fn step(&mut self, user: usize, step: impl FnOnce(&mut User, &mut UserContext<'_>)) {
        let (mut out, mut events) = (Vec::new(), Vec::new());
        let decoder = MessageDecoder::default();
        let mut context = UserContext {
            now: self.now,
            catching_up: self.catching_up,
            rules: &self.rules,
            out: &mut out,
            recorder: &mut self.recorder,
            encoder: &mut self.encoder,
            decoder: &decoder,
            events: &mut events,
        };
        step(&mut self.users[user], &mut context);
        for events in events {
            match events {
                UserEvent::SessionOpened(session) => self.ledger.open_session(session),
                UserEvent::Matched(notice) => {
                    assert_eq!(self.ledger.record_match(notice, self.now), []);
                }
                UserEvent::RoomEnded { session, room, missing, traffic } => {
                    let end = self.ledger.record_leave(session, room, traffic, self.now);
                    self.recorder.add(CountMetric::UnderWay, end.under_way);
                    if !end.has_known_fault {
                        self.recorder.record_faults(LoadFault::Lost, u64::from(missing), self.now);
                    }
                }
                UserEvent::StrayMessage { fault, .. } => {
                    self.recorder.record_fault(fault, self.now)
                }
                UserEvent::Exempt { session, room } => self.ledger.exempt(session, room),
                UserEvent::Served { asked, queue } => self.ledger.record_served(asked, queue),
                UserEvent::Withdrawn { session } => self.ledger.record_withdrawn(session),
                UserEvent::Returns(_) | UserEvent::WaitEnded { .. } => {}
                UserEvent::Overdue { session, asked, queue } => {
                    let many = self.ledger.record_overdue(session, asked, queue);
                    self.recorder.record_faults(LoadFault::NeverMatched, many, self.now);
                }
            }
        }
        self.serve(user, &mut out);
        if self.users[user].vanishing().is_some() && !self.closed[user] {
            self.closed[user] = true;
            self.ledger.close_session(id_hash(&format!("s{user}")), self.now);
            self.end_room(user, "disconnected");
        }
    }

    /// The server: handles complete frames from a user.
    fn serve(&mut self, user: usize, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let header = parse_header(bytes, Side::Client).unwrap().unwrap();
            let end = header.header_len + header.payload_len as usize;
            let (frame, rest) = bytes.split_at_mut(end);
            bytes = rest;
            let text = &mut frame[header.header_len..];
            unmask(text, header.mask.unwrap(), 0);
            if header.opcode != TEXT {
                self.closed[user] = true;
                self.end_room(user, "disconnected");
                continue;
            }
            let text = text.to_vec();
            match parse_client_message(&text).unwrap() {
                ClientMessage::FindMatch { .. } => {
                    self.end_room(user, "next");
                    self.deliver(user, r#"{"type":"waiting"}"#.to_owned());
                    self.waiting.push(user);
                    self.match_waiting();
                }
                ClientMessage::LeaveRoom(_) => {
                    self.end_room(user, "left");
                    self.deliver(user, r#"{"type":"room_left"}"#.to_owned());
                }
                ClientMessage::Relay(..) => {
                    let times = (self.relay)(self.relayed);
                    self.relayed += 1;
                    if let Some(partner) = self.partner[user] {
                        (0..times).for_each(|_| self.inbox[partner].push(text.clone()));
                    }
                }
                ClientMessage::Ping { .. } => self.deliver(user, r#"{"type":"pong"}"#.to_owned()),
                ClientMessage::CancelMatch if self.waiting.contains(&user) => {
                    self.waiting.retain(|waiting| *waiting != user);
                    self.deliver(user, r#"{"type":"match_cancelled"}"#.to_owned());
                }
                ClientMessage::CancelMatch => self.deliver(
                    user,
                    r#"{"type":"error","payload":{"code":"not_waiting","message":""}}"#.to_owned(),
                ),
            }
        }
    }

    pub(super) fn match_waiting(&mut self) {
        while let [a, b, ..] = self.waiting[..] {
            self.waiting.drain(..2);
            let room = format!("room-{a}-{b}-{}", self.now.as_nanos());
            for (me, peer, initiator) in [(a, b, true), (b, a, false)] {
                self.partner[me] = Some(peer);
                self.deliver(me, format!(
                    r#"{{"type":"match_found","payload":{{"room_id":"{room}","peer_id":"s{peer}","initiator":{initiator}}}}}"#
                ));
            }
        }
    }

    fn end_room(&mut self, user: usize, reason: &str) {
        self.waiting.retain(|waiting| *waiting != user);
        let Some(partner) = self.partner[user].take() else { return };
        self.partner[partner] = None;
        // The room's name, from the partner's last `match_found`.
        let UserState::InRoom(call) = &self.users[partner].state else { return };
        let room = call.room_id.clone();
        self.deliver(
            partner,
            format!(
                r#"{{"type":"peer_left","payload":{{"room_id":"{room}","reason":"{reason}"}}}}"#
            ),
        );
    }

    /// Advances the time by `ms` milliseconds; a message arrives one millisecond after it is sent.
    pub(super) fn advance_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            let inboxes: Vec<_> = self.inbox.iter_mut().map(std::mem::take).collect();
            for (user, texts) in inboxes.into_iter().enumerate() {
                for text in texts {
                    self.step(user, |user, context| user.on_text(&text, context));
                }
            }
            for user in 0..self.users.len() {
                let is_due = self.users[user].next_wakeup(&self.rules) <= self.now;
                if is_due && !self.closed[user] && !self.catching_up {
                    self.step(user, |user, context| user.wake(context));
                }
            }
            self.now = Timestamp::from_nanos(self.now.as_nanos() + MS);
        }
    }

    /// Pauses the driver for `ms` milliseconds, after which it first reads everything.
    pub(super) fn pause(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.catching_up = true;
        self.advance_ms(5);
        self.catching_up = false;
    }

    fn has_vanished(&self, user: usize) -> bool {
        self.users[user].vanishing().is_some()
    }

    pub(super) fn finish(&mut self) {
        for user in 0..self.users.len() {
            self.step(user, |user, context| user.finish(context));
        }
        self.advance_ms(5000);
        for user in 0..self.users.len() {
            if self.has_vanished(user) {
                continue;
            }
            self.step(user, |user, context| user.stop_waiting(context));
            self.step(user, |user, context| {
                assert!(user.on_disconnect(true, context), "every session ends as planned")
            });
        }
    }

    pub(super) fn faults(&self) -> Vec<(LoadFault, u64)> {
        let counts =
            LoadFault::ALL.iter().map(|fault| (*fault, self.recorder.fault_stats(*fault).count));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}
