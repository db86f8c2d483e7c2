//! The load tester as a process, and the server it runs against.

use super::{Server, read_report, report_file};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use switchboard::load::server_stats::numbers;

/// A server with two shards.
pub(crate) fn start_server(flags: &[&str]) -> Server {
    Server::start(&[&["--shards", "2"], flags].concat())
}

/// The server's `/stats` as the load tester reads it: numbers by dotted names.
pub(crate) fn server_stats(server: &Server) -> BTreeMap<String, f64> {
    numbers(&server.get("/stats").body)
}

/// The directory of a report. `name` is unique among the tests.
pub(crate) fn report_directory(name: &str) -> PathBuf {
    [env!("CARGO_TARGET_TMPDIR"), &format!("real-{name}-{}", std::process::id())].iter().collect()
}

/// The load tester with these arguments, reporting to the directory of `name`.
pub(crate) fn tester(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard-load"));
    command.args(arguments).args(["--quiet", "--report"]).arg(report_directory(name));
    command
}

/// Runs the load tester against `server`; a busy machine does not make the run void. Gives the
/// exit status and report.json.
pub(crate) fn run_load(name: &str, server: &Server, arguments: &[&str]) -> (i32, Value) {
    let output = tester(name, arguments)
        .args(["--url", server.url(), "--late-percent", "100", "--targets", "none"])
        .output()
        .unwrap();
    let report = report_of(name, &output);
    for file in ["report.html", "junit.xml", "summary.md", "intervals.jsonl"] {
        assert!(report_directory(name).join(file).metadata().unwrap().len() > 100, "{file}");
    }
    std::fs::remove_dir_all(report_directory(name)).unwrap();
    (output.status.code().unwrap(), report)
}

/// The report of a tester that has ended with `output`.
#[track_caller]
pub(crate) fn report_of(name: &str, output: &Output) -> Value {
    let directory = report_directory(name);
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(report_file(&directory).exists(), "no report; the tester printed: {printed}");
    read_report(&directory)
}

/// Waits for a tester that the caller started. Gives its exit status and its report.
pub(crate) fn finish(name: &str, child: Child) -> (i32, Value) {
    let output = child.wait_with_output().unwrap();
    let report = report_of(name, &output);
    std::fs::remove_dir_all(report_directory(name)).unwrap();
    (output.status.code().unwrap(), report)
}

/// A figure of the report's first run.
pub(crate) fn figure(report: &Value, name: &str) -> f64 {
    report["runs"][0]["figures"][name].as_f64().unwrap_or_else(|| panic!("no figure {name}"))
}

/// Runs the load tester with arguments that it refuses. Gives the exit status and standard error.
pub(crate) fn run_refused(name: &str, arguments: &[&str]) -> (i32, String) {
    let output = tester(name, arguments).output().unwrap();
    // Some runs are refused before the directory is made.
    let _ = std::fs::remove_dir_all(report_directory(name));
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}
