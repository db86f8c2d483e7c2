//! The server as a process of its own.

use super::{Client, Match, PATIENCE, Raw, Response, Talk, get, run_shared, until};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A running server. It is killed when this is dropped, and then must not have panicked.
pub(crate) struct Server {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    addresses: Vec<SocketAddr>,
    /// Whether a test has seen it end.
    ended: bool,
}

/// A command that starts the server within a shell that has prepared something for it.
pub(crate) struct Shell(pub(crate) &'static str);

/// The server's own command, without what the environment could say to it.
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

/// What became of a server that was not meant to start.
pub(crate) struct Refusal {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Server {
    /// The command that starts the server with these flags, as they stand.
    pub(crate) fn command(flags: &[&str]) -> Command {
        let mut command = command(env!("CARGO_BIN_EXE_switchboard"));
        command.args(flags);
        command
    }

    /// A server on a free port of 127.0.0.1, unless `flags` say otherwise; on one shard, unless
    /// they say otherwise; not pinned, for many tests share two CPUs, unless it is to steer.
    pub(crate) fn start(flags: &[&str]) -> Server {
        Server::run(Server::command(&[]), flags)
    }

    /// The same, by `sh`, which does `prepare` first and then becomes the server.
    pub(crate) fn start_in(prepare: Shell, flags: &[&str]) -> Server {
        let mut shell = command("sh");
        let script = format!("{} && exec \"$0\" \"$@\"", prepare.0);
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_switchboard")]);
        Server::run(shell, flags)
    }

    fn run(mut command: Command, flags: &[&str]) -> Server {
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
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines {
                kept.lock().unwrap().push(line.unwrap_or_else(|error| format!("{error}")));
            }
        });
        let mut server = Server { child, log, addresses: Vec::new(), ended: false };
        // The last line at the start comes after all addresses.
        server.until_logged("max_connections");
        server.addresses = server
            .log()
            .iter()
            .filter_map(|line| line.split("listening on ").nth(1))
            .map(|address| address.trim_end_matches(['"', '}']).parse().unwrap())
            .collect();
        server
    }

    /// Runs a server that is expected to end by itself. It gets a free port unless `flags` name
    /// one, so that a server on the default port does not decide what happens.
    pub(crate) fn refused(flags: &[&str]) -> Refusal {
        run_shared();
        let free_port = ["--listen", "127.0.0.1:0"];
        let before: &[&str] = if flags.contains(&"--listen") { &[] } else { &free_port };
        let mut child = Server::command(&[before, flags].concat()).spawn().unwrap();
        let status = exit_of(&mut child);
        let output = child.wait_with_output().unwrap();
        Refusal {
            status,
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The first address it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// All addresses it listens on.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a line that contains `text`, and gives it.
    pub(crate) fn until_logged(&mut self, text: &str) -> String {
        let (log, child) = (&self.log, &mut self.child);
        until(&format!("the server logs {text:?}"), || {
            let lines = log.lock().unwrap();
            let found = lines.iter().find(|line| line.contains(text)).cloned();
            found.ok_or_else(|| {
                let state = child.try_wait();
                format!("it has not, and is {state:?}; its log: {lines:#?}")
            })
        })
    }

    /// A user who has a session.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// A user who has a session, and whose every byte the test decides.
    pub(crate) fn session(&self) -> Raw {
        Raw::session(self.address())
    }

    /// A connection on which nothing has been sent.
    pub(crate) fn raw(&self) -> Raw {
        Raw::connect(self.address())
    }

    /// Connects users with `connect` until one is on `shard`; the others leave.
    pub(crate) fn on_shard<T>(&self, shard: usize, connect: impl Fn() -> T) -> T {
        let opened = || -> Vec<i64> {
            let stats = self.stats();
            let shards = stats["shards"].as_array().unwrap();
            shards.iter().map(|shard| shard["sessions_opened"].as_i64().unwrap()).collect()
        };
        for _ in 0..200 {
            let before = opened();
            let client = connect();
            let after = until("a shard has one more session", || {
                let after = opened();
                if after != before { Ok(after) } else { Err(format!("{after:?}")) }
            });
            if after[shard] > before[shard] {
                return client;
            }
        }
        panic!("of 200 connections none came to shard {shard}")
    }

    /// Two users in one room, the one who sends the offer first.
    pub(crate) fn pair(&self) -> (Client, Client, Match) {
        pair_up(self.client(), self.client())
    }

    /// The same with [`Raw`].
    pub(crate) fn raw_pair(&self) -> (Raw, Raw, Match) {
        pair_up(self.session(), self.session())
    }

    /// The body of `GET path`, which has to be there.
    pub(crate) fn page(&self, path: &str) -> Response {
        let response = get(self.address(), path);
        assert_eq!(response.status, 200, "{path}: {response:?}");
        response
    }

    /// `/stats`.
    pub(crate) fn stats(&self) -> Value {
        self.page("/stats").json()
    }

    /// One number of `/stats`, by its JSON pointer.
    pub(crate) fn figure(&self, pointer: &str) -> i64 {
        number(&self.stats(), pointer)
    }

    /// The same, asked for at another of its addresses.
    pub(crate) fn figure_at(&self, address: SocketAddr, pointer: &str) -> i64 {
        number(&get(address, "/stats").json(), pointer)
    }

    /// Waits until a number of `/stats` is `expected`.
    pub(crate) fn until_figure(&self, pointer: &str, expected: i64) {
        until(&format!("{pointer} becomes {expected}"), || match self.figure(pointer) {
            found if found == expected => Ok(()),
            found => Err(format!("it is {found}")),
        });
    }

    /// Waits until the figures of the process have been read for the first time.
    pub(crate) fn until_sampled(&self) {
        until("the process is sampled", || match &self.stats()["process"]["threads"] {
            Value::Number(_) => Ok(()),
            other => Err(format!("{other} threads")),
        });
    }

    /// Waits until nobody is there and nothing is kept for anybody, and checks that every
    /// connection that came has gone for exactly one reason.
    pub(crate) fn comes_to_rest(&self) {
        until("the figures go back to zero", || {
            let stats = self.stats();
            let open = |pointer: &&str| number(&stats, pointer) != 0;
            let rest: Vec<&str> = GAUGES.iter().filter(|gauge| open(gauge)).copied().collect();
            // The connection that asks is one.
            let active = number(&stats, "/connections/active");
            let closed: i64 = map(&stats, "/connections/closed").iter().map(|(_, n)| n).sum();
            let accepted = number(&stats, "/connections/accepted");
            if !rest.is_empty() || active != 1 || accepted != active + closed {
                return Err(format!(
                    "not zero: {rest:?}; accepted {accepted}, active {active}, closed {closed}; \
                     {stats:#}"
                ));
            }
            Ok(())
        });
    }

    /// A signal, by its name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.pid().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits until the process ends by itself.
    pub(crate) fn exit(&mut self) -> ExitStatus {
        let status = exit_of(&mut self.child);
        self.ended = true;
        status
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

    /// Memory of the process that is resident.
    pub(crate) fn resident_bytes(&self) -> u64 {
        // VmRSS is off by up to some dozen pages for each CPU (proc_pid_status(5)).
        let rollup = format!("/proc/{}/smaps_rollup", self.pid());
        let rollup = std::fs::read_to_string(rollup).unwrap();
        let line = rollup.lines().find(|line| line.starts_with("Rss:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }

    /// Descriptors that the process has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

/// Gauges that are zero when nobody is there.
const GAUGES: &[&str] = &[
    "/sessions/active",
    "/matchmaking/waiting",
    "/matchmaking/queues",
    "/matchmaking/tickets",
    "/rooms/active",
    "/bytes/unsent",
    "/bytes/held",
    "/migrations/in_flight",
];

/// A number of a `/stats` that was read before.
pub(crate) fn number(stats: &Value, pointer: &str) -> i64 {
    let found = stats.pointer(pointer).unwrap_or_else(|| panic!("{pointer} in {stats:#}"));
    found.as_i64().unwrap_or_else(|| panic!("{pointer} is {found}"))
}

/// The numbers of an object of `/stats`.
pub(crate) fn map(stats: &Value, pointer: &str) -> Vec<(String, i64)> {
    let found = stats.pointer(pointer).and_then(Value::as_object);
    let found = found.unwrap_or_else(|| panic!("{pointer} in {stats:#}"));
    found.iter().map(|(name, value)| (name.clone(), value.as_i64().unwrap())).collect()
}

/// Two users who are not in a room meet, and only they.
pub(crate) fn pair_up<T: Talk>(mut one: T, mut other: T) -> (T, T, Match) {
    let queue = format!("q{}", one.id());
    for user in [&mut one, &mut other] {
        user.find(&queue);
        assert_eq!(user.expect("waiting")["queue"], queue);
    }
    let (ones, others) = (one.expect_match(), other.expect_match());
    assert_eq!(ones.room_id, others.room_id);
    assert_eq!((&*ones.peer_id, &*others.peer_id), (other.id(), one.id()));
    assert_ne!(ones.initiator, others.initiator, "exactly one sends the offer");
    if ones.initiator { (one, other, ones) } else { (other, one, others) }
}

fn exit_of(child: &mut Child) -> ExitStatus {
    until("the process ends", || match child.try_wait().unwrap() {
        Some(status) => Ok(status),
        None => Err(format!("it still runs after {PATIENCE:?}")),
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        let running = self.child.try_wait();
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's log: {:#?}", self.log());
            return;
        }
        assert!(self.ended || matches!(running, Ok(None)), "ended by itself: {running:?}");
        let log = self.log();
        assert!(!log.iter().any(|line| line.contains("panicked")), "a panic: {log:#?}");
    }
}
