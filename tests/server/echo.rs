//! `/echo`: what RFC 6455 asks of an endpoint, where every message comes back.

use crate::support::{
    RawClient, Server, client_frame, close_frame, get, ping_frame, text_frame, upgrade_request,
};
use switchboard::wire::websocket::frame::{BINARY, CLOSE, PONG, TEXT};
use tungstenite::protocol::frame::coding::OpCode;

const CONTINUATION: u8 = 0x00;
const FIN: u8 = 0x80;

fn echo(server: &Server) -> RawClient {
    let mut raw = server.raw_connection();
    assert_eq!(raw.request(&request()).status, 101);
    raw
}

fn request() -> String {
    String::from_utf8(upgrade_request()).unwrap().replace("GET /ws ", "GET /echo ")
}

fn expect(raw: &mut RawClient, opcode: OpCode, payload: &[u8]) {
    let frame = raw.read_frame().expect("a frame");
    assert_eq!(frame.opcode, opcode);
    assert!(
        frame.payload == payload,
        "{} bytes came back, not {}",
        frame.payload.len(),
        payload.len()
    );
}

#[test]
fn there_is_no_echo_unless_asked_for() {
    let server = Server::start(&[]);
    assert_eq!(server.raw_connection().request(&request()).status, 404);
    assert_eq!(get(server.address(), "/echo").status, 404);
    let server = Server::start(&["--echo"]);
    assert_eq!(get(server.address(), "/echo").status, 426);
}

#[test]
fn every_message_comes_back_in_order_with_pongs_between() {
    let server = Server::start(&["--echo"]);
    let mut raw = echo(&server);
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
        client_frame(0x8a, b"an unasked pong"),
        text_frame(b""),
    ];
    raw.send(&all.concat());
    expect(&mut raw, TEXT, b"one");
    expect(&mut raw, BINARY, &[0xff, 0, 0xfe]);
    expect(&mut raw, BINARY, b"");
    expect(&mut raw, PONG, b"p");
    expect(&mut raw, PONG, b"between");
    expect(&mut raw, TEXT, "κόσμε".as_bytes());
    expect(&mut raw, TEXT, b"");
    for byte in all.concat() {
        raw.send(&[byte]);
    }
    for _ in 0..7 {
        raw.read_frame().expect("the same again");
    }
}

const TEXT_BEGUN: u8 = 0x01;

#[test]
fn a_close_comes_back_as_it_was() {
    let server = Server::start(&["--echo"]);
    for payload in [&b""[..], &1000u16.to_be_bytes(), &4999u16.to_be_bytes()] {
        let mut raw = echo(&server);
        raw.send(&client_frame(0x88, payload));
        expect(&mut raw, CLOSE, payload);
        raw.expect_end();
    }
    let mut raw = echo(&server);
    raw.send(&close_frame(1005));
    expect(&mut raw, CLOSE, &1002u16.to_be_bytes());
}

#[test]
fn broken_text_is_refused_before_its_frame_is_complete() {
    let server = Server::start(&["--echo"]);
    let mut raw = echo(&server);
    let whole = text_frame(&[b'a', 0xf4, 0x90, 0x80, 0x80, b'b', b'c']);
    raw.send(&whole[..9]);
    expect(&mut raw, CLOSE, &1007u16.to_be_bytes());
}

#[test]
fn the_largest_message_and_many_fragments_come_back() {
    let server = Server::start(&["--echo"]);
    let mut raw = echo(&server);
    let large: Vec<u8> = (0..16 * 1024 * 1024).map(|n: u32| (n / 7) as u8).collect();
    raw.send(&client_frame(0x82, &large));
    expect(&mut raw, BINARY, &large);
    let mut many = client_frame(0x02, b"a");
    many.extend(client_frame(CONTINUATION, b"b").repeat(99_998));
    many.extend(client_frame(CONTINUATION | FIN, b"c"));
    raw.send(&many);
    let back = raw.read_frame().expect("one message");
    assert_eq!(back.payload.len(), 100_000);
    let mut raw = echo(&server);
    let one_more = 16 * 1024 * 1024_u64 + 1;
    raw.send(&[&[0x82, 0xff][..], &one_more.to_be_bytes(), &[0; 4]].concat());
    expect(&mut raw, CLOSE, &1009u16.to_be_bytes());
    let mut raw = echo(&server);
    raw.send(&[client_frame(0x02, b""), client_frame(CONTINUATION, b"").repeat(99_999)].concat());
    raw.send(&ping_frame(b"not one too many"));
    expect(&mut raw, PONG, b"not one too many");
    raw.send(&client_frame(CONTINUATION, b""));
    expect(&mut raw, CLOSE, &1008u16.to_be_bytes());
}

#[test]
fn one_that_does_not_read_is_not_read_from_and_not_closed() {
    let server = Server::start(&["--echo"]);
    let mut raw = echo(&server);
    let message = text_frame(&[b'x'; 1000]);
    // Far more than both kernels hold: from some point on the server takes no more.
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
    assert!(sent < 100, "the server read {taken} bytes without being read");
    let (unsent, held) = (server.stat("/bytes/unsent"), server.stat("/bytes/held"));
    assert!(unsent + held < 200_000, "{unsent} bytes unsent, {held} held");
    // When it reads at last, it gets every whole message that it sent.
    for _ in 0..taken / message.len() {
        expect(&mut raw, TEXT, &[b'x'; 1000]);
    }
}

/// It says nothing for several times the silence that is allowed: what it takes shows its life.
#[test]
fn one_that_reads_slowly_is_not_silent() {
    const BYTES: usize = 4 << 20;
    let silence = ["--ping-interval", "200ms", "--silence-limit", "500ms"];
    let flags = ["--echo", "--close-timeout", "300ms", "--socket-send-buffer", "16384"];
    let server = Server::start(&[&flags[..], &silence].concat());
    let mut raw = RawClient::connect_with_small_buffer(server.address());
    assert_eq!(raw.request(&request()).status, 101);
    raw.send(&client_frame(FIN | 0x02, &vec![b'x'; BYTES]));
    // A header of ten bytes comes back with it.
    let (mut left, mut buffer) = (BYTES + 10, vec![0; 64 * 1024]);
    while left > 0 {
        // This is how slow it is.
        std::thread::sleep(std::time::Duration::from_millis(5));
        let most = left.min(buffer.len());
        match std::io::Read::read(&mut raw.stream(), &mut buffer[..most]).unwrap() {
            0 => panic!("cut off, with {left} of {BYTES} bytes to come"),
            count => left -= count,
        }
    }
    assert_eq!(server.stat("/connections/closed/silent"), 0);
}

#[test]
fn many_small_fragments_cost_little_more_than_their_payload() {
    let server = Server::start(&["--echo", "--shards", "1"]);
    let mut one = client_frame(0x02, b"12");
    one.extend(client_frame(CONTINUATION, b"12").repeat(15_999));
    let mut clients: Vec<RawClient> = (0..20).map(|_| echo(&server)).collect();
    for client in &mut clients {
        client.send(&one);
        client.send(&ping_frame(b"all read"));
        expect(client, PONG, b"all read");
    }
    let held = server.stat("/bytes/held");
    assert!(held as f64 <= 1.2 * 20.0 * 32_000.0, "{held} bytes");
}

#[test]
fn messages_that_grow_side_by_side_leave_no_holes_between_them() {
    const FRAGMENTS: usize = 16_000;
    let server = Server::start(&["--echo", "--shards", "1"]);
    let mut clients: Vec<RawClient> = (0..100).map(|_| echo(&server)).collect();
    // Whatever a connection needs of the server once is there.
    for client in &mut clients {
        client.send(&ping_frame(b"here"));
        expect(client, PONG, b"here");
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
        expect(client, PONG, b"all read");
    }
    let (cost, payload) = (server.resident_bytes() - before, clients.len() * FRAGMENTS);
    // With holes it is nearly half more than the payload.
    assert!(cost as f64 <= 1.2 * payload as f64, "{cost} bytes for {payload}");
}
