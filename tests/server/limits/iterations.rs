//! The limit on commands that an event loop handles in one iteration.

use crate::support::{
    ProtocolClient, RawClient, Server, SuspendedThread, run_alone, stat_number, wait_until,
};
use switchboard::limits::COMMANDS_PER_ITERATION;

/// Iterations that the commands of this test take at least.
const ITERATIONS: usize = 8;

/// Iterations that the server's only shard has begun, requested on an open connection.
fn iterations(monitor: &mut RawClient) -> usize {
    let metrics = monitor.request("GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut lines = metrics.text().lines();
    let count =
        lines.find_map(|line| line.strip_prefix("switchboard_loop_iterations_total{")).unwrap();
    count.split_once("} ").unwrap().1.parse().unwrap()
}

/// Waits until a thread sleeps in its poll.
fn wait_until_asleep(server: &Server, name: &str) {
    wait_until(&format!("{name} sleeps"), || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        let mut stats = tasks.map(|task| {
            // The state follows the name, which is in parentheses (proc_pid_stat(5)).
            std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap()
        });
        let stat = stats.find(|stat| stat.contains(&format!("({name})"))).unwrap();
        if stat.contains(") S ") { Ok(()) } else { Err(stat) }
    });
}

/// However many commands the matcher sends at once, the shard reads its connections in between.
#[test]
fn handles_a_bounded_number_of_commands_per_iteration() {
    run_alone();
    switchboard::sys::descriptors::raise_limit().unwrap();
    let server = Server::start(&["--handshake-timeout", "5m", "--ping-interval", "50s"]);
    let mut monitor = server.raw_connection();
    let mut users: Vec<RawClient> =
        (0..ITERATIONS * COMMANDS_PER_ITERATION).map(|_| server.raw_session()).collect();
    let matcher = SuspendedThread::new(&server, "matcher");
    for (nth, user) in users.iter_mut().enumerate() {
        user.find_match(&format!("alone-{nth}"));
    }
    wait_until("all requests have been read", || {
        let stats = monitor.request("GET /stats HTTP/1.1\r\nHost: t\r\n\r\n").json();
        let read = stat_number(&stats, "/messages/received") as usize;
        if read == users.len() { Ok(()) } else { Err(format!("{read}")) }
    });
    let before = iterations(&mut monitor);
    let shard = SuspendedThread::new(&server, "shard-0");
    drop(matcher);
    wait_until_asleep(&server, "matcher");
    drop(shard);
    for user in &mut users {
        user.expect_message("waiting");
    }
    let took = iterations(&mut monitor) - before;
    assert!(
        took >= ITERATIONS,
        "{} commands in {took} iterations, not in {ITERATIONS} or more",
        users.len()
    );
}
