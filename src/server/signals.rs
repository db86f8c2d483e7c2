//! The signals of the process, as requests to the main thread, which owns them.
//!
//! Every signal that would end the process without a word by default is taken: a terminal that is
//! closed, or an operator who expects another program's meaning of a signal, must not end calls.
//! SIGABRT, SIGKILL and the signals of faults (signal(7)) keep their effect.

use crate::limits::REPEATED_SIGNAL_TIME;
use crate::timestamp::Timestamp;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM,
};
use signal_hook_mio::v1_0::Signals;
use std::ffi::c_int;
use std::io;

/// Signals without an effect beside a log line.
const IGNORED: [(c_int, &str); 7] = [
    (SIGQUIT, "SIGQUIT"),
    (SIGUSR1, "SIGUSR1"),
    // Reserved for the replacement of the program by a new version.
    (SIGUSR2, "SIGUSR2"),
    (SIGALRM, "SIGALRM"),
    (SIGVTALRM, "SIGVTALRM"),
    (SIGPROF, "SIGPROF"),
    (SIGIO, "SIGIO"),
];

/// The signals that have arrived.
pub(super) struct ProcessSignals {
    source: Signals,
    shutdown: ShutdownSignals,
}

/// What the signals that have arrived ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SignalRequests {
    /// SIGINT or SIGTERM.
    pub(super) shutdown: Option<ShutdownRequest>,
    /// SIGHUP: the settings that come from files are to be read again.
    pub(super) reload: bool,
}

/// How the process is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShutdownRequest {
    /// Gracefully.
    Drain,
    /// At once.
    EndAtOnce,
}

impl ProcessSignals {
    /// Takes the signals. The poll of `registry` reports them as `token`.
    pub(super) fn take(registry: &Registry, token: Token) -> io::Result<Self> {
        let ignored = IGNORED.iter().map(|(number, _)| number);
        let mut source = Signals::new([SIGINT, SIGTERM, SIGHUP].iter().chain(ignored))?;
        registry.register(&mut source, token, Interest::READABLE)?;
        Ok(ProcessSignals { source, shutdown: ShutdownSignals::default() })
    }

    /// What the signals that have arrived since the last call ask for. Logs those that have no
    /// effect.
    pub(super) fn requests(&mut self, now: Timestamp) -> SignalRequests {
        let mut requests = SignalRequests::default();
        for number in self.source.pending() {
            match number {
                SIGINT | SIGTERM => {
                    requests.shutdown = requests.shutdown.or(self.shutdown.request(now));
                }
                SIGHUP => requests.reload = true,
                _ => {
                    let name = IGNORED.iter().find(|(ignored, _)| *ignored == number);
                    let signal = name.map_or("?", |(_, name)| *name);
                    tracing::warn!(signal, "a signal without an effect was received");
                }
            }
        }
        requests
    }
}

/// The SIGINT and SIGTERM of the past.
#[derive(Clone, Copy, Debug, Default)]
struct ShutdownSignals {
    first: Option<Timestamp>,
}

impl ShutdownSignals {
    /// Another one has come. A terminal sends SIGINT to all processes of a group, and a wrapper among
    /// them often passes it on, so one that follows within [`REPEATED_SIGNAL_TIME`] is no other
    /// request.
    fn request(&mut self, now: Timestamp) -> Option<ShutdownRequest> {
        let Some(first) = self.first else {
            self.first = Some(now);
            return Some(ShutdownRequest::Drain);
        };
        // guard: a second signal within a second is the same request [false]
        if now.since(first) < REPEATED_SIGNAL_TIME {
            return None;
        }
        Some(ShutdownRequest::EndAtOnce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_second_signal_within_a_second_of_the_first_is_the_same_request() {
        let mut signals = ShutdownSignals::default();
        let mut at_ms = |ms| signals.request(Timestamp::ZERO + Duration::from_millis(ms));
        assert_eq!(at_ms(5000), Some(ShutdownRequest::Drain));
        assert_eq!([at_ms(5000), at_ms(5500), at_ms(5999)], [None; 3]);
        assert_eq!(at_ms(6000), Some(ShutdownRequest::EndAtOnce));
        assert_eq!(at_ms(9000), Some(ShutdownRequest::EndAtOnce));
    }
}
