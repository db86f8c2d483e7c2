//! File descriptors: the limit of the process, and the number that is open. Called by the main thread
//! at start and once a second afterwards.
#![allow(unsafe_code)]

use std::fs;
use std::io;

/// Raises the soft limit of open files (`RLIMIT_NOFILE`, getrlimit(2)) to the hard one and
/// returns it: the number of descriptors that the process may now have open.
///
/// # Errors
/// The error of getrlimit(2) or setrlimit(2).
pub fn raise_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live, writable rlimit for the whole call.
    let outcome = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is a live rlimit for the whole call, which only reads it.
        let outcome = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        if outcome != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

/// The highest hard limit of open files on this machine (`fs.nr_open`, proc_sys_fs(5)); `None` if it
/// cannot be read.
pub fn ceiling() -> Option<u64> {
    fs::read_to_string("/proc/sys/fs/nr_open").ok()?.trim().parse().ok()
}

/// Number of open descriptors of the process. Linux ≥ 6.2 reports it as the size of `/proc/self/fd`,
/// which needs no descriptor, so it works when they have run out. On older kernels the entries are
/// counted, which needs a descriptor meanwhile (not counted).
///
/// # Errors
/// Without `/proc`; on older kernels also when no descriptor is free.
pub fn open_count() -> io::Result<u64> {
    let size = fs::metadata("/proc/self/fd")?.len();
    if size > 0 { Ok(size) } else { count_entries() }
}

/// Number of entries of `/proc/self/fd`, without the descriptor that reading them needs.
fn count_entries() -> io::Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir("/proc/self/fd")? {
        entry?;
        count += 1;
    }
    Ok(count - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn raising_the_limit_twice_changes_nothing() {
        let first = raise_limit().unwrap();
        assert_eq!(raise_limit().unwrap(), first);
        assert!(ceiling().is_none_or(|ceiling| first <= ceiling));
    }

    /// Runs the next test alone in a child process, because other tests of this process open and
    /// close files.
    #[test]
    fn both_ways_of_counting_agree() {
        let me = std::env::current_exe().unwrap();
        let output = Command::new(me)
            .args(["--exact", "--ignored", "--test-threads=1"])
            .arg("sys::descriptors::tests::both_ways_of_counting_agree_in_a_child")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }

    #[test]
    #[ignore = "started as a child process by both_ways_of_counting_agree"]
    fn both_ways_of_counting_agree_in_a_child() {
        let before = count_entries().unwrap();
        assert_eq!(open_count().unwrap(), before);
        let more: Vec<_> = (0..7).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        assert_eq!(count_entries().unwrap(), before + 7);
        assert_eq!(open_count().unwrap(), before + 7);
        drop(more);
        assert_eq!(open_count().unwrap(), before);
    }
}
