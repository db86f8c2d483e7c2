//! The checks for machines with limits that are high enough, too low and unknown.

use super::*;
use crate::config::FdTables;
use crate::sys::descriptor_tables::PrivateTableSupport;

/// A machine with limits for a million connections.
fn ample() -> MachineReadings {
    MachineReadings {
        nofile: Some((1024, 1_048_576)),
        nr_open: Some(1_048_576),
        files: Some((5000, 2_000_000)),
        epoll_watches: Some(5_000_000),
        somaxconn: Some(65_535),
        syn_backlog: Some(65_535),
        syn_cookies: Some(true),
        page_bytes: Some(4096),
        tcp_memory_bytes: Some((4096 * 1_000_000, 4096 * 1_500_000)),
        memory_available_bytes: Some(8 << 30),
        cpus: 4,
        cpus_online: Some(4),
        conntrack: None,
        local_ports: Some((32_768, 60_999)),
        private_table_support: PrivateTableSupport::Supported,
    }
}

const SETTINGS: PlannedServer = PlannedServer {
    shards: 4,
    addresses: 0,
    admin_addresses: 0,
    fd_tables: FdTables::Auto,
    max_connections: None,
};

/// A machine whose limits are never short.
fn unlimited() -> MachineReadings {
    let plenty = 1 << 40;
    MachineReadings {
        nofile: Some((1024, plenty)),
        nr_open: Some(plenty),
        files: Some((5000, plenty)),
        tcp_memory_bytes: Some((plenty, plenty)),
        memory_available_bytes: Some(plenty),
        cpus: 64,
        cpus_online: Some(64),
        ..ample()
    }
}

fn demand(connections: u32) -> CapacityDemand {
    CapacityDemand::new(connections, &SETTINGS, &ample())
}

fn short(readings: &MachineReadings, demand: &CapacityDemand) -> Vec<&'static str> {
    let checks = report(readings, demand).checks;
    let short = checks.iter().filter(|check| check.status == LimitStatus::Short);
    short.map(|check| check.name).collect()
}

#[test]
fn reports_nothing_short_when_every_limit_is_high_enough() {
    assert_eq!(short(&ample(), &demand(1_000_000)), [""; 0]);
    assert!(!report(&ample(), &demand(1_000_000)).is_short());
}

#[test]
fn finds_and_names_each_limit_that_is_short() {
    type LowerLimit = fn(&mut MachineReadings);
    let cases: [(&str, LowerLimit); 10] = [
        ("RLIMIT_NOFILE", |r| r.nofile = Some((1024, 1_000_000))),
        ("fs.nr_open", |r| r.nr_open = Some(1_000_000)),
        ("fs.file-max", |r| r.files = Some((1_000_000, 2_000_000))),
        ("fs.epoll.max_user_watches", |r| r.epoll_watches = Some(999_999)),
        ("net.core.somaxconn", |r| r.somaxconn = Some(4096)),
        ("net.ipv4.tcp_max_syn_backlog", |r| {
            r.syn_cookies = Some(false);
            r.syn_backlog = Some(2048);
        }),
        ("net.ipv4.tcp_mem[1]-bytes", |r| r.tcp_memory_bytes = Some((1 << 30, 1 << 40))),
        ("net.netfilter.nf_conntrack_max", |r| r.conntrack = Some((10, 1_000_009))),
        ("memory-available-bytes", |r| r.memory_available_bytes = Some(4_000_000_000)),
        ("cpus", |r| r.cpus = 3),
    ];
    for (name, lower) in cases {
        let mut readings = ample();
        lower(&mut readings);
        assert_eq!(short(&readings, &demand(1_000_000)), [name]);
    }
}

#[test]
fn compares_cpus_with_the_connections_and_not_with_the_shards() {
    let cpus = |cpus, connections, shards| {
        let settings = PlannedServer { shards, ..SETTINGS };
        let machine = MachineReadings { cpus, cpus_online: Some(cpus), ..unlimited() };
        let demand = CapacityDemand::new(connections, &settings, &machine);
        let report = report(&machine, &demand);
        let check = report.checks.into_iter().find(|check| check.name == "cpus").unwrap();
        (check.status, check.need)
    };
    assert_eq!(cpus(1, 100, 1), (LimitStatus::Ok, Some(1)));
    assert_eq!(cpus(1, 250_000, 1), (LimitStatus::Ok, Some(1)));
    assert_eq!(cpus(1, 250_001, 1), (LimitStatus::Short, Some(2)));
    assert_eq!(cpus(64, 100, 64), (LimitStatus::Ok, Some(1)));
    assert_eq!(cpus(2, 100, 3), (LimitStatus::Note, Some(1)));
}

#[test]
fn allows_more_shards_than_cpus() {
    let few = MachineReadings { nofile: Some((1024, 20_000)), ..ample() };
    let check = |fd_tables| {
        let settings = PlannedServer { shards: 5, fd_tables, ..SETTINGS };
        short(&few, &CapacityDemand::new(59_000, &settings, &few))
    };
    assert_eq!(check(FdTables::Private), [""; 0]);
    assert_eq!(check(FdTables::Shared), ["RLIMIT_NOFILE"]);
}

/// The report must agree with what a server with the same settings accepts.
#[test]
fn reports_the_servers_own_connection_limit_as_short() {
    let many = MachineReadings { cpus: 5, nofile: Some((1024, 20_000)), ..ample() };
    let most = limits::MAX_DERIVED_CONNECTIONS;
    for (connections, max_connections, readings, expected) in [
        (1000, Some(1000), ample(), [].as_slice()),
        (1001, Some(1000), ample(), ["max-connections"].as_slice()),
        (most, None, unlimited(), &[]),
        (most + 1, None, unlimited(), &["max-connections"]),
        (most + 1, Some(most + 1), unlimited(), &[]),
        // A shared table is too small, and without --max-connections the server uses one.
        (59_000, None, many.clone(), &["max-connections"]),
        (59_000, Some(59_000), many, &[]),
    ] {
        let settings = PlannedServer { max_connections, ..SETTINGS };
        let demand = CapacityDemand::new(connections, &settings, &readings);
        assert_eq!(short(&readings, &demand), expected, "{connections} {max_connections:?}");
    }
}

#[test]
fn counts_the_descriptors_of_admin_connections() {
    let settings = PlannedServer { admin_addresses: 1, ..SETTINGS };
    let more =
        CapacityDemand::new(5000, &settings, &ample()).descriptors - demand(5000).descriptors;
    assert_eq!(more, 1 + limits::ADMIN_CONNECTIONS as u64);
}

#[test]
fn reports_a_descriptor_limit_that_is_one_too_low() {
    let exact = MachineReadings { nofile: Some((1, demand(5000).descriptors)), ..ample() };
    assert_eq!(short(&exact, &demand(5000)), [""; 0]);
    assert_eq!(short(&exact, &demand(5001)), ["RLIMIT_NOFILE"]);
    // The soft limit does not matter: the server raises it.
}

#[test]
fn gives_a_command_with_the_needed_value_for_each_short_limit() {
    let poor = MachineReadings {
        nofile: Some((1024, 20_000)),
        nr_open: Some(30_000),
        somaxconn: Some(128),
        tcp_memory_bytes: Some((0, 0)),
        ..ample()
    };
    let text = report(&poor, &demand(100_000)).to_string();
    let need = demand(100_000).descriptors;
    for command in [
        format!("sudo prlimit --pid $$ --nofile={need}:{need}"),
        format!("LimitNOFILE={need}"),
        format!("sudo sysctl -w fs.nr_open={need}"),
        "sudo sysctl -w net.core.somaxconn=4096".to_owned(),
        "sudo sysctl -w net.ipv4.tcp_mem='75000 100000 150000'".to_owned(),
    ] {
        assert!(text.contains(&command), "no {command} in\n{text}");
    }
}

#[test]
fn gives_tcp_memory_in_pages_of_the_machine() {
    let large =
        MachineReadings { page_bytes: Some(65_536), tcp_memory_bytes: Some((0, 0)), ..ample() };
    let text = report(&large, &demand(100_000)).to_string();
    assert!(text.contains("net.ipv4.tcp_mem='4688 6250 9375'"), "{text}");
}

#[test]
fn only_notes_a_conntrack_limit_when_nothing_is_tracked() {
    let idle = MachineReadings { conntrack: Some((0, 10)), ..ample() };
    assert_eq!(short(&idle, &demand(1_000_000)), [""; 0]);
    let busy = MachineReadings { conntrack: Some((1, 10)), ..ample() };
    assert_eq!(short(&busy, &demand(1_000_000)), ["net.netfilter.nf_conntrack_max"]);
}

#[test]
fn prints_each_field_at_a_fixed_word_position() {
    let text = report(&ample(), &demand(2_000_000)).to_string();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(["ok", "short", "unknown", "note"].contains(&words[0]), "{line}");
        assert_eq!((words[2], words[4]), ("have", "need"), "{line}");
        assert_ne!(words[5], "0", "{line}");
        assert!(words[5].parse::<u64>().is_ok() || words[..1] == ["note"] && words[5] == "-");
        assert_eq!(words[0] == "short", words.get(6).is_some_and(|w| ["sudo", "#"].contains(w)));
    }
}

#[test]
fn reports_a_limit_as_unknown_when_the_kernel_does_not_report_it() {
    let silent = MachineReadings { cpus: 4, ..MachineReadings::default() };
    let report = report(&silent, &demand(1_000_000));
    assert!(!report.is_short());
    let unknown = report.checks.iter().filter(|check| check.status == LimitStatus::Unknown).count();
    // The server's own limit and its CPUs are always known.
    assert_eq!(unknown, report.checks.len() - 2, "{report}");
}
