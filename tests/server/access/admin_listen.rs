//! `--admin-listen`: `/stats` and `/metrics` on a port of their own, and nowhere else.

use crate::support::{
    ProtocolClient, RawClient, Server, descriptor_table_modes, expect_room_relays, get, head,
    stat_number, upgrade_request,
};
use std::net::SocketAddr;
use switchboard::limits::{ADMIN_CONNECTIONS, SURPLUS_CONNECTIONS};

fn server(more: &[&str]) -> (Server, SocketAddr) {
    start(&[&["--shards", "2"], more].concat())
}

fn start(more: &[&str]) -> (Server, SocketAddr) {
    let flags = ["--admin-listen", "127.0.0.1:0", "--echo"];
    let mut server = Server::start(&[&flags[..], more].concat());
    let line = server.wait_for_log_line("/stats and /metrics are at ");
    let address = line.split(" are at ").nth(1).unwrap().parse().unwrap();
    (server, address)
}

#[test]
fn figures_are_there_and_nowhere_else_and_health_is_at_both() {
    let (server, admin) = server(&[]);
    for path in ["/stats", "/metrics"] {
        assert_eq!(get(admin, path).status, 200, "{path}");
        assert_eq!(head(admin, path).status, 200, "{path}");
        assert_eq!(get(server.address(), path).status, 404, "{path}");
        assert_eq!(head(server.address(), path).status, 404, "{path}");
    }
    for address in [admin, server.address()] {
        assert_eq!(get(address, "/health").json()["status"], "ok");
    }
    assert_eq!(get(server.address(), "/").status, 200, "the page is where it was");
    for path in ["/", "/client.js", "/ws", "/echo", "/stats/", "/nothing"] {
        assert_eq!(get(admin, path).status, 404, "{path}");
    }
    let (mut one, mut other, room) = server.matched_pair();
    for path in ["/ws", "/", "/echo"] {
        let upgrade = String::from_utf8(upgrade_request()).unwrap();
        let mut raw = RawClient::connect(admin);
        assert_eq!(raw.request(&upgrade.replacen("/ws", path, 1)).status, 404, "{path}");
        // It goes on with the next request.
        assert_eq!(raw.request("GET /health HTTP/1.1\r\nHost: t\r\n\r\n").status, 200);
    }
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn connections_there_have_a_limit_of_their_own_and_take_no_users_place() {
    let (server, admin) = server(&["--max-connections", "3", "--max-connections-per-address", "2"]);
    let stats = || get(admin, "/stats").json();
    let rejected = |reason: &str| stat_number(&stats(), &format!("/http/rejected/{reason}"));
    let ask = |raw: &mut RawClient| raw.request("GET /health HTTP/1.1\r\nHost: t\r\n\r\n").status;
    // One place stays, for whoever asks for the figures.
    let mut inside: Vec<RawClient> =
        (1..ADMIN_CONNECTIONS).map(|_| RawClient::connect(admin)).collect();
    assert!(inside.iter_mut().all(|raw| ask(raw) == 200));
    let (mut one, mut other, room) = server.matched_pair();
    // Asked by one who is inside: whoever comes to ask has the last place until his end is seen.
    let seen = inside[0].request("GET /stats HTTP/1.1\r\nHost: t\r\n\r\n").json();
    let refused = |reason: &str| stat_number(&seen, &format!("/http/rejected/{reason}"));
    assert_eq!(refused("connection_limit") + refused("address_limit"), 0);
    let mut last = RawClient::connect(admin);
    assert_eq!(ask(&mut last), 200);
    for _ in 0..5 {
        let mut raw = RawClient::connect(admin);
        let response = raw.read_response();
        assert_eq!(response.status, 503);
        assert_eq!(response.text(), "too many connections for administration\n");
        raw.expect_end();
    }
    expect_room_relays(&mut one, &mut other, &room);
    drop(last);
    crate::support::wait_until("there is a place again", || {
        let mut raw = RawClient::connect(admin);
        raw.send(b"GET /health HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        if raw.peek_status() == 200 { Ok(()) } else { Err("there is none".to_owned()) }
    });
    assert!(rejected("admin_limit") >= 5);
    // A public port that is full up does not keep the operator out.
    let _full: Vec<RawClient> =
        (0..SURPLUS_CONNECTIONS + 8).map(|_| server.raw_connection()).collect();
    let refused = || rejected("connection_limit") + rejected("address_limit");
    crate::support::wait_until("nobody else comes in", || match refused() {
        0 => Err(stats()["connections"].to_string()),
        _ => Ok(()),
    });
    expect_room_relays(&mut one, &mut other, &room);
    drop((one, other, inside, _full));
    crate::support::wait_until("everybody has gone", || {
        match stat_number(&stats(), "/connections/active") {
            1 => Ok(()),
            active => Err(format!("{active} are here")),
        }
    });
}

#[test]
fn in_a_table_of_a_shards_own_they_take_no_users_place_either() {
    for tables in descriptor_table_modes() {
        let flags = ["--fd-tables", tables, "--shards", "1", "--max-connections", "10"];
        let (server, admin) = start(&flags);
        let inside: Vec<RawClient> = (0..50).map(|_| RawClient::connect(admin)).collect();
        let pairs: Vec<_> = (0..5).map(|_| server.matched_pair()).collect();
        assert_eq!(server.stat_at(admin, "/rooms/active"), pairs.len() as i64, "{tables}");
        drop((inside, pairs));
    }
}

#[test]
fn neither_a_proxys_header_nor_an_origin_means_anything_there() {
    let flags = ["--trusted-proxy", "127.0.0.1", "--allow-origin", "https://a.example"];
    let (_server, admin) = server(&flags);
    let mut raw = RawClient::connect(admin);
    raw.send(b"PROXY UNKNOWN\r\nGET /stats HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(raw.read_response().status, 400);
    let asked = "GET /stats HTTP/1.1\r\nHost: t\r\nOrigin: https://b.example\r\n\r\n";
    assert_eq!(RawClient::connect(admin).request(asked).status, 200);
}

#[test]
fn while_the_server_shuts_down_the_operator_sees_it_there() {
    let (mut server, admin) = server(&["--drain-timeout", "20s"]);
    let (mut one, mut other, room) = server.matched_pair();
    server.send_signal("TERM");
    for user in [&mut one, &mut other] {
        user.expect_message("draining");
    }
    let response = get(admin, "/health");
    assert_eq!((response.status, &response.json()["status"]), (503, &"draining".into()));
    assert_eq!(get(admin, "/stats").json()["status"], "draining");
    expect_room_relays(&mut one, &mut other, &room);
    drop((one, other));
    assert!(server.wait_for_exit().success());
}
