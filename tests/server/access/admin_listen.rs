//! `--admin-listen`: `/stats` and `/metrics` are served on a separate port, and only there.

use crate::support::{
    ProtocolClient, RawClient, Server, descriptor_table_modes, expect_room_relays, get, head,
    stat_number, upgrade_request, wait_until,
};
use std::net::SocketAddr;
use switchboard::limits::{ADMIN_CONNECTIONS, SURPLUS_CONNECTIONS};

/// A server with two shards, and its address for administration.
fn start_with_two_shards(more: &[&str]) -> (Server, SocketAddr) {
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
fn serves_stats_and_metrics_only_on_the_admin_port_and_health_on_both() {
    let (server, admin) = start_with_two_shards(&[]);
    for path in ["/stats", "/metrics"] {
        assert_eq!(get(admin, path).status, 200, "{path}");
        assert_eq!(head(admin, path).status, 200, "{path}");
        assert_eq!(get(server.address(), path).status, 404, "{path}");
        assert_eq!(head(server.address(), path).status, 404, "{path}");
    }
    for address in [admin, server.address()] {
        assert_eq!(get(address, "/health").json()["status"], "ok");
    }
    assert_eq!(get(server.address(), "/").status, 200, "the page stays on the public port");
    for path in ["/", "/client.js", "/ws", "/echo", "/stats/", "/nothing"] {
        assert_eq!(get(admin, path).status, 404, "{path}");
    }
    let (mut one, mut other, room) = server.matched_pair();
    for path in ["/ws", "/", "/echo"] {
        let upgrade = String::from_utf8(upgrade_request()).unwrap();
        let mut raw = RawClient::connect(admin);
        assert_eq!(raw.request(&upgrade.replacen("/ws", path, 1)).status, 404, "{path}");
        // The connection takes the next request.
        assert_eq!(raw.request("GET /health HTTP/1.1\r\nHost: t\r\n\r\n").status, 200);
    }
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn limits_admin_connections_separately_from_user_connections() {
    let (server, admin) =
        start_with_two_shards(&["--max-connections", "3", "--max-connections-per-address", "2"]);
    let stats = |raw: &mut RawClient| raw.request("GET /stats HTTP/1.1\r\nHost: t\r\n\r\n").json();
    let rejected = |raw: &mut RawClient, reason: &str| {
        stat_number(&stats(raw), &format!("/http/rejected/{reason}"))
    };
    let health =
        |raw: &mut RawClient| raw.request("GET /health HTTP/1.1\r\nHost: t\r\n\r\n").status;
    // All but one.
    let mut held: Vec<RawClient> =
        (1..ADMIN_CONNECTIONS).map(|_| RawClient::connect(admin)).collect();
    assert!(held.iter_mut().all(|raw| health(raw) == 200));
    let (mut one, mut other, room) = server.matched_pair();
    // On a held connection: a new one would take the last slot until the server sees its end.
    let raw = &mut held[0];
    assert_eq!(rejected(raw, "connection_limit") + rejected(raw, "address_limit"), 0);
    let mut last = RawClient::connect(admin);
    assert_eq!(health(&mut last), 200);
    for _ in 0..5 {
        let mut raw = RawClient::connect(admin);
        let response = raw.read_response();
        assert_eq!(response.status, 503);
        assert_eq!(response.text(), "too many connections for administration\n");
        raw.expect_end();
    }
    expect_room_relays(&mut one, &mut other, &room);
    drop(last);
    wait_until("a slot is free again", || {
        let mut raw = RawClient::connect(admin);
        raw.send(b"GET /health HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        if raw.peek_status() == 200 { Ok(()) } else { Err("none is".to_owned()) }
    });
    assert!(rejected(&mut held[0], "admin_limit") >= 5);
    // A full public port does not lock the operator out.
    let surplus: Vec<RawClient> =
        (0..SURPLUS_CONNECTIONS + 8).map(|_| server.raw_connection()).collect();
    wait_until("the public port refuses connections", || {
        let raw = &mut held[0];
        match rejected(raw, "connection_limit") + rejected(raw, "address_limit") {
            0 => Err(stats(raw)["connections"].to_string()),
            _ => Ok(()),
        }
    });
    expect_room_relays(&mut one, &mut other, &room);
    drop((one, other, held, surplus));
    wait_until("all other connections are closed", || {
        let response = get(admin, "/stats");
        match response.status {
            200 => match stat_number(&response.json(), "/connections/active") {
                1 => Ok(()),
                active => Err(format!("{active} are active")),
            },
            status => Err(format!("no slot is free: {status}")),
        }
    });
}

#[test]
fn admin_connections_take_no_user_slots_whatever_the_descriptor_tables() {
    for tables in descriptor_table_modes() {
        let flags = ["--fd-tables", tables, "--shards", "1", "--max-connections", "10"];
        let (server, admin) = start(&flags);
        let held: Vec<RawClient> = (0..50).map(|_| RawClient::connect(admin)).collect();
        let pairs: Vec<_> = (0..5).map(|_| server.matched_pair()).collect();
        assert_eq!(server.stat_at(admin, "/rooms/active"), pairs.len() as i64, "{tables}");
        drop((held, pairs));
    }
}

#[test]
fn rejects_proxy_headers_and_ignores_origin_on_the_admin_port() {
    let flags = ["--trusted-proxy", "127.0.0.1", "--allow-origin", "https://a.example"];
    let (_server, admin) = start_with_two_shards(&flags);
    let mut raw = RawClient::connect(admin);
    raw.send(b"PROXY UNKNOWN\r\nGET /stats HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(raw.read_response().status, 400);
    let request = "GET /stats HTTP/1.1\r\nHost: t\r\nOrigin: https://b.example\r\n\r\n";
    assert_eq!(RawClient::connect(admin).request(request).status, 200);
}

#[test]
fn reports_draining_on_the_admin_port_during_shutdown() {
    let (mut server, admin) = start_with_two_shards(&["--drain-timeout", "20s"]);
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
