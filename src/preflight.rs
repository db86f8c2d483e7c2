//! What a machine lacks for a wanted number of connections, and the command that mends it. Pure:
//! the machine comes in as [`MachineReadings`], and what comes out is text.
//!
//! Each line of a [`PreflightReport`] is for people and for `awk` alike: words set apart by spaces, of
//! which the first is the status, the second the limit's name, the fourth what there is, the
//! sixth what is needed, and all from the seventh on a command.

use crate::config::{DescriptorBudget, DescriptorTables, FdTables};
use crate::limits;
use crate::sys::descriptor_tables::PrivateTableSupport;
use crate::sys::machine::MachineReadings;
use std::fmt;

/// Kernel memory of one connection that is idle: socket, file and their book-keeping. Half of
/// what a million of them took with both their ends on one machine (scripts/max-connections.sh).
pub const KERNEL_BYTES_PER_CONNECTION: u64 = 4864;
/// Bytes on their way that TCP may hold for each connection before it comes under pressure:
/// one page, which is one small message in each direction.
pub const TCP_BYTES_PER_CONNECTION: u64 = 4096;
/// Memory the process needs with nobody there, its threads' stacks and buffers included.
const PROCESS_BYTES: u64 = 32 << 20;
/// After a restart everybody comes back within a few seconds: an accept queue holds this
/// fraction of them while its thread is busy with others.
const CROWD_FRACTION: u64 = 16;
/// The least that is asked of an accept queue; Linux has had this as its default since 5.4.
const QUEUE_LEAST: u64 = 4096;

/// What is wanted of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityDemand {
    /// Connections at the same time.
    pub connections: u64,
    /// File descriptors of the whole process for them, its own included.
    pub descriptors: u64,
    /// The same for the fullest of its tables.
    pub in_one_table: u64,
    /// Threads that carry connections.
    pub shards: u64,
    /// Whether tables of the shards' own are demanded, and whether they can be had.
    pub private_tables: Option<bool>,
    /// Connections that a server with these settings takes where all limits are high enough.
    pub taken: u64,
}

/// The settings of the server that bear on what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedServer {
    /// Threads that carry connections.
    pub shards: usize,
    /// Addresses of `--listen`; 0 is those it listens on without.
    pub addresses: usize,
    /// Addresses of `--admin-listen`.
    pub admin_addresses: usize,
    /// What `--fd-tables` says.
    pub fd_tables: FdTables,
    /// What `--max-connections` says, if anything.
    pub max_connections: Option<u32>,
}

impl CapacityDemand {
    /// So many connections to a server with these settings, on a machine like that.
    pub fn new(connections: u32, settings: &PlannedServer, readings: &MachineReadings) -> Self {
        let &PlannedServer { shards, admin_addresses, fd_tables, max_connections, .. } = settings;
        let addresses = if settings.addresses == 0 { 2 } else { settings.addresses };
        let allowed = readings.nofile.map_or(u64::MAX, |(_, hard)| hard);
        let support = readings.private_table_support;
        let budget = DescriptorBudget { allowed, shards, addresses, admin_addresses, support };
        // Where private tables cannot be had, a server told to have them does not start; a limit
        // that is short is told here all the same.
        let private = DescriptorTables::Private { connections_each: 0 };
        let tables = budget.choose(fd_tables, Some(connections)).unwrap_or(private);
        let unasked = match (tables, budget.choose(fd_tables, None)) {
            // Only who names a number gets tables of the shards' own.
            (DescriptorTables::Private { .. }, Ok(DescriptorTables::Shared)) => budget.fit_shared(),
            _ => u64::MAX,
        };
        let unasked = unasked.min(limits::MAX_DERIVED_CONNECTIONS.into());
        let taken = max_connections.map_or(unasked, u64::from);
        let connections = u64::from(connections);
        let in_one_table = budget.needed(tables, connections);
        let descriptors = match tables {
            DescriptorTables::Shared => in_one_table,
            DescriptorTables::Private { .. } => {
                connections + tables.count(shards) * (budget.needed(tables, 0))
            }
        };
        let private_tables = match fd_tables {
            FdTables::Private => Some(support == PrivateTableSupport::Supported),
            FdTables::Auto | FdTables::Shared => None,
        };
        let shards = shards as u64;
        CapacityDemand { connections, descriptors, in_one_table, shards, private_tables, taken }
    }
}

/// How a limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitStatus {
    /// Enough.
    Ok,
    /// Too little.
    Short,
    /// The system does not tell.
    Unknown,
    /// Worth knowing, whatever it is.
    Note,
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitCheck {
    /// How it stands.
    pub status: LimitStatus,
    /// Its name, without spaces.
    pub what: &'static str,
    /// What there is, if that is known.
    pub have: Option<u64>,
    /// What is needed.
    pub need: u64,
    /// What to type, or to know; empty where all is well.
    pub advice: String,
}

/// All limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreflightReport {
    /// One for each, in the order in which they have to be mended.
    pub lines: Vec<LimitCheck>,
}

impl PreflightReport {
    /// Whether anything is short.
    pub fn is_short(&self) -> bool {
        self.lines.iter().any(|line| line.status == LimitStatus::Short)
    }
}

impl fmt::Display for PreflightReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            let status = match line.status {
                LimitStatus::Ok => "ok",
                LimitStatus::Short => "short",
                LimitStatus::Unknown => "unknown",
                LimitStatus::Note => "note",
            };
            let have = line.have.map_or("?".to_owned(), |have| have.to_string());
            let figures =
                format!("{status:<7} {:<31} have {have:<12} need {:<12}", line.what, line.need);
            writeln!(f, "{}", format!("{figures} {}", line.advice).trim_end())?;
        }
        Ok(())
    }
}

/// Holds the machine against what is wanted of it.
pub fn report(readings: &MachineReadings, wanted: &CapacityDemand) -> PreflightReport {
    let mut lines = vec![own_limit(wanted)];
    lines.extend(descriptors(readings, wanted));
    lines.extend(network(readings, wanted));
    lines.extend(machine(readings, wanted));
    PreflightReport { lines }
}

/// What the server itself takes, however much the machine would carry.
fn own_limit(wanted: &CapacityDemand) -> LimitCheck {
    let need = wanted.connections;
    let advice = format!("# start the server with --max-connections {need}");
    at_least("max-connections", Some(wanted.taken), need, advice)
}

fn descriptors(readings: &MachineReadings, wanted: &CapacityDemand) -> Vec<LimitCheck> {
    let (need, all) = (wanted.in_one_table, wanted.descriptors);
    let hard = readings.nofile.map(|(_, hard)| hard);
    let raise = format!(
        "sudo prlimit --pid $$ --nofile={need}:{need}   # in a systemd unit: LimitNOFILE={need}"
    );
    let used = readings.files.map_or(0, |(used, _)| used);
    let private = wanted.private_tables.map(|can| {
        let advice = "# Linux 6.9 or later; or --fd-tables shared".to_owned();
        at_least("private-fd-tables", Some(can.into()), 1, advice)
    });
    let limits = [
        // Before the limit that cannot be raised above it.
        at_least("fs.nr_open", readings.nr_open, need, sysctl("fs.nr_open", need)),
        at_least("RLIMIT_NOFILE", hard, need, raise),
        at_least(
            "fs.file-max",
            readings.files.map(|(_, most)| most),
            used + all,
            sysctl("fs.file-max", used + all),
        ),
        at_least(
            "fs.epoll.max_user_watches",
            readings.epoll_watches,
            all,
            sysctl("fs.epoll.max_user_watches", all),
        ),
    ];
    private.into_iter().chain(limits).collect()
}

fn network(readings: &MachineReadings, wanted: &CapacityDemand) -> Vec<LimitCheck> {
    let queue = (wanted.connections / CROWD_FRACTION / wanted.shards.max(1))
        .clamp(QUEUE_LEAST, limits::LISTEN_BACKLOG as u64);
    let mut lines = vec![at_least(
        "net.core.somaxconn",
        readings.somaxconn,
        queue,
        sysctl("net.core.somaxconn", queue) + "   # then restart the server",
    )];
    // With SYN cookies the kernel does not look at this limit.
    if readings.syn_cookies != Some(true) {
        let name = "net.ipv4.tcp_max_syn_backlog";
        lines.push(at_least(name, readings.syn_backlog, queue, sysctl(name, queue)));
    }
    let tcp = wanted.connections * TCP_BYTES_PER_CONNECTION;
    // `net.ipv4.tcp_mem` is in pages.
    let pages = |bytes: u64| bytes.div_ceil(readings.page_bytes.unwrap_or(4096));
    let (low, top) = (pages(tcp / 4 * 3), pages(tcp / 2 * 3));
    let triple = format!("sudo sysctl -w net.ipv4.tcp_mem='{low} {} {top}'", pages(tcp));
    let pressure = readings.tcp_memory_bytes.map(|(pressure, _)| pressure);
    lines.push(at_least("net.ipv4.tcp_mem[1]-bytes", pressure, tcp, triple));
    if let Some((tracked, most)) = readings.conntrack {
        let name = "net.netfilter.nf_conntrack_max";
        let need = tracked + wanted.connections;
        let mut line = at_least(name, Some(most), need, sysctl(name, need));
        // Without a rule that wants it the kernel has the module but tracks nothing.
        if tracked == 0 && line.status == LimitStatus::Short {
            line.status = LimitStatus::Note;
            line.advice = "bounds connections as soon as a firewall rule tracks them".to_owned();
        }
        lines.push(line);
    }
    if let Some((first, last)) = readings.local_ports {
        lines.push(LimitCheck {
            status: LimitStatus::Note,
            what: "ip_local_port_range",
            have: Some((last + 1).saturating_sub(first)),
            need: 0,
            advice: "bounds the connections of one client address, such as a load tester's or a \
                     proxy's, never the server's"
                .to_owned(),
        });
    }
    lines
}

fn machine(readings: &MachineReadings, wanted: &CapacityDemand) -> Vec<LimitCheck> {
    let each = KERNEL_BYTES_PER_CONNECTION + limits::CONNECTION_ENTRY_BYTES as u64;
    let need = wanted.connections * each + PROCESS_BYTES;
    let cpus = readings.cpus as u64;
    let all = readings.cpus_online.unwrap_or(readings.cpus) as u64;
    let spare = if cpus < all {
        format!("of {all} online: see CPUAffinity=, CPUQuota= and AllowedCPUs= of the unit")
    } else {
        String::new()
    };
    let (status, advice) = match wanted.private_tables {
        _ if wanted.shards <= cpus => (LimitStatus::Ok, spare),
        // Whoever demands tables may want more of them than there are CPUs.
        Some(_) => (LimitStatus::Note, "fewer than shards: several share one".to_owned()),
        None => (LimitStatus::Short, format!("# use --shards {cpus}")),
    };
    vec![
        at_least(
            "memory-available-bytes",
            readings.memory_available_bytes,
            need,
            format!("# more memory, or --max-connections {}", fits(readings, each)),
        ),
        LimitCheck { status, what: "cpus", have: Some(cpus), need: wanted.shards, advice },
    ]
}

/// Connections that the memory there is carries.
fn fits(readings: &MachineReadings, each: u64) -> u64 {
    readings.memory_available_bytes.unwrap_or(0).saturating_sub(PROCESS_BYTES) / each
}

fn at_least(what: &'static str, have: Option<u64>, need: u64, advice: String) -> LimitCheck {
    let (status, advice) = match have {
        Some(have) if have >= need => (LimitStatus::Ok, String::new()),
        Some(_) => (LimitStatus::Short, advice),
        None => (LimitStatus::Unknown, String::new()),
    };
    LimitCheck { status, what, have, need, advice }
}

fn sysctl(name: &str, value: u64) -> String {
    format!("sudo sysctl -w {name}={value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that carries a million connections, and not many more.
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

    /// One that carries any number there may be a match_request for.
    fn roomy() -> MachineReadings {
        let plenty = 1 << 40;
        MachineReadings {
            nofile: Some((1024, plenty)),
            nr_open: Some(plenty),
            files: Some((5000, plenty)),
            tcp_memory_bytes: Some((plenty, plenty)),
            memory_available_bytes: Some(plenty),
            ..ample()
        }
    }

    fn wanted(connections: u32) -> CapacityDemand {
        CapacityDemand::new(connections, &SETTINGS, &ample())
    }

    fn short(readings: &MachineReadings, wanted: &CapacityDemand) -> Vec<&'static str> {
        let lines = report(readings, wanted).lines;
        lines
            .iter()
            .filter(|line| line.status == LimitStatus::Short)
            .map(|line| line.what)
            .collect()
    }

    #[test]
    fn a_machine_that_has_enough_is_short_of_nothing() {
        assert_eq!(short(&ample(), &wanted(1_000_000)), [""; 0]);
        assert!(!report(&ample(), &wanted(1_000_000)).is_short());
    }

    #[test]
    fn each_limit_alone_is_found_and_named() {
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
        for (name, spoil) in cases {
            let mut readings = ample();
            spoil(&mut readings);
            assert_eq!(short(&readings, &wanted(1_000_000)), [name]);
        }
    }

    #[test]
    fn shards_that_are_wanted_for_their_tables_may_share_cpus() {
        let few = MachineReadings { nofile: Some((1024, 20_000)), ..ample() };
        let check = |fd_tables| {
            let settings = PlannedServer { shards: 5, fd_tables, ..SETTINGS };
            short(&few, &CapacityDemand::new(59_000, &settings, &few))
        };
        assert_eq!(check(FdTables::Private), [""; 0]);
        assert_eq!(check(FdTables::Shared), ["RLIMIT_NOFILE", "cpus"]);
    }

    /// The law: what is in order here is what a server with the same settings takes.
    #[test]
    fn what_the_server_itself_does_not_take_is_short() {
        let many = MachineReadings { cpus: 5, nofile: Some((1024, 20_000)), ..ample() };
        let most = limits::MAX_DERIVED_CONNECTIONS;
        for (connections, max_connections, readings, expected) in [
            (1000, Some(1000), ample(), [].as_slice()),
            (1001, Some(1000), ample(), ["max-connections"].as_slice()),
            (most, None, roomy(), &[]),
            (most + 1, None, roomy(), &["max-connections"]),
            (most + 1, Some(most + 1), roomy(), &[]),
            // One table does not hold so many, and without a number the server has one.
            (59_000, None, many.clone(), &["max-connections"]),
            (59_000, Some(59_000), many, &[]),
        ] {
            let settings = PlannedServer { max_connections, ..SETTINGS };
            let wanted = CapacityDemand::new(connections, &settings, &readings);
            assert_eq!(short(&readings, &wanted), expected, "{connections} {max_connections:?}");
        }
    }

    #[test]
    fn administration_needs_descriptors_of_its_own() {
        let settings = PlannedServer { admin_addresses: 1, ..SETTINGS };
        let more =
            CapacityDemand::new(5000, &settings, &ample()).descriptors - wanted(5000).descriptors;
        assert_eq!(more, 1 + limits::ADMIN_CONNECTIONS as u64);
    }

    #[test]
    fn the_last_descriptor_decides() {
        let exact = MachineReadings { nofile: Some((1, wanted(5000).descriptors)), ..ample() };
        assert_eq!(short(&exact, &wanted(5000)), [""; 0]);
        assert_eq!(short(&exact, &wanted(5001)), ["RLIMIT_NOFILE"]);
        // The soft limit does not matter: the server raises it.
    }

    #[test]
    fn what_mends_a_limit_is_a_command_with_the_figure_that_is_needed() {
        let poor = MachineReadings {
            nofile: Some((1024, 20_000)),
            nr_open: Some(30_000),
            somaxconn: Some(128),
            tcp_memory_bytes: Some((0, 0)),
            ..ample()
        };
        let text = report(&poor, &wanted(100_000)).to_string();
        let need = wanted(100_000).descriptors;
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
    fn memory_of_tcp_is_asked_for_in_pages_of_this_machine() {
        let large =
            MachineReadings { page_bytes: Some(65_536), tcp_memory_bytes: Some((0, 0)), ..ample() };
        let text = report(&large, &wanted(100_000)).to_string();
        assert!(text.contains("net.ipv4.tcp_mem='4688 6250 9375'"), "{text}");
    }

    #[test]
    fn a_firewall_that_tracks_nothing_is_only_noted() {
        let idle = MachineReadings { conntrack: Some((0, 10)), ..ample() };
        assert_eq!(short(&idle, &wanted(1_000_000)), [""; 0]);
        let busy = MachineReadings { conntrack: Some((1, 10)), ..ample() };
        assert_eq!(short(&busy, &wanted(1_000_000)), ["net.netfilter.nf_conntrack_max"]);
    }

    #[test]
    fn the_words_of_a_line_stand_at_fixed_places() {
        let text = report(&ample(), &wanted(2_000_000)).to_string();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert!(["ok", "short", "unknown", "note"].contains(&words[0]), "{line}");
            assert_eq!((words[2], words[4]), ("have", "need"), "{line}");
            assert!(words[5].parse::<u64>().is_ok(), "{line}");
            assert_eq!(
                words[0] == "short",
                words.get(6).is_some_and(|w| ["sudo", "#"].contains(w))
            );
        }
    }

    #[test]
    fn what_the_system_does_not_tell_is_unknown_and_not_short() {
        let silent = MachineReadings { cpus: 4, ..MachineReadings::default() };
        let report = report(&silent, &wanted(1_000_000));
        assert!(!report.is_short());
        let unknown =
            report.lines.iter().filter(|line| line.status == LimitStatus::Unknown).count();
        // But for what the server takes, and its CPUs.
        assert_eq!(unknown, report.lines.len() - 2, "{report}");
    }
}
