//! The start of the process: what it says, and how it refuses to start: with one clear line on
//! standard error and a status that is not zero.

use crate::support::{Client, ProtocolClient, RawClient, Server, expect_room_relays, stat_number};
use std::net::{Ipv6Addr, TcpListener};

/// The server does not start with these flags, and says why in one line with these words.
fn refuses(flags: &[&str], status: i32, words: &[&str]) {
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
fn a_port_that_another_process_listens_on_is_refused() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    refuses(&["--listen", &address], 1, &[&address, "another process holds that port"]);
    // Also where only one of several addresses is taken, and when the holder would share.
    refuses(&["--listen", "127.0.0.1:0", "--listen", &address], 1, &[&address]);
    socket2::SockRef::from(&holder).set_reuse_port(true).unwrap();
    refuses(&["--listen", &address], 1, &[&address]);
}

#[test]
fn a_port_that_another_switchboard_listens_on_is_refused_and_that_one_serves_on() {
    let server = Server::start(&["--shards", "2"]);
    let address = server.address().to_string();
    for shards in ["1", "2"] {
        refuses(&["--listen", &address, "--shards", shards], 1, &[&address, "another process"]);
    }
    // None of the traffic was lost to it.
    for _ in 0..20 {
        server.client().expect_no_message();
    }
}

#[test]
fn a_port_that_was_just_given_up_can_be_listened_on_again() {
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
fn an_address_that_this_machine_does_not_have_is_refused() {
    refuses(&["--listen", "192.0.2.1:0"], 1, &["192.0.2.1:0", "does not have that address"]);
}

#[test]
fn what_is_no_address_is_refused() {
    for wrong in ["example.org:8080", "8080", "127.0.0.1", "127.0.0.1:65536", "::1:8080", ""] {
        refuses(&["--listen", wrong], 2, &["--listen"]);
    }
}

#[test]
fn bad_flags_are_refused() {
    refuses(&["--no-such-flag"], 2, &["--no-such-flag"]);
    refuses(&["argument"], 2, &["argument"]);
    refuses(&["--shards"], 2, &["--shards"]);
    refuses(&["--shards", "many"], 2, &["--shards", "many"]);
    refuses(&["--trusted-proxy", "proxy.example"], 2, &["--trusted-proxy", "10.0.0.0/8"]);
    refuses(&["--trusted-proxy", "10.1.2.3/8"], 2, &["--trusted-proxy", "within 10.0.0.0/8"]);
    refuses(&["--allow-origin", "example.org"], 2, &["--allow-origin", "no scheme", "https://"]);
    refuses(&["--allow-origin", "https://a.example,*"], 2, &["--allow-origin", "'*'"]);
    refuses(&["--shards", "0"], 2, &["--shards", "1 to 1024"]);
    refuses(&["--max-connections", "-1"], 2, &["-1"]);
    refuses(&["--ping-interval", "5"], 2, &["--ping-interval"]);
    refuses(&["--ping-interval", "soon"], 2, &["soon"]);
    refuses(&["--stats-queue", "a b"], 2, &["a b"]);
    refuses(&["--log-level", "loud"], 2, &["loud"]);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    refuses(
        &["--ping-interval", "60s", "--silence-limit", "60s"],
        2,
        &["--silence-limit", "--ping-interval"],
    );
    refuses(&["--max-unsent-bytes", "65536"], 2, &["--max-unsent-bytes", "--max-message-bytes"]);
    refuses(
        &["--max-connections", "5", "--max-connections-per-address", "6"],
        2,
        &["--max-connections-per-address 6", "5"],
    );
    refuses(&["--resume-window", "30s"], 2, &["--resume-window"]);
    refuses(&["--max-connections", "67108864"], 2, &["file descriptors", "prlimit"]);
    refuses(&["--listen", "127.0.0.1:7", "--listen", "127.0.0.1:7"], 2, &["twice"]);
}

#[test]
fn nothing_has_been_started_when_the_start_is_refused() {
    // The first address is free and the second is taken: neither is held afterwards.
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let free = TcpListener::bind("127.0.0.78:0").unwrap().local_addr().unwrap().to_string();
    refuses(&["--listen", &free, "--listen", &taken, "--shards", "2"], 1, &[&taken]);
    assert!(TcpListener::bind(&free).is_ok(), "nothing stays behind");
}

#[test]
fn several_addresses_are_served_as_one() {
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
fn an_ipv6_address_takes_ipv6_only() {
    // Without IPv6 there is nothing to be shown here.
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return refuses(&["--listen", "[::1]:0"], 1, &["[::1]:0"]);
    }
    let server = Server::start(&["--listen", "[::]:0"]);
    let port = server.address().port();
    Client::connect((Ipv6Addr::LOCALHOST, port).into()).expect_no_message();
    // So another server may have the same port on IPv4.
    let v4 = format!("0.0.0.0:{port}");
    let other = Server::start(&["--listen", &v4]);
    Client::connect(([127, 0, 0, 1], port).into()).expect_no_message();
    assert_eq!(other.stat_at(([127, 0, 0, 1], port).into(), "/sessions/opened"), 1);
}

#[test]
fn the_log_can_be_json() {
    let server = Server::start(&["--log-format", "json", "--log-level", "info"]);
    for line in server.log() {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], "INFO");
        assert!(line["message"].is_string() && line["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn settings_come_from_the_environment_too_and_flags_win() {
    let prepare =
        "export SWITCHBOARD_MAX_CONNECTIONS=17 SWITCHBOARD_SHARDS=3 SWITCHBOARD_LISTEN=nonsense";
    let server = Server::start_in_shell(prepare, &[]);
    assert_eq!(server.stat("/connections/limit"), 17);
    assert_eq!(server.stats()["shards"].as_array().map(Vec::len), Some(1));
}

#[test]
fn newcomers_come_to_the_shard_of_their_packets_cpu() {
    use switchboard::sys::affinity::AllowedCpus;
    let cpus = AllowedCpus::of_current_thread();
    let shards = cpus.numbers().len().to_string();
    for tables in crate::support::descriptor_table_modes() {
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
fn a_server_that_polls_busily_serves() {
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
fn version_and_help_go_to_standard_output() {
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
fn an_address_for_administration_is_one_of_its_own() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    refuses(&["--admin-listen", &taken], 1, &[&taken, "another process holds that port"]);
    refuses(&["--admin-listen", &taken, "--listen", &taken], 2, &[&taken, "port of its own"]);
    refuses(&["--admin-listen", &format!("{taken},{taken}")], 2, &[&taken, "twice"]);
    refuses(&["--admin-listen", "localhost"], 2, &["--admin-listen", "like 127.0.0.1:8080"]);
}
