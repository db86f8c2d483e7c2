//! What ends a server that has received no signal.

use super::*;
use crate::commands::ShardCommand;
use crate::config::{Arguments, MachineCapabilities};
use crate::sys::descriptor_tables::PrivateTableSupport;

/// The error that a server ends with when an additional thread runs `run` and ends.
fn error_after_thread(name: &str, run: impl FnOnce() -> io::Result<()> + Send + 'static) -> String {
    let machine = MachineCapabilities {
        descriptors_allowed: 10_000,
        descriptors_ceiling: None,
        default_shards: 1,
        cpus: 1,
        private_table_support: PrivateTableSupport::Missing("none"),
        ipv6: false,
    };
    let words = ["switchboard", "--listen", "127.0.0.1:0", "--no-pin", "--max-connections", "9"];
    let config = Arguments::read(words).unwrap().validate(&machine).unwrap();
    let mut server = Server::start(&config).unwrap();
    let (shards, matcher) = (server.shards.clone(), server.matcher.clone());
    // A poll takes only one waker, so this one wakes another poll. The main thread finds the ended
    // thread after its poll timeout.
    let other_poll = Poll::new().unwrap();
    let exit_waker = Arc::new(Waker::new(other_poll.registry(), THREAD_EXIT_TOKEN).unwrap());
    server.spawn(name.to_owned(), &exit_waker, run).unwrap();
    let error = server.run().expect_err("a thread has ended");
    for shard in shards {
        let _sent = shard.send(ShardCommand::Stop);
    }
    let _sent = matcher.send(MatcherCommand::Stop);
    error.to_string()
}

#[test]
fn ends_and_names_the_thread_when_a_thread_panics_or_fails() {
    let panicked = error_after_thread("one", || panic!("a simulated defect"));
    assert!(panicked.starts_with("thread one has ended"), "{panicked}");
    let failed = error_after_thread("other", || Err(io::Error::other("the poll failed")));
    assert!(failed.starts_with("thread other has ended"), "{failed}");
}
