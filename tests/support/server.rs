//! The server as a process of its own.

use super::{
    Client, HttpResponse, MatchFound, RawClient, TIMEOUT, get, match_pair, run_shared, wait_until,
};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A running server. Dropping it kills it, and asserts that it had not panicked.
pub(crate) struct Server {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    addresses: Vec<SocketAddr>,
    url: String,
    /// Whether a test expects that it has ended.
    ended: bool,
}

/// What a program that ran to its end left.
pub(crate) struct ProgramOutput {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command without the environment variables that configure the server.
fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SWITCHBOARD_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starting and ending.
impl Server {
    /// Starts a server. Unless `flags` say otherwise it listens on a free port of 127.0.0.1 and
    /// has one shard. Its threads are not pinned, since tests share the CPUs, unless it is to
    /// steer connections.
    pub(crate) fn start(flags: &[&str]) -> Server {
        Server::spawn(command(env!("CARGO_BIN_EXE_switchboard")), flags)
    }

    /// Starts a server from `sh`, which runs `prepare` first and then becomes the server.
    pub(crate) fn start_in_shell(prepare: &str, flags: &[&str]) -> Server {
        let mut shell = command("sh");
        let script = format!("{prepare} && exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_switchboard")]);
        Server::spawn(shell, flags)
    }

    fn spawn(mut command: Command, flags: &[&str]) -> Server {
        run_shared();
        command.args(flags);
        if !flags.contains(&"--steer") {
            command.arg("--no-pin");
        }
        for (flag, value) in [("--listen", "127.0.0.1:0"), ("--shards", "1")] {
            if !flags.contains(&flag) {
                command.args([flag, value]);
            }
        }
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let written = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines {
                written.lock().unwrap().push(line.unwrap_or_else(|error| format!("{error}")));
            }
        });
        let mut server =
            Server { child, log, addresses: Vec::new(), url: String::new(), ended: false };
        // This line follows those with the addresses.
        server.wait_for_log_line("max_connections");
        let log = server.log();
        let addresses = log.iter().filter_map(|line| line.split("listening on ").nth(1));
        server.addresses = addresses
            .map(|address| address.trim_end_matches(['"', '}']).parse().unwrap())
            .collect();
        server.url = format!("ws://{}/ws", server.addresses[0]);
        server
    }

    /// Runs the program until it ends by itself: a start that fails, or a flag like `--help`. It
    /// gets a free port unless `flags` name one, so that the result does not depend on another
    /// server at the default port.
    pub(crate) fn run_to_exit(flags: &[&str]) -> ProgramOutput {
        run_shared();
        let free_port = ["--listen", "127.0.0.1:0"];
        let listen: &[&str] = if flags.contains(&"--listen") { &[] } else { &free_port };
        let mut command = command(env!("CARGO_BIN_EXE_switchboard"));
        let mut child = command.args(listen).args(flags).spawn().unwrap();
        let status = wait_for_exit(&mut child);
        let output = child.wait_with_output().unwrap();
        ProgramOutput {
            status,
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Sends a signal, named without SIG.
    pub(crate) fn send_signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.pid().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Whether the process has ended.
    pub(crate) fn has_exited(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends several signals, one right after the other.
    pub(crate) fn send_signals(&self, names: &[&str]) {
        let pid = self.pid();
        let kills: Vec<String> = names.iter().map(|name| format!("kill -{name} {pid}")).collect();
        let status = Command::new("sh").args(["-c", &kills.join(" && ")]).status().unwrap();
        assert!(status.success());
    }

    /// The exit status, if the process has ended.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().unwrap();
        self.ended |= status.is_some();
        status
    }

    /// Waits until the process ends.
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let status = wait_for_exit(&mut self.child);
        self.ended = true;
        status
    }

    /// Ends the process without a graceful shutdown, by SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.wait_for_exit();
    }
}

/// Clients of this server.
impl Server {
    /// The first address it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// All addresses it listens on.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The WebSocket URL of the first address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A client with a session.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// A client with a session that sends exactly the bytes that the test chooses.
    pub(crate) fn raw_session(&self) -> RawClient {
        RawClient::open_session(self.address())
    }

    /// A connection on which nothing has been sent.
    pub(crate) fn raw_connection(&self) -> RawClient {
        RawClient::connect(self.address())
    }

    /// Calls `connect` until a session is on `shard`, and drops the others.
    pub(crate) fn connect_on_shard<T>(&self, shard: usize, connect: impl Fn() -> T) -> T {
        let opened = || -> Vec<i64> {
            let stats = self.stats();
            let shards = stats["shards"].as_array().unwrap();
            shards.iter().map(|shard| shard["sessions_opened"].as_i64().unwrap()).collect()
        };
        for _ in 0..200 {
            let before = opened();
            let client = connect();
            let after = wait_until("a shard has one more session", || {
                let after = opened();
                if after != before { Ok(after) } else { Err(format!("{after:?}")) }
            });
            if after[shard] > before[shard] {
                return client;
            }
        }
        panic!("none of 200 connections was accepted by shard {shard}")
    }

    /// Two clients in one room, the initiator first.
    pub(crate) fn matched_pair(&self) -> (Client, Client, MatchFound) {
        match_pair(self.client(), self.client())
    }

    /// The same with [`RawClient`].
    pub(crate) fn matched_raw_pair(&self) -> (RawClient, RawClient, MatchFound) {
        match_pair(self.raw_session(), self.raw_session())
    }
}

/// What the server reports.
impl Server {
    /// What it has written to standard error so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a log line that contains `text`, and gives it.
    pub(crate) fn wait_for_log_line(&mut self, text: &str) -> String {
        let (log, child) = (&self.log, &mut self.child);
        wait_until(&format!("the server logs {text:?}"), || {
            let lines = log.lock().unwrap();
            let found = lines.iter().find(|line| line.contains(text)).cloned();
            found.ok_or_else(|| {
                let state = child.try_wait();
                format!("it has not, and its state is {state:?}; its log: {lines:#?}")
            })
        })
    }

    /// The response to `GET path`, which must be 200.
    pub(crate) fn get(&self, path: &str) -> HttpResponse {
        let response = get(self.address(), path);
        assert_eq!(response.status, 200, "{path}: {response:?}");
        response
    }

    /// `/stats`.
    pub(crate) fn stats(&self) -> Value {
        self.get("/stats").json()
    }

    /// One number of `/stats`, by its JSON pointer (RFC 6901).
    pub(crate) fn stat(&self, pointer: &str) -> i64 {
        stat_number(&self.stats(), pointer)
    }

    /// One number of `/stats`, requested at another of the server's addresses.
    pub(crate) fn stat_at(&self, address: SocketAddr, pointer: &str) -> i64 {
        stat_number(&get(address, "/stats").json(), pointer)
    }

    /// Waits until a number of `/stats` is `expected`.
    pub(crate) fn wait_for_stat(&self, pointer: &str, expected: i64) {
        wait_until(&format!("{pointer} becomes {expected}"), || match self.stat(pointer) {
            found if found == expected => Ok(()),
            found => Err(format!("it is {found}")),
        });
    }

    /// Waits until the process has been sampled once: before, `/stats` has no numbers of it.
    pub(crate) fn wait_for_process_sample(&self) {
        wait_until("the process is sampled", || match &self.stats()["process"]["threads"] {
            Value::Number(_) => Ok(()),
            other => Err(format!("{other} threads")),
        });
    }

    /// Waits until no client is connected and no resource is held, and checks that each accepted
    /// connection was counted as closed for exactly one reason.
    pub(crate) fn wait_until_idle(&self) {
        wait_until("the gauges return to zero", || {
            let stats = self.stats();
            let not_zero = |pointer: &&str| stat_number(&stats, pointer) != 0;
            let rest: Vec<&str> = IDLE_GAUGES.iter().copied().filter(not_zero).collect();
            // The connection that requests the figures is one.
            let active = stat_number(&stats, "/connections/active");
            let closed: i64 = stat_map(&stats, "/connections/closed").iter().map(|(_, n)| n).sum();
            let accepted = stat_number(&stats, "/connections/accepted");
            if !rest.is_empty() || active != 1 || accepted != active + closed {
                return Err(format!(
                    "not zero: {rest:?}; accepted {accepted}, active {active}, closed {closed}; \
                     {stats:#}"
                ));
            }
            Ok(())
        });
    }
}

/// What the kernel reports about the process.
impl Server {
    /// Its process identifier.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time the process has used so far, user and system.
    pub(crate) fn cpu_time(&self) -> Duration {
        // Nanoseconds on the CPU come first in each thread's schedstat (proc(5)).
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let nanos = tasks.map(|task| {
            let text = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            text.split_whitespace().next().unwrap().parse::<u64>().unwrap()
        });
        Duration::from_nanos(nanos.sum())
    }

    /// Resident memory of the process.
    pub(crate) fn resident_bytes(&self) -> u64 {
        // VmRSS is off by up to some dozen pages for each CPU (proc_pid_status(5)).
        let rollup = format!("/proc/{}/smaps_rollup", self.pid());
        let rollup = std::fs::read_to_string(rollup).unwrap();
        let line = rollup.lines().find(|line| line.starts_with("Rss:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }

    /// Descriptors that the process has open.
    pub(crate) fn open_descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

/// Gauges that are zero while no client is connected.
const IDLE_GAUGES: &[&str] = &[
    "/sessions/active",
    "/matchmaking/waiting",
    "/matchmaking/queues",
    "/matchmaking/tickets",
    "/rooms/active",
    "/bytes/unsent",
    "/bytes/held",
    "/migrations/in_flight",
];

/// A number of a `/stats` document.
pub(crate) fn stat_number(stats: &Value, pointer: &str) -> i64 {
    let found = stats.pointer(pointer).unwrap_or_else(|| panic!("{pointer} in {stats:#}"));
    found.as_i64().unwrap_or_else(|| panic!("{pointer} is {found}"))
}

/// The numbers of an object of a `/stats` document.
pub(crate) fn stat_map(stats: &Value, pointer: &str) -> Vec<(String, i64)> {
    let found = stats.pointer(pointer).and_then(Value::as_object);
    let found = found.unwrap_or_else(|| panic!("{pointer} in {stats:#}"));
    found.iter().map(|(name, value)| (name.clone(), value.as_i64().unwrap())).collect()
}

fn wait_for_exit(child: &mut Child) -> ExitStatus {
    wait_until("the process ends", || match child.try_wait().unwrap() {
        Some(status) => Ok(status),
        None => Err(format!("it still runs after {TIMEOUT:?}")),
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        let state = self.child.try_wait();
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's log: {:#?}", self.log());
            return;
        }
        assert!(self.ended || matches!(state, Ok(None)), "ended by itself: {state:?}");
        let log = self.log();
        assert!(!log.iter().any(|line| line.contains("panicked")), "a panic: {log:#?}");
    }
}
