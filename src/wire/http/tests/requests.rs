//! Tests of request heads and the routes or errors that they give.

use super::*;
use crate::limits::HEAD_FIELDS;

const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

const UPPERCASE_AND_REVERSED: &str = "SEC-WEBSOCKET-KEY:dGhlIHNhbXBsZSBub25jZQ==\r\n\
    SEC-WEBSOCKET-VERSION:13\r\nUPGRADE:WEBSOCKET\r\nCONNECTION:UPGRADE\r\nHOST:H\r\n";

fn session<'b>() -> Result<Route<'b>, HttpError> {
    Ok(Route::Session(WebSocketKey::from_field(KEY).unwrap()))
}

/// One head for each row: request line without CRLF, fields with CRLF, expected status.
fn assert_statuses(rows: &[(&str, &str, u16)]) {
    for (line, fields, status) in rows {
        let (error, closes) = refusal(&format!("{line}\r\n{fields}\r\n"));
        assert_eq!(error.status().code(), *status, "{line} with {fields}: {error}");
        assert!(closes || matches!(*status, 404 | 405 | 426), "{line} stays open after {status}");
        assert!(!closes || !matches!(*status, 404 | 405 | 426), "{line} closes after {status}");
    }
}

#[test]
fn parses_the_handshake_of_a_browser() {
    let request = request(BROWSER_UPGRADE);
    assert_eq!(request.route, session());
    assert_eq!(request.origin, SingleField::One(b"https://switchboard.example"));
    let forwarded: Vec<&[u8]> = request.forwarded_for().collect();
    assert_eq!(forwarded, [b"203.0.113.7"]);
    assert_eq!((request.method, request.version), (Method::Get, HttpVersion::Http11));
    assert!(request.keep_alive);
}

/// RFC 9110 §5.3: several fields of one name are one list, in their order.
#[test]
fn returns_all_forwarded_for_fields_in_their_order() {
    let text = "GET /x-forwarded-for:9 HTTP/1.1\r\nHost: h\r\nx-FORWARDED-for: a, b \r\n\
        X-Forwarded-Fo: c\r\nX-Forwarded-For:\r\nX-Forwarded-Fors: d\r\nX-Forwarded-For:e\r\n\r\n";
    let forwarded: Vec<&[u8]> = request(text).forwarded_for().collect();
    assert_eq!(forwarded, [b"a, b".as_slice(), b"", b"e"]);
}

/// RFC 6455 §4.2.1: field names and the tokens of `Connection` and `Upgrade` in any case, in lists,
/// in several fields, in any order. `wire/PROTOCOL.md`: `/` opens a session like `/ws`.
#[test]
fn accepts_a_valid_handshake_in_any_notation() {
    for (line, fields) in [
        ("GET /ws HTTP/1.1", UPGRADE.to_string()),
        ("GET / HTTP/1.1", UPGRADE.to_string()),
        ("GET /?a=b HTTP/1.1", UPGRADE.to_string()),
        ("GET ws://h/ws HTTP/1.1", UPGRADE.to_string()),
        ("GET http://elsewhere HTTP/1.1", UPGRADE.to_string()),
        ("GET /ws HTTP/1.1", UPPERCASE_AND_REVERSED.to_string()),
        ("GET /ws HTTP/1.1", UPGRADE.replace(": Upgrade", ": keep-alive, Upgrade")),
        ("GET /ws HTTP/1.1", UPGRADE.replace(": Upgrade", ":upgrade\t,, x")),
        ("GET /ws HTTP/1.1", UPGRADE.to_string() + "Connection: keep-alive\r\n"),
        ("GET /ws HTTP/1.1", UPGRADE.replace("websocket", "h2c,WebSocket")),
        ("GET /ws HTTP/1.1", UPGRADE.to_string() + "Upgrade: other/2\r\n"),
        ("GET /ws HTTP/1.1", UPGRADE.to_string() + "Content-Length: 0\r\n"),
        ("GET /ws HTTP/1.1", UPGRADE.to_string() + "Expect: 100-continue\r\n"),
        ("GET /ws HTTP/1.1", UPGRADE.to_string() + "Sec-WebSocket-Protocol: chat, v2\r\n"),
    ] {
        let head = format!("{line}\r\n{fields}\r\n");
        assert_eq!(request(&head).route, session(), "{head}");
    }
}

/// `wire/PROTOCOL.md`, "HTTP".
#[test]
fn finds_the_route_of_every_path() {
    for (target, route, query) in [
        ("/health", Route::Health, None),
        ("/stats", Route::Stats, None),
        ("/metrics", Route::Metrics, None),
        ("/health?x", Route::Health, Some("x")),
        ("/stats?", Route::Stats, Some("")),
        ("/", Route::Page("/"), None),
        ("/?utm=1&b=/ws?c", Route::Page("/"), Some("utm=1&b=/ws?c")),
        ("/app.js?v=3", Route::Page("/app.js"), Some("v=3")),
        ("/ws/", Route::Page("/ws/"), None),
        ("/WS", Route::Page("/WS"), None),
        ("//health", Route::Page("//health"), None),
        ("/http://h/health", Route::Page("/http://h/health"), None),
        ("http://h:80/health", Route::Health, None),
        ("HTTPS://[::1]/stats?a=://", Route::Stats, Some("a=://")),
        ("http://h", Route::Page("/"), None),
        ("http://h?q", Route::Page("/"), Some("q")),
    ] {
        for (method, name) in [(Method::Get, "GET"), (Method::Head, "HEAD")] {
            let head = format!("{name} {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            let request = request(&head);
            assert_eq!((request.route, request.query), (Ok(route), query), "{head}");
            assert_eq!(request.method, method, "{head}");
        }
    }
}

/// RFC 9110 §7.8: a server may ignore an upgrade, and must if `Connection` does not name it or the
/// request is HTTP/1.0.
#[test]
fn ignores_upgrades_on_other_paths() {
    let h2c = "Host: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n";
    for (line, fields, route) in [
        ("GET /health HTTP/1.1", UPGRADE, Route::Health),
        ("GET /app.js HTTP/1.1", UPGRADE, Route::Page("/app.js")),
        ("GET /health HTTP/1.1", h2c, Route::Health),
        ("GET / HTTP/1.1", h2c, Route::Page("/")),
        ("GET / HTTP/1.0", UPGRADE, Route::Page("/")),
        ("GET / HTTP/1.1", "Host: h\r\nUpgrade: websocket\r\n", Route::Page("/")),
    ] {
        assert_eq!(request(&format!("{line}\r\n{fields}\r\n")).route, Ok(route), "{line} {fields}");
    }
}

/// `wire/PROTOCOL.md`: `GET /ws` requires an upgrade.
#[test]
fn the_websocket_path_requires_an_upgrade() {
    let without_connection = UPGRADE.replace("Connection: Upgrade", "Connection: close-not");
    let without_upgrade = UPGRADE.replace("Upgrade: websocket", "Upgrade: websockets");
    assert_statuses(&[
        ("GET /ws HTTP/1.1", "Host: h\r\n", 426),
        ("HEAD /ws HTTP/1.1", "Host: h\r\n", 426),
        ("GET /ws HTTP/1.1", &without_connection, 426),
        ("GET /ws HTTP/1.1", &without_upgrade, 426),
        ("GET /ws HTTP/1.0", &(UPGRADE.to_string() + "Connection: keep-alive\r\n"), 426),
    ]);
}

/// RFC 6455 §4.2.1 and §4.4: a handshake that is one but for a fault.
#[test]
fn a_broken_handshake_is_named() {
    let with = |from: &str, to: &str| {
        assert!(UPGRADE.contains(from));
        UPGRADE.replace(from, to)
    };
    let version = "Sec-WebSocket-Version: 13\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for path in ["/ws", "/"] {
        let get = format!("GET {path} HTTP/1.1");
        assert_statuses(&[
            (&get, &with(version, ""), 400),
            (&get, &with(version, "Sec-WebSocket-Version: 8\r\n"), 426),
            (&get, &with(version, "Sec-WebSocket-Version: 013\r\n"), 426),
            (&get, &with(version, "Sec-WebSocket-Version: 13, 8\r\n"), 426),
            (&get, &with(version, "Sec-WebSocket-Version:\r\n"), 426),
            (&get, &with(version, &version.repeat(2)), 400),
            (&get, &with(key, ""), 400),
            (&get, &with(key, &key.repeat(2)), 400),
            (&get, &with(key, "Sec-WebSocket-Key:\r\n"), 400),
            (&get, &with("ZQ==", "ZQ="), 400),
            (&get, &with("ZQ==", "ZQ==, x"), 400),
            (&format!("HEAD {path} HTTP/1.1"), UPGRADE, 400),
            (&format!("POST {path} HTTP/1.1"), UPGRADE, 405),
        ]);
    }
}

/// RFC 6455 §4.4: an unsupported version differs from a missing handshake.
#[test]
fn reports_an_unsupported_websocket_version() {
    let old = BROWSER_UPGRADE.replace("Version: 13", "Version: 8");
    assert_eq!(refusal(&old), (HttpError::UnsupportedWebSocketVersion, false));
}

/// RFC 9110 §15.5.6 and §9.1: method names are case-sensitive.
#[test]
fn allows_only_get_and_head() {
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "GETS", "x"] {
        for path in ["/", "/ws", "/health", "/stats", "/metrics", "/health?a", "http://h/stats"] {
            if (method, path) != ("OPTIONS", "/ws") {
                assert_statuses(&[(&format!("{method} {path} HTTP/1.1"), "Host: h\r\n", 405)]);
            }
        }
        let head = format!("{method} /a HTTP/1.1\r\nHost: h\r\n\r\n");
        let request = request(&head);
        assert_eq!(request.route, Ok(Route::Page("/a")));
        assert_eq!(request.allow_page(false), Err(HttpError::NotFound));
        assert_eq!(request.allow_page(true), Err(HttpError::MethodNotAllowed));
    }
    let read = request("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(read.allow_page(false), Err(HttpError::NotFound));
    assert_eq!(read.allow_page(true), Ok(()));
    let check = request("OPTIONS /ws HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(check.route, Ok(Route::SessionCheck));
    assert_statuses(&[
        ("OPTIONS * HTTP/1.1", "Host: h\r\n", 405),
        ("CONNECT h:443 HTTP/1.1", "Host: h\r\n", 405),
    ]);
}

/// RFC 9112 §3: request lines.
#[test]
fn refuses_malformed_request_lines() {
    for line in [
        "GET",
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /a b HTTP/1.1",
        "GET / HTTP/1.1\r",
        " GET / HTTP/1.1",
        "G\u{e9}T / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET * HTTP/1.1",
        "GET health HTTP/1.1",
        "GET h:80 HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /caf\u{e9} HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET 1http://h/ HTTP/1.1",
        "GET ?x HTTP/1.1",
    ] {
        assert_statuses(&[(line, "Host: h\r\n", 400)]);
    }
}

/// RFC 9110 §2.5, RFC 9112 §2.3; RFC 9113 §3.4 for the last.
#[test]
fn refuses_unsupported_versions() {
    for line in [
        "GET / HTTP/2.0",
        "GET / HTTP/1.2",
        "GET / HTTP/0.9",
        "GET / HTTP/1",
        "GET / HTTP/11",
        "GET / http/1.1",
        "GET / HTTPS/1.1",
        "GET / RTSP/1.0",
        "PRI * HTTP/2.0",
    ] {
        let (error, closes) = refusal(&format!("{line}\r\nHost: h\r\n\r\n"));
        assert_eq!((error, closes), (HttpError::UnsupportedVersion, true), "{line}");
        assert_eq!(error.status().code(), 400);
    }
}

/// RFC 9112 §3.2.
#[test]
fn requires_exactly_one_valid_host() {
    for host in [
        "h",
        "h:80",
        "h:",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:8080",
        "[::ffff:127.0.0.1]:",
        "[v1.a:b]",
        "",
        ":80",
        "a_b.example",
        "%41",
        "a%41%5a:1",
    ] {
        let head = format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(request(&head).route, Ok(Route::Health), "{host}");
    }
    assert_eq!(request("GET /health HTTP/1.0\r\n\r\n").route, Ok(Route::Health));
    assert_statuses(&[
        ("GET /health HTTP/1.1", "", 400),
        ("GET http://h/health HTTP/1.1", "", 400),
        ("GET /health HTTP/1.1", "Host: a\r\nHost: a\r\n", 400),
        ("GET /health HTTP/1.0", "Host: a\r\nhost: b\r\n", 400),
        ("GET /health HTTP/1.1", "Host: a b\r\n", 400),
        ("GET /health HTTP/1.1", "Host: a, b\r\n", 400),
        ("GET /health HTTP/1.1", "Host: a/b\r\n", 400),
        ("GET /health HTTP/1.1", "Host: u@h\r\n", 400),
        ("GET /health HTTP/1.1", "Host: h\u{e9}\r\n", 400),
    ]);
    // RFC 3986 §3.2: brackets are paired and at the beginning, and a port is a number.
    for host in [
        "[::1", "::1]", "[]", "[::1]x", "[::1]80", "[[::1]]", "a[b]", "[::1]:x", "::1", "h:8x",
        "h:1:2", "h:-1", "h: 80", "%", "%4", "%4g", "%g1", "a%41%",
    ] {
        assert_statuses(&[("GET /health HTTP/1.1", &format!("Host: {host}\r\n"), 400)]);
    }
}

/// RFC 9112 §6.1 to §6.3: bodies get 413, ambiguous lengths 400.
#[test]
fn refuses_bodies_and_ambiguous_lengths() {
    for (fields, status) in [
        ("Content-Length: 1\r\n", 413),
        ("Content-Length: 007\r\n", 413),
        ("Content-Length: 99999999999999999999999999999\r\n", 413),
        ("Content-Length: 5\r\nExpect: 100-continue\r\n", 413),
        ("Transfer-Encoding: chunked\r\n", 413),
        ("Transfer-Encoding: gzip, Chunked\r\nExpect: 100-continue\r\n", 413),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 413),
        ("Transfer-Encoding: chunked, gzip\r\n", 400),
        ("Transfer-Encoding: xchunked\r\n", 400),
        ("Transfer-Encoding: \x0bchunked\r\n", 400),
        ("Transfer-Encoding:\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", 400),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", 400),
        ("Content-Length: 0\r\nContent-Length: 0\r\n", 400),
        ("Content-Length: 0, 0\r\n", 400),
        ("Content-Length: -1\r\n", 400),
        ("Content-Length: +0\r\n", 400),
        ("Content-Length: 0x0\r\n", 400),
        ("Content-Length: \r\n", 400),
    ] {
        let fields = format!("Host: h\r\n{fields}");
        for line in ["GET / HTTP/1.1", "HEAD /health HTTP/1.1", "POST /nowhere HTTP/1.1"] {
            assert_statuses(&[(line, &fields, status)]);
        }
        assert_statuses(&[("GET /ws HTTP/1.1", &fields.replace("Host: h\r\n", UPGRADE), status)]);
    }
    assert_statuses(&[("GET / HTTP/1.0", "Transfer-Encoding: chunked\r\n", 400)]);
    for zero in ["0", "000"] {
        let head = format!("GET /health HTTP/1.1\r\nHost: h\r\nContent-Length: {zero}\r\n\r\n");
        assert_eq!(request(&head).route, Ok(Route::Health));
    }
}

/// RFC 9112 §2.2, §5.1, §5.2; RFC 9110 §5.1, §5.5.
#[test]
fn refuses_malformed_fields() {
    for field in [
        "A : b",
        "A b: c",
        "A\0: b",
        "A: b\0c",
        "A: b\rc",
        "A: b\r",
        "A: b\nC: d",
        "A: b\n",
        "A: \x7f",
        "A: \x1b[0m",
        "A: b\r\n folded",
        "A: b\r\n\tfolded",
        ": no name",
        "no colon",
        "\u{e9}: b",
        "(A): b",
    ] {
        for fields in [format!("Host: h\r\n{field}\r\n"), format!("{field}\r\nHost: h\r\n")] {
            assert_statuses(&[("GET /health HTTP/1.1", &fields, 400)]);
        }
    }
    assert_statuses(&[("GET /health HTTP/1.1", " A: b\r\nHost: h\r\n", 400)]);
    let odd_but_fine = "GET /health HTTP/1.1\r\nHost:\t h \t\r\nA:\r\nB: \tc d\u{e9}\t\r\n!#$%&'*+-.^_`|~:x\r\n\r\n";
    assert_eq!(request(odd_but_fine).route, Ok(Route::Health));
}

/// RFC 9112 §9.3.
#[test]
fn persistence_follows_version_and_connection_field() {
    for (line, connection, keeps) in [
        ("GET / HTTP/1.1", "", true),
        ("GET / HTTP/1.1", "Connection: keep-alive\r\n", true),
        ("GET / HTTP/1.1", "Connection: close\r\n", false),
        ("GET / HTTP/1.1", "Connection: CLOSE\r\n", false),
        ("GET / HTTP/1.1", "Connection: x\r\nConnection: y ,close\r\n", false),
        ("GET / HTTP/1.1", "Connection: keep-alive, close\r\n", false),
        ("GET / HTTP/1.1", "Connection: closed\r\n", true),
        ("GET / HTTP/1.0", "", false),
        ("GET / HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("GET / HTTP/1.0", "Connection: close, keep-alive\r\n", false),
    ] {
        let head = format!("{line}\r\nHost: h\r\n{connection}\r\n");
        let request = request(&head);
        assert_eq!(request.keep_alive, keeps, "{head}");
        assert_eq!(request.framing().keep_alive, keeps);
    }
}

/// The limits of `--max-head-bytes` and of 100 fields are exact (RFC 6585 §5).
#[test]
fn limits_the_bytes_and_the_fields_of_a_head_exactly() {
    let empty = "GET /health HTTP/1.1\r\nHost: h\r\nA: \r\n\r\n";
    let fill = |bytes: usize| empty.replace("A: ", &format!("A: {}", "x".repeat(bytes)));
    let longest = fill(MAX_HEAD_BYTES - empty.len());
    assert_eq!(longest.len(), MAX_HEAD_BYTES);
    assert_eq!(request(&longest).route, Ok(Route::Health));
    let longer = fill(MAX_HEAD_BYTES - empty.len() + 1);
    assert_eq!(refusal(&longer), (HttpError::HeadTooLarge, true));
    // It is refused as soon as it cannot end within the limit.
    assert_eq!(refusal(&longer[..MAX_HEAD_BYTES]), (HttpError::HeadTooLarge, true));
    assert_eq!(parse_at_once(&longer.as_bytes()[..MAX_HEAD_BYTES - 1]), Ok(None));
    // The next request in the buffer does not count.
    assert_eq!(
        parse_at_once((longest.clone() + &longest).as_bytes()).map(|r| r.unwrap().1),
        Ok(16_384)
    );

    let fields = |count: usize| {
        let others: String = (1..count).map(|i| format!("F{i}: v\r\n")).collect();
        format!("GET /health HTTP/1.1\r\nHost: h\r\n{others}\r\n")
    };
    assert_eq!(request(&fields(HEAD_FIELDS)).route, Ok(Route::Health));
    assert_eq!(refusal(&fields(HEAD_FIELDS + 1)), (HttpError::TooManyFields, true));
    assert_eq!(HttpError::TooManyFields.status().code(), 431);
}

/// RFC 9112 §9.3.2: pipelined requests are parsed one after the other. The first frames may follow
/// a handshake directly.
#[test]
fn leaves_the_bytes_after_a_head_unread() {
    let parts = [
        "GET /health HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\nHEAD /stats HTTP/1.1\r\nHost: h\r\n\r\n",
        BROWSER_UPGRADE,
    ];
    let bytes = [parts.concat().as_bytes(), b"\x81\x85\n\n\r\n\0"].concat();
    let (mut at, mut scan) = (0, HeadScan::default());
    for (part, route) in parts.iter().zip([Ok(Route::Health), Ok(Route::Stats), session()]) {
        let (request, len) =
            parse_request(&bytes[at..], &mut scan, MAX_HEAD_BYTES).unwrap().unwrap();
        assert_eq!((request.route, len, scan), (route, part.len(), HeadScan::default()));
        at += len;
    }
}

/// RFC 9110 §13.1.2, in a complete request.
#[test]
fn recognises_a_representation_that_the_client_has() {
    let with = |fields: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    assert!(request(&with("If-None-Match: \"a\", W/\"v1\"\r\n")).has_representation("\"v1\""));
    assert!(request(&with("If-None-Match: *\r\n")).has_representation("\"v1\""));
    assert!(!request(&with("If-None-Match: \"a\"\r\n")).has_representation("\"v1\""));
    assert!(!request(&with("")).has_representation("\"v1\""));
}
