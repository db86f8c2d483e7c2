//! The clocks. Every thread may read them; pure modules get the time as a parameter.
#![allow(unsafe_code)]

use crate::timestamp::Timestamp;
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Time since an origin that all threads of the process share: the first call. Costs one clock
/// reading through the vDSO, no system call.
pub fn monotonic() -> Timestamp {
    let passed = ORIGIN.get_or_init(Instant::now).elapsed();
    Timestamp::ZERO + passed
}

/// CPU time, user and system, that the calling thread has used so far
/// (`CLOCK_THREAD_CPUTIME_ID`, clock_gettime(2)). Costs one system call, so it is not for every
/// iteration of an event loop.
///
/// # Errors
/// When the kernel lacks the clock; Linux has it since 2.6.12.
pub fn thread_cpu() -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live, writable timespec for the whole call.
    let outcome = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Ok(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_is_the_same_for_all_threads() {
        let before = monotonic();
        let other = std::thread::spawn(monotonic).join().unwrap();
        let after = monotonic();
        assert!(before <= other && other <= after);
    }

    #[test]
    fn thread_cpu_time_grows_while_the_thread_computes() {
        let before = thread_cpu().unwrap();
        let mut sum = 0_u64;
        while thread_cpu().unwrap() == before {
            for i in 0..10_000_u64 {
                sum = std::hint::black_box(sum.wrapping_add(i));
            }
        }
        assert!(thread_cpu().unwrap() > before);
    }
}
