//! The scripts that start a server and run the load tester against it, with short durations.

use crate::support::load::report_directory;
use crate::support::{read_report, report_file};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The script `name`, with the programs that this test was built with.
fn script(name: &str) -> Command {
    // The parent may ignore SIGHUP, and a shell inherits that, so its default is restored.
    let mut command = Command::new("env");
    command
        .arg("--default-signal=HUP")
        .arg(format!("{}/scripts/{name}", env!("CARGO_MANIFEST_DIR")))
        .env("SWITCHBOARD_BIN", env!("CARGO_BIN_EXE_switchboard"))
        .env("SWITCHBOARD_LOAD_BIN", env!("CARGO_BIN_EXE_switchboard-load"))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Whether anything listens at the addresses of this server log.
fn is_listening(log: &Path) -> bool {
    let log = std::fs::read_to_string(log).unwrap();
    let address = |line: &str| -> Option<SocketAddr> {
        line.split_once("listening on ")?.1.trim().parse().ok()
    };
    let mut addresses = log.lines().filter_map(address).peekable();
    assert!(addresses.peek().is_some(), "{log}");
    addresses.any(|address| TcpStream::connect(address).is_ok())
}

#[test]
fn endurance_resumes_after_an_interruption_and_stops_its_server() {
    let directory = report_directory("endurance-script");
    let flags = "--rooms 3 --talk-min 500ms --talk-max 1s --connect-rate 100 --warm-up 0s --interval \
                 200ms --targets none --late-percent 100 --quiet";
    let run = || {
        let mut command = script("endurance.sh");
        command.arg("10s").env("REPORT", &directory).env("CAPACITY", "100");
        command.env("LOAD_FLAGS", flags).env("SERVER_FLAGS", "--no-pin --shards 1");
        command.spawn().unwrap()
    };
    let rows = || {
        let log = std::fs::read_to_string(directory.join("intervals.jsonl"));
        log.unwrap_or_default().lines().count()
    };
    let log = directory.join("server.log");
    let mut before = 0;
    // A background shell ignores SIGINT, so the test sends other signals. A closing terminal sends
    // SIGHUP more than once.
    for signals in [&["-TERM"][..], &["-HUP", "-HUP"]] {
        let mut run = run();
        while rows() < before + 8 {
            assert_eq!(run.try_wait().unwrap(), None, "the script ended early");
            // The script's programs may have to run on this CPU.
            std::thread::sleep(Duration::from_millis(10));
        }
        let pid = run.id().to_string();
        for signal in signals {
            assert!(Command::new("kill").args([*signal, pid.as_str()]).status().unwrap().success());
        }
        assert_eq!(run.wait().unwrap().code(), Some(130), "{signals:?}");
        assert_eq!(read_report(&directory)["outcome"], "stopped", "the partial run is reported");
        assert!(!is_listening(&log));
        let text = std::fs::read_to_string(&log).unwrap();
        let end = text.lines().rfind(|line| line.contains("shutting down")).unwrap();
        assert!(end.contains("sessions=0"), "the tester stops before the server: {end}");
        let seconds = read_report(&directory)["runs"][0]["seconds"].as_f64().unwrap();
        assert!(seconds < 9.5, "{seconds}");
        before = rows();
    }

    assert_eq!(run().wait().unwrap().code(), Some(0));
    let whole = read_report(&directory);
    assert!(rows() > before);
    assert!(whole["runs"][0]["seconds"].as_f64().unwrap() >= 10.0);
    assert_eq!(std::fs::read_to_string(&log).unwrap().matches("listening on").count(), 3);
    assert!(!is_listening(&log));
    assert!(!directory.join("resume.json").exists(), "no checkpoint remains");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn endurance_prints_its_usage_and_reports_a_server_that_does_not_start() {
    let help = script("endurance.sh").arg("--help").stdout(Stdio::piped()).output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    assert!(
        String::from_utf8(help.stdout).unwrap().contains("CAPACITY=30000 scripts/endurance.sh")
    );
    assert_eq!(script("endurance.sh").arg("--wrong").status().unwrap().code(), Some(1));
    let directory = report_directory("endurance-refused");
    std::fs::create_dir_all(&directory).unwrap();
    let mut command = script("endurance.sh");
    command.current_dir(&directory).env("REPORT", "here").env("SERVER_FLAGS", "--no-such-flag");
    let output = command.output().unwrap();
    assert!(directory.join("here/server.log").exists(), "relative to the working directory");
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("--no-such-flag") && text.contains("does not start"), "{text}");
}

#[test]
fn scripts_build_only_the_programs_that_are_not_named() {
    let directory = report_directory("named-programs");
    std::fs::create_dir_all(&directory).unwrap();
    let built = directory.join("built");
    let cargo = format!("#!/bin/sh\necho \"$@\" >>'{}'\n", built.display());
    std::fs::write(directory.join("cargo"), cargo).unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.join("cargo"), executable).unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    for (named, expected, builds) in [
        (&[][..], ["target", "target"], Some("--bin switchboard --bin switchboard-load")),
        (&["SWITCHBOARD_BIN"][..], ["mine", "target"], Some("--bin switchboard-load")),
        (&["SWITCHBOARD_LOAD_BIN"][..], ["target", "mine"], Some("--bin switchboard")),
        (&["SWITCHBOARD_BIN", "SWITCHBOARD_LOAD_BIN"][..], ["mine", "mine"], None),
    ] {
        let script = "set -euo pipefail; . scripts/load-server.sh; build_release; \
                      echo \"${SWITCHBOARD_BIN%%/*} ${SWITCHBOARD_LOAD_BIN%%/*}\"";
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(env!("CARGO_MANIFEST_DIR")).env("PATH", &path);
        for name in ["SWITCHBOARD_BIN", "SWITCHBOARD_LOAD_BIN", "CARGO_TARGET_DIR"] {
            command.env_remove(name);
        }
        let output = command.envs(named.iter().map(|name| (name, "mine"))).output().unwrap();
        assert!(output.status.success(), "{named:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.trim_end(), expected.join(" "), "{named:?}");
        let asked = std::fs::read_to_string(&built).ok();
        let wanted = builds.map(|bins| format!("build --release --locked {bins}\n"));
        assert_eq!(asked, wanted, "{named:?}");
        let _ = std::fs::remove_file(&built);
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Whether a process with this name and this folder in its command line runs.
fn is_running(name: &str, directory: &Path) -> bool {
    let mut processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.any(|process| {
        let words = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        words.contains(name) && words.contains(directory.to_str().unwrap())
    })
}

#[test]
fn max_connections_stops_its_programs_when_it_is_ended() {
    let directory = report_directory("max-connections");
    let tools = directory.join("tools");
    std::fs::create_dir_all(&tools).unwrap();
    // Stand-ins for tools that may not be installed. They report 0 sessions, so the script waits.
    for tool in ["curl", "jq"] {
        std::fs::write(tools.join(tool), "#!/bin/sh\ncat >/dev/null\necho 0\n").unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(tools.join(tool), executable).unwrap();
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_switchboard")).parent().unwrap();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let mut command = script("max-connections.sh");
    // Relative paths are relative to the working directory.
    command.arg("200").arg("--bin").arg(programs).arg("--out").arg("here");
    command.env("PATH", path).current_dir(&directory);
    let mut run = command.stderr(Stdio::null()).spawn().unwrap();
    while !is_running("switchboard-load", &directory) {
        assert_eq!(run.try_wait().unwrap(), None, "the script ended early");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = run.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(run.wait().unwrap().code(), Some(143));
    assert!(!is_running("switchboard-load", &directory), "the load tester still runs");
    assert!(!is_listening(&directory.join("here/server.log")));
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn max_connections_names_an_invalid_argument() {
    for (arguments, named) in [
        (["--ping-interval", ""], "--ping-interval"),
        (["--ping-interval", "25"], "not '25'"),
        (["--message-rate", "abc"], "not 'abc'"),
        (["--shards", "4000"], "1 to 1024"),
        (["--seconds", "0"], "--seconds"),
    ] {
        let output = script("max-connections.sh").arg("100").args(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(named) && text.lines().count() == 1, "{arguments:?}: {text}");
    }
}

#[test]
fn the_nightly_plan_writes_its_report_and_stops_its_server() {
    let directory = report_directory("nightly");
    let earlier = report_directory("nightly-earlier");
    let run = |compare: &str| {
        let mut command = script("load-nightly.sh");
        command
            .current_dir(directory.parent().unwrap())
            .env("LOAD_REPORT", directory.file_name().unwrap())
            .env("LOAD_STAGES", "10 for 2s")
            .env("LOAD_STRESS_CEILING", "1000")
            .env("LOAD_TIME_SCALE", "0.01")
            .env("LOAD_ENDURANCE", "2s")
            .env("LOAD_COMPARE", compare)
            .env("LOAD_FAIL_ON_REGRESSION", "10000%");
        command.stderr(Stdio::null()).status().unwrap().code().unwrap()
    };
    run("");
    let before = read_report(&directory)["started"].to_string();
    std::fs::rename(&directory, &earlier).unwrap();
    // The report of the night before, named twice, relative to the caller's folder.
    let file = report_file(Path::new(earlier.file_name().unwrap()));
    let file = file.to_str().unwrap();
    let status = run(&format!("{file}:{file}"));
    std::fs::remove_dir_all(&earlier).unwrap();
    // On a busy machine the run may be void, and the report has to say so.
    assert!([0, 4].contains(&status), "{status}: {:#}", read_report(&directory)["runs"]);
    let whole = read_report(&directory);
    assert_eq!(whole["exit_status"], status);
    let names: Vec<&str> =
        whole["runs"].as_array().unwrap().iter().map(|run| run["name"].as_str().unwrap()).collect();
    assert_eq!((names[0], names[names.len() - 1]), ("baseline: 10 users", "endurance"));
    let summary = std::fs::read_to_string(directory.join("summary.md")).unwrap();
    assert!(summary.starts_with("# Load test `plan`"), "{summary}");
    let before = before.trim_matches('"');
    assert!(summary.contains(&format!("## Compared with {before}, {before}\n")), "{summary}");
    assert!(!is_listening(&directory.join("server.log")));
    std::fs::remove_dir_all(&directory).unwrap();
}
