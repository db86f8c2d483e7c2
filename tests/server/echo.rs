//! `/echo` returns every message, and keeps the rules of RFC 6455 for an endpoint.

use crate::support::{
    RawClient, Server, client_frame, close_frame, get, ping_frame, text_frame, upgrade_request,
};
use switchboard::wire::websocket::frame::{BINARY, CLOSE, PONG, TEXT};
use tungstenite::protocol::frame::coding::OpCode;

const CONTINUATION: u8 = 0x00;
const TEXT_BEGUN: u8 = 0x01;
const FIN: u8 = 0x80;

/// A WebSocket connection to `/echo`.
fn open_echo(server: &Server) -> RawClient {
    let mut raw = server.raw_connection();
    assert_eq!(raw.request(&echo_request()).status, 101);
    raw
}

/// An opening handshake for `/echo`.
fn echo_request() -> String {
    String::from_utf8(upgrade_request()).unwrap().replace("GET /ws ", "GET /echo ")
}

fn expect_frame(raw: &mut RawClient, opcode: OpCode, payload: &[u8]) {
    let frame = raw.read_frame().expect("a frame");
    assert_eq!(frame.opcode, opcode);
    assert!(
        frame.payload == payload,
        "{} bytes were returned, not {}",
        frame.payload.len(),
        payload.len()
    );
}

#[test]
fn serves_echo_only_with_the_flag() {
    let server = Server::start(&[]);
    assert_eq!(server.raw_connection().request(&echo_request()).status, 404);
    assert_eq!(get(server.address(), "/echo").status, 404);
    let server = Server::start(&["--echo"]);
    assert_eq!(get(server.address(), "/echo").status, 426);
}

#[test]
fn returns_every_message_in_order_and_answers_pings_between_them() {
    let server = Server::start(&["--echo"]);
    let mut raw = open_echo(&server);
    let fragments = [
        client_frame(TEXT_BEGUN, "κό".as_bytes()),
        ping_frame(b"between"),
        client_frame(CONTINUATION, b""),
        client_frame(CONTINUATION | FIN, "σμε".as_bytes()),
    ];
    let all = [
        text_frame(b"one"),
        client_frame(0x82, &[0xff, 0, 0xfe]),
        client_frame(0x82, b""),
        ping_frame(b"p"),
        fragments.concat(),
        client_frame(0x8a, b"an unsolicited pong"),
        text_frame(b""),
    ];
    raw.send(&all.concat());
    expect_frame(&mut raw, TEXT, b"one");
    expect_frame(&mut raw, BINARY, &[0xff, 0, 0xfe]);
    expect_frame(&mut raw, BINARY, b"");
    expect_frame(&mut raw, PONG, b"p");
    expect_frame(&mut raw, PONG, b"between");
    expect_frame(&mut raw, TEXT, "κόσμε".as_bytes());
    expect_frame(&mut raw, TEXT, b"");
    for byte in all.concat() {
        raw.send(&[byte]);
    }
    for _ in 0..7 {
        raw.read_frame().expect("the same frames again");
    }
}

#[test]
fn returns_a_close_frame_unchanged() {
    let server = Server::start(&["--echo"]);
    for payload in [&b""[..], &1000u16.to_be_bytes(), &4999u16.to_be_bytes()] {
        let mut raw = open_echo(&server);
        raw.send(&client_frame(0x88, payload));
        expect_frame(&mut raw, CLOSE, payload);
        raw.expect_end();
    }
    let mut raw = open_echo(&server);
    raw.send(&close_frame(1005));
    expect_frame(&mut raw, CLOSE, &1002u16.to_be_bytes());
}

#[test]
fn refuses_invalid_utf_8_before_the_frame_is_complete() {
    let server = Server::start(&["--echo"]);
    let mut raw = open_echo(&server);
    let whole = text_frame(&[b'a', 0xf4, 0x90, 0x80, 0x80, b'b', b'c']);
    raw.send(&whole[..9]);
    expect_frame(&mut raw, CLOSE, &1007u16.to_be_bytes());
}

#[test]
fn returns_the_largest_message_and_the_most_fragments() {
    let server = Server::start(&["--echo"]);
    let mut raw = open_echo(&server);
    let large: Vec<u8> = (0..16 * 1024 * 1024).map(|n: u32| (n / 7) as u8).collect();
    raw.send(&client_frame(0x82, &large));
    expect_frame(&mut raw, BINARY, &large);
    let mut many = client_frame(0x02, b"a");
    many.extend(client_frame(CONTINUATION, b"b").repeat(99_998));
    many.extend(client_frame(CONTINUATION | FIN, b"c"));
    raw.send(&many);
    let back = raw.read_frame().expect("one message");
    assert_eq!(back.payload.len(), 100_000);
    let mut raw = open_echo(&server);
    let one_more = 16 * 1024 * 1024_u64 + 1;
    raw.send(&[&[0x82, 0xff][..], &one_more.to_be_bytes(), &[0; 4]].concat());
    expect_frame(&mut raw, CLOSE, &1009u16.to_be_bytes());
    let mut raw = open_echo(&server);
    raw.send(&[client_frame(0x02, b""), client_frame(CONTINUATION, b"").repeat(99_999)].concat());
    raw.send(&ping_frame(b"not too many yet"));
    expect_frame(&mut raw, PONG, b"not too many yet");
    raw.send(&client_frame(CONTINUATION, b""));
    expect_frame(&mut raw, CLOSE, &1008u16.to_be_bytes());
}

#[test]
fn stops_reading_from_a_client_that_does_not_read_and_keeps_it_open() {
    let server = Server::start(&["--echo"]);
    let mut raw = open_echo(&server);
    let message = text_frame(&[b'x'; 1000]);
    // Far more than the socket buffers hold: at some point the server stops reading.
    let mut sent = 0;
    raw.stream().set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let flood = message.repeat(1000);
    let mut taken = 0;
    for _ in 0..100 {
        match std::io::Write::write(&mut raw.stream(), &flood[taken % message.len()..]) {
            Ok(count) => taken += count,
            Err(_) => break,
        }
        sent += 1;
    }
    assert!(sent < 100, "the server took {taken} bytes from a client that does not read");
    let (unsent, held) = (server.stat("/bytes/unsent"), server.stat("/bytes/held"));
    assert!(unsent + held < 200_000, "{unsent} bytes unsent, {held} held");
    // When the client reads at last, it receives every whole message that it sent.
    for _ in 0..taken / message.len() {
        expect_frame(&mut raw, TEXT, &[b'x'; 1000]);
    }
}

/// The client sends nothing for several times `--silence-limit`; the bytes that it takes show that
/// it is alive.
#[test]
fn does_not_count_a_slow_reader_as_silent() {
    const BYTES: usize = 4 << 20;
    let silence = ["--ping-interval", "200ms", "--silence-limit", "500ms"];
    let flags = ["--echo", "--close-timeout", "300ms", "--socket-send-buffer", "16384"];
    let server = Server::start(&[&flags[..], &silence].concat());
    let mut raw = RawClient::connect_with_small_buffer(server.address());
    assert_eq!(raw.request(&echo_request()).status, 101);
    raw.send(&client_frame(FIN | 0x02, &vec![b'x'; BYTES]));
    // A frame header of ten bytes precedes the payload.
    let (mut left, mut buffer) = (BYTES + 10, vec![0; 64 * 1024]);
    while left > 0 {
        // The pause that makes the reader slow.
        std::thread::sleep(std::time::Duration::from_millis(5));
        let most = left.min(buffer.len());
        match std::io::Read::read(&mut raw.stream(), &mut buffer[..most]).unwrap() {
            0 => panic!("closed with {left} of {BYTES} bytes unsent"),
            count => left -= count,
        }
    }
    assert_eq!(server.stat("/connections/closed/silent"), 0);
}

#[test]
fn holds_small_fragments_in_little_more_memory_than_their_payload() {
    let server = Server::start(&["--echo", "--shards", "1"]);
    let mut one = client_frame(0x02, b"12");
    one.extend(client_frame(CONTINUATION, b"12").repeat(15_999));
    let mut clients: Vec<RawClient> = (0..20).map(|_| open_echo(&server)).collect();
    for client in &mut clients {
        client.send(&one);
        client.send(&ping_frame(b"all read"));
        expect_frame(client, PONG, b"all read");
    }
    let held = server.stat("/bytes/held");
    assert!(held as f64 <= 1.2 * 20.0 * 32_000.0, "{held} bytes");
}

#[test]
fn growing_messages_side_by_side_does_not_fragment_memory() {
    const FRAGMENTS: usize = 16_000;
    let server = Server::start(&["--echo", "--shards", "1"]);
    let mut clients: Vec<RawClient> = (0..100).map(|_| open_echo(&server)).collect();
    // The memory that a connection needs in any case is allocated before the measurement.
    for client in &mut clients {
        client.send(&ping_frame(b"ready"));
        expect_frame(client, PONG, b"ready");
    }
    let before = server.resident_bytes();
    let mut one = client_frame(0x02, b"1");
    one.extend(client_frame(CONTINUATION, b"1").repeat(FRAGMENTS - 1));
    for piece in one.chunks(350) {
        for client in &mut clients {
            client.send(piece);
        }
    }
    for client in &mut clients {
        client.send(&ping_frame(b"all read"));
        expect_frame(client, PONG, b"all read");
    }
    let (cost, payload) = (server.resident_bytes() - before, clients.len() * FRAGMENTS);
    // With fragmented memory it is nearly half more than the payload.
    assert!(cost as f64 <= 1.2 * payload as f64, "{cost} bytes for {payload}");
}
