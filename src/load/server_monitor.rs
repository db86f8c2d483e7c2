//! Samples the server's figures once an interval, in a thread of its own. The main thread takes
//! the latest sample.

use super::interval_log::ServerSample;
use super::server_process::read_process;
use super::server_stats::read_stats;
use super::target_address::{TargetAddress, http_get};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time of a sample and the CPU seconds in it.
type CpuReading = (Instant, f64);

/// Samples the server in a thread of its own.
pub struct ServerMonitor {
    latest: Arc<Mutex<ServerSample>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// The server's process, if it runs on this machine.
    pub pid: Option<u32>,
}

impl ServerMonitor {
    /// Samples `stats` and the process `pid` every `interval`, as far as they are known.
    pub fn start(stats: Option<TargetAddress>, pid: Option<u32>, interval: Duration) -> Self {
        let latest = Arc::new(Mutex::new(take_sample(stats.as_ref(), pid, None)));
        let stop = Arc::new(AtomicBool::new(false));
        let (output, stopped) = (Arc::clone(&latest), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("monitor".to_owned()).spawn(move || {
            let mut before = None;
            while !stopped.load(Ordering::Relaxed) {
                std::thread::park_timeout(interval);
                let sample = take_sample(stats.as_ref(), pid, before);
                before = cpu_reading(&sample, Instant::now(), before);
                if let Ok(mut latest) = output.lock() {
                    *latest = sample;
                }
            }
        });
        ServerMonitor { latest, stop, thread: thread.ok(), pid }
    }

    /// The latest sample.
    pub fn latest(&self) -> ServerSample {
        self.latest.lock().map(|latest| latest.clone()).unwrap_or_default()
    }
}

impl Drop for ServerMonitor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread ends after at most one more sample.
            let _ = thread.join();
        }
    }
}

/// The reading that the next sample is compared with. A sample without CPU time keeps the one
/// before.
fn cpu_reading(
    sample: &ServerSample,
    now: Instant,
    before: Option<CpuReading>,
) -> Option<CpuReading> {
    sample.cpu_s.map(|cpu| (now, cpu)).or(before)
}

/// Takes one sample, from `/stats` and from the kernel. For CPU time the kernel is preferred; for
/// memory and descriptors `/stats` is, because the process with the given ID may not be the server.
fn take_sample(
    stats: Option<&TargetAddress>,
    pid: Option<u32>,
    before: Option<CpuReading>,
) -> ServerSample {
    let response = stats.and_then(|target| http_get(target, &target.path).ok());
    let response = response.filter(|(status, _)| *status == 200);
    let reported = response.map(|(_, body)| read_stats(&body)).unwrap_or_default();
    let process = pid.and_then(read_process).unwrap_or_default();
    let mut sample = ServerSample {
        cpu_s: process.cpu_s.or(reported.cpu_s),
        memory_bytes: reported.memory_bytes.or(process.memory_bytes),
        descriptors: reported.descriptors.or(process.descriptors),
        ..reported
    };
    if let (Some(cpu), Some((at, earlier))) = (sample.cpu_s, before) {
        let elapsed = at.elapsed().as_secs_f64();
        if elapsed > 0.0 {
            sample.cpu_percent = Some(100.0 * (cpu - earlier).max(0.0) / elapsed);
        }
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_without_cpu_time_keeps_the_previous_reading() {
        let now = Instant::now();
        let sample = |cpu_s| ServerSample { cpu_s, ..ServerSample::default() };
        let first = cpu_reading(&sample(Some(1.0)), now, None);
        let second = cpu_reading(&sample(None), now + Duration::from_secs(1), first);
        assert_eq!(second, Some((now, 1.0)));
        let third = now + Duration::from_secs(2);
        assert_eq!(cpu_reading(&sample(Some(3.0)), third, first), Some((third, 3.0)));
    }
}
