//! How long a connection is kept for a client that takes its last HTTP response slowly.

use super::harness::{READABLE, ScriptedConnection, ShardHarness, text};
use std::time::Duration;
use switchboard::config::Limits;
use switchboard::limits::{DEFAULT_CLOSE_TIMEOUT, RESPONSE_CLOSE_TIMEOUTS};
use switchboard::wire::http::RefusalCause;
use switchboard::wire::websocket::frame::{CLOSE, push_client_frame};

const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const UNACKNOWLEDGED: usize = 1000;

/// A connection that has been sent its last response, of which its client has acknowledged nothing.
fn answered(harness: &mut ShardHarness, refusal: Option<RefusalCause>) -> usize {
    let socket = harness.core.host.network.connect(ScriptedConnection {
        reads: [REQUEST.to_vec()].into(),
        unacknowledged_bytes: UNACKNOWLEDGED,
        ..ScriptedConnection::default()
    });
    let key = harness.core.admit(socket, refusal, None);
    harness.core.handle_event(key, READABLE);
    assert!(!harness.fake(socket as usize).closed);
    socket as usize
}

/// How long the connection is kept if its client acknowledges a byte every four seconds, within
/// `reads_for`.
fn kept(harness: &mut ShardHarness, number: usize, reads_for: Duration) -> Duration {
    const STEP: Duration = Duration::from_millis(100);
    let mut passed = Duration::ZERO;
    while !harness.fake(number).closed {
        assert!(passed < Duration::from_secs(300), "it is kept for ever");
        harness.wait(STEP);
        passed += STEP;
        if passed <= reads_for && passed.as_millis().is_multiple_of(4000) {
            harness.fake(number).unacknowledged_bytes -= 1;
        }
    }
    assert!(harness.fake(number).was_reset);
    assert_eq!(harness.counters.close_timeouts.get(), 1);
    harness.audit();
    passed
}

/// The sweep finds a timeout late by at most a second, and progress as well.
fn assert_late(kept: Duration, due: Duration) {
    assert!(kept >= due && kept <= due + Duration::from_secs(2), "{kept:?}, due after {due:?}");
}

#[test]
fn the_close_timeout_counts_from_the_last_byte_that_was_acknowledged() {
    for reads_for in [Duration::ZERO, Duration::from_secs(20)] {
        let mut harness = ShardHarness::new(Limits::default());
        let number = answered(&mut harness, None);
        let kept = kept(&mut harness, number, reads_for);
        assert_late(kept, reads_for + DEFAULT_CLOSE_TIMEOUT);
    }
}

#[test]
fn the_time_for_a_last_response_is_bounded() {
    let mut harness = ShardHarness::new(Limits::default());
    let number = answered(&mut harness, None);
    let kept = kept(&mut harness, number, Duration::MAX);
    assert_late(kept, DEFAULT_CLOSE_TIMEOUT * RESPONSE_CLOSE_TIMEOUTS);
}

#[test]
fn a_connection_above_a_limit_and_a_websocket_are_kept_for_one_close_timeout() {
    let mut harness = ShardHarness::new(Limits::default());
    let number = answered(&mut harness, Some(RefusalCause::Connections));
    let above = kept(&mut harness, number, Duration::MAX);
    assert_late(above, DEFAULT_CLOSE_TIMEOUT);

    let mut harness = ShardHarness::new(Limits::default());
    let user = harness.session();
    harness.fake(user.0).unacknowledged_bytes = UNACKNOWLEDGED;
    harness.arrive(user, &text(r#"{"type":"ping"}"#));
    let mut close = Vec::new();
    push_client_frame(&mut close, CLOSE, &1000u16.to_be_bytes(), super::harness::KEY);
    harness.arrive(user, &close);
    let websocket = kept(&mut harness, user.0, Duration::MAX);
    assert_late(websocket, DEFAULT_CLOSE_TIMEOUT);
}
