//! The flags: defaults, contradictions, and agreement of help, table and environment variables.

use clap::CommandFactory;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;
use switchboard::access::AccessPolicy;
use switchboard::config::{
    Arguments, Config, ConfigError, ConnectionSteering, DescriptorTables, EarlyExit, Limits,
    LogFormat, MachineCapabilities, SessionLog, TurnConfig, flags_table, private_table_overhead,
    shared_table_overhead,
};
use switchboard::ice::{CredentialLifetimes, IceUrl};
use switchboard::limits;
use switchboard::sys::descriptor_tables::PrivateTableSupport;
use switchboard::wire::proxy::Networks;
use tracing::level_filters::LevelFilter;

pub(crate) const MACHINE: MachineCapabilities = MachineCapabilities {
    descriptors_allowed: 20_000,
    descriptors_ceiling: Some(1_048_576),
    default_shards: 4,
    cpus: 4,
    ipv6: true,
    private_table_support: PrivateTableSupport::Supported,
};

fn arguments(words: &[&str]) -> Arguments {
    match Arguments::read(["switchboard"].iter().chain(words)) {
        Ok(arguments) => arguments,
        Err(stop) => panic!("{words:?}: {stop:?}"),
    }
}

fn config(words: &[&str]) -> Result<Config, ConfigError> {
    arguments(words).validate(&MACHINE)
}

fn refused(words: &[&str]) -> ConfigError {
    let error = config(words).expect_err("the arguments contradict each other");
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() > 20, "{line}");
    error
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn without_arguments_every_default_is_the_documented_one() {
    let config = config(&[]).unwrap();
    assert_eq!(config.listen, [address("0.0.0.0:8080"), address("[::]:8080")]);
    assert_eq!(config.shards, 4);
    assert!(config.pin);
    let possible = 20_000 - shared_table_overhead(4, 2);
    let max_connections = u32::try_from(possible).unwrap();
    assert_eq!(config.limits, Limits { max_connections, ..Limits::default() });
    assert_eq!(config.socket_send_buffer_bytes, Some(65_536));
    assert_eq!(config.stats_queues, Vec::<String>::new());
    assert_eq!(config.log_format, LogFormat::Text);
    assert_eq!(config.log_level, LevelFilter::INFO);
    assert_eq!(config.session_log, SessionLog::Off);
    let without_ipv6 = MachineCapabilities { ipv6: false, ..MACHINE };
    assert_eq!(arguments(&[]).validate(&without_ipv6).unwrap().listen, [address("0.0.0.0:8080")]);
}

/// Several containers of a machine would all pin their shards to its first CPUs.
#[test]
fn shards_are_not_pinned_under_a_cpu_quota() {
    let quota = MachineCapabilities { cpus: 64, default_shards: 2, ..MACHINE };
    let under_quota = arguments(&[]).validate(&quota).unwrap();
    assert_eq!((under_quota.shards, under_quota.pin), (2, false));
    let more_shards = arguments(&["--shards", "3"]).validate(&quota).unwrap();
    assert_eq!((more_shards.shards, more_shards.pin), (3, false));
    let steered = arguments(&["--steer", "cpu"]).validate(&quota).unwrap_err();
    assert!(steered.to_string().contains("CPU quota"), "{steered}");
    let all = MachineCapabilities { cpus: 64, default_shards: 64, ..MACHINE };
    assert!(arguments(&["--shards", "2"]).validate(&all).unwrap().pin);
}

#[test]
fn every_flag_reaches_its_field() {
    let words = "--listen 127.0.0.1:1,[::1]:2 --listen 127.0.0.1:3 --shards 3 --no-pin --busy-poll 50 \
        --max-connections 1000 --fd-tables private --max-connections-per-address 10 \
        --max-new-connections-per-address 15 --max-messages-per-second 20 \
        --max-matches-per-minute 25 --max-matches-per-minute-per-address 70 \
        --max-message-bytes 2000 --max-unsent-bytes 5000 --socket-send-buffer 8192 \
        --close-timeout 1s --handshake-timeout 2s --idle-timeout 90s --ping-interval 3s --silence-limit 4s \
        --liveness-window 1500ms --message-timeout 7s --max-head-bytes 3000 --rematch-delay 500ms \
        --drain-timeout 1m --resume-window 0 \
        --echo --allow-origin https://a.example,http://B.example:80 --allow-origin null \
        --trusted-proxy 10.0.0.0/8,::1 --trusted-proxy 192.0.2.1 --admin-listen 127.0.0.1:9,[::1]:9 \
        --ice-server stun:a.example --ice-server turn:b.example,user=u,password=p \
        --turn-url turns:c.example --turn-secret-file /etc/secret --turn-ttl 2h \
        --turn-match-ttl 30m --relay-only \
        --stats-queue en,de --stats-queue fr --log-format json --log-level debug --log-addresses";
    let words: Vec<&str> = words.split_whitespace().collect();
    let expected = Config {
        listen: vec![address("127.0.0.1:1"), address("[::1]:2"), address("127.0.0.1:3")],
        shards: 3,
        pin: false,
        steering: ConnectionSteering::Off,
        busy_poll_micros: NonZeroU32::new(50),
        limits: Limits {
            max_connections: 1000,
            max_connections_per_address: NonZeroU32::new(10),
            max_new_connections_per_address: NonZeroU32::new(15),
            max_messages_per_second: NonZeroU32::new(20),
            max_matches_per_minute: NonZeroU32::new(25),
            max_matches_per_minute_per_address: NonZeroU32::new(70),
            max_message_bytes: 2000,
            max_unsent_bytes: 5000,
            close_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(90),
            ping_interval: Duration::from_secs(3),
            silence_limit: Duration::from_secs(4),
            liveness_window: Duration::from_millis(1500),
            message_timeout: Duration::from_secs(7),
            max_head_bytes: 3000,
            rematch_delay: Duration::from_millis(500),
            drain_timeout: Duration::from_secs(60),
        },
        socket_send_buffer_bytes: Some(8192),
        echo: true,
        access: AccessPolicy {
            allowed_origins: ["https://a.example", "http://b.example", "null"]
                .map(|origin| origin.parse().unwrap())
                .to_vec(),
            trusted_proxies: Networks(
                ["10.0.0.0/8", "::1", "192.0.2.1/32"].map(|net| net.parse().unwrap()).to_vec(),
            ),
            admin_listen: vec![address("127.0.0.1:9"), address("[::1]:9")],
        },
        ice_servers: vec![
            "stun:a.example".parse().unwrap(),
            "turn:b.example,user=u,password=p".parse().unwrap(),
        ],
        turn: Some(TurnConfig {
            urls: vec![IceUrl::turn("turns:c.example").unwrap()],
            secret_file: "/etc/secret".into(),
            lifetimes: CredentialLifetimes {
                session: Duration::from_secs(7200),
                call: Duration::from_secs(1800),
            },
        }),
        relay_only: true,
        stats_queues: vec!["en".to_owned(), "de".to_owned(), "fr".to_owned()],
        log_format: LogFormat::Json,
        log_level: LevelFilter::DEBUG,
        session_log: SessionLog::WithAddress,
        descriptors_allowed: 20_000,
        // Two addresses for administration, and the connections there.
        descriptor_tables: DescriptorTables::Private {
            connections_each: 20_000
                - private_table_overhead(3, 3) as u32
                - 2
                - limits::ADMIN_CONNECTIONS as u32,
        },
        private_table_support: PrivateTableSupport::Supported,
    };
    assert_eq!(config(&words), Ok(expected));
}

#[test]
fn a_turn_url_and_a_turn_secret_require_each_other() {
    for half in [["--turn-url", "turn:a.example"], ["--turn-secret-file", "/etc/secret"]] {
        assert_eq!(config(&half), Err(ConfigError::IncompleteTurnConfig));
    }
    for secret in [
        "turn:a.example,user=u,password=hush hush",
        "turn:a.example,user=u,passwort=hush",
        "turn:,user=u,password=hush",
        "stun:a.example,user=u,password=hush",
        "http://a.example,user=u,password=hush",
        "turn:a.example,user=hush,x,password=hush",
    ] {
        let refused = Arguments::read(["switchboard", "--ice-server", secret]);
        let Err(EarlyExit::UsageError(line)) = refused else { panic!("{refused:?}") };
        assert!(line.contains("--ice-server") && !line.contains("hush"), "{line}");
    }
    let refused = Arguments::read(["switchboard", "--ice-server", "http://a.example"]);
    assert!(matches!(refused, Err(EarlyExit::UsageError(_))), "{refused:?}");
}

#[test]
fn relay_only_requires_a_turn_server() {
    let stun = "--ice-server=stun:a.example";
    for words in [&["--relay-only"][..], &["--relay-only", stun]] {
        assert_eq!(refused(words), ConfigError::RelayOnlyWithoutTurn);
    }
    let fixed = "--ice-server=turns:a.example,user=u,password=p";
    let limited = ["--turn-url=turn:a.example", "--turn-secret-file=/etc/secret"];
    for words in [&["--relay-only", stun, fixed][..], &["--relay-only", limited[0], limited[1]]] {
        assert!(config(words).unwrap().relay_only, "{words:?}");
    }
    assert!(!config(&limited).unwrap().relay_only);
}

#[test]
fn zero_disables_a_limit_where_the_help_says_so() {
    let config = config(&[
        "--socket-send-buffer=0",
        "--liveness-window=0s",
        "--message-timeout=0s",
        "--rematch-delay=0s",
        "--drain-timeout=0",
        "--max-connections-per-address=0",
    ])
    .unwrap();
    assert_eq!(config.socket_send_buffer_bytes, None);
    assert_eq!(config.limits.liveness_window, Duration::ZERO);
    assert_eq!(config.limits.message_timeout, Duration::ZERO);
    assert_eq!(config.limits.rematch_delay, Duration::ZERO);
    assert_eq!(config.limits.drain_timeout, Duration::ZERO);
    assert_eq!(config.limits.max_connections_per_address, None);
}

#[test]
fn sizes_take_units_and_lists_take_spaces_after_commas() {
    let config = config(&[
        "--max-message-bytes=32k",
        "--max-unsent-bytes=1M",
        "--listen=127.0.0.1:1, 127.0.0.1:2",
        "--admin-listen=127.0.0.1:3 , 127.0.0.1:4",
        "--allow-origin=https://a.example, https://b.example",
        "--trusted-proxy=10.0.0.0/8, ::1",
        "--stats-queue=en, de",
    ])
    .unwrap();
    assert_eq!(config.limits.max_message_bytes, 32_768);
    assert_eq!(config.limits.max_unsent_bytes, 1_048_576);
    assert_eq!(config.listen, [address("127.0.0.1:1"), address("127.0.0.1:2")]);
    let access = &config.access;
    assert_eq!(access.admin_listen, [address("127.0.0.1:3"), address("127.0.0.1:4")]);
    assert_eq!((access.allowed_origins.len(), access.trusted_proxies.0.len()), (2, 2));
    assert_eq!(config.stats_queues, ["en", "de"]);
}

#[test]
fn numbers_outside_their_bounds_are_refused_by_name() {
    let just_inside_and_outside = [
        ("--shards", "1", "0"),
        ("--shards", "1024", "1025"),
        ("--max-connections", "1", "0"),
        ("--max-matches-per-minute", "60000", "60001"),
        ("--max-message-bytes", "1024", "1023"),
        ("--max-unsent-bytes", "1073741824", "1073741825"),
        ("--socket-send-buffer", "4096", "4095"),
        ("--max-head-bytes", "1024", "1023"),
        ("--max-head-bytes", "1048576", "1048577"),
    ];
    // 1024 shards need more descriptors.
    let machine = MachineCapabilities { descriptors_allowed: 200_000, ..MACHINE };
    for (flag, good, bad) in just_inside_and_outside {
        arguments(&[flag, good]).validate(&machine).unwrap();
        let error = arguments(&[flag, bad]).validate(&machine).unwrap_err();
        assert!(
            matches!(error, ConfigError::OutOfBounds { flag: named, .. } if named == flag),
            "{flag} {bad}: {error}"
        );
    }
}

#[test]
fn durations_outside_their_bounds_are_refused_by_name() {
    for flag in [
        "--close-timeout",
        "--handshake-timeout",
        "--idle-timeout",
        "--ping-interval",
        "--silence-limit",
    ] {
        for bad in ["0s", "9ms", "25h"] {
            let error = refused(&[flag, bad]);
            assert!(
                matches!(error, ConfigError::OutOfBounds { flag: named, .. } if named == flag),
                "{flag} {bad}: {error}"
            );
        }
    }
    for flag in ["--liveness-window", "--message-timeout", "--rematch-delay", "--drain-timeout"] {
        assert!(matches!(refused(&[flag, "25h"]), ConfigError::OutOfBounds { .. }));
    }
}

#[test]
fn a_time_limit_that_zero_turns_off_has_a_shortest_value() {
    for (flag, good, bad, bounds) in [
        ("--liveness-window", "100ms", "99ms", "0s, or 100ms to 1d"),
        ("--message-timeout", "10ms", "9ms", "0s, or 10ms to 1d"),
    ] {
        config(&[flag, good]).unwrap();
        config(&[flag, "0"]).unwrap();
        let error = refused(&[flag, bad]).to_string();
        assert!(error.contains(flag) && error.contains(bad) && error.contains(bounds), "{error}");
    }
}

#[test]
fn the_ping_interval_must_be_below_the_silence_limit() {
    let error = refused(&["--ping-interval=5s", "--silence-limit=5s"]);
    assert!(matches!(error, ConfigError::SilenceLimitBelowPing { .. }));
    config(&["--ping-interval=5s", "--silence-limit=5001ms"]).unwrap();
}

#[test]
fn the_backlog_must_hold_one_largest_message_with_its_header() {
    let error = refused(&["--max-message-bytes=8192", "--max-unsent-bytes=8201"]);
    assert_eq!(error, ConfigError::BacklogBelowMessage { unsent_bytes: 8201, min_bytes: 8202 });
    config(&["--max-message-bytes=8192", "--max-unsent-bytes=8202"]).unwrap();
}

#[test]
fn the_limit_of_an_address_must_not_exceed_the_total_limit() {
    let error = refused(&["--max-connections=10", "--max-connections-per-address=11"]);
    assert_eq!(error, ConfigError::AddressLimitAboveTotal { per_address: 11, total: 10 });
    config(&["--max-connections=10", "--max-connections-per-address=10"]).unwrap();
}

#[test]
fn repeated_addresses_and_queues_are_refused_except_port_zero() {
    assert!(matches!(
        refused(&["--listen=127.0.0.1:80", "--listen=127.0.0.1:80"]),
        ConfigError::DuplicateListenAddress { .. }
    ));
    config(&["--listen=127.0.0.1:0,127.0.0.1:0"]).unwrap();
    assert!(matches!(refused(&["--stats-queue=a,b,a"]), ConfigError::DuplicateStatsQueue { .. }));
}

#[test]
fn stats_queues_must_be_valid_queue_names() {
    let longest = "x".repeat(64);
    config(&["--stats-queue", "A-z_0.9:", "--stats-queue", &longest]).unwrap();
    for bad in ["a b", "ü", &"x".repeat(65)] {
        assert!(matches!(refused(&["--stats-queue", bad]), ConfigError::InvalidQueueName { .. }));
    }
}

#[test]
fn a_resume_window_is_refused_with_a_clear_message() {
    let error = refused(&["--resume-window=5s"]);
    assert!(error.to_string().contains("cannot resume"), "{error}");
}

#[test]
fn more_connections_than_descriptors_are_refused_with_the_command_to_raise_them() {
    let own = shared_table_overhead(4, 2);
    let possible = MACHINE.descriptors_allowed - own;
    let config = |words: &[&str]| config(&[words, &["--fd-tables", "shared"]].concat());
    let refused = |words: &[&str]| refused(&[words, &["--fd-tables", "shared"]].concat());
    config(&["--max-connections", &possible.to_string()]).unwrap();
    let error = refused(&["--max-connections", &(possible + 1).to_string()]);
    let needed = MACHINE.descriptors_allowed + 1;
    let line = error.to_string();
    assert!(line.contains(&format!("sudo prlimit --pid $$ --nofile={needed}:{needed}`")), "{line}");
    assert!(line.contains(&format!("--max-connections {possible} or less")), "{line}");
    assert!(!line.contains("sysctl"), "{line}");
    let line = refused(&["--max-connections=2000000"]).to_string();
    let needed = own + 2_000_000;
    assert!(line.contains(&format!("sudo sysctl -w fs.nr_open={needed} &&")), "{line}");
}

#[test]
fn steering_requires_a_cpu_for_each_shard() {
    assert_eq!(config(&["--steer=cpu"]).unwrap().steering, ConnectionSteering::Cpu);
    assert_eq!(config(&["--steer=cpu", "--shards=2"]).unwrap().steering, ConnectionSteering::Cpu);
    let line = refused(&["--steer=cpu", "--no-pin"]).to_string();
    assert!(line.contains("leave --no-pin out"), "{line}");
    let line = refused(&["--steer=cpu", "--shards=5"]).to_string();
    assert!(line.contains("5 shards have 4") && line.contains("--shards 4"), "{line}");
    assert_eq!(config(&["--busy-poll=0"]).unwrap().busy_poll_micros, None);
    let error = refused(&["--busy-poll=10001"]);
    assert!(matches!(error, ConfigError::OutOfBounds { flag: "--busy-poll", .. }), "{error}");
}

#[test]
fn private_tables_multiply_the_limit_and_are_chosen_only_when_needed() {
    let each = 20_000 - private_table_overhead(4, 2) as u32;
    let private = DescriptorTables::Private { connections_each: each };
    let chosen =
        |words: &[&str]| config(words).map(|c| (c.descriptor_tables, c.limits.max_connections));
    let shared = 20_000 - shared_table_overhead(4, 2) as u32;
    assert_eq!(chosen(&[]), Ok((DescriptorTables::Shared, shared)));
    assert_eq!(chosen(&["--max-connections=50000"]), Ok((private, 50_000)));
    assert_eq!(chosen(&["--fd-tables=private"]), Ok((private, 4 * each)));
    assert_eq!(chosen(&["--fd-tables=private", "--max-connections=9"]), Ok((private, 9)));
    let line = refused(&["--fd-tables=shared", "--max-connections=50000"]).to_string();
    assert!(line.contains("50000 connections need"), "{line}");
    // More than all tables together hold: the command raises the limit of each.
    let line = refused(&["--fd-tables=private", "--max-connections=100000"]).to_string();
    let needed = 25_000 + private_table_overhead(4, 2);
    assert!(line.contains(&format!("--nofile={needed}:{needed}`")), "{line}");
    assert!(line.contains(&format!("--max-connections {} or less", 4 * each)), "{line}");
    let line = refused(&["--max-connections=100000"]).to_string();
    assert!(line.contains(&format!("--max-connections {} or less", 4 * each)), "{line}");
}

#[test]
fn without_kernel_support_private_tables_are_refused_and_auto_is_shared() {
    let old = MachineCapabilities {
        private_table_support: PrivateTableSupport::Missing("pidfd_getfd"),
        ..MACHINE
    };
    let tables =
        |words: &[&str]| arguments(words).validate(&old).map(|config| config.descriptor_tables);
    assert_eq!(tables(&[]), Ok(DescriptorTables::Shared));
    assert_eq!(tables(&["--fd-tables=auto", "--max-connections=9"]), Ok(DescriptorTables::Shared));
    let error = tables(&["--fd-tables=private"]).unwrap_err();
    assert_eq!(error, ConfigError::PrivateTablesUnsupported { call: "pidfd_getfd" });
    let line = error.to_string();
    assert!(line.contains("pidfd_getfd") && line.contains("Linux 6.9"), "{line}");
    let error = tables(&["--max-connections=50000"]).unwrap_err();
    assert!(
        matches!(error, ConfigError::TooFewDescriptors { tables: DescriptorTables::Shared, .. }),
        "{error:?}"
    );
}

#[test]
fn the_derived_connection_limit_follows_the_descriptors_up_to_a_maximum() {
    let private_table_support = PrivateTableSupport::Missing("unshare");
    let with = |descriptors_allowed| MachineCapabilities {
        descriptors_allowed,
        private_table_support,
        ..MACHINE
    };
    let derived =
        |allowed| arguments(&[]).validate(&with(allowed)).map(|c| c.limits.max_connections);
    let own = shared_table_overhead(4, 2);
    assert_eq!(derived(own + 1), Ok(1));
    assert!(matches!(derived(own), Err(ConfigError::TooFewDescriptors { possible: 0, .. })));
    assert!(matches!(derived(3), Err(ConfigError::TooFewDescriptors { possible: 0, .. })));
    assert_eq!(derived(u64::MAX), Ok(limits::MAX_DERIVED_CONNECTIONS));
}

#[test]
fn invalid_arguments_are_refused_in_one_line() {
    let cases: &[(&[&str], &str)] = &[
        (&["--listen=8080"], "like 127.0.0.1:8080"),
        (&["--close-timeout=5"], "like 800ms"),
        (&["--log-level=loud"], "[possible values: off, error"),
        (&["--log-format=xml"], "[possible values: text, json]"),
        (&["--max-connections=many"], "invalid digit"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["--max-conections=9"], "did you mean --max-connections?"),
        (&["--max-message-bytes=64kB"], "like 65536, 64k or 1M"),
        (&["--allow-origin=*"], "wildcards are not supported; to allow all origins, omit the flag"),
        (&["--allow-origin=*.example.org"], "wildcards are not supported"),
        (&["extra"], "extra"),
    ];
    for (words, hint) in cases {
        match Arguments::read(["switchboard"].iter().chain(*words)) {
            Err(EarlyExit::UsageError(line)) => {
                assert!(line.contains(hint) && !line.contains('\n'), "{words:?}: {line}");
            }
            other => panic!("{words:?}: {other:?}"),
        }
    }
    assert!(matches!(Arguments::read(["switchboard", "--help"]), Err(EarlyExit::Help(_))));
    assert!(matches!(Arguments::read(["switchboard", "--version"]), Err(EarlyExit::Help(_))));
}

#[test]
fn every_flag_has_an_environment_variable_and_a_row_in_the_table() {
    let table = flags_table();
    let command = Arguments::command();
    command.clone().debug_assert();
    let mut flags = 0;
    for arg in command.get_arguments() {
        let long = arg.get_long().unwrap();
        let expected = format!("SWITCHBOARD_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(arg.get_env().unwrap().to_str(), Some(expected.as_str()));
        let starts = [format!("| `--{long}`"), format!("| `--{long} ")];
        let row = table.lines().find(|row| starts.iter().any(|start| row.starts_with(start)));
        let row = row.unwrap();
        assert!(row.contains(&format!("`{expected}`")), "{row}");
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 5, "{row}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{row}");
        assert!(cells[4].ends_with('.'), "{row}");
        flags += 1;
    }
    assert_eq!(table.lines().filter(|line| line.starts_with("| `--")).count(), flags);
    for row in [
        "| `--close-timeout DURATION` | `SWITCHBOARD_CLOSE_TIMEOUT` | `5s` | 10ms to 1d |",
        "| `SWITCHBOARD_SHARDS` | one for each CPU that the process may use | 1 to 1024 |",
        "| `--no-pin` | `SWITCHBOARD_NO_PIN` | off | – |",
        "| `SWITCHBOARD_SOCKET_SEND_BUFFER` | `65536` | 0, or 4096 to 536870912 |",
        "| `SWITCHBOARD_LOG_FORMAT` | `text` | `text`, `json` |",
    ] {
        assert!(table.contains(row), "no {row} in\n{table}");
    }
}
