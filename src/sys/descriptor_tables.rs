//! Descriptor tables: a thread with a private table, and copies of descriptors from another thread's
//! table. Linux applies `RLIMIT_NOFILE` to each table, so a process whose threads have private tables
//! may have that many descriptors in each.
//!
//! A descriptor number is valid only in the table that it belongs to. Nothing here closes by number.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// `PIDFD_THREAD` of pidfd_open(2), Linux ≥ 6.9: the handle refers to one thread instead of the
/// process. Its value is `O_EXCL` on every architecture.
const PIDFD_THREAD: libc::c_int = libc::O_EXCL;

/// A thread id (gettid(2)); unique on the machine while the thread exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadId(libc::pid_t);

impl ThreadId {
    /// The id of the calling thread.
    pub fn current() -> Self {
        // SAFETY: the call takes no arguments and cannot fail.
        ThreadId(unsafe { libc::gettid() })
    }

    /// The id as a number; always positive.
    pub fn number(self) -> i32 {
        self.0
    }
}

/// The first descriptor after standard input, output and error.
const FIRST_AFTER_STREAMS: libc::c_uint = 3;

/// Whether threads of this process can have private tables and copy sockets from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrivateTableSupport {
    /// Everything that is needed works.
    #[default]
    Supported,
    /// The kernel lacks this system call, or a filter forbids it.
    Missing(&'static str),
}

/// Gives the calling thread a private descriptor table: a copy of the table that it has shared until
/// now (unshare(2), `CLONE_FILES`). Needs no privilege.
///
/// # Errors
/// When memory for the table is lacking, or a filter forbids the call.
pub fn unshare() -> io::Result<()> {
    // SAFETY: the call takes no pointers, and the copy leaves all descriptors open.
    let outcome = unsafe { libc::unshare(libc::CLONE_FILES) };
    if outcome != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives the calling thread a private descriptor table with the standard streams only
/// (close_range(2), `CLOSE_RANGE_UNSHARE`, Linux ≥ 5.9), so that it holds no copies that keep other
/// threads' files open. The thread must not use any descriptor that was opened before.
///
/// # Errors
/// As [`unshare`], and on older kernels.
pub fn unshare_empty() -> io::Result<()> {
    let (first, flags) = (FIRST_AFTER_STREAMS, libc::CLOSE_RANGE_UNSHARE);
    // SAFETY: the call takes no pointers. It closes descriptors only in the new table, so no other
    // thread loses one.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) };
    if outcome != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A handle on the descriptor table of another thread. It stays valid after the thread has ended, and
/// then finds no descriptors.
#[derive(Debug)]
pub struct ThreadTable(OwnedFd);

impl ThreadTable {
    /// The table of a thread of this process (pidfd_open(2)). Uses a descriptor.
    ///
    /// # Errors
    /// Before Linux 6.9, without a free descriptor, or when the thread has ended.
    pub fn of(thread: ThreadId) -> io::Result<Self> {
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, thread.0, PIDFD_THREAD) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call just made the descriptor, so nothing else owns it.
        Ok(ThreadTable(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
    }

    /// Copies the descriptor `number` of that table into the calling thread's table
    /// (pidfd_getfd(2)); close-on-exec. Both refer to the same open file until both are closed.
    ///
    /// # Errors
    /// Without a free descriptor (`EMFILE`), when `number` is not open in that table (`EBADF`), or
    /// when the thread has ended (`ESRCH`).
    pub fn copy(&self, number: RawFd) -> io::Result<OwnedFd> {
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.0.as_raw_fd(), number, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call just made the descriptor, so nothing else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
    }
}

/// Number of open descriptors in the table of a thread of this process. Needs no descriptor itself.
///
/// # Errors
/// Without `/proc`, when the thread has ended, and before Linux 6.2.
pub fn open_count(thread: i32) -> io::Result<u64> {
    match fs::metadata(format!("/proc/self/task/{thread}/fd"))?.len() {
        0 => Err(io::Error::from(io::ErrorKind::Unsupported)),
        count => Ok(count),
    }
}

/// Tries everything that private tables need, with a thread that ends at once.
pub fn support() -> PrivateTableSupport {
    match attempt() {
        Ok(()) => PrivateTableSupport::Supported,
        Err(call) => PrivateTableSupport::Missing(call),
    }
}

/// Whether [`unshare_empty`] works, tried with a thread that ends at once.
pub fn empty_works() -> bool {
    let thread = std::thread::Builder::new().name("tables".to_owned()).spawn(unshare_empty);
    thread.is_ok_and(|thread| thread.join().is_ok_and(|outcome| outcome.is_ok()))
}

fn attempt() -> Result<(), &'static str> {
    let (result_sender, results) = std::sync::mpsc::channel();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::Builder::new().name("tables".to_owned()).spawn(move || {
        // Otherwise the copies in this table would keep ports in use that other threads are closing.
        // If this call is missing, the others are missing too.
        let _emptied = unshare_empty();
        let opened = unshare().map_err(|_| "unshare(CLONE_FILES)").and_then(|()| {
            let file = fs::File::open("/dev/null").map_err(|_| "/dev/null")?;
            Ok((ThreadId::current(), file))
        });
        let result = opened.as_ref().map(|(id, file)| (*id, file.as_raw_fd()));
        let _sent = result_sender.send(result.map_err(|call| *call));
        // The file must stay open until it has been copied.
        let _copied = wait.recv();
        drop(opened);
    });
    let thread = thread.map_err(|_| "a thread")?;
    let copied = results.recv().unwrap_or(Err("a thread")).and_then(|(id, number)| {
        let table = ThreadTable::of(id).map_err(|_| "pidfd_open(PIDFD_THREAD)")?;
        table.copy(number).map(drop).map_err(|_| "pidfd_getfd")
    });
    drop(done);
    // A panic of the thread has been logged by the panic hook.
    let _joined = thread.join();
    copied
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::{Sender, channel};

    /// Runs `work` in a thread with a private table. The thread runs until the result is dropped.
    fn in_other_table<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> ThreadWithOwnTable<T> {
        let ((to, from), (keep, wait)) = (channel(), channel::<()>());
        std::thread::spawn(move || {
            unshare_empty().unwrap();
            unshare().unwrap();
            to.send((ThreadId::current(), work())).unwrap();
            let _kept = wait.recv();
        });
        let (thread, made) = from.recv().unwrap();
        ThreadWithOwnTable { thread, made, keep }
    }

    struct ThreadWithOwnTable<T> {
        thread: ThreadId,
        made: T,
        keep: Sender<()>,
    }

    #[test]
    fn copies_a_socket_that_stays_open_after_the_other_thread_has_ended() {
        if support() != PrivateTableSupport::Supported {
            return;
        }
        let pair = || {
            let (one, other) = UnixStream::pair().unwrap();
            // In this table the numbers mean something else, so nothing may close them.
            [std::mem::ManuallyDrop::new(one), std::mem::ManuallyDrop::new(other)]
                .map(|end| end.as_raw_fd())
        };
        let ThreadWithOwnTable { thread, made, keep } = in_other_table(pair);
        let table = ThreadTable::of(thread).unwrap();
        let [mut one, mut other] = made.map(|end| UnixStream::from(table.copy(end).unwrap()));
        drop(keep);
        one.write_all(b"hello").unwrap();
        let mut received = [0; 5];
        other.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"hello");
    }

    #[test]
    fn files_opened_after_unsharing_are_only_in_the_threads_own_table() {
        let open = || std::mem::ManuallyDrop::new(fs::File::open("/dev/null").unwrap()).as_raw_fd();
        let ThreadWithOwnTable { thread, made: number, keep } = in_other_table(open);
        let theirs = format!("/proc/self/task/{}/fd/{number}", thread.number());
        assert_eq!(fs::read_link(theirs).unwrap().to_str(), Some("/dev/null"));
        assert!(
            open_count(thread.number()).is_ok_and(|count| count == 4),
            "the streams and the file"
        );
        if support() == PrivateTableSupport::Supported {
            let table = ThreadTable::of(thread).unwrap();
            drop(keep);
            // Once the thread has ended it has no descriptors.
            while table.copy(number).is_ok() {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn refuses_a_number_that_is_not_open_in_the_other_table() {
        if support() != PrivateTableSupport::Supported {
            return;
        }
        let other = in_other_table(|| ());
        let error = ThreadTable::of(other.thread).unwrap().copy(1 << 20).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
}
