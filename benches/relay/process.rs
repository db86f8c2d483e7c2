//! The measured server: a separate process, on the first CPU.

use crate::generator::ServerKind;
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
    /// Its listening address.
    pub(crate) address: SocketAddr,
    /// Its kind.
    pub(crate) kind: ServerKind,
}

impl Server {
    /// Starts a server on the first CPU. The reference has one shard, whatever `shards` is.
    pub(crate) fn start(kind: ServerKind, shards: usize) -> Self {
        // A child inherits the affinity of the thread that starts it.
        on_cpu(allowed().first(), || Self::start_unpinned(kind, shards, &[]))
    }

    /// Starts a server on the CPUs of the calling thread, with these flags if it is Switchboard.
    pub(crate) fn start_unpinned(kind: ServerKind, shards: usize, flags: &[&str]) -> Self {
        let mut command = match kind {
            ServerKind::Product => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
                command.args(["--listen", "127.0.0.1:0", "--shards", &shards.to_string()]);
                // The client counts bytes, so a ping between messages would count as a message.
                command.args(["--ping-interval", "1h", "--silence-limit", "2h"]);
                command.args(flags);
                command
            }
            ServerKind::Reference => {
                let mut command = Command::new(std::env::current_exe().expect("a path"));
                command.arg(reference::ARGUMENT);
                command
            }
        };
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the server starts");
        let mut lines =
            BufReader::new(child.stderr.take().expect("standard error is piped")).lines();
        let address = loop {
            let line = lines.next().expect("the server logs its address").expect("a line");
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.trim().parse().expect("an address");
            }
        };
        // Keeps the pipe open and empty, so that the server can write its log.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, address, kind }
    }

    /// CPU time of all its threads since its start (`/proc/PID/task/TID/schedstat`, proc(5)).
    pub(crate) fn cpu(&self) -> Duration {
        let mut nanos = 0;
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        for task in tasks.flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            nanos += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
        Duration::from_nanos(nanos)
    }

    /// Private resident memory (`Private_Dirty` and `Private_Clean` in `/proc/PID/smaps_rollup`).
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

    /// Waits until it is idle.
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

/// The CPUs that the benchmark may use. First called by the main thread, which is not pinned.
pub(crate) fn allowed() -> &'static [core_affinity::CoreId] {
    static ALLOWED: OnceLock<Vec<core_affinity::CoreId>> = OnceLock::new();
    ALLOWED.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default())
}

/// Runs `work` on a new thread that is pinned to `cpu`.
fn on_cpu<T: Send>(cpu: Option<&core_affinity::CoreId>, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Some(cpu) = cpu {
                core_affinity::set_for_current(*cpu);
            }
            work()
        });
        thread.join().expect("the measurement does not panic")
    })
}

/// Runs `work`, the client, on the last CPU.
pub(crate) fn as_client<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    on_cpu(allowed().last(), work)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
