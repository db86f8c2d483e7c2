//! A server that ends between two runs of a test, when no session can tell why.

use crate::support::load::{report_directory, report_of, start_server, tester};
use crate::support::{Server, read_report};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;

/// Serves statistics of `server`. Once the interval log says that a run has ended, the server is killed
/// before the next answer, and its status is `last_status`.
fn serve_stats(log: PathBuf, server: Server, last_status: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut server = Some(server);
        for mut socket in listener.incoming().flatten() {
            if !read_head(&mut socket) {
                continue;
            }
            if std::fs::read_to_string(&log).unwrap_or_default().contains("\"run_ends\"") {
                server.take().iter_mut().for_each(Server::kill);
            }
            let status = if server.is_some() { "ok" } else { last_status };
            let body = format!("{{\"status\":\"{status}\"}}");
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = socket.write_all((head + &body).as_bytes());
        }
    });
    address
}

/// Reads the head of a request; `false` if the connection ends before.
fn read_head(socket: &mut TcpStream) -> bool {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if !socket.read(&mut byte).is_ok_and(|len| len == 1) {
            return false;
        }
        head.push(byte[0]);
    }
    true
}

/// Runs a test whose server is gone after the first run. Gives the exit status, the report, and the report
/// made again from the log.
fn run(name: &str, last_status: &'static str, load: &[&str]) -> (i32, Value, Value) {
    let server = start_server(&[]);
    let url = server.url().to_owned();
    let directory = report_directory(name);
    let stats = serve_stats(directory.join("intervals.jsonl"), server, last_status);
    let stats = format!("http://{stats}/stats");
    let rules = ["--url", &url, "--stats-url", &stats, "--late-percent", "100"];
    let rules = [&rules[..], &["--targets", "none", "--connect-rate", "100"]].concat();
    let output = tester(name, &[load, &rules].concat()).output().unwrap();
    let report = report_of(name, &output);
    let mut remake = Command::new(env!("CARGO_BIN_EXE_switchboard-load"));
    remake.arg("report").arg(&directory).output().unwrap();
    let remade = read_report(&directory);
    std::fs::remove_dir_all(directory).unwrap();
    (output.status.code().unwrap(), report, remade)
}

fn fault_kinds(run: &Value) -> Vec<&str> {
    run["faults"].as_array().unwrap().iter().map(|fault| fault["kind"].as_str().unwrap()).collect()
}

const PLAN: [&str; 9] = [
    "plan",
    "--stages",
    "4 for 1s, 6 for 20s, 8 for 20s",
    "--talk-min",
    "300ms",
    "--talk-max",
    "500ms",
    "--endurance",
    "0s",
];

#[test]
fn a_server_that_said_that_it_drains_and_is_gone_before_a_run_was_shut_down() {
    let (status, report, remade) = run("gone-draining", "draining", &PLAN);
    let runs = report["runs"].as_array().unwrap();
    assert_eq!((status, &report["outcome"], runs.len()), (4, &"void".into(), 2), "{runs:#?}");
    assert_eq!(runs[0]["outcome"], "passed");
    assert_eq!(fault_kinds(&runs[1]), ["shut_down"]);
    assert_eq!(runs[1]["reason"], "the server was shut down before the run");
    assert_eq!(remade["runs"][1]["reason"], runs[1]["reason"]);
    let advice = report["advice"].to_string();
    assert!(advice.contains("Keep the server running"), "{advice}");
    assert!(!advice.contains("Find out why the server ended"), "{advice}");
}

#[test]
fn a_server_that_is_gone_before_a_run_without_a_sign_cannot_be_reached_and_is_no_crash() {
    let (status, report, remade) = run("gone-silent", "ok", &PLAN);
    let runs = report["runs"].as_array().unwrap();
    assert_eq!((status, &report["outcome"], runs.len()), (3, &"failed".into(), 2), "{runs:#?}");
    assert_eq!(fault_kinds(&runs[1]), ["server_unreachable"]);
    let reason = runs[1]["reason"].as_str().unwrap();
    assert!(reason.starts_with("the server cannot be reached any more: "), "{reason}");
    assert_eq!(remade["runs"][1]["reason"], reason);
    let advice = report["advice"].to_string();
    assert!(advice.contains("Find out why the server ended between two runs"), "{advice}");
    assert!(!advice.contains("Keep the server") && !advice.contains("Check the URL"), "{advice}");
}

#[test]
fn a_search_whose_server_is_gone_between_two_trials_has_no_breaking_point() {
    let search = ["stress", "--rooms", "2", "--start", "40", "--ceiling", "80", "--step", "1s"];
    for (last_status, expected, cause) in [
        ("draining", 4, "the server was shut down"),
        ("ok", 3, "the server could not be reached any more when the run began"),
    ] {
        let (status, report, _) = run(&format!("gone-search-{last_status}"), last_status, &search);
        let point = &report["breaking_point"];
        assert_eq!((status, &point["cause"]), (expected, &cause.into()), "{point:#}");
        assert_eq!((&point["void"], point["breaks"].is_null()), (&true.into(), true));
    }
}
