//! A server that ended between two runs: no session could tell whether it crashed or was shut down.

use super::{RunTotals, TestEnvironment};
use crate::load::engine::LoadGauges;
use crate::load::interval_log::{IntervalRow, ServerSample};
use crate::load::measure::{LoadFault, Recorder};
use crate::load::target_address::check_reachable;
use crate::timestamp::Timestamp;
use std::io;

impl TestEnvironment {
    /// Notes whether the server's figures, if there are any, say that it is shutting down.
    pub(super) fn note_draining(&mut self, sample: Option<&ServerSample>) {
        if let Some(draining) = sample.and_then(|sample| sample.draining) {
            self.server_is_draining = draining;
        }
    }

    /// The name of the end of a server that is gone, and did not end while sessions were open.
    pub(super) fn end_between_runs(&self) -> LoadFault {
        if self.server_is_draining { LoadFault::ShutDown } else { LoadFault::Unreachable }
    }

    /// The name of its end, if a server that was there in an earlier run is gone. One that is only slow to
    /// accept the connection is not gone.
    pub(super) fn gone_since_last_run(&self) -> Option<LoadFault> {
        let is_gone = |error: io::Error| error.kind() != io::ErrorKind::TimedOut;
        let is_gone = self.server_was_there && check_reachable(&self.server).is_err_and(is_gone);
        is_gone.then(|| self.end_between_runs())
    }

    /// Records a run that cannot begin, also in the log.
    pub(super) fn record_gone(&mut self, fault: LoadFault, totals: &mut RunTotals) {
        let mut recorder = Recorder::default();
        recorder.record_fault(fault, Timestamp::from_nanos((totals.offset_s * 1e9) as u64));
        let mut row =
            IntervalRow { run: self.runs, at_s: totals.offset_s, ..IntervalRow::default() };
        row.record(&recorder, &LoadGauges::default());
        if let (None, Err(error)) = (&self.failure, self.log.write(&row)) {
            let path = self.log.path().display();
            self.failure = Some(format!("{path} cannot be written: {error}"));
        }
        totals.add_interval(&row, &recorder);
        self.progress.note(&format!("{}; stopping", fault.meaning()));
    }
}
