//! Open-loop HTTP: requests are sent at their planned times, however long the answers take. Owned
//! by one worker.

use super::Workload;
use super::connection::connect_fault;
use super::http_connection::{DueRequest, ExchangeStep, HttpExchange, HttpLoadConnection};
use super::schedule::RateSchedule;
use super::share::ThreadShare;
use super::worker::Worker;
use crate::load::measure::{CountMetric, LoadFault, TimeMetric, http_cause};
use crate::load::units::{HttpPhase, RatePhase};
use crate::timestamp::Timestamp;
use mio::{Interest, Token};
use slab::Slab;
use std::collections::VecDeque;
use std::time::Duration;

/// Limit of requests that wait for a connection; more would only measure the waiting.
const MAX_WAITING_REQUESTS: usize = 100_000;

/// All HTTP connections of one thread.
pub(super) struct HttpLoadClient {
    phases: Vec<HttpPhase>,
    /// The end of each phase.
    phase_ends: Vec<Timestamp>,
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
        let phases: Vec<RatePhase> = workload.requests.iter().map(|r| r.phase).collect();
        let mut end = Timestamp::ZERO;
        let mut end_of = |phase: &RatePhase| {
            end = end + phase.lasting;
            end
        };
        HttpLoadClient {
            phase_ends: phases.iter().map(&mut end_of).collect(),
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
        while let Some(&request) = self.waiting.front().filter(is_late) {
            self.record_timeout(worker, request, now);
            self.waiting.pop_front();
        }
        while let Some(&request) = self.waiting.front() {
            let Some(slot) = self.free_connection(worker, request.phase, now) else { break };
            self.waiting.pop_front();
            if let Some(slot) = slot {
                self.start(worker, slot, request);
            }
        }
        let has_timed_out = |connection: &HttpLoadConnection| {
            connection.exchange.as_ref().is_some_and(|e| now.since(e.request.intended) > timeout)
        };
        let timed_out = self.connections.iter().filter(|(_, c)| has_timed_out(c));
        let timed_out: Vec<usize> = timed_out.map(|(slot, _)| slot).collect();
        for slot in timed_out {
            if let Some(exchange) = self.connections.remove(slot).exchange {
                self.record_timeout(worker, exchange.request, now);
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
            let HttpPhase { path, phase: rates } = &self.phases[phase];
            worker.recorder.http_paths.of(path).count_due(rates.lasting, rates.count());
            worker.record_start(intended, now);
            let request = DueRequest { intended, started: now, phase };
            if self.waiting.len() < MAX_WAITING_REQUESTS {
                self.waiting.push_back(request);
            } else {
                self.record_timeout(worker, request, now);
            }
        }
    }

    /// An idle connection or a new one. `None` if all are busy; `Some(None)` if a new one
    /// could not be opened, in which case the request of phase number `phase` has failed.
    fn free_connection(
        &mut self,
        worker: &mut Worker,
        phase: usize,
        now: Timestamp,
    ) -> Option<Option<usize>> {
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
                self.record_failure(worker, phase, connect_fault(&error), now);
                return Some(None);
            }
        };
        let entry = self.connections.vacant_entry();
        let token = Token(HttpLoadClient::FIRST_TOKEN + entry.key());
        let interest = Interest::READABLE | Interest::WRITABLE;
        if worker.poll.registry().register(&mut socket, token, interest).is_err() {
            self.record_failure(worker, phase, LoadFault::NoDescriptors, now);
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
        let path = &self.phases[request.phase].path;
        let exchange = HttpExchange { request, response: None };
        let step = connection.start(exchange, &worker.destination, path);
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
                if reusable {
                    self.idle.push(slot);
                } else {
                    self.connections.remove(slot);
                }
                self.record_answer(worker, exchange, now);
            }
            (ExchangeStep::Failed(fault), Some(exchange)) => {
                self.connections.remove(slot);
                self.record_failure(worker, exchange.request.phase, fault, now);
            }
            // The server has closed an idle connection, which is no fault.
            (ExchangeStep::Done { .. } | ExchangeStep::Failed(_), None) => {
                self.idle.retain(|idle| *idle != slot);
                self.connections.remove(slot);
            }
        }
    }

    /// Records the answer to a request.
    fn record_answer(&self, worker: &mut Worker, exchange: HttpExchange, now: Timestamp) {
        let HttpExchange { request, response } = exchange;
        let (status, text) = response.map(|r| (r.status, r.error_text)).unwrap_or_default();
        let recorder = &mut worker.recorder;
        if status != 200 {
            recorder.count(CountMetric::HttpFailed);
            recorder.http_paths.of(&self.phases[request.phase].path).counts.failed += 1;
            let cause = http_cause(status, &text);
            recorder.record_fault_with_cause(LoadFault::HttpStatus, &cause, now);
            return;
        }
        recorder.count(CountMetric::HttpOk);
        let in_phase = now <= self.phase_ends[request.phase];
        recorder.http_paths.of(&self.phases[request.phase].path).count_answer(in_phase);
        self.record_times(worker, request, now.since(request.intended), now.since(request.started));
    }

    /// Records a request that was not answered in time. Its time is at least the timeout: without it
    /// the percentiles would be those of the requests that were answered.
    fn record_timeout(&self, worker: &mut Worker, request: DueRequest, now: Timestamp) {
        self.record_failure(worker, request.phase, LoadFault::HttpTimeout, now);
        let timeout = worker.workload.connect_timeout;
        let (total, service) = (now.since(request.intended), now.since(request.started));
        self.record_times(worker, request, total.max(timeout), service.max(timeout));
    }

    fn record_times(
        &self,
        worker: &mut Worker,
        request: DueRequest,
        total: Duration,
        service: Duration,
    ) {
        let recorder = &mut worker.recorder;
        recorder.record_time(TimeMetric::Http, total);
        recorder.record_time(TimeMetric::HttpService, service);
        recorder.http_paths.of(&self.phases[request.phase].path).record_times(total, service);
    }

    /// Records that a request of this phase has failed.
    fn record_failure(&self, worker: &mut Worker, phase: usize, fault: LoadFault, now: Timestamp) {
        worker.recorder.count(CountMetric::HttpFailed);
        worker.recorder.http_paths.of(&self.phases[phase].path).counts.failed += 1;
        worker.recorder.record_fault(fault, now);
    }
}
