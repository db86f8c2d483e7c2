//! The server under a service manager (sd_notify(3)): READY when it listens, WATCHDOG while all
//! threads run, STOPPING during a shutdown. The manager is a socket of the test.

use crate::support::{Client, ProtocolClient, Server, SuspendedThread, TIMEOUT};
use std::cell::Cell;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;

/// A service manager's end of the protocol.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    /// Listens on a socket of its own; `name` must differ between the tests of this file.
    fn new(name: &str) -> Manager {
        let file = format!("switchboard-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(file);
        let _left_over = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        Manager { socket, path }
    }

    /// Starts a server that reports to this manager, after the shell has run `prepare`.
    fn start(&self, prepare: &str, flags: &[&str]) -> Server {
        let path = self.path.display();
        let prepare = format!("export NOTIFY_SOCKET={path} && {prepare}");
        Server::start_in_shell(&prepare, flags)
    }

    /// The lines of the next message.
    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("the server sends a message in time");
        String::from_utf8(bytes[..length].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    /// Receives messages until one has a line that begins with `text`, and returns it. Calls
    /// `each` for every message, the last included.
    fn until(&self, text: &str, mut each: impl FnMut(&[String])) -> Vec<String> {
        loop {
            let message = self.next();
            each(&message);
            if message.iter().any(|line| line.starts_with(text)) {
                return message;
            }
        }
    }

    fn expect(&self, text: &str) -> Vec<String> {
        self.until(text, |_| {})
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _removed = std::fs::remove_file(&self.path);
    }
}

/// A watchdog timeout of 400 ms.
const SHORT_WATCHDOG: &str = "export WATCHDOG_USEC=400000";

#[test]
fn reports_ready_once_when_it_listens_on_every_address() {
    let manager = Manager::new("ready");
    let server = manager.start("true", &["--listen", "127.0.0.1:0,127.0.0.2:0", "--shards", "2"]);
    let first = manager.next();
    assert_eq!(first, ["READY=1", "STATUS=serving: 0 sessions, 0 waiting, 0 rooms"]);
    for address in server.addresses() {
        Client::connect(*address).expect_no_message();
    }
    server.send_signal("TERM");
    let mut ready = 0;
    manager.until("STOPPING=1", |lines| {
        ready += lines.iter().filter(|line| *line == "READY=1").count();
    });
    assert_eq!(ready, 0);
}

#[test]
fn an_idle_server_keeps_reporting_to_the_watchdog() {
    let manager = Manager::new("idle");
    let _server = manager.start(SHORT_WATCHDOG, &["--shards", "3"]);
    for _ in 0..4 {
        let message = manager.expect("WATCHDOG=1");
        assert_eq!(message[1], "STATUS=serving: 0 sessions, 0 waiting, 0 rooms");
    }
}

#[test]
fn the_status_counts_sessions_waiting_users_and_rooms() {
    let manager = Manager::new("status");
    let server = manager.start(SHORT_WATCHDOG, &["--shards", "2"]);
    let (mut one, mut two, mut three) = (server.client(), server.client(), server.client());
    one.join_queue("en");
    two.join_queue("en");
    one.expect_match();
    two.expect_match();
    three.join_queue("en");
    manager.expect("STATUS=serving: 3 sessions, 1 waiting, 1 rooms");
}

/// Checks that no watchdog message is sent while `thread` is stopped, and that the status names it.
fn check_stall(manager: &Manager, server: &Server, thread: &str) {
    let stopped = SuspendedThread::new(server, thread);
    let complaint = format!("STATUS=event loop of {thread} stalled for ");
    // A watchdog check that had begun before the thread was stopped may still succeed.
    manager.expect(&complaint);
    let alive = Cell::new(0);
    let count = |lines: &[String]| {
        alive.set(alive.get() + lines.iter().filter(|line| *line == "WATCHDOG=1").count());
    };
    manager.until(&complaint, count);
    manager.until(&complaint, count);
    assert_eq!(alive.get(), 0);
    drop(stopped);
    manager.expect("WATCHDOG=1");
}

#[test]
fn a_stalled_thread_stops_the_watchdog_messages_and_is_named() {
    const GOES_ON: &str = "event loops recovered";
    let manager = Manager::new("stalls");
    let mut server = manager.start(SHORT_WATCHDOG, &["--shards", "2"]);
    manager.expect("WATCHDOG=1");
    for thread in ["shard-1", "matcher", "shard-0"] {
        check_stall(&manager, &server, thread);
        let logged = server.wait_for_log_line(&format!("thread=\"{thread}\""));
        assert!(logged.contains("event loop stalled") && logged.contains("threads="), "{logged}");
        server.wait_for_log_line(GOES_ON);
    }
    // Each stall is logged once, however often the status repeats it. On a busy machine other
    // threads may be named in between.
    let logged: Vec<String> = server.log();
    let logged =
        logged.iter().filter(|line| line.contains("event loop stalled") || line.contains(GOES_ON));
    let named: Vec<&str> =
        logged.map(|line| line.split("thread=").nth(1).unwrap_or(GOES_ON)).collect();
    let name = |line: &str| line.split(' ').next().map(str::to_owned);
    assert!(named.windows(2).all(|pair| name(pair[0]) != name(pair[1])), "{named:#?}");
}

#[test]
fn without_a_manager_the_log_and_the_metric_report_a_stalled_thread() {
    let mut server = Server::start_in_shell(SHORT_WATCHDOG, &["--shards", "2"]);
    let metric = "switchboard_stalled_threads ";
    let stalled = |expected: &str| {
        crate::support::wait_until("the figure", || {
            let answer = crate::support::get(server.address(), "/metrics");
            let line = answer.text().lines().find(|line| line.starts_with(metric)).unwrap();
            if line == format!("{metric}{expected}") { Ok(()) } else { Err(line.to_owned()) }
        });
    };
    stalled("0");
    let stopped = SuspendedThread::new(&server, "matcher");
    stalled("1");
    drop(stopped);
    stalled("0");
    server.wait_for_log_line("event loop stalled");
    server.wait_for_log_line("event loops recovered");
}

#[test]
fn a_server_without_free_descriptors_keeps_reporting_to_the_watchdog() {
    let manager = Manager::new("full");
    let mut server = manager.start(SHORT_WATCHDOG, &[]);
    manager.expect("WATCHDOG=1");
    let none_more = format!("--nofile={}", server.open_descriptors());
    let pid = server.pid().to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, &none_more]).status().unwrap();
    assert!(status.success());
    let _outside: Vec<_> = (0..4).map(|_| server.raw_connection()).collect();
    server.wait_for_log_line("accepting is paused");
    for _ in 0..3 {
        manager.expect("WATCHDOG=1");
    }
}

#[test]
fn a_shutdown_reports_stopping_and_extends_its_timeout() {
    let manager = Manager::new("stop");
    let server = manager.start(SHORT_WATCHDOG, &["--drain-timeout", "1h"]);
    let (mut one, mut two) = (server.client(), server.client());
    one.join_queue("en");
    two.join_queue("en");
    one.expect_match();
    two.expect_match();
    manager.expect("WATCHDOG=1");
    server.send_signal("TERM");
    let message = manager.expect("STOPPING=1");
    assert_eq!(message[1], "EXTEND_TIMEOUT_USEC=10000000");
    assert_eq!(message[2], "STATUS=shutting down: 2 sessions, 0 waiting, 1 rooms");
    // The room lasts longer than the unit's timeout, and the watchdog messages continue.
    for _ in 0..2 {
        manager.expect("EXTEND_TIMEOUT_USEC=");
        manager.expect("WATCHDOG=1");
    }
}

#[test]
fn a_watchdog_for_another_process_gets_no_messages() {
    let manager = Manager::new("other");
    let mut server = manager.start(&format!("{SHORT_WATCHDOG} WATCHDOG_PID=1"), &[]);
    manager.expect("READY=1");
    server.send_signal("TERM");
    // An empty server runs for another second, in which a watchdog message would arrive.
    assert!(server.wait_for_exit().success());
    manager.socket.set_nonblocking(true).unwrap();
    let mut bytes = [0; 4096];
    let mut received = String::new();
    while let Ok(length) = manager.socket.recv(&mut bytes) {
        received += std::str::from_utf8(&bytes[..length]).unwrap();
    }
    assert!(received.contains("STOPPING=1") && !received.contains("WATCHDOG="), "{received}");
}
