//! Environment variables: they stand in for flags, an empty one is the default, errors name them,
//! and one that has no effect is found.

use crate::flags::MACHINE;
use crate::support::{TemporaryFile, temporary_file, test_process};
use std::process::{Command, Output};
use switchboard::config::{Arguments, UnknownVariable, unknown_variables};

/// Runs the test below alone in a child process, because the environment belongs to a process.
pub(crate) fn with_environment(variables: &[(&str, &str)]) -> String {
    let output = test_process(concat!(
        module_path!(),
        "::prints_the_configuration_when_started_by_another_test"
    ))
    .envs(variables.iter().copied())
    .output()
    .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "started as a child process by the tests of this file"]
fn prints_the_configuration_when_started_by_another_test() {
    match Arguments::read(["switchboard", "--shards=2"]) {
        Ok(arguments) => {
            println!("{arguments:?}");
            match arguments.validate(&MACHINE) {
                Ok(config) => println!("{config:?}"),
                Err(error) => println!("refused: {}", arguments.explain(&error)),
            }
        }
        Err(stop) => println!("{stop:?}"),
    }
}

#[test]
fn environment_variables_stand_in_for_flags() {
    let text = with_environment(&[
        ("SWITCHBOARD_SHARDS", "9"),
        ("SWITCHBOARD_LISTEN", "127.0.0.1:7, 127.0.0.1:8"),
        ("SWITCHBOARD_NO_PIN", "yes"),
        ("SWITCHBOARD_CLOSE_TIMEOUT", "7s"),
        ("SWITCHBOARD_MAX_MESSAGE_BYTES", "128k"),
    ]);
    assert!(text.contains("shards: 2"), "the flag wins: {text}");
    assert!(text.contains("listen: [127.0.0.1:7, 127.0.0.1:8]"), "{text}");
    assert!(text.contains("pin: false") && text.contains("close_timeout: 7s"), "{text}");
    assert!(text.contains("max_message_bytes: 131072"), "{text}");
    assert!(with_environment(&[("SWITCHBOARD_NO_PIN", "0")]).contains("pin: true"));
}

#[test]
fn an_empty_variable_is_the_default() {
    let command = <Arguments as clap::CommandFactory>::command();
    let names: Vec<String> = command
        .get_arguments()
        .map(|arg| arg.get_env().unwrap().to_str().unwrap().to_owned())
        .collect();
    let without = with_environment(&[]);
    assert!(without.contains("max_message_bytes: 65536"), "{without}");
    for empty in ["", " "] {
        let variables: Vec<(&str, &str)> = names.iter().map(|name| (&**name, empty)).collect();
        let shown =
            |text: &str| text.lines().find(|line| line.contains("Config {")).map(str::to_owned);
        assert_eq!(shown(&with_environment(&variables)), shown(&without), "{empty:?}");
    }
}

#[test]
fn errors_name_the_variable_that_the_value_came_from() {
    let text = with_environment(&[("SWITCHBOARD_CLOSE_TIMEOUT", "soon")]);
    let line = "SWITCHBOARD_CLOSE_TIMEOUT: invalid value 'soon' for '--close-timeout <DURATION>'";
    assert!(text.contains("UsageError(") && text.contains(line), "{text}");
    let text = with_environment(&[("SWITCHBOARD_CLOSE_TIMEOUT", "25h")]);
    assert!(text.contains("refused: SWITCHBOARD_CLOSE_TIMEOUT: --close-timeout"), "{text}");
    let text = with_environment(&[("SWITCHBOARD_MAX_CONNECTIONS_PER_ADDRESS", "4000000")]);
    let line = "refused: SWITCHBOARD_MAX_CONNECTIONS_PER_ADDRESS: --max-connections-per-address";
    assert!(text.contains(line), "{text}");
    // `--shards=2` is on the command line.
    let text = with_environment(&[("SWITCHBOARD_SHARDS", "many")]);
    assert!(text.contains("Config {"), "the flag has precedence: {text}");
    // The password stays out of the message.
    let text = with_environment(&[("SWITCHBOARD_ICE_SERVER", "turn:,user=u,password=hush")]);
    assert!(text.contains("SWITCHBOARD_ICE_SERVER: ") && !text.contains("hush"), "{text}");
}

#[test]
fn finds_variables_without_an_effect_and_the_names_that_were_meant() {
    let found = |variables: &[(&str, &str)]| {
        unknown_variables(variables.iter().map(|(name, value)| (name.into(), value.into())))
    };
    let unknown = |name: &str, nearest: Option<&str>| UnknownVariable {
        name: name.to_owned(),
        nearest: nearest.map(str::to_owned),
    };
    assert_eq!(
        found(&[
            ("PATH", "/bin"),
            ("SWITCHBOARD_TURN_URLS", "turn:a"),
            ("SWITCHBOARD_MAX_CONNECTION", "9"),
            ("SWITCHBOARD_LISTEN", "127.0.0.1:1"),
            ("SWITCHBOARD_PORT", "9000"),
        ]),
        [
            unknown("SWITCHBOARD_MAX_CONNECTION", Some("SWITCHBOARD_MAX_CONNECTIONS")),
            unknown("SWITCHBOARD_PORT", None),
            unknown("SWITCHBOARD_TURN_URLS", Some("SWITCHBOARD_TURN_URL")),
        ]
    );
    // Of this repository's scripts, and of Kubernetes for a service called `switchboard`.
    for (name, value) in [
        ("SWITCHBOARD_BIN", "/bin/switchboard"),
        ("SWITCHBOARD_LOAD_BIN", "/bin/switchboard-load"),
        ("SWITCHBOARD_SIM_SEED", "7"),
        ("SWITCHBOARD_SERVICE_HOST", "10.0.0.1"),
        ("SWITCHBOARD_PORT", "tcp://10.0.0.1:8080"),
        ("SWITCHBOARD_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ] {
        assert_eq!(found(&[(name, value)]), [], "{name}");
    }
}

/// Runs the program with these flags and variables until it ends.
fn run(flags: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SWITCHBOARD_") {
            command.env_remove(name);
        }
    }
    command.args(flags).envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn check_config_says_ok_or_what_is_wrong_and_starts_nothing() {
    let secret: TemporaryFile = temporary_file("check-config-secret", b"a secret");
    let empty = temporary_file("check-config-empty", b"\n");
    let texts = |output: &Output| {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    // The port is taken, which does not matter: it is not opened.
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = holder.local_addr().unwrap().to_string();
    let turn = ["--check-config", "--turn-url=turn:a.example", "--listen", &listen];
    let with_secret = |path: &str| {
        let file = format!("--turn-secret-file={path}");
        texts(&run(&[&turn[..], &[&file]].concat(), &[("SWITCHBOARD_SHARD", "2")]))
    };
    let (status, stdout, stderr) = with_secret(secret.path());
    assert_eq!((status, &*stdout), (Some(0), "ok\n"), "{stderr}");
    assert!(
        stderr.contains("SWITCHBOARD_SHARD") && stderr.contains("SWITCHBOARD_SHARDS"),
        "{stderr}"
    );
    for (path, reason) in [(empty.path(), "is empty"), ("/nonexistent", "cannot read it")] {
        let (status, stdout, stderr) = with_secret(path);
        assert_eq!((status, &*stdout), (Some(2), ""), "{stderr}");
        assert!(stderr.contains(path) && stderr.contains(reason), "{stderr}");
    }
    let from_environment = [("SWITCHBOARD_TURN_SECRET_FILE", "/nonexistent")];
    let (status, _, stderr) = texts(&run(&turn, &from_environment));
    assert_eq!(status, Some(2), "{stderr}");
    assert!(stderr.contains("SWITCHBOARD_TURN_SECRET_FILE: --turn-secret-file /nonex"), "{stderr}");
    let (status, stdout, stderr) = texts(&run(&turn, &[]));
    assert_eq!((status, &*stdout), (Some(2), ""), "{stderr}");
    assert!(stderr.contains("--turn-url and --turn-secret-file require each other"), "{stderr}");
    let (status, stdout, _) = texts(&run(&[], &[("SWITCHBOARD_CHECK_CONFIG", "yes")]));
    assert_eq!((status, &*stdout), (Some(0), "ok\n"));
}

#[test]
fn warns_of_log_addresses_without_the_lines_that_would_have_them() {
    let warns = |flags: &[&str]| {
        let output = run(&[&["--check-config"], flags].concat(), &[]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let log = String::from_utf8(output.stderr).unwrap();
        log.lines().any(|line| line.contains("WARN") && line.contains("--log-addresses has no"))
    };
    assert!(warns(&["--log-addresses"]));
    assert!(warns(&["--log-addresses", "--log-level=info"]));
    assert!(warns(&["--log-addresses", "--log-level=warn"]));
    assert!(!warns(&["--log-addresses", "--log-level=debug"]));
    assert!(!warns(&["--log-addresses", "--log-level=trace"]));
    assert!(!warns(&[]));
}
