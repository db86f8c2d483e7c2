//! What stands still, and who must not notice: the process, a thread, one member or both, one in a
//! hundred; and networks that deliver a byte at a time. Against the real server.

use crate::support::{
    Client, ProtocolClient, RawClient, Server, SuspendedThread, expect_room_relays, match_pair,
    stat_map, stat_number, text_frame, upgrade_request, wait_until,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use switchboard::limits::{ACCEPTS_PER_ITERATION, EVENTS_PER_POLL};

/// A message that takes this long has been held up. A machine that is busy with other tests
/// holds nobody up for so long.
const BOUND: Duration = Duration::from_secs(10);

fn turns(server: &Server) -> i64 {
    let metrics = server.get("/metrics");
    let lines = metrics.text().lines();
    let counts = lines.filter_map(|line| line.strip_prefix("switchboard_loop_iterations_total{"));
    counts.map(|line| line.split_once("} ").unwrap().1.parse::<i64>().unwrap()).sum()
}

#[test]
fn a_process_that_was_stopped_finds_nobody_silent() {
    let server =
        Server::start(&["--shards", "2", "--ping-interval", "2s", "--silence-limit", "6s"]);
    let mut rooms: Vec<_> = (0..10).map(|_| server.matched_raw_pair()).collect();
    let _idle: Vec<RawClient> = (0..10).map(|_| server.raw_session()).collect();
    server.send_signal("STOP");
    // Twice what anybody may be silent, were it the clients who are.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(9) {
        std::thread::sleep(Duration::from_millis(100));
    }
    server.send_signal("CONT");
    for (one, other, room) in &mut rooms {
        expect_room_relays(one, other, room);
    }
    // A sweep or two later nobody has been closed.
    let before = turns(&server);
    wait_until("some turns go by", || match turns(&server) - before {
        enough if enough > 10 => Ok(()),
        few => Err(format!("{few}")),
    });
    let stats = server.stats();
    assert_eq!(
        stat_number(&stats, "/sessions/active"),
        30,
        "{:?}",
        stat_map(&stats, "/connections/closed")
    );
}

#[test]
fn more_events_than_one_poll_reports_are_all_seen_to() {
    crate::support::run_alone();
    let server = Server::start(&["--shards", "1"]);
    let mut users: Vec<RawClient> =
        (0..2 * EVENTS_PER_POLL + 100).map(|_| server.raw_session()).collect();
    server.send_signal("STOP");
    for user in &mut users {
        user.send_text(r#"{"type":"ping"}"#);
    }
    server.send_signal("CONT");
    for user in &mut users {
        user.expect_message("pong");
    }
    // And once more with the ends of half of them.
    server.send_signal("STOP");
    let (gone, here) = users.split_at_mut(EVENTS_PER_POLL + 50);
    gone.iter_mut().for_each(|user| user.half_close());
    here.iter_mut().for_each(|user| user.send_text(r#"{"type":"ping"}"#));
    server.send_signal("CONT");
    for user in here.iter_mut() {
        user.expect_message("pong");
    }
    server.wait_for_stat("/sessions/active", here.len() as i64);
}

#[test]
fn newcomers_come_in_a_bounded_number_to_a_turn() {
    crate::support::run_alone();
    const CROWD: usize = 3000;
    let server = Server::start(&["--shards", "1"]);
    let (mut one, mut other, room) = server.matched_pair();
    let before = turns(&server);
    server.send_signal("STOP");
    let _crowd: Vec<TcpStream> =
        (0..CROWD).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    server.send_signal("CONT");
    expect_room_relays(&mut one, &mut other, &room);
    wait_until("all have come", || match server.stat("/connections/active") {
        all if all >= CROWD as i64 => Ok(()),
        some => Err(format!("{some}")),
    });
    let took = turns(&server) - before;
    let least = CROWD as i64 / i64::from(ACCEPTS_PER_ITERATION);
    assert!(took >= least, "{CROWD} came in {took} turns, which should be at least {least}");
}

#[test]
fn while_a_shard_stands_still_the_others_go_on() {
    let server = Server::start(&["--shards", "2"]);
    let here = || server.connect_on_shard(0, || server.client());
    let there = || server.connect_on_shard(1, || server.client());
    let (mut one, mut other, room) = match_pair(here(), here());
    let (mut slow_one, mut slow_other, slow_room) = match_pair(there(), there());
    let (mut newcomer, mut second) = (here(), here());
    let stopped = SuspendedThread::new(&server, "shard-1");
    let began = Instant::now();
    slow_one.relay("signal", &slow_room, "1");
    while began.elapsed() < Duration::from_secs(1) {
        let before = Instant::now();
        expect_room_relays(&mut one, &mut other, &room);
        assert!(before.elapsed() < BOUND, "{:?}", before.elapsed());
    }
    newcomer.join_queue("meanwhile");
    second.join_queue("meanwhile");
    newcomer.expect_match();
    second.expect_match();
    drop(stopped);
    assert!(slow_other.receive_text().contains("signal"), "what was sent meanwhile arrives");
    expect_room_relays(&mut slow_one, &mut slow_other, &slow_room);
}

#[test]
fn when_both_members_are_stuck_both_are_closed_and_nobody_else_notices() {
    let server = Server::start(&["--max-unsent-bytes", "70000", "--shards", "1"]);
    let (mut one, mut other, room) = server.matched_pair();
    let narrow = || RawClient::open_session_with_small_buffer(server.address());
    let (mut stuck, mut stuck_too, _) = match_pair(narrow(), narrow());
    let message =
        text_frame(format!(r#"{{"type":"signal","payload":"{:x<50000}"}}"#, "").as_bytes());
    // Each sends what the other does not read, until the server has had enough of both.
    wait_until("both are closed as slow", || {
        let _over = (stuck.try_send(&message), stuck_too.try_send(&message));
        expect_room_relays(&mut one, &mut other, &room);
        match server.stat("/connections/closed/slow_consumer") {
            0 => Err("nobody is".to_owned()),
            _ if server.stat("/rooms/active") == 1 => Ok(()),
            closed => Err(format!("{closed} are")),
        }
    });
    // The one who is left is alone, and closed as soon as its own answers find no room.
    drop((stuck, stuck_too));
    expect_room_relays(&mut one, &mut other, &room);
    drop((one, other));
    server.wait_until_idle();
}

#[test]
fn when_one_client_in_a_hundred_is_stuck_the_others_notice_nothing() {
    const USERS: usize = 200;
    let server = Server::start(&["--shards", "2", "--max-unsent-bytes", "70000"]);
    let stuck = || RawClient::open_session_with_small_buffer(server.address());
    let mut rooms: Vec<_> = (0..USERS / 2 - 1).map(|_| server.matched_raw_pair()).collect();
    let (mut busy, _stuck, room) = match_pair(stuck(), stuck());
    let message = format!("\"{:x<20000}\"", "");
    for round in 0..20 {
        // Its messages fill what the server keeps for the stuck one, and then the room is over.
        busy.send_text(&format!(
            r#"{{"type":"signal","room_id":"{}","payload":{message}}}"#,
            room.room_id
        ));
        for (one, other, room) in rooms.iter_mut().skip(round % 10).step_by(10) {
            let before = Instant::now();
            expect_room_relays(one, other, room);
            assert!(before.elapsed() < BOUND, "{:?}", before.elapsed());
        }
    }
    server.wait_for_stat("/rooms/active", rooms.len() as i64);
}

/// Carries bytes from one connection to another, one at a time, with a pause now and then.
fn drip(mut from: TcpStream, mut to: TcpStream, piece_bytes: usize) {
    let mut chunk = [0; 512];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        for piece in chunk[..count].chunks(piece_bytes) {
            if to.write_all(piece).is_err() {
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let _gone = to.shutdown(std::net::Shutdown::Write);
}

/// A network that delivers late, and in single bytes to the server; the address to dial.
fn bad_network(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (near, far) = (near.unwrap(), TcpStream::connect(server).unwrap());
            for stream in [&near, &far] {
                stream.set_nodelay(true).unwrap();
            }
            let back = (far.try_clone().unwrap(), near.try_clone().unwrap());
            std::thread::spawn(move || drip(near, far, 1));
            // tungstenite takes an answer to its handshake in over 64 pieces for an attack.
            std::thread::spawn(move || drip(back.0, back.1, 8));
        }
    });
    address
}

#[test]
fn over_a_network_of_late_single_bytes_nothing_is_lost_or_mixed() {
    let server = Server::start(&["--shards", "2"]);
    let network = bad_network(server.address());
    let mut pairs: Vec<_> =
        (0..4).map(|_| match_pair(Client::connect(network), Client::connect(network))).collect();
    for nth in 0..5 {
        let payload = format!(r#"{{"n":{nth},"text":"ä€😀{:x<300}"}}"#, "");
        for (one, other, room) in &mut pairs {
            let (first, second) =
                (one.relay("offer", room, &payload), other.relay("answer", room, &payload));
            assert_eq!(other.receive_text(), first);
            assert_eq!(one.receive_text(), second);
        }
    }
    // Glued to the handshake, too.
    let mut raw = RawClient::connect(network);
    raw.send(&[upgrade_request(), text_frame(br#"{"type":"ping","payload":"glued"}"#)].concat());
    raw.expect_upgrade();
    assert_eq!(raw.expect_message("pong"), "glued");
    drop((raw, pairs));
    server.wait_until_idle();
}
