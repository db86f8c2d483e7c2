//! The bound on the letters of one turn.

use crate::support::{ProtocolClient, RawClient, Server, SuspendedThread, stat_number, wait_until};
use switchboard::limits::COMMANDS_PER_ITERATION;

const TURNS: usize = 8;

/// Turns that the server's one shard has begun, asked for on a connection that is there already.
fn turns(asks: &mut RawClient) -> usize {
    let metrics = asks.request("GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut lines = metrics.text().lines();
    let count =
        lines.find_map(|line| line.strip_prefix("switchboard_loop_iterations_total{")).unwrap();
    count.split_once("} ").unwrap().1.parse().unwrap()
}

/// Waits until a thread has nothing to do.
fn until_asleep(server: &Server, name: &str) {
    wait_until(&format!("{name} has nothing to do"), || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        let mut stats = tasks.map(|task| {
            // The state is behind the name, which is in parentheses (proc_pid_stat(5)).
            std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap()
        });
        let stat = stats.find(|stat| stat.contains(&format!("({name})"))).unwrap();
        if stat.contains(") S ") { Ok(()) } else { Err(stat) }
    });
}

/// Whatever the matcher has to say to a shard at once, the shard looks at its connections between.
#[test]
fn letters_are_read_in_a_bounded_number_to_a_turn() {
    crate::support::run_alone();
    switchboard::sys::descriptors::raise_limit().unwrap();
    let server = Server::start(&["--handshake-timeout", "5m", "--ping-interval", "50s"]);
    let mut asks = server.raw_connection();
    let mut users: Vec<RawClient> =
        (0..TURNS * COMMANDS_PER_ITERATION).map(|_| server.raw_session()).collect();
    let matcher = SuspendedThread::new(&server, "matcher");
    for (nth, user) in users.iter_mut().enumerate() {
        user.find_match(&format!("alone-{nth}"));
    }
    wait_until("all wishes have been read", || {
        let stats = asks.request("GET /stats HTTP/1.1\r\nHost: t\r\n\r\n").json();
        let read = stat_number(&stats, "/messages/received") as usize;
        if read == users.len() { Ok(()) } else { Err(format!("{read}")) }
    });
    let before = turns(&mut asks);
    let shard = SuspendedThread::new(&server, "shard-0");
    drop(matcher);
    until_asleep(&server, "matcher");
    drop(shard);
    for user in &mut users {
        user.expect_message("waiting");
    }
    let took = turns(&mut asks) - before;
    assert!(took >= TURNS, "{} letters in {took} turns, which should be {TURNS}", users.len());
}
