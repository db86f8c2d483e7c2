//! Stalls: the process, a thread, or a client stops for a while, and no other client notices.
//! Networks that deliver a byte at a time.

use crate::support::{
    Client, ProtocolClient, RawClient, Server, SuspendedThread, expect_room_relays, match_pair,
    run_alone, stat_map, stat_number, text_frame, upgrade_request, wait_until,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use switchboard::limits::{ACCEPTS_PER_ITERATION, EVENTS_PER_POLL};

/// A message that takes longer was delayed by a stall. A machine that is busy with other tests does
/// not delay it as long.
const BOUND: Duration = Duration::from_secs(10);

/// Iterations of all event loops since the start.
fn iterations(server: &Server) -> i64 {
    let metrics = server.get("/metrics");
    let lines = metrics.text().lines();
    let counts = lines.filter_map(|line| line.strip_prefix("switchboard_loop_iterations_total{"));
    counts.map(|line| line.split_once("} ").unwrap().1.parse::<i64>().unwrap()).sum()
}

#[test]
fn does_not_count_the_time_that_the_process_was_stopped_as_silence() {
    let server =
        Server::start(&["--shards", "2", "--ping-interval", "2s", "--silence-limit", "6s"]);
    let mut rooms: Vec<_> = (0..10).map(|_| server.matched_raw_pair()).collect();
    let _idle: Vec<RawClient> = (0..10).map(|_| server.raw_session()).collect();
    server.send_signal("STOP");
    // Longer than --silence-limit allows, if the clients had been silent.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(9) {
        std::thread::sleep(Duration::from_millis(100));
    }
    server.send_signal("CONT");
    for (one, other, room) in &mut rooms {
        expect_room_relays(one, other, room);
    }
    // A sweep or two later no session has been closed.
    let before = iterations(&server);
    wait_until("some iterations have run", || match iterations(&server) - before {
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
fn handles_more_events_than_one_poll_returns() {
    run_alone();
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
    // Repeat the stop with half of the connections closed.
    server.send_signal("STOP");
    let (closed, open) = users.split_at_mut(EVENTS_PER_POLL + 50);
    closed.iter_mut().for_each(|user| user.half_close());
    open.iter_mut().for_each(|user| user.send_text(r#"{"type":"ping"}"#));
    server.send_signal("CONT");
    for user in open.iter_mut() {
        user.expect_message("pong");
    }
    server.wait_for_stat("/sessions/active", open.len() as i64);
}

#[test]
fn accepts_a_bounded_number_of_connections_per_iteration() {
    run_alone();
    const CONNECTIONS: usize = 3000;
    let server = Server::start(&["--shards", "1"]);
    let (mut one, mut other, room) = server.matched_pair();
    let before = iterations(&server);
    server.send_signal("STOP");
    let _streams: Vec<TcpStream> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    server.send_signal("CONT");
    expect_room_relays(&mut one, &mut other, &room);
    wait_until("all are accepted", || match server.stat("/connections/active") {
        all if all >= CONNECTIONS as i64 => Ok(()),
        some => Err(format!("{some}")),
    });
    let took = iterations(&server) - before;
    let least = CONNECTIONS as i64 / i64::from(ACCEPTS_PER_ITERATION);
    assert!(
        took >= least,
        "{CONNECTIONS} were accepted in {took} iterations, not in {least} or more"
    );
}

#[test]
fn other_shards_go_on_while_one_is_suspended() {
    let server = Server::start(&["--shards", "2"]);
    let here = || server.connect_on_shard(0, || server.client());
    let there = || server.connect_on_shard(1, || server.client());
    let (mut one, mut other, room) = match_pair(here(), here());
    let (mut slow_one, mut slow_other, slow_room) = match_pair(there(), there());
    let (mut third, mut fourth) = (here(), here());
    let suspended = SuspendedThread::new(&server, "shard-1");
    let began = Instant::now();
    slow_one.relay("signal", &slow_room, "1");
    while began.elapsed() < Duration::from_secs(1) {
        let before = Instant::now();
        expect_room_relays(&mut one, &mut other, &room);
        assert!(before.elapsed() < BOUND, "{:?}", before.elapsed());
    }
    third.join_queue("meanwhile");
    fourth.join_queue("meanwhile");
    third.expect_match();
    fourth.expect_match();
    drop(suspended);
    assert!(slow_other.receive_text().contains("signal"), "a message sent meanwhile arrives");
    expect_room_relays(&mut slow_one, &mut slow_other, &slow_room);
}

#[test]
fn closes_both_members_when_neither_reads_and_others_notice_nothing() {
    let server = Server::start(&["--max-unsent-bytes", "70000", "--shards", "1"]);
    let (mut one, mut other, room) = server.matched_pair();
    let narrow = || RawClient::open_session_with_small_buffer(server.address());
    let (mut stuck, mut stuck_too, _) = match_pair(narrow(), narrow());
    let message = text_frame(format!(r#"{{"type":"signal","payload":"{:x<500}"}}"#, "").as_bytes());
    let message = message.repeat(100);
    // Both send and neither reads: their messages are refused, until the refusals fill their backlogs.
    wait_until("both are closed as slow consumers", || {
        let _over = (stuck.try_send(&message), stuck_too.try_send(&message));
        expect_room_relays(&mut one, &mut other, &room);
        match server.stat("/connections/closed/slow_consumer") {
            0 => Err("neither is".to_owned()),
            _ if server.stat("/rooms/active") == 1 => Ok(()),
            closed => Err(format!("{closed} are")),
        }
    });
    // A member that is left alone is closed as soon as its own answers overfill its backlog.
    drop((stuck, stuck_too));
    expect_room_relays(&mut one, &mut other, &room);
    drop((one, other));
    server.wait_until_idle();
}

#[test]
fn one_client_in_a_hundred_that_does_not_read_delays_no_other() {
    const USERS: usize = 200;
    let server = Server::start(&["--shards", "2", "--max-unsent-bytes", "70000"]);
    let stuck = || RawClient::open_session_with_small_buffer(server.address());
    let mut rooms: Vec<_> = (0..USERS / 2 - 1).map(|_| server.matched_raw_pair()).collect();
    let (mut busy, _stuck, room) = match_pair(stuck(), stuck());
    let message = format!("\"{:x<20000}\"", "");
    for round in 0..20 {
        // The messages fill half the backlog of the stuck partner, and further ones are refused.
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
    wait_until("messages are refused", || match server.stat("/messages/errors/peer_busy") {
        0 => Err("none is refused".to_owned()),
        _ => Ok(()),
    });
    assert_eq!(server.stat("/rooms/active"), rooms.len() as i64 + 1, "and the room goes on");
}

/// Copies bytes from one connection to another in small pieces, with pauses.
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

/// A proxy that delivers late, and in single bytes to the server. Gives its address.
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
            // tungstenite rejects a handshake response in more than 64 pieces as an attack.
            std::thread::spawn(move || drip(back.0, back.1, 8));
        }
    });
    address
}

#[test]
fn loses_and_mixes_nothing_over_a_network_that_delivers_single_bytes() {
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
    // A frame in the same segment as the handshake.
    let mut raw = RawClient::connect(network);
    raw.send(&[upgrade_request(), text_frame(br#"{"type":"ping","payload":"glued"}"#)].concat());
    raw.expect_upgrade();
    assert_eq!(raw.expect_message("pong"), "glued");
    drop((raw, pairs));
    server.wait_until_idle();
}
