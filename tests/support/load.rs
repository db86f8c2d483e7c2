//! Helpers for the tests of the load tester: the real server, and the tester as a process.
#![allow(dead_code, reason = "each test file uses a part of it")]

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use switchboard::load::server_monitor::numbers;
use switchboard::load::target_address::{http_get, parse_server_url};

/// A server on a free port; it is killed when this is dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Server {
        super::run_shared();
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
        // Drain the rest of the log, so that the pipe does not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, url: format!("ws://{address}/ws") }
    }

    pub(crate) fn stats(&self) -> std::collections::BTreeMap<String, f64> {
        let (status, body) = http_get(&parse_server_url(&self.url).unwrap(), "/stats").unwrap();
        assert_eq!(status, 200);
        numbers(&body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The test may have stopped it already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn directory(name: &str) -> PathBuf {
    [env!("CARGO_TARGET_TMPDIR"), &format!("real-{name}-{}", std::process::id())].iter().collect()
}

pub(crate) fn tester(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard-load"));
    command.args(arguments).args(["--quiet", "--report"]).arg(directory(name));
    command
}

/// Runs the tester without making a run void on a busy machine. Returns exit status and report.
pub(crate) fn load(name: &str, server: &Server, arguments: &[&str]) -> (i32, Value) {
    let output = tester(name, arguments)
        .args(["--url", &server.url, "--late-percent", "100", "--targets", "none"])
        .output()
        .unwrap();
    let path = directory(name).join("report.json");
    let report = std::fs::read(path).unwrap_or_else(|error| {
        panic!("{error}; the tester printed: {}", String::from_utf8_lossy(&output.stderr))
    });
    for file in ["report.html", "junit.xml", "summary.md", "intervals.jsonl"] {
        assert!(directory(name).join(file).metadata().unwrap().len() > 100, "{file}");
    }
    std::fs::remove_dir_all(directory(name)).unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&report).unwrap())
}

pub(crate) fn figure(report: &Value, name: &str) -> f64 {
    report["runs"][0]["figures"][name].as_f64().unwrap_or_else(|| panic!("no figure {name}"))
}

/// Exit status and standard error of a command that is refused.
pub(crate) fn refusal(name: &str, arguments: &[&str]) -> (i32, String) {
    let output = tester(name, arguments).output().unwrap();
    // The directory exists only if the command got that far.
    let _ = std::fs::remove_dir_all(directory(name));
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}
