//! Descriptor tables: a thread that has one of its own, and copies of descriptors that lie in
//! another thread's. Linux counts `RLIMIT_NOFILE` by table, so a process whose threads have one
//! each may have that many descriptors in each of them.
//!
//! A number means a descriptor only in the table it belongs to. Nothing here closes by number.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// `PIDFD_THREAD` of pidfd_open(2), Linux ≥ 6.9: the handle is of one thread, not of the
/// process. It is `O_EXCL` on every architecture.
const PIDFD_THREAD: libc::c_int = libc::O_EXCL;

/// A thread's number (gettid(2)); unique on the machine while the thread lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadId(libc::pid_t);

impl ThreadId {
    /// The calling thread's.
    pub fn current() -> Self {
        // SAFETY: the call takes no arguments and cannot fail.
        ThreadId(unsafe { libc::gettid() })
    }

    /// As a plain number, above 0.
    pub fn number(self) -> i32 {
        self.0
    }
}

/// Standard input, output and error are 0, 1 and 2.
const FIRST_BEHIND_STREAMS: libc::c_uint = 3;

/// Whether threads of this process can have tables of their own and hand sockets to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrivateTableSupport {
    /// They can.
    #[default]
    Supported,
    /// The kernel, or a filter of system calls, lacks this call.
    Missing(&'static str),
}

/// Gives the calling thread a descriptor table of its own, a copy of the one it has shared until
/// now (unshare(2), `CLONE_FILES`). Needs no privilege.
///
/// # Errors
/// When there is no memory for it, or a filter forbids it.
pub fn unshare() -> io::Result<()> {
    // SAFETY: the call takes no pointers, and a table of its own takes no descriptor away.
    let outcome = unsafe { libc::unshare(libc::CLONE_FILES) };
    if outcome != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The same, but the new table has the standard streams only (close_range(2),
/// `CLOSE_RANGE_UNSHARE`, Linux ≥ 5.9): no copy in it keeps alive what others close. The thread
/// must not use any descriptor that was opened before.
///
/// # Errors
/// As [`unshare`]; and on older kernels.
pub fn unshare_empty() -> io::Result<()> {
    let (first, flags) = (FIRST_BEHIND_STREAMS, libc::CLOSE_RANGE_UNSHARE);
    // SAFETY: the call takes no pointers. What it closes are the copies in a table that did not
    // exist before, so nobody's descriptor is lost.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) };
    if outcome != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Another thread, as far as its descriptors go. It stays good when the thread has ended, and
/// then finds none.
#[derive(Debug)]
pub struct ThreadTable(OwnedFd);

impl ThreadTable {
    /// The table of a thread of this process (pidfd_open(2)). Takes a descriptor.
    ///
    /// # Errors
    /// Before Linux 6.9, without a free descriptor, when the thread has ended.
    pub fn of(thread: ThreadId) -> io::Result<Self> {
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, thread.0, PIDFD_THREAD) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was made just now and nobody else has it.
        Ok(ThreadTable(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
    }

    /// Copies the descriptor `number` of that table into the calling thread's
    /// (pidfd_getfd(2)); closed on exec. Both stand for the same socket until both are closed.
    ///
    /// # Errors
    /// Without a free descriptor here (`EMFILE`), without one of that number there (`EBADF`), or
    /// when the thread has ended (`ESRCH`).
    pub fn copy(&self, number: RawFd) -> io::Result<OwnedFd> {
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.0.as_raw_fd(), number, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was made just now and nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
    }
}

/// Descriptors open in the table of a thread of this process. Takes none itself.
///
/// # Errors
/// Without `/proc`, when the thread has ended, and before Linux 6.2.
pub fn open_count(thread: i32) -> io::Result<u64> {
    match fs::metadata(format!("/proc/self/task/{thread}/fd"))?.len() {
        0 => Err(io::Error::from(io::ErrorKind::Unsupported)),
        count => Ok(count),
    }
}

/// Tries on this machine, with a thread that ends at once, all that private tables need.
pub fn support() -> PrivateTableSupport {
    match attempt() {
        Ok(()) => PrivateTableSupport::Supported,
        Err(call) => PrivateTableSupport::Missing(call),
    }
}

/// Whether [`unshare_empty`] works here; tried with a thread that ends at once.
pub fn empty_works() -> bool {
    let thread = std::thread::Builder::new().name("tables".to_owned()).spawn(unshare_empty);
    thread.is_ok_and(|thread| thread.join().is_ok_and(|outcome| outcome.is_ok()))
}

fn attempt() -> Result<(), &'static str> {
    let (to_us, numbers) = std::sync::mpsc::channel();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::Builder::new().name("tables".to_owned()).spawn(move || {
        // Else its copies keep ports taken that others give back in this moment. Where this call
        // is missing, so is the rest.
        let _bare = unshare_empty();
        let opened = unshare().map_err(|_| "unshare(CLONE_FILES)").and_then(|()| {
            let file = fs::File::open("/dev/null").map_err(|_| "/dev/null")?;
            Ok((ThreadId::current(), file))
        });
        let told = opened.as_ref().map(|(id, file)| (*id, file.as_raw_fd()));
        // Whoever asked may have given up; then it is of no interest.
        let _told = to_us.send(told.map_err(|call| *call));
        // The file stays open until it has been copied.
        let _copied = wait.recv();
        drop(opened);
    });
    let thread = thread.map_err(|_| "a thread")?;
    let copied = numbers.recv().unwrap_or(Err("a thread")).and_then(|(id, number)| {
        let table = ThreadTable::of(id).map_err(|_| "pidfd_open(PIDFD_THREAD)")?;
        table.copy(number).map(drop).map_err(|_| "pidfd_getfd")
    });
    drop(done);
    // A panic there was printed by the thread itself.
    let _ended = thread.join();
    copied
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::{Sender, channel};

    /// Does `work` in a thread with a table of its own, which lives until what is returned does.
    fn elsewhere<T: Send + 'static>(
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
    fn a_socket_of_another_table_is_copied_and_survives_its_first_owner() {
        if support() != PrivateTableSupport::Supported {
            return;
        }
        let pair = || {
            let (one, other) = UnixStream::pair().unwrap();
            // Here the numbers mean something else: nothing may close them.
            [std::mem::ManuallyDrop::new(one), std::mem::ManuallyDrop::new(other)]
                .map(|end| end.as_raw_fd())
        };
        let ThreadWithOwnTable { thread, made, keep } = elsewhere(pair);
        let table = ThreadTable::of(thread).unwrap();
        let [mut one, mut other] = made.map(|end| UnixStream::from(table.copy(end).unwrap()));
        drop(keep);
        one.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        other.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");
    }

    #[test]
    fn what_a_thread_opens_after_unsharing_nobody_else_has() {
        let open = || std::mem::ManuallyDrop::new(fs::File::open("/dev/null").unwrap()).as_raw_fd();
        let ThreadWithOwnTable { thread, made: number, keep } = elsewhere(open);
        let theirs = format!("/proc/self/task/{}/fd/{number}", thread.number());
        assert_eq!(fs::read_link(theirs).unwrap().to_str(), Some("/dev/null"));
        assert!(open_count(thread.number()).is_ok_and(|count| count == 4), "streams and the file");
        if support() == PrivateTableSupport::Supported {
            let table = ThreadTable::of(thread).unwrap();
            drop(keep);
            // A thread that has ended has no descriptors.
            while table.copy(number).is_ok() {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn a_number_that_is_not_open_there_is_refused() {
        if support() != PrivateTableSupport::Supported {
            return;
        }
        let there = elsewhere(|| ());
        let error = ThreadTable::of(there.thread).unwrap().copy(1 << 20).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
}
