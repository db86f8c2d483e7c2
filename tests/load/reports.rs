//! What a report contains, and what can be made of several reports.

use crate::options::serve_fixed;
use crate::support::load::{
    figure, report_directory, report_of, run_load, run_refused, start_server, tester,
};
use crate::support::{read_report, report_file, wait_until};
use serde_json::Value;
use std::process::{Command, Output, Stdio};

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

/// Of every run, whatever its end: the log contains what the report is made of.
#[test]
fn a_report_made_from_the_interval_log_equals_the_report_of_the_test() {
    let server = start_server(&[]);
    let stages = ["plan", "--stages", "6 for 2s", "--connect-rate", "100", "--rooms", "3"];
    let rest = ["--stress-step", "500ms", "--stress-start", "50", "--stress-ceiling", "100"];
    let talk = ["--talk-min", "300ms", "--talk-max", "900ms", "--endurance", "2s"];
    let output = tester("made-again", &[&stages[..], &rest, &talk].concat())
        .args(["--url", server.url(), "--late-percent", "100", "--targets", "none"])
        .output()
        .unwrap();
    let report = report_of("made-again", &output);
    assert_eq!(output.status.code(), Some(0), "{:#}", report["runs"]);
    let directory = report_directory("made-again");
    std::fs::remove_file(report_file(&directory)).unwrap();
    let made = offline(&["report", directory.to_str().unwrap()]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let again = read_report(&directory);
    std::fs::remove_dir_all(&directory).unwrap();
    for part in
        ["runs", "breaking_point", "configuration", "started", "outcome", "advice", "server"]
    {
        assert_eq!(again[part], report[part], "{part}");
    }
}

/// A tester that is killed leaves no report; the log has what it measured.
#[test]
fn a_report_of_a_killed_tester_is_made_from_its_interval_log() {
    let server = start_server(&[]);
    let load = ["signaling", "--rooms", "3", "--duration", "60s", "--late-percent", "100"];
    let mut child = tester("killed", &load)
        .args([
            "--warm-up",
            "0s",
            "--interval",
            "200ms",
            "--targets",
            "none",
            "--url",
            server.url(),
        ])
        .spawn()
        .unwrap();
    let directory = report_directory("killed");
    let log = directory.join("intervals.jsonl");
    wait_until("rows with messages", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let rows = text.lines().filter(|line| line.contains("\"received\":"));
        if rows.count() >= 4 { Ok(()) } else { Err(text) }
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!report_file(&directory).exists());
    let out = report_directory("of-killed");
    let arguments = ["report", directory.to_str().unwrap(), "--report", out.to_str().unwrap()];
    let made = offline(&arguments);
    let report = read_report(&out);
    for file in ["report.html", "junit.xml", "summary.md"] {
        assert!(out.join(file).metadata().unwrap().len() > 100, "{file}");
    }
    std::fs::remove_dir_all(&out).unwrap();
    assert_eq!((made.status.code(), &report["outcome"]), (Some(130), &"stopped".into()));
    assert_eq!(report["runs"][0]["reason"], "the log ends before the run does");
    assert!(figure(&report, "relay_p99_ms") > 0.0);
    let received = report["runs"][0]["times"]["relay"]["count"].as_f64().unwrap();
    assert!(received > 0.0 && received <= figure(&report, "received"));
    // Without its first line the log does not say what was tested.
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, text.split_once('\n').unwrap().1).unwrap();
    let refused = offline(&["report", directory.to_str().unwrap()]);
    std::fs::remove_dir_all(&directory).unwrap();
    let line = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(line.contains("does not say what was tested"), "{line}");
}

/// Two generators at the same time against one server.
#[test]
fn merged_reports_have_the_messages_and_percentiles_of_all() {
    let server = start_server(&[]);
    let load = ["signaling", "--rooms", "3", "--connect-rate", "100", "--duration", "3s"];
    let rules = ["--warm-up", "0s", "--targets", "none", "--late-percent", "100"];
    let start = |name: &str| {
        let mut child = tester(name, &[&load[..], &rules].concat());
        child.args(["--url", server.url()]).stdout(Stdio::piped()).spawn().unwrap()
    };
    let children = ["part-1", "part-2"].map(start);
    let outputs = children.map(|child| child.wait_with_output().unwrap());
    let parts = [report_of("part-1", &outputs[0]), report_of("part-2", &outputs[1])];
    let directories = ["part-1", "part-2", "parts"].map(report_directory);
    let [first, second, out] = directories.each_ref().map(|path| path.to_str().unwrap());
    let merged = offline(&["merge", first, second, "--report", out]);
    let report = read_report(&directories[2]);
    assert_eq!(merged.status.code(), Some(0), "{merged:?}");
    let sum = |name: &str| parts.iter().map(|part| figure(part, name)).sum::<f64>();
    for name in ["sent", "received", "connected", "users_peak"] {
        assert_eq!(figure(&report, name), sum(name), "{name}");
    }
    let max = parts.iter().map(|part| figure(part, "relay_max_ms")).fold(0.0, f64::max);
    assert_eq!(figure(&report, "relay_max_ms"), max);
    let about = report["runs"][0]["about"].as_str().unwrap();
    assert!(about.ends_with("merged from 2 reports made at the same time"), "{about}");
    // A report of another version is refused.
    let file = report_file(&directories[1]);
    let text = std::fs::read_to_string(&file).unwrap().replace("\"schema\": 1,", "\"schema\": 2,");
    std::fs::write(&file, text).unwrap();
    let refused = offline(&["merge", first, second, "--report", out]);
    directories.iter().for_each(|directory| std::fs::remove_dir_all(directory).unwrap());
    let line = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(line.contains("has schema version 2"), "{line}");
}

/// A report whose times and costs are those of `report`, multiplied.
fn slower(report: &Value, factor: f64) -> Value {
    let mut slower = report.clone();
    let run = &mut slower["runs"][0];
    for name in ["server_memory_mb", "relay_p99_ms"] {
        let value = run["figures"][name].as_f64().unwrap();
        run["figures"][name] = (value * factor).into();
    }
    slower
}

#[test]
fn a_regression_fails_with_status_5_and_noise_does_not() {
    let server = start_server(&[]);
    let load = ["signaling", "--rooms", "3", "--connect-rate", "100", "--duration", "2s"];
    let rules = ["--warm-up", "0s", "--targets", "none", "--late-percent", "100"];
    let run = |name: &str, more: &[&str]| {
        let mut command = tester(name, &[&load[..], &rules, more].concat());
        let output = command.args(["--url", server.url()]).output().unwrap();
        let report = report_of(name, &output);
        (output, report)
    };
    let (_, before) = run("before", &[]);
    let directory = report_directory("before");
    let before_file = report_file(&directory);
    let file = |report: &Value| {
        std::fs::write(&before_file, report.to_string()).unwrap();
        before_file.to_str().unwrap().to_owned()
    };
    // The server of the earlier report used a third of the memory.
    let small = file(&slower(&before, 1.0 / 3.0));
    let gate = ["--compare", &small, "--fail-on-regression", "150%"];
    let (output, report) = run("after", &gate);
    let junit = std::fs::read_to_string(report_directory("after").join("junit.xml")).unwrap();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert_eq!((&report["outcome"], &report["exit_status"]), (&"failed".into(), &5.into()));
    let line = report["regressions"][0].as_str().unwrap();
    assert!(line.starts_with("regression: signaling server_memory_mb: "), "{line}");
    assert!(junit.contains("failures=\"1\""), "{junit}");
    // The same two reports, compared without a run.
    let after = report_directory("after");
    let compare = |gate: &[&str]| {
        let reports = ["compare", &small, after.to_str().unwrap()];
        offline(&[&reports[..], gate].concat())
    };
    let output = compare(&["--fail-on-regression", "150"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(text.contains(line), "{text}");
    assert_eq!(compare(&["--fail-on-regression", "500%"]).status.code(), Some(0));
    assert_eq!(compare(&[]).status.code(), Some(0));
    // Of a void run nothing is known.
    let mut void = slower(&before, 1.0 / 3.0);
    void["runs"][0]["outcome"] = "void".into();
    file(&void);
    assert_eq!(compare(&["--fail-on-regression", "150%"]).status.code(), Some(0));
    let _ = [directory, after].map(|directory| std::fs::remove_dir_all(directory).unwrap());
    let (status, line) = run_refused("no-compare", &["calls", "--fail-on-regression", "10%"]);
    assert_eq!((status, line.lines().count()), (1, 1), "{line}");
    assert!(line.contains("--compare"), "{line}");
    let (status, line) = run_refused("no-compare", &["calls", "--fail-on-regression", "fast"]);
    assert_eq!((status, line.lines().count()), (1, 1), "{line}");
}

/// Runs a command of the load tester that makes a report of earlier ones.
fn offline(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_switchboard-load")).args(arguments).output().unwrap()
}
