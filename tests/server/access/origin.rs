//! `--allow-origin`: which pages may open sessions (RFC 6455 §10.2, RFC 6454). A browser always
//! says whose page it is, and a page cannot change what it says.

use crate::support::{HttpResponse, ProtocolClient, RawClient, Server, expect_room_relays, get};

/// An upgrade of `path` with these lines of `Origin`.
fn upgrade(path: &str, origins: &[&str]) -> Vec<u8> {
    let origins: String = origins.iter().map(|origin| format!("Origin: {origin}\r\n")).collect();
    format!(
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{origins}\r\n"
    )
    .into_bytes()
}

/// Asks and looks at the status of the answer.
fn asked(server: &Server, path: &str, origins: &[&str]) -> (RawClient, u16) {
    let mut raw = server.raw_connection();
    raw.send(&upgrade(path, origins));
    let status = raw.peek_status();
    (raw, status)
}

fn refused(server: &Server, path: &str, origins: &[&str]) -> HttpResponse {
    let (mut raw, status) = asked(server, path, origins);
    assert_eq!(status, 403, "{path} {origins:?}");
    let response = raw.read_response();
    assert!(response.has_connection_option("close"));
    raw.expect_end();
    response
}

#[test]
fn pages_of_other_sites_get_403_wherever_there_is_an_upgrade_and_nobody_else_does() {
    let allowed = "https://app.example,http://Localhost:8080";
    let server = Server::start(&["--echo", "--allow-origin", allowed, "--allow-origin", "null"]);
    let (mut one, mut other, room) = server.matched_pair();
    let hostile: &[&[&str]] = &[
        &["https://evil.example"],
        &["http://app.example"],
        &["https://app.example:8443"],
        &["https://app.example.evil.example"],
        &["https://evil.example/https://app.example"],
        &["https://app.example/"],
        &["https://app.example https://evil.example"],
        &["http://localhost"],
        &[""],
        &["NULL"],
        &["*"],
        // Which of two is meant, nobody knows (RFC 6454 §7.3).
        &["https://app.example", "https://evil.example"],
        &["https://app.example", "https://app.example"],
    ];
    for path in ["/ws", "/", "/echo"] {
        for origins in hostile {
            let response = refused(&server, path, origins);
            assert_eq!(response.text(), "pages of this origin may not connect here\n");
        }
        for origins in [
            &["https://app.example"][..],
            &["HTTPS://APP.example:443"],
            &["http://localhost:8080"],
            &["null"],
            &[],
        ] {
            assert_eq!(asked(&server, path, origins).1, 101, "{path} {origins:?}");
        }
    }
    let refusals = 3 * i64::try_from(hostile.len()).unwrap();
    assert_eq!(server.stat("/http/rejected/origin"), refusals);
    let metrics = get(server.address(), "/metrics");
    let line = format!("switchboard_http_rejected_total{{reason=\"origin\"}} {refusals}");
    assert!(metrics.text().contains(&line), "{}", metrics.text());
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn what_is_no_upgrade_is_answered_whatever_page_asks() {
    let server = Server::start(&["--allow-origin", "https://app.example"]);
    for path in ["/", "/health", "/stats"] {
        let mut raw = server.raw_connection();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: t\r\nOrigin: https://evil.example\r\n\r\n");
        assert_eq!(raw.request(&request).status, 200, "{path}");
    }
    // A request that is no handshake is told that first.
    let (_, status) = asked(&server, "/echo", &["https://evil.example"]);
    assert_eq!(status, 404, "there is no echo without --echo");
}

#[test]
fn without_the_flag_every_page_may() {
    let server = Server::start(&[]);
    for origins in [&["https://evil.example"][..], &["null"], &["junk", "junk"]] {
        let (mut raw, status) = asked(&server, "/ws", origins);
        assert_eq!(status, 101, "{origins:?}");
        raw.expect_upgrade();
        raw.expect_no_message();
    }
}
