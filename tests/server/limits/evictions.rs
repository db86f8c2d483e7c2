//! A full server: idle HTTP connections make space for the next connection, then the session that has
//! been silent longest and owes an answer to a ping.

use crate::support::{
    ProtocolClient, RawClient, Received, Server, client_frame, upgrade_request, wait_until,
};
use std::time::Duration;
use switchboard::wire::websocket::frame::PING;

const WINDOW: [&str; 2] = ["--liveness-window", "400ms"];

/// Answers the pings that have arrived.
fn answer_pings(user: &mut RawClient) {
    while user.is_readable_within(Duration::from_millis(1)) {
        let ping = user.read_frame().expect("the connection is open");
        assert_eq!(ping.opcode, PING);
        user.send(&client_frame(0x8a, &ping.payload));
    }
}

/// Connects again and again until the server grants a session, while `live` answer their pings.
fn enter(connect: impl Fn() -> RawClient, live: &mut [&mut RawClient]) -> RawClient {
    wait_until("a session is granted", || {
        live.iter_mut().for_each(|user| answer_pings(user));
        let mut newcomer = connect();
        newcomer.send(&upgrade_request());
        match newcomer.peek_status() {
            101 => {
                newcomer.expect_upgrade();
                Ok(newcomer)
            }
            status => Err(format!("{status}")),
        }
    })
}

/// Pings, then a Close frame with 1001, then the end.
fn expect_eviction(user: &mut RawClient) {
    assert_eq!(user.receive(), Received::Close(Some(1001)));
    assert_eq!(user.receive(), Received::End);
}

#[test]
fn a_newcomer_replaces_the_session_that_has_been_silent_longest() {
    let server = Server::start(&[&WINDOW[..], &["--max-connections", "3"]].concat());
    let mut silent = server.raw_session();
    let mut live = server.raw_session();
    let mut also_silent = server.raw_session();
    // At the limit the server pings silent sessions. One answers once, so the other is silent longer.
    assert_eq!(silent.read_frame().unwrap().opcode, PING);
    also_silent.send(&client_frame(0x8a, b""));
    let mut first = enter(|| server.raw_connection(), &mut [&mut live]);
    expect_eviction(&mut silent);
    let mut second = enter(|| server.raw_connection(), &mut [&mut live, &mut first]);
    expect_eviction(&mut also_silent);
    live.send(&client_frame(0x8a, b""));
    for user in [&mut live, &mut first, &mut second] {
        user.expect_no_message();
    }
    drop((silent, also_silent));
    server.wait_for_stat("/connections/closed/evicted", 2);
}

#[test]
fn suspects_of_all_shards_make_space() {
    let flags = ["--shards", "2", "--max-connections", "8"];
    let server = Server::start(&[&WINDOW[..], &flags].concat());
    let mut silent: Vec<RawClient> = (0..8).map(|_| server.raw_session()).collect();
    let mut newcomers: Vec<RawClient> = Vec::new();
    for _ in 0..8 {
        let mut live: Vec<&mut RawClient> = newcomers.iter_mut().collect();
        let newcomer = enter(|| server.raw_connection(), &mut live);
        newcomers.push(newcomer);
    }
    silent.iter_mut().for_each(expect_eviction);
    newcomers.iter_mut().for_each(|newcomer| newcomer.expect_no_message());
}

#[test]
fn an_address_at_its_limit_replaces_its_own_silent_session_only() {
    let flags = ["--max-connections-per-address", "1"];
    let server = Server::start(&[&WINDOW[..], &flags].concat());
    let open = |last| {
        let mut user = RawClient::connect_from(last, server.address());
        user.upgrade();
        user
    };
    let (mut of_another, mut own) = (open(2), open(3));
    let mut newcomer = enter(|| RawClient::connect_from(3, server.address()), &mut []);
    expect_eviction(&mut own);
    newcomer.expect_no_message();
    of_another.expect_no_message();
}

#[test]
fn a_session_in_a_room_is_evicted_only_when_its_client_is_silent() {
    let server = Server::start(&[&WINDOW[..], &["--max-connections", "2"]].concat());
    let (mut silent, mut partner, room) = server.matched_raw_pair();
    silent.relay("offer", &room, "1");
    partner.receive_text();
    let mut newcomer = RawClient::connect(server.address());
    newcomer.send(&upgrade_request());
    assert_eq!(newcomer.read_response().status, 503, "no client owes an answer yet");
    drop(newcomer);
    let mut left = None;
    wait_until("the silent member is closed", || {
        let mut newcomer = RawClient::connect(server.address());
        newcomer.send(&upgrade_request());
        if newcomer.peek_status() == 101 {
            return Ok(());
        }
        while left.is_none() && partner.is_readable_within(Duration::from_millis(1)) {
            let frame = partner.read_frame().unwrap();
            match frame.opcode {
                PING => partner.send(&client_frame(0x8a, &frame.payload)),
                _ => left = Some(String::from_utf8(frame.payload).unwrap()),
            }
        }
        Err("503".to_owned())
    });
    expect_eviction(&mut silent);
    assert!(left.is_none_or(|left| left.contains("disconnected")));
}

#[test]
fn without_a_liveness_window_no_session_is_evicted() {
    let flags = ["--liveness-window", "0s", "--ping-interval", "50ms", "--max-connections", "1"];
    let server = Server::start(&flags);
    let mut silent = server.raw_session();
    for _ in 0..20 {
        assert_eq!(silent.read_frame().unwrap().opcode, PING);
        let mut newcomer = server.raw_connection();
        newcomer.send(&upgrade_request());
        assert_eq!(newcomer.read_response().status, 503);
    }
    silent.expect_no_message();
}

/// Makes a request. The connection stays open.
fn request(client: &mut RawClient) {
    client.send(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.read_response().status, 200);
}

/// A connection on which a request was answered and that is kept open.
fn kept_connection(connect: impl Fn() -> RawClient) -> RawClient {
    let mut kept = connect();
    request(&mut kept);
    kept
}

/// How many of these the server has closed.
fn ended(kept: &mut [RawClient]) -> usize {
    let mut count = 0;
    for one in kept {
        if one.is_readable_within(Duration::from_millis(1)) {
            assert_eq!(one.receive(), Received::End);
            count += 1;
        }
    }
    count
}

#[test]
fn idle_http_connections_make_space_without_a_liveness_window() {
    let flags = ["--liveness-window", "0s", "--max-connections", "2"];
    let mut server = Server::start(&flags);
    let mut kept: Vec<_> = (0..2).map(|_| kept_connection(|| server.raw_connection())).collect();
    let mut first = enter(|| server.raw_connection(), &mut []);
    assert!(ended(&mut kept) >= 1);
    let mut second = enter(|| server.raw_connection(), &mut []);
    assert_eq!(ended(&mut kept), 2);
    first.expect_no_message();
    second.expect_no_message();
    server.wait_for_log_line("idle HTTP connections closed: a limit on connections was reached");
    drop((first, second));
    server.wait_for_stat("/connections/closed/http_evicted", 2);
}

#[test]
fn idle_connections_of_one_page_make_space_for_another_with_as_many() {
    let server = Server::start(&["--max-connections", "2", "--shards", "2"]);
    let mut kept: Vec<_> = (0..2).map(|_| kept_connection(|| server.raw_connection())).collect();
    // Those of the second page are above the limit, and so they refuse its own session too.
    let mut own: Vec<_> = (0..6).map(|_| kept_connection(|| server.raw_connection())).collect();
    let mut session = enter(|| server.raw_connection(), &mut []);
    assert!(ended(&mut kept) + ended(&mut own) >= 7);
    session.expect_no_message();
}

#[test]
fn an_address_at_its_limit_replaces_its_own_idle_connections_only() {
    let server = Server::start(&["--max-connections-per-address", "2"]);
    let open = |last| kept_connection(|| RawClient::connect_from(last, server.address()));
    let (mut of_another, mut own) = (open(2), [open(3), open(3)]);
    let mut newcomer = enter(|| RawClient::connect_from(3, server.address()), &mut []);
    assert!(ended(&mut own) >= 1);
    newcomer.expect_no_message();
    request(&mut of_another);
}
