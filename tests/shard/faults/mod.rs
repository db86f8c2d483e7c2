//! Faults of networks, kernels and clocks, each at every point where it can affect a shard core.
//! Random faults and several shards are in the simulation; tests that need a kernel are in
//! tests/server.

mod backlog;
mod budgets;
mod evictions;
pub(crate) mod harness;
mod last_responses;
mod progress;
mod queue_moves;

use harness::{KEY, READABLE, ScriptedConnection, ShardHarness, WRITABLE, text, upgrade};
use std::time::Duration;
use switchboard::config::Limits;
use switchboard::limits::RECEIVE_BUFFER_BYTES;
use switchboard::shard::core::Readiness;
use switchboard::telemetry::labels::EndReason;
use switchboard::wire::websocket::frame::{BINARY, CLOSE, PING, TEXT, push_client_frame};

/// A handshake followed by frames that contain everything that can be split: characters of two,
/// three and four bytes, escapes, surrogates, long headers, fragments with a ping in between.
fn splittable_input() -> Vec<u8> {
    let mut out = upgrade("/ws");
    out.extend(text(r#"{"type":"ping","payload":"ä€😀"}"#));
    out.extend(text(r#"{"type":"ping","payload":"\u00e4\ud83d\ude00\\\"\n"}"#));
    out.extend(text(&format!(r#"{{"payload":"{}","type":"ping"}}"#, "x".repeat(130))));
    let parts: [&[u8]; 3] = [b"{\"type\":\"ping\",\"payload\":\"\xe2", b"\x82", b"\xac\"}"];
    for (nth, part) in parts.into_iter().enumerate() {
        let at = out.len();
        push_client_frame(&mut out, TEXT, part, KEY);
        // RFC 6455 §5.4: the first has the opcode, the last has FIN.
        out[at] = [0x01, 0x00, 0x80][nth];
        push_client_frame(&mut out, PING, b"between", KEY);
    }
    out.extend(text(r#"{"type":"find_match","payload":{"queue":"\u0065n"}}"#));
    out.extend(text(r#"{"type":"cancel_match"}"#));
    out.extend(text(r#"{"type":"offer","room_id":"none","payload":{}}"#));
    push_client_frame(&mut out, CLOSE, &[0x03, 0xe8], KEY);
    out
}

/// The output for this input, split into reads, when the kernel accepts `takes` bytes in each send.
fn answers(reads: &[&[u8]], takes: &[usize]) -> Vec<u8> {
    let mut harness = ShardHarness::new(Limits::default());
    let (number, key) = harness.connect(ScriptedConnection {
        takes: takes.iter().copied().collect(),
        ..ScriptedConnection::default()
    });
    for read in reads {
        harness.arrive((number, key), read);
    }
    // Each time the client reads, the kernel accepts bytes again.
    for _ in 0..=takes.len() {
        harness.core.handle_event(key, WRITABLE);
        harness.core.run_deferred();
    }
    harness.audit();
    std::mem::take(&mut harness.fake(number).sent)
}

#[test]
fn input_is_handled_alike_for_every_split_into_reads() {
    let input = splittable_input();
    let whole = answers(&[&input], &[]);
    let sent = String::from_utf8_lossy(&whole);
    for part in ["101 Switching", "ä€😀", r"\ud83d\ude00", "between", "€", "\"en\"", "not_in_room"]
    {
        assert!(sent.contains(part), "no {part} in {sent}");
    }
    assert!(whole.ends_with(&[0x88, 2, 3, 0xe8]), "{sent}");
    for cut in 0..=input.len() {
        let (before, after) = input.split_at(cut);
        assert_eq!(answers(&[before, after], &[]), whole, "cut at {cut}");
    }
    let single: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(answers(&single, &[]), whole, "byte by byte");
}

#[test]
fn output_is_complete_for_every_split_into_writes() {
    let input = splittable_input();
    let whole = answers(&[&input], &[]);
    for cut in 0..whole.len() {
        assert_eq!(answers(&[&input], &[cut, 0, 0]), whole, "cut at {cut}");
    }
    // One byte at a time, with an empty write between two bytes.
    let takes: Vec<usize> = (0..3 * whole.len()).map(|nth| nth % 2).collect();
    assert_eq!(answers(&[&input], &takes), whole, "byte by byte");
    let single: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(answers(&single, &takes), whole, "both byte by byte");
}

#[test]
fn relayed_messages_are_complete_for_every_split_into_writes() {
    let message = r#"{"type":"offer","payload":"€"}"#;
    for cut in 0..message.len() + 2 {
        let mut harness = ShardHarness::new(Limits::default());
        let [one, other] = harness.room();
        harness.fake(other.0).takes = [cut, 0].into();
        harness.arrive(one, &text(message));
        harness.arrive(one, &text(message));
        harness.core.handle_event(other.1, WRITABLE);
        harness.core.handle_event(other.1, WRITABLE);
        harness.audit();
        let frame = [&[0x81, message.len() as u8], message.as_bytes()].concat();
        assert_eq!(harness.fake(other.0).sent, [&frame[..], &frame].concat(), "cut at {cut}");
    }
}

#[test]
fn ignores_an_event_for_the_previous_connection_of_a_slot() {
    let mut harness = ShardHarness::new(Limits::default());
    let gone = harness.session();
    harness.fake(gone.0).ends = true;
    harness.core.handle_event(gone.1, READABLE);
    assert!(harness.fake(gone.0).closed);
    let new = harness.session();
    assert_eq!(new.1.slot, gone.1.slot, "the slot is used again");
    harness.fake(new.0).ends = true;
    let all = Readiness { readable: true, writable: true, read_on: true };
    harness.core.handle_event(gone.1, all);
    assert!(!harness.fake(new.0).closed, "a stale event closed it");
    harness.core.handle_event(new.1, all);
    assert!(harness.fake(new.0).closed);
    harness.audit();
}

#[test]
fn handles_input_that_arrives_with_the_end_of_the_connection() {
    let hang_up = Readiness { readable: true, writable: true, read_on: true };
    let mut harness = ShardHarness::new(Limits::default());
    let user = harness.session();
    harness.fake(user.0).reads = [text(r#"{"type":"ping","payload":1}"#)].into();
    harness.fake(user.0).ends = true;
    harness.core.handle_event(user.1, hang_up);
    assert!(String::from_utf8_lossy(&harness.fake(user.0).sent).contains("pong"));
    assert!(harness.fake(user.0).closed);
    // The same for a request whose client has half-closed.
    let request = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n".to_vec();
    let fake =
        ScriptedConnection { reads: [request].into(), ends: true, ..ScriptedConnection::default() };
    let (number, key) = harness.connect(fake);
    harness.core.handle_event(key, hang_up);
    assert!(harness.fake(number).sent.starts_with(b"HTTP/1.1 200"));
    assert!(harness.fake(number).closed);
    harness.audit();
}

#[test]
fn does_not_read_behind_an_unsent_response() {
    let mut harness = ShardHarness::new(Limits::default());
    let request = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n";
    // Two requests in one read, and an upgrade in the next. The kernel accepts five bytes of each
    // response.
    let reads = [request.repeat(2), upgrade("/ws")].into();
    let (number, key) = harness.connect(ScriptedConnection {
        reads,
        takes: [5, usize::MAX, 5].into(),
        ..ScriptedConnection::default()
    });
    harness.core.handle_event(key, READABLE);
    harness.core.run_deferred();
    assert_eq!(harness.fake(number).bytes_read, 2 * request.len());
    // The first response is sent completely; then the second one waits.
    harness.core.handle_event(key, WRITABLE);
    harness.core.run_deferred();
    harness.core.run_deferred();
    assert_eq!(harness.fake(number).bytes_read, 2 * request.len(), "the upgrade has been read");
    harness.audit();
    harness.core.handle_event(key, WRITABLE);
    harness.core.run_deferred();
    assert!(String::from_utf8_lossy(&harness.fake(number).sent).contains("\"session\""));
    assert_eq!(harness.counters.sessions.get(), 1);
    harness.audit();
}

#[test]
fn a_hundred_thousand_timeouts_are_spread_over_the_parts_of_the_sweep() {
    const USERS: usize = 100_000;
    let limits = Limits::default();
    let silence = limits.silence_limit;
    let mut harness = ShardHarness::new(limits);
    let handshake = upgrade("/ws");
    for _ in 0..USERS {
        let fake = ScriptedConnection {
            reads: [handshake.clone()].into(),
            ..ScriptedConnection::default()
        };
        let (number, key) = harness.connect(fake);
        harness.core.handle_event(key, READABLE);
        harness.core.host.network.connections[number].sent = Vec::new();
    }
    assert_eq!(harness.counters.sessions.get(), USERS as i64);
    let (mut passed, mut most) = (Duration::ZERO, 0);
    let step = Duration::from_millis(100);
    while passed < silence + Duration::from_secs(3) {
        let before = harness.core.host.network.sends;
        harness.wait(step);
        most = most.max(harness.core.host.network.sends - before);
        passed += step;
    }
    assert_eq!(harness.counters.sessions.get(), 0, "all clients exceeded the silence limit");
    assert!(most <= USERS / 10, "{most} were handled in one iteration");
    assert!(most > USERS / 20, "all were due at once, at most {most} were handled");
    harness.audit();
}

#[test]
fn a_clock_jump_closes_no_connection() {
    let limits = Limits::default();
    let day = Duration::from_secs(24 * 3600);
    let mut harness = ShardHarness::new(limits);
    let user = harness.session();
    harness.wait(Duration::from_secs(20));
    harness.set_back(Duration::from_secs(3600));
    harness.wait(Duration::from_millis(100));
    // After a stop of the process: no client could have sent anything.
    harness.wait(day);
    for _ in 0..20 {
        harness.wait(Duration::from_millis(100));
    }
    assert!(!harness.fake(user.0).closed && !harness.fake(user.0).sent.ends_with(&[3, 0xe9]));
    assert_eq!(harness.counters.sessions.get(), 1);
    harness.arrive(user, &text(r#"{"type":"ping"}"#));
    assert!(harness.fake(user.0).sent.ends_with(br#"{"type":"pong"}"#));
}

#[test]
fn an_immediate_match_is_sent_together_with_waiting() {
    let mut harness = ShardHarness::new(Limits::default());
    let users = [harness.session(), harness.session()];
    let before = harness.core.host.network.sends;
    users.iter().for_each(|user| harness.arrive(*user, &text(r#"{"type":"find_match"}"#)));
    harness.wait(Duration::ZERO);
    harness.match_all();
    harness.wait(Duration::ZERO);
    assert_eq!(harness.core.host.network.sends - before, 2);
    for (number, _) in users {
        let sent = String::from_utf8_lossy(&harness.fake(number).sent).into_owned();
        let positions = ["waiting", "match_found"].map(|word| sent.find(word).unwrap());
        assert!(positions.is_sorted(), "{sent}");
    }
    harness.audit();
}

#[test]
fn sends_waiting_when_the_matcher_has_replied() {
    let mut harness = ShardHarness::new(Limits::default());
    let user = harness.session();
    harness.arrive(user, &text(r#"{"type":"find_match"}"#));
    harness.queue_all();
    assert!(String::from_utf8_lossy(&harness.fake(user.0).sent).contains("waiting"));
    assert!(harness.counters.unsent_bytes.get() == 0);
    harness.audit();
}

/// Other answers are sent at once, after the held-back `waiting`.
#[test]
fn a_held_back_waiting_is_sent_before_any_other_answer() {
    let cases: [(&str, &str); 4] = [
        (r#"{"type":"ping","payload":7}"#, "pong"),
        (r#"{"type":"cancel_match"}"#, "match_cancelled"),
        (r#"{"type":"offer"}"#, "not_in_room"),
        (r#"{"type":"find_match","payload":{"queue":"x"}}"#, r#""queue":"x""#),
    ];
    for (message, answer) in cases {
        let mut harness = ShardHarness::new(Limits::default());
        let user = harness.session();
        harness.arrive(user, &text(r#"{"type":"find_match"}"#));
        harness.arrive(user, &text(message));
        let sent = String::from_utf8_lossy(&harness.fake(user.0).sent).into_owned();
        let positions = ["default", answer].map(|word| sent.find(word).unwrap_or(usize::MAX));
        assert!(positions.is_sorted() && positions[1] < sent.len(), "{sent}");
        harness.audit();
    }
    let mut harness = ShardHarness::new(Limits::default());
    let user = harness.session();
    harness.arrive(user, &text(r#"{"type":"find_match"}"#));
    let mut close = Vec::new();
    push_client_frame(&mut close, CLOSE, &[0x03, 0xe8], KEY);
    harness.arrive(user, &close);
    let sent = &harness.fake(user.0).sent;
    assert!(
        sent.ends_with(&[0x88, 2, 3, 0xe8]) && String::from_utf8_lossy(sent).contains("waiting")
    );
    harness.audit();
}

#[test]
fn bytes_behind_a_held_back_waiting_are_bounded() {
    let mut harness = ShardHarness::new(Limits::default());
    let user = harness.session();
    harness.fake(user.0).takes = [100, 0, 0, 0].into();
    harness.arrive(user, &text(r#"{"type":"find_match"}"#));
    // Each of these messages causes an error that is longer than the message.
    let mut flood = Vec::new();
    (0..RECEIVE_BUFFER_BYTES / 6).for_each(|_| push_client_frame(&mut flood, BINARY, b"", KEY));
    harness.arrive(user, &flood);
    harness.audit();
    assert_eq!(harness.counters.closed.get(EndReason::SlowConsumer), 0, "it lingers first");
    assert_eq!(harness.counters.sessions.get(), 0);
}

/// A slow consumer is a client that does not read, not one that had not read at the last send.
#[test]
fn a_client_that_has_read_in_the_meantime_is_not_a_slow_consumer() {
    let ping = text(&format!(r#"{{"type":"ping","payload":"{}"}}"#, "x".repeat(40_000)));
    let limits = Limits { max_unsent_bytes: 100_000, ..Limits::default() };
    for (refusals, reads) in [(1, true), (usize::from(u8::MAX), false)] {
        let mut harness = ShardHarness::new(limits.clone());
        let user = harness.session();
        harness.fake(user.0).takes = vec![0; refusals].into();
        (0..3).for_each(|_| harness.arrive(user, &ping));
        harness.audit();
        assert_eq!(harness.counters.sessions.get(), i64::from(reads));
        let received = harness.fake(user.0).sent.len();
        // A pong has the length of its ping, and no mask key.
        assert_eq!(received, if reads { 3 * (ping.len() - KEY.len()) } else { 0 });
    }
}

/// The matcher may be stalled; the client is still pinged.
#[test]
fn a_client_with_a_held_back_waiting_is_pinged() {
    let mut harness = ShardHarness::new(Limits::default());
    let user = harness.session();
    harness.arrive(user, &text(r#"{"type":"find_match"}"#));
    (0..300).for_each(|_| harness.wait(Duration::from_millis(100)));
    let sent = &harness.fake(user.0).sent;
    assert!(String::from_utf8_lossy(sent).contains("waiting"), "it is sent with the ping");
    assert!(sent.ends_with(&[0x89, 0]), "{sent:?}");
    harness.audit();
}

#[test]
fn sends_waiting_to_a_client_that_half_closes_after_find_match() {
    let mut harness = ShardHarness::new(Limits::default());
    let user = harness.session();
    harness.fake(user.0).ends = true;
    harness.fake(user.0).reads.push_back(text(r#"{"type":"find_match"}"#));
    harness.core.handle_event(user.1, Readiness { read_on: true, ..READABLE });
    assert!(String::from_utf8_lossy(&harness.fake(user.0).sent).contains("waiting"));
    assert!(harness.fake(user.0).closed);
    harness.audit();
}

/// The part of the sweep to which a slot belongs must not depend on the number of slots.
#[test]
fn pings_each_client_once_while_other_connections_open_and_close() {
    let mut harness = ShardHarness::new(Limits::default());
    let users: Vec<_> = (0..500).map(|_| harness.session()).collect();
    let mut others = Vec::new();
    let step = Duration::from_millis(100);
    for tenth in 0..270 {
        harness.wait(step);
        if tenth % 7 < 4 {
            others.extend((0..tenth).map(|_| harness.session()));
        } else {
            for (number, key) in others.drain(..) {
                harness.fake(number).ends = true;
                harness.core.handle_event(key, READABLE);
            }
        }
    }
    let pings = |number: usize| harness.core.host.network.connections[number].sent.len() / 2;
    let odd: Vec<_> = users.iter().map(|(number, _)| pings(*number)).filter(|n| *n != 1).collect();
    assert_eq!(odd, [0; 0], "of {} users", users.len());
    harness.audit();
}

/// The record would cost every session memory. The simulation checks that with a log the end of
/// each session is logged exactly once.
#[test]
fn keeps_no_record_of_a_session_whose_end_is_not_logged() {
    let mut harness = ShardHarness::new(Limits::default());
    let (number, key) = harness.session();
    harness.fake(number).ends = true;
    harness.core.handle_event(key, READABLE);
    harness.audit();
    assert_eq!(harness.core.connections(), 0);
    assert_eq!(harness.core.host.services.session_ends, []);
}
