//! Resource use of this process, read from the kernel by the main thread once a second. The files stay
//! open, so that they can be read when descriptors have run out.
#![allow(unsafe_code)]

use super::{descriptors, machine};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

/// Reads [`ProcessUsage`].
#[derive(Debug)]
pub struct ProcessProbe {
    memory: Option<File>,
    status: Option<File>,
    page_bytes: u64,
}

/// Resource use of the process. `None` where the kernel does not report a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    /// CPU time spent in user mode since the process started (getrusage(2)).
    pub cpu_user: Duration,
    /// CPU time spent in the kernel since the process started.
    pub cpu_system: Duration,
    /// Resident memory (proc_pid_statm(5)).
    pub resident_bytes: Option<u64>,
    /// Virtual memory.
    pub virtual_bytes: Option<u64>,
    /// Threads (proc_pid_stat(5)).
    pub threads: Option<u64>,
    /// Open file descriptors.
    pub descriptors: Option<u64>,
}

impl ProcessProbe {
    /// Opens the files that it reads. Without `/proc` the values from it are `None`.
    pub fn open() -> Self {
        ProcessProbe {
            memory: File::open("/proc/self/statm").ok(),
            status: File::open("/proc/self/stat").ok(),
            page_bytes: machine::page_bytes().unwrap_or(4096),
        }
    }

    /// The resource use now.
    pub fn read(&self) -> ProcessUsage {
        let (cpu_user, cpu_system) = cpu_times().unwrap_or_default();
        let memory = self.memory.as_ref().and_then(|file| first_line(file).ok());
        let mut pages = memory.as_deref().unwrap_or("").split_ascii_whitespace();
        let mut next_bytes = || Some(pages.next()?.parse::<u64>().ok()? * self.page_bytes);
        let virtual_bytes = next_bytes();
        let resident_bytes = next_bytes();
        let status = self.status.as_ref().and_then(|file| first_line(file).ok());
        ProcessUsage {
            cpu_user,
            cpu_system,
            resident_bytes,
            virtual_bytes,
            threads: status.as_deref().and_then(threads_of),
            descriptors: descriptors::open_count().ok(),
        }
    }
}

/// Time since the Unix epoch by the wall clock.
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The number of threads in a line of `/proc/self/stat`: field 20. The name in field 2 may contain
/// spaces and parentheses, so fields are counted from the last closing parenthesis.
fn threads_of(line: &str) -> Option<u64> {
    let behind_name = &line[line.rfind(')')? + 1..];
    behind_name.split_ascii_whitespace().nth(20 - 3)?.parse().ok()
}

/// Both files have one short line of numbers, which each read from offset 0 generates again.
fn first_line(file: &File) -> io::Result<String> {
    let mut bytes = [0; 1024];
    let length = file.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

fn cpu_times() -> io::Result<(Duration, Duration)> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is live and writable for the whole call, and as large as a rusage.
    let outcome = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a rusage consists of integers, for which zeroed bytes are valid, and the call has
    // filled it in.
    let usage = unsafe { usage.assume_init() };
    Ok((duration(usage.ru_utime), duration(usage.ru_stime)))
}

fn duration(time: libc::timeval) -> Duration {
    let micros = u32::try_from(time.tv_usec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), micros * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_resource_use_of_this_process() {
        let probe = ProcessProbe::open();
        let before = probe.read();
        assert!(before.resident_bytes.unwrap() > 100_000);
        assert!(before.virtual_bytes.unwrap() >= before.resident_bytes.unwrap());
        assert!(before.threads.unwrap() >= 1);
        assert!(before.descriptors.unwrap() >= 3);
        // 64 MiB that were written to are resident, and a second read of the open file shows them.
        let memory = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = probe.read();
        assert!(after.resident_bytes.unwrap() > before.resident_bytes.unwrap() + (32 << 20));
        assert!(after.cpu_user + after.cpu_system >= before.cpu_user + before.cpu_system);
        drop(memory);
    }

    /// Runs the next test alone in a child process with a low limit of descriptors.
    #[test]
    fn reads_resource_use_when_descriptors_have_run_out() {
        let me = std::env::current_exe().unwrap();
        let output = std::process::Command::new("sh")
            .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
            .arg(me)
            .args(["--exact", "--ignored", "--test-threads=1"])
            .arg("sys::process::tests::reads_resource_use_when_descriptors_have_run_out_in_a_child")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }

    #[test]
    #[ignore = "started as a child process by reads_resource_use_when_descriptors_have_run_out"]
    fn reads_resource_use_when_descriptors_have_run_out_in_a_child() {
        let probe = ProcessProbe::open();
        let before = probe.read().descriptors.unwrap();
        let mut files = Vec::new();
        let error = loop {
            match File::open("/dev/null") {
                Ok(file) => files.push(file),
                Err(error) => break error,
            }
        };
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        let usage = probe.read();
        let opened = files.len() as u64;
        drop(files);
        // This may be above the limit: the parent may have passed on descriptors with higher numbers.
        assert_eq!(usage.descriptors, Some(before + opened));
        assert!(usage.resident_bytes.is_some() && usage.virtual_bytes.is_some());
        assert!(usage.threads.is_some());
    }

    #[test]
    fn parses_the_thread_count_after_a_name_with_parentheses() {
        let line = "7 (a ) b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 77 18 19";
        // Fields 3 to 19 are `S` and the numbers 1 to 16; field 20 is the thread count.
        assert_eq!(threads_of(line), Some(77));
        assert_eq!(threads_of("7 (x"), None);
        assert_eq!(threads_of("7 (x) S 1"), None);
    }
}
