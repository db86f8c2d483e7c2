//! Drives the virtual users: threads, sockets and clocks.
//!
//! Each thread owns a poll, a slab of connections with their users, and one receive buffer that
//! all its connections share; an idle user holds no buffer. With several threads each one has a
//! descriptor table of its own, so that the limit of open files applies to each of them. The
//! pairing ledger, which compares users of different threads, is locked only when a match begins
//! or ends. Each interval, every thread hands over its recorder and continues with an empty one
//! that was returned to it, so that memory does not grow with time.

mod connection;
mod destination;
mod gauges;
mod http_client;
mod http_connection;
mod pause_detector;
mod schedule;
mod share;
mod source_addresses;
mod stall_detector;
mod timers;
mod worker;

pub use destination::{ClientIdentity, Destination};
pub use gauges::LoadGauges;
pub use share::GeneratorShare;
pub use source_addresses::{CONNECTIONS_PER_SOURCE, SourceAddresses};

use super::measure::Recorder;
use super::pairing_ledger::PairingLedger;
use super::units::{ArrivalPattern, HttpPhase, RatePhase};
use super::user::UserRules;
use crate::sys::clock::monotonic;
use crate::sys::descriptor_tables::unshare_empty;
use crate::timestamp::Timestamp;
use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use worker::Worker;

/// The acceptance limit for a waiting user is one kibibyte; the rest is for the slab's and the
/// timer's overhead.
const _: () = assert!(size_of::<connection::UserConnection>() <= 640);

/// What one run of the engine does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Workload {
    /// What users do.
    pub rules: UserRules,
    /// When users arrive.
    pub arrivals: Vec<RatePhase>,
    /// How the times of arrivals and requests are distributed.
    pub pattern: ArrivalPattern,
    /// Arrivals from this number on, counted from 0, follow [`UserRules::sample_script`].
    pub sample_from: u64,
    /// HTTP requests, one phase after the other.
    pub requests: Vec<HttpPhase>,
    /// Limit of simultaneous HTTP connections.
    pub max_connections: u32,
    /// When the run ends and all users finish in good order.
    pub ends: Timestamp,
    /// How long a connection may take to become a session, and an HTTP request to be answered.
    pub connect_timeout: Duration,
    /// Time without any answer after which the server counts as stalled.
    pub stall_after: Duration,
    /// Size of a plain message.
    pub message_bytes: usize,
    /// Time between two handovers of the recorder.
    pub interval: Duration,
    /// Seed of everything random.
    pub seed: u64,
    /// Number of threads.
    pub threads: u16,
    /// The part of the schedule that this generator drives.
    pub share: GeneratorShare,
}

/// What one thread recorded in one interval.
#[derive(Debug)]
pub struct SampleWindow {
    /// Number of the thread.
    pub thread: u16,
    /// Number of the interval, from 0.
    pub interval: u64,
    /// Counts, faults and times of the interval.
    pub recorder: Box<Recorder>,
    /// Gauges at the end of the interval.
    pub gauges: LoadGauges,
    /// Longest iteration of the thread's loop.
    pub longest_iteration: Duration,
    /// CPU time that the thread used.
    pub cpu: Duration,
    /// Whether this is the thread's last window.
    pub last: bool,
}

/// State that the threads share.
pub(crate) struct EngineShared {
    /// Compares the match notices of the users of all threads.
    ledger: Mutex<PairingLedger>,
    /// The operator has stopped the run: all users finish now.
    stop: AtomicBool,
    /// Users of all threads that wait for a match.
    waiting: AtomicU64,
}

/// The threads of one run.
pub struct LoadEngine {
    shared: Arc<EngineShared>,
    threads: Vec<JoinHandle<()>>,
    windows: Receiver<SampleWindow>,
    empty_recorders: Vec<Sender<Box<Recorder>>>,
    started: Timestamp,
}

impl LoadEngine {
    /// Starts the threads; the time of the run starts now.
    ///
    /// # Errors
    /// When a thread, or a thread's poll or timer, cannot be created.
    pub fn start(workload: Workload, destination: Destination) -> io::Result<LoadEngine> {
        let shared = Arc::new(EngineShared {
            ledger: Mutex::new(PairingLedger::default()),
            stop: AtomicBool::new(false),
            waiting: AtomicU64::new(0),
        });
        let (to_engine, windows) = crossbeam_channel::unbounded();
        let started = monotonic();
        let (mut threads, mut empty_recorders) = (Vec::new(), Vec::new());
        for number in 0..workload.threads.max(1) {
            let (give_back, empty) = crossbeam_channel::unbounded();
            let channel = WorkerChannel { thread: number, windows: to_engine.clone(), empty };
            let (workload, destination) = (workload.clone(), destination.clone());
            let shared = Arc::clone(&shared);
            let (started_sender, started_receiver) = crossbeam_channel::bounded(1);
            let name = format!("load-{number}");
            let work = move || {
                if workload.threads > 1 {
                    // On failure the threads share one table; the preflight assumes the worst case.
                    let _ = unshare_empty();
                }
                let worker = Worker::new(workload, destination, shared, channel, started);
                let (outcome, worker) =
                    worker.map_or_else(|e| (Err(e), None), |worker| (Ok(()), Some(worker)));
                if started_sender.send(outcome).is_ok()
                    && let Some(worker) = worker
                {
                    worker.run();
                }
            };
            threads.push(std::thread::Builder::new().name(name).spawn(work)?);
            // A thread that ends without an outcome has panicked and printed the reason.
            started_receiver.recv().unwrap_or_else(|_| Err(io::Error::other("a thread ended")))?;
            empty_recorders.push(give_back);
        }
        Ok(LoadEngine { shared, threads, windows, empty_recorders, started })
    }

    /// The windows that the threads hand over.
    pub fn windows(&self) -> &Receiver<SampleWindow> {
        &self.windows
    }

    /// Returns a recorder to its thread, to be filled again.
    pub fn return_recorder(&self, thread: u16, mut recorder: Box<Recorder>) {
        recorder.clear();
        // A thread that has ended does not need it.
        let _ = self.empty_recorders[thread as usize].send(recorder);
    }

    /// The time since the start of the run.
    pub fn now(&self) -> Timestamp {
        Timestamp::ZERO + monotonic().since(self.started)
    }

    /// Ends the run now.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Whether all threads have ended.
    pub fn all_threads_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the threads, which end after their last window.
    pub fn join(self) {
        for thread in self.threads {
            // A thread that panicked has printed the reason; its figures are missing.
            let _ = thread.join();
        }
    }
}

/// A thread's end of the exchange of recorders.
pub(crate) struct WorkerChannel {
    thread: u16,
    windows: Sender<SampleWindow>,
    empty: Receiver<Box<Recorder>>,
}
