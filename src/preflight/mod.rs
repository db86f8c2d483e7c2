//! `--check`: compares the machine's limits with what a number of connections needs, and gives the
//! command that raises each limit. Pure: the machine is passed in as [`MachineReadings`], the result
//! is text.
//!
//! Each line of a [`PreflightReport`] can be read by people and by `awk`: words separated by spaces.
//! The first word is the status, the second the limit's name, the fourth the present value, the sixth
//! the needed value, which is `-` if nothing is needed, and all from the seventh on the advice.

mod demand;

pub use demand::{CapacityDemand, PlannedServer};

use crate::limits;
use crate::sys::machine::MachineReadings;
use std::fmt;

/// Kernel memory of one idle connection: socket, file and their bookkeeping. Half of what a million
/// connections used with both ends on one machine (scripts/max-connections.sh).
pub const KERNEL_BYTES_PER_CONNECTION: u64 = 4864;
/// Memory that TCP may use for each connection below its pressure threshold: one page, enough for a
/// small message in each direction.
pub const TCP_BYTES_PER_CONNECTION: u64 = 4096;
/// Connections for which one CPU is enough. With the default ping interval, a million silent sessions
/// take 41 % to 99 % of one CPU (scripts/max-connections.sh), so three quarters of it are left for
/// opening sessions and relaying messages.
pub const CONNECTIONS_PER_CPU: u64 = 250_000;
/// Memory of the process without connections, including its threads' stacks and buffers.
const PROCESS_BYTES: u64 = 32 << 20;
/// After a restart all clients reconnect within a few seconds. An accept queue must hold one in this
/// many of them while its thread is busy with the others.
const RECONNECTING_FRACTION: u64 = 16;
/// Shortest accept queue that is asked for: Linux' default since 5.4.
const MIN_ACCEPT_QUEUE: u64 = 4096;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitStatus {
    /// The limit is high enough.
    Ok,
    /// The limit is too low.
    Short,
    /// The kernel does not report the limit.
    Unknown,
    /// Information that needs no action.
    Note,
}

/// The check of one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitCheck {
    /// The result.
    pub status: LimitStatus,
    /// Name of the limit, without spaces.
    pub name: &'static str,
    /// Present value, if it is known.
    pub have: Option<u64>,
    /// Needed value; `None` if the connections need nothing of it.
    pub need: Option<u64>,
    /// The command that raises the limit, or a remark; empty if there is nothing to do.
    pub advice: String,
}

/// The checks of all limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreflightReport {
    /// The checks, in the order in which the limits have to be raised.
    pub checks: Vec<LimitCheck>,
}

impl PreflightReport {
    /// Whether any limit is short.
    pub fn is_short(&self) -> bool {
        self.checks.iter().any(|check| check.status == LimitStatus::Short)
    }
}

impl fmt::Display for PreflightReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let status = match check.status {
                LimitStatus::Ok => "ok",
                LimitStatus::Short => "short",
                LimitStatus::Unknown => "unknown",
                LimitStatus::Note => "note",
            };
            let have = check.have.map_or("?".to_owned(), |have| have.to_string());
            let need = check.need.map_or("-".to_owned(), |need| need.to_string());
            let (name, advice) = (check.name, &check.advice);
            let values = format!("{status:<7} {name:<31} have {have:<12} need {need:<12}");
            writeln!(f, "{}", format!("{values} {advice}").trim_end())?;
        }
        Ok(())
    }
}

/// Compares the machine with the demand.
pub fn report(readings: &MachineReadings, demand: &CapacityDemand) -> PreflightReport {
    let mut checks = vec![check_server_limit(demand)];
    checks.extend(check_descriptors(readings, demand));
    checks.extend(check_network(readings, demand));
    checks.extend(check_machine(readings, demand));
    PreflightReport { checks }
}

/// The connection limit of the server itself.
fn check_server_limit(demand: &CapacityDemand) -> LimitCheck {
    let need = demand.connections;
    let advice = format!("# start the server with --max-connections {need}");
    at_least("max-connections", Some(demand.accepted_by_server), need, advice)
}

fn check_descriptors(readings: &MachineReadings, demand: &CapacityDemand) -> Vec<LimitCheck> {
    let (need, all) = (demand.descriptors_in_fullest_table, demand.descriptors);
    let hard = readings.nofile.map(|(_, hard)| hard);
    let raise = format!(
        "sudo prlimit --pid $$ --nofile={need}:{need}   # in a systemd unit: LimitNOFILE={need}"
    );
    let used = readings.files.map_or(0, |(used, _)| used);
    let private = demand.private_tables.map(|is_supported| {
        let advice = "# needs Linux 6.9 or later; or use --fd-tables shared".to_owned();
        at_least("private-fd-tables", Some(is_supported.into()), 1, advice)
    });
    let limits = [
        // RLIMIT_NOFILE cannot be raised above this one, so this one comes first.
        at_least("fs.nr_open", readings.nr_open, need, sysctl("fs.nr_open", need)),
        at_least("RLIMIT_NOFILE", hard, need, raise),
        at_least(
            "fs.file-max",
            readings.files.map(|(_, max)| max),
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

fn check_network(readings: &MachineReadings, demand: &CapacityDemand) -> Vec<LimitCheck> {
    let queue = (demand.connections / RECONNECTING_FRACTION / demand.shards.max(1))
        .clamp(MIN_ACCEPT_QUEUE, limits::LISTEN_BACKLOG as u64);
    let mut checks = vec![at_least(
        "net.core.somaxconn",
        readings.somaxconn,
        queue,
        sysctl("net.core.somaxconn", queue) + "   # then restart the server",
    )];
    // With SYN cookies the kernel ignores this limit.
    if readings.syn_cookies != Some(true) {
        let name = "net.ipv4.tcp_max_syn_backlog";
        checks.push(at_least(name, readings.syn_backlog, queue, sysctl(name, queue)));
    }
    checks.push(check_tcp_memory(readings, demand));
    checks.extend(check_conntrack(readings, demand));
    if let Some((first, last)) = readings.local_ports {
        checks.push(LimitCheck {
            status: LimitStatus::Note,
            name: "ip_local_port_range",
            have: Some((last + 1).saturating_sub(first)),
            need: None,
            advice: "limits the connections from one client address, such as a load tester's or \
                     a proxy's; it does not limit the server"
                .to_owned(),
        });
    }
    checks
}

fn check_tcp_memory(readings: &MachineReadings, demand: &CapacityDemand) -> LimitCheck {
    let need = demand.connections * TCP_BYTES_PER_CONNECTION;
    // `net.ipv4.tcp_mem` is in pages: low, pressure, maximum.
    let pages = |bytes: u64| bytes.div_ceil(readings.page_bytes.unwrap_or(4096));
    let (low, max) = (pages(need / 4 * 3), pages(need / 2 * 3));
    let advice = format!("sudo sysctl -w net.ipv4.tcp_mem='{low} {} {max}'", pages(need));
    let pressure = readings.tcp_memory_bytes.map(|(pressure, _)| pressure);
    at_least("net.ipv4.tcp_mem[1]-bytes", pressure, need, advice)
}

fn check_conntrack(readings: &MachineReadings, demand: &CapacityDemand) -> Option<LimitCheck> {
    let (tracked, max) = readings.conntrack?;
    let name = "net.netfilter.nf_conntrack_max";
    let need = tracked + demand.connections;
    let mut check = at_least(name, Some(max), need, sysctl(name, need));
    // The module may be loaded without a firewall rule that tracks connections.
    if tracked == 0 && check.status == LimitStatus::Short {
        check.status = LimitStatus::Note;
        check.advice = "limits connections as soon as a firewall rule tracks them".to_owned();
    }
    Some(check)
}

fn check_machine(readings: &MachineReadings, demand: &CapacityDemand) -> Vec<LimitCheck> {
    let bytes_each = KERNEL_BYTES_PER_CONNECTION + limits::CONNECTION_ENTRY_BYTES as u64;
    let need = demand.connections * bytes_each + PROCESS_BYTES;
    let possible = connections_that_fit(readings, bytes_each);
    vec![
        at_least(
            "memory-available-bytes",
            readings.memory_available_bytes,
            need,
            format!("# more memory, or --max-connections {possible}"),
        ),
        check_cpus(readings, demand),
    ]
}

/// The CPUs that the process may use, for the connections. The number of shards is the operator's
/// choice: several may share a CPU, for example to have more descriptor tables.
fn check_cpus(readings: &MachineReadings, demand: &CapacityDemand) -> LimitCheck {
    let cpus = readings.cpus as u64;
    let online = readings.cpus_online.unwrap_or(readings.cpus) as u64;
    let need = demand.connections.div_ceil(CONNECTIONS_PER_CPU);
    let fewer = format!("# more CPUs, or --max-connections {}", cpus * CONNECTIONS_PER_CPU);
    let mut check = at_least("cpus", Some(cpus), need, fewer);
    if check.status == LimitStatus::Ok && cpus < online {
        check.advice =
            format!("of {online} online: see CPUAffinity=, CPUQuota= and AllowedCPUs= of the unit");
    }
    if check.status == LimitStatus::Ok && demand.shards > cpus {
        check.status = LimitStatus::Note;
        check.advice = format!("fewer CPUs than the {} shards: several share one", demand.shards);
    }
    check
}

/// Connections for which the available memory is enough.
fn connections_that_fit(readings: &MachineReadings, bytes_each: u64) -> u64 {
    let available = readings.memory_available_bytes.unwrap_or(0);
    available.saturating_sub(PROCESS_BYTES) / bytes_each
}

fn at_least(name: &'static str, have: Option<u64>, need: u64, advice: String) -> LimitCheck {
    let (status, advice) = match have {
        Some(have) if have >= need => (LimitStatus::Ok, String::new()),
        Some(_) => (LimitStatus::Short, advice),
        None => (LimitStatus::Unknown, String::new()),
    };
    LimitCheck { status, name, have, need: Some(need), advice }
}

fn sysctl(name: &str, value: u64) -> String {
    format!("sudo sysctl -w {name}={value}")
}

#[cfg(test)]
mod tests;
