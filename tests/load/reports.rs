//! What a report contains, and what can be made of several reports.

use crate::options::serve_fixed;
use crate::support::load::{figure, report_directory, report_of, run_load, start_server, tester};
use std::process::Command;

/// Reading a report checks it against its schema.
#[test]
fn a_report_with_refused_upgrades_matches_its_schema() {
    let server = start_server(&["--max-connections", "5"]);
    let hold = ["connections", "--users", "12", "--connect-rate", "100", "--hold", "1s"];
    let (_, report) = run_load("busy", &server, &hold);
    assert!(figure(&report, "upgrade_503") > 0.0, "{:#}", report["runs"][0]["faults"]);
    for status in ["503 Service Unavailable", "429 Too Many Requests"] {
        let url = format!("ws://{}/ws", serve_fixed(status, ""));
        let output = tester("refusing", &hold)
            .args(["--url", &url, "--late-percent", "100", "--targets", "none"])
            .output()
            .unwrap();
        let report = report_of("refusing", &output);
        std::fs::remove_dir_all(report_directory("refusing")).unwrap();
        let failed = figure(&report, "upgrade_503") + figure(&report, "upgrade_refused");
        assert_eq!(failed, 12.0, "{:#}", report["runs"][0]["faults"]);
    }
}

#[test]
fn the_targets_of_a_void_run_are_not_judged_in_any_format() {
    let server = start_server(&[]);
    // The tester has fewer descriptors than users.
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_switchboard-load")])
        .args(["connections", "--users", "100", "--connect-rate", "200", "--hold", "1s"])
        .args(["--no-preflight", "--quiet", "--require", "users_peak>=100"])
        .args(["--url", server.url(), "--report"])
        .arg(report_directory("void"))
        .output()
        .unwrap();
    let report = report_of("void", &output);
    let read = |file| std::fs::read_to_string(report_directory("void").join(file)).unwrap();
    let (page, junit, summary) = (read("report.html"), read("junit.xml"), read("summary.md"));
    std::fs::remove_dir_all(report_directory("void")).unwrap();
    assert_eq!((output.status.code(), &report["outcome"]), (Some(4), &"void".into()));
    let targets = report["runs"][0]["targets"].as_array().unwrap();
    assert!(targets.iter().all(|target| target["reached"] == "not_judged"), "{targets:#?}");
    let console = String::from_utf8(output.stdout).unwrap();
    assert!(console.contains("not judged") && !console.contains("MISSED"), "{console}");
    assert!(junit.contains("failures=\"0\"") && junit.contains("the run is void"), "{junit}");
    assert!(summary.contains("- `users_peak ≥ 100`: the run is void"), "{summary}");
    assert!(!summary.to_lowercase().contains("missed"), "{summary}");
    assert!(!page.contains("missed") && !page.contains("bad\">"), "{page}");
}

/// The text forms are those of HdrHistogram's tools.
#[test]
fn a_report_keeps_the_histograms_of_its_latencies() {
    let server = start_server(&[]);
    let load = ["signaling", "--rooms", "3", "--connect-rate", "100", "--warm-up", "0s"];
    let output = tester("histograms", &load)
        .args(["--duration", "1s", "--url", server.url(), "--late-percent", "100"])
        .output()
        .unwrap();
    let report = report_of("histograms", &output);
    let file = report_directory("histograms").join("histograms/signaling.relay.hgrm");
    let distribution = std::fs::read_to_string(file).unwrap();
    std::fs::remove_dir_all(report_directory("histograms")).unwrap();
    let run = &report["runs"][0];
    let text = run["histograms"]["relay"].as_str().unwrap();
    let relay = switchboard::load::encoded_histogram::decode(text).unwrap();
    assert_eq!(relay.len() as f64, run["times"]["relay"]["count"].as_f64().unwrap());
    assert_eq!(relay.max() as f64 / 1000.0, run["times"]["relay"]["max_ms"].as_f64().unwrap());
    let total = format!("Total count    = {:>12}]", relay.len());
    assert!(distribution.contains(&total), "{distribution}");
}
