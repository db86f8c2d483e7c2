//! Suspends a single thread of a server, as only ptrace(2) can.

use super::Server;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// One thread of another process. It does not run until this is dropped.
pub(crate) struct SuspendedThread(Pid);

impl SuspendedThread {
    /// Suspends the thread of this name.
    pub(crate) fn new(server: &Server, name: &str) -> SuspendedThread {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        let has_the_name = |task: &std::fs::DirEntry| {
            let comm = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            comm.trim() == name
        };
        let task = tasks.map(Result::unwrap).find(has_the_name).expect("the thread exists");
        let thread = Pid::from_raw(task.file_name().to_str().unwrap().parse().unwrap());
        ptrace::seize(thread, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        SuspendedThread(thread)
    }
}

impl Drop for SuspendedThread {
    fn drop(&mut self) {
        ptrace::detach(self.0, None::<Signal>).unwrap();
    }
}
