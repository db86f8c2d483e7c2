//! What becomes of a letter whose reader may not hear of it: it is told in the log, once a minute
//! at most of all threads together. Every thread that writes letters ends here.

use super::SendError;
use crate::sys::clock;
use crate::telemetry::notices::LogThrottle;
use std::io;

static UNWOKEN: LogThrottle = LogThrottle::new();

/// A letter was sent. Its reader may have ended, as at the end of the process all do, and needs
/// none; or it cannot be woken.
pub(crate) fn sent<T>(result: Result<(), SendError<T>>) {
    match result {
        Ok(()) | Err(SendError::Gone(_)) => {}
        Err(SendError::Unwoken(error)) => announced(Err(error)),
    }
}

/// A reader was woken, or was not.
pub(crate) fn announced(woken: io::Result<()>) {
    if let Err(error) = woken
        && let Some(held_back) = UNWOKEN.pass(clock::monotonic())
    {
        tracing::error!(%error, held_back, "a thread cannot be woken");
    }
}
