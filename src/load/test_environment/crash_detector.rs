//! Detects that the server crashed, or was replaced by another process, during a run.

use crate::load::interval_log::{IntervalRow, ServerSample};
use crate::load::measure::{CountMetric, LoadFault, Recorder};
use crate::load::server_process::process_is_alive;
use crate::load::target_address::{TargetAddress, check_reachable};
use crate::timestamp::Timestamp;
use std::io;

/// A crash is suspected when this share of the sessions is lost in one interval.
const CRASH_SHARE: f64 = 0.3;
/// Number of rows after such a loss in which a restarted server is recognised by its lower totals.
const SUSPICION_ROWS: u32 = 5;

/// Detects a crash of the server.
#[derive(Default)]
pub(super) struct CrashDetector {
    /// Set when many sessions were lost in one of the last rows.
    suspicion: Option<SuspectedCrash>,
}

/// A loss of many sessions.
struct SuspectedCrash {
    /// The server before the loss.
    before: ServerSample,
    since: Timestamp,
    /// Number of rows for which the suspicion still holds.
    rows_left: u32,
}

impl CrashDetector {
    /// When the sessions were lost, if a crash is suspected.
    pub(super) fn suspected_since(&self) -> Option<Timestamp> {
        self.suspicion.as_ref().map(|suspicion| suspicion.since)
    }

    /// Whether the server has crashed, judging by the interval in `recorder` and `row`.
    ///
    /// It has when, after a loss of many sessions, its process has ended or its totals are those of
    /// a new process. It also has when many sessions were lost or all connects failed, and it cannot
    /// be reached: on this machine the connection is then refused at once. A timeout instead means
    /// that the server, or the tester, is slow.
    pub(super) fn check(
        &mut self,
        recorder: &Recorder,
        row: &IntervalRow,
        before: &BeforeInterval,
        server: &ServerUnderTest<'_>,
    ) -> bool {
        let faults = |fault| recorder.fault_stats(fault);
        let lost = faults(LoadFault::ConnectionLost);
        let rejected =
            faults(LoadFault::ConnectRefused).count + faults(LoadFault::ConnectReset).count;
        let many_lost = lost.count as f64 > (before.users as f64 * CRASH_SHARE).max(1.0);
        let none_connect = rejected > 0 && recorder.get(CountMetric::Connected) == 0;
        if many_lost {
            let since = Timestamp::from_nanos(lost.first_ns);
            let suspicion = self.suspicion.get_or_insert(SuspectedCrash {
                before: before.server,
                since,
                rows_left: 0,
            });
            suspicion.rows_left = SUSPICION_ROWS;
        }
        self.suspicion.take_if(|suspicion| suspicion.rows_left == 0);
        if let Some(SuspectedCrash { before, rows_left, .. }) = &mut self.suspicion {
            *rows_left -= 1;
            let has_ended = server.pid.is_some_and(|pid| !process_is_alive(pid));
            if has_ended || row.server.is_younger(before) {
                return true;
            }
        }
        (many_lost || none_connect) && server.is_gone()
    }
}

/// State at the end of the interval before.
pub(super) struct BeforeInterval {
    /// Number of sessions.
    pub(super) users: u64,
    /// The server's figures.
    pub(super) server: ServerSample,
}

/// How to find out whether the server is still there.
pub(super) struct ServerUnderTest<'a> {
    pub(super) address: &'a TargetAddress,
    /// Its process at the start of the run, if it runs on this machine.
    pub(super) pid: Option<u32>,
    /// Searches for its process again.
    pub(super) find_process: &'a dyn Fn() -> Option<u32>,
}

impl ServerUnderTest<'_> {
    fn is_gone(&self) -> bool {
        match check_reachable(self.address) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                (self.find_process)().is_none()
            }
            Err(_) => true,
            Ok(()) => false,
        }
    }
}
