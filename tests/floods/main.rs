//! Floods: whatever one hostile process does, its neighbours meet and talk, and when it has
//! gone, nothing of it is left. `scripts/floods.sh` runs them at full size and prints a table.
#![allow(clippy::unwrap_used)]

mod crowd;
mod flooder;
#[path = "../support/mod.rs"]
mod support;
mod table;

use crate::support::{Client, Server, Talk, number, pair_up, test_process, until};
use flooder::Flood;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const FLOOD: &str = "FLOOD";
/// A message that takes longer than this beside a tenth of a flood has been starved. It takes
/// milliseconds; the rest is for a debug build on a machine that is busy with other tests.
const RELAY_BOUND: Duration = Duration::from_secs(5);
/// The same for two who come, meet and talk: for them each waits a dozen times.
const MEET_BOUND: Duration = Duration::from_secs(10);
/// Resident memory that may stay when a tenth of a flood is over: code that was not needed before,
/// and what the allocator keeps, under half a MiB when this was written.
const MORE_BYTES: u64 = 4 << 20;
/// Processor time while nobody is there, in a hundredth of one core's: a thread that never sleeps
/// takes all of it, the sweeps and the sampling of a debug build take one or two.
const IDLE_PERCENT: f64 = 20.0;
/// For so long it is watched.
const IDLE_WATCHED: Duration = Duration::from_millis(500);

/// A flooder, in a process of its own, and it is killed when this is dropped.
struct Flooder(Child);

impl Flooder {
    fn start(flood: Flood, address: SocketAddr, tenths: usize, idle: u32) -> Flooder {
        let child = test_process(concat!(module_path!(), "::a_flooder_that_is_to_be_killed"))
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

/// No test, but what [`Flooder`] runs.
#[test]
fn a_flooder_that_is_to_be_killed() {
    let Ok(what) = std::env::var(FLOOD) else { return };
    let what: Vec<&str> = what.split(' ').collect();
    let number = |at: usize| what[at].parse().unwrap();
    flooder::flood(Flood::named(what[0]), what[1].parse().unwrap(), number(2), number(3) as u32);
}

/// Two users who talk; how long each of so many messages took.
fn talk(
    one: &mut Client,
    other: &mut Client,
    room: &crate::support::Match,
    count: usize,
) -> Vec<Duration> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let before = Instant::now();
        let sent = one.relay("signal", room, r#"{"from":"a neighbour"}"#);
        assert_eq!(other.text(), sent);
        times.push(before.elapsed());
    }
    times
}

/// Two users come, meet, and talk; how long that took.
fn meet(server: &Server) -> Duration {
    let before = Instant::now();
    let (mut one, mut other, room) = pair_up(server.client(), server.client());
    talk(&mut one, &mut other, &room, 1);
    before.elapsed()
}

/// Processor time that the server takes meanwhile, in a hundredth of one core's.
fn idle_percent(server: &Server, watched: Duration) -> f64 {
    let (before, began) = (server.cpu_time(), Instant::now());
    std::thread::sleep(watched);
    (server.cpu_time() - before).as_secs_f64() / began.elapsed().as_secs_f64() * 1e2
}

fn neighbours_of(flood: Flood) {
    // Those who echo share a shard with all others.
    let server = match flood {
        Flood::Echo => Server::start(&["--shards", "1", "--echo"]),
        _ => Server::start(&["--shards", "2"]),
    };
    // The first look at the process opens what it reads, and the first two who meet bring in the
    // code for it.
    server.until_sampled();
    meet(&server);
    let (before, resident) = (server.descriptors(), server.resident_bytes());
    let (mut one, mut other, room) = server.pair();
    let flooder = Flooder::start(flood, server.address(), 1, 3);
    if flood != Flood::Calm {
        // There are more than the pair and whoever asks.
        until("the flood begins", || {
            let stats = server.stats();
            let active = number(&stats, "/connections/active");
            let accepted = number(&stats, "/connections/accepted");
            if active > 3 || accepted > 500 { Ok(()) } else { Err(format!("{accepted} came")) }
        });
    }
    for _ in 0..3 {
        let slowest = talk(&mut one, &mut other, &room, 50).into_iter().max().unwrap();
        let took = meet(&server);
        println!("beside {flood:?}: a message took {slowest:.2?}, and to meet {took:.2?}");
        assert!(slowest < RELAY_BOUND && took < MEET_BOUND);
    }
    if flood == Flood::DeafPartner {
        until("one that does not read is closed", || {
            let closed = server.figure("/connections/closed/slow_consumer");
            if closed > 0 { Ok(()) } else { Err("none is".to_owned()) }
        });
    }
    drop(flooder);
    let took = meet(&server);
    assert!(took < MEET_BOUND, "it took {took:?} to meet after {flood:?}");
    drop((one, other));
    server.comes_to_rest();
    until("descriptors are given back", || match server.descriptors() {
        now if now <= before => Ok(()),
        now => Err(format!("{now} are open, before there were {before}")),
    });
    let more = until("memory is given back", || {
        let more = server.resident_bytes().saturating_sub(resident);
        if more <= MORE_BYTES { Ok(more) } else { Err(format!("{more} bytes more are resident")) }
    });
    // Processor time, and so it matters little who else is busy.
    let percent = until("a server without users stands still", || {
        let percent = idle_percent(&server, IDLE_WATCHED);
        if percent <= IDLE_PERCENT { Ok(percent) } else { Err(format!("{percent:.0} % of a core")) }
    });
    println!("after {flood:?}: {more} bytes more, {percent:.1} % of a core");
}

/// A server is killed with a crowd inside and started again, and all of them are back at once.
#[test]
fn a_crowd_that_was_inside_when_the_server_was_killed_is_back_and_matched_soon() {
    let back = crowd::comes_back_after_a_restart(1500);
    // A tenth of the crowd, and so there is patience left for a debug build among other tests.
    assert!(back.matched < 4 * crowd::MATCHED_WITHIN, "matched after {:?}", back.matched);
    let slowest = back.relays.into_iter().max().unwrap();
    assert!(slowest < RELAY_BOUND, "a message took {slowest:?} meanwhile");
}

macro_rules! floods {
    ($($test:ident: $flood:ident,)*) => {$(
        #[test]
        fn $test() {
            neighbours_of(Flood::$flood);
        }
    )*};
}

floods! {
    neighbours_of_slow_heads_notice_nothing: SlowHeads,
    neighbours_of_slow_frames_notice_nothing: SlowFrames,
    neighbours_of_endless_fragments_notice_nothing: Fragments,
    neighbours_of_pings_whose_answers_are_not_read_notice_nothing: UnreadPings,
    neighbours_of_a_thousand_silent_connections_notice_nothing: Silent,
    neighbours_of_a_connection_storm_notice_nothing: ConnectionStorm,
    neighbours_of_a_client_at_line_rate_notice_nothing: LineRate,
    neighbours_of_partners_that_do_not_read_notice_nothing: DeafPartner,
    neighbours_of_a_storm_of_wishes_and_cancellations_notice_nothing: MatchStorm,
    neighbours_of_crowds_that_come_and_go_at_once_notice_nothing: Exodus,
    neighbours_of_metrics_that_are_not_read_notice_nothing: UnreadMetrics,
    neighbours_of_pipelined_requests_notice_nothing: PipelinedStats,
    neighbours_of_many_at_line_rate_notice_nothing: ManyAtLineRate,
    neighbours_of_many_who_echo_the_smallest_messages_notice_nothing: Echo,
}
