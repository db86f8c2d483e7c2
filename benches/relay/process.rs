//! A server under measurement: a process of its own, on the first CPU.

use crate::generator::Kind;
use crate::reference;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// A running server.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Which it is.
    pub(crate) kind: Kind,
}

impl Server {
    /// Starts a server with so many shards (the reference has one) on the first CPU.
    pub(crate) fn start(kind: Kind, shards: usize) -> Self {
        // A child inherits the affinity of the thread that starts it.
        on_cpu(allowed().first(), || Self::start_anywhere(kind, shards, &[]))
    }

    /// The same on the CPUs that the calling thread may use, with flags for the product.
    pub(crate) fn start_anywhere(kind: Kind, shards: usize, flags: &[&str]) -> Self {
        let mut command = match kind {
            Kind::Product => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
                command.args(["--listen", "127.0.0.1:0", "--shards", &shards.to_string()]);
                // A ping among the messages would be taken for part of one.
                command.args(["--ping-interval", "1h", "--silence-limit", "2h"]);
                command.args(flags);
                command
            }
            Kind::Reference => {
                let mut command = Command::new(std::env::current_exe().expect("a path"));
                command.arg(reference::WORD);
                command
            }
        };
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the server starts");
        let mut lines =
            BufReader::new(child.stderr.take().expect("standard error is piped")).lines();
        let address = loop {
            let line = lines.next().expect("the server says where it listens").expect("a line");
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.trim().parse().expect("an address");
            }
        };
        // The pipe stays open, or the server could not write its log.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, address, kind }
    }

    /// CPU time of all its threads so far (`/proc/PID/task/TID/schedstat`, proc(5)).
    pub(crate) fn cpu(&self) -> Duration {
        let mut nanos = 0;
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        for task in tasks.flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            nanos += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
        Duration::from_nanos(nanos)
    }

    /// Memory that is its own and resident (`Private_Dirty` and `Private_Clean` of
    /// `/proc/PID/smaps_rollup`).
    pub(crate) fn resident_bytes(&self) -> i64 {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let text = fs::read_to_string(path).expect("it runs");
        let kib: i64 = text
            .lines()
            .filter(|line| line.starts_with("Private_"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<i64>().ok())
            .sum();
        kib * 1024
    }

    /// Waits until it uses no CPU any more.
    pub(crate) fn settle(&self) {
        let mut before = self.cpu();
        loop {
            std::thread::sleep(Duration::from_millis(300));
            let now = self.cpu();
            if now - before < Duration::from_millis(1) {
                return;
            }
            before = now;
        }
    }
}

/// The CPUs that the benchmark may use, as the main thread sees them, which is never pinned.
pub(crate) fn allowed() -> &'static [core_affinity::CoreId] {
    static ALLOWED: OnceLock<Vec<core_affinity::CoreId>> = OnceLock::new();
    ALLOWED.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default())
}

/// Runs `work` on a thread of its own that stays on `cpu`.
fn on_cpu<T: Send>(cpu: Option<&core_affinity::CoreId>, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Some(cpu) = cpu {
                core_affinity::set_for_current(*cpu);
            }
            work()
        });
        thread.join().expect("the measurement goes through")
    })
}

/// Runs `work`, the client's part, on the last CPU.
pub(crate) fn as_client<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    on_cpu(allowed().last(), work)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
