//! Nothing of a connection that the server has closed stays in the kernel: what its client does not
//! acknowledge within the close timeout is dropped with a reset.

use crate::support::{
    ProtocolClient, RawClient, Received, Server, match_pair, text_frame, wait_until,
};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

const FLAGS: [&str; 6] =
    ["--socket-send-buffer", "65536", "--close-timeout", "300ms", "--handshake-timeout", "300ms"];

/// How many of the server's sockets wait for an acknowledgement although they are closed: in the
/// states FIN-WAIT-1, LAST-ACK and CLOSING (proc(5), `/proc/net/tcp`).
fn orphans(server: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", server.port());
    let is_orphan = |line: &&str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns[1].ends_with(&port) && ["04", "09", "0B"].contains(&columns[3])
    };
    table.lines().skip(1).filter(is_orphan).count()
}

fn wait_for_no_orphan(server: SocketAddr) {
    wait_until("no closed socket is left", || match orphans(server) {
        0 => Ok(()),
        count => Err(format!("{count} are left")),
    });
}

/// Fills the client's buffers and the server's with answers that are not read.
fn closed_as_slow_consumer(server: &Server) -> RawClient {
    let mut stuck = RawClient::open_session_with_small_buffer(server.address());
    let ping = format!(r#"{{"type":"ping","payload":"{}"}}"#, "d".repeat(60_000));
    while server.stat("/sessions/active") == 1 {
        let _closed = stuck.try_send(&text_frame(ping.as_bytes()));
    }
    stuck
}

#[test]
fn a_slow_consumer_that_stays_leaves_nothing_in_the_kernel() {
    let server = Server::start(&FLAGS);
    let stuck = closed_as_slow_consumer(&server);
    server.wait_until_idle();
    wait_for_no_orphan(server.address());
    assert_eq!(server.stat("/connections/unacknowledged_resets"), 1);
    assert_eq!(server.stat("/connections/close_timeouts"), 1);
    drop(stuck);
}

#[test]
fn requests_whose_responses_are_not_read_leave_nothing_in_the_kernel() {
    let server = Server::start(&FLAGS);
    let clients: Vec<TcpStream> = (0..5)
        .map(|_| {
            let mut client = TcpStream::connect(server.address()).unwrap();
            client.write_all(&b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(400)).unwrap();
            client
        })
        .collect();
    server.wait_for_stat("/connections/closed/http_idle", 5);
    wait_for_no_orphan(server.address());
    assert_eq!(server.stat("/connections/unacknowledged_resets"), 5);
    drop(clients);
}

#[test]
fn a_client_that_half_closes_and_does_not_read_leaves_nothing_in_the_kernel() {
    let server = Server::start(&FLAGS);
    let slow = RawClient::open_session_with_small_buffer(server.address());
    let id = slow.id().to_owned();
    let (one, other, room) = match_pair(slow, server.raw_session());
    let (slow, mut busy) = if one.id() == id { (one, other) } else { (other, one) };
    for _ in 0..4 {
        busy.relay("signal", &room, &format!("\"{}\"", "m".repeat(10_000)));
    }
    server.wait_for_stat("/messages/relayed", 4);
    slow.half_close();
    // The partner is told at once, not when the close timeout ends.
    busy.expect_peer_left(&room, "disconnected");
    drop(busy);
    server.wait_until_idle();
    wait_for_no_orphan(server.address());
    assert_eq!(server.stat("/connections/unacknowledged_resets"), 1);
}

#[test]
fn what_was_sent_before_a_half_close_arrives() {
    let server = Server::start(&[]);
    let (mut slow, mut busy, room) = server.matched_raw_pair();
    let message = format!("\"{}\"", "m".repeat(40_000));
    for _ in 0..4 {
        busy.relay("signal", &room, &message);
    }
    server.wait_for_stat("/messages/relayed", 4);
    slow.half_close();
    busy.expect_peer_left(&room, "disconnected");
    for _ in 0..4 {
        assert!(slow.receive_text().contains(&message));
    }
    assert_eq!(slow.receive(), Received::End);
    server.wait_for_stat("/connections/closed/client_gone", 1);
    assert_eq!(server.stat("/connections/unacknowledged_resets"), 0);
}

#[test]
fn a_process_that_has_ended_leaves_nothing_in_the_kernel() {
    // Gracefully, and by a second signal: the close timeout is too long to end before.
    for close_timeout in ["500ms", "1h"] {
        let flags = ["--socket-send-buffer", "65536", "--drain-timeout", "100ms"];
        let close = ["--close-timeout", close_timeout];
        let mut server = Server::start(&[&flags[..], &close].concat());
        let address = server.address();
        let mut clients: Vec<TcpStream> = (0..3)
            .map(|_| {
                let mut client = TcpStream::connect(address).unwrap();
                client.write_all(&b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(400)).unwrap();
                client
            })
            .collect();
        server.wait_for_stat("/connections/active", 4);
        server.send_signal("TERM");
        if close_timeout == "1h" {
            wait_until("a later signal ends the process", || {
                server.send_signal("TERM");
                match server.has_exited() {
                    true => Ok(()),
                    false => Err("it runs".to_owned()),
                }
            });
        }
        server.wait_for_exit();
        wait_for_no_orphan(address);
        for client in &mut clients {
            // What has arrived can be read, and then the connection is at its end.
            while matches!(client.read(&mut [0; 65_536]), Ok(1..)) {}
            let _over = client.shutdown(Shutdown::Both);
        }
    }
}
