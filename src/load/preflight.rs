//! Checks before a test whether the limits of this machine are high enough for the load, and names
//! the command that raises one that is too low.

use super::engine::{CONNECTIONS_PER_SOURCE, SourceAddresses};
use super::scenario::MAX_THREADS;
use crate::sys::{descriptor_tables, descriptors};
use std::net::SocketAddr;

/// Descriptors that the generator needs in addition to those of its connections.
const OTHER_DESCRIPTORS: u64 = 64;

/// A limit of this machine that is too low for the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsufficientLimit {
    /// The limit and what is needed.
    pub reason: String,
    /// The command that raises the limit, or avoids it.
    pub command: String,
}

impl std::fmt::Display for InsufficientLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; to raise the limit: {}", self.reason, self.command)
    }
}

/// Raises the soft limit of descriptors of this process to the hard limit. Returns the limit.
pub fn raise_limit() -> u64 {
    descriptors::raise_limit().unwrap_or(u64::MAX)
}

/// Checks whether `threads` threads, each with a limit of `limit` descriptors, can open
/// `connections` connections from `sources` to `servers`. Returns the limits that are too low.
pub fn check(
    connections: u64,
    threads: u16,
    limit: u64,
    sources: &SourceAddresses,
    servers: &[SocketAddr],
) -> Vec<InsufficientLimit> {
    let tables = if threads > 1 && descriptor_tables::empty_works() { threads.into() } else { 1 };
    let mut too_low: Vec<_> =
        descriptor_limit(connections, tables, limit, descriptors::ceiling()).into_iter().collect();
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let ports = range.ok().and_then(|range| usable_ports(&range));
    let ports = ports.unwrap_or(CONNECTIONS_PER_SOURCE);
    // A port can be used once for each address of the server.
    let to_each = connections.div_ceil(servers.len().max(1) as u64);
    let is_ipv6 = servers.iter().all(SocketAddr::is_ipv6);
    too_low.extend(port_limit(to_each, sources, ports, is_ipv6));
    too_low
}

/// The ports of `net.ipv4.ip_local_port_range` without a tenth, which remains for other programs.
fn usable_ports(range: &str) -> Option<u64> {
    let mut ends = range.split_ascii_whitespace().map(str::parse::<u64>);
    let (low, high) = (ends.next()?.ok()?, ends.next()?.ok()?);
    Some((high + 1).saturating_sub(low) * 9 / 10)
}

/// Users are assigned to the threads in rotation, so every descriptor table gets an equal share.
fn descriptor_limit(
    connections: u64,
    tables: u64,
    limit: u64,
    ceiling: Option<u64>,
) -> Option<InsufficientLimit> {
    let needed = connections.div_ceil(tables.max(1)) + OTHER_DESCRIPTORS;
    if needed <= limit {
        return None;
    }
    let per_thread = if tables > 1 { " for each thread" } else { "" };
    let threads = connections.div_ceil(limit.saturating_sub(OTHER_DESCRIPTORS).max(1));
    let reason = format!("{needed} descriptors are needed{per_thread}, but the limit is {limit}");
    let ulimit = format!("ulimit -Hn {needed} && ulimit -Sn {needed}");
    let command = match ceiling {
        Some(ceiling) if ceiling < needed => {
            format!("sysctl -w fs.nr_open={needed} && {ulimit} (as root)")
        }
        _ => format!("{ulimit} (as root, in the shell that starts the test)"),
    };
    let command = match threads <= MAX_THREADS.into() {
        true => format!("{command}; or --threads {threads}"),
        false => command,
    };
    Some(InsufficientLimit { reason, command })
}

fn port_limit(
    connections: u64,
    sources: &SourceAddresses,
    ports: u64,
    is_ipv6: bool,
) -> Option<InsufficientLimit> {
    let capacity = sources.capacity(ports);
    if connections <= capacity {
        return None;
    }
    let reason = format!(
        "{connections} connections are needed, but only {capacity} ports are available from {}",
        if *sources == SourceAddresses::System { "one address" } else { "these addresses" }
    );
    let addresses = connections.div_ceil(CONNECTIONS_PER_SOURCE);
    let sysctl = "sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\" and --source none";
    let command = match is_ipv6 {
        true => format!("{sysctl}, or an IPv4 address of the server and --source"),
        false => format!(
            "--source with {addresses} addresses or more (on loopback --source 127.0.0.0/8), or \
             {sysctl}"
        ),
    };
    Some(InsufficientLimit { reason, command })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sufficient_limits_are_accepted() {
        assert_eq!(descriptor_limit(900, 1, 1024, Some(4096)), None);
        assert_eq!(port_limit(25_000, &SourceAddresses::System, 25_408, false), None);
        // The limits in the commands are sufficient for the connections they are given for.
        let wide = usable_ports("1024\t65535\n").unwrap();
        assert_eq!(port_limit(58_000, &SourceAddresses::System, wide, false), None);
        assert_eq!(usable_ports("32768\t60999\n"), Some(25_408));
    }

    #[test]
    fn the_descriptor_limit_applies_to_each_thread() {
        assert_eq!(descriptor_limit(3 * 19_936, 3, 20_000, None), None);
        let short = descriptor_limit(3 * 19_936 + 1, 3, 20_000, None).unwrap();
        assert!(short.reason.contains("20001 descriptors are needed for each thread"), "{short}");
        assert!(short.command.ends_with("or --threads 4"), "{short}");
    }

    #[test]
    fn recommends_no_more_threads_than_allowed() {
        let command = |connections| descriptor_limit(connections, 1, 1024, None).unwrap().command;
        assert!(command(256 * 960).ends_with("; or --threads 256"));
        assert!(!command(256 * 960 + 1).contains("--threads"), "{}", command(256 * 960 + 1));
    }

    #[test]
    fn each_limit_that_is_too_low_comes_with_a_command() {
        let soft = descriptor_limit(5000, 1, 1024, Some(1_048_576)).unwrap();
        assert!(soft.command.contains("ulimit -Hn 5064 && ulimit -Sn 5064"), "{soft}");
        let hard = descriptor_limit(5000, 1, 1024, Some(4096)).unwrap();
        assert!(hard.command.starts_with("sysctl -w fs.nr_open=5064"), "{hard}");
        let ports =
            |is_ipv6| port_limit(60_000, &SourceAddresses::System, 25_408, is_ipv6).unwrap();
        assert!(ports(false).command.contains("--source with 3 addresses"), "{}", ports(false));
        assert!(!ports(true).command.contains("127.0.0.0"), "{}", ports(true));
    }
}
