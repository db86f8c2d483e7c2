//! What the flags of every scenario do: where connections come from, what they tell the server about
//! their clients, and what the tester says before it starts.

use crate::support::load::{
    figure, report_directory, run_load, run_refused, server_stats, start_server, tester,
};
use crate::support::{Server, read_report};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// A short run with 20 sessions.
const SESSIONS: [&str; 7] =
    ["connections", "--users", "20", "--hold", "1s", "--ping-every", "500ms"];

/// The sessions opened by a short run with these flags, and its exit status.
fn sessions_with(name: &str, server: &Server, flags: &[&str]) -> (f64, i32) {
    let (status, report) = run_load(name, server, &[&SESSIONS[..], flags].concat());
    (figure(&report, "connected"), status)
}

#[test]
fn a_mistyped_name_leads_to_a_suggestion() {
    let file = report_directory("typo.toml");
    std::fs::write(&file, "scenario = \"calls\"\ntalk_mim = \"1s\"\n").unwrap();
    for (arguments, suggestion) in [
        (&["conections"][..], "did you mean `connections`?"),
        (&["calls", "--mesage-rate", "1"], "did you mean --message-rate?"),
        (&["calls", "--require", "realy_p99_ms<50"], "did you mean `relay_p99_ms`?"),
        (&["calls", "--targets", "basline"], "did you mean `baseline`?"),
        (&["run", file.to_str().unwrap()], "did you mean `talk_min`?"),
    ] {
        let (status, line) = run_refused("typo", arguments);
        assert_eq!((status, line.lines().count()), (1, 1), "{arguments:?}: {line}");
        assert!(line.contains(suggestion), "{arguments:?}: {line}");
    }
    std::fs::remove_file(&file).unwrap();
    let mut shown = Command::new(env!("CARGO_BIN_EXE_switchboard-load"));
    let output = shown.args(["--show", "signalling"]).output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.ends_with("; did you mean `signaling`?\n"), "{line}");
}

#[test]
fn a_range_of_sources_is_used_from_the_first_connections_on() {
    let server = start_server(&["--max-connections-per-address", "1"]);
    let spread = sessions_with("range", &server, &["--source", "127.0.0.0/8"]);
    assert_eq!(spread, (20.0, 0));
    let (sessions, _) = sessions_with("one", &server, &["--source", "127.0.0.9"]);
    assert_eq!(sessions, 1.0);
}

#[test]
fn a_made_up_client_address_precedes_the_upgrade() {
    let trusting = ["--trusted-proxy", "127.0.0.1", "--max-connections-per-address", "1"];
    let server = start_server(&trusting);
    assert_eq!(sessions_with("proxy", &server, &["--proxy-protocol"]), (20.0, 0));
    let (sessions, _) = sessions_with("direct", &server, &[]);
    assert_eq!(sessions, 1.0, "without the header all have one address");
    // HTTP requests too: the header comes once a connection.
    let http = ["http", "--requests", "/health 50/s for 1s", "--max-connections", "2"];
    let (status, report) =
        run_load("proxied", &server, &[&http[..], &["--proxy-protocol"]].concat());
    assert_eq!(
        (status, figure(&report, "http_ok")),
        (0, 50.0),
        "{:#}",
        report["runs"][0]["faults"]
    );
    // A server that does not trust the address refuses the header.
    let untrusting = start_server(&[]);
    let (sessions, status) = sessions_with("distrust", &untrusting, &["--proxy-protocol"]);
    assert_eq!((sessions, status), (0.0, 3));
}

#[test]
fn an_origin_and_header_fields_are_sent_with_each_upgrade() {
    let server = start_server(&["--allow-origin", "https://good.example"]);
    let origin = |name: &str, origin: &str| sessions_with(name, &server, &["--origin", origin]);
    assert_eq!(origin("good", "https://good.example"), (20.0, 0));
    assert_eq!(origin("bad", "https://bad.example"), (0.0, 3));
    // The server takes the client's address from the field.
    let trusting = ["--trusted-proxy", "127.0.0.1", "--max-connections-per-address", "3"];
    let server = start_server(&trusting);
    let forwarded = ["--header", "X-Forwarded-For: 203.0.113.7", "--header", "X-Test: 1"];
    let (sessions, _) = sessions_with("forwarded", &server, &forwarded);
    assert_eq!(sessions, 3.0);
    for (flags, part) in [
        (["--header", "X-Test"], "header: `X-Test` is not a header field"),
        (["--header", "Host: x"], "header: `Host` is a field that the tester writes itself"),
        (["--origin", "a b"], "origin: `a b`"),
        (["--token", "/nowhere/tokens"], "token: /nowhere/tokens: "),
    ] {
        let (status, line) = run_refused("field", &[&SESSIONS[..], &flags].concat());
        assert_eq!((status, line.lines().count()), (1, 1), "{line}");
        assert!(line.contains(part), "{line}");
    }
}

/// Starts a server that refuses every request, until the process ends. Gives the heads of the
/// requests.
fn refuse_all() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, received) = channel();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            // A request fits into one read. Errors of a closed connection do not matter.
            let mut buffer = [0; 4096];
            let len = socket.read(&mut buffer).unwrap_or(0);
            let _ = socket.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
            if heads.send(String::from_utf8_lossy(&buffer[..len]).into_owned()).is_err() {
                return;
            }
        }
    });
    (address, received)
}

#[test]
fn each_connection_has_a_token_of_the_file() {
    let file = report_directory("tokens.txt");
    std::fs::write(&file, "alpha\n\n beta \ngamma\n").unwrap();
    let (server, heads) = refuse_all();
    let status = tester("tokens", &SESSIONS)
        .args([
            "--late-percent",
            "100",
            "--url",
            &format!("ws://{server}/ws"),
            "--stats-url",
            "none",
        ])
        .arg("--token")
        .arg(&file)
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    let report = read_report(&report_directory("tokens")).to_string();
    std::fs::remove_dir_all(report_directory("tokens")).unwrap();
    assert_eq!(status.status.code(), Some(3));
    assert!(!report.contains("alpha"), "the report names the file and contains no token");
    let heads: Vec<String> = heads.try_iter().filter(|head| head.contains("/ws")).collect();
    let token = |head: &String| {
        let line = head.lines().find_map(|line| line.strip_prefix("Authorization: Bearer "));
        line.map(str::to_owned)
    };
    assert!(heads.len() >= 16, "{heads:?}");
    let tokens: BTreeSet<Option<String>> = heads.iter().map(token).collect();
    let expected = ["alpha", "beta", "gamma"].map(|token| Some(token.to_owned()));
    assert_eq!(tokens, BTreeSet::from(expected));
    let printed = String::from_utf8(status.stderr).unwrap();
    let warning =
        "--token: 3 tokens for 20 connections at the same time: up to 7 connections share";
    assert!(printed.contains(&format!("warning: {warning}")), "{printed}");
    assert!(report.contains(warning), "the configuration says so too: {report}");
}

#[test]
fn a_token_for_each_connection_causes_no_warning() {
    let file = report_directory("own-tokens.txt");
    let server = start_server(&[]);
    let printed = |tokens: usize| {
        std::fs::write(&file, (0..tokens).map(|n| format!("token-{n}\n")).collect::<String>())
            .unwrap();
        let load = ["signaling", "--rooms", "2", "--duration", "1s", "--warm-up", "0s"];
        let load = [&load[..], &["--token", file.to_str().unwrap()]].concat();
        progress_of("own-tokens", &server, &load).join("\n")
    };
    let (enough, few) = (printed(4), printed(3));
    std::fs::remove_file(&file).unwrap();
    assert!(!enough.contains("token"), "{enough}");
    assert!(few.contains("3 tokens for 4 connections"), "{few}");
}

/// The lines that a run with these arguments writes to standard error, which is no terminal.
fn progress_of(name: &str, server: &Server, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_switchboard-load"))
        .args(arguments)
        .args(["--url", server.url(), "--late-percent", "100", "--targets", "none", "--report"])
        .arg(report_directory(name))
        .output()
        .unwrap();
    std::fs::remove_dir_all(report_directory(name)).unwrap();
    assert!(output.status.success(), "{output:?}");
    for stream in [&output.stdout, &output.stderr] {
        let is_control = |byte: &&u8| byte.is_ascii_control() && **byte != b'\n';
        assert_eq!(stream.iter().find(is_control), None, "no control characters");
    }
    String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_run_says_beforehand_how_long_it_takes_and_writes_a_line_for_each_interval() {
    let server = start_server(&[]);
    let run = ["--connect-rate", "20", "--interval", "250ms", "--hold", "2s"];
    let lines = progress_of("lines", &server, &[&SESSIONS[..3], &run].concat());
    assert_eq!(lines[0], "connections: takes 3s in all", "1 s of arrivals and 2 s");
    let of_intervals = lines.iter().filter(|line| line.contains(" users, ")).count();
    assert!((12..=14).contains(&of_intervals), "{lines:#?}");
    let plan = ["plan", "--stages", "4 for 1s, 6 for 1s", "--connect-rate", "10"];
    let rest =
        ["--stress-ceiling", "0", "--endurance", "0s", "--talk-min", "1s", "--talk-max", "1s"];
    let lines = progress_of("stages", &server, &[&plan[..], &rest].concat());
    assert_eq!(lines[0], "plan: takes 3s in all", "2 s and the arrivals of 10 users");
}

/// Reads `/metrics` at `address` (`127.0.0.1:9200`).
fn metrics_of(address: &str) -> String {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("text/plain; version=0.0.4"));
    body.to_owned()
}

#[test]
fn live_figures_are_served_while_the_run_lasts() {
    let server = start_server(&[]);
    let load = ["signaling", "--rooms", "5", "--connect-rate", "100", "--duration", "60s"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_switchboard-load"))
        .args(load)
        .args(["--url", server.url(), "--late-percent", "100", "--targets", "none"])
        .args(["--interval", "200ms", "--metrics-listen", "127.0.0.1:0", "--report"])
        .arg(report_directory("live"))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut addresses = lines.filter_map(|line| {
        let rest = line.strip_prefix("live figures: http://")?;
        Some(rest.trim_end_matches("/metrics").to_owned())
    });
    let address = addresses.next().unwrap();
    // The rest is read too, so that the tester does not wait for a full pipe.
    let reader = std::thread::spawn(move || addresses.for_each(drop));
    let value = |text: &str, name: &str| -> f64 {
        let of_name = |line: &str| line.strip_prefix(&format!("{name} ")).map(str::to_owned);
        text.lines().find_map(of_name).map_or(0.0, |value| value.parse().unwrap())
    };
    let first = loop {
        let text = metrics_of(&address);
        if text.contains("latency_seconds{operation=\"relay\",quantile=\"0.99\"}") {
            break text;
        }
    };
    assert_eq!(value(&first, "switchboard_load_in_rooms"), 10.0);
    assert_eq!(value(&first, "switchboard_load_matched_total"), 10.0);
    assert!(first.contains("switchboard_load_run_info{run=\"signaling\"} 1"));
    let received = value(&first, "switchboard_load_received_total");
    while value(&metrics_of(&address), "switchboard_load_received_total") <= received {}
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    reader.join().unwrap();
    std::fs::remove_dir_all(report_directory("live")).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _taken = TcpListener::bind(taken).unwrap();
    let refused = ["--metrics-listen", &taken.to_string(), "--url", server.url()];
    let (status, line) = run_refused("taken", &[&SESSIONS[..], &refused].concat());
    assert_eq!((status, line.lines().count()), (1, 1), "{line}");
    assert!(line.contains(&format!("--metrics-listen {taken}: ")), "{line}");
}

/// The first stage is missed and the second would not be.
#[test]
fn a_plan_stops_at_the_first_missed_stage_on_request() {
    let server = start_server(&[]);
    let plan = ["plan", "--stages", "4 for 1s, 6 for 1s", "--talk-min", "1s", "--talk-max", "1s"];
    let rest = ["--stress-ceiling", "0", "--endurance", "0s", "--require", "users_peak>=6"];
    let more = ["--require", "messages_per_s>=100000"];
    let runs = |name: &str, flag: &[&str]| {
        let (status, report) = run_load(name, &server, &[&plan[..], &rest, &more, flag].concat());
        assert_eq!(status, 2);
        report["runs"].as_array().unwrap().len()
    };
    assert_eq!(runs("all-stages", &[]), 2);
    assert_eq!(runs("first-miss", &["--stop-on-miss"]), 1);
}

/// Arrivals of a ramp become denser; random ones are as many.
#[test]
fn arrivals_follow_a_ramp_and_a_poisson_process() {
    let server = start_server(&[]);
    let calls = ["calls", "--talk-min", "100ms", "--talk-max", "200ms", "--next-percent", "0"];
    let arrivals = |name: &str, flags: &[&str]| {
        let (status, report) = run_load(name, &server, &[&calls[..], flags].concat());
        assert_eq!(status, 0, "{:#}", report["runs"][0]["faults"]);
        let rows = report["runs"][0]["intervals"].as_array().unwrap().clone();
        let of = |from: f64, to: f64| -> f64 {
            let at = |row: &&Value| (from..to).contains(&row["at_s"].as_f64().unwrap());
            let counts = rows.iter().filter(at).map(|row| row["counts"]["arrivals"].as_f64());
            counts.map(Option::unwrap_or_default).sum()
        };
        (figure(&report, "arrivals"), of(0.0, 1.2), of(1.2, 9.0))
    };
    let (all, first, second) = arrivals("ramp", &["--phases", "0/s..100/s for 2s"]);
    assert_eq!(all, 100.0);
    assert!(second > 1.7 * first, "{first} in the first half, {second} in the second");
    let poisson = ["--phases", "50/s for 2s", "--arrivals", "poisson"];
    let (all, _, _) = arrivals("poisson", &poisson);
    assert_eq!(all, 100.0);
    assert_eq!(server_stats(&server)["sessions.active"], 0.0);
}
