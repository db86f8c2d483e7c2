//! Several generators: agents as processes, and a coordinator that plans their runs, against the real
//! server.

use crate::support::load::{
    figure, report_directory, report_of, run_refused, server_stats, start_server, tester,
};
use crate::support::{Server, TIMEOUT, wait_until};
use serde_json::Value;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A file with a secret; `name` is unique among the tests.
struct SecretFile(PathBuf);

impl SecretFile {
    fn new(name: &str, secret: &str) -> Self {
        let path = report_directory(&format!("{name}.secret"));
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        SecretFile(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const SECRET: &str = "the secret of these tests\n";

/// An agent as a process, which ends with this value.
struct Agent {
    process: Child,
    address: String,
    /// The lines of its output, as they arrive.
    lines: Receiver<String>,
}

impl Agent {
    fn start(secret: &SecretFile) -> Agent {
        let mut process = Command::new(env!("CARGO_BIN_EXE_switchboard-load"))
            .args(["agent", "--listen", "127.0.0.1:0", "--secret-file", secret.path()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let mut agent = Agent { process, address: String::new(), lines };
        let line = agent.expect_line("listening on ");
        agent.address = line.strip_prefix("listening on ").unwrap().to_owned();
        agent
    }

    /// Waits for a line of the agent's output that contains `part`.
    fn expect_line(&mut self, part: &str) -> String {
        let deadline = Instant::now() + TIMEOUT;
        let mut before = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => before.push(line),
                Err(error) => panic!("no line with `{part}`: {error}, after {before:#?}"),
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Two agents and their addresses as a flag's value.
fn two_agents(secret: &SecretFile) -> ([Agent; 2], String) {
    let agents = [(); 2].map(|()| Agent::start(secret));
    let addresses = format!("{},{}", agents[0].address, agents[1].address);
    (agents, addresses)
}

/// A coordinator's command.
fn coordinator(
    name: &str,
    server: &Server,
    agents: &str,
    secret: &SecretFile,
    load: &[&str],
) -> Command {
    let mut command = tester(name, load);
    command.args(["--agents", agents, "--secret-file", secret.path(), "--url", server.url()]);
    command.args(["--late-percent", "100", "--targets", "none"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for a coordinator. Gives its exit status, report and what it printed.
fn finish(name: &str, process: Child) -> (i32, Value, String) {
    let output = process.wait_with_output().unwrap();
    let report = report_of(name, &output);
    std::fs::remove_dir_all(report_directory(name)).unwrap();
    (output.status.code().unwrap(), report, String::from_utf8(output.stdout).unwrap())
}

fn wait_for_sessions(server: &Server, count: f64) {
    wait_until(&format!("{count} sessions"), || match server_stats(server)["sessions.active"] {
        active if active == count => Ok(()),
        active => Err(format!("{active} sessions")),
    });
}

const HOLD: [&str; 5] = ["connections", "--users", "20", "--connect-rate", "200"];

#[test]
fn the_figures_of_two_agents_add_up_to_those_of_the_server() {
    let server = start_server(&[]);
    let secret = SecretFile::new("sum", SECRET);
    let (_agents, addresses) = two_agents(&secret);
    let load = ["signaling", "--rooms", "11", "--connect-rate", "200", "--message-rate", "10"];
    let times = ["--warm-up", "0s", "--duration", "2s"];
    let load = [&load[..], &times].concat();
    let process = coordinator("sum", &server, &addresses, &secret, &load).spawn().unwrap();
    let (status, report, printed) = finish("sum", process);
    let run = &report["runs"][0];
    assert_eq!(status, 0, "{run:#}\n{printed}");
    let stats = server_stats(&server);
    let relayed = stats["messages.relayed"];
    assert_eq!(stats["matchmaking.matches"], 11.0);
    assert_eq!((figure(&report, "connected"), stats["sessions.opened"]), (22.0, 22.0));
    assert_eq!((figure(&report, "matched"), figure(&report, "users_peak")), (22.0, 22.0));
    assert_eq!((figure(&report, "sent"), figure(&report, "received")), (relayed, relayed));
    assert!(relayed > 22.0 * 10.0, "{relayed}");
    assert!(run["times"]["relay"]["count"].as_f64().unwrap() <= relayed);
    // Six rooms of one agent, five of the other.
    let generators = run["generators"].as_array().unwrap();
    let of = |name: &str| -> Vec<f64> {
        generators.iter().map(|one| one[name].as_f64().unwrap()).collect()
    };
    assert_eq!((of("connected"), of("users_peak")), (vec![12.0, 10.0], vec![12.0, 10.0]));
    assert_eq!((of("sent").iter().sum::<f64>(), of("received").iter().sum()), (relayed, relayed));
    assert_eq!(of("sent"), of("received"), "each agent's users are matched with each other");
    assert!(of("cpu_percent").iter().chain(&of("descriptors")).all(|value| *value > 0.0));
    assert!(generators.iter().all(|one| one["failure"].is_null()));
    assert!(addresses.split(',').all(|address| printed.contains(address)), "{printed}");
    assert_eq!(report["machine"]["server_is_here"], true);
}

/// The requests too are those of one generator, and the agents serve one run after the other.
#[test]
fn two_agents_share_the_requests_and_the_stages_of_a_plan() {
    let server = start_server(&[]);
    let secret = SecretFile::new("plan", SECRET);
    let (_agents, addresses) = two_agents(&secret);
    let load = ["http", "--requests", "/health 51/s for 1s"];
    let process = coordinator("http", &server, &addresses, &secret, &load).spawn().unwrap();
    let (status, report, _) = finish("http", process);
    assert_eq!(
        (status, figure(&report, "http_ok"), figure(&report, "http_ok[/health]")),
        (0, 51.0, 51.0),
        "{:#}",
        report["runs"][0]["faults"]
    );
    let plan = ["plan", "--stages", "4 for 1s, 8 for 1s", "--stress-ceiling", "0"];
    let rest = ["--endurance", "0s", "--talk-min", "1s", "--talk-max", "1s"];
    let load = [&plan[..], &rest].concat();
    let process = coordinator("stages", &server, &addresses, &secret, &load).spawn().unwrap();
    let (status, report, printed) = finish("stages", process);
    assert_eq!(status, 0, "{printed}");
    let runs = report["runs"].as_array().unwrap();
    let peaks: Vec<_> = runs.iter().map(|run| run["figures"]["users_peak"].as_f64()).collect();
    assert_eq!(peaks, [Some(4.0), Some(8.0)]);
    assert!(runs.iter().all(|run| run["generators"].as_array().unwrap().len() == 2));
}

#[test]
fn a_killed_agent_makes_the_run_void_and_the_report_names_it() {
    let server = start_server(&[]);
    let secret = SecretFile::new("killed", SECRET);
    let (mut agents, addresses) = two_agents(&secret);
    let load = [&HOLD[..], &["--hold", "60s"]].concat();
    let process = coordinator("killed", &server, &addresses, &secret, &load).spawn().unwrap();
    wait_for_sessions(&server, 20.0);
    agents[1].process.kill().unwrap();
    let output = process.wait_with_output().unwrap();
    let (status, report) = (output.status.code().unwrap(), report_of("killed", &output));
    let printed = String::from_utf8(output.stdout).unwrap();
    let remake = Command::new(env!("CARGO_BIN_EXE_switchboard-load"))
        .arg("report")
        .arg(report_directory("killed"))
        .output()
        .unwrap();
    let remade = report_of("killed", &remake);
    assert_eq!(remade["runs"][0]["generators"], report["runs"][0]["generators"]);
    assert_eq!(remade["runs"][0]["reason"], report["runs"][0]["reason"]);
    std::fs::remove_dir_all(report_directory("killed")).unwrap();
    assert_eq!((status, &report["outcome"]), (4, &"void".into()), "{printed}");
    let reason = format!("the agent {} has disconnected", agents[1].address);
    assert_eq!(report["runs"][0]["reason"], reason.as_str());
    assert!(printed.contains(&reason), "{printed}");
    let generators = &report["runs"][0]["generators"];
    assert!(generators[0]["failure"].is_null());
    assert_eq!(generators[1]["failure"], "has disconnected");
    assert_eq!(generators[0]["connected"], 10);
    // The other agent stopped, and serves the next coordinator.
    wait_for_sessions(&server, 0.0);
    let load = [&HOLD[..], &["--hold", "1s"]].concat();
    let remaining = &agents[0].address;
    let process = coordinator("after", &server, remaining, &secret, &load).spawn().unwrap();
    let (status, report, _) = finish("after", process);
    assert_eq!((status, figure(&report, "connected")), (0, 20.0));
}

#[test]
fn a_coordinator_with_another_secret_is_refused() {
    let server = start_server(&[]);
    let (secret, other) =
        (SecretFile::new("right", SECRET), SecretFile::new("wrong", &SECRET[1..]));
    let mut agent = Agent::start(&secret);
    let load = [&HOLD[..], &["--hold", "1s", "--url", server.url()]].concat();
    let address = agent.address.clone();
    let with = |file: &str| {
        let flags = ["--agents", &address, "--secret-file", file];
        run_refused("secret", &[&load[..], &flags].concat())
    };
    let (status, line) = with(other.path());
    assert_eq!((status, line.lines().count()), (1, 1), "{line}");
    assert!(line.contains(&format!("the agent {address} has another secret")), "{line}");
    let short = SecretFile::new("short", "short\n");
    let (status, line) = with(short.path());
    assert!(status == 1 && line.contains("--secret-file") && line.contains("5 bytes"), "{line}");
    agent.expect_line("was refused: it has another secret");
    assert_eq!(server_stats(&server)["sessions.opened"], 0.0);
    for mode in [0o644, 0o602] {
        std::fs::set_permissions(&secret.0, Permissions::from_mode(mode)).unwrap();
        let (status, line) = with(secret.path());
        assert!(status == 1 && line.contains("every user of this machine can read"), "{line}");
        assert!(line.contains(&format!("`chmod o-rwx {}`", secret.path())), "{line}");
    }
    let (status, line) = run_refused("open", &["calls", "--agents", "127.0.0.1:1"]);
    assert!(status == 1 && line.contains("--agents needs --secret-file"), "{line}");
}

/// The starts of an agent that was suspended for a while are late; the others are not.
#[test]
fn an_agent_that_is_late_makes_the_run_void_and_the_report_names_it() {
    let server = start_server(&[]);
    let secret = SecretFile::new("late", SECRET);
    let (agents, addresses) = two_agents(&secret);
    let load = ["signaling", "--rooms", "4", "--message-rate", "20", "--connect-rate", "100"];
    let times = ["--warm-up", "0s", "--duration", "4s", "--message-timeout", "10s"];
    let lateness = ["--late-after", "400ms", "--late-percent", "5", "--targets", "none"];
    let link = ["--agents", &addresses, "--secret-file", secret.path(), "--url", server.url()];
    let process = tester("late", &[&load[..], &times, &lateness, &link].concat())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("messages", || match server_stats(&server)["messages.relayed"] {
        relayed if relayed > 40.0 => Ok(()),
        relayed => Err(format!("{relayed} messages")),
    });
    let pid = agents[1].process.id().to_string();
    for (signal, pause) in [("-STOP", Duration::from_millis(1500)), ("-CONT", Duration::ZERO)] {
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        std::thread::sleep(pause);
    }
    let (status, report, printed) = finish("late", process);
    assert_eq!((status, &report["outcome"]), (4, &"void".into()), "{printed}");
    let reason = report["runs"][0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with(&format!("the agent {} was late for ", agents[1].address)),
        "{reason}"
    );
    let generators = report["runs"][0]["generators"].as_array().unwrap();
    let late = |nth: usize| generators[nth]["late_percent"].as_f64().unwrap();
    assert!(late(1) > 5.0 && late(0) < late(1), "{} and {} %", late(0), late(1));
    assert!(generators.iter().all(|agent| agent["failure"].is_null()), "no agent was lost");
    assert!(report["runs"][0]["targets"].as_array().unwrap().iter().all(|t| t["reached"] != "no"));
}

#[test]
fn an_agent_of_another_version_or_none_makes_the_test_void() {
    let server = start_server(&[]);
    let secret = SecretFile::new("version", SECRET);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let load = [&HOLD[..], &["--hold", "1s", "--url", server.url()]].concat();
    let flags = ["--agents", &address, "--secret-file", secret.path()];
    let arguments = [&load[..], &flags].concat();
    let greet = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let hello = r#"{"type":"hello","protocol":1,"version":"9.9.9","challenge":""}"#;
        socket.write_all(&(hello.len() as u32).to_be_bytes()).unwrap();
        socket.write_all(hello.as_bytes()).unwrap();
        let _ = std::io::Read::read(&mut socket, &mut [0]);
    });
    let (status, line) = run_refused("version", &arguments);
    greet.join().unwrap();
    assert_eq!((status, line.lines().count()), (4, 1), "{line}");
    assert!(line.contains(&format!("the agent {address} has version 9.9.9")), "{line}");
    // The listener is closed now.
    let (status, line) = run_refused("version", &arguments);
    assert_eq!(status, 4, "{line}");
    assert!(line.contains(&format!("the agent {address} cannot be reached")), "{line}");
}

#[test]
fn an_agent_stops_its_users_when_the_coordinator_is_killed() {
    let server = start_server(&[]);
    let secret = SecretFile::new("orphan", SECRET);
    let (mut agents, addresses) = two_agents(&secret);
    let load = [&HOLD[..], &["--hold", "60s"]].concat();
    let mut process = coordinator("orphan", &server, &addresses, &secret, &load).spawn().unwrap();
    wait_for_sessions(&server, 20.0);
    process.kill().unwrap();
    process.wait().unwrap();
    std::fs::remove_dir_all(report_directory("orphan")).unwrap();
    wait_for_sessions(&server, 0.0);
    for agent in &mut agents {
        agent.expect_line("has disconnected");
    }
    let load = [&HOLD[..], &["--hold", "1s"]].concat();
    let process = coordinator("next", &server, &addresses, &secret, &load).spawn().unwrap();
    let (status, report, _) = finish("next", process);
    assert_eq!((status, figure(&report, "connected")), (0, 20.0));
}

#[test]
fn a_signal_to_the_coordinator_stops_the_agents() {
    let server = start_server(&[]);
    let secret = SecretFile::new("signal", SECRET);
    let (_agents, addresses) = two_agents(&secret);
    let load = [&HOLD[..], &["--hold", "60s"]].concat();
    let process = coordinator("signal", &server, &addresses, &secret, &load).spawn().unwrap();
    wait_for_sessions(&server, 20.0);
    let pid = process.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let (status, report, printed) = finish("signal", process);
    assert_eq!((status, &report["outcome"]), (130, &"stopped".into()), "{printed}");
    assert_eq!(figure(&report, "connected"), 20.0);
    assert_eq!(figure(&report, "ended_well"), 20.0, "all users have ended in good order");
    wait_for_sessions(&server, 0.0);
}

/// An agent that serves one coordinator refuses another, which says so.
#[test]
fn an_agent_serves_one_coordinator_at_a_time() {
    let server = start_server(&[]);
    let secret = SecretFile::new("busy", SECRET);
    let (_agents, addresses) = two_agents(&secret);
    let load = [&HOLD[..], &["--hold", "60s"]].concat();
    let mut first = coordinator("busy", &server, &addresses, &secret, &load).spawn().unwrap();
    wait_for_sessions(&server, 20.0);
    let flags = ["--agents", &addresses, "--secret-file", secret.path(), "--url", server.url()];
    let (status, line) = run_refused("second", &[&load[..], &flags].concat());
    assert!(status == 4 && line.contains("serves another coordinator"), "{line}");
    first.kill().unwrap();
    first.wait().unwrap();
    std::fs::remove_dir_all(report_directory("busy")).unwrap();
}
