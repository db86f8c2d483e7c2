//! Drives the virtual users: threads, sockets and clocks.
//!
//! Each thread owns a poll, a slab of connections with their users, and one receive buffer that
//! all of them share; an idle user holds no buffer. Where there are several, each has a descriptor
//! table of its own, so that the limit of open files holds for each of them. What users of different threads must be
//! asked about together lies in one match book, which is touched at a match and at its end
//! only. Every interval each thread hands over what it has recorded and goes on with an empty
//! recorder that comes back to it, so nothing grows with time.

mod connection;
mod http_client;
mod schedule;
mod source_addresses;
mod timers;
mod worker;

pub use source_addresses::{CONNECTIONS_PER_SOURCE, SourceAddresses};

use super::measure::Recorder;
use super::pairing_ledger::PairingLedger;
use super::units::{HttpPhase, RatePhase};
use super::user::{UserActivity, UserRules};
use crate::sys::clock::monotonic;
use crate::sys::descriptor_tables::unshare_empty;
use crate::timestamp::Timestamp;
use crossbeam_channel::{Receiver, Sender};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use worker::Worker;

/// Bytes of a queued user, as a rule: the acceptance limit of one kibibyte, held at compile
/// time with room for what a slab and a timer add.
const _: () = assert!(size_of::<connection::UserConnection>() <= 640);

/// One run of the engine.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What users do.
    pub rules: UserRules,
    /// When users arrive.
    pub arrivals: Vec<RatePhase>,
    /// Arrivals from this number on, counted from 0, are the sample of [`UserRules::sample`].
    pub sample_from: u64,
    /// HTTP requests, one phase after the other.
    pub requests: Vec<HttpPhase>,
    /// Most HTTP connections open at once.
    pub max_connections: u32,
    /// When the run ends, and everybody comes to an end in good order.
    pub ends: Timestamp,
    /// How long a connection may take to become a session, and an HTTP request to be answered.
    pub connect_timeout: Duration,
    /// A silence this long is a stall.
    pub stall_after: Duration,
    /// Size of a plain message.
    pub message_bytes: usize,
    /// Between two handovers of what was recorded.
    pub interval: Duration,
    /// Seed of everything random.
    pub seed: u64,
    /// How many threads.
    pub threads: u16,
}

/// Where the server is.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its address.
    pub address: SocketAddr,
    /// What goes into `Host`.
    pub host: String,
    /// Path and query of the upgrade.
    pub path: String,
    /// From where to connect.
    pub sources: SourceAddresses,
}

/// What is there at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadGauges {
    /// Connections that are not sessions yet.
    pub connecting: u64,
    /// Sessions.
    pub users: u64,
    /// Of these, waiting for a match.
    pub waiting: u64,
    /// Most that waited at once in the interval. Of several threads the peaks are added, though
    /// they need not fall together: then it is an upper bound.
    pub waiting_peak: u64,
    /// Of these, in a room.
    pub in_rooms: u64,
    /// Open HTTP connections.
    pub http_connections: u64,
}

impl LoadGauges {
    /// Adds another thread's.
    pub fn add(&mut self, other: &LoadGauges) {
        self.connecting += other.connecting;
        self.users += other.users;
        self.waiting += other.waiting;
        self.waiting_peak += other.waiting_peak;
        self.in_rooms += other.in_rooms;
        self.http_connections += other.http_connections;
    }

    /// One more user, who does this; or, with `u64::MAX`, one less.
    fn change(&mut self, standing: Option<UserActivity>, sign: u64) {
        let change = |gauge: &mut u64| *gauge = gauge.wrapping_add(sign);
        match standing {
            None | Some(UserActivity::Greeting) => change(&mut self.connecting),
            Some(UserActivity::Idle | UserActivity::Closing) => change(&mut self.users),
            Some(UserActivity::Waiting) => {
                change(&mut self.users);
                change(&mut self.waiting);
                // Most wait for less than an interval: at its end there is nobody to be seen.
                self.waiting_peak = self.waiting_peak.max(self.waiting);
            }
            Some(UserActivity::InRoom) => {
                change(&mut self.users);
                change(&mut self.in_rooms);
            }
        }
    }

    /// What the interval that is over has seen; the next one begins with those who are there.
    fn hand_over(&mut self) -> LoadGauges {
        let seen = *self;
        self.waiting_peak = self.waiting;
        seen
    }
}

/// What one thread recorded in one interval.
#[derive(Debug)]
pub struct SampleWindow {
    /// Which thread.
    pub thread: u16,
    /// Which interval, counted from 0.
    pub interval: u64,
    /// What happened in it.
    pub recorder: Box<Recorder>,
    /// What was there at its end.
    pub gauges: LoadGauges,
    /// The longest turn of the loop.
    pub longest_turn: Duration,
    /// CPU time the thread used.
    pub cpu: Duration,
    /// Whether it was the thread's last.
    pub last: bool,
}

/// What the threads share.
pub(crate) struct EngineShared {
    /// Who was matched with whom.
    book: Mutex<PairingLedger>,
    /// Come to an end now.
    stop: AtomicBool,
    /// Users of all threads who wait for a match.
    waiting: AtomicU64,
}

/// The threads of one run.
pub struct LoadEngine {
    shared: Arc<EngineShared>,
    threads: Vec<JoinHandle<()>>,
    slices: Receiver<SampleWindow>,
    back: Vec<Sender<Box<Recorder>>>,
    started: Timestamp,
}

impl LoadEngine {
    /// Starts the threads; the run's time begins now.
    ///
    /// # Errors
    /// When the system has no descriptor for a poll, or no thread.
    pub fn start(workload: Workload, target: Destination) -> io::Result<LoadEngine> {
        let shared = Arc::new(EngineShared {
            book: Mutex::new(PairingLedger::default()),
            stop: AtomicBool::new(false),
            waiting: AtomicU64::new(0),
        });
        let (to_us, slices) = crossbeam_channel::unbounded();
        let started = monotonic();
        let (mut threads, mut back) = (Vec::new(), Vec::new());
        for number in 0..workload.threads.max(1) {
            let (give_back, empty) = crossbeam_channel::unbounded();
            let post = WorkerChannel { thread: number, slices: to_us.clone(), empty };
            let (load, target, shared) = (workload.clone(), target.clone(), Arc::clone(&shared));
            let (tell, ready) = crossbeam_channel::bounded(1);
            let name = format!("load-{number}");
            let work = move || {
                if load.threads > 1 {
                    // Each has its own limit of descriptors then. Where that does not work they
                    // share one, which the preflight has reckoned with.
                    let _alone = unshare_empty();
                }
                let worker = Worker::new(load, target, shared, post, started);
                let (told, worker) =
                    worker.map_or_else(|e| (Err(e), None), |worker| (Ok(()), Some(worker)));
                if tell.send(told).is_ok()
                    && let Some(worker) = worker
                {
                    worker.run();
                }
            };
            threads.push(std::thread::Builder::new().name(name).spawn(work)?);
            // One that has ended without a word has panicked, and has printed why.
            ready.recv().unwrap_or_else(|_| Err(io::Error::other("a thread has ended")))?;
            back.push(give_back);
        }
        Ok(LoadEngine { shared, threads, slices, back, started })
    }

    /// What the threads hand over.
    pub fn slices(&self) -> &Receiver<SampleWindow> {
        &self.slices
    }

    /// Gives a recorder back, to be filled again.
    pub fn give_back(&self, thread: u16, mut recorder: Box<Recorder>) {
        recorder.clear();
        // A thread that has ended needs none.
        let _ = self.back[thread as usize].send(recorder);
    }

    /// The time in the run.
    pub fn now(&self) -> Timestamp {
        Timestamp::ZERO + monotonic().since(self.started)
    }

    /// Lets everybody come to an end now.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Whether no thread runs any more.
    pub fn all_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the threads; they end after their last slice.
    pub fn join(self) {
        for thread in self.threads {
            // A thread that panicked has printed why; its figures are missing from the report.
            let _ = thread.join();
        }
    }
}

/// How a thread and the conductor exchange recorders.
pub(crate) struct WorkerChannel {
    thread: u16,
    slices: Sender<SampleWindow>,
    empty: Receiver<Box<Recorder>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_waited_within_an_interval_are_seen_at_its_end() {
        let mut gauges = LoadGauges::default();
        let waiting = Some(UserActivity::Waiting);
        (0..3).for_each(|_| gauges.change(waiting, 1));
        (0..2).for_each(|_| gauges.change(waiting, u64::MAX));
        let first = gauges.hand_over();
        assert_eq!((first.waiting, first.waiting_peak), (1, 3));
        gauges.change(waiting, u64::MAX);
        let second = gauges.hand_over();
        assert_eq!((second.waiting, second.waiting_peak), (0, 1), "one waited across the border");
        let mut both = first;
        both.add(&second);
        assert_eq!(both.waiting_peak, 4);
    }
}
