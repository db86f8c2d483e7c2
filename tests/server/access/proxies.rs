//! `--trusted-proxy`: the client's address is taken from a PROXY protocol header or
//! `X-Forwarded-For` if a trusted proxy sends it, and from no other peer. The tests see it by the
//! limit of connections per address.

use crate::support::{
    RawClient, Server, expect_room_relays, match_pair, upgrade_request, wait_until,
};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A server that trusts 127.0.0.9 and 10.0.0.0/8, and allows two connections per address.
fn start(more: &[&str]) -> Server {
    let flags = ["--trusted-proxy", "127.0.0.9,10.0.0.0/8", "--max-connections-per-address", "2"];
    Server::start(&[&flags[..], &["--max-connections", "500", "--shards", "2"], more].concat())
}

/// The last byte of the trusted proxy's address, 127.0.0.9.
const PROXY: u8 = 9;
/// The last byte of an address that is not trusted, 127.0.0.8.
const UNTRUSTED: u8 = 8;

/// A PROXY protocol header, version 1.
fn version_1(client: &str) -> Vec<u8> {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    let server = if client.contains(':') { "::1" } else { "127.0.0.1" };
    format!("PROXY {family} {client} {server} 50000 8080\r\n").into_bytes()
}

/// A PROXY protocol header, version 2, with a TLV after the addresses.
fn version_2(client: &str) -> Vec<u8> {
    let tlv = b"\x04\x00\x03xyz";
    match client.parse().unwrap() {
        IpAddr::V4(client) => version_2_block(
            0x21,
            0x11,
            &[&client.octets()[..], &[127, 0, 0, 1, 0, 1, 0, 2], tlv].concat(),
        ),
        IpAddr::V6(client) => {
            let server = Ipv6Addr::LOCALHOST.octets();
            version_2_block(
                0x21,
                0x21,
                &[&client.octets()[..], &server, &[0, 1, 0, 2], tlv].concat(),
            )
        }
    }
}

/// A version 2 header: its command byte, its family byte, and its addresses with TLVs.
fn version_2_block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

/// An opening handshake with these additional fields.
fn upgrade_with(fields: &[&str]) -> Vec<u8> {
    let lines: String = fields.iter().map(|field| format!("\r\n{field}")).collect();
    let text = String::from_utf8(upgrade_request()).unwrap();
    text.replacen("\r\n", &format!("{lines}\r\n"), 1).into_bytes()
}

/// An opening handshake with these `X-Forwarded-For` fields.
fn forwarded(fields: &[&str]) -> Vec<u8> {
    let fields: Vec<String> = fields.iter().map(|f| format!("X-Forwarded-For: {f}")).collect();
    upgrade_with(&fields.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Sends `bytes`, which end with an upgrade request, from 127.0.0.`from`. Gives a client with a
/// session, or the status of the refusal.
fn try_open(server: &Server, from: u8, bytes: &[u8]) -> Result<RawClient, u16> {
    let mut raw = RawClient::connect_from(from, server.address());
    raw.send(bytes);
    match raw.peek_status() {
        101 => {
            raw.expect_upgrade();
            Ok(raw)
        }
        status => Err(status),
    }
}

/// All connections that the proxy opens with these bytes count for one address: a third is
/// refused until one of two has been closed.
fn expect_one_address(server: &Server, bytes: impl Fn() -> Vec<u8>) {
    let open = || try_open(server, PROXY, &bytes());
    let mut two: Vec<RawClient> = (0..2).map(|_| open().unwrap()).collect();
    assert_eq!(open().err(), Some(429));
    two.pop();
    wait_until("a connection is admitted again", || open().map_err(|status| status.to_string()));
    drop(two);
    server.wait_until_idle();
}

#[test]
fn counts_connections_per_client_that_a_trusted_proxy_names() {
    let server = start(&[]);
    for client in ["203.0.113.1", "203.0.113.2", "2001:db8:1::1", "2001:db8:2::1"] {
        expect_one_address(&server, || [version_1(client), upgrade_request()].concat());
        expect_one_address(&server, || [version_2(client), upgrade_request()].concat());
        expect_one_address(&server, || forwarded(&[client]));
    }
    // A client counts once, however it is named, and the proxy's own address does not count.
    let client = "203.0.113.3";
    let _one = try_open(&server, PROXY, &[version_1(client), upgrade_request()].concat()).unwrap();
    let _other = try_open(&server, PROXY, &forwarded(&[client])).unwrap();
    assert_eq!(
        try_open(&server, PROXY, &[version_2(client), upgrade_request()].concat()).err(),
        Some(429)
    );
    // For IPv6 the /64 counts.
    let in_64 =
        |last: u16| [version_2(&format!("2001:db8:3::{last:x}")), upgrade_request()].concat();
    let _two: Vec<RawClient> =
        (1..3).map(|last| try_open(&server, PROXY, &in_64(last)).unwrap()).collect();
    assert_eq!(try_open(&server, PROXY, &in_64(3)).err(), Some(429));
    assert!(server.stat("/http/rejected/address_limit") >= 14);
    drop((_one, _other, _two));
    server.wait_until_idle();
}

#[test]
fn keeps_the_count_of_an_address_when_a_match_migrates_a_session() {
    let server = start(&[]);
    let client = |last: usize| format!("203.0.113.{last}");
    for last in 0..20 {
        let from_proxy = |name: String| {
            try_open(&server, PROXY, &[version_2(&name), upgrade_request()].concat()).unwrap()
        };
        let pair = match_pair(from_proxy(client(last)), from_proxy(client(100 + last)));
        for last in [last, 100 + last] {
            let _second = try_open(&server, PROXY, &forwarded(&[&client(last)])).unwrap();
            assert_eq!(try_open(&server, PROXY, &forwarded(&[&client(last)])).err(), Some(429));
        }
        drop(pair);
    }
    assert!(server.stat("/migrations/out") > 0, "twenty pairs over two shards");
    server.wait_until_idle();
    expect_one_address(&server, || forwarded(&[&client(0)]));
}

#[test]
fn counts_the_last_forwarded_address_that_is_not_a_trusted_proxy() {
    let server = start(&[]);
    let client = "203.0.113.1";
    let _two = [
        try_open(&server, PROXY, &forwarded(&["198.51.100.1", client, "10.0.0.1, 10.2.3.4:80"])),
        try_open(&server, PROXY, &forwarded(&["junk,, 198.51.100.2,203.0.113.1:4711,"])),
    ]
    .map(Result::unwrap);
    assert_eq!(try_open(&server, PROXY, &forwarded(&[client])).err(), Some(429));
    // A chain of proxies: the header names the outer one, the field names the client.
    let outer = [version_2("10.1.1.1"), forwarded(&[client])].concat();
    assert_eq!(try_open(&server, PROXY, &outer).err(), Some(429));
    // The field is ignored if the address in the header is not a trusted proxy.
    let made_up = [version_1("203.0.113.9"), forwarded(&[client])].concat();
    drop(try_open(&server, PROXY, &made_up).unwrap());
}

#[test]
fn counts_the_proxys_own_address_when_it_names_no_client() {
    let server = start(&[]);
    let openings: [Vec<u8>; 6] = [
        upgrade_request(),
        forwarded(&["unknown"]),
        // The addresses before one that is not valid are not trustworthy.
        forwarded(&["203.0.113.1, unknown"]),
        [version_2_block(0x20, 0, &[]), upgrade_request()].concat(),
        [version_2_block(0x21, 0x31, &[7; 216]), upgrade_request()].concat(),
        [&b"PROXY UNKNOWN ffff:: junk\r\n"[..], &upgrade_request()].concat(),
    ];
    let _two: Vec<RawClient> =
        openings[..2].iter().map(|bytes| try_open(&server, PROXY, bytes).unwrap()).collect();
    for bytes in &openings {
        assert_eq!(try_open(&server, PROXY, bytes).err(), Some(429), "{}", bytes.escape_ascii());
    }
    // The proxy's health checks are expect_status although its address is at the limit.
    for check in [version_2_block(0x20, 0x11, &[1; 40]), b"PROXY UNKNOWN\r\n".to_vec(), Vec::new()]
    {
        let mut raw = RawClient::connect_from(PROXY, server.address());
        raw.send(&[&check[..], b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n"].concat());
        assert_eq!(raw.read_response().status, 200);
    }
}

#[test]
fn rejects_the_header_and_ignores_the_field_of_an_untrusted_peer() {
    let mut server = start(&[]);
    for header in
        [version_1("203.0.113.1"), version_2("203.0.113.1"), version_2_block(0x20, 0, &[])]
    {
        let bytes = [&header[..], &upgrade_request()].concat();
        assert_eq!(try_open(&server, UNTRUSTED, &bytes).err(), Some(400));
    }
    // A log line points an operator who has forgotten --trusted-proxy to the flag.
    assert_eq!(server.stat("/http/rejected/untrusted_proxy"), 3);
    server.wait_for_log_line("PROXY header from an address outside --trusted-proxy");
    assert_eq!(try_open(&server, UNTRUSTED, b"PROXIMITY / HTTP/1.1\r\n\r\n").err(), Some(400));
    assert_eq!(server.stat("/http/rejected/bad_request"), 1);
    // Until the server has closed them, the refused connections count for the address.
    server.wait_until_idle();
    let _two = ["203.0.113.1", "203.0.113.2"]
        .map(|claim| try_open(&server, UNTRUSTED, &forwarded(&[claim])).unwrap());
    let third = try_open(&server, UNTRUSTED, &forwarded(&["203.0.113.3"])).err();
    assert_eq!(third, Some(429), "the field does not change the address that counts");
}

#[test]
fn counts_a_misplaced_header_as_a_bad_request_not_as_an_untrusted_proxy() {
    let mut server = start(&["--admin-listen", "127.0.0.1:0"]);
    let line = server.wait_for_log_line("/stats and /metrics are at ");
    let admin: SocketAddr = line.split(" are at ").nth(1).unwrap().parse().unwrap();
    let health = b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n";
    let header = || version_1("203.0.113.1");
    // A second header of a trusted proxy, whatever address the first has named.
    for first in [version_1("203.0.113.2"), version_2("10.1.1.1"), version_2_block(0x20, 0, &[])] {
        let twice = [&first[..], &header(), &upgrade_request()].concat();
        assert_eq!(try_open(&server, PROXY, &twice).err(), Some(400));
    }
    // A header that follows a request, in the same read or in a later one.
    for from in [UNTRUSTED, PROXY] {
        let mut raw = RawClient::connect_from(from, server.address());
        raw.send(&[&health[..], &header()].concat());
        assert_eq!([raw.read_response().status, raw.read_response().status], [200, 400]);
        let mut raw = RawClient::connect_from(from, server.address());
        raw.send(health);
        assert_eq!(raw.read_response().status, 200);
        raw.send(&[&header()[..], health].concat());
        assert_eq!(raw.read_response().status, 400);
    }
    // A header on the port for administration.
    let mut raw = RawClient::connect_from(UNTRUSTED, admin);
    raw.send(&[&header()[..], health].concat());
    assert_eq!(raw.read_response().status, 400);
    let rejected = |reason| server.stat_at(admin, &format!("/http/rejected/{reason}"));
    assert_eq!(["bad_request", "untrusted_proxy", "proxy_header"].map(rejected), [8, 0, 0]);
}

#[test]
fn accepts_a_header_split_at_any_byte() {
    let server = start(&[]);
    for header in [version_1("203.0.113.1"), version_2("2001:db8::1")] {
        let bytes = [&header[..], &upgrade_request()].concat();
        for cut in 1..=header.len() + 1 {
            let mut raw = RawClient::connect_from(PROXY, server.address());
            raw.send(&bytes[..cut]);
            // Held bytes show that the server has read the first piece alone.
            if cut < header.len() {
                wait_until("the first piece is held", || match server.stat("/bytes/held") {
                    0 => Err("nothing is".to_owned()),
                    _ => Ok(()),
                });
            }
            raw.send(&bytes[cut..]);
            raw.expect_upgrade();
        }
    }
    // One byte at a time, unless the network joins them.
    let mut raw = RawClient::connect_from(PROXY, server.address());
    for byte in [version_2("203.0.113.9"), upgrade_request()].concat() {
        raw.send(&[byte]);
    }
    raw.expect_upgrade();
    drop(raw);
    server.wait_until_idle();
}

#[test]
fn answers_malformed_endless_and_late_headers() {
    let server = start(&["--max-head-bytes", "1024", "--handshake-timeout", "300ms"]);
    let (mut one, mut other, room) = server.matched_pair();
    let expect_status = |bytes: &[u8], status: u16| {
        let mut raw = RawClient::connect_from(PROXY, server.address());
        raw.send(bytes);
        assert_eq!(raw.read_response().status, status, "{}", bytes.escape_ascii());
        raw.half_close_if_open();
        raw.expect_end();
    };
    expect_status(b"PROXY TCP4 203.0.113.1 127.0.0.1 1 65536\r\n", 400);
    expect_status(&version_2_block(0x11, 0x11, &[0; 12]), 400);
    expect_status(&[&b"PROXY "[..], &[b'x'; 101]].concat(), 400);
    assert_eq!(server.stat("/http/rejected/proxy_header"), 3);
    expect_status(&version_2_block(0x21, 0x11, &[0; 1009]), 431);
    assert_eq!(server.stat("/http/rejected/head_too_large"), 1);
    expect_status(b"PROXY TCP4 203", 408);
    expect_status(&version_2("203.0.113.1")[..20], 408);
    assert_eq!(server.stat("/http/rejected/head_timeout"), 2);
    expect_room_relays(&mut one, &mut other, &room);
    drop((one, other));
    server.wait_until_idle();
}

#[test]
fn limits_the_rate_of_new_connections_per_forwarded_client() {
    let proxies = ["--trusted-proxy", "127.0.0.9,10.0.0.0/8"];
    let flags = [&proxies[..], &["--max-new-connections-per-address", "2"]].concat();
    let server = Server::start(&flags);
    let refusal = |bytes: &dyn Fn() -> Vec<u8>| {
        let refused = (0..30).find_map(|_| try_open(&server, PROXY, &bytes()).err());
        refused.expect("one of thirty connections is refused")
    };
    assert_eq!(refusal(&|| [version_2("203.0.113.1"), upgrade_request()].concat()), 429);
    assert_eq!(refusal(&|| forwarded(&["203.0.113.2"])), 429);
    assert!(server.stat("/http/rejected/address_rate") >= 2);
    for last in 100..130 {
        let client = forwarded(&[&format!("203.0.113.{last}")]);
        try_open(&server, PROXY, &client).unwrap();
        // The clients of a second proxy in the chain do not count for that proxy.
        try_open(&server, PROXY, &[version_2("10.1.1.1"), client].concat()).unwrap();
    }
}
