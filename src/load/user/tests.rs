//! Virtual users against a minimal server.

mod harness;

use super::*;
use crate::load::message_header::id_hash;
use crate::wire::websocket::frame::{Side, parse_header, unmask};
use harness::{MS, UserHarness, calls};

#[test]
fn a_call_ends_with_final_messages_and_loses_no_message() {
    let mut harness = UserHarness::new(2, calls(1000), |_| 1);
    harness.advance_ms(3000);
    harness.finish();
    let count = |what| harness.recorder.get(what);
    assert_eq!(harness.faults(), []);
    assert_eq!((count(CountMetric::Connected), count(CountMetric::Matched)), (2, 2));
    assert_eq!((count(CountMetric::CallsCompleted), count(CountMetric::CallsInterrupted)), (2, 0));
    assert_eq!(count(CountMetric::Sent), count(CountMetric::Received));
    // Offer, answer, 2 × 3 candidates, a message every 50 ms for about 0.9 s from each side, and
    // the two final messages.
    assert!((40..=48).contains(&count(CountMetric::Sent)), "{}", count(CountMetric::Sent));
    assert_eq!(harness.closed, [true, true]);
}

#[test]
fn a_driver_pause_between_final_messages_loses_neither() {
    let until = |ms| {
        let mut harness = UserHarness::new(2, calls(500), |_| 1);
        harness.advance_ms(ms);
        harness
    };
    let final_is_sent = |harness: &UserHarness| {
        harness.users.iter().any(
            |user| matches!(&user.state, UserState::InRoom(call) if call.final_sent_at.is_some()),
        )
    };
    let first = (0..2000).find(|ms| final_is_sent(&until(*ms))).expect("a call ends");
    for ms in first - 2..first + 6 {
        let mut harness = until(ms);
        // Longer than a user waits for its partner's final message.
        harness.pause(harness.rules.message_timeout.as_millis() as u64 * 9 / 10);
        harness.advance_ms(3000);
        harness.finish();
        assert_eq!(harness.faults(), [], "after {ms} ms");
    }
}

#[test]
fn counts_a_lost_message_once_at_every_position_in_a_call() {
    let whole = {
        let mut harness = UserHarness::new(2, calls(500), |_| 1);
        harness.advance_ms(2000);
        harness.relayed
    };
    assert!(whole > 20);
    for lost in 0..whole {
        thread_local!(static LOST: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
        LOST.set(lost);
        let mut harness = UserHarness::new(2, calls(500), |n| usize::from(n != LOST.get()));
        harness.advance_ms(8000);
        harness.finish();
        assert_eq!(harness.faults(), [(LoadFault::Lost, 1)], "message {lost} of {whole}");
    }
}

#[test]
fn counts_a_message_that_arrives_twice_as_duplicated_only() {
    let mut harness = UserHarness::new(2, calls(500), |n| if n == 7 { 2 } else { 1 });
    harness.advance_ms(2000);
    harness.finish();
    assert_eq!(harness.faults(), [(LoadFault::Duplicated, 1)]);
}

#[test]
fn every_round_matches_all_users() {
    let script = UserScript::Rounds {
        first: Timestamp::from_nanos(100 * MS),
        every: Duration::from_millis(500),
        rounds: 4,
    };
    let mut harness = UserHarness::new(6, script, |_| 1);
    harness.advance_ms(2500);
    harness.finish();
    assert_eq!(harness.faults(), []);
    assert_eq!(harness.recorder.get(CountMetric::Matched), 24);
    assert_eq!(harness.recorder.get(CountMetric::Asked), 24);
}

#[test]
fn a_holding_user_pings_and_is_alive_at_the_end() {
    let mut harness =
        UserHarness::new(3, UserScript::Hold { ping_every: Duration::from_millis(200) }, |_| 1);
    harness.advance_ms(1000);
    harness.finish();
    assert_eq!(harness.faults(), []);
    assert_eq!(harness.recorder.get(CountMetric::Alive), 3);
    assert!(harness.recorder.get(CountMetric::Pongs) >= 3 * 4);
}

#[test]
fn final_messages_of_a_run_are_received_but_not_measured() {
    let mut harness = UserHarness::new(2, calls(60_000), |_| 1);
    harness.advance_ms(1000);
    let measured = |harness: &UserHarness| harness.recorder.histogram(TimeMetric::Relay).len();
    let (before, received) = (measured(&harness), harness.recorder.get(CountMetric::Received));
    assert!(before > 0);
    harness.finish();
    assert_eq!(measured(&harness), before);
    assert!(harness.recorder.get(CountMetric::Received) >= received + 2);
}

/// The latest messages matter most for the percentiles.
#[test]
fn measures_messages_sent_before_the_end_even_when_they_arrive_after_it() {
    let mut harness = UserHarness::new(2, calls(60_000), |_| 1);
    harness.advance_ms(1000);
    let sent = |harness: &UserHarness| harness.recorder.get(CountMetric::Sent);
    let before = sent(&harness);
    // Their messages are delivered only after the end of the run.
    while sent(&harness) == before {
        harness.now = harness.now + Duration::from_millis(1);
        (0..2).for_each(|user| harness.step(user, |user, context| user.wake(context)));
    }
    let in_flight = harness.inbox.iter().map(Vec::len).sum::<usize>() as u64;
    let measured = |harness: &UserHarness| harness.recorder.histogram(TimeMetric::Relay).len();
    let before = measured(&harness);
    harness.finish();
    assert_eq!(measured(&harness), before + in_flight);
}

#[test]
fn the_sample_talks_while_other_users_hold_and_all_are_alive_at_the_end() {
    let hold = UserScript::Hold { ping_every: Duration::from_millis(200) };
    let mut harness = UserHarness::new(5, hold, |_| 1);
    harness.rules.sample_script = Some(calls(300));
    for number in 3..5 {
        harness.users[number] = User::new(1, number as u64, true, 0);
    }
    harness.advance_ms(250);
    assert_eq!(harness.recorder.get(CountMetric::Matched), 2, "only the sample asks");
    harness.finish();
    assert_eq!(harness.faults(), []);
    assert_eq!(harness.recorder.get(CountMetric::Alive), 5);
    assert_eq!(
        harness.recorder.get(CountMetric::Sent),
        harness.recorder.get(CountMetric::Received)
    );
    assert!(harness.recorder.get(CountMetric::Sent) >= 8);
}

#[test]
fn counts_two_users_that_are_never_matched_but_not_one_alone() {
    let mut alone = UserHarness::new(1, calls(500), |_| 1);
    alone.advance_ms(12_000);
    alone.finish();
    assert_eq!(alone.faults(), []);
    let mut harness = UserHarness::new(2, calls(500), |_| 1);
    harness.waiting.clear();
    harness.inbox.iter_mut().for_each(Vec::clear);
    for user in 0..2 {
        harness
            .deliver(user, format!(r#"{{"type":"session","payload":{{"session_id":"s{user}"}}}}"#));
        harness.advance_ms(2);
        harness.waiting.clear();
    }
    harness.advance_ms(6000);
    assert_eq!(harness.faults(), [(LoadFault::NeverMatched, 2)]);
}

/// Two users that have asked for a match, which the server has not made when the run ends.
fn two_waiting_at_the_end() -> UserHarness {
    let mut harness = UserHarness::new(2, calls(500), |_| 1);
    harness.inbox.iter_mut().for_each(Vec::clear);
    for user in 0..2 {
        harness
            .deliver(user, format!(r#"{{"type":"session","payload":{{"session_id":"s{user}"}}}}"#));
        harness.advance_ms(2);
        harness.waiting.clear();
        harness.step(user, |user, context| user.finish(context));
    }
    harness.waiting = vec![0, 1];
    harness
}

/// Otherwise a server that makes no matches would pass every run shorter than the match timeout.
#[test]
fn a_user_that_waits_when_the_run_ends_is_matched_or_overdue() {
    let mut harness = two_waiting_at_the_end();
    harness.advance_ms(6000);
    assert_eq!(harness.faults(), [(LoadFault::NeverMatched, 2)]);
    let mut harness = two_waiting_at_the_end();
    harness.match_waiting();
    harness.advance_ms(100);
    assert!(harness.users.iter().all(|user| user.activity() == UserActivity::Closing));
    assert_eq!(harness.recorder.get(CountMetric::CallsCompleted), 2, "both calls end as planned");
    assert_eq!(harness.faults(), []);
}

#[test]
fn a_session_that_opens_after_the_end_of_the_run_closes_again() {
    let hold = UserScript::Hold { ping_every: Duration::from_secs(1) };
    for (script, pings) in [(hold, 1), (calls(500), 0)] {
        let mut harness = UserHarness::new(1, script, |_| 1);
        harness.step(0, |user, context| user.finish(context));
        assert_eq!(harness.users[0].activity(), UserActivity::Connecting);
        harness.advance_ms(10);
        assert_eq!(harness.users[0].activity(), UserActivity::Closing);
        let counted =
            [CountMetric::Connected, CountMetric::Alive, CountMetric::Pings, CountMetric::Asked];
        assert_eq!(counted.map(|count| harness.recorder.get(count)), [1, pings, pings, 0]);
    }
}

#[test]
fn a_match_that_crosses_the_close_frame_is_no_fault() {
    let mut harness = UserHarness::new(1, calls(500), |_| 1);
    harness.advance_ms(3);
    harness.step(0, |user, context| user.finish(context));
    harness.step(0, |user, context| user.stop_waiting(context));
    // The server made the match before it read the Close frame; the partner sent its offer before
    // it received `peer_left`.
    let message = MessageHeader {
        room: id_hash("r"),
        sender: id_hash("s9"),
        intended: harness.now,
        sent: harness.now,
        sequence: 0,
        last: false,
        gaps_expected: false,
    };
    let mut frame = Vec::new();
    harness.encoder.encode_relay(&mut frame, RelayKind::Offer, "r", &message);
    let header = parse_header(&frame, Side::Client).unwrap().unwrap();
    let mut offer = frame.split_off(header.header_len);
    unmask(&mut offer, header.mask.unwrap(), 0);
    let found =
        r#"{"type":"match_found","payload":{"room_id":"r","peer_id":"s9","initiator":false}}"#;
    harness.deliver(0, found.to_owned());
    harness.inbox[0].push(offer);
    let left = r#"{"type":"peer_left","payload":{"room_id":"r","reason":"disconnected"}}"#;
    harness.deliver(0, left.to_owned());
    harness.advance_ms(5);
    assert_eq!(harness.faults(), []);
    assert_eq!(harness.ledger.room_count(), 1, "the partner's notice is still missing");
}

#[test]
fn sends_planned_messages_after_a_pause_and_counts_them_as_late() {
    let mut harness = UserHarness::new(2, calls(60_000), |_| 1);
    harness.advance_ms(500);
    let before = harness.recorder.get(CountMetric::Sent);
    // The generator pauses for two seconds; the messages planned in them are sent late.
    harness.now = harness.now + Duration::from_secs(2);
    harness.advance_ms(3);
    let caught_up = harness.recorder.get(CountMetric::Sent) - before;
    assert!((78..=82).contains(&caught_up), "{caught_up}");
    assert!(harness.recorder.get(CountMetric::LateStarts) >= 76);
    let relay = harness.recorder.histogram(TimeMetric::Relay);
    assert!(relay.max() > 1_900_000, "latency is measured from the planned time");
    assert!(harness.recorder.histogram(TimeMetric::RelayService).max() < 5_000);
}

#[test]
fn an_idle_user_is_at_most_160_bytes() {
    assert!(size_of::<User>() <= 160, "{}", size_of::<User>());
}

/// The server matches the first two users before it reads that they withdraw their requests; the
/// third one waits alone, withdraws its request and asks again.
#[test]
fn a_withdrawn_request_is_made_again_and_one_that_crosses_a_match_is_no_fault() {
    let mut harness = UserHarness::new(3, calls(500), |_| 1);
    harness.rules.habits.cancel_share = 1.0;
    harness.advance_ms(3000);
    harness.finish();
    let count = |what| harness.recorder.get(what);
    assert_eq!(harness.faults(), []);
    assert_eq!((count(CountMetric::Withdrawn), count(CountMetric::Matched)), (1, 2));
    assert_eq!(count(CountMetric::Asked), 4);
}

#[test]
fn a_user_that_loses_patience_leaves_and_counts_as_no_failure() {
    let mut harness = UserHarness::new(1, calls(500), |_| 1);
    harness.rules.habits.patience = Some(Duration::from_millis(700));
    harness.advance_ms(600);
    assert_eq!(harness.closed, [false]);
    harness.advance_ms(400);
    let count = |what| harness.recorder.get(what);
    assert_eq!((harness.closed.as_slice(), count(CountMetric::GaveUp)), (&[true][..], 1));
    assert_eq!((harness.faults(), count(CountMetric::Unmatched)), (vec![], 0));
}

#[test]
fn a_user_that_vanishes_after_a_call_loses_no_message() {
    for (reset, silent) in [(1.0, 0.0), (0.0, 1.0)] {
        let mut harness = UserHarness::new(2, calls(500), |_| 1);
        harness.rules.habits.reset_share = reset;
        harness.rules.habits.silent_share = silent;
        harness.advance_ms(3000);
        let count = |what| harness.recorder.get(what);
        assert_eq!((harness.faults(), count(CountMetric::Vanished)), (vec![], 1));
        assert_eq!(count(CountMetric::Sent), count(CountMetric::Received));
        assert_eq!(count(CountMetric::CallsInterrupted), 0);
        assert_eq!(harness.closed, [true, true], "the partner leaves in good order");
    }
}
