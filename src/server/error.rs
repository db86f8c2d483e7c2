//! Why a server did not start, or ended by itself.

use crate::ice::IceError;
use crate::sys::sockets::ListenError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the server did not start, or ended by itself. Each is one line for the operator.
#[derive(Debug)]
pub enum ServerError {
    /// An address cannot be listened on.
    Listen(ListenError),
    /// The operating system refused something that every server needs.
    System {
        /// What was attempted, as a verb phrase.
        what: &'static str,
        /// The error of the system call.
        error: io::Error,
    },
    /// The file of `--turn-secret-file` cannot be read.
    SecretFile {
        /// The file.
        path: PathBuf,
        /// The error of the system call.
        error: io::Error,
    },
    /// The contents of the file of `--turn-secret-file` cannot be used.
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        error: IceError,
    },
    /// The TURN servers cannot be used.
    Ice(IceError),
    /// A thread that must run until shutdown has ended.
    ThreadEnded {
        /// Its name.
        thread: String,
    },
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Listen(error) => error.fmt(f),
            ServerError::System { what, error } => write!(f, "cannot {what}: {error}"),
            ServerError::SecretFile { path, error } => {
                write!(f, "--turn-secret-file {}: cannot read it: {error}", path.display())
            }
            ServerError::Secret { path, error } => {
                write!(f, "--turn-secret-file {}: {error}", path.display())
            }
            ServerError::Ice(error) => error.fmt(f),
            ServerError::ThreadEnded { thread } => {
                write!(
                    f,
                    "thread {thread} has ended unexpectedly; the server cannot run without it"
                )
            }
        }
    }
}

impl std::error::Error for ServerError {}

impl From<ListenError> for ServerError {
    fn from(error: ListenError) -> Self {
        ServerError::Listen(error)
    }
}

/// Turns an error of a system call into a [`ServerError`] that says what was attempted.
pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> ServerError {
    move |error| ServerError::System { what, error }
}
