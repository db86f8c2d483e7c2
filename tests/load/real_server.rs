//! The load tester against the real server: its figures agree with the server's counters, and a
//! run that ends early leaves a report.

use crate::support::load::{
    figure, finish, report_directory, report_of, run_load, server_stats, start_server, tester,
};
use crate::support::{Server, read_report, report_file};
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

#[test]
fn signalling_figures_agree_with_the_servers_counters() {
    let server = start_server(&[]);
    let (status, report) = run_load(
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
    let stats = server_stats(&server);
    assert_eq!(figure(&report, "sent"), stats["messages.relayed"]);
    assert_eq!(figure(&report, "received"), stats["messages.relayed"]);
    assert_eq!(figure(&report, "connected"), stats["sessions.opened"]);
    assert_eq!(figure(&report, "matched"), 2.0 * stats["matchmaking.matches"]);
    assert_eq!(stats["sessions.active"], 0.0);
    assert!(stats["connections.closed.client_close"] >= 20.0);
}

/// The tester uses at most 1.5 times the server's CPU time for each message. In a debug build the
/// ratio has no meaning, so it is measured but not judged.
#[test]
fn the_generator_uses_at_most_1_5_times_the_servers_cpu_for_each_message() {
    let server = start_server(&[]);
    // The server uses about 0.5 s of CPU, so the resolution of its clock, 10 ms, does not matter.
    let (rooms, rate) = if cfg!(debug_assertions) { ("10", "20") } else { ("100", "100") };
    let load_of = ["signaling", "--rooms", rooms, "--message-rate", rate, "--candidates", "2"];
    let times = ["--connect-rate", "200", "--warm-up", "1s", "--duration", "5s"];
    let (status, report) = run_load("cost", &server, &[&load_of[..], &times].concat());
    assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
    let ratio = figure(&report, "generator_cpu_ratio");
    assert!(ratio > 0.0, "{ratio}");
    if cfg!(not(debug_assertions)) {
        assert!(figure(&report, "messages_per_s") > 15_000.0);
        assert!(ratio <= 1.5, "{ratio} times the server's CPU for each message");
    }
}

#[test]
fn matchmaking_figures_agree_with_the_servers_counters() {
    // The last two users of a round may be recent partners; they must not wait for the delay.
    let server = start_server(&["--rematch-delay", "0s"]);
    let (status, report) = run_load(
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
    assert_eq!(figure(&report, "waiting_peak"), 20.0, "all requests are sent at once");
    assert_eq!(server_stats(&server)["matchmaking.matches"], 30.0);
    assert_eq!(figure(&report, "matched_percent"), 100.0);
}

#[test]
fn connection_figures_agree_with_the_servers_counters() {
    let server = start_server(&[]);
    let (status, report) = run_load(
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
    assert_eq!(server_stats(&server)["sessions.opened"], 100.0);
}

#[test]
fn http_requests_are_all_answered() {
    let server = start_server(&[]);
    let before = server_stats(&server)["http.requests"];
    let (status, report) = run_load(
        "http",
        &server,
        &["http", "--requests", "/health 50/s for 2s, /stats 20/s for 1s"],
    );
    assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
    assert_eq!(figure(&report, "http_ok"), 120.0);
    assert_eq!(figure(&report, "http_due"), 120.0);
    // The server has also answered the samples of its figures.
    let asked = server_stats(&server)["http.requests"] - before;
    assert!(asked >= figure(&report, "http_ok"), "{asked}");
    assert!(asked <= figure(&report, "http_ok") + 30.0, "{asked}");
}

/// Users who wait at the end of the run get the same time limit as all others, so recent partners
/// that the server keeps apart are not a fault.
#[test]
fn recent_partners_waiting_at_the_end_of_a_run_are_not_a_fault() {
    let server = start_server(&["--rematch-delay", "3s"]);
    let arguments =
        ["calls", "--phases", "2/s for 2s", "--talk-min", "300ms", "--talk-max", "300ms"];
    let arguments = [&arguments[..], &["--next-percent", "100"]].concat();
    let (status, report) = run_load("apart", &server, &arguments);
    assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
    assert_eq!((figure(&report, "unmatched"), figure(&report, "kept_percent")), (0.0, 100.0));
    assert!(figure(&report, "asked") >= 4.0);
}

#[test]
fn calls_on_two_threads_lose_no_message() {
    let server = start_server(&[]);
    let (status, report) = run_load(
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
    assert_eq!(figure(&report, "sent"), server_stats(&server)["messages.relayed"]);
}

#[test]
fn the_whole_plan_runs_scaled_down() {
    let server = start_server(&[]);
    let (status, report) = run_load(
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
    // The trials of the search have sent messages too.
    let runs = report["runs"].as_array().unwrap();
    assert!(runs.iter().any(|run| run["trial"] == true && run["figures"]["sent"] != 0.0));
    let sent: f64 = runs.iter().map(|run| run["figures"]["sent"].as_f64().unwrap()).sum();
    assert_eq!(sent, server_stats(&server)["messages.relayed"]);
}

#[test]
fn an_interrupted_endurance_run_resumes() {
    let server = start_server(&[]);
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
    let mut first = tester(name, &arguments).args(["--url", server.url()]).spawn().unwrap();
    let log = report_directory(name).join("intervals.jsonl");
    // Killed after some rows, before a report is written.
    while std::fs::read_to_string(&log).unwrap_or_default().lines().count() < 10 {
        std::thread::yield_now();
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let rows_before = std::fs::read_to_string(&log).unwrap().lines().count();
    let other = ["--url", server.url(), "--resume", "--rooms", "9"];
    let other = tester(name, &arguments[..1]).args(other).output().unwrap();
    let line = String::from_utf8(other.stderr).unwrap();
    assert_eq!((other.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(line.contains("rooms was 3, is 9"), "{line}");
    // Options that are not given keep their values.
    let second = tester(name, &arguments[..1]).args(["--resume"]).output().unwrap();
    let report = report_of(name, &second);
    std::fs::remove_dir_all(report_directory(name)).unwrap();
    assert_eq!(second.status.code(), Some(0), "{:#}", report["runs"][0]["faults"]);
    let intervals = report["runs"][0]["intervals"].as_array().unwrap();
    assert!(intervals.len() > rows_before, "the earlier rows are part of the report");
    assert!(report["runs"][0]["seconds"].as_f64().unwrap() >= 6.0);
}

/// A report is written even when the disk is full.
#[test]
fn a_full_disk_ends_a_run_early_with_a_report() {
    let server = start_server(&[]);
    let directory = report_directory("full");
    std::fs::create_dir_all(&directory).unwrap();
    std::os::unix::fs::symlink("/dev/full", directory.join("intervals.jsonl")).unwrap();
    let load = ["signaling", "--rooms", "5", "--connect-rate", "100", "--duration", "60s"];
    let rules = ["--warm-up", "0s", "--late-percent", "100", "--url", server.url()];
    let output = tester("full", &[&load[..], &rules].concat()).output().unwrap();
    let report = read_report(&directory);
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!((output.status.code(), &report["outcome"]), (Some(130), &"stopped".into()));
    assert!(figure(&report, "connected") > 0.0);
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("No space left on device") && line.lines().count() == 1, "{line}");
    let output_text = String::from_utf8(output.stdout).unwrap();
    assert!(output_text.contains("signaling: stopped early"), "{output_text}");
}

#[test]
fn the_verdict_is_printed_when_the_report_cannot_be_written() {
    let server = start_server(&[]);
    let directory = report_directory("unwritten");
    std::fs::create_dir_all(&directory).unwrap();
    std::os::unix::fs::symlink("/dev/full", report_file(&directory)).unwrap();
    let load = ["http", "--requests", "/health 20/s for 1s", "--late-percent", "100"];
    let output = tester("unwritten", &load).args(["--url", server.url()]).output().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(output.status.code(), Some(4), "a run without a report has not passed");
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("No space left on device") && line.lines().count() == 1, "{line}");
    let output_text = String::from_utf8(output.stdout).unwrap();
    assert!(output_text.contains("http: passed"), "{output_text}");
}

/// A server and a tester during a run against it.
fn start_run(name: &str) -> (Server, Child) {
    let server = start_server(&[]);
    let scenario = ["signaling", "--rooms", "5", "--connect-rate", "100", "--duration", "60s"];
    let rules = ["--warm-up", "0s", "--late-percent", "100", "--targets", "none"];
    let tester = tester(name, &[&scenario[..], &rules].concat());
    // The tests may run under `nohup`, with SIGHUP ignored; env(1) gives it its default action.
    let child = Command::new("env")
        .arg("--default-signal=HUP")
        .arg(tester.get_program())
        .args(tester.get_args())
        .args(["--url", server.url()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    while server_stats(&server)["messages.relayed"] < 200.0 {
        std::thread::yield_now();
    }
    (server, child)
}

#[test]
fn a_server_crash_during_a_run_is_reported() {
    let (mut server, child) = start_run("crash");
    server.kill();
    let (status, report) = finish("crash", child);
    assert_eq!(status, 2);
    let faults = report["runs"][0]["faults"].as_array().unwrap();
    let of = |kind: &str| faults.iter().find(|fault| fault["kind"] == kind).cloned();
    assert_eq!(of("crashed").unwrap()["count"], 1, "{faults:#?}");
    assert_eq!(of("connection_lost").unwrap()["count"], 10, "lost sessions are counted");
    let reason = report["runs"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("s into the run; lost were 10 sessions and"), "{reason}");
    assert!(report["runs"][0]["seconds"].as_f64().unwrap() < 30.0, "the run ends early");
}

/// After the tester was stopped, it reads its sockets before it applies timeouts.
#[test]
fn a_stopped_tester_reports_no_timeouts_of_the_server() {
    // The two users wait between calls for the rematch delay: between one and two seconds.
    let server = start_server(&["--rematch-delay", "1s"]);
    let load = ["endurance", "--rooms", "1", "--capacity", "10", "--duration", "7s"];
    let talk = ["--talk-min", "300ms", "--talk-max", "400ms", "--match-timeout", "2s"];
    let rules = ["--warm-up", "0s", "--late-percent", "100", "--targets", "none"];
    let child = tester("pause", &[&load[..], &talk, &rules].concat())
        .args(["--url", server.url()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let signal = |name: &str| {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    while server_stats(&server)["matchmaking.matches"] < 1.0
        || server_stats(&server)["matchmaking.waiting"] < 2.0
    {
        std::thread::yield_now();
    }
    signal("-STOP");
    std::thread::sleep(Duration::from_secs(3));
    signal("-CONT");
    let (status, report) = finish("pause", child);
    assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
}

/// A crash during the search ends the plan.
#[test]
fn a_plan_ends_when_the_server_has_crashed() {
    let name = "plan-crash";
    let mut server = start_server(&[]);
    let stages = ["plan", "--stages", "4 for 2s", "--connect-rate", "100", "--rooms", "4"];
    let rest = ["--stress-step", "20s", "--stress-start", "100", "--endurance", "3s"];
    let rules = ["--late-percent", "100", "--targets", "none", "--talk-min", "1s"];
    let child = tester(name, &[&stages[..], &rest, &rules].concat())
        .args(["--url", server.url(), "--talk-max", "1s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let log = report_directory(name).join("intervals.jsonl");
    let of_stress = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap_or_default();
        row["run"] == 1 && row["in_rooms"] == 8
    };
    while !std::fs::read_to_string(&log).unwrap_or_default().lines().any(of_stress) {
        std::thread::yield_now();
    }
    server.kill();
    let (status, report) = finish(name, child);
    let runs = report["runs"].as_array().unwrap();
    assert_eq!((status, runs.len()), (2, 2), "{runs:#?}");
    assert_eq!(runs[1]["trial"], true);
    assert!(report["breaking_point"]["cause"].as_str().unwrap().contains("crashed"));
}

/// A supervisor restarts the server before the tester can find its port closed.
#[test]
fn a_server_that_restarts_at_once_counts_as_crashed() {
    let (mut server, child) = start_run("back");
    let address = server.url().trim_start_matches("ws://").trim_end_matches("/ws").to_owned();
    server.kill();
    let _next = start_server(&["--listen", &address]);
    let (status, report) = finish("back", child);
    assert_eq!(status, 2);
    let reason = report["runs"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("the server crashed"), "{reason}");
    assert!(report["runs"][0]["seconds"].as_f64().unwrap() < 30.0, "the run ends early");
}

/// Match requests that the server refuses while draining, or drops above its message rate, are not
/// faults.
#[test]
fn refusals_of_the_server_are_not_faults() {
    let calls = |name: &str, more: &[&str]| {
        let calls = ["calls", "--talk-min", "500ms", "--talk-max", "1s", "--message-rate", "20"];
        let times = ["--match-timeout", "1s", "--message-timeout", "2s", "--next-percent", "90"];
        let rules = ["--late-percent", "100", "--targets", "none"];
        tester(name, &[&calls[..], &times, &rules, more].concat())
    };
    let server_faults = |report: &Value| -> Vec<String> {
        let faults = report["runs"][0]["faults"].as_array().unwrap().iter();
        let faults = faults.filter(|fault| fault["convicts"] == true);
        faults.map(|fault| fault["kind"].to_string()).collect()
    };
    let mut server = start_server(&["--drain-timeout", "4s"]);
    let mut draining = calls("drains", &["--phases", "20/s for 6s"]);
    let child = draining.args(["--url", server.url()]).spawn().unwrap();
    while server_stats(&server)["messages.relayed"] < 200.0 {
        std::thread::yield_now();
    }
    server.send_signal("TERM");
    let (_, report) = finish("drains", child);
    server.wait_for_exit();
    assert!(figure(&report, "draining") > 0.0, "some requests were refused");
    let crashed = [String::from("\"crashed\"")];
    let found: Vec<_> =
        server_faults(&report).into_iter().filter(|kind| !crashed.contains(kind)).collect();
    assert_eq!(found, [""; 0], "{:#}", report["runs"][0]["faults"]);

    // Each user may send 40 messages at once.
    let server = start_server(&["--max-messages-per-second", "1"]);
    let mut limited = calls("limits", &["--phases", "20/s for 6s"]);
    let child = limited.args(["--url", server.url()]).spawn().unwrap();
    let (_, report) = finish("limits", child);
    assert!(figure(&report, "rate_limited") > 10.0);
    assert_eq!(server_faults(&report), [""; 0], "{:#}", report["runs"][0]["faults"]);
}

/// A closed terminal sends SIGHUP, Ctrl-C SIGINT.
#[test]
fn a_signal_stops_a_run_early_with_a_report() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let (_server, child) = start_run("interrupt");
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let (status, report) = finish("interrupt", child);
        assert_eq!(status, 130, "{signal}");
        assert_eq!(report["outcome"], "stopped");
        assert_eq!(figure(&report, "sent"), figure(&report, "received"));
    }
}

/// `nohup` starts a process with SIGHUP ignored, so that it outlives its terminal.
#[test]
fn a_run_that_was_started_with_hangups_ignored_continues() {
    let server = start_server(&[]);
    let child = Command::new("sh")
        .args(["-c", "trap '' HUP && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_switchboard-load")])
        .args(["connections", "--users", "10", "--hold", "2s", "--quiet", "--targets", "none"])
        .args(["--late-percent", "100", "--url", server.url(), "--report"])
        .arg(report_directory("nohup"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    while server_stats(&server)["sessions.opened"] < 10.0 {
        std::thread::yield_now();
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    let (status, _) = finish("nohup", child);
    assert_eq!(status, 0);
}
