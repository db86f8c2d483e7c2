//! Watches the server from outside: its `/stats`, and `/proc` when it runs on this machine.
//!
//! A thread of its own asks once an interval; the conductor takes the latest answer. Servers
//! name their figures differently, so `/stats` is read leniently: every number in it, by the
//! end of its path, and what is not there is not there.

use super::interval_log::ServerSample;
use super::target_address::{TargetAddress, http_get};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// CPU time in /proc is counted in these (USER_HZ, proc(5)); it is 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Memory in statm is counted in pages.
const PAGE_BYTES: u64 = 4096;

/// Every number in a JSON text, by its path with dots.
pub fn numbers(json: &[u8]) -> BTreeMap<String, f64> {
    serde_json::from_slice(json).map(|value| numbers_in(&value)).unwrap_or_default()
}

fn numbers_in(value: &serde_json::Value) -> BTreeMap<String, f64> {
    fn walk(value: &serde_json::Value, path: &str, into: &mut BTreeMap<String, f64>) {
        match value {
            serde_json::Value::Object(members) => {
                for (name, value) in members {
                    let path =
                        if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(value, &path, into);
                }
            }
            other => {
                if let Some(number) = other.as_f64() {
                    into.insert(path.to_owned(), number);
                }
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(value, "", &mut all);
    all
}

/// What `member` of each of the server's shards is, if it tells of any.
fn of_shards<'a>(
    stats: &'a serde_json::Value,
    member: &'a str,
) -> impl Iterator<Item = Option<f64>> + 'a {
    let shards = stats["shards"].as_array().into_iter().flatten();
    shards.map(move |shard| shard[member].as_f64())
}

/// The first of `names` that a path is or ends with, in the order of `names`.
fn find(numbers: &BTreeMap<String, f64>, names: &[&str]) -> Option<f64> {
    names
        .iter()
        .find_map(|name| {
            let suffix = format!(".{name}");
            let exact = numbers.get(*name);
            exact.or_else(|| {
                numbers.iter().find(|(path, _)| path.ends_with(&suffix)).map(|(_, n)| n)
            })
        })
        .copied()
}

/// Reads what is of use out of a `/stats` answer.
pub fn read_stats(json: &[u8]) -> ServerSample {
    let stats: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let numbers = numbers_in(&stats);
    let whole = |names: &[&str]| find(&numbers, names).map(|n| n.max(0.0) as u64);
    let user =
        find(&numbers, &["cpu_user_s", "cpu_user_seconds", "cpu.user_s", "cpu.user_seconds"]);
    let system = find(
        &numbers,
        &["cpu_system_s", "cpu_system_seconds", "cpu.system_s", "cpu.system_seconds"],
    );
    let cpu_s = match (user, system) {
        (Some(user), Some(system)) => Some(user + system),
        _ => find(&numbers, &["cpu_seconds_total", "cpu_seconds", "cpu_s", "cpu.total_s"]),
    };
    ServerSample {
        cpu_s,
        cpu_percent: find(&numbers, &["cpu_percent", "cpu.percent"]),
        busiest_shard_percent: of_shards(&stats, "cpu_percent").flatten().reduce(f64::max),
        memory_bytes: whole(&["resident_bytes", "rss_bytes", "memory_bytes", "rss"]),
        descriptors: whole(&["descriptors_used", "descriptors", "open_fds", "fds"]),
        connections: whole(&["connections.active", "connections.open", "connections"]),
        waiting: whole(&["waiting", "waiting_users", "tickets"]),
        rooms: whole(&["rooms.active", "rooms.open", "rooms"]),
        relayed: whole(&["messages.relayed", "messages_relayed", "relayed"]),
        bytes_in: whole(&["wire_received", "bytes_received", "bytes_in"]),
        bytes_out: whole(&["wire_sent", "bytes_sent", "bytes_out"]),
    }
}

/// Why the server's own figures will be missing from the report; `None` if they are there.
pub fn explain_missing_stats(stats: Option<&TargetAddress>) -> Option<String> {
    let Some(place) = stats else { return Some("they were not asked for".to_owned()) };
    let url = format!("http://{}{}", place.host, place.path);
    match http_get(place, &place.path) {
        Err(error) => Some(format!("{url}: {error}")),
        Ok((200, body)) => (read_stats(&body) == ServerSample::default())
            .then(|| format!("{url} tells none that are known")),
        Ok((status, _)) => Some(format!("{url} was answered with {status}")),
    }
}

/// Finds the process on this machine that listens on the server's port.
pub fn find_process(address: SocketAddr) -> Option<u32> {
    if !is_here(address) {
        return None;
    }
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::File::open(path).ok())
        .flat_map(|table| listening_inodes(BufReader::new(table), address.port()))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        // Threads may have descriptor tables of their own (unshare(2)).
        let threads = fs::read_dir(entry.path().join("task")).ok()?.filter_map(Result::ok);
        threads.into_iter().any(|thread| holds(&thread.path(), &inodes)).then_some(pid)
    })
}

/// Whether a thread's table holds one of these sockets.
fn holds(thread: &Path, sockets: &[String]) -> bool {
    let Ok(table) = fs::read_dir(thread.join("fd")) else { return false };
    table.filter_map(Result::ok).any(|fd| {
        fs::read_link(fd.path())
            .is_ok_and(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
    })
}

/// What a server says that it may use. What it does not tell is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerCapacity {
    /// Descriptors, in all its tables.
    pub descriptors: Option<u64>,
    /// CPUs that its shards are pinned to, if all are.
    pub cpus: Option<u64>,
}

/// Asks a server what it may use.
pub fn server_capacity(stats: &TargetAddress) -> ServerCapacity {
    match http_get(stats, &stats.path) {
        Ok((200, body)) => read_room(&body),
        Ok(_) | Err(_) => ServerCapacity::default(),
    }
}

fn read_room(json: &[u8]) -> ServerCapacity {
    let stats: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let told = find(&numbers_in(&stats), &["descriptors_allowed", "max_fds"]);
    let pinned: Option<BTreeSet<u64>> =
        of_shards(&stats, "cpu").map(|cpu| cpu.map(|number| number as u64)).collect();
    ServerCapacity {
        descriptors: told.filter(|told| *told > 0.0).map(|told| told as u64),
        cpus: pinned.map(|cpus| cpus.len() as u64).filter(|cpus| *cpus > 0),
    }
}

/// Whether an address belongs to this machine: then a socket can be bound to it.
fn is_here(address: SocketAddr) -> bool {
    std::net::UdpSocket::bind((address.ip(), 0)).is_ok()
}

/// Inodes of the sockets in a table of the kernel's that listen (state 0A) on `port`. It lists
/// these first (Documentation/networking/proc_net_tcp.rst), and is read no further: among a
/// million connections all of it takes minutes.
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

/// Reads a process's figures from /proc.
pub fn read_process(pid: u32) -> Option<ServerSample> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces; fields 14 and 15 are user and system time.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split_ascii_whitespace().collect();
    let ticks: f64 = [11, 12].iter().filter_map(|i| fields.get(*i)?.parse::<f64>().ok()).sum();
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // Since Linux 6.2 the directory's size is the number of descriptors; before, it is 0.
    let directory = format!("/proc/{pid}/fd");
    let quick = fs::metadata(&directory).ok().map(|fd| fd.len()).filter(|len| *len > 0);
    let descriptors = quick.or_else(|| Some(fs::read_dir(&directory).ok()?.count() as u64));
    Some(ServerSample {
        cpu_s: Some(ticks / TICKS_PER_SECOND),
        memory_bytes: Some(pages * PAGE_BYTES),
        descriptors,
        ..ServerSample::default()
    })
}

/// Whether a process still runs: one that has ended and is waited for by nobody does not.
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

/// Connections that the kernel dropped because an accept queue was full, since boot
/// (`ListenDrops` in proc_net(5) netstat).
pub fn accept_queue_drops() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/netstat").ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let at = lines.next()?.split(' ').position(|name| name == "ListenDrops")?;
    lines.next()?.split(' ').nth(at)?.parse().ok()
}

/// Looks at the server again and again, in a thread of its own.
pub struct ServerMonitor {
    latest: Arc<Mutex<ServerSample>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// The server's process, if it is on this machine.
    pub pid: Option<u32>,
}

impl ServerMonitor {
    /// Begins to look every `interval`, at `stats` and at the process `pid`, as far as there
    /// are any.
    pub fn start(
        stats: Option<TargetAddress>,
        pid: Option<u32>,
        interval: Duration,
    ) -> ServerMonitor {
        let latest = Arc::new(Mutex::new(look(stats.as_ref(), pid, None)));
        let stop = Arc::new(AtomicBool::new(false));
        let (to, stopped) = (Arc::clone(&latest), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("probe".to_owned()).spawn(move || {
            let mut before = None;
            while !stopped.load(Ordering::Relaxed) {
                std::thread::park_timeout(interval);
                let sample = look(stats.as_ref(), pid, before);
                before = seen(&sample, Instant::now(), before);
                if let Ok(mut latest) = to.lock() {
                    *latest = sample;
                }
            }
        });
        ServerMonitor { latest, stop, thread: thread.ok(), pid }
    }

    /// The latest figures.
    pub fn latest(&self) -> ServerSample {
        self.latest.lock().map(|latest| *latest).unwrap_or_default()
    }
}

impl Drop for ServerMonitor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It ends after at most one look.
            let _ = thread.join();
        }
    }
}

/// What the next look is compared with: one that has missed it leaves the one before.
fn seen(
    sample: &ServerSample,
    now: Instant,
    before: Option<(Instant, f64)>,
) -> Option<(Instant, f64)> {
    sample.cpu_s.map(|cpu| (now, cpu)).or(before)
}

/// One look: `/stats` first; what the kernel says of the process is better where both tell,
/// but for memory, which a server under test may know to be another process's.
fn look(
    stats: Option<&TargetAddress>,
    pid: Option<u32>,
    before: Option<(Instant, f64)>,
) -> ServerSample {
    let answer = stats.and_then(|place| http_get(place, &place.path).ok());
    let answer = answer.filter(|(status, _)| *status == 200);
    let told = answer.map(|(_, body)| read_stats(&body)).unwrap_or_default();
    let seen = pid.and_then(read_process).unwrap_or_default();
    let mut sample = ServerSample {
        cpu_s: seen.cpu_s.or(told.cpu_s),
        memory_bytes: told.memory_bytes.or(seen.memory_bytes),
        descriptors: told.descriptors.or(seen.descriptors),
        ..told
    };
    if let (Some(cpu), Some((at, earlier))) = (sample.cpu_s, before) {
        let passed = at.elapsed().as_secs_f64();
        if passed > 0.0 {
            sample.cpu_percent = Some(100.0 * (cpu - earlier).max(0.0) / passed);
        }
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_was_missed_is_bridged() {
        let now = Instant::now();
        let sample = |cpu_s| ServerSample { cpu_s, ..ServerSample::default() };
        let first = seen(&sample(Some(1.0)), now, None);
        assert_eq!(seen(&sample(None), now + Duration::from_secs(1), first), Some((now, 1.0)));
        let third = now + Duration::from_secs(2);
        assert_eq!(seen(&sample(Some(3.0)), third, first), Some((third, 3.0)));
    }

    #[test]
    fn stats_are_read_by_the_ends_of_their_paths() {
        let json = br#"{"connections":{"open":12,"accepted":40},"process":{"resident_bytes":5000,
            "cpu_user_s":1.5,"cpu_system_s":0.5,"descriptors":30},"waiting":3,"rooms":4,
            "note":"text","messages":{"relayed":77}}"#;
        let sample = read_stats(json);
        assert_eq!(sample.connections, Some(12));
        assert_eq!(sample.memory_bytes, Some(5000));
        assert_eq!(sample.cpu_s, Some(2.0));
        assert_eq!((sample.waiting, sample.rooms, sample.relayed), (Some(3), Some(4), Some(77)));
        assert_eq!(sample.bytes_in, None);
        assert_eq!(read_stats(b"not json"), ServerSample::default());
    }

    #[test]
    fn what_the_shards_tell_is_read_with_the_rest() {
        let told = |cpus: [&str; 3]| {
            let shards = cpus.map(|cpu| format!(r#"{{"cpu":{cpu},"cpu_percent":{}}}"#, cpu.len()));
            let shards = shards.join(",");
            format!(r#"{{"process":{{"descriptors_allowed":900}},"shards":[{shards}]}}"#)
        };
        let pinned = told(["3", "12", "3"]);
        assert_eq!(read_stats(pinned.as_bytes()).busiest_shard_percent, Some(2.0));
        let server_capacity = ServerCapacity { descriptors: Some(900), cpus: Some(2) };
        assert_eq!(read_room(pinned.as_bytes()), server_capacity);
        let free = told(["3", "null", "1"]);
        assert_eq!(read_room(free.as_bytes()), ServerCapacity { cpus: None, ..server_capacity });
        assert_eq!(read_room(br#"{"process":{}}"#), ServerCapacity::default());
        assert_eq!(read_room(b"not json"), ServerCapacity::default());
    }

    #[test]
    fn a_table_of_connections_is_read_no_further_than_to_its_listeners() {
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
    fn this_process_is_found_by_a_port_it_listens_on() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(find_process(address), Some(std::process::id()));
        let figures = read_process(std::process::id()).unwrap();
        assert!(figures.memory_bytes > Some(100_000) && figures.descriptors > Some(3));
        assert!(descriptor_limit(std::process::id()) > Some(10));
    }
}
