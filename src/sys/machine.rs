//! What the machine allows, read for `switchboard --check`. The main thread reads it once;
//! nothing is changed.
#![allow(unsafe_code)]

use super::affinity::AllowedCpus;
use super::tables::{self, Support};
use std::fs;
use std::io;

/// The machine at one moment. `None` where the system does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// Soft and hard limit of open files of this process (`RLIMIT_NOFILE`, getrlimit(2)).
    pub nofile: Option<(u64, u64)>,
    /// `fs.nr_open`: the highest hard limit a process may be given (proc_sys_fs(5)).
    pub nr_open: Option<u64>,
    /// Open files of the whole machine, and `fs.file-max`, the most there may be.
    pub files: Option<(u64, u64)>,
    /// `fs.epoll.max_user_watches`: sockets that one user may watch (epoll(7)).
    pub epoll_watches: Option<u64>,
    /// `net.core.somaxconn`: the longest accept queue of a listener (listen(2)).
    pub somaxconn: Option<u64>,
    /// `net.ipv4.tcp_max_syn_backlog` (tcp(7)).
    pub syn_backlog: Option<u64>,
    /// Whether `net.ipv4.tcp_syncookies` is on.
    pub syn_cookies: Option<bool>,
    /// `net.ipv4.tcp_mem`, the pressure mark and the top, in bytes.
    pub tcp_memory_bytes: Option<(u64, u64)>,
    /// Memory that can be had without swapping (`MemAvailable`, proc_meminfo(5)), or less where
    /// the control group allows less.
    pub memory_available_bytes: Option<u64>,
    /// CPUs that this process may use, by affinity and quota; at least 1.
    pub cpus: usize,
    /// Whether threads can have descriptor tables of their own.
    pub private_tables: Support,
    /// CPUs that are online.
    pub cpus_online: Option<usize>,
    /// Connections tracked by the firewall and the most it tracks, where it tracks at all
    /// (`nf_conntrack`).
    pub conntrack: Option<(u64, u64)>,
    /// `net.ipv4.ip_local_port_range`, which bounds clients, not servers.
    pub local_ports: Option<(u64, u64)>,
}

/// Reads them all.
pub fn read() -> Readings {
    let page_bytes = page_bytes();
    Readings {
        nofile: nofile().ok(),
        nr_open: number("fs/nr_open"),
        files: numbers("fs/file-nr").and_then(|all| Some((*all.first()?, *all.get(2)?))),
        epoll_watches: number("fs/epoll/max_user_watches"),
        somaxconn: number("net/core/somaxconn"),
        syn_backlog: number("net/ipv4/tcp_max_syn_backlog"),
        syn_cookies: number("net/ipv4/tcp_syncookies").map(|cookies| cookies != 0),
        tcp_memory_bytes: numbers("net/ipv4/tcp_mem").and_then(|pages| {
            Some((
                pages.get(1)?.saturating_mul(page_bytes),
                pages.get(2)?.saturating_mul(page_bytes),
            ))
        }),
        memory_available_bytes: memory_available(),
        cpus: AllowedCpus::here().default_shards(),
        private_tables: tables::support(),
        cpus_online: cpus_online(),
        conntrack: number("net/netfilter/nf_conntrack_count")
            .zip(number("net/netfilter/nf_conntrack_max")),
        local_ports: numbers("net/ipv4/ip_local_port_range")
            .and_then(|ports| Some((*ports.first()?, *ports.get(1)?))),
    }
}

fn nofile() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live, writable rlimit for the whole call.
    let outcome = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((limit.rlim_cur, limit.rlim_max))
}

fn page_bytes() -> u64 {
    // SAFETY: sysconf only looks a number up.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

fn cpus_online() -> Option<usize> {
    // SAFETY: sysconf only looks a number up.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(online).ok().filter(|&online| online > 0)
}

fn numbers(sysctl: &str) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/sys/{sysctl}")).ok()?;
    text.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
}

fn number(sysctl: &str) -> Option<u64> {
    numbers(sysctl)?.first().copied()
}

fn memory_available() -> Option<u64> {
    let table = fs::read_to_string("/proc/meminfo").ok()?;
    let of_machine = meminfo_bytes(&table, "MemAvailable:")?;
    Some(control_group_room().map_or(of_machine, |room| room.min(of_machine)))
}

fn meminfo_bytes(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find(|line| line.starts_with(name))?;
    Some(line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()?.saturating_mul(1024))
}

/// What `memory.max` of the process's own control group leaves (cgroup version 2).
fn control_group_room() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let figure = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/sys/fs/cgroup{path}/{name}")).ok()?.trim().parse().ok()
    };
    Some(figure("memory.max")?.saturating_sub(figure("memory.current")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_tells_what_every_linux_tells() {
        let readings = read();
        let (soft, hard) = readings.nofile.unwrap();
        assert!(soft <= hard && hard <= readings.nr_open.unwrap());
        let (used, most) = readings.files.unwrap();
        assert!(used > 0 && used < most);
        assert!(readings.memory_available_bytes.unwrap() > 1 << 20);
        assert!(readings.cpus >= 1 && readings.cpus <= readings.cpus_online.unwrap());
    }

    #[test]
    fn memory_is_told_in_bytes() {
        let table = "MemTotal:       24 kB\nMemAvailable:    3 kB\n";
        assert_eq!(meminfo_bytes(table, "MemAvailable:"), Some(3072));
        assert_eq!(meminfo_bytes("MemTotal: 1 kB\n", "MemAvailable:"), None);
    }
}
