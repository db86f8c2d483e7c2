//! HTTP on the public port: the status, the header fields and the body of each response.

use crate::support::{
    HttpResponse, ProtocolClient, RawClient, Server, get, head, request_once, stat_number,
};
use serde_json::Value;

const DOCUMENTS: [&str; 4] = ["/health", "/stats", "/metrics", "/"];

/// Sends one request on a new connection.
fn send_request(server: &Server, request: &str) -> HttpResponse {
    let mut raw = server.raw_connection();
    raw.send(request.as_bytes());
    raw.read_response()
}

/// A request with these fields beside `Host`.
fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
}

/// An upgrade request with `replaced` in place of the valid fields of the same names; an empty value
/// leaves the field out.
fn upgrade_with(replaced: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    fields.retain(|(name, _)| !replaced.iter().any(|(other, _)| other == name));
    fields.extend(replaced.iter().filter(|(_, value)| !value.is_empty()));
    let fields: String =
        fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    request("GET", "/ws", &fields)
}

/// The response is a refusal: one line of text that states the cause, and must not be cached.
fn expect_refusal(response: &HttpResponse, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.field("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(response.field("cache-control"), Some("no-store"));
    let text = response.text();
    assert!(text.len() > 5 && text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
}

#[test]
fn serves_every_document_with_its_media_type() {
    let server = Server::start(&[]);
    let types = ["application/json", "application/json", "text/plain; version=0.0.4", "text/html"];
    for (path, media_type) in DOCUMENTS.iter().zip(types) {
        let response = server.get(path);
        let found = response.field("content-type").unwrap();
        assert!(found.starts_with(media_type), "{path}: {found}");
        assert_eq!(response.field("x-content-type-options"), Some("nosniff"));
        assert!(response.field("date").unwrap().ends_with(" GMT"), "RFC 9110 §6.6.1");
        assert!(response.has_connection_option("close"));
        assert!(!response.body.is_empty());
    }
    let query = get(server.address(), "/health?from=a-load-balancer");
    assert_eq!(query.json()["status"], "ok");
}

#[test]
fn answers_head_like_get_without_the_body() {
    let server = Server::start(&[]);
    for path in DOCUMENTS.iter().chain(&["/favicon.svg", "/nothing"]) {
        let (got, headed) = (get(server.address(), path), head(server.address(), path));
        assert_eq!(got.status, headed.status, "{path}");
        let names = |response: &HttpResponse| -> Vec<String> {
            response.fields.iter().map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(names(&got), names(&headed), "{path}");
        assert_eq!(got.field("content-type"), headed.field("content-type"));
        // The figures of /stats differ from one request to the next.
        if !["/stats", "/metrics", "/health"].contains(path) {
            assert_eq!(got.content_length(), headed.content_length());
        }
    }
}

#[test]
fn health_reports_the_status_and_the_number_of_connections() {
    let server = Server::start(&["--max-connections", "7"]);
    let _user = server.client();
    server.wait_for_stat("/connections/active", 2);
    let health = server.get("/health").json();
    assert_eq!(health["status"], "ok");
    assert!(health["connections"].as_i64().is_some_and(|open| open >= 2), "{health}");
    assert_eq!(health["connections_limit"], 7);
}

#[test]
fn stats_count_what_happened() {
    let server = Server::start(&["--shards", "2", "--stats-queue", "en,fr"]);
    let (mut one, mut other, room) = server.matched_pair();
    let sent = one.relay("offer", &room, r#"{"sdp":"v=0"}"#);
    assert_eq!(other.receive_text(), sent);
    let mut third = server.client();
    third.join_queue("en");
    let mut fourth = server.client();
    fourth.join_queue("unlisted");
    third.send_text("nonsense");
    third.expect_error("bad_json");
    server.wait_for_stat("/matchmaking/tickets", 2);
    // Four sessions, and the connection that requests the figures.
    server.wait_for_stat("/connections/active", 5);
    server.wait_for_process_sample();
    let stats = server.stats();
    for (pointer, expected) in [
        ("/sessions/active", 4),
        ("/sessions/opened", 4),
        ("/rooms/active", 1),
        ("/matchmaking/waiting", 2),
        ("/matchmaking/waiting_by_queue/en", 1),
        ("/matchmaking/waiting_by_queue/fr", 0),
        ("/matchmaking/queues", 2),
        ("/matchmaking/matches", 1),
        ("/messages/relayed", 1),
        ("/messages/errors/bad_json", 1),
        ("/bytes/relayed", sent.len() as i64),
        ("/latency_ms/match_wait/count", 2),
        ("/latency_ms/relay/count", 1),
    ] {
        assert_eq!(stat_number(&stats, pointer), expected, "{pointer}");
    }
    let threads = stat_number(&stats, "/process/threads");
    assert_eq!(threads, 2 + 1 + 1 + 1, "two shards, the matcher, the log, main");
    assert!(stat_number(&stats, "/process/descriptors_used") > 10);
    assert!(stat_number(&stats, "/process/resident_bytes") > 1 << 20);
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(stats["shards"].as_array().map(Vec::len), Some(2));
    let text = stats.to_string();
    for secret in [one.id(), &room.room_id, "unlisted", "127.0.0.1"] {
        assert!(!text.contains(secret), "{secret} must not be published");
    }
}

#[test]
fn metrics_keep_the_names_that_dashboards_use() {
    let server = Server::start(&["--shards", "2"]);
    let (_one, _other, room) = server.matched_pair();
    server.wait_for_process_sample();
    let metrics = server.get("/metrics");
    let text = metrics.text();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("matchmaking_duration_seconds_count"), 2.0);
    assert!(value("websocket_active_connections") >= 2.0);
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_max_fds"] {
        assert!(value(name) > 0.0, "{name}");
    }
    assert!(!text.contains(&room.room_id) && !text.contains("127.0.0.1"));
}

#[test]
fn answers_unknown_paths_with_404() {
    let server = Server::start(&[]);
    for path in ["/nothing", "/health/", "/HEALTH", "/ws/", "/..", "//", "/%2e%2e/etc/passwd"] {
        expect_refusal(&send_request(&server, &request("GET", path, "")), 404);
        expect_refusal(
            &send_request(&server, &request("POST", path, "Content-Length: 0\r\n")),
            404,
        );
    }
    assert_eq!(server.stat("/http/rejected/not_found"), 14);
}

#[test]
fn answers_other_methods_with_405_and_the_allowed_ones() {
    let server = Server::start(&[]);
    let methods = ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "BREW"];
    for method in methods {
        for path in ["/health", "/stats", "/metrics", "/"] {
            let response = send_request(&server, &request(method, path, ""));
            expect_refusal(&response, 405);
            assert_eq!(response.field("allow"), Some("GET, HEAD"));
        }
        if method != "OPTIONS" {
            let response = send_request(&server, &request(method, "/ws", ""));
            expect_refusal(&response, 405);
            assert_eq!(response.field("allow"), Some("GET, HEAD, OPTIONS"));
        }
    }
    expect_refusal(&send_request(&server, &request("OPTIONS", "*", "")), 405);
    expect_refusal(&send_request(&server, &request("CONNECT", "example.org:443", "")), 405);
    assert_eq!(server.stat("/http/rejected/method_not_allowed"), methods.len() as i64 * 5 + 1);
}

#[test]
fn answers_a_malformed_head_request_without_content() {
    let server = Server::start(&[]);
    for field in ["X : y", "X: y\r\n folded", "X: \0", "X: a\nb", "Content-Length: x"] {
        for before in ["", "\r\n"] {
            let head = format!("{before}HEAD /health HTTP/1.1\r\nHost: t\r\n{field}\r\n\r\n");
            let mut raw = server.raw_connection();
            raw.send(head.as_bytes());
            assert_eq!(raw.read_response_head().status, 400, "{head}");
            raw.half_close_if_open();
            assert_eq!(raw.read_to_end().0, b"", "{head}");
        }
    }
}

#[test]
fn answers_the_websocket_path_without_an_upgrade_with_426() {
    let server = Server::start(&[]);
    let forms = [
        request("GET", "/ws", ""),
        request("HEAD", "/ws", "Connection: close\r\n"),
        upgrade_with(&[("Connection", "keep-alive")]),
        upgrade_with(&[("Upgrade", "h2c")]),
    ];
    for form in &forms {
        let mut raw = server.raw_connection();
        raw.send(form.as_bytes());
        let response = raw.read_response_head();
        assert_eq!(response.status, 426, "{form}");
        assert_eq!(response.field("sec-websocket-version"), Some("13"));
        assert_eq!(response.field("upgrade"), Some("websocket"));
        assert!(response.has_connection_option("upgrade"), "RFC 9110 §7.8");
    }
    assert_eq!(server.stat("/http/rejected/upgrade_required"), forms.len() as i64);
    for version in ["12", "14", "8", "130", "13, 8"] {
        let response = send_request(&server, &upgrade_with(&[("Sec-WebSocket-Version", version)]));
        expect_refusal(&response, 426);
        assert_eq!(response.field("sec-websocket-version"), Some("13"), "RFC 6455 §4.4");
    }
    assert_eq!(server.stat("/http/rejected/unsupported_version"), 5);
}

#[test]
fn rejects_an_invalid_handshake_with_400() {
    let server = Server::start(&[]);
    let forms = [
        upgrade_with(&[("Sec-WebSocket-Key", "")]),
        upgrade_with(&[("Sec-WebSocket-Key", "c2hvcnQ=")]),
        upgrade_with(&[("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!==")]),
        upgrade_with(&[("Sec-WebSocket-Version", "")]),
        upgrade_with(&[("Host", "a b")]),
        upgrade_with(&[]).replace("GET", "HEAD"),
        upgrade_with(&[]).replace("Upgrade: websocket", "Upgrade: websocket\r\nContent-Length: x"),
    ];
    for form in &forms {
        let mut raw = server.raw_connection();
        raw.send(form.as_bytes());
        let response = raw.read_response_head();
        assert_eq!(response.status, 400, "{form}");
        assert!(response.has_connection_option("close"));
    }
    assert_eq!(server.stat("/http/rejected/bad_request"), forms.len() as i64);
}

#[test]
fn accepts_every_handshake_that_the_rfc_allows() {
    let server = Server::start(&[]);
    let forms = [
        upgrade_with(&[("Connection", "keep-alive, UPGRADE"), ("Upgrade", "WebSocket")]),
        upgrade_with(&[("Upgrade", "h2c, websocket"), ("Origin", "https://example.org")]),
        upgrade_with(&[]).replace("Sec-WebSocket-Key: ", "SEC-WEBSOCKET-KEY:\t "),
        upgrade_with(&[]).replace("/ws", "http://example.org/ws?x=y"),
        upgrade_with(&[]).replace("/ws", "/"),
        format!("\r\n{}", upgrade_with(&[])),
    ];
    for form in &forms {
        let mut raw = server.raw_connection();
        raw.send(form.as_bytes());
        raw.expect_upgrade();
        raw.expect_no_message();
    }
}

#[test]
fn rejects_invalid_http_with_400_without_waiting() {
    let server = Server::start(&["--handshake-timeout", "1h"]);
    let tls_client_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let forms: [&[u8]; 14] = [
        tls_client_hello,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x00\x00\x00",
        b"{\"type\":\"ping\"}",
        b"GET /health\r\n",
        b"GET /health HTTP/2.0\r\n",
        b"GET /health HTTP/1.1\n",
        b"GET  /health HTTP/1.1\r\n",
        b"GET /hea lth HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost : test\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: test\r\n folded\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ];
    for form in forms {
        let mut raw = server.raw_connection();
        raw.send(form);
        let response = raw.read_response();
        expect_refusal(&response, 400);
        assert!(response.has_connection_option("close"), "{}", form.escape_ascii());
        raw.expect_end();
    }
    server.wait_for_stat("/http/rejected/bad_request", 14);
    server.wait_for_stat("/connections/closed/refused", 14);
}

#[test]
fn rejects_ambiguous_request_framing_with_400() {
    let server = Server::start(&[]);
    let bodies = [
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: +0\r\n",
        "Content-Length: 0x0\r\n",
        "Content-Length: 0, 0\r\n",
        "Content-Length:\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
    ];
    for body in bodies {
        let mut raw = server.raw_connection();
        raw.send(request("GET", "/health", body).as_bytes());
        expect_refusal(&raw.read_response(), 400);
        raw.expect_end();
    }
}

#[test]
fn refuses_a_body_with_413_and_never_parses_it_as_a_request() {
    let server = Server::start(&[]);
    let smuggled = request("GET", "/stats", "");
    for (method, field) in [
        ("POST", format!("Content-Length: {}\r\n", smuggled.len())),
        ("GET", format!("Content-Length: {}\r\n", smuggled.len())),
        ("POST", "Transfer-Encoding: chunked\r\n".to_owned()),
        ("POST", "Expect: 100-continue\r\nContent-Length: 99999999999999\r\n".to_owned()),
    ] {
        let mut raw = server.raw_connection();
        raw.send(format!("{}{smuggled}", request(method, "/health", &field)).as_bytes());
        expect_refusal(&raw.read_response(), 413);
        raw.expect_end();
    }
    assert_eq!(server.stat("/http/rejected/body_refused"), 4);
}

#[test]
fn answers_304_for_a_page_that_the_client_has_cached() {
    let server = Server::start(&[]);
    for path in ["/", "/client.js", "/style.css"] {
        let first = server.get(path);
        let etag = first.field("etag").unwrap().to_owned();
        let request_with = |tags: &str| {
            request_once(
                server.address(),
                &request("GET", path, &format!("If-None-Match: {tags}\r\nConnection: close\r\n")),
            )
        };
        for tags in [&*etag, &format!("\"x\", {etag}"), &format!("W/{etag}"), "*"] {
            let response = request_with(tags);
            assert_eq!(response.status, 304, "{tags}");
            assert_eq!(response.field("etag"), Some(&*etag));
            assert!(response.body.is_empty());
        }
        assert_eq!(request_with("\"another\"").body, first.body);
    }
    // Figures must not be cached.
    for path in ["/health", "/stats", "/metrics"] {
        let response = server.get(path);
        assert_eq!(response.field("cache-control"), Some("no-store"));
        assert_eq!(response.field("etag"), None);
    }
}

#[test]
fn the_page_policy_allows_no_foreign_origin() {
    let server = Server::start(&[]);
    let page = server.get("/");
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert_eq!(page.field("referrer-policy"), Some("no-referrer"));
}

#[test]
fn every_figure_of_stats_is_a_number_or_null() {
    fn walk(path: &str, value: &Value) {
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| walk(&format!("{path}/{name}"), value));
            }
            Value::Array(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(nth, item)| walk(&format!("{path}/{nth}"), item));
            }
            Value::String(_) => assert!(["/status", "/version"].contains(&path), "{path}"),
            Value::Number(number) => {
                assert!(number.as_f64().is_some_and(|number| number >= 0.0), "{path}: {number}");
            }
            Value::Null => {}
            Value::Bool(_) => panic!("{path}"),
        }
    }
    let server = Server::start(&["--shards", "2"]);
    let (_one, _other, _) = server.matched_pair();
    walk("", &server.stats());
}

#[test]
fn errors_do_not_echo_the_request() {
    let server = Server::start(&[]);
    let mut raw: RawClient = server.raw_connection();
    raw.send(request("GET", "/<script>alert(1)</script>", "X: <script>\r\n").as_bytes());
    let response = raw.read_response();
    assert!(!response.text().contains("script"));
    assert!(!response.fields.iter().any(|(_, value)| value.contains("script")));
}
