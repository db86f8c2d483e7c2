//! Tests of heads that arrive in pieces, and of input that is refused before it is complete.

use super::*;

/// Feeds `bytes` one at a time, and returns the number of bytes until the error.
fn bytes_until_error(bytes: &[u8]) -> Option<(usize, HttpError)> {
    let mut scan = HeadScan::default();
    (1..=bytes.len()).find_map(|len| {
        parse_request(&bytes[..len], &mut scan, MAX_HEAD_BYTES).err().map(|error| (len, error))
    })
}

/// A client of another protocol is refused at once, not after the handshake timeout.
#[test]
fn refuses_input_that_cannot_become_a_request_at_once() {
    let tls_client_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice();
    for (bytes, at) in [
        (tls_client_hello, 1),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", 1), // PostgreSQL
        (b"\x81\x85\x37\xfa\x21\x3d", 1),   // a WebSocket frame
        (b"{\"type\":\"find_match\"}", 1),  // JSON without WebSocket
        (b"\nGET / HTTP/1.1\r\n", 1),
        (b" GET / HTTP/1.1\r\n", 1),
        (b"\rGET / HTTP/1.1\r\n", 2),
        (b"SSH-2.0-OpenSSH_9.9\r\n", 20),
        (b"GET\xff", 4),
        (b"PING\r\n", 5), // Redis
        (b"GET / HTTP/1.1\n", 15),
        (b"GET /\r\n", 7), // HTTP/0.9
        (b"GET / HTTP/3.0\r\n", 16),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 16),
        (b"GET / HTTP/1.1\r\nHost: h\nA: b\r\n", 24),
        (b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n", 10), // five empty lines
    ] {
        let (len, error) = bytes_until_error(bytes).expect("refused");
        assert_eq!(len, at, "{}: {error}", bytes.escape_ascii());
        assert_eq!(error.status().code(), 400);
        // It is also refused in one piece.
        assert!(parse_at_once(bytes).is_err(), "{}", bytes.escape_ascii());
    }
}

/// RFC 9112 §2.2.
#[test]
fn skips_a_few_empty_lines_before_a_request() {
    for count in 0..=4 {
        let head = "\r\n".repeat(count) + "GET /health HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(request(&head).route, Ok(Route::Health));
        assert_eq!(bytes_until_error(head.as_bytes()), None);
    }
    let five = "\r\n".repeat(5) + "GET /health HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(refusal(&five).0.status().code(), 400);
}

/// The work for a head is proportional to its length, however it arrives: bytes that were searched
/// are not read again, so a change in them goes unnoticed.
#[test]
fn searches_no_byte_twice() {
    let mut bytes = b"GET / HTTP/1.1\r\nHost: h\r\nA: ".to_vec();
    bytes.resize(1000, b'x');
    let mut scan = HeadScan::default();
    assert_eq!(scan.request_end(&bytes, MAX_HEAD_BYTES), Ok(None));
    bytes[16..1000].fill(b'\n');
    bytes[500..504].copy_from_slice(b"\r\n\r\n");
    for more in [&b"y"[..], b"y\r", b"\nB: c\r\n"] {
        bytes.extend_from_slice(more);
        assert_eq!(scan.request_end(&bytes, MAX_HEAD_BYTES), Ok(None));
    }
    bytes.extend_from_slice(b"\r\nrest");
    assert_eq!(scan.request_end(&bytes, MAX_HEAD_BYTES), Ok(Some(bytes.len() - 4)));
}

/// A request line without an end is refused at the limit: as a target that is too long, or as a head
/// if the target has ended (RFC 9112 §3).
#[test]
fn refuses_an_endless_head_at_the_limit() {
    for (start, error) in [
        ("GET /", HttpError::TargetTooLong),
        ("\r\nPOST ", HttpError::TargetTooLong),
        ("GET / HTTP/1.1", HttpError::HeadTooLarge),
        ("GET / HTTP/1.1\r\nA: ", HttpError::HeadTooLarge),
        ("GET / ", HttpError::HeadTooLarge),
        ("G", HttpError::HeadTooLarge),
    ] {
        let mut bytes = start.as_bytes().to_vec();
        bytes.resize(MAX_HEAD_BYTES + 1, b'a');
        if start == "GET / HTTP/1.1" || start == "G" {
            // Refused for its bytes before it reaches the limit, or not read as a target.
            let mut scan = HeadScan::default();
            assert_eq!(scan.request_end(&bytes, MAX_HEAD_BYTES), Err(error), "{start}");
            continue;
        }
        assert_eq!(bytes_until_error(&bytes), Some((MAX_HEAD_BYTES, error)), "{start}");
    }
}
