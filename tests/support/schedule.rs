//! Which tests of one binary may run at the same time.
//!
//! libtest runs as many tests at once as there are CPUs. Most tests start a server and a few
//! clients and can run in parallel. A test that loads the machine for seconds (thousands of
//! connections, random users on four shards) would delay the timing-sensitive tests beside it,
//! so it calls [`run_alone`] first and has the machine to itself. Every other test is registered
//! as shared by [`run_shared`], which `Server::start` calls.

use std::cell::RefCell;
use std::sync::{Condvar, Mutex};

/// What runs now.
struct Running {
    shared: usize,
    alone: bool,
    /// Tests that wait to run alone. No shared test begins meanwhile, so that they do not starve.
    waiting: usize,
}

static RUNNING: Mutex<Running> = Mutex::new(Running { shared: 0, alone: false, waiting: 0 });
static CHANGED: Condvar = Condvar::new();

/// How this test is registered; it ends with the thread, which libtest starts for each test.
enum Registration {
    Shared,
    Alone,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap();
        match self {
            Registration::Shared => running.shared -= 1,
            Registration::Alone => running.alone = false,
        }
        CHANGED.notify_all();
    }
}

thread_local! {
    static REGISTRATION: RefCell<Option<Registration>> = const { RefCell::new(None) };
}

/// Lets the test that calls it, and the threads it starts, run without any other. Must be called
/// before the test starts a server.
pub(crate) fn run_alone() {
    REGISTRATION.with_borrow_mut(|registration| {
        *registration = None;
        let mut running = RUNNING.lock().unwrap();
        running.waiting += 1;
        running = CHANGED.wait_while(running, |now| now.alone || now.shared > 0).unwrap();
        running.waiting -= 1;
        running.alone = true;
        *registration = Some(Registration::Alone);
    });
}

/// Waits until no test runs alone or waits to, and registers this one, unless it is registered.
pub(crate) fn run_shared() {
    REGISTRATION.with_borrow_mut(|registration| {
        if registration.is_none() {
            let running = RUNNING.lock().unwrap();
            let mut running =
                CHANGED.wait_while(running, |now| now.alone || now.waiting > 0).unwrap();
            running.shared += 1;
            *registration = Some(Registration::Shared);
        }
    });
}

/// A command that runs one `#[test]` of this binary in a process of its own. `path` is
/// `concat!(module_path!(), "::name")`.
pub(crate) fn test_process(path: &str) -> std::process::Command {
    // libtest names a test without its crate.
    let (_crate, name) = path.split_once("::").unwrap();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--include-ignored", "--nocapture"]);
    command
}
