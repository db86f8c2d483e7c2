//! Two users and a server in miniature between them, which a test can make misbehave.

use super::*;
use crate::load::message_header::id_hash;
use crate::load::pairing_ledger::PairingLedger;
use crate::wire::message::client::{ClientMessage, parse_client_message};
use crate::wire::websocket::frame::{Side, TEXT, parse_header, unmask};

const MS: u64 = 1_000_000;

fn rules(script: UserScript) -> UserRules {
    UserRules {
        script,
        sample: None,
        queue: "load".to_owned(),
        match_timeout: Duration::from_secs(5),
        message_timeout: Duration::from_secs(2),
        late_after: Duration::from_millis(10),
        measure_from: Timestamp::ZERO,
    }
}

fn calls(talk_ms: u64) -> UserScript {
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

/// What the server in miniature does with a relayed message: how often it delivers it to the
/// partner, given its running number.
type RelayRule = fn(u64) -> usize;

struct UserHarness {
    rules: UserRules,
    users: Vec<User>,
    recorder: Recorder,
    encoder: MessageEncoder,
    book: PairingLedger,
    now: Timestamp,
    catching_up: bool,
    /// Texts on their way to each user.
    inbox: Vec<Vec<Vec<u8>>>,
    waiting: Vec<usize>,
    partner: Vec<Option<usize>>,
    relayed: u64,
    relay: RelayRule,
    closed: Vec<bool>,
}

impl UserHarness {
    fn new(users: usize, script: UserScript, relay: RelayRule) -> Self {
        let mut world = UserHarness {
            rules: rules(script),
            users: (0..users as u64).map(|number| User::new(1, number, false)).collect(),
            recorder: Recorder::default(),
            encoder: MessageEncoder::new(200, 1),
            book: PairingLedger::default(),
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
            world.tell(
                user,
                format!(r#"{{"type":"session","payload":{{"session_id":"s{user}"}}}}"#),
            );
        }
        world
    }

    fn tell(&mut self, user: usize, text: String) {
        self.inbox[user].push(text.into_bytes());
    }

    fn step(&mut self, user: usize, step: impl FnOnce(&mut User, &mut UserContext<'_>)) {
        let (mut out, mut news) = (Vec::new(), Vec::new());
        let reader = MessageDecoder::default();
        let mut turn = UserContext {
            now: self.now,
            catching_up: self.catching_up,
            rules: &self.rules,
            out: &mut out,
            recorder: &mut self.recorder,
            encoder: &mut self.encoder,
            reader: &reader,
            news: &mut news,
        };
        step(&mut self.users[user], &mut turn);
        for news in news {
            match news {
                UserEvent::Opened(session) => self.book.opened(session),
                UserEvent::Matched(account) => {
                    assert_eq!(self.book.matched(account, self.now), []);
                }
                UserEvent::RecentPartner { session, room, missing } => {
                    if !self.book.left(session, room, self.now) {
                        self.recorder.faults_at(LoadFault::Lost, u64::from(missing), self.now);
                    }
                }
                UserEvent::Stray { fault, .. } => self.recorder.fault(fault, self.now),
                UserEvent::Excused { session, room } => self.book.excuse(session, room),
                UserEvent::Served(asked) => self.book.served(asked),
                UserEvent::Overdue { session, asked } => {
                    let many = self.book.overdue(session, asked);
                    self.recorder.faults_at(LoadFault::NeverMatched, many, self.now);
                }
            }
        }
        self.serve(user, &mut out);
    }

    /// The server in miniature: reads whole frames.
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
                self.part(user, "disconnected");
                continue;
            }
            let text = text.to_vec();
            match parse_client_message(&text).unwrap() {
                ClientMessage::FindMatch { .. } => {
                    self.part(user, "next");
                    self.tell(user, r#"{"type":"waiting"}"#.to_owned());
                    self.waiting.push(user);
                    self.pair();
                }
                ClientMessage::LeaveRoom(_) => {
                    self.part(user, "left");
                    self.tell(user, r#"{"type":"room_left"}"#.to_owned());
                }
                ClientMessage::Relay(..) => {
                    let times = (self.relay)(self.relayed);
                    self.relayed += 1;
                    if let Some(partner) = self.partner[user] {
                        (0..times).for_each(|_| self.inbox[partner].push(text.clone()));
                    }
                }
                ClientMessage::Ping { .. } => self.tell(user, r#"{"type":"pong"}"#.to_owned()),
                ClientMessage::CancelMatch => unreachable!("no user cancels"),
            }
        }
    }

    fn pair(&mut self) {
        while let [a, b, ..] = self.waiting[..] {
            self.waiting.drain(..2);
            let room = format!("room-{a}-{b}-{}", self.now.as_nanos());
            for (me, peer, initiator) in [(a, b, true), (b, a, false)] {
                self.partner[me] = Some(peer);
                self.tell(me, format!(
                    r#"{{"type":"match_found","payload":{{"room_id":"{room}","peer_id":"s{peer}","initiator":{initiator}}}}}"#
                ));
            }
        }
    }

    fn part(&mut self, user: usize, reason: &str) {
        self.waiting.retain(|waiting| *waiting != user);
        let Some(partner) = self.partner[user].take() else { return };
        self.partner[partner] = None;
        // The room's name, from what the user was last told.
        let UserState::InRoom(call) = &self.users[partner].state else { return };
        let room = call.room_id.clone();
        self.tell(
            partner,
            format!(
                r#"{{"type":"peer_left","payload":{{"room_id":"{room}","reason":"{reason}"}}}}"#
            ),
        );
    }

    /// Lets `ms` milliseconds pass; what is sent arrives a millisecond later.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            let inboxes: Vec<_> = self.inbox.iter_mut().map(std::mem::take).collect();
            for (user, texts) in inboxes.into_iter().enumerate() {
                for text in texts {
                    self.step(user, |user, turn| user.text(&text, turn));
                }
            }
            for user in 0..self.users.len() {
                let is_due = self.users[user].due(&self.rules) <= self.now;
                if is_due && !self.closed[user] && !self.catching_up {
                    self.step(user, |user, turn| user.wake(turn));
                }
            }
            self.now = Timestamp::from_nanos(self.now.as_nanos() + MS);
        }
    }

    /// Nobody looks for `ms` milliseconds; then everything is read before anything else is done.
    fn pause(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.catching_up = true;
        self.pass(5);
        self.catching_up = false;
    }

    fn finish(&mut self) {
        for user in 0..self.users.len() {
            self.step(user, |user, turn| user.finish(turn));
        }
        self.pass(5000);
        for user in 0..self.users.len() {
            self.step(user, |user, turn| user.stop_waiting(turn));
            self.step(user, |user, turn| {
                assert!(user.lost(true, turn), "every session ends as planned")
            });
        }
    }

    fn faults(&self) -> Vec<(LoadFault, u64)> {
        let seen = LoadFault::ALL.iter().map(|fault| (*fault, self.recorder.seen(*fault).count));
        seen.filter(|(_, count)| *count > 0).collect()
    }
}

#[test]
fn a_call_goes_from_match_to_last_word_and_loses_nothing() {
    let mut world = UserHarness::new(2, calls(1000), |_| 1);
    world.pass(3000);
    world.finish();
    let count = |what| world.recorder.get(what);
    assert_eq!(world.faults(), []);
    assert_eq!((count(CountMetric::Connected), count(CountMetric::Matched)), (2, 2));
    assert_eq!((count(CountMetric::CallsCompleted), count(CountMetric::CallsInterrupted)), (2, 0));
    assert_eq!(count(CountMetric::Sent), count(CountMetric::Received));
    // Offer, answer, 2 × 3 candidates, a message every 50 ms for about 0.9 s from each, and
    // the two last words.
    assert!((40..=48).contains(&count(CountMetric::Sent)), "{}", count(CountMetric::Sent));
    assert_eq!(world.closed, [true, true]);
}

#[test]
fn a_pause_between_two_last_words_loses_neither() {
    let until = |ms| {
        let mut world = UserHarness::new(2, calls(500), |_| 1);
        world.pass(ms);
        world
    };
    let said = |world: &UserHarness| {
        world
            .users
            .iter()
            .any(|user| matches!(&user.state, UserState::InRoom(call) if call.bye_sent.is_some()))
    };
    let first = (0..2000).find(|ms| said(&until(*ms))).expect("a call ends");
    for ms in first - 2..first + 6 {
        let mut world = until(ms);
        // Longer than anybody waits for the other's last word.
        world.pause(world.rules.message_timeout.as_millis() as u64 * 9 / 10);
        world.pass(3000);
        world.finish();
        assert_eq!(world.faults(), [], "after {ms} ms");
    }
}

#[test]
fn every_lost_message_is_counted_once_wherever_it_is_in_the_call() {
    let whole = {
        let mut world = UserHarness::new(2, calls(500), |_| 1);
        world.pass(2000);
        world.relayed
    };
    assert!(whole > 20);
    for lost in 0..whole {
        thread_local!(static LOST: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
        LOST.set(lost);
        let mut world = UserHarness::new(2, calls(500), |n| usize::from(n != LOST.get()));
        world.pass(8000);
        world.finish();
        assert_eq!(world.faults(), [(LoadFault::Lost, 1)], "message {lost} of {whole}");
    }
}

#[test]
fn a_message_that_comes_twice_is_duplicated_and_nothing_else() {
    let mut world = UserHarness::new(2, calls(500), |n| if n == 7 { 2 } else { 1 });
    world.pass(2000);
    world.finish();
    assert_eq!(world.faults(), [(LoadFault::Duplicated, 1)]);
}

#[test]
fn rounds_match_everybody_each_time() {
    let script = UserScript::Rounds {
        first: Timestamp::from_nanos(100 * MS),
        every: Duration::from_millis(500),
        rounds: 4,
    };
    let mut world = UserHarness::new(6, script, |_| 1);
    world.pass(2500);
    world.finish();
    assert_eq!(world.faults(), []);
    assert_eq!(world.recorder.get(CountMetric::Matched), 24);
    assert_eq!(world.recorder.get(CountMetric::Asked), 24);
}

#[test]
fn who_holds_pings_and_is_alive_at_the_end() {
    let mut world =
        UserHarness::new(3, UserScript::Hold { ping_every: Duration::from_millis(200) }, |_| 1);
    world.pass(1000);
    world.finish();
    assert_eq!(world.faults(), []);
    assert_eq!(world.recorder.get(CountMetric::Alive), 3);
    assert!(world.recorder.get(CountMetric::Pongs) >= 3 * 4);
}

#[test]
fn the_last_words_of_a_run_are_received_but_not_measured() {
    let mut world = UserHarness::new(2, calls(60_000), |_| 1);
    world.pass(1000);
    let measured = |world: &UserHarness| world.recorder.histogram(TimeMetric::Relay).len();
    let (before, received) = (measured(&world), world.recorder.get(CountMetric::Received));
    assert!(before > 0);
    world.finish();
    assert_eq!(measured(&world), before);
    assert!(world.recorder.get(CountMetric::Received) >= received + 2);
}

/// Those that are late are the ones that matter.
#[test]
fn what_was_sent_before_the_end_is_measured_however_late_it_comes() {
    let mut world = UserHarness::new(2, calls(60_000), |_| 1);
    world.pass(1000);
    let sent = |world: &UserHarness| world.recorder.get(CountMetric::Sent);
    let before = sent(&world);
    // What they send is held up until the run is over.
    while sent(&world) == before {
        world.now = world.now + Duration::from_millis(1);
        (0..2).for_each(|user| world.step(user, |user, turn| user.wake(turn)));
    }
    let under_way = world.inbox.iter().map(Vec::len).sum::<usize>() as u64;
    let measured = |world: &UserHarness| world.recorder.histogram(TimeMetric::Relay).len();
    let before = measured(&world);
    world.finish();
    assert_eq!(measured(&world), before + under_way);
}

#[test]
fn a_sample_talks_while_the_others_hold_and_all_are_alive_at_the_end() {
    let hold = UserScript::Hold { ping_every: Duration::from_millis(200) };
    let mut world = UserHarness::new(5, hold, |_| 1);
    world.rules.sample = Some(calls(300));
    for number in 3..5 {
        world.users[number] = User::new(1, number as u64, true);
    }
    world.pass(250);
    assert_eq!(world.recorder.get(CountMetric::Matched), 2, "only the sample asks");
    world.finish();
    assert_eq!(world.faults(), []);
    assert_eq!(world.recorder.get(CountMetric::Alive), 5);
    assert_eq!(world.recorder.get(CountMetric::Sent), world.recorder.get(CountMetric::Received));
    assert!(world.recorder.get(CountMetric::Sent) >= 8);
}

#[test]
fn two_who_are_never_matched_are_counted_but_one_alone_is_not() {
    let mut alone = UserHarness::new(1, calls(500), |_| 1);
    alone.pass(12_000);
    alone.finish();
    assert_eq!(alone.faults(), []);
    let mut world = UserHarness::new(2, calls(500), |_| 1);
    world.waiting.clear();
    world.inbox.iter_mut().for_each(Vec::clear);
    for user in 0..2 {
        world.tell(user, format!(r#"{{"type":"session","payload":{{"session_id":"s{user}"}}}}"#));
        world.pass(2);
        world.waiting.clear();
    }
    world.pass(6000);
    assert_eq!(world.faults(), [(LoadFault::NeverMatched, 2)]);
}

/// Two who have asked, and whom the server has not matched yet, when the run ends.
fn two_waiting_at_the_end() -> UserHarness {
    let mut world = UserHarness::new(2, calls(500), |_| 1);
    world.inbox.iter_mut().for_each(Vec::clear);
    for user in 0..2 {
        world.tell(user, format!(r#"{{"type":"session","payload":{{"session_id":"s{user}"}}}}"#));
        world.pass(2);
        world.waiting.clear();
        world.step(user, |user, turn| user.finish(turn));
    }
    world.waiting = vec![0, 1];
    world
}

/// Else a server that matches nobody would pass every run shorter than the time to wait.
#[test]
fn who_waits_when_the_run_ends_is_matched_or_overdue() {
    let mut world = two_waiting_at_the_end();
    world.pass(6000);
    assert_eq!(world.faults(), [(LoadFault::NeverMatched, 2)]);
    let mut world = two_waiting_at_the_end();
    world.pair();
    world.pass(100);
    assert!(world.users.iter().all(|user| user.standing() == UserActivity::Closing));
    assert_eq!(world.recorder.get(CountMetric::CallsCompleted), 2, "they end in good order");
    assert_eq!(world.faults(), []);
}

#[test]
fn who_comes_in_when_the_run_is_over_shows_that_it_is_alive_and_goes() {
    let hold = UserScript::Hold { ping_every: Duration::from_secs(1) };
    for (script, pings) in [(hold, 1), (calls(500), 0)] {
        let mut world = UserHarness::new(1, script, |_| 1);
        world.step(0, |user, turn| user.finish(turn));
        assert_eq!(world.users[0].standing(), UserActivity::Greeting);
        world.pass(10);
        assert_eq!(world.users[0].standing(), UserActivity::Closing);
        let counted =
            [CountMetric::Connected, CountMetric::Alive, CountMetric::Pings, CountMetric::Asked];
        assert_eq!(counted.map(|count| world.recorder.get(count)), [1, pings, pings, 0]);
    }
}

#[test]
fn a_match_that_crosses_our_close_is_nobodys_fault() {
    let mut world = UserHarness::new(1, calls(500), |_| 1);
    world.pass(3);
    world.step(0, |user, turn| user.finish(turn));
    world.step(0, |user, turn| user.stop_waiting(turn));
    // The server had made the match before it read the Close frame; then the partner learnt
    // of it, too late for its offer.
    let stamp = MessageHeader {
        room: id_hash("r"),
        sender: id_hash("s9"),
        intended: world.now,
        sent: world.now,
        sequence: 0,
        last: false,
        gaps_expected: false,
    };
    let mut frame = Vec::new();
    world.encoder.encode_relay(&mut frame, RelayKind::Offer, "r", &stamp);
    let header = parse_header(&frame, Side::Client).unwrap().unwrap();
    let mut offer = frame.split_off(header.header_len);
    unmask(&mut offer, header.mask.unwrap(), 0);
    let found =
        r#"{"type":"match_found","payload":{"room_id":"r","peer_id":"s9","initiator":false}}"#;
    world.tell(0, found.to_owned());
    world.inbox[0].push(offer);
    let left = r#"{"type":"peer_left","payload":{"room_id":"r","reason":"disconnected"}}"#;
    world.tell(0, left.to_owned());
    world.pass(5);
    assert_eq!(world.faults(), []);
    assert_eq!(world.book.rooms(), 1, "the other account is still awaited");
}

#[test]
fn schedules_do_not_wait_for_late_users() {
    let mut world = UserHarness::new(2, calls(60_000), |_| 1);
    world.pass(500);
    let before = world.recorder.get(CountMetric::Sent);
    // The generator sleeps for two seconds; everything planned in them is sent, and late.
    world.now = world.now + Duration::from_secs(2);
    world.pass(3);
    let caught_up = world.recorder.get(CountMetric::Sent) - before;
    assert!((78..=82).contains(&caught_up), "{caught_up}");
    assert!(world.recorder.get(CountMetric::LateStarts) >= 76);
    let relay = world.recorder.histogram(TimeMetric::Relay);
    assert!(relay.max() > 1_900_000, "latency counts from the planned moment");
    assert!(world.recorder.histogram(TimeMetric::RelayService).max() < 5_000);
}

#[test]
fn an_idle_user_is_small() {
    assert!(size_of::<User>() <= 160, "{}", size_of::<User>());
}
