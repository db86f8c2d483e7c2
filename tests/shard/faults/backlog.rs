//! A client that does not read is no way to close it: its partner's messages are refused one by one,
//! and what the server itself has to send always finds space (guarantee 6).

use super::harness::{KEY, ShardHarness, text};
use std::time::Duration;
use switchboard::config::Limits;
use switchboard::limits::{OWN_MESSAGES_BYTES, SERVER_HEADER_BYTES};
use switchboard::telemetry::labels::EndReason;
use switchboard::wire::message::ErrorCode;
use switchboard::wire::websocket::frame::{PONG, Side, TEXT, parse_header, push_client_frame};

/// A `signal` of this many bytes, at least 40, that names its number.
fn signal(nth: usize, bytes: usize) -> String {
    let frame = format!(r#"{{"type":"signal","n":{nth:05},"p":""}}"#);
    format!(r#"{{"type":"signal","n":{nth:05},"p":"{}"}}"#, "m".repeat(bytes - frame.len()))
}

/// The numbers of the relayed messages in `sent`, and the rest behind the last whole frame.
fn numbers(mut sent: &[u8]) -> (Vec<usize>, usize) {
    let mut numbers = Vec::new();
    while let Ok(Some(header)) = parse_header(sent, Side::Server) {
        let end = header.header_len + header.payload_len as usize;
        if sent.len() < end {
            break;
        }
        let payload = String::from_utf8_lossy(&sent[header.header_len..end]).into_owned();
        if let Some((_, rest)) = payload.split_once("\"n\":") {
            numbers.push(rest[..5].parse().expect("five digits"));
        }
        sent = &sent[end..];
    }
    (numbers, sent.len())
}

/// The bound of a backlog as `src/wire/PROTOCOL.md` states it.
fn most_bytes(limits: &Limits) -> usize {
    let message_bytes = limits.max_message_bytes + SERVER_HEADER_BYTES;
    limits.max_unsent_bytes.max(message_bytes + OWN_MESSAGES_BYTES)
}

/// One member sends `count` messages in reads of any size, while the kernel takes what `takes` say of
/// each send to the other, and then nothing. Both stay in their room, and each message was either
/// relayed or refused.
fn flood(limits: &Limits, count: usize, bytes: usize, reads: usize, takes: &[usize]) {
    let mut harness = ShardHarness::new(limits.clone());
    let [one, other] = harness.room();
    let name = format!("{limits:?}: {count} messages of {bytes} bytes in {reads} reads, {takes:?}");
    let takes = takes.iter().copied().chain(std::iter::repeat_n(0, 1000));
    harness.fake(other.0).takes = takes.collect();
    let mut input = Vec::new();
    for nth in 0..count {
        push_client_frame(&mut input, TEXT, signal(nth, bytes).as_bytes(), KEY);
    }
    for read in input.chunks(input.len().div_ceil(reads)) {
        harness.arrive(one, read);
        while harness.core.has_work() {
            harness.wait(Duration::ZERO);
        }
        harness.audit();
    }
    let refused = harness.counters.errors.get(ErrorCode::PeerBusy) as usize;
    assert_eq!(harness.counters.messages_relayed.get() as usize + refused, count, "{name}");
    let waits = harness.counters.unsent_bytes.get() as usize;
    assert!(waits + OWN_MESSAGES_BYTES <= most_bytes(limits), "{name}: {waits} wait");
    if refused > 0 {
        let smallest = most_bytes(limits) / 2 - OWN_MESSAGES_BYTES;
        assert!(waits + bytes + SERVER_HEADER_BYTES > smallest, "{name}: {waits} wait");
    }
    let answers = String::from_utf8_lossy(&harness.fake(one.0).sent).into_owned();
    assert_eq!(answers.matches("peer_busy").count(), refused, "{name}");
    // The sender leaves: what the server sends because of that finds space.
    harness.arrive(one, &text(r#"{"type":"leave_room"}"#));
    assert_eq!(harness.counters.sessions.get(), 2, "{name}");
    // The receiver reads again: messages that were taken are whole, in order, and none came twice.
    harness.fake(other.0).takes.clear();
    harness.core.handle_event(other.1, super::WRITABLE);
    let sent = std::mem::take(&mut harness.fake(other.0).sent);
    let (numbers, rest) = numbers(&sent);
    assert_eq!((numbers.len(), rest), (count - refused, 0), "{name}");
    assert!(numbers.is_sorted_by(|a, b| a < b), "{name}");
    assert!(String::from_utf8_lossy(&sent).contains("peer_left"), "{name}");
    harness.audit();
}

#[test]
fn relayed_messages_never_close_a_client_that_does_not_read() {
    for (max_message_bytes, max_unsent_bytes) in
        [(1024, 4096), (4086, 4096), (65_536, 65_546), (65_536, 70_000), (65_536, 262_144)]
    {
        let limits = Limits { max_message_bytes, max_unsent_bytes, ..Limits::default() };
        for bytes in [40, 500, max_message_bytes / 2, max_message_bytes] {
            let count = (3 * max_unsent_bytes / bytes).clamp(8, 4000);
            for reads in [1, 3, 40] {
                for takes in [&[][..], &[0], &[1], &[3000], &[usize::MAX, 700, 0, 5000]] {
                    flood(&limits, count, bytes, reads, takes);
                }
            }
        }
    }
}

#[test]
fn a_refused_message_stops_no_smaller_one_behind_it() {
    let limits = Limits { max_unsent_bytes: 70_000, ..Limits::default() };
    let mut harness = ShardHarness::new(limits);
    let [one, other] = harness.room();
    harness.fake(other.0).takes = vec![0; 100].into();
    for (nth, bytes) in [30_000, 60_000, 1000].into_iter().enumerate() {
        harness.arrive(one, &text(&signal(nth, bytes)));
    }
    let answers = String::from_utf8_lossy(&harness.fake(one.0).sent).into_owned();
    assert_eq!(answers.matches("peer_busy").count(), 1, "{answers}");
    harness.fake(other.0).takes.clear();
    harness.core.handle_event(other.1, super::WRITABLE);
    assert_eq!(numbers(&harness.fake(other.0).sent).0, [0, 2]);
    harness.audit();
}

#[test]
fn a_client_that_has_read_in_the_meantime_is_sent_the_message() {
    let message = text(&signal(0, 40_000));
    let limits = Limits { max_unsent_bytes: 100_000, ..Limits::default() };
    for (refusals, received) in [(2, 3), (100, 0)] {
        let mut harness = ShardHarness::new(limits.clone());
        let [one, other] = harness.room();
        harness.fake(other.0).takes = vec![0; refusals - 1].into();
        (0..3).for_each(|_| harness.arrive(one, &message));
        harness.audit();
        assert_eq!(harness.counters.sessions.get(), 2);
        assert_eq!(numbers(&harness.fake(other.0).sent).0.len(), received);
    }
}

/// A client that sends but takes nothing is alive, and would keep half a backlog for ever.
#[test]
fn closes_a_client_that_takes_nothing_of_half_a_backlog_for_the_silence_limit() {
    let limits = Limits { max_unsent_bytes: 100_000, ..Limits::default() };
    let silence_limit = limits.silence_limit;
    let one_byte_a_second: Vec<usize> = std::iter::once(0).chain([1; 1000]).collect();
    for (bytes, takes, closed) in [
        (60_000, vec![0; 1000], true),
        (40_000, vec![0; 1000], false),
        (60_000, one_byte_a_second, false),
    ] {
        let mut harness = ShardHarness::new(limits.clone());
        let [one, other] = harness.room();
        harness.fake(other.0).takes = takes.into();
        harness.arrive(one, &text(&signal(0, bytes)));
        let (mut passed, mut pong) = (Duration::ZERO, Vec::new());
        while passed < silence_limit + Duration::from_secs(2) {
            passed += Duration::from_millis(100);
            harness.wait(Duration::from_millis(100));
            if passed.subsec_millis() == 0 {
                // Both send, so neither is silent.
                harness.arrive(one, &text(r#"{"type":"ping"}"#));
                push_client_frame(&mut pong, PONG, b"", KEY);
                harness.arrive(other, &std::mem::take(&mut pong));
                if harness.counters.rooms.get() == 1 {
                    harness.core.handle_event(other.1, super::WRITABLE);
                }
                if passed == silence_limit - Duration::from_secs(1) {
                    assert_eq!(harness.counters.rooms.get(), 1, "{bytes}: not before the limit");
                }
            }
        }
        assert_eq!(harness.counters.rooms.get(), i64::from(!closed), "{bytes}");
        harness.wait(Duration::from_secs(10));
        (0..100).for_each(|_| harness.wait(Duration::from_millis(100)));
        let slow = harness.counters.closed.get(EndReason::SlowConsumer);
        assert_eq!(slow, u64::from(closed), "{bytes}");
        harness.audit();
    }
}
