//! Users that do more than call each other in good order: several queues, withdrawn requests, lost
//! patience, connections that end without a Close frame, and users that come back. The server's
//! counters show the effect, and no run counts it as a fault.

use crate::support::load::{
    figure, report_directory, run_load, server_stats, start_server, tester,
};
use crate::support::{Server, read_report};
use serde_json::Value;

/// Users that have one short call and leave.
const CALLS: [&str; 7] =
    ["calls", "--talk-min", "300ms", "--talk-max", "400ms", "--next-percent", "0"];
/// 60 users within 3 s.
const SIXTY: [&str; 2] = ["--phases", "20/s for 3s"];
/// 40 users within 2 s, and 3 s more.
const FORTY: [&str; 2] = ["--phases", "20/s for 2s, 0.1/s for 3s"];

/// Runs `calls` with these flags, asserts that the run passed without faults, and gives the report.
fn calls(name: &str, server: &Server, flags: &[&str]) -> Value {
    let (status, report) = run_load(name, server, &[&CALLS[..], flags].concat());
    assert_eq!(status, 0, "{:#}", report["runs"][0]["reason"]);
    assert_eq!(report["runs"][0]["faults"], serde_json::json!([]));
    report
}

#[test]
fn users_are_spread_over_several_queues() {
    // Those who have just met are matched again after the delay, and wait in their queues until then.
    let server = start_server(&["--rematch-delay", "3s"]);
    let rounds = ["matchmaking", "--users", "8", "--queues", "4", "--rounds", "2"];
    let rules = ["--round-every", "2s", "--late-percent", "100", "--targets", "none"];
    let mut child = tester("queues", &[&rounds[..], &rules].concat())
        .args(["--url", server.url()])
        .spawn()
        .unwrap();
    while server_stats(&server)["matchmaking.queues"] < 4.0 {
        assert!(child.try_wait().unwrap().is_none(), "users never waited in four queues");
    }
    let output = child.wait_with_output().unwrap();
    let report = read_report(&report_directory("queues"));
    std::fs::remove_dir_all(report_directory("queues")).unwrap();
    assert_eq!(output.status.code(), Some(0), "{:#}", report["runs"][0]["faults"]);
    assert_eq!(figure(&report, "matched"), 16.0);
    assert_eq!(server_stats(&server)["matchmaking.matches"], 8.0);
}

#[test]
fn withdrawn_match_requests_are_made_again() {
    let server = start_server(&[]);
    let report = calls("withdraw", &server, &[&SIXTY[..], &["--cancel-percent", "100"]].concat());
    let of = |name: &str| figure(&report, name);
    assert!(of("withdrawn") > 10.0, "{}", of("withdrawn"));
    assert_eq!(of("asked"), of("matched") + of("withdrawn"));
    assert_eq!(of("matched"), 2.0 * server_stats(&server)["matchmaking.matches"]);
    assert_eq!(of("sent"), of("received"));
}

#[test]
fn users_that_lose_patience_leave() {
    let server = start_server(&[]);
    let slow = ["--phases", "1/s for 3s", "--give-up-after", "400ms"];
    let report = calls("impatient", &server, &slow);
    assert_eq!((figure(&report, "gave_up"), figure(&report, "matched")), (3.0, 0.0));
    let stats = server_stats(&server);
    assert_eq!((stats["sessions.opened"], stats["matchmaking.matches"]), (3.0, 0.0));
    assert_eq!(stats["connections.closed.client_close"], 3.0);
}

#[test]
fn users_that_reset_their_connections_are_no_fault() {
    let server = start_server(&[]);
    let report = calls("reset", &server, &[&SIXTY[..], &["--reset-percent", "50"]].concat());
    let vanished = figure(&report, "vanished");
    assert!((5.0..=25.0).contains(&vanished), "{vanished} of about 30 calls");
    assert_eq!(figure(&report, "ended_well"), 60.0 - vanished);
    let stats = server_stats(&server);
    let closed = stats["connections.closed.client_close"];
    assert_eq!(closed, 60.0 - vanished, "{stats:#?}");
}

#[test]
fn users_that_go_silent_are_no_fault() {
    let server = start_server(&["--ping-interval", "200ms", "--silence-limit", "600ms"]);
    let report = calls("silent", &server, &[&FORTY[..], &["--silent-percent", "40"]].concat());
    let vanished = figure(&report, "vanished");
    assert!((2.0..=16.0).contains(&vanished), "{vanished} of about 20 calls");
    assert_eq!(server_stats(&server)["connections.closed.silent"], vanished);
}

/// The partner of a silent user is not told before the server's silence limit, and leaves by itself.
#[test]
fn the_partner_of_a_silent_user_need_not_be_told() {
    let server = start_server(&[]);
    let silent = ["--silent-percent", "50", "--message-timeout", "1s"];
    let report = calls("silent_partner", &server, &[&FORTY[..], &silent].concat());
    assert!(figure(&report, "vanished") > 4.0);
    assert_eq!(server_stats(&server)["connections.closed.silent"], 0.0);
}

#[test]
fn users_that_have_left_come_back() {
    let server = start_server(&[]);
    let phases = ["--phases", "20/s for 1s, 0.1/s for 3s", "--reset-percent", "30"];
    let back = ["--return-percent", "100", "--return-after", "200ms"];
    let report = calls("return", &server, &[phases, back].concat());
    let of = |name: &str| figure(&report, name);
    assert!(of("returned") >= 20.0, "{}", of("returned"));
    assert_eq!(of("connected"), 20.0 + of("returned"));
    assert_eq!(server_stats(&server)["sessions.opened"], of("connected"));
}

/// All of it at once, on two threads, in a plan.
#[test]
fn a_plan_with_a_mix_of_users_loses_no_message() {
    let server = start_server(&["--rematch-delay", "100ms"]);
    let plan = ["plan", "--stages", "20 for 4s", "--stress-ceiling", "0", "--endurance", "0s"];
    let talk = ["--talk-min", "200ms", "--talk-max", "500ms", "--message-rate", "20"];
    let mix = ["--queues", "en 2, de 1", "--cancel-percent", "30", "--reset-percent", "10"];
    let back = ["--return-percent", "100", "--return-after", "100ms", "--threads", "2"];
    let (status, report) = run_load("mix", &server, &[&plan[..], &talk, &mix, &back].concat());
    assert_eq!(status, 0, "{:#}", report["runs"][0]["reason"]);
    let of = |name: &str| figure(&report, name);
    assert!(of("vanished") > 0.0 && of("withdrawn") > 0.0 && of("returned") > 0.0);
    assert_eq!(of("lost"), 0.0);
    assert_eq!(of("sent"), of("received") + of("undelivered") + of("tail"));
}
