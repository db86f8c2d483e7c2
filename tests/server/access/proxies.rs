//! `--trusted-proxy`: whose connection it is that a proxy passes on, as the PROXY protocol or
//! `X-Forwarded-For` say, and that nobody else is believed. What shows it is the limit of
//! connections from one address.

use crate::support::{RawClient, Server, expect_room_relays, upgrade_request};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A server that trusts 127.0.0.9, and lets two come from each address.
fn server(more: &[&str]) -> Server {
    let flags = ["--trusted-proxy", "127.0.0.9,10.0.0.0/8", "--max-connections-per-address", "2"];
    Server::start(&[&flags[..], &["--max-connections", "500", "--shards", "2"], more].concat())
}

const PROXY: u8 = 9;
const STRANGER: u8 = 8;

fn version_1(client: &str) -> Vec<u8> {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    let server = if client.contains(':') { "::1" } else { "127.0.0.1" };
    format!("PROXY {family} {client} {server} 50000 8080\r\n").into_bytes()
}

/// A header of version 2 with a TLV behind the addresses.
fn version_2(client: &str) -> Vec<u8> {
    let tlv = b"\x04\x00\x03xyz";
    match client.parse().unwrap() {
        IpAddr::V4(client) => {
            block(0x21, 0x11, &[&client.octets()[..], &[127, 0, 0, 1, 0, 1, 0, 2], tlv].concat())
        }
        IpAddr::V6(client) => {
            let server = Ipv6Addr::LOCALHOST.octets();
            block(0x21, 0x21, &[&client.octets()[..], &server, &[0, 1, 0, 2], tlv].concat())
        }
    }
}

fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

/// An opening handshake with these lines.
fn handshake_with(fields: &[&str]) -> Vec<u8> {
    let lines: String = fields.iter().map(|field| format!("\r\n{field}")).collect();
    let text = String::from_utf8(upgrade_request()).unwrap();
    text.replacen("\r\n", &format!("{lines}\r\n"), 1).into_bytes()
}

fn forwarded(fields: &[&str]) -> Vec<u8> {
    let fields: Vec<String> = fields.iter().map(|f| format!("X-Forwarded-For: {f}")).collect();
    handshake_with(&fields.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Sends these bytes from there; a session, or the status of the refusal.
fn enters(server: &Server, from: u8, bytes: &[u8]) -> Result<RawClient, u16> {
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

/// Two may come in this way, and a third may not until one has left.
fn is_one_client(server: &Server, says: impl Fn() -> Vec<u8>) {
    let mut two: Vec<RawClient> = (0..2).map(|_| enters(server, PROXY, &says()).unwrap()).collect();
    assert_eq!(enters(server, PROXY, &says()).err(), Some(503));
    two.pop();
    crate::support::wait_until("there is a place again", || {
        enters(server, PROXY, &says()).map_err(|status| status.to_string())
    });
    drop(two);
    server.wait_until_idle();
}

#[test]
fn a_trusted_proxy_names_its_clients_and_each_has_a_count_of_its_own() {
    let server = server(&[]);
    for client in ["203.0.113.1", "203.0.113.2", "2001:db8:1::1", "2001:db8:2::1"] {
        is_one_client(&server, || [version_1(client), upgrade_request()].concat());
        is_one_client(&server, || [version_2(client), upgrade_request()].concat());
        is_one_client(&server, || forwarded(&[client]));
    }
    // However it is named, it is the same client, and the proxy's own address is nobody's.
    let client = "203.0.113.3";
    let _one = enters(&server, PROXY, &[version_1(client), upgrade_request()].concat()).unwrap();
    let _other = enters(&server, PROXY, &forwarded(&[client])).unwrap();
    assert_eq!(
        enters(&server, PROXY, &[version_2(client), upgrade_request()].concat()).err(),
        Some(503)
    );
    // Of an IPv6 client it is the /64 that counts.
    let in_64 =
        |last: u16| [version_2(&format!("2001:db8:3::{last:x}")), upgrade_request()].concat();
    let _two: Vec<RawClient> =
        (1..3).map(|last| enters(&server, PROXY, &in_64(last)).unwrap()).collect();
    assert_eq!(enters(&server, PROXY, &in_64(3)).err(), Some(503));
    assert!(server.stat("/http/rejected/address_limit") >= 14);
    drop((_one, _other, _two));
    server.wait_until_idle();
}

#[test]
fn a_match_takes_the_count_along_to_another_shard() {
    let server = server(&[]);
    let client = |last: usize| format!("203.0.113.{last}");
    for last in 0..20 {
        let from_proxy = |name: String| {
            enters(&server, PROXY, &[version_2(&name), upgrade_request()].concat()).unwrap()
        };
        let pair =
            crate::support::match_pair(from_proxy(client(last)), from_proxy(client(100 + last)));
        for last in [last, 100 + last] {
            let _second = enters(&server, PROXY, &forwarded(&[&client(last)])).unwrap();
            assert_eq!(enters(&server, PROXY, &forwarded(&[&client(last)])).err(), Some(503));
        }
        drop(pair);
    }
    assert!(server.stat("/migrations/out") > 0, "twenty pairs over two shards");
    server.wait_until_idle();
    is_one_client(&server, || forwarded(&[&client(0)]));
}

#[test]
fn the_last_address_that_is_no_trusted_proxys_counts() {
    let server = server(&[]);
    let client = "203.0.113.1";
    let _two = [
        enters(&server, PROXY, &forwarded(&["198.51.100.1", client, "10.0.0.1, 10.2.3.4:80"])),
        enters(&server, PROXY, &forwarded(&["junk,, 198.51.100.2,203.0.113.1:4711,"])),
    ]
    .map(Result::unwrap);
    assert_eq!(enters(&server, PROXY, &forwarded(&[client])).err(), Some(503));
    // Proxies behind each other: the outer one is named by a header, the client by the field.
    let outer = [version_2("10.1.1.1"), forwarded(&[client])].concat();
    assert_eq!(enters(&server, PROXY, &outer).err(), Some(503));
    // Whoever is named by the header is believed nothing more, if it is no proxy.
    let made_up = [version_1("203.0.113.9"), forwarded(&[client])].concat();
    drop(enters(&server, PROXY, &made_up).unwrap());
}

#[test]
fn a_proxy_that_names_nobody_counts_itself() {
    let server = server(&[]);
    let says: [Vec<u8>; 6] = [
        upgrade_request(),
        forwarded(&["unknown"]),
        // What stands before what is no address is its sender's word.
        forwarded(&["203.0.113.1, unknown"]),
        [block(0x20, 0, &[]), upgrade_request()].concat(),
        [block(0x21, 0x31, &[7; 216]), upgrade_request()].concat(),
        [&b"PROXY UNKNOWN ffff:: junk\r\n"[..], &upgrade_request()].concat(),
    ];
    let _two: Vec<RawClient> =
        says[..2].iter().map(|says| enters(&server, PROXY, says).unwrap()).collect();
    for says in &says {
        assert_eq!(enters(&server, PROXY, says).err(), Some(503), "{}", says.escape_ascii());
    }
    // A health check is heard all the same.
    for check in [block(0x20, 0x11, &[1; 40]), b"PROXY UNKNOWN\r\n".to_vec(), Vec::new()] {
        let mut raw = RawClient::connect_from(PROXY, server.address());
        raw.send(&[&check[..], b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n"].concat());
        assert_eq!(raw.read_response().status, 200);
    }
}

#[test]
fn from_anybody_else_a_header_is_a_bad_request_and_the_field_is_nothing() {
    let mut server = server(&[]);
    for header in [version_1("203.0.113.1"), version_2("203.0.113.1"), block(0x20, 0, &[])] {
        let bytes = [&header[..], &upgrade_request()].concat();
        assert_eq!(enters(&server, STRANGER, &bytes).err(), Some(400));
    }
    // An operator who has forgotten --trusted-proxy is told so, and not only that it is bad.
    assert_eq!(server.stat("/http/rejected/untrusted_proxy"), 3);
    server.wait_for_log_line("a PROXY header, but not of a --trusted-proxy");
    assert_eq!(enters(&server, STRANGER, b"PROXIMITY / HTTP/1.1\r\n\r\n").err(), Some(400));
    assert_eq!(server.stat("/http/rejected/bad_request"), 1);
    let _two = ["203.0.113.1", "203.0.113.2"]
        .map(|claim| enters(&server, STRANGER, &forwarded(&[claim])).unwrap());
    let third = enters(&server, STRANGER, &forwarded(&["203.0.113.3"])).err();
    assert_eq!(third, Some(503), "what it claims does not make it another");
}

#[test]
fn a_header_that_trust_would_not_have_helped_is_a_bad_request_and_no_untrusted_proxys() {
    let mut server = server(&["--admin-listen", "127.0.0.1:0"]);
    let line = server.wait_for_log_line("/stats and /metrics are at ");
    let admin: SocketAddr = line.split(" are at ").nth(1).unwrap().parse().unwrap();
    let health = b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n";
    let header = || version_1("203.0.113.1");
    // A trusted proxy's second one, whomever the first has named.
    for first in [version_1("203.0.113.2"), version_2("10.1.1.1"), block(0x20, 0, &[])] {
        let twice = [&first[..], &header(), &upgrade_request()].concat();
        assert_eq!(enters(&server, PROXY, &twice).err(), Some(400));
    }
    // One that is not the first that comes, be it in the same read or in a later one.
    for from in [STRANGER, PROXY] {
        let mut raw = RawClient::connect_from(from, server.address());
        raw.send(&[&health[..], &header()].concat());
        assert_eq!([raw.read_response().status, raw.read_response().status], [200, 400]);
        let mut raw = RawClient::connect_from(from, server.address());
        raw.send(health);
        assert_eq!(raw.read_response().status, 200);
        raw.send(&[&header()[..], health].concat());
        assert_eq!(raw.read_response().status, 400);
    }
    // And where a proxy has no business.
    let mut raw = RawClient::connect_from(STRANGER, admin);
    raw.send(&[&header()[..], health].concat());
    assert_eq!(raw.read_response().status, 400);
    let rejected = |reason| server.stat_at(admin, &format!("/http/rejected/{reason}"));
    assert_eq!(["bad_request", "untrusted_proxy", "proxy_header"].map(rejected), [8, 0, 0]);
}

#[test]
fn a_header_may_come_in_pieces_cut_anywhere() {
    let server = server(&[]);
    for header in [version_1("203.0.113.1"), version_2("2001:db8::1")] {
        let bytes = [&header[..], &upgrade_request()].concat();
        for cut in 1..=header.len() + 1 {
            let mut raw = RawClient::connect_from(PROXY, server.address());
            raw.send(&bytes[..cut]);
            // What has come is seen to be kept, so it was read by itself.
            if cut < header.len() {
                crate::support::wait_until("it is kept", || match server.stat("/bytes/held") {
                    0 => Err("nothing is".to_owned()),
                    _ => Ok(()),
                });
            }
            raw.send(&bytes[cut..]);
            raw.expect_upgrade();
        }
    }
    // One byte at a time, as far as the network lets it be.
    let mut raw = RawClient::connect_from(PROXY, server.address());
    for byte in [version_2("203.0.113.9"), upgrade_request()].concat() {
        raw.send(&[byte]);
    }
    raw.expect_upgrade();
    drop(raw);
    server.wait_until_idle();
}

#[test]
fn a_malformed_endless_or_overdue_header_has_its_answer() {
    let server = server(&["--max-head-bytes", "1024", "--handshake-timeout", "300ms"]);
    let (mut one, mut other, room) = server.matched_pair();
    let answered = |bytes: &[u8], status: u16| {
        let mut raw = RawClient::connect_from(PROXY, server.address());
        raw.send(bytes);
        assert_eq!(raw.read_response().status, status, "{}", bytes.escape_ascii());
        raw.half_close_if_open();
        raw.expect_end();
    };
    answered(b"PROXY TCP4 203.0.113.1 127.0.0.1 1 65536\r\n", 400);
    answered(&block(0x11, 0x11, &[0; 12]), 400);
    answered(&[&b"PROXY "[..], &[b'x'; 101]].concat(), 400);
    assert_eq!(server.stat("/http/rejected/proxy_header"), 3);
    answered(&block(0x21, 0x11, &[0; 1009]), 431);
    assert_eq!(server.stat("/http/rejected/head_too_large"), 1);
    answered(b"PROXY TCP4 203", 408);
    answered(&version_2("203.0.113.1")[..20], 408);
    assert_eq!(server.stat("/http/rejected/head_timeout"), 2);
    expect_room_relays(&mut one, &mut other, &room);
    drop((one, other));
    server.wait_until_idle();
}

#[test]
fn the_rate_of_newcomers_is_each_clients_too() {
    let proxies = ["--trusted-proxy", "127.0.0.9,10.0.0.0/8"];
    let flags = [&proxies[..], &["--max-new-connections-per-address", "2"]].concat();
    let server = Server::start(&flags);
    let refusal = |says: &dyn Fn() -> Vec<u8>| {
        (0..30).find_map(|_| enters(&server, PROXY, &says()).err()).expect("thirty are too many")
    };
    assert_eq!(refusal(&|| [version_2("203.0.113.1"), upgrade_request()].concat()), 503);
    assert_eq!(refusal(&|| forwarded(&["203.0.113.2"])), 503);
    assert!(server.stat("/http/rejected/address_rate") >= 2);
    for last in 100..130 {
        let client = forwarded(&[&format!("203.0.113.{last}")]);
        enters(&server, PROXY, &client).unwrap();
        // Those behind another proxy do not count for that proxy.
        enters(&server, PROXY, &[version_2("10.1.1.1"), client].concat()).unwrap();
    }
}
