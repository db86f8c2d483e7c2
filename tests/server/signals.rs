//! Signals other than those that shut down: SIGHUP reads files again, and none ends the process
//! silently.

use crate::support::{ProtocolClient, Server, expect_room_relays, temporary_file};

/// The password in a new session's TURN credentials, and the one that its TURN server computes.
fn passwords(secret: &[u8], server: &Server) -> (String, String) {
    use switchboard::ice::{CredentialLifetimes, IceServers, IceUrl, TimeLimitedTurn, TurnSecret};
    let client = server.client();
    let entry = &client.session()["ice_servers"][0];
    let name = entry["username"].as_str().unwrap();
    let (expiry_s, user) = name.split_once(':').unwrap();
    let day = std::time::Duration::from_secs(86_400);
    let turn = TimeLimitedTurn::new(
        vec![IceUrl::turn("turn:a.example").unwrap()],
        TurnSecret::from_file_contents(secret).unwrap(),
        CredentialLifetimes { session: day, call: day },
    );
    let servers = IceServers::new(&[], Some(turn.unwrap()));
    let json = servers.session_json(user, expiry_s.parse::<u64>().unwrap() - day.as_secs());
    let expected: serde_json::Value = serde_json::from_str(&json).unwrap();
    let text = |value: &serde_json::Value| value["credential"].as_str().unwrap().to_owned();
    (text(entry), text(&expected[0]))
}

#[test]
fn sighup_reads_the_turn_secret_again_and_keeps_the_old_one_if_the_file_is_bad() {
    let file = temporary_file("reloaded-secret", b"first");
    let path = format!("--turn-secret-file={}", file.path());
    let mut server = Server::start(&["--turn-url=turn:a.example", &path, "--shards", "2"]);
    let (mut one, mut other, room) = server.matched_pair();
    let (sent, expected) = passwords(b"first", &server);
    assert_eq!(sent, expected);
    file.replace(b"");
    server.send_signal("HUP");
    let line = server.wait_for_log_line("the settings in force stay");
    assert!(line.contains("ERROR") && line.contains(file.path()), "{line}");
    let (sent, expected) = passwords(b"first", &server);
    assert_eq!(sent, expected, "the old secret is in force");
    file.replace(b"second");
    server.send_signal("HUP");
    let line = server.wait_for_log_line("were read again");
    assert!(line.contains("--turn-secret-file"), "{line}");
    // A shard takes the new settings in its next iteration, before it reads the request.
    for _ in 0..8 {
        let (sent, expected) = passwords(b"second", &server);
        assert_eq!(sent, expected);
    }
    let response = server.get("/metrics");
    let metrics = response.text();
    assert!(metrics.contains("switchboard_reloads_total 1\n"), "{metrics}");
    assert!(metrics.contains("switchboard_reload_failures_total 1\n"), "{metrics}");
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn no_signal_but_int_and_term_ends_the_process() {
    let mut server = Server::start(&[]);
    let (mut one, mut other, room) = server.matched_pair();
    server.send_signal("HUP");
    let line = server.wait_for_log_line("no setting comes from a file");
    assert!(line.contains("WARN SIGHUP: nothing was read again"), "{line}");
    for name in ["QUIT", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO"] {
        server.send_signal(name);
        server.wait_for_log_line(&format!("SIG{name}"));
    }
    let log = server.log();
    assert!(!log.iter().any(|line| line.contains("were read again")), "{log:#?}");
    assert!(server.get("/metrics").text().contains("switchboard_reloads_total 0\n"));
    expect_room_relays(&mut one, &mut other, &room);
    server.client().expect_no_message();
}
