//! A client that takes what it was sent slowly cannot answer the pings behind it. It is alive as long
//! as it takes something.

use super::harness::{ShardHarness, text};
use std::time::Duration;
use switchboard::commands::{EvictionRequest, EvictionScope, ShardCommand};
use switchboard::config::Limits;
use switchboard::telemetry::labels::EndReason;

const STEP: Duration = Duration::from_millis(100);
/// What the kernel reports of a client that takes a long backlog.
const TAKING: Option<(usize, Duration)> = Some((50_000, STEP));
/// The same of a client whose network is dead: nothing was ever acknowledged.
const DEAD: Option<(usize, Duration)> = Some((50_000, Duration::from_secs(3600)));
/// Only pings are on their way to a client that acknowledges everything.
const PINGS_ONLY: Option<(usize, Duration)> = Some((10, Duration::ZERO));

/// The time passes in steps while the kernel reports this of a client.
fn pass(harness: &mut ShardHarness, user: usize, state: Option<(usize, Duration)>, steps: usize) {
    harness.fake(user).unacknowledged = state;
    (0..steps).for_each(|_| harness.wait(STEP));
}

#[test]
fn a_new_member_that_takes_its_backlog_is_not_lost() {
    for state in [None, DEAD, PINGS_ONLY] {
        let mut harness = ShardHarness::new(Limits::default());
        let [slow, other] = harness.room();
        harness.fake(other.0).unacknowledged = TAKING;
        pass(&mut harness, slow.0, TAKING, 300);
        assert_eq!(harness.counters.sessions.get(), 2, "both take something");
        // Its progress was asked for at most half a window and a sweep ago.
        pass(&mut harness, slow.0, state, 60);
        assert_eq!(harness.counters.sessions.get(), 2, "two windows have not passed: {state:?}");
        pass(&mut harness, slow.0, state, 75);
        assert_eq!(harness.counters.sessions.get(), 1, "{state:?}");
        harness.audit();
    }
}

/// The event loop sees the progress itself when what it keeps for the client can be sent.
#[test]
fn a_client_that_takes_some_of_what_waits_for_it_is_not_silent() {
    let limits = Limits { liveness_window: Duration::ZERO, ..Limits::default() };
    let mut harness = ShardHarness::new(limits.clone());
    let [sender, slow] = harness.room();
    harness.fake(slow.0).takes = std::iter::repeat_n(0, 100).collect();
    let message = format!(r#"{{"type":"signal","payload":"{}"}}"#, "m".repeat(10_000));
    harness.arrive(sender, &text(&message));
    let taken_in = |harness: &mut ShardHarness, takes: [usize; 2], steps: u32| {
        for _ in 0..steps {
            harness.wait(Duration::from_secs(1));
            harness.arrive(sender, &text(r#"{"type":"ping"}"#));
            harness.fake(slow.0).takes = takes.into_iter().chain([0; 10]).collect();
            harness.core.handle_event(slow.1, super::WRITABLE);
        }
    };
    let seconds = limits.silence_limit.as_secs() as u32;
    taken_in(&mut harness, [10, 0], 3 * seconds);
    assert_eq!(harness.counters.closed.get(EndReason::Silent), 0);
    assert_eq!(harness.counters.sessions.get(), 2);
    taken_in(&mut harness, [0, 0], 2 * seconds);
    assert_eq!(harness.counters.closed.get(EndReason::Silent), 1, "it takes nothing any more");
    harness.audit();
}

#[test]
fn a_waiting_client_that_takes_its_backlog_is_not_withheld() {
    let mut harness = ShardHarness::new(Limits::default());
    let user = harness.session();
    harness.arrive(user, &text(r#"{"type":"find_match"}"#));
    harness.queue_all();
    pass(&mut harness, user.0, TAKING, 300);
    assert_eq!(harness.counters.match_requests_withheld.get(), 0);
    pass(&mut harness, user.0, DEAD, 70);
    assert_eq!(harness.counters.match_requests_withheld.get(), 1);
    // It reads again.
    pass(&mut harness, user.0, TAKING, 40);
    harness.queue_all();
    harness.audit();
}

#[test]
fn a_client_that_takes_its_backlog_is_not_evicted() {
    let evict = |harness: &mut ShardHarness| {
        let command =
            ShardCommand::Evict(EvictionRequest { scope: EvictionScope::AllConnections, idle: 0 });
        harness.core.handle_command(command);
    };
    let mut harness = ShardHarness::new(Limits::default());
    let user = harness.session();
    // Two pings fall due meanwhile, and a liveness window passes behind each.
    for _ in 0..70 {
        pass(&mut harness, user.0, TAKING, 10);
        evict(&mut harness);
    }
    assert_eq!(harness.counters.sessions.get(), 1);
    // It has taken everything, so the next ping reaches it.
    harness.arrive(user, &text(r#"{"type":"ping"}"#));
    pass(&mut harness, user.0, None, 270);
    evict(&mut harness);
    assert_eq!(harness.counters.sessions.get(), 1, "the ping is not a window old");
    pass(&mut harness, user.0, None, 55);
    // It takes something just before the eviction.
    harness.fake(user.0).unacknowledged = TAKING;
    evict(&mut harness);
    assert_eq!(harness.counters.sessions.get(), 1);
    pass(&mut harness, user.0, DEAD, 330);
    evict(&mut harness);
    assert_eq!(harness.counters.sessions.get(), 0);
    assert_eq!(harness.counters.closed.get(EndReason::Silent), 0);
    harness.audit();
}
