//! Exclusive locks on files.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Takes the exclusive lock on `file` (flock(2)) without waiting. Returns false if another process
/// holds it. The kernel releases the lock when the last descriptor of this open file is closed, also
/// when the process is killed.
///
/// # Errors
/// When the file system does not support locks.
pub fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: the call takes no pointers.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(error),
    }
}
