//! Properties that hold for all inputs.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Mostly valid heads, with everything that the parser distinguishes.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let method = select(vec!["GET", "GET", "GET", "HEAD", "POST", "X-METHOD"]);
    let target = select(vec![
        "/",
        "/ws",
        "/ws?a=b",
        "/health",
        "/stats?x",
        "/metrics",
        "/a/b",
        "http://h/ws",
        "*",
        "x",
    ]);
    let version = select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]);
    let field = select(vec![
        "Connection: Upgrade",
        "connection:keep-alive , close",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Version: 8",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Key: short",
        "Content-Length: 0",
        "Content-Length: 7",
        "Transfer-Encoding: chunked",
        "If-None-Match: \"a\", *",
        "Origin: https://a.example",
        "X-Forwarded-For: 192.0.2.1, 192.0.2.2",
        "X-Empty:",
        "Bad Name: x",
    ]);
    let host = select(vec!["Host: h", "Host: h", "Host: [::1]:80", "Host: a b", "X-Host: h"]);
    (0..6usize, method, target, version, host, vec(field, 0..12)).prop_map(
        |(empty_lines, method, target, version, host, fields)| {
            let mut head = "\r\n".repeat(empty_lines);
            head += &format!("{method} {target} {version}\r\n{host}\r\n");
            for field in fields {
                head += field;
                head += "\r\n";
            }
            (head + "\r\n").into_bytes()
        },
    )
}

/// A head with a few bytes inserted, changed or removed.
fn damaged_head() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![select(b"\r\n\0 \t:,/\"\x7f\x80".to_vec()), any::<u8>()];
    (head(), vec((any::<Index>(), 0..3, byte), 0..4)).prop_map(|(mut head, damages)| {
        for (at, kind, byte) in damages {
            let at = at.index(head.len());
            match kind {
                0 => head.insert(at, byte),
                1 => head[at] = byte,
                _ => drop(head.remove(at)),
            }
        }
        head
    })
}

/// Parses `bytes` as they would arrive in pieces of the lengths `pieces`, which are repeated.
fn in_pieces<'b>(
    bytes: &'b [u8],
    pieces: &[usize],
) -> Result<Option<(HttpRequest<'b>, usize)>, HttpError> {
    let (mut scan, mut arrived) = (HeadScan::default(), 0);
    for piece in pieces.iter().cycle() {
        arrived = (arrived + piece).min(bytes.len());
        let parsed = parse_request(&bytes[..arrived], &mut scan, MAX_HEAD_BYTES);
        if arrived == bytes.len() || !matches!(parsed, Ok(None)) {
            return parsed;
        }
    }
    unreachable!("because `pieces` is not empty")
}

/// The end of the head, found in the simplest way.
fn naive_end(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    while bytes[start..].starts_with(b"\r\n") {
        start += 2;
    }
    bytes[start..].windows(4).position(|four| four == b"\r\n\r\n").map(|at| start + at + 4)
}

proptest! {
    /// The boundaries of reads do not change the request. They may change which error is found
    /// first, and when.
    #[test]
    fn any_split_gives_the_same_request(
        head in damaged_head(),
        rest in vec(any::<u8>(), 0..8),
        pieces in vec(1..40usize, 1..8),
    ) {
        let bytes = [head, rest].concat();
        match (parse_at_once(&bytes), in_pieces(&bytes, &pieces)) {
            (Err(_), Err(_)) => {}
            (whole, split) => prop_assert_eq!(whole, split),
        }
    }

    /// A complete head is parsed or refused, never reported as incomplete; its length is exact.
    #[test]
    fn a_complete_head_is_never_incomplete(head in damaged_head()) {
        match (parse_at_once(&head), naive_end(&head)) {
            (Ok(Some((_, len))), end) => prop_assert_eq!(Some(len), end),
            (Ok(None), end) => prop_assert_eq!(end, None),
            (Err(_), _) => {}
        }
    }

    /// RFC 9112 §2.2 and §6, RFC 9110 §5.5: an accepted head has no control characters except tabs
    /// and CRLFs, and no body. So any other parser finds the same lines and the same next request.
    #[test]
    fn an_accepted_head_is_unambiguous(head in damaged_head()) {
        let Ok(Some((request, len))) = parse_at_once(&head) else { return Ok(()) };
        let text = String::from_utf8_lossy(&head[..len]).to_ascii_lowercase();
        for line in text.split("\r\n") {
            prop_assert!(!line.contains(|c: char| c.is_ascii_control() && c != '\t'));
            let has_body = match line.split_once(':') {
                Some(("content-length", length)) => !length.trim().trim_matches('0').is_empty(),
                Some(("transfer-encoding", _)) => true,
                Some(_) | None => false,
            };
            prop_assert!(!has_body || (request.route.is_err() && !request.keep_alive));
        }
    }

    /// No input causes a panic or a length beyond the input or the limit.
    #[test]
    fn parses_arbitrary_bytes_without_a_panic(
        bytes in vec(prop_oneof![any::<u8>(), select(b"\r\n: GETHP/1.".to_vec())], 0..300),
        max in 0..320usize,
        pieces in vec(1..40usize, 1..4),
    ) {
        if let Ok(Some((_, len))) = parse_request(&bytes, &mut HeadScan::default(), max) {
            prop_assert!(len <= max.min(bytes.len()));
        }
        if let Ok(Some((_, len))) = parse_response(&bytes, &mut HeadScan::default(), max) {
            prop_assert!(len <= max.min(bytes.len()));
        }
        let _ = in_pieces(&bytes, &pieces);
    }

    /// A scan kept from another head, which would be a caller's mistake, causes no panic either.
    #[test]
    fn a_stale_scan_causes_no_panic(first in damaged_head(), second in damaged_head(), max in 0..200usize) {
        let mut scan = HeadScan::default();
        let _ = scan.request_end(&first[..first.len() / 2], MAX_HEAD_BYTES);
        let _ = parse_request(&second, &mut scan, max);
        let _ = parse_response(&second, &mut scan, max);
    }

    /// The server's half parses what the client's half writes, and the other way round.
    #[test]
    fn client_and_server_halves_agree(nonce in any::<[u8; 16]>()) {
        let key = WebSocketKey::from_nonce(nonce);
        let mut bytes = Vec::new();
        write_upgrade_request(&mut bytes, "h:80", "/ws?a", key, &[("Origin", "x")]);
        let (request, len) = parse_at_once(&bytes).unwrap().unwrap();
        prop_assert_eq!((request.route, len), (Ok(Route::Session(key)), bytes.len()));
        let mut bytes = Vec::new();
        write_switching_protocols(&mut bytes, key.accept());
        let (head, len) = parse_response(&bytes, &mut HeadScan::default(), 1000).unwrap().unwrap();
        prop_assert_eq!((head.check_upgrade(key.accept()), len), (Ok(()), bytes.len()));
    }
}
