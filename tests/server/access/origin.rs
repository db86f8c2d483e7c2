//! `--allow-origin`: which pages may open sessions (RFC 6455 §10.2, RFC 6454). A browser always
//! sends the page's origin, and a page cannot change it.

use crate::support::{HttpResponse, ProtocolClient, RawClient, Server, expect_room_relays, get};

/// An upgrade request for `path` with these `Origin` fields.
fn upgrade_from(path: &str, origins: &[&str]) -> Vec<u8> {
    let origins: String = origins.iter().map(|origin| format!("Origin: {origin}\r\n")).collect();
    format!(
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{origins}\r\n"
    )
    .into_bytes()
}

/// Sends an upgrade request; the client and the status of the response.
fn try_upgrade(server: &Server, path: &str, origins: &[&str]) -> (RawClient, u16) {
    let mut raw = server.raw_connection();
    raw.send(&upgrade_from(path, origins));
    let status = raw.peek_status();
    (raw, status)
}

/// The response to an upgrade request that must be refused with 403.
fn expect_refusal(server: &Server, path: &str, origins: &[&str]) -> HttpResponse {
    let (mut raw, status) = try_upgrade(server, path, origins);
    assert_eq!(status, 403, "{path} {origins:?}");
    let response = raw.read_response();
    assert!(response.has_connection_option("close"));
    raw.expect_end();
    response
}

#[test]
fn refuses_upgrades_of_disallowed_origins_with_403_at_every_path() {
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
        // A request must not name two origins (RFC 6454 §7.3).
        &["https://app.example", "https://evil.example"],
        &["https://app.example", "https://app.example"],
    ];
    for path in ["/ws", "/", "/echo"] {
        for origins in hostile {
            let response = expect_refusal(&server, path, origins);
            assert_eq!(response.text(), "pages of this origin are not allowed to connect\n");
        }
        for origins in [
            &["https://app.example"][..],
            &["HTTPS://APP.example:443"],
            &["http://localhost:8080"],
            &["null"],
            &[],
        ] {
            assert_eq!(try_upgrade(&server, path, origins).1, 101, "{path} {origins:?}");
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
fn serves_plain_requests_of_any_origin() {
    let server = Server::start(&["--allow-origin", "https://app.example"]);
    for path in ["/", "/health", "/stats"] {
        let mut raw = server.raw_connection();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: t\r\nOrigin: https://evil.example\r\n\r\n");
        assert_eq!(raw.request(&request).status, 200, "{path}");
    }
    // A path without a WebSocket endpoint is reported before the origin is checked.
    let (_, status) = try_upgrade(&server, "/echo", &["https://evil.example"]);
    assert_eq!(status, 404, "there is no echo without --echo");
}

#[test]
fn allows_every_origin_without_the_flag() {
    let server = Server::start(&[]);
    for origins in [&["https://evil.example"][..], &["null"], &["junk", "junk"]] {
        let (mut raw, status) = try_upgrade(&server, "/ws", origins);
        assert_eq!(status, 101, "{origins:?}");
        raw.expect_upgrade();
        raw.expect_no_message();
    }
}
