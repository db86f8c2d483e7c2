//! One thread of the engine: its loop and what it hands over each interval.
//!
//! An iteration starts arrivals, runs timers and HTTP requests, polls, and handles events. What
//! happens to one connection is in the submodules.

mod arrivals;
mod disconnect;
mod finish;
mod receive;
mod step;

use super::connection::UserConnection;
use super::http_client::HttpLoadClient;
use super::pause_detector::PauseDetector;
use super::schedule::RateSchedule;
use super::share::ThreadShare;
use super::stall_detector::StallDetector;
use super::timers::UserTimers;
use super::{Destination, EngineShared, LoadGauges, SampleWindow, WorkerChannel, Workload};
use crate::limits::{EVENTS_PER_POLL, RECEIVE_BUFFER_BYTES};
use crate::load::measure::{LoadFault, Recorder};
use crate::load::message_header::{MessageDecoder, MessageEncoder};
use crate::load::rng::Rng;
use crate::load::user::{NEVER, UserEvent};
use crate::sys::clock::{monotonic, thread_cpu};
use crate::sys::timerfd::TimerFd;
use crate::timestamp::Timestamp;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

/// Longest sleep in a poll.
const MAX_POLL_TIME: Duration = Duration::from_millis(100);
/// Longest sleep in a poll while catching up after a pause, when timers do not run.
const CATCH_UP_POLL_TIME: Duration = Duration::from_millis(1);
const TIMER: Token = Token(usize::MAX);

/// The state of one thread.
pub(super) struct Worker {
    pub(super) workload: Workload,
    pub(super) destination: Destination,
    pub(super) poll: Poll,
    pub(super) recorder: Box<Recorder>,
    pub(super) stall_detector: StallDetector,
    pause_detector: PauseDetector,
    shared: Arc<EngineShared>,
    channel: WorkerChannel,
    started: Timestamp,
    timer: TimerFd,
    /// When the timer expires; [`NEVER`] if it is not set.
    timer_at: Timestamp,
    connections: Slab<UserConnection>,
    /// Slots of ended connections. They are freed at the end of the iteration, so that no event
    /// of this iteration reaches a new connection in the same slot.
    ended: Vec<usize>,
    /// Slots and serials of connections that used up their read budget with bytes left to read.
    unread: Vec<(usize, u32)>,
    timers: UserTimers,
    arrivals: RateSchedule,
    /// When users that have left come back.
    returns: BinaryHeap<Reverse<Timestamp>>,
    share: ThreadShare,
    http: Option<HttpLoadClient>,
    gauges: LoadGauges,
    encoder: MessageEncoder,
    decoder: MessageDecoder,
    rng: Rng,
    buffer: Vec<u8>,
    out: Vec<u8>,
    events: Vec<UserEvent>,
    /// Number of arrivals so far.
    serial: u32,
    interval: u64,
    longest_iteration: Duration,
    cpu_before: Duration,
    /// The run is over and users come to their end.
    finishing: bool,
    /// Slots of holding users that have not begun to finish.
    holders_left: Vec<usize>,
    /// When the next of them begins to finish. Once all have begun: since when the worker waits
    /// for the last of them to end.
    finish_clock: Timestamp,
}

impl Worker {
    pub(super) fn new(
        workload: Workload,
        destination: Destination,
        shared: Arc<EngineShared>,
        channel: WorkerChannel,
        started: Timestamp,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let timer = TimerFd::new()?;
        let fd = timer.as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), TIMER, Interest::READABLE)?;
        let share = ThreadShare::new(&workload, channel.thread);
        let stream = u64::MAX - share.index();
        let mask_seed = Rng::new(workload.seed, stream).next_u64();
        Ok(Worker {
            recorder: Box::default(),
            stall_detector: StallDetector::new(workload.stall_after),
            pause_detector: PauseDetector::new(),
            timer_at: NEVER,
            connections: Slab::new(),
            ended: Vec::new(),
            unread: Vec::new(),
            timers: UserTimers::default(),
            arrivals: RateSchedule::new(
                workload.arrivals.clone(),
                workload.pattern,
                workload.seed,
                share,
            ),
            share,
            returns: BinaryHeap::new(),
            http: (!workload.requests.is_empty()).then(|| HttpLoadClient::new(&workload, share)),
            gauges: LoadGauges::default(),
            encoder: MessageEncoder::new(workload.message_bytes, mask_seed),
            decoder: MessageDecoder::default(),
            rng: Rng::new(workload.seed, stream - share.count()),
            buffer: vec![0; RECEIVE_BUFFER_BYTES],
            out: Vec::new(),
            events: Vec::new(),
            serial: 0,
            interval: 0,
            longest_iteration: Duration::ZERO,
            cpu_before: Duration::ZERO,
            finishing: false,
            holders_left: Vec::new(),
            finish_clock: NEVER,
            workload,
            destination,
            poll,
            shared,
            channel,
            started,
            timer,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::ZERO + monotonic().since(self.started)
    }

    /// Runs to the end of the workload.
    pub(super) fn run(mut self) {
        self.cpu_before = thread_cpu().unwrap_or_default();
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        loop {
            let now = self.now();
            if !self.pause_detector.is_catching_up(now) {
                self.finish_if_due(now);
                self.finish_next_holders(now);
                self.start_arrivals(now);
                self.run_timers(now);
                self.settle_pending_users(now);
                self.drive_http(now);
                if self.finishing && self.is_over(now) {
                    break;
                }
            }
            self.hand_over_if_due(now);
            let poll_time = self.poll_time(now);
            if self.poll.poll(&mut events, Some(poll_time)).is_err() {
                events.clear();
            }
            let woke = self.now();
            for event in &events {
                self.on_event(event, woke);
            }
            self.read_unread(woke);
            let now = self.now();
            self.pause_detector.record_read(now);
            // While the users finish, silence is expected.
            if let Some(since) = self.stall_detector.check(now).filter(|_| !self.finishing) {
                self.recorder.record_fault(LoadFault::Stalled, since);
            }
            self.reap();
            self.longest_iteration = self.longest_iteration.max(now.since(woke));
        }
        self.drop_all();
        self.hand_over(true);
    }

    fn drive_http(&mut self, now: Timestamp) {
        if let Some(mut http) = self.http.take() {
            http.drive(self, now);
            self.gauges.http_connections = http.open_connections();
            self.http = Some(http);
        }
    }

    fn on_http_event(&mut self, token: usize, event: &mio::event::Event, now: Timestamp) {
        if let Some(mut http) = self.http.take() {
            http.on_event(self, token, event, now);
            self.http = Some(http);
        }
    }

    pub(super) fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// How long the poll may sleep; sets the timer if something is due before that.
    fn poll_time(&mut self, now: Timestamp) -> Duration {
        if !self.unread.is_empty() {
            return Duration::ZERO;
        }
        if self.pause_detector.is_catching_up(now) {
            return CATCH_UP_POLL_TIME;
        }
        let arrival = self.next_arrival().map(|(at, _)| at);
        let request = self.http.as_mut().and_then(HttpLoadClient::next_due);
        let ends = match (self.finishing, self.holders_left.is_empty()) {
            (false, _) => self.workload.ends,
            (true, false) => self.finish_clock,
            (true, true) => NEVER,
        };
        let due = [arrival, request, self.timers.next(), Some(self.next_handover()), Some(ends)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(NEVER);
        if due <= now {
            return Duration::ZERO;
        }
        if due < self.timer_at && due < now + MAX_POLL_TIME {
            if self.timer.set(due.since(now)).is_err() {
                return Duration::from_millis(1);
            }
            self.timer_at = due;
        }
        MAX_POLL_TIME
    }

    fn next_handover(&self) -> Timestamp {
        Timestamp::ZERO + self.workload.interval * (self.interval as u32 + 1)
    }

    fn hand_over_if_due(&mut self, now: Timestamp) {
        if now >= self.next_handover() {
            self.hand_over(false);
        }
    }

    /// Ends the interval: sends its recorder and gauges to the engine.
    fn hand_over(&mut self, last: bool) {
        let now = self.now();
        // After a pause, what the ledger misses may be unread in this or another thread.
        if !self.pause_detector.is_catching_up(now)
            && let Ok(mut ledger) = self.shared.ledger.lock()
        {
            let rules = &self.workload.rules;
            let one_sided = ledger.count_one_sided(now, rules.match_timeout);
            let missing = ledger.count_missing_peer_left(now, rules.message_timeout / 2);
            let counts =
                [(LoadFault::OneSidedMatch, one_sided), (LoadFault::MissingPeerLeft, missing)];
            for (fault, many) in counts.into_iter().filter(|(_, many)| *many > 0) {
                self.recorder.record_faults(fault, many, now);
            }
        }
        let empty = self.channel.empty.try_recv().unwrap_or_default();
        let cpu = thread_cpu().unwrap_or_default();
        let window = SampleWindow {
            thread: self.channel.thread,
            interval: self.interval,
            recorder: std::mem::replace(&mut self.recorder, empty),
            gauges: self.gauges.end_interval(),
            longest_iteration: std::mem::take(&mut self.longest_iteration),
            cpu: cpu.saturating_sub(self.cpu_before),
            last,
        };
        self.cpu_before = cpu;
        self.interval += 1;
        // Without a receiver the process is about to exit.
        let _ = self.channel.windows.send(window);
    }
}
