//! Tests of the client's half.

use super::*;

fn response(text: &str) -> Result<(ResponseHead<'_>, usize), ResponseError> {
    let parsed = parse_response(text.as_bytes(), &mut HeadScan::default(), MAX_HEAD_BYTES);
    parsed.map(|head| head.expect("complete"))
}

/// RFC 9112 §3, §3.2.
#[test]
fn writes_a_plain_request() {
    let mut out = Vec::new();
    write_get_request(&mut out, "h:80", "/stats?a", &[("Connection", "close"), ("A", "b")]);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text, "GET /stats?a HTTP/1.1\r\nHost: h:80\r\nConnection: close\r\nA: b\r\n\r\n");
    assert_eq!(request(&text).route, Ok(Route::Stats));
}

/// RFC 9112 §6.3 and §9.3: the length of the body, and whether the connection persists.
#[test]
fn finds_the_body_length_and_the_persistence_of_a_response() {
    use BodyLength::{Bytes, Chunked, UntilClose};
    for (text, status, body, closes) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", 200, Bytes(12), false),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n", 200, Bytes(0), true),
        ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", 200, Bytes(3), true),
        ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n", 200, UntilClose, false),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, Bytes(0), false),
        ("HTTP/1.1 204 \r\n\r\n", 204, Bytes(0), false),
        ("HTTP/1.1 404 Not Found\r\n\r\n", 404, UntilClose, false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: , Chunked\r\n\r\n", 200, Chunked, false),
        ("HTTP/1.1 304 \r\nTransfer-Encoding: chunked\r\n\r\n", 304, Bytes(0), false),
    ] {
        let (head, len) = response(text).unwrap();
        assert_eq!((head.status, head.body, head.closes), (status, body, closes));
        assert_eq!(len, text.len());
    }
}

#[test]
fn refuses_malformed_and_ambiguous_responses() {
    let many = "A: b\r\n".repeat(101);
    for (text, error) in [
        ("HTTP/2 200 OK\r\n\r\n", ResponseError::Malformed),
        ("HTTP/1.1 20 OK\r\n\r\n", ResponseError::Malformed),
        ("HTTP/1.1 200 OK\n\n", ResponseError::Malformed),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", ResponseError::Malformed),
        ("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n", ResponseError::Malformed),
        ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", ResponseError::Malformed),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            ResponseError::Malformed,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            ResponseError::Malformed,
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", ResponseError::TransferCoding),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            ResponseError::TransferCoding,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked;q=1\r\n\r\n",
            ResponseError::TransferCoding,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
            ResponseError::TransferCoding,
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n", ResponseError::TransferCoding),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            ResponseError::Malformed,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            ResponseError::Malformed,
        ),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ResponseError::Malformed),
        (&format!("HTTP/1.1 200 OK\r\n{many}\r\n"), ResponseError::HeadTooLarge),
        (&format!("HTTP/1.1 200 {}", "x".repeat(MAX_HEAD_BYTES)), ResponseError::HeadTooLarge),
    ] {
        assert_eq!(response(text), Err(error), "{text}");
    }
}

/// RFC 6455 §4.1: the checks that a client must make before the connection is open.
#[test]
fn accepts_only_a_complete_upgrade_response() {
    let key = WebSocketKey::from_field(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
    let good = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\n\
        connection: keep-alive, upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let with = |from: &str, to: &str| {
        assert!(good.contains(from));
        good.replace(from, to)
    };
    for (text, outcome) in [
        (good.to_string(), Ok(())),
        (with("101", "200"), Err(UpgradeError::Refused(200))),
        (with("WebSocket", "h2c"), Err(UpgradeError::NotWebSocket)),
        (with("keep-alive, upgrade", "keep-alive"), Err(UpgradeError::NotWebSocket)),
        (with("s3pP", "S3pP"), Err(UpgradeError::WrongAccept)),
        (with("-accept", "-excuse"), Err(UpgradeError::WrongAccept)),
        (
            with("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
            Err(UpgradeError::NotOffered),
        ),
        (
            with("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
            Err(UpgradeError::NotOffered),
        ),
    ] {
        let (head, _) = response(&text).unwrap();
        assert_eq!(head.check_upgrade(key.accept()), outcome, "{text}");
    }
}

/// A refusal of this server, as the load tester reads it.
#[test]
fn parses_a_refusal_of_this_server() {
    let mut out = Vec::new();
    let error = HttpError::Unavailable(RefusalCause::Connections);
    assert_eq!(write_error(&mut out, error, ResponseFraming::LAST, None), AfterResponse::Close);
    let text = String::from_utf8(out).unwrap();
    let (head, len) = response(&text).unwrap();
    assert_eq!((head.status, head.closes), (503, true));
    assert_eq!(head.retry_after_s, Some(crate::limits::RETRY_AFTER_S));
    assert_eq!(head.body, BodyLength::Bytes((text.len() - len) as u64));
}
