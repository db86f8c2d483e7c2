//! Threads that stand still.

use super::Server;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// One thread of another process that does not run while this lives.
pub(crate) struct Stopped(Pid);

impl Stopped {
    /// The thread of this name.
    pub(crate) fn new(server: &Server, name: &str) -> Stopped {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        let of_that_name = |task: &std::fs::DirEntry| {
            let comm = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            comm.trim() == name
        };
        let task = tasks.map(Result::unwrap).find(of_that_name).expect("there is such a thread");
        let thread = Pid::from_raw(task.file_name().to_str().unwrap().parse().unwrap());
        ptrace::seize(thread, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        Stopped(thread)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        ptrace::detach(self.0, None::<Signal>).unwrap();
    }
}
