//! One thread's loop: arrivals, timers, events, and what is handed over each interval.

mod finish;
mod receive;

use super::connection::{ConnectionStage, PendingUpgrade, UserConnection, connect_fault};
use super::http_client::HttpLoadClient;
use super::schedule::{PauseDetector, RateSchedule, StallDetector};
use super::timers::UserTimers;
use super::{Destination, EngineShared, LoadGauges, SampleWindow, WorkerChannel, Workload};
use crate::limits::{EVENTS_PER_POLL, RECEIVE_BUFFER_BYTES};
use crate::load::measure::{CountMetric, LoadFault, Recorder, TimeMetric};
use crate::load::message_header::{MessageDecoder, MessageEncoder};
use crate::load::rng::Rng;
use crate::load::user::{NEVER, User, UserActivity, UserContext, UserEvent};

use crate::sys::clock::{monotonic, thread_cpu};
use crate::sys::timerfd::TimerFd;
use crate::timestamp::Timestamp;
use crate::wire::http::{HeadScan, WebSocketKey, write_upgrade_request};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Arrivals started in one turn at most, so that the users who are there are not forgotten.
const ARRIVALS_PER_ITERATION: u32 = 64;
/// A poll never sleeps longer than this.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);
/// While catching up nothing is due, and this is between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
const ALARM: Token = Token(usize::MAX);

/// One thread's world.
pub(super) struct Worker {
    pub(super) load: Workload,
    pub(super) target: Destination,
    pub(super) poll: Poll,
    pub(super) recorder: Box<Recorder>,
    pub(super) watch: StallDetector,
    blind: PauseDetector,
    shared: Arc<EngineShared>,
    post: WorkerChannel,
    started: Timestamp,
    alarm: TimerFd,
    alarm_at: Timestamp,
    connections: Slab<UserConnection>,
    /// Slots to be freed at the end of the turn, so that no event meets a stranger.
    gone: Vec<usize>,
    /// Connections with bytes left to read when their budget was used up.
    unread: Vec<(usize, u32)>,
    timers: UserTimers,
    arrivals: RateSchedule,
    http: Option<HttpLoadClient>,
    gauges: LoadGauges,
    encoder: MessageEncoder,
    reader: MessageDecoder,
    rng: Rng,
    buffer: Vec<u8>,
    out: Vec<u8>,
    news: Vec<UserEvent>,
    serial: u32,
    interval: u64,
    longest_turn: Duration,
    cpu_before: Duration,
    finishing: bool,
    /// Those who have not been told yet that the run is over.
    untold: Vec<usize>,
    /// When the next of them is told; when all have been, since when.
    told_at: Timestamp,
}

impl Worker {
    pub(super) fn new(
        load: Workload,
        target: Destination,
        shared: Arc<EngineShared>,
        post: WorkerChannel,
        started: Timestamp,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = TimerFd::new()?;
        let fd = alarm.as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), ALARM, Interest::READABLE)?;
        let (share, shares) = (u64::from(post.thread), u64::from(load.threads.max(1)));
        let stream = u64::MAX - share;
        Ok(Worker {
            recorder: Box::default(),
            watch: StallDetector::new(load.stall_after),
            blind: PauseDetector::new(),
            alarm_at: NEVER,
            connections: Slab::new(),
            gone: Vec::new(),
            unread: Vec::new(),
            timers: UserTimers::default(),
            arrivals: RateSchedule::new(load.arrivals.clone(), share, shares),
            http: (!load.requests.is_empty()).then(|| HttpLoadClient::new(&load, share, shares)),
            gauges: LoadGauges::default(),
            encoder: MessageEncoder::new(
                load.message_bytes,
                Rng::new(load.seed, stream).next_u64(),
            ),
            reader: MessageDecoder::default(),
            rng: Rng::new(load.seed, stream - shares),
            buffer: vec![0; RECEIVE_BUFFER_BYTES],
            out: Vec::new(),
            news: Vec::new(),
            serial: 0,
            interval: 0,
            longest_turn: Duration::ZERO,
            cpu_before: Duration::ZERO,
            finishing: false,
            untold: Vec::new(),
            told_at: NEVER,
            load,
            target,
            poll,
            shared,
            post,
            started,
            alarm,
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
            if !self.blind.is_catching_up(now) {
                self.begin_or_finish(now);
                self.tell_the_end(now);
                self.start_arrivals(now);
                self.ring_timers(now);
                self.settle(now);
                self.drive_http(now);
                if self.finishing && self.is_over(now) {
                    break;
                }
            }
            self.hand_over_if_due(now);
            let sleep = self.sleep_time(now);
            if self.poll.poll(&mut events, Some(sleep)).is_err() {
                events.clear();
            }
            let woke = self.now();
            for event in &events {
                self.on_event(event, woke);
            }
            self.read_on(woke);
            let now = self.now();
            self.blind.looked(now);
            // When all come to an end, silence is what is to be expected.
            if let Some(since) = self.watch.look(now).filter(|_| !self.finishing) {
                self.recorder.fault(LoadFault::Stalled, since);
            }
            self.reap();
            self.longest_turn = self.longest_turn.max(now.since(woke));
        }
        self.drop_everybody();
        self.hand_over(true);
    }

    fn start_arrivals(&mut self, now: Timestamp) {
        if self.finishing {
            return;
        }
        for _ in 0..ARRIVALS_PER_ITERATION {
            let Some(intended) = self.arrivals.peek().filter(|at| *at <= now) else { return };
            self.arrivals.advance();
            self.arrive(intended);
        }
    }

    /// One more user arrives.
    fn arrive(&mut self, intended: Timestamp) {
        let now = self.now();
        self.recorder.count(CountMetric::Arrivals);
        self.count_start(intended, now);
        let number = u64::from(self.serial) * u64::from(self.load.threads.max(1))
            + u64::from(self.post.thread);
        self.serial = self.serial.wrapping_add(1);
        let socket = match self.target.sources.dial(self.target.address, number) {
            Ok(socket) => socket,
            Err(error) => {
                self.recorder.count(CountMetric::ConnectFailed);
                return self.recorder.fault(connect_fault(&error), now);
            }
        };
        let nonce = [self.rng.next_u64().to_le_bytes(), self.rng.next_u64().to_le_bytes()];
        let key = WebSocketKey::from_nonce(
            nonce.as_flattened().try_into().expect("because 2 × 8 are 16"),
        );
        let handshake =
            PendingUpgrade { expected: key.accept(), scan: HeadScan::default(), head: Vec::new() };
        let slot = self.connections.insert(UserConnection {
            socket,
            user: User::new(self.load.seed, number, number >= self.load.sample_from),
            stage: ConnectionStage::Upgrading(Box::new(handshake)),
            held: None,
            egress: Default::default(),
            intended,
            serial: self.serial,
            alarm: NEVER,
            writable: true,
            gone: false,
            counted_as: None,
        });
        self.gauges.connecting += 1;
        let connection = &mut self.connections[slot];
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut connection.socket, Token(slot), interest).is_err() {
            return self.fail_connect(slot, LoadFault::NoDescriptors, now);
        }
        self.out.clear();
        let (host, path) = (&self.target.host, &self.target.path);
        write_upgrade_request(&mut self.out, host, path, key, &[]);
        // On loopback the connection is there already; elsewhere this waits for `writable`.
        self.send_out(slot, now);
        self.wake_at(slot, now + self.load.connect_timeout);
    }

    pub(super) fn count_start(&mut self, intended: Timestamp, now: Timestamp) {
        let late = now.since(intended);
        self.recorder.count(CountMetric::Starts);
        self.recorder.time(TimeMetric::Late, late);
        if late > self.load.rules.late_after {
            self.recorder.count(CountMetric::LateStarts);
        }
    }

    /// Sends what is in `out` on a connection.
    fn send_out(&mut self, slot: usize, now: Timestamp) {
        if self.out.is_empty() {
            return;
        }
        self.watch.asked(now);
        match self.connections[slot].send(&self.out) {
            Ok(taken) => self.recorder.add(CountMetric::BytesOut, taken),
            Err(fault) => self.lose(slot, fault, now),
        }
        self.out.clear();
    }

    fn wake_at(&mut self, slot: usize, at: Timestamp) {
        let connection = &mut self.connections[slot];
        if at < connection.alarm {
            connection.alarm = at;
            self.timers.push(at, slot as u32, connection.serial);
        }
    }

    fn ring_timers(&mut self, now: Timestamp) {
        loop {
            // The pause may come in the middle of them.
            let clock = self.now();
            if self.blind.is_catching_up(clock) {
                break;
            }
            let Some((slot, serial)) = self.timers.pop(now) else { break };
            let slot = slot as usize;
            // One that is over may have more than one call left; it is over once.
            let is_meant =
                |connection: &&mut UserConnection| connection.serial == serial && !connection.gone;
            let Some(connection) = self.connections.get_mut(slot).filter(is_meant) else {
                continue;
            };
            connection.alarm = NEVER;
            match connection.stage {
                ConnectionStage::Upgrading(_) => {
                    match now >= connection.intended + self.load.connect_timeout {
                        true => self.fail_connect(slot, LoadFault::ConnectTimeout, now),
                        false => {
                            let at = connection.intended + self.load.connect_timeout;
                            self.wake_at(slot, at);
                        }
                    }
                }
                ConnectionStage::Open if connection.user.standing() == UserActivity::Greeting => {
                    self.fail_connect(slot, LoadFault::ConnectTimeout, now);
                }
                // The server has not answered the Close frame.
                ConnectionStage::Open if connection.user.is_done_for(now) => {
                    self.recorder.fault(LoadFault::ConnectionLost, now);
                    self.let_go(slot);
                }
                ConnectionStage::Open => {
                    self.with_user_at(slot, clock, |user, turn| user.wake(turn))
                }
            }
        }
        self.reap();
    }

    /// Lets a user take a step, then sends what it wrote and sets its alarm.
    fn with_user(
        &mut self,
        slot: usize,
        now: Timestamp,
        step: impl FnOnce(&mut User, &mut UserContext<'_>),
    ) {
        self.with_user_at(slot, now.max(self.now()), step);
    }

    /// The same, where the clock has just been read.
    fn with_user_at(
        &mut self,
        slot: usize,
        now: Timestamp,
        step: impl FnOnce(&mut User, &mut UserContext<'_>),
    ) {
        let connection = &mut self.connections[slot];
        let mut turn = UserContext {
            now,
            catching_up: self.blind.is_catching_up(now),
            rules: &self.load.rules,
            out: &mut self.out,
            recorder: &mut self.recorder,
            encoder: &mut self.encoder,
            reader: &self.reader,
            news: &mut self.news,
        };
        step(&mut connection.user, &mut turn);
        self.after_step(slot, now);
    }

    fn after_step(&mut self, slot: usize, now: Timestamp) {
        let due = self.connections[slot].user.due(&self.load.rules);
        self.recount(slot);
        if !self.news.is_empty() {
            self.tell_news(slot, now);
        }
        self.send_out(slot, now);
        if due != NEVER {
            self.wake_at(slot, due);
        }
    }

    /// Keeps the gauges in step with what a user is doing.
    fn recount(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let standing = Some(connection.user.standing());
        if connection.counted_as == standing {
            return;
        }
        let before = std::mem::replace(&mut connection.counted_as, standing);
        self.uncount(before);
        self.gauges.change(standing, 1);
        if standing == Some(UserActivity::Waiting) {
            self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Nobody does this any more who did.
    fn uncount(&mut self, standing: Option<UserActivity>) {
        self.gauges.change(standing, u64::MAX);
        if standing == Some(UserActivity::Waiting) {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes to the match book what concerns more than one user.
    fn tell_news(&mut self, slot: usize, now: Timestamp) {
        let Ok(mut book) = self.shared.book.lock() else { return };
        for news in self.news.drain(..) {
            match news {
                UserEvent::Opened(session) => {
                    book.opened(session);
                    self.recorder
                        .time(TimeMetric::Connect, now.since(self.connections[slot].intended));
                }
                UserEvent::Matched(account) => {
                    for fault in book.matched(account, now) {
                        self.recorder.fault(fault, now);
                    }
                }
                UserEvent::RecentPartner { session, room, missing } => {
                    if !book.left(session, room, now) && missing > 0 {
                        self.recorder.faults_at(LoadFault::Lost, u64::from(missing), now);
                    }
                }
                UserEvent::Stray { room, fault } => {
                    if !book.is_tainted(room) {
                        self.recorder.fault(fault, now);
                    }
                }
                UserEvent::Excused { session, room } => book.excuse(session, room),
                UserEvent::Served(asked) => book.served(asked),
                UserEvent::Overdue { session, asked } => {
                    let many = book.overdue(session, asked);
                    if many > 0 {
                        self.recorder.faults_at(LoadFault::NeverMatched, many, now);
                        self.recorder.add(CountMetric::Unmatched, many);
                    }
                }
            }
        }
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

    /// How long the poll may sleep, with the alarm set for anything earlier.
    fn sleep_time(&mut self, now: Timestamp) -> Duration {
        if !self.unread.is_empty() {
            return Duration::ZERO;
        }
        if self.blind.is_catching_up(now) {
            return LOOK_AGAIN;
        }
        let arrival = if self.finishing { None } else { self.arrivals.peek() };
        let request = self.http.as_mut().and_then(HttpLoadClient::next_due);
        let handover = Timestamp::ZERO + self.load.interval * (self.interval as u32 + 1);
        let ends = match (self.finishing, self.untold.is_empty()) {
            (false, _) => self.load.ends,
            (true, false) => self.told_at,
            (true, true) => NEVER,
        };
        let due = [arrival, request, self.timers.next(), Some(handover), Some(ends)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(NEVER);
        if due <= now {
            return Duration::ZERO;
        }
        if due < self.alarm_at && due < now + LONGEST_SLEEP {
            if self.alarm.set(due.since(now)).is_err() {
                return Duration::from_millis(1);
            }
            self.alarm_at = due;
        }
        LONGEST_SLEEP
    }

    fn hand_over_if_due(&mut self, now: Timestamp) {
        if now >= Timestamp::ZERO + self.load.interval * (self.interval as u32 + 1) {
            self.hand_over(false);
        }
    }

    fn hand_over(&mut self, last: bool) {
        let now = self.now();
        // What is missing in the book may be unread here, or in a thread that slept as long.
        if !self.blind.is_catching_up(now)
            && let Ok(mut book) = self.shared.book.lock()
        {
            let rules = &self.load.rules;
            let found = [
                (LoadFault::OneSidedMatch, book.one_sided(now, rules.match_timeout)),
                (LoadFault::MissingPeerLeft, book.untold(now, rules.message_timeout / 2)),
            ];
            for (fault, many) in found.into_iter().filter(|(_, many)| *many > 0) {
                self.recorder.faults_at(fault, many, now);
            }
        }
        let fresh = self.post.empty.try_recv().unwrap_or_default();
        let cpu = thread_cpu().unwrap_or_default();
        let slice = SampleWindow {
            thread: self.post.thread,
            interval: self.interval,
            recorder: std::mem::replace(&mut self.recorder, fresh),
            gauges: self.gauges.hand_over(),
            longest_turn: std::mem::take(&mut self.longest_turn),
            cpu: cpu.saturating_sub(self.cpu_before),
            last,
        };
        self.cpu_before = cpu;
        self.interval += 1;
        // If nobody listens any more, the process is on its way out.
        let _ = self.post.slices.send(slice);
    }
}
