//! Reads what the kernel knows about the server's process, when it runs on this machine.

use super::interval_log::ServerSample;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

/// CPU time in /proc is counted in ticks (USER_HZ, proc(5)); there are 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Memory in statm is counted in pages.
const PAGE_BYTES: u64 = 4096;

/// Finds the process on this machine that listens on the server's port.
pub fn find_process(address: SocketAddr) -> Option<u32> {
    if !is_local(address) {
        return None;
    }
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::File::open(path).ok())
        .flat_map(|table| listening_inodes(BufReader::new(table), address.port()))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        // Threads may have descriptor tables of their own (unshare(2)).
        let threads = fs::read_dir(entry.path().join("task")).ok()?.filter_map(Result::ok);
        threads.into_iter().any(|thread| has_socket(&thread.path(), &sockets)).then_some(pid)
    })
}

/// Whether a thread's descriptor table contains one of these sockets.
fn has_socket(thread: &Path, sockets: &[String]) -> bool {
    let Ok(table) = fs::read_dir(thread.join("fd")) else { return false };
    table.filter_map(Result::ok).any(|fd| {
        fs::read_link(fd.path())
            .is_ok_and(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
    })
}

/// Whether an address belongs to this machine, so that a socket can be bound to it.
fn is_local(address: SocketAddr) -> bool {
    UdpSocket::bind((address.ip(), 0)).is_ok()
}

/// Inodes of the sockets in a kernel table that listen (state 0A) on `port`. Listening sockets come
/// first (Documentation/networking/proc_net_tcp.rst), and the rest is not read: with a million
/// connections the whole table takes minutes.
fn listening_inodes(table: impl BufRead, port: u16) -> Vec<String> {
    let listener = |line: String| {
        let mut fields = line.split_ascii_whitespace();
        let (local, state) = (fields.nth(1)?, fields.nth(1)?);
        let local_port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (state == "0A").then_some((local_port, fields.nth(5)?.to_owned()))
    };
    let lines = table.lines().skip(1).map_while(Result::ok);
    let listening = lines.map_while(listener);
    listening.filter(|(local_port, _)| *local_port == port).map(|(_, inode)| inode).collect()
}

/// CPU seconds of a process since it started.
pub fn process_cpu_s(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain spaces; fields 14 and 15 are user and system time.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split_ascii_whitespace().collect();
    let ticks: f64 = [11, 12].iter().filter_map(|i| fields.get(*i)?.parse::<f64>().ok()).sum();
    Some(ticks / TICKS_PER_SECOND)
}

/// Reads the CPU time, memory and descriptors of a process.
pub fn read_process(pid: u32) -> Option<ServerSample> {
    let cpu_s = Some(process_cpu_s(pid)?);
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // Since Linux 6.2 the directory's size is the number of descriptors; before, it is 0.
    let directory = format!("/proc/{pid}/fd");
    let size = fs::metadata(&directory).ok().map(|fd| fd.len()).filter(|len| *len > 0);
    let descriptors = size.or_else(|| Some(fs::read_dir(&directory).ok()?.count() as u64));
    Some(ServerSample {
        cpu_s,
        memory_bytes: Some(pages * PAGE_BYTES),
        descriptors,
        ..ServerSample::default()
    })
}

/// Whether a process runs; a zombie does not.
pub fn process_is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rfind(')').and_then(|end| stat.get(end + 2..end + 3));
    state.is_some_and(|state| state != "Z" && state != "X")
}

/// The soft limit of open files of a process (proc_pid_limits(5)).
pub fn descriptor_limit(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_ascii_whitespace().nth(3)?.parse().ok()
}

/// Connections that the kernel has dropped since boot because an accept queue was full
/// (`ListenDrops` in proc_net(5) netstat).
pub fn accept_queue_drops() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/netstat").ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let at = lines.next()?.split(' ').position(|name| name == "ListenDrops")?;
    lines.next()?.split(' ').nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_socket_table_only_up_to_the_last_listener() {
        let line = |slot, port, state, inode| {
            format!(
                "{slot:4}: 0100007F:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 \
                 00000000     0        0 {inode} 1 0000000000000000 100 0 0 10 0\n"
            )
        };
        let listeners = [(8080, 11), (8081, 12), (8080, 13)];
        let mut table = "  sl  local_address rem_address   st ...\n".to_owned();
        for (slot, (port, inode)) in (0..).zip(listeners) {
            table += &line(slot, port, "0A", inode);
        }
        for slot in 3..1_000 {
            table += &line(slot, 8080, "01", 1_000 + slot);
        }
        let mut rest = table.as_bytes();
        assert_eq!(listening_inodes(&mut rest, 8080), ["11", "13"]);
        assert_eq!(rest.len(), table[table.find("   4:").unwrap()..].len());
        assert!(listening_inodes(table.as_bytes(), 8082).is_empty());
        assert!(listening_inodes(&b""[..], 8080).is_empty());
    }

    #[test]
    fn finds_this_process_by_a_port_that_it_listens_on() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(find_process(address), Some(std::process::id()));
        let figures = read_process(std::process::id()).unwrap();
        assert!(figures.memory_bytes > Some(100_000) && figures.descriptors > Some(3));
        assert!(descriptor_limit(std::process::id()) > Some(10));
    }
}
