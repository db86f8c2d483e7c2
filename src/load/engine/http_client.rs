//! Open-loop HTTP: requests are sent at their planned times, however long the answers take. Owned
//! by one worker.

use super::Workload;
use super::connection::connect_fault;
use super::http_connection::{ExchangeStep, HttpExchange, HttpLoadConnection};
use super::schedule::RateSchedule;
use super::share::ThreadShare;
use super::worker::Worker;
use crate::load::measure::{CountMetric, LoadFault, TimeMetric, http_cause};
use crate::load::units::HttpPhase;
use crate::timestamp::Timestamp;
use mio::{Interest, Token};
use slab::Slab;
use std::collections::VecDeque;

/// Limit of requests that wait for a connection; more would only measure the waiting.
const MAX_WAITING_REQUESTS: usize = 100_000;

/// A request that is due.
#[derive(Clone, Copy)]
struct DueRequest {
    /// Planned time.
    intended: Timestamp,
    /// When the generator was ready to send it.
    started: Timestamp,
    phase: usize,
}

/// All HTTP connections of one thread.
pub(super) struct HttpLoadClient {
    phases: Vec<HttpPhase>,
    schedule: RateSchedule,
    /// Number of requests of this thread that were due.
    due: u64,
    connections: Slab<HttpLoadConnection>,
    idle: Vec<usize>,
    /// Requests that wait for a free connection.
    waiting: VecDeque<DueRequest>,
    max_connections: usize,
    opened: u64,
    share: ThreadShare,
}

impl HttpLoadClient {
    /// Poll tokens from here on belong to HTTP connections.
    pub(super) const FIRST_TOKEN: usize = 1 << 40;

    pub(super) fn new(workload: &Workload, share: ThreadShare) -> Self {
        let phases: Vec<_> = workload.requests.iter().map(|request| request.phase).collect();
        HttpLoadClient {
            phases: workload.requests.clone(),
            schedule: RateSchedule::new(phases, workload.pattern, workload.seed, share),
            due: 0,
            connections: Slab::new(),
            idle: Vec::new(),
            waiting: VecDeque::new(),
            max_connections: (workload.max_connections as usize / share.count() as usize).max(1),
            opened: 0,
            share,
        }
    }

    pub(super) fn open_connections(&self) -> u64 {
        self.connections.len() as u64
    }

    /// Whether no request is pending.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.connections.iter().all(|(_, c)| c.exchange.is_none())
    }

    pub(super) fn next_due(&mut self) -> Option<Timestamp> {
        self.schedule.peek()
    }

    /// The phase of request number `number`.
    fn phase_of(&self, number: u64) -> usize {
        let mut begins = 0;
        self.phases
            .iter()
            .position(|phase| {
                begins += phase.phase.count();
                number < begins
            })
            .unwrap_or(self.phases.len() - 1)
    }

    /// Starts the requests that are due and ends those that have timed out.
    pub(super) fn drive(&mut self, worker: &mut Worker, now: Timestamp) {
        self.enqueue_due(worker, now);
        let timeout = worker.workload.connect_timeout;
        let is_late = |request: &&DueRequest| now.since(request.intended) > timeout;
        while let Some(request) = self.waiting.front().filter(is_late) {
            record_timeout(worker, request.intended, request.started, now);
            self.waiting.pop_front();
        }
        while let Some(&request) = self.waiting.front() {
            let Some(slot) = self.free_connection(worker, now) else { break };
            self.waiting.pop_front();
            if let Some(slot) = slot {
                self.start(worker, slot, request);
            }
        }
        let has_timed_out = |connection: &HttpLoadConnection| {
            connection.exchange.as_ref().is_some_and(|e| now.since(e.intended) > timeout)
        };
        let timed_out = self.connections.iter().filter(|(_, c)| has_timed_out(c));
        let timed_out: Vec<usize> = timed_out.map(|(slot, _)| slot).collect();
        for slot in timed_out {
            if let Some(exchange) = self.connections.remove(slot).exchange {
                record_timeout(worker, exchange.intended, exchange.started, now);
            }
        }
    }

    /// Moves the requests that are due from the schedule to the waiting ones.
    fn enqueue_due(&mut self, worker: &mut Worker, now: Timestamp) {
        while !worker.is_finishing() && self.schedule.peek().is_some_and(|at| at <= now) {
            let intended = self.schedule.peek().unwrap_or(now);
            self.schedule.advance();
            let phase = self.phase_of(self.share.number(self.due));
            self.due += 1;
            worker.recorder.count(CountMetric::HttpDue);
            worker.record_start(intended, now);
            if self.waiting.len() < MAX_WAITING_REQUESTS {
                self.waiting.push_back(DueRequest { intended, started: now, phase });
            } else {
                record_timeout(worker, intended, now, now);
            }
        }
    }

    /// An idle connection or a new one. `None` if all are busy; `Some(None)` if a new one
    /// could not be opened, in which case the request has failed.
    fn free_connection(&mut self, worker: &mut Worker, now: Timestamp) -> Option<Option<usize>> {
        if let Some(slot) = self.idle.pop() {
            return Some(Some(slot));
        }
        if self.connections.len() >= self.max_connections {
            return None;
        }
        let number = self.share.own_number(self.opened);
        self.opened += 1;
        let mut socket = match worker.destination.connect(number) {
            Ok(socket) => socket,
            Err(error) => {
                record_failure(worker, connect_fault(&error), now);
                return Some(None);
            }
        };
        let entry = self.connections.vacant_entry();
        let token = Token(HttpLoadClient::FIRST_TOKEN + entry.key());
        let interest = Interest::READABLE | Interest::WRITABLE;
        if worker.poll.registry().register(&mut socket, token, interest).is_err() {
            record_failure(worker, LoadFault::NoDescriptors, now);
            return Some(None);
        }
        let slot = entry.key();
        entry.insert(HttpLoadConnection::new(socket, number));
        Some(Some(slot))
    }

    fn start(&mut self, worker: &mut Worker, slot: usize, request: DueRequest) {
        let now = worker.now();
        worker.stall_detector.record_request(now);
        let connection = &mut self.connections[slot];
        let DueRequest { intended, started, phase } = request;
        let exchange = HttpExchange { intended, started, response: None };
        let step = connection.start(exchange, &worker.destination, &self.phases[phase].path);
        self.finish_step(worker, slot, step, now);
    }

    pub(super) fn on_event(
        &mut self,
        worker: &mut Worker,
        token: usize,
        event: &mio::event::Event,
        now: Timestamp,
    ) {
        let slot = token - HttpLoadClient::FIRST_TOKEN;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let mut step = ExchangeStep::Wait;
        if event.is_writable() && connection.exchange.is_some() {
            step = connection.write();
        }
        if matches!(step, ExchangeStep::Wait)
            && (event.is_readable() || event.is_read_closed() || event.is_error())
        {
            worker.stall_detector.record_response();
            step = connection.read();
        }
        self.finish_step(worker, slot, step, now);
    }

    /// Records the outcome of an exchange that has ended.
    fn finish_step(
        &mut self,
        worker: &mut Worker,
        slot: usize,
        step: ExchangeStep,
        now: Timestamp,
    ) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        match (step, connection.exchange.take()) {
            (ExchangeStep::Wait, exchange) => connection.exchange = exchange,
            (ExchangeStep::Done { reusable }, Some(exchange)) => {
                let status = exchange.response.as_ref().map_or(0, |response| response.status);
                match status {
                    200 => {
                        worker.recorder.count(CountMetric::HttpOk);
                        worker.recorder.record_time(TimeMetric::Http, now.since(exchange.intended));
                        worker
                            .recorder
                            .record_time(TimeMetric::HttpService, now.since(exchange.started));
                    }
                    status => {
                        let text = exchange.response.map(|response| response.error_text);
                        let cause = http_cause(status, &text.unwrap_or_default());
                        let (recorder, fault) = (&mut worker.recorder, LoadFault::HttpStatus);
                        recorder.count(CountMetric::HttpFailed);
                        recorder.record_fault_with_cause(fault, &cause, now);
                    }
                }
                if reusable {
                    self.idle.push(slot);
                } else {
                    self.connections.remove(slot);
                }
            }
            (ExchangeStep::Failed(fault), Some(_)) => {
                record_failure(worker, fault, now);
                self.connections.remove(slot);
            }
            // The server has closed an idle connection, which is no fault.
            (ExchangeStep::Done { .. } | ExchangeStep::Failed(_), None) => {
                self.idle.retain(|idle| *idle != slot);
                self.connections.remove(slot);
            }
        }
    }
}

/// Records a request that was not answered in time. Its time is at least the timeout: without it the
/// percentiles would be those of the requests that were answered.
fn record_timeout(worker: &mut Worker, intended: Timestamp, started: Timestamp, now: Timestamp) {
    record_failure(worker, LoadFault::HttpTimeout, now);
    let timeout = worker.workload.connect_timeout;
    worker.recorder.record_time(TimeMetric::Http, now.since(intended).max(timeout));
    worker.recorder.record_time(TimeMetric::HttpService, now.since(started).max(timeout));
}

fn record_failure(worker: &mut Worker, fault: LoadFault, now: Timestamp) {
    worker.recorder.count(CountMetric::HttpFailed);
    worker.recorder.record_fault(fault, now);
}
