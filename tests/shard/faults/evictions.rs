//! Evictions from a full server that a real one shows only by chance.

use super::harness::{READABLE, ShardHarness};
use std::time::Duration;
use switchboard::commands::{EvictionScope, ShardCommand};
use switchboard::config::Limits;
use switchboard::ids::ConnectionKey;
use switchboard::limits::LINGERING_EVICTIONS;
use switchboard::wire::websocket::frame::{PONG, push_client_frame};

/// Sessions whose clients have owed an answer for a whole window.
fn suspects(count: usize) -> (ShardHarness, Vec<(usize, ConnectionKey)>) {
    let mut harness = ShardHarness::new(Limits::default());
    let sessions: Vec<_> = (0..count).map(|_| harness.session()).collect();
    // They are pinged after 25 s.
    for _ in 0..330 {
        harness.wait(Duration::from_millis(100));
    }
    for (number, _) in &sessions {
        harness.fake(*number).sent.clear();
    }
    (harness, sessions)
}

fn evict(harness: &mut ShardHarness) {
    let command = ShardCommand::EvictSuspect(EvictionScope::AllConnections);
    harness.core.handle_command(command);
    harness.audit();
}

/// How many of these were sent a Close frame.
fn closed(harness: &mut ShardHarness, sessions: &[(usize, ConnectionKey)]) -> usize {
    let is_closed =
        |(number, _): &&(usize, ConnectionKey)| harness.fake(*number).sent == CLOSE_1001;
    sessions.iter().filter(is_closed).count()
}

const CLOSE_1001: [u8; 4] = [0x88, 2, 0x03, 0xe9];

#[test]
fn reads_an_answer_that_arrived_before_it_evicts() {
    let (mut harness, sessions) = suspects(2);
    let mut pong = Vec::new();
    push_client_frame(&mut pong, PONG, b"", super::KEY);
    // The answer of the session that is next to be evicted has arrived without an event so far.
    let (first, key) = sessions[0];
    harness.fake(first).reads.push_back(pong);
    evict(&mut harness);
    assert_eq!(closed(&mut harness, &sessions[..1]), 0);
    assert_eq!(closed(&mut harness, &sessions[1..]), 1, "the other one makes space");
    evict(&mut harness);
    harness.core.handle_event(key, READABLE);
    assert_eq!(closed(&mut harness, &sessions), 1);
}

#[test]
fn evicts_a_bounded_number_of_sessions_that_linger() {
    let (mut harness, sessions) = suspects(LINGERING_EVICTIONS + 6);
    for _ in &sessions {
        evict(&mut harness);
    }
    assert_eq!(closed(&mut harness, &sessions), LINGERING_EVICTIONS);
    // Their connections end with the close timeout, and then others can be evicted.
    for _ in 0..70 {
        harness.wait(Duration::from_millis(100));
    }
    evict(&mut harness);
    assert_eq!(closed(&mut harness, &sessions), LINGERING_EVICTIONS + 1);
}
