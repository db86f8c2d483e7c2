//! The load tester against the real server: its figures agree with what the server counted, and
//! an end before its time leaves a report.

use crate::support::load::{Server, directory, figure, load, tester};
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

#[test]
fn signalling_agrees_with_the_servers_own_count() {
    let server = Server::start(&[]);
    let (status, report) = load(
        "signaling",
        &server,
        &[
            "signaling",
            "--rooms",
            "10",
            "--connect-rate",
            "200",
            "--message-rate",
            "10",
            "--warm-up",
            "0s",
            "--duration",
            "2s",
        ],
    );
    assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
    let stats = server.stats();
    assert_eq!(figure(&report, "sent"), stats["messages.relayed"]);
    assert_eq!(figure(&report, "received"), stats["messages.relayed"]);
    assert_eq!(figure(&report, "connected"), stats["sessions.opened"]);
    assert_eq!(figure(&report, "matched"), 2.0 * stats["matchmaking.matches"]);
    assert_eq!(stats["sessions.active"], 0.0);
    assert!(stats["connections.closed.client_close"] >= 20.0);
}

/// The law: what a message costs the tester is at most one and a half times what it costs the
/// server, and its report says so. How an unoptimised build divides its time says nothing of that:
/// there the figure is only measured.
#[test]
fn a_message_costs_the_generator_little_more_than_the_server() {
    let server = Server::start(&[]);
    // In half a second of the server's CPU a step of its clock, 10 ms, is no matter.
    let (rooms, rate) = if cfg!(debug_assertions) { ("10", "20") } else { ("100", "100") };
    let load_of = ["signaling", "--rooms", rooms, "--message-rate", rate, "--candidates", "2"];
    let times = ["--connect-rate", "200", "--warm-up", "1s", "--duration", "5s"];
    let (status, report) = load("cost", &server, &[&load_of[..], &times].concat());
    assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
    let ratio = figure(&report, "generator_cpu_ratio");
    assert!(ratio > 0.0, "{ratio}");
    if cfg!(not(debug_assertions)) {
        assert!(figure(&report, "messages_per_s") > 15_000.0);
        assert!(ratio <= 1.5, "{ratio} times the server's CPU for each message");
    }
}

#[test]
fn matchmaking_agrees_with_the_servers_own_count() {
    // The last two of a round may have just recent_partner; they must not have to wait for the next.
    let server = Server::start(&["--rematch-delay", "0s"]);
    let (status, report) = load(
        "matchmaking",
        &server,
        &[
            "matchmaking",
            "--users",
            "20",
            "--connect-rate",
            "200",
            "--rounds",
            "3",
            "--round-every",
            "800ms",
        ],
    );
    assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
    assert_eq!(figure(&report, "matched"), 60.0);
    assert_eq!(figure(&report, "waiting_peak"), 20.0, "all ask in one instant");
    assert_eq!(server.stats()["matchmaking.matches"], 30.0);
    assert_eq!(figure(&report, "matched_percent"), 100.0);
}

#[test]
fn connections_agree_with_the_servers_own_count() {
    let server = Server::start(&[]);
    let (status, report) = load(
        "connections",
        &server,
        &[
            "connections",
            "--users",
            "100",
            "--connect-rate",
            "200",
            "--hold",
            "1s",
            "--ping-every",
            "500ms",
        ],
    );
    assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
    assert_eq!(figure(&report, "users_peak"), 100.0);
    assert_eq!(figure(&report, "alive_percent"), 100.0);
    assert_eq!(server.stats()["sessions.opened"], 100.0);
}

#[test]
fn http_requests_are_all_answered() {
    let server = Server::start(&[]);
    let before = server.stats()["http.requests"];
    let (status, report) =
        load("http", &server, &["http", "--requests", "/health 50/s for 2s, /stats 20/s for 1s"]);
    assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
    assert_eq!(figure(&report, "http_ok"), 120.0);
    assert_eq!(figure(&report, "http_due"), 120.0);
    // Beside these it has answered the looks at its figures.
    let asked = server.stats()["http.requests"] - before;
    assert!(asked >= figure(&report, "http_ok"), "{asked}");
    assert!(asked <= figure(&report, "http_ok") + 30.0, "{asked}");
}

/// The law: whoever waits when the run ends is judged by the same time as everybody, so that two
/// who have just met and are kept apart are not held against a good server.
#[test]
fn two_who_are_kept_apart_when_the_run_ends_are_no_fault() {
    let server = Server::start(&["--rematch-delay", "3s"]);
    let arguments =
        ["calls", "--phases", "2/s for 2s", "--talk-min", "300ms", "--talk-max", "300ms"];
    let arguments = [&arguments[..], &["--next-percent", "100"]].concat();
    let (status, report) = load("apart", &server, &arguments);
    assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
    assert_eq!((figure(&report, "unmatched"), figure(&report, "kept_percent")), (0.0, 100.0));
    assert!(figure(&report, "asked") >= 4.0);
}

#[test]
fn calls_with_comings_and_goings_lose_nothing_on_two_threads() {
    let server = Server::start(&[]);
    let (status, report) = load(
        "calls",
        &server,
        &[
            "calls",
            "--phases",
            "30/s for 3s",
            "--talk-min",
            "200ms",
            "--talk-max",
            "800ms",
            "--message-rate",
            "10",
            "--threads",
            "2",
        ],
    );
    assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
    assert_eq!(figure(&report, "sent"), figure(&report, "received"));
    assert_eq!(figure(&report, "sent"), server.stats()["messages.relayed"]);
}

#[test]
fn the_whole_programme_runs_scaled_down() {
    let server = Server::start(&[]);
    let (status, report) = load(
        "plan",
        &server,
        &[
            "plan",
            "--stages",
            "10 for 2s, 20 for 2s",
            "--talk-min",
            "300ms",
            "--talk-max",
            "900ms",
            "--stress-step",
            "500ms",
            "--stress-start",
            "100",
            "--stress-ceiling",
            "200",
            "--rooms",
            "5",
            "--endurance",
            "2s",
            "--connect-rate",
            "200",
        ],
    );
    assert_eq!(status, 0, "{:#}", report["runs"]);
    let names: Vec<&str> = report["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.first(), Some(&"baseline: 10 users"));
    assert_eq!(names.last(), Some(&"endurance"));
    assert_eq!(report["breaking_point"]["holds"], 200.0);
    // The trials of the search have sent theirs too.
    let runs = report["runs"].as_array().unwrap();
    assert!(runs.iter().any(|run| run["trial"] == true && run["figures"]["sent"] != 0.0));
    let sent: f64 = runs.iter().map(|run| run["figures"]["sent"].as_f64().unwrap()).sum();
    assert_eq!(sent, server.stats()["messages.relayed"]);
}

#[test]
fn an_interrupted_endurance_run_goes_on_where_it_was() {
    let server = Server::start(&[]);
    let arguments = [
        "endurance",
        "--capacity",
        "100",
        "--percent",
        "100",
        "--duration",
        "6s",
        "--warm-up",
        "0s",
        "--interval",
        "200ms",
        "--rooms",
        "3",
        "--talk-min",
        "500ms",
        "--talk-max",
        "1s",
        "--connect-rate",
        "100",
        "--targets",
        "none",
        "--late-percent",
        "100",
    ];
    let name = "resume";
    let mut first = tester(name, &arguments).args(["--url", &server.url]).spawn().unwrap();
    let log = directory(name).join("intervals.jsonl");
    // Killed after some rows, without any chance to write a report.
    while std::fs::read_to_string(&log).unwrap_or_default().lines().count() < 10 {
        std::thread::yield_now();
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let rows_before = std::fs::read_to_string(&log).unwrap().lines().count();
    let other = ["--url", &server.url, "--resume", "--rooms", "9"];
    let other = tester(name, &arguments[..1]).args(other).output().unwrap();
    let line = String::from_utf8(other.stderr).unwrap();
    assert_eq!((other.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(line.contains("rooms was 3, is 9"), "{line}");
    // What is not said is as it was.
    let second = tester(name, &arguments[..1]).args(["--resume"]).output().unwrap();
    let report = std::fs::read(directory(name).join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    std::fs::remove_dir_all(directory(name)).unwrap();
    assert_eq!(second.status.code(), Some(0), "{:#}", report["runs"][0]["faults"]);
    let intervals = report["runs"][0]["intervals"].as_array().unwrap();
    assert!(intervals.len() > rows_before, "the earlier rows are part of the report");
    assert!(report["runs"][0]["seconds"].as_f64().unwrap() >= 6.0);
}

/// The law: what was measured is reported, also where the disk takes no more of it.
#[test]
fn a_full_disk_ends_a_run_early_and_costs_it_nothing_else() {
    let server = Server::start(&[]);
    let directory = directory("full");
    std::fs::create_dir_all(&directory).unwrap();
    std::os::unix::fs::symlink("/dev/full", directory.join("intervals.jsonl")).unwrap();
    let load = ["signaling", "--rooms", "5", "--connect-rate", "100", "--duration", "60s"];
    let rules = ["--warm-up", "0s", "--late-percent", "100", "--url", &server.url];
    let output = tester("full", &[&load[..], &rules].concat()).output().unwrap();
    let report = std::fs::read(directory.join("report.json")).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!((output.status.code(), &report["outcome"]), (Some(130), &"stopped".into()));
    assert!(figure(&report, "connected") > 0.0);
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("No space left on device") && line.lines().count() == 1, "{line}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("signaling: stopped early"), "{told}");
}

#[test]
fn a_verdict_is_told_though_the_report_cannot_be_written() {
    let server = Server::start(&[]);
    let directory = directory("unwritten");
    std::fs::create_dir_all(&directory).unwrap();
    std::os::unix::fs::symlink("/dev/full", directory.join("report.json")).unwrap();
    let load = ["http", "--requests", "/health 20/s for 1s", "--late-percent", "100"];
    let output = tester("unwritten", &load).args(["--url", &server.url]).output().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(output.status.code(), Some(4), "nothing has passed that nobody can read");
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("No space left on device") && line.lines().count() == 1, "{line}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("http: passed"), "{told}");
}

/// A server, and a tester in the midst of its run against it.
fn in_mid_run(name: &str) -> (Server, Child) {
    let server = Server::start(&[]);
    let scenario = ["signaling", "--rooms", "5", "--connect-rate", "100", "--duration", "60s"];
    let rules = ["--warm-up", "0s", "--late-percent", "100", "--targets", "none"];
    let child = tester(name, &[&scenario[..], &rules].concat())
        .args(["--url", &server.url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    while server.stats()["messages.relayed"] < 200.0 {
        std::thread::yield_now();
    }
    (server, child)
}

/// Exit status of a tester that comes to its end, and its report.
fn end_of(name: &str, child: Child) -> (i32, Value) {
    let output = child.wait_with_output().unwrap();
    let report = std::fs::read(directory(name).join("report.json")).unwrap();
    std::fs::remove_dir_all(directory(name)).unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&report).unwrap())
}

#[test]
fn a_server_that_crashes_in_mid_run_gets_a_report_that_says_so() {
    let (mut server, child) = in_mid_run("crash");
    server.child.kill().unwrap();
    let (status, report) = end_of("crash", child);
    assert_eq!(status, 2);
    let faults = report["runs"][0]["faults"].as_array().unwrap();
    let of = |kind: &str| faults.iter().find(|fault| fault["kind"] == kind).cloned();
    assert_eq!(of("crashed").unwrap()["count"], 1, "{faults:#?}");
    assert_eq!(of("connection_lost").unwrap()["count"], 10, "what was lost is counted");
    let reason = report["runs"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("s into the run; lost were 10 sessions and"), "{reason}");
    assert!(report["runs"][0]["seconds"].as_f64().unwrap() < 30.0, "it does not go on for nothing");
}

/// The law: what waits in the sockets is read before a clock that stood still is believed.
#[test]
fn a_pause_of_the_testers_own_convicts_nobody() {
    // The same two wait for a second between two calls, and for less than two in all.
    let server = Server::start(&["--rematch-delay", "1s"]);
    let load = ["endurance", "--rooms", "1", "--capacity", "10", "--duration", "7s"];
    let talk = ["--talk-min", "300ms", "--talk-max", "400ms", "--match-timeout", "2s"];
    let rules = ["--warm-up", "0s", "--late-percent", "100", "--targets", "none"];
    let child = tester("pause", &[&load[..], &talk, &rules].concat())
        .args(["--url", &server.url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let signal = |name: &str| {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    while server.stats()["matchmaking.matches"] < 1.0 || server.stats()["matchmaking.waiting"] < 2.0
    {
        std::thread::yield_now();
    }
    signal("-STOP");
    std::thread::sleep(Duration::from_secs(3));
    signal("-CONT");
    let (status, report) = end_of("pause", child);
    assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
}

/// The law: where the server has gone, the programme is over, also in a search.
#[test]
fn a_plan_does_not_go_on_without_its_server() {
    let name = "plan-crash";
    let mut server = Server::start(&[]);
    let stages = ["plan", "--stages", "4 for 2s", "--connect-rate", "100", "--rooms", "4"];
    let rest = ["--stress-step", "20s", "--stress-start", "100", "--endurance", "3s"];
    let rules = ["--late-percent", "100", "--targets", "none", "--talk-min", "1s"];
    let child = tester(name, &[&stages[..], &rest, &rules].concat())
        .args(["--url", &server.url, "--talk-max", "1s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let log = directory(name).join("intervals.jsonl");
    let of_stress = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap_or_default();
        row["run"] == 1 && row["in_rooms"] == 8
    };
    while !std::fs::read_to_string(&log).unwrap_or_default().lines().any(of_stress) {
        std::thread::yield_now();
    }
    server.child.kill().unwrap();
    let (status, report) = end_of(name, child);
    let runs = report["runs"].as_array().unwrap();
    assert_eq!((status, runs.len()), (2, 2), "{runs:#?}");
    assert_eq!(runs[1]["trial"], true);
    assert!(report["breaking_point"]["cause"].as_str().unwrap().contains("crashed"));
}

/// A supervisor starts a server anew before anybody can knock at its door and find it gone.
#[test]
fn a_server_that_is_back_at_once_has_crashed_all_the_same() {
    let (mut server, child) = in_mid_run("back");
    let address = server.url.trim_start_matches("ws://").trim_end_matches("/ws").to_owned();
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let _next = Server::start(&["--listen", &address]);
    let (status, report) = end_of("back", child);
    assert_eq!(status, 2);
    let reason = report["runs"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("the server vanished"), "{reason}");
    assert!(report["runs"][0]["seconds"].as_f64().unwrap() < 30.0, "it does not go on for nothing");
}

/// What does not come of a match_request that the server has refused, or has dropped over its rate, is not
/// held against it.
#[test]
fn a_server_that_declines_is_convicted_of_nothing() {
    let calls = |name: &str, more: &[&str]| {
        let calls = ["calls", "--talk-min", "500ms", "--talk-max", "1s", "--message-rate", "20"];
        let times = ["--match-timeout", "1s", "--message-timeout", "2s", "--next-percent", "90"];
        let rules = ["--late-percent", "100", "--targets", "none"];
        tester(name, &[&calls[..], &times, &rules, more].concat())
    };
    let convictions = |report: &Value| -> Vec<String> {
        let faults = report["runs"][0]["faults"].as_array().unwrap().iter();
        let faults = faults.filter(|fault| fault["convicts"] == true);
        faults.map(|fault| fault["kind"].to_string()).collect()
    };
    let server = Server::start(&["--drain-timeout", "4s"]);
    let mut draining = calls("drains", &["--phases", "20/s for 6s"]);
    let child = draining.args(["--url", &server.url]).spawn().unwrap();
    while server.stats()["messages.relayed"] < 200.0 {
        std::thread::yield_now();
    }
    let pid = server.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let (_, report) = end_of("drains", child);
    assert!(figure(&report, "draining") > 0.0, "it has refused some");
    let crashed = [String::from("\"crashed\"")];
    let found: Vec<_> =
        convictions(&report).into_iter().filter(|kind| !crashed.contains(kind)).collect();
    assert_eq!(found, [""; 0], "{:#}", report["runs"][0]["faults"]);

    let server = Server::start(&["--max-messages-per-second", "5"]);
    let mut limited = calls("limits", &["--phases", "20/s for 4s"]);
    let child = limited.args(["--url", &server.url]).spawn().unwrap();
    let (_, report) = end_of("limits", child);
    assert!(figure(&report, "rate_limited") > 10.0);
    assert_eq!(convictions(&report), [""; 0], "{:#}", report["runs"][0]["faults"]);
}

#[test]
fn ctrl_c_stops_early_and_reports_what_was_measured() {
    let (_server, child) = in_mid_run("interrupt");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let (status, report) = end_of("interrupt", child);
    assert_eq!(status, 130);
    assert_eq!(report["outcome"], "stopped");
    assert_eq!(figure(&report, "sent"), figure(&report, "received"));
}
