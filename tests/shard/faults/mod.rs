//! Faults of networks, kernels and clocks, each at every point where it can affect a shard core.
//! Random faults and several shards are in the simulation; tests that need a kernel are in
//! tests/server.

mod harness;

use harness::{KEY, READABLE, ScriptedConnection, ShardHarness, WRITABLE, text, upgrade};
use std::time::Duration;
use switchboard::config::Limits;
use switchboard::limits::{
    EVENT_BYTES_PER_ITERATION, MIN_EVENT_BYTES, READS_PER_ITERATION, RECEIVE_BUFFER_BYTES,
    REQUESTS_PER_ITERATION, RUN_LIST_BYTES_PER_ITERATION, TOTAL_REQUESTS_PER_ITERATION,
};
use switchboard::shard::core::Readiness;
use switchboard::telemetry::labels::EndReason;
use switchboard::timestamp::Timestamp;
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
fn answers_a_bounded_number_of_requests_in_one_iteration() {
    let mut harness = ShardHarness::new(Limits::default());
    let requests = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1000);
    let reads = [requests].into();
    let (number, key) =
        harness.connect(ScriptedConnection { reads, ..ScriptedConnection::default() });
    harness.core.handle_event(key, READABLE);
    let answered = |harness: &mut ShardHarness| {
        let sent = &harness.fake(number).sent;
        sent.windows(8).filter(|part| part == b"HTTP/1.1").count()
    };
    assert_eq!(answered(&mut harness), REQUESTS_PER_ITERATION as usize);
    let mut iterations = 1;
    while harness.core.has_work() {
        let before = answered(&mut harness);
        harness.wait(Duration::ZERO);
        let most = (READS_PER_ITERATION * REQUESTS_PER_ITERATION) as usize;
        assert!(answered(&mut harness) - before <= most, "in one iteration");
        iterations += 1;
        assert!(iterations < 1000, "the run ends");
    }
    assert_eq!(answered(&mut harness), 1000);
}

#[test]
fn answers_one_request_per_connection_beyond_the_total_budget() {
    const CLIENTS: usize = 200;
    let mut harness = ShardHarness::new(Limits::default());
    let requests = b"HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n".repeat(16);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            harness.connect(ScriptedConnection {
                reads: [requests.clone()].into(),
                ..ScriptedConnection::default()
            })
        })
        .collect();
    let answered = |harness: &ShardHarness| harness.counters.http_requests.get() as usize;
    harness.wait(Duration::ZERO);
    harness.core.share_among(CLIENTS);
    for (_, key) in &clients {
        harness.core.handle_event(*key, READABLE);
    }
    let most = TOTAL_REQUESTS_PER_ITERATION as usize + CLIENTS;
    assert!((CLIENTS..=most).contains(&answered(&harness)), "{} at once", answered(&harness));
    while harness.core.has_work() {
        let before = answered(&harness);
        harness.wait(Duration::ZERO);
        let most = TOTAL_REQUESTS_PER_ITERATION as usize + 4;
        assert!((1..=most).contains(&(answered(&harness) - before)), "in one iteration");
    }
    assert_eq!(answered(&harness), 16 * CLIENTS);
    harness.audit();
}

#[test]
fn a_large_message_waits_for_one_share_of_each_flooding_connection() {
    const FLOODERS: usize = 500;
    let mut harness = ShardHarness::new(Limits::default());
    let [one, other] = harness.room();
    let flood = text(r#"{"type":"ping"}"#).repeat(RECEIVE_BUFFER_BYTES / 16);
    let flooders: Vec<_> = (0..FLOODERS).map(|_| harness.session()).collect();
    for (number, key) in &flooders {
        harness.fake(*number).endless = Some(flood.clone());
        harness.core.handle_event(*key, READABLE);
    }
    let offer = format!(r#"{{"type":"offer","payload":"{:x<8000}"}}"#, "");
    harness.core.begin_iteration(Timestamp::from_nanos(2_000_000_000));
    harness.core.share_among(FLOODERS + 1);
    let before = harness.core.host.network.bytes_read;
    harness.arrive(one, &text(&offer));
    while !harness.fake(other.0).sent.ends_with(offer.as_bytes()) {
        harness.core.run_deferred();
        let waited = harness.core.host.network.bytes_read - before;
        let most = FLOODERS * MIN_EVENT_BYTES + RUN_LIST_BYTES_PER_ITERATION;
        assert!(waited <= most, "waited for {waited} bytes, more than {most}");
    }
    harness.audit();
}

#[test]
fn sessions_share_the_read_budget_of_an_iteration() {
    share_the_read_budget("/ws", &text(r#"{"type":"ping"}"#));
}

#[test]
fn echo_connections_share_the_read_budget_of_an_iteration() {
    share_the_read_budget("/echo", &text(""));
}

fn share_the_read_budget(path: &str, frame: &[u8]) {
    const MANY: usize = 1000;
    let mut harness = ShardHarness::new(Limits::default());
    let input = frame.repeat(RECEIVE_BUFFER_BYTES * 2 / 3 / frame.len());
    let many: Vec<_> = (0..MANY).map(|_| harness.open(path)).collect();
    for (number, _) in &many {
        harness.fake(*number).reads.push_back(input.clone());
    }
    let [one, other] = harness.room();
    let before = harness.core.host.network.bytes_read;
    harness.wait(Duration::ZERO);
    harness.core.share_among(MANY + 1);
    for (_, key) in &many {
        harness.core.handle_event(*key, READABLE);
    }
    let message = r#"{"type":"signal","payload":1}"#;
    harness.arrive(one, &text(message));
    assert!(harness.fake(other.0).sent.ends_with(message.as_bytes()), "in the same iteration");
    let waited = harness.core.host.network.bytes_read - before;
    let most = EVENT_BYTES_PER_ITERATION.max((MANY + 1) * MIN_EVENT_BYTES);
    assert!(waited <= most, "waited for {waited} bytes, more than {most}");
    // The rest is read in later iterations, and small messages of others come before it.
    while harness.core.has_work() {
        harness.fake(other.0).sent.clear();
        harness.core.begin_iteration(Timestamp::from_nanos(2_000_000_000));
        let before = harness.core.host.network.bytes_read;
        harness.arrive(one, &text(message));
        assert!(harness.fake(other.0).sent.ends_with(message.as_bytes()), "in the next iteration");
        harness.core.run_deferred();
        let read = harness.core.host.network.bytes_read - before;
        assert!(
            read <= RUN_LIST_BYTES_PER_ITERATION + 2 * RECEIVE_BUFFER_BYTES,
            "{read} bytes in one iteration"
        );
    }
    for (number, _) in &many {
        assert_eq!(harness.fake(*number).bytes_read, upgrade(path).len() + input.len());
    }
    harness.audit();
}

#[test]
fn a_message_is_relayed_in_its_iteration_behind_a_bounded_number_of_bytes() {
    const FLOODERS: usize = 20;
    let mut flood = text(r#"{"type":"ping"}"#);
    flood = flood.repeat(RECEIVE_BUFFER_BYTES / flood.len() + 1);
    flood.truncate(RECEIVE_BUFFER_BYTES);
    let binary = {
        // One frame of the largest size, repeated without end.
        let mut frame = Vec::new();
        push_client_frame(&mut frame, TEXT, &vec![b'x'; 65_536], KEY);
        frame
    };
    let head = [b'x'; RECEIVE_BUFFER_BYTES].to_vec();
    let requests = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n".repeat(2000);
    for endless in [flood, binary, head, requests.clone()] {
        let mut harness = ShardHarness::new(Limits::default());
        let plain = endless == requests;
        let flooders: Vec<_> = (0..FLOODERS)
            .map(|_| {
                if plain {
                    harness.connect(ScriptedConnection::default())
                } else {
                    harness.session()
                }
            })
            .collect();
        for (number, _) in &flooders {
            harness.fake(*number).endless = Some(endless.clone());
        }
        let [one, other] = harness.room();
        for nth in 0..5 {
            harness.fake(other.0).sent.clear();
            let before = harness.core.host.network.bytes_read;
            // The worst case: all flooding connections have an event, and the event of the other
            // client is the last of the iteration.
            harness.core.begin_iteration(Timestamp::from_nanos(2_000_000_000));
            for (_, key) in &flooders {
                harness.core.handle_event(*key, READABLE);
            }
            let message = r#"{"type":"signal","payload":1}"#;
            harness.arrive(one, &text(message));
            assert!(
                harness.fake(other.0).sent.ends_with(message.as_bytes()),
                "in the same iteration"
            );
            let waited = harness.core.host.network.bytes_read - before;
            // In the first iteration the flooding connections are not on the run list yet.
            let most = 100 + if nth == 0 { FLOODERS * RECEIVE_BUFFER_BYTES } else { 0 };
            assert!(waited <= most, "waited for {waited} bytes, more than {most}");
            let before = harness.core.host.network.bytes_read;
            harness.core.run_deferred();
            let read = harness.core.host.network.bytes_read - before;
            let most =
                RUN_LIST_BYTES_PER_ITERATION + READS_PER_ITERATION as usize * RECEIVE_BUFFER_BYTES;
            assert!(read <= most, "{read} bytes in one iteration, more than {most}");
            harness.audit();
        }
        // No flooding connection starves either.
        for _ in 0..FLOODERS {
            harness.core.run_deferred();
        }
        let shares: Vec<usize> = flooders
            .iter()
            .map(|(number, _)| harness.core.host.network.connections[*number].bytes_read)
            .collect();
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(least * 3 > *most || harness.fake(flooders[0].0).closed, "{shares:?}");
    }
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
    let message = text(&format!(r#"{{"type":"signal","payload":"{}"}}"#, "x".repeat(40_000)));
    let limits = Limits { max_unsent_bytes: 100_000, ..Limits::default() };
    for (refusals, reads) in [(1, true), (usize::from(u8::MAX), false)] {
        let mut harness = ShardHarness::new(limits.clone());
        let [one, other] = harness.room();
        let before = harness.fake(other.0).sent.len();
        harness.fake(other.0).takes = vec![0; refusals].into();
        (0..3).for_each(|_| harness.arrive(one, &message));
        harness.audit();
        assert_eq!(harness.counters.sessions.get(), if reads { 2 } else { 1 });
        let received = harness.fake(other.0).sent.len() - before;
        assert_eq!(received, if reads { 3 * (message.len() - KEY.len()) } else { 0 });
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
