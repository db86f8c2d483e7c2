//! The figures, targets and reports of the requests of each path (scenario `http`).

use crate::support::bad_server::{Misbehaviour, start};
use crate::support::load::{figure, report_directory, report_of, start_server, tester};
use crate::support::read_report;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// What a run printed, and the files of its report.
struct PathReport {
    status: i32,
    report: Value,
    /// Console, `summary.md` and `report.html`.
    texts: [String; 3],
}

/// Runs the scenario `http` against `server`. A busy machine must not make the run void, and a path that
/// is not answered is no stall of the server.
fn request(name: &str, server: SocketAddr, arguments: &[&str]) -> PathReport {
    let url = format!("ws://{server}/ws");
    let rules = ["--url", &url, "--late-percent", "100", "--connect-timeout", "1s"];
    let rules = [&rules[..], &["--stall-after", "10s"]].concat();
    let output = tester(name, &[&["http"], arguments, &rules].concat()).output().unwrap();
    let report = report_of(name, &output);
    let directory = report_directory(name);
    let read = |file| std::fs::read_to_string(directory.join(file)).unwrap();
    let console = String::from_utf8(output.stdout.clone()).unwrap();
    let texts = [console, read("summary.md"), read("report.html")];
    std::fs::remove_dir_all(directory).unwrap();
    PathReport { status: output.status.code().unwrap(), report, texts }
}

/// Each target of the run with its outcome; those that were not judged are left out.
fn judged(report: &Value) -> Vec<(String, bool)> {
    let targets = report["runs"][0]["targets"].as_array().unwrap().iter();
    let judged = targets.filter(|target| target["reached"] != "not_judged");
    judged.map(|t| (t["target"].as_str().unwrap().to_owned(), t["reached"] == "yes")).collect()
}

/// Requests to one path are not answered; those to the other one are.
const REQUESTS: [&str; 2] = ["--requests", "/health 40/s for 1s, /slow?a=1 10/s for 1s"];

#[test]
fn each_path_is_judged_alone_and_named_in_every_form_of_the_report() {
    let server = start(Misbehaviour::NeverAnswersSlowPath);
    let PathReport { status, report, texts } = request("paths", server, &REQUESTS);
    assert_eq!(status, 2, "{:#}", report["runs"][0]["targets"]);
    let targets = judged(&report);
    for (target, met) in [
        ("http_ok_percent[/health] ≥ 100", true),
        ("http_p99_ms[/health] < 100", true),
        ("http_ok_percent[/slow?a=1] ≥ 100", false),
        ("http_p99_ms[/slow?a=1] < 100", false),
    ] {
        assert!(targets.contains(&(target.to_owned(), met)), "{target}: {targets:?}");
    }
    let reason = report["runs"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("http_ok_percent[/slow?a=1] ≥ 100 (10 × http_timeout)"), "{reason}");
    assert!(!reason.contains("[/health]"), "{reason}");
    for (name, expected) in [
        ("http_due[/health]", 40.0),
        ("http_ok[/health]", 40.0),
        ("http_failed[/health]", 0.0),
        ("http_due[/slow?a=1]", 10.0),
        ("http_failed[/slow?a=1]", 10.0),
        ("http_per_s[/slow?a=1]", 0.0),
        ("http_ok_percent", 80.0),
    ] {
        assert_eq!(figure(&report, name), expected, "{name}");
    }
    // The last answer may arrive after the end of the second.
    let (of_path, of_all) = (figure(&report, "http_per_s[/health]"), figure(&report, "http_per_s"));
    assert!((35.0..=40.0).contains(&of_path), "{of_path}/s for a second");
    assert!((of_all - of_path / 2.0).abs() < 1e-6, "{of_all}/s in two seconds");
    assert!(figure(&report, "http_p50_ms[/health]") < 990.0);
    assert!(figure(&report, "http_p50_ms[/slow?a=1]") >= 990.0, "the timeout");
    let [console, summary, page] = texts;
    assert!(console.contains("50 requests, 40 answered with status 200, "), "{console}");
    let line = |begin: &str| console.lines().find(|l| l.trim().starts_with(begin)).unwrap();
    assert!(line("/slow?a=1 ").contains("10 requests        0/s       0 % answered"), "{console}");
    assert!(line("/health ").contains("40 requests "), "{console}");
    assert!(summary.contains("| http | `/slow?a=1` | 10 | 0 | 10 | 0 | 0 | "), "{summary}");
    let runs = page.split("<h2>Runs</h2>").nth(1).and_then(|rest| rest.split("<h2>").next());
    let row = "<code>/slow?a=1</code></td><td class=\"n\">10</td><td class=\"n\">0</td>";
    assert!(runs.unwrap().contains(row), "{runs:?}");
}

#[test]
fn a_target_for_all_paths_replaces_the_defaults_and_one_for_a_path_only_its_own() {
    let server = || start(Misbehaviour::NeverAnswersSlowPath);
    let of_all = ["http_ok_percent>=75", "http_p99_ms<60000"];
    let of_all = of_all.map(|target| ["--require", target]).concat();
    let all = request("all-paths", server(), &[&REQUESTS[..], &of_all].concat());
    let judged_by = judged(&all.report);
    for target in ["http_ok_percent ≥ 75", "http_p99_ms < 60000"] {
        assert!(judged_by.contains(&(target.to_owned(), true)), "{judged_by:?}");
    }
    assert!(judged_by.iter().all(|(target, _)| !target.contains('[')), "{judged_by:?}");
    let of_one = ["--targets", "none", "--require", "http_ok_percent[/slow?a=1]<=0"];
    let one = request("one-path", server(), &[&REQUESTS[..], &of_one].concat());
    let expected = ["http_ok_percent[/slow?a=1] ≤ 0", "http_ok_percent[/health] ≥ 100"];
    let names: Vec<String> = judged(&one.report).into_iter().map(|(name, _)| name).collect();
    assert!(expected.iter().all(|name| names.contains(&(*name).to_owned())), "{names:?}");
    let unknown = ["--require", "relay_p99_ms[/health]<5"];
    let output = tester("path-figure", &[&["http"], &unknown[..]].concat()).output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(printed.contains("unknown figure `relay_p99_ms[/health]`"), "{printed}");
}

#[test]
fn the_requests_of_each_path_add_up_over_threads_in_reports_made_again_and_in_merged_ones() {
    let server = start_server(&[]);
    let load = ["http", "--requests", "/health 50/s for 1s, /stats 20/s for 500ms"];
    let figures_of = |report: &Value| {
        ["http_ok[/health]", "http_ok[/stats]", "http_due[/health]"].map(|f| figure(report, f))
    };
    let run = |name: &str| {
        let rules = ["--late-percent", "100", "--threads", "2", "--url", server.url()];
        let output = tester(name, &[&load[..], &rules].concat()).output().unwrap();
        assert_eq!(figures_of(&report_of(name, &output)), [50.0, 10.0, 50.0]);
        (report_directory(name), report_of(name, &output))
    };
    let ((first, report), (second, _)) = (run("path-parts-1"), run("path-parts-2"));
    let [again, merged] = ["path-parts-again", "path-parts-merged"].map(report_directory);
    let made = |command: &str, parts: &[&PathBuf], to: &PathBuf| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_switchboard-load"));
        let output = program.arg(command).args(parts).arg("--report").arg(to).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        read_report(to)
    };
    let remade = made("report", &[&first], &again);
    let paths = |report: &Value| report["runs"][0]["http_paths"].clone();
    assert_eq!(paths(&remade), paths(&report));
    let all = made("merge", &[&first, &second], &merged);
    assert_eq!(figures_of(&all), [100.0, 20.0, 100.0]);
    let rate = figure(&all, "http_per_s[/health]");
    assert!((45.0..=50.0).contains(&rate), "one after the other: {rate}/s");
    for directory in [first, second, again, merged] {
        std::fs::remove_dir_all(directory).unwrap();
    }
}
