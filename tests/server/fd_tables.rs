//! `--fd-tables private`: more connections than one descriptor table holds, sessions that migrate
//! between tables, and full tables. Where the kernel has no pidfd for a thread there is nothing to
//! test.

use crate::support::{
    ProtocolClient, RawClient, Server, expect_room_relays, private_tables_supported, read_report,
    run_alone, stat_number, text_frame, upgrade_request, wait_until,
};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use switchboard::config::private_table_overhead;
use switchboard::limits::{SWEEP_PARTS, SWEEP_PERIOD_MS};

const PRIVATE: &str = "private";

/// Descriptors in the table of each of the server's shards, by the thread's name.
fn tables_of(server: &Server) -> BTreeMap<String, usize> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let table = |task: std::fs::DirEntry| {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap();
        (name.trim().to_owned(), std::fs::read_dir(task.path().join("fd")).unwrap().count())
    };
    tasks.map(|task| table(task.unwrap())).filter(|(name, _)| name.starts_with("shard")).collect()
}

/// Waits until every table has as many descriptors as `expected`.
fn wait_for_tables(server: &Server, expected: &BTreeMap<String, usize>) {
    wait_until("every table has as many descriptors as before", || match tables_of(server) {
        tables if tables == *expected => Ok(()),
        tables => Err(format!("{tables:?}, before {expected:?}")),
    });
}

#[test]
fn matches_more_sessions_than_one_table_holds_and_leaks_no_descriptor() {
    if !private_tables_supported() {
        return;
    }
    run_alone();
    const LIMIT: u64 = 400;
    const USERS: usize = 450;
    switchboard::sys::descriptors::raise_limit().unwrap();
    let flags = ["--fd-tables", PRIVATE, "--shards", "2", "--rematch-delay", "0s"];
    let mut server = Server::start_in_shell("ulimit -n 400", &flags);
    // No client has connected yet.
    let before = tables_of(&server);
    let each = LIMIT - private_table_overhead(2, 1);
    assert_eq!(server.stat("/connections/limit"), 2 * each as i64);
    server.wait_for_log_line(&format!("its own descriptor table of {LIMIT}, for {each} "));
    for _ in 0..2 {
        let mut users: Vec<RawClient> = (0..USERS).map(|_| server.raw_session()).collect();
        assert_eq!(server.stat("/sessions/active"), USERS as i64);
        let all: usize = tables_of(&server).values().sum();
        assert!(all > USERS && USERS > LIMIT as usize, "{:?}", tables_of(&server));
        let find = text_frame(br#"{"type":"find_match"}"#);
        // One after the other, so that the pairs do not depend on which shard is faster.
        for user in &mut users {
            user.send(&find);
            user.expect_message("waiting");
        }
        let mut waiting = BTreeMap::new();
        let mut rooms = Vec::new();
        for mut user in users {
            let room = user.expect_match();
            match waiting.remove(&room.room_id) {
                None => drop(waiting.insert(room.room_id.clone(), (user, room))),
                Some((other, _)) => rooms.push((user, other, room)),
            }
        }
        assert_eq!((rooms.len(), waiting.len()), (USERS / 2, 0));
        for (user, other, room) in &mut rooms {
            expect_room_relays(user, other, room);
        }
        drop(rooms);
        server.wait_until_idle();
        wait_for_tables(&server, &before);
    }
    assert!(server.stat("/migrations/in") > 10, "no session has migrated");
    let stats = server.stats();
    assert_eq!(stat_number(&stats, "/process/descriptor_tables"), 3);
    assert_eq!(stat_number(&stats, "/process/descriptors_allowed"), 3 * LIMIT as i64);
    assert!(stat_number(&stats, "/shards/1/descriptors_used") > 10);
    let metrics = server.get("/metrics");
    let line = format!("switchboard_table_max_fds {LIMIT}\n");
    assert!(metrics.text().contains(&line), "{}", metrics.text());
}

#[test]
fn refuses_with_503_when_the_table_of_a_shard_is_full() {
    if !private_tables_supported() {
        return;
    }
    let each = 30;
    let limit = private_table_overhead(2, 1) + each;
    let prepare = format!("ulimit -n {limit}");
    let server = Server::start_in_shell(&prepare, &["--fd-tables", PRIVATE, "--shards", "2"]);
    // More than all tables hold together: however the kernel spreads the connections,
    // one table becomes full.
    let mut sessions = Vec::new();
    let mut refused = 0;
    for _ in 0..2 * each + 20 {
        let mut raw = server.raw_connection();
        raw.send(&upgrade_request());
        match raw.peek_status() {
            101 => {
                raw.expect_upgrade();
                sessions.push(raw);
            }
            503 => refused += 1,
            status => panic!("{status}"),
        }
    }
    let stats = server.stats();
    let counts =
        [stat_number(&stats, "/shards/0/sessions"), stat_number(&stats, "/shards/1/sessions")];
    assert!(counts.contains(&(each as i64)), "{counts:?}");
    assert!(counts.iter().all(|count| *count <= each as i64), "{counts:?}");
    assert_eq!(counts.iter().sum::<i64>(), sessions.len() as i64);
    assert_eq!(stat_number(&stats, "/http/rejected/connection_limit"), refused);
    assert_eq!(stat_number(&stats, "/connections/accept_errors"), 0);
    // The sessions are matched all the same, whichever of them has to migrate.
    let even = sessions.len() / 2 * 2;
    sessions.truncate(even);
    sessions.iter_mut().for_each(|user| user.find_match("full"));
    server.wait_for_stat("/rooms/active", even as i64 / 2);
    drop(sessions);
    server.wait_until_idle();
}

/// Sets the server's soft limit of open files, and leaves the hard limit.
fn limit_descriptors(server: &Server, soft: &str) {
    let status = Command::new("prlimit")
        .args(["--pid", &server.pid().to_string(), &format!("--nofile={soft}:")])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn retries_a_rejected_migration_when_a_descriptor_is_free() {
    if !private_tables_supported() {
        return;
    }
    let flags = ["--fd-tables", PRIVATE, "--shards", "2", "--rematch-delay", "0s"];
    let server = Server::start(&flags);
    let mut monitor = server.raw_connection();
    // On an open connection: later no connection can be accepted.
    let mut figure = |pointer: &str| {
        let stats = monitor.request("GET /stats HTTP/1.1\r\nHost: t\r\n\r\n").json();
        stat_number(&stats, pointer)
    };
    assert_eq!(figure("/migrations/rejected"), 0);
    let mut one = server.connect_on_shard(0, || server.raw_session());
    let mut other = server.connect_on_shard(1, || server.raw_session());
    wait_until("the connections on the wrong shard are closed", || {
        match figure("/connections/active") {
            3 => Ok(()),
            active => Err(format!("{active} connections")),
        }
    });
    let before = tables_of(&server);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft = line.split_whitespace().nth(3).unwrap().to_owned();
    // Every table uses all descriptors below this limit.
    limit_descriptors(&server, "3");
    let began = Instant::now();
    one.find_match("en");
    other.find_match("en");
    one.expect_message("waiting");
    other.expect_message("waiting");
    wait_until("a migration has been rejected a second time", || {
        match figure("/migrations/rejected") {
            0 | 1 => Err("none, or only one".to_owned()),
            many => Ok(many),
        }
    });
    // A rejected migration is tried again at the next tick, not at once.
    let tick_ms = SWEEP_PERIOD_MS as i64 / SWEEP_PARTS as i64;
    let most = 2 + began.elapsed().as_millis() as i64 / tick_ms;
    let many = figure("/migrations/rejected");
    assert!(many <= most, "{many} rejections where {most} are possible");
    // Both sessions still wait, and one cancels and asks again.
    one.send(&text_frame(br#"{"type":"cancel_match"}"#));
    one.expect_message("match_cancelled");
    one.find_match("en");
    one.expect_message("waiting");
    limit_descriptors(&server, &soft);
    let room = one.expect_match();
    other.expect_match();
    expect_room_relays(&mut one, &mut other, &room);
    // One session has migrated to the other table and left no descriptor behind.
    wait_until("as many descriptors are open as before", || {
        let sum = |tables: BTreeMap<String, usize>| tables.values().sum::<usize>();
        let (now, then) = (sum(tables_of(&server)), sum(before.clone()));
        if now == then { Ok(()) } else { Err(format!("{now}, before {then}")) }
    });
    drop((one, other, monitor));
    server.wait_until_idle();
}

#[test]
fn shuts_down_gracefully_while_sessions_migrate() {
    if !private_tables_supported() {
        return;
    }
    let flags = ["--fd-tables", PRIVATE, "--shards", "4", "--rematch-delay", "0s"];
    let flags = [&flags[..], &["--drain-timeout", "300ms"]].concat();
    let mut server = Server::start(&flags);
    let mut users: Vec<RawClient> = (0..60).map(|_| server.raw_session()).collect();
    let next = text_frame(br#"{"type":"find_match"}"#).repeat(20);
    users.iter_mut().for_each(|user| user.send(&next));
    server.send_signal("TERM");
    assert!(server.wait_for_exit().success(), "{:?}", server.log());
    for mut user in users {
        let (_received, _end) = user.read_to_end();
    }
    server.wait_for_log_line("ended gracefully");
}

#[test]
fn refuses_a_port_in_use_with_one_line_with_private_tables() {
    if !private_tables_supported() {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let flags = ["--fd-tables", PRIVATE, "--shards", "3", "--listen", &address];
    let refusal = Server::run_to_exit(&flags);
    assert_eq!(refusal.status.code(), Some(1), "{}", refusal.stderr);
    let last = refusal.stderr.lines().last().unwrap();
    assert!(last.contains("another process listens on that port"), "{}", refusal.stderr);
    assert_eq!(refusal.stderr.lines().count(), 1, "{}", refusal.stderr);
}

#[test]
fn no_table_keeps_a_descriptor_of_another_shard() {
    if !private_tables_supported() {
        return;
    }
    let server = Server::start(&["--fd-tables", PRIVATE, "--shards", "3"]);
    let users: Vec<RawClient> = (0..30).map(|_| server.raw_session()).collect();
    server.wait_for_stat("/sessions/active", 30);
    server.wait_for_stat("/connections/active", 31);
    let mut holders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap() {
        let path = task.unwrap().path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap().trim().to_owned();
        // The main thread and the matcher share one table.
        if name == "matcher" {
            continue;
        }
        for fd in std::fs::read_dir(path.join("fd")).unwrap() {
            let Ok(target) = std::fs::read_link(fd.unwrap().path()) else { continue };
            let target = target.to_string_lossy().into_owned();
            if target.starts_with("socket:") {
                holders.entry(target).or_default().push(name.clone());
            }
        }
    }
    let network = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let inode = |line: &str| format!("socket:[{}]", line.split_whitespace().nth(9).unwrap());
    let ours: Vec<String> = network.lines().skip(1).map(inode).collect();
    let tcp: Vec<_> = holders.iter().filter(|(socket, _)| ours.contains(socket)).collect();
    assert!(tcp.len() >= 33, "three listeners and thirty connections: {tcp:?}");
    for (socket, threads) in tcp {
        assert_eq!(threads.len(), 1, "{socket} is open in the tables of {threads:?}");
    }
    drop(users);
    server.wait_until_idle();
}

#[test]
fn load_tester_holds_more_users_than_one_table() {
    if !private_tables_supported() {
        return;
    }
    let server = Server::start(&["--fd-tables", PRIVATE, "--shards", "2"]);
    let url = format!("ws://{}/ws", server.address());
    let report = format!("{}/tables-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let run = |threads: &str| {
        Command::new("sh")
            .args(["-c", "ulimit -n 250 && exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_switchboard-load"))
            .args(["connections", "--users", "500", "--connect-rate", "500", "--hold", "1s"])
            .args(["--targets", "none", "--late-percent", "100", "--quiet"])
            .args(["--threads", threads, "--url", &url, "--report", &report])
            .output()
            .unwrap()
    };
    let few = run("2");
    let line = String::from_utf8_lossy(&few.stderr);
    assert_eq!(few.status.code(), Some(4), "{line}");
    assert!(line.contains("for each thread") && line.contains("or --threads 3"), "{line}");
    let enough = run("3");
    let errors = String::from_utf8_lossy(&enough.stderr);
    assert!(enough.status.success(), "{errors}");
    let json = read_report(Path::new(&report));
    let _removed = std::fs::remove_dir_all(&report);
    // The tester finds the server's process, whose main thread has no listener, and its limit.
    let found = switchboard::load::server_process::find_process(server.address());
    assert_eq!(found, Some(server.pid()));
    let limit = stat_number(&server.stats(), "/process/descriptors_allowed") as f64;
    let text = json.to_string();
    assert!(text.contains(&format!("\"server_descriptor_limit\":{limit:.1}")), "{text}");
    assert_eq!(server.stat("/sessions/opened"), 500);
    server.wait_until_idle();
}
