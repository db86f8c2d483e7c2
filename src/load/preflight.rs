//! Looks, before a run, whether this machine can generate it, and names the exact command
//! where a limit stands in the way.

use super::engine::{CONNECTIONS_PER_SOURCE, SourceAddresses};
use super::scenario::MOST_THREADS;
use crate::sys::{descriptor_tables, descriptors};

/// Descriptors that the generator needs beside its connections.
const SPARE_DESCRIPTORS: u64 = 64;

/// What stands in the way of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsufficientLimit {
    /// What is too small.
    pub what: String,
    /// The command that helps.
    pub command: String,
}

impl std::fmt::Display for InsufficientLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; to change it: {}", self.what, self.command)
    }
}

/// Raises this process's own limit of descriptors as far as it may, and gives what it is now.
pub fn raise_limit() -> u64 {
    descriptors::raise_limit().unwrap_or(u64::MAX)
}

/// Checks whether so many connections can be opened by so many threads, of `limit` descriptors
/// each, from `sources`.
pub fn check(
    connections: u64,
    threads: u16,
    limit: u64,
    sources: &SourceAddresses,
    of_ipv6: bool,
) -> Vec<InsufficientLimit> {
    let tables = if threads > 1 && descriptor_tables::empty_works() { threads.into() } else { 1 };
    let mut obstacles: Vec<_> =
        descriptor_obstacle(connections, tables, limit, descriptors::ceiling())
            .into_iter()
            .collect();
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let ports = range.ok().and_then(|range| usable_ports(&range));
    let ports = ports.unwrap_or(CONNECTIONS_PER_SOURCE);
    obstacles.extend(port_obstacle(connections, sources, ports, of_ipv6));
    obstacles
}

/// Of the ports in `net.ipv4.ip_local_port_range` a tenth is left to everybody else.
fn usable_ports(range: &str) -> Option<u64> {
    let mut ends = range.split_ascii_whitespace().map(str::parse::<u64>);
    let (low, high) = (ends.next()?.ok()?, ends.next()?.ok()?);
    Some((high + 1).saturating_sub(low) * 9 / 10)
}

/// Users are dealt out to the threads by turns, so every table gets an equal share.
fn descriptor_obstacle(
    connections: u64,
    tables: u64,
    limit: u64,
    ceiling: Option<u64>,
) -> Option<InsufficientLimit> {
    let needed = connections.div_ceil(tables.max(1)) + SPARE_DESCRIPTORS;
    if needed <= limit {
        return None;
    }
    let each = if tables > 1 { " for each thread" } else { "" };
    let threads = connections.div_ceil(limit.saturating_sub(SPARE_DESCRIPTORS).max(1));
    let what = format!("{needed} descriptors are needed{each} and {limit} allowed");
    let ulimit = format!("ulimit -Hn {needed} && ulimit -Sn {needed}");
    let command = match ceiling {
        Some(ceiling) if ceiling < needed => {
            format!("sysctl -w fs.nr_open={needed} && {ulimit} (as root)")
        }
        _ => format!("{ulimit} (as root, in the shell that starts this)"),
    };
    let command = match threads <= MOST_THREADS.into() {
        true => format!("{command}; or --threads {threads}"),
        false => command,
    };
    Some(InsufficientLimit { what, command })
}

fn port_obstacle(
    connections: u64,
    sources: &SourceAddresses,
    ports: u64,
    of_ipv6: bool,
) -> Option<InsufficientLimit> {
    let capacity = sources.capacity(ports);
    if connections <= capacity {
        return None;
    }
    let what = format!(
        "{connections} connections need more than the {capacity} ports that are used of {}",
        if *sources == SourceAddresses::System { "one address" } else { "these addresses" }
    );
    let addresses = connections.div_ceil(CONNECTIONS_PER_SOURCE);
    let sysctl = "sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\" and --source none";
    let command = match of_ipv6 {
        true => format!("{sysctl}, or an IPv4 address of the server and --source"),
        false => format!(
            "--source with {addresses} addresses or more (on loopback --source 127.0.0.0/8), or \
             {sysctl}"
        ),
    };
    Some(InsufficientLimit { what, command })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_no_obstacle() {
        assert_eq!(descriptor_obstacle(900, 1, 1024, Some(4096)), None);
        assert_eq!(port_obstacle(25_000, &SourceAddresses::System, 25_408, false), None);
        // What the command asks for is enough for what it promises.
        let wide = usable_ports("1024\t65535\n").unwrap();
        assert_eq!(port_obstacle(58_000, &SourceAddresses::System, wide, false), None);
        assert_eq!(usable_ports("32768\t60999\n"), Some(25_408));
    }

    #[test]
    fn every_thread_has_the_whole_limit() {
        assert_eq!(descriptor_obstacle(3 * 19_936, 3, 20_000, None), None);
        let short = descriptor_obstacle(3 * 19_936 + 1, 3, 20_000, None).unwrap();
        assert!(short.what.contains("20001 descriptors are needed for each thread"), "{short}");
        assert!(short.command.ends_with("or --threads 4"), "{short}");
    }

    #[test]
    fn no_more_threads_are_advised_than_there_may_be() {
        let advised =
            |connections| descriptor_obstacle(connections, 1, 1024, None).unwrap().command;
        assert!(advised(256 * 960).ends_with("; or --threads 256"));
        assert!(!advised(256 * 960 + 1).contains("--threads"), "{}", advised(256 * 960 + 1));
    }

    #[test]
    fn each_obstacle_names_its_command() {
        let soft = descriptor_obstacle(5000, 1, 1024, Some(1_048_576)).unwrap();
        assert!(soft.command.contains("ulimit -Hn 5064 && ulimit -Sn 5064"), "{soft}");
        let hard = descriptor_obstacle(5000, 1, 1024, Some(4096)).unwrap();
        assert!(hard.command.starts_with("sysctl -w fs.nr_open=5064"), "{hard}");
        let ports =
            |of_ipv6| port_obstacle(60_000, &SourceAddresses::System, 25_408, of_ipv6).unwrap();
        assert!(ports(false).command.contains("--source with 3 addresses"), "{}", ports(false));
        assert!(!ports(true).command.contains("127.0.0.0"), "{}", ports(true));
    }
}
