//! Shutdown: graceful at the first signal, immediate at the second, unless that comes within a second.

use crate::support::{
    ProtocolClient, RawClient, Received, Server, expect_room_relays, get, text_frame,
    upgrade_request, wait_until,
};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Waits for a Close frame and the end of the connection. Gives the code and the time at which the
/// frame arrived.
fn receive_close(user: &mut RawClient) -> (Option<u16>, Instant) {
    let Received::Close(code) = user.receive() else { panic!("no Close frame") };
    let at = Instant::now();
    assert_eq!(user.receive(), Received::End);
    (code, at)
}

#[test]
fn sigterm_closes_idle_and_waiting_sessions_first_and_rooms_at_the_deadline() {
    drain_by_signal("TERM");
}

#[test]
fn sigint_drains_like_sigterm() {
    drain_by_signal("INT");
}

fn drain_by_signal(signal: &str) {
    let timeout = Duration::from_secs(3);
    let flags = ["--drain-timeout", "3s", "--shards", "2", "--stats-queue", "en"];
    let mut server = Server::start(&flags);
    let mut idle: Vec<RawClient> = (0..6).map(|_| server.raw_session()).collect();
    let mut waiting = server.raw_session();
    waiting.join_queue("en");
    let (mut one, mut other, room) = server.matched_raw_pair();
    let mut kept = server.raw_connection();
    assert_eq!(kept.request("GET /health HTTP/1.1\r\nHost: t\r\n\r\n").status, 200);
    // Until then a session that migrated to its partner's shard may count for both shards.
    server.wait_for_stat("/matchmaking/waiting", 1);
    server.wait_for_stat("/sessions/active", 9);
    let began = Instant::now();
    server.send_signal(signal);
    // Every session receives `draining`.
    for user in idle.iter_mut().chain([&mut waiting, &mut one, &mut other]) {
        let deadline_ms = user.expect_message("draining")["deadline_ms"].as_u64().unwrap();
        assert!((1..=3000).contains(&deadline_ms), "{deadline_ms}");
    }
    // The port stays open.
    let health = get(server.address(), "/health");
    assert_eq!((health.status, health.json()["status"].as_str()), (503, Some("draining")));
    assert!(health.field("retry-after").is_some());
    assert_eq!(server.stats()["status"], "draining");
    let mut late = server.raw_connection();
    late.send(&upgrade_request());
    let refusal = late.read_response();
    assert_eq!(refusal.status, 503);
    assert!(refusal.field("retry-after").is_some());
    late.expect_end();
    assert_eq!(server.stat("/http/rejected/draining"), 1);
    // A keep-alive connection gets one more response, and is closed.
    let last = kept.request("GET /health HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(last.status, 503);
    assert!(last.has_connection_option("close"));
    kept.expect_end();
    // `find_match` is refused and changes nothing: the room goes on.
    one.send_text(r#"{"type":"find_match"}"#);
    one.expect_error("draining");
    expect_room_relays(&mut one, &mut other, &room);
    // Idle and waiting sessions are closed before the deadline.
    let mut closed_after: Vec<Duration> = Vec::new();
    for user in idle.iter_mut().chain([&mut waiting]) {
        let (code, at) = receive_close(user);
        assert_eq!(code, Some(1012));
        closed_after.push(at - began);
    }
    drop((idle, waiting));
    assert!(began.elapsed() < timeout, "closed before the deadline: {closed_after:?}");
    server.wait_for_stat("/matchmaking/waiting", 0);
    // Rooms go on until the deadline.
    expect_room_relays(&mut one, &mut other, &room);
    for user in [&mut one, &mut other] {
        // One of them may receive the other's `peer_left` first.
        match user.receive() {
            Received::Text(text) => {
                assert!(text.contains("peer_left"), "{text}");
                assert_eq!(receive_close(user).0, Some(1012));
            }
            other => assert_eq!(other, Received::Close(Some(1012))),
        }
    }
    assert!(began.elapsed() >= timeout, "{:?}", began.elapsed());
    drop((one, other));
    assert_eq!(server.wait_for_exit().code(), Some(0));
    let began = server.wait_for_log_line("shutting down");
    assert!(began.contains("sessions=9 waiting=1 rooms=1"), "{began}");
    let cut_off = server.wait_for_log_line("--drain-timeout has passed: open rooms were closed");
    assert!(cut_off.contains("rooms=1"), "{cut_off}");
    let summary = server.wait_for_log_line("ended gracefully");
    for figure in ["connections=", "sessions=9", "rooms=1", "messages_relayed=4"] {
        assert!(summary.contains(figure), "{summary}");
    }
    assert!(TcpStream::connect(server.address()).is_err(), "the port is closed");
}

#[test]
fn closes_the_members_of_a_room_that_ends_while_draining() {
    let mut server = Server::start(&["--drain-timeout", "2s", "--shards", "2"]);
    let (mut one, mut other, room) = server.matched_raw_pair();
    server.send_signal("TERM");
    one.expect_message("draining");
    other.expect_message("draining");
    one.send_text(r#"{"type":"leave_room"}"#);
    one.expect_message("room_left");
    other.expect_peer_left(&room, "left");
    one.expect_close(1012);
    other.expect_close(1012);
    drop((one, other));
    assert_eq!(server.wait_for_exit().code(), Some(0));
}

#[test]
fn cancel_match_works_and_find_match_is_refused_while_draining() {
    let mut server = Server::start(&["--drain-timeout", "1h"]);
    let mut users: Vec<RawClient> = (0..8).map(|_| server.raw_session()).collect();
    for (nth, user) in users.iter_mut().enumerate() {
        user.join_queue(&format!("alone-{nth}"));
    }
    server.send_signal("TERM");
    let mut answered = 0;
    for user in &mut users {
        user.expect_message("draining");
        let again = text_frame(br#"{"type":"find_match","payload":{"queue":"another"}}"#);
        user.send(&[again, text_frame(br#"{"type":"cancel_match"}"#)].concat());
        match user.receive() {
            // Its place in the spread over the first half hour came early.
            Received::Close(code) => assert_eq!(code, Some(1012)),
            Received::Text(text) => {
                assert!(text.contains(r#""code":"draining""#), "{text}");
                user.expect_message("match_cancelled");
                answered += 1;
            }
            Received::End => panic!("no Close frame"),
        }
    }
    assert!(answered >= 4, "{answered} of 8");
    assert_eq!(end_at_once(&mut server, "TERM"), Some(130));
}

/// Sends a signal until the process ends: those within a second of the first have no effect.
fn end_at_once(server: &mut Server, signal: &str) -> Option<i32> {
    wait_until("the process ends", || {
        server.send_signal(signal);
        server.exit_status().ok_or_else(|| "it still runs".to_owned())
    })
    .code()
}

#[test]
fn a_second_signal_within_a_second_of_the_first_changes_nothing() {
    let mut server = Server::start(&["--drain-timeout", "2s"]);
    let (mut one, _other, _) = server.matched_raw_pair();
    // Of one Ctrl-C a program may get two: from the terminal, and from a wrapper.
    server.send_signals(&["INT", "TERM", "INT"]);
    one.expect_message("draining");
    assert_eq!(server.wait_for_exit().code(), Some(0));
    server.wait_for_log_line("ended gracefully");
}

#[test]
fn ends_soon_without_sessions_and_reports_draining_until_then() {
    let mut server = Server::start(&["--drain-timeout", "1h"]);
    // A monitor on an open connection sees it in /health.
    let mut watcher = server.raw_connection();
    let mut health = move || watcher.request("GET /health HTTP/1.1\r\nHost: t\r\n\r\n").status;
    assert_eq!(health(), 200);
    server.send_signal("TERM");
    wait_until("the server drains", || match health() {
        503 => Ok(()),
        status => Err(format!("{status}")),
    });
    drop(health);
    assert_eq!(server.wait_for_exit().code(), Some(0));
}

#[test]
fn a_drain_timeout_of_zero_closes_every_session_at_once() {
    let mut server = Server::start(&["--drain-timeout", "0s", "--shards", "2"]);
    let mut idle = server.raw_session();
    let (mut one, mut other, _) = server.matched_raw_pair();
    server.send_signal("TERM");
    idle.expect_message("draining");
    idle.expect_close(1012);
    for user in [&mut one, &mut other] {
        user.expect_message("draining");
        loop {
            match user.receive() {
                Received::Text(text) => assert!(text.contains("peer_left"), "{text}"),
                Received::Close(code) => break assert_eq!(code, Some(1012)),
                Received::End => panic!("no Close frame"),
            }
        }
    }
    server.wait_for_log_line("--drain-timeout has passed: open rooms were closed");
    drop((idle, one, other));
    assert_eq!(server.wait_for_exit().code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM")] {
        let mut server = Server::start(&["--drain-timeout", "1h"]);
        let (mut one, _other, _) = server.matched_raw_pair();
        server.send_signal(first);
        one.expect_message("draining");
        assert_eq!(end_at_once(&mut server, second), Some(130));
        server.wait_for_log_line("ended at once");
        while one.receive() != Received::End {}
    }
}

#[test]
fn unresponsive_clients_do_not_delay_the_exit() {
    let flags = ["--drain-timeout", "400ms", "--close-timeout", "400ms"];
    let mut server = Server::start(&flags);
    // None of these clients reads or closes anything.
    let (_one, _other, _) = server.matched_raw_pair();
    let mut half = server.raw_connection();
    half.send(b"GET / HT");
    let _fresh = server.raw_connection();
    server.send_signal("TERM");
    assert_eq!(server.wait_for_exit().code(), Some(0));
}

#[test]
fn answers_connections_in_the_accept_queue_before_the_exit() {
    // A stopped process accepts nothing: new connections wait in the accept queues.
    let mut server = Server::start(&["--drain-timeout", "0s", "--shards", "2"]);
    server.send_signal("STOP");
    let mut late: Vec<RawClient> = (0..20).map(|_| server.raw_connection()).collect();
    for raw in &mut late {
        raw.send(&upgrade_request());
    }
    server.send_signal("TERM");
    server.send_signal("CONT");
    for raw in &mut late {
        // A shard may run before the thread that handles signals, and accept the connection.
        if raw.peek_status() == 101 {
            raw.expect_upgrade();
            raw.expect_message("draining");
            raw.expect_close(1012);
        } else {
            let refusal = raw.read_response();
            assert_eq!(refusal.status, 503);
            assert!(refusal.field("retry-after").is_some());
            raw.expect_end();
        }
    }
    drop(late);
    assert_eq!(server.wait_for_exit().code(), Some(0));
}

/// The first bytes of the answer to `GET /health` on a new connection; none if the connection was
/// reset.
fn ask_for_health(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let mut answer = String::new();
    let request = b"GET /health HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    let _was_reset = stream.write_all(request).and_then(|()| stream.read_to_string(&mut answer));
    Ok(answer)
}

/// When a log line was written, in seconds since midnight on the server's clock.
fn logged_at_s(line: &str) -> f64 {
    let time = line.split(['T', 'Z']).nth(1).unwrap();
    time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
}

#[test]
fn answers_health_checks_until_the_port_closes_and_ends_after_the_close_timeout() {
    const DRAIN_S: f64 = 2.0;
    const CLOSE_S: f64 = 0.5;
    let flags = ["--drain-timeout", "2s", "--close-timeout", "500ms", "--shards", "2"];
    let mut server = Server::start(&flags);
    let address = server.address();
    // They do not answer the Close frame at the deadline, so the close timeout has to pass too.
    let (_one, _other, _) = server.matched_raw_pair();
    server.send_signal("TERM");
    let began = logged_at_s(&server.wait_for_log_line("shutting down"));
    let is_after_deadline =
        |server: &Server| server.log().iter().any(|line| line.contains("--drain-timeout has"));
    let (mut before, mut after, mut unanswered) = (0, 0, 0);
    // The first request may overtake the shards' command to drain.
    wait_until("the server drains", || match ask_for_health(address) {
        Ok(answer) if answer.starts_with("HTTP/1.1 503 ") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    loop {
        let is_late = is_after_deadline(&server);
        match ask_for_health(address) {
            Err(_port_is_closed) => break,
            // The kernel had accepted it when its listener was closed.
            Ok(answer) if answer.is_empty() => unanswered += 1,
            Ok(answer) => {
                assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
                assert!(
                    answer.contains("draining") || answer.contains("shutting down"),
                    "{answer}"
                );
                *(if is_late { &mut after } else { &mut before }) += 1;
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.wait_for_exit().code(), Some(0));
    assert!(before > 0 && after > 0, "{before} before the deadline, {after} after it");
    assert!(unanswered <= 2, "{unanswered} unanswered, and each shard closes one listener");
    let took_s = logged_at_s(&server.wait_for_log_line("ended gracefully")) - began;
    let took_s = took_s.rem_euclid(24.0 * 3600.0);
    assert!(took_s >= DRAIN_S, "the room ended early, after {took_s} s");
    assert!(took_s < 10.0 * (DRAIN_S + CLOSE_S), "the end came late, after {took_s} s");
}
