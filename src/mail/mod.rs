//! What one thread tells another: the letters, which are pure values, and the mailbox, which
//! carries them and wakes their reader.

pub(crate) mod failures;
mod letters;
pub mod mailbox;

pub use letters::{Desk, Outcome, Pairing, Parted, Reply, Ticket, ToMatcher, ToShard};
pub use mailbox::{Bundle, Inbox, Outbox, Pause, SendError, mailbox};
