//! The options of the load tester: each has its effect, and invalid ones are refused in one line
//! with the right exit status.

use crate::support::load::{
    figure, report_directory, report_of, run_load, run_refused, server_stats, start_server, tester,
};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn invalid_input_is_refused_in_one_line_with_its_exit_status() {
    let file = report_directory("file.toml");
    std::fs::write(&file, "scenario = \"calls\"\n\ntalk_mim = \"1s\"\n").unwrap();
    let (status, line) = run_refused("key", &["run", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(status, 1);
    assert!(line.contains("line 3, column 1") && line.contains("`talk_mim`"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    for (arguments, part) in [
        (&["run", "/nowhere/x.toml"][..], "/nowhere/x.toml"),
        (&["calls", "--require", "speed<1"], "`speed`"),
        (&["calls", "--targets", "heroic"], "`heroic`"),
        (&["calls", "--url", "http://x/"], "ws://"),
        (&["calls", "--url", "ws://127.0.0.1:99999/"], "up to 65535"),
        (&["calls", "--require", "relay_p99_ms<nan"], "relay_p99_ms<nan"),
        (&["signaling", "--message-rate", "inf"], "message_rate: inf"),
        (&["connections", "--source", "192.0.2.7"], "192.0.2.7 is not an address of this machine"),
        (&["matchmaking", "--users", "3"], "pairs"),
        (&["chaos"], "unknown scenario 'chaos', expected one of connections,"),
        (&["calls", "--nonsense"], "'--nonsense'"),
        (&["calls", "--talk-min", "soon"], "soon"),
        (&["calls", "--resume"], "'--resume'"),
        (&["calls", "--stats-url", "ftp://x"], "`ftp://x`"),
        (&["calls", "--time-scale", "0"], "--time-scale"),
        (&["connections", "--users", "0"], "users"),
        (&["endurance", "--capacity", "1e-20"], "capacity: "),
        (&["connections", "--users", "-1"], "'--users <USERS>'"),
        (&["connections", "--connect-timeout", "-1s"], "'--connect-timeout <CONNECT_TIMEOUT>'"),
        (&["calls", "--phases", "-1/s for 1s"], "'--phases <PHASES>'"),
        (&["connections", "--connect-rate", "-5"], "connect_rate: -5"),
        (&["calls", "--time-scale", "-1"], "--time-scale"),
        (&["calls", "--report", "--nonsense"], "'--nonsense'"),
        // The largest possible process id is 4194304 (proc(5), pid_max).
        (&["calls", "--server-pid", "999999999"], "server_pid: no process 999999999 runs"),
    ] {
        let (status, line) = run_refused("bad", arguments);
        assert_eq!((status, line.lines().count()), (1, 1), "{arguments:?}: {line}");
        assert!(line.contains(part), "{arguments:?}: {line}");
    }
}

/// The path is written into the report, which is UTF-8.
#[test]
fn a_report_directory_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let output = Command::new(env!("CARGO_BIN_EXE_switchboard-load"))
        .args(["connections", "--report"])
        .arg(std::ffi::OsStr::from_bytes(b"r/\xff"))
        .output()
        .unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(line.contains("report: "), "{line}");
}

/// Refused connections do not count as capacity, even without targets.
#[test]
fn a_search_over_connections_ends_at_the_servers_limit() {
    let server = start_server(&["--max-connections", "60"]);
    let levels = ["--start", "40", "--factor", "2", "--ceiling", "160", "--step", "1s"];
    let search = ["--tolerance-percent", "100", "--confirmations", "1", "--connect-rate", "200"];
    let arguments = [&["stress", "--raise", "connections"][..], &levels, &search].concat();
    let (status, report) = run_load("raise", &server, &arguments);
    let point = &report["breaking_point"];
    assert_eq!((status, point["holds"].as_f64()), (0, Some(40.0)), "{point:#}");
    assert_eq!((point["breaks"].as_f64(), &point["void"]), (Some(80.0), &false.into()));
    assert_eq!(point["cause"], "the server's connection limit", "{point:#}");
}

/// A target given with `--require` either judges a figure or counts as missed.
#[test]
fn a_required_target_without_a_figure_is_missed() {
    let server = start_server(&[]);
    let hold = ["connections", "--users", "10", "--hold", "1s", "--late-percent", "100"];
    let run = |more: &[&str]| {
        let output =
            tester("vain", &hold).args(more).args(["--url", server.url()]).output().unwrap();
        let summary = std::fs::read_to_string(report_directory("vain").join("summary.md")).unwrap();
        std::fs::remove_dir_all(report_directory("vain")).unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap(), summary)
    };
    let (status, line, summary) = run(&["--targets", "none", "--require", "match_p99_ms<50"]);
    let text = "`match_p99_ms < 50` is required, but no run has this figure";
    assert_eq!((status, line), (Some(2), format!("switchboard-load: {text}\n")));
    assert!(summary.contains(&format!("**Missed:** {text}")), "{summary}");
    assert!(summary.contains("- `match_p99_ms < 50`: not measured in this run"), "{summary}");
    // Predefined target sets apply to every scenario; targets without a figure are listed.
    let (status, line, summary) = run(&[]);
    assert_eq!((status, line.as_str()), (Some(0), ""));
    assert!(summary.contains("- `match_p99_ms < 2000`: not measured in this run"), "{summary}");
}

/// `--no-preflight` skips the checks but still raises the soft limit.
#[test]
fn without_preflight_the_tester_still_raises_its_descriptor_limit() {
    let server = start_server(&[]);
    let output = Command::new("sh")
        .args(["-c", "ulimit -Sn 64 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_switchboard-load")])
        .args(["connections", "--users", "150", "--hold", "1s", "--no-preflight", "--quiet"])
        .args(["--late-percent", "100", "--targets", "none", "--url", server.url(), "--report"])
        .arg(report_directory("preflight"))
        .output()
        .unwrap();
    std::fs::remove_dir_all(report_directory("preflight")).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
}

/// `--stress-ceiling 0` disables the stress run, which would determine the load of the endurance
/// run.
#[test]
fn a_plan_without_messages_and_stress_has_no_endurance_run() {
    let server = start_server(&[]);
    let (status, report) = run_load(
        "silent-plan",
        &server,
        &["plan", "--message-rate", "0", "--stress-ceiling", "0", "--endurance", "1s"]
            .into_iter()
            .chain(["--stages", "4 for 1s", "--talk-min", "1s", "--talk-max", "1s"])
            .collect::<Vec<_>>(),
    );
    assert_eq!(status, 0, "{:#}", report["runs"][0]["reason"]);
    assert_eq!(report["runs"].as_array().unwrap().len(), 1);
    assert!(report["breaking_point"].is_null());
}

/// Errors in the meaning of a value have a position, like syntax errors.
#[test]
fn an_invalid_value_in_a_file_is_reported_with_its_position() {
    let file = report_directory("value.toml");
    let path = file.to_str().unwrap();
    for (key, value) in [
        ("require", "[\"lost==0\", \"speed<1\"]"),
        ("targets", "\"heroic\""),
        ("url", "\"http://x\""),
        ("connect_rate", "nan"),
        ("threads", "60000"),
        ("source", "\"192.0.2.7\""),
    ] {
        std::fs::write(&file, format!("scenario = \"connections\"\n\n{key} = {value}\n")).unwrap();
        let (status, line) = run_refused("value", &["run", path]);
        let place =
            format!("value.toml-{}: line 3, column {}: {key}: ", std::process::id(), key.len() + 4);
        assert_eq!((status, line.lines().count()), (1, 1), "{line}");
        assert!(line.contains(&place), "{line}");
    }
    // A flag overrides the file and has no position in it.
    let (_, line) = run_refused("value", &["run", path, "--source", "here"]);
    assert!(line.contains("source: `here`") && !line.contains("line"), "{line}");
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_closed_standard_output_is_not_an_error() {
    for option in ["--list", "--figures", "--schema"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_switchboard-load"))
            .arg(option)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]), "{option}");
    }
}

/// A server that accepts no session is reported as not reachable instead of faulty.
#[test]
fn a_server_that_accepts_no_session_is_not_judged() {
    let hangs_up = TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging_up = hangs_up.local_addr().unwrap();
    std::thread::spawn(move || hangs_up.incoming().for_each(drop));
    for (server, part) in [
        (serve_fixed("404 Not Found", ""), "the upgrade was refused ("),
        (hanging_up, "were reset"),
    ] {
        let url = format!("ws://{server}/ws");
        let output = tester("stranger", &["connections", "--users", "100", "--hold", "60s"])
            .args(["--url", &url, "--late-percent", "100"])
            .output()
            .unwrap();
        let report = report_of("stranger", &output);
        std::fs::remove_dir_all(report_directory("stranger")).unwrap();
        assert_eq!(output.status.code(), Some(3), "{:#}", report["runs"][0]["faults"]);
        let reason = report["runs"][0]["reason"].as_str().unwrap();
        assert!(reason.starts_with("no session could be opened") && reason.contains(part));
        let seconds = report["runs"][0]["seconds"].as_f64().unwrap();
        assert!(seconds < 50.0, "the run ends early");
    }
}

#[test]
fn an_invalid_report_to_compare_with_is_refused_before_the_run() {
    let file = report_directory("earlier.json");
    std::fs::write(&file, "{\"schema\": 1, ").unwrap();
    let (status, line) = run_refused("earlier", &["calls", "--compare", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!((status, line.lines().count()), (1, 1), "{line}");
    assert!(line.contains("earlier.json") && line.contains("is not a report"), "{line}");
}

#[test]
fn resume_is_refused_without_an_interrupted_run() {
    let server = start_server(&[]);
    for scenario in ["endurance", "plan"] {
        let (status, line) = run_refused("never", &[scenario, "--resume", "--url", server.url()]);
        assert_eq!((status, line.lines().count()), (1, 1), "{line}");
        assert!(line.contains("no interrupted endurance run"), "{line}");
    }
}

#[test]
fn a_scenario_file_accepts_common_flags_and_those_of_its_scenario() {
    let server = start_server(&[]);
    let file = report_directory("flags.toml");
    std::fs::write(&file, "scenario = \"http\"\nrequests = \"/health 20/s for 100s\"\n").unwrap();
    let arguments =
        ["run", file.to_str().unwrap(), "--max-connections", "3", "--time-scale", "0.01"];
    let (status, report) = run_load("flags", &server, &arguments);
    let (wrong, line) = run_refused("flags", &["run", file.to_str().unwrap(), "--rooms", "3"]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(status, 0);
    assert_eq!(figure(&report, "http_ok"), 40.0, "2 s remain");
    assert!(report["configuration"].as_str().unwrap().contains("max_connections = 3"));
    assert_eq!((wrong, line.lines().count()), (1, 1), "{line}");
}

/// Starts a server that answers every request with `answer`, until the process ends.
pub(crate) fn serve_fixed(status: &'static str, answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            // A request fits into one read. Errors of a closed connection do not matter.
            let _ = socket.read(&mut [0; 4096]);
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", answer.len());
            let _ = socket.write_all(format!("{head}{answer}").as_bytes());
        }
    });
    address
}

/// Starts a server that answers every request with `body`, unchanged, declared as chunked and sent
/// in two pieces. Connections stay open; returns their count.
fn serve_chunked(body: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                let (first, second) = body.split_at(body.len() / 2);
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                // A request fits into one read.
                while socket.read(&mut [0; 4096]).is_ok_and(|len| len > 0) {
                    for piece in [format!("{head}{first}").as_str(), second] {
                        if socket.write_all(piece.as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    (address, connections)
}

/// A chunked response (RFC 9112 §7.1) is accepted for requests and for server samples; a malformed
/// one is an error.
#[test]
fn chunked_responses_are_read() {
    const REQUESTS: [&str; 5] = ["http", "--requests", "/a 50/s for 1s", "--max-connections", "2"];
    let ask = |name: &str, body| {
        let (server, connections) = serve_chunked(body);
        let url = format!("ws://{server}/ws");
        // A busy machine must not make the run void.
        let output = tester(name, &REQUESTS)
            .args(["--url", &url, "--late-percent", "100", "--targets", "none"])
            .output()
            .unwrap();
        let report = report_of(name, &output);
        std::fs::remove_dir_all(report_directory(name)).unwrap();
        (report, connections.load(Ordering::Relaxed))
    };
    let figures = "1C;a=b\r\n{\"process\":{\"resident_bytes\"\r\nb\r\n:129024000}\r\n\
                   1\r\n}\r\n0\r\nETag: x\r\n\r\n";
    let (report, connections) = ask("chunks", figures);
    assert_eq!(figure(&report, "http_ok"), 50.0, "{:#}", report["runs"][0]["faults"]);
    assert_eq!(figure(&report, "server_memory_mb"), 129_024_000.0 / 1024.0 / 1024.0);
    // Two connections for the requests; the rest are samples of the server.
    assert!(connections < 25, "connections are reused: {connections}");
    let (report, _) = ask("no-chunks", "5\r\ntoo long\r\n0\r\n\r\n");
    assert_eq!(figure(&report, "http_broken"), 50.0, "{:#}", report["runs"][0]["faults"]);
}

#[test]
fn server_figures_may_come_from_another_url_or_be_disabled() {
    const SHORT: [&str; 5] = ["connections", "--users", "10", "--hold", "1s"];
    let server = start_server(&[]);
    let figures_server = serve_fixed("200 OK", r#"{"process":{"resident_bytes":129024000}}"#);
    let elsewhere = format!("http://{figures_server}");
    let (status, report) =
        run_load("elsewhere", &server, &[&SHORT[..], &["--stats-url", &elsewhere]].concat());
    assert_eq!(status, 0);
    assert_eq!(figure(&report, "server_memory_mb"), 129_024_000.0 / 1024.0 / 1024.0);
    assert_eq!(report["machine"]["figures_missing"], Value::Null);
    let refused = format!("http://{}/figures", serve_fixed("404 Not Found", ""));
    for (url, part) in [("none", "not requested"), (&refused, "/figures was answered with 404")] {
        let (status, report) =
            run_load("nowhere", &server, &[&SHORT[..], &["--stats-url", url]].concat());
        assert_eq!(status, 0, "the run continues without them");
        let why = report["machine"]["figures_missing"].as_str().unwrap();
        assert!(why.contains(part), "{why}");
        assert!(report["runs"][0]["intervals"][0]["server"]["connections"].is_null());
    }
}

#[test]
fn sample_rooms_exchange_messages_beside_idle_connections() {
    let server = start_server(&[]);
    let arguments = [
        "connections",
        "--users",
        "60",
        "--sample-rooms",
        "5",
        "--sample-rate",
        "0.5",
        "--connect-rate",
        "100",
        "--hold",
        "4s",
        "--ping-every",
        "1s",
    ];
    let (status, report) = run_load("sample", &server, &arguments);
    assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
    assert_eq!(figure(&report, "users_peak"), 70.0);
    assert_eq!(figure(&report, "alive_percent"), 100.0);
    assert_eq!(figure(&report, "matched"), 10.0, "idle users send no find_match");
    assert_eq!(figure(&report, "sent"), server_stats(&server)["messages.relayed"]);
    assert_eq!(figure(&report, "sent"), figure(&report, "received"));
    for name in ["match_p99_ms", "relay_p99_ms", "users_peak_at_s", "server_memory_per_user_kb"] {
        assert!(figure(&report, name) >= 0.0, "{name} is measured");
    }
}

/// Counts all memory of the process.
#[test]
fn an_idle_user_costs_the_generator_at_most_1_kib() {
    let server = start_server(&[]);
    let arguments = [
        "connections",
        "--users",
        "4000",
        "--connect-rate",
        "1000",
        "--hold",
        "6s",
        "--ping-every",
        "1m",
        "--interval",
        "200ms",
    ];
    let (status, report) = run_load("idle", &server, &arguments);
    assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
    let rows = report["runs"][0]["intervals"].as_array().unwrap();
    let of = |row: &Value| {
        let memory = row["generator"]["memory_bytes"].as_f64().unwrap();
        (row["users"].as_f64().unwrap(), memory)
    };
    let (few, memory_of_few) = of(&rows[0]);
    let all = rows.iter().map(of).filter(|(users, _)| *users == 4000.0);
    let (many, memory) = all.reduce(|a, b| if a.1 > b.1 { a } else { b }).unwrap();
    let each = (memory - memory_of_few) / (many - few);
    assert!(few < 2000.0 && each <= 1024.0, "{each} bytes each beyond the first {few}");
    assert!(each > 100.0, "{each} bytes: the measurement is wrong");
}

#[test]
fn an_unreachable_server_and_an_unwritable_directory_are_distinguished() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (status, line) = run_refused("gone", &["calls", "--url", &format!("ws://{free}/ws")]);
    assert_eq!((status, line.lines().count()), (3, 1), "{line}");
    assert!(line.contains("cannot be reached"), "{line}");
    let (status, line) = run_refused("nowhere", &["calls", "--url", "ws://nohost.invalid/ws"]);
    assert_eq!((status, line.lines().count()), (3, 1), "{line}");
    let part = "ws://nohost.invalid/ws cannot be reached: `nohost.invalid:80` cannot be resolved";
    assert!(line.contains(part), "{line}");
    let output = Command::new(env!("CARGO_BIN_EXE_switchboard-load"))
        .args(["calls", "--report", "/proc/nowhere"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("/proc/nowhere") && line.lines().count() == 1, "{line}");
}

#[test]
fn listed_scenarios_can_be_shown() {
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
    let help = run(&["calls", "--help"]);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("`none` (the system chooses)"), "{help}");
}
