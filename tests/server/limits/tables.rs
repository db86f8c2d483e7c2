//! The limit on connections that a shard answers although its own descriptor table is full. Where
//! the kernel has no pidfd for a thread there is nothing to test.

use crate::support::{
    RawClient, Server, expect_room_relays, match_pair, private_tables_supported, upgrade_request,
    wait_until,
};
use switchboard::config::private_table_overhead;
use switchboard::limits::TABLE_SURPLUS_CONNECTIONS;

/// Descriptors in the table of the server's second shard.
fn descriptors(server: &Server) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let mut paths = tasks.map(|task| task.unwrap().path());
    let shard =
        paths.find(|task| std::fs::read_to_string(task.join("comm")).unwrap().trim() == "shard-1");
    std::fs::read_dir(shard.unwrap().join("fd")).unwrap().count()
}

#[test]
fn refuses_connections_above_the_surplus_of_a_table_without_reading_them() {
    if !private_tables_supported() {
        return;
    }
    const EACH: usize = 30;
    let limit = private_table_overhead(2, 1) + EACH as u64;
    let prepare = format!("ulimit -n {limit}");
    let server = Server::start_in_shell(&prepare, &["--fd-tables", "private", "--shards", "2"]);
    let pair = || server.connect_on_shard(0, || server.client());
    let (mut one, mut other, room) = match_pair(pair(), pair());
    let before = descriptors(&server);
    // Connections on the second shard stay open.
    let mut held: Vec<RawClient> = Vec::new();
    let refused = (0..2000).any(|_| {
        let mut raw = server.raw_connection();
        raw.send(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n");
        let status = raw.read_response().status;
        if status == 200 && descriptors(&server) > before + held.len() {
            held.push(raw);
        }
        status == 503
    });
    assert!(refused, "{} were admitted", held.len());
    assert_eq!(held.len(), EACH + TABLE_SURPLUS_CONNECTIONS);
    expect_room_relays(&mut one, &mut other, &room);
}

#[test]
fn a_full_descriptor_table_evicts_a_silent_session_of_its_shard() {
    if !private_tables_supported() {
        return;
    }
    const EACH: usize = 12;
    let limit = private_table_overhead(2, 1) + EACH as u64;
    let prepare = format!("ulimit -n {limit}");
    let flags = ["--fd-tables", "private", "--shards", "2", "--liveness-window", "400ms"];
    let server = Server::start_in_shell(&prepare, &flags);
    let opened = || server.stat("/shards/1/sessions_opened");
    let mut silent: Vec<RawClient> = Vec::new();
    wait_until("the full shard admits one more session", || {
        let before = opened();
        let mut newcomer = server.raw_connection();
        newcomer.send(&upgrade_request());
        let status = newcomer.peek_status();
        // Sessions of the other shard do not stay, so the process is not full.
        if opened() > before {
            silent.push(newcomer);
        }
        match silent.len() > EACH {
            true => Ok(()),
            false => Err(format!("{} sessions, {status}", silent.len())),
        }
    });
}
