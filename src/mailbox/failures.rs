//! Logs failed wake-ups: the receiver may handle the command late. Every thread that sends commands reports
//! failures here; all threads together write at most one line a minute.

use super::MailboxError;
use crate::logging::throttled_lines::WAKE_UP_FAILED;
use crate::sys::clock;
use std::io;

/// Logs a failed wake-up. A disconnected mailbox is no failure: its thread has ended, as all
/// threads do when the process shuts down, and needs no more commands.
pub(crate) fn log_send_failure<T>(result: Result<(), MailboxError<T>>) {
    match result {
        Ok(()) | Err(MailboxError::Disconnected(_)) => {}
        Err(MailboxError::WakeFailed(error)) => log_wake_failure(Err(error)),
    }
}

/// Logs a failed wake-up.
pub(crate) fn log_wake_failure(result: io::Result<()>) {
    if let Err(error) = result
        && let Some(suppressed) = WAKE_UP_FAILED.permit(clock::monotonic())
    {
        tracing::error!(%error, suppressed, "a thread cannot be woken");
    }
}
