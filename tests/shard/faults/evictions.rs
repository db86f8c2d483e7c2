//! Evictions from a full server that a real one shows only by chance.

use super::harness::{READABLE, ScriptedConnection, ShardHarness};
use std::time::Duration;
use switchboard::commands::{EvictionRequest, EvictionScope, ShardCommand};
use switchboard::config::Limits;
use switchboard::ids::ConnectionKey;
use switchboard::limits::LINGERING_EVICTIONS;
use switchboard::telemetry::labels::EndReason;
use switchboard::wire::http::RefusalCause;
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
    let command =
        ShardCommand::Evict(EvictionRequest { scope: EvictionScope::AllConnections, idle: 0 });
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

const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n";

/// A connection that has made a request and been answered.
fn answered(harness: &mut ShardHarness) -> (usize, ConnectionKey) {
    let connection = harness.connect(ScriptedConnection::default());
    harness.arrive(connection, REQUEST);
    connection
}

/// Whether a connection is closed when one more idle connection is to make space.
fn is_evicted(harness: &mut ShardHarness, (number, _): (usize, ConnectionKey)) -> bool {
    let request = EvictionRequest { scope: EvictionScope::AllConnections, idle: 1 };
    harness.core.handle_command(ShardCommand::Evict(request));
    harness.audit();
    harness.fake(number).closed
}

/// Every connection is visited by a sweep.
fn sweep(harness: &mut ShardHarness) {
    for _ in 0..20 {
        harness.wait(Duration::from_millis(100));
    }
}

#[test]
fn idle_connections_are_closed_before_sessions_longest_idle_first() {
    let (mut harness, sessions) = suspects(1);
    let longest = answered(&mut harness);
    harness.wait(Duration::from_millis(100));
    let other = answered(&mut harness);
    sweep(&mut harness);
    assert!(is_evicted(&mut harness, longest) && !harness.fake(other.0).closed);
    assert!(is_evicted(&mut harness, other));
    assert_eq!(closed(&mut harness, &sessions), 0);
    assert_eq!(harness.counters.closed.get(EndReason::HttpEvicted), 2);
    is_evicted(&mut harness, other);
    assert_eq!(closed(&mut harness, &sessions), 1, "no connection is idle any more");
}

#[test]
fn as_many_idle_connections_are_closed_as_are_requested() {
    let mut harness = ShardHarness::new(Limits::default());
    let idle: Vec<_> = (0..6).map(|_| answered(&mut harness)).collect();
    sweep(&mut harness);
    let request = EvictionRequest { scope: EvictionScope::AllConnections, idle: 4 };
    harness.core.handle_command(ShardCommand::Evict(request));
    let closed = idle.iter().filter(|(number, _)| harness.fake(*number).closed).count();
    assert_eq!(closed, 4);
}

#[test]
fn a_request_that_has_arrived_is_answered_and_its_connection_stays() {
    let mut harness = ShardHarness::new(Limits::default());
    let connection = answered(&mut harness);
    sweep(&mut harness);
    harness.fake(connection.0).sent.clear();
    harness.fake(connection.0).reads.push_back(REQUEST.to_vec());
    assert!(!is_evicted(&mut harness, connection));
    assert!(harness.fake(connection.0).sent.starts_with(b"HTTP/1.1 200 "));
}

#[test]
fn only_a_connection_with_nothing_under_way_is_evicted() {
    let mut harness = ShardHarness::new(Limits::default());
    let silent = harness.connect(ScriptedConnection::default());
    let half = answered(&mut harness);
    harness.arrive(half, b"GET /");
    let slow = answered(&mut harness);
    harness.fake(slow.0).unacknowledged_bytes = 10;
    let socket = harness.core.host.network.connect(ScriptedConnection::default());
    let admin = (socket as usize, harness.core.admit_admin(socket).unwrap());
    harness.arrive(admin, REQUEST);
    sweep(&mut harness);
    for connection in [silent, half, slow, admin] {
        assert!(!is_evicted(&mut harness, connection), "{connection:?}");
    }
    let idle = answered(&mut harness);
    sweep(&mut harness);
    assert!(is_evicted(&mut harness, idle));
}

#[test]
fn a_shard_at_its_own_limit_makes_space_on_itself() {
    let mut harness = ShardHarness::new(Limits::default());
    harness.core = harness.core.at_most(2);
    let (idle, session) = (answered(&mut harness), harness.session());
    sweep(&mut harness);
    assert!(harness.core.is_full_here());
    let refused = Some(RefusalCause::Connections);
    let upgrade = super::harness::upgrade("/ws");
    let fake = ScriptedConnection { reads: [upgrade].into(), ..ScriptedConnection::default() };
    let socket = harness.core.host.network.connect(fake);
    let key = harness.core.admit(socket, refused, None);
    harness.core.handle_event(key, READABLE);
    harness.wait(Duration::ZERO);
    harness.audit();
    assert!(harness.fake(idle.0).closed && !harness.fake(session.0).closed);
}
