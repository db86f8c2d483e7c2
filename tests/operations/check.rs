//! `switchboard --check`: its output for this machine, and its exit status.

use crate::support::Server;
use std::fs::File;
use std::process::{Command, Stdio};

/// The status word and the needed amount of the line for a limit.
fn limit_line<'a>(text: &'a str, name: &str) -> (&'a str, u64) {
    let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some(name));
    let words: Vec<&str> =
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).split_whitespace().collect();
    (words[0], words[5].parse().unwrap())
}

#[test]
fn exits_with_0_for_ten_connections_and_with_1_for_the_maximum() {
    let few = Server::run_to_exit(&["--check", "10", "--shards", "1"]);
    assert_eq!(few.status.code(), Some(0), "{}{}", few.stdout, few.stderr);
    assert!(!few.stdout.lines().any(|line| line.starts_with("short")), "{}", few.stdout);
    assert_eq!(limit_line(&few.stdout, "cpus"), ("ok", 1));
    let many = Server::run_to_exit(&["--check", "67108864"]);
    assert_eq!(many.status.code(), Some(1), "{}{}", many.stdout, many.stderr);
    let (status, need) = limit_line(&many.stdout, "RLIMIT_NOFILE");
    assert_eq!(status, "short");
    assert!(need > 67_108_864);
    assert_eq!(many.stderr, "");
}

#[test]
fn the_check_agrees_with_the_limit_that_the_server_accepts() {
    let here = ["--listen", "127.0.0.1:0"];
    let admin = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut all = Vec::new();
    for flags in [&here[..], &admin] {
        // The most connections that this process's descriptors allow, as the server's error says.
        let refusal = Server::run_to_exit(&[flags, &["--max-connections", "67108864"]].concat());
        let (_, behind) = refusal.stderr.split_once("--max-connections ").unwrap();
        let possible: u32 = behind.split_whitespace().next().unwrap().parse().unwrap();
        for (connections, expected) in [(possible, "ok"), (possible + 1, "short")] {
            let text =
                Server::run_to_exit(&[flags, &["--check", &connections.to_string()]].concat());
            assert_eq!(limit_line(&text.stdout, "RLIMIT_NOFILE").0, expected, "{}", text.stdout);
        }
        all.push(possible);
    }
    assert!(all[0] > all[1], "{all:?}");
}

#[test]
fn the_configured_limit_is_compared_with_the_requested_connections() {
    let flags = ["--max-connections", "5", "--shards", "1"];
    for (connections, status, expected) in [("5", 0, "ok"), ("6", 1, "short")] {
        let checked = Server::run_to_exit(&[&flags[..], &["--check", connections]].concat());
        assert_eq!(
            limit_line(&checked.stdout, "max-connections").0,
            expected,
            "{}",
            checked.stdout
        );
        assert_eq!(checked.status.code(), Some(status), "{}", checked.stdout);
    }
}

#[test]
fn an_invalid_number_of_connections_is_a_usage_error() {
    for wrong in ["0", "-1", "many", "67108865"] {
        let refused = Server::run_to_exit(&["--check", wrong]);
        assert_eq!(refused.status.code(), Some(2), "{wrong}");
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    }
}

/// As in `switchboard --check 100 | head -1`.
#[test]
fn a_closed_standard_output_changes_no_exit_status() {
    for (flags, status) in [
        (&["--check", "10", "--shards", "1"][..], 0),
        (&["--check", "67108864"], 1),
        (&["--help"], 0),
        (&["--check-config", "--listen", "127.0.0.1:0"], 0),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_switchboard"));
        let output = command.args(flags).stdout(writer).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{flags:?}: {errors}");
        assert!(!errors.contains("panic"), "{flags:?}: {errors}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    for flags in [&["--check", "10", "--shards", "1"][..], &["--help"], &["--check-config"]] {
        let full_device = File::options().write(true).open("/dev/full").unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .args(flags)
            .stdout(Stdio::from(full_device))
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{flags:?}: {errors}");
        assert!(errors.contains("cannot write to standard output"), "{flags:?}: {errors}");
    }
}
