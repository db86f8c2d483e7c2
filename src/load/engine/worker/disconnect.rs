//! How a connection ends, and when its slot is freed.

use super::Worker;
use crate::load::engine::connection::{ConnectionStage, UserConnection, connect_fault};
use crate::load::measure::{CountMetric, LoadFault, TimeMetric};
use crate::load::user::{SILENT_TIME, UserActivity, UserContext, Vanishing};
use crate::timestamp::Timestamp;
use crate::wire::websocket::frame::{CLOSE, push_client_frame};
use socket2::SockRef;
use std::time::Duration;

impl Worker {
    /// The server sent a Close frame and closes the connection now (RFC 6455 §7.1.1).
    pub(super) fn on_close_frame(&mut self, slot: usize, code: Option<u16>, now: Timestamp) {
        let connection = &self.connections[slot];
        if connection.ended || connection.user.activity() == UserActivity::Closing {
            return;
        }
        // RFC 6455 §5.5.1: the answer has the same code.
        let mask = self.encoder.next_mask();
        let bytes = code.map(u16::to_be_bytes).unwrap_or_default();
        let payload = if code.is_some() { &bytes[..] } else { &[] };
        push_client_frame(&mut self.out, CLOSE, payload, mask);
        self.send_out(slot, now);
        let cause = code.map_or("no code".to_owned(), |code| code.to_string());
        self.disconnect_because(slot, LoadFault::ClosedByServer, Some(&cause), now);
    }

    /// The connection has ended; `fault` is counted if the user had not ended its session.
    pub(super) fn disconnect(&mut self, slot: usize, fault: LoadFault, now: Timestamp) {
        self.disconnect_because(slot, fault, None, now);
    }

    /// The connection has ended; `cause` is the code of the server's Close frame.
    fn disconnect_because(
        &mut self,
        slot: usize,
        fault: LoadFault,
        cause: Option<&str>,
        now: Timestamp,
    ) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.ended {
            return;
        }
        if matches!(connection.stage, ConnectionStage::Upgrading(_))
            || connection.user.activity() == UserActivity::Connecting
        {
            if let Some(cause) = cause {
                return self.fail_connect_because(slot, LoadFault::ConnectClosed, cause, now);
            }
            if let ConnectionStage::Upgrading(upgrade) = &connection.stage
                && let Some(status) = upgrade.refusal
            {
                return self.refuse_upgrade(slot, status, &status.to_string(), now);
            }
            let error = connection.socket.take_error().ok().flatten();
            let fault = error.map_or(LoadFault::ConnectReset, |error| connect_fault(&error));
            return self.fail_connect(slot, fault, now);
        }
        let session = connection.user.session();
        self.out.clear();
        let connection = &mut self.connections[slot];
        let mut context = UserContext {
            now,
            catching_up: self.pause_detector.is_catching_up(now),
            rules: &self.workload.rules,
            out: &mut self.out,
            recorder: &mut self.recorder,
            encoder: &mut self.encoder,
            decoder: &self.decoder,
            events: &mut self.events,
        };
        if !connection.user.on_disconnect(fault == LoadFault::ClosedByServer, &mut context) {
            match cause {
                Some(cause) => self.recorder.record_fault_with_cause(fault, cause, now),
                None => self.recorder.record_fault(fault, now),
            }
        }
        self.report_events(slot, now);
        if let Ok(mut ledger) = self.shared.ledger.lock() {
            ledger.close_session(session, now);
        }
        self.end_connection(slot);
    }

    /// The user has vanished: resets its connection, or leaves it open and unread.
    pub(super) fn abandon(&mut self, slot: usize, now: Timestamp) {
        let connection = &mut self.connections[slot];
        if connection.ended {
            return;
        }
        let session = connection.user.session();
        connection.stage = ConnectionStage::Abandoned;
        connection.intended = now;
        // Neither reads nor writes the socket again; its descriptor stays open.
        let _ = self.poll.registry().deregister(&mut connection.socket);
        if let Ok(mut ledger) = self.shared.ledger.lock() {
            ledger.close_session(session, now);
        }
        match self.connections[slot].user.vanishing() {
            Some(Vanishing::Silent) => self.schedule_wakeup(slot, now + SILENT_TIME),
            Some(Vanishing::Reset) | None => {
                // With this option closing resets the connection. If it fails, the connection ends
                // without a Close frame all the same.
                let socket = SockRef::from(&self.connections[slot].socket);
                let _ = socket.set_linger(Some(Duration::ZERO));
                self.end_connection(slot);
            }
        }
    }

    /// Marks a connection as ended; its slot is freed at the end of the iteration.
    pub(super) fn end_connection(&mut self, slot: usize) {
        if !std::mem::replace(&mut self.connections[slot].ended, true) {
            self.ended.push(slot);
        }
    }

    /// The connection did not become a session.
    pub(super) fn fail_connect(&mut self, slot: usize, fault: LoadFault, now: Timestamp) {
        if !self.connections[slot].ended {
            self.recorder.count(CountMetric::ConnectFailed);
            self.recorder.record_fault(fault, now);
            if fault == LoadFault::ConnectTimeout {
                self.record_connect_timeout(slot, now);
            }
            self.end_connection(slot);
        }
    }

    /// A connection without an answer took at least the timeout. Without it the percentiles would be
    /// those of the connections that were answered.
    fn record_connect_timeout(&mut self, slot: usize, now: Timestamp) {
        let timeout = self.workload.connect_timeout;
        let UserConnection { intended, started, .. } = self.connections[slot];
        let times = [(TimeMetric::Connect, intended), (TimeMetric::ConnectService, started)];
        for (metric, from) in times {
            self.recorder.record_time(metric, now.since(from).max(timeout));
        }
    }

    /// The server refused the connection for a reason that it named.
    pub(super) fn fail_connect_because(
        &mut self,
        slot: usize,
        fault: LoadFault,
        cause: &str,
        now: Timestamp,
    ) {
        if !self.connections[slot].ended {
            self.recorder.count(CountMetric::ConnectFailed);
            self.recorder.record_fault_with_cause(fault, cause, now);
            self.end_connection(slot);
        }
    }

    /// Frees the slots of ended connections.
    pub(super) fn reap(&mut self) {
        if self.ended.is_empty() {
            return;
        }
        let now = self.now();
        for slot in std::mem::take(&mut self.ended) {
            let Some(mut connection) = self.connections.try_remove(slot) else { continue };
            // Closing the descriptor deregisters it too, but mio does not see that.
            let _ = self.poll.registry().deregister(&mut connection.socket);
            self.uncount_user(connection.counted_as);
            let session = connection.user.session();
            if session != 0
                && let Ok(mut ledger) = self.shared.ledger.lock()
            {
                ledger.close_session(session, now);
            }
        }
    }

    /// The time to finish is over: drops all connections that are left, as lost.
    pub(super) fn drop_all(&mut self) {
        let now = self.now();
        for slot in self.slots() {
            self.disconnect(slot, LoadFault::ConnectionLost, now);
        }
        self.reap();
    }
}
