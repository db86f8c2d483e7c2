//! The bounds on how many connections there may be: in all, from one address, and by the
//! descriptors of the process. Each has its named outcome, its counter, and its end.

use crate::support::{
    Client, HttpResponse, ProtocolClient, RawClient, Server, expect_room_relays, upgrade_request,
};
use std::process::Command;
use std::time::{Duration, Instant};
use switchboard::limits::SURPLUS_CONNECTIONS;

/// Tries to open a session that must be refused.
fn refused(mut raw: RawClient) -> HttpResponse {
    raw.send(&upgrade_request());
    let response = raw.read_response();
    assert_eq!(response.status, 503, "{response:?}");
    let retry_after: u32 = response.field("retry-after").unwrap().parse().unwrap();
    assert!(retry_after > 0);
    assert!(response.has_connection_option("close"));
    raw.expect_end();
    response
}

/// A session as soon as there is a place: whoever was refused holds one until it has gone.
fn enters(server: &Server) -> RawClient {
    crate::support::wait_until("there is a place", || {
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
fn past_max_connections_an_upgrade_gets_503_and_those_inside_notice_nothing() {
    let server = Server::start(&["--max-connections", "4", "--shards", "2"]);
    let (mut one, mut other, room) = server.matched_pair();
    let third = server.client();
    let _fourth = server.client();
    for _ in 0..3 {
        let response = refused(server.raw_connection());
        assert!(response.text().contains("too many connections"), "{}", response.text());
    }
    expect_room_relays(&mut one, &mut other, &room);
    assert_eq!(server.stat("/http/rejected/connection_limit"), 3);
    // Plain requests are still heard: a load balancer has to learn that the server lives.
    server.wait_for_stat("/connections/active", 5);
    // The place is free again as soon as somebody leaves.
    drop(third);
    let mut again = enters(&server);
    again.expect_no_message();
    refused(server.raw_connection());
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn beyond_the_surplus_too_everybody_gets_an_answer_and_places_come_back() {
    let server = Server::start(&["--max-connections", "2"]);
    let (mut one, mut other, room) = server.matched_pair();
    let surplus: Vec<RawClient> =
        (0..SURPLUS_CONNECTIONS).map(|_| server.raw_connection()).collect();
    // The last of the surplus is heard, so all before it have been taken in.
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
    crate::support::wait_until("the surplus has gone", || {
        let mut raw = server.raw_connection();
        raw.send(b"GET /stats HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        let response = raw.read_response();
        if response.status == 200 { Ok(()) } else { Err(format!("{response:?}")) }
    });
    assert!(server.stat("/http/rejected/connection_limit") >= 20);
    refused(server.raw_connection());
    drop((one, other));
    server.wait_until_idle();
    enters(&server);
}

#[test]
fn past_the_limit_of_its_address_a_newcomer_gets_503_and_other_addresses_do_not() {
    let flags = ["--max-connections", "100", "--max-connections-per-address", "2"];
    let server = Server::start(&[&flags[..], &["--shards", "2"]].concat());
    let enter = |last: u8| {
        let mut raw = RawClient::connect_from(last, server.address());
        raw.upgrade();
        raw
    };
    let (first, _second) = (enter(2), enter(2));
    let response = refused(RawClient::connect_from(2, server.address()));
    assert!(response.text().contains("from this address"), "{}", response.text());
    drop(enter(3));
    // A match may move one of two between shards, and its count with it.
    for last in (10..50).step_by(2) {
        let pair = crate::support::match_pair(enter(last), enter(last + 1));
        for last in [last, last + 1] {
            let _second = enter(last);
            refused(RawClient::connect_from(last, server.address()));
        }
        drop(pair);
    }
    assert!(server.stat("/migrations/out") > 0, "twenty pairs over two shards");
    assert_eq!(server.stat("/http/rejected/address_limit"), 41);
    // The places are free again once somebody has left and the refused ones have gone.
    drop(first);
    let finds_place = |last: u8| {
        crate::support::wait_until("there is a place for the address", || {
            let mut raw = RawClient::connect_from(last, server.address());
            raw.send(&upgrade_request());
            if raw.peek_status() == 101 { Ok(raw) } else { Err("there is none".to_owned()) }
        })
    };
    finds_place(2);
    for last in 10..50 {
        let _both = [finds_place(last), finds_place(last)];
    }
}

#[test]
fn past_its_rate_an_address_gets_503_until_the_next_second_and_others_do_not() {
    let server = Server::start(&["--max-new-connections-per-address", "3", "--shards", "2"]);
    let enters = |last: u8| {
        let mut raw = RawClient::connect_from(last, server.address());
        raw.send(&upgrade_request());
        (raw.peek_status() == 101).then_some(raw)
    };
    // Sessions stay, and count no longer: a second has a beginning, so twice as many may come in
    // a row, and no more. It takes far less than ten seconds to see one refused.
    let mut inside = Vec::new();
    let refusal = (0..30).find_map(|_| match enters(2) {
        Some(raw) => {
            inside.push(raw);
            None
        }
        None => Some(refused(RawClient::connect_from(2, server.address()))),
    });
    let refusal = refusal.expect("thirty newcomers in one second are too many");
    assert!(refusal.text().contains("too many new connections"), "{}", refusal.text());
    assert!(enters(3).is_some(), "another address has a rate of its own");
    let counted = server.stat("/http/rejected/address_rate");
    assert!(counted >= 2, "{counted}");
    // The next second is a new one, for all who come in it.
    let again = crate::support::wait_until("the second is over", || {
        enters(2).ok_or("it is not".to_owned())
    });
    drop((again, inside));
}

#[test]
fn a_storm_from_one_address_does_not_take_the_places_of_others() {
    let flags = ["--max-connections", "400", "--max-connections-per-address", "2"];
    let server = Server::start(&flags);
    let (mut one, mut other, room) =
        crate::support::match_pair(entered(3, &server), entered(4, &server));
    // Silent ones keep their place until their head is overdue.
    let storm: Vec<RawClient> =
        (0..1000).map(|_| RawClient::connect_from(2, server.address())).collect();
    crate::support::wait_until("all of the storm has been seen", || {
        let stats = server.stats();
        let (accepted, closed) = ("/connections/accepted", "/connections/closed/refused");
        match crate::support::stat_number(&stats, accepted) {
            seen if seen >= 1002 => Ok(()),
            seen => Err(format!(
                "{seen} of 1002; {} refused",
                crate::support::stat_number(&stats, closed)
            )),
        }
    });
    let active = server.stat("/connections/active");
    assert!(active <= 5 + 2 + SURPLUS_CONNECTIONS as i64, "{active} are open");
    drop(entered(5, &server));
    expect_room_relays(&mut one, &mut other, &room);
    drop(storm);
}

/// A session from a loopback address of one's own.
fn entered(last: u8, server: &Server) -> RawClient {
    let mut raw = RawClient::connect_from(last, server.address());
    raw.upgrade();
    raw
}

/// Sets the limit of descriptors of a running process.
fn limit_descriptors(server: &Server, limit: usize) {
    let limits = format!("--nofile={limit}:20000");
    let pid = server.pid().to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, &limits]).status().unwrap();
    assert!(status.success());
}

#[test]
fn out_of_descriptors_accepting_pauses_and_users_notice_nothing() {
    let mut server = Server::start(&["--shards", "2"]);
    let (mut one, mut other, room) = server.matched_pair();
    let mut leavers: Vec<Client> = (0..4).map(|_| server.client()).collect();
    // Asked for on a connection that is open already: no new one can be.
    let mut asking = server.raw_connection();
    let mut stats = move || asking.request("GET /stats HTTP/1.1\r\nHost: t\r\n\r\n").json();
    stats();
    limit_descriptors(&server, server.open_descriptors());
    let mut outside: Vec<RawClient> = (0..12).map(|_| server.raw_connection()).collect();
    for newcomer in &mut outside {
        newcomer.send(&upgrade_request());
    }
    server.wait_for_log_line("accepting pauses");
    // A few may have found a descriptor that was free.
    let mut inside = Vec::new();
    take_those_who_got_in(&mut outside, &mut inside);
    // It does not spin.
    let (began, before) = (Instant::now(), server.cpu_time());
    while began.elapsed() < Duration::from_secs(1) {
        expect_room_relays(&mut one, &mut other, &room);
        std::thread::sleep(Duration::from_millis(250));
    }
    let (wall, used) = (began.elapsed(), server.cpu_time() - before);
    assert!(used < wall / 50, "{used:?} of CPU in {wall:?}");
    // The figures tell.
    let figures = stats();
    assert!(crate::support::stat_number(&figures, "/connections/accept_paused") >= 1);
    assert!(crate::support::stat_number(&figures, "/connections/accept_errors") >= 1);
    // Each descriptor that comes free lets one in.
    take_those_who_got_in(&mut outside, &mut inside);
    assert!(outside.len() >= leavers.len(), "{} got in", inside.len());
    while let Some(leaver) = leavers.pop() {
        let before = inside.len();
        drop(leaver);
        crate::support::wait_until("a newcomer gets in", || {
            take_those_who_got_in(&mut outside, &mut inside);
            if inside.len() > before { Ok(()) } else { Err("none has".to_owned()) }
        });
    }
    // When there are enough again, all get in.
    limit_descriptors(&server, 1000);
    for newcomer in &mut outside {
        newcomer.expect_upgrade();
    }
    server.wait_for_stat("/connections/accept_paused", 0);
    expect_room_relays(&mut one, &mut other, &room);
    let warnings = server.log().iter().filter(|line| line.contains("accepting pauses")).count();
    assert_eq!(warnings, 1, "of two shards");
    drop((one, other, inside, outside, stats));
    server.wait_until_idle();
}

fn take_those_who_got_in(outside: &mut Vec<RawClient>, inside: &mut Vec<RawClient>) {
    let stirs = |raw: &mut RawClient| raw.is_readable_within(Duration::from_millis(1));
    while let Some(at) = outside.iter_mut().position(stirs) {
        let mut raw = outside.remove(at);
        raw.expect_upgrade();
        inside.push(raw);
    }
}

#[test]
fn the_limit_follows_from_the_descriptors_there_are() {
    let server = Server::start_in_shell("ulimit -n 150", &[]);
    let log = server.log().join("\n");
    assert!(log.contains("open_files_limit=150"), "{log}");
    let limit = server.stat("/connections/limit");
    assert!((1..150).contains(&limit), "{limit}");
    assert_eq!(server.stat("/process/descriptors_allowed"), 150);
    // All of them can be had, and the surplus, and one more: the limit answers, not EMFILE.
    let inside: Vec<Client> = (0..limit).map(|_| server.client()).collect();
    refused(server.raw_connection());
    assert_eq!(server.stat("/connections/accept_errors"), 0);
    drop(inside);
    server.wait_until_idle();
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let server = Server::start_in_shell("ulimit -S -n 128 && ulimit -H -n 600", &[]);
    assert_eq!(server.stat("/process/descriptors_allowed"), 600);
}
