//! The log: it contains nothing that clients send, it repeats a cause at most once a minute, and a
//! reader that stops reading it delays nothing.

use crate::support::{
    Client, ProtocolClient, RawClient, Server, expect_room_relays, get, match_pair, run_shared,
    upgrade_request, wait_until,
};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, PipeWriter, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};

/// A server whose standard error is a full pipe that is not read.
struct ServerWithFullPipe {
    child: Child,
    address: SocketAddr,
    /// The reading end stays open: otherwise every write would fail at once.
    _reader: BufReader<std::io::PipeReader>,
}

impl ServerWithFullPipe {
    fn start(flags: &[&str]) -> ServerWithFullPipe {
        run_shared();
        let (reader, writer) = std::io::pipe().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .args(["--listen", "127.0.0.1:0", "--no-pin"])
            .args(flags)
            .stdin(Stdio::null())
            .stderr(writer.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut reader = BufReader::new(reader);
        let mut address = None;
        let mut line = String::new();
        while !line.contains("in two tabs") {
            line.clear();
            assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the server has ended");
            let named = line.split("listening on ").nth(1);
            address = address
                .or(named.map(|text| text.trim_end_matches(['"', '}', '\n']).parse().unwrap()));
        }
        fill(&writer);
        ServerWithFullPipe { child, address: address.unwrap(), _reader: reader }
    }

    fn run(&self, program: &str, args: &[&str]) {
        let pid = self.child.id().to_string();
        let args = args.iter().map(|arg| arg.replace("PID", &pid));
        assert!(Command::new(program).args(args).status().unwrap().success());
    }

    fn status(&mut self) -> std::process::ExitStatus {
        wait_until("the process ends", || {
            self.child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        })
    }
}

impl Drop for ServerWithFullPipe {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Fills the pipe. O_NONBLOCK is a property of the open file description, which the server shares,
/// so the pipe is opened again (proc_pid_fd(5)).
fn fill(pipe: &PipeWriter) {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let options = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut pipe = options.unwrap();
    for size in [4096, 1] {
        while pipe.write(&vec![b'.'; size]).is_ok() {}
    }
}

/// Waits for the next sample that the main thread takes. `age` gives the age of the last one in
/// milliseconds, which can be 0, so each age is compared with the one before.
fn wait_for_next_sample<A: PartialOrd + std::fmt::Display>(mut age: impl FnMut() -> A) {
    let mut before = age();
    wait_until("the main thread takes a sample", || {
        let last = std::mem::replace(&mut before, age());
        if before < last { Ok(()) } else { Err(format!("{before} ms ago")) }
    });
}

#[test]
fn an_unread_log_blocks_no_shard_and_no_shutdown() {
    let flags = ["--log-level", "trace", "--max-connections", "100", "--drain-timeout", "2s"];
    for format in ["text", "json"] {
        let flags = [&flags[..], &["--log-format", format, "--shards", "2"]].concat();
        let mut server = ServerWithFullPipe::start(&flags);
        let connect = || Client::connect(server.address);
        let (mut one, mut other, room) = match_pair(connect(), connect());
        // A shard logs that it cannot accept.
        let open = std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count();
        server.run("prlimit", &["--pid", "PID", &format!("--nofile={open}:20000")]);
        let clients: Vec<RawClient> = (0..20).map(|_| RawClient::connect(server.address)).collect();
        for _ in 0..20 {
            expect_room_relays(&mut one, &mut other, &room);
        }
        server.run("prlimit", &["--pid", "PID", "--nofile=20000:20000"]);
        drop(clients);
        // The main thread logs that connections are refused.
        let full: Vec<RawClient> = (0..200).map(|_| RawClient::connect(server.address)).collect();
        drop(full);
        let (mut third, mut fourth, second_room) = wait_until("new sessions are matched", || {
            let mut raws = [RawClient::connect(server.address), RawClient::connect(server.address)];
            for raw in &mut raws {
                raw.send(&upgrade_request());
                match raw.peek_status() {
                    101 => raw.expect_upgrade(),
                    status => return Err(format!("{status}")),
                }
            }
            let [one, other] = raws;
            Ok(match_pair(one, other))
        });
        // The main thread samples once a second: new samples show that it is not blocked.
        let sampled = || -> i64 {
            let stats = get(server.address, "/stats").json();
            stats["process"]["sample_age_ms"].as_i64().unwrap()
        };
        for _ in 0..2 {
            wait_for_next_sample(sampled);
        }
        expect_room_relays(&mut one, &mut other, &room);
        expect_room_relays(&mut third, &mut fourth, &second_room);
        server.run("kill", &["-TERM", "PID"]);
        one.expect_message("draining");
        assert!(server.status().success());
    }
}

#[test]
fn writes_priorities_to_the_journal_only() {
    use std::os::unix::fs::MetadataExt;
    let first_line = |is_journal: bool| {
        let (reader, writer) = std::io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let pipe = std::fs::metadata(path).unwrap();
        let inode = if is_journal { pipe.ino() } else { pipe.ino() + 1 };
        let mut child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .args(["--listen", "127.0.0.1:0", "--no-pin"])
            .env("JOURNAL_STREAM", format!("{}:{inode}", pipe.dev()))
            .stdin(Stdio::null())
            .stderr(writer)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        line
    };
    let (journal, other) = (first_line(true), first_line(false));
    assert!(journal.starts_with("<6>20") && journal.contains("listening on"), "{journal}");
    assert!(other.starts_with("20") && other.contains("listening on"), "{other}");
}

#[test]
fn logs_nothing_that_a_client_sends() {
    for format in ["text", "json"] {
        let flags = ["--log-level", "trace", "--log-format", format, "--echo"];
        let access = ["--allow-origin", "https://a.example", "--trusted-proxy", "127.0.0.1"];
        let mut server = Server::start(&[&flags[..], &access].concat());
        let evil = "evil\u{1b}[31m\u{9b}31m\r\nERROR evil";
        let upgrade = String::from_utf8(upgrade_request()).unwrap();
        for request in [
            evil.to_owned(),
            format!("GET /{evil} HTTP/1.1\r\nHost: t\r\n\r\n"),
            "GET /evil%0aERROR HTTP/1.1\r\nHost: evil\r\n\r\n".to_owned(),
            format!("GET /ws HTTP/1.1\r\nHost: t\r\nX-{evil}: t\r\n\r\n"),
            upgrade.replacen("\r\n", "\r\nOrigin: https://evil.example\r\n", 1),
            upgrade.replacen("\r\n", "\r\nX-Forwarded-For: evil, \u{1b}[2J\r\n", 1),
            format!("PROXY TCP4 {evil}"),
            format!("PROXY UNKNOWN evil\r\n{upgrade}"),
        ] {
            let mut raw = server.raw_connection();
            raw.send(request.as_bytes());
            raw.half_close_if_open();
            let _answer = raw.read_to_end();
        }
        let mut user = server.client();
        user.send_text(r#"{"type":"find_match","payload":{"queue":"evil"}}"#);
        user.expect_message("waiting");
        user.send_text(r#"{"type":"evil\u001b[31m"}"#);
        user.expect_error("unknown_type");
        user.send_text("evil\r\n");
        user.expect_error("bad_json");
        user.send_text(r#"{"type":"ping","payload":"evil"}"#);
        user.expect_message("pong");
        drop(user);
        server.send_signal("TERM");
        assert!(server.wait_for_exit().success());
        server.wait_for_log_line("ended gracefully");
        for line in server.log() {
            assert!(!line.contains("evil"), "{line}");
            assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
            if format == "json" {
                let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert!(parsed["message"].is_string(), "{line}");
            }
        }
    }
}

#[test]
fn logs_a_repeated_cause_once_a_minute() {
    let flags = ["--max-connections", "2", "--allow-origin", "https://a.example"];
    let mut server = Server::start(&flags);
    let (mut one, mut other, room) = server.matched_pair();
    let refused = |origin: &str, status: u16| {
        let mut raw = server.raw_connection();
        let upgrade = String::from_utf8(upgrade_request()).unwrap();
        raw.send(upgrade.replacen("\r\n", &format!("\r\nOrigin: {origin}\r\n"), 1).as_bytes());
        assert_eq!(raw.read_response().status, status);
    };
    let storm = |rounds: usize| {
        for _ in 0..rounds {
            refused("https://a.example", 503);
            refused("https://b.example", 403);
        }
    };
    storm(50);
    let lines = ["--max-connections is reached", "--allow-origin does not list their origin"];
    // More refusals after the line, and enough time for the main thread to log again.
    let counted = |line: &str| server.log().iter().filter(|one| one.contains(line)).count();
    wait_until("both causes are logged", || match lines.map(counted) {
        [1, 1] => Ok(()),
        other => Err(format!("{other:?}")),
    });
    storm(50);
    for _ in 0..3 {
        let age = || server.stat("/process/sample_age_ms");
        wait_for_next_sample(age);
        storm(5);
    }
    assert_eq!(lines.map(counted), [1, 1], "{:#?}", server.log());
    expect_room_relays(&mut one, &mut other, &room);
    for line in lines {
        let logged = server.wait_for_log_line(line);
        let times: u64 = logged.split("times=").nth(1).unwrap().trim().parse().unwrap();
        assert!((1..=50).contains(&times), "{logged}");
    }
}
