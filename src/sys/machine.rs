//! The kernel limits and resources of the machine, read for `switchboard --check`. Called once, by the
//! main thread; changes nothing.
#![allow(unsafe_code)]

use super::affinity::AllowedCpus;
use super::descriptor_tables::{self, PrivateTableSupport};
use std::fs;
use std::io;
use std::path::Path;

/// The limits and resources of the machine. `None` where the kernel does not report a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineReadings {
    /// Soft and hard limit of open files of this process (`RLIMIT_NOFILE`, getrlimit(2)).
    pub nofile: Option<(u64, u64)>,
    /// `fs.nr_open`: the highest hard limit of open files (proc_sys_fs(5)).
    pub nr_open: Option<u64>,
    /// Open files of the whole machine, and `fs.file-max`, their limit.
    pub files: Option<(u64, u64)>,
    /// `fs.epoll.max_user_watches`: descriptors that one user may register (epoll(7)).
    pub epoll_watches: Option<u64>,
    /// `net.core.somaxconn`: the longest accept queue of a listener (listen(2)).
    pub somaxconn: Option<u64>,
    /// `net.ipv4.tcp_max_syn_backlog` (tcp(7)).
    pub syn_backlog: Option<u64>,
    /// Whether `net.ipv4.tcp_syncookies` is on.
    pub syn_cookies: Option<bool>,
    /// Size of a memory page, the unit of `net.ipv4.tcp_mem`.
    pub page_bytes: Option<u64>,
    /// The second and the third value of `net.ipv4.tcp_mem`, pressure and maximum, in bytes.
    pub tcp_memory_bytes: Option<(u64, u64)>,
    /// Memory that is available without swapping (`MemAvailable`, proc_meminfo(5)), or less if the
    /// control group or one of its ancestors allows less.
    pub memory_available_bytes: Option<u64>,
    /// CPUs that this process may use, by affinity and quota; at least 1.
    pub cpus: usize,
    /// Whether threads can have private descriptor tables.
    pub private_table_support: PrivateTableSupport,
    /// CPUs that are online.
    pub cpus_online: Option<usize>,
    /// Connections that the firewall tracks, and their limit; `None` without `nf_conntrack`.
    pub conntrack: Option<(u64, u64)>,
    /// `net.ipv4.ip_local_port_range`, which limits clients, not servers.
    pub local_ports: Option<(u64, u64)>,
}

/// Reads all of them.
pub fn read() -> MachineReadings {
    let page_bytes = page_bytes();
    MachineReadings {
        nofile: nofile().ok(),
        nr_open: number("fs/nr_open"),
        files: numbers("fs/file-nr").and_then(|all| Some((*all.first()?, *all.get(2)?))),
        epoll_watches: number("fs/epoll/max_user_watches"),
        somaxconn: number("net/core/somaxconn"),
        syn_backlog: number("net/ipv4/tcp_max_syn_backlog"),
        syn_cookies: number("net/ipv4/tcp_syncookies").map(|cookies| cookies != 0),
        page_bytes,
        tcp_memory_bytes: numbers("net/ipv4/tcp_mem").zip(page_bytes).and_then(|(pages, bytes)| {
            Some((pages.get(1)?.saturating_mul(bytes), pages.get(2)?.saturating_mul(bytes)))
        }),
        memory_available_bytes: memory_available(),
        cpus: AllowedCpus::of_current_thread().default_shards(),
        private_table_support: descriptor_tables::support(),
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

/// The size of a memory page.
pub(super) fn page_bytes() -> Option<u64> {
    // SAFETY: the call takes no pointers and changes nothing.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).ok().filter(|&bytes| bytes > 0)
}

fn cpus_online() -> Option<usize> {
    // SAFETY: the call takes no pointers and changes nothing.
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
    Some(memory_left_by_control_group().map_or(of_machine, |left| left.min(of_machine)))
}

fn meminfo_bytes(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find(|line| line.starts_with(name))?;
    Some(line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()?.saturating_mul(1024))
}

/// Memory that the limits of the process's control group leave (cgroup version 2).
fn memory_left_by_control_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    least_memory_left(Path::new("/sys/fs/cgroup"), path)
}

/// The least memory that `memory.max` leaves in the group or in one of its ancestors: a group's
/// limit applies to all groups below it.
fn least_memory_left(mount: &Path, group: &str) -> Option<u64> {
    let group = Path::new(group.trim_start_matches('/'));
    // A path that begins with `..` is outside of the mounted hierarchy.
    if group.starts_with("..") {
        return None;
    }
    group.ancestors().filter_map(|group| memory_left(&mount.join(group))).min()
}

/// Memory that `memory.max` of one group leaves. Page cache counts as available, as in
/// `MemAvailable`, because the kernel reclaims it before an allocation fails.
fn memory_left(group: &Path) -> Option<u64> {
    let text = |name: &str| fs::read_to_string(group.join(name)).ok();
    let number = |name: &str| text(name)?.trim().parse::<u64>().ok();
    let files = text("memory.stat").map_or(0, |table| file_bytes(&table));
    let used = number("memory.current")?.saturating_sub(files);
    Some(number("memory.max")?.saturating_sub(used))
}

/// `inactive_file` and `active_file` of a `memory.stat`.
fn file_bytes(table: &str) -> u64 {
    let bytes_of = |line: &str| {
        let (name, bytes) = line.split_once(' ')?;
        matches!(name, "inactive_file" | "active_file").then(|| bytes.parse::<u64>().ok())?
    };
    table.lines().filter_map(bytes_of).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_limits_that_every_linux_reports() {
        let readings = read();
        let (soft, hard) = readings.nofile.unwrap();
        assert!(soft <= hard && hard <= readings.nr_open.unwrap());
        let (used, most) = readings.files.unwrap();
        assert!(used > 0 && used < most);
        assert!(readings.memory_available_bytes.unwrap() > 1 << 20);
        assert!(readings.page_bytes.unwrap().is_power_of_two());
        assert!(readings.cpus >= 1 && readings.cpus <= readings.cpus_online.unwrap());
    }

    #[test]
    fn converts_meminfo_to_bytes() {
        let table = "MemTotal:       24 kB\nMemAvailable:    3 kB\n";
        assert_eq!(meminfo_bytes(table, "MemAvailable:"), Some(3072));
        assert_eq!(meminfo_bytes("MemTotal: 1 kB\n", "MemAvailable:"), None);
    }

    /// Writes the files of a control group.
    fn group(folder: &Path, most: &str, used: &str, stat: &str) {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in [("memory.max", most), ("memory.current", used), ("memory.stat", stat)]
        {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn takes_the_tightest_control_group_and_counts_page_cache_as_available() {
        let mount = std::env::temp_dir().join(format!("switchboard-groups-{}", std::process::id()));
        let files = "anon 30\nfile 65\ninactive_file 40\nactive_file 20\nactive_anon 9\n";
        group(&mount.join("a.slice/b.service"), "1000\n", "100\n", files);
        group(&mount.join("a.slice"), "max\n", "900\n", files);
        let left_in = |group: &str| least_memory_left(&mount, group);
        assert_eq!(left_in("/a.slice/b.service"), Some(960));
        assert_eq!(left_in("/a.slice"), None, "without a limit");
        group(&mount.join("a.slice"), "1000\n", "900\n", files);
        assert_eq!(left_in("/a.slice/b.service"), Some(160), "the limit of the slice");
        // In a container the mounted root is the container's own group.
        group(&mount, "500\n", "450\n", "");
        assert_eq!(left_in("/a.slice/b.service"), Some(50), "the limit of the container");
        assert_eq!(left_in("/"), Some(50));
        assert_eq!(left_in("/../elsewhere"), None, "outside of the mounted hierarchy");
        group(&mount, "500\n", "600\n", "");
        assert_eq!(left_in("/"), Some(0), "a limit that was lowered below the use");
        fs::remove_dir_all(&mount).unwrap();
    }
}
