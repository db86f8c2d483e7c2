//! Tests of the HTTP rules, with the RFC section of each.

mod chunks;
mod client;
mod properties;
mod requests;
mod responses;
mod split_heads;

use super::*;

const MAX_HEAD_BYTES: usize = 16_384;

/// What a current browser sends to open a session: 14 fields.
const BROWSER_UPGRADE: &str = "GET /ws HTTP/1.1\r\n\
    Host: switchboard.example:8080\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/138.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://switchboard.example\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: theme=dark; consent=necessary\r\n\
    X-Forwarded-For: 203.0.113.7\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// The fields of a minimal valid upgrade.
const UPGRADE: &str = "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn parse_at_once(bytes: &[u8]) -> Result<Option<(HttpRequest<'_>, usize)>, HttpError> {
    parse_request(bytes, &mut HeadScan::default(), MAX_HEAD_BYTES)
}

/// The request in `text`, which must be a complete head.
fn request(text: &str) -> HttpRequest<'_> {
    let (request, len) = parse_at_once(text.as_bytes()).expect(text).expect(text);
    assert_eq!(len, text.len(), "{text}");
    request
}

/// The error for `text`, whether or not the end of the request is known, and whether it closes the
/// connection.
fn refusal(text: &str) -> (HttpError, bool) {
    match parse_at_once(text.as_bytes()) {
        Err(error) => (error, error.closes()),
        Ok(Some((request, _))) => match request.route {
            Err(error) => (error, !request.keep_alive),
            Ok(route) => panic!("not refused but {route:?}: {text}"),
        },
        Ok(None) => panic!("incomplete: {text}"),
    }
}
