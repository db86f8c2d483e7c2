//! Startup: addresses, settings, and the refusal to start, with one line on standard error and a
//! status that is not zero.

use crate::support::{
    Client, ProtocolClient, RawClient, Server, descriptor_table_modes, expect_room_relays,
    stat_number,
};
use std::net::{Ipv6Addr, TcpListener};

/// The server does not start with these flags: it exits with `status`, after one line that contains
/// `words`.
fn expect_refusal(flags: &[&str], status: i32, words: &[&str]) {
    let refusal = Server::run_to_exit(flags);
    assert_eq!(refusal.status.code(), Some(status), "{flags:?}: {}", refusal.stderr);
    assert_eq!(refusal.stdout, "", "{flags:?}");
    assert_eq!(refusal.stderr.lines().count(), 1, "{flags:?}: {}", refusal.stderr);
    assert!(refusal.stderr.starts_with("switchboard: "), "{}", refusal.stderr);
    for word in words {
        assert!(refusal.stderr.contains(word), "no {word} in {}", refusal.stderr);
    }
}

#[test]
fn refuses_a_port_that_another_process_listens_on() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    expect_refusal(&["--listen", &address], 1, &[&address, "another process listens on that port"]);
    // Also if one of several addresses is in use, and if the other process allows sharing.
    expect_refusal(&["--listen", "127.0.0.1:0", "--listen", &address], 1, &[&address]);
    socket2::SockRef::from(&holder).set_reuse_port(true).unwrap();
    expect_refusal(&["--listen", &address], 1, &[&address]);
}

#[test]
fn refuses_a_port_of_another_switchboard_which_loses_no_connection() {
    let server = Server::start(&["--shards", "2"]);
    let address = server.address().to_string();
    for shards in ["1", "2"] {
        expect_refusal(
            &["--listen", &address, "--shards", shards],
            1,
            &[&address, "another process"],
        );
    }
    // The refused server has taken none of the connections.
    for _ in 0..20 {
        server.client().expect_no_message();
    }
}

#[test]
fn listens_on_a_port_right_after_another_server_released_it() {
    // No other test listens on this address, so none can take the port meanwhile.
    let server = Server::start(&["--listen", "127.0.0.77:0"]);
    let address = server.address().to_string();
    // A connection that the server ends stays in TIME-WAIT on its side.
    for _ in 0..3 {
        let mut raw = server.raw_connection();
        raw.send(b"nonsense\r\n");
        assert_eq!(raw.read_response().status, 400);
        raw.expect_end();
    }
    drop(server);
    let server = Server::start(&["--listen", &address]);
    assert_eq!(server.address().to_string(), address);
    server.client().expect_no_message();
}

#[test]
fn refuses_an_address_that_this_machine_does_not_have() {
    expect_refusal(&["--listen", "192.0.2.1:0"], 1, &["192.0.2.1:0", "does not have that address"]);
}

#[test]
fn warns_of_a_limit_of_one_address_that_refuses_a_single_browser() {
    let mut server = Server::start(&["--max-new-connections-per-address", "8"]);
    server.wait_for_log_line("in two tabs");
    assert!(!server.log().iter().any(|line| line.contains("WARN")), "{:?}", server.log());
    let mut server = Server::start(&["--max-connections-per-address", "7"]);
    let line = server.wait_for_log_line("is below 8");
    assert!(line.contains("--max-connections-per-address") && line.contains("limit=7"), "{line}");
}

#[test]
fn refuses_relay_only_without_a_turn_server() {
    expect_refusal(&["--relay-only"], 2, &["--relay-only needs a TURN server", "--turn-url"]);
}

#[test]
fn refuses_invalid_addresses() {
    for wrong in ["example.org:8080", "8080", "127.0.0.1", "127.0.0.1:65536", "::1:8080", ""] {
        expect_refusal(&["--listen", wrong], 2, &["--listen"]);
    }
}

#[test]
fn refuses_invalid_flags() {
    expect_refusal(&["--no-such-flag"], 2, &["--no-such-flag"]);
    expect_refusal(&["argument"], 2, &["argument"]);
    expect_refusal(&["--shards"], 2, &["--shards"]);
    expect_refusal(&["--shards", "many"], 2, &["--shards", "many"]);
    expect_refusal(&["--trusted-proxy", "proxy.example"], 2, &["--trusted-proxy", "10.0.0.0/8"]);
    expect_refusal(
        &["--trusted-proxy", "10.1.2.3/8"],
        2,
        &["--trusted-proxy", "within 10.0.0.0/8"],
    );
    expect_refusal(
        &["--allow-origin", "example.org"],
        2,
        &["--allow-origin", "no scheme", "https://"],
    );
    expect_refusal(&["--allow-origin", "https://a.example,*"], 2, &["--allow-origin", "'*'"]);
    expect_refusal(&["--shards", "0"], 2, &["--shards", "1 to 1024"]);
    expect_refusal(&["--max-connections", "-1"], 2, &["-1"]);
    expect_refusal(&["--ping-interval", "5"], 2, &["--ping-interval"]);
    expect_refusal(&["--ping-interval", "soon"], 2, &["soon"]);
    expect_refusal(&["--stats-queue", "a b"], 2, &["a b"]);
    expect_refusal(&["--log-level", "loud"], 2, &["loud"]);
}

#[test]
fn refuses_contradictory_settings() {
    expect_refusal(
        &["--ping-interval", "60s", "--silence-limit", "60s"],
        2,
        &["--silence-limit", "--ping-interval"],
    );
    expect_refusal(
        &["--max-unsent-bytes", "65536"],
        2,
        &["--max-unsent-bytes", "--max-message-bytes"],
    );
    expect_refusal(
        &["--max-connections", "5", "--max-connections-per-address", "6"],
        2,
        &["--max-connections-per-address 6", "5"],
    );
    expect_refusal(&["--resume-window", "30s"], 2, &["--resume-window"]);
    expect_refusal(&["--max-connections", "67108864"], 2, &["file descriptors", "prlimit"]);
    expect_refusal(&["--listen", "127.0.0.1:7", "--listen", "127.0.0.1:7"], 2, &["twice"]);
}

#[test]
fn holds_no_port_after_a_refused_start() {
    // The first address is free and the second is in use: neither is held afterwards.
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let free = TcpListener::bind("127.0.0.78:0").unwrap().local_addr().unwrap().to_string();
    expect_refusal(&["--listen", &free, "--listen", &taken, "--shards", "2"], 1, &[&taken]);
    assert!(TcpListener::bind(&free).is_ok(), "the port is free again");
}

#[test]
fn matches_users_across_all_addresses() {
    let mut flags = vec!["--listen", "127.0.0.1:0,127.0.0.2:0", "--shards", "2"];
    let ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if ipv6 {
        flags.extend(["--listen", "[::1]:0"]);
    }
    let server = Server::start(&flags);
    let addresses = server.addresses();
    assert_eq!(addresses.len(), if ipv6 { 3 } else { 2 });
    let mut users: Vec<Client> = addresses.iter().map(|at| Client::connect(*at)).collect();
    users.push(Client::connect(addresses[0]));
    users.truncate(users.len() / 2 * 2);
    for user in &mut users {
        user.join_queue("en");
    }
    for user in &mut users {
        user.expect_match();
    }
}

#[test]
fn an_ipv6_address_accepts_ipv6_only() {
    // Without IPv6 the address is refused, and there is nothing else to test.
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return expect_refusal(&["--listen", "[::1]:0"], 1, &["[::1]:0"]);
    }
    let server = Server::start(&["--listen", "[::]:0"]);
    let port = server.address().port();
    Client::connect((Ipv6Addr::LOCALHOST, port).into()).expect_no_message();
    // Therefore another server can listen on the same port on IPv4.
    let v4 = format!("0.0.0.0:{port}");
    let other = Server::start(&["--listen", &v4]);
    Client::connect(([127, 0, 0, 1], port).into()).expect_no_message();
    assert_eq!(other.stat_at(([127, 0, 0, 1], port).into(), "/sessions/opened"), 1);
}

#[test]
fn logs_json_when_asked() {
    let server = Server::start(&["--log-format", "json", "--log-level", "info"]);
    for line in server.log() {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], "INFO");
        assert!(line["message"].is_string() && line["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn reads_settings_from_the_environment_and_prefers_flags() {
    let prepare =
        "export SWITCHBOARD_MAX_CONNECTIONS=17 SWITCHBOARD_SHARDS=3 SWITCHBOARD_LISTEN=nonsense";
    let server = Server::start_in_shell(prepare, &[]);
    assert_eq!(server.stat("/connections/limit"), 17);
    assert_eq!(server.stats()["shards"].as_array().map(Vec::len), Some(1));
}

#[test]
fn steers_new_connections_to_the_shard_of_their_packets_cpu() {
    use switchboard::sys::affinity::AllowedCpus;
    let cpus = AllowedCpus::of_current_thread();
    let shards = cpus.numbers().len().to_string();
    for tables in descriptor_table_modes() {
        let flags = ["--steer", "cpu", "--shards", &shards, "--fd-tables", tables];
        let server = Server::start(&flags);
        let mut held = Vec::new();
        for shard in 0..cpus.numbers().len() {
            let (cpus, address) = (cpus.clone(), server.address());
            // On loopback a packet arrives on the CPU that sends it.
            let connect = move || {
                cpus.pin_current_thread(shard).unwrap();
                (0..5).map(|_| RawClient::open_session(address)).collect::<Vec<_>>()
            };
            held.push(std::thread::spawn(connect).join().unwrap());
        }
        let stats = server.stats();
        for shard in 0..cpus.numbers().len() {
            assert_eq!(stat_number(&stats, &format!("/shards/{shard}/sessions")), 5, "{stats:#}");
        }
    }
}

#[test]
fn serves_with_busy_polling() {
    if switchboard::sys::steering::busy_poll(&mio::Poll::new().unwrap(), 1).is_err() {
        let refusal = Server::run_to_exit(&["--busy-poll", "50", "--listen", "127.0.0.1:0"]);
        assert!(refusal.stderr.contains("cannot apply --busy-poll: "), "{}", refusal.stderr);
        return;
    }
    let server = Server::start(&["--busy-poll", "50"]);
    let (mut one, mut other, room) = server.matched_pair();
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn prints_version_and_help_to_standard_output() {
    let version = Server::run_to_exit(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(version.stdout, format!("switchboard {}\n", env!("CARGO_PKG_VERSION")));
    let help = Server::run_to_exit(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for flag in ["--listen", "--drain-timeout", "SWITCHBOARD_SHARDS"] {
        assert!(help.stdout.contains(flag), "{flag}");
    }
}

#[test]
fn refuses_an_admin_address_that_is_in_use_or_public() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    expect_refusal(
        &["--admin-listen", &taken],
        1,
        &[&taken, "another process listens on that port"],
    );
    expect_refusal(
        &["--admin-listen", &taken, "--listen", &taken],
        2,
        &[&taken, "give it another port"],
    );
    expect_refusal(&["--admin-listen", &format!("{taken},{taken}")], 2, &[&taken, "twice"]);
    expect_refusal(&["--admin-listen", "localhost"], 2, &["--admin-listen", "like 127.0.0.1:8080"]);
}

/// For containers without a shell.
#[test]
fn the_health_check_of_a_second_process_tells_whether_the_server_serves() {
    let mut server = Server::start(&["--drain-timeout", "20s"]);
    let address = server.address().to_string();
    let check = || Server::run_to_exit(&["--health-check", "--listen", &address]);
    let healthy = check();
    assert_eq!((healthy.status.code(), healthy.stderr.as_str()), (Some(0), ""));
    let _pair = server.matched_pair();
    server.send_signal("TERM");
    server.wait_for_log_line("shutting down");
    let draining = check();
    assert_eq!(draining.status.code(), Some(1));
    assert_eq!(draining.stderr, "switchboard: the server answered 503\n");
    server.kill();
    let ended = check();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.starts_with("switchboard: no answer: "), "{}", ended.stderr);
}
