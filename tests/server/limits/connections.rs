//! Limits on the number of connections: in total, per address, and by the descriptors of the
//! process. Each refuses in a defined way, has a counter, and admits again when a slot is free.

use crate::support::{
    Client, HttpResponse, ProtocolClient, RawClient, Server, expect_room_relays, match_pair,
    stat_number, upgrade_request, wait_until,
};
use std::process::Command;
use std::time::{Duration, Instant};
use switchboard::limits::SURPLUS_CONNECTIONS;

/// Requests an upgrade that must be refused because the server is full.
fn expect_refusal(raw: RawClient) -> HttpResponse {
    expect_refusal_with(503, raw)
}

/// Requests an upgrade that must be refused with this status.
fn expect_refusal_with(status: u16, mut raw: RawClient) -> HttpResponse {
    raw.send(&upgrade_request());
    let response = raw.read_response();
    assert_eq!(response.status, status, "{response:?}");
    let retry_after: u32 = response.field("retry-after").unwrap().parse().unwrap();
    assert!(retry_after > 0);
    assert!(response.has_connection_option("close"));
    raw.expect_end();
    response
}

/// Opens a session as soon as a slot is free: a refused connection holds one until it is closed.
fn open_when_possible(server: &Server) -> RawClient {
    wait_until("a slot is free", || {
        let mut raw = server.raw_connection();
        raw.send(&upgrade_request());
        match raw.peek_status() {
            101 => Ok(()),
            status => Err(format!("{status}")),
        }?;
        raw.expect_upgrade();
        Ok(raw)
    })
}

#[test]
fn refuses_upgrades_with_503_above_max_connections() {
    let server = Server::start(&["--max-connections", "4", "--shards", "2"]);
    let (mut one, mut other, room) = server.matched_pair();
    let third = server.client();
    let _fourth = server.client();
    for _ in 0..3 {
        let response = expect_refusal(server.raw_connection());
        assert!(response.text().contains("too many connections"), "{}", response.text());
    }
    expect_room_relays(&mut one, &mut other, &room);
    assert_eq!(server.stat("/http/rejected/connection_limit"), 3);
    // Plain requests are still answered: a load balancer must see that the server is alive.
    server.wait_for_stat("/connections/active", 5);
    // The slot is free again as soon as a client leaves.
    drop(third);
    let mut again = open_when_possible(&server);
    again.expect_no_message();
    expect_refusal(server.raw_connection());
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn refuses_connections_above_the_surplus_without_reading_them() {
    let server = Server::start(&["--max-connections", "2"]);
    let (mut one, mut other, room) = server.matched_pair();
    let surplus: Vec<RawClient> =
        (0..SURPLUS_CONNECTIONS).map(|_| server.raw_connection()).collect();
    // The last connection of the surplus is answered, so all before it have been accepted.
    let mut surplus = surplus;
    let last = surplus.last_mut().unwrap();
    assert_eq!(last.request("GET /health HTTP/1.1\r\nHost: t\r\n\r\n").status, 200);
    for _ in 0..20 {
        let mut raw = server.raw_connection();
        let response = raw.read_response();
        assert_eq!(response.status, 503);
        assert!(response.field("retry-after").is_some());
        raw.expect_end();
    }
    expect_room_relays(&mut one, &mut other, &room);
    drop(surplus);
    wait_until("the surplus is closed", || {
        let mut raw = server.raw_connection();
        raw.send(b"GET /stats HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        let response = raw.read_response();
        if response.status == 200 { Ok(()) } else { Err(format!("{response:?}")) }
    });
    assert!(server.stat("/http/rejected/connection_limit") >= 20);
    expect_refusal(server.raw_connection());
    drop((one, other));
    server.wait_until_idle();
    open_when_possible(&server);
}

#[test]
fn refuses_with_429_above_the_limit_of_an_address() {
    let flags = ["--max-connections", "100", "--max-connections-per-address", "2"];
    let server = Server::start(&[&flags[..], &["--shards", "2"]].concat());
    let open_from = |last: u8| {
        let mut raw = RawClient::connect_from(last, server.address());
        raw.upgrade();
        raw
    };
    let (first, _second) = (open_from(2), open_from(2));
    let response = expect_refusal_with(429, RawClient::connect_from(2, server.address()));
    assert!(response.text().contains("from this address"), "{}", response.text());
    drop(open_from(3));
    // A match may migrate one of two sessions; the count of its address must stay right.
    for last in (10..50).step_by(2) {
        let pair = match_pair(open_from(last), open_from(last + 1));
        for last in [last, last + 1] {
            let _second = open_from(last);
            expect_refusal_with(429, RawClient::connect_from(last, server.address()));
        }
        drop(pair);
    }
    assert!(server.stat("/migrations/out") > 0, "twenty pairs over two shards");
    assert_eq!(server.stat("/http/rejected/address_limit"), 41);
    // A slot is free again when a client has left and the refused connections are closed.
    drop(first);
    let open_when_possible = |last: u8| {
        wait_until("the address has a free slot", || {
            let mut raw = RawClient::connect_from(last, server.address());
            raw.send(&upgrade_request());
            if raw.peek_status() == 101 { Ok(raw) } else { Err("it has none".to_owned()) }
        })
    };
    open_when_possible(2);
    for last in 10..50 {
        let _both = [open_when_possible(last), open_when_possible(last)];
    }
}

#[test]
fn refuses_with_429_above_the_connection_rate_of_an_address() {
    let server = Server::start(&["--max-new-connections-per-address", "3", "--shards", "2"]);
    let try_open = |last: u8| {
        let mut raw = RawClient::connect_from(last, server.address());
        raw.send(&upgrade_request());
        (raw.peek_status() == 101).then_some(raw)
    };
    // Connections are counted per clock second. Around the end of a second twice as many are
    // admitted in a row, and no more, so one of thirty is refused in far less than ten seconds.
    let mut open = Vec::new();
    let refusal = (0..30).find_map(|_| match try_open(2) {
        Some(raw) => {
            open.push(raw);
            None
        }
        None => Some(expect_refusal_with(429, RawClient::connect_from(2, server.address()))),
    });
    let refusal = refusal.expect("one of thirty connections is refused");
    assert!(refusal.text().contains("too many new connections"), "{}", refusal.text());
    assert!(try_open(3).is_some(), "the rate is counted per address");
    let counted = server.stat("/http/rejected/address_rate");
    assert!(counted >= 2, "{counted}");
    // In the next second the address is admitted again.
    let again = wait_until("the second is over", || try_open(2).ok_or("it is not".to_owned()));
    drop((again, open));
}

#[test]
fn a_storm_from_one_address_takes_no_slots_of_others() {
    let flags = ["--max-connections", "400", "--max-connections-per-address", "2"];
    let server = Server::start(&flags);
    let (mut one, mut other, room) = match_pair(open_from(3, &server), open_from(4, &server));
    // A connection without a request keeps its slot until the handshake timeout.
    let storm: Vec<RawClient> =
        (0..1000).map(|_| RawClient::connect_from(2, server.address())).collect();
    wait_until("all connections of the storm have been accepted", || {
        let stats = server.stats();
        let (accepted, closed) = ("/connections/accepted", "/connections/closed/refused");
        match stat_number(&stats, accepted) {
            seen if seen >= 1002 => Ok(()),
            seen => Err(format!("{seen} of 1002; {} refused", stat_number(&stats, closed))),
        }
    });
    let active = server.stat("/connections/active");
    assert!(active <= 5 + 2 + SURPLUS_CONNECTIONS as i64, "{active} are open");
    drop(open_from(5, &server));
    expect_room_relays(&mut one, &mut other, &room);
    drop(storm);
}

/// A client with a session, connected from 127.0.0.`last`.
fn open_from(last: u8, server: &Server) -> RawClient {
    let mut raw = RawClient::connect_from(last, server.address());
    raw.upgrade();
    raw
}

/// Sets the soft limit of open files of the running server.
fn limit_descriptors(server: &Server, limit: usize) {
    let limits = format!("--nofile={limit}:20000");
    let pid = server.pid().to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, &limits]).status().unwrap();
    assert!(status.success());
}

#[test]
fn pauses_accepting_without_descriptors_and_resumes() {
    let mut server = Server::start(&["--shards", "2"]);
    let (mut one, mut other, room) = server.matched_pair();
    let mut leavers: Vec<Client> = (0..4).map(|_| server.client()).collect();
    // Requested on an open connection, since no new one can be accepted.
    let mut monitor = server.raw_connection();
    let mut stats = move || monitor.request("GET /stats HTTP/1.1\r\nHost: t\r\n\r\n").json();
    stats();
    limit_descriptors(&server, server.open_descriptors());
    let mut pending: Vec<RawClient> = (0..12).map(|_| server.raw_connection()).collect();
    for client in &mut pending {
        client.send(&upgrade_request());
    }
    server.wait_for_log_line("accepting is paused");
    // A few may have found a free descriptor.
    let mut admitted = Vec::new();
    move_admitted(&mut pending, &mut admitted);
    // The event loop does not spin.
    let (began, before) = (Instant::now(), server.cpu_time());
    while began.elapsed() < Duration::from_secs(1) {
        expect_room_relays(&mut one, &mut other, &room);
        std::thread::sleep(Duration::from_millis(250));
    }
    let (wall, used) = (began.elapsed(), server.cpu_time() - before);
    assert!(used < wall / 50, "{used:?} of CPU in {wall:?}");
    // The figures report it.
    let figures = stats();
    assert!(stat_number(&figures, "/connections/accept_paused") >= 1);
    assert!(stat_number(&figures, "/connections/accept_errors") >= 1);
    // Each descriptor that is closed admits one connection.
    move_admitted(&mut pending, &mut admitted);
    assert!(pending.len() >= leavers.len(), "{} were admitted", admitted.len());
    while let Some(leaver) = leavers.pop() {
        let before = admitted.len();
        drop(leaver);
        wait_until("a connection is admitted", || {
            move_admitted(&mut pending, &mut admitted);
            if admitted.len() > before { Ok(()) } else { Err("none has".to_owned()) }
        });
    }
    // With enough descriptors all are admitted.
    limit_descriptors(&server, 1000);
    for client in &mut pending {
        client.expect_upgrade();
    }
    server.wait_for_stat("/connections/accept_paused", 0);
    expect_room_relays(&mut one, &mut other, &room);
    let warnings = server.log().iter().filter(|line| line.contains("accepting is paused")).count();
    assert_eq!(warnings, 1, "one for two shards");
    drop((one, other, admitted, pending, stats));
    server.wait_until_idle();
}

/// Moves the clients that the server has answered from `pending` to `admitted`.
fn move_admitted(pending: &mut Vec<RawClient>, admitted: &mut Vec<RawClient>) {
    let is_answered = |raw: &mut RawClient| raw.is_readable_within(Duration::from_millis(1));
    while let Some(at) = pending.iter_mut().position(is_answered) {
        let mut raw = pending.remove(at);
        raw.expect_upgrade();
        admitted.push(raw);
    }
}

#[test]
fn derives_the_connection_limit_from_the_descriptor_limit() {
    let server = Server::start_in_shell("ulimit -n 150", &[]);
    let log = server.log().join("\n");
    assert!(log.contains("open_files_limit=150"), "{log}");
    let limit = server.stat("/connections/limit");
    assert!((1..150).contains(&limit), "{limit}");
    assert_eq!(server.stat("/process/descriptors_allowed"), 150);
    // As many sessions can be opened, and the next is refused by the limit, not by EMFILE.
    let open: Vec<Client> = (0..limit).map(|_| server.client()).collect();
    expect_refusal(server.raw_connection());
    assert_eq!(server.stat("/connections/accept_errors"), 0);
    drop(open);
    server.wait_until_idle();
}

#[test]
fn raises_the_soft_descriptor_limit_to_the_hard_limit() {
    let server = Server::start_in_shell("ulimit -S -n 128 && ulimit -H -n 600", &[]);
    assert_eq!(server.stat("/process/descriptors_allowed"), 600);
}
