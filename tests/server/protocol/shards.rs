//! The protocol across shards: sessions that migrate for a match, many users that connect, match
//! and disconnect at once, and gauges that return to zero.

use crate::support::{
    MatchFound, ProtocolClient, RawClient, Server, descriptor_table_modes, expect_room_relays,
    match_pair, run_alone, stat_map, stat_number, test_process, text_frame, wait_until,
};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Barrier;
use std::thread;

const FIND: &str = r#"{"type":"find_match"}"#;

#[test]
fn matches_users_of_two_shards_on_one_of_them() {
    let server = Server::start(&["--shards", "2"]);
    for nth in 1..=4 {
        let one = server.connect_on_shard(0, || server.raw_session());
        let other = server.connect_on_shard(1, || server.raw_session());
        let (mut one, mut other, room) = match_pair(one, other);
        expect_room_relays(&mut one, &mut other, &room);
        let stats = server.stats();
        assert_eq!(stat_number(&stats, "/migrations/out"), nth);
        assert_eq!(stat_number(&stats, "/migrations/in"), nth);
        drop((one, other));
        server.wait_for_stat("/rooms/active", 0);
    }
    server.wait_until_idle();
}

#[test]
fn matches_users_of_one_shard_without_migration() {
    let server = Server::start(&["--shards", "2"]);
    let one = server.connect_on_shard(1, || server.raw_session());
    let other = server.connect_on_shard(1, || server.raw_session());
    let (mut one, mut other, room) = match_pair(one, other);
    expect_room_relays(&mut one, &mut other, &room);
    assert_eq!(server.stat("/migrations/out"), 0);
    assert_eq!(server.stat("/shards/1/rooms"), 1);
}

#[test]
fn a_migration_keeps_a_partially_received_frame() {
    for tables in descriptor_table_modes() {
        let flags = ["--shards", "2", "--rematch-delay", "0s", "--fd-tables", tables];
        migrate_with_partial_frames(&Server::start(&flags));
    }
}

fn migrate_with_partial_frames(server: &Server) {
    let ping = text_frame(br#"{"type":"ping","payload":"sent in two halves, on two shards"}"#);
    for cut in [1, 2, 5, 6, 10, ping.len() - 1] {
        // One of the two migrates; both have sent a part of a frame.
        let mut one = server.connect_on_shard(0, || server.raw_session());
        let mut other = server.connect_on_shard(1, || server.raw_session());
        for user in [&mut one, &mut other] {
            user.send(&text_frame(FIND.as_bytes()));
            user.expect_message("waiting");
            user.send(&ping[..cut]);
        }
        one.expect_match();
        other.expect_match();
        for user in [&mut one, &mut other] {
            user.send(&ping[cut..]);
            assert_eq!(user.expect_message("pong"), "sent in two halves, on two shards");
        }
        drop((one, other));
        server.wait_for_stat("/rooms/active", 0);
    }
    assert!(server.stat("/migrations/out") >= 6);
    server.wait_until_idle();
}

#[test]
fn a_migration_keeps_unsent_messages() {
    let flags = ["--shards", "2", "--socket-send-buffer", "8192"];
    let server = Server::start(&flags);
    let connect_unread = |shard: usize| {
        let mut raw = server.connect_on_shard(shard, || {
            RawClient::open_session_with_small_buffer(server.address())
        });
        let mut pings = 0;
        // Far more than the socket buffers may still take later.
        while server.stat(&format!("/shards/{shard}/unsent_bytes")) < 50_000 {
            for _ in 0..50 {
                let payload = format!("[{pings},\"{}\"]", "p".repeat(200));
                raw.send_text(&format!(r#"{{"type":"ping","payload":{payload}}}"#));
                pings += 1;
            }
        }
        (raw, pings)
    };
    let mut both = [connect_unread(0), connect_unread(1)];
    for (user, _) in &mut both {
        user.find_match("en");
    }
    server.wait_for_stat("/migrations/in", 1);
    assert!(server.stat("/bytes/unsent") > 50_000, "they migrate with their session");
    let rooms = both.map(|(mut user, pings)| {
        for nth in 0..pings {
            assert_eq!(user.expect_message("pong")[0], nth);
        }
        user.expect_message("waiting");
        let room = user.expect_match();
        (user, room)
    });
    let [(mut one, room), (mut other, _)] = rooms;
    expect_room_relays(&mut one, &mut other, &room);
    drop((one, other));
    server.wait_until_idle();
}

#[test]
fn a_migration_loses_nothing_of_a_client_that_sends_without_pause() {
    let server = Server::start(&["--shards", "2"]);
    let one = server.connect_on_shard(0, || server.raw_session());
    let other = server.connect_on_shard(1, || server.raw_session());
    // More than one iteration reads, so that the migration falls between two reads.
    let count = 6000;
    let mut users = [one, other];
    thread::scope(|scope| {
        for user in &mut users {
            let mut sending = user.stream().try_clone().unwrap();
            let mut bytes = text_frame(FIND.as_bytes());
            for nth in 0..count {
                let text = format!(r#"{{"type":"ping","payload":[{nth},"{nth:0>150}"]}}"#);
                bytes.extend(text_frame(text.as_bytes()));
            }
            scope.spawn(move || sending.write_all(&bytes).unwrap());
            scope.spawn(move || {
                user.expect_message("waiting");
                let (mut pongs, mut matches) = (0, 0);
                while (pongs, matches) != (count, 1) {
                    let text = user.receive_text();
                    if text.contains("match_found") {
                        matches += 1;
                    } else {
                        let start = format!(r#"{{"type":"pong","payload":[{pongs},"#);
                        assert!(text.starts_with(&start), "{text}");
                        pongs += 1;
                    }
                }
            });
        }
    });
    drop(users);
    assert_eq!(server.stat("/migrations/in"), 1);
    server.wait_until_idle();
}

#[test]
fn answers_every_message_once_while_sessions_migrate() {
    let shared = ["1", "2", "4"].map(|shards| (shards, "shared"));
    let private = descriptor_table_modes().iter().map(|tables| ("3", *tables));
    for (shards, tables) in shared.into_iter().chain(private) {
        let flags = ["--shards", shards, "--fd-tables", tables, "--rematch-delay", "0s"];
        let server = Server::start(&flags);
        let mut users: Vec<RawClient> = (0..24).map(|_| server.raw_session()).collect();
        for round in 0..6 {
            // Every user asks for the next partner and pipelines pings behind the request: each
            // ping is answered once, whichever shard the session is on by then.
            let mut bytes = text_frame(FIND.as_bytes());
            for nth in 0..10 {
                let text = format!(r#"{{"type":"ping","payload":{}}}"#, round * 10 + nth);
                bytes.extend(text_frame(text.as_bytes()));
            }
            for user in &mut users {
                user.send(&bytes);
            }
            let mut rooms: HashMap<String, Vec<MatchFound>> = HashMap::new();
            for user in &mut users {
                let room = receive_match_and_pongs(user, round * 10..round * 10 + 10);
                rooms.entry(room.room_id.clone()).or_default().push(room);
            }
            let twos = rooms.values().filter(|members| members.len() == 2).count();
            assert_eq!((rooms.len(), twos), (12, 12), "{rooms:?}");
        }
        drop(users);
        server.wait_until_idle();
    }
}

/// Receives a `match_found` and these pongs, the pongs in order. The `peer_left` of the previous
/// room may come before.
fn receive_match_and_pongs(user: &mut RawClient, pongs: std::ops::Range<i32>) -> MatchFound {
    let mut pongs = pongs;
    let mut found = None;
    while found.is_none() || !pongs.is_empty() {
        let text = user.receive_text();
        let message: serde_json::Value = serde_json::from_str(&text).unwrap();
        match message["type"].as_str().unwrap() {
            "pong" => assert_eq!(message["payload"], pongs.next().unwrap()),
            "waiting" | "peer_left" => {}
            "match_found" => {
                let text = |name: &str| message["payload"][name].as_str().unwrap().to_owned();
                found = Some(MatchFound {
                    room_id: text("room_id"),
                    peer_id: text("peer_id"),
                    initiator: message["payload"]["initiator"].as_bool().unwrap(),
                });
            }
            other => panic!("{other}"),
        }
    }
    found.unwrap()
}

/// Rooms that the users of one test form.
const ROOMS: usize = 500;

#[test]
fn matches_a_thousand_simultaneous_users_into_consistent_rooms() {
    run_alone();
    switchboard::sys::descriptors::raise_limit().unwrap();
    let server = Server::start(&["--shards", "2"]);
    let mut users: Vec<RawClient> = (0..2 * ROOMS).map(|_| server.raw_session()).collect();
    let threads = 4;
    let barrier = Barrier::new(threads);
    let find = text_frame(FIND.as_bytes());
    let mut matches: HashMap<String, Vec<(String, MatchFound)>> = HashMap::new();
    thread::scope(|scope| {
        let groups: Vec<_> = users
            .chunks_mut(2 * ROOMS / threads)
            .map(|group| {
                let (barrier, find) = (&barrier, &find);
                scope.spawn(move || {
                    barrier.wait();
                    group.iter_mut().for_each(|user| user.send(find));
                    let found = group.iter_mut().map(|user| {
                        assert_eq!(user.expect_message("waiting")["queue"], "default");
                        (user.id().to_owned(), user.expect_match())
                    });
                    found.collect::<Vec<_>>()
                })
            })
            .collect();
        for (id, room) in groups.into_iter().flat_map(|group| group.join().unwrap()) {
            matches.entry(room.room_id.clone()).or_default().push((id, room));
        }
    });
    assert_eq!(matches.len(), ROOMS);
    for members in matches.values() {
        let [(one, ones), (other, others)] = &members[..] else { panic!("{members:?}") };
        assert_eq!((&ones.peer_id, &others.peer_id), (other, one));
        assert_ne!(ones.initiator, others.initiator, "{members:?}");
    }
    let stats = server.stats();
    for (pointer, expected) in [
        ("/rooms/active", ROOMS as i64),
        ("/matchmaking/matches", ROOMS as i64),
        ("/matchmaking/waiting", 0),
        ("/matchmaking/tickets", 0),
        ("/migrations/in_flight", 0),
        ("/latency_ms/match_wait/count", 2 * ROOMS as i64),
    ] {
        assert_eq!(stat_number(&stats, pointer), expected, "{pointer}");
    }
    // Matching balances the rooms over the shards.
    for shard in ["/shards/0/rooms", "/shards/1/rooms"] {
        assert!(
            stat_number(&stats, shard) > ROOMS as i64 / 5,
            "{shard}: {}",
            stat_number(&stats, shard)
        );
    }
    // In every room one message is relayed each way, and then one member resets its connection.
    let mut by_id: HashMap<String, RawClient> =
        users.into_iter().map(|user| (user.id().to_owned(), user)).collect();
    for members in matches.values() {
        let [(one, room), (other, _)] = &members[..] else { unreachable!() };
        let (mut one, mut other) = (by_id.remove(one).unwrap(), by_id.remove(other).unwrap());
        expect_room_relays(&mut one, &mut other, room);
        // In the other rooms both connections are closed.
        if room.initiator {
            one.reset();
            other.expect_peer_left(room, "disconnected");
        }
    }
    server.wait_until_idle();
}

/// The environment variable that makes the test below a client process.
const ADDRESS: &str = "SWITCHBOARD_TEST_CLIENTS";

/// Not a test: the process that [`releases_everything_of_killed_client_processes`] starts and kills.
#[test]
#[ignore = "a client process; releases_everything_of_killed_client_processes starts it"]
fn client_process() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let address: SocketAddr = address.parse().unwrap();
    let mut clients: Vec<RawClient> = (0..100).map(|_| RawClient::open_session(address)).collect();
    for (nth, user) in clients.iter_mut().enumerate() {
        match nth % 5 {
            // In rooms, waiting alone, within a message, idle.
            0 | 1 => user.find_match("rooms"),
            2 => user.find_match(&format!("alone-{}", user.id().to_owned())),
            3 => user.send(&text_frame(FIND.as_bytes())[..9]),
            _ => {}
        }
    }
    let mut half: Vec<RawClient> = (0..10).map(|_| RawClient::connect(address)).collect();
    half.iter_mut().for_each(|raw| raw.send(b"GET /he"));
    // Nothing is read, so many sockets have unread bytes when the process is killed, and send a
    // reset. The process also ends with its standard input, that is, with the test.
    let _ended = std::io::stdin().read(&mut [0]);
}

#[test]
fn releases_everything_of_killed_client_processes() {
    run_alone();
    let server = Server::start(&["--shards", "2"]);
    for _ in 0..2 {
        let mut processes: Vec<_> = (0..3)
            .map(|_| {
                test_process(concat!(module_path!(), "::client_process"))
                    .env(ADDRESS, server.address().to_string())
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        server.wait_for_stat("/sessions/active", 300);
        server.wait_for_stat("/rooms/active", 60);
        server.wait_for_stat("/matchmaking/waiting", 60);
        server.wait_for_stat("/connections/active", 331);
        for process in &mut processes {
            // SIGKILL.
            process.kill().unwrap();
        }
        for mut process in processes {
            process.wait().unwrap();
        }
        server.wait_until_idle();
    }
    let stats = server.stats();
    let closed = stat_map(&stats, "/connections/closed");
    let gone = closed.iter().find(|(name, _)| name == "client_gone").unwrap().1;
    assert_eq!(gone, 600, "{closed:?}");
}

#[test]
fn gauges_return_to_zero_after_many_resets_and_half_closes() {
    run_alone();
    for tables in descriptor_table_modes() {
        resets_and_half_closes(&Server::start(&["--shards", "4", "--fd-tables", tables]));
    }
}

fn resets_and_half_closes(server: &Server) {
    for round in 0..3 {
        let mut users: Vec<RawClient> = (0..60).map(|_| server.raw_session()).collect();
        for user in &mut users {
            user.find_match("en");
        }
        // The other rounds do not wait for the matches, so that ends and migrations cross.
        if round == 0 {
            server.wait_for_stat("/rooms/active", 30);
        }
        for (nth, user) in users.into_iter().enumerate() {
            match nth % 3 {
                0 => user.reset(),
                1 => drop(user),
                _ => user.half_close(),
            }
        }
        server.wait_until_idle();
    }
    let stats = server.stats();
    assert_eq!(stat_number(&stats, "/sessions/opened"), 180);
    assert_eq!(stat_number(&stats, "/connections/closed/internal"), 0);
}

#[test]
fn a_client_lost_during_its_migration_does_not_strand_its_partner() {
    let server = Server::start(&["--shards", "4", "--rematch-delay", "0s"]);
    let mut kept: Vec<RawClient> = Vec::new();
    for _ in 0..40 {
        let mut gone = server.raw_session();
        let mut stays = server.raw_session();
        stays.find_match("en");
        gone.find_match("en");
        // At any time between its find_match and its room.
        gone.reset();
        stays.expect_message("waiting");
        kept.push(stays);
    }
    // Each remaining session is in a room, or idle because its partner was lost, or waits with a
    // ticket at the matcher.
    wait_until("no more matches are possible", || {
        let stats = server.stats();
        let waiting = stat_number(&stats, "/matchmaking/waiting");
        let tickets = stat_number(&stats, "/matchmaking/tickets");
        let alive = stat_number(&stats, "/sessions/active");
        if (alive, waiting) == (40, tickets) && waiting <= 1 {
            Ok(())
        } else {
            Err(format!("{alive} sessions, {waiting} waiting, {tickets} tickets"))
        }
    });
    // No session is stuck: all can be matched again.
    kept.iter_mut().for_each(|user| user.find_match("elsewhere"));
    server.wait_for_stat("/rooms/active", 20);
    drop(kept);
    server.wait_until_idle();
}
