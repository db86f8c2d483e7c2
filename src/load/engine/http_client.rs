//! Open-loop HTTP: requests leave at their planned moments, whatever the answers take. Owned
//! by one worker.

use super::Workload;
use super::connection::connect_fault;
use super::schedule::RateSchedule;
use super::worker::Worker;
use crate::load::measure::{CountMetric, LoadFault, TimeMetric};
use crate::load::units::HttpPhase;
use crate::timestamp::Timestamp;
use crate::wire::http::{Body, HeadScan, parse_response, write_get_request};
use mio::net::TcpStream;
use mio::{Interest, Token};
use slab::Slab;
use std::collections::VecDeque;
use std::io::{self, Read, Write};

/// Longest response head.
const HEAD_BYTES: usize = 16 * 1024;
/// Requests that wait for a connection at most; more would only measure the waiting.
const WAITING_REQUESTS: usize = 100_000;
const READ_BYTES: usize = 16 * 1024;

/// All HTTP of one thread.
pub(super) struct HttpLoadClient {
    phases: Vec<HttpPhase>,
    schedule: RateSchedule,
    started: u64,
    clients: Slab<HttpLoadConnection>,
    idle: Vec<usize>,
    /// Planned moments and phases of requests that no connection was free for.
    waiting: VecDeque<(Timestamp, usize)>,
    max_connections: usize,
    opened: u64,
    shares: u64,
    share: u64,
}

struct HttpLoadConnection {
    socket: TcpStream,
    task: Option<HttpExchange>,
    /// Request bytes that the kernel has not taken.
    unsent: Vec<u8>,
    /// The response's head as far as it has come.
    head: Vec<u8>,
    scan: HeadScan,
}

struct HttpExchange {
    intended: Timestamp,
    sent: Timestamp,
    /// Once the head is there.
    answer: Option<ResponseProgress>,
}

struct ResponseProgress {
    status: u16,
    /// What is to come of the body.
    body: Body,
    /// Whether the connection then ends.
    closes: bool,
}

enum ExchangeStep {
    Wait,
    Done { reusable: bool },
    Failed(LoadFault),
}

impl HttpLoadClient {
    /// Poll tokens from here on are HTTP connections.
    pub(super) const FIRST_TOKEN: usize = 1 << 40;

    pub(super) fn new(load: &Workload, share: u64, shares: u64) -> Self {
        let phases: Vec<_> = load.requests.iter().map(|request| request.phase).collect();
        HttpLoadClient {
            phases: load.requests.clone(),
            schedule: RateSchedule::new(phases, share, shares),
            started: share,
            clients: Slab::new(),
            idle: Vec::new(),
            waiting: VecDeque::new(),
            max_connections: (load.max_connections as usize / shares as usize).max(1),
            opened: 0,
            shares,
            share,
        }
    }

    pub(super) fn open_connections(&self) -> u64 {
        self.clients.len() as u64
    }

    /// No request is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.clients.iter().all(|(_, client)| client.task.is_none())
    }

    pub(super) fn next_due(&mut self) -> Option<Timestamp> {
        self.schedule.peek()
    }

    /// The phase that request number `number` belongs to.
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

    /// Starts what is due and gives up what takes too long.
    pub(super) fn drive(&mut self, worker: &mut Worker, now: Timestamp) {
        while !worker.is_finishing() && self.schedule.peek().is_some_and(|at| at <= now) {
            let intended = self.schedule.peek().unwrap_or(now);
            self.schedule.advance();
            let phase = self.phase_of(self.started);
            self.started += self.shares;
            worker.recorder.count(CountMetric::HttpDue);
            if self.waiting.len() < WAITING_REQUESTS {
                self.waiting.push_back((intended, phase));
            } else {
                fail(worker, LoadFault::HttpTimeout, now);
            }
        }
        let timeout = worker.load.connect_timeout;
        while self.waiting.front().is_some_and(|(at, _)| now.since(*at) > timeout) {
            self.waiting.pop_front();
            fail(worker, LoadFault::HttpTimeout, now);
        }
        while let Some(&(intended, phase)) = self.waiting.front() {
            let Some(slot) = self.free_client(worker, now) else { break };
            self.waiting.pop_front();
            if let Some(slot) = slot {
                self.start(worker, slot, intended, phase);
            }
        }
        let overdue: Vec<usize> = self
            .clients
            .iter()
            .filter(|(_, c)| c.task.as_ref().is_some_and(|t| now.since(t.intended) > timeout))
            .map(|(slot, _)| slot)
            .collect();
        for slot in overdue {
            fail(worker, LoadFault::HttpTimeout, now);
            self.clients.remove(slot);
        }
    }

    /// An idle connection or a new one. `None` if all are busy; `Some(None)` if a new one
    /// could not be opened: then the request has failed.
    fn free_client(&mut self, worker: &mut Worker, now: Timestamp) -> Option<Option<usize>> {
        if let Some(slot) = self.idle.pop() {
            return Some(Some(slot));
        }
        if self.clients.len() >= self.max_connections {
            return None;
        }
        let number = self.opened * self.shares + self.share;
        self.opened += 1;
        let mut socket = match worker.target.sources.dial(worker.target.address, number) {
            Ok(socket) => socket,
            Err(error) => {
                fail(worker, connect_fault(&error), now);
                return Some(None);
            }
        };
        let entry = self.clients.vacant_entry();
        let token = Token(HttpLoadClient::FIRST_TOKEN + entry.key());
        let interest = Interest::READABLE | Interest::WRITABLE;
        if worker.poll.registry().register(&mut socket, token, interest).is_err() {
            fail(worker, LoadFault::NoDescriptors, now);
            return Some(None);
        }
        let slot = entry.key();
        entry.insert(HttpLoadConnection {
            socket,
            task: None,
            unsent: Vec::new(),
            head: Vec::new(),
            scan: HeadScan::default(),
        });
        Some(Some(slot))
    }

    fn start(&mut self, worker: &mut Worker, slot: usize, intended: Timestamp, phase: usize) {
        let now = worker.now();
        worker.count_start(intended, now);
        worker.watch.asked(now);
        let client = &mut self.clients[slot];
        client.task = Some(HttpExchange { intended, sent: now, answer: None });
        client.unsent.clear();
        write_get_request(&mut client.unsent, &worker.target.host, &self.phases[phase].path, &[]);
        let step = client.write();
        self.conclude(worker, slot, step, now);
    }

    pub(super) fn on_event(
        &mut self,
        worker: &mut Worker,
        token: usize,
        event: &mio::event::Event,
        now: Timestamp,
    ) {
        let slot = token - HttpLoadClient::FIRST_TOKEN;
        let Some(client) = self.clients.get_mut(slot) else { return };
        let mut step = ExchangeStep::Wait;
        if event.is_writable() && client.task.is_some() {
            step = client.write();
        }
        if matches!(step, ExchangeStep::Wait)
            && (event.is_readable() || event.is_read_closed() || event.is_error())
        {
            worker.watch.heard();
            step = client.read();
        }
        self.conclude(worker, slot, step, now);
    }

    fn conclude(&mut self, worker: &mut Worker, slot: usize, step: ExchangeStep, now: Timestamp) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        match (step, client.task.take()) {
            (ExchangeStep::Wait, task) => client.task = task,
            (ExchangeStep::Done { reusable }, Some(task)) => {
                match task.answer.map_or(0, |answer| answer.status) {
                    200 => {
                        worker.recorder.count(CountMetric::HttpOk);
                        worker.recorder.time(TimeMetric::Http, now.since(task.intended));
                        worker.recorder.time(TimeMetric::HttpService, now.since(task.sent));
                    }
                    status => {
                        fail(worker, LoadFault::HttpStatus, now);
                        worker.recorder.note_status(LoadFault::HttpStatus, status);
                    }
                }
                if reusable {
                    self.idle.push(slot);
                } else {
                    self.clients.remove(slot);
                }
            }
            (ExchangeStep::Failed(fault), Some(_)) => {
                fail(worker, fault, now);
                self.clients.remove(slot);
            }
            // An idle connection that the server has closed: no harm done.
            (ExchangeStep::Done { .. } | ExchangeStep::Failed(_), None) => {
                self.idle.retain(|idle| *idle != slot);
                self.clients.remove(slot);
            }
        }
    }
}

fn fail(worker: &mut Worker, fault: LoadFault, now: Timestamp) {
    worker.recorder.count(CountMetric::HttpFailed);
    worker.recorder.fault(fault, now);
}

impl HttpLoadConnection {
    fn write(&mut self) -> ExchangeStep {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(taken) => drop(self.unsent.drain(..taken)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => break,
                    io::ErrorKind::Interrupted => {}
                    _ => return ExchangeStep::Failed(connect_fault(&error)),
                },
            }
        }
        ExchangeStep::Wait
    }

    fn read(&mut self) -> ExchangeStep {
        let mut buffer = [0; READ_BYTES];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return self.ended(),
                Ok(len) => match self.digest(&buffer[..len]) {
                    ExchangeStep::Wait => {}
                    step => return step,
                },
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => {
                        return ExchangeStep::Wait;
                    }
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::ConnectionRefused => {
                        return ExchangeStep::Failed(LoadFault::ConnectRefused);
                    }
                    _ => return ExchangeStep::Failed(LoadFault::HttpBroken),
                },
            }
        }
    }

    /// The server closed. That is the end of the answer if nothing else marks it.
    fn ended(&self) -> ExchangeStep {
        match self.task.as_ref().and_then(|task| task.answer.as_ref()) {
            Some(ResponseProgress { body: Body::UntilClose, .. }) => {
                ExchangeStep::Done { reusable: false }
            }
            Some(_) | None => ExchangeStep::Failed(LoadFault::HttpBroken),
        }
    }

    fn digest(&mut self, bytes: &[u8]) -> ExchangeStep {
        let Some(task) = &mut self.task else { return ExchangeStep::Failed(LoadFault::HttpBroken) };
        let mut came = bytes;
        if task.answer.is_none() {
            self.head.extend_from_slice(bytes);
            match parse_response(&self.head, &mut self.scan, HEAD_BYTES) {
                Err(_) => return ExchangeStep::Failed(LoadFault::HttpBroken),
                Ok(None) => return ExchangeStep::Wait,
                Ok(Some((head, end))) => {
                    // The bytes behind the head are the last of those just read.
                    came = &bytes[bytes.len() - (self.head.len() - end)..];
                    let (status, closes) = (head.status, head.closes);
                    task.answer =
                        Some(ResponseProgress { status, body: Body::new(head.body), closes });
                }
            }
            self.head.clear();
            self.scan = HeadScan::default();
        }
        let Some(answer) = &mut task.answer else { return ExchangeStep::Wait };
        match answer.body.read(came, |_| {}) {
            Ok(false) => ExchangeStep::Wait,
            Ok(true) => ExchangeStep::Done { reusable: !answer.closes },
            Err(_) => ExchangeStep::Failed(LoadFault::HttpBroken),
        }
    }
}
