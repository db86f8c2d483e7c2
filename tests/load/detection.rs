//! The load tester reports exactly the fault that a misbehaving server has, and no fault for a
//! correct one.

use crate::support::bad_server::{Misbehaviour, start};
use crate::support::load::{report_directory, report_of, tester};
use serde_json::Value;
use std::net::SocketAddr;

/// Runs the tester against `server`; returns its exit status and report.json.
fn load(name: &str, server: SocketAddr, arguments: &[&str]) -> (i32, Value) {
    let name = format!("faults-{name}");
    let output = tester(&name, arguments)
        .args(["--url", &format!("ws://{server}/ws"), "--targets", "none"])
        // A busy machine must not make a run void: the tests judge the server only.
        .args(["--late-percent", "100"])
        .output()
        .unwrap();
    let report = report_of(&name, &output);
    std::fs::remove_dir_all(report_directory(&name)).unwrap();
    (output.status.code().unwrap(), report)
}

/// The kinds of server faults in all runs.
fn server_faults(report: &Value) -> Vec<&str> {
    report["runs"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|run| run["faults"].as_array().unwrap())
        .filter(|fault| fault["convicts"] == true)
        .map(|fault| fault["kind"].as_str().unwrap())
        .collect()
}

const ROOMS: [&str; 13] = [
    "signaling",
    "--rooms",
    "6",
    "--connect-rate",
    "100",
    "--message-rate",
    "20",
    "--candidates",
    "2",
    "--warm-up",
    "0s",
    "--duration",
    "2s",
];

fn expect_fault(name: &str, misbehaviour: Misbehaviour, arguments: &[&str], kind: &str) -> Value {
    let (status, report) = load(name, start(misbehaviour), arguments);
    assert_eq!(server_faults(&report), [kind], "{:#}", report["runs"][0]["faults"]);
    assert_eq!(status, 2);
    assert_eq!(report["outcome"], "failed");
    let advised = report["advice"].as_array().unwrap();
    assert!(!advised.is_empty(), "a fault leads to advice");
    report
}

#[test]
fn reports_no_fault_of_a_correct_server() {
    let (status, report) = load("none", start(Misbehaviour::None), &ROOMS);
    assert_eq!(server_faults(&report), [""; 0]);
    assert_eq!(status, 0, "{:#}", report["runs"][0]["reason"]);
    let figures = &report["runs"][0]["figures"];
    assert_eq!(figures["sent"], figures["received"]);
    assert!(figures["sent"].as_f64().unwrap() > 400.0);
}

#[test]
fn reports_no_fault_when_users_move_to_the_next_partner() {
    let arguments = [
        "calls",
        "--phases",
        "20/s for 3s",
        "--talk-min",
        "200ms",
        "--talk-max",
        "900ms",
        "--message-rate",
        "10",
    ];
    let (status, report) = load("next", start(Misbehaviour::None), &arguments);
    assert_eq!(server_faults(&report), [""; 0], "{:#}", report["runs"][0]["faults"]);
    assert_eq!(status, 0);
    assert!(report["runs"][0]["figures"]["calls_done"].as_f64().unwrap() > 20.0);
}

#[test]
fn reports_lost_messages() {
    expect_fault(
        "drops",
        Misbehaviour::DropsMessages,
        &[&ROOMS[..], &["--message-timeout", "2s"]].concat(),
        "lost",
    );
}

#[test]
fn reports_duplicated_messages() {
    expect_fault("duplicates", Misbehaviour::DuplicatesMessages, &ROOMS, "duplicated");
}

#[test]
fn reports_reordered_messages() {
    expect_fault("reorders", Misbehaviour::ReordersMessages, &ROOMS, "reordered");
}

#[test]
fn reports_corrupted_messages() {
    expect_fault("corrupts", Misbehaviour::CorruptsMessages, &ROOMS, "corrupted");
}

#[test]
fn reports_misrouted_messages() {
    expect_fault("misroutes", Misbehaviour::MisroutesMessages, &ROOMS, "misrouted");
}

#[test]
fn reports_a_user_who_is_matched_twice() {
    let arguments = [&ROOMS[..], &["--message-timeout", "2s"]].concat();
    expect_fault("twice", Misbehaviour::MatchesTwice, &arguments, "double_matched");
}

#[test]
fn reports_users_who_are_never_matched() {
    let arguments = [&ROOMS[..], &["--match-timeout", "1s"]].concat();
    expect_fault("never", Misbehaviour::NeverMatches, &arguments, "never_matched");
}

/// A request made before the end gets its whole time limit, however short the run is.
#[test]
fn reports_users_who_are_never_matched_in_a_run_shorter_than_the_timeout() {
    let arguments = [
        "matchmaking",
        "--users",
        "10",
        "--connect-rate",
        "100",
        "--rounds",
        "1",
        "--round-every",
        "500ms",
        "--match-timeout",
        "3s",
        "--message-timeout",
        "500ms",
    ];
    let report =
        expect_fault("never-short", Misbehaviour::NeverMatches, &arguments, "never_matched");
    assert_eq!(report["runs"][0]["figures"]["unmatched"], 10.0);
    assert_eq!(report["runs"][0]["figures"]["matched_percent"], 0.0);
}

/// An odd number of users leaves one without a partner; the run does not wait for its timeout.
#[test]
fn does_not_wait_for_a_user_who_has_no_possible_partner() {
    let arguments =
        ["calls", "--phases", "3/s for 1s", "--talk-min", "200ms", "--talk-max", "200ms"];
    let arguments = [&arguments[..], &["--next-percent", "0", "--match-timeout", "1m"]].concat();
    let (status, report) = load("odd", start(Misbehaviour::None), &arguments);
    assert_eq!((server_faults(&report), status), (vec![], 0));
    let run = &report["runs"][0];
    assert_eq!((&run["figures"]["asked"], &run["figures"]["matched"]), (&3.0.into(), &2.0.into()));
    assert!(run["seconds"].as_f64().unwrap() < 30.0);
}

#[test]
fn a_stress_level_without_any_match_does_not_hold() {
    let arguments = [
        "stress",
        "--rooms",
        "5",
        "--start",
        "1000",
        "--ceiling",
        "2000",
        "--factor",
        "2",
        "--step",
        "1s",
        "--confirmations",
        "0",
        "--match-timeout",
        "3s",
    ];
    let (status, report) = load("never-stress", start(Misbehaviour::NeverMatches), &arguments);
    assert_eq!(status, 2, "{:#}", report["breaking_point"]);
    assert_eq!(report["runs"][0]["figures"]["messages_per_s"], 0.0);
    assert!(report["breaking_point"]["holds"].is_null());
}

#[test]
fn reports_one_forgotten_user_among_many() {
    let arguments = [
        "calls",
        "--phases",
        "12/s for 5s",
        "--talk-min",
        "500ms",
        "--talk-max",
        "1s",
        "--match-timeout",
        "3s",
    ];
    expect_fault("forgets", Misbehaviour::ForgetsOneRequest, &arguments, "never_matched");
}

#[test]
fn reports_a_match_announced_to_one_member_only() {
    let arguments = [&ROOMS[..], &["--match-timeout", "1s", "--message-timeout", "2s"]].concat();
    expect_fault("one", Misbehaviour::AnnouncesMatchToOneMember, &arguments, "one_sided_match");
}

#[test]
fn reports_two_initiators() {
    expect_fault("initiators", Misbehaviour::MakesBothInitiate, &ROOMS, "bad_initiator");
}

#[test]
fn reports_different_rooms_for_one_match() {
    let arguments = [&ROOMS[..], &["--message-timeout", "2s"]].concat();
    expect_fault("rooms", Misbehaviour::NamesTwoRooms, &arguments, "room_mismatch");
}

#[test]
fn reports_a_message_relayed_before_match_found() {
    expect_fault("early", Misbehaviour::RelaysBeforeMatch, &ROOMS, "before_match");
}

#[test]
fn reports_a_missing_waiting() {
    expect_fault("skips", Misbehaviour::SkipsWaiting, &ROOMS, "bad_message");
}

#[test]
fn reports_a_missing_peer_left() {
    let arguments = [&ROOMS[..], &["--message-timeout", "2s"]].concat();
    expect_fault("missing_peer_left", Misbehaviour::NeverSendsPeerLeft, &arguments, "end_untold");
}

#[test]
fn reports_a_second_peer_left() {
    expect_fault("end-twice", Misbehaviour::SendsPeerLeftTwice, &ROOMS, "bad_message");
}

#[test]
fn reports_a_message_relayed_after_peer_left() {
    expect_fault("after-end", Misbehaviour::RelaysAfterEnd, &ROOMS, "after_end");
}

/// The room lasts longer than the time limit for `peer_left` without `peer_away`.
#[test]
fn reports_no_fault_when_a_room_waits_for_a_lost_member() {
    let arguments = [&ROOMS[..11], &["--duration", "4s", "--message-timeout", "2s"]].concat();
    let (_, report) = load("place", start(Misbehaviour::KeepsLostMember), &arguments);
    assert_eq!(server_faults(&report), [""; 0], "{:#}", report["runs"][0]["faults"]);
    assert_eq!(report["runs"][0]["figures"]["connection_lost"], 1.0);
}

#[test]
fn reports_a_server_that_answers_no_upgrade_as_stalled() {
    let arguments = [&ROOMS[..], &["--connect-timeout", "2s", "--stall-after", "500ms"]].concat();
    expect_fault("greets", Misbehaviour::AnswersNoUpgrade, &arguments, "stalled");
}

/// The run is shorter than `--connect-timeout`.
#[test]
fn unanswered_upgrades_miss_the_connection_target() {
    let arguments = [
        "connections",
        "--users",
        "20",
        "--connect-rate",
        "100",
        "--hold",
        "500ms",
        "--connect-timeout",
        "3s",
        "--message-timeout",
        "500ms",
    ];
    let (status, report) =
        load("second", start(Misbehaviour::AnswersEverySecondUpgrade), &arguments);
    assert_eq!((server_faults(&report), status), (vec![], 2), "{:#}", report["runs"][0]["faults"]);
    let figures = &report["runs"][0]["figures"];
    assert_eq!(
        (&figures["connected_percent"], &figures["connect_timeout"]),
        (&50.0.into(), &10.0.into())
    );
}

#[test]
fn unanswered_http_requests_miss_a_target_in_a_short_run() {
    let arguments = [
        "http",
        "--requests",
        "/slow 5/s for 1s",
        "--message-timeout",
        "200ms",
        "--connect-timeout",
        "2s",
    ];
    let (status, report) = load("silent", start(Misbehaviour::NeverAnswersSlowPath), &arguments);
    assert_eq!((server_faults(&report), status), (vec![], 2), "{:#}", report["runs"][0]["faults"]);
    let figures = &report["runs"][0]["figures"];
    assert_eq!((&figures["http_ok_percent"], &figures["http_timeout"]), (&0.0.into(), &5.0.into()));
}

#[test]
fn reports_truncated_messages() {
    expect_fault("truncates", Misbehaviour::TruncatesMessages, &ROOMS, "corrupted");
}

#[test]
fn reports_a_changed_message_type() {
    expect_fault("retypes", Misbehaviour::ChangesTypes, &ROOMS, "corrupted");
}

/// Part of the server stops; other users are served, so the run as a whole does not stall.
#[test]
fn reports_users_whose_messages_are_ignored() {
    let arguments = [&ROOMS[..], &["--message-timeout", "2s"]].concat();
    let report = expect_fault("freezes", Misbehaviour::FreezesSomeUsers, &arguments, "end_untold");
    let figures = &report["runs"][0]["figures"];
    let of = |name: &str| figures[name].as_f64().unwrap();
    assert!(of("undelivered") > 50.0, "ignored messages do not count as delivered");
    // Half of the twelve users; the end of the run may come before the last ones give up.
    let dropped = of("connection_lost");
    assert!((1.0..=6.0).contains(&dropped), "each is counted once: {dropped}");
}

#[test]
fn slow_relaying_misses_a_target_without_being_a_fault() {
    let arguments = [&ROOMS[..], &["--require", "relay_p99_ms<100"]].concat();
    let (status, report) = load("dawdles", start(Misbehaviour::DelaysMessages), &arguments);
    assert_eq!((server_faults(&report), status), (vec![], 2), "{:#}", report["runs"][0]["faults"]);
    assert_eq!(report["runs"][0]["reason"], "missed: relay_p99_ms < 100");
    let figures = &report["runs"][0]["figures"];
    assert!(
        figures["relay_service_p50_ms"].as_f64().unwrap() >= 200.0,
        "service time is the server's"
    );
}

#[test]
fn reports_a_memory_leak() {
    let arguments = [
        "endurance",
        "--capacity",
        "100",
        "--percent",
        "100",
        "--duration",
        "5s",
        "--warm-up",
        "0s",
        "--interval",
        "200ms",
        "--rooms",
        "4",
        "--talk-min",
        "1s",
        "--talk-max",
        "2s",
        "--connect-rate",
        "100",
    ];
    expect_fault("leaks", Misbehaviour::LeaksMemory, &arguments, "leaked");
    expect_fault("slow-leak", Misbehaviour::LeaksMemorySlowly, &arguments, "leaked");
    // Without growth no leak is reported.
    let (status, report) = load("tight", start(Misbehaviour::None), &arguments);
    assert_eq!((server_faults(&report), status), (vec![], 0));
}

#[test]
fn reports_a_stall() {
    // On a busy machine the tester may not run during part of the stall.
    let arguments = [&ROOMS[..11], &["--duration", "8s", "--stall-after", "500ms"]].concat();
    expect_fault("stalls", Misbehaviour::Stalls, &arguments, "stalled");
}
