//! `--fd-tables private`: more connections than one table holds, sessions that move from table
//! to table, and tables that are full. Where the kernel has no handles on threads there is
//! nothing to test.

use crate::support::{
    ProtocolClient, RawClient, Server, expect_room_relays, stat_number, text_frame, upgrade_request,
};
use std::collections::BTreeMap;
use std::net::TcpListener;
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

/// Waits until every table holds what it held then.
fn until_tables(server: &Server, expected: &BTreeMap<String, usize>) {
    crate::support::wait_until("every table holds what it held before", || {
        match tables_of(server) {
            tables if tables == *expected => Ok(()),
            tables => Err(format!("{tables:?}, before {expected:?}")),
        }
    });
}

#[test]
fn more_sessions_than_a_table_holds_meet_across_tables_and_leave_no_descriptor() {
    if !crate::support::private_tables_supported() {
        return;
    }
    crate::support::run_alone();
    const LIMIT: u64 = 400;
    const USERS: usize = 450;
    switchboard::sys::descriptors::raise_limit().unwrap();
    let flags = ["--fd-tables", PRIVATE, "--shards", "2", "--rematch-delay", "0s"];
    let mut server = Server::start_in_shell("ulimit -n 400", &flags);
    // Nobody has been here yet.
    let before = tables_of(&server);
    let each = LIMIT - private_table_overhead(2, 1);
    assert_eq!(server.stat("/connections/limit"), 2 * each as i64);
    server.wait_for_log_line(&format!("descriptor table of its own, of {LIMIT}, for {each} "));
    for _ in 0..2 {
        let mut users: Vec<RawClient> = (0..USERS).map(|_| server.raw_session()).collect();
        assert_eq!(server.stat("/sessions/active"), USERS as i64);
        let all: usize = tables_of(&server).values().sum();
        assert!(all > USERS && USERS > LIMIT as usize, "{:?}", tables_of(&server));
        let find = text_frame(br#"{"type":"find_match"}"#);
        // One after the other, so that who meets whom does not depend on which shard is quicker.
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
        until_tables(&server, &before);
    }
    assert!(server.stat("/migrations/in") > 10, "nobody has moved");
    let stats = server.stats();
    assert_eq!(stat_number(&stats, "/process/descriptor_tables"), 3);
    assert_eq!(stat_number(&stats, "/process/descriptors_allowed"), 3 * LIMIT as i64);
    assert!(stat_number(&stats, "/shards/1/descriptors_used") > 10);
    let metrics = server.get("/metrics");
    let told = format!("switchboard_table_max_fds {LIMIT}\n");
    assert!(metrics.text().contains(&told), "{}", metrics.text());
}

#[test]
fn a_shard_whose_table_is_full_refuses_newcomers_politely() {
    if !crate::support::private_tables_supported() {
        return;
    }
    let each = 30;
    let limit = private_table_overhead(2, 1) + each;
    let prepare = format!("ulimit -n {limit}");
    let server = Server::start_in_shell(&prepare, &["--fd-tables", PRIVATE, "--shards", "2"]);
    // More than all tables are meant to hold: whichever the kernel chooses, one becomes full.
    let mut inside = Vec::new();
    let mut refused = 0;
    for _ in 0..2 * each + 20 {
        let mut raw = server.raw_connection();
        raw.send(&upgrade_request());
        match raw.peek_status() {
            101 => {
                raw.expect_upgrade();
                inside.push(raw);
            }
            503 => refused += 1,
            status => panic!("{status}"),
        }
    }
    let stats = server.stats();
    let sessions =
        [stat_number(&stats, "/shards/0/sessions"), stat_number(&stats, "/shards/1/sessions")];
    assert!(sessions.contains(&(each as i64)), "{sessions:?}");
    assert!(sessions.iter().all(|count| *count <= each as i64), "{sessions:?}");
    assert_eq!(sessions.iter().sum::<i64>(), inside.len() as i64);
    assert_eq!(stat_number(&stats, "/http/rejected/connection_limit"), refused);
    assert_eq!(stat_number(&stats, "/connections/accept_errors"), 0);
    // Those inside meet all the same, whichever of them has to move.
    let even = inside.len() / 2 * 2;
    inside.truncate(even);
    inside.iter_mut().for_each(|user| user.find_match("full"));
    server.wait_for_stat("/rooms/active", even as i64 / 2);
    drop(inside);
    server.wait_until_idle();
}

/// Sets the server's soft limit of open files, its hard limit staying as it is.
fn limit_descriptors(server: &Server, soft: &str) {
    let status = Command::new("prlimit")
        .args(["--pid", &server.pid().to_string(), &format!("--nofile={soft}:")])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn who_finds_no_descriptor_at_home_stays_and_meets_when_there_is_one() {
    if !crate::support::private_tables_supported() {
        return;
    }
    let flags = ["--fd-tables", PRIVATE, "--shards", "2", "--rematch-delay", "0s"];
    let server = Server::start(&flags);
    let mut asks = server.raw_connection();
    // On a connection that is there already: no other can be accepted in the end.
    let mut figure = |pointer: &str| {
        let stats = asks.request("GET /stats HTTP/1.1\r\nHost: t\r\n\r\n").json();
        stat_number(&stats, pointer)
    };
    assert_eq!(figure("/migrations/rejected"), 0);
    let mut one = server.connect_on_shard(0, || server.raw_session());
    let mut other = server.connect_on_shard(1, || server.raw_session());
    crate::support::wait_until("whoever came to the wrong shard has gone", || {
        match figure("/connections/active") {
            3 => Ok(()),
            active => Err(format!("{active} connections")),
        }
    });
    let before = tables_of(&server);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft = line.split_whitespace().nth(3).unwrap().to_owned();
    // No table has any descriptor below this that is free.
    limit_descriptors(&server, "3");
    let began = Instant::now();
    one.find_match("en");
    other.find_match("en");
    one.expect_message("waiting");
    other.expect_message("waiting");
    crate::support::wait_until("a move has been refused again", || {
        match figure("/migrations/rejected") {
            0 | 1 => Err("none, or only one".to_owned()),
            many => Ok(many),
        }
    });
    // Refusals do not chase each other: two who were refused are tried again at the next tick.
    let tick_ms = SWEEP_PERIOD_MS as i64 / SWEEP_PARTS as i64;
    let most = 2 + began.elapsed().as_millis() as i64 / tick_ms;
    let many = figure("/migrations/rejected");
    assert!(many <= most, "{many} refusals where {most} are possible");
    // Both are still there, and one thinks better of it and asks again.
    one.send(&text_frame(br#"{"type":"cancel_match"}"#));
    one.expect_message("match_cancelled");
    one.find_match("en");
    one.expect_message("waiting");
    limit_descriptors(&server, &soft);
    let room = one.expect_match();
    other.expect_match();
    expect_room_relays(&mut one, &mut other, &room);
    // One has changed tables and left nothing behind.
    crate::support::wait_until("as many descriptors as before", || {
        let sum = |tables: BTreeMap<String, usize>| tables.values().sum::<usize>();
        let (now, then) = (sum(tables_of(&server)), sum(before.clone()));
        if now == then { Ok(()) } else { Err(format!("{now}, before {then}")) }
    });
    drop((one, other, asks));
    server.wait_until_idle();
}

#[test]
fn a_shutdown_while_sessions_move_ends_gracefully() {
    if !crate::support::private_tables_supported() {
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
        let (_heard, _end) = user.read_to_end();
    }
    server.wait_for_log_line("ended gracefully");
}

#[test]
fn a_port_that_is_taken_is_one_clear_line_here_too() {
    if !crate::support::private_tables_supported() {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let flags = ["--fd-tables", PRIVATE, "--shards", "3", "--listen", &address];
    let refusal = Server::run_to_exit(&flags);
    assert_eq!(refusal.status.code(), Some(1), "{}", refusal.stderr);
    let last = refusal.stderr.lines().last().unwrap();
    assert!(last.contains("another process holds that port"), "{}", refusal.stderr);
    assert_eq!(refusal.stderr.lines().count(), 1, "{}", refusal.stderr);
}

#[test]
fn no_table_keeps_another_shards_listener_or_connection() {
    if !crate::support::private_tables_supported() {
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
        // Main and the matcher have one table between them.
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
fn the_load_tester_drives_more_users_than_one_table_holds() {
    if !crate::support::private_tables_supported() {
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
    let said = String::from_utf8_lossy(&enough.stderr);
    assert!(enough.status.success(), "{said}");
    let told = std::fs::read(format!("{report}/report.json")).unwrap();
    let _removed = std::fs::remove_dir_all(&report);
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    // It finds the server's process, whose main thread has no listener, and its real limit.
    let found = switchboard::load::server_monitor::find_process(server.address());
    assert_eq!(found, Some(server.pid()));
    let limit = stat_number(&server.stats(), "/process/descriptors_allowed") as f64;
    let found = told.to_string();
    assert!(found.contains(&format!("\"server_descriptor_limit\":{limit:.1}")), "{found}");
    assert_eq!(server.stat("/sessions/opened"), 500);
    server.wait_until_idle();
}
