//! The verdicts of the load tester against the real server: what the server refused or dropped
//! fails a run, with its cause.

use crate::support::Server;
use crate::support::bad_server::{Misbehaviour, start};
use crate::support::load::{
    figure, finish, report_directory, run_load, server_stats, start_server, tester,
};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The count of a fault in the report's first run; 0 if it did not occur.
fn fault_count(report: &Value, kind: &str) -> u64 {
    let faults = report["runs"][0]["faults"].as_array().unwrap();
    let fault = faults.iter().find(|fault| fault["kind"] == kind);
    fault.map_or(0, |fault| fault["count"].as_u64().unwrap())
}

/// Why the first run did not pass.
fn reason(report: &Value) -> &str {
    report["runs"][0]["reason"].as_str().unwrap()
}

#[test]
fn messages_dropped_by_a_rate_limit_are_not_delivered() {
    let server = start_server(&["--max-messages-per-second", "5"]);
    let rooms = ["signaling", "--rooms", "2", "--message-rate", "20", "--candidates", "2"];
    let times = ["--connect-rate", "100", "--warm-up", "0s", "--duration", "4s"];
    let (status, report) = run_load("dropped", &server, &[&rooms[..], &times].concat());
    assert_eq!(status, 2, "{:#}", report["runs"][0]["targets"]);
    let (sent, received) = (figure(&report, "sent"), figure(&report, "received"));
    assert_eq!(received, server_stats(&server)["messages.relayed"]);
    let delivered = figure(&report, "delivered_percent");
    let exact = 100.0 * received / (sent - figure(&report, "under_way"));
    assert!((delivered - exact).abs() < 1e-9, "{delivered} is not {exact}");
    assert!(delivered < 90.0, "{received} of {sent} messages have arrived");
    // The server answers with an error at most once a second, for some of what it drops.
    let limited = fault_count(&report, "rate_limited");
    assert!(limited > 0 && figure(&report, "refusals") == limited as f64);
    let named = format!("refusals = 0 ({limited} × rate_limited)");
    assert!(reason(&report).contains(&named), "{}", reason(&report));
}

/// `--require` sets another bound, for a test of the limit itself.
#[test]
fn a_stage_of_a_plan_fails_by_dropped_messages_unless_they_are_allowed() {
    let server = start_server(&["--max-messages-per-second", "5"]);
    let stage = ["plan", "--stages", "4 for 3s", "--stress-ceiling", "0", "--endurance", "0s"];
    let load = ["--message-rate", "20", "--connect-rate", "100", "--talk-min", "20s"];
    let arguments = [&stage[..], &load, &["--talk-max", "20s"]].concat();
    let (status, report) = run_load("dropped-plan", &server, &arguments);
    assert_eq!(status, 2, "{:#}", report["runs"][0]["targets"]);
    let named = "missed: delivered_percent ≥ 99.9";
    assert!(reason(&report).starts_with(named), "{}", reason(&report));
    let allowed = ["--require", "refusals<=1000", "--require", "delivered_percent>=10"];
    let (status, report) =
        run_load("dropped-allowed", &server, &[&arguments[..], &allowed].concat());
    assert_eq!((status, reason(&report)), (0, ""), "{:#}", report["runs"][0]["targets"]);
}

/// Users that leave while messages are under way are no reason to doubt the server.
#[test]
fn messages_under_way_when_a_partner_is_lost_count_as_neither() {
    let server = start_server(&[]);
    let talk = ["calls", "--phases", "30/s for 2s", "--talk-min", "100ms", "--talk-max", "400ms"];
    let load = ["--message-rate", "50", "--next-percent", "70"];
    let (status, report) = run_load("under-way", &server, &[&talk[..], &load].concat());
    assert_eq!((status, reason(&report)), (0, ""));
    assert_eq!(figure(&report, "delivered_percent"), 100.0);
}

#[test]
fn every_scenario_requires_its_users_to_be_admitted() {
    let ramp = ["--connect-rate", "200"];
    for (name, scenario) in [
        ("signaling", &["--rooms", "20", "--duration", "1s", "--warm-up", "0s"][..]),
        ("matchmaking", &["--users", "40", "--rounds", "1", "--round-every", "4s"]),
        ("connections", &["--users", "40", "--hold", "1s"]),
        ("plan", &["--stages", "40 for 2s", "--stress-ceiling", "0", "--endurance", "0s"]),
        ("endurance", &["--rooms", "20", "--capacity", "50", "--duration", "2s"]),
    ] {
        let server = start_server(&["--max-connections", "31"]);
        let arguments = [&[name], scenario, &ramp].concat();
        let (status, report) = run_load(&format!("admitted-{name}"), &server, &arguments);
        assert_eq!(status, 2, "{name}: {:#}", report["runs"][0]["targets"]);
        let refused = fault_count(&report, "upgrade_503");
        assert!(refused > 0, "{name}");
        let named = format!("({refused} × upgrade_503)");
        assert!(reason(&report).contains("connected_percent ≥ "), "{name}: {}", reason(&report));
        assert!(reason(&report).contains(&named), "{name}: {}", reason(&report));
    }
    let server = start_server(&["--max-connections", "31"]);
    let calls = ["calls", "--phases", "100/s for 400ms", "--talk-min", "2s", "--talk-max", "2s"];
    let (status, report) = run_load("admitted-calls", &server, &calls);
    assert_eq!(status, 2, "{:#}", report["runs"][0]["targets"]);
    assert!(reason(&report).contains("connected_percent ≥ 99.9"), "{}", reason(&report));
}

/// The advice of a report, one piece a line, each with its evidence.
fn advice(report: &Value) -> String {
    let pieces = report["advice"].as_array().unwrap().iter();
    let line = |piece: &Value| format!("{} ({})", piece["advice"], piece["evidence"]);
    pieces.map(line).collect::<Vec<_>>().join("\n")
}

/// Starts the tester against `server`, and waits for its first interval, with sessions unless it
/// only sends requests.
fn start_tester(name: &str, server: &Server, arguments: &[&str]) -> Child {
    let rules = ["--late-percent", "100", "--targets", "none", "--url", server.url()];
    let child = tester(name, &[arguments, &rules].concat()).stdout(Stdio::piped()).spawn().unwrap();
    let log = report_directory(name).join("intervals.jsonl");
    let has_row = || std::fs::read_to_string(&log).unwrap_or_default().contains('\n');
    let sessions = if arguments[0] == "http" { 0.0 } else { 6.0 };
    while !has_row() || server_stats(server)["sessions.opened"] < sessions {
        std::thread::yield_now();
    }
    child
}

#[test]
fn a_server_that_is_shut_down_makes_a_run_void_and_is_no_crash() {
    let talk = ["--talk-min", "300ms", "--talk-max", "600ms"];
    for (name, scenario) in [
        ("calls", &[&["--phases", "20/s for 30s"][..], &talk].concat()[..]),
        ("connections", &["--users", "20", "--hold", "30s", "--connect-rate", "100"]),
        ("signaling", &["--rooms", "4", "--duration", "30s", "--warm-up", "0s"]),
        ("plan", &["--stages", "8 for 30s, 10 for 30s", "--endurance", "0s"]),
        ("http", &["--requests", "/health 100/s for 30s"]),
    ] {
        let mut server = start_server(&["--drain-timeout", "2s"]);
        let directory = format!("shut-down-{name}");
        let child = start_tester(&directory, &server, &[&[name], scenario].concat());
        server.send_signal("TERM");
        let (status, report) = finish(&directory, child);
        server.wait_for_exit();
        let faults = &report["runs"][0]["faults"];
        assert_eq!((status, fault_count(&report, "crashed")), (4, 0), "{name}: {faults:#}");
        assert_eq!((&report["outcome"], fault_count(&report, "shut_down")), (&"void".into(), 1));
        assert!(reason(&report).starts_with("the server was shut down "), "{}", reason(&report));
        let advice = advice(&report);
        assert!(advice.contains("Keep the server running"), "{name}: {advice}");
        assert!(!advice.contains("CPU") && !advice.contains("Repair"), "{name}: {advice}");
        assert_eq!(report["runs"].as_array().unwrap().len(), 1, "no further run begins");
    }
}

#[test]
fn a_search_during_which_the_server_is_shut_down_has_no_breaking_point() {
    let mut server = start_server(&["--drain-timeout", "2s"]);
    let search = ["stress", "--rooms", "4", "--start", "100", "--step", "20s"];
    let child = start_tester("shut-down-stress", &server, &search);
    server.send_signal("TERM");
    let (status, report) = finish("shut-down-stress", child);
    server.wait_for_exit();
    let point = &report["breaking_point"];
    assert_eq!((status, &point["cause"]), (4, &"the server was shut down".into()));
    assert_eq!((&point["void"], point["breaks"].is_null()), (&true.into(), true));
}

#[test]
fn a_port_that_resets_every_connection_is_no_server_and_no_crash() {
    for (name, scenario) in [
        ("calls", &["calls", "--phases", "20/s for 3s"][..]),
        ("http", &["http", "--requests", "/health 20/s for 2s"]),
    ] {
        let server = start(Misbehaviour::ResetsConnections);
        let (status, report) = run_against(&format!("resets-{name}"), server, scenario);
        assert_eq!((status, fault_count(&report, "crashed")), (3, 0), "{:#}", report["runs"]);
        assert!(reason(&report).starts_with("no session could be opened"), "{}", reason(&report));
        assert!(advice(&report).contains("Check the URL"), "{}", advice(&report));
    }
}

/// Runs the tester against a server that misbehaves.
fn run_against(name: &str, server: SocketAddr, arguments: &[&str]) -> (i32, Value) {
    let url = format!("ws://{server}/ws");
    let rules = ["--late-percent", "100", "--targets", "none", "--url", &url];
    let child = tester(name, &[arguments, &rules].concat()).stdout(Stdio::piped()).spawn().unwrap();
    finish(name, child)
}

const ROOMS: [&str; 11] = [
    "signaling",
    "--rooms",
    "6",
    "--connect-rate",
    "100",
    "--message-rate",
    "20",
    "--warm-up",
    "0s",
    "--duration",
    "2s",
];

#[test]
fn a_message_above_the_servers_limit_is_named_as_the_cause() {
    let run = |name: &str, bytes: &str, limit: &str| {
        let server = start_server(&["--max-message-bytes", limit]);
        let arguments = [&ROOMS[..], &["--message-bytes", bytes]].concat();
        run_load(name, &server, &arguments)
    };
    let (status, report) = run("too-large", "6000", "4096");
    let advised = advice(&report);
    assert_eq!(status, 2);
    assert!(advised.contains("your `--message-bytes` (6,000) is above it"), "{advised}");
    assert!(!advised.contains("log"), "{advised}");
    let closed = fault_count(&report, "closed_by_server");
    assert_eq!(figure(&report, "closed_1009"), closed as f64);
    assert!(figure(&report, "server_closed_message_too_large") >= closed as f64);
    let meaning = format!("({closed} × 1009: a message was too large)");
    assert!(report["runs"][0]["faults"].to_string().contains(&meaning));
    let (status, report) = run("large-enough", "4000", "4096");
    assert_eq!((status, advice(&report)), (0, String::new()));
}

#[test]
fn a_refused_connection_is_explained_by_the_answer() {
    let connect = ["connections", "--users", "30", "--hold", "500ms", "--connect-rate", "100"];
    let connect = [&connect[..], &["--source", "127.0.0.1"]].concat();
    for (flag, expected) in [
        ("--max-connections-per-address", "`--max-connections-per-address`"),
        ("--max-new-connections-per-address", "`--max-new-connections-per-address`"),
        ("--max-connections", "Raise the server's `--max-connections`"),
    ] {
        let server = start_server(&[flag, "12"]);
        let (status, report) = run_load(&format!("refused{flag}"), &server, &connect);
        let advised = advice(&report);
        assert_eq!(status, 2, "{flag}: {advised}");
        assert!(advised.contains(expected), "{flag}: {advised}");
        assert!(!advised.contains("no observed resource"), "{flag}: {advised}");
    }
    for (status, text, expected) in [
        (401, "missing token", "an access token that the server accepts"),
        (403, "pages of this origin are not allowed to connect", "`--allow-origin`"),
        (404, "not found", "Check the path of `--url`"),
    ] {
        let server = start(Misbehaviour::RefusesUpgrades(status, text));
        let (_, report) = run_against(&format!("refuses-{status}"), server, &connect);
        let advised = advice(&report);
        assert!(advised.contains(expected), "{status}: {advised}");
        let cause = format!("{} × {status} {text}", figure(&report, &format!("upgrade_{status}")));
        assert!(reason(&report).contains(&cause), "{}", reason(&report));
    }
}

#[test]
fn a_closed_session_is_explained_by_its_code() {
    for (code, expected) in [
        (1011, "an internal error of its own (closed with 1011)"),
        (1013, "closes sessions with `1013`"),
        (4001, "closed with 4001, sessions were resumed"),
        (4003, "ban of the generator: closed with 4003"),
    ] {
        let server = start(Misbehaviour::ClosesWith(code));
        let (status, report) = run_against(&format!("closes-{code}"), server, &ROOMS);
        let advised = advice(&report);
        assert_eq!(status, 2, "{code}: {advised}");
        assert!(advised.contains(expected), "{code}: {advised}");
        assert!(figure(&report, &format!("closed_{code}")) > 0.0);
    }
}

#[test]
fn a_refused_message_is_a_fault_with_the_name_of_its_error() {
    for (code, figure_name) in [
        ("not_in_room", "not_in_room"),
        ("peer_busy", "peer_busy"),
        ("bad_tags", "refused_bad_tags"),
    ] {
        let server = start(Misbehaviour::RefusesMessages(code));
        let arguments = [&ROOMS[..], &["--message-timeout", "2s"]].concat();
        let (status, report) = run_against(&format!("refuses-{code}"), server, &arguments);
        assert_eq!(status, 2, "{code}");
        let refused = figure(&report, figure_name);
        assert!(refused > 0.0 && refused == figure(&report, "refusals"), "{code}");
        assert!(figure(&report, "delivered_percent") < 95.0, "{code}");
    }
}

#[test]
fn percentiles_include_what_was_never_answered() {
    let at_least = |report: &Value, name: &str, ms: f64| {
        let measured = figure(report, name);
        assert!(measured >= ms, "{name} is {measured}");
    };
    let connect = ["connections", "--users", "20", "--hold", "500ms", "--connect-rate", "100"];
    let second = [&connect[..], &["--connect-timeout", "2s", "--message-timeout", "1s"]].concat();
    let server = start(Misbehaviour::AnswersEverySecondUpgrade);
    let (_, report) = run_against("never-connected", server, &second);
    at_least(&report, "connect_p90_ms", 1990.0);
    at_least(&report, "connect_service_p90_ms", 1990.0);
    let ping = [&connect[..], &["--message-timeout", "1s", "--ping-every", "300ms"]].concat();
    let (_, report) = run_against("no-pong", start(Misbehaviour::NeverAnswersPings), &ping);
    at_least(&report, "ping_p50_ms", 990.0);
    let rooms = [&ROOMS[..], &["--match-timeout", "1s", "--message-timeout", "1s"]].concat();
    let (_, report) = run_against("no-match", start(Misbehaviour::NeverMatches), &rooms);
    at_least(&report, "match_p50_ms", 990.0);
    let (_, report) = run_against("no-message", start(Misbehaviour::DropsMessages), &rooms);
    at_least(&report, "relay_p99_ms", 990.0);
    let slow = ["http", "--requests", "/slow 10/s for 1s", "--connect-timeout", "1s"];
    let (_, report) = run_against("no-answer", start(Misbehaviour::NeverAnswersSlowPath), &slow);
    at_least(&report, "http_p50_ms", 990.0);
}

/// Suspends the tester for a while.
fn suspend(tester: &Child, duration: Duration) {
    for (signal, pause) in [("-STOP", duration), ("-CONT", Duration::ZERO)] {
        let pid = tester.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        std::thread::sleep(pause);
    }
}

/// While the tester is stopped it sends nothing, and the server is not slow.
#[test]
fn the_testers_own_delay_does_not_fail_the_server() {
    let server = start_server(&[]);
    let rooms = ["signaling", "--rooms", "4", "--message-rate", "20", "--duration", "5s"];
    let rules = ["--warm-up", "0s", "--connect-rate", "100", "--require", "relay_p99_ms<150"];
    let child = start_tester("own-delay", &server, &[&rooms[..], &rules].concat());
    while server_stats(&server)["messages.relayed"] < 300.0 {
        std::thread::yield_now();
    }
    suspend(&child, Duration::from_millis(600));
    let (status, report) = finish("own-delay", child);
    assert_eq!(status, 0, "{:#}", report["runs"][0]["targets"]);
    assert!(figure(&report, "relay_p99_ms") > 150.0);
    let targets = report["runs"][0]["targets"].as_array().unwrap();
    let judged = targets.iter().find(|target| target["figure"] == "relay_p99_ms").unwrap();
    assert_eq!(judged["reached"], "yes");
    assert!(judged["note"].as_str().unwrap().starts_with("met by the service time"), "{judged}");
}

#[test]
fn a_void_run_is_explained_by_the_load_of_the_machine() {
    let server = start_server(&[]);
    let rules = ["--url", server.url(), "--targets", "none", "--late-percent", "0"];
    let mut tester = tester("explained", &[&ROOMS[..9], &rules, &["--duration", "4s"]].concat());
    let child = tester.stdout(Stdio::piped()).spawn().unwrap();
    while server_stats(&server)["messages.relayed"] < 200.0 {
        std::thread::yield_now();
    }
    suspend(&child, Duration::from_millis(600));
    let (status, report) = finish("explained", child);
    assert_eq!(status, 4, "{:#}", report["runs"][0]["reason"]);
    for part in ["the generator was late for ", "the server ", "other processes "] {
        assert!(reason(&report).contains(part), "{}", reason(&report));
    }
    let intervals = report["runs"][0]["intervals"].as_array().unwrap();
    assert!(intervals.iter().all(|row| row["generator"]["machine"]["others_cpu_percent"].is_f64()));
}

/// However much lateness is allowed, a load with fewer users than asked for is another load.
#[test]
fn users_that_the_tester_could_not_start_make_the_run_void() {
    let server = start_server(&[]);
    let users = ["connections", "--users", "40", "--connect-rate", "20", "--hold", "1s"];
    let child = start_tester("not-started", &server, &users);
    suspend(&child, Duration::from_secs(3));
    let (status, report) = finish("not-started", child);
    let missing = fault_count(&report, "generator_not_started");
    let started = figure(&report, "connected") as u64;
    assert_eq!((status, started + missing), (4, 40), "{}", reason(&report));
    let expected = format!("the generator was too late to start {missing} of its users; CPU use");
    assert!(missing > 0 && reason(&report).starts_with(&expected), "{}", reason(&report));
}
