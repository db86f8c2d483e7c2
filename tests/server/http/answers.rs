//! HTTP on the same port: what is answered to which request, and with which header fields.

use crate::support::{HttpResponse, ProtocolClient, RawClient, Server, get, head, request_once};
use serde_json::Value;

const DOCUMENTS: [&str; 4] = ["/health", "/stats", "/metrics", "/"];

/// One request on a connection of its own.
fn ask(server: &Server, request: &str) -> HttpResponse {
    let mut raw = server.raw_connection();
    raw.send(request.as_bytes());
    raw.read_response()
}

/// A request with these fields beside `Host`.
fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
}

/// A handshake whose fields are the usual ones but for `instead`.
fn handshake(instead: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    fields.retain(|(name, _)| !instead.iter().any(|(other, _)| other == name));
    fields.extend(instead.iter().filter(|(_, value)| !value.is_empty()));
    let fields: String =
        fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    request("GET", "/ws", &fields)
}

/// A refusal says in a word what is wrong, and is not kept by anybody in between.
fn is_refusal(response: &HttpResponse, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.field("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(response.field("cache-control"), Some("no-store"));
    let text = response.text();
    assert!(text.len() > 5 && text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
}

#[test]
fn every_document_is_there_and_says_what_it_is() {
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
fn head_is_answered_as_get_without_the_body() {
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
fn health_says_ok_and_how_full_the_server_is() {
    let server = Server::start(&["--max-connections", "7"]);
    let _user = server.client();
    server.wait_for_stat("/connections/active", 2);
    let health = server.get("/health").json();
    assert_eq!(health["status"], "ok");
    assert!(health["connections"].as_i64().is_some_and(|open| open >= 2), "{health}");
    assert_eq!(health["connections_limit"], 7);
}

#[test]
fn stats_tell_what_happened() {
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
    // Four users, and the one who asks.
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
        assert_eq!(crate::support::stat_number(&stats, pointer), expected, "{pointer}");
    }
    let threads = crate::support::stat_number(&stats, "/process/threads");
    assert_eq!(threads, 2 + 1 + 1 + 1, "two shards, the matcher, the log's, main");
    assert!(crate::support::stat_number(&stats, "/process/descriptors_used") > 10);
    assert!(crate::support::stat_number(&stats, "/process/resident_bytes") > 1 << 20);
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(stats["shards"].as_array().map(Vec::len), Some(2));
    let text = stats.to_string();
    for secret in [one.id(), &room.room_id, "unlisted", "127.0.0.1"] {
        assert!(!text.contains(secret), "{secret} is nobody's business");
    }
}

#[test]
fn metrics_have_the_names_that_dashboards_know() {
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
fn what_is_not_there_is_404() {
    let server = Server::start(&[]);
    for path in ["/nothing", "/health/", "/HEALTH", "/ws/", "/..", "//", "/%2e%2e/etc/passwd"] {
        is_refusal(&ask(&server, &request("GET", path, "")), 404);
        is_refusal(&ask(&server, &request("POST", path, "Content-Length: 0\r\n")), 404);
    }
    assert_eq!(server.stat("/http/rejected/not_found"), 14);
}

#[test]
fn other_methods_are_405_and_told_which_are_allowed() {
    let server = Server::start(&[]);
    let methods = ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "BREW"];
    for method in methods {
        for path in ["/health", "/stats", "/metrics", "/", "/ws"] {
            let response = ask(&server, &request(method, path, ""));
            is_refusal(&response, 405);
            assert_eq!(response.field("allow"), Some("GET, HEAD"));
        }
    }
    is_refusal(&ask(&server, &request("OPTIONS", "*", "")), 405);
    is_refusal(&ask(&server, &request("CONNECT", "example.org:443", "")), 405);
    assert_eq!(server.stat("/http/rejected/method_not_allowed"), methods.len() as i64 * 5 + 2);
}

#[test]
fn an_answer_to_head_has_no_content_whatever_is_wrong() {
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
fn the_websocket_path_without_an_upgrade_is_426() {
    let server = Server::start(&[]);
    let forms = [
        request("GET", "/ws", ""),
        request("HEAD", "/ws", "Connection: close\r\n"),
        handshake(&[("Connection", "keep-alive")]),
        handshake(&[("Upgrade", "h2c")]),
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
        let response = ask(&server, &handshake(&[("Sec-WebSocket-Version", version)]));
        is_refusal(&response, 426);
        assert_eq!(response.field("sec-websocket-version"), Some("13"), "RFC 6455 §4.4");
    }
    assert_eq!(server.stat("/http/rejected/unsupported_version"), 5);
}

#[test]
fn a_handshake_that_breaks_rfc_6455_is_400() {
    let server = Server::start(&[]);
    let forms = [
        handshake(&[("Sec-WebSocket-Key", "")]),
        handshake(&[("Sec-WebSocket-Key", "c2hvcnQ=")]),
        handshake(&[("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!==")]),
        handshake(&[("Sec-WebSocket-Version", "")]),
        handshake(&[("Host", "a b")]),
        handshake(&[]).replace("GET", "HEAD"),
        handshake(&[]).replace("Upgrade: websocket", "Upgrade: websocket\r\nContent-Length: x"),
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
fn a_handshake_is_read_as_leniently_as_the_rfc_asks() {
    let server = Server::start(&[]);
    let forms = [
        handshake(&[("Connection", "keep-alive, UPGRADE"), ("Upgrade", "WebSocket")]),
        handshake(&[("Upgrade", "h2c, websocket"), ("Origin", "https://example.org")]),
        handshake(&[]).replace("Sec-WebSocket-Key: ", "SEC-WEBSOCKET-KEY:\t "),
        handshake(&[]).replace("/ws", "http://example.org/ws?x=y"),
        handshake(&[]).replace("/ws", "/"),
        format!("\r\n{}", handshake(&[])),
    ];
    for form in &forms {
        let mut raw = server.raw_connection();
        raw.send(form.as_bytes());
        raw.expect_upgrade();
        raw.expect_no_message();
    }
}

#[test]
fn what_is_no_http_is_400_at_once() {
    let server = Server::start(&["--handshake-timeout", "1h"]);
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let forms: [&[u8]; 14] = [
        hello,
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
        is_refusal(&response, 400);
        assert!(response.has_connection_option("close"), "{}", form.escape_ascii());
        raw.expect_end();
    }
    server.wait_for_stat("/http/rejected/bad_request", 14);
    server.wait_for_stat("/connections/closed/refused", 14);
}

#[test]
fn what_two_readers_could_frame_differently_is_400() {
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
        is_refusal(&raw.read_response(), 400);
        raw.expect_end();
    }
}

#[test]
fn a_request_with_a_body_is_413_and_its_body_is_never_a_request() {
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
        is_refusal(&raw.read_response(), 413);
        raw.expect_end();
    }
    assert_eq!(server.stat("/http/rejected/body_refused"), 4);
}

#[test]
fn a_client_that_has_the_page_is_told_304() {
    let server = Server::start(&[]);
    for path in ["/", "/client.js", "/style.css"] {
        let first = server.get(path);
        let etag = first.field("etag").unwrap().to_owned();
        let ask_with = |tags: &str| {
            request_once(
                server.address(),
                &request("GET", path, &format!("If-None-Match: {tags}\r\nConnection: close\r\n")),
            )
        };
        for tags in [&*etag, &format!("\"x\", {etag}"), &format!("W/{etag}"), "*"] {
            let response = ask_with(tags);
            assert_eq!(response.status, 304, "{tags}");
            assert_eq!(response.field("etag"), Some(&*etag));
            assert!(response.body.is_empty());
        }
        assert_eq!(ask_with("\"another\"").body, first.body);
    }
    // The figures are never kept.
    for path in ["/health", "/stats", "/metrics"] {
        let response = server.get(path);
        assert_eq!(response.field("cache-control"), Some("no-store"));
        assert_eq!(response.field("etag"), None);
    }
}

#[test]
fn the_page_may_load_nothing_from_elsewhere() {
    let server = Server::start(&[]);
    let page = server.get("/");
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert_eq!(page.field("referrer-policy"), Some("no-referrer"));
}

#[test]
fn a_figure_of_stats_is_a_number_or_unknown() {
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
fn errors_never_show_what_the_client_sent() {
    let server = Server::start(&[]);
    let mut raw: RawClient = server.raw_connection();
    raw.send(request("GET", "/<script>alert(1)</script>", "X: <script>\r\n").as_bytes());
    let response = raw.read_response();
    assert!(!response.text().contains("script"));
    assert!(!response.fields.iter().any(|(_, value)| value.contains("script")));
}
