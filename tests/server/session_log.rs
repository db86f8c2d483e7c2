//! What the log says of single users: the end of each session on request, an address only where
//! that was asked for too, and at the end of the process everything that was not told yet.

use crate::support::{
    Client, ProtocolClient, RawClient, Server, client_frame, close_frame, match_pair,
    upgrade_request, wait_until,
};
use serde_json::Value;
use std::process::Command;

const DEBUG: [&str; 4] = ["--log-format", "json", "--log-level", "debug"];

/// The line about the end of this session.
fn end_of(server: &mut Server, session: &str) -> Value {
    let named = format!("\"session\":\"{session}\"");
    let line = server.wait_for_log_line(&named);
    let parsed: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&parsed["level"], &parsed["message"]), (&"DEBUG".into(), &"session ended".into()));
    parsed
}

/// A session of a client that sends this upgrade request.
fn open(server: &Server, request: &[u8]) -> RawClient {
    let mut raw = server.raw_connection();
    raw.send(request);
    raw.expect_upgrade();
    raw
}

fn forwarded_for(client: &str) -> Vec<u8> {
    let upgrade = String::from_utf8(upgrade_request()).unwrap();
    upgrade.replacen("\r\n", &format!("\r\nX-Forwarded-For: {client}\r\n"), 1).into_bytes()
}

#[test]
fn logs_the_end_of_each_session_with_its_reason_at_level_debug() {
    let flags = [&DEBUG[..], &["--shards", "2", "--max-message-bytes", "2000"]].concat();
    let mut server = Server::start(&flags);
    let mut ends = Vec::new();
    for (bytes, code, reason) in [
        (close_frame(1000), 1000, "client_close"),
        (client_frame(0x81, &[b'a'; 2001]), 1009, "message_too_large"),
        (client_frame(0x81, b"\xff"), 1007, "not_utf8"),
        (client_frame(0x83, b""), 1002, "protocol_error"),
    ] {
        let mut raw = server.raw_session();
        raw.send(&bytes);
        raw.expect_close(code);
        ends.push((raw.id().to_owned(), reason));
    }
    // Pairs of which about half consist of a session of either shard: one of the two migrates.
    for _ in 0..8 {
        let (one, other, _) = match_pair(server.raw_session(), server.raw_session());
        for raw in [one, other] {
            ends.push((raw.id().to_owned(), "client_gone"));
            raw.reset();
        }
    }
    assert!(server.stat("/migrations/out") > 0, "eight pairs over two shards");
    for (session, reason) in &ends {
        let line = end_of(&mut server, session);
        assert_eq!(line["reason"], *reason, "{line}");
        assert!(line["duration_ms"].as_u64().is_some(), "{line}");
        assert!(line.get("client").is_none(), "{line}");
    }
    let lines = server.log().iter().filter(|line| line.contains("session ended")).count();
    assert_eq!(lines, ends.len(), "one line for each session");
}

#[test]
fn logs_no_session_without_level_debug() {
    let mut server = Server::start(&["--log-addresses", "--log-level", "info"]);
    let session = {
        let client = server.client();
        client.id().to_owned()
    };
    server.wait_until_idle();
    server.send_signal("TERM");
    server.wait_for_exit();
    server.wait_for_log_line("ended gracefully");
    for line in server.log() {
        assert!(!line.contains(&session) && !line.contains("client="), "{line}");
    }
}

#[test]
fn logs_the_address_of_the_client_with_log_addresses_only() {
    let proxied = ["--trusted-proxy", "127.0.0.1"];
    let requests = [
        ("192.0.2.7", forwarded_for("192.0.2.7")),
        ("2001:db8::7", [&b"PROXY TCP6 2001:db8::7 ::1 5 80\r\n"[..], &upgrade_request()].concat()),
        ("192.0.2.8", forwarded_for("evil, 192.0.2.8")),
        ("192.0.2.9", forwarded_for("::ffff:192.0.2.9")),
        // Without a statement of the proxy the address is the proxy's own.
        ("127.0.0.1", upgrade_request()),
    ];
    let mut server = Server::start(&[&DEBUG[..], &proxied, &["--log-addresses"]].concat());
    for (address, request) in &requests {
        let session = open(&server, request).id().to_owned();
        assert_eq!(end_of(&mut server, &session)["client"], *address);
    }
    // Without a trusted proxy its statement is ignored.
    let mut server = Server::start(&[&DEBUG[..], &["--log-addresses"]].concat());
    let session = open(&server, &requests[0].1).id().to_owned();
    assert_eq!(end_of(&mut server, &session)["client"], "127.0.0.1");
    let mut server = Server::start(&[&DEBUG[..], &proxied].concat());
    for (_, request) in &requests {
        let session = open(&server, request).id().to_owned();
        assert_eq!(end_of(&mut server, &session).get("client"), None);
    }
}

#[test]
fn logs_that_messages_were_too_large() {
    let mut server = Server::start(&["--max-message-bytes", "2000"]);
    let mut raw = server.raw_session();
    raw.send(&client_frame(0x81, &[b'a'; 2001]));
    raw.expect_close(1009);
    drop(raw);
    let line = server.wait_for_log_line("a message exceeded --max-message-bytes");
    assert!(line.contains(" INFO ") && line.trim_end().ends_with("times=1"), "{line}");
}

fn expect_refusal(server: &Server) {
    let mut raw = server.raw_connection();
    raw.send(&upgrade_request());
    assert_eq!(raw.read_response().status, 503);
}

/// Ends the server with a second signal.
fn end_at_once(server: &mut Server) {
    server.send_signal("TERM");
    server.wait_for_log_line("shutting down");
    wait_until("a later signal ends the process", || {
        let _ended = Command::new("kill").args(["-TERM", &server.pid().to_string()]).output();
        match server.log().iter().any(|line| line.contains("ended at once")) {
            true => Ok(()),
            false => Err(format!("{:#?}", server.log())),
        }
    });
    server.wait_for_exit();
}

#[test]
fn tells_at_exit_what_was_not_logged_yet_even_if_it_ends_at_once() {
    let mut server = Server::start(&["--max-connections", "1", "--shards", "1"]);
    let _kept: Client = server.client();
    expect_refusal(&server);
    server.wait_for_log_line("--max-connections is reached");
    (0..3).for_each(|_| expect_refusal(&server));
    end_at_once(&mut server);
    let told = server.wait_for_log_line("times=3");
    assert!(told.contains("--max-connections is reached"), "{told}");
}

#[test]
fn tells_at_exit_how_many_lines_were_suppressed() {
    // An idle HTTP connection would otherwise stay open until the end of the drain.
    let flags = ["--shards", "1", "--drain-timeout", "0", "--close-timeout", "100ms"];
    let mut server = Server::start(&flags);
    let mut monitor = server.raw_connection();
    let mut stats = move || monitor.request("GET /stats HTTP/1.1\r\nHost: t\r\n\r\n").json();
    stats();
    let limits = format!("--nofile={}:20000", server.open_descriptors());
    let pid = server.pid().to_string();
    assert!(Command::new("prlimit").args(["--pid", &pid, &limits]).status().unwrap().success());
    let _pending: Vec<RawClient> = (0..20).map(|_| server.raw_connection()).collect();
    server.wait_for_log_line("accepting is paused");
    wait_until(
        "accepting is tried several times",
        || match stats()["connections"]["accept_errors"].as_u64() {
            Some(errors) if errors > 2 => Ok(()),
            errors => Err(format!("{errors:?} errors")),
        },
    );
    server.send_signal("TERM");
    server.wait_for_exit();
    let told = server.wait_for_log_line("log lines were suppressed");
    assert!(told.contains(r#"line="accepting is paused""#), "{told}");
    assert!(told.contains(" suppressed="), "{told}");
}
