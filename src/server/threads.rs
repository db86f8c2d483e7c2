//! What a thread is started with: its poll and its mailbox, and the notice that it has ended.

use crate::mailbox::{MailboxReceiver, MailboxSender, mailbox};
use crate::shard::event_loop::WAKER;
use mio::{Poll, Waker};
use std::io;
use std::sync::Arc;

/// The poll and the mailbox of a thread. The main thread makes them before it starts the thread, so
/// that all threads can have senders to all mailboxes from their start.
pub(super) struct ThreadParts<T> {
    pub(super) poll: Poll,
    pub(super) sender: MailboxSender<T>,
    pub(super) receiver: MailboxReceiver<T>,
}

impl<T> ThreadParts<T> {
    pub(super) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (sender, receiver) = mailbox(waker);
        Ok(ThreadParts { poll, sender, receiver })
    }
}

/// Wakes the main thread when it is dropped. A thread owns one, so it is dropped however the thread
/// ends, a panic included.
pub(super) struct ExitNotifier(pub(super) Arc<Waker>);

impl Drop for ExitNotifier {
    fn drop(&mut self) {
        // If the wake-up fails, the main thread finds the ended thread after its poll timeout.
        let _woken = self.0.wake();
    }
}
