//! How users arrive: their connection, and the start of their opening handshake.

use super::Worker;
use crate::load::engine::connection::{
    ConnectionStage, PendingUpgrade, UserConnection, connect_fault,
};
use crate::load::measure::{CountMetric, LoadFault, TimeMetric};
use crate::load::user::{NEVER, User};
use crate::timestamp::Timestamp;
use crate::wire::http::{HeadScan, WebSocketKey, write_upgrade_request};
use mio::{Interest, Token};
use std::cmp::Reverse;

/// Limit of arrivals in one iteration, so that they do not starve the users that are present.
const ARRIVALS_PER_ITERATION: u32 = 64;

impl Worker {
    /// Starts the users whose planned arrival has come.
    pub(super) fn start_arrivals(&mut self, now: Timestamp) {
        for _ in 0..ARRIVALS_PER_ITERATION {
            let due = self.next_arrival().filter(|(intended, _)| *intended <= now);
            let Some((intended, returns)) = due else { return };
            if returns {
                self.returns.pop();
                self.recorder.count(CountMetric::Returned);
            } else {
                self.arrivals.advance();
            }
            self.start_user(intended);
        }
    }

    /// The planned time of the next arrival, and whether it is that of a user that comes back.
    pub(super) fn next_arrival(&mut self) -> Option<(Timestamp, bool)> {
        if self.finishing {
            return None;
        }
        let first = self.arrivals.peek().map(|at| (at, false));
        let again = self.returns.peek().map(|Reverse(at)| (*at, true));
        first.into_iter().chain(again).min()
    }

    fn start_user(&mut self, intended: Timestamp) {
        let now = self.now();
        self.recorder.count(CountMetric::Arrivals);
        self.record_start(intended, now);
        let own_number = self.share.own_number(self.serial.into());
        // The same user as if one generator drove all of them.
        let number = self.share.number(self.serial.into());
        self.serial = self.serial.wrapping_add(1);
        let socket = match self.destination.connect(own_number) {
            Ok(socket) => socket,
            Err(error) => {
                self.recorder.count(CountMetric::ConnectFailed);
                return self.recorder.record_fault(connect_fault(&error), now);
            }
        };
        let nonce = [self.rng.next_u64().to_le_bytes(), self.rng.next_u64().to_le_bytes()];
        let key = WebSocketKey::from_nonce(
            nonce.as_flattened().try_into().expect("because 2 × 8 are 16"),
        );
        let (scan, head) = (HeadScan::default(), Vec::new());
        let upgrade = PendingUpgrade { expected: key.accept(), scan, head, refusal: None };
        let in_sample = number >= self.workload.sample_from;
        let number_in_group = if in_sample { number - self.workload.sample_from } else { number };
        let queue = self.workload.rules.queue_of(number_in_group);
        let slot = self.connections.insert(UserConnection {
            socket,
            user: User::new(self.workload.seed, number, in_sample, queue),
            stage: ConnectionStage::Upgrading(Box::new(upgrade)),
            assembly: None,
            egress: Default::default(),
            intended,
            started: now,
            serial: self.serial,
            wake_at: NEVER,
            writable: true,
            ended: false,
            counted_as: None,
        });
        self.gauges.increment(None);
        let connection = &mut self.connections[slot];
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if registry.register(&mut connection.socket, Token(slot), interest).is_err() {
            return self.fail_connect(slot, LoadFault::NoDescriptors, now);
        }
        self.out.clear();
        let destination = &self.destination;
        destination.write_preamble(&mut self.out, own_number);
        let (host, path) = (&destination.host, &destination.path);
        write_upgrade_request(&mut self.out, host, path, key, &destination.fields_of(own_number));
        // On loopback the connection is established already; elsewhere the request is sent at the
        // first writable event.
        self.send_out(slot, now);
        self.schedule_wakeup(slot, now + self.workload.connect_timeout);
    }

    /// Counts a scheduled start and records how late it is.
    pub(in crate::load::engine) fn record_start(&mut self, intended: Timestamp, now: Timestamp) {
        let late = now.since(intended);
        self.recorder.count(CountMetric::Starts);
        self.recorder.record_time(TimeMetric::Late, late);
        if late > self.workload.rules.late_after {
            self.recorder.count(CountMetric::LateStarts);
        }
    }
}
