//! Tests of responses, byte for byte.

use super::*;
use crate::limits::RETRY_AFTER_S;
use std::time::Duration;

const OPEN: ResponseFraming =
    ResponseFraming { version: HttpVersion::Http11, head_only: false, keep_alive: true };
const OLD: ResponseFraming = ResponseFraming { version: HttpVersion::Http10, ..OPEN };
const PAGE: HttpResponse<'static> = HttpResponse {
    status: HttpStatus::Ok,
    content_type: "text/html; charset=utf-8",
    fields: &[("ETag", "\"v1\""), ("Content-Security-Policy", "default-src 'self'")],
    body: b"<p>hello",
};

fn response_text(response: &HttpResponse<'_>, framing: ResponseFraming) -> (String, AfterResponse) {
    let mut out = Vec::new();
    let after = write_response(&mut out, response, framing, None);
    (String::from_utf8(out).unwrap(), after)
}

fn refused(error: HttpError, framing: ResponseFraming) -> (String, AfterResponse) {
    let mut out = Vec::new();
    let after = write_error(&mut out, error, framing, None);
    (String::from_utf8(out).unwrap(), after)
}

#[test]
fn writes_the_fields_and_the_body_of_a_response() {
    let mut out = b"earlier response".to_vec();
    let date = HttpDate::from_unix(Duration::from_secs(784_111_777));
    assert_eq!(write_response(&mut out, &PAGE, OPEN, Some(date)), AfterResponse::KeepOpen);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "earlier responseHTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nETag: \"v1\"\r\n\
         Content-Security-Policy: default-src 'self'\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Type: text/html; charset=utf-8\r\nContent-Length: 8\r\n\r\n<p>hello"
    );
}

/// RFC 9110 §9.3.2: the response to HEAD has the fields of GET and no body, for errors too.
#[test]
fn answers_head_without_the_body() {
    for framing in [OPEN, OLD, OPEN.closing()] {
        let head = ResponseFraming { head_only: true, ..framing };
        let (get, after) = response_text(&PAGE, framing);
        assert_eq!(response_text(&PAGE, head), (get.replace("<p>hello", ""), after));
        for error in [HttpError::NotFound, HttpError::BodyRefused] {
            let ((get, _), (head, _)) = (refused(error, framing), refused(error, head));
            assert!(head.ends_with("\r\n\r\n") && get.starts_with(&head) && get.len() > head.len());
        }
    }
}

/// RFC 9110 §15.4.5.
#[test]
fn a_304_response_has_no_body() {
    let (text, _) = response_text(&HttpResponse { status: HttpStatus::NotModified, ..PAGE }, OPEN);
    assert!(text.starts_with("HTTP/1.1 304 Not Modified\r\n") && text.ends_with("\r\n\r\n"));
    assert!(text.contains("ETag: \"v1\"\r\n") && !text.contains("Content-Length"));
}

/// RFC 9112 §9.3: the field is needed where the version does not imply it.
#[test]
fn the_connection_field_depends_on_the_version() {
    for (framing, connection, after) in [
        (OPEN, None, AfterResponse::KeepOpen),
        (OLD, Some("keep-alive"), AfterResponse::KeepOpen),
        (OPEN.closing(), Some("close"), AfterResponse::Close),
        (OLD.closing(), Some("close"), AfterResponse::Close),
        (ResponseFraming::LAST, Some("close"), AfterResponse::Close),
    ] {
        let (text, what) = response_text(&PAGE, framing);
        let sent = text.lines().find_map(|line| line.strip_prefix("Connection: "));
        assert_eq!((sent, what), (connection, after));
        assert!(text.starts_with("HTTP/1.1 "), "RFC 9110 §2.5: our own version");
    }
}

/// The list of `wire/PROTOCOL.md`, RFC 9110 §15 and RFC 6585 §5.
#[test]
fn every_refusal_has_the_required_status_and_fields() {
    let retry = format!("Retry-After: {RETRY_AFTER_S}\r\n");
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade\r\n";
    for (error, line, field, keeps) in [
        (HttpError::BadRequest("no Host field"), "400 Bad Request", "", false),
        (HttpError::BadProxyHeader, "400 Bad Request", "", false),
        (HttpError::UnsupportedVersion, "400 Bad Request", "", false),
        (HttpError::OriginRefused, "403 Forbidden", "", false),
        (HttpError::NotFound, "404 Not Found", "", true),
        (HttpError::MethodNotAllowed, "405 Method Not Allowed", "Allow: GET, HEAD\r\n", true),
        (
            HttpError::SessionMethodNotAllowed,
            "405 Method Not Allowed",
            "Allow: GET, HEAD, OPTIONS\r\n",
            true,
        ),
        (HttpError::HeadTimeout, "408 Request Timeout", "", false),
        (HttpError::BodyRefused, "413 Content Too Large", "", false),
        (HttpError::TargetTooLong, "414 URI Too Long", "", false),
        (HttpError::UpgradeRequired, "426 Upgrade Required", upgrade, true),
        (HttpError::UnsupportedWebSocketVersion, "426 Upgrade Required", upgrade, true),
        (HttpError::HeadTooLarge, "431 Request Header Fields Too Large", "", false),
        (HttpError::TooManyFields, "431 Request Header Fields Too Large", "", false),
        (
            HttpError::Unavailable(RefusalCause::Connections),
            "503 Service Unavailable",
            &retry,
            false,
        ),
        (
            HttpError::Unavailable(RefusalCause::ConnectionsOfAddress),
            "429 Too Many Requests",
            &retry,
            false,
        ),
        (
            HttpError::Unavailable(RefusalCause::NewConnectionsOfAddress),
            "429 Too Many Requests",
            &retry,
            false,
        ),
        (
            HttpError::Unavailable(RefusalCause::AdminConnections),
            "503 Service Unavailable",
            &retry,
            false,
        ),
        (HttpError::Unavailable(RefusalCause::Time), "503 Service Unavailable", &retry, false),
    ] {
        let (text, after) = refused(error, OPEN);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {line}\r\n{field}")), "{text}");
        assert_eq!(after == AfterResponse::KeepOpen, keeps, "{error}");
        assert_eq!(head.contains("Connection: close"), !keeps, "{text}");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{text}");
        assert_eq!(body, format!("{}\n", error.text()));
        assert!(error.closes() != keeps);
    }
}

/// RFC 9110 §7.8: `Connection` names `Upgrade`, also beside other options.
#[test]
fn connection_names_upgrade_beside_the_persistence_option() {
    for (framing, connection) in [(OLD, "keep-alive, Upgrade"), (OLD.closing(), "close, Upgrade")] {
        let (text, _) = refused(HttpError::UpgradeRequired, framing);
        assert!(text.contains(&format!("Connection: {connection}\r\n")), "{text}");
    }
}

/// RFC 6455 §4.2.2, with the key of §1.3.
#[test]
fn answers_a_valid_handshake_with_its_accept_key() {
    let mut out = Vec::new();
    let key = WebSocketKey::from_field(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
    write_switching_protocols(&mut out, key.accept());
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}
