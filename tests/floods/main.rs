//! Floods: while one hostile process floods the server, other users are matched and exchange
//! messages in time; after the flood all its resources are released. `scripts/floods.sh` runs the
//! floods at full size and prints a table.
#![allow(clippy::unwrap_used)]

mod flooder;
mod reconnect;
#[path = "../support/mod.rs"]
mod support;
mod table;

use crate::support::{
    Client, ProtocolClient, Server, match_pair, stat_number, test_process, wait_until,
};
use flooder::Flood;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const FLOOD: &str = "FLOOD";
/// Bound for one relayed message during a tenth of a flood. It takes milliseconds; the bound is
/// that high for a debug build on a machine that runs other tests.
const RELAY_BOUND: Duration = Duration::from_secs(5);
/// Bound for two users to connect, be matched and exchange a message: about a dozen round trips.
const MEET_BOUND: Duration = Duration::from_secs(10);
/// Bound for resident memory that remains after a tenth of a flood: code that was not used before
/// and memory that the allocator keeps. Measured: below 0.5 MiB.
const MORE_BYTES: u64 = 4 << 20;
/// Bound for the CPU time of a server without users, in percent of one core. A thread that never
/// sleeps uses 100 %; the sweeps and samples of a debug build use 1 to 2 %.
const IDLE_PERCENT: f64 = 20.0;
/// How long the idle CPU time is measured.
const IDLE_WATCHED: Duration = Duration::from_millis(500);

/// A flooder in a process of its own, which is killed when this is dropped.
struct Flooder(Child);

impl Flooder {
    fn start(flood: Flood, address: SocketAddr, tenths: usize, idle: u32) -> Flooder {
        let child =
            test_process(concat!(module_path!(), "::runs_a_flooder_when_started_by_another_test"))
                .env(FLOOD, format!("{flood:?} {address} {tenths} {idle}"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn();
        Flooder(child.unwrap())
    }
}

impl Drop for Flooder {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Not a test: the process that [`Flooder`] starts.
#[test]
fn runs_a_flooder_when_started_by_another_test() {
    let Ok(what) = std::env::var(FLOOD) else { return };
    let what: Vec<&str> = what.split(' ').collect();
    let number = |at: usize| what[at].parse().unwrap();
    flooder::flood(Flood::named(what[0]), what[1].parse().unwrap(), number(2), number(3) as u32);
}

/// Relays `count` messages between two users; returns the time of each.
fn relay_times(
    one: &mut Client,
    other: &mut Client,
    room: &crate::support::MatchFound,
    count: usize,
) -> Vec<Duration> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let before = Instant::now();
        let sent = one.relay("signal", room, r#"{"from":"another user"}"#);
        assert_eq!(other.receive_text(), sent);
        times.push(before.elapsed());
    }
    times
}

/// Time for two users to connect, be matched and exchange a message.
fn meeting_time(server: &Server) -> Duration {
    let before = Instant::now();
    let (mut one, mut other, room) = match_pair(server.client(), server.client());
    relay_times(&mut one, &mut other, &room, 1);
    before.elapsed()
}

/// CPU time of the server during `watched`, in percent of one core.
fn idle_percent(server: &Server, watched: Duration) -> f64 {
    let (before, began) = (server.cpu_time(), Instant::now());
    std::thread::sleep(watched);
    (server.cpu_time() - before).as_secs_f64() / began.elapsed().as_secs_f64() * 1e2
}

fn other_users_are_served_during(flood: Flood) {
    // With Echo, the flood and the other users share one shard.
    let server = match flood {
        Flood::Echo => Server::start(&["--shards", "1", "--echo"]),
        _ => Server::start(&["--shards", "2"]),
    };
    // The first process sample opens its files, and the first match loads code into memory: both
    // come before the measurement.
    server.wait_for_process_sample();
    meeting_time(&server);
    let (before, resident) = (server.open_descriptors(), server.resident_bytes());
    let (mut one, mut other, room) = server.matched_pair();
    let flooder = Flooder::start(flood, server.address(), 1, 3);
    if flood != Flood::Calm {
        // More connections than the pair and the one that requests the figures.
        wait_until("the flood begins", || {
            let stats = server.stats();
            let active = stat_number(&stats, "/connections/active");
            let accepted = stat_number(&stats, "/connections/accepted");
            if active > 3 || accepted > 500 {
                Ok(())
            } else {
                Err(format!("{accepted} were accepted"))
            }
        });
    }
    for _ in 0..3 {
        let slowest = relay_times(&mut one, &mut other, &room, 50).into_iter().max().unwrap();
        let took = meeting_time(&server);
        println!("during {flood:?}: relay {slowest:.2?}, meeting {took:.2?}");
        assert!(slowest < RELAY_BOUND && took < MEET_BOUND);
    }
    if flood == Flood::SlowPartner {
        wait_until("messages for a client that does not read are refused", || {
            let refused = server.stat("/messages/errors/peer_busy");
            if refused > 0 { Ok(()) } else { Err("none is refused".to_owned()) }
        });
    }
    drop(flooder);
    let took = meeting_time(&server);
    assert!(took < MEET_BOUND, "meeting took {took:?} after {flood:?}");
    drop((one, other));
    server.wait_until_idle();
    wait_until("descriptors are released", || match server.open_descriptors() {
        now if now <= before => Ok(()),
        now => Err(format!("{now} are open, {before} before the flood")),
    });
    let more = wait_until("memory is released", || {
        let more = server.resident_bytes().saturating_sub(resident);
        if more <= MORE_BYTES { Ok(more) } else { Err(format!("{more} more bytes are resident")) }
    });
    // CPU time depends little on other processes.
    let percent = wait_until("a server without users is idle", || {
        let percent = idle_percent(&server, IDLE_WATCHED);
        if percent <= IDLE_PERCENT { Ok(percent) } else { Err(format!("{percent:.0} % of a core")) }
    });
    println!("after {flood:?}: {more} bytes more, {percent:.1} % of a core");
}

#[test]
fn users_of_a_killed_server_reconnect_to_the_restarted_one_and_are_matched() {
    let back = reconnect::reconnect_after_restart(1500);
    // A tenth of the users, with a wider time limit for a debug build among other tests.
    assert!(back.matched < 4 * reconnect::MATCHED_WITHIN, "matched after {:?}", back.matched);
    let slowest = back.relays.into_iter().max().unwrap();
    assert!(slowest < RELAY_BOUND, "a message took {slowest:?} during the reconnects");
}

macro_rules! floods {
    ($($test:ident: $flood:ident,)*) => {$(
        #[test]
        fn $test() {
            other_users_are_served_during(Flood::$flood);
        }
    )*};
}

floods! {
    users_are_served_during_slow_request_heads: SlowHeads,
    users_are_served_during_slow_frames: SlowFrames,
    users_are_served_during_endless_fragments: Fragments,
    users_are_served_during_pings_whose_pongs_are_not_read: UnreadPings,
    users_are_served_during_a_thousand_silent_connections: Silent,
    users_are_served_during_a_connection_storm: ConnectionStorm,
    users_are_served_during_messages_at_line_rate: LineRate,
    users_are_served_during_messages_to_partners_that_do_not_read: SlowPartner,
    users_are_served_during_a_storm_of_match_requests_and_cancellations: MatchStorm,
    users_are_served_during_mass_reconnects: MassReconnect,
    users_are_served_during_metrics_requests_that_are_not_read: UnreadMetrics,
    users_are_served_during_pipelined_requests: PipelinedStats,
    users_are_served_during_messages_at_line_rate_on_many_connections: ManyAtLineRate,
    users_are_served_during_many_echoes_of_empty_messages: Echo,
}
