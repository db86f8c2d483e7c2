//! Faults of networks, kernels and clocks, each at every place where it can strike a shard core.
//! What needs chance or two shards is in the simulation; what needs a kernel, elsewhere.

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

/// A handshake with frames glued to it, and in them all that can be cut in two: characters of
/// two, three and four bytes, escapes, surrogates, long headers, fragments with a ping between.
fn a_long_story() -> Vec<u8> {
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

/// What a client is sent when what it sends arrives in these reads, and sends take so much.
fn answers(reads: &[&[u8]], takes: &[usize]) -> Vec<u8> {
    let mut harness = ShardHarness::new(Limits::default());
    let (number, key) = harness.connect(ScriptedConnection {
        takes: takes.iter().copied().collect(),
        ..ScriptedConnection::default()
    });
    for read in reads {
        harness.arrive((number, key), read);
    }
    // Each time a client reads, the kernel takes bytes again.
    for _ in 0..=takes.len() {
        harness.core.handle_event(key, WRITABLE);
        harness.core.run_deferred();
    }
    harness.audit();
    std::mem::take(&mut harness.fake(number).sent)
}

#[test]
fn a_read_may_end_at_any_byte() {
    let story = a_long_story();
    let whole = answers(&[&story], &[]);
    let said = String::from_utf8_lossy(&whole);
    for part in ["101 Switching", "ä€😀", r"\ud83d\ude00", "between", "€", "\"en\"", "not_in_room"]
    {
        assert!(said.contains(part), "no {part} in {said}");
    }
    assert!(whole.ends_with(&[0x88, 2, 3, 0xe8]), "{said}");
    for cut in 0..=story.len() {
        let (before, after) = story.split_at(cut);
        assert_eq!(answers(&[before, after], &[]), whole, "cut at {cut}");
    }
    let single: Vec<&[u8]> = story.chunks(1).collect();
    assert_eq!(answers(&single, &[]), whole, "byte by byte");
}

#[test]
fn a_write_may_end_at_any_byte() {
    let story = a_long_story();
    let whole = answers(&[&story], &[]);
    for cut in 0..whole.len() {
        assert_eq!(answers(&[&story], &[cut, 0, 0]), whole, "cut at {cut}");
    }
    // A single byte at a time, and nothing in between.
    let takes: Vec<usize> = (0..3 * whole.len()).map(|nth| nth % 2).collect();
    assert_eq!(answers(&[&story], &takes), whole, "byte by byte");
    let single: Vec<&[u8]> = story.chunks(1).collect();
    assert_eq!(answers(&single, &takes), whole, "both byte by byte");
}

#[test]
fn what_is_written_in_any_pieces_to_a_partner_arrives_whole() {
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
fn an_event_for_one_who_had_the_slot_before_is_nobodys() {
    let mut harness = ShardHarness::new(Limits::default());
    let gone = harness.session();
    harness.fake(gone.0).ends = true;
    harness.core.handle_event(gone.1, READABLE);
    assert!(harness.fake(gone.0).closed);
    let newcomer = harness.session();
    assert_eq!(newcomer.1.slot, gone.1.slot, "the slot is used again");
    harness.fake(newcomer.0).ends = true;
    let all = Readiness { readable: true, writable: true, read_on: true };
    harness.core.handle_event(gone.1, all);
    assert!(!harness.fake(newcomer.0).closed, "a stale event ended it");
    harness.core.handle_event(newcomer.1, all);
    assert!(harness.fake(newcomer.0).closed);
    harness.audit();
}

#[test]
fn what_came_before_the_end_in_the_same_event_is_handled() {
    let hang_up = Readiness { readable: true, writable: true, read_on: true };
    let mut harness = ShardHarness::new(Limits::default());
    let user = harness.session();
    harness.fake(user.0).reads = [text(r#"{"type":"ping","payload":1}"#)].into();
    harness.fake(user.0).ends = true;
    harness.core.handle_event(user.1, hang_up);
    assert!(String::from_utf8_lossy(&harness.fake(user.0).sent).contains("pong"));
    assert!(harness.fake(user.0).closed);
    // And a request, whose client has half-closed.
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
fn behind_an_answer_that_is_unsent_nothing_more_is_read() {
    let mut harness = ShardHarness::new(Limits::default());
    let request = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n";
    // Two requests in one read, and an upgrade in the next. Of each answer five bytes are taken.
    let reads = [request.repeat(2), upgrade("/ws")].into();
    let (number, key) = harness.connect(ScriptedConnection {
        reads,
        takes: [5, usize::MAX, 5].into(),
        ..ScriptedConnection::default()
    });
    harness.core.handle_event(key, READABLE);
    harness.core.run_deferred();
    assert_eq!(harness.fake(number).bytes_read, 2 * request.len());
    // The first answer is taken whole; then it is the second that waits.
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
fn one_turn_answers_a_bounded_number_of_requests() {
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
    let mut turns = 1;
    while harness.core.has_work() {
        let before = answered(&mut harness);
        harness.wait(Duration::ZERO);
        let most = (READS_PER_ITERATION * REQUESTS_PER_ITERATION) as usize;
        assert!(answered(&mut harness) - before <= most, "in one turn");
        turns += 1;
        assert!(turns < 1000, "it comes to an end");
    }
    assert_eq!(answered(&mut harness), 1000);
}

#[test]
fn the_requests_of_all_are_answered_one_by_one_beyond_a_bounded_number() {
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
        assert!((1..=most).contains(&(answered(&harness) - before)), "in one turn");
    }
    assert_eq!(answered(&harness), 16 * CLIENTS);
    harness.audit();
}

#[test]
fn who_sends_one_large_message_waits_for_a_share_of_each_who_sends_without_end() {
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
        assert!(waited <= most, "behind {waited} bytes, above {most}");
    }
    harness.audit();
}

#[test]
fn many_who_send_less_than_a_buffer_at_once_share_a_turn() {
    many_share_a_turn("/ws", &text(r#"{"type":"ping"}"#));
}

#[test]
fn many_who_have_less_than_a_buffer_echoed_at_once_share_a_turn() {
    many_share_a_turn("/echo", &text(""));
}

fn many_share_a_turn(path: &str, frame: &[u8]) {
    const MANY: usize = 1000;
    let mut harness = ShardHarness::new(Limits::default());
    let burst = frame.repeat(RECEIVE_BUFFER_BYTES * 2 / 3 / frame.len());
    let many: Vec<_> = (0..MANY).map(|_| harness.open(path)).collect();
    for (number, _) in &many {
        harness.fake(*number).reads.push_back(burst.clone());
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
    assert!(harness.fake(other.0).sent.ends_with(message.as_bytes()), "in the same turn");
    let waited = harness.core.host.network.bytes_read - before;
    let most = EVENT_BYTES_PER_ITERATION.max((MANY + 1) * MIN_EVENT_BYTES);
    assert!(waited <= most, "behind {waited} bytes, above {most}");
    // What was cut off is read in its turn, and whoever sends little comes before it.
    while harness.core.has_work() {
        harness.fake(other.0).sent.clear();
        harness.core.begin_iteration(Timestamp::from_nanos(2_000_000_000));
        let before = harness.core.host.network.bytes_read;
        harness.arrive(one, &text(message));
        assert!(harness.fake(other.0).sent.ends_with(message.as_bytes()), "in the next turn");
        harness.core.run_deferred();
        let turn = harness.core.host.network.bytes_read - before;
        assert!(
            turn <= RUN_LIST_BYTES_PER_ITERATION + 2 * RECEIVE_BUFFER_BYTES,
            "{turn} bytes in one turn"
        );
    }
    for (number, _) in &many {
        assert_eq!(harness.fake(*number).bytes_read, upgrade(path).len() + burst.len());
    }
    harness.audit();
}

#[test]
fn a_healthy_message_waits_for_a_bounded_number_of_bytes_and_for_no_turn() {
    const FLOODERS: usize = 20;
    let mut flood = text(r#"{"type":"ping"}"#);
    flood = flood.repeat(RECEIVE_BUFFER_BYTES / flood.len() + 1);
    flood.truncate(RECEIVE_BUFFER_BYTES);
    let binary = {
        // One frame that never ends, as large as it may be.
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
            // The worst: the event of the healthy one is the last of a turn, and all flooders
            // have one of their own.
            harness.core.begin_iteration(Timestamp::from_nanos(2_000_000_000));
            for (_, key) in &flooders {
                harness.core.handle_event(*key, READABLE);
            }
            let message = r#"{"type":"signal","payload":1}"#;
            harness.arrive(one, &text(message));
            assert!(harness.fake(other.0).sent.ends_with(message.as_bytes()), "in the same turn");
            let waited = harness.core.host.network.bytes_read - before;
            // The first time nobody knows them for flooders.
            let most = 100 + if nth == 0 { FLOODERS * RECEIVE_BUFFER_BYTES } else { 0 };
            assert!(waited <= most, "behind {waited} bytes, above {most}");
            let before = harness.core.host.network.bytes_read;
            harness.core.run_deferred();
            let turn = harness.core.host.network.bytes_read - before;
            let most =
                RUN_LIST_BYTES_PER_ITERATION + READS_PER_ITERATION as usize * RECEIVE_BUFFER_BYTES;
            assert!(turn <= most, "{turn} bytes in one turn, above {most}");
            harness.audit();
        }
        // And none of the flooders is starved in its turn.
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
fn a_hundred_thousand_who_are_due_at_once_are_seen_to_in_parts() {
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
    assert_eq!(harness.counters.sessions.get(), 0, "everybody was silent for too long");
    assert!(most <= USERS / 10, "{most} were seen to in one turn");
    assert!(most > USERS / 20, "they were due at once, not {most}");
    harness.audit();
}

#[test]
fn a_clock_that_is_set_back_or_far_ahead_ends_nobody() {
    let limits = Limits::default();
    let day = Duration::from_secs(24 * 3600);
    let mut harness = ShardHarness::new(limits);
    let user = harness.session();
    harness.wait(Duration::from_secs(20));
    harness.set_back(Duration::from_secs(3600));
    harness.wait(Duration::from_millis(100));
    // A process that was stopped: no client could show that it is alive.
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
fn two_who_meet_at_once_hear_of_both_by_one_send() {
    let mut harness = ShardHarness::new(Limits::default());
    let users = [harness.session(), harness.session()];
    let before = harness.core.host.network.sends;
    users.iter().for_each(|user| harness.arrive(*user, &text(r#"{"type":"find_match"}"#)));
    harness.wait(Duration::ZERO);
    harness.match_all();
    harness.wait(Duration::ZERO);
    assert_eq!(harness.core.host.network.sends - before, 2);
    for (number, _) in users {
        let said = String::from_utf8_lossy(&harness.fake(number).sent).into_owned();
        let places = ["waiting", "match_found"].map(|word| said.find(word).unwrap());
        assert!(places.is_sorted(), "{said}");
    }
    harness.audit();
}

#[test]
fn who_waits_alone_is_told_as_soon_as_the_matcher_has_answered() {
    let mut harness = ShardHarness::new(Limits::default());
    let user = harness.session();
    harness.arrive(user, &text(r#"{"type":"find_match"}"#));
    harness.keep_all();
    assert!(String::from_utf8_lossy(&harness.fake(user.0).sent).contains("waiting"));
    assert!(harness.counters.unsent_bytes.get() == 0);
    harness.audit();
}

/// What is said meanwhile comes behind it, and waits for nobody.
#[test]
fn a_waiting_that_is_held_back_comes_first_and_holds_up_nothing() {
    let sayings: [(&str, &str); 4] = [
        (r#"{"type":"ping","payload":7}"#, "pong"),
        (r#"{"type":"cancel_match"}"#, "match_cancelled"),
        (r#"{"type":"offer"}"#, "not_in_room"),
        (r#"{"type":"find_match","payload":{"queue":"x"}}"#, r#""queue":"x""#),
    ];
    for (message, answer) in sayings {
        let mut harness = ShardHarness::new(Limits::default());
        let user = harness.session();
        harness.arrive(user, &text(r#"{"type":"find_match"}"#));
        harness.arrive(user, &text(message));
        let said = String::from_utf8_lossy(&harness.fake(user.0).sent).into_owned();
        let places = ["default", answer].map(|word| said.find(word).unwrap_or(usize::MAX));
        assert!(places.is_sorted() && places[1] < said.len(), "{said}");
        harness.audit();
    }
    let mut harness = ShardHarness::new(Limits::default());
    let user = harness.session();
    harness.arrive(user, &text(r#"{"type":"find_match"}"#));
    let mut close = Vec::new();
    push_client_frame(&mut close, CLOSE, &[0x03, 0xe8], KEY);
    harness.arrive(user, &close);
    let said = &harness.fake(user.0).sent;
    assert!(
        said.ends_with(&[0x88, 2, 3, 0xe8]) && String::from_utf8_lossy(said).contains("waiting")
    );
    harness.audit();
}

#[test]
fn what_is_said_behind_a_waiting_that_is_held_back_has_its_bound() {
    let mut harness = ShardHarness::new(Limits::default());
    let user = harness.session();
    harness.fake(user.0).takes = [100, 0, 0, 0].into();
    harness.arrive(user, &text(r#"{"type":"find_match"}"#));
    // Each of these is refused by more bytes than it has.
    let mut flood = Vec::new();
    (0..RECEIVE_BUFFER_BYTES / 6).for_each(|_| push_client_frame(&mut flood, BINARY, b"", KEY));
    harness.arrive(user, &flood);
    harness.audit();
    assert_eq!(harness.counters.closed.get(EndReason::SlowConsumer), 0, "it lingers first");
    assert_eq!(harness.counters.sessions.get(), 0);
}

/// Slow is who does not read, and not who had not read when the kernel was last asked.
#[test]
fn one_that_has_read_meanwhile_is_no_slow_consumer() {
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

/// The matcher's thread may stand still; who waits for it is alive.
#[test]
fn one_that_a_waiting_is_held_back_for_is_pinged() {
    let mut harness = ShardHarness::new(Limits::default());
    let user = harness.session();
    harness.arrive(user, &text(r#"{"type":"find_match"}"#));
    (0..300).for_each(|_| harness.wait(Duration::from_millis(100)));
    let said = &harness.fake(user.0).sent;
    assert!(String::from_utf8_lossy(said).contains("waiting"), "it goes out with the ping");
    assert!(said.ends_with(&[0x89, 0]), "{said:?}");
    harness.audit();
}

#[test]
fn one_that_ends_behind_its_wish_is_told_that_it_waits() {
    let mut harness = ShardHarness::new(Limits::default());
    let user = harness.session();
    harness.fake(user.0).ends = true;
    harness.fake(user.0).reads.push_back(text(r#"{"type":"find_match"}"#));
    harness.core.handle_event(user.1, Readiness { read_on: true, ..READABLE });
    assert!(String::from_utf8_lossy(&harness.fake(user.0).sent).contains("waiting"));
    assert!(harness.fake(user.0).closed);
    harness.audit();
}

/// With the number of slots the part of the sweep that each slot is in must not change.
#[test]
fn whoever_comes_and_goes_meanwhile_everybody_is_pinged_once() {
    let mut harness = ShardHarness::new(Limits::default());
    let users: Vec<_> = (0..500).map(|_| harness.session()).collect();
    let mut crowd = Vec::new();
    let step = Duration::from_millis(100);
    for tenth in 0..270 {
        harness.wait(step);
        if tenth % 7 < 4 {
            crowd.extend((0..tenth).map(|_| harness.session()));
        } else {
            for (number, key) in crowd.drain(..) {
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
