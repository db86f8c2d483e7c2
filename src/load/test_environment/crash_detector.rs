//! Detects that the server crashed, was replaced by another process, or was shut down during a run.

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
/// Close codes of a server that restarts, and of one that goes away (RFC 6455 §7.4.1).
const RESTARTING: &str = "1012";
const GOING_AWAY: &str = "1001";
/// The ends of the answers to an upgrade, and to a request for `/health`, while the server shuts
/// down.
const SHUTTING_DOWN: [&str; 2] = ["shutting down", " draining"];

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerEnd {
    /// It vanished without a sign of a shutdown.
    Crashed,
    /// It closed its sessions and went away.
    WentAway,
    /// It had ended before the run: every connection was refused.
    NeverAnswered,
}

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

/// When the server began to shut down, if the interval shows that: it said so to its sessions, closed
/// some with 1012, refused upgrades for that reason, or reports it in its statistics. `now` is the
/// end of the interval.
pub(super) fn shutdown_seen(
    recorder: &Recorder,
    row: &IntervalRow,
    now: Timestamp,
) -> Option<Timestamp> {
    let faults = |fault| recorder.fault_stats(fault);
    let says_so = |fault| {
        let mut causes = faults(fault).causes.iter();
        causes.any(|(cause, _)| SHUTTING_DOWN.iter().any(|words| cause.ends_with(*words)))
    };
    let restarts = |fault| faults(fault).causes.count(RESTARTING) > 0;
    let signs = [
        (LoadFault::Draining, faults(LoadFault::Draining).count > 0),
        (LoadFault::ClosedByServer, restarts(LoadFault::ClosedByServer)),
        (LoadFault::ConnectClosed, restarts(LoadFault::ConnectClosed)),
        (LoadFault::UpgradeBusy, says_so(LoadFault::UpgradeBusy)),
        (LoadFault::HttpStatus, says_so(LoadFault::HttpStatus)),
    ];
    let seen = signs.into_iter().filter(|(_, is_seen)| *is_seen);
    let first = seen.map(|(fault, _)| Timestamp::from_nanos(faults(fault).first_ns)).min();
    first.or_else(|| row.server.draining.filter(|draining| *draining).map(|_| now))
}

/// Whether the server has closed its sessions before it ended: all that ended were closed with 1001, which
/// RFC 6455 §7.4.1 defines for a server that goes down.
fn said_goodbye(parts: [&Recorder; 2]) -> bool {
    let closed = parts.map(|part| part.fault_stats(LoadFault::ClosedByServer));
    closed.iter().any(|stats| stats.causes.count(GOING_AWAY) > 0)
        && parts.iter().all(|part| part.fault_stats(LoadFault::ConnectionLost).count == 0)
}

/// Whether no connection of the run was accepted: nothing that the run did can have ended the server.
fn never_answered(parts: [&Recorder; 2]) -> bool {
    let accepted = |part: &Recorder| {
        let count = |fault| part.fault_stats(fault).count;
        part.get(CountMetric::Connected)
            + part.get(CountMetric::HttpOk)
            + count(LoadFault::ConnectReset)
            + count(LoadFault::ConnectClosed)
            + count(LoadFault::UpgradeBusy)
            + count(LoadFault::UpgradeRefused)
            + count(LoadFault::HttpBroken)
            + count(LoadFault::HttpStatus)
    };
    parts.into_iter().map(accepted).sum::<u64>() == 0
}

impl CrashDetector {
    /// When the sessions were lost, if a crash is suspected.
    pub(super) fn suspected_since(&self) -> Option<Timestamp> {
        self.suspicion.as_ref().map(|suspicion| suspicion.since)
    }

    /// Whether the server has ended, judging by the interval in `recorder` and `row`. One that was
    /// never there cannot end: a port that resets every connection is not a server.
    ///
    /// It has ended when, after a loss of many sessions, its process has ended or its totals are those of
    /// a new process. It also has ended when many sessions were lost or all connects failed, and it cannot
    /// be reached: on this machine the connection is then refused at once. A timeout instead means
    /// that the server, or the tester, is slow.
    pub(super) fn check(
        &mut self,
        recorder: &Recorder,
        row: &IntervalRow,
        before: &BeforeInterval<'_>,
        server: &ServerUnderTest<'_>,
    ) -> Option<ServerEnd> {
        let has_ended = server.was_there && self.has_ended(recorder, row, before, server);
        let parts = [before.totals, recorder];
        has_ended.then(|| match (said_goodbye(parts), never_answered(parts)) {
            (true, _) => ServerEnd::WentAway,
            (false, true) => ServerEnd::NeverAnswered,
            (false, false) => ServerEnd::Crashed,
        })
    }

    fn has_ended(
        &mut self,
        recorder: &Recorder,
        row: &IntervalRow,
        before: &BeforeInterval<'_>,
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
                before: before.server.clone(),
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
pub(super) struct BeforeInterval<'a> {
    /// Number of sessions.
    pub(super) users: u64,
    /// The server's figures.
    pub(super) server: &'a ServerSample,
    /// Everything that was recorded.
    pub(super) totals: &'a Recorder,
}

/// How to find out whether the server is still there.
pub(super) struct ServerUnderTest<'a> {
    pub(super) address: &'a TargetAddress,
    /// Whether a server of this kind has answered, in this run or before.
    pub(super) was_there: bool,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// The end of a server at a port on which nothing listens, in a run with these faults.
    fn end_with(connected: u64, faults: &[(LoadFault, u64)]) -> Option<ServerEnd> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = crate::load::target_address::parse_server_url(&format!("ws://{address}/ws"));
        let server = ServerUnderTest {
            address: &address.unwrap(),
            was_there: true,
            pid: None,
            find_process: &|| None,
        };
        let mut totals = Recorder::default();
        totals.add(CountMetric::Connected, connected);
        let before =
            BeforeInterval { users: connected, server: &ServerSample::default(), totals: &totals };
        let mut recorder = Recorder::default();
        for (fault, count) in faults {
            recorder.record_faults(*fault, *count, Timestamp::ZERO);
        }
        CrashDetector::default().check(&recorder, &IntervalRow::default(), &before, &server)
    }

    #[test]
    fn a_server_that_accepted_no_connection_of_a_run_did_not_crash_in_it() {
        let refused = (LoadFault::ConnectRefused, 5);
        assert_eq!(end_with(0, &[refused]), Some(ServerEnd::NeverAnswered));
        let reset = (LoadFault::ConnectReset, 1);
        assert_eq!(end_with(0, &[refused, reset]), Some(ServerEnd::Crashed));
        assert_eq!(end_with(5, &[refused]), Some(ServerEnd::Crashed));
        assert_eq!(end_with(5, &[(LoadFault::ConnectionLost, 5)]), Some(ServerEnd::Crashed));
        assert_eq!(end_with(5, &[]), None);
    }
}
