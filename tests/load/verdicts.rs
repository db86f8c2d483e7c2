//! The verdicts of the load tester against the real server: what the server refused or dropped
//! fails a run, with its cause.

use crate::support::load::{figure, run_load, server_stats, start_server};
use serde_json::Value;

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
