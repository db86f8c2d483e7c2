//! Request heads. The boundaries of reads do not change the request, a complete head is never
//! reported as incomplete, and every other parser finds the same request in an accepted head.
#![no_main]

#[path = "bytes.rs"]
mod bytes;

use bytes::{Choices, piece_lengths};
use libfuzzer_sys::fuzz_target;
use switchboard::wire::http::{HeadScan, HttpError, HttpRequest, parse_request};

type Parsed<'b> = Result<Option<(HttpRequest<'b>, usize)>, HttpError>;

fn parse_in_pieces(bytes: &[u8], lengths: [usize; 4], max: usize) -> Parsed<'_> {
    let (mut scan, mut arrived) = (HeadScan::default(), 0);
    let mut next = lengths.into_iter().cycle();
    loop {
        arrived = (arrived + next.next().unwrap_or(1)).min(bytes.len());
        let parsed = parse_request(&bytes[..arrived], &mut scan, max);
        if arrived == bytes.len() || !matches!(parsed, Ok(None)) {
            return parsed;
        }
    }
}

/// The end of the head, found in the simplest way.
fn naive_end(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    while bytes[start..].starts_with(b"\r\n") {
        start += 2;
    }
    bytes[start..].windows(4).position(|four| four == b"\r\n\r\n").map(|at| start + at + 4)
}

/// Checks that the head has no control characters except tabs and CRLFs, and no body (RFC 9112
/// §2.2 and §6, RFC 9110 §5.5). So any other parser finds the same lines and the same next request.
fn check_unambiguous(request: &HttpRequest<'_>, head: &[u8]) {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    for line in text.split("\r\n") {
        assert!(!line.contains(|c: char| c.is_ascii_control() && c != '\t'));
        let has_body = match line.split_once(':') {
            Some(("content-length", length)) => !length.trim().trim_matches('0').is_empty(),
            Some(("transfer-encoding", _)) => true,
            Some(_) | None => false,
        };
        assert!(!has_body || (request.route.is_err() && !request.keep_alive));
    }
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices(data);
    let lengths = piece_lengths(&mut choices);
    let max = choices.pick(&[16_384, 300, 60]);
    let bytes = choices.0;
    let whole = parse_request(bytes, &mut HeadScan::default(), max);
    match (&whole, parse_in_pieces(bytes, lengths, max)) {
        // In pieces, an error may be found earlier, and may be another one.
        (Err(_), Err(_)) => {}
        (whole, split) => assert_eq!(*whole, split),
    }
    match whole {
        Ok(Some((request, length))) => {
            assert_eq!(Some(length), naive_end(bytes));
            assert!(length <= max);
            check_unambiguous(&request, &bytes[..length]);
        }
        Ok(None) => assert_eq!(naive_end(bytes), None),
        Err(error) => assert!((400..=505).contains(&error.status().code())),
    }
});
