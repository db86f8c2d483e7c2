//! The load tester convicts a bad server of exactly what it does, and a good one of nothing.

use crate::support::bad_server::{Vice, start};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// Runs the tester against `server`; gives its exit status and report.json.
fn load(name: &str, server: SocketAddr, arguments: &[&str]) -> (i32, Value) {
    let directory: PathBuf =
        [env!("CARGO_TARGET_TMPDIR"), &format!("faults-{name}-{}", std::process::id())]
            .iter()
            .collect();
    let output = Command::new(env!("CARGO_BIN_EXE_switchboard-load"))
        .args(arguments)
        .args(["--quiet", "--url", &format!("ws://{server}/ws"), "--targets", "none"])
        // A busy machine must not make a test void: only what the server does is judged.
        .args(["--late-percent", "100", "--report"])
        .arg(&directory)
        .output()
        .unwrap();
    let report = std::fs::read(directory.join("report.json")).unwrap_or_else(|error| {
        panic!("{error}; the tester said: {}", String::from_utf8_lossy(&output.stderr))
    });
    std::fs::remove_dir_all(&directory).unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&report).unwrap())
}

/// The faults that convict, of all runs that are no trials.
fn convictions(report: &Value) -> Vec<&str> {
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

fn convicted_of(name: &str, vice: Vice, arguments: &[&str], kind: &str) -> Value {
    let (status, report) = load(name, start(vice), arguments);
    assert_eq!(convictions(&report), [kind], "{:#}", report["runs"][0]["faults"]);
    assert_eq!(status, 2);
    assert_eq!(report["outcome"], "failed");
    let advised = report["advice"].as_array().unwrap();
    assert!(!advised.is_empty(), "a conviction leads to a recommendation");
    report
}

#[test]
fn a_server_without_fault_is_convicted_of_nothing() {
    let (status, report) = load("none", start(Vice::None), &ROOMS);
    assert_eq!(convictions(&report), [""; 0]);
    assert_eq!(status, 0, "{:#}", report["runs"][0]["reason"]);
    let figures = &report["runs"][0]["figures"];
    assert_eq!(figures["sent"], figures["received"]);
    assert!(figures["sent"].as_f64().unwrap() > 400.0);
}

#[test]
fn users_who_go_on_to_the_next_are_no_fault() {
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
    let (status, report) = load("next", start(Vice::None), &arguments);
    assert_eq!(convictions(&report), [""; 0], "{:#}", report["runs"][0]["faults"]);
    assert_eq!(status, 0);
    assert!(report["runs"][0]["figures"]["calls_done"].as_f64().unwrap() > 20.0);
}

#[test]
fn dropping_is_found() {
    convicted_of(
        "drops",
        Vice::Drops,
        &[&ROOMS[..], &["--message-timeout", "2s"]].concat(),
        "lost",
    );
}

#[test]
fn duplicating_is_found() {
    convicted_of("duplicates", Vice::Duplicates, &ROOMS, "duplicated");
}

#[test]
fn reordering_is_found() {
    convicted_of("reorders", Vice::Reorders, &ROOMS, "reordered");
}

#[test]
fn corrupting_is_found() {
    convicted_of("corrupts", Vice::Corrupts, &ROOMS, "corrupted");
}

#[test]
fn misrouting_is_found() {
    convicted_of("misroutes", Vice::Misroutes, &ROOMS, "misrouted");
}

#[test]
fn matching_a_user_twice_is_found() {
    let arguments = [&ROOMS[..], &["--message-timeout", "2s"]].concat();
    convicted_of("twice", Vice::MatchesTwice, &arguments, "double_matched");
}

#[test]
fn never_matching_is_found() {
    let arguments = [&ROOMS[..], &["--match-timeout", "1s"]].concat();
    convicted_of("never", Vice::NeverMatches, &arguments, "never_matched");
}

/// The law: what was asked before the end has its time, however short the run is.
#[test]
fn never_matching_is_found_in_a_run_that_is_shorter_than_the_wait() {
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
    let report = convicted_of("never-short", Vice::NeverMatches, &arguments, "never_matched");
    assert_eq!(report["runs"][0]["figures"]["unmatched"], 10.0);
    assert_eq!(report["runs"][0]["figures"]["matched_percent"], 0.0);
}

/// And not after the run either, however long the time to wait is.
#[test]
fn an_odd_user_is_not_waited_for_when_nobody_is_left_to_be_met() {
    let arguments =
        ["calls", "--phases", "3/s for 1s", "--talk-min", "200ms", "--talk-max", "200ms"];
    let arguments = [&arguments[..], &["--next-percent", "0", "--match-timeout", "1m"]].concat();
    let (status, report) = load("odd", start(Vice::None), &arguments);
    assert_eq!((convictions(&report), status), (vec![], 0));
    let run = &report["runs"][0];
    assert_eq!((&run["figures"]["asked"], &run["figures"]["matched"]), (&3.0.into(), &2.0.into()));
    assert!(run["seconds"].as_f64().unwrap() < 30.0);
}

#[test]
fn a_trial_in_which_nobody_could_talk_does_not_hold() {
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
    let (status, report) = load("never-stress", start(Vice::NeverMatches), &arguments);
    assert_eq!(status, 2, "{:#}", report["breaking_point"]);
    assert_eq!(report["runs"][0]["figures"]["messages_per_s"], 0.0);
    assert!(report["breaking_point"]["holds"].is_null());
}

#[test]
fn forgetting_one_user_among_many_is_found() {
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
    convicted_of("forgets", Vice::ForgetsOne, &arguments, "never_matched");
}

#[test]
fn telling_only_one_of_a_match_is_found() {
    let arguments = [&ROOMS[..], &["--match-timeout", "1s", "--message-timeout", "2s"]].concat();
    convicted_of("one", Vice::TellsOne, &arguments, "one_sided_match");
}

#[test]
fn two_initiators_are_found() {
    convicted_of("initiators", Vice::MakesBothInitiate, &ROOMS, "bad_initiator");
}

#[test]
fn two_rooms_for_one_match_are_found() {
    let arguments = [&ROOMS[..], &["--message-timeout", "2s"]].concat();
    convicted_of("rooms", Vice::NamesTwoRooms, &arguments, "room_mismatch");
}

#[test]
fn relaying_before_the_match_is_found() {
    convicted_of("early", Vice::RelaysEarly, &ROOMS, "before_match");
}

#[test]
fn not_answering_a_wish_is_found() {
    convicted_of("skips", Vice::SkipsWaiting, &ROOMS, "bad_message");
}

#[test]
fn never_telling_the_end_of_a_room_is_found() {
    let arguments = [&ROOMS[..], &["--message-timeout", "2s"]].concat();
    convicted_of("untold", Vice::NeverTellsTheEnd, &arguments, "end_untold");
}

#[test]
fn telling_the_end_of_a_room_twice_is_found() {
    convicted_of("end-twice", Vice::TellsTheEndTwice, &ROOMS, "bad_message");
}

#[test]
fn relaying_after_the_end_is_found() {
    convicted_of("after-end", Vice::RelaysAfterTheEnd, &ROOMS, "after_end");
}

/// Also beyond the time in which the end of a room has to be told otherwise.
#[test]
fn keeping_a_place_for_one_who_was_cut_off_is_no_fault() {
    let arguments = [&ROOMS[..11], &["--duration", "4s", "--message-timeout", "2s"]].concat();
    let (_, report) = load("place", start(Vice::KeepsAPlace), &arguments);
    assert_eq!(convictions(&report), [""; 0], "{:#}", report["runs"][0]["faults"]);
    assert_eq!(report["runs"][0]["figures"]["connection_lost"], 1.0);
}

/// It is a server, and what it does is a fault.
#[test]
fn greeting_nobody_is_not_taken_for_the_want_of_a_server() {
    let arguments = [&ROOMS[..], &["--connect-timeout", "2s", "--stall-after", "500ms"]].concat();
    convicted_of("greets", Vice::GreetsNobody, &arguments, "stalled");
}

/// A run shorter than `--connect-timeout` sees it as well as a longer one.
#[test]
fn leaving_every_second_upgrade_unanswered_misses_a_target() {
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
    let (status, report) = load("second", start(Vice::GreetsEverySecond), &arguments);
    assert_eq!((convictions(&report), status), (vec![], 2), "{:#}", report["runs"][0]["faults"]);
    let figures = &report["runs"][0]["figures"];
    assert_eq!(
        (&figures["connected_percent"], &figures["connect_timeout"]),
        (&50.0.into(), &10.0.into())
    );
}

#[test]
fn answering_no_request_misses_a_target_however_short_the_run_is() {
    let arguments = [
        "http",
        "--requests",
        "/slow 5/s for 1s",
        "--message-timeout",
        "200ms",
        "--connect-timeout",
        "2s",
    ];
    let (status, report) = load("silent", start(Vice::NeverAnswersSlow), &arguments);
    assert_eq!((convictions(&report), status), (vec![], 2), "{:#}", report["runs"][0]["faults"]);
    let figures = &report["runs"][0]["figures"];
    assert_eq!((&figures["http_ok_percent"], &figures["http_timeout"]), (&0.0.into(), &5.0.into()));
}

#[test]
fn truncating_is_found() {
    convicted_of("truncates", Vice::Truncates, &ROOMS, "corrupted");
}

#[test]
fn changing_the_type_is_found() {
    convicted_of("retypes", Vice::Retypes, &ROOMS, "corrupted");
}

/// A part of the server stands still: the others are answered, so nothing stalls as a whole.
#[test]
fn freezing_for_some_is_found() {
    let arguments = [&ROOMS[..], &["--message-timeout", "2s"]].concat();
    let report = convicted_of("freezes", Vice::Freezes, &arguments, "end_untold");
    let figures = &report["runs"][0]["figures"];
    let of = |name: &str| figures[name].as_f64().unwrap();
    assert!(of("undelivered") > 50.0, "what was said into the void is not called delivered");
    // Half of the twelve; those who give up last may be cut off by the end of the run.
    let dropped = of("connection_lost");
    assert!((1.0..=6.0).contains(&dropped), "each is dropped once: {dropped}");
}

#[test]
fn dawdling_misses_a_target_and_convicts_of_nothing() {
    let arguments = [&ROOMS[..], &["--require", "relay_p99_ms<100"]].concat();
    let (status, report) = load("dawdles", start(Vice::Dawdles), &arguments);
    assert_eq!((convictions(&report), status), (vec![], 2), "{:#}", report["runs"][0]["faults"]);
    assert_eq!(report["runs"][0]["reason"], "missed: relay_p99_ms < 100");
    let figures = &report["runs"][0]["figures"];
    assert!(figures["relay_service_p50_ms"].as_f64().unwrap() >= 200.0, "it is the server's time");
}

#[test]
fn leaking_is_found() {
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
    convicted_of("leaks", Vice::Leaks, &arguments, "leaked");
    convicted_of("slow-leak", Vice::LeaksSlowly, &arguments, "leaked");
    // And where nothing grows, nothing is called a leak.
    let (status, report) = load("tight", start(Vice::None), &arguments);
    assert_eq!((convictions(&report), status), (vec![], 0));
}

#[test]
fn stalling_is_found() {
    // On a busy machine the tester may sleep through a part of it.
    let arguments = [&ROOMS[..11], &["--duration", "8s", "--stall-after", "500ms"]].concat();
    convicted_of("stalls", Vice::Stalls, &arguments, "stalled");
}
