//! HTTP connections on the public port: keep-alive, pipelining, slow and broken clients. No request
//! hangs, and every response arrives whole.

use crate::support::{
    ConnectionEnd, ProtocolClient, RawClient, Server, client_frame, text_frame, upgrade_request,
    wait_until,
};
use std::time::Duration;

const GET: &str = "GET /health HTTP/1.1\r\nHost: test\r\n\r\n";
const MISSING: &str = "GET /nothing HTTP/1.1\r\nHost: test\r\n\r\n";
const PAGE: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const LAST: &str = "GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

#[test]
fn keeps_the_connection_open_for_more_requests() {
    let server = Server::start(&[]);
    let mut raw = server.raw_connection();
    for _ in 0..20 {
        let response = raw.request(GET);
        assert_eq!(response.status, 200);
        assert!(!response.has_connection_option("close"));
    }
    // Errors after which the start of the next request is known keep the connection open too.
    for request in [MISSING, "POST /health HTTP/1.1\r\nHost: test\r\n\r\n"] {
        let response = raw.request(request);
        assert!(response.status >= 404 && !response.has_connection_option("close"), "{response:?}");
    }
    assert_eq!(raw.request("GET /ws HTTP/1.1\r\nHost: test\r\n\r\n").status, 426);
    raw.send(b"HEAD /stats HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(raw.read_response_head().status, 200);
    // The connection can still become a session.
    raw.upgrade();
    raw.expect_no_message();
    assert_eq!(server.stat("/connections/accepted"), 2);
}

#[test]
fn closes_after_the_response_when_asked() {
    let server = Server::start(&[]);
    for options in ["close", "keep-alive, Close", "x,close,y"] {
        let mut raw = server.raw_connection();
        let request = format!("GET / HTTP/1.1\r\nHost: test\r\nConnection: {options}\r\n\r\n");
        // A request after the last one is not answered.
        raw.send(format!("{request}{GET}").as_bytes());
        let response = raw.read_response();
        assert_eq!(response.status, 200);
        assert!(response.has_connection_option("close"));
        raw.expect_end();
    }
    server.wait_for_stat("/connections/closed/http_done", 3);
}

#[test]
fn closes_an_http_1_0_connection_without_keep_alive() {
    let server = Server::start(&[]);
    let mut raw = server.raw_connection();
    let response = raw.request("GET /health HTTP/1.0\r\n\r\n");
    assert_eq!(response.status, 200);
    assert!(response.has_connection_option("close"));
    raw.expect_end();
    let mut raw = server.raw_connection();
    for _ in 0..3 {
        let response = raw.request("GET /health HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        assert!(response.has_connection_option("keep-alive"), "{response:?}");
    }
    // RFC 9110 §7.8: an upgrade from HTTP/1.0 is ignored.
    let upgrade = String::from_utf8(upgrade_request()).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(raw.request(&upgrade).status, 426);
}

#[test]
fn answers_pipelined_requests_in_order() {
    let server = Server::start(&[]);
    let mut raw = server.raw_connection();
    let requests: Vec<&str> =
        (0..200).map(|nth| [GET, MISSING, PAGE][nth % 3]).chain([LAST]).collect();
    raw.send(requests.concat().as_bytes());
    for nth in 0..200 {
        assert_eq!(raw.read_response().status, [200, 404, 200][nth % 3]);
    }
    assert!(raw.read_response().has_connection_option("close"));
    raw.expect_end();
}

#[test]
fn renders_figures_once_per_iteration() {
    let server = Server::start(&["--shards", "1"]);
    for path in ["/stats", "/metrics"] {
        let mut raw = server.raw_connection();
        let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
        let mut request_at_once = |times: usize| {
            raw.send(request.repeat(times).as_bytes());
            (0..times).map(|_| raw.read_response().text().to_owned()).collect::<Vec<_>>()
        };
        // The figures count requests, so those of different iterations differ.
        let together = request_at_once(3);
        assert!(together.iter().all(|one| *one == together[0]), "{path}");
        assert_ne!(request_at_once(1)[0], together[0], "{path}");
    }
}

#[test]
fn completes_a_partial_head_after_pipelined_requests() {
    let server = Server::start(&[]);
    for cut in [1, 5, 20, GET.len() - 1] {
        let mut raw = server.raw_connection();
        let (start, end) = GET.split_at(cut);
        raw.send(format!("{GET}{MISSING}{start}").as_bytes());
        assert_eq!(raw.read_response().status, 200);
        assert_eq!(raw.read_response().status, 404);
        assert!(!raw.is_readable_within(Duration::from_millis(1)));
        raw.send(format!("{end}{MISSING}{start}").as_bytes());
        assert_eq!(raw.read_response().status, 200);
        assert_eq!(raw.read_response().status, 404);
        raw.send(end.as_bytes());
        assert_eq!(raw.read_response().status, 200);
    }
}

#[test]
fn accepts_a_head_and_a_frame_sent_byte_by_byte() {
    let server = Server::start(&[]);
    let mut raw = server.raw_connection();
    for _ in 0..2 {
        for byte in GET.as_bytes() {
            raw.send(&[*byte]);
        }
        assert_eq!(raw.read_response().status, 200);
    }
    for byte in upgrade_request() {
        raw.send(&[byte]);
    }
    raw.expect_upgrade();
    for byte in text_frame(br#"{"type":"ping"}"#) {
        raw.send(&[byte]);
    }
    raw.expect_message("pong");
}

#[test]
fn upgrades_at_the_end_of_a_pipeline_with_frames_in_the_same_segment() {
    let server = Server::start(&[]);
    let frames = [
        text_frame(br#"{"type":"ping","payload":"glued"}"#),
        text_frame(br#"{"type":"find_match"}"#),
    ]
    .concat();
    for cut in [0, 1, 10, frames.len() - 1, frames.len()] {
        let mut raw = server.raw_connection();
        let requests = [PAGE.as_bytes(), MISSING.as_bytes(), &upgrade_request()].concat();
        raw.send(&[&requests, &frames[..cut]].concat());
        assert_eq!(raw.read_response().status, 200);
        assert_eq!(raw.read_response().status, 404);
        raw.expect_upgrade();
        raw.send(&frames[cut..]);
        assert_eq!(raw.expect_message("pong"), "glued");
        raw.expect_message("waiting");
        drop(raw);
        server.wait_for_stat("/matchmaking/waiting", 0);
    }
}

#[test]
fn stops_answering_a_pipeline_until_the_client_reads() {
    let server = Server::start(&["--max-unsent-bytes", "70000"]);
    let mut raw = RawClient::connect_with_small_buffer(server.address());
    // A thousand pages are 100 times the bound on unsent bytes of a client that does not read.
    let mut sender = raw.stream().try_clone().unwrap();
    let count = 1000;
    let requests = format!("{}{LAST}", PAGE.repeat(count));
    let length = server.get("/").body.len();
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut sender, requests.as_bytes()).unwrap());
        wait_until("responses are unsent", || match server.stat("/bytes/unsent") {
            0 => Err("none".into()),
            unsent => {
                assert!(unsent < 1 << 20, "one response at a time, not {unsent} bytes");
                Ok(())
            }
        });
        for _ in 0..count {
            assert_eq!(raw.read_response().body.len(), length);
        }
        assert!(raw.read_response().has_connection_option("close"));
        raw.expect_end();
    });
}

#[test]
fn answers_a_client_that_half_closes_after_its_requests() {
    let server = Server::start(&[]);
    for requests in [GET.to_owned(), LAST.to_owned(), format!("{GET}{MISSING}{PAGE}")] {
        let mut raw = server.raw_connection();
        raw.send(requests.as_bytes());
        raw.half_close();
        let count = requests.matches("\r\n\r\n").count();
        for _ in 0..count {
            assert!([200, 404].contains(&raw.read_response().status));
        }
        raw.expect_end();
    }
    server.wait_until_idle();
}

#[test]
fn answers_a_whole_pipeline_after_a_half_close() {
    let server = Server::start(&[]);
    let mut raw = RawClient::connect_with_small_buffer(server.address());
    let count = 200;
    raw.send(format!("{}{LAST}", PAGE.repeat(count)).as_bytes());
    raw.half_close();
    wait_until("responses are unsent", || match server.stat("/bytes/unsent") {
        0 => Err("none".into()),
        _ => Ok(()),
    });
    for nth in 0..count {
        assert_eq!(raw.read_response().status, 200, "{nth}");
    }
    assert!(raw.read_response().has_connection_option("close"));
    raw.expect_end();
    drop(raw);
    server.wait_until_idle();
}

#[test]
fn delivers_a_large_response_to_a_slow_half_closed_client() {
    let flags = ["--socket-send-buffer", "4096", "--shards", "32", "--max-connections", "100"];
    let server = Server::start(&flags);
    for (option, count) in [("close", 1), ("keep-alive", 1), ("keep-alive", 4)] {
        let mut raw = RawClient::connect_with_small_buffer(server.address());
        let request = format!("GET /stats HTTP/1.1\r\nHost: t\r\nConnection: {option}\r\n\r\n");
        raw.send(request.repeat(count).as_bytes());
        raw.half_close();
        for _ in 0..count {
            assert!(raw.read_response().body.len() > 40_000, "more than one send takes");
        }
        raw.expect_end();
    }
    server.wait_until_idle();
}

#[test]
fn a_refusal_arrives_although_the_request_is_unread() {
    let server = Server::start(&[]);
    let body = vec![b'b'; 700_000];
    let head =
        format!("POST /health HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
    let long_head = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "h".repeat(700_000));
    for (request, status) in [
        ([head.as_bytes(), &body].concat(), 413),
        (long_head.into_bytes(), 431),
        ([&b"GET / HTTP/3.0\r\n\r\n"[..], &body].concat(), 400),
    ] {
        let mut raw = server.raw_connection();
        raw.send(&request);
        assert_eq!(raw.read_response().status, status);
        let (rest, end) = raw.read_to_end();
        assert_eq!(
            (rest.len(), end),
            (0, ConnectionEnd::Closed),
            "no reset that destroys the response"
        );
    }
}

#[test]
fn connections_without_a_request_leak_nothing() {
    let server = Server::start(&[]);
    drop(server.raw_connection());
    server.raw_connection().reset();
    let raw = server.raw_connection();
    raw.half_close();
    let mut half = server.raw_connection();
    half.send(&GET.as_bytes()[..10]);
    drop((raw, half));
    server.wait_until_idle();
}

#[test]
fn random_bytes_neither_hang_nor_harm() {
    let server = Server::start(&["--handshake-timeout", "300ms", "--close-timeout", "300ms"]);
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for nth in 0..200 {
        let mut raw = server.raw_connection();
        // Every second time within a session.
        if nth % 2 == 1 {
            raw.upgrade();
        }
        let bytes: Vec<u8> = (0..next() % 300).map(|_| next() as u8).collect();
        let _closed_already = raw.try_send(&bytes);
        if nth % 4 == 3 {
            let _closed_already = raw.try_send(&client_frame(0x80 | next() as u8, &bytes));
        }
        raw.half_close_if_open();
        let _ignored = raw.read_to_end();
    }
    server.wait_until_idle();
    assert_eq!(server.get("/health").status, 200);
}
