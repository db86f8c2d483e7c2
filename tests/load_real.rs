//! The load tester against the real server: its figures agree with what the server counted,
//! and what goes wrong is said in one line with its exit status.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use switchboard::load::probe::{get, locate, numbers};

/// A server on a port of its own, ended with the test.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .args(["--listen", "127.0.0.1:0", "--no-pin", "--shards", "2"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .find_map(|line| Some(line.unwrap().split_once("listening on ")?.1.to_owned()))
            .unwrap();
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, url: format!("ws://{address}/ws") }
    }

    fn stats(&self) -> std::collections::BTreeMap<String, f64> {
        let (status, body) = get(&locate(&self.url).unwrap(), "/stats").unwrap();
        assert_eq!(status, 200);
        numbers(&body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been ended by the test itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn directory(name: &str) -> PathBuf {
    [env!("CARGO_TARGET_TMPDIR"), &format!("real-{name}-{}", std::process::id())].iter().collect()
}

fn tester(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard-load"));
    command.args(arguments).args(["--quiet", "--report"]).arg(directory(name));
    command
}

/// Runs the tester; a busy machine must not make it void. Gives status, report and summary.
fn load(name: &str, server: &Server, arguments: &[&str]) -> (i32, Value) {
    let output = tester(name, arguments)
        .args(["--url", &server.url, "--late-percent", "100", "--targets", "none"])
        .output()
        .unwrap();
    let path = directory(name).join("report.json");
    let report = std::fs::read(path).unwrap_or_else(|error| {
        panic!("{error}; the tester said: {}", String::from_utf8_lossy(&output.stderr))
    });
    for file in ["report.html", "junit.xml", "summary.md", "intervals.jsonl"] {
        assert!(directory(name).join(file).metadata().unwrap().len() > 100, "{file}");
    }
    std::fs::remove_dir_all(directory(name)).unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&report).unwrap())
}

fn figure(report: &Value, name: &str) -> f64 {
    report["runs"][0]["figures"][name].as_f64().unwrap_or_else(|| panic!("no figure {name}"))
}

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

#[test]
fn matchmaking_agrees_with_the_servers_own_count() {
    // The last two of a round may have just parted; they must not have to wait for the next.
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
    let (status, report) =
        load("http", &server, &["http", "--requests", "/health 50/s for 2s, /stats 20/s for 1s"]);
    assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
    assert_eq!(figure(&report, "http_ok"), 120.0);
    assert_eq!(figure(&report, "http_due"), 120.0);
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
    let second =
        tester(name, &arguments).args(["--url", &server.url, "--resume"]).output().unwrap();
    let report = std::fs::read(directory(name).join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    std::fs::remove_dir_all(directory(name)).unwrap();
    assert_eq!(second.status.code(), Some(0), "{:#}", report["runs"][0]["faults"]);
    let intervals = report["runs"][0]["intervals"].as_array().unwrap();
    assert!(intervals.len() > rows_before, "the earlier rows are part of the report");
    assert!(report["runs"][0]["seconds"].as_f64().unwrap() >= 6.0);
}

#[test]
fn a_server_that_crashes_in_mid_run_gets_a_report_that_says_so() {
    let mut server = Server::start(&[]);
    let child = tester(
        "crash",
        &[
            "signaling",
            "--rooms",
            "5",
            "--connect-rate",
            "100",
            "--duration",
            "60s",
            "--warm-up",
            "0s",
            "--interval",
            "200ms",
            "--late-percent",
            "100",
        ],
    )
    .args(["--url", &server.url])
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    while server.stats()["messages.relayed"] < 200.0 {
        std::thread::yield_now();
    }
    server.child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let report = std::fs::read(directory("crash").join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    std::fs::remove_dir_all(directory("crash")).unwrap();
    assert_eq!(output.status.code(), Some(2));
    let faults = report["runs"][0]["faults"].as_array().unwrap();
    let of = |kind: &str| faults.iter().find(|fault| fault["kind"] == kind).cloned();
    assert_eq!(of("crashed").unwrap()["count"], 1, "{faults:#?}");
    assert_eq!(of("connection_lost").unwrap()["count"], 10, "what was lost is counted");
    assert!(report["runs"][0]["seconds"].as_f64().unwrap() < 30.0, "it does not go on for nothing");
}

#[test]
fn ctrl_c_stops_early_and_reports_what_was_measured() {
    let server = Server::start(&[]);
    let mut child = tester(
        "interrupt",
        &[
            "signaling",
            "--rooms",
            "5",
            "--connect-rate",
            "100",
            "--duration",
            "60s",
            "--warm-up",
            "0s",
            "--targets",
            "none",
            "--late-percent",
            "100",
        ],
    )
    .args(["--url", &server.url])
    .spawn()
    .unwrap();
    while server.stats()["messages.relayed"] < 200.0 {
        std::thread::yield_now();
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let report = std::fs::read(directory("interrupt").join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    std::fs::remove_dir_all(directory("interrupt")).unwrap();
    assert_eq!(report["outcome"], "stopped");
    assert_eq!(figure(&report, "sent"), figure(&report, "received"));
}

/// Exit status and standard error of a run that cannot be.
fn refusal(name: &str, arguments: &[&str]) -> (i32, String) {
    let output = tester(name, arguments).output().unwrap();
    // Not every one gets as far as making it.
    let _ = std::fs::remove_dir_all(directory(name));
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn bad_input_gets_one_clear_line_and_its_status() {
    let file = directory("file.toml");
    std::fs::write(&file, "scenario = \"calls\"\n\ntalk_mim = \"1s\"\n").unwrap();
    let (status, line) = refusal("key", &["run", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(status, 1);
    assert!(line.contains("line 3, column 1") && line.contains("`talk_mim`"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    for (arguments, part) in [
        (&["run", "/nowhere/x.toml"][..], "/nowhere/x.toml"),
        (&["calls", "--require", "speed<1"], "`speed`"),
        (&["calls", "--targets", "heroic"], "`heroic`"),
        (&["calls", "--url", "http://x/"], "ws://"),
        (&["matchmaking", "--users", "3"], "pairs"),
        (&["chaos"], "'chaos'"),
        (&["calls", "--nonsense"], "'--nonsense'"),
        (&["calls", "--talk-min", "soon"], "soon"),
    ] {
        let (status, line) = refusal("bad", arguments);
        assert_eq!((status, line.lines().count()), (1, 1), "{arguments:?}: {line}");
        assert!(line.contains(part), "{arguments:?}: {line}");
    }
}

#[test]
fn an_unreachable_server_and_an_unwritable_directory_are_told_apart() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (status, line) = refusal("gone", &["calls", "--url", &format!("ws://{free}/ws")]);
    assert_eq!((status, line.lines().count()), (3, 1), "{line}");
    assert!(line.contains("cannot be reached"), "{line}");
    let output = Command::new(env!("CARGO_BIN_EXE_switchboard-load"))
        .args(["calls", "--report", "/proc/nowhere"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("/proc/nowhere") && line.lines().count() == 1, "{line}");
}

#[test]
fn scenarios_are_listed_and_shown_and_what_is_shown_runs() {
    let run = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_switchboard-load")).args(arguments).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let list = run(&["--list"]);
    for line in list.lines() {
        let name = line.split(' ').next().unwrap();
        assert!(run(&["--show", name]).contains(&format!("scenario = \"{name}\"")));
    }
    assert_eq!(list.lines().count(), 8);
    serde_json::from_str::<Value>(&run(&["--schema"])).unwrap();
    assert!(run(&["--figures"]).contains("relay"));
}
