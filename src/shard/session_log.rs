//! What is noted of a session for the log line about its end. Pure.
//!
//! Nothing is stored or read while the ends of sessions are not logged. What is stored is in the
//! side table, so that the entry of a connection does not grow, and it migrates with the session.
//! The identifier and the address are the only facts about a client that are ever logged. The
//! address is that of the socket, or one that a trusted proxy states; no text of a client is.

use super::core::Core;
use super::host::{Host, SessionEnd};
use super::side_table::LogRecord;
use crate::config::SessionLog;
use crate::ids::{SessionNo, Slot};
use crate::telemetry::labels::EndReason;
use std::net::IpAddr;

impl<H: Host> Core<H> {
    /// A trusted proxy has named the client of this connection. A later request may name another.
    pub(super) fn note_client(&mut self, slot: Slot, client: Option<IpAddr>) {
        if self.setup.session_log == SessionLog::WithAddress {
            self.table.set_log_record(slot, LogRecord { began: None, client });
        }
    }

    /// A session has begun on this connection.
    pub(super) fn note_session_begin(&mut self, slot: Slot) {
        // guard: a session has no record if its end is not logged [false]
        if self.setup.session_log == SessionLog::Off {
            return;
        }
        let named = self.table.log_record(slot).and_then(|record| record.client);
        let connection = self.table.connection(slot);
        let peer = || self.host.peer_address(&connection?.socket);
        // guard: addresses are logged on request only [condition true]
        let client = if self.setup.session_log == SessionLog::WithAddress {
            named.or_else(peer).map(|address| address.to_canonical())
        } else {
            None
        };
        self.table.set_log_record(slot, LogRecord { began: Some(self.now), client });
    }

    /// The session in this slot ends.
    pub(super) fn log_session_end(&mut self, slot: Slot, reason: EndReason) {
        if let Some(record) = self.table.log_record(slot)
            && let Some(session) = self.table.session(slot)
        {
            let number = session.number();
            self.log_end_of(number, &record, reason);
        }
    }

    /// The session with this number and record ends.
    pub(super) fn log_end_of(&mut self, number: SessionNo, record: &LogRecord, reason: EndReason) {
        if let Some(began) = record.began {
            self.host.log_session_end(SessionEnd {
                session: self.setup.mint.session(number),
                reason,
                duration: self.now.since(began),
                client: record.client,
            });
        }
    }
}
