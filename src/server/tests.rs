//! How a server ends that must not end.

use super::*;
use crate::config::{Arguments, MachineCapabilities};
use crate::sys::descriptor_tables::PrivateTableSupport;

/// What a server that has a thread more ends with, whose end comes by itself.
fn ended_with(name: &str, run: impl FnOnce() -> io::Result<()> + Send + 'static) -> String {
    let machine = MachineCapabilities {
        descriptors_allowed: 10_000,
        descriptors_ceiling: None,
        default_shards: 1,
        cpus: 1,
        private_tables: PrivateTableSupport::Lacks("none"),
        ipv6: false,
    };
    let words = ["switchboard", "--listen", "127.0.0.1:0", "--no-pin", "--max-connections", "9"];
    let config = Arguments::read(words).unwrap().validate(&machine).unwrap();
    let mut server = Server::start(&config).unwrap();
    let (shards, matcher) = (server.shards.clone(), server.matcher.clone());
    // A poll takes one waker only. The main thread also looks for itself.
    let elsewhere = Poll::new().unwrap();
    let exit_notifier = Arc::new(Waker::new(elsewhere.registry(), THREADS).unwrap());
    server.spawn(name.to_owned(), &exit_notifier, run).unwrap();
    let error = server.run().expect_err("a thread has ended");
    for shard in shards {
        let _told = shard.send(ShardCommand::Stop);
    }
    let _told = matcher.send(MatcherCommand::Stop);
    error.to_string()
}

#[test]
fn a_thread_that_panics_or_fails_ends_the_server_and_is_named() {
    let panicked = ended_with("one", || panic!("as a fault of the server's own would"));
    assert!(panicked.starts_with("thread one has ended"), "{panicked}");
    let failed = ended_with("other", || Err(io::Error::other("the poll is gone")));
    assert!(failed.starts_with("thread other has ended"), "{failed}");
}
